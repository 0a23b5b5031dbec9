"""The market as a whole: whatever happens in whatever order, money and goods add up."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from core import (
    carts,
    charges,
    checkouts,
    deliveries,
    disputes,
    ledger,
    order_book,
    orders,
    settlements,
    shortages,
    stock,
    trips,
    verdicts,
)
from core.charges import ChargeResult, PushAnswer
from core.database import Db
from core.rules import Rules
from tests.core.market import (
    QUERIED_PAID,
    QUERIED_PENDING,
    RULES,
    TOTAL_CENTS,
    c2b,
    failed,
    msisdn,
    open_market,
    paid,
    person,
    purchase,
    pushed,
    run_timers,
    settled,
)
from tests.core.office import WHY, hire
from tests.core.parts import WRONG_ESCROWS, WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS
from tests.core.transactions import NOW, rolled_back

PHONES = [msisdn(number) for number in (1, 2, 3)]
WAITS = [timedelta(seconds=s) for s in (1, 30, 61, 121, 600, 901, 3600)]
LONG_WAITS = [timedelta(hours=hours) for hours in (2, 12, 24, 48)]
STAGES = ["placed", "pushed", "paid", "accepted", "dispatched", "delivered", "disputed"]
LESS = [500, 1000, 0, 1500, 2000]  # of a line, thousandths of a unit


def complain_of(db: Db, order_id: UUID, seller_id: UUID, now: datetime) -> None:
    order = orders.by_id(db, order_id)
    assert order is not None
    assert order.seller_id == seller_id
    assert disputes.open(db, order_id, order.buyer_id, "less", None, now) == "opened"


def send_half(db: Db, order_id: UUID, seller_id: UUID, now: datetime) -> None:
    """The first unit goes by itself, so that what is dispatched next is the rest."""
    (line,) = trips.of_order(db, order_id)
    load = {line.id: 1_000}
    assert deliveries.dispatch_part(db, order_id, seller_id, load, now) == "dispatched"
    code = deliveries.code_of(db, order_id, RULES)
    assert deliveries.enter_code(db, order_id, seller_id, code or "", RULES, now) == "released"


def say_half(db: Db, order_id: UUID, now: datetime) -> None:
    """Whoever can, says that there is but a step of it less."""
    (line,) = trips.of_order(db, order_id)
    order = orders.by_id(db, order_id)
    assert order is not None
    milli = line.to_come_milli - line.step_milli
    shortages.offer_less(db, order_id, order.seller_id, line.id, milli, True, now)
    shortages.say_less_came(db, order_id, order.buyer_id, line.id, milli, now)


SELLERS_STEPS = (deliveries.accept, deliveries.dispatch, deliveries.claim)
STEPS = (*SELLERS_STEPS, complain_of)
TIMERS = [
    deliveries.remind_to_accept,
    deliveries.accept_missed,
    deliveries.remind_to_dispatch,
    deliveries.dispatch_missed,
    deliveries.silent,
    deliveries.remind_to_inspect,
    deliveries.inspection_over,
]
DISPUTE_TIMERS = [disputes.remind_to_answer, disputes.end_answering, disputes.escalate]


@dataclass(frozen=True)
class Sums:
    """What must hold after every step, summed up by the database in one statement."""

    negative_stock: int
    wrong_movements: int
    wrong_allocations: int
    phones_asked_twice: int
    held_cents: int
    escrow_cents: int
    float_cents: int
    receipts_cents: int
    overdrawn_accounts: int
    wrongly_held_orders: int
    wrong_escrow_accounts: int
    wrong_reservations: int
    wrong_sums: int
    wrong_reductions: int
    released_cents: int
    sellers_cents: int
    fees_cents: int
    kept_fees_cents: int
    forgotten_orders: int
    unheard_disputes: int
    forgotten_disputes: int
    unproved_verdicts: int
    captures: int
    paid_charges: int
    wrong_checkouts: int


SUMS = f"""
    SELECT
        (SELECT count(*) FROM stock s WHERE {stock.AVAILABLE_MILLI} < 0) AS negative_stock,
        (SELECT count(*) FROM stock s WHERE on_hand_milli <> (
            SELECT sum(quantity_milli) FROM stock_movements m WHERE m.offer_id = s.offer_id)
        ) AS wrong_movements,
        (SELECT count(*) FROM stock s WHERE allocated_milli <> coalesce((
            SELECT sum(quantity_milli) FROM reservations r
            WHERE r.offer_id = s.offer_id AND r.state = 'allocated'), 0)) AS wrong_allocations,
        (SELECT count(*) FROM (
            SELECT FROM charges WHERE state IN ('created', 'pending', 'unknown')
            GROUP BY msisdn HAVING count(*) > 1) AS twice) AS phones_asked_twice,
        (SELECT coalesce(sum(captured_cents - released_cents - refunded_cents - fee_cents), 0)
         FROM escrows)::bigint AS held_cents,
        (SELECT coalesce(sum(balance_cents), 0) FROM accounts
         WHERE kind = 'L.escrow')::bigint AS escrow_cents,
        (SELECT coalesce(sum(e.amount_cents), 0) FROM entries e
         JOIN accounts a ON a.id = e.account_id WHERE a.kind = 'A.c2b')::bigint AS float_cents,
        ((SELECT coalesce(sum(amount_cents), 0) FROM receipts)
         + (SELECT coalesce(sum(amount_cents), 0) FROM charges
            WHERE state = 'paid' AND receipt IS NULL))::bigint AS receipts_cents,
        (SELECT count(*) FROM (
            SELECT FROM entries e JOIN accounts a ON a.id = e.account_id
            WHERE a.kind LIKE 'L.%%' GROUP BY a.id HAVING sum(e.amount_cents) > 0) AS overdrawn
        ) AS overdrawn_accounts,
        ({WRONG_ESCROWS}) AS wrongly_held_orders,
        (SELECT count(*) FROM escrows e
         LEFT JOIN accounts a ON a.kind = 'L.escrow' AND a.owner_id = e.order_id
         WHERE coalesce(a.balance_cents, 0)
             <> e.captured_cents - e.released_cents - e.refunded_cents - e.fee_cents
        ) AS wrong_escrow_accounts,
        ({WRONG_LINES}) AS wrong_reservations,
        ({WRONG_SUMS}) AS wrong_sums,
        ({WRONG_REDUCTIONS}) AS wrong_reductions,
        (SELECT coalesce(sum(released_cents), 0) FROM escrows)::bigint AS released_cents,
        (SELECT coalesce(sum(balance_cents), 0) FROM accounts
         WHERE kind = 'L.seller')::bigint AS sellers_cents,
        (SELECT coalesce(sum(fee_cents), 0) FROM escrows)::bigint AS fees_cents,
        (SELECT coalesce(-sum(e.amount_cents), 0) FROM entries e
         JOIN accounts a ON a.id = e.account_id WHERE a.kind = 'R.fee')::bigint AS kept_fees_cents,
        (SELECT count(*) FROM orders o
         WHERE o.state IN ('paid', 'accepted', 'dispatched', 'delivered')
           AND NOT EXISTS (
             SELECT FROM outbox x WHERE x.done_at IS NULL
               AND x.arguments = jsonb_build_object('order_id', o.id)
               AND x.kind = CASE o.state
                 WHEN 'paid' THEN 'accept_deadline' WHEN 'accepted' THEN 'dispatch_deadline'
                 WHEN 'dispatched' THEN 'delivery_deadline' ELSE 'inspection_over' END)
           AND NOT EXISTS (SELECT FROM reductions r
                           WHERE r.order_id = o.id AND r.state = 'open' AND r.kind = 'less_came')
           AND NOT EXISTS (SELECT FROM incidents i WHERE i.kind = 'delivery_silent'
                             AND i.subject = o.id::text)) AS forgotten_orders,
        (SELECT count(*) FROM orders o
         WHERE (o.state = 'disputed') <> EXISTS (
             SELECT FROM disputes d JOIN incidents i ON i.subject = d.order_id::text
             WHERE d.order_id = o.id AND d.state IN ('open', 'seller_reply', 'review')
               AND i.kind = 'disputed' AND i.closed_at IS NULL)) AS unheard_disputes,
        (SELECT count(*) FROM disputes d
         WHERE d.state IN ('open', 'seller_reply', 'review') AND NOT EXISTS (
             SELECT FROM outbox x WHERE x.done_at IS NULL
               AND x.arguments = jsonb_build_object('dispute_id', d.id)
               AND x.kind = CASE d.state WHEN 'review' THEN 'decision_deadline'
                                         ELSE 'answer_deadline' END)) AS forgotten_disputes,
        (SELECT count(*) FROM disputes d
         WHERE (d.state IN ('resolved_buyer', 'resolved_seller', 'resolved_split')) <> EXISTS (
             SELECT FROM verdicts v WHERE v.dispute_id = d.id AND v.state = 'carried_out')
        ) AS unproved_verdicts,
        (SELECT count(*) FROM charges c WHERE EXISTS (
             SELECT FROM transfers t
             WHERE t.key IN ('capture:' || c.id, 'capture:' || c.id || ':part'))) AS captures,
        (SELECT count(*) FROM charges WHERE state = 'paid') AS paid_charges,
        (SELECT count(*) FROM checkouts k WHERE k.state <> 'draft' AND (
            k.total_cents <> (SELECT sum(total_cents) FROM orders o WHERE o.checkout_id = k.id)
            OR (k.state = 'placed') <> EXISTS (
                SELECT FROM orders o WHERE o.checkout_id = k.id AND o.state = 'placed')
            OR (k.state = 'paid') <> EXISTS (
                SELECT FROM orders o WHERE o.checkout_id = k.id AND o.accept_by IS NOT NULL))
        ) AS wrong_checkouts
"""


class MarketDay(RuleBasedStateMachine):
    """Three buyers, three phones, two sellers, and M-Pesa at its worst."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._open = rolled_back(url)
        self.db = self._open.__enter__()
        self.now = NOW
        self.market = open_market(self.db, self.now)
        self.buyers = [self.market.buyer, *(person(self.db, NOW, n) for n in (8, 9))]
        self.olive = hire(self.db, "olive", ["operator", "approver"])
        self.peter = hire(self.db, "peter", ["approver"])
        self.ever_paid: set[UUID] = set()

    def teardown(self) -> None:
        self._open.__exit__(None, None, None)

    # What people do.

    @rule(buyer=st.integers(0, 2), beans=st.booleans(), halves=st.integers(2, 14))
    def add(self, buyer: int, beans: bool, halves: int) -> None:
        offer = self.market.beans if beans else self.market.tomatoes
        quantity = halves * 500 if beans else halves // 2 * 1000
        carts.add(self.db, self.buyers[buyer], offer, quantity, None, self.now)

    @initialize(
        stages=st.lists(st.sampled_from(STAGES), min_size=2),
        less=st.sampled_from(["no", "said", "agreed"]),
        part=st.booleans(),
    )
    def begin_with_orders(self, stages: list[str], less: str, part: bool) -> None:
        for buyer, phone, stage in zip(self.buyers, PHONES, stages, strict=False):
            bought = purchase(self.db, self.market, self.now, buyer=buyer, payer=phone)
            if stage == "pushed":
                pushed(self.db, bought, self.now, push=phone)
            if stage not in ("placed", "pushed"):
                settled(self.db, bought, self.now)
                for verb in STEPS[: STAGES.index(stage) - STAGES.index("paid")]:
                    for order in orders.lock(self.db, bought.checkout_id):
                        if part and verb is deliveries.dispatch:
                            send_half(self.db, order.id, order.seller_id, self.now)
                        verb(self.db, order.id, order.seller_id, self.now)
                for order in orders.lock(self.db, bought.checkout_id):
                    if less != "no":
                        say_half(self.db, order.id, self.now)
                    if less == "agreed":
                        for member in (order.buyer_id, order.seller_id):
                            shortages.agree(self.db, order.id, member, self.now)

    @rule(buyer=st.integers(0, 2), phone=st.sampled_from(PHONES), units=st.integers(1, 4))
    def buy(self, buyer: int, phone: str, units: int) -> None:
        self.add(buyer, False, units * 2)
        self.place(buyer, phone, 1)

    @rule(buyer=st.integers(0, 2), phone=st.sampled_from(PHONES), honest=st.integers(0, 4))
    def place(self, buyer: int, phone: str, honest: int) -> None:
        total = carts.read(self.db, self.buyers[buyer], "en").total_cents
        shown = total if honest else total + 100
        placed = checkouts.place(self.db, self.buyers[buyer], phone, shown, RULES, self.now)
        assert honest or placed != "placed"

    @rule(pick=st.data(), phone=st.sampled_from(PHONES))
    def pay_again(self, pick: Any, phone: str) -> None:
        if chosen := self._checkout(pick):
            checkouts.pay_again(self.db, chosen.id, chosen.buyer_id, phone, RULES, self.now)

    @rule(pick=st.data())
    def cancel(self, pick: Any) -> None:
        if chosen := self._checkout(pick):
            checkouts.cancel(self.db, chosen.id, chosen.buyer_id, self.now)

    @rule(offer=st.booleans(), units=st.integers(1, 3))
    def receive(self, offer: bool, units: int) -> None:
        goods = self.market.beans if offer else self.market.tomatoes
        stock.receive(self.db, goods, units * 1000, "more", self.now)

    @rule(offer=st.booleans(), units=st.integers(1, 4))
    def count_out(self, offer: bool, units: int) -> None:
        goods = self.market.beans if offer else self.market.tomatoes
        stock.count_out(self.db, goods, units * 1000, "spoilt", self.now)

    @rule(buyer=st.integers(0, 2), pick=st.data())
    def repeat(self, buyer: int, pick: Any) -> None:
        if order := self._order(pick):
            carts.repeat(self.db, self.buyers[buyer], order.id, self.now)

    @rule(pick=st.data(), steps=st.integers(1, 3))
    def sell(self, pick: Any, steps: int) -> None:
        """The seller does the next things in their order."""
        if order := self._order(pick):
            for verb in SELLERS_STEPS[:steps]:
                verb(self.db, order.id, order.seller_id, self.now)

    @rule(
        pick=st.data(),
        verb=st.sampled_from(
            [deliveries.accept, deliveries.refuse, deliveries.dispatch, deliveries.claim]
        ),
        by_buyer=st.integers(0, 5),
    )
    def of_seller(self, pick: Any, verb: Any, by_buyer: int) -> None:
        if order := self._order(pick):
            by = order.seller_id if by_buyer else order.buyer_id
            done = verb(self.db, order.id, by, self.now)
            assert done == "not_open" or by == order.seller_id

    @rule(
        pick=st.data(),
        verb=st.sampled_from([deliveries.received, deliveries.cancel, deliveries.new_code]),
        by_seller=st.integers(0, 5),
    )
    def of_buyer(self, pick: Any, verb: Any, by_seller: int) -> None:
        if order := self._order(pick):
            by = order.buyer_id if by_seller else order.seller_id
            done = verb(self.db, order.id, by, self.now)
            assert done == "not_open" or by == order.buyer_id

    @rule(
        pick=st.data(),
        verb=st.sampled_from([shortages.offer_less, shortages.say_less_came]),
        milli=st.sampled_from(LESS),
        restock=st.booleans(),
        by_other=st.integers(0, 5),
    )
    def say_less(self, pick: Any, verb: Any, milli: int, restock: bool, by_other: int) -> None:
        order = self._order(pick)
        if order is None:
            return
        is_short = verb is shortages.offer_less
        mine, others = order.seller_id, order.buyer_id
        if not is_short:
            mine, others = others, mine
        line, *_ = trips.of_order(self.db, order.id)
        given = (milli, restock) if is_short else (milli,)
        by = mine if by_other else others
        said = verb(self.db, order.id, by, line.id, *given, self.now)
        assert by_other or said == "not_open"

    @rule(
        pick=st.data(),
        verb=st.sampled_from([shortages.agree, shortages.decline, shortages.take_back]),
        by_seller=st.booleans(),
    )
    def answer_less(self, pick: Any, verb: Any, by_seller: bool) -> None:
        found = self.db.rows(
            _Order,
            """
            SELECT o.id, o.buyer_id, o.seller_id FROM orders o
            JOIN reductions r ON r.order_id = o.id WHERE r.state = 'open' ORDER BY o.id
            """,
        )
        order = pick.draw(st.sampled_from(found)) if found else self._order(pick)
        if order is not None:
            by = order.seller_id if by_seller else order.buyer_id
            answered = verb(self.db, order.id, by, self.now)
            assert found or answered == "not_open"

    @rule(pick=st.data(), milli=st.sampled_from(LESS), on=st.integers(0, 3))
    def send_part(self, pick: Any, milli: int, on: int) -> None:
        """And perhaps it comes, by the code."""
        if order := self._order(pick):
            line, *_ = trips.of_order(self.db, order.id)
            load = {line.id: milli}
            deliveries.accept(self.db, order.id, order.seller_id, self.now)
            deliveries.dispatch_part(self.db, order.id, order.seller_id, load, self.now)
            code = deliveries.code_of(self.db, order.id, RULES)
            if on and code:
                deliveries.enter_code(self.db, order.id, order.seller_id, code, RULES, self.now)

    @rule(pick=st.data(), timer=st.sampled_from([shortages.remind, shortages.run_out]))
    def a_reductions_timer_at_any_time(self, pick: Any, timer: Any) -> None:
        found = self.db.rows(_Id, "SELECT id FROM reductions ORDER BY id")
        if found:
            timer(self.db, pick.draw(st.sampled_from(found)).id, self.now)

    @rule(pick=st.data(), reason=st.sampled_from(disputes.REASONS), by_seller=st.integers(0, 5))
    def complain(self, pick: Any, reason: Any, by_seller: int) -> None:
        if order := self._order(pick):
            by = order.buyer_id if by_seller else order.seller_id
            opened = disputes.open(self.db, order.id, by, reason, None, self.now)
            assert (opened == "not_yours") == (by != order.buyer_id)

    @rule(pick=st.data(), by_buyer=st.integers(0, 5))
    def answer(self, pick: Any, by_buyer: int) -> None:
        if order := self._disputed(pick):
            by = order.seller_id if by_buyer else order.buyer_id
            said = f"They were fresh, {self.now}."
            answered = disputes.answer(self.db, order.id, by, said, self.now)
            assert (answered == "not_yours") == (by != order.seller_id)

    @rule(pick=st.data(), by_seller=st.integers(0, 5))
    def take_back(self, pick: Any, by_seller: int) -> None:
        if order := self._disputed(pick):
            by = order.buyer_id if by_seller else order.seller_id
            back = disputes.withdraw(self.db, order.id, by, self.now)
            assert (back == "not_yours") == (by != order.buyer_id)

    @rule(
        pick=st.data(),
        percent=st.sampled_from([0, 33, 50, 100]),
        two=st.booleans(),
        wrong=st.integers(0, 5),
    )
    def decide(self, pick: Any, percent: int, two: bool, wrong: int) -> None:
        order = self._disputed(pick)
        dispute = disputes.last_of(self.db, order.id) if order else None
        if dispute is None:
            return
        held = ledger.balance(self.db, ledger.escrow(dispute.order_id))
        buyer = held * percent // 10_000 * 100
        seller = held - buyer if wrong else held - buyer + 100
        rules = Rules(dispute_second_above_cents=0) if two else RULES
        decided = verdicts.decide(
            *(self.db, dispute.id, self.olive, buyer, seller, WHY, rules, self.now)
        )
        assert decided not in ("not_allowed", "party", "no_reason")
        assert wrong or decided not in ("decided", "proposed")
        assert decided != "decided" or not two

    @rule(pick=st.data(), agrees=st.booleans(), by_olive=st.integers(0, 3))
    def look_over(self, pick: Any, agrees: bool, by_olive: int) -> None:
        order = self._disputed(pick)
        dispute = disputes.last_of(self.db, order.id) if order else None
        if dispute is None:
            return
        by = self.peter if by_olive else self.olive
        if agrees:
            approved = verdicts.approve(self.db, dispute.id, by, self.now)
            assert by_olive or approved != "decided"
        else:
            verdicts.decline(self.db, dispute.id, by, WHY, self.now)

    @rule(pick=st.data(), right=st.booleans(), times=st.sampled_from([1, 1, 5]))
    def enter_code(self, pick: Any, right: bool, times: int) -> None:
        if order := self._order(pick):
            code = deliveries.code_of(self.db, order.id, RULES) if right else "none"
            for _ in range(times):
                entered = deliveries.enter_code(
                    self.db, order.id, order.seller_id, code or "", RULES, self.now
                )
                assert right or entered != "released"

    # What time does.

    @rule(pick=st.data(), timer=st.sampled_from(TIMERS))
    def a_timer_at_any_time(self, pick: Any, timer: Any) -> None:
        if order := self._order(pick):
            timer(self.db, order.id, self.now)

    @rule(pick=st.data(), timer=st.sampled_from(DISPUTE_TIMERS))
    def a_disputes_timer_at_any_time(self, pick: Any, timer: Any) -> None:
        order = self._disputed(pick)
        if dispute := disputes.last_of(self.db, order.id) if order else None:
            timer(self.db, dispute.id, self.now)

    @rule(wait=st.sampled_from(LONG_WAITS), asleep=st.integers(0, 3))
    def wait_long(self, wait: timedelta, asleep: int) -> None:
        """Whatever falls due meanwhile is done late, or later still."""
        self.now += wait
        if asleep:
            self.work("accepted")

    @rule(wait=st.sampled_from(WAITS))
    def wait(self, wait: timedelta) -> None:
        self.now += wait

    @rule(outcome=st.sampled_from(["accepted", "refused", "unknown", "crash"]))
    def work(self, outcome: str) -> None:
        """A few seconds later the worker does what is due; its pushes all end in this way."""
        self.now += timedelta(seconds=5)
        for kind, result in run_timers(self.db, self.now):
            if kind == "stk_push" and result is not None and outcome != "crash":
                push = f"ws_CO_{result.reference}"  # type: ignore[attr-defined]
                answer = PushAnswer(outcome, push if outcome == "accepted" else None, code="x")  # type: ignore[arg-type]
                charges.record_push(self.db, result.id, answer, self.now)  # type: ignore[attr-defined]

    # What M-Pesa says.

    @rule(
        pick=st.data(),
        kind=st.sampled_from(["paid", "paid", "failed", "unknown", "wrong_amount", "no_receipt"]),
        receipt=st.sampled_from(["", "", "other", "stolen"]),
    )
    def callback(self, pick: Any, kind: str, receipt: str) -> None:
        charge = self._charge(pick)
        if charge is None:
            return
        named = "STOLEN0001" if receipt == "stolen" else f"S{receipt[:1]}{charge.reference}"
        success = ChargeResult("callback", "paid", "0", charge.amount_cents, named, charge.msisdn)
        result = {
            "paid": success,
            "failed": failed(),
            "unknown": ChargeResult("callback", "unknown", "?"),
            "wrong_amount": replace(success, amount_cents=100),
            "no_receipt": replace(success, receipt=None),
        }[kind]
        settlements.settle(self.db, charge.id, result, self.now)

    @rule(
        pick=st.data(),
        result=st.sampled_from([QUERIED_PAID, QUERIED_PENDING, failed(source="query")]),
    )
    def query(self, pick: Any, result: ChargeResult) -> None:
        if charge := self._charge(pick):
            settlements.settle(self.db, charge.id, result, self.now)

    @rule(
        pick=st.data(),
        receipt=st.sampled_from(["", "", "hand", "more", "stolen"]),
        change=st.sampled_from([0, 0, -10_000, 10_000]),
        typo=st.integers(0, 5),
    )
    def confirmation(self, pick: Any, receipt: str, change: int, typo: int) -> None:
        if charge := self._charge(pick):
            named = "STOLEN0001" if receipt == "stolen" else f"S{receipt[:1]}{charge.reference}"
            cents = max(100, charge.amount_cents + change)
            reference = charge.reference if typo else "TYPO"
            settlements.receive(self.db, c2b(reference, self.now, named, cents), self.now)

    def _checkout(self, pick: Any) -> Any:
        found = self.db.rows(
            _Checkout, "SELECT id, buyer_id FROM checkouts WHERE state <> 'draft' ORDER BY id"
        )
        return pick.draw(st.sampled_from(found)) if found else None

    def _order(self, pick: Any) -> Any:
        """Mostly one that is on its way: of the others nothing may be changed."""
        found = self.db.rows(
            _Order,
            """
            SELECT id, buyer_id, seller_id FROM orders
            WHERE %(any)s OR state IN ('paid', 'accepted', 'dispatched', 'delivered')
            ORDER BY id
            """,
            {"any": pick.draw(st.integers(0, 7)) == 7},
        )
        return pick.draw(st.sampled_from(found)) if found else None

    def _disputed(self, pick: Any) -> Any:
        """One that was complained of; mostly one that still is."""
        found = self.db.rows(
            _Order,
            """
            SELECT id, buyer_id, seller_id FROM orders
            WHERE state = 'disputed'
               OR %(any)s AND id IN (SELECT order_id FROM disputes)
            ORDER BY id
            """,
            {"any": pick.draw(st.integers(0, 7)) == 7},
        )
        return pick.draw(st.sampled_from(found)) if found else None

    def _charge(self, pick: Any) -> Any:
        """One that was pushed: nobody else's token is known to M-Pesa."""
        found = self.db.rows(_Id, "SELECT id FROM charges WHERE claimed_at IS NOT NULL ORDER BY id")
        return charges.by_id(self.db, pick.draw(st.sampled_from(found)).id) if found else None

    # What must always hold.

    @invariant()
    def everything_adds_up(self) -> None:
        sums = self.db.row(Sums, SUMS, {"now": self.now})  # type: ignore[arg-type]
        assert sums is not None
        assert sums.negative_stock == 0
        assert sums.wrong_movements == 0
        assert sums.wrong_allocations == 0
        assert sums.phones_asked_twice == 0
        assert sums.held_cents == sums.escrow_cents
        assert sums.float_cents == sums.receipts_cents
        assert sums.overdrawn_accounts == 0
        assert sums.wrongly_held_orders == 0
        assert sums.wrong_escrow_accounts == 0
        assert sums.wrong_reservations == 0
        assert sums.wrong_sums == 0
        assert sums.wrong_reductions == 0
        assert sums.released_cents == sums.sellers_cents
        assert sums.fees_cents == sums.kept_fees_cents
        assert sums.forgotten_orders == 0
        assert sums.unheard_disputes == 0
        assert sums.forgotten_disputes == 0
        assert sums.unproved_verdicts == 0
        assert sums.captures == sums.paid_charges
        assert sums.wrong_checkouts == 0

    @invariant()
    def the_books_balance(self) -> None:
        self.db.run("SET CONSTRAINTS ALL IMMEDIATE")
        self.db.run("SET CONSTRAINTS ALL DEFERRED")
        assert ledger.stale_balances(self.db) == 0

    @invariant()
    def paid_stays_paid(self) -> None:
        paid_now = {
            row.id for row in self.db.rows(_Id, "SELECT id FROM charges WHERE state = 'paid'")
        }
        assert self.ever_paid <= paid_now
        self.ever_paid = paid_now


@dataclass(frozen=True)
class _Id:
    id: UUID


@dataclass(frozen=True)
class _Checkout:
    id: UUID
    buyer_id: UUID


@dataclass(frozen=True)
class _Order:
    id: UUID
    buyer_id: UUID
    seller_id: UUID


def test_no_market_day_loses_money_or_goods(database_url: str) -> None:
    run_state_machine_as_test(
        lambda: MarketDay(database_url),
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- any order of the same messages ends in the same balances ------------------------------------


def _callback(db: Db, bought: Any) -> object:
    return settlements.settle(db, bought.charge_id, paid(bought), NOW)


def _failure(db: Db, bought: Any) -> object:
    return settlements.settle(db, bought.charge_id, failed(), NOW)


def _doubtful(db: Db, bought: Any) -> object:
    return settlements.settle(db, bought.charge_id, paid(bought, amount_cents=100), NOW)


def _query(db: Db, bought: Any) -> object:
    return settlements.settle(db, bought.charge_id, QUERIED_PAID, NOW)


def _pending(db: Db, bought: Any) -> object:
    return settlements.settle(db, bought.charge_id, QUERIED_PENDING, NOW)


def _confirmation(db: Db, bought: Any) -> object:
    return settlements.receive(db, c2b(bought.reference, NOW), NOW)


def _by_hand(db: Db, bought: Any) -> object:
    return settlements.receive(db, c2b(bought.reference, NOW, "HAND000001"), NOW)


def _part_by_hand(db: Db, bought: Any) -> object:
    return settlements.receive(
        db, c2b(bought.reference, NOW, "HAND000002", TOTAL_CENTS - 5_000), NOW
    )


def _too_much_by_hand(db: Db, bought: Any) -> object:
    return settlements.receive(db, c2b(bought.reference, NOW, "HAND000003", TOTAL_CENTS + 700), NOW)


def _unexplained(db: Db, bought: Any) -> object:
    return settlements.receive(db, c2b("NOBODY", NOW, "HAND000004", 4_200), NOW)


# The proofs of the push itself, of which any one or all may come; then what comes besides.
PROOFS = [_callback, _query, _confirmation]
BESIDES = {
    _failure: 0,
    _doubtful: 0,
    _pending: 0,
    _by_hand: TOTAL_CENTS,
    _part_by_hand: TOTAL_CENTS - 5_000,
    _too_much_by_hand: TOTAL_CENTS + 700,
    _unexplained: 0,
}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    besides=st.sets(st.sampled_from(sorted(BESIDES, key=str))),
    repeats=st.lists(st.sampled_from(sorted([*PROOFS, *BESIDES], key=str)), max_size=5),
    data=st.data(),
)
def test_messages_in_any_order_end_in_the_balances_of_a_clean_delivery(
    database_url: str, besides: set[Any], repeats: list[Any], data: Any
) -> None:
    messages = [*PROOFS, *sorted(besides, key=str)]
    messages += [message for message in repeats if message in messages]
    order = data.draw(st.permutations(messages))
    with rolled_back(database_url) as db:
        bought = pushed(db, purchase(db, open_market(db, NOW), NOW), NOW)
        for message in order:
            message(db, bought)
        escrows = [ledger.escrow(o.id) for o in order_book.of_checkout(db, bought.checkout_id)]
        assert sum(ledger.balance(db, account) for account in escrows) == TOTAL_CENTS
        extra = sum(BESIDES[message] for message in besides)
        assert ledger.balance(db, ledger.buyer(bought.buyer)) == extra
        suspense = 4_200 if _unexplained in besides else 0
        assert ledger.balance(db, ledger.SUSPENSE) == suspense
        assert ledger.balance(db, ledger.C2B) == TOTAL_CENTS + extra + suspense
