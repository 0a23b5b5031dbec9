# ruff: noqa: N802 - I4 to I18 are names
"""Shortages: less than was ordered, agreed on by both, and nothing released meanwhile."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from core import (
    carts,
    charges,
    checkouts,
    deliveries,
    disputes,
    escrow,
    freezes,
    order_book,
    orders,
    outbox,
    shortages,
    trips,
    verdicts,
)
from core.database import Db
from core.trips import Line
from tests.core.deal import HELD, REFUNDED, RELEASED, Deal
from tests.core.market import (
    OTHER_PRICE_CENTS,
    PRICE_CENTS,
    RULES,
    TOTAL_CENTS,
    Purchase,
    add_offer,
    msisdn,
    open_market,
    person,
    settled,
)
from tests.core.office import hire

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
ON_HAND_MILLI = 10_000
HALF_HELD = (25_000, 25_000, 0, 0)  # one of the two units is refunded
HALF_RELEASED = (0, 25_000, 24_300, 700)  # fee 6.50 of 250, half-up
OPEN = ("short", "less_came")


@pytest.fixture
def deal(db: Db, now: datetime) -> Deal:
    return Deal(db, now)


def snapshot(deal: Deal) -> Any:
    """All that a refusal may not change."""
    reduced = deal.order().reduced_cents, deal.order().came_cents
    stands = deal.state(), deal.purses(), deal.goods(), deal.events(), deal.timers()
    return stands, reduced, deal.ended()


def texts(deal: Deal, receiver: UUID) -> dict[str, str]:
    rows = deal.db.value(
        "SELECT json_agg(json_build_array(trigger, text)) FROM messages"
        " WHERE order_id = %s AND member_id = %s",
        [deal.id, receiver],
    )
    return dict(rows or [])


def said(deal: Deal, kind: str) -> Deal:
    """One is open: said by the seller of an accepted order, or by the buyer of one that came."""
    deal.comes_to("accepted" if kind == "short" else "dispatched")
    assert (deal.offer_less() if kind == "short" else deal.say_less_came()) == "asked"
    return deal


# --- less is sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paid", "accepted"])
@pytest.mark.parametrize("restock", [False, True])
def test_an_agreed_shortage_goes_back_at_once_and_the_order_goes_on(
    deal: Deal, state: str, restock: bool
) -> None:
    deal.comes_to(state)
    assert deal.offer_less(1, restock=restock) == "asked"
    assert (deal.state(), deal.purses()) == (state, HELD)
    assert deal.agree() == "agreed"
    assert (deal.state(), deal.purses()) == (state, HALF_HELD)
    on_hand = ON_HAND_MILLI if restock else ON_HAND_MILLI - 1_000
    assert deal.goods() == (on_hand, 1_000, on_hand - 1_000)
    deal.comes_to("dispatched")
    assert deal.goods() == (on_hand - 1_000, 0, on_hand - 1_000)
    assert deal.enter() == "released"
    assert (deal.state(), deal.purses()) == ("completed", HALF_RELEASED)


def test_who_declines_a_shortage_has_all_her_money_back(deal: Deal) -> None:
    said(deal, "short")
    assert deal.decline() == "declined"
    assert (deal.state(), deal.purses(), deal.ended()) == ("cancelled", REFUNDED, ["declined"])
    assert orders.timeline(deal.db, deal.id)[-1].detail == {"reason": "short_declined"}


@pytest.mark.parametrize("end", ["decline", "cancel", "refuse"])
def test_what_a_seller_has_not_got_does_not_come_back_to_his_stock(deal: Deal, end: str) -> None:
    said(deal, "short")
    getattr(deal, end)()
    assert deal.purses() == REFUNDED
    assert deal.goods() == (9_000, 0, 9_000)


def test_a_shortage_taken_back_leaves_the_order_whole(deal: Deal) -> None:
    said(deal, "short")
    assert deal.take_back() == "taken_back"
    assert deal.ended() == ["withdrawn"]
    deal.comes_to("dispatched")
    deal.enter()
    assert deal.purses() == RELEASED


@pytest.mark.parametrize(("state", "wait"), [("paid", 24 * HOUR), ("accepted", 36 * HOUR)])
def test_a_shortage_nobody_answers_ends_with_the_orders_own_deadline(
    deal: Deal, state: str, wait: timedelta
) -> None:
    deal.comes_to(state)
    deal.offer_less()
    deal.wait_for_timers(deal.now + wait - SECOND)
    assert (deal.state(), deal.purses()) == (state, HELD)
    assert deal.events().count("short_reminder") == 2
    assert f"{state}_reminder" not in deal.events()
    deal.wait_for_timers(deal.now + SECOND)
    assert (deal.state(), deal.purses(), deal.ended()) == ("cancelled", REFUNDED, ["lapsed"])
    assert orders.timeline(deal.db, deal.id)[-1].detail == {"reason": "short_unanswered"}
    assert outbox.next_due(deal.db) is None or not deal.timers()


# --- less came ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_when_the_seller_agrees_the_difference_goes_back_and_the_rest_is_his(
    deal: Deal, state: str
) -> None:
    deal.comes_to(state)
    assert deal.say_less_came() == "asked"
    assert (deal.state(), deal.purses()) == (state, HELD)
    assert deal.agree() == "agreed"
    assert (deal.state(), deal.purses(), deal.ended()) == ("completed", HALF_RELEASED, ["agreed"])
    assert deal.goods() == (8_000, 0, 8_000)  # what left him is gone
    assert deal.events()[-2:] == ["less_came_agreed", "completed"]
    assert deal.db.value("SELECT count(*) FROM disputes") == 0


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_when_the_seller_declines_the_time_to_inspect_begins_anew(deal: Deal, state: str) -> None:
    deal.comes_to(state)
    deal.say_less_came()
    deal.now += 3 * HOUR
    assert deal.decline() == "declined"
    assert (deal.state(), deal.purses(), deal.ended()) == ("delivered", HELD, ["declined"])
    assert deal.order().inspect_by == deal.now + 24 * HOUR
    over = deal.now + 24 * HOUR
    deal.wait_for_timers(over - SECOND)
    assert (deal.state(), deal.purses()) == ("delivered", HELD)
    assert deal.events().count("inspection_reminder") == 2
    deal.wait_for_timers(over)
    assert (deal.state(), deal.purses()) == ("completed", RELEASED)


def test_after_a_decline_she_may_complain(deal: Deal) -> None:
    said(deal, "less_came")
    deal.decline()
    assert deal.complain() == "opened"
    assert deal.state() == "disputed"


def test_after_a_decline_a_code_given_at_the_door_is_void(deal: Deal) -> None:
    deal.comes_to("dispatched")
    given = deal.code()
    deal.say_less_came()
    assert deal.enter(given) == "waits"
    deal.decline()
    assert (deal.state(), deal.purses()) == ("delivered", HELD)
    assert deal.enter(given) == "wrong_code"
    assert deal.purses() == HELD
    assert deal.enter() == "released"


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_a_seller_who_is_silent_for_a_day_has_a_dispute(deal: Deal, state: str) -> None:
    deal.comes_to(state)
    deal.say_less_came()
    by = deal.now + 24 * HOUR
    deal.wait_for_timers(by - SECOND)
    assert (deal.state(), deal.purses()) == (state, HELD)
    assert deal.events().count("less_came_reminder") == 2
    deal.wait_for_timers(by)
    assert (deal.state(), deal.purses(), deal.ended()) == ("disputed", HELD, ["lapsed"])
    assert escrow.frozen_cents(deal.db, deal.id) == 50_000
    dispute = disputes.of_order(deal.db, deal.id)
    assert dispute is not None
    assert (dispute.reason, dispute.words) == ("less", "Tomatoes: 1 / 2 kilos")
    deal.wait_for_timers(by + 30 * HOUR)
    assert (deal.state(), deal.purses()) == ("disputed", HELD)


def test_taken_back_it_goes_on_from_where_it_stood(deal: Deal) -> None:
    said(deal, "less_came")
    assert deal.take_back() == "taken_back"
    assert (deal.state(), deal.ended()) == ("dispatched", ["withdrawn"])
    assert "delivery_deadline" in deal.timers()
    deal.claim()
    deal.say_less_came()
    deal.now += 23 * HOUR
    deal.take_back()
    assert deal.state() == "delivered"
    assert deal.order().inspect_by == deal.now + 24 * HOUR
    assert deal.received() == "released"
    assert deal.purses() == RELEASED


def test_a_right_code_typed_meanwhile_counts_when_it_is_taken_back(deal: Deal) -> None:
    said(deal, "less_came")
    assert deal.enter() == "waits"
    assert (deal.events()[-1], deal.purses()) == ("code_kept", HELD)
    deal.take_back()
    assert (deal.state(), deal.purses()) == ("completed", RELEASED)


def test_a_complaint_takes_the_place_of_what_was_said_before(deal: Deal) -> None:
    said(deal, "less_came")
    assert deal.complain() == "opened"
    assert (deal.state(), deal.purses(), deal.ended()) == ("disputed", HELD, ["lapsed"])
    assert (deal.agree(), deal.decline()) == ("not_open", "not_open")
    deal.wait_for_timers(deal.now + 25 * HOUR)
    assert deal.db.value("SELECT count(*) FROM disputes") == 1


def test_a_frozen_buyers_difference_stays_on_her_balance(deal: Deal) -> None:
    said(deal, "less_came")
    chief = hire(deal.db, "olive")
    assert freezes.freeze(deal.db, deal.buyer, chief.name, "Her phone is lost.", deal.now)
    assert deal.agree() == "agreed"
    assert deal.purses() == HALF_RELEASED


# --- while one is open the order stands still -----------------------------------------------------

WAITING: dict[str, tuple[str, Callable[[Deal], str]]] = {
    "accept": ("short", Deal.accept),
    "dispatch": ("short", Deal.dispatch),
    "send_part": ("short", Deal.send_part),
    "claim": ("less_came", Deal.claim),
    "received": ("less_came", Deal.received),
}


@pytest.mark.parametrize("verb", WAITING)
def test_I18_verbs_wait_for_the_answer_and_change_nothing(deal: Deal, verb: str) -> None:
    kind, act = WAITING[verb]
    if verb == "accept":
        assert deal.offer_less() == "asked"
    else:
        said(deal, kind)
    before = snapshot(deal)
    assert act(deal) == "waits"
    assert snapshot(deal) == before


def test_the_right_code_waits_and_moves_nothing_but_a_note(deal: Deal) -> None:
    said(deal, "less_came")
    before = deal.state(), deal.purses(), deal.timers()
    assert deal.enter() == "waits"
    assert deal.enter_wrong() == "wrong_code"
    assert (deal.state(), deal.purses(), deal.timers()) == before


@pytest.mark.parametrize("late", [timedelta(), 24 * HOUR, 100 * HOUR])
def test_no_timer_releases_while_it_is_open(deal: Deal, late: timedelta) -> None:
    deal.comes_to("delivered")
    deal.say_less_came()
    for timer in (
        deliveries.inspection_over,
        deliveries.remind_to_inspect,
        deliveries.silent,
        deliveries.remind_to_dispatch,
    ):
        assert timer(deal.db, deal.id, deal.now + late) == "not_open"
    assert (deal.state(), deal.purses()) == ("delivered", HELD)
    assert deal.db.value("SELECT count(*) FROM incidents") == 0


def test_goods_spoken_of_as_less_are_not_silent(deal: Deal) -> None:
    deal.comes_to("dispatched")
    by = deal.order().dispatch_by
    assert by is not None
    deal.now = by + 47 * HOUR
    deal.say_less_came()
    assert deliveries.silent(deal.db, deal.id, deal.now + 2 * HOUR) == "not_open"
    assert deal.db.value("SELECT count(*) FROM incidents") == 0


@pytest.mark.parametrize("kind", OPEN)
def test_one_is_open_at_a_time(deal: Deal, kind: str) -> None:
    said(deal, kind)
    before = snapshot(deal)
    again = deal.offer_less(0) if kind == "short" else deal.say_less_came(0)
    assert again == "already_open"
    assert snapshot(deal) == before


def test_the_database_refuses_a_second_that_is_open(deal: Deal) -> None:
    said(deal, "short")
    with pytest.raises(psycopg.errors.UniqueViolation):
        deal.db.run(
            """
            INSERT INTO reductions SELECT gen_random_uuid(), order_id, line_id, kind, proposed_by,
                from_milli, to_milli, refund_cents, restock, state, answer_by, created_at
            FROM reductions
            """
        )


# --- who, when, how much --------------------------------------------------------------------------

PROPOSE: dict[str, tuple[Callable[..., str], set[str]]] = {
    "short": (Deal.offer_less, {"paid", "accepted"}),
    "less_came": (Deal.say_less_came, {"dispatched", "delivered"}),
}


@pytest.mark.parametrize("state", [*orders.MOVES])
@pytest.mark.parametrize("kind", OPEN)
def test_I18_it_can_be_said_while_the_goods_are_where_it_says(
    deal: Deal, kind: str, state: str
) -> None:
    act, allowed = PROPOSE[kind]
    if state in ("paid", "accepted", "dispatched", "delivered"):
        deal.comes_to(state)
    else:
        deal.db.run("UPDATE orders SET state = %s WHERE id = %s", [state, deal.id])
    before = snapshot(deal)
    assert act(deal) == ("asked" if state in allowed else "not_open")
    if state not in allowed:
        assert snapshot(deal) == before


@pytest.mark.parametrize("kind", OPEN)
def test_nobody_says_or_answers_it_for_another(deal: Deal, kind: str) -> None:
    act, _ = PROPOSE[kind]
    deal.comes_to("accepted" if kind == "short" else "dispatched")
    mine = deal.buyer, deal.seller
    stranger = person(deal.db, deal.now, 77)
    for buyer, seller in (reversed(mine), (stranger, stranger)):
        deal.buyer, deal.seller = buyer, seller
        assert act(deal) == "not_open"
    deal.buyer, deal.seller = mine
    assert act(deal) == "asked"
    before = snapshot(deal)
    deal.buyer, deal.seller = deal.seller, deal.buyer
    assert (deal.agree(), deal.decline(), deal.take_back()) == ("not_open",) * 3
    deal.buyer = deal.seller = stranger
    assert (deal.agree(), deal.decline(), deal.take_back()) == ("not_open",) * 3
    deal.buyer, deal.seller = mine
    assert snapshot(deal) == before


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize(
    ("units", "outcome"),
    [
        (2, "wrong_quantity"),
        (3, "wrong_quantity"),
        (-1, "wrong_quantity"),
        (0.5, "wrong_quantity"),  # tomatoes go by the unit
        (10**9, "wrong_quantity"),
        (0, "nothing_left"),  # that is a refusal, or a dispute
    ],
)
def test_a_quantity_that_makes_no_sense_changes_nothing(
    deal: Deal, kind: str, units: float, outcome: str
) -> None:
    act, _ = PROPOSE[kind]
    deal.comes_to("accepted" if kind == "short" else "dispatched")
    before = snapshot(deal)
    assert act(deal, units) == outcome
    assert snapshot(deal) == before


@pytest.mark.parametrize("verb", [shortages.offer_less, shortages.say_less_came])
def test_a_line_or_an_order_that_is_not_there_is_not_open(deal: Deal, verb: Any) -> None:
    who, extra = (deal.seller, (False,)) if verb is shortages.offer_less else (deal.buyer, ())
    deal.comes_to("accepted" if verb is shortages.offer_less else "dispatched")
    nowhere = UUID(int=404)
    (line,) = trips.of_order(deal.db, deal.id)
    assert verb(deal.db, deal.id, who, nowhere, 1_000, *extra, deal.now) == "not_open"
    assert verb(deal.db, nowhere, who, line.id, 1_000, *extra, deal.now) == "not_open"
    for answer in (shortages.agree, shortages.decline, shortages.take_back):
        assert answer(deal.db, nowhere, who, deal.now) == "not_open"
        assert answer(deal.db, deal.id, who, deal.now) == "not_open"


@pytest.mark.parametrize("kind", OPEN)
def test_I13_nobody_can_say_it_again_and_again(deal: Deal, kind: str) -> None:
    act, _ = PROPOSE[kind]
    deal.comes_to("accepted" if kind == "short" else "dispatched")
    for _ in range(shortages.PROPOSALS_MAX):
        assert act(deal) == "asked"
        deal.take_back()
    assert act(deal) == "too_often"


def test_an_answer_counts_once(deal: Deal) -> None:
    said(deal, "less_came")
    deal.agree()
    before = snapshot(deal)
    assert (deal.agree(), deal.decline(), deal.take_back()) == ("not_open",) * 3
    assert snapshot(deal) == before


# --- timers ---------------------------------------------------------------------------------------


def test_a_deadline_that_comes_early_comes_again(deal: Deal) -> None:
    said(deal, "less_came")
    found = deal.reduction()
    assert found is not None
    deal.db.run("UPDATE outbox SET done_at = %s", [deal.now])
    early = deal.now + 23 * HOUR
    assert shortages.run_out(deal.db, found.id, early) == "not_yet"
    assert deal.timers() == {"less_came_deadline": found.answer_by}


def test_a_deadline_that_comes_twice_opens_one_dispute(deal: Deal) -> None:
    said(deal, "less_came")
    found = deal.reduction()
    assert found is not None
    late = deal.now + 30 * HOUR
    assert shortages.run_out(deal.db, found.id, late) == "disputed"
    assert shortages.run_out(deal.db, found.id, late) == "not_open"
    assert deal.db.value("SELECT count(*) FROM disputes") == 1


@pytest.mark.parametrize("kind", OPEN)
def test_a_reminder_comes_once_for_each_of_its_times_and_not_after_the_end(
    deal: Deal, kind: str
) -> None:
    said(deal, kind)
    found = deal.reduction()
    assert found is not None
    remind = shortages.remind
    assert remind(deal.db, found.id, found.answer_by - 13 * HOUR) == "not_yet"
    assert remind(deal.db, found.id, found.answer_by - 12 * HOUR) == "reminded"
    assert remind(deal.db, found.id, found.answer_by - 11 * HOUR) == "not_open"
    assert remind(deal.db, found.id, found.answer_by - HOUR) == "reminded"
    assert remind(deal.db, found.id, found.answer_by) == "not_open"
    deal.take_back()
    assert remind(deal.db, found.id, found.answer_by - HOUR) == "not_open"


# --- several lines, several trips -----------------------------------------------------------------


class Mixed(Deal):
    """Two units of tomatoes at KSh 250, and 1.5 of kale at KSh 120.50: KSh 681, fee KSh 17."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.now = db, now
        self.market = open_market(db, now)
        self.buyer, self.seller = self.market.buyer, self.market.wanjiku
        category = db.value("SELECT id FROM categories")
        kale = add_offer(db, category, "kale", self.seller, OTHER_PRICE_CENTS, 500, 10_000, now)
        later = now + timedelta(milliseconds=1)
        carts.add(db, self.buyer, self.market.tomatoes, 2_000, PRICE_CENTS, now)
        carts.add(db, self.buyer, kale, 1_500, None, later)
        placed = checkouts.place(db, self.buyer, msisdn(1), TOTAL_CENTS, RULES, now)
        assert placed == "placed", placed
        (order,) = order_book.of_buyer(db, self.buyer, 1)
        (charge,) = charges.of_checkout(db, order.checkout_id)
        self.bought = Purchase(
            *(order.checkout_id, charge.id, self.buyer, msisdn(1), TOTAL_CENTS, charge.reference)
        )
        settled(db, self.bought, now)
        self.id = order.id

    def lines(self) -> tuple[Line, Line]:
        tomatoes, kale = trips.of_order(self.db, self.id)
        return tomatoes, kale

    def send(self, tomatoes: int, kale: int) -> str:
        first, second = self.lines()
        load = {first.id: tomatoes, second.id: kale}
        return deliveries.dispatch_part(self.db, self.id, self.seller, load, self.now)

    def say(self, line: Line, milli: int) -> str:
        verb = shortages.say_less_came
        return verb(self.db, self.id, self.buyer, line.id, milli, self.now)

    def offer(self, line: Line, milli: int) -> str:
        verb = shortages.offer_less
        return verb(self.db, self.id, self.seller, line.id, milli, True, self.now)


@pytest.fixture
def mixed(db: Db, now: datetime) -> Mixed:
    return Mixed(db, now)


def test_nothing_may_come_of_one_line_but_not_of_all(mixed: Mixed) -> None:
    mixed.comes_to("dispatched")
    _, kale = mixed.lines()
    assert mixed.say(kale, 0) == "asked"
    assert mixed.agree() == "agreed"
    assert mixed.state() == "completed"
    assert mixed.purses() == (0, 18_100, 50_000 - 1_200, 1_200)  # 17 x 500 / 681 is 12.48


def test_the_last_line_left_cannot_be_short_of_everything(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    tomatoes, kale = mixed.lines()
    assert (mixed.offer(tomatoes, 0), mixed.agree()) == ("asked", "agreed")
    assert mixed.offer(kale, 0) == "nothing_left"
    assert mixed.offer(tomatoes, 0) == "wrong_quantity"  # there is none to come
    assert (mixed.offer(kale, 500), mixed.agree()) == ("asked", "agreed")
    assert mixed.purses() == (6_000, 62_100, 0, 0)  # half a unit at 120.50, half-up
    mixed.comes_to("dispatched")
    assert mixed.enter() == "released"
    assert mixed.purses() == (0, 62_100, 5_900, 100)


def test_several_shortages_of_one_line_add_up_to_its_price(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    _, kale = mixed.lines()
    for milli in (1_000, 500, 0):
        assert (mixed.offer(kale, milli), mixed.agree()) == ("asked", "agreed")
    assert mixed.purses() == (50_000, 18_100, 0, 0)


def test_an_order_in_two_trips_is_paid_for_in_two_parts(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    assert mixed.send(1_000, 500) == "dispatched"
    assert (mixed.state(), mixed.purses()) == ("dispatched", (68_100, 0, 0, 0))
    assert mixed.goods() == (9_000, 1_000, 8_000)
    first_code = mixed.code()
    assert mixed.enter() == "released"
    part, part_fee = 25_000 + 6_000, 800  # 17 x 310 / 681 is 7.74
    assert (mixed.state(), mixed.purses()) == (
        "accepted",
        (68_100 - part, 0, part - part_fee, part_fee),
    )
    assert mixed.order().dispatch_by == datetime.fromisoformat("2026-11-23T00:00+03:00")
    assert mixed.dispatch() == "dispatched"
    assert mixed.goods() == (8_000, 0, 8_000)
    assert mixed.enter(first_code) == "wrong_code"
    assert mixed.enter() == "released"
    assert (mixed.state(), mixed.purses()) == ("completed", (0, 0, 68_100 - 1_700, 1_700))


def test_a_part_that_was_claimed_is_paid_out_alone_when_its_time_is_over(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    mixed.send(2_000, 0)
    mixed.claim()
    assert "KSh 500" in texts(mixed, mixed.buyer)["delivered"]
    over = mixed.now + 24 * HOUR
    mixed.wait_for_timers(over)
    assert (mixed.state(), mixed.purses()) == ("accepted", (18_100, 0, 48_800, 1_200))
    assert mixed.order().dispatch_by == over + 24 * HOUR
    mixed.wait_for_timers(over + 24 * HOUR)
    assert (mixed.state(), mixed.purses()) == ("completed", (0, 18_100, 48_800, 1_200))
    last = orders.timeline(mixed.db, mixed.id)[-1]
    assert last.detail == {"reason": "rest_missed", "back": "181"}


@pytest.mark.parametrize(
    ("end", "reason"), [(Deal.cancel, "rest_cancelled"), (Deal.refuse, "rest_refused")]
)
def test_a_rest_that_never_comes_goes_back_and_what_came_stays_paid(
    mixed: Mixed, end: Callable[[Deal], str], reason: str
) -> None:
    mixed.comes_to("accepted")
    mixed.send(1_000, 1_500)
    mixed.received()
    end(mixed)
    assert (mixed.state(), mixed.purses()) == ("completed", (0, 25_000, 42_000, 1_100))
    assert orders.timeline(mixed.db, mixed.id)[-1].detail == {"reason": reason, "back": "250"}
    assert mixed.goods() == (9_000, 0, 9_000)
    seen = order_book.for_seller(mixed.db, mixed.id, mixed.seller, "en")
    assert seen is not None
    assert (seen.total_cents, seen.fee_cents) == (43_100, 1_100)


def test_a_short_rest_can_be_agreed_to_and_declined(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    mixed.send(1_000, 500)
    mixed.received()
    _, kale = mixed.lines()
    assert kale.to_come_milli == 1_000
    assert (mixed.offer(kale, 500), mixed.agree()) == ("asked", "agreed")
    assert mixed.order().reduced_cents == 18_100 - 12_100
    tomatoes, _ = mixed.lines()
    assert (mixed.offer(tomatoes, 0), mixed.decline()) == ("asked", "declined")
    assert mixed.state() == "completed"
    assert mixed.purses() == (0, 68_100 - 31_000, 30_200, 800)


def test_a_dispute_of_a_part_divides_only_what_is_left(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    mixed.send(1_000, 500)
    mixed.received()
    mixed.send(1_000, 0)
    assert mixed.complain() == "opened"
    assert escrow.frozen_cents(mixed.db, mixed.id) == 68_100 - 31_000
    dispute = disputes.of_order(mixed.db, mixed.id)
    assert dispute is not None
    disputes.answer(mixed.db, mixed.id, mixed.seller, "It was all there.", mixed.now)
    olive = hire(mixed.db, "olive")
    decided = verdicts.decide(
        mixed.db, dispute.id, olive, 20_000, 17_100, "Half was there.", RULES, mixed.now
    )
    assert decided == "decided"
    paid_cents = 31_000 + 17_100
    assert mixed.state() == "split"
    assert mixed.purses() == (0, 20_000, paid_cents - 1_200, 1_200)  # 17 x 481 / 681 is 12.007
    allocated = "SELECT sum(allocated_milli)::bigint FROM stock"
    assert mixed.db.value(allocated) == 0  # what was left behind is his to sell again


def test_a_dispute_of_a_part_that_is_withdrawn_goes_on_with_the_trip(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    mixed.send(1_000, 500)
    code = mixed.code()
    mixed.complain()
    assert mixed.enter(code) == "frozen"
    assert disputes.withdraw(mixed.db, mixed.id, mixed.buyer, mixed.now) == "withdrawn"
    assert (mixed.state(), mixed.purses()) == ("accepted", (37_100, 0, 30_200, 800))


def test_less_of_a_part_came_and_the_rest_is_still_to_come(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    mixed.send(2_000, 500)
    tomatoes, kale = mixed.lines()
    assert mixed.say(tomatoes, 1_000) == "asked"
    assert mixed.agree() == "agreed"
    assert (mixed.state(), mixed.purses()) == (
        "accepted",
        (68_100 - 25_000 - 31_000, 25_000, 30_200, 800),
    )
    tomatoes, kale = mixed.lines()
    assert (tomatoes.to_come_milli, kale.to_come_milli) == (0, 1_000)
    mixed.dispatch()
    mixed.enter()
    assert mixed.purses() == (0, 25_000, 43_100 - 1_100, 1_100)


def test_only_what_is_on_the_road_can_have_come(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    mixed.send(1_000, 500)
    tomatoes, kale = mixed.lines()
    assert mixed.say(tomatoes, 1_000) == "wrong_quantity"
    assert mixed.say(kale, 500) == "wrong_quantity"
    assert (mixed.say(kale, 0), mixed.take_back()) == ("asked", "taken_back")


@pytest.mark.parametrize(
    ("tomatoes", "kale"),
    [(0, 0), (3_000, 0), (2_000, 2_000), (-1_000, 500), (500, 0), (1_000, 250), (10**15, 0)],
)
def test_a_load_that_makes_no_sense_does_not_leave(mixed: Mixed, tomatoes: int, kale: int) -> None:
    mixed.comes_to("accepted")
    before = snapshot(mixed)
    assert mixed.send(tomatoes, kale) == "wrong_load"
    assert snapshot(mixed) == before


def test_a_load_of_another_order_does_not_leave(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    sent = deliveries.dispatch_part(
        mixed.db, mixed.id, mixed.seller, {UUID(int=404): 1_000}, mixed.now
    )
    assert sent == "wrong_load"


def test_a_load_of_everything_is_the_whole_order(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    assert mixed.send(2_000, 1_500) == "dispatched"
    assert orders.timeline(mixed.db, mixed.id)[-1].detail == {}
    mixed.enter()
    assert mixed.state() == "completed"


def test_a_part_worth_no_shilling_neither_goes_nor_stays(mixed: Mixed) -> None:
    """At KSh 1 a unit half a unit is a shilling, and a unit is no more."""
    mixed.comes_to("accepted")
    mixed.db.run("UPDATE lines SET price_cents = 40 WHERE quantity_milli = 1500")
    mixed.db.run(
        "UPDATE lines SET quantity_milli = 1000, amount_cents = 100 WHERE price_cents = 40"
    )
    assert mixed.send(2_000, 500) == "wrong_load"


def test_each_trip_has_people_told_of_it(mixed: Mixed) -> None:
    mixed.comes_to("accepted")
    mixed.send(1_000, 500)
    mixed.enter()
    number = mixed.order().number
    buyers, sellers = texts(mixed, mixed.buyer), texts(mixed, mixed.seller)
    assert f"a part of order {number}, for KSh 310" in buyers["part_dispatched"]
    assert "KSh 310 went to Wanjiku" in buyers["part_came"]
    assert "{code}" in buyers["rest_code"]
    assert "KSh 302 goes to your M-Pesa" in sellers["part_came"]
    mixed.dispatch()
    mixed.enter()
    assert "KSh 371 went to" in texts(mixed, mixed.buyer)["completed"]
    assert "KSh 362 goes to your M-Pesa" in texts(mixed, mixed.seller)["completed"]


def test_who_is_to_answer_is_told_of_what(deal: Deal) -> None:
    deal.comes_to("accepted")
    deal.offer_less()
    number = deal.order().number
    told = texts(deal, deal.buyer)["short"]
    assert told.startswith(f"Order {number}: only 1 of 2 Tomatoes can come, KSh 250 back to you.")
    assert f"YES {number}" in told
    deal.agree()
    assert "KSh 243 is for you" in texts(deal, deal.seller)["short_agreed"]
    assert "KSh 250 waits" in texts(deal, deal.buyer)["short_agreed"]


def test_the_seller_is_told_in_his_language_what_came(deal: Deal) -> None:
    deal.db.run("UPDATE members SET language = 'sw' WHERE id = %s", [deal.seller])
    said(deal, "less_came")
    told = texts(deal, deal.seller)["less_came"]
    assert "tomatoes (s. 1 kati ya 2" in told  # a word is clipped to its width
    assert "KSh 250" in told


# --- what screens show ----------------------------------------------------------------------------


def test_screens_show_what_is_on_the_road_and_what_it_is_worth(mixed: Mixed) -> None:
    def seen() -> tuple[str, int, int]:
        found = order_book.for_seller(mixed.db, mixed.id, mixed.seller, "en")
        assert found is not None
        return found.goods, found.total_cents, found.net_cents

    mixed.comes_to("accepted")
    mixed.send(1_000, 500)
    assert seen() == ("1 kilo Tomatoes, 0.5 kilos Kale", 68_100, 66_400)
    mixed.enter()
    assert seen() == ("1 kilo Tomatoes, 1 kilo Kale", 37_100, 36_200)
    mixed.offer(mixed.lines()[1], 0)
    mixed.agree()
    assert seen() == ("1 kilo Tomatoes", 25_000, 24_400)
    mixed.dispatch()
    mixed.enter()
    assert seen() == ("2 kilos Tomatoes, 0.5 kilos Kale", 56_000, 54_600)
