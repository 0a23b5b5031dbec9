"""Conversations: one member on one channel, where they stand and every hop already answered.

Of what was typed only its length and a keyed hash are kept: enough to know a repeat and to find
what is new, too little to read a PIN back.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from core.database import Db, metadata
from flows.engine import Frame

# A handset that was sent a screen may still show it so long (Safaricom and Equitel end a silent
# session after 30 s, Airtel after 60 s); no M-Pesa prompt can appear over it.
SCREEN_SECONDS_MAX = 60

conversations_table = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),  # the phone, the chat
    sa.Column("msisdn", sa.Text, index=True),  # proved by the network or by a shared contact
    sa.Column("language", sa.Text),
    sa.Column("session", sa.Text),  # the gateway's newest
    sa.Column("service_code", sa.Text),
    sa.Column("accepted_length", sa.Integer, nullable=False),
    sa.Column("accepted_digest", sa.LargeBinary),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("frame", JSONB),
    sa.Column("parked", JSONB),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("updated_at", TIMESTAMP(timezone=True), nullable=False),
    sa.UniqueConstraint("channel", "address"),
)

hops_table = sa.Table(
    "hops",
    metadata,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column(
        "conversation_id",
        sa.Uuid,
        sa.ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("screen", sa.Text, nullable=False),
    sa.Column("ends", sa.Boolean, nullable=False),
    sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False, index=True),
)

session_ends_table = sa.Table(
    "session_ends",
    metadata,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("hops", sa.Integer),
    sa.Column("milliseconds", sa.Integer),
    sa.Column("cost", sa.Text),
    sa.Column("network", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False, index=True),
)


@dataclass(frozen=True)
class Conversation:
    """As it was left by the last answer; the member's columns are None for a stranger."""

    id: UUID
    msisdn: str | None = field(repr=False)
    language: str | None
    session: str | None
    service_code: str | None
    accepted_length: int
    accepted_digest: bytes | None
    turn: int
    frame: dict[str, Any] | None = field(repr=False)
    parked: dict[str, Any] | None = field(repr=False)
    updated_at: datetime
    member_id: UUID | None
    name: str | None = field(repr=False)
    member_language: str | None
    place_id: UUID | None
    is_seller: bool | None
    consent_version: str | None


@dataclass(frozen=True)
class Answered:
    """A hop that was answered before. same: it is the one asked for, not another of its session."""

    screen: str = field(repr=False)
    ends: bool
    conversation_id: UUID
    same: bool


def lock(db: Db, channel: str, address: str, msisdn: str | None, now: datetime) -> Conversation:
    """The conversation, made where there is none, locked until this transaction ends."""
    found = _locked(db, channel, address)
    if found is None:
        db.run(
            """
            INSERT INTO conversations
                (id, channel, address, msisdn, accepted_length, turn, open, created_at, updated_at)
            VALUES (%(id)s, %(channel)s, %(address)s, %(msisdn)s, 0, 0, false, %(now)s, %(now)s)
            ON CONFLICT (channel, address) DO NOTHING
            """,
            {
                "id": db.new_id(),
                "channel": channel,
                "address": address,
                "msisdn": msisdn,
                "now": now,
            },
        )
        found = _locked(db, channel, address)
        assert found is not None, "a conversation just made is not there"
    return found


def _locked(db: Db, channel: str, address: str) -> Conversation | None:
    return db.row(
        Conversation,
        """
        SELECT c.id, c.msisdn, c.language, c.session, c.service_code, c.accepted_length,
            c.accepted_digest, c.turn, c.frame, c.parked, c.updated_at,
            m.id AS member_id, m.name, m.language AS member_language, m.place_id, m.is_seller,
            m.consent_version
        FROM conversations c
        LEFT JOIN members m ON m.msisdn = c.msisdn AND m.deleted_at IS NULL
        WHERE c.channel = %(channel)s AND c.address = %(address)s
        FOR NO KEY UPDATE OF c
        """,
        {"channel": channel, "address": address},
    )


def answered(db: Db, session: str, digest: bytes) -> Answered | None:
    """What was answered to this very hop, if it was here before."""
    return db.row(
        Answered,
        """
        SELECT screen, ends, conversation_id, true AS same FROM hops
        WHERE session = %(session)s AND digest = %(digest)s
        """,
        {"session": session, "digest": digest},
    )


def heard(db: Db, session: str, digest: bytes) -> Answered | None:
    """What was answered to this very hop, or else to any of its session; None: a new session."""
    return db.row(
        Answered,
        """
        SELECT screen, ends, conversation_id, digest = %(digest)s AS same FROM hops
        WHERE session = %(session)s
        ORDER BY digest = %(digest)s DESC LIMIT 1
        """,
        {"session": session, "digest": digest},
    )


def save(
    db: Db,
    conversation_id: UUID,
    *,
    session: str,
    service_code: str,
    accepted_length: int,
    digest: bytes,
    language: str,
    frame: Frame | None,
    parked: Frame | None,
    screen: str,
    ends: bool,
    label: str,
    now: datetime,
) -> None:
    """One turn taken: where the conversation stands now, and the hop with its answer."""
    db.run(
        """
        WITH moved AS (
            UPDATE conversations
            SET session = %(session)s, service_code = %(service_code)s,
                accepted_length = %(accepted_length)s, accepted_digest = %(digest)s,
                turn = turn + 1, language = %(language)s, frame = %(frame)s, parked = %(parked)s,
                open = NOT %(ends)s, updated_at = %(now)s
            WHERE id = %(id)s
        )
        INSERT INTO hops (session, digest, conversation_id, label, screen, ends, created_at)
        VALUES (%(session)s, %(digest)s, %(id)s, %(label)s, %(screen)s, %(ends)s, %(now)s)
        """,
        {
            "id": conversation_id,
            "session": session,
            "service_code": service_code,
            "accepted_length": accepted_length,
            "digest": digest,
            "language": language,
            "frame": _json(frame),
            "parked": _json(parked),
            "screen": screen,
            "ends": ends,
            "label": label,
            "now": now,
        },
    )


def keep_hop(
    db: Db,
    conversation_id: UUID,
    *,
    session: str,
    digest: bytes,
    label: str,
    screen: str,
    now: datetime,
) -> None:
    """A hop that was passed over on the way (an answer dialled in advance), should it come late."""
    db.run(
        """
        INSERT INTO hops (session, digest, conversation_id, label, screen, ends, created_at)
        VALUES (%(session)s, %(digest)s, %(id)s, %(label)s, %(screen)s, false, %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {
            "session": session,
            "digest": digest,
            "id": conversation_id,
            "label": label,
            "screen": screen,
            "now": now,
        },
    )


def screen_open(db: Db, msisdn: str, now: datetime) -> bool:
    """Whether that phone may still show an open USSD screen, which no prompt can cover."""
    found: bool = db.value(
        """
        SELECT EXISTS (
            SELECT FROM conversations
            WHERE msisdn = %(msisdn)s AND channel = 'ussd' AND open AND updated_at > %(since)s
        )
        """,
        {"msisdn": msisdn, "since": now - timedelta(seconds=SCREEN_SECONDS_MAX)},
    )
    return found


def end_session(
    db: Db,
    session: str,
    *,
    status: str,
    hops: int | None,
    milliseconds: int | None,
    cost: str,
    network: str,
    error: str,
    now: datetime,
) -> bool:
    """Keep a gateway's notice that a session is over, once; its screen is off the phone."""
    kept = db.run(
        """
        INSERT INTO session_ends
            (session, status, hops, milliseconds, cost, network, error, created_at)
        VALUES (%(session)s, %(status)s, %(hops)s, %(milliseconds)s, %(cost)s, %(network)s,
            %(error)s, %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {
            "session": session,
            "status": status,
            "hops": hops,
            "milliseconds": milliseconds,
            "cost": cost,
            "network": network,
            "error": error,
            "now": now,
        },
    )
    db.run(
        """
        UPDATE conversations SET open = false
        WHERE id = (SELECT conversation_id FROM hops WHERE session = %(session)s LIMIT 1)
            AND session = %(session)s AND open
        """,
        {"session": session},
    )
    return kept == 1


def tidy(db: Db, before: datetime) -> int:
    """Forget hops and session ends older than `before`; no gateway repeats them so late."""
    gone = db.run("DELETE FROM hops WHERE created_at < %(before)s", {"before": before})
    return gone + db.run(
        "DELETE FROM session_ends WHERE created_at < %(before)s", {"before": before}
    )


def frame_of(kept: dict[str, Any] | None) -> Frame | None:
    return None if kept is None else Frame(**kept)


def _json(frame: Frame | None) -> Jsonb | None:
    return None if frame is None else Jsonb(vars(frame))
