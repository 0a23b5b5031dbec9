"""Register: a stranger becomes a member in a minute."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import deals, members, pins, places
from core.errors import Invalid
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick
from flows.words import Values, common, load

CONSENT_VERSION = "2026-11-2"  # change it with the words of the state `consent`
PLACES_SHOWN_MAX = 8


@dataclass
class Answers:
    language: str | None = None
    name: str | None = None
    place_words: str | None = None
    place: UUID | None = None


def languages(_context: Context, _answers: Any) -> list[Option[str]]:
    return [Option(code, {"language": name}) for code, name in common().languages.items()]


def speak(context: Context, answers: Any) -> Literal["spoken"]:
    """From here on in the language chosen."""
    context.language = answers.language
    return "spoken"


@hints("name")
def name(_context: Context, _answers: Any, text: str) -> str:
    return members.parse_name(text)


@hints("place")
def place_words(_context: Context, _answers: Any, text: str) -> str:
    if len(text) < 2:
        raise Invalid("place")
    return text


def places_meant(context: Context, answers: Any) -> list[Option[UUID]]:
    found = places.find(context.db, answers.place_words, PLACES_SHOWN_MAX)
    return [Option(place.id, {"place": place.name, "county": place.county}) for place in found]


@hints("pin_digits", "pin_weak")
def new_pin(_context: Context, _answers: Any, text: str) -> str:
    return pins.parse(text)


def register(context: Context, answers: Any, pin: str) -> members.Registered:
    outcome = members.register(
        context.db,
        msisdn=context.msisdn,
        name=answers.name,
        place_id=answers.place,
        language=context.language,
        consent_version=CONSENT_VERSION,
        consent_wording=load("register").states["consent"].text[context.language],
        pin=pin,
        rules=context.rules,
        now=context.now,
    )
    context.member = members.by_msisdn(context.db, context.msisdn)
    return outcome


def awaited(context: Context, _answers: Any) -> Literal["invited", "nobody_waits"]:
    """Has somebody opened a deal with whoever has this phone?"""
    found = deals.waiting(context.db, context.buyer, context.now, limit=1)
    return "invited" if found else "nobody_waits"


def own_name(context: Context, _answers: Any) -> Values:
    return {"name": context.buyer.name}


REGISTER = Flow(
    "register",
    Answers,
    (
        Pick("language", options=languages, to="speak", resume="restart"),
        Call("speak", do=speak, effect=False, to={"spoken": "name"}),
        Ask("name", parse=name, to="place_words", resume="continue"),
        Ask("place_words", parse=place_words, to="place", resume="continue"),
        Pick("place", options=places_meant, to="consent", empty="place_words", resume="continue"),
        Menu("consent", to={"agree": "pin", "refuse": "declined"}, resume="continue"),
        Ask(
            "pin",
            parse=new_pin,
            secret=True,
            do=register,
            to={"registered": "awaited", "already_registered": "@home"},
            resume="continue",
        ),
        Call(
            "awaited",
            do=awaited,
            effect=False,
            to={"invited": "invited", "nobody_waits": "welcome"},
        ),
        Menu(
            "invited",
            show=own_name,
            to={"deals": "@safe_pay", "done": "goodbye"},
            resume="restart",
        ),
        Menu("welcome", show=own_name, to={"buy": "@buy", "done": "goodbye"}, resume="restart"),
        End("goodbye"),
        End("declined"),
    ),
)
