"""Our addresses for payments by hand, told to M-Pesa."""

import pytest

from core.errors import Declined, Unavailable
from simulator.world import SANDBOX_SHORTCODE
from tests.payments.street import SECRET, Street


def test_a_payment_by_hand_reaches_us_once_the_addresses_are_registered(street: Street):
    assert street.daraja.register_urls(SECRET) == "registered"
    bought = street.buy()
    account = street.charge(bought).reference
    street.world.c2b.pay("+254712345678", SANDBOX_SHORTCODE, account, 681_00)
    street.wait(10)
    assert street.orders(bought) == ["paid", "paid"]


def test_registering_twice_is_no_failure(street: Street):
    street.rules(register_once=True)
    assert street.daraja.register_urls(SECRET) == "registered"
    assert street.daraja.register_urls(SECRET) == "registered_before"


def test_a_refused_address_is_said_with_its_code(daraja_at, httpserver):
    httpserver.expect_request("/oauth/v1/generate").respond_with_json(
        {"access_token": "a", "expires_in": "3599"}
    )
    httpserver.expect_request("/mpesa/c2b/v2/registerurl").respond_with_json(
        {"errorCode": "400.002.02", "errorMessage": "Bad Request - Invalid ConfirmationURL"}, 400
    )
    with pytest.raises(Declined, match=r"400\.002\.02"):
        daraja_at(httpserver.url_for("")).register_urls(SECRET)


def test_a_gateway_that_is_away_may_be_asked_again(daraja_at):
    with pytest.raises(Unavailable):
        daraja_at("http://127.0.0.1:9").register_urls(SECRET)
