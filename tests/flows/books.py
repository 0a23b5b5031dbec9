"""Tiny flows for tests: a stall that sells one thing, and words to go with it."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import Invalid
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick, State
from flows.words import parse


@dataclass
class Answers:
    product: str | None = None
    quantity: int | None = None


def goods(_context: Context, _answers: Any) -> list[Option[str]]:
    return [Option(name, {"product": name}) for name in ("beans", "maize", "rice")]


@hints("number")
def quantity(_context: Context, _answers: Any, text: str) -> int:
    if not text.isdecimal():
        raise Invalid("number")
    return int(text)


def sell(_context: Context, _answers: Any) -> Literal["sold", "sold_out"]:
    return "sold"


PICK = Pick("product", options=goods, to="quantity", empty="closed")
ASK = Ask("quantity", parse=quantity, to="sell")
CALL = Call("sell", do=sell, to={"sold": "thanks", "sold_out": "product"})
THANKS, CLOSED = End("thanks"), End("closed")
STALL = (PICK, ASK, CALL, THANKS, CLOSED)

WORDS: dict[str, Any] = {
    "resume": {"en": "your order", "sw": "oda yako"},
    "product": {
        "en": "What?",
        "sw": "Nini?",
        "item": {"en": "{product}", "sw": "{product}"},
    },
    "quantity": {"en": "How many?", "sw": "Ngapi?"},
    "thanks": {"en": "Thank you.", "sw": "Asante."},
    "closed": {"en": "Nothing is left.", "sw": "Hakuna kitu."},
    "hint": {
        "number": {"en": "Type a number.", "sw": "Andika nambari."},
        "sold_out": {"en": "Sold out.", "sw": "Imekwisha."},
    },
}


def flow(
    table: tuple[State, ...] = STALL,
    words: dict[str, Any] | None = None,
    answers: type[Any] = Answers,
    name: str = "stall",
) -> Flow:
    """A flow of its own words. words: changes to WORDS by dotted name; None takes one away."""
    changed = deepcopy(WORDS)
    for dotted, value in (words or {}).items():
        *groups, key = dotted.split(".")
        group = changed
        for part in groups:
            group = group.setdefault(part, {})
        if value is None:
            group.pop(key)
        else:
            group[key] = value
    return Flow(name, answers, table, given_words=parse(changed))


def menu(name: str, **to: str) -> Menu:
    return Menu(name, to=to)
