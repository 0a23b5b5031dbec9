"""The database: one transaction at a time."""

from datetime import timedelta
from uuid import RFC_4122

from core.database import Database, Db


def test_ids_of_a_transaction_come_in_the_order_they_were_made(db: Db) -> None:
    ids = [db.new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    assert {(made.version, made.variant) for made in ids} == {(7, RFC_4122)}


def test_a_clock_that_goes_back_does_not_turn_the_order_round(database: Database) -> None:
    start = database.clock()
    with database.begin() as db:
        first = db.new_id()
        database.clock = lambda: start - timedelta(hours=1)
        assert db.new_id() > first
