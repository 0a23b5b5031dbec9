"""Deals raced over real connections, both sides and the clock at the same moment, and cut short."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from core import deals
from core.database import Database, Db
from tests.core.handshake import FEE_CENTS, NET_CENTS, TOTAL_CENTS, Handshake, member
from tests.core.market import person
from tests.core.test_kill_points import die_everywhere
from tests.flows import invariants

THREADS = 8


@pytest.fixture
def crowd(new_database: Callable[[], Any], now: Any) -> Iterator[Database]:
    with new_database() as url:
        made = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        yield made
        made.close()


@pytest.fixture
def shake(crowd: Database, now: Any) -> Handshake:
    with crowd.begin() as db:
        return Handshake(db, now)


def by(shake: Handshake, db: Db) -> Handshake:
    """The same two people, over this connection."""
    mine = copy(shake)
    mine.db = db
    return mine


def at_once(crowd: Database, shake: Handshake, *acts: Callable[[Handshake], Any]) -> Counter[Any]:
    def one(act: Callable[[Handshake], Any]) -> Any:
        with crowd.begin() as db:
            return act(by(shake, db))

    with ThreadPoolExecutor(THREADS) as threads:
        done = [threads.submit(one, act) for act in acts]
        return Counter(each.result(60) for each in done)


def settle(crowd: Database, shake: Handshake) -> dict[str, int]:
    """How many deals there are in which state, and orders; nothing is broken."""
    with crowd.begin() as db:
        assert invariants.broken(db, shake.now) == []
        found: dict[str, int] = db.value(
            "SELECT json_object_agg(state, n) FROM (SELECT state, count(*) AS n FROM deals GROUP BY"
            " state UNION ALL SELECT 'orders', count(*) FROM orders) AS counted"
        )
        return found


def opened(crowd: Database, shake: Handshake, **changes: Any) -> None:
    with crowd.begin() as db:
        shake.id = by(shake, db).opened(**changes)


def accept(shake: Handshake) -> str:
    return shake.accept()


def lapse(shake: Handshake) -> str:
    """By a clock that runs ahead of theirs."""
    return deals.lapse(shake.db, shake.id, shake.deal().answer_by)


@pytest.mark.parametrize("_again", range(3))
def test_a_deal_accepted_by_several_hops_at_once_is_one_order(
    crowd: Database, shake: Handshake, _again: int
) -> None:
    opened(crowd, shake)
    assert at_once(crowd, shake, *[accept] * THREADS) == {"asked": 1, "not_open": THREADS - 1}
    assert settle(crowd, shake) == {"accepted": 1, "orders": 1}
    with crowd.begin() as db:
        assert db.value("SELECT count(*) FROM charges") == 1


@pytest.mark.parametrize("_again", range(3))
@pytest.mark.parametrize(
    ("other", "done", "state"),
    [
        (Handshake.withdraw, "withdrawn", "withdrawn"),
        (Handshake.decline, "declined", "declined"),
        (lapse, "lapsed", "lapsed"),
    ],
)
def test_of_two_that_end_it_at_once_one_does(
    crowd: Database, shake: Handshake, other: Any, done: str, state: str, _again: int
) -> None:
    opened(crowd, shake)
    ended = at_once(crowd, shake, *[accept, other] * (THREADS // 2))
    assert ended["not_open"] == THREADS - 1
    agreed = ended["asked"] == 1
    assert ended[done] == (not agreed)
    assert settle(crowd, shake) == {"accepted" if agreed else state: 1, "orders": int(agreed)}


def test_the_same_deal_opened_at_once_is_one(crowd: Database, shake: Handshake) -> None:
    assert len(at_once(crowd, shake, *[Handshake.open] * THREADS)) == 1
    assert settle(crowd, shake) == {"open": 1, "orders": 0}


def test_many_opened_at_once_are_no_more_than_may_be(crowd: Database, shake: Handshake) -> None:
    acts = [lambda s, n=n: s.open(title=f"Chair no {n}") for n in range(THREADS)]
    opened = at_once(crowd, shake, *acts)
    assert opened.pop("too_many") == THREADS - deals.OPEN_MAX
    assert settle(crowd, shake) == {"open": deals.OPEN_MAX, "orders": 0}


def test_a_stranger_invited_by_many_at_once_is_told_of_a_few(
    crowd: Database, shake: Handshake
) -> None:
    ids: list[UUID] = []
    with crowd.begin() as db:
        for number in range(THREADS):
            opener = member(db, person(db, shake.now, 50 + number, "Pest"))
            ids.append(by(shake, db).opened(by=opener, msisdn="+254711000004"))
    invited = at_once(crowd, shake, *[lambda s, i=i: deals.invite(s.db, i, s.now) for i in ids])
    few = deals.INVITATIONS_A_DAY_STRANGER_MAX
    assert invited == {"invited": few, "enough": THREADS - few}


class Tale:
    """What becomes of deals, one transaction after the other."""

    def __init__(self, shake: Handshake) -> None:
        self.shake = shake

    def chapters(self) -> list[Callable[[Db], object]]:
        return [
            *(self.open, self.invite, self.accept, self.pay, self.dispatch, self.enter),
            *(self.open, self.invite, self.decline),
            *(self.open, self.invite, self.withdraw),
            *(self.open, self.invite, self.remind, self.lapse),
        ]

    def open(self, db: Db) -> None:
        self.shake.id = by(self.shake, db).opened("seller")

    def invite(self, db: Db) -> None:
        assert deals.invite(db, self.shake.id, self.shake.now) == "invited"

    def accept(self, db: Db) -> None:
        assert by(self.shake, db).accept() == "asked"

    def pay(self, db: Db) -> None:
        assert by(self.shake, db).pay() == "paid"

    def dispatch(self, db: Db) -> None:
        assert by(self.shake, db).dispatch() == "dispatched"

    def enter(self, db: Db) -> None:
        assert by(self.shake, db).enter() == "released"

    def decline(self, db: Db) -> None:
        assert by(self.shake, db).decline() == "declined"

    def withdraw(self, db: Db) -> None:
        assert by(self.shake, db).withdraw() == "withdrawn"

    def remind(self, db: Db) -> None:
        soon = by(self.shake, db).deal().answer_by - timedelta(minutes=1)
        assert deals.remind(db, self.shake.id, soon) == "reminded"

    def lapse(self, db: Db) -> None:
        late = by(self.shake, db).deal().answer_by
        assert deals.lapse(db, self.shake.id, late) == "lapsed"


def test_a_death_at_any_statement_leaves_no_half_of_a_deal(
    crowd: Database, shake: Handshake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert die_everywhere(crowd, Tale(shake).chapters(), monkeypatch) > 100
    assert settle(crowd, shake) == {
        "accepted": 1,
        "declined": 1,
        "withdrawn": 1,
        "lapsed": 1,
        "orders": 1,
    }
    with crowd.begin() as db:
        mine = by(shake, db)
        mine.id = db.value("SELECT id FROM deals WHERE state = 'accepted'")
        assert mine.purses() == (0, 0, NET_CENTS, FEE_CENTS)
        assert NET_CENTS + FEE_CENTS == TOTAL_CENTS
        told = db.value(
            "SELECT json_object_agg(trigger, n) FROM (SELECT trigger, count(*) AS n FROM messages"
            " WHERE trigger LIKE 'deal%%' GROUP BY trigger) AS counted"
        )
        assert told == {
            "deal_to_buy": 4,
            "deal_placed": 2,
            "deal_declined": 1,
            "deal_withdrawn": 1,
            "deal_reminder": 1,
            "deal_lapsed": 1,
        }
