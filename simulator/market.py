"""What the system under test says of its orders and its books, fetched while somebody looks."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

log = logging.getLogger(__name__)

EVERY_SECONDS = 0.7
TIMEOUT_SECONDS = 3.0


class Market:
    """The latest word of it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._watchers = 0
        self._left = threading.Event()
        self.is_known = False  # whether it was ever asked
        self.seen: Any = None  # what it said; None while nobody answers

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody looks: from the first to the last of them it is asked again and again."""
        with self._lock:
            self._watchers += 1
            if self._watchers == 1:
                self._left = threading.Event()
                threading.Thread(
                    target=self._ask_until, args=(self._left,), name="market", daemon=True
                ).start()
        try:
            yield
        finally:
            with self._lock:
                self._watchers -= 1
                if self._watchers == 0:
                    self._left.set()

    def _ask_until(self, left: threading.Event) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not left.is_set():
                self.seen, self.is_known = self._ask(session), True
                left.wait(EVERY_SECONDS)

    def _ask(self, session: requests.Session) -> Any:
        try:
            answer = session.get(self._url, timeout=TIMEOUT_SECONDS, allow_redirects=False)
            return answer.json() if answer.status_code == 200 else None
        except requests.RequestException as error:
            log.info("the market cannot be watched: %s", type(error).__name__)
            return None
