"""Refunds: what comes back to a buyer is sent to her phone, without anybody asking.

Whatever credits her balance says that a refund is due; the task looks at what lies there. A receipt
whose money came back whole is reversed, which costs nothing and reaches whoever paid; the rest is
paid out to the line that paid last. Less than M-Pesa sends waits for more.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from core import freezes, ledger, members, messages, money, outbox, payouts
from core.database import Db
from core.rules import Rules

Refunded = Literal["nothing", "waits", "too_small", "sent", "frozen", "insolvent"]

# Safaricom publishes no limit for reversals; the payer may have spent or closed what is older.
REVERSE_WITHIN: Final = timedelta(hours=24)
LOOK_AGAIN: Final = timedelta(minutes=1)  # while the payment for a basket is not whole
INSOLVENT_AGAIN: Final = timedelta(hours=1)
SMALL_TOLD_EVERY: Final = timedelta(days=1)


def due(db: Db, member_id: UUID, now: datetime) -> None:
    """Money has come to the buyer's balance: it is sent to her, if this transaction commits."""
    outbox.put(db, "refund_balance", due_at=now, member_id=member_id)


def refund_balance(db: Db, member_id: UUID, rules: Rules, now: datetime) -> Refunded:
    """For the task refund_balance: send what lies in the buyer's balance.

    "waits": a part of the price of a basket that still waits for the rest; it is looked at again.
    "too_small": some or all of it is less than M-Pesa sends, stays on the balance, and she is told.
    """
    payer = _lock(db, member_id)
    left_cents = ledger.balance(db, ledger.buyer(member_id))
    left_cents -= left_cents % money.CENTS
    if not left_cents:
        return "nothing"
    pay_by = _basket_waits_until(db, member_id)
    if pay_by is not None:
        outbox.put(db, "refund_balance", due_at=max(pay_by, now) + LOOK_AGAIN, member_id=member_id)
        return "waits"
    if freezes.is_frozen(db, member_id):
        return "frozen"  # lifting that asks again
    sent_cents = 0
    for whole in _whole_receipts(db, member_id, now):
        if whole.amount_cents <= left_cents:
            if not _ask(db, member_id, "reversal", whole, rules, now):
                return "insolvent"
            sent_cents += whole.amount_cents
            left_cents -= whole.amount_cents
    if left_cents >= payouts.AMOUNT_CENTS_MIN:
        if not _ask(db, member_id, "refund", _Whole(None, left_cents, payer), rules, now):
            return "insolvent"
        sent_cents += left_cents
        left_cents = 0
    if sent_cents:
        values = {"total": money.show(sent_cents)}
        messages.of_member(db, "refund_sent", member_id, values, now)
    if left_cents:
        _tell_of_small(db, member_id, left_cents, now)
        return "too_small"
    return "sent"


@dataclass(frozen=True)
class _Whole:
    """Money to go back at once. receipt: None where it is no receipt's, or not all of one."""

    receipt: str | None
    amount_cents: int
    msisdn: str


def _lock(db: Db, member_id: UUID) -> str:
    """The member, before her account, as every payout does; the line that paid last, or her own."""
    db.run("SELECT FROM members WHERE id = %(id)s FOR NO KEY UPDATE", {"id": member_id})
    msisdn: str = db.value(
        """
        SELECT coalesce((
            SELECT c.msisdn FROM charges c JOIN checkouts k ON k.id = c.checkout_id
            WHERE k.buyer_id = m.id AND c.receipt IS NOT NULL
            ORDER BY c.updated_at DESC, c.id DESC LIMIT 1), m.msisdn)
        FROM members m WHERE m.id = %(id)s
        """,
        {"id": member_id},
    )
    return msisdn


def _basket_waits_until(db: Db, member_id: UUID) -> datetime | None:
    """Until when a part of a basket's price lies here and waits for the rest."""
    found: datetime | None = db.value(
        """
        SELECT max(k.pay_by) FROM checkouts k
        WHERE k.buyer_id = %(id)s AND k.state = 'placed' AND EXISTS (
            SELECT FROM charges c JOIN receipts r ON r.charge_id = c.id
            WHERE c.checkout_id = k.id AND r.outcome = 'short')
        """,
        {"id": member_id},
    )
    return found


def _whole_receipts(db: Db, member_id: UUID, now: datetime) -> list[_Whole]:
    """Receipts of which nothing was kept, and nothing taken out of the balance since, newest first.

    Kept is what an escrow took and did not give back. A second payment and a late one filled none.
    Taken is a payout that is no reversal, and what paid another basket from the balance. What was
    once to be reversed and could not be is not tried again.
    """
    return db.rows(
        _Whole,
        """
        SELECT r.receipt, r.amount_cents, c.msisdn
        FROM receipts r
        JOIN charges c ON c.id = r.charge_id
        JOIN checkouts k ON k.id = c.checkout_id
        WHERE k.buyer_id = %(member_id)s AND r.created_at > %(since)s
          AND r.amount_cents %% 100 = 0 AND r.amount_cents <= %(most)s
          AND (r.outcome IN ('second_payment', 'late') OR NOT EXISTS (
              SELECT FROM orders o JOIN escrows e ON e.order_id = o.id
              WHERE o.checkout_id = k.id AND e.captured_cents <> e.refunded_cents))
          AND NOT EXISTS (SELECT FROM payouts p WHERE p.reverses_receipt = r.receipt)
          AND NOT EXISTS (
              SELECT FROM payouts p
              WHERE p.member_id = k.buyer_id AND p.account = 'buyer' AND p.kind <> 'reversal'
                AND p.state <> 'failed' AND p.created_at >= r.created_at)
          AND NOT EXISTS (
              SELECT FROM entries e JOIN transfers t ON t.id = e.transfer_id
              WHERE e.account_id = %(account_id)s AND e.amount_cents > 0 AND t.kind = 'capture'
                AND t.at >= r.created_at AND t.key NOT IN (
                    SELECT 'capture:' || own.id FROM charges own WHERE own.checkout_id = k.id))
        ORDER BY r.created_at DESC, r.receipt
        """,
        {
            "member_id": member_id,
            "since": now - REVERSE_WITHIN,
            "most": payouts.AMOUNT_CENTS_MAX,
            "account_id": ledger.buyer(member_id).id,
        },
    )


def _ask(
    db: Db,
    member_id: UUID,
    kind: Literal["refund", "reversal"],
    what: _Whole,
    rules: Rules,
    now: datetime,
) -> bool:
    """False: nothing may leave now, and an incident is open; it is tried again later."""
    asked = payouts.request(
        db,
        member_id,
        "buyer",
        kind,
        what.amount_cents,
        rules,
        now,
        requested_by=payouts.SYSTEM,
        msisdn=what.msisdn,
        reverses_receipt=what.receipt,
    )
    assert asked not in ("not_whole", "too_small", "overdrawn", "frozen"), f"a refund is {asked}"
    if asked == "insolvent":
        outbox.put(db, "refund_balance", due_at=now + INSOLVENT_AGAIN, member_id=member_id)
        return False
    return True


def _tell_of_small(db: Db, member_id: UUID, cents: int, now: datetime) -> None:
    """Once a day: the same shillings are looked at whenever something is due."""
    member = members.by_id(db, member_id)
    if member is None or messages.told_since(
        db, "refund_small", member.msisdn, now - SMALL_TOLD_EVERY
    ):
        return
    messages.of_member(db, "refund_small", member_id, {"total": money.show(cents)}, now)
