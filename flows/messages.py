"""Messages: what a member was told last, to be read again."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core import messages
from core.messages import Told
from flows.engine import Context, End, Flow, Option, Pick
from flows.words import Values, show_moment

SHOWN_MAX = 5
LOOKED_THROUGH_MAX = 50  # for one that was shown, and that others have come after


@dataclass
class Answers:
    message: UUID | None = None


def told(context: Context, _answers: Any) -> list[Option[UUID]]:
    return [
        Option(
            message.id,
            {"moment": show_moment(message.at, context.language), "gist": message.text},
        )
        for message in _last(context, SHOWN_MAX)
    ]


def whole(context: Context, answers: Any) -> Values:
    """Its codes stay hidden: a screen is no place for them without the PIN."""
    last = _last(context, LOOKED_THROUGH_MAX)
    found = next((message.text for message in last if message.id == answers.message), "-")
    return {"message": found}


def _last(context: Context, limit: int) -> list[Told]:
    return messages.last_of(context.db, context.buyer.id, limit, context.rules)


MESSAGES = Flow(
    "messages",
    Answers,
    (
        Pick("message", options=told, to="whole", empty="none"),
        End("whole", show=whole),
        End("none"),
    ),
)
