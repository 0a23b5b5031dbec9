"""Wordings: the table of all messages (messages.toml): who hears of what, in which words."""

import string
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

from core.days import EAST_AFRICA_TIME
from core.gsm import SEPTETS, clip, plain, septets

Class = Literal["code", "receipt", "alert", "marketing", "reply"]

FALLBACK: Final = "en"
# Of an order's event; of a member's; of a phone's, a member's or not.
RECEIVERS: Final = ({"buyer", "seller"}, {"member"}, {"phone"})
# Of an order that somebody else receives: the buyer in words of her own, and who has the goods.
OF_A_GIFT: Final = frozenset({"giver", "receiver"})
KEEPER: Final = "keeper"  # a seller whose money is not sent on at once, in words of his own
HIDDEN: Final = "####"  # stands for a code where a message is shown again
# One part, less what the gateway itself may add (opt-out words on a first message).
ADDED_SEPTETS: Final = 20
ROOM_SEPTETS: Final = 160 - ADDED_SEPTETS
ROOM_OF_PART_SEPTETS: Final = 153  # of several
# Known only while sending: kept in the stored text as {code}, {dial}, {paybill}.
LATE: Final = frozenset({"code", "dial", "paybill"})
# Of one order; words that speak of several at once cannot have them.
_OF_ONE: Final = frozenset({"code", "day", "name", "net", "order", "place", "seller"})


@dataclass(frozen=True)
class Wording:
    """One receiver's words. kind: the message's class. texts: a template by language.

    can_wait: at night it is kept until morning. by_sms: to the phone itself, and to no chat.
    parts: of an SMS, that it may take.
    """

    kind: str
    texts: Mapping[str, str]
    can_wait: bool = False
    by_sms: bool = False
    parts: int = 1

    @property
    def for_several(self) -> bool:
        """One message for all orders of an event, not one for each."""
        return "orders" in placeholders(self.texts[FALLBACK])


@dataclass(frozen=True)
class Table:
    """triggers: by trigger, then by receiver; None is a declared silence.

    widths: septets of placeholders that are words, and clipped; figures: of those that are not.
    """

    triggers: Mapping[str, Mapping[str, Wording | None]]
    widths: Mapping[str, int]
    figures: Mapping[str, int]


@cache
def table() -> Table:
    return parse((Path(__file__).parent / "messages.toml").read_text(encoding="utf-8"))


def parse(toml: str) -> Table:
    tables = tomllib.loads(toml)
    widths, figures = tables.pop("width"), tables.pop("figure")
    triggers = {
        trigger: {receiver: _wording(given) for receiver, given in receivers.items()}
        for trigger, receivers in tables.items()
    }
    return Table(triggers, widths, figures)


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with its values; what is LATE stays as it stands.

    A moment is shown by the market's clock, as 22/11 12:15; a day as 22/11.
    """
    return template.format_map(_Filled(values))


def complete(text: str, late: Mapping[str, str]) -> str:
    """A stored text with what is LATE filled in."""
    for name, value in late.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def late_in(text: str) -> frozenset[str]:
    """Which of what is LATE the stored text waits for."""
    return frozenset(name for name in LATE if f"{{{name}}}" in text)


def placeholders(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)


def widest(template: str, known: Table | None = None) -> int:
    """The septets of the longest text that the template can become."""
    known = known or table()
    wide = {name: "W" * width for name, width in {**known.widths, **known.figures}.items()}
    return septets(template.format_map(wide))


def faults(languages: Iterable[str], known: Table | None = None) -> list[str]:
    """Everything wrong with the table, each as a line that names its place.

    languages: those that every message must have.
    """
    known, spoken = known or table(), set(languages)
    found = []
    for trigger, receivers in known.triggers.items():
        needed = set(receivers) - ({KEEPER, *OF_A_GIFT} if "buyer" in receivers else set())
        if needed not in RECEIVERS:
            found.append(f"{trigger} speaks to {', '.join(receivers)}: one is missing or unknown")
        for receiver, wording in receivers.items():
            if wording is not None:
                said = _faults_of(wording, spoken, known)
                found += [f"{trigger}.{receiver} {fault}" for fault in said]
    return found


def _wording(given: Mapping[str, Any]) -> Wording | None:
    texts = dict(given)
    if "silence" in texts:
        assert set(texts) == {"silence"}, f"silence or words: {sorted(texts)}"
        return None
    kind = texts.pop("class")
    can_wait, by_sms = texts.pop("can_wait", kind == "marketing"), texts.pop("by_sms", False)
    return Wording(kind, texts, can_wait, by_sms, texts.pop("parts", 1))


def _faults_of(wording: Wording, languages: set[str], known: Table) -> Iterator[str]:
    if wording.kind not in get_args(Class):
        yield f"is of class {wording.kind}"
    if set(wording.texts) != languages:
        yield f"is said in {', '.join(sorted(wording.texts))}"
    wanted = {placeholders(text) for text in wording.texts.values()}
    if len(wanted) > 1:
        yield "has other placeholders in one language than in another"
    used = frozenset().union(*wanted)
    undeclared = used - known.widths.keys() - known.figures.keys()
    if undeclared:
        yield f"has placeholders without a width: {', '.join(sorted(undeclared))}"
        return
    if "orders" in used and used & _OF_ONE:
        yield f"speaks of several orders and of one: {', '.join(sorted(used & _OF_ONE))}"
    if ("code" in used) != (wording.kind == "code"):
        yield "is of class code and has none, or the reverse"
    for language, text in wording.texts.items():
        if strange := set(text) - set(SEPTETS):
            yield f"in {language} has letters no plain phone has: {' '.join(sorted(strange))}"
        elif (needed := widest(text, known)) > (room := _room_septets(wording)):
            yield f"in {language} can take {needed} septets of {room}"


def _room_septets(wording: Wording) -> int:
    if wording.parts == 1:
        return ROOM_SEPTETS
    return wording.parts * ROOM_OF_PART_SEPTETS - ADDED_SEPTETS


class _Filled(dict[str, object]):
    """The values of a template, on demand and never wider than declared."""

    def __init__(self, values: Mapping[str, object]) -> None:
        super().__init__()
        self._values = values

    def __missing__(self, name: str) -> str:
        if name in LATE:
            return f"{{{name}}}"
        value = self._values[name]
        if isinstance(value, datetime):
            value = value.astimezone(EAST_AFRICA_TIME).strftime("%d/%m %H:%M")
        elif isinstance(value, date):
            value = value.strftime("%d/%m")
        known = table()
        if name in known.widths:
            return clip(str(value), known.widths[name])
        # A figure wider than declared costs a second part, and stops nothing it tells of.
        return plain(str(value))
