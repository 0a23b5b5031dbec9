"""Load: wrk drives a server with journeys and says what it saw."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.wires import PHONES, Post, Wire

SCRIPT = Path(__file__).with_name("journey.lua")
RESULT = re.compile(r"^result (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) ?(.*)$", re.MULTILINE)


class NoTool(Exception):
    """wrk is not on this machine; the message is the line that installs it."""


@dataclass(frozen=True)
class Seen:
    """What wrk saw. wrong: answers that were others; example: one, after its hop's number."""

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
    wire: Wire,
    callers: range,
    folder: Path,
    *,
    seconds: int,
    connections: int = 16,
) -> Seen:
    """Call for so long on so many lines at once, as fast as the answers come.

    callers: the members who call; each makes one journey at most.
    """
    plan = folder / "plan.lua"
    plan.write_text(_plan(wire, callers, connections))
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


def _plan(wire: Wire, callers: range, threads: int) -> str:
    """The plan as Lua; a JSON string of printable ASCII is a Lua string too."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in wire.headers.items())
    lines = [
        f"return {{ threads = {threads}, first = {callers.start}, last = {callers.stop},",
        f"phones = {PHONES}, path = {json.dumps(wire.path)}, headers = {json.dumps(headers)},",
        "journeys = {",
        *(f"{{ {', '.join(map(_post, posts))} }}," for posts in wire.posts),
    ]
    return "\n".join([*lines, "} }"])


def _post(post: Post) -> str:
    return f"{{ body = {json.dumps(post.body)}, begins = {json.dumps(post.begins)} }}"
