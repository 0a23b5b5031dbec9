"""Call me: a case number at once, and somebody of ours calls."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from core import cases
from core.cases import ABOUT
from flows import conversations
from flows.engine import Call, Context, End, Flow, Option, Pick
from flows.words import Values, common

SCREENS_KEPT_MAX = 30  # of what the phone was shown lately, for whoever calls
KEPT_FROM = timedelta(hours=1)


@dataclass
class Answers:
    about: str | None = None


def waits(context: Context, _answers: Any) -> Literal["waiting", "free"]:
    return "waiting" if cases.open_of(context.db, context.buyer.id) else "free"


def subjects(context: Context, _answers: Any) -> list[Option[str]]:
    texts = common().texts
    return [Option(about, {"about": texts[f"about.{about}"][context.language]}) for about in ABOUT]


def open_case(context: Context, answers: Any) -> Literal["opened", "already_open"]:
    since = context.now - KEPT_FROM
    said = conversations.lately(context.db, context.msisdn, since, SCREENS_KEPT_MAX)
    return cases.open(context.db, context.buyer.id, answers.about, said, context.now)


def case_line(context: Context, _answers: Any) -> Values:
    case = cases.open_of(context.db, context.buyer.id)
    return {"case": str(case.number) if case else "-"}


CALL_ME = Flow(
    "call_me",
    Answers,
    (
        Call("waits", do=waits, effect=False, to={"waiting": "waiting", "free": "about"}),
        Pick("about", options=subjects, to="open"),
        Call("open", do=open_case, to={"opened": "opened", "already_open": "waiting"}),
        End("opened", show=case_line),
        End("waiting", show=case_line),
    ),
)
