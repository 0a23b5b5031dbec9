"""The sender: one loop thread and one Bot for each process, and what each answer proves.

A Bot belongs to the event loop that first used it, and a thread does not survive a fork: both are
made when they are first needed, in the process that needs them.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any, Final, Literal, Protocol, TypeVar

import httpx
import structlog
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
)
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)
from telegram.request import HTTPXRequest

from settings import Settings

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 16
CONNECT_SECONDS_MAX: Final = 3.0
READ_SECONDS_MAX: Final = 6.0
CALL_SECONDS_MAX: Final = 8.0  # of the whole, seen from the thread that waits
DOWNLOAD_SECONDS_MAX: Final = 40.0
STOP_SECONDS_MAX: Final = 2.0
TEXT_CHARACTERS_MAX: Final = 4096
LATER_SECONDS: Final = 5.0  # when nobody says how long

Result = TypeVar("Result")
Call = Callable[[Bot], Coroutine[Any, Any, Result]]
Buttons = Sequence[tuple[str, str]]  # callback data, label; one a line


@dataclass(frozen=True)
class Sent:
    """What came of a call.

    "refused": it never will be done; gone: nor anything else in that chat. "later": surely not
    done; wait_seconds says when it may be tried again. "unknown": done or not.
    """

    outcome: Literal["done", "refused", "later", "unknown"]
    code: str
    message_id: int | None = None
    wait_seconds: float = 0.0
    gone: bool = False


DONE: Final = Sent("done", "ok")


@dataclass(frozen=True)
class Account:
    """Our bot. base_url: of the API, without "/bot<token>"."""

    base_url: str
    token: str = field(repr=False)
    read_seconds: float = READ_SECONDS_MAX
    call_seconds: float = CALL_SECONDS_MAX


class Writer(Protocol):
    """What writes to chats, as tasks use it."""

    def show(
        self, chat_id: int, text: str, buttons: Buttons = (), edit: int | None = None
    ) -> Sent: ...
    def say(self, chat_id: int, text: str, contact_label: str = "") -> Sent: ...
    def forget(self, chat_id: int, message_id: int) -> Sent: ...
    def fetch(self, file_id: str, bytes_max: int) -> bytes | Sent: ...


class Telegram:
    """Safe for threads; one for each process. Never raises for what Telegram or a network does."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._line: _Line | None = None
        self._starting = Lock()
        # One logs every address it calls, of which the token is part; the other answers it cannot
        # read, with what people wrote in them.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("telegram.request.BaseRequest").setLevel(logging.CRITICAL)

    def show(self, chat_id: int, text: str, buttons: Buttons = (), edit: int | None = None) -> Sent:
        """A screen: in the place of that message, or as a new one where that cannot be.

        text: as it is, no markup is read in it.
        """
        rows = [[InlineKeyboardButton(label, callback_data=data)] for data, label in buttons]
        markup = InlineKeyboardMarkup(rows) if rows else None
        text = text[:TEXT_CHARACTERS_MAX]
        if edit is not None:
            edited = self._call(
                lambda bot: bot.edit_message_text(
                    text, chat_id=chat_id, message_id=edit, reply_markup=markup
                )
            )
            if edited.code != _NOT_TO_EDIT:
                return Sent(edited.outcome, edited.code, edit, edited.wait_seconds, edited.gone)
        return self._call(lambda bot: bot.send_message(chat_id, text, reply_markup=markup))

    def say(self, chat_id: int, text: str, contact_label: str = "") -> Sent:
        """A message without buttons. contact_label: of the key that shares the phone's contact;
        without it whatever keys stood below the chat go away.
        """
        keys: ReplyKeyboardMarkup | ReplyKeyboardRemove = ReplyKeyboardRemove()
        if contact_label:
            key = KeyboardButton(contact_label, request_contact=True)
            keys = ReplyKeyboardMarkup([[key]], resize_keyboard=True, one_time_keyboard=True)
        text = text[:TEXT_CHARACTERS_MAX]
        return self._call(lambda bot: bot.send_message(chat_id, text, reply_markup=keys))

    def forget(self, chat_id: int, message_id: int) -> Sent:
        """Take a message out of the chat; a person's own too, within 48 hours."""
        return self._call(lambda bot: bot.delete_message(chat_id, message_id))

    def answer(self, query_id: str, text: str = "") -> Sent:
        """A tap's button stops spinning. text: pops up, up to 200 characters."""
        return self._call(lambda bot: bot.answer_callback_query(query_id, text[:200]))

    def fetch(self, file_id: str, bytes_max: int) -> bytes | Sent:
        """What was sent to us, or why it cannot be had; "too_large" beyond bytes_max."""
        found: list[bytes] = []

        async def load(bot: Bot) -> None:
            file = await bot.get_file(file_id)
            if file.file_size is not None and file.file_size > bytes_max:
                raise BadRequest("file is too big")
            found.append(bytes(await file.download_as_bytearray(read_timeout=20)))

        sent = self._call(load, seconds=DOWNLOAD_SECONDS_MAX)
        if sent.outcome != "done":
            return sent
        return found[0] if len(found[0]) <= bytes_max else Sent("refused", "too_large")

    def run(self, call: Call[Result], seconds: float | None = None) -> Result:
        """Any call, on the loop. Raises TelegramError; TimedOut after so many seconds."""
        line = self._here()
        future = asyncio.run_coroutine_threadsafe(call(line.bot), line.loop)
        try:
            return future.result(timeout=seconds or self._account.call_seconds)
        except TimeoutError:
            future.cancel()
            raise TimedOut from None

    def close(self) -> None:
        """Let go of the connections and of the thread."""
        line, self._line = self._line, None
        if line is not None and line.process == os.getpid():
            line.stop()

    def _call(self, call: Call[Any], seconds: float | None = None) -> Sent:
        try:
            result = self.run(call, seconds)
        except TelegramError as error:
            sent = read_error(error)
            log.warning("telegram_call_failed", outcome=sent.outcome, code=sent.code)
            return sent
        return Sent("done", "ok", getattr(result, "message_id", None))

    def _here(self) -> "_Line":
        line = self._line
        if line is None or line.process != os.getpid():
            with self._starting:
                line = self._line
                if line is None or line.process != os.getpid():
                    line = self._line = _Line(self._account)
        return line


def connect(settings: Settings) -> Telegram:
    """The sender for the bot that the settings name."""
    token = settings.telegram_token.get_secret_value()
    return Telegram(Account(settings.telegram_base_url, token))


_NOT_TO_EDIT: Final = "not_to_edit"
# By words of a Bad Request: what it means for us. Telegram may change its words without notice;
# a text we do not know is a refusal.
_BAD_REQUESTS: Final = (
    ("not modified", DONE),
    ("message to edit not found", Sent("refused", _NOT_TO_EDIT)),
    ("message can't be edited", Sent("refused", _NOT_TO_EDIT)),
    ("message_id_invalid", Sent("refused", _NOT_TO_EDIT)),
    ("message to delete not found", DONE),
    ("query is too old", DONE),
    ("chat not found", Sent("refused", "chat_not_found", gone=True)),
    ("file is too big", Sent("refused", "too_large")),
)


def read_error(error: TelegramError) -> Sent:
    """What a failed call proves. Whatever it does not prove is "unknown"."""
    if isinstance(error.__cause__, TelegramError) and type(error) is not NetworkError:
        return Sent("unknown", "unreadable")  # not Telegram's own answer, but somebody's between
    match error:
        case RetryAfter():
            wait = error.retry_after
            seconds = wait if isinstance(wait, int) else wait.total_seconds()
            return Sent("later", "flood", wait_seconds=max(float(seconds), 1.0))
        case Forbidden():
            return Sent("refused", "forbidden", gone=True)
        case ChatMigrated():
            return Sent("refused", "became_a_group", gone=True)
        case InvalidToken():
            return Sent("later", "wrong_token", wait_seconds=60.0)
        case Conflict():
            return Sent("later", "conflict", wait_seconds=LATER_SECONDS)
        case BadRequest():  # a subclass of NetworkError: it stands before it
            said = str(error).lower()
            known = (sent for words, sent in _BAD_REQUESTS if words in said)
            return next(known, Sent("refused", "bad_request"))
        case NetworkError() if isinstance(error.__cause__, _NEVER_SENT):
            return Sent("later", "no_connection", wait_seconds=LATER_SECONDS)
        case TimedOut():
            return Sent("unknown", "timeout")
        case NetworkError() if isinstance(error.__cause__, httpx.HTTPError):
            return Sent("unknown", "reset")
        case NetworkError():  # an answer: 5xx
            return Sent("later", "server_error", wait_seconds=LATER_SECONDS)
        case _:
            return Sent("unknown", "unreadable")


_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class _Line:
    """The loop, its thread and the Bot of one process."""

    def __init__(self, account: Account) -> None:
        self.process = os.getpid()
        self._request = HTTPXRequest(
            connection_pool_size=CONNECTIONS_MAX,
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=account.read_seconds,
            write_timeout=account.read_seconds,
            pool_timeout=CONNECT_SECONDS_MAX,
            httpx_kwargs={"trust_env": False},
        )
        self.bot = Bot(
            account.token,
            base_url=f"{account.base_url}/bot",
            base_file_url=f"{account.base_url}/file/bot",
            request=self._request,
            get_updates_request=self._request,
        )
        self.loop = asyncio.new_event_loop()
        self._thread = Thread(target=self.loop.run_forever, name="telegram", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        done = asyncio.run_coroutine_threadsafe(self._request.shutdown(), self.loop)
        try:
            done.result(timeout=STOP_SECONDS_MAX)
        except TimeoutError:
            log.warning("telegram_not_shut_down")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_SECONDS_MAX)
        if not self._thread.is_alive():
            self.loop.close()
