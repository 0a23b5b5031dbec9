"""Matching: which movement of ours each line of M-Pesa is, found for all of them at once."""

from datetime import datetime
from uuid import UUID

from core import movements, statement_lines
from core.database import Db
from core.movements import MOVED


def match(db: Db, now: datetime) -> int:
    """Find their movements for the lines that have none yet; how many it found.

    By the receipt where both have one, whatever the amounts; else by account, amount and time.
    """
    statement_lines.lock(db)
    return _by_receipt(db, now) + _by_amount(db, now)


def _by_receipt(db: Db, now: datetime) -> int:
    """Of lines with one receipt the first is it. A charge has the receipt of its payout, what a
    person booked the reference that was named with it."""
    return db.run(
        """
        WITH waiting AS (
            SELECT id, source, book, receipt, kind, completed_at FROM statement_lines
            WHERE movement IS NULL AND gone_at IS NULL AND receipt IS NOT NULL AND number = 1
        ), named AS (
            SELECT w.*, 'receipt:' || w.receipt AS movement, 'receipt:' || w.receipt AS key
            FROM waiting w WHERE w.kind = 'payment'
            UNION ALL
            SELECT w.*, 'capture:' || c.id, 'capture:' || c.id || part.suffix
            FROM waiting w JOIN charges c ON c.receipt = w.receipt
            CROSS JOIN (VALUES (''), (':part')) AS part (suffix) WHERE w.kind = 'payment'
            UNION ALL
            SELECT w.*, 'payout:' || p.id, 'payout:' || p.id || ':paid'
            FROM waiting w JOIN payouts p ON p.receipt = w.receipt
            WHERE w.kind IN ('payout', 'reversal', 'charge')
            UNION ALL
            SELECT w.*, 'float_move:' || f.id,
                   'float_move:' || f.id
                       || CASE w.book WHEN 'A.c2b' THEN ':requested' ELSE ':arrived' END
            FROM waiting w JOIN float_moves f ON f.receipt = w.receipt WHERE w.kind = 'float_move'
            UNION ALL
            SELECT w.*, 'booking:' || b.id, 'booking:' || b.id
            FROM waiting w JOIN bookings b ON upper(b.reference) = w.receipt
            WHERE w.kind IN ('charges_settled', 'funds', 'other')
        ), matched AS (
            SELECT DISTINCT ON (n.source, n.book, n.movement) n.id, n.movement, e.amount_cents
            FROM named n
            JOIN transfers t ON t.key = n.key
            JOIN entries e ON e.transfer_id = t.id
            JOIN accounts a ON a.id = e.account_id AND a.kind = n.book
            WHERE NOT EXISTS (
                SELECT FROM statement_lines o
                WHERE o.source = n.source AND o.book = n.book AND o.movement = n.movement)
            ORDER BY n.source, n.book, n.movement, n.completed_at, n.id
        )
        UPDATE statement_lines l
        SET movement = m.movement, ours_cents = m.amount_cents, updated_at = %(now)s
        FROM matched m WHERE l.id = m.id
        """,
        {"now": now},
    )


def _by_amount(db: Db, now: datetime) -> int:
    """What our books keep no receipt of: the first of so much is the first of so much."""
    begin: datetime | None = db.value(
        """
        SELECT min(completed_at) FROM statement_lines
        WHERE movement IS NULL AND gone_at IS NULL
          AND kind IN ('float_move', 'charges_settled', 'funds', 'other')
        """
    )
    if begin is None:
        return 0
    return db.run(
        f"""
        WITH waiting AS (
            SELECT id, book, amount_cents, completed_at,
                   row_number() OVER (PARTITION BY book, amount_cents ORDER BY completed_at, id)
                       AS nth
            FROM statement_lines
            WHERE movement IS NULL AND gone_at IS NULL AND source = 'statement'
              AND status = 'Completed' AND (number = 1 OR receipt IS NULL)
              AND kind IN ('float_move', 'charges_settled', 'funds', 'other')
        ), free AS (
            SELECT m.book, m.movement, m.cents, m.at,
                   row_number() OVER (PARTITION BY m.book, m.cents ORDER BY m.at, m.movement)
                       AS nth
            FROM ({MOVED}) AS m
            WHERE split_part(m.movement, ':', 1)
                  NOT IN ('capture', 'receipt', 'payout', 'difference')
              AND NOT EXISTS (
                  SELECT FROM statement_lines o
                  WHERE o.source = 'statement' AND o.book = m.book AND o.movement = m.movement)
        )
        UPDATE statement_lines l
        SET movement = f.movement, ours_cents = f.cents, updated_at = %(now)s
        FROM waiting w
        JOIN free f ON f.book = w.book AND f.cents = w.amount_cents AND f.nth = w.nth
        WHERE l.id = w.id AND f.at BETWEEN w.completed_at - %(late)s AND w.completed_at + %(late)s
        """,
        {**movements.since(begin), "late": movements.LATE, "now": now},
    )


def correct(db: Db, line_id: UUID, movement: str, now: datetime) -> None:
    """A line that only M-Pesa had was entered under this movement, and any that tells of it too."""
    db.run(
        """
        UPDATE statement_lines l
        SET movement = %(movement)s, ours_cents = l.amount_cents, updated_at = %(now)s
        FROM statement_lines it
        WHERE it.id = %(id)s AND l.movement IS NULL AND l.gone_at IS NULL
          AND (l.id = it.id
               OR (l.source <> it.source
                   AND (l.book, l.receipt, l.kind, l.number, l.amount_cents)
                       = (it.book, it.receipt, it.kind, it.number, it.amount_cents)))
        """,
        {"id": line_id, "movement": movement, "now": now},
    )
