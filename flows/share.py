"""Share: a second person on a member's phone, with a PIN of their own."""

from dataclasses import dataclass
from typing import Any, Literal

from core import members
from flows.account import ask_pin
from flows.engine import Ask, Call, Context, End, Flow, Menu
from flows.register import CONSENT_VERSION, name, new_pin
from flows.words import Values, load


@dataclass
class Answers:
    name: str | None = None


def room(context: Context, _answers: Any) -> Literal["free", "full"]:
    return "full" if len(members.sharing(context.db, context.msisdn)) > 1 else "free"


def join(context: Context, answers: Any, pin: str) -> Literal["joined", "taken", "locked", "full"]:
    return members.share(
        context.db,
        context.buyer.id,
        name=answers.name,
        language=context.language,
        consent_version=CONSENT_VERSION,
        consent_wording=load("share").states["consent"].text[context.language],
        pin=pin,
        rules=context.rules,
        now=context.now,
    )


def leave(context: Context, _answers: Any) -> Literal["left", "has_something"]:
    return members.leave(context.db, context.buyer.id, context.now)


def their_name(_context: Context, answers: Any) -> Values:
    return {"name": answers.name}


SHARE = Flow(
    "share",
    Answers,
    (
        Call("room", do=room, effect=False, to={"free": "pin", "full": "two"}),
        ask_pin("pin", to="name"),
        Ask("name", parse=name, to="consent", resume="restart"),
        Menu(
            "consent",
            show=their_name,
            to={"agree": "new_pin", "refuse": "declined"},
            resume="restart",
        ),
        Ask(
            "new_pin",
            parse=new_pin,
            secret=True,
            do=join,
            show=their_name,
            to={"joined": "joined", "taken": "new_pin", "locked": "locked", "full": "full"},
            resume="restart",
        ),
        Menu("two", to={"leave": "leave_pin"}, resume="restart"),
        ask_pin("leave_pin", to="leave"),
        Call("leave", do=leave, to={"left": "left", "has_something": "settle_first"}),
        End("joined", show=their_name),
        End("declined"),
        End("full"),
        End("left"),
        End("settle_first"),
        End("locked"),
    ),
)
