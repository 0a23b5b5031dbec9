"""Freezes: members whose money may not leave until somebody lifts it (a lost phone, a doubt)."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from core import outbox
from core.database import Db, metadata

freezes = sa.Table(
    "freezes",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("frozen_by", sa.Text, nullable=False),
    sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("lifted_by", sa.Text),
    sa.Column("lifted_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("(lifted_by IS NULL) = (lifted_at IS NULL)", name="lifted"),
    sa.Index(
        "uq_freezes_open",
        "member_id",
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    ),
    sa.Index("ix_freezes_member_id", "member_id"),
)


def freeze(
    db: Db, member_id: UUID, reason: str, by: str, now: datetime
) -> Literal["frozen", "already_frozen"]:
    """From now on no money of the member's is sent; what M-Pesa already has, it has.

    reason: for the record, without personal data. by: the operator, or "system".
    """
    # The lock that whoever asks for a payout takes: what was asked before is seen, nothing after.
    db.run("SELECT FROM members WHERE id = %(id)s FOR NO KEY UPDATE", {"id": member_id})
    frozen = db.run(
        """
        INSERT INTO freezes (id, member_id, reason, frozen_by, frozen_at)
        VALUES (%(id)s, %(member_id)s, %(reason)s, %(by)s, %(now)s)
        ON CONFLICT (member_id) WHERE lifted_at IS NULL DO NOTHING
        """,
        {"id": db.new_id(), "member_id": member_id, "reason": reason, "by": by, "now": now},
    )
    return "frozen" if frozen else "already_frozen"


def lift(db: Db, member_id: UUID, by: str, now: datetime) -> Literal["lifted", "not_frozen", "own"]:
    """What waited goes on its way. "own": whoever froze it may not lift it; a second person may."""
    frozen_by = db.value(
        """
        SELECT frozen_by FROM freezes
        WHERE member_id = %(member_id)s AND lifted_at IS NULL FOR NO KEY UPDATE
        """,
        {"member_id": member_id},
    )
    if frozen_by is None:
        return "not_frozen"
    if by in (frozen_by, str(member_id)):
        return "own"
    db.run(
        """
        UPDATE freezes SET lifted_by = %(by)s, lifted_at = %(now)s
        WHERE member_id = %(member_id)s AND lifted_at IS NULL
        """,
        {"member_id": member_id, "by": by, "now": now},
    )
    outbox.put(db, "resume_payouts", due_at=now)
    outbox.put(db, "refund_balance", due_at=now, member_id=member_id)
    outbox.put(db, "pay_earnings", due_at=now, member_id=member_id)
    return "lifted"


def is_frozen(db: Db, member_id: UUID) -> bool:
    """Also where there is no number that money could go to (core.number_changes)."""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM freezes
                           WHERE member_id = %(member_id)s AND lifted_at IS NULL)
                OR EXISTS (SELECT FROM members WHERE id = %(member_id)s AND msisdn IS NULL)
            """,
            {"member_id": member_id},
        )
    )
