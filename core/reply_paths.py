"""Reply paths: the secret address at which M-Pesa answers, later, each thing we asked of it."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata
from core.rules import Rules

# What was asked, and so how the answer is to be read.
KINDS: Final = ("payout", "reversal", "payout_query", "balance", "top_up", "top_up_query")

reply_paths = sa.Table(
    "reply_paths",
    metadata,
    sa.Column("token_hash", sa.LargeBinary, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Uuid, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # of the question, where it is asked again
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(f"kind IN ({', '.join(map(repr, KINDS))})", name="kind"),
    sa.UniqueConstraint("kind", "subject_id", "number"),
)


@dataclass(frozen=True)
class ReplyPath:
    """subject_id: the payout, or whatever was asked about. opened_at: when it was asked first."""

    kind: str
    subject_id: UUID
    number: int
    opened_at: datetime

    @property
    def key(self) -> str:
        """Its name in the inbox."""
        return f"{self.kind}:{self.subject_id}:{self.number}"


def open(  # noqa: A001 - read as reply_paths.open
    db: Db, kind: str, subject_id: UUID, number: int, rules: Rules, now: datetime
) -> str:
    """The 32 hex digits of the path, the same however often they are asked for.

    Derived, so that only their hash is kept and a repeated call can still name them.
    """
    named = f"{kind}:{subject_id}:{number}".encode()
    token = hmac.new(rules.token_key, b"reply:" + named, sha256).hexdigest()[:32]
    db.run(
        """
        INSERT INTO reply_paths (token_hash, kind, subject_id, number, opened_at)
        VALUES (%(hash)s, %(kind)s, %(subject_id)s, %(number)s, %(now)s)
        ON CONFLICT (token_hash) DO NOTHING
        """,
        {
            "hash": _hash(token),
            "kind": kind,
            "subject_id": subject_id,
            "number": number,
            "now": now,
        },
    )
    return token


def by_token(db: Db, token: str) -> ReplyPath | None:
    return db.row(
        ReplyPath,
        """
        SELECT kind, subject_id, number, opened_at FROM reply_paths WHERE token_hash = %(hash)s
        """,
        {"hash": _hash(token)},
    )


def by_key(db: Db, key: str) -> ReplyPath | None:
    """The path that an inbox row came by."""
    kind, subject_id, number = key.split(":")
    return db.row(
        ReplyPath,
        """
        SELECT kind, subject_id, number, opened_at FROM reply_paths
        WHERE kind = %(kind)s AND subject_id = %(subject_id)s AND number = %(number)s
        """,
        {"kind": kind, "subject_id": UUID(subject_id), "number": int(number)},
    )


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()
