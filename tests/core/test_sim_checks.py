"""SIM checks: whose word counts for which line, and what was sent before anybody knew."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from core import incidents, ledger, payout_calls, payouts, sim_checks
from core.database import Db
from core.payout_proofs import PayoutResult
from core.sim_checks import Finding, SimAnswer
from tests.core.market import msisdn
from tests.core.purse import REFUSED, RULES, Purse

ONE, OTHER = msisdn(1), msisdn(2)
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
    rules = replace(RULES, sim_check=True)
    assert payout_calls.claim_for_submit(purse.db, payout_id, rules, purse.now) is None
    check_id = purse.db.value("SELECT id FROM sim_checks WHERE ended_at IS NULL")
    sim_checks.record(purse.db, check_id, answer, purse.now)
    return payout_calls.claim_for_submit(purse.db, payout_id, rules, purse.now)


@pytest.mark.parametrize("rejected", [False, True])
@pytest.mark.parametrize("verdict", ["paid", "failed"])
def test_what_became_of_a_call_is_booked_though_another_approval_was_wanted_since(
    db: Db, now: datetime, verdict: str, rejected: bool
) -> None:
    """M-Pesa had turned the call away, and then acted on it all the same."""
    purse = Purse(db, now)
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
