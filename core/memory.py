"""Memory: what this process read a moment ago and may show once more, bounded in age and number."""

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Any, TypeVar

Kept = TypeVar("Kept")

ENTRIES_MAX = 1_000


class Memory:
    """seconds: the greatest age of what it gives; 0: it keeps nothing.

    Threads share it without a lock: two that miss at once both read, and either answer is as new.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._age_max = timedelta(seconds=seconds)
        self._kept: dict[Hashable, tuple[datetime, Any]] = {}

    def recall(self, key: Hashable, read: Callable[[], Kept], now: datetime) -> Kept:
        """What `read` gave for this key not long before now; else what it gives. Not to be changed.

        A clock that was set back makes what was kept of the future be read anew.
        """
        if not self._age_max:
            return read()
        kept = self._kept.get(key)
        if kept is not None and timedelta(0) <= now - kept[0] < self._age_max:
            found: Kept = kept[1]
            return found
        found = read()
        if len(self._kept) >= ENTRIES_MAX:
            self._kept = {}  # all of them are read anew within seconds anyway
        self._kept[key] = (now, found)
        return found
