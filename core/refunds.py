"""Refunds: what comes back to a buyer is sent to her phone, without anybody asking.

Whatever credits her balance says that a refund is due; the task looks at what lies there. A receipt
whose money came back whole is reversed, which costs nothing and reaches whoever paid, while the
collection float still holds as much; the rest is paid out to the lines that paid for what came
back. Less than M-Pesa sends waits for more.

A line that is not the buyer's own has paid where it answered our prompt. What was paid by hand may
come from any phone, whose number M-Pesa masks, so what is left of that goes to the buyer.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

from core import (
    freezes,
    incidents,
    ledger,
    members,
    messages,
    money,
    numbers,
    outbox,
    payouts,
    phone,
    receipts,
    solvency,
)
from core.database import Db
from core.rules import Rules

Refunded = Literal["nothing", "waits", "too_small", "nowhere", "sent", "frozen", "insolvent"]

# Safaricom publishes no limit for reversals; the payer may have spent or closed what is older.
REVERSE_WITHIN: Final = timedelta(hours=24)
LOOK_AGAIN: Final = timedelta(minutes=1)  # while the payment for a basket is not whole
INSOLVENT_AGAIN: Final = timedelta(hours=1)
SMALL_TOLD_EVERY: Final = timedelta(days=1)
CREDITS_MAX: Final = 50  # that are looked through for the lines that paid


def due(db: Db, member_id: UUID, now: datetime) -> None:
    """Money has come to the buyer's balance: it is sent to her, if this transaction commits."""
    outbox.put(db, "refund_balance", due_at=now, member_id=member_id)


def refund_balance(db: Db, member_id: UUID, rules: Rules, now: datetime) -> Refunded:
    """For the task refund_balance: send what lies in the buyer's balance.

    "waits": a part of the price of a basket that still waits for the rest; it is looked at again.
    "too_small": some or all of it is less than M-Pesa sends, stays on the balance, and she is told.
    "nowhere": hers is no number that M-Pesa could know, so it stays here, and somebody calls her.
    """
    own_msisdn = payouts.lock_member(db, member_id)
    left_cents = ledger.balance(db, ledger.buyer(member_id))
    left_cents -= left_cents % money.CENTS
    if not left_cents:
        return "nothing"
    pay_by = _basket_waits_until(db, member_id)
    if pay_by is not None:
        outbox.put(db, "refund_balance", due_at=max(pay_by, now) + LOOK_AGAIN, member_id=member_id)
        return "waits"
    if own_msisdn is None or freezes.is_frozen(db, member_id):
        return "frozen"  # lifting that, or a new number, asks again
    whole_receipts = _whole_receipts(db, member_id, now) + _out_of_suspense(db, member_id, now)
    if whole_receipts:  # what the collection float can give back is not moved away meanwhile
        solvency.lock(db)
    for whole in whole_receipts:
        if whole.amount_cents <= min(left_cents, payouts.free_cents(db, ledger.C2B)):
            if not _ask(db, member_id, "reversal", whole, rules, now):
                return "insolvent"
            left_cents -= whole.amount_cents
    nowhere_cents = 0
    for rest in _by_line(_credits(db, member_id), left_cents, own_msisdn):
        if not phone.is_kenyan_mobile(rest.msisdn):
            nowhere_cents = rest.amount_cents
        elif rest.amount_cents >= money.PAYOUT_CENTS_MIN:
            if not _ask(db, member_id, "refund", rest, rules, now):
                return "insolvent"
            left_cents -= rest.amount_cents
    if nowhere_cents:
        incidents.open(db, "refund_failed", member_id, now, code="no_mpesa", cents=nowhere_cents)
        return "nowhere"
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


# Of the charge c of the buyer m: the line that paid it, by whatever number its owner has now.
_PAYER: Final[LiteralString] = f"""CASE WHEN EXISTS (
    SELECT FROM charge_codes p WHERE p.charge_id = c.id AND p.meaning = 'paid')
    AND NOT {numbers.LEFT_BY_BUYER}
    THEN {numbers.PAYER_NOW} ELSE m.msisdn END"""


@dataclass(frozen=True)
class _Credit:
    """What came to the balance. msisdn: the line it had come from; None: not known.

    asked_at: of what was sent as a refund and came back, when that was asked for; the refund before
    it, that did not come back, was asked for at before_at.
    """

    amount_cents: int
    msisdn: str | None = field(repr=False)
    at: datetime
    asked_at: datetime | None
    before_at: datetime | None


def _credits(db: Db, member_id: UUID) -> list[_Credit]:
    """The newest first; what a reversal has taken back is none.

    What was sent and came back is whose it was, by what is known now. What she could not withdraw
    is whose it was before she asked, so that is none either.
    """
    found = db.rows(
        _Credit,
        f"""
        SELECT -e.amount_cents AS amount_cents, paid.msisdn, t.at, of.asked_at,
               (SELECT max(p.created_at) FROM payouts p
                WHERE p.member_id = m.id AND p.kind <> 'withdrawal' AND p.state <> 'failed'
                  AND p.created_at < of.asked_at) AS before_at
        FROM entries e
        JOIN transfers t ON t.id = e.transfer_id
        JOIN members m ON m.id = %(member_id)s
        LEFT JOIN LATERAL (
            SELECT CASE WHEN t.kind IN ('refund', 'decision')
                        THEN split_part(t.key, ':', 2)::uuid END AS order_id,
                   CASE WHEN t.kind IN ('part', 'capture')
                        THEN split_part(t.key, ':', 2)::uuid END AS charge_id,
                   CASE WHEN t.kind = 'receipt' THEN split_part(t.key, ':', 2)
                        ELSE failed.reverses_receipt END AS receipt,
                   failed.msisdn AS failed_msisdn, failed.created_at AS asked_at
            FROM (SELECT) AS always
            LEFT JOIN payouts failed ON t.kind = 'payout_failed' AND failed.kind <> 'withdrawal'
                AND failed.id = CASE WHEN t.kind = 'payout_failed'
                                     THEN split_part(t.key, ':', 2)::uuid END
        ) AS of ON true
        LEFT JOIN LATERAL (
            SELECT {_PAYER} AS msisdn, c.checkout_id FROM charges c
            WHERE c.id = coalesce(
                of.charge_id,
                (SELECT r.charge_id FROM receipts r WHERE r.receipt = of.receipt),
                (SELECT last.id FROM orders o JOIN charges last ON last.checkout_id = o.checkout_id
                 WHERE o.id = of.order_id AND last.state = 'paid'
                 ORDER BY last.updated_at DESC, last.id DESC LIMIT 1),
                (SELECT last.id FROM checkouts k JOIN charges last ON last.checkout_id = k.id
                 WHERE k.buyer_id = %(member_id)s AND last.msisdn = of.failed_msisdn
                   AND last.state = 'paid'
                 ORDER BY last.updated_at DESC, last.id DESC LIMIT 1))
        ) AS paid ON true
        WHERE e.account_id = %(account_id)s AND e.amount_cents < 0
          AND (t.kind <> 'payout_failed' OR of.failed_msisdn IS NOT NULL)
          AND NOT EXISTS (
              SELECT FROM payouts p
              JOIN receipts r ON r.receipt = p.reverses_receipt
              LEFT JOIN charges c ON c.id = r.charge_id
              WHERE p.state <> 'failed'
                AND (r.receipt = of.receipt OR c.id = of.charge_id OR (
                     of.order_id IS NOT NULL AND c.checkout_id = paid.checkout_id)))
          AND NOT EXISTS (
              SELECT FROM receipts r LEFT JOIN charges c ON c.receipt = r.receipt
              WHERE r.outcome = %(reversed)s AND (r.receipt = of.receipt OR c.id = of.charge_id))
        ORDER BY e.id DESC LIMIT %(limit)s
        """,
        {
            "member_id": member_id,
            "account_id": ledger.buyer(member_id).id,
            "limit": CREDITS_MAX,
            "reversed": receipts.REVERSED,
        },
    )
    return [_by_what_is_known_now(credit, found) for credit in found]


def _by_what_is_known_now(credit: _Credit, found: list[_Credit]) -> _Credit:
    """What came back of a refund, by the line that what it was made of turned out to be from.

    A confirmation names no payer (Daraja masks it), so what came by one goes to the buyer until the
    answer to her prompt says who paid; that may be after it was sent to her. A refund takes all
    that lies there, so it was made of what had come since the one before. Where that is more than
    one line's, nobody knows how much of this was whose, and it is still whose it was sent to.
    """
    if credit.asked_at is None:
        return credit
    since = credit.before_at
    lines = {
        each.msisdn
        for each in found
        if each.asked_at is None and each.at <= credit.asked_at and (not since or each.at > since)
    }
    return credit if len(lines) != 1 else replace(credit, msisdn=lines.pop() or credit.msisdn)


def _by_line(found: list[_Credit], cents: int, own_msisdn: str) -> list[_Whole]:
    """So much of the newest credits, together for each line; what they do not explain is hers."""
    shares: dict[str, int] = {}
    for credit in found:
        taken = min(cents, credit.amount_cents)
        line = credit.msisdn or own_msisdn
        shares[line] = shares.get(line, 0) + taken
        cents -= taken
    shares[own_msisdn] = shares.get(own_msisdn, 0) + cents
    return [_Whole(None, share, line) for line, share in shares.items() if share]


def _basket_waits_until(db: Db, member_id: UUID) -> datetime | None:
    """Until when a part of a basket's price lies here and waits for the rest."""
    found: datetime | None = db.value(
        f"SELECT max(k.pay_by) FROM checkouts k WHERE k.buyer_id = %(id)s AND {receipts.BEGUN}",
        {"id": member_id},
    )
    return found


def _whole_receipts(db: Db, member_id: UUID, now: datetime) -> list[_Whole]:
    """Receipts of which nothing was kept, and nothing taken out of the balance since, newest first.

    Kept is what an escrow took and did not give back. A second payment and a late one filled none.
    Taken is a payout that is no reversal, and what paid another basket from the balance. What was
    once to be reversed and could not be is not tried again. Nor what was paid, or may have been,
    from a number that its owner has come away from: to that it would go back.
    """
    return db.rows(
        _Whole,
        f"""
        SELECT r.receipt, r.amount_cents, {_PAYER} AS msisdn
        FROM receipts r
        JOIN charges c ON c.id = r.charge_id
        JOIN checkouts k ON k.id = c.checkout_id
        JOIN members m ON m.id = k.buyer_id
        WHERE k.buyer_id = %(member_id)s AND r.created_at > %(since)s
          AND r.amount_cents %% 100 = 0 AND r.amount_cents <= %(most)s
          AND r.outcome <> %(reversed)s
          AND (r.outcome IN ('second_payment', 'late') OR NOT EXISTS (
              SELECT FROM orders o JOIN escrows e ON e.order_id = o.id
              WHERE o.checkout_id = k.id AND e.captured_cents <> e.refunded_cents))
          AND NOT EXISTS (SELECT FROM payouts p WHERE p.reverses_receipt = r.receipt)
          AND NOT {numbers.LEFT}
          AND NOT ({_PAYER} = m.msisdn AND EXISTS (
              SELECT FROM number_changes gone
              WHERE gone.member_id = m.id AND gone.state = 'done'
                AND gone.ended_at >= c.created_at))
          AND NOT EXISTS (
              SELECT FROM payouts p
              WHERE p.member_id = k.buyer_id AND p.account = 'buyer' AND p.kind <> 'reversal'
                AND p.state <> 'failed' AND p.created_at >= r.created_at)
          AND NOT EXISTS (
              SELECT FROM entries e JOIN transfers t ON t.id = e.transfer_id
              WHERE e.account_id = %(account_id)s AND e.amount_cents > 0 AND t.kind = 'capture'
                AND t.at >= r.created_at AND t.key NOT IN (
                    SELECT 'capture:' || own.id FROM charges own WHERE own.checkout_id = k.id
                    UNION ALL SELECT 'capture:' || k.id))
        ORDER BY r.created_at DESC, r.receipt
        """,
        {
            "member_id": member_id,
            "since": now - REVERSE_WITHIN,
            "most": payouts.AMOUNT_CENTS_MAX,
            "reversed": receipts.REVERSED,
            "account_id": ledger.buyer(member_id).id,
        },
    )


def _out_of_suspense(db: Db, member_id: UUID, now: datetime) -> list[_Whole]:
    """Receipts that nobody could explain and two of ours gave back to her, untouched since.

    A reversal reaches whoever paid, were it another; it is tried once.
    """
    return db.rows(
        _Whole,
        """
        SELECT r.receipt, r.amount_cents, m.msisdn
        FROM explanations x
        JOIN receipts r ON r.receipt = x.receipt
        JOIN members m ON m.id = x.member_id
        WHERE x.member_id = %(member_id)s AND x.state = 'booked' AND r.outcome = %(returned)s
          AND r.created_at > %(since)s
          AND r.amount_cents %% 100 = 0 AND r.amount_cents <= %(most)s
          AND NOT EXISTS (SELECT FROM payouts p WHERE p.reverses_receipt = r.receipt)
          AND NOT EXISTS (
              SELECT FROM number_changes gone
              WHERE gone.member_id = m.id AND gone.state = 'done' AND gone.ended_at >= r.created_at)
          AND NOT EXISTS (
              SELECT FROM payouts p
              WHERE p.member_id = m.id AND p.account = 'buyer' AND p.kind <> 'reversal'
                AND p.state <> 'failed' AND p.created_at >= x.decided_at)
          AND NOT EXISTS (
              SELECT FROM entries e JOIN transfers t ON t.id = e.transfer_id
              WHERE e.account_id = %(account_id)s AND e.amount_cents > 0 AND t.kind = 'capture'
                AND t.at >= x.decided_at)
        ORDER BY r.created_at DESC, r.receipt
        """,
        {
            "member_id": member_id,
            "returned": receipts.RETURNED,
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
