"""USSD as all gateways know it: a session of screens and replies, and the port to a gateway."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol
from urllib.parse import quote_plus

from simulator import outbound
from simulator.rules import Rules

NETWORK_ERROR = "Network error. Try again later."

Status = Literal["Success", "Incomplete", "Failed"]


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the gateway's to the application."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Screen:
    """What an answer says. wrong: why it is none, and the session has failed."""

    text: str
    goes_on: bool
    wrong: str = ""


@dataclass(slots=True)
class Session:
    """One dialogue. dialled: the whole code; replies: what was sent since, and along with it.

    label: what the application gave the gateway to keep; "" for nothing.
    """

    id: str
    gateway: "Gateway"
    msisdn: str
    network_code: str
    dialled: str
    began_at: datetime
    touched_at: datetime
    replies: list[str]
    hops: int = 0
    last_answer: str = ""
    label: str = ""
    labels_seen: list[str] = field(default_factory=list)
    newest: Request | None = None  # the hop sent last
    is_open: bool = True
    is_waiting: bool = False  # a hop is on its way


class Gateway(Protocol):
    """One provider's way of carrying a session."""

    def replies_dialled(self, code: str) -> list[str] | None:
        """The replies dialled along with the code; None: not our service."""

    def new_id(self, chance: random.Random) -> str:
        """A session's id, as this gateway forms them."""

    def hop(self, session: Session, rules: Rules) -> Request:
        """What it sends of the session as it stands; its hops count this one."""

    def read(self, session: Session, answer: outbound.Answer) -> Screen:
        """What the answer says; what it says for the gateway itself is kept in the session."""

    def notice(self, session: Session, status: Status, error: str, now: datetime) -> Request | None:
        """What it tells when the session has ended, if it tells."""


def extension(service_code: str, code: str) -> list[str] | None:
    """The replies in "*384*7042*1*2#" after the service's "*384*7042#"; None: another code."""
    service = service_code.removesuffix("#")
    if code == service_code:
        return []
    if code.startswith(service + "*") and code.endswith("#"):
        return code[len(service) + 1 : -1].split("*")
    return None


def read_prefixed(answer: outbound.Answer) -> Screen:
    """An answer of plain text that begins with CON or END."""
    if answer.status != 200:
        return Screen(NETWORK_ERROR, False, f"The application answered HTTP {answer.status}")
    prefix, text = answer.text[:4], answer.text[4:]
    if prefix not in ("CON ", "END "):
        return Screen(NETWORK_ERROR, False, "The answer begins with neither CON nor END")
    return Screen(text, prefix == "CON ")


def form(*pairs: tuple[str, str]) -> bytes:
    """Form data as gateways encode it: "+", "*" and "#" escaped, a space as "+".

    A lone surrogate, which a broken phone may send, goes out as the bytes it would be.
    """
    return "&".join(
        f"{name}={quote_plus(value, safe='', errors='surrogatepass')}" for name, value in pairs
    ).encode("ascii")
