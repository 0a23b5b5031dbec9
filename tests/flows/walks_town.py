"""Our whole web server inside a test's own transaction, which is rolled back afterwards.

What it commits are savepoints, so a walk can be undone. Between what a hop reads and what it writes
something else can be let happen, as when two requests come at the same instant.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import LiteralString

from core.database import Database, Db
from core.statements import Params


class Backstage(Database):
    """The database as the web server knows it: every transaction of it is part of the test's."""

    def __init__(self, kept: Database) -> None:
        self.clock, self.random, self.engine = kept.clock, kept.random, kept.engine
        self.db: Db | None = None
        self._meanwhile: Callable[[], object] | None = None

    def play(self, db: Db, clock: Callable[[], datetime]) -> None:
        """From now on this is the test's transaction, at this hour."""
        self.db, self.clock, self._meanwhile = db, clock, None

    @contextmanager
    def at_once(self, happen: Callable[[], object]) -> Iterator[None]:
        """Meanwhile the next hop lets this happen, when it has read and before it writes."""
        self._meanwhile = happen
        yield
        assert self._meanwhile is None, "no hop came by"

    @contextmanager
    def begin(self, *, seconds: float = 30, durable: bool = True) -> Iterator[Db]:
        self.let_happen()
        db = self._open()
        with savepoint(db, "begun"):
            yield db

    @contextmanager
    def autocommit(self, *, seconds: float) -> Iterator[Db]:
        yield _EachByItself(self, self._open())

    def let_happen(self) -> None:
        happen, self._meanwhile = self._meanwhile, None
        if happen is not None:
            happen()

    def _open(self) -> Db:
        assert self.db is not None, "nobody plays"
        return self.db


class _EachByItself(Db):
    """Each statement that writes is kept or undone by itself."""

    def __init__(self, backstage: Backstage, db: Db) -> None:
        self.__dict__ = db.__dict__  # the same transaction, and the same count of keys
        self._backstage = backstage

    def run(self, sql: LiteralString, params: Params = None) -> int:
        self._backstage.let_happen()
        with savepoint(self, "by_itself"):
            return super().run(sql, params)


@contextmanager
def savepoint(db: Db, name: LiteralString) -> Iterator[None]:
    """Kept if the block ends, undone if it raises."""
    Db.run(db, f"SAVEPOINT {name}")
    try:
        yield
    except BaseException:
        Db.run(db, f"ROLLBACK TO SAVEPOINT {name}")
        Db.run(db, f"RELEASE SAVEPOINT {name}")
        raise
    Db.run(db, f"RELEASE SAVEPOINT {name}")
