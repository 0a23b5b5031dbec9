"""Movements: what our books say moved on an account at M-Pesa.

All transfers about one thing (their keys begin alike, as `payout:<id>`) are one movement of an
account: a float move that came back has moved nothing.
"""

from datetime import datetime, timedelta
from typing import Final, LiteralString
from uuid import UUID

from core import ledger

BOOKS: Final = tuple(ledger.Account(kind) for kind in ("A.c2b", "A.b2c", "L.mcharges"))
# M-Pesa's time of a movement and ours are never further apart than this.
LATE: Final = timedelta(days=2)

# book, movement, cents (a debit above zero), at; of all that was entered since %(since_id)s. What
# resolves a difference belongs to the time of that.
MOVED: Final[LiteralString] = """
    SELECT m.book, m.movement, m.cents, coalesce(d.at, m.at) AS at
    FROM (
        SELECT a.kind AS book,
               split_part(t.key, ':', 1) || ':' || split_part(t.key, ':', 2) AS movement,
               sum(e.amount_cents)::bigint AS cents, min(t.at) AS at
        FROM entries e
        JOIN accounts a ON a.id = e.account_id
        JOIN transfers t ON t.id = e.transfer_id
        WHERE e.account_id = ANY(%(book_ids)s) AND e.id >= %(since_id)s
        GROUP BY 1, 2 HAVING sum(e.amount_cents) <> 0
    ) AS m
    LEFT JOIN differences d ON d.id = CASE WHEN m.movement LIKE 'difference:%%'
                                           THEN split_part(m.movement, ':', 2)::uuid END
"""


def since(at: datetime) -> dict[str, object]:
    """The values that MOVED needs, to hold whatever M-Pesa says moved from then on."""
    milliseconds = int((at - LATE).timestamp() * 1000)  # an entry's id is of version 7
    return {"book_ids": [book.id for book in BOOKS], "since_id": UUID(int=milliseconds << 80)}
