"""One scheduler at work, another in line behind it."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
import redis

from local import valkey
from settings import load
from worker import schedule, tasks
from worker.app import QUEUES, create, task_name


class Scheduler:
    """One process: its thread, its exit code."""

    def __init__(self, url: str) -> None:
        self.exit_code: int | None = None
        self.stop = Event()
        self._url = url
        self._thread = Thread(target=self._keep)
        self._thread.start()

    def _keep(self) -> None:
        app = create(load({"REDIS_URL": "redis://127.0.0.1:1/0"}))
        self.exit_code = schedule.keep(self._url, app, self.stop)

    def end(self) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def url(new_database: Callable[[], Any]) -> Iterator[str]:
    with new_database() as url:
        yield url.replace("postgresql+psycopg", "postgresql")


@contextmanager
def started(url: str, count: int) -> Iterator[list[Scheduler]]:
    all_of_them = []
    try:
        for _ in range(count):
            all_of_them.append(Scheduler(url))
            if len(all_of_them) == 1:
                wait_for(lambda: holders(url) is not None)
        yield all_of_them
    finally:
        for each in all_of_them:
            each.end()


def holders(url: str) -> int | None:
    """The server process that holds the schedule's lock, of which there is never more than one."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [schedule.LOCK_KEY],
        ).fetchall()
    assert len(found) <= 1
    return found[0][0] if found else None


def wait_for(reached: Callable[[], bool], seconds: float = 60) -> None:
    begun = monotonic()
    while not reached():
        assert monotonic() - begun < seconds, "it did not happen in time"
        sleep(0.02)


def test_the_second_waits_and_takes_over_when_the_first_ends(url: str) -> None:
    with started(url, 2) as (first, second):
        holder = holders(url)
        sleep(1.2)  # the second has tried again, in vain
        assert holders(url) == holder
        first.end()
        assert first.exit_code == 0
        wait_for(lambda: holders(url) not in (None, holder))
        assert second.exit_code is None


def test_one_that_lost_its_lock_ends_with_an_error_and_the_next_takes_over(url: str) -> None:
    with started(url, 2) as (first, second):
        holder = holders(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [holder])
        wait_for(lambda: first.exit_code is not None)
        assert first.exit_code == 1
        wait_for(lambda: holders(url) not in (None, holder))
        assert second.exit_code is None


def test_one_that_waits_in_line_can_be_stopped(url: str) -> None:
    with started(url, 2) as (_, second):
        second.end()
        assert second.exit_code == 0


def test_without_a_database_it_ends_with_an_error() -> None:
    app = create(load({"REDIS_URL": "redis://127.0.0.1:1/0"}))
    assert schedule.keep("postgresql://127.0.0.1:1/nothing", app, Event()) == 1


def test_what_falls_due_is_sent_to_its_queue(store: valkey.Server) -> None:
    beat = schedule.scheduler(create(load({"REDIS_URL": store.url})))
    assert beat.schedule.keys() == schedule.SCHEDULE.keys()
    for entry in beat.schedule.values():
        entry.last_run_at -= timedelta(hours=25)
    for _ in schedule.SCHEDULE:  # one a tick
        beat.tick()
    wanted = Counter(entry["options"]["queue"] for entry in schedule.SCHEDULE.values())
    with redis.Redis.from_url(store.url) as client:
        assert {queue: client.llen(queue) for queue in wanted} == wanted
    beat.close()


def test_what_is_scheduled_has_its_task_and_its_queue() -> None:
    sent = {entry["task"] for entry in schedule.SCHEDULE.values()}
    assert sent == {task_name(name) for name in tasks.SCHEDULED}
    assert {entry["options"]["queue"] for entry in schedule.SCHEDULE.values()} <= set(QUEUES)
