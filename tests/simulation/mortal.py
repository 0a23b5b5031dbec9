"""A mortal database: the real one, whose every transaction passes the boundaries of fate."""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from time import monotonic
from typing import Any, Final

import psycopg

import core.database
from core.database import Database, Db
from core.errors import CommitUnknown, Unavailable
from core.statements import Session
from tests.simulation.fate import Fate, Job

PATIENCE_SECONDS = 600.0  # of real time: a busy machine changes nothing that happens
EVERYTHING: Final = "*"  # among the tables that were written to: nobody knows which


class MortalDatabase(Database):
    """fate and clock are those of the day that is being lived; outside of jobs it is immortal."""

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        self._url = url
        super().__init__(url, clock=clock, random=random.Random(0), size=4)
        self.fate = Fate("nobody", 0.0)
        self.commits = 0  # of jobs
        self.written: set[str] = set()  # tables, since whoever watches emptied it
        self._looking: list[Session] = []  # outside of the pool, which costs more than a look

    @contextmanager
    def begin(
        self, *, seconds: float = core.database.STATEMENT_SECONDS_MAX, durable: bool = True
    ) -> Iterator[Db]:
        job = self.fate.job
        if job is None:
            with super().begin(seconds=PATIENCE_SECONDS) as db, self._at(db):
                yield db
            return
        job.commits += 1
        number = job.commits
        try:
            with super().begin(seconds=PATIENCE_SECONDS, durable=False) as db, self._at(db):
                job.dies_after_statements = self.fate.statements()
                yield db
                job.dies_after_statements = None
                if job.stops_before == number:
                    job.stop()
                if self.fate.passes(job, "before commit", number) is not None:
                    raise Unavailable("the database went away")
        except BaseException:
            self._ended(job, number)
            raise
        self._committed(job, number)

    @contextmanager
    def look(self) -> Iterator[Db]:
        """To read from outside of the town, each statement in one trip to the server."""
        if not self._looking:
            self._looking.append(Session(psycopg.connect(self._url, autocommit=True)))
        session = self._looking.pop()
        try:
            yield Db(session, self, monotonic() + PATIENCE_SECONDS, durable=False, setting="SET")
        finally:
            self._looking.append(session)

    def close(self) -> None:
        for session in self._looking:
            session._connection.close()
        super().close()

    @contextmanager
    def autocommit(self, *, seconds: float) -> Iterator[Db]:
        """What befalls the one statement befalls here before it, or after its commit."""
        job, number = self.fate.job, 0
        if job is not None:
            job.commits += 1
            number = job.commits
            if self.fate.passes(job, "before commit", number) is not None:
                raise Unavailable("the database went away")
        with super().autocommit(seconds=PATIENCE_SECONDS) as db, self._at(db):
            yield db
        if job is not None:
            self._committed(job, number)

    @contextmanager
    def _at(self, db: Db) -> Iterator[None]:
        """Note which of the server's processes works for whom, to see whether it waits."""
        jobs = [job for job in self.fate.jobs if job is not None]
        before = [job.backend_pid for job in jobs]
        for job in jobs:
            job.backend_pid = db._session._connection.info.backend_pid
        try:
            yield
        finally:
            for job, backend_pid in zip(jobs, before, strict=True):
                job.backend_pid = backend_pid

    def _ended(self, job: Job, number: int) -> None:
        if job.stops_before is not None and job.stops_before <= number:
            job.stop()

    def _committed(self, job: Job, number: int) -> None:
        self.commits += 1
        self._ended(job, number)
        if self.fate.passes(job, "after commit", number) is not None:
            raise CommitUnknown("the connection broke during the commit")


@contextmanager
def mortal_statements(
    database: MortalDatabase, rewrite: Callable[[str], str] = lambda sql: sql
) -> Iterator[None]:
    """While it lasts a job may die between two statements. rewrite: what is said instead."""
    execute = Session.execute

    def mortal(self: Session, sql: Any, params: Any) -> Any:
        job = database.fate.job
        if job is not None and job.dies_after_statements is not None:
            if job.dies_after_statements == 0:
                job.dies_after_statements = None
                database.fate.passes(job, "statement", job.commits)
            else:
                job.dies_after_statements -= 1
        said = rewrite(sql)
        database.written |= written_by(said)
        return execute(self, said, params)

    Session.execute = mortal  # type: ignore[method-assign]
    try:
        yield
    finally:
        Session.execute = execute  # type: ignore[method-assign]


@cache
def written_by(sql: str) -> frozenset[str]:
    """The tables that the statement may write to."""
    if sql.split(maxsplit=1)[0] not in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
        return frozenset({EVERYTHING})
    return frozenset(re.findall(r"\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+([a-z_]+)", sql))
