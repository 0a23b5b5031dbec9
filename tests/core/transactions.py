"""Transactions for tests that need many: opened here, rolled back here."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from core.database import Database, Db

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class _RollBack(Exception):
    """The end of a test's transaction."""


@contextmanager
def rolled_back(url: str) -> Iterator[Db]:
    """One open transaction of an own connection; nothing of it is kept."""
    database = Database(url, clock=lambda: NOW, random=random.Random(7042), size=1)
    try:
        with suppress(_RollBack), database.begin(seconds=3600) as db:
            yield db
            raise _RollBack
    finally:
        database.close()


def attempt(db: Db, verb: Callable[[], object]) -> object:
    """What the verb returns; the type of what it raises, after going back to before it."""
    db.run("SAVEPOINT attempt")
    try:
        outcome = verb()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test compares it
        db.run("ROLLBACK TO SAVEPOINT attempt")
        return type(error)
    db.run("RELEASE SAVEPOINT attempt")
    return outcome
