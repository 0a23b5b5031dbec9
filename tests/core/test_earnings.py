"""Earnings: a seller is paid by what she sold, at once and once, or when she asks."""

from datetime import datetime, timedelta

import pytest

from core import deliveries, earnings, freezes, ledger, outbox, payouts
from core.database import Db
from tests.core.market import Market, Purchase, open_market, order_of, purchase, settled
from tests.core.purse import RULES, Purse

HOUR = timedelta(hours=1)
SOLD_CENTS = 50_000  # Wanjiku's share of the purchase


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


def pay(purse: Purse) -> str:
    return earnings.pay(purse.db, purse.member, RULES, purse.now)


def sent(purse: Purse) -> list[tuple[str, int, str]]:
    found = payouts.of_member(purse.db, purse.member, 10)
    return [(payout.kind, payout.amount_cents, payout.requested_by) for payout in reversed(found)]


def wanted(db: Db, now: datetime) -> list[object]:
    """Whose earnings are to be paid now."""
    due = outbox.take_due(db, now, 1000)
    return [item.arguments["member_id"] for item in due if item.kind == "pay_earnings"]


def delivered(db: Db, market: Market, bought: Purchase, now: datetime) -> None:
    order = order_of(db, bought, market.wanjiku)
    assert deliveries.accept(db, order.id, market.wanjiku, now) == "accepted"
    assert deliveries.dispatch(db, order.id, market.wanjiku, now) == "dispatched"
    assert deliveries.received(db, order.id, market.buyer, now) == "released"


def test_a_release_pays_its_seller_and_nobody_else(db: Db, now: datetime) -> None:
    market = open_market(db, now)
    bought = settled(db, purchase(db, market, now), now)
    assert wanted(db, now) == []
    delivered(db, market, bought, now)
    assert wanted(db, now) == [str(market.wanjiku)]
    net_cents = ledger.balance(db, ledger.seller(market.wanjiku))
    assert 0 < net_cents < SOLD_CENTS
    assert earnings.pay(db, market.wanjiku, RULES, now) == "sent"
    (payout,) = payouts.of_member(db, market.wanjiku, 10)
    assert (payout.amount_cents, payout.state) == (net_cents - net_cents % 100, "approved")
    assert ledger.balance(db, ledger.seller(market.wanjiku)) == net_cents % 100


def test_asked_twice_it_is_sent_once(purse: Purse) -> None:
    assert [pay(purse), pay(purse)] == ["sent", "too_small"]
    assert sent(purse) == [("withdrawal", 5_000_000, payouts.SYSTEM)]


def test_what_mpesa_does_not_send_waits_for_more(db: Db, now: datetime) -> None:
    purse = Purse(db, now)
    purse.ask(4_999_100)
    assert pay(purse) == "too_small"
    purse.move("another sale", ledger.C2B, purse.seller, 150)
    assert pay(purse) == "sent"
    assert sent(purse)[-1] == ("withdrawal", 1_000, payouts.SYSTEM)
    assert ledger.balance(db, purse.seller) == 50


def test_what_she_earned_waits_where_her_number_is_none_that_mpesa_knows(purse: Purse) -> None:
    purse.db.run("UPDATE members SET msisdn = '+256772123456' WHERE id = %s", [purse.member])
    assert (pay(purse), sent(purse)) == ("kept", [])
    assert ledger.balance(purse.db, purse.seller) == 5_000_000


def test_who_keeps_it_here_is_paid_when_she_asks(purse: Purse) -> None:
    earnings.choose(purse.db, purse.member, False, purse.now)
    assert not earnings.at_once(purse.db, purse.member)
    assert (pay(purse), sent(purse)) == ("kept", [])
    assert wanted(purse.db, purse.now) == []
    earnings.choose(purse.db, purse.member, True, purse.now)
    assert wanted(purse.db, purse.now) == [str(purse.member)]
    assert pay(purse) == "sent"


@pytest.mark.parametrize("language", ["en", "sw"])
def test_what_a_person_looks_at_first_is_told_of(purse: Purse, language: str) -> None:
    """The sale itself was told of as money that goes to M-Pesa; she need not wonder for a day."""
    purse.db.run("UPDATE members SET language = %s WHERE id = %s", [language, purse.member])
    assert pay(purse) == "sent"
    (text,) = purse.told()
    assert "KSh 50,000" in text
    assert {"en": "one of us looks first", "sw": "mtu wetu atakagua"}[language] in text


def test_what_goes_within_minutes_is_told_of_when_it_is_there(purse: Purse) -> None:
    purse.ask(4_900_000, requested_by="olive")
    assert (pay(purse), purse.told()) == ("sent", [])


def test_a_frozen_seller_is_paid_once_it_is_lifted(purse: Purse) -> None:
    freezes.freeze(purse.db, purse.member, "lost phone", "asha", purse.now)
    assert (pay(purse), sent(purse)) == ("frozen", [])
    assert freezes.lift(purse.db, purse.member, "baraka", purse.now) == "lifted"
    assert wanted(purse.db, purse.now) == [str(purse.member)]
    assert pay(purse) == "sent"


def test_nothing_leaves_while_money_is_missing_and_it_is_tried_again(purse: Purse) -> None:
    purse.move("a hole", ledger.LOSS, ledger.C2B, 200_000_000)
    assert (pay(purse), sent(purse)) == ("insolvent", [])
    assert wanted(purse.db, purse.now) == []
    assert wanted(purse.db, purse.now + HOUR) == [str(purse.member)]


def test_what_could_not_be_sent_waits_for_the_next_sale(purse: Purse) -> None:
    assert pay(purse) == "sent"
    (payout,) = payouts.of_member(purse.db, purse.member, 10)
    assert payouts.approve(purse.db, payout.id, "asha", purse.now) == "approved"
    assert purse.claim(payout.id) is not None
    assert purse.settle(payout.id, purse.failed(payout.id)) == "failed"
    assert wanted(purse.db, purse.now) == []
    assert ledger.balance(purse.db, purse.seller) == 5_000_000
