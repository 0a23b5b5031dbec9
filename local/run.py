"""The whole of Sokoni on one machine: `make run`; or the named parts alone.

python -m local.run                  servers, migrations, demo data, every part, the pretend world
python -m local.run web|worker|beat|simulator ...    these parts, as they are started above

A part that dies is started again. Ctrl-C, SIGTERM or SIGHUP stops everything in order; whatever
happens to this process, kill -9 too, its children get to know and stop.
"""

import fcntl
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from local import postgres, processes, services, valkey
from local.places import CannotStart
from settings import (
    Settings,
    SettingsError,
    environment_of,
    from_environment,
    load_environment,
    refuse,
)

ROOT = Path(__file__).resolve().parent.parent
TICK_SECONDS = 0.1
READY_SECONDS_MAX = 60
RESTART_SECONDS = (0.5, 1, 2, 5, 10)  # the wait before each next start; the last is kept to
STEADY_SECONDS = 30  # who lived this long starts again without a wait
LOG_BYTES_MAX = 5_000_000
# Our own money in the payout float of a market that is tried out, in our books and in M-Pesa's.
CAPITAL_SHILLINGS = 1_000_000

# Ten seconds in all, the last of them the servers'. A hop takes 3 at most; what the web leaves of
# its time the others have: on a busy machine Celery needs 4 s to end its processes. A task that is
# cut off is done again from the outbox.
STOP_SECONDS = {"web": 4.0, "all": 7.5}

PARTS = {
    "web": ("web",),
    "worker": ("relay", "worker"),
    "beat": ("beat",),
    "simulator": ("simulator",),
}


def command(name: str, settings: Settings) -> list[str]:
    """The command line of one child."""
    python = sys.executable
    if name != "web":
        module = {
            "relay": "worker.relay",
            "worker": "worker.run",
            "beat": "worker.schedule",
            "simulator": "simulator",
        }[name]
        return [python, "-m", module]
    return [
        *(python, "-m", "granian", "app:create_app", "--factory"),
        *("--interface", "wsgi", "--no-ws", "--http", "1"),
        *("--host", settings.host, "--port", str(settings.port)),
        *("--workers", str(settings.web_processes)),
        *("--blocking-threads", str(settings.web_threads)),
        *("--respawn-failed-workers", "--respawn-interval", "0.5"),
        *("--workers-kill-timeout", "3"),
        # Slow headers and long ones end here; slow bodies need a front (deploy/nginx.conf).
        *("--http1-header-read-timeout", "5000", "--http1-buffer-size", "65536"),
        *("--log-level", "warning", "--no-access-log"),
    ]


@dataclass
class Child:
    """One supervised process. start: begins it anew; stop: asks it to end."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    log: Path | None
    process: subprocess.Popen[bytes] | None = None
    born: float = 0.0
    deaths: int = field(default=0)
    due: float = 0.0  # when to start it again

    def look(self) -> None:
        """Start it if it is time; notice its death."""
        now = monotonic()
        if self.process is None:
            if now >= self.due:
                self._begin(now)
            return
        if self.process.poll() is None:
            return
        processes.end_group(self.process)
        self.deaths = 0 if now - self.born > STEADY_SECONDS else self.deaths
        self._wait(now, f"stopped ({_ending(self.process.returncode)})")

    def _begin(self, now: float) -> None:
        try:
            self.process, self.born = self.start(), now
        except CannotStart as error:
            self._wait(now, f"does not start: {error}")

    def _wait(self, now: float, why: str) -> None:
        seconds = RESTART_SECONDS[min(self.deaths, len(RESTART_SECONDS) - 1)]
        self.process, self.due, self.deaths = None, now + seconds, self.deaths + 1
        where = f"; see {_shown(self.log)}" if self.log else ""
        say(f"{self.name} {why}, starts again in {seconds} s{where}")


class Supervisor:
    """What runs, and the order in which it ends."""

    def __init__(self) -> None:
        self.stopping = False
        self.servers: list[Child] = []
        self.children: list[Child] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        """Only noted: a second signal, or one in the middle of a start, tears nothing."""
        self.stopping = True

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Keep everything alive until told to stop, or until the condition holds."""
        while not self.stopping and not until():
            for child in (*self.servers, *self.children):
                child.look()
            sleep(TICK_SECONDS)

    def run(self, arguments: list[str], settings: Settings, log: Path) -> bool:
        """A command that ends by itself; False: it failed, or we are to stop."""
        with _opened(log) as output:
            process = processes.spawn(
                arguments, cwd=ROOT, environ=environment_of(settings), output=output
            )
        while process.poll() is None:
            if self.stopping:
                process.terminate()
            sleep(0.02)
        return process.returncode == 0 and not self.stopping

    def end(self) -> None:
        """First what people talk to, its answers finished; then the rest; then the servers."""
        web = [child for child in self.children if child.name == "web"]
        rest = [child for child in self.children if child.name != "web"]
        began = monotonic()
        _end(web, began + STOP_SECONDS["web"])
        _end(rest, began + STOP_SECONDS["all"])


def main(parts: list[str]) -> int:
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        say(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return 2
    supervisor = Supervisor()
    if parts:
        return run_parts(supervisor, parts)
    try:
        settings = load_environment()
    except SettingsError as error:
        refuse(error)
    return run_all(supervisor, settings, opened=welcome)


def run_parts(supervisor: Supervisor, parts: list[str]) -> int:
    """The named parts alone; what they say goes where ours goes."""
    settings = from_environment(needs=() if parts == ["simulator"] else ("database_url",))
    names = [name for part in parts for name in PARTS[part]]
    taken = ports_in_use(settings, names)
    if taken:
        return _refused(taken)
    supervisor.children = [_child(name, settings, None) for name in names]
    supervisor.watch()
    supervisor.end()
    return 0


def run_all(supervisor: Supervisor, settings: Settings, opened: Callable[[Settings], None]) -> int:
    """Everything, until told to stop. opened: called when people can dial, with all addresses."""
    home = settings.sokoni_home.absolute()
    settings = settings.model_copy(update={"sokoni_home": home})
    names = [name for part in PARTS.values() for name in part]
    if settings.in_production:
        names.remove("simulator")
    taken = ports_in_use(settings, names)
    if taken:
        return _refused(taken)
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (home / "run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _refused([f"Sokoni already runs with its data in {_shown(home)}"])
        database = redis = None
        try:
            if settings.database_url is None:
                say("Starting PostgreSQL ...")
                database = services.start_postgres(settings)
                supervisor.servers += _watched(
                    "PostgreSQL", database, lambda: services.start_postgres(settings)
                )
            if settings.redis_url is None:
                say("Starting Valkey ...")
                redis = services.start_valkey(settings)
                supervisor.servers += _watched(
                    "Valkey", redis, lambda: services.start_valkey(settings)
                )
            return _run_on(supervisor, services.resolve(settings), names, logs, opened)
        except CannotStart as error:
            say(str(error))
            return 1
        finally:
            supervisor.end()
            # Those another process started are left to it.
            if redis is not None and redis.process is not None:
                valkey.stop(redis)
            if database is not None and database.process is not None:
                postgres.stop(database)
            say("Stopped.")


def _run_on(
    supervisor: Supervisor,
    settings: Settings,
    names: list[str],
    logs: Path,
    opened: Callable[[Settings], None],
) -> int:
    """With the servers up: the tables, the goods, the parts; until we are told to stop."""
    python = sys.executable
    steps = [("Preparing the database ...", [python, "-m", "alembic", "upgrade", "head"])]
    if not settings.in_production:
        demo = [python, "-m", "core.demo"]
        if pretends(settings):
            demo += ["--capital", str(CAPITAL_SHILLINGS)]
        steps.append(("Looking after the demo's goods ...", demo))
    for about, arguments in steps:
        say(about)
        log = logs / "prepare.log"
        if not supervisor.run(arguments, settings, log):
            return 0 if supervisor.stopping else _failed(" ".join(arguments[1:]), log)
    say("Starting web, worker, scheduler and the pretend world ...")
    children = [_child(name, settings, logs / f"{name}.log") for name in names]
    # What people wait for comes first; the others have time until the first order is paid.
    supervisor.children = [child for child in children if child.name in ("web", "simulator")]
    until = monotonic() + READY_SECONDS_MAX
    supervisor.watch(lambda: ready(settings) or monotonic() > until)
    if supervisor.stopping:
        return 0
    if not ready(settings):
        return _failed("the web server", logs / "web.log")
    if pretends(settings) and not fund(settings):
        say("The pretend M-Pesa took no capital: payouts wait, or are refused there.")
    supervisor.children = children
    if not settings.in_production:
        supervisor.run([python, "-m", "payments.register"], settings, logs / "prepare.log")
    opened(settings)
    if not settings.in_production:  # the chat's menu, for which nobody has to wait
        register = [python, "-m", "channels.telegram", "--set-webhook"]
        supervisor.run(register, settings, logs / "prepare.log")
    supervisor.watch()
    return 0


def ports_in_use(settings: Settings, names: list[str]) -> list[str]:
    """A line for each port that a child wants and cannot have."""
    wanted = {
        "web": ("PORT", settings.port),
        "simulator": ("SIMULATOR_PORT", settings.simulator_port),
    }
    lines = []
    for name in names:
        if name in wanted:
            setting, port = wanted[name]
            why = _cannot_listen(settings.host, port)
            if why:
                lines.append(f"Port {port} of {settings.host} cannot be had: {why}. Set {setting}.")
    return lines


def ready(settings: Settings) -> bool:
    """Does the web answer that it can take people, and the pretend world too?"""
    asked = [f"{_base(settings, settings.port)}/health/ready"]
    if not settings.in_production:
        asked.append(f"{_base(settings, settings.simulator_port)}/simulator")
    return all(map(_answers_well, asked))


def pretends(settings: Settings) -> bool:
    """Is our M-Pesa the pretend one of this machine?"""
    world = _base(settings, settings.simulator_port)
    return not settings.in_production and settings.daraja_base_url == world


def fund(settings: Settings) -> bool:
    """Put the capital that our books have into the pretend payout float, once for all starts."""
    world = _base(settings, settings.simulator_port)
    asked = urllib.request.Request(  # noqa: S310 our own address
        f"{world}/simulator/api/shortcodes/{settings.daraja_b2c_shortcode}/deposits",
        json.dumps({"amount": CAPITAL_SHILLINGS, "reference": "capital"}).encode(),
        {"Content-Type": "application/json"},
    )
    return _answers_well(asked)


def welcome(settings: Settings) -> None:
    print(panel(settings), flush=True)


def panel(settings: Settings) -> str:
    """What a person needs to know now."""
    web, world = (_base(settings, port) for port in (settings.port, settings.simulator_port))
    if settings.in_production:
        return f"\nSokoni answers at {web}. Ctrl-C stops it.\n"
    python = _shown(Path(sys.executable))
    url = "" if settings.simulator_port == 8001 else f" --url {world}"
    return f"""
  Sokoni runs at {web}

  Dial         {settings.ussd_service_code}   from any +2547... number
  A phone      {python} -m simulator.phone{url}
  Phones       {world}/simulator
  M-Pesa PIN   1234, and KSh 10,000 on every number
  Sellers      +254700000001 to +254700000004, Sokoni PIN 2580
  Balances     {python} -m core.ledger
  Logs         {_shown(settings.sokoni_home)}/logs

  Ctrl-C stops everything; the next `make run` finds it all again.
"""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _child(name: str, settings: Settings, log: Path | None) -> Child:
    arguments, environ = command(name, settings), environment_of(settings)

    def start() -> subprocess.Popen[bytes]:
        if log is None:
            return processes.spawn(arguments, cwd=ROOT, environ=environ)
        with _opened(log) as output:
            return processes.spawn(arguments, cwd=ROOT, environ=environ, output=output)

    return Child(name, start, log)


def _watched(
    name: str,
    server: postgres.Server | valkey.Server,
    start: Callable[[], postgres.Server | valkey.Server],
) -> list[Child]:
    """The server as a child; none if another process keeps it."""
    if server.process is None:
        return []

    def again() -> subprocess.Popen[bytes]:
        process = start().process
        if process is None:
            raise CannotStart("another process keeps it now")
        return process

    return [Child(name, again, server.log, process=server.process, born=monotonic())]


def _end(children: list[Child], until: float) -> None:
    """SIGTERM to each, and at that time SIGKILL to what is left of their groups."""
    living = [(child.name, child.process) for child in children if child.process is not None]
    for _, process in living:
        process.terminate()
    for name, process in living:
        try:
            process.wait(max(0.0, until - monotonic()))
        except subprocess.TimeoutExpired:
            say(f"{name} did not end in time and is killed")
        processes.end_group(process)
        process.wait()


def _cannot_listen(host: str, port: int) -> str | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen(1)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _answers_well(asked: str | urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(asked, timeout=2) as answer:  # noqa: S310 our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _base(settings: Settings, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{host}:{port}"


def _refused(lines: list[str]) -> int:
    for line in lines:
        say(line)
    return 2


def _failed(what: str, log: Path) -> int:
    say(f"{what} failed; the end of {_shown(log)}:")
    for line in log.read_text(errors="replace").splitlines()[-8:]:
        say(f"  {line[:300]}")
    return 1


def _opened(log: Path) -> IO[bytes]:
    small = log.exists() and log.stat().st_size < LOG_BYTES_MAX
    return log.open("ab" if small else "wb")


def _ending(code: int) -> str:
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name


def _shown(path: Path | None) -> str:
    """Short, where it lies below the folder the person is in."""
    if path is None:
        return ""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
