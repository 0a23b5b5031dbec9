"""Earnings: what a sale released is sent to the seller's phone at once, unless she keeps it here.

Whatever credits her account says that earnings are due; the task looks at what lies there. What is
less than M-Pesa sends waits for more. What failed is not tried again by itself: the next sale, or
she herself, asks anew.
"""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from core import freezes, ledger, members, messages, money, numbers, outbox, payouts, phone
from core.database import Db
from core.members import Member
from core.money import CENTS, PAYOUT_CENTS_MIN
from core.rules import Rules

Paid = Literal["sent", "kept", "too_small", "frozen", "insolvent"]

INSOLVENT_AGAIN: Final = timedelta(hours=1)


def due(db: Db, member_id: UUID, now: datetime) -> None:
    """Money has come to the seller's account: it is sent, if this transaction commits."""
    outbox.put(db, "pay_earnings", due_at=now, member_id=member_id)


def pay(db: Db, member_id: UUID, rules: Rules, now: datetime) -> Paid:
    """For the task pay_earnings: send what lies on the seller's account, in whole shillings.

    "kept": as she wishes, or since hers is no number that M-Pesa could know. "frozen": lifting that
    asks again. "insolvent": it is tried again in an hour.
    """
    at_once: bool = db.value(
        "SELECT paid_at_once FROM members WHERE id = %(id)s FOR NO KEY UPDATE", {"id": member_id}
    )
    if not at_once:
        return "kept"
    cents = ledger.balance(db, ledger.seller(member_id))
    cents -= cents % CENTS
    if cents < PAYOUT_CENTS_MIN:
        return "too_small"
    if freezes.is_frozen(db, member_id):
        return "frozen"
    member = members.by_id(db, member_id)
    if member is None or not phone.is_kenyan_mobile(member.msisdn):
        return "kept"
    asked = payouts.request(
        db, member_id, "seller", "withdrawal", cents, rules, now, requested_by=payouts.SYSTEM
    )
    if asked == "insolvent":
        outbox.put(db, "pay_earnings", due_at=now + INSOLVENT_AGAIN, member_id=member_id)
        return "insolvent"
    assert not isinstance(asked, str), f"the earnings of {member_id} are {asked}"
    _tell_if_it_waits(db, member, cents, asked[0], now)
    return "sent"


def _tell_if_it_waits(db: Db, member: Member, cents: int, first: UUID, now: datetime) -> None:
    """For a person or for a new number or PIN: for days perhaps, where she expects minutes."""
    payout = payouts.by_id(db, first)
    assert payout is not None, f"no payout {first}"
    until = numbers.cools_until(db, member.id, member.msisdn, now)
    values = {"total": money.show(cents), "until": until}
    if payout.state == "requested":
        messages.of_member(db, "earnings_looked_at", member.id, values, now)
    elif until is not None:
        messages.of_member(db, "earnings_cooling", member.id, values, now)


def at_once(db: Db, member_id: UUID) -> bool:
    """Whether what she earns is sent to her by itself."""
    chosen: bool = db.value("SELECT paid_at_once FROM members WHERE id = %(id)s", {"id": member_id})
    return chosen


def choose(db: Db, member_id: UUID, at_once: bool, now: datetime) -> None:
    """Send what she earns by itself, from now on and what lies there already; or keep it here."""
    db.run(
        "UPDATE members SET paid_at_once = %(at_once)s, updated_at = %(now)s WHERE id = %(id)s",
        {"at_once": at_once, "now": now, "id": member_id},
    )
    if at_once:
        due(db, member_id, now)
