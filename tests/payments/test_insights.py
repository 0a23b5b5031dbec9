"""Money goes to a line once its network was asked for its SIM: over real HTTP, whatever it says."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import days, payouts
from core.sim_checks import SimAnswer
from payments import insights
from tests.core.market import msisdn
from tests.payments.street import SECRET, Street
from tests.payments.test_disbursements import Till, paid_and_refused

PATH = f"/payments/sim/{SECRET}"
SISTER = msisdn(77)  # no member, who pays
KILLED_AT = ("before the call", "after the call")


class Killed(BaseException):
    """As a process dies: nobody catches it."""


@pytest.fixture
def till(street: Street) -> Till:
    street.rules(sim_answer="callback")
    return Till(street)


def swap(till: Till, days_ago: int) -> date:
    day = days.today(till.street.now) - timedelta(days=days_ago)
    till.rules(sim_swapped={till.msisdn: day.isoformat()})
    return day


def questions(till: Till) -> int:
    with till.street.database.begin() as db:
        found: int = db.value("SELECT coalesce(sum(questions), 0)::int FROM sim_checks")
    return found


def approve(till: Till, payout_id: UUID) -> None:
    with till.street.database.begin() as db:
        assert payouts.approve(db, payout_id, "peter", till.street.now) == "approved"


def test_a_line_that_kept_its_sim_is_paid_once_it_was_checked(till: Till) -> None:
    payout_id = till.withdraw()
    till.street.wait(1)
    assert (till.state(payout_id), till.payout(payout_id).waits_for) == ("approved", "sim")
    assert till.sent() == 0
    till.street.wait(8)
    assert till.is_paid_once(payout_id)
    assert questions(till) == 1


@pytest.mark.parametrize("answer", ["callback_first", "reply"])
def test_an_answer_that_is_there_at_once_or_too_soon_counts(till: Till, answer: str) -> None:
    till.rules(sim_answer=answer)
    payout_id = till.withdraw()
    till.street.wait(8)
    assert till.is_paid_once(payout_id)
    assert questions(till) == 1


def test_a_line_with_another_sim_is_paid_when_a_person_approves(till: Till) -> None:
    swapped_on = swap(till, 3)
    payout_id = till.withdraw()
    till.street.wait(8)
    payout = till.payout(payout_id)
    assert (payout.state, payout.approved_by, payout.sim_swapped_on) == (
        "requested", None, swapped_on,
    )  # fmt: skip
    assert "payout_to_approve" in till.street.incidents()
    with till.street.database.begin() as db:
        told = db.value("SELECT text FROM messages WHERE trigger = 'payout_sim_swapped'")
    assert "KSh 1,000" in told
    approve(till, payout_id)
    till.street.wait(10)
    assert till.is_paid_once(payout_id)


def test_who_had_it_paid_by_a_line_with_another_sim_hears_that_it_is_that_line(till: Till) -> None:
    day = days.today(till.street.now) - timedelta(days=3)
    till.rules(sim_swapped={SISTER: day.isoformat()})
    paid_and_refused(till, both=False, payer=SISTER)
    till.street.wait(8)
    assert till.sent() == 0
    with till.street.database.begin() as db:
        told = db.value(
            "SELECT json_object_agg(m.msisdn, t.text) FROM messages t"
            " JOIN members m ON m.id = t.member_id WHERE t.trigger LIKE '%%_sim_swapped'"
        )
    assert list(told) == [msisdn(1)]
    assert "The line that paid" in told[msisdn(1)]
    assert "KSh 500" in told[msisdn(1)]


def test_a_swap_after_the_approval_needs_another_one(till: Till) -> None:
    swap(till, 3)
    payout_id = till.withdraw()
    till.street.wait(8)
    swapped_on = swap(till, 0)
    till.street.wait(16 * 60)  # the first finding is no longer good
    approve(till, payout_id)
    till.street.wait(8)
    assert till.state(payout_id) == "requested"
    assert till.payout(payout_id).sim_swapped_on == swapped_on
    assert till.sent() == 0


def test_a_swap_of_long_ago_is_none(till: Till) -> None:
    swap(till, 14)
    payout_id = till.withdraw()
    till.street.wait(8)
    assert till.is_paid_once(payout_id)


@pytest.mark.parametrize(
    "rules",
    [
        {"sim_answer": "never"},
        {"sim_says": "Failed"},
        {"sim_says": "Pending"},
        {"faults": [{"fault": "server_error", "on": "sim"}]},
        {"faults": [{"fault": "html_503", "on": "sim"}]},
        {"faults": [{"fault": "unauthorized", "on": "sim"}]},
        {"faults": [{"fault": "reset", "on": "sim"}]},
        {"faults": [{"fault": "slow", "on": "sim", "seconds": 2}], "sim_answer": "never"},
    ],
    ids=str,
)
def test_what_nobody_knows_is_asked_again_and_nothing_leaves(
    till: Till, rules: dict[str, Any]
) -> None:
    till.rules(**rules)
    if "slow" in str(rules):
        till.street.hurry()
    payout_id = till.withdraw()
    till.street.leap(30 * 60)
    assert (till.state(payout_id), till.payout(payout_id).waits_for) == ("approved", "sim")
    assert till.sent() == 0
    assert 4 < questions(till) < 8  # after 1, 3, 8 and 18 minutes
    assert "sim_unanswered" in till.street.incidents()
    till.rules(reset=True)
    till.street.leap(25 * 60)
    assert till.is_paid_once(payout_id)
    with till.street.database.begin() as db:
        assert db.value("SELECT count(*) FROM incidents WHERE closed_at IS NULL") == 0


def test_two_payouts_to_one_line_ask_once(till: Till) -> None:
    first, second = till.withdraw(50_000), till.withdraw(50_000)
    till.street.wait(10)
    assert (till.state(first), till.state(second)) == ("paid", "paid")
    assert questions(till) == 1


@pytest.mark.parametrize("when", KILLED_AT)
def test_a_worker_that_dies_asking_asks_again_and_pays_once(till: Till, when: str) -> None:
    asker = till.street.work.insights
    assert asker is not None

    class Deadly:
        def check(self, msisdn: str) -> SimAnswer:
            if when == "after the call":
                asker.check(msisdn)
            raise Killed

    till.street.work = replace(till.street.work, insights=Deadly())
    payout_id = till.withdraw()
    with suppress(Killed):
        till.street.wait(1)
    till.street.work = replace(till.street.work, insights=asker)
    till.street.leap(70)
    till.street.wait(8)
    assert till.is_paid_once(payout_id)
    assert questions(till) == 2


# --- what is posted to us -------------------------------------------------------------------------


def said(**changes: Any) -> bytes:
    body = {
        "status": "NotSwapped",
        "lastSimSwapDate": "01-01-1900",
        "providerRefId": "fe3b46fd",
        "requestId": "ATSwpid_00000000000000000000000000000001",
        "transactionId": "738e202b",
    }
    return json.dumps({**body, **changes}).encode()


def test_a_wrong_secret_is_not_found_and_a_forged_answer_ends_nothing(till: Till) -> None:
    till.rules(sim_answer="never")
    payout_id = till.withdraw()
    till.street.wait(2)
    assert till.street.post("/payments/sim/guessed", said()).status_code == 404
    assert till.street.post(PATH, said()).status_code == 200
    till.street.wait(5)
    assert (till.state(payout_id), till.payout(payout_id).waits_for) == ("approved", "sim")
    assert till.street.outcomes() == ["kept"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"{",
        b'{"requestId": 7}',
        said(requestId="x"),
        said(requestId="a b" * 9),
    ],
)
def test_what_names_no_question_is_answered_and_not_kept(till: Till, body: bytes) -> None:
    assert till.street.post(PATH, body).status_code == 200
    assert till.street.outcomes() == []


@pytest.mark.parametrize(
    ("changes", "outcome", "swapped_on"),
    [
        ({}, "clean", None),
        ({"status": "NotSwapped", "lastSimSwapDate": "20-11-2026"}, "clean", date(2026, 11, 20)),
        ({"status": "Swapped", "lastSimSwapDate": "20-11-2026"}, "swapped", date(2026, 11, 20)),
        ({"status": "SWAPPED", "lastSimSwapDate": "2026-11-20"}, "swapped", date(2026, 11, 20)),
        ({"status": "Swapped", "lastSimSwapDate": "01-01-1900"}, "swapped", None),
        ({"status": "Swapped", "lastSimSwapDate": None}, "swapped", None),
        ({"lastSimSwapDate": None}, None, None),
        ({"lastSimSwapDate": "31-02-2026"}, None, None),
        ({"status": "Failed"}, None, None),
        ({"status": ["Swapped"]}, None, None),
        ({"status": "NotSwapped" * 9}, None, None),
    ],
)
def test_an_answer_says_what_it_plainly_says(
    changes: dict[str, Any], outcome: str | None, swapped_on: date | None
) -> None:
    answer = insights.read_answer(said(**changes))
    assert (answer.outcome, answer.swapped_on) == (outcome, swapped_on)


def test_an_acceptance_of_another_number_is_none() -> None:
    listed = [{"phoneNumber": "+254711000002", "requestId": "ATSwpid_1", "status": "Queued"}]
    told = {"responses": listed}
    answer = insights.read_acceptance(200, json.dumps(told).encode(), "+254711000001")
    assert (answer.outcome, answer.request_id) == (None, None)
