"""The order book: orders as their buyers and their sellers see them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from core import catalogue
from core.database import Db
from core.worth import Worth

_ORDER_LINES: Final[LiteralString] = """
        SELECT o.id, o.checkout_id, o.number, o.state, m.name AS seller_name,
               o.total_cents - o.reduced_cents AS total_cents, o.pay_by
        FROM orders o JOIN members m ON m.id = o.seller_id"""

_WORTH: Final[LiteralString] = """
    o.state, o.total_cents AS placed_cents, o.fee_cents AS placed_fee_cents, o.reduced_cents,
    o.came_cents"""

# Of the order o, in the words of %(language)s: what is on the road of one that was sent, what is
# still to come of one that was not, and what came of one that has ended.
_LINES: Final[LiteralString] = """(
    SELECT coalesce(json_agg(json_build_array(
        coalesce(p.names->>%(language)s, p.names->>'en'),
        l.milli,
        coalesce(p.units->%(language)s, p.units->'en')
            ->> CASE WHEN l.milli = 1000 THEN 'one' ELSE 'many' END
    ) ORDER BY l.created_at, l.id), '[]')
    FROM (
        SELECT id, product_id, created_at, quantity_milli - reduced_milli - behind_milli
            - CASE WHEN o.state IN ('paid', 'accepted', 'dispatched', 'delivered', 'disputed')
                   THEN came_milli ELSE 0 END AS milli
        FROM lines WHERE order_id = o.id) AS l
    JOIN products p ON p.id = l.product_id WHERE l.milli > 0)"""


@dataclass(frozen=True)
class OrderLine:
    """One of a buyer's orders, as a list shows it. total_cents: less what came back of it."""

    id: UUID
    checkout_id: UUID
    number: int
    state: str
    seller_name: str
    total_cents: int
    pay_by: datetime


@dataclass(frozen=True)
class SellerLine(Worth):
    """One of a seller's paid orders, as a list shows it."""

    id: UUID
    number: int
    buyer_name: str = field(repr=False)
    deliver_on: date


@dataclass(frozen=True)
class SellerOrder(Worth):
    """A paid order as its seller sees it.

    lines: product, thousandths of a unit, unit, of what is on the road, still to come, or came.
    title: what it is of where it has no lines.
    """

    id: UUID
    number: int
    title: str | None
    lines: Sequence[Sequence[Any]]
    buyer_name: str = field(repr=False)
    receiver_name: str = field(repr=False)  # of whoever has it brought; or the same
    place: str
    deliver_on: date
    accept_by: datetime
    dispatch_by: datetime | None
    inspect_by: datetime | None

    @property
    def items(self) -> list[str]:
        return _items(self.title, self.lines)

    @property
    def goods(self) -> str:
        return ", ".join(self.items)


@dataclass(frozen=True)
class BuyerOrder(Worth):
    """An order as its buyer sees it, paid or not. title, lines: as a SellerOrder's."""

    id: UUID
    checkout_id: UUID
    number: int
    title: str | None
    lines: Sequence[Sequence[Any]]
    seller_name: str = field(repr=False)
    place: str
    deliver_on: date
    pay_by: datetime
    accept_by: datetime | None
    dispatch_by: datetime | None
    inspect_by: datetime | None

    @property
    def goods(self) -> str:
        return ", ".join(_items(self.title, self.lines))


def of_buyer(db: Db, buyer_id: UUID, limit: int) -> list[OrderLine]:
    """Her orders in whatever state, the newest first."""
    return db.rows(
        OrderLine,
        f"""
        {_ORDER_LINES}
        WHERE o.buyer_id = %(buyer_id)s
        ORDER BY o.number DESC LIMIT %(limit)s
        """,
        {"buyer_id": buyer_id, "limit": limit},
    )


def unpaid(db: Db, buyer_id: UUID) -> list[OrderLine]:
    """Her orders that still wait for their payment, the oldest first."""
    return db.rows(
        OrderLine,
        f"""
        {_ORDER_LINES}
        WHERE o.buyer_id = %(buyer_id)s AND o.state = 'placed'
        ORDER BY o.number
        """,
        {"buyer_id": buyer_id},
    )


def of_checkout(db: Db, checkout_id: UUID) -> list[OrderLine]:
    """The orders of one checkout by number."""
    return db.rows(
        OrderLine,
        f"""
        {_ORDER_LINES}
        WHERE o.checkout_id = %(checkout_id)s
        ORDER BY o.number
        """,
        {"checkout_id": checkout_id},
    )


def newest(db: Db, buyer_id: UUID) -> list[OrderLine]:
    """The orders of what she confirmed last, by number."""
    return db.rows(
        OrderLine,
        f"""
        {_ORDER_LINES}
        WHERE o.checkout_id = (
            SELECT checkout_id FROM orders
            WHERE buyer_id = %(buyer_id)s ORDER BY number DESC LIMIT 1
        )
        ORDER BY o.number
        """,
        {"buyer_id": buyer_id},
    )


def of_seller(db: Db, seller_id: UUID, limit: int) -> list[SellerLine]:
    """His paid orders: those on their way first, by the day they are wanted; then the newest."""
    return db.rows(
        SellerLine,
        f"""
        SELECT o.id, o.number, b.name AS buyer_name, o.deliver_on, {_WORTH}
        FROM orders o JOIN members b ON b.id = o.buyer_id
        WHERE o.seller_id = %(seller_id)s AND o.accept_by IS NOT NULL
        ORDER BY CASE WHEN o.state IN ('paid', 'accepted', 'dispatched', 'delivered', 'disputed')
                      THEN o.deliver_on END NULLS LAST, o.number DESC
        LIMIT %(limit)s
        """,
        {"seller_id": seller_id, "limit": limit},
    )


def for_seller(db: Db, order_id: UUID, seller_id: UUID, language: str) -> SellerOrder | None:
    """One of his orders; None: it is not his, or was never paid."""
    return db.row(
        SellerOrder,
        f"""
        SELECT o.id, o.number, {_WORTH}, o.title, {_LINES} AS lines,
               b.name AS buyer_name, coalesce(o.receiver_name, b.name) AS receiver_name,
               q.name AS place, o.deliver_on, o.accept_by, o.dispatch_by, o.inspect_by
        FROM orders o
        JOIN members b ON b.id = o.buyer_id
        JOIN places q ON q.id = o.place_id
        WHERE o.id = %(order_id)s AND o.seller_id = %(seller_id)s AND o.accept_by IS NOT NULL
        """,
        {"order_id": order_id, "seller_id": seller_id, "language": language},
    )


def for_buyer(db: Db, order_id: UUID, buyer_id: UUID, language: str) -> BuyerOrder | None:
    """One of her orders; None: it is not hers."""
    return db.row(
        BuyerOrder,
        f"""
        SELECT o.id, o.checkout_id, o.number, {_WORTH}, o.title, {_LINES} AS lines,
               s.name AS seller_name, q.name AS place, o.deliver_on, o.pay_by,
               o.accept_by, o.dispatch_by, o.inspect_by
        FROM orders o
        JOIN members s ON s.id = o.seller_id
        JOIN places q ON q.id = o.place_id
        WHERE o.id = %(order_id)s AND o.buyer_id = %(buyer_id)s
        """,
        {"order_id": order_id, "buyer_id": buyer_id, "language": language},
    )


def sells(db: Db, member_id: UUID) -> bool:
    """Has anybody ever paid for what the member sends?"""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM orders
                           WHERE seller_id = %(id)s AND accept_by IS NOT NULL)
            """,
            {"id": member_id},
        )
    )


def _items(title: str | None, lines: Sequence[Sequence[Any]]) -> list[str]:
    """All that an order is of, for a screen: "10 kilos Tomatoes", "1 bunch Kale"."""
    if title is not None:
        return [title]
    return [
        f"{catalogue.show_quantity(quantity_milli)} {unit} {product}"
        for product, quantity_milli, unit in lines
    ]
