"""Receipts: each M-Pesa transaction that brought us money, known once whoever told us of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata

receipts = sa.Table(
    "receipts",
    metadata,
    sa.Column("receipt", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),  # the first that told us
    sa.Column("charge_id", sa.Uuid, sa.ForeignKey("charges.id"), index=True),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),  # by M-Pesa's clock, or ours
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("source IN ('callback', 'c2b', 'pull', 'statement')", name="source"),
    sa.CheckConstraint("amount_cents > 0", name="amount_cents"),
)

REVERSED: Final = "reversed"  # the outcome of what M-Pesa itself gave back (core.reversals)
RETURNED: Final = "returned"  # and of what two people gave back, out of suspense
GONE: Final = (REVERSED, RETURNED)
UNEXPLAINED: Final = "unexplained_money"  # the incident while one lies in suspense

# Has a part of the price of the checkout k come, and not yet become its orders' money?
BEGUN: Final[LiteralString] = """(k.state = 'placed' AND EXISTS (
    SELECT FROM charges c WHERE c.checkout_id = k.id AND (c.state = 'paid' OR EXISTS (
        SELECT FROM receipts r WHERE r.charge_id = c.id AND r.outcome = 'short'))))"""


@dataclass(frozen=True)
class Receipt:
    """A line by which M-Pesa says that money came in.

    receipt: M-Pesa's transaction id. amount_cents: what was paid. reference: the account the payer
    named, as it came. at: when, by M-Pesa's clock.
    """

    source: Literal["callback", "c2b", "pull", "statement"]
    receipt: str
    amount_cents: int
    reference: str
    at: datetime


@dataclass(frozen=True)
class Known:
    """What is on record. charge_id None: nothing explains the money, it lies in suspense.

    gone: or did, before M-Pesa itself gave it back, or two people of ours.
    """

    charge_id: UUID | None
    amount_cents: int
    gone: bool = False


def find(db: Db, receipt: str) -> Known | None:
    return db.row(
        Known,
        """
        SELECT charge_id, amount_cents, charge_id IS NULL AND outcome = ANY(%(gone)s) AS gone
        FROM receipts WHERE receipt = %(receipt)s
        """,
        {"receipt": receipt, "gone": list(GONE)},
    )


def known(db: Db, told: Sequence[str]) -> set[str]:
    """Those of them that are on record."""
    found: list[str] | None = db.value(
        "SELECT array_agg(receipt) FROM receipts WHERE receipt = ANY(%(told)s)",
        {"told": list(told)},
    )
    return set(found or ())


def unexplained(db: Db, receipt: str) -> Receipt | None:
    """One whose money lies in suspense, locked."""
    return db.row(
        Receipt,
        """
        SELECT source, receipt, amount_cents, reference, at FROM receipts
        WHERE receipt = %(receipt)s AND charge_id IS NULL AND outcome <> ALL(%(gone)s)
        FOR NO KEY UPDATE
        """,
        {"receipt": receipt, "gone": list(GONE)},
    )


def unexplained_cents(db: Db) -> int:
    """All that lies in suspense under a receipt."""
    cents: int = db.value(
        """
        SELECT coalesce(sum(amount_cents), 0)::bigint FROM receipts
        WHERE charge_id IS NULL AND outcome <> ALL(%(gone)s)
        """,
        {"gone": list(GONE)},
    )
    return cents


def given_back(db: Db, receipt: str, now: datetime) -> None:
    """It does not lie in suspense any more, and nothing that comes later finds it there."""
    db.run(
        "UPDATE receipts SET outcome = %(returned)s, updated_at = %(now)s WHERE receipt = %(it)s",
        {"returned": RETURNED, "now": now, "it": receipt},
    )


@dataclass(frozen=True)
class Kept:
    """What a receipt paid for. charge_id None: nothing explains it."""

    receipt: Receipt
    charge_id: UUID | None
    outcome: str


def keep(db: Db, receipt: Receipt, charge_id: UUID | None, outcome: str, now: datetime) -> bool:
    """Put it on record with what it paid for. False: it is there already, and stays as it is.

    Money that lay in suspense and is now explained by a charge is moved to that charge.
    """
    return keep_all(db, [Kept(receipt, charge_id, outcome)], now) == 1


def keep_all(db: Db, kept: Sequence[Kept], now: datetime) -> int:
    """The same of several, no two of one receipt; how many are now on record as told here."""
    return db.run(
        """
        INSERT INTO receipts (receipt, source, charge_id, amount_cents, reference, outcome, at,
                              created_at, updated_at)
        SELECT receipt, source, charge_id, amount_cents, reference, outcome, at, %(now)s, %(now)s
        FROM unnest(%(receipts)s::text[], %(sources)s::text[], %(charge_ids)s::uuid[],
                    %(amounts)s::bigint[], %(references)s::text[], %(outcomes)s::text[],
                    %(ats)s::timestamptz[])
            AS r (receipt, source, charge_id, amount_cents, reference, outcome, at)
        ON CONFLICT (receipt) DO UPDATE
        SET charge_id = excluded.charge_id, outcome = excluded.outcome, updated_at = %(now)s
        WHERE receipts.charge_id IS NULL AND excluded.charge_id IS NOT NULL
        """,
        {
            "receipts": [each.receipt.receipt for each in kept],
            "sources": [each.receipt.source for each in kept],
            "charge_ids": [each.charge_id for each in kept],
            "amounts": [each.receipt.amount_cents for each in kept],
            "references": [each.receipt.reference for each in kept],
            "outcomes": [each.outcome for each in kept],
            "ats": [each.receipt.at for each in kept],
            "now": now,
        },
    )
