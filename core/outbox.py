"""Outbox: work to do outside, or later, written in the transaction that is its reason.

A row is handed out at least once: the relay takes it for a lease, and what nobody reported done
comes back when the lease ends. So every task may run twice without harm. Timers are rows too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from core.database import Db, metadata
from core.records import records

Queue = Literal["money", "receipts", "broadcasts", "reports"]

CHANNEL: Final = "outbox"  # of NOTIFY


@dataclass(frozen=True)
class Kind:
    """Where a kind of work runs, and how long it may take before it is handed out again.

    wakes: NOTIFY on put. Only for what somebody waits for at this moment: NOTIFY makes every
    commit in the database queue behind one lock. together: so many rows travel as one task where
    more is due than is handed out at once; all of them must be over well within the lease.
    """

    queue: Queue
    lease_seconds: int = 60
    wakes: bool = False
    together: int = 1


KINDS: Final[Mapping[str, Kind]] = {
    # Soon again: she waits with the phone in her hand, and the claim lets it be made once only.
    "stk_push": Kind("money", lease_seconds=20),
    "next_part": Kind("money"),
    "query_charge": Kind("money"),
    "review_charge": Kind("money"),
    "expire_checkout": Kind("money"),
    "settle_inbox": Kind("money", wakes=True, together=10),
    "submit_payout": Kind("money"),
    "query_payout": Kind("money"),
    "check_sim": Kind("money"),
    "resume_payouts": Kind("money"),
    "refund_balance": Kind("money"),
    # Fetches a day of M-Pesa's lines, and compares fifty thousand of them within seconds.
    "reconcile_day": Kind("reports", lease_seconds=600),
    "pay_earnings": Kind("money"),
    "change_number": Kind("money"),
    "submit_float_move": Kind("money"),
    "query_float_move": Kind("money"),
    "keep_float": Kind("money"),
    "float_arrived": Kind("money"),
    "ask_balance": Kind("money"),
    "sms": Kind("receipts", together=4),  # a call takes 13 s at most
    "sms_screen": Kind("receipts"),
    # The person waits, looking at the chat.
    "telegram_screen": Kind("receipts"),
    "telegram_say": Kind("receipts"),
    "telegram_message": Kind("receipts"),
    "telegram_broadcast": Kind("broadcasts", lease_seconds=600),
    "telegram_photo": Kind("receipts"),
    # Each sends to a hundred, and hundreds of them may lie in the queue.
    "sms_batch": Kind("broadcasts", lease_seconds=600),
    "nudge_cut_off": Kind("receipts"),
    "payment_reminder": Kind("receipts"),
    "accept_reminder": Kind("receipts"),
    "accept_deadline": Kind("money"),
    "dispatch_reminder": Kind("receipts"),
    "dispatch_deadline": Kind("money"),
    "delivery_deadline": Kind("money"),
    "inspection_reminder": Kind("receipts"),
    "inspection_over": Kind("money"),
    "short_reminder": Kind("receipts"),
    "less_came_reminder": Kind("receipts"),
    "less_came_deadline": Kind("money"),
    "answer_reminder": Kind("receipts"),
    "answer_deadline": Kind("money"),
    "decision_deadline": Kind("money"),
    "deal_invitation": Kind("receipts"),
    "deal_reminder": Kind("receipts"),
    "deal_deadline": Kind("receipts"),
}

_URGENT: Final = {name: kind for name, kind in KINDS.items() if kind.queue in ("money", "receipts")}
_PATIENT: Final = {name: kind for name, kind in KINDS.items() if name not in _URGENT}

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("arguments", JSONB, nullable=False),
    sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("handed_until", sa.DateTime(timezone=True)),  # NULL: it waits, nobody works on it
    sa.Column("done_at", sa.DateTime(timezone=True)),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    # Asking twice for the same work is asking once: a timer is set by putting it.
    sa.Index(
        "uq_outbox_open",
        "kind",
        "arguments",
        unique=True,
        postgresql_where=sa.text("done_at IS NULL"),
    ),
    # By kind, so that a heap of one that must wait is not read through for the others.
    sa.Index("ix_outbox_due", "kind", "due_at", "id", postgresql_where=sa.text("done_at IS NULL")),
    sa.Index("ix_outbox_done", "done_at", postgresql_where=sa.text("done_at IS NOT NULL")),
)


@dataclass(frozen=True)
class Item:
    """arguments: as given to put, ids as text. attempts: times handed out, this one included."""

    id: UUID
    kind: str
    arguments: dict[str, Any]
    due_at: datetime
    attempts: int
    done_at: datetime | None

    @property
    def queue(self) -> Queue:
        return KINDS[self.kind].queue


@dataclass(frozen=True)
class Wanted:
    """Work to be asked for. arguments: ids, kept as text."""

    kind: str
    due_at: datetime
    arguments: Mapping[str, object]


def put(db: Db, kind: str, *, due_at: datetime, **arguments: object) -> UUID:
    """Ask for `kind` at due_at; it happens only if this transaction commits.

    The same kind and arguments still open: that row is made due by then, if it was not sooner;
    one that is being worked on right now will run once more.
    """
    (found,) = put_all(db, [Wanted(kind, due_at, arguments)])
    return found


def put_all(db: Db, wanted: Sequence[Wanted]) -> list[UUID]:
    """Ask for several at once, no two the same; each as put does. The rows' ids, in no order."""
    unknown = {work.kind for work in wanted} - KINDS.keys()
    assert not unknown, f"outbox kinds {sorted(unknown)} are not of {sorted(KINDS)}"
    found = db.rows(
        _Put,
        """
        INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
        SELECT id, kind, arguments, due_at, 0, created_at
        FROM json_to_recordset(%(wanted)s::json)
            AS w (id uuid, kind text, arguments jsonb, due_at timestamptz, created_at timestamptz)
        ON CONFLICT (kind, arguments) WHERE done_at IS NULL
        DO UPDATE SET handed_until = NULL, due_at = CASE
            WHEN outbox.handed_until IS NULL THEN least(outbox.due_at, excluded.due_at)
            ELSE excluded.due_at END
        RETURNING id
        """,
        {
            "wanted": records(
                [
                    {
                        "id": new_id,
                        "kind": work.kind,
                        "arguments": {name: str(value) for name, value in work.arguments.items()},
                        "due_at": work.due_at,
                        "created_at": datetime.fromtimestamp((new_id.int >> 80) / 1000, UTC),
                    }
                    for new_id, work in zip((db.new_id() for _ in wanted), wanted, strict=True)
                ]
            )
        },
    )
    if any(KINDS[work.kind].wakes for work in wanted):
        db.run("SELECT pg_notify(%(channel)s, '')", {"channel": CHANNEL})
    return [row.id for row in found]


@dataclass(frozen=True)
class _Put:
    id: UUID


def take_due(db: Db, now: datetime, limit: int, *, full: Collection[Queue] = ()) -> list[Item]:
    """Up to `limit` due rows, each ours for its lease. Several relays may ask.

    The soonest first, but what somebody waits for before what nobody does, however long that one
    is due: a broadcast to thousands delays no receipt. full: queues that take no more now.
    """
    found: list[Item] = []
    for group in (_URGENT, _PATIENT):
        kinds = {name: kind for name, kind in group.items() if kind.queue not in full}
        if kinds and len(found) < limit:
            found += _take(db, now, limit - len(found), kinds)
    return found


def _take(db: Db, now: datetime, limit: int, kinds: Mapping[str, Kind]) -> list[Item]:
    return db.rows(
        Item,
        """
        WITH due AS (
            SELECT o.id, o.due_at, %(now)s + make_interval(secs => l.seconds) AS until
            FROM unnest(%(kinds)s::text[], %(seconds)s::int[]) AS l (kind, seconds),
                LATERAL (
                    SELECT id, due_at FROM outbox
                    WHERE kind = l.kind AND done_at IS NULL AND due_at <= %(now)s
                    ORDER BY due_at, id
                    LIMIT %(limit)s
                    FOR UPDATE SKIP LOCKED
                ) AS o
            ORDER BY o.due_at, o.id
            LIMIT %(limit)s
        ), taken AS (
            UPDATE outbox o
            SET due_at = due.until, handed_until = due.until, attempts = o.attempts + 1
            FROM due
            WHERE o.id = due.id
            RETURNING o.id, o.kind, o.arguments, due.due_at, o.attempts, o.done_at
        )
        SELECT id, kind, arguments, due_at, attempts, done_at FROM taken ORDER BY due_at, id
        """,
        {
            "now": now,
            "limit": limit,
            "kinds": list(kinds),
            "seconds": [kind.lease_seconds for kind in kinds.values()],
        },
    )


def item(db: Db, item_id: UUID) -> Item | None:
    """The row as it stands, done or not; None: long done and tidied away."""
    return db.row(
        Item,
        "SELECT id, kind, arguments, due_at, attempts, done_at FROM outbox WHERE id = %(id)s",
        {"id": item_id},
    )


def open_items(db: Db, item_ids: Sequence[UUID]) -> list[Item]:
    """Those of these rows that are not done."""
    return db.rows(
        Item,
        """
        SELECT id, kind, arguments, due_at, attempts, done_at FROM outbox
        WHERE id = ANY(%(ids)s) AND num_nonnulls(done_at) = 0
        """,
        {"ids": list(item_ids)},
    )


# By id, a row is open if num_nonnulls(done_at) = 0. "done_at IS NULL" would have the planner read
# all open rows: its statistics are of an hour when there were none.


def done(db: Db, item_id: UUID, now: datetime) -> None:
    """The work is over: say so in the transaction of its last effect.

    If the same work was asked for again while it was in hand, it stays open and runs again.
    """
    db.run(f"{_DONE} AND id = %(id)s", {"id": item_id, "now": now})


def done_all(db: Db, item_ids: Sequence[UUID], now: datetime) -> None:
    """The same of several. Of one by an array, PostgreSQL 15 may read a small table whole."""
    db.run(f"{_DONE} AND id = ANY(%(ids)s)", {"ids": list(item_ids), "now": now})


_DONE: Final[LiteralString] = """
    UPDATE outbox SET done_at = %(now)s
    WHERE num_nonnulls(done_at) = 0 AND (handed_until IS NOT NULL OR attempts = 0)"""


def postpone(db: Db, item_id: UUID, due_at: datetime, reason: str) -> None:
    """Hand it out again at due_at. reason: for whoever runs this; no personal data."""
    db.run(
        """
        UPDATE outbox SET due_at = %(due_at)s, handed_until = NULL, last_error = %(reason)s
        WHERE id = %(id)s AND num_nonnulls(done_at) = 0
        """,
        {"id": item_id, "due_at": due_at, "reason": reason},
    )


def next_due(db: Db) -> datetime | None:
    """When the soonest open row is due; None: nothing waits."""
    found: datetime | None = db.value("SELECT min(due_at) FROM outbox WHERE done_at IS NULL")
    return found


def tidy(db: Db, before: datetime) -> int:
    """Forget what was done before then; how many."""
    return db.run("DELETE FROM outbox WHERE done_at < %(before)s", {"before": before})
