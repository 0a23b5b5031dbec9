"""The page at /simulator: phones to dial with, what the market does, and switches to disturb it."""

import json
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Response, render_template, request

from simulator import msisdn, pictures
from simulator.books import NoSuchAccount
from simulator.market import Market
from simulator.rules import DEFAULTS, Rules, shown
from simulator.telegram_api import shown as shown_chat
from simulator.world import World

WEB: Final = Path(__file__).with_name("web")
PHONES: Final = ("+254712345678", "+254700000001")  # a buyer, and the first seller of the demo
SELLERS: Final = frozenset(f"+25470000000{digit}" for digit in "1234")
PHONES_MAX: Final = 6
MESSAGES_MAX: Final = 50  # of a phone, the newest
BODIES: Final = ("lake", "maize", "clay", "slate")  # the colours that phones come in

LOOK_SECONDS: Final = 0.15  # between two looks at the world, for whoever watches
STILL_HERE_SECONDS: Final = 10.0  # without news, a sign of life: it finds out who has gone
NEWS_OF_NOTHING: Final = ": still here\n\n"

# Nothing is fetched from elsewhere, and nothing runs that is written into the page itself.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Switch:
    """A misbehaviour that a person can switch on. rules: as the rules API takes them.

    A switch without rules empties the M-Pesa accounts of the phones on the page.
    """

    name: str
    rules: dict[str, Any]

    @property
    def undone(self) -> dict[str, Any]:
        """The rules that switch it off again."""
        usual = shown(DEFAULTS)
        return {name: usual[name] for name in self.rules}

    def is_on(self, rules: dict[str, Any]) -> bool:
        return bool(self.rules) and all(rules[name] == self.rules[name] for name in self.rules)


SWITCHES: Final = (
    Switch("drop", {"next_hop": [{"hop_lost": 1}]}),
    Switch("twice", {"hop_repeats": 2, "hop_together": True}),
    Switch("silent", {"callback": "never", "c2b_confirmation": 0, "b2c": {"result": "never"}}),
    Switch(
        "doubled",
        {
            "callback_repeats": 2,
            "callback_together": True,
            "result_repeats": 2,
            "result_together": True,
        },
    ),
    Switch("poor", {}),
    Switch("late", {"callback_seconds": 20, "c2b_seconds": 21, "result_seconds": 20}),
    Switch("echo", {"update_repeats": 2, "update_together": True}),
    Switch("unsent", {"sms_report": "Failed"}),
)
assert {name for it in SWITCHES for name in it.rules} <= {each.name for each in fields(Rules)}


def blueprint(world: World) -> Blueprint:
    """The page, its pieces and its stream of news."""
    door = Blueprint(
        "page",
        __name__,
        template_folder=str(WEB),
        static_folder=str(WEB / "static"),
        static_url_path="/simulator/static",
    )
    market = Market(world.place.watch_url)
    words = read_words()

    @door.get("/simulator")
    def page() -> Response:
        numbers = _numbers(request.args.get("phones", "")) or list(PHONES)
        return _html(
            "page.html",
            phones=[_phone(number, place) for place, number in enumerate(numbers)],
            bodies=BODIES,
            switches=SWITCHES,
            code=world.place.service_code,
            sms_code=world.place.sms_code,
            words=words,
            phones_max=PHONES_MAX,
        )

    @door.get("/simulator/phone/<number>")
    def one_more(number: str) -> Response | tuple[str, int]:
        """One more phone for the page, as HTML."""
        found = _numbers(number)
        if not found:
            return "", 404
        return _html(
            "phone.html",
            phone=_phone(found[0], 0),
            code=world.place.service_code,
        )

    @door.get("/simulator/pictures/<name>.png")
    def picture(name: str) -> Response | tuple[str, int]:
        """A picture of ours that a person can send."""
        if name not in pictures.SAMPLES:
            return "", 404
        headers = {"Cache-Control": "max-age=3600"}
        return Response(pictures.sample(name), content_type="image/png", headers=headers)

    @door.get("/simulator/events")
    def events() -> Response:
        numbers = _numbers(request.args.get("phones", ""))
        return Response(
            stream(world, market, numbers),
            content_type="text/event-stream; charset=utf-8",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def _html(template: str, **values: Any) -> Response:
        language = request.args.get("lang") or request.accept_languages.best_match(["en", "sw"])
        language = language if language in ("en", "sw") else "en"
        said = {name: each[language] for name, each in words.items()}
        answer = Response(render_template(template, language=language, say=said, **values))
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return door


def stream(world: World, market: Market, numbers: list[str]) -> Iterator[str]:
    """Server-sent events without end: a phone, the switches, the market, whenever it changes."""
    told: dict[str, str] = {}
    with market.watched():
        last = time.monotonic()
        while True:
            for key, event, value in _news(world, market, numbers):
                data = json.dumps(value, separators=(",", ":"))
                if told.get(key) != data:
                    told[key], last = data, time.monotonic()
                    yield f"event: {event}\ndata: {data}\n\n"
            if time.monotonic() - last > STILL_HERE_SECONDS:
                last = time.monotonic()
                yield NEWS_OF_NOTHING
            time.sleep(LOOK_SECONDS)


def read_words() -> dict[str, dict[str, str]]:
    """Every word of the page, by name and language."""
    return tomllib.loads((WEB / "words.toml").read_text(encoding="utf-8"))


def _news(
    world: World, market: Market, numbers: list[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for number in numbers:
        yield number, "phone", _state(world, number)
    rules = shown(world.rulebook.rules)
    yield "switches", "switches", {it.name: it.is_on(rules) for it in SWITCHES if it.rules}
    if market.is_known:
        yield "market", "market", {"market": market.seen}


def _state(world: World, number: str) -> dict[str, Any]:
    """All that a phone shows by itself. balance: shillings, or None without an M-Pesa account."""
    with world.journal.change():
        try:
            network: str | None = world.books.subscriber(number, world.clock.now()).network
            balance: int | None = world.books.balance_cents(number) // 100
        except NoSuchAccount:
            network = balance = None
        messages = world.sms.inbox(number)[-MESSAGES_MAX:]
        prompts = world.mpesa.prompts(number)
        session = world.handsets.newest(number)
        newest = session and {"id": session.id, "open": session.is_open}
        chat = shown_chat(world.telegram, world.telegram.chat(number), MESSAGES_MAX)
    return {
        "number": number,
        "network": network,
        "balance": balance,
        "session": newest,
        "messages": [
            {"id": it.id, "from": it.sender, "text": it.text, "at": it.at.isoformat()}
            for it in messages
        ],
        "telegram": chat,
        "prompt": next(
            (
                {
                    "id": it.prompt_id,
                    "amount": it.request.amount_cents // 100,
                    "account": it.request.reference,
                    "business": world.books.shortcodes[it.request.shortcode].business,
                    "expires_at": it.expires_at and it.expires_at.isoformat(),
                }
                for it in prompts
            ),
            None,
        ),
    }


def _numbers(text: str) -> list[str]:
    """Numbers separated by commas, each once; what is no phone number is left out."""
    found: list[str] = []
    for each in text.split(","):
        try:
            number = msisdn.read(each)
        except msisdn.NotANumber:
            continue
        if number not in found:
            found.append(number)
    return found[:PHONES_MAX]


def _phone(number: str, place: int) -> dict[str, str]:
    return {
        "number": number,
        "shown": _spaced(number),
        "role": "seller" if number in SELLERS else "buyer",
        "body": BODIES[place % len(BODIES)],
    }


def _spaced(number: str) -> str:
    """As people here write it: "0712 345 678"; a foreign one stays as it is."""
    if not msisdn.may_hold_mpesa(number):
        return number
    return f"0{number[4:7]} {number[7:10]} {number[10:]}"
