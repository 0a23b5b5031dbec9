"""My orders: where each stands; one that is not paid can be paid again or cancelled."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import checkouts, money, phone
from core.checkouts import OrderLine
from flows.engine import Call, Context, End, Flow, Menu, Option, Pick
from flows.words import Values, common

ORDERS_SHOWN_MAX = 20


@dataclass
class Answers:
    order: UUID | None = None


def orders(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = checkouts.orders_of(context.db, context.buyer.id, ORDERS_SHOWN_MAX)
    return [
        Option(
            order.id,
            {
                "order": str(order.number),
                "status": _status(context, order),
                "total": money.show(order.total_cents),
            },
        )
        for order in found
    ]


def stands(context: Context, answers: Any) -> Literal["unpaid", "other"]:
    return "unpaid" if _order(context, answers).state == "placed" else "other"


def order_line(context: Context, answers: Any) -> Values:
    order = _order(context, answers)
    return {
        "order": str(order.number),
        "status": _status(context, order),
        "seller": order.seller_name,
        "total": money.show(order.total_cents),
    }


def basket_line(context: Context, answers: Any) -> Values:
    """All orders of the basket: they are paid together."""
    together = checkouts.placed(context.db, _order(context, answers).checkout_id)
    return {
        "orders": ", ".join(str(order.number) for order in together),
        "total": money.show(sum(order.total_cents for order in together)),
    }


def pay_again(
    context: Context, answers: Any
) -> Literal["asked", "not_open", "payment_open", "too_soon", "no_mpesa"]:
    if not phone.is_kenyan_mobile(context.msisdn):
        return "no_mpesa"
    return checkouts.pay_again(
        context.db,
        _order(context, answers).checkout_id,
        context.buyer.id,
        context.msisdn,
        context.rules,
        context.now,
    )


def cancel(context: Context, answers: Any) -> Literal["cancelled", "not_open"]:
    checkout_id = _order(context, answers).checkout_id
    return checkouts.cancel(context.db, checkout_id, context.buyer.id, context.now)


def _order(context: Context, answers: Any) -> OrderLine:
    found = checkouts.order_of(context.db, context.buyer.id, answers.order)
    assert found is not None, "an order that was shown is not the buyer's"
    return found


def _status(context: Context, order: OrderLine) -> str:
    return common().texts[f"status.{order.state}"][context.language]


MY_ORDERS = Flow(
    "my_orders",
    Answers,
    (
        Pick("order", options=orders, to="stands", empty="none"),
        Call("stands", do=stands, effect=False, to={"unpaid": "unpaid", "other": "status"}),
        Menu(
            "unpaid",
            show=basket_line,
            to={"pay": "pay_again", "cancel": "cancel"},
        ),
        Call(
            "pay_again",
            do=pay_again,
            to={
                "asked": "asked",
                "not_open": "order",
                "payment_open": "wait",
                "too_soon": "wait",
                "no_mpesa": "no_mpesa",
            },
        ),
        Call("cancel", do=cancel, to={"cancelled": "cancelled", "not_open": "order"}),
        End("status", show=order_line),
        End("asked", show=basket_line),
        End("wait"),
        End("no_mpesa"),
        End("cancelled", show=basket_line),
        End("none"),
    ),
)
