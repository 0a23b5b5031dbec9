"""The tasks of our floats: cut off anywhere, run twice; a scripted gateway."""

from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest

from core import float_moves, halts, ledger, outbox, payout_proofs
from core.database import Database
from core.payout_calls import PayoutAnswer
from core.rules import Rules
from tests.core.purse import ACCEPTED, LOST, REFUSED, Purse
from tests.payments.street import Mute
from tests.worker import test_payouts
from tests.worker.test_tasks import Clock, Killed
from worker import floats, tasks

RULES = Rules(token_key=b"token key for tests", payout_float_floor_cents=1_000_000)
THOUSAND = 100_000


class Gateway(test_payouts.Gateway):
    """Also moves money between our floats."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[tuple[Any, ...]] = []
        self.asked: list[tuple[Any, ...]] = []

    def top_up(self, *asked: Any) -> PayoutAnswer:
        return self._answer(self.moved, asked)

    def query_balance(self, *asked: Any) -> PayoutAnswer:
        return self._answer(self.asked, asked)


class Vault:
    """Two floats, a move of KSh 1,000 asked for, and a worker."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock
        self.gateway = Gateway()
        self.work = tasks.Work(database, self.gateway, RULES, Mute(), wait=lambda _: None)  # type: ignore[arg-type]
        with database.begin() as db:
            self.purse = Purse(db, clock.now)
            asked = float_moves.request(db, THOUSAND, "olive", clock.now)
        assert isinstance(asked, UUID)
        self.move_id = asked

    def run_due(self) -> list[str]:
        with self.database.begin() as db:
            items = outbox.take_due(db, self.clock.now, 100)
        items = [item for item in items if item.kind in floats.TASKS]
        for item in items:
            tasks.run(self.work, item.id)
        return [item.kind for item in items]

    def state(self) -> str:
        with self.database.begin() as db:
            found = float_moves.by_id(db, self.move_id)
        assert found is not None
        return found.state

    def value(self, sql: Any, given: Any = None) -> Any:
        with self.database.begin() as db:
            return db.value(sql, given)


@pytest.fixture
def vault(new_database: Callable[[], Any], now: datetime) -> Iterator[Vault]:
    clock = Clock(now)
    with new_database() as url:
        database = Database(url, clock=clock, random=Random(7042))
        yield Vault(database, clock)
        database.close()


def test_a_move_is_claimed_called_recorded_and_done(vault: Vault) -> None:
    seen = []
    vault.gateway.before_answer = lambda: seen.append(vault.state())
    assert vault.run_due() == ["submit_float_move"]
    ((cents, reference, token),) = vault.gateway.moved
    assert (cents, len(token)) == (THOUSAND, 32)
    assert 1 <= len(reference) <= 13
    assert seen == ["submitting"], "in the database before the call"
    assert vault.state() == "accepted"


def test_killed_in_the_call_it_is_never_called_again_and_asked_about(vault: Vault) -> None:
    vault.gateway.dies = True
    with pytest.raises(Killed):
        vault.run_due()
    vault.gateway.dies = False
    for _ in range(8):
        vault.clock.passes(61)
        vault.run_due()
    assert len(vault.gateway.moved) == 1
    assert vault.state() == "unknown"
    assert len(vault.gateway.asked) >= 1
    assert {of for of, _ in vault.gateway.asked} == {"b2c"}


@pytest.mark.parametrize(("answer", "calls"), [(REFUSED, 4), (LOST, 1)])
def test_only_what_was_refused_before_acting_is_called_again(
    vault: Vault, answer: PayoutAnswer, calls: int
) -> None:
    vault.gateway.answers = [answer] * 3
    for _ in range(10):
        vault.run_due()
        vault.clock.passes(5)
    assert len(vault.gateway.moved) == calls


def test_given_the_same_row_twice_it_is_called_once(vault: Vault) -> None:
    item_id = vault.value("SELECT id FROM outbox WHERE kind = 'submit_float_move'")
    tasks.run(vault.work, item_id)
    tasks.run(vault.work, item_id)
    assert len(vault.gateway.moved) == 1


def test_without_a_token_nothing_is_claimed(vault: Vault) -> None:
    vault.gateway.away = True
    with pytest.raises(Exception, match="no token"):
        vault.run_due()
    assert vault.state() == "requested"


def test_one_with_a_name_is_asked_about_by_it(vault: Vault) -> None:
    vault.gateway.answers = [PayoutAnswer("accepted", "0", "29115-1", "AG_1")]
    vault.run_due()
    vault.clock.passes(301)
    assert "query_float_move" in vault.run_due()
    ((originator_id, of_collection, token),) = vault.gateway.queried
    assert (originator_id, of_collection, len(token)) == ("29115-1", True, 32)


def test_each_hour_the_floats_are_looked_after(vault: Vault) -> None:
    vault.run_due()
    tasks.SCHEDULED["look_after_money"](vault.work)
    assert sorted(vault.run_due()) == ["ask_balance", "ask_balance", "keep_float"]
    assert {of for of, _ in vault.gateway.asked} == {"c2b", "b2c"}
    with vault.database.begin() as db:
        vault.purse.db = db
        vault.purse.move("stolen", ledger.LOSS, ledger.B2C, 300_000_000)
    tasks.SCHEDULED["look_after_money"](vault.work)
    kinds = vault.value("SELECT array_agg(kind ORDER BY kind) FROM incidents")
    assert kinds == ["float_overdrawn", "insolvent"]


def test_money_that_arrived_lets_go_what_waited(vault: Vault) -> None:
    with vault.database.begin() as db:
        halts.halt(db, "float", "1", vault.clock.now)
        outbox.put(db, "float_arrived", due_at=vault.clock.now)
    assert "float_arrived" in vault.run_due()
    with vault.database.begin() as db:
        assert not halts.is_halted(db, "float")
    assert vault.value("SELECT count(*) FROM outbox WHERE kind = 'resume_payouts'") == 1


def test_a_low_float_is_filled_up_by_its_task(vault: Vault) -> None:
    vault.gateway.answers = [ACCEPTED]
    with vault.database.begin() as db:
        vault.purse.db = db
        vault.purse.move("spent", ledger.CAPITAL, ledger.B2C, 100_000_000)
    vault.run_due()
    with vault.database.begin() as db:
        said = payout_proofs.PayoutResult("result", "paid", "0", THOUSAND, "SG632NMUAB")
        float_moves.settle(db, vault.move_id, said, vault.clock.now)
        outbox.put(db, "keep_float", due_at=vault.clock.now)
    vault.clock.passes(1)
    vault.run_due()
    assert vault.run_due() == ["submit_float_move"]
    assert vault.gateway.moved[-1][0] == 2 * 1_000_000 - THOUSAND
