"""What the page of the pretend world is told of the orders and the books."""

import pytest
from flask import Flask

import app
from console import watch
from core import settlements
from core.database import Database
from settings import load
from tests.core.market import TOTAL_CENTS, open_market, paid, person, purchase, pushed
from tests.core.purse import Purse
from tests.test_settings import PRODUCTION

SECRET = "watched-by-the-page"  # no secret of anybody


@pytest.fixture
def web(database):
    app = Flask("watched")
    app.register_blueprint(watch.blueprint(database, secret=SECRET))
    return app.test_client()


def test_a_paid_order_is_shown_with_its_money_its_timeline_and_the_books(database, web, now):
    with database.begin() as db:
        bought = pushed(db, purchase(db, open_market(db, now), now), now)
        assert settlements.settle(db, bought.charge_id, paid(bought), now) == "paid"
    found = web.get(f"/watch/{SECRET}").json
    assert {(each["seller"], each["escrow"]["held_cents"]) for each in found["orders"]} == {
        ("Wanjiku Fresh", 50_000),
        ("Otieno Supplies", 18_100),
    }
    first, second = found["orders"]
    assert first["number"] == second["number"] + 1, "the newest comes first"
    assert (first["state"], first["charge"], first["buyer"]) == ("paid", "paid", "Amina")
    assert first["escrow"]["state"] == "held"
    assert [each["kind"] for each in first["events"]][:2] == ["placed", "paid"]
    assert first["events"][0] == {"kind": "placed", "reason": None, "at": now.isoformat()}
    assert found["ledger"]["accounts"] == {"A.c2b": TOTAL_CENTS, "L.escrow": TOTAL_CENTS}
    assert found["ledger"]["balanced"] is True
    assert found["ledger"]["cached_equal_fold"] is True


def test_an_unpaid_order_holds_nothing_and_says_how_its_charge_stands(database, web, now):
    with database.begin() as db:
        purchase(db, open_market(db, now), now)
    found = web.get(f"/watch/{SECRET}").json
    assert {(each["state"], each["charge"]) for each in found["orders"]} == {("placed", "created")}
    assert {each["escrow"]["held_cents"] for each in found["orders"]} == {0}
    assert found["ledger"]["accounts"] == {}


def test_what_goes_out_is_shown_with_its_state_and_nobodys_number(database, web, now):
    with database.begin() as db:
        purse = Purse(db, now)
        purse.accepted(cents=100_000)
    (shown,) = web.get(f"/watch/{SECRET}").json["payouts"]
    assert (shown["to"], shown["cents"], shown["kind"]) == ("Wanjiku", 100_000, "withdrawal")
    assert (shown["state"], shown["waits_for"]) == ("accepted", None)
    assert purse.msisdn not in web.get(f"/watch/{SECRET}").text


def test_only_the_newest_orders_are_shown_and_only_first_names_of_buyers(database, web, now):
    with database.begin() as db:
        market = open_market(db, now, on_hand_milli=100_000)
        for number in range(10, 16):
            buyer = person(db, now, number, "Akinyi Secret Name")
            purchase(db, market, now, buyer=buyer, payer=f"+2547220000{number}")
    answer = web.get(f"/watch/{SECRET}")
    numbers = [each["number"] for each in answer.json["orders"]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == watch.ORDERS_MAX
    assert {each["buyer"] for each in answer.json["orders"]} == {"Akinyi"}
    assert "Secret" not in answer.text
    assert "+254" not in answer.text


@pytest.mark.parametrize("wrong", ["nobody", SECRET + "x", "watched-by-the-pagé"])
def test_a_wrong_secret_is_not_found_and_told_nothing(web, wrong):
    answer = web.get(f"/watch/{wrong}")
    assert (answer.status_code, answer.data) == (404, b"")


def test_without_a_database_it_says_so_without_a_word(now):
    nowhere = Database("postgresql://nobody@127.0.0.1:9/none", clock=lambda: now, size=1)
    app = Flask("watched")
    app.register_blueprint(watch.blueprint(nowhere, secret=SECRET))
    answer = app.test_client().get(f"/watch/{SECRET}")
    assert (answer.status_code, answer.data) == (503, b"")
    nowhere.close()


@pytest.mark.parametrize(("environ", "is_there"), [({}, True), (PRODUCTION, False)])
def test_production_has_no_such_path(database, environ, is_there):
    web = app.create_app(load(environ), database=database)
    assert ("/watch/<secret>" in {rule.rule for rule in web.url_map.iter_rules()}) is is_there
