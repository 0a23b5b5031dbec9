"""The database: one PostgreSQL, short transactions with a deadline, SQL built once.

SQLAlchemy keeps the tables' definitions (for migrations) and the pool of connections; the SQL
of the hop and of the settlement is written by hand and goes straight to psycopg, which prepares
it (docs/decisions/0002-sql-by-hand.md).
"""

import random
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import psycopg
import sqlalchemy as sa

from core.errors import CommitUnknown, OutOfTime, Unavailable
from core.memory import Memory
from core.statements import Params, Session

Row = TypeVar("Row")
Kept = TypeVar("Kept")
SESSION = "session"  # its name among what the pool keeps with a connection

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

STATEMENT_SECONDS_MAX = 30.0  # of a transaction that named no deadline of its own
CONNECTION_SECONDS_MAX = 2  # to wait for a connection, from the pool or from the server


def utc_now() -> datetime:
    return datetime.now(UTC)


class Db:
    """One open transaction. Everything below the entry point takes it and never commits.

    From Database.autocommit it is none: each of its statements commits by itself.
    """

    def __init__(
        self, session: Session, owner: "Database", deadline: float, durable: bool, setting: str
    ) -> None:
        self._session = session
        self._owner = owner
        self.durable = durable
        self._deadline = deadline
        self._setting = setting  # how the server is told of a shorter deadline
        self._is_transaction = setting == "SET LOCAL"
        self._timeout_seconds = deadline - monotonic()
        self.is_late = False  # told the server of a shorter deadline than it began with
        self._last_id = 0
        self.random = owner.random

    def new_id(self) -> UUID:
        """A new key, ordered by time (UUID version 7, RFC 9562), from the owner's clock.

        Later than those this transaction made before, also within a millisecond: what it writes
        first, a timeline's line or a task, comes first.
        """
        milliseconds = int(self._owner.clock().timestamp() * 1000)
        noise = self.random.getrandbits(74)
        value = milliseconds << 80 | 7 << 76 | (noise >> 62) << 64 | 2 << 62 | noise & (1 << 62) - 1
        self._last_id = max(value, self._last_id + 1)
        return UUID(int=self._last_id)

    def row(self, into: type[Row], sql: LiteralString, params: Params = None) -> Row | None:
        """The first row, its columns given by name to `into`, or None."""
        self._keep_deadline()
        return self._session.row(into, sql, params)

    def rows(self, into: type[Row], sql: LiteralString, params: Params = None) -> list[Row]:
        """Every row, its columns given by name to `into`."""
        self._keep_deadline()
        return self._session.rows(into, sql, params)

    def value(self, sql: LiteralString, params: Params = None) -> Any:
        """The first column of the first row, or None."""
        self._keep_deadline()
        return self._session.value(sql, params)

    def run(self, sql: LiteralString, params: Params = None) -> int:
        """Execute; how many rows it touched."""
        self._keep_deadline()
        return self._session.count(sql, params)

    def recall(self, key: Hashable, read: Callable[[], Kept], now: datetime) -> Kept:
        """What `read` gives, or gave this process at most Database's recall_seconds before now.

        In a transaction it is read anew and not kept: what is not committed is shown to nobody.
        """
        memory = self._owner.memory
        return read() if self._is_transaction else memory.recall(key, read, now)

    def make_durable(self) -> None:
        """From here on this transaction has an effect: its commit waits for the disk."""
        self.durable = True

    def _keep_deadline(self) -> None:
        """Refuse what starts too late; shrink the server's own limits as time goes."""
        left = self._deadline - monotonic()
        if left <= 0:
            raise OutOfTime("the transaction's time is up")
        if left < 0.8 * self._timeout_seconds:
            self._timeout_seconds, self.is_late = left, True
            self._session.tell(_limits(self._setting, left))


def _limits(setting: str, seconds: float) -> bytes:
    milliseconds = max(1, int(seconds * 1000))
    return (
        f"{setting} statement_timeout = {milliseconds}; {setting} lock_timeout = {milliseconds}"
    ).encode()


class Database:
    """Where transactions come from.

    url: postgresql://…; clock and random: passed in so that tests and the simulator of disasters
    choose the hour and the dice. size: connections kept (give each thread one). recall_seconds:
    how old what Db.recall gives may be.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        random: random.Random | None = None,
        size: int = 5,
        recall_seconds: float = 0.0,
    ) -> None:
        self.clock = clock
        self.memory = Memory(recall_seconds)
        self.random = random if random is not None else _system_random()
        self.engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=size,
            max_overflow=size,
            pool_timeout=CONNECTION_SECONDS_MAX,
            pool_reset_on_return=None,  # none comes back with a transaction open (_session)
            connect_args={"autocommit": True, "connect_timeout": CONNECTION_SECONDS_MAX},
        )

    @contextmanager
    def begin(
        self, *, seconds: float = STATEMENT_SECONDS_MAX, durable: bool = True
    ) -> Iterator[Db]:
        """One transaction: commits if the block ends, rolls back if it raises.

        seconds: the deadline of the whole; past it every statement, and the commit, raises
        OutOfTime and nothing is kept. durable=False: the commit does not wait for the disk
        unless Db.make_durable was called; a crash may lose it, never tear it.
        Raises Unavailable: the database cannot be reached, nothing is kept; CommitUnknown: it broke
        away during the commit, which may have happened.
        """
        deadline = monotonic() + seconds

        def start(session: Session) -> None:
            session.tell(b"BEGIN; " + _limits("SET LOCAL", deadline - monotonic()))

        with self._session(start) as session:
            db = Db(session, self, deadline, durable, "SET LOCAL")
            try:
                yield db
                if monotonic() >= deadline:
                    raise OutOfTime("the transaction's time was up before its commit")
                _commit(session, db.durable)
            except BaseException:
                with suppress(psycopg.Error):  # a broken connection, which nobody keeps
                    session.tell(b"ROLLBACK")
                raise

    @contextmanager
    def autocommit(self, *, seconds: float) -> Iterator[Db]:
        """No transaction: every statement commits by itself and does not wait for the disk.

        For what reads, and then writes in one statement that finds out whether it still may.
        Raises OutOfTime: nothing is kept; Unavailable: the last statement may have happened.
        """

        def start(session: Session) -> None:
            if session.timeout_seconds != seconds:
                session.tell(_limits("SET", seconds))
                session.timeout_seconds = seconds

        with self._session(start) as session:
            db = Db(session, self, monotonic() + seconds, durable=False, setting="SET")
            try:
                yield db
            finally:
                if db.is_late:
                    session.timeout_seconds = 0.0  # say it anew

    @contextmanager
    def _session(self, start: Callable[[Session], None]) -> Iterator[Session]:
        """A connection out of the pool, started; whatever breaks it is Unavailable."""
        pooled, session = self._checkout(start)
        healthy = False
        try:
            yield session
            healthy = True
        except BaseException as error:
            healthy = session.is_idle
            if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
                raise OutOfTime("a statement or a lock took too long") from error
            if isinstance(error, psycopg.OperationalError):
                raise Unavailable("the database went away") from error
            raise
        finally:
            if healthy:
                pooled.close()  # back to the pool
            else:
                pooled.invalidate()
                pooled.close()

    def _checkout(self, start: Callable[[Session], None]) -> tuple[Any, Session]:
        """A connection and its start. One that died in the pool is replaced, once."""
        for attempt in (1, 2):
            try:
                pooled = self.engine.raw_connection()
            except (sa.exc.OperationalError, sa.exc.TimeoutError, psycopg.Error) as error:
                raise Unavailable("no connection to the database") from error
            try:
                session = pooled.info.get(SESSION)
                if session is None:
                    session = pooled.info[SESSION] = Session(pooled.driver_connection)  # type: ignore[arg-type]
                start(session)
                return pooled, session
            except psycopg.OperationalError as error:
                pooled.invalidate()
                pooled.close()
                self.engine.dispose()  # its sisters died with it
                if attempt == 2:
                    raise Unavailable("the database refuses to begin") from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        self.engine.dispose()


def _commit(session: Session, durable: bool) -> None:
    # DEFAULT: as whoever runs the server set it; our sessions are off (core.statements).
    try:
        session.tell(b"SET LOCAL synchronous_commit = DEFAULT; COMMIT" if durable else b"COMMIT")
    except psycopg.OperationalError as error:
        if error.sqlstate is not None:  # the server itself refused, so it rolled back
            raise
        raise CommitUnknown("the connection broke during the commit") from error


def _system_random() -> random.Random:
    return random.SystemRandom()
