"""A Valkey for those who need one; their conftest takes these fixtures by name."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from local import valkey


@pytest.fixture(scope="session")
def valkey_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="sokoni-valkey-"))
    yield home
    shutil.rmtree(home)


@pytest.fixture
def store(valkey_home: Path) -> Iterator[valkey.Server]:
    """A running server with nothing in it; a test may kill it and start it again."""
    server = valkey.start(valkey_home, dies_with_us=True)
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    yield server
    valkey.stop(server)
