"""Halts: M-Pesa takes nothing from us, so nothing is sent until somebody has mended it."""

from datetime import datetime
from typing import Final, Literal

from core import incidents, initiator, outbox
from core.database import Db

Halt = Literal["initiator", "float"]

HALTED: Final = "payouts_halted"  # the incident while which nothing is sent; closing it ends that


def halt(db: Db, why: Halt, code: str, now: datetime) -> None:
    """M-Pesa takes nothing from us any more, so nothing is sent until an operator says so.

    "initiator": our name or password is wrong or locked, and each further call makes it worse.
    "float": there is too little to pay out, whatever our books say; reversals go on.
    """
    if why == "initiator":
        initiator.refused(db, now)
    if incidents.open(db, HALTED, why, now, code=code) is not None and why == "float":
        outbox.put(db, "ask_balance", due_at=now, float="b2c")  # it knows better than our books


def is_halted(db: Db, why: Halt) -> bool:
    """Whether nothing is sent, until an operator says so."""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM incidents
                           WHERE kind = %(kind)s AND subject = %(why)s AND closed_at IS NULL)
            """,
            {"kind": HALTED, "why": why},
        )
    )


def vouch(db: Db, called_at: datetime | None, now: datetime, *, doubted: bool = False) -> None:
    """M-Pesa has worked on a call made then, so it takes our operator's word: the others may go."""
    if called_at is not None and not doubted and initiator.accepted(db, called_at, now):
        outbox.put(db, "resume_payouts", due_at=now)
