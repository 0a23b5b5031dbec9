"""What M-Pesa does to those who depend on it (F1 to F24), and what is true afterwards.

Each story runs over real HTTP in both directions; the numbers are those of the reference.
"""

import json

import pytest

from core import charges
from simulator.c2b import NotPaid
from tests.core.market import RULES, TOTAL_CENTS, Purchase, msisdn
from tests.core.people import member
from tests.payments.street import SECRET, Street

HELD = {"A.c2b": TOTAL_CENTS, "L.escrow": TOTAL_CENTS}
RETURNED = {"A.c2b": TOTAL_CENTS, "L.buyer": TOTAL_CENTS}


def is_held_once(street: Street, bought: Purchase) -> bool:
    """Paid, both sellers' shares in escrow, and M-Pesa's books say the same."""
    assert street.charge(bought).state == "paid"
    assert street.orders(bought) == ["paid", "paid"]
    assert street.money() == HELD
    assert street.mpesa_has() == TOTAL_CENTS
    return True


def callback(bought: Purchase, receipt: str, code: object = 0) -> bytes:
    """What a payment of this purchase looks like to whoever can read our code."""
    items = [
        {"Name": "Amount", "Value": bought.total_cents // 100},
        {"Name": "MpesaReceiptNumber", "Value": receipt},
        {"Name": "PhoneNumber", "Value": int(bought.payer)},
    ]
    metadata = {"CallbackMetadata": {"Item": items}} if code == 0 else {}
    return json.dumps({"Body": {"stkCallback": {"ResultCode": code, **metadata}}}).encode()


def test_a_payment_that_goes_well_is_held(street: Street) -> None:
    street.listen_for_payments_by_hand()
    bought = street.buy()
    street.wait(3)
    assert street.pushes() == 0  # the USSD screen is closing
    street.wait(4)
    street.answer()
    street.wait(5)
    assert is_held_once(street, bought)
    assert street.outcomes() == ["paid", "repeat"]
    assert street.incidents() == set()


def test_f1_without_a_callback_the_query_proves_the_payment(street: Street) -> None:
    street.rules(auto="0", callback="never")
    bought = street.buy()
    street.wait(33)
    assert street.charge(bought).state == "pending"
    street.wait(5)
    assert is_held_once(street, bought)
    assert street.charge(bought).receipt is None


def test_f1_without_callback_and_query_the_c2b_confirmation_pays_by_its_reference(
    street: Street,
) -> None:
    street.listen_for_payments_by_hand()
    street.rules(auto="0", callback="never", faults=[{"fault": "html_503", "on": "query"}])
    bought = street.buy()
    street.wait(40)
    assert is_held_once(street, bought)
    assert street.charge(bought).receipt is not None


def test_f1_the_receipt_of_a_payment_proved_by_query_is_attached_later(street: Street) -> None:
    street.listen_for_payments_by_hand()
    street.rules(auto="0", callback="never", c2b_seconds=120)
    bought = street.buy()
    street.wait(60)
    assert is_held_once(street, bought)
    assert street.charge(bought).receipt is None
    street.wait(120)
    assert is_held_once(street, bought)
    assert street.charge(bought).receipt is not None


def test_f1_a_silent_charge_is_reviewed_and_never_failed_and_late_money_is_the_buyers(
    street: Street,
) -> None:
    street.rules(auto="0", callback="never", faults=[{"fault": "html_503", "on": "query"}])
    bought = street.buy()
    street.wait(14 * 60)
    assert street.charge(bought).state == "pending"
    assert street.orders(bought) == ["placed", "placed"]
    street.wait(3 * 60)
    assert street.charge(bought).state == "review"
    assert street.orders(bought) == ["expired", "expired"]
    assert street.money() == {}
    street.rules(faults=[])
    street.wait(3600)
    assert street.charge(bought).state == "paid"
    assert street.money() == RETURNED
    assert street.mpesa_has() == TOTAL_CENTS


def test_f2_one_callback_five_times_at_once_pays_once(street: Street) -> None:
    street.rules(auto="0", callback_repeats=5, callback_together=True)
    bought = street.buy()
    street.wait(40)
    assert is_held_once(street, bought)
    assert street.outcomes() == ["paid"]  # one body is kept once


def test_f2_one_payment_told_in_five_bodies_pays_once(street: Street) -> None:
    street.rules(auto="0")
    bought = street.buy()
    street.wait(40)
    receipt = street.charge(bought).receipt
    assert receipt is not None
    for spaces in range(5):
        assert street.call_back(bought, callback(bought, receipt) + b" " * spaces) == 200
    street.wait(1)
    assert is_held_once(street, bought)
    assert street.outcomes() == ["paid"] + ["already_settled"] * 5


def test_f3_a_callback_before_the_ack_is_matched_by_its_path(street: Street) -> None:
    street.rules(auto="0", callback="before_ack")
    bought = street.buy()
    street.wait(6)
    assert is_held_once(street, bought)
    charge = street.charge(bought)
    assert charge.push_id is not None  # the ack came after it, and was recorded
    street.wait(120)
    assert is_held_once(street, bought)


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "reset", "when": "after"},
        {"fault": "slow", "when": "after", "seconds": 2},
        {"fault": "html_503", "when": "after"},
        {"fault": "server_error", "when": "after"},
    ],
)
def test_f4_a_lost_ack_is_unknown_asks_no_second_time_and_the_callback_pays(
    street: Street, fault: dict[str, object]
) -> None:
    street.rules(auto={"0": 1}, auto_seconds=[20, 20], faults=[{**fault, "on": "push", "times": 1}])
    if fault["fault"] == "slow":
        street.hurry()
    bought = street.buy()
    street.wait(10)
    assert street.charge(bought).state == "unknown"
    assert street.pay_again(bought) == "payment_open"
    street.wait(25)
    assert is_held_once(street, bought)
    assert street.pushes() == 1


def test_f4_a_lost_ack_without_a_callback_is_paid_by_its_reference(street: Street) -> None:
    street.listen_for_payments_by_hand()
    street.rules(
        auto="0",
        callback="never",
        faults=[{"fault": "reset", "when": "after", "on": "push", "times": 1}],
    )
    bought = street.buy()
    street.wait(45)
    assert is_held_once(street, bought)
    assert street.pushes() == 1


def test_f4_a_push_lost_before_it_arrived_ends_in_review_and_frees_the_phone(
    street: Street,
) -> None:
    street.rules(faults=[{"fault": "reset", "on": "push", "times": 1}])
    bought = street.buy()
    street.wait(60)
    assert street.charge(bought).state == "unknown"
    street.wait(15 * 60)
    assert street.charge(bought).state == "review"
    assert street.orders(bought) == ["expired", "expired"]
    assert (street.pushes(), street.money()) == (0, {})


def test_f5_a_failure_then_a_success_is_paid(street: Street) -> None:
    street.rules(auto="0", contradiction=["1037", "0"], callback_gap_seconds=3)
    bought = street.buy()
    while street.charge(bought).state in ("created", "pending"):
        street.wait(1)
    assert street.charge(bought).state == "failed"
    street.wait(5)
    assert is_held_once(street, bought)
    assert street.codes(bought) == {"ack:0", "callback:1037", "callback:0"}


def test_f6_a_success_then_a_failure_stays_paid_and_somebody_is_told(street: Street) -> None:
    street.rules(auto="0", contradiction=["0", "1037"])
    bought = street.buy()
    street.wait(45)
    assert is_held_once(street, bought)
    assert street.incidents() == {"failure_after_payment"}


def test_f7_the_first_of_several_failures_is_kept_and_the_others_are_recorded(
    street: Street,
) -> None:
    street.rules(auto="1037", contradiction=["1037", "1019", "1019"])
    bought = street.buy()
    street.wait(90)
    charge = street.charge(bought)
    assert (charge.state, charge.code) == ("failed", "1037")
    assert street.codes(bought) >= {"callback:1037", "callback:1019"}
    assert street.money() == {}


def test_f8_money_for_a_cancelled_order_is_the_buyers(street: Street) -> None:
    bought = street.buy()
    street.wait(7)
    street.cancel(bought)
    street.answer()
    street.wait(5)
    assert street.charge(bought).state == "paid"
    assert street.orders(bought) == ["cancelled", "cancelled"]
    assert street.money() == RETURNED
    assert street.mpesa_has() == TOTAL_CENTS


def test_f9_a_second_payment_for_one_order_is_the_buyers(street: Street) -> None:
    street.listen_for_payments_by_hand()
    # The first prompt is paid, but all we hear for now is that it failed.
    street.rules(next=[{"auto": "0", "contradiction": ["1037"], "c2b_seconds": 300}])
    bought = street.buy()
    street.wait(40)
    assert street.charge(bought).state == "failed"
    street.wait(120)
    assert street.pay_again(bought) == "asked"
    street.wait(7)
    street.answer()
    street.wait(5)
    assert street.orders(bought) == ["paid", "paid"]
    assert street.money() == HELD
    street.wait(300)
    assert [each.state for each in street.attempts(bought)] == ["paid", "paid"]
    assert street.money() == {
        "A.c2b": 2 * TOTAL_CENTS,
        "L.escrow": TOTAL_CENTS,
        "L.buyer": TOTAL_CENTS,
    }
    assert street.mpesa_has() == 2 * TOTAL_CENTS
    assert "second_payment" in street.outcomes()


@pytest.mark.parametrize(("callback_seconds", "c2b_seconds"), [(1, 3), (3, 1), (1, 1)])
def test_f10_one_receipt_by_callback_and_by_c2b_is_booked_once(
    street: Street, callback_seconds: int, c2b_seconds: int
) -> None:
    street.listen_for_payments_by_hand()
    street.rules(
        auto="0", callback_seconds=callback_seconds, c2b_seconds=c2b_seconds, c2b_repeats=2
    )
    bought = street.buy()
    street.wait(45)
    assert is_held_once(street, bought)
    assert len(street.outcomes()) == 2


def test_f11_a_receipt_of_another_charge_moves_nothing_and_somebody_is_told(
    street: Street,
) -> None:
    street.rules(next=[{"auto": "0"}])
    first = street.buy()
    street.wait(40)
    receipt = street.charge(first).receipt
    assert receipt is not None
    with street.database.begin() as db:
        neighbour = member(db, street.now, 9, "Neighbour")
    second = street.buy(payer=msisdn(2), buyer=neighbour)
    street.wait(7)
    assert street.call_back(second, callback(second, receipt)) == 200
    street.wait(2)
    assert street.charge(second).state == "pending"
    assert street.orders(second) == ["placed", "placed"]
    assert street.money() == HELD
    assert street.outcomes()[-1] == "conflict"
    assert len(street.incidents()) == 1


@pytest.mark.parametrize(
    "lie", [{"claimed_amount": 1}, {"claimed_amount": 250_000}, {"claimed_phone": "254700000099"}]
)
def test_f12_a_wrong_amount_or_phone_moves_nothing_until_the_query_has_proved_it(
    street: Street, lie: dict[str, object]
) -> None:
    street.rules(
        auto="0", auto_seconds=[5, 5], faults=[{"fault": "html_503", "on": "query"}], **lie
    )
    bought = street.buy()
    street.wait(15)
    assert street.charge(bought).state == "pending"
    assert street.money() == {}
    assert street.incidents() == {"callback_doubted"}
    street.rules(faults=[])
    street.wait(60)
    assert is_held_once(street, bought)  # the pushed amount, by M-Pesa's own word


def test_f12_a_wrong_amount_for_a_prompt_nobody_paid_moves_nothing_for_ever(
    street: Street,
) -> None:
    street.rules(auto="1032", contradiction=["0"], claimed_amount=1)
    bought = street.buy()
    street.wait(60)
    assert street.charge(bought).state == "failed"  # the query was asked at once
    assert street.money() == {}


def test_f13_a_forged_callback_needs_the_secret_path(street: Street) -> None:
    bought = street.buy()
    street.wait(7)
    forged = callback(bought, "FORGED0001")
    for token in ("0" * 32, str(bought.charge_id).replace("-", ""), bought.reference, "x" * 32):
        assert street.call_back(bought, forged, token=token) == 404
    street.wait(3)
    assert street.charge(bought).state == "pending"
    assert street.outcomes() == []
    assert street.money() == {}


def test_f13_a_forged_callback_with_the_path_but_not_the_ids_is_checked_by_query(
    street: Street,
) -> None:
    bought = street.buy()
    street.wait(7)
    body = json.loads(callback(bought, "FORGED0001"))
    body["Body"]["stkCallback"]["CheckoutRequestID"] = "ws_CO_of_somebody_else"
    assert street.call_back(bought, json.dumps(body).encode()) == 200
    street.wait(3)
    assert street.charge(bought).state == "pending"
    assert street.money() == {}
    assert street.outcomes() == ["doubted"]
    assert street.charge(bought).query_count > 0


def test_f14_callbacks_out_of_the_order_of_their_pushes_find_their_charges(
    street: Street,
) -> None:
    street.rules(
        next=[
            {"auto": "0", "auto_seconds": [2, 2], "callback_seconds": 20},
            {"auto": "1032", "auto_seconds": [2, 2], "callback_seconds": 1},
            {"auto": "0", "auto_seconds": [2, 2], "callback_seconds": 10},
        ]
    )
    with street.database.begin() as db:
        buyers = [member(db, street.now, number, "Neighbour") for number in (7, 8, 9)]
    bought = [street.buy(msisdn(n), buyer) for n, buyer in enumerate(buyers, start=7)]
    street.wait(29)
    assert [street.charge(each).state for each in bought] == ["paid", "failed", "paid"]
    assert street.money() == {"A.c2b": 2 * TOTAL_CENTS, "L.escrow": 2 * TOTAL_CENTS}


@pytest.mark.parametrize(
    "form",
    [
        {"code_form": "string"},
        {"balance_form": "absent"},
        {"balance_form": "value"},
        {"phone_form": "string"},
        {"phone_form": "masked"},
        {"phone_form": "hashed"},
        {"phone_form": "absent"},
        {"amount_form": "integer"},
    ],
)
def test_f15_a_payment_is_read_in_each_form_it_was_seen_in(
    street: Street, form: dict[str, object]
) -> None:
    street.rules(auto="0", auto_seconds=[5, 5], **form)
    bought = street.buy()
    street.wait(15)
    assert is_held_once(street, bought)


@pytest.mark.parametrize("form", ["html", "empty", "not_json"])
def test_f15_a_body_nobody_can_read_is_kept_and_the_query_decides(
    street: Street, form: str
) -> None:
    street.rules(auto="0", auto_seconds=[5, 5], body_form=form)
    bought = street.buy()
    street.wait(20)
    assert is_held_once(street, bought)
    assert street.outcomes() == ["pending"]


@pytest.mark.parametrize("code", ["7777", "SFC_UNKNOWN", "-1"])
def test_f15_an_unknown_code_is_neither_paid_nor_failed(street: Street, code: str) -> None:
    street.rules(auto="0", auto_seconds=[5, 5], contradiction=[code], pending_form="4999")
    street.rules(faults=[{"fault": "html_503", "on": "query"}])
    bought = street.buy()
    street.wait(20)
    assert street.charge(bought).state == "pending"
    assert street.incidents() == {"unknown_code"}
    street.rules(faults=[])
    street.wait(60)
    assert is_held_once(street, bought)


@pytest.mark.parametrize("form", ["error", "4999"])
def test_f16_a_query_of_an_open_prompt_leaves_it_open_in_both_forms(
    street: Street, form: str
) -> None:
    street.rules(pending_form=form)
    bought = street.buy()
    street.wait(50)
    charge = street.charge(bought)
    assert (charge.state, charge.query_count) == ("pending", 1)
    street.answer()
    street.wait(3)
    assert is_held_once(street, bought)


def test_f17_a_token_replaced_by_another_process_costs_one_refresh(street: Street) -> None:
    street.rules(auto="0", faults=[{"fault": "token_replaced", "on": "push", "times": 1}])
    bought = street.buy()
    street.wait(40)
    assert is_held_once(street, bought)
    assert street.pushes() == 1


def test_f22_money_for_an_account_nobody_has_waits_in_suspense(street: Street) -> None:
    street.listen_for_payments_by_hand()
    with pytest.raises(NotPaid, match="C2B00012"):
        street.world.c2b.pay(msisdn(5), "174379", "MAMA MBOGA", 50_000)
    street.rules(validation=False)
    street.world.c2b.pay(msisdn(5), "174379", "MAMA MBOGA", 50_000)
    street.wait(5)
    assert street.money() == {"A.c2b": 50_000, "L.suspense": 50_000}
    assert street.outcomes() == ["suspense"]


def test_f22_a_confirmation_nobody_can_read_is_an_incident_for_it_may_be_money(
    street: Street,
) -> None:
    assert street.post(f"/payments/c2b/{SECRET}/confirmation", b'{"TransID":"RKL51"}').ok
    street.wait(1)
    assert street.outcomes() == ["unreadable"]
    assert street.incidents() == {"confirmation_unreadable"}
    assert street.money() == {}


def test_f22_parts_paid_by_hand_wait_with_the_buyer_until_they_are_enough(street: Street) -> None:
    street.listen_for_payments_by_hand()
    street.rules(auto="1032", auto_seconds=[2, 2])
    bought = street.buy()
    street.wait(12)
    assert street.charge(bought).state == "failed"
    street.world.c2b.pay(bought.payer, "174379", bought.reference.lower(), 40_000)
    street.wait(5)
    assert street.money() == {"A.c2b": 40_000, "L.buyer": 40_000}
    assert street.orders(bought) == ["placed", "placed"]
    street.world.c2b.pay(
        msisdn(77), "174379", f"{bought.reference[:4]} {bought.reference[4:]}", 28_100
    )
    street.wait(5)
    assert street.orders(bought) == ["paid", "paid"]
    assert street.money() == HELD


def test_f22_what_is_too_much_stays_with_the_buyer(street: Street) -> None:
    street.listen_for_payments_by_hand()
    street.rules(auto="1032", auto_seconds=[2, 2])
    bought = street.buy()
    street.wait(12)
    street.world.c2b.pay(bought.payer, "174379", bought.reference, 100_000)
    street.wait(5)
    assert street.orders(bought) == ["paid", "paid"]
    assert street.money() == {
        "A.c2b": 100_000,
        "L.escrow": TOTAL_CENTS,
        "L.buyer": 100_000 - TOTAL_CENTS,
    }


def test_f22_a_paid_account_takes_no_more_money_by_hand(street: Street) -> None:
    street.listen_for_payments_by_hand()
    street.rules(auto="0")
    bought = street.buy()
    street.wait(40)
    with pytest.raises(NotPaid, match="C2B00012"):
        street.world.c2b.pay(bought.payer, "174379", bought.reference, TOTAL_CENTS)
    assert is_held_once(street, bought)


def test_f24_the_gateway_accepts_our_stamp_at_the_turn_of_a_day_in_nairobi(
    street: Street,
) -> None:
    street.world.advance(12 * 3600 - 3)  # 23:59:57 there
    street.rules(auto="0")
    bought = street.buy()
    street.wait(40)
    assert is_held_once(street, bought)


@pytest.mark.parametrize("fault", ["spike", "quota", "too_many"])
def test_a_push_turned_away_before_acting_is_refused_and_may_be_asked_for_again(
    street: Street, fault: str
) -> None:
    street.rules(auto="0", faults=[{"fault": fault, "on": "push", "times": 1}])
    bought = street.buy()
    street.wait(6)
    assert street.charge(bought).state == "refused"
    assert street.pay_again(bought) == "too_soon"  # it may have prompted all the same
    street.wait(120)
    assert street.pay_again(bought) == "asked"
    street.wait(40)
    assert street.orders(bought) == ["paid", "paid"]
    assert street.money() == HELD


def test_while_no_token_is_to_be_had_nothing_is_claimed_and_the_push_comes_later(
    street: Street,
) -> None:
    street.rules(auto="0", faults=[{"fault": "html_503", "on": "oauth"}])
    bought = street.buy()
    with pytest.raises(Exception, match="no token"):
        street.wait(5)
    assert street.charge(bought).claimed_at is None
    street.rules(faults=[])
    street.wait(60)
    assert is_held_once(street, bought)
    assert street.pushes() == 1


def test_a_wrong_pin_or_too_little_money_fails_and_can_be_tried_again(street: Street) -> None:
    bought = street.buy()
    street.wait(7)
    street.answer(pin="9999")
    street.wait(3)
    assert (street.charge(bought).state, street.charge(bought).code) == ("failed", "2001")
    street.wait(120)
    assert street.pay_again(bought) == "asked"
    street.wait(7)
    street.answer()
    street.wait(3)
    assert street.orders(bought) == ["paid", "paid"]
    assert street.money() == HELD


def test_one_charge_is_claimed_once(street: Street) -> None:
    bought = street.buy()
    with street.database.begin() as db:
        assert charges.claim_for_push(db, bought.charge_id, RULES, street.now) is not None
        assert charges.claim_for_push(db, bought.charge_id, RULES, street.now) is None
