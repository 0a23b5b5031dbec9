# ruff: noqa: N802 - I13 and I18 are names
"""Deliveries: accepted, sent and handed over against a code; whatever is not done in time ends."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import deliveries, ledger, order_book, orders, outbox, sendings, settlements
from core.database import Db
from core.receipts import Receipt
from core.rules import Rules
from tests.core.deal import HELD, REFUNDED, RELEASED, STATES, Deal
from tests.core.market import (
    RULES,
    failed,
    msisdn,
    open_market,
    order_of,
    person,
    purchase,
    settled,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ON_HAND_MILLI = 10_000
ALLOCATED = (ON_HAND_MILLI, 2_000, 8_000)
SENT = (8_000, 0, 8_000)
BACK = (ON_HAND_MILLI, 0, ON_HAND_MILLI)


@pytest.fixture
def deal(db: Db, now: datetime) -> Deal:
    return Deal(db, now)


# --- the good way ---------------------------------------------------------------------------------


def test_an_order_is_accepted_sent_and_paid_out_against_its_code(deal: Deal) -> None:
    assert (deal.state(), deal.purses(), deal.goods()) == ("paid", HELD, ALLOCATED)
    assert deal.accept() == "accepted"
    assert (deal.state(), deal.purses(), deal.goods()) == ("accepted", HELD, ALLOCATED)
    assert deal.dispatch() == "dispatched"
    assert (deal.state(), deal.purses(), deal.goods()) == ("dispatched", HELD, SENT)
    assert deal.enter() == "released"
    assert (deal.state(), deal.purses(), deal.goods()) == ("completed", RELEASED, SENT)
    assert deal.events() == [
        "placed",
        "paid",
        "delivery_code",
        "accepted",
        "dispatched",
        "code_accepted",
        "completed",
    ]


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_the_buyers_word_releases_at_once(deal: Deal, state: str) -> None:
    deal.comes_to(state)
    assert deal.received() == "released"
    assert (deal.state(), deal.purses()) == ("completed", RELEASED)
    assert deal.events()[-2:] == ["received", "completed"]


def test_the_code_still_releases_after_a_claim(deal: Deal) -> None:
    deal.comes_to("delivered")
    assert deal.enter() == "released"
    assert deal.purses() == RELEASED


def test_the_other_order_of_the_basket_stands_by_itself(deal: Deal) -> None:
    deal.comes_to("dispatched")
    deal.enter()
    other = order_of(deal.db, deal.bought, deal.market.otieno)
    assert other.state == "paid"
    assert ledger.balance(deal.db, ledger.escrow(other.id)) == 18_100


def test_the_goods_that_were_sent_are_a_movement_of_the_order(deal: Deal) -> None:
    deal.comes_to("dispatched")
    moved = deal.db.value(
        "SELECT json_build_array(kind, quantity_milli) FROM stock_movements WHERE order_id = %s",
        [deal.id],
    )
    assert moved == ["dispatched", -2_000]


# --- the code -------------------------------------------------------------------------------------


def test_a_wrong_code_moves_nothing(deal: Deal) -> None:
    deal.comes_to("dispatched")
    assert deal.enter_wrong() == "wrong_code"
    assert (deal.state(), deal.purses()) == ("dispatched", HELD)


def test_five_wrong_codes_lock_it_and_the_buyer_is_told_once(deal: Deal) -> None:
    deal.comes_to("dispatched")
    assert [deal.enter_wrong() for _ in range(6)] == [
        *["wrong_code"] * 4,
        "code_locked",
        "code_locked",
    ]
    assert deal.enter() == "code_locked"
    assert deal.events().count("code_locked") == 1
    assert deal.purses() == HELD


def test_a_new_code_opens_a_locked_delivery_and_the_old_one_is_void(deal: Deal) -> None:
    deal.comes_to("dispatched")
    old = deal.code()
    for _ in range(5):
        deal.enter_wrong()
    assert deal.new_code() == "renewed"
    assert deal.code() != old
    assert deal.enter(old) == "wrong_code"
    assert deal.enter() == "released"


def test_a_locked_order_is_still_paid_out_by_the_buyers_word(deal: Deal) -> None:
    deal.comes_to("dispatched")
    for _ in range(5):
        deal.enter_wrong()
    assert deal.received() == "released"


@pytest.mark.parametrize("typed", ["", "12345", "٤٨٢١", "é", "\ud800", "0000000", " "])
def test_no_text_is_a_code(deal: Deal, typed: str) -> None:
    deal.comes_to("dispatched")
    assert deal.enter(typed) == "wrong_code"


def test_the_code_of_one_order_does_not_open_another(deal: Deal) -> None:
    other = order_of(deal.db, deal.bought, deal.market.otieno)
    assert deliveries.code_of(deal.db, other.id, RULES) != deal.code()


def test_the_code_is_kept_nowhere(deal: Deal) -> None:
    deal.comes_to("dispatched")
    deal.enter_wrong()
    deal.claim()
    for table in ("deliveries", "messages", "order_events", "outbox", "orders"):
        kept = deal.db.value(f"SELECT coalesce(json_agg(t), '[]')::text FROM {table} t")
        words = re.split(r"[^0-9a-zA-Z-]+", kept)
        assert "dispatched" in words or table in {"deliveries", "outbox", "orders"}
        assert deal.code() not in words, table


@given(order=st.uuids(), generation=st.integers(1, 1000))
def test_a_code_is_four_digits_that_follow_from_the_key(order: UUID, generation: int) -> None:
    code = deliveries.code(RULES, order, generation)
    assert len(code) == 4
    assert code.isascii()
    assert code.isdecimal()
    assert code == deliveries.code(RULES, order, generation)


def test_codes_of_another_key_are_others() -> None:
    others = Rules(token_key=b"another key")
    same = sum(
        deliveries.code(RULES, UUID(int=n), 1) == deliveries.code(others, UUID(int=n), 1)
        for n in range(1000)
    )
    assert same < 10


def test_the_code_is_shown_to_the_buyer_alone_and_while_it_is_of_use(deal: Deal) -> None:
    show = deliveries.show_code
    for state in ("paid", "accepted", "dispatched", "delivered"):
        deal.comes_to(state)
        assert show(deal.db, deal.id, deal.buyer, RULES) is not None
        assert show(deal.db, deal.id, deal.seller, RULES) is None
        assert deliveries.code_of(deal.db, deal.id, RULES) == deal.code()
    deal.enter()
    assert show(deal.db, deal.id, deal.buyer, RULES) is None
    assert deliveries.code_of(deal.db, deal.id, RULES) is None


def test_an_unpaid_order_has_no_code(db: Db, now: datetime) -> None:
    market = open_market(db, now)
    order = order_of(db, purchase(db, market, now), market.wanjiku)
    assert deliveries.show_code(db, order.id, market.buyer, RULES) is None
    assert deliveries.new_code(db, order.id, market.buyer, now) == "not_open"


# --- the bad ways ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paid", "accepted"])
def test_a_refused_order_gives_money_and_goods_back(deal: Deal, state: str) -> None:
    deal.comes_to(state)
    assert deal.refuse() == "refused"
    assert (deal.state(), deal.purses(), deal.goods()) == ("cancelled", REFUNDED, BACK)
    last = orders.timeline(deal.db, deal.id)[-1]
    assert (last.kind, last.detail) == ("cancelled", {"reason": "refused"})


@pytest.mark.parametrize("state", ["paid", "accepted"])
def test_the_buyer_may_cancel_until_it_is_sent(deal: Deal, state: str) -> None:
    deal.comes_to(state)
    assert deal.cancel() == "cancelled"
    assert (deal.state(), deal.purses(), deal.goods()) == ("cancelled", REFUNDED, BACK)


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_what_was_sent_is_neither_cancelled_nor_refused(deal: Deal, state: str) -> None:
    deal.comes_to(state)
    assert (deal.cancel(), deal.refuse()) == ("not_open", "not_open")
    assert deal.purses() == HELD


VERBS: dict[str, tuple[Callable[[Deal], str], set[str]]] = {
    "accept": (Deal.accept, {"paid"}),
    "refuse": (Deal.refuse, {"paid", "accepted"}),
    "dispatch": (Deal.dispatch, {"accepted"}),
    "enter": (lambda deal: deal.enter("0000"), {"dispatched", "delivered", "disputed"}),
    "claim": (Deal.claim, {"dispatched"}),
    "received": (Deal.received, {"dispatched", "delivered"}),
    "cancel": (Deal.cancel, {"paid", "accepted"}),
    "new_code": (Deal.new_code, {"paid", "accepted", "dispatched", "delivered"}),
}


@pytest.mark.parametrize("state", [*orders.MOVES])
@pytest.mark.parametrize("verb", VERBS)
def test_I18_what_a_state_does_not_allow_is_not_open_and_changes_nothing(
    deal: Deal, verb: str, state: str
) -> None:
    act, allowed = VERBS[verb]
    if state in STATES and state != "placed":
        deal.comes_to(state)
    else:
        deal.db.run("UPDATE orders SET state = %s WHERE id = %s", [state, deal.id])
    before = deal.purses(), deal.goods(), deal.events(), deal.timers()
    outcome = act(deal)
    assert (outcome == "not_open") == (state not in allowed)
    if outcome == "not_open":
        assert deal.state() == state
        assert (deal.purses(), deal.goods(), deal.events(), deal.timers()) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_stranger_and_the_wrong_side_can_do_nothing(deal: Deal, verb: str) -> None:
    act, allowed = VERBS[verb]
    deal.comes_to(next(state for state in STATES if state in allowed))
    stranger = person(deal.db, deal.now, 77)
    before = deal.events()
    deal.buyer, deal.seller, mine = deal.seller, deal.buyer, (deal.buyer, deal.seller)
    assert act(deal) == "not_open"
    deal.buyer = deal.seller = stranger
    assert act(deal) == "not_open"
    deal.buyer, deal.seller = mine
    assert deal.events() == before


@pytest.mark.parametrize("verb", VERBS)
def test_an_order_that_is_not_there_is_not_open(deal: Deal, verb: str) -> None:
    deal.id = UUID(int=404)
    assert VERBS[verb][0](deal) == "not_open"


# --- deadlines ------------------------------------------------------------------------------------


def test_a_paid_order_has_a_day_to_be_accepted(deal: Deal) -> None:
    assert deal.order().accept_by == deal.now + 24 * HOUR
    assert deal.timers() == {
        "accept_reminder": deal.now + 12 * HOUR,
        "accept_deadline": deal.now + 24 * HOUR,
    }


def test_an_accepted_order_is_to_be_sent_by_the_end_of_its_day_in_nairobi(deal: Deal) -> None:
    deal.accept()
    end_of_sunday = datetime.fromisoformat("2026-11-23T00:00+03:00")
    assert deal.order().dispatch_by == end_of_sunday
    assert deal.timers()["dispatch_deadline"] == end_of_sunday
    assert deal.timers()["dispatch_reminder"] == end_of_sunday - 12 * HOUR


def test_who_accepts_when_the_day_is_nearly_over_has_four_hours(deal: Deal) -> None:
    deal.now = datetime.fromisoformat("2026-11-22T23:00+03:00")
    deal.accept()
    assert deal.order().dispatch_by == deal.now + 4 * HOUR
    assert "dispatch_reminder" not in deal.timers()


def test_an_order_nobody_accepts_is_cancelled_after_one_reminder(deal: Deal) -> None:
    deal.wait_for_timers(deal.now + 24 * HOUR - SECOND)
    assert deal.events()[-1] == "accept_reminder"
    assert (deal.state(), deal.purses()) == ("paid", HELD)
    deal.wait_for_timers(deal.now + SECOND)
    assert (deal.state(), deal.purses(), deal.goods()) == ("cancelled", REFUNDED, BACK)
    assert orders.timeline(deal.db, deal.id)[-1].detail == {"reason": "accept_missed"}
    assert deal.events().count("accept_reminder") == 1


def test_an_accepted_order_nobody_sends_is_cancelled_after_one_reminder(deal: Deal) -> None:
    deal.accept()
    by = deal.order().dispatch_by
    assert by is not None
    deal.wait_for_timers(by - SECOND)
    assert deal.events()[-1] == "dispatch_reminder"
    assert orders.timeline(deal.db, deal.id)[-1].detail == {"dispatch_by": by.isoformat()}
    deal.wait_for_timers(by)
    assert (deal.state(), deal.purses(), deal.goods()) == ("cancelled", REFUNDED, BACK)
    assert orders.timeline(deal.db, deal.id)[-1].detail == {"reason": "dispatch_missed"}


def test_a_claim_nobody_objects_to_is_paid_out_after_a_day_and_two_reminders(deal: Deal) -> None:
    deal.comes_to("delivered")
    over = deal.now + 24 * HOUR
    assert deal.order().inspect_by == over
    deal.wait_for_timers(over - SECOND)
    reminded = [e.at for e in orders.timeline(deal.db, deal.id) if e.kind == "inspection_reminder"]
    assert reminded == [over - 12 * HOUR, over - 2 * HOUR]
    assert deal.purses() == HELD
    deal.wait_for_timers(over)
    assert (deal.state(), deal.purses()) == ("completed", RELEASED)


def test_goods_sent_and_not_spoken_of_again_become_an_operators_case(deal: Deal) -> None:
    deal.comes_to("dispatched")
    by = deal.order().dispatch_by
    assert by is not None
    cases = "SELECT count(*) FROM incidents WHERE kind = 'delivery_silent'"
    deal.wait_for_timers(by + 48 * HOUR - SECOND)
    assert deal.db.value(cases) == 0
    deal.wait_for_timers(by + 48 * HOUR)
    assert deal.db.value(cases) == 1
    assert (deal.state(), deal.purses()) == ("dispatched", HELD)


def test_I13_whatever_is_left_undone_every_paid_order_ends(db: Db, now: datetime) -> None:
    for state in ("paid", "accepted", "dispatched", "delivered"):
        db.run("SAVEPOINT market")
        deal = Deal(db, now)
        deal.comes_to(state)
        deal.wait_for_timers(now + 10 * DAY)
        ended = deal.state() in {"completed", "cancelled"}
        assert ended or db.value("SELECT count(*) FROM incidents") == 1, state
        assert outbox.next_due(db) is None
        db.run("ROLLBACK TO SAVEPOINT market")


DEADLINES: dict[str, tuple[Any, str, timedelta]] = {
    "accept_deadline": (deliveries.accept_missed, "paid", 24 * HOUR),
    "dispatch_deadline": (deliveries.dispatch_missed, "accepted", 36 * HOUR),
    "delivery_deadline": (deliveries.silent, "dispatched", 84 * HOUR),
    "inspection_over": (deliveries.inspection_over, "delivered", 24 * HOUR),
    "accept_reminder": (deliveries.remind_to_accept, "paid", 12 * HOUR),
    "dispatch_reminder": (deliveries.remind_to_dispatch, "accepted", 24 * HOUR),
    "inspection_reminder": (deliveries.remind_to_inspect, "delivered", 12 * HOUR),
}


@pytest.mark.parametrize("kind", DEADLINES)
def test_a_timer_that_comes_early_does_nothing_but_come_again(deal: Deal, kind: str) -> None:
    verb, state, after = DEADLINES[kind]
    deal.comes_to(state)
    due_at = deal.timers()[kind]
    assert due_at <= deal.now + after
    before = deal.purses(), deal.events()
    outbox.take_due(deal.db, due_at, 100)
    deal.db.run("UPDATE outbox SET done_at = %s", [deal.now])
    assert verb(deal.db, deal.id, due_at - SECOND) == "not_yet"
    assert (deal.purses(), deal.events()) == before
    assert deal.timers() == {kind: due_at}


@pytest.mark.parametrize("kind", DEADLINES)
def test_a_timer_that_comes_late_or_twice_acts_once(deal: Deal, kind: str) -> None:
    verb, state, _ = DEADLINES[kind]
    deal.comes_to(state)
    due_at = deal.timers()[kind]
    late = due_at + HOUR
    acted = verb(deal.db, deal.id, late)
    assert acted in {"cancelled", "released", "asked", "reminded"}
    before = deal.purses(), deal.goods(), deal.events(), deal.state()
    assert verb(deal.db, deal.id, late) in {"not_open", "asked"}
    assert (deal.purses(), deal.goods(), deal.events(), deal.state()) == before
    assert deal.db.value("SELECT count(*) FROM incidents") == (acted == "asked")


@pytest.mark.parametrize("kind", DEADLINES)
def test_a_timer_finds_nothing_to_do_once_the_order_has_gone_on(deal: Deal, kind: str) -> None:
    verb, state, _ = DEADLINES[kind]
    deal.comes_to(state)
    if state in {"paid", "accepted"}:
        deal.cancel()
    else:
        deal.received()
    before = deal.purses(), deal.events()
    assert verb(deal.db, deal.id, deal.now + 30 * DAY) == "not_open"
    assert (deal.purses(), deal.events()) == before


def test_a_reminder_that_comes_after_the_deadline_says_nothing(deal: Deal) -> None:
    late = deal.now + 25 * HOUR
    assert deliveries.remind_to_accept(deal.db, deal.id, late) == "not_open"
    assert "accept_reminder" not in deal.events()


def test_two_reminders_that_are_late_together_are_one(deal: Deal) -> None:
    deal.comes_to("delivered")
    late = deal.now + 23 * HOUR
    assert deliveries.remind_to_inspect(deal.db, deal.id, late) == "reminded"
    assert deliveries.remind_to_inspect(deal.db, deal.id, late + SECOND) == "not_open"


# --- what people are told -------------------------------------------------------------------------


def _texts(deal: Deal, receiver: UUID) -> dict[str, str]:
    rows = deal.db.value(
        "SELECT json_agg(json_build_array(trigger, text)) FROM messages"
        " WHERE order_id = %s AND member_id = %s",
        [deal.id, receiver],
    )
    return dict(rows or [])


def test_the_buyer_is_sent_the_code_in_a_message_of_its_own(deal: Deal) -> None:
    message_id = deal.db.value(
        "SELECT id FROM messages WHERE trigger = 'delivery_code' AND order_id = %s", [deal.id]
    )

    def late(db: Db, name: str, order_id: UUID | None) -> str | None:
        assert name == "code"
        assert order_id is not None
        return deliveries.code_of(db, order_id, RULES)

    deal.db.run("SAVEPOINT sending")
    claimed = sendings.claim(deal.db, message_id, late, deal.now)
    assert isinstance(claimed, sendings.Claimed)
    assert claimed.text.startswith(f"Code {deal.code()}, order {deal.order().number}")
    deal.db.run("ROLLBACK TO SAVEPOINT sending")
    deal.cancel()
    assert sendings.claim(deal.db, message_id, late, deal.now) is None


def test_each_step_tells_the_other_side(deal: Deal) -> None:
    deal.comes_to("delivered")
    deal.wait_for_timers(deal.now + 24 * HOUR)
    assert _texts(deal, deal.buyer).keys() >= {
        "accepted",
        "dispatched",
        "delivered",
        "inspection_reminder",
        "completed",
    }
    assert "22/11 12:00" in _texts(deal, deal.buyer)["delivered"]
    number = deal.order().number
    assert _texts(deal, deal.seller)["completed"].startswith(f"Order {number} is complete: KSh 487")


@pytest.mark.parametrize("reason", ["refused", "accept_missed", "dispatch_missed"])
def test_who_gets_money_back_is_told_why(deal: Deal, reason: str) -> None:
    if reason == "refused":
        deal.refuse()
    elif reason == "accept_missed":
        deliveries.accept_missed(deal.db, deal.id, deal.now + 24 * HOUR)
    else:
        deal.accept()
        deliveries.dispatch_missed(deal.db, deal.id, deal.now + 36 * HOUR)
    assert "KSh 500" in _texts(deal, deal.buyer)[reason]


# --- what screens show ----------------------------------------------------------------------------


def test_the_seller_sees_what_goes_where_by_when_and_what_it_brings(deal: Deal) -> None:
    deal.accept()
    seen = order_book.for_seller(deal.db, deal.id, deal.seller, "en")
    assert seen is not None
    assert (seen.goods, seen.buyer_name, seen.place) == ("2 kilos Tomatoes", "Amina", "Village 1")
    assert str(seen.deliver_on) == "2026-11-22"
    assert (seen.total_cents, seen.fee_cents, seen.net_cents) == (50_000, 1_300, 48_700)
    assert (seen.state, seen.dispatch_by) == ("accepted", deal.order().dispatch_by)


def test_goods_are_named_in_the_language_of_who_looks(deal: Deal) -> None:
    other = order_of(deal.db, deal.bought, deal.market.otieno)
    seen = order_book.for_buyer(deal.db, other.id, deal.buyer, "sw")
    assert seen is not None
    assert (seen.goods, seen.seller_name) == ("1.5 kilos beans (sw)", "Otieno Supplies")


def test_one_of_a_unit_is_one(deal: Deal) -> None:
    deal.db.run("UPDATE lines SET quantity_milli = 1000 WHERE order_id = %s", [deal.id])
    seen = order_book.for_buyer(deal.db, deal.id, deal.buyer, "en")
    assert seen is not None
    assert seen.goods == "1 kilo Tomatoes"


def test_an_order_is_shown_to_its_two_people_only(deal: Deal) -> None:
    assert order_book.for_seller(deal.db, deal.id, deal.buyer, "en") is None
    assert order_book.for_buyer(deal.db, deal.id, deal.seller, "en") is None


def test_a_seller_sees_an_order_once_it_is_paid(db: Db, now: datetime) -> None:
    market = open_market(db, now)
    bought = purchase(db, market, now)
    order = order_of(db, bought, market.wanjiku)
    assert order_book.of_seller(db, market.wanjiku, 10) == []
    assert order_book.for_seller(db, order.id, market.wanjiku, "en") is None
    assert order_book.for_buyer(db, order.id, market.buyer, "en") is not None
    settled(db, bought, now)
    (line,) = order_book.of_seller(db, market.wanjiku, 10)
    assert (line.id, line.buyer_name, line.net_cents) == (order.id, "Amina", 48_700)


def test_a_seller_sees_what_is_open_first_and_the_soonest_of_it(deal: Deal) -> None:
    bought = []
    for number in (11, 12, 13):
        buyer = person(deal.db, deal.now, number)
        again = purchase(deal.db, deal.market, deal.now, buyer=buyer, payer=msisdn(number))
        bought.append(settled(deal.db, again, deal.now))
    first, second, third = (order_of(deal.db, each, deal.seller) for each in bought)
    deal.db.run("UPDATE orders SET deliver_on = deliver_on + 3 WHERE id = %s", [first.id])
    deliveries.refuse(deal.db, second.id, deal.seller, deal.now)
    listed = [line.id for line in order_book.of_seller(deal.db, deal.seller, 10)]
    assert listed == [third.id, deal.id, first.id, second.id]
    assert len(order_book.of_seller(deal.db, deal.seller, 2)) == 2


# --- money that comes after the end ---------------------------------------------------------------


def test_a_payment_after_a_called_off_order_is_the_buyers(deal: Deal) -> None:
    deal.cancel()
    again = settlements.receive(
        deal.db,
        Receipt("c2b", "HAND000001", 68_100, deal.bought.reference, deal.now),
        deal.now,
    )
    assert again == "second_payment"
    assert deal.purses() == (0, 50_000 + 68_100, 0, 0)


def test_a_failure_told_after_the_release_changes_nothing(deal: Deal) -> None:
    deal.comes_to("dispatched")
    deal.enter()
    settlements.settle(deal.db, deal.bought.charge_id, failed(), deal.now)
    assert (deal.state(), deal.purses()) == ("completed", RELEASED)
