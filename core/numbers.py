"""Numbers: which phone numbers a member has had, and from when on money may go to the present one.

A number is not a person: its owner loses the SIM and comes with another, or the network gives it to
somebody else. What was asked of a number, or promised to it, is looked up here before it is done.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import reasons
from core.database import Db, metadata

STATES: Final = ("proposed", "approved", "done", "void", "declined")
# Of the charge c of the buyer m: was it to her own line, which has been taken from her since?
LEFT_BY_BUYER: Final[LiteralString] = """EXISTS (
    SELECT FROM number_changes n
    WHERE n.member_id = m.id AND n.state = 'done'
      AND n.from_msisdn = c.msisdn AND n.ended_at >= c.created_at)"""
# Of the charge c, to whomever's line: the change n took it from its owner since. Not where somebody
# has stayed on it: two had shared that phone.
_LEFT: Final[LiteralString] = """
    n.state = 'done' AND n.from_msisdn = c.msisdn AND n.ended_at >= c.created_at
    AND NOT EXISTS (
        SELECT FROM members stays
        WHERE stays.msisdn = c.msisdn AND stays.deleted_at IS NULL
          AND stays.created_at <= c.created_at
          AND NOT EXISTS (SELECT FROM number_changes came
                          WHERE came.member_id = stays.id AND came.state = 'done'
                            AND came.to_msisdn = c.msisdn AND came.ended_at >= c.created_at))"""
LEFT: Final[LiteralString] = (
    f"({LEFT_BY_BUYER} OR EXISTS (SELECT FROM number_changes n WHERE {_LEFT}))"
)
# Of the charge c of the buyer m: where whoever paid it is by now; with her, if that is nowhere.
PAYER_NOW: Final[LiteralString] = f"""coalesce((
    SELECT coalesce(p.msisdn, m.msisdn)
    FROM number_changes n JOIN members p ON p.id = n.member_id
    WHERE {_LEFT}
    ORDER BY n.ended_at LIMIT 1), c.msisdn)"""

number_changes = sa.Table(
    "number_changes",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("from_msisdn", sa.Text),  # NULL: there was none
    sa.Column("to_msisdn", sa.Text),  # NULL: there is none, until one is approved
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("proposed_by", sa.Uuid, sa.ForeignKey("staff.id"), nullable=False),
    sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("decided_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.Column("decided_at", sa.DateTime(timezone=True)),
    sa.Column("ended_at", sa.DateTime(timezone=True)),  # when it was carried out, or could not be
    sa.Column("cool_until", sa.DateTime(timezone=True)),  # no money goes to the new one before
    sa.CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
    sa.CheckConstraint("from_msisdn IS DISTINCT FROM to_msisdn", name="changes"),
    sa.CheckConstraint(r"to_msisdn ~ '^\+[1-9][0-9]{6,14}$'", name="msisdn"),
    sa.CheckConstraint(reasons.FITS, name="reason"),
    sa.CheckConstraint(
        "(state = 'proposed') = (decided_by IS NULL)"
        " AND (decided_by IS NULL) = (decided_at IS NULL)",
        name="decided",
    ),
    sa.CheckConstraint("state = 'declined' OR decided_by <> proposed_by", name="two_people"),
    sa.CheckConstraint("(state IN ('done', 'void')) = (ended_at IS NOT NULL)", name="ended"),
    sa.CheckConstraint(
        "(cool_until IS NOT NULL) = (state = 'done' AND to_msisdn IS NOT NULL)", name="cools"
    ),
    sa.Index(
        "uq_number_changes_open",
        "member_id",
        unique=True,
        postgresql_where=sa.text("state IN ('proposed', 'approved')"),
    ),
    sa.Index(
        "ix_number_changes_done",
        "member_id",
        "ended_at",
        postgresql_where=sa.text("state = 'done'"),
    ),
)


def cools_until(db: Db, member_id: UUID, msisdn: str, now: datetime) -> datetime | None:
    """Until when no money of the member's goes to that number. None: it may go now.

    A number cools while it is new to whoever has it now, since what another paid follows her there;
    the member's own also while its PIN is new (core.pin_resets).
    """
    found: datetime | None = db.value(
        """
        SELECT greatest(
            (SELECT max(cool_until) FROM number_changes
             WHERE state = 'done' AND to_msisdn = %(msisdn)s AND cool_until > %(now)s),
            (SELECT max(r.cool_until) FROM pin_resets r JOIN members m ON m.id = r.member_id
             WHERE r.member_id = %(member_id)s AND r.state = 'used' AND m.msisdn = %(msisdn)s
               AND r.cool_until > %(now)s))
        """,
        {"member_id": member_id, "msisdn": msisdn, "now": now},
    )
    return found


def now_of(db: Db, member_id: UUID, msisdn: str, since: datetime) -> str:
    """Where money for that number goes by now: where it was the member's own then, to the new."""
    found: str | None = db.value(
        """
        SELECT m.msisdn FROM members m
        WHERE m.id = %(member_id)s AND EXISTS (
            SELECT FROM number_changes n
            WHERE n.member_id = m.id AND n.state = 'done'
              AND n.from_msisdn = %(msisdn)s AND n.ended_at >= %(since)s)
        """,
        {"member_id": member_id, "msisdn": msisdn, "since": since},
    )
    return found or msisdn


def was_left(db: Db, msisdn: str, since: datetime) -> bool:
    """Whether its owner has come away from that number since then, and nobody stayed on it."""
    return bool(
        db.value(
            f"""
            SELECT EXISTS (SELECT FROM number_changes n,
                               (SELECT %(msisdn)s AS msisdn, %(since)s AS created_at) AS c
                           WHERE {_LEFT})
            """,
            {"msisdn": msisdn, "since": since},
        )
    )


@dataclass(frozen=True)
class Had:
    """A member who once had a number. until: when they had another, or none, in its place."""

    member_id: UUID
    until: datetime


def had(db: Db, msisdn: str) -> list[Had]:
    """Who had that number and has it no more, the last first; whoever has it now is not asked."""
    return db.rows(
        Had,
        """
        SELECT n.member_id, max(n.ended_at) AS until
        FROM number_changes n JOIN members m ON m.id = n.member_id
        WHERE n.from_msisdn = %(msisdn)s AND n.state = 'done'
          AND m.deleted_at IS NULL AND m.msisdn IS DISTINCT FROM %(msisdn)s
        GROUP BY n.member_id ORDER BY until DESC, n.member_id
        """,
        {"msisdn": msisdn},
    )


def of_owner(db: Db, msisdn: str) -> set[str]:
    """That number, and all that whoever has it, or had it once, has and has had."""
    found: list[str] | None = db.value(
        """
        SELECT array_agg(line)
        FROM members m
        LEFT JOIN number_changes n ON n.member_id = m.id AND n.state = 'done'
        CROSS JOIN LATERAL (VALUES (m.msisdn), (n.from_msisdn), (n.to_msisdn)) AS l (line)
        WHERE line IS NOT NULL
          AND (m.msisdn = %(msisdn)s
               OR m.id IN (SELECT member_id FROM number_changes
                           WHERE from_msisdn = %(msisdn)s AND state = 'done'))
        """,
        {"msisdn": msisdn},
    )
    return {msisdn, *(found or ())}


def were_of(db: Db, msisdn: str, member_ids: Collection[UUID]) -> bool:
    """Whether one of these members has that number, or had it once."""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM members
                           WHERE id = ANY(%(ids)s) AND msisdn = %(msisdn)s)
                OR EXISTS (SELECT FROM number_changes
                           WHERE member_id = ANY(%(ids)s) AND from_msisdn = %(msisdn)s
                             AND state = 'done')
            """,
            {"ids": list(member_ids), "msisdn": msisdn},
        )
    )
