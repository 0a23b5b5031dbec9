"""Telling a business something by a callback: once or often, and again where nobody took it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from simulator import outbound
from simulator.clock import Clock

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0  # how long M-Pesa waits for a business to take a callback
RETRY_SECONDS = 60.0

Act = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a callback is told: how often, all at the same instant or so many seconds apart.

    retries: more tries of each where the answer was not 200.
    """

    repeats: int = 1
    together: bool = False
    gap_seconds: float = 1.0
    retries: int = 0


class Teller:
    """Makes acts that post; each act waits for its answers, so do it outside of any change."""

    def __init__(self, clock: Clock, post: outbound.Post) -> None:
        self._clock = clock
        self._post = post

    def acts(
        self, url: str, bodies: list[tuple[bytes, str]], manner: Manner
    ) -> list[tuple[float, Act]]:
        """What there is to do: how many seconds after the first, and the act.

        bodies: with their content types, in the order in which they are told.
        """
        sendings = 1 if manner.together else manner.repeats
        acts = [
            self._act(url, body, content_type, manner)
            for body, content_type in bodies
            for _ in range(sendings)
        ]
        return [(place * manner.gap_seconds, act) for place, act in enumerate(acts)]

    def _act(self, url: str, body: bytes, content_type: str, manner: Manner) -> Act:
        def once() -> outbound.Answer:
            return self._post(url, body, {"Content-Type": content_type}, TIMEOUT_SECONDS)

        def act(tries_left: int = manner.retries) -> None:
            times = manner.repeats if manner.together else 1
            taken = True
            for answer in outbound.together(*[once] * times):
                if isinstance(answer, outbound.Unanswered) or answer.status != 200:
                    taken = False
                    log.info("a callback was not taken: %s", _how(answer))
            if not taken and tries_left > 0:
                self._clock.after(RETRY_SECONDS, lambda: act(tries_left - 1))

        return act


def _how(answer: outbound.Answer | outbound.Unanswered) -> str:
    return str(answer) if isinstance(answer, outbound.Unanswered) else f"HTTP {answer.status}"
