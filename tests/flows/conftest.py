"""The demo market, loaded once a worker; each test dials in a transaction that is rolled back."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from core.database import Database, Db
from core.rules import Rules
from tests.flows import demo_market
from tests.flows.handset import Clock, EngineLine, Handset
from tests.flows.street import Street


@pytest.fixture(scope="session")
def rules() -> Rules:
    return Rules(pin_pepper=b"pepper for tests", token_key=b"token key for tests")


@pytest.fixture(scope="session")
def market_url(new_database: Callable[[], Any], rules: Rules) -> Iterator[str]:
    """A database with the demo market: read it, and roll back what you change."""
    with new_database() as url:
        demo_market.load(url, rules)
        yield url


@pytest.fixture(scope="session")
def market(market_url: str) -> Iterator[Database]:
    """One connection for all tests of the worker, which so prepare each statement once."""
    kept = Database(market_url, size=1)
    yield kept
    kept.close()


class _RollBack(Exception):
    """The end of a test's transaction."""


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def db(market: Database, clock: Clock) -> Iterator[Db]:
    """One open transaction on the demo market, rolled back after the test."""
    market.clock, market.random = clock, random.Random(demo_market.SEED)
    with suppress(_RollBack), market.begin(seconds=3600) as db:
        for numbers in ("order_numbers", "case_numbers"):
            db.run(f"ALTER SEQUENCE {numbers} RESTART")  # unlike setval, it is rolled back
        yield db
        raise _RollBack


@pytest.fixture
def street(db: Db, clock: Clock, rules: Rules) -> Street:
    return Street(db, clock, rules)


@pytest.fixture
def handset(db: Db, clock: Clock, rules: Rules, street: Street) -> Handset:
    """The phone of Amina, a member who speaks English."""
    street.register()
    return Handset(EngineLine(db, rules, clock), clock, street.msisdn)


@pytest.fixture
def new_phone(db: Db, clock: Clock, rules: Rules, street: Street) -> Handset:
    """A phone nobody has registered yet."""
    return Handset(EngineLine(db, rules, clock), clock, street.msisdn)
