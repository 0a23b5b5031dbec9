"""A push from prompt to callback, and every way the rules can spoil it."""

import json
import threading

import pytest

from simulator.outbound import Answer
from tests.simulator.pretend import CALLBACK, PAYER


def codes(outside) -> list:
    return [call.stk["ResultCode"] for call in outside.stk()]


def paid(world, shop, api, **rules) -> dict:
    """A push that its payer pays, and all that follows. Returns the ack."""
    api.rules(next=[{"auto": "0", "auto_seconds": [5, 5], **rules}])
    ack = shop.accepted()
    world.advance(300)
    return ack


def test_a_prompt_appears_after_the_ack_and_says_who_asks_for_what(world, shop, api):
    shop.accepted()
    assert api.ok("GET", f"prompts/{PAYER}") == []
    world.advance(1)
    prompt = api.prompt()
    assert prompt.pop("id")
    assert prompt == {
        "amount": 2250,
        "account": "ORD7K2",
        "business": "SOKONI",
        "at": "2026-08-17T11:04:20.250000+00:00",
        "expires_at": "2026-08-17T11:05:20.250000+00:00",
    }


def test_the_right_pin_pays_and_calls_back_as_mpesa_does(world, shop, api, outside):
    ack = shop.accepted()
    world.advance(1)
    outcome = api.answer(pin="1234")
    world.advance(1)
    (call,) = outside.stk()
    assert call.headers["Content-Type"] == "application/json"
    # The amount has two decimals and the numbers are bare, as on the wire.
    assert b'{"Name":"Amount","Value":2250.00}' in call.body
    assert call.json == {"Body": {"stkCallback": {
        "MerchantRequestID": ack["MerchantRequestID"],
        "CheckoutRequestID": ack["CheckoutRequestID"],
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": [
            {"Name": "Amount", "Value": 2250.0},
            {"Name": "MpesaReceiptNumber", "Value": outcome["receipt"]},
            {"Name": "Balance"},
            {"Name": "TransactionDate", "Value": 20260817140420},
            {"Name": "PhoneNumber", "Value": 254712345678},
        ]},
    }}}  # fmt: skip
    assert (outcome["result"], outcome["message"]) == ("0", "Confirmed.")
    assert api.balance() == 7750
    assert world.books.balance_cents("174379/Utility") == 2250_00


def test_the_payer_gets_mpesas_message(world, shop, api):
    ack = paid(world, shop, api)
    (message,) = api.ok("GET", f"sms/{PAYER}")
    receipt = world.mpesa.find(ack["CheckoutRequestID"]).receipt
    assert message["from"] == "MPESA"
    assert message["text"] == (
        f"{receipt} Confirmed. Ksh2,250.00 sent to SOKONI for account ORD7K2 on 17/8/26 at "
        "02:04 PM. New M-PESA balance is Ksh7,750.00."
    )


@pytest.mark.parametrize(
    ("answer", "balance", "code"),
    [
        ({"pin": "0000"}, 10_000, 2001),
        ({"cancel": True}, 10_000, 1032),
        ({"pin": "1234"}, 2249, 1),
    ],
)
def test_a_prompt_that_is_not_paid_says_why(world, shop, api, outside, answer, balance, code):
    api.ok("PUT", f"subscribers/{PAYER}", {"balance": balance})
    shop.accepted()
    world.advance(1)
    assert api.answer(**answer)["result"] == str(code)
    world.advance(5)
    (call,) = outside.stk()
    assert call.stk["ResultCode"] == code
    assert "CallbackMetadata" not in call.stk
    assert api.balance() == balance


def test_an_unanswered_prompt_ends_after_a_minute(world, shop, api, outside):
    shop.accepted()
    world.advance(60)
    assert api.prompt()
    world.advance(1)
    assert api.ok("GET", f"prompts/{PAYER}") == []
    world.advance(1)
    assert codes(outside) == [1037]


def test_a_prompt_over_an_open_session_is_lost_and_ends_as_1037(world, shop, api, outside):
    outside.say("CON Wait")
    api.ok("POST", "dial", {"number": PAYER, "code": "*384*7042#"})
    shop.accepted()
    world.advance(2)
    assert api.ok("GET", f"prompts/{PAYER}") == []
    world.advance(58)
    assert codes(outside) == []
    world.advance(3)
    assert codes(outside) == [1037]


def test_a_prompt_after_the_session_has_closed_is_shown(world, shop, api, outside):
    outside.say("END Check your phone")
    api.ok("POST", "dial", {"number": PAYER, "code": "*384*7042#"})
    shop.accepted()
    world.advance(1)
    assert api.prompt()


def test_a_line_of_another_network_is_never_prompted(world, shop, api, outside):
    api.ok("PUT", f"subscribers/{PAYER}", {"network": "airtel"})
    shop.accepted()
    world.advance(1)
    assert api.ok("GET", f"prompts/{PAYER}") == []
    world.advance(62)
    assert codes(outside) == [1037]


def test_the_same_amount_within_two_minutes_is_accepted_and_ends_as_17(world, shop, api, outside):
    shop.accepted()
    world.advance(61)
    shop.accepted()
    world.advance(1)
    assert codes(outside) == [1037, 17]
    shop.accepted(Amount=2251)
    world.advance(61)
    shop.accepted()
    world.advance(62)
    assert codes(outside) == [1037, 17, 1037, 1037]


def test_a_till_number_with_a_paybills_type_ends_as_2028(world, shop, outside):
    shop.accepted(PartyB="600000")
    world.advance(1)
    shop.accepted(TransactionType="CustomerBuyGoodsOnline", Amount=5)
    world.advance(1)
    assert codes(outside) == [2028, 2028]


def test_buying_goods_at_the_till_is_paid(world, shop, api, outside):
    api.rules(auto="0")
    shop.accepted(TransactionType="CustomerBuyGoodsOnline", PartyB="5174379")
    world.advance(60)
    assert codes(outside) == [0]


def test_a_prompt_is_answered_once(world, shop, api):
    shop.accepted()
    world.advance(1)
    prompt = api.prompt()["id"]
    assert api("POST", f"prompts/{prompt}", {"pin": "1234"}).status_code == 200
    assert api("POST", f"prompts/{prompt}", {"pin": "1234"}).status_code == 409
    assert api("POST", "prompts/none", {"pin": "1234"}).status_code == 404
    assert api.balance() == 7750


@pytest.mark.parametrize("body", [{}, {"pin": "1234", "cancel": True}, {"cancel": 1}, {"x": 1}, []])
def test_a_prompt_takes_a_pin_or_a_cancel(world, shop, api, body):
    shop.accepted()
    world.advance(1)
    assert api("POST", f"prompts/{api.prompt()['id']}", body).status_code == 400
    assert api.prompt()


def test_wrong_pins_lock_the_line_where_the_rules_say_so(world, shop, api, outside):
    api.rules(pin_tries=2)
    for amount, pin in ((1, "0000"), (2, "0000"), (3, "1234")):
        shop.accepted(Amount=amount)
        world.advance(1)
        api.answer(pin=pin)
    world.advance(1)
    assert codes(outside) == [2001, 2001, 8006]
    api.ok("PUT", f"subscribers/{PAYER}", {"pin": "4321"})
    shop.accepted(Amount=4)
    world.advance(1)
    assert api.answer(pin="4321")["result"] == "0"


def test_rules_answer_prompts_with_any_code(world, shop, api, outside):
    api.rules(next=[{"auto": code} for code in ("1019", "BW-JMS-100039", 26, "1037", "0")])
    for amount in range(1, 6):
        shop.accepted(Amount=amount)
        world.advance(100)
    assert codes(outside) == [1019, "BW-JMS-100039", 26, 1037, 0]
    assert api.balance() == 9995
    shop.accepted(Amount=6)
    world.advance(1)
    assert api.prompt(), "after the scripts a person answers again"


def test_an_automatic_payer_without_money_cannot_pay(world, shop, api, outside):
    api.ok("PUT", f"subscribers/{PAYER}", {"balance": 10})
    paid(world, shop, api)
    assert codes(outside) == [1]


def test_the_observed_mix_comes_out_in_its_shares(world, shop, api, outside):
    api.rules(auto="observed", seed=1, callback_seconds=0)
    for amount in range(1, 401):
        phone = f"2547{amount:08}"
        shop.accepted(PhoneNumber=phone, PartyA=phone)
    world.advance(120)
    found = codes(outside)
    assert len(found) == 400
    assert 140 < found.count(1032) < 212
    assert 60 < found.count(1037) < 124
    # the mix says 11 %; of these, some would need more than they have
    assert 20 < found.count(0) < 70


def test_a_seed_repeats_what_happens_but_no_id(world, shop, api, outside):
    def run() -> tuple[list, list]:
        del outside.calls[:]
        api.rules(reset=True, auto="observed", seed=5, same_amount_seconds=0)
        ids = []
        for _ in range(12):
            ids.append(shop.accepted(Amount=1)["CheckoutRequestID"])
            world.advance(100)
        return codes(outside), ids

    (first, first_ids), (second, second_ids) = run(), run()
    assert first == second
    assert set(first_ids).isdisjoint(second_ids)


def test_a_callback_can_come_before_the_ack(world, shop, api, outside):
    api.rules(next=[{"auto": "0", "callback": "before_ack"}])
    ack = shop.accepted()
    assert [call.stk["CheckoutRequestID"] for call in outside.stk()] == [ack["CheckoutRequestID"]]
    assert codes(outside) == [0]


def test_a_callback_can_never_come_though_the_money_moved(world, shop, api, outside):
    ack = paid(world, shop, api, callback="never")
    assert outside.stk() == []
    assert api.balance() == 7750
    assert shop.query(ack["CheckoutRequestID"]).json["ResultCode"] == "0"


def test_a_callback_can_be_late(world, shop, api, outside):
    paid(world, shop, api, callback_seconds=200)
    assert [call.seconds for call in outside.stk()] == [206]


def test_a_callback_can_be_repeated_one_after_another(world, shop, api, outside):
    paid(world, shop, api, callback_repeats=3, callback_gap_seconds=7)
    assert [call.seconds for call in outside.stk()] == [7, 14, 21]
    assert len({call.body for call in outside.stk()}) == 1


def test_a_callback_can_be_repeated_at_the_same_instant(world, shop, api, outside):
    together = threading.Barrier(3)

    def answer(call):
        together.wait(timeout=60)  # passes only when three are under way at once
        return Answer(200, {}, "")

    outside.answer = answer
    paid(world, shop, api, callback_repeats=3, callback_together=True)
    assert [call.seconds for call in outside.stk()] == [7, 7, 7]


def test_callbacks_can_contradict_each_other_while_the_books_keep_to_the_truth(
    world, shop, api, outside
):
    ack = paid(world, shop, api, contradiction=[1037, 0])
    assert codes(outside) == [1037, 0]
    assert outside.stk()[1].items["MpesaReceiptNumber"] == world.books.statement()[-1].receipt
    assert shop.query(ack["CheckoutRequestID"]).json["ResultCode"] == "0"


def test_a_forged_success_moves_no_money(world, shop, api, outside):
    ack = paid(world, shop, api, auto="1037", contradiction=["0"])
    (call,) = outside.stk()
    forged = call.items["MpesaReceiptNumber"]
    assert call.stk["ResultCode"] == 0
    assert forged not in [each.receipt for each in world.books.statement()]
    assert api.balance() == 10_000
    assert shop.query(ack["CheckoutRequestID"]).json["ResultCode"] == "1037"


def test_a_callback_not_taken_is_tried_again_where_the_rules_say_so(world, shop, api, outside):
    outside.answer = lambda call: Answer(500, {}, "")
    paid(world, shop, api, callback_retries=2)
    assert [call.seconds for call in outside.stk()] == [7, 67, 127]


def test_a_callback_that_nobody_takes_is_let_go(world, shop, api, outside):
    outside.be_silent()
    paid(world, shop, api)
    assert len(outside.stk()) == 1


@pytest.mark.parametrize(
    ("rules", "item", "expected"),
    [
        ({"claimed_amount": 1}, "Amount", 1.0),
        ({"claimed_phone": "+254799999999"}, "PhoneNumber", 254799999999),
        ({"phone_form": "string"}, "PhoneNumber", "254712345678"),
        ({"phone_form": "masked"}, "PhoneNumber", "2547 ***** 678"),
        ({"balance_form": "value"}, "Balance", 7750.0),
    ],
)
def test_an_item_of_the_callback_can_be_wrong_or_odd(
    world, shop, api, outside, rules, item, expected
):
    paid(world, shop, api, **rules)
    (call,) = outside.stk()
    assert call.items[item] == expected
    assert api.balance() == 7750


def test_items_can_be_missing_hashed_or_of_another_type(world, shop, api, outside):
    forms = {"balance_form": "absent", "phone_form": "absent", "amount_form": "integer"}
    paid(world, shop, api, code_form="string", **forms)
    (call,) = outside.stk()
    assert call.stk["ResultCode"] == "0"
    assert set(call.items) == {"Amount", "MpesaReceiptNumber", "TransactionDate"}
    assert b'"Value":2250}' in call.body
    paid(world, shop, api, phone_form="hashed")
    assert len(outside.stk()[1].items["PhoneNumber"]) == 64


@pytest.mark.parametrize("form", ["html", "empty", "not_json"])
def test_the_body_of_a_callback_can_be_nonsense(world, shop, api, outside, form):
    paid(world, shop, api, body_form=form)
    (call,) = outside.stk()
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.body)
    assert (call.headers["Content-Type"] == "text/html") == (form == "html")


def test_a_script_is_used_by_one_push_only(world, shop, api, outside):
    api.rules(auto="1032", next=[{"claimed_amount": 7}, {}])
    assert len(api.ok("GET", "rules")["next"]) == 2
    shop.accepted(Amount=1)
    assert len(api.ok("GET", "rules")["next"]) == 1
    refused = shop.push(Amount=0)
    assert refused.status_code == 400
    assert len(api.ok("GET", "rules")["next"]) == 1, "a refused push uses no script up"


def test_the_callback_goes_to_the_url_of_its_own_push(world, shop, api, outside):
    api.rules(auto="1032")
    shop.accepted()
    shop.accepted(PhoneNumber="254700000001", CallBackURL="https://shop.example/payments/stk/b")
    world.advance(60)
    assert sorted(call.url for call in outside.calls) == sorted(
        [CALLBACK, "https://shop.example/payments/stk/b"]
    )
