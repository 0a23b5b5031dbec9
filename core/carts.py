"""Carts: what a buyer has chosen and not confirmed; a checkout while it is a draft."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from core import stock
from core.checkouts import TOTAL_CENTS_MAX
from core.database import Db
from core.money import line_cents

LINES_MAX: Final = 12

Added = Literal[
    "added",
    "sold_out",
    "own_offer",
    "below_minimum",
    "price_changed",
    "too_many_lines",
    "too_large",
]


@dataclass(frozen=True)
class CartLine:
    """unit: of one, "bag"; units: of many, "bags". price_cents: of one unit, as she was shown."""

    id: UUID
    checkout_id: UUID
    offer_id: UUID
    seller_id: UUID
    product_name: str
    seller_name: str
    quantity_milli: int
    unit: str
    units: str
    price_cents: int
    amount_cents: int


@dataclass(frozen=True)
class Cart:
    """checkout_id None: there is nothing in it."""

    checkout_id: UUID | None
    lines: Sequence[CartLine]
    total_cents: int


def read(db: Db, buyer_id: UUID, language: str) -> Cart:
    """What she has chosen so far, first choice first."""
    found = db.rows(
        CartLine,
        """
        SELECT l.id, l.checkout_id, l.offer_id, l.seller_id, l.quantity_milli, l.price_cents,
               l.amount_cents, m.name AS seller_name,
               coalesce(p.names->>%(language)s, p.names->>'en') AS product_name,
               coalesce(p.units->%(language)s->>'one', p.units->'en'->>'one') AS unit,
               coalesce(p.units->%(language)s->>'many', p.units->'en'->>'many') AS units
        FROM checkouts k
        JOIN lines l ON l.checkout_id = k.id
        JOIN products p ON p.id = l.product_id
        JOIN members m ON m.id = l.seller_id
        WHERE k.buyer_id = %(buyer_id)s AND k.state = 'draft'
        ORDER BY l.created_at, l.id
        """,
        {"buyer_id": buyer_id, "language": language},
    )
    return Cart(
        found[0].checkout_id if found else None,
        found,
        sum(line.amount_cents for line in found),
    )


def add(
    db: Db,
    buyer_id: UUID,
    offer_id: UUID,
    quantity_milli: int,
    shown_price_cents: int | None,
    now: datetime,
) -> Added:
    """Put so much of an offer into her cart, on top of what is there. Nothing is reserved yet.

    shown_price_cents: the price a unit that she agreed to; None: she saw none. "sold_out": there is
    not that much, or the offer is gone. "price_changed", like every refusal, leaves the cart alone.
    """
    checkout_id = _draft(db, buyer_id, now)
    choice = db.row(
        _Choice,
        f"""
        SELECT o.product_id, o.seller_id, o.price_cents, o.minimum_milli,
               {stock.AVAILABLE_MILLI} AS available_milli,
               coalesce(mine.quantity_milli, 0) AS in_cart_milli,
               others.lines AS other_lines, others.cents AS other_cents
        FROM offers o
        JOIN products p ON p.id = o.product_id AND p.active
        JOIN members m ON m.id = o.seller_id AND m.deleted_at IS NULL
        JOIN stock s ON s.offer_id = o.id
        LEFT JOIN lines mine ON mine.checkout_id = %(checkout_id)s AND mine.offer_id = o.id
        CROSS JOIN (
            SELECT count(*) AS lines, coalesce(sum(amount_cents), 0)::bigint AS cents
            FROM lines WHERE checkout_id = %(checkout_id)s AND offer_id <> %(offer_id)s
        ) AS others
        WHERE o.id = %(offer_id)s AND o.active
        """,
        {"checkout_id": checkout_id, "offer_id": offer_id, "now": now},
    )
    if choice is None:
        return "sold_out"
    if choice.seller_id == buyer_id:
        return "own_offer"
    if shown_price_cents not in (None, choice.price_cents):
        return "price_changed"
    wanted_milli = choice.in_cart_milli + quantity_milli
    if wanted_milli < choice.minimum_milli:
        return "below_minimum"
    if wanted_milli > choice.available_milli:
        return "sold_out"
    if choice.other_lines >= LINES_MAX:
        return "too_many_lines"
    amount_cents = line_cents(choice.price_cents, wanted_milli)
    if choice.other_cents + amount_cents > TOTAL_CENTS_MAX:
        return "too_large"
    db.run(
        """
        INSERT INTO lines (id, checkout_id, offer_id, product_id, seller_id, quantity_milli,
                           price_cents, amount_cents, created_at, updated_at)
        VALUES (%(id)s, %(checkout_id)s, %(offer_id)s, %(product_id)s, %(seller_id)s,
                %(quantity_milli)s, %(price_cents)s, %(amount_cents)s, %(now)s, %(now)s)
        ON CONFLICT (checkout_id, offer_id) DO UPDATE
        SET quantity_milli = excluded.quantity_milli, price_cents = excluded.price_cents,
            amount_cents = excluded.amount_cents, updated_at = %(now)s
        """,
        {
            "id": db.new_id(),
            "checkout_id": checkout_id,
            "offer_id": offer_id,
            "product_id": choice.product_id,
            "seller_id": choice.seller_id,
            "quantity_milli": wanted_milli,
            "price_cents": choice.price_cents,
            "amount_cents": amount_cents,
            "now": now,
        },
    )
    return "added"


def remove(db: Db, buyer_id: UUID, line_id: UUID, now: datetime) -> None:
    """Take a line out of her cart; what is not there is out already."""
    db.run(
        "DELETE FROM lines WHERE id = %(line_id)s AND checkout_id = %(checkout_id)s",
        {"line_id": line_id, "checkout_id": _draft(db, buyer_id, now)},
    )


def empty(db: Db, buyer_id: UUID, now: datetime) -> None:
    """Take everything out of her cart."""
    db.run(
        "DELETE FROM lines WHERE checkout_id = %(checkout_id)s",
        {"checkout_id": _draft(db, buyer_id, now)},
    )


def repeat(
    db: Db, buyer_id: UUID, order_id: UUID, now: datetime
) -> Literal["filled", "nothing_left"]:
    """Same as last time: her cart is filled up to what this order of hers had.

    At today's prices; what is left of what is not all there; a line that is no longer offered, or
    that the cart has no room for, stays out. "nothing_left": none of it is in the cart.
    """
    filled = False
    for line in _repeatable(db, buyer_id, order_id, now):
        wanted_milli = min(line.quantity_milli, line.available_milli)
        more_milli = wanted_milli - wanted_milli % line.step_milli - line.in_cart_milli
        if more_milli <= 0:
            filled = filled or line.in_cart_milli > 0
        elif add(db, buyer_id, line.offer_id, more_milli, None, now) == "added":
            filled = True
    return "filled" if filled else "nothing_left"


@dataclass(frozen=True)
class _Choice:
    """An offer as it stands, and what the cart holds besides."""

    product_id: UUID
    seller_id: UUID
    price_cents: int
    minimum_milli: int
    available_milli: int
    in_cart_milli: int
    other_lines: int
    other_cents: int


def _draft(db: Db, buyer_id: UUID, now: datetime) -> UUID:
    """Her cart, made if she has none, and locked."""
    found: UUID = db.value(
        """
        INSERT INTO checkouts (id, buyer_id, state, total_cents, created_at, updated_at)
        VALUES (%(id)s, %(buyer_id)s, 'draft', 0, %(now)s, %(now)s)
        ON CONFLICT (buyer_id) WHERE state = 'draft' DO UPDATE SET updated_at = %(now)s
        RETURNING id
        """,
        {"id": db.new_id(), "buyer_id": buyer_id, "now": now},
    )
    return found


@dataclass(frozen=True)
class _Repeatable:
    """A line of an old order whose offer still stands."""

    offer_id: UUID
    quantity_milli: int
    available_milli: int
    in_cart_milli: int
    step_milli: int


def _repeatable(db: Db, buyer_id: UUID, order_id: UUID, now: datetime) -> list[_Repeatable]:
    return db.rows(
        _Repeatable,
        f"""
        SELECT l.offer_id, l.quantity_milli,
               greatest({stock.AVAILABLE_MILLI}, 0) AS available_milli,
               coalesce(mine.quantity_milli, 0) AS in_cart_milli, p.step_milli
        FROM orders k
        JOIN lines l ON l.order_id = k.id
        JOIN offers o ON o.id = l.offer_id AND o.active
        JOIN products p ON p.id = o.product_id AND p.active
        JOIN stock s ON s.offer_id = o.id
        LEFT JOIN checkouts draft ON draft.buyer_id = k.buyer_id AND draft.state = 'draft'
        LEFT JOIN lines mine ON mine.checkout_id = draft.id AND mine.offer_id = o.id
        WHERE k.id = %(order_id)s AND k.buyer_id = %(buyer_id)s
        ORDER BY l.created_at, l.id
        """,
        {"order_id": order_id, "buyer_id": buyer_id, "now": now},
    )
