"""SIM checks: what a network said of one line is never taken for another's."""

from datetime import datetime
from uuid import UUID

from core import sim_checks
from core.database import Db
from core.sim_checks import Finding, SimAnswer
from tests.core.market import msisdn
from tests.core.purse import RULES

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
