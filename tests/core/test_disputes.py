# ruff: noqa: N802 - I8 and I13 are names
"""Disputes: a buyer's complaint holds the money, whoever moves next and however late."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import UniqueViolation

from core import cases, deliveries, disputes, escrow, evidence, incidents, orders
from core.database import Db
from core.disputes import REASONS, Dispute
from core.escrow import NotHeld
from tests.core.deal import HELD, RELEASED, Deal
from tests.core.market import RULES, person, run_timers
from tests.core.office import Quarrel
from tests.core.transactions import attempt

HOUR = timedelta(hours=1)


@pytest.fixture
def deal(db: Db, now: datetime) -> Deal:
    return Deal(db, now)


def complain(deal: Deal, by: UUID | None = None, words: str | None = "They smell.") -> str:
    return disputes.open(deal.db, deal.id, by or deal.buyer, "rotten", words, deal.now)


def disputed(deal: Deal, state: str = "dispatched") -> Dispute:
    deal.comes_to(state)
    assert complain(deal) == "opened"
    found = disputes.of_order(deal.db, deal.id)
    assert found is not None
    return found


def escrow_state(deal: Deal) -> str:
    found: str = deal.db.value("SELECT state FROM escrows WHERE order_id = %s", [deal.id])
    return found


def told(deal: Deal, trigger: str) -> dict[UUID, str]:
    """The newest words of this trigger, by member."""
    rows = deal.db.value(
        "SELECT coalesce(json_agg(json_build_array(member_id, text)), '[]') FROM messages"
        " WHERE trigger = %s",
        [trigger],
    )
    return {UUID(member_id): text for member_id, text in rows}


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_a_complaint_freezes_the_money_of_goods_that_were_sent(deal: Deal, state: str) -> None:
    dispute = disputed(deal, state)
    assert (deal.state(), escrow_state(deal), deal.purses()) == ("disputed", "frozen", HELD)
    assert (dispute.state, dispute.reason, dispute.words) == ("open", "rotten", "They smell.")
    assert dispute.opened_by == deal.buyer
    assert dispute.answer_by == deal.now + 48 * HOUR


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_can_be_given(deal: Deal, reason: Any) -> None:
    deal.comes_to("delivered")
    assert disputes.open(deal.db, deal.id, deal.buyer, reason, None, deal.now) == "opened"


def test_buyer_seller_and_operators_hear_of_it(deal: Deal) -> None:
    dispute = disputed(deal)
    words = told(deal, "disputed")
    assert set(words) == {deal.buyer, deal.seller}
    assert all(f"ase {dispute.number}" in text for text in words.values())
    assert "They smell" not in "".join(words.values())
    incident = incidents.find_open(deal.db, "disputed", deal.id)
    assert incident is not None
    assert incident.detail == {
        "case": dispute.number,
        "order": deal.order().number,
        "problem": "rotten",
    }


def test_the_timeline_has_the_case_and_the_reason_but_not_the_words(deal: Deal) -> None:
    dispute = disputed(deal)
    newest = orders.timeline(deal.db, deal.id)[-1]
    assert newest.kind == "disputed"
    assert newest.detail == {
        "case": str(dispute.number),
        "problem": "rotten",
        "answer_by": dispute.answer_by.isoformat(),
    }


def test_disputes_and_cases_share_their_numbers(deal: Deal) -> None:
    dispute = disputed(deal)
    assert cases.open(deal.db, deal.buyer, "order", [], deal.now) == "opened"
    case = cases.open_of(deal.db, deal.buyer)
    assert case is not None
    assert case.number == dispute.number + 1


def test_a_second_complaint_changes_nothing(deal: Deal) -> None:
    first = disputed(deal)
    assert complain(deal, words="And they are few.") == "already_open"
    assert disputes.of_order(deal.db, deal.id) == first


def test_the_database_itself_has_one_undecided_dispute_an_order(deal: Deal) -> None:
    disputed(deal)
    second = """
        INSERT INTO disputes (id, number, order_id, opened_by, reason, state, opened_at, answer_by,
                              decide_by, updated_at)
        SELECT gen_random_uuid(), number + 1, order_id, opened_by, reason, 'review', opened_at,
               answer_by, answer_by, updated_at FROM disputes
    """
    assert attempt(deal.db, lambda: deal.db.run(second)) is UniqueViolation


@pytest.mark.parametrize("state", ["paid", "accepted"])
def test_what_was_not_sent_can_be_cancelled_and_not_complained_of(deal: Deal, state: str) -> None:
    deal.comes_to(state)
    assert disputes.stands(deal.db, deal.id, deal.buyer) == "not_yet"
    assert complain(deal) == "not_yet"
    assert (deal.state(), escrow_state(deal)) == (state, "held")
    assert deal.cancel() == "cancelled"


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_when_the_money_is_gone_it_is_too_late(deal: Deal, end: str) -> None:
    if end == "completed":
        deal.comes_to("dispatched")
        assert deal.received() == "released"
    else:
        assert deal.cancel() == "cancelled"
    before = deal.purses()
    assert complain(deal) == "too_late"
    assert (deal.state(), deal.purses()) == (end, before)


def test_only_the_buyer_of_an_order_complains_of_it(deal: Deal, now: datetime) -> None:
    deal.comes_to("delivered")
    stranger = person(deal.db, now, 77)
    for somebody in (deal.seller, stranger):
        assert disputes.stands(deal.db, deal.id, somebody) == "not_yours"
        assert complain(deal, by=somebody) == "not_yours"
    assert disputes.open(deal.db, stranger, deal.buyer, "less", None, now) == "not_yours"
    assert (deal.state(), escrow_state(deal)) == ("delivered", "held")


# --- while it is undecided ------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_no_timer_moves_the_money_of_a_disputed_order(deal: Deal, state: str) -> None:
    disputed(deal, state)
    deal.wait_for_timers(deal.now + 30 * 24 * HOUR)
    assert (deal.state(), escrow_state(deal), deal.purses()) == ("disputed", "frozen", HELD)
    assert [kind for kind in deal.timers() if kind != "sms"] == []


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_the_inspection_that_ends_while_she_complains_releases_nothing(
    deal: Deal, state: str
) -> None:
    disputed(deal, state)
    late = deal.now + 48 * HOUR
    assert deliveries.inspection_over(deal.db, deal.id, late) == "not_open"
    assert deliveries.silent(deal.db, deal.id, late) == "not_open"
    assert deliveries.remind_to_inspect(deal.db, deal.id, late) == "not_open"


def test_nobodys_word_moves_a_disputed_order(deal: Deal) -> None:
    disputed(deal)
    verbs = (deal.accept, deal.refuse, deal.dispatch, deal.claim, deal.received, deal.cancel)
    assert {verb() for verb in verbs} == {"not_open"}
    assert deal.new_code() == "not_open"
    assert (deal.state(), escrow_state(deal), deal.purses()) == ("disputed", "frozen", HELD)


def test_the_right_code_of_a_disputed_order_is_kept_and_pays_nobody(deal: Deal) -> None:
    deal.comes_to("dispatched")
    code = deal.code()
    assert complain(deal) == "opened"
    entered_at = deal.now
    assert deal.enter(code) == "frozen"
    deal.now += HOUR
    assert deal.enter(code) == "frozen"
    assert (deal.state(), escrow_state(deal), deal.purses()) == ("disputed", "frozen", HELD)
    assert deal.events()[-2:] == ["code_kept", "code_kept"]
    first = deal.db.value("SELECT entered_at FROM deliveries WHERE order_id = %s", [deal.id])
    assert first == entered_at


def test_wrong_codes_of_a_disputed_order_are_counted_as_ever(deal: Deal) -> None:
    deal.comes_to("dispatched")
    wrong = f"{(int(deal.code()) + 1) % 10_000:04}"
    assert complain(deal) == "opened"
    assert [deal.enter(wrong) for _ in range(5)] == [*["wrong_code"] * 4, "code_locked"]


def test_the_buyer_is_shown_no_code_while_it_is_undecided(deal: Deal) -> None:
    disputed(deal)
    assert deliveries.show_code(deal.db, deal.id, deal.buyer, RULES) is None
    assert deliveries.code_of(deal.db, deal.id, RULES) is None


def test_I8_a_frozen_escrow_lets_nothing_out(deal: Deal) -> None:
    disputed(deal)
    for leave in (
        lambda: escrow.release(deal.db, deal.id, deal.now),
        lambda: escrow.refund(deal.db, deal.id, None, deal.now),
        lambda: escrow.refund(deal.db, deal.id, 100, deal.now),
        lambda: escrow.freeze(deal.db, deal.id, deal.now),
    ):
        with pytest.raises(NotHeld):
            leave()
    assert deal.purses() == HELD


@pytest.mark.parametrize("state", ["placed", "settled"])
def test_an_escrow_without_money_cannot_be_frozen(deal: Deal, state: str) -> None:
    if state == "settled":
        assert deal.cancel() == "cancelled"
    order_id = deal.id if state == "settled" else deal.db.new_id()
    with pytest.raises(NotHeld):
        escrow.freeze(deal.db, order_id, deal.now)


def test_I13_every_disputed_order_is_an_open_matter_of_somebodys(deal: Deal) -> None:
    disputed(deal)
    run_timers(deal.db, deal.now + 90 * 24 * HOUR)
    assert incidents.find_open(deal.db, "disputed", deal.id) is not None


# --- what she can complain of ---------------------------------------------------------------------


def test_her_orders_that_were_sent_and_not_settled_are_listed(deal: Deal) -> None:
    assert disputes.disputable(deal.db, deal.buyer, 10) == []
    deal.comes_to("dispatched")
    for _ in range(2):
        (listed,) = disputes.disputable(deal.db, deal.buyer, 10)
        assert (listed.order_id, listed.number) == (deal.id, deal.order().number)
        assert (listed.seller_name, listed.total_cents) == ("Wanjiku Fresh", 50_000)
        complain(deal)
    assert disputes.disputable(deal.db, deal.seller, 10) == []
    assert disputes.stands(deal.db, deal.id, deal.buyer) == "already_open"


# --- the seller's side ----------------------------------------------------------------------------


@pytest.fixture
def quarrel(deal: Deal) -> Quarrel:
    return Quarrel(deal)


def test_the_sellers_answer_is_kept_and_the_buyer_hears_of_it(quarrel: Quarrel) -> None:
    deal = quarrel.deal
    deal.now += HOUR
    assert quarrel.answer("They were fresh.") == "answered"
    dispute = quarrel.dispute()
    assert (dispute.state, dispute.answered_at) == ("seller_reply", deal.now)
    (said,) = evidence.words(deal.db, dispute.id)
    assert (said.member_id, said.words, said.at) == (deal.seller, "They were fresh.", deal.now)
    assert set(quarrel.told("answered")) == {deal.buyer}
    assert "fresh" not in quarrel.told("answered")[deal.buyer]
    assert quarrel.is_frozen()


def test_what_the_seller_adds_later_is_kept_and_changes_no_time(quarrel: Quarrel) -> None:
    quarrel.comes_to("seller_reply")
    before = quarrel.dispute()
    quarrel.deal.now += HOUR
    assert quarrel.answer("And I have witnesses.") == "added"
    assert quarrel.dispute() == before
    assert len(evidence.words(quarrel.db, quarrel.id)) == 2


def test_the_same_answer_twice_is_one(quarrel: Quarrel) -> None:
    assert [quarrel.answer(), quarrel.answer()] == ["answered", "added"]
    assert len(evidence.words(quarrel.db, quarrel.id)) == 1


def test_the_buyer_cannot_use_up_the_sellers_room(quarrel: Quarrel) -> None:
    deal = quarrel.deal
    for number in range(evidence.WORDS_MAX):
        evidence.say(deal.db, quarrel.id, deal.buyer, f"They smell, {number}.", deal.now)
    assert quarrel.answer("They smell, 1.") == "answered"
    for number in range(1, evidence.WORDS_MAX):
        assert quarrel.answer(f"No, {number}.") == "added"
    assert quarrel.answer("No!") == "too_many"


def test_only_the_seller_of_an_order_answers(quarrel: Quarrel, now: datetime) -> None:
    stranger = person(quarrel.db, now, 77)
    assert quarrel.answer(by=quarrel.deal.buyer) == "not_yours"
    assert quarrel.answer(by=stranger) == "not_yours"
    assert disputes.answer(quarrel.db, stranger, stranger, "No.", now) == "not_yours"
    assert (quarrel.state(), evidence.words(quarrel.db, quarrel.id)) == ("open", [])


@pytest.mark.parametrize(
    "end", ["withdrawn", "resolved_buyer", "resolved_seller", "resolved_split"]
)
def test_when_it_is_over_nobody_answers_it_or_takes_it_back(quarrel: Quarrel, end: str) -> None:
    quarrel.comes_to(end)
    before = evidence.words(quarrel.db, quarrel.id)
    assert quarrel.answer("One word more.") == "over"
    assert quarrel.withdraw() == "over"
    assert (quarrel.state(), evidence.words(quarrel.db, quarrel.id)) == (end, before)


def test_a_photo_of_the_sellers_is_wanted_as_the_buyers_is(quarrel: Quarrel) -> None:
    db, deal = quarrel.db, quarrel.deal
    for member in (deal.buyer, deal.seller):
        assert evidence.wanted(db, member, deal.now) == quarrel.id
        assert evidence.wanted(db, member, deal.now + 48 * HOUR) is None
    deal.now += 47 * HOUR
    quarrel.comes_to("seller_reply")
    assert evidence.wanted(db, deal.seller, deal.now + 47 * HOUR) == quarrel.id
    assert quarrel.decide(0) == "decided"
    assert evidence.wanted(db, deal.seller, deal.now) is None


# --- its timers -----------------------------------------------------------------------------------


def test_a_silent_seller_is_reminded_a_day_and_four_hours_before_the_end(quarrel: Quarrel) -> None:
    deal = quarrel.deal
    began = deal.now
    deal.wait_for_timers(began + 47 * HOUR)
    reminded = [e.at for e in orders.timeline(deal.db, deal.id) if e.kind == "answer_reminder"]
    assert reminded == [began + 24 * HOUR, began + 44 * HOUR]
    assert set(quarrel.told("answer_reminder")) == {deal.seller}
    assert (quarrel.state(), quarrel.dispute().default_buyer) == ("open", False)


def test_a_reminder_that_comes_twice_early_or_late_says_it_once(quarrel: Quarrel) -> None:
    db, began = quarrel.db, quarrel.deal.now

    def remind(hours: int) -> str:
        return disputes.remind_to_answer(db, quarrel.id, began + hours * HOUR)

    outcomes = [remind(hours) for hours in (1, 24, 24, 30, 45, 46, 48)]
    assert outcomes == [
        *("not_yet", "reminded", "not_open", "not_open"),
        *("reminded", "not_open", "not_open"),
    ]


def test_who_has_answered_is_not_reminded(quarrel: Quarrel) -> None:
    quarrel.comes_to("seller_reply")
    quarrel.deal.wait_for_timers(quarrel.deal.now + 47 * HOUR)
    assert quarrel.told("answer_reminder") == {}


def test_a_seller_who_is_silent_is_reviewed_in_the_buyers_favour(quarrel: Quarrel) -> None:
    deal, began = quarrel.deal, quarrel.deal.now
    deal.wait_for_timers(began + 48 * HOUR)
    dispute = quarrel.dispute()
    assert (dispute.state, dispute.default_buyer) == ("review", True)
    assert dispute.decide_by == began + 9 * 24 * HOUR
    assert set(quarrel.told("answer_missed")) == {deal.buyer, deal.seller}
    assert (deal.state(), deal.purses()) == ("disputed", HELD)


def test_a_seller_who_answered_is_reviewed_with_both_sides_heard(quarrel: Quarrel) -> None:
    quarrel.comes_to("seller_reply")
    deal = quarrel.deal
    deal.wait_for_timers(quarrel.dispute().answer_by)
    assert (quarrel.state(), quarrel.dispute().default_buyer) == ("review", False)
    assert quarrel.told("answer_missed") == {}


def test_the_end_of_the_time_to_answer_comes_not_early_and_not_twice(quarrel: Quarrel) -> None:
    db, deal = quarrel.db, quarrel.deal
    early = disputes.end_answering(db, quarrel.id, deal.now + 47 * HOUR)
    assert (early, quarrel.state()) == ("not_yet", "open")
    late = deal.now + 50 * HOUR
    assert disputes.end_answering(db, quarrel.id, late) == "review"
    assert disputes.end_answering(db, quarrel.id, late) == "not_open"
    assert deal.events().count("review") == 1


def test_an_answer_after_the_time_is_read_but_counts_as_silence(quarrel: Quarrel) -> None:
    """Also where the worker that should have noticed sleeps."""
    quarrel.deal.now += 48 * HOUR
    assert quarrel.answer() == "added"
    assert (quarrel.state(), quarrel.dispute().default_buyer) == ("review", True)
    assert quarrel.dispute().answered_at is None
    assert len(evidence.words(quarrel.db, quarrel.id)) == 1


def test_an_undecided_dispute_is_escalated_every_day_and_never_released(quarrel: Quarrel) -> None:
    quarrel.comes_to("review")
    deal, decide_by = quarrel.deal, quarrel.dispute().decide_by
    assert decide_by == deal.now + 7 * 24 * HOUR
    deal.wait_for_timers(decide_by - HOUR)
    assert quarrel.open_incidents() == {"disputed"}
    deal.wait_for_timers(decide_by)
    assert quarrel.incident("dispute_late").detail["days_late"] == 0
    assert set(quarrel.told("decision_late")) == {deal.buyer, deal.seller}
    incidents.close(deal.db, quarrel.incident("dispute_late").id, "seen", deal.now)
    deal.wait_for_timers(decide_by + 30 * 24 * HOUR)
    assert quarrel.incident("dispute_late").detail["days_late"] == 30
    assert deal.events().count("decision_late") == 1
    assert (deal.state(), quarrel.is_frozen(), deal.purses()) == ("disputed", True, HELD)
    assert quarrel.decide(50_000) == "decided"
    assert quarrel.open_incidents() == set()


@pytest.mark.parametrize("timer", [disputes.remind_to_answer, disputes.end_answering])
@pytest.mark.parametrize("end", ["withdrawn", "resolved_split"])
def test_a_timer_that_comes_when_it_is_over_does_nothing(
    quarrel: Quarrel, timer: Any, end: str
) -> None:
    quarrel.comes_to(end)
    late = quarrel.deal.now + 30 * 24 * HOUR
    assert timer(quarrel.db, quarrel.id, late) == "not_open"
    assert disputes.escalate(quarrel.db, quarrel.id, late) == "not_open"
    assert quarrel.state() == end


def test_a_late_decisions_timer_that_comes_early_waits(quarrel: Quarrel) -> None:
    quarrel.comes_to("review")
    assert disputes.escalate(quarrel.db, quarrel.id, quarrel.deal.now) == "not_yet"
    assert quarrel.open_incidents() == {"disputed"}


# --- taken back -----------------------------------------------------------------------------------


def test_a_complaint_taken_back_lets_the_money_be_held_as_before(quarrel: Quarrel) -> None:
    deal = quarrel.deal
    assert quarrel.withdraw() == "withdrawn"
    assert (deal.state(), quarrel.escrow_state(), deal.purses()) == ("dispatched", "held", HELD)
    assert (quarrel.state(), quarrel.dispute().closed_at) == ("withdrawn", deal.now)
    assert set(quarrel.told("withdrawn")) == {deal.buyer, deal.seller}
    assert quarrel.open_incidents() == set()
    assert deal.enter() == "released"


def test_the_time_to_inspect_begins_anew_with_its_reminders(deal: Deal) -> None:
    quarrel = Quarrel(deal, "delivered")
    deal.now += 20 * HOUR
    assert quarrel.withdraw() == "withdrawn"
    assert (deal.state(), deal.order().inspect_by) == ("delivered", deal.now + 24 * HOUR)
    assert "23/11 08:00" in quarrel.told("inspected_anew")[deal.buyer]
    began = deal.now
    deal.wait_for_timers(began + 23 * HOUR)
    assert deal.state() == "delivered"
    assert deal.events().count("inspection_reminder") == 2
    deal.wait_for_timers(began + 24 * HOUR)
    assert (deal.state(), deal.purses()) == ("completed", RELEASED)


def test_an_order_that_nobody_speaks_of_after_that_is_an_operators(quarrel: Quarrel) -> None:
    quarrel.comes_to("withdrawn")
    quarrel.deal.wait_for_timers(quarrel.deal.now + 10 * 24 * HOUR)
    assert quarrel.open_incidents() == {"delivery_silent"}


def test_the_code_typed_while_it_was_disputed_pays_when_it_is_taken_back(deal: Deal) -> None:
    deal.comes_to("dispatched")
    code = deal.code()
    quarrel = Quarrel(deal)
    assert deal.enter(code) == "frozen"
    assert quarrel.withdraw() == "withdrawn"
    assert (deal.state(), deal.purses()) == ("completed", RELEASED)


@pytest.mark.parametrize("state", ["seller_reply", "review"])
def test_once_the_seller_has_spoken_it_is_decided_and_not_taken_back(
    quarrel: Quarrel, state: str
) -> None:
    quarrel.comes_to(state)
    assert quarrel.withdraw() == "too_late"
    assert (quarrel.state(), quarrel.is_frozen()) == (state, True)


def test_once_his_time_is_over_it_is_decided_too(quarrel: Quarrel) -> None:
    quarrel.deal.now += 48 * HOUR
    assert quarrel.withdraw() == "too_late"
    assert (quarrel.state(), quarrel.is_frozen()) == ("review", True)


def test_I13_a_second_complaint_cannot_be_taken_back_so_nobody_holds_the_money_for_ever(
    quarrel: Quarrel,
) -> None:
    quarrel.comes_to("withdrawn")
    assert complain(quarrel.deal) == "opened"
    assert quarrel.withdraw() == "too_late"
    assert (quarrel.deal.state(), quarrel.is_frozen()) == ("disputed", True)


def test_only_the_buyer_takes_it_back(quarrel: Quarrel, now: datetime) -> None:
    for somebody in (quarrel.deal.seller, person(quarrel.db, now, 77)):
        assert quarrel.withdraw(by=somebody) == "not_yours"
    assert disputes.withdraw(quarrel.db, quarrel.id, quarrel.deal.buyer, now) == "not_yours"
    assert (quarrel.state(), quarrel.is_frozen()) == ("open", True)
