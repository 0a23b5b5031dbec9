"""Nudges: one SMS to whoever was cut off while buying, and to nobody else."""

import pytest

from core import messages, outbox
from core.database import Db
from core.rules import Rules
from flows import conversations, nudges
from flows.conversations import Ended
from tests.flows.handset import Clock, EngineLine, Handset
from tests.flows.street import Street


@pytest.fixture
def street(db: Db, clock: Clock, rules: Rules) -> Street:
    return Street(db, clock, rules)


@pytest.fixture
def phone(street: Street) -> Handset:
    """Amina's, at the question how many tomatoes."""
    street.register()
    line = EngineLine(street.db, street.rules, street.clock)
    handset = Handset(line, street.clock, street.msisdn)
    handset.dial()
    handset.choose("Buy")
    handset.reply("tomatoes")
    handset.walk("1", "1")
    assert handset.seen.label == "buy.quantity"
    return handset


def cut_off(street: Street, phone: Handset) -> None:
    """The gateway's notice that the session is over."""
    conversations.end_session(street.db, Ended(phone.session, "Incomplete"), street.clock())
    nudges.foresee(street.db, phone.session, street.rules, street.clock())


def nudged(street: Street, **wait: float) -> int:
    """How many are told after that time: those whose cut-off was noticed, those who are silent."""
    street.clock.wait(**wait)
    db, rules, now = street.db, street.rules, street.clock()
    before = told(street)
    for item in outbox.take_due(db, now, 10):
        if item.kind == "nudge_cut_off":
            nudges.cut_off(db, item.arguments["session"], rules, now)
        outbox.done(db, item.id, now)
    nudges.silent(db, rules, now)
    return told(street) - before


def told(street: Street) -> int:
    count: int = street.db.value("SELECT count(*) FROM messages WHERE trigger = 'left_off'")
    return count


def test_after_three_minutes_of_silence_she_is_told_once(street: Street, phone: Handset) -> None:
    assert nudged(street, minutes=2) == 0
    assert nudged(street, minutes=1) == 1
    assert nudged(street, minutes=1) == 0
    assert nudged(street, minutes=5) == 0


def test_what_she_is_told_says_how_to_go_on(street: Street, phone: Handset) -> None:
    nudged(street, minutes=3)
    (last, *_) = messages.last_of(street.db, street.owner, 1)
    assert "reply YES" in last.text


def test_a_notice_that_she_was_cut_off_needs_no_silence(street: Street, phone: Handset) -> None:
    cut_off(street, phone)
    assert nudged(street, seconds=20) == 0
    assert nudged(street, seconds=10) == 1


def test_a_notice_and_the_silence_after_it_are_one_reason(street: Street, phone: Handset) -> None:
    cut_off(street, phone)
    assert nudged(street, minutes=4) == 1
    assert nudged(street, minutes=4) == 0


def test_a_notice_of_a_session_that_is_not_the_newest_is_no_reason_to_hurry(
    street: Street, phone: Handset
) -> None:
    older = phone.session
    phone.dial()
    phone.choose("Continue")
    nudges.foresee(street.db, older, street.rules, street.clock())
    assert nudged(street, seconds=60) == 0


def test_who_is_cut_off_again_is_told_of_the_second_time(street: Street, phone: Handset) -> None:
    cut_off(street, phone)
    street.clock.wait(seconds=20)
    phone.dial()
    phone.choose("Continue")
    cut_off(street, phone)
    assert nudged(street, seconds=10) == 0
    assert nudged(street, seconds=20) == 1


def test_who_dialled_again_is_left_alone(street: Street, phone: Handset) -> None:
    cut_off(street, phone)
    street.clock.wait(seconds=60)
    phone.dial()
    phone.reply("1")
    assert nudged(street, seconds=30) == 0


def test_who_went_on_elsewhere_is_left_alone(street: Street, phone: Handset) -> None:
    street.clock.wait(seconds=60)
    conversations.lock(street.db, "sms", street.msisdn, street.msisdn, street.clock())
    assert nudged(street, minutes=3) == 0


def test_no_more_than_one_in_an_hour(street: Street, phone: Handset) -> None:
    assert nudged(street, minutes=3) == 1
    for minutes, expected in ((0, 0), (60, 1)):
        street.clock.wait(minutes=minutes)
        phone.dial()
        phone.choose("Continue")
        assert nudged(street, minutes=3) == expected


def test_at_night_nobody_is_told_then_or_later(
    street: Street, phone: Handset, clock: Clock
) -> None:
    hours_to_nine = 18 - clock.now.hour  # UTC
    street.clock.wait(hours=hours_to_nine)
    phone.dial()
    phone.choose("Continue")
    assert nudged(street, minutes=3) == 0
    assert nudged(street, hours=10) == 0


def test_at_a_screen_that_is_not_worth_it_nobody_is_told(street: Street, phone: Handset) -> None:
    phone.reply("000")
    assert nudged(street, minutes=4) == 0


def test_when_the_goods_are_gone_nobody_is_told(street: Street, phone: Handset) -> None:
    street.withdraw("Tomatoes")
    assert nudged(street, minutes=4) == 0


def test_a_basket_of_which_something_is_left_is_worth_it(street: Street, phone: Handset) -> None:
    phone.reply("2")
    assert phone.seen.label == "buy.cart"
    street.put_in_basket(1, "Honey", "Mutua Grains")
    street.withdraw("Tomatoes")
    assert nudged(street, minutes=4) == 1


def test_what_was_left_long_ago_is_forgotten(street: Street, phone: Handset) -> None:
    assert nudged(street, minutes=16) == 0
