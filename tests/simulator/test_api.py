"""The JSON calls about people, rules, books and time."""

import pytest

from simulator import rules
from tests.simulator.pretend import PAYER


def test_a_subscriber_can_be_read_and_changed(api):
    fresh = api.ok("GET", f"subscribers/{PAYER}")
    assert fresh.pop("name").isupper()
    assert fresh == {"number": PAYER, "balance": 10_000, "network": "safaricom"}
    changed = api.ok("PUT", f"subscribers/{PAYER}", {"balance": 50, "network": "airtel"})
    assert (changed["balance"], changed["network"]) == (50, "airtel")
    assert api.ok("GET", "subscribers/0712345678") == changed


@pytest.mark.parametrize(
    "change",
    [{"balance": -1}, {"balance": 1.5}, {"balance": "5"}, {"balance": True}, {"pin": "12"},
     {"pin": 1234}, {"pin": "abcd"}, {"network": "vodacom"}, {"colour": "red"}, [], "text"],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused_whole(api, change):
    answer = api("PUT", f"subscribers/{PAYER}", change)
    assert (answer.status_code, bool(answer.json["error"])) == (400, True)
    assert api.balance() == 10_000


def test_a_number_without_mpesa_has_no_account(api):
    assert api("GET", "subscribers/+255712345678").status_code == 404
    assert api("GET", "subscribers/nobody").status_code == 400


def test_an_audit_counts_what_was_put_in_and_taken_out(api):
    api.ok("PUT", f"subscribers/{PAYER}", {"balance": 25_000})
    api.ok("PUT", "subscribers/+254700000001", {"balance": 1_000})
    api.ok("POST", "payments", {"from": PAYER, "account": "ORD1", "amount": 300})
    assert api.ok("GET", "audit") == {
        "customers": 25_700, "shortcodes": 300, "mpesa": 0, "total": 26_000,
        "injected": 26_000, "balanced": True,
    }  # fmt: skip


def test_a_statement_lists_every_movement(api):
    receipt = api.ok("POST", "payments", {"from": PAYER, "account": "ORD1", "amount": 300})[
        "receipt"
    ]
    opening, paid = api.ok("GET", "statement")
    assert (opening["kind"], opening["receipt"], opening["from"]) == ("injected", None, "outside")
    assert paid == {
        "receipt": receipt, "from": PAYER, "to": "174379/Utility", "amount": 300, "kind": "c2b",
        "account": "ORD1", "at": "2026-08-17T11:04:19.250000+00:00",
    }  # fmt: skip
    assert len(receipt) == 10
    assert receipt.isalnum()
    assert receipt.isupper()


def test_a_deposit_comes_once_for_each_reference(api, world):
    deposit = {"amount": 1_000_000, "reference": "capital"}
    path = "shortcodes/600997/deposits"
    came, again = api.ok("POST", path, deposit), api.ok("POST", path, deposit)
    assert (came["deposited"], again["deposited"]) == (True, False)
    assert came["utility"] == again["utility"] == 1_000_000
    assert api.ok("POST", path, {**deposit, "reference": "more"})["utility"] == 2_000_000
    assert api.ok("GET", "audit")["balanced"] is True
    for wrong in (-1, 9.99, "5", None, True, 10**12):
        assert api("POST", path, {"amount": wrong, "reference": "x"}).status_code == 400
    assert api("POST", path, {"amount": 5}).status_code == 400
    assert api("POST", "shortcodes/600000/deposits", deposit).status_code == 404


def test_the_clock_advances_only_where_it_is_virtual(world, api):
    assert api.ok("PUT", "clock", {"advance": 90})["now"] == "2026-08-17T11:05:49.250000+00:00"
    assert api.ok("GET", "clock")["virtual"] is True
    for wrong in (-1, "5", None, True, 1e12):
        assert api("PUT", "clock", {"advance": wrong}).status_code == 400


def test_rules_start_at_the_defaults_and_come_back_to_them(api):
    defaults = api.ok("GET", "rules")
    assert defaults == rules.shown(rules.DEFAULTS)
    changed = api.rules(auto={"0": 3, "1032": 1}, callback_seconds=9)
    assert changed == defaults | {"auto": {"0": 3, "1032": 1}, "callback_seconds": 9}
    assert api.rules(reset=True, pending_form="4999") == defaults | {"pending_form": "4999"}
    assert api.rules(reset=True) == defaults


def test_what_rules_show_can_be_put_back(api):
    api.rules(
        auto="observed",
        next=[{"auto": "0"}],
        b2c={"result_code": 2040},
        next_b2c=[{}, {"queue": "echo"}],
        statement_differences=[{"kind": "missing", "where": "pull"}],
        faults=[{"fault": "spike"}],
        next_hop=[{}],
        seed=1,
    )
    shown = api.ok("GET", "rules")
    assert api.rules(**shown) == shown


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"colour": 1, "shape": 2}, ["colour: no such rule", "shape: no such rule"]),
        ({"auto": []}, ["auto: "]),
        ({"auto": {"0": 0}}, ["auto: weights"]),
        ({"auto": {"0": -1}}, ["auto: a number"]),
        ({"auto_seconds": [9, 1]}, ["auto_seconds: two numbers"]),
        ({"callback": "later"}, ["callback: one of after, before_ack, never"]),
        ({"callback_repeats": 0}, ["callback_repeats: a whole number from 1"]),
        ({"callback_together": 1}, ["callback_together: true or false"]),
        ({"contradiction": "0"}, ["contradiction: a list of result codes"]),
        ({"claimed_phone": 5}, ["claimed_phone: a text"]),
        ({"c2b_confirmation": 2}, ["c2b_confirmation: a number from 0 to 1"]),
        ({"next": {}}, ["next: a list of objects"]),
        ({"next": [{"pending_form": "4999"}]}, ["next: pending_form: no such rule"]),
        ({"next": [{"auto": True}]}, ["next: auto: "]),
        ({"next_hop": [{"auto": "0"}]}, ["next_hop: auto: no such rule"]),
        ({"faults": [{"fault": "fire"}]}, ["faults: each fault: one of spike"]),
        ({"faults": [{"fault": "spike", "on": "moon"}]}, ["faults: each fault: one of any"]),
        ({"faults": [{"on": "push"}]}, ['"fault" is needed']),
        ({"faults": [5]}, ["faults: each fault an object"]),
        ({"sms_codes": []}, ["sms_codes: "]),
        ({"sms_reports": "Success"}, ["sms_reports: a list of statuses"]),
        ({"next_update": [{"hop_lost": 1}]}, ["next_update: hop_lost: no such rule"]),
        ({"update_gather": 0}, ["update_gather: a whole number from 1"]),
        ({"b2c": []}, ["b2c: an object"]),
        ({"b2c": {"auto": "0"}}, ["b2c: auto: no such rule"]),
        (
            {"next_status": [{"status_says": "Lost"}]},
            ["next_status: status_says: one of Completed"],
        ),
        ({"result_code": True}, ["result_code: a result code"]),
        ({"b2c_charges": [[100]]}, ["b2c_charges: a list of pairs"]),
        ({"b2c_charges": [[100, 5], [50, 0]]}, ["b2c_charges: pairs in the order"]),
        ({"statement_differences": {}}, ["statement_differences: a list of differences"]),
        ({"statement_differences": [{"kind": "torn"}]}, ["each difference: one of missing"]),
        ({"statement_differences": [{"receipt": "S"}]}, ['"kind" is needed']),
        ({"reset": "yes"}, ["reset: true or false"]),
        ({"seed": -1}, ["seed: "]),
        ([], ["rules are a JSON object"]),
    ],
)
def test_wrong_rules_are_named_and_none_is_taken(api, given, named):
    before = api.ok("GET", "rules")
    if isinstance(given, dict):
        given = {**given, "pending_form": given.get("pending_form", "4999")}
    answer = api("PUT", "rules", given)
    assert answer.status_code == 400
    for each in named:
        assert each in answer.json["error"]
    assert api.ok("GET", "rules") == before


def test_the_page_is_where_people_are_sent(web):
    answer = web.get("/simulator")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")


def test_other_paths_answer_in_json(web):
    assert (web.get("/nothing").status_code, web.get("/nothing").json) == (
        404, {"error": "not found"},
    )  # fmt: skip
    assert web.get("/simulator/api/dial").status_code == 405
    assert web.post("/simulator/api/dial", data=b"x" * 1_000_001).status_code in (400, 413)
