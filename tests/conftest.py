"""A real PostgreSQL for the tests: one server a run, one database a worker, rolled back a test.

TEST_DATABASE_URL names a server to use; otherwise an embedded one is started (EMBEDDED_PG_BIN
chooses its version) and thrown away with its data.
"""

import io
import logging
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from argon2 import PasswordHasher
from hypothesis import settings
from psycopg import sql

import logs
from core import pins
from core.database import Database, Db
from local import postgres
from tests.emptied import Emptied
from tests.flows import walks_report

ROOT = Path(__file__).parent.parent
# A case is no slower for being tried on a busy machine.
settings.register_profile("sokoni", deadline=None)
settings.load_profile("sokoni")

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
SEED = 7042


class _Run:
    """The server of this run of pytest, shared with its workers (pytest-xdist)."""

    def __init__(self, name: str | None, url: str | None) -> None:
        self.name = name or uuid4().hex[:8]
        self.template = f"test_{self.name}_template"
        self._url = url
        self._home: Path | None = None
        self._server: postgres.Server | None = None
        self._owner = url is None or name is None
        self._empty: list[Emptied] = []  # to be lent again
        self._numbers = count()

    @property
    def url(self) -> str:
        if self._url is None:
            # Not pytest's own folder: that one is closed to the user PostgreSQL runs as.
            self._home = Path(tempfile.mkdtemp(prefix="sokoni-tests-"))
            self._home.chmod(0o755)
            chosen = os.environ.get("EMBEDDED_PG_BIN")
            self._server = postgres.start(
                self._home,
                bin_folder=Path(chosen) if chosen else None,
                options=FAST,
                dies_with_us=True,
            )
            self._url = self._server.url
        return self._url

    @contextmanager
    def database(self, worker: str) -> Iterator[str]:
        """A database as the migrations leave it, nobody else's meanwhile; its URL."""
        lent = self._empty.pop() if self._empty else Emptied(self._copy(worker))
        try:
            yield lent.url
        finally:
            if lent.empty():
                self._empty.append(lent)
            else:
                self._drop(lent)

    def drop_empty(self) -> None:
        while self._empty:
            self._drop(self._empty.pop())

    def _copy(self, worker: str) -> str:
        self._ensure_template()
        name = f"test_{self.name}_{worker}_{next(self._numbers)}"
        self._run("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, self.template)
        return self._url_of(name)

    def _drop(self, lent: Emptied) -> None:
        lent.close()
        name = sa.make_url(lent.url).database
        assert name is not None
        self._run("DROP DATABASE {} WITH (FORCE)", name)

    def close(self) -> None:
        if not self._owner or self._url is None:
            return
        if self._server is None:
            self._run("DROP DATABASE IF EXISTS {}", self.template)
            return
        postgres.stop(self._server)
        assert self._home is not None
        shutil.rmtree(self._home)

    def _ensure_template(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(7042)")
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [self.template]
            ).fetchone()
            if not known:
                part = f"{self.template}_part"
                self._run("DROP DATABASE IF EXISTS {}", part)
                self._run("CREATE DATABASE {}", part)
                migrate(self._url_of(part))
                self._run("ALTER DATABASE {} RENAME TO {}", part, self.template)

    def _run(self, statement: Any, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _url_of(self, name: str) -> str:
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)


def migrate(url: str, to: str = "head") -> None:
    """What `python -m alembic upgrade` does, in this process."""
    config = Config(str(ROOT / "alembic.ini"))
    config.attributes["url"] = url
    command.upgrade(config, to)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept", action="store_true", help="record the dialogues of tests/transcripts anew"
    )


_RUN = pytest.StashKey[_Run]()


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {})
    url = given.get("server_url") or os.environ.get("TEST_DATABASE_URL")
    config.stash[_RUN] = _Run(given.get("server_run"), url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with tests that take minutes come first, so that no worker is left with one."""
    seconds: dict[Path, float] = {}
    for item in items:
        own = item.get_closest_marker("timeout")
        seconds[item.path] = max(seconds.get(item.path, 0.0), own.args[0] if own else 0.0)
    items.sort(key=lambda item: -seconds[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Runs in the controller, which owns the server, before each worker starts."""
    run = node.config.stash[_RUN]
    node.workerinput.update(server_run=run.name, server_url=run.url)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = walks_report.lines(terminalreporter.stats.get("passed", []))
    if lines:
        terminalreporter.section("walks")
        for line in lines:
            terminalreporter.write_line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_RUN].close()


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    """Call it for a context manager: a migrated, empty database of your own; its URL."""
    run = request.config.stash[_RUN]
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    yield lambda: run.database(worker)
    run.drop_empty()


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], Any]) -> Iterator[str]:
    """The worker's own migrated database. What is committed stays: use `database` for that."""
    with new_database() as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def quick_pins() -> Iterator[None]:
    """Hashing that is slow on purpose is tested in core/test_pins."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with mock.patch.object(pins, "_HASHER", quick):
        yield


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def database(new_database: Callable[[], Any], now: datetime) -> Iterator[Database]:
    """Of this test alone, empty but for the migrations: commit as you like."""
    with new_database() as url:
        made = Database(url, clock=lambda: now, random=random.Random(SEED))
        yield made
        made.close()


@pytest.fixture
def fresh_database(database: Database) -> Database:
    return database


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a configured process writes to stderr; then all is as it was.

    Not capsys: loggers keep the stream they first wrote to, and that one is closed after its test.
    """
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    thread_hook, configured = threading.excepthook, structlog.get_config()
    logs.configure("INFO")
    yield stream
    root.handlers[:], sys.excepthook, threading.excepthook = handlers, hook, thread_hook
    root.setLevel(level)
    structlog.configure(**configured)
    logging.captureWarnings(False)


class _RollBack(Exception):
    """The end of a test's transaction."""


@pytest.fixture(scope="session")
def kept_database(database_url: str) -> Iterator[Database]:
    """One connection for all tests of the worker, which so prepare each statement once."""
    kept = Database(database_url, size=1)
    yield kept
    kept.close()


@pytest.fixture
def db(kept_database: Database, now: datetime) -> Iterator[Db]:
    """One open transaction, rolled back after the test."""
    kept_database.clock, kept_database.random = lambda: now, random.Random(SEED)
    with suppress(_RollBack), kept_database.begin(seconds=3600) as db:
        yield db
        raise _RollBack
