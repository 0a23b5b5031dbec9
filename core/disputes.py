"""Disputes: what a buyer says is wrong with an order, while its money waits for a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, get_args
from uuid import UUID

import sqlalchemy as sa

from core import cases, escrow, incidents, orders
from core.database import Db, metadata

Reason = Literal["rotten", "less", "wrong", "not_come", "other"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

Stands = Literal["disputable", "already_open", "not_yet", "too_late"]

ANSWER_WITHIN: Final = timedelta(hours=48)  # the seller's time to answer
UNDECIDED: Final = ("open", "seller_reply", "review")
STATES: Final = (*UNDECIDED, "resolved_buyer", "resolved_seller", "resolved_split", "withdrawn")

# By the order's state; in any other its money has left the escrow.
_STANDS: Final[Mapping[str, Stands]] = {
    "placed": "not_yet",
    "paid": "not_yet",
    "accepted": "not_yet",
    "dispatched": "disputable",
    "delivered": "disputable",
    "disputed": "already_open",
}

disputes = sa.Table(
    "disputes",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),  # cases.new_number
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), nullable=False, index=True),
    sa.Column("opened_by", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("words", sa.Text),  # as the buyer typed them
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("answer_by", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(f"reason IN ({', '.join(map(repr, REASONS))})", name="reason"),
    sa.CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
    sa.Index(
        "uq_disputes_undecided",
        "order_id",
        unique=True,
        postgresql_where=sa.text(f"state IN ({', '.join(map(repr, UNDECIDED))})"),
    ),
    sa.Index("ix_disputes_opened_by", "opened_by", "opened_at"),
)


@dataclass(frozen=True)
class Dispute:
    """number: what people say, "case 5001". words: the buyer's own, if any."""

    id: UUID
    number: int
    order_id: UUID
    opened_by: UUID
    reason: Reason
    words: str | None = field(repr=False)
    state: str
    opened_at: datetime
    answer_by: datetime


@dataclass(frozen=True)
class Disputable:
    """An order whose buyer may say that something is wrong."""

    order_id: UUID
    number: int
    seller_name: str = field(repr=False)
    total_cents: int


def open(  # noqa: A001 - read as disputes.open
    db: Db, order_id: UUID, member_id: UUID, reason: Reason, words: str | None, now: datetime
) -> Literal["opened", "already_open", "not_yet", "too_late", "not_yours"]:
    """The buyer says that something is wrong: the money stays where it is until that is decided.

    The order's timers find it disputed and do nothing; buyer, seller and operators hear of it.
    "not_yet": it was not sent, and she can cancel it. "too_late": its money is not held any more.
    "not_yours": it is not an order of hers.
    """
    order = orders.lock_one(db, order_id)
    if order is None or order.buyer_id != member_id:
        return "not_yours"
    stands = _STANDS.get(order.state, "too_late")
    if stands != "disputable":
        return stands
    number = cases.new_number(db)
    db.run(
        """
        INSERT INTO disputes (id, number, order_id, opened_by, reason, words, state, opened_at,
                              answer_by, updated_at)
        VALUES (%(id)s, %(number)s, %(order_id)s, %(member_id)s, %(reason)s, %(words)s, 'open',
                %(now)s, %(answer_by)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "number": number,
            "order_id": order_id,
            "member_id": member_id,
            "reason": reason,
            "words": words,
            "now": now,
            "answer_by": now + ANSWER_WITHIN,
        },
    )
    escrow.freeze(db, order_id, now)
    orders.move(db, order_id, "disputed", now, case=str(number), problem=reason)
    incidents.open(db, "disputed", order_id, now, case=number, order=order.number, problem=reason)
    return "opened"


def stands(
    db: Db, order_id: UUID, member_id: UUID
) -> Literal["disputable", "already_open", "not_yet", "too_late", "not_yours"]:
    """What open would say to her now; nothing is locked."""
    state: str | None = db.value(
        "SELECT state FROM orders WHERE id = %(order_id)s AND buyer_id = %(member_id)s",
        {"order_id": order_id, "member_id": member_id},
    )
    return "not_yours" if state is None else _STANDS.get(state, "too_late")


def disputable(db: Db, member_id: UUID, limit: int) -> list[Disputable]:
    """Her orders of which she may complain, and those of which she did; the newest first."""
    return db.rows(
        Disputable,
        """
        SELECT o.id AS order_id, o.number, s.name AS seller_name, o.total_cents
        FROM orders o JOIN members s ON s.id = o.seller_id
        WHERE o.buyer_id = %(member_id)s AND o.state IN ('dispatched', 'delivered', 'disputed')
        ORDER BY o.number DESC LIMIT %(limit)s
        """,
        {"member_id": member_id, "limit": limit},
    )


def of_order(db: Db, order_id: UUID) -> Dispute | None:
    """The one that holds the order's money; None: nobody complains of it."""
    return db.row(
        Dispute,
        """
        SELECT id, number, order_id, opened_by, reason, words, state, opened_at, answer_by
        FROM disputes
        WHERE order_id = %(order_id)s AND state IN ('open', 'seller_reply', 'review')
        """,
        {"order_id": order_id},
    )
