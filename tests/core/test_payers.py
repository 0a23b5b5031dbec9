"""Payers: another's phone pays, another person receives, and large sums come in parts."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from core import (
    carts,
    catalogue,
    charges,
    checkouts,
    deliveries,
    ledger,
    messages,
    opt_outs,
    order_book,
    orders,
    payout_calls,
    payout_proofs,
    payouts,
    refunds,
    sendings,
    settlements,
    stock,
    withdrawals,
    wordings,
)
from core.charges import AMOUNT_CENTS_MAX, Charge, ChargeResult, PushAnswer
from core.database import Db
from core.orders import Receiver
from core.payout_calls import PayoutAnswer
from core.payout_proofs import PayoutResult
from tests.core.market import (
    QUERIED_PAID,
    RULES,
    SAID_LATE,
    TOTAL_CENTS,
    Market,
    Purchase,
    c2b,
    failed,
    fill_cart,
    late,
    msisdn,
    open_market,
    order_of,
    paid,
    person,
    purchase,
    pushed,
    run_timers,
    settled,
)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OWN, SISTER = msisdn(1), msisdn(70)
PRICE_CENTS = 5_000_000  # a tonne of tomatoes, KSh 50,000
SUM_CENTS = 8 * PRICE_CENTS  # KSh 400,000: one payment of 250,000 and one of 150,000
REST_CENTS = SUM_CENTS - AMOUNT_CENTS_MAX
MOTHER = Receiver("Mama Juma", msisdn(77))


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    made = open_market(db, now)
    legs = [ledger.debit(ledger.B2C, 100_000_000), ledger.credit(ledger.CAPITAL, 100_000_000)]
    ledger.post(db, "test", "test:capital", legs, now)
    return made


class Lorry:
    """Amina's basket of KSh 400,000 and what comes of its price."""

    def __init__(self, db: Db, market: Market, now: datetime, payer: str = OWN) -> None:
        self.db, self.market, self.now, self.buyer = db, market, now, market.buyer
        catalogue.set_price(db, market.tomatoes, PRICE_CENTS, now)
        assert carts.add(db, self.buyer, market.tomatoes, 8_000, None, now) == "added"
        assert checkouts.place(db, self.buyer, payer, SUM_CENTS, RULES, now) == "placed"
        self.checkout_id = order_book.of_buyer(db, self.buyer, 1)[0].checkout_id

    @property
    def charges(self) -> list[Charge]:
        return charges.of_checkout(self.db, self.checkout_id)

    @property
    def newest(self) -> Charge:
        return self.charges[-1]

    @property
    def state(self) -> str:
        (order,) = orders.lock(self.db, self.checkout_id)
        return order.state

    def push(self) -> None:
        assert charges.claim_for_push(self.db, self.newest.id, RULES, self.now) is not None
        answer = PushAnswer("accepted", f"ws_{self.newest.reference}", "group", "0")
        charges.record_push(self.db, self.newest.id, answer, self.now)

    def settle(self, result: ChargeResult | None = None, receipt: str = "") -> str:
        charge = self.newest
        receipt = receipt or f"R{charge.reference}"
        result = result or ChargeResult(
            "callback", "paid", "0", charge.amount_cents, receipt, charge.msisdn
        )
        return settlements.settle(self.db, charge.id, result, self.now)

    def pay(self) -> str:
        self.push()
        return self.settle()

    def by_hand(self, cents: int, receipt: str = "HAND000001", charge: Charge | None = None) -> str:
        reference = (charge or self.newest).reference
        return settlements.receive(self.db, c2b(reference, self.now, receipt, cents), self.now)

    def wait(self, time: timedelta) -> None:
        self.now += time

    def ask_next(self) -> None:
        """The worker does what is due, two minutes later."""
        self.wait(2 * MINUTE)
        run_timers(self.db, self.now)

    def again(self, payer: str = OWN) -> str:
        return checkouts.pay_again(self.db, self.checkout_id, self.buyer, payer, RULES, self.now)

    def run_out(self) -> None:
        self.wait(HOUR)
        run_timers(self.db, self.now)

    def refund(self) -> str:
        return refunds.refund_balance(self.db, self.buyer, RULES, self.now)

    def money(self) -> dict[str, int]:
        assert ledger.unbalanced_transfers(self.db) == ledger.stale_balances(self.db) == 0
        found = {each.kind: each.balance_cents for each in ledger.trial_balance(self.db)}
        return {
            kind: found[kind]
            for kind in ("A.c2b", "L.buyer", "L.escrow", "L.out", "L.suspense")
            if found.get(kind)
        }


@pytest.fixture
def lorry(db: Db, market: Market, now: datetime) -> Lorry:
    return Lorry(db, market, now)


ALL_HELD = {"A.c2b": SUM_CENTS, "L.escrow": SUM_CENTS}
FIRST_WAITS = {"A.c2b": AMOUNT_CENTS_MAX, "L.buyer": AMOUNT_CENTS_MAX}


def told(db: Db, trigger: str) -> list[str]:
    texts = db.value(
        "SELECT array_agg(text ORDER BY created_at, id) FROM messages WHERE trigger = %s",
        [trigger],
    )
    return [wordings.complete(text, SAID_LATE) for text in texts or []]


def told_to(db: Db, phone: str) -> list[str]:
    found = db.value(
        "SELECT array_agg(trigger ORDER BY created_at, id) FROM messages WHERE msisdn = %s", [phone]
    )
    return found or []


# --- parts ----------------------------------------------------------------------------------------


def test_what_mpesa_cannot_move_at_once_is_asked_for_in_parts() -> None:
    assert charges.parts(1_00) == [1_00]
    assert charges.parts(AMOUNT_CENTS_MAX) == [AMOUNT_CENTS_MAX]
    assert charges.parts(33_350_000) == [AMOUNT_CENTS_MAX, 8_350_000]
    assert charges.parts(checkouts.TOTAL_CENTS_MAX) == [AMOUNT_CENTS_MAX] * 10


def test_the_first_part_waits_with_the_buyer_and_the_last_fills_the_escrow_in_one_transfer(
    lorry: Lorry,
) -> None:
    assert [charge.amount_cents for charge in lorry.charges] == [AMOUNT_CENTS_MAX]
    assert lorry.pay() == "part"
    assert (lorry.money(), lorry.state) == (FIRST_WAITS, "placed")
    lorry.ask_next()
    assert [charge.amount_cents for charge in lorry.charges] == [AMOUNT_CENTS_MAX, REST_CENTS]
    assert lorry.settle() == "paid"
    assert (lorry.money(), lorry.state) == (ALL_HELD, "paid")
    captured = lorry.db.value("SELECT count(*) FROM transfers WHERE kind = 'capture'")
    assert captured == 1


def test_the_next_part_is_not_asked_for_before_mpesa_would_take_it(lorry: Lorry) -> None:
    lorry.pay()
    lorry.wait(MINUTE)
    assert "next_part" not in dict(run_timers(lorry.db, lorry.now))
    assert lorry.again() == "asked"  # another amount, a minute later: she may if she likes
    lorry.wait(MINUTE)
    results = dict(run_timers(lorry.db, lorry.now))
    assert results["next_part"] == "payment_open"
    assert len(lorry.charges) == 2


def test_each_part_adds_to_the_time_to_pay(lorry: Lorry) -> None:
    pay_by: datetime = lorry.db.value("SELECT pay_by FROM checkouts")
    assert pay_by - lorry.now == 20 * MINUTE
    until: datetime = lorry.db.value("SELECT until FROM reservations")
    assert until == pay_by


def test_what_came_goes_back_by_itself_when_the_rest_does_not_come(lorry: Lorry) -> None:
    lorry.pay()
    assert lorry.refund() == "waits"
    lorry.ask_next()
    lorry.settle(failed())
    lorry.run_out()
    assert lorry.state == "expired"
    assert lorry.refund() == "sent"
    (back,) = payouts.of_member(lorry.db, lorry.buyer, 10)
    first = lorry.charges[0]
    assert (back.kind, back.reverses_receipt) == ("reversal", first.receipt)
    assert lorry.money() == {"A.c2b": AMOUNT_CENTS_MAX, "L.out": AMOUNT_CENTS_MAX}
    assert stock.available(lorry.db, [lorry.market.tomatoes], lorry.now) == {
        lorry.market.tomatoes: 10_000
    }


def test_a_part_of_a_cancelled_basket_goes_back_at_once(lorry: Lorry) -> None:
    lorry.pay()
    cancelled = checkouts.cancel(lorry.db, lorry.checkout_id, lorry.buyer, lorry.now)
    assert cancelled == "cancelled"
    assert lorry.refund() == "sent"


def test_a_part_that_only_a_query_has_proved_waits_as_well_and_its_receipt_comes_later(
    lorry: Lorry,
) -> None:
    lorry.push()
    assert lorry.settle(QUERIED_PAID) == "part"
    assert lorry.refund() == "waits"
    assert lorry.by_hand(AMOUNT_CENTS_MAX, "PUSHED0001") == "attached"
    assert lorry.money() == FIRST_WAITS
    lorry.ask_next()
    assert lorry.settle(QUERIED_PAID) == "paid"
    assert lorry.money() == ALL_HELD


def test_after_a_failed_part_only_what_is_missing_is_asked_for(lorry: Lorry) -> None:
    lorry.pay()
    lorry.ask_next()
    assert lorry.settle(failed("1037")) == "failed"
    (words,) = told(lorry.db, "payment_failed")
    assert "KSh 150,000" in words
    assert lorry.newest.reference in words
    lorry.wait(2 * MINUTE)
    assert lorry.again() == "asked"
    assert lorry.newest.amount_cents == REST_CENTS
    assert lorry.settle() == "paid"
    assert lorry.money() == ALL_HELD


def test_a_part_is_told_with_what_is_missing_and_how_to_pay_it_by_hand(lorry: Lorry) -> None:
    lorry.pay()
    (words,) = told(lorry.db, "payment_part")
    assert "KSh 250,000 came" in words
    assert "KSh 150,000 more" in words
    assert f"Paybill 174379, {lorry.newest.reference}" in words


def test_the_reminder_names_what_is_missing(lorry: Lorry) -> None:
    lorry.pay()
    lorry.ask_next()
    lorry.settle(failed())
    lorry.wait(14 * MINUTE)
    run_timers(lorry.db, lorry.now)
    (words,) = told(lorry.db, "payment_reminder")
    assert "KSh 150,000" in words


@pytest.mark.parametrize("cents", [[REST_CENTS], [5_000_000, 10_000_000]])
def test_the_rest_may_be_paid_by_hand_to_the_account_of_any_part(
    lorry: Lorry, cents: list[int]
) -> None:
    lorry.pay()
    for number, amount in enumerate(cents):
        lorry.by_hand(amount, f"HAND00000{number}")
    assert (lorry.money(), lorry.state) == (ALL_HELD, "paid")
    lorry.ask_next()
    assert len(lorry.charges) == 1  # nobody is asked for what is there


def test_a_part_paid_by_hand_and_by_its_prompt_is_two_parts(lorry: Lorry) -> None:
    lorry.push()
    assert lorry.by_hand(AMOUNT_CENTS_MAX) == "part"
    assert lorry.settle() == "paid"
    money = {"A.c2b": 2 * AMOUNT_CENTS_MAX, "L.escrow": SUM_CENTS}
    assert lorry.money() == money | {"L.buyer": 2 * AMOUNT_CENTS_MAX - SUM_CENTS}
    assert lorry.refund() == "sent"


def test_the_last_part_paid_twice_is_hers_again(lorry: Lorry) -> None:
    lorry.pay()
    first = lorry.newest
    lorry.ask_next()
    assert lorry.by_hand(REST_CENTS, charge=first) == "captured"
    assert lorry.settle() == "second_payment"
    assert lorry.money() == {"A.c2b": SUM_CENTS + REST_CENTS} | {
        "L.escrow": SUM_CENTS,
        "L.buyer": REST_CENTS,
    }
    (words,) = told(lorry.db, "payment_second")
    assert "KSh 150,000" in words
    assert lorry.refund() == "sent"
    (back,) = payouts.of_member(lorry.db, lorry.buyer, 1)
    assert (back.kind, back.amount_cents) == ("reversal", REST_CENTS)


def test_a_part_that_comes_after_the_end_is_hers_again(lorry: Lorry) -> None:
    lorry.push()
    checkouts.cancel(lorry.db, lorry.checkout_id, lorry.buyer, lorry.now)
    assert lorry.settle() == "late"
    assert lorry.money() == FIRST_WAITS
    assert len(told(lorry.db, "payment_late")) == 1
    lorry.ask_next()
    assert len(lorry.charges) == 1


def test_what_was_refunded_of_her_balance_meanwhile_is_asked_for_again(lorry: Lorry) -> None:
    """A part is earmarked for nothing: whatever is missing when the last comes is missing."""
    lorry.pay()
    mine = ledger.buyer(lorry.buyer)
    legs = [ledger.debit(mine, 1_000_000), ledger.credit(ledger.C2B, 1_000_000)]
    ledger.post(lorry.db, "test", "test:gone", legs, lorry.now)
    lorry.ask_next()
    assert lorry.newest.amount_cents == REST_CENTS + 1_000_000


def test_what_her_balance_can_pay_needs_no_asking(lorry: Lorry) -> None:
    lorry.pay()
    mine = ledger.buyer(lorry.buyer)
    legs = [ledger.debit(ledger.C2B, REST_CENTS), ledger.credit(mine, REST_CENTS)]
    ledger.post(lorry.db, "test", "test:back", legs, lorry.now)
    lorry.wait(2 * MINUTE)
    assert lorry.again() == "not_open"
    assert (lorry.money(), lorry.state) == (ALL_HELD, "paid")


def test_the_limit_of_a_day_has_its_own_words(lorry: Lorry) -> None:
    lorry.pay()
    lorry.ask_next()
    lorry.settle(ChargeResult("callback", "failed", "4", over_limit=True))
    (words,) = told(lorry.db, "payment_over_limit")
    assert "daily limit" in words
    assert "KSh 150,000" in words
    assert told(lorry.db, "payment_failed") == []


def test_a_cancelled_order_paid_in_parts_goes_back_part_by_part(lorry: Lorry) -> None:
    lorry.pay()
    lorry.ask_next()
    lorry.settle()
    (order,) = orders.lock(lorry.db, lorry.checkout_id)
    assert deliveries.cancel(lorry.db, order.id, lorry.buyer, lorry.now) == "cancelled"
    assert lorry.refund() == "sent"
    back = {p.reverses_receipt: p.amount_cents for p in payouts.of_member(lorry.db, lorry.buyer, 9)}
    assert back == {charge.receipt: charge.amount_cents for charge in lorry.charges}


# --- another payer --------------------------------------------------------------------------------


def placed_by(db: Db, market: Market, now: datetime, payer: str, **given: Any) -> str:
    fill_cart(db, market, market.buyer, now)
    return checkouts.place(db, market.buyer, payer, TOTAL_CENTS, RULES, now, **given)


def turned_down(db: Db, market: Market, now: datetime, payer: str, buyer: UUID) -> None:
    """Asked, and the prompt cancelled; the basket is given up."""
    bought = purchase(db, market, now, payer=payer, buyer=buyer)
    pushed(db, bought, now, push=bought.reference)
    settlements.settle(db, bought.charge_id, failed(), now)
    checkouts.cancel(db, bought.checkout_id, buyer, now)


def test_another_payer_is_told_once_who_asks_and_for_what(
    db: Db, market: Market, now: datetime
) -> None:
    db.run("UPDATE members SET name = 'Amina Wairimu' WHERE id = %s", [market.buyer])
    bought = pushed(db, purchase(db, market, now, payer=SISTER), now)
    (words,) = told(db, "payment_asked")
    first, second = order_book.of_checkout(db, bought.checkout_id)
    assert words.startswith(f"Amina asks you to pay KSh 681 by M-Pesa, Sokoni order {first.number}")
    assert str(second.number) in words
    assert "Wairimu" not in words
    assert OWN not in words
    settlements.settle(db, bought.charge_id, failed(), now)
    later = now + 3 * MINUTE
    asked = checkouts.pay_again(db, bought.checkout_id, bought.buyer, SISTER, RULES, later)
    assert asked == "asked"
    assert told_to(db, SISTER) == ["payment_asked"]


def test_a_payer_who_is_a_member_is_told_in_the_own_language(
    db: Db, market: Market, now: datetime
) -> None:
    sister = person(db, now, 70, "Njeri")
    db.run("UPDATE members SET language = 'sw' WHERE id = %s", [sister])
    purchase(db, market, now, payer=SISTER)
    (words,) = told(db, "payment_asked")
    assert words.startswith("Amina anaomba ulipe KSh 681")


def test_who_pays_for_herself_is_told_nothing_more(db: Db, market: Market, now: datetime) -> None:
    settled(db, purchase(db, market, now), now)
    assert told(db, "payment_asked") == told(db, "payer_thanked") == []


def test_whoever_paid_for_somebody_else_is_thanked_once_with_the_receipt(
    db: Db, market: Market, now: datetime
) -> None:
    bought = settled(db, purchase(db, market, now, payer=SISTER), now)
    settlements.settle(db, bought.charge_id, paid(bought, f"R{bought.reference}"), now)
    assert told_to(db, SISTER) == ["payment_asked", "payer_thanked"]
    (words,) = told(db, "payer_thanked")
    assert words.startswith("Thank you: KSh 681 for Amina, Sokoni order ")
    assert words.endswith(f"has come. M-Pesa R{bought.reference}.")


@pytest.mark.parametrize("first", ["c2b", "query"])
def test_the_payer_is_thanked_whatever_proof_came_first(
    db: Db, market: Market, now: datetime, first: str
) -> None:
    """Before it is known that the prompt was answered, and by which receipt, nobody is thanked."""
    bought = pushed(db, purchase(db, market, now, payer=SISTER), now)
    if first == "c2b":
        assert settlements.receive(db, c2b(bought.reference, now), now) == "captured"
        assert told(db, "payer_thanked") == []
        assert settlements.settle(db, bought.charge_id, paid(bought), now) == "already_settled"
    else:
        assert settlements.settle(db, bought.charge_id, QUERIED_PAID, now) == "paid"
        assert told(db, "payer_thanked") == []
        assert settlements.receive(db, c2b(bought.reference, now), now) == "attached"
    (words,) = told(db, "payer_thanked")
    assert words.endswith("M-Pesa RCPT000001.")


def test_nobody_is_thanked_for_what_was_paid_by_hand_or_is_doubted_but_for_the_prompt_answered(
    db: Db, market: Market, now: datetime
) -> None:
    bought = pushed(db, purchase(db, market, now, payer=SISTER), now)
    doubted = paid(bought, amount_cents=100)
    assert settlements.settle(db, bought.charge_id, doubted, now) == "doubted"
    assert settlements.receive(db, c2b(bought.reference, now), now) == "captured"
    assert told(db, "payer_thanked") == []
    assert (
        settlements.settle(db, bought.charge_id, paid(bought, "OTHER00001"), now)
        == "second_payment"
    )
    assert told(db, "payer_thanked")[0].endswith("M-Pesa OTHER00001.")


def test_a_phone_that_left_three_prompts_of_one_buyer_unpaid_is_asked_no_more_that_day(
    db: Db, market: Market, now: datetime
) -> None:
    for number in range(charges.UNPAID_ASKS_MAX):
        turned_down(db, market, now + number * HOUR, SISTER, market.buyer)
    later = now + 4 * HOUR
    assert placed_by(db, market, later, SISTER) == "unwilling"
    neighbour = person(db, now, 8)
    turned_down(db, market, later, SISTER, neighbour)  # who has not asked it before
    assert (
        charges.permit(db, _draft(db, market.buyer), SISTER, TOTAL_CENTS, now + DAY - MINUTE)
        == "unwilling"
    )
    tomorrow = now + DAY + MINUTE
    assert checkouts.place(db, market.buyer, SISTER, TOTAL_CENTS, RULES, tomorrow) == "placed"


def _draft(db: Db, buyer: UUID) -> UUID:
    found: UUID = db.value(
        "SELECT id FROM checkouts WHERE buyer_id = %s AND state = 'draft'", [buyer]
    )
    return found


def test_a_phone_that_left_six_prompts_unpaid_is_asked_by_nobody_that_day(
    db: Db, market: Market, now: datetime
) -> None:
    for number in range(charges.UNPAID_ASKS_OF_ALL_MAX):
        turned_down(db, market, now + number * HOUR, SISTER, person(db, now, 80 + number))
    assert placed_by(db, market, now + 7 * HOUR, SISTER) == "unwilling"


def test_her_own_phone_may_be_asked_as_often_as_she_likes(
    db: Db, market: Market, now: datetime
) -> None:
    for number in range(charges.UNPAID_ASKS_OF_ALL_MAX + 1):
        turned_down(db, market, now + number * HOUR, OWN, market.buyer)


def test_paid_prompts_are_no_reason_to_spare_a_phone(db: Db, market: Market, now: datetime) -> None:
    stock.receive(db, market.tomatoes, 100_000, "more", now)
    stock.receive(db, market.beans, 100_000, "more", now)
    for number in range(charges.UNPAID_ASKS_MAX + 1):
        settled(db, purchase(db, market, now + number * HOUR, payer=SISTER), now + number * HOUR)


def test_a_phone_that_refuses_is_asked_by_nobody_until_it_allows_it(
    db: Db, market: Market, now: datetime
) -> None:
    opt_outs.refuse(db, SISTER, now)
    assert placed_by(db, market, now, SISTER) == "unwilling"
    sister = person(db, now, 70, "Njeri")
    fill_cart(db, market, sister, now)
    assert checkouts.place(db, sister, SISTER, TOTAL_CENTS, RULES, now) == "placed"  # her own
    opt_outs.start(db, SISTER)
    later = now + HOUR
    run_timers(db, later)
    assert checkouts.place(db, market.buyer, SISTER, TOTAL_CENTS, RULES, later) == "placed"


def test_a_phone_that_refuses_such_prompts_still_gets_news(
    db: Db, market: Market, now: datetime
) -> None:
    opt_outs.refuse(db, OWN, now)
    assert opt_outs.of(db, OWN) == {"asking"}
    messages.of_member(db, "pin_changed", market.buyer, {}, now)
    message_id: UUID = db.value("SELECT id FROM messages")
    db.run("UPDATE messages SET class = 'marketing'")
    claimed = sendings.claim(db, message_id, late, now)
    assert isinstance(claimed, sendings.Claimed)


def test_who_paid_last_is_remembered_and_who_did_not_is_not(
    db: Db, market: Market, now: datetime
) -> None:
    assert charges.last_payer(db, market.buyer) is None
    turned_down(db, market, now, SISTER, market.buyer)
    assert charges.last_payer(db, market.buyer) is None
    later = now + HOUR
    settled(db, purchase(db, market, later, payer=SISTER), later)
    settled(db, purchase(db, market, later + HOUR), later + HOUR)
    assert charges.last_payer(db, market.buyer) == SISTER
    assert charges.last_payer(db, market.wanjiku) is None
    opt_outs.refuse(db, SISTER, now)
    assert charges.last_payer(db, market.buyer) is None


# --- back to who paid -----------------------------------------------------------------------------


def called_off(db: Db, bought: Purchase, seller: UUID, now: datetime) -> None:
    order = order_of(db, bought, seller)
    assert deliveries.cancel(db, order.id, order.buyer_id, now) == "cancelled"


def sent(db: Db, buyer: UUID) -> list[tuple[str, int, str]]:
    found = payouts.of_member(db, buyer, 10)
    return sorted((p.kind, p.amount_cents, p.msisdn) for p in found)


def arrives(db: Db, buyer: UUID, line: str, now: datetime) -> None:
    """M-Pesa has sent what is on its way to this line."""
    (payout,) = (p for p in payouts.of_member(db, buyer, 10) if p.msisdn == line)
    assert payout_calls.claim_for_submit(db, payout.id, RULES, now) is not None
    answer = PayoutAnswer("accepted", "0", payout.originator_id or "29115-1", "AG_1")
    payout_calls.record_ack(db, payout.id, answer, now)
    paid_out = PayoutResult(
        "result",
        "paid",
        "0",
        payout.amount_cents,
        f"BACK{payout.amount_cents}",
        originator_id=answer.originator_id,
        reverses_receipt=payout.reverses_receipt,
    )
    assert payout_proofs.settle(db, payout.id, paid_out, now) == "paid"


def test_each_line_has_back_what_came_back_of_its_own_payment(
    db: Db, market: Market, now: datetime
) -> None:
    hers = settled(db, purchase(db, market, now), now)
    sisters = settled(db, purchase(db, market, now + MINUTE, payer=SISTER), now + MINUTE)
    called_off(db, hers, market.wanjiku, now)
    called_off(db, sisters, market.otieno, now)
    assert refunds.refund_balance(db, market.buyer, RULES, now + HOUR) == "sent"
    assert sent(db, market.buyer) == [("refund", 18_100, SISTER), ("refund", 50_000, OWN)]
    assert told(db, "payer_refunded") == []
    arrives(db, market.buyer, SISTER, now + HOUR)
    (words,) = told(db, "payer_refunded")
    assert words.startswith("KSh 181 is back on your M-Pesa")
    assert "Amina" in words
    assert told_to(db, SISTER) == ["payment_asked", "payer_thanked", "payer_refunded"]
    arrives(db, market.buyer, OWN, now + HOUR)
    assert len(told(db, "payer_refunded")) == 1
    assert len(told(db, "refund_paid")) == 2


def comes_back(db: Db, buyer: UUID, kind: str, code: str, now: datetime) -> None:
    """M-Pesa could not send it."""
    (payout,) = (p for p in payouts.of_member(db, buyer, 10) if p.kind == kind)
    assert payout_calls.claim_for_submit(db, payout.id, RULES, now) is not None
    answer = PayoutAnswer("accepted", "0", payout.originator_id or "29115-1", "AG_1")
    payout_calls.record_ack(db, payout.id, answer, now)
    failed_ = PayoutResult("result", "failed", code, originator_id=answer.originator_id)
    assert payout_proofs.settle(db, payout.id, failed_, now) == "failed"


@pytest.mark.parametrize(("kind", "sellers"), [("reversal", 2), ("refund", 1)])
def test_what_could_not_be_sent_back_to_another_line_is_still_that_lines(
    db: Db, market: Market, now: datetime, kind: str, sellers: int
) -> None:
    sisters = settled(db, purchase(db, market, now, payer=SISTER), now)
    for seller in (market.wanjiku, market.otieno)[:sellers]:
        called_off(db, sisters, seller, now)
    assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
    comes_back(db, market.buyer, kind, "1", now)
    cents = ledger.balance(db, ledger.buyer(market.buyer))
    assert refunds.refund_balance(db, market.buyer, RULES, now + HOUR) == "sent"
    again = max(payouts.of_member(db, market.buyer, 10), key=lambda payout: payout.created_at)
    assert (again.kind, again.amount_cents, again.msisdn) == ("refund", cents, SISTER)


def test_what_the_buyer_could_not_withdraw_goes_back_to_the_line_that_had_paid_it(
    db: Db, market: Market, now: datetime
) -> None:
    sisters = settled(db, purchase(db, market, now, payer=SISTER), now)
    called_off(db, sisters, market.wanjiku, now)
    assert isinstance(withdrawals.withdraw(db, market.buyer, None, RULES, now), list)
    comes_back(db, market.buyer, "withdrawal", "8", now)
    assert refunds.refund_balance(db, market.buyer, RULES, now + HOUR) == "sent"
    assert ("refund", 50_000, SISTER) in sent(db, market.buyer)


@pytest.mark.parametrize("answers_later", [True, False])
def test_what_came_back_goes_to_the_line_that_turned_out_to_have_paid_it(
    db: Db, market: Market, now: datetime, answers_later: bool
) -> None:
    """M-Pesa's confirmation was here before the prompt's answer, which alone names the line."""
    sisters = pushed(db, purchase(db, market, now, payer=SISTER), now)
    confirmed = c2b(sisters.reference, now, "SISTERS001")
    assert settlements.receive(db, confirmed, now) == "captured"
    called_off(db, sisters, market.wanjiku, now)
    assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
    assert sent(db, market.buyer) == [("refund", 50_000, OWN)]
    if answers_later:
        said = ChargeResult("callback", "paid", "0", TOTAL_CENTS, "SISTERS001", SISTER)
        settlements.settle(db, sisters.charge_id, said, now + MINUTE)
    comes_back(db, market.buyer, "refund", "8", now + HOUR)
    assert refunds.refund_balance(db, market.buyer, RULES, now + HOUR) == "sent"
    again = max(payouts.of_member(db, market.buyer, 10), key=lambda payout: payout.created_at)
    assert again.msisdn == (SISTER if answers_later else OWN)


@pytest.mark.parametrize("hers", ["was sent before", "is part of it", "came since"])
def test_what_came_back_of_two_payments_goes_to_another_line_only_if_both_were_of_it(
    db: Db, market: Market, now: datetime, hers: str
) -> None:
    """Whose it was of the two cannot be told of what was sent in one."""
    own = settled(db, purchase(db, market, now), now)
    sisters = pushed(db, purchase(db, market, now + MINUTE, payer=SISTER), now + MINUTE)
    assert settlements.receive(db, c2b(sisters.reference, now, "SISTERS001"), now) == "captured"
    if hers == "was sent before":
        called_off(db, own, market.otieno, now)
        assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
        arrives(db, market.buyer, OWN, now)
    if hers == "is part of it":
        called_off(db, own, market.otieno, now)
    called_off(db, sisters, market.wanjiku, now + MINUTE)
    assert refunds.refund_balance(db, market.buyer, RULES, now + 2 * MINUTE) == "sent"
    cents = 50_000 + (18_100 if hers == "is part of it" else 0)
    assert ("refund", cents, OWN) in sent(db, market.buyer)
    if hers == "came since":
        called_off(db, own, market.otieno, now + 3 * MINUTE)
    said = ChargeResult("callback", "paid", "0", TOTAL_CENTS, "SISTERS001", SISTER)
    settlements.settle(db, sisters.charge_id, said, now + 3 * MINUTE)
    (failing,) = (p for p in payouts.of_member(db, market.buyer, 9) if p.amount_cents == cents)
    assert payout_calls.claim_for_submit(db, failing.id, RULES, now) is not None
    failed_ = PayoutResult("result", "failed", "8", originator_id=failing.originator_id)
    assert payout_proofs.settle(db, failing.id, failed_, now + HOUR) == "failed"
    assert refunds.refund_balance(db, market.buyer, RULES, now + HOUR) == "sent"
    wanted = {"was sent before": SISTER, "is part of it": OWN, "came since": SISTER}[hers]
    (again,) = (
        p for p in payouts.of_member(db, market.buyer, 9)
        if p.created_at == now + HOUR and p.amount_cents == cents
    )  # fmt: skip
    assert again.msisdn == wanted


def test_a_whole_payment_of_another_line_is_reversed_and_that_line_is_told(
    db: Db, market: Market, now: datetime
) -> None:
    hers = settled(db, purchase(db, market, now), now)
    sisters = settled(db, purchase(db, market, now + MINUTE, payer=SISTER), now + MINUTE)
    for seller in (market.wanjiku, market.otieno):
        called_off(db, sisters, seller, now)
    called_off(db, hers, market.wanjiku, now)
    assert refunds.refund_balance(db, market.buyer, RULES, now + HOUR) == "sent"
    assert sent(db, market.buyer) == [
        ("refund", 50_000, OWN),
        ("reversal", TOTAL_CENTS, SISTER),
    ]
    arrives(db, market.buyer, SISTER, now + HOUR)
    assert len(told(db, "payer_refunded")) == 1


def test_what_was_paid_by_hand_goes_back_to_the_buyer_not_to_whom_she_had_asked(
    db: Db, market: Market, now: datetime
) -> None:
    """Whoever cancelled the prompt has paid nothing; who paid by hand, M-Pesa does not say."""
    bought = pushed(db, purchase(db, market, now, payer=SISTER), now)
    settlements.settle(db, bought.charge_id, failed(), now)
    assert settlements.receive(db, c2b(bought.reference, now), now) == "captured"
    called_off(db, bought, market.wanjiku, now)
    assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
    assert sent(db, market.buyer) == [("refund", 50_000, OWN)]
    arrives(db, market.buyer, OWN, now)
    assert told(db, "payer_refunded") == told(db, "payer_thanked") == []


def test_parts_of_two_lines_go_back_to_each(db: Db, market: Market, now: datetime) -> None:
    lorry = Lorry(db, market, now)
    lorry.pay()
    lorry.wait(MINUTE)
    assert lorry.again(SISTER) == "asked"
    assert lorry.pay() == "paid"
    (order,) = orders.lock(db, lorry.checkout_id)
    deliveries.cancel(db, order.id, lorry.buyer, lorry.now)
    assert lorry.refund() == "sent"
    assert sent(db, market.buyer) == [
        ("reversal", REST_CENTS, SISTER),
        ("reversal", AMOUNT_CENTS_MAX, OWN),
    ]


# --- another receiver -----------------------------------------------------------------------------


@pytest.fixture
def gift(db: Db, market: Market, now: datetime) -> Purchase:
    """For her mother, in Kibera; paid."""
    db.run("UPDATE members SET name = 'Amina Wairimu' WHERE id = %s", [market.buyer])
    village: UUID = db.value("SELECT id FROM places WHERE name = 'Village 2'")
    assert placed_by(db, market, now, OWN, place_id=village, receiver=MOTHER) == "placed"
    checkout_id = order_book.of_buyer(db, market.buyer, 1)[0].checkout_id
    (charge,) = charges.of_checkout(db, checkout_id)
    bought = Purchase(checkout_id, charge.id, market.buyer, OWN, TOTAL_CENTS, charge.reference)
    return settled(db, bought, now)


def test_the_code_of_a_gift_goes_to_whoever_receives_it(
    db: Db, gift: Purchase, market: Market, now: datetime
) -> None:
    assert told_to(db, MOTHER.msisdn) == ["delivery_code", "delivery_code"]
    assert "delivery_code" not in told_to(db, OWN)
    words = told(db, "delivery_code")
    assert all(text.startswith("Amina bought goods for you.") for text in words)
    assert all("4821" in text and "Wairimu" not in text and OWN not in text for text in words)
    (paid_words,) = (text for text in told(db, "paid") if text.startswith("KSh 681 paid"))
    assert "We hold it until Mama Juma has the goods" in paid_words
    order = order_of(db, gift, market.wanjiku)
    assert deliveries.show_code(db, order.id, market.buyer, RULES) is not None


def test_a_new_code_of_a_gift_goes_there_too(
    db: Db, gift: Purchase, market: Market, now: datetime
) -> None:
    order = order_of(db, gift, market.wanjiku)
    assert deliveries.new_code(db, order.id, market.buyer, now) == "renewed"
    assert told_to(db, MOTHER.msisdn)[-1] == "code_renewed"
    assert "code_renewed" not in told_to(db, OWN)


def test_the_seller_sees_for_whom_it_is(
    db: Db, gift: Purchase, market: Market, now: datetime
) -> None:
    order = order_of(db, gift, market.wanjiku)
    seen = order_book.for_seller(db, order.id, market.wanjiku, "en")
    assert seen is not None
    assert (seen.buyer_name, seen.receiver_name) == ("Amina Wairimu", MOTHER.name)
    assert seen.place == "Village 2"


def test_the_receiver_hears_that_it_comes_and_the_buyer_keeps_her_rights(
    db: Db, gift: Purchase, market: Market, now: datetime
) -> None:
    first, second = order_of(db, gift, market.wanjiku), order_of(db, gift, market.otieno)
    deliveries.accept(db, first.id, market.wanjiku, now)
    deliveries.dispatch(db, first.id, market.wanjiku, now)
    assert told_to(db, MOTHER.msisdn)[2:] == ["dispatched"]
    (to_giver,) = (text for text in told(db, "dispatched") if "to Mama" in text)
    assert "gives the code" in to_giver
    deliveries.claim(db, first.id, market.wanjiku, now)
    assert told_to(db, MOTHER.msisdn)[3:] == ["delivered"]
    assert deliveries.received(db, first.id, market.buyer, now) == "released"
    assert deliveries.cancel(db, second.id, market.buyer, now) == "cancelled"
    assert told_to(db, MOTHER.msisdn)[4:] == ["cancelled"]


def test_nobody_hears_of_a_gift_before_it_is_paid(db: Db, market: Market, now: datetime) -> None:
    placed_by(db, market, now, OWN, receiver=MOTHER)
    checkout_id = order_book.of_buyer(db, market.buyer, 1)[0].checkout_id
    checkouts.cancel(db, checkout_id, market.buyer, now)
    assert told_to(db, MOTHER.msisdn) == []


def test_the_seller_releases_a_gift_by_the_receivers_code(
    db: Db, gift: Purchase, market: Market, now: datetime
) -> None:
    order = order_of(db, gift, market.wanjiku)
    deliveries.accept(db, order.id, market.wanjiku, now)
    deliveries.dispatch(db, order.id, market.wanjiku, now)
    code = deliveries.code_of(db, order.id, RULES)
    assert code is not None
    entered = deliveries.enter_code(db, order.id, market.wanjiku, code, RULES, now)
    assert entered == "released"
    assert ledger.balance(db, ledger.seller(market.wanjiku)) == 50_000 - 1_300


def test_who_receives_and_who_pays_is_shown_in_no_log(gift: Purchase) -> None:
    for shown in (repr(MOTHER), repr(charges.ChargeResult("callback", "paid", "0", msisdn=OWN))):
        assert "Mama" not in shown
        assert "+2547" not in shown
    assert gift.payer == OWN
