"""PINs: four digits that guard what costs a member money, kept so that a stolen table is no use."""

import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from core import messages
from core.database import Db
from core.errors import Invalid
from core.rules import Rules

Checked = Literal["right", "wrong", "locked"]

FAILURES_MAX = 5  # wrong ones in a row; the fifth locks
LOCKED_MINUTES = 30

# OWASP's password storage cheat sheet, second choice: 19 MiB, two passes, one lane. About 18 ms.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_RUNS = "0123456789", "9876543210"


def parse(text: str) -> str:
    """A new PIN. Raises Invalid("pin_digits"), or Invalid("pin_weak") for 1111, 2345, 9876."""
    pin = text.strip()
    if not re.fullmatch("[0-9]{4}", pin):
        raise Invalid("pin_digits")
    if len({*pin}) == 1 or any(pin in run for run in _RUNS):
        raise Invalid("pin_weak")
    return pin


def hashed(member_id: UUID, pin: str, rules: Rules) -> str:
    """What is kept: salted and slow against guessing, peppered against a stolen table."""
    return _HASHER.hash(_peppered(member_id, pin, rules))


def set(  # noqa: A001 - its callers read pins.set
    db: Db, member_id: UUID, pin: str, rules: Rules, now: datetime
) -> None:
    """Replace the PIN and tell its owner; wrong guesses, and the old one's lock, are forgotten."""
    db.run(
        """
        UPDATE members
        SET pin_hash = %(pin_hash)s, pin_failures = 0, pin_locked_until = NULL, updated_at = %(now)s
        WHERE id = %(member_id)s
        """,
        {"pin_hash": hashed(member_id, pin, rules), "member_id": member_id, "now": now},
    )
    messages.of_member(db, "pin_changed", member_id, {}, now)


def check(db: Db, member_id: UUID, pin: str, rules: Rules, now: datetime) -> Checked:
    """Is it the member's PIN? The caller must commit, or the wrong guess is not counted.

    "locked": this was the fifth wrong one in a row, or one before was less than 30 minutes ago; a
    right PIN then says so too. Guesses wait for each other, and each costs the same work whatever
    its outcome, so nothing is learned from the time it takes.
    """
    # NO KEY: whoever only refers to the member need not wait for the hashing.
    kept = db.row(
        _Kept,
        """
        SELECT pin_hash, pin_failures, pin_locked_until
        FROM members
        WHERE id = %(member_id)s AND deleted_at IS NULL
        FOR NO KEY UPDATE
        """,
        {"member_id": member_id},
    )
    assert kept is not None, f"a PIN was asked of {member_id}, who is no member"
    right = _matches(kept.pin_hash, _peppered(member_id, pin, rules))
    if kept.pin_locked_until is not None and kept.pin_locked_until > now:
        return "locked"
    failures = 0 if right else 1 + (0 if kept.pin_locked_until else kept.pin_failures)
    locked = failures >= FAILURES_MAX
    until = now + timedelta(minutes=LOCKED_MINUTES)
    if not right or kept.pin_failures:
        db.run(
            """
            UPDATE members
            SET pin_failures = %(failures)s, pin_locked_until = %(until)s, updated_at = %(now)s
            WHERE id = %(member_id)s
            """,
            {
                "failures": failures,
                "until": until if locked else None,
                "now": now,
                "member_id": member_id,
            },
        )
    if locked:
        messages.of_member(db, "pin_locked", member_id, {"until": until}, now)
        return "locked"
    return "right" if right else "wrong"


@dataclass(frozen=True)
class _Kept:
    pin_hash: str = field(repr=False)
    pin_failures: int
    pin_locked_until: datetime | None


def _matches(pin_hash: str, peppered: bytes) -> bool:
    try:
        return _HASHER.verify(pin_hash, peppered)
    except VerifyMismatchError:
        return False


def _peppered(member_id: UUID, pin: str, rules: Rules) -> bytes:
    """Bound to its member: a hash copied into another's row opens nothing."""
    assert rules.pin_pepper, "no pepper: PINs would be open to whoever reads the table"
    return hmac.digest(rules.pin_pepper, member_id.bytes + pin.encode(), "sha256")
