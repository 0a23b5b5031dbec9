"""Solvency: whether what lies at M-Pesa covers all that belongs to other people (I21)."""

from typing import Final

from core import ledger
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


def surplus_cents(db: Db) -> int:
    """The floats and what is between them, less all escrows, balances, payouts and suspense.

    Below zero somebody's money is missing, so nothing may leave.
    """
    return -ledger.total(db, _OWN)
