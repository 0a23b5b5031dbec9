"""Deals: two people agree on something of their own, and it is an order like any other."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import (
    carts,
    checkouts,
    days,
    deals,
    deliveries,
    disputes,
    escrow,
    freezes,
    messages,
    opt_outs,
    order_book,
    orders,
    verdicts,
    wordings,
)
from core.database import Db
from core.errors import Invalid
from core.gsm import SEPTETS
from tests.core.handshake import (
    AGREED,
    DUE,
    FEE_CENTS,
    NET_CENTS,
    TOTAL_CENTS,
    Handshake,
    member,
)
from tests.core.market import fill_cart, open_market, person
from tests.core.office import WHY, hire
from tests.flows import invariants

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def shake(db: Db, now: datetime) -> Handshake:
    return Handshake(db, now)


def at(day: int, hour: int) -> datetime:
    """Of November, by the market's clock."""
    return datetime(2026, 11, day, hour, tzinfo=days.EAST_AFRICA_TIME).astimezone(UTC)


# Opened.


def test_a_deal_is_opened_and_the_other_is_told_how_to_answer(shake: Handshake) -> None:
    shake.opened("buyer")
    assert shake.told(shake.juma) == []
    shake.wait(shake.now)
    (text,) = shake.told(shake.juma, "deal_to_sell")
    assert text == (
        "Amina buys Samsung A12, used from you, KSh 8,500. Answer by 24/11 12:00:"
        f" SMS DEAL {shake.deal().number}, or dial {{dial}}."
    )
    assert [deal.id for deal in deals.waiting(shake.db, shake.juma, shake.now)] == [shake.id]
    assert deals.waiting(shake.db, shake.amina, shake.now) == []
    assert shake.told(shake.amina) == []


def test_a_buyer_who_is_invited_hears_who_sells(shake: Handshake) -> None:
    shake.db.run("UPDATE members SET language = 'sw' WHERE id = %s", [shake.juma.id])
    shake.opened("seller")
    shake.wait(shake.now)
    (text,) = shake.told(shake.juma, "deal_to_buy")
    assert text.startswith("Amina anakuuzia Samsung A12, used, KSh 8,500.")


def test_the_fee_is_the_one_that_stood_when_it_was_opened(shake: Handshake) -> None:
    shake.opened("seller")
    deal = shake.deal()
    assert (deal.fee_cents, deal.net_cents) == (FEE_CENTS, NET_CENTS)


def test_the_same_deal_opened_twice_is_one(shake: Handshake) -> None:
    assert shake.opened() == shake.opened()
    assert len(deals.opened_by(shake.db, shake.amina.id, 9)) == 1
    another = shake.opened(terms="Without its charger.")
    assert {deal.id for deal in deals.opened_by(shake.db, shake.amina.id, 9)} > {another}


def test_what_was_answered_may_be_opened_again(shake: Handshake) -> None:
    first = shake.opened()
    assert shake.decline() == "declined"
    assert shake.opened() != first


def test_nobody_deals_with_himself(shake: Handshake) -> None:
    assert shake.open(msisdn=shake.amina.msisdn) == "yourself"


def test_two_who_share_a_phone_may_deal_with_each_other(shake: Handshake, now: datetime) -> None:
    db = shake.db
    second = member(db, person(db, now, 3, "Njeri"))
    db.run("UPDATE members SET shares_phone = true WHERE id = %s", [shake.amina.id])
    db.run(
        "UPDATE members SET shares_phone = true, person = 2, msisdn = %s WHERE id = %s",
        [shake.amina.msisdn, second.id],
    )
    second = member(db, second.id)
    shake.opened("seller", msisdn=shake.amina.msisdn)
    assert shake.accept(shake.amina) == "not_yours"
    assert deals.waiting(db, shake.amina, now) == []
    assert [deal.id for deal in deals.waiting(db, second, now)] == [shake.id]
    assert shake.accept(second) == "asked"
    assert (shake.order().buyer_id, shake.order().seller_id) == (second.id, shake.amina.id)


@pytest.mark.parametrize("due_on", [date(2026, 11, 21), date(2026, 11, 1), date(2027, 1, 21)])
def test_it_is_due_on_a_day_to_come_and_not_too_far_off(shake: Handshake, due_on: date) -> None:
    assert shake.open(due_on=due_on) == "day_over"


def test_nobody_has_more_than_a_few_open_at_once(shake: Handshake) -> None:
    for number in range(deals.OPEN_MAX):
        shake.opened(title=f"Chair no {number}")
    assert deals.may_open(shake.db, shake.amina, shake.now) == "too_many"
    assert shake.open() == "too_many"
    assert shake.opened(title="Chair no 0") == deals.opened_by(shake.db, shake.amina.id, 9)[-1].id
    assert shake.withdraw() == "withdrawn"
    shake.opened()


def test_nobody_opens_and_withdraws_all_day(shake: Handshake) -> None:
    for number in range(deals.OPENED_A_DAY_MAX):
        shake.opened(title=f"Chair no {number}")
        assert shake.withdraw() == "withdrawn"
    assert shake.open() == "too_many"
    shake.now += DAY
    shake.opened()


def test_a_frozen_member_opens_nothing(shake: Handshake) -> None:
    freezes.freeze(shake.db, shake.amina.id, "lost", "olive", shake.now)
    assert deals.may_open(shake.db, shake.amina, shake.now) == "frozen"
    assert shake.open() == "frozen"


@pytest.mark.parametrize("frozen", ["amina", "juma"])
def test_while_one_of_them_is_frozen_nothing_is_agreed(shake: Handshake, frozen: str) -> None:
    shake.opened()
    freezes.freeze(shake.db, getattr(shake, frozen).id, "lost", "olive", shake.now)
    assert shake.accept() == "stuck"
    assert shake.deal().state == "open"


def test_with_one_who_has_left_nothing_is_agreed(shake: Handshake) -> None:
    shake.opened()
    shake.db.run("UPDATE members SET deleted_at = %s WHERE id = %s", [shake.now, shake.amina.id])
    assert shake.accept() == "stuck"


# Who is told, and how often.


def test_a_stranger_registers_and_finds_it_waiting(shake: Handshake, now: datetime) -> None:
    shake.opened(msisdn="+254711000004")
    shake.wait(now)
    assert shake.db.value("SELECT count(*) FROM messages WHERE msisdn = '+254711000004'") == 1
    stranger = member(shake.db, person(shake.db, now, 4, "Otis"))
    assert [deal.id for deal in deals.waiting(shake.db, stranger, now)] == [shake.id]
    assert shake.accept(stranger) == "asked"
    assert shake.order().seller_id == stranger.id


def test_who_gets_the_number_later_does_not_get_the_deal(shake: Handshake, now: datetime) -> None:
    shake.opened()
    shake.db.run("UPDATE members SET deleted_at = %s WHERE id = %s", [now, shake.juma.id])
    heir = person(shake.db, now, 6, "Heir")
    shake.db.run("UPDATE members SET msisdn = %s WHERE id = %s", [shake.juma.msisdn, heir])
    heir = member(shake.db, heir)
    assert deals.waiting(shake.db, heir, now) == []
    assert shake.accept(heir) == "not_yours"


def test_a_stranger_is_not_flooded_by_however_many_openers(shake: Handshake, now: datetime) -> None:
    for number in range(5):
        opener = member(shake.db, person(shake.db, now, 10 + number, "Pest"))
        shake.opened(by=opener, msisdn="+254711000004")
    shake.wait(now)
    told = "SELECT count(*) FROM messages WHERE msisdn = '+254711000004'"
    assert shake.db.value(told) == deals.INVITATIONS_A_DAY_STRANGER_MAX
    stranger = member(shake.db, person(shake.db, now, 4, "Otis"))
    assert len(deals.waiting(shake.db, stranger, now)) == 5


def test_a_member_is_told_of_more_and_not_of_any_number(shake: Handshake, now: datetime) -> None:
    for number in range(deals.INVITATIONS_A_DAY_MAX + 2):
        opener = member(shake.db, person(shake.db, now, 10 + number, "Customer"))
        shake.opened(by=opener)
    shake.wait(now)
    assert len(shake.told(shake.juma)) == deals.INVITATIONS_A_DAY_MAX
    shake.opened(title="One of tomorrow")
    shake.wait(now + DAY + HOUR)
    assert len(shake.told(shake.juma, "deal_to_sell")) == deals.INVITATIONS_A_DAY_MAX
    shake.opened(title="Another of tomorrow")
    shake.wait(shake.now)
    assert len(shake.told(shake.juma, "deal_to_sell")) == deals.INVITATIONS_A_DAY_MAX + 1


@pytest.mark.parametrize("spare", [opt_outs.stop, opt_outs.bar])
def test_who_asked_us_to_stop_is_not_invited_by_sms(shake: Handshake, spare: Any) -> None:
    spare(shake.db, shake.juma.msisdn, shake.now)
    shake.opened()
    assert deals.invite(shake.db, shake.id, shake.now) == "unwanted"
    assert shake.told(shake.juma) == []
    assert len(deals.waiting(shake.db, shake.juma, shake.now)) == 1
    assert shake.withdraw() == "withdrawn"
    assert shake.told(shake.juma) == []


def test_nobody_is_invited_at_night_nor_to_what_was_withdrawn_by_the_morning(
    shake: Handshake,
) -> None:
    shake.now = at(21, 23)
    kept, withdrawn = shake.opened(), shake.opened(title="A chair")
    shake.wait(at(22, 5))
    assert shake.told(shake.juma) == []
    assert (kept != withdrawn, shake.withdraw()) == (True, "withdrawn")
    shake.wait(at(22, 8))
    assert shake.told(shake.juma) == ["deal_to_sell"]


def test_an_invitation_is_sent_once_however_often_its_timer_comes(shake: Handshake) -> None:
    shake.opened()
    done = [deals.invite(shake.db, shake.id, shake.now) for _ in range(2)]
    assert done == ["invited", "not_open"]
    assert len(shake.told(shake.juma)) == 1


# Answered.


def test_accepted_it_is_an_order_by_the_same_number_and_the_buyer_is_asked(
    shake: Handshake,
) -> None:
    shake.opened("seller")
    assert shake.accept() == "asked"
    deal, order = shake.deal(), shake.order()
    assert (deal.state, deal.invited_id) == ("accepted", shake.juma.id)
    assert (order.number, order.title, order.deliver_on) == (deal.number, AGREED["title"], DUE)
    assert (order.total_cents, order.fee_cents) == (TOTAL_CENTS, FEE_CENTS)
    assert (order.buyer_id, order.seller_id) == (shake.juma.id, shake.amina.id)
    assert order.pay_by == shake.now + deals.PAY_WITHIN
    assert shake.told(shake.juma) == ["deal_placed"]
    (text,) = shake.told(shake.amina, "deal_placed")
    assert text == (
        f"Deal {deal.number} with Juma Otieno is agreed, KSh 8,287 for you."
        " Send nothing before we tell you that it is paid."
    )


def test_a_deal_that_the_seller_accepts_prompts_the_buyer_who_opened_it(shake: Handshake) -> None:
    shake.opened("buyer")
    assert shake.accept() == "asked"
    assert shake.pay() == "paid"


def test_a_buyer_is_not_woken_by_a_prompt(shake: Handshake) -> None:
    shake.opened("buyer")
    shake.now = at(22, 2)
    assert shake.accept() == "agreed"
    assert shake.told(shake.amina) == ["deal_placed"]
    shake.now = at(22, 9)
    assert shake.pay() == "paid"


def test_a_buyer_who_accepts_at_night_is_awake(shake: Handshake) -> None:
    shake.opened("seller")
    shake.now = at(22, 2)
    assert shake.accept() == "asked"


def test_a_phone_that_cannot_be_prompted_now_is_paid_from_later(shake: Handshake) -> None:
    market = open_market(shake.db, shake.now)
    fill_cart(shake.db, market, shake.juma.id, shake.now)
    placed = checkouts.place(
        shake.db, shake.juma.id, shake.juma.msisdn, 68_100, shake.rules, shake.now
    )
    assert placed == "placed"
    shake.opened("seller")
    assert shake.accept() == "agreed"
    assert shake.order().state == "placed"


def test_a_buyer_without_m_pesa_agrees_and_pays_from_another_phone(shake: Handshake) -> None:
    airtel = "+254733000042"
    shake.db.run("UPDATE members SET msisdn = %s WHERE id = %s", [airtel, shake.juma.id])
    shake.juma = member(shake.db, shake.juma.id)
    shake.opened("seller")
    assert shake.accept() == "agreed"
    order = shake.order()
    asked = checkouts.pay_again(
        shake.db, order.checkout_id, shake.juma.id, "+254711009999", shake.rules, shake.now
    )
    assert asked == "asked"


def test_there_is_never_less_time_to_pay_than_for_any_basket(shake: Handshake) -> None:
    shake.opened("seller", due_on=date(2026, 11, 22))
    shake.now = days.end(date(2026, 11, 22)) - timedelta(minutes=1)
    assert shake.accept() == "asked"
    assert shake.order().pay_by == shake.now + timedelta(minutes=shake.rules.reservation_minutes)


def test_time_to_pay_ends_with_the_day_it_is_due(shake: Handshake) -> None:
    shake.opened("seller", due_on=date(2026, 11, 22))
    shake.now = at(22, 12)
    shake.accept()
    assert shake.order().pay_by == days.end(date(2026, 11, 22))


def test_only_who_is_invited_answers(shake: Handshake, now: datetime) -> None:
    shake.opened()
    other = member(shake.db, person(shake.db, now, 5, "Nosy"))
    for who in (other, shake.amina):
        assert (shake.accept(who), shake.decline(who)) == ("not_yours", "not_yours")
    assert (shake.withdraw(other), shake.withdraw(shake.juma)) == ("not_yours", "not_yours")
    assert shake.deal().side_of(other) is None
    assert shake.deal().state == "open"


@pytest.mark.parametrize("end", ["accept", "decline", "withdraw", "lapse"])
def test_what_is_answered_is_answered(shake: Handshake, end: str) -> None:
    shake.opened()
    if end == "lapse":
        shake.now = shake.deal().answer_by
        assert deals.lapse(shake.db, shake.id, shake.now) == "lapsed"
    else:
        getattr(shake, end)()
    before = (shake.deal(), shake.told(shake.juma), shake.told(shake.amina))
    again = [shake.accept(), shake.decline(), shake.withdraw()]
    timers = (deals.invite, deals.remind, deals.lapse)
    again += [timer(shake.db, shake.id, shake.now + 9 * DAY) for timer in timers]
    assert again == ["not_open"] * 6
    assert (shake.deal(), shake.told(shake.juma), shake.told(shake.amina)) == before


def test_a_refusal_is_told_to_who_opened_it(shake: Handshake) -> None:
    shake.opened()
    assert shake.decline() == "declined"
    (text,) = shake.told(shake.amina, "deal_declined")
    assert text.startswith(f"Deal {shake.deal().number}, Samsung A12, used, KSh 8,500:")


def test_what_is_withdrawn_is_told_to_who_was_told_of_it(shake: Handshake) -> None:
    shake.opened()
    shake.wait(shake.now)
    assert shake.withdraw() == "withdrawn"
    assert shake.told(shake.juma) == ["deal_to_sell", "deal_withdrawn"]


# Not answered.


def test_it_is_reminded_of_once_and_lapses_after_three_days(
    shake: Handshake, now: datetime
) -> None:
    shake.opened(due_on=date(2026, 12, 20))
    shake.wait(now + 59 * HOUR)
    assert shake.told(shake.juma) == ["deal_to_sell"]
    shake.wait(now + 72 * HOUR - timedelta(seconds=1))
    assert shake.told(shake.juma) == ["deal_to_sell", "deal_reminder"]
    assert shake.deal().state == "open"
    shake.wait(now + 72 * HOUR)
    assert shake.deal().state == "lapsed"
    assert shake.told(shake.amina) == ["deal_lapsed"]
    assert shake.told(shake.juma) == ["deal_to_sell", "deal_reminder"]


def test_a_stranger_is_written_to_once(shake: Handshake, now: datetime) -> None:
    shake.opened(msisdn="+254711000004")
    shake.wait(now + 80 * HOUR)
    assert shake.db.value("SELECT count(*) FROM messages WHERE msisdn = '+254711000004'") == 1
    assert shake.deal().state == "lapsed"


def test_it_lapses_with_the_day_it_is_due(shake: Handshake) -> None:
    shake.opened(due_on=date(2026, 11, 22))
    assert shake.deal().answer_by == days.end(date(2026, 11, 22))


def test_by_the_clock_it_is_over_before_its_timer_comes(shake: Handshake) -> None:
    shake.opened()
    shake.now = shake.deal().answer_by
    assert (shake.accept(), shake.decline(), shake.withdraw()) == ("not_open",) * 3
    assert deals.waiting(shake.db, shake.juma, shake.now) == []


@pytest.mark.parametrize("timer", [deals.remind, deals.lapse])
def test_a_timer_that_comes_early_comes_again(shake: Handshake, timer: Any) -> None:
    shake.opened(due_on=date(2026, 12, 20))
    shake.wait(shake.now)
    assert timer(shake.db, shake.id, shake.now) == "not_yet"
    shake.wait(shake.deal().answer_by)
    assert shake.told(shake.juma) == ["deal_to_sell", "deal_reminder"]
    assert shake.told(shake.amina) == ["deal_lapsed"]


# It is an order like any other.


def test_paid_it_is_accepted_already_and_to_be_sent_by_its_day(shake: Handshake) -> None:
    shake.opened("seller")
    shake.accept()
    assert shake.pay() == "paid"
    order = shake.order()
    assert (order.state, order.dispatch_by) == ("accepted", days.end(DUE))
    assert shake.purses() == (TOTAL_CENTS, 0, 0, 0)
    kinds = [event.kind for event in orders.timeline(shake.db, order.id)]
    assert kinds == ["placed", "paid", "delivery_code", "accepted"]
    (text,) = shake.told(shake.amina, "agreed_paid")
    assert "KSh 8,287 is for you. Send it by 26/11 00:00" in text
    assert set(shake.told(shake.juma)) == {"deal_placed", "agreed_paid", "delivery_code"}


def test_a_seller_whose_pin_nobody_asked_accepts_it_once_it_is_paid(shake: Handshake) -> None:
    shake.opened("buyer")
    assert shake.accept(proved=False) == "asked"
    shake.pay()
    order = shake.order()
    assert (order.state, order.accept_by) == ("paid", shake.now + deliveries.ACCEPT_WITHIN)
    assert deliveries.accept(shake.db, order.id, order.seller_id, shake.now) == "accepted"
    assert "accepted" in shake.told(shake.amina)


def test_a_word_of_the_buyers_is_none_of_the_sellers(shake: Handshake) -> None:
    shake.opened("seller", proved=False)
    shake.accept(proved=True)
    shake.pay()
    assert shake.order().state == "paid"


def test_the_code_releases_it_less_the_fee_that_was_shown(shake: Handshake) -> None:
    shake.opened("buyer")
    shake.accept()
    shake.pay()
    assert shake.dispatch() == "dispatched"
    assert shake.enter() == "released"
    assert shake.purses() == (0, 0, NET_CENTS, FEE_CENTS)
    assert invariants.broken(shake.db, shake.now) == []


def test_a_claim_is_inspected_and_released_by_the_clock(shake: Handshake) -> None:
    shake.opened("buyer")
    shake.accept()
    shake.pay()
    shake.dispatch()
    order = shake.order()
    assert deliveries.claim(shake.db, order.id, order.seller_id, shake.now) == "claimed"
    shake.wait(shake.now + deliveries.INSPECT_WITHIN)
    assert shake.order().state == "completed"
    assert shake.purses() == (0, 0, NET_CENTS, FEE_CENTS)


def test_a_complaint_freezes_and_divides_it(shake: Handshake) -> None:
    shake.opened("buyer")
    shake.accept()
    shake.pay()
    shake.dispatch()
    order = shake.order()
    opened = disputes.open(shake.db, order.id, order.buyer_id, "wrong", None, shake.now)
    assert opened == "opened"
    with pytest.raises(escrow.NotHeld):
        escrow.release(shake.db, order.id, shake.now)
    disputes.answer(shake.db, order.id, order.seller_id, "It is as agreed.", shake.now)
    dispute = disputes.of_order(shake.db, order.id)
    assert dispute is not None
    shares = (TOTAL_CENTS, 0)
    decided = verdicts.decide(
        shake.db, dispute.id, hire(shake.db, "olive"), *shares, WHY, shake.rules, shake.now
    )
    assert decided == "decided"
    assert shake.purses() == (0, TOTAL_CENTS, 0, 0)
    assert "add them to your stock" not in str(shake.told(shake.juma, "deal_refunded"))
    assert invariants.broken(shake.db, shake.now) == []


def test_a_complaint_about_it_is_taken_back_in_the_words_of_any_order(shake: Handshake) -> None:
    """Not in those of a deal that was taken back before anybody answered it."""
    shake.opened("buyer")
    shake.accept()
    shake.pay()
    shake.dispatch()
    order = shake.order()
    disputes.open(shake.db, order.id, order.buyer_id, "wrong", None, shake.now)
    assert disputes.withdraw(shake.db, order.id, order.buyer_id, shake.now) == "withdrawn"
    for each in (shake.amina, shake.juma):
        (text,) = shake.told(each, "withdrawn")
        assert f"rder {order.number} goes on" in text
    assert shake.enter() == "released"


@pytest.mark.parametrize(
    "call_off",
    [
        lambda db, order, now: deliveries.refuse(db, order.id, order.seller_id, now),
        lambda db, order, now: deliveries.cancel(db, order.id, order.buyer_id, now),
    ],
)
def test_called_off_before_it_is_sent_her_money_is_back(shake: Handshake, call_off: Any) -> None:
    shake.opened("buyer")
    shake.accept()
    shake.pay()
    assert call_off(shake.db, shake.order(), shake.now) in {"refused", "cancelled"}
    assert shake.purses() == (0, TOTAL_CENTS, 0, 0)
    assert invariants.broken(shake.db, shake.now) == []


def test_not_sent_by_its_day_her_money_is_back(shake: Handshake) -> None:
    shake.opened("seller")
    shake.accept()
    shake.pay()
    shake.wait(days.end(DUE))
    assert shake.order().state == "cancelled"
    assert shake.purses() == (0, TOTAL_CENTS, 0, 0)
    assert "dispatch_reminder" in shake.told(shake.amina)


def test_not_paid_in_time_it_is_closed_and_both_hear_of_it(shake: Handshake) -> None:
    shake.opened("seller")
    shake.accept()
    order = shake.order()
    charge_id = shake.db.value("SELECT id FROM charges")
    shake.db.run("UPDATE charges SET state = 'failed' WHERE id = %s", [charge_id])
    shake.wait(order.pay_by)
    assert shake.order().state == "expired"
    assert shake.told(shake.juma)[-2:] == ["payment_reminder", "deal_expired"]
    assert shake.told(shake.amina) == ["deal_placed", "deal_expired"]


def test_given_up_before_it_is_paid_the_seller_hears_of_it_too(shake: Handshake) -> None:
    shake.opened("seller")
    shake.accept()
    order = shake.order()
    cancelled = checkouts.cancel(shake.db, order.checkout_id, order.buyer_id, shake.now)
    assert cancelled == "cancelled"
    assert "deal_cancelled" in shake.told(shake.amina)


def test_its_goods_are_its_title_wherever_an_order_is_shown(shake: Handshake) -> None:
    shake.opened("seller")
    shake.accept()
    shake.pay()
    order = shake.order()
    sold = order_book.for_seller(shake.db, order.id, order.seller_id, "en")
    bought = order_book.for_buyer(shake.db, order.id, order.buyer_id, "en")
    assert sold is not None
    assert bought is not None
    assert (sold.goods, bought.goods, sold.items) == (AGREED["title"],) * 2 + ([AGREED["title"]],)
    assert order_book.sells(shake.db, order.seller_id)
    assert not order_book.sells(shake.db, order.buyer_id)
    assert carts.repeat(shake.db, order.buyer_id, order.id, shake.now) == "nothing_left"


def test_its_words_fit_one_plain_part_with_the_longest_names(shake: Handshake) -> None:
    shake.db.run("UPDATE members SET name = %s", ["Ng\u0303ang\u0303a " + "W" * 30])
    shake.opened("seller", title="W" * deals.TITLE_MAX, total_cents=25_000_000)
    shake.wait(shake.now + 70 * HOUR)
    shake.accept()
    shake.pay()
    late = {"dial": "*384*7042#", "code": "4821", "paybill": "174379"}
    rows = shake.db.value("SELECT array_agg(text) FROM messages")
    for text in rows:
        assert len(wordings.complete(text, late)) <= 160, text


# What may stand in it.


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Samsung   A12, used ", "Samsung A12, used"),
        ("Sofa (3+1) & table", "Sofa (3+1) & table"),
        ("Mahindi \u201cmeupe\u201d 90kg", None),
        ("Viti 4 vya mbao \U0001f44d", "Viti 4 vya mbao"),
        ("Toyota 2015, KDA 123A", "Toyota 2015, KDA 123A"),
        ("12000 bricks", "12000 bricks"),
    ],
)
def test_a_title_is_kept_in_letters_of_every_phone(typed: str, kept: str | None) -> None:
    if kept is None:
        with pytest.raises(Invalid, match="words_only"):
            deals.parse_title(typed)
    else:
        assert deals.parse_title(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        *("bit.ly/sokoni1", "see www shop", "jumia.co.ke offer", "call 0712345678"),
        *("call 0712 345 678", "0712-345-678 Juma", "till 5123456", "Pay 07(12)34+56,78"),
        *("\uff10\uff17\uff11\uff12\uff13\uff14 x abc", "dial *334# now", "me@mail", "win {code}"),
        *("Sokoni prize", "M-Pesa refund", "send your PIN", "MPESA code", "a:b://cde"),
        "abc\ndef_ghi",
    ],
)
def test_a_title_leads_nowhere_and_does_not_speak_for_us(typed: str) -> None:
    with pytest.raises(Invalid, match="words_only"):
        deals.parse_title(typed)
    with pytest.raises(Invalid, match="words_only"):
        deals.parse_terms(typed)


@pytest.mark.parametrize("typed", ["", "  ", "ab", "12", "W" * (deals.TITLE_MAX + 1), "???"])
def test_a_title_says_something_and_not_too_much(typed: str) -> None:
    with pytest.raises(Invalid, match="title"):
        deals.parse_title(typed)


def test_terms_have_more_room(shake: Handshake) -> None:
    assert deals.parse_terms("W" * deals.TERMS_MAX) == "W" * deals.TERMS_MAX
    with pytest.raises(Invalid, match="terms"):
        deals.parse_terms("W" * (deals.TERMS_MAX + 1))


@given(st.text(max_size=60))
def test_whatever_is_typed_a_title_is_plain_or_refused(typed: str) -> None:
    try:
        title = deals.parse_title(typed)
    except Invalid:
        return
    assert 3 <= len(title) <= deals.TITLE_MAX
    assert set(title) <= set(SEPTETS) - set("{}[]<>@*#_:;\n")
    assert wordings.late_in(title) == frozenset()
    assert deals.parse_title(title) == title


@pytest.mark.parametrize(
    ("typed", "cents"),
    [("10", 1_000), ("KSh 8,500", 850_000), ("250000", 25_000_000), ("99/=", 9_900)],
)
def test_an_amount_is_read_as_people_write_it(typed: str, cents: int) -> None:
    assert deals.parse_amount(typed) == cents


@pytest.mark.parametrize(
    "typed", ["9", "9.99", "0", "-10", "250001", "1e309", "NaN", "", "ten", "10.50", "\u0661\u0660"]
)
def test_what_m_pesa_cannot_move_is_no_amount(typed: str) -> None:
    with pytest.raises(Invalid, match="amount"):
        deals.parse_amount(typed)


@pytest.mark.parametrize(
    ("typed", "day"),
    [
        ("22/11", date(2026, 11, 22)),
        ("5.12.2026", date(2026, 12, 5)),
        ("1-1", date(2027, 1, 1)),
        ("20 1", date(2027, 1, 20)),
    ],
)
def test_a_day_is_read_as_people_write_it(now: datetime, typed: str, day: date) -> None:
    assert deals.parse_day(typed, now) == day


@pytest.mark.parametrize(
    "typed",
    ["21/11", "20/11/2026", "31/11", "29/2/2027", "21/1/2027", "1/6", "0/0", "soon", "99/99"],
)
def test_no_other_day_is(now: datetime, typed: str) -> None:
    with pytest.raises(Invalid, match="due_day"):
        deals.parse_day(typed, now)


@pytest.mark.parametrize(
    "change",
    [
        "invited_id = opener_id",
        "total_cents = 25000100",
        "total_cents = 999",
        "fee_cents = total_cents + 1",
        "state = 'accepted', closed_at = answer_by",
        "state = 'lapsed'",
    ],
)
def test_the_database_keeps_no_deal_that_cannot_be(shake: Handshake, change: Any) -> None:
    shake.opened()
    with pytest.raises(psycopg.errors.CheckViolation, match="ck_deals"):
        shake.db.run(f"UPDATE deals SET {change}")


def test_a_phone_is_told_nothing_that_names_more_than_a_first_name(shake: Handshake) -> None:
    shake.opened()
    shake.wait(shake.now + 70 * HOUR)
    for text in messages.last_of(shake.db, shake.juma.id, 9):
        assert "Wanjiru" not in text.text
        assert shake.amina.msisdn not in text.text
