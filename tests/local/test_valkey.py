import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from local import valkey
from local.places import CannotStart

# The wheel's, and Debian's where it is installed (.ci/run installs it).
PROGRAMS = [valkey._find(), *(Path(it) for it in [shutil.which("redis-server")] if it)]


@pytest.fixture(params=PROGRAMS, ids=lambda it: it.name)
def program(request):
    return request.param


@contextmanager
def started(home: Path, program: Path) -> Iterator[valkey.Server]:
    server = valkey.start(home, program=program, dies_with_us=True)
    try:
        yield server
    finally:
        valkey.stop(server)


def client(server: valkey.Server) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_what_was_written_is_there_after_a_stop_and_a_start(home, program):
    with started(home, program) as server, client(server) as asked:
        asked.set("kept", "42")
    with started(home, program) as server, client(server) as asked:
        assert asked.get("kept") == "42"


def test_a_killed_server_starts_again_with_what_it_had(home, program):
    server = valkey.start(home, program=program, dies_with_us=True)
    with client(server) as asked:
        asked.set("kept", "42")
        asked.bgrewriteaof()
    server.process.kill()
    with started(home, program) as again, client(again) as asked:
        assert asked.get("kept") == "42"
    server.process.wait()


def test_starting_what_runs_finds_it_and_starts_nothing(home, program):
    with started(home, program) as server:
        again = valkey.start(home, program=program)
        assert again.process is None
        assert again.url == server.url


def test_it_forgets_nothing_to_make_room_and_listens_on_no_port(home, program):
    with started(home, program) as server, client(server) as asked:
        assert asked.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert asked.config_get("appendonly") == {"appendonly": "yes"}
        assert asked.config_get("port") == {"port": "0"}
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700


def test_stopping_what_does_not_run_is_fine(home, program):
    with started(home, program) as server:
        pass
    valkey.stop(server)
    assert not valkey.answers(server.socket)


def test_a_server_that_cannot_start_says_what_its_log_says(home, program):
    (home / program.name.removesuffix("-server")).mkdir(parents=True, mode=0o700)
    (home / program.name.removesuffix("-server") / "appendonlydir").write_text("in the way")
    with pytest.raises(CannotStart, match="append"):
        valkey.start(home, program=program)
