"""Sell: orders to accept, dispatch and hand over, and a seller's own offers."""

import re
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import (
    catalogue,
    deliveries,
    disputes,
    money,
    names,
    order_book,
    reductions,
    shortages,
    stock,
    trips,
    verdicts,
    wallet,
)
from core.catalogue import OfferLine
from core.days import EAST_AFRICA_TIME
from core.errors import Invalid
from core.order_book import SellerOrder
from core.trips import Line
from flows.account import ask_pin
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Moved, Option, Pick
from flows.less import how_many, line_of, line_values, on_the_road_cents, standing_values
from flows.problem import words
from flows.words import Values, common, show_day, show_moment

ORDERS_SHOWN_MAX = 20
ORDERS_SUMMED_MAX = 1_000


@dataclass
class Answers:
    order: UUID | None = None
    item: UUID | None = None  # a line of the order
    quantity: int | None = None  # of it, thousandths of a unit
    restock: bool | None = None  # what he cannot send of it is there all the same
    load: str | None = None  # of a part that he sends: "0:2000,1:500", lines from 0
    offer: UUID | None = None
    price: int | None = None  # cents
    stock: int | None = None  # thousandths of a unit
    text: str | None = None  # what he says to a complaint


def recognise(context: Context, _answers: Any) -> Literal["seller", "no_seller"]:
    """Whoever was ever paid for something here sells, with a shop or without."""
    sells = context.buyer.is_seller or order_book.sells(context.db, context.buyer.id)
    return "seller" if sells else "no_seller"


def orders(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = order_book.of_seller(context.db, context.buyer.id, ORDERS_SHOWN_MAX)
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


def money_due(context: Context, _answers: Any) -> list[Option[UUID]]:
    """What is held for him, order by order, and what it waits for."""
    return [
        Option(
            due.order_id,
            {
                "order": str(due.number),
                "net": money.show(due.net_cents),
                "due": _due_words(due, context.language),
            },
        )
        for due in wallet.due(context.db, context.buyer.id, ORDERS_SHOWN_MAX)
    ]


def money_line(context: Context, _answers: Any) -> Values:
    held = wallet.due(context.db, context.buyer.id, ORDERS_SUMMED_MAX)
    balance = wallet.balance(context.db, context.buyer.id)
    return {
        "held": money.show(sum(due.net_cents for due in held)),
        "balance": money.show(balance.total_cents),
        "to_come": money.show(balance.to_come_cents),
    }


def _due_words(due: wallet.Due, language: str) -> str:
    words = common().texts[f"held.{due.state}"][language]
    if due.by is None:
        return words
    return f"{words} {due.by.astimezone(EAST_AFRICA_TIME):%d/%m %H:%M}"


def stands(
    context: Context, answers: Any
) -> Literal["new", "ready", "way", "checking", "said", "less", "disputed", "decided", "over"]:
    waits = reductions.open_of(context.db, answers.order)
    if waits is not None:
        return "said" if waits.kind == "short" else "less"
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
        "name": names.called(order.buyer_name),
        "receiver": names.called(order.receiver_name),
        "total": money.show(order.total_cents),
        "fee": money.show(order.fee_cents),
        "net": money.show(order.net_of(on_the_road_cents(context, order))),
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


def goods(context: Context, answers: Any) -> list[Option[UUID]]:
    """All that is to be packed: the order's own line has room for the first of it only."""
    order = _order(context, answers)
    if order.title is not None:  # that is all there is to it
        return [Option(order.id, {"item": order.title})]
    return [
        Option(line.id, {"item": "{quantity} {unit} {product}".format_map(shown)})
        for line in _to_come(context, answers)
        if line.to_come_milli and (shown := line_values(line, line.to_come_milli))
    ]


def chosen(_context: Context, answers: Any) -> Literal["line", "title"]:
    return "title" if answers.item == answers.order else "line"


def to_load(context: Context, answers: Any) -> list[Option[UUID]]:
    """Lines of which some can go now; none of what has ended meanwhile, or never had any."""
    if _order(context, answers).state != "accepted":
        return []
    return [
        Option(line.id, line_values(line, line.to_come_milli))
        for line in _to_come(context, answers)
        if line.to_come_milli
    ]


def item_line(context: Context, answers: Any) -> Values:
    line = line_of(context, answers.order, answers.item)
    return line_values(line, line.to_come_milli)


@hints("number", "whole_number", "step", "not_enough", "too_much")
def less(context: Context, answers: Any, text: str) -> int:
    line = line_of(context, answers.order, answers.item)
    return how_many(text, line, line.to_come_milli - line.step_milli)


def restock(context: Context, _answers: Any) -> list[Option[bool]]:
    """What becomes of those that he does not send."""
    return [
        Option(kept, {"choice": common().texts[f"rest.{name}"][context.language]})
        for kept, name in ((False, "gone"), (True, "kept"))
    ]


def offer_less(context: Context, answers: Any) -> Literal["asked", "by_refusal", "not_open"]:
    match shortages.offer_less(
        context.db,
        answers.order,
        context.buyer.id,
        answers.item,
        answers.quantity,
        answers.restock,
        context.now,
    ):
        case "asked":
            return "asked"
        case "nothing_left" | "too_often" | "too_little":
            return "by_refusal"
        case "already_open" | "wrong_quantity" | "not_open":
            return "not_open"


def less_line(context: Context, answers: Any) -> Values:
    return {**order_line(context, answers), **standing_values(context, answers.order)}


def take_back(context: Context, answers: Any) -> Literal["taken_back", "not_open"]:
    return shortages.take_back(context.db, answers.order, context.buyer.id, context.now)


def agree(context: Context, answers: Any) -> Literal["agreed", "not_open"]:
    return shortages.agree(context.db, answers.order, context.buyer.id, context.now)


def object_to(context: Context, answers: Any) -> Literal["declined", "not_open"]:
    return shortages.decline(context.db, answers.order, context.buyer.id, context.now)


@hints("number", "whole_number", "step", "not_enough", "too_much")
def loaded(context: Context, answers: Any, text: str) -> int:
    line = line_of(context, answers.order, answers.item)
    return how_many(text, line, line.to_come_milli)


def put_on(context: Context, answers: Any) -> Literal["loaded"]:
    """The line is in the load, once."""
    ids = [line.id for line in _to_come(context, answers)]
    load = _load(answers) | {ids.index(answers.item): answers.quantity}
    answers.load = ",".join(f"{number}:{milli}" for number, milli in sorted(load.items()))
    return "loaded"


def load_line(context: Context, answers: Any) -> Values:
    load = _load(answers)
    lines = _to_come(context, answers)
    going = ", ".join(
        f"{shown['quantity']} {shown['unit']} {shown['product']}"
        for number, milli in sorted(load.items())
        if milli and (shown := line_values(lines[number], milli))
    )
    return {**order_line(context, answers), "goods": going or "-"}


def send_part(context: Context, answers: Any) -> Literal["dispatched", "wrong_load", "not_open"]:
    lines = _to_come(context, answers)
    load = {lines[number].id: milli for number, milli in _load(answers).items()}
    answers.load = None
    outcome = deliveries.dispatch_part(
        context.db, answers.order, context.buyer.id, load, context.now
    )
    return "not_open" if outcome == "waits" else outcome


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
) -> Literal[
    "released", "part_released", "wrong_code", "code_locked", "frozen", "waits", "not_open"
]:
    outcome = deliveries.enter_code(
        context.db, answers.order, context.buyer.id, typed, context.rules, context.now
    )
    if outcome == "released" and _order(context, answers).state != "completed":
        return "part_released"
    return outcome


def rest_line(context: Context, answers: Any) -> Values:
    by = _order(context, answers).dispatch_by
    assert by is not None, f"order {answers.order} was sent in part, and never accepted"
    return {**order_line(context, answers), "until": show_moment(by, context.language)}


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


def _to_come(context: Context, answers: Any) -> list[Line]:
    return trips.of_order(context.db, answers.order, context.language)


def _load(answers: Any) -> dict[int, int]:
    """Thousandths of a unit by the number of the line."""
    pairs = [pair.split(":") for pair in (answers.load or "").split(",") if pair]
    return {int(number): int(milli) for number, milli in pairs}


def _order(context: Context, answers: Any) -> SellerOrder:
    found = order_book.for_seller(context.db, answers.order, context.buyer.id, context.language)
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
        ask_pin("pin", to="menu"),
        Menu(
            "menu",
            to={"orders": "order", "offers": "offer", "money": "due"},
            resume="restart",
        ),
        Pick(
            "due",
            options=money_due,
            field="order",
            show=money_line,
            to="stands",
            empty="menu",
            resume="restart",
        ),
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
                "said": "less_said",
                "less": "less_came",
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
            field="item",
            to="chosen",
            show=order_line,
            resume="restart",
        ),
        Call("chosen", do=chosen, effect=False, to={"line": "less", "title": "stands"}),
        Ask("less", parse=less, field="quantity", show=item_line, to="spare", resume="restart"),
        Pick(
            "spare",
            options=restock,
            field="restock",
            show=order_line,
            to="offer_less",
            resume="restart",
        ),
        Call(
            "offer_less",
            do=offer_less,
            to={"asked": "asked", "by_refusal": "stands", "not_open": "order"},
        ),
        Menu(
            "less_said",
            show=less_line,
            to={"take_back": "take_back", "refuse": "sure"},
            resume="restart",
        ),
        Call("take_back", do=take_back, to={"taken_back": "stands", "not_open": "order"}),
        Menu(
            "less_came",
            show=less_line,
            to={"agree": "agree", "object": "object"},
            resume="restart",
        ),
        Call("agree", do=agree, to={"agreed": "agreed", "not_open": "order"}),
        Call("object", do=object_to, to={"declined": "objected", "not_open": "order"}),
        Call("accept", do=accept, to={"accepted": "ready", "not_open": "order"}),
        Menu("sure", show=order_line, to={"refuse": "refuse", "keep": "stands"}, resume="restart"),
        Call("refuse", do=refuse, to={"refused": "order", "not_open": "order"}),
        Menu(
            "ready",
            show=order_line,
            to={"dispatch": "dispatch", "refuse": "sure", "goods": "goods", "part": "load"},
            resume="restart",
        ),
        Pick(
            "load",
            options=to_load,
            field="item",
            to="loaded",
            empty="stands",
            show=order_line,
            resume="restart",
        ),
        Ask(
            "loaded", parse=loaded, field="quantity", show=item_line, to="put_on", resume="restart"
        ),
        Call("put_on", do=put_on, effect=False, to={"loaded": "trip"}),
        Menu("trip", show=load_line, to={"send": "send_part", "more": "load"}, resume="restart"),
        Call(
            "send_part",
            do=send_part,
            to={"dispatched": "way", "wrong_load": "load", "not_open": "order"},
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
                "part_released": "part_paid",
                "wrong_code": "code",
                "code_locked": "code_locked",
                "frozen": "frozen",
                "waits": "less_came",
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
        End("part_paid", show=rest_line),
        End("claimed", show=order_line),
        End("asked", show=less_line),
        End("agreed", show=order_line),
        End("objected", show=order_line),
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
    moved=Moved(answers={"line": None}),
)
