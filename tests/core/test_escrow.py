# ruff: noqa: N802 - I4 to I17 are names
"""Escrow: what was paid leaves it once, whole, to whom it belongs."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import escrow, ledger
from core.database import Db
from core.money import fee_cents, part_cents
from core.orders import Order
from tests.core.market import Market, open_market, order_of, purchase, settled
from tests.core.transactions import NOW, attempt, rolled_back


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


@pytest.fixture
def order(db: Db, market: Market, now: datetime) -> Order:
    """Of KSh 500, with a fee of KSh 13, paid."""
    return order_of(db, settled(db, purchase(db, market, now), now), market.wanjiku)


def balances(db: Db, order: Order) -> dict[str, int]:
    """Cents by whose they are."""
    return {
        "escrow": ledger.balance(db, ledger.escrow(order.id)),
        "buyer": ledger.balance(db, ledger.buyer(order.buyer_id)),
        "seller": ledger.balance(db, ledger.seller(order.seller_id)),
        "fee": ledger.balance(db, ledger.FEES),
    }


def row(db: Db, order_id: UUID) -> list[Any]:
    """state, captured, released, refunded, fee."""
    return list(
        db.value(
            """
            SELECT json_build_array(state, captured_cents, released_cents, refunded_cents,
                                    fee_cents)
            FROM escrows WHERE order_id = %s
            """,
            [order_id],
        )
    )


def test_a_release_pays_the_seller_less_the_fee(db: Db, order: Order, now: datetime) -> None:
    assert escrow.release(db, order.id, now) == 48_700
    assert balances(db, order) == {"escrow": 0, "buyer": 0, "seller": 48_700, "fee": 1_300}
    assert row(db, order.id) == ["settled", 50_000, 48_700, 0, 1_300]


def test_a_whole_refund_takes_no_fee(db: Db, order: Order, now: datetime) -> None:
    escrow.refund(db, order.id, None, now)
    assert balances(db, order) == {"escrow": 0, "buyer": 50_000, "seller": 0, "fee": 0}
    assert row(db, order.id) == ["settled", 50_000, 0, 50_000, 0]


def test_after_a_part_refund_the_fee_is_that_of_what_the_seller_gets(
    db: Db, order: Order, now: datetime
) -> None:
    escrow.refund(db, order.id, 20_000, now)
    assert row(db, order.id) == ["held", 50_000, 0, 20_000, 0]
    assert escrow.release(db, order.id, now) == 29_200
    assert balances(db, order) == {"escrow": 0, "buyer": 20_000, "seller": 29_200, "fee": 800}
    assert row(db, order.id) == ["settled", 50_000, 29_200, 20_000, 800]


def test_several_part_refunds_may_be_of_the_same_amount(
    db: Db, order: Order, now: datetime
) -> None:
    for _ in range(5):
        escrow.refund(db, order.id, 10_000, now)
    assert row(db, order.id) == ["settled", 50_000, 0, 50_000, 0]


def test_an_order_too_small_for_a_fee_is_released_whole(
    db: Db, order: Order, now: datetime
) -> None:
    db.run("UPDATE orders SET fee_cents = 0 WHERE id = %s", [order.id])
    assert escrow.release(db, order.id, now) == 50_000
    assert balances(db, order)["fee"] == 0


@pytest.mark.parametrize("cents", [0, -100, 50_100])
def test_no_more_is_refunded_than_is_held(db: Db, order: Order, now: datetime, cents: int) -> None:
    before = balances(db, order)
    with pytest.raises(escrow.NotHeld):
        escrow.refund(db, order.id, cents, now)
    assert balances(db, order) == before


def test_only_whole_shillings_leave(db: Db, order: Order, now: datetime) -> None:
    with pytest.raises(AssertionError, match="not whole shillings"):
        escrow.refund(db, order.id, 150, now)


def test_I8_a_frozen_escrow_neither_releases_nor_refunds(
    db: Db, order: Order, now: datetime
) -> None:
    db.run("UPDATE escrows SET state = 'frozen' WHERE order_id = %s", [order.id])
    before = balances(db, order)
    for verb in (
        lambda: escrow.release(db, order.id, now),
        lambda: escrow.refund(db, order.id, None, now),
        lambda: escrow.refund(db, order.id, 100, now),
    ):
        assert attempt(db, verb) is escrow.NotHeld
    assert balances(db, order) == before


@pytest.mark.parametrize("first", ["release", "refund"])
@pytest.mark.parametrize("second", ["release", "refund"])
def test_what_is_settled_stays_settled(
    db: Db, order: Order, now: datetime, first: str, second: str
) -> None:
    verbs = {
        "release": lambda: escrow.release(db, order.id, now),
        "refund": lambda: escrow.refund(db, order.id, None, now),
    }
    verbs[first]()
    before = balances(db, order)
    with pytest.raises(escrow.NotHeld):
        verbs[second]()
    assert balances(db, order) == before


def test_what_was_never_paid_holds_nothing(db: Db, market: Market, now: datetime) -> None:
    unpaid = order_of(db, purchase(db, market, now), market.wanjiku)
    with pytest.raises(escrow.NotHeld):
        escrow.release(db, unpaid.id, now)


def test_the_database_refuses_to_settle_a_part(db: Db, order: Order) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        db.run("UPDATE escrows SET state = 'settled' WHERE order_id = %s", [order.id])


@settings(max_examples=50, deadline=None)
@given(
    refunds=st.lists(st.integers(-1, 260), max_size=5),
    released=st.booleans(),
)
def test_I4_I17_whatever_leaves_in_whatever_parts_is_what_came_to_the_cent(
    database_url: str, refunds: list[int], released: bool
) -> None:
    with rolled_back(database_url) as db:
        market = open_market(db, NOW)
        order = order_of(db, settled(db, purchase(db, market, NOW), NOW), market.wanjiku)
        back = 0
        for shillings in refunds:
            refunded = attempt(db, lambda s=shillings: escrow.refund(db, order.id, s * 100, NOW))  # type: ignore[misc]
            fits = shillings > 0 and back + shillings * 100 <= 50_000
            assert refunded == (shillings * 100 if fits else escrow.NotHeld)
            back += shillings * 100 if fits else 0
        if released and back < 50_000:
            escrow.release(db, order.id, NOW)
        left = balances(db, order)
        assert sum(left.values()) == 50_000
        assert left["buyer"] == back
        state, captured, *parts = row(db, order.id)
        assert left["escrow"] == captured - sum(parts)
        assert (state == "settled") == (left["escrow"] == 0)
        assert left["fee"] % 100 == 0
        assert ledger.stale_balances(db) == 0


@given(total=st.integers(1, 250_000), basis_points=st.integers(0, 10_000), data=st.data())
def test_the_fee_of_a_part_is_never_more_than_the_part_nor_than_the_whole_fee(
    total: int, basis_points: int, data: st.DataObject
) -> None:
    part = data.draw(st.integers(0, total)) * 100
    fee = fee_cents(total * 100, basis_points)
    assert part_cents(fee, total * 100, total * 100) == fee
    assert 0 <= part_cents(fee, part, total * 100) <= min(fee, part)
