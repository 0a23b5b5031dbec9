"""Messages: who is told what and in which words."""

import ast
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from core import (
    carts,
    charges,
    checkouts,
    earnings,
    freezes,
    ledger,
    messages,
    order_book,
    orders,
    outbox,
    pins,
    settlements,
    wordings,
)
from core.charges import PushAnswer
from core.database import Db
from flows.words import common
from tests.core.market import (
    RULES,
    SAID_LATE,
    Market,
    Purchase,
    c2b,
    failed,
    msisdn,
    open_market,
    order_of,
    paid,
    pay,
    person,
    purchase,
    pushed,
)
from tests.core.people import PIN, member
from tests.core.people import RULES as PEOPLE_RULES

ROOT = Path(__file__).parents[2]
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


@pytest.fixture
def bought(db: Db, market: Market, now: datetime) -> Purchase:
    return pushed(db, purchase(db, market, now), now)


def told(db: Db, trigger: str) -> dict[str, list[str]]:
    """The texts of the trigger's messages, as they would be sent, by the receiver's name."""
    rows = db.value(
        """
        SELECT coalesce(json_agg(json_build_array(m.name, t.text) ORDER BY t.text), '[]')
        FROM messages t JOIN members m ON m.id = t.member_id WHERE t.trigger = %s
        """,
        [trigger],
    )
    found: dict[str, list[str]] = {}
    for name, text in rows:
        found.setdefault(name, []).append(wordings.complete(text, SAID_LATE))
    return found


def numbers(db: Db, bought: Purchase) -> list[int]:
    return [order.number for order in order_book.of_checkout(db, bought.checkout_id)]


def earn(db: Db, member_id: UUID, cents: int, now: datetime) -> None:
    legs = [ledger.debit(ledger.C2B, cents), ledger.credit(ledger.seller(member_id), cents)]
    ledger.post(db, "test", f"test:{member_id}", legs, now)


# The table.


def test_the_table_of_all_messages_has_no_fault() -> None:
    assert wordings.faults(common().languages) == []


GOOD = """
width = { name = 10 }
figure = { order = 7, orders = 28, code = 4 }
[moved.buyer]
class = "alert"
en = "Order {order} of {name}."
sw = "Oda {order} ya {name}."
[moved.seller]
silence = "he moved it"
"""


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        ("", "", None),
        ('class = "alert"', 'class = "gossip"', "moved.buyer is of class gossip"),
        ('sw = "Oda {order} ya {name}."', "", "moved.buyer is said in en"),
        (
            "Oda {order} ya",
            "Oda ya",
            "moved.buyer has other placeholders in one language than in another",
        ),
        ("{name}", "{nickname}", "moved.buyer has placeholders without a width: nickname"),
        ("Oda", "Oda ĩ", "moved.buyer in sw has letters no plain phone has: ĩ"),
        ("Order", "Order " * 24, "moved.buyer in en can take 167 septets of 140"),
        (
            "{order}",
            "{orders}",
            "moved.buyer speaks of several orders and of one: name",
        ),
        ("{name}", "{code}", "moved.buyer is of class code and has none, or the reverse"),
        (
            '[moved.seller]\nsilence = "he moved it"',
            "",
            "moved speaks to buyer: one is missing or unknown",
        ),
    ],
)
def test_a_fault_in_the_table_is_named(was: str, becomes: str, fault: str | None) -> None:
    found = wordings.faults(("en", "sw"), wordings.parse(GOOD.replace(was, becomes)))
    assert found == ([] if fault is None else [fault])


def _noted_kinds() -> Iterator[tuple[str, str]]:
    """Every kind and reason that is written into an order's timeline, with the file it is in."""
    for path in sorted((ROOT / "core").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node.func) in ("note", "move", "move_all"):
                for text in (each for arg in node.args for each in _texts(arg)):
                    yield path.name, text
            elif isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "reason":
                        yield from ((path.name, text) for text in _texts(value))
            elif isinstance(node, ast.keyword) and node.arg == "reason":
                yield from ((path.name, text) for text in _texts(node.value))


def _called(function: ast.expr) -> str:
    of_orders = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    if of_orders and function.value.id != "orders":
        return ""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _texts(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=first, orelse=second):
            return _texts(first) + _texts(second)
    return []


def test_every_change_of_an_orders_state_speaks_or_is_declared_silent() -> None:
    noted = dict(reversed(pair) for pair in _noted_kinds())
    assert {"placed", "paid", "sold_out"} <= set(noted), "the search finds nothing"
    kinds = (
        set(noted) | set(orders.MOVES) | {to for targets in orders.MOVES.values() for to in targets}
    )
    known = wordings.table().triggers
    special = {wordings.KEEPER, *wordings.OF_A_GIFT}
    heard = {kind: set(known.get(kind, ())) - special for kind in kinds}
    assert {kind for kind in kinds if heard[kind] != {"buyer", "seller"}} == set()


def test_every_reminder_of_the_outbox_speaks_or_is_declared_silent() -> None:
    reminders = {kind for kind in outbox.KINDS if kind.endswith("_reminder")}
    assert reminders <= set(wordings.table().triggers)


@pytest.mark.parametrize(
    "why", ["he keeps it here", "he is frozen", "his is no M-Pesa", "it is too little"]
)
def test_a_seller_hears_where_the_money_is(
    db: Db, market: Market, bought: Purchase, now: datetime, why: str
) -> None:
    """Of the two one has what is sold sent on at once, the other's stays here."""
    pay(db, bought, now)
    earn(db, market.wanjiku, 1_000, now)
    earn(db, market.otieno, 999 if why == "it is too little" else 1_000, now)
    if why == "he keeps it here":
        earnings.choose(db, market.otieno, False, now)
    if why == "he is frozen":
        freezes.freeze(db, market.otieno, "His phone is lost.", "asha", now)
    if why == "his is no M-Pesa":
        db.run("UPDATE members SET msisdn = '+255711000010' WHERE id = %s", [market.otieno])
    ids = [order.id for order in orders.lock(db, bought.checkout_id)]
    for trigger in ("completed", "decided_for_seller", "split", "part_came"):
        orders.note(db, ids, trigger, now, case="7", back="90", dispatch_by=now.isoformat())
        heard = told(db, trigger)
        (sent_on,), (kept,) = heard["Wanjiku Fresh"], heard["Otieno Supplies"]
        assert "goes to you" in sent_on
        assert "in your Sokoni balance" in kept or "in your balance" in kept


def test_of_a_seller_who_is_frozen_no_more_the_money_goes_on(
    db: Db, market: Market, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    earn(db, market.wanjiku, 1_000, now)
    freezes.freeze(db, market.wanjiku, "Her phone is lost.", "asha", now)
    freezes.lift(db, market.wanjiku, "baraka", now)
    orders.note(db, [order_of(db, bought, market.wanjiku).id], "completed", now)
    assert "goes to your M-Pesa" in told(db, "completed")["Wanjiku Fresh"][0]


TOLD_BY_CHARGES = {
    *("payment_failed", "payment_over_limit", "payment_part", "payment_short", "payment_over"),
    "part_reversed",
}


@pytest.mark.parametrize("language", common().languages)
@pytest.mark.parametrize(
    ("trigger", "is_gift"),
    sorted(
        (trigger, is_gift)
        for trigger, receivers in wordings.table().triggers.items()
        if "buyer" in receivers and trigger not in TOLD_BY_CHARGES
        for is_gift in {False, bool(wordings.OF_A_GIFT & set(receivers))}
    ),
)
def test_every_event_of_an_order_finds_its_words(
    db: Db,
    market: Market,
    bought: Purchase,
    now: datetime,
    trigger: str,
    is_gift: bool,
    language: str,
) -> None:
    """Nothing that stands in them is unknown when it happens; each is one plain part."""
    db.run("UPDATE members SET language = %s", [language])
    if is_gift:
        db.run("UPDATE orders SET receiver_name = 'Juma', receiver_msisdn = %s", [msisdn(77)])
    db.run("UPDATE orders SET accept_by = %s", [now])
    earn(db, market.wanjiku, 1_000, now)
    db.run("DELETE FROM messages")
    deadlines = dict.fromkeys(("dispatch_by", "inspect_by", "answer_by"), now.isoformat())
    of_less = {"product": "Tomatoes", "has": "8", "quantity": "10"}
    ids = [order.id for order in orders.lock(db, bought.checkout_id)]
    orders.note(db, ids, trigger, now, case="1042", back="1,000", **of_less, **deadlines)
    words = wordings.table().triggers[trigger]
    unheard = ({"buyer"} if "giver" in words else set()) if is_gift else wordings.OF_A_GIFT
    spoken = [wording for receiver, wording in words.items() if wording and receiver not in unheard]
    kept = db.value("SELECT array_agg(DISTINCT class || ' ' || language) FROM messages")
    assert set(kept or ()) == {f"{wording.kind} {language}" for wording in spoken}
    assert db.value("SELECT coalesce(max(segments), 1) FROM messages") == 1


def test_a_change_without_words_is_refused(db: Db, bought: Purchase, now: datetime) -> None:
    (first, _) = orders.lock(db, bought.checkout_id)
    with pytest.raises(KeyError):
        orders.note(db, [first.id], "enchanted", now)


# Who is told what.


def test_a_placed_basket_is_one_message_with_all_its_orders(
    db: Db, bought: Purchase, now: datetime
) -> None:
    one, other = numbers(db, bought)
    assert told(db, "placed") == {
        "Amina": [
            f"Order {one}, {other}: pay KSh 681 by M-Pesa before 21/11 12:15. "
            "We hold the money until the goods are there."
        ]
    }


def test_a_payment_is_told_to_the_buyer_once_and_to_each_seller(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    of_wanjiku, of_otieno = sorted(
        orders.lock(db, bought.checkout_id), key=lambda order: order.total_cents, reverse=True
    )
    one, other = numbers(db, bought)
    day = f"{of_wanjiku.deliver_on:%d/%m}"
    place = db.value("SELECT p.name FROM orders o JOIN places p ON p.id = o.place_id LIMIT 1")
    assert told(db, "paid") == {
        "Amina": [
            f"KSh 681 paid for order {one}, {other}. We hold it until you have the goods. "
            "Your code is in another message."
        ],
        "Wanjiku Fresh": [
            f"New order {of_wanjiku.number}, {day}, {place}: Amina paid. KSh 487 is for you. "
            "Accept by 22/11 12:00: dial *384*7042#."
        ],
        "Otieno Supplies": [
            f"New order {of_otieno.number}, {day}, {place}: Amina paid. KSh 176 is for you. "
            "Accept by 22/11 12:00: dial *384*7042#."
        ],
    }


def test_each_is_told_in_their_own_language(db: Db, bought: Purchase, now: datetime) -> None:
    db.run("UPDATE members SET language = 'sw' WHERE name = 'Amina'")
    db.run("UPDATE members SET language = 'xx' WHERE name = 'Wanjiku Fresh'")
    pay(db, bought, now)
    texts = told(db, "paid")
    assert texts["Amina"][0].startswith("KSh 681 zimelipwa")
    assert texts["Wanjiku Fresh"][0].startswith("New order")


def test_a_seller_hears_nothing_of_an_order_that_was_never_paid(
    db: Db, bought: Purchase, now: datetime
) -> None:
    assert checkouts.cancel(db, bought.checkout_id, bought.buyer, now) == "cancelled"
    assert set(told(db, "cancelled")) == {"Amina"}


def test_a_seller_hears_of_the_end_of_an_order_that_was_paid(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    ids = [order.id for order in orders.lock(db, bought.checkout_id)]
    orders.move_all(db, ids, "cancelled", now)
    texts = told(db, "cancelled")
    assert set(texts) == {"Amina", "Wanjiku Fresh", "Otieno Supplies"}
    assert len(texts["Amina"]) == 1


def test_a_reason_that_has_words_speaks_in_place_of_the_kind(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    (first, _) = orders.lock(db, bought.checkout_id)
    orders.move(db, first.id, "cancelled", now, reason="refused")
    assert told(db, "cancelled") == {}
    assert list(told(db, "refused")) == ["Amina"]


def test_a_deadline_of_the_detail_is_shown_by_the_markets_clock(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    (first, _) = orders.lock(db, bought.checkout_id)
    by = (now + 24 * HOUR).isoformat()
    orders.note(db, [first.id], "delivered", now, inspect_by=by)
    assert "Dial *384*7042# by 22/11 12:00, or KSh" in told(db, "delivered")["Amina"][0]


def test_whoever_left_is_told_nothing(db: Db, bought: Purchase, now: datetime) -> None:
    db.run("UPDATE members SET deleted_at = %s WHERE name = 'Otieno Supplies'", [now])
    pay(db, bought, now)
    assert set(told(db, "paid")) == {"Amina", "Wanjiku Fresh"}


def test_a_long_name_in_strange_letters_fits_one_part(
    db: Db, bought: Purchase, now: datetime
) -> None:
    db.run("UPDATE members SET name = %s WHERE name = 'Amina'", ["Wĩ’ç" * 10])
    pay(db, bought, now)
    assert db.value("SELECT max(segments) FROM messages") == 1
    assert db.value("SELECT array_agg(DISTINCT encoding) FROM messages") == ["gsm"]


def test_more_orders_than_fit_are_counted(db: Db, bought: Purchase, now: datetime) -> None:
    (first, _) = orders.lock(db, bought.checkout_id)
    for number in range(3):
        seller = person(db, now, 90 + number)
        db.run(
            """
            INSERT INTO orders (id, number, checkout_id, buyer_id, seller_id, state, total_cents,
                                fee_cents, pay_by, place_id, deliver_on, created_at, updated_at)
            SELECT %(id)s, nextval('order_numbers'), checkout_id, buyer_id, %(seller)s, state,
                   total_cents, fee_cents, pay_by, place_id, deliver_on, created_at, updated_at
            FROM orders WHERE id = %(like)s
            """,
            {"id": db.new_id(), "seller": seller, "like": first.id},
        )
    assert checkouts.cancel(db, bought.checkout_id, bought.buyer, now) == "cancelled"
    one, two, three, *_ = numbers(db, bought)
    ((text,),) = told(db, "cancelled").values()
    assert text.startswith(f"Order {one}, {two}, {three} +2 is cancelled.")


def test_an_order_that_runs_out_says_that_nothing_is_owed(
    db: Db, market: Market, now: datetime
) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer("refused", code="500.003.02"), now)
    assert checkouts.expire(db, bought.checkout_id, now + 15 * MINUTE) == "expired"
    ((text,),) = told(db, "expired").values()
    assert "You owe nothing." in text


# Payments.


def test_a_failed_prompt_says_how_to_pay_by_hand(db: Db, bought: Purchase, now: datetime) -> None:
    settlements.settle(db, bought.charge_id, failed(), now)
    one, other = numbers(db, bought)
    assert told(db, "payment_failed") == {
        "Amina": [
            f"Order {one}, {other} is not paid. Dial *384*7042#, or Paybill 174379, "
            f"account {bought.reference}, KSh 681, by 21/11 12:15."
        ]
    }
    settlements.settle(db, bought.charge_id, failed("1037", "query"), now)
    assert len(told(db, "payment_failed")["Amina"]) == 1


def test_a_prompt_the_gateway_refused_says_so_too(db: Db, market: Market, now: datetime) -> None:
    bought = purchase(db, market, now)
    charges.claim_for_push(db, bought.charge_id, RULES, now)
    charges.record_push(db, bought.charge_id, PushAnswer("refused", code="500.003.02"), now)
    assert set(told(db, "payment_failed")) == {"Amina"}


def test_nobody_is_asked_to_pay_for_what_is_cancelled(
    db: Db, bought: Purchase, now: datetime
) -> None:
    checkouts.cancel(db, bought.checkout_id, bought.buyer, now)
    settlements.settle(db, bought.charge_id, failed(), now)
    assert told(db, "payment_failed") == {}


def test_a_payment_for_what_is_cancelled_is_hers(db: Db, bought: Purchase, now: datetime) -> None:
    checkouts.cancel(db, bought.checkout_id, bought.buyer, now)
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "late"
    ((text,),) = told(db, "payment_late").values()
    assert text.startswith("KSh 681 came when order ")


def test_goods_sold_out_before_the_money_came_are_told_with_their_share(
    db: Db, bought: Purchase, market: Market, now: datetime
) -> None:
    settlements.settle(db, bought.charge_id, failed(), now)
    after = now + 20 * MINUTE
    assert carts.add(db, market.otieno, market.tomatoes, 9_000, None, after) == "added"
    assert checkouts.place(db, market.otieno, msisdn(50), 225_000, RULES, after) == "placed"
    pay(db, bought, after)
    ((text,),) = told(db, "sold_out").values()
    assert "Your KSh 500 is safe" in text
    assert "KSh 181 paid" in told(db, "paid")["Amina"][0]
    assert told(db, "payment_late") == {}


def test_a_second_payment_is_told_each_time_it_happens(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    for receipt in ("RCPT000002", "RCPT000003", "RCPT000003"):
        settlements.receive(db, c2b(bought.reference, now, receipt), now)
    texts = told(db, "payment_second")["Amina"]
    assert len(texts) == 2
    assert all(text.startswith("You paid KSh 681 again") for text in texts)


def test_too_little_says_what_is_missing_and_the_rest_is_simply_a_payment(
    db: Db, bought: Purchase, now: datetime
) -> None:
    assert settlements.receive(db, c2b(bought.reference, now, "R1R1R1", 60_000), now) == "short"
    ((text,),) = told(db, "payment_short").values()
    assert text.startswith("KSh 600 came for order ")
    assert f"KSh 81 more by 21/11 12:15: Paybill 174379, account {bought.reference}." in text
    assert settlements.receive(db, c2b(bought.reference, now, "R2R2R2", 8_100), now) == "captured"
    assert set(told(db, "paid")) == {"Amina", "Wanjiku Fresh", "Otieno Supplies"}
    assert sum(len(told(db, f"payment_{kind}")) for kind in ("late", "second", "over")) == 0


def test_too_much_says_what_is_left(db: Db, bought: Purchase, now: datetime) -> None:
    assert settlements.receive(db, c2b(bought.reference, now, "R1R1R1", 70_000), now) == "over"
    ((text,),) = told(db, "payment_over").values()
    assert text.startswith("You paid KSh 700, more than order ")
    assert "KSh 19 is safe" in text


# Members.


def test_a_changed_pin_is_told_to_its_owner(db: Db, market: Market, now: datetime) -> None:
    pins.set(db, market.buyer, "7531", PEOPLE_RULES, now)
    ((text,),) = told(db, "pin_changed").values()
    assert "Your Sokoni PIN has been changed." in text
    assert "7531" not in text


def test_a_locked_pin_is_told_once_with_its_hour(db: Db, now: datetime) -> None:
    amina = member(db, now)
    for _ in range(7):
        pins.check(db, amina, "9753", PEOPLE_RULES, now)
    ((text,),) = told(db, "pin_locked").values()
    assert "locked until 21/11 12:30" in text
    assert "Forgotten? Call 0700000000." in text
    assert PIN not in text


def test_the_last_messages_are_shown_without_their_secrets(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    messages.of_phone(db, "sms_help", "id", "+254711000001", "en", {}, now, member_id=bought.buyer)
    last = messages.last_of(db, bought.buyer, 5)
    assert len(last) == 4  # placed, paid, and a code for each order
    assert sum(told.text.startswith("Code ####, order ") for told in last) == 2
    assert not any("{" in told.text for told in last)
