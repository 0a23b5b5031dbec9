# ruff: noqa: N802 - I1 to I21 are names
"""Resolutions: a difference is booked where staff say, once, in writing; a large one by two."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.errors import CheckViolation, UniqueViolation

from core import audit, differences, ledger, resolutions, settlements, solvency, suspense
from core.database import Db
from core.differences import Difference
from core.resolutions import AGAINST
from core.rules import Rules
from core.staff import Actor
from core.statement_lines import Line
from tests.core.bank import Bank
from tests.core.market import TOTAL_CENTS, c2b, open_market, paid, purchase, pushed
from tests.core.office import WHY, hire
from tests.core.purse import FLOAT_CENTS, PAID_CHARGE_CENTS, Purse
from tests.core.transactions import NOW, rolled_back

ONE_PERSON = Rules(difference_second_above_cents=100_000_000)
TWO_PEOPLE = Rules(difference_second_above_cents=9_999)
LOST = 10_000


class Counter:
    """Of a bank: Olive books what differs, Peter agrees."""

    def __init__(self, bank: Bank, purse: Purse) -> None:
        self.bank, self.purse, self.db = bank, purse, bank.db
        self.olive = hire(self.db, "olive")
        self.peter = hire(self.db, "peter", ["approver"])

    def case(self, kind: str) -> Difference:
        (found,) = (each for each in self.bank.open() if each.kind == kind)
        return found

    def foreign(self, cents: int = LOST) -> int:
        """M-Pesa shows a payment that names nothing of ours; its number."""
        self.bank.paid_in("RCPT000009", cents, "MAMA MBOGA")
        self.bank.reconcile()
        return self.case("not_with_us").number

    def taken(self, cents: int = LOST) -> int:
        """M-Pesa shows that something left the payout float."""
        self.bank.tell("A.b2c", Line("STAKEN0001", "other", -cents, self.bank.at(1)))
        self.bank.reconcile()
        return self.case("not_with_us").number

    def missing(self) -> int:
        """Our books have a payout of KSh 1,000 that M-Pesa does not show."""
        payout_id = self.purse.accepted()
        self.purse.settle(payout_id, self.purse.paid(payout_id))
        self.bank.lines["L.mcharges"].append(
            Line("SG632NMUAB", "charge", -PAID_CHARGE_CENTS, self.bank.at(1))
        )
        self.bank.reconcile()
        return self.case("not_at_mpesa").number

    def decide(
        self,
        number: int,
        against: Any = "loss",
        by: Actor | None = None,
        why: str = WHY,
        rules: Rules = ONE_PERSON,
    ) -> str:
        by = by or self.olive
        return resolutions.decide(self.db, number, by, against, why, rules, self.bank.night)

    def approve(self, number: int, by: Actor | None = None) -> str:
        return resolutions.approve(self.db, number, by or self.peter, self.bank.night)

    def decline(self, number: int, by: Actor | None = None, why: str = WHY) -> str:
        return resolutions.decline(self.db, number, by or self.peter, why, self.bank.night)

    def state(self, number: int) -> str:
        found = differences.numbered(self.db, number)
        assert found is not None
        return found.state

    def acts(self, number: int) -> list[str]:
        return [act.what for act in audit.of(self.db, f"case {number}")]

    def books(self) -> dict[str, int]:
        return {each.kind: each.balance_cents for each in ledger.trial_balance(self.db)}


@pytest.fixture
def counter(db: Db, now: datetime) -> Counter:
    purse = Purse(db, now)
    return Counter(Bank(db, now), purse)


# --- booked --------------------------------------------------------------------------------------


def test_an_unknown_payment_goes_to_suspense_and_a_late_confirmation_is_a_repeat(
    counter: Counter, now: datetime
) -> None:
    number = counter.foreign()
    assert counter.decide(number, "suspense") == "resolved"
    assert ledger.balance(counter.db, ledger.SUSPENSE) == LOST
    late = c2b("MAMA MBOGA", now, "RCPT000009", LOST)
    assert settlements.receive(counter.db, late, now) == "repeat"
    counter.bank.reconcile()
    assert (counter.bank.open(), counter.state(number)) == ([], "resolved")


def test_a_payment_whose_callback_comes_late_is_taken_out_of_suspense(
    counter: Counter, now: datetime
) -> None:
    bought = pushed(counter.db, purchase(counter.db, open_market(counter.db, now), now), now)
    counter.bank.paid_in("RCPT000001", TOTAL_CENTS, "A NAME")
    counter.bank.reconcile()
    assert counter.decide(counter.case("not_with_us").number, "suspense") == "resolved"
    assert settlements.settle(counter.db, bought.charge_id, paid(bought), now) == "paid"
    assert ledger.balance(counter.db, ledger.SUSPENSE) == 0
    counter.bank.reconcile()
    assert counter.bank.open() == []


@pytest.mark.parametrize(
    ("against", "kind"), [("loss", "E.loss"), ("bank", "A.bank"), ("charges", "E.mcharges")]
)
def test_what_left_without_us_is_booked_where_it_went(
    counter: Counter, against: str, kind: str
) -> None:
    number = counter.taken()
    assert counter.decide(number, against) == "resolved"
    books = counter.books()
    assert (books["A.b2c"], books[kind]) == (FLOAT_CENTS - LOST, LOST)
    counter.bank.reconcile()
    assert (counter.bank.open(), counter.state(number)) == ([], "resolved")


def test_what_never_left_is_ours_again(counter: Counter) -> None:
    before = counter.books()["A.b2c"]
    number = counter.missing()
    assert counter.decide(number, "loss") == "resolved"
    assert counter.books()["A.b2c"] == before
    assert counter.books()["E.loss"] == -100_000
    counter.bank.reconcile()
    assert (counter.bank.open(), counter.state(number)) == ([], "resolved")


def test_the_rest_of_a_charge_is_booked(counter: Counter) -> None:
    payout_id = counter.purse.accepted()
    counter.purse.settle(payout_id, counter.purse.paid(payout_id))
    counter.bank.paid_out("SG632NMUAB", 100_000, counter.purse.msisdn, charge=900)
    counter.bank.reconcile()
    number = counter.case("charge").number
    assert counter.decide(number, "charges") == "resolved"
    assert counter.books()["L.mcharges"] == counter.books()["E.mcharges"] == 900
    counter.bank.reconcile()
    assert counter.bank.open() == []


def test_what_mpesa_never_had_leaves_suspense_with_its_receipt(
    counter: Counter, now: datetime
) -> None:
    """Or it would be given to somebody yet: out of what another has there."""
    db, bank = counter.db, counter.bank
    assert counter.decide(counter.foreign(), "suspense") == "resolved"
    told = c2b("NAMED", now, "SNEVER0001", LOST)
    assert settlements.receive(db, told, now) == "suspense"
    bank.reconcile()
    missing = counter.case("not_at_mpesa")
    assert missing.action.endswith("book it to suspense, where it lies")
    for against in ("loss", "bank", "owed"):
        assert counter.decide(missing.number, against) == "no_such_posting"
    assert counter.decide(missing.number, "suspense") == "resolved"
    assert [it.receipt for it in suspense.unexplained(db)] == ["RCPT000009"]
    given = (counter.purse.msisdn, counter.olive, WHY, bank.night)
    assert suspense.give_back(db, "SNEVER0001", *given) == "not_in_suspense"
    assert "E.loss" not in counter.books()
    assert ledger.balance(db, ledger.SUSPENSE) == LOST
    bank.reconcile()
    assert bank.open() == []


def test_what_mpesa_never_had_and_somebody_was_given_is_our_loss(
    counter: Counter, now: datetime
) -> None:
    """No other's money that lies in suspense is taken for it."""
    db, bank = counter.db, counter.bank
    assert counter.decide(counter.foreign(), "suspense") == "resolved"
    told = c2b("NAMED", now, "SNEVER0001", LOST)
    assert settlements.receive(db, told, now) == "suspense"
    bank.reconcile()
    missing = counter.case("not_at_mpesa").number
    given = (counter.purse.msisdn, counter.olive, WHY, bank.night)
    assert suspense.give_back(db, "SNEVER0001", *given) == "proposed"
    assert counter.decide(missing, "suspense", rules=TWO_PEOPLE) == "proposed"
    assert suspense.approve(db, "SNEVER0001", counter.peter, bank.night) == "returned"
    assert counter.approve(missing) == "too_little"
    assert counter.decline(missing) == "declined"
    assert counter.decide(missing, "loss") == "resolved"
    assert (counter.books()["E.loss"], ledger.balance(db, ledger.SUSPENSE)) == (LOST, LOST)


def test_what_is_only_explained_moves_nothing_and_stays_so(counter: Counter) -> None:
    number = counter.foreign()
    before = counter.books()
    assert counter.decide(number, "nothing") == "resolved"
    counter.bank.reconcile()
    assert counter.state(number) == "resolved"
    assert counter.books() == before
    (balance,) = counter.bank.open()
    assert balance.kind == "balance"
    assert counter.decide(balance.number, "nothing") == "resolved"


def test_a_resolved_one_is_open_again_when_it_becomes_another(counter: Counter) -> None:
    number = counter.foreign()
    assert counter.decide(number, "nothing") == "resolved"
    line = counter.bank.lines["A.c2b"].pop()
    counter.bank.paid_in("RCPT000009", line.amount_cents + 100, "MAMA MBOGA")
    counter.bank.reconcile()
    again = counter.case("not_with_us")
    assert (again.number, again.theirs_cents) == (number, LOST + 100)


# --- two people ----------------------------------------------------------------------------------


def test_above_the_limit_nothing_moves_before_a_second_person_agrees(counter: Counter) -> None:
    number, before = counter.taken(), counter.books()
    assert counter.decide(number, rules=TWO_PEOPLE) == "proposed"
    assert (counter.books(), counter.state(number)) == (before, "open")
    assert "resolution_to_approve" in counter.purse.open_incidents()
    assert counter.decide(number, rules=TWO_PEOPLE) == "already_proposed"
    assert counter.approve(number) == "resolved"
    assert counter.books()["E.loss"] == LOST
    assert counter.acts(number) == ["resolution_proposed", "resolution_approved"]
    assert "resolution_to_approve" not in counter.purse.open_incidents()
    assert counter.approve(number) == "not_proposed"


def test_at_the_limit_one_person_is_enough(counter: Counter) -> None:
    assert counter.decide(counter.taken(9_999), rules=TWO_PEOPLE) == "resolved"


def test_nobody_approves_what_they_decided(counter: Counter) -> None:
    both = hire(counter.db, "olive", ["operator", "approver"])
    number = counter.taken()
    assert counter.decide(number, by=both, rules=TWO_PEOPLE) == "proposed"
    assert counter.approve(number, both) == "own"
    assert counter.books().get("E.loss", 0) == 0
    assert "resolution_own_approval" in counter.purse.open_incidents()


@pytest.mark.parametrize("who", ["olive", "peter"])
def test_a_proposal_is_declined_or_taken_back_and_decided_anew(counter: Counter, who: str) -> None:
    number = counter.taken()
    assert counter.decide(number, rules=TWO_PEOPLE) == "proposed"
    assert counter.decline(number, by=getattr(counter, who)) == "declined"
    assert counter.acts(number)[-1] == "resolution_declined"
    assert counter.decide(number, "bank", rules=TWO_PEOPLE) == "proposed"
    assert counter.approve(number) == "resolved"
    assert counter.books()["A.bank"] == LOST


def test_what_was_agreed_to_must_still_be_what_differs(counter: Counter) -> None:
    number = counter.foreign()
    assert counter.decide(number, "suspense", rules=TWO_PEOPLE) == "proposed"
    counter.bank.lines["A.c2b"].pop()
    counter.bank.reconcile()
    assert counter.approve(number) == "outdated"
    assert counter.state(number) == "gone"
    assert counter.approve(number) == "not_proposed"
    assert ledger.balance(counter.db, ledger.SUSPENSE) == 0


def test_what_was_agreed_to_is_not_what_it_became(counter: Counter) -> None:
    number = counter.taken()
    assert counter.decide(number, rules=TWO_PEOPLE) == "proposed"
    line = counter.bank.lines["A.b2c"].pop()
    counter.bank.tell("A.b2c", replace(line, amount_cents=line.amount_cents * 2))
    counter.bank.reconcile()
    assert counter.approve(number) == "outdated"
    assert counter.books().get("E.loss", 0) == 0
    assert counter.decide(number) == "resolved"
    assert counter.books()["E.loss"] == 2 * LOST


# --- a party -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paid", "never paid"])
def test_nobody_books_a_payout_of_their_own(counter: Counter, state: str) -> None:
    """Of ours, which M-Pesa does not show; or to their phone, of which we know nothing."""
    if state == "paid":
        number = counter.missing()
    else:
        counter.bank.paid_out("STAKEN0003", LOST, counter.purse.msisdn)
        counter.bank.reconcile()
        number = counter.case("not_with_us").number
    before = counter.books()
    wanjiku = hire(counter.db, "wanjiku", ["operator", "approver"], counter.purse.msisdn)
    for against in AGAINST:
        assert counter.decide(number, against, by=wanjiku) == "party"
    assert (counter.state(number), counter.acts(number)) == ("open", [])
    assert "resolution_by_a_party" in counter.purse.open_incidents()
    assert counter.decide(number, rules=TWO_PEOPLE) == "proposed"
    assert counter.approve(number, by=wanjiku) == "party"
    assert counter.books() == before
    assert counter.approve(number) == "resolved"


def test_nobody_books_a_payment_that_was_given_to_them(counter: Counter) -> None:
    """A stranger's money that went back to a member; then M-Pesa takes it back too."""
    db, bank, purse = counter.db, counter.bank, counter.purse
    number = counter.foreign()
    assert counter.decide(number, "suspense") == "resolved"
    given = suspense.give_back(db, "RCPT000009", purse.msisdn, counter.olive, WHY, bank.night)
    assert given == "proposed"
    assert suspense.approve(db, "RCPT000009", counter.peter, bank.night) == "returned"
    gone = Line("SGONE00001", "reversal", -LOST, bank.at(2), linked_receipt="RCPT000009")
    bank.tell("A.c2b", gone)
    bank.reconcile()
    wanjiku = hire(db, "wanjiku", msisdn=purse.msisdn)
    number = counter.case("reversed").number
    assert counter.decide(number, "loss", by=wanjiku) == "party"
    assert counter.decide(number, "loss") == "resolved"


# --- refused -------------------------------------------------------------------------------------


def test_what_is_refused_moves_nothing_and_leaves_it_open(counter: Counter) -> None:
    number, before = counter.foreign(), counter.books()
    balance = counter.case("balance").number
    assert counter.decide(number, by=counter.peter) == "not_allowed"
    assert counter.decide(number, "suspense", why="short") == "no_reason"
    assert counter.decide(number, "suspense", why="x" * 501) == "no_reason"
    assert counter.decide(number + 1_000) == "not_open"
    assert counter.decide(number, "loss") == "no_such_posting"
    assert counter.decide(balance, "loss") == "no_such_posting"
    assert counter.approve(number) == "not_proposed"
    assert counter.approve(number, counter.olive) == "not_allowed"
    assert counter.approve(number + 1_000) == "not_open"
    assert counter.decline(number) == "not_proposed"
    assert counter.decline(number, counter.olive) == "not_proposed"
    assert counter.decline(number + 1_000) == "not_open"
    assert (counter.state(number), counter.books()) == ("open", before)
    assert counter.acts(number) == []


def test_a_resolved_one_is_not_resolved_again(counter: Counter) -> None:
    number = counter.taken()
    assert counter.decide(number) == "resolved"
    assert counter.decide(number) == "not_open"
    assert counter.books()["E.loss"] == LOST


def test_I2_no_account_goes_below_zero(counter: Counter) -> None:
    number = counter.taken()
    assert counter.decide(number, "suspense") == "too_little"  # there is nothing in suspense
    assert counter.decide(number, "owed") == "too_little"
    assert counter.decide(number, "payment") == "no_such_posting"  # it was nobody's
    bank = counter.bank
    bank.tell("A.b2c", Line("STAKEN0002", "other", -2 * FLOAT_CENTS, bank.at(2)))
    bank.reconcile()
    (much,) = (each for each in bank.open() if each.receipt == "STAKEN0002")
    assert counter.decide(much.number, "loss") == "too_little"


def test_I21_a_loss_that_nothing_of_ours_covers_waits_for_capital(counter: Counter) -> None:
    number = counter.taken()
    seller, spare_cents = counter.purse.seller, solvency.surplus_cents(counter.db)
    counter.purse.move("hers", ledger.CAPITAL, seller, spare_cents - LOST + 100)
    assert counter.decide(number, "loss") == "insolvent"
    assert counter.state(number) == "open"
    counter.purse.move("ours", seller, ledger.CAPITAL, 100)
    assert counter.decide(number, "loss") == "resolved"
    assert solvency.surplus_cents(counter.db) == 0


def test_the_database_keeps_two_people_and_one_proposal(counter: Counter) -> None:
    number = counter.taken()
    assert counter.decide(number, rules=TWO_PEOPLE) == "proposed"
    counter.db.run("SAVEPOINT before")
    with pytest.raises(CheckViolation):
        counter.db.run(
            "UPDATE resolutions SET state = 'carried_out', ended_at = decided_at,"
            " approved_by = decided_by"
        )
    counter.db.run("ROLLBACK TO before")
    with pytest.raises(UniqueViolation):
        counter.db.run(
            "INSERT INTO resolutions SELECT gen_random_uuid(), difference_id, state, gap_cents,"
            " against, reason, decided_by, decided_at FROM resolutions"
        )


@settings(max_examples=25)
@given(st.sampled_from(AGAINST), st.integers(-20_000, 20_000).filter(bool), st.booleans())
def test_I1_I3_I21_whatever_is_resolved_leaves_the_books_whole(
    database_url: str, against: Any, cents: int, from_payouts: bool
) -> None:
    with rolled_back(database_url) as db:
        purse = Purse(db, NOW, float_cents=15_000)
        counter = Counter(Bank(db, NOW), purse)
        book = "A.b2c" if from_payouts else "A.c2b"
        counter.bank.tell(book, Line("SWHATEVER1", "other", cents, counter.bank.at(1)))
        counter.bank.reconcile()
        before = counter.books()
        done = counter.decide(counter.case("not_with_us").number, against)
        assert done in ("resolved", "too_little", "insolvent", "no_such_posting")
        assert ledger.unbalanced_transfers(db) == ledger.stale_balances(db) == 0
        books = counter.books()
        assert solvency.surplus_cents(db) >= 0
        assert all(each >= 0 for kind, each in books.items() if kind[0] in "L")
        assert books["A.c2b"] >= 0
        assert books["A.b2c"] >= 0
        if done != "resolved" or against == "nothing":
            assert books == before
        else:
            counter.bank.reconcile()
            assert counter.bank.open() == []
