"""Audit: every act of staff, written down with the act itself and never changed afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from core.database import Db, metadata

# The database itself refuses to change or delete a row of it (refuse_change).
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),  # from where they acted
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("before", JSONB, nullable=False),
    sa.Column("after", JSONB, nullable=False),
    sa.Index("ix_audit_log_subject", "subject", "at"),
    sa.Index("ix_audit_log_at", "at"),
)


@dataclass(frozen=True)
class Act:
    """One line. before, after: what the act changed, and the reason that was given for it."""

    at: datetime
    who: str
    origin: str
    what: str
    subject: str
    before: dict[str, Any]
    after: dict[str, Any]


def write(
    db: Db,
    who: str,
    origin: str,
    what: str,
    subject: object,
    before: Mapping[str, object],
    after: Mapping[str, object],
    now: datetime,
) -> None:
    """Put an act down; it stays if the act does.

    who: the name of a member of staff. origin: from where, as "terminal amina@desk". subject: the
    id of what it is about, or "case 5001". before, after: states, amounts and reasons as JSON, no
    phone number.
    """
    db.run(
        """
        INSERT INTO audit_log (id, at, who, origin, what, subject, before, after)
        VALUES (%(id)s, %(now)s, %(who)s, %(origin)s, %(what)s, %(subject)s, %(before)s, %(after)s)
        """,
        {
            "id": db.new_id(),
            "now": now,
            "who": who,
            "origin": origin,
            "what": what,
            "subject": str(subject),
            "before": Jsonb(_plain(before)),
            "after": Jsonb(_plain(after)),
        },
    )


def newest(db: Db, limit: int) -> list[Act]:
    """The last acts of all, the newest first."""
    return db.rows(
        Act,
        """
        SELECT at, who, origin, what, subject, before, after FROM audit_log
        ORDER BY at DESC, id DESC LIMIT %(limit)s
        """,
        {"limit": limit},
    )


def of(db: Db, subject: object) -> list[Act]:
    """What was done about this, oldest first."""
    return db.rows(
        Act,
        """
        SELECT at, who, origin, what, subject, before, after FROM audit_log
        WHERE subject = %(subject)s ORDER BY at, id
        """,
        {"subject": str(subject)},
    )


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """With ids and moments as text."""
    return {
        name: str(value) if isinstance(value, UUID | datetime) else value
        for name, value in values.items()
    }
