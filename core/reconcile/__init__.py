"""Reconciliation: a day of M-Pesa against our books, line by line, in both directions.

What a line proves is booked as if M-Pesa had told us of it at the time; what is left is a
difference, and waits for a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from core import (
    balances,
    differences,
    discretion,
    float_moves,
    matching,
    movements,
    outbox,
    payout_proofs,
    settlements,
    statement_lines,
)
from core.balances import Float, Seen
from core.database import Database, Db
from core.differences import Difference, Judged
from core.movements import MOVED
from core.payout_proofs import PayoutResult
from core.receipts import Receipt
from core.rules import Rules
from core.staff import Actor
from core.statement_lines import Book, Kept, Source, Statement

SECONDS_MAX: Final = 100.0  # of a transaction here: a task is killed after 120
# What was sent is no further from its line than this: clocks differ, and a call is made anew.
_BEFORE: Final = timedelta(minutes=5)
_AFTER: Final = timedelta(days=7)
LEFT: Final = "left"  # what came of a proof that is too much for whoever brought it
_PROOF: Final = "Completed"  # the code under which a line settles a payout, as a status would


@dataclass(frozen=True)
class Reconciled:
    """lines: that were read, new: of those not known before. settled: what they proved, and we
    had not heard."""

    lines: int
    new: int
    settled: int
    judged: Judged


def run(
    database: Database,
    day: date,
    rules: Rules,
    statements: Sequence[Statement] = (),
    by: Actor | None = None,
) -> Reconciled:
    """Keep what was read, book what it proves, find what differs; for the command and the task.

    by: of ours whose acts these are, in the audit log; None: the worker does it by itself.
    It opens the transactions itself: each line that moves money has its own, as every callback
    has. One that dies anywhere is run again from the start and does nothing twice.
    """
    with database.begin(seconds=SECONDS_MAX) as db:
        kept = [_keep(db, day, each, by, database.clock()) for each in statements]
    with database.begin(seconds=SECONDS_MAX) as db:
        matching.match(db, database.clock())
        proofs = provable(db)
    settled = 0
    for proof in proofs:
        with database.begin() as db:
            settled += settle(db, proof, rules, database.clock(), by) != LEFT
    lines, new = sum(each.lines for each in kept), sum(each.new for each in kept)
    return Reconciled(lines, new, settled, look(database, day))


def look(database: Database, day: date) -> Judged:
    """Find what differs by what was read before; nothing is booked."""
    with database.begin(seconds=SECONDS_MAX) as db:
        matching.match(db, database.clock())
        return differences.judge(db, day, database.clock())


def ask(db: Db, day: date, by: Actor, now: datetime) -> None:
    """Have the worker fetch what M-Pesa says of the day, and reconcile it."""
    outbox.put(db, "reconcile_day", due_at=now, day=day)
    by.write(db, "day_asked", _subject(day), {}, {}, now)


def _keep(db: Db, day: date, statement: Statement, by: Actor | None, now: datetime) -> Kept:
    kept = statement_lines.keep(db, statement, now, by.who.id if by is not None else None)
    if by is not None:
        after = {"account": statement.book, "lines": kept.lines, "new": kept.new}
        by.write(db, "statement_read", _subject(day), {}, after, now)
    return kept


def _subject(day: date) -> str:
    """Its name in the audit log."""
    return f"day {day}"


@dataclass(frozen=True)
class Proof:
    """A line that shows what became of something of ours. subject_id: the id of that. read_by: who
    of ours brought it; None: M-Pesa told us.
    """

    line_id: UUID
    of: Literal["payment", "payout", "reversal", "float_move"]
    subject_id: UUID
    read_by: UUID | None


def provable(db: Db) -> list[Proof]:
    """The lines without a movement that can be of one thing only, oldest first.

    A payment that names the account of a charge, where nobody tells another amount of it; the
    reversal of a receipt that we have asked to reverse; a payout to a phone or a float move, where
    one alone of that amount was sent in a week and is not proved, and one line alone shows it.
    """
    return db.rows(
        Proof,
        """
        WITH waiting AS MATERIALIZED (
            SELECT * FROM statement_lines
            WHERE movement IS NULL AND gone_at IS NULL AND number = 1 AND status = 'Completed'
        ), pairs AS (
            SELECT w.id AS line_id, w.kind AS of, s.id AS subject_id, w.receipt, w.source,
                   w.completed_at,
                   count(*) OVER (PARTITION BY w.id) AS subjects,
                   count(*) OVER (PARTITION BY s.id) AS lines
            FROM waiting w
            JOIN (
                SELECT 'payout' AS kind, id, msisdn, -amount_cents AS cents, approved_at AS at
                FROM payouts
                WHERE kind <> 'reversal' AND receipt IS NULL AND claimed_at IS NOT NULL
                UNION ALL
                SELECT 'float_move', id, NULL, amount_cents, created_at
                FROM float_moves WHERE receipt IS NULL AND claimed_at IS NOT NULL
            ) AS s ON s.kind = w.kind AND s.cents = w.amount_cents
                  AND (s.msisdn = w.msisdn OR s.kind = 'float_move')
                  AND w.completed_at BETWEEN s.at - %(before)s AND s.at + %(after)s
            WHERE w.book = 'A.b2c'
        ), proofs AS (
            SELECT w.id AS line_id, 'payment' AS of, c.id AS subject_id, w.receipt, w.source,
                   w.completed_at
            FROM waiting w
            JOIN charges c
                ON c.reference = upper(regexp_replace(w.reference, '[^A-Za-z0-9]', '', 'g'))
            WHERE w.kind = 'payment' AND w.book = 'A.c2b' AND w.receipt IS NOT NULL
              AND NOT EXISTS (SELECT FROM receipts r WHERE r.receipt = w.receipt)
              AND NOT EXISTS (
                  SELECT FROM statement_lines o
                  WHERE o.receipt = w.receipt AND o.gone_at IS NULL AND o.kind = 'payment'
                    AND o.amount_cents <> w.amount_cents)
            UNION ALL
            SELECT w.id, 'reversal', p.id, w.receipt, w.source, w.completed_at
            FROM waiting w JOIN payouts p ON p.reverses_receipt = w.linked_receipt
            WHERE w.kind = 'reversal' AND p.receipt IS NULL AND p.claimed_at IS NOT NULL
              AND p.amount_cents = -w.amount_cents
            UNION ALL
            SELECT line_id, of, subject_id, receipt, source, completed_at FROM pairs
            WHERE subjects = 1 AND lines = 1
        ), told_once AS (
            SELECT DISTINCT ON (of, receipt) * FROM proofs ORDER BY of, receipt, source DESC
        )
        SELECT o.line_id, o.of, o.subject_id, r.read_by
        FROM told_once o JOIN statement_lines l ON l.id = o.line_id
        JOIN statement_readings r ON r.id = l.reading_id
        ORDER BY o.completed_at, o.line_id
        """,
        {"before": _BEFORE, "after": _AFTER},
    )


@dataclass(frozen=True)
class _Told:
    source: Source
    receipt: str
    amount_cents: int
    completed_at: datetime
    reference: str
    linked_receipt: str | None
    msisdn: str | None
    charge_cents: int | None


def settle(db: Db, proof: Proof, rules: Rules, now: datetime, by: Actor | None = None) -> str:
    """Book what the line proves by the way everything else takes, which knows repeats.

    by: who of ours has it booked; None: the worker. A payment that only a file shows is LEFT for
    two people (core.resolutions) where it is more than whoever brought the file may decide alone:
    a file is written as easily as read.
    """
    if proof.read_by is not None:
        discretion.lock(db, proof.read_by)
    told = db.row(
        _Told,
        """
        SELECT l.source, l.receipt, l.amount_cents, l.completed_at, l.reference, l.linked_receipt,
               l.msisdn, -c.amount_cents AS charge_cents
        FROM statement_lines l
        LEFT JOIN statement_lines c
            ON c.receipt = l.receipt AND c.kind = 'charge' AND c.book = 'L.mcharges'
               AND c.gone_at IS NULL AND c.number = 1
        WHERE l.id = %(id)s
        """,
        {"id": proof.line_id},
    )
    assert told is not None, f"no line {proof.line_id}"
    if proof.of == "payment" and proof.read_by is not None:
        cents, one_max_cents = told.amount_cents, rules.difference_second_above_cents
        if not discretion.suffices(db, proof.read_by, cents, one_max_cents, rules, now):
            return LEFT
    if proof.of == "payment":
        receipt = Receipt(
            told.source, told.receipt, told.amount_cents, told.reference, told.completed_at
        )
        outcome: str = settlements.receive(db, receipt, now)
    else:
        result = PayoutResult(
            "statement",
            "paid",
            _PROOF,
            amount_cents=abs(told.amount_cents),
            receipt=told.receipt,
            msisdn=told.msisdn,
            reverses_receipt=told.linked_receipt,
            charge_cents=told.charge_cents,
        )
        verb = float_moves.settle if proof.of == "float_move" else payout_proofs.settle
        outcome = verb(db, proof.subject_id, result, now)
    db.run(
        """
        UPDATE statement_lines SET outcome = %(outcome)s, updated_at = %(now)s WHERE id = %(id)s
        """,
        {"outcome": outcome, "now": now, "id": proof.line_id},
    )
    if by is not None:
        after = {"of": proof.of, "cents": told.amount_cents, "outcome": outcome}
        by.write(db, "line_booked", f"receipt {told.receipt}", {}, after, now)
    return outcome


@dataclass(frozen=True)
class Total:
    """What moved on one account in one way on a day; cents are signed as our entries are."""

    book: Book
    kind: str
    their_lines: int
    theirs_cents: int
    our_movements: int
    ours_cents: int


@dataclass(frozen=True)
class Read:
    """What M-Pesa was last heard saying of an account for that day. until: nothing is left out."""

    source: Source
    shortcode: str
    book: Book
    until: datetime
    read_at: datetime


@dataclass(frozen=True)
class Report:
    """A day, and all that is open whatever its day. asked: the last balance M-Pesa told us of."""

    day: date
    reads: Sequence[Read]
    asked: Mapping[Float, Seen]
    totals: Sequence[Total]
    open: Sequence[Difference]


def report(db: Db, day: date) -> Report:
    """Of what was kept and judged before; it changes nothing."""
    begin, end = statement_lines.day_of(day)
    asked = {of: seen for of in balances.FLOATS if (seen := balances.last(db, of)) is not None}
    return Report(
        day, _reads(db, begin, end), asked, _totals(db, begin, end), differences.undone(db)
    )


def _reads(db: Db, begin: datetime, end: datetime) -> list[Read]:
    return db.rows(
        Read,
        """
        SELECT DISTINCT ON (book, source)
               source, shortcode, book, least(until_at, %(end)s) AS until, read_at
        FROM statement_readings
        WHERE until_at >= %(begin)s AND from_at < %(end)s
        ORDER BY book, source DESC, until_at DESC, read_at DESC
        """,
        {"begin": begin, "end": end},
    )


def _totals(db: Db, begin: datetime, end: datetime) -> list[Total]:
    """A movement belongs to the day on which M-Pesa says that it was; else to that of our entry.

    Where no statement was read, M-Pesa's side is what was pulled.
    """
    return db.rows(
        Total,
        f"""
        WITH chosen AS (
            SELECT book, max(source) AS source FROM statement_readings
            WHERE until_at >= %(begin)s AND from_at < %(end)s GROUP BY book
        ), shown AS (
            SELECT l.* FROM statement_lines l JOIN chosen USING (book, source)
            WHERE l.gone_at IS NULL AND l.status = 'Completed'
        ), theirs AS (
            SELECT book, kind, count(*) AS lines, sum(amount_cents) AS cents FROM shown
            WHERE completed_at >= %(begin)s AND completed_at < %(end)s GROUP BY 1, 2
        ), ours AS (
            SELECT m.book, coalesce(l.kind, CASE
                       WHEN m.book = 'L.mcharges' THEN 'charge'
                       WHEN m.movement LIKE 'payout:%%' THEN
                           CASE m.book WHEN 'A.c2b' THEN 'reversal' ELSE 'payout' END
                       WHEN m.movement LIKE 'capture:%%' OR m.movement LIKE 'receipt:%%'
                           THEN 'payment'
                       WHEN m.movement LIKE 'difference:%%' THEN 'correction'
                       ELSE 'other' END) AS kind,
                   count(*) AS movements, sum(m.cents) AS cents
            FROM ({MOVED}) AS m
            LEFT JOIN shown l ON l.book = m.book AND l.movement = m.movement
            WHERE coalesce(l.completed_at, m.at) >= %(begin)s
              AND coalesce(l.completed_at, m.at) < %(end)s
            GROUP BY 1, 2
        )
        SELECT book, kind, coalesce(t.lines, 0) AS their_lines,
               coalesce(t.cents, 0)::bigint AS theirs_cents,
               coalesce(o.movements, 0) AS our_movements,
               coalesce(o.cents, 0)::bigint AS ours_cents
        FROM theirs t FULL JOIN ours o USING (book, kind)
        ORDER BY book DESC, kind
        """,
        {**movements.since(begin), "begin": begin, "end": end},
    )
