"""A mortal database: the real one, whose every transaction passes the boundaries of fate."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import core.database
from core.database import Database, Db
from core.errors import CommitUnknown, Unavailable
from core.statements import Session
from tests.simulation.fate import Fate, Job

PATIENCE_SECONDS = 600.0  # of real time: a busy machine changes nothing that happens


class MortalDatabase(Database):
    """fate and clock are those of the day that is being lived; outside of jobs it is immortal."""

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        super().__init__(url, clock=clock, random=random.Random(0), size=4)
        self.fate = Fate("nobody", 0.0)
        self.commits = 0  # of jobs

    @contextmanager
    def begin(
        self, *, seconds: float = core.database.STATEMENT_SECONDS_MAX, durable: bool = True
    ) -> Iterator[Db]:
        job = self.fate.job
        if job is None:
            with super().begin(seconds=PATIENCE_SECONDS) as db:
                yield db
            return
        job.commits += 1
        number = job.commits
        try:
            with super().begin(seconds=PATIENCE_SECONDS, durable=False) as db:
                self._is_at(db)
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

    def look(self) -> AbstractContextManager[Db]:
        """To read from outside of the town, in one trip to the server."""
        return super().autocommit(seconds=PATIENCE_SECONDS)

    @contextmanager
    def autocommit(self, *, seconds: float) -> Iterator[Db]:
        job = self.fate.job
        with super().autocommit(seconds=PATIENCE_SECONDS) as db:
            self._is_at(db)
            yield db
        if job is not None:
            job.commits += 1
            self._committed(job, job.commits)

    def _is_at(self, db: Db) -> None:
        """Note which of the server's processes works for whom, to see whether it waits."""
        for job in filter(None, self.fate.jobs):
            job.backend_pid = db._session._connection.info.backend_pid

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
        return execute(self, rewrite(sql), params)

    Session.execute = mortal  # type: ignore[method-assign]
    try:
        yield
    finally:
        Session.execute = execute  # type: ignore[method-assign]
