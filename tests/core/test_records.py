"""Rows as one value: what goes in as Python's comes out as PostgreSQL's."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from core.records import records

ROW = {
    "id": UUID("01890000-0000-7000-8000-000000000001"),
    "at": datetime(2026, 11, 21, 15, 0, 0, 123456, UTC),
    "day": date(2026, 11, 22),
    "cents": 9_007_199_254_740_993,  # more than a floating number holds
    "text": "Mama \"Ng'ang'a\" \\ 1\n½ 🍅",
    "agreed": True,
    "nothing": None,
}
READ = """
    SELECT id, at, day, cents, text, agreed, nothing FROM json_to_recordset(%(rows)s::json)
        AS r (id uuid, at timestamptz, day date, cents bigint, text text, agreed boolean,
              nothing text)
"""


def test_every_value_comes_through_as_it_was(db):
    assert db.rows(dict, READ, {"rows": records([ROW, ROW])}) == [ROW, ROW]


def test_no_rows_are_no_rows(db):
    assert db.rows(dict, READ, {"rows": records([])}) == []


def test_what_no_column_holds_is_refused():
    with pytest.raises(AssertionError, match="a bytes is no column's value"):
        records([{"text": b"bytes"}])
