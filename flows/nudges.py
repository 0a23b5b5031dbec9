"""Nudges: one SMS to whoever was cut off in the middle of something worth going on with."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from core import catalogue, checkouts, messages, quiet
from core.database import Db
from flows import engine
from flows.book import BOOK
from flows.conversations import frame_of
from flows.engine import Frame

SILENT_AFTER: Final = timedelta(minutes=3)  # the longest a session lives (Safaricom, Airtel)
# After the gateway's notice that it was cut off: time to dial again by herself.
CUT_OFF_AFTER: Final = timedelta(seconds=30)
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


def send(db: Db, now: datetime) -> int:
    """Nudge whoever was cut off lately where the flow says so; how many. Never at night."""
    if quiet.over_at(now) > now:
        return 0
    return sum(_nudge(db, left, now) for left in _left_off(db, now))


def _left_off(db: Db, now: datetime) -> list[_Left]:
    """Those that fell silent, or were cut off, and whose phone spoke to us nowhere since.

    Found by their hops, of which each has one: looking costs the hops of a quarter of an hour, and
    taking an answer costs nothing.
    """
    return db.rows(
        _Left,
        """
        SELECT c.id, c.turn, c.frame, m.id AS member_id, m.language
        FROM (SELECT DISTINCT conversation_id FROM hops
              WHERE created_at > %(forgotten)s AND created_at <= %(cut_off)s) AS lately
        JOIN conversations c ON c.id = lately.conversation_id
        JOIN members m ON m.id = c.speaker_id AND m.deleted_at IS NULL
        WHERE c.channel = 'ussd' AND c.frame IS NOT NULL AND c.updated_at > %(forgotten)s
          AND (c.nudged_at IS NULL OR c.nudged_at <= %(hour_ago)s)
          AND (c.updated_at <= %(silent)s
               OR c.updated_at <= %(cut_off)s
                  AND EXISTS (SELECT FROM session_ends e
                              WHERE e.session = c.session AND e.status = 'Incomplete'
                                AND e.created_at <= %(cut_off)s))
          AND NOT EXISTS (SELECT FROM conversations o
                          WHERE o.msisdn = c.msisdn AND o.id <> c.id
                            AND o.updated_at > c.updated_at)
        ORDER BY c.updated_at
        """,
        {
            "forgotten": now - FORGOTTEN_AFTER,
            "silent": now - SILENT_AFTER,
            "cut_off": now - CUT_OFF_AFTER,
            "hour_ago": now - EVERY,
        },
    )


def _nudge(db: Db, left: _Left, now: datetime) -> bool:
    frame = frame_of(left.frame)
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
    lines = checkouts.cart(db, left.member_id, left.language, now).lines
    if looked_at is None and not lines:
        return False  # she was still choosing
    return not any(line.available_milli > 0 for line in lines)
