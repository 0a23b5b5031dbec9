# ruff: noqa: N802 - F1 to F24 are names
"""Payout calls: sent once, and asked about. F18 to F20 are known ways to go wrong."""

from datetime import datetime, timedelta

import pytest

from core import payout_calls
from core.database import Db
from tests.core.purse import ACCEPTED, LOST, PAID, REFUSED, SET_ASIDE, THOUSAND, Purse

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


def test_it_is_claimed_once_with_its_identity_and_its_path(purse: Purse) -> None:
    payout_id = purse.ask()
    claimed = purse.claim(payout_id)
    assert claimed is not None
    assert (claimed.originator_id, claimed.amount_cents) == (str(payout_id), THOUSAND)
    assert len(claimed.token) == 32
    assert claimed.token not in repr(claimed)
    assert purse.msisdn not in repr([claimed, purse.payout(payout_id)])
    assert purse.state(payout_id) == "submitting"
    assert purse.claim(payout_id) is None
    assert purse.due("query_payout") == purse.now + MINUTE


def test_a_refusal_before_acting_is_sent_again_with_the_same_identity(purse: Purse) -> None:
    payout_id = purse.ask()
    first = purse.claim(payout_id)
    purse.forget_work()
    purse.ack(payout_id, REFUSED)
    assert purse.state(payout_id) == "approved"
    assert purse.due("submit_payout") == purse.now + 2 * SECOND
    assert purse.claim(payout_id) == first
    assert purse.cents(payout_id) == SET_ASIDE


def test_what_is_refused_over_and_over_comes_later_each_time_and_is_an_incident(
    purse: Purse,
) -> None:
    payout_id = purse.ask()
    for attempts in range(1, 12):
        assert "payout_refused" not in purse.open_incidents() or attempts > 8
        assert purse.claim(payout_id) is not None
        purse.forget_work()
        purse.ack(payout_id, REFUSED)
    assert purse.due("submit_payout") == purse.now + timedelta(seconds=600)
    assert "payout_refused" in purse.open_incidents()


def test_an_ack_says_nothing_of_the_money(purse: Purse) -> None:
    payout_id = purse.accepted()
    assert (purse.state(payout_id), purse.payout(payout_id).conversation_id) == ("accepted", "AG_1")
    assert purse.cents(payout_id) == SET_ASIDE
    purse.ack(payout_id, ACCEPTED)
    assert purse.state(payout_id) == "accepted"


def test_F18_a_claim_whose_holder_died_is_asked_about_and_never_sent_again(purse: Purse) -> None:
    payout_id = purse.submitted()
    purse.now += 59 * SECOND
    assert purse.query(payout_id) is None
    assert purse.state(payout_id) == "submitting"
    purse.now += SECOND
    asked = purse.query(payout_id)
    assert isinstance(asked, payout_calls.PayoutToQuery)
    assert asked.originator_id == str(payout_id)
    assert purse.state(payout_id) == "unknown"
    assert purse.claim(payout_id) is None
    purse.ack(payout_id, ACCEPTED)
    assert purse.state(payout_id) == "unknown"
    assert purse.payout(payout_id).conversation_id == "AG_1"


def test_F18_a_lost_ack_is_asked_about_and_never_sent_again(purse: Purse) -> None:
    payout_id = purse.submitted()
    purse.forget_work()
    purse.ack(payout_id, LOST)
    assert purse.state(payout_id) == "unknown"
    assert purse.due("query_payout") == purse.now + MINUTE
    assert purse.due("submit_payout") is None
    assert purse.claim(payout_id) is None


def test_F19_a_queue_timeout_is_no_failure(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.forget_work()
    assert payout_calls.record_timeout(purse.db, payout_id, purse.now) == "unknown"
    assert (purse.state(payout_id), purse.cents(payout_id)) == ("unknown", SET_ASIDE)
    assert purse.due("query_payout") == purse.now
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    assert payout_calls.record_timeout(purse.db, payout_id, purse.now) == "already_settled"
    assert purse.cents(payout_id) == PAID


def test_F20_a_result_that_never_comes_is_asked_for_after_five_minutes(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.now += 5 * MINUTE - SECOND
    assert purse.query(payout_id) is None
    assert purse.state(payout_id) == "accepted"
    purse.now += SECOND
    assert isinstance(purse.query(payout_id), payout_calls.PayoutToQuery)
    assert purse.state(payout_id) == "unknown"
    assert purse.settle(payout_id, purse.paid(payout_id, source="status")) == "paid"


def test_each_question_has_a_path_of_its_own(purse: Purse) -> None:
    payout_id = purse.unknown()
    first, second = purse.query(payout_id), purse.query(payout_id)
    assert isinstance(first, payout_calls.PayoutToQuery)
    assert isinstance(second, payout_calls.PayoutToQuery)
    assert first.token != second.token


def test_questions_go_on_for_a_week_and_then_a_person_is_told(purse: Purse) -> None:
    payout_id = purse.unknown()
    times, begun = 0, purse.now
    while (due_at := purse.due("query_payout")) is not None:
        purse.now = max(purse.now, due_at)
        purse.forget_work()
        assert purse.query(payout_id) is not None
        times += 1
    assert times == len(payout_calls.QUERY_AFTER)
    assert purse.now == begun + timedelta(days=7)
    assert "payout_unanswered" in purse.open_incidents()
    assert purse.state(payout_id) == "unknown"
