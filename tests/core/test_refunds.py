"""Refunds: what comes back to a buyer is sent to her, as it came or to the line that paid."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import (
    charges,
    checkouts,
    deliveries,
    float_moves,
    freezes,
    incidents,
    ledger,
    payout_calls,
    payout_proofs,
    payouts,
    refunds,
    settlements,
)
from core.charges import PushAnswer
from core.database import Db
from core.payout_calls import PayoutAnswer
from core.payout_proofs import PayoutResult
from core.rules import Rules
from tests.core.market import (
    RULES,
    TOTAL_CENTS,
    Market,
    Purchase,
    c2b,
    failed,
    msisdn,
    open_market,
    order_of,
    paid,
    person,
    purchase,
    pushed,
    settled,
)

HOUR = timedelta(hours=1)
PAYER = msisdn(1)


class Back:
    """Amina's purchase of KSh 681 (Wanjiku's 500 and Otieno's 181), and what comes back of it."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.now = db, now
        self.market: Market = open_market(db, now)
        self.buyer = self.market.buyer
        legs = [ledger.debit(ledger.B2C, 10_000_000), ledger.credit(ledger.CAPITAL, 10_000_000)]
        ledger.post(db, "test", "test:capital", legs, now)

    def buy(self) -> Purchase:
        return purchase(self.db, self.market, self.now)

    def bought(self) -> Purchase:
        return settled(self.db, self.buy(), self.now)

    def refused(self, bought: Purchase, *sellers: UUID) -> None:
        for seller in sellers or (self.market.wanjiku, self.market.otieno):
            order = order_of(self.db, bought, seller)
            assert deliveries.refuse(self.db, order.id, seller, self.now) == "refused"

    def refund(self, rules: Rules = RULES) -> str:
        return refunds.refund_balance(self.db, self.buyer, rules, self.now)

    def sent(self) -> list[tuple[str, int, str, str | None]]:
        """Kind, cents, number and the receipt it reverses, the first asked for first."""
        found = payouts.of_member(self.db, self.buyer, 10)
        rows = [(p.kind, p.amount_cents, p.msisdn, p.reverses_receipt) for p in reversed(found)]
        assert all(p.account == "buyer" and p.requested_by == "system" for p in found)
        return rows

    def balance(self) -> int:
        return ledger.balance(self.db, ledger.buyer(self.buyer))

    def claim(self) -> payout_calls.ClaimedPayout:
        (payout,) = payouts.of_member(self.db, self.buyer, 1)
        claimed = payout_calls.claim_for_submit(self.db, payout.id, RULES, self.now)
        assert claimed is not None
        return claimed

    def told(self) -> list[str]:
        texts = self.db.value(
            "SELECT array_agg(text ORDER BY created_at, id) FROM messages"
            " WHERE trigger LIKE 'refund_%' OR trigger LIKE 'payout_%'"
        )
        return texts or []

    def incidents(self) -> set[str]:
        return set(
            self.db.value("SELECT array_agg(kind) FROM incidents WHERE closed_at IS NULL") or ()
        )


@pytest.fixture
def back(db: Db, now: datetime) -> Back:
    return Back(db, now)


# --- how it goes back -----------------------------------------------------------------------------


def test_a_receipt_that_came_back_whole_is_reversed(back: Back) -> None:
    bought = back.bought()
    back.refused(bought)
    assert back.refund() == "sent"
    assert back.sent() == [("reversal", TOTAL_CENTS, PAYER, f"R{bought.reference}")]
    assert back.balance() == 0


def test_a_part_that_came_back_is_paid_out_to_the_line_that_paid(back: Back) -> None:
    bought = back.bought()
    back.refused(bought, back.market.wanjiku)
    assert back.refund() == "sent"
    assert back.sent() == [("refund", 50_000, PAYER, None)]


def test_the_second_part_of_a_receipt_is_no_whole_one(back: Back) -> None:
    bought = back.bought()
    back.refused(bought, back.market.wanjiku)
    back.refund()
    back.refused(bought, back.market.otieno)
    assert back.refund() == "sent"
    assert back.sent()[1:] == [("refund", 18_100, PAYER, None)]


def test_a_second_payment_is_reversed_and_the_first_stays(back: Back) -> None:
    bought = back.bought()
    second = c2b(bought.reference, back.now, "SECOND0001")
    assert settlements.receive(back.db, second, back.now) == "second_payment"
    assert back.refund() == "sent"
    assert back.sent() == [("reversal", TOTAL_CENTS, PAYER, "SECOND0001")]
    held = {each.kind: each.balance_cents for each in ledger.trial_balance(back.db)}
    assert held["L.escrow"] == TOTAL_CENTS


def test_a_late_payment_is_reversed(back: Back) -> None:
    bought = pushed(back.db, back.buy(), back.now)
    settlements.settle(back.db, bought.charge_id, failed(), back.now)
    assert checkouts.cancel(back.db, bought.checkout_id, back.buyer, back.now) == "cancelled"
    assert settlements.settle(back.db, bought.charge_id, paid(bought), back.now) == "late"
    assert back.refund() == "sent"
    assert back.sent() == [("reversal", TOTAL_CENTS, PAYER, "RCPT000001")]


def test_what_was_paid_too_much_is_paid_out(back: Back) -> None:
    bought = pushed(back.db, back.buy(), back.now)
    over = c2b(bought.reference, back.now, cents=TOTAL_CENTS + 31_900)
    assert settlements.receive(back.db, over, back.now) == "over"
    assert back.refund() == "sent"
    assert back.sent() == [("refund", 31_900, PAYER, None)]


def test_a_receipt_below_ten_shillings_goes_back_whole(back: Back) -> None:
    bought = back.bought()
    settlements.receive(back.db, c2b(bought.reference, back.now, "TINY000001", 500), back.now)
    assert back.refund() == "sent"
    assert back.sent() == [("reversal", 500, PAYER, "TINY000001")]


def test_two_whole_receipts_are_two_reversals_and_the_rest_is_paid_out(back: Back) -> None:
    first = back.bought()
    settlements.receive(back.db, c2b(first.reference, back.now, "SECOND0001", 30_000), back.now)
    settlements.receive(back.db, c2b(first.reference, back.now, "SECOND0002", 20_000), back.now)
    back.refused(first, back.market.otieno)
    assert back.refund() == "sent"
    assert sorted(back.sent()) == [
        ("refund", 18_100, PAYER, None),
        ("reversal", 20_000, PAYER, "SECOND0002"),
        ("reversal", 30_000, PAYER, "SECOND0001"),
    ]


# --- when it does not -----------------------------------------------------------------------------


def test_nothing_is_sent_where_nothing_lies(back: Back) -> None:
    assert back.refund() == "nothing"
    back.bought()
    assert back.refund() == "nothing"
    assert back.sent() == []


def test_it_is_sent_once_however_often_it_is_asked_for(back: Back) -> None:
    back.refused(back.bought())
    assert [back.refund() for _ in range(3)] == ["sent", "nothing", "nothing"]
    assert len(back.sent()) == 1


def test_less_than_mpesa_sends_waits_for_more_and_is_said_once(back: Back) -> None:
    bought = pushed(back.db, back.buy(), back.now)
    settlements.receive(back.db, c2b(bought.reference, back.now, cents=TOTAL_CENTS + 500), back.now)
    assert back.refund() == "too_small"
    assert back.refund() == "too_small"
    assert back.sent() == []
    (text,) = back.told()
    assert text.startswith("KSh 5 is yours")
    back.refused(bought, back.market.otieno)
    assert back.refund() == "sent"
    assert back.sent() == [("refund", 18_600, PAYER, None)]


def test_a_part_of_the_price_waits_for_the_rest_and_comes_back_if_that_never_comes(
    back: Back,
) -> None:
    bought = pushed(back.db, back.buy(), back.now)
    settlements.receive(back.db, c2b(bought.reference, back.now, cents=30_000), back.now)
    back.db.run("DELETE FROM outbox")
    assert back.refund() == "waits"
    assert back.sent() == []
    due_at = back.db.value("SELECT due_at FROM outbox WHERE kind = 'refund_balance'")
    assert due_at > back.now
    settlements.settle(back.db, bought.charge_id, failed(), back.now)
    assert checkouts.cancel(back.db, bought.checkout_id, back.buyer, back.now) == "cancelled"
    assert back.refund() == "sent"
    assert back.sent() == [("reversal", 30_000, PAYER, "RCPT000001")]


def test_parts_that_paid_the_orders_together_go_back_as_they_came(back: Back) -> None:
    bought = pushed(back.db, back.buy(), back.now)
    settlements.receive(back.db, c2b(bought.reference, back.now, "PART000001", 30_000), back.now)
    rest = c2b(bought.reference, back.now, "PART000002", TOTAL_CENTS - 30_000)
    assert settlements.receive(back.db, rest, back.now) == "captured"
    assert back.refund() == "nothing"
    back.refused(bought)
    assert back.refund() == "sent"
    assert sorted(back.sent()) == [
        ("reversal", 30_000, PAYER, "PART000001"),
        ("reversal", TOTAL_CENTS - 30_000, PAYER, "PART000002"),
    ]


def test_a_receipt_whose_money_paid_another_basket_is_not_reversed(back: Back) -> None:
    first = back.bought()
    extra = c2b(first.reference, back.now, "SECOND0001", 50_000)
    assert settlements.receive(back.db, extra, back.now) == "second_payment"
    back.now += timedelta(minutes=5)
    other = pushed(back.db, back.buy(), back.now, push="2")
    more = c2b(other.reference, back.now, "PART000001", TOTAL_CENTS - 50_000)
    assert settlements.receive(back.db, more, back.now) == "captured"
    back.refused(first, back.market.wanjiku)
    assert back.refund() == "sent"
    assert back.sent() == [("refund", 50_000, PAYER, None)]


def test_an_old_receipt_is_paid_out_and_not_reversed(back: Back) -> None:
    bought = back.bought()
    back.now += 25 * HOUR
    back.refused(bought)
    assert back.refund() == "sent"
    assert back.sent() == [("refund", TOTAL_CENTS, PAYER, None)]


def test_a_receipt_whose_money_has_left_the_collection_float_is_paid_out(back: Back) -> None:
    bought = back.bought()
    back.refused(bought)
    moved = float_moves.request(back.db, TOTAL_CENTS, "chief", back.now)
    assert isinstance(moved, UUID)
    assert back.refund() == "sent"
    assert back.sent() == [("refund", TOTAL_CENTS, PAYER, None)]


def test_a_frozen_members_refund_waits_until_it_is_lifted(back: Back) -> None:
    back.refused(back.bought())
    freezes.freeze(back.db, back.buyer, "lost phone", "wambui", back.now)
    assert back.refund() == "frozen"
    assert back.balance() == TOTAL_CENTS
    back.db.run("DELETE FROM outbox")
    assert freezes.lift(back.db, back.buyer, "other", back.now) == "lifted"
    asked = back.db.value("SELECT arguments FROM outbox WHERE kind = 'refund_balance'")
    assert asked == {"member_id": str(back.buyer)}
    assert back.refund() == "sent"


def test_no_refund_leaves_while_somebodys_money_is_missing(back: Back) -> None:
    back.refused(back.bought())
    legs = [ledger.debit(ledger.LOSS, 10_100_000), ledger.credit(ledger.B2C, 10_100_000)]
    ledger.post(back.db, "test", "test:stolen", legs, back.now)
    back.db.run("DELETE FROM outbox")
    assert back.refund() == "insolvent"
    assert back.balance() == TOTAL_CENTS
    due_at = back.db.value("SELECT due_at FROM outbox WHERE kind = 'refund_balance'")
    assert due_at == back.now + HOUR


def test_what_came_back_to_a_number_that_mpesa_cannot_know_waits_and_somebody_calls(
    back: Back,
) -> None:
    """She is from abroad: her sister paid one order by a prompt, somebody the other by hand."""
    sisters = settled(back.db, purchase(back.db, back.market, back.now, payer=msisdn(70)), back.now)
    by_hand = pushed(back.db, back.buy(), back.now)
    settlements.settle(back.db, by_hand.charge_id, failed(), back.now)
    assert settlements.receive(back.db, c2b(by_hand.reference, back.now), back.now) == "captured"
    back.db.run("UPDATE members SET msisdn = '+256772123456' WHERE id = %s", [back.buyer])
    for bought in (sisters, by_hand):
        back.refused(bought, back.market.wanjiku)
    assert back.refund() == "nowhere"
    assert back.sent() == [("refund", 50_000, msisdn(70), None)]
    assert back.balance() == 50_000
    assert incidents.find_open(back.db, "refund_failed", back.buyer) is not None


def test_a_large_refund_needs_a_second_person_too(back: Back) -> None:
    back.refused(back.bought())
    assert back.refund(Rules(payout_automatic_max_cents=TOTAL_CENTS - 100)) == "sent"
    (payout,) = payouts.of_member(back.db, back.buyer, 1)
    assert payout.state == "requested"


# --- the reversal itself --------------------------------------------------------------------------


@pytest.fixture
def reversing(back: Back) -> Back:
    back.refused(back.bought())
    back.refund()
    return back


def result_of(back: Back, **changes: Any) -> PayoutResult:
    (payout,) = payouts.of_member(back.db, back.buyer, 1)
    given: dict[str, Any] = {
        "source": "result",
        "verdict": "paid",
        "code": "0",
        "amount_cents": TOTAL_CENTS,
        "receipt": "REVERSED01",
        "originator_id": "29115-1",
        "reverses_receipt": payout.reverses_receipt,
    }
    return PayoutResult(**{**given, **changes})


def settle(back: Back, result: PayoutResult) -> str:
    (payout,) = payouts.of_member(back.db, back.buyer, 1)
    return payout_proofs.settle(back.db, payout.id, result, back.now)


ACK = PayoutAnswer("accepted", "0", "29115-1", "AG_9")


def accept(back: Back) -> UUID:
    claimed = back.claim()
    assert claimed.originator_id is None
    payout_calls.record_ack(back.db, claimed.id, ACK, back.now)
    return claimed.id


def test_a_reversal_is_paid_from_the_collection_float(reversing: Back) -> None:
    accept(reversing)
    assert settle(reversing, result_of(reversing)) == "paid"
    assert ledger.balance(reversing.db, ledger.C2B) == 0
    assert ledger.balance(reversing.db, ledger.B2C) == 10_000_000
    assert reversing.told() == ["KSh 681 is back on the M-Pesa line that paid."]


def test_a_reversal_before_its_ack_is_believed_by_its_path(reversing: Back) -> None:
    claimed = reversing.claim()
    assert settle(reversing, result_of(reversing)) == "paid"
    payout_calls.record_ack(reversing.db, claimed.id, ACK, reversing.now)
    assert payouts.by_id(reversing.db, claimed.id).state == "paid"  # type: ignore[union-attr]


def test_a_reversal_of_another_receipt_is_doubted(reversing: Back) -> None:
    accept(reversing)
    wrong = result_of(reversing, reverses_receipt="SOMEOTHER1")
    assert settle(reversing, wrong) == "doubted"
    assert ledger.balance(reversing.db, ledger.C2B) == TOTAL_CENTS


def test_a_receipt_reversed_before_has_left_the_float_and_its_line_is_looked_for(
    reversing: Back,
) -> None:
    accept(reversing)
    before = result_of(
        reversing, verdict="reversed", code="R000001", receipt=None, amount_cents=None
    )
    assert settle(reversing, before) == "paid"
    assert ledger.balance(reversing.db, ledger.C2B) == 0
    assert "reversal_without_receipt" in reversing.incidents()
    assert settle(reversing, result_of(reversing)) == "already_settled"
    (payout,) = payouts.of_member(reversing.db, reversing.buyer, 1)
    assert payout.receipt == "REVERSED01"
    assert reversing.incidents() == set()


def test_a_reversal_that_cannot_be_is_paid_out_instead_and_not_tried_again(reversing: Back) -> None:
    accept(reversing)
    reversing.db.run("DELETE FROM outbox")
    refused = result_of(reversing, verdict="failed", code="R000002", receipt=None)
    assert settle(reversing, refused) == "failed"
    assert reversing.balance() == TOTAL_CENTS
    assert reversing.db.value("SELECT count(*) FROM outbox WHERE kind = 'refund_balance'") == 1
    assert reversing.refund() == "sent"
    assert reversing.sent()[1:] == [("refund", TOTAL_CENTS, PAYER, None)]


def test_a_reversal_whose_ack_was_lost_is_asked_for_again_since_mpesa_does_it_once(
    reversing: Back,
) -> None:
    claimed = reversing.claim()
    payout_calls.record_ack(
        reversing.db, claimed.id, PayoutAnswer("unknown", "timeout"), reversing.now
    )
    reversing.now += timedelta(minutes=1)
    again = payout_calls.query_due(reversing.db, claimed.id, RULES, reversing.now)
    assert again == claimed
    payout_calls.record_ack(reversing.db, claimed.id, ACK, reversing.now)
    asked = payout_calls.query_due(reversing.db, claimed.id, RULES, reversing.now)
    assert isinstance(asked, payout_calls.PayoutToQuery)
    assert (asked.originator_id, asked.is_reversal) == ("29115-1", True)


def test_of_a_reversal_that_was_called_twice_the_failure_of_one_call_is_no_proof(
    reversing: Back,
) -> None:
    """The collection float was too low for the first; the second is on its way, and succeeds."""
    claimed = reversing.claim()
    payout_calls.record_ack(
        reversing.db, claimed.id, PayoutAnswer("unknown", "timeout"), reversing.now
    )
    reversing.now += timedelta(minutes=1)
    assert payout_calls.query_due(reversing.db, claimed.id, RULES, reversing.now) == claimed
    first = result_of(reversing, verdict="failed", code="1", receipt=None, originator_id="29115-0")
    assert settle(reversing, first) == "pending"
    assert reversing.balance() == 0, "it is not paid out by the other road as well"
    payout_calls.record_ack(reversing.db, claimed.id, ACK, reversing.now)
    assert settle(reversing, result_of(reversing)) == "paid"
    assert reversing.refund() == "nothing"
    assert ledger.balance(reversing.db, ledger.LOSS) == 0


def test_of_a_reversal_that_was_called_twice_the_failure_of_the_named_call_ends_it(
    reversing: Back,
) -> None:
    claimed = reversing.claim()
    payout_calls.record_ack(
        reversing.db, claimed.id, PayoutAnswer("unknown", "timeout"), reversing.now
    )
    reversing.now += timedelta(minutes=1)
    assert payout_calls.query_due(reversing.db, claimed.id, RULES, reversing.now) == claimed
    payout_calls.record_ack(reversing.db, claimed.id, ACK, reversing.now)
    assert settle(reversing, result_of(reversing, verdict="failed", code="1")) == "failed"
    assert reversing.balance() == TOTAL_CENTS


def test_an_ack_that_is_recorded_after_that_of_a_later_call_is_not_mixed_with_it(
    reversing: Back,
) -> None:
    claimed = reversing.claim()
    reversing.now += timedelta(minutes=1)
    assert payout_calls.query_due(reversing.db, claimed.id, RULES, reversing.now) == claimed
    for n in (2, 1):
        answer = PayoutAnswer("accepted", "0", f"29115-{n}", f"AG_{n}")
        payout_calls.record_ack(reversing.db, claimed.id, answer, reversing.now)
    said = result_of(reversing, originator_id="29115-2", conversation_id="AG_2")
    assert settle(reversing, said) == "paid"


@pytest.mark.parametrize("earlier", ["done before", "not done"])
def test_a_reversal_that_a_status_says_was_declined_is_called_again_for_its_result_tells_why(
    reversing: Back, earlier: str
) -> None:
    """It may have been reversed already: to pay it out by the other road would be to pay twice."""
    payout_id = accept(reversing)
    declined = result_of(
        reversing, source="status", verdict="failed", code="Declined", receipt=None
    )
    assert settle(reversing, declined) == "pending"
    assert reversing.balance() == 0
    reversing.now += timedelta(minutes=10)
    again = payout_calls.query_due(reversing.db, payout_id, RULES, reversing.now)
    assert isinstance(again, payout_calls.ClaimedPayout)
    answer = PayoutAnswer("accepted", "0", "29115-2", "AG_10")
    payout_calls.record_ack(reversing.db, payout_id, answer, reversing.now)
    told: dict[str, Any] = {"originator_id": "29115-2", "receipt": None}
    if earlier == "done before":
        said = result_of(reversing, verdict="reversed", code="R000001", **told)
        assert (settle(reversing, said), reversing.refund()) == ("paid", "nothing")
    else:
        said = result_of(reversing, verdict="failed", code="1", **told)
        assert (settle(reversing, said), reversing.refund()) == ("failed", "sent")
        assert reversing.sent()[-1][0] == "refund"


def test_two_people_of_one_basket_are_not_mixed(back: Back) -> None:
    """What comes back to one buyer is nothing to another."""
    other = person(back.db, back.now, 50, "Zawadi")
    back.refused(back.bought())
    assert refunds.refund_balance(back.db, other, RULES, back.now) == "nothing"
    assert back.refund() == "sent"


def test_a_push_that_was_paid_gives_the_number_that_refunds_go_to(db: Db, now: datetime) -> None:
    back = Back(db, now)
    bought = purchase(db, back.market, now, payer=msisdn(77))
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer("accepted", "ws_CO_7"), now)
    settlements.settle(db, bought.charge_id, paid(bought), now)
    back.refused(bought, back.market.otieno)
    back.refund()
    assert back.sent() == [("refund", 18_100, msisdn(77), None)]


# --- nobody asks ----------------------------------------------------------------------------------


def is_due(back: Back) -> bool:
    return bool(
        back.db.value(
            "SELECT EXISTS (SELECT FROM outbox WHERE kind = 'refund_balance' AND done_at IS NULL"
            " AND arguments = jsonb_build_object('member_id', %s::text))",
            [str(back.buyer)],
        )
    )


def test_a_payment_that_simply_pays_makes_no_refund_due(back: Back) -> None:
    back.bought()
    assert not is_due(back)


@pytest.mark.parametrize("how", ["refused", "cancelled", "missed", "second", "short", "late"])
def test_whatever_comes_back_is_due_without_anybody_asking(back: Back, how: str) -> None:
    if how in ("short", "late"):
        bought = pushed(back.db, back.buy(), back.now)
        if how == "short":
            settlements.receive(back.db, c2b(bought.reference, back.now, cents=100), back.now)
        else:
            settlements.settle(back.db, bought.charge_id, failed(), back.now)
            checkouts.cancel(back.db, bought.checkout_id, back.buyer, back.now)
            assert settlements.settle(back.db, bought.charge_id, paid(bought), back.now) == "late"
    else:
        bought = back.bought()
        order = order_of(back.db, bought, back.market.otieno)
        assert not is_due(back)
        match how:
            case "refused":
                back.refused(bought, back.market.otieno)
            case "cancelled":
                deliveries.cancel(back.db, order.id, back.buyer, back.now)
            case "missed":
                deliveries.accept_missed(back.db, order.id, back.now + 25 * HOUR)
            case "second":
                settlements.receive(
                    back.db, c2b(bought.reference, back.now, "SECOND0001"), back.now
                )
    assert is_due(back)


def test_a_refund_that_is_not_let_go_waits_for_somebody_to_look(back: Back) -> None:
    back.refused(back.bought())
    two_people = replace(RULES, payout_automatic_max_cents=0)
    assert back.refund(two_people) == "sent"
    (payout,) = payouts.of_member(back.db, back.buyer, 10)
    assert payouts.reject(back.db, payout.id, "peter", back.now) == "rejected"
    assert back.balance() == TOTAL_CENTS
    found = incidents.find_open(back.db, "refund_failed", payout.id)
    assert found is not None
    assert found.detail == {"code": "rejected"}
