"""Suspense: money that nobody could explain, until one of ours says what it paid for and another
agrees.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa

from core import charges, incidents, orders, receipts, staff
from core.database import Db, metadata
from core.staff import Actor

REASON_LETTERS_MIN: Final = 10
REASON_LETTERS_MAX: Final = 500

explanations = sa.Table(
    "explanations",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("receipt", sa.Text, sa.ForeignKey("receipts.receipt"), nullable=False),
    sa.Column("charge_id", sa.Uuid, sa.ForeignKey("charges.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("proposed_by", sa.Uuid, sa.ForeignKey("staff.id"), nullable=False),
    sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("decided_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.Column("decided_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("state IN ('proposed', 'booked', 'declined')", name="state"),
    sa.CheckConstraint(
        "(state = 'proposed') = (decided_by IS NULL)"
        " AND (decided_by IS NULL) = (decided_at IS NULL)",
        name="decided",
    ),
    sa.CheckConstraint("state <> 'booked' OR decided_by <> proposed_by", name="two_people"),
    sa.CheckConstraint(
        f"char_length(reason) BETWEEN {REASON_LETTERS_MIN} AND {REASON_LETTERS_MAX}", name="reason"
    ),
    sa.Index(
        "uq_explanations_receipt",
        "receipt",
        unique=True,
        postgresql_where=sa.text("state <> 'declined'"),
    ),
)


@dataclass(frozen=True)
class Unexplained:
    """reference: the account its payer named, as it came; it may be a name. order_number: of the
    order it is said to be for, while that waits for a second person.
    """

    receipt: str
    amount_cents: int
    reference: str = field(repr=False)
    at: datetime
    order_number: int | None


def unexplained(db: Db) -> list[Unexplained]:
    """All that lies in suspense, the oldest first."""
    return db.rows(
        Unexplained,
        """
        SELECT r.receipt, r.amount_cents, r.reference, r.at,
               (SELECT min(o.number) FROM explanations x
                JOIN charges c ON c.id = x.charge_id
                JOIN orders o ON o.checkout_id = c.checkout_id
                WHERE x.receipt = r.receipt AND x.state = 'proposed') AS order_number
        FROM receipts r WHERE r.charge_id IS NULL AND r.outcome <> 'reversed'
        ORDER BY r.at, r.receipt
        """,
    )


def explain(
    db: Db, receipt: str, order_number: int, by: Actor, reason: str, now: datetime
) -> Literal[
    "proposed", "not_allowed", "not_in_suspense", "no_order", "party", "already_proposed",
    "no_reason",
]:  # fmt: skip
    """An operator says that it was meant for this order, and why; nothing moves yet."""
    if not by.may("operator"):
        return "not_allowed"
    if not _lies_here(db, receipt):
        return "not_in_suspense"
    found = orders.numbered(db, order_number)
    attempts = charges.of_checkout(db, found.checkout_id) if found else []
    if found is None or not attempts:
        return "no_order"
    if _is_party(db, found.buyer_id, receipt, by, now):
        return "party"
    if _proposed(db, receipt) is not None:
        return "already_proposed"
    reason = " ".join(reason.split())
    if not REASON_LETTERS_MIN <= len(reason) <= REASON_LETTERS_MAX:
        return "no_reason"
    db.run(
        """
        INSERT INTO explanations (id, receipt, charge_id, state, reason, proposed_by, proposed_at)
        VALUES (%(id)s, %(receipt)s, %(charge_id)s, 'proposed', %(reason)s, %(by)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "receipt": receipt,
            "charge_id": max(attempts, key=lambda charge: charge.id).id,
            "reason": reason,
            "by": by.who.id,
            "now": now,
        },
    )
    after = {"state": "proposed", "order": order_number, "reason": reason}
    by.write(db, "explanation_proposed", f"receipt {receipt}", {}, after, now)
    return "proposed"


def approve(
    db: Db, receipt: str, by: Actor, now: datetime
) -> charges.More | Literal["not_allowed", "not_proposed", "own", "party", "not_in_suspense"]:
    """A second person agrees: it is the buyer's, and pays her order if that still waits for it."""
    if not by.may("approver"):
        return "not_allowed"
    proposed = _proposed(db, receipt)
    if proposed is None:
        return "not_proposed"
    if proposed.proposed_by == by.who.id:
        incidents.open(db, "explanation_own_approval", receipt, now, by=by.name)
        return "own"
    if _is_party(db, proposed.buyer_id, receipt, by, now):
        return "party"
    booked = charges.explain(db, receipt, proposed.charge_id, now)
    if booked == "not_in_suspense":
        return booked
    _decide(db, proposed, "booked", by, now)
    found = incidents.find_open(db, receipts.UNEXPLAINED, receipt)
    if found is not None:
        incidents.close(db, found.id, f"explained by {by.name}", now)
    return booked


def decline(
    db: Db, receipt: str, by: Actor, now: datetime
) -> Literal["declined", "not_allowed", "not_proposed"]:
    """A second person does not agree, or whoever said so takes it back."""
    proposed = _proposed(db, receipt)
    if proposed is None:
        return "not_proposed"
    if not (by.may("approver") or proposed.proposed_by == by.who.id):
        return "not_allowed"
    _decide(db, proposed, "declined", by, now)
    return "declined"


@dataclass(frozen=True)
class _Proposed:
    id: UUID
    receipt: str
    charge_id: UUID
    proposed_by: UUID
    buyer_id: UUID


def _proposed(db: Db, receipt: str) -> _Proposed | None:
    """The one that waits for a second person."""
    _take_turns(db, receipt)
    return db.row(
        _Proposed,
        """
        SELECT x.id, x.receipt, x.charge_id, x.proposed_by, k.buyer_id
        FROM explanations x
        JOIN charges c ON c.id = x.charge_id
        JOIN checkouts k ON k.id = c.checkout_id
        WHERE x.receipt = %(receipt)s AND x.state = 'proposed'
        """,
        {"receipt": receipt},
    )


def _lies_here(db: Db, receipt: str) -> bool:
    _take_turns(db, receipt)
    return bool(
        db.value(
            """
            SELECT charge_id IS NULL AND outcome <> 'reversed' FROM receipts
            WHERE receipt = %(receipt)s
            """,
            {"receipt": receipt},
        )
    )


def _take_turns(db: Db, receipt: str) -> None:
    """Of two who speak of one receipt the second sees what the first did. Its row is locked after
    the checkout's, as whoever books it does.
    """
    db.run(
        "SELECT pg_advisory_xact_lock(hashtextextended('explain ' || %(receipt)s, 0))",
        {"receipt": receipt},
    )


def _is_party(db: Db, buyer_id: UUID, receipt: str, by: Actor, now: datetime) -> bool:
    """Nobody of ours says that money is their own; who tries is told of."""
    if not staff.is_member(db, by.who, buyer_id):
        return False
    incidents.open(db, "explanation_by_a_party", receipt, now, by=by.name)
    return True


def _decide(
    db: Db, proposed: _Proposed, state: Literal["booked", "declined"], by: Actor, now: datetime
) -> None:
    db.run(
        """
        UPDATE explanations SET state = %(state)s, decided_by = %(by)s, decided_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "by": by.who.id, "now": now, "id": proposed.id},
    )
    subject = f"receipt {proposed.receipt}"
    by.write(db, f"explanation_{state}", subject, {"state": "proposed"}, {"state": state}, now)
