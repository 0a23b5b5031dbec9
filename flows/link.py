"""Link: by a token, or a contact shared there, a Telegram chat comes to speak for a phone."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from core import links, members, messages
from core.database import Db
from core.members import Member
from flows import conversations
from flows.account import ask_pin
from flows.engine import Call, Context, End, Flow, Menu
from flows.words import Values

CHANNEL: Final = "telegram"  # the one whose addresses nothing but a link proves


@dataclass
class Answers:
    link: UUID | None = None  # shown by a chat that speaks for another phone


def stands(context: Context, answers: Any) -> Literal["shown", "linked", "free"]:
    if answers.link is not None:
        return "shown"
    return "linked" if _chats(context) else "free"


def make(context: Context, _answers: Any) -> Literal["made"]:
    links.make(context.db, context.msisdn, context.rules, context.now)
    return "made"


def token_line(context: Context, _answers: Any) -> Values:
    token = links.token_of(context.db, context.msisdn, context.rules, context.now)
    return {"bot": context.rules.bot_name, "token": token or "-"}


def unlink(context: Context, _answers: Any) -> Literal["unlinked"]:
    for address in _chats(context):
        conversations.prove(context.db, CHANNEL, address, None, context.now)
    return "unlinked"


def join(db: Db, address: str, msisdn: str, now: datetime) -> Member | None:
    """That chat speaks for that phone from now on, and the phone itself hears of it.

    The member whose phone it is; None: nobody's, or two people's.
    """
    before = conversations.read(db, CHANNEL, address)
    conversations.prove(db, CHANNEL, address, msisdn, now)
    member = members.by_msisdn(db, msisdn)
    if before is None or before.msisdn != msisdn:
        for owner in [member] if member else members.sharing(db, msisdn)[:1]:
            messages.of_member(db, "chat_linked", owner.id, {}, now)
    return member


def change(context: Context, answers: Any) -> Literal["joined", "too_late"]:
    """From here on whoever types is the other phone's owner."""
    used = links.use(context.db, answers.link, context.now)
    if used is None:
        return "too_late"
    context.msisdn = used.msisdn
    context.parked = None  # it was of whoever spoke here before
    context.member = join(context.db, used.address, used.msisdn, context.now)
    if context.member is not None:
        context.language = context.member.language
    return "joined"


def _chats(context: Context) -> list[str]:
    """The addresses that speak for this phone."""
    spoken = conversations.of_phone(context.db, context.msisdn)
    return [each.address for each in spoken if each.channel == CHANNEL]


LINK = Flow(
    "link",
    Answers,
    (
        Call(
            "stands",
            do=stands,
            effect=False,
            to={"shown": "other_phone", "linked": "linked", "free": "pin"},
        ),
        Menu("linked", to={"another": "pin", "unlink": "unlink"}, resume="restart"),
        ask_pin("pin", to="make"),
        Call("make", do=make, to={"made": "token"}),
        Menu("token", show=token_line, to={"done": "@account"}, resume="restart", hides="token"),
        Call("unlink", do=unlink, to={"unlinked": "unlinked"}),
        Menu("other_phone", to={"change": "change", "keep": "@home"}, resume="restart"),
        Call("change", do=change, to={"joined": "@home", "too_late": "too_late"}),
        End("unlinked"),
        End("locked"),
        End("too_late"),
    ),
)
