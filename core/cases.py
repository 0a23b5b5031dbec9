"""Cases: people who asked to be called, each with the conversation that brought them there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from core import incidents, messages
from core.database import Db, metadata

About = Literal["order", "payment", "account", "other"]
ABOUT: Final[tuple[About, ...]] = get_args(About)

# Also of disputes: whatever a person asks about, a number means one thing.
numbers = sa.Sequence("case_numbers", start=5001, metadata=metadata)

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("conversation", JSONB, nullable=False),  # of Said, oldest first
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint(f"about IN ({', '.join(map(repr, ABOUT))})", name="about"),
    sa.CheckConstraint("state IN ('open', 'closed')", name="state"),
    sa.CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed_at"),
    sa.Index("uq_cases_open", "member_id", unique=True, postgresql_where=sa.text("state = 'open'")),
    sa.Index("ix_cases_member_id", "member_id"),
)


@dataclass(frozen=True)
class Said:
    """One screen of the conversation, as it may be kept: nothing that was typed, no secret."""

    at: datetime
    channel: str
    label: str
    screen: str = field(repr=False)


@dataclass(frozen=True)
class Case:
    """conversation: of Said, as JSON."""

    id: UUID
    number: int
    member_id: UUID
    about: About
    conversation: list[dict[str, Any]] = field(repr=False)
    state: Literal["open", "closed"]
    opened_at: datetime


def open(  # noqa: A001 - read as cases.open
    db: Db, member_id: UUID, about: About, conversation: Sequence[Said], now: datetime
) -> Literal["opened", "already_open"]:
    """Somebody is to call the member. One who waits already keeps the number and the place."""
    number = new_number(db)
    opened = db.run(
        """
        INSERT INTO cases (id, number, member_id, about, conversation, state, opened_at)
        VALUES (%(id)s, %(number)s, %(member_id)s, %(about)s, %(conversation)s, 'open', %(now)s)
        ON CONFLICT (member_id) WHERE state = 'open' DO NOTHING
        """,
        {
            "id": db.new_id(),
            "number": number,
            "member_id": member_id,
            "about": about,
            "conversation": Jsonb([_json(said) for said in conversation]),
            "now": now,
        },
    )
    if not opened:
        return "already_open"
    incidents.open(db, "call_me", member_id, now, case=number, about=about)
    messages.of_member(db, "case_opened", member_id, {"case": str(number)}, now)
    return "opened"


def open_of(db: Db, member_id: UUID) -> Case | None:
    """The one in which the member waits for a call."""
    return db.row(
        Case,
        """
        SELECT id, number, member_id, about, conversation, state, opened_at
        FROM cases WHERE member_id = %(member_id)s AND state = 'open'
        """,
        {"member_id": member_id},
    )


def waiting(db: Db) -> list[Case]:
    """All who wait for a call, the longest first."""
    return db.rows(
        Case,
        """
        SELECT id, number, member_id, about, conversation, state, opened_at
        FROM cases WHERE state = 'open' ORDER BY opened_at, number
        """,
    )


def close(db: Db, number: int, note: str, now: datetime) -> Literal["closed", "not_open"]:
    """The member was called. note: what came of it, without personal data."""
    member_id: UUID | None = db.value(
        """
        UPDATE cases SET state = 'closed', closed_at = %(now)s
        WHERE number = %(number)s AND state = 'open' RETURNING member_id
        """,
        {"number": number, "now": now},
    )
    if member_id is None:
        return "not_open"
    incidents.end(db, "call_me", member_id, note, now)
    return "closed"


def new_number(db: Db) -> int:
    """The next of all that is said on the phone as "case 5001"."""
    number: int = db.value("SELECT nextval('case_numbers')")
    return number


def _json(said: Said) -> dict[str, str]:
    return {
        "at": said.at.isoformat(),
        "channel": said.channel,
        "label": said.label,
        "screen": said.screen,
    }
