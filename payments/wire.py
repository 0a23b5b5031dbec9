"""The wire to a provider: one HTTP request, bounded, and honest about what nobody knows."""

from dataclasses import dataclass, field
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
            body = b""
            for piece in response.iter_content(8192):
                body += piece
                if len(body) > bytes_max or monotonic() > give_up_at:
                    raise Lost("endless")
            return Answer(response.status_code, body)
    except requests.RequestException as error:
        if _never_connected(error):
            raise NotSent("no_connection") from error
        raise Lost("timeout" if isinstance(error, requests.Timeout) else "reset") from error


def _never_connected(error: requests.RequestException) -> bool:
    """Whether not one byte of the request can have left: no address, refused, or no handshake."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )
