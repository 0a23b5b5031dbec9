"""Safe Pay: a deal between two people, opened by one and answered by the other."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from uuid import UUID

from core import days, deals, members, money, names, phone
from core.deals import Deal, Side
from core.errors import Invalid
from core.worth import UNDER_WAY
from flows.account import check_pin, typed_pin
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick, Typed
from flows.words import Values, common, show_day, show_moment

Opened = Literal["opened", "too_many", "frozen", "yourself", "day_over"]
Accepted = Literal["asked", "pay_later", "agreed", "not_open", "stuck"]

DEALS_SHOWN_MAX = 20
DAYS_AHEAD = 7  # that are listed; a later one is typed


@dataclass
class Answers:
    """deal: one that is open already; the others make a new one."""

    deal: UUID | None = None
    side: str | None = None  # the member's own
    title: str | None = None
    amount: int | None = None  # cents
    other: str | None = None  # the phone of whoever is to answer, as it is dialled at home
    due: str | None = None  # ISO 8601
    terms: str | None = None


def waiting(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = deals.waiting(context.db, context.buyer, context.now, DEALS_SHOWN_MAX)
    return [
        Option(
            deal.id,
            {
                "order": str(deal.number),
                "goods": deal.title,
                "total": money.show(deal.total_cents),
            },
        )
        for deal in found
    ]


def opened(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = deals.opened_by(context.db, context.buyer.id, DEALS_SHOWN_MAX)
    return [
        Option(
            deal.id,
            {
                "order": str(deal.number),
                "goods": deal.title,
                "status": _status(context, deal),
            },
        )
        for deal in found
    ]


def as_buyer(context: Context, answers: Any) -> Literal["free", "too_many", "frozen"]:
    answers.side = "buyer"
    return deals.may_open(context.db, context.buyer, context.now)


def as_seller(context: Context, answers: Any) -> Literal["free", "too_many", "frozen"]:
    answers.side = "seller"
    return deals.may_open(context.db, context.buyer, context.now)


@hints("title", "words_only")
def title(_context: Context, _answers: Any, text: str) -> str:
    return deals.parse_title(text)


@hints("amount")
def amount(_context: Context, _answers: Any, text: str) -> int:
    return deals.parse_amount(text)


@hints("phone", "yourself")
def other(context: Context, _answers: Any, text: str) -> str:
    msisdn = phone.parse(text)
    if not phone.is_kenyan_mobile(msisdn):
        raise Invalid("phone")
    owner = members.by_msisdn(context.db, msisdn)  # None of a phone that two share
    if owner is not None and owner.id == context.buyer.id:
        raise Invalid("yourself")
    return phone.local(msisdn)


def days_ahead(context: Context, _answers: Any) -> list[Option[str]]:
    ahead = days.coming(context.now, DAYS_AHEAD)
    return [Option(day.isoformat(), {"day": show_day(day, context.language)}) for day in ahead]


@hints("due_day")
def later_day(context: Context, _answers: Any, text: str) -> str:
    return deals.parse_day(text, context.now).isoformat()


@hints("terms", "words_only")
def terms(_context: Context, _answers: Any, text: str) -> str:
    return deals.parse_terms(text)


def sum_up(_context: Context, answers: Any) -> Literal["buyer", "seller"]:
    side: Side = answers.side
    return side


def draft_line(context: Context, answers: Any) -> Values:
    fee_cents = money.fee_cents(answers.amount, context.rules.fee_basis_points)
    return {
        "title": answers.title,
        "total": money.show(answers.amount),
        "fee": money.show(fee_cents),
        "net": money.show(answers.amount - fee_cents),
        "number": answers.other,
        "day": show_day(date.fromisoformat(answers.due), context.language),
    }


def word(context: Context, answers: Any) -> Literal["pin", "no_pin"]:
    """A seller's word binds by his PIN; where none can be typed, he accepts once more when paid.

    A buyer's needs none of ours: M-Pesa asks for its own.
    """
    return "pin" if answers.side == "seller" and context.private else "no_pin"


def open_deal(context: Context, answers: Any) -> Opened:
    return _open(context, answers, proved=False)


def open_by_pin(context: Context, answers: Any, pin: str) -> Literal[Opened, "wrong", "locked"]:
    checked = check_pin(context, answers, pin)
    return _open(context, answers, proved=True) if checked == "right" else checked


def _open(context: Context, answers: Any, *, proved: bool) -> Opened:
    outcome = deals.open(
        context.db,
        context.buyer,
        answers.side,
        phone.parse(answers.other),
        title=answers.title,
        terms=answers.terms,
        total_cents=answers.amount,
        due_on=date.fromisoformat(answers.due),
        proved=proved,
        rules=context.rules,
        now=context.now,
    )
    return "opened" if isinstance(outcome, UUID) else outcome


def opened_line(context: Context, answers: Any) -> Values:
    """Of the deal that was just opened, or was open already; it is not kept which."""
    what = (answers.title, answers.amount, answers.terms, date.fromisoformat(answers.due))
    (deal, *_) = (
        deal
        for deal in deals.opened_by(context.db, context.buyer.id, DEALS_SHOWN_MAX)
        if (deal.title, deal.total_cents, deal.terms, deal.due_on) == what
        and phone.local(deal.invited_msisdn) == answers.other
    )
    return _values(context, deal)


def look(
    context: Context, answers: Any
) -> Literal["to_buy", "to_sell", "own", "bought", "sold", "closed", "not_yours"]:
    deal = _deal(context, answers)
    side = deal.side_of(context.buyer)
    if side is None:
        return "not_yours"
    if deal.order_state == "placed" or deal.order_state in UNDER_WAY:
        return "bought" if side == "buyer" else "sold"
    if not deal.is_open(context.now):
        return "closed"
    if deal.opener_id == context.buyer.id:
        return "own"
    answers.side = side
    return "to_buy" if side == "buyer" else "to_sell"


def deal_line(context: Context, answers: Any) -> Values:
    return _values(context, _deal(context, answers))


def _values(context: Context, deal: Deal) -> Values:
    opener = members.by_id(context.db, deal.opener_id)
    return {
        "order": str(deal.number),
        "title": deal.title,
        "terms": deal.terms,
        "total": money.show(deal.total_cents),
        "fee": money.show(deal.fee_cents),
        "net": money.show(deal.net_cents),
        "name": names.called(opener.name) if opener else "-",
        "number": phone.local(deal.invited_msisdn),
        "day": show_day(deal.due_on, context.language),
        "until": show_moment(deal.answer_by, context.language),
        "status": _status(context, deal),
        "dial_code": context.rules.dial_code,
    }


def accept(context: Context, answers: Any) -> Accepted:
    return _accept(context, answers, proved=False)


def accept_by_pin(
    context: Context, answers: Any, pin: str
) -> Literal["agreed", "not_open", "stuck", "wrong", "locked"]:
    checked = check_pin(context, answers, pin)
    if checked != "right":
        return checked
    match _accept(context, answers, proved=True):
        case "agreed" | "not_open" | "stuck" as outcome:
            return outcome
        case "asked" | "pay_later":
            raise AssertionError("a buyer was asked for a PIN")


def _accept(context: Context, answers: Any, *, proved: bool) -> Accepted:
    outcome = deals.accept(
        context.db,
        answers.deal,
        context.buyer,
        proved=proved,
        rules=context.rules,
        now=context.now,
    )
    assert outcome != "not_yours", f"deal {answers.deal} was shown to somebody else"
    if outcome in ("not_open", "stuck"):
        return outcome
    if answers.side == "seller":
        return "agreed"
    return "asked" if outcome == "asked" else "pay_later"


def decline(context: Context, answers: Any) -> Literal["declined", "not_open"]:
    outcome = deals.decline(context.db, answers.deal, context.buyer, context.now)
    assert outcome != "not_yours", f"deal {answers.deal} was shown to somebody else"
    return outcome


def withdraw(context: Context, answers: Any) -> Literal["withdrawn", "not_open"]:
    outcome = deals.withdraw(context.db, answers.deal, context.buyer, context.now)
    assert outcome != "not_yours", f"deal {answers.deal} was opened by somebody else"
    return outcome


def _deal(context: Context, answers: Any) -> Deal:
    found = deals.by_id(context.db, answers.deal)
    assert found is not None, "a deal that was shown is not there"
    return found


def _status(context: Context, deal: Deal) -> str:
    """Of the order, once it is one."""
    texts = common().texts
    if deal.order_state is not None:
        return texts[f"status.{deal.order_state}"][context.language]
    state = deal.state if deal.state != "open" or deal.is_open(context.now) else "lapsed"
    return texts[f"deal.{state}"][context.language]


SAFE_PAY = Flow(
    "safe_pay",
    Answers,
    (
        Menu(
            "menu",
            to={"waiting": "waiting", "buy": "as_buyer", "sell": "as_seller", "own": "opened"},
        ),
        Pick("waiting", options=waiting, field="deal", to="look", empty="menu"),
        Pick("opened", options=opened, field="deal", to="look", empty="menu"),
        Call(
            "as_buyer",
            do=as_buyer,
            effect=False,
            to={"free": "title", "too_many": "too_many", "frozen": "stuck"},
        ),
        Call(
            "as_seller",
            do=as_seller,
            effect=False,
            to={"free": "title", "too_many": "too_many", "frozen": "stuck"},
        ),
        Ask("title", parse=title, to="amount"),
        Ask("amount", parse=amount, to="other"),
        Ask("other", parse=other, to="due"),
        Pick("due", options=days_ahead, to="terms", typed=Typed("due", later_day, "terms")),
        Ask("terms", parse=terms, to="sum_up"),
        Call("sum_up", do=sum_up, effect=False, to={"buyer": "buying", "seller": "selling"}),
        Menu("buying", show=draft_line, to={"open": "word_open", "change": "title"}),
        Menu("selling", show=draft_line, to={"open": "word_open", "change": "title"}),
        Call("word_open", do=word, effect=False, to={"pin": "pin_open", "no_pin": "open"}),
        Ask(
            "pin_open",
            parse=typed_pin,
            secret=True,
            do=open_by_pin,
            to={
                "opened": "told",
                "too_many": "too_many",
                "frozen": "stuck",
                "yourself": "other",
                "day_over": "due",
                "wrong": "pin_open",
                "locked": "locked",
            },
            resume="restart",
        ),
        Call(
            "open",
            do=open_deal,
            to={
                "opened": "told",
                "too_many": "too_many",
                "frozen": "stuck",
                "yourself": "other",
                "day_over": "due",
            },
        ),
        Call(
            "look",
            do=look,
            effect=False,
            to={
                "to_buy": "to_buy",
                "to_sell": "to_sell",
                "own": "own",
                "bought": "bought",
                "sold": "sold",
                "closed": "closed",
                "not_yours": "menu",
            },
        ),
        Menu("to_buy", show=deal_line, to={"terms": "agree", "decline": "sure"}),
        Menu("to_sell", show=deal_line, to={"terms": "agree", "decline": "sure"}),
        Menu("agree", show=deal_line, to={"accept": "word_accept", "decline": "sure"}),
        Call("word_accept", do=word, effect=False, to={"pin": "pin_accept", "no_pin": "accept"}),
        Ask(
            "pin_accept",
            parse=typed_pin,
            secret=True,
            do=accept_by_pin,
            to={
                "agreed": "agreed",
                "not_open": "look",
                "stuck": "stuck",
                "wrong": "pin_accept",
                "locked": "locked",
            },
            resume="restart",
        ),
        Call(
            "accept",
            do=accept,
            to={
                "asked": "asked",
                "pay_later": "pay_later",
                "agreed": "agreed",
                "not_open": "look",
                "stuck": "stuck",
            },
        ),
        Menu("sure", show=deal_line, to={"decline": "decline", "keep": "look"}, resume="restart"),
        Call("decline", do=decline, to={"declined": "declined", "not_open": "look"}),
        Menu("own", show=deal_line, to={"withdraw": "sure_withdraw"}),
        Menu(
            "sure_withdraw",
            show=deal_line,
            to={"withdraw": "withdraw", "keep": "look"},
            resume="restart",
        ),
        Call("withdraw", do=withdraw, to={"withdrawn": "withdrawn", "not_open": "look"}),
        End("told", show=opened_line),
        End("asked", show=deal_line),
        End("pay_later", show=deal_line),
        End("agreed", show=deal_line),
        End("declined", show=deal_line),
        End("withdrawn", show=deal_line),
        End("bought", show=deal_line),
        End("sold", show=deal_line),
        End("closed", show=deal_line),
        End("too_many"),
        End("stuck"),
        End("locked"),
    ),
)
