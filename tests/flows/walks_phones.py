"""How a member speaks to us by each channel, as its gateway really asks our web server."""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

from flask.testing import FlaskClient

from core.database import Db
from flows import conversations
from flows.engine import HOME_KEY
from tests.channels import gateways
from tests.flows.graph import Node
from tests.flows.handset import SECONDS_A_TURN, Clock, EngineLine, Handset, Seen
from tests.flows.street import CHAT, Street

SMS: Final = "/channels/sms/africastalking/sandbox-path-secret/incoming"
TELEGRAM: Final = "/channels/telegram/sandbox-telegram-secret"
TELEGRAM_SECRET: Final = {"X-Telegram-Bot-Api-Secret-Token": "sandbox-telegram-secret"}
MEDIUM: Final[Mapping[str, str]] = {
    "africastalking": "ussd",
    "hubtel": "ussd",
    "advanta": "ussd",
    "sms": "sms",
    "telegram": "telegram",
}
CHANNELS: Final = tuple(MEDIUM)
_numbers = count(1)


class Phone(Protocol):
    """seen: the newest screen; in what a chat or an SMS is sent, a secret is still to be put."""

    channel: str
    address: str

    @property
    def seen(self) -> Seen: ...

    def dial(self) -> Seen:
        """Begin anew: dial the code, write MENU, press Start."""

    def reply(self, typed: str) -> Seen: ...

    def repeat(self) -> Seen:
        """The gateway sends its last request once more."""

    def repeat_earlier(self) -> None:
        """And here the one before that."""

    def copied(self) -> "Phone": ...


def phone(channel: str, street: Street, client: FlaskClient) -> Phone:
    """The street's own, by that channel. Her chat speaks for her number from now on."""
    match channel:
        case "sms":
            return Sms(street.db, street.clock, client, street.msisdn)
        case "telegram":
            conversations.prove(street.db, channel, CHAT, street.msisdn, street.clock())
            return Telegram(street.db, street.clock, client)
        case gateway:
            line = gateways.line(gateway, client)
            return Ussd(Handset(line, street.clock, street.msisdn), gateway)


def without_network(street: Street) -> Phone:
    """A plain phone over the engine alone."""
    line = EngineLine(street.db, street.rules, street.clock)
    return Ussd(Handset(line, street.clock, street.msisdn), "africastalking")


def newest(db: Db, at: Phone) -> Seen:
    """The screen of the last hop that was taken."""
    found = db.row(
        Seen,
        """
        SELECT h.screen AS text, h.ends, h.label
        FROM conversations c JOIN hops h ON (h.session, h.digest) = (c.session, c.accepted_digest)
        WHERE c.channel = %(channel)s AND c.address = %(address)s
        """,
        {"channel": MEDIUM[at.channel], "address": at.address},
    )
    return found or Seen("", ends=True, label="nowhere.yet")


def node(db: Db, at: Phone) -> Node:
    """Where the conversation stands, or ended."""
    return Node(*newest(db, at).label.split("."))


class Ussd:
    """A plain phone at one of three gateways."""

    def __init__(self, handset: Handset, channel: str) -> None:
        self.handset, self.channel, self.address = handset, channel, handset.msisdn
        self.texts: tuple[str, ...] = ()  # of this session

    @property
    def seen(self) -> Seen:
        return self.handset.seen

    def dial(self) -> Seen:
        self.texts = ("",)
        return self.handset.dial()

    def reply(self, typed: str) -> Seen:
        """Also after the end, as no gateway does and anybody can."""
        self.handset.clock.wait(seconds=SECONDS_A_TURN)
        self.handset.text = f"{self.handset.text}*{typed}" if self.handset.text else typed
        self.texts = (*self.texts, self.handset.text)
        return self.handset.repeat()

    def repeat(self) -> Seen:
        return self.handset.repeat()

    def repeat_earlier(self) -> None:
        at = self.handset
        for text in self.texts[-2:-1]:
            at.line.answer(at.msisdn, at.session, at.code, text)

    def copied(self) -> "Ussd":
        mine = copy(self)
        mine.handset = copy(self.handset)
        mine.handset.line = copy(self.handset.line)
        for name, value in vars(mine.handset.line).items():
            if isinstance(value, dict):  # what the gateway remembers of its sessions
                kept = {key: copy(texts) for key, texts in value.items()}
                setattr(mine.handset.line, name, kept)
        return mine


@dataclass
class Sms:
    """A plain phone that writes to our short code."""

    db: Db
    clock: Clock
    client: FlaskClient
    address: str
    channel: str = "sms"
    sent: tuple[tuple[str, str], ...] = ()  # the gateway's id, the text
    seen: Seen = field(default=Seen("", ends=True, label=""))

    def dial(self) -> Seen:
        return self.reply("MENU")

    def reply(self, typed: str) -> Seen:
        self.clock.wait(seconds=SECONDS_A_TURN)
        self.sent = (*self.sent, (f"ATXid_{next(_numbers):032x}", typed))
        return self.repeat()

    def repeat(self) -> Seen:
        self._post(*self.sent[-1])
        self.seen = newest(self.db, self)
        return self.seen

    def repeat_earlier(self) -> None:
        for sms in self.sent[-2:-1]:
            self._post(*sms)

    def copied(self) -> "Sms":
        return copy(self)

    def _post(self, name: str, text: str) -> None:
        form = {"from": self.address, "id": name, "text": text, "to": "22384", "date": "now"}
        assert self.client.post(SMS, data=form).status_code == 200


@dataclass
class Telegram:
    """A chat with our bot, whose buttons are tapped where there are any."""

    db: Db
    clock: Clock
    client: FlaskClient
    address: str = CHAT
    channel: str = "telegram"
    updates: tuple[Mapping[str, Any], ...] = ()
    seen: Seen = field(default=Seen("", ends=True, label=""))

    def dial(self) -> Seen:
        return self.say("/start")

    def reply(self, typed: str) -> Seen:
        data = self.buttons.get(typed)
        return self.say(typed) if data is None else self.tap(data)

    def say(self, text: str) -> Seen:
        me = {"id": int(self.address), "is_bot": False, "first_name": "A", "language_code": "en"}
        message = {"message_id": next(_numbers), "date": 1, "chat": self._chat, "from": me}
        return self._send(message={**message, "text": text})

    def tap(self, data: str) -> Seen:
        me = {"id": int(self.address), "is_bot": False, "first_name": "A", "language_code": "en"}
        shown = {"message_id": next(_numbers), "date": 1, "chat": self._chat, "text": "?"}
        query = {"id": str(next(_numbers)), "from": me, "chat_instance": "1", "message": shown}
        return self._send(callback_query={**query, "data": data})

    def repeat(self) -> Seen:
        self._post(self.updates[-1])
        self.seen = newest(self.db, self)
        return self.seen

    def repeat_earlier(self) -> None:
        for update in self.updates[-2:-1]:
            self._post(update)

    def copied(self) -> "Telegram":
        return copy(self)

    @property
    def buttons(self) -> Mapping[str, str]:
        """Under the newest screen, as the worker draws them: what one would type, its data."""
        return dict(self._drawn())

    def _drawn(self) -> Iterator[tuple[str, str]]:
        wish: dict[str, Any] | None = self.db.value(
            "SELECT arguments FROM outbox WHERE kind = 'telegram_screen' ORDER BY id DESC LIMIT 1"
        )
        if wish is None:
            return
        if self.seen.ends:
            yield HOME_KEY, f"{wish['turn']}:{HOME_KEY}"
        lines = self.seen.lines
        for line in lines[len(lines) - wish["lines"] :]:
            key = line.partition(" ")[0]
            yield key, f"{wish['turn']}:{key}"

    @property
    def _chat(self) -> Mapping[str, Any]:
        return {"id": int(self.address), "type": "private", "first_name": "A"}

    def _send(self, **what: Any) -> Seen:
        self.clock.wait(seconds=SECONDS_A_TURN)
        self.updates = (*self.updates, {"update_id": next(_numbers), **what})
        return self.repeat()

    def _post(self, update: Mapping[str, Any]) -> None:
        given = self.client.post(TELEGRAM, json=update, headers=TELEGRAM_SECRET)
        assert given.status_code == 200, given.status
