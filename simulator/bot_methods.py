"""The Bot API's methods: what each takes, checks and answers.

Source: Bot API 10.0; of its methods those that a bot in private chats needs.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator import keyboards, outbound, parameters
from simulator.formatting import length
from simulator.keyboards import Markup
from simulator.parameters import NotReadable, Parameters
from simulator.telegram import DOWNLOAD_BYTES_MAX, Content, Refused, Telegram, formatted
from simulator.updates import Conflict, WrongWebhook

log = logging.getLogger(__name__)

TEXT_LETTERS_MAX = 4096
CAPTION_LETTERS_MAX = 1024
TOAST_LETTERS_MAX = 200
PHOTO_BYTES_MAX = 10 * 1024 * 1024
COMMANDS_MAX = 100
COMMAND_ABOUT_LETTERS_MAX = 256
POLL_SECONDS_MAX = 50
# In the answer to an update these are passed over, as is all that begins with "get".
NOT_IN_AN_ANSWER = ("setwebhook", "deletewebhook", "close", "logout")


@dataclass(frozen=True, slots=True)
class Said:
    """A result that comes with words of its own."""

    result: bool
    description: str


def perform(telegram: Telegram, method: str, given: Parameters) -> Any:
    """Do what the bot asks; the result. Raises Refused."""
    act = METHODS.get(method.lower())
    if act is None:
        raise Refused(404, "Not Found: method not found")
    try:
        return act(telegram, given)
    except (NotReadable, keyboards.WrongKeyboard, WrongWebhook) as wrong:
        raise Refused(400, f"Bad Request: {wrong}") from None
    except Conflict as taken:
        raise Refused(409, f"Conflict: {taken}") from None


def perform_answer(telegram: Telegram, answer: outbound.Answer) -> None:
    """Do the one call in an acknowledgement, if it holds one. Nobody hears of its result."""
    kind = answer.headers.get("content-type", "")
    try:
        given = parameters.read(kind, answer.text.encode(), {})
        method = given.text("method").lower()
        if method and not method.startswith("get") and method not in NOT_IN_AN_ANSWER:
            perform(telegram, method, given)
    except (NotReadable, Refused) as wrong:
        log.info("a method in an answer came to nothing: %s", type(wrong).__name__)


def _get_me(telegram: Telegram, _: Parameters) -> Content:
    return telegram.bot | {
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


def _send_message(telegram: Telegram, given: Parameters) -> Content:
    return telegram.send(_chat_id(given), _text(given), _markup(given))


def _send_photo(telegram: Telegram, given: Parameters) -> Content:
    chat_id = _chat_id(given)
    caption, markup = _caption(given), _markup(given)
    telegram.reach(chat_id)
    upload = _upload(given, "photo")
    if upload is None:
        photo = telegram.photo(given.text("photo"))
    elif len(upload) > PHOTO_BYTES_MAX:
        raise Refused(
            400,
            f"Bad Request: file of size {len(upload)} bytes is too big for a photo; "
            f"the maximum size is {PHOTO_BYTES_MAX} bytes",
        )
    else:
        try:
            photo = telegram.keep_photo(upload)
        except ValueError:
            raise Refused(400, "Bad Request: IMAGE_PROCESS_FAILED") from None
    return telegram.send(chat_id, {"photo": photo, **caption}, markup)


def _edit_text(telegram: Telegram, given: Parameters) -> Content:
    return _edit(telegram, given, _text(given))


def _edit_caption(telegram: Telegram, given: Parameters) -> Content:
    return _edit(telegram, given, _caption(given) or {"caption": ""})


def _edit_markup(telegram: Telegram, given: Parameters) -> Content:
    return _edit(telegram, given, None)


def _edit(telegram: Telegram, given: Parameters, content: Content | None) -> Content:
    markup = _markup(given, must_be_inline=True)
    return telegram.edit(_chat_id(given), _message_id(given), content, markup)


def _delete_message(telegram: Telegram, given: Parameters) -> bool:
    telegram.delete(_chat_id(given), _message_id(given))
    return True


def _answer_query(telegram: Telegram, given: Parameters) -> bool:
    text = given.text("text")
    if length(text) > TOAST_LETTERS_MAX:
        raise Refused(400, "Bad Request: MESSAGE_TOO_LONG")
    telegram.answer(given.text("callback_query_id"), text, is_alert=given.flag("show_alert"))
    return True


def _send_action(telegram: Telegram, given: Parameters) -> bool:
    if not re.fullmatch(r"typing|(upload|record)_\w+|choose_sticker|find_location",
                        given.text("action")):  # fmt: skip
        raise Refused(400, "Bad Request: wrong parameter action in request")
    telegram.reach(_chat_id(given))
    return True


def _get_file(telegram: Telegram, given: Parameters) -> Content:
    file = telegram.file(given.text("file_id"))
    if len(file.data) > DOWNLOAD_BYTES_MAX:
        raise Refused(400, "Bad Request: file is too big")
    return {
        "file_id": file.id,
        "file_unique_id": file.unique_id,
        "file_size": len(file.data),
        "file_path": file.path,
    }


def _set_webhook(telegram: Telegram, given: Parameters) -> Said:
    wait, done = telegram.updates.set_webhook(
        given.text("url"),
        secret=given.text("secret_token"),
        allowed=_kinds(given),
        connections_max=max(1, min(100, given.whole("max_connections", 40))),
        drop_pending=given.flag("drop_pending_updates"),
    )
    if wait > 0:
        raise Refused(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
    return Said(True, done)


def _delete_webhook(telegram: Telegram, given: Parameters) -> Said:
    drop = given.text("drop_pending_updates")
    return _set_webhook(telegram, Parameters({"drop_pending_updates": drop}))


def _get_updates(telegram: Telegram, given: Parameters) -> list[Content]:
    limit = given.whole("limit", 100)
    return telegram.updates.fetch(
        given.whole("offset"),
        limit if 1 <= limit <= 100 else 100,
        max(0, min(POLL_SECONDS_MAX, given.whole("timeout"))),
        _kinds(given),
    )


def _set_commands(telegram: Telegram, given: Parameters) -> bool:
    commands = given.nested("commands")
    if not isinstance(commands, list) or not all(isinstance(each, dict) for each in commands):
        raise Refused(400, "Bad Request: can't parse list of bot commands JSON object")
    if len(commands) > COMMANDS_MAX:
        raise Refused(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
    for each in commands:
        if not re.fullmatch(r"[a-z0-9_]{1,32}", str(each.get("command", "")).removeprefix("/")):
            raise Refused(400, "Bad Request: BOT_COMMAND_INVALID")
        if not 1 <= len(str(each.get("description", ""))) <= COMMAND_ABOUT_LETTERS_MAX:
            raise Refused(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
    telegram.set_commands(*_scope(given), commands)
    return True


def _get_commands(telegram: Telegram, given: Parameters) -> list[Content]:
    return telegram.commands(given.text("language_code"))


METHODS: dict[str, Callable[[Telegram, Parameters], Any]] = {
    "getme": _get_me,
    "sendmessage": _send_message,
    "sendphoto": _send_photo,
    "editmessagetext": _edit_text,
    "editmessagecaption": _edit_caption,
    "editmessagereplymarkup": _edit_markup,
    "deletemessage": _delete_message,
    "answercallbackquery": _answer_query,
    "sendchataction": _send_action,
    "getfile": _get_file,
    "setwebhook": _set_webhook,
    "deletewebhook": _delete_webhook,
    "getwebhookinfo": lambda telegram, _: telegram.updates.info(),
    "getupdates": _get_updates,
    "setmycommands": _set_commands,
    "getmycommands": _get_commands,
}


def _chat_id(given: Parameters) -> int:
    text = given.text("chat_id").strip()
    if not text:
        raise Refused(400, "Bad Request: chat_id is empty")
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise Refused(400, "Bad Request: chat not found")
    return int(text)


def _message_id(given: Parameters) -> int:
    if "message_id" not in given.values:
        raise Refused(400, "Bad Request: message identifier is not specified")
    return given.whole("message_id")


def _markup(given: Parameters, *, must_be_inline: bool = False) -> Markup | None:
    return keyboards.read(given.nested("reply_markup"), must_be_inline=must_be_inline)


def _written(given: Parameters, name: str) -> Content:
    entities = given.nested("caption_entities" if name == "caption" else "entities")
    return formatted(given.text(name), given.text("parse_mode"), entities, name)


def _text(given: Parameters) -> Content:
    content = _written(given, "text")
    if not content["text"].strip():
        raise Refused(400, "Bad Request: message text is empty")
    if len(content["text"]) > TEXT_LETTERS_MAX:
        raise Refused(400, "Bad Request: message is too long")
    return content


def _caption(given: Parameters) -> Content:
    if not given.text("caption"):
        return {}
    content = _written(given, "caption")
    if len(content["caption"]) > CAPTION_LETTERS_MAX:
        raise Refused(400, "Bad Request: message caption is too long")
    return content


def _upload(given: Parameters, name: str) -> bytes | None:
    """The file sent along in that field, or in the one it points to."""
    there = given.text(name)
    if there.startswith("attach://"):
        return given.files.get(there.removeprefix("attach://"))
    if not there and name not in given.files:
        raise Refused(400, f"Bad Request: there is no {name} in the request")
    return given.files.get(name)


def _kinds(given: Parameters) -> list[str] | None:
    kinds = given.nested("allowed_updates")
    if kinds is None:
        return None
    if not isinstance(kinds, list):
        raise Refused(400, "Bad Request: can't parse allowed updates: array expected")
    return [str(each) for each in kinds]


def _scope(given: Parameters) -> tuple[str, str]:
    scope = given.nested("scope")
    kind = scope.get("type") if isinstance(scope, dict) else None
    return str(kind or "default"), given.text("language_code")
