"""The database: one PostgreSQL, short transactions with a deadline, SQL built once.

SQLAlchemy keeps the tables' definitions (for migrations) and the pool of connections; the SQL
of the hop and of the settlement is written by hand and goes straight to psycopg, which prepares
it (docs/decisions/0002-sql-by-hand.md).
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from time import monotonic
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.rows import class_row, tuple_row

from core.errors import CommitUnknown, OutOfTime, Unavailable

Row = TypeVar("Row")
Params = Mapping[str, object] | Sequence[object] | None

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
    """One open transaction. Everything below the entry point takes it and never commits."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        owner: "Database",
        deadline: float,
        durable: bool,
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._owner = owner
        self.durable = durable
        self._deadline = deadline
        self._timeout_seconds = deadline - monotonic()
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
        found: Row | None = self._execute(_rows_of(into), sql, params).fetchone()
        return found

    def rows(self, into: type[Row], sql: LiteralString, params: Params = None) -> list[Row]:
        """Every row, its columns given by name to `into`."""
        found: list[Row] = self._execute(_rows_of(into), sql, params).fetchall()
        return found

    def value(self, sql: LiteralString, params: Params = None) -> Any:
        """The first column of the first row, or None."""
        found = self._execute(tuple_row, sql, params).fetchone()
        return None if found is None else found[0]

    def run(self, sql: LiteralString, params: Params = None) -> int:
        """Execute; how many rows it touched."""
        return self._execute(tuple_row, sql, params).rowcount

    def make_durable(self) -> None:
        """From here on this transaction has an effect: its commit waits for the disk."""
        self.durable = True

    def _execute(self, row_factory: Any, sql: LiteralString, params: Params) -> psycopg.Cursor[Any]:
        self._keep_deadline()
        self._cursor.row_factory = row_factory
        return self._cursor.execute(sql, params)

    def _keep_deadline(self) -> None:
        """Refuse what starts too late; shrink the server's own limits as time goes."""
        left = self._deadline - monotonic()
        if left <= 0:
            raise OutOfTime("the transaction's time is up")
        if left < 0.8 * self._timeout_seconds:
            self._timeout_seconds = left
            _tell(self._connection, _limits(left))


_rows_of: Callable[[Any], Any] = cache(class_row)  # by class


def _limits(seconds: float) -> bytes:
    milliseconds = max(1, int(seconds * 1000))
    return (
        f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}"
    ).encode()


class Database:
    """Where transactions come from.

    url: postgresql://…; clock and random: passed in so that tests and the simulator of disasters
    choose the hour and the dice. size: connections kept (give each thread one).
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        random: random.Random | None = None,
        size: int = 5,
    ) -> None:
        self.clock = clock
        self.random = random if random is not None else _system_random()
        self.engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=size,
            max_overflow=size,
            pool_timeout=CONNECTION_SECONDS_MAX,
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
        pooled, connection = self._checkout(deadline)
        healthy = False
        try:
            db = Db(connection, self, deadline, durable)
            yield db
            if monotonic() >= deadline:
                raise OutOfTime("the transaction's time was up before its commit")
            _commit(connection, db.durable)
            healthy = True
        except BaseException as error:
            healthy = _rolled_back(connection)
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

    def _checkout(self, deadline: float) -> tuple[Any, psycopg.Connection[Any]]:
        """A connection with its transaction open. One that died in the pool is replaced, once."""
        for attempt in (1, 2):
            try:
                pooled = self.engine.raw_connection()
            except (sa.exc.OperationalError, sa.exc.TimeoutError, psycopg.Error) as error:
                raise Unavailable("no connection to the database") from error
            connection: psycopg.Connection[Any] = pooled.driver_connection  # type: ignore[assignment]
            try:
                _tell(connection, b"BEGIN; " + _limits(deadline - monotonic()))
                return pooled, connection
            except psycopg.OperationalError as error:
                pooled.invalidate()
                pooled.close()
                self.engine.dispose()  # its sisters died with it
                if attempt == 2:
                    raise Unavailable("the database refuses to begin") from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        self.engine.dispose()


def _commit(connection: psycopg.Connection[Any], durable: bool) -> None:
    try:
        _tell(connection, b"COMMIT" if durable else b"SET LOCAL synchronous_commit = off; COMMIT")
    except psycopg.OperationalError as error:
        if error.sqlstate is not None:  # the server itself refused, so it rolled back
            raise
        raise CommitUnknown("the connection broke during the commit") from error


def _tell(connection: psycopg.Connection[Any], statements: bytes) -> None:
    """Execute what returns no rows, in one round trip and without psycopg's cursor.

    Around every transaction the cursor would cost more than the statements do.
    """
    result = connection.pgconn.exec_(statements)
    if result.status == ExecStatus.COMMAND_OK:
        return
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        raise psycopg.OperationalError("the connection broke")
    raise psycopg.errors.error_from_result(result)


def _rolled_back(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("ROLLBACK", prepare=False)
    except psycopg.Error:
        return False
    return True


def _system_random() -> random.Random:
    return random.SystemRandom()
