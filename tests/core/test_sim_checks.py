"""SIM checks: whose word counts for which line, and what was sent before anybody knew."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from core import incidents, ledger, payout_calls, payout_queue, payouts, sim_checks
from core.database import Db
from core.payout_proofs import PayoutResult
from core.sim_checks import Finding, Outcome, SimAnswer
from tests.core.market import msisdn
from tests.core.purse import REFUSED, RULES, Purse

ONE, OTHER = msisdn(1), msisdn(2)
CHECKS = replace(RULES, sim_check=True)
QUEUED = SimAnswer("Queued", request_id="ATSwpid_0001")
CLEAN = SimAnswer("NotSwapped", "clean", None, "ATSwpid_0001")


def wanted(db: Db, line: str, now: datetime) -> UUID:
    sim_checks.want(db, line, now)
    found: UUID = db.value("SELECT id FROM sim_checks WHERE msisdn = %s", [line])
    return found


def test_an_answer_under_an_id_that_was_another_lines_ends_nothing(db: Db, now: datetime) -> None:
    sim_checks.record(db, wanted(db, ONE, now), QUEUED, now)
    assert sim_checks.answered(db, CLEAN, now) == "ended"
    assert sim_checks.finding(db, ONE, None, RULES, now) == Finding(None)
    sim_checks.record(db, wanted(db, OTHER, now), QUEUED, now)
    assert sim_checks.finding(db, OTHER, None, RULES, now) is None


def test_an_answer_that_came_before_its_id_ends_the_check(db: Db, now: datetime) -> None:
    assert sim_checks.answered(db, CLEAN, now) == "kept"
    sim_checks.record(db, wanted(db, ONE, now), QUEUED, now)
    assert sim_checks.finding(db, ONE, None, RULES, now) == Finding(None)


def checked(purse: Purse, payout_id: UUID, answer: SimAnswer) -> payout_calls.ClaimedPayout | None:
    """The payout is claimed, once its line was asked about."""
    assert payout_calls.claim_for_submit(purse.db, payout_id, CHECKS, purse.now) is None
    check_id = purse.db.value("SELECT id FROM sim_checks WHERE ended_at IS NULL")
    sim_checks.record(purse.db, check_id, answer, purse.now)
    return payout_calls.claim_for_submit(purse.db, payout_id, CHECKS, purse.now)


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


def waits(purse: Purse, *, for_line: str) -> UUID:
    """One that has been asked for, and nobody knows whether that line got another SIM."""
    payout_id = purse.ask(msisdn=for_line)
    assert payout_calls.claim_for_submit(purse.db, payout_id, CHECKS, purse.now) is None
    assert purse.payout(payout_id).waits_for == "sim"
    return payout_id


def asked_for(purse: Purse) -> list[tuple[str, str | None]]:
    found = purse.db.value(
        """
        SELECT json_agg(json_build_array(kind, arguments ->> 'payout_id') ORDER BY id)
        FROM outbox WHERE done_at IS NULL AND kind <> 'check_sim'
        """
    )
    return [tuple(row) for row in found or ()]


def say(purse: Purse, line: str, outcome: Outcome) -> None:
    check_id = wanted(purse.db, line, purse.now)
    sim_checks.record(purse.db, check_id, SimAnswer("said", outcome), purse.now)


@pytest.mark.parametrize("outcome", ["clean", "swapped"])
def test_a_networks_answer_has_the_payouts_of_that_line_looked_at_and_no_others(
    purse: Purse, outcome: Outcome
) -> None:
    first, others, second = (waits(purse, for_line=line) for line in (ONE, OTHER, ONE))
    purse.forget_work()
    say(purse, ONE, outcome)
    assert asked_for(purse) == [("submit_payout", str(first)), ("submit_payout", str(second))]
    assert purse.payout(others).waits_for == "sim"
    assert payout_queue.resume_waiting(purse.db, purse.now) == 2, "nor by a look at all that wait"
    say(purse, OTHER, "clean")
    assert asked_for(purse)[-1] == ("submit_payout", str(others))


def test_an_answer_for_the_number_a_member_came_away_from_sends_nothing_to_the_new_one(
    purse: Purse,
) -> None:
    payout_id = waits(purse, for_line=ONE)
    purse.db.run("UPDATE payouts SET msisdn = %s WHERE id = %s", [OTHER, payout_id])
    purse.forget_work()
    say(purse, ONE, "clean")
    assert asked_for(purse) == []
    assert payout_queue.resume_waiting(purse.db, purse.now) == 1
    assert payout_calls.claim_for_submit(purse.db, payout_id, CHECKS, purse.now) is None
    assert purse.db.value("SELECT msisdn FROM sim_checks WHERE ended_at IS NULL") == OTHER


@pytest.mark.parametrize("rejected", [False, True])
@pytest.mark.parametrize("verdict", ["paid", "failed"])
def test_what_became_of_a_call_is_booked_though_another_approval_was_wanted_since(
    purse: Purse, verdict: str, rejected: bool
) -> None:
    """M-Pesa had turned the call away, and then acted on it all the same."""
    db, now = purse.db, purse.now
    payout_id = purse.ask()
    assert checked(purse, payout_id, SimAnswer("NotSwapped", "clean")) is not None
    purse.ack(payout_id, REFUSED)
    purse.now = now + timedelta(minutes=20)
    assert checked(purse, payout_id, SimAnswer("Swapped", "swapped", now.date())) is None
    assert purse.state(payout_id) == "requested"
    if rejected:
        assert payouts.reject(db, payout_id, "peter", purse.now) == "rejected"
    result = purse.paid(payout_id)
    if verdict == "failed":
        failed = PayoutResult("result", "failed", "2040", originator_id=str(payout_id))
        assert purse.settle(payout_id, failed) == ("already_settled" if rejected else "failed")
    else:
        assert purse.settle(payout_id, result) == "paid"
    assert purse.state(payout_id) == verdict
    left = 5_000_000 - (100_000 if verdict == "paid" else 0)
    assert ledger.balance(db, purse.seller) == left
    assert ledger.balance(db, ledger.out(payout_id)) == 0
    assert incidents.find_open(db, "payout_to_approve", payout_id) is None
