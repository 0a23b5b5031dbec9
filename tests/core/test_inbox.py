"""Inbox: what came is kept as it came, once; and an incident is told once."""

from datetime import datetime

from core import inbox, incidents, outbox
from core.database import Db

BODY = b'{"Body": "\xff\x00 anything at all"}'


def keep(db: Db, now: datetime, body: bytes = BODY, key: str = "RCPT000001") -> object:
    return inbox.keep(db, "c2b", key, body, {"Content-Type": "text/html"}, "127.0.0.1", now)


def test_a_body_is_kept_byte_for_byte(db: Db, now: datetime) -> None:
    item_id = inbox.keep(db, "c2b", "key", BODY, {}, "127.0.0.1", now)
    assert item_id is not None
    item = inbox.item(db, item_id)
    assert item is not None
    assert (item.source, item.key, item.body, item.received_at) == ("c2b", "key", BODY, now)
    assert item.processed_at is None


def test_its_settlement_is_asked_for_at_once(db: Db, now: datetime) -> None:
    item_id = keep(db, now)
    (task,) = outbox.take_due(db, now, 10)
    assert (task.kind, task.arguments) == ("settle_inbox", {"inbox_id": str(item_id)})


def test_a_repeat_is_noticed_and_asks_for_nothing(db: Db, now: datetime) -> None:
    assert keep(db, now) is not None
    assert keep(db, now) is None
    assert len(outbox.take_due(db, now, 10)) == 1


def test_another_body_or_key_is_no_repeat(db: Db, now: datetime) -> None:
    kept = [keep(db, now), keep(db, now, b"other"), keep(db, now, key="RCPT000002")]
    assert None not in kept


def test_what_became_of_it_is_kept_beside_it(db: Db, now: datetime) -> None:
    item_id = inbox.keep(db, "stk", "key", BODY, {}, "127.0.0.1", now)
    assert item_id is not None
    inbox.processed(db, item_id, "paid", now)
    item = inbox.item(db, item_id)
    assert item is not None
    assert (item.processed_at, item.outcome) == (now, "paid")


def test_a_body_does_not_show_where_it_may_be_logged(db: Db, now: datetime) -> None:
    item_id = inbox.keep(db, "stk", "key", BODY, {}, "127.0.0.1", now)
    assert item_id is not None
    assert "anything" not in repr(inbox.item(db, item_id))


def test_an_incident_is_open_once_for_its_subject(db: Db, now: datetime) -> None:
    assert incidents.open(db, "stale_balance", "L.buyer", now, cents=5) is not None
    assert incidents.open(db, "stale_balance", "L.buyer", now, cents=6) is None
    assert incidents.open(db, "stale_balance", "L.seller", now) is not None
    db.run("UPDATE incidents SET closed_at = opened_at")
    assert incidents.open(db, "stale_balance", "L.buyer", now) is not None
