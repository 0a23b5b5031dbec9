"""A small market to buy from: two sellers with an offer each, a buyer, and her payments."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from core import (
    carts,
    catalogue,
    charges,
    checkouts,
    deals,
    deliveries,
    disputes,
    order_book,
    orders,
    outbox,
    settlements,
    shortages,
    stock,
)
from core.charges import ChargeResult, PushAnswer
from core.database import Db
from core.orders import Order
from core.receipts import Receipt
from core.rules import Rules
from tests.core.people import place

# The SIM check has tests of its own: here nobody could be asked.
RULES = Rules(pin_pepper=b"pepper for tests", token_key=b"token key for tests", sim_check=False)
PRICE_CENTS = 25_000  # of a kilo of tomatoes, from Wanjiku
OTHER_PRICE_CENTS = 12_050  # of a kilo of beans, from Otieno; half kilos too
SAID_LATE = {"dial": "*384*7042#", "paybill": "174379", "code": "4821"}


def msisdn(number: int) -> str:
    return f"+25471100{number:04}"


def person(db: Db, now: datetime, number: int, name: str = "Buyer") -> UUID:
    """A member without a PIN: hashing one takes longer than most of the tests that need a buyer."""
    person_id = db.new_id()
    db.run(
        """
        INSERT INTO members (id, msisdn, name, language, place_id, is_seller, pin_hash,
                             pin_failures, consent_version, consent_at, created_at, updated_at)
        VALUES (%(id)s, %(msisdn)s, %(name)s, 'en', %(place_id)s, false, '', 0, '1', %(now)s,
                %(now)s, %(now)s)
        """,
        {
            "id": person_id,
            "msisdn": msisdn(number),
            "name": name,
            "place_id": place(db, now, f"Village {number}"),
            "now": now,
        },
    )
    return person_id


@dataclass(frozen=True)
class Market:
    """tomatoes: 10 units on hand, by the unit. beans: 10 units on hand, by the half unit."""

    buyer: UUID
    wanjiku: UUID
    otieno: UUID
    tomatoes: UUID
    beans: UUID


def open_market(db: Db, now: datetime, on_hand_milli: int = 10_000) -> Market:
    buyer = person(db, now, 1, "Amina")
    wanjiku, otieno = person(db, now, 2, "Wanjiku Fresh"), person(db, now, 3, "Otieno Supplies")
    category = catalogue.add_category(
        db, slug="vegetables", names={"en": "Vegetables", "sw": "Mboga"}, position=1, now=now
    )
    offers = [
        add_offer(db, category, slug, seller, price_cents, step_milli, on_hand_milli, now)
        for slug, seller, price_cents, step_milli in (
            ("tomatoes", wanjiku, PRICE_CENTS, 1000),
            ("beans", otieno, OTHER_PRICE_CENTS, 500),
        )
    ]
    return Market(buyer, wanjiku, otieno, *offers)


def add_offer(
    db: Db,
    category: UUID,
    slug: str,
    seller: UUID,
    price_cents: int,
    step_milli: int,
    on_hand_milli: int,
    now: datetime,
) -> UUID:
    product = catalogue.add_product(
        db,
        category_id=category,
        slug=slug,
        names={"en": slug.capitalize(), "sw": f"{slug} (sw)"},
        units={"en": {"one": "kilo", "many": "kilos"}},
        step_milli=step_milli,
        now=now,
    )
    offer = catalogue.add_offer(
        db,
        product_id=product,
        seller_id=seller,
        price_cents=price_cents,
        minimum_milli=step_milli,
        now=now,
    )
    if on_hand_milli:
        stock.receive(db, offer, on_hand_milli, "opening", now)
    return offer


@dataclass(frozen=True)
class Purchase:
    """A placed checkout of two tomatoes (KSh 500) and 1.5 beans (KSh 181), with its charge."""

    checkout_id: UUID
    charge_id: UUID
    buyer: UUID
    payer: str
    total_cents: int
    reference: str


TOTAL_CENTS = 50_000 + 18_100


def fill_cart(db: Db, market: Market, buyer: UUID, now: datetime) -> None:
    assert carts.add(db, buyer, market.tomatoes, 2000, PRICE_CENTS, now) == "added"
    a_moment_later = now + timedelta(milliseconds=1)
    assert carts.add(db, buyer, market.beans, 1500, None, a_moment_later) == "added"


def purchase(
    db: Db, market: Market, now: datetime, *, buyer: UUID | None = None, payer: str = msisdn(1)
) -> Purchase:
    buyer = buyer or market.buyer
    fill_cart(db, market, buyer, now)
    placed = checkouts.place(db, buyer, payer, TOTAL_CENTS, RULES, now)
    assert placed == "placed", placed
    checkout_id = order_book.of_buyer(db, buyer, 1)[0].checkout_id
    (charge,) = charges.of_checkout(db, checkout_id)
    return Purchase(checkout_id, charge.id, buyer, payer, TOTAL_CENTS, charge.reference)


def pushed(db: Db, bought: Purchase, now: datetime, push: str = "1") -> Purchase:
    """The push of its charge was made, and accepted by the gateway."""
    assert charges.claim_for_push(db, bought.charge_id, RULES, now) is not None
    answer = PushAnswer("accepted", f"ws_CO_{push}", f"group-{push}", "0")
    charges.record_push(db, bought.charge_id, answer, now)
    return bought


def paid(bought: Purchase, receipt: str = "RCPT000001", **changes: object) -> ChargeResult:
    """The callback of a payment that went well."""
    result = ChargeResult(
        "callback",
        "paid",
        "0",
        amount_cents=bought.total_cents,
        receipt=receipt,
        msisdn=bought.payer,
    )
    return replace(result, **changes)


def pay(db: Db, bought: Purchase, now: datetime, receipt: str = "RCPT000001") -> None:
    """She answers the prompt."""
    assert settlements.settle(db, bought.charge_id, paid(bought, receipt), now) == "paid"


def settled(db: Db, bought: Purchase, now: datetime) -> Purchase:
    """It was paid, so its orders are their sellers' to accept."""
    pushed(db, bought, now, push=bought.reference)
    pay(db, bought, now, f"R{bought.reference}")
    return bought


def order_of(db: Db, bought: Purchase, seller_id: UUID) -> Order:
    (order,) = (o for o in orders.lock(db, bought.checkout_id) if o.seller_id == seller_id)
    return order


def late(_db: Db, name: str, _order_id: UUID | None) -> str | None:
    """What is said of an order only while its message is sent."""
    return SAID_LATE[name]


def failed(code: str = "1032", source: str = "callback") -> ChargeResult:
    return ChargeResult(source, "failed", code)  # type: ignore[arg-type]


QUERIED_PAID = ChargeResult("query", "paid", "0")
QUERIED_PENDING = ChargeResult("query", "pending", "4999")


def c2b(
    reference: str, now: datetime, receipt: str = "RCPT000001", cents: int = TOTAL_CENTS
) -> Receipt:
    return Receipt("c2b", receipt, cents, reference, now)


def run_timers(db: Db, now: datetime) -> list[tuple[str, object]]:
    """The worker's work on all that is due, but for calls outside: kinds and results."""
    results = []
    for item in outbox.take_due(db, now, 100):
        if item.kind in ("sms", "refund_balance", "pay_earnings"):
            outbox.done(db, item.id, now)
            continue
        (subject,) = (UUID(value) for value in item.arguments.values())
        verb = {
            "stk_push": lambda db, subject, now: charges.claim_for_push(db, subject, RULES, now),
            "next_part": lambda db, subject, now: checkouts.ask_next(db, subject, RULES, now),
            "query_charge": charges.query_due,
            "review_charge": charges.review,
            "payment_reminder": checkouts.remind,
            "expire_checkout": checkouts.expire,
            "accept_reminder": deliveries.remind_to_accept,
            "accept_deadline": deliveries.accept_missed,
            "dispatch_reminder": deliveries.remind_to_dispatch,
            "dispatch_deadline": deliveries.dispatch_missed,
            "delivery_deadline": deliveries.silent,
            "inspection_reminder": deliveries.remind_to_inspect,
            "inspection_over": deliveries.inspection_over,
            "short_reminder": shortages.remind,
            "less_came_reminder": shortages.remind,
            "less_came_deadline": shortages.run_out,
            "answer_reminder": disputes.remind_to_answer,
            "answer_deadline": disputes.end_answering,
            "decision_deadline": disputes.escalate,
            "deal_invitation": deals.invite,
            "deal_reminder": deals.remind,
            "deal_deadline": deals.lapse,
        }[item.kind]
        results.append((item.kind, verb(db, subject, now)))
        outbox.done(db, item.id, now)
    return results
