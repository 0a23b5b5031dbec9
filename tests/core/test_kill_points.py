"""Kill points: a process that dies between any two verbs leaves what was before, and it goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from core import (
    audit,
    carts,
    cases,
    catalogue,
    charges,
    checkouts,
    deliveries,
    disputes,
    evidence,
    inbox,
    ledger,
    number_changes,
    order_book,
    orders,
    outbox,
    payouts,
    refunds,
    settlements,
    suspense,
    verdicts,
)
from core.database import Database, Db
from core.rules import Rules
from core.statements import Session
from core.storage import Folder
from tests.core.deal import Deal
from tests.core.market import (
    RULES,
    TOTAL_CENTS,
    Market,
    Purchase,
    c2b,
    fill_cart,
    msisdn,
    open_market,
    paid,
    person,
    purchase,
    pushed,
    settled,
)
from tests.core.office import WHY, at_work, hire
from tests.core.parts import WRONG_ESCROWS, WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS

TABLES = (
    "checkouts",
    "lines",
    "orders",
    "order_events",
    "escrows",
    "stock",
    "stock_movements",
    "reservations",
    "accounts",
    "transfers",
    "entries",
    "charges",
    "charge_codes",
    "receipts",
    "float_moves",
    "balance_questions",
    "balances",
    "bookings",
    "initiators",
    "deliveries",
    "deals",
    "messages",
    "inbox",
    "outbox",
    "incidents",
    "reductions",
    "disputes",
    "evidence",
    "cases",
    "verdicts",
    "staff",
    "audit_log",
    "members",
    "payouts",
    "number_changes",
    "explanations",
    "links",
    "opt_outs",
)


DIVIDED = (0, 20_000, 29_200, 800)  # KSh 200 of the 500 to the buyer


class Killed(BaseException):
    """As a process dies: nobody catches it."""


@dataclass
class Deaths:
    """Kills the n-th statement of a transaction; counts them all."""

    at: int | None = None
    seen: int = 0

    def count(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Killed


def contents(database: Database) -> dict[str, Any]:
    with database.begin() as db:
        return {
            table: db.value(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t")
            for table in TABLES
        }


@dataclass
class Story:
    """A purchase, one transaction after the other, each as an entry point would open it."""

    market: Market
    now: datetime

    def chapters(self) -> list[Callable[[Db], object]]:
        return [
            *(self.shop, self.place, self.push, self.record, self.told, self.settle),
            *(self.accept, self.dispatch, self.mistype, self.release, self.call_off),
        ]

    def shop(self, db: Db) -> None:
        fill_cart(db, self.market, self.market.buyer, self.now)

    def place(self, db: Db) -> None:
        total = carts.read(db, self.market.buyer, "en").total_cents
        placed = checkouts.place(db, self.market.buyer, msisdn(1), total, RULES, self.now)
        assert placed == "placed"

    def push(self, db: Db) -> None:
        assert charges.claim_for_push(db, self.charge(db).id, RULES, self.now) is not None

    def record(self, db: Db) -> None:
        answer = charges.PushAnswer("accepted", "ws_CO_1", "group-1", "0")
        charges.record_push(db, self.charge(db).id, answer, self.now)

    def told(self, db: Db) -> None:
        inbox.keep(db, "stk", str(self.charge(db).id), b"{}", {}, "127.0.0.1", self.now)

    def settle(self, db: Db) -> None:
        charge = self.charge(db)
        (item,) = (
            item
            for item in outbox.take_due(db, self.now + timedelta(seconds=10), 10)
            if item.kind == "settle_inbox"
        )
        kept = inbox.item(db, UUID(item.arguments["inbox_id"]))
        assert kept is not None
        result = charges.ChargeResult("callback", "paid", "0", TOTAL_CENTS, "RCPT000001", msisdn(1))
        assert settlements.settle(db, charge.id, result, self.now) == "paid"
        inbox.processed(db, kept.id, "paid", self.now)
        outbox.done(db, item.id, self.now)

    def accept(self, db: Db) -> None:
        order = self.order(db, self.market.wanjiku)
        assert deliveries.accept(db, order.id, order.seller_id, self.now) == "accepted"

    def dispatch(self, db: Db) -> None:
        order = self.order(db, self.market.wanjiku)
        assert deliveries.dispatch(db, order.id, order.seller_id, self.now) == "dispatched"

    def mistype(self, db: Db) -> None:
        assert self.enter(db, "none") == "wrong_code"

    def release(self, db: Db) -> None:
        code = deliveries.code_of(db, self.order(db, self.market.wanjiku).id, RULES)
        assert code is not None
        assert self.enter(db, code) == "released"

    def enter(self, db: Db, code: str) -> str:
        order = self.order(db, self.market.wanjiku)
        return deliveries.enter_code(db, order.id, order.seller_id, code, RULES, self.now)

    def call_off(self, db: Db) -> None:
        order = self.order(db, self.market.otieno)
        assert deliveries.refuse(db, order.id, order.seller_id, self.now) == "refused"

    def order(self, db: Db, seller_id: UUID) -> orders.Order:
        (line, *_) = order_book.of_buyer(db, self.market.buyer, 1)
        found = orders.lock(db, line.checkout_id)
        return next(order for order in found if order.seller_id == seller_id)

    def charge(self, db: Db) -> charges.Charge:
        (order, *_) = order_book.of_buyer(db, self.market.buyer, 1)
        (charge,) = charges.of_checkout(db, order.checkout_id)
        return charge


def die_everywhere(
    database: Database,
    chapters: Sequence[Callable[[Db], object]],
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """Play the story, after a death at each statement of each chapter; how many there were."""
    deaths = Deaths()
    execute = Session.execute

    def mortal(self: Session, *given: Any) -> Any:
        deaths.count()
        return execute(self, *given)

    died = 0
    for chapter in chapters:
        before = contents(database)
        with monkeypatch.context() as mortals:
            mortals.setattr(Session, "execute", mortal)
            for at in range(1, 100):
                deaths.at, deaths.seen = at, 0
                try:
                    with database.begin() as db:
                        chapter(db)
                    break
                except Killed:
                    died += 1
                deaths.at = None
                assert contents(database) == before, f"{chapter.__name__}, statement {at}"
    return died


def test_a_death_at_any_statement_leaves_everything_as_it_was_and_the_story_goes_on(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.begin() as db:
        story = Story(open_market(db, now), now)
    assert die_everywhere(database, story.chapters(), monkeypatch) > 50
    with database.begin() as db:
        books = ledger.report(db)
    assert books["balanced"]
    assert books["accounts"] == {
        "A.c2b": TOTAL_CENTS,
        "L.escrow": 0,
        "L.seller": 48_700,
        "R.fee": 1_300,
        "L.buyer": 18_100,
    }


@dataclass
class Removal:
    """A buyer whose money is to be reversed to her old number comes with another one."""

    market: Market
    now: datetime

    def chapters(self) -> list[Callable[[Db], object]]:
        return [self.propose, self.approve, self.carry_out, self.refund]

    def propose(self, db: Db) -> None:
        by = at_work(db, "olive")
        done = number_changes.propose(db, self.market.buyer, msisdn(50), WHY, by, self.now)
        assert done == "proposed"

    def approve(self, db: Db) -> None:
        by = at_work(db, "peter")
        assert number_changes.approve(db, self.market.buyer, by, self.now) == "approved"

    def carry_out(self, db: Db) -> None:
        (change,) = number_changes.unfinished(db)
        assert number_changes.carry_out(db, change.id, RULES, self.now) == "done"

    def refund(self, db: Db) -> None:
        assert refunds.refund_balance(db, self.market.buyer, RULES, self.now) == "sent"


def test_a_death_while_a_number_changes_leaves_the_old_one_or_the_new_one(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.begin() as db:
        market = open_market(db, now)
        person(db, now, 50, "Somebody with nothing")
        hire(db, "olive")
        hire(db, "peter", ["approver"])
        bought = settled(db, purchase(db, market, now), now)
        for order in orders.lock(db, bought.checkout_id):
            assert deliveries.refuse(db, order.id, order.seller_id, now) == "refused"
        assert refunds.refund_balance(db, market.buyer, RULES, now) == "sent"
    assert die_everywhere(database, Removal(market, now).chapters(), monkeypatch) > 50
    with database.begin() as db:
        books = ledger.report(db)
        found = {payout.kind: payout for payout in payouts.of_member(db, market.buyer, 5)}
    in_books = {kind: cents for kind, cents in books["accounts"].items() if cents}
    assert in_books == {"A.c2b": TOTAL_CENTS, "L.out": TOTAL_CENTS}
    assert {kind: payout.state for kind, payout in found.items()} == {
        "reversal": "failed",
        "refund": "approved",
    }
    assert found["refund"].msisdn == msisdn(50)


@dataclass
class Rush:
    """Two baskets of one buyer, paid for by two phones and settled at once."""

    bought: Sequence[Purchase]
    now: datetime

    def settle(self, db: Db) -> None:
        results = {each.charge_id: paid(each, f"R{each.reference}") for each in self.bought}
        assert set(settlements.settle_plain(db, results, self.now).values()) == {"paid"}


@dataclass
class Stray:
    """Money that named nothing of ours goes back to the member who sent it."""

    market: Market
    now: datetime

    def chapters(self) -> list[Callable[[Db], object]]:
        return [self.give_back, self.approve, self.refund]

    def give_back(self, db: Db) -> None:
        by = at_work(db, "olive")
        done = suspense.give_back(db, "STRAY00001", msisdn(1), by, WHY, self.now)
        assert done == "proposed"

    def approve(self, db: Db) -> None:
        by = at_work(db, "peter")
        assert suspense.approve(db, "STRAY00001", by, self.now) == "returned"

    def refund(self, db: Db) -> None:
        assert refunds.refund_balance(db, self.market.buyer, RULES, self.now) == "sent"


def test_a_death_while_stray_money_goes_back_leaves_it_where_it_was(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.begin() as db:
        stray = Stray(open_market(db, now), now)
        hire(db, "olive")
        hire(db, "peter", ["approver"])
        assert settlements.receive(db, c2b("MAMA", now, "STRAY00001"), now) == "suspense"
    assert die_everywhere(database, stray.chapters(), monkeypatch) > 30
    with database.begin() as db:
        found = ledger.report(db)["accounts"]
    in_books = {kind: cents for kind, cents in found.items() if cents}
    assert in_books == {"A.c2b": TOTAL_CENTS, "L.out": TOTAL_CENTS}


def test_a_death_while_several_are_settled_at_once_leaves_none_of_them_settled(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.begin() as db:
        market = open_market(db, now)
        bought = [
            pushed(db, purchase(db, market, now, payer=msisdn(number)), now, push=str(number))
            for number in (1, 12)
        ]
    assert die_everywhere(database, [Rush(bought, now).settle], monkeypatch) > 20
    with database.begin() as db:
        assert ledger.report(db)["accounts"] == {
            "A.c2b": 2 * TOTAL_CENTS,
            "L.escrow": 2 * TOTAL_CENTS,
        }


@dataclass
class Lorry:
    """KSh 400,000 in two parts by another's phone, for somebody else; then it is called off."""

    market: Market
    now: datetime

    def chapters(self) -> list[Callable[[Db], object]]:
        return [
            *(self.shop, self.place, self.push, self.pay_part, self.ask_next),
            *(self.push, self.pay_rest, self.call_off, self.refund),
        ]

    def shop(self, db: Db) -> None:
        catalogue.set_price(db, self.market.tomatoes, 5_000_000, self.now)
        added = carts.add(db, self.market.buyer, self.market.tomatoes, 8_000, None, self.now)
        assert added == "added"

    def place(self, db: Db) -> None:
        placed = checkouts.place(
            *(db, self.market.buyer, msisdn(70), 40_000_000, RULES, self.now),
            receiver=orders.Receiver("Juma", msisdn(77)),
        )
        assert placed == "placed"

    def push(self, db: Db) -> None:
        charge = self.charge(db)
        at = self.now + timedelta(minutes=3)
        assert charges.claim_for_push(db, charge.id, RULES, at) is not None
        answer = charges.PushAnswer("accepted", f"ws_{charge.reference}", "group-1", "0")
        charges.record_push(db, charge.id, answer, at)

    def pay_part(self, db: Db) -> None:
        assert self.settle(db) == "part"

    def ask_next(self, db: Db) -> None:
        at = self.now + timedelta(minutes=6)
        assert checkouts.ask_next(db, self.charge(db).id, RULES, at) == "asked"

    def pay_rest(self, db: Db) -> None:
        assert self.settle(db) == "paid"

    def call_off(self, db: Db) -> None:
        (line, *_) = order_book.of_buyer(db, self.market.buyer, 1)
        called_off = deliveries.cancel(db, line.id, self.market.buyer, self.now)
        assert called_off == "cancelled"

    def refund(self, db: Db) -> None:
        assert refunds.refund_balance(db, self.market.buyer, RULES, self.now) == "sent"

    def settle(self, db: Db) -> str:
        charge = self.charge(db)
        receipt = f"R{charge.reference}"
        result = charges.ChargeResult(
            "callback", "paid", "0", charge.amount_cents, receipt, charge.msisdn
        )
        return settlements.settle(db, charge.id, result, self.now + timedelta(minutes=4))

    def charge(self, db: Db) -> charges.Charge:
        (line, *_) = order_book.of_buyer(db, self.market.buyer, 1)
        (*_, newest) = charges.of_checkout(db, line.checkout_id)
        return newest


def test_a_death_between_two_parts_leaves_no_half_of_one(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.begin() as db:
        lorry = Lorry(open_market(db, now), now)
    assert die_everywhere(database, lorry.chapters(), monkeypatch) > 80
    with database.begin() as db:
        books = ledger.report(db)
        back = payouts.of_member(db, lorry.market.buyer, 10)
    assert books["balanced"]
    accounts = {kind: cents for kind, cents in books["accounts"].items() if cents}
    assert accounts == {"A.c2b": 40_000_000, "L.out": 40_000_000}
    assert sorted((p.kind, p.amount_cents, p.msisdn) for p in back) == [
        ("reversal", 15_000_000, msisdn(70)),
        ("reversal", 25_000_000, msisdn(70)),
    ]


@dataclass
class Quarrel:
    """A complaint of an order that was sent, and all that follows before it is decided."""

    id: UUID
    buyer: UUID
    seller: UUID
    code: str
    folder: Folder
    now: datetime

    def chapters(self) -> list[Callable[[Db], object]]:
        return [
            *(self.complain, self.enter_code, self.say_more, self.show, self.call_me),
            *(self.answer, self.propose, self.decline, self.propose, self.approve),
        ]

    def chapters_of_another(self) -> list[Callable[[Db], object]]:
        """That ends well for her, and for the seller."""
        return [self.complain, self.withdraw, self.complain, self.stay_silent, self.decide_late]

    def complain(self, db: Db) -> None:
        opened = disputes.open(db, self.id, self.buyer, "rotten", "They smell.", self.now)
        assert opened == "opened"

    def enter_code(self, db: Db) -> None:
        entered = deliveries.enter_code(db, self.id, self.seller, self.code, RULES, self.now)
        assert entered == "frozen"

    def say_more(self, db: Db) -> None:
        said = evidence.say(db, self.dispute(db), self.buyer, "All of them.", self.now)
        assert said == "kept"

    def show(self, db: Db) -> None:
        photo = b"\xff\xd8\xff a photo"
        kept = evidence.add(
            db, self.folder, self.dispute(db), self.buyer, photo, "image/jpeg", self.now
        )
        assert kept == "kept"

    def answer(self, db: Db) -> None:
        answered = disputes.answer(db, self.id, self.seller, "They were fresh.", self.now)
        assert answered == "answered"

    def propose(self, db: Db) -> None:
        assert self.decide(db, Rules(dispute_second_above_cents=0)) == "proposed"

    def decline(self, db: Db) -> None:
        peter = at_work(db, "peter")
        assert verdicts.decline(db, self.dispute(db), peter, WHY, self.now) == "declined"

    def approve(self, db: Db) -> None:
        assert verdicts.approve(db, self.dispute(db), at_work(db, "peter"), self.now) == "decided"

    def withdraw(self, db: Db) -> None:
        assert disputes.withdraw(db, self.id, self.buyer, self.now) == "withdrawn"

    def stay_silent(self, db: Db) -> None:
        late = self.now + disputes.ANSWER_WITHIN
        assert disputes.end_answering(db, self.dispute(db), late) == "review"

    def decide_late(self, db: Db) -> None:
        late = self.now + 2 * disputes.DECIDE_WITHIN
        assert disputes.escalate(db, self.dispute(db), late) == "escalated"
        assert self.decide(db, RULES) == "decided"

    def decide(self, db: Db, rules: Rules) -> str:
        olive = at_work(db, "olive")
        shares = (20_000, 30_000)
        return verdicts.decide(db, self.dispute(db), olive, *shares, WHY, rules, self.now)

    def call_me(self, db: Db) -> None:
        assert cases.open(db, self.buyer, "order", [], self.now) == "opened"

    def dispute(self, db: Db) -> UUID:
        found = disputes.of_order(db, self.id)
        assert found is not None
        return found.id


def test_a_death_in_the_middle_of_a_complaint_leaves_no_half_of_it(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with database.begin() as db:
        deal = Deal(db, now)
        deal.comes_to("dispatched")
        quarrel = Quarrel(deal.id, deal.buyer, deal.seller, deal.code(), Folder(tmp_path), now)
        for name in ("olive", "peter"):
            hire(db, name, ["operator", "approver"])
    assert die_everywhere(database, quarrel.chapters(), monkeypatch) > 50
    with database.begin() as db:
        deal.db = db
        assert (deal.state(), deal.purses()) == ("split", DIVIDED)
        assert [deal.events().count(kind) for kind in ("disputed", "code_kept")] == [1, 1]
        dispute = disputes.last_of(db, deal.id)
        assert dispute is not None
        (photo,) = evidence.photos(db, dispute.id)
        assert quarrel.folder.get(photo.key) == b"\xff\xd8\xff a photo"
        assert len(audit.of(db, f"case {dispute.number}")) == 4


def test_a_death_in_the_middle_of_a_complaint_taken_back_or_unanswered_leaves_no_half_either(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with database.begin() as db:
        deal = Deal(db, now)
        deal.comes_to("delivered")
        quarrel = Quarrel(deal.id, deal.buyer, deal.seller, deal.code(), Folder(tmp_path), now)
        hire(db, "olive")
    assert die_everywhere(database, quarrel.chapters_of_another(), monkeypatch) > 40
    with database.begin() as db:
        deal.db = db
        assert (deal.state(), deal.purses()) == ("split", DIVIDED)
        told = ("disputed", "withdrawn", "answer_missed", "decision_late", "split")
        heard = [db.value("SELECT count(*) FROM messages WHERE trigger = %s", [t]) for t in told]
        assert heard == [4, 2, 2, 2, 2]


PARTS: dict[str, tuple[str, list[tuple[Callable[[Deal], str], str]], tuple[str, Any]]] = {
    "less is sent": (
        "accepted",
        [
            (Deal.offer_less, "asked"),
            (Deal.take_back, "taken_back"),
            (Deal.offer_less, "asked"),
            (Deal.agree, "agreed"),
            (Deal.dispatch, "dispatched"),
            (Deal.enter, "released"),
        ],
        ("completed", (0, 25_000, 24_300, 700)),
    ),
    "less is declined": (
        "accepted",
        [(Deal.offer_less, "asked"), (Deal.decline, "declined")],
        ("cancelled", (0, 50_000, 0, 0)),
    ),
    "a part comes and the rest does not": (
        "accepted",
        [
            (Deal.send_part, "dispatched"),
            (Deal.enter, "released"),
            (Deal.refuse, "refused"),
        ],
        ("completed", (0, 25_000, 24_300, 700)),
    ),
    "less came": (
        "dispatched",
        [
            (Deal.say_less_came, "asked"),
            (Deal.decline, "declined"),
            (Deal.say_less_came, "asked"),
            (Deal.agree, "agreed"),
        ],
        ("completed", (0, 25_000, 24_300, 700)),
    ),
    "less came, and nobody answers": (
        "delivered",
        [(Deal.say_less_came, "asked"), (Deal.run_out, "disputed")],
        ("disputed", (50_000, 0, 0, 0)),
    ),
}


@pytest.mark.parametrize("story", PARTS)
def test_a_death_in_the_middle_of_a_shortage_or_a_part_leaves_no_half_of_it(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch, story: str
) -> None:
    begins, acts, ends = PARTS[story]
    with database.begin() as db:
        deal = Deal(db, now)
        deal.comes_to(begins)

    def chapter(verb: Callable[[Deal], str], outcome: str) -> Callable[[Db], object]:
        def play(db: Db) -> None:
            deal.db = db
            assert verb(deal) == outcome

        return play

    chapters = [chapter(verb, outcome) for verb, outcome in acts]
    assert die_everywhere(database, chapters, monkeypatch) > 20
    with database.begin() as db:
        deal.db = db
        assert (deal.state(), deal.purses()) == ends
        for wrong in (WRONG_ESCROWS, WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS):
            assert db.value(wrong) == 0, wrong
