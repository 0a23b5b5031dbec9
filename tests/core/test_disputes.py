# ruff: noqa: N802 - I8 and I13 are names
"""Disputes: a buyer's complaint holds the money, whoever moves next and however late."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import UniqueViolation

from core import cases, deliveries, disputes, escrow, incidents, orders
from core.database import Db
from core.disputes import REASONS, Dispute
from core.escrow import NotHeld
from tests.core.deal import HELD, Deal
from tests.core.market import RULES, person, run_timers
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
    assert newest.detail == {"case": str(dispute.number), "problem": "rotten"}


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
        INSERT INTO disputes SELECT gen_random_uuid(), number + 1, order_id, opened_by, reason,
            words, 'review', opened_at, answer_by, updated_at FROM disputes
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
    events = deal.events()
    deal.wait_for_timers(deal.now + 30 * 24 * HOUR)
    assert (deal.state(), escrow_state(deal), deal.purses()) == ("disputed", "frozen", HELD)
    assert deal.events() == events
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
