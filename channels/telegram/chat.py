"""Chat: what one update does: a hop of the conversation, or what only Telegram can do.

Nothing is sent from here. What is to be sent is written with its reason, for the worker; what can
be said in the answer to the update itself is returned: one call of the Bot API, or none.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from channels.telegram import words
from channels.telegram.updates import (
    Act,
    Command,
    Filed,
    Located,
    Moved,
    Pictured,
    Shared,
    Tapped,
    Told,
    Typed,
)
from channels.ussd import Hopper
from core import evidence, heard, links, members, outbox, places, reach
from core.database import Database, Db
from core.rules import Rules
from flows import conversations
from flows.conversations import Conversation, Wish
from flows.link import CHANNEL, join
from flows.run import Answer, Begin, Inbound, Reply, Tap
from flows.words import FALLBACK

Method = Mapping[str, Any]  # a call of the Bot API, its name under "method"
Said = Answer | Begin | Tap

ROOM_SEPTETS: Final = 4_000  # a message has 4,096 characters; what is long is still cut into pages
NEAR_KM_MAX: Final = 30.0  # a place further away than this is not where somebody lives
SECONDS_MAX: Final = 3.0  # of a transaction of ours
PROBE_SECONDS_MAX: Final = 1.0
REDRAW: Final = -1  # a turn that never was: a tap of it draws the present screen
TOAST_CHARACTERS_MAX: Final = 200
_FLOWS: Final = {
    "start": ("home", ""),
    "menu": ("home", ""),
    "orders": ("my_orders", ""),
    "deals": ("safe_pay", ""),
    "language": ("account", "language"),
    "help": ("home", "help"),
}


class Desk:
    """Takes updates in one process, however many at once."""

    def __init__(self, database: Database, hopper: Hopper, rules: Rules) -> None:
        self._database = database
        self._hopper = hopper
        self._rules = rules

    def take(self, told: Told) -> Method | None:
        """Act on it, once however often it comes. Raises Unavailable: nothing was kept."""
        match told.act:
            case Moved(is_here):
                self._moved(told, is_here)
                return None
            case Typed(text):
                return self._hop(told, Answer(_key(told), text, begins=True))
            case Tapped(_, _, turn, option):
                return self._hop(told, Tap(_key(told), turn, option))
            case Command("start", payload) if payload:
                return self._shown(told, payload)
            case Command(name, _):
                flow, state = _FLOWS[name]
                return self._hop(told, Begin(_key(told), flow, state))
            case Shared(msisdn):
                return self._shared(told, msisdn)
            case Located(latitude, longitude):
                return self._located(told, latitude, longitude)
            case Pictured(file_id, size):
                return self._pictured(told, file_id, size)
            case Filed():
                self._tell(told, "photo_not_a_picture")
                return None
            case _:
                return self._hop(told, _redraw(told))

    def _hop(self, told: Told, said: Said, **first: str) -> Method | None:
        """One hop. first: words to be said before its screen, with what they are filled with."""
        inbound = Inbound(
            channel=CHANNEL,
            address=str(told.chat_id),
            msisdn=None,
            session=f"{CHANNEL}:{told.chat_id}",
            service_code="",
            said=said,
            room_septets=ROOM_SEPTETS,
            language=told.language or None,
        )

        def wished(reply: Reply) -> Wish:
            assert reply.screen is not None, "a screen is wished for when it was drawn"
            lines = len(reply.screen.lines)
            done_to = _of_message(told, reply.takes_secret)
            chat = str(told.chat_id)
            return Wish("telegram_screen", {"chat": chat, "lines": lines, **done_to, **first})

        return self._answered(told, self._hopper.answer(inbound, wished))

    def _answered(self, told: Told, reply: Reply) -> Method | None:
        """What is said at once. Most replies are kept, and the worker shows their screens."""
        if reply.screen is not None or reply.repeated:
            return _toast(told.act)
        if reply.label == "unproved":
            self._tell(told, "ask_contact", reply.language)
            return _toast(told.act)
        if reply.label == "apology":
            self._probe()
        name = "too_many" if reply.label == "too_many" else "late"
        return _say_at_once(told, words.say(name, reply.language or told.language))

    def _probe(self) -> None:
        """Nothing was kept. Is it the database? Raises Unavailable; else trying again is no use."""
        with self._database.autocommit(seconds=PROBE_SECONDS_MAX) as db:
            db.value("SELECT 1")

    def _moved(self, told: Told, is_here: bool) -> None:
        with self._database.begin(seconds=SECONDS_MAX) as db:
            if not self._is_first(db, told):
                return
            if is_here:
                reach.find(db, CHANNEL, str(told.chat_id))
            else:
                reach.lose(db, CHANNEL, str(told.chat_id), "blocked", self._now())

    def _shared(self, told: Told, msisdn: str | None) -> Method | None:
        """A contact: proof of a phone, if it is the sender's own."""
        if msisdn is None:
            self._tell(told, "not_own")
            return None
        with self._database.begin(seconds=SECONDS_MAX) as db:
            said, first = self._speak_for(db, told, msisdn, None)
        return self._hop(told, said, **first)

    def _shown(self, told: Told, token: str) -> Method | None:
        """A link's token behind /start."""
        said, first = Begin(_key(told)), dict[str, str]()
        with self._database.begin(seconds=SECONDS_MAX) as db:
            if self._is_first(db, told):
                link = links.show(db, token, str(told.chat_id), self._rules, self._now())
                if link is None:
                    self._put(db, told, "link_over")
                    return None
                said, first = self._speak_for(db, told, link.msisdn, link.id)
        return self._hop(told, said, **first)

    def _speak_for(
        self, db: Db, told: Told, msisdn: str, link_id: UUID | None
    ) -> tuple[Begin, dict[str, str]]:
        """The chat has proved that it may; if it speaks for another member it is asked first."""
        address, now = str(told.chat_id), self._now()
        reach.find(db, CHANNEL, address)
        chat = conversations.read(db, CHANNEL, address)
        speaks = chat is not None and chat.member_id is not None and not chat.shares_phone
        if speaks and chat is not None and chat.msisdn != msisdn:
            shown = link_id or links.prove(db, msisdn, address, now)
            return Begin(_key(told), "link", "", {"link": str(shown)}), {}
        if link_id is not None:
            links.use(db, link_id, now)
        join(db, address, msisdn, now)
        return Begin(_key(told)), {"first": "linked"}

    def _located(self, told: Told, latitude: float, longitude: float) -> Method | None:
        """Where the sender is: a member's place from now on, or a stranger's while registering."""
        said: Said = _redraw(told)
        first: dict[str, str] = {}
        with self._database.begin(seconds=SECONDS_MAX) as db:
            chat = conversations.read(db, CHANNEL, str(told.chat_id))
            place = places.nearest(db, latitude, longitude, NEAR_KM_MAX)
            if chat is None or chat.msisdn is None:
                pass  # it is asked for its phone first
            elif place is None:
                first = {"first": "no_place"}
            elif chat.member_id is not None:
                if self._is_first(db, told):
                    members.move(db, chat.member_id, place.id, self._now())
                first = {"first": "moved", "place": place.name}
            elif _is_asked_where(chat):
                said = Answer(_key(told), place.name)
        return self._hop(told, said, **first)

    def _pictured(self, told: Told, file_id: str, size: int) -> Method | None:
        """A photo: evidence of the problem that its sender has reported, if there is one."""
        with self._database.begin(seconds=SECONDS_MAX) as db:
            chat = conversations.read(db, CHANNEL, str(told.chat_id))
            if chat is not None and chat.msisdn is not None:
                if self._is_first(db, told):
                    self._keep_photo(db, told, chat, file_id, size)
                return None
        return self._hop(told, _redraw(told))

    def _keep_photo(self, db: Db, told: Told, chat: Conversation, file_id: str, size: int) -> None:
        now, member_id = self._now(), chat.member_id
        dispute_id = evidence.wanted(db, member_id, now) if member_id is not None else None
        if dispute_id is None:
            self._put(db, told, "photo_unwanted")
        elif size > evidence.BYTES_MAX:
            self._put(db, told, "photo_too_large")
        else:
            outbox.put(
                db,
                "telegram_photo",
                due_at=now,
                chat=told.chat_id,
                language=_language(chat, told),
                file_id=file_id,
                dispute_id=dispute_id,
                member_id=member_id,
            )

    def _tell(self, told: Told, name: str, language: str = "") -> None:
        """Have the words of that name said in the chat, once."""
        with self._database.begin(seconds=SECONDS_MAX) as db:
            if self._is_first(db, told):
                self._put(db, told, name, language)

    def _put(self, db: Db, told: Told, name: str, language: str = "") -> None:
        if not language:
            language = _language(conversations.read(db, CHANNEL, str(told.chat_id)), told)
        outbox.put(
            db,
            "telegram_say",
            due_at=self._now(),
            chat=told.chat_id,
            words=name,
            language=language,
            update=told.number,
        )

    def _is_first(self, db: Db, told: Told) -> bool:
        digest = sha256(f"{CHANNEL}\0{told.number}".encode()).digest()
        return heard.first(db, digest, self._now())

    def _now(self) -> datetime:
        return self._database.clock()


def _key(told: Told) -> str:
    return str(told.number)


def _redraw(told: Told) -> Tap:
    return Tap(_key(told), REDRAW, "")


def _of_message(told: Told, was_secret: bool) -> dict[str, object]:
    """What is done to a message: a tapped one becomes the next screen, a PIN goes out of sight."""
    match told.act:
        case Tapped(_, int(message_id), _, _):
            return {"edit": message_id}
        case Typed() if was_secret and told.message_id is not None:
            return {"forget": told.message_id}
        case _:
            return {}


def _toast(act: Act, text: str = "") -> Method | None:
    """A tap is answered at once, that its button stops spinning."""
    if not isinstance(act, Tapped):
        return None
    said = {"text": text[:TOAST_CHARACTERS_MAX]} if text else {}
    return {"method": "answerCallbackQuery", "callback_query_id": act.query_id, **said}


def _say_at_once(told: Told, text: str) -> Method:
    """Of which nothing is kept, so that nobody could send it later."""
    plain: Method = {"method": "sendMessage", "chat_id": told.chat_id, "text": text}
    return _toast(told.act, text) or plain


def _language(chat: Conversation | None, told: Told) -> str:
    known = (chat.member_language or chat.language) if chat is not None else None
    return known or told.language or FALLBACK


def _is_asked_where(chat: Conversation) -> bool:
    """Is the name of a place what a stranger would type now?"""
    frame = conversations.frame_of(chat.frame)
    return frame is not None and (frame.flow, frame.state) == ("register", "place_words")
