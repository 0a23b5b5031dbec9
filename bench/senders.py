"""Senders: how fast one worker hands SMS to the gateway, and who waits while it does.

Relay, worker and pretend gateway are the processes that `make run` starts. Times are the messages'
own: put, claimed, and recorded once the gateway had taken them.
"""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep
from typing import Final
from uuid import UUID

from bench import servers
from bench.market import ROOT, Market
from bench.rounds import Wrong
from core import broadcasts, messages
from core.database import Database
from core.rules import Rules
from local import processes, run, valkey
from settings import Settings, broker_url, environment_of

RECEIPTS: Final = 3_000  # put at once, for the rate
BROADCAST: Final = 20_000
CHUNK: Final = 1_000  # receivers put in one transaction
EVERY_SECONDS: Final = 0.05  # a receipt, while the broadcast is sent
LOOK_SECONDS: Final = 0.5  # between two looks whether all is sent
START_SECONDS_MAX: Final = 30
SECONDS_MAX: Final = 180
STOP_SECONDS_MAX: Final = 10

RECEIPT: Final = "case_opened"  # the trigger; it is worded for each member
ADVERTISING: Final = "broadcast"
SAID: Final = {
    "en": "Sokoni: tomatoes are cheap this week at Wakulima. To buy, reply BUY tomatoes."
}
ALWAYS_DAY: Final = Rules(quiet_hours=(0, 0))  # at whatever hour this is measured
WORKER: Final = ("relay", "worker")
GATEWAY: Final = "simulator"
LOG_CHARACTERS_MAX: Final = 500  # of each that is shown when something is wrong


@dataclass(frozen=True)
class Rate:
    """So many messages, from the first that was claimed to the last recorded.

    cpu_us: of a message, by process; what else was sent meanwhile counts too.
    """

    messages: int
    seconds: float
    cpu_us: Mapping[str, float]

    @property
    def a_second(self) -> float:
        return self.messages / self.seconds


@dataclass(frozen=True)
class Waits:
    """From the put to the record of each receipt."""

    receipts: int
    p50_seconds: float
    p99_seconds: float
    longest_seconds: float


@dataclass(frozen=True)
class Sent:
    """receipts: each by itself; broadcast: by the hundred; waits: of the receipts put meanwhile."""

    receipts: Rate
    broadcast: Rate
    waits: Waits


def measured(opened: Market, receipts: int = RECEIPTS, broadcast: int = BROADCAST) -> Sent:
    """Receipts in one heap; then a broadcast, and receipts put one by one. Raises Wrong."""
    try:
        return _measured(opened, receipts, broadcast)
    except Wrong as error:
        logs = [opened.folder / f"{name}.log" for name in (*WORKER, GATEWAY)]
        said = "".join(log.read_text()[-LOG_CHARACTERS_MAX:] for log in logs if log.exists())
        raise Wrong(f"{error}\n{said}") from error


class _Line:
    """From the outbox to the gateway, while all its processes run. pids: by what they are."""

    def __init__(self, database: Database, pids: Mapping[str, int]) -> None:
        self._database = database
        self._pids = pids
        self._receipts = 0
        with database.begin() as db:
            self._members: list[UUID] = db.value(
                "SELECT array_agg(id ORDER BY msisdn) FROM members WHERE NOT is_seller"
            )

    def warm_up(self) -> None:
        """The worker has forked, has connected and sends."""
        self._put(4)
        self._wait(RECEIPT, START_SECONDS_MAX)

    def heap(self, count: int) -> Rate:
        since, before = self._database.clock(), self._cpu_seconds()
        self._put(count)
        self._wait(RECEIPT)
        return self._rate(RECEIPT, count, since, before)

    def crowd(self, count: int) -> tuple[Rate, Waits]:
        since, before, first = self._database.clock(), self._cpu_seconds(), self._receipts
        self._put_broadcast(count)
        until = monotonic() + SECONDS_MAX
        due = monotonic()
        while self._receipts == first or self._unsent(ADVERTISING):
            if monotonic() > until:
                raise Wrong(f"a broadcast to {count} is not sent after {SECONDS_MAX} s")
            for _ in range(round(LOOK_SECONDS / EVERY_SECONDS)):
                self._put(1)
                due += EVERY_SECONDS
                sleep(max(0.0, due - monotonic()))
        self._wait(RECEIPT)
        rate = self._rate(ADVERTISING, count, since, before)
        return rate, self._waits(self._receipts - first, since)

    def _put(self, count: int) -> None:
        """Receipts, each for another member, all in one transaction."""
        with self._database.begin(seconds=SECONDS_MAX) as db:
            for _ in range(count):
                self._receipts += 1
                member_id = self._members[self._receipts % len(self._members)]
                case = {"case": str(self._receipts)}
                messages.of_member(db, RECEIPT, member_id, case, self._database.clock())

    def _put_broadcast(self, count: int) -> None:
        for first in range(0, count, CHUNK):
            chunk = self._members[first : min(first + CHUNK, count)]
            with self._database.begin(seconds=SECONDS_MAX) as db:
                now = self._database.clock()
                new = broadcasts.put(db, "bench", SAID, chunk, ALWAYS_DAY, now)
                assert new == len(chunk), f"{len(chunk) - new} of {len(chunk)} were told before"

    def _wait(self, trigger: str, seconds: float = SECONDS_MAX) -> None:
        """Until all of them are sent. Raises Wrong."""
        until = monotonic() + seconds
        while left := self._unsent(trigger):
            if monotonic() > until:
                raise Wrong(f"{left} messages ({trigger}) are not sent after {seconds:.0f} s")
            sleep(LOOK_SECONDS)

    def _unsent(self, trigger: str) -> int:
        with self._database.begin() as db:
            left: int = db.value(
                "SELECT count(*) FROM messages WHERE trigger = %(trigger)s AND sent_at IS NULL",
                {"trigger": trigger},
            )
        return left

    def _rate(self, trigger: str, count: int, since: datetime, before: Mapping[str, float]) -> Rate:
        """Raises Wrong: one was not sent, or sent twice, or the gateway gave it no name."""
        after = self._cpu_seconds()
        with self._database.begin() as db:
            found = db.row(
                _Found,
                """
                SELECT count(*) AS sent, count(DISTINCT provider_id) AS taken,
                       max(attempts) AS attempts,
                       extract(epoch FROM max(sent_at) - min(claimed_at))::float8 AS seconds
                FROM messages
                WHERE trigger = %(trigger)s AND created_at >= %(since)s AND state = 'sent'
                """,
                {"trigger": trigger, "since": since},
            )
        assert found is not None, "a count has a row"
        if (found.sent, found.taken, found.attempts) != (count, count, 1):
            raise Wrong(f"of {count} messages ({trigger}): {found}")
        used = {name: (after[name] - before[name]) / count * 1e6 for name in after}
        return Rate(count, found.seconds, used)

    def _waits(self, count: int, since: datetime) -> Waits:
        with self._database.begin() as db:
            found = db.row(
                Waits,
                """
                SELECT count(*) AS receipts,
                       percentile_disc(0.5) WITHIN GROUP (ORDER BY waited) AS p50_seconds,
                       percentile_disc(0.99) WITHIN GROUP (ORDER BY waited) AS p99_seconds,
                       max(waited) AS longest_seconds
                FROM (
                    SELECT extract(epoch FROM sent_at - created_at)::float8 AS waited
                    FROM messages WHERE trigger = %(trigger)s AND created_at >= %(since)s
                ) AS each
                """,
                {"trigger": RECEIPT, "since": since},
            )
        assert found is not None, "a count has a row"
        assert found.receipts == count, f"{found.receipts} of {count} receipts were sent"
        return found

    def _cpu_seconds(self) -> dict[str, float]:
        return {name: servers.cpu_seconds(pid) for name, pid in self._pids.items()}


def _measured(opened: Market, receipts: int, broadcast: int) -> Sent:
    with opened.copy("senders") as url, ExitStack() as stack:
        store = valkey.start(opened.folder, dies_with_us=True)
        stack.callback(valkey.stop, store)
        settings = settings_of(opened, url, store.url)
        pids = {name: stack.enter_context(running(name, settings, opened)) for name in WORKER}
        pids["gateway"] = stack.enter_context(running(GATEWAY, settings, opened))
        assert opened.server.process is not None, "somebody else keeps this server"
        pids["database"] = opened.server.process.pid
        without_reports(settings)
        database = Database(url, size=1)
        stack.callback(database.close)
        line = _Line(database, pids)
        line.warm_up()
        return Sent(line.heap(receipts), *line.crowd(broadcast))


@dataclass(frozen=True)
class _Found:
    sent: int
    taken: int
    attempts: int
    seconds: float


def settings_of(opened: Market, url: str, redis_url: str) -> Settings:
    """Of all the processes that `make run` starts, on this copy of the market."""
    settings = opened.settings_for(url)
    port = servers.free_port()
    pretend = f"http://{settings.host}:{port}"
    return settings.model_copy(
        update={
            "sokoni_env": "development",
            "sokoni_home": opened.folder,
            "redis_url": redis_url,
            "celery_broker_url": broker_url(redis_url),
            "simulator_port": port,
            "africastalking_base_url": pretend,
            "africastalking_insights_url": pretend,
            "daraja_base_url": pretend,
            "telegram_base_url": f"{pretend}/telegram",
            "log_level": "WARNING",
            "quiet_hours": "0-0",
        }
    )


@contextmanager
def running(name: str, settings: Settings, opened: Market) -> Iterator[int]:
    """One of the processes that `make run` starts; its number. Stopped afterwards."""
    with (opened.folder / f"{name}.log").open("wb") as output:
        process = processes.spawn(
            run.command(name, settings), cwd=ROOT, environ=environment_of(settings), output=output
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        processes.end_group(process)


def without_reports(settings: Settings) -> None:
    """Nobody here takes what the gateway reports."""
    url = f"http://{settings.host}:{settings.simulator_port}/simulator"
    until = monotonic() + START_SECONDS_MAX
    while not servers.answers(url):
        if monotonic() > until:
            raise Wrong("the pretend gateway does not answer")
        sleep(0.1)
    rules = urllib.request.Request(  # noqa: S310 our own address
        f"{url}/api/rules",
        json.dumps({"sms_report": None}).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(rules, timeout=5):  # noqa: S310
        pass
