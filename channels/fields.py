"""The fields of a gateway's request: each exactly once, of a bounded length, never guessed at."""

from typing import Any
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.datastructures import MultiDict

from core.errors import Invalid

CHARACTERS_MAX = 128  # of an identifier; the longest a gateway documents has 38
HISTORY_CHARACTERS_MAX = 4_000  # of all that was typed in a session; a reply has at most 160

FORM = "application/x-www-form-urlencoded"


def form(request: Request) -> MultiDict[str, str]:
    """What a gateway posted; of anything but a form nothing.

    Werkzeug's own reader knows every kind of form, and takes three times as long for this one.
    """
    if not request.content_type or not request.content_type.lower().startswith(FORM):
        return MultiDict()
    try:
        text = request.get_data(cache=False).decode()
    except UnicodeDecodeError:
        return MultiDict()
    return MultiDict(parse_qsl(text, keep_blank_values=True, errors="replace"))


def one(fields: MultiDict[str, Any], name: str, characters_max: int = CHARACTERS_MAX) -> str:
    """The text of the field. Raises Invalid, naming it: missing, doubled, too long or no text."""
    given = fields.getlist(name)
    if len(given) != 1 or not isinstance(given[0], str) or len(given[0]) > characters_max:
        raise Invalid(name)
    return given[0]


def identifier(fields: MultiDict[str, Any], name: str) -> str:
    """The same of what names something: neither empty nor unprintable."""
    value = one(fields, name)
    if not value or not value.isprintable():
        raise Invalid(name)
    return value
