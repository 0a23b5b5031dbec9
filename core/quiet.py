"""Quiet hours: the night, through which everybody sleeps and what can wait does."""

from datetime import datetime, time, timedelta
from typing import Final

from core.days import EAST_AFRICA_TIME

BEGIN: Final = time(21)  # of the market's day
END: Final = time(7)


def over_at(now: datetime) -> datetime:
    """When what can wait may be sent: in the morning if it is night, else now."""
    there = now.astimezone(EAST_AFRICA_TIME)
    if END <= there.time() < BEGIN:
        return now
    day = there.date() + timedelta(days=there.time() >= BEGIN)
    return datetime.combine(day, END, EAST_AFRICA_TIME).astimezone(now.tzinfo)
