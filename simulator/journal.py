"""The world's memory: one line of JSON for each change, kept so that a restart finds it again."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Record = dict[str, Any]

log = logging.getLogger(__name__)


class JournalDamaged(Exception):
    """A line before the last cannot be read; the books would be wrong without it."""


class Journal:
    """One change at a time, and each change whole: its records stand on one line or nowhere."""

    def __init__(self, path: Path | None = None) -> None:
        """path: the file to keep; None keeps nothing."""
        self._lock = threading.RLock()
        self._path = path
        self._depth = 0
        self._records: list[Record] = []
        self._past = [] if path is None else _read(path)
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def past(self) -> Iterator[Record]:
        """Every record of earlier runs, oldest first; can be read once."""
        past, self._past = self._past, []
        for line in past:
            yield from line

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the world still while it is changed; what was noted becomes one line at the end.

        Nothing inside may wait for a network: everybody else in the world waits for this.
        """
        with self._lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self._records:
                    self._write()

    def note(self, record: Record) -> None:
        """Add a record to the change being made."""
        assert self._depth > 0, "a record is noted inside a change"
        if self._file is not None:
            self._records.append(record)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self) -> None:
        records, self._records = self._records, []
        if self._file is not None:
            self._file.write(json.dumps(records, separators=(",", ":")) + "\n")
            self._file.flush()


def _read(path: Path) -> list[list[Record]]:
    """The lines of the file; a torn last one (the process died writing it) is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return []
    raw = path.read_bytes()
    whole, newline, torn = raw.rpartition(b"\n")
    if torn:
        log.warning("the journal's last line was torn and is dropped")
        with path.open("r+b") as file:
            file.truncate(len(whole) + len(newline))
    lines = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            raise JournalDamaged(f"line {number} of the journal cannot be read") from error
    return lines
