"""A person of the pretend world: a number, and what somebody does with it who knows the screens."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from simulator.phone import Prompt

WAIT_SECONDS = 20.0  # nothing here takes longer than a few; the machine may be busy
POLL_SECONDS = 0.1
PAGES_MAX = 9
MORE = "99"
HIDDEN = "••••"

Found = TypeVar("Found")


class Lost(Exception):
    """The screens or the world were not as expected; the message says what was."""


class World(Protocol):
    """The JSON calls, as phone.World makes them."""

    def call(self, method: str, path: str, body: Any = None) -> Any: ...

    def text(self, path: str) -> str: ...


@dataclass(frozen=True)
class Turn:
    """A screen, and what was typed on it; "" where it was the last.

    key: as typed. meaning: the option's words that the key stood for; "" where text was typed.
    """

    screen: str
    key: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Sms:
    sender: str
    text: str


@dataclass
class Talk:
    """One USSD session. The person types what stands beside the words they look for.

    turns: all but the last screen; the first is the idle phone, on which the code was dialled.
    """

    world: World
    session: str | None
    screen: str
    is_open: bool
    turns: list[Turn]

    def choose(self, words: str) -> "Talk":
        """The option that begins with these words, on whichever page it stands.

        Raises Lost: there is none.
        """
        for _ in range(PAGES_MAX):
            found = re.search(rf"^([0-9]+) ({re.escape(words)}.*)$", self.screen, re.MULTILINE)
            if found and found[1] != MORE:
                return self._type(found[1], found[1], found[2])
            if not re.search(rf"^{MORE} ", self.screen, re.MULTILINE):
                break
            self._type(MORE, MORE, "…")
        raise Lost(f"There is no {words!r} on the screen:\n{self.screen}")

    def first(self) -> "Talk":
        """The first option, whatever it says."""
        return self.choose("")

    def type(self, text: str) -> "Talk":
        return self._type(text, text, "")

    def type_secret(self, text: str) -> "Talk":
        """Typed, and shown to nobody."""
        return self._type(text, HIDDEN, "")

    def see(self, words: str) -> "Talk":
        """Make sure of what the screen says. Raises Lost."""
        if words not in self.screen:
            raise Lost(f"{words!r} is not on the screen:\n{self.screen}")
        return self

    def all(self) -> list[Turn]:
        """Every screen, the last one too."""
        return [*self.turns, Turn(self.screen)]

    def _type(self, text: str, key: str, meaning: str) -> "Talk":
        if not self.is_open:
            raise Lost(f"The session has ended; {key} cannot be typed:\n{self.screen}")
        self.turns.append(Turn(self.screen, key, meaning))
        view = self.world.call("POST", "reply", {"session": self.session, "text": text})
        self.screen, self.is_open = view["screen"], view["open"]
        return self


@dataclass(frozen=True)
class Person:
    """colour: of their phone, as rich names it."""

    name: str
    number: str
    colour: str
    world: World = field(repr=False)

    @property
    def first_name(self) -> str:
        return self.name.split()[0]

    def dial(self, code: str) -> Talk:
        view = self.world.call("POST", "dial", {"number": self.number, "code": code})
        return Talk(self.world, view["session"], view["screen"], view["open"], [Turn("", code)])

    def prompt(self) -> Prompt:
        """The M-Pesa prompt, as soon as the phone shows one. Raises Lost."""

        def look() -> Prompt | None:
            shown = self.world.call("GET", f"prompts/{quote(self.number)}")
            names = Prompt.__slots__
            return Prompt(**{name: shown[0][name] for name in names}) if shown else None

        return until(f"an M-Pesa prompt on {self.first_name}'s phone", look)

    def pay(self, prompt: Prompt, pin: str) -> str:
        """Type the M-Pesa PIN; the receipt. Raises Lost."""
        outcome = self.world.call("POST", f"prompts/{prompt.id}", {"pin": pin})
        if outcome["result"] != "0":
            raise Lost(f"{self.first_name}'s payment failed: {outcome['message']}")
        return str(outcome["receipt"])

    def sms(self, words: str) -> Sms:
        """The first SMS in which the pattern stands, as soon as it is there. Raises Lost."""

        def look() -> Sms | None:
            received = self.world.call("GET", f"sms/{quote(self.number)}")
            found = (Sms(each["from"], each["text"]) for each in received)
            return next((each for each in found if re.search(words, each.text)), None)

        return until(f"an SMS on {self.first_name}'s phone with {words!r}", look)


def until(what: str, look: Callable[[], Found | None], seconds: float = WAIT_SECONDS) -> Found:
    """What the look finds, as soon as it finds something. Raises Lost."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise Lost(f"Waited {seconds:.0f} s in vain for {what}.")
        time.sleep(POLL_SECONDS)
