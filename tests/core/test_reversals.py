"""Reversals: what M-Pesa itself gave back to a payer is taken from where it lay, and told."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from core import (
    charges,
    deliveries,
    disputes,
    ledger,
    members,
    payout_calls,
    payout_proofs,
    payouts,
    receipts,
    refunds,
    resolutions,
    settlements,
    verdicts,
    withdrawals,
)
from core.database import Database, Db
from core.rules import Rules
from core.statement_lines import Line
from tests.core.bank import Bank
from tests.core.deal import Deal
from tests.core.market import RULES, TOTAL_CENTS, c2b, open_market, order_of, paid, purchase, pushed
from tests.core.office import WHY, at_work, hire
from tests.core.parts import WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS
from tests.core.test_payers import REST_CENTS, SISTER, SUM_CENTS, Lorry

ONE_PERSON = Rules(difference_second_above_cents=10**9, decisions_alone_max_cents=10**9)
TWO_PEOPLE = Rules(difference_second_above_cents=9_999)
OURS_CENTS = 1_000_000
TOMATOES, BEANS = 50_000, 18_100
GAVE_BACK = "SREVERSE01"


class Office:
    """Olive books what the statement shows that M-Pesa gave back, Peter agrees."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.now = db, now
        legs = [ledger.debit(ledger.B2C, OURS_CENTS), ledger.credit(ledger.CAPITAL, OURS_CENTS)]
        ledger.post(db, "test", "test:ours", legs, now)
        self.bank = Bank(db, now)
        self.olive, self.peter = hire(db, "olive"), hire(db, "peter", ["approver"])

    def shows(self, *payments: tuple[str, int], gone: str, receipt: str = GAVE_BACK) -> int:
        """The statement: these payments, and that one of them went back; the case's number."""
        for paid_in, cents in payments:
            self.bank.paid_in(paid_in, cents)
        self.bank.tell(
            "A.c2b",
            Line(receipt, "reversal", -dict(payments)[gone], self.bank.at(2), linked_receipt=gone),
        )
        self.bank.reconcile()
        (found,) = (each for each in self.bank.open() if each.kind == "reversed")
        return found.number

    def decide(self, number: int, against: Any = "payment", rules: Rules = ONE_PERSON) -> str:
        night = self.bank.night
        return resolutions.decide(self.db, number, self.olive, against, WHY, rules, night)

    def approve(self, number: int) -> str:
        return resolutions.approve(self.db, number, self.peter, self.bank.night)

    def money(self) -> dict[str, int]:
        """What there is, but for our own capital and its float; everything that must be, is."""
        assert ledger.unbalanced_transfers(self.db) == ledger.stale_balances(self.db) == 0
        for counted in (WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS):
            assert self.db.value(counted) == 0, counted
        found = {each.kind: each.balance_cents for each in ledger.trial_balance(self.db)}
        return {k: v for k, v in found.items() if v and k not in ("A.b2c", "Q.capital")}

    def is_clean(self) -> bool:
        """The next night finds nothing any more."""
        self.bank.reconcile()
        return self.bank.open() == []

    def told(self, trigger: str) -> set[str]:
        found = self.db.value(
            """
            SELECT array_agg(m.name) FROM messages t JOIN members m ON m.id = t.member_id
            WHERE t.trigger = %s
            """,
            [trigger],
        )
        return set(found or [])


@pytest.fixture
def office(db: Db, now: datetime) -> Office:
    return Office(db, now)


@pytest.fixture
def deal(office: Office) -> Deal:
    """Of tomatoes for KSh 500, beside an order of beans for KSh 181, in one payment."""
    return Deal(office.db, office.now)


def gone(office: Office, deal: Deal) -> int:
    receipt = f"R{deal.bought.reference}"
    return office.shows((receipt, TOTAL_CENTS), gone=receipt)


def charge_of(deal: Deal) -> str:
    found = charges.by_id(deal.db, deal.bought.charge_id)
    assert found is not None
    return found.state


# --- held -----------------------------------------------------------------------------------------


def test_orders_that_nobody_has_sent_are_cancelled_and_their_goods_are_back(
    office: Office, deal: Deal
) -> None:
    assert office.decide(gone(office, deal)) == "resolved"
    assert office.money() == {}
    assert (deal.state(), charge_of(deal)) == ("cancelled", "reversed")
    assert deal.goods() == (10_000, 0, 10_000)
    assert office.told("payment_reversed") == {"Amina", "Wanjiku Fresh", "Otieno Supplies"}
    assert office.is_clean()


def test_one_transfer_goes_from_each_escrow_to_the_collection_float(
    office: Office, deal: Deal
) -> None:
    office.decide(gone(office, deal))
    legs = deal.db.value(
        """
        SELECT json_agg(json_build_array(a.kind, e.amount_cents) ORDER BY e.amount_cents)
        FROM transfers t JOIN entries e ON e.transfer_id = t.id
        JOIN accounts a ON a.id = e.account_id
        WHERE t.kind = 'difference'
        """
    )
    assert legs == [["A.c2b", -TOTAL_CENTS], ["L.escrow", BEANS], ["L.escrow", TOMATOES]]


@pytest.mark.parametrize("party", ["buyer", "seller", "payer"])
def test_nobody_of_ours_books_the_reversal_of_their_own(
    office: Office, deal: Deal, party: str
) -> None:
    if party == "payer":
        their = SISTER
        deal.db.run("UPDATE charges SET msisdn = %s", [their])
    else:
        member = members.by_id(deal.db, deal.buyer if party == "buyer" else deal.seller)
        assert member is not None
        their = member.msisdn
    number, before = gone(office, deal), office.money()
    olive, peter = office.olive, office.peter
    office.olive = office.peter = hire(office.db, "trader", ["operator", "approver"], their)
    assert office.decide(number) == office.decide(number, "nothing") == "party"
    office.olive = olive
    assert office.decide(number, rules=TWO_PEOPLE) == "proposed"
    assert office.approve(number) == "party"
    assert (deal.state(), office.money()) == ("paid", before)
    office.peter = peter
    assert office.approve(number) == "resolved"


@pytest.mark.parametrize("state", ["dispatched", "delivered"])
def test_an_order_on_its_way_ends_refunded_and_both_are_told(
    office: Office, deal: Deal, state: str
) -> None:
    deal.comes_to(state)
    assert office.decide(gone(office, deal)) == "resolved"
    assert (deal.state(), office.money()) == ("refunded", {})
    assert deal.goods() == (8_000, 0, 8_000)
    assert office.told("sent_reversed") == {"Amina", "Wanjiku Fresh"}
    deal.wait_for_timers(deal.now + timedelta(days=9))
    assert (deal.state(), office.money()) == ("refunded", {})


@pytest.mark.parametrize("proposed", [False, True])
def test_a_dispute_ends_with_its_money_and_nobody_decides_it_any_more(
    office: Office, deal: Deal, proposed: bool
) -> None:
    db = office.db
    deal.comes_to("dispatched")
    assert deal.complain() == "opened"
    found = disputes.of_order(db, deal.id)
    assert found is not None
    if proposed:
        two = Rules(dispute_second_above_cents=0)
        when = found.answer_by
        assert (
            verdicts.decide(db, found.id, office.olive, 0, TOMATOES, WHY, two, when) == "proposed"
        )
    assert office.decide(gone(office, deal)) == "resolved"
    assert (deal.state(), office.money()) == ("refunded", {})
    ended = disputes.by_id(db, found.id)
    assert ended is not None
    assert ended.state == "resolved_buyer"
    assert verdicts.approve(db, found.id, office.peter, office.now) == "already_decided"
    assert db.value("SELECT count(*) FROM incidents WHERE closed_at IS NULL AND kind IN"
                    " ('disputed', 'verdict_to_approve')") == 0  # fmt: skip


def test_what_one_side_said_of_less_lapses(office: Office, deal: Deal) -> None:
    deal.comes_to("dispatched")
    assert deal.say_less_came() == "asked"
    assert office.decide(gone(office, deal)) == "resolved"
    assert (deal.ended(), office.money()) == (["lapsed"], {})


# --- paid out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_cents", [48_700, 10_000, 0])
def test_what_a_seller_got_is_taken_up_to_what_he_has_and_the_rest_is_our_loss(
    office: Office, deal: Deal, has_cents: int
) -> None:
    deal.comes_to("dispatched")
    assert deal.received() == "released"
    if has_cents < 48_700:
        legs = [
            ledger.debit(ledger.seller(deal.seller), 48_700 - has_cents),
            ledger.credit(ledger.CAPITAL, 48_700 - has_cents),
        ]
        ledger.post(office.db, "test", "test:withdrawn", legs, office.now)
    assert office.decide(gone(office, deal)) == "resolved"
    assert office.money() == {"E.loss": TOMATOES - has_cents, "R.fee": 1_300}
    assert (deal.state(), charge_of(deal)) == ("completed", "reversed")
    assert office.told("released_reversed") == {"Amina"}
    assert office.told("balance_reversed") == ({"Wanjiku Fresh"} if has_cents else set())
    assert office.told("payment_reversed") == {"Amina", "Otieno Supplies"}  # the beans
    assert office.is_clean()


def test_of_an_order_that_came_in_part_the_rest_leaves_the_escrow(
    office: Office, deal: Deal
) -> None:
    deal.comes_to("accepted")
    assert deal.send_part() == "dispatched"
    assert deal.received() == "released"
    had_cents = ledger.balance(office.db, ledger.seller(deal.seller))
    assert office.decide(gone(office, deal)) == "resolved"
    assert (deal.state(), office.told("rest_reversed")) == ("completed", {"Amina", "Wanjiku Fresh"})
    assert office.money()["E.loss"] == 25_000 - had_cents == office.money()["R.fee"]


def test_what_went_back_to_the_buyer_before_is_taken_from_her(office: Office, deal: Deal) -> None:
    assert deal.cancel() == "cancelled"
    assert office.decide(gone(office, deal)) == "resolved"
    assert office.money() == {}
    assert office.told("balance_reversed") == {"Amina"}
    assert refunds.refund_balance(office.db, deal.buyer, RULES, office.now) == "nothing"


def test_a_second_payment_that_went_back_leaves_the_first_with_its_orders(
    office: Office, deal: Deal
) -> None:
    first, again = f"R{deal.bought.reference}", "RCPT000002"
    told = c2b(deal.bought.reference, office.now, again)
    assert settlements.receive(office.db, told, office.now) == "second_payment"
    number = office.shows((first, TOTAL_CENTS), (again, TOTAL_CENTS), gone=again)
    assert office.decide(number) == "resolved"
    assert office.money() == {"A.c2b": TOTAL_CENTS, "L.escrow": TOTAL_CENTS}
    assert (deal.state(), charge_of(deal)) == ("paid", "paid")
    assert settlements.receive(office.db, told, office.now) == "repeat"


def test_a_late_payment_that_went_back_and_was_spent_is_our_loss(
    office: Office, deal: Deal, now: datetime
) -> None:
    assert deal.cancel() == "cancelled"
    legs = [
        ledger.debit(ledger.buyer(deal.buyer), TOMATOES),
        ledger.credit(ledger.CAPITAL, TOMATOES),
    ]
    ledger.post(office.db, "test", "test:sent", legs, now)
    assert office.decide(gone(office, deal)) == "resolved"
    assert office.money() == {"E.loss": TOMATOES}


def test_a_loss_waits_until_what_the_buyer_withdraws_is_there_or_back(
    office: Office, deal: Deal
) -> None:
    assert deal.cancel() == "cancelled"
    assert isinstance(withdrawals.withdraw(office.db, deal.buyer, None, RULES, office.now), list)
    (sent,) = payouts.of_member(office.db, deal.buyer, 9)
    number, before = gone(office, deal), office.money()
    assert office.decide(number) == "on_its_way"
    assert office.money() == before
    assert payout_calls.claim_for_submit(office.db, sent.id, RULES, office.now) is not None
    failed = payout_proofs.PayoutResult("result", "failed", "8", originator_id=sent.originator_id)
    assert payout_proofs.settle(office.db, sent.id, failed, office.now) == "failed"
    assert office.decide(number) == "resolved"
    assert office.money() == {}


# --- parts, and what nobody explains --------------------------------------------------------------


@pytest.fixture
def lorry(office: Office) -> Lorry:
    """KSh 400,000 of tomatoes, to be paid in two parts by two lines."""
    return Lorry(office.db, open_market(office.db, office.now), office.now)


def parts(lorry: Lorry, count: int) -> list[tuple[str, int]]:
    """So many of its parts paid: receipts and amounts."""
    for number in range(count):
        if number:
            lorry.wait(timedelta(minutes=2))
            assert lorry.again(SISTER) == "asked"
        assert lorry.pay() in ("part", "paid")
    return [(f"R{each.reference}", each.amount_cents) for each in lorry.charges]


def test_a_part_that_went_back_is_missing_again(office: Office, lorry: Lorry) -> None:
    (only,) = parts(lorry, 1)
    number = office.shows(only, gone=only[0])
    assert office.decide(number) == "resolved"
    assert (lorry.state, office.money()) == ("placed", {})
    assert lorry.newest.state == "reversed"
    assert office.told("part_reversed") == {"Amina"}
    lorry.wait(timedelta(minutes=3))
    assert lorry.again() == "asked"
    assert parts(lorry, 1)[1][1] == only[1]


def test_of_a_price_paid_in_parts_the_other_part_goes_back_to_whoever_paid_it(
    office: Office, lorry: Lorry
) -> None:
    first, second = parts(lorry, 2)
    assert lorry.state == "paid"
    assert office.decide(office.shows(first, second, gone=first[0])) == ("resolved")
    assert lorry.state == "cancelled"
    assert office.money() == {"A.c2b": REST_CENTS, "L.buyer": REST_CENTS}
    assert first[1] == SUM_CENTS - REST_CENTS
    assert lorry.refund() == "sent"
    sent = office.db.value(
        "SELECT json_agg(json_build_array(kind, amount_cents, msisdn, reverses_receipt))"
        " FROM payouts"
    )
    assert sent == [["reversal", REST_CENTS, SISTER, second[0]]]


def test_what_nobody_could_explain_is_explained_no_more(office: Office) -> None:
    told = c2b("MAMA MBOGA", office.now, "RCPT000009", 30_000)
    assert settlements.receive(office.db, told, office.now) == "suspense"
    number = office.shows(("RCPT000009", 30_000), gone="RCPT000009")
    assert office.decide(number) == "resolved"
    assert office.money() == {}
    assert receipts.unexplained(office.db, "RCPT000009") is None
    assert settlements.receive(office.db, told, office.now) == "repeat"
    assert office.db.value("SELECT count(*) FROM incidents WHERE kind = 'unexplained_money'"
                           " AND closed_at IS NULL") == 0  # fmt: skip


def test_a_callback_that_names_what_is_gone_is_a_conflict(office: Office, deal: Deal) -> None:
    receipt = "RCPT000009"
    assert (
        settlements.receive(office.db, c2b("NAMED", office.now, receipt), office.now) == "suspense"
    )
    number = office.shows((receipt, TOTAL_CENTS), gone=receipt)
    assert office.decide(number) == "resolved"
    deal.cancel()
    later = office.now + timedelta(minutes=3)
    again = pushed(office.db, purchase(office.db, deal.market, later), later)
    outcome = settlements.settle(office.db, again.charge_id, paid(again, receipt), later)
    assert (outcome, ledger.balance(office.db, ledger.C2B)) == ("conflict", TOTAL_CENTS)


# --- by whom --------------------------------------------------------------------------------------


def test_above_the_limit_nothing_ends_before_a_second_person_agrees(
    office: Office, deal: Deal
) -> None:
    number, before = gone(office, deal), office.money()
    assert office.decide(number, rules=TWO_PEOPLE) == "proposed"
    assert (deal.state(), office.money()) == ("paid", before)
    deal.accept()  # what was agreed to is the payment, wherever it lies by then
    assert office.approve(number) == "resolved"
    assert (deal.state(), office.money()) == ("cancelled", {})


@pytest.mark.parametrize("against", sorted(set(resolutions.AGAINST) - {"payment", "nothing"}))
def test_what_was_a_payment_is_booked_to_nothing_else(
    office: Office, deal: Deal, against: str
) -> None:
    number, before = gone(office, deal), office.money()
    assert office.decide(number, against) == "no_such_posting"
    assert (deal.state(), office.money()) == ("paid", before)


def test_a_payment_goes_back_once_and_a_second_line_of_it_is_a_loss(
    office: Office, deal: Deal
) -> None:
    assert office.decide(gone(office, deal)) == "resolved"
    receipt = f"R{deal.bought.reference}"
    again = Line("SREVERSE02", "reversal", -TOTAL_CENTS, office.bank.at(3), linked_receipt=receipt)
    office.bank.tell("A.c2b", again)
    office.bank.reconcile()
    (found,) = (each for each in office.bank.open() if each.kind == "reversed")
    assert office.decide(found.number) == "no_such_posting"
    assert office.decide(found.number, "loss") == "too_little"  # the float holds none of it


@pytest.mark.parametrize("against", ["payment", "loss"])
def test_what_we_are_to_reverse_ourselves_is_booked_by_the_proof_of_that_alone(
    office: Office, deal: Deal, against: str
) -> None:
    """The refund waits for a second person; then M-Pesa says that it has reversed it before."""
    for seller in (deal.seller, deal.market.otieno):
        order = order_of(office.db, deal.bought, seller)
        assert deliveries.refuse(office.db, order.id, seller, office.now) == "refused"
    two_people = replace(RULES, payout_automatic_max_cents=0)
    assert refunds.refund_balance(office.db, deal.buyer, two_people, office.now) == "sent"
    (ours,) = payouts.of_member(office.db, deal.buyer, 9)
    number, before = gone(office, deal), office.money()
    assert office.decide(number, against) == "asked_for"
    assert office.money() == before
    assert payouts.approve(office.db, ours.id, "peter", office.now) == "approved"
    assert payout_calls.claim_for_submit(office.db, ours.id, RULES, office.now) is not None
    done = payout_proofs.PayoutResult("result", "reversed", "R000001")
    assert payout_proofs.settle(office.db, ours.id, done, office.now) == "paid"
    assert office.money() == {}
    assert office.is_clean()


def test_a_loss_that_nothing_of_ours_covers_waits_for_capital(office: Office, deal: Deal) -> None:
    deal.comes_to("dispatched")
    deal.received()
    other, spent_cents = ledger.seller(deal.market.otieno), OURS_CENTS + 48_700
    legs = [
        ledger.debit(ledger.CAPITAL, OURS_CENTS),
        ledger.debit(ledger.seller(deal.seller), 48_700),
        ledger.credit(other, spent_cents),
    ]
    ledger.post(office.db, "test", "test:spent", legs, office.now)
    number, before = gone(office, deal), office.money()
    assert office.decide(number) == "insolvent"
    assert (deal.state(), office.money()) == ("completed", before)
    legs = [ledger.debit(other, spent_cents), ledger.credit(ledger.CAPITAL, spent_cents)]
    ledger.post(office.db, "test", "test:again", legs, office.now)
    assert office.decide(number) == "resolved"


# --- at once --------------------------------------------------------------------------------------


def test_of_many_who_book_it_while_the_goods_are_taken_one_does(
    new_database: Callable[[], Any], now: datetime
) -> None:
    """The buyer's word and the decision wait for one another, whoever comes first."""
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=random.Random(1), size=8)
        with database.begin() as db:
            office = Office(db, now)
            deal = Deal(db, now)
            deal.comes_to("dispatched")
            number = gone(office, deal)

        def decide() -> str:
            with database.begin() as db:
                by, night = at_work(db, "olive"), office.bank.night
                return resolutions.decide(db, number, by, "payment", WHY, ONE_PERSON, night)

        def receive() -> str:
            with database.begin() as db:
                return deliveries.received(db, deal.id, deal.buyer, now)

        with ThreadPoolExecutor(8) as threads:
            doing = [threads.submit(each) for each in [decide, receive] * 4]
            said = sorted(each.result(60) for each in doing)
        assert said.count("resolved") == 1
        assert said.count("not_open") in (6, 7)  # the word was in time, or not
        with database.begin() as db:
            office.db = db
            lost_cents = office.money().get("E.loss", 0)
            assert lost_cents == (1_300 if "released" in said else 0)
        database.close()
