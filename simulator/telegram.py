"""Telegram: people's chats with the one bot, what they do in them and what the bot does.

Only private chats: a person and their chat have one id. Source: Bot API, and the texts of errors as
the official Bot API server has them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from simulator import formatting, keyboards, msisdn, outbound, pictures
from simulator.books import NoSuchAccount
from simulator.flood import Flood
from simulator.formatting import Entity
from simulator.ground import Ground, Part
from simulator.journal import Record
from simulator.keyboards import Markup
from simulator.updates import Updates, Webhook

Content = dict[str, Any]
# new: never pressed Start.
State = Literal["new", "started", "blocked", "deactivated"]

BOT_NAME = "Sokoni"
BOT_USERNAME = "SokoniBot"
DOWNLOAD_BYTES_MAX = 20_000_000
DELETE_HOURS_MAX = 48
DEFAULT_UPDATES = ("message", "callback_query", "my_chat_member")
THUMBNAIL_WIDTHS = (90, 320)  # the smaller sizes of a photo; grey, to be told from the real one


class Refused(Exception):
    """The Bot API says no. description: with its class before it, as "Bad Request: …"."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


class Unreachable(Exception):
    """The person has blocked the bot, or their account is no more: they can do nothing here."""


class NoSuchMessage(Exception):
    """The chat has no such message, or it has no such button."""


@dataclass(slots=True)
class Message:
    """One message. content: as in the Bot API, without what all messages have.

    buttons: its inline keyboard; keyboard: the reply keyboard that came with it.
    """

    id: int
    is_bots: bool
    at: datetime
    content: Content
    buttons: Markup | None = None
    keyboard: Markup | None = None
    edited_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Toast:
    """What popped up after a tap. text "": the button only stopped spinning."""

    query_id: str
    text: str
    is_alert: bool
    at: datetime


@dataclass(slots=True)
class Query:
    """A tap that the bot shall answer."""

    chat: "Chat"
    at: datetime
    is_answered: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """Something sent, kept. path: where the bot may fetch it."""

    id: str
    unique_id: str
    path: str
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Chat:
    """A person with their talk. keyboard: the reply keyboard that stands below it now."""

    msisdn: str
    id: int
    first_name: str
    language: str = "en"
    state: State = "new"
    messages: dict[int, Message] = field(default_factory=dict)
    keyboard: Markup | None = None
    toasts: list[Toast] = field(default_factory=list)

    @property
    def person(self) -> Content:
        """A User."""
        return {
            "id": self.id,
            "is_bot": False,
            "first_name": self.first_name,
            "language_code": self.language,
        }

    @property
    def place(self) -> Content:
        """A Chat."""
        return {"id": self.id, "first_name": self.first_name, "type": "private"}


class Telegram(Part):
    """All chats with the bot. Verbs lock the world themselves."""

    def __init__(
        self,
        ground: Ground,
        *,
        token: str,
        webhook_url: str,
        secret: str,
        perform: Callable[["Telegram", outbound.Answer], None],
    ) -> None:
        """webhook_url: where updates go until the bot asks for another place. perform: does what
        the body of an acknowledgement asks for.
        """
        super().__init__(ground)
        self.token = token
        self.updates = Updates(
            ground, partial(perform, self), Webhook(webhook_url, secret, DEFAULT_UPDATES)
        )
        self._flood = Flood()
        self._chats: dict[str, Chat] = {}  # by msisdn
        self._by_id: dict[int, Chat] = {}
        self._queries: dict[str, Query] = {}
        self._files: dict[str, File] = {}
        self._paths: dict[str, File] = {}
        self._photos: dict[str, list[Content]] = {}  # their sizes, by any of their file ids
        self._commands: dict[tuple[str, str], list[Content]] = {}
        self._next_message_id = self._chance.randrange(1_000, 1_000_000)

    @property
    def bot(self) -> Content:
        """A User."""
        own_id = self.token.partition(":")[0]
        return {
            "id": int(own_id) if own_id.isdecimal() else 0,
            "is_bot": True,
            "first_name": BOT_NAME,
            "username": BOT_USERNAME,
        }

    # --- what people do. Each returns the message as it was sent, and raises Unreachable.

    def chat(self, number: str) -> Chat:
        """That person's chat; it is there from the first look at it, though not started.

        Look at it inside one `journal.change()`.
        """
        with self._journal.change():
            found = self._chats.get(number)
            return found if found is not None else self._open(number, _id_of(number))

    def introduce(
        self, number: str, *, user_id: int | None = None, language: str | None = None
    ) -> None:
        """Give the person an id or a language. Raises ValueError: the id is somebody's."""
        with self._journal.change():
            chat = self.chat(number)
            if user_id is not None and user_id != chat.id:
                if user_id in self._by_id or chat.state != "new":
                    raise ValueError("that id, or this person's, is in use already")
                del self._by_id[chat.id]
                chat = self._open(number, user_id)
            if language is not None:
                chat.language = language
            self._note(chat)

    def start(self, number: str, payload: str = "") -> Message:
        """Press Start; payload: of the link that led here."""
        with self._journal.change():
            chat = self.chat(number)
            if chat.state == "blocked":
                self._become(chat, "started")
            return self._write(chat, _text(f"/start {payload}".rstrip()))

    def say(self, number: str, text: str) -> Message:
        with self._journal.change():
            return self._write(self.chat(number), _text(text))

    def tap(
        self,
        number: str,
        message_id: int | None,
        *,
        data: str | None = None,
        label: str | None = None,
        is_inaccessible: bool = False,
    ) -> str:
        """Press an inline button; the query's id.

        label: of a button that is there; data: sent as it is, as only a changed client would.
        message_id None: the newest message with buttons. Raises NoSuchMessage.
        """
        with self._journal.change():
            chat = self._able(self.chat(number))
            message = self._tapped(chat, message_id)
            if data is None:
                found = (it for it in keyboards.buttons(message.buttons) if it["text"] == label)
                data = next((it.get("callback_data") for it in found), None)
                if data is None:
                    raise NoSuchMessage
            query_id = str(self._chance.getrandbits(62))
            self._queries[query_id] = Query(chat, self._clock.now())
            shown = self._as_api(chat, message)
            if is_inaccessible:
                shown = {"chat": chat.place, "message_id": message.id, "date": 0}
            query = {
                "id": query_id,
                "from": chat.person,
                "message": shown,
                "chat_instance": str(-chat.id * 7919),
                "data": data,
            }
            self.updates.put("callback_query", query)
            return query_id

    def share_contact(
        self,
        number: str,
        whose: str | None = None,
        *,
        with_user_id: bool = True,
        is_forwarded: bool = False,
    ) -> Message:
        """Send a contact: one's own, or somebody else's as it stands in the address book."""
        with self._journal.change():
            chat = self.chat(number)
            theirs = chat if whose is None else self.chat(whose)
            form = self._rulebook.rules.contact_form
            contact: Content = {
                "phone_number": _written(theirs.msisdn, form),
                "first_name": theirs.first_name,
            }
            if with_user_id:
                contact["user_id"] = theirs.id
            content: Content = {"contact": contact}
            if is_forwarded:
                content["forward_origin"] = {
                    "type": "user",
                    "sender_user": theirs.person,
                    "date": int(self._clock.now().timestamp()),
                }
            return self._write(chat, content)

    def share_location(
        self, number: str, latitude: float, longitude: float, *, venue: str | None = None
    ) -> Message:
        """venue: its name, where a place and not only a point is shared."""
        location = {"latitude": latitude, "longitude": longitude}
        content: Content = {"location": location}
        if venue is not None:
            content["venue"] = {"location": location, "title": venue, "address": venue}
        with self._journal.change():
            return self._write(self.chat(number), content)

    def send_picture(self, number: str, data: bytes, caption: str = "") -> Message:
        """A photo. Raises ValueError: it is no picture."""
        with self._journal.change():
            content: Content = {"photo": self.keep_photo(data)}
            if caption:
                content["caption"] = caption
            return self._write(self.chat(number), content)

    def send_document(
        self, number: str, data: bytes, name: str, kind: str, caption: str = ""
    ) -> Message:
        """Any file; kind: its media type."""
        with self._journal.change():
            file = self._keep("documents", data, name.rpartition(".")[2] or "bin")
            document = {"file_name": name, "mime_type": kind, **_as_file(file)}
            content: Content = {"document": document}
            if caption:
                content["caption"] = caption
            return self._write(self.chat(number), content)

    def send_sticker(self, number: str, emoji: str) -> Message:
        with self._journal.change():
            file = self._keep("stickers", pictures.blank(512, 512), "webp")
            sticker = {
                **_as_file(file), "type": "regular", "width": 512, "height": 512,
                "is_animated": False, "is_video": False, "emoji": emoji,
            }  # fmt: skip
            return self._write(self.chat(number), {"sticker": sticker})

    def edit_own(self, number: str, message_id: int, text: str) -> Message:
        """A person changes what they wrote. Raises NoSuchMessage."""
        with self._journal.change():
            chat = self._able(self.chat(number))
            message = chat.messages.get(message_id)
            if message is None or message.is_bots or "text" not in message.content:
                raise NoSuchMessage
            message.content, message.edited_at = _text(text), self._clock.now()
            self.updates.put("edited_message", self._as_api(chat, message))
            return message

    def block(self, number: str) -> None:
        with self._journal.change():
            self._become(self._able(self.chat(number)), "blocked")

    def unblock(self, number: str) -> None:
        with self._journal.change():
            chat = self.chat(number)
            if chat.state == "blocked":
                self._become(chat, "started")

    def deactivate(self, number: str) -> None:
        """Their account is deleted. Nobody tells the bot."""
        with self._journal.change():
            self._become(self.chat(number), "deactivated")

    # --- what the bot does. Each raises Refused.

    def send(self, chat_id: int, content: Content, markup: Markup | None) -> Content:
        """A message from the bot; the Message as the Bot API answers it."""
        with self._journal.change():
            chat = self._reached(chat_id)
            message = Message(self._new_message_id(), True, self._clock.now(), content)
            if markup and "inline_keyboard" in markup:
                message.buttons = markup
            elif markup and "keyboard" in markup:
                chat.keyboard = message.keyboard = markup
            elif markup:
                chat.keyboard = None
            chat.messages[message.id] = message
            return self._as_api(chat, message)

    def edit(
        self,
        chat_id: int,
        message_id: int,
        changes: Content | None,
        markup: Markup | None,
    ) -> Content:
        """Change a message of the bot's: its text or caption (None: as it is), and its buttons."""
        with self._journal.change():
            chat = self._reached(chat_id)
            message = chat.messages.get(message_id)
            if message is None:
                raise Refused(400, "Bad Request: message to edit not found")
            if not message.is_bots:
                raise Refused(400, "Bad Request: message can't be edited")
            if changes and "text" in changes and "text" not in message.content:
                raise Refused(400, "Bad Request: there is no text in the message to edit")
            content = message.content
            if changes is not None:
                old = ("text", "entities") if "text" in changes else ("caption", "caption_entities")
                content = {k: v for k, v in content.items() if k not in old} | changes
            if content == message.content and markup == message.buttons:
                raise Refused(
                    400,
                    "Bad Request: message is not modified: specified new message content and "
                    "reply markup are exactly the same as a current content and reply markup "
                    "of the message",
                )
            message.content, message.buttons = content, markup
            if changes is not None:
                message.edited_at = self._clock.now()
            return self._as_api(chat, message)

    def delete(self, chat_id: int, message_id: int) -> None:
        with self._journal.change():
            chat = self._known(chat_id)
            message = chat.messages.get(message_id)
            if message is None:
                raise Refused(400, "Bad Request: message to delete not found")
            if self._clock.now() - message.at > timedelta(hours=DELETE_HOURS_MAX):
                raise Refused(400, "Bad Request: message can't be deleted for everyone")
            del chat.messages[message_id]

    def answer(self, query_id: str, text: str, *, is_alert: bool) -> None:
        """Stop the button's spinning, perhaps with a few words."""
        with self._journal.change():
            query, now = self._queries.get(query_id), self._clock.now()
            age = timedelta(seconds=self._rulebook.rules.query_seconds)
            if query is None or now - query.at > age:
                raise Refused(
                    400,
                    "Bad Request: query is too old and response timeout expired "
                    "or query ID is invalid",
                )
            if not query.is_answered:
                query.is_answered = True
                query.chat.toasts.append(Toast(query_id, text, is_alert, now))

    def reach(self, chat_id: int) -> None:
        """Whether the bot may do something in that chat that is no message."""
        with self._journal.change():
            self._known(chat_id)

    def set_commands(self, scope: str, language: str, commands: list[Content]) -> None:
        with self._journal.change():
            self._commands[scope, language] = commands

    def commands(self, language: str) -> list[Content]:
        """Those of a private chat in that language."""
        with self._journal.change():
            scopes = ("all_private_chats", "default")
            keys = [(scope, spoken) for scope in scopes for spoken in (language, "")]
            return next((self._commands[key] for key in keys if key in self._commands), [])

    # --- files

    def file(self, file_id: str) -> File:
        """Raises Refused."""
        with self._journal.change():
            found = self._files.get(file_id)
        if found is None:
            raise Refused(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        return found

    def file_at(self, path: str) -> File | None:
        with self._journal.change():
            return self._paths.get(path)

    def keep_photo(self, data: bytes) -> list[Content]:
        """The sizes of a photo, the real one last. Raises ValueError: it is no picture."""
        size = pictures.size(data)
        if size is None:
            raise ValueError("neither PNG nor JPEG")
        width, height = size
        smaller = [(it, max(1, height * it // width)) for it in THUMBNAIL_WIDTHS if it < width]
        drawn = [(each, pictures.blank(*each)) for each in smaller]
        with self._journal.change():
            sizes: list[Content] = [
                {**_as_file(self._keep("photos", each, "jpg")), "width": wide, "height": high}
                for (wide, high), each in [*drawn, (size, data)]
            ]
            self._photos.update({each["file_id"]: sizes for each in sizes})
        return sizes

    def photo(self, file_id: str) -> list[Content]:
        """The sizes of a photo that was sent before. Raises Refused."""
        with self._journal.change():
            found = self._photos.get(file_id)
        if found is None:
            raise Refused(400, "Bad Request: wrong remote file identifier specified")
        return found

    def _keep(self, folder: str, data: bytes, ending: str) -> File:
        file_id = f"AgACAgQAAxkBAAI{self._chance.getrandbits(160):040x}"
        path = f"{folder}/file_{len(self._files)}.{ending}"
        file = self._files[file_id] = self._paths[path] = File(file_id, file_id[-16:], path, data)
        return file

    # --- chats

    def replay(self, record: Record) -> None:
        """Who had begun a chat before a restart. What was said is gone, as nobody needs it."""
        chat = self._open(record["number"], record["id"])
        chat.language, chat.state = record["language"], record["state"]

    def _note(self, chat: Chat) -> None:
        self._journal.note(
            {
                "is": "chat",
                "number": chat.msisdn,
                "id": chat.id,
                "language": chat.language,
                "state": chat.state,
            }
        )

    def _open(self, number: str, user_id: int) -> Chat:
        try:
            name = self._books.subscriber(number, self._clock.now()).first_name.title()
        except NoSuchAccount:
            name = "Guest"
        before = self._chats.get(number)
        if before is not None:
            self._by_id.pop(before.id, None)
        chat = self._chats[number] = self._by_id[user_id] = Chat(number, user_id, name)
        return chat

    def _become(self, chat: Chat, state: State) -> None:
        membership = {"started": "member", "blocked": "kicked"}
        before, chat.state = chat.state, state
        self._note(chat)
        if state in membership and before in membership and state != before:
            change: Content = {
                "chat": chat.place,
                "from": chat.person,
                "date": int(self._clock.now().timestamp()),
                "old_chat_member": self._member(membership[before]),
                "new_chat_member": self._member(membership[state]),
            }
            self.updates.put("my_chat_member", change)

    def _member(self, status: str) -> Content:
        until = {"until_date": 0} if status == "kicked" else {}
        return {"user": self.bot, "status": status, **until}

    def _able(self, chat: Chat) -> Chat:
        if chat.state in ("blocked", "deactivated"):
            raise Unreachable
        return chat

    def _write(self, chat: Chat, content: Content) -> Message:
        """A person's message; the first one begins the chat, as Start does."""
        self._able(chat)
        if chat.state == "new":
            self._become(chat, "started")
        message = Message(self._new_message_id(), False, self._clock.now(), content)
        chat.messages[message.id] = message
        if chat.keyboard and chat.keyboard["one_time_keyboard"]:
            chat.keyboard = None
        self.updates.put("message", self._as_api(chat, message))
        return message

    def _tapped(self, chat: Chat, message_id: int | None) -> Message:
        with_buttons = (it for it in reversed(chat.messages.values()) if it.buttons)
        found = next(with_buttons, None) if message_id is None else chat.messages.get(message_id)
        if found is None or not found.is_bots:
            raise NoSuchMessage
        return found

    def _known(self, chat_id: int) -> Chat:
        chat = self._by_id.get(chat_id)
        if chat is None or chat.state == "new":
            raise Refused(400, "Bad Request: chat not found")
        if chat.state == "blocked":
            raise Refused(403, "Forbidden: bot was blocked by the user")
        if chat.state == "deactivated":
            raise Refused(403, "Forbidden: user is deactivated")
        return chat

    def _reached(self, chat_id: int) -> Chat:
        """The chat, if something may be written there now."""
        chat = self._known(chat_id)
        wait = self._flood.take(chat_id, self._clock.now(), self._rulebook.rules)
        if wait > 0:
            description = f"Too Many Requests: retry after {wait}"
            raise Refused(429, description, retry_after=wait)
        return chat

    def _new_message_id(self) -> int:
        self._next_message_id += 1
        return self._next_message_id

    def _as_api(self, chat: Chat, message: Message) -> Content:
        """A Message."""
        edited = {"edit_date": int(message.edited_at.timestamp())} if message.edited_at else {}
        buttons = {"reply_markup": message.buttons} if message.buttons else {}
        return {
            "message_id": message.id,
            "from": self.bot if message.is_bots else chat.person,
            "chat": chat.place,
            "date": int(message.at.timestamp()),
            **edited,
            **message.content,
            **buttons,
        }


def formatted(text: str, mode: str, entities: list[Entity] | None, field_name: str) -> Content:
    """The plain text and its entities, as a message has them. Raises Refused."""
    try:
        plain, found = formatting.read(text, mode)
    except formatting.CannotParse as wrong:
        raise Refused(400, f"Bad Request: can't parse entities: {wrong}") from None
    except ValueError as wrong:
        raise Refused(400, f"Bad Request: {wrong}") from None
    prefix = "caption_" if field_name == "caption" else ""
    found = entities if entities and not mode else found
    return {field_name: plain, **({f"{prefix}entities": found} if found else {})}


def _text(text: str) -> Content:
    found = formatting.commands(text)
    return {"text": text, **({"entities": found} if found else {})}


def _written(number: str, form: str) -> str:
    if form == "local" and msisdn.may_hold_mpesa(number):
        return "0" + number[4:]
    return number if form == "plus" else number[1:]


def _as_file(file: File) -> Content:
    return {
        "file_id": file.id,
        "file_unique_id": file.unique_id,
        "file_size": len(file.data),
    }


def _id_of(number: str) -> int:
    """Of its own kind: past 32 bits, and telling nobody the number."""
    return 2**33 + int.from_bytes(hashlib.sha256(number.encode()).digest()[:5], "big")
