"""Home: where every conversation begins, and the way into each flow."""

from dataclasses import dataclass
from typing import Any, Literal

from flows.engine import RESUME, Call, Context, End, Flow, Menu
from flows.words import Values


@dataclass
class Answers:
    pass


def recognise(context: Context, _answers: Any) -> Literal["member", "stranger"]:
    return "member" if context.member else "stranger"


def greeting(context: Context, _answers: Any) -> Values:
    return {"name": _first_name(context)}


def unfinished(context: Context, _answers: Any) -> Values:
    return {"name": _first_name(context), "flow": context.parked_name}


def _first_name(context: Context) -> str:
    return context.member.name.split()[0] if context.member else ""


HOME = Flow(
    "home",
    Answers,
    (
        Call("who", do=recognise, effect=False, to={"member": "menu", "stranger": "@register"}),
        Menu(
            "menu",
            show=greeting,
            to={
                "buy": "@buy",
                "my_orders": "@my_orders",
                "sell": "@sell",
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
        End("help"),
    ),
)
