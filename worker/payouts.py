"""Tasks of money that goes out: each payout is sent once, and asked about until it is proved."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from core import earnings, outbox, payout_calls, payout_queue, refunds
from core.database import Db
from core.payout_calls import ClaimedPayout, PayoutAnswer, PayoutToQuery
from payments.gateway import Gateway
from worker.work import Work, in_the_end

log = structlog.get_logger(__name__)

REMARKS = "Sokoni"  # of a payout or a reversal, in M-Pesa's books


def submit_payout(work: Work, item: outbox.Item) -> None:
    """Send it: one call for each claim, whatever dies at whatever moment."""
    database, payout_id = work.database, _payout_id(item)
    work.gateway.prepare_payouts()  # if that fails nothing is claimed, and the row comes back
    with database.begin() as db:
        claimed = payout_calls.claim_for_submit(db, payout_id, work.rules, database.clock())
        if claimed is None:
            outbox.done(db, item.id, database.clock())
    if claimed is not None:
        _send(work, item, claimed)


def query_payout(work: Work, item: outbox.Item) -> None:
    """Ask what became of it. The answer comes by its own path; the next time is set before."""
    database = work.database
    work.gateway.prepare_payouts()
    with database.begin() as db:
        now = database.clock()
        asked = payout_calls.query_due(db, _payout_id(item), work.rules, now)
        if not isinstance(asked, ClaimedPayout):
            outbox.done(db, item.id, now)
    match asked:
        case ClaimedPayout():
            _send(work, item, asked)
        case PayoutToQuery():
            answer = work.gateway.query_payout(asked.originator_id, asked.is_reversal, asked.token)
            if answer.outcome != "accepted":
                log.warning("payout_not_queried", payout=str(asked.id), code=answer.code)


def resume_payouts(work: Work, item: outbox.Item) -> None:
    """Let go what waited for a float, an operator or a frozen member."""
    with work.database.begin() as db:
        now = work.database.clock()
        look = item.arguments.get("look")
        payout_queue.resume_waiting(db, now, None if look is None else int(look))
        outbox.done(db, item.id, now)


def refund_balance(work: Work, item: outbox.Item) -> None:
    """Send a buyer what came back to her balance."""
    with work.database.begin() as db:
        now = work.database.clock()
        refunds.refund_balance(db, UUID(item.arguments["member_id"]), work.rules, now)
        outbox.done(db, item.id, now)


def pay_earnings(work: Work, item: outbox.Item) -> None:
    """Send a seller what her sales released."""
    with work.database.begin() as db:
        now = work.database.clock()
        earnings.pay(db, UUID(item.arguments["member_id"]), work.rules, now)
        outbox.done(db, item.id, now)


TASKS: Final[Mapping[str, Callable[[Work, outbox.Item], None]]] = {
    "submit_payout": submit_payout,
    "query_payout": query_payout,
    "resume_payouts": resume_payouts,
    "refund_balance": refund_balance,
    "pay_earnings": pay_earnings,
}


def _send(work: Work, item: outbox.Item, claimed: ClaimedPayout) -> None:
    answer = _call(work.gateway, claimed)

    def record(db: Db, now: datetime) -> None:
        payout_calls.record_ack(db, claimed.id, answer, now)
        outbox.done(db, item.id, now)

    in_the_end(work, record)


def _call(gateway: Gateway, claimed: ClaimedPayout) -> PayoutAnswer:
    if claimed.reverses_receipt is not None:
        return gateway.reverse_payment(
            claimed.reverses_receipt, claimed.amount_cents, REMARKS, claimed.token
        )
    assert claimed.originator_id is not None, f"payout {claimed.id} has no identity"
    return gateway.pay_out(
        claimed.originator_id, claimed.msisdn, claimed.amount_cents, REMARKS, claimed.token
    )


def _payout_id(item: outbox.Item) -> UUID:
    return UUID(item.arguments["payout_id"])
