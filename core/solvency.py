"""Solvency: whether what lies at M-Pesa covers all that belongs to other people (I21)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from core import incidents, ledger
from core.database import Db

# Every entry has its counterpart, so what the floats hold beyond other people's money is what
# these accounts say that we own: capital and fees, less what we took out, spent and lost.
_OWN: Final = (
    ledger.CAPITAL,
    ledger.FEES,
    ledger.MPESA_CHARGES_OWED,
    ledger.MPESA_CHARGES,
    ledger.BANK,
    ledger.LOSS,
)
_FLOATS: Final = (ledger.C2B, ledger.B2C, ledger.TRANSIT)
_LOCK: Final = 7042_0004  # the advisory lock of whoever takes from a float for ourselves


def surplus_cents(db: Db) -> int:
    """The floats and what is between them, less all escrows, balances, payouts and suspense.

    Below zero somebody's money is missing, so nothing may leave.
    """
    return -ledger.total(db, _OWN)


def check(db: Db, now: datetime) -> bool:
    """Whether it holds. An incident is open for as long as it does not, or a float is overdrawn."""
    surplus = surplus_cents(db)
    short = {each.kind: cents for each in _FLOATS if (cents := ledger.balance(db, each)) < 0}
    _keep_open(db, "insolvent", {"missing_cents": -surplus} if surplus < 0 else {}, now)
    _keep_open(db, "float_overdrawn", short, now)
    return surplus >= 0 and not short


def lock(db: Db) -> None:
    """One after the other: two must not count on the same shillings of a float."""
    db.run("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _LOCK})


def _keep_open(db: Db, kind: str, detail: dict[str, int], now: datetime) -> None:
    """Open with these figures while there are any, else closed."""
    if detail:
        incidents.open(db, kind, "books", now, **detail)
    else:
        incidents.end(db, kind, "books", "it holds again", now)


def surplus_after(db: Db, legs: Sequence[ledger.Leg]) -> int:
    """The same, once these were posted."""
    return surplus_cents(db) - sum(leg.amount_cents for leg in legs if leg.account in _OWN)
