"""Proposals: what waits for a second person is shown with its end, and lapses without a trace."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from core import audit, incidents, ledger, pin_resets, proposals, settlements, staff
from core.database import Database, Db
from core.proposals import Proposal
from core.statement_lines import Line
from tests.core import market
from tests.core.bank import Bank
from tests.core.deal import Deal
from tests.core.market import c2b
from tests.core.office import ORIGIN, WHY, Quarrel, Terminal, at_work
from tests.core.purse import Purse
from worker import tasks

RULES = replace(market.RULES, dispute_second_above_cents=0, difference_second_above_cents=0)
PATIENCE = timedelta(hours=RULES.proposal_hours)
BY_OLIVE = f' --reason "{WHY}" --by olive'
KINDS = ("verdict", "resolution", "explanation", "booking", "number", "pin_reset")
# What Olive proposes, by what is waited for; {} is the name of what it is about.
PROPOSALS = {
    "verdict": "decide {case} --buyer 200" + BY_OLIVE,
    "resolution": "resolve {difference} --against loss" + BY_OLIVE,
    "explanation": "explain RCPT000009 --order {order}" + BY_OLIVE,
    "booking": "capital 1000 --reference BANK-1 --by olive",
    "number": "propose-number {member} +254711000077" + BY_OLIVE,
    "pin_reset": "propose-pin-reset {member}" + BY_OLIVE,
}


class Night(Terminal):
    """With one of each to be proposed, and a payout too large to go by itself."""

    def __init__(self, db: Db, now: datetime) -> None:
        super().__init__(db, now, RULES)
        purse, bank, deal = Purse(db, now), Bank(db, now), Deal(db, now)
        quarrel = Quarrel(deal)
        quarrel.comes_to("seller_reply")
        assert settlements.receive(db, c2b("MAMA", now, "RCPT000009", 50_000), now) == "suspense"
        bank.tell("A.b2c", Line("STAKEN0001", "other", -10_000, bank.at(1)))
        bank.reconcile()
        self.names = {
            "case": quarrel.dispute().number,
            "difference": next(it.number for it in bank.open() if it.receipt == "STAKEN0001"),
            "order": deal.order().number,
            "member": f"id:{purse.member.hex[-8:]}",
        }
        purse.request(4_000_000)
        self.member, self.now = purse.member, bank.night

    def propose(self, what: str) -> Proposal:
        self.ok(PROPOSALS[what].format(**self.names))
        return self.waits(what)

    def waits(self, what: str) -> Proposal:
        (found,) = (it for it in proposals.waiting(self.db) if it.what == what)
        return found

    def books(self) -> list[Any]:
        return ledger.trial_balance(self.db)

    def wait(self, how_long: timedelta) -> bool:
        """Whether something has lapsed by then."""
        self.now += how_long
        found = proposals.lapsing(self.db, self.rules, self.now)
        done = [proposals.lapse(self.db, it, self.rules, self.now) for it in found]
        return any(done)

    def lapsed(self) -> list[dict[str, Any]]:
        return [it.detail for it in incidents.undone(self.db, 100) if it.kind == "proposal_lapsed"]


@pytest.fixture
def night(db: Db, now: datetime) -> Night:
    return Night(db, now)


def test_all_that_waits_is_in_one_list_the_oldest_first(night: Night) -> None:
    for what in KINDS:
        night.now += timedelta(minutes=1)
        night.propose(what)
    shown = [line.split("  ")[0] for line in night.ok("waiting").splitlines()]
    assert shown == ["what", "payout", *(what.replace("_", " ") for what in KINDS)]


def test_the_list_says_who_since_when_and_until_when(night: Night) -> None:
    night.propose("verdict")
    _, payout, verdict = night.ok("waiting").splitlines()
    case = night.names["case"]
    assert verdict.split() == (
        f"verdict 500 olive 22/11/2026 04:00 25/11/2026 04:00 approve {case}".split()
    )
    assert ("40,000  a member" in payout, "  never  " in payout) == (True, True)


def test_nothing_waits(db: Db, now: datetime) -> None:
    assert Terminal(db, now).ok("waiting") == "Nothing waits for a second person."


def test_what_the_list_says_to_type_agrees_to_it(night: Night) -> None:
    for what in KINDS:
        night.propose(what)
        line = night.ok("waiting").splitlines()[-1]
        night.ok(f"{line.split('  ')[-1].strip()} --by peter")
    payout = night.ok("waiting").splitlines()[1]
    night.ok(f"{payout.split('  ')[-1].strip()} --by peter")
    assert proposals.waiting(night.db) == []


def test_what_nobody_agreed_to_in_time_lapses_and_moves_nothing(night: Night) -> None:
    before = night.books()
    for what in KINDS:
        night.propose(what)
    assert not night.wait(PATIENCE - timedelta(seconds=1))
    assert night.lapsed() == []
    assert night.wait(timedelta(seconds=1))
    assert [it.what for it in proposals.waiting(night.db)] == ["payout"]
    assert len(night.lapsed()) == len(KINDS)
    assert night.books() == before
    for act in audit.newest(night.db, len(KINDS)):
        assert (act.who, act.origin, act.after["state"]) == ("system", "schedule", "declined")
    for what in KINDS:
        night.propose(what)


def test_who_proposed_what_lapsed_is_among_what_is_wrong(night: Night) -> None:
    night.propose("number")
    night.wait(PATIENCE)
    assert f"number {night.names['member']}  proposed by olive" in night.ok("incidents")


def test_nobody_else_of_the_same_role_takes_it_back(night: Night) -> None:
    otto = _hire(night, "otto", ["operator"])
    for what in KINDS:
        it = night.propose(what)
        assert proposals._take_back(night.db, it, otto, night.now) == "not_allowed", what
        assert night.waits(what) == it


def test_that_of_one_who_has_left_lapses_too(night: Night) -> None:
    for what in KINDS:
        night.propose(what)
    chief = at_work(night.db, "chief")
    assert staff.retire(night.db, "olive", chief, night.now) == "retired"
    assert night.wait(PATIENCE)
    assert [it.what for it in proposals.waiting(night.db)] == ["payout"]


def test_what_came_in_its_place_meanwhile_has_time_of_its_own(night: Night) -> None:
    old = night.propose("booking")
    night.now += PATIENCE
    night.ok(f"decline-booking {old.name} --by peter")
    assert not proposals.lapse(night.db, old, night.rules, night.now)
    old = night.propose("resolution")
    night.now += PATIENCE
    night.ok(f'decline-resolution {old.name} --reason "{WHY}" --by olive')
    night.propose("resolution")
    assert not proposals.lapse(night.db, old, night.rules, night.now)
    assert night.lapsed() == []


def test_what_was_agreed_to_at_the_last_moment_stands(night: Night) -> None:
    old = night.propose("pin_reset")
    night.now += PATIENCE
    night.ok(f"approve-pin-reset {night.names['member']} --by peter")
    assert not proposals.lapse(night.db, old, night.rules, night.now)
    assert pin_resets.is_open(night.db, night.member, night.now)


def test_the_scheduled_task_lets_them_lapse(new_database: Callable[[], Any], now: datetime) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now)
        with database.begin() as db:
            night = Night(db, now)
            for what in KINDS:
                night.propose(what)
        later = night.now + PATIENCE
        database.clock = lambda: later
        work: Any = type("OnlyADatabase", (), {"database": database, "rules": RULES})()
        tasks.SCHEDULED["lapse_proposals"](work)
        with database.begin() as db:
            night.db = db
            assert len(night.lapsed()) == len(KINDS)
        database.close()


def _hire(night: Night, name: str, roles: list[staff.Role]) -> staff.Actor:
    chief = at_work(night.db, "chief")
    assert staff.add(night.db, name, roles, None, chief, ORIGIN, night.now) == "added"
    return at_work(night.db, name)
