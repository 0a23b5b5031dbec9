"""Our operator at M-Pesa: until one call has shown that its word is taken, calls go one by one."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from core import initiator, payout_calls, payout_queue
from core.database import Db
from tests.core.purse import ACCEPTED, LOST, REFUSED, RULES, Purse

GUARDED = replace(RULES, initiator_key=b"a name and a password")
CHANGED = replace(RULES, initiator_key=b"a name and another password")


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


def claim(purse: Purse, payout_id: UUID) -> bool:
    return payout_calls.claim_for_submit(purse.db, payout_id, GUARDED, purse.now) is not None


def three(purse: Purse) -> tuple[UUID, UUID, UUID]:
    return purse.ask(10_000), purse.ask(10_000), purse.ask(10_000)


def test_of_a_burst_one_is_called_and_the_others_wait_for_it(purse: Purse) -> None:
    ids = three(purse)
    assert [claim(purse, id_) for id_ in ids] == [True, False, False]
    assert purse.payout(ids[1]).waits_for == "probe"
    assert purse.due("resume_payouts") == purse.now + initiator.PROBE_FOR
    purse.settle(ids[0], purse.paid(ids[0]))
    assert purse.due("resume_payouts") == purse.now
    assert payout_queue.resume_waiting(purse.db, purse.now) == 2
    assert [claim(purse, id_) for id_ in ids[1:]] == [True, True]


def test_a_wrong_password_costs_one_call_at_the_start_and_one_after_each_halt(purse: Purse) -> None:
    ids = three(purse)
    called = 0
    for _ in range(3):
        claimed = [id_ for id_ in ids if claim(purse, id_)]
        called += len(claimed)
        purse.settle(claimed[0], purse.failed(claimed[0], "2001", ours=True, halts="initiator"))
        assert [claim(purse, id_) for id_ in ids] == [False, False, False]
        purse.now += timedelta(minutes=1)
        ids = (*[id_ for id_ in ids if id_ != claimed[0]], *payout_queue.resume(
            purse.db, "olive", purse.now, GUARDED
        ))  # fmt: skip
    assert called == 3


def test_a_failure_that_is_not_of_its_word_shows_that_it_is_taken(purse: Purse) -> None:
    first, second, _ = three(purse)
    assert claim(purse, first)
    purse.settle(first, purse.failed(first, "2040"))
    assert claim(purse, second)


@pytest.mark.parametrize("answer", [ACCEPTED, LOST])
def test_a_call_that_says_nothing_makes_room_after_a_while(purse: Purse, answer: object) -> None:
    first, second, third = three(purse)
    assert claim(purse, first)
    purse.ack(first, answer)  # type: ignore[arg-type]
    purse.now += initiator.PROBE_FOR - timedelta(seconds=1)
    assert not claim(purse, second)
    purse.now += timedelta(seconds=1)
    assert [claim(purse, second), claim(purse, third)] == [True, False]


def test_a_call_that_was_turned_away_makes_room_at_once(purse: Purse) -> None:
    first, second, _ = three(purse)
    assert claim(purse, first)
    purse.ack(first, REFUSED)
    assert claim(purse, second)


def test_a_forged_result_shows_nothing(purse: Purse) -> None:
    first, second, _ = three(purse)
    assert claim(purse, first)
    assert purse.settle(first, purse.paid(first, amount_cents=1)) == "doubted"
    assert not claim(purse, second)


def test_another_password_is_tried_anew_and_the_old_ones_results_show_nothing_of_it(
    purse: Purse,
) -> None:
    first, second, third = three(purse)
    assert claim(purse, first)
    purse.now += timedelta(minutes=1)
    assert payout_calls.claim_for_submit(purse.db, second, CHANGED, purse.now) is not None
    purse.settle(first, purse.paid(first))
    assert payout_calls.claim_for_submit(purse.db, third, CHANGED, purse.now) is None
    assert initiator.may_call(purse.db, GUARDED, purse.now)


def test_rules_that_name_no_word_guard_none(purse: Purse) -> None:
    assert all(initiator.may_call(purse.db, RULES, purse.now) for _ in range(3))
    assert purse.db.value("SELECT count(*) FROM initiators") == 0
