"""Payout proofs: what M-Pesa says became of a payout, and what that moves."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from core import (
    halts,
    incidents,
    ledger,
    messages,
    money,
    names,
    outbox,
    payout_calls,
    payouts,
    receipts,
)
from core.database import Db
from core.halts import Halt
from core.money import CENTS
from core.payouts import Payout

Settled = Literal["paid", "failed", "pending", "already_settled", "doubted", "conflict"]

# What M-Pesa charges us for one payout up to so much, in cents (published in August 2023). The
# proof of a payout may name another; the statement has the last word.
CHARGES: Final = ((100 * CENTS, 0), (1_500 * CENTS, 500), (5_000 * CENTS, 900))
CHARGE_CENTS_MAX: Final = 1_100
# "No such payout" proves nothing soon after the call; by now M-Pesa would know it.
ABSENT_AFTER: Final = timedelta(hours=24)


@dataclass(frozen=True)
class PayoutResult:
    """What M-Pesa says became of a payout.

    verdict: "paid" and "failed" are final; "reversed": the receipt was reversed before; "absent":
    it knows of no such payout; "unknown": nobody knows what it says.
    ours: it failed for a reason on our side, which is no news for the member. halts: and so will
    every other one. msisdn: None where masked or not told. asked_at: of a question, when.
    """

    source: Literal["result", "status", "statement"]
    verdict: Literal["paid", "failed", "reversed", "absent", "pending", "unknown"]
    code: str
    amount_cents: int | None = None
    receipt: str | None = None
    msisdn: str | None = field(default=None, repr=False)
    originator_id: str | None = None
    conversation_id: str | None = None
    reverses_receipt: str | None = None
    charge_cents: int | None = None
    ours: bool = False
    halts: Halt | None = None
    asked_at: datetime | None = None


def settle(db: Db, payout_id: UUID, result: PayoutResult, now: datetime) -> Settled:
    """Record what M-Pesa says became of a payout; the first proof ends it.

    "doubted": it cannot be so; M-Pesa is asked, nothing moved. "conflict": it contradicts what is
    proved; an incident is open. "already_settled": a repeat, another source, or a failure after
    the money was sent, which an incident tells of.
    Raises UnknownPayout. Source: Daraja, B2C result, Transaction Status, Reversal.
    """
    payout = payouts.lock(db, payout_id)
    if result.halts is not None:
        halts.halt(db, result.halts, result.code, now)
    doubts = _doubts(db, payout, result)
    if result.halts != "initiator" and result.verdict in ("paid", "failed", "reversed"):
        halts.vouch(db, result.asked_at or payout.claimed_at, now, doubted=bool(doubts))
    meaning = "doubted" if doubts else result.verdict
    payouts.keep_code(db, payout_id, result.source, result.code, meaning, now)
    if payout.state == "paid":
        return _after_payment(db, payout, result, doubts, now)
    if doubts:
        incidents.open(
            db, "payout_doubted", payout_id, now,
            doubts=doubts, code=result.code, state=payout.state, source=result.source,
        )  # fmt: skip
        if payout.state in payouts.SENT and result.source == "result":
            payout_calls.doubt_and_ask(db, payout, now)
        return "doubted"
    match result.verdict:
        case "paid" | "reversed":
            _pay(db, payout, result, now)
            return "paid"
        case "failed" if _is_one_of_several(payout):
            return "pending"  # its timer goes on
        case "failed" if _is_unexplained(payout, result):
            _forget_call(db, payout, now)
            return "pending"  # and at its next turn it is called again
        case "failed" if payout.state != "failed":
            _fail(db, payout, result, now)
            return "failed"
        case "absent" if payout.state in payouts.SENT and _is_late(payout, result):
            _fail(db, payout, result, now)
            return "failed"
        case "unknown":
            incidents.open(db, "unknown_code", payout_id, now, code=result.code)
    if payout.state == "failed":
        return "already_settled"
    if result.source == "result" and payout.state in payouts.SENT:
        payout_calls.doubt_and_ask(db, payout, now)
    return "pending"


def _is_late(payout: Payout, result: PayoutResult) -> bool:
    """Was M-Pesa asked so long after the call that it would know the payout by then?"""
    assert payout.claimed_at is not None, f"payout {payout.id} is in flight and was never claimed"
    return result.asked_at is not None and result.asked_at >= payout.claimed_at + ABSENT_AFTER


def _is_one_of_several(payout: Payout) -> bool:
    """Was a reversal called again, and nobody knows which call is which? Another may yet do it."""
    return payout.state in payouts.SENT and payout.originator_id is None and payout.query_count > 0


def _is_unexplained(payout: Payout, result: PayoutResult) -> bool:
    """Was a reversal declined, and only a status says so, which does not say why?

    It may be that the receipt was reversed before, by an earlier call or by hand: that is no
    failure, and only the Result of a call tells it from one (R000001).
    """
    is_reversal = payout.kind == "reversal" and payout.state in payouts.SENT
    return is_reversal and result.source == "status"


def _forget_call(db: Db, payout: Payout, now: datetime) -> None:
    """As if its ack had been lost: a receipt is not reversed twice, however often it is called."""
    db.run(
        """
        UPDATE payouts SET originator_id = NULL, conversation_id = NULL, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": payout.id},
    )


def _doubts(db: Db, payout: Payout, result: PayoutResult) -> list[str]:
    """What in it does not fit the payout we sent: the names of those things."""
    doubts = []
    final = result.verdict in ("paid", "failed", "reversed")
    if final and payout.claimed_at is None:
        doubts.append("never_sent")
    if (
        final
        and result.source != "statement"
        and payout.originator_id is not None
        and result.originator_id != payout.originator_id
    ):
        doubts.append("originator_id")
    if (
        payout.conversation_id
        and result.conversation_id
        and result.conversation_id != payout.conversation_id
    ):
        doubts.append("conversation_id")
    if result.verdict == "paid":
        if result.amount_cents != payout.amount_cents:
            doubts.append("amount")
        if payout.kind == "reversal":
            if result.reverses_receipt not in (None, payout.reverses_receipt):
                doubts.append("reverses_receipt")
        elif result.msisdn is not None and result.msisdn != payout.msisdn:
            doubts.append("msisdn")
        if result.receipt is None or _is_used(db, payout, result.receipt):
            doubts.append("receipt")
    return doubts


def _is_used(db: Db, payout: Payout, receipt: str) -> bool:
    """Does the receipt stand for other money?"""
    of_another = db.value(
        "SELECT id FROM payouts WHERE receipt = %(receipt)s AND id <> %(id)s",
        {"receipt": receipt, "id": payout.id},
    )
    return of_another is not None or receipts.find(db, receipt) is not None


def _after_payment(
    db: Db, payout: Payout, result: PayoutResult, doubts: list[str], now: datetime
) -> Settled:
    """Paid is paid; what is said afterwards is compared and never moves anything."""
    if result.verdict == "failed":
        incidents.open(db, "failure_after_payout", payout.id, now, code=result.code)
    if result.verdict != "paid":
        return "already_settled"
    if doubts or payout.receipt not in (None, result.receipt):
        incidents.open(db, "payout_conflict", payout.id, now, doubts=doubts, source=result.source)
        return "conflict"
    if payout.receipt is None:
        db.run(
            "UPDATE payouts SET receipt = %(receipt)s, updated_at = %(now)s WHERE id = %(id)s",
            {"receipt": result.receipt, "now": now, "id": payout.id},
        )
        incidents.end(db, "reversal_without_receipt", payout.id, "its receipt came", now)
    return "already_settled"


def _pay(db: Db, payout: Payout, result: PayoutResult, now: datetime) -> None:
    """The one cash leg of a payout."""
    if payout.state == "failed":
        _reopen(db, payout, now)
    charge_cents = result.charge_cents
    if charge_cents is None:
        charge_cents = _charge_cents(payout)
    legs = [
        ledger.debit(ledger.out(payout.id), payout.amount_cents),
        ledger.credit(payout.pays_from, payout.amount_cents),
        ledger.debit(ledger.MPESA_CHARGES, charge_cents),
        ledger.credit(ledger.MPESA_CHARGES_OWED, charge_cents),
    ]
    moving = [leg for leg in legs if leg.amount_cents]
    posted = ledger.post(db, "paid", f"payout:{payout.id}:paid", moving, now)
    assert posted == "posted", f"payout {payout.id} is {payout.state}, and was paid before"
    db.run(
        """
        UPDATE payouts
        SET state = 'paid', waits_for = NULL, receipt = %(receipt)s, charge_cents = %(charge)s,
            code = %(code)s, approved_by = coalesce(approved_by, %(automatic)s),
            settled_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {
            # It waited for another approval, and had left by the first.
            "automatic": payouts.AUTOMATIC,
            "receipt": result.receipt,
            "charge": charge_cents,
            "code": result.code,
            "now": now,
            "id": payout.id,
        },
    )
    if result.verdict == "reversed":  # the statement shows which of M-Pesa's lines it was
        incidents.open(db, "reversal_without_receipt", payout.id, now, code=result.code)
    for kind in ("payout_failed_by_us", "payout_to_approve"):
        incidents.end(db, kind, payout.id, "paid after all", now)
    if payout.kind == "withdrawal":
        payouts.tell(db, payout, "payout_paid", now)
    else:
        payouts.tell(db, payout, "refund_paid", now)
        _tell_payer(db, payout, now)


def _charge_cents(payout: Payout) -> int:
    if payout.kind == "reversal":
        return 0
    return next((c for upto, c in CHARGES if payout.amount_cents <= upto), CHARGE_CENTS_MAX)


def _reopen(db: Db, payout: Payout, now: datetime) -> None:
    """It had failed, and the money was sent all the same: what its owner has of it is taken back.

    The rest is our loss.
    """
    balance_cents: int = db.value(
        "SELECT balance_cents FROM accounts WHERE id = %(id)s FOR NO KEY UPDATE",
        {"id": payout.owner.id},
    )
    taken_cents = min(balance_cents, payout.amount_cents)
    lost_cents = payout.amount_cents - taken_cents
    legs = [
        ledger.debit(payout.owner, taken_cents),
        ledger.debit(ledger.LOSS, lost_cents),
        ledger.credit(ledger.out(payout.id), payout.amount_cents),
    ]
    moving = [leg for leg in legs if leg.amount_cents]
    ledger.post(db, "payout_reopened", f"payout:{payout.id}:reopened", moving, now)
    incidents.open(db, "paid_after_failure", payout.id, now, lost_cents=lost_cents)


def _fail(db: Db, payout: Payout, result: PayoutResult, now: datetime) -> None:
    """Nothing was sent. A new payout is a new decision, of the member or of an operator."""
    payouts.give_back(db, payout, result.code, now)
    incidents.end(db, "payout_to_approve", payout.id, "it has failed", now)
    outbox.put(db, "resume_payouts", due_at=now)  # what it kept of the float is free
    if payout.kind == "reversal":  # the same money, by the other road
        outbox.put(db, "refund_balance", due_at=now, member_id=payout.member_id)
    elif result.ours:
        incidents.open(db, "payout_failed_by_us", payout.id, now, code=result.code)
    else:
        if payout.kind == "refund":  # nobody asked for it, so nobody will ask again
            incidents.open(db, "refund_failed", payout.id, now, code=result.code)
        payouts.tell(db, payout, "payout_failed", now)


def _tell_payer(db: Db, payout: Payout, now: datetime) -> None:
    """Whoever paid for the member, and has some of it back, hears why it comes."""
    member = payouts.member_paid_for(db, payout)
    if member is None:
        return
    values = {"total": money.show(payout.amount_cents), "buyer": names.called(member.name)}
    language = messages.language_of(db, payout.msisdn) or member.language
    key = str(payout.id)
    messages.of_phone(db, "payer_refunded", key, payout.msisdn, language, values, now)
