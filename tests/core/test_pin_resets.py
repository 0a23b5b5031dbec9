"""Whoever forgot the PIN chooses a new one, once two people agreed; her money waits a day."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from core import (
    audit,
    earnings,
    freezes,
    incidents,
    members,
    number_changes,
    payout_queue,
    pin_resets,
    pins,
    wallet,
    wordings,
)
from core.database import Database, Db
from core.staff import Actor
from tests.core import purse
from tests.core.market import msisdn as number
from tests.core.office import hire
from tests.core.people import PIN
from tests.core.people import RULES as PIN_RULES
from tests.core.purse import Purse
from tests.core.test_number_changes import carry_out, join, move_number

OLD, ELSEWHERE = number(9), number(50)
WHY = "She told us her last three orders, and came with her identity card."
NEW_PIN = "7391"
RULES = replace(purse.RULES, pin_pepper=PIN_RULES.pin_pepper)
COOLED = timedelta(hours=RULES.number_cooling_hours)


class Counter:
    """At which Wanjiku, who has earned KSh 50,000, says that she forgot her PIN."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.now = db, now
        self.purse = Purse(db, now)
        self.member = self.purse.member
        pins.set(db, self.member, PIN, RULES, now)
        self.olive = hire(db, "olive", ["operator", "approver"])
        self.peter = hire(db, "peter", ["approver"])

    def propose(self, by: Actor | None = None, why: str = WHY) -> str:
        return pin_resets.propose(self.db, self.member, why, by or self.olive, self.now)

    def approve(self, by: Actor | None = None) -> str:
        return pin_resets.approve(self.db, self.member, by or self.peter, RULES, self.now)

    def decline(self, by: Actor | None = None, why: str = WHY) -> str:
        return pin_resets.decline(self.db, self.member, why, by or self.peter, self.now)

    def allow(self) -> None:
        assert (self.propose(), self.approve()) == ("proposed", "approved")

    def use(self, pin: str = NEW_PIN) -> str:
        return pin_resets.use(self.db, self.member, pin, RULES, self.now)

    def is_open(self) -> bool:
        return pin_resets.is_open(self.db, self.member, self.now)

    def check(self, pin: str) -> str:
        return pins.check(self.db, self.member, pin, RULES, self.now)

    def wait(self, time: timedelta) -> None:
        self.now = self.purse.now = self.now + time

    def told(self, trigger: str) -> list[str]:
        found = self.db.value(
            "SELECT array_agg(text ORDER BY id) FROM messages WHERE trigger = %s", [trigger]
        )
        return found or []

    def states(self) -> list[str]:
        found = self.db.value("SELECT array_agg(state ORDER BY id) FROM pin_resets")
        return found or []


@pytest.fixture
def counter(db: Db, now: datetime) -> Counter:
    return Counter(db, now)


# --- who may


def test_two_people_allow_it_and_the_member_alone_chooses_the_pin(counter: Counter) -> None:
    assert counter.propose() == "proposed"
    assert not counter.is_open()
    assert counter.use() == "over"  # one person's word changes nothing
    assert counter.approve() == "approved"
    assert counter.check(PIN) == "right"  # nor do two, before she has chosen
    assert counter.use() == "changed"
    assert (counter.check(NEW_PIN), counter.check(PIN)) == ("right", "wrong")


def test_she_is_told_until_when_and_whom_to_call(counter: Counter) -> None:
    counter.allow()
    (told,) = counter.told("pin_reset")
    until = (counter.now + pin_resets.OPEN_FOR + timedelta(hours=3)).strftime("%d/%m %H:%M")
    assert until in told
    assert "0700000000" in told
    already = len(counter.told("pin_changed"))
    counter.use()
    assert len(counter.told("pin_changed")) == already + 1


def test_every_act_is_on_the_record_and_no_pin_is(counter: Counter) -> None:
    counter.allow()
    counter.use()
    acts = audit.of(counter.db, f"member {counter.member}")
    assert [(act.who, act.what) for act in acts] == [
        ("olive", "pin_reset_proposed"),
        ("peter", "pin_reset_approved"),
        ("system", "pin_reset_used"),
    ]
    assert acts[0].after["why"] == WHY
    assert NEW_PIN not in str(acts)


def test_nobody_approves_their_own_proposal(counter: Counter) -> None:
    counter.propose()
    assert counter.approve(counter.olive) == "own"
    assert not counter.is_open()
    assert incidents.find_open(counter.db, pin_resets.OWN, counter.member) is not None
    assert counter.approve() == "approved"


def test_nobody_of_ours_has_a_hand_in_their_own_pin(counter: Counter) -> None:
    wanjiku = hire(counter.db, "wanjiku", ["operator", "approver"], OLD)
    assert counter.propose(wanjiku) == "party"
    assert incidents.find_open(counter.db, pin_resets.OWN, counter.member) is not None
    counter.propose()
    assert counter.approve(wanjiku) == "party"
    assert not counter.is_open()


def test_roles_decide_who_proposes_and_who_approves(counter: Counter) -> None:
    ann, joy = hire(counter.db, "ann", ["admin"]), hire(counter.db, "joy", ["operator"])
    assert counter.propose(counter.peter) == "not_allowed"
    assert counter.propose() == "proposed"
    assert counter.approve(joy) == "not_allowed"
    assert counter.decline(ann) == "not_allowed"
    assert counter.decline(joy) == "not_allowed"


@pytest.mark.parametrize("hand", ["proposed", "approved"])
def test_who_moved_her_number_of_late_does_not_approve_a_pin_for_it(
    counter: Counter, hand: str
) -> None:
    """Else two people alone could take the whole account to a phone of theirs."""
    move_number(counter.db, counter.member, ELSEWHERE, counter.now)
    hire(counter.db, "olive", ["operator", "approver"])
    joy, paula = hire(counter.db, "joy"), hire(counter.db, "paula", ["approver"])
    assert counter.propose(joy) == "proposed"
    mover = counter.olive if hand == "proposed" else counter.peter
    assert counter.approve(mover) == "changed_number"
    assert not counter.is_open()
    assert counter.approve(paula) == "approved"


def test_much_later_whoever_moved_her_number_may(counter: Counter) -> None:
    move_number(counter.db, counter.member, ELSEWHERE, counter.now)
    hire(counter.db, "olive", ["operator", "approver"])
    counter.wait(pin_resets.HANDS_APART_FOR)
    counter.allow()


def test_what_is_declined_changes_nothing_and_may_be_proposed_anew(counter: Counter) -> None:
    counter.propose()
    assert counter.propose() == "already_proposed"
    assert counter.decline(why="no") == "no_reason"
    assert counter.decline() == "taken_back"
    assert (counter.approve(), counter.decline()) == ("not_proposed", "not_proposed")
    assert counter.told("pin_reset") == []
    assert counter.propose() == "proposed"
    assert counter.decline(counter.olive) == "taken_back"  # whoever proposed it


def test_what_is_approved_is_taken_back_before_anybody_has_used_it(counter: Counter) -> None:
    counter.allow()
    assert (counter.propose(), counter.approve()) == ("already_open", "not_proposed")
    assert counter.decline() == "taken_back"
    assert counter.use() == "over"
    assert counter.check(PIN) == "right"
    assert counter.states() == ["void"]


@pytest.mark.parametrize("why", ["short", "x" * 501, "   a    b   "])
def test_a_proposal_without_a_reason_leaves_no_trace(counter: Counter, why: str) -> None:
    assert counter.propose(why=why) == "no_reason"
    assert counter.states() == []
    assert audit.of(counter.db, f"member {counter.member}") == []


# --- once, and not for ever


def test_it_is_used_once(counter: Counter) -> None:
    counter.allow()
    assert counter.use() == "changed"
    assert counter.use("8264") == "over"
    assert counter.check(NEW_PIN) == "right"
    assert counter.states() == ["used"]


def test_a_lock_keeps_nobody_from_it_and_ends_with_it(counter: Counter) -> None:
    assert [counter.check("9753") for _ in range(5)][-1] == "locked"
    counter.allow()
    assert counter.use() == "changed"
    assert counter.check(NEW_PIN) == "right"


def test_after_a_day_it_is_void_and_may_be_proposed_anew(counter: Counter) -> None:
    counter.allow()
    counter.wait(pin_resets.OPEN_FOR - timedelta(microseconds=1))
    assert counter.is_open()
    counter.wait(timedelta(microseconds=1))
    assert not counter.is_open()
    assert counter.use() == "over"
    assert pin_resets.unfinished(counter.db, counter.now) == []
    assert counter.decline() == "not_proposed"
    counter.allow()
    assert counter.use() == "changed"
    assert counter.states() == ["void", "used"]


def test_another_number_ends_what_was_allowed_at_the_old_one(counter: Counter) -> None:
    counter.allow()
    move_number(counter.db, counter.member, ELSEWHERE, counter.now)
    assert counter.use() == "over"
    assert counter.states() == ["void"]


def test_another_number_ends_what_was_proposed_at_the_old_one(counter: Counter) -> None:
    counter.propose()
    move_number(counter.db, counter.member, ELSEWHERE, counter.now)
    assert counter.approve(hire(counter.db, "paula", ["approver"])) == "not_proposed"


def test_who_has_no_number_has_no_phone_to_choose_it_on(counter: Counter) -> None:
    move_number(counter.db, counter.member, None, counter.now)
    hire(counter.db, "olive", ["operator", "approver"])
    assert counter.propose() == "no_number"


def test_who_has_left_chooses_none(counter: Counter) -> None:
    counter.allow()
    members.close(counter.db, counter.member, counter.now)
    assert not counter.is_open()
    assert pin_resets.unfinished(counter.db, counter.now) == []
    assert (counter.use(), counter.propose()) == ("over", "no_number")


def test_two_of_one_phone_are_not_told_apart_without_their_pins(counter: Counter) -> None:
    counter.propose()
    join(counter.db, counter.member, counter.now)
    assert counter.approve() == "shared"
    assert counter.decline() == "taken_back"
    assert counter.propose() == "shared"


def test_a_phone_that_is_shared_by_now_takes_none(counter: Counter) -> None:
    counter.allow()
    join(counter.db, counter.member, counter.now)
    assert not counter.is_open()
    assert counter.use() == "over"


# --- money


def test_no_money_leaves_for_a_day_after_the_pin_was_chosen(counter: Counter) -> None:
    asked_before = counter.purse.ask()
    counter.allow()
    counter.use()
    asked_after = counter.purse.ask()
    for payout_id in (asked_before, asked_after):
        counter.purse.forget_work()
        assert counter.purse.claim(payout_id) is None
        payout = counter.purse.payout(payout_id)
        assert (payout.state, payout.waits_for) == ("approved", "cooling")
        assert counter.purse.due("resume_payouts") == counter.now + COOLED
    assert payout_queue.resume_waiting(counter.db, counter.now + COOLED - timedelta(seconds=1)) == 0
    counter.wait(COOLED)
    assert payout_queue.resume_waiting(counter.db, counter.now) == 2
    assert counter.purse.claim(asked_before) is not None


def test_a_seller_is_told_that_what_she_earned_waits_and_until_when(counter: Counter) -> None:
    counter.purse.ask(4_900_000)
    counter.allow()
    counter.use()
    assert earnings.pay(counter.db, counter.member, RULES, counter.now) == "sent"
    (text,) = counter.told("earnings_cooling")
    assert "KSh 1,000" in text
    assert wordings.fill("{until}", {"until": counter.now + COOLED}) in text


def test_she_is_told_that_a_withdrawal_waits(counter: Counter) -> None:
    counter.allow()
    counter.use()
    said = wallet.prospect(counter.db, counter.member, 100_000, RULES, counter.now)
    assert said == "cooling"
    done = wallet.withdraw(counter.db, counter.member, 100_000, RULES, counter.now)
    assert done == "cooling"
    assert len(counter.told("withdrawal_cooling")) == 1


def test_what_is_allowed_and_not_used_keeps_no_money(counter: Counter) -> None:
    counter.allow()
    assert counter.purse.claim(counter.purse.ask()) is not None


def test_a_line_of_somebody_else_who_paid_for_her_does_not_cool(counter: Counter) -> None:
    counter.allow()
    counter.use()
    payout_id = counter.purse.ask(msisdn=number(70))
    assert counter.purse.claim(payout_id) is not None


def test_who_is_frozen_may_choose_a_pin_and_stays_frozen(counter: Counter) -> None:
    freezes.freeze(counter.db, counter.member, "The phone was stolen.", "olive", counter.now)
    counter.allow()
    assert counter.use() == "changed"
    assert freezes.is_frozen(counter.db, counter.member)


# --- at once


@pytest.mark.parametrize("verb", ["approve", "use"])
def test_of_two_at_once_one_does_it(new_database: Any, now: datetime, verb: str) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now)
        with database.begin() as db:
            counter = Counter(db, now)
            counter.propose()
            paula = hire(db, "paula", ["approver"])
            if verb == "use":
                counter.approve()
            chosen_before = len(counter.told("pin_changed"))

        def act(by: Actor, pin: str) -> str:
            with database.begin() as db:
                if verb == "use":
                    return pin_resets.use(db, counter.member, pin, RULES, now)
                return pin_resets.approve(db, counter.member, by, RULES, now)

        with ThreadPoolExecutor(2) as pool:
            said = sorted(pool.map(act, (counter.peter, paula), (NEW_PIN, "8264")))
        assert said == (["approved", "not_proposed"] if verb == "approve" else ["changed", "over"])
        with database.begin() as db:
            counter.db = db
            assert len(counter.told("pin_reset")) == 1
            assert len(counter.told("pin_changed")) - chosen_before == (verb == "use")
            assert counter.states() == ["approved" if verb == "approve" else "used"]
        database.close()


def test_a_number_that_changes_while_she_chooses_leaves_one_of_the_two(
    new_database: Any, now: datetime
) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now)
        with database.begin() as db:
            counter = Counter(db, now)
            counter.allow()
            olive, peter = counter.olive, counter.peter
            by_two = [
                number_changes.propose(db, counter.member, ELSEWHERE, WHY, olive, now),
                number_changes.approve(db, counter.member, peter, now),
            ]
            assert by_two == ["proposed", "approved"]

        def move() -> str:
            with database.begin() as db:
                return carry_out(db, now)

        def choose() -> str:
            with database.begin() as db:
                return pin_resets.use(db, counter.member, NEW_PIN, RULES, now)

        with ThreadPoolExecutor(2) as pool:
            moving, choosing = pool.submit(move), pool.submit(choose)
        assert moving.result() == "done"
        with database.begin() as db:
            counter.db = db
            used = choosing.result() == "changed"
            assert counter.states() == ["used" if used else "void"]
            assert counter.check(NEW_PIN if used else PIN) == "right"
            assert not counter.is_open()
        database.close()
