"""Discretion: many small decisions of one of ours are as large as one, and wait for a second."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from core import differences, matching, reconcile, resolutions, statement_lines
from core.database import Database, Db
from core.rules import Rules
from core.statement_lines import Line
from tests.core import market
from tests.core.bank import DAY, Bank
from tests.core.deal import Deal
from tests.core.market import RULES
from tests.core.office import WHY, Quarrel, hire
from tests.core.purse import Purse
from tests.core.test_resolutions import Counter

HELD, TAKEN = 50_000, 10_000  # of the one dispute, and of each difference


class Day:
    """Of Olive's: two differences and a dispute, each of which she may decide alone."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.counter, self.quarrel = Counter(Bank(db, now), Purse(db, now)), Quarrel(Deal(db, now))
        bank = self.counter.bank
        for receipt in ("STAKEN0001", "STAKEN0002"):
            bank.tell("A.b2c", Line(receipt, "other", -TAKEN, bank.at(1)))
        bank.reconcile()
        self.first, self.second = (it.number for it in bank.open() if it.kind == "not_with_us")
        self.quarrel.comes_to("seller_reply")
        self.quarrel.deal.now = bank.night

    def books(self, number: int, most: int) -> str:
        rules = Rules(decisions_alone_max_cents=most)
        return self.counter.decide(number, rules=rules)

    def decides(self, most: int) -> str:
        rules = Rules(token_key=RULES.token_key, decisions_alone_max_cents=most)
        return self.quarrel.decide(20_000, rules=rules)


@pytest.fixture
def day(db: Db, now: datetime) -> Day:
    return Day(db, now)


def test_what_one_decides_alone_in_a_day_has_a_sum(day: Day) -> None:
    most = 2 * TAKEN - 1
    assert [day.books(it, most) for it in (day.first, day.second)] == ["resolved", "proposed"]


def test_up_to_that_sum_one_is_enough(day: Day) -> None:
    most = 2 * TAKEN + HELD
    assert [day.books(it, most) for it in (day.first, day.second)] == ["resolved"] * 2
    assert day.decides(most) == "decided"


def test_disputes_and_differences_are_of_one_sum(day: Day) -> None:
    assert day.books(day.first, HELD + TAKEN - 1) == "resolved"
    assert day.decides(HELD + TAKEN - 1) == "proposed"
    assert day.quarrel.approve() == "decided"
    assert day.decides(HELD + TAKEN - 1) == "already_decided"
    assert day.books(day.second, 2 * TAKEN) == "resolved"  # what two decided is not hers alone


def test_a_decided_dispute_leaves_less_for_differences(day: Day) -> None:
    assert day.decides(HELD + TAKEN - 1) == "decided"
    assert day.books(day.first, HELD + TAKEN - 1) == "proposed"


def test_each_of_ours_has_a_day_of_their_own(day: Day) -> None:
    assert day.books(day.first, TAKEN) == "resolved"
    day.counter.olive = hire(day.counter.db, "otto")
    assert day.books(day.second, TAKEN) == "resolved"


def test_a_day_later_there_is_room_again(day: Day) -> None:
    assert day.books(day.first, TAKEN) == "resolved"
    day.counter.bank.night += timedelta(days=1)
    assert day.books(day.second, TAKEN) == "resolved"


@pytest.mark.parametrize(
    ("one", "day_", "state"),
    [
        (market.TOTAL_CENTS, market.TOTAL_CENTS, "paid"),
        (market.TOTAL_CENTS - 1, market.TOTAL_CENTS, "placed"),
        (market.TOTAL_CENTS, market.TOTAL_CENTS - 1, "placed"),
    ],
)
def test_a_file_pays_no_more_than_whoever_brought_it_may_decide_alone(
    db: Db, now: datetime, one: int, day_: int, state: str
) -> None:
    """A file is written as easily as read; what is too much for one is resolved by two."""
    rules = Rules(difference_second_above_cents=one, decisions_alone_max_cents=day_)
    bank, olive = Bank(db, now), hire(db, "olive")
    peter = hire(db, "peter", ["approver"])
    bought = market.pushed(db, market.purchase(db, market.open_market(db, now), now), now)
    bank.paid_in("RCPT000001", market.TOTAL_CENTS, bought.reference)
    for each in bank.statements():
        statement_lines.keep(db, each, bank.night, olive.who.id)
    for by in (olive, None):  # the worker comes by, and books no more than she may
        for proof in reconcile.provable(db):
            reconcile.settle(db, proof, rules, bank.night, by)
        matching.match(db, bank.night)
        assert _state(db) == state
    differences.judge(db, DAY, bank.night)
    left = [it for it in bank.open() if it.kind == "not_with_us"]
    assert [it.is_unknown_payment for it in left] == [True] * (state == "placed")
    for it in left:
        args = (db, it.number, olive, "suspense", WHY, rules, bank.night)
        assert resolutions.decide(*args) == "proposed"
        assert resolutions.approve(db, it.number, peter, bank.night) == "resolved"
    assert _state(db) == "paid"


def test_what_files_of_hers_proved_today_leaves_less_for_decisions(day: Day, now: datetime) -> None:
    db, bank, olive = day.counter.db, day.counter.bank, day.counter.olive
    buyer, stalls = market.person(db, now, 77), day.quarrel.deal.market
    bought = market.purchase(db, stalls, now, buyer=buyer, payer=market.msisdn(77))
    reference = market.pushed(db, bought, now).reference
    bank.paid_in("RCPT000001", market.TOTAL_CENTS, reference)
    statement_lines.keep(db, bank.statement("A.c2b"), bank.night, olive.who.id)
    (proof,) = reconcile.provable(db)
    assert reconcile.settle(db, proof, Rules(), bank.night, olive) != reconcile.LEFT
    assert day.books(day.first, market.TOTAL_CENTS + TAKEN - 1) == "proposed"
    assert day.books(day.second, market.TOTAL_CENTS + TAKEN) == "resolved"


def test_what_mpesa_tells_us_itself_is_booked_whatever_its_sum(db: Db, now: datetime) -> None:
    bank = Bank(db, now)
    bought = market.pushed(db, market.purchase(db, market.open_market(db, now), now), now)
    bank.paid_in("RCPT000001", market.TOTAL_CENTS, bought.reference)
    statement_lines.keep(db, bank.statement("A.c2b"), bank.night)
    (proof,) = reconcile.provable(db)
    nothing = Rules(difference_second_above_cents=0, decisions_alone_max_cents=0)
    reconcile.settle(db, proof, nothing, bank.night)
    assert _state(db) == "paid"


def test_two_decisions_at_the_same_moment_are_of_one_sum(
    new_database: Callable[[], Any], now: datetime
) -> None:
    with new_database() as url, ThreadPoolExecutor(1) as thread:
        database = Database(url, clock=lambda: now, random=random.Random(1), size=3)
        with database.begin() as db:
            day = Day(db, now)

        def book() -> str:
            with database.begin() as db:
                day.counter.db = db
                return day.books(day.first, HELD + TAKEN - 1)

        with database.begin() as db:
            day.quarrel.db = db
            assert day.decides(HELD + TAKEN - 1) == "decided"
            said = thread.submit(book)
            while not _somebody_waits(database):
                assert not said.done(), "she decided both without the second being counted"
        assert said.result(60) == "proposed"
        database.close()


def _somebody_waits(database: Database) -> bool:
    with database.begin() as db:
        return bool(
            db.value(
                "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                " WHERE NOT l.granted AND a.datname = current_database()"
            )
        )


def _state(db: Db) -> str:
    """Of the one checkout that is not the quarrel's."""
    found: str = db.value("SELECT state FROM checkouts ORDER BY id DESC LIMIT 1")
    return found
