"""Suspense: what nobody could explain finds its order, by two people, and moves once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from core import (
    audit,
    deliveries,
    incidents,
    ledger,
    orders,
    payouts,
    receipts,
    refunds,
    reversals,
    settlements,
    suspense,
)
from core.database import Database, Db
from tests.core.market import (
    RULES,
    TOTAL_CENTS,
    Purchase,
    c2b,
    msisdn,
    open_market,
    order_of,
    paid,
    purchase,
    pushed,
    settled,
)
from tests.core.office import WHY, hire

RECEIPT = "RCPT000009"
NAMED = "MAMA MBOGA"
OWN, SISTER = msisdn(1), msisdn(70)


class Stall:
    """Amina ordered for KSh 681; somebody paid by hand and named nothing of ours."""

    def __init__(self, db: Db, now: datetime, cents: int = TOTAL_CENTS) -> None:
        self.db, self.now = db, now
        self.market = open_market(db, now)
        self.olive = hire(db, "olive")
        self.peter = hire(db, "peter", ["operator", "approver"])
        self.bought: Purchase = pushed(db, purchase(db, self.market, now), now)
        assert settlements.receive(db, c2b(NAMED, now, RECEIPT, cents), now) == "suspense"

    @property
    def number(self) -> int:
        return order_of(self.db, self.bought, self.market.wanjiku).number

    def explain(self, by: Any = None, why: str = WHY, number: int | None = None) -> str:
        by, number = by or self.olive, number or self.number
        return suspense.explain(self.db, RECEIPT, number, by, why, self.now)

    def give_back(self, by: Any = None, why: str = WHY, to: str = OWN) -> str:
        return suspense.give_back(self.db, RECEIPT, to, by or self.olive, why, self.now)

    def refund(self) -> list[tuple[str, int, str, str | None]]:
        """What is sent then: kind, cents, to which line, and the receipt that is reversed."""
        assert refunds.refund_balance(self.db, self.market.buyer, RULES, self.now) == "sent"
        found = payouts.of_member(self.db, self.market.buyer, 10)
        return sorted((p.kind, p.amount_cents, p.msisdn, p.reverses_receipt) for p in found)

    def approve(self, by: Any = None) -> str:
        return suspense.approve(self.db, RECEIPT, by or self.peter, self.now)

    def cents(self) -> dict[str, int]:
        found = {each.kind: each.balance_cents for each in ledger.trial_balance(self.db)}
        return {kind: cents for kind, cents in found.items() if cents}

    def states(self) -> set[str]:
        return {order.state for order in orders.lock(self.db, self.bought.checkout_id)}


@pytest.fixture
def stall(db: Db, now: datetime) -> Stall:
    return Stall(db, now)


def test_two_people_explain_it_and_the_order_is_paid(stall: Stall) -> None:
    assert stall.cents() == {"A.c2b": TOTAL_CENTS, "L.suspense": TOTAL_CENTS}
    assert stall.explain() == "proposed"
    (it,) = suspense.unexplained(stall.db)
    assert (it.receipt, it.amount_cents, it.reference) == (RECEIPT, TOTAL_CENTS, NAMED)
    assert it.order_number is not None
    assert stall.cents()["L.suspense"] == TOTAL_CENTS  # one person's word moves nothing
    assert stall.approve() == "captured"
    assert stall.cents() == {"A.c2b": TOTAL_CENTS, "L.escrow": TOTAL_CENTS}
    assert stall.states() == {"paid"}
    assert suspense.unexplained(stall.db) == []
    assert incidents.find_open(stall.db, receipts.UNEXPLAINED, RECEIPT) is None
    done = [act.what for act in audit.of(stall.db, f"receipt {RECEIPT}")]
    assert done == ["explanation_proposed", "explanation_booked"]


@pytest.mark.parametrize(
    ("cents", "outcome", "orders_are", "buyers"),
    [
        (TOTAL_CENTS - 100, "short", {"placed"}, TOTAL_CENTS - 100),
        (TOTAL_CENTS + 500, "over", {"paid"}, 500),
    ],
)
def test_another_amount_is_the_buyers_and_pays_if_it_is_enough(
    db: Db, now: datetime, cents: int, outcome: str, orders_are: set[str], buyers: int
) -> None:
    stall = Stall(db, now, cents)
    stall.explain()
    assert stall.approve() == outcome
    assert stall.states() == orders_are
    assert stall.cents()["L.buyer"] == buyers
    assert "L.suspense" not in stall.cents()


def test_for_orders_paid_meanwhile_it_goes_back_to_the_buyer(stall: Stall) -> None:
    stall.explain()
    settlements.settle(stall.db, stall.bought.charge_id, paid(stall.bought), stall.now)
    assert stall.approve() == "second_payment"
    assert stall.cents()["L.buyer"] == TOTAL_CENTS


def test_what_mpesa_says_of_it_later_is_a_repeat(stall: Stall) -> None:
    stall.explain()
    stall.approve()
    before = stall.cents()
    again = c2b(NAMED, stall.now, RECEIPT)
    assert settlements.receive(stall.db, again, stall.now) == "repeat"
    assert stall.cents() == before


def test_refusals_move_nothing(stall: Stall) -> None:
    before = stall.cents()
    buyer_too = hire(stall.db, "amina", ["operator"], stall.bought.payer)
    assert stall.approve() == "not_proposed"
    assert stall.explain(why="short") == "no_reason"
    assert stall.explain(number=999_999) == "no_order"
    assert stall.explain(by=hire(stall.db, "wanja", ["approver"])) == "not_allowed"
    assert stall.explain(by=buyer_too) == "party"
    assert suspense.explain(stall.db, "RCPT0NEVER", stall.number, stall.olive, WHY, stall.now) == (
        "not_in_suspense"
    )
    assert stall.explain(by=stall.peter) == "proposed"
    assert stall.explain() == "already_proposed"
    assert stall.approve() == "own"
    assert stall.approve(by=stall.olive) == "not_allowed"
    assert suspense.decline(stall.db, RECEIPT, stall.peter, stall.now) == "declined"
    assert stall.approve() == "not_proposed"
    assert stall.cents() == before
    assert stall.explain() == "proposed"  # it may be said anew


@pytest.mark.parametrize("who", ["buyer", "seller", "payer"])
def test_nobody_says_or_agrees_that_it_paid_what_they_have_a_part_in(
    db: Db, now: datetime, who: str
) -> None:
    stall = Stall(db, now)
    others = purchase(db, stall.market, now, buyer=None, payer=SISTER)
    number = order_of(db, others, stall.market.wanjiku).number
    phone = db.value(
        "SELECT msisdn FROM members WHERE id = %s",
        [others.buyer if who == "buyer" else stall.market.otieno],
    )
    party = hire(db, "thief", ["operator", "approver"], SISTER if who == "payer" else phone)
    assert stall.explain(by=party, number=number) == "party"
    assert stall.explain(number=number) == "proposed"
    before = stall.cents()
    assert stall.approve(by=party) == "party"
    assert stall.cents() == before
    assert incidents.find_open(db, "explanation_by_a_party", RECEIPT) is not None
    assert stall.approve() == "captured"


def test_an_order_that_was_paid_and_sent_never_pays_twice(db: Db, now: datetime) -> None:
    stall = Stall(db, now)
    other = settled(db, purchase(db, stall.market, now, buyer=None, payer="+254722000777"), now)
    number = order_of(db, other, stall.market.wanjiku).number
    assert stall.explain(number=number) == "proposed"
    held = stall.cents()["L.escrow"]
    assert stall.approve() == "second_payment"
    assert stall.cents()["L.escrow"] == held


def test_two_people_give_it_back_and_mpesa_reverses_it_to_whoever_paid(stall: Stall) -> None:
    assert stall.give_back() == "proposed"
    (it,) = suspense.unexplained(stall.db)
    assert (it.order_number, it.member_id) == (None, stall.market.buyer)
    assert stall.cents()["L.suspense"] == TOTAL_CENTS
    assert stall.approve() == "returned"
    assert stall.cents() == {"A.c2b": TOTAL_CENTS, "L.buyer": TOTAL_CENTS}
    assert stall.states() == {"placed"}, "it paid nothing"
    assert suspense.unexplained(stall.db) == []
    assert incidents.find_open(stall.db, receipts.UNEXPLAINED, RECEIPT) is None
    assert outbox_wants_a_refund(stall)
    assert stall.refund() == [("reversal", TOTAL_CENTS, OWN, RECEIPT)]
    assert stall.approve() == "not_proposed"
    assert stall.give_back() == "not_in_suspense"
    assert stall.explain() == "not_in_suspense"


def test_what_cannot_be_reversed_any_more_is_paid_out_to_the_member(stall: Stall) -> None:
    stall.give_back()
    stall.now += refunds.REVERSE_WITHIN + timedelta(minutes=1)
    stall.approve()
    assert stall.refund() == [("refund", TOTAL_CENTS, OWN, None)]


def test_given_back_whole_it_is_not_taken_for_what_another_line_has_back(stall: Stall) -> None:
    """Her sister's money comes back to her sister, though what was given back came later."""
    sisters = settled(
        stall.db, purchase(stall.db, stall.market, stall.now, payer=SISTER), stall.now
    )
    order = order_of(stall.db, sisters, stall.market.wanjiku)
    deliveries.refuse(stall.db, order.id, stall.market.wanjiku, stall.now)
    stall.give_back()
    stall.approve()
    assert stall.cents()["L.buyer"] == TOTAL_CENTS + 50_000
    assert stall.refund() == [
        ("refund", 50_000, SISTER, None),
        ("reversal", TOTAL_CENTS, OWN, RECEIPT),
    ]


def test_what_mpesa_says_of_it_after_it_was_given_back_moves_nothing(stall: Stall) -> None:
    stall.give_back()
    stall.approve()
    before = stall.cents()
    assert settlements.receive(stall.db, c2b(NAMED, stall.now, RECEIPT), stall.now) == "repeat"
    named = c2b(stall.bought.reference, stall.now, RECEIPT)
    assert settlements.receive(stall.db, named, stall.now) == "conflict"
    called = paid(stall.bought, RECEIPT)
    assert settlements.settle(stall.db, stall.bought.charge_id, called, stall.now) == "conflict"
    assert reversals.find(stall.db, RECEIPT, TOTAL_CENTS) is None
    assert stall.cents() == before


def test_refusals_to_give_back_move_nothing(stall: Stall) -> None:
    before = stall.cents()
    buyer_too = hire(stall.db, "amina", ["operator", "approver"], OWN)
    assert stall.give_back(to="+254799999999") == "no_one_member"
    assert stall.give_back(why="short") == "no_reason"
    assert stall.give_back(by=hire(stall.db, "wanja", ["approver"])) == "not_allowed"
    assert stall.give_back(by=buyer_too) == "party"
    assert stall.give_back(by=stall.peter) == "proposed"
    assert stall.explain() == "already_proposed"
    assert stall.approve() == "own"
    assert stall.approve(by=buyer_too) == "party"
    assert stall.cents() == before


def outbox_wants_a_refund(stall: Stall) -> bool:
    return bool(
        stall.db.value(
            "SELECT EXISTS (SELECT FROM outbox WHERE kind = 'refund_balance' AND done_at IS NULL"
            " AND arguments ->> 'member_id' = %s)",
            [str(stall.market.buyer)],
        )
    )


@pytest.mark.parametrize(
    ("meant", "outcome", "now_holds"),
    [("explain", "captured", "L.escrow"), ("give_back", "returned", "L.buyer")],
)
def test_approved_by_many_at_once_it_is_booked_once(
    new_database: Callable[[], Any], now: datetime, meant: str, outcome: str, now_holds: str
) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now, size=8)
        try:
            with database.begin() as db:
                stall = Stall(db, now)
                getattr(stall, meant)()

            def approve(_: int) -> str:
                with database.begin() as db:
                    return suspense.approve(db, RECEIPT, stall.peter, now)

            with ThreadPoolExecutor(8) as pool:
                said = sorted(pool.map(approve, range(8)))
            assert said == sorted([outcome, *["not_proposed"] * 7])
            with database.begin() as db:
                stall.db = db
                assert stall.cents() == {"A.c2b": TOTAL_CENTS, now_holds: TOTAL_CENTS}
        finally:
            database.close()
