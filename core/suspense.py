"""Suspense: money that nobody could explain, until one of ours says what it paid for, or to which
member it goes back, and another agrees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from core import (
    charges,
    incidents,
    ledger,
    members,
    orders,
    reasons,
    receipts,
    refunds,
    settlements,
    staff,
)
from core.database import Db, metadata
from core.staff import Actor

explanations = sa.Table(
    "explanations",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("receipt", sa.Text, sa.ForeignKey("receipts.receipt"), nullable=False),
    sa.Column("charge_id", sa.Uuid, sa.ForeignKey("charges.id")),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id")),  # whom it goes back to, else
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
    sa.CheckConstraint("(charge_id IS NULL) <> (member_id IS NULL)", name="whose"),
    sa.CheckConstraint("state <> 'booked' OR decided_by <> proposed_by", name="two_people"),
    sa.CheckConstraint(reasons.FITS, name="reason"),
    sa.Index(
        "uq_explanations_receipt",
        "receipt",
        unique=True,
        postgresql_where=sa.text("state <> 'declined'"),
    ),
    sa.Index(
        "ix_explanations_member_id",
        "member_id",
        postgresql_where=sa.text("member_id IS NOT NULL"),
    ),
)


Proposed = Literal[
    "proposed", "not_allowed", "not_in_suspense", "party", "already_proposed", "no_reason"
]


@dataclass(frozen=True)
class Unexplained:
    """reference: the account its payer named, as it came; it may be a name. order_number: of the
    order it is said to be for, member_id: or of whom it is to go back to, while that waits for a
    second person.
    """

    receipt: str
    amount_cents: int
    reference: str = field(repr=False)
    at: datetime
    order_number: int | None
    member_id: UUID | None


def unexplained(db: Db) -> list[Unexplained]:
    """All that lies in suspense, the oldest first."""
    return db.rows(
        Unexplained,
        """
        SELECT r.receipt, r.amount_cents, r.reference, r.at,
               (SELECT min(o.number) FROM explanations x
                JOIN charges c ON c.id = x.charge_id
                JOIN orders o ON o.checkout_id = c.checkout_id
                WHERE x.receipt = r.receipt AND x.state = 'proposed') AS order_number,
               (SELECT x.member_id FROM explanations x
                WHERE x.receipt = r.receipt AND x.state = 'proposed') AS member_id
        FROM receipts r WHERE r.charge_id IS NULL AND r.outcome <> ALL(%(gone)s)
        ORDER BY r.at, r.receipt
        """,
        {"gone": list(receipts.GONE)},
    )


def explain(
    db: Db, receipt: str, order_number: int, by: Actor, reason: str, now: datetime
) -> Proposed | Literal["no_order"]:
    """An operator says that it was meant for this order, and why; nothing moves yet."""
    if not by.may("operator"):
        return "not_allowed"
    if not _lies_here(db, receipt):
        return "not_in_suspense"
    found = orders.numbered(db, order_number)
    attempts = charges.of_checkout(db, found.checkout_id) if found else []
    if found is None or not attempts:
        return "no_order"
    charge_id = max(attempts, key=lambda charge: charge.id).id
    meant = _Meant(charge_id, None, {"order": order_number})
    return _propose(db, receipt, meant, by, reason, now)


def give_back(
    db: Db, receipt: str, msisdn: str, by: Actor, reason: str, now: datetime
) -> Proposed | Literal["no_one_member"]:
    """An operator says that this member paid it, for nothing of ours, and how that is known.

    Nothing moves yet. Whoever is no member becomes one first: money goes to people we know.
    """
    if not by.may("operator"):
        return "not_allowed"
    if not _lies_here(db, receipt):
        return "not_in_suspense"
    member = members.by_msisdn(db, msisdn)
    if member is None:
        return "no_one_member"
    meant = _Meant(None, member.id, {"member": str(member.id)})
    return _propose(db, receipt, meant, by, reason, now)


def approve(
    db: Db, receipt: str, by: Actor, now: datetime
) -> (
    settlements.More
    | Literal["returned", "not_allowed", "not_proposed", "own", "party", "not_in_suspense"]
):
    """A second person agrees: it is the buyer's, and pays her order if that still waits for it.

    "returned": it is the member's who paid it, and is sent back as every refund is.
    """
    if not by.may("approver"):
        return "not_allowed"
    proposed = _proposed(db, receipt)
    if proposed is None:
        return "not_proposed"
    if proposed.proposed_by == by.who.id:
        incidents.open(db, "explanation_own_approval", receipt, now, by=by.name)
        return "own"
    if _is_party(db, proposed.charge_id, proposed.member_id, receipt, by, now):
        return "party"
    booked: settlements.More | Literal["returned", "not_in_suspense"]
    if proposed.charge_id is not None:
        booked = settlements.explain(db, receipt, proposed.charge_id, now)
    else:
        assert proposed.member_id is not None, f"explanation {proposed.id} is of nobody"
        booked = _return(db, receipt, proposed.member_id, now)
    if booked == "not_in_suspense":
        return booked
    _decide(db, proposed, "booked", by, now)
    incidents.end(db, receipts.UNEXPLAINED, receipt, f"explained by {by.name}", now)
    return booked


def decline(
    db: Db, receipt: str, by: Actor, now: datetime
) -> Literal["declined", "not_allowed", "not_proposed"]:
    """A second person does not agree, or whoever said so takes it back."""
    proposed = _proposed(db, receipt)
    if proposed is None:
        return "not_proposed"
    if not by.may_decline(proposed.proposed_by, proposed.proposed_at):
        return "not_allowed"
    _decide(db, proposed, "declined", by, now)
    return "declined"


@dataclass(frozen=True)
class _Meant:
    """What one of ours says of it: the charge it was for, or the member it goes back to.

    shown: of that, for the audit log.
    """

    charge_id: UUID | None
    member_id: UUID | None
    shown: Mapping[str, object]


def _propose(
    db: Db, receipt: str, meant: _Meant, by: Actor, reason: str, now: datetime
) -> Proposed:
    if _is_party(db, meant.charge_id, meant.member_id, receipt, by, now):
        return "party"
    if _proposed(db, receipt) is not None:
        return "already_proposed"
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    db.run(
        """
        INSERT INTO explanations (id, receipt, charge_id, member_id, state, reason, proposed_by,
                                  proposed_at)
        VALUES (%(id)s, %(receipt)s, %(charge_id)s, %(member_id)s, 'proposed', %(reason)s, %(by)s,
                %(now)s)
        """,
        {
            "id": db.new_id(),
            "receipt": receipt,
            "charge_id": meant.charge_id,
            "member_id": meant.member_id,
            "reason": reason,
            "by": by.who.id,
            "now": now,
        },
    )
    after = {"state": "proposed", **meant.shown, "reason": reason}
    by.write(db, "explanation_proposed", f"receipt {receipt}", {}, after, now)
    return "proposed"


def _return(
    db: Db, receipt: str, member_id: UUID, now: datetime
) -> Literal["returned", "not_in_suspense"]:
    """It is the member's, under the key of every explanation, so that there is one only."""
    held = receipts.unexplained(db, receipt)
    if held is None:
        return "not_in_suspense"
    legs = [
        ledger.debit(ledger.SUSPENSE, held.amount_cents),
        ledger.credit(ledger.buyer(member_id), held.amount_cents),
    ]
    ledger.post(db, "receipt", f"receipt:{receipt}:explained", legs, now)
    receipts.given_back(db, receipt, now)
    refunds.due(db, member_id, now)
    return "returned"


@dataclass(frozen=True)
class _Proposed:
    id: UUID
    receipt: str
    charge_id: UUID | None
    member_id: UUID | None
    proposed_by: UUID
    proposed_at: datetime


def _proposed(db: Db, receipt: str) -> _Proposed | None:
    """The one that waits for a second person."""
    _take_turns(db, receipt)
    return db.row(
        _Proposed,
        """
        SELECT id, receipt, charge_id, member_id, proposed_by, proposed_at FROM explanations
        WHERE receipt = %(receipt)s AND state = 'proposed'
        """,
        {"receipt": receipt},
    )


def _lies_here(db: Db, receipt: str) -> bool:
    _take_turns(db, receipt)
    return bool(
        db.value(
            """
            SELECT charge_id IS NULL AND outcome <> ALL(%(gone)s) FROM receipts
            WHERE receipt = %(receipt)s
            """,
            {"receipt": receipt, "gone": list(receipts.GONE)},
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


def _is_party(
    db: Db,
    charge_id: UUID | None,
    member_id: UUID | None,
    receipt: str,
    by: Actor,
    now: datetime,
) -> bool:
    """Nobody of ours says that money is their own, or pays what they bought, sell or were asked to
    pay; who tries is told of.
    """
    ids = [member_id] if member_id else []
    is_asked = False
    if charge_id is not None:
        found = db.row(
            _Parties,
            """
            SELECT k.buyer_id,
                   (SELECT array_agg(seller_id) FROM orders WHERE checkout_id = k.id) AS seller_ids,
                   EXISTS (SELECT FROM charges WHERE checkout_id = k.id
                           AND msisdn = ANY(%(phones)s)) AS is_asked
            FROM charges c JOIN checkouts k ON k.id = c.checkout_id WHERE c.id = %(id)s
            """,
            {"id": charge_id, "phones": list(staff.lines_of(db, by.who))},
        )
        assert found is not None, f"no charge {charge_id}"
        ids, is_asked = [found.buyer_id, *found.seller_ids], found.is_asked
    if not is_asked and not staff.is_member(db, by.who, *ids):
        return False
    incidents.open(db, "explanation_by_a_party", receipt, now, by=by.name)
    return True


@dataclass(frozen=True)
class _Parties:
    """Of a charge's checkout. is_asked: the phone of whoever acts was, or is, to pay it."""

    buyer_id: UUID
    seller_ids: list[UUID]
    is_asked: bool


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
