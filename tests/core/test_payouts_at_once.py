"""Payouts under fire: at one moment, cut off at any statement, told of in any order."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import (
    deliveries,
    ledger,
    payout_calls,
    payout_queue,
    payouts,
    refunds,
    solvency,
    withdrawals,
)
from core.database import Database, Db
from tests.core import test_kill_points
from tests.core.market import open_market, order_of, purchase, settled
from tests.core.purse import ACCEPTED, EARNED_CENTS, LOST, REFUSED, RULES, Purse
from tests.core.transactions import NOW, attempt, rolled_back

THREADS = 16
THOUSAND = 100_000


@dataclass
class Crowd:
    """One purse that many hands reach into, each in a transaction of its own."""

    database: Database
    purse: Purse

    def in_one(self, verb: Callable[[Purse], Any]) -> Any:
        with self.database.begin() as db:
            mine = Purse.__new__(Purse)
            mine.__dict__.update(self.purse.__dict__, db=db)
            return verb(mine)

    def at_once(self, *verbs: Callable[[Purse], Any], times: int = 1) -> Counter[Any]:
        with ThreadPoolExecutor(THREADS) as threads:
            asked = [threads.submit(self.in_one, verb) for verb in verbs * times]
            return Counter(each.result(60) for each in asked)


@pytest.fixture
def crowd(new_database: Callable[[], Any], now: datetime) -> Iterator[Crowd]:
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        with database.begin() as db:
            purse = Purse(db, now)
        yield Crowd(database, purse)
        database.close()


def test_of_many_workers_one_may_send(crowd: Crowd) -> None:
    payout_id = crowd.in_one(Purse.ask)
    outcomes = crowd.at_once(lambda p: p.claim(payout_id) is not None, times=THREADS)
    assert outcomes == {True: 1, False: THREADS - 1}


def test_of_many_operators_one_approves(crowd: Crowd) -> None:
    payout_id = crowd.in_one(lambda p: p.ask(2_000_100))
    names = iter([f"operator {n}" for n in range(THREADS)])
    verbs = [lambda p, name=name: payouts.approve(p.db, payout_id, name, p.now) for name in names]
    assert crowd.at_once(*verbs) == {"approved": 1, "not_waiting": THREADS - 1}


def test_approved_and_rejected_at_once_has_one_winner(crowd: Crowd) -> None:
    payout_id = crowd.in_one(lambda p: p.ask(2_000_100))
    outcomes = crowd.at_once(
        lambda p: payouts.approve(p.db, payout_id, "wambui", p.now),
        lambda p: payouts.reject(p.db, payout_id, "otieno", p.now),
        times=6,
    )
    assert outcomes["approved"] + outcomes["rejected"] == 1
    out = crowd.in_one(lambda p: p.cents(payout_id).get("out", 0))
    assert out == (2_000_100 if outcomes["approved"] else 0)


def test_the_same_result_and_status_at_once_pay_once(crowd: Crowd) -> None:
    payout_id = crowd.in_one(Purse.accepted)
    outcomes = crowd.at_once(
        lambda p: p.settle(payout_id, p.paid(payout_id)),
        lambda p: p.settle(payout_id, p.paid(payout_id, source="status")),
        times=6,
    )
    assert outcomes == {"paid": 1, "already_settled": 11}
    assert crowd.in_one(lambda p: p.cents(payout_id))["b2c"] == 100_000_000 - THOUSAND


def test_success_and_failure_at_once_end_paid_and_nothing_is_lost(crowd: Crowd) -> None:
    payout_id = crowd.in_one(Purse.accepted)
    crowd.at_once(
        lambda p: p.settle(payout_id, p.paid(payout_id)),
        lambda p: p.settle(payout_id, p.failed(payout_id)),
        times=4,
    )
    assert crowd.in_one(lambda p: p.state(payout_id)) == "paid"
    cents = crowd.in_one(lambda p: p.cents(payout_id))
    assert (cents["seller"], cents.get("loss", 0)) == (EARNED_CENTS - THOUSAND, 0)


def test_a_result_while_the_ack_is_recorded_and_a_timeout_and_a_question_comes_through(
    crowd: Crowd,
) -> None:
    payout_id = crowd.in_one(Purse.submitted)
    crowd.at_once(
        lambda p: p.ack(payout_id, ACCEPTED),
        lambda p: p.settle(payout_id, p.paid(payout_id, conversation_id=None)),
        lambda p: payout_calls.record_timeout(p.db, payout_id, p.now),
        lambda p: p.query(payout_id) and None,
        times=3,
    )
    assert crowd.in_one(lambda p: p.state(payout_id)) == "paid"


def test_a_wallet_is_emptied_once_however_often_it_is_tapped(crowd: Crowd) -> None:
    outcomes = crowd.at_once(
        lambda p: str(withdrawals.withdraw(p.db, p.member, EARNED_CENTS, RULES, p.now)), times=8
    )
    assert outcomes["overdrawn"] == 7


def test_the_days_limit_holds_for_many_at_once(crowd: Crowd) -> None:
    crowd.at_once(lambda p: str(p.ask(500_000)), times=8)
    states = crowd.in_one(
        lambda p: [payout.state for payout in payouts.of_member(p.db, p.member, 20)]
    )
    assert Counter(states) == {"approved": 4, "requested": 4}


def test_two_claims_never_count_on_the_same_shillings(
    new_database: Callable[[], Any], now: datetime
) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        with database.begin() as db:
            crowd = Crowd(database, Purse(db, now, float_cents=3 * THOUSAND))
        ids = [crowd.in_one(Purse.ask) for _ in range(10)]
        outcomes = crowd.at_once(*[lambda p, i=i: p.claim(i) is not None for i in ids])
        assert outcomes == {True: 3, False: 7}
        database.close()


def test_a_refund_looked_for_by_many_is_sent_once(
    new_database: Callable[[], Any], now: datetime
) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        with database.begin() as db:
            purse = Purse(db, now)
            purse.move("returned", ledger.C2B, purse.buyer, THOUSAND)
        crowd = Crowd(database, purse)
        outcomes = crowd.at_once(
            lambda p: refunds.refund_balance(p.db, p.member, RULES, p.now), times=8
        )
        assert outcomes == {"sent": 1, "nothing": 7}
        database.close()


# --- every order of what is told ------------------------------------------------------------------


TOLD = ("ack", "timeout", "failed", "paid", "paid again", "status")


@pytest.mark.parametrize("start", ["submitted", "accepted", "unknown"])
def test_whatever_the_order_of_what_is_told_the_end_is_the_same(
    database_url: str, start: str
) -> None:
    """I9, I14: failures between, repeats, the ack last: paid once, from her account."""
    with rolled_back(database_url) as db:
        purse = Purse(db, NOW)
        for number, order in enumerate(permutations(TOLD)):
            if number % 5:  # a fifth of the 720
                continue
            db.run("SAVEPOINT story")
            payout_id = getattr(purse, start)()
            for told in order:
                tell(purse, payout_id, told)
            assert purse.state(payout_id) == "paid", order
            cents = purse.cents(payout_id)
            assert cents["seller"] == EARNED_CENTS - THOUSAND, order
            assert cents["b2c"] == 100_000_000 - THOUSAND, order
            assert "out" not in cents, order
            assert "loss" not in cents, order
            db.run("ROLLBACK TO SAVEPOINT story")


def tell(purse: Purse, payout_id: UUID, told: str) -> None:
    match told:
        case "ack":
            purse.ack(payout_id, ACCEPTED)
        case "timeout":
            payout_calls.record_timeout(purse.db, payout_id, purse.now)
        case "failed":
            purse.settle(payout_id, purse.failed(payout_id))
        case "status":
            purse.settle(payout_id, purse.paid(payout_id, source="status"))
        case _:
            purse.settle(payout_id, purse.paid(payout_id))


# --- anything at all ------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("ask", "claim", "accepted", "refused", "lost", "timeout", "query", "paid"),
                *("failed", "absent", "forged", "approve", "reject", "resume", "spend", "later"),
            ]
        ),
        st.integers(0, 3),
        st.integers(10, 60_000),
    ),
    max_size=30,
)


BEGUN = [("ask", 0, 1_000), ("claim", 0, 0), ("ask", 1, 15_000), ("claim", 1, 0)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_nothing_that_can_happen_breaks_the_books(
    database_url: str, steps: list[tuple[str, int, int]]
) -> None:
    """I1, I2, I6, I7, I16, I18, I21 after every step."""
    with rolled_back(database_url) as db:
        purse, ids = Purse(db, NOW, float_cents=3_000_000), list[UUID]()
        for number, (kind, which, shillings) in enumerate([*BEGUN, *steps]):
            verb = partial(step, purse, ids, kind, which, shillings, number)
            assert attempt(db, verb) in (None, ledger.Overdrawn), kind
            stands(purse, ids)


def step(purse: Purse, ids: list[UUID], kind: str, which: int, shillings: int, n: int) -> None:
    if kind == "ask":
        asked = purse.request(shillings * 100)
        ids += [] if isinstance(asked, str) else asked
        return
    if kind == "later":
        purse.now += timedelta(minutes=shillings)
        return
    if kind == "spend":
        purse.move(f"spent {n}", purse.seller, ledger.FEES, shillings * 100)
        return
    if kind == "resume":
        ids += payout_queue.resume(purse.db, "wambui", purse.now, RULES)
        payout_queue.resume_waiting(purse.db, purse.now)
        return
    if not ids:
        return
    payout_id = ids[which % len(ids)]
    match kind:
        case "claim":
            purse.claim(payout_id)
        case "accepted":
            purse.ack(payout_id, ACCEPTED)
        case "refused":
            purse.ack(payout_id, REFUSED)
        case "lost":
            purse.ack(payout_id, LOST)
        case "timeout":
            payout_calls.record_timeout(purse.db, payout_id, purse.now)
        case "query":
            purse.query(payout_id)
        case "paid":
            purse.settle(payout_id, purse.paid(payout_id, f"SG632NMU{which:02}"))
        case "failed":
            ours = shillings % 2 == 0
            purse.settle(payout_id, purse.failed(payout_id, ours=ours))
        case "absent":
            purse.settle(payout_id, purse.absent(timedelta(0)))
        case "forged":
            forged = purse.paid(payout_id, f"SG632NMU{which:02}", amount_cents=shillings)
            purse.settle(payout_id, forged)
        case "approve":
            payouts.approve(purse.db, payout_id, "wambui", purse.now)
        case "reject":
            payouts.reject(purse.db, payout_id, "wambui", purse.now)


IN_FLIGHT = ("requested", "approved", "submitting", "accepted", "unknown")


def stands(purse: Purse, ids: list[UUID]) -> None:
    db = purse.db
    assert ledger.unbalanced_transfers(db) == 0
    assert ledger.stale_balances(db) == 0
    assert all(each.balance_cents >= 0 for each in ledger.trial_balance(db))
    assert solvency.surplus_cents(db) >= 0
    for payout_id in ids:
        payout = purse.payout(payout_id)
        out_cents = ledger.balance(db, ledger.out(payout_id))
        assert out_cents == (payout.amount_cents if payout.state in IN_FLIGHT else 0), payout
    cash_legs = db.value(
        "SELECT count(*) FROM entries WHERE account_id = %s AND amount_cents < 0", [ledger.B2C.id]
    )
    paid = db.value("SELECT count(*) FROM payouts WHERE state = 'paid'")
    assert cash_legs == paid


# --- a death at every statement -------------------------------------------------------------------


@dataclass
class Errand:
    """A payout from the wish to the phone, one that fails and is told, and a refund."""

    purse: Purse
    ids: list[UUID] = field(default_factory=list)

    def chapters(self) -> list[Callable[[Db], object]]:
        return [
            *(self.ask, self.claim, self.refuse, self.claim_again, self.lose, self.question),
            *(self.forge, self.fail, self.prove, self.ask_much, self.approve, self.refund),
        ]

    def at(self, db: Db) -> Purse:
        mine = Purse.__new__(Purse)
        mine.__dict__.update(self.purse.__dict__, db=db)
        return mine

    def last(self, db: Db) -> UUID:
        return payouts.of_member(db, self.purse.member, 1)[0].id

    def ask(self, db: Db) -> None:
        self.at(db).ask()

    def claim(self, db: Db) -> None:
        assert self.at(db).claim(self.last(db)) is not None

    claim_again = claim

    def refuse(self, db: Db) -> None:
        self.at(db).ack(self.last(db), REFUSED)

    def lose(self, db: Db) -> None:
        self.at(db).ack(self.last(db), LOST)

    def question(self, db: Db) -> None:
        assert self.at(db).query(self.last(db)) is not None

    def forge(self, db: Db) -> None:
        forged = self.at(db).paid(self.last(db), amount_cents=1)
        assert self.at(db).settle(self.last(db), forged) == "doubted"

    def fail(self, db: Db) -> None:
        assert self.at(db).settle(self.last(db), self.at(db).failed(self.last(db))) == "failed"

    def prove(self, db: Db) -> None:
        assert self.at(db).settle(self.last(db), self.at(db).paid(self.last(db))) == "paid"

    def ask_much(self, db: Db) -> None:
        self.purse.now += timedelta(milliseconds=1)
        self.at(db).ask(2_000_100)

    def approve(self, db: Db) -> None:
        assert payouts.approve(db, self.last(db), "wambui", self.purse.now) == "approved"

    def refund(self, db: Db) -> None:
        member = db.value("SELECT buyer_id FROM checkouts")
        assert refunds.refund_balance(db, member, RULES, self.purse.now) == "sent"


def test_a_death_at_any_statement_leaves_everything_as_it_was_and_the_errand_goes_on(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = (*test_kill_points.TABLES, "payouts", "payout_codes", "reply_paths", "freezes")
    monkeypatch.setattr(test_kill_points, "TABLES", tables)
    with database.begin() as db:
        purse = Purse(db, now)
        market = open_market(db, now)
        bought = settled(db, purchase(db, market, now), now)
        for seller in (market.wanjiku, market.otieno):
            deliveries.refuse(db, order_of(db, bought, seller).id, seller, now)
    died = test_kill_points.die_everywhere(database, Errand(purse).chapters(), monkeypatch)
    assert died > 80
    with database.begin() as db:
        assert ledger.report(db)["balanced"]
        assert ledger.stale_balances(db) == 0
