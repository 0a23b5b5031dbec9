"""Wallet: what a member has here, where it came from, and taking it out."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import days, earnings, freezes, money, payouts, phone, wallet, withdrawals
from core.errors import Invalid
from core.payouts import Payout
from core.wallet import Movement
from flows.account import ask_pin
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick
from flows.words import Values, common, show_moment

MOVEMENTS_SHOWN_MAX = 20
PAYOUTS_SHOWN_MAX = 5
LOOKED_THROUGH_MAX = 100  # for one that was shown, and that others have come after


@dataclass
class Answers:
    amount: int | None = None  # cents
    movement: UUID | None = None
    payout: UUID | None = None


def balance_line(context: Context, _answers: Any) -> Values:
    balance = wallet.balance(context.db, context.buyer.id)
    return {
        "balance": money.show(balance.total_cents),
        "earned": money.show(balance.earned_cents),
        "returned": money.show(balance.returned_cents),
        "to_come": money.show(balance.to_come_cents),
        "all": money.show(balance.sendable_cents),
        "number": _masked(context.buyer.msisdn),
    }


def worth(context: Context, _answers: Any) -> Literal["enough", "too_little", "no_mpesa", "frozen"]:
    if freezes.is_frozen(context.db, context.buyer.id):
        return "frozen"
    if not phone.is_kenyan_mobile(context.buyer.msisdn):
        return "no_mpesa"
    return "enough" if wallet.balance(context.db, context.buyer.id).sendable_cents else "too_little"


def all_of_it(context: Context, answers: Any) -> Literal["all", "too_little"]:
    answers.amount = wallet.balance(context.db, context.buyer.id).sendable_cents
    return "all" if answers.amount else "too_little"


def when_paid(context: Context, _answers: Any) -> Literal["at_once", "on_request"]:
    return "at_once" if earnings.at_once(context.db, context.buyer.id) else "on_request"


def keep(context: Context, _answers: Any) -> Literal["kept"]:
    earnings.choose(context.db, context.buyer.id, False, context.now)
    return "kept"


def send(context: Context, _answers: Any) -> Literal["sent"]:
    earnings.choose(context.db, context.buyer.id, True, context.now)
    return "sent"


@hints("whole_shillings", "at_least", "at_most")
def amount(context: Context, _answers: Any, text: str) -> int:
    cents = withdrawals.parse_amount(text)
    if cents < money.PAYOUT_CENTS_MIN:
        raise Invalid("at_least")
    sendable_cents = wallet.balance(context.db, context.buyer.id).sendable_cents
    if cents > sendable_cents:
        raise Invalid("at_most", all=money.show(sendable_cents))
    return cents


def prospect(context: Context, answers: Any) -> wallet.Prospect:
    return wallet.prospect(context.db, context.buyer.id, answers.amount, context.rules, context.now)


def withdrawal_line(context: Context, answers: Any) -> Values:
    return {
        "total": money.show(answers.amount),
        "number": _masked(context.buyer.msisdn),
        "limit": money.show(context.rules.payout_automatic_max_cents),
    }


def cooling_line(context: Context, answers: Any) -> Values:
    until = wallet.cools_until(context.db, context.buyer.id, context.now) or context.now
    return {
        "total": money.show(answers.amount),
        "number": _masked(context.buyer.msisdn),
        "until": show_moment(until, context.language),
    }


def withdraw(context: Context, answers: Any) -> wallet.Withdrawn:
    return wallet.withdraw(context.db, context.buyer.id, answers.amount, context.rules, context.now)


def movements(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = wallet.movements(context.db, context.buyer.id, MOVEMENTS_SHOWN_MAX)
    return [Option(movement.id, _movement_values(context, movement)) for movement in found]


def movement_line(context: Context, answers: Any) -> Values:
    found = wallet.movements(context.db, context.buyer.id, LOOKED_THROUGH_MAX)
    movement = next((one for one in found if one.id == answers.movement), None)
    assert movement is not None, "a movement that was shown is not the member's"
    moment = show_moment(movement.at, context.language)
    return {**_movement_values(context, movement), "moment": moment}


def send_statement(context: Context, _answers: Any) -> Literal["sent", "too_soon", "shared"]:
    said = wallet.statement(context.db, context.buyer.id, context.now)
    lines = "\n".join(
        "{date} {change} {what}".format_map(_movement_values(context, movement))
        for movement in said.movements
    )
    nothing = common().texts["movement.none"][context.language]
    return wallet.send_statement(context.db, context.buyer.id, said, lines or nothing, context.now)


def sent(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = payouts.of_member(context.db, context.buyer.id, PAYOUTS_SHOWN_MAX)
    return [Option(payout.id, _payout_values(context, payout)) for payout in found]


def payout_line(context: Context, answers: Any) -> Values:
    payout = payouts.by_id(context.db, answers.payout)
    assert payout is not None, f"no payout {answers.payout}"
    assert payout.member_id == context.buyer.id, "a payout that was shown is another member's"
    moment = show_moment(payout.created_at, context.language)
    return {**_payout_values(context, payout), "moment": moment, "number": _masked(payout.msisdn)}


def _masked(msisdn: str) -> str:
    """Enough for its owner to know it: what a screen shows is kept."""
    return f"..{msisdn[-4:]}"


def _movement_values(context: Context, movement: Movement) -> Values:
    what = common().texts[f"movement.{movement.kind}"][context.language]
    sign = "+" if movement.cents > 0 else ""
    return {
        "date": f"{days.today(movement.at):%d/%m}",
        "change": f"{sign}{money.show(movement.cents)}",
        "what": what if movement.order is None else f"{what} {movement.order}",
    }


def _payout_values(context: Context, payout: Payout) -> Values:
    progress = common().texts[f"payout.{wallet.progress(payout)}"][context.language]
    return {
        "date": f"{days.today(payout.created_at):%d/%m}",
        "total": money.show(payout.amount_cents),
        "progress": progress,
        "receipt": payout.receipt or "-",
    }


WALLET = Flow(
    "wallet",
    Answers,
    (
        ask_pin("pin", to="menu"),
        Menu(
            "menu",
            show=balance_line,
            to={
                "withdraw": "worth",
                "movements": "movement",
                "statement": "statement",
                "sent": "payout",
                "when": "when",
            },
            resume="restart",
        ),
        Call(
            "worth",
            do=worth,
            effect=False,
            to={"enough": "how", "too_little": "menu", "no_mpesa": "menu", "frozen": "frozen"},
        ),
        Menu("how", show=balance_line, to={"all": "all", "part": "amount"}, resume="restart"),
        Call("all", do=all_of_it, effect=False, to={"all": "prospect", "too_little": "menu"}),
        Ask("amount", parse=amount, show=balance_line, to="prospect", resume="restart"),
        Call(
            "prospect",
            do=prospect,
            effect=False,
            to={
                "soon": "sure",
                "cooling": "sure_cooling",
                "looked_at": "sure_looked_at",
                "frozen": "frozen",
                "insolvent": "later",
            },
        ),
        Menu(
            "sure",
            show=withdrawal_line,
            to={"send": "withdraw", "keep": "menu"},
            resume="restart",
        ),
        Menu(
            "sure_cooling",
            show=cooling_line,
            to={"send": "withdraw", "keep": "menu"},
            resume="restart",
        ),
        Menu(
            "sure_looked_at",
            show=withdrawal_line,
            to={"send": "withdraw", "keep": "menu"},
            resume="restart",
        ),
        Call(
            "withdraw",
            do=withdraw,
            to={
                "soon": "soon",
                "cooling": "cooling",
                "looked_at": "looked_at",
                "not_whole": "menu",
                "too_small": "menu",
                "overdrawn": "menu",
                "frozen": "frozen",
                "insolvent": "later",
            },
        ),
        Call(
            "when",
            do=when_paid,
            effect=False,
            to={"at_once": "at_once", "on_request": "on_request"},
        ),
        Menu("at_once", to={"keep": "keep"}, resume="restart"),
        Menu("on_request", to={"send": "send"}, resume="restart"),
        Call("keep", do=keep, to={"kept": "kept"}),
        Call("send", do=send, to={"sent": "sent_at_once"}),
        Pick(
            "movement",
            options=movements,
            show=balance_line,
            to="movement_line",
            empty="menu",
            resume="restart",
        ),
        Call(
            "statement",
            do=send_statement,
            to={"sent": "menu", "too_soon": "menu", "shared": "menu"},
        ),
        Pick("payout", options=sent, to="payout_line", empty="menu", resume="restart"),
        End("kept"),
        End("sent_at_once"),
        End("movement_line", show=movement_line),
        End("payout_line", show=payout_line),
        End("soon", show=withdrawal_line),
        End("cooling", show=cooling_line),
        End("looked_at", show=withdrawal_line),
        End("frozen"),
        End("later"),
        End("locked"),
    ),
)
