"""Timers: what nobody does in time, the worker does, through the tasks as they are wired."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from core import deliveries, outbox
from core.database import Database
from core.sendings import SendAnswer
from tests.core.market import RULES, open_market, order_of, purchase, settled
from worker import tasks

STEPS = (deliveries.accept, deliveries.dispatch, deliveries.claim)
CASES = "SELECT coalesce(string_agg(kind, ' '), '') FROM incidents"


class Nobody:
    """A gateway that nothing is asked of but to be ready."""

    def prepare(self) -> None:
        pass


@dataclass
class Phones:
    """Whoever is written to."""

    got: list[str] = field(default_factory=list)

    def send(self, _msisdn: str, text: str) -> SendAnswer:
        self.got.append(text)
        return SendAnswer("accepted", "Success", f"ATXid_{len(self.got)}")


@pytest.fixture
def hours(new_database: Callable[[], Any], now: datetime) -> Iterator[Database]:
    """A database whose clock is the attribute `clock`, to be moved on."""
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=Random(7042))
        yield database
        database.close()


def work_until(database: Database, end: datetime) -> list[str]:
    """All that falls due, each at its time, as the relay hands it out; the texts that were sent."""
    phones = Phones()
    work = tasks.Work(database, Nobody(), RULES, sender=phones)  # type: ignore[arg-type]
    while True:
        with database.begin() as db:
            due_at = outbox.next_due(db)
        if due_at is None or due_at > end:
            return phones.got
        at = max(due_at, database.clock())
        database.clock = lambda at=at: at  # type: ignore[misc]
        with database.begin() as db:
            items = outbox.take_due(db, at, 100)
        for item in items:
            if item.kind in (
                "refund_balance",
                "pay_earnings",
            ):  # money that goes out has tests of its own
                with database.begin() as db:
                    outbox.done(db, item.id, at)
            else:
                tasks.run(work, item.id)


@pytest.mark.parametrize(
    ("steps", "state", "cases"),
    [
        (0, "cancelled", ""),
        (1, "cancelled", ""),
        (2, "dispatched", "delivery_silent"),
        (3, "completed", ""),
    ],
)
def test_an_order_that_is_left_alone_comes_to_its_end(
    hours: Database, now: datetime, steps: int, state: str, cases: str
) -> None:
    with hours.begin() as db:
        market = open_market(db, now)
        bought = settled(db, purchase(db, market, now), now)
        order = order_of(db, bought, market.wanjiku)
        for step in STEPS[:steps]:
            step(db, order.id, market.wanjiku, now)
        code = deliveries.code_of(db, order.id, RULES)
    texts = work_until(hours, now + timedelta(days=10))
    assert sum(text.startswith(f"Code {code}, order {order.number},") for text in texts) == 1
    with hours.begin() as db:
        assert order_of(db, bought, market.wanjiku).state == state
        assert db.value(CASES) == cases
        assert outbox.next_due(db) is None


def test_a_checkout_that_nobody_pays_is_reminded_of_and_then_closed(
    hours: Database, now: datetime
) -> None:
    with hours.begin() as db:
        market = open_market(db, now)
        bought = purchase(db, market, now)
        db.run("UPDATE charges SET state = 'refused'")
    texts = work_until(hours, now + timedelta(hours=1))
    assert sum("still waits for KSh 681, until 21/11 12:15" in text for text in texts) == 1
    with hours.begin() as db:
        assert order_of(db, bought, market.wanjiku).state == "expired"
