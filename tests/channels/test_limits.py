"""Nobody's phone can keep the market busy: beyond its hops a minute it is asked to wait."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from flask.testing import FlaskClient

from app import create_app
from channels import limits
from channels.limits import HopLimit
from core.database import Database
from flows.words import common
from local import valkey
from settings import Settings
from tests.channels.conftest import PATH, Heard
from tests.flows.handset import Clock, Handset, WebLine
from tests.stores import store, valkey_home  # noqa: F401 - fixtures, taken by name

PHONE, OTHER = "+254733910001", "+254733910002"
TOO_MANY = common().texts["too_many"]


class Minutes:
    """A clock that stands still until a minute is over."""

    def __init__(self) -> None:
        self.now = 1_795_000_020.0

    def __call__(self) -> float:
        return self.now

    def pass_one(self) -> None:
        self.now += 60


@pytest.fixture
def minutes() -> Minutes:
    return Minutes()


@pytest.fixture
def shared(store: valkey.Server, minutes: Minutes) -> Callable[[int], HopLimit]:  # noqa: F811
    """Another process's limit on the same store."""
    return lambda hops: HopLimit(hops, limits.connect(store.url), key=b"a key", clock=minutes)


def admitted(limit: HopLimit, hops: int, msisdn: str = PHONE) -> int:
    return sum(limit.admits(msisdn) for _ in range(hops))


def test_a_phone_gets_its_hops_and_no_more_until_the_minute_is_over(minutes: Minutes) -> None:
    limit = HopLimit(10, None, key=b"a key", clock=minutes)
    assert admitted(limit, 30) == 10
    assert admitted(limit, 3, OTHER) == 3
    minutes.pass_one()
    assert admitted(limit, 30) == 10


def test_processes_count_a_phone_together(shared: Callable[[int], HopLimit]) -> None:
    one, two = shared(20), shared(20)
    assert admitted(one, 15) == 15
    assert admitted(two, 30) == 5  # those it let pass by itself are counted, too


def test_threads_let_through_exactly_the_limit(shared: Callable[[int], HopLimit]) -> None:
    processes = [shared(40), shared(40)]
    with ThreadPoolExecutor(8) as pool:
        let = list(pool.map(lambda n: processes[n % 2].admits(PHONE), range(400)))
    # Each process may let its own part through before it asks what the other one saw.
    assert 40 <= sum(let) <= 40 + 40 // limits.OWN_PART


def test_a_slow_phone_never_asks_the_store(minutes: Minutes, store: valkey.Server) -> None:  # noqa: F811
    limit = HopLimit(40, limits.connect(store.url), key=b"a key", clock=minutes)
    admitted(limit, 9)
    with redis.Redis.from_url(store.url) as client:
        assert client.keys("*") == []


def test_the_store_learns_no_number_and_forgets(
    shared: Callable[[int], HopLimit],
    store: valkey.Server,  # noqa: F811
) -> None:
    admitted(shared(4), 4)
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        (name,) = client.keys("*")
        assert PHONE.removeprefix("+") not in name
        assert 0 < client.ttl(name) <= 120


def test_without_its_store_each_process_keeps_the_limit_and_counts_together_afterwards(
    shared: Callable[[int], HopLimit],
    store: valkey.Server,  # noqa: F811
    valkey_home: Path,  # noqa: F811
    minutes: Minutes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    monkeypatch.setattr(limits.log, "warning", lambda event, **_: events.append(event))
    one, two = shared(20), shared(20)
    admitted(one, 10)
    valkey.stop(store)
    assert admitted(one, 30) == 10
    assert admitted(two, 30) == 20
    assert events == ["limit_store_away"] * 2  # asked once, then left alone for a while
    again = valkey.start(valkey_home, dies_with_us=True)
    monkeypatch.setattr(limits, "monotonic", lambda: float("inf"))  # the while is over
    minutes.pass_one()
    assert admitted(one, 15) == 15
    assert admitted(two, 30) == 5
    valkey.stop(again)


@pytest.fixture
def strict(server: Settings, market: Database) -> FlaskClient:
    """A web server that gives each phone four hops a minute."""
    few = server.model_copy(update={"hops_a_minute_max": 4})
    return create_app(few, database=market).test_client()


def test_one_too_many_is_a_polite_end_that_moves_nothing(
    strict: FlaskClient, member: Handset, turn: Callable[[], int], heard: Heard
) -> None:
    member.line = WebLine(strict, PATH)
    member.dial()
    for typed in ("1", "0", "1"):
        assert not member.reply(typed).ends
    before = turn()
    refused = member.reply("1")
    assert (refused.ends, refused.text, refused.label) == (True, TOO_MANY["en"], "too_many")
    assert turn() == before
    assert heard.events == ["hop_beyond_limit"]


def test_her_neighbour_on_the_same_gateway_is_served(strict: FlaskClient, clock: Clock) -> None:
    busy, other = (Handset(WebLine(strict, PATH), clock, number) for number in (PHONE, OTHER))
    for _ in range(4):
        busy.dial()
    assert busy.dial().label == "too_many"
    assert other.dial().label == "register.language"
