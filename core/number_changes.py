"""Number changes: a member comes with another phone number, or loses the one there is.

One of ours proposes it, another agrees, and then it is carried out as one: the account, its orders
and its PIN stay as they are; whoever holds the old number finds nothing of them there.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

from core import (
    audit,
    deals,
    incidents,
    links,
    members,
    messages,
    opt_outs,
    outbox,
    payouts,
    phone,
    pin_resets,
    reasons,
    staff,
)
from core.database import Db
from core.rules import Rules
from core.staff import Actor

Unfit = Literal["not_allowed", "no_reason", "not_mobile", "same_number", "taken", "party"]

WORKER: Final = "worker"  # from where it is carried out, in the audit log
OWN: Final = "number_own_change"  # the incident: somebody of ours, and their own number
VOID: Final = "number_not_changed"  # it was agreed on, and could not be any more

_COLUMNS: Final[LiteralString] = """
    id, member_id, from_msisdn, to_msisdn, state, reason, proposed_by, proposed_at, decided_by"""


@dataclass(frozen=True)
class Change:
    """from_msisdn None: the member had no number. to_msisdn None: the member is to have none."""

    id: UUID
    member_id: UUID
    from_msisdn: str | None = field(repr=False)
    to_msisdn: str | None = field(repr=False)
    state: Literal["proposed", "approved", "done", "void", "declined"]
    reason: str
    proposed_by: UUID
    proposed_at: datetime
    decided_by: UUID | None


def propose(
    db: Db, member_id: UUID, to_msisdn: str | None, reason: str, by: Actor, now: datetime
) -> Literal["proposed", "already_proposed"] | Unfit:
    """An operator knows who it is, and why; nothing changes before a second person agrees.

    to_msisdn: None where the number is somebody else's by now and no other is known. "taken": a
    member has it who owns something here. "party": it is the operator's own account or number.
    """
    if not by.may("operator"):
        return "not_allowed"
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    if to_msisdn is not None and not phone.is_kenyan_mobile(to_msisdn):
        return "not_mobile"
    _take_turns(db, member_id)
    if _is_party(db, member_id, to_msisdn, by, now):
        return "party"
    if _open(db, member_id) is not None:
        return "already_proposed"
    from_msisdn = _number(db, member_id)
    if from_msisdn == to_msisdn:
        return "same_number"
    if to_msisdn is not None and _in_the_way(db, to_msisdn) == "taken":
        return "taken"
    db.run(
        """
        INSERT INTO number_changes (id, member_id, from_msisdn, to_msisdn, state, reason,
                                    proposed_by, proposed_at)
        VALUES (%(id)s, %(member_id)s, %(from)s, %(to)s, 'proposed', %(reason)s, %(by)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "member_id": member_id,
            "from": from_msisdn,
            "to": to_msisdn,
            "reason": reason,
            "by": by.who.id,
            "now": now,
        },
    )
    before, after = {"number": _ending(from_msisdn)}, {"number": _ending(to_msisdn), "why": reason}
    by.write(db, "number_change_proposed", _subject(member_id), before, after, now)
    return "proposed"


def approve(
    db: Db, member_id: UUID, by: Actor, now: datetime
) -> Literal["approved", "not_allowed", "not_proposed", "own", "party", "taken"]:
    """A second person agrees, and it is carried out at once (the task change_number).

    "taken": somebody began to trade with that number meanwhile.
    """
    if not by.may("approver"):
        return "not_allowed"
    _take_turns(db, member_id)
    change = _open(db, member_id)
    if change is None or change.state != "proposed":
        return "not_proposed"
    if change.proposed_by == by.who.id:
        incidents.open(db, OWN, member_id, now, by=by.name)
        return "own"
    if _is_party(db, member_id, change.to_msisdn, by, now):
        return "party"
    if change.to_msisdn is not None and _in_the_way(db, change.to_msisdn) == "taken":
        return "taken"
    _decide(db, change, "approved", by, {}, now)
    outbox.put(db, "change_number", due_at=now, change_id=change.id)
    return "approved"


def decline(
    db: Db, member_id: UUID, reason: str, by: Actor, now: datetime
) -> Literal["taken_back", "not_allowed", "not_proposed", "no_reason"]:
    """A second person does not agree, or whoever proposed it takes it back."""
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    _take_turns(db, member_id)
    change = _open(db, member_id)
    if change is None or change.state != "proposed":
        return "not_proposed"
    if not by.may_decline(change.proposed_by, change.proposed_at):
        return "not_allowed"
    _decide(db, change, "declined", by, {"why": reason}, now)
    return "taken_back"


def carry_out(
    db: Db, change_id: UUID, rules: Rules, now: datetime
) -> Literal["done", "void", "not_approved"]:
    """For the task change_number, which ended what was open on the numbers' phones before.

    An account without anything in it that has the new number makes room. Payouts that were not sent
    follow to the new number, and wait there. "void": the number was taken, or changed, meanwhile.
    """
    change = by_id(db, change_id)
    _take_turns(db, change.member_id)
    change = by_id(db, change_id)
    if change.state != "approved":
        return "not_approved"
    decider = _name(db, change.decided_by)
    _lock_members(db, change)
    absorbed = _in_the_way(db, change.to_msisdn) if change.to_msisdn else None
    if absorbed == "taken" or _number(db, change.member_id) != change.from_msisdn:
        _end(db, change, "void", None, now)
        incidents.open(db, VOID, change.member_id, now, taken=absorbed == "taken")
        return "void"
    if absorbed is not None:
        members.close(db, absorbed, now)
        closed = {"closed": True, "why": "it was empty, and its number is another's"}
        subject = _subject(absorbed)
        audit.write(db, decider, WORKER, "member_closed", subject, {"closed": False}, closed, now)
    members.give_number(db, change.member_id, change.to_msisdn, now)
    pin_resets.void(db, change.member_id, now)  # it was for whoever had the old one
    cool_until = None
    if change.to_msisdn is not None:
        cool_until = now + timedelta(hours=rules.number_cooling_hours)
    _end(db, change, "done", cool_until, now)
    if change.from_msisdn is not None:
        links.forget(db, change.from_msisdn)
        deals.follow(db, change.member_id, change.from_msisdn, change.to_msisdn, now)
    if cool_until is not None:
        _move_in(db, change, cool_until, rules, now)
    before = {"number": _ending(change.from_msisdn)}
    after = {"number": _ending(change.to_msisdn), "money_from": cool_until}
    subject = _subject(change.member_id)
    audit.write(db, decider, WORKER, "number_changed", subject, before, after, now)
    return "done"


def by_id(db: Db, change_id: UUID) -> Change:
    found = db.row(
        Change,
        f"""
        SELECT {_COLUMNS}
        FROM number_changes WHERE id = %(id)s
        """,
        {"id": change_id},
    )
    assert found is not None, f"no number change {change_id}"
    return found


def unfinished(db: Db) -> list[Change]:
    """Those that wait for a second person, or to be carried out, oldest first."""
    return db.rows(
        Change,
        f"""
        SELECT {_COLUMNS}
        FROM number_changes WHERE state IN ('proposed', 'approved') ORDER BY proposed_at, id
        """,
    )


def without_number(db: Db) -> list[UUID]:
    """The members who have none now, whose money waits."""
    found: list[UUID] | None = db.value(
        "SELECT array_agg(id ORDER BY id) FROM members WHERE msisdn IS NULL AND deleted_at IS NULL"
    )
    return found or []


def of_members_ending(db: Db, letters: str) -> list[UUID]:
    """Those whose ids end so, in hex digits without dashes."""
    found: list[UUID] | None = db.value(
        """
        SELECT array_agg(id ORDER BY id) FROM members
        WHERE deleted_at IS NULL AND replace(id::text, '-', '') LIKE %(end)s
        """,
        {"end": f"%{letters}"},
    )
    return found or []


def _move_in(db: Db, change: Change, cool_until: datetime, rules: Rules, now: datetime) -> None:
    """What belongs to the member comes along; both phones are told."""
    assert change.to_msisdn is not None, f"change {change.id} has no new number"
    payouts.follow(db, change.member_id, now)
    outbox.put(db, "resume_payouts", due_at=now)
    if change.from_msisdn is None or not phone.is_kenyan_mobile(change.from_msisdn):
        for kind in ("refund_balance", "pay_earnings"):  # what lay here with nowhere to go
            outbox.put(db, kind, due_at=now, member_id=change.member_id)
    if change.from_msisdn is not None:
        opt_outs.copy(db, change.from_msisdn, change.to_msisdn)
        member = members.by_id(db, change.member_id)
        assert member is not None, f"member {change.member_id} was given a number, and has none"
        support = {"support": phone.local(rules.support_msisdn)}
        messages.of_phone(
            *(db, "number_left", str(change.id), change.from_msisdn, member.language),
            *(support, now),
        )
    messages.of_member(db, "number_changed", change.member_id, {"until": cool_until}, now)


def _take_turns(db: Db, member_id: UUID) -> None:
    """Of two who speak of one member's number the second sees what the first did."""
    db.run(
        "SELECT pg_advisory_xact_lock(hashtextextended('number ' || %(id)s, 0))",
        {"id": str(member_id)},
    )


def _lock_members(db: Db, change: Change) -> None:
    """Theirs whom it touches. Not even a row that refers to who makes room comes in between."""
    db.run("SELECT FROM members WHERE id = %(id)s FOR NO KEY UPDATE", {"id": change.member_id})
    db.run(
        "SELECT FROM members WHERE msisdn = %(to)s AND deleted_at IS NULL FOR UPDATE",
        {"to": change.to_msisdn},
    )


def _in_the_way(db: Db, msisdn: str) -> UUID | Literal["taken"] | None:
    """Who has that number: an account with nothing in it, one that matters, or nobody (None)."""
    if members.sharing(db, msisdn):
        return "taken"
    found = members.by_msisdn(db, msisdn)
    if found is None:
        return None
    return found.id if members.has_nothing(db, found.id) else "taken"


def _is_party(db: Db, member_id: UUID, to_msisdn: str | None, by: Actor, now: datetime) -> bool:
    """Nobody of ours has a hand in their own number; who tries is told of."""
    if not (staff.is_member(db, by.who, member_id) or to_msisdn in staff.lines_of(db, by.who)):
        return False
    incidents.open(db, OWN, member_id, now, by=by.name)
    return True


def _number(db: Db, member_id: UUID) -> str | None:
    found: str | None = db.value(
        "SELECT msisdn FROM members WHERE id = %(id)s AND deleted_at IS NULL", {"id": member_id}
    )
    return found


def _open(db: Db, member_id: UUID) -> Change | None:
    return db.row(
        Change,
        f"""
        SELECT {_COLUMNS}
        FROM number_changes
        WHERE member_id = %(member_id)s AND state IN ('proposed', 'approved')
        """,
        {"member_id": member_id},
    )


def _decide(
    db: Db,
    change: Change,
    state: Literal["approved", "declined"],
    by: Actor,
    after: dict[str, object],
    now: datetime,
) -> None:
    db.run(
        """
        UPDATE number_changes SET state = %(state)s, decided_by = %(by)s, decided_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "by": by.who.id, "now": now, "id": change.id},
    )
    subject, after = _subject(change.member_id), {"state": state, **after}
    by.write(db, f"number_change_{state}", subject, {"state": change.state}, after, now)


def _end(
    db: Db,
    change: Change,
    state: Literal["done", "void"],
    cool_until: datetime | None,
    now: datetime,
) -> None:
    db.run(
        """
        UPDATE number_changes
        SET state = %(state)s, ended_at = %(now)s, cool_until = %(cool_until)s WHERE id = %(id)s
        """,
        {"state": state, "now": now, "cool_until": cool_until, "id": change.id},
    )


def _name(db: Db, staff_id: UUID | None) -> str:
    found: str = db.value("SELECT name FROM staff WHERE id = %(id)s", {"id": staff_id})
    return found


def _subject(member_id: UUID) -> str:
    return f"member {member_id}"


def _ending(msisdn: str | None) -> str:
    """For the audit log, which keeps no number."""
    return "none" if msisdn is None else f"..{msisdn[-3:]}"
