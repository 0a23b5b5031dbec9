"""Stopping: a loop's way to hear of SIGTERM and Ctrl-C."""

import signal
from time import monotonic, sleep
from typing import Protocol

SLICE_SECONDS = 0.1


class Stopping(Protocol):
    """What a loop asks; threading.Event does as well where no signal sets it."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float) -> bool: ...


class Signalled:
    """Set by SIGTERM or SIGINT.

    A list, not an Event: a handler runs in the middle of whatever the main thread does, and would
    wait for ever for the Event's lock if that very thread holds it.
    """

    def __init__(self) -> None:
        self._caught: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda caught, _: self._caught.append(caught))

    def is_set(self) -> bool:
        return bool(self._caught)

    def wait(self, timeout: float) -> bool:
        """Up to timeout seconds; whether it is set."""
        until = monotonic() + timeout
        while not self._caught and (left := until - monotonic()) > 0:
            sleep(min(left, SLICE_SECONDS))
        return self.is_set()
