"""Orders: what one buyer has of one seller, from the confirmed cart to the goods in her hands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, LiteralString
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from core import messages
from core.database import Db, metadata
from core.records import records
from core.worth import Worth

# From state to state; a move that is not here cannot be made.
MOVES: Final[Mapping[str, frozenset[str]]] = {
    "placed": frozenset({"paid", "expired", "cancelled"}),
    "paid": frozenset({"accepted", "cancelled"}),
    # It ends here where a part came before, and the rest does not.
    "accepted": frozenset({"dispatched", "cancelled", "completed"}),
    # Accepted again for the rest, where a part of it came.
    # Refunded where M-Pesa itself gave its payment back.
    "dispatched": frozenset({"completed", "delivered", "disputed", "accepted", "refunded"}),
    # And delivered again where the time to look at the goods begins anew.
    "delivered": frozenset({"completed", "disputed", "accepted", "delivered", "refunded"}),
    # Back to where it stood if the dispute is withdrawn.
    "disputed": frozenset(
        {"completed", "refunded", "split", "dispatched", "delivered", "accepted"}
    ),
    "completed": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
    "refunded": frozenset(),
    "split": frozenset(),
}

numbers = sa.Sequence("order_numbers", start=1001, metadata=metadata)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("checkout_id", sa.Uuid, sa.ForeignKey("checkouts.id"), nullable=False),
    sa.Column("buyer_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("seller_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("total_cents", sa.BigInteger, nullable=False),
    sa.Column("fee_cents", sa.BigInteger, nullable=False),  # the seller's, fixed when placed
    # Of the total: gone back because less comes; and the seller's for what came in earlier trips.
    sa.Column("reduced_cents", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("came_cents", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("pay_by", sa.DateTime(timezone=True), nullable=False),
    sa.Column("place_id", sa.Uuid, sa.ForeignKey("places.id"), nullable=False),  # to bring it to
    sa.Column("receiver_name", sa.Text),  # NULL: the buyer receives it herself
    sa.Column("receiver_msisdn", sa.Text),
    sa.Column("deliver_on", sa.Date, nullable=False),  # a day of the market's calendar
    sa.Column("accept_by", sa.DateTime(timezone=True)),  # set when paid
    sa.Column("dispatch_by", sa.DateTime(timezone=True)),  # set when accepted
    sa.Column("inspect_by", sa.DateTime(timezone=True)),  # set when said to be delivered
    sa.Column("title", sa.Text),  # in place of lines, where two people agreed on it themselves
    # Its seller gave his word, and his PIN, before it was placed: paid is accepted.
    sa.Column("agreed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(f"state IN ({', '.join(repr(state) for state in MOVES)})", name="state"),
    sa.CheckConstraint("total_cents > 0 AND total_cents % 100 = 0", name="total_cents"),
    sa.CheckConstraint("fee_cents BETWEEN 0 AND total_cents", name="fee_cents"),
    sa.CheckConstraint(
        "reduced_cents >= 0 AND came_cents >= 0 AND reduced_cents + came_cents <= total_cents",
        name="parts",
    ),
    sa.CheckConstraint("buyer_id <> seller_id", name="two_people"),
    sa.CheckConstraint("title <> ''", name="title"),
    sa.CheckConstraint("(receiver_name IS NULL) = (receiver_msisdn IS NULL)", name="receiver"),
    sa.UniqueConstraint("checkout_id", "seller_id"),
    sa.Index("ix_orders_buyer_id", "buyer_id", "number"),
    sa.Index("ix_orders_seller_id", "seller_id", "number"),
)

order_events = sa.Table(
    "order_events",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", JSONB, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)


_COLUMNS: Final[LiteralString] = """
    id, number, checkout_id, buyer_id, seller_id, state, total_cents, fee_cents, reduced_cents,
    came_cents, pay_by, deliver_on, accept_by, dispatch_by, inspect_by, title, agreed"""


class WrongMove(Exception):
    """An order was to go where its state does not lead."""


@dataclass(frozen=True)
class Receiver:
    """Whoever has the goods brought, where it is not the buyer."""

    name: str = field(repr=False)
    msisdn: str = field(repr=False)


@dataclass(frozen=True)
class NewOrder:
    """title: in place of lines. number: one that it has already. agreed: see Order."""

    seller_id: UUID
    total_cents: int
    fee_cents: int
    title: str | None = None
    number: int | None = None
    agreed: bool = False


@dataclass(frozen=True)
class Order:
    """total_cents, fee_cents: as it was placed; worth: as it stands.

    title: what it is of, if not of lines. agreed: its seller accepted before it was placed.
    """

    id: UUID
    number: int
    checkout_id: UUID
    buyer_id: UUID
    seller_id: UUID
    state: str
    total_cents: int
    fee_cents: int
    reduced_cents: int
    came_cents: int
    pay_by: datetime
    deliver_on: date
    accept_by: datetime | None
    dispatch_by: datetime | None
    inspect_by: datetime | None
    title: str | None
    agreed: bool

    @property
    def worth(self) -> Worth:
        return Worth(
            self.state, self.total_cents, self.fee_cents, self.reduced_cents, self.came_cents
        )


@dataclass(frozen=True)
class Event:
    """One line of an order's timeline. detail: codes and amounts, never personal data."""

    kind: str
    detail: dict[str, object]
    at: datetime


def place(
    db: Db,
    checkout_id: UUID,
    buyer_id: UUID,
    new: Sequence[NewOrder],
    pay_by: datetime,
    deliver_on: date,
    place_id: UUID | None,
    receiver: Receiver | None,
    now: datetime,
) -> dict[UUID, UUID]:
    """One order for each seller, with its first event. The orders' ids by seller.

    place_id: where to bring the goods; None: to the buyer's own place. receiver: None: herself.
    """
    ids = {order.seller_id: db.new_id() for order in new}
    db.run(
        """
        INSERT INTO orders (id, number, checkout_id, buyer_id, seller_id, state, total_cents,
                            fee_cents, pay_by, place_id, receiver_name, receiver_msisdn, deliver_on,
                            title, agreed, created_at, updated_at)
        SELECT id, coalesce(number, nextval('order_numbers')), %(checkout_id)s, %(buyer_id)s,
               seller_id, 'placed', total_cents, fee_cents, %(pay_by)s,
               coalesce(%(place_id)s, (SELECT place_id FROM members WHERE id = %(buyer_id)s)),
               %(receiver_name)s, %(receiver_msisdn)s, %(deliver_on)s, title, agreed, %(now)s,
               %(now)s
        FROM json_to_recordset(%(orders)s::json)
            AS o (id uuid, number bigint, seller_id uuid, total_cents bigint, fee_cents bigint,
                  title text, agreed boolean)
        """,
        {
            "checkout_id": checkout_id,
            "buyer_id": buyer_id,
            "orders": records([{"id": ids[order.seller_id], **vars(order)} for order in new]),
            "pay_by": pay_by,
            "place_id": place_id,
            "receiver_name": receiver and receiver.name,
            "receiver_msisdn": receiver and receiver.msisdn,
            "deliver_on": deliver_on,
            "now": now,
        },
    )
    note(db, list(ids.values()), "placed", now)
    return ids


def lock(db: Db, checkout_id: UUID) -> list[Order]:
    """The orders of a checkout, by id, locked."""
    return lock_all(db, [checkout_id])


def lock_all(db: Db, checkout_ids: Sequence[UUID]) -> list[Order]:
    """The orders of several checkouts, by id, locked."""
    return db.rows(
        Order,
        f"""
        SELECT {_COLUMNS}
        FROM orders WHERE checkout_id = ANY(%(checkout_ids)s) ORDER BY id FOR NO KEY UPDATE
        """,
        {"checkout_ids": list(checkout_ids)},
    )


def lock_one(db: Db, order_id: UUID) -> Order | None:
    """One order, locked; None: there is no such order."""
    return db.row(
        Order,
        f"SELECT {_COLUMNS} FROM orders WHERE id = %(id)s FOR NO KEY UPDATE",
        {"id": order_id},
    )


def by_id(db: Db, order_id: UUID) -> Order | None:
    """One order as it stands; nothing is locked."""
    return db.row(
        Order,
        f"SELECT {_COLUMNS} FROM orders WHERE id = %(id)s",
        {"id": order_id},
    )


def of_checkout(db: Db, checkout_id: UUID) -> list[Order]:
    """The orders of a checkout, by number; nothing is locked."""
    return db.rows(
        Order,
        f"SELECT {_COLUMNS} FROM orders WHERE checkout_id = %(checkout_id)s ORDER BY number",
        {"checkout_id": checkout_id},
    )


def new_number(db: Db) -> int:
    """One that no other order has or will have; for what becomes an order later."""
    number: int = db.value("SELECT nextval('order_numbers')")
    return number


def numbered(db: Db, number: int) -> Order | None:
    """The order that people call by this number."""
    return db.row(
        Order,
        f"SELECT {_COLUMNS} FROM orders WHERE number = %(number)s",
        {"number": number},
    )


def on_their_way(db: Db, member_id: UUID) -> list[int]:
    """The numbers of the orders, bought or sold, whose goods and code are to be exchanged."""
    found: list[int] | None = db.value(
        """
        SELECT array_agg(number ORDER BY number) FROM orders
        WHERE (buyer_id = %(member_id)s OR seller_id = %(member_id)s)
          AND state IN ('dispatched', 'delivered')
        """,
        {"member_id": member_id},
    )
    return found or []


def move(db: Db, order_id: UUID, to: str, now: datetime, **detail: object) -> None:
    """Take one order to the state `to`, with a line in its timeline. Raises WrongMove."""
    move_all(db, [order_id], to, now, detail=detail)


def move_all(
    db: Db,
    order_ids: Sequence[UUID],
    to: str,
    now: datetime,
    *,
    accept_by: datetime | None = None,
    dispatch_by: datetime | None = None,
    inspect_by: datetime | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Take these orders to the state `to`, each with a line in its timeline.

    accept_by, dispatch_by, inspect_by: the deadline that the move sets, if one.
    Raises WrongMove: one of them may not go there; the caller's transaction is to be given up.
    """
    moved = db.run(
        """
        UPDATE orders
        SET state = %(to)s, updated_at = %(now)s,
            accept_by = coalesce(%(accept_by)s, accept_by),
            dispatch_by = coalesce(%(dispatch_by)s, dispatch_by),
            inspect_by = coalesce(%(inspect_by)s, inspect_by)
        WHERE id = ANY(%(ids)s) AND state = ANY(%(from)s)
        """,
        {
            "to": to,
            "accept_by": accept_by,
            "dispatch_by": dispatch_by,
            "inspect_by": inspect_by,
            "ids": list(order_ids),
            "from": [state for state, targets in MOVES.items() if to in targets],
            "now": now,
        },
    )
    if moved != len(order_ids):
        raise WrongMove(f"{len(order_ids) - moved} of {len(order_ids)} orders cannot become {to}")
    note(db, order_ids, to, now, **(detail or {}))


def reduce(db: Db, order_id: UUID, cents: int, now: datetime) -> None:
    """So much of its total goes back to the buyer because less comes."""
    db.run(
        """
        UPDATE orders SET reduced_cents = reduced_cents + %(cents)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"cents": cents, "now": now, "id": order_id},
    )


def part_came(db: Db, order_id: UUID, cents: int, now: datetime) -> None:
    """So much of its total is the seller's, for a part that came; there is more to come."""
    db.run(
        """
        UPDATE orders SET came_cents = came_cents + %(cents)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"cents": cents, "now": now, "id": order_id},
    )


def note(db: Db, order_ids: Sequence[UUID], kind: str, now: datetime, **detail: object) -> None:
    """Write the same line into each order's timeline, and tell whom it concerns."""
    events = {order_id: db.new_id() for order_id in order_ids}
    db.run(
        """
        INSERT INTO order_events (id, order_id, kind, detail, at)
        SELECT id, order_id, %(kind)s, %(detail)s, %(now)s
        FROM unnest(%(ids)s::uuid[], %(order_ids)s::uuid[]) AS e (id, order_id)
        """,
        {
            "kind": kind,
            "detail": Jsonb(detail),
            "ids": list(events.values()),
            "order_ids": list(events),
            "now": now,
        },
    )
    messages.of_orders(db, kind, events, detail, now)


def noted(db: Db, order_id: UUID, kind: str, since: datetime) -> bool:
    """Does the order's timeline hold a line of this kind from then on?"""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM order_events
                           WHERE order_id = %(id)s AND kind = %(kind)s AND at >= %(since)s)
            """,
            {"id": order_id, "kind": kind, "since": since},
        )
    )


def timeline(db: Db, order_id: UUID) -> list[Event]:
    """Everything that happened to the order, oldest first."""
    return db.rows(
        Event,
        "SELECT kind, detail, at FROM order_events WHERE order_id = %(id)s ORDER BY at, id",
        {"id": order_id},
    )
