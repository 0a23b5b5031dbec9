"""`make run` for real, servers, tables, goods and all; only the parts are stubs."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import pytest

from local import run

ROOT = Path(__file__).parents[2]
STUB = Path(__file__).with_name("stub.py")
NAMES = {"web", "relay", "worker", "beat", "simulator"}

SUPERVISE = f"""
import sys
from pathlib import Path
from local import run

def stub(name, settings):
    port = {{"web": settings.port, "simulator": settings.simulator_port}}.get(name, 0)
    return [sys.executable, {str(STUB)!r}, name, str(port), str(settings.sokoni_home.parent)]

run.command = stub
sys.exit(run.main(sys.argv[1:]))
"""


@dataclass
class Run:
    process: "subprocess.Popen[str]"
    folder: Path  # where the stubs write
    environ: dict[str, str]

    def number(self, name: str) -> int:
        """Of its process; whoever starts at this moment has not written all of it yet."""
        wait_for(lambda: (self.folder / name).read_text() != "")
        return int((self.folder / name).read_text())

    def processes(self) -> list[str]:
        """The command lines of all that lives and has to do with this run."""
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self.folder) in line:
                found.append(line)
        return found

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.environ['PORT']}{path}") as answer:
            return answer.read()


@pytest.fixture
def running(home: Path) -> Iterator[Run]:
    ports = free_ports(2)
    environ = {
        **os.environ,
        "SOKONI_HOME": str(home),
        "PORT": str(ports[0]),
        "SIMULATOR_PORT": str(ports[1]),
    }
    for name in ("DATABASE_URL", "REDIS_URL", "SOKONI_ENV"):
        environ.pop(name, None)
    process = start(environ)
    made = Run(process, home.parent, environ)
    try:
        read_until(process, "Ctrl-C stops everything")
        wait_for(lambda: all((made.folder / name).exists() for name in NAMES))
        yield made
    finally:
        process.kill()
        process.communicate()
        wait_for(lambda: not made.processes())


def start(environ: dict[str, str], *parts: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, *parts],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: "subprocess.Popen[str]", words: str) -> list[str]:
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    pytest.fail(f"ended before saying {words!r}: {''.join(lines)}")


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = monotonic() + seconds
    while not condition():
        assert monotonic() < until, "waited in vain"
        sleep(0.02)


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in held]
    for it in held:
        it.close()
    return ports


def test_it_restarts_what_dies_and_a_stop_finishes_answers_and_leaves_nothing_behind(running):
    dead = running.number("relay")
    os.kill(dead, signal.SIGKILL)
    read_until(running.process, "relay stopped (SIGKILL), starts again")
    wait_for(lambda: running.number("relay") != dead)

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(running.get, "/slow")
        sleep(0.2)
        began = monotonic()
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGTERM)  # a second signal changes nothing
        assert answer.result() == b"done"
    assert running.process.wait(60) == 0
    assert monotonic() - began < 10
    assert running.processes() == []
    ended = (running.folder / "ended").read_text().split()
    assert ended[0] == "web"
    assert set(ended) == NAMES


def test_the_pretend_mpesa_is_given_as_much_capital_as_our_books_say(running):
    posted = (running.folder / "posted").read_text().splitlines()
    deposit = f'{{"amount": {run.CAPITAL_SHILLINGS}, "reference": "capital"}}'
    wanted = f"/simulator/api/shortcodes/600997/deposits {deposit}"
    assert posted[0] == wanted, "before anybody could be paid"
    ledger = subprocess.run(
        [sys.executable, "-m", "core.ledger", "--json"],
        cwd=ROOT, env=running.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    cents = run.CAPITAL_SHILLINGS * 100
    assert json.loads(ledger.stdout)["accounts"] == {"A.b2c": cents, "Q.capital": cents}


def test_when_it_is_killed_its_children_and_servers_stop_by_themselves(running):
    running.process.kill()
    running.process.wait()
    wait_for(lambda: running.processes() == [])
    assert set((running.folder / "ended").read_text().split()) == NAMES


def test_a_second_one_names_the_ports_it_cannot_have_and_stops_nothing(running):
    second = start(running.environ)
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"Port {running.environ['PORT']} of 127.0.0.1 cannot be had" in said
    assert running.environ["SIMULATOR_PORT"] in said

    elsewhere = dict(zip(("PORT", "SIMULATOR_PORT"), map(str, free_ports(2)), strict=True))
    third = start({**running.environ, **elsewhere})
    said, _ = third.communicate(timeout=60)
    assert third.returncode == 2
    assert "already runs" in said
    assert running.get("/") == b"done"


def test_an_unknown_part_is_refused(capsys):
    assert run.main(["wep"]) == 2
    assert "no such part: wep" in capsys.readouterr().err


def test_what_the_web_leaves_of_its_time_to_end_the_others_have(monkeypatch, capsys):
    monkeypatch.setattr(run, "STOP_SECONDS", {"web": 5.0, "all": 8.0})
    late = "signal.signal(15, lambda *_: (time.sleep(3.5), os._exit(0))); "
    children = []
    for name, ends in (("web", ""), ("worker", late)):
        code = f"import os, signal, time; {ends}print(flush=True); time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
        )
        with process.stdout as said:
            said.readline()
        children.append(run.Child(name, lambda: None, None, process))
    run.Supervisor.end(SimpleNamespace(children=children))
    assert [child.process.returncode for child in children] == [-signal.SIGTERM, 0]
    assert capsys.readouterr().err == ""
