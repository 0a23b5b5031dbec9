"""The wire to a provider: one HTTP request, bounded, and honest about what nobody knows."""

import json
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from threading import local
from time import monotonic
from typing import Any, Final

import requests
import urllib3.exceptions

ANSWER_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = field(repr=False)


class NotSent(Exception):
    """Nothing has reached the provider."""

    def __init__(self, code: str) -> None:
        super().__init__(f"not sent: {code}")
        self.code = code


class Lost(Exception):
    """Sent, perhaps received, perhaps acted upon: no answer came."""

    def __init__(self, code: str) -> None:
        super().__init__(f"no answer: {code}")
        self.code = code


class Sessions:
    """One for each thread, with connections that last. Safe for threads; one for each process."""

    def __init__(self) -> None:
        self._threads = local()
        self._all: list[requests.Session] = []

    def mine(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            self._all.append(session)
            # Settings decide, not the proxies and passwords this machine's environment names.
            session.trust_env = False
        return session

    def close(self) -> None:
        """Let go of every connection; no call may be under way."""
        for session in self._all:
            session.close()


def ask(
    session: requests.Session,
    method: str,
    url: str,
    *,
    seconds: tuple[float, float],
    bytes_max: int = ANSWER_BYTES_MAX,
    **sent: Any,
) -> Answer:
    """What came back, read within bounds of size and time.

    seconds: to connect, and for each piece of the answer; their sum is for all of it. sent: what
    requests makes the request of. Raises NotSent, Lost.
    """
    give_up_at = monotonic() + sum(seconds)
    try:
        with session.request(
            method, url, timeout=seconds, allow_redirects=False, stream=True, **sent
        ) as response:
            body = bytearray()
            for piece in response.iter_content(8192):
                body += piece
                if len(body) > bytes_max or monotonic() > give_up_at:
                    raise Lost("endless")
            return Answer(response.status_code, bytes(body))
    except requests.RequestException as error:
        if _never_connected(error):
            raise NotSent("no_connection") from error
        raise Lost("timeout" if isinstance(error, requests.Timeout) else "reset") from error


def load_object(body: bytes) -> dict[str, Any]:
    """The object in body, numbers with decimals as Decimal; empty for anything else."""
    try:
        found = json.loads(
            body.decode("utf-8-sig", "replace"), parse_float=_decimal, parse_constant=lambda _: None
        )
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _decimal(text: str) -> Decimal | None:
    """None where its exponent is beyond what Decimal itself can hold."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _never_connected(error: requests.RequestException) -> bool:
    """Whether not one byte of the request can have left: no address, refused, or no handshake."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )
