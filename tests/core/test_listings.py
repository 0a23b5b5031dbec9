"""What a buyer's lists may remember, and for how long."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import catalogue, listings, members
from core.database import Database, Db
from core.members import Member
from core.memory import ENTRIES_MAX, Memory
from tests.core.test_catalogue import Stall

SECONDS = 1.0


class _RollBack(Exception):
    """The end of a transaction that is not to be committed."""


class Shop:
    """A stall on a database that remembers lists for a second; what is done here is committed."""

    def __init__(self, url: str, now: datetime) -> None:
        self.now = now
        self.database = Database(
            url, clock=lambda: now, random=random.Random(7042), size=1, recall_seconds=SECONDS
        )
        with self.database.begin() as db:
            stall = Stall(db, now)
            self.offer = stall.sell(stall.wanjiku)
            self.category, self.product = stall.vegetables, stall.tomatoes
            self.buyer = self.whom(db, stall.buyer)
            self.seller = self.whom(db, stall.wanjiku)

    @staticmethod
    def whom(db: Db, member_id: UUID) -> Member:
        found = members.by_id(db, member_id)
        assert found is not None, "a member just made is there"
        return found

    def names(self, db: Db, buyer: Member, later: float = 0.0) -> list[list[str]]:
        """The three lists, so many seconds later."""
        at = self.now + timedelta(seconds=later)
        return [
            [it.name for it in listings.categories(db, "en", buyer, at)],
            [it.name for it in listings.products(db, self.category, "en", buyer, at)],
            [it.seller_name for it in listings.offers(db, self.product, "en", buyer, at)],
        ]

    def glanced(self, buyer: Member, later: float = 0.0) -> list[list[str]]:
        with self.database.autocommit(seconds=10) as db:
            return self.names(db, buyer, later)

    def withdraw(self) -> None:
        with self.database.begin() as db:
            catalogue.withdraw(db, self.offer, self.now)


FULL = [["Vegetables"], ["Tomatoes"], ["Wanjiku Fresh"]]
EMPTY: list[list[str]] = [[], [], []]


@pytest.fixture
def shop(new_database: Callable[[], Any], now: datetime) -> Iterator[Shop]:
    with new_database() as url:
        made = Shop(url, now)
        yield made
        made.database.close()


def test_a_list_may_be_a_moment_old_and_no_older(shop):
    assert shop.glanced(shop.buyer) == FULL
    shop.withdraw()
    assert shop.glanced(shop.buyer, later=0.9) == FULL
    assert shop.glanced(shop.buyer, later=SECONDS) == EMPTY


def test_the_offer_chosen_from_an_old_list_is_read_as_it_is(shop):
    shop.glanced(shop.buyer)
    shop.withdraw()
    with shop.database.autocommit(seconds=10) as db:
        assert catalogue.offer(db, shop.offer, "en", shop.now) is None


def test_a_transaction_reads_the_truth_and_leaves_nothing_of_it_behind(shop):
    assert shop.glanced(shop.buyer) == FULL
    with suppress(_RollBack), shop.database.begin() as db:
        catalogue.withdraw(db, shop.offer, shop.now)
        assert shop.names(db, shop.buyer) == EMPTY
        raise _RollBack
    assert shop.glanced(shop.buyer, later=SECONDS) == FULL


def test_a_seller_never_finds_what_she_sells_herself_on_the_lists_of_others(shop):
    with shop.database.begin() as db:
        members.make_seller(db, shop.seller.id, shop.now)
        seller = shop.whom(db, shop.seller.id)
    assert seller.is_seller
    assert shop.glanced(shop.buyer) == FULL
    assert shop.glanced(seller) == EMPTY
    assert shop.glanced(shop.buyer) == FULL


def test_each_language_has_a_list_of_its_own(shop):
    shop.glanced(shop.buyer)
    with shop.database.autocommit(seconds=10) as db:
        assert [it.name for it in listings.categories(db, "sw", shop.buyer, shop.now)] == ["Mboga"]


def test_databases_do_not_share_what_they_remember(shop, new_database):
    assert shop.glanced(shop.buyer) == FULL
    with new_database() as url:
        other = Database(url, clock=lambda: shop.now, size=1, recall_seconds=SECONDS)
        with other.autocommit(seconds=10) as db:
            assert shop.names(db, shop.buyer) == EMPTY
        other.close()


def test_a_memory_of_no_seconds_keeps_nothing(now):
    memory, answers = Memory(), iter([1, 2])
    assert [memory.recall("it", lambda: next(answers), now) for _ in range(2)] == [1, 2]


def test_a_memory_trusts_no_clock_that_was_set_back(now):
    memory, answers = Memory(SECONDS), iter([1, 2])
    memory.recall("it", lambda: next(answers), now)
    assert memory.recall("it", lambda: next(answers), now - timedelta(hours=1)) == 2


def test_a_memory_keeps_only_so_much(now):
    memory = Memory(SECONDS)
    for key in range(3 * ENTRIES_MAX):
        memory.recall(key, lambda: 0, now)
    assert len(memory._kept) <= ENTRIES_MAX


def test_a_read_that_fails_is_not_remembered(now):
    memory = Memory(SECONDS)

    def broken() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        memory.recall("it", broken, now)
    assert memory.recall("it", lambda: 1, now) == 1
