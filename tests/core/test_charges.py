# ruff: noqa: N802 - F1 to F24 are names
"""Charges: asked once, believed on proof only, paid once. F1 to F24 are known ways to go wrong."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from core import carts, charges, checkouts, ledger, order_book, orders, outbox, settlements, stock
from core.charges import ChargeResult, PushAnswer
from core.database import Db
from tests.core.market import (
    QUERIED_PAID,
    QUERIED_PENDING,
    RULES,
    TOTAL_CENTS,
    Market,
    Purchase,
    c2b,
    failed,
    msisdn,
    open_market,
    paid,
    person,
    purchase,
    pushed,
    run_timers,
)

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


@pytest.fixture
def bought(db: Db, market: Market, now: datetime) -> Purchase:
    return pushed(db, purchase(db, market, now), now)


def balances(db: Db, bought: Purchase) -> dict[str, int]:
    """What is where, in cents: escrow of all orders, the buyer, suspense, M-Pesa's float."""
    ids = [order.id for order in order_book.of_checkout(db, bought.checkout_id)]
    return {
        "escrow": sum(ledger.balance(db, ledger.escrow(order_id)) for order_id in ids),
        "buyer": ledger.balance(db, ledger.buyer(bought.buyer)),
        "suspense": ledger.balance(db, ledger.SUSPENSE),
        "c2b": ledger.balance(db, ledger.C2B),
    }


def where(escrow: int = 0, buyer: int = 0, suspense: int = 0) -> dict[str, int]:
    return {
        "escrow": escrow,
        "buyer": buyer,
        "suspense": suspense,
        "c2b": escrow + buyer + suspense,
    }


def state(db: Db, bought: Purchase) -> str:
    charge = charges.by_id(db, bought.charge_id)
    assert charge is not None
    return charge.state


def order_states(db: Db, bought: Purchase) -> set[str]:
    return {order.state for order in order_book.of_checkout(db, bought.checkout_id)}


def open_incidents(db: Db) -> set[str]:
    return {
        row.kind for row in db.rows(_Kind, "SELECT kind FROM incidents WHERE closed_at IS NULL")
    }


class _Kind:
    def __init__(self, kind: str) -> None:
        self.kind = kind


def due(db: Db, kind: str) -> datetime | None:
    found: datetime | None = db.value(
        "SELECT min(due_at) FROM outbox WHERE kind = %(kind)s AND done_at IS NULL", {"kind": kind}
    )
    return found


# --- the happy path -------------------------------------------------------------------------------


def test_a_paid_charge_holds_the_money_for_each_seller(
    db: Db, bought: Purchase, market: Market, now: datetime
) -> None:
    assert settlements.settle(db, bought.charge_id, paid(bought), now + SECOND) == "paid"
    held = {o.seller_name: o.total_cents for o in order_book.of_checkout(db, bought.checkout_id)}
    assert held == {"Wanjiku Fresh": 50_000, "Otieno Supplies": 18_100}
    for order in order_book.of_checkout(db, bought.checkout_id):
        assert ledger.balance(db, ledger.escrow(order.id)) == order.total_cents
        kinds = [event.kind for event in orders.timeline(db, order.id)]
        assert kinds == ["placed", "paid", "delivery_code"]
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)
    assert stock.available(db, [market.tomatoes], now) == {market.tomatoes: 8_000}
    charge = charges.by_id(db, bought.charge_id)
    assert charge is not None
    assert (charge.state, charge.receipt) == ("paid", "RCPT000001")


def test_the_seller_has_a_day_to_accept_a_paid_order(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, paid(bought), now)
    deadlines = {order.accept_by for order in orders.lock(db, bought.checkout_id)}
    assert deadlines == {now + timedelta(hours=24)}


def test_the_token_of_the_push_finds_its_charge_and_is_not_stored(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    claimed = charges.claim_for_push(db, bought.charge_id, RULES, now)
    assert claimed is not None
    assert len(claimed.token) == 32
    found = charges.by_token(db, claimed.token)
    assert found is not None
    assert found.id == bought.charge_id
    assert charges.by_token(db, "0" * 32) is None
    stored = db.value("SELECT row_to_json(c)::text FROM charges c")
    assert claimed.token not in stored


def test_a_charge_shows_neither_phone_nor_token_where_it_may_be_logged(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    claimed = charges.claim_for_push(db, bought.charge_id, RULES, now)
    assert claimed is not None
    shown = repr([claimed, charges.by_id(db, bought.charge_id), paid(bought, push_id="ws_CO_9")])
    for secret in (claimed.token, claimed.msisdn[-9:], "ws_CO_9"):
        assert secret not in shown


# --- asking ---------------------------------------------------------------------------------------


def test_the_push_waits_until_the_screen_has_closed(db: Db, market: Market, now: datetime) -> None:
    purchase(db, market, now)
    assert due(db, "stk_push") == now + 4 * SECOND


def test_a_push_is_claimed_once(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    assert charges.claim_for_push(db, bought.charge_id, RULES, now) is not None
    assert charges.claim_for_push(db, bought.charge_id, RULES, now + 2 * MINUTE) is None


def test_nobody_is_prompted_after_the_time_to_pay(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    assert charges.claim_for_push(db, bought.charge_id, RULES, now + 15 * MINUTE) is None
    assert state(db, bought) == "refused"


def test_nobody_is_prompted_for_a_cancelled_checkout(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    checkouts.cancel(db, bought.checkout_id, bought.buyer, now)
    assert charges.claim_for_push(db, bought.charge_id, RULES, now) is None


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("accepted", "pending"), ("refused", "refused"), ("unknown", "unknown")],
)
def test_the_gateways_answer_sets_the_state(
    db: Db, market: Market, now: datetime, outcome: str, expected: str
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer(outcome, code="1"), now)  # type: ignore[arg-type]
    assert state(db, bought) == expected


def test_one_phone_has_one_open_charge(db: Db, bought: Purchase, now: datetime) -> None:
    later = now + 5 * MINUTE
    assert charges.permit(db, bought.checkout_id, msisdn(99), 100, later) == "already_open"
    assert charges.permit(db, db.new_id(), bought.payer, 100, later) == "already_open"
    assert charges.permit(db, db.new_id(), msisdn(99), 100, later) == "clear"


def test_a_phone_is_prompted_at_most_once_a_minute_and_for_one_amount_every_two(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, failed(), now + 10 * SECOND)
    other = db.new_id()
    assert charges.permit(db, other, bought.payer, 100, now + 59 * SECOND) == "too_soon"
    assert charges.permit(db, other, bought.payer, 100, now + 61 * SECOND) == "clear"
    assert charges.permit(db, other, bought.payer, TOTAL_CENTS, now + 119 * SECOND) == "too_soon"
    assert charges.permit(db, other, bought.payer, TOTAL_CENTS, now + 121 * SECOND) == "clear"


def test_a_failed_payment_can_be_tried_again_while_the_goods_are_promised(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, failed(), now + 10 * SECOND)

    def again(at: datetime) -> str:
        return checkouts.pay_again(db, bought.checkout_id, bought.buyer, bought.payer, RULES, at)

    assert again(now + 30 * SECOND) == "too_soon"
    assert again(now + 3 * MINUTE) == "asked"
    assert again(now + 6 * MINUTE) == "payment_open"
    assert again(now + 16 * MINUTE) == "not_open"


# --- silence --------------------------------------------------------------------------------------


def test_F1_a_silent_charge_is_asked_about_and_never_fails_by_itself(
    db: Db, bought: Purchase, now: datetime
) -> None:
    asked_after = []
    while (at := outbox.next_due(db)) is not None:
        done = dict(run_timers(db, at))
        if done.get("query_charge"):
            asked_after.append((at - now).total_seconds())
    hours = [3600 * hour for hour in range(1, 25)]
    assert asked_after == [30, 60, 90, 150, 300, *hours]
    assert state(db, bought) == "review"
    assert "charge_unanswered" in open_incidents(db)


def test_F1_a_query_that_says_paid_pays_the_pushed_amount(
    db: Db, bought: Purchase, now: datetime
) -> None:
    assert settlements.settle(db, bought.charge_id, QUERIED_PAID, now) == "paid"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_F1_a_c2b_line_alone_pays(db: Db, bought: Purchase, now: datetime) -> None:
    assert settlements.receive(db, c2b(bought.reference.lower(), now), now) == "captured"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_after_fifteen_silent_minutes_phone_and_stock_are_free(
    db: Db, bought: Purchase, market: Market, now: datetime
) -> None:
    assert charges.review(db, bought.charge_id, now + 14 * MINUTE) == "not_yet"
    assert checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE) == "not_yet"
    assert charges.review(db, bought.charge_id, now + 15 * MINUTE) == "review"
    assert due(db, "expire_checkout") == now + 15 * MINUTE
    assert checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE) == "expired"
    later = now + 16 * MINUTE
    assert stock.available(db, [market.tomatoes], later) == {market.tomatoes: 10_000}
    assert charges.permit(db, db.new_id(), bought.payer, TOTAL_CENTS, later) == "clear"


def test_a_review_can_still_end_in_a_failure(db: Db, bought: Purchase, now: datetime) -> None:
    charges.review(db, bought.charge_id, now + 15 * MINUTE)
    assert settlements.settle(db, bought.charge_id, failed(source="query"), now) == "failed"


def test_a_claim_whose_holder_died_becomes_unknown_and_is_not_pushed_again(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    assert due(db, "query_charge") == now + 60 * SECOND
    assert charges.query_due(db, bought.charge_id, now + 59 * SECOND) is None
    assert state(db, bought) == "created"
    assert charges.query_due(db, bought.charge_id, now + 60 * SECOND) is None
    assert state(db, bought) == "unknown"
    assert due(db, "review_charge") == now + 15 * MINUTE
    assert charges.claim_for_push(db, bought.charge_id, RULES, now + 61 * SECOND) is None


# --- every proof may come twice, late, out of order -----------------------------------------------


def test_F2_a_repeated_callback_pays_once(db: Db, bought: Purchase, now: datetime) -> None:
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "paid"
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "already_settled"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_F3_a_callback_before_the_ack_counts_and_the_ack_does_not_undo_it(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    early = paid(bought, push_id="ws_CO_1", push_group_id="group-1")
    assert settlements.settle(db, bought.charge_id, early, now) == "paid"
    charges.record_push(
        db, bought.charge_id, PushAnswer("accepted", "ws_CO_1", "group-1", "0"), now
    )
    assert state(db, bought) == "paid"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


@pytest.mark.parametrize("outcome", ["accepted", "refused", "unknown"])
def test_F3_a_failure_before_the_ack_stays_a_failure(
    db: Db, market: Market, now: datetime, outcome: str
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    settlements.settle(db, bought.charge_id, failed(), now)
    charges.record_push(db, bought.charge_id, PushAnswer(outcome, code="0"), now)  # type: ignore[arg-type]
    assert state(db, bought) == "failed"


def test_F4_a_lost_ack_blocks_a_second_push_and_the_callback_still_pays(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer("unknown"), now)
    later = now + 5 * MINUTE
    again = checkouts.pay_again(db, bought.checkout_id, bought.buyer, bought.payer, RULES, later)
    assert again == "payment_open"
    assert (
        settlements.settle(db, bought.charge_id, paid(bought, push_id="ws_CO_1"), later) == "paid"
    )


def test_F4_a_lost_ack_is_matched_by_the_reference(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer("unknown"), now)
    assert settlements.receive(db, c2b(bought.reference, now), now) == "captured"


def test_F4_a_callback_in_doubt_lends_its_push_id_to_the_query(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer("unknown"), now)
    vague = paid(bought, push_id="ws_CO_1", receipt=None)
    assert settlements.settle(db, bought.charge_id, vague, now) == "doubted"
    question = charges.query_due(db, bought.charge_id, now)
    assert question is not None
    assert question.push_id == "ws_CO_1"


def test_F5_a_success_after_a_failure_pays(db: Db, bought: Purchase, now: datetime) -> None:
    assert settlements.settle(db, bought.charge_id, failed("1037"), now) == "failed"
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "paid"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_F6_a_failure_after_a_success_changes_nothing_and_alerts(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, paid(bought), now)
    assert settlements.settle(db, bought.charge_id, failed(), now) == "already_settled"
    assert state(db, bought) == "paid"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)
    assert open_incidents(db) == {"failure_after_payment"}


def test_F7_the_first_failure_code_is_kept_and_later_ones_are_recorded(
    db: Db, bought: Purchase, now: datetime
) -> None:
    for code in ("1037", "1019", "1019"):
        settlements.settle(db, bought.charge_id, failed(code), now)
    charge = charges.by_id(db, bought.charge_id)
    assert charge is not None
    assert charge.code == "1037"
    recorded = db.value(
        "SELECT array_agg(code ORDER BY code) FROM charge_codes WHERE source = 'callback'"
    )
    assert recorded == ["1019", "1037"]


@pytest.mark.parametrize("ended", ["expired", "cancelled"])
def test_F8_money_for_a_closed_order_goes_to_the_buyers_balance(
    db: Db, bought: Purchase, now: datetime, ended: str
) -> None:
    if ended == "cancelled":
        checkouts.cancel(db, bought.checkout_id, bought.buyer, now)
    else:
        settlements.settle(db, bought.charge_id, failed(), now)
        checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE)
    assert order_states(db, bought) == {ended}
    late = now + 20 * MINUTE
    assert settlements.settle(db, bought.charge_id, paid(bought), late) == "late"
    assert balances(db, bought) == where(buyer=TOTAL_CENTS)
    assert order_states(db, bought) == {ended}


def test_F8_a_late_success_still_takes_the_goods_if_nobody_else_has(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, failed(), now)
    assert settlements.settle(db, bought.charge_id, paid(bought), now + 20 * MINUTE) == "paid"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_F8_a_late_success_does_not_take_what_another_buyer_was_promised(
    db: Db, bought: Purchase, market: Market, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, failed(), now)
    late = now + 20 * MINUTE
    assert carts.add(db, market.otieno, market.tomatoes, 9_000, None, late) == "added"
    placed = checkouts.place(db, market.otieno, msisdn(50), 225_000, RULES, late)
    assert placed == "placed"
    assert settlements.settle(db, bought.charge_id, paid(bought), late) == "paid"
    states = {o.seller_name: o.state for o in order_book.of_checkout(db, bought.checkout_id)}
    assert states == {"Wanjiku Fresh": "expired", "Otieno Supplies": "paid"}
    assert balances(db, bought) == where(escrow=18_100, buyer=50_000)


def test_F9_a_second_push_that_is_paid_too_goes_to_the_buyers_balance(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, failed("1037"), now)
    later = now + 3 * MINUTE
    checkouts.pay_again(db, bought.checkout_id, bought.buyer, bought.payer, RULES, later)
    second = charges.of_checkout(db, bought.checkout_id)[1]
    charges.claim_for_push(db, second.id, RULES, later)
    assert settlements.settle(db, second.id, paid(bought, "RCPT000002"), later) == "paid"
    assert settlements.settle(db, bought.charge_id, paid(bought), later) == "second_payment"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS, buyer=TOTAL_CENTS)


def test_F9_a_payment_by_hand_beside_the_answered_prompt_goes_to_the_buyers_balance(
    db: Db, bought: Purchase, now: datetime
) -> None:
    by_hand = c2b(bought.reference, now, "HAND000001")
    assert settlements.receive(db, by_hand, now) == "captured"
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "second_payment"
    assert settlements.receive(db, c2b(bought.reference, now), now) == "repeat"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS, buyer=TOTAL_CENTS)


def test_F9_a_doubtful_callback_before_does_not_spoil_the_true_one(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, paid(bought, amount_cents=100), now)
    settlements.receive(db, c2b(bought.reference, now, "HAND000001"), now)
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "second_payment"


def test_F9_one_push_cannot_bring_two_receipts(db: Db, bought: Purchase, now: datetime) -> None:
    settlements.settle(db, bought.charge_id, paid(bought), now)
    assert settlements.settle(db, bought.charge_id, paid(bought, "RCPT000002"), now) == "conflict"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)
    assert open_incidents(db) == {"receipt_conflict"}


@pytest.mark.parametrize("callback_first", [True, False])
def test_F10_one_receipt_on_both_channels_pays_once(
    db: Db, bought: Purchase, now: datetime, callback_first: bool
) -> None:
    steps = [
        lambda: settlements.settle(db, bought.charge_id, paid(bought), now),
        lambda: settlements.receive(db, c2b(bought.reference, now), now),
    ]
    outcomes = [step() for step in (steps if callback_first else reversed(steps))]
    assert outcomes == (["paid", "repeat"] if callback_first else ["captured", "already_settled"])
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_F10_the_receipt_of_a_queried_payment_is_attached_when_it_comes(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, QUERIED_PAID, now)
    assert settlements.receive(db, c2b(bought.reference, now), now) == "attached"
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "already_settled"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_F11_a_receipt_of_another_charge_pays_nothing_and_alerts(
    db: Db, bought: Purchase, market: Market, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, paid(bought), now)
    other = purchase(db, market, now, buyer=_another(db, now), payer=msisdn(7))
    pushed(db, other, now, push="7")
    assert settlements.settle(db, other.charge_id, paid(other), now) == "conflict"
    assert settlements.receive(db, c2b(other.reference, now), now) == "conflict"
    assert state(db, other) == "pending"
    assert balances(db, other) == where() | {"c2b": TOTAL_CENTS}
    assert open_incidents(db) == {"receipt_conflict"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_cents": 100},
        {"amount_cents": None},
        {"msisdn": msisdn(666)},
        {"receipt": None},
        {"push_id": "ws_CO_666"},
        {"push_group_id": "666"},
    ],
)
def test_F12_a_callback_that_does_not_fit_moves_nothing_and_the_gateway_is_asked(
    db: Db, bought: Purchase, now: datetime, wrong: dict[str, object]
) -> None:
    assert settlements.settle(db, bought.charge_id, paid(bought, **wrong), now) == "doubted"
    assert state(db, bought) == "pending"
    assert balances(db, bought) == where()
    assert due(db, "query_charge") == now
    assert open_incidents(db) == {"callback_doubted"}


def test_F12_the_query_settles_the_doubt(db: Db, bought: Purchase, now: datetime) -> None:
    settlements.settle(db, bought.charge_id, paid(bought, amount_cents=100), now)
    assert settlements.settle(db, bought.charge_id, QUERIED_PAID, now) == "paid"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_F12_a_masked_phone_is_no_reason_to_doubt(db: Db, bought: Purchase, now: datetime) -> None:
    assert settlements.settle(db, bought.charge_id, paid(bought, msisdn=None), now) == "paid"


def test_F13_a_failure_for_another_push_does_not_fail_ours(
    db: Db, bought: Purchase, now: datetime
) -> None:
    forged = replace(failed(), push_id="ws_CO_666")
    assert settlements.settle(db, bought.charge_id, forged, now) == "doubted"
    assert state(db, bought) == "pending"


def test_F13_a_push_id_is_lent_to_one_charge_only(
    db: Db, bought: Purchase, market: Market, now: datetime
) -> None:
    other = purchase(db, market, now, buyer=_another(db, now), payer=msisdn(7))
    charges.claim_for_push(db, other.charge_id, RULES, now)
    charges.record_push(db, other.charge_id, PushAnswer("unknown"), now)
    stolen = paid(other, push_id="ws_CO_1", receipt=None)
    assert settlements.settle(db, other.charge_id, stolen, now) == "doubted"
    assert charges.query_due(db, other.charge_id, now) is None


def test_F14_answers_out_of_the_order_of_their_pushes_reach_their_own_charges(
    db: Db, bought: Purchase, market: Market, now: datetime
) -> None:
    other = purchase(db, market, now, buyer=_another(db, now), payer=msisdn(7))
    pushed(db, other, now, push="7")
    assert settlements.settle(db, other.charge_id, paid(other, "RCPT000007"), now) == "paid"
    assert settlements.settle(db, bought.charge_id, failed(), now) == "failed"
    assert (state(db, other), state(db, bought)) == ("paid", "failed")


def test_F15_an_unknown_code_is_neither_paid_nor_final(
    db: Db, bought: Purchase, now: datetime
) -> None:
    strange = ChargeResult("callback", "unknown", "BW-JMS-999")
    assert settlements.settle(db, bought.charge_id, strange, now) == "pending"
    assert state(db, bought) == "pending"
    assert due(db, "query_charge") == now
    assert open_incidents(db) == {"unknown_code"}


def test_F16_a_pending_query_leaves_the_charge_pending(
    db: Db, bought: Purchase, now: datetime
) -> None:
    assert settlements.settle(db, bought.charge_id, QUERIED_PENDING, now) == "pending"
    assert state(db, bought) == "pending"


def test_F17_a_push_refused_for_its_token_frees_the_phone(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer("refused", code="404.001.03"), now)
    later = now + 3 * MINUTE
    again = checkouts.pay_again(db, bought.checkout_id, bought.buyer, bought.payer, RULES, later)
    assert again == "asked"


def test_F22_money_with_an_unknown_account_lies_in_suspense(
    db: Db, bought: Purchase, now: datetime
) -> None:
    assert settlements.receive(db, c2b("MAMA", now, cents=12_345), now) == "suspense"
    assert settlements.receive(db, c2b("MAMA", now, cents=12_345), now) == "repeat"
    assert balances(db, bought) == where(suspense=12_345)
    assert settlements.receive(db, c2b("MAMA", now, cents=99_999), now) == "conflict"
    assert balances(db, bought) == where(suspense=12_345)


def test_F22_a_part_by_hand_waits_on_the_buyers_balance_for_the_rest(
    db: Db, bought: Purchase, now: datetime
) -> None:
    first = c2b(bought.reference, now, "HAND000001", 50_000)
    rest = c2b(bought.reference, now, "HAND000002", 18_100)
    assert settlements.receive(db, first, now) == "short"
    assert balances(db, bought) == where(buyer=50_000)
    assert settlements.receive(db, first, now) == "repeat"
    assert settlements.receive(db, rest, now) == "captured"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)
    assert state(db, bought) == "paid"


def test_F22_too_much_by_hand_pays_and_the_rest_is_the_buyers(
    db: Db, bought: Purchase, now: datetime
) -> None:
    too_much = c2b(bought.reference, now, cents=TOTAL_CENTS + 5_000)
    assert settlements.receive(db, too_much, now) == "over"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS, buyer=5_000)
    assert order_states(db, bought) == {"paid"}


def test_F22_a_payment_by_hand_pays_before_the_push_was_made(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    assert settlements.receive(db, c2b(bought.reference, now), now) == "captured"
    assert charges.claim_for_push(db, bought.charge_id, RULES, now) is None


def test_F22_a_part_for_a_closed_checkout_is_the_buyers(
    db: Db, bought: Purchase, now: datetime
) -> None:
    checkouts.cancel(db, bought.checkout_id, bought.buyer, now)
    part = c2b(bought.reference, now, cents=100)
    assert settlements.receive(db, part, now) == "late"
    assert balances(db, bought) == where(buyer=100)


def test_F24_every_time_that_is_stored_is_the_one_passed_in(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, paid(bought), now)
    times = db.rows(
        _Times,
        """
        SELECT created_at, asked_at, claimed_at, updated_at FROM charges
        """,
    )
    assert {value for row in times for value in row.values} == {now}


def test_money_in_suspense_that_a_callback_explains_moves_from_there(
    db: Db, bought: Purchase, now: datetime
) -> None:
    settlements.receive(db, c2b("TYPO", now), now)
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "paid"
    assert balances(db, bought) == where(escrow=TOTAL_CENTS)


def test_a_charge_that_does_not_exist_is_said_to_be_unknown(db: Db, now: datetime) -> None:
    with pytest.raises(charges.UnknownCharge):
        settlements.settle(db, db.new_id(), QUERIED_PAID, now)


class _Times:
    def __init__(self, **values: datetime) -> None:
        self.values = values.values()


def _another(db: Db, now: datetime) -> UUID:
    return person(db, now, 9)
