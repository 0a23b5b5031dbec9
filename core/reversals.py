"""Reversals: payments that M-Pesa itself gave back to whoever paid, taken from where they lay.

Nobody asks us: the statement shows it, and staff book it (core.resolutions). What an escrow still
holds leaves it, and its order ends; what a seller has got is his up to what he still has, and the
rest is our loss, as the fee is. What is the buyer's, because it came late, twice or as a part, or
went back to her before, is taken from her balance in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from core import (
    captures,
    deliveries,
    escrow,
    incidents,
    ledger,
    messages,
    orders,
    receipts,
    reductions,
    stock,
    verdicts,
)
from core.captures import Payable
from core.database import Db
from core.money import show
from core.orders import Order
from core.staff import Actor

# An order that has cost nobody anything yet ends before one whose goods have left.
_ENDS_FIRST: Final = ("paid", "accepted", "dispatched", "delivered", "disputed")


@dataclass(frozen=True)
class _Purse:
    """An order's escrow: what is still in it, and what its seller and we have got of it."""

    order_id: UUID
    seller_id: UUID
    left_cents: int
    released_cents: int
    fee_cents: int


@dataclass(frozen=True)
class Reversal:
    """A payment that is the payer's again. Its checkout, orders and receipt are locked.

    payable: what it was to pay for; None: nobody knew, it lies in suspense. purses: the escrows
    that it filled, those to be emptied first before the others; none: it is the buyer's own.
    """

    receipt: str
    amount_cents: int
    payable: Payable | None
    purses: Sequence[_Purse]

    def shares(self) -> list[tuple[_Purse, int]]:
        """What is taken from each escrow, while there is something to take."""
        left_cents, found = self.amount_cents, []
        for purse in self.purses:
            taken_cents = min(left_cents, purse.left_cents)
            left_cents -= taken_cents
            found.append((purse, taken_cents))
        return [(purse, cents) for purse, cents in found if cents]


def find(db: Db, receipt: str, cents: int) -> Reversal | None:
    """The payment of that receipt, if it was so much and was not taken back before.

    Its buyer and sellers are locked as by whoever pays them out, and nobody sends meanwhile what
    is to be taken from them.
    """
    checkout_id: UUID | None = db.value(
        """
        SELECT c.checkout_id FROM receipts r JOIN charges c ON c.id = r.charge_id
        WHERE r.receipt = %(receipt)s
        """,
        {"receipt": receipt},
    )
    payable = captures.lock(db, checkout_id) if checkout_id else None
    if payable is not None:
        _lock_members(db, payable)
    outcome: str | None = db.value(
        """
        SELECT outcome FROM receipts
        WHERE receipt = %(receipt)s AND amount_cents = %(cents)s AND outcome <> ALL(%(gone)s)
          AND (charge_id IS NULL) = (%(checkout_id)s::uuid IS NULL)
        FOR NO KEY UPDATE
        """,
        {
            "receipt": receipt,
            "cents": cents,
            "gone": list(receipts.GONE),
            "checkout_id": checkout_id,
        },
    )
    if outcome is None:
        return None
    filled = payable is not None and payable.state == "paid"
    if outcome in ("late", "second_payment"):
        filled = False
    return Reversal(receipt, cents, payable, _purses(db, checkout_id) if filled else [])


def is_asked_for(db: Db, receipt: str) -> bool:
    """Did we ask M-Pesa ourselves to reverse it, or shall we? Then the proof of that settles it."""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM payouts
                           WHERE reverses_receipt = %(receipt)s AND state <> 'failed'
                             AND receipt IS NULL)
            """,
            {"receipt": receipt},
        )
    )


def is_on_its_way(db: Db, reversal: Reversal) -> bool:
    """Is something being sent to those from whom it is to be taken? Some of it may come back."""
    if reversal.payable is None:
        return False
    ids = [reversal.payable.buyer_id, *(purse.seller_id for purse in reversal.purses)]
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM payouts
                           WHERE member_id = ANY(%(ids)s) AND state NOT IN ('paid', 'failed'))
            """,
            {"ids": ids},
        )
    )


def legs(db: Db, reversal: Reversal) -> list[ledger.Leg]:
    """From where it is taken: together its amount. What nobody has any more is our loss."""
    if reversal.payable is None:
        return [ledger.debit(ledger.SUSPENSE, reversal.amount_cents)]
    found = [
        ledger.debit(ledger.escrow(purse.order_id), cents) for purse, cents in reversal.shares()
    ]
    missing_cents = reversal.amount_cents - sum(leg.amount_cents for leg in found)
    paid_out_cents = sum(purse.released_cents + purse.fee_cents for purse in reversal.purses)
    hers_cents = max(0, missing_cents - paid_out_cents)
    buyer = ledger.buyer(reversal.payable.buyer_id)
    found.append(ledger.debit(buyer, min(hers_cents, ledger.balance(db, buyer))))
    theirs_cents = missing_cents - hers_cents
    for purse in reversal.purses:
        share_cents = min(theirs_cents, purse.released_cents + purse.fee_cents)
        theirs_cents -= share_cents
        seller = ledger.seller(purse.seller_id)
        has_cents = min(purse.released_cents, ledger.balance(db, seller))
        found.append(ledger.debit(seller, min(share_cents, has_cents)))
    lost_cents = reversal.amount_cents - sum(leg.amount_cents for leg in found)
    found.append(ledger.debit(ledger.LOSS, lost_cents))
    return [leg for leg in found if leg.amount_cents]


def book(db: Db, reversal: Reversal, book_: ledger.Leg, key: str, by: Actor, now: datetime) -> None:
    """Take it from where it lies now, end what it paid for, and tell everybody.

    book_: the leg of M-Pesa's account, of as much as the reversal.
    """
    payable = reversal.payable
    if payable is not None:
        by_id = {order.id: order for order in payable.orders}
        for purse, cents in reversal.shares():
            _end(db, by_id[purse.order_id], cents, by, now)
        _lock_accounts(db, payable)
    taken = legs(db, reversal)
    ledger.post(db, "difference", key, [book_, *taken], now)
    _mark(db, reversal.receipt, now)
    if payable is None:
        _explain(db, reversal.receipt, now)
    else:
        _tell(db, reversal, payable, taken, now)


def _purses(db: Db, checkout_id: UUID | None) -> list[_Purse]:
    return db.rows(
        _Purse,
        """
        SELECT o.id AS order_id, o.seller_id, e.released_cents, e.fee_cents,
               e.captured_cents - e.released_cents - e.refunded_cents - e.fee_cents AS left_cents
        FROM orders o JOIN escrows e ON e.order_id = o.id
        WHERE o.checkout_id = %(checkout_id)s AND e.state <> 'none'
        ORDER BY array_position(%(stages)s::text[], o.state), o.number
        """,
        {"checkout_id": checkout_id, "stages": list(_ENDS_FIRST)},
    )


def _end(db: Db, order: Order, cents: int, by: Actor, now: datetime) -> None:
    """Its price is not there any more. What else its escrow holds is the buyer's."""
    if order.state in ("paid", "accepted"):
        deliveries.call_off(
            db, order, now, reason="payment_reversed", of_rest="rest_reversed", gone_cents=cents
        )
        return
    if order.state == "disputed":
        verdicts.overtake(db, order.id, by, now)
        escrow.thaw(db, order.id, now)
    reductions.lapse(db, order.id, now)
    stock.give_back_rest(db, order.id, now)
    escrow.take_back(db, order.id, cents, now)
    orders.move(db, order.id, "refunded", now, reason="sent_reversed")


def _lock_members(db: Db, payable: Payable) -> None:
    db.run(
        "SELECT FROM members WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE",
        {"ids": [payable.buyer_id, *(order.seller_id for order in payable.orders)]},
    )


def _lock_accounts(db: Db, payable: Payable) -> None:
    """Nobody's balance becomes less while the loss is reckoned."""
    found = [ledger.buyer(payable.buyer_id)]
    found += [ledger.seller(order.seller_id) for order in payable.orders]
    db.run(
        """
        SELECT FROM accounts WHERE id = ANY(%(ids)s) ORDER BY kind, owner_id FOR NO KEY UPDATE
        """,
        {"ids": [account.id for account in found]},
    )


def _mark(db: Db, receipt: str, now: datetime) -> None:
    """Its charge, if this is what had paid it, and what is known of the receipt itself."""
    values = {"receipt": receipt, "reversed": receipts.REVERSED, "now": now}
    db.run(
        """
        UPDATE charges SET state = %(reversed)s, updated_at = %(now)s
        WHERE receipt = %(receipt)s AND state = 'paid'
        """,
        values,
    )
    db.run(
        """
        UPDATE receipts SET outcome = %(reversed)s, updated_at = %(now)s
        WHERE receipt = %(receipt)s
        """,
        values,
    )


def _explain(db: Db, receipt: str, now: datetime) -> None:
    incidents.end(db, receipts.UNEXPLAINED, receipt, "M-Pesa does not have it", now)


def _tell(
    db: Db, reversal: Reversal, payable: Payable, taken: Sequence[ledger.Leg], now: datetime
) -> None:
    """Whoever has less of a balance now; the buyer of what is still to pay, or was paid out."""
    for leg in taken:
        if leg.account.kind in ("L.buyer", "L.seller") and leg.account.owner_id is not None:
            values = {"total": show(leg.amount_cents)}
            messages.of_member(db, "balance_reversed", leg.account.owner_id, values, now)
    paid_out = [each.order_id for each in reversal.purses if each.released_cents]
    if paid_out:
        orders.note(db, paid_out, "released_reversed", now)
    if payable.state == "placed":
        missing_cents = captures.missing_cents(db, payable.id)
        values = {"total": show(reversal.amount_cents), "missing": show(missing_cents)}
        messages.of_payment(db, "part_reversed", reversal.receipt, payable.id, values, now)
