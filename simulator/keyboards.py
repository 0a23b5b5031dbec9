"""Keyboards that a bot sends along: inline buttons under a message, or keys below the chat.

Source: Bot API, InlineKeyboardMarkup, ReplyKeyboardMarkup, ReplyKeyboardRemove, ForceReply.
"""

from collections.abc import Callable, Iterator
from typing import Any

Markup = dict[str, Any]
Button = dict[str, Any]

DATA_BYTES_MAX = 64
BUTTONS_MAX = 100  # not in the published pages
PLACEHOLDER_LETTERS_MAX = 64
_DOES = ("callback_data", "url")  # what an inline button can do here
_ASKS = ("request_contact", "request_location")


class WrongKeyboard(ValueError):
    """The markup cannot be taken; the message is Telegram's."""


def read(markup: Any, *, must_be_inline: bool = False) -> Markup | None:
    """The markup with what matters of it; None where it leaves everything as it is.

    must_be_inline: as for an edited message. Raises WrongKeyboard.
    """
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise WrongKeyboard("object expected as reply markup")
    if "inline_keyboard" in markup:
        rows = _rows(markup["inline_keyboard"], _inline_button)
        return {"inline_keyboard": rows} if rows else None
    if must_be_inline and markup:
        raise WrongKeyboard("inline keyboard expected")
    if "keyboard" in markup:
        placeholder = markup.get("input_field_placeholder", "")
        if not isinstance(placeholder, str) or len(placeholder) > PLACEHOLDER_LETTERS_MAX:
            raise WrongKeyboard("input field placeholder is too long")
        rows = _rows(markup["keyboard"], _key)
        if not rows:
            raise WrongKeyboard("keyboard is empty")
        return {
            "keyboard": rows,
            "one_time_keyboard": markup.get("one_time_keyboard") is True,
            "input_field_placeholder": placeholder,
        }
    if markup.get("remove_keyboard") is True:
        return {"remove_keyboard": True}
    return None


def buttons(markup: Markup | None) -> Iterator[Button]:
    """Every inline button, row by row."""
    for row in (markup or {}).get("inline_keyboard", ()):
        yield from row


def _rows(value: Any, read_one: Callable[[Any], Button]) -> list[list[Button]]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise WrongKeyboard("can't parse reply keyboard markup JSON object")
    rows = [[read_one(each) for each in row] for row in value if row]
    if sum(map(len, rows)) > BUTTONS_MAX:
        raise WrongKeyboard("REPLY_MARKUP_TOO_LONG")
    return rows


def _inline_button(value: Any) -> Button:
    text = _text_of(value, "inline keyboard button")
    does = [name for name in _DOES if name in value]
    if len(does) != 1:
        raise WrongKeyboard("Text buttons are unallowed in the inline keyboard")
    action = value[does[0]]
    if not isinstance(action, str) or (does[0] == "url" and ":" not in action):
        raise WrongKeyboard("BUTTON_URL_INVALID")
    if does[0] == "callback_data" and not 1 <= len(action.encode()) <= DATA_BYTES_MAX:
        raise WrongKeyboard("BUTTON_DATA_INVALID")
    return {"text": text, does[0]: action}


def _key(value: Any) -> Button:
    if isinstance(value, str):
        value = {"text": value}
    text = _text_of(value, "keyboard button")
    return {"text": text, **{name: True for name in _ASKS if value.get(name) is True}}


def _text_of(value: Any, what: str) -> str:
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise WrongKeyboard(f'can\'t parse {what}: field "text" must be of type String')
    if not value["text"].strip():
        raise WrongKeyboard(f"can't parse {what}: text must be non-empty")
    return str(value["text"])
