"""A day of the pretend M-Pesa against our books, over real HTTP: its statement, and its lies."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from core import differences, treasury
from core.differences import Difference
from core.reconcile import Reconciled
from core.reconcile import __main__ as command
from simulator.world import SANDBOX_B2C_SHORTCODE, SANDBOX_SHORTCODE
from tests.core.market import TOTAL_CENTS, Purchase, msisdn
from tests.core.office import hire
from tests.payments.street import SECRET
from tests.payments.street import street as open_street
from tests.payments.test_disbursements import PAID_CENTS, Till
from worker import reconciliation, tasks

NOON = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)  # in Nairobi
DAY = date(2026, 11, 21)
NIGHT = 15 * 3600  # from noon in Nairobi until a quarter past three


class Ledger:
    """A till, its day at M-Pesa, and what the night's reconciliation makes of it."""

    sold: Purchase
    paid_out: UUID

    def __init__(self, till: Till) -> None:
        self.till, self.street, self.world = till, till.street, till.world
        self.street.listen_for_payments_by_hand()
        assert self.street.daraja.register_pull("+254700000000", SECRET) == "registered"

    def daraja(self, **changes: Any) -> None:
        """Our account there is another one from now on."""
        daraja = self.street.daraja
        daraja._account = replace(daraja._account, **changes)

    def sell(self, number: int = 1) -> Purchase:
        """Two orders for KSh 681, paid."""
        bought = self.street.buy(payer=msisdn(number))
        self.street.wait(8)
        self.street.answer(msisdn(number))
        self.street.wait(8)
        return bought

    def pay_out(self) -> UUID:
        payout_id = self.till.withdraw()
        self.street.wait(10)
        assert self.till.state(payout_id) == "paid"
        return payout_id

    def lie(self, *lies: dict[str, Any]) -> None:
        self.street.rules(statement_differences=list(lies))

    def sleep(self) -> None:
        """Until the day is over; what the worker does at night is not of interest."""
        self.world.advance(NIGHT)

    def reconcile(self, day: date = DAY) -> Reconciled:
        return reconciliation.of_day(self.street.work, day)

    def open(self) -> list[Difference]:
        with self.street.database.begin() as db:
            return differences.undone(db)

    def shown(self) -> list[tuple[str, str, str, int, int]]:
        return [
            (each.kind, each.source, each.what, each.theirs_cents, each.ours_cents)
            for each in self.open()
        ]

    def receipt(self, bought: Purchase) -> str:
        receipt = self.street.charge(bought).receipt
        assert receipt is not None
        return receipt

    def note(self, number: int) -> str | None:
        """How that difference ended."""
        with self.street.database.begin() as db:
            found = differences.numbered(db, number)
        assert found is not None
        return found.note


@pytest.fixture
def books(new_database: Callable[[], Any], now: datetime) -> Iterator[Ledger]:
    with open_street(new_database, now) as street:
        yield Ledger(Till(street))


def test_a_day_of_which_both_say_the_same_leaves_nothing_open(books: Ledger) -> None:
    books.sell()
    books.pay_out()
    books.sleep()
    done = books.reconcile()
    assert books.shown() == []
    assert (done.settled, done.judged.open) == (0, 0)
    assert done.lines == 6  # two from the bank, a payment told twice, a payout and its charge


@pytest.fixture(scope="module")
def yesterday(new_database: Callable[[], Any]) -> Iterator[Ledger]:
    """A sale and a payout, and the day over; whoever lies about it takes the lie back."""
    with open_street(new_database, NOON) as street:
        books = Ledger(Till(street))
        books.sold, books.paid_out = books.sell(), books.pay_out()
        books.sleep()
        yield books


P, CHARGE = PAID_CENTS, 500
FOREIGN = ("not_with_us", "statement", "payment", 10_000, 0)
# kind of lie, where, of what -> the differences it makes
PLANTED: dict[tuple[str, str, str], list[tuple[str, str, str, int, int]]] = {
    ("missing", "statement", "payment"): [
        ("not_at_mpesa", "statement", "payment", 0, TOTAL_CENTS),
    ],
    ("missing", "statement", "payout"): [("not_at_mpesa", "statement", "payout", 0, -P)],
    ("missing", "pull", "payment"): [("not_at_mpesa", "pull", "payment", 0, TOTAL_CENTS)],
    ("doubled", "statement", "payment"): [("duplicate", "statement", "payment", TOTAL_CENTS, 0)],
    ("doubled", "statement", "payout"): [("duplicate", "statement", "payout", -P, 0)],
    ("doubled", "pull", "payment"): [("duplicate", "pull", "payment", TOTAL_CENTS, 0)],
    ("amount", "statement", "payment"): [
        ("amount", "statement", "payment", TOTAL_CENTS + 100, TOTAL_CENTS)
    ],
    ("amount", "statement", "payout"): [("amount", "statement", "payout", -P - 100, -P)],
    ("amount", "pull", "payment"): [("amount", "pull", "payment", TOTAL_CENTS + 100, TOTAL_CENTS)],
    ("foreign", "statement", "payment"): [FOREIGN] * 3,  # it is told of every account
    ("foreign", "pull", "payment"): [("not_with_us", "pull", "payment", 10_000, 0)],
}


@pytest.mark.parametrize(("lie", "where", "what"), PLANTED)
def test_every_planted_difference_is_found_and_goes_with_the_lie(
    yesterday: Ledger, lie: str, where: str, what: str
) -> None:
    books = yesterday
    before = books.street.money()
    receipts = {
        "payment": books.receipt(books.sold),
        "payout": books.till.payout(books.paid_out).receipt,
    }
    receipt = "SXFOREIGN1" if lie == "foreign" else receipts[what]
    books.lie({"kind": lie, "where": where, "receipt": receipt})
    books.reconcile()
    assert books.shown() == PLANTED[lie, where, what]
    found = [each.number for each in books.open()]
    books.reconcile()
    assert [each.number for each in books.open()] == found, "found again, it is the same case"
    assert books.street.money() == before, "nothing has moved"
    books.lie()
    books.reconcile()
    assert books.shown() == []
    assert all(books.note(number) for number in found)
    books.till.books_agree()


def test_a_payment_by_hand_that_is_confirmed_too_late_was_pulled_and_pays_once(
    books: Ledger,
) -> None:
    books.street.rules(c2b_seconds=600)
    bought = books.street.buy()
    reference = books.street.charge(bought).reference
    books.world.c2b.pay(msisdn(7), SANDBOX_SHORTCODE, reference, TOTAL_CENTS)
    books.street.wait(5)
    assert books.street.orders(bought) == ["placed", "placed"]
    done = books.reconcile()
    assert (done.settled, books.shown()) == (1, [])
    assert books.street.orders(bought) == ["paid", "paid"]
    books.world.advance(600)
    books.street.wait(2)
    assert books.street.outcomes() == ["already_settled", "repeat"]  # the prompt ran out, too
    books.till.books_agree()


def test_what_mpesa_gave_back_by_itself_is_found(books: Ledger) -> None:
    receipt = books.receipt(books.sell())
    books.world.operations.reverse_by_mpesa(receipt)
    books.sleep()
    books.reconcile()
    reversed_, balance = books.shown()
    assert reversed_ == ("reversed", "statement", "reversal", -TOTAL_CENTS, 0)
    assert balance[0] == "balance"


def test_charges_that_mpesa_took_are_found_until_they_are_booked(books: Ledger) -> None:
    books.pay_out()
    with books.world.journal.change():
        books.world.books.settle_charges(SANDBOX_B2C_SHORTCODE, books.world.clock.now())
        receipt = books.world.books.statement()[-1].receipt
    assert receipt is not None
    books.sleep()
    books.reconcile()
    assert [each[:4] for each in books.shown() if each[0] != "balance"] == [
        ("not_with_us", "statement", "charges_settled", -CHARGE),
        ("not_with_us", "statement", "charges_settled", CHARGE),
    ]
    with books.street.database.begin() as db:
        now = books.street.now
        olive, peter = hire(db, "olive"), hire(db, "peter", ["approver"])
        booking = treasury.propose(db, "charges", "b2c", CHARGE, receipt, olive, now)
        assert isinstance(booking, treasury.Booking)
        assert treasury.book(db, booking.number, peter, now) == "booked"
    books.reconcile()
    assert books.shown() == []


def test_each_night_the_day_before_is_reconciled(books: Ledger) -> None:
    bought = books.sell()
    books.sleep()
    books.lie({"kind": "missing", "receipt": books.receipt(bought)})
    tasks.SCHEDULED["reconcile"](books.street.work)
    assert books.shown() == [("not_at_mpesa", "statement", "payment", 0, TOTAL_CENTS)]
    assert "differences" in books.street.incidents()


def test_a_bookkeeper_has_mpesa_asked_of_a_day(books: Ledger, capsys: Any) -> None:
    bought = books.sell()
    books.sleep()
    books.lie({"kind": "missing", "receipt": books.receipt(bought)})
    with books.street.database.begin() as db:
        hire(db, "olive")
    asked = ["--date", str(DAY), "--ask", "--by", "olive"]
    assert command.run(books.street.database, books.street.work.rules, asked) == 0
    assert "M-Pesa is being asked" in capsys.readouterr().out
    books.street.kinds = {"reconcile_day"}
    books.street.wait(2)
    assert command.run(books.street.database, books.street.work.rules, asked[:2]) == 1
    assert "1 difference open" in capsys.readouterr().out


def test_the_portal_may_be_away_and_pulling_not_allowed(books: Ledger) -> None:
    books.sell()
    books.sleep()
    books.daraja(statement_url="http://127.0.0.1:9/", pulls=False)
    done = books.reconcile()
    assert (done.lines, books.shown()) == (0, [])


def test_what_the_portal_gives_instead_of_a_statement_is_an_incident(books: Ledger) -> None:
    books.sleep()
    page = f"{books.street.daraja._account.base_url}/simulator/api/statement"  # no CSV
    books.daraja(statement_url=page)
    done = books.reconcile()
    assert done.lines == 0
    assert "statement_unreadable" in books.street.incidents()
