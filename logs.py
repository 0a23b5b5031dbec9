"""Logs: one JSON line an event on stderr, in which no person can be recognised.

Every line, ours or a library's, passes `mask` last: whatever looks like a phone number, a PIN, a
token or a secret is cut out of texts and tracebacks, and what stands under a telling key goes
whole. In doubt it masks; what must stay readable (order numbers, amounts, ids, times) is tested.
"""

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePath
from types import TracebackType
from typing import Any
from uuid import UUID

import structlog

MASK = "[masked]"

# A key with one of these words in it (first_name, PhoneNumber, telegram-token) hides its value.
TELLING = frozenset(
    """
    pin pins token tokens secret secrets password passwords passwd passkey passphrase pepper
    authorization auth cookie cookies credential credentials apikey
    name names firstname lastname middlename surname username
    text body payload answer answers form
    msisdn msisdns phone phones phonenumber phonenumbers mobile partya partyb
    address addresses sender receiver recipient recipients payer
    """.split()  # noqa: SIM905 (a list literal would fill a page)
)
TELLING_PAIRS = frozenset({("api", "key"), ("access", "key"), ("consumer", "key")})
# Ours and the libraries' own keys that such a word would hide without need.
HARMLESS = frozenset({"logger_name", "task_name", "queue_name", "thread_name", "process_name"})

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_GAP = r"[ .()/\-\u00a0\u2010-\u2015]{0,5}"  # between the digits of a number that a person wrote
_PERSONAL = re.compile(
    rf"""
      (?P<keep>
          (?<![0-9a-fA-F])[0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}}(?![0-9a-fA-F])
        | (?<!\d)\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{{1,6}})?)?(?:Z|[+-]\d\d:?\d\d)?(?!\d)
      )
    | (?<!\d)\d{{6,12}}:[A-Za-z0-9_-]{{16,}}                       # a Telegram bot's token
    | (?i:\b(?:basic|bearer))\s+[A-Za-z0-9+/=._~-]{{6,}}           # an Authorization header
    | ws_CO_\w+                                                    # ends with the phone's digits
    | [0-9a-fA-F]{{32,}}                                           # path tokens, digests of numbers
    | (?<=://)[^/\s@"']+@                                          # who:password@ in an address
    | (?<=[\w/.\]])\?[^\s"'<>]*=[^\s"'<>]*                         # a query string
    | (?<=/channels/telegram/)[^/\s"'?]+                           # secret parts of our own paths
    | (?<=/channels/sms/africastalking/)[^/\s"'?]+
    | (?<=/channels/ussd/africastalking/)[^/\s"'?]+
    | (?<=/channels/ussd/hubtel/)[^/\s"'?]+
    | (?<=/channels/ussd/advanta/)[^/\s"'?]+
    | (?<=/payments/)(?:stk|results|timeouts|c2b|sim)/[^/\s"'?]+
    | (?:DETAIL|CONTEXT):[^\n]*                                    # where PostgreSQL quotes a row
    | (?:\+|(?<!\d)00)\d(?:{_GAP}\d){{6,14}}(?!\d)                 # +254 712 345 678, any country
    | (?<!\d)254{_GAP}0?{_GAP}[17](?:{_GAP}\d){{8}}(?!\d)
    | (?<!\d)\(?0[17](?:{_GAP}\d){{8}}(?!\d)
    | (?<![\d.,])[17]\d{{8}}(?!\d)                                 # the bare subscriber number
    """,
    re.VERBOSE,
)
_LABELLED = re.compile(
    r"""(?ix)
    \b(?P<label> (?:[a-z]+[_-])*
        (?: pin | (?:first|last|middle|sur|user|full)?_?name | pass(?:word|wd|key|phrase) | pepper
          | token | secret | api_?key | (?:secret|access|consumer)_?key | authorization
          | msisdn | phone_?(?:number)? | text | body | address | party[ab] )
    )(?P<between> ["']?\s*(?:[:=]|\bis\b)\s* | (?<=pin)\s+(?=\d) )
    (?: \[masked\] | [bru]?"(?:[^"\\]|\\.)*" | [bru]?'(?:[^'\\]|\\.)*' | \S[^\s&,;)}\]]* )
    """
)
# A text without any of these holds nothing that the two above would find: most do not.
_SUSPECT = re.compile(
    r"\d\D{0,3}\d\D{0,3}\d\D{0,3}\d|[=:@\"']|[0-9a-fA-F]{32}|ws_CO_|/\w|(?i:basic|bearer|\bis\b)"
)

_KENYAN = range(254_100_000_000, 254_800_000_000)  # M-Pesa sends its numbers as JSON numbers
_PLAIN = (bool, float, Decimal, UUID, datetime, date, time, type(None))

EventDict = MutableMapping[str, Any]


def configure(level: str = "INFO") -> None:
    """Once, at the start of a process. level: of our own lines; libraries speak from WARNING up."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _stamp,
            _explain,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Masked())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level == "DEBUG" else max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


class Masked(logging.Formatter):
    """What libraries log through `logging`, in the same form and through the same mask."""

    def format(self, record: logging.LogRecord) -> str:
        event: EventDict = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            event["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return _render(None, "", event)


def mask(value: Any) -> Any:
    """The same value as JSON can hold it, without anything that points to a person."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return MASK if value in _KENYAN else value
    if isinstance(value, _PLAIN):
        return value if isinstance(value, bool | float) or value is None else str(value)
    if isinstance(value, Mapping):
        return {
            mask_text(str(key)): MASK if held is not None and tells(str(key)) else mask(held)
            for key, held in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(held) for held in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return mask_text(str(value) if isinstance(value, PurePath) else repr(value))


def mask_text(text: str) -> str:
    if not _SUSPECT.search(text):
        return text
    return _LABELLED.sub(rf"\g<label>\g<between>{MASK}", _PERSONAL.sub(_kept, text))


@lru_cache(maxsize=4096)
def tells(key: str) -> bool:
    """Does what stands under this key say who somebody is, or let one act for them?"""
    if key in HARMLESS:
        return False
    words = [word.lower() for word in _WORDS.findall(key)]
    return (
        not TELLING.isdisjoint(words)
        or not TELLING_PAIRS.isdisjoint(pairwise(words))
        or "".join(words) in TELLING
    )


def _kept(found: re.Match[str]) -> str:
    return found["keep"] or MASK


def _stamp(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event["timestamp"] = datetime.now(UTC).isoformat()
    return event


def _explain(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """`exc_info=True`, or the exception itself, becomes its traceback, without local values."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def _render(_logger: Any, _method: str, event: EventDict) -> str:
    kept = {"level": event.pop("level", ""), "timestamp": event.pop("timestamp", "")}
    return json.dumps({**kept, **mask(event)})


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("sokoni").critical("uncaught", exc_info=(kind, error, trace))
