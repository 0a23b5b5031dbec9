"""Layers: where the time of a hop goes in one process, sampled while it answers."""

import signal
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from types import FrameType
from typing import Any

import psycopg

from bench.wires import PHONES, Wire
from core.statements import Session

ROOT = Path(__file__).parent.parent
PERIOD_SECONDS = 0.00071  # not a multiple of any hop
WARM_UP = 20  # journeys before the samples

# The first that fits the innermost frame says whose the time is; frames of none are their caller's.
LAYERS = (
    ("PostgreSQL: sending, waiting", str(ROOT / "core/statements.py:execute")),
    ("PostgreSQL: sending, waiting", str(ROOT / "core/statements.py:tell")),
    ("psycopg", "psycopg"),
    ("SQLAlchemy (the pool)", "sqlalchemy"),
    ("Flask and Werkzeug", "flask"),
    ("Flask and Werkzeug", "werkzeug"),
    ("python-telegram-bot", "telegram/"),
    ("phonenumbers", "phonenumbers"),
    ("structlog", "structlog"),
    ("JSON", "/json/"),
    ("flows/engine.py", str(ROOT / "flows/engine.py")),
    ("flows, the rest", str(ROOT / "flows")),
    ("core/database.py, statements.py", str(ROOT / "core/database.py")),
    ("core/database.py, statements.py", str(ROOT / "core/statements.py")),
    ("core, the rest", str(ROOT / "core")),
    ("channels", str(ROOT / "channels")),
    ("bench", str(ROOT / "bench")),
)


@dataclass(frozen=True)
class Profile:
    """Of one hop on one thread with the machine to itself. shares: of the time, by layer."""

    hops: int
    wall_us: float
    process_us: float  # of this process; the rest is PostgreSQL's and the kernel's
    statements: float
    shares: Sequence[tuple[str, float]]


Call = tuple[dict[str, Any], str]  # what a WSGI server hands on, and how the answer must begin


def profile(app: Any, wire: Wire, count: int) -> Profile:
    """Make `count` journeys, each by another member, straight into the WSGI application."""
    callers = iter(calls(wire, WARM_UP + count))
    for requests in islice(callers, WARM_UP):
        walk(app, requests)
    statements = Statements()
    with _sampled() as samples, statements.counted():
        wall, cpu, hops = perf_counter(), process_time(), 0
        for requests in callers:
            hops += walk(app, requests)
        wall, cpu = perf_counter() - wall, process_time() - cpu
    total = sum(samples.values())
    shares = [(name, number / total) for name, number in samples.most_common()]
    return Profile(hops, wall / hops * 1e6, cpu / hops * 1e6, statements.number / hops, shares)


def calls(wire: Wire, count: int) -> Iterator[list[Call]]:
    """One journey each of the first `count` members, as the gateway's requests."""
    for caller in range(count):
        yield [
            (_environ(wire, _filled(post.body, caller)), post.begins)
            for post in wire.posts[caller % len(wire.posts)]
        ]


def _filled(body: str, caller: int) -> bytes:
    filled = body.replace("${caller}", str(caller)).replace("${phone}", str(PHONES + caller))
    return filled.encode()


def _environ(wire: Wire, body: bytes) -> dict[str, Any]:
    headers = {name.upper().replace("-", "_"): value for name, value in wire.headers.items()}
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": wire.path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": headers.pop("CONTENT_TYPE"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        **{f"HTTP_{name}": value for name, value in headers.items()},
    }


def walk(app: Any, requests: Sequence[Call]) -> int:
    """Make one journey; how many hops it had. Each answer must be as it should."""
    statuses: list[str] = []

    def start(status: str, *_: Any) -> None:
        statuses.append(status)

    for environ, begins in requests:
        body = b"".join(app(environ, start)).decode()
        assert statuses.pop() == "200 OK", f"an answer is no answer: {body[:60]!r}"
        assert body.startswith(begins), f"{body[:60]!r} does not begin with {begins!r}"
        assert begins or not body, f"nobody waits for {body[:60]!r}"
    return len(requests)


@contextmanager
def _sampled() -> Iterator["Counter[str]"]:
    """Interrupt this thread again and again, and note whose code it is in."""
    samples: Counter[str] = Counter()

    def note(_number: int, frame: FrameType | None) -> None:
        samples[_layer(frame)] += 1

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, PERIOD_SECONDS, PERIOD_SECONDS)
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_PACKAGES = sysconfig.get_paths()["purelib"]


def _layer(frame: FrameType | None) -> str:
    while frame is not None:
        code = frame.f_code
        place = f"{code.co_filename.removeprefix(_PACKAGES + '/')}:{code.co_name}"
        for name, part in LAYERS:
            if place.startswith(part) or (part.startswith("/json") and part in place):
                return name
        frame = frame.f_back
    return "Python, the rest"


class Statements:
    """How many statements the server is given while they are counted, without what frames them.

    BEGIN, COMMIT and SET go with the transaction. The floor uses psycopg's cursor, the system its
    own sessions.
    """

    def __init__(self) -> None:
        self.number = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        execute, ours = psycopg.Cursor.execute, Session.execute

        def counting_ours(session: Session, sql: Any, params: Any) -> Any:
            self.number += 1
            return ours(session, sql, params)

        def counting(cursor: Any, query: Any, *arguments: Any, **named: Any) -> Any:
            self.number += not str(query).lstrip().startswith(("BEGIN", "COMMIT", "SET"))
            return execute(cursor, query, *arguments, **named)

        psycopg.Cursor.execute = counting  # type: ignore[method-assign, assignment]
        Session.execute = counting_ours  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            psycopg.Cursor.execute = execute  # type: ignore[method-assign]
            Session.execute = ours  # type: ignore[method-assign]
