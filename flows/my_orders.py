"""My orders: where each stands, and what a buyer can do about it at that point."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import (
    captures,
    carts,
    charges,
    checkouts,
    deliveries,
    disputes,
    money,
    order_book,
    phone,
    reductions,
    shortages,
    trips,
    verdicts,
)
from core.errors import Invalid
from core.order_book import BuyerOrder
from flows.account import ask_pin
from flows.answers import hints
from flows.buy import known_payer, own, payer_number
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick
from flows.less import (
    how_many,
    less_values,
    line_of,
    line_values,
    on_the_road_cents,
    standing_values,
)
from flows.words import Values, common, show_day

ORDERS_SHOWN_MAX = 20


@dataclass
class Answers:
    order: UUID | None = None
    line: UUID | None = None
    came: int | None = None  # of the line, thousandths of a unit
    payer: str | None = None  # another's phone, that is to be asked


def orders(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = order_book.of_buyer(context.db, context.buyer.id, ORDERS_SHOWN_MAX)
    return [
        Option(
            order.id,
            {
                "order": str(order.number),
                "status": _status(context, order.state),
                "total": money.show(order.total_cents),
            },
        )
        for order in found
    ]


def stands(
    context: Context, answers: Any
) -> Literal["unpaid", "preparing", "offered", "coming", "asked", "disputed", "decided", "over"]:
    waits = reductions.open_of(context.db, answers.order)
    match _order(context, answers).state:
        case "placed":
            return "unpaid"
        case "paid" | "accepted":
            return "offered" if waits else "preparing"
        case "dispatched" | "delivered":
            return "asked" if waits else "coming"
        case "disputed":
            return "disputed"
        case _:
            return "decided" if verdicts.of_order(context.db, answers.order) else "over"


def order_line(context: Context, answers: Any) -> Values:
    order = _order(context, answers)
    return {
        "order": str(order.number),
        "status": _status(context, order.state),
        "seller": order.seller_name,
        "goods": order.goods,
        "day": show_day(order.deliver_on, context.language),
        "total": money.show(order.total_cents),
    }


def case_line(context: Context, answers: Any) -> Values:
    dispute = disputes.last_of(context.db, answers.order)
    assert dispute is not None, "nobody ever complained of an order that was shown as disputed"
    return {**order_line(context, answers), "case": str(dispute.number)}


def verdict_line(context: Context, answers: Any) -> Values:
    verdict = verdicts.of_order(context.db, answers.order)
    assert verdict is not None, "an order that was shown as decided has no verdict"
    return {
        **order_line(context, answers),
        "back": money.show(verdict.buyer_cents),
        "net": money.show(verdict.seller_cents),
        "why": verdict.reason,
    }


def basket_line(context: Context, answers: Any) -> Values:
    """All orders of the basket: they are paid together. total: what is missing of their price."""
    checkout_id = _order(context, answers).checkout_id
    together = order_book.of_checkout(context.db, checkout_id)
    return {
        "orders": ", ".join(str(order.number) for order in together),
        "total": money.show(captures.missing_cents(context.db, checkout_id)),
    }


def payer_line(context: Context, answers: Any) -> Values:
    number = phone.local(answers.payer) if answers.payer else ""
    return {**basket_line(context, answers), "number": number}


def pay_again(
    context: Context, answers: Any
) -> Literal["asked", "asked_other", "not_open", "payment_open", "too_soon", "unwilling"]:
    outcome = checkouts.pay_again(
        context.db,
        _order(context, answers).checkout_id,
        context.buyer.id,
        answers.payer or context.msisdn,
        context.rules,
        context.now,
    )
    return "asked_other" if outcome == "asked" and answers.payer else outcome


def asked_line(context: Context, answers: Any) -> Values:
    """total: what M-Pesa asks for now, all of it or the next part."""
    checkout_id = _order(context, answers).checkout_id
    missing_cents = captures.missing_cents(context.db, checkout_id)
    asked_cents = min(missing_cents, charges.AMOUNT_CENTS_MAX)
    return {**payer_line(context, answers), "total": money.show(asked_cents)}


def give_up(context: Context, answers: Any) -> Literal["given_up", "not_open"]:
    checkout_id = _order(context, answers).checkout_id
    outcome = checkouts.cancel(context.db, checkout_id, context.buyer.id, context.now)
    return "given_up" if outcome == "cancelled" else "not_open"


def cancel(context: Context, answers: Any) -> Literal["cancelled", "not_open"]:
    """Also because less would come than she ordered."""
    declined = shortages.decline(context.db, answers.order, context.buyer.id, context.now)
    if declined == "declined":
        return "cancelled"
    return deliveries.cancel(context.db, answers.order, context.buyer.id, context.now)


def sent_order_line(context: Context, answers: Any) -> Values:
    order = _order(context, answers)
    sent = money.show(on_the_road_cents(context, order))
    return {**order_line(context, answers), "total": sent}


def received(context: Context, answers: Any) -> Literal["released", "part_released", "not_open"]:
    if not context.private:  # others can send an SMS in her name
        raise Invalid("by_code", order=str(_order(context, answers).number))
    outcome = deliveries.received(context.db, answers.order, context.buyer.id, context.now)
    if outcome == "released":
        is_over = _order(context, answers).state == "completed"
        return "released" if is_over else "part_released"
    return "not_open"


def on_the_road(context: Context, answers: Any) -> list[Option[UUID]]:
    """Lines of which less can have come; none of what has ended meanwhile, or never had any."""
    if _order(context, answers).state not in ("dispatched", "delivered"):
        return []
    return [
        Option(line.id, line_values(line, line.on_road_milli))
        for line in trips.of_order(context.db, answers.order, context.language)
        if line.on_road_milli
    ]


def sent_line(context: Context, answers: Any) -> Values:
    line = line_of(context, answers.order, answers.line)
    return line_values(line, line.on_road_milli)


@hints("number", "whole_number", "step", "not_enough", "too_much")
def came(context: Context, answers: Any, text: str) -> int:
    line = line_of(context, answers.order, answers.line)
    return how_many(text, line, line.on_road_milli - line.step_milli)


def came_line(context: Context, answers: Any) -> Values:
    line = line_of(context, answers.order, answers.line)
    return {
        "seller": _order(context, answers).seller_name,
        **less_values(line, answers.came, line.on_road_milli, context.language),
    }


def ask_less(context: Context, answers: Any) -> Literal["asked", "by_complaint", "not_open"]:
    _by_herself(context)
    match shortages.say_less_came(
        context.db, answers.order, context.buyer.id, answers.line, answers.came, context.now
    ):
        case "asked":
            return "asked"
        case "nothing_left" | "too_often" | "too_little":
            return "by_complaint"
        case "already_open" | "wrong_quantity" | "not_open":
            return "not_open"


def less_line(context: Context, answers: Any) -> Values:
    return {**order_line(context, answers), **standing_values(context, answers.order)}


def take_back(context: Context, answers: Any) -> Literal["taken_back", "not_open"]:
    _by_herself(context)
    return shortages.take_back(context.db, answers.order, context.buyer.id, context.now)


def agree(context: Context, answers: Any) -> Literal["agreed", "not_open"]:
    return shortages.agree(context.db, answers.order, context.buyer.id, context.now)


def withdraw(context: Context, answers: Any) -> Literal["withdrawn", "too_late", "not_open"]:
    outcome = disputes.withdraw(context.db, answers.order, context.buyer.id, context.now)
    assert outcome != "not_yours", f"order {answers.order} has another buyer"
    return "not_open" if outcome == "over" else outcome


def code_line(context: Context, answers: Any) -> Values:
    order = _order(context, answers)
    code = deliveries.show_code(context.db, order.id, context.buyer.id, context.rules)
    return {"order": str(order.number), "seller": order.seller_name, "code": code or "-"}


def new_code(context: Context, answers: Any) -> Literal["renewed", "not_open"]:
    return deliveries.new_code(context.db, answers.order, context.buyer.id, context.now)


def again(context: Context, answers: Any) -> Literal["filled", "deal", "nothing_left"]:
    """The same as last time; what two people agreed on, they agree on anew."""
    if _order(context, answers).title is not None:
        return "deal"
    return carts.repeat(context.db, context.buyer.id, answers.order, context.now)


def _by_herself(context: Context) -> None:
    """By it her money can go to the seller, and others can send an SMS in her name."""
    if not context.private:
        raise Invalid("by_dial", dial_code=context.rules.dial_code)


def _order(context: Context, answers: Any) -> BuyerOrder:
    found = order_book.for_buyer(context.db, answers.order, context.buyer.id, context.language)
    assert found is not None, "an order that was shown is not the buyer's"
    return found


def _status(context: Context, state: str) -> str:
    return common().texts[f"status.{state}"][context.language]


MY_ORDERS = Flow(
    "my_orders",
    Answers,
    (
        Pick("order", options=orders, to="stands", empty="none", resume="restart"),
        Call(
            "stands",
            do=stands,
            effect=False,
            to={
                "unpaid": "unpaid",
                "preparing": "preparing",
                "offered": "offered",
                "coming": "coming",
                "asked": "asked_less",
                "disputed": "disputed",
                "decided": "decided",
                "over": "over",
            },
        ),
        Menu(
            "unpaid",
            show=basket_line,
            to={"pay": "own", "other": "known_payer", "cancel": "give_up"},
        ),
        Call("own", do=own, effect=False, to={"mpesa": "pay_again", "no_mpesa": "payer"}),
        Call(
            "known_payer",
            do=known_payer,
            effect=False,
            to={"known": "same_payer", "unknown": "payer"},
        ),
        Menu("same_payer", show=payer_line, to={"ask": "pay_again", "other": "payer"}),
        Ask("payer", parse=payer_number, to="sure_payer"),
        Menu("sure_payer", show=payer_line, to={"ask": "pay_again", "other": "payer"}),
        Call(
            "pay_again",
            do=pay_again,
            to={
                "asked": "asked",
                "asked_other": "asked_other",
                "not_open": "order",
                "payment_open": "wait",
                "too_soon": "wait",
                "unwilling": "payer",
            },
        ),
        Call("give_up", do=give_up, to={"given_up": "given_up", "not_open": "order"}),
        Menu(
            "preparing",
            show=order_line,
            to={"code": "pin", "cancel": "sure", "again": "again"},
            resume="restart",
        ),
        Menu("sure", show=order_line, to={"cancel": "cancel", "keep": "stands"}, resume="restart"),
        Call("cancel", do=cancel, to={"cancelled": "cancelled", "not_open": "order"}),
        Menu(
            "coming",
            show=order_line,
            to={
                "code": "pin",
                "received": "sure_received",
                "problem": "@problem",
                "less": "line",
            },
            resume="restart",
        ),
        Pick("line", options=on_the_road, show=order_line, to="came", empty="stands"),
        Ask("came", parse=came, show=sent_line, to="sure_less"),
        Menu(
            "sure_less",
            show=came_line,
            to={"ask": "ask_less", "keep": "stands"},
            resume="restart",
        ),
        Call(
            "ask_less",
            do=ask_less,
            to={"asked": "asked_seller", "by_complaint": "coming", "not_open": "order"},
        ),
        Menu(
            "asked_less",
            show=less_line,
            to={"take_back": "take_back", "problem": "@problem"},
            resume="restart",
        ),
        Call("take_back", do=take_back, to={"taken_back": "taken_back", "not_open": "order"}),
        Menu("offered", show=less_line, to={"agree": "agree", "cancel": "sure"}),
        Call("agree", do=agree, to={"agreed": "agreed", "not_open": "order"}),
        Menu(
            "disputed",
            show=case_line,
            to={"more": "@problem", "withdraw": "sure_withdraw"},
            resume="restart",
        ),
        Menu(
            "sure_withdraw",
            show=case_line,
            to={"withdraw": "pin_withdraw", "keep": "stands"},
            resume="restart",
        ),
        ask_pin("pin_withdraw", to="withdraw"),
        Call(
            "withdraw",
            do=withdraw,
            to={"withdrawn": "withdrawn", "too_late": "disputed", "not_open": "order"},
        ),
        Menu(
            "sure_received",
            show=sent_order_line,
            to={"received": "received", "keep": "stands"},
            resume="restart",
        ),
        Call(
            "received",
            do=received,
            to={"released": "thanks", "part_released": "part_thanks", "not_open": "order"},
        ),
        ask_pin("pin", to="code"),
        Menu("code", show=code_line, to={"renew": "new_code"}, resume="restart", hides="code"),
        Call("new_code", do=new_code, to={"renewed": "code", "not_open": "order"}),
        Menu("decided", show=verdict_line, to={"again": "again"}, resume="restart"),
        Menu("over", show=order_line, to={"again": "again"}, resume="restart"),
        Call(
            "again",
            do=again,
            to={"filled": "@buy", "deal": "@safe_pay", "nothing_left": "order"},
        ),
        End("thanks", show=order_line),
        End("part_thanks", show=order_line),
        End("asked_seller", show=less_line),
        End("taken_back", show=order_line),
        End("agreed", show=order_line),
        End("asked", show=asked_line),
        End("asked_other", show=asked_line),
        End("given_up", show=basket_line),
        End("cancelled", show=order_line),
        End("withdrawn", show=case_line),
        End("locked"),
        End("wait"),
        End("none"),
    ),
)
