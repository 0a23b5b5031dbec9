"""The JSON calls under /simulator/api/: phones, money, rules and time, for programs and pages."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args

from flask import Blueprint, Response, jsonify, request

from simulator import callbacks, msisdn
from simulator.books import Network, NoSuchAccount
from simulator.c2b import NoSuchShortcode, NotPaid
from simulator.handset import NoSuchSession, SessionClosed, TooLong, View
from simulator.mpesa import NoSuchPrompt, PromptGone, Push
from simulator.rules import WrongRules, shown
from simulator.sms import Message
from simulator.world import World

BALANCE_MAX = 1_000_000_000  # shillings
ADVANCE_SECONDS_MAX = 366 * 86_400


class Wrong(Exception):
    """The call cannot be done as asked: HTTP status and words for whoever called."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def blueprint(world: World) -> Blueprint:
    """The calls over that world."""
    door = Blueprint("api", __name__, url_prefix="/simulator/api")

    def route(path: str, method: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def register(act: Callable[..., Any]) -> Callable[..., Any]:
            def answer(**arguments: str) -> Response:
                return _answered(lambda: act(**arguments))

            door.add_url_rule(
                path, endpoint=f"{method} {path}".replace(".", " "), view_func=answer,
                methods=[method],
            )  # fmt: skip
            return act

        return register

    @route("/dial", "POST")
    def dial() -> Any:
        given = _given("number", "code")
        return _view(world.handsets.dial(_number(given["number"]), _text(given, "code")))

    @route("/reply", "POST")
    def reply() -> Any:
        given = _given("session", "text")
        return _view(world.handsets.reply(_text(given, "session"), _text(given, "text")))

    @route("/hangup", "POST")
    def hang_up() -> Any:
        return _view(world.handsets.hang_up(_text(_given("session"), "session")))

    @route("/sms/<number>", "GET")
    def inbox(number: str) -> Any:
        return [_message(each) for each in world.sms.inbox(_number(number))]

    @route("/sms", "POST")
    def say() -> Any:
        given = _given("from", "to", "text")
        sender, to = _number(given["from"]), _text(given, "to")
        return {"id": world.sms.say(sender, to, _text(given, "text"))}

    @route("/prompts/<number>", "GET")
    def prompts(number: str) -> Any:
        return [_prompt(world, each) for each in world.mpesa.prompts(_number(number))]

    @route("/prompts/<prompt_id>", "POST")
    def answer_prompt(prompt_id: str) -> Any:
        given = _given(pin=None, cancel=False)
        pin, cancel = given["pin"], given["cancel"]
        if not isinstance(cancel, bool) or cancel == (pin is not None):
            raise Wrong(400, 'either {"pin": "1234"} or {"cancel": true}')
        push = world.mpesa.answer(prompt_id, None if cancel else str(pin))
        return _outcome(push)

    @route("/payments", "POST")
    def pay() -> Any:
        given = _given("from", "account", "amount", shortcode=None)
        shortcode = given["shortcode"] or next(iter(world.books.shortcodes))
        payer, reference = _number(given["from"]), _text(given, "account")
        paid = world.c2b.pay(payer, str(shortcode), reference, _cents(given["amount"]))
        return {"receipt": paid.receipt, "message": f"Confirmed. {_ksh(paid.amount_cents)} paid."}

    @route("/subscribers/<number>", "GET")
    def subscriber(number: str) -> Any:
        return _subscriber(world, _number(number))

    @route("/subscribers/<number>", "PUT")
    def change_subscriber(number: str) -> Any:
        given = _given(balance=None, pin=None, network=None)
        who, now = _number(number), world.clock.now()
        pin, network, balance = given["pin"], given["network"], given["balance"]
        if pin is not None and not (isinstance(pin, str) and pin.isdecimal() and len(pin) == 4):
            raise Wrong(400, "pin: four digits in a string")
        if network is not None and network not in get_args(Network):
            raise Wrong(400, "network: one of " + ", ".join(get_args(Network)))
        cents = None if balance is None else _cents(balance)
        with world.journal.change():
            world.books.change_subscriber(who, now, pin=pin, network=network)
            if cents is not None:
                world.books.set_balance(who, cents, now)
        return _subscriber(world, who)

    @route("/rules", "GET")
    def rules() -> Any:
        return shown(world.rulebook.rules)

    @route("/rules", "PUT")
    def change_rules() -> Any:
        return shown(world.rulebook.change(_json()))

    @route("/statement", "GET")
    def statement() -> Any:
        with world.journal.change():
            movements = world.books.statement()
        return [
            {
                "receipt": each.receipt,
                "from": each.source,
                "to": each.target,
                "amount": _shillings(each.amount_cents),
                "kind": each.kind,
                "account": each.reference,
                "at": _iso(each.at),
            }
            for each in movements
        ]

    @route("/audit", "GET")
    def audit() -> Any:
        with world.journal.change():
            found = world.books.audit()
        return {
            name: value if isinstance(value, bool) else _shillings(value)
            for name, value in found.items()
        }

    @route("/clock", "GET")
    def clock() -> Any:
        return {"now": _iso(world.clock.now()), "virtual": world.clock.is_virtual}

    @route("/clock", "PUT")
    def advance() -> Any:
        if not world.clock.is_virtual:
            raise Wrong(404, "this world's clock is the real one")
        seconds = _given("advance")["advance"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise Wrong(400, "advance: seconds")
        if not 0 <= seconds <= ADVANCE_SECONDS_MAX:
            raise Wrong(400, f"advance: seconds from 0 to {ADVANCE_SECONDS_MAX}")
        world.advance(seconds)
        return {"now": _iso(world.clock.now())}

    return door


def _answered(act: Callable[[], Any]) -> Response:
    """The act's value as JSON, or what stopped it as {"error": …}."""
    status, message = 200, ""
    try:
        return jsonify(act())
    except Wrong as wrong:
        status, message = wrong.status, str(wrong)
    except msisdn.NotANumber as wrong:
        status, message = 400, str(wrong)
    except WrongRules as wrong:
        status, message = 400, str(wrong)
    except TooLong:
        status, message = 400, "longer than the network's 80 characters"
    except (NoSuchSession, NoSuchPrompt, NoSuchShortcode, NoSuchAccount) as wrong:
        status, message = 404, str(wrong) or _WORDS[type(wrong)]
    except (SessionClosed, PromptGone) as wrong:
        status, message = 409, _WORDS[type(wrong)]
    except NotPaid as wrong:
        status, message = 409, str(wrong)
    answer = jsonify(error=message)
    answer.status_code = status
    return answer


_WORDS: dict[type[Exception], str] = {
    NoSuchSession: "no such session",
    NoSuchPrompt: "no such prompt",
    NoSuchShortcode: "no such paybill or till",
    SessionClosed: "the session has ended, or still waits for an answer",
    PromptGone: "the prompt has been answered or has run out",
}


def _json() -> Any:
    value = request.get_json(force=True, silent=True)
    if value is None:
        raise Wrong(400, "a JSON object is needed")
    return value


def _given(*needed: str, **optional: Any) -> dict[str, Any]:
    """The request's object with just these names; optional ones take their default."""
    value = _json()
    if not isinstance(value, dict):
        raise Wrong(400, "a JSON object is needed")
    missing = [name for name in needed if name not in value]
    unknown = [name for name in value if name not in needed and name not in optional]
    if missing or unknown:
        raise Wrong(
            400,
            "; ".join(
                [f"{name}: missing" for name in missing]
                + [f"{name}: no such field" for name in unknown]
            ),
        )
    return {**optional, **value}


def _text(given: dict[str, Any], name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise Wrong(400, f"{name}: a string")
    return value


def _number(text: Any) -> str:
    return msisdn.read(text)


def _cents(shillings: Any) -> int:
    if isinstance(shillings, bool) or not isinstance(shillings, int):
        raise Wrong(400, "whole shillings, as a number")
    if not 0 <= shillings <= BALANCE_MAX:
        raise Wrong(400, f"shillings from 0 to {BALANCE_MAX}")
    return shillings * 100


def _shillings(cents: int) -> int:
    shillings, rest = divmod(cents, 100)
    assert rest == 0, f"{cents} cents are not whole shillings"
    return shillings


def _ksh(cents: int) -> str:
    return f"KSh {_shillings(cents):,}"


def _iso(at: datetime) -> str:
    return at.isoformat()


def _view(view: View) -> dict[str, Any]:
    return {"session": view.session, "screen": view.screen, "open": view.is_open}


def _message(message: Message) -> dict[str, Any]:
    return {
        "from": message.sender,
        "text": message.text,
        "at": _iso(message.at),
        "status": message.status,
    }


def _prompt(world: World, push: Push) -> dict[str, Any]:
    assert push.shown_at is not None, "a prompt that was never shown"
    assert push.expires_at is not None, "a prompt without an end"
    return {
        "id": push.prompt_id,
        "amount": _shillings(push.request.amount_cents),
        "account": push.request.reference,
        "business": world.books.shortcodes[push.request.shortcode].business,
        "at": _iso(push.shown_at),
        "expires_at": _iso(push.expires_at),
    }


def _outcome(push: Push) -> dict[str, Any]:
    assert push.result is not None, "an answered prompt without a result"
    paid = push.result == "0"
    said = "Confirmed." if paid else callbacks.describe(push.result)
    return {"result": push.result, "receipt": push.receipt, "message": said}


def _subscriber(world: World, number: str) -> dict[str, Any]:
    with world.journal.change():
        subscriber = world.books.subscriber(number, world.clock.now())
        balance = world.books.balance_cents(number)
    return {
        "number": number,
        "balance": _shillings(balance),
        "network": subscriber.network,
        "name": subscriber.first_name,
    }
