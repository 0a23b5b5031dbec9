"""The demo: all of Sokoni in a temporary home, while the story of a market day is told.

`make demo`, or `python -m local.demo`. No setting of the environment comes into it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from local import processes, run
from settings import Settings, environment_of

TOLD_BY = "simulator.demo"
WORLDS_OWN = ("SIMULATOR_CLOCK", "SMS_CALLBACK_URL", "USSD_CALLBACK_URL")  # read by it alone
PUSH_AFTER_SECONDS = 1  # nobody here looks at a closing screen for 4
STOPPED_BY_HAND = 130  # as a shell says it


class Demo:
    """The supervisor, and the storyteller: one process more, which ends by itself."""

    def __init__(self) -> None:
        self.supervisor = run.Supervisor()
        self.outcome: int | None = None  # the storyteller's exit code

    def tell(self, settings: Settings) -> None:
        """From the first word to the last, or until a person has had enough."""
        supervisor = self.supervisor
        worker = next(child for child in supervisor.children if child.name == "worker")
        supervisor.watch(lambda: worker.process is not None)
        if worker.process is not None:
            teller = processes.spawn(
                command(settings, worker.process.pid),
                cwd=run.ROOT,
                environ=environment_of(settings),  # for what staff type into its terminal
            )
            supervisor.watch(lambda: teller.poll() is not None)
            self.outcome = _ended(teller)
        supervisor.stopping = True


def command(settings: Settings, worker: int) -> list[str]:
    """The command line of the storyteller. worker: the process that it shall kill."""
    secret = settings.africastalking_secret.get_secret_value()
    return [
        *(sys.executable, "-m", TOLD_BY),
        *("--url", f"http://{settings.host}:{settings.simulator_port}"),
        *("--watch", f"{settings.public_base_url}/watch/{secret}"),
        *("--worker", str(worker)),
    ]


def main() -> int:
    began = monotonic()
    settings = _settings()
    home = settings.sokoni_home
    home.chmod(0o711)  # PostgreSQL, which is not root even for root, must get through
    demo = Demo()
    code = run.run_all(demo.supervisor, settings, opened=demo.tell)
    if demo.outcome is None and code == 0:
        code = STOPPED_BY_HAND
    code = code or demo.outcome or 0
    if code not in (0, STOPPED_BY_HAND):
        run.say(f"What every part did is written in {home}/logs.")
        return code
    shutil.rmtree(home)
    if code == 0:
        run.say(f"All of it took {monotonic() - began:.0f} s.")
    return code


def _settings() -> Settings:
    """The defaults, on ports and in a folder that nobody uses."""
    programs = os.environ.get("EMBEDDED_PG_BIN")  # of this machine, not of somebody's Sokoni
    for name in (*map(str.upper, Settings.model_fields), *WORLDS_OWN):
        os.environ.pop(name, None)
    port, simulator_port = free_ports(2)
    return Settings(
        sokoni_home=Path(tempfile.mkdtemp(prefix="sokoni-demo-")),
        port=port,
        simulator_port=simulator_port,
        push_after_seconds=PUSH_AFTER_SECONDS,
        africastalking_sender="SOKONI",
        embedded_pg_bin=Path(programs) if programs else None,
    )


def free_ports(count: int) -> list[int]:
    """So many ports of this machine that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def _ended(teller: "subprocess.Popen[bytes]") -> int | None:
    """Its exit code; None: it was still telling, and was stopped."""
    code = teller.poll()
    if code is None:
        teller.send_signal(signal.SIGTERM)
        teller.wait()
    return code


if __name__ == "__main__":
    sys.exit(main())
