"""The relay: hands the outbox's due rows to Celery, at least once each. Run as many as you like."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from psycopg import sql

import logs
import settings as all_settings
from core import outbox
from core.database import Database
from core.errors import Unavailable
from worker.app import create, task_name
from worker.stopping import Signalled, Stopping

log = structlog.get_logger(__name__)

BATCH = 100
POLL_SECONDS = 0.1  # for rows due without anybody saying so: who looks at a chat feels it
PAUSE_SECONDS_MIN = 0.2  # while the database or the broker is away
PAUSE_SECONDS_MAX = 5.0


class BrokerAway(Exception):
    """Celery's broker takes nothing now."""


class Relay:
    """One loop. send: gives an item to whoever runs it; raises BrokerAway.

    clock: what is due; the leases begin there too.
    """

    def __init__(
        self,
        database: Database,
        send: Callable[[outbox.Item], None],
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._database = database
        self._send = send
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
        with self._database.begin() as db:
            items = outbox.take_due(db, self._clock(), BATCH)
        for position, item in enumerate(items):
            try:
                self._send(item)
            except BrokerAway:
                self._give_back(items[position:])
                raise
        return len(items)

    def _give_back(self, items: list[outbox.Item]) -> None:
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


def to_celery(app: Celery) -> Callable[[outbox.Item], None]:
    """A `send` for Relay: the task of the item's kind, in its queue, given the row's id alone."""
    connection = app.connection_for_write()
    away = (OperationalError, *connection.connection_errors, *connection.channel_errors)

    def send(item: outbox.Item) -> None:
        try:
            app.send_task(task_name(item.kind), args=[str(item.id)], queue=item.queue)
        except away as error:
            raise BrokerAway from error

    return send


def main() -> int:
    settings = all_settings.from_environment(needs=("database_url", "celery_broker_url"))
    logs.configure(settings.log_level)
    assert settings.database_url is not None, "needed, so it is there"
    stop = Signalled()
    database = Database(settings.database_url, size=1)
    Relay(database, to_celery(create(settings))).run(stop)
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
