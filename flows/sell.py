"""Sell: orders to accept, dispatch and hand over, and a seller's own offers."""

import re
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import catalogue, deliveries, disputes, money, stock, verdicts
from core.catalogue import OfferLine
from core.deliveries import SellerOrder
from core.errors import Invalid
from flows.account import check_pin, typed_pin
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick
from flows.problem import words
from flows.words import Values, common, show_day, show_moment

ORDERS_SHOWN_MAX = 20


@dataclass
class Answers:
    order: UUID | None = None
    line: int | None = None  # of the order, from 0
    offer: UUID | None = None
    price: int | None = None  # cents
    stock: int | None = None  # thousandths of a unit
    text: str | None = None  # what he says to a complaint


def recognise(context: Context, _answers: Any) -> Literal["seller", "no_seller"]:
    """Whoever was ever paid for something here sells, with a shop or without."""
    sells = context.buyer.is_seller or deliveries.sells(context.db, context.buyer.id)
    return "seller" if sells else "no_seller"


def orders(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = deliveries.orders_of_seller(context.db, context.buyer.id, ORDERS_SHOWN_MAX)
    return [
        Option(
            order.id,
            {
                "order": str(order.number),
                "status": common().texts[f"status.{order.state}"][context.language],
                "total": money.show(order.total_cents),
            },
        )
        for order in found
    ]


def stands(
    context: Context, answers: Any
) -> Literal["new", "ready", "way", "checking", "disputed", "decided", "over"]:
    match _order(context, answers).state:
        case "paid":
            return "new"
        case "accepted":
            return "ready"
        case "dispatched":
            return "way"
        case "delivered":
            return "checking"
        case "disputed":
            return "disputed"
        case _:
            return "decided" if verdicts.of_order(context.db, answers.order) else "over"


def order_line(context: Context, answers: Any) -> Values:
    order = _order(context, answers)
    return {
        "order": str(order.number),
        "goods": order.goods,
        "place": order.place,
        "day": show_day(order.deliver_on, context.language),
        "name": order.buyer_name.split()[0],
        "total": money.show(order.total_cents),
        "fee": money.show(order.fee_cents),
        "net": money.show(order.net_cents),
        "until": show_moment(order.inspect_by, context.language) if order.inspect_by else "",
        "status": common().texts[f"status.{order.state}"][context.language],
    }


def case_line(context: Context, answers: Any) -> Values:
    dispute = disputes.last_of(context.db, answers.order)
    assert dispute is not None, "nobody ever complained of an order that was shown as disputed"
    problem = common().texts[f"problem.{dispute.reason}"][context.language]
    return {**order_line(context, answers), "case": str(dispute.number), "problem": problem}


def verdict_line(context: Context, answers: Any) -> Values:
    verdict = verdicts.of_order(context.db, answers.order)
    assert verdict is not None, "an order that was shown as decided has no verdict"
    assert verdict.fee_cents is not None, "a verdict that was carried out has no fee"
    return {
        **order_line(context, answers),
        "back": money.show(verdict.buyer_cents),
        "net": money.show(verdict.seller_cents - verdict.fee_cents),
        "why": verdict.reason,
    }


def given(_context: Context, answers: Any) -> Literal["given", "nothing"]:
    return "given" if answers.text else "nothing"


def answer(context: Context, answers: Any) -> Literal["answered", "added", "too_many", "settled"]:
    outcome = disputes.answer(
        context.db, answers.order, context.buyer.id, answers.text, context.now
    )
    assert outcome != "not_yours", f"order {answers.order} has another seller"
    return "settled" if outcome == "over" else outcome


def goods(context: Context, answers: Any) -> list[Option[int]]:
    """All that is to be packed: the order's own line has room for the first of it only."""
    return [
        Option(number, {"item": item}) for number, item in enumerate(_order(context, answers).items)
    ]


def accept(context: Context, answers: Any) -> Literal["accepted", "not_open"]:
    outcome = deliveries.accept(context.db, answers.order, context.buyer.id, context.now)
    return "not_open" if outcome == "waits" else outcome


def refuse(context: Context, answers: Any) -> Literal["refused", "not_open"]:
    return deliveries.refuse(context.db, answers.order, context.buyer.id, context.now)


def dispatch(context: Context, answers: Any) -> Literal["dispatched", "not_open"]:
    outcome = deliveries.dispatch(context.db, answers.order, context.buyer.id, context.now)
    return "not_open" if outcome == "waits" else outcome


def claim(context: Context, answers: Any) -> Literal["claimed", "not_open"]:
    outcome = deliveries.claim(context.db, answers.order, context.buyer.id, context.now)
    return "not_open" if outcome == "waits" else outcome


@hints("code_digits")
def code(_context: Context, _answers: Any, text: str) -> str:
    if not re.fullmatch("[0-9]{4}", text):
        raise Invalid("code_digits")
    return text


def enter_code(
    context: Context, answers: Any, typed: str
) -> Literal["released", "wrong_code", "code_locked", "frozen", "not_open"]:
    outcome = deliveries.enter_code(
        context.db, answers.order, context.buyer.id, typed, context.rules, context.now
    )
    return "not_open" if outcome == "waits" else outcome


def offers(context: Context, _answers: Any) -> list[Option[UUID]]:
    lines = catalogue.offers_of(context.db, context.buyer.id, context.language, context.now)
    return [Option(line.id, _offer_values(line)) for line in lines]


def offer_line(context: Context, answers: Any) -> Values:
    return _offer_values(_offer(context, answers))


@hints("price")
def price(_context: Context, _answers: Any, text: str) -> int:
    return catalogue.parse_price(text)


def set_price(context: Context, answers: Any) -> Literal["priced"]:
    catalogue.set_price(context.db, _offer(context, answers).id, answers.price, context.now)
    return "priced"


@hints("number", "whole_number", "step", "minimum", "not_enough", "too_much")
def more(context: Context, answers: Any, text: str) -> int:
    step_milli = _offer(context, answers).step_milli
    return catalogue.parse_quantity(
        text,
        step_milli=step_milli,
        minimum_milli=step_milli,
        available_milli=catalogue.QUANTITY_MILLI_MAX,
    )


@hints("number", "whole_number", "step", "minimum", "not_enough", "too_much")
def fewer(context: Context, answers: Any, text: str) -> int:
    offer = _offer(context, answers)
    return catalogue.parse_quantity(
        text,
        step_milli=offer.step_milli,
        minimum_milli=offer.step_milli,
        available_milli=offer.available_milli,
    )


def take_in(context: Context, answers: Any) -> Literal["stocked"]:
    stock.receive(
        context.db, _offer(context, answers).id, answers.stock, "told by the seller", context.now
    )
    return "stocked"


def take_out(context: Context, answers: Any) -> Literal["stocked", "too_few"]:
    outcome = stock.count_out(
        context.db, _offer(context, answers).id, answers.stock, "told by the seller", context.now
    )
    return "stocked" if outcome == "taken" else "too_few"


def _order(context: Context, answers: Any) -> SellerOrder:
    found = deliveries.for_seller(context.db, answers.order, context.buyer.id, context.language)
    assert found is not None, "an order that was shown is not the seller's"
    return found


def _offer(context: Context, answers: Any) -> OfferLine:
    """One of the seller's own, whatever was kept."""
    lines = catalogue.offers_of(context.db, context.buyer.id, context.language, context.now)
    found = next((line for line in lines if line.id == answers.offer), None)
    assert found is not None, "an offer that was shown is not the seller's"
    return found


def _offer_values(line: OfferLine) -> Values:
    return {
        "product": line.product_name,
        "price": money.show(line.price_cents),
        "unit": line.unit,
        "units": line.units,
        "stock": catalogue.show_quantity(line.available_milli),
    }


SELL = Flow(
    "sell",
    Answers,
    (
        Call("who", do=recognise, effect=False, to={"seller": "pin", "no_seller": "no_seller"}),
        Ask(
            "pin",
            parse=typed_pin,
            secret=True,
            do=check_pin,
            to={"right": "menu", "wrong": "pin", "locked": "locked"},
            resume="restart",
        ),
        Menu("menu", to={"orders": "order", "offers": "offer"}, resume="restart"),
        Pick("order", options=orders, to="stands", empty="menu", resume="restart"),
        Call(
            "stands",
            do=stands,
            effect=False,
            to={
                "new": "new",
                "ready": "ready",
                "way": "way",
                "checking": "checking",
                "disputed": "disputed",
                "decided": "decided",
                "over": "done",
            },
        ),
        Menu(
            "new",
            show=order_line,
            to={"accept": "accept", "refuse": "sure", "goods": "goods"},
            resume="restart",
        ),
        Pick(
            "goods",
            options=goods,
            field="line",
            to="stands",
            show=order_line,
            resume="restart",
        ),
        Call("accept", do=accept, to={"accepted": "ready", "not_open": "order"}),
        Menu("sure", show=order_line, to={"refuse": "refuse", "keep": "stands"}, resume="restart"),
        Call("refuse", do=refuse, to={"refused": "order", "not_open": "order"}),
        Menu(
            "ready",
            show=order_line,
            to={"dispatch": "dispatch", "refuse": "sure", "goods": "goods"},
            resume="restart",
        ),
        Call("dispatch", do=dispatch, to={"dispatched": "way", "not_open": "order"}),
        Menu("way", show=order_line, to={"code": "code", "claim": "claim"}, resume="restart"),
        Ask(
            "code",
            parse=code,
            secret=True,
            do=enter_code,
            show=order_line,
            to={
                "released": "paid",
                "wrong_code": "code",
                "code_locked": "code_locked",
                "frozen": "frozen",
                "not_open": "order",
            },
            resume="restart",
        ),
        Menu("checking", show=order_line, to={"code": "code"}, resume="restart"),
        Call("claim", do=claim, to={"claimed": "claimed", "not_open": "order"}),
        Menu("disputed", show=case_line, to={"answer": "said"}, resume="restart"),
        # Here begins who answers by a keyword, perhaps with the words themselves.
        Call("said", do=given, effect=False, to={"given": "answer", "nothing": "text"}),
        Ask("text", parse=words, show=case_line, to="answer", resume="restart"),
        Call(
            "answer",
            do=answer,
            to={
                "answered": "answered",
                "added": "added",
                "too_many": "too_many",
                "settled": "settled",
            },
        ),
        Pick("offer", options=offers, to="offer_menu", empty="menu", resume="restart"),
        Menu(
            "offer_menu",
            show=offer_line,
            to={"price": "price", "more": "more", "fewer": "fewer", "done": "saved"},
            resume="restart",
        ),
        Ask("price", parse=price, show=offer_line, to="set_price", resume="restart"),
        Call("set_price", do=set_price, to={"priced": "offer_menu"}),
        Ask("more", parse=more, show=offer_line, field="stock", to="take_in", resume="restart"),
        Call("take_in", do=take_in, to={"stocked": "offer_menu"}),
        Ask("fewer", parse=fewer, show=offer_line, field="stock", to="take_out", resume="restart"),
        Call("take_out", do=take_out, to={"stocked": "offer_menu", "too_few": "offer_menu"}),
        End("saved"),
        End("paid", show=order_line),
        End("claimed", show=order_line),
        End("answered", show=case_line),
        End("added", show=case_line),
        End("too_many", show=case_line),
        End("settled", show=case_line),
        End("decided", show=verdict_line),
        End("frozen", show=case_line),
        End("done", show=order_line),
        End("code_locked"),
        End("locked"),
        End("no_seller"),
    ),
)
