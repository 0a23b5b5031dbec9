"""The world's time: what o'clock it is there, and what is due when.

Virtual: time stands still until `advance`, which fires what falls due in order on the caller's
thread, so a test repeats exactly. Real: one thread watches the clock and a few workers do what is
due, so one slow callback does not hold up the others.
"""

import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

Act = Callable[[], object]

EAST_AFRICA = timezone(timedelta(hours=3), "EAT")  # M-Pesa's stamps; Kenya has no summer time
# Enough for a burst of callbacks, each waiting up to its time-out on a struggling receiver.
WORKERS = 16

log = logging.getLogger(__name__)


class Clock:
    """Either virtual (`Clock(start)`) or real (`Clock()`, then `start`)."""

    def __init__(self, virtual_from: datetime | None = None) -> None:
        assert virtual_from is None or virtual_from.tzinfo is not None, "a start without a zone"
        self._virtual_now = virtual_from
        self._due: list[tuple[datetime, int, Act]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._advancing = threading.Lock()
        self._stopped = False
        self._ready: queue.SimpleQueue[Act] = queue.SimpleQueue()

    @property
    def is_virtual(self) -> bool:
        return self._virtual_now is not None

    def now(self) -> datetime:
        """Aware, UTC."""
        return self._virtual_now or datetime.now(UTC)

    def after(self, seconds: float, act: Act) -> None:
        """Have `act` done that many seconds from now; never at once, not even for 0 seconds."""
        self.at(self.now() + timedelta(seconds=seconds), act)

    def at(self, when: datetime, act: Act) -> None:
        """Have `act` done at that time, or as soon as may be if that has passed."""
        with self._changed:
            heapq.heappush(self._due, (when, next(self._order), act))
            self._changed.notify()

    def advance(self, seconds: float) -> None:
        """Virtual only: let time pass, doing what falls due, and what that makes due in turn."""
        assert self._virtual_now is not None, "only a virtual clock can be advanced"
        with self._advancing:
            until = self._virtual_now + timedelta(seconds=seconds)
            while act := self._next_before(until):
                act()
            self._virtual_now = until

    def start(self) -> None:
        """Real only: begin doing what is due, in daemon threads."""
        assert not self.is_virtual, "a virtual clock needs no threads"
        threading.Thread(target=self._watch, name="clock", daemon=True).start()
        for number in range(WORKERS):
            threading.Thread(target=self._work, name=f"due-{number}", daemon=True).start()

    def stop(self) -> None:
        """Nothing more falls due. What is being done is left to end with the process."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _next_before(self, until: datetime) -> Act | None:
        with self._changed:
            if not self._due or self._due[0][0] > until:
                return None
            when, _, act = heapq.heappop(self._due)
            assert self._virtual_now is not None
            self._virtual_now = max(self._virtual_now, when)
            return act

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and not self._is_something_due():
                    self._changed.wait(self._seconds_to_next())
                if self._stopped:
                    return
                self._ready.put(heapq.heappop(self._due)[2])

    def _is_something_due(self) -> bool:
        return bool(self._due) and self._due[0][0] <= self.now()

    def _seconds_to_next(self) -> float | None:
        return (self._due[0][0] - self.now()).total_seconds() if self._due else None

    def _work(self) -> None:
        while True:
            act = self._ready.get()
            try:
                act()
            except Exception:  # one broken act must not silence the world; it is logged whole
                log.exception("something due could not be done")
