import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import sleep

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import Unavailable
from local import valkey
from payments.access_token import Fetched, SharedToken


class Mint:
    """A provider: each token it gives ends the one before."""

    def __init__(self, seconds: int = 3599, takes_seconds: float = 0.0) -> None:
        self.given = 0
        self.at_once = 0
        self.most_at_once = 0
        self.away = False
        self._seconds = seconds
        self._takes_seconds = takes_seconds
        self._lock = threading.Lock()

    def fetch(self) -> Fetched:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        sleep(self._takes_seconds)
        with self._lock:
            self.at_once -= 1
            if self.away:
                raise Unavailable("the provider is down")
            self.given += 1
            return Fetched(f"token-{self.given}", self._seconds)


@contextmanager
def client_of(server: valkey.Server) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(
        server.url, decode_responses=True, socket_timeout=10, retry=Retry(NoBackoff(), 1)
    ) as client:
        yield client


@pytest.fixture
def process(store: valkey.Server) -> Iterator[Callable[[Mint], SharedToken]]:
    """Each call is one more process: its own client of the one store."""
    clients = []

    def start(mint: Mint) -> SharedToken:
        client = redis.Redis.from_url(
            store.url, decode_responses=True, socket_timeout=10, retry=Retry(NoBackoff(), 1)
        )
        clients.append(client)
        return SharedToken(mint.fetch, client, name="test")

    yield start
    for client in clients:
        client.close()


def test_twenty_threads_of_two_processes_fetch_one_token(process) -> None:
    mint = Mint(takes_seconds=0.1)
    first, second = process(mint), process(mint)
    with ThreadPoolExecutor(20) as pool:
        tokens = list(pool.map(lambda each: each.get(), [first, second] * 10))
    assert set(tokens) == {"token-1"}
    assert mint.given == 1


def test_a_refused_token_is_replaced_once_by_all_who_held_it(process) -> None:
    mint = Mint(takes_seconds=0.1)
    first, second = process(mint), process(mint)
    assert first.get() == second.get() == "token-1"
    with ThreadPoolExecutor(20) as pool:
        tokens = list(pool.map(lambda each: each.replace("token-1"), [first, second] * 10))
    assert set(tokens) == {"token-2"}
    assert mint.given == 2


def test_a_token_that_has_changed_meanwhile_is_taken_and_not_replaced(process) -> None:
    mint = Mint()
    first, second = process(mint), process(mint)
    first.get()
    first.replace("token-1")
    assert second.replace("token-1") == "token-2"
    assert mint.given == 2


def test_a_flushed_store_costs_one_new_token(process, store: valkey.Server) -> None:
    mint = Mint()
    first, second = process(mint), process(mint)
    first.get()
    with client_of(store) as client:
        client.flushall()
    assert first.get() == second.get() == "token-2"


def test_while_the_store_is_away_all_keep_the_shared_token(process, store: valkey.Server) -> None:
    mint = Mint()
    first, second = process(mint), process(mint)
    assert first.get() == second.get() == "token-1"
    valkey.stop(store)
    assert first.get() == second.get() == "token-1"
    assert mint.given == 1


def test_while_the_store_is_away_a_refused_token_is_replaced(process, store: valkey.Server) -> None:
    mint = Mint()
    only = process(mint)
    assert store.process is not None
    store.process.send_signal(signal.SIGKILL)
    store.process.wait()
    assert only.get() == "token-1"
    assert only.replace("token-1") == "token-2"
    assert only.get() == "token-2"


def test_a_store_that_dies_during_the_fetch_loses_nothing(process, store: valkey.Server) -> None:
    mint = Mint()
    only = process(mint)
    fetch = mint.fetch

    def fetch_and_kill() -> Fetched:
        valkey.stop(store)
        return fetch()

    mint.fetch = fetch_and_kill  # type: ignore[method-assign]
    assert process(mint).get() == "token-1"
    mint.fetch = fetch  # type: ignore[method-assign]
    assert only.get() == "token-2"  # it has never seen the first


def test_a_failed_fetch_lets_the_next_process_try(process) -> None:
    mint = Mint()
    mint.away = True
    first, second = process(mint), process(mint)
    with pytest.raises(Unavailable):
        first.get()
    mint.away = False
    assert second.get() == "token-1"


def test_the_lock_of_a_dead_process_runs_out(process, store: valkey.Server) -> None:
    mint = Mint()
    with client_of(store) as client:
        client.set("test:lock", "somebody who died", px=300)
    assert process(mint).get() == "token-1"


def test_a_lock_that_ran_out_is_not_taken_from_its_new_holder(
    process, store: valkey.Server
) -> None:
    mint = Mint()
    only = process(mint)
    fetch = mint.fetch

    def slow_fetch() -> Fetched:
        with client_of(store) as client:
            client.set("test:lock", "another process")
        return fetch()

    mint.fetch = slow_fetch  # type: ignore[method-assign]
    only = process(mint)
    assert only.get() == "token-1"
    with client_of(store) as client:
        assert client.get("test:lock") == "another process"


@pytest.mark.parametrize(("seconds", "kept"), [(3599, 3539), (90, 45), (121, 61)])
def test_a_token_is_given_up_before_its_end(process, store, seconds: int, kept: int) -> None:
    process(Mint(seconds)).get()
    with client_of(store) as client:
        assert client.pttl("test:token") == pytest.approx(kept * 1000, abs=500)


def test_without_a_store_each_process_keeps_its_own() -> None:
    mint = Mint()
    first, second = SharedToken(mint.fetch, None, name="a"), SharedToken(mint.fetch, None, name="a")
    assert [first.get(), first.get(), second.get()] == ["token-1", "token-1", "token-2"]
    assert first.replace("token-1") == "token-3"
    assert first.replace("token-1") == "token-3"
