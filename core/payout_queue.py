"""Payout queue: what approved payouts wait for, and the order in which they go on."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from core import freezes, halts, incidents, initiator, ledger, numbers, outbox, payouts, sim_checks
from core.database import Db
from core.halts import Halt
from core.payouts import Payout
from core.rules import Rules

# While the float is too low we look again, each time later: whoever puts money in says so.
FLOAT_LOOK_AGAIN: Final = timedelta(minutes=1)
FLOAT_LOOK_AGAIN_MAX: Final = timedelta(hours=1)

_CLAIMS: Final = 7042_0003  # the advisory lock of whoever claims one


def lock(db: Db) -> None:
    """One after the other: two must not count on the same shillings of the float."""
    db.run("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _CLAIMS})


def lets_go(db: Db, payout: Payout, rules: Rules, now: datetime) -> bool:
    """Whether an approved one may be sent now; see lock.

    If not it waits, in the order of approval, and is asked for again when that is over: its member
    is frozen, M-Pesa refuses us, that number or the PIN is new, nobody knows whether the line got
    another SIM, the float is too low, or another call is to show that M-Pesa knows our operator.
    Where the line got another SIM lately a person must approve it.
    """
    if not _cools(db, payout, now) and _is_swapped(db, payout, rules, now):
        return False
    waits_for = _hindrance(db, payout, rules, now)
    if waits_for is None:
        return True
    db.run(
        "UPDATE payouts SET waits_for = %(why)s, updated_at = %(now)s WHERE id = %(id)s",
        {"why": waits_for, "now": now, "id": payout.id},
    )
    return False


def resume_waiting(db: Db, now: datetime, look: int | None = None) -> int:
    """For the timer resume_payouts: ask again for what waited, in its order; how many.

    Whoever puts money into the float, ends a halt or lifts a freeze sets it. look: the how manieth
    look it is that nobody asked for.
    """
    lock(db)
    waiting = payouts.waiting(db)
    left_cents = payouts.free_cents(db, ledger.B2C) if waiting else 0
    is_halted = {of_float: _is_halted(db, of_float=of_float) for of_float in (True, False)}
    wanted, cooled_at, too_little = [], list[datetime](), False
    for payout in waiting:
        of_float = payout.kind != "reversal"
        if is_halted[of_float] or freezes.is_frozen(db, payout.member_id):
            continue
        if cools_until := _cools(db, payout, now):
            cooled_at.append(cools_until)
            continue
        if of_float and payout.waits_for != "sim":  # of that line nobody knows whether it may go
            left_cents -= payout.amount_cents
            if left_cents < 0:  # and those behind it wait as well, however small
                too_little = True
                continue
        wanted.append(outbox.Wanted("submit_payout", now, {"payout_id": payout.id}))
    if not too_little:
        incidents.end(db, "float_low", "payouts", "enough for all that waited", now)
    elif look is not None:
        pause = min(FLOAT_LOOK_AGAIN * 2 ** min(look, 10), FLOAT_LOOK_AGAIN_MAX)
        outbox.put(db, "resume_payouts", due_at=now + pause, look=look + 1)
        outbox.put(db, "keep_float", due_at=now)
    if cooled_at:  # the row that was to bring this is the one that did
        outbox.put(db, "resume_payouts", due_at=min(cooled_at))
    if wanted:
        outbox.put_all(db, wanted)
    return len(wanted)


def resume(db: Db, by: str, now: datetime, rules: Rules, why: Halt | None = None) -> list[UUID]:
    """An operator has mended it: all that waited goes on, and what failed by it is sent anew.

    why: what was mended; None: all. Returns the payouts that take the place of failed ones.
    """
    reasons: Sequence[Halt] = ("initiator", "float") if why is None else (why,)
    again: list[UUID] = []
    for reason in reasons:
        incidents.end(db, halts.HALTED, reason, f"resumed by {by}", now)
    for failed in payouts.failed_by_us(db):
        if _is_halted(db, of_float=failed.kind != "reversal"):
            continue
        if payouts.was_left(db, failed):  # it lies on the balance, and is looked for anew
            outbox.put(db, "refund_balance", due_at=now, member_id=failed.member_id)
            incidents.end(db, "payout_failed_by_us", failed.id, f"resumed by {by}", now)
            continue
        outcome = payouts.request(
            db, failed.member_id, failed.account, failed.kind, failed.amount_cents, rules, now,
            requested_by=payouts.SYSTEM, key=f"instead of {failed.id}",
            msisdn=numbers.now_of(db, failed.member_id, failed.msisdn, failed.created_at),
        )  # fmt: skip
        if outcome in ("frozen", "insolvent"):
            continue  # nobody is told of what failed by us, so it stays to be sent anew
        if not isinstance(outcome, str):  # else she has taken it another way
            again += outcome
        incidents.end(db, "payout_failed_by_us", failed.id, f"resumed by {by}", now)
    for payout_id in payouts.sent(db):
        outbox.put(db, "query_payout", due_at=now, payout_id=payout_id)
    outbox.put(db, "resume_payouts", due_at=now)
    outbox.put(db, "keep_float", due_at=now)
    return again


def float_arrived(db: Db, rules: Rules, now: datetime) -> None:
    """For the task of that name: money has come into the payout float, so what waited goes on.

    Also what M-Pesa refused for want of it: nobody has to say that this is mended.
    """
    if halts.is_halted(db, "float"):
        resume(db, payouts.SYSTEM, now, rules, "float")
    else:
        outbox.put(db, "resume_payouts", due_at=now)


def _is_swapped(db: Db, payout: Payout, rules: Rules, now: datetime) -> bool:
    """Did its line get another SIM since a person last approved it? Then a person must, again."""
    found = _sim_finding(db, payout, rules, now)
    if found is None or found.swapped_on is None:
        return False
    if payout.sim_swapped_on is not None and found.swapped_on <= payout.sim_swapped_on:
        return False  # nobody else could approve it since
    db.run(
        """
        UPDATE payouts
        SET state = 'requested', approved_by = NULL, approved_at = NULL, waits_for = NULL,
            sim_swapped_on = %(swapped_on)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"swapped_on": found.swapped_on, "now": now, "id": payout.id},
    )
    incidents.open(
        db, "payout_to_approve", payout.id, now,
        cents=payout.amount_cents, what=payout.kind, sim_swapped_on=found.swapped_on.isoformat(),
    )  # fmt: skip
    to_payer = payouts.member_paid_for(db, payout) is not None
    payouts.tell(db, payout, "payer_sim_swapped" if to_payer else "payout_sim_swapped", now)
    return True


def _sim_finding(db: Db, payout: Payout, rules: Rules, now: datetime) -> sim_checks.Finding | None:
    """What is known of the line it goes to. A reversal goes back to whoever paid, by M-Pesa."""
    if not rules.sim_check or payout.kind == "reversal":
        return sim_checks.Finding(None)
    known_until = db.value(
        """
        SELECT pin_right_at FROM members WHERE id = %(member_id)s AND msisdn = %(msisdn)s
        """,
        {"member_id": payout.member_id, "msisdn": payout.msisdn},
    )
    return sim_checks.finding(db, payout.msisdn, known_until, rules, now)


def _hindrance(db: Db, payout: Payout, rules: Rules, now: datetime) -> str | None:
    """Why it cannot be sent now."""
    if freezes.is_frozen(db, payout.member_id):
        return "frozen"
    if _is_halted(db, of_float=payout.kind != "reversal"):
        return "halted"
    if cools_until := _cools(db, payout, now):
        outbox.put(db, "resume_payouts", due_at=cools_until)
        return "cooling"
    if _sim_finding(db, payout, rules, now) is None:
        sim_checks.want(db, payout.msisdn, now)
        return "sim"
    left_cents = None
    if payout.kind != "reversal":  # that is from the float that its receipt came to
        left_cents = payouts.free_cents(db, ledger.B2C) - payout.amount_cents
        if left_cents < 0 or _others_wait(db, payout):
            free = left_cents + payout.amount_cents
            if incidents.open(db, "float_low", "payouts", now, free_cents=free) is not None:
                outbox.put(db, "resume_payouts", due_at=now + FLOAT_LOOK_AGAIN, look=1)
                outbox.put(db, "keep_float", due_at=now)
            return "float"
    if not initiator.may_call(db, rules, now):
        outbox.put(db, "resume_payouts", due_at=now + initiator.PROBE_FOR)
        return "probe"
    floor_cents = rules.payout_float_floor_cents
    if left_cents is not None and left_cents < floor_cents <= left_cents + payout.amount_cents:
        outbox.put(db, "keep_float", due_at=now)
    return None


def _cools(db: Db, payout: Payout, now: datetime) -> datetime | None:
    """Until when it waits because the number it goes to, or the member's PIN, is a new one."""
    if payout.kind == "reversal":  # it goes back to whoever paid, by M-Pesa
        return None
    return numbers.cools_until(db, payout.member_id, payout.msisdn, now)


def _is_halted(db: Db, *, of_float: bool) -> bool:
    """of_float: whether it is the payout float that would be less by it."""
    return halts.is_halted(db, "initiator") or (of_float and halts.is_halted(db, "float"))


def _others_wait(db: Db, payout: Payout) -> bool:
    """Does one that was approved earlier wait for the float?"""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM payouts
                           WHERE state = 'approved' AND waits_for = 'float'
                             AND (approved_at, id) < (%(approved_at)s, %(id)s))
            """,
            {"approved_at": payout.approved_at, "id": payout.id},
        )
    )
