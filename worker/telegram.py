"""Tasks of Telegram: screens, words, notices, photos; each waits until its chat takes a message.

A message to a chat has no key by which Telegram would know it again. All of these do no harm twice,
so after a call of which nobody knows what it did, it is made once more, and no third time.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from channels.telegram import words
from channels.telegram.sender import DONE, Buttons, Sent, Writer
from core import evidence, outbox, reach, sendings
from core.database import Db
from core.sendings import SendAnswer
from flows import conversations, run
from flows.link import CHANNEL
from flows.words import FALLBACK
from worker.work import Work, in_the_end, late, look_again

TOO_OLD_AFTER: Final = timedelta(hours=1)  # for a screen that nobody could be shown so far
ATTEMPTS_MAX: Final = 5  # while Telegram is away: then another way is taken, or none
_HOME: Final = "000"


def telegram_screen(work: Work, item: outbox.Item) -> None:
    """Show the screen of a hop, unless the conversation has gone on meanwhile.

    Arguments: lines, how many of the screen's last are options; edit, the message that was tapped;
    first, words to be said before; forget, a message of the person's to be taken away.
    """
    given = item.arguments
    with _chat(work, item) as chat_id:
        if chat_id is None:
            return
        with work.database.begin() as db:
            screen = _screen(db, work, given)
        sent = DONE if screen is None else _shown(_writer(work), chat_id, screen, given)
        if "forget" in given and sent.outcome != "later":
            _writer(work).forget(chat_id, int(given["forget"]))

        def record(db: Db, now: datetime) -> None:
            if screen is not None and sent.outcome == "done":
                shown = None if screen.ends else sent.message_id
                conversations.message_shown(db, screen.conversation_id, shown)
            _settle(db, work, item, chat_id, sent, now)

        in_the_end(work, record)


def telegram_say(work: Work, item: outbox.Item) -> None:
    """Say the words of that name; to a chat that speaks for no phone, with the key to share it."""
    given = item.arguments
    with _chat(work, item) as chat_id:
        if chat_id is None:
            return
        with work.database.begin() as db:
            chat = conversations.read(db, CHANNEL, given["chat"])
            is_lost = reach.is_lost(db, CHANNEL, given["chat"])
            if is_lost:
                outbox.done(db, item.id, work.database.clock())
                return
        speaks = chat is not None and chat.msisdn is not None
        label = "" if speaks else words.say("share", given["language"])
        values = {"dial_code": work.rules.dial_code}
        text = words.say(given["words"], given["language"], values)
        sent = _once_more(lambda: _writer(work).say(chat_id, text, label))
        in_the_end(work, lambda db, now: _settle(db, work, item, chat_id, sent, now))


def telegram_message(work: Work, item: outbox.Item) -> None:
    """Send a notice to the chat that its receiver spoke from last; what is refused goes by SMS."""
    message_id = UUID(item.arguments["message_id"])
    with work.database.begin() as db:
        address = sendings.chat_of(db, message_id)
    if address is None:  # it goes by SMS by now
        with work.database.begin() as db:
            outbox.done(db, item.id, work.database.clock())
        return
    with _chat(work, item, address) as chat_id:
        if chat_id is None:
            return
        with work.database.begin() as db:
            now = work.database.clock()
            claimed = sendings.claim(db, message_id, late(work), now, by=CHANNEL, rules=work.rules)
            if not isinstance(claimed, sendings.Claimed):
                look_again(db, item, claimed, now)
                return
            is_lost = reach.is_lost(db, CHANNEL, address)
        gone = Sent("refused", "unreachable", gone=True)
        sent = gone if is_lost else _writer(work).show(chat_id, claimed.text)
        answer = _answer(sent, item.attempts)

        def record(db: Db, now: datetime) -> None:
            look_again(db, item, sendings.record(db, claimed, answer, now), now)
            if sent.gone:
                reach.lose(db, CHANNEL, address, sent.code, now)
            _hold(work, sent)

        in_the_end(work, record)


def telegram_photo(work: Work, item: outbox.Item) -> None:
    """Get a photo and keep it as evidence; its sender hears what became of it."""
    given, storage = item.arguments, work.storage
    assert storage is not None, "a worker that takes photos has a place for them"
    found = _writer(work).fetch(given["file_id"], evidence.BYTES_MAX)
    if isinstance(found, Sent) and found.outcome in ("later", "unknown"):
        with work.database.begin() as db:
            due_at = work.database.clock() + timedelta(seconds=max(found.wait_seconds, 1.0))
            if item.attempts < ATTEMPTS_MAX:
                outbox.postpone(db, item.id, due_at, found.code)
                return
    with work.database.begin() as db:
        now = work.database.clock()
        if isinstance(found, Sent):
            became = "too_large" if found.code == "too_large" else "lost"
        else:
            became = evidence.add(
                db,
                storage,
                UUID(given["dispute_id"]),
                UUID(given["member_id"]),
                found,
                "image/*",
                now,
            )
        said = "kept" if became == "same" else became
        outbox.put(
            db,
            "telegram_say",
            due_at=now,
            chat=given["chat"],
            words=f"photo_{said}",
            language=given["language"],
        )
        outbox.done(db, item.id, now)


TASKS: Final[Mapping[str, Callable[[Work, outbox.Item], None]]] = {
    "telegram_screen": telegram_screen,
    "telegram_say": telegram_say,
    "telegram_message": telegram_message,
    "telegram_broadcast": telegram_message,
    "telegram_photo": telegram_photo,
}


@dataclass(frozen=True)
class _Screen:
    """A kept screen as a message. edit: the message to draw it in."""

    conversation_id: UUID
    text: str
    buttons: Buttons
    ends: bool
    language: str
    edit: int | None


def _screen(db: Db, work: Work, given: Mapping[str, Any]) -> _Screen | None:
    """None: nobody is to see it any more."""
    now, conversation_id = work.database.clock(), UUID(given["conversation_id"])
    chat = conversations.by_id(db, conversation_id)
    turn = int(given["turn"])
    if chat is None or chat.session is None or chat.turn > turn:
        return None
    kept = conversations.answered(db, chat.session, bytes.fromhex(given["digest"]))
    is_lost = reach.is_lost(db, CHANNEL, chat.address)
    if kept is None or is_lost or now - chat.updated_at > TOO_OLD_AFTER:
        return None
    language = chat.member_language or chat.language or FALLBACK
    shown = run.revealed(db, conversation_id, kept.screen, work.rules, now).split("\n")
    count = len(shown) - int(given["lines"])
    options = [line.partition(" ")[0] for line in shown[count:]]
    buttons = [(f"{turn}:{key}", line) for key, line in zip(options, shown[count:], strict=True)]
    if kept.ends:
        buttons = [(f"{turn}:{_HOME}", words.say("again", language))]
    # A tap on an older message draws below what was written since, not above it.
    tapped = int(given["edit"]) if "edit" in given and "first" not in given else None
    edit = tapped if tapped == conversations.message_showing(db, conversation_id) else None
    return _Screen(conversation_id, "\n".join(shown[:count]), buttons, kept.ends, language, edit)


def _shown(writer: Writer, chat_id: int, screen: _Screen, given: Mapping[str, Any]) -> Sent:
    """The words before it, then the screen."""
    if "first" in given:
        said = words.say(given["first"], screen.language, given)
        sent = _once_more(lambda: writer.say(chat_id, said))
        if sent.outcome in ("refused", "later"):
            return sent
    return _once_more(lambda: writer.show(chat_id, screen.text, screen.buttons, screen.edit))


@contextmanager
def _chat(work: Work, item: outbox.Item, address: str = "") -> Iterator[int | None]:
    """The chat, ours alone while we write; None: not now, and the row is due again when it is."""
    chat_id = int(address or item.arguments["chat"])
    wait = work.flood.take(chat_id)
    if wait > 0:
        with work.database.begin() as db:
            due_at = work.database.clock() + timedelta(seconds=wait)
            outbox.postpone(db, item.id, due_at, "not too fast")
        yield None
        return
    try:
        yield chat_id
    finally:
        work.flood.leave(chat_id)


def _writer(work: Work) -> Writer:
    assert work.writer is not None, "a worker that writes to chats has what writes"
    return work.writer


def _once_more(call: Callable[[], Sent]) -> Sent:
    sent = call()
    return call() if sent.outcome == "unknown" else sent


def _settle(db: Db, work: Work, item: outbox.Item, chat_id: int, sent: Sent, now: datetime) -> None:
    """The row is done, or comes again; a chat in which nothing arrives is remembered."""
    _hold(work, sent)
    if sent.gone:
        reach.lose(db, CHANNEL, str(chat_id), sent.code, now)
    if sent.outcome == "later":
        outbox.postpone(db, item.id, now + timedelta(seconds=sent.wait_seconds), sent.code)
    else:
        outbox.done(db, item.id, now)


def _hold(work: Work, sent: Sent) -> None:
    if sent.code == "flood":
        work.flood.hold(sent.wait_seconds)


def _answer(sent: Sent, attempts: int) -> SendAnswer:
    """As messages know it. What Telegram cannot take for long goes another way."""
    match sent.outcome:
        case "done":
            return SendAnswer("accepted", sent.code)
        case "later" if attempts >= ATTEMPTS_MAX:
            return SendAnswer("refused", sent.code)
        case outcome:
            return SendAnswer(outcome, sent.code)
