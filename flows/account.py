"""Account: a member's own name, place, language and PIN."""

import re
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import members, phone, pin_resets, pins, places
from core.errors import Invalid
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Pick, Show, nothing
from flows.register import languages, name, new_pin, place_words, places_meant
from flows.words import Values


@dataclass
class Answers:
    language: str | None = None
    name: str | None = None
    place_words: str | None = None
    place: UUID | None = None


def who_and_where(context: Context, _answers: Any) -> Values:
    place = places.by_id(context.db, context.buyer.place_id)
    return {"name": context.buyer.name, "place": place.name if place else ""}


def speak(context: Context, answers: Any) -> Literal["spoken"]:
    """What a member speaks is kept with the hop, however it was changed (flows.run)."""
    context.language = answers.language
    return "spoken"


def rename(context: Context, answers: Any) -> Literal["renamed"]:
    members.rename(context.db, context.buyer.id, answers.name, context.now)
    context.member = members.by_id(context.db, context.buyer.id)
    return "renamed"


def move(context: Context, answers: Any) -> Literal["moved"]:
    members.move(context.db, context.buyer.id, answers.place, context.now)
    context.member = members.by_id(context.db, context.buyer.id)
    return "moved"


@hints("pin_digits")
def typed_pin(_context: Context, _answers: Any, text: str) -> str:
    if not re.fullmatch("[0-9]{4}", text):
        raise Invalid("pin_digits")
    return text


def check_pin(context: Context, _answers: Any, pin: str) -> pins.Checked:
    return pins.check(context.db, context.buyer.id, pin, context.rules, context.now)


def ask_pin(state: str, *, to: str, show: Show = nothing) -> Ask:
    """Goes on with the right PIN, asks again after a wrong one, and ends where it is locked."""
    return Ask(
        state,
        show=show,
        parse=typed_pin,
        secret=True,
        do=check_pin,
        to={"right": to, "wrong": state, "locked": "locked"},
        resume="restart",
    )


def support(context: Context, _answers: Any) -> Values:
    return {"support": phone.local(context.rules.support_msisdn)}


def whether_forgotten(context: Context, _answers: Any) -> Literal["forgotten", "known"]:
    """Whether two of ours let her choose a PIN without the old one: on the line itself only."""
    may = context.on_line and pin_resets.is_open(context.db, context.buyer.id, context.now)
    return "forgotten" if may else "known"


def reset_pin(context: Context, _answers: Any, pin: str) -> Literal["changed", "over"]:
    return pin_resets.use(context.db, context.buyer.id, pin, context.rules, context.now)


def set_pin(context: Context, _answers: Any, pin: str) -> Literal["changed", "taken", "locked"]:
    return pins.set(context.db, context.buyer.id, pin, context.rules, context.now)


ACCOUNT = Flow(
    "account",
    Answers,
    (
        Menu(
            "menu",
            show=who_and_where,
            to={
                "language": "language",
                "name": "name",
                "place": "place_words",
                "pin": "whether_forgotten",
                "chat": "@link",
                "share": "@share",
            },
            resume="restart",
        ),
        Pick("language", options=languages, to="speak", resume="restart"),
        Call("speak", do=speak, effect=False, to={"spoken": "menu"}),
        Ask("name", parse=name, to="rename", resume="restart"),
        Call("rename", do=rename, to={"renamed": "menu"}),
        Ask("place_words", parse=place_words, to="place", resume="restart"),
        Pick("place", options=places_meant, to="move", empty="place_words", resume="restart"),
        Call("move", do=move, to={"moved": "menu"}),
        Call(
            "whether_forgotten",
            do=whether_forgotten,
            effect=False,
            to={"forgotten": "reset_pin", "known": "old_pin"},
        ),
        Ask(
            "reset_pin",
            parse=new_pin,
            secret=True,
            do=reset_pin,
            to={"changed": "menu", "over": "old_pin"},
            resume="restart",
        ),
        ask_pin("old_pin", to="new_pin", show=support),
        Ask(
            "new_pin",
            parse=new_pin,
            secret=True,
            do=set_pin,
            to={"changed": "menu", "taken": "new_pin", "locked": "locked"},
            resume="restart",
        ),
        End("locked"),
    ),
)
