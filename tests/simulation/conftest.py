"""A ground for each module of these tests: real PostgreSQL, both applications, built once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.simulation import town
from tests.simulation.town import Ground


@pytest.fixture(scope="module")
def ground(new_database: Callable[[], Any]) -> Iterator[Ground]:
    with new_database() as url, town.ground(url) as made:
        yield made
