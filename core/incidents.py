"""Incidents: what a person should look at, one open at a time for each kind and subject."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from core.database import Db, metadata

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("detail", JSONB, nullable=False),
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    sa.Column("note", sa.Text),
    sa.Index(
        "uq_incidents_open",
        "kind",
        "subject",
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
)


def open(  # noqa: A001 - read as incidents.open
    db: Db, kind: str, subject: object, now: datetime, **detail: object
) -> UUID | None:
    """Tell the operators. None: the same is open already, and stays as it is.

    subject: the id of what it is about. detail: codes and amounts, never personal data.
    """
    found: UUID | None = db.value(
        """
        INSERT INTO incidents (id, kind, subject, detail, opened_at)
        VALUES (%(id)s, %(kind)s, %(subject)s, %(detail)s, %(now)s)
        ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO NOTHING
        RETURNING id
        """,
        {
            "id": db.new_id(),
            "kind": kind,
            "subject": str(subject),
            "detail": Jsonb(detail),
            "now": now,
        },
    )
    return found


@dataclass(frozen=True)
class Incident:
    """detail: codes and amounts, as given to open and amend."""

    id: UUID
    detail: dict[str, Any]


def find_open(db: Db, kind: str, subject: object) -> Incident | None:
    """The one that is open for this kind and subject, locked."""
    return db.row(
        Incident,
        """
        SELECT id, detail FROM incidents
        WHERE kind = %(kind)s AND subject = %(subject)s AND closed_at IS NULL
        FOR NO KEY UPDATE
        """,
        {"kind": kind, "subject": str(subject)},
    )


def amend(db: Db, incident_id: UUID, **detail: object) -> None:
    """Add to what is known of it, or correct it."""
    db.run(
        "UPDATE incidents SET detail = detail || %(detail)s WHERE id = %(id)s",
        {"id": incident_id, "detail": Jsonb(detail)},
    )


def close(db: Db, incident_id: UUID, note: str, now: datetime) -> None:
    """It is over. note: how that was learned; no personal data."""
    db.run(
        """
        UPDATE incidents SET closed_at = %(now)s, note = %(note)s
        WHERE id = %(id)s AND closed_at IS NULL
        """,
        {"id": incident_id, "note": note, "now": now},
    )


def end(db: Db, kind: str, subject: object, note: str, now: datetime) -> None:
    """Close the one that is open for this kind and subject, if one is."""
    found = find_open(db, kind, subject)
    if found is not None:
        close(db, found.id, note, now)


@dataclass(frozen=True)
class Open:
    """One that waits for somebody. subject: the id or name of what it is about."""

    id: UUID
    kind: str
    subject: str
    detail: dict[str, Any]
    opened_at: datetime


_OPEN: Final[LiteralString] = """
    SELECT id, kind, subject, detail, opened_at FROM incidents WHERE closed_at IS NULL"""


def undone(db: Db, limit: int) -> list[Open]:
    """All that are open, the oldest first."""
    return db.rows(Open, f"{_OPEN} ORDER BY opened_at, id LIMIT %(limit)s", {"limit": limit})


def about(db: Db, subjects: Sequence[str]) -> list[Open]:
    """Those that are open for any of these, the oldest first."""
    return db.rows(
        Open,
        f"{_OPEN} AND subject = ANY(%(subjects)s) ORDER BY opened_at, id",
        {"subjects": list(subjects)},
    )


def ending(db: Db, letters: str) -> list[Open]:
    """The open ones whose id ends so, in hex digits without dashes."""
    return db.rows(
        Open, f"{_OPEN} AND replace(id::text, '-', '') LIKE %(end)s", {"end": f"%{letters}"}
    )
