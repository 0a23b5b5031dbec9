"""The daily reconciliation: what M-Pesa says of yesterday, asked for, kept and compared."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final, Literal

import structlog

from core import incidents, outbox, statement_files, statement_lines
from core import reconcile as day_end
from core.days import today
from core.errors import Unavailable
from core.statement_files import Shortcodes, Unreadable
from core.statement_lines import Line, Statement
from worker.work import Work

log = structlog.get_logger(__name__)

PULL_WITHIN: Final = timedelta(hours=47)  # of 48 that M-Pesa gives
ACCOUNTS: Final[tuple[Literal["c2b", "b2c", "charges"], ...]] = ("c2b", "b2c", "charges")


def reconcile(work: Work) -> None:
    """Yesterday. Twice is no harm."""
    of_day(work, today(work.database.clock()) - timedelta(days=1))


def reconcile_day(work: Work, item: outbox.Item) -> None:
    """The day that somebody asked for."""
    of_day(work, date.fromisoformat(item.arguments["day"]))
    with work.database.begin() as db:
        outbox.done(db, item.id, work.database.clock())


TASKS: Final[Mapping[str, Callable[[Work, outbox.Item], None]]] = {"reconcile_day": reconcile_day}


def of_day(work: Work, day: date) -> day_end.Reconciled:
    """Any day, as far as M-Pesa still tells of it; what cannot be had now comes with the next."""
    told = [*_statements(work, day), *_pulled(work, day)]
    done = day_end.run(work.database, day, work.rules, told)
    log.info(
        "reconciled",
        day=str(day),
        lines=done.lines,
        settled=done.settled,
        new=done.judged.new,
        gone=done.judged.gone,
        open=done.judged.open,
    )
    return done


def _statements(work: Work, day: date) -> Iterator[Statement]:
    ours = Shortcodes(work.rules.paybill, work.rules.payout_shortcode)
    for account in ACCOUNTS:
        try:
            file = work.gateway.statement(account, day)
            if file is not None:
                yield statement_files.read(file, ours)
        except Unavailable as error:
            log.warning("statement_not_had", account=account, reason=str(error))
        except Unreadable as error:
            lines = [problem.line for problem in error.problems[:20]]
            log.error("statement_unreadable", account=account, lines=lines)
            with work.database.begin() as db:
                now = work.database.clock()
                incidents.open(db, "statement_unreadable", account, now, day=str(day), lines=lines)


def _pulled(work: Work, day: date) -> Iterator[Statement]:
    now = work.database.clock()
    begin, end = statement_lines.day_of(day)
    since, until = max(begin, now - PULL_WITHIN), min(end, now)
    if since >= until:
        return
    try:
        receipts = work.gateway.pull(since, until)
    except Unavailable as error:
        log.warning("nothing_pulled", reason=str(error))
        return
    if receipts is not None:
        lines = [
            Line(each.receipt, "payment", each.amount_cents, each.at, reference=each.reference)
            for each in receipts
        ]
        yield Statement("pull", work.rules.paybill, "A.c2b", None, lines, (since, until))
