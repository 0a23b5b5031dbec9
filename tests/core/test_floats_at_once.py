"""Our floats under fire: at one moment, and cut off at any statement."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import (
    approvals,
    balances,
    float_moves,
    ledger,
    payout_calls,
    payout_queue,
    payouts,
    solvency,
    treasury,
)
from core.database import Database, Db
from core.payout_calls import PayoutAnswer
from core.payout_proofs import PayoutResult
from core.rules import Rules
from tests.core import test_kill_points
from tests.core.office import at_work, hire
from tests.core.purse import EARNED_CENTS, FLOAT_CENTS, LOST, Purse

THREADS = 8
THOUSAND = 100_000
RULES = Rules(
    token_key=b"token key for tests",
    initiator_key=b"a name and a password",
    payout_float_floor_cents=200_000_000,
    payout_automatic_max_cents=100_000_000,
    sim_check=False,
)
ACCEPTED = PayoutAnswer("accepted", "0", "29115-1", "AG_1")
PAID = PayoutResult("result", "paid", "0", THOUSAND, "SG632NMUAB")


@dataclass
class Crowd:
    """Two floats that many hands reach into, each in a transaction of its own."""

    database: Database
    purse: Purse
    now: datetime

    def in_one(self, verb: Callable[[Db], Any]) -> Any:
        with self.database.begin() as db:
            return verb(db)

    def at_once(self, *verbs: Callable[[Db], Any], times: int = 1) -> Counter[Any]:
        with ThreadPoolExecutor(THREADS) as threads:
            asked = [threads.submit(self.in_one, verb) for verb in verbs * times]
            return Counter(each.result(60) for each in asked)

    def request(self, db: Db, cents: int = THOUSAND) -> Any:
        return float_moves.request(db, cents, "olive", self.now)

    def cents(self) -> tuple[int, int, int]:
        of = (ledger.C2B, ledger.TRANSIT, ledger.B2C)
        return self.in_one(lambda db: tuple(ledger.balance(db, each) for each in of))  # type: ignore[no-any-return]


@pytest.fixture
def crowd(new_database: Callable[[], Any], now: datetime) -> Iterator[Crowd]:
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        with database.begin() as db:
            purse = Purse(db, now)
            hire(db, "olive")
            hire(db, "peter", ["approver"])
        yield Crowd(database, purse, now)
        database.close()


def test_of_many_who_ask_for_a_move_one_gets_it(crowd: Crowd) -> None:
    outcomes = crowd.at_once(
        lambda db: isinstance(crowd.request(db), UUID),
        lambda db: float_moves.keep(db, RULES, crowd.now) is not None,
        times=THREADS,
    )
    assert outcomes[True] == 1
    collected, between, _ = crowd.cents()
    assert collected + between == EARNED_CENTS
    assert between in (THOUSAND, EARNED_CENTS), "one was asked for, or as much as can be spared"


def test_of_many_workers_one_calls_and_of_many_results_one_moves(crowd: Crowd) -> None:
    move_id = crowd.in_one(crowd.request)
    called = crowd.at_once(
        lambda db: float_moves.claim(db, move_id, RULES, crowd.now) is not None, times=THREADS
    )
    assert called == {True: 1, False: THREADS - 1}
    outcomes = crowd.at_once(
        lambda db: float_moves.settle(db, move_id, PAID, crowd.now),
        lambda db: float_moves.record_ack(db, move_id, LOST, crowd.now),
        lambda db: float_moves.record_timeout(db, move_id, crowd.now),
        lambda db: float_moves.query_due(db, move_id, RULES, crowd.now) and None,
        times=4,
    )
    assert outcomes["arrived"] == 1
    assert crowd.cents() == (EARNED_CENTS - THOUSAND, 0, FLOAT_CENTS + THOUSAND)


def test_what_is_taken_from_a_float_at_once_is_never_more_than_it_holds(crowd: Crowd) -> None:
    def fees(db: Db) -> None:
        crowd.purse.db = db
        crowd.purse.move("fee", crowd.purse.seller, ledger.FEES, EARNED_CENTS)

    def propose(db: Db) -> int:
        by = at_work(db, "olive")
        booking = treasury.propose(db, "fees", "c2b", EARNED_CENTS, "BANK-1", by, crowd.now)
        assert isinstance(booking, treasury.Booking), booking
        return booking.number

    crowd.in_one(fees)
    number = crowd.in_one(propose)
    outcomes = crowd.at_once(
        lambda db: treasury.book(db, number, at_work(db, "peter"), crowd.now),
        lambda db: isinstance(crowd.request(db, EARNED_CENTS), UUID),
        times=3,
    )
    assert outcomes["booked"] + outcomes[True] == 1
    collected, _, _ = crowd.cents()
    assert collected == 0
    assert crowd.in_one(solvency.surplus_cents) >= 0


def test_of_a_burst_by_an_unproved_operator_one_is_called(crowd: Crowd) -> None:
    ids = crowd.in_one(
        lambda db: [
            payouts.request(
                db, crowd.purse.member, "seller", "withdrawal", 10_000, RULES, crowd.now,
                requested_by="system",
            )[0]
            for _ in range(THREADS)
        ]
    )  # fmt: skip
    verbs = [
        lambda db, id_=id_: payout_calls.claim_for_submit(db, id_, RULES, crowd.now) is not None
        for id_ in ids
    ]
    assert crowd.at_once(*verbs) == {True: 1, False: THREADS - 1}


def test_one_lets_a_payout_go_while_another_stops_it(crowd: Crowd) -> None:
    def ask(db: Db) -> UUID:
        crowd.purse.db = db
        return crowd.purse.ask(2_000_100)

    payout_id = crowd.in_one(ask)
    outcomes = crowd.at_once(
        lambda db: approvals.approve(db, payout_id, at_work(db, "peter"), crowd.now),
        lambda db: approvals.reject(
            db, payout_id, "She never asked.", at_work(db, "peter"), crowd.now
        ),
        times=4,
    )
    assert outcomes["approved"] + outcomes["rejected"] == 1
    acts = "SELECT count(*) FROM audit_log WHERE subject LIKE 'payout %%'"
    assert crowd.in_one(lambda db: db.value(acts)) == 1


# --- cut off --------------------------------------------------------------------------------------


class Errand:
    """Two moves, one that arrives and one whose answers are lost; a balance; a booking."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def chapters(self) -> list[Callable[[Db], object]]:
        return [
            *(self.ask, self.claim, self.record, self.doubt, self.query, self.arrive),
            *(self.ask, self.claim, self.lose, self.count, self.hear),
            *(self.look, self.propose, self.book, self.arrived),
        ]

    def move_id(self, db: Db) -> UUID:
        move = float_moves.open_one(db)
        assert move is not None
        return move.id

    def ask(self, db: Db) -> None:
        assert isinstance(float_moves.request(db, THOUSAND, "olive", self.now), UUID)

    def claim(self, db: Db) -> None:
        assert float_moves.claim(db, self.move_id(db), RULES, self.now) is not None

    def record(self, db: Db) -> None:
        float_moves.record_ack(db, self.move_id(db), ACCEPTED, self.now)

    def lose(self, db: Db) -> None:
        float_moves.record_ack(db, self.move_id(db), LOST, self.now)
        self.now += timedelta(minutes=5)

    def doubt(self, db: Db) -> None:
        assert float_moves.record_timeout(db, self.move_id(db), self.now) == "unknown"

    def query(self, db: Db) -> None:
        assert float_moves.query_due(db, self.move_id(db), RULES, self.now) is not None

    def arrive(self, db: Db) -> None:
        assert float_moves.settle(db, self.move_id(db), PAID, self.now) == "arrived"

    def count(self, db: Db) -> None:
        assert balances.ask(db, "b2c", RULES, self.now) is not None

    def hear(self, db: Db) -> None:
        question_id = db.value("SELECT id FROM balance_questions")
        told = {"Utility Account": FLOAT_CENTS + 2 * THOUSAND, "Charges Paid Account": 0}
        assert balances.hear(db, question_id, told, self.now) == "equal"

    def look(self, db: Db) -> None:
        assert treasury.look(db, self.now)

    def propose(self, db: Db) -> None:
        by = at_work(db, "olive")
        done = treasury.propose(db, "capital", "b2c", THOUSAND, "BANK-1", by, self.now)
        assert isinstance(done, treasury.Booking)

    def book(self, db: Db) -> None:
        (booking,) = treasury.proposed(db)
        assert treasury.book(db, booking.number, at_work(db, "peter"), self.now) == "booked"

    def arrived(self, db: Db) -> None:
        payout_queue.float_arrived(db, RULES, self.now)


def test_a_death_at_any_statement_leaves_no_half_of_anything(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.begin() as db:
        Purse(db, now)
        hire(db, "olive")
        hire(db, "peter", ["approver"])
    died = test_kill_points.die_everywhere(database, Errand(now).chapters(), monkeypatch)
    assert died > 80
    with database.begin() as db:
        books = ledger.report(db)
        of = (ledger.C2B, ledger.TRANSIT, ledger.B2C)
        assert [ledger.balance(db, each) for each in of] == [
            EARNED_CENTS - 2 * THOUSAND,
            0,
            FLOAT_CENTS + 3 * THOUSAND,
        ]
    assert books["balanced"]
