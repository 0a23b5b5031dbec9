"""Emptied databases: whoever is lent one finds it as the migrations left it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, LiteralString

import psycopg
import pytest

NewDatabase = Callable[[], AbstractContextManager[str]]
LEFT = (
    "INSERT INTO accounts (id, kind, created_at, updated_at) "
    "VALUES (gen_random_uuid(), 'A.c2b', now(), now())"
)


def _value(url: str, sql: LiteralString) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(sql).fetchone()
    assert found is not None
    return found[0]


def test_nobody_and_nothing_is_left_of_whoever_had_it_before(new_database: NewDatabase) -> None:
    with new_database() as url:
        first = _value(url, "SELECT nextval('order_numbers')")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(LEFT)
        late = psycopg.connect(url)
        late.execute("LOCK TABLE accounts")  # and never says that it is done
    with new_database() as again:
        assert again == url
        assert _value(again, "SELECT count(*) FROM accounts") == 0
        assert _value(again, "SELECT nextval('order_numbers')") == first
        with pytest.raises(psycopg.OperationalError):
            late.execute("SELECT 1")
    late.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE entries DISABLE TRIGGER USER",
        "ALTER TABLE orders ALTER COLUMN updated_at DROP NOT NULL",
        "DROP INDEX ix_entries_account_id",
        "CREATE TABLE more (id int)",
        "ALTER ROLE CURRENT_USER IN DATABASE {} SET work_mem = '1MB'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    ],
)
def test_what_is_more_than_rows_is_lent_to_nobody(new_database: NewDatabase, change: str) -> None:
    with new_database() as url:
        name = _value(url, "SELECT quote_ident(current_database())")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(change.format(name).encode())
    with new_database() as other:
        assert other != url
