"""Load: wrk drives a server with journeys and says what it saw."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.journeys import Journey

SCRIPT = Path(__file__).with_name("journey.lua")
RESULT = re.compile(r"^result (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) ?(.*)$", re.MULTILINE)


class NoTool(Exception):
    """wrk is not on this machine; the message is the line that installs it."""


@dataclass(frozen=True)
class Callers:
    """Who calls: the members from first to before last; each makes one journey at most."""

    path: str
    service_code: str
    phones: int  # the number of member 0, without its plus
    first: int
    last: int


@dataclass(frozen=True)
class Seen:
    """What wrk saw. wrong: bodies that began otherwise; example: one, after its hop's number."""

    hops: int
    journeys: int
    wrong: int
    lost: int  # connections refused, broken or timed out
    hops_a_second: float
    p50_ms: float
    p99_ms: float
    example: str


def ready() -> None:
    """Raises NoTool, after an attempt to install it where we may."""
    if shutil.which("wrk"):
        return
    install = ["apt-get", "install", "-qy", "--no-install-recommends", "wrk"]
    try:
        subprocess.run(install, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise NoTool("wrk is missing. Install it: sudo apt-get install wrk") from error


def drive(
    base_url: str,
    journeys: Sequence[Journey],
    callers: Callers,
    folder: Path,
    *,
    seconds: int,
    connections: int = 16,
) -> Seen:
    """Call for so long on so many lines at once, as fast as the answers come."""
    plan = folder / "plan.lua"
    plan.write_text(_plan(journeys, callers, connections))
    command = ["wrk", f"-t{connections}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    said = subprocess.run(
        [*command, "-s", SCRIPT, base_url, "--", plan],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    found = RESULT.search(said.stdout)
    assert found, f"wrk said {said.stdout!r} {said.stderr!r}"
    hops, made, wrong, lost, took_us, p50_us, p99_us = map(int, found.groups()[:7])
    return Seen(
        hops, made, wrong, lost, hops * 1e6 / took_us, p50_us / 1000, p99_us / 1000, found[8]
    )


def _plan(journeys: Sequence[Journey], callers: Callers, threads: int) -> str:
    """The plan as Lua; a JSON string of printable ASCII is a Lua string too."""
    lines = [
        f"return {{ threads = {threads}, first = {callers.first}, last = {callers.last},",
        f"phones = {callers.phones}, path = {json.dumps(callers.path)},",
        f"code = {json.dumps(quote(callers.service_code, safe='*'))}, journeys = {{",
    ]
    for journey in journeys:
        hops = [
            f"{{ text = {json.dumps(quote(hop.text, safe='*'))}, "
            f"begins = {json.dumps(hop.begins)} }}"
            for hop in journey
        ]
        lines.append(f"{{ {', '.join(hops)} }},")
    return "\n".join([*lines, "} }"])
