"""Incidents: what a person should look at, one open at a time for each kind and subject."""

from datetime import datetime
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
