"""A seller's number changes in the middle of an order: over real HTTP the new phone is paid."""

from datetime import timedelta

from core import deliveries, number_changes
from tests.core.market import RULES, msisdn, order_of
from tests.core.office import hire
from tests.payments.street import Street
from tests.payments.test_disbursements import EARNED_CENTS, HOUR, Till

NEW = msisdn(50)
WHY = "He showed his identity card; the phone is lost."
NET_CENTS = 48_700  # of KSh 500


def change(till: Till, to: str | None) -> None:
    with till.street.database.begin() as db:
        olive, peter = hire(db, "olive"), hire(db, "peter", ["approver"])
        now = till.street.now
        assert number_changes.propose(db, till.seller, to, WHY, olive, now) == "proposed"
        assert number_changes.approve(db, till.seller, peter, now) == "approved"


def test_an_order_goes_on_and_its_money_comes_to_the_new_phone(street: Street) -> None:
    till = Till(street)
    street.kinds = street.kinds | {"change_number"}
    old = till.msisdn
    bought = street.buy()
    street.wait(10)
    street.answer()
    street.wait(10)
    with street.database.begin() as db:
        order = order_of(db, bought, till.seller)
        assert deliveries.accept(db, order.id, till.seller, street.now) == "accepted"
        assert deliveries.dispatch(db, order.id, till.seller, street.now) == "dispatched"
    change(till, NEW)
    street.wait(2)
    with street.database.begin() as db:
        assert db.value("SELECT msisdn FROM members WHERE id = %s", [till.seller]) == NEW
        code = deliveries.show_code(db, order.id, bought.buyer, RULES)
        assert code is not None
        done = deliveries.enter_code(db, order.id, till.seller, code, RULES, street.now)
        assert done == "released"
    street.wait(30)
    with street.database.begin() as db:
        assert db.value("SELECT waits_for FROM payouts") == "cooling"
    assert till.sent() == 0
    street.leap((timedelta(hours=RULES.number_cooling_hours) + timedelta(hours=1)).total_seconds())
    paid = EARNED_CENTS + NET_CENTS
    till.msisdn = NEW
    assert till.phone_has() == paid
    till.msisdn = old
    assert till.phone_has() == 0
    till.books_agree()


def test_a_payout_in_flight_is_proved_at_the_old_phone_and_the_rest_waits(street: Street) -> None:
    till = Till(street)
    street.kinds = street.kinds | {"change_number"}
    old = till.msisdn
    till.rules(b2c={"result_seconds": 60})
    sent = till.withdraw()
    street.wait(10)
    assert till.state(sent) == "accepted"
    change(till, NEW)
    street.wait(30)
    later = till.withdraw()
    street.leap(25 * HOUR)
    assert till.payout(sent).msisdn == old
    assert (till.state(sent), till.state(later)) == ("paid", "paid")
    assert till.payout(later).msisdn == NEW
    assert till.phone_has() == 100_000
    till.msisdn = NEW
    assert till.phone_has() == 100_000
    till.books_agree()
