"""Traces: one purchase or payout from end to end, for whoever looks for a payment that is stuck.

Everything is read, nothing is locked or changed, but that M-Pesa may be asked now (ask).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString
from uuid import UUID

from core import charges, incidents, orders, outbox, payouts
from core.charges import Charge
from core.database import Db
from core.incidents import Open
from core.orders import Order
from core.payouts import Payout

Asked = Literal["asked", "nothing_to_ask"]

_NUMBER: Final = re.compile("[0-9]{1,12}")

# at, whose, what, cents; as written by whoever did it, in the words of the code.
_OF_PURCHASE: Final[LiteralString] = """
WITH o AS (SELECT id, number FROM orders WHERE checkout_id = %(id)s),
     c AS (SELECT * FROM charges WHERE checkout_id = %(id)s)
SELECT at, whose, what, cents FROM (
    SELECT e.at, 'order ' || o.number AS whose, e.kind AS what, NULL::bigint AS cents, e.id AS nth
    FROM order_events e JOIN o ON o.id = e.order_id
    UNION ALL
    SELECT created_at, 'prompt ' || reference, 'wanted', amount_cents, id FROM c
    UNION ALL
    SELECT claimed_at, 'prompt ' || reference, 'is sent', NULL, id
    FROM c WHERE claimed_at IS NOT NULL
    UNION ALL
    SELECT asked_at, 'prompt ' || reference,
           CASE WHEN push_id IS NULL THEN 'no answer that names it' ELSE 'taken by M-Pesa' END,
           NULL, id
    FROM c WHERE asked_at IS NOT NULL
    UNION ALL
    SELECT k.at, 'prompt ' || c.reference, k.source || ' ' || k.code || ': ' || k.meaning, NULL,
           c.id
    FROM charge_codes k JOIN c ON c.id = k.charge_id
    UNION ALL
    SELECT r.created_at, 'receipt ' || r.receipt, r.source || ': ' || r.outcome, r.amount_cents,
           c.id
    FROM receipts r JOIN c ON c.id = r.charge_id
    UNION ALL
    SELECT t.at, 'escrow of ' || o.number, t.kind, -e.amount_cents, e.id
    FROM o
    JOIN accounts a ON a.kind = 'L.escrow' AND a.owner_id = o.id
    JOIN entries e ON e.account_id = a.id
    JOIN transfers t ON t.id = e.transfer_id
    UNION ALL
    SELECT m.created_at, coalesce(m.channel, 'message'),
           m.trigger || ': ' || m.state || coalesce(', ' || m.failure, ''), NULL, m.id
    FROM messages m JOIN o ON o.id = m.order_id
    UNION ALL
    SELECT p.created_at, 'reversal ' || p.reverses_receipt,
           p.state || coalesce(', waits: ' || p.waits_for, ''), p.amount_cents, p.id
    FROM payouts p
    JOIN receipts r ON r.receipt = p.reverses_receipt
    JOIN c ON c.id = r.charge_id
) AS happened
ORDER BY at, nth
"""
_OF_PAYOUT: Final[LiteralString] = """
SELECT at, whose, what, cents FROM (
    SELECT created_at AS at, 'payout' AS whose, 'asked for' AS what, amount_cents AS cents,
           1 AS nth
    FROM payouts WHERE id = %(id)s
    UNION ALL
    SELECT approved_at, 'payout',
           CASE approved_by WHEN 'automatic' THEN 'let go' ELSE 'let go by ' || approved_by END,
           NULL, 2
    FROM payouts WHERE id = %(id)s AND approved_at IS NOT NULL
    UNION ALL
    SELECT claimed_at, 'payout', 'is sent, for the ' || attempts || '. time', NULL, 3
    FROM payouts WHERE id = %(id)s AND claimed_at IS NOT NULL
    UNION ALL
    SELECT asked_at, 'payout', 'M-Pesa''s answer to that', NULL, 4
    FROM payouts WHERE id = %(id)s AND asked_at IS NOT NULL
    UNION ALL
    SELECT at, 'payout', source || ' ' || code || ': ' || meaning, NULL, 5
    FROM payout_codes WHERE payout_id = %(id)s
    UNION ALL
    SELECT settled_at, coalesce('receipt ' || receipt, 'payout'), state, amount_cents, 6
    FROM payouts WHERE id = %(id)s AND settled_at IS NOT NULL
    UNION ALL
    SELECT t.at, 'books', t.kind, t_cents, 7
    FROM (
        SELECT t.at, t.kind, sum(greatest(e.amount_cents, 0))::bigint AS t_cents
        FROM transfers t JOIN entries e ON e.transfer_id = t.id
        WHERE t.key LIKE 'payout:' || %(id)s::text || ':%%'
        GROUP BY t.id, t.at, t.kind
    ) AS t
) AS happened
ORDER BY at, nth
"""


@dataclass(frozen=True)
class Happening:
    """whose: of the purchase or payout, what did or suffered it. cents: what it was about, if so.

    what: the code's own words, no personal data.
    """

    at: datetime
    whose: str
    what: str
    cents: int | None


@dataclass(frozen=True)
class Next:
    """Work that waits. attempts: how often it was begun. last_error: why it was put off."""

    kind: str
    due_at: datetime
    attempts: int
    last_error: str | None


@dataclass(frozen=True)
class Trace:
    """happened, next: the oldest first, the soonest first. Of a payout there are no orders."""

    orders: Sequence[Order]
    charges: Sequence[Charge]
    payout: Payout | None
    happened: Sequence[Happening]
    next: Sequence[Next]
    incidents: Sequence[Open]


@dataclass(frozen=True)
class Bought:
    """One order of a member's. prompt: how the last one for it stands."""

    number: int
    state: str
    total_cents: int
    prompt: str | None
    at: datetime


def find(db: Db, name: str) -> Trace | None:
    """By an order's number, a receipt, the account its payer names, or a payout's last letters."""
    order = orders.numbered(db, int(name)) if _NUMBER.fullmatch(name) else None
    if order is not None:
        return _of_purchase(db, order.checkout_id)
    checkout_id: UUID | None = db.value(
        """
        SELECT c.checkout_id FROM charges c LEFT JOIN receipts r ON r.charge_id = c.id
        WHERE c.receipt = %(name)s OR r.receipt = %(name)s OR c.reference = %(name)s LIMIT 1
        """,
        {"name": name.upper()},
    )
    if checkout_id is not None:
        return _of_purchase(db, checkout_id)
    found = payouts.named(db, name)
    return _of_payout(db, found[0]) if len(found) == 1 else None


def bought(db: Db, member_id: UUID, limit: int) -> list[Bought]:
    """What a member ordered, the newest first."""
    return db.rows(
        Bought,
        """
        SELECT o.number, o.state, o.total_cents, o.created_at AS at,
               (SELECT c.state FROM charges c WHERE c.checkout_id = o.checkout_id
                ORDER BY c.created_at DESC, c.id DESC LIMIT 1) AS prompt
        FROM orders o WHERE o.buyer_id = %(member_id)s ORDER BY o.number DESC LIMIT %(limit)s
        """,
        {"member_id": member_id, "limit": limit},
    )


def ask(db: Db, found: Trace, now: datetime) -> Asked:
    """Have M-Pesa asked now what became of it, before its timer would.

    "nothing_to_ask": it has ended, or has no name at M-Pesa by which it could be asked about.
    """
    if found.payout is not None:
        if found.payout.state not in payouts.SENT:
            return "nothing_to_ask"
        outbox.put(db, "query_payout", due_at=now, payout_id=found.payout.id)
        return "asked"
    open_ = [it for it in found.charges if it.push_id and it.state in (*charges.OPEN, "review")]
    for charge in open_:
        outbox.put(db, "query_charge", due_at=now, charge_id=charge.id)
    return "asked" if open_ else "nothing_to_ask"


def names(db: Db, subjects: Sequence[str]) -> dict[str, str]:
    """As people call what incidents are about, by its id; of what has no such name, nothing."""
    rows = db.rows(
        _Named,
        """
        SELECT s.subject, coalesce(
            (SELECT 'order ' || number FROM orders WHERE id = s.id),
            (SELECT 'prompt ' || reference FROM charges WHERE id = s.id),
            (SELECT 'payout ' || right(replace(id::text, '-', ''), 8)
             FROM payouts WHERE id = s.id),
            (SELECT 'case ' || number FROM differences WHERE id = s.id),
            (SELECT 'id:' || right(replace(id::text, '-', ''), 8) FROM members WHERE id = s.id),
            (SELECT 'task ' || kind FROM outbox WHERE id = s.id)) AS name
        FROM (SELECT subject, subject::uuid AS id FROM unnest(%(subjects)s::text[]) AS t (subject)
              WHERE subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') AS s
        """,
        {"subjects": list(subjects)},
    )
    return {row.subject: row.name for row in rows if row.name is not None}


@dataclass(frozen=True)
class _Named:
    subject: str
    name: str | None


def _of_purchase(db: Db, checkout_id: UUID) -> Trace:
    of = orders.of_checkout(db, checkout_id)
    asked = charges.of_checkout(db, checkout_id)
    ids = [checkout_id, *(order.id for order in of), *(charge.id for charge in asked)]
    names = [*map(str, ids), *(charge.receipt for charge in asked if charge.receipt)]
    return Trace(
        orders=of,
        charges=asked,
        payout=None,
        happened=db.rows(Happening, _OF_PURCHASE, {"id": checkout_id}),
        next=_next(db, ids),
        incidents=incidents.about(db, names),
    )


def _of_payout(db: Db, payout: Payout) -> Trace:
    return Trace(
        orders=(),
        charges=(),
        payout=payout,
        happened=db.rows(Happening, _OF_PAYOUT, {"id": payout.id}),
        next=_next(db, [payout.id]),
        incidents=incidents.about(db, [str(payout.id)]),
    )


def _next(db: Db, ids: Sequence[UUID]) -> list[Next]:
    return db.rows(
        Next,
        """
        SELECT kind, due_at, attempts, last_error FROM outbox
        WHERE done_at IS NULL AND EXISTS (
            SELECT FROM jsonb_each_text(arguments) AS it WHERE it.value = ANY(%(ids)s))
        ORDER BY due_at, id
        """,
        {"ids": [str(each) for each in ids]},
    )
