"""Reconciliation under fire: two at once, and cut off at any statement of any transaction."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from core import (
    audit,
    differences,
    ledger,
    reconcile,
    resolutions,
    settlements,
    statement_lines,
)
from core.database import Database, Db
from core.reconcile import Reconciled
from core.reconcile import __main__ as command
from core.rules import Rules
from core.statement_lines import Line, Statement
from core.statements import Session
from tests.core.bank import DAY, Bank
from tests.core.market import TOTAL_CENTS, c2b, open_market, purchase, pushed
from tests.core.office import WHY, at_work, hire
from tests.core.purse import Purse
from tests.core.test_kill_points import Killed

THREADS = 8
PROVED = ("RCPT000001", "SG632NMUAB")  # of the lines that are of something of ours
# What is as it was whatever died on the way; ids and times are not.
FACTS = {
    "lines": "SELECT book, receipt, kind, amount_cents, movement IS NOT NULL, gone_at IS NULL"
    " FROM statement_lines",
    "differences": "SELECT kind, book, what, receipt, theirs_cents, ours_cents, state"
    " FROM differences",
    "money": "SELECT a.kind, a.owner_id, sum(e.amount_cents) FROM accounts a"
    " JOIN entries e ON e.account_id = a.id GROUP BY 1, 2",
    "transfers": "SELECT kind, key FROM transfers",
    "receipts": "SELECT receipt, source, outcome FROM receipts",
    "payouts": "SELECT id, state, receipt FROM payouts",
    "orders": "SELECT id, state FROM orders",
    "incidents": "SELECT kind, subject FROM incidents WHERE closed_at IS NULL",
    "messages": "SELECT trigger, member_id, text FROM messages",
}


class Night:
    """A payment that nobody told us of, a payout without a result, a line of nobody's: and what
    M-Pesa says of them, again and again."""

    def __init__(self, url: str, now: datetime) -> None:
        # Seeded: two nights have the same people and orders, by their ids.
        self.database = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        with self.database.begin() as db:
            purse = Purse(db, now)
            bank = Bank(db, now)
            bought = pushed(db, purchase(db, open_market(db, now), now), now)
            self.payout_id = purse.accepted()
            bank.paid_in("RCPT000001", TOTAL_CENTS, bought.reference)
            bank.paid_in("RCPT000009", 10_000, "MAMA MBOGA")
            bank.paid_out("SG632NMUAB", 100_000, purse.msisdn, charge=500)
            bank.tell("A.b2c", Line("STAKEN0001", "other", -20_000, bank.at(2)))
            hire(db, "olive")
            hire(db, "peter", ["approver"])
            hire(db, "paul", ["approver"])
            self.bought, self.bank = bought, bank
        self.database.clock = lambda: bank.night
        self.statements: list[Statement] = bank.statements()

    def run(self) -> Reconciled:
        return reconcile.run(self.database, DAY, Rules(), self.statements)

    def at_once(self, *verbs: Callable[[], Any]) -> list[Any]:
        with ThreadPoolExecutor(THREADS) as threads:
            return [each.result(60) for each in [threads.submit(verb) for verb in verbs]]

    def in_one(self, verb: Callable[[Db], Any]) -> Any:
        with self.database.begin() as db:
            return verb(db)

    def facts(self) -> dict[str, list[Any]]:
        with self.database.begin() as db:
            return {
                name: db.value(f"SELECT array_agg(f::text ORDER BY f::text) FROM ({sql}) AS f")
                for name, sql in FACTS.items()
            }

    def number(self, receipt: str) -> int:
        with self.database.begin() as db:
            (found,) = (it for it in differences.undone(db) if it.receipt == receipt)
        return found.number


@pytest.fixture
def night(new_database: Callable[[], Any], now: datetime) -> Iterator[Night]:
    with new_database() as url:
        made = Night(url, now)
        yield made
        made.database.close()


def test_of_many_at_once_each_line_is_kept_and_booked_once(night: Night) -> None:
    done = night.at_once(*[night.run] * THREADS)
    assert sum(each.new for each in done) == done[0].lines
    assert sum(each.judged.new for each in done) == 4  # two lines, and the balances off by them
    with night.database.begin() as db:
        assert ledger.unbalanced_transfers(db) == ledger.stale_balances(db) == 0
        found = db.value("SELECT array_agg(outcome) FROM statement_lines WHERE outcome IS NOT NULL")
        assert len(found) == 2
    facts = night.facts()
    night.run()
    assert night.facts() == facts


def test_whoever_only_looks_books_nothing_and_whoever_books_is_named(
    night: Night, capsys: Any
) -> None:
    def type_in(*given: str) -> str:
        command.run(night.database, Rules(), ["--date", str(DAY), *given])
        return str(capsys.readouterr().out)

    for each in night.statements:
        night.in_one(lambda db, each=each: statement_lines.keep(db, each, night.bank.night))
    before = night.facts()["money"]
    assert "2 lines to be booked as proved: --by NAME does it" in type_in()
    assert night.facts()["money"] == before
    said = type_in("--by", "olive")
    assert ("0 lines read, 0 new; 2 booked now." in said, "to be booked" in said) == (True, False)
    acts = [night.in_one(lambda db, of=of: audit.of(db, f"receipt {of}")) for of in PROVED]
    assert [[(act.who, act.what) for act in found] for found in acts] == [
        [("olive", "line_booked")]
    ] * 2


def test_a_confirmation_at_the_same_moment_pays_once(night: Night) -> None:
    told = c2b(night.bought.reference, night.bank.noon)
    night.at_once(
        night.run,
        *[lambda: night.in_one(lambda db: settlements.receive(db, told, night.bank.night))] * 4,
        night.run,
    )
    with night.database.begin() as db:
        paid: int = db.value("SELECT count(*) FROM transfers WHERE kind = 'capture'")
        assert paid == 1
        assert ledger.stale_balances(db) == 0
    night.run()
    assert {each for each in night.facts()["receipts"] if "RCPT000001" in each}


def test_of_many_who_decide_at_once_one_does(night: Night) -> None:
    night.run()
    number = night.number("STAKEN0001")

    def decide(db: Db) -> str:
        by = at_work(db, "olive")
        return resolutions.decide(db, number, by, "loss", WHY, Rules(), night.bank.night)

    said = night.at_once(*[lambda: night.in_one(decide)] * THREADS)
    assert sorted(said) == ["not_open"] * (THREADS - 1) + ["resolved"]
    with night.database.begin() as db:
        assert ledger.balance(db, ledger.LOSS) == 20_000


def test_of_two_who_approve_at_once_one_does(night: Night) -> None:
    night.run()
    number, rules = night.number("STAKEN0001"), Rules(difference_second_above_cents=0)

    def decide(db: Db) -> str:
        by = at_work(db, "olive")
        return resolutions.decide(db, number, by, "loss", WHY, rules, night.bank.night)

    def approve(db: Db, name: str) -> str:
        return resolutions.approve(db, number, at_work(db, name), night.bank.night)

    assert night.in_one(decide) == "proposed"
    names = ["peter", "paul"] * 3
    verbs = [lambda name=name: night.in_one(lambda db: approve(db, name)) for name in names]
    assert sorted(night.at_once(*verbs)) == ["not_proposed"] * 5 + ["resolved"]
    with night.database.begin() as db:
        assert ledger.balance(db, ledger.LOSS) == 20_000


def test_cut_off_at_every_statement_it_comes_to_the_same_when_it_is_run_again(
    night: Night, new_database: Callable[[], Any], now: datetime, monkeypatch: Any
) -> None:
    """It dies the first time that it comes to each, and each time it is begun anew."""
    expected = _undisturbed(new_database, now)
    died_at: set[str] = set()
    execute = Session.execute

    def dying(session: Session, sql: Any, params: Any) -> Any:
        if sql not in died_at:
            died_at.add(sql)
            raise Killed
        return execute(session, sql, params)

    monkeypatch.setattr(Session, "execute", dying)
    runs = 0
    while True:
        runs += 1
        try:
            night.run()
        except Killed:
            continue
        break
    monkeypatch.undo()
    assert runs == len(died_at) + 1
    assert runs > 40, "of two settlements, a judgement and what is kept"
    assert night.facts() == expected


def _undisturbed(new_database: Callable[[], Any], now: datetime) -> dict[str, list[Any]]:
    with new_database() as url:
        night = Night(url, now)
        night.run()
        found = night.facts()
        night.database.close()
    return found
