"""Home: where every conversation begins, and the way into each flow."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import members, names, pins
from flows.account import typed_pin
from flows.engine import RESUME, Ask, Call, Context, End, Flow, Menu
from flows.words import Values


@dataclass
class Answers:
    pass


def recognise(context: Context, _answers: Any) -> Literal["member", "shared", "stranger"]:
    if context.member:
        return "member"
    people = members.sharing(context.db, context.msisdn)
    if not people:
        return "stranger"
    languages = {person.language for person in people}
    if len(languages) == 1:  # else in the one that was last spoken here
        (context.language,) = languages
    return "shared"


def identify(context: Context, _answers: Any, pin: str) -> Literal["known", "wrong", "locked"]:
    """From here on, and until the session ends, she is the one whose PIN that is."""
    found = pins.whose(context.db, context.msisdn, pin, context.rules, context.now)
    if not isinstance(found, UUID):
        return found
    context.member = members.by_id(context.db, found)
    context.language = context.buyer.language
    return "known"


def greeting(context: Context, _answers: Any) -> Values:
    return {"name": _first_name(context)}


def unfinished(context: Context, _answers: Any) -> Values:
    return {"name": _first_name(context), "flow": context.parked_name}


def _first_name(context: Context) -> str:
    return names.called(context.member.name) if context.member else ""


HOME = Flow(
    "home",
    Answers,
    (
        Call(
            "who",
            do=recognise,
            effect=False,
            to={"member": "menu", "shared": "person", "stranger": "@register"},
        ),
        Ask(
            "person",
            parse=typed_pin,
            secret=True,
            do=identify,
            to={"known": "menu", "wrong": "person", "locked": "locked"},
            resume="restart",
        ),
        Menu(
            "menu",
            show=greeting,
            to={
                "buy": "@buy",
                "my_orders": "@my_orders",
                "sell": "@sell",
                "wallet": "@wallet",
                "safe_pay": "@safe_pay",
                "account": "@account",
                "help": "help",
            },
            resume="restart",
        ),
        Menu(
            "offer",
            show=unfinished,
            to={"continue": RESUME, "again": "@home"},
            resume="restart",
        ),
        Menu(
            "help",
            to={"problem": "@problem", "messages": "@messages", "call_me": "@call_me"},
            resume="restart",
        ),
        End("locked"),
    ),
)
