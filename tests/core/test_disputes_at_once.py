"""Disputes raced: buyer, seller, staff and the clock at the same moment, over real connections."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from core import audit, desk, disputes, evidence, freezes, ledger, staff, verdicts
from core.database import Database, Db
from core.rules import Rules
from tests.core.deal import HELD, REFUNDED, RELEASED, Deal
from tests.core.market import RULES
from tests.core.office import ORIGIN, WHY, Quarrel, at_work, hire

THREADS = 12
ALL = (50_000, 0)  # to the buyer, to the seller
NOTHING = (0, 50_000)
TWO_PEOPLE = Rules(dispute_second_above_cents=0)


@dataclass
class Row:
    """A dispute in review, or open, that everybody gets at with a connection of their own."""

    database: Database
    quarrel: Quarrel
    now: datetime
    order_id: UUID = field(init=False)
    case: int = field(init=False)
    answer_by: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.order_id = self.quarrel.deal.id
        with self.database.begin() as db:
            dispute = disputes.by_id(db, self.quarrel.id)
        assert dispute is not None
        self.case, self.answer_by = dispute.number, dispute.answer_by

    def do(self, verb: Callable[..., Any], *given: Any) -> Any:
        with self.database.begin() as db:
            return verb(db, *given)

    def decide(self, shares: tuple[int, int], by: str = "olive", rules: Rules = RULES) -> str:
        def verb(db: Db) -> str:
            actor = at_work(db, by)
            return verdicts.decide(db, self.quarrel.id, actor, *shares, WHY, rules, self.now)

        outcome: str = self.do(verb)
        return outcome

    def approve(self, by: str = "peter") -> str:
        outcome: str = self.do(
            lambda db: verdicts.approve(db, self.quarrel.id, at_work(db, by), self.now)
        )
        return outcome

    def decline(self, by: str = "peter") -> str:
        outcome: str = self.do(
            lambda db: verdicts.decline(db, self.quarrel.id, at_work(db, by), WHY, self.now)
        )
        return outcome

    def answer(self, words: str = "They were fresh.") -> str:
        seller = self.quarrel.deal.seller
        outcome: str = self.do(disputes.answer, self.order_id, seller, words, self.now)
        return outcome

    def withdraw(self) -> str:
        buyer = self.quarrel.deal.buyer
        outcome: str = self.do(disputes.withdraw, self.order_id, buyer, self.now)
        return outcome

    def purses(self) -> tuple[int, int, int, int]:
        with self.database.begin() as db:
            self.quarrel.deal.db = self.quarrel.db = db
            return self.quarrel.deal.purses()

    def state(self) -> str:
        with self.database.begin() as db:
            self.quarrel.db = db
            return self.quarrel.state()

    def adds_up(self) -> None:
        with self.database.begin() as db:
            assert ledger.stale_balances(db) == 0
            assert ledger.unbalanced_transfers(db) == 0
            assert db.value("SELECT count(*) FROM transfers WHERE kind = 'decision'") <= 1


@pytest.fixture
def crowd(new_database: Callable[[], Any], now: datetime) -> Iterator[Database]:
    with new_database() as url:
        made = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        yield made
        made.close()


@pytest.fixture
def row(crowd: Database, now: datetime) -> Row:
    """Open, and the seller has time."""
    with crowd.begin() as db:
        quarrel = Quarrel(Deal(db, now))
        hire(db, "olive", ["operator", "approver"])
        hire(db, "peter", ["operator", "approver"])
    return Row(crowd, quarrel, now)


@pytest.fixture
def heard(row: Row) -> Row:
    """The seller has answered."""
    assert row.answer() == "answered"
    return row


def at_once(verbs: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as threads:
        return [done.result(60) for done in [threads.submit(verb) for verb in verbs]]


def test_of_many_who_decide_at_once_one_does(heard: Row) -> None:
    names = ["olive", "peter"] * 6
    verbs = [
        lambda n=name, s=shares: heard.decide(s, n)  # type: ignore[misc]
        for name, shares in zip(names, [ALL, NOTHING, ALL] * 4, strict=True)
    ]
    assert Counter(at_once(verbs)) == {"decided": 1, "already_decided": 11}
    assert heard.purses() in (REFUNDED, RELEASED)
    heard.adds_up()
    with heard.database.begin() as db:
        acts = audit.of(db, f"case {heard.case}")
    assert [act.what for act in acts] == ["dispute_decided"]


def test_a_proposal_is_approved_once_and_declined_or_approved_never_both(heard: Row) -> None:
    assert heard.decide(ALL, "olive", TWO_PEOPLE) == "proposed"
    outcomes = Counter(at_once([heard.approve, heard.decline] * 6))
    if outcomes["decided"]:
        assert outcomes == {"decided": 1, "already_decided": 11}
        assert heard.purses() == REFUNDED
    else:
        assert outcomes == {"declined": 1, "not_proposed": 11}
        assert heard.purses() == HELD
    heard.adds_up()


def test_an_answer_while_it_is_decided_is_kept_before_or_refused_after(heard: Row) -> None:
    verbs: list[Callable[[], Any]] = [lambda: heard.decide(ALL)]
    verbs += [lambda n=n: heard.answer(f"They were fresh, {n}.") for n in range(10)]  # type: ignore[misc]
    decided, *answers = at_once(verbs)
    assert decided == "decided"
    assert set(answers) <= {"added", "over"}
    with heard.database.begin() as db:
        kept = evidence.words(db, heard.quarrel.id)
    assert len(kept) == 1 + answers.count("added")
    assert heard.purses() == REFUNDED


def test_a_withdrawal_and_an_answer_at_once_end_in_one_of_two_ways(row: Row) -> None:
    outcomes = Counter(at_once([row.withdraw, row.answer] * 5))
    if outcomes["withdrawn"]:
        assert (row.state(), outcomes["over"]) == ("withdrawn", 9)
    else:
        assert outcomes == {"answered": 1, "added": 4, "too_late": 5}
        assert row.state() == "seller_reply"
    assert row.purses() == HELD


def test_a_withdrawal_and_a_decision_at_once_never_both_move_the_money(row: Row) -> None:
    """At the last moment of the seller's time by one clock, past it by another's."""
    late = Row(row.database, row.quarrel, row.answer_by)

    verbs: list[Callable[[], Any]] = [row.withdraw, lambda: late.decide(ALL)]
    outcomes = at_once(verbs * 4)
    if "withdrawn" in outcomes:
        assert Counter(outcomes) == {"withdrawn": 1, "over": 3, "already_decided": 4}
        assert row.purses() == HELD
    else:
        assert Counter(outcomes)["decided"] == 1
        assert row.purses() == REFUNDED
    row.adds_up()


def test_the_clock_and_an_answer_at_once_agree_on_who_was_first(row: Row) -> None:
    end = row.answer_by
    outcomes = at_once(
        [lambda: row.do(disputes.end_answering, row.quarrel.id, end), row.answer] * 5
    )
    with row.database.begin() as db:
        dispute = disputes.by_id(db, row.quarrel.id)
    assert dispute is not None
    assert dispute.state == "review"
    assert Counter(outcomes)["review"] == 1
    assert dispute.default_buyer == ("answered" not in outcomes)


def test_two_admins_who_retire_each_other_leave_one(crowd: Database, now: datetime) -> None:
    with crowd.begin() as db:
        hire(db, "ann", ["admin"])
        hire(db, "bob", ["admin"])
        at = {name: at_work(db, name) for name in ("chief", "ann", "bob")}
        assert staff.retire(db, "chief", at["ann"], now) == "retired"

    def retire(name: str, by: str) -> str:
        with crowd.begin() as db:
            return staff.retire(db, name, at[by], now)

    outcomes = at_once([lambda: retire("ann", "bob"), lambda: retire("bob", "ann")])
    assert sorted(outcomes) == ["not_admin", "retired"]
    with crowd.begin() as db:
        assert [one.name for one in staff.everybody(db) if one.has("admin")] in (["ann"], ["bob"])


def test_a_freeze_by_many_is_one_and_lifted_once(row: Row) -> None:
    owners = [row.quarrel.deal.buyer]

    def freeze() -> Any:
        return row.do(
            lambda db: desk.freeze(db, owners, "Her phone is lost.", at_work(db, "olive"), row.now)
        )

    def lift() -> Any:
        return row.do(lambda db: desk.unfreeze(db, owners, at_work(db, "peter"), row.now))

    assert Counter(at_once([freeze] * 8)) == {"frozen": 1, "already_frozen": 7}
    assert Counter(at_once([lift] * 8)) == {"lifted": 1, "not_frozen": 7}
    with row.database.begin() as db:
        assert not freezes.is_frozen(db, row.quarrel.deal.buyer)
        acts = audit.of(db, f"member {row.quarrel.deal.buyer}")
    assert sorted(act.what for act in acts) == ["member_frozen", "member_unfrozen"]
    assert {act.origin for act in acts} == {ORIGIN}
