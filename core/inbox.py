"""Inbox: what providers send us, kept exactly as it came before anyone reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from core import outbox
from core.database import Db, metadata

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("headers", JSONB, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("processed_at", sa.DateTime(timezone=True)),
    sa.Column("outcome", sa.Text),
    sa.UniqueConstraint("source", "key", "body_hash"),
)


@dataclass(frozen=True)
class Item:
    """key: what the source calls it (a charge's id, a receipt). body: the bytes as they came."""

    id: UUID
    source: str
    key: str
    body: bytes = field(repr=False)  # holds phone numbers and names
    received_at: datetime
    processed_at: datetime | None
    outcome: str | None


def keep(
    db: Db,
    source: str,
    key: str,
    body: bytes,
    headers: Mapping[str, str],
    peer: str,
    now: datetime,
) -> UUID | None:
    """Keep it and ask for its settlement. None: the same body is here already, a normal repeat."""
    found: UUID | None = db.value(
        """
        INSERT INTO inbox (id, source, key, body_hash, body, headers, peer, received_at)
        VALUES (%(id)s, %(source)s, %(key)s, %(hash)s, %(body)s, %(headers)s, %(peer)s, %(now)s)
        ON CONFLICT (source, key, body_hash) DO NOTHING
        RETURNING id
        """,
        {
            "id": db.new_id(),
            "source": source,
            "key": key,
            "hash": sha256(body).digest(),
            "body": body,
            "headers": Jsonb(dict(headers)),
            "peer": peer,
            "now": now,
        },
    )
    if found is not None:
        outbox.put(db, "settle_inbox", due_at=now, inbox_id=found)
    return found


def items(db: Db, item_ids: Sequence[UUID]) -> list[Item]:
    """Those of these that nobody has worked on yet, locked."""
    return db.rows(
        Item,
        """
        SELECT id, source, key, body, received_at, processed_at, outcome
        FROM inbox WHERE id = ANY(%(ids)s) AND processed_at IS NULL
        ORDER BY id FOR NO KEY UPDATE
        """,
        {"ids": list(item_ids)},
    )


def item(db: Db, item_id: UUID) -> Item | None:
    """The item, locked: two workers given the same one settle it one after the other."""
    return db.row(
        Item,
        """
        SELECT id, source, key, body, received_at, processed_at, outcome
        FROM inbox WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        {"id": item_id},
    )


def processed(db: Db, item_id: UUID, outcome: str, now: datetime) -> None:
    """What became of it. outcome: one word or a short reason without personal data."""
    processed_all(db, {item_id: outcome}, now)


def processed_all(db: Db, outcomes: Mapping[UUID, str], now: datetime) -> None:
    """What became of each."""
    db.run(
        """
        UPDATE inbox i SET processed_at = %(now)s, outcome = o.outcome
        FROM unnest(%(ids)s::uuid[], %(outcomes)s::text[]) AS o (id, outcome) WHERE i.id = o.id
        """,
        {"ids": list(outcomes), "outcomes": list(outcomes.values()), "now": now},
    )
