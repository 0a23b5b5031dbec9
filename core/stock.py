"""Stock: how much of an offer can still be promised to a buyer.

What can be promised is computed when it is asked for: a reservation counts while its time runs or
a payment for it may still come in, so no sweep is needed for it to lapse.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata
from core.records import records

stock = sa.Table(
    "stock",
    metadata,
    sa.Column("offer_id", sa.Uuid, sa.ForeignKey("offers.id"), primary_key=True),
    sa.Column("on_hand_milli", sa.BigInteger, nullable=False),
    sa.Column("allocated_milli", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("allocated_milli >= 0", name="allocated_milli"),
    sa.CheckConstraint("on_hand_milli >= allocated_milli", name="on_hand_milli"),
)

stock_movements = sa.Table(
    "stock_movements",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("offer_id", sa.Uuid, sa.ForeignKey("stock.offer_id"), nullable=False, index=True),
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("quantity_milli", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("kind IN ('received', 'dispatched', 'corrected')", name="kind"),
    sa.CheckConstraint("quantity_milli <> 0", name="quantity_milli"),
)

reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("offer_id", sa.Uuid, sa.ForeignKey("stock.offer_id"), nullable=False),
    sa.Column("checkout_id", sa.Uuid, sa.ForeignKey("checkouts.id"), nullable=False),
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), nullable=False, index=True),
    sa.Column("quantity_milli", sa.BigInteger, nullable=False),  # of a part sent, what is left
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("quantity_milli > 0", name="quantity_milli"),
    sa.CheckConstraint("state IN ('live', 'allocated', 'released', 'consumed')", name="state"),
    sa.UniqueConstraint("checkout_id", "offer_id"),
    sa.Index("ix_reservations_live", "offer_id", postgresql_where=sa.text("state = 'live'")),
)

# Does the reservation r still hold its goods at %(now)s? Not after its time, unless a charge for
# it is open: a payer who is typing her PIN must not lose what she pays for.
LIVE: LiteralString = """(r.state = 'live' AND (r.until > %(now)s OR EXISTS (
    SELECT FROM charges c
    WHERE c.checkout_id = r.checkout_id AND c.state IN ('created', 'pending', 'unknown'))))"""

# What can still be promised of the stock row s at %(now)s; for anybody's SELECT.
AVAILABLE_MILLI: LiteralString = f"""(s.on_hand_milli - s.allocated_milli - coalesce((
    SELECT sum(r.quantity_milli) FROM reservations r
    WHERE r.offer_id = s.offer_id AND {LIVE}), 0)::bigint)"""


@dataclass(frozen=True)
class Wanted:
    """A line of an order, as far as stock is concerned."""

    order_id: UUID
    offer_id: UUID
    quantity_milli: int


def receive(db: Db, offer_id: UUID, quantity_milli: int, reason: str, now: datetime) -> None:
    """Goods came in; the offer's stock begins with the first."""
    assert quantity_milli > 0, f"{quantity_milli} thousandths of a unit cannot come in"
    db.run(
        """
        INSERT INTO stock (offer_id, on_hand_milli, allocated_milli, created_at, updated_at)
        VALUES (%(offer_id)s, %(quantity_milli)s, 0, %(now)s, %(now)s)
        ON CONFLICT (offer_id) DO UPDATE
        SET on_hand_milli = stock.on_hand_milli + excluded.on_hand_milli, updated_at = %(now)s
        """,
        {"offer_id": offer_id, "quantity_milli": quantity_milli, "now": now},
    )
    db.run(
        """
        INSERT INTO stock_movements (id, offer_id, kind, quantity_milli, reason, at)
        VALUES (%(id)s, %(offer_id)s, 'received', %(quantity_milli)s, %(reason)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "offer_id": offer_id,
            "quantity_milli": quantity_milli,
            "reason": reason,
            "now": now,
        },
    )


def count_out(
    db: Db, offer_id: UUID, quantity_milli: int, reason: str, now: datetime
) -> Literal["taken", "not_enough"]:
    """Goods are gone that no order of ours took: spoilt, or sold elsewhere.

    "not_enough": so many are not there but for what buyers were promised; nothing is changed.
    """
    assert quantity_milli > 0, f"{quantity_milli} thousandths of a unit cannot be gone"
    lock(db, [offer_id])
    if quantity_milli > available(db, [offer_id], now)[offer_id]:
        return "not_enough"
    _move_out(db, [_Gone(offer_id, quantity_milli)], "corrected", reason, None, now)
    return "taken"


def lock(db: Db, offer_ids: Sequence[UUID]) -> None:
    """Nobody else promises or takes of these until the transaction ends."""
    db.run(
        """
        SELECT FROM stock WHERE offer_id = ANY(%(offer_ids)s) ORDER BY offer_id FOR NO KEY UPDATE
        """,
        {"offer_ids": list(offer_ids)},
    )


@dataclass(frozen=True)
class _Available:
    offer_id: UUID
    available_milli: int


def available(db: Db, offer_ids: Sequence[UUID], now: datetime) -> dict[UUID, int]:
    """What can be promised of each, in thousandths. What never had stock is 0.

    Only after `lock` is it still true in the next statement.
    """
    found = db.rows(
        _Available,
        f"""
        SELECT s.offer_id, greatest({AVAILABLE_MILLI}, 0) AS available_milli
        FROM stock s WHERE s.offer_id = ANY(%(offer_ids)s)
        """,
        {"offer_ids": list(offer_ids), "now": now},
    )
    return dict.fromkeys(offer_ids, 0) | {row.offer_id: row.available_milli for row in found}


def reserve(
    db: Db, checkout_id: UUID, wanted: Sequence[Wanted], until: datetime, now: datetime
) -> None:
    """Promise these goods to the checkout until then. The caller has locked and looked."""
    db.run(
        """
        INSERT INTO reservations (id, offer_id, checkout_id, order_id, quantity_milli, state,
                                  until, created_at, updated_at)
        SELECT id, offer_id, %(checkout_id)s, order_id, quantity_milli, 'live',
               %(until)s, %(now)s, %(now)s
        FROM json_to_recordset(%(wanted)s::json)
            AS w (id uuid, offer_id uuid, order_id uuid, quantity_milli bigint)
        """,
        {
            "checkout_id": checkout_id,
            "wanted": records([{"id": db.new_id(), **vars(line)} for line in wanted]),
            "until": until,
            "now": now,
        },
    )


def still_promised(db: Db, order_ids: Sequence[UUID], now: datetime) -> bool:
    """Is there still enough for every promise made of these orders' offers? They stay locked.

    An order that no goods of ours were promised to needs none.
    """
    promises = _lock_promises(db, order_ids, now, count_all=True)
    return all(p.live and p.available_milli >= 0 for p in promises)


@dataclass(frozen=True)
class _Promise:
    id: UUID
    order_id: UUID
    offer_id: UUID
    quantity_milli: int
    live: bool
    unallocated_milli: int
    available_milli: int


def allocate(db: Db, order_ids: Sequence[UUID], now: datetime) -> set[UUID]:
    """These orders are paid: their goods become theirs, in this order. Returns those that got all.

    A reservation that lapsed is honoured where nobody else was promised the goods meanwhile; an
    order that cannot be filled whole gets nothing, and its reservation is released. One that was
    promised nothing lacks nothing.
    """
    promises = _lock_promises(db, order_ids, now)
    unallocated = {p.offer_id: p.unallocated_milli for p in promises}
    available = {p.offer_id: p.available_milli for p in promises if not p.live}
    filled = set()
    for order_id in order_ids:
        mine = [p for p in promises if p.order_id == order_id]
        if any(p.quantity_milli > (unallocated if p.live else available)[p.offer_id] for p in mine):
            continue
        filled.add(order_id)
        for p in mine:
            unallocated[p.offer_id] -= p.quantity_milli
            if not p.live:
                available[p.offer_id] -= p.quantity_milli
    _settle_promises(db, promises, filled, now)
    return filled


def _lock_promises(
    db: Db, order_ids: Sequence[UUID], now: datetime, *, count_all: bool = False
) -> list[_Promise]:
    """The orders' reservations with what their offers have left; the stock rows stay locked.

    What is available of a live one's offer is counted only if asked for, for that reads every
    other promise of the offer; else it is 0.
    """
    db.run(
        """
        SELECT FROM stock
        WHERE offer_id IN (SELECT offer_id FROM reservations WHERE order_id = ANY(%(order_ids)s))
        ORDER BY offer_id FOR NO KEY UPDATE
        """,
        {"order_ids": list(order_ids)},
    )
    return db.rows(
        _Promise,
        f"""
        SELECT r.id, r.order_id, r.offer_id, r.quantity_milli, {LIVE} AS live,
               s.on_hand_milli - s.allocated_milli AS unallocated_milli,
               CASE WHEN %(count_all)s OR NOT {LIVE} THEN {AVAILABLE_MILLI} ELSE 0 END
                   AS available_milli
        FROM reservations r JOIN stock s USING (offer_id)
        WHERE r.order_id = ANY(%(order_ids)s) AND r.state = 'live'
        """,
        {"order_ids": list(order_ids), "now": now, "count_all": count_all},
    )


def _settle_promises(
    db: Db, promises: Sequence[_Promise], filled: set[UUID], now: datetime
) -> None:
    taken: Counter[UUID] = Counter()
    for promise in promises:
        if promise.order_id in filled:
            taken[promise.offer_id] += promise.quantity_milli
    db.run(
        """
        WITH settled AS (
            UPDATE reservations
            SET state = CASE WHEN order_id = ANY(%(filled)s) THEN 'allocated' ELSE 'released' END,
                updated_at = %(now)s
            WHERE id = ANY(%(ids)s)
        )
        UPDATE stock s SET allocated_milli = allocated_milli + quantity_milli, updated_at = %(now)s
        FROM unnest(%(offer_ids)s::uuid[], %(quantities)s::bigint[]) AS t (offer_id, quantity_milli)
        WHERE s.offer_id = t.offer_id
        """,
        {
            "filled": list(filled),
            "ids": [p.id for p in promises],
            "offer_ids": list(taken),
            "quantities": list(taken.values()),
            "now": now,
        },
    )


def release(db: Db, order_ids: Sequence[UUID], now: datetime) -> None:
    """These orders will not be paid: what was promised to them is free."""
    db.run(
        """
        UPDATE reservations SET state = 'released', updated_at = %(now)s
        WHERE order_id = ANY(%(order_ids)s) AND state = 'live'
        """,
        {"order_ids": list(order_ids), "now": now},
    )


@dataclass(frozen=True)
class _Gone:
    offer_id: UUID
    quantity_milli: int


def give_back(db: Db, order_id: UUID, now: datetime) -> None:
    """A paid order will not be sent: what was allocated to it can be promised again."""
    _free(db, _take_allocation(db, order_id, "released", now), now)


def give_back_rest(db: Db, order_id: UUID, now: datetime) -> None:
    """The same where a part was sent before, or all of it."""
    _free(db, _take_allocation(db, order_id, "released", now, sent_before=True), now)


def take_off(
    db: Db, order_id: UUID, offer_id: UUID, quantity_milli: int, restock: bool, now: datetime
) -> None:
    """So much of a paid order will not be sent.

    restock: it can be promised again; else it is not there, and is counted out.
    """
    free = _take_part(db, order_id, {offer_id: quantity_milli}, "released", now)
    _free(db, free, now)
    if not restock:
        _move_out(db, free, "corrected", "short of an order", order_id, now)


def dispatch(db: Db, order_id: UUID, now: datetime, part: Mapping[UUID, int] | None = None) -> None:
    """A paid order is sent: what was allocated to it leaves the seller's stock.

    part: so much only, in thousandths by offer, of each no more than is allocated.
    """
    if part is None:
        gone = _take_allocation(db, order_id, "consumed", now)
    else:
        gone = _take_part(db, order_id, part, "consumed", now)
    _move_out(db, gone, "dispatched", "order", order_id, now)


def _free(db: Db, free: Sequence[_Gone], now: datetime) -> None:
    """These, of stock rows that are locked, are nobody's any more."""
    db.run(
        """
        UPDATE stock s
        SET allocated_milli = s.allocated_milli - g.quantity_milli, updated_at = %(now)s
        FROM unnest(%(offer_ids)s::uuid[], %(quantities)s::bigint[]) AS g (offer_id, quantity_milli)
        WHERE s.offer_id = g.offer_id
        """,
        {
            "now": now,
            "offer_ids": [line.offer_id for line in free],
            "quantities": [line.quantity_milli for line in free],
        },
    )


def _take_allocation(
    db: Db,
    order_id: UUID,
    state: Literal["released", "consumed"],
    now: datetime,
    *,
    sent_before: bool = False,
) -> list[_Gone]:
    """End the order's allocation in this state; what it was. The stock rows stay locked.

    sent_before: perhaps nothing of it is left.
    """
    promised = _lock_of_order(db, order_id)
    gone = db.rows(
        _Gone,
        """
        UPDATE reservations SET state = %(state)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s AND state = 'allocated'
        RETURNING offer_id, quantity_milli
        """,
        {"state": state, "now": now, "order_id": order_id},
    )
    assert gone or sent_before or not promised, f"nothing is allocated to order {order_id}"
    return gone


def _take_part(
    db: Db,
    order_id: UUID,
    part: Mapping[UUID, int],
    state: Literal["released", "consumed"],
    now: datetime,
) -> list[_Gone]:
    """The same of so much only, by offer; a reservation of which nothing is left ends so."""
    _lock_of_order(db, order_id)
    taken = db.run(
        """
        UPDATE reservations r
        SET quantity_milli = r.quantity_milli
                - CASE WHEN r.quantity_milli > p.milli THEN p.milli ELSE 0 END,
            state = CASE WHEN r.quantity_milli > p.milli THEN r.state ELSE %(state)s END,
            updated_at = %(now)s
        FROM unnest(%(offer_ids)s::uuid[], %(quantities)s::bigint[]) AS p (offer_id, milli)
        WHERE r.order_id = %(order_id)s AND r.offer_id = p.offer_id
          AND r.state = 'allocated' AND r.quantity_milli >= p.milli
        """,
        {
            "state": state,
            "now": now,
            "offer_ids": list(part),
            "quantities": list(part.values()),
            "order_id": order_id,
        },
    )
    assert taken == len(part), f"{taken} of {len(part)} offers had so much for order {order_id}"
    return [_Gone(offer_id, milli) for offer_id, milli in part.items()]


def _lock_of_order(db: Db, order_id: UUID) -> int:
    """How many offers it has ever been promised goods of."""
    return db.run(
        """
        SELECT FROM stock
        WHERE offer_id IN (SELECT offer_id FROM reservations WHERE order_id = %(order_id)s)
        ORDER BY offer_id FOR NO KEY UPDATE
        """,
        {"order_id": order_id},
    )


def _move_out(
    db: Db,
    gone: Sequence[_Gone],
    kind: Literal["dispatched", "corrected"],
    reason: str,
    order_id: UUID | None,
    now: datetime,
) -> None:
    """Take these from the stock rows, which are locked; of an order also from its allocation."""
    db.run(
        """
        WITH gone AS (
            SELECT * FROM unnest(%(ids)s::uuid[], %(offer_ids)s::uuid[], %(quantities)s::bigint[])
                AS g (id, offer_id, quantity_milli)
        ), moved AS (
            INSERT INTO stock_movements (id, offer_id, order_id, kind, quantity_milli, reason, at)
            SELECT id, offer_id, %(order_id)s, %(kind)s, -quantity_milli, %(reason)s, %(now)s
            FROM gone
        )
        UPDATE stock s
        SET on_hand_milli = s.on_hand_milli - g.quantity_milli,
            allocated_milli = s.allocated_milli
                - CASE WHEN %(kind)s = 'dispatched' THEN g.quantity_milli ELSE 0 END,
            updated_at = %(now)s
        FROM gone g WHERE s.offer_id = g.offer_id
        """,
        {
            "ids": [db.new_id() for _ in gone],
            "offer_ids": [line.offer_id for line in gone],
            "quantities": [line.quantity_milli for line in gone],
            "order_id": order_id,
            "kind": kind,
            "reason": reason,
            "now": now,
        },
    )
