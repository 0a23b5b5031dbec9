"""The relay: what is due reaches Celery at least once, whoever dies."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import psycopg
import pytest

from core import outbox
from core.database import Database
from local import valkey
from settings import Settings, broker_url
from worker.app import create
from worker.relay import BATCH, WAITING_MAX, Broker, BrokerAway, Relay


class Killed(BaseException):
    """As if the process had been killed at this point."""


class Celery:
    """Takes items and remembers them; may be away."""

    def __init__(self) -> None:
        self.taken: list[UUID] = []
        self.parcels: list[int] = []
        self.away = False

    def send(self, items: Sequence[outbox.Item]) -> None:
        if self.away:
            raise BrokerAway
        self.taken += [item.id for item in items]
        self.parcels.append(len(items))


@pytest.fixture
def celery() -> Celery:
    return Celery()


def put(database: Database, count: int = 1, *, seconds: float = 0, kind: str = "stk_push") -> None:
    with database.begin() as db:
        due_at = database.clock() + timedelta(seconds=seconds)
        for _ in range(count):
            outbox.put(db, kind, due_at=due_at, charge_id=db.new_id())


@contextmanager
def running(*relays: Relay) -> Iterator[None]:
    stop = Event()
    threads = [Thread(target=relay.run, args=[stop]) for relay in relays]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def wait_for(reached: Callable[[], bool], seconds: float = 60) -> float:
    """How long it took."""
    begun = monotonic()
    while not reached():
        assert monotonic() - begun < seconds, "it did not happen in time"
        sleep(0.005)
    return monotonic() - begun


@pytest.fixture
def live(new_database: Callable[[], Any]) -> Iterator[Database]:
    """With the clock on the wall."""
    with new_database() as url:
        database = Database(url, random=Random(7042))
        yield database
        database.close()


def test_only_what_is_due_is_handed_out(database: Database, celery: Celery) -> None:
    put(database, 2)
    put(database, 3, seconds=1)
    relay = Relay(database, celery.send)
    assert relay.hand_out() == 2
    assert relay.hand_out() == 0
    assert len(celery.taken) == 2


def test_a_full_batch_is_followed_by_the_rest(live: Database, celery: Celery) -> None:
    put(live, BATCH + 7)
    with running(Relay(live, celery.send)):
        wait_for(lambda: len(celery.taken) == BATCH + 7)
    assert len(set(celery.taken)) == BATCH + 7


def test_what_was_taken_by_one_that_died_comes_back_when_its_lease_ends(
    database: Database, celery: Celery, now: datetime
) -> None:
    put(database, 5)

    def dies_at_the_third(items: Sequence[outbox.Item]) -> None:
        if len(celery.taken) == 2:
            raise Killed
        celery.send(items)

    with pytest.raises(Killed):
        Relay(database, dies_at_the_third).hand_out()
    lease = timedelta(seconds=outbox.KINDS["stk_push"].lease_seconds)
    too_soon = Relay(database, celery.send, clock=lambda: now + lease - timedelta(seconds=1))
    assert too_soon.hand_out() == 0
    assert Relay(database, celery.send, clock=lambda: now + lease).hand_out() == 5
    assert set(Counter(celery.taken).values()) == {1, 2}  # twice is allowed, never is not


def test_what_celery_lost_comes_back_until_it_is_done(
    database: Database, celery: Celery, now: datetime
) -> None:
    put(database)
    for lease in range(3):
        later = now + timedelta(seconds=61 * lease)
        assert Relay(database, celery.send, clock=lambda at=later: at).hand_out() == 1
    with database.begin() as db:
        outbox.done(db, celery.taken[0], now)
    assert Relay(database, celery.send, clock=lambda: now + timedelta(days=1)).hand_out() == 0


def test_while_the_broker_is_away_rows_are_given_back_and_due_again_shortly(
    database: Database, celery: Celery, now: datetime
) -> None:
    put(database, 5)
    celery.away = True
    with pytest.raises(BrokerAway):
        Relay(database, celery.send).hand_out()
    celery.away = False
    assert Relay(database, celery.send, clock=lambda: now + timedelta(seconds=1)).hand_out() == 5


def test_a_broker_that_comes_back_is_noticed_by_itself(live: Database, celery: Celery) -> None:
    celery.away = True
    put(live, 3)
    with running(Relay(live, celery.send)):
        sleep(0.5)
        celery.away = False
        wait_for(lambda: len(celery.taken) == 3)


def test_four_relays_share_the_work_and_hand_nothing_out_twice(live: Database) -> None:
    workers = [Celery() for _ in range(4)]
    put(live, 400)
    with running(*(Relay(live, each.send) for each in workers)):
        wait_for(lambda: sum(len(each.taken) for each in workers) >= 400)
        sleep(0.1)
    together = [item for each in workers for item in each.taken]
    assert len(together) == len(set(together)) == 400


def test_what_cannot_wait_wakes_the_relay(
    live: Database, celery: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.relay.POLL_SECONDS", 90.0)  # it will not look by itself
    with running(Relay(live, celery.send)):
        sleep(0.2)  # it listens
        put(live, kind="settle_inbox")
        wait_for(lambda: len(celery.taken) == 1)
        monkeypatch.undo()
        put(live, kind="settle_inbox")  # woken, it looks again soon, and can be stopped


def test_what_is_due_later_is_found_by_the_clock(live: Database, celery: Celery) -> None:
    with running(Relay(live, celery.send)):
        put(live, seconds=0.7)
        assert wait_for(lambda: len(celery.taken) == 1) > 0.5


def test_a_relay_stops_soon(live: Database, celery: Celery) -> None:
    with running(Relay(live, celery.send)):
        sleep(0.1)
        begun = monotonic()
    assert monotonic() - begun < 5


def test_a_relay_whose_connections_were_cut_goes_on(live: Database, celery: Celery) -> None:
    with running(Relay(live, celery.send)):
        sleep(0.2)
        url = live.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        put(live)
        wait_for(lambda: len(celery.taken) == 1)
        put(live, kind="settle_inbox")
        wait_for(lambda: len(celery.taken) == 2)


def test_where_more_is_due_than_is_handed_out_at_once_settlements_travel_together(
    database: Database, celery: Celery
) -> None:
    put(database, BATCH, kind="settle_inbox")
    relay = Relay(database, celery.send)
    assert relay.hand_out() == BATCH
    together = outbox.KINDS["settle_inbox"].together
    assert celery.parcels == [together] * (BATCH // together)
    assert len(set(celery.taken)) == BATCH
    put(database, together, kind="settle_inbox")
    assert relay.hand_out() == together
    assert celery.parcels[-together:] == [1] * together  # nobody waits behind another


def test_kinds_do_not_share_a_parcel_and_prompts_travel_alone(
    database: Database, celery: Celery
) -> None:
    put(database, 3, kind="stk_push")
    put(database, BATCH - 3, kind="settle_inbox")
    assert Relay(database, celery.send).hand_out() == BATCH
    assert sorted(celery.parcels) == [1, 1, 1, 7, *[10] * 9]


def test_a_queue_that_is_full_is_left_alone_and_the_others_go_on(
    database: Database, celery: Celery
) -> None:
    put(database, 2, kind="settle_inbox")
    put(database, 3, kind="sms")
    full = {"money"}
    relay = Relay(database, celery.send, full=lambda: full)  # type: ignore[arg-type, return-value]
    assert relay.hand_out() == 3
    full.clear()
    assert relay.hand_out() == 2


def test_while_the_broker_is_away_every_parcel_comes_back(
    database: Database, celery: Celery, now: datetime
) -> None:
    put(database, BATCH, kind="settle_inbox")

    def falls_silent(items: Sequence[outbox.Item]) -> None:
        celery.away = len(celery.parcels) == 4
        celery.send(items)

    with pytest.raises(BrokerAway):
        Relay(database, falls_silent).hand_out()
    celery.away = False
    soon = now + timedelta(seconds=1)
    assert Relay(database, celery.send, clock=lambda: soon).hand_out() == BATCH - 40
    assert len(set(celery.taken)) == len(celery.taken) == BATCH


def test_a_queue_is_full_while_the_broker_holds_enough_of_it(store: valkey.Server) -> None:
    settings = Settings(sokoni_env="test", celery_broker_url=broker_url(store.url))
    broker = Broker(create(settings), look_seconds=0)
    assert broker.full() == set()
    item = outbox.Item(UUID(int=1), "settle_inbox", {}, datetime.now(UTC), 1, None)
    for _ in range(WAITING_MAX):
        broker.send([item])
    assert broker.full() == {"money"}
    valkey.stop(store)
    with pytest.raises(BrokerAway):
        broker.full()
