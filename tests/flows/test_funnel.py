"""The funnel counts what people did at each screen, from the hops that are kept anyway."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from core import days
from core.database import Database, Db
from flows import check, conversations, funnel
from flows.book import BOOK
from flows.engine import End
from flows.funnel import Count
from tests.flows.handset import Clock, Handset
from tests.flows.street import Street
from worker import schedule, tasks

TODAY = date(2026, 11, 21)


def counted(db: Db, day: date = TODAY) -> dict[str, tuple[int, int, int, int, int]]:
    """came, passed, back, mistyped, left of each state by its label."""
    return {
        f"{one.flow}.{one.state}": (
            one.came, one.passed, one.went_back, one.mistyped, one.went_away
        )
        for one in funnel.of_day(db, day)
    }  # fmt: skip


def rolled_up(db: Db, clock: Clock) -> dict[str, tuple[int, int, int, int, int]]:
    funnel.roll_up(db, clock())
    return counted(db)


def test_each_answer_is_counted_where_it_was_given(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    handset.walk("1", "?", "1", "99", "0", "0", "sw")
    assert rolled_up(db, clock) == {
        "home.menu": (1, 1, 0, 0, 0),
        "buy.category": (2, 1, 0, 1, 0),
        "buy.product": (1, 0, 1, 0, 0),
    }


def test_whoever_came_has_passed_gone_back_or_left(handset: Handset, db: Db, clock: Clock) -> None:
    for answers in (("1", "1", "1", "1", "5", "1", "1", "0"), ("1", "?", "1", "000"), ("2",)):
        handset.dial()
        if handset.seen.label == "home.offer":
            handset.reply("2")
        handset.walk(*answers)
    clock.wait(hours=2)
    for label, (came, passed, back, _, left) in rolled_up(db, clock).items():
        flow, _, state = label.partition(".")
        away = 0 if isinstance(BOOK[flow].states[state], End) else came
        assert passed + back + left == away, label


def test_who_drops_the_session_left_and_who_takes_it_up_came_again(
    handset: Handset, db: Db, clock: Clock
) -> None:
    handset.dial()
    handset.walk("1", "1")
    assert handset.dial().label == "home.offer"
    handset.reply("1")
    assert rolled_up(db, clock)["buy.product"] == (2, 0, 0, 0, 1)


def test_who_dials_again_to_the_same_screen_never_left_it(
    new_phone: Handset, db: Db, clock: Clock
) -> None:
    new_phone.dial()
    new_phone.reply("1")
    assert new_phone.seen.label == new_phone.dial().label == "register.name"
    new_phone.reply("Amina")
    assert rolled_up(db, clock)["register.name"] == (1, 1, 0, 0, 0)


def test_home_is_a_way_of_leaving(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    handset.walk("1", "000")
    assert rolled_up(db, clock)["buy.category"] == (1, 0, 0, 0, 1)


def test_silence_is_leaving_until_it_is_broken(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    handset.reply("1")
    assert rolled_up(db, clock)["buy.category"] == (1, 0, 0, 0, 0)
    clock.wait(minutes=20)
    assert rolled_up(db, clock)["buy.category"] == (1, 0, 0, 0, 1)
    handset.reply("1")
    assert rolled_up(db, clock)["buy.category"] == (1, 1, 0, 0, 0)


def test_a_gateways_notice_tells_it_at_once(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    handset.reply("1")
    conversations.end_session(db, conversations.Ended(handset.session, "Incomplete"), clock())
    assert rolled_up(db, clock)["buy.category"] == (1, 0, 0, 0, 1)


def test_nobody_leaves_the_last_screen(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    assert handset.choose("My orders").ends
    clock.wait(hours=1)
    handset.dial()
    assert rolled_up(db, clock)["my_orders.none"] == (1, 0, 0, 0, 0)


def test_a_wrong_pin_is_a_mistake_and_not_a_passing(
    db: Db, clock: Clock, street: Street, handset: Handset
) -> None:
    handset.dial()
    handset.choose("My account")
    handset.choose("Change PIN")
    handset.walk("9999", "2580")
    assert rolled_up(db, clock)["account.old_pin"] == (1, 1, 0, 1, 0)


def test_answers_dialled_ahead_are_counted_in_their_order(
    handset: Handset, db: Db, clock: Clock
) -> None:
    handset.dial("1*1*1*1")
    assert handset.seen.label == "buy.quantity"
    assert rolled_up(db, clock) == {
        "home.menu": (1, 1, 0, 0, 0),
        "buy.category": (1, 1, 0, 0, 0),
        "buy.product": (1, 1, 0, 0, 0),
        "buy.offer": (1, 1, 0, 0, 0),
        "buy.quantity": (1, 0, 0, 0, 0),
    }


def test_a_repeated_request_is_counted_once(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    handset.reply("1")
    handset.repeat()
    assert rolled_up(db, clock)["buy.category"] == (1, 0, 0, 0, 0)


def test_counting_twice_changes_nothing(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    handset.walk("1", "1", "0", "?")
    first = rolled_up(db, clock)
    assert rolled_up(db, clock) == first


def test_channels_are_counted_apart(handset: Handset, db: Db, clock: Clock) -> None:
    handset.dial()
    db.run("UPDATE conversations SET channel = 'another'")
    handset.dial()
    funnel.roll_up(db, clock())
    menus = [one for one in funnel.of_day(db, TODAY) if one.state == "menu"]
    assert [(one.channel, one.came) for one in menus] == [("another", 1), ("ussd", 1)]


def test_a_visit_is_of_the_markets_day_on_which_it_began(
    handset: Handset, db: Db, clock: Clock
) -> None:
    clock.now = days.end(TODAY) - timedelta(seconds=10)
    handset.dial()
    clock.now = days.end(TODAY) + timedelta(seconds=10)
    handset.walk("?", "1")
    funnel.roll_up(db, clock())
    assert counted(db, TODAY) == {"home.menu": (1, 1, 0, 1, 0)}
    assert counted(db, TODAY + timedelta(days=1)) == {"buy.category": (1, 0, 0, 0, 0)}


def test_what_was_counted_stays_when_the_hops_are_forgotten(
    handset: Handset, db: Db, clock: Clock
) -> None:
    handset.dial()
    handset.reply("1")
    clock.now = days.end(TODAY) + timedelta(hours=23, minutes=30)
    first = rolled_up(db, clock)
    while clock.now < days.end(TODAY) + timedelta(days=4):
        conversations.tidy(db, clock() - tasks.HOPS_KEPT)
        assert rolled_up(db, clock) == first
        clock.wait(hours=1)
    assert db.value("SELECT count(*) FROM hops") == 0


def test_a_day_is_counted_once_more_when_it_is_over_and_its_hops_are_still_kept() -> None:
    last_count = timedelta(days=2) - timedelta(hours=1)  # after the day began, at the earliest
    assert last_count + funnel.CONTEXT <= tasks.HOPS_KEPT
    assert len(schedule.SCHEDULE["roll_up_funnel"]["schedule"].minute) == 1, "hourly"


def test_the_scheduled_task_counts(fresh_database: Database) -> None:
    with fresh_database.begin() as db:
        db.run(
            """
            INSERT INTO conversations
                (id, channel, address, accepted_length, turn, open, created_at, updated_at)
            VALUES (%(id)s, 'ussd', 'x', 0, 0, false, %(now)s, %(now)s)
            """,
            {"id": (conversation := db.new_id()), "now": fresh_database.clock()},
        )
        conversations.keep_hop(
            db, conversation, session="s", digest=b"d", label="home.menu", kind="began",
            screen="", now=fresh_database.clock(),
        )  # fmt: skip
    work: Any = type("OnlyADatabase", (), {"database": fresh_database})()
    tasks.SCHEDULED["roll_up_funnel"](work)
    with fresh_database.begin() as db:
        assert counted(db) == {"home.menu": (1, 0, 0, 0, 0)}


COUNTS = [
    Count("register", "name", "ussd", 1200, 1000, 40, 7, 160),
    Count("register", "name", "sms", 3, 2, 0, 0, 1),
    Count("register", "language", "ussd", 1300, 1200, 0, 0, 100),
    Count("register", "surname", "ussd", 9, 9, 0, 0, 0),
]


def test_the_table_has_the_flows_order_and_what_is_no_more_last() -> None:
    assert funnel.table(BOOK["register"], COUNTS).splitlines() == [
        "register       channel        came   passed     back mistyped     left",
        "  language     ussd          1,300    1,200        0        0      100",
        "  name         sms               3        2        0        0        1",
        "  name         ussd          1,200    1,000       40        7      160",
        "  surname      ussd              9        9        0        0        0",
    ]


def test_the_drawing_carries_the_sums_of_all_channels() -> None:
    drawn = check.mermaid(BOOK["register"], funnel.notes(BOOK["register"], COUNTS))
    assert '    name[/"name<br/>1,203 came, 161 left"/]' in drawn
    assert "    consent[consent]" in drawn


@pytest.fixture
def command(new_database: Callable[[], Any]) -> Any:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows.funnel", *arguments],
            capture_output=True, text=True, timeout=120, env={**os.environ, "DATABASE_URL": url},
        )  # fmt: skip

    with new_database() as url:
        database = Database(url, size=1)
        with database.begin() as db:
            db.run(
                """
                INSERT INTO funnel VALUES ('2026-11-21', 'ussd', 'buy', 'cart', 5, 3, 0, 1, 2,
                    %(now)s)
                """,
                {"now": datetime(2026, 11, 21, 12, tzinfo=UTC)},
            )
        database.close()
        yield run


def test_the_command_prints_the_day_asked_for(command: Any) -> None:
    done = command("--day", "2026-11-21", "--flow", "buy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [
        "  cart         ussd              5        3        0        1        2"
    ]
    assert "cart<br/>5 came, 2 left" in command("--day", "2026-11-21", "--mermaid").stdout
