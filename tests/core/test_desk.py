"""Desk: staff freeze money within a moment; to let it go takes a second person."""

from datetime import datetime
from uuid import UUID

import pytest

from core import audit, cases, desk, freezes, incidents, members
from core.database import Db
from core.staff import Actor
from tests.core.market import person
from tests.core.office import hire
from tests.core.people import RULES, member

PHONE = "+254711000005"
LOST = "Her phone was stolen at the market."


@pytest.fixture
def amina(db: Db, now: datetime) -> UUID:
    return person(db, now, 5, "Amina")


@pytest.fixture
def olive(db: Db) -> Actor:
    return hire(db, "olive", ["operator", "approver"])


@pytest.fixture
def peter(db: Db) -> Actor:
    return hire(db, "peter", ["approver"])


def test_a_lost_phones_money_is_frozen_and_a_second_person_lets_it_go(
    db: Db, now: datetime, amina: UUID, olive: Actor, peter: Actor
) -> None:
    assert desk.freeze(db, [amina], LOST, olive, now) == "frozen"
    assert freezes.is_frozen(db, amina)
    assert desk.freeze(db, [amina], LOST, olive, now) == "already_frozen"
    assert desk.unfreeze(db, [amina], olive, now) == "own"
    assert freezes.is_frozen(db, amina)
    assert desk.unfreeze(db, [amina], peter, now) == "lifted"
    assert not freezes.is_frozen(db, amina)
    assert desk.unfreeze(db, [amina], peter, now) == "not_frozen"


def test_both_acts_are_on_the_record_without_the_number(
    db: Db, now: datetime, amina: UUID, olive: Actor, peter: Actor
) -> None:
    desk.freeze(db, [amina], LOST, olive, now)
    desk.freeze(db, [amina], LOST, olive, now)
    desk.unfreeze(db, [amina], olive, now)
    desk.unfreeze(db, [amina], peter, now)
    frozen, unfrozen = audit.of(db, f"member {amina}")
    assert (frozen.who, frozen.what, frozen.after["why"]) == ("olive", "member_frozen", LOST)
    assert (unfrozen.who, unfrozen.what) == ("peter", "member_unfrozen")
    assert unfrozen.before == {"frozen": True, "frozen_by": "olive"}
    assert PHONE not in str([frozen, unfrozen])


def test_two_people_of_one_phone_are_frozen_together(
    db: Db, now: datetime, olive: Actor, peter: Actor
) -> None:
    owner = member(db, now, 5)
    joined = members.share(
        db,
        owner,
        name="Juma",
        language="sw",
        consent_version="1",
        consent_wording="I agree.",
        pin="7391",
        rules=RULES,
        now=now,
    )
    assert joined == "joined"
    both = desk.owners(db, PHONE)
    assert sorted(one.id for one in members.sharing(db, PHONE)) == both
    assert desk.freeze(db, both, LOST, olive, now) == "frozen"
    assert [freezes.is_frozen(db, one) for one in both] == [True, True]
    assert desk.unfreeze(db, both, peter, now) == "lifted"
    assert [freezes.is_frozen(db, one) for one in both] == [False, False]


def test_nobody_lets_their_own_money_go(db: Db, now: datetime, amina: UUID, olive: Actor) -> None:
    amina_at_work = hire(db, "amina", ["approver"], PHONE)
    assert desk.freeze(db, [amina], LOST, olive, now) == "frozen"
    assert desk.unfreeze(db, [amina], amina_at_work, now) == "own"


def test_who_may_not_does_not(
    db: Db, now: datetime, amina: UUID, peter: Actor, olive: Actor
) -> None:
    otto = hire(db, "otto", ["operator"])
    assert desk.freeze(db, [amina], LOST, peter, now) == "not_allowed"
    assert desk.freeze(db, [amina], "  ", olive, now) == "no_reason"
    assert desk.freeze(db, [amina], LOST, olive, now) == "frozen"
    assert desk.unfreeze(db, [amina], otto, now) == "not_allowed"


def test_a_case_is_closed_with_a_note_and_its_incident(
    db: Db, now: datetime, amina: UUID, olive: Actor, peter: Actor
) -> None:
    assert cases.open(db, amina, "payment", [], now) == "opened"
    (case,) = cases.waiting(db)
    assert (
        desk.close_case(db, case.number, "She paid twice; refunded.", peter, now) == "not_allowed"
    )
    assert desk.close_case(db, case.number, "", olive, now) == "no_reason"
    assert desk.close_case(db, 999_999, "Nothing there.", olive, now) == "not_open"
    assert cases.waiting(db) == [case]
    assert desk.close_case(db, case.number, "She paid twice; refunded.", olive, now) == "closed"
    assert desk.close_case(db, case.number, "Again, please.", olive, now) == "not_open"
    assert cases.waiting(db) == []
    assert incidents.find_open(db, "call_me", amina) is None
    (act,) = audit.of(db, f"case {case.number}")
    assert (act.who, act.what, act.after["state"]) == ("olive", "case_closed", "closed")
