# ruff: noqa: N802 - F1 to F24 are names
"""Payout queue: who waits, for what, and who goes on first."""

from datetime import datetime, timedelta

import pytest

from core import freezes, halts, ledger, payout_queue, withdrawals
from core.database import Db
from tests.core.market import person
from tests.core.purse import OPERATOR, RULES, SET_ASIDE, THOUSAND, Purse

MINUTE = timedelta(minutes=1)


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


def test_a_low_float_makes_them_wait_in_order_and_tells_the_operator(db: Db, now: datetime) -> None:
    purse = Purse(db, now, float_cents=150_000)
    first, second, third = purse.ask(THOUSAND), purse.ask(THOUSAND), purse.ask(1_000)
    assert purse.claim(first) is not None
    assert purse.claim(second) is None
    assert (purse.state(second), purse.payout(second).waits_for) == ("approved", "float")
    assert purse.claim(third) is None, "it would fit, and is not the first"
    assert "float_low" in purse.open_incidents()
    assert purse.told() == []
    assert purse.due("resume_payouts") == now + payout_queue.FLOAT_LOOK_AGAIN
    purse.move("top-up", ledger.B2C, ledger.CAPITAL, THOUSAND)
    assert payout_queue.resume_waiting(db, now) == 2
    assert purse.open_incidents() == set()
    assert purse.claim(third) is None, "the second is still before it"
    assert purse.claim(second) is not None
    assert purse.claim(third) is not None


def test_a_float_that_stays_low_for_days_is_looked_at_every_hour(db: Db, now: datetime) -> None:
    purse = Purse(db, now, float_cents=0)
    purse.move("capital", ledger.B2C, ledger.CAPITAL, 1_000)
    assert purse.claim(purse.ask()) is None
    for look, minutes in ((1, 2), (5, 32), (6, 60), (40, 60), (10_000, 60)):
        db.run("DELETE FROM outbox")
        assert payout_queue.resume_waiting(db, now, look) == 0
        assert purse.due("resume_payouts") == now + minutes * MINUTE


def test_what_fails_gives_its_part_of_the_float_to_who_waits(db: Db, now: datetime) -> None:
    purse = Purse(db, now, float_cents=THOUSAND)
    first = purse.accepted()
    second = purse.ask()
    assert purse.claim(second) is None
    purse.settle(first, purse.failed(first))
    assert purse.due("resume_payouts") == now
    assert payout_queue.resume_waiting(db, now) == 1
    assert purse.claim(second) is not None


def test_a_frozen_members_approved_one_waits_until_it_is_lifted_by_another(purse: Purse) -> None:
    payout_id = purse.ask()
    freezes.freeze(purse.db, purse.member, "SIM swapped", OPERATOR, purse.now)
    assert freezes.freeze(purse.db, purse.member, "", OPERATOR, purse.now) == "already_frozen"
    assert purse.claim(payout_id) is None
    assert purse.payout(payout_id).waits_for == "frozen"
    assert payout_queue.resume_waiting(purse.db, purse.now) == 0
    assert freezes.lift(purse.db, purse.member, OPERATOR, purse.now) == "own"
    assert freezes.lift(purse.db, purse.member, str(purse.member), purse.now) == "own"
    assert freezes.lift(purse.db, purse.member, "other", purse.now) == "lifted"
    assert freezes.lift(purse.db, purse.member, "other", purse.now) == "not_frozen"
    assert purse.due("resume_payouts") == purse.now
    assert payout_queue.resume_waiting(purse.db, purse.now) == 1
    assert purse.claim(payout_id) is not None


def test_a_wrong_initiator_stops_everything_until_an_operator_says_so(purse: Purse) -> None:
    first, second, third = purse.accepted(), purse.ask(), purse.unknown()
    wrong = purse.failed(first, "2001", ours=True, halts="initiator")
    assert purse.settle(first, wrong) == "failed"
    assert purse.told() == [], "a fault of ours is no news for her"
    assert {halts.HALTED, "payout_failed_by_us"} <= purse.open_incidents()
    assert purse.claim(second) is None
    assert purse.payout(second).waits_for == "halted"
    assert purse.query(third) is None
    assert payout_queue.resume_waiting(purse.db, purse.now) == 0
    purse.forget_work()

    (again,) = payout_queue.resume(purse.db, OPERATOR, purse.now, RULES)
    assert purse.open_incidents() == set()
    assert again != first
    assert purse.payout(again).amount_cents == THOUSAND
    assert purse.due("query_payout") == purse.due("resume_payouts") == purse.now
    assert payout_queue.resume(purse.db, OPERATOR, purse.now, RULES) == []
    assert payout_queue.resume_waiting(purse.db, purse.now) == 1
    assert purse.claim(second) is not None


def test_F21_an_empty_float_stops_payouts_and_is_no_failure_for_the_seller(purse: Purse) -> None:
    asked_about, payout_id, waiting = purse.unknown(), purse.accepted(), purse.ask()
    empty = purse.failed(payout_id, "1", ours=True, halts="float")
    assert purse.settle(payout_id, empty) == "failed"
    assert purse.told() == []
    assert purse.claim(waiting) is None
    assert purse.query(asked_about) is not None, "questions cost nothing"


def test_a_replacement_is_made_once_however_often_it_is_resumed(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.failed(payout_id, "1", ours=True, halts="float"))
    made = payout_queue.resume(purse.db, OPERATOR, purse.now, RULES, "float")
    assert len(made) == 1
    assert payout_queue.resume(purse.db, OPERATOR, purse.now, RULES) == []
    assert purse.cents(payout_id, *made) == SET_ASIDE


def test_what_failed_by_us_and_may_not_leave_now_is_sent_anew_by_a_later_resume(
    purse: Purse,
) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.failed(payout_id, "1", ours=True, halts="float"))
    freezes.freeze(purse.db, purse.member, "lost phone", "asha", purse.now)
    assert payout_queue.resume(purse.db, OPERATOR, purse.now, RULES) == []
    assert "payout_failed_by_us" in purse.open_incidents()
    assert freezes.lift(purse.db, purse.member, "baraka", purse.now) == "lifted"
    assert len(payout_queue.resume(purse.db, OPERATOR, purse.now, RULES)) == 1
    assert "payout_failed_by_us" not in purse.open_incidents()


def test_another_member_is_not_held_back_by_a_frozen_one(purse: Purse) -> None:
    frozen = purse.ask()
    freezes.freeze(purse.db, purse.member, "lost phone", OPERATOR, purse.now)
    assert purse.claim(frozen) is None
    other = person(purse.db, purse.now, 44)
    purse.move("other", ledger.C2B, ledger.seller(other), THOUSAND)
    asked = withdrawals.withdraw(purse.db, other, None, RULES, purse.now)
    assert not isinstance(asked, str)
    assert purse.claim(asked[0]) is not None
