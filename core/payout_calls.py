"""Payout calls: one to M-Pesa for each claim of a payout, and questions until it is proved."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from core import halts, incidents, initiator, outbox, payout_queue, payouts, reply_paths
from core.database import Db
from core.payouts import Payout
from core.rules import Rules

CLAIM_LOST_AFTER: Final = timedelta(seconds=60)  # the call itself ends after 11 s
RESULT_WITHIN: Final = timedelta(minutes=5)  # of the ack; then we ask
# After the claim, while nobody knows: the last hours are beyond payout_proofs.ABSENT_AFTER.
QUERY_AFTER: Final = (
    *(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 20, 40)),
    *(timedelta(hours=hours) for hours in range(1, 27)),
    *(timedelta(days=days) for days in range(2, 8)),
)
RETRY_SECONDS_MAX: Final = 600
REFUSALS_BEFORE_INCIDENT: Final = 8


@dataclass(frozen=True)
class ClaimedPayout:
    """A payout to be sent now. token: the 32 hex digits of the path its result comes by.

    originator_id: None for a reversal, which M-Pesa makes once for each receipt by itself.
    """

    id: UUID
    amount_cents: int
    msisdn: str = field(repr=False)
    originator_id: str | None
    reverses_receipt: str | None
    token: str = field(repr=False)


@dataclass(frozen=True)
class PayoutToQuery:
    """What M-Pesa is to be asked about, by the identity it knows it by."""

    id: UUID
    originator_id: str
    is_reversal: bool
    token: str = field(repr=False)


@dataclass(frozen=True)
class PayoutAnswer:
    """What the gateway said to a call. "unknown": M-Pesa may or may not have it.

    originator_id: as the gateway names what it took; of a reversal it is the only name there is.
    """

    outcome: Literal["accepted", "refused", "unknown"]
    code: str
    originator_id: str | None = None
    conversation_id: str | None = None
    detail: str = field(default="", repr=False)


def claim_for_submit(db: Db, payout_id: UUID, rules: Rules, now: datetime) -> ClaimedPayout | None:
    """Take the right to send it; commit, call the gateway once, then record_ack.

    None: nothing to do now, or it waits (payout_queue.lets_go). A refund to a number that its owner
    has left goes back to the balance.
    """
    payout_queue.lock(db)
    payout = payouts.lock(db, payout_id)
    if payout.state != "approved":
        return None
    if payouts.was_left(db, payout):
        payouts.go_the_other_road(db, payout, now)
        return None
    if not payout_queue.lets_go(db, payout, rules, now):
        return None
    db.run(
        """
        UPDATE payouts
        SET state = 'submitting', waits_for = NULL, claimed_at = %(now)s, asked_at = NULL,
            attempts = attempts + 1, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": payout_id},
    )
    outbox.put(db, "query_payout", due_at=now + CLAIM_LOST_AFTER, payout_id=payout_id)
    return _claimed(db, payout, rules, now)


def record_ack(db: Db, payout_id: UUID, answer: PayoutAnswer, now: datetime) -> None:
    """What came of the call. A repeat changes nothing; the result may have been here before us."""
    payout = payouts.lock(db, payout_id)
    payouts.keep_code(db, payout_id, "ack", answer.code, answer.outcome, now)
    db.run(
        """
        UPDATE payouts
        SET asked_at = coalesce(asked_at, %(now)s), updated_at = %(now)s,
            originator_id = coalesce(originator_id, %(originator_id)s),
            conversation_id = CASE
                WHEN originator_id <> %(originator_id)s THEN conversation_id  -- of another call
                ELSE coalesce(%(conversation_id)s, conversation_id) END
        WHERE id = %(id)s
        """,
        {
            "now": now,
            "originator_id": answer.originator_id,
            "conversation_id": answer.conversation_id,
            "id": payout_id,
        },
    )
    if payout.state != "submitting":
        return
    if answer.outcome == "refused":
        initiator.not_asked(db)
        _set_state(db, payout_id, "approved", now)
        pause = timedelta(seconds=min(2**payout.attempts, RETRY_SECONDS_MAX))
        outbox.put(db, "submit_payout", due_at=now + pause, payout_id=payout_id)
        if payout.attempts >= REFUSALS_BEFORE_INCIDENT:
            incidents.open(
                db, "payout_refused", payout_id, now, code=answer.code, attempts=payout.attempts
            )
        return
    accepted = answer.outcome == "accepted"
    _set_state(db, payout_id, "accepted" if accepted else "unknown", now)
    wait = RESULT_WITHIN if accepted else QUERY_AFTER[0]
    outbox.put(db, "query_payout", due_at=now + wait, payout_id=payout_id)


def record_timeout(db: Db, payout_id: UUID, now: datetime) -> Literal["unknown", "already_settled"]:
    """M-Pesa says that it waited too long in the queue: no failure, it may be paid yet. We ask."""
    payout = payouts.lock(db, payout_id)
    payouts.keep_code(db, payout_id, "timeout", "queue", "unknown", now)
    if payout.state not in payouts.SENT:
        return "already_settled"
    doubt_and_ask(db, payout, now)
    return "unknown"


def query_due(
    db: Db, payout_id: UUID, rules: Rules, now: datetime
) -> PayoutToQuery | ClaimedPayout | None:
    """For the timer query_payout: what to ask M-Pesa now; the answer comes by its own path.

    A ClaimedPayout is a reversal whose ack was lost, which has no name to ask by: it is asked for
    again, since M-Pesa reverses a receipt once and then says that it has. None: nothing to ask.
    Either way the next time is set here; after a week an incident takes its place.
    """
    payout = payouts.lock(db, payout_id)
    if payout.state not in payouts.SENT or halts.is_halted(db, "initiator"):
        return None  # who ends the halt asks for all of them
    assert payout.claimed_at is not None, f"payout {payout_id} is {payout.state}, never claimed"
    patience = {
        "submitting": payout.claimed_at + CLAIM_LOST_AFTER,
        "accepted": (payout.asked_at or payout.claimed_at) + RESULT_WITHIN,
    }.get(payout.state, now)
    if now < patience:
        outbox.put(db, "query_payout", due_at=patience, payout_id=payout_id)
        return None
    waits = (payout.claimed_at + wait for wait in QUERY_AFTER)
    next_at = next((at for at in waits if at > now), None)
    if next_at is None:
        incidents.open(db, "payout_unanswered", payout_id, now, cents=payout.amount_cents)
    else:
        outbox.put(db, "query_payout", due_at=next_at, payout_id=payout_id)
    db.run(
        """
        UPDATE payouts SET state = 'unknown', query_count = query_count + 1, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": payout_id},
    )
    if payout.originator_id is None:
        return _claimed(db, payout, rules, now)
    number = payout.query_count + 1
    token = reply_paths.open(db, "payout_query", payout_id, number, rules, now)
    return PayoutToQuery(payout_id, payout.originator_id, payout.kind == "reversal", token)


def doubt_and_ask(db: Db, payout: Payout, now: datetime) -> None:
    """Nobody knows what became of it: M-Pesa is asked at once."""
    _set_state(db, payout.id, "unknown", now)
    outbox.put(db, "query_payout", due_at=now, payout_id=payout.id)


def _claimed(db: Db, payout: Payout, rules: Rules, now: datetime) -> ClaimedPayout:
    path = "reversal" if payout.kind == "reversal" else "payout"
    return ClaimedPayout(
        payout.id,
        payout.amount_cents,
        payout.msisdn,
        payout.originator_id,
        payout.reverses_receipt,
        reply_paths.open(db, path, payout.id, 0, rules, now),
    )


def _set_state(db: Db, payout_id: UUID, state: str, now: datetime) -> None:
    db.run(
        "UPDATE payouts SET state = %(state)s, updated_at = %(now)s WHERE id = %(id)s",
        {"state": state, "now": now, "id": payout_id},
    )
