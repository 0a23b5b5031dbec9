"""A wire to the database that can be cut: before a commit, after it, while it happens, or for long.

It passes bytes both ways between our process and the server, and looks for what commits only: the
word COMMIT, or whatever else a test says stands in a statement that commits by itself.
"""

import socket
import threading
from contextlib import suppress
from enum import Enum, auto
from typing import Any

import psycopg
import sqlalchemy as sa

COMMIT = b"COMMIT\0"
CHUNK_BYTES = 65_536


class Cut(Enum):
    """When the wire breaks."""

    NEVER = auto()
    BEFORE_COMMIT = auto()  # the server never hears of it
    DURING_COMMIT = auto()  # the server hears of it, and is not done yet
    AFTER_COMMIT = auto()  # the server did it, and nobody hears its answer


class Wire:
    """Listens on a port of this machine; url: the database as seen through it."""

    def __init__(self, url: str) -> None:
        self.cut = Cut.NEVER
        self.commits = COMMIT
        self._deaf: socket.socket | None = None  # to whose answers nobody listens any more
        self._done = threading.Event()  # that one has answered
        self._upstream = _address(url)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self._accept(self._listener)
        direct = sa.make_url(url)
        kept = {name: value for name, value in direct.query.items() if name not in {"host", "port"}}
        through = direct.set(
            host="127.0.0.1", port=self._port, query={**kept, "sslmode": "disable"}
        )
        self.url = through.render_as_string(hide_password=False)

    def down(self) -> None:
        """The server is gone: what is open breaks, nothing new is taken."""
        _close(self._listener)
        for pair in self._pairs:
            _close(*pair)
        self._pairs.clear()

    def up(self) -> None:
        """The server is back, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        def loop() -> None:
            with suppress(OSError):
                while True:
                    ours, _ = listener.accept()
                    theirs = socket.socket(self._upstream[0])
                    theirs.connect(self._upstream[1])
                    self._pairs.append((ours, theirs))
                    _start(self._ask, ours, theirs)
                    _start(self._answer, ours, theirs)

        _start(loop)

    def _ask(self, ours: socket.socket, theirs: socket.socket) -> None:
        """From our process to the server."""
        with suppress(OSError):
            while chunk := ours.recv(CHUNK_BYTES):
                if self.commits in chunk and self.cut is not Cut.NEVER:
                    self._break(chunk, ours, theirs)
                    return
                theirs.sendall(chunk)
        _close(ours, theirs)

    def _break(self, chunk: bytes, ours: socket.socket, theirs: socket.socket) -> None:
        how, self.cut = self.cut, Cut.NEVER
        if how is Cut.AFTER_COMMIT:
            self._deaf = theirs
            theirs.sendall(chunk)
            self._done.wait(10)
        elif how is Cut.DURING_COMMIT:
            theirs.sendall(chunk)
        _close(ours)
        if how is Cut.BEFORE_COMMIT:
            _close(theirs)

    def _answer(self, ours: socket.socket, theirs: socket.socket) -> None:
        """From the server to our process, unless it shall not hear it."""
        with suppress(OSError):
            while chunk := theirs.recv(CHUNK_BYTES):
                if theirs is self._deaf:
                    self._done.set()
                    continue
                ours.sendall(chunk)
        _close(ours, theirs)


def _start(run: Any, *arguments: Any) -> None:
    threading.Thread(target=run, args=arguments, daemon=True).start()


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def _address(url: str) -> tuple[socket.AddressFamily, Any]:
    """Where the server listens: a socket in a folder, or a port."""
    with psycopg.connect(url) as connection:
        host, port = connection.info.host, connection.info.port
    if host.startswith("/"):
        return socket.AF_UNIX, f"{host}/.s.PGSQL.{port}"
    return socket.AF_INET, (host, port)
