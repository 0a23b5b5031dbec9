"""Terminal: what the commands of staff work with, and how they show what they found."""

import argparse
import os
import platform
import pwd
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core import disputes, staff
from core.database import Db
from core.days import EAST_AFRICA_TIME
from core.disputes import Dispute
from core.money import CENTS, show
from core.rules import Rules
from core.staff import Actor

SHILLINGS_MAX: Final = 1_000_000_000
NOT_THERE: Final = "nobody of that name acts here"


class Refused(Exception):
    """A command that cannot be; its text says why, in one line."""


@dataclass(frozen=True)
class Desk:
    """What a command works with. origin: from where, for the audit log."""

    db: Db
    rules: Rules
    now: datetime
    origin: str

    def actor(self, name: str | None) -> Actor:
        """Raises Refused: nobody of that name acts here."""
        found = staff.find(self.db, name) if name else None
        if found is None or not found.active:
            raise Refused(NOT_THERE)
        return Actor(found, self.origin)

    def dispute(self, number: int) -> Dispute:
        found = disputes.numbered(self.db, number)
        if found is None:
            raise Refused(f"there is no dispute {number}")
        return found


Command = Callable[[Desk, argparse.Namespace], str]


def origin() -> str:
    """From where whoever runs this process acts, for the audit log."""
    return f"terminal {pwd.getpwuid(os.getuid()).pw_name}@{platform.node()}"


def shillings(text: str) -> int:
    """In cents."""
    digits = text.replace(",", "")
    if not re.fullmatch("[0-9]{1,10}", digits) or int(digits) > SHILLINGS_MAX:
        raise argparse.ArgumentTypeError("whole shillings, like 1500")
    return int(digits) * CENTS


def masked(msisdn: str) -> str:
    """+254711000345 as +2547•••345."""
    return f"{msisdn[:5]}•••{msisdn[-3:]}"


def moment(at: datetime) -> str:
    return at.astimezone(EAST_AFRICA_TIME).strftime("%d/%m/%Y %H:%M")


def second(at: datetime) -> str:
    """A moment where minutes do not tell apart what happened."""
    return at.astimezone(EAST_AFRICA_TIME).strftime("%d/%m/%Y %H:%M:%S")


def in_words(name: str, value: object) -> str:
    """A detail in words: `to_buyer_cents`, 20000 is `to buyer KSh 200`; a code is as it is."""
    words = name.replace("_", " ")
    if name.endswith("cents") and isinstance(value, int):
        return f"{words.removesuffix('cents')}KSh {show(value)}"
    return f"{words} {value}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> str:
    """Columns as wide as what is in them."""
    if not rows:
        return empty
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    )


def person(db: Db, member_id: object) -> str:
    found: str | None = db.value(
        "SELECT name || '  ' || coalesce(msisdn, '') FROM members WHERE id = %(id)s",
        {"id": member_id},
    )
    assert found is not None, f"no member {member_id}"
    name, msisdn = found.rsplit("  ", 1)
    return f"{name}  {masked(msisdn) if msisdn else 'no number'}"
