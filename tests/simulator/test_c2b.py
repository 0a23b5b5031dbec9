"""Money that comes to the paybill, and how the business is asked and told."""

import hashlib

import pytest

from simulator.outbound import Answer, Unanswered
from tests.simulator.pretend import PAYER

PAY = {"from": PAYER, "account": "ORD7K2", "amount": 500}
REJECTED = '{"ResultCode":"C2B00012","ResultDesc":"Rejected"}'
ACCEPTED = '{"ResultCode":"0","ResultDesc":"Accepted"}'


def validation(answer):
    """Answer validation so, and everything else with 200."""

    def say(call):
        if not call.url.endswith("/validation"):
            return Answer(200, {}, "")
        if isinstance(answer, Unanswered):
            raise answer
        return Answer(*answer)

    return say


def test_a_payment_by_hand_is_validated_moved_and_confirmed(world, shop, api, outside):
    shop.register()
    outside.answer = validation((200, {}, ACCEPTED))
    said = api.ok("POST", "payments", PAY)
    world.advance(2)
    (asked,), (told,) = outside.to("/validation"), outside.to("/confirmation")
    assert told.json == {
        "TransactionType": "Pay Bill",
        "TransID": said["receipt"],
        "TransTime": "20260817140419",
        "TransAmount": "500.00",
        "BusinessShortCode": "174379",
        "BillRefNumber": "ORD7K2",
        "InvoiceNumber": "",
        "OrgAccountBalance": "500.00",
        "ThirdPartyTransID": "",
        "MSISDN": "2547 ***** 678",
        "FirstName": told.json["FirstName"],
        "MiddleName": "",
        "LastName": "",
    }
    assert asked.json == told.json | {"OrgAccountBalance": ""}
    assert (asked.seconds, told.seconds) == (0, 2)
    assert said["message"] == "Confirmed. KSh 500 paid."
    assert api.balance() == 9500


def test_the_first_version_sends_a_hash_of_the_payer(world, shop, api, outside):
    shop.register(version=1)
    api.ok("POST", "payments", PAY)
    world.advance(2)
    (told,) = outside.to("/confirmation")
    assert told.json["MSISDN"] == hashlib.sha256(PAYER[1:].encode()).hexdigest()


def test_a_business_that_rejects_gets_no_money(world, shop, api, outside):
    shop.register()
    outside.answer = validation((200, {}, REJECTED))
    answer = api("POST", "payments", PAY)
    assert (answer.status_code, answer.json) == (
        409, {"error": "C2B00012: the account was not accepted"},
    )  # fmt: skip
    world.advance(60)
    assert outside.to("/confirmation") == []
    assert api.balance() == 10_000


@pytest.mark.parametrize(
    "answer", [(500, {}, ""), (200, {}, "<html>"), (200, {}, "[]"), Unanswered("ReadTimeout")]
)
@pytest.mark.parametrize(("default", "balance"), [("Completed", 9500), ("Cancelled", 10_000)])
def test_where_validation_cannot_be_reached_the_registered_default_decides(
    shop, api, outside, answer, default, balance
):
    shop.register(ResponseType=default)
    outside.answer = validation(answer)
    assert api("POST", "payments", PAY).status_code == (200 if balance == 9500 else 409)
    assert api.balance() == balance


def test_validation_can_be_off(shop, api, outside):
    shop.register()
    api.rules(validation=False)
    outside.answer = validation((200, {}, REJECTED))
    api.ok("POST", "payments", PAY)
    assert outside.to("/validation") == []


def test_without_registered_urls_the_money_still_moves(world, api, outside):
    api.ok("POST", "payments", PAY | {"account": "nobody's"})
    world.advance(60)
    assert outside.calls == []
    assert api.balance() == 9500


def test_the_till_is_paid_as_buy_goods(world, shop, api, outside):
    shop.register()
    api.ok("POST", "payments", PAY | {"shortcode": "5174379"})
    world.advance(2)
    (told,) = outside.to("/confirmation")
    assert told.json["TransactionType"] == "Buy Goods"
    assert told.json["BusinessShortCode"] == "5174379"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"shortcode": "600000"}, 404),
        ({"from": "+255712345678"}, 404),
        ({"from": "nobody"}, 400),
        ({"amount": 10_001}, 409),
        ({"amount": 0}, 409),
        ({"amount": 250_001}, 409),
        ({"amount": 1.5}, 400),
        ({"amount": "5"}, 400),
        ({"account": 5}, 400),
        ({"colour": "red"}, 400),
    ],
)
def test_a_payment_that_cannot_be_is_refused(api, change, status):
    api.ok("PUT", f"subscribers/{PAYER}", {"balance": 10_000})
    answer = api("POST", "payments", PAY | change)
    assert answer.status_code == status
    assert answer.json["error"]
    assert api.balance() == 10_000


def test_a_line_without_mpesa_cannot_pay(api):
    api.ok("PUT", f"subscribers/{PAYER}", {"network": "airtel"})
    assert api("POST", "payments", PAY).status_code == 409


def test_money_spent_while_the_business_is_asked_is_not_spent_twice(shop, api, outside):
    shop.register()

    def spend(call):
        if call.url.endswith("/validation") and len(outside.calls) == 1:
            api.ok("PUT", f"subscribers/{PAYER}", {"balance": 499})
        return Answer(200, {}, ACCEPTED)

    outside.answer = spend
    assert api("POST", "payments", PAY).status_code == 409
    assert api.balance() == 499


def test_a_simulated_payment_is_a_payment(world, shop, api, outside):
    shop.register()
    body = {
        "ShortCode": "174379", "CommandID": "CustomerPayBillOnline", "Amount": "500",
        "Msisdn": PAYER[1:], "BillRefNumber": "ORD7K2",
    }  # fmt: skip
    for version in (1, 2):
        answer = shop.call(f"/mpesa/c2b/v{version}/simulate", body)
        assert answer.json["ResponseCode"] == "0"
    world.advance(2)
    assert [call.json["BillRefNumber"] for call in outside.to("/confirmation")] == ["ORD7K2"] * 2
    assert api.balance() == 9000
    for name, value in (
        ("ShortCode", "600000"),
        ("CommandID", "x"),
        ("Amount", 0),
        ("Msisdn", "1"),
    ):
        answer = shop.call("/mpesa/c2b/v2/simulate", body | {name: value})
        assert answer.json["errorMessage"] == f"Bad Request - Invalid {name}"
    shop.call("/mpesa/c2b/v2/simulate", body | {"Amount": 9001})
    world.advance(5)
    assert api.balance() == 9000


def push(world, shop, api, **rules):
    api.rules(next=[{"auto": "0", "auto_seconds": [5, 5], **rules}])
    shop.accepted()
    world.advance(30)


def test_a_paid_push_is_also_confirmed_under_the_same_receipt(world, shop, api, outside):
    shop.register()
    push(world, shop, api)
    (callback,), (told,) = outside.stk(), outside.to("/confirmation")
    assert told.json["TransID"] == callback.items["MpesaReceiptNumber"]
    assert told.json["BillRefNumber"] == "ORD7K2"
    assert told.json["TransAmount"] == "2250.00"
    assert outside.to("/validation") == [], "a push is not validated"


def test_a_failed_push_is_not_confirmed(world, shop, api, outside):
    shop.register()
    push(world, shop, api, auto="1032")
    assert outside.to("/confirmation") == []


@pytest.mark.parametrize(
    ("rules", "callbacks", "confirmations"),
    [
        ({"c2b_confirmation": 0}, 1, 0),
        ({"callback": "never"}, 0, 1),
        ({"c2b_repeats": 2}, 1, 2),
        ({"callback": "never", "c2b_confirmation": 0}, 0, 0),
    ],
)
def test_rules_decide_which_channels_tell(
    world, shop, api, outside, rules, callbacks, confirmations
):
    shop.register()
    push(world, shop, api, **rules)
    assert len(outside.stk()) == callbacks
    assert len(outside.to("/confirmation")) == confirmations


def test_confirmations_come_with_the_given_probability(world, shop, api, outside):
    shop.register()
    api.rules(auto="0", c2b_confirmation=0.5, seed=1)
    for number in range(100):
        phone = f"2547{number:08}"
        shop.accepted(PhoneNumber=phone, PartyA=phone)
    world.advance(60)
    assert 35 < len(outside.to("/confirmation")) < 65
