"""Payouts: set aside, and let go by a second person where they are large."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from core import freezes, ledger, payouts, solvency
from core.database import Db
from tests.core.purse import (
    EARNED_CENTS,
    FLOAT_CENTS,
    OPERATOR,
    SET_ASIDE,
    THOUSAND,
    UNTOUCHED,
    Purse,
)
from tests.core.transactions import attempt

SECOND = timedelta(seconds=1)


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


def test_a_withdrawal_is_set_aside_approved_and_asked_for(purse: Purse) -> None:
    payout_id = purse.ask()
    payout = purse.payout(payout_id)
    assert (payout.state, payout.approved_by) == ("approved", payouts.AUTOMATIC)
    assert (payout.msisdn, payout.originator_id) == (purse.msisdn, str(payout_id))
    assert purse.cents(payout_id) == SET_ASIDE
    assert purse.due("submit_payout") == purse.now


@pytest.mark.parametrize(
    ("cents", "refusal"),
    [
        (0, "too_small"),
        (-100, "too_small"),
        (-100_000, "too_small"),
        (900, "too_small"),
        (999, "not_whole"),
        (99_950, "not_whole"),
        (9.99, "not_whole"),
        (float("nan"), "not_whole"),
        (1e309, "not_whole"),
        (float("-inf"), "not_whole"),
        (10**300, "overdrawn"),
        (EARNED_CENTS + 100, "overdrawn"),
    ],
)
def test_an_amount_that_cannot_be_sent_is_refused_and_moves_nothing(
    purse: Purse, cents: Any, refusal: str
) -> None:
    assert purse.request(cents) == refusal
    assert purse.cents() == UNTOUCHED
    assert purse.db.value("SELECT count(*) FROM payouts") == 0
    assert purse.db.value("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize(
    ("cents", "parts"),
    [
        (1_000, [1_000]),
        (25_000_000, [25_000_000]),
        (25_000_100, [24_999_000, 1_100]),
        (25_001_000, [25_000_000, 1_000]),
        (60_000_000, [25_000_000, 25_000_000, 10_000_000]),
    ],
)
def test_a_sum_above_the_most_of_one_is_split_and_no_part_is_too_small(
    purse: Purse, cents: int, parts: list[int]
) -> None:
    purse.move("more", ledger.C2B, purse.seller, 100_000_000)
    ids = purse.request(cents)
    found = [purse.payout(id_) for id_ in ids]
    assert [payout.amount_cents for payout in found] == parts
    assert len({payout.originator_id for payout in found}) == len(parts)
    assert purse.cents(*ids)["out"] == cents


def test_what_is_asked_twice_under_one_key_is_one(purse: Purse) -> None:
    first = purse.request(THOUSAND, key="api:1")
    assert purse.request(THOUSAND, key="api:1") == first
    assert purse.cents(*first) == SET_ASIDE
    outcome = attempt(purse.db, lambda: purse.request(2 * THOUSAND, key="api:1"))
    assert outcome is ledger.Conflict
    assert purse.cents(*first) == SET_ASIDE


def test_a_frozen_member_is_sent_nothing(purse: Purse) -> None:
    assert freezes.freeze(purse.db, purse.member, "lost phone", OPERATOR, purse.now) == "frozen"
    assert purse.request() == "frozen"
    assert purse.cents() == UNTOUCHED


def test_nothing_is_promised_while_somebodys_money_is_missing(purse: Purse) -> None:
    purse.move("stolen", ledger.LOSS, ledger.B2C, FLOAT_CENTS + 100)
    assert solvency.surplus_cents(purse.db) == -100
    assert purse.request() == "insolvent"
    assert "insolvent" in purse.open_incidents()


def test_the_surplus_is_what_the_floats_hold_beyond_other_peoples_money(purse: Purse) -> None:
    purse.accepted()
    purse.settle(done := purse.accepted(), purse.paid(done))
    purse.move("fee", purse.seller, ledger.FEES, 1_000)
    purse.move("to the bank", ledger.BANK, ledger.C2B, 700)
    purse.move("underway", ledger.TRANSIT, ledger.C2B, 5_000)
    purse.move("nobody's", ledger.C2B, ledger.SUSPENSE, 3_000)
    purse.move("charged", ledger.MPESA_CHARGES_OWED, ledger.C2B, 300)
    books = {each.kind: each.balance_cents for each in ledger.trial_balance(purse.db)}
    floats = sum(books.get(kind, 0) for kind in ("A.c2b", "A.b2c", "A.transit"))
    others = ("L.escrow", "L.buyer", "L.seller", "L.out", "L.suspense")
    surplus = floats - sum(books.get(kind, 0) for kind in others)
    assert solvency.surplus_cents(purse.db) == surplus == FLOAT_CENTS + 1_000 - 700 - 300


def test_a_large_one_waits_for_a_second_person(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100)
    assert purse.state(payout_id) == "requested"
    assert purse.due("submit_payout") is None
    assert purse.claim(payout_id) is None
    assert "payout_to_approve" in purse.open_incidents()
    assert payouts.approve(purse.db, payout_id, OPERATOR, purse.now) == "approved"
    assert purse.payout(payout_id).approved_by == OPERATOR
    assert purse.due("submit_payout") == purse.now
    assert payouts.approve(purse.db, payout_id, "other", purse.now) == "not_waiting"
    assert purse.open_incidents() == set()


def test_many_small_ones_in_a_day_are_one_large_one(purse: Purse) -> None:
    assert [purse.state(purse.ask(1_000_000)) for _ in range(3)] == [
        "approved",
        "approved",
        "requested",
    ]
    purse.now += timedelta(hours=25)
    assert purse.state(purse.ask(1_000_000)) == "approved"


@pytest.mark.parametrize("who", ["asked", "receives", "is_receiver"])
def test_nobody_approves_what_is_their_own(purse: Purse, who: str) -> None:
    payout_id = purse.ask(2_000_100, requested_by=OPERATOR)
    by = str(purse.member) if who == "receives" else OPERATOR if who == "asked" else "other"
    own = purse.member if who == "is_receiver" else None
    assert payouts.approve(purse.db, payout_id, by, purse.now, own) == "own"
    assert purse.state(payout_id) == "requested"
    assert "payout_own_approval" in purse.open_incidents()


def test_the_database_itself_refuses_one_person_for_two(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100, requested_by=OPERATOR)
    sql = "UPDATE payouts SET state = 'approved', approved_by = requested_by WHERE id = %s"
    outcome = attempt(purse.db, lambda: purse.db.run(sql, [payout_id]))
    assert isinstance(outcome, type)


def test_what_is_rejected_is_back_on_the_account_and_told(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100)
    assert payouts.reject(purse.db, payout_id, OPERATOR, purse.now) == "rejected"
    assert purse.cents(payout_id) == UNTOUCHED
    assert (purse.state(payout_id), purse.payout(payout_id).code) == ("failed", "rejected")
    assert payouts.reject(purse.db, payout_id, OPERATOR, purse.now) == "not_waiting"
    assert payouts.approve(purse.db, payout_id, OPERATOR, purse.now) == "not_waiting"
    assert len(purse.told()) == 1


def test_a_frozen_members_is_not_approved(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100)
    freezes.freeze(purse.db, purse.member, "a doubt", OPERATOR, purse.now)
    assert payouts.approve(purse.db, payout_id, OPERATOR, purse.now) == "frozen"


def test_the_last_payouts_of_a_member_come_newest_first(purse: Purse) -> None:
    first = purse.ask()
    purse.now += SECOND
    second = purse.ask()
    assert [payout.id for payout in payouts.of_member(purse.db, purse.member, 5)] == [second, first]
