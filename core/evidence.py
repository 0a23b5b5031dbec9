"""Evidence: what was sent to prove a dispute, photos and words."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata
from core.storage import Storage

BYTES_MAX: Final = 10 * 1024 * 1024  # of a photo
PHOTOS_MAX: Final = 10  # of each side of a dispute
WORDS_MAX: Final = 20  # of each side, times somebody added some
WANTED_FOR: Final = timedelta(hours=48)  # after a report or an answer to it a photo belongs to it

evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("dispute_id", sa.Uuid, sa.ForeignKey("disputes.id"), nullable=False),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("key", sa.Text),  # of core.storage
    sa.Column("content_type", sa.Text),
    sa.Column("words", sa.Text),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("dispute_id", "sha256"),
    sa.CheckConstraint("kind IN ('photo', 'text')", name="kind"),
    sa.CheckConstraint(
        "CASE kind WHEN 'photo' THEN key IS NOT NULL AND content_type IS NOT NULL"
        " ELSE words IS NOT NULL END",
        name="content",
    ),
)


@dataclass(frozen=True)
class Photo:
    """key: where core.storage has it. content_type: as its first bytes say."""

    id: UUID
    member_id: UUID
    key: str
    content_type: str
    bytes: int
    at: datetime


def wanted(db: Db, member_id: UUID, now: datetime) -> UUID | None:
    """The dispute that a photo from this member is for; None: none is expected.

    Of a buyer the one that was reported last, of a seller the one that was answered last, or else
    came last.
    """
    found: UUID | None = db.value(
        """
        SELECT d.id
        FROM disputes d JOIN orders o ON o.id = d.order_id,
             LATERAL (SELECT CASE WHEN o.seller_id = %(member_id)s
                             THEN coalesce(d.answered_at, d.opened_at)
                             ELSE d.opened_at END) AS told (at)
        WHERE %(member_id)s IN (d.opened_by, o.seller_id) AND told.at > %(since)s
          AND d.state IN ('open', 'seller_reply', 'review')
        ORDER BY told.at DESC, d.number DESC LIMIT 1
        """,
        {"member_id": member_id, "since": now - WANTED_FOR},
    )
    return found


def add(
    db: Db,
    storage: Storage,
    dispute_id: UUID,
    member_id: UUID,
    content: bytes,
    content_type: str,
    now: datetime,
) -> Literal["kept", "too_large", "not_a_picture", "too_many", "same"]:
    """Keep a photo. "same": it is there already. Raises Unavailable: the storage is down.

    content_type: as its sender calls it; its first bytes must agree that it is a picture.
    db: a transaction of its own. It waits for the storage, but locks nothing until that is over.
    """
    if len(content) > BYTES_MAX:
        return "too_large"
    kind = picture(content)
    if kind is None or not content_type.startswith("image/"):
        return "not_a_picture"
    digest = sha256(content)
    refusal = _refusal(db, dispute_id, member_id, "photo", digest.digest())
    if refusal is not None:
        return refusal
    key = f"evidence/{dispute_id.hex}/{digest.hexdigest()}"
    storage.put(key, content, kind)
    _lock(db, dispute_id)
    refusal = _refusal(db, dispute_id, member_id, "photo", digest.digest())
    if refusal == "too_many":  # others came first: it is nobody's
        storage.delete(key)
    if refusal is not None:
        return refusal
    db.run(
        """
        INSERT INTO evidence (id, dispute_id, member_id, kind, sha256, bytes, key, content_type, at)
        VALUES (%(id)s, %(dispute_id)s, %(member_id)s, 'photo', %(digest)s, %(bytes)s, %(key)s,
                %(kind)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "dispute_id": dispute_id,
            "member_id": member_id,
            "digest": digest.digest(),
            "bytes": len(content),
            "key": key,
            "kind": kind,
            "now": now,
        },
    )
    return "kept"


def say(
    db: Db, dispute_id: UUID, member_id: UUID, words: str, now: datetime
) -> Literal["kept", "too_many", "same"]:
    """Keep what a member adds in words. "same": that was said already."""
    _lock(db, dispute_id)
    said = words.encode("utf-8", "replace")
    digest = sha256(member_id.bytes + said).digest()  # both may say the same
    refusal = _refusal(db, dispute_id, member_id, "text", digest)
    if refusal is not None:
        return refusal
    db.run(
        """
        INSERT INTO evidence (id, dispute_id, member_id, kind, sha256, bytes, words, at)
        VALUES (%(id)s, %(dispute_id)s, %(member_id)s, 'text', %(digest)s, %(bytes)s, %(words)s,
                %(now)s)
        """,
        {
            "id": db.new_id(),
            "dispute_id": dispute_id,
            "member_id": member_id,
            "digest": digest,
            "bytes": len(said),
            "words": said.decode(),
            "now": now,
        },
    )
    return "kept"


def photos(db: Db, dispute_id: UUID) -> list[Photo]:
    """Oldest first."""
    return db.rows(
        Photo,
        """
        SELECT id, member_id, key, content_type, bytes, at FROM evidence
        WHERE dispute_id = %(dispute_id)s AND kind = 'photo' ORDER BY at, id
        """,
        {"dispute_id": dispute_id},
    )


@dataclass(frozen=True)
class Words:
    """What one side added."""

    member_id: UUID
    words: str = field(repr=False)
    at: datetime


def words(db: Db, dispute_id: UUID) -> list[Words]:
    """Of both sides, oldest first."""
    return db.rows(
        Words,
        """
        SELECT member_id, words, at FROM evidence
        WHERE dispute_id = %(dispute_id)s AND kind = 'text' ORDER BY at, id
        """,
        {"dispute_id": dispute_id},
    )


def picture(content: bytes) -> str | None:
    """The type of picture that this begins as; None: it is none that we keep.

    Source: JFIF 1.02 and ITU T.81 (SOI and the first marker), W3C PNG 5.2, RFC 9649 2.4 (WebP).
    """
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def _lock(db: Db, dispute_id: UUID) -> None:
    found = db.value(
        "SELECT id FROM disputes WHERE id = %(id)s FOR NO KEY UPDATE", {"id": dispute_id}
    )
    assert found is not None, f"no dispute {dispute_id}"


def _refusal(
    db: Db, dispute_id: UUID, member_id: UUID, kind: Literal["photo", "text"], digest: bytes
) -> Literal["same", "too_many"] | None:
    same, count = db.value(
        """
        SELECT json_build_array(
            coalesce(bool_or(sha256 = %(digest)s), false),
            count(*) FILTER (WHERE kind = %(kind)s AND member_id = %(member_id)s)
        ) FROM evidence WHERE dispute_id = %(dispute_id)s
        """,
        {"dispute_id": dispute_id, "member_id": member_id, "kind": kind, "digest": digest},
    )
    if same:
        return "same"
    return "too_many" if count >= (PHOTOS_MAX if kind == "photo" else WORDS_MAX) else None
