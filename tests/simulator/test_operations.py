"""What an operator asks besides payouts: status, reversals, balances, top-ups; and the operator."""

import base64
import random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import load_pem_x509_certificate

from simulator.world import Place, World
from tests.simulator.pretend import PASSWORD, PAYER, START, Outside


@pytest.fixture(autouse=True)
def float_of_1_000(api):
    api.fund(1_000)


def refused(answer) -> tuple[int, str, str]:
    return answer.status_code, answer.json["errorCode"], answer.json["errorMessage"]


@pytest.fixture
def ask(world, operator, outside):
    """Ask by one of the operator's verbs, wait, and return the newest Result."""

    def ask(verb: str, *given, **changes):
        answer = getattr(operator, verb)(*given, **changes)
        assert answer.status_code == 200, answer.text
        world.advance(10)
        return outside.results()[-1]

    return ask


def status_of(call) -> str:
    return dict(call.parameters)["TransactionStatus"]


def pay_in(api, amount: int = 300) -> str:
    """A payment by hand into the paybill; its receipt."""
    return api.ok("POST", "payments", {"from": PAYER, "account": "ORD1", "amount": amount})[
        "receipt"
    ]


# --- transaction status -----------------------------------------------------------------------


def test_the_status_of_a_payout_says_what_happened_with_one_key_twice(world, operator, ask):
    ack = operator.pay_out().json
    world.advance(10)
    call = ask("ask_status", originator_id="payout-1")
    keys = [key for key, _ in call.parameters]
    assert call.result["ResultCode"] == 0
    assert call.result["TransactionID"].endswith("00000000")
    assert call.result["OriginatorConversationID"] != "payout-1"
    assert [value for key, value in call.parameters if key == "DebitPartyName"] == [
        "600997 - SOKONI", f"254712345678 - {world.books.subscriber(PAYER, START).first_name}",
    ]  # fmt: skip
    assert len(keys) == len(set(keys)) + 1
    said = dict(call.parameters)
    assert said["ReceiptNo"] == world.books.statement()[-1].receipt
    assert {"Key": "TransactionReason"} in call.result["ResultParameters"]["ResultParameter"]
    for name in ("DebitPartyName", "ReceiptNo"):
        del said[name]
    assert said == {
        "OriginatorConversationID": "payout-1",
        "InitiatedTime": 20260817140419,
        "DebitAccountType": "Utility Account",
        "DebitPartyCharges": "Fee For B2C Payment|KES|5.00",
        "TransactionReason": None,
        "ReasonType": "Business Payment to Customer via API",
        "TransactionStatus": "Completed",
        "FinalisedTime": 20260817140421,
        "Amount": "450",
        "ConversationID": ack["ConversationID"],
    }


def test_a_status_can_be_asked_by_receipt_or_by_the_older_name_of_the_id(world, operator, ask):
    operator.pay_out()
    world.advance(10)
    receipt = world.books.statement()[-1].receipt
    for given in (
        {"receipt": receipt},
        {"originator_id": ..., "OriginatorConversationID": "payout-1"},
    ):
        assert dict(ask("ask_status", **given).parameters)["ReceiptNo"] == receipt


def test_a_status_follows_a_payout_from_the_queue_to_its_end(world, api, operator, ask):
    api.rules(next_b2c=[{"queue": "echo", "queue_seconds": 30}, {"result_code": "2040"}])
    operator.pay_out()
    waiting = ask("ask_status", originator_id="payout-1")
    said = dict(waiting.parameters)
    assert (said["TransactionStatus"], said["ReceiptNo"], said["FinalisedTime"]) == (
        "Initiated", None, None,
    )  # fmt: skip
    world.advance(60)
    assert status_of(ask("ask_status", originator_id="payout-1")) == "Completed"
    operator.pay_out(originator_id="payout-2")
    failed = dict(ask("ask_status", originator_id="payout-2").parameters)
    assert failed["TransactionStatus"] == "Declined"
    assert failed["ReceiptNo"] not in [each.receipt for each in world.books.statement()]
    by_id = ask("ask_status", receipt=failed["ReceiptNo"])
    assert status_of(by_id) == "Declined", "an ordinary-looking id that is no receipt"


@pytest.mark.parametrize(
    "given", [{"receipt": "SNOSUCH000"}, {"originator_id": "never-sent"}, {"originator_id": "gone"}]
)
def test_what_is_not_known_does_not_exist(api, operator, ask, given):
    api.rules(next_b2c=[{"acts": False}])
    operator.pay_out(originator_id="gone")
    call = ask("ask_status", **given)
    assert call.result["ResultCode"] == 2032
    assert call.result["ResultDesc"] == "The transaction receipt number does not exist."
    assert "ResultParameters" not in call.result


def test_only_a_party_to_a_transaction_may_ask_about_it(world, api, operator, ask):
    operator.pay_out()
    world.advance(10)
    assert ask("ask_status", originator_id="payout-1", PartyA="174379").result["ResultCode"] == 2032
    receipt = pay_in(api)
    assert ask("ask_status", receipt=receipt).result["ResultCode"] == 2032
    assert ask("ask_status", receipt=receipt, PartyA="600100").result["ResultCode"] == 11


def test_the_status_of_a_customers_payment_names_the_customer_first(api, ask):
    receipt = pay_in(api)
    call = ask("ask_status", receipt=receipt, PartyA="174379")
    names = [value for key, value in call.parameters if key == "DebitPartyName"]
    said = dict(call.parameters)
    assert [name.split(" - ")[0] for name in names] == [PAYER[1:], "174379"]
    assert (said["TransactionStatus"], said["ReceiptNo"], said["Amount"]) == (
        "Completed", receipt, "300",
    )  # fmt: skip


@pytest.mark.parametrize(
    "status",
    ["Completed", "Cancelled", "Declined", "Expired", "Initiated", "Authorized",
     "Pending Authorized"],
)  # fmt: skip
def test_rules_have_a_status_say_anything(world, api, operator, ask, status):
    operator.pay_out()
    world.advance(10)
    api.rules(next_status=[{"status_says": status}])
    assert status_of(ask("ask_status", originator_id="payout-1")) == status


@pytest.mark.parametrize(
    ("rules", "key", "expected"),
    [
        ({"result_amount": 451}, "Amount", "451"),
        ({"result_party": "+254799999999"}, "DebitPartyName", "254799999999 - NOBODY"),
        ({"result_receipt": "SKNOWN0000"}, "ReceiptNo", "SKNOWN0000"),
        ({"result_originator": "other"}, "OriginatorConversationID", "other"),
        ({"status_party": "credit", "result_party": "x"}, "CreditPartyName", "x - NOBODY"),
    ],
)
def test_a_status_can_claim_what_is_wrong(world, api, operator, ask, rules, key, expected):
    operator.pay_out()
    world.advance(10)
    api.rules(next_status=[rules])
    assert dict(ask("ask_status", originator_id="payout-1").parameters)[key] == expected


def test_a_status_can_fail_or_never_come(world, api, operator, ask, outside):
    operator.pay_out()
    world.advance(10)
    api.rules(next_status=[{"result_code": "2032"}, {"result": "never"}])
    assert ask("ask_status", originator_id="payout-1").result["ResultCode"] == 2032
    count = len(outside.results())
    operator.ask_status(originator_id="payout-1")
    world.advance(300)
    assert len(outside.results()) == count


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "TransactionID"),
        ({"receipt": "s-1"}, "TransactionID"),
        ({"originator_id": "a b"}, "OriginalConversationID"),
        ({"receipt": "SABC", "CommandID": "Status"}, "CommandID"),
        ({"receipt": "SABC", "IdentifierType": "1"}, "IdentifierType"),
        ({"receipt": "SABC", "PartyA": ""}, "PartyA"),
        ({"receipt": "SABC", "Remarks": ""}, "Remarks"),
        ({"receipt": "SABC", "ResultURL": ...}, "ResultURL"),
        ({"receipt": "SABC", "QueueTimeOutURL": "x"}, "QueueTimeOutURL"),
        ({"receipt": "SABC", "Initiator": ...}, "Initiator"),
        ({"receipt": "SABC", "SecurityCredential": ""}, "SecurityCredential"),
    ],
)
def test_a_status_query_that_does_not_fit_is_refused(operator, changes, named):
    answer = operator.ask_status(**changes)
    assert answer.status_code == 400
    assert answer.json["errorMessage"] == f"Bad Request - Invalid {named}"


# --- reversal ---------------------------------------------------------------------------------


def test_a_reversal_gives_a_whole_payment_back_once(api, ask):
    receipt = pay_in(api)
    call = ask("reverse", receipt, 300)
    said = dict(call.parameters)
    assert call.result["ResultCode"] == 0
    assert call.result["TransactionID"] not in (receipt, "")
    assert said.pop("CreditPartyPublicName").startswith("254712345678 - ")
    assert said == {
        "DebitAccountBalance": "Utility Account|KES|0.00|0.00|0.00|0.00",
        "Amount": 300,
        "TransCompletedTime": 20260817140421,
        "OriginalTransactionID": receipt,
        "Charge": 0,
        "DebitPartyPublicName": "174379 - SOKONI",
    }
    assert api.balance() == 10_000
    sms = api.ok("GET", f"sms/{PAYER}")[-1]["text"]
    assert sms.startswith(f"{call.result['TransactionID']} Confirmed. Transaction {receipt} of ")
    again = ask("reverse", receipt, 300)
    assert again.result["ResultCode"] == "R000001"
    assert "ResultParameters" not in again.result
    assert api.balance() == 10_000


def test_a_paid_push_can_be_reversed_and_a_payout_cannot(world, shop, api, operator, ask):
    api.rules(auto="0")
    shop.accepted()
    world.advance(60)
    pushed = world.books.statement()[-1].receipt
    operator.pay_out()
    world.advance(10)
    paid_out = world.books.statement()[-1].receipt
    assert ask("reverse", paid_out, 450).result["ResultCode"] == "R000002"
    assert ask("reverse", paid_out, 450, ReceiverParty="600997").result["ResultCode"] == "R000002"
    back = ask("reverse", pushed, 2250)
    assert back.result["ResultCode"] == 0
    status = ask("ask_status", receipt=back.result["TransactionID"], PartyA="174379")
    assert status_of(status) == "Completed"
    assert ask("reverse", back.result["TransactionID"], 2250).result["ResultCode"] == "R000002"


def test_a_reversal_needs_the_receipt_the_whole_amount_and_the_money(api, ask):
    receipt = pay_in(api)
    assert ask("reverse", "SNOSUCH000", 300).result["ResultCode"] == "R000002"
    assert ask("reverse", receipt, 299).result["ResultCode"] == 2028
    api.fund(299, "174379")
    assert ask("reverse", receipt, 300).result["ResultCode"] == 1
    assert api.balance() == 9_700


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"CommandID": "Reverse"}, "CommandID"),
        ({"RecieverIdentifierType": "4"}, "RecieverIdentifierType"),
        ({"ReceiverParty": ""}, "ReceiverParty"),
        ({"Amount": 0}, "Amount"),
        ({"Amount": "9.99"}, "Amount"),
        ({"TransactionID": ""}, "TransactionID"),
        ({"Remarks": "x"}, "Remarks"),
        ({"ResultURL": ""}, "ResultURL"),
        ({"QueueTimeOutURL": ""}, "QueueTimeOutURL"),
        ({"Initiator": ""}, "Initiator"),
    ],
)
def test_a_reversal_that_does_not_fit_is_refused(operator, changes, named):
    answer = operator.reverse("SABC", 10, **changes)
    assert refused(answer) == (400, "400.002.02", f"Bad Request - Invalid {named}")


def test_a_reversal_misbehaves_by_rule_like_a_payout(world, api, operator, outside):
    receipt = pay_in(api)
    api.rules(next_reversal=[{"result": "never"}, {"result_contradiction": ["0", "R000001"]}])
    operator.reverse(receipt, 300)
    world.advance(10)
    assert (outside.results(), api.balance()) == ([], 10_000)
    operator.reverse(receipt, 300)
    world.advance(10)
    assert [call.result["ResultCode"] for call in outside.results()] == [0, "R000001"]
    assert api.balance() == 10_000


def test_mpesa_can_give_a_payment_back_by_itself(world, api, ask, outside):
    receipt = pay_in(api)
    back = api.ok("POST", "reversals", {"receipt": receipt})["receipt"]
    world.advance(60)
    assert (outside.calls, api.balance()) == ([], 10_000)
    line = api.ok("GET", "statement")[-1]
    assert (line["kind"], line["receipt"], line["account"]) == ("reversal", back, receipt)
    assert api("POST", "reversals", {"receipt": receipt}).status_code == 409
    assert api("POST", "reversals", {"receipt": "SNOSUCH000"}).status_code == 409
    assert ask("reverse", receipt, 300).result["ResultCode"] == "R000001"
    spent = pay_in(api)
    api.fund(0, "174379")
    assert api("POST", "reversals", {"receipt": spent}).status_code == 409


# --- balance and top-up -----------------------------------------------------------------------


def test_a_balance_is_one_string_of_accounts(world, api, operator, ask):
    operator.pay_out(450)
    world.advance(10)
    call = ask("ask_balance")
    assert (call.result["ResultType"], call.result["ResultCode"]) == ("0", "0")
    assert dict(call.parameters) == {
        "AccountBalance": "Working Account|KES|0.00|0.00|0.00|0.00&"
        "Float Account|KES|0.00|0.00|0.00|0.00&"
        "Utility Account|KES|550.00|550.00|0.00|0.00&"
        "Charges Paid Account|KES|-5.00|-5.00|0.00|0.00&"
        "Organization Settlement Account|KES|0.00|0.00|0.00|0.00",
        "BOCompletedTime": 20260817140431,
    }


def test_a_balance_can_be_of_either_shortcode_and_can_be_off(api, ask):
    pay_in(api, 300)
    api.rules(next_balance=[{}, {"balance_off": -7}])
    for expected in ("|300.00|300.00|", "|293.00|293.00|"):
        said = dict(ask("ask_balance", PartyA="174379").parameters)["AccountBalance"]
        assert f"Utility Account|KES{expected}" in said
    assert ask("ask_balance", PartyA="600100").result["ResultCode"] == "11"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"CommandID": ""}, "CommandID"), ({"IdentifierType": "2"}, "IdentifierType"),
        ({"PartyA": ...}, "PartyA"), ({"Remarks": ...}, "Remarks"),
        ({"ResultURL": ...}, "ResultURL"), ({"QueueTimeOutURL": ...}, "QueueTimeOutURL"),
    ],
)  # fmt: skip
def test_a_balance_query_that_does_not_fit_is_refused(operator, changes, named):
    answer = operator.ask_balance(**changes)
    assert refused(answer) == (400, "400.002.02", f"Bad Request - Invalid {named}")


def test_a_top_up_moves_the_float_from_the_paybill(api, ask):
    api.fund(8_000, "174379")
    call = ask("top_up", 5_000)
    assert dict(call.parameters) == {
        "DebitAccountBalance": "Utility Account|KES|3000.00|3000.00|0.00|0.00",
        "Amount": "5000.00",
        "TransCompletedTime": "20260817140421",
        "DebitPartyCharges": "",
        "ReceiverPartyPublicName": "600997 - SOKONI",
        "Currency": "KES",
    }
    assert (api.held()["utility"], api.held("174379")["utility"]) == (6_000, 3_000)
    receipt = call.result["TransactionID"]
    for party in ("174379", "600997"):
        assert status_of(ask("ask_status", receipt=receipt, PartyA=party)) == "Completed"


def test_a_top_up_has_no_id_of_ours_so_a_repeat_is_a_second_one(api, ask):
    api.fund(8_000, "174379")
    ids = {ask("top_up", 1_000).result["OriginatorConversationID"] for _ in range(2)}
    assert len(ids) == 2
    assert api.held()["utility"] == 3_000


@pytest.mark.parametrize(
    ("wish", "code"),
    [({"amount": 8_001}, 1), ({"PartyB": "600100"}, 2028), ({"PartyB": "174379"}, 2028),
     ({"PartyA": "600100"}, 11)],
)  # fmt: skip
def test_a_top_up_that_cannot_be_comes_back_as_a_result(api, ask, wish, code):
    api.fund(8_000, "174379")
    assert ask("top_up", **wish).result["ResultCode"] == code
    assert (api.held()["utility"], api.held("174379")["utility"]) == (1_000, 8_000)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"CommandID": "BusinessPayBill"}, "CommandID"),
        ({"SenderIdentifierType": "1"}, "SenderIdentifierType"),
        ({"RecieverIdentifierType": ...}, "RecieverIdentifierType"),
        ({"Amount": -1}, "Amount"), ({"PartyA": ""}, "PartyA"), ({"PartyB": ""}, "PartyB"),
        ({"AccountReference": "x" * 14}, "AccountReference"), ({"Remarks": ""}, "Remarks"),
        ({"ResultURL": ""}, "ResultURL"), ({"QueueTimeOutURL": ""}, "QueueTimeOutURL"),
    ],
)  # fmt: skip
def test_a_top_up_that_does_not_fit_is_refused(operator, changes, named):
    answer = operator.top_up(**changes)
    assert refused(answer) == (400, "400.002.02", f"Bad Request - Invalid {named}")


def test_a_shortcode_can_be_looked_at_and_funded(api):
    assert api.held("174379") == {"number": "174379", "working": 0, "utility": 0, "charges": 0}
    api.ok("PUT", "shortcodes/600997", {"working": 5, "utility": 7})
    assert api.held() == {"number": "600997", "working": 5, "utility": 7, "charges": 0}
    assert api.ok("GET", "audit")["injected"] == 12
    for body in ({"utility": -1}, {"utility": 1.5}, {"charges": 0}):
        assert api("PUT", "shortcodes/600997", body).status_code == 400
    assert api("PUT", "shortcodes/600100", {"utility": 1}).status_code == 404
    assert api("GET", "shortcodes/600100").status_code == 404


def test_a_shortcode_that_pays_out_takes_no_payments(shop, api):
    assert refused(shop.push(BusinessShortCode="600997"))[2] == "Merchant does not exist"
    assert shop.register(ShortCode="600997").json["errorMessage"].endswith("Invalid ShortCode")
    by_hand = {"from": PAYER, "account": "X", "amount": 1, "shortcode": "600997"}
    assert api("POST", "payments", by_hand).status_code == 404


# --- the initiator ----------------------------------------------------------------------------


def test_the_certificate_is_an_x509_one_of_an_rsa_key_of_2048_bits(web):
    answer = web.get("/simulator/api/certificate")
    assert answer.mimetype == "application/x-pem-file"
    certificate = load_pem_x509_certificate(answer.data)
    assert certificate.public_key().key_size == 2048
    assert certificate.not_valid_before_utc < START < certificate.not_valid_after_utc


def test_a_credential_differs_each_time_and_may_be_used_again(world, operator, outside):
    assert operator.encrypt(PASSWORD) != operator.encrypt(PASSWORD)
    for name in "ab":
        operator.pay_out(10, originator_id=name)
    world.advance(10)
    assert [call.result["ResultCode"] for call in outside.results()] == [0, 0]


def wrong_credentials(operator, web) -> list[str]:
    key = load_pem_x509_certificate(web.get("/simulator/api/certificate").data).public_key()
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return [
        PASSWORD,
        base64.b64encode(PASSWORD.encode()).decode(),
        operator.encrypt("Sandbox#Initiator2"),
        operator.encrypt(PASSWORD + "20260817140419"),
        base64.b64encode(key.encrypt(PASSWORD.encode(), oaep)).decode(),
    ]


def test_a_wrong_credential_is_accepted_and_comes_back_as_2001(world, web, api, operator, outside):
    api.rules(initiator_tries=0)
    wrong = wrong_credentials(operator, web)
    for number, credential in enumerate(wrong):
        answer = operator.pay_out(originator_id=f"p{number}", SecurityCredential=credential)
        assert answer.status_code == 200
    world.advance(10)
    assert [call.result["ResultCode"] for call in outside.results()] == [2001] * len(wrong)
    assert api.balance() == 10_000


def test_an_unknown_operator_comes_back_as_20_and_rules_may_say_18(api, operator, ask):
    assert ask("pay_out", InitiatorName="somebody").result["ResultCode"] == 20
    api.rules(initiator_code="18")
    wrong = operator.encrypt("wrong")
    assert ask("ask_balance", SecurityCredential=wrong).result["ResultCode"] == "18"


@pytest.mark.parametrize(
    ("verb", "given"),
    [("ask_status", ("SABC",)), ("reverse", ("SABC", 1)), ("ask_balance", ()), ("top_up", ())],
)
def test_every_operation_checks_the_credential(operator, ask, verb, given):
    call = ask(verb, *given, SecurityCredential=operator.encrypt("wrong"))
    assert str(call.result["ResultCode"]) == "2001"


def test_repeated_wrong_credentials_lock_the_operator_until_somebody_unlocks(api, operator, ask):
    wrong = operator.encrypt("wrong")
    codes = [ask("ask_balance", SecurityCredential=wrong).result["ResultCode"] for _ in range(4)]
    assert codes == ["2001", "2001", "2001", "8006"]
    assert ask("ask_balance").result["ResultCode"] == "8006", "the right one too"
    assert api.ok("GET", "initiator") == {"name": "sokoni-api", "locked": True}
    assert api.ok("PUT", "initiator", {"locked": False})["locked"] is False
    assert ask("ask_balance").result["ResultCode"] == "0"


def test_a_right_credential_forgets_the_wrong_ones(operator, ask):
    wrong = operator.encrypt("wrong")
    for credential in [wrong, wrong, operator.credential] * 2:
        call = ask("ask_balance", SecurityCredential=credential)
        assert (call.result["ResultCode"] == "0") == (credential is operator.credential)


def test_a_new_password_ends_the_old_credential(api, operator, ask):
    api.ok("PUT", "initiator", {"password": "Rotated$2"})
    assert ask("ask_balance").result["ResultCode"] == "2001"
    fresh = operator.encrypt("Rotated$2")
    assert ask("ask_balance", SecurityCredential=fresh).result["ResultCode"] == "0"
    for body in ({"password": 5}, {"locked": "no"}, {"name": "x"}):
        assert api("PUT", "initiator", body).status_code == 400


def test_a_lock_outlasts_a_restart(tmp_path):
    def begin():
        return World(virtual_from=START, chance=random.Random(1), post=Outside(), home=tmp_path)

    world = begin()
    for _ in range(3):
        world.initiator.refusal("sokoni-api", "wrong")
    certificate = world.initiator.certificate()
    world.stop()
    again = begin()
    assert again.initiator.is_locked
    key = load_pem_x509_certificate(certificate.encode()).public_key()
    assert key == load_pem_x509_certificate(again.initiator.certificate().encode()).public_key()
    again.stop()


def test_the_password_is_not_shown(web):
    assert PASSWORD not in repr(Place())
    assert PASSWORD not in web.get("/simulator/api/initiator").text
