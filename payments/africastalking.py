"""Africa's Talking's SDK over a wire of our own: bounded, and honest about what nobody knows.

Source: package africastalking 2.0.3. Its own way to the wire has the addresses fixed, no
connection kept, no status on errors, no dict where the content type names a charset, and takes
proxies from the environment. What is sent, and in what form, stays the SDK's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from payments import wire
from payments.wire import Answer, Sessions


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
        self._sessions = Sessions()

    def close(self) -> None:
        """Let go of every connection; no call may be under way."""
        self._sessions.close()

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
            *(self._sessions.mine(), method, url),
            seconds=seconds,
            headers=headers,
            data=data,
            params=params,
        )
