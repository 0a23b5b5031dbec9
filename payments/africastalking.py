"""Africa's Talking's SDK over a wire of our own: bounded, and honest about what nobody knows.

Source: package africastalking 2.0.3. Its own way to the wire has the addresses fixed, no
connection kept, no status on errors, no dict where the content type names a charset, and takes
proxies from the environment. What is sent, and in what form, stays the SDK's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import local
from time import monotonic
from typing import Any, Final

import requests
import urllib3.exceptions

ANSWER_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True)
class Account:
    """Our account at Africa's Talking. base_url: of the service, without the version."""

    base_url: str
    username: str
    api_key: str = field(repr=False)
    connect_seconds: float = 3.0
    read_seconds: float = 9.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = field(repr=False)


class NotSent(Exception):
    """Nothing has reached the gateway."""

    code = "no_connection"


class Lost(Exception):
    """Sent, perhaps received, perhaps acted upon: no answer came."""

    def __init__(self, code: str) -> None:
        super().__init__(f"no answer: {code}")
        self.code = code


class Wire:
    """Mixed into one of the SDK's services, before it; safe for threads, one for each process."""

    def __init__(self, account: Account, version: str) -> None:
        super().__init__(account.username, account.api_key)  # type: ignore[call-arg]  # the SDK's
        self._baseUrl = f"{account.base_url}/{version}"
        self._account = account
        self._threads = local()
        self._sessions: list[requests.Session] = []

    def close(self) -> None:
        """Let go of every connection; no call may be under way."""
        for session in self._sessions:
            session.close()

    def _make_request(
        self,
        url: str,
        method: str,
        headers: Mapping[str, str],
        data: Any,
        params: None,
        **_its_own: object,
    ) -> Answer:
        """One HTTP request, its answer read within bounds of size and time.

        Raises NotSent, Lost.
        """
        account = self._account
        give_up_at = monotonic() + account.connect_seconds + account.read_seconds
        try:
            with self._session().request(
                method,
                url,
                headers=headers,
                data=data,
                params=params,
                timeout=(account.connect_seconds, account.read_seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = b""
                for piece in response.iter_content(8192):
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX or monotonic() > give_up_at:
                        raise Lost("endless")
                return Answer(response.status_code, body)
        except requests.RequestException as error:
            if _never_connected(error):
                raise NotSent from error
            raise Lost("timeout" if isinstance(error, requests.Timeout) else "reset") from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            self._sessions.append(session)
            session.trust_env = False
        return session


def _never_connected(error: requests.RequestException) -> bool:
    """Whether not one byte of the request can have left: no address, refused, or no handshake."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )


def load_object(body: bytes) -> dict[str, Any]:
    """The JSON object in body, whatever content type it came under; empty for anything else."""
    try:
        found = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
