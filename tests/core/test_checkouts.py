"""Checkouts: a cart that lasts, and a confirmation that is all or nothing."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import (
    carts,
    catalogue,
    charges,
    checkouts,
    escrow,
    ledger,
    order_book,
    orders,
    outbox,
    settlements,
    stock,
)
from core.database import Db
from core.rules import Rules
from core.statements import Session
from tests.core import people
from tests.core.market import (
    OTHER_PRICE_CENTS,
    PRICE_CENTS,
    RULES,
    TOTAL_CENTS,
    Market,
    fill_cart,
    msisdn,
    open_market,
    order_of,
    paid,
    person,
    purchase,
    pushed,
    settled,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


def add(db: Db, market: Market, now: datetime, quantity_milli: int = 1000, **other: Any) -> str:
    given = {"buyer_id": market.buyer, "offer_id": market.tomatoes, "shown_price_cents": None}
    return carts.add(db, quantity_milli=quantity_milli, now=now, **{**given, **other})


def place(db: Db, market: Market, now: datetime, total: int = TOTAL_CENTS, **other: Any) -> str:
    given = {"buyer_id": market.buyer, "payer_msisdn": msisdn(1), "rules": RULES}
    return checkouts.place(db, shown_total_cents=total, now=now, **{**given, **other})


# --- the cart -------------------------------------------------------------------------------------


def test_a_cart_shows_what_was_chosen_in_the_buyers_language(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    cart = carts.read(db, market.buyer, "sw")
    assert [
        (x.product_name, x.seller_name, x.quantity_milli, x.unit, x.amount_cents)
        for x in cart.lines
    ] == [
        ("tomatoes (sw)", "Wanjiku Fresh", 2000, "kilo", 50_000),
        ("beans (sw)", "Otieno Supplies", 1500, "kilo", 18_100),
    ]
    assert cart.total_cents == TOTAL_CENTS


def test_who_has_chosen_nothing_has_an_empty_cart(db: Db, market: Market, now: datetime) -> None:
    cart = carts.read(db, market.buyer, "en")
    assert (cart.checkout_id, cart.lines, cart.total_cents) == (None, [], 0)


def test_the_same_offer_again_adds_to_its_line(db: Db, market: Market, now: datetime) -> None:
    add(db, market, now)
    assert add(db, market, now, 2000) == "added"
    (line,) = carts.read(db, market.buyer, "en").lines
    assert (line.quantity_milli, line.amount_cents) == (3000, 3 * PRICE_CENTS)


def test_a_line_can_be_taken_out_and_all_of_them(db: Db, market: Market, now: datetime) -> None:
    fill_cart(db, market, market.buyer, now)
    first, second = carts.read(db, market.buyer, "en").lines
    carts.remove(db, market.otieno, first.id, now)
    carts.remove(db, market.buyer, first.id, now)
    assert [x.id for x in carts.read(db, market.buyer, "en").lines] == [second.id]
    carts.empty(db, market.buyer, now)
    assert carts.read(db, market.buyer, "en").lines == []


def test_a_line_amount_is_whole_shillings(db: Db, market: Market, now: datetime) -> None:
    add(db, market, now, 500, offer_id=market.beans)
    (line,) = carts.read(db, market.buyer, "en").lines
    assert line.amount_cents == 6_000  # half of KSh 120.50 is 60.25


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        ({"quantity_milli": 10_001}, "sold_out"),
        ({"quantity_milli": 500}, "below_minimum"),
        ({"offer_id": UUID(int=404)}, "sold_out"),
        ({"shown_price_cents": PRICE_CENTS - 1}, "price_changed"),
        ({"shown_price_cents": PRICE_CENTS}, "added"),
        ({"quantity_milli": 10_000}, "added"),
    ],
)
def test_what_may_be_added(
    db: Db, market: Market, now: datetime, other: dict[str, Any], outcome: str
) -> None:
    assert add(db, market, now, **other) == outcome
    lines = carts.read(db, market.buyer, "en").lines
    assert len(lines) == (1 if outcome == "added" else 0)


def test_nobody_buys_from_herself(db: Db, market: Market, now: datetime) -> None:
    assert add(db, market, now, buyer_id=market.wanjiku) == "own_offer"


def test_a_withdrawn_offer_is_sold_out(db: Db, market: Market, now: datetime) -> None:
    catalogue.withdraw(db, market.tomatoes, now)
    assert add(db, market, now) == "sold_out"


def test_a_cart_holds_twelve_lines(db: Db, market: Market, now: datetime) -> None:
    category = db.value("SELECT id FROM categories")
    offers = []
    for number in range(carts.LINES_MAX + 1):
        product = catalogue.add_product(
            db,
            category_id=category,
            slug=f"p{number}",
            names={"en": f"Product {number}"},
            units={"en": {"one": "bag", "many": "bags"}},
            step_milli=1000,
            now=now,
        )
        offers.append(
            catalogue.add_offer(
                db,
                product_id=product,
                seller_id=market.wanjiku,
                price_cents=100,
                minimum_milli=1000,
                now=now,
            )
        )
        stock.receive(db, offers[-1], 5000, "opening", now)
    outcomes = [add(db, market, now, offer_id=offer) for offer in offers]
    assert outcomes == ["added"] * 12 + ["too_many_lines"]
    assert add(db, market, now, offer_id=offers[0]) == "added"


def test_a_cart_is_no_larger_than_ten_payments_can_be(
    db: Db, market: Market, now: datetime
) -> None:
    stock.receive(db, market.tomatoes, 20_000_000, "a ship", now)
    assert add(db, market, now, 10_000_000) == "added"
    assert add(db, market, now, 1_000) == "too_large"


# --- the confirmation -----------------------------------------------------------------------------


def test_a_confirmed_cart_is_one_order_and_one_escrow_for_each_seller(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    wanjiku, otieno = order_book.of_checkout(db, bought.checkout_id)
    assert otieno.number == wanjiku.number + 1
    assert {wanjiku.total_cents, otieno.total_cents} == {50_000, 18_100}
    fees = {o.total_cents: o.fee_cents for o in orders.lock(db, bought.checkout_id)}
    assert fees == {50_000: 1_300, 18_100: 500}  # 2.5 % half-up: 12.50 and 4.525 shillings
    states = db.value("SELECT array_agg(state || captured_cents) FROM escrows")
    assert states == ["none0", "none0"]
    assert wanjiku.pay_by == now + 15 * MINUTE
    assert carts.read(db, market.buyer, "en").lines == []
    (charge,) = charges.of_checkout(db, bought.checkout_id)
    assert (charge.amount_cents, charge.msisdn, charge.state) == (TOTAL_CENTS, msisdn(1), "created")


def test_numbers_begin_at_1001(db: Db) -> None:
    assert db.value(
        "SELECT start_value FROM pg_sequences WHERE sequencename = 'order_numbers'"
    ) == (1001)


def test_a_confirmation_asks_for_its_push_and_for_its_end(
    db: Db, market: Market, now: datetime
) -> None:
    purchase(db, market, now)
    due = {item.kind: item for item in outbox.take_due(db, now + 15 * MINUTE, 10)}
    assert set(due) == {"stk_push", "payment_reminder", "expire_checkout", "sms"}


def test_an_empty_cart_cannot_be_confirmed(db: Db, market: Market, now: datetime) -> None:
    assert place(db, market, now) == "cart_empty"
    add(db, market, now)
    carts.empty(db, market.buyer, now)
    assert place(db, market, now) == "cart_empty"


def test_a_total_other_than_the_one_shown_is_not_confirmed(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    assert place(db, market, now, TOTAL_CENTS - 100) == "price_changed"
    assert place(db, market, now) == "placed"


def test_a_changed_price_renews_the_cart_and_places_nothing(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    catalogue.set_price(db, market.tomatoes, 30_000, now)
    assert place(db, market, now) == "price_changed"
    assert carts.read(db, market.buyer, "en").total_cents == 60_000 + 18_100
    assert order_book.of_buyer(db, market.buyer, 9) == []
    assert place(db, market, now, 60_000 + 18_100) == "placed"


def test_a_sold_out_line_is_cut_to_what_is_left_in_whole_steps(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    other = person(db, now, 9)
    carts.add(db, other, market.beans, 8_700, None, now)
    total = carts.read(db, other, "en").total_cents
    assert place(db, market, now, total, buyer_id=other, payer_msisdn=msisdn(9)) == "placed"
    assert place(db, market, now) == "sold_out"
    lines = carts.read(db, market.buyer, "en").lines
    assert [line.quantity_milli for line in lines] == [2000, 1000]  # 1.3 left, sold by the half
    assert order_book.of_buyer(db, market.buyer, 9) == []


def test_a_line_of_which_nothing_is_left_leaves_the_cart(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    catalogue.withdraw(db, market.beans, now)
    assert place(db, market, now) == "sold_out"
    assert [x.offer_id for x in carts.read(db, market.buyer, "en").lines] == [market.tomatoes]


def test_prices_that_outgrow_ten_payments_drop_the_last_line(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    catalogue.set_price(db, market.beans, 200_000_000, now)
    assert place(db, market, now) == "sold_out"
    assert carts.read(db, market.buyer, "en").total_cents == 50_000


def test_a_buyer_has_three_unpaid_checkouts_at_most(db: Db, market: Market, now: datetime) -> None:
    for number in range(3):
        assert add(db, market, now) == "added"
        payer = msisdn(10 + number)
        assert place(db, market, now, PRICE_CENTS, payer_msisdn=payer) == "placed"
    add(db, market, now)
    assert place(db, market, now, PRICE_CENTS, payer_msisdn=msisdn(20)) == "too_many_open"


def test_a_phone_with_an_open_prompt_is_not_asked_again(
    db: Db, market: Market, now: datetime
) -> None:
    purchase(db, market, now)
    fill_cart(db, market, market.buyer, now)
    assert place(db, market, now) == "payment_open"


def test_a_phone_that_was_just_prompted_is_not_asked_again(
    db: Db, market: Market, now: datetime
) -> None:
    bought = pushed(db, purchase(db, market, now), now)
    settlements.settle(db, bought.charge_id, paid(bought), now)
    fill_cart(db, market, market.buyer, now)
    assert place(db, market, now + MINUTE) == "too_soon"
    assert place(db, market, now + 2 * MINUTE) == "placed"


def test_what_a_refused_confirmation_found_stays_as_it_was(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    before = carts.read(db, market.buyer, "en")
    place(db, market, now, 1)
    assert carts.read(db, market.buyer, "en") == before
    assert stock.available(db, [market.tomatoes], now) == {market.tomatoes: 10_000}


# --- the end --------------------------------------------------------------------------------------


def test_a_checkout_expires_when_its_time_is_up_and_nobody_is_asked(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    assert checkouts.expire(db, bought.checkout_id, now + 14 * MINUTE) == "not_yet"
    assert checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE) == "not_yet"
    charges.claim_for_push(db, bought.charge_id, RULES, now + 15 * MINUTE)
    assert checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE) == "expired"
    assert checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE) == "not_open"
    assert {o.state for o in order_book.of_checkout(db, bought.checkout_id)} == {"expired"}


def test_a_paid_checkout_neither_expires_nor_is_cancelled(
    db: Db, market: Market, now: datetime
) -> None:
    bought = pushed(db, purchase(db, market, now), now)
    settlements.settle(db, bought.charge_id, paid(bought), now)
    assert checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE) == "not_open"
    assert checkouts.cancel(db, bought.checkout_id, market.buyer, now) == "not_open"


def test_only_the_buyer_cancels(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    assert checkouts.cancel(db, bought.checkout_id, market.wanjiku, now) == "not_open"
    assert checkouts.cancel(db, bought.checkout_id, market.buyer, now) == "cancelled"
    assert order_book.unpaid(db, market.buyer) == []
    fill_cart(db, market, market.buyer, now)
    assert place(db, market, now) == "placed"  # the phone is free: it was never prompted


def test_orders_are_listed_the_newest_first(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    numbers = [order.number for order in order_book.of_buyer(db, market.buyer, 9)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(order_book.of_buyer(db, market.buyer, 1)) == 1
    assert [o.number for o in order_book.unpaid(db, market.buyer)] == numbers[::-1]
    assert order_book.of_buyer(db, market.wanjiku, 9) == []
    assert bought.total_cents == sum(o.total_cents for o in order_book.unpaid(db, market.buyer))


# --- orders and escrows by themselves -------------------------------------------------------------


def test_an_order_goes_only_where_its_state_leads(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    order = orders.lock(db, bought.checkout_id)[0]
    for state, targets in orders.MOVES.items():
        for to in orders.MOVES:
            db.run("SAVEPOINT before")
            db.run("UPDATE orders SET state = %s", [state])
            if to in targets:
                detail = {
                    "by": "test",
                    "inspect_by": now.isoformat(),
                    "answer_by": now.isoformat(),
                    "case": "5001",
                    "back": "100",
                    "net": "90",
                }
                orders.move(db, order.id, to, now, **detail)
                assert detail in [event.detail for event in orders.timeline(db, order.id)]
            else:
                with pytest.raises(orders.WrongMove):
                    orders.move(db, order.id, to, now)
            db.run("ROLLBACK TO SAVEPOINT before")


def test_an_escrow_is_filled_once(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    order = orders.lock(db, bought.checkout_id)[0]
    escrow.hold(db, {order.id: order.total_cents}, now)
    with pytest.raises(AssertionError):
        escrow.hold(db, {order.id: order.total_cents}, now)


def test_placing_a_cart_of_two_sellers_takes_eighteen_statements(
    db: Db, market: Market, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_cart(db, market, market.buyer, now)
    statements: list[str] = []
    execute = Session.execute

    def counted(self: Session, sql: Any, params: Any) -> Any:
        statements.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(Session, "execute", counted)
    assert place(db, market, now) == "placed"
    assert len(statements) <= 18, statements


def test_the_fee_is_the_one_of_the_day_it_was_placed(db: Db, market: Market, now: datetime) -> None:
    fill_cart(db, market, market.buyer, now)
    place(db, market, now, rules=Rules(fee_basis_points=1_000, token_key=b"k"))
    fees = {o.total_cents: o.fee_cents for o in checkouts_orders(db, market)}
    assert fees == {50_000: 5_000, 18_100: 1_800}


def checkouts_orders(db: Db, market: Market) -> list[orders.Order]:
    return orders.lock(db, order_book.of_buyer(db, market.buyer, 1)[0].checkout_id)


def test_no_money_moves_before_it_is_paid(db: Db, market: Market, now: datetime) -> None:
    pushed(db, purchase(db, market, now), now)
    assert ledger.trial_balance(db) == []
    assert OTHER_PRICE_CENTS % 100 == 50  # the cents of a price, not of an amount


# --- where to and when ----------------------------------------------------------------------------


def _destinations(db: Db, market: Market) -> set[tuple[str, str]]:
    checkout_id = order_book.of_buyer(db, market.buyer, 1)[0].checkout_id
    rows = db.value(
        "SELECT json_agg(json_build_array(deliver_on, p.name)) FROM orders o"
        " JOIN places p ON p.id = o.place_id WHERE checkout_id = %s",
        [checkout_id],
    )
    return {(day, place) for day, place in rows}


def test_goods_go_to_the_buyers_own_place_tomorrow_unless_she_says_otherwise(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    assert place(db, market, now) == "placed"
    assert _destinations(db, market) == {("2026-11-22", "Village 1")}


def test_tomorrow_is_that_of_nairobi(db: Db, market: Market) -> None:
    late = datetime.fromisoformat("2026-11-21T21:30+00:00")
    fill_cart(db, market, market.buyer, late)
    assert place(db, market, late) == "placed"
    assert _destinations(db, market) == {("2026-11-23", "Village 1")}


def test_she_may_choose_another_day_and_place(db: Db, market: Market, now: datetime) -> None:
    elsewhere = people.place(db, now, "Her sister's village")
    fill_cart(db, market, market.buyer, now)
    chosen = {"deliver_on": date(2026, 11, 25), "place_id": elsewhere}
    assert place(db, market, now, **chosen) == "placed"
    assert _destinations(db, market) == {("2026-11-25", "Her sister's village")}


def test_a_day_that_has_passed_since_she_chose_it_is_not_confirmed(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    assert place(db, market, now, deliver_on=date(2026, 11, 20)) == "day_over"
    assert order_book.of_buyer(db, market.buyer, 1) == []
    assert place(db, market, now, deliver_on=date(2026, 11, 21)) == "placed"


# --- the reminder to pay --------------------------------------------------------------------------


def _reminders(db: Db) -> int:
    return int(db.value("SELECT count(*) FROM messages WHERE trigger = 'payment_reminder'"))


def test_who_has_not_paid_is_reminded_once_five_minutes_before_the_end(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    assert checkouts.remind(db, bought.checkout_id, now + 9 * MINUTE) == "not_yet"
    assert _reminders(db) == 0
    assert checkouts.remind(db, bought.checkout_id, now + 10 * MINUTE) == "reminded"
    assert checkouts.remind(db, bought.checkout_id, now + 10 * MINUTE) == "not_open"
    assert _reminders(db) == 1


def test_who_has_paid_or_cancelled_or_is_too_late_is_not_reminded(
    db: Db, market: Market, now: datetime
) -> None:
    then = now + 10 * MINUTE
    late = purchase(db, market, now)
    assert checkouts.remind(db, late.checkout_id, now + 15 * MINUTE) == "not_open"
    checkouts.cancel(db, late.checkout_id, late.buyer, now)
    assert checkouts.remind(db, late.checkout_id, then) == "not_open"
    bought = settled(db, purchase(db, market, now), now)
    assert checkouts.remind(db, bought.checkout_id, then) == "not_open"
    assert _reminders(db) == 0


def test_where_the_time_to_pay_is_short_nobody_is_reminded(
    db: Db, market: Market, now: datetime
) -> None:
    fill_cart(db, market, market.buyer, now)
    assert place(db, market, now, rules=replace(RULES, reservation_minutes=5)) == "placed"
    kinds = {item.kind for item in outbox.take_due(db, now + 15 * MINUTE, 10)}
    assert "payment_reminder" not in kinds
    assert "expire_checkout" in kinds


# --- same as last time ----------------------------------------------------------------------------


def _in_cart(db: Db, market: Market, now: datetime) -> list[tuple[str, int, int]]:
    lines = carts.read(db, market.buyer, "en").lines
    return [(line.product_name, line.quantity_milli, line.amount_cents) for line in lines]


@pytest.fixture
def last_time(db: Db, market: Market, now: datetime) -> orders.Order:
    """Two tomatoes, which she had."""
    return order_of(db, settled(db, purchase(db, market, now), now), market.wanjiku)


def test_an_order_is_repeated_at_todays_price(
    db: Db, market: Market, last_time: orders.Order, now: datetime
) -> None:
    catalogue.set_price(db, market.tomatoes, 30_000, now)
    assert carts.repeat(db, market.buyer, last_time.id, now) == "filled"
    assert _in_cart(db, market, now) == [("Tomatoes", 2000, 60_000)]


def test_repeating_twice_is_repeating_once(
    db: Db, market: Market, last_time: orders.Order, now: datetime
) -> None:
    add(db, market, now, 1000)
    for _ in range(2):
        assert carts.repeat(db, market.buyer, last_time.id, now) == "filled"
        assert _in_cart(db, market, now) == [("Tomatoes", 2000, 50_000)]


def test_a_fuller_cart_is_left_as_it_is(
    db: Db, market: Market, last_time: orders.Order, now: datetime
) -> None:
    add(db, market, now, 5000)
    assert carts.repeat(db, market.buyer, last_time.id, now) == "filled"
    assert _in_cart(db, market, now) == [("Tomatoes", 5000, 125_000)]


def test_of_what_is_nearly_gone_what_is_left_is_taken(
    db: Db, market: Market, last_time: orders.Order, now: datetime
) -> None:
    assert stock.count_out(db, market.tomatoes, 6_500, "spoilt", now) == "taken"
    assert carts.repeat(db, market.buyer, last_time.id, now) == "filled"
    assert _in_cart(db, market, now) == [("Tomatoes", 1000, 25_000)]


@pytest.mark.parametrize("why", ["sold_out", "withdrawn", "dearer_than_any_cart", "below_minimum"])
def test_what_cannot_be_had_stays_out(
    db: Db, market: Market, last_time: orders.Order, now: datetime, why: str
) -> None:
    if why == "sold_out":
        stock.count_out(db, market.tomatoes, 8_000, "spoilt", now)
    elif why == "withdrawn":
        catalogue.withdraw(db, market.tomatoes, now)
    elif why == "dearer_than_any_cart":
        catalogue.set_price(db, market.tomatoes, checkouts.TOTAL_CENTS_MAX, now)
    else:
        db.run("UPDATE offers SET minimum_milli = 5000")
    assert carts.repeat(db, market.buyer, last_time.id, now) == "nothing_left"
    assert _in_cart(db, market, now) == []


def test_only_her_own_order_is_repeated(
    db: Db, market: Market, last_time: orders.Order, now: datetime
) -> None:
    stranger = person(db, now, 44)
    assert carts.repeat(db, stranger, last_time.id, now) == "nothing_left"
    assert carts.repeat(db, market.buyer, UUID(int=404), now) == "nothing_left"
