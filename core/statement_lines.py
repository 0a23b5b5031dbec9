"""Statement lines: what M-Pesa says moved on our accounts there, every line kept once.

An account at M-Pesa has its mirror in the ledger, its *book*: the money of the collection shortcode
is `A.c2b`, of the payout shortcode `A.b2c`, and what we owe for charges `L.mcharges`. A line's
amount has the sign that our entry has there: what comes in is a debit, above zero.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Final, Literal, get_args
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata
from core.days import EAST_AFRICA_TIME

Source = Literal["statement", "pull"]
Book = Literal["A.c2b", "A.b2c", "L.mcharges"]
Kind = Literal[
    "payment", "payout", "reversal", "float_move", "charge", "charges_settled", "funds", "other"
]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
BOOKS: Final[tuple[Book, ...]] = get_args(Book)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
COMPLETED: Final = "Completed"  # the one status in which money has moved

ONE_AT_A_TIME: Final = 7042_0005  # the advisory lock of whoever keeps lines or judges them


def _of(column: str, names: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(map(repr, names))})"


readings = sa.Table(
    "statement_readings",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("shortcode", sa.Text, nullable=False),
    sa.Column("book", sa.Text, nullable=False),
    sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("until_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("lines", sa.Integer, nullable=False),
    sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
    # Of ours, from a file; NULL: M-Pesa told us.
    sa.Column("read_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.CheckConstraint(_of("source", SOURCES), name="source"),
    sa.CheckConstraint(_of("book", BOOKS), name="book"),
    sa.CheckConstraint("from_at <= until_at", name="period"),
    sa.Index("ix_statement_readings_until_at", "until_at"),
)

lines = sa.Table(
    "statement_lines",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # in the order of their coming
    sa.Column("reading_id", sa.Uuid, sa.ForeignKey("statement_readings.id"), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("shortcode", sa.Text, nullable=False),
    sa.Column("book", sa.Text, nullable=False),
    sa.Column("receipt", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # 2: a second one like it
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("balance_cents", sa.BigInteger),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("linked_receipt", sa.Text),
    sa.Column("msisdn", sa.Text),
    sa.Column("initiated_at", sa.DateTime(timezone=True)),
    sa.Column("completed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("movement", sa.Text),  # what of ours it is: the beginning of a transfer's key
    sa.Column("ours_cents", sa.BigInteger),  # and how much that moved
    sa.Column("outcome", sa.Text),  # what came of booking it
    sa.Column("gone_at", sa.DateTime(timezone=True)),  # M-Pesa shows it no more
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint(
        "source", "book", "receipt", "kind", "completed_at", "amount_cents", "number",
        name="uq_statement_lines_line", postgresql_nulls_not_distinct=True,
    ),
    sa.CheckConstraint(_of("source", SOURCES), name="source"),
    sa.CheckConstraint(_of("book", BOOKS), name="book"),
    sa.CheckConstraint(_of("kind", KINDS), name="kind"),
    sa.CheckConstraint("number > 0", name="number"),
    sa.CheckConstraint("amount_cents <> 0", name="amount_cents"),
    sa.CheckConstraint("(movement IS NULL) = (ours_cents IS NULL)", name="matched"),
    sa.CheckConstraint("gone_at IS NULL OR movement IS NULL", name="gone"),
    sa.Index("ix_statement_lines_receipt", "receipt"),
    sa.Index("ix_statement_lines_completed_at", "completed_at"),
    sa.Index(
        "ix_statement_lines_booked",
        "reading_id",
        postgresql_where=sa.text("outcome IS NOT NULL"),
    ),
    sa.Index(
        "ix_statement_lines_unmatched",
        "id",
        postgresql_where=sa.text("movement IS NULL AND gone_at IS NULL"),
    ),
    sa.Index(
        "uq_statement_lines_movement",
        "source",
        "book",
        "movement",
        unique=True,
        postgresql_where=sa.text("movement IS NOT NULL"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line as M-Pesa tells it.

    amount_cents: paid in above zero, taken out below. balance_cents: after it, where it says.
    linked_receipt: of a reversal, what was reversed. reference: the account that a payer named.
    msisdn: +254…; None where masked, or where the other party is no person.
    """

    receipt: str | None
    kind: Kind
    amount_cents: int
    completed_at: datetime
    status: str = COMPLETED
    balance_cents: int | None = None
    reason: str = ""
    reference: str = ""
    linked_receipt: str | None = None
    msisdn: str | None = field(default=None, repr=False)
    initiated_at: datetime | None = None


@dataclass(frozen=True)
class Statement:
    """What M-Pesa said at once of one account, oldest line first.

    days: the first and the last that it is of; None: of all there ever was until then.
    between: the time that was asked for, where M-Pesa was asked.
    """

    source: Source
    shortcode: str
    book: Book
    days: tuple[date, date] | None
    lines: Sequence[Line] = field(repr=False)
    between: tuple[datetime, datetime] | None = None


@dataclass(frozen=True)
class Kept:
    """lines: all of it. new: those that were not known before."""

    lines: int
    new: int


def keep(db: Db, statement: Statement, now: datetime, read_by: UUID | None = None) -> Kept:
    """Keep what was read. A line known before stays as it is; one that M-Pesa shows no more is
    marked so.

    read_by: who of ours brought it; None: M-Pesa told us.
    """
    lock(db)
    since, until = statement.between or _covered(statement, now)
    reading_id = db.new_id()
    db.run(
        """
        INSERT INTO statement_readings (id, source, shortcode, book, from_at, until_at, lines,
                                        read_at, read_by)
        VALUES (%(id)s, %(source)s, %(shortcode)s, %(book)s, %(since)s, %(until)s, %(lines)s,
                %(now)s, %(read_by)s)
        """,
        {
            "id": reading_id,
            "source": statement.source,
            "shortcode": statement.shortcode,
            "book": statement.book,
            "since": since,
            "until": until,
            "lines": len(statement.lines),
            "now": now,
            "read_by": read_by,
        },
    )
    new = _insert(db, statement, reading_id, now)
    db.run(
        """
        UPDATE statement_lines
        SET gone_at = %(now)s, movement = NULL, ours_cents = NULL, updated_at = %(now)s
        WHERE source = %(source)s AND book = %(book)s AND reading_id <> %(reading_id)s
          AND completed_at >= %(since)s AND completed_at < %(until)s AND gone_at IS NULL
        """,
        {
            "now": now,
            "source": statement.source,
            "book": statement.book,
            "reading_id": reading_id,
            "since": since,
            "until": until,
        },
    )
    return Kept(len(statement.lines), new)


def lock(db: Db) -> None:
    """One after the other: of two who keep or judge at once, the second finds it done."""
    db.run("SELECT pg_advisory_xact_lock(%(key)s)", {"key": ONE_AT_A_TIME})


def by_id(db: Db, line_id: UUID) -> Line:
    found = db.row(
        Line,
        """
        SELECT receipt, kind, amount_cents, completed_at, status, balance_cents, reason, reference,
               linked_receipt, msisdn, initiated_at
        FROM statement_lines WHERE id = %(id)s
        """,
        {"id": line_id},
    )
    assert found is not None, f"no line {line_id}"
    return found


def day_of(day: date) -> tuple[datetime, datetime]:
    """Its first moment and the first of the next, in the market's time."""
    begin = datetime.combine(day, time(), EAST_AFRICA_TIME)
    return begin, begin + timedelta(days=1)


def _covered(statement: Statement, now: datetime) -> tuple[datetime, datetime]:
    """The time of which the statement leaves out nothing: of a day that is not over, or may not
    have been when it was exported, what lies before its last line."""
    times = [line.completed_at for line in statement.lines]
    if statement.days is None:
        begin, end = min(times, default=now), now
    else:
        begin, end = day_of(statement.days[0])[0], day_of(statement.days[1])[1]
    if now >= end and statement.days is not None:
        return begin, end
    return begin, max(times, default=begin)


def _insert(db: Db, statement: Statement, reading_id: UUID, now: datetime) -> int:
    """All at once, whatever their number; how many were not known."""
    told = statement.lines
    columns: Mapping[str, Sequence[Any]] = {
        "ids": [db.new_id() for _ in told],
        "receipts": [line.receipt for line in told],
        "kinds": [line.kind for line in told],
        "numbers": _numbers(told),
        "amounts": [line.amount_cents for line in told],
        "balances": [line.balance_cents for line in told],
        "statuses": [line.status for line in told],
        "reasons": [line.reason for line in told],
        "references": [line.reference for line in told],
        "linked": [line.linked_receipt for line in told],
        "msisdns": [line.msisdn for line in told],
        "initiated": [line.initiated_at for line in told],
        "completed": [line.completed_at for line in told],
    }
    new: int = db.value(
        """
        WITH kept AS (
            INSERT INTO statement_lines (
                id, reading_id, source, shortcode, book, receipt, kind, number, amount_cents,
                balance_cents, status, reason, reference, linked_receipt, msisdn, initiated_at,
                completed_at, created_at, updated_at)
            SELECT id, %(reading_id)s, %(source)s, %(shortcode)s, %(book)s, receipt, kind, number,
                   amount_cents, balance_cents, status, reason, reference, linked_receipt, msisdn,
                   initiated_at, completed_at, %(now)s, %(now)s
            FROM unnest(
                %(ids)s::uuid[], %(receipts)s::text[], %(kinds)s::text[], %(numbers)s::int[],
                %(amounts)s::bigint[], %(balances)s::bigint[], %(statuses)s::text[],
                %(reasons)s::text[], %(references)s::text[], %(linked)s::text[],
                %(msisdns)s::text[], %(initiated)s::timestamptz[], %(completed)s::timestamptz[])
                AS told (id, receipt, kind, number, amount_cents, balance_cents, status, reason,
                         reference, linked_receipt, msisdn, initiated_at, completed_at)
            ON CONFLICT ON CONSTRAINT uq_statement_lines_line DO UPDATE
            SET reading_id = excluded.reading_id, gone_at = NULL, status = excluded.status,
                balance_cents = excluded.balance_cents, updated_at = excluded.updated_at
            RETURNING xmax = 0 AS is_new  -- and not one that was there
        )
        SELECT count(*) FROM kept WHERE is_new
        """,
        {
            **columns,
            "reading_id": reading_id,
            "source": statement.source,
            "shortcode": statement.shortcode,
            "book": statement.book,
            "now": now,
        },
    )
    return new


def _numbers(told: Sequence[Line]) -> list[int]:
    """1, and more for those that say again what one before them said."""
    seen: Counter[object] = Counter()
    numbers = []
    for line in told:
        like: object = (line.receipt, line.kind)
        if line.receipt is None:
            like = (line.kind, line.completed_at, line.amount_cents)
        seen[like] += 1
        numbers.append(seen[like])
    return numbers
