"""Wires: a journey as the requests by which each channel's gateway brings it to us."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlencode

from bench.journeys import Journey, Step
from settings import Settings

Channel = Literal["ussd", "telegram", "sms"]

PHONES: Final = 254712000000  # of caller 0, without its plus; on Telegram the chat's id
STEPS_MAX: Final = 9  # of a journey: a request is named by its caller and one digit

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON: Final = {"Content-Type": "application/json"}
_NOBODY_WAITS: Final = ""  # the answer has no body: what is said is sent by the worker
_SAID_ON_SMS: Final = {0: "MENU", 1: "BUY"}  # by a step's place; the others as they are typed


@dataclass(frozen=True)
class Post:
    """One request. body: with ${caller}, their number, and ${phone} to be filled in.

    begins: the answer to it, whose status is 200; "": it has no body.
    """

    body: str
    begins: str


@dataclass(frozen=True)
class Wire:
    """What is posted where. journeys: as they were given."""

    channel: Channel
    path: str
    headers: Mapping[str, str]
    posts: Sequence[Sequence[Post]]
    journeys: Sequence[Journey]


def wire(channel: Channel, journeys: Sequence[Journey], settings: Settings) -> Wire:
    """The journeys on that channel."""
    assert max(map(len, journeys)) <= STEPS_MAX, "two requests of a journey would have one name"
    secret = settings.africastalking_secret.get_secret_value()
    if channel == "ussd":
        code = settings.ussd_service_code
        path, headers = f"/channels/ussd/africastalking/{secret}", _FORM
        posts = [_ussd(journey, code) for journey in journeys]
    elif channel == "sms":
        path, headers = f"/channels/sms/africastalking/{secret}/incoming", _FORM
        posts = [_sms(journey) for journey in journeys]
    else:
        secret = settings.telegram_secret.get_secret_value()
        path = f"/channels/telegram/{secret}"
        headers = {**_JSON, "X-Telegram-Bot-Api-Secret-Token": secret}
        posts = [_telegram(journey) for journey in journeys]
    return Wire(channel, path, headers, posts, journeys)


def _ussd(journey: Journey, code: str) -> list[Post]:
    """Africa's Talking repeats all that was typed in the session."""
    posts = []
    for place, step in enumerate(journey):
        fields = {
            "sessionId": "ATUid_${caller}",
            "serviceCode": code,
            "phoneNumber": "+${phone}",
            "networkCode": "63902",
            "text": "*".join(earlier.typed for earlier in journey[1 : place + 1]),
        }
        posts.append(Post(_form(fields), f"{'END' if step.ends else 'CON'} {step.begins}"))
    return posts


def _sms(journey: Journey) -> list[Post]:
    posts = []
    for place, step in enumerate(journey):
        fields = {
            "date": "2026-11-21T10:00:00Z",
            "from": "+${phone}",
            "id": f"${{caller}}-{place}",
            "linkId": "",
            "text": _SAID_ON_SMS.get(place, step.typed),
            "to": "22384",
            "networkCode": "63902",
        }
        posts.append(Post(_form(fields), _NOBODY_WAITS))
    return posts


_BUTTONS: Final = 6  # of a usual screen
_TOAST: Final = '{"method":"answerCallbackQuery",'
_A_NUMBER: Final = re.compile('"@([^"]*)@"')  # one that is yet to be filled in


def _number(text: str) -> str:
    return f"@{text}@"


_PERSON: Final = {
    "id": _number("${phone}"),
    "is_bot": False,
    "first_name": "Caller",
    "language_code": "en",
}
_CHAT: Final = {"id": _number("${phone}"), "first_name": "Caller", "type": "private"}
_BOT: Final = {"id": 7000000000, "is_bot": True, "first_name": "Sokoni", "username": "SokoniBot"}


def _telegram(journey: Journey) -> list[Post]:
    """/start, then taps: each on a message as we wrote it, whose buttons carry its turn."""
    start = {
        "message": {
            "message_id": 1,
            "from": _PERSON,
            "chat": _CHAT,
            "date": 1795255200,
            "text": "/start",
            "entities": [{"offset": 0, "length": 6, "type": "bot_command"}],
        }
    }
    posts = [Post(_update(0, start), _NOBODY_WAITS)]
    for turn in range(1, len(journey)):
        posts.append(Post(_update(turn, _tap(turn, journey[turn - 1], journey[turn])), _TOAST))
    return posts


def _tap(turn: int, on: Step, tapped: Step) -> Mapping[str, Any]:
    keys = [str(number) for number in range(1, _BUTTONS)] + ["0"]
    buttons = [[{"text": f"{key} Tomatoes", "callback_data": f"{turn}:{key}"}] for key in keys]
    return {
        "callback_query": {
            "id": f"1${{caller}}{turn}",
            "from": _PERSON,
            "message": {
                "message_id": turn + 1,
                "from": _BOT,
                "chat": _CHAT,
                "date": 1795255200,
                "text": on.begins,
                "reply_markup": {"inline_keyboard": buttons},
            },
            "chat_instance": "-3844493604291337104",
            "data": f"{turn}:{tapped.typed}",
        }
    }


def _update(place: int, told: Mapping[str, Any]) -> str:
    body = json.dumps({"update_id": _number(f"1${{caller}}{place}"), **told}, separators=(",", ":"))
    return _A_NUMBER.sub(r"\1", body)


def _form(fields: Mapping[str, str]) -> str:
    return urlencode(fields, safe="*${}")
