"""Quiet hours: the night, through which everybody sleeps and what can wait does."""

from datetime import datetime, time, timedelta

from core.days import EAST_AFRICA_TIME
from core.rules import Rules


def over_at(now: datetime, rules: Rules) -> datetime:
    """When what can wait may be sent: in the morning if it is night, else now."""
    begin, end = (time(hour) for hour in rules.quiet_hours)
    there = now.astimezone(EAST_AFRICA_TIME)
    is_day = begin == end or end <= there.time() < begin
    if is_day:
        return now
    day = there.date() + timedelta(days=there.time() >= begin)
    return datetime.combine(day, end, EAST_AFRICA_TIME).astimezone(now.tzinfo)
