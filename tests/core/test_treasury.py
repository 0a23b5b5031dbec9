"""Treasury: our own money moves only with two people, and never when it is somebody else's."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

import pytest

from core import audit, ledger, solvency, treasury
from core.database import Database, Db
from core.staff import Actor
from core.treasury import Booking, Kind
from tests.core.office import at_work, hire
from tests.core.purse import EARNED_CENTS, FLOAT_CENTS, Purse
from tests.core.transactions import attempt

THOUSAND = 100_000
FEES_CENTS = 250_000
OWED_CENTS = 5_000


@dataclass
class Safe:
    """Fees of KSh 2,500 earned, KSh 50 owed to M-Pesa; Olive proposes, Peter agrees."""

    purse: Purse
    olive: Actor
    peter: Actor

    @property
    def db(self) -> Db:
        return self.purse.db

    def propose(
        self, kind: Kind = "fees", cents: Any = THOUSAND, reference: str = "BANK-1", **given: Any
    ) -> Any:
        of = given.get("of", "b2c" if kind == "capital" else "c2b")
        by = given.get("by", self.olive)
        return treasury.propose(self.db, kind, of, cents, reference, by, self.purse.now)

    def proposed(self, *given: Any, **more: Any) -> Booking:
        booking = self.propose(*given, **more)
        assert isinstance(booking, Booking), booking
        return booking

    def book(self, booking: Booking, by: Actor | None = None) -> str:
        return treasury.book(self.db, booking.number, by or self.peter, self.purse.now)

    def cents(self) -> dict[str, int]:
        of = {"c2b": ledger.C2B, "b2c": ledger.B2C, "bank": ledger.BANK, "capital": ledger.CAPITAL,
              "owed": ledger.MPESA_CHARGES_OWED}  # fmt: skip
        return {name: ledger.balance(self.db, account) for name, account in of.items()}


@pytest.fixture
def safe(db: Db, now: datetime) -> Safe:
    purse = Purse(db, now)
    purse.move("fee", purse.seller, ledger.FEES, FEES_CENTS)
    purse.move("charge", ledger.MPESA_CHARGES, ledger.MPESA_CHARGES_OWED, OWED_CENTS)
    return Safe(purse, hire(db, "olive"), hire(db, "peter", ["approver", "operator"]))


@pytest.mark.parametrize(
    ("kind", "of", "cents", "change"),
    [
        ("capital", "b2c", THOUSAND, {"b2c": THOUSAND, "capital": THOUSAND}),
        ("capital", "c2b", THOUSAND, {"c2b": THOUSAND, "capital": THOUSAND}),
        ("charges", "b2c", OWED_CENTS, {"b2c": -OWED_CENTS, "owed": -OWED_CENTS}),
        ("charges", "c2b", OWED_CENTS, {"c2b": -OWED_CENTS, "owed": -OWED_CENTS}),
        ("fees", "c2b", FEES_CENTS, {"c2b": -FEES_CENTS, "bank": FEES_CENTS}),
    ],
)
def test_what_two_people_agree_on_is_booked(
    safe: Safe, kind: Kind, of: str, cents: int, change: dict[str, int]
) -> None:
    before = safe.cents()
    booking = safe.proposed(kind, cents, of=of)
    assert safe.cents() == before, "nothing moves before the second person"
    assert treasury.proposed(safe.db) == [booking]
    assert safe.book(booking) == "booked"
    assert {n: c - before[n] for n, c in safe.cents().items() if c != before[n]} == change
    assert treasury.proposed(safe.db) == []
    acts = [(act.who, act.what) for act in audit.of(safe.db, booking.subject)]
    assert acts == [("olive", "booking_proposed"), ("peter", "booking_booked")]


def test_nobody_books_their_own(safe: Safe) -> None:
    booking = safe.proposed(by=safe.peter)
    assert safe.book(booking) == "own"
    assert safe.cents()["bank"] == 0
    sql = "UPDATE bookings SET state = 'booked', decided_by = proposed_by, decided_at = proposed_at"
    assert isinstance(attempt(safe.db, lambda: safe.db.run(sql)), type)


@pytest.mark.parametrize("roles", [["approver"], ["admin"]])
def test_only_an_operator_proposes(safe: Safe, roles: list[Any]) -> None:
    assert safe.propose(by=hire(safe.db, "rose", roles)) == "not_allowed"


def test_only_an_approver_books(safe: Safe) -> None:
    booking = safe.proposed()
    assert safe.book(booking, hire(safe.db, "rose", ["operator", "admin"])) == "not_allowed"


@pytest.mark.parametrize(
    ("cents", "refusal"),
    [
        (0, "too_small"),
        (-THOUSAND, "too_small"),
        (999, "not_whole"),
        (9.99, "not_whole"),
        (float("nan"), "not_whole"),
        (1e309, "not_whole"),
        (10**300, "too_large"),
        (FEES_CENTS + 100, "not_earned"),
    ],
)
def test_a_sum_that_is_none_or_not_ours_is_refused(safe: Safe, cents: Any, refusal: str) -> None:
    assert safe.propose("fees", cents) == refusal


def test_more_than_is_owed_is_not_taken(safe: Safe) -> None:
    assert safe.propose("charges", OWED_CENTS + 100) == "not_owed"


@pytest.mark.parametrize("reference", ["", "  ", "x"])
def test_what_has_no_reference_is_not_booked(safe: Safe, reference: str) -> None:
    assert safe.propose("capital", THOUSAND, reference) == "no_reference"


def test_one_reference_is_booked_once_and_again_after_it_was_declined(safe: Safe) -> None:
    first = safe.proposed("capital", THOUSAND, "BANK-7")
    assert safe.propose("capital", THOUSAND, " BANK-7 ") == "known_reference"
    assert treasury.decline(safe.db, first.number, safe.peter, safe.purse.now) == "taken_back"
    second = safe.proposed("capital", THOUSAND, "BANK-7")
    assert safe.book(first) == "not_waiting"
    assert safe.book(second) == "booked"
    assert safe.book(second) == "not_waiting"
    assert safe.propose("capital", THOUSAND, "BANK-7") == "known_reference"
    assert safe.cents()["capital"] == FLOAT_CENTS + THOUSAND


def test_ones_own_may_be_taken_back_and_anothers_by_an_approver_only(safe: Safe) -> None:
    booking = safe.proposed()
    rose = hire(safe.db, "rose")
    decline = treasury.decline
    assert decline(safe.db, booking.number, rose, safe.purse.now) == "not_allowed"
    assert decline(safe.db, booking.number, safe.olive, safe.purse.now) == "taken_back"
    assert decline(safe.db, booking.number, safe.olive, safe.purse.now) == "not_waiting"


def test_fees_stay_while_they_cover_what_others_own(safe: Safe) -> None:
    booking = safe.proposed("fees", FEES_CENTS)
    safe.purse.move("lost", ledger.LOSS, ledger.B2C, FLOAT_CENTS)
    assert solvency.surplus_cents(safe.db) == FEES_CENTS
    assert safe.propose("fees", FEES_CENTS, "BANK-2") == "insolvent", "M-Pesa is owed some of it"
    assert safe.book(booking) == "insolvent"
    assert safe.book(safe.proposed("fees", FEES_CENTS - OWED_CENTS, "BANK-3")) == "booked"
    assert solvency.surplus_cents(safe.db) == OWED_CENTS
    assert solvency.check(safe.db, safe.purse.now)


def test_fees_leave_only_from_what_lies_on_the_collection_float(safe: Safe) -> None:
    safe.purse.move("moved", ledger.B2C, ledger.C2B, EARNED_CENTS - THOUSAND)
    assert safe.propose("fees", THOUSAND + 100) == "overdrawn"
    assert safe.book(safe.proposed("fees", THOUSAND)) == "booked"


def test_fees_are_taken_once(safe: Safe) -> None:
    assert safe.book(safe.proposed("fees", FEES_CENTS)) == "booked"
    assert safe.propose("fees", 100, "BANK-2") == "not_earned"


def test_of_two_who_book_at_once_one_does_and_two_bookings_share_no_shilling(
    new_database: Callable[[], Any], now: datetime
) -> None:
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=Random(1), size=8)
        with database.begin() as db:
            purse = Purse(db, now)
            purse.move("fee", purse.seller, ledger.FEES, FEES_CENTS)
            safe = Safe(purse, hire(db, "olive"), hire(db, "peter", ["approver"]))
            first = safe.proposed("fees", FEES_CENTS, "BANK-1")
            second = safe.proposed("fees", FEES_CENTS, "BANK-2")

        def book(number: int) -> str:
            with database.begin() as db:
                return treasury.book(db, number, at_work(db, "peter"), now)

        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(book, [first.number, second.number] * 4))
        assert outcomes.count("booked") == 1
        assert set(outcomes) <= {"booked", "not_waiting", "not_earned"}
        with database.begin() as db:
            assert ledger.balance(db, ledger.BANK) == FEES_CENTS
        database.close()


def test_the_first_capital_of_a_trial_is_put_in_once(db: Db, now: datetime) -> None:
    assert treasury.found(db, THOUSAND, now)
    assert not treasury.found(db, THOUSAND, now)
    assert not treasury.found(db, 2 * THOUSAND, now)
    assert ledger.balance(db, ledger.B2C) == ledger.balance(db, ledger.CAPITAL) == THOUSAND


# --- each hour ------------------------------------------------------------------------------------


def test_each_hour_the_floats_are_asked_about_and_filled_up(safe: Safe) -> None:
    assert treasury.look(safe.db, safe.purse.now)
    asked = "SELECT count(*) FROM outbox WHERE kind = 'ask_balance' AND done_at IS NULL"
    assert safe.db.value(asked) == 2
    assert safe.purse.due("keep_float") == safe.purse.now


def test_missing_money_is_told_once_and_the_incident_ends_with_it(safe: Safe) -> None:
    safe.purse.move("stolen", ledger.LOSS, ledger.C2B, FLOAT_CENTS + EARNED_CENTS)
    assert not treasury.look(safe.db, safe.purse.now)
    assert not treasury.look(safe.db, safe.purse.now)
    assert safe.purse.open_incidents() == {"insolvent", "float_overdrawn"}
    safe.purse.move("found", ledger.C2B, ledger.LOSS, FLOAT_CENTS + EARNED_CENTS)
    assert treasury.look(safe.db, safe.purse.now)
    assert safe.purse.open_incidents() == set()
