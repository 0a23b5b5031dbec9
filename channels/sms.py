"""The port: what the market asks of whoever carries its SMS."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from core.sendings import SendAnswer


class Sender(Protocol):
    """A gateway for SMS. Each call is done, refused before acting, or unknown."""

    def send(self, msisdn: str, text: str) -> SendAnswer:
        """Send one message. Not idempotent: whoever calls twice may be heard twice.

        msisdn: +254…; text: not empty, of any length. Never raises for what a gateway or a network
        does: a doubt is outcome "unknown".
        """

    def send_all(self, msisdns: Sequence[str], text: str) -> Mapping[str, SendAnswer]:
        """The same text to several, in one call; an answer for each. msisdns: up to a hundred."""
