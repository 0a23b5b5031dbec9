"""Standing: conversations as this process left them, so that the next hop need not read them.

What is remembered is never trusted: it counts only if the statement that saves the hop finds the
conversation and its member untouched since (docs/decisions/0019-a-hop-goes-on-from-memory.md).
"""

from typing import Final

from flows.conversations import Glimpse

CONVERSATIONS_MAX: Final = 2_000  # of 3 kB; more than one process serves at once


class Standing:
    """Threads share it without a lock: each step is one of a dictionary's own."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, str], Glimpse] = {}

    def take(self, channel: str, address: str, msisdn: str | None, session: str) -> Glimpse | None:
        """Where that session stands; it is remembered no more. msisdn: proved by the network."""
        left = self._left.pop((channel, address), None)
        if left is None or left.session != session or msisdn not in (None, left.msisdn):
            return None
        return left

    def keep(self, left: Glimpse) -> None:
        """Remember one that was saved, and committed, as it is."""
        if len(self._left) >= CONVERSATIONS_MAX:
            self._left.clear()  # whoever is there is read once
        self._left[left.channel, left.address] = left
