"""The task that asks whether a line got another SIM, until somebody knows."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from core import outbox, sim_checks
from core.database import Db
from worker.work import Work, in_the_end

log = structlog.get_logger(__name__)


def check_sim(work: Work, item: outbox.Item) -> None:
    """Ask once; the next time is set before, so a worker that dies here only asks later."""
    database, check_id = work.database, UUID(item.arguments["check_id"])
    with database.begin() as db:
        now = database.clock()
        question = sim_checks.question_due(db, check_id, now)
        outbox.done(db, item.id, now)
    if question is None:
        return
    assert work.insights is not None, "SIM cards are to be checked, and there is nobody to ask"
    answer = work.insights.check(question.msisdn)
    if answer.outcome is None and answer.request_id is None:
        log.warning("sim_not_checked", check=str(check_id), status=answer.status)

    def record(db: Db, now: datetime) -> None:
        sim_checks.record(db, check_id, answer, now)

    in_the_end(work, record)


TASKS: Final[Mapping[str, Callable[[Work, outbox.Item], None]]] = {"check_sim": check_sim}
