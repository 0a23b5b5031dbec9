"""Shortages raced: buyer, seller and the clock at the same moment, over real connections."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import deliveries, disputes, ledger, shortages
from core.database import Database, Db
from core.stock import AVAILABLE_MILLI
from tests.core.deal import HELD, REFUNDED, Deal
from tests.core.market import RULES
from tests.core.parts import WRONG_ESCROWS, WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS

THREADS = 12
HALF_HELD = (25_000, 25_000, 0, 0)
HALF_RELEASED = (0, 25_000, 24_300, 700)
Verb = Callable[[Db, Deal], str]


@dataclass
class Counterpart:
    """Both sides of a deal of two units, each verb of theirs over a connection of its own."""

    database: Database
    deal: Deal
    code: str
    reduction_id: UUID | None = None

    def at_once(self, *verbs: Verb, times: int = 4) -> Counter[str]:
        def run(verb: Verb) -> str:
            with self.database.begin() as db:
                return verb(db, self.deal)

        with ThreadPoolExecutor(THREADS) as threads:
            running = [threads.submit(run, verb) for verb in verbs * times]
            return Counter(done.result(60) for done in running)

    def see(self) -> tuple[str, tuple[int, int, int, int], list[str]]:
        """The order's state, the purses, and how each reduction stands; all of it adds up."""
        with self.database.begin() as db:
            self.deal.db = db
            for wrong in (WRONG_ESCROWS, WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS):
                assert db.value(wrong) == 0, wrong
            overdrawn = f"SELECT count(*) FROM stock s WHERE {AVAILABLE_MILLI} < 0"
            assert db.value(overdrawn, {"now": self.deal.now}) == 0
            assert ledger.stale_balances(db) == 0
            assert ledger.unbalanced_transfers(db) == 0
            return self.deal.state(), self.deal.purses(), self.deal.ended()


def agree(db: Db, deal: Deal) -> str:
    """By both, of whom one is to."""
    by_buyer = shortages.agree(db, deal.id, deal.buyer, deal.now)
    return by_buyer if by_buyer == "agreed" else shortages.agree(db, deal.id, deal.seller, deal.now)


def decline(db: Db, deal: Deal) -> str:
    by_buyer = shortages.decline(db, deal.id, deal.buyer, deal.now)
    if by_buyer == "declined":
        return by_buyer
    return shortages.decline(db, deal.id, deal.seller, deal.now)


def take_back(db: Db, deal: Deal) -> str:
    by_buyer = shortages.take_back(db, deal.id, deal.buyer, deal.now)
    if by_buyer == "taken_back":
        return by_buyer
    return shortages.take_back(db, deal.id, deal.seller, deal.now)


def offer_less(db: Db, deal: Deal) -> str:
    line_id = db.value("SELECT id FROM lines WHERE order_id = %s", [deal.id])
    return shortages.offer_less(db, deal.id, deal.seller, line_id, 1_000, False, deal.now)


def say_less_came(db: Db, deal: Deal) -> str:
    line_id = db.value("SELECT id FROM lines WHERE order_id = %s", [deal.id])
    return shortages.say_less_came(db, deal.id, deal.buyer, line_id, 1_000, deal.now)


def send_part(db: Db, deal: Deal) -> str:
    line_id = db.value("SELECT id FROM lines WHERE order_id = %s", [deal.id])
    return deliveries.dispatch_part(db, deal.id, deal.seller, {line_id: 1_000}, deal.now)


def dispatch(db: Db, deal: Deal) -> str:
    return deliveries.dispatch(db, deal.id, deal.seller, deal.now)


def cancel(db: Db, deal: Deal) -> str:
    return deliveries.cancel(db, deal.id, deal.buyer, deal.now)


def received(db: Db, deal: Deal) -> str:
    return deliveries.received(db, deal.id, deal.buyer, deal.now)


def complain(db: Db, deal: Deal) -> str:
    return disputes.open(db, deal.id, deal.buyer, "less", None, deal.now)


@pytest.fixture
def crowd(new_database: Callable[[], Any], now: datetime) -> Iterator[Database]:
    with new_database() as url:
        made = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        yield made
        made.close()


@pytest.fixture
def deal_in(crowd: Database, now: datetime) -> Callable[..., Counterpart]:
    """A deal in this state; then the verb, if one, says that there is less."""

    def make(state: str, verb: Verb | None = None) -> Counterpart:
        with crowd.begin() as db:
            deal = Deal(db, now)
            deal.comes_to(state)
            both = Counterpart(crowd, deal, deal.code())
            if verb is not None:
                assert verb(db, deal) == "asked"
                found = deal.reduction()
                both.reduction_id = found.id if found else None
        return both

    return make


@pytest.mark.parametrize(
    ("state", "say"), [("accepted", offer_less), ("dispatched", say_less_came)]
)
def test_one_of_many_who_say_it_at_once_is_heard(
    deal_in: Callable[..., Counterpart], state: str, say: Verb
) -> None:
    both = deal_in(state)
    assert both.at_once(say, times=10) == {"asked": 1, "already_open": 9}
    assert both.see() == (state, HELD, ["open"])


@pytest.mark.parametrize(
    ("state", "say", "ends"),
    [("accepted", offer_less, HALF_HELD), ("dispatched", say_less_came, HALF_RELEASED)],
)
def test_one_answer_of_many_at_once_counts(
    deal_in: Callable[..., Counterpart], state: str, say: Verb, ends: Any
) -> None:
    both = deal_in(state, say)
    outcomes = both.at_once(agree, decline, take_back)
    won = {"agreed": 1, "declined": 1, "taken_back": 1}.keys() & outcomes
    assert len(won) == 1
    assert outcomes["not_open"] == 11
    _, purses, ended = both.see()
    if won == {"agreed"}:
        assert (purses, ended) == (ends, ["agreed"])
    elif won == {"declined"}:
        assert (purses, ended) == (REFUNDED if say is offer_less else HELD, ["declined"])
    else:
        assert (purses, ended) == (HELD, ["withdrawn"])


def test_an_agreement_and_a_cancellation_at_once_never_refund_twice(
    deal_in: Callable[..., Counterpart],
) -> None:
    both = deal_in("accepted", offer_less)
    outcomes = both.at_once(agree, cancel)
    state, purses, ended = both.see()
    assert (state, purses) == ("cancelled", REFUNDED)
    assert ended == ["agreed" if outcomes["agreed"] else "lapsed"]


def test_an_agreement_and_a_complaint_at_once_have_one_winner(
    deal_in: Callable[..., Counterpart],
) -> None:
    both = deal_in("dispatched", say_less_came)
    outcomes = both.at_once(agree, complain)
    assert outcomes["agreed"] + outcomes["opened"] == 1
    if outcomes["opened"]:
        assert both.see() == ("disputed", HELD, ["lapsed"])
    else:
        assert both.see() == ("completed", HALF_RELEASED, ["agreed"])


def test_the_clock_and_an_answer_at_once_have_one_winner(
    deal_in: Callable[..., Counterpart],
) -> None:
    both = deal_in("delivered", say_less_came)
    reduction_id = both.reduction_id
    assert reduction_id is not None
    late = both.deal.now + timedelta(hours=24)

    def run_out(db: Db, _deal: Deal) -> str:
        return shortages.run_out(db, reduction_id, late)

    def inspection_over(db: Db, deal: Deal) -> str:
        return deliveries.inspection_over(db, deal.id, late)

    outcomes = both.at_once(run_out, inspection_over, agree)
    assert outcomes["agreed"] + outcomes["disputed"] == 1
    assert outcomes["released"] == 0
    if outcomes["disputed"]:
        assert both.see() == ("disputed", HELD, ["lapsed"])
    else:
        assert both.see() == ("completed", HALF_RELEASED, ["agreed"])


def test_who_says_that_less_came_while_the_code_is_typed_is_first_or_too_late(
    deal_in: Callable[..., Counterpart],
) -> None:
    both = deal_in("dispatched")

    def enter(db: Db, deal: Deal) -> str:
        return deliveries.enter_code(db, deal.id, deal.seller, both.code, RULES, deal.now)

    outcomes = both.at_once(say_less_came, enter, received)
    assert outcomes["asked"] + outcomes["released"] == 1
    state, purses, _ = both.see()
    assert (state, purses[0]) == (("dispatched", 50_000) if outcomes["asked"] else ("completed", 0))


def test_a_part_and_the_whole_at_once_leave_the_stock_once(
    deal_in: Callable[..., Counterpart],
) -> None:
    both = deal_in("accepted")
    outcomes = both.at_once(send_part, dispatch)
    assert outcomes == {"dispatched": 1, "not_open": 7}
    assert both.see()[:2] == ("dispatched", HELD)


def test_a_part_and_a_shortage_at_once_have_one_winner(
    deal_in: Callable[..., Counterpart],
) -> None:
    both = deal_in("accepted")
    outcomes = both.at_once(send_part, offer_less)
    assert outcomes["dispatched"] + outcomes["asked"] == 1
    assert both.see()[1] == HELD


def test_the_code_of_a_part_pays_for_it_once(deal_in: Callable[..., Counterpart]) -> None:
    both = deal_in("accepted")
    with both.database.begin() as db:
        assert send_part(db, both.deal) == "dispatched"

    def enter(db: Db, deal: Deal) -> str:
        return deliveries.enter_code(db, deal.id, deal.seller, both.code, RULES, deal.now)

    outcomes = both.at_once(enter, received)
    assert outcomes == {"released": 1, "not_open": 7}
    assert both.see()[:2] == ("accepted", (25_000, 0, 24_300, 700))
