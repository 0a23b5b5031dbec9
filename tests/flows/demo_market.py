"""The demo market in a database of its own, the same in every run."""

import random
from datetime import UTC, datetime, timedelta
from itertools import count

from core import demo
from core.database import Database
from core.rules import Rules

SEED = 7042
YESTERDAY = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def load(url: str, rules: Rules) -> None:
    """Loaded the day before the tests' day, each row a millisecond after the one before."""
    ticks = count()
    database = Database(
        url,
        clock=lambda: YESTERDAY + timedelta(milliseconds=next(ticks)),
        random=random.Random(SEED),
        size=1,
    )
    with database.begin() as db:
        assert demo.load(db, rules, YESTERDAY) is not None
    with database.begin() as db:
        db.run("ANALYZE")
    database.close()
