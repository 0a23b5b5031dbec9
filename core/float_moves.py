"""Float moves: our own money on its way from the collection float to the payout float.

M-Pesa takes no identity of ours for such a move and would make a repeated one twice. So each is
called once, one at a time, and what became of it is learned from its result, by asking, or from
what lies on the payout float afterwards.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import halts, incidents, initiator, ledger, outbox, payouts, reply_paths, solvency
from core.database import Db, metadata
from core.money import CENTS
from core.payout_calls import (
    CLAIM_LOST_AFTER,
    QUERY_AFTER,
    REFUSALS_BEFORE_INCIDENT,
    RESULT_WITHIN,
    RETRY_SECONDS_MAX,
    PayoutAnswer,
)
from core.payout_proofs import PayoutResult
from core.payouts import SYSTEM
from core.rules import Rules

Refused = Literal["not_whole", "too_small", "one_is_open", "overdrawn"]
Settled = Literal["arrived", "failed", "pending", "already_settled", "doubted"]

STATES: Final = ("requested", "submitting", "accepted", "unknown", "arrived", "failed")
SENT: Final = ("submitting", "accepted", "unknown")

AMOUNT_CENTS_MIN: Final = 10 * CENTS
BY_ITSELF_CENTS_MIN: Final = 1_000 * CENTS  # of less nobody would be paid any sooner
# It is our own money, and a move that comes later still is booked: no need to wait for a day.
ABSENT_AFTER: Final = timedelta(hours=1)

_COLUMNS: Final[LiteralString] = """
    id, number, amount_cents, state, originator_id, conversation_id, receipt, code, attempts,
    query_count, requested_by, claimed_at, asked_at"""

numbers = sa.Sequence("float_move_numbers", start=1, metadata=metadata)

float_moves = sa.Table(
    "float_moves",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("originator_id", sa.Text, unique=True),  # M-Pesa's, once it has told
    sa.Column("conversation_id", sa.Text),
    sa.Column("receipt", sa.Text, unique=True),  # None though arrived: the balance proved it
    sa.Column("code", sa.Text),  # the last one
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("query_count", sa.Integer, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),  # one of ours, or SYSTEM
    sa.Column("claimed_at", sa.DateTime(timezone=True)),
    sa.Column("asked_at", sa.DateTime(timezone=True)),  # when the answer to that was recorded
    sa.Column("settled_at", sa.DateTime(timezone=True)),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
    sa.CheckConstraint(
        f"amount_cents % {CENTS} = 0 AND amount_cents >= {AMOUNT_CENTS_MIN}", name="amount_cents"
    ),
    sa.CheckConstraint(
        "(state IN ('arrived', 'failed')) = (settled_at IS NOT NULL)", name="settled_at"
    ),
    # Two at once could not be told apart by what lies on the float afterwards.
    sa.Index(
        "uq_float_moves_open",
        sa.text("(true)"),
        unique=True,
        postgresql_where=sa.text("settled_at IS NULL"),
    ),
)


class UnknownFloatMove(LookupError):
    """No such move; the caller keeps what it was told and alerts."""


@dataclass(frozen=True)
class FloatMove:
    """originator_id: what M-Pesa calls it, once that is known."""

    id: UUID
    number: int
    amount_cents: int
    state: str
    originator_id: str | None
    conversation_id: str | None
    receipt: str | None
    code: str | None
    attempts: int
    query_count: int
    requested_by: str
    claimed_at: datetime | None
    asked_at: datetime | None

    @property
    def reference(self) -> str:
        """As M-Pesa's statement shows it; 13 characters at most."""
        return f"FLOAT{self.number}"


@dataclass(frozen=True)
class ClaimedMove:
    """A move to be called now. token: the 32 hex digits of the path its result comes by."""

    id: UUID
    amount_cents: int
    reference: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class MoveToQuery:
    """What M-Pesa is to be asked about."""

    id: UUID
    originator_id: str
    token: str = field(repr=False)


def request(db: Db, cents: int, by: str, now: datetime) -> UUID | Refused:
    """Set so much of the collection float on its way. A refusal moves nothing.

    by: one of ours, or SYSTEM.
    """
    if cents % CENTS != 0:  # also whatever is no whole number at all
        return "not_whole"
    if cents < AMOUNT_CENTS_MIN:
        return "too_small"
    solvency.lock(db)
    if open_one(db) is not None:
        return "one_is_open"
    if cents > payouts.free_cents(db, ledger.C2B):
        return "overdrawn"
    move_id = db.new_id()
    legs = [ledger.debit(ledger.TRANSIT, cents), ledger.credit(ledger.C2B, cents)]
    ledger.post(db, "float_move", f"float_move:{move_id}:requested", legs, now)
    db.run(
        """
        INSERT INTO float_moves (id, number, amount_cents, state, attempts, query_count,
                                 requested_by, created_at, updated_at)
        VALUES (%(id)s, nextval('float_move_numbers'), %(cents)s, 'requested', 0, 0,
                %(by)s, %(now)s, %(now)s)
        """,
        {"id": move_id, "cents": cents, "by": by, "now": now},
    )
    outbox.put(db, "submit_float_move", due_at=now, move_id=move_id)
    return move_id


def keep(db: Db, rules: Rules, now: datetime) -> UUID | None:
    """For the task keep_float: fill the payout float up where it is low; the move, if one begins.

    One that is on its way is gone on with instead: whoever ends a halt asks for this.
    """
    move = open_one(db)
    if move is None:
        cents = _wanted_cents(db, rules)
        asked = request(db, cents, SYSTEM, now) if cents >= BY_ITSELF_CENTS_MIN else None
        return asked if isinstance(asked, UUID) else None
    kind = "submit_float_move" if move.state == "requested" else "query_float_move"
    outbox.put(db, kind, due_at=now, move_id=move.id)
    return None


def claim(db: Db, move_id: UUID, rules: Rules, now: datetime) -> ClaimedMove | None:
    """Take the right to call it; commit, call the gateway once, then record_ack.

    None: nothing to do now. While M-Pesa does not take our operator's word it waits, and `keep`
    asks for it again.
    """
    move = _lock(db, move_id)
    if move.state != "requested" or halts.is_halted(db, "initiator"):
        return None
    if not initiator.may_call(db, rules, now):
        due_at = now + initiator.PROBE_FOR
        outbox.put(db, "submit_float_move", due_at=due_at, move_id=move_id)
        return None
    db.run(
        """
        UPDATE float_moves
        SET state = 'submitting', claimed_at = %(now)s, asked_at = NULL, attempts = attempts + 1,
            updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": move_id},
    )
    outbox.put(db, "query_float_move", due_at=now + CLAIM_LOST_AFTER, move_id=move_id)
    token = reply_paths.open(db, "top_up", move_id, 0, rules, now)
    return ClaimedMove(move_id, move.amount_cents, move.reference, token)


def record_ack(db: Db, move_id: UUID, answer: PayoutAnswer, now: datetime) -> None:
    """What came of the call. A repeat changes nothing; the result may have been here before us."""
    move = _lock(db, move_id)
    db.run(
        """
        UPDATE float_moves
        SET asked_at = coalesce(asked_at, %(now)s), updated_at = %(now)s, code = %(code)s,
            originator_id = coalesce(originator_id, %(originator_id)s),
            conversation_id = coalesce(conversation_id, %(conversation_id)s)
        WHERE id = %(id)s AND settled_at IS NULL
        """,
        {
            "now": now,
            "code": answer.code,
            "originator_id": answer.originator_id,
            "conversation_id": answer.conversation_id,
            "id": move_id,
        },
    )
    if move.state != "submitting":
        return
    if answer.outcome == "refused":
        initiator.not_asked(db)
        if move.attempts >= REFUSALS_BEFORE_INCIDENT:
            _fail(db, move, answer.code, now)
            return
        _set_state(db, move_id, "requested", now)
        pause = timedelta(seconds=min(2**move.attempts, RETRY_SECONDS_MAX))
        outbox.put(db, "submit_float_move", due_at=now + pause, move_id=move_id)
        return
    is_accepted = answer.outcome == "accepted"
    _set_state(db, move_id, "accepted" if is_accepted else "unknown", now)
    wait = RESULT_WITHIN if is_accepted else QUERY_AFTER[0]
    outbox.put(db, "query_float_move", due_at=now + wait, move_id=move_id)


def record_timeout(db: Db, move_id: UUID, now: datetime) -> Literal["unknown", "already_settled"]:
    """M-Pesa says that it waited too long in the queue: no failure, it may arrive yet. We ask."""
    move = _lock(db, move_id)
    if move.state not in SENT:
        return "already_settled"
    _doubt_and_ask(db, move, now)
    return "unknown"


def query_due(db: Db, move_id: UUID, rules: Rules, now: datetime) -> MoveToQuery | None:
    """For the timer query_float_move: what to ask M-Pesa now; the answer comes by its own path.

    None: nothing, or it has no name to ask by because its ack was lost; then the payout float's
    balance is asked, which shows whether it came (see `settle_by_balance`). Either way the next
    time is set here; after a week an incident takes its place.
    """
    move = _lock(db, move_id)
    if move.state not in SENT or halts.is_halted(db, "initiator"):
        return None  # who ends the halt asks for `keep`
    assert move.claimed_at is not None, f"float move {move_id} is {move.state}, never claimed"
    patience = {
        "submitting": move.claimed_at + CLAIM_LOST_AFTER,
        "accepted": (move.asked_at or move.claimed_at) + RESULT_WITHIN,
    }.get(move.state, now)
    if now < patience:
        outbox.put(db, "query_float_move", due_at=patience, move_id=move_id)
        return None
    waits = (move.claimed_at + wait for wait in QUERY_AFTER)
    next_at = next((at for at in waits if at > now), None)
    if next_at is None:
        incidents.open(db, "float_move_unanswered", move_id, now, cents=move.amount_cents)
    else:
        outbox.put(db, "query_float_move", due_at=next_at, move_id=move_id)
    db.run(
        """
        UPDATE float_moves
        SET state = 'unknown', query_count = query_count + 1, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": move_id},
    )
    if move.originator_id is None:
        outbox.put(db, "ask_balance", due_at=now, float="b2c")
        return None
    number = move.query_count + 1
    token = reply_paths.open(db, "top_up_query", move_id, number, rules, now)
    return MoveToQuery(move_id, move.originator_id, token)


def settle(db: Db, move_id: UUID, result: PayoutResult, now: datetime) -> Settled:
    """Record what M-Pesa says became of a move; the first proof ends it, an arrival always.

    "doubted": it cannot be so; M-Pesa is asked, nothing moved. Raises UnknownFloatMove.
    Source: Daraja, BusinessPayToBulk and Transaction Status.
    """
    move = _lock(db, move_id)
    if result.halts is not None:
        halts.halt(db, result.halts, result.code, now)
    doubts = _doubts(db, move, result)
    if result.halts is None and result.verdict in ("paid", "failed"):
        halts.vouch(db, result.asked_at or move.claimed_at, now, doubted=bool(doubts))
    if doubts:
        incidents.open(
            db, "float_move_doubted", move_id, now,
            doubts=doubts, code=result.code, state=move.state, source=result.source,
        )  # fmt: skip
        if move.state in SENT and result.source == "result":
            _doubt_and_ask(db, move, now)
        return "doubted"
    match result.verdict:
        case "paid" if move.state != "arrived":
            _arrive(db, move, result.receipt, result.code, now)
            return "arrived"
        case "paid" if move.receipt is None:
            _keep_receipt(db, move_id, result.receipt, now)
        case "failed" if move.state in SENT:
            _fail(db, move, result.code, now)
            return "failed"
        case "absent" if move.state in SENT and _is_late(move, result.asked_at):
            _fail(db, move, result.code, now)
            return "failed"
        case "unknown" if move.state in SENT:
            incidents.open(db, "unknown_code", move_id, now, code=result.code)
    if move.state not in SENT:
        return "already_settled"
    if result.source == "result":
        _doubt_and_ask(db, move, now)
    return "pending"


def settle_by_balance(
    db: Db, more_cents: int, asked_at: datetime, now: datetime
) -> Literal["arrived", "failed"] | None:
    """What the payout float proves of a move that is on its way and has no name to ask by.

    more_cents: how much more lies there than our books say, while nothing else moved on it.
    """
    move = open_one(db)
    if move is None or move.state not in SENT or move.originator_id is not None:
        return None
    assert move.claimed_at is not None, f"float move {move.id} is {move.state}, never claimed"
    if asked_at < move.claimed_at + CLAIM_LOST_AFTER:
        return None  # the call itself may still be on its way
    if more_cents == move.amount_cents:
        _arrive(db, move, None, "balance", now)
        return "arrived"
    if more_cents == 0 and _is_late(move, asked_at):
        _fail(db, move, "balance", now)
        return "failed"
    return None


def end_by_hand(
    db: Db, move_id: UUID, receipt: str | None, now: datetime
) -> Literal["arrived", "failed", "known_receipt"]:
    """A person has read M-Pesa's statement: it arrived under that receipt; None: it never left.

    "known_receipt": that stands for other money, and nothing has moved.
    """
    move = _lock(db, move_id)
    assert move.state == "unknown", f"float move {move_id} is {move.state}"
    if receipt is not None and _is_used(db, move_id, receipt):
        return "known_receipt"
    if receipt is None:
        _fail(db, move, "by_hand", now)
    else:
        _arrive(db, move, receipt, "by_hand", now)
    incidents.end(db, "float_move_unanswered", move_id, "ended by hand", now)
    return "failed" if receipt is None else "arrived"


def open_one(db: Db) -> FloatMove | None:
    """The one that is asked for or on its way, locked."""
    return db.row(
        FloatMove, f"SELECT {_COLUMNS} FROM float_moves WHERE settled_at IS NULL FOR NO KEY UPDATE"
    )


def by_id(db: Db, move_id: UUID) -> FloatMove | None:
    return db.row(
        FloatMove, f"SELECT {_COLUMNS} FROM float_moves WHERE id = %(id)s", {"id": move_id}
    )


def _wanted_cents(db: Db, rules: Rules) -> int:
    """How much the payout float lacks of twice its floor, if it is below that; 0 where it is not.

    No more than the collection float can spare.
    """
    floor_cents = rules.payout_float_floor_cents
    left_cents = payouts.free_cents(db, ledger.B2C) - payouts.waiting_cents(db)
    if left_cents >= floor_cents or not floor_cents:
        return 0
    cents = min(2 * floor_cents - left_cents, payouts.free_cents(db, ledger.C2B))
    return cents - cents % CENTS


def _lock(db: Db, move_id: UUID) -> FloatMove:
    move = db.row(
        FloatMove,
        f"SELECT {_COLUMNS} FROM float_moves WHERE id = %(id)s FOR NO KEY UPDATE",
        {"id": move_id},
    )
    if move is None:
        raise UnknownFloatMove(f"no float move {move_id}")
    return move


def _is_late(move: FloatMove, asked_at: datetime | None) -> bool:
    """Was M-Pesa asked so long after the call that it would know the move by then?"""
    assert move.claimed_at is not None, f"float move {move.id} is on its way, never claimed"
    return asked_at is not None and asked_at >= move.claimed_at + ABSENT_AFTER


def _doubts(db: Db, move: FloatMove, result: PayoutResult) -> list[str]:
    """What in it does not fit the move that we asked for: the names of those things."""
    doubts = []
    if result.verdict in ("paid", "failed") and move.claimed_at is None:
        doubts.append("never_sent")
    for name in ("originator_id", "conversation_id"):
        ours, told = getattr(move, name), getattr(result, name)
        if ours and told and ours != told:
            doubts.append(name)
    if result.verdict == "paid":
        if result.amount_cents != move.amount_cents:
            doubts.append("amount")
        fits = result.receipt is not None and move.receipt in (None, result.receipt)
        if not fits or _is_used(db, move.id, str(result.receipt)):
            doubts.append("receipt")
    return doubts


def _is_used(db: Db, move_id: UUID, receipt: str) -> bool:
    """Does the receipt stand for other money?"""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM float_moves WHERE receipt = %(receipt)s AND id <> %(id)s)
                OR EXISTS (SELECT FROM payouts WHERE receipt = %(receipt)s)
                OR EXISTS (SELECT FROM receipts WHERE receipt = %(receipt)s)
            """,
            {"receipt": receipt, "id": move_id},
        )
    )


def _arrive(db: Db, move: FloatMove, receipt: str | None, code: str, now: datetime) -> None:
    """It lies on the payout float; what waited for it goes on."""
    cents = move.amount_cents
    if move.state == "failed":  # it was given back in the books, and has left all the same
        legs = [ledger.debit(ledger.TRANSIT, cents), ledger.credit(ledger.C2B, cents)]
        ledger.post(db, "float_move", f"float_move:{move.id}:reopened", legs, now)
    legs = [ledger.debit(ledger.B2C, cents), ledger.credit(ledger.TRANSIT, cents)]
    posted = ledger.post(db, "float_arrived", f"float_move:{move.id}:arrived", legs, now)
    assert posted == "posted", f"float move {move.id} is {move.state}, and arrived before"
    _end(db, move.id, "arrived", receipt, code, now)
    _close(db, "float_move_failed", now)
    outbox.put(db, "float_arrived", due_at=now)


def _fail(db: Db, move: FloatMove, code: str, now: datetime) -> None:
    """Nothing has left. Whether it is tried again is decided by whoever looks at the floats."""
    cents = move.amount_cents
    legs = [ledger.debit(ledger.C2B, cents), ledger.credit(ledger.TRANSIT, cents)]
    ledger.post(db, "float_failed", f"float_move:{move.id}:failed", legs, now)
    _end(db, move.id, "failed", None, code, now)
    incidents.open(db, "float_move_failed", "floats", now, number=move.number, code=code)


def _end(db: Db, move_id: UUID, state: str, receipt: str | None, code: str, now: datetime) -> None:
    db.run(
        """
        UPDATE float_moves
        SET state = %(state)s, receipt = %(receipt)s, code = %(code)s, settled_at = %(now)s,
            updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "receipt": receipt, "code": code, "now": now, "id": move_id},
    )


def _keep_receipt(db: Db, move_id: UUID, receipt: str | None, now: datetime) -> None:
    """The balance had proved it; now it has a name too."""
    db.run(
        "UPDATE float_moves SET receipt = %(receipt)s, updated_at = %(now)s WHERE id = %(id)s",
        {"receipt": receipt, "now": now, "id": move_id},
    )


def _set_state(db: Db, move_id: UUID, state: str, now: datetime) -> None:
    db.run(
        "UPDATE float_moves SET state = %(state)s, updated_at = %(now)s WHERE id = %(id)s",
        {"state": state, "now": now, "id": move_id},
    )


def _doubt_and_ask(db: Db, move: FloatMove, now: datetime) -> None:
    _set_state(db, move.id, "unknown", now)
    outbox.put(db, "query_float_move", due_at=now, move_id=move.id)


def _close(db: Db, kind: str, now: datetime) -> None:
    incidents.end(db, kind, "floats", "a move arrived", now)
