# ruff: noqa: N802 - F1 to F24 are names
"""Races: real transactions at the same moment, over real connections."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import (
    carts,
    catalogue,
    charges,
    checkouts,
    deliveries,
    disputes,
    ledger,
    order_book,
    orders,
    outbox,
    settlements,
    stock,
)
from core.charges import PushAnswer
from core.database import Database
from core.rules import Rules
from tests.core.market import (
    PRICE_CENTS,
    RULES,
    TOTAL_CENTS,
    Market,
    Purchase,
    c2b,
    failed,
    msisdn,
    open_market,
    order_of,
    paid,
    person,
    purchase,
    pushed,
    settled,
)

THREADS = 20
BUYERS, UNITS, ROUNDS = 50, 5, 4
PATIENT = Rules(token_key=b"k", open_checkouts_max=ROUNDS)


@pytest.fixture
def crowd(new_database: Callable[[], Any], now: datetime) -> Iterator[Database]:
    """A database with a connection for each of many threads."""
    with new_database() as url:
        made = Database(url, clock=lambda: now, random=random.Random(1), size=THREADS)
        yield made
        made.close()


@pytest.fixture
def market(crowd: Database, now: datetime) -> Market:
    with crowd.begin() as db:
        return open_market(db, now, on_hand_milli=0)


def at_once(verbs: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as threads:
        return [done.result(60) for done in [threads.submit(verb) for verb in verbs]]


def test_fifty_buyers_share_five_units_and_no_more(
    crowd: Database, market: Market, now: datetime
) -> None:
    with crowd.begin() as db:
        buyers = [person(db, now, 100 + number) for number in range(BUYERS)]

    def buy(round_: int, number: int) -> str:
        payer = msisdn(1000 * round_ + number)
        with crowd.begin() as db:
            return checkouts.place(db, buyers[number], payer, PRICE_CENTS, PATIENT, now)

    for round_ in range(1, ROUNDS + 1):
        with crowd.begin() as db:
            stock.receive(db, market.tomatoes, UNITS * 1000, "five more", now)
            for buyer in buyers:
                assert carts.add(db, buyer, market.tomatoes, 1000, None, now) == "added"
        outcomes = Counter(
            at_once([lambda r=round_, n=n: buy(r, n) for n in range(BUYERS)])  # type: ignore[misc]
        )
        assert outcomes == {"placed": UNITS, "sold_out": BUYERS - UNITS}
        with crowd.begin() as db:
            assert stock.available(db, [market.tomatoes], now) == {market.tomatoes: 0}


@pytest.fixture
def bought(crowd: Database, market: Market, now: datetime) -> Purchase:
    with crowd.begin() as db:
        for offer in (market.tomatoes, market.beans):
            stock.receive(db, offer, 10_000, "opening", now)
        return purchase(db, market, now)


def test_of_many_workers_one_may_push(crowd: Database, bought: Purchase, now: datetime) -> None:
    def claim() -> bool:
        with crowd.begin() as db:
            return charges.claim_for_push(db, bought.charge_id, RULES, now) is not None

    assert Counter(at_once([claim] * THREADS)) == {True: 1, False: THREADS - 1}


def test_F2_the_same_success_from_many_sides_at_once_pays_once(
    crowd: Database, bought: Purchase, now: datetime
) -> None:
    with crowd.begin() as db:
        pushed(db, bought, now)

    def callback() -> str:
        with crowd.begin() as db:
            return settlements.settle(db, bought.charge_id, paid(bought), now)

    def confirmation() -> str:
        with crowd.begin() as db:
            return settlements.receive(db, c2b(bought.reference, now), now)

    outcomes = Counter(at_once([callback, confirmation] * 8))
    assert outcomes["paid"] + outcomes["captured"] == 1
    assert outcomes["already_settled"] + outcomes["repeat"] == 15
    with crowd.begin() as db:
        assert ledger.balance(db, ledger.C2B) == TOTAL_CENTS


def test_callbacks_settled_at_once_by_many_workers_pay_once_and_lock_nobody_up(
    crowd: Database, market: Market, now: datetime
) -> None:
    """Of the same two offers, in every order, beside workers who take them one by one."""
    with crowd.begin() as db:
        for offer_id in (market.tomatoes, market.beans):
            stock.receive(db, offer_id, 100_000, "enough", now)
        bought = [
            pushed(
                db,
                purchase(db, market, now, buyer=person(db, now, n), payer=msisdn(n)),
                now,
                push=str(n),
            )
            for n in range(100, 112)
        ]
    results = [(each.charge_id, paid(each, f"R{each.reference}")) for each in bought]
    shuffled = [random.Random(number).sample(results, len(results)) for number in range(9)]

    def together(told: list[Any]) -> int:
        with crowd.begin() as db:
            return len(settlements.settle_plain(db, dict(told), now))

    def one_by_one(told: list[Any]) -> int:
        paid_here = 0
        for charge_id, result in told:
            with crowd.begin() as db:
                paid_here += settlements.settle(db, charge_id, result, now) == "paid"
        return paid_here

    halves = [(together, told[::2]) for told in shuffled[:6]]
    verbs = [*halves, *((one_by_one, told) for told in shuffled[6:])]
    done = at_once([lambda verb=verb, told=told: verb(told) for verb, told in verbs])  # type: ignore[misc]
    assert sum(done) == len(bought)
    with crowd.begin() as db:
        assert ledger.balance(db, ledger.C2B) == TOTAL_CENTS * len(bought)
        assert (ledger.unbalanced_transfers(db), ledger.stale_balances(db)) == (0, 0)
        assert db.value("SELECT count(*) FROM incidents") == 0


def test_F3_a_callback_while_the_ack_is_being_recorded_waits_for_it(
    crowd: Database, bought: Purchase, now: datetime
) -> None:
    def callback() -> str:
        with crowd.begin() as db:
            return settlements.settle(db, bought.charge_id, paid(bought), now)

    with ThreadPoolExecutor(1) as other:
        with crowd.begin() as db:
            assert charges.claim_for_push(db, bought.charge_id, RULES, now) is not None
            told = other.submit(callback)
            while not _somebody_waits(crowd):
                assert not told.done()
            charges.record_push(db, bought.charge_id, PushAnswer("accepted", "ws_CO_1"), now)
        assert told.result(60) == "paid"


def _somebody_waits(crowd: Database) -> bool:
    with crowd.begin() as db:
        return bool(db.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))


def test_one_phone_is_asked_for_one_of_many_carts_at_once(
    crowd: Database, market: Market, now: datetime
) -> None:
    with crowd.begin() as db:
        stock.receive(db, market.tomatoes, 100_000, "plenty", now)
        buyers = [person(db, now, 100 + number) for number in range(8)]
        for buyer in buyers:
            carts.add(db, buyer, market.tomatoes, 1000, None, now)

    def buy(buyer: UUID) -> str:
        with crowd.begin() as db:
            return checkouts.place(db, buyer, msisdn(1), PRICE_CENTS, RULES, now)

    outcomes = at_once([lambda buyer=buyer: buy(buyer) for buyer in buyers])  # type: ignore[misc]
    assert Counter(outcomes) == {"placed": 1, "payment_open": 7}


def test_unexplained_money_told_of_twice_at_once_is_booked_once(
    crowd: Database, market: Market, now: datetime
) -> None:
    def confirmation() -> str:
        with crowd.begin() as db:
            return settlements.receive(db, c2b("NOBODY", now), now)

    assert Counter(at_once([confirmation] * 8)) == {"suspense": 1, "repeat": 7}
    with crowd.begin() as db:
        assert ledger.balance(db, ledger.SUSPENSE) == TOTAL_CENTS


@dataclass(frozen=True)
class Sent:
    """An order of KSh 500, fee KSh 13, sent, and its code."""

    id: UUID
    buyer: UUID
    seller: UUID
    code: str

    def enter(self, crowd: Database, code: str | None = None) -> str:
        with crowd.begin() as db:
            typed = code or self.code
            return deliveries.enter_code(db, self.id, self.seller, typed, RULES, db_now(crowd))

    def received(self, crowd: Database) -> str:
        with crowd.begin() as db:
            return deliveries.received(db, self.id, self.buyer, db_now(crowd))

    def cancel(self, crowd: Database) -> str:
        with crowd.begin() as db:
            return deliveries.cancel(db, self.id, self.buyer, db_now(crowd))

    def dispatch(self, crowd: Database) -> str:
        with crowd.begin() as db:
            return deliveries.dispatch(db, self.id, self.seller, db_now(crowd))

    def complain(self, crowd: Database) -> str:
        with crowd.begin() as db:
            return disputes.open(db, self.id, self.buyer, "rotten", None, db_now(crowd))

    def inspection_over(self, crowd: Database) -> str:
        with crowd.begin() as db:
            return deliveries.inspection_over(db, self.id, db_now(crowd) + timedelta(days=2))

    def dispatch_missed(self, crowd: Database) -> str:
        with crowd.begin() as db:
            return deliveries.dispatch_missed(db, self.id, db_now(crowd) + timedelta(days=3))

    def purses(self, crowd: Database) -> tuple[int, int, int]:
        """Escrow, buyer, seller."""
        with crowd.begin() as db:
            return (
                ledger.balance(db, ledger.escrow(self.id)),
                ledger.balance(db, ledger.buyer(self.buyer)),
                ledger.balance(db, ledger.seller(self.seller)),
            )


def db_now(crowd: Database) -> datetime:
    return crowd.clock()


RELEASED, REFUNDED, HELD = (0, 0, 48_700), (0, 50_000, 0), (50_000, 0, 0)


@pytest.fixture
def accepted(crowd: Database, market: Market, bought: Purchase, now: datetime) -> Sent:
    with crowd.begin() as db:
        order = order_of(db, settled(db, bought, now), market.wanjiku)
        assert deliveries.accept(db, order.id, order.seller_id, now) == "accepted"
        code = deliveries.code_of(db, order.id, RULES)
    assert code is not None
    return Sent(order.id, order.buyer_id, order.seller_id, code)


@pytest.fixture
def sent(crowd: Database, accepted: Sent) -> Sent:
    assert accepted.dispatch(crowd) == "dispatched"
    return accepted


def test_a_code_entered_twice_at_once_releases_once(crowd: Database, sent: Sent) -> None:
    outcomes = Counter(at_once([lambda: sent.enter(crowd)] * 8))
    assert outcomes == {"released": 1, "not_open": 7}
    assert sent.purses(crowd) == RELEASED


def test_codes_guessed_at_once_are_counted_one_by_one(crowd: Database, sent: Sent) -> None:
    wrong = f"{(int(sent.code) + 1) % 10_000:04}"
    outcomes = Counter(at_once([lambda: sent.enter(crowd, wrong)] * 12))
    assert outcomes == {"wrong_code": 4, "code_locked": 8}


def test_a_code_and_the_buyers_word_at_once_release_once(crowd: Database, sent: Sent) -> None:
    verbs = [lambda: sent.enter(crowd), lambda: sent.received(crowd)] * 4
    assert Counter(at_once(verbs)) == {"released": 1, "not_open": 7}
    assert sent.purses(crowd) == RELEASED


def test_a_code_while_the_inspection_ends_releases_once(
    crowd: Database, sent: Sent, now: datetime
) -> None:
    with crowd.begin() as db:
        assert deliveries.claim(db, sent.id, sent.seller, now) == "claimed"
    verbs = [lambda: sent.inspection_over(crowd), lambda: sent.enter(crowd)] * 4
    assert Counter(at_once(verbs)) == {"released": 1, "not_open": 7}
    assert sent.purses(crowd) == RELEASED


def test_a_complaint_made_twice_at_once_is_one(crowd: Database, sent: Sent) -> None:
    outcomes = Counter(at_once([lambda: sent.complain(crowd)] * 8))
    assert outcomes == {"opened": 1, "already_open": 7}
    assert sent.purses(crowd) == HELD


@pytest.mark.parametrize("release", [Sent.enter, Sent.received, Sent.inspection_over])
@pytest.mark.parametrize("first", ["complaint", "release"])
def test_a_complaint_and_a_release_at_once_have_one_winner(
    crowd: Database, sent: Sent, now: datetime, release: Callable[..., str], first: str
) -> None:
    """I8: either the money is the seller's and it is too late, or it is frozen and stays."""
    with crowd.begin() as db:
        assert deliveries.claim(db, sent.id, sent.seller, now) == "claimed"
    verbs: list[Callable[[], str]] = [lambda: sent.complain(crowd), lambda: release(sent, crowd)]
    if first == "release":
        verbs.reverse()
    outcomes = Counter(at_once(verbs * 4))
    assert outcomes["opened"] + outcomes["released"] == 1
    if outcomes["opened"]:
        assert sent.purses(crowd) == HELD
        assert outcomes["already_open"] == 3
        assert outcomes["frozen"] + outcomes["not_open"] == 4
    else:
        assert sent.purses(crowd) == RELEASED
        assert outcomes["too_late"] == 4


def test_a_code_against_a_cancellation_has_one_winner(crowd: Database, accepted: Sent) -> None:
    """Sent and cancelled at once: either the goods go and the code pays, or the money is back."""

    def send_and_enter() -> str:
        accepted.dispatch(crowd)
        return accepted.enter(crowd)

    verbs = [lambda: accepted.cancel(crowd), send_and_enter] * 4
    outcomes = Counter(at_once(verbs))
    assert outcomes["released"] + outcomes["cancelled"] == 1
    assert accepted.purses(crowd) == (RELEASED if outcomes["released"] else REFUNDED)


def test_an_order_is_sent_or_missed_and_never_both(crowd: Database, accepted: Sent) -> None:
    verbs = [lambda: accepted.dispatch_missed(crowd), lambda: accepted.dispatch(crowd)] * 4
    outcomes = Counter(at_once(verbs))
    assert outcomes["dispatched"] + outcomes["cancelled"] == 1
    with crowd.begin() as db:
        on_hand = db.value(
            "SELECT sum(on_hand_milli)::bigint FROM stock s JOIN reservations r USING (offer_id)"
            " WHERE r.order_id = %s",
            [accepted.id],
        )
    assert on_hand == (8_000 if outcomes["dispatched"] else 10_000)


def test_goods_counted_out_at_once_never_take_what_is_promised(
    crowd: Database, market: Market, bought: Purchase, now: datetime
) -> None:
    def spoil() -> str:
        with crowd.begin() as db:
            return stock.count_out(db, market.tomatoes, 1000, "spoilt", now)

    assert Counter(at_once([spoil] * 12)) == {"taken": 8, "not_enough": 4}


def test_a_busy_market_never_locks_itself_up(
    crowd: Database, market: Market, now: datetime
) -> None:
    """Carts of the same two offers in both orders, paid, failed, cancelled, expired and repeated
    by many hands: everybody gets an answer, and the books balance."""
    dice = random.Random(7042)
    with crowd.begin() as db:
        for offer in (market.tomatoes, market.beans):
            stock.receive(db, offer, 40_000, "plenty", now)
        buyers = [person(db, now, 100 + number) for number in range(24)]
    late = now + timedelta(minutes=16)

    def shop(number: int) -> UUID:
        offers = [market.tomatoes, market.beans]
        with crowd.begin() as db:
            for offer in offers if number % 2 else reversed(offers):
                carts.add(db, buyers[number], offer, 1000, None, now)
            total = carts.read(db, buyers[number], "en").total_cents
        with crowd.begin() as db:
            payer = msisdn(number)
            placed = checkouts.place(db, buyers[number], payer, total, RULES, now)
            assert placed == "placed"
            return order_book.of_buyer(db, buyers[number], 1)[0].checkout_id

    def deliver(checkout_id: UUID, kind: str) -> None:
        with crowd.begin() as db:
            sold = orders.lock(db, checkout_id)
        for order in sold:
            if kind == "complain":
                with crowd.begin() as db:
                    disputes.open(db, order.id, order.buyer_id, "less", None, now)
                continue
            by = order.buyer_id if kind in {"received", "cancel"} else order.seller_id
            with crowd.begin() as db:
                getattr(deliveries, kind)(db, order.id, by, now)

    def step(checkout_id: UUID, buyer: UUID, kind: str) -> None:
        if kind.startswith("order: "):
            deliver(checkout_id, kind.removeprefix("order: "))
            return
        with crowd.begin() as db:
            (charge,) = charges.of_checkout(db, checkout_id)
            known = Purchase(
                checkout_id, charge.id, buyer, charge.msisdn, charge.amount_cents, charge.reference
            )
            receipt = f"R{charge.reference}"
            match kind:
                case "push":
                    if charges.claim_for_push(db, charge.id, RULES, now):
                        answer = PushAnswer("accepted", f"ws_CO_{charge.reference}")
                        charges.record_push(db, charge.id, answer, now)
                case "paid":
                    settlements.settle(db, charge.id, paid(known, receipt), now)
                case "failed":
                    settlements.settle(db, charge.id, failed(), now)
                case "c2b":
                    line = c2b(charge.reference, now, receipt, charge.amount_cents)
                    settlements.receive(db, line, now)
                case "expire":
                    checkouts.expire(db, checkout_id, late)
                case "cancel":
                    checkouts.cancel(db, checkout_id, buyer, now)
                case "review":
                    charges.query_due(db, charge.id, late)
                    charges.review(db, charge.id, late)
                case "relay":
                    for item in outbox.take_due(db, late, 5):
                        outbox.done(db, item.id, late)

    placed = at_once([lambda n=n: shop(n) for n in range(len(buyers))])  # type: ignore[misc]
    kinds = ["push", "paid", "failed", "c2b", "expire", "cancel", "review", "relay"]
    of_orders = ["accept", "accept", "dispatch", "claim", "refuse", "received", "cancel"]
    of_orders += ["complain"]
    kinds += [f"order: {verb}" for verb in of_orders]
    steps = [
        (checkout_id, buyer, kind)
        for checkout_id, buyer in zip(placed, buyers, strict=True)
        for kind in dice.choices(kinds, k=12)
    ]
    dice.shuffle(steps)
    at_once([lambda given=given: step(*given) for given in steps])  # type: ignore[misc]
    with crowd.begin() as db:
        books = ledger.report(db)
    assert books["balanced"]
    assert books["cached_equal_fold"]


@pytest.fixture
def lorry(crowd: Database, market: Market, now: datetime) -> Purchase:
    """A basket of KSh 400,000: its first part is asked for, KSh 150,000 are to follow."""
    price_cents = 2 * charges.AMOUNT_CENTS_MAX // 10
    with crowd.begin() as db:
        stock.receive(db, market.tomatoes, 10_000, "opening", now)
        catalogue.set_price(db, market.tomatoes, price_cents, now)
        carts.add(db, market.buyer, market.tomatoes, 8_000, None, now)
        total_cents = 8 * price_cents
        placed = checkouts.place(db, market.buyer, msisdn(1), total_cents, RULES, now)
        assert placed == "placed"
        checkout_id = order_book.of_buyer(db, market.buyer, 1)[0].checkout_id
        (first,) = charges.of_checkout(db, checkout_id)
        bought = Purchase(
            checkout_id, first.id, market.buyer, msisdn(1), first.amount_cents, first.reference
        )
        return pushed(db, bought, now)


def test_a_part_paid_by_hand_and_by_its_prompt_at_once_fills_the_escrow_once(
    crowd: Database, lorry: Purchase, now: datetime
) -> None:
    """Each is KSh 250,000, so both together are more than the whole."""

    def callback() -> str:
        with crowd.begin() as db:
            return settlements.settle(db, lorry.charge_id, paid(lorry), now)

    def by_hand() -> str:
        with crowd.begin() as db:
            line = c2b(lorry.reference, now, "HAND000001", lorry.total_cents)
            return settlements.receive(db, line, now)

    outcomes = at_once([callback, by_hand] * 6)
    assert len({"paid", "captured", "over"} & set(outcomes)) == 1
    with crowd.begin() as db:
        held = {each.kind: each.balance_cents for each in ledger.trial_balance(db)}
        assert db.value("SELECT count(*) FROM transfers WHERE kind = 'capture'") == 1
    assert held == {
        "A.c2b": 50_000_000,
        "L.buyer": 10_000_000,
        "L.escrow": 40_000_000,
    }


def test_the_next_part_is_asked_for_once_however_many_workers_come(
    crowd: Database, lorry: Purchase, now: datetime
) -> None:
    with crowd.begin() as db:
        assert settlements.settle(db, lorry.charge_id, paid(lorry), now) == "part"
    later = now + timedelta(minutes=2, seconds=1)

    def ask() -> str:
        with crowd.begin() as db:
            return checkouts.ask_next(db, lorry.charge_id, RULES, later)

    outcomes = Counter(at_once([ask] * 12))
    assert outcomes == {"asked": 1, "payment_open": 11}
    with crowd.begin() as db:
        first, second = charges.of_checkout(db, lorry.checkout_id)
    assert (first.state, second.amount_cents) == ("paid", 15_000_000)


def test_two_baskets_of_one_buyer_never_spend_one_part_twice(
    crowd: Database, lorry: Purchase, market: Market, now: datetime
) -> None:
    """The part that waits for the one may pay the other, whole; then the one lacks it."""
    with crowd.begin() as db:
        assert settlements.settle(db, lorry.charge_id, paid(lorry), now) == "part"
        stock.receive(db, market.beans, 10_000, "opening", now)
        carts.add(db, market.buyer, market.beans, 1_500, None, now)
        placed = checkouts.place(db, market.buyer, msisdn(2), 18_100, RULES, now)
        assert placed == "placed"
        (line, *_) = order_book.of_buyer(db, market.buyer, 1)
        (other,) = charges.of_checkout(db, line.checkout_id)

    def short() -> str:
        with crowd.begin() as db:
            return settlements.receive(db, c2b(other.reference, now, "SHORT00001", 10_000), now)

    def rest() -> str:
        with crowd.begin() as db:
            return settlements.receive(db, c2b(lorry.reference, now, "REST000001", 15_000_000), now)

    at_once([short, rest] * 4)
    with crowd.begin() as db:
        books = ledger.report(db)
        left_cents = ledger.balance(db, ledger.buyer(market.buyer))
    assert books["balanced"]
    assert books["cached_equal_fold"]
    came_cents = lorry.total_cents + 15_000_000 + 10_000
    assert books["accounts"]["A.c2b"] == came_cents
    assert books["accounts"]["L.escrow"] + left_cents == came_cents
