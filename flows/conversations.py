"""Conversations: one member on one channel, where they stand and every hop already answered.

Of what was typed only its length and a keyed hash are kept: enough to know a repeat and to find
what is new, too little to read a PIN back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from core import outbox
from core.cases import Said
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
    sa.Column("parked_from", sa.Uuid),  # the conversation that stands there
    sa.Column("speaker_id", sa.Uuid),  # the member who spoke last
    sa.Column("proved_at", TIMESTAMP(timezone=True)),  # since when a chat speaks for its phone
    sa.Column("shown_message", sa.BigInteger),  # which of the chat's messages shows the screen
    sa.Column("nudged_at", TIMESTAMP(timezone=True)),
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
    sa.Column("kind", sa.Text, nullable=False, server_default="passed"),  # of the step (engine)
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
    channel: str
    address: str = field(repr=False)
    msisdn: str | None = field(repr=False)
    language: str | None
    session: str | None
    service_code: str | None
    accepted_length: int
    accepted_digest: bytes | None
    turn: int
    frame: dict[str, Any] | None = field(repr=False)
    parked: dict[str, Any] | None = field(repr=False)
    parked_from: UUID | None
    speaker_id: UUID | None  # the member who spoke last
    open: bool
    updated_at: datetime
    member_id: UUID | None
    name: str | None = field(repr=False)
    member_language: str | None
    place_id: UUID | None
    is_seller: bool | None
    consent_version: str | None
    shares_phone: bool | None
    member_version: str | None = field(repr=False)  # another one after every change of the row


@dataclass(frozen=True)
class Glimpse(Conversation):
    """One that a hop finds, unlocked. dials: the session was never heard of, and the phone speaks
    nowhere else.
    """

    dials: bool


@dataclass(frozen=True)
class Answered:
    """A hop that was answered before. same: it is the one asked for, not another of its session."""

    screen: str = field(repr=False)
    ends: bool
    conversation_id: UUID
    same: bool


@dataclass(frozen=True)
class Ended:
    """A gateway's notice that a session is over. status: "Incomplete": it was cut off.

    address: of the phone that the notice names; another's session is left as it is.
    """

    session: str
    status: str
    hops: int | None = None
    milliseconds: int | None = None
    cost: str = ""
    network: str = ""
    error: str = ""
    address: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Wish:
    """An outbox row to be written with the hop; its arguments get the conversation and the hop."""

    kind: str
    arguments: Mapping[str, object] = field(default_factory=dict)


_COLUMNS: Final = """
    c.id, c.channel, c.address, c.msisdn, c.language, c.session, c.service_code,
        c.accepted_length, c.accepted_digest, c.turn, c.frame, c.parked, c.parked_from,
        c.speaker_id, c.open, c.updated_at, m.id AS member_id, m.name,
        m.language AS member_language, m.place_id, m.is_seller, m.consent_version, m.shares_phone,
        m.ctid::text || m.xmin::text AS member_version
"""
_SPEAKING: Final = """
    FROM conversations c
    LEFT JOIN members m ON m.msisdn = c.msisdn AND m.deleted_at IS NULL
        AND (NOT m.shares_phone OR m.id = c.speaker_id)
"""
_READ: Final = f"SELECT {_COLUMNS} {_SPEAKING}"


def read(db: Db, channel: str, address: str) -> Conversation | None:
    """The conversation as it stands, unlocked."""
    return db.row(
        Conversation,
        f"{_READ} WHERE c.channel = %(channel)s AND c.address = %(address)s",
        {"channel": channel, "address": address},
    )


def glimpse(db: Db, channel: str, address: str, msisdn: str | None, session: str) -> Glimpse | None:
    """The conversation as a hop of that session finds it, unlocked.

    msisdn: proved by the network; None: the conversation's own.
    """
    return db.row(
        Glimpse,
        _GLIMPSE,
        {"channel": channel, "address": address, "msisdn": msisdn, "session": session},
    )


# In this order: but for a dial the first comparison is the last.
_GLIMPSE: Final = f"""
    SELECT {_COLUMNS},
        c.session IS DISTINCT FROM %(session)s
        AND NOT EXISTS (SELECT FROM hops WHERE session = %(session)s)
        AND NOT EXISTS (
            SELECT FROM conversations other
            WHERE other.msisdn = coalesce(%(msisdn)s::text, c.msisdn) AND other.id <> c.id
        ) AS dials
    {_SPEAKING}
    WHERE c.channel = %(channel)s AND c.address = %(address)s
"""


def by_id(db: Db, conversation_id: UUID) -> Conversation | None:
    return db.row(Conversation, f"{_READ} WHERE c.id = %(id)s", {"id": conversation_id})


def of_session(db: Db, session: str) -> Conversation | None:
    """The conversation in which that session was, its newest or an older one."""
    return db.row(
        Conversation,
        f"""
        {_READ}
        WHERE c.id = (SELECT conversation_id FROM hops WHERE session = %(session)s LIMIT 1)
        """,
        {"session": session},
    )


def elsewhere(db: Db, msisdn: str, conversation_id: UUID) -> list[Conversation]:
    """The phone's other conversations, newest first."""
    return db.rows(
        Conversation,
        f"{_READ} WHERE c.msisdn = %(msisdn)s AND c.id <> %(id)s ORDER BY c.updated_at DESC",
        {"msisdn": msisdn, "id": conversation_id},
    )


def of_phone(db: Db, msisdn: str) -> list[Conversation]:
    """All of a phone's conversations, newest first."""
    return db.rows(
        Conversation,
        f"{_READ} WHERE c.msisdn = %(msisdn)s ORDER BY c.updated_at DESC",
        {"msisdn": msisdn},
    )


def lock(
    db: Db, channel: str, address: str, msisdn: str | None, now: datetime
) -> tuple[Conversation, list[Conversation]]:
    """The conversation, made where there is none, and the phone's others, newest first.

    All are locked until this transaction ends, in the order of their ids.
    """
    found = _locked(db, channel, address, msisdn)
    if not any((each.channel, each.address) == (channel, address) for each in found):
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
        found = _locked(db, channel, address, msisdn)
    (own,) = (each for each in found if (each.channel, each.address) == (channel, address))
    others = [each for each in found if each is not own]
    return own, sorted(others, key=lambda each: each.updated_at, reverse=True)


def _locked(db: Db, channel: str, address: str, msisdn: str | None) -> list[Conversation]:
    return db.rows(
        Conversation,
        f"""
        {_READ}
        WHERE (c.channel = %(channel)s AND c.address = %(address)s)
            OR c.msisdn = coalesce(%(msisdn)s::text, (
                SELECT msisdn FROM conversations
                WHERE channel = %(channel)s AND address = %(address)s
            ))
        ORDER BY c.id
        FOR NO KEY UPDATE OF c
        """,
        {"channel": channel, "address": address, "msisdn": msisdn},
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
    before: Conversation,
    *,
    session: str,
    service_code: str,
    accepted_length: int,
    digest: bytes,
    turn: int,
    language: str,
    speaker_id: UUID | None,
    frame: Frame | None,
    parked: Frame | None,
    parked_from: UUID | None,
    screen: str,
    ends: bool,
    label: str,
    kind: str,
    wish: Wish | None,
    locked: bool,
    remembered: bool,
    now: datetime,
) -> bool:
    """One turn taken: where the conversation stands now, the hop with its answer, what to send.

    One statement, which changes nothing and says False where the conversation was moved since it
    was read; locked, only this hop itself can have moved it (prove). remembered: and where its
    member was changed since. turn: after this hop.
    Raises UniqueViolation: this very hop was answered before.
    """
    params = {
        "id": before.id,
        "before": before.turn,
        "locked": locked,
        "member_version": before.member_version,
        "session": session,
        "service_code": service_code,
        "accepted_length": accepted_length,
        "digest": digest,
        "turn": turn,
        "language": language,
        "speaker_id": speaker_id,
        "frame": _json(frame),
        "parked": _json(parked),
        "parked_from": parked_from,
        "screen": screen,
        "ends": ends,
        "label": label,
        "kind": kind,
        "now": now,
    }
    if wish is None:
        if remembered:
            return db.run(_SAVE_REMEMBERED, params) == 1
        return db.run(_SAVE, params) == 1
    assert wish.kind in outbox.KINDS, f"there is no outbox kind {wish.kind}"
    hop = {"conversation_id": str(before.id), "digest": digest.hex(), "turn": turn}
    params["work"] = db.new_id()
    params["work_kind"] = wish.kind
    params["arguments"] = Jsonb({**hop, **wish.arguments})
    if remembered:
        return db.run(_SAVE_REMEMBERED_AND_WISH, params) == 1
    return db.run(_SAVE_AND_WISH, params) == 1


def _save(still: LiteralString, *, wishes: bool) -> LiteralString:
    """still: the condition under which the conversation stands where it was read."""
    moved: LiteralString = f"""
        moved AS (
            UPDATE conversations
            SET session = %(session)s, service_code = %(service_code)s,
                accepted_length = %(accepted_length)s, accepted_digest = %(digest)s,
                turn = %(turn)s, language = %(language)s, speaker_id = %(speaker_id)s,
                frame = %(frame)s, parked = %(parked)s, parked_from = %(parked_from)s,
                open = NOT %(ends)s, updated_at = %(now)s
            WHERE id = %(id)s AND {still}
            RETURNING id
        )
    """
    kept: LiteralString = """
        INSERT INTO hops (session, digest, conversation_id, label, kind, screen, ends, created_at)
        SELECT %(session)s, %(digest)s, id, %(label)s, %(kind)s, %(screen)s, %(ends)s, %(now)s
        FROM moved
    """
    if not wishes:
        return f"WITH {moved} {kept}"
    return f"""
        WITH {moved}, kept AS ({kept} RETURNING conversation_id)
        INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
        SELECT %(work)s, %(work_kind)s, %(arguments)s, %(now)s, 0, %(now)s FROM kept
    """


_TURNED: Final = "(%(locked)s OR turn = %(before)s)"
_UNTOUCHED: Final = """
    turn = %(before)s AND EXISTS (
        SELECT FROM members
        WHERE id = %(speaker_id)s AND ctid::text || xmin::text = %(member_version)s
    )
"""
_SAVE: Final = _save(_TURNED, wishes=False)
_SAVE_AND_WISH: Final = _save(_TURNED, wishes=True)
_SAVE_REMEMBERED: Final = _save(_UNTOUCHED, wishes=False)
_SAVE_REMEMBERED_AND_WISH: Final = _save(_UNTOUCHED, wishes=True)


def forget(db: Db, channel: str, address: str) -> None:
    """Where it stands is forgotten; what it has answered is not."""
    db.run(
        """
        UPDATE conversations SET frame = NULL, parked = NULL, parked_from = NULL, open = false,
            turn = turn + 1
        WHERE channel = %(channel)s AND address = %(address)s
        """,
        {"channel": channel, "address": address},
    )


def leave(db: Db, conversation_id: UUID) -> None:
    """What stood here goes on in another conversation; an answer that still comes finds it."""
    db.run(
        """
        UPDATE conversations SET frame = NULL, parked = NULL, parked_from = NULL, turn = turn + 1
        WHERE id = %(id)s
        """,
        {"id": conversation_id},
    )


def prove(db: Db, channel: str, address: str, msisdn: str | None, now: datetime) -> None:
    """From now on the chat speaks for that phone, which was proved; None: for none any more.

    What it stood at belonged to whoever spoke before.
    """
    own, _ = lock(db, channel, address, None, now)
    db.run(
        """
        UPDATE conversations
        SET msisdn = %(msisdn)s, proved_at = %(now)s, speaker_id = NULL, frame = NULL,
            parked = NULL, parked_from = NULL, turn = turn + 1, updated_at = %(now)s
        WHERE id = %(id)s AND msisdn IS DISTINCT FROM %(msisdn)s
        """,
        {"id": own.id, "msisdn": msisdn, "now": now},
    )


def end_of_phones(db: Db, msisdns: Sequence[str], now: datetime) -> None:
    """They may be other people's from now on: nothing goes on that was begun there.

    A chat that spoke for one speaks for no phone any more.
    """
    db.run(
        """
        UPDATE conversations
        SET msisdn = CASE WHEN channel IN ('ussd', 'sms') THEN msisdn END, proved_at = %(now)s,
            speaker_id = NULL, frame = NULL, parked = NULL, parked_from = NULL, open = false,
            turn = turn + 1, updated_at = %(now)s
        WHERE id IN (
            SELECT id FROM conversations
            WHERE msisdn = ANY(%(msisdns)s) ORDER BY id FOR NO KEY UPDATE)
        """,
        {"msisdns": list(msisdns), "now": now},
    )


def message_shown(db: Db, conversation_id: UUID, message_id: int | None) -> None:
    """Which message of the chat shows the present screen, to be edited by the next; None: none."""
    db.run(
        "UPDATE conversations SET shown_message = %(message)s WHERE id = %(id)s",
        {"id": conversation_id, "message": message_id},
    )


def message_showing(db: Db, conversation_id: UUID) -> int | None:
    """The message that shows the present screen, if it can be edited."""
    found: int | None = db.value(
        "SELECT shown_message FROM conversations WHERE id = %(id)s", {"id": conversation_id}
    )
    return found


def keep_hop(
    db: Db,
    conversation_id: UUID,
    *,
    session: str,
    digest: bytes,
    label: str,
    kind: str,
    screen: str,
    now: datetime,
) -> None:
    """A hop that was passed over on the way (an answer dialled in advance), should it come late."""
    db.run(
        """
        INSERT INTO hops (session, digest, conversation_id, label, kind, screen, ends, created_at)
        VALUES (%(session)s, %(digest)s, %(id)s, %(label)s, %(kind)s, %(screen)s, false, %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {
            "session": session,
            "digest": digest,
            "id": conversation_id,
            "label": label,
            "kind": kind,
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


def end_session(db: Db, ended: Ended, now: datetime) -> bool:
    """Keep the notice, once; the session's screen is off the phone. False: it was known."""
    kept = db.run(
        """
        INSERT INTO session_ends
            (session, status, hops, milliseconds, cost, network, error, created_at)
        SELECT %(session)s, %(status)s, %(hops)s, %(milliseconds)s, %(cost)s, %(network)s,
            %(error)s, %(now)s
        WHERE NOT EXISTS (
            SELECT FROM hops h JOIN conversations c ON c.id = h.conversation_id
            WHERE h.session = %(session)s AND c.address <> %(address)s
        )
        ON CONFLICT DO NOTHING
        """,
        {**vars(ended), "now": now},
    )
    db.run(
        """
        UPDATE conversations SET open = false
        WHERE id = (SELECT conversation_id FROM hops WHERE session = %(session)s LIMIT 1)
            AND session = %(session)s AND open AND address = coalesce(%(address)s, address)
        """,
        {"session": ended.session, "address": ended.address},
    )
    return kept == 1


def lately(db: Db, msisdn: str, since: datetime, limit: int) -> list[Said]:
    """The newest screens that the phone was shown since then on any channel, oldest first."""
    return db.rows(
        Said,
        """
        SELECT at, channel, label, screen FROM (
            SELECT h.created_at AS at, c.channel, h.label, h.screen
            FROM hops h JOIN conversations c ON c.id = h.conversation_id
            WHERE c.msisdn = %(msisdn)s AND h.created_at >= %(since)s
                AND (c.proved_at IS NULL OR h.created_at >= c.proved_at)
            ORDER BY h.created_at DESC LIMIT %(limit)s
        ) AS newest ORDER BY at
        """,
        {"msisdn": msisdn, "since": since, "limit": limit},
    )


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
