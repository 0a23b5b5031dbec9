"""A small market of the benchmark's, once for all its tests."""

from collections.abc import Iterator

import pytest

from bench import market
from bench.market import Market
from settings import load_environment


@pytest.fixture(scope="session")
def loaded() -> Iterator[Market]:
    with market.opened(load_environment(), members=400) as opened:
        yield opened
