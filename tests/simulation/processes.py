"""Processes: many days lived at once, each process on a database of its own."""

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

from tests.simulation import town
from tests.simulation.day import Lived, live
from tests.simulation.shrink import shrink


def live_all(make: Callable[[str], str], seeds: range, processes: int) -> Iterator[Lived]:
    """Each day as it is done; a broken one shrunk. make: a database of that name, and its URL."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.SimpleQueue()
    workers = [
        context.Process(target=_live, args=(make(f"days_{number}"), share, results), daemon=True)
        for number in range(processes)
        if (share := seeds[number::processes])
    ]
    for worker in workers:
        worker.start()
    for _ in seeds:
        lived = results.get()
        if isinstance(lived, str):
            raise RuntimeError(lived)
        yield lived
    for worker in workers:
        worker.join()


def _live(url: str, seeds: range, results: Any) -> None:
    try:
        with town.ground(url) as ground:
            for seed in seeds:
                lived = live(ground, seed)
                results.put(lived if lived.broken is None else shrink(ground, lived, seed))
    except BaseException as error:
        results.put(f"seed {seed}: {type(error).__name__}: {error}")
        raise
