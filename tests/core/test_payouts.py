# ruff: noqa: N802 - F1 to F24 are names
"""Payouts: set aside, sent once, believed on proof only. F1 to F24 are known ways to go wrong."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from core import (
    freezes,
    halts,
    ledger,
    payout_calls,
    payout_queue,
    payouts,
    receipts,
    solvency,
    withdrawals,
)
from core.database import Db
from core.errors import Invalid
from core.payout_proofs import PayoutResult
from tests.core.market import open_market, person, purchase, settled
from tests.core.purse import (
    ACCEPTED,
    EARNED_CENTS,
    FLOAT_CENTS,
    LOST,
    PAID_CHARGE_CENTS,
    REFUSED,
    RULES,
    Purse,
)
from tests.core.transactions import attempt

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
OPERATOR = "wambui"
THOUSAND = 100_000  # KSh 1,000 in cents
UNTOUCHED = {"seller": EARNED_CENTS, "b2c": FLOAT_CENTS, "c2b": EARNED_CENTS}
SET_ASIDE = {**UNTOUCHED, "seller": EARNED_CENTS - THOUSAND, "out": THOUSAND}
PAID = {
    "seller": EARNED_CENTS - THOUSAND,
    "b2c": FLOAT_CENTS - THOUSAND,
    "c2b": EARNED_CENTS,
    "charges": PAID_CHARGE_CENTS,
}


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


# --- asking ---------------------------------------------------------------------------------------


def test_a_withdrawal_is_set_aside_approved_and_asked_for(purse: Purse) -> None:
    payout_id = purse.ask()
    payout = purse.payout(payout_id)
    assert (payout.state, payout.approved_by) == ("approved", payouts.AUTOMATIC)
    assert (payout.msisdn, payout.originator_id) == (purse.msisdn, str(payout_id))
    assert purse.cents(payout_id) == SET_ASIDE
    assert purse.due("submit_payout") == purse.now


@pytest.mark.parametrize(
    ("cents", "refusal"),
    [
        (0, "too_small"),
        (-100, "too_small"),
        (-100_000, "too_small"),
        (900, "too_small"),
        (999, "not_whole"),
        (99_950, "not_whole"),
        (9.99, "not_whole"),
        (float("nan"), "not_whole"),
        (1e309, "not_whole"),
        (float("-inf"), "not_whole"),
        (10**300, "overdrawn"),
        (EARNED_CENTS + 100, "overdrawn"),
    ],
)
def test_an_amount_that_cannot_be_sent_is_refused_and_moves_nothing(
    purse: Purse, cents: Any, refusal: str
) -> None:
    assert purse.request(cents) == refusal
    assert purse.cents() == UNTOUCHED
    assert purse.db.value("SELECT count(*) FROM payouts") == 0
    assert purse.db.value("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize("typed", ["", "9.99", "1e309", "NaN", "-50", "ten", "٣٠", "1" * 400, "5%"])
def test_an_amount_that_is_none_is_asked_for_again(typed: str) -> None:
    with pytest.raises(Invalid, match="whole_shillings"):
        withdrawals.parse_amount(typed)


@pytest.mark.parametrize(("typed", "cents"), [("50", 5000), (" 1,500 ", 150_000), ("0", 0)])
def test_an_amount_is_typed_in_whole_shillings(typed: str, cents: int) -> None:
    assert withdrawals.parse_amount(typed) == cents


@pytest.mark.parametrize(
    ("cents", "parts"),
    [
        (1_000, [1_000]),
        (25_000_000, [25_000_000]),
        (25_000_100, [24_999_000, 1_100]),
        (25_001_000, [25_000_000, 1_000]),
        (60_000_000, [25_000_000, 25_000_000, 10_000_000]),
    ],
)
def test_a_sum_above_the_most_of_one_is_split_and_no_part_is_too_small(
    purse: Purse, cents: int, parts: list[int]
) -> None:
    purse.move("more", ledger.C2B, purse.seller, 100_000_000)
    ids = purse.request(cents)
    found = [purse.payout(id_) for id_ in ids]
    assert [payout.amount_cents for payout in found] == parts
    assert len({payout.originator_id for payout in found}) == len(parts)
    assert purse.cents(*ids)["out"] == cents


def test_what_is_asked_twice_under_one_key_is_one(purse: Purse) -> None:
    first = purse.request(THOUSAND, key="api:1")
    assert purse.request(THOUSAND, key="api:1") == first
    assert purse.cents(*first) == SET_ASIDE
    outcome = attempt(purse.db, lambda: purse.request(2 * THOUSAND, key="api:1"))
    assert outcome is ledger.Conflict
    assert purse.cents(*first) == SET_ASIDE


def test_a_frozen_member_is_sent_nothing(purse: Purse) -> None:
    assert freezes.freeze(purse.db, purse.member, "lost phone", OPERATOR, purse.now) == "frozen"
    assert purse.request() == "frozen"
    assert purse.cents() == UNTOUCHED


def test_nothing_is_promised_while_somebodys_money_is_missing(purse: Purse) -> None:
    purse.move("stolen", ledger.LOSS, ledger.B2C, FLOAT_CENTS + 100)
    assert solvency.surplus_cents(purse.db) == -100
    assert purse.request() == "insolvent"
    assert "insolvent" in purse.open_incidents()


def test_the_surplus_is_what_the_floats_hold_beyond_other_peoples_money(purse: Purse) -> None:
    purse.accepted()
    purse.settle(done := purse.accepted(), purse.paid(done))
    purse.move("fee", purse.seller, ledger.FEES, 1_000)
    purse.move("to the bank", ledger.BANK, ledger.C2B, 700)
    purse.move("underway", ledger.TRANSIT, ledger.C2B, 5_000)
    purse.move("nobody's", ledger.C2B, ledger.SUSPENSE, 3_000)
    purse.move("charged", ledger.MPESA_CHARGES_OWED, ledger.C2B, 300)
    books = {each.kind: each.balance_cents for each in ledger.trial_balance(purse.db)}
    floats = sum(books.get(kind, 0) for kind in ("A.c2b", "A.b2c", "A.transit"))
    others = ("L.escrow", "L.buyer", "L.seller", "L.out", "L.suspense")
    surplus = floats - sum(books.get(kind, 0) for kind in others)
    assert solvency.surplus_cents(purse.db) == surplus == FLOAT_CENTS + 1_000 - 700 - 300


# --- the wallet -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earned", "returned", "asked", "shares"),
    [
        (50_000, 20_000, None, [50_000, 20_000]),
        (50_000, 900, None, [50_000]),
        (900, 20_000, None, [20_000]),
        (50_000, 20_000, 30_000, [30_000]),
        (50_000, 20_000, 60_000, [50_000, 10_000]),
        (50_000, 20_000, 50_100, [49_100, 1_000]),
        (500, 20_000, 10_000, [10_000]),
        (500, 500, 1_000, "too_small"),
        (500, 500, None, "too_small"),
        (50_000, 20_000, 70_100, "overdrawn"),
        (50_000, 20_000, 50_050, "not_whole"),
        (50_000, 20_000, 500, "too_small"),
    ],
)
def test_a_withdrawal_takes_what_was_earned_first(
    db: Db, now: datetime, earned: int, returned: int, asked: int | None, shares: Any
) -> None:
    purse = Purse(db, now)
    purse.move("spent", purse.seller, ledger.C2B, EARNED_CENTS - earned)
    purse.move("returned", ledger.C2B, purse.buyer, returned)
    done = withdrawals.withdraw(db, purse.member, asked, RULES, now)
    if isinstance(done, str):
        assert done == shares
        assert (purse.cents()["seller"], purse.cents()["buyer"]) == (earned, returned)
    else:
        assert [purse.payout(id_).amount_cents for id_ in done] == shares
        assert purse.cents(*done)["out"] == sum(shares)


# --- the second person ----------------------------------------------------------------------------


def test_a_large_one_waits_for_a_second_person(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100)
    assert purse.state(payout_id) == "requested"
    assert purse.due("submit_payout") is None
    assert purse.claim(payout_id) is None
    assert "payout_to_approve" in purse.open_incidents()
    assert payouts.approve(purse.db, payout_id, OPERATOR, purse.now) == "approved"
    assert purse.payout(payout_id).approved_by == OPERATOR
    assert purse.due("submit_payout") == purse.now
    assert payouts.approve(purse.db, payout_id, "other", purse.now) == "not_waiting"
    assert purse.open_incidents() == set()


def test_many_small_ones_in_a_day_are_one_large_one(purse: Purse) -> None:
    assert [purse.state(purse.ask(1_000_000)) for _ in range(3)] == [
        "approved",
        "approved",
        "requested",
    ]
    purse.now += timedelta(hours=25)
    assert purse.state(purse.ask(1_000_000)) == "approved"


@pytest.mark.parametrize("who", ["asked", "receives", "is_receiver"])
def test_nobody_approves_what_is_their_own(purse: Purse, who: str) -> None:
    payout_id = purse.ask(2_000_100, requested_by=OPERATOR)
    by = str(purse.member) if who == "receives" else OPERATOR if who == "asked" else "other"
    own = purse.member if who == "is_receiver" else None
    assert payouts.approve(purse.db, payout_id, by, purse.now, own) == "own"
    assert purse.state(payout_id) == "requested"
    assert "payout_own_approval" in purse.open_incidents()


def test_the_database_itself_refuses_one_person_for_two(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100, requested_by=OPERATOR)
    sql = "UPDATE payouts SET state = 'approved', approved_by = requested_by WHERE id = %s"
    outcome = attempt(purse.db, lambda: purse.db.run(sql, [payout_id]))
    assert isinstance(outcome, type)


def test_what_is_rejected_is_back_on_the_account_and_told(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100)
    assert payouts.reject(purse.db, payout_id, OPERATOR, purse.now) == "rejected"
    assert purse.cents(payout_id) == UNTOUCHED
    assert (purse.state(payout_id), purse.payout(payout_id).code) == ("failed", "rejected")
    assert payouts.reject(purse.db, payout_id, OPERATOR, purse.now) == "not_waiting"
    assert payouts.approve(purse.db, payout_id, OPERATOR, purse.now) == "not_waiting"
    assert len(purse.told()) == 1


def test_a_frozen_members_is_not_approved(purse: Purse) -> None:
    payout_id = purse.ask(2_000_100)
    freezes.freeze(purse.db, purse.member, "a doubt", OPERATOR, purse.now)
    assert payouts.approve(purse.db, payout_id, OPERATOR, purse.now) == "frozen"


# --- sending --------------------------------------------------------------------------------------


def test_it_is_claimed_once_with_its_identity_and_its_path(purse: Purse) -> None:
    payout_id = purse.ask()
    claimed = purse.claim(payout_id)
    assert claimed is not None
    assert (claimed.originator_id, claimed.amount_cents) == (str(payout_id), THOUSAND)
    assert len(claimed.token) == 32
    assert claimed.token not in repr(claimed)
    assert purse.msisdn not in repr([claimed, purse.payout(payout_id)])
    assert purse.state(payout_id) == "submitting"
    assert purse.claim(payout_id) is None
    assert purse.due("query_payout") == purse.now + MINUTE


def test_a_refusal_before_acting_is_sent_again_with_the_same_identity(purse: Purse) -> None:
    payout_id = purse.ask()
    first = purse.claim(payout_id)
    purse.forget_work()
    purse.ack(payout_id, REFUSED)
    assert purse.state(payout_id) == "approved"
    assert purse.due("submit_payout") == purse.now + 2 * SECOND
    assert purse.claim(payout_id) == first
    assert purse.cents(payout_id) == SET_ASIDE


def test_what_is_refused_over_and_over_comes_later_each_time_and_is_an_incident(
    purse: Purse,
) -> None:
    payout_id = purse.ask()
    for attempts in range(1, 12):
        assert "payout_refused" not in purse.open_incidents() or attempts > 8
        assert purse.claim(payout_id) is not None
        purse.forget_work()
        purse.ack(payout_id, REFUSED)
    assert purse.due("submit_payout") == purse.now + timedelta(seconds=600)
    assert "payout_refused" in purse.open_incidents()


def test_an_ack_says_nothing_of_the_money(purse: Purse) -> None:
    payout_id = purse.accepted()
    assert (purse.state(payout_id), purse.payout(payout_id).conversation_id) == ("accepted", "AG_1")
    assert purse.cents(payout_id) == SET_ASIDE
    purse.ack(payout_id, ACCEPTED)
    assert purse.state(payout_id) == "accepted"


def test_a_low_float_makes_them_wait_in_order_and_tells_the_operator(db: Db, now: datetime) -> None:
    purse = Purse(db, now, float_cents=150_000)
    first, second, third = purse.ask(THOUSAND), purse.ask(THOUSAND), purse.ask(1_000)
    assert purse.claim(first) is not None
    assert purse.claim(second) is None
    assert (purse.state(second), purse.payout(second).waits_for) == ("approved", "float")
    assert purse.claim(third) is None, "it would fit, and is not the first"
    assert "float_low" in purse.open_incidents()
    assert purse.told() == []
    assert purse.due("resume_payouts") == now + payout_queue.FLOAT_LOOK_AGAIN
    purse.move("top-up", ledger.B2C, ledger.CAPITAL, THOUSAND)
    assert payout_queue.resume_waiting(db, now) == 2
    assert purse.open_incidents() == set()
    assert purse.claim(third) is None, "the second is still before it"
    assert purse.claim(second) is not None
    assert purse.claim(third) is not None


def test_a_float_that_stays_low_for_days_is_looked_at_every_hour(db: Db, now: datetime) -> None:
    purse = Purse(db, now, float_cents=0)
    purse.move("capital", ledger.B2C, ledger.CAPITAL, 1_000)
    assert purse.claim(purse.ask()) is None
    for look, minutes in ((1, 2), (5, 32), (6, 60), (40, 60), (10_000, 60)):
        db.run("DELETE FROM outbox")
        assert payout_queue.resume_waiting(db, now, look) == 0
        assert purse.due("resume_payouts") == now + minutes * MINUTE


def test_what_fails_gives_its_part_of_the_float_to_who_waits(db: Db, now: datetime) -> None:
    purse = Purse(db, now, float_cents=THOUSAND)
    first = purse.accepted()
    second = purse.ask()
    assert purse.claim(second) is None
    purse.settle(first, purse.failed(first))
    assert purse.due("resume_payouts") == now
    assert payout_queue.resume_waiting(db, now) == 1
    assert purse.claim(second) is not None


def test_a_frozen_members_approved_one_waits_until_it_is_lifted_by_another(purse: Purse) -> None:
    payout_id = purse.ask()
    freezes.freeze(purse.db, purse.member, "SIM swapped", OPERATOR, purse.now)
    assert freezes.freeze(purse.db, purse.member, "", OPERATOR, purse.now) == "already_frozen"
    assert purse.claim(payout_id) is None
    assert purse.payout(payout_id).waits_for == "frozen"
    assert payout_queue.resume_waiting(purse.db, purse.now) == 0
    assert freezes.lift(purse.db, purse.member, OPERATOR, purse.now) == "own"
    assert freezes.lift(purse.db, purse.member, str(purse.member), purse.now) == "own"
    assert freezes.lift(purse.db, purse.member, "other", purse.now) == "lifted"
    assert freezes.lift(purse.db, purse.member, "other", purse.now) == "not_frozen"
    assert purse.due("resume_payouts") == purse.now
    assert payout_queue.resume_waiting(purse.db, purse.now) == 1
    assert purse.claim(payout_id) is not None


# --- proof ----------------------------------------------------------------------------------------


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


# --- silence --------------------------------------------------------------------------------------


def test_F18_a_claim_whose_holder_died_is_asked_about_and_never_sent_again(purse: Purse) -> None:
    payout_id = purse.submitted()
    purse.now += 59 * SECOND
    assert purse.query(payout_id) is None
    assert purse.state(payout_id) == "submitting"
    purse.now += SECOND
    asked = purse.query(payout_id)
    assert isinstance(asked, payout_calls.PayoutToQuery)
    assert asked.originator_id == str(payout_id)
    assert purse.state(payout_id) == "unknown"
    assert purse.claim(payout_id) is None
    purse.ack(payout_id, ACCEPTED)
    assert purse.state(payout_id) == "unknown"
    assert purse.payout(payout_id).conversation_id == "AG_1"


def test_F18_a_lost_ack_is_asked_about_and_never_sent_again(purse: Purse) -> None:
    payout_id = purse.submitted()
    purse.forget_work()
    purse.ack(payout_id, LOST)
    assert purse.state(payout_id) == "unknown"
    assert purse.due("query_payout") == purse.now + MINUTE
    assert purse.due("submit_payout") is None
    assert purse.claim(payout_id) is None


def test_F19_a_queue_timeout_is_no_failure(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.forget_work()
    assert payout_calls.record_timeout(purse.db, payout_id, purse.now) == "unknown"
    assert (purse.state(payout_id), purse.cents(payout_id)) == ("unknown", SET_ASIDE)
    assert purse.due("query_payout") == purse.now
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    assert payout_calls.record_timeout(purse.db, payout_id, purse.now) == "already_settled"
    assert purse.cents(payout_id) == PAID


def test_F20_a_result_that_never_comes_is_asked_for_after_five_minutes(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.now += 5 * MINUTE - SECOND
    assert purse.query(payout_id) is None
    assert purse.state(payout_id) == "accepted"
    purse.now += SECOND
    assert isinstance(purse.query(payout_id), payout_calls.PayoutToQuery)
    assert purse.state(payout_id) == "unknown"
    assert purse.settle(payout_id, purse.paid(payout_id, source="status")) == "paid"


def test_each_question_has_a_path_of_its_own(purse: Purse) -> None:
    payout_id = purse.unknown()
    first, second = purse.query(payout_id), purse.query(payout_id)
    assert isinstance(first, payout_calls.PayoutToQuery)
    assert isinstance(second, payout_calls.PayoutToQuery)
    assert first.token != second.token


def test_questions_go_on_for_a_week_and_then_a_person_is_told(purse: Purse) -> None:
    payout_id = purse.unknown()
    times, begun = 0, purse.now
    while (due_at := purse.due("query_payout")) is not None:
        purse.now = max(purse.now, due_at)
        purse.forget_work()
        assert purse.query(payout_id) is not None
        times += 1
    assert times == len(payout_calls.QUERY_AFTER)
    assert purse.now == begun + timedelta(days=7)
    assert "payout_unanswered" in purse.open_incidents()
    assert purse.state(payout_id) == "unknown"


def test_no_such_payout_proves_nothing_within_a_day(purse: Purse) -> None:
    payout_id = purse.unknown()
    early = purse.absent(24 * HOUR - SECOND)
    purse.now += timedelta(hours=30)  # however late that answer comes
    assert purse.settle(payout_id, early) == "pending"
    assert purse.cents(payout_id) == SET_ASIDE
    assert purse.settle(payout_id, purse.absent(-6 * HOUR)) == "failed"
    assert purse.cents(payout_id) == UNTOUCHED


# --- our own faults -------------------------------------------------------------------------------


def test_a_wrong_initiator_stops_everything_until_an_operator_says_so(purse: Purse) -> None:
    first, second, third = purse.accepted(), purse.ask(), purse.unknown()
    wrong = purse.failed(first, "2001", ours=True, halts="initiator")
    assert purse.settle(first, wrong) == "failed"
    assert purse.told() == [], "a fault of ours is no news for her"
    assert {halts.HALTED, "payout_failed_by_us"} <= purse.open_incidents()
    assert purse.claim(second) is None
    assert purse.payout(second).waits_for == "halted"
    assert purse.query(third) is None
    assert payout_queue.resume_waiting(purse.db, purse.now) == 0
    purse.forget_work()

    (again,) = payout_queue.resume(purse.db, OPERATOR, purse.now, RULES)
    assert purse.open_incidents() == set()
    assert again != first
    assert purse.payout(again).amount_cents == THOUSAND
    assert purse.due("query_payout") == purse.due("resume_payouts") == purse.now
    assert payout_queue.resume(purse.db, OPERATOR, purse.now, RULES) == []
    assert payout_queue.resume_waiting(purse.db, purse.now) == 1
    assert purse.claim(second) is not None


def test_F21_an_empty_float_stops_payouts_and_is_no_failure_for_the_seller(purse: Purse) -> None:
    asked_about, payout_id, waiting = purse.unknown(), purse.accepted(), purse.ask()
    empty = purse.failed(payout_id, "1", ours=True, halts="float")
    assert purse.settle(payout_id, empty) == "failed"
    assert purse.told() == []
    assert purse.claim(waiting) is None
    assert purse.query(asked_about) is not None, "questions cost nothing"


def test_a_replacement_is_made_once_however_often_it_is_resumed(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.failed(payout_id, "1", ours=True, halts="float"))
    made = payout_queue.resume(purse.db, OPERATOR, purse.now, RULES, "float")
    assert len(made) == 1
    assert payout_queue.resume(purse.db, OPERATOR, purse.now, RULES) == []
    assert purse.cents(payout_id, *made) == SET_ASIDE


def test_F21_an_unregistered_number_is_told_and_the_money_stays(purse: Purse) -> None:
    payout_id = purse.accepted()
    purse.settle(payout_id, purse.failed(payout_id, "2040"))
    assert purse.cents(payout_id) == UNTOUCHED
    assert purse.due("query_payout") is not None  # the timer finds nothing to do
    assert purse.query(payout_id) is None
    (text,) = purse.told()
    assert text.startswith("KSh 1,000 could not be sent to your M-Pesa")


def test_another_member_is_not_held_back_by_a_frozen_one(purse: Purse) -> None:
    frozen = purse.ask()
    freezes.freeze(purse.db, purse.member, "lost phone", OPERATOR, purse.now)
    assert purse.claim(frozen) is None
    other = person(purse.db, purse.now, 44)
    purse.move("other", ledger.C2B, ledger.seller(other), THOUSAND)
    asked = withdrawals.withdraw(purse.db, other, None, RULES, purse.now)
    assert not isinstance(asked, str)
    assert purse.claim(asked[0]) is not None


def test_the_last_payouts_of_a_member_come_newest_first(purse: Purse) -> None:
    first = purse.ask()
    purse.now += SECOND
    second = purse.ask()
    assert [payout.id for payout in payouts.of_member(purse.db, purse.member, 5)] == [second, first]
