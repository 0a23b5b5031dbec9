"""Quiet hours: from nine in the evening to seven in the morning, by the market's clock."""

from datetime import UTC, datetime

import pytest

from core import quiet
from core.rules import Rules


@pytest.mark.parametrize(
    ("utc", "over"),
    [
        ("2026-11-21T09:00", "2026-11-21T09:00"),  # noon in Nairobi
        ("2026-11-21T17:59", "2026-11-21T17:59"),
        ("2026-11-21T18:00", "2026-11-22T04:00"),
        ("2026-11-21T20:59", "2026-11-22T04:00"),
        ("2026-11-21T21:00", "2026-11-22T04:00"),  # midnight
        ("2026-11-22T03:59", "2026-11-22T04:00"),
        ("2026-11-22T04:00", "2026-11-22T04:00"),
        ("2026-12-31T22:00", "2027-01-01T04:00"),
    ],
)
def test_the_night_ends_at_seven(utc: str, over: str) -> None:
    asked = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert quiet.over_at(asked, Rules()) == datetime.fromisoformat(over).replace(tzinfo=UTC)


@pytest.mark.parametrize("hour", range(24))
def test_a_market_without_a_night_writes_at_any_hour(hour: int) -> None:
    asked = datetime(2026, 11, 21, hour, tzinfo=UTC)
    assert quiet.over_at(asked, Rules(quiet_hours=(0, 0))) == asked
