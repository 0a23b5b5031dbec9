"""Differences: where M-Pesa's lines and our books do not say the same, each a case with its age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal, LiteralString, get_args
from uuid import UUID

import sqlalchemy as sa

from core import incidents, movements, statement_lines
from core.database import Db, metadata
from core.days import today
from core.movements import MOVED
from core.statement_lines import BOOKS, Book, Source

Kind = Literal[
    "not_with_us",
    "not_at_mpesa",
    "amount",
    "charge",
    "status",
    "reversed",
    "duplicate",
    "balance",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# Between M-Pesa's time and ours: what we entered so near the edge of what was read may lie outside.
EARLIER: Final = timedelta(hours=1)
LATER: Final = timedelta(minutes=5)
INCIDENT: Final = "differences"

differences = sa.Table(
    "differences",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),  # as people say it
    sa.Column("key", sa.Text, nullable=False, unique=True),  # found again, it is the same
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("book", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),  # moved: a payment, a payout, ...
    sa.Column("receipt", sa.Text),
    sa.Column("movement", sa.Text),
    sa.Column("line_id", sa.Uuid, sa.ForeignKey("statement_lines.id")),
    sa.Column("theirs_cents", sa.BigInteger, nullable=False),
    sa.Column("ours_cents", sa.BigInteger, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),  # when the money moved
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("note", sa.Text),  # how it ended
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(f"kind IN ({', '.join(map(repr, KINDS))})", name="kind"),
    sa.CheckConstraint(f"book IN ({', '.join(map(repr, BOOKS))})", name="book"),
    sa.CheckConstraint("state IN ('open', 'gone', 'resolved')", name="state"),
    sa.CheckConstraint("(state = 'open') = (closed_at IS NULL)", name="closed"),
    sa.CheckConstraint("(state = 'open') = (note IS NULL)", name="note"),
    sa.CheckConstraint("theirs_cents <> ours_cents", name="differs"),
    sa.Index("ix_differences_open", "at", postgresql_where=sa.text("state = 'open'")),
)

# How one ends that is found no more. "not_with_us" has another end where M-Pesa took it back.
_GONE: Final[Mapping[Kind, str]] = {
    "not_with_us": "it is in our books now",
    "not_at_mpesa": "M-Pesa shows it now",
    "amount": "both say the same now",
    "charge": "both say the same now",
    "status": "both say the same now",
    "reversed": "the reversal is in our books now",
    "duplicate": "M-Pesa shows it once now",
    "balance": "the balances are equal now",
}

_ACTIONS: Final[Mapping[Kind, str]] = {
    "not_with_us": "find who moved it; else book it as a loss, or to the bank",
    "not_at_mpesa": "ask M-Pesa for it; if it never moved, book it as a loss",
    "amount": "ask M-Pesa which is right; book the rest",
    "charge": "book the rest to M-Pesa's charges",
    "status": "ask M-Pesa; if it never moved, book it as a loss",
    "reversed": "the payer has it back: book it to that payment, whose orders end",
    "duplicate": "ask M-Pesa; nothing to book if it moved once",
    "balance": "look for the line that is missing, here or there",
}

_COLUMNS: Final[LiteralString] = """
    id, number, key, kind, book, source, what, receipt, movement, line_id, theirs_cents,
    ours_cents, at, state, note, opened_at"""

# What of a covered time is only in one of the two, or other in each. A line that M-Pesa tells of
# twice, in its statement and when asked, is one difference.
_FOUND: Final[LiteralString] = f"""
    WITH moved AS MATERIALIZED ({MOVED}
    ), covered AS (
        SELECT source, book, range_agg(tstzrange(from_at, until_at)) AS times
        FROM statement_readings
        WHERE until_at >= %(since)s - %(earlier)s AND from_at <= %(until)s + %(later)s
        GROUP BY source, book
    ), found AS (
        SELECT CASE
                   WHEN l.movement IS NULL AND (l.number > 1 OR EXISTS (
                       SELECT FROM statement_lines o
                       WHERE o.receipt = l.receipt AND o.source = l.source AND o.book = l.book
                         AND o.kind = l.kind AND o.ours_cents IS NOT NULL)) THEN 'duplicate'
                   WHEN l.movement IS NULL AND l.kind = 'reversal' AND EXISTS (
                       SELECT FROM receipts r WHERE r.receipt = l.linked_receipt) THEN 'reversed'
                   WHEN l.movement IS NULL THEN 'not_with_us'
                   WHEN l.status <> 'Completed' THEN 'status'
                   WHEN l.kind = 'charge' THEN 'charge'
                   ELSE 'amount'
               END AS kind, l.book, l.source, l.kind AS what, l.receipt, l.movement,
               l.id AS line_id,
               l.kind || ':' || coalesce(l.receipt, l.id::text)
                   || CASE WHEN l.number > 1 THEN ':' || l.number ELSE '' END AS subject,
               CASE l.status WHEN 'Completed' THEN l.amount_cents ELSE 0 END AS theirs_cents,
               coalesce(l.ours_cents, 0) AS ours_cents, l.completed_at AS at
        FROM statement_lines l
        WHERE l.gone_at IS NULL AND l.completed_at >= %(since)s AND l.completed_at < %(until)s
          AND CASE l.status WHEN 'Completed' THEN l.amount_cents ELSE 0 END
              <> coalesce(l.ours_cents, 0)
        UNION ALL
        SELECT 'not_at_mpesa', m.book, c.source,
               CASE WHEN m.book = 'L.mcharges' THEN 'charge'
                    WHEN m.movement LIKE 'payout:%%' THEN
                        CASE m.book WHEN 'A.c2b' THEN 'reversal' ELSE 'payout' END
                    WHEN m.movement LIKE 'capture:%%' OR m.movement LIKE 'receipt:%%'
                        THEN 'payment'
                    ELSE 'other' END,
               coalesce(h.receipt, p.receipt, CASE WHEN m.movement LIKE 'receipt:%%'
                   THEN split_part(m.movement, ':', 2) END),
               m.movement, NULL, m.movement, 0, m.cents, m.at
        FROM moved m
        JOIN covered c ON c.book = m.book
        LEFT JOIN charges h ON h.id = CASE WHEN m.movement LIKE 'capture:%%'
                                           THEN split_part(m.movement, ':', 2)::uuid END
        LEFT JOIN payouts p ON p.id = CASE WHEN m.movement LIKE 'payout:%%'
                                           THEN split_part(m.movement, ':', 2)::uuid END
        WHERE m.at >= %(since)s AND m.at < %(until)s
          AND tstzrange(m.at - %(earlier)s, m.at + %(later)s) <@ c.times
          AND (c.source = 'statement'
               OR m.movement LIKE 'capture:%%' OR m.movement LIKE 'receipt:%%')
          AND m.movement NOT LIKE 'difference:%%'
          AND NOT EXISTS (SELECT FROM float_moves f
                          WHERE f.settled_at IS NULL AND m.movement = 'float_move:' || f.id)
          AND NOT EXISTS (SELECT FROM statement_lines l
                          WHERE l.source = c.source AND l.book = m.book
                            AND l.movement = m.movement)
        UNION ALL
        SELECT 'balance', book, 'statement', 'other', NULL, NULL, NULL, day::text,
               balance_cents, cents - later_cents, at
        FROM (
            SELECT DISTINCT ON (l.book, d.day) l.book, d.day, l.balance_cents, l.completed_at AS at
            FROM unnest(%(days)s::date[], %(begins)s::timestamptz[], %(ends)s::timestamptz[])
                AS d (day, begins, ends)
            JOIN statement_lines l ON l.completed_at >= d.begins AND l.completed_at < d.ends
            WHERE l.source = 'statement' AND l.gone_at IS NULL AND l.balance_cents IS NOT NULL
            ORDER BY l.book, d.day, l.completed_at DESC, l.id DESC
        ) AS closing
        JOIN LATERAL (
            SELECT coalesce(max(k.amount_cents), 0) + coalesce(sum(e.amount_cents), 0) AS cents
            FROM accounts a
            LEFT JOIN ledger_marks k ON k.account_id = a.id
            LEFT JOIN entries e ON e.account_id = a.id AND e.id >= coalesce(k.before_id, %(first)s)
            WHERE a.kind = closing.book AND a.owner_id IS NULL
        ) AS total ON true
        JOIN LATERAL (
            SELECT coalesce(sum(m.cents), 0) AS later_cents
            FROM moved m
            LEFT JOIN statement_lines l
                ON l.source = 'statement' AND l.book = m.book AND l.movement = m.movement
            WHERE m.book = closing.book AND coalesce(l.completed_at, m.at) > closing.at
        ) AS since_then ON true
        WHERE balance_cents <> cents - later_cents
        UNION ALL
        SELECT 'balance', book, 'asked', 'other', NULL, NULL, NULL, 'asked', held_cents,
               books_cents, at
        FROM (
            SELECT DISTINCT ON (float) 'A.' || float AS book, held_cents, books_cents,
                   answered_at AS at
            FROM balance_questions
            WHERE outcome IN ('equal', 'differs')
              AND answered_at >= %(since)s AND answered_at < %(until)s
            ORDER BY float, asked_at DESC, id DESC
        ) AS answers
        WHERE held_cents <> books_cents
    )
    SELECT DISTINCT ON (key) * FROM (
        SELECT kind || ':' || book || ':' || subject AS key, kind, book, source, what, receipt,
               movement, line_id, theirs_cents, ours_cents::bigint, at
        FROM found
    ) AS named
    ORDER BY key, source DESC
"""


@dataclass(frozen=True)
class Difference:
    """theirs_cents: what M-Pesa says moved, or lies there; ours_cents: what our books say.

    key: by which it is known when it is found again.
    book: the account of ours that it is about. movement: what of ours, by its transfers' key.
    source: of what M-Pesa said; "asked" for its balance.
    """

    id: UUID
    number: int
    key: str
    kind: Kind
    book: Book
    source: Source | Literal["asked"]
    what: str
    receipt: str | None
    movement: str | None
    line_id: UUID | None
    theirs_cents: int
    ours_cents: int
    at: datetime
    state: Literal["open", "gone", "resolved"]
    note: str | None
    opened_at: datetime

    @property
    def gap_cents(self) -> int:
        """What our entries lack to say what M-Pesa says: a debit above zero."""
        return self.theirs_cents - self.ours_cents

    @property
    def is_unknown_payment(self) -> bool:
        """Money came in that our books do not know."""
        return (self.kind, self.what, self.book) == ("not_with_us", "payment", "A.c2b")

    @property
    def action(self) -> str:
        """What is to be done about it, most of the time."""
        if self.is_unknown_payment:
            return "book it to suspense, and find who paid"
        if (self.kind, self.what) == ("not_with_us", "charge"):
            return "book it to M-Pesa's charges"
        if self.source == "pull" and self.kind != "not_with_us":
            return "wait for the statement, which has the last word"
        if self.kind == "not_at_mpesa" and (self.movement or "").startswith("receipt:"):
            return "ask M-Pesa for it; if it never moved, book it to suspense, where it lies"
        return _ACTIONS[self.kind]

    def age_days(self, now: datetime) -> int:
        """Since the money moved, not since somebody looked."""
        return max(0, (now - self.at).days)


@dataclass(frozen=True)
class Judged:
    """How many were found first, how many ended by themselves, how many are open now."""

    new: int
    gone: int
    open: int


def judge(db: Db, day: date, now: datetime) -> Judged:
    """Find what differs up to the end of the day, from the oldest open difference on."""
    statement_lines.lock(db)
    begin, end = statement_lines.day_of(day)
    waiting = undone(db)
    since = min([begin, *(each.at for each in waiting)])
    balanced = {day, *(today(each.at) for each in waiting if each.kind == "balance")}
    found = _found(db, since, end, sorted(balanced))
    new = _keep(db, found, now)
    keys = {each.key for each in found}
    gone = _end(db, [it for it in waiting if it.key not in keys and it.at < end], now)
    left = len(undone(db))
    _tell(db, left, now)
    return Judged(new, gone, left)


def undone(db: Db) -> list[Difference]:
    """All that are open, the oldest first; balances, which others explain, at the end."""
    return db.rows(
        Difference,
        f"""
        SELECT {_COLUMNS} FROM differences WHERE state = 'open'
        ORDER BY kind = 'balance', at, number
        """,
    )


def numbered(db: Db, number: int) -> Difference | None:
    """By the number that people say, locked."""
    return db.row(
        Difference,
        f"SELECT {_COLUMNS} FROM differences WHERE number = %(number)s FOR NO KEY UPDATE",
        {"number": number},
    )


def resolve(db: Db, difference_id: UUID, note: str, now: datetime) -> None:
    """Somebody has. Found again as it is, it stays so; found with other amounts it is open."""
    db.run(
        """
        UPDATE differences
        SET state = 'resolved', note = %(note)s, closed_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s AND state = 'open'
        """,
        {"id": difference_id, "note": note, "now": now},
    )
    _tell(db, len(undone(db)), now)


@dataclass(frozen=True)
class _Found:
    key: str
    kind: Kind
    book: Book
    source: Source | Literal["asked"]
    what: str
    receipt: str | None
    movement: str | None
    line_id: UUID | None
    theirs_cents: int
    ours_cents: int
    at: datetime


def _found(db: Db, since: datetime, until: datetime, days: Sequence[date]) -> list[_Found]:
    times = [statement_lines.day_of(day) for day in days]
    return db.rows(
        _Found,
        _FOUND,
        {
            **movements.since(since),
            "since": since,
            "until": until,
            "earlier": EARLIER,
            "later": LATER,
            "days": list(days),
            "begins": [begin for begin, _ in times],
            "ends": [end for _, end in times],
            "first": UUID(int=0),
        },
    )


def _keep(db: Db, found: Sequence[_Found], now: datetime) -> int:
    """New ones get a number each, known ones what is now known of them; how many are new."""
    values = {
        "keys": [each.key for each in found],
        "ids": [db.new_id() for _ in found],
        "kinds": [each.kind for each in found],
        "books": [each.book for each in found],
        "sources": [each.source for each in found],
        "whats": [each.what for each in found],
        "receipts": [each.receipt for each in found],
        "movements": [each.movement for each in found],
        "lines": [each.line_id for each in found],
        "theirs": [each.theirs_cents for each in found],
        "ours": [each.ours_cents for each in found],
        "times": [each.at for each in found],
        "now": now,
    }
    db.run(
        f"""
        UPDATE differences d
        SET source = f.source, movement = f.movement, line_id = f.line_id, at = f.at,
            theirs_cents = f.theirs_cents, ours_cents = f.ours_cents,
            state = 'open', note = NULL, closed_at = NULL, updated_at = %(now)s
        FROM {_GIVEN}
        WHERE d.key = f.key
          AND (d.state = 'gone' OR d.source <> f.source OR d.line_id IS DISTINCT FROM f.line_id
               OR (d.theirs_cents, d.ours_cents) <> (f.theirs_cents, f.ours_cents))
          AND (d.state <> 'resolved'
               OR (d.theirs_cents, d.ours_cents) <> (f.theirs_cents, f.ours_cents))
        """,
        values,
    )
    return db.run(
        f"""
        INSERT INTO differences (id, number, key, kind, book, source, what, receipt, movement,
                                 line_id, theirs_cents, ours_cents, at, state, opened_at,
                                 updated_at)
        SELECT f.id, nextval('case_numbers'), f.key, f.kind, f.book, f.source, f.what, f.receipt,
               f.movement, f.line_id, f.theirs_cents, f.ours_cents, f.at, 'open', %(now)s, %(now)s
        FROM (SELECT * FROM {_GIVEN}
              WHERE NOT EXISTS (SELECT FROM differences d WHERE d.key = f.key)
              ORDER BY f.kind = 'balance', f.at, f.key) AS f
        """,
        values,
    )


_GIVEN: Final[LiteralString] = """
    unnest(%(keys)s::text[], %(ids)s::uuid[], %(kinds)s::text[], %(books)s::text[],
           %(sources)s::text[], %(whats)s::text[], %(receipts)s::text[], %(movements)s::text[],
           %(lines)s::uuid[], %(theirs)s::bigint[], %(ours)s::bigint[], %(times)s::timestamptz[])
        AS f (key, id, kind, book, source, what, receipt, movement, line_id, theirs_cents,
              ours_cents, at)"""


def _end(db: Db, ended: Sequence[Difference], now: datetime) -> int:
    """Those are found no more; how many."""
    return db.run(
        """
        UPDATE differences d
        SET state = 'gone', closed_at = %(now)s, updated_at = %(now)s,
            note = CASE WHEN d.kind = 'not_with_us' AND EXISTS (
                            SELECT FROM statement_lines l
                            WHERE l.id = d.line_id AND l.gone_at IS NOT NULL)
                        THEN 'M-Pesa shows it no more' ELSE e.note END
        FROM unnest(%(ids)s::uuid[], %(notes)s::text[]) AS e (id, note)
        WHERE d.id = e.id
        """,
        {
            "now": now,
            "ids": [each.id for each in ended],
            "notes": [_GONE[each.kind] for each in ended],
        },
    )


def _tell(db: Db, left: int, now: datetime) -> None:
    """One incident for all of them: the table says which."""
    known = incidents.find_open(db, INCIDENT, "mpesa")
    if left and known is None:
        incidents.open(db, INCIDENT, "mpesa", now, count=left)
    elif left and known is not None:
        incidents.amend(db, known.id, count=left)
    elif known is not None:
        incidents.close(db, known.id, "none is open", now)
