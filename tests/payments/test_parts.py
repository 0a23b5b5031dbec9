"""What M-Pesa cannot move at once, whoever pays it and by whatever way, over real HTTP."""

import pytest

from core import carts, catalogue, charges, checkouts, order_book
from core.charges import AMOUNT_CENTS_MAX, Charge
from simulator.c2b import NotPaid
from tests.core.market import RULES, Purchase, msisdn
from tests.payments.street import Street

SUM_CENTS = 40_000_000  # KSh 400,000: one payment of 250,000 and one of 150,000
REST_CENTS = SUM_CENTS - AMOUNT_CENTS_MAX
OWN, SISTER = msisdn(1), msisdn(70)
HELD = {"A.c2b": SUM_CENTS, "L.escrow": SUM_CENTS}


def lorry(street: Street, payer: str = OWN) -> Purchase:
    """A basket of KSh 400,000, confirmed; whoever pays has the money."""
    for phone in (OWN, SISTER):
        with street.world.journal.change():
            street.world.books.set_balance(phone, 50_000_000, street.now)
    with street.database.begin() as db:
        market, now = street.market, street.now
        catalogue.set_price(db, market.tomatoes, SUM_CENTS // 8, now)
        assert carts.add(db, market.buyer, market.tomatoes, 8_000, None, now) == "added"
        assert checkouts.place(db, market.buyer, payer, SUM_CENTS, RULES, now) == "placed"
        checkout_id = order_book.of_buyer(db, market.buyer, 1)[0].checkout_id
        (first,) = charges.of_checkout(db, checkout_id)
    return Purchase(checkout_id, first.id, market.buyer, payer, SUM_CENTS, first.reference)


def newest(street: Street, bought: Purchase) -> Charge:
    return street.attempts(bought)[-1]


def by_hand(street: Street, reference: str, cents: int, payer: str = OWN) -> None:
    street.world.c2b.pay(payer, "174379", reference, cents)
    street.wait(5)


def test_two_prompts_one_after_the_other_fill_the_escrow(street: Street) -> None:
    street.listen_for_payments_by_hand()
    bought = lorry(street)
    street.wait(7)
    street.answer(OWN)
    street.wait(10)
    assert street.money() == {"A.c2b": AMOUNT_CENTS_MAX, "L.buyer": AMOUNT_CENTS_MAX}
    assert street.pushes() == 1
    street.wait(125)
    assert street.pushes() == 2
    street.answer(OWN)
    street.wait(10)
    assert street.orders(bought) == ["paid"]
    assert street.money() == HELD
    assert street.mpesa_has() == SUM_CENTS
    assert street.incidents() == set()


def test_both_prompts_without_a_callback_are_proved_by_query(street: Street) -> None:
    street.rules(auto="0", callback="never")
    bought = lorry(street)
    street.wait(260)
    assert street.orders(bought) == ["paid"]
    assert street.money() == HELD


def test_the_rest_is_paid_by_hand_by_another_phone_in_lower_case(street: Street) -> None:
    street.listen_for_payments_by_hand()
    street.rules(next=[{"auto": "0"}, {"auto": "1032"}])
    bought = lorry(street)
    street.wait(180)
    assert newest(street, bought).state == "failed"
    reference = newest(street, bought).reference
    by_hand(street, f" {reference[:3].lower()} {reference[3:]}", 10_000_000, SISTER)
    assert street.orders(bought) == ["placed"]
    by_hand(street, bought.reference, 5_000_000)  # the first part's account is as good
    assert street.orders(bought) == ["paid"]
    assert street.money() == HELD
    with pytest.raises(NotPaid, match="C2B00012"):
        by_hand(street, bought.reference, 5_000_000)


def test_what_came_is_sent_back_when_the_rest_does_not_come(street: Street) -> None:
    street.listen_for_payments_by_hand()
    street.kinds = street.kinds | {"refund_balance"}
    street.rules(next=[{"auto": "0"}, {"auto": "1032"}])
    bought = lorry(street)
    street.wait(180)
    street.leap(25 * 60)
    assert street.orders(bought) == ["expired"]
    assert street.money() == {"A.c2b": AMOUNT_CENTS_MAX, "L.out": AMOUNT_CENTS_MAX}
    with pytest.raises(NotPaid, match="C2B00012"):
        by_hand(street, bought.reference, REST_CENTS)


def test_the_limit_of_a_day_at_mpesa_is_no_payment_and_another_phone_pays(street: Street) -> None:
    street.rules(next=[{"auto": "0"}, {"auto": "4"}])
    bought = lorry(street)
    street.wait(180)
    assert newest(street, bought).state == "failed"
    assert "callback:4" in _codes(street, bought)
    street.rules(auto="0")
    with street.database.begin() as db:
        again = checkouts.pay_again(db, bought.checkout_id, bought.buyer, SISTER, RULES, street.now)
    assert again == "asked"
    street.wait(40)
    assert street.orders(bought) == ["paid"]
    assert street.money() == HELD


def _codes(street: Street, bought: Purchase) -> set[str]:
    with street.database.begin() as db:
        found = db.value(
            "SELECT array_agg(source || ':' || code) FROM charge_codes WHERE charge_id = %s",
            [newest(street, bought).id],
        )
    return set(found or ())


def test_another_payers_line_is_prompted_and_hers_is_not(street: Street) -> None:
    street.listen_for_payments_by_hand()
    bought = street.buy(payer=SISTER)
    street.wait(7)
    assert street.world.mpesa.prompts(OWN) == []
    street.answer(SISTER)
    street.wait(5)
    assert street.orders(bought) == ["paid", "paid"]
