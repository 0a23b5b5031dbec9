"""A member's number changes by two people; money, orders and news follow, and nothing else does."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import (
    audit,
    charges,
    deals,
    deliveries,
    earnings,
    freezes,
    incidents,
    ledger,
    members,
    messages,
    number_changes,
    opt_outs,
    orders,
    outbox,
    payout_calls,
    payout_proofs,
    payout_queue,
    payouts,
    pins,
    refunds,
    sendings,
    sim_checks,
    staff,
)
from core.database import Database, Db
from core.rules import Rules
from core.sim_checks import SimAnswer
from core.staff import Actor
from tests.core.deal import Deal
from tests.core.handshake import Handshake
from tests.core.market import (
    RULES,
    Purchase,
    late,
    open_market,
    order_of,
    person,
    purchase,
    settled,
)
from tests.core.market import msisdn as number
from tests.core.office import hire
from tests.core.people import RULES as PIN_RULES
from tests.core.people import member
from tests.core.purse import Purse, work_is_done

OLD, NEW = number(9), number(50)
WHY = "She came with her identity card; the old SIM was stolen."
COOLED = timedelta(hours=RULES.number_cooling_hours)


class Counter:
    """At which Wanjiku, who has earned KSh 50,000, says that she has another number."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.now = db, now
        self.purse = Purse(db, now)
        self.member = self.purse.member
        self.olive = hire(db, "olive", ["operator", "approver"])
        self.peter = hire(db, "peter", ["approver"])

    def propose(self, to: str | None = NEW, *, by: Actor | None = None, why: str = WHY) -> str:
        by = by or self.olive
        return number_changes.propose(self.db, self.member, to, why, by, self.now)

    def approve(self, by: Actor | None = None) -> str:
        return number_changes.approve(self.db, self.member, by or self.peter, self.now)

    def decline(self, by: Actor | None = None, why: str = WHY) -> str:
        return number_changes.decline(self.db, self.member, why, by or self.peter, self.now)

    def carry_out(self) -> str:
        return carry_out(self.db, self.now)

    def change(self, to: str | None = NEW) -> None:
        assert (self.propose(to), self.approve(), self.carry_out()) == (
            "proposed",
            "approved",
            "done",
        )

    def msisdn(self, member_id: UUID | None = None) -> str | None:
        found: str | None = self.db.value(
            "SELECT msisdn FROM members WHERE id = %s", [member_id or self.member]
        )
        return found

    def stands(self, payout_id: UUID) -> tuple[str, str, str | None]:
        payout = self.purse.payout(payout_id)
        return payout.msisdn, payout.state, payout.waits_for

    def told(self, trigger: str) -> list[str]:
        found = self.db.value(
            "SELECT array_agg(msisdn ORDER BY id) FROM messages WHERE trigger = %s", [trigger]
        )
        return found or []


def carry_out(db: Db, now: datetime) -> str:
    """What the task change_number does with the newest that was asked for."""
    change_id: str = db.value(
        """
        SELECT arguments->>'change_id' FROM outbox WHERE kind = 'change_number'
        ORDER BY id DESC LIMIT 1
        """
    )
    return number_changes.carry_out(db, UUID(change_id), RULES, now)


@pytest.fixture
def counter(db: Db, now: datetime) -> Counter:
    return Counter(db, now)


# --- who may


def test_two_people_change_a_number_and_both_phones_are_told(counter: Counter) -> None:
    assert counter.propose() == "proposed"
    assert counter.msisdn() == OLD  # one person's word changes nothing
    assert counter.approve() == "approved"
    assert counter.carry_out() == "done"
    assert counter.msisdn() == NEW
    assert members.by_msisdn(counter.db, OLD) is None
    assert counter.told("number_left") == [OLD]
    assert counter.told("number_changed") == [NEW]


def test_every_act_is_on_the_record_without_a_number(counter: Counter) -> None:
    counter.change()
    acts = audit.of(counter.db, f"member {counter.member}")
    assert [(act.who, act.what) for act in acts] == [
        ("olive", "number_change_proposed"),
        ("peter", "number_change_approved"),
        ("peter", "number_changed"),
    ]
    assert acts[0].before == {"number": "..009"}
    assert acts[0].after == {"number": "..050", "why": WHY}
    assert OLD not in str(acts)
    assert NEW not in str(acts)


def test_nobody_approves_their_own_proposal(counter: Counter) -> None:
    counter.propose()
    assert counter.approve(counter.olive) == "own"
    assert counter.msisdn() == OLD
    assert incidents.find_open(counter.db, number_changes.OWN, counter.member) is not None
    assert counter.approve() == "approved"


def test_nobody_of_ours_has_a_hand_in_their_own_number(counter: Counter) -> None:
    wanjiku = hire(counter.db, "wanjiku", ["operator", "approver"], OLD)
    later = hire(counter.db, "nadia", ["operator", "approver"], NEW)
    assert counter.propose(by=wanjiku) == "party"
    assert counter.propose(by=later) == "party"
    counter.propose()
    assert counter.approve(wanjiku) == "party"
    assert counter.approve(later) == "party"
    assert counter.msisdn() == OLD


def test_who_was_a_member_by_an_older_number_still_is_one(counter: Counter) -> None:
    wanjiku = hire(counter.db, "wanjiku", ["approver"], OLD)
    stranger = person(counter.db, counter.now, 77)
    counter.change()
    assert staff.is_member(counter.db, wanjiku.who, counter.member)
    assert not staff.is_member(counter.db, wanjiku.who, stranger)


def test_roles_decide_who_proposes_and_who_approves(counter: Counter) -> None:
    ann = hire(counter.db, "ann", ["admin"])
    only_operator = hire(counter.db, "joy", ["operator"])
    assert counter.propose(by=counter.peter) == "not_allowed"
    assert counter.propose() == "proposed"
    assert counter.approve(only_operator) == "not_allowed"
    assert counter.decline(ann) == "not_allowed"
    assert counter.decline(only_operator) == "not_allowed"


def test_what_is_declined_changes_nothing_and_may_be_proposed_anew(counter: Counter) -> None:
    counter.propose()
    assert counter.decline(why="no") == "no_reason"
    assert counter.decline() == "taken_back"
    assert counter.approve() == "not_proposed"
    assert counter.decline() == "not_proposed"
    assert counter.propose() == "proposed"
    assert counter.decline(counter.olive) == "taken_back"  # whoever proposed it
    assert counter.msisdn() == OLD


def test_a_change_is_approved_once_and_carried_out_once(counter: Counter) -> None:
    counter.propose()
    assert counter.propose(number(51)) == "already_proposed"
    assert counter.approve() == "approved"
    assert counter.approve() == "not_proposed"
    assert counter.decline() == "not_proposed"
    assert counter.propose(number(51)) == "already_proposed"
    assert counter.carry_out() == "done"
    assert counter.carry_out() == "not_approved"
    assert counter.told("number_changed") == [NEW]


@pytest.mark.parametrize("bad", ["+254202222222", "+447911123456", "+255712345678"])
def test_money_could_not_go_to_such_a_number(counter: Counter, bad: str) -> None:
    assert counter.propose(bad) == "not_mobile"


def test_refusals_leave_no_trace(counter: Counter) -> None:
    assert counter.propose(OLD) == "same_number"
    assert counter.propose(why="short") == "no_reason"
    assert counter.propose(why="x" * 501) == "no_reason"
    assert number_changes.unfinished(counter.db) == []
    assert audit.of(counter.db, f"member {counter.member}") == []


# --- the number is another's


def test_a_number_of_somebody_who_trades_here_is_refused(counter: Counter) -> None:
    market = open_market(counter.db, counter.now)
    purchase(counter.db, market, counter.now)
    assert counter.propose(number(1)) == "taken"  # she has ordered
    assert counter.propose(number(2)) == "taken"  # he has goods here
    rich = person(counter.db, counter.now, 60)
    legs = [ledger.debit(ledger.C2B, 100), ledger.credit(ledger.buyer(rich), 100)]
    ledger.post(counter.db, "test", "test:rich", legs, counter.now)
    assert counter.propose(number(60)) == "taken"


def test_an_empty_account_makes_room_in_the_same_moment(counter: Counter) -> None:
    empty = person(counter.db, counter.now, 50, "Somebody")
    assert counter.propose() == "proposed"
    counter.approve()
    assert members.by_id(counter.db, empty) is not None
    assert counter.carry_out() == "done"
    assert members.by_id(counter.db, empty) is None
    found = members.by_msisdn(counter.db, NEW)
    assert found is not None
    assert found.id == counter.member
    (closed,) = audit.of(counter.db, f"member {empty}")
    assert (closed.what, closed.who) == ("member_closed", "peter")


def test_who_began_to_trade_meanwhile_keeps_the_number(counter: Counter) -> None:
    owner = person(counter.db, counter.now, 50)
    counter.propose()
    freezes.freeze(counter.db, owner, "A doubt about it.", "olive", counter.now)
    assert counter.approve() == "taken"
    freezes.lift(counter.db, owner, "peter", counter.now)
    assert counter.approve() == "approved"
    freezes.freeze(counter.db, owner, "A doubt about it.", "olive", counter.now)
    assert counter.carry_out() == "void"
    assert (counter.msisdn(), counter.msisdn(owner)) == (OLD, NEW)
    assert incidents.find_open(counter.db, number_changes.VOID, counter.member) is not None
    assert counter.told("number_changed") == []
    assert counter.propose(number(51)) == "proposed"


# --- money


def test_a_payout_waits_until_the_new_number_has_cooled(counter: Counter) -> None:
    counter.change()
    payout_id = counter.purse.ask()
    assert counter.purse.claim(payout_id) is None
    assert counter.stands(payout_id) == (NEW, "approved", "cooling")
    counter.purse.forget_work()
    just_before = counter.now + COOLED - timedelta(seconds=1)
    assert payout_queue.resume_waiting(counter.db, just_before) == 0
    counter.purse.now = counter.now + COOLED
    assert payout_queue.resume_waiting(counter.db, counter.purse.now) == 1
    claimed = counter.purse.claim(payout_id)
    assert claimed is not None
    assert claimed.msisdn == NEW


def test_what_the_new_number_itself_paid_is_reversed_at_once(db: Db, now: datetime) -> None:
    market = open_market(db, now)
    move_number(db, market.buyer, NEW, now - timedelta(minutes=5))
    bought = settled(db, purchase(db, market, now, payer=NEW), now)
    for seller in (market.wanjiku, market.otieno):
        order = order_of(db, bought, seller)
        assert deliveries.refuse(db, order.id, seller, now) == "refused"
    assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
    (payout,) = payouts.of_member(db, market.buyer, 5)
    assert (payout.kind, payout.msisdn) == ("reversal", NEW)
    assert payout_calls.claim_for_submit(db, payout.id, RULES, now) is not None


def test_the_end_of_cooling_is_a_timer(counter: Counter) -> None:
    counter.change()
    payout_id = counter.purse.ask()
    counter.purse.forget_work()
    counter.purse.claim(payout_id)
    assert counter.purse.due("resume_payouts") == counter.now + COOLED


def test_who_looks_before_the_end_of_cooling_sets_the_timer_anew(counter: Counter) -> None:
    """It is one row for all that waits: whatever else lets payouts go takes it with it."""
    counter.change()
    counter.purse.claim(counter.purse.ask())
    outbox.put(counter.db, "resume_payouts", due_at=counter.now)
    due = outbox.take_due(counter.db, counter.now, 1000)
    (row,) = (item for item in due if item.kind == "resume_payouts")
    assert payout_queue.resume_waiting(counter.db, counter.now) == 0
    outbox.done(counter.db, row.id, counter.now)
    assert counter.purse.due("resume_payouts") == counter.now + COOLED


def test_payouts_not_sent_yet_follow_to_the_new_number(counter: Counter) -> None:
    waiting, asked = counter.purse.ask(), counter.purse.ask(3_000_000)
    counter.change()
    assert counter.stands(waiting)[:2] == (NEW, "approved")
    assert counter.stands(asked)[:2] == (NEW, "requested")


@pytest.mark.parametrize("sent", ["submitted", "accepted", "unknown"])
def test_what_mpesa_has_is_settled_by_proof_as_it_was_sent(counter: Counter, sent: str) -> None:
    payout_id = getattr(counter.purse, sent)()
    counter.change()
    assert counter.stands(payout_id)[0] == OLD
    assert counter.purse.settle(payout_id, counter.purse.paid(payout_id)) == "paid"
    assert counter.told("payout_paid") == [NEW]


def test_what_had_failed_by_us_is_sent_anew_to_the_new_number(counter: Counter) -> None:
    payout_id = counter.purse.accepted()
    failed = counter.purse.failed(payout_id, "2001", ours=True, halts="initiator")
    assert counter.purse.settle(payout_id, failed) == "failed"
    counter.change()
    (again,) = payout_queue.resume(counter.db, "olive", counter.now, RULES)
    assert counter.stands(again)[0] == NEW


def test_a_member_whose_money_was_frozen_stays_frozen_at_the_new_number(counter: Counter) -> None:
    freezes.freeze(counter.db, counter.member, "The phone was stolen.", "olive", counter.now)
    counter.change()
    assert freezes.is_frozen(counter.db, counter.member)


def test_the_buyers_money_comes_back_to_the_new_number_and_not_by_reversal(
    db: Db, now: datetime
) -> None:
    deal = Deal(db, now)
    move_number(db, deal.buyer, NEW, now)
    assert deal.refuse() == "refused"
    assert refunds.refund_balance(db, deal.buyer, RULES, now) == "sent"
    rows = db.value(
        "SELECT json_agg(json_build_array(kind, msisdn)) FROM payouts WHERE member_id = %s",
        [deal.buyer],
    )
    assert rows == [["refund", NEW]]


def test_a_reversal_that_was_not_made_yet_goes_the_other_road(db: Db, now: datetime) -> None:
    market = open_market(db, now)
    bought = settled(db, purchase(db, market, now), now)
    for seller in (market.wanjiku, market.otieno):
        order = order_of(db, bought, seller)
        assert deliveries.refuse(db, order.id, seller, now) == "refused"
    assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
    move_number(db, market.buyer, NEW, now)
    assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
    found = {payout.kind: payout for payout in payouts.of_member(db, market.buyer, 5)}
    assert found["reversal"].state == "failed"
    again = found["refund"]
    assert (len(found), again.msisdn, again.amount_cents) == (2, NEW, bought.total_cents)


def njeri_pays(db: Db, now: datetime) -> tuple[Purchase, UUID]:
    """What Amina buys, and her sister Njeri, a member too, pays from her own phone; and Njeri."""
    market = open_market(db, now)
    njeri = member(db, now, 70, "Njeri")
    return settled(db, purchase(db, market, now, payer=number(70)), now), njeri


def refuse_all(db: Db, bought: Purchase, now: datetime) -> None:
    for order in orders.lock(db, bought.checkout_id):
        assert deliveries.refuse(db, order.id, order.seller_id, now) == "refused"


def refunds_of(db: Db, bought: Purchase) -> list[tuple[str, str, str]]:
    """What was asked for to be sent back, in its order: kind, line and state."""
    found = payouts.of_member(db, bought.buyer, 5)
    return [(payout.kind, payout.msisdn, payout.state) for payout in reversed(found)]


@pytest.mark.parametrize(("to", "line"), [(NEW, NEW), (None, number(1))])
def test_what_another_paid_is_not_sent_to_the_number_that_she_lost(
    db: Db, now: datetime, to: str | None, line: str
) -> None:
    """Whoever has her old number by now gets nothing of it, by a reversal neither."""
    bought, njeri = njeri_pays(db, now)
    move_number(db, njeri, to, now)
    refuse_all(db, bought, now)
    assert refunds.refund_balance(db, bought.buyer, RULES, now) == "sent"
    assert refunds_of(db, bought) == [("refund", line, "approved")]
    assert charges.last_payer(db, bought.buyer) is None


@pytest.mark.parametrize(("sellers", "kind"), [(2, "reversal"), (1, "refund")])
def test_what_was_to_go_back_to_another_and_was_not_sent_follows_her_to_the_new_number(
    db: Db, now: datetime, sellers: int, kind: str
) -> None:
    bought, njeri = njeri_pays(db, now)
    for order in orders.lock(db, bought.checkout_id)[:sellers]:
        assert deliveries.refuse(db, order.id, order.seller_id, now) == "refused"
    assert refunds.refund_balance(db, bought.buyer, RULES, now) == "sent"
    assert refunds_of(db, bought) == [(kind, number(70), "approved")]
    move_number(db, njeri, NEW, now)
    (payout,) = payouts.of_member(db, bought.buyer, 5)
    assert payout_calls.claim_for_submit(db, payout.id, RULES, now) is None
    assert refunds.refund_balance(db, bought.buyer, RULES, now) == "sent"
    assert refunds_of(db, bought) == [(kind, number(70), "failed"), ("refund", NEW, "approved")]
    again = payouts.of_member(db, bought.buyer, 1)[0]
    legs = [ledger.debit(ledger.B2C, 100_000), ledger.credit(ledger.CAPITAL, 100_000)]
    ledger.post(db, "test", "test:capital", legs, now)
    assert payout_calls.claim_for_submit(db, again.id, RULES, now) is None, "the new number cools"
    assert payout_calls.claim_for_submit(db, again.id, RULES, now + COOLED) is not None


def test_what_had_failed_by_us_to_another_is_sent_anew_to_her_new_number(
    db: Db, now: datetime
) -> None:
    bought, njeri = njeri_pays(db, now)
    (order, _) = orders.lock(db, bought.checkout_id)
    assert deliveries.refuse(db, order.id, order.seller_id, now) == "refused"
    legs = [ledger.debit(ledger.B2C, 100_000), ledger.credit(ledger.CAPITAL, 100_000)]
    ledger.post(db, "test", "test:capital", legs, now)
    assert refunds.refund_balance(db, bought.buyer, RULES, now) == "sent"
    (payout,) = payouts.of_member(db, bought.buyer, 5)
    assert payout_calls.claim_for_submit(db, payout.id, RULES, now) is not None
    refused = payout_proofs.PayoutResult(
        "result", "failed", "2001", originator_id=str(payout.id), ours=True, halts="initiator"
    )
    assert payout_proofs.settle(db, payout.id, refused, now) == "failed"
    move_number(db, njeri, NEW, now)
    payout_queue.resume(db, "olive", now, RULES)
    assert refunds.refund_balance(db, bought.buyer, RULES, now) == "sent"
    assert refunds_of(db, bought)[1:] == [("refund", NEW, "approved")]


def test_money_that_had_nowhere_to_go_is_looked_at_when_there_is_a_number_of_mpesas(
    counter: Counter,
) -> None:
    counter.db.run("UPDATE members SET msisdn = '+256772123456' WHERE id = %s", [counter.member])
    counter.change()
    wanted = {item.kind for item in outbox.take_due(counter.db, counter.now, 1000)}
    assert {"refund_balance", "pay_earnings"} <= wanted


def test_what_one_of_two_paid_from_the_phone_they_share_goes_back_to_it(
    db: Db, now: datetime
) -> None:
    bought, njeri = njeri_pays(db, now)
    join(db, njeri, now)
    move_number(db, njeri, NEW, now)
    refuse_all(db, bought, now)
    assert refunds.refund_balance(db, bought.buyer, RULES, now) == "sent"
    assert [(kind, line) for kind, line, _ in refunds_of(db, bought)] == [("reversal", number(70))]


def test_a_prompt_that_was_not_made_yet_is_not_made_at_a_phone_that_another_left(
    db: Db, now: datetime
) -> None:
    market = open_market(db, now)
    njeri = person(db, now, 70, "Njeri")
    bought = purchase(db, market, now, payer=number(70))
    move_number(db, njeri, NEW, now)
    assert charges.claim_for_push(db, bought.charge_id, RULES, now) is None


# --- news


def test_what_was_to_be_told_at_the_old_phone_is_told_at_the_new_one(counter: Counter) -> None:
    messages.of_member(counter.db, "pin_changed", counter.member, {}, counter.now)
    told = newest_message(counter.db)
    counter.change()
    claimed = sendings.claim(counter.db, told, late, counter.now)
    assert claimed is not None
    assert not isinstance(claimed, sendings.NotYet)
    assert claimed.msisdn == NEW


def test_what_was_to_go_to_a_chat_goes_to_the_new_phone(counter: Counter) -> None:
    messages.of_member(counter.db, "pin_changed", counter.member, {}, counter.now)
    told = newest_message(counter.db)

    def ways(_db: Db, _msisdn: str) -> list[tuple[str, str]]:
        return [("telegram", "4711")]

    assert sendings.claim(counter.db, told, late, counter.now, ways=ways) is None
    assert sendings.chat_of(counter.db, told) == "4711"
    counter.change()
    work_is_done(counter.db, counter.now)
    by_chat = sendings.claim(counter.db, told, late, counter.now, by="telegram")
    assert by_chat is None
    assert [item.kind for item in outbox.take_due(counter.db, counter.now, 9)] == ["sms"]
    claimed = sendings.claim(counter.db, told, late, counter.now)
    assert isinstance(claimed, sendings.Claimed)
    assert (claimed.msisdn, claimed.chat) == (NEW, None)


def test_an_answer_to_the_old_phone_is_not_sent_any_more(counter: Counter) -> None:
    told = messages.of_screen(
        counter.db, "1", OLD, "en", "How many?", counter.now, member_id=counter.member
    )
    counter.change()
    assert sendings.claim(counter.db, told, late, counter.now) is None
    assert state_of_message(counter.db, told) == "failed"


def test_what_the_member_wanted_no_more_of_holds_at_the_new_phone(counter: Counter) -> None:
    opt_outs.stop(counter.db, OLD, counter.now)
    opt_outs.bar(counter.db, OLD, counter.now)
    counter.change()
    assert opt_outs.of(counter.db, NEW) == {"marketing"}  # the network's word is of the line


def test_an_open_deal_follows_whoever_was_invited(db: Db, now: datetime) -> None:
    hands = Handshake(db, now)
    hands.opened()
    move_number(db, hands.juma.id, NEW, now)
    juma = members.by_id(db, hands.juma.id)
    assert juma is not None
    assert [deal.id for deal in deals.waiting(db, juma, now)] == [hands.id]
    assert hands.accept(juma) in ("asked", "agreed")


def test_a_prompt_that_was_not_made_yet_is_not_made_at_the_old_phone(db: Db, now: datetime) -> None:
    bought = purchase(db, open_market(db, now), now)
    move_number(db, bought.buyer, NEW, now)
    assert charges.claim_for_push(db, bought.charge_id, RULES, now) is None
    charge = charges.by_id(db, bought.charge_id)
    assert charge is not None
    assert (charge.state, charge.code) == ("refused", "number_changed")
    told = db.value("SELECT array_agg(msisdn) FROM messages WHERE trigger = 'payment_failed'")
    assert told == [NEW]


def test_a_former_number_is_nobody_elses_payer(db: Db, now: datetime) -> None:
    bought = settled(db, purchase(db, open_market(db, now), now), now)
    move_number(db, bought.buyer, NEW, now)
    assert charges.last_payer(db, bought.buyer) is None


# --- no number


def test_a_retired_number_leaves_the_account_whole_and_its_money_here(counter: Counter) -> None:
    waiting = counter.purse.ask()
    before = counter.purse.cents(waiting)
    counter.change(None)
    assert counter.msisdn() is None
    assert members.by_msisdn(counter.db, OLD) is None
    assert number_changes.without_number(counter.db) == [counter.member]
    assert counter.purse.claim(waiting) is None
    assert counter.stands(waiting) == (OLD, "approved", "frozen")
    assert counter.purse.request() == "frozen"
    assert earnings.pay(counter.db, counter.member, RULES, counter.now) == "frozen"
    assert counter.purse.cents(waiting) == before
    assert counter.told("number_left") == []  # it is a stranger's


def test_whoever_lost_a_number_hears_nothing_at_it(counter: Counter) -> None:
    messages.of_member(counter.db, "pin_changed", counter.member, {}, counter.now)
    told = newest_message(counter.db)
    counter.change(None)
    assert sendings.claim(counter.db, told, late, counter.now) is None
    assert state_of_message(counter.db, told) == "failed"
    messages.of_member(counter.db, "pin_changed", counter.member, {}, counter.now)
    assert newest_message(counter.db) == told  # nothing was even written


def test_the_next_at_that_number_is_somebody_new(counter: Counter) -> None:
    hands = Handshake(counter.db, counter.now)
    hands.opened(msisdn=OLD)
    counter.change(None)
    stranger = members.by_id(counter.db, newcomer(counter))
    assert stranger is not None
    assert stranger.id != counter.member
    assert deals.waiting(counter.db, stranger, counter.now) == []
    assert hands.accept(stranger) == "not_yours"
    assert messages.last_of(counter.db, stranger.id, 9) == []
    assert counter.purse.cents()["seller"] == 5_000_000


def test_a_number_found_again_lets_the_money_go_after_a_while(counter: Counter) -> None:
    waiting = counter.purse.ask()
    counter.change(None)
    counter.change()
    assert counter.stands(waiting)[:2] == (NEW, "approved")
    assert counter.purse.claim(waiting) is None
    assert counter.stands(waiting)[2] == "cooling"
    counter.purse.now = counter.now + COOLED
    claimed = counter.purse.claim(waiting)
    assert claimed is not None
    assert claimed.msisdn == NEW
    assert counter.told("number_left") == []


def test_a_number_that_went_round_is_its_first_owners_again(counter: Counter) -> None:
    counter.change()
    later = newcomer(counter)
    assert counter.propose(OLD) == "proposed"  # he has nothing here yet
    assert counter.approve() == "approved"
    assert counter.carry_out() == "done"
    assert (counter.msisdn(), members.by_id(counter.db, later)) == (OLD, None)


# --- two people of one phone


def test_one_of_two_takes_another_number_and_the_other_is_still_asked_for_a_pin(
    db: Db, now: datetime
) -> None:
    first, second = two_of_one_phone(db, now)
    move_number(db, first, NEW, now)
    gone = members.by_msisdn(db, NEW)
    assert gone is not None
    assert gone.id == first
    assert members.by_msisdn(db, OLD) is None  # whoever found the phone sees nothing
    assert [one.id for one in members.sharing(db, OLD)] == [second]
    assert pins.whose(db, OLD, "7391", PIN_RULES, now) == second


def test_a_phone_that_two_share_is_taken(counter: Counter) -> None:
    owner = member(counter.db, counter.now, 50)
    join(counter.db, owner, counter.now)
    assert counter.propose() == "taken"


def test_a_deal_of_a_shared_phone_stays_with_it(db: Db, now: datetime) -> None:
    first, second = two_of_one_phone(db, now)
    hands = Handshake(db, now)
    hands.opened(msisdn=OLD)
    move_number(db, first, NEW, now)
    left = members.by_id(db, second)
    assert left is not None
    assert [deal.id for deal in deals.waiting(db, left, now)] == [hands.id]


# --- a number that lay dead


@pytest.mark.parametrize(
    ("swapped_before", "is_held"), [(timedelta(days=20), True), (timedelta(days=90), False)]
)
def test_money_waits_where_the_sim_was_swapped_since_the_last_pin(
    counter: Counter, swapped_before: timedelta, is_held: bool
) -> None:
    rules = Rules(token_key=RULES.token_key, sim_check=True)
    purse, now = counter.purse, counter.now
    last_pin = now - timedelta(days=60)
    counter.db.run("UPDATE members SET pin_right_at = %s", [last_pin])
    payout_id = purse.ask()
    assert payout_calls.claim_for_submit(counter.db, payout_id, rules, now) is None
    check_id = counter.db.value("SELECT id FROM sim_checks")
    answer = SimAnswer("Swapped", "swapped", (now - swapped_before).date())
    sim_checks.record(counter.db, check_id, answer, now)
    claimed = payout_calls.claim_for_submit(counter.db, payout_id, rules, now)
    assert (claimed is None) is is_held
    assert purse.state(payout_id) == ("requested" if is_held else "submitting")


# --- at once


@pytest.mark.parametrize("verb", ["approve", "carry_out"])
def test_of_two_at_once_one_does_it(new_database: Any, now: datetime, verb: str) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now)
        with database.begin() as db:
            counter = Counter(db, now)
            counter.propose()
            other = hire(db, "paula", ["approver"])
            if verb == "carry_out":
                counter.approve()

        def act(by: Actor) -> str:
            with database.begin() as db:
                if verb == "carry_out":
                    return carry_out(db, now)
                return number_changes.approve(db, counter.member, by, now)

        with ThreadPoolExecutor(2) as pool:
            said = sorted(pool.map(act, (counter.peter, other)))
        done = ["approved", "not_proposed"] if verb == "approve" else ["done", "not_approved"]
        assert said == done
        with database.begin() as db:
            acts = audit.of(db, f"member {counter.member}")
        assert len(acts) == (2 if verb == "approve" else 3)
        database.close()


def test_a_payout_that_is_claimed_at_that_instant_goes_to_one_of_the_two_as_it_says(
    new_database: Any, now: datetime
) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now)
        with database.begin() as db:
            counter = Counter(db, now)
            waiting = [counter.purse.ask() for _ in range(6)]
            counter.propose()
            counter.approve()

        def move() -> str:
            with database.begin() as db:
                return carry_out(db, now)

        def claim(payout_id: UUID) -> str | None:
            with database.begin() as db:
                claimed = payout_calls.claim_for_submit(db, payout_id, RULES, now)
            return claimed.msisdn if claimed else None

        with ThreadPoolExecutor(4) as pool:
            moved = pool.submit(move)
            claimed = list(pool.map(claim, waiting))
        assert moved.result() == "done"
        with database.begin() as db:
            counter.purse.db = db
            for payout_id, went_to in zip(waiting, claimed, strict=True):
                stands = counter.stands(payout_id)
                if went_to is None:
                    assert stands == (NEW, "approved", "cooling")
                else:  # nothing goes to the new one before it has cooled
                    assert (went_to, stands) == (OLD, (OLD, "submitting", None))
        database.close()


def test_of_two_who_are_to_get_one_number_the_first_does(db: Db, now: datetime) -> None:
    counter = Counter(db, now)
    other = person(db, now, 70, "Njeri")
    assert counter.propose() == "proposed"
    assert number_changes.propose(db, other, NEW, WHY, counter.olive, now) == "proposed"
    counter.approve()
    assert counter.carry_out() == "done"
    assert number_changes.approve(db, other, counter.peter, now) == "taken"


def newcomer(counter: Counter) -> UUID:
    """To whom the network gave Wanjiku's old number."""
    place = counter.db.value("SELECT place_id FROM members WHERE id = %s", [counter.member])
    return member(counter.db, counter.now, 9, "Kamau", place_id=place)


def newest_message(db: Db) -> UUID:
    found: UUID = db.value("SELECT id FROM messages ORDER BY created_at DESC, id DESC LIMIT 1")
    return found


def state_of_message(db: Db, message_id: UUID) -> str:
    found: str = db.value("SELECT state FROM messages WHERE id = %s", [message_id])
    return found


def two_of_one_phone(db: Db, now: datetime) -> tuple[UUID, UUID]:
    owner = member(db, now, 9)
    return owner, join(db, owner, now)


def join(db: Db, owner: UUID, now: datetime) -> UUID:
    done = members.share(
        db, owner, name="Juma", language="sw", consent_version="1", consent_wording="I agree.",
        pin="7391", rules=PIN_RULES, now=now,
    )  # fmt: skip
    assert done == "joined"
    found = members.by_id(db, owner)
    assert found is not None
    return members.sharing(db, found.msisdn)[1].id


def move_number(db: Db, member_id: UUID, to: str | None, now: datetime) -> None:
    """By two people, to the end."""
    olive, peter = hire(db, "olive"), hire(db, "peter", ["approver"])
    assert number_changes.propose(db, member_id, to, WHY, olive, now) == "proposed"
    assert number_changes.approve(db, member_id, peter, now) == "approved"
    assert carry_out(db, now) == "done"
