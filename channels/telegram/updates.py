"""Updates: what Telegram posts, as one of the few things a person can do in a chat with us.

Telegram's clients can be changed by whoever holds them: whatever is not as it should be is no
update of ours, never an error.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog
from telegram import CallbackQuery, ChatMemberUpdated, Message, Update

from core import phone
from core.errors import Invalid

log = structlog.get_logger(__name__)

ID_MAX: Final = 2**52  # of chats and people; the Bot API promises no more bits
NUMBER_MAX: Final = 2**63 - 1
PAYLOAD_CHARACTERS_MAX: Final = 64
FILE_ID_CHARACTERS_MAX: Final = 256
QUERY_ID_CHARACTERS_MAX: Final = 64
DATA_BYTES_MAX: Final = 64
COMMANDS: Final = frozenset({"start", "menu", "orders", "deals", "language", "help"})
_PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})


@dataclass(frozen=True)
class Typed:
    text: str = field(repr=False)


@dataclass(frozen=True)
class Command:
    """name: of COMMANDS. payload: what stands behind it, as after the /start of a link."""

    name: str
    payload: str = field(repr=False)


@dataclass(frozen=True)
class Tapped:
    """A button. turn -1: its data is not ours. message_id None: of a message we cannot know."""

    query_id: str
    message_id: int | None
    turn: int
    option: str


@dataclass(frozen=True)
class Shared:
    """A contact. msisdn None: not proved to be the sender's own, or no number at all."""

    msisdn: str | None = field(repr=False)


@dataclass(frozen=True)
class Located:
    """latitude, longitude: degrees, WGS 84."""

    latitude: float = field(repr=False)
    longitude: float = field(repr=False)


@dataclass(frozen=True)
class Pictured:
    """A photo, or a picture sent as a file. size: bytes; 0: not said."""

    file_id: str
    size: int


@dataclass(frozen=True)
class Filed:
    """A file that is no picture."""


@dataclass(frozen=True)
class Moved:
    """The person has blocked us, or is back."""

    is_here: bool


@dataclass(frozen=True)
class Other:
    """A sticker, a voice: something sent to us that no conversation can use."""


Act = Typed | Command | Tapped | Shared | Located | Pictured | Filed | Moved | Other


@dataclass(frozen=True)
class Told:
    """One update of one private chat, whose id is its person's.

    message_id: of the person's own message. language: of their client, as it calls it, or "".
    """

    number: int
    chat_id: int
    language: str
    act: Act
    message_id: int | None = None


def read(given: object) -> Told | None:
    """What an update tells; None: nothing for us, or nothing anybody can read."""
    if not isinstance(given, dict):
        log.warning("update_unreadable", reason="not an object")
        return None
    try:
        update = Update.de_json(_needed(given), None)
        number = _whole(update.update_id, NUMBER_MAX)
        return None if number is None else _read(update, number)
    # What the library raises for parts that are missing or of another type than documented.
    except (AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError) as error:
        log.warning("update_unreadable", reason=type(error).__name__)
        return None


def _needed(given: dict[str, Any]) -> dict[str, Any]:
    """Without most of the message that was tapped: it is ours, and half the cost of reading."""
    query = given.get("callback_query")
    shown = query.get("message") if isinstance(query, dict) else None
    if not isinstance(query, dict) or not isinstance(shown, dict):
        return given
    known = {name: shown[name] for name in ("message_id", "date", "chat") if name in shown}
    return {**given, "callback_query": {**query, "message": known}}


def _read(update: Update, number: int) -> Told | None:
    if (message := update.message) is not None:
        return _of_message(message, number)
    if (query := update.callback_query) is not None:
        return _of_tap(query, number)
    if (change := update.my_chat_member) is not None:
        return _of_membership(change, number)
    return None


def _of_message(message: Message, number: int) -> Told | None:
    chat_id, sender = _whole(message.chat.id, ID_MAX), message.from_user
    if chat_id is None or sender is None or sender.id != chat_id or message.chat.type != "private":
        return None
    own_id = _whole(message.message_id, NUMBER_MAX)
    return Told(number, chat_id, _language(sender.language_code), _act(message), own_id)


def _act(message: Message) -> Act:
    if message.text is not None:
        return _said(_clean(message.text))
    if message.contact is not None:
        return Shared(_own_number(message))
    if message.location is not None:  # of a venue too
        point = message.location
        return _located(point.latitude, point.longitude)
    if message.photo:
        largest = message.photo[-1]
        return _pictured(largest.file_id, largest.file_size)
    if (document := message.document) is not None:
        if document.mime_type in _PICTURES:
            return _pictured(document.file_id, document.file_size)
        return Filed()
    return Other()


def _said(text: str) -> Act:
    """Text, or one of our commands; in "/start@SokoniBot" it says whose."""
    word, _, payload = text.partition(" ")
    name = word.removeprefix("/").partition("@")[0].lower()
    if not word.startswith("/") or name not in COMMANDS:
        return Typed(text)
    return Command(name, payload.strip()[:PAYLOAD_CHARACTERS_MAX])


def _own_number(message: Message) -> str | None:
    """Of a contact that is the sender's own, sent by themselves, in the chat with us."""
    contact, sender = message.contact, message.from_user
    assert contact is not None, "a message without a contact has none to prove"
    assert sender is not None, "nobody sent it"
    own = _whole(contact.user_id, ID_MAX) == sender.id
    if not own or message.forward_origin is not None or message.via_bot is not None:
        return None
    given = _clean(contact.phone_number)
    # With its country code, and often without the plus; Kenya's may come as 07….
    for written in (given, f"+{given}"):
        try:
            return phone.parse(written)
        except Invalid:
            continue
    return None


def _located(latitude: object, longitude: object) -> Act:
    point = [_degrees(latitude, 90.0), _degrees(longitude, 180.0)]
    return Other() if None in point else Located(*cast(list[float], point))


def _pictured(file_id: object, size: object) -> Act:
    if not _is_token(file_id, FILE_ID_CHARACTERS_MAX):
        return Other()
    return Pictured(cast(str, file_id), _whole(size, NUMBER_MAX) or 0)


def _of_tap(query: CallbackQuery, number: int) -> Told | None:
    chat_id = _whole(query.from_user.id, ID_MAX)
    if chat_id is None or not _is_token(query.id, QUERY_ID_CHARACTERS_MAX):
        return None
    message_id, turn, option = None, -1, ""
    if query.message is not None:
        if query.message.chat.id == chat_id:
            message_id = _whole(query.message.message_id, NUMBER_MAX)
            turn, option = _meaning(query.data)
        # else: of a message in somebody else's chat; it means nothing here
    elif query.inline_message_id is None:
        turn, option = _meaning(query.data)
    act = Tapped(query.id, message_id, turn, option)
    return Told(number, chat_id, _language(query.from_user.language_code), act)


def _meaning(data: object) -> tuple[int, str]:
    """Turn and option of a button as we make them: "12:99"; turn -1 for any other."""
    if not isinstance(data, str) or len(data) > DATA_BYTES_MAX:
        return -1, ""
    turn, colon, option = data.partition(":")
    known = turn.isascii() and turn.isdecimal() and option.isascii() and option.isdecimal()
    return (int(turn), option) if colon and known and len(turn) <= 9 else (-1, "")


def _of_membership(change: ChatMemberUpdated, number: int) -> Told | None:
    chat_id = _whole(change.chat.id, ID_MAX)
    if chat_id is None or change.chat.type != "private":
        return None
    is_here = change.new_chat_member.status not in ("kicked", "left")
    return Told(number, chat_id, _language(change.from_user.language_code), Moved(is_here))


def _whole(value: object, most: int) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most
    return cast(int, value) if is_whole else None


def _degrees(value: object, most: float) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    degrees = float(cast(float, value)) if is_number else math.nan
    return degrees if -most <= degrees <= most else None


def _is_token(value: object, characters_max: int) -> bool:
    """A name that Telegram made: it is only ever given back."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= characters_max
        and value.isascii()
        and value.isprintable()
    )


def _language(code: object) -> str:
    """ "sw" of "sw-KE"."""
    return code[:2].lower() if isinstance(code, str) and code.isascii() else ""


def _clean(text: object) -> str:
    """Text as it can be kept: half a surrogate pair and NUL are replaced. Raises TypeError."""
    if not isinstance(text, str):
        raise TypeError("text that is no text")
    whole = text.encode("utf-8", "replace").decode()
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
