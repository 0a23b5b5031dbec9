"""The portal's statement: true line by line, until the rules plant a difference."""

import csv
import io

import pytest

from simulator.statement import COLUMNS
from tests.simulator.pretend import PAYER


@pytest.fixture
def day(world, api, operator):
    """Two payments in, one reversed, a top-up, a payout. Returns the two receipts."""
    api.fund(1_000)
    api.rules(b2c_charges=[[250_000, 9]])
    receipts = []
    for amount in (300, 700):
        paid = api.ok("POST", "payments", {"from": PAYER, "account": "ORD1", "amount": amount})
        receipts.append(paid["receipt"])
        world.advance(60)
    operator.reverse(receipts[0], 300)
    operator.top_up(200)
    world.advance(60)
    operator.pay_out(450)
    world.advance(60)
    return receipts


def portal(api, **asked) -> list[dict[str, str]]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    answer = api("GET", f"statement?format=csv&{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    lines = list(csv.reader(io.StringIO(answer.text)))
    assert lines[5] == list(COLUMNS)
    return [dict(zip(COLUMNS, line, strict=True)) for line in lines[6:]]


def amounts(lines) -> list[str]:
    return [line["Paid In"] or line["Withdrawn"] for line in lines]


def test_a_statement_is_of_one_account_newest_first_with_running_balances(api, day):
    lines = portal(api)
    assert amounts(lines) == ["-200.00", "-300.00", "700.00", "300.00"]
    assert [line["Balance"] for line in lines] == ["500.00", "700.00", "1000.00", "300.00"]
    newest, back, second, first = lines
    assert (first["Receipt No."], second["Receipt No."]) == tuple(day)
    assert first["A/C No."] == "ORD1"
    assert first["Completion Time"] == "2026-08-17 14:04:19"
    assert first["Details"].startswith("Pay Bill from 254712345678 - ")
    assert back["Linked Transaction ID"] == day[0]
    assert newest["Other Party Info"] == "600997 - SOKONI"
    assert {line["Transaction Status"] for line in lines} == {"Completed"}


def test_the_other_accounts_have_statements_of_their_own(api, day):
    utility = portal(api, shortcode="600997")
    assert amounts(utility) == ["-450.00", "200.00", "1000.00"]
    assert utility[-1]["Receipt No."] == ""
    charges = portal(api, shortcode="600997", account="Charges")
    assert [(line["Withdrawn"], line["Balance"]) for line in charges] == [("-9.00", "-9.00")]
    assert charges[0]["Receipt No."] == utility[0]["Receipt No."]
    assert portal(api, shortcode="600997", account="Working") == []


def test_a_statement_can_be_of_one_day_in_nairobi(world, api, day):
    world.advance(10 * 3600)  # past midnight there, not in UTC
    api.ok("POST", "payments", {"from": PAYER, "account": "ORD2", "amount": 1})
    assert amounts(portal(api, date="2026-08-17")) == ["-200.00", "-300.00", "700.00", "300.00"]
    (line,) = portal(api, date="2026-08-18")
    assert (line["Paid In"], line["Balance"]) == ("1.00", "501.00")
    assert portal(api, date="2026-08-19") == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [("shortcode=600100", 404), ("account=Float", 400), ("date=17.8.2026", 400)],
)
def test_a_statement_of_nothing_is_refused(api, asked, status):
    answer = api("GET", f"statement?format=csv&{asked}")
    assert (answer.status_code, bool(answer.json["error"])) == (status, True)


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        ({"kind": "missing"}, ["-300.00", "700.00", "300.00"]),
        ({"kind": "doubled"}, ["-200.00", "-200.00", "-300.00", "700.00", "300.00"]),
        ({"kind": "amount"}, ["-201.00", "-300.00", "700.00", "300.00"]),
        ({"kind": "amount", "amount": 5}, ["-5.00", "-300.00", "700.00", "300.00"]),
        ({"kind": "foreign"}, ["100.00", "-200.00", "-300.00", "700.00", "300.00"]),
        ({"kind": "foreign", "amount": 7}, ["7.00", "-200.00", "-300.00", "700.00", "300.00"]),
        ({"kind": "missing", "receipt": "SNOSUCH000"}, ["-200.00", "-300.00", "700.00", "300.00"]),
        ({"kind": "missing", "where": "pull"}, ["-200.00", "-300.00", "700.00", "300.00"]),
    ],
)
def test_a_difference_can_be_planted_while_the_books_keep_to_the_truth(api, day, lie, expected):
    before = api.ok("GET", "statement")
    api.rules(statement_differences=[lie])
    lines = portal(api)
    assert amounts(lines) == expected
    assert lines[0]["Balance"] == ("700.00" if lie == {"kind": "missing"} else "500.00")
    assert portal(api) == lines, "the same lie each time"
    assert api.ok("GET", "statement") == before
    assert api.ok("GET", "audit")["balanced"]


def test_differences_can_be_several_and_of_chosen_lines(api, day):
    first, second = day
    api.rules(
        statement_differences=[
            {"kind": "missing", "receipt": first},
            {"kind": "amount", "receipt": second, "amount": 701},
            {"kind": "foreign", "receipt": "SFOREIGN00"},
        ]
    )
    lines = portal(api)
    assert amounts(lines) == ["100.00", "-200.00", "-300.00", "701.00"]
    assert lines[0]["Receipt No."] == "SFOREIGN00"


def test_reading_a_statement_changes_nothing(api, day):
    before = api.ok("GET", "audit")
    api.rules(statement_differences=[{"kind": "foreign"}])
    portal(api)
    assert api.ok("GET", "audit") == before


def test_an_empty_statement_can_be_lied_in_too(api):
    api.rules(statement_differences=[{"kind": "foreign"}, {"kind": "missing"}])
    assert portal(api) == []
    api.rules(statement_differences=[{"kind": "foreign"}])
    assert amounts(portal(api)) == ["100.00"]


def pulled(shop) -> list[tuple[str, str]]:
    answer = shop.call(
        "/pulltransactions/v1/query",
        {
            "ShortCode": "174379",
            "StartDate": "2026-08-17 00:00:00",
            "EndDate": "2026-08-18 00:00:00",
            "OffSetValue": "0",
        },
        method="GET",
    )
    assert answer.status_code == 200, answer.text
    return [
        (row["transactionId"], row["amount"]) for rows in answer.json["Response"] for row in rows
    ]


def test_pulled_transactions_are_what_customers_paid_and_can_be_lied_about(world, shop, api, day):
    world.c2b.start_pulling("174379")
    first, second = day
    assert pulled(shop) == [(first, "300.00"), (second, "700.00")]
    api.rules(statement_differences=[
        {"kind": "missing", "receipt": first, "where": "pull"},
        {"kind": "amount", "receipt": second, "where": "pull", "amount": 70},
        {"kind": "foreign", "where": "pull"},
        {"kind": "doubled", "receipt": second},
    ])  # fmt: skip
    said = pulled(shop)
    assert said[0] == (second, "70.00")
    assert said[1][1] == "100.00"
    assert len(said) == 2
