"""Servers: what is measured, under granian as `make run` starts it, or under gunicorn."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

from local import processes, run
from settings import Settings, environment_of

ROOT = Path(__file__).parent.parent
APPLICATIONS = {
    "system": "app:create_app",
    "floor": "bench.floor:create_app",
    "yardstick": "bench.yardstick:create_app",
}
START_SECONDS_MAX = 20

Application = Literal["system", "floor", "yardstick"]
Kind = Literal["granian", "gunicorn"]


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    base_url: str

    def worker_megabytes(self) -> float:
        """The memory of its biggest worker process (resident, shared pages included)."""
        return max(_resident_bytes(pid) for pid in _children(self.process.pid)) / 1e6

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)


@contextmanager
def running(
    application: Application,
    settings: Settings,
    log: Path,
    *,
    kind: Kind = "granian",
    port: int | None = None,
) -> Iterator[Server]:
    """The application, answering; stopped afterwards. port: None for any."""
    settings = settings.model_copy(update={"port": port or free_port()})
    with log.open("wb") as output:
        process = processes.spawn(
            _command(application, kind, settings),
            cwd=ROOT,
            environ=environment_of(settings),
            output=output,
        )
    try:
        base_url = f"http://{settings.host}:{settings.port}"
        _wait(process, base_url, log)
        yield Server(process, base_url)
    finally:
        process.terminate()
        process.wait()
        processes.end_group(process)


def cpu_seconds(pid: int) -> float:
    """What a process and its living children have used of the processors."""
    used = [_stat(each)[11:13] for each in (pid, *_children(pid))]  # in user and in system mode
    ticks = sum(int(part) for parts in used for part in parts)
    return ticks / os.sysconf("SC_CLK_TCK")


def _command(application: Application, kind: Kind, settings: Settings) -> list[str]:
    if kind == "granian":
        ours = run.command("web", settings)
        return [APPLICATIONS[application] if part == "app:create_app" else part for part in ours]
    return [
        *(sys.executable, "-m", "gunicorn", f"{APPLICATIONS[application]}()"),
        *("--bind", f"{settings.host}:{settings.port}"),
        *("--worker-class", "gthread"),
        *("--workers", str(settings.web_processes), "--threads", str(settings.web_threads)),
        *("--log-level", "warning"),
    ]


def _wait(process: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    until = monotonic() + START_SECONDS_MAX
    while not answers(f"{base_url}/health/ready"):
        if process.poll() is not None or monotonic() > until:
            raise RuntimeError(f"the server does not answer: {log.read_text()[-2000:]}")
        sleep(0.05)


def answers(url: str) -> bool:
    """Whether somebody answers there, and well."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _children(pid: int) -> list[int]:
    """The processes whose parent it is."""
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [number for number in numbers if _stat(number)[1:2] == [str(pid)]]


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field on, the state; empty: there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
