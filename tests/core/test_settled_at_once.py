"""Callbacks settled at once: as if one after the other, and only those that simply pay."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from core import charges, checkouts, ledger, messages, settlements
from core.charges import ChargeResult
from core.database import Db
from tests.core.market import (
    RULES,
    Market,
    Purchase,
    failed,
    msisdn,
    open_market,
    paid,
    person,
    purchase,
    pushed,
    settled,
)

A_DAY = timedelta(days=1)


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


def bought_by(db: Db, market: Market, now: datetime, number: int) -> Purchase:
    buyer = person(db, now, number, f"Buyer {number}")
    bought = purchase(db, market, now, buyer=buyer, payer=msisdn(number))
    return pushed(db, bought, now, push=str(number))


@pytest.fixture
def three(db: Db, market: Market, now: datetime) -> list[Purchase]:
    return [bought_by(db, market, now, number) for number in (11, 12, 13)]


def said(purchases: list[Purchase]) -> dict[Any, ChargeResult]:
    return {
        bought.charge_id: paid(bought, f"RCPT00000{number}")
        for number, bought in enumerate(purchases)
    }


@contextmanager
def undone(db: Db) -> Iterator[None]:
    db.run("SAVEPOINT before")
    yield
    db.run("ROLLBACK TO before")


# What came of it, without ids and in no order.
_ENDS = """
    SELECT json_build_object(
        'charges', (SELECT json_agg(json_build_array(reference, state, receipt) ORDER BY reference)
                    FROM charges),
        'codes', (SELECT json_agg(json_build_array(c.reference, k.source, k.code, k.meaning)
                                  ORDER BY c.reference, k.source)
                  FROM charge_codes k JOIN charges c ON c.id = k.charge_id),
        'receipts', (SELECT json_agg(json_build_array(receipt, source, outcome, amount_cents)
                                     ORDER BY receipt) FROM receipts),
        'checkouts', (SELECT json_agg(json_build_array(id, state) ORDER BY id) FROM checkouts),
        'orders', (SELECT json_agg(json_build_array(number, o.state, accept_by, e.state,
                                                    captured_cents) ORDER BY number)
                   FROM orders o JOIN escrows e ON e.order_id = o.id),
        'events', (SELECT json_agg(json_build_array(number, kind, detail) ORDER BY number, kind)
                   FROM order_events v JOIN orders o ON o.id = v.order_id),
        'messages', (SELECT json_agg(json_build_array(trigger, msisdn, text)
                                     ORDER BY trigger, msisdn, text) FROM messages),
        'work', (SELECT json_agg(json_build_array(kind, due_at, n) ORDER BY kind, due_at)
                 FROM (SELECT kind, due_at, count(*) AS n FROM outbox WHERE done_at IS NULL
                       GROUP BY kind, due_at) AS w),
        'transfers', (SELECT json_agg(json_build_array(key, t.kind, a.kind, amount_cents)
                                      ORDER BY key, a.kind, amount_cents)
                      FROM transfers t JOIN entries e ON e.transfer_id = t.id
                      JOIN accounts a ON a.id = e.account_id),
        'accounts', (SELECT json_agg(json_build_array(kind, owner_id, balance_cents)
                                     ORDER BY kind, owner_id) FROM accounts),
        'reservations', (SELECT json_agg(json_build_array(order_id, offer_id, state)
                                         ORDER BY order_id, offer_id) FROM reservations),
        'stock', (SELECT json_agg(json_build_array(offer_id, on_hand_milli, allocated_milli)
                                  ORDER BY offer_id) FROM stock))
"""


def as_one_by_one(db: Db, results: dict[Any, ChargeResult], now: datetime) -> dict[Any, str]:
    """All settled at once ends as one after the other does; what each came to."""
    ends = []
    for together in (False, True):
        with undone(db):
            if together:
                outcomes = settlements.settle_plain(db, results, now)
            else:
                one_by_one = {
                    each: settlements.settle(db, each, results[each], now)
                    for each in sorted(results)
                }
            ends.append(db.value(_ENDS))
    assert outcomes == one_by_one
    assert ends[0] == ends[1]
    return dict(outcomes)


def test_three_payments_at_once_end_as_one_after_the_other(
    db: Db, three: list[Purchase], now: datetime
) -> None:
    outcomes = as_one_by_one(db, said(three), now)
    assert set(outcomes.values()) == {"paid"}


def test_two_baskets_of_one_buyer_are_told_of_one_by_one(
    db: Db, market: Market, now: datetime
) -> None:
    first = pushed(db, purchase(db, market, now), now, push="1")
    second = purchase(db, market, now, payer=msisdn(12))
    second = pushed(db, second, now + timedelta(minutes=3), push="2")
    assert set(as_one_by_one(db, said([first, second]), now).values()) == {"paid"}
    settlements.settle_plain(db, said([first, second]), now)
    told = db.value("SELECT count(*) FROM messages WHERE trigger = 'paid' AND msisdn = %s",
                    [msisdn(1)])  # fmt: skip
    assert told == 2


def test_money_that_comes_late_at_once_with_other_is_its_buyers(
    db: Db, three: list[Purchase], now: datetime
) -> None:
    late = three[1]
    assert checkouts.cancel(db, late.checkout_id, late.buyer, now) == "cancelled"
    outcomes = as_one_by_one(db, said(three), now)
    assert outcomes.pop(late.charge_id) == "late"
    assert set(outcomes.values()) == {"paid"}


def test_of_lapsed_promises_paid_at_once_no_more_is_taken_than_is_left(
    db: Db, market: Market, three: list[Purchase], now: datetime
) -> None:
    """Two tomatoes each, and three are left."""
    later = now + timedelta(minutes=RULES.reservation_minutes + 1)
    for bought in three:
        settlements.settle(db, bought.charge_id, failed(), now)
    db.run("UPDATE stock SET on_hand_milli = 3000 WHERE offer_id = %s", [market.tomatoes])
    outcomes = as_one_by_one(db, said(three), later)
    assert set(outcomes.values()) == {"paid"}  # the beans are there for all of them
    settlements.settle_plain(db, said(three), later)
    states = db.value("SELECT array_agg(state ORDER BY state) FROM reservations")
    assert states == ["allocated"] * 4 + ["released"] * 2
    assert sum(ledger.balance(db, ledger.buyer(bought.buyer)) for bought in three) == 2 * 50_000


Spoiling = Callable[[Db, Purchase, ChargeResult, datetime], ChargeResult]


def _differently(**changes: object) -> Spoiling:
    return lambda _db, _bought, result, _now: replace(result, **changes)  # type: ignore[arg-type]


def _paid_before(db: Db, bought: Purchase, result: ChargeResult, now: datetime) -> ChargeResult:
    settlements.settle(db, bought.charge_id, result, now)
    return replace(result, receipt="RCPT000099")


@pytest.mark.parametrize(
    "spoilt",
    [
        _differently(verdict="failed", code="1032"),
        _differently(verdict="unknown", code="77"),
        _differently(amount_cents=100),
        _differently(receipt=None),
        _differently(msisdn=msisdn(99)),
        _differently(push_id="ws_CO_99"),
        _differently(push_group_id="group-99"),
        _differently(receipt="RCPT000000"),  # the first one's
        _differently(source="query", amount_cents=None, receipt=None),
        _paid_before,
    ],
)
def test_what_does_not_simply_pay_is_left_as_it_is(
    db: Db,
    three: list[Purchase],
    now: datetime,
    spoilt: Spoiling,
) -> None:
    results, other = said(three), three[1]
    results[other.charge_id] = spoilt(db, other, results[other.charge_id], now)
    before = charges.by_id(db, other.charge_id)
    settled_at_once = settlements.settle_plain(db, results, now)
    assert settled_at_once == {three[0].charge_id: "paid", three[2].charge_id: "paid"}
    assert charges.by_id(db, other.charge_id) == before


def test_a_receipt_on_record_for_another_is_left_for_the_single_verb(
    db: Db, market: Market, three: list[Purchase], now: datetime
) -> None:
    before = settled(db, purchase(db, market, now, payer=msisdn(20)), now)
    results = said(three)
    results[three[0].charge_id] = paid(three[0], f"R{before.reference}")
    assert settlements.settle_plain(db, results, now).keys() == {
        each.charge_id for each in three[1:]
    }


def test_a_part_of_the_price_is_left_for_the_single_verb(
    db: Db, three: list[Purchase], now: datetime
) -> None:
    part, whole = three[0], three[1]
    db.run("UPDATE charges SET amount_cents = 10000 WHERE id = %s", [part.charge_id])
    results = said([replace(part, total_cents=10_000), whole])
    assert settlements.settle_plain(db, results, now) == {whole.charge_id: "paid"}


def test_nothing_to_settle_and_unknown_charges_change_nothing(db: Db, now: datetime) -> None:
    result = ChargeResult("callback", "paid", "0", 100, "RCPT000001")
    assert settlements.settle_plain(db, {db.new_id(): result}, now) == {}
    assert settlements.settle_plain(db, {}, now) == {}


def test_settled_again_at_once_nothing_is_left_to_do(
    db: Db, three: list[Purchase], now: datetime
) -> None:
    settlements.settle_plain(db, said(three), now)
    with undone(db):
        before = db.value(_ENDS)
        assert settlements.settle_plain(db, said(three), now + A_DAY) == {}
        assert db.value(_ENDS) == before
    assert messages.told_since(db, "paid", three[0].payer, now - A_DAY)
