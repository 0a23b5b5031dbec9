"""The funnel: how many people came to each state of a flow, and what became of them there.

`python -m flows.funnel` prints a day's. It is rolled up from the hops while they are kept; nothing
more is written while somebody dials. A visit begins with the screen and ends with the hop that
leads elsewhere; it is counted on the market's day it began, so that on each line

    came = passed + went back + left + still there     (of an end: came)
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TIMESTAMP

from core import days
from core.database import Database, Db, metadata
from flows import check
from flows.book import BOOK
from flows.engine import Book, Flow

# Who has not answered for so long is counted as having left, until she does answer.
LEFT_AFTER = timedelta(minutes=15)
SECONDS_MAX = 300.0  # 16 s for a million hops on two busy cores
# What was seen before a midnight says who only had the same screen drawn again after it.
CONTEXT = timedelta(hours=1)

funnel_table = sa.Table(
    "funnel",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("flow", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("came", sa.Integer, nullable=False),
    sa.Column("passed", sa.Integer, nullable=False),
    sa.Column("went_back", sa.Integer, nullable=False),
    sa.Column("mistyped", sa.Integer, nullable=False),  # answers, not people
    sa.Column("went_away", sa.Integer, nullable=False),
    sa.Column("updated_at", TIMESTAMP(timezone=True), nullable=False),
)


@dataclass(frozen=True)
class Count:
    """Of one state on one channel. went_away: no answer, another dial, or the key for home."""

    flow: str
    state: str
    channel: str
    came: int
    passed: int
    went_back: int
    mistyped: int
    went_away: int


def roll_up(db: Db, now: datetime) -> int:
    """Count today and yesterday anew, over what was counted before; how many lines that makes.

    Of those two days all hops are still kept (worker.tasks.HOPS_KEPT); of any before they are not.
    """
    today = days.today(now)
    yesterday = today - timedelta(days=1)
    begins = days.end(yesterday - timedelta(days=1))
    return db.run(
        _COUNT,
        {
            "yesterday": yesterday,
            "today": today,
            "begins": begins,
            "midnight": days.end(yesterday),
            "since": begins - CONTEXT,
            "silent_since": now - LEFT_AFTER,
            "now": now,
        },
    )


def of_day(db: Db, day: date) -> list[Count]:
    """What was counted, by flow, state and channel."""
    return db.rows(
        Count,
        """
        SELECT flow, state, channel, came, passed, went_back, mistyped, went_away
        FROM funnel WHERE day = %(day)s ORDER BY flow, state, channel
        """,
        {"day": day},
    )


def table(flow: Flow, counts: Iterable[Count]) -> str:
    """The flow's states in their order, a line for each channel."""
    of_flow = sorted(
        (count for count in counts if count.flow == flow.name),
        key=lambda count: (_position(flow, count.state), count.state, count.channel),
    )
    heads = ("came", "passed", "back", "mistyped", "left")
    lines = [f"{flow.name:<15}{'channel':<10}" + "".join(f"{head:>9}" for head in heads)]
    for count in of_flow:
        figures = (count.came, count.passed, count.went_back, count.mistyped, count.went_away)
        cells = "".join(f"{figure:>9,}" for figure in figures)
        lines.append(f"  {count.state:<13}{count.channel:<10}{cells}")
    return "\n".join(lines)


def notes(flow: Flow, counts: Iterable[Count]) -> Mapping[str, str]:
    """For the flow's drawing: what to write under each state, all channels together."""
    came: dict[str, int] = {}
    left: dict[str, int] = {}
    for count in counts:
        if count.flow == flow.name:
            came[count.state] = came.get(count.state, 0) + count.came
            left[count.state] = left.get(count.state, 0) + count.went_away
    return {state: f"{came[state]:,} came, {left[state]:,} left" for state in came}


def _position(flow: Flow, name: str) -> int:
    """Of a state in its flow; one that is no more stands at the end."""
    return list(flow.states).index(name) if name in flow.states else len(flow.states)


# A hop drawn at the state where the one before it was drawn belongs to the same visit: a hint, a
# page, another language, a dropped session that was taken up again.
_COUNT: Final = """
    WITH turns AS (
        SELECT conversation_id, session, label, kind, ends, created_at,
            coalesce(lag(label) OVER turn = label AND NOT lag(ends) OVER turn, false) AS stays,
            lead(label) OVER turn IS NULL AS is_last
        FROM hops WHERE created_at >= %(since)s
        WINDOW turn AS (PARTITION BY conversation_id ORDER BY created_at)
    ), numbered AS (
        SELECT *, count(*) FILTER (WHERE NOT stays) OVER (
            PARTITION BY conversation_id ORDER BY created_at ROWS UNBOUNDED PRECEDING
        ) AS visit
        FROM turns
    ), visits AS (
        SELECT conversation_id, visit, min(label) AS label, bool_or(ends) AS ends,
            min(created_at) AS came_at, max(created_at) AS last_at,
            min(kind) FILTER (WHERE NOT stays) AS came_by,
            count(*) FILTER (WHERE kind = 'hint') AS mistyped,
            min(session) FILTER (WHERE is_last) AS session
        FROM numbered GROUP BY conversation_id, visit
    ), ways AS (
        SELECT *, lead(came_by) OVER (PARTITION BY conversation_id ORDER BY visit) AS went_by
        FROM visits
    )
    INSERT INTO funnel
        (day, channel, flow, state, came, passed, went_back, mistyped, went_away, updated_at)
    SELECT CASE WHEN came_at < %(midnight)s THEN %(yesterday)s::date ELSE %(today)s::date END,
        c.channel, split_part(label, '.', 1), split_part(label, '.', 2),
        count(*),
        count(*) FILTER (WHERE NOT ends AND went_by IN ('passed', 'hint')),
        count(*) FILTER (WHERE NOT ends AND went_by = 'back'),
        sum(mistyped),
        count(*) FILTER (WHERE NOT ends AND (
            went_by IN ('began', 'home')
            OR went_by IS NULL AND (
                last_at < %(silent_since)s
                OR EXISTS (SELECT FROM session_ends e WHERE e.session = ways.session)
            )
        )),
        %(now)s
    FROM ways JOIN conversations c ON c.id = conversation_id
    WHERE came_at >= %(begins)s
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (day, channel, flow, state) DO UPDATE
    SET came = excluded.came, passed = excluded.passed, went_back = excluded.went_back,
        mistyped = excluded.mistyped, went_away = excluded.went_away,
        updated_at = excluded.updated_at
"""


def _drawn(book: Book, counts: list[Count], *, mermaid: bool) -> Iterator[str]:
    for flow in book.values():
        yield check.mermaid(flow, notes(flow, counts)) if mermaid else table(flow, counts)


def main() -> int:
    """`python -m flows.funnel [--day D] [--flow F] [--mermaid]`: brings the counts up to date."""
    parser = argparse.ArgumentParser(prog="python -m flows.funnel", description="A day's funnel.")
    parser.add_argument("--day", type=date.fromisoformat, help="of the market; default today")
    parser.add_argument("--flow", choices=BOOK, help="this one alone")
    parser.add_argument("--mermaid", action="store_true", help="on the flows' drawings instead")
    asked = parser.parse_args()

    from settings import from_environment  # here only: the conversations know no settings

    settings = from_environment()
    if settings.database_url is None:
        print("Funnel: no database. Set DATABASE_URL, or start one: make services", file=sys.stderr)
        return 1
    database = Database(settings.database_url)
    try:
        with database.begin(seconds=SECONDS_MAX) as db:
            now = database.clock()
            roll_up(db, now)
            counts = of_day(db, asked.day or days.today(now))
    finally:
        database.close()
    book = {asked.flow: BOOK[asked.flow]} if asked.flow else BOOK
    print("\n\n".join(_drawn(book, counts, mermaid=asked.mermaid)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
