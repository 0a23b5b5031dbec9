"""Escrow: the money of one order, held between the buyer's payment and the goods in her hands."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata

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
