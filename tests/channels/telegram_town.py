"""A town with Telegram: people in their chats, the pretend Telegram, our web and our worker."""

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from flask import Flask

from app import create_app
from channels.telegram import sender
from channels.telegram.flood import Flood
from core import members, outbox
from core.database import Database
from core.sendings import SendAnswer
from core.storage import Folder, Storage
from settings import Settings
from simulator.server import Server, listen
from simulator.telegram import Chat, Message
from simulator.world import Place, World
from tests.flows.handset import Clock
from tests.flows.street import PIN, Street
from tests.payments.street import served
from worker import tasks
from worker.relay import Relay
from worker.work import Work

SECRET = "sandbox-telegram-secret"
PATH = f"/channels/telegram/{SECRET}"
HEADERS = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
NOON = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
_phones = count(1)


class NoGateway:
    """No payment is made here."""


@dataclass
class SmsBox:
    """An SMS gateway that takes everything."""

    sent: list[tuple[str, str]]

    def send(self, msisdn: str, text: str) -> SendAnswer:
        self.sent.append((msisdn, text))
        return SendAnswer("accepted", "Success", f"ATXid_{len(self.sent)}")

    def send_all(self, msisdns: Any, text: str) -> dict[str, SendAnswer]:
        return {msisdn: self.send(msisdn, text) for msisdn in msisdns}


class Town:
    """Time passes only by `settle`; what is committed stays, so every person is a new one."""

    def __init__(
        self, settings: Settings, app: Flask, database: Database, world: World, work: Work
    ) -> None:
        self.settings, self.app, self.database = settings, app, database
        self.world, self.work = world, work
        self.sms: SmsBox = work.sender  # type: ignore[assignment]
        self._relay = Relay(database, self._do)

    def _do(self, items: Sequence[outbox.Item]) -> None:
        """Only what writes to people is done here; the market's own clockwork stands still."""
        for item in items:
            if item.kind.startswith(("telegram", "sms")):
                tasks.run(self.work, item.id)

    def person(self, name: str = "", language: str = "en", telegram: str = "") -> "Person":
        """Somebody new; with a name, a member. telegram: the language of their client."""
        someone = Person(self, f"+2547140{next(_phones):05}")
        if name:
            with self.database.begin() as db:
                clock = Clock(self.database.clock())
                street = Street(db, clock, self.settings.rules(), someone.number)
                street.register(name, language)
        if telegram:
            self.world.telegram.introduce(someone.number, language=telegram)
        return someone

    def settle(self, seconds: int = 3) -> None:
        """Updates reach us, what they cause is done, and some time passes."""
        for _ in range(2 * seconds):
            self.world.advance(0.5)
            self.work_off()

    def work_off(self) -> None:
        while self._relay.hand_out():
            pass

    def value(self, sql: Any, **params: Any) -> Any:
        with self.database.begin() as db:
            return db.value(sql, params)

    @contextmanager
    def working(self, **work: Any) -> Iterator[None]:
        """Meanwhile the worker has this equipment."""
        whole, self.work = self.work, replace(self.work, **work)
        try:
            yield
        finally:
            self.work = whole

    @contextmanager
    def rules(self, **rules: Any) -> Iterator[None]:
        """Meanwhile the world misbehaves so."""
        before = self.world.rulebook.rules
        self.world.rulebook.change(rules)
        try:
            yield
        finally:
            self.world.rulebook.rules = before


class Person:
    """One with a phone number and a Telegram account."""

    def __init__(self, town: Town, number: str) -> None:
        self.town, self.number = town, number
        self._telegram = town.world.telegram

    @property
    def chat(self) -> Chat:
        return self._telegram.chat(self.number)

    @property
    def from_bot(self) -> list[Message]:
        return [message for message in self.chat.messages.values() if message.is_bots]

    @property
    def seen(self) -> str:
        """The newest message from us."""
        return str(self.from_bot[-1].content["text"]) if self.from_bot else ""

    @property
    def buttons(self) -> list[str]:
        """Of that message."""
        rows = (self.from_bot[-1].buttons or {}).get("inline_keyboard", ())
        return [key["text"] for row in rows for key in row]

    @property
    def keys(self) -> list[str]:
        """Those below the chat."""
        rows = (self.chat.keyboard or {}).get("keyboard", ())
        return [key["text"] for row in rows for key in row]

    @property
    def toasts(self) -> list[str]:
        return [toast.text for toast in self.chat.toasts]

    def start(self, payload: str = "") -> None:
        self._telegram.start(self.number, payload)
        self.town.settle()

    def say(self, text: str) -> None:
        self._telegram.say(self.number, text)
        self.town.settle()

    def tap(self, label: str = "", *, data: str | None = None, message: int | None = None) -> None:
        """The button whose label ends so, of the newest message with buttons."""
        found = [it for it in self.buttons if it.endswith(label)] if data is None else [None]
        assert found, f"no {label!r} among {self.buttons}"
        self._telegram.tap(self.number, message, data=data, label=found[0])
        self.town.settle()

    def share(self, whose: "Person | None" = None, **how: Any) -> None:
        self._telegram.share_contact(self.number, whose.number if whose else None, **how)
        self.town.settle()

    def join(self) -> None:
        """Press Start and prove the phone."""
        self.start()
        self.share()

    def speaks_for(self) -> str | None:
        found: str | None = self.town.value(
            "SELECT msisdn FROM conversations WHERE channel = 'telegram' AND address = %(id)s",
            id=str(self.chat.id),
        )
        return found

    def member(self) -> members.Member | None:
        with self.town.database.begin() as db:
            return members.by_msisdn(db, self.number)

    @property
    def pin(self) -> str:
        return PIN


@contextmanager
def town(url: str, storage: Storage | None = None) -> Iterator[Town]:
    """url: of a database with the demo market in it."""
    with ExitStack() as stack:
        database = Database(url, size=4)
        stack.callback(database.close)
        settings = Settings(sokoni_env="test", hop_seconds_max=3, hops_a_minute_max=0)
        app = create_app(settings, database=database)
        web = stack.enter_context(served(app))
        place = Place(telegram_url=f"{web}{PATH}", telegram_secret=SECRET)
        world = World(place, virtual_from=NOON, chance=random.Random(7042))
        stack.callback(world.stop)
        database.clock = world.clock.now
        pretend = Server(world, listen("127.0.0.1", 0))
        pretend.start()
        stack.callback(pretend.stop)
        token = settings.telegram_token.get_secret_value()
        account = sender.Account(f"{pretend.url}/telegram", token)
        telegram = sender.Telegram(account)
        stack.callback(telegram.close)
        work = Work(
            database,
            NoGateway(),  # type: ignore[arg-type]
            settings.rules(),
            SmsBox([]),
            writer=telegram,
            flood=Flood(None, clock=lambda: world.clock.now().timestamp()),
            storage=storage,
        )
        yield Town(settings, app, database, world, work)


__all__ = ["HEADERS", "PATH", "SECRET", "Folder", "Person", "Town", "town"]
