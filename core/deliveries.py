"""Deliveries: a paid order on its way to the buyer, and its money on the way to the seller.

The seller accepts, sends, and types the code that the buyer gives him for the goods; that releases
the money at once. Whatever is not done in time is done by a timer: an outbox row that is set with
the order's move, and that may come early, late or twice.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import catalogue, days, escrow, incidents, orders, outbox, stock
from core.database import Db, metadata
from core.orders import Order
from core.rules import Rules

ACCEPT_WITHIN: Final = timedelta(hours=24)
DISPATCH_WITHIN_MIN: Final = timedelta(hours=4)  # for who accepts when the day is nearly over
INSPECT_WITHIN: Final = timedelta(hours=24)
# After the last moment to send it: nobody has said anything of the goods, so an operator asks.
SILENT_AFTER: Final = timedelta(hours=48)
TRIES_MAX: Final = 5  # of 10,000 codes
Reminded = Literal["reminded", "not_yet", "not_open"]

_ON_ITS_WAY: Final = ("paid", "accepted", "dispatched", "delivered")

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),  # of the code, which is not kept
    sa.Column("tries", sa.Integer, nullable=False),  # wrong ones, of this generation
    sa.Column("entered_at", sa.DateTime(timezone=True)),  # the right code
    sa.Column("claimed_at", sa.DateTime(timezone=True)),
    sa.Column("claim_note", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("generation > 0", name="generation"),
    sa.CheckConstraint(f"tries BETWEEN 0 AND {TRIES_MAX}", name="tries"),
)


@dataclass(frozen=True)
class _Reminder:
    """before: how long before the order's deadline it is sent, the earliest first."""

    state: str
    deadline: Literal["accept_by", "dispatch_by", "inspect_by"]
    before: Sequence[timedelta]


_REMINDERS: Final[Mapping[str, _Reminder]] = {
    "accept_reminder": _Reminder("paid", "accept_by", [timedelta(hours=12)]),
    "dispatch_reminder": _Reminder("accepted", "dispatch_by", [timedelta(hours=12)]),
    "inspection_reminder": _Reminder(
        "delivered", "inspect_by", [timedelta(hours=12), timedelta(hours=2)]
    ),
}


@dataclass(frozen=True)
class SellerOrder:
    """A paid order as its seller sees it. lines: product, thousandths of a unit, unit.

    title: what it is of where it has no lines.
    """

    id: UUID
    number: int
    state: str
    title: str | None
    lines: Sequence[Sequence[Any]]
    buyer_name: str = field(repr=False)  # the first one
    place: str
    deliver_on: date
    total_cents: int
    fee_cents: int
    accept_by: datetime
    dispatch_by: datetime | None
    inspect_by: datetime | None
    code_locked: bool

    @property
    def items(self) -> list[str]:
        return _items(self.title, self.lines)

    @property
    def goods(self) -> str:
        return ", ".join(self.items)

    @property
    def net_cents(self) -> int:
        return self.total_cents - self.fee_cents


@dataclass(frozen=True)
class BuyerOrder:
    """An order as its buyer sees it, paid or not. title, lines: as a SellerOrder's."""

    id: UUID
    checkout_id: UUID
    number: int
    state: str
    title: str | None
    lines: Sequence[Sequence[Any]]
    seller_name: str = field(repr=False)
    place: str
    deliver_on: date
    total_cents: int
    pay_by: datetime
    accept_by: datetime | None
    dispatch_by: datetime | None
    inspect_by: datetime | None
    code_locked: bool

    @property
    def goods(self) -> str:
        return ", ".join(_items(self.title, self.lines))


@dataclass(frozen=True)
class SellerLine:
    """One of a seller's paid orders, as a list shows it."""

    id: UUID
    number: int
    state: str
    buyer_name: str = field(repr=False)  # the first one
    deliver_on: date
    total_cents: int
    fee_cents: int

    @property
    def net_cents(self) -> int:
        return self.total_cents - self.fee_cents


def begin(db: Db, paid: Sequence[Order], now: datetime) -> None:
    """These orders are paid and their goods allocated: their sellers are asked to accept.

    Who gave his word before has accepted.
    """
    asked = [order.id for order in paid if not order.agreed]
    agreed = [order for order in paid if order.agreed]
    accept_by = now + ACCEPT_WITHIN
    if asked:
        orders.move_all(db, asked, "paid", now, accept_by=accept_by)
    for order in agreed:
        by = {"reason": "agreed_paid", "dispatch_by": _dispatch_by(order, now).isoformat()}
        orders.move_all(db, [order.id], "paid", now, accept_by=now, detail=by)
    order_ids = [order.id for order in paid]
    db.run(
        """
        INSERT INTO deliveries (order_id, generation, tries, created_at, updated_at)
        SELECT order_id, 1, 0, %(now)s, %(now)s FROM unnest(%(ids)s::uuid[]) AS o (order_id)
        """,
        {"ids": order_ids, "now": now},
    )
    orders.note(db, order_ids, "delivery_code", now)
    _set_timers(db, asked, "accept_reminder", "accept_deadline", accept_by, now)
    for order in agreed:
        _accepted(db, order, now, reason="agreed")


def accept(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime
) -> Literal["accepted", "not_open"]:
    """The seller will send it, by the end of its day."""
    order = _sellers(db, order_id, seller_id, "paid")
    if order is None:
        return "not_open"
    _accepted(db, order, now)
    return "accepted"


def refuse(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime
) -> Literal["refused", "not_open"]:
    """The seller will not send it: the buyer has her money back, he his goods."""
    order = _sellers(db, order_id, seller_id, "paid", "accepted")
    if order is None:
        return "not_open"
    _call_off(db, order_id, now, reason="refused")
    return "refused"


def dispatch(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime
) -> Literal["dispatched", "not_open"]:
    """The goods have left the seller; from here on she cannot cancel."""
    order = _sellers(db, order_id, seller_id, "accepted")
    if order is None:
        return "not_open"
    stock.dispatch(db, order_id, now)
    orders.move(db, order_id, "dispatched", now)
    outbox.put(db, "delivery_deadline", due_at=_silent_at(order), order_id=order_id)
    return "dispatched"


def enter_code(
    db: Db, order_id: UUID, seller_id: UUID, typed: str, rules: Rules, now: datetime
) -> Literal["released", "wrong_code", "code_locked", "frozen", "not_open"]:
    """The buyer gave the seller her code, so she has the goods: the money is his at once.

    "code_locked": by this or an earlier wrong one; only a new code of the buyer's opens it again.
    "frozen": the code is right and kept in evidence, but a dispute holds the money.
    """
    order = _sellers(db, order_id, seller_id, "dispatched", "delivered", "disputed")
    if order is None:
        return "not_open"
    slip = _slip(db, order_id)
    if slip.tries >= TRIES_MAX:
        return "code_locked"
    right = code(rules, order_id, slip.generation)
    if not hmac.compare_digest(typed.encode(errors="replace"), right.encode()):
        return _count_wrong(db, order_id, slip.tries + 1, now)
    db.run(
        """
        UPDATE deliveries SET entered_at = coalesce(entered_at, %(now)s), updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "order_id": order_id},
    )
    if order.state == "disputed":
        orders.note(db, [order_id], "code_kept", now)
        return "frozen"
    orders.note(db, [order_id], "code_accepted", now)
    _complete(db, order_id, now)
    return "released"


def claim(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime, note: str | None = None
) -> Literal["claimed", "not_open"]:
    """The seller says, without her code, that she has the goods: she has a day to object.

    note: what he says in evidence.
    """
    order = _sellers(db, order_id, seller_id, "dispatched")
    if order is None:
        return "not_open"
    inspect_by = now + INSPECT_WITHIN
    db.run(
        """
        UPDATE deliveries SET claimed_at = %(now)s, claim_note = %(note)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "note": note, "order_id": order_id},
    )
    detail = {"inspect_by": inspect_by.isoformat()}
    orders.move_all(db, [order_id], "delivered", now, inspect_by=inspect_by, detail=detail)
    _set_timers(db, [order_id], "inspection_reminder", "inspection_over", inspect_by, now)
    return "claimed"


def received(
    db: Db, order_id: UUID, buyer_id: UUID, now: datetime
) -> Literal["released", "not_open"]:
    """The buyer says that she has the goods: the money is the seller's at once."""
    order = _buyers(db, order_id, buyer_id, "dispatched", "delivered")
    if order is None:
        return "not_open"
    orders.note(db, [order_id], "received", now)
    _complete(db, order_id, now)
    return "released"


def cancel(
    db: Db, order_id: UUID, buyer_id: UUID, now: datetime
) -> Literal["cancelled", "not_open"]:
    """The buyer does not want a paid order any more, and it was not sent: her money is back."""
    order = _buyers(db, order_id, buyer_id, "paid", "accepted")
    if order is None:
        return "not_open"
    _call_off(db, order_id, now)
    return "cancelled"


def new_code(
    db: Db, order_id: UUID, buyer_id: UUID, now: datetime
) -> Literal["renewed", "not_open"]:
    """A code that nobody has seen or tried; the one before is void."""
    order = _buyers(db, order_id, buyer_id, *_ON_ITS_WAY)
    if order is None:
        return "not_open"
    db.run(
        """
        UPDATE deliveries SET generation = generation + 1, tries = 0, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "order_id": order_id},
    )
    orders.note(db, [order_id], "code_renewed", now)
    return "renewed"


def code(rules: Rules, order_id: UUID, generation: int) -> str:
    """Four digits, derived, so that they are kept nowhere."""
    of_what = b"delivery" + order_id.bytes + generation.to_bytes(4, "big")
    digest = hmac.new(rules.token_key, of_what, sha256).digest()
    return f"{int.from_bytes(digest, 'big') % 10_000:04}"


def code_of(db: Db, order_id: UUID, rules: Rules) -> str | None:
    """The code that the order's buyer may give now, to be sent to her; None: it has no use."""
    return _valid_code(db, order_id, None, rules)


def show_code(db: Db, order_id: UUID, buyer_id: UUID, rules: Rules) -> str | None:
    """The same for her screen. None: it has no use, or the order is not hers."""
    return _valid_code(db, order_id, buyer_id, rules)


def remind_to_accept(db: Db, order_id: UUID, now: datetime) -> Reminded:
    """For the timer accept_reminder: the seller has not said whether he will send it."""
    return _remind(db, "accept_reminder", order_id, now)


def remind_to_dispatch(db: Db, order_id: UUID, now: datetime) -> Reminded:
    """For the timer dispatch_reminder: its day has come, and it is not sent."""
    return _remind(db, "dispatch_reminder", order_id, now)


def remind_to_inspect(db: Db, order_id: UUID, now: datetime) -> Reminded:
    """For the timer inspection_reminder: the buyer's time to object is running out."""
    return _remind(db, "inspection_reminder", order_id, now)


def accept_missed(
    db: Db, order_id: UUID, now: datetime
) -> Literal["cancelled", "not_yet", "not_open"]:
    """For the timer accept_deadline: nobody said that the goods will come, so her money is back."""
    order = _lock(db, order_id, "paid")
    if order is None:
        return "not_open"
    if _too_soon(db, "accept_deadline", order, order.accept_by, now):
        return "not_yet"
    _call_off(db, order_id, now, reason="accept_missed")
    return "cancelled"


def dispatch_missed(
    db: Db, order_id: UUID, now: datetime
) -> Literal["cancelled", "not_yet", "not_open"]:
    """For the timer dispatch_deadline: the goods were not sent on their day; her money is back."""
    order = _lock(db, order_id, "accepted")
    if order is None:
        return "not_open"
    if _too_soon(db, "dispatch_deadline", order, order.dispatch_by, now):
        return "not_yet"
    _call_off(db, order_id, now, reason="dispatch_missed")
    return "cancelled"


def silent(db: Db, order_id: UUID, now: datetime) -> Literal["asked", "not_yet", "not_open"]:
    """For the timer delivery_deadline: sent, and then nobody said a word; an operator asks both.

    The money stays where it is: who has the goods is not for a clock to say.
    """
    order = _lock(db, order_id, "dispatched")
    if order is None:
        return "not_open"
    if _too_soon(db, "delivery_deadline", order, _silent_at(order), now):
        return "not_yet"
    incidents.open(db, "delivery_silent", order_id, now, number=order.number)
    return "asked"


def inspection_over(
    db: Db, order_id: UUID, now: datetime
) -> Literal["released", "not_yet", "not_open"]:
    """For the timer inspection_over: she did not object in time, so the money is the seller's."""
    order = _lock(db, order_id, "delivered")
    if order is None:
        return "not_open"
    if _too_soon(db, "inspection_over", order, order.inspect_by, now):
        return "not_yet"
    _complete(db, order_id, now)
    return "released"


def resume(db: Db, order_id: UUID, now: datetime) -> Literal["released", "delivered", "dispatched"]:
    """Its dispute is withdrawn and its money held again: it goes on from where it stood.

    The buyer's time to look at the goods begins anew. The right code, typed while it was disputed,
    counts now.
    """
    order = _lock(db, order_id, "disputed")
    assert order is not None, f"order {order_id} is not disputed"
    slip = _slip(db, order_id)
    if slip.entered:
        orders.note(db, [order_id], "code_accepted", now)
        _complete(db, order_id, now)
        return "released"
    if slip.claimed:
        by = now + INSPECT_WITHIN
        detail = {"reason": "inspected_anew", "inspect_by": by.isoformat()}
        orders.move_all(db, [order_id], "delivered", now, inspect_by=by, detail=detail)
        _set_timers(db, [order_id], "inspection_reminder", "inspection_over", by, now)
        return "delivered"
    orders.move(db, order_id, "dispatched", now, reason="resumed")
    due_at = max(_silent_at(order), now + INSPECT_WITHIN)
    outbox.put(db, "delivery_deadline", due_at=due_at, order_id=order_id)
    return "dispatched"


# Of the order o, in the words of %(language)s.
_LINES: Final[LiteralString] = """(
    SELECT coalesce(json_agg(json_build_array(
        coalesce(p.names->>%(language)s, p.names->>'en'),
        l.quantity_milli,
        coalesce(p.units->%(language)s, p.units->'en')
            ->> CASE WHEN l.quantity_milli = 1000 THEN 'one' ELSE 'many' END
    ) ORDER BY l.created_at, l.id), '[]')
    FROM lines l JOIN products p ON p.id = l.product_id WHERE l.order_id = o.id)"""


def orders_of_seller(db: Db, seller_id: UUID, limit: int) -> list[SellerLine]:
    """His paid orders: those on their way first, by the day they are wanted; then the newest."""
    return db.rows(
        SellerLine,
        """
        SELECT o.id, o.number, o.state, split_part(b.name, ' ', 1) AS buyer_name, o.deliver_on,
               o.total_cents, o.fee_cents
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
        SELECT o.id, o.number, o.state, o.title, {_LINES} AS lines,
               split_part(b.name, ' ', 1) AS buyer_name, q.name AS place, o.deliver_on,
               o.total_cents, o.fee_cents, o.accept_by, o.dispatch_by, o.inspect_by,
               coalesce(d.tries >= {TRIES_MAX}, false) AS code_locked
        FROM orders o
        JOIN members b ON b.id = o.buyer_id
        JOIN places q ON q.id = o.place_id
        LEFT JOIN deliveries d ON d.order_id = o.id
        WHERE o.id = %(order_id)s AND o.seller_id = %(seller_id)s AND o.accept_by IS NOT NULL
        """,
        {"order_id": order_id, "seller_id": seller_id, "language": language},
    )


def for_buyer(db: Db, order_id: UUID, buyer_id: UUID, language: str) -> BuyerOrder | None:
    """One of her orders; None: it is not hers."""
    return db.row(
        BuyerOrder,
        f"""
        SELECT o.id, o.checkout_id, o.number, o.state, o.title, {_LINES} AS lines,
               s.name AS seller_name, q.name AS place, o.deliver_on,
               o.total_cents, o.pay_by, o.accept_by, o.dispatch_by, o.inspect_by,
               coalesce(d.tries >= {TRIES_MAX}, false) AS code_locked
        FROM orders o
        JOIN members s ON s.id = o.seller_id
        JOIN places q ON q.id = o.place_id
        LEFT JOIN deliveries d ON d.order_id = o.id
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


def _lock(db: Db, order_id: UUID, *states: str) -> Order | None:
    """The order, locked, if it is in one of these states."""
    order = orders.lock_one(db, order_id)
    return order if order is not None and order.state in states else None


def _sellers(db: Db, order_id: UUID, seller_id: UUID, *states: str) -> Order | None:
    order = _lock(db, order_id, *states)
    return order if order is not None and order.seller_id == seller_id else None


def _buyers(db: Db, order_id: UUID, buyer_id: UUID, *states: str) -> Order | None:
    order = _lock(db, order_id, *states)
    return order if order is not None and order.buyer_id == buyer_id else None


def _dispatch_by(order: Order, now: datetime) -> datetime:
    """By when it is to be sent if it is accepted now: the end of its day."""
    return max(days.end(order.deliver_on), now + DISPATCH_WITHIN_MIN)


def _accepted(db: Db, order: Order, now: datetime, **detail: str) -> None:
    by = _dispatch_by(order, now)
    orders.move_all(db, [order.id], "accepted", now, dispatch_by=by, detail=detail)
    _set_timers(db, [order.id], "dispatch_reminder", "dispatch_deadline", by, now)


def _complete(db: Db, order_id: UUID, now: datetime) -> None:
    escrow.release(db, order_id, now)
    orders.move(db, order_id, "completed", now)


def _call_off(db: Db, order_id: UUID, now: datetime, **detail: str) -> None:
    """The goods stay with the seller, the money goes back; stock first, in the order of locks."""
    stock.give_back(db, order_id, now)
    escrow.refund(db, order_id, None, now)
    orders.move(db, order_id, "cancelled", now, **detail)


@dataclass(frozen=True)
class _Slip:
    """generation: of the code that is good now. tries: wrong ones made of it.

    entered: the right one was typed. claimed: the seller says that she has the goods.
    """

    generation: int
    tries: int
    entered: bool
    claimed: bool


def _slip(db: Db, order_id: UUID) -> _Slip:
    slip = db.row(
        _Slip,
        """
        SELECT generation, tries, entered_at IS NOT NULL AS entered,
               claimed_at IS NOT NULL AS claimed
        FROM deliveries WHERE order_id = %(id)s
        """,
        {"id": order_id},
    )
    assert slip is not None, f"order {order_id} is paid, and has no code"
    return slip


def _count_wrong(
    db: Db, order_id: UUID, tries: int, now: datetime
) -> Literal["wrong_code", "code_locked"]:
    db.run(
        """
        UPDATE deliveries SET tries = %(tries)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"tries": tries, "now": now, "order_id": order_id},
    )
    if tries < TRIES_MAX:
        return "wrong_code"
    orders.note(db, [order_id], "code_locked", now)
    return "code_locked"


def _valid_code(db: Db, order_id: UUID, buyer_id: UUID | None, rules: Rules) -> str | None:
    generation: int | None = db.value(
        """
        SELECT d.generation FROM deliveries d JOIN orders o ON o.id = d.order_id
        WHERE o.id = %(order_id)s AND o.state = ANY(%(states)s)
          AND o.buyer_id = coalesce(%(buyer_id)s, o.buyer_id)
        """,
        {"order_id": order_id, "states": list(_ON_ITS_WAY), "buyer_id": buyer_id},
    )
    return None if generation is None else code(rules, order_id, generation)


def _set_timers(
    db: Db,
    order_ids: Sequence[UUID],
    reminder_kind: str,
    deadline_kind: str,
    by: datetime,
    now: datetime,
) -> None:
    """What is due at the deadline, and at the first reminder before it that is still to come."""
    remind_at = _next_at(_REMINDERS[reminder_kind], by, now)
    due = {reminder_kind: remind_at, deadline_kind: by}
    outbox.put_all(
        db,
        [
            outbox.Wanted(kind, due_at, {"order_id": order_id})
            for kind, due_at in due.items()
            if due_at is not None
            for order_id in order_ids
        ],
    )


def _remind(db: Db, kind: str, order_id: UUID, now: datetime) -> Reminded:
    """Once for each of its times, however often the timer comes; the next one is set here."""
    reminder = _REMINDERS[kind]
    order = _lock(db, order_id, reminder.state)
    if order is None:
        return "not_open"
    by: datetime = getattr(order, reminder.deadline)
    next_at = _next_at(reminder, by, now)
    if next_at is not None:
        outbox.put(db, kind, due_at=next_at, order_id=order_id)
    since = max((by - before for before in reminder.before if by - before <= now), default=None)
    if since is None:
        return "not_yet"
    if by <= now or orders.noted(db, order_id, kind, since):
        return "not_open"
    orders.note(db, [order_id], kind, now, **{reminder.deadline: by.isoformat()})
    return "reminded"


def _next_at(reminder: _Reminder, by: datetime, now: datetime) -> datetime | None:
    return min((by - before for before in reminder.before if by - before > now), default=None)


def _too_soon(db: Db, kind: str, order: Order, by: datetime | None, now: datetime) -> bool:
    """Is there time left? Then the timer is set anew."""
    assert by is not None, f"order {order.id} is {order.state} without its deadline"
    if by <= now:
        return False
    outbox.put(db, kind, due_at=by, order_id=order.id)
    return True


def _silent_at(order: Order) -> datetime:
    assert order.dispatch_by is not None, f"order {order.id} was sent, and never accepted"
    return order.dispatch_by + SILENT_AFTER
