"""Where the servers of one machine keep their data and sockets, and which user may go there."""

import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

OUTSIDE = Path("/var/lib/sokoni")  # for a home that the servers' user cannot enter
SOCKET_FOLDER_BYTES_MAX = 85  # a socket's path may have 103 bytes on macOS, 107 on Linux


class CannotStart(Exception):
    """A server of ours does not start; the message tells the person at the terminal why."""


@dataclass(frozen=True)
class User:
    """Whom a server runs as."""

    name: str
    uid: int
    gid: int


def ourselves() -> User:
    return User(f"number {os.geteuid()}", os.geteuid(), os.getegid())


def not_root() -> User:
    """Ourselves; for root it is nobody, because PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return ourselves()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as missing:
        raise CannotStart("there is no user `nobody` to run PostgreSQL as") from missing
    return User(nobody.pw_name, nobody.pw_uid, nobody.pw_gid)


def run_as(user: User, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run to the end as that user, from the root folder; its output is kept, never shown."""
    return subprocess.run(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **identity(user),
    )


class Identity(TypedDict):
    user: int | None
    group: int | None
    extra_groups: list[int] | None


def identity(user: User | None) -> Identity:
    """What makes `subprocess` change to the user; nothing changes where it is us already."""
    if user is None or user.uid == os.geteuid():
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": user.uid, "group": user.gid, "extra_groups": []}


def can_enter(user: User, folder: Path) -> bool:
    """Asked of the kernel as that user, so that access lists and mounts have their say too."""
    return run_as(user, ["test", "-x", folder]).returncode == 0


def base(home: Path, user: User) -> Path:
    """The folder below which the user's server may live: `home`, or one outside a closed home.

    A closed home keeps a random word, so that a new project in an old path starts afresh.
    """
    home.mkdir(parents=True, exist_ok=True)
    home = home.resolve()
    if can_enter(user, home):
        return home
    word = home / "outside"
    if not word.exists():
        word.write_text(secrets.token_hex(16))
    outside = OUTSIDE / _digest(home, word.read_text())
    _make_open(OUTSIDE)
    _make_open(outside)
    return outside


def private(folder: Path, user: User) -> Path:
    """Make the folder the user's alone (0700); one that exists must be so already."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.uid or found.st_mode & 0o077:
            raise CannotStart(
                f"{folder} is not a private folder of user {user.name}: remove it"
            ) from None
        return folder
    folder.chmod(0o700)
    if user.uid != os.geteuid():
        os.chown(folder, user.uid, user.gid)
    return folder


def sockets(below: Path, name: str, user: User) -> Path:
    """A private folder for sockets: below the base; in /tmp where its path would be too long."""
    folder = below / name
    if len(os.fsencode(folder)) > SOCKET_FOLDER_BYTES_MAX:
        folder = Path("/tmp") / f"sokoni-{user.uid}-{_digest(below, name)}"  # noqa: S108
    return private(folder, user)


def copied(folders: list[Path], into: Path) -> None:
    """Copy the folders side by side into a new one that everybody may read; all or nothing."""
    part = into.with_name(f"{into.name}.{os.getpid()}")
    for folder in folders:
        shutil.copytree(folder, part / folder.relative_to(folder.parent), symlinks=True)
    for found in (part, *part.rglob("*")):
        if not found.is_symlink():
            readable = 0o555 if found.is_dir() or found.stat().st_mode & 0o100 else 0o444
            found.chmod(found.stat().st_mode | readable)
    part.rename(into)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock: one process at a time starts or stops a server."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_open(folder: Path) -> None:
    """Everybody may enter what we make, whatever our umask; what we find keeps its mode."""
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o755)


def _digest(path: Path, word: str) -> str:
    return hashlib.sha256(f"{path}\n{word}".encode()).hexdigest()[:16]
