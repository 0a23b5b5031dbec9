"""Reconciliation: what M-Pesa's lines prove is booked once; what differs is a case, to its end."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import (
    checkouts,
    float_moves,
    ledger,
    payout_calls,
    payouts,
    receipts,
    refunds,
    settlements,
)
from core.database import Db
from core.statement_lines import Line, Statement
from core.statements import Session
from tests.core.bank import Bank
from tests.core.market import QUERIED_PAID as QUERIED
from tests.core.market import (
    TOTAL_CENTS,
    Market,
    Purchase,
    c2b,
    open_market,
    order_of,
    paid,
    purchase,
    pushed,
)
from tests.core.purse import PAID_CHARGE_CENTS, RULES, Purse

PAYOUT = 100_000
GONE = "M-Pesa shows it no more"


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


@pytest.fixture
def bought(db: Db, market: Market, now: datetime) -> Purchase:
    """Asked for by a push that nobody has answered for us to hear."""
    return pushed(db, purchase(db, market, now), now)


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


@pytest.fixture
def bank(db: Db, now: datetime, purse: Purse) -> Bank:
    return Bank(db, now)


def incidents(db: Db) -> set[str]:
    kinds = db.value("SELECT array_agg(kind) FROM incidents WHERE closed_at IS NULL")
    return set(kinds or ())


# --- what is proved ------------------------------------------------------------------------------


@pytest.mark.parametrize("pulled", [False, True], ids=["statement", "pulled"])
def test_a_payment_that_nobody_told_us_of_pays_its_orders(
    bank: Bank, bought: Purchase, market: Market, pulled: bool
) -> None:
    line = bank.paid_in("RCPT000001", TOTAL_CENTS, f" {bought.reference.lower()}-")
    if pulled:
        bank.forget("A.c2b", line)
        bank.pulled = [line]
        bank.reconcile([bank.statement("A.c2b", "pull")])
    else:
        bank.reconcile()
    assert bank.outcomes == ["captured"]
    assert order_of(bank.db, bought, market.wanjiku).state == "paid"
    assert bank.shown() == []
    known = receipts.find(bank.db, "RCPT000001")
    assert known == receipts.Known(bought.charge_id, TOTAL_CENTS)


def test_what_was_proved_is_proved_once(bank: Bank, bought: Purchase, now: datetime) -> None:
    bank.paid_in("RCPT000001", TOTAL_CENTS, bought.reference)
    bank.reconcile()
    money = ledger.trial_balance(bank.db)
    bank.reconcile()
    assert bank.outcomes == []
    assert settlements.receive(bank.db, c2b(bought.reference, now), now) == "repeat"
    assert settlements.settle(bank.db, bought.charge_id, paid(bought), now) == "already_settled"
    assert ledger.trial_balance(bank.db) == money


def test_a_payment_told_by_both_with_two_amounts_waits_for_a_person(
    bank: Bank, bought: Purchase
) -> None:
    line = bank.paid_in("RCPT000001", TOTAL_CENTS, bought.reference)
    bank.pulled = [Line(line.receipt, "payment", TOTAL_CENTS + 100, line.completed_at)]
    bank.reconcile()
    assert bank.outcomes == []
    assert bank.shown() == [("not_with_us", "payment", TOTAL_CENTS, 0)]


def test_a_payment_that_a_query_proved_gets_its_receipt(
    bank: Bank, bought: Purchase, now: datetime
) -> None:
    assert settlements.settle(bank.db, bought.charge_id, QUERIED, now) == "paid"
    bank.paid_in("RCPT000001", TOTAL_CENTS, bought.reference)
    bank.reconcile()
    assert bank.outcomes == ["attached"]
    assert (bank.shown(), bank.off_balance()) == ([], {})


def test_a_payment_of_another_amount_is_the_buyers(
    bank: Bank, bought: Purchase, market: Market
) -> None:
    bank.paid_in("RCPT000001", 10_000, bought.reference)
    bank.reconcile()
    assert bank.outcomes == ["short"]
    assert ledger.balance(bank.db, ledger.buyer(market.buyer)) == 10_000
    assert bank.shown() == []


def test_a_payment_that_names_nothing_of_ours_moves_nothing(bank: Bank) -> None:
    bank.paid_in("RCPT000009", 10_000, "MAMA MBOGA")
    bank.reconcile()
    assert bank.shown() == [("not_with_us", "payment", 10_000, 0)]
    assert bank.off_balance() == {"A.c2b": 10_000}
    assert ledger.balance(bank.db, ledger.SUSPENSE) == 0


@pytest.mark.parametrize("state", ["accepted", "unknown", "submitted"])
def test_a_payout_whose_result_never_came_is_paid_by_its_line(
    bank: Bank, purse: Purse, state: str
) -> None:
    payout_id: UUID = getattr(purse, state)()
    bank.paid_out("SG632NMUAB", PAYOUT, purse.msisdn, charge=700)
    bank.reconcile()
    assert bank.outcomes == ["paid"]
    payout = purse.payout(payout_id)
    assert (payout.state, payout.receipt, payout.charge_cents) == ("paid", "SG632NMUAB", 700)
    assert (bank.shown(), bank.off_balance()) == ([], {})
    assert purse.settle(payout_id, purse.paid(payout_id)) == "already_settled"
    bank.reconcile()
    assert bank.outcomes == []


def test_a_payout_that_had_failed_and_was_sent_all_the_same(bank: Bank, purse: Purse) -> None:
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.failed(payout_id)) == "failed"
    bank.paid_out("SG632NMUAB", PAYOUT, purse.msisdn)
    bank.reconcile()
    assert purse.state(payout_id) == "paid"
    assert "paid_after_failure" in purse.open_incidents()


@pytest.mark.parametrize("change", ["amount", "phone", "masked", "too early", "too late"])
def test_a_line_that_may_be_of_something_else_pays_nothing(
    bank: Bank, purse: Purse, change: str
) -> None:
    payout_id = purse.unknown()
    cents = PAYOUT + 100 if change == "amount" else PAYOUT
    msisdn = {"phone": "+254799999999", "masked": None}.get(change, purse.msisdn)
    line = bank.paid_out("SG632NMUAB", cents, msisdn)
    if change.startswith("too"):
        bank.forget("A.b2c", line)
        minutes = -6 if change == "too early" else 7 * 24 * 60 + 1
        late = Line("SG632NMUAB", "payout", -cents, bank.at(minutes), msisdn=msisdn)
        bank.reconcile([Statement("statement", "600997", "A.b2c", None, [late])])
    else:
        bank.reconcile()
    assert bank.outcomes == []
    assert purse.state(payout_id) == "unknown"
    assert ledger.balance(bank.db, ledger.out(payout_id)) == PAYOUT


@pytest.mark.parametrize(("sent", "shown"), [(2, 1), (1, 2)])
def test_two_that_cannot_be_told_apart_wait_for_a_person(
    bank: Bank, purse: Purse, sent: int, shown: int
) -> None:
    asked = [purse.unknown() for _ in range(sent)]
    for number in range(shown):
        bank.paid_out(f"SG632NMUA{number}", PAYOUT, purse.msisdn)
    bank.reconcile()
    assert bank.outcomes == []
    assert {purse.state(each) for each in asked} == {"unknown"}
    assert bank.shown() == [("not_with_us", "payout", -PAYOUT, 0)] * shown


def test_a_float_move_without_an_answer_has_arrived_by_its_line(
    bank: Bank, purse: Purse, now: datetime
) -> None:
    move_id = float_moves.request(bank.db, PAYOUT, "olive", now)
    assert isinstance(move_id, UUID)
    assert float_moves.claim(bank.db, move_id, RULES, now) is not None
    bank.tell("A.c2b", Line("SFLOAT0001", "float_move", -PAYOUT, bank.at(1)))
    bank.tell("A.b2c", Line("SFLOAT0001", "float_move", PAYOUT, bank.at(1)))
    bank.reconcile()
    assert bank.outcomes == ["arrived"]
    assert (bank.shown(), bank.off_balance()) == ([], {})
    assert ledger.balance(bank.db, ledger.TRANSIT) == 0


def test_a_reversal_without_a_receipt_gets_it(
    bank: Bank, bought: Purchase, market: Market, now: datetime
) -> None:
    reversal = reversed_late(bank, bought, market, now)
    line = Line("SREVERSE01", "reversal", -TOTAL_CENTS, bank.at(2), linked_receipt="RCPT000001")
    bank.paid_in("RCPT000001", TOTAL_CENTS, bought.reference)
    bank.tell("A.c2b", line)
    bank.reconcile()
    assert bank.outcomes == ["paid"]
    found = payouts.by_id(bank.db, reversal)
    assert found is not None
    assert (found.state, found.receipt) == ("paid", "SREVERSE01")
    assert (bank.shown(), bank.off_balance()) == ([], {})


def reversed_late(bank: Bank, bought: Purchase, market: Market, now: datetime) -> UUID:
    """The buyer's payment came too late and is being reversed; M-Pesa's answer was lost."""
    assert checkouts.cancel(bank.db, bought.checkout_id, market.buyer, now) == "cancelled"
    assert settlements.settle(bank.db, bought.charge_id, paid(bought), now) == "late"
    assert refunds.refund_balance(bank.db, market.buyer, RULES, now) == "sent"
    (reversal,) = payouts.of_member(bank.db, market.buyer, 9)
    assert reversal.kind == "reversal"
    assert payout_calls.claim_for_submit(bank.db, reversal.id, RULES, now) is not None
    return reversal.id


# --- what differs --------------------------------------------------------------------------------


def test_what_mpesa_itself_took_back_is_told_apart(bank: Bank, bought: Purchase) -> None:
    bank.paid_in("RCPT000001", TOTAL_CENTS, bought.reference)
    line = Line("SREVERSE01", "reversal", -TOTAL_CENTS, bank.at(2), linked_receipt="RCPT000001")
    bank.tell("A.c2b", line)
    bank.reconcile()
    assert bank.shown() == [("reversed", "reversal", -TOTAL_CENTS, 0)]
    assert bank.off_balance() == {"A.c2b": -TOTAL_CENTS}


def test_a_payout_that_mpesa_declined_after_all(bank: Bank, purse: Purse) -> None:
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    bank.paid_out("SG632NMUAB", PAYOUT, purse.msisdn, status="Declined", charge=PAID_CHARGE_CENTS)
    bank.reconcile()
    assert bank.shown() == [("status", "payout", 0, -PAYOUT)]


def test_another_charge_than_we_entered(bank: Bank, purse: Purse) -> None:
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    bank.paid_out("SG632NMUAB", PAYOUT, purse.msisdn, charge=900)
    bank.reconcile()
    assert bank.shown() == [("charge", "charge", -900, -PAID_CHARGE_CENTS)]
    assert bank.off_balance() == {"L.mcharges": -400}


def test_what_only_we_have_is_found_until_mpesa_shows_it(bank: Bank, purse: Purse) -> None:
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    bank.reconcile()
    assert bank.shown() == [
        ("not_at_mpesa", "payout", 0, -PAYOUT),
        ("not_at_mpesa", "charge", 0, -PAID_CHARGE_CENTS),
    ]
    assert all(each.receipt == "SG632NMUAB" for each in bank.open() if each.kind != "balance")
    bank.paid_out("SG632NMUAB", PAYOUT, purse.msisdn, charge=PAID_CHARGE_CENTS)
    judged = bank.reconcile()
    assert (judged.gone, judged.open) == (3, 0)
    assert bank.notes() == ["M-Pesa shows it now"] * 2


def test_a_line_that_is_shown_no_more_ends_its_case_and_has_it_again_when_it_comes_back(
    bank: Bank,
) -> None:
    line = bank.paid_in("RCPT000009", 10_000, "MAMA MBOGA")
    bank.reconcile()
    (case,) = (each for each in bank.open() if each.kind == "not_with_us")
    bank.forget("A.c2b", line)
    bank.reconcile()
    assert (bank.shown(), bank.notes()) == ([], [GONE])
    bank.tell("A.c2b", line)
    bank.reconcile()
    (again,) = (each for each in bank.open() if each.kind == "not_with_us")
    assert again == case


def test_a_payment_that_is_told_of_after_all_ends_its_case(bank: Bank, now: datetime) -> None:
    bank.paid_in("RCPT000009", 10_000, "MAMA MBOGA")
    bank.reconcile()
    told = c2b("MAMA MBOGA", now, "RCPT000009", 10_000)
    assert settlements.receive(bank.db, told, now) == "suspense"
    bank.reconcile()
    assert (bank.shown(), bank.notes()) == ([], ["it is in our books now"])


def test_an_amount_that_differs_has_one_case_of_both_sources(
    bank: Bank, bought: Purchase, now: datetime
) -> None:
    assert settlements.settle(bank.db, bought.charge_id, paid(bought), now) == "paid"
    bank.pulled = [bank.paid_in("RCPT000001", TOTAL_CENTS - 100, bought.reference)]
    bank.reconcile()
    assert bank.shown() == [("amount", "payment", TOTAL_CENTS - 100, TOTAL_CENTS)]
    (case,) = (each for each in bank.open() if each.kind == "amount")
    assert (case.source, case.gap_cents, case.age_days(bank.night)) == ("statement", -100, 0)
    assert case.age_days(bank.night + timedelta(days=9, hours=8)) == 9


def test_lines_without_a_receipt_are_told_apart_by_their_number(bank: Bank, purse: Purse) -> None:
    for key in ("one", "two"):
        purse.move(key, ledger.B2C, ledger.CAPITAL, 5_000)
        bank.tell("A.b2c", Line(None, "funds", 5_000, bank.at(0)))
    bank.reconcile()
    assert (bank.shown(), bank.off_balance()) == ([], {})
    bank.tell("A.b2c", Line(None, "funds", 5_000, bank.at(0)))
    bank.reconcile()
    assert bank.off_balance() == {"A.b2c": 5_000}
    assert bank.shown() == [("duplicate", "funds", 5_000, 0)]


def test_the_same_statement_twice_is_kept_once(bank: Bank) -> None:
    bank.paid_in("RCPT000009", 10_000, "MAMA MBOGA")
    bank.reconcile()
    before = bank.db.value("SELECT array_agg(id ORDER BY id) FROM statement_lines")
    judged = bank.reconcile()
    assert bank.db.value("SELECT array_agg(id ORDER BY id) FROM statement_lines") == before
    assert (judged.new, judged.gone, judged.open) == (0, 0, 2)


def test_many_lines_take_no_more_statements_than_few(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty thousand are a day's; one statement for each would take minutes."""
    counts: list[int] = []
    execute = Session.execute

    def counting(session: Session, sql: Any, params: Any) -> Any:
        counts[-1] += 1
        return execute(session, sql, params)

    monkeypatch.setattr(Session, "execute", counting)
    for number in (3, 300):
        for each in range(number):
            bank.paid_in(f"RCPT{number:03}{each:03}", 10_000)
        counts.append(0)
        bank.reconcile()
    assert len(bank.shown()) == 303
    assert counts[1] <= counts[0] + 2  # the second has an incident to amend


def test_what_was_not_read_is_not_missed(bank: Bank, purse: Purse) -> None:
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    bank.reconcile([bank.statement("A.c2b")])
    assert bank.shown() == []


def test_of_a_day_that_is_not_over_nothing_is_missed_after_the_last_line(
    bank: Bank, purse: Purse
) -> None:
    bank.night = bank.at(30)
    payout_id = purse.accepted()
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    bank.reconcile()
    assert bank.shown() == []
    bank.tell("A.b2c", Line("SOTHER0001", "other", -100, bank.at(20)))
    bank.reconcile()
    assert bank.shown() == [
        ("not_at_mpesa", "payout", 0, -PAYOUT),
        ("not_with_us", "other", -100, 0),
    ]


def test_open_differences_are_one_incident(bank: Bank) -> None:
    line = bank.paid_in("RCPT000009", 10_000, "MAMA MBOGA")
    bank.reconcile()
    assert "differences" in incidents(bank.db)
    bank.forget("A.c2b", line)
    bank.reconcile()
    assert "differences" not in incidents(bank.db)
