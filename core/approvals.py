"""Approvals: payouts let go or stopped by a second person, each act in the audit log."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from core import halts, payout_queue, payouts, staff
from core.database import Db
from core.halts import Halt
from core.payouts import Payout
from core.rules import Rules
from core.staff import Actor

REASON_LETTERS_MIN: Final = 5


def approve(
    db: Db, payout_id: UUID, by: Actor, now: datetime
) -> Literal["approved", "own", "member_frozen", "not_waiting", "not_allowed"]:
    """It goes on its way. "own": one's own money, phone or request; that is an incident."""
    if not by.may("approver"):
        return "not_allowed"
    payout = _found(db, payout_id)
    own_member_id = payout.member_id if _comes_to(db, payout, by) else None
    done = payouts.approve(db, payout_id, by.name, now, own_member_id)
    if done == "frozen":
        return "member_frozen"
    if done == "approved":
        _write(db, payout, by, {"state": "approved"}, now)
    return done


def reject(
    db: Db, payout_id: UUID, reason: str, by: Actor, now: datetime
) -> Literal["rejected", "own", "not_waiting", "not_allowed", "no_reason"]:
    """It is not sent, and back on the member's account. reason: without personal data."""
    if not by.may("approver"):
        return "not_allowed"
    if len(reason.strip()) < REASON_LETTERS_MIN:
        return "no_reason"
    payout = _found(db, payout_id)
    if _comes_to(db, payout, by):
        return "own"
    done = payouts.reject(db, payout_id, by.name, now)
    if done == "rejected":
        _write(db, payout, by, {"state": "rejected", "why": reason.strip()}, now)
    return done


def resume(
    db: Db, why: Halt | None, by: Actor, rules: Rules, now: datetime
) -> Literal["resumed", "not_allowed"]:
    """It is mended: what waited goes on, and what failed by it is sent anew.

    why: what was mended; None: all.
    """
    if not by.may("operator"):
        return "not_allowed"
    reasons: tuple[Halt, ...] = ("initiator", "float") if why is None else (why,)
    halted = [reason for reason in reasons if halts.is_halted(db, reason)]
    again = payout_queue.resume(db, by.name, now, rules, why)
    after = {"halted": [], "sent_anew": len(again)}
    by.write(db, "payouts_resumed", "payouts", {"halted": halted}, after, now)
    return "resumed"


def _found(db: Db, payout_id: UUID) -> Payout:
    found = payouts.by_id(db, payout_id)
    assert found is not None, f"no payout {payout_id}"
    return found


def _comes_to(db: Db, payout: Payout, by: Actor) -> bool:
    """Is it their money, or their phone?"""
    is_phone = payout.msisdn in staff.lines_of(db, by.who)
    return is_phone or staff.is_member(db, by.who, payout.member_id)


def _write(db: Db, payout: Payout, by: Actor, after: dict[str, object], now: datetime) -> None:
    what = f"payout_{after['state']}"
    before = {"state": payout.state, "requested_by": payout.requested_by}
    after = {**after, "cents": payout.amount_cents}
    by.write(db, what, f"payout {payout.id}", before, after, now)
