"""Our web server on a database of its own, spoken to as Africa's Talking speaks."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import channels.ussd
from app import create_app
from core.database import Database
from core.rules import Rules
from settings import Settings
from tests.flows import demo_market
from tests.flows.handset import CODE, Clock, Handset, WebLine
from tests.flows.street import Street

PATH = "/channels/ussd/africastalking/sandbox-path-secret"
_phones = count(1)


@pytest.fixture(scope="session")
def server() -> Settings:
    return Settings(sokoni_env="test", hop_seconds_max=3)


@pytest.fixture(scope="session")
def rules(server: Settings) -> Rules:
    return server.rules()


@pytest.fixture(scope="session")
def clock() -> Clock:
    """One hour for all tests of the worker: it only goes forward."""
    return Clock(datetime(2026, 11, 21, 9, 0, tzinfo=UTC))


@pytest.fixture(scope="session")
def market_url(new_database: Callable[[], Any], rules: Rules) -> Iterator[str]:
    """What is committed here stays; every test dials from a number of its own."""
    with new_database() as url:
        demo_market.load(url, rules)
        yield url


@pytest.fixture(scope="session")
def market(market_url: str, clock: Clock) -> Iterator[Database]:
    kept = Database(market_url, clock=clock, size=4)
    yield kept
    kept.close()


@pytest.fixture(scope="session")
def app(server: Settings, market: Database) -> Flask:
    return create_app(server, database=market)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def phone() -> str:
    """A number nobody has dialled from."""
    return f"+2547230{next(_phones):05}"


@pytest.fixture
def handset(client: FlaskClient, clock: Clock, phone: str) -> Handset:
    return Handset(WebLine(client, PATH), clock, phone)


@pytest.fixture
def register(market: Database, clock: Clock, rules: Rules, phone: str) -> Callable[..., None]:
    """Make this test's phone a member's."""

    def made(name: str = "Amina", language: str = "en") -> None:
        with market.begin() as db:
            Street(db, clock, rules, phone).register(name, language)

    return made


@pytest.fixture
def member(handset: Handset, register: Callable[..., None]) -> Handset:
    """The phone of Amina, who speaks English."""
    register()
    return handset


@pytest.fixture
def dial(client: FlaskClient, phone: str) -> Callable[..., TestResponse]:
    """One raw request of the gateway; fields by name, None leaves one out."""

    def send(path: str = PATH, **fields: str | list[str] | None) -> TestResponse:
        form: dict[str, Any] = {
            "phoneNumber": phone,
            "serviceCode": CODE,
            "text": "",
            "sessionId": f"ATUid_of_{phone[1:]}",
            "networkCode": "63902",
            **fields,
        }
        return client.post(path, data={k: v for k, v in form.items() if v is not None})

    return send


class Heard:
    """What the channel logs, without writing it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.broken: list[str] = []

    def warning(self, event: str, **_about: object) -> None:
        self.events.append(event)

    def exception(self, event: str, **_about: object) -> None:
        self.broken.append(event)


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """Nothing breaks: an apology must not hide a mistake of ours."""
    ear = Heard()
    monkeypatch.setattr(channels.ussd, "log", ear)
    yield ear
    assert ear.broken == []


@pytest.fixture
def turn(market: Database, phone: str) -> Callable[[], int]:
    """How many answers of this phone were taken so far."""

    def taken() -> int:
        with market.begin() as db:
            found: int | None = db.value(
                "SELECT turn FROM conversations WHERE address = %(phone)s", {"phone": phone}
            )
        return found or 0

    return taken
