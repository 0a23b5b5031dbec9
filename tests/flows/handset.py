"""A plain phone: dials, types, loses its session; over the engine alone or over our web server."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Protocol

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core import gsm
from core.database import Db
from core.rules import Rules
from flows import run
from flows.run import History, Inbound
from flows.standing import Standing

CODE = "*384*7042#"
ROOM_SEPTETS = 156
SECONDS_A_TURN = 5  # to read a screen and type


@dataclass
class Clock:
    """The hour, moved by hand."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@dataclass(frozen=True)
class Seen:
    """What the phone shows. label: the state's name, as we tell it to the gateway."""

    text: str
    ends: bool
    label: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    def drawn(self) -> str:
        return f"{'END' if self.ends else 'CON'} {self.text}"


class Line(Protocol):
    """What answers a phone."""

    def answer(self, msisdn: str, session: str, code: str, text: str) -> Seen: ...


@dataclass
class EngineLine:
    """One hop after the other in the test's own transaction, without a network."""

    db: Db
    rules: Rules
    clock: Clock
    standing: Standing = field(default_factory=Standing)

    def answer(self, msisdn: str, session: str, code: str, text: str) -> Seen:
        inbound = Inbound("ussd", msisdn, msisdn, session, code, History(text), ROOM_SEPTETS)
        now = self.clock()
        reply = run.glance(self.db, inbound, self.rules, now, standing=self.standing)
        if reply is None:
            reply = run.hop(self.db, inbound, self.rules, self.clock())
        return Seen(reply.text, reply.ends, reply.label)


@dataclass
class WebLine:
    """The gateway's own requests, as Africa's Talking makes them."""

    client: FlaskClient
    path: str

    def answer(self, msisdn: str, session: str, code: str, text: str) -> Seen:
        form = {
            "phoneNumber": msisdn,
            "serviceCode": code,
            "text": text,
            "sessionId": session,
            "networkCode": "63902",
        }
        return seen(self.client.post(self.path, data=form))


def seen(answer: TestResponse) -> Seen:
    """What the phone shows of an answer that keeps every rule of the gateway."""
    assert answer.status_code == 200, answer.status
    assert answer.content_type == "text/plain; charset=utf-8"
    body, label = answer.get_data(as_text=True), answer.headers["at-ussd-hop-metadata"]
    assert body.startswith(("CON ", "END ")), body
    assert set(body) <= set(gsm.SEPTETS), body
    assert gsm.septets(body) <= 160, body
    assert len(label) <= 99, label
    assert "|" not in label, label
    return Seen(body[4:], body.startswith("END"), label)


class Handset:
    """One phone. Only the newest of its sessions is alive, as on every network."""

    _numbers = count(1)

    def __init__(self, line: Line, clock: Clock, msisdn: str, code: str = CODE) -> None:
        self.line, self.clock, self.msisdn, self.code = line, clock, msisdn, code
        self.session = ""
        self.text = ""
        self.seen = Seen("", ends=True, label="")

    def dial(self, extension: str = "") -> Seen:
        """A new session; extension: what stands between code and #, as in *384*7042*1#."""
        self.clock.wait(seconds=SECONDS_A_TURN)
        self.session = f"ATUid_{next(self._numbers):032x}"
        self.text = extension
        return self.repeat()

    def reply(self, typed: str) -> Seen:
        """The gateway sends all that was typed in the session, joined by stars."""
        assert not self.seen.ends, f"nobody can reply to {self.seen.text!r}"
        self.clock.wait(seconds=SECONDS_A_TURN)
        self.text = f"{self.text}*{typed}" if self.text else typed
        return self.repeat()

    def repeat(self) -> Seen:
        """The gateway sends its last request once more."""
        self.seen = self.line.answer(self.msisdn, self.session, self.code, self.text)
        return self.seen

    def walk(self, *replies: str) -> Seen:
        for typed in replies:
            self.reply(typed)
        return self.seen

    def choose(self, label: str) -> Seen:
        """Type the number of the option that begins with this, turning pages to find it."""
        while True:
            for line in self.seen.lines[1:]:
                number, _, shown = line.partition(" ")
                if number.isdecimal() and shown.startswith(label):
                    return self.reply(number)
            assert any(line.startswith("99 ") for line in self.seen.lines), self.seen.text
            self.reply("99")
