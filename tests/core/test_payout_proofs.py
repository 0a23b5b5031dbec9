# ruff: noqa: N802 - F1 to F24 are names
"""Payout proofs: what ends a payout, and what moves nothing (F11 to F21: ways to go wrong)."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from core import ledger, payouts, receipts
from core.database import Db
from core.payout_proofs import PayoutResult
from tests.core.market import open_market, purchase, settled
from tests.core.purse import (
    ACCEPTED,
    EARNED_CENTS,
    FLOAT_CENTS,
    PAID,
    PAID_CHARGE_CENTS,
    SET_ASIDE,
    THOUSAND,
    UNTOUCHED,
    Purse,
)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


@pytest.mark.parametrize("state", ["submitted", "accepted", "unknown"])
def test_a_result_pays_it_from_wherever_it_is_in_flight(purse: Purse, state: str) -> None:
    payout_id = getattr(purse, state)()
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    payout = purse.payout(payout_id)
    assert (payout.state, payout.receipt, payout.charge_cents) == ("paid", "SG632NMUAB", 500)
    assert purse.cents(payout_id) == PAID
    assert purse.told() == ["Sokoni has sent KSh 1,000 to your M-Pesa."]
    purse.ack(payout_id, ACCEPTED)
    assert purse.state(payout_id) == "paid"


@pytest.mark.parametrize("state", ["submitted", "accepted", "unknown"])
def test_a_final_failure_puts_it_back_from_wherever_it_is_in_flight(
    purse: Purse, state: str
) -> None:
    payout_id = getattr(purse, state)()
    assert purse.settle(payout_id, purse.failed(payout_id)) == "failed"
    assert (purse.state(payout_id), purse.payout(payout_id).code) == ("failed", "2040")
    assert purse.cents(payout_id) == UNTOUCHED
    assert [text.split(" could not")[0] for text in purse.told()] == ["KSh 1,000"]
    assert purse.settle(payout_id, purse.failed(payout_id, "4")) == "already_settled"
    assert purse.payout(payout_id).code == "2040"


def test_a_repeated_result_changes_nothing(purse: Purse) -> None:
    payout_id = purse.accepted()
    result = purse.paid(payout_id)
    assert purse.settle(payout_id, result) == "paid"
    for source in ("result", "status", "statement"):
        again = purse.paid(payout_id, source=source)
        assert purse.settle(payout_id, again) == "already_settled"
    assert purse.cents(payout_id) == PAID
    assert len(purse.told()) == 1
    assert purse.open_incidents() == set()


def test_paid_never_becomes_failed(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.paid(payout_id))
    assert purse.settle(payout_id, purse.failed(payout_id)) == "already_settled"
    assert purse.cents(payout_id) == PAID
    assert "failure_after_payout" in purse.open_incidents()


def test_a_proof_after_the_failure_pays_it_from_the_owners_account(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.failed(payout_id))
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    assert purse.cents(payout_id) == PAID
    assert "paid_after_failure" in purse.open_incidents()


def test_a_proof_after_the_money_was_spent_again_is_our_loss(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.failed(payout_id))
    purse.move("spent", purse.seller, ledger.C2B, EARNED_CENTS - 30_000)
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    assert purse.cents(payout_id) == {
        "b2c": FLOAT_CENTS - THOUSAND,
        "c2b": 30_000,
        "charges": PAID_CHARGE_CENTS,
        "loss": 70_000,
    }


@pytest.mark.parametrize(
    ("cents", "charge"),
    [(10_000, 0), (10_100, 500), (150_000, 500), (150_100, 900), (500_100, 1_100)],
)
def test_mpesas_charge_is_booked_with_the_payout(purse: Purse, cents: int, charge: int) -> None:
    payout_id = purse.accepted(cents=cents)
    purse.settle(payout_id, purse.paid(payout_id))
    assert purse.payout(payout_id).charge_cents == charge
    assert ledger.balance(purse.db, ledger.MPESA_CHARGES_OWED) == charge


def test_a_charge_that_the_proof_names_is_the_one_that_is_booked(purse: Purse) -> None:
    payout_id = purse.unknown()
    purse.settle(payout_id, purse.paid(payout_id, source="status", charge_cents=2_240))
    assert ledger.balance(purse.db, ledger.MPESA_CHARGES) == 2_240


def test_a_result_of_no_payout_is_an_error(purse: Purse) -> None:
    with pytest.raises(payouts.UnknownPayout):
        purse.settle(uuid4(), PayoutResult("result", "paid", "0"))


def test_a_code_nobody_knows_is_never_final(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.forget_work()
    strange = purse.failed(payout_id, "SFC_XX", verdict="unknown")
    assert purse.settle(payout_id, strange) == "pending"
    assert (purse.state(payout_id), purse.cents(payout_id)) == ("unknown", SET_ASIDE)
    assert purse.due("query_payout") == purse.now
    assert "unknown_code" in purse.open_incidents()


def test_every_code_is_kept_once(purse: Purse) -> None:
    payout_id = purse.accepted()
    for _ in range(2):
        purse.settle(payout_id, purse.paid(payout_id))
        purse.settle(payout_id, purse.failed(payout_id))
    codes = purse.db.value(
        "SELECT array_agg(source || ':' || code || ':' || meaning ORDER BY source, code)"
        " FROM payout_codes WHERE payout_id = %s",
        [payout_id],
    )
    assert codes == ["ack:0:accepted", "result:0:paid", "result:2040:failed"]


def test_no_such_payout_proves_nothing_within_a_day(purse: Purse) -> None:
    payout_id = purse.unknown()
    early = purse.absent(24 * HOUR - SECOND)
    purse.now += timedelta(hours=30)  # however late that answer comes
    assert purse.settle(payout_id, early) == "pending"
    assert purse.cents(payout_id) == SET_ASIDE
    assert purse.settle(payout_id, purse.absent(-6 * HOUR)) == "failed"
    assert purse.cents(payout_id) == UNTOUCHED


def test_F21_an_unregistered_number_is_told_and_the_money_stays(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.failed(payout_id, "2040"))
    assert purse.cents(payout_id) == UNTOUCHED
    assert purse.due("query_payout") is not None  # the timer finds nothing to do
    assert purse.query(payout_id) is None
    (text,) = purse.told()
    assert text.startswith("KSh 1,000 could not be sent to your M-Pesa")


# --- forgeries and faults -------------------------------------------------------------------------

DOUBTS: list[tuple[str, dict[str, Any]]] = [
    ("amount", {"amount_cents": THOUSAND + 100}),
    ("amount", {"amount_cents": None}),
    ("amount", {"amount_cents": 0}),
    ("msisdn", {"msisdn": "+254799999999"}),
    ("originator_id", {"originator_id": "another"}),
    ("originator_id", {"originator_id": None}),
    ("conversation_id", {"conversation_id": "AG_2"}),
    ("receipt", {"receipt": None}),
]


@pytest.mark.parametrize(("doubt", "changes"), DOUBTS)
def test_F12_a_result_that_does_not_fit_moves_nothing_and_is_asked_about(
    purse: Purse, doubt: str, changes: dict[str, Any]
) -> None:
    payout_id = purse.accepted()
    purse.forget_work()
    assert purse.settle(payout_id, purse.paid(payout_id, **changes)) == "doubted"
    assert purse.cents(payout_id) == SET_ASIDE
    assert purse.state(payout_id) == "unknown"
    assert purse.due("query_payout") == purse.now
    doubts = purse.db.value(
        "SELECT detail -> 'doubts' FROM incidents WHERE kind = 'payout_doubted'"
    )
    assert doubts == [doubt]
    assert purse.settle(payout_id, purse.paid(payout_id, source="status")) == "paid"


def test_a_masked_number_is_not_compared(purse: Purse) -> None:
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.paid(payout_id, msisdn=None)) == "paid"


def test_a_failure_that_does_not_fit_is_doubted_too(purse: Purse) -> None:
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.failed(payout_id, originator_id="other")) == "doubted"
    assert purse.cents(payout_id) == SET_ASIDE


@pytest.mark.parametrize("verdict", ["paid", "failed"])
def test_what_was_never_sent_is_not_settled(purse: Purse, verdict: str) -> None:
    payout_id = purse.ask()
    result = purse.paid(payout_id) if verdict == "paid" else purse.failed(payout_id)
    assert purse.settle(payout_id, result) == "doubted"
    assert (purse.state(payout_id), purse.cents(payout_id)) == ("approved", SET_ASIDE)


def test_F11_a_receipt_proves_one_payout_only(purse: Purse) -> None:
    first, second = purse.accepted(), purse.unknown()
    assert purse.settle(first, purse.paid(first)) == "paid"
    assert purse.settle(second, purse.paid(second)) == "doubted"
    assert purse.cents(second)["out"] == THOUSAND


def test_a_receipt_of_money_that_came_in_proves_no_payout(purse: Purse) -> None:
    bought = settled(
        purse.db, purchase(purse.db, open_market(purse.db, purse.now), purse.now), purse.now
    )
    payout_id = purse.accepted()
    assert receipts.find(purse.db, f"R{bought.reference}") is not None
    result = purse.paid(payout_id, f"R{bought.reference}")
    assert purse.settle(payout_id, result) == "doubted"


@pytest.mark.parametrize(
    "changes", [{"receipt": "SG632NMUAC"}, {"amount_cents": 5}, {"msisdn": "+254799999999"}]
)
def test_another_proof_of_what_is_paid_is_a_conflict_and_moves_nothing(
    purse: Purse, changes: dict[str, Any]
) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.paid(payout_id))
    assert purse.settle(payout_id, purse.paid(payout_id, **changes)) == "conflict"
    assert purse.payout(payout_id).receipt == "SG632NMUAB"
    assert purse.cents(payout_id) == PAID
    assert "payout_conflict" in purse.open_incidents()
