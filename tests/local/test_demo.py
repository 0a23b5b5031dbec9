"""`make demo` with its real servers; the parts and the storyteller are stubs, the tables empty."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.test_run import Run, read_until, wait_for

ROOT = Path(__file__).parents[2]
STUB = Path(__file__).with_name("stub.py")

# Parts that write where they are told to, and a storyteller that says what it was given.
DEMO = f"""
import sys
from pathlib import Path
from local import demo, run

ENDING = sys.argv[1]

def stub(name, settings):
    port = {{"web": settings.port, "simulator": settings.simulator_port}}.get(name, 0)
    return [sys.executable, {str(STUB)!r}, name, str(port), str(settings.sokoni_home.parent)]

def teller(settings, worker):
    told = f"of {{settings.sokoni_env}}, prompt after {{settings.push_after_seconds}}: {{worker}}"
    return [sys.executable, "-c", f"import time; print({{told!r}}, flush=True); {{ENDING}}"]

run.command, demo.command = stub, teller
run.Supervisor.run = lambda *_: True  # no tables and goods: nobody asks for them
sys.exit(demo.main())
"""


@pytest.fixture
def demo(home: Path) -> Iterator[Callable[[str], Run]]:
    """Start one whose storyteller ends like that, with somebody's settings in the environment."""
    home.mkdir(mode=0o755)
    begun: list[Run] = []

    def start(ending: str) -> Run:
        environ = {
            **os.environ,
            "TMPDIR": str(home),
            "SOKONI_ENV": "production",
            "DATABASE_URL": "postgresql://somebody@192.0.2.1/theirs",
            "PUSH_AFTER_SECONDS": "77",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", DEMO, ending],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        begun.append(Run(process, home, environ))
        return begun[-1]

    yield start
    for running in begun:
        running.process.kill()
        running.process.communicate()
        wait_for(lambda running=running: not running.processes())


def test_a_story_that_breaks_off_ends_with_its_status_and_leaves_the_logs(demo, home):
    running = demo("time.sleep(1); raise SystemExit(1)")
    told = next(line for line in read_until(running.process, "prompt after") if "prompt" in line)
    read_until(running.process, "What every part did is written in")
    assert running.process.wait(10) == 1
    assert told == f"of development, prompt after 1: {running.number('worker')}\n"
    assert running.processes() == []
    assert len(list(home.glob("sokoni-demo-*/logs"))) == 1


def test_ctrl_c_in_the_middle_stops_everything_and_leaves_nothing(demo, home):
    running = demo("time.sleep(60)")
    read_until(running.process, "prompt after 1")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(10) == 130
    assert running.processes() == []
    assert list(home.glob("sokoni-demo-*")) == []
