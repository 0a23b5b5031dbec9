"""Fate: what befalls whoever is at work, decided by a seed at every boundary they pass."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Final

# What may befall at a boundary. "killed": the process dies, nobody catches it. At a commit, "away":
# the database is gone, nothing is kept; "unknown": it is kept, and nobody hears so. At a call,
# "unreached": not one byte left; "lost": it was acted on, and no answer comes.
FATES: Final[Mapping[str, Sequence[str]]] = {
    "statement": ("killed",),
    "before commit": ("killed", "away"),
    "after commit": ("killed", "unknown"),
    "before call": ("killed", "unreached"),
    "after call": ("killed", "lost"),
    "before send": ("killed", "away"),
    "after send": ("killed",),
}


class Killed(BaseException):
    """As a process dies: nobody catches it but whoever looks after processes."""


@dataclass
class Job:
    """Somebody at work. What is passed is counted, so that each boundary has a name of its own.

    stops_before: the commit at which it waits for another job; None: it does not.
    """

    name: str
    commits: int = 0
    calls: int = 0
    sends: int = 0
    dies_after_statements: int | None = None
    stops_before: int | None = None
    stop: Callable[[], None] = lambda: None
    backend_pid: int = 0
    struck: list[str] = field(default_factory=list)


class Fate:
    """The dice of one seed. rate: how often something befalls, of all boundaries passed.

    skip: of the strikes in their order, those that are spared; for finding the ones that matter.
    """

    def __init__(self, seed: object, rate: float, skip: Collection[int] = ()) -> None:
        self.rate = rate
        self.points: Counter[str] = Counter()  # boundaries passed, by name
        self.strikes: Counter[str] = Counter()  # what befell, by kind
        self._dice = random.Random(f"fate of {seed}")
        self._skip = frozenset(skip)
        self._struck = 0
        self._at_work = local()

    @property
    def job(self) -> Job | None:
        """Whoever is at work in this thread; of those who wait for one another, the last."""
        return self.jobs[-1] if self.jobs else None

    @property
    def jobs(self) -> list[Job | None]:
        found: list[Job | None] = self._at_work.__dict__.setdefault("jobs", [])
        return found

    @contextmanager
    def working(self, job: Job | None) -> Iterator[None]:
        """job: None for what is no part of the town, and nothing befalls it."""
        self.jobs.append(job)
        try:
            yield
        finally:
            self.jobs.pop()

    def passes(self, job: Job, where: str, number: int, what: str = "") -> str | None:
        """A boundary is passed; what befalls there. "killed" is raised at once."""
        point = f"{job.name}: {where} {number}{what and ' ' + what}"
        self.points[point] += 1
        befalls = self._choose(point, where)
        if befalls is not None:
            self.strikes[f"{befalls} {where}"] += 1
            job.struck.append(f"{befalls} {where} {number}{what and ' ' + what}")
        if befalls == "killed":
            raise Killed(point)
        return befalls

    def statements(self) -> int | None:
        """Of a transaction that begins: after how many statements it dies; None: it does not."""
        if self._happens(self.rate / 2):
            return self._dice.randint(0, 12)
        return None

    def _choose(self, _point: str, where: str) -> str | None:
        if where == "statement":
            return "killed"
        if not self._happens(self.rate):
            return None
        return self._dice.choice(FATES[where])

    def _happens(self, rate: float) -> bool:
        if self._dice.random() >= rate:
            return False
        self._struck += 1
        return self._struck - 1 not in self._skip

    @property
    def struck(self) -> int:
        """How often the dice struck, spared or not."""
        return self._struck


class Mercy(Fate):
    """Nothing befalls. Between `begins` and `ends` the boundaries passed are counted."""

    def __init__(self) -> None:
        super().__init__("nobody", 0.0)
        self.passed: list[tuple[str, str]] = []  # in their order: name, and what kind it is
        self._counts = False

    def begins(self) -> None:
        self._counts = True

    def ends(self) -> None:
        self._counts = False

    def statements(self) -> int | None:
        return None

    def _choose(self, point: str, where: str) -> str | None:
        if self._counts:
            name = point.rstrip("0123456789") if where.endswith("send") else point
            self.passed.append((name, where))
        return None


class Script(Mercy):
    """One thing befalls, at the boundary of that number, counted from 0."""

    def __init__(self, at: int, befalls: str) -> None:
        super().__init__()
        self._at, self._befalls = at, befalls

    def _choose(self, point: str, where: str) -> str | None:
        super()._choose(point, where)
        if not self._counts or len(self.passed) <= self._at:
            return None
        self._counts = False
        return self._befalls
