"""Child processes that die with us, in groups of their own."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from local.places import User, identity

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    command: list[str],
    *,
    user: User | None = None,
    cwd: Path = Path("/"),
    environ: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
    dies_with_us: signal.Signals | None = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, so that a Ctrl-C at the terminal reaches only us.

    dies_with_us: the signal it gets when we end in whatever way, kill -9 too (Linux only);
    call it from the main thread, for the kernel takes the end of the thread that spawned as ours.
    """
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=None if environ is None else dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        start_new_session=True,
        preexec_fn=_tether(dies_with_us) if dies_with_us else None,
        **identity(user),
    )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's group; its own children may have outlived it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _tether(number: signal.Signals) -> Callable[[], None] | None:
    """Runs in the child after it has changed its user, which would have undone the tether."""
    prctl, parent = _prctl, os.getpid()
    if prctl is None:
        return None

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # we died before the knot was tied
            os._exit(1)

    return tie
