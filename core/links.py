"""Links: one-time tokens by which a chat comes to speak for a phone.

Whoever holds the phone asks for one; the chat that shows it within minutes may speak for it. A
token is derived from its link's id and our key, so the database holds only a digest of it.
"""

import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata
from core.rules import Rules

GOOD_FOR: Final = timedelta(minutes=15)
# 40 bits for 15 minutes, and a chat is limited in its tries: short enough to be typed on a phone.
TOKEN_LETTERS: Final = 8
ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # neither 0 and O nor 1 and I

links = sa.Table(
    "links",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("msisdn", sa.Text, nullable=False, index=True),  # for which a chat will speak
    sa.Column("token_digest", sa.LargeBinary, unique=True),  # NULL: a shared contact proves it
    sa.Column("address", sa.Text),  # of the chat that showed it
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("used_at", sa.DateTime(timezone=True)),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
)


@dataclass(frozen=True)
class Link:
    """One that is good now."""

    id: UUID
    msisdn: str = field(repr=False)


def make(db: Db, msisdn: str, rules: Rules, now: datetime) -> None:
    """A new token for that phone; what it had before is good no more."""
    forget(db, msisdn)
    link_id = db.new_id()
    _insert(db, link_id, msisdn, now, digest=_digest(rules, _token(rules, link_id)))


def token_of(db: Db, msisdn: str, rules: Rules, now: datetime) -> str | None:
    """The token that is good for that phone now."""
    link_id: UUID | None = db.value(
        """
        SELECT id FROM links
        WHERE msisdn = %(msisdn)s AND token_digest IS NOT NULL AND used_at IS NULL
          AND expires_at > %(now)s
        """,
        {"msisdn": msisdn, "now": now},
    )
    return None if link_id is None else _token(rules, link_id)


def show(db: Db, token: str, address: str, rules: Rules, now: datetime) -> Link | None:
    """That chat shows a token; from now on no other chat may. None: it is not good (any more)."""
    return db.row(
        Link,
        """
        UPDATE links SET address = %(address)s
        WHERE token_digest = %(digest)s AND used_at IS NULL AND expires_at > %(now)s
          AND coalesce(address, %(address)s) = %(address)s
        RETURNING id, msisdn
        """,
        {"address": address, "digest": _digest(rules, token.strip().upper()), "now": now},
    )


def prove(db: Db, msisdn: str, address: str, now: datetime) -> UUID:
    """That chat has shared the phone's contact: a link as good as one by a token."""
    link_id = db.new_id()
    _insert(db, link_id, msisdn, now, address=address)
    return link_id


@dataclass(frozen=True)
class Used:
    """The chat that speaks for the phone from now on."""

    address: str
    msisdn: str = field(repr=False)


def use(db: Db, link_id: UUID, now: datetime) -> Used | None:
    """Take it, once. None: taken before, or too late."""
    return db.row(
        Used,
        """
        UPDATE links SET used_at = %(now)s
        WHERE id = %(id)s AND address IS NOT NULL AND used_at IS NULL AND expires_at > %(now)s
        RETURNING address, msisdn
        """,
        {"id": link_id, "now": now},
    )


def forget(db: Db, msisdn: str) -> None:
    """Nobody speaks for that phone by a token that was made before now."""
    db.run("DELETE FROM links WHERE msisdn = %(msisdn)s AND used_at IS NULL", {"msisdn": msisdn})


def tidy(db: Db, before: datetime) -> int:
    """Forget those that were good no more by then; how many."""
    return db.run("DELETE FROM links WHERE expires_at < %(before)s", {"before": before})


def _insert(
    db: Db,
    link_id: UUID,
    msisdn: str,
    now: datetime,
    *,
    digest: bytes | None = None,
    address: str | None = None,
) -> None:
    db.run(
        """
        INSERT INTO links (id, msisdn, token_digest, address, expires_at, created_at)
        VALUES (%(id)s, %(msisdn)s, %(digest)s, %(address)s, %(expires_at)s, %(now)s)
        """,
        {
            "id": link_id,
            "msisdn": msisdn,
            "digest": digest,
            "address": address,
            "expires_at": now + GOOD_FOR,
            "now": now,
        },
    )


def _token(rules: Rules, link_id: UUID) -> str:
    noise = hmac.digest(rules.token_key, b"link\0" + link_id.bytes, "sha256")
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in noise[:TOKEN_LETTERS])


def _digest(rules: Rules, token: str) -> bytes:
    return hmac.digest(
        rules.token_key, b"link token\0" + token.encode("utf-8", "replace"), "sha256"
    )
