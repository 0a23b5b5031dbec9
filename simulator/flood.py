"""Telegram's flood limits: how fast a bot may write, to one chat and over all.

Source: Bot API FAQ: about one message a second to a chat, with short bursts; about thirty a second
over all. The real figures are not published; they are rules here.
"""

import math
from datetime import datetime

from simulator.rules import Rules

ALL_BURST_SECONDS = 1.0  # over all, a second's worth may come at once


class Flood:
    """A bucket of messages for each chat and one for all, which fill as time passes."""

    def __init__(self) -> None:
        self._buckets: dict[int | None, tuple[float, datetime]] = {}  # left, and when that was

    def take(self, chat_id: int, now: datetime, rules: Rules) -> int:
        """One message more. Returns 0, or after how many seconds it may be tried again."""
        wanted = (
            (chat_id, rules.telegram_chat_rate, float(rules.telegram_chat_burst)),
            (None, rules.telegram_rate, max(1.0, rules.telegram_rate * ALL_BURST_SECONDS)),
        )
        lefts = {key: self._left(key, rate, most, now) for key, rate, most in wanted if rate > 0}
        wait = max(
            ((1 - lefts[key]) / rate for key, rate, _ in wanted if key in lefts), default=0.0
        )
        if wait > 0:
            return math.ceil(wait)
        self._buckets.update({key: (left - 1, now) for key, left in lefts.items()})
        return 0

    def _left(self, key: int | None, rate: float, most: float, now: datetime) -> float:
        left, then = self._buckets.get(key, (most, now))
        return min(most, left + (now - then).total_seconds() * rate)
