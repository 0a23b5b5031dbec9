"""The JSON calls under /simulator/api/: phones, money, rules and time, for programs and pages."""

import re
from datetime import date, datetime
from typing import Any, get_args

from flask import Blueprint, Response, request

from simulator import callbacks, calls, msisdn
from simulator.books import ACCOUNT_KINDS, Network, account
from simulator.calls import Wrong, body, given
from simulator.handset import View
from simulator.mpesa import Push
from simulator.rules import shown
from simulator.sms import Message
from simulator.statement import export
from simulator.world import World

BALANCE_MAX = 1_000_000_000  # shillings
ADVANCE_SECONDS_MAX = 366 * 86_400


def blueprint(world: World) -> Blueprint:
    """The calls over that world."""
    door, route = calls.door("api", "/simulator/api")

    @route("/dial", "POST")
    def dial() -> Any:
        it = given("number", "code", gateway=None)
        gateway = it.maybe_text("gateway")
        if gateway is not None and gateway not in world.handsets.gateways:
            raise Wrong(400, "gateway: one of " + ", ".join(world.handsets.gateways))
        return _view(world.handsets.dial(it.number(), it.text("code"), gateway))

    @route("/reply", "POST")
    def reply() -> Any:
        it = given("session", "text")
        return _view(world.handsets.reply(it.text("session"), it.text("text")))

    @route("/hangup", "POST")
    def hang_up() -> Any:
        return _view(world.handsets.hang_up(given("session").text("session")))

    @route("/sms/<number>", "GET")
    def inbox(number: str) -> Any:
        return [_message(each) for each in world.sms.inbox(msisdn.read(number))]

    @route("/sms", "POST")
    def say() -> Any:
        it = given("from", to=None, text=None)
        sender = it.text("from")
        if not re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{2,11}|[0-9]{3,6}", sender):
            sender = it.number("from")
        to = it.maybe_text("to") or world.place.sms_code
        return {"id": world.sms.say(sender, to, it.maybe_text("text"))}

    @route("/sms/optout", "POST")
    def opt_out() -> Any:
        it = given("number", sender=None)
        world.sms.opt_out(it.number(), it.maybe_text("sender"))
        return {"opted_out": True}

    @route("/sms/optin", "POST")
    def opt_in() -> Any:
        world.sms.opt_in(given("number").number())
        return {"opted_out": False}

    @route("/prompts/<number>", "GET")
    def prompts(number: str) -> Any:
        return [_prompt(world, each) for each in world.mpesa.prompts(msisdn.read(number))]

    @route("/prompts/<prompt_id>", "POST")
    def answer_prompt(prompt_id: str) -> Any:
        it = given(pin=None, cancel=False)
        pin, cancel = it["pin"], it.flag("cancel")
        if cancel == (pin is not None):
            raise Wrong(400, 'either {"pin": "1234"} or {"cancel": true}')
        push = world.mpesa.answer(prompt_id, None if cancel else str(pin))
        return _outcome(push)

    @route("/payments", "POST")
    def pay() -> Any:
        it = given("from", "account", "amount", shortcode=None)
        shortcode = it["shortcode"] or next(iter(world.books.shortcodes))
        payer, reference = it.number("from"), it.text("account")
        paid = world.c2b.pay(payer, str(shortcode), reference, _cents(it["amount"]))
        return {"receipt": paid.receipt, "message": f"Confirmed. {_ksh(paid.amount_cents)} paid."}

    @route("/subscribers/<number>", "GET")
    def subscriber(number: str) -> Any:
        return _subscriber(world, msisdn.read(number))

    @route("/subscribers/<number>", "PUT")
    def change_subscriber(number: str) -> Any:
        it = given(balance=None, pin=None, network=None)
        who, now = msisdn.read(number), world.clock.now()
        pin, network, balance = it["pin"], it["network"], it["balance"]
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

    @route("/shortcodes/<number>", "GET")
    def shortcode(number: str) -> Any:
        return _shortcode(world, number)

    @route("/shortcodes/<number>", "PUT")
    def fund(number: str) -> Any:
        """Money from a bank, or back to it: so much is there afterwards."""
        it = given(working=None, utility=None)
        with world.journal.change():
            for name in ("working", "utility"):
                if it[name] is not None:
                    owner = account(_known(world, number), name.title())
                    more = _cents(it[name]) - world.books.balance_cents(owner)
                    world.books.inject(owner, more, f"{name} set", world.clock.now())
        return _shortcode(world, number)

    @route("/shortcodes/<number>/deposits", "POST")
    def deposit(number: str) -> Any:
        """Money from a bank into Utility, once for each reference."""
        it = given("amount", "reference")
        owner, cents = account(_known(world, number), "Utility"), _cents(it["amount"])
        with world.journal.change():
            came = world.books.deposit(owner, cents, it.text("reference"), world.clock.now())
        return {"deposited": came, **_shortcode(world, number)}

    @route("/shortcodes/<number>/charges", "POST")
    def settle_charges(number: str) -> Any:
        """M-Pesa takes what it is owed."""
        with world.journal.change():
            cents = world.books.settle_charges(_known(world, number), world.clock.now())
        return {"settled": _shillings(cents)}

    @route("/reversals", "POST")
    def reverse() -> Any:
        """M-Pesa itself gives a payment back; no business is told."""
        receipt = given("receipt").text("receipt")
        return {"receipt": world.operations.reverse_by_mpesa(receipt).receipt}

    @route("/certificate", "GET")
    def certificate() -> Any:
        return Response(world.initiator.certificate(), content_type="application/x-pem-file")

    @route("/initiator", "GET")
    def initiator() -> Any:
        return {"name": world.initiator.name, "locked": world.initiator.is_locked}

    @route("/initiator", "PUT")
    def change_initiator() -> Any:
        it = given(password=None, locked=None)
        world.initiator.change(
            password=it.maybe_text("password"),
            is_locked=None if it["locked"] is None else it.flag("locked"),
        )
        return initiator()

    @route("/rules", "GET")
    def rules() -> Any:
        return shown(world.rulebook.rules)

    @route("/rules", "PUT")
    def change_rules() -> Any:
        return shown(world.rulebook.change(body()))

    @route("/statement", "GET")
    def statement() -> Any:
        """Every movement in the world as it was; as CSV, what the portal says of one account."""
        if request.args.get("format") == "csv":
            return _portal(world)
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
        world.advance(given("advance").real("advance", 0, ADVANCE_SECONDS_MAX))
        return {"now": _iso(world.clock.now())}

    return door


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


def _known(world: World, number: str) -> str:
    """Raises Wrong."""
    if number not in world.books.shortcodes:
        raise Wrong(404, "no such shortcode")
    return number


def _shortcode(world: World, number: str) -> dict[str, Any]:
    """What it holds; charges: what it owes M-Pesa, below zero."""
    with world.journal.change():
        held = {
            kind.lower(): _shillings(
                world.books.balance_cents(account(_known(world, number), kind))
            )
            for kind in ACCOUNT_KINDS
        }
    return {"number": number, **held}


def _portal(world: World) -> Response:
    """?shortcode=&account=Utility&date=2026-08-17: each may be left out."""
    number = request.args.get("shortcode") or next(iter(world.books.shortcodes))
    kind, day = request.args.get("account", "Utility"), request.args.get("date")
    if kind not in ACCOUNT_KINDS:
        raise Wrong(400, "account: one of " + ", ".join(ACCOUNT_KINDS))
    try:
        asked = date.fromisoformat(day) if day else None
    except ValueError:
        raise Wrong(400, "date: as 2026-08-17") from None
    with world.journal.change():
        text = export(
            world.books,
            _known(world, number),
            kind,
            world.rulebook.rules.statement_differences,
            world.clock.now(),
            asked,
        )
    return Response(text, content_type="text/csv; charset=utf-8")


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
