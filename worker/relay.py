"""The relay: hands the outbox's due rows to Celery, at least once each. Run as many as you like."""

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import inf
from time import monotonic

import psycopg
import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from psycopg import sql

import logs
import settings as all_settings
from core import outbox
from core.database import STATEMENT_SECONDS_MAX, Database
from core.errors import Unavailable
from core.outbox import Queue
from worker.app import QUEUES, create, task_name
from worker.stopping import Signalled, Stopping

log = structlog.get_logger(__name__)

BATCH = 100
WAITING_MAX = 200  # in a queue of the broker: what lies there longer than its lease comes twice
POLL_SECONDS = 0.1  # for rows due without anybody saying so: who looks at a chat feels it
LOOK_SECONDS = 0.2  # between two looks at how much waits there
PAUSE_SECONDS_MIN = 0.2  # while the database or the broker is away
PAUSE_SECONDS_MAX = 5.0


class BrokerAway(Exception):
    """Celery's broker takes nothing now."""


class Relay:
    """One loop. send: gives items, all of one kind, to whoever runs them; raises BrokerAway.

    clock: what is due; the leases begin there too. full: the queues in which enough waits already;
    raises BrokerAway.
    """

    def __init__(
        self,
        database: Database,
        send: Callable[[Sequence[outbox.Item]], None],
        *,
        clock: Callable[[], datetime] | None = None,
        full: Callable[[], Collection[Queue]] = tuple,
    ) -> None:
        self._database = database
        self._send = send
        self._full = full
        self._clock = clock or database.clock
        self._pause_seconds = 0.0

    def run(self, stop: Stopping) -> None:
        """Until stop is set. Whatever is away is waited for; the outbox keeps what is due."""
        while not stop.is_set():
            try:
                with self._listening() as wait:
                    while not stop.is_set():
                        full = self.hand_out() == BATCH
                        self._recovered()
                        if not full:
                            wait()
            except (Unavailable, BrokerAway, psycopg.OperationalError) as error:
                stop.wait(self._lengthened_pause(error))

    def hand_out(self) -> int:
        """One batch of due rows; how many. What could not be sent is due again shortly.

        Raises BrokerAway, Unavailable. Dying here at any point loses nothing: what was taken and
        not sent, or sent and lost, comes back when its lease ends.
        """
        full = self._full()
        # Taken where two statements are two transactions: each row is ours for its lease alone.
        with self._database.autocommit(seconds=STATEMENT_SECONDS_MAX) as db:
            items = outbox.take_due(db, self._clock(), BATCH, full=full)
        parcels = deque(_parcels(items) if len(items) == BATCH else [[item] for item in items])
        while parcels:
            try:
                self._send(parcels[0])
            except BrokerAway:
                self._give_back([item for parcel in parcels for item in parcel])
                raise
            parcels.popleft()
        return len(items)

    def _give_back(self, items: Sequence[outbox.Item]) -> None:
        with self._database.begin() as db:
            due_at = self._clock() + timedelta(seconds=PAUSE_SECONDS_MIN)
            for item in items:
                outbox.postpone(db, item.id, due_at, "the broker is away")

    @contextmanager
    def _listening(self) -> Iterator[Callable[[], None]]:
        """Gives what waits until a row is put that cannot wait, or for POLL_SECONDS."""
        url = self._database.engine.url.set(drivername="postgresql")
        with psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True, connect_timeout=3
        ) as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(outbox.CHANNEL)))

            def wait() -> None:
                for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                    return

            yield wait

    def _lengthened_pause(self, error: Exception) -> float:
        if not self._pause_seconds:
            log.warning("relay_waits", error=type(error).__name__)
        doubled = max(PAUSE_SECONDS_MIN, self._pause_seconds * 2)
        self._pause_seconds = min(doubled, PAUSE_SECONDS_MAX)
        return self._pause_seconds

    def _recovered(self) -> None:
        if self._pause_seconds:
            log.info("relay_goes_on")
            self._pause_seconds = 0.0


def _parcels(items: Sequence[outbox.Item]) -> list[list[outbox.Item]]:
    """More is due than this: what may travel together does. In the order of the first of each."""
    found: list[list[outbox.Item]] = []
    filling: dict[str, list[outbox.Item]] = {}
    for item in items:
        parcel = filling.get(item.kind)
        if parcel is None or len(parcel) == outbox.KINDS[item.kind].together:
            parcel = filling[item.kind] = []
            found.append(parcel)
        parcel.append(item)
    return found


class Broker:
    """Celery's, as the relay sees it. look_seconds: how old its word on full queues may be."""

    def __init__(self, app: Celery, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._app = app
        self._look_seconds = look_seconds
        self._looked_at = -inf
        self._full: set[Queue] = set()
        self._connection = app.connection_for_write()
        self._away = (
            OperationalError,
            *self._connection.connection_errors,
            *self._connection.channel_errors,
        )

    def send(self, items: Sequence[outbox.Item]) -> None:
        """The task of the items' kind, in its queue, given the rows' ids alone."""
        first = items[0]
        ids = [str(item.id) for item in items]
        try:
            self._app.send_task(task_name(first.kind), args=ids, queue=first.queue)
        except self._away as error:
            raise BrokerAway from error

    def full(self) -> set[Queue]:
        """The queues in which so many tasks wait that more would only grow old there."""
        if monotonic() - self._looked_at < self._look_seconds:
            return self._full
        try:
            channel = self._connection.default_channel
            self._full = {
                name
                for name in QUEUES
                if channel.queue_declare(queue=name, durable=True).message_count >= WAITING_MAX
            }
        except self._away as error:
            raise BrokerAway from error
        self._looked_at = monotonic()
        return self._full


def main() -> int:
    settings = all_settings.from_environment(needs=("database_url", "celery_broker_url"))
    logs.configure(settings.log_level)
    assert settings.database_url is not None, "needed, so it is there"
    stop = Signalled()
    database = Database(settings.database_url, size=1)
    broker = Broker(create(settings))
    Relay(database, broker.send, full=broker.full).run(stop)
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
