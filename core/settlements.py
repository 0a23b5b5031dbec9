"""Settlements: what proof of a charge's payment does to the money, whichever comes first.

Every proof may come twice, late, out of order or never. Of a price that came in parts, each part
waits in the buyer's balance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from core import captures, charges, incidents, ledger, messages, money, outbox, receipts, refunds
from core.captures import Payable
from core.charges import Charge, ChargeResult
from core.database import Db
from core.receipts import Receipt

Settled = Literal[
    "paid",
    "part",
    "late",
    "second_payment",
    "failed",
    "pending",
    "already_settled",
    "doubted",
    "conflict",
]

Received = Literal[
    "captured",
    "part",
    "repeat",
    "attached",
    "second_payment",
    "late",
    "suspense",
    "short",
    "over",
    "conflict",
]
More = Literal["captured", "over", "short", "second_payment", "late"]

_AS_SETTLED: Final[Mapping[More, Settled]] = {
    "captured": "paid",
    "over": "paid",
    "short": "part",
    "second_payment": "second_payment",
    "late": "late",
}


def settle(db: Db, charge_id: UUID, result: ChargeResult, now: datetime) -> Settled:
    """Record what M-Pesa says became of a push; the first proof of payment moves the money.

    "part": it waits in the buyer's balance for the rest, which is asked for. "late",
    "second_payment": the money is on the buyer's balance. "doubted": it cannot be so; the gateway
    is asked at once, nothing moved. "conflict": it contradicts what is proved; an incident is open.
    "already_settled": a repeat, another channel, or a failure after the payment.
    Raises UnknownCharge. Source: Daraja, STK callback and query; code 0 = paid.
    """
    payable, charge = _lock(db, charge_id)
    doubts = _doubts(charge, result)
    meaning = "doubted" if doubts else result.verdict
    first_time = charges.keep_code(db, charge_id, result.source, result.code, meaning, now)
    if doubts:
        return _doubt(db, charge, result, doubts, now)
    if result.verdict == "paid":
        if result.source == "query":
            return _prove(db, payable, charge, now)
        settled = _accept(db, payable, charge, result, first_time, now)
        if settled != "conflict":
            _thank(db, payable, charge, result.receipt, now)
        return settled
    if charge.state in (*charges.OPEN, "review"):
        if result.verdict == "failed":
            charges.close(db, charge, "failed", result.code, now)
            charges.tell_how_to_pay(db, charge, now, over_limit=result.over_limit)
            return "failed"
        if result.verdict == "unknown":
            incidents.open(db, "unknown_code", charge_id, now, code=result.code)
            if result.source == "callback":
                charges.ask_at_once(db, charge, result, now)
        return "pending"
    if charge.state in charges.PAID and result.verdict == "failed":
        incidents.open(db, "failure_after_payment", charge_id, now, code=result.code)
    return "already_settled"


def settle_plain(
    db: Db, results: Mapping[UUID, ChargeResult], now: datetime
) -> dict[UUID, Settled]:
    """Of callbacks, by charge, those that simply pay, all at once; what each came to.

    Such a one fits, is the first proof of its charge, and pays the whole of a checkout; no other
    here is of its checkout or its receipt. All else is left as it is, for `settle`. The locks are
    those of `settle`, each sort of them for all before the next.
    """
    plain = _plain(db, results, now)
    if not plain:
        return {}
    codes = {each.charge.id: results[each.charge.id].code for each in plain}
    charges.keep_codes(db, codes, "callback", "paid", now)
    to_pay = {f"capture:{each.charge.id}": each.payable for each in plain}
    captured = captures.capture_all(db, to_pay, ledger.C2B, now)
    told = [
        receipts.Kept(each.receipt, each.charge.id, outcome)
        for each, outcome in zip(plain, captured, strict=True)
    ]
    kept = receipts.keep_all(db, told, now)
    assert kept == len(told), f"of the receipts of charges {list(codes)} {kept} were new"
    charges.set_paid(db, {each.charge.id: each.receipt.receipt for each in plain}, now)
    for each in plain:
        _thank(db, each.payable, each.charge, each.receipt.receipt, now)
    return {
        charge_id: "paid" if outcome == "held" else outcome
        for charge_id, outcome in zip(codes, captured, strict=True)
    }


def receive(db: Db, receipt: Receipt, now: datetime) -> Received:
    """Book a line by which M-Pesa itself says that money came in: C2B, pull, statement.

    "part": as settle's. "attached": it names the receipt of a payment that a query had proved.
    "short", "over": the whole amount is on the buyer's balance, and an "over" one has paid the
    orders from there, as a "captured" one has, be it the last part. "suspense": nothing explains
    it.
    """
    named = charges.by_reference(db, receipt.reference)
    if named is None:
        return _suspend(db, receipt, now)
    payable, charge = _lock(db, named.id)
    known = receipts.find(db, receipt.receipt)
    if known is not None:
        if known == receipts.Known(charge.id, receipt.amount_cents):
            return "repeat"
        return _contradict(db, charge.id, receipt, now)
    if charge.state in charges.PAID:
        if charge.receipt is None and receipt.amount_cents == charge.amount_cents:
            receipts.keep(db, receipt, charge.id, "attached", now)
            charges.set_receipt(db, charge.id, receipt.receipt, now)
            _thank(db, payable, charge, receipt.receipt, now)
            return "attached"
        return _paid_more(db, payable, charge, receipt, now)
    if receipt.amount_cents == charge.amount_cents:
        captured = _capture(db, payable, charge, receipt, ledger.C2B, now)
        return "captured" if captured == "held" else captured
    return _other_amount(db, payable, charge, receipt, now)


def explain(
    db: Db, receipt: str, charge_id: UUID, now: datetime
) -> More | Literal["not_in_suspense"]:
    """What lay in suspense was meant for this charge: book it as if it had named it.

    A charge that is paid, or whose orders wait no more, makes it the buyer's, and it goes back.
    """
    payable, charge = _lock(db, charge_id)
    held = receipts.unexplained(db, receipt)
    if held is None:
        return "not_in_suspense"
    if charge.state in charges.PAID:
        return _paid_more(db, payable, charge, held, now, ledger.SUSPENSE)
    return _other_amount(db, payable, charge, held, now, ledger.SUSPENSE)


def _lock(db: Db, charge_id: UUID) -> tuple[Payable, Charge]:
    """Checkout, orders, charge: in the order of locks that everybody keeps."""
    charge = charges.by_id(db, charge_id)
    if charge is None:
        raise charges.UnknownCharge(f"no charge {charge_id}")
    payable = captures.lock(db, charge.checkout_id)
    return payable, charges.lock(db, charge_id)


def _lock_all(db: Db, charge_ids: Sequence[UUID]) -> list[tuple[Payable, Charge]]:
    """The same of those of several charges that there are: all of one sort before the next."""
    checkout_ids: list[UUID] | None = db.value(
        "SELECT array_agg(DISTINCT checkout_id) FROM charges WHERE id = ANY(%(ids)s)",
        {"ids": list(charge_ids)},
    )
    payables = {payable.id: payable for payable in captures.lock_all(db, checkout_ids or [])}
    return [(payables[charge.checkout_id], charge) for charge in charges.lock_all(db, charge_ids)]


def _doubts(charge: Charge, result: ChargeResult) -> list[str]:
    """What in it does not fit the push we made: the names of those things.

    A query answers for the push it was asked about and names neither amount nor receipt.
    """
    doubts = []
    if charge.push_id and result.push_id and result.push_id != charge.push_id:
        doubts.append("push_id")
    if (
        charge.push_group_id
        and result.push_group_id
        and result.push_group_id != charge.push_group_id
    ):
        doubts.append("push_group_id")
    if result.source == "callback" and result.verdict == "paid":
        if result.amount_cents != charge.amount_cents:
            doubts.append("amount")
        if result.msisdn is not None and result.msisdn != charge.msisdn:
            doubts.append("msisdn")
        if not result.receipt:
            doubts.append("receipt")
    return doubts


@dataclass(frozen=True)
class _Plain:
    payable: Payable
    charge: Charge
    receipt: Receipt


def _plain(db: Db, results: Mapping[UUID, ChargeResult], now: datetime) -> list[_Plain]:
    """Those of settle_plain; these, and all they were chosen from, are locked."""
    locked = _lock_all(db, list(results))
    told = [result.receipt for result in results.values() if result.receipt is not None]
    taken: set[object] = {*receipts.known(db, told)}  # receipts, and checkouts
    found = []
    for payable, charge in locked:
        result = results[charge.id]
        if (
            (result.source, result.verdict) == ("callback", "paid")
            and not _doubts(charge, result)
            and charge.state not in charges.PAID
            and charge.amount_cents == payable.total_cents
            and taken.isdisjoint({payable.id, result.receipt})
        ):
            taken |= {payable.id, result.receipt}
            found.append(_Plain(payable, charge, _receipt_of(charge, result, now)))
    return found


def _doubt(
    db: Db, charge: Charge, result: ChargeResult, doubts: list[str], now: datetime
) -> Settled:
    incidents.open(
        db, "callback_doubted", charge.id, now, doubts=doubts, code=result.code, state=charge.state
    )
    if result.source == "callback":  # after a query its own timer goes on
        charges.ask_at_once(db, charge, result, now)
    return "doubted"


def _prove(db: Db, payable: Payable, charge: Charge, now: datetime) -> Settled:
    """A query says paid: proof of the amount we asked for, its receipt still to come."""
    if charge.state in charges.PAID:
        return "already_settled"
    captured = _capture(db, payable, charge, None, ledger.C2B, now)
    return "paid" if captured == "held" else captured


def _accept(
    db: Db,
    payable: Payable,
    charge: Charge,
    result: ChargeResult,
    first_time: bool,
    now: datetime,
) -> Settled:
    """A callback that fits says paid."""
    receipt = _receipt_of(charge, result, now)
    known = receipts.find(db, receipt.receipt)
    explained = known is None or known == receipts.Known(None, receipt.amount_cents)
    if charge.state not in charges.PAID and explained:
        source = ledger.C2B if known is None else ledger.SUSPENSE
        captured = _capture(db, payable, charge, receipt, source, now)
        return "paid" if captured == "held" else captured
    if charge.state in charges.PAID and known is None:
        if charge.receipt is None:
            receipts.keep(db, receipt, charge.id, "attached", now)
            charges.set_receipt(db, charge.id, receipt.receipt, now)
            return "already_settled"
        if first_time:  # it was paid by hand, then the prompt was answered as well
            return _AS_SETTLED[_paid_more(db, payable, charge, receipt, now)]
    if known == receipts.Known(charge.id, receipt.amount_cents):
        return "already_settled"
    _contradict(db, charge.id, receipt, now)
    if charge.state not in charges.PAID:
        charges.ask_at_once(db, charge, result, now)
    return "conflict"


def _receipt_of(charge: Charge, result: ChargeResult, now: datetime) -> Receipt:
    """Of a callback that fits."""
    assert result.receipt is not None, f"charge {charge.id} was to be accepted without a receipt"
    assert result.amount_cents is not None, f"charge {charge.id} without an amount"
    return Receipt("callback", result.receipt, result.amount_cents, charge.reference, now)


def _capture(
    db: Db,
    payable: Payable,
    charge: Charge,
    receipt: Receipt | None,
    source: ledger.Account,
    now: datetime,
) -> captures.Captured | Literal["part"]:
    """The one capture of a charge, or its part of one; its receipt, if known, on record.

    receipt None: a query has proved it.
    """
    whole = charge.amount_cents == payable.total_cents
    if whole:
        captured: captures.Captured | Literal["part"]
        captured = captures.capture(db, payable, f"capture:{charge.id}", source, now)
    else:
        captured = _take_part(db, payable, charge, source, now)
    if receipt is not None:
        kept = receipts.keep(db, receipt, charge.id, captured, now)
        assert kept, f"receipt of charge {charge.id} is on record for another"
    charges.set_paid(db, {charge.id: receipt.receipt if receipt else None}, now)
    if captured == "part":
        _ask_for_more(db, charge, now)
        _tell(db, "payment_part", payable, charge, charge.id, charge.amount_cents, now)
    elif not whole and captured != "held":  # what a capture did to orders, they tell themselves
        trigger = "payment_late" if captured == "late" else "payment_second"
        _tell(db, trigger, payable, charge, charge.id, charge.amount_cents, now)
    return captured


def _take_part(
    db: Db, payable: Payable, charge: Charge, source: ledger.Account, now: datetime
) -> captures.Captured | Literal["part"]:
    """It waits in the buyer's balance; the last one lets the whole go to her orders."""
    mine = ledger.buyer(payable.buyer_id)
    legs = [ledger.debit(source, charge.amount_cents), ledger.credit(mine, charge.amount_cents)]
    posted = ledger.post(db, "part", f"capture:{charge.id}:part", legs, now)
    assert posted == "posted", f"the part of charge {charge.id} was taken before"
    refunds.due(db, payable.buyer_id, now)
    return captures.complete(db, payable, f"capture:{charge.id}", now)


def _ask_for_more(db: Db, charge: Charge, now: datetime) -> None:
    """Its payer is asked for the next part as soon as that phone may be prompted again."""
    asked_at = charge.asked_at or charge.claimed_at
    due_at = now if asked_at is None else max(now, asked_at + charges.SAME_AMOUNT_GAP)
    outbox.put(db, "next_part", due_at=due_at, charge_id=charge.id)


def _paid_more(
    db: Db,
    payable: Payable,
    charge: Charge,
    receipt: Receipt,
    now: datetime,
    source: ledger.Account = ledger.C2B,
) -> More:
    """Money for a charge that is paid: one more part, or the buyer's."""
    if payable.state == "placed":
        return _other_amount(db, payable, charge, receipt, now, source)
    _book(db, receipt, ledger.buyer(payable.buyer_id), now, source)
    receipts.keep(db, receipt, charge.id, "second_payment", now)
    refunds.due(db, payable.buyer_id, now)
    _tell(*(db, "payment_second", payable, charge, receipt.receipt, receipt.amount_cents), now)
    return "second_payment"


def _other_amount(
    db: Db,
    payable: Payable,
    charge: Charge,
    receipt: Receipt,
    now: datetime,
    source: ledger.Account = ledger.C2B,
) -> More:
    """Another amount than asked: the buyer's, and if she then has enough, it pays her orders."""
    mine = ledger.buyer(payable.buyer_id)
    _book(db, receipt, mine, now, source)
    captured = captures.complete(db, payable, f"capture:{charge.id}", now)
    outcome: More
    if captured == "held":
        outcome = "over" if ledger.balance(db, mine) else "captured"
    else:
        outcome = "short" if captured == "part" else captured
    if payable.state == "placed" and captured != "part" and charge.state not in charges.PAID:
        charges.set_paid(db, {charge.id: receipt.receipt}, now)
    receipts.keep(db, receipt, charge.id, outcome, now)
    refunds.due(db, payable.buyer_id, now)
    # What a capture did to the orders, they tell themselves.
    told = {"short": "payment_short", "over": "payment_over"}.get(outcome)
    if payable.state != "placed":
        told = "payment_second" if outcome == "second_payment" else "payment_late"
    if told is not None:
        _tell(db, told, payable, charge, receipt.receipt, receipt.amount_cents, now)
    return outcome


def _tell(
    db: Db,
    trigger: str,
    payable: Payable,
    charge: Charge,
    subject: object,
    cents: int,
    now: datetime,
) -> None:
    """Money came that is not simply the orders' price: what it did, and what is left to pay."""
    balance_cents = ledger.balance(db, ledger.buyer(payable.buyer_id))
    values = {
        "total": money.show(cents),
        "extra": money.show(balance_cents),
        "missing": money.show(max(0, payable.total_cents - balance_cents)),
        "reference": charge.reference,
    }
    messages.of_payment(db, trigger, subject, payable.id, values, now)


def _thank(db: Db, payable: Payable, charge: Charge, receipt: str | None, now: datetime) -> None:
    """Whoever answered our prompt for somebody else hears once that it came, by its receipt."""
    if charge.msisdn != payable.buyer_msisdn:
        values = {"total": money.show(charge.amount_cents), "receipt": receipt}
        messages.of_payer(db, "payer_thanked", charge.id, payable.id, charge.msisdn, values, now)


def _suspend(db: Db, receipt: Receipt, now: datetime) -> Received:
    if receipts.keep(db, receipt, None, "suspense", now):
        _book(db, receipt, ledger.SUSPENSE, now)
        incidents.open(db, receipts.UNEXPLAINED, receipt.receipt, now, cents=receipt.amount_cents)
        return "suspense"
    known = receipts.find(db, receipt.receipt)
    assert known is not None, "a receipt is refused, and is not there"
    if known.amount_cents == receipt.amount_cents:
        return "repeat"
    return _contradict(db, known.charge_id, receipt, now)


def _book(
    db: Db,
    receipt: Receipt,
    to: ledger.Account,
    now: datetime,
    source: ledger.Account = ledger.C2B,
) -> None:
    """source: M-Pesa, or suspense, where it was booked when it came."""
    explained = "" if source == ledger.C2B else ":explained"
    cents = receipt.amount_cents
    legs = [ledger.debit(source, cents), ledger.credit(to, cents)]
    ledger.post(db, "receipt", f"receipt:{receipt.receipt}{explained}", legs, now)


def _contradict(
    db: Db, charge_id: UUID | None, receipt: Receipt, now: datetime
) -> Literal["conflict"]:
    """One receipt for two charges or two amounts: forged or broken. Nothing moves."""
    incidents.open(
        db,
        "receipt_conflict",
        receipt.receipt,
        now,
        charge_id=str(charge_id),
        source=receipt.source,
        cents=receipt.amount_cents,
    )
    return "conflict"
