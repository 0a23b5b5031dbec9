"""M-Pesa's access tokens: one valid at a time for an app, until it expires or a newer one comes."""

import random
import string
from datetime import datetime, timedelta

LETTERS = string.ascii_letters + string.digits


class Tokens:
    """The one token that opens the gateway now."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._valid: str | None = None
        self._until: datetime | None = None

    def mint(self, now: datetime, lifetime_seconds: float) -> str:
        """A new token; the one before is worth nothing from now on."""
        self._valid = "".join(self._chance.choices(LETTERS, k=28))
        self._until = now + timedelta(seconds=lifetime_seconds)
        return self._valid

    def opens(self, token: str, now: datetime) -> bool:
        return token == self._valid and self._until is not None and now < self._until

    def replace(self) -> None:
        """As when another process has just minted one: ours is worth nothing."""
        self._valid = None
