"""Payouts (B2C): asked once, done once, and told of in every way there is."""

import random
import threading

import pytest

from simulator.faults import Reset, Slow
from simulator.outbound import Answer
from simulator.server import create_app
from simulator.world import World
from tests.simulator.pretend import (
    PAYER,
    RESULT,
    START,
    TIMEOUT,
    Api,
    Operator,
    Outside,
    Shop,
)


@pytest.fixture(autouse=True)
def float_of_100_000(api):
    api.fund(100_000)


def refused(answer) -> tuple[int, str, str]:
    return answer.status_code, answer.json["errorCode"], answer.json["errorMessage"]


def paid(world, api, operator, **rules) -> dict:
    """A payout of KSh 450 under these rules, and five minutes for it. Returns the ack."""
    api.rules(next_b2c=[rules])
    answer = operator.pay_out()
    assert answer.status_code == 200, answer.text
    world.advance(300)
    return answer.json


def codes(outside) -> list:
    return [call.result["ResultCode"] for call in outside.results()]


def test_an_accepted_payout_is_acknowledged_with_the_business_own_id(operator):
    ack = operator.pay_out().json
    conversation = ack.pop("ConversationID")
    assert conversation.startswith("AG_20260817_2010")
    assert ack == {
        "OriginatorConversationID": "payout-1",
        "ResponseCode": "0",
        "ResponseDescription": "Accept the service request successfully.",
    }


def test_a_payout_brings_money_a_message_and_a_result(world, api, operator, outside):
    ack = paid(world, api, operator)
    (call,) = outside.results()
    receipt = call.result["TransactionID"]
    assert call.seconds == 3
    assert call.result == {
        "ResultType": 0,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "OriginatorConversationID": "payout-1",
        "ConversationID": ack["ConversationID"],
        "TransactionID": receipt,
        "ResultParameters": call.result["ResultParameters"],
        "ReferenceData": {"ReferenceItem": {"Key": "QueueTimeoutURL", "Value": TIMEOUT}},
    }
    parameters = dict(call.parameters)
    name = parameters.pop("ReceiverPartyPublicName")
    assert name.startswith("254712345678 - ")
    assert parameters == {
        "TransactionAmount": 450,
        "TransactionReceipt": receipt,
        "TransactionCompletedDateTime": "17.08.2026 14:04:21",
        "B2CUtilityAccountAvailableFunds": 99_550.0,
        "B2CWorkingAccountAvailableFunds": 0.0,
        "B2CRecipientIsRegisteredCustomer": "Y",
        "B2CChargesPaidAccountAvailableFunds": -5.0,
    }
    assert api.balance() == 10_450
    (sms,) = api.ok("GET", f"sms/{PAYER}")
    assert sms["from"] == "MPESA"
    assert sms["text"] == (
        f"{receipt} Confirmed. You have received Ksh450.00 from SOKONI on 17/8/26 at 02:04 PM. "
        "New M-PESA balance is Ksh10,450.00."
    )


def test_a_repeated_id_is_refused_for_ever_and_pays_nothing(world, api, operator, outside):
    paid(world, api, operator)
    world.advance(400 * 86_400)
    operator._shop.token = operator._shop.new_token()
    again = operator.pay_out(900, to="+254700000001")
    assert refused(again) == (500, "500.002.1001", "Duplicate OriginatorConversationID.")
    world.advance(300)
    assert codes(outside) == [0]
    assert api.held()["utility"] == 99_550


def test_an_id_refused_by_the_gateway_may_be_used_again(world, api, operator):
    assert operator.pay_out(Remarks="x").status_code == 400
    api.rules(faults=[{"fault": "internal_error", "on": "b2c", "times": 1}])
    assert refused(operator.pay_out())[:2] == (500, "500.003.1001")
    assert operator.pay_out().status_code == 200


def test_a_failed_payout_keeps_its_id(world, api, operator):
    paid(world, api, operator, result_code="26")
    assert refused(operator.pay_out())[1] == "500.002.1001"


def test_two_requests_with_one_id_at_once_pay_once(world, api, operator):
    gate, answers = threading.Barrier(2), []

    def ask():
        gate.wait()
        answers.append(operator.pay_out().status_code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.advance(60)
    assert sorted(answers) == [200, 500]
    assert api.balance() == 10_450


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("OriginatorConversationID", [..., None, "", "x" * 101, "a b"]),
        ("InitiatorName", [..., None, ""]),
        ("SecurityCredential", [..., None, ""]),
        ("CommandID", [..., "", "BusinessPayToBulk"]),
        ("Amount", [..., None, "", 0, -10, 9.99, "10.5", 1e309, "NaN", True, [5], "1" * 10]),
        ("PartyA", [..., "", "12", "abcdef"]),
        ("PartyB", [..., "", "0712345678", "+254712345678", "255712345678"]),
        ("Remarks", [..., None, "", "x", "x" * 101]),
        ("Occassion", ["x" * 101]),
        ("ResultURL", [..., "", "http://shop.example/a", "https://shop.example/mpesa"]),
        ("QueueTimeOutURL", [..., "", "shop", "https://shop.example/query"]),
    ],
)
def test_a_field_that_does_not_fit_is_named(operator, field, values):
    for value in values:
        expected = (400, "400.002.02", f"Bad Request - Invalid {field}")
        assert refused(operator.pay_out(**{field: value})) == expected, value


def test_the_occasion_may_be_left_out(operator):
    assert operator.pay_out(Occassion=...).status_code == 200


def test_a_stale_token_is_refused_in_the_familys_words(operator):
    operator._shop.token = "stale"
    words = "Error Occurred - Invalid Access Token"
    assert refused(operator.pay_out()) == (401, "401.002.01", words)
    assert refused(operator.ask_balance()) == (401, "401.002.01", words)
    assert refused(operator.top_up()) == (401, "401.002.01", words)
    assert refused(operator.ask_status("SABC"))[:2] == (400, "400.003.01")
    assert refused(operator.reverse("SABC", 1))[:2] == (404, "404.001.03")


def test_the_version_without_ids_of_our_own_is_not_there(shop):
    assert refused(shop.call("/mpesa/b2c/v1/paymentrequest", {}))[:2] == (404, "404.001.01")


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"amount": 9}, 2),
        ({"amount": 250_001}, 3),
        ({"amount": 100_001}, 1),
        ({"PartyA": "600100"}, 11),
        ({"PartyA": "174379"}, 2028),
    ],
)
def test_what_mpesa_will_not_do_comes_back_as_a_result(world, api, operator, outside, wish, code):
    assert operator.pay_out(**wish).status_code == 200
    world.advance(10)
    assert codes(outside) == [code]
    assert "ResultParameters" not in outside.results()[0].result
    assert api.held() == {"number": "600997", "working": 0, "utility": 100_000, "charges": 0}
    assert api.balance() == 10_000


def test_a_line_of_another_network_is_not_registered(world, api, operator, outside):
    api.ok("PUT", f"subscribers/{PAYER}", {"network": "airtel"})
    paid(world, api, operator)
    assert codes(outside) == [2040]


def test_a_customer_can_hold_half_a_million_and_no_more(world, api, operator, outside):
    api.ok("PUT", f"subscribers/{PAYER}", {"balance": 499_551})
    operator.pay_out(450, originator_id="a")
    operator.pay_out(449, originator_id="b")
    world.advance(10)
    assert codes(outside) == [8, 0]


def test_a_customer_can_receive_half_a_million_a_day_in_nairobi(world, api, operator, outside):
    api.fund(1_000_000)
    for name in "ab":
        operator.pay_out(250_000, originator_id=name)
        world.advance(10)
        api.ok("PUT", f"subscribers/{PAYER}", {"balance": 0})
    operator.pay_out(10, originator_id="c")
    world.advance(10 * 3600)  # past midnight there: a new day
    operator._shop.token = operator._shop.new_token()
    operator.pay_out(10, originator_id="d")
    world.advance(10)
    assert codes(outside) == [0, 0, 4, 0]


@pytest.mark.parametrize(
    ("amount", "cost"),
    [(10, 0), (100, 0), (101, 5), (1_500, 5), (1_501, 9), (5_000, 9), (5_001, 11), (90_000, 11)],
)
def test_a_payout_is_charged_by_its_amount(world, api, operator, amount, cost):
    operator.pay_out(amount)
    world.advance(10)
    held = api.held()
    assert (held["utility"], held["charges"]) == (100_000 - amount, -cost)


def test_charges_follow_the_rules_and_are_owed_until_they_are_settled(world, api, operator):
    api.rules(b2c_charges=[[100, 1], [1000, 7]])
    before = api.ok("GET", "audit")
    operator.pay_out(5000)
    world.advance(10)
    owed = api.ok("GET", "audit")
    assert (owed["mpesa"], owed["shortcodes"]) == (0, 95_000)
    assert owed["customers"] + owed["shortcodes"] == before["total"] + 10_000  # a newcomer's
    charge = api.ok("GET", "statement")[-1]
    assert (charge["kind"], charge["amount"], charge["from"], charge["to"]) == (
        "charge", 7, "600997/Charges", "mpesa",
    )  # fmt: skip
    assert charge["receipt"] == api.ok("GET", "statement")[-2]["receipt"]
    assert api.ok("POST", "shortcodes/600997/charges") == {"settled": 7}
    assert api.ok("POST", "shortcodes/600997/charges") == {"settled": 0}
    settled = api.ok("GET", "audit")
    assert (settled["mpesa"], settled["shortcodes"], settled["balanced"]) == (7, 94_993, True)
    assert settled["total"] == owed["total"]


def test_charges_are_settled_as_far_as_the_money_reaches(world, api, operator):
    operator.pay_out(5000)
    world.advance(10)
    api.fund(4)
    assert api.ok("POST", "shortcodes/600997/charges") == {"settled": 4}
    assert api.held()["charges"] == -5
    assert api("POST", "shortcodes/600100/charges").status_code == 404


@pytest.mark.parametrize("code", ["1", "17", "21", "26", "2006", "2040", "SFC_IC0003", "1234"])
def test_rules_fail_a_payout_with_any_code(world, api, operator, outside, code):
    paid(world, api, operator, result_code=code)
    (told,) = codes(outside)
    assert str(told) == code
    assert isinstance(told, int) == code.isdigit()
    assert api.balance() == 10_000


def test_a_failure_has_an_id_like_a_receipts_or_one_of_zeros(world, api, operator, outside):
    paid(world, api, operator, result_code="26")
    api.rules(next_b2c=[{"result_code": "26", "failure_id": "zeros"}])
    operator.pay_out(originator_id="payout-2")
    world.advance(10)
    ordinary, zeros = [call.result["TransactionID"] for call in outside.results()]
    assert len(ordinary) == 10
    assert not ordinary.endswith("00000000")
    assert zeros.endswith("00000000")
    assert ordinary not in [each["receipt"] for each in api.ok("GET", "statement")]


# --- the gateway's own faults ---------------------------------------------------------------


@pytest.mark.parametrize(("when", "balance"), [("before", 10_000), ("after", 10_450)])
@pytest.mark.parametrize(
    "fault", ["reset", "slow", "html_503", "server_error", "spike", "internal_error"]
)
def test_an_ack_can_be_lost_before_and_after_acting(world, api, operator, when, balance, fault):
    api.rules(faults=[{"fault": fault, "when": when, "on": "b2c", "times": 1}])
    try:
        assert operator.pay_out().status_code >= 500
    except (Reset, Slow):
        assert fault in ("reset", "slow")
    world.advance(60)
    assert api.balance() == (10_450 if fault == "slow" else balance)


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("bad_request", 400, {"errorCode": "400.002.02"}),
        ("maintenance", 500, {"errorCode": "500.002.1001"}),
        ("rejected", 200, {"ResponseCode": "1"}),
    ],
)
def test_a_payout_can_be_refused_in_other_ways(world, api, operator, fault, status, said):
    api.rules(faults=[{"fault": fault, "on": "b2c", "times": 1}])
    answer = operator.pay_out()
    assert answer.status_code == status
    assert said.items() <= answer.json.items()
    assert "Duplicate" not in answer.text
    world.advance(60)
    assert api.balance() == 10_000
    assert operator.pay_out().status_code == 200, "nothing was remembered"


@pytest.mark.parametrize("on", ["b2c", "status", "reversal", "balance", "topup"])
def test_a_fault_strikes_one_kind_only(api, operator, on):
    api.rules(faults=[{"fault": "html_503", "on": on}])
    struck = {
        "b2c": operator.pay_out(),
        "status": operator.ask_status("SABC"),
        "reversal": operator.reverse("SABC", 1),
        "balance": operator.ask_balance(),
        "topup": operator.top_up(),
    }
    assert {name for name, answer in struck.items() if answer.status_code == 503} == {on}


# --- what becomes of the Result --------------------------------------------------------------


def test_a_result_can_never_come_though_the_money_moved(world, api, operator, outside):
    paid(world, api, operator, result="never")
    assert outside.calls == []
    assert api.balance() == 10_450


def test_a_payout_can_be_accepted_and_forgotten(world, api, operator, outside):
    paid(world, api, operator, acts=False)
    assert outside.calls == []
    assert api.balance() == 10_000
    assert refused(operator.pay_out())[1] == "500.002.1001", "its id is taken all the same"


def test_a_result_can_come_before_the_ack(world, api, operator, outside):
    api.rules(next_b2c=[{"result": "before_ack"}])
    ack = operator.pay_out().json
    (call,) = outside.results()
    assert call.seconds == 0
    assert call.result["ConversationID"] == ack["ConversationID"]
    world.advance(60)
    assert len(outside.results()) == 1
    assert api.balance() == 10_450


def test_a_result_can_be_late(world, api, operator, outside):
    paid(world, api, operator, act_seconds=7, result_seconds=200)
    assert [call.seconds for call in outside.results()] == [207]
    stamp = dict(outside.results()[0].parameters)["TransactionCompletedDateTime"]
    assert stamp == "17.08.2026 14:04:26", "when the money moved, not when it was told"


def test_a_result_can_be_repeated_one_after_another(world, api, operator, outside):
    paid(world, api, operator, result_repeats=3, result_gap_seconds=7)
    assert [call.seconds for call in outside.results()] == [3, 10, 17]
    assert len({call.body for call in outside.results()}) == 1
    assert api.balance() == 10_450


def test_a_result_can_be_repeated_at_the_same_instant(world, api, operator, outside):
    together = threading.Barrier(3)

    def answer(call):
        together.wait(timeout=60)
        return Answer(200, {}, "")

    outside.answer = answer
    paid(world, api, operator, result_repeats=3, result_together=True)
    assert [call.seconds for call in outside.results()] == [3, 3, 3]


def test_a_result_not_taken_is_tried_again_where_the_rules_say_so(world, api, operator, outside):
    outside.answer = lambda call: Answer(500, {}, "")
    paid(world, api, operator, result_retries=2)
    assert [call.seconds for call in outside.results()] == [3, 63, 123]


def test_a_first_result_can_say_that_more_is_to_come(world, api, operator, outside):
    paid(world, api, operator, result_interim=True)
    first, last = outside.results()
    assert (first.result["ResultType"], last.result["ResultType"]) == (1, 0)
    assert "ResultParameters" not in first.result


def test_results_can_contradict_each_other_while_the_books_keep_to_the_truth(
    world, api, operator, outside
):
    paid(world, api, operator, result_contradiction=[1, 0])
    failure, success = outside.results()
    assert codes(outside) == [1, 0]
    assert "ResultParameters" not in failure.result
    (moved,) = [each for each in api.ok("GET", "statement") if each["kind"] == "b2c"]
    assert success.result["TransactionID"] == moved["receipt"]
    assert failure.result["TransactionID"] != moved["receipt"]


def test_a_forged_success_moves_no_money(world, api, operator, outside):
    paid(world, api, operator, result_code="2040", result_contradiction=["0"])
    (call,) = outside.results()
    assert call.result["ResultCode"] == 0
    parameters = dict(call.parameters)
    assert parameters["TransactionReceipt"] == call.result["TransactionID"]
    assert call.result["TransactionID"] not in [
        each["receipt"] for each in api.ok("GET", "statement")
    ]
    assert api.balance() == 10_000


@pytest.mark.parametrize(
    ("rules", "key", "expected"),
    [
        ({"result_amount": 1}, "TransactionAmount", 1),
        ({"result_party": "+254799999999"}, "ReceiverPartyPublicName", "254799999999 - NOBODY"),
        ({"result_receipt": "SKNOWN0000"}, "TransactionReceipt", "SKNOWN0000"),
    ],
)
def test_a_result_can_claim_what_is_wrong(world, api, operator, outside, rules, key, expected):
    paid(world, api, operator, **rules)
    assert dict(outside.results()[0].parameters)[key] == expected
    assert api.balance() == 10_450


def test_a_results_forms_vary(world, api, operator, outside):
    paid(world, api, operator, result_code_form="string", reference_form="array")
    (call,) = outside.results()
    assert (call.result["ResultCode"], call.result["ResultType"]) == ("0", "0")
    assert call.result["ReferenceData"]["ReferenceItem"][0]["Key"] == "QueueTimeoutURL"
    api.rules(next_b2c=[{"reference_form": "absent"}])
    operator.pay_out(originator_id="payout-2")
    world.advance(10)
    assert "ReferenceData" not in outside.results()[1].result


@pytest.mark.parametrize("form", ["html", "empty", "not_json"])
def test_a_results_body_can_be_nonsense(world, api, operator, outside, form):
    paid(world, api, operator, result_body=form)
    (call,) = outside.results()
    with pytest.raises(ValueError, match="Expecting"):
        call.json  # noqa: B018
    assert (call.headers["Content-Type"] == "text/html") == (form == "html")


def test_a_queue_time_out_echoes_the_request_and_the_payout_comes_all_the_same(
    world, api, operator, outside
):
    paid(world, api, operator, queue="echo")
    (told,), (result,) = outside.timeouts(), outside.results()
    assert (told.seconds, result.seconds) == (60, 63)
    assert told.json["OriginatorConversationID"] == "payout-1"
    assert told.json["Amount"] == 450
    assert "Result" not in told.json
    assert result.result["ResultCode"] == 0
    assert api.balance() == 10_450


def test_a_queue_time_out_can_be_a_result_that_is_no_failure(world, api, operator, outside):
    paid(world, api, operator, queue="result", queue_seconds=20, result="never")
    (told,) = outside.timeouts()
    assert (told.seconds, told.result["ResultCode"]) == (20, 26)
    assert told.result["OriginatorConversationID"] == "payout-1"
    assert api.balance() == 10_450


def test_what_waited_too_long_can_be_lost_for_good(world, api, operator, outside):
    paid(world, api, operator, queue="echo", acts=False)
    assert (len(outside.timeouts()), outside.results()) == (1, [])
    assert api.balance() == 10_000


def test_rules_of_a_kind_hold_for_all_of_it_and_a_script_for_one(world, api, operator, outside):
    api.rules(b2c={"result": "never"}, next_b2c=[{}, {"result": "after"}], result_repeats=2)
    for name in "abc":
        operator.pay_out(10, originator_id=name)
    operator.ask_balance()
    world.advance(60)
    told = [call.result["OriginatorConversationID"] for call in outside.results()]
    assert (told.count("b"), len(told)) == (2, 4)
    assert api.ok("GET", "rules")["next_b2c"] == []


def test_a_refused_request_uses_no_script_up(api, operator):
    api.rules(next_b2c=[{}])
    assert operator.pay_out(Remarks="").status_code == 400
    assert operator.pay_out().status_code == 200
    api.rules(next_b2c=[{}])
    assert operator.pay_out().status_code == 500, "a repeated id"
    assert len(api.ok("GET", "rules")["next_b2c"]) == 1


def test_the_result_goes_to_the_url_of_its_own_request(world, operator, outside):
    operator.pay_out(10, originator_id="a")
    operator.pay_out(10, originator_id="b", ResultURL=RESULT + "b")
    world.advance(10)
    urls = {call.result["OriginatorConversationID"]: call.url for call in outside.calls}
    assert urls == {"a": RESULT, "b": RESULT + "b"}


# --- over a restart ---------------------------------------------------------------------------


def test_a_restart_keeps_ids_books_and_what_was_in_the_queue(tmp_path):
    def begin(seed):
        outside = Outside()
        world = World(virtual_from=START, chance=random.Random(seed), post=outside, home=tmp_path)
        web = create_app(world).test_client()
        return world, outside, Api(web), Operator(Shop(web))

    world, outside, api, operator = begin(1)
    api.fund(1_000)
    api.rules(next_b2c=[{}, {"acts": False}])
    for name in ("done", "forgotten"):
        operator.pay_out(101, originator_id=name)
    world.advance(10)
    operator.pay_out(99, originator_id="waiting")
    statement, credential = api.ok("GET", "statement"), operator.credential
    world.stop()

    world, outside, api, operator = begin(2)
    assert api.ok("GET", "statement") == statement
    for name in ("done", "forgotten", "waiting"):
        assert operator.pay_out(101, originator_id=name).status_code == 500
    world.advance(60)
    assert [call.result["OriginatorConversationID"] for call in outside.results()] == ["waiting"]
    operator.ask_status(originator_id="done", SecurityCredential=credential)
    operator.ask_status(originator_id="forgotten")
    world.advance(10)
    assert codes(outside)[1:] == [0, 2032], "the old credential is good too"
    assert api.held() == {"number": "600997", "working": 0, "utility": 800, "charges": -5}
    assert world.books.audit()["balanced"]
    world.stop()
    journal = (tmp_path / "journal.jsonl").read_text()
    assert "Initiator1" not in journal
    assert credential not in journal
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
