"""Captures: a payer's money shared out over the orders of her checkout.

What M-Pesa cannot move at once comes in parts. A part lies in the buyer's balance, whoever paid it,
until the whole price is there; then one transfer fills the escrows.
"""

from collections.abc import Container, Mapping, Sequence
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

    @property
    def waiting(self) -> list[Order]:
        return [order for order in self.orders if order.state == "placed"]


@dataclass(frozen=True)
class _Checkout:
    id: UUID
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
    (payable,) = lock_all(db, [checkout_id])
    return payable


def lock_all(db: Db, checkout_ids: Sequence[UUID]) -> list[Payable]:
    """The same of several, by id: all checkouts before the first order."""
    found = db.rows(
        _Checkout,
        """
        SELECT id, buyer_id, (SELECT msisdn FROM members WHERE id = buyer_id) AS buyer_msisdn,
               state, total_cents, pay_by
        FROM checkouts WHERE id = ANY(%(ids)s) AND state <> 'draft' ORDER BY id FOR NO KEY UPDATE
        """,
        {"ids": list(checkout_ids)},
    )
    assert len(found) == len(checkout_ids), f"one of {checkout_ids} was never placed"
    of_all = orders.lock_all(db, checkout_ids)
    return [
        Payable(
            **vars(checkout), orders=[each for each in of_all if each.checkout_id == checkout.id]
        )
        for checkout in found
    ]


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
    (captured,) = capture_all(db, {key: payable}, source, now)
    return captured


def capture_all(
    db: Db, paid: Mapping[str, Payable], source: ledger.Account, now: datetime
) -> list[Captured]:
    """The same of several checkouts at once, by their keys."""
    payables = list(paid.values())
    waiting = [order.id for payable in payables for order in payable.waiting]
    filled_ids = stock.allocate(db, waiting, now) if waiting else set()
    shares = [_Share(payable, filled_ids) for payable in payables]
    ledger.post_all(
        db, [share.transfer(key, source) for key, share in zip(paid, shares, strict=True)], now
    )
    for share in shares:
        if share.rest_cents:
            refunds.due(db, share.payable.buyer_id, now)
    _close(db, shares, now)
    return [share.outcome for share in shares]


class _Share:
    """What a checkout's money does: the orders it fills, those it misses, and what is left."""

    def __init__(self, payable: Payable, filled_ids: Container[UUID]) -> None:
        self.payable = payable
        self.filled = [order for order in payable.waiting if order.id in filled_ids]
        self.missed = [order for order in payable.waiting if order.id not in filled_ids]
        self.closed = [order for order in payable.orders if order not in payable.waiting]
        self.rest_cents = payable.total_cents - sum(order.total_cents for order in self.filled)

    @property
    def outcome(self) -> Captured:
        if self.filled:
            return "held"
        return "second_payment" if self.payable.state == "paid" else "late"

    def transfer(self, key: str, source: ledger.Account) -> ledger.Transfer:
        legs = [
            ledger.debit(source, self.payable.total_cents),
            *(ledger.credit(ledger.escrow(order.id), order.total_cents) for order in self.filled),
        ]
        if self.rest_cents:
            legs.append(ledger.credit(ledger.buyer(self.payable.buyer_id), self.rest_cents))
        return ledger.Transfer("capture", key, legs)


def _close(db: Db, shares: Sequence[_Share], now: datetime) -> None:
    """Tell each order, and each checkout, what the money did for it."""
    filled = [order for share in shares for order in share.filled]
    missed = [order.id for share in shares for order in share.missed]
    if filled:
        escrow.hold(db, {order.id: order.total_cents for order in filled}, now)
        deliveries.begin(db, filled, now)
    if missed:
        orders.move_all(db, missed, "expired", now, detail={"reason": "sold_out"})
    for kind, state_is_paid in (("payment_second", True), ("payment_late", False)):
        closed = [
            order.id
            for share in shares
            if (share.payable.state == "paid") == state_is_paid
            for order in share.closed
        ]
        if closed:
            orders.note(db, closed, kind, now)
    ended = {
        share.payable.id: "paid" if share.filled else "expired"
        for share in shares
        if share.payable.waiting
    }
    if ended:
        db.run(
            """
            UPDATE checkouts k SET state = e.state, updated_at = %(now)s
            FROM unnest(%(ids)s::uuid[], %(states)s::text[]) AS e (id, state) WHERE k.id = e.id
            """,
            {"ids": list(ended), "states": list(ended.values()), "now": now},
        )
