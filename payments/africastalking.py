"""Africa's Talking's SDK over a wire of our own: bounded, and honest about what nobody knows.

Source: package africastalking 2.0.3. Its own way to the wire has the addresses fixed, no
connection kept, no status on errors, no dict where the content type names a charset, and takes
proxies from the environment. What is sent, and in what form, stays the SDK's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import local
from typing import Any

import requests

from payments import wire
from payments.wire import Answer


@dataclass(frozen=True)
class Account:
    """Our account at Africa's Talking. base_url: of the service, without the version."""

    base_url: str
    username: str
    api_key: str = field(repr=False)
    connect_seconds: float = 3.0
    read_seconds: float = 9.0


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

        Raises wire.NotSent, wire.Lost.
        """
        account = self._account
        seconds = (account.connect_seconds, account.read_seconds)
        return wire.ask(
            *(self._session(), method, url),
            seconds=seconds,
            headers=headers,
            data=data,
            params=params,
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            self._sessions.append(session)
            session.trust_env = False
        return session


def load_object(body: bytes) -> dict[str, Any]:
    """The JSON object in body, whatever content type it came under; empty for anything else."""
    try:
        found = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
