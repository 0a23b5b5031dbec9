"""A virtual world on a chosen day, with hands to drive it."""

import random
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from simulator.server import create_app
from simulator.world import World
from tests.simulator.browser import launch
from tests.simulator.pretend import START, Api, Bot, Operator, Outside, Shop


@pytest.fixture
def outside():
    return Outside()


@pytest.fixture
def world(outside):
    world = World(virtual_from=START, chance=random.Random(7042), post=outside)
    outside.now = world.clock.now
    yield world
    assert world.books.audit()["balanced"]
    world.stop()


@pytest.fixture
def web(world):
    return create_app(world).test_client()


@pytest.fixture
def shop(web):
    return Shop(web)


@pytest.fixture
def operator(shop):
    return Operator(shop)


@pytest.fixture
def api(web):
    return Api(web)


@pytest.fixture
def bot(web):
    return Bot(web)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()
