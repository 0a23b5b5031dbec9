"""Outbox: nothing that was asked for is lost, and nothing is handed to two at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from core import outbox
from core.database import Database, Db

SECOND = timedelta(seconds=1)
CHARGE = UUID(int=1)


def put(db: Db, due_at: datetime, number: int = 1) -> UUID:
    return outbox.put(db, "stk_push", due_at=due_at, charge_id=UUID(int=number))


def taken(db: Db, now: datetime) -> list[UUID]:
    return [item.id for item in outbox.take_due(db, now, 100)]


def test_work_is_handed_out_when_it_is_due_and_not_before(db: Db, now: datetime) -> None:
    item_id = put(db, now + 4 * SECOND)
    assert taken(db, now + 3 * SECOND) == []
    (item,) = outbox.take_due(db, now + 4 * SECOND, 100)
    assert (item.id, item.kind, item.queue, item.attempts) == (item_id, "stk_push", "money", 1)
    assert item.arguments == {"charge_id": str(CHARGE)}


def test_the_soonest_is_handed_out_first(db: Db, now: datetime) -> None:
    late, soon = put(db, now, 1), put(db, now - SECOND, 2)
    assert taken(db, now) == [soon, late]
    assert len(outbox.take_due(db, now + 70 * SECOND, 1)) == 1


def test_what_nobody_reports_done_comes_back_after_its_lease(db: Db, now: datetime) -> None:
    item_id = put(db, now)
    assert taken(db, now) == [item_id]
    lease = timedelta(seconds=outbox.KINDS["stk_push"].lease_seconds)
    assert taken(db, now + lease - SECOND) == []
    (again,) = outbox.take_due(db, now + lease, 100)
    assert (again.id, again.attempts) == (item_id, 2)


def test_what_is_done_never_comes_back(db: Db, now: datetime) -> None:
    item_id = put(db, now)
    taken(db, now)
    outbox.done(db, item_id, now)
    assert taken(db, now + timedelta(days=1)) == []
    kept = outbox.item(db, item_id)
    assert kept is not None
    assert kept.done_at == now


def test_a_task_may_postpone_itself(db: Db, now: datetime) -> None:
    item_id = put(db, now)
    taken(db, now)
    outbox.postpone(db, item_id, now + 5 * SECOND, "screen_open")
    assert taken(db, now + 4 * SECOND) == []
    assert taken(db, now + 5 * SECOND) == [item_id]
    outbox.done(db, item_id, now)
    assert taken(db, now + timedelta(days=1)) == []


def test_asking_twice_for_the_same_work_is_asking_once_for_the_sooner_time(
    db: Db, now: datetime
) -> None:
    assert put(db, now + 30 * SECOND) == put(db, now) == put(db, now + 60 * SECOND)
    assert len(taken(db, now)) == 1


@pytest.mark.parametrize("wait", [0, 30, 60, 90])
def test_work_asked_for_again_while_it_is_in_hand_runs_again(
    db: Db, now: datetime, wait: int
) -> None:
    item_id = put(db, now)
    taken(db, now)
    put(db, now + wait * SECOND)
    outbox.done(db, item_id, now)
    assert taken(db, now + wait * SECOND) == [item_id]
    outbox.done(db, item_id, now)
    assert taken(db, now + timedelta(days=1)) == []


def test_the_same_work_can_be_asked_for_after_it_was_done(db: Db, now: datetime) -> None:
    first = put(db, now)
    outbox.done(db, first, now)
    assert put(db, now) != first


def test_a_kind_without_a_task_is_our_mistake(db: Db, now: datetime) -> None:
    with pytest.raises(AssertionError, match="send_flowers"):
        outbox.put(db, "send_flowers", due_at=now)


def test_what_is_rolled_back_was_never_asked_for(database: Database, now: datetime) -> None:
    def fail() -> None:
        with database.begin() as db:
            put(db, now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.begin() as db:
        assert taken(db, now) == []


def test_two_relays_never_take_the_same_row(database: Database, now: datetime) -> None:
    with database.begin() as db:
        for number in range(60):
            put(db, now, number)

    def drain(_: int) -> list[UUID]:
        mine: list[UUID] = []
        while True:
            with database.begin() as db:
                batch = outbox.take_due(db, now, 3)
            if not batch:
                return mine
            mine += [item.id for item in batch]

    with ThreadPoolExecutor(4) as relays:
        drained = [item_id for mine in relays.map(drain, range(4)) for item_id in mine]
    assert len(drained) == 60
    assert len(set(drained)) == 60


def test_a_relay_that_dies_with_its_transaction_open_loses_nothing(
    database: Database, now: datetime
) -> None:
    with database.begin() as db:
        item_id = put(db, now)

    def die() -> None:
        with database.begin() as db:
            assert taken(db, now) == [item_id]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        die()
    with database.begin() as db:
        assert taken(db, now) == [item_id]


def test_what_somebody_waits_for_wakes_the_relay(
    new_database: Callable[[], Any], now: datetime
) -> None:
    with new_database() as url, psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {outbox.CHANNEL}")
        database = Database(url)
        with database.begin() as db:
            put(db, now)
            outbox.put(db, "settle_inbox", due_at=now, inbox_id=CHARGE)
        heard = [note.channel for note in listener.notifies(timeout=60, stop_after=1)]
        database.close()
    assert heard == [outbox.CHANNEL]


def test_tidying_forgets_only_what_is_long_done(db: Db, now: datetime) -> None:
    old, fresh, open_ = put(db, now, 1), put(db, now, 2), put(db, now, 3)
    outbox.done(db, old, now - timedelta(days=8))
    outbox.done(db, fresh, now)
    assert outbox.tidy(db, now - timedelta(days=7)) == 1
    assert outbox.item(db, old) is None
    assert outbox.item(db, fresh) is not None
    assert outbox.next_due(db) == now
    assert taken(db, now) == [open_]


def test_several_are_asked_for_at_once_each_as_if_alone(db: Db, now: datetime) -> None:
    known = put(db, now + 9 * SECOND, 1)
    wanted = [
        outbox.Wanted("stk_push", now + SECOND * number, {"charge_id": UUID(int=number)})
        for number in (1, 2, 3)
    ]
    ids = outbox.put_all(db, wanted)
    assert known in ids
    assert len(set(ids)) == 3
    due = outbox.take_due(db, now + 2 * SECOND, 10)
    assert [item.arguments["charge_id"] for item in due] == [str(UUID(int=n)) for n in (1, 2)]


def test_a_broadcast_that_is_due_for_long_delays_no_receipt(db: Db, now: datetime) -> None:
    for number in range(5):
        outbox.put(db, "sms_batch", due_at=now - 60 * SECOND, batch_id=UUID(int=number))
    receipt = outbox.put(db, "sms", due_at=now, message_id=UUID(int=9))
    first = outbox.take_due(db, now, 3)
    assert [item.kind for item in first] == ["sms", "sms_batch", "sms_batch"]
    assert first[0].id == receipt
    assert len(outbox.take_due(db, now, 100)) == 3


def test_asking_for_nothing_is_allowed(db: Db) -> None:
    assert outbox.put_all(db, []) == []


def test_work_is_reported_done_without_reading_what_else_is_open(db: Db, now: datetime) -> None:
    for number in range(50):
        outbox.done(db, put(db, now, number), now)
    db.run("ANALYZE outbox")  # at an hour when nothing was open
    ids = [put(db, now, number) for number in range(300)]
    taken(db, now)

    def read() -> int:
        rows: int = db.value(
            "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables "
            "WHERE relname = 'outbox'"
        )
        return rows

    before = read()
    outbox.done(db, ids[250], now)
    outbox.postpone(db, ids[251], now, "later")
    assert read() - before <= 4
