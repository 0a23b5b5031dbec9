"""Tasks of our own money: it is moved between our floats, and M-Pesa is asked what lies there."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from core import balances, float_moves, outbox, payout_queue
from core.database import Db
from worker.work import Work, in_the_end

log = structlog.get_logger(__name__)


def submit_float_move(work: Work, item: outbox.Item) -> None:
    """Call it: once for each claim, whatever dies at whatever moment."""
    database, move_id = work.database, UUID(item.arguments["move_id"])
    work.gateway.prepare_payouts()  # if that fails nothing is claimed, and the row comes back
    with database.begin() as db:
        claimed = float_moves.claim(db, move_id, work.rules, database.clock())
        if claimed is None:
            outbox.done(db, item.id, database.clock())
    if claimed is None:
        return
    answer = work.gateway.top_up(claimed.amount_cents, claimed.reference, claimed.token)

    def record(db: Db, now: datetime) -> None:
        float_moves.record_ack(db, move_id, answer, now)
        outbox.done(db, item.id, now)

    in_the_end(work, record)


def query_float_move(work: Work, item: outbox.Item) -> None:
    """Ask what became of it. The answer comes by its own path; the next time is set before."""
    database = work.database
    work.gateway.prepare_payouts()
    with database.begin() as db:
        now = database.clock()
        asked = float_moves.query_due(db, UUID(item.arguments["move_id"]), work.rules, now)
        outbox.done(db, item.id, now)
    if asked is not None:
        answer = work.gateway.query_payout(asked.originator_id, True, asked.token)
        if answer.outcome != "accepted":
            log.warning("float_move_not_queried", move=str(asked.id), code=answer.code)


def keep_float(work: Work, item: outbox.Item) -> None:
    """Fill the payout float up where it is low, if the collection float can spare it."""
    with work.database.begin() as db:
        now = work.database.clock()
        float_moves.keep(db, work.rules, now)
        outbox.done(db, item.id, now)


def float_arrived(work: Work, item: outbox.Item) -> None:
    """Let go what waited for money in the payout float."""
    with work.database.begin() as db:
        now = work.database.clock()
        payout_queue.float_arrived(db, work.rules, now)
        outbox.done(db, item.id, now)


def ask_balance(work: Work, item: outbox.Item) -> None:
    """Ask M-Pesa what lies on a float. Nobody repeats a question that is lost: there is another."""
    database = work.database
    work.gateway.prepare_payouts()
    with database.begin() as db:
        now = database.clock()
        asked = balances.ask(db, item.arguments["float"], work.rules, now)
        outbox.done(db, item.id, now)
    if asked is not None:
        answer = work.gateway.query_balance(asked.of, asked.token)
        if answer.outcome != "accepted":
            log.warning("balance_not_asked", float=asked.of, code=answer.code)


TASKS: Final[Mapping[str, Callable[[Work, outbox.Item], None]]] = {
    "submit_float_move": submit_float_move,
    "query_float_move": query_float_move,
    "keep_float": keep_float,
    "float_arrived": float_arrived,
    "ask_balance": ask_balance,
}
