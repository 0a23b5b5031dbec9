"""Withdrawals: what a member takes out of the wallet, when she asks for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from core import ledger, payouts
from core.database import Db
from core.errors import Invalid
from core.money import CENTS, PAYOUT_CENTS_MIN
from core.payouts import Refused
from core.rules import Rules


def parse_amount(text: str) -> int:
    """An amount as a member types it, in cents. Raises Invalid: "whole_shillings"."""
    typed = text.strip().replace(",", "")
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 9):
        raise Invalid("whole_shillings")
    return int(typed) * CENTS


def withdraw(
    db: Db, member_id: UUID, cents: int | None, rules: Rules, now: datetime
) -> list[UUID] | Refused:
    """A member takes so much out of the wallet, all of it where cents is None. The PIN is checked.

    What was earned goes first; each of the two accounts gives a payout of its own, and M-Pesa
    sends none below KSh 10.
    """
    payouts.lock_member(db, member_id)
    returned, earned = _lock_wallet(db, member_id)
    if cents is None:
        shares = sendable(earned, returned)
        if not any(shares):
            return "too_small"
    else:
        if refused := payouts.unfit(cents, PAYOUT_CENTS_MIN):
            return refused
        if cents > earned + returned:
            return "overdrawn"
        shares = _shares(cents, earned, returned)
        if sum(shares) != cents:
            return "too_small"
    asked: list[UUID] = []
    accounts: Sequence[Literal["seller", "buyer"]] = ("seller", "buyer")
    for account, share in zip(accounts, shares, strict=True):
        if not share:
            continue
        done = payouts.request(
            db,
            member_id,
            account,
            "withdrawal",
            share,
            rules,
            now,
            requested_by=str(member_id),
        )
        if isinstance(done, str):
            assert not asked, f"a half of a withdrawal of {member_id} is {done}"
            return done
        asked += done
    return asked


def sendable(earned_cents: int, returned_cents: int) -> list[int]:
    """What could be sent of each of the two accounts: whole shillings, none below KSh 10."""
    whole = [cents - cents % CENTS for cents in (earned_cents, returned_cents)]
    return [cents if cents >= PAYOUT_CENTS_MIN else 0 for cents in whole]


def _shares(cents: int, earned: int, returned: int) -> list[int]:
    """How much of each account, neither share too small to be sent; less in all where none fit."""
    of_earned = min(cents, earned - earned % CENTS)
    of_returned = cents - of_earned
    if 0 < of_returned < PAYOUT_CENTS_MIN:
        of_earned, of_returned = cents - PAYOUT_CENTS_MIN, PAYOUT_CENTS_MIN
    if 0 < of_earned < PAYOUT_CENTS_MIN:
        of_earned, of_returned = 0, cents
    fits = of_earned <= earned and of_returned <= returned
    return [of_earned, of_returned] if fits else [0, 0]


def _lock_wallet(db: Db, member_id: UUID) -> tuple[int, int]:
    """What lies on the member's accounts as a buyer and as a seller, and stays while we hold it."""
    found = [
        db.value(
            "SELECT balance_cents FROM accounts WHERE id = %(id)s FOR NO KEY UPDATE",
            {"id": account.id},
        )
        for account in (ledger.buyer(member_id), ledger.seller(member_id))
    ]
    return found[0] or 0, found[1] or 0
