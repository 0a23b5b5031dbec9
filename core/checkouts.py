"""Checkouts: carts that were confirmed: placed, paid for, or given up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa

from core import captures, charges, days, escrow, money, orders, outbox, refunds, stock
from core.database import Db, metadata
from core.money import fee_cents, line_cents
from core.orders import Receiver
from core.rules import Rules

TOTAL_CENTS_MAX: Final = 10 * charges.AMOUNT_CENTS_MAX  # ten payments, one after the other
NEXT_PART_WITHIN: Final = timedelta(minutes=5)  # what each part after the first adds to the time
REMIND_BEFORE: Final = timedelta(minutes=5)  # the time to pay is over
ASK_AGAIN: Final = timedelta(seconds=60)  # whether a checkout past its time has been paid
PART_AGAIN: Final = timedelta(seconds=15)  # whether its payer's phone may be prompted

Placed = Literal[
    "placed",
    "cart_empty",
    "sold_out",
    "price_changed",
    "too_many_open",
    "payment_open",
    "too_soon",
    "unwilling",
    "day_over",
]
Asked = Literal["asked", "not_open", "payment_open", "too_soon", "unwilling"]

checkouts = sa.Table(
    "checkouts",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("buyer_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("total_cents", sa.BigInteger, nullable=False),  # 0 until placed
    sa.Column("placed_at", sa.DateTime(timezone=True)),
    sa.Column("pay_by", sa.DateTime(timezone=True)),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(
        "state IN ('draft', 'placed', 'paid', 'expired', 'cancelled')", name="state"
    ),
    sa.CheckConstraint(
        "CASE WHEN state = 'draft'"
        " THEN total_cents = 0 AND placed_at IS NULL AND pay_by IS NULL"
        " ELSE total_cents > 0 AND placed_at IS NOT NULL AND pay_by IS NOT NULL END",
        name="placed",
    ),
    sa.Index(
        "uq_checkouts_draft",
        "buyer_id",
        unique=True,
        postgresql_where=sa.text("state = 'draft'"),
    ),
)

lines = sa.Table(
    "lines",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("checkout_id", sa.Uuid, sa.ForeignKey("checkouts.id"), nullable=False),
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), index=True),
    sa.Column("offer_id", sa.Uuid, sa.ForeignKey("offers.id"), nullable=False, index=True),
    sa.Column("product_id", sa.Uuid, sa.ForeignKey("products.id"), nullable=False),
    sa.Column("seller_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("quantity_milli", sa.BigInteger, nullable=False),
    sa.Column("price_cents", sa.BigInteger, nullable=False),  # of one unit
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    # Of the quantity (core.trips): taken off by agreement; come in earlier trips; left for another.
    sa.Column("reduced_milli", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("came_milli", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("behind_milli", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(
        "reduced_milli >= 0 AND came_milli >= 0 AND behind_milli >= 0"
        " AND reduced_milli + came_milli + behind_milli <= quantity_milli",
        name="parts",
    ),
    sa.CheckConstraint("quantity_milli > 0", name="quantity_milli"),
    sa.CheckConstraint("price_cents > 0", name="price_cents"),
    sa.CheckConstraint("amount_cents > 0 AND amount_cents % 100 = 0", name="amount_cents"),
    sa.UniqueConstraint("checkout_id", "offer_id"),
)


def place(
    db: Db,
    buyer_id: UUID,
    payer_msisdn: str,
    shown_total_cents: int,
    rules: Rules,
    now: datetime,
    *,
    deliver_on: date | None = None,
    place_id: UUID | None = None,
    receiver: Receiver | None = None,
) -> Placed:
    """Confirm the cart: stock reserved, an order and an escrow for each seller, the payer asked.

    All or nothing. "sold_out": the cart is cut to what is left. "price_changed": the cart holds the
    new prices, or it is another one than she was shown. "too_many_open": she has checkouts to pay
    first. "payment_open", "too_soon": the payer's phone cannot be prompted now, "unwilling": nor
    again today (charges.permit). Of more than M-Pesa moves at once the first part is asked for.
    deliver_on: None is tomorrow; "day_over" if it has passed since she chose it. place_id: where to
    bring it; None: to her own place. receiver: to whom, with the code; None: to her.
    """
    today = days.today(now)
    day = today + timedelta(days=1) if deliver_on is None else deliver_on
    if day < today:
        return "day_over"
    draft = db.row(
        _Draft,
        """
        SELECT id, (SELECT count(*) FROM checkouts
                    WHERE buyer_id = %(buyer_id)s AND state = 'placed') AS open_checkouts
        FROM checkouts WHERE buyer_id = %(buyer_id)s AND state = 'draft' FOR NO KEY UPDATE
        """,
        {"buyer_id": buyer_id},
    )
    chosen = [] if draft is None else _chosen(db, draft.id)
    if draft is None or not chosen:
        return "cart_empty"
    if draft.open_checkouts >= rules.open_checkouts_max:
        return "too_many_open"
    first_cents = min(shown_total_cents, charges.AMOUNT_CENTS_MAX)
    permitted = charges.permit(db, draft.id, payer_msisdn, first_cents, now)
    if permitted != "clear":
        return "payment_open" if permitted == "already_open" else permitted
    offer_ids = [line.offer_id for line in chosen]
    stock.lock(db, offer_ids)
    left = stock.available(db, offer_ids, now)
    kept = _fitting([_cut(line, left[line.offer_id]) for line in chosen])
    if kept != chosen:
        _rewrite(db, draft.id, kept, now)
        quantities = [line.quantity_milli for line in kept]
        if quantities != [line.quantity_milli for line in chosen]:
            return "sold_out"
        return "price_changed"
    total_cents = sum(line.amount_cents for line in kept)
    if total_cents != shown_total_cents:
        return "price_changed"
    to = _Destination(day, place_id, receiver)
    _commit(db, draft.id, buyer_id, kept, payer_msisdn, total_cents, to, rules, now)
    return "placed"


@dataclass(frozen=True)
class Agreed:
    """is_asked: the payer's phone will be prompted."""

    order_id: UUID
    is_asked: bool


def agree(
    db: Db,
    buyer_id: UUID,
    order: orders.NewOrder,
    payer_msisdn: str | None,
    deliver_on: date,
    pay_by: datetime,
    rules: Rules,
    now: datetime,
) -> Agreed:
    """An order that two people agreed on, with a title in place of lines: its checkout, placed.

    payer_msisdn: whom to ask for the money if the phone may be asked now; None: nobody yet.
    """
    checkout_id = db.new_id()
    db.run(
        """
        INSERT INTO checkouts (id, buyer_id, state, total_cents, placed_at, pay_by, created_at,
                               updated_at)
        VALUES (%(id)s, %(buyer_id)s, 'placed', %(total_cents)s, %(now)s, %(pay_by)s, %(now)s,
                %(now)s)
        """,
        {
            "id": checkout_id,
            "buyer_id": buyer_id,
            "total_cents": order.total_cents,
            "pay_by": pay_by,
            "now": now,
        },
    )
    placed = orders.place(db, checkout_id, buyer_id, [order], pay_by, deliver_on, None, None, now)
    order_id = placed[order.seller_id]
    escrow.prepare(db, [order_id], now)
    first_cents, *_later = charges.parts(order.total_cents)
    is_asked = payer_msisdn is not None and (
        charges.open(db, checkout_id, payer_msisdn, first_cents, rules, now) == "opened"
    )
    outbox.put_all(db, _timers(checkout_id, pay_by, now))
    return Agreed(order_id, is_asked)


def pay_again(
    db: Db, checkout_id: UUID, buyer_id: UUID, payer_msisdn: str, rules: Rules, now: datetime
) -> Asked:
    """Ask for what is missing of a placed checkout's price, while its goods are still promised.

    At once no more than M-Pesa moves. "not_open" also where it needed no asking: all is there.
    """
    payable = captures.lock(db, checkout_id)
    if payable.buyer_id != buyer_id or payable.state != "placed" or payable.pay_by <= now:
        return "not_open"
    missing_cents = captures.missing_cents(db, checkout_id)
    if not missing_cents:
        captures.complete(db, payable, f"capture:{checkout_id}", now)
        return "not_open"
    asked_cents = min(missing_cents, charges.AMOUNT_CENTS_MAX)
    permitted = charges.permit(db, checkout_id, payer_msisdn, asked_cents, now)
    if permitted != "clear":
        return "payment_open" if permitted == "already_open" else permitted
    # A new charge keeps reservations alive past their time; a neighbour whose clock runs ahead of
    # ours may hold them for lapsed at this moment.
    if not stock.still_promised(db, [order.id for order in payable.orders], now):
        return "not_open"
    charges.create(db, checkout_id, payer_msisdn, asked_cents, rules, now)
    return "asked"


def ask_next(db: Db, charge_id: UUID, rules: Rules, now: datetime) -> Asked:
    """For the timer next_part: by this charge a part was paid; its payer is asked for the next.

    "payment_open" and "too_soon" on account of another checkout have set the timer anew.
    """
    paid = charges.by_id(db, charge_id)
    assert paid is not None, f"no charge {charge_id}"
    payable = captures.lock(db, paid.checkout_id)
    asked = pay_again(db, payable.id, payable.buyer_id, paid.msisdn, rules, now)
    asked_already = any(c.state in charges.OPEN for c in charges.of_checkout(db, payable.id))
    if asked in ("payment_open", "too_soon") and not asked_already:
        outbox.put(db, "next_part", due_at=now + PART_AGAIN, charge_id=charge_id)
    return asked


def remind(db: Db, checkout_id: UUID, now: datetime) -> Literal["reminded", "not_yet", "not_open"]:
    """For the timer payment_reminder: it is not paid, and soon it will be too late; said once.

    "not_yet" has set the timer anew.
    """
    payable = captures.lock(db, checkout_id)
    remind_at = payable.pay_by - REMIND_BEFORE
    if payable.state != "placed" or payable.pay_by <= now:
        return "not_open"
    if now < remind_at:
        outbox.put(db, "payment_reminder", due_at=remind_at, checkout_id=checkout_id)
        return "not_yet"
    waiting = [order.id for order in payable.orders if order.state == "placed"]
    if orders.noted(db, waiting[0], "payment_reminder", remind_at):
        return "not_open"
    missing = money.show(captures.missing_cents(db, checkout_id))
    orders.note(db, waiting, "payment_reminder", now, total=missing)
    return "reminded"


def expire(db: Db, checkout_id: UUID, now: datetime) -> Literal["expired", "not_yet", "not_open"]:
    """For the timer expire_checkout: nobody paid in time, and nobody is being asked.

    "not_yet" has set the timer anew.
    """
    payable = captures.lock(db, checkout_id)
    if payable.state != "placed":
        return "not_open"
    asked = any(c.state in charges.OPEN for c in charges.of_checkout(db, checkout_id))
    if payable.pay_by > now or asked:
        due_at = max(payable.pay_by, now + ASK_AGAIN) if asked else payable.pay_by
        outbox.put(db, "expire_checkout", due_at=due_at, checkout_id=checkout_id)
        return "not_yet"
    _give_up(db, payable, "expired", now)
    return "expired"


def cancel(
    db: Db, checkout_id: UUID, buyer_id: UUID, now: datetime
) -> Literal["cancelled", "not_open"]:
    """She does not want it any more. What an open prompt still brings is her balance."""
    payable = captures.lock(db, checkout_id)
    if payable.buyer_id != buyer_id or payable.state != "placed":
        return "not_open"
    _give_up(db, payable, "cancelled", now)
    charges.withdraw(db, checkout_id, now)
    return "cancelled"


@dataclass(frozen=True)
class _Destination:
    """place_id None: the buyer's own place. receiver None: herself."""

    deliver_on: date
    place_id: UUID | None
    receiver: Receiver | None


@dataclass(frozen=True)
class _Draft:
    id: UUID
    open_checkouts: int


@dataclass(frozen=True)
class _Line:
    """A line of the cart. The first five are as the cart has them, the others as the offer does."""

    id: UUID
    offer_id: UUID
    seller_id: UUID
    quantity_milli: int
    price_cents: int
    amount_cents: int
    offered_cents: int | None  # a unit, now; None: no longer for sale
    minimum_milli: int
    step_milli: int


def _chosen(db: Db, checkout_id: UUID) -> list[_Line]:
    return db.rows(
        _Line,
        """
        SELECT l.id, l.offer_id, l.seller_id, l.quantity_milli, l.price_cents, l.amount_cents,
               CASE WHEN o.active AND p.active AND m.deleted_at IS NULL THEN o.price_cents END
                   AS offered_cents,
               o.minimum_milli, p.step_milli
        FROM lines l
        JOIN offers o ON o.id = l.offer_id
        JOIN products p ON p.id = l.product_id
        JOIN members m ON m.id = l.seller_id
        WHERE l.checkout_id = %(checkout_id)s
        ORDER BY l.created_at, l.id
        """,
        {"checkout_id": checkout_id},
    )


def _cut(line: _Line, available_milli: int) -> _Line | None:
    """The line at today's price and what is left, in whole steps; None: too little is left."""
    if line.offered_cents is None:
        return None
    quantity_milli = line.quantity_milli
    if quantity_milli > available_milli:
        quantity_milli = available_milli - available_milli % line.step_milli
    if quantity_milli < line.minimum_milli:
        return None
    return replace(
        line,
        quantity_milli=quantity_milli,
        price_cents=line.offered_cents,
        amount_cents=line_cents(line.offered_cents, quantity_milli),
    )


def _fitting(cut: Sequence[_Line | None]) -> list[_Line]:
    """What is left of the cart; its last lines go where new prices make it too large."""
    kept = [line for line in cut if line is not None]
    while sum(line.amount_cents for line in kept) > TOTAL_CENTS_MAX:
        kept.pop()
    return kept


def _rewrite(db: Db, checkout_id: UUID, kept: Sequence[_Line], now: datetime) -> None:
    """Make the cart what is left of it."""
    db.run(
        "DELETE FROM lines WHERE checkout_id = %(checkout_id)s AND id <> ALL(%(ids)s)",
        {"checkout_id": checkout_id, "ids": [line.id for line in kept]},
    )
    db.run(
        """
        UPDATE lines l SET quantity_milli = k.quantity_milli, price_cents = k.price_cents,
                           amount_cents = k.amount_cents, updated_at = %(now)s
        FROM unnest(%(ids)s::uuid[], %(quantities)s::bigint[], %(prices)s::bigint[],
                    %(amounts)s::bigint[]) AS k (id, quantity_milli, price_cents, amount_cents)
        WHERE l.id = k.id
        """,
        {
            "ids": [line.id for line in kept],
            "quantities": [line.quantity_milli for line in kept],
            "prices": [line.price_cents for line in kept],
            "amounts": [line.amount_cents for line in kept],
            "now": now,
        },
    )


def _commit(
    db: Db,
    checkout_id: UUID,
    buyer_id: UUID,
    kept: Sequence[_Line],
    payer_msisdn: str,
    total_cents: int,
    to: _Destination,
    rules: Rules,
    now: datetime,
) -> None:
    """The cart becomes orders. Everything it needs is locked and was looked at."""
    first_cents, *later = charges.parts(total_cents)
    pay_by = now + timedelta(minutes=rules.reservation_minutes) + len(later) * NEXT_PART_WITHIN
    by_seller = sorted(kept, key=attrgetter("seller_id"))
    new = [
        _new_order(seller_id, [line.amount_cents for line in group], rules)
        for seller_id, group in groupby(by_seller, key=attrgetter("seller_id"))
    ]
    order_ids = orders.place(
        db, checkout_id, buyer_id, new, pay_by, to.deliver_on, to.place_id, to.receiver, now
    )
    db.run(
        """
        WITH placed AS (
            UPDATE checkouts SET state = 'placed', total_cents = %(total_cents)s,
                                 placed_at = %(now)s, pay_by = %(pay_by)s, updated_at = %(now)s
            WHERE id = %(id)s
        )
        UPDATE lines l SET order_id = o.order_id, updated_at = %(now)s
        FROM unnest(%(seller_ids)s::uuid[], %(order_ids)s::uuid[]) AS o (seller_id, order_id)
        WHERE l.checkout_id = %(id)s AND l.seller_id = o.seller_id
        """,
        {
            "total_cents": total_cents,
            "now": now,
            "pay_by": pay_by,
            "id": checkout_id,
            "seller_ids": list(order_ids),
            "order_ids": list(order_ids.values()),
        },
    )
    escrow.prepare(db, list(order_ids.values()), now)
    wanted = [
        stock.Wanted(order_ids[line.seller_id], line.offer_id, line.quantity_milli) for line in kept
    ]
    stock.reserve(db, checkout_id, wanted, pay_by, now)
    timers = _timers(checkout_id, pay_by, now)
    charges.create(db, checkout_id, payer_msisdn, first_cents, rules, now, timers)


def _timers(checkout_id: UUID, pay_by: datetime, now: datetime) -> list[outbox.Wanted]:
    due = {"payment_reminder": pay_by - REMIND_BEFORE, "expire_checkout": pay_by}
    return [
        outbox.Wanted(kind, due_at, {"checkout_id": checkout_id})
        for kind, due_at in due.items()
        if due_at > now  # no reminder where the whole time is shorter
    ]


def _new_order(seller_id: UUID, amounts: Sequence[int], rules: Rules) -> orders.NewOrder:
    total_cents = sum(amounts)
    return orders.NewOrder(seller_id, total_cents, fee_cents(total_cents, rules.fee_basis_points))


def _give_up(
    db: Db, payable: captures.Payable, state: Literal["expired", "cancelled"], now: datetime
) -> None:
    """Close the checkout unpaid: its orders that still wait, and what was promised to them."""
    waiting = [order.id for order in payable.orders if order.state == "placed"]
    orders.move_all(db, waiting, state, now)
    stock.release(db, waiting, now)
    if captures.missing_cents(db, payable.id) < payable.total_cents:
        refunds.due(db, payable.buyer_id, now)
    db.run(
        "UPDATE checkouts SET state = %(state)s, updated_at = %(now)s WHERE id = %(id)s",
        {"state": state, "now": now, "id": payable.id},
    )
