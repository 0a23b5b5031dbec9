"""Days: the market's calendar, East Africa Time; kept in UTC, shown and counted here."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

EAST_AFRICA_TIME = timezone(timedelta(hours=3), "EAT")  # no daylight saving since 1960
# Of what somebody tells us of: PostgreSQL keeps an earlier one, and then nobody can read it.
YEARS: Final = range(2000, 2100)


def today(now: datetime) -> date:
    return now.astimezone(EAST_AFRICA_TIME).date()


def coming(now: datetime, count: int) -> list[date]:
    """The next so many days, from tomorrow."""
    return [today(now) + timedelta(days=ahead) for ahead in range(1, count + 1)]


def end(day: date) -> datetime:
    """The moment the day is over, in UTC."""
    midnight = datetime.combine(day + timedelta(days=1), time(), EAST_AFRICA_TIME)
    return midnight.astimezone(UTC)
