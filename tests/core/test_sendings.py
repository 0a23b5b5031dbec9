"""Sendings: each message sent once, at most twice, never lost."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import (
    deliveries,
    messages,
    opt_outs,
    orders,
    outbox,
    reach,
    sendings,
)
from core.database import Db
from core.rules import Rules
from core.sendings import Claimed, NotYet, SendAnswer
from tests.core.market import (
    RULES,
    Market,
    Purchase,
    late,
    open_market,
    pay,
    purchase,
    pushed,
)
from tests.core.transactions import NOW, rolled_back

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ACCEPTED = SendAnswer("accepted", "Success", "ATXid_1", "KES 0.8000")
LOST = SendAnswer("unknown", "timeout")
LATER = SendAnswer("later", "http_429")
HALTED = SendAnswer("later", "InsufficientBalance", halts=True)


@pytest.fixture
def market(db: Db, now: datetime) -> Market:
    return open_market(db, now)


@pytest.fixture
def bought(db: Db, market: Market, now: datetime) -> Purchase:
    return pushed(db, purchase(db, market, now), now)


@pytest.fixture
def message_id(db: Db, market: Market, now: datetime) -> UUID:
    """One message that waits to be sent."""
    messages.of_member(db, "pin_changed", market.buyer, {}, now)
    found: UUID = db.value("SELECT id FROM messages")
    return found


def state(db: Db, message_id: UUID) -> str:
    found: str = db.value("SELECT state FROM messages WHERE id = %s", [message_id])
    return found


def claimed(db: Db, message_id: UUID, now: datetime) -> Claimed:
    taken = sendings.claim(db, message_id, late, now)
    assert isinstance(taken, Claimed), taken
    return taken


def open_incidents(db: Db) -> set[str]:
    return set(db.value("SELECT array_agg(kind) FROM incidents WHERE closed_at IS NULL") or ())


def test_a_message_is_claimed_sent_and_over(db: Db, message_id: UUID, now: datetime) -> None:
    (item,) = [item for item in outbox.take_due(db, now, 10) if item.kind == "sms"]
    assert item.arguments == {"message_id": str(message_id)}
    holder = claimed(db, message_id, now)
    assert "dial" not in holder.text
    assert "*384*7042#" in holder.text
    assert sendings.record(db, holder, ACCEPTED, now) is None
    assert state(db, message_id) == "sent"
    assert db.value("SELECT cost FROM messages") == "KES 0.8000"
    assert sendings.claim(db, message_id, late, now) is None


def test_while_one_sends_it_nobody_else_does(db: Db, message_id: UUID, now: datetime) -> None:
    claimed(db, message_id, now)
    again = sendings.claim(db, message_id, late, now + 59 * SECOND)
    assert again == NotYet(now + 60 * SECOND, "somebody is sending it")


@pytest.mark.parametrize("doubt", ["killed", "no answer"])
def test_after_a_doubt_it_is_sent_once_more_and_marked(
    db: Db, message_id: UUID, now: datetime, doubt: str
) -> None:
    holder = claimed(db, message_id, now)
    if doubt == "no answer":
        assert sendings.record(db, holder, LOST, now) == NotYet(now + 60 * SECOND, "timeout")
        assert state(db, message_id) == "unknown"
    second = claimed(db, message_id, now + 61 * SECOND)
    assert sendings.record(db, second, ACCEPTED, now) is None
    assert state(db, message_id) == "sent"
    assert db.value("SELECT maybe_twice FROM messages")


@pytest.mark.parametrize("doubt", ["killed", "no answer"])
def test_after_two_doubts_it_is_left_alone_and_somebody_is_told(
    db: Db, message_id: UUID, now: datetime, doubt: str
) -> None:
    sendings.record(db, claimed(db, message_id, now), LOST, now)
    second = claimed(db, message_id, now + 61 * SECOND)
    if doubt == "no answer":
        assert sendings.record(db, second, LOST, now + 70 * SECOND) is None
    assert sendings.claim(db, message_id, late, now + HOUR) is None
    assert state(db, message_id) == "unknown"
    assert db.value("SELECT maybe_twice FROM messages")
    assert open_incidents(db) == {"sms_unanswered"}


def test_a_second_call_that_surely_sent_nothing_leaves_one_doubt(
    db: Db, message_id: UUID, now: datetime
) -> None:
    sendings.record(db, claimed(db, message_id, now), LOST, now)
    again = sendings.record(db, claimed(db, message_id, now + MINUTE), LATER, now + MINUTE)
    assert isinstance(again, NotYet)
    assert (state(db, message_id), db.value("SELECT maybe_twice FROM messages")) == (
        "unknown",
        False,
    )
    third = claimed(db, message_id, again.due_at)
    assert sendings.record(db, third, ACCEPTED, again.due_at) is None
    assert db.value("SELECT maybe_twice FROM messages")


def test_what_cannot_be_sent_now_waits_longer_each_time(
    db: Db, message_id: UUID, now: datetime
) -> None:
    waits = []
    for _ in range(7):
        again = sendings.record(db, claimed(db, message_id, now), LATER, now)
        assert isinstance(again, NotYet)
        assert state(db, message_id) == "queued"
        waits.append((again.due_at - now).total_seconds())
        now = again.due_at
    assert waits == [30, 60, 120, 240, 480, 600, 600]


def test_after_a_day_it_is_of_no_use_any_more(db: Db, message_id: UUID, now: datetime) -> None:
    sendings.record(db, claimed(db, message_id, now), LATER, now)
    assert sendings.claim(db, message_id, late, now + 24 * HOUR) is None
    assert state(db, message_id) == "failed"


def test_after_a_day_a_doubt_stays_a_doubt(db: Db, message_id: UUID, now: datetime) -> None:
    sendings.record(db, claimed(db, message_id, now), LOST, now)
    assert sendings.claim(db, message_id, late, now + 24 * HOUR) is None
    assert state(db, message_id) == "unknown"


def test_a_refusal_is_final(db: Db, message_id: UUID, now: datetime) -> None:
    refused = SendAnswer("refused", "InvalidPhoneNumber")
    assert sendings.record(db, claimed(db, message_id, now), refused, now) is None
    assert state(db, message_id) == "failed"
    assert db.value("SELECT failure FROM messages") == "InvalidPhoneNumber"
    assert sendings.claim(db, message_id, late, now + HOUR) is None


def test_what_is_final_said_twice_is_tried_twice(db: Db, message_id: UUID, now: datetime) -> None:
    rejected = SendAnswer("later", "RejectedByGateway", twice_is_final=True)
    assert sendings.record(db, claimed(db, message_id, now), rejected, now) is not None
    assert sendings.record(db, claimed(db, message_id, now + MINUTE), rejected, now) is None
    assert state(db, message_id) == "failed"


def test_what_is_no_longer_to_be_said_is_not_sent(db: Db, bought: Purchase, now: datetime) -> None:
    (first, _) = orders.lock(db, bought.checkout_id)
    orders.note(db, [first.id], "delivery_code", now)
    found = db.value("SELECT id FROM messages WHERE class = 'code'")
    assert sendings.claim(db, found, lambda *_: None, now) is None
    assert state(db, found) == "failed"


def test_a_code_is_never_kept_in_the_clear(db: Db, bought: Purchase, now: datetime) -> None:
    (first, _) = orders.lock(db, bought.checkout_id)
    orders.note(db, [first.id], "delivery_code", now)
    found = db.value("SELECT id FROM messages WHERE class = 'code'")
    holder = claimed(db, found, now)
    assert holder.text.startswith(f"Code 4821, order {first.number}, ")
    assert "4821" not in repr(holder)
    sendings.record(db, holder, ACCEPTED, now)
    assert db.value("SELECT text FROM messages WHERE id = %s", [found]).startswith("Code {code}")


def test_each_order_has_its_code_in_a_message_of_its_own(
    db: Db, bought: Purchase, now: datetime
) -> None:
    def real(db: Db, name: str, order_id: UUID | None) -> str | None:
        assert (name, order_id is None) == ("code", False)
        return deliveries.code_of(db, order_id, RULES)  # type: ignore[arg-type]

    pay(db, bought, now)
    found = db.value("SELECT array_agg(id) FROM messages WHERE class = 'code'")
    taken = [sendings.claim(db, each, real, now) for each in found]
    of_orders = orders.lock(db, bought.checkout_id)
    codes = {order.number: deliveries.code_of(db, order.id, RULES) for order in of_orders}
    starts = {each.text[:21] for each in taken if isinstance(each, Claimed)}
    assert starts == {f"Code {code}, order {number}" for number, code in codes.items()}

    deliveries.new_code(db, of_orders[0].id, bought.buyer, now)
    orders.move(db, of_orders[0].id, "cancelled", now)
    (renewed,) = db.value(
        "SELECT array_agg(id) FROM messages WHERE class = 'code' AND trigger = 'code_renewed'"
    )
    assert sendings.claim(db, renewed, real, now) is None
    assert state(db, renewed) == "failed"


def test_the_answer_of_one_who_was_slower_than_his_claim_counts_only_if_it_was_sent(
    db: Db, message_id: UUID, now: datetime
) -> None:
    slow = claimed(db, message_id, now)
    quick = claimed(db, message_id, now + MINUTE)
    assert sendings.record(db, slow, LATER, now + MINUTE) is None
    assert state(db, message_id) == "sending"
    assert sendings.record(db, slow, ACCEPTED, now + MINUTE) is None
    assert sendings.record(db, quick, LOST, now + MINUTE) is None
    assert (state(db, message_id), db.value("SELECT maybe_twice FROM messages")) == ("sent", True)


# While the gateway takes nothing.


def test_without_balance_all_wait_but_one_that_tries(db: Db, market: Market, now: datetime) -> None:
    for who in (market.buyer, market.wanjiku):
        messages.of_member(db, "pin_changed", who, {}, now)
    first, second = db.value("SELECT array_agg(id) FROM messages")
    probe_at = now + sendings.PROBE_AFTER
    again = sendings.record(db, claimed(db, first, now), HALTED, now)
    assert again == NotYet(probe_at, "InsufficientBalance")
    assert open_incidents(db) == {sendings.HALTED}
    assert sendings.claim(db, second, late, now + MINUTE) == NotYet(
        probe_at, "the gateway takes no messages"
    )

    probe = claimed(db, second, probe_at)
    assert isinstance(sendings.claim(db, first, late, probe_at), NotYet)
    assert sendings.record(db, probe, ACCEPTED, probe_at) is None
    assert open_incidents(db) == set()
    claimed(db, first, probe_at + SECOND)


def test_a_network_that_fails_while_halted_proves_nothing(
    db: Db, message_id: UUID, now: datetime
) -> None:
    again = sendings.record(db, claimed(db, message_id, now), HALTED, now)
    assert isinstance(again, NotYet)
    sendings.record(db, claimed(db, message_id, again.due_at), LATER, again.due_at)
    assert open_incidents(db) == {sendings.HALTED}


# What it costs.


@pytest.mark.parametrize(
    ("cost", "priced"),
    [
        ("KES 0.8000", ("KES", 80_000)),
        ("KES 1", ("KES", 100_000)),
        ("USD 0.0079", ("USD", 790)),
        ("0", (None, 0)),
        ("free", (None, None)),
        (None, (None, None)),
    ],
)
def test_a_cost_is_kept_as_a_number(
    db: Db, message_id: UUID, now: datetime, cost: str | None, priced: tuple[str | None, int | None]
) -> None:
    answer = SendAnswer("accepted", "Success", "ATXid_1", cost)
    sendings.record(db, claimed(db, message_id, now), answer, now)
    kept = "SELECT json_build_array(cost_currency, cost_milli_cents) FROM messages"
    assert tuple(db.value(kept)) == priced


def test_what_an_order_cost_is_the_sum_of_its_messages(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    (first, _) = orders.lock(db, bought.checkout_id)
    found = "SELECT array_agg(id) FROM messages WHERE order_id = %(id)s"
    told_of = db.value(found, {"id": first.id})
    for number, message_id in enumerate(told_of):
        answer = SendAnswer("accepted", "Success", f"ATXid_{number}", "KES 0.8000")
        sendings.record(db, claimed(db, message_id, now), answer, now)
    spent = messages.cost_of_order(db, first.id)
    assert (spent.messages, spent.segments) == (len(told_of), len(told_of))
    assert spent.milli_cents == {"KES": 80_000 * len(told_of)}
    assert messages.cost_of_order(db, db.new_id()) == messages.Cost(0, 0, {})


# How much a phone may get, and when.


def test_a_flood_to_one_phone_is_held_back_and_told_of(
    db: Db, market: Market, now: datetime
) -> None:
    rules = Rules(sms_an_hour_max=3, sms_a_day_max=5)
    for _ in range(4):
        messages.of_member(db, "pin_changed", market.buyer, {}, now)
    *within, beyond = db.value("SELECT array_agg(id ORDER BY id) FROM messages")
    for each in within:
        assert isinstance(sendings.claim(db, each, late, now, rules=rules), Claimed)
    again = sendings.claim(db, beyond, late, now, rules=rules)
    assert again == NotYet(now + 10 * MINUTE, "that phone has had enough")
    assert open_incidents(db) == {"sms_flood"}
    an_hour_later = now + HOUR
    assert isinstance(sendings.claim(db, beyond, late, an_hour_later, rules=rules), Claimed)


def test_what_can_wait_waits_for_the_morning_and_is_dropped_if_it_is_outdated(
    db: Db, bought: Purchase, now: datetime
) -> None:
    pay(db, bought, now)
    (first, other) = orders.lock(db, bought.checkout_id)
    night, morning = now + 10 * HOUR, now + 19 * HOUR
    for order in (first, other):
        orders.note(db, [order.id], "accept_reminder", night)
    found = "SELECT id FROM messages WHERE trigger = 'accept_reminder' AND order_id = %(id)s"
    of_first, of_other = (db.value(found, {"id": order.id}) for order in (first, other))
    assert sendings.claim(db, of_first, late, night) == NotYet(morning, "it is night")
    deliveries.accept(db, first.id, first.seller_id, night + HOUR)
    assert sendings.claim(db, of_first, late, morning) is None
    assert state(db, of_first) == "failed"
    claimed(db, of_other, morning)


def test_a_receipt_does_not_wait_for_the_morning(db: Db, market: Market, now: datetime) -> None:
    night = now + 12 * HOUR
    messages.of_member(db, "pin_changed", market.buyer, {}, night)
    claimed(db, db.value("SELECT id FROM messages"), night)


def test_a_stop_spares_nobody_what_belongs_to_an_order(
    db: Db, bought: Purchase, now: datetime
) -> None:
    db.run("DELETE FROM messages")
    pay(db, bought, now)
    for phone in db.value("SELECT array_agg(msisdn) FROM members"):
        opt_outs.stop(db, phone, now)
    told_of = db.value("SELECT array_agg(id) FROM messages")
    assert len(told_of) == 5
    assert all(isinstance(sendings.claim(db, each, late, now), Claimed) for each in told_of)


# The channel last used.

CHAT = "7001"
REFUSED = SendAnswer("refused", "blocked")
BARRED = SendAnswer("refused", "UserInBlacklist")


def on_telegram(_db: Db, _msisdn: str) -> list[tuple[str, str]]:
    return [("telegram", CHAT), ("ussd", "+254711000001")]


def on_ussd(_db: Db, _msisdn: str) -> list[tuple[str, str]]:
    return [("ussd", "+254711000001"), ("telegram", CHAT)]


def kinds_due(db: Db, now: datetime) -> set[str]:
    return {item.kind for item in outbox.take_due(db, now, 100)}


def test_a_message_follows_its_receiver_to_telegram(
    db: Db, message_id: UUID, now: datetime
) -> None:
    kinds_due(db, now)
    assert sendings.claim(db, message_id, late, now, ways=on_telegram) is None
    assert kinds_due(db, now) == {"telegram_message"}
    assert sendings.claim(db, message_id, late, now) is None
    taken = sendings.claim(db, message_id, late, now, by="telegram")
    assert isinstance(taken, Claimed)
    assert taken.chat == CHAT
    sendings.record(db, taken, SendAnswer("accepted", "ok"), now)
    assert state(db, message_id) == "delivered"


def test_who_spoke_last_by_phone_is_told_by_sms(db: Db, message_id: UUID, now: datetime) -> None:
    assert isinstance(sendings.claim(db, message_id, late, now, ways=on_ussd), Claimed)


def test_what_telegram_refuses_goes_by_sms_once(db: Db, message_id: UUID, now: datetime) -> None:
    sendings.claim(db, message_id, late, now, ways=on_telegram)
    taken = sendings.claim(db, message_id, late, now, by="telegram")
    assert isinstance(taken, Claimed)
    kinds_due(db, now)
    assert sendings.record(db, taken, REFUSED, now) is None
    assert kinds_due(db, now + HOUR) >= {"sms"}
    by_sms = sendings.claim(db, message_id, late, now, ways=on_telegram)
    assert isinstance(by_sms, Claimed)
    assert by_sms.chat is None


def test_a_chat_that_is_lost_is_not_tried(db: Db, message_id: UUID, now: datetime) -> None:
    reach.lose(db, "telegram", CHAT, "blocked", now)
    assert isinstance(sendings.claim(db, message_id, late, now, ways=on_telegram), Claimed)


def test_whom_the_network_bars_is_told_on_telegram(db: Db, message_id: UUID, now: datetime) -> None:
    taken = sendings.claim(db, message_id, late, now, ways=on_ussd)
    assert isinstance(taken, Claimed)
    assert sendings.record(db, taken, BARRED, now) == NotYet(now, "UserInBlacklist")
    assert opt_outs.of(db, taken.msisdn) == {"all"}
    assert sendings.claim(db, message_id, late, now, ways=on_ussd) is None
    by_telegram = sendings.claim(db, message_id, late, now, by="telegram")
    assert isinstance(by_telegram, Claimed)
    assert by_telegram.chat == CHAT


def test_whom_nothing_reaches_an_operator_hears_of(db: Db, message_id: UUID, now: datetime) -> None:
    sendings.record(db, claimed(db, message_id, now), BARRED, now)
    assert sendings.claim(db, message_id, late, now) is None
    assert (state(db, message_id), open_incidents(db)) == ("failed", {"unreachable"})


def test_barred_by_both_it_is_tried_by_each_once(db: Db, message_id: UUID, now: datetime) -> None:
    taken = sendings.claim(db, message_id, late, now, ways=on_telegram)
    by_telegram = sendings.claim(db, message_id, late, now, by="telegram")
    assert (taken, isinstance(by_telegram, Claimed)) == (None, True)
    sendings.record(db, by_telegram, REFUSED, now)  # type: ignore[arg-type]
    by_sms = sendings.claim(db, message_id, late, now, ways=on_telegram)
    assert isinstance(by_sms, Claimed)
    assert sendings.record(db, by_sms, BARRED, now) is None
    assert (state(db, message_id), open_incidents(db)) == ("failed", {"unreachable"})


def test_a_report_that_somebody_opted_out_is_remembered(
    db: Db, message_id: UUID, now: datetime
) -> None:
    taken = claimed(db, message_id, now)
    sendings.record(db, taken, ACCEPTED, now)
    sendings.report(db, "ATXid_1", "failed", "UserInBlackList", now)
    assert opt_outs.of(db, taken.msisdn) == {"all"}


def test_a_halted_gateway_holds_nothing_back_that_goes_elsewhere(
    db: Db, market: Market, message_id: UUID, now: datetime
) -> None:
    sendings.record(db, claimed(db, message_id, now), HALTED, now)
    messages.of_member(db, "pin_changed", market.wanjiku, {}, now)
    other = db.value("SELECT id FROM messages WHERE id <> %s", [message_id])
    sendings.claim(db, other, late, now, ways=on_telegram)
    taken = sendings.claim(db, other, late, now, by="telegram")
    assert isinstance(taken, Claimed)
    sendings.record(db, taken, SendAnswer("accepted", "ok"), now)
    assert open_incidents(db) == {sendings.HALTED}


# Replies.


def test_a_screen_is_kept_once_and_quotes_what_it_likes(
    db: Db, market: Market, now: datetime
) -> None:
    quoting = "You wrote {code}.\n1 Yes"
    one, two = (
        messages.of_screen(db, "a:1", "+254711000001", "en", quoting, now) for _ in range(2)
    )
    assert one == two
    assert claimed(db, one, now).text == quoting


def test_a_reply_of_an_hour_ago_is_of_no_use(db: Db, now: datetime) -> None:
    screen = messages.of_screen(db, "a:1", "+254711000001", "en", "Choose", now)
    assert sendings.claim(db, screen, late, now + HOUR) is None
    assert state(db, screen) == "failed"


def test_a_reply_is_told_once_and_stays_on_sms(db: Db, now: datetime) -> None:
    for _ in range(2):
        messages.of_phone(db, "sms_help", "id", "+254711000001", "sw", {}, now)
    found = db.value("SELECT id FROM messages")
    taken = sendings.claim(db, found, late, now, ways=on_telegram)
    assert isinstance(taken, Claimed)
    assert taken.text.startswith("Sokoni: andika")


# Delivery reports.


@pytest.fixture
def sent(db: Db, message_id: UUID, now: datetime) -> UUID:
    sendings.record(db, claimed(db, message_id, now), ACCEPTED, now)
    return message_id


@pytest.mark.parametrize("final", ["delivered", "failed"])
def test_the_first_final_word_stands(db: Db, sent: UUID, now: datetime, final: Any) -> None:
    assert sendings.report(db, "ATXid_1", final, "why", now) == "taken"
    for other in ("delivered", "failed"):
        assert sendings.report(db, "ATXid_1", other, None, now + MINUTE) == "known"  # type: ignore[arg-type]
    assert state(db, sent) == final
    assert db.value("SELECT final_at FROM messages") == now
    assert db.value("SELECT count(*) FROM early_reports") == 0


def test_a_report_that_runs_ahead_of_the_answer_is_kept_for_it(
    db: Db, message_id: UUID, now: datetime
) -> None:
    holder = claimed(db, message_id, now)
    assert sendings.report(db, "ATXid_1", "failed", "UserInBlackList", now) == "early"
    assert sendings.report(db, "ATXid_1", "delivered", None, now) == "early"
    sendings.record(db, holder, ACCEPTED, now)
    assert state(db, message_id) == "failed"
    assert db.value("SELECT failure FROM messages") == "UserInBlackList"
    assert db.value("SELECT count(*) FROM early_reports") == 0


def test_a_report_on_what_nobody_sent_is_forgotten_in_time(
    db: Db, sent: UUID, now: datetime
) -> None:
    assert sendings.report(db, "ATXid_9", "delivered", None, now) == "early"
    assert state(db, sent) == "sent"
    assert sendings.tidy(db, now) == 0
    assert sendings.tidy(db, now + SECOND) == 1


def test_an_id_the_gateway_gives_twice_belongs_to_the_first(
    db: Db, sent: UUID, market: Market, now: datetime
) -> None:
    messages.of_member(db, "pin_changed", market.wanjiku, {}, now)
    other = db.value("SELECT id FROM messages WHERE id <> %s", [sent])
    sendings.record(db, claimed(db, other, now), ACCEPTED, now)
    assert state(db, other) == "sent"
    assert db.value("SELECT provider_id FROM messages WHERE id = %s", [other]) is None


# Whatever happens.

OUTCOMES = (
    "accepted",
    "lost_sent",
    "lost_unsent",
    "killed_before",
    "killed_after",
    "later",
    "halted",
)


@settings(max_examples=60, deadline=None)
@given(story=st.lists(st.sampled_from(OUTCOMES), max_size=8))
def test_no_message_is_lost_and_none_comes_three_times(database_url: str, story: list[str]) -> None:
    """However calls end: on the phone once, or twice and marked, or an operator is told."""
    with rolled_back(database_url) as db:
        now, market = NOW, open_market(db, NOW)
        messages.of_member(db, "pin_changed", market.buyer, {}, now)
        message_id = db.value("SELECT id FROM messages")
        on_the_phone = 0
        for outcome in [*story, *["accepted"] * 3]:
            taken = sendings.claim(db, message_id, late, now)
            if taken is None:
                break
            if isinstance(taken, NotYet):
                now = taken.due_at
                continue
            on_the_phone += outcome in ("accepted", "lost_sent", "killed_after")
            if outcome.startswith("killed"):
                now += MINUTE
                continue
            answer = {"accepted": ACCEPTED, "later": LATER, "halted": HALTED}.get(outcome, LOST)
            again = sendings.record(db, taken, answer, now)
            now = again.due_at if again else now
        last = state(db, message_id)
        marked = db.value("SELECT maybe_twice FROM messages")
        assert last in ("sent", "unknown")
        assert on_the_phone <= (2 if marked else 1)
        if last == "sent":
            assert on_the_phone >= 1
        else:
            assert marked
            assert "sms_unanswered" in open_incidents(db)
