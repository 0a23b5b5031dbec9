"""Withdrawals: what is typed, and of which account it is taken."""

from datetime import datetime
from typing import Any

import pytest

from core import ledger, withdrawals
from core.database import Db
from core.errors import Invalid
from tests.core.purse import EARNED_CENTS, RULES, Purse


@pytest.mark.parametrize("typed", ["", "9.99", "1e309", "NaN", "-50", "ten", "٣٠", "1" * 400, "5%"])
def test_an_amount_that_is_none_is_asked_for_again(typed: str) -> None:
    with pytest.raises(Invalid, match="whole_shillings"):
        withdrawals.parse_amount(typed)


@pytest.mark.parametrize(("typed", "cents"), [("50", 5000), (" 1,500 ", 150_000), ("0", 0)])
def test_an_amount_is_typed_in_whole_shillings(typed: str, cents: int) -> None:
    assert withdrawals.parse_amount(typed) == cents


@pytest.mark.parametrize(
    ("earned", "returned", "asked", "shares"),
    [
        (50_000, 20_000, None, [50_000, 20_000]),
        (50_000, 900, None, [50_000]),
        (900, 20_000, None, [20_000]),
        (50_000, 20_000, 30_000, [30_000]),
        (50_000, 20_000, 60_000, [50_000, 10_000]),
        (50_000, 20_000, 50_100, [49_100, 1_000]),
        (500, 20_000, 10_000, [10_000]),
        (500, 500, 1_000, "too_small"),
        (500, 500, None, "too_small"),
        (50_000, 20_000, 70_100, "overdrawn"),
        (50_000, 20_000, 50_050, "not_whole"),
        (50_000, 20_000, 500, "too_small"),
    ],
)
def test_a_withdrawal_takes_what_was_earned_first(
    db: Db, now: datetime, earned: int, returned: int, asked: int | None, shares: Any
) -> None:
    purse = Purse(db, now)
    purse.move("spent", purse.seller, ledger.C2B, EARNED_CENTS - earned)
    purse.move("returned", ledger.C2B, purse.buyer, returned)
    done = withdrawals.withdraw(db, purse.member, asked, RULES, now)
    if isinstance(done, str):
        assert done == shares
        assert (purse.cents()["seller"], purse.cents()["buyer"]) == (earned, returned)
    else:
        assert [purse.payout(id_).amount_cents for id_ in done] == shares
        assert purse.cents(*done)["out"] == sum(shares)
