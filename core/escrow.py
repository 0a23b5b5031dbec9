"""Escrow: the money of one order, held between the buyer's payment and the goods in her hands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from core import earnings, ledger, refunds
from core.database import Db, metadata
from core.money import part_cents, whole_shillings

escrows = sa.Table(
    "escrows",
    metadata,
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("captured_cents", sa.BigInteger, nullable=False),
    sa.Column("released_cents", sa.BigInteger, nullable=False),  # to the seller, without the fee
    sa.Column("refunded_cents", sa.BigInteger, nullable=False),
    sa.Column("fee_cents", sa.BigInteger, nullable=False),  # taken so far
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("state IN ('none', 'held', 'frozen', 'settled')", name="state"),
    sa.CheckConstraint(
        "captured_cents >= 0 AND released_cents >= 0 AND refunded_cents >= 0 AND fee_cents >= 0",
        name="positive",
    ),
    sa.CheckConstraint(
        "released_cents + refunded_cents + fee_cents <= captured_cents", name="not_overdrawn"
    ),
    sa.CheckConstraint(
        "state <> 'settled' OR released_cents + refunded_cents + fee_cents = captured_cents",
        name="settled_whole",
    ),
    sa.CheckConstraint("(state = 'none') = (captured_cents = 0)", name="captured"),
)


class NotHeld(Exception):
    """Money was to leave an escrow that does not hold it: none, frozen, or settled already."""


def prepare(db: Db, order_ids: list[UUID], now: datetime) -> None:
    """An escrow for each order, with nothing in it yet."""
    db.run(
        """
        INSERT INTO escrows (order_id, state, captured_cents, released_cents, refunded_cents,
                             fee_cents, created_at, updated_at)
        SELECT order_id, 'none', 0, 0, 0, 0, %(now)s, %(now)s
        FROM unnest(%(order_ids)s::uuid[]) AS o (order_id)
        """,
        {"order_ids": order_ids, "now": now},
    )


def hold(db: Db, captured: Mapping[UUID, int], now: datetime) -> None:
    """The orders' money is here: cents by order. An escrow is filled once."""
    held = db.run(
        """
        UPDATE escrows e SET state = 'held', captured_cents = c.cents, updated_at = %(now)s
        FROM unnest(%(order_ids)s::uuid[], %(cents)s::bigint[]) AS c (order_id, cents)
        WHERE e.order_id = c.order_id AND e.state = 'none'
        """,
        {"order_ids": list(captured), "cents": list(captured.values()), "now": now},
    )
    assert held == len(captured), f"{held} of the escrows {list(captured)} could be held"


@dataclass(frozen=True)
class _Held:
    """buyer_id, seller_id, total_cents: the order's. order_fee_cents: fixed when it was placed."""

    buyer_id: UUID
    seller_id: UUID
    total_cents: int
    order_fee_cents: int
    captured_cents: int
    released_cents: int
    refunded_cents: int
    fee_cents: int

    @property
    def left_cents(self) -> int:
        return self.captured_cents - self.released_cents - self.refunded_cents - self.fee_cents

    def fee_of(self, gross_cents: int) -> int:
        """What the fee of all that the seller got grows by if he gets so much of it now."""
        gross_cents += self.released_cents + self.fee_cents
        return part_cents(self.order_fee_cents, gross_cents, self.total_cents) - self.fee_cents


def release(db: Db, order_id: UUID, now: datetime, cents: int | None = None) -> int:
    """So much goes to the seller, less the fee; what he gets, in cents.

    cents: of a part that came, less than all that is left; None for all of it. Of what went back
    to the buyer he pays no fee. The caller holds the order's lock.
    Raises NotHeld, also where less is left, and nothing has moved.
    """
    held = _lock(db, order_id)
    gross_cents = held.left_cents if cents is None else cents
    whole_shillings(gross_cents)
    if cents is not None and not 0 < cents < held.left_cents:
        raise NotHeld(f"{cents} is no part of the {held.left_cents} cents held for {order_id}")
    fee_cents = held.fee_of(gross_cents)
    net_cents = gross_cents - fee_cents
    legs = [
        ledger.debit(ledger.escrow(order_id), gross_cents),
        ledger.credit(ledger.seller(held.seller_id), net_cents),
        ledger.credit(ledger.FEES, fee_cents),
    ]
    moving = [leg for leg in legs if leg.amount_cents]  # the fee of a small order is nothing
    so_far = held.released_cents + held.fee_cents + gross_cents
    key = f"release:{order_id}" if cents is None else f"release:{order_id}:{so_far}"
    ledger.post(db, "release", key, moving, now)
    db.run(
        """
        UPDATE escrows
        SET state = %(state)s, released_cents = released_cents + %(net_cents)s,
            fee_cents = fee_cents + %(fee_cents)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {
            "state": "settled" if cents is None else "held",
            "net_cents": net_cents,
            "fee_cents": fee_cents,
            "now": now,
            "order_id": order_id,
        },
    )
    earnings.due(db, held.seller_id, now)
    return net_cents


def refund(db: Db, order_id: UUID, cents: int | None, now: datetime) -> int:
    """So much goes back to the buyer's balance; an escrow with nothing left is settled. The cents.

    cents: None for all that is left. The caller holds the order's lock.
    Raises NotHeld, also where less is left, and nothing has moved.
    """
    held = _lock(db, order_id)
    if cents is None:
        cents = held.left_cents
    whole_shillings(cents)
    if not 0 < cents <= held.left_cents:
        raise NotHeld(f"{cents} of {held.left_cents} cents cannot leave the escrow of {order_id}")
    refunded_cents = held.refunded_cents + cents
    ledger.post(
        db,
        "refund",
        f"refund:{order_id}:{refunded_cents}",
        [
            ledger.debit(ledger.escrow(order_id), cents),
            ledger.credit(ledger.buyer(held.buyer_id), cents),
        ],
        now,
    )
    db.run(
        """
        UPDATE escrows
        SET state = %(state)s, refunded_cents = %(refunded_cents)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {
            "state": "settled" if cents == held.left_cents else "held",
            "refunded_cents": refunded_cents,
            "now": now,
            "order_id": order_id,
        },
    )
    refunds.due(db, held.buyer_id, now)
    return cents


def take_back(db: Db, order_id: UUID, cents: int, now: datetime) -> int:
    """M-Pesa itself gave so much of it back to the payer: all of it leaves. What was in it.

    What is more than that goes to the buyer's balance. The caller holds the order's lock, and posts
    the `cents`. Raises NotHeld, also where less is left, and nothing has moved.
    """
    held = _lock(db, order_id)
    if not 0 < cents <= held.left_cents:
        raise NotHeld(f"{cents} of {held.left_cents} cents cannot leave the escrow of {order_id}")
    db.run(
        """
        UPDATE escrows
        SET state = %(state)s, refunded_cents = refunded_cents + %(cents)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {
            "state": "settled" if cents == held.left_cents else "held",
            "cents": cents,
            "now": now,
            "order_id": order_id,
        },
    )
    if cents < held.left_cents:
        refund(db, order_id, None, now)
    return held.left_cents


def freeze(db: Db, order_id: UUID, now: datetime) -> None:
    """Nothing leaves it until a dispute is decided. The caller holds the order's lock.

    Raises NotHeld: there is nothing in it, or it is frozen already.
    """
    frozen = db.run(
        """
        UPDATE escrows SET state = 'frozen', updated_at = %(now)s
        WHERE order_id = %(order_id)s AND state = 'held'
        """,
        {"order_id": order_id, "now": now},
    )
    if not frozen:
        raise NotHeld(f"the escrow of {order_id} holds nothing that could be frozen")


def thaw(db: Db, order_id: UUID, now: datetime) -> None:
    """The dispute is withdrawn: it is held as before. The caller holds the order's lock.

    Raises NotHeld: it is not frozen.
    """
    thawed = db.run(
        """
        UPDATE escrows SET state = 'held', updated_at = %(now)s
        WHERE order_id = %(order_id)s AND state = 'frozen'
        """,
        {"order_id": order_id, "now": now},
    )
    if not thawed:
        raise NotHeld(f"the escrow of {order_id} is not frozen")


def frozen_cents(db: Db, order_id: UUID) -> int:
    """What a decision is to divide. Raises NotHeld: it is not frozen."""
    return _lock(db, order_id, "frozen").left_cents


@dataclass(frozen=True)
class Divided:
    """Of a frozen escrow, in cents: to_buyer + to_seller + fee is what was in it."""

    to_buyer_cents: int
    to_seller_cents: int
    fee_cents: int


def settle(db: Db, order_id: UUID, to_buyer_cents: int, now: datetime) -> Divided:
    """A dispute is decided: so much goes back to the buyer, the rest to the seller, less his fee.

    Of what goes back he pays no fee. The caller holds the order's lock.
    Raises NotHeld: it is not frozen, or holds less; nothing has moved.
    """
    held = _lock(db, order_id, "frozen")
    whole_shillings(to_buyer_cents)
    if not 0 <= to_buyer_cents <= held.left_cents:
        raise NotHeld(
            f"{to_buyer_cents} of {held.left_cents} cents cannot leave the escrow of {order_id}"
        )
    fee_cents = held.fee_of(held.left_cents - to_buyer_cents)
    divided = Divided(to_buyer_cents, held.left_cents - to_buyer_cents - fee_cents, fee_cents)
    legs = [
        ledger.debit(ledger.escrow(order_id), held.left_cents),
        ledger.credit(ledger.buyer(held.buyer_id), divided.to_buyer_cents),
        ledger.credit(ledger.seller(held.seller_id), divided.to_seller_cents),
        ledger.credit(ledger.FEES, divided.fee_cents),
    ]
    moving = [leg for leg in legs if leg.amount_cents]
    ledger.post(db, "decision", f"decision:{order_id}", moving, now)
    db.run(
        """
        UPDATE escrows
        SET state = 'settled', released_cents = released_cents + %(to_seller_cents)s,
            refunded_cents = refunded_cents + %(to_buyer_cents)s,
            fee_cents = fee_cents + %(fee_cents)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {**vars(divided), "now": now, "order_id": order_id},
    )
    if divided.to_buyer_cents:
        refunds.due(db, held.buyer_id, now)
    if divided.to_seller_cents:
        earnings.due(db, held.seller_id, now)
    return divided


def _lock(db: Db, order_id: UUID, state: Literal["held", "frozen"] = "held") -> _Held:
    held = db.row(
        _Held,
        """
        SELECT o.buyer_id, o.seller_id, o.total_cents, o.fee_cents AS order_fee_cents,
               e.captured_cents, e.released_cents, e.refunded_cents, e.fee_cents
        FROM escrows e JOIN orders o ON o.id = e.order_id
        WHERE e.order_id = %(order_id)s AND e.state = %(state)s FOR NO KEY UPDATE OF e
        """,
        {"order_id": order_id, "state": state},
    )
    if held is None:
        raise NotHeld(f"the escrow of {order_id} is not {state}")
    return held
