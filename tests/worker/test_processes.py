"""Relay, Celery and worker as processes, with a real Valkey; each killed at the worst moment.

A provider of pushes is pretended over HTTP: it counts what it was asked, and hangs when told to.
"""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import pytest
import redis
from flask import Flask, request

from core import charges, inbox
from core.charges import Charge
from core.database import Database
from core.errors import Unavailable
from local import valkey
from settings import load
from tests.core.market import Market, msisdn, open_market, purchase
from tests.core.people import member
from tests.payments.street import served
from worker.app import create, task_name

ROOT = Path(__file__).parent.parent.parent


class Provider:
    """Daraja as far as a push and its query go."""

    def __init__(self) -> None:
        self.pushed: Counter[str] = Counter()
        self.reached = Event()  # a push has arrived
        self.may_answer = Event()
        self.may_answer.set()

    def app(self) -> Flask:
        app = Flask("provider")

        @app.get("/oauth/v1/generate")
        def token() -> dict[str, str]:
            return {"access_token": "token", "expires_in": "3599"}

        @app.post("/mpesa/stkpush/v1/processrequest")
        def push() -> dict[str, str]:
            reference = request.get_json()["AccountReference"]
            self.pushed[reference] += 1
            self.reached.set()
            self.may_answer.wait(90)
            return {
                "ResponseCode": "0",
                "CheckoutRequestID": f"ws_CO_{reference}",
                "MerchantRequestID": f"group-{reference}",
            }

        @app.post("/mpesa/stkpushquery/v1/query")
        def query() -> dict[str, str]:
            return {
                "ResponseCode": "0",
                "ResultCode": "0",
                "CheckoutRequestID": request.get_json()["CheckoutRequestID"],
            }

        return app


class Town:
    """One database, one Valkey, one provider, and the processes a test starts."""

    def __init__(
        self,
        stack: ExitStack,
        url: str,
        provider: Provider,
        provider_url: str,
        store: valkey.Server,
    ) -> None:
        self.provider = provider
        self.store = store
        self.database = Database(url, random=Random(7042))
        self._environ = {
            **os.environ,
            "SOKONI_ENV": "test",
            "DATABASE_URL": url,
            "REDIS_URL": store.url,
            "DARAJA_BASE_URL": provider_url,
        }
        self.settings = load(self._environ)
        self._stack = stack
        self._buyers = 10
        with self.database.begin() as db:
            self.market: Market = open_market(db, self.database.clock(), on_hand_milli=1_000_000)

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process in a group of its own, ended with the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=self._environ,
            start_new_session=True,
        )
        self._stack.callback(kill, process)
        return process

    def restart_store(self) -> None:
        process = valkey.start(self.store.data.parent).process
        assert process is not None
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)

    def buy(self) -> Charge:
        """A purchase by somebody new, due to be pushed at once."""
        self._buyers += 1
        with self.database.begin() as db:
            now = self.database.clock()
            buyer = member(db, now, self._buyers, "Amina")
            bought = purchase(db, self.market, now, buyer=buyer, payer=msisdn(self._buyers))
            db.run("UPDATE outbox SET due_at = %(now)s WHERE kind = 'stk_push'", {"now": now})
        return self.charge(bought.charge_id)

    def charge(self, charge_id: UUID) -> Charge:
        with self.database.begin() as db:
            found = charges.by_id(db, charge_id)
        assert found is not None
        return found

    def state(self, charge: Charge) -> str:
        return self.charge(charge.id).state

    def time_passes(self, seconds: int) -> None:
        """All that was done or is due moves into the past by so much."""
        wait_for(lambda: self._moved_back(seconds))

    def _moved_back(self, seconds: int) -> bool:
        """Rows are locked here in another order than at work: False when that came to a knot."""
        with suppress(Unavailable), self.database.begin() as db:
            db.run(
                """
                UPDATE outbox SET due_at = due_at - make_interval(secs => %(seconds)s),
                    handed_until = handed_until - make_interval(secs => %(seconds)s)
                """,
                {"seconds": seconds},
            )
            db.run(
                """
                UPDATE charges SET claimed_at = claimed_at - make_interval(secs => %(seconds)s),
                    asked_at = asked_at - make_interval(secs => %(seconds)s)
                """,
                {"seconds": seconds},
            )
            return True
        return False

    def value(self, sql: Any) -> Any:
        with self.database.begin() as db:
            return db.value(sql)

    def queued(self) -> int:
        with redis.Redis.from_url(self.store.url) as client:
            return int(client.llen("money"))  # type: ignore[arg-type]


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9, with its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(reached: Callable[[], bool], seconds: float = 60) -> None:
    begun = monotonic()
    while not reached():
        assert monotonic() - begun < seconds, "it did not happen in time"
        sleep(0.05)


@pytest.fixture
def town(new_database: Callable[[], Any], store: valkey.Server) -> Iterator[Town]:
    with ExitStack() as stack:
        url = stack.enter_context(new_database())
        provider = Provider()
        stack.callback(provider.may_answer.set)
        made = Town(stack, url, provider, stack.enter_context(served(provider.app())), store)
        stack.callback(made.database.close)
        yield made


def test_a_purchase_is_pushed_queried_and_paid_by_the_processes_alone(town: Town) -> None:
    worker, relay = town.start("worker.run"), town.start("worker.relay")
    charge = town.buy()
    wait_for(lambda: town.state(charge) == "pending")
    town.time_passes(30)
    wait_for(lambda: town.state(charge) == "paid")
    assert town.provider.pushed == {charge.reference: 1}

    create(town.settings).send_task(task_name("check_ledger"), queue="reports")
    with town.database.begin() as db:
        db.run("UPDATE accounts SET balance_cents = 1 WHERE balance_cents > 0")
    create(town.settings).send_task(task_name("check_ledger"), queue="reports")
    wait_for(lambda: town.value("SELECT kind FROM incidents") == "ledger_is_wrong")

    for process in (relay, worker):
        process.terminate()
        assert process.wait(60) == 0


def test_a_worker_killed_during_the_call_pushes_no_second_time(town: Town) -> None:
    town.provider.may_answer.clear()
    worker, _ = town.start("worker.run"), town.start("worker.relay")
    charge = town.buy()
    assert town.provider.reached.wait(60)
    kill(worker)
    town.provider.may_answer.set()
    town.start("worker.run")
    assert town.state(charge) == "created"
    town.time_passes(61)  # the lease and the claim have run out
    wait_for(lambda: town.state(charge) == "unknown")
    wait_for(lambda: town.value("SELECT done_at FROM outbox WHERE kind = 'stk_push'") is not None)
    town.time_passes(15 * 60)
    wait_for(lambda: town.state(charge) == "review")
    assert town.provider.pushed == {charge.reference: 1}


def test_a_pool_process_killed_during_the_call_pushes_no_second_time(town: Town) -> None:
    """Celery hands the task of a lost child to another at once (reject_on_worker_lost)."""
    town.provider.may_answer.clear()
    worker, _ = town.start("worker.run", "--processes", "1"), town.start("worker.relay")
    charge = town.buy()
    assert town.provider.reached.wait(60)
    (child,) = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    town.provider.may_answer.set()
    wait_for(lambda: town.value("SELECT done_at FROM outbox WHERE kind = 'stk_push'") is not None)
    assert town.provider.pushed == {charge.reference: 1}
    other = town.buy()
    wait_for(lambda: town.state(other) == "pending")
    town.time_passes(61)
    wait_for(lambda: town.state(charge) == "unknown")
    assert town.provider.pushed == {charge.reference: 1, other.reference: 1}


def test_a_flushed_broker_loses_no_push_and_doubles_none(town: Town) -> None:
    relay = town.start("worker.relay")
    charge = town.buy()
    wait_for(lambda: town.queued() == 1)
    with redis.Redis.from_url(town.store.url) as client:
        client.flushall()
    kill(relay)
    town.start("worker.run")
    town.start("worker.relay")
    sleep(1)
    assert not town.provider.pushed
    town.time_passes(61)  # the lease has run out
    wait_for(lambda: town.state(charge) == "pending")
    with redis.Redis.from_url(town.store.url) as client:
        client.flushall()
    town.time_passes(30)
    wait_for(lambda: town.state(charge) == "paid")
    assert town.provider.pushed == {charge.reference: 1}


@pytest.mark.timeout(600)  # 8 s on an idle machine
def test_a_killed_broker_loses_no_push_and_all_go_on_when_it_is_back(town: Town) -> None:
    town.start("worker.run")
    town.start("worker.relay")
    first = town.buy()
    wait_for(lambda: town.state(first) == "pending")
    assert town.store.process is not None
    town.store.process.kill()
    town.store.process.wait()
    second = town.buy()
    sleep(1)
    assert town.state(second) == "created"
    town.restart_store()
    # What a broker took with it comes back when its lease ends, after 20 s.
    wait_for(lambda: town.state(second) == "pending", 60)
    town.time_passes(30)
    wait_for(lambda: {town.state(first), town.state(second)} == {"paid"})
    assert town.provider.pushed == {first.reference: 1, second.reference: 1}


@pytest.mark.timeout(600)  # 8 s on an idle machine
def test_under_kills_of_everybody_all_work_is_done_and_no_push_is_doubled(town: Town) -> None:
    bought = [town.buy() for _ in range(6)]
    with town.database.begin() as db:
        for number in range(150):
            inbox.keep(db, "c2b", f"N{number}", b"?", {}, "127.0.0.1", town.database.clock())
    dice = Random(7042)
    worker, relay = town.start("worker.run"), town.start("worker.relay")
    for _ in range(3):
        sleep(dice.uniform(0.7, 1.5))
        kill(worker)
        sleep(dice.uniform(0, 0.2))
        kill(relay)
        if dice.random() < 0.7:
            with redis.Redis.from_url(town.store.url) as client:
                client.flushall()
        town.time_passes(61)
        worker, relay = town.start("worker.run"), town.start("worker.relay")

    def over() -> bool:
        town.time_passes(20)
        open_kinds = "SELECT count(*) FROM outbox WHERE done_at IS NULL AND kind IN "
        return town.value(open_kinds + "('stk_push', 'settle_inbox')") == 0 and {
            town.state(each) for each in bought
        } <= {"paid", "review", "unknown"}

    wait_for(over, 90)
    assert town.value("SELECT count(*) FROM inbox WHERE outcome = 'unreadable'") == 150
    assert set(town.provider.pushed.values()) == {1}
    for each in bought:  # one killed between claim and call was never sent, and is known not to be
        assert each.reference in town.provider.pushed or town.state(each) != "paid"
    kill(relay)
    kill(worker)
