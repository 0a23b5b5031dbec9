"""Ledger: every posting balances, happens once, and can never be changed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core import ledger
from core.database import Database, Db
from core.ledger import Account, Leg, credit, debit
from core.money import fee_cents
from tests.core.transactions import attempt, rolled_back

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
AMINA, BARAKA, ORDER, PAYOUT = (UUID(int=number) for number in range(1, 5))
POOL = [
    ledger.C2B,
    ledger.B2C,
    ledger.SUSPENSE,
    ledger.FEES,
    ledger.LOSS,
    ledger.escrow(ORDER),
    ledger.buyer(AMINA),
    ledger.buyer(BARAKA),
    ledger.seller(AMINA),
    ledger.out(PAYOUT),
]


def pay_in(db: Db, cents: int, key: str = "pay", to: Account | None = None) -> str:
    legs = [debit(ledger.C2B, cents), credit(to or ledger.buyer(AMINA), cents)]
    return ledger.post(db, "receipt", key, legs, NOW)


def test_a_posting_moves_money_between_accounts(db: Db) -> None:
    assert pay_in(db, 500) == "posted"
    assert ledger.balance(db, ledger.C2B) == 500
    assert ledger.balance(db, ledger.buyer(AMINA)) == 500
    assert ledger.balance(db, ledger.buyer(BARAKA)) == 0


def test_a_repeat_with_the_same_key_moves_nothing(db: Db) -> None:
    pay_in(db, 500)
    assert pay_in(db, 500) == "repeat"
    assert ledger.balance(db, ledger.C2B) == 500


def test_a_repeat_is_a_repeat_even_when_the_money_has_gone_on(db: Db) -> None:
    pay_in(db, 500)
    away = [debit(ledger.buyer(AMINA), 500), credit(ledger.out(PAYOUT), 500)]
    assert ledger.post(db, "payout", "away", away, NOW) == "posted"
    assert ledger.post(db, "payout", "away", away, NOW) == "repeat"


def test_the_same_key_for_something_else_is_refused_and_moves_nothing(db: Db) -> None:
    pay_in(db, 500)
    with pytest.raises(ledger.Conflict):
        pay_in(db, 501)
    with pytest.raises(ledger.Conflict):
        ledger.post(db, "other", "pay", [debit(ledger.C2B, 500), credit(ledger.FEES, 500)], NOW)
    assert ledger.balance(db, ledger.C2B) == 500


@pytest.mark.parametrize("account", [ledger.buyer(AMINA), ledger.SUSPENSE])
def test_nobodys_money_goes_below_zero(db: Db, account: Account) -> None:
    pay_in(db, 500, to=account)
    with pytest.raises(ledger.Overdrawn):
        ledger.post(db, "x", "x", [debit(account, 501), credit(ledger.FEES, 501)], NOW)
    assert ledger.balance(db, account) == 500


def test_one_account_may_be_on_both_sides(db: Db) -> None:
    pay_in(db, 500)
    mine = ledger.buyer(AMINA)
    legs = [debit(mine, 500), credit(ledger.escrow(ORDER), 400), credit(mine, 100)]
    ledger.post(db, "capture", "both", legs, NOW)
    assert ledger.balance(db, mine) == 100
    assert ledger.stale_balances(db) == 0


@pytest.mark.parametrize(
    "legs",
    [
        [debit(ledger.C2B, 5), credit(ledger.FEES, 4)],
        [debit(ledger.C2B, 5)],
        [debit(ledger.C2B, 0), credit(ledger.FEES, 0)],
    ],
)
def test_what_does_not_balance_is_our_mistake(db: Db, legs: list[Leg]) -> None:
    with pytest.raises(AssertionError):
        ledger.post(db, "x", "x", legs, NOW)


def test_the_database_refuses_an_unbalanced_transfer_when_it_commits(database: Database) -> None:
    def post_and_add_one(db: Db) -> None:
        pay_in(db, 500)
        db.run(
            """
            INSERT INTO entries (id, transfer_id, account_id, amount_cents)
            SELECT %(id)s, transfer_id, account_id, 1 FROM entries LIMIT 1
            """,
            {"id": db.new_id()},
        )

    with pytest.raises(psycopg.errors.IntegrityError), database.begin() as db:
        post_and_add_one(db)
    with database.begin() as db:
        assert ledger.trial_balance(db) == []


def test_the_database_refuses_an_entry_more_for_a_transfer_of_the_past(
    database: Database,
) -> None:
    with database.begin() as db:
        pay_in(db, 500)
    with pytest.raises(psycopg.errors.IntegrityError), database.begin() as db:
        db.run(
            """
            INSERT INTO entries (id, transfer_id, account_id, amount_cents)
            SELECT %(id)s, transfer_id, account_id, 1 FROM entries LIMIT 1
            """,
            {"id": db.new_id()},
        )


def test_the_database_refuses_a_transfer_without_entries(database: Database) -> None:
    with pytest.raises(psycopg.errors.IntegrityError), database.begin() as db:
        db.run(
            "INSERT INTO transfers (id, kind, key, body_hash, at) VALUES (%s, 'x', 'x', '', %s)",
            [db.new_id(), NOW],
        )


@pytest.mark.parametrize("table", ["transfers", "entries", "order_events", "stock_movements"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET id=id"])
def test_the_database_refuses_to_change_what_was_written(db: Db, table: str, change: str) -> None:
    pay_in(db, 500)
    db.run("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(psycopg.errors.IntegrityError):
        db.run(change.format(table))  # type: ignore[arg-type]


def test_the_database_refuses_a_balance_below_zero(db: Db) -> None:
    pay_in(db, 500)
    with pytest.raises(psycopg.errors.CheckViolation):
        db.run("UPDATE accounts SET balance_cents = -1 WHERE balance_cents IS NOT NULL")


def test_a_cached_balance_that_is_wrong_is_noticed(db: Db) -> None:
    pay_in(db, 500)
    assert ledger.report(db)["cached_equal_fold"] is True
    db.run("UPDATE accounts SET balance_cents = 499 WHERE balance_cents IS NOT NULL")
    assert ledger.stale_balances(db) == 1
    assert ledger.report(db)["cached_equal_fold"] is False


def test_the_report_shows_each_kind_on_its_own_side(db: Db) -> None:
    pay_in(db, 500)
    books = ledger.report(db)
    assert books["accounts"] == {"A.c2b": 500, "L.buyer": 500}
    assert (books["debits"], books["credits"], books["balanced"]) == (500, 500, True)


@given(
    total=st.integers(1, 250_000).map(lambda shillings: shillings * 100),
    points=st.integers(0, 10_000),
)
def test_fee_and_net_make_the_gross_to_the_cent(total: int, points: int) -> None:
    fee = fee_cents(total, points)
    assert 0 <= fee <= total
    assert fee % 100 == 0
    assert abs(fee * 10_000 - total * points) <= 50 * 10_000  # half a shilling
    assert fee + (total - fee) == total


class Books(RuleBasedStateMachine):
    """Any sequence of postings, repeats and conflicts, beside a model of three lines."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._open = rolled_back(url)
        self.db = self._open.__enter__()
        self.posted: dict[str, list[Leg]] = {}
        self.balances = dict.fromkeys(POOL, 0)

    def teardown(self) -> None:
        self._open.__exit__(None, None, None)

    @rule(
        key=st.sampled_from("abcdefgh"),
        amounts=st.lists(
            st.tuples(st.sampled_from(POOL), st.integers(-50, 50).filter(bool)),
            min_size=1,
            max_size=4,
        ),
        balancing=st.sampled_from(POOL),
    )
    def post(self, key: str, amounts: list[tuple[Account, int]], balancing: Account) -> None:
        legs = [Leg(account, cents) for account, cents in amounts]
        rest = sum(leg.amount_cents for leg in legs)
        if rest:
            legs.append(Leg(balancing, -rest))
        if len(legs) >= 2:
            self._post(key, legs)

    @rule(data=st.data())
    def post_again(self, data: Any) -> None:
        if self.posted:
            key = data.draw(st.sampled_from(sorted(self.posted)))
            self._post(key, data.draw(st.permutations(self.posted[key])))

    def _post(self, key: str, legs: list[Leg]) -> None:
        expected, after = self._model(key, legs)
        outcome = attempt(self.db, lambda: ledger.post(self.db, "test", key, legs, NOW))
        assert outcome == expected
        if outcome == "posted":
            self.posted[key], self.balances = legs, after

    def _model(self, key: str, legs: list[Leg]) -> tuple[Any, dict[Account, int]]:
        after = dict(self.balances)
        for leg in legs:
            after[leg.account] += (
                leg.amount_cents if leg.account.debit_normal else -leg.amount_cents
            )
        if key in self.posted:
            same = sorted(self.posted[key], key=repr) == sorted(legs, key=repr)
            return ("repeat" if same else ledger.Conflict), after
        return (ledger.Overdrawn if self._overdrawn(after) else "posted"), after

    def _overdrawn(self, after: dict[Account, int]) -> bool:
        return any(cents < 0 for account, cents in after.items() if account.kind[0] == "L")

    @invariant()
    def balances_are_the_models(self) -> None:
        assert {account: ledger.balance(self.db, account) for account in POOL} == self.balances

    @invariant()
    def the_books_balance(self) -> None:
        self.db.run("SET CONSTRAINTS ALL IMMEDIATE")
        self.db.run("SET CONSTRAINTS ALL DEFERRED")
        books = ledger.report(self.db)
        assert books["balanced"]
        assert books["cached_equal_fold"]


def test_no_sequence_of_postings_breaks_the_books(database_url: str) -> None:
    run_state_machine_as_test(
        lambda: Books(database_url),
        settings=settings(
            max_examples=60,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_command_prints_the_books_and_says_whether_they_balance(
    new_database: Callable[[], Any],
) -> None:
    with new_database() as url:
        database = Database(url)
        with database.begin() as db:
            pay_in(db, 68_100)
        table, as_json = _command(url), _command(url, "--json")
        with database.begin() as db:
            db.run("UPDATE accounts SET balance_cents = 1 WHERE balance_cents IS NOT NULL")
        wrong = _command(url)
        database.close()
    assert (table.returncode, as_json.returncode, wrong.returncode) == (0, 0, 1)
    assert "A.c2b" in table.stdout
    assert "balanced; cached balances equal" in table.stdout
    assert json.loads(as_json.stdout) == {
        "accounts": {"A.c2b": 68_100, "L.buyer": 68_100},
        "debits": 68_100,
        "credits": 68_100,
        "balanced": True,
        "cached_equal_fold": True,
        "escrows": [],
    }
    assert "DO NOT EQUAL" in wrong.stdout


def _command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core.ledger", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DATABASE_URL": url, "SOKONI_ENV": "test"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- marks ----------------------------------------------------------------------------------------


def test_a_balance_is_the_same_with_a_mark_and_without(database_url: str, now: datetime) -> None:
    moments = iter(now + timedelta(minutes=minute // 8) for minute in range(10_000))
    database = Database(database_url, clock=lambda: next(moments), size=1)
    with suppress(RuntimeError), database.begin(seconds=600) as db:
        for number in range(40):
            ledger.post(db, "fee", f"fee:{number}", legs_of_a_fee(100 + number), now)
            if number % 10 == 9:
                assert ledger.mark(db, database.clock()) == 2
            assert ledger.balance(db, ledger.FEES) == sum(range(100, 101 + number))
        marked = db.value("SELECT sum(abs(amount_cents))::bigint FROM ledger_marks")
        assert 0 < marked < 2 * ledger.balance(db, ledger.FEES)
        assert ledger.total(db, [ledger.FEES, ledger.C2B]) == 0
        assert ledger.stale_balances(db) == 0
        raise RuntimeError  # rolls back
    database.close()


def test_a_machine_whose_clock_is_behind_a_mark_posts_nothing(db: Db, now: datetime) -> None:
    ledger.post(db, "fee", "fee:1", legs_of_a_fee(100), now)
    ledger.mark(db, now + timedelta(hours=1))
    verb = partial(ledger.post, db, "fee", "fee:2", legs_of_a_fee(100), now)
    assert attempt(db, verb) is AssertionError
    assert ledger.balance(db, ledger.FEES) == 100


def legs_of_a_fee(cents: int) -> list[ledger.Leg]:
    return [ledger.debit(ledger.C2B, cents), ledger.credit(ledger.FEES, cents)]


def test_a_mark_never_goes_back_and_a_second_one_changes_nothing(db: Db, now: datetime) -> None:
    ledger.post(db, "fee", "fee:1", legs_of_a_fee(100), now)
    later = now + timedelta(hours=1)
    assert ledger.mark(db, later) == 2
    assert ledger.mark(db, later) == 0
    assert ledger.mark(db, now) == 0
    assert ledger.balance(db, ledger.FEES) == 100


def test_what_is_younger_than_its_transaction_may_last_is_not_marked(db: Db, now: datetime) -> None:
    ledger.post(db, "fee", "fee:1", legs_of_a_fee(100), now)
    ledger.mark(db, now + timedelta(minutes=9))
    assert db.value("SELECT sum(amount_cents)::bigint FROM ledger_marks") in (0, None)
    assert ledger.balance(db, ledger.FEES) == 100


def test_a_mark_that_is_not_the_sum_of_its_entries_is_found(db: Db, now: datetime) -> None:
    ledger.post(db, "fee", "fee:1", legs_of_a_fee(100), now)
    ledger.mark(db, now + timedelta(hours=1))
    db.run("UPDATE ledger_marks SET amount_cents = amount_cents + 1")
    assert ledger.stale_balances(db) == 2
