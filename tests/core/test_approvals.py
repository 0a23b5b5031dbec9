"""Payouts and a second person: each act on the record, and nobody lets their own money go."""

from datetime import datetime
from uuid import UUID

import pytest

from core import approvals, audit, freezes, halts, ledger
from core.database import Db
from core.staff import Actor
from tests.core.market import msisdn, person
from tests.core.office import hire
from tests.core.purse import EARNED_CENTS, RULES, Purse
from tests.core.test_number_changes import move_number

LARGE = 2_000_100
WHY = "She does not know of it."


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


@pytest.fixture
def peter(db: Db) -> Actor:
    return hire(db, "peter", ["approver"])


def acts(purse: Purse, payout_id: UUID) -> list[tuple[str, str]]:
    return [(act.who, act.what) for act in audit.of(purse.db, f"payout {payout_id}")]


def test_an_approver_lets_it_go_and_it_is_on_the_record(purse: Purse, peter: Actor) -> None:
    payout_id = purse.ask(LARGE)
    assert approvals.approve(purse.db, payout_id, peter, purse.now) == "approved"
    assert purse.payout(payout_id).approved_by == "peter"
    assert acts(purse, payout_id) == [("peter", "payout_approved")]
    assert approvals.approve(purse.db, payout_id, peter, purse.now) == "not_waiting"
    assert len(acts(purse, payout_id)) == 1


def test_an_approver_stops_it_with_a_reason(purse: Purse, peter: Actor) -> None:
    payout_id = purse.ask(LARGE)
    assert approvals.reject(purse.db, payout_id, " no ", peter, purse.now) == "no_reason"
    assert approvals.reject(purse.db, payout_id, WHY, peter, purse.now) == "rejected"
    assert ledger.balance(purse.db, purse.seller) == EARNED_CENTS
    (act,) = audit.of(purse.db, f"payout {payout_id}")
    assert act.after == {"state": "rejected", "why": WHY, "cents": LARGE}


def test_an_operator_is_no_second_person(purse: Purse) -> None:
    olive, payout_id = hire(purse.db, "olive"), purse.ask(LARGE)
    assert approvals.approve(purse.db, payout_id, olive, purse.now) == "not_allowed"
    assert approvals.reject(purse.db, payout_id, WHY, olive, purse.now) == "not_allowed"
    assert purse.state(payout_id) == "requested"


def test_nobody_lets_their_own_money_go_or_stops_it(purse: Purse) -> None:
    trader = hire(purse.db, "trader", ["approver"], purse.msisdn)
    payout_id = purse.ask(LARGE)
    assert approvals.approve(purse.db, payout_id, trader, purse.now) == "own"
    assert approvals.reject(purse.db, payout_id, WHY, trader, purse.now) == "own"
    assert purse.state(payout_id) == "requested"
    assert "payout_own_approval" in purse.open_incidents()
    assert acts(purse, payout_id) == []


def test_nobody_lets_anothers_money_go_to_their_own_phone(purse: Purse) -> None:
    trader = hire(purse.db, "trader", ["approver"], "+254711999888")
    payout_id = purse.ask(LARGE, msisdn="+254711999888")
    assert approvals.approve(purse.db, payout_id, trader, purse.now) == "own"


@pytest.mark.parametrize(("known_by", "goes_to"), [(8, 50), (50, 8)])
def test_nobody_lets_anothers_money_go_to_another_number_of_their_own(
    purse: Purse, known_by: int, goes_to: int
) -> None:
    move_number(purse.db, person(purse.db, purse.now, 8, "Trader"), msisdn(50), purse.now)
    trader = hire(purse.db, "trader", ["approver"], msisdn(known_by))
    payout_id = purse.ask(LARGE, msisdn=msisdn(goes_to))
    assert approvals.approve(purse.db, payout_id, trader, purse.now) == "own"
    assert approvals.reject(purse.db, payout_id, WHY, trader, purse.now) == "own"


def test_nobody_approves_what_they_asked_for(purse: Purse, peter: Actor) -> None:
    payout_id = purse.ask(LARGE, requested_by="peter")
    assert approvals.approve(purse.db, payout_id, peter, purse.now) == "own"


def test_a_frozen_members_stays(purse: Purse, peter: Actor) -> None:
    payout_id = purse.ask(LARGE)
    freezes.freeze(purse.db, purse.member, "a lost phone", "olive", purse.now)
    assert approvals.approve(purse.db, payout_id, peter, purse.now) == "member_frozen"


def test_an_operator_ends_a_halt_on_the_record(purse: Purse, peter: Actor) -> None:
    payout_id = purse.accepted()
    failed = purse.failed(payout_id, "2001", ours=True, halts="initiator")
    purse.settle(payout_id, failed)
    assert approvals.resume(purse.db, None, peter, RULES, purse.now) == "not_allowed"
    assert halts.is_halted(purse.db, "initiator")
    olive = hire(purse.db, "olive")
    assert approvals.resume(purse.db, "initiator", olive, RULES, purse.now) == "resumed"
    assert not halts.is_halted(purse.db, "initiator")
    (act,) = audit.of(purse.db, "payouts")
    assert (act.who, act.before, act.after["sent_anew"]) == ("olive", {"halted": ["initiator"]}, 1)
