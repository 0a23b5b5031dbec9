"""What a server's process does to itself, and an application made for a test does not."""

import gc
from collections.abc import Iterator

import pytest

import app
import settings as settings_
from settings import Settings

NOWHERE = Settings(database_url="postgresql://nobody@127.0.0.1:1/nothing", hops_a_minute_max=0)


@pytest.fixture
def _collected_as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("_collected_as_before")
def test_a_server_looks_through_what_it_made_at_its_start_no_more(monkeypatch):
    monkeypatch.setattr(settings_, "from_environment", lambda: NOWHERE)
    gc.unfreeze()
    app.create_app(NOWHERE)
    assert gc.get_freeze_count() == 0
    app.create_app()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == app.ALLOCATIONS_BEFORE_COLLECTION


def test_a_server_remembers_lists_as_long_as_the_settings_say(now):
    for seconds, answers in ((0, [1, 2]), (1, [1, 1])):
        made = app.create_app(NOWHERE.model_copy(update={"listing_seconds_max": seconds}))
        memory, answer = made.extensions["sokoni.database"].memory, iter([1, 2])
        assert [memory.recall("it", lambda it=answer: next(it), now) for _ in range(2)] == answers
