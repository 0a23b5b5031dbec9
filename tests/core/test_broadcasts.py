"""Broadcasts: the same to many, once each, to nobody who wants none and not at night."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from core import broadcasts, opt_outs, outbox, sendings
from core.database import Db
from core.rules import Rules
from core.sendings import Claimed, NotYet, SendAnswer
from tests.core.market import RULES, late, person

TEXTS = {"en": "Tomatoes are cheap today.", "sw": "Nyanya ni bei nafuu leo."}
HOUR = timedelta(hours=1)


@pytest.fixture
def people(db: Db, now: datetime) -> list[UUID]:
    return [person(db, now, 500 + number) for number in range(5)]


def batches(db: Db, now: datetime) -> list[UUID]:
    due = outbox.take_due(db, now, 1000)
    return [UUID(item.arguments["batch_id"]) for item in due if item.kind == "sms_batch"]


def texts(db: Db) -> dict[str, int]:
    found: dict[str, int] | None = db.value(
        """
        SELECT json_object_agg(text, count)
        FROM (SELECT text, count(*) FROM messages GROUP BY text) AS told
        """
    )
    return found or {}


def test_everybody_is_told_once_in_their_language(
    db: Db, people: list[UUID], now: datetime
) -> None:
    db.run("UPDATE members SET language = 'sw' WHERE id = %(id)s", {"id": people[0]})
    db.run("UPDATE members SET language = 'fr' WHERE id = %(id)s", {"id": people[1]})
    assert broadcasts.put(db, "market day", TEXTS, people[:3], RULES, now) == 3
    assert broadcasts.put(db, "market day", TEXTS, people, RULES, now) == 2
    assert broadcasts.put(db, "market day", TEXTS, people, RULES, now) == 0
    assert texts(db) == {TEXTS["en"]: 4, TEXTS["sw"]: 1}
    assert broadcasts.put(db, "another", TEXTS, people, RULES, now) == 5


def test_whoever_wants_none_or_has_left_is_passed_over(
    db: Db, people: list[UUID], now: datetime
) -> None:
    opt_outs.stop(db, "+254711000500", now)
    opt_outs.bar(db, "+254711000501", now)
    db.run(
        "UPDATE members SET deleted_at = %(now)s WHERE id = %(id)s", {"now": now, "id": people[2]}
    )
    assert broadcasts.put(db, "market day", TEXTS, people, RULES, now) == 2


def test_a_hundred_go_in_one_call(db: Db, now: datetime) -> None:
    many = [person(db, now, 600 + number) for number in range(250)]
    broadcasts.put(db, "market day", TEXTS, many, RULES, now)
    sizes = [len(broadcasts.unsent(db, batch_id)) for batch_id in batches(db, now)]
    assert sorted(sizes) == [50, 100, 100]


def test_at_night_all_wait_until_morning(db: Db, people: list[UUID], now: datetime) -> None:
    night = now + 12 * HOUR
    broadcasts.put(db, "market day", TEXTS, people, RULES, night)
    assert batches(db, night) == []
    (batch_id,) = batches(db, night + 7 * HOUR)
    first = broadcasts.unsent(db, batch_id)[0]
    again = sendings.claim(db, first, late, night + 6 * HOUR)
    assert again == NotYet(night + 7 * HOUR, "it is night")


def test_a_stop_that_comes_before_the_sending_counts(
    db: Db, people: list[UUID], now: datetime
) -> None:
    broadcasts.put(db, "market day", TEXTS, people[:1], RULES, now)
    (batch_id,) = batches(db, now)
    (message_id,) = broadcasts.unsent(db, batch_id)
    opt_outs.stop(db, "+254711000500", now)
    assert sendings.claim(db, message_id, late, now) is None
    assert db.value("SELECT failure FROM messages") == "opted_out"
    assert broadcasts.unsent(db, batch_id) == []


def test_on_telegram_it_waits_behind_receipts_too_and_comes_back_to_its_batch(
    db: Db, people: list[UUID], now: datetime
) -> None:
    def on_telegram(_db: Db, _msisdn: str) -> list[tuple[str, str]]:
        return [("telegram", "7001")]

    broadcasts.put(db, "market day", TEXTS, people[:1], RULES, now)
    (batch_id,) = batches(db, now)
    (message_id,) = broadcasts.unsent(db, batch_id)
    assert sendings.claim(db, message_id, late, now, ways=on_telegram) is None
    assert broadcasts.unsent(db, batch_id) == []
    (item,) = [each for each in outbox.take_due(db, now, 10) if each.kind != "sms_batch"]
    assert (item.kind, item.queue) == ("telegram_broadcast", "broadcasts")
    taken = sendings.claim(db, message_id, late, now, by="telegram")
    assert isinstance(taken, Claimed)
    sendings.record(db, taken, SendAnswer("refused", "blocked"), now)
    assert broadcasts.unsent(db, batch_id) == [message_id]
    assert batches(db, now) == [batch_id]


def test_a_phone_gets_no_more_advertising_than_its_share(
    db: Db, people: list[UUID], now: datetime
) -> None:
    rules = Rules(marketing_an_hour_max=1, marketing_a_day_max=2)
    for subject in ("one", "two", "three"):
        broadcasts.put(db, subject, TEXTS, people[:1], RULES, now)
    waiting = [each for batch_id in batches(db, now) for each in broadcasts.unsent(db, batch_id)]

    def sent(at: datetime) -> int:
        claims = [sendings.claim(db, each, late, at, rules=rules) for each in waiting]
        for claim in claims:
            if isinstance(claim, Claimed):
                sendings.record(db, claim, SendAnswer("accepted", "Success"), at)
        return sum(isinstance(claim, Claimed) for claim in claims)

    assert [sent(now + hours * HOUR) for hours in (0, 0.5, 1.5, 3)] == [1, 0, 1, 0]
    assert db.value("SELECT count(*) FROM incidents") == 0
