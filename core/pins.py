"""PINs: four digits that guard what costs a member money, kept so that a stolen table is no use."""

import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from core import messages, phone
from core.database import Db
from core.errors import Invalid
from core.rules import Rules

Checked = Literal["right", "wrong", "locked"]

FAILURES_MAX = 5  # wrong ones in a row; the fifth locks
LOCKED_MINUTES = 30
RIGHT_AGAIN_AFTER: Final = timedelta(hours=12)  # what is kept of the last right one is so exact

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
) -> Literal["changed", "taken", "locked"]:
    """Replace the PIN and tell its owner; wrong guesses, and the old one's lock, are forgotten.

    Two people of one phone have two: "taken" and "locked", as differs says it, change nothing.
    """
    other: UUID | None = db.value(
        """
        SELECT o.id FROM members m
        JOIN members o ON o.msisdn = m.msisdn AND o.person <> m.person
        WHERE m.id = %(member_id)s AND m.shares_phone AND o.shares_phone AND o.deleted_at IS NULL
        """,
        {"member_id": member_id},
    )
    if other is not None:
        outcome = differs(db, other, pin, rules, now)
        if outcome != "differs":
            return outcome
    db.run(
        """
        UPDATE members
        SET pin_hash = %(pin_hash)s, pin_failures = 0, pin_locked_until = NULL, updated_at = %(now)s
        WHERE id = %(member_id)s
        """,
        {"pin_hash": hashed(member_id, pin, rules), "member_id": member_id, "now": now},
    )
    messages.of_member(db, "pin_changed", member_id, {}, now)
    return "changed"


def check(db: Db, member_id: UUID, pin: str, rules: Rules, now: datetime) -> Checked:
    """Is it the member's PIN? The caller must commit, or the wrong guess is not counted.

    "locked": this was the fifth wrong one in a row, or one before was less than 30 minutes ago; a
    right PIN then says so too. Guesses wait for each other, and each costs the same work whatever
    its outcome, so nothing is learned from the time it takes.
    """
    kept = _lock(db, member_id)
    return _judge(db, kept, _is_right(kept, pin, rules), rules, now)


def whose(
    db: Db, msisdn: str, pin: str, rules: Rules, now: datetime
) -> UUID | Literal["wrong", "locked"]:
    """Which of the two people who share the phone typed their PIN? As check, the caller commits.

    A PIN of neither is a wrong guess at both. "locked": nobody's would be taken now, or whose it
    is cannot use it. The right PIN of one forgives no guesses at the other's.
    """
    sharing = db.rows(
        _Kept,
        f"""
        {_KEPT}
        WHERE msisdn = %(msisdn)s AND shares_phone AND deleted_at IS NULL
        ORDER BY id FOR NO KEY UPDATE
        """,
        {"msisdn": msisdn},
    )
    assert sharing, "a PIN was asked on a phone that nobody shares"
    right = [kept for kept in sharing if _is_right(kept, pin, rules)]
    judged = [_judge(db, kept, bool(right), rules, now) for kept in right or sharing]
    if "right" in judged:
        return right[judged.index("right")].id
    return "locked" if {*judged} == {"locked"} else "wrong"


def differs(
    db: Db, member_id: UUID, pin: str, rules: Rules, now: datetime
) -> Literal["differs", "taken", "locked"]:
    """Is this another PIN than the member's, with whom somebody else shares a phone?

    Whoever asks that guesses, so it counts as a wrong guess, whatever the answer: nobody finds
    the other's PIN by changing an own one ten thousand times. "locked": as check.
    """
    kept = _lock(db, member_id)
    same = _is_right(kept, pin, rules)
    if _judge(db, kept, False, rules, now) == "locked":
        return "locked"
    return "taken" if same else "differs"


@dataclass(frozen=True)
class _Kept:
    id: UUID
    pin_hash: str = field(repr=False)
    pin_failures: int
    pin_locked_until: datetime | None
    pin_right_at: datetime | None


_KEPT: Final[LiteralString] = """
    SELECT id, pin_hash, pin_failures, pin_locked_until, pin_right_at FROM members"""


def _lock(db: Db, member_id: UUID) -> _Kept:
    # NO KEY: whoever only refers to the member need not wait for the hashing.
    kept = db.row(
        _Kept,
        f"{_KEPT} WHERE id = %(member_id)s AND deleted_at IS NULL FOR NO KEY UPDATE",
        {"member_id": member_id},
    )
    assert kept is not None, f"a PIN was asked of {member_id}, who is no member"
    return kept


def _judge(db: Db, kept: _Kept, right: bool, rules: Rules, now: datetime) -> Checked:
    """What a guess leads to, and its count."""
    if kept.pin_locked_until is not None and kept.pin_locked_until > now:
        return "locked"
    if right and (kept.pin_right_at is None or kept.pin_right_at < now - RIGHT_AGAIN_AFTER):
        db.run(
            "UPDATE members SET pin_right_at = %(now)s WHERE id = %(id)s",
            {"now": now, "id": kept.id},
        )
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
                "member_id": kept.id,
            },
        )
    if locked:
        values = {"until": until, "support": phone.local(rules.support_msisdn)}
        messages.of_member(db, "pin_locked", kept.id, values, now)
        return "locked"
    return "right" if right else "wrong"


def _is_right(kept: _Kept, pin: str, rules: Rules) -> bool:
    return _matches(kept.pin_hash, _peppered(kept.id, pin, rules))


def _matches(pin_hash: str, peppered: bytes) -> bool:
    try:
        return _HASHER.verify(pin_hash, peppered)
    except VerifyMismatchError:
        return False


def _peppered(member_id: UUID, pin: str, rules: Rules) -> bytes:
    """Bound to its member: a hash copied into another's row opens nothing."""
    assert rules.pin_pepper, "no pepper: PINs would be open to whoever reads the table"
    return hmac.digest(rules.pin_pepper, member_id.bytes + pin.encode(), "sha256")
