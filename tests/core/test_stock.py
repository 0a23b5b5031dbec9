"""Stock: promised to one buyer at a time, for as long as she may pay."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from core import carts, checkouts, settlements, stock
from core.database import Db
from tests.core.market import (
    RULES,
    Market,
    Purchase,
    failed,
    msisdn,
    open_market,
    order_of,
    paid,
    purchase,
    pushed,
    settled,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


@pytest.fixture
def bought(db: Db, market: Market, now: datetime) -> Purchase:
    return purchase(db, market, now)


def left(db: Db, offer_id: UUID, now: datetime) -> int:
    return stock.available(db, [offer_id], now)[offer_id]


def test_goods_that_came_in_can_be_promised(db: Db, market: Market, now: datetime) -> None:
    stock.receive(db, market.tomatoes, 2_500, "from the farm", now)
    assert left(db, market.tomatoes, now) == 12_500
    moved = db.value(
        "SELECT sum(quantity_milli)::bigint FROM stock_movements WHERE offer_id = %s",
        [market.tomatoes],
    )
    assert moved == 12_500


def test_what_never_had_stock_has_none(db: Db, now: datetime) -> None:
    assert left(db, UUID(int=404), now) == 0


def test_a_promise_is_taken_off_what_is_left(
    db: Db, market: Market, bought: Purchase, now: datetime
) -> None:
    assert left(db, market.tomatoes, now) == 8_000
    assert left(db, market.beans, now) == 8_500


def test_a_promise_outlives_its_time_while_the_payer_may_still_pay(
    db: Db, market: Market, bought: Purchase, now: datetime
) -> None:
    pushed(db, bought, now)
    late = now + 16 * MINUTE
    assert left(db, market.tomatoes, late) == 8_000
    settlements.settle(db, bought.charge_id, failed(), late)
    assert left(db, market.tomatoes, late) == 10_000


def test_a_promise_outlives_a_failed_payment_until_its_time_is_up(
    db: Db, market: Market, bought: Purchase, now: datetime
) -> None:
    pushed(db, bought, now)
    settlements.settle(db, bought.charge_id, failed(), now)
    assert left(db, market.tomatoes, now + 14 * MINUTE) == 8_000
    assert left(db, market.tomatoes, now + 15 * MINUTE) == 10_000


def test_paid_goods_are_allocated_and_stay_so(
    db: Db, market: Market, bought: Purchase, now: datetime
) -> None:
    pushed(db, bought, now)
    settlements.settle(db, bought.charge_id, paid(bought), now)
    assert left(db, market.tomatoes, now + timedelta(days=30)) == 8_000
    row = db.value("SELECT allocated_milli FROM stock WHERE offer_id = %s", [market.tomatoes])
    assert row == 2_000


def test_a_cancelled_checkout_frees_its_goods_at_once(
    db: Db, market: Market, bought: Purchase, now: datetime
) -> None:
    checkouts.cancel(db, bought.checkout_id, bought.buyer, now)
    assert left(db, market.tomatoes, now) == 10_000


def test_a_new_prompt_does_not_revive_a_promise_that_a_faster_clock_gave_away(
    db: Db, market: Market, bought: Purchase, now: datetime
) -> None:
    pushed(db, bought, now)
    settlements.settle(db, bought.charge_id, failed(), now)
    ahead, behind = now + 15 * MINUTE, now + 14 * MINUTE
    carts.add(db, market.otieno, market.tomatoes, 9_000, None, ahead)
    assert checkouts.place(db, market.otieno, msisdn(50), 225_000, RULES, ahead) == "placed"
    again = checkouts.pay_again(db, bought.checkout_id, bought.buyer, bought.payer, RULES, behind)
    assert again == "not_open"


@pytest.mark.parametrize("wrong", ["allocated_milli = on_hand_milli + 1", "allocated_milli = -1"])
def test_the_database_refuses_to_allocate_what_is_not_there(
    db: Db, market: Market, wrong: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        db.run(f"UPDATE stock SET {wrong}")  # type: ignore[arg-type]


def test_goods_that_are_gone_are_counted_out_with_their_movement(
    db: Db, market: Market, now: datetime
) -> None:
    assert stock.count_out(db, market.tomatoes, 3_000, "spoilt", now) == "taken"
    assert left(db, market.tomatoes, now) == 7_000
    movement = db.value(
        "SELECT json_build_array(kind, quantity_milli, reason, order_id) FROM stock_movements"
        " WHERE offer_id = %s AND quantity_milli < 0",
        [market.tomatoes],
    )
    assert movement == ["corrected", -3_000, "spoilt", None]


@pytest.mark.parametrize("is_paid", [False, True])
def test_what_was_promised_cannot_be_counted_out(
    db: Db, market: Market, bought: Purchase, now: datetime, is_paid: bool
) -> None:
    if is_paid:
        settled(db, bought, now)
    assert stock.count_out(db, market.tomatoes, 8_001, "sold elsewhere", now) == "not_enough"
    assert left(db, market.tomatoes, now) == 8_000
    assert stock.count_out(db, market.tomatoes, 8_000, "sold elsewhere", now) == "taken"
    assert left(db, market.tomatoes, now) == 0


def test_what_never_had_stock_cannot_be_counted_out(db: Db, now: datetime) -> None:
    assert stock.count_out(db, UUID(int=404), 1, "spoilt", now) == "not_enough"


@pytest.mark.parametrize("verb", [stock.dispatch, stock.give_back])
def test_an_allocation_is_ended_once(
    db: Db, market: Market, bought: Purchase, now: datetime, verb: Any
) -> None:
    order = order_of(db, settled(db, bought, now), market.wanjiku)
    verb(db, order.id, now)
    with pytest.raises(AssertionError, match="nothing is allocated"):
        verb(db, order.id, now)
