"""Nudges: one SMS to whoever was cut off in the middle of something worth going on with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from core import carts, catalogue, messages, outbox, quiet, stock
from core.database import Db
from core.rules import Rules
from flows import conversations, engine
from flows.book import BOOK
from flows.conversations import Conversation
from flows.engine import Frame

SILENT_AFTER: Final = timedelta(minutes=3)  # the longest a session lives (Safaricom, Airtel)
FORGOTTEN_AFTER: Final = timedelta(
    minutes=15
)  # nobody waits any more for what was left so long ago
EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True)
class _Left:
    """A USSD conversation that nobody goes on with."""

    id: UUID
    turn: int
    frame: dict[str, Any] = field(repr=False)
    member_id: UUID
    language: str


def foresee(db: Db, session: str, rules: Rules, now: datetime) -> None:
    """That session was cut off: whoever left it in the middle of something is nudged in a while."""
    left = _newest_of(db, session)
    frame = conversations.frame_of(left.frame) if left else None
    if frame is not None and engine.nudges(BOOK, frame):
        due_at = now + timedelta(seconds=rules.nudge_after_seconds)
        outbox.put(db, "nudge_cut_off", due_at=due_at, session=session)


def cut_off(db: Db, session: str, rules: Rules, now: datetime) -> int:
    """Nudge whoever was cut off in that session and has not gone on since; how many."""
    left = _newest_of(db, session)
    wait = timedelta(seconds=rules.nudge_after_seconds)
    return _send(db, [left.id], now - wait, rules, now) if left else 0


def silent(db: Db, rules: Rules, now: datetime) -> int:
    """Nudge whoever fell silent lately, without a word from the gateway; how many.

    Found by their hops, of which each has one: looking costs the hops of a quarter of an hour, and
    taking an answer costs nothing.
    """
    found: list[UUID] | None = db.value(
        """
        SELECT array_agg(DISTINCT conversation_id) FROM hops
        WHERE created_at > %(forgotten)s AND created_at <= %(silent)s
        """,
        {"forgotten": now - FORGOTTEN_AFTER, "silent": now - SILENT_AFTER},
    )
    return _send(db, found or [], now - SILENT_AFTER, rules, now)


def _newest_of(db: Db, session: str) -> Conversation | None:
    """The conversation whose newest session that is."""
    kept = conversations.of_session(db, session)
    return kept if kept is not None and kept.session == session else None


def _send(db: Db, found: Sequence[UUID], before: datetime, rules: Rules, now: datetime) -> int:
    """Nudge the members in those of the conversations found that stood still since `before`,
    where the flow says so and their phone spoke to us nowhere else. Never at night.
    """
    if quiet.over_at(now, rules) > now:
        return 0
    left_off = db.rows(
        _Left,
        """
        SELECT c.id, c.turn, c.frame, m.id AS member_id, m.language
        FROM conversations c
        JOIN members m ON m.id = c.speaker_id AND m.deleted_at IS NULL
        WHERE c.id = ANY(%(found)s) AND c.channel = 'ussd' AND c.frame IS NOT NULL
          AND c.updated_at > %(forgotten)s AND c.updated_at <= %(before)s
          AND (c.nudged_at IS NULL OR c.nudged_at <= %(hour_ago)s)
          AND NOT EXISTS (SELECT FROM conversations o
                          WHERE o.msisdn = c.msisdn AND o.id <> c.id
                            AND o.updated_at > c.updated_at)
        ORDER BY c.updated_at
        """,
        {
            "found": list(found),
            "before": before,
            "forgotten": now - FORGOTTEN_AFTER,
            "hour_ago": now - EVERY,
        },
    )
    return sum(_nudge(db, left, now) for left in left_off)


def _nudge(db: Db, left: _Left, now: datetime) -> bool:
    frame = conversations.frame_of(left.frame)
    assert frame is not None, f"conversation {left.id} stands nowhere"
    if not engine.nudges(BOOK, frame) or _sold_out(db, left, frame, now):
        return False
    still_there = db.run(
        "UPDATE conversations SET nudged_at = %(now)s WHERE id = %(id)s AND turn = %(turn)s",
        {"now": now, "id": left.id, "turn": left.turn},
    )
    if not still_there:
        return False
    messages.of_member(db, "left_off", left.member_id, {}, now)
    return True


def _sold_out(db: Db, left: _Left, frame: Frame, now: datetime) -> bool:
    """Whether nothing is left of it, neither the offer looked at nor a line of the cart."""
    looked_at = frame.answers.get("offer")
    if looked_at is not None:
        offer = catalogue.offer(db, UUID(str(looked_at)), left.language, now)
        if offer is not None and offer.available_milli >= offer.minimum_milli:
            return False
    lines = carts.read(db, left.member_id, left.language).lines
    if looked_at is None and not lines:
        return False  # she was still choosing
    return not any(stock.available(db, [line.offer_id for line in lines], now).values())
