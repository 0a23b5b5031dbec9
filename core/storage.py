"""Storage: where files too large for the database lie, each under a key of ours."""

import os
from pathlib import Path
from tempfile import mkstemp
from typing import Protocol

from core.errors import Unavailable


class Missing(Exception):
    """There is no file under this key."""


class Storage(Protocol):
    """Keys are ours, letters and digits in parts: "evidence/<dispute>/<sha256>".

    Each of these may raise core.errors.Unavailable: nobody knows whether it was done, and it may
    be done again.
    """

    def put(self, key: str, content: bytes, content_type: str) -> None:
        """Keep it, whole, before returning; the same key once more replaces it."""

    def get(self, key: str) -> bytes:
        """Raises Missing."""

    def delete(self, key: str) -> None:
        """What is not there is deleted already."""


class Folder:
    """Files of this machine. One web server and one worker may share it; two machines cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, key: str, content: bytes, content_type: str) -> None:  # noqa: ARG002
        """See Storage.put. The type is not kept: whoever asked for it to be kept knows it."""
        wanted = self._file(key)
        try:
            wanted.parent.mkdir(parents=True, exist_ok=True)
            self._write(wanted, content)
        except OSError as error:
            raise Unavailable(f"the folder takes no file: {error.strerror}") from error

    def get(self, key: str) -> bytes:
        try:
            return self._file(key).read_bytes()
        except FileNotFoundError:
            raise Missing(key) from None

    def delete(self, key: str) -> None:
        self._file(key).unlink(missing_ok=True)

    def _write(self, wanted: Path, content: bytes) -> None:
        """Beside it first: a file is whole or not there."""
        descriptor, part = mkstemp(dir=wanted.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(part).rename(wanted)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        for folder in wanted.relative_to(self._path).parents:
            _sync(self._path / folder)

    def _file(self, key: str) -> Path:
        parts = key.split("/")
        assert all(part and part.isascii() and part.isalnum() for part in parts), f"what is {key}?"
        return self._path.joinpath(*parts)


def _sync(folder: Path) -> None:
    """A new name is safe only once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
