"""Captures: a payer's money shared out over the orders of her checkout.

What M-Pesa cannot move at once comes in parts. A part lies in the buyer's balance, whoever paid it,
until the whole price is there; then one transfer fills the escrows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from core import deliveries, escrow, ledger, orders, receipts, refunds, stock
from core.database import Db
from core.orders import Order

Captured = Literal["held", "late", "second_payment"]


@dataclass(frozen=True)
class Payable:
    """A checkout as money finds it: locked, with its orders."""

    id: UUID
    buyer_id: UUID
    buyer_msisdn: str = field(repr=False)
    state: str
    total_cents: int
    pay_by: datetime
    orders: Sequence[Order]


@dataclass(frozen=True)
class _Checkout:
    buyer_id: UUID
    buyer_msisdn: str = field(repr=False)
    state: str
    total_cents: int
    pay_by: datetime


def lock(db: Db, checkout_id: UUID) -> Payable:
    """The checkout, then its orders: the first two of the locks that every payment takes.

    NO KEY, here and in every other lock: PostgreSQL itself locks the keys that a changed row refers
    to, checkouts after charges for example, and that must not wait for us while we wait for it.
    """
    found = db.row(
        _Checkout,
        """
        SELECT buyer_id, (SELECT msisdn FROM members WHERE id = buyer_id) AS buyer_msisdn,
               state, total_cents, pay_by
        FROM checkouts WHERE id = %(id)s AND state <> 'draft' FOR NO KEY UPDATE
        """,
        {"id": checkout_id},
    )
    assert found is not None, f"checkout {checkout_id} was never placed"
    return Payable(
        checkout_id,
        found.buyer_id,
        found.buyer_msisdn,
        found.state,
        found.total_cents,
        found.pay_by,
        orders.lock(db, checkout_id),
    )


def missing_cents(db: Db, checkout_id: UUID) -> int:
    """What is still to come of a placed checkout's price: all of it until a part has come.

    Then what the buyer's balance lacks, since that will pay. 0: it could be paid from there.
    """
    missing: int = db.value(
        f"""
        SELECT greatest(0, k.total_cents - CASE WHEN {receipts.BEGUN}
            THEN coalesce((SELECT balance_cents FROM accounts
                           WHERE kind = 'L.buyer' AND owner_id = k.buyer_id), 0) ELSE 0 END)
        FROM checkouts k WHERE k.id = %(id)s
        """,
        {"id": checkout_id},
    )
    return missing


def complete(db: Db, payable: Payable, key: str, now: datetime) -> Captured | Literal["part"]:
    """A part has come to the buyer's balance: if the whole price lies there now, it is captured.

    "part": it does not, and waits for the rest. "late", "second_payment": nothing waited for it.
    """
    if payable.state != "placed":
        return "second_payment" if payable.state == "paid" else "late"
    mine = ledger.buyer(payable.buyer_id)
    if ledger.balance(db, mine) < payable.total_cents:
        return "part"
    return capture(db, payable, key, mine, now)


def capture(db: Db, payable: Payable, key: str, source: ledger.Account, now: datetime) -> Captured:
    """Move the checkout's whole total from `source`: to escrow for each order that can still be
    filled, the rest to the buyer's balance.

    Called before the charge's own state says "paid": a reservation counts while its charge is open.
    "late": no order waited for it any more; "second_payment": they were paid already.
    An escrow is locked after stock here: nobody touches it without its order's lock, held by now.
    """
    waiting = [order for order in payable.orders if order.state == "placed"]
    filled_ids = stock.allocate(db, [order.id for order in waiting], now) if waiting else set()
    filled = [order for order in waiting if order.id in filled_ids]
    rest_cents = payable.total_cents - sum(order.total_cents for order in filled)
    legs = [
        ledger.debit(source, payable.total_cents),
        *(ledger.credit(ledger.escrow(order.id), order.total_cents) for order in filled),
    ]
    if rest_cents:
        legs.append(ledger.credit(ledger.buyer(payable.buyer_id), rest_cents))
    posted = ledger.post(db, "capture", key, legs, now)
    assert posted == "posted", f"{key} was captured before"
    if rest_cents:
        refunds.due(db, payable.buyer_id, now)
    _close(db, payable, waiting, filled, now)
    if filled:
        return "held"
    return "second_payment" if payable.state == "paid" else "late"


def _close(
    db: Db, payable: Payable, waiting: Sequence[Order], filled: Sequence[Order], now: datetime
) -> None:
    """Tell each order, and the checkout, what the money did for it."""
    paid = [order.id for order in filled]
    missed = [order.id for order in waiting if order.id not in paid]
    others = [order.id for order in payable.orders if order not in waiting]
    if paid:
        escrow.hold(db, {order.id: order.total_cents for order in filled}, now)
        deliveries.begin(db, filled, now)
    if missed:
        orders.move_all(db, missed, "expired", now, detail={"reason": "sold_out"})
    if others:
        kind = "payment_second" if payable.state == "paid" else "payment_late"
        orders.note(db, others, kind, now)
    if waiting:
        db.run(
            "UPDATE checkouts SET state = %(state)s, updated_at = %(now)s WHERE id = %(id)s",
            {"state": "paid" if paid else "expired", "now": now, "id": payable.id},
        )
