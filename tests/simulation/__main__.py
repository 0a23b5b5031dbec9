"""`make simulate SEEDS=500 FROM=0`: so many seeded days of disaster, on all processors.

A day that breaks is told in a short history, with what befell it reduced to what mattered.
`make simulate EVENTS=all`: each money event with all that may befall it at each of its boundaries.
Ends with 1 where something broke.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local import postgres
from tests.conftest import FAST, migrate
from tests.simulation import town
from tests.simulation.day import Lived
from tests.simulation.events import EVENTS, enumerate_all
from tests.simulation.processes import live_all

HISTORIES_MAX = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many days")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--history", action="store_true", help="tell of good days too")
    parser.add_argument("--events", action="store_true", help="the money events instead of days")
    given = parser.parse_args()
    if given.events:
        return _enumerate()
    began = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    lives, broken = 0, list[Lived]()
    totals: dict[str, Counter[str]] = {name: Counter() for name in ("strikes", "points")}
    steps = 0
    with _server() as make:
        for lived in live_all(make, seeds, given.processes):
            lives, steps = lives + 1, steps + lived.steps
            totals["strikes"] += lived.strikes
            totals["points"] += lived.points
            if given.history and lived.broken is None:
                print(lived.told(), end="\n\n")
            if lived.broken is not None:
                broken.append(lived)
                if len(broken) <= HISTORIES_MAX:
                    print(lived.told())
                    print(f"Again: make simulate SEEDS=1 FROM={lived.seed}\n", flush=True)
            if lives % 100 == 0:
                print(f"{lives} of {given.seeds} days, {len(broken)} broken", flush=True)
    seconds = time.monotonic() - began
    print(f"{lives} days from seed {given.first}, {steps} steps in {seconds:.0f} s")
    passed, strikes = totals["points"], totals["strikes"]
    print(f"{len(passed)} boundaries by name, passed {sum(passed.values())} times")
    print(f"{sum(strikes.values())} strikes of fate")
    for what, times in sorted(strikes.items()):
        print(f"  {what:<24}{times:>8}")
    print(f"broken: {[lived.seed for lived in broken] or 'none'}")
    return 1 if broken else 0


def _enumerate() -> int:
    runs = broken = 0
    with _server() as make, town.ground(make("events")) as ground:
        for told in EVENTS:
            done = enumerate_all(ground, told)
            runs, broken = runs + done.runs, broken + len(done.broken)
            print(f"{told.name:<56}{done.points:>4} points{done.runs:>5} runs", flush=True)
            for line in done.broken:
                print(f"  {line}")
    print(f"{len(EVENTS)} events, {runs} runs, {broken} broken")
    return 1 if broken else 0


@contextmanager
def _server() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL thrown away at the end; what makes a migrated database on it, by its name."""
    home = Path(tempfile.mkdtemp(prefix="sokoni-simulation-"))
    home.chmod(0o755)  # the user PostgreSQL runs as looks in
    server = postgres.start(home, options=FAST, dies_with_us=True)
    try:

        def make(name: str) -> str:
            url = postgres.ensure_database(server, name)
            migrate(url)
            return url

        yield make
    finally:
        postgres.stop(server)
        shutil.rmtree(home)


if __name__ == "__main__":
    sys.exit(main())
