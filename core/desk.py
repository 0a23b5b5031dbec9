"""Desk: what staff do for a member who calls, each act in the audit log with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from core import cases, freezes, members, staff
from core.database import Db
from core.staff import Actor

REASON_LETTERS_MIN: Final = 5


def freeze(
    db: Db, member_ids: Sequence[UUID], reason: str, by: Actor, now: datetime
) -> Literal["frozen", "already_frozen", "not_allowed", "no_reason"]:
    """A phone is lost, or somebody else has its number: no money of its members leaves any more.

    They may look around and order as before. member_ids: one, or a phone's owners, in their order.
    reason: without personal data.
    """
    if not by.may("operator"):
        return "not_allowed"
    if len(reason.strip()) < REASON_LETTERS_MIN:
        return "no_reason"
    outcomes = set()
    for member_id in member_ids:
        outcome = freezes.freeze(db, member_id, reason.strip(), by.name, now)
        outcomes.add(outcome)
        if outcome == "frozen":
            after = {"frozen": True, "why": reason.strip()}
            by.write(db, "member_frozen", f"member {member_id}", {"frozen": False}, after, now)
    return "frozen" if "frozen" in outcomes else "already_frozen"


def unfreeze(
    db: Db, member_ids: Sequence[UUID], by: Actor, now: datetime
) -> Literal["lifted", "not_frozen", "own", "not_allowed"]:
    """A second person is sure that the phone is its owner's again: what waited goes on its way.

    "own": whoever froze it, or whose own money it is, may not. It is all of these or nobody.
    """
    if not by.may("approver"):
        return "not_allowed"
    frozen = _frozen(db, member_ids)
    if not frozen:
        return "not_frozen"
    if staff.is_member(db, by.who, *member_ids) or by.name in {each.frozen_by for each in frozen}:
        return "own"
    for each in frozen:
        lifted = freezes.lift(db, each.member_id, by.name, now)
        assert lifted == "lifted", f"the freeze of member {each.member_id} is {lifted}"
        before = {"frozen": True, "frozen_by": each.frozen_by}
        by.write(db, "member_unfrozen", f"member {each.member_id}", before, {"frozen": False}, now)
    return "lifted"


def close_case(
    db: Db, number: int, note: str, by: Actor, now: datetime
) -> Literal["closed", "not_open", "not_allowed", "no_reason"]:
    """Whoever asked to be called was. note: what came of it, without personal data."""
    if not by.may("operator"):
        return "not_allowed"
    if len(note.strip()) < REASON_LETTERS_MIN:
        return "no_reason"
    if cases.close(db, number, note.strip(), now) == "not_open":
        return "not_open"
    after = {"state": "closed", "note": note.strip()}
    by.write(db, "case_closed", f"case {number}", {"state": "open"}, after, now)
    return "closed"


def owners(db: Db, msisdn: str) -> list[UUID]:
    """Whose phone it is: one member, or the two who share it; in the order of their locks."""
    one = members.by_msisdn(db, msisdn)
    found = [one] if one is not None else members.sharing(db, msisdn)
    return sorted(member.id for member in found)


@dataclass(frozen=True)
class _Frozen:
    member_id: UUID
    frozen_by: str


def _frozen(db: Db, member_ids: Sequence[UUID]) -> list[_Frozen]:
    """Those of them whose money may not leave, and who said so; nobody lifts it meanwhile."""
    return db.rows(
        _Frozen,
        """
        SELECT member_id, frozen_by FROM freezes
        WHERE member_id = ANY(%(ids)s) AND lifted_at IS NULL
        ORDER BY member_id FOR NO KEY UPDATE
        """,
        {"ids": list(member_ids)},
    )
