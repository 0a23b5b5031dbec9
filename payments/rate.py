"""The rate of our calls to a provider: a bucket of tokens, one a process."""

from collections.abc import Callable
from threading import Lock
from time import monotonic, sleep

from core.errors import Unavailable


class Bucket:
    """Lets per_second calls through on average, and a second's worth at once after a pause."""

    def __init__(
        self,
        per_second: float,
        *,
        wait_seconds_max: float = 5.0,
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        assert per_second > 0, f"{per_second} calls a second let nothing through"
        self._interval = 1 / per_second
        self._saved_seconds_max = max(0.0, 1 - self._interval)
        self._wait_seconds_max = wait_seconds_max
        self._clock = clock
        self._wait = wait
        self._lock = Lock()
        self._next_turn = clock() - self._saved_seconds_max

    def take(self) -> None:
        """Wait for this call's turn. Raises Unavailable: the turn is too far off."""
        with self._lock:
            now = self._clock()
            turn = max(self._next_turn, now - self._saved_seconds_max)
            if turn - now > self._wait_seconds_max + 1e-6:  # a clock's rounding is no delay
                raise Unavailable("too many calls to the provider are waiting")
            self._next_turn = turn + self._interval
        if turn > now:
            self._wait(turn - now)
