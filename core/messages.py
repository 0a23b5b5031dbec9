"""Messages: what people are told by SMS, each once, followed from the queue to the phone.

Whoever changes something tells of it in the same transaction; the outbox's `sms` sends it. A
sending has no idempotency key at the gateway, so it is claimed, committed, called, recorded. After
a call whose outcome nobody knows the message is sent once more, and marked: it may have come twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa

from core import gsm, incidents, money, outbox, wordings
from core.database import Db, metadata
from core.wordings import Wording

# queued -> sending -> sent -> delivered | failed; never back, but where a call surely sent nothing.
# "unknown": it may have been sent. It is sent once more; if maybe_twice is set, it was.
STATES: Final = ("queued", "sending", "sent", "delivered", "failed", "unknown")

CLAIM_LOST_AFTER: Final = timedelta(seconds=60)  # the call itself ends after 13 s
REPEAT_AFTER: Final = timedelta(seconds=60)  # a call whose outcome nobody knows
LATER_MIN: Final = timedelta(seconds=30)
LATER_MAX: Final = timedelta(minutes=10)
PROBE_AFTER: Final = timedelta(minutes=5)  # while the gateway takes nothing from us
TOO_LATE_AFTER: Final = timedelta(hours=24)  # to be of use to anybody
HALTED: Final = "sms_halted"  # the incident while which sending stops
ORDERS_NAMED_MAX: Final = 3

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # trigger:subject:receiver
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("class", sa.Text, nullable=False),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("msisdn", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),  # what is wordings.LATE as its placeholder
    sa.Column("encoding", sa.Text, nullable=False),
    sa.Column("segments", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("maybe_twice", sa.Boolean, nullable=False),
    sa.Column("claimed_at", sa.DateTime(timezone=True)),
    sa.Column("provider_id", sa.Text, unique=True),
    sa.Column("cost", sa.Text),  # as the gateway says it, "KES 0.8000"
    sa.Column("failure", sa.Text),  # the last reason it was not sent or not delivered
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), index=True),  # of several, one
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("sent_at", sa.DateTime(timezone=True)),
    sa.Column("final_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("class IN ('code', 'receipt', 'alert', 'marketing')", name="class"),
    sa.CheckConstraint("encoding IN ('gsm', 'ucs2')", name="encoding"),
    sa.CheckConstraint("segments > 0", name="segments"),
    sa.CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="state"),
    sa.Index("ix_messages_member_id", "member_id", "created_at"),
)

# Final reports on messages whose provider_id we have not heard yet.
early_reports = sa.Table(
    "early_reports",
    metadata,
    sa.Column("provider_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("failure", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.CheckConstraint("state IN ('delivered', 'failed')", name="state"),
)

Late = Callable[[Db, str, UUID | None], str | None]


@dataclass(frozen=True)
class Claimed:
    """A message to be sent now, by its holder and nobody else."""

    id: UUID
    msisdn: str = field(repr=False)
    text: str = field(repr=False)
    attempt: int


@dataclass(frozen=True)
class NotYet:
    """Nothing is to be sent now; look again at due_at. reason: for whoever runs this."""

    due_at: datetime
    reason: str


@dataclass(frozen=True)
class SendAnswer:
    """What the gateway said to a sending, or that nobody knows.

    "refused": not sent, and never will be. "later": not sent, may be tried again; twice_is_final:
    but not after the same code twice; halts: nobody's message would be taken now, so all wait and
    an operator is told. "unknown": sent or not. code: the gateway's, or ours for a lost call.
    """

    outcome: Literal["accepted", "refused", "later", "unknown"]
    code: str
    provider_id: str | None = None
    cost: str | None = None
    twice_is_final: bool = False
    halts: bool = False


def of_orders(
    db: Db, kind: str, events: Mapping[UUID, UUID], detail: Mapping[str, object], now: datetime
) -> None:
    """Tell buyers and sellers what happened to these orders, or nobody where the table says so.

    events: the timeline's line by order. The trigger is the detail's reason where the table knows
    it, else the kind. Deadlines in the detail (dispatch_by, inspect_by) are ISO 8601.
    """
    known = wordings.table().triggers
    reason = detail.get("reason")
    trigger = reason if isinstance(reason, str) and reason in known else kind
    spoken = known[trigger]
    if not events or all(wording is None for wording in spoken.values()):
        return
    found = _orders(db, list(events))
    given = {name: _of_detail(name, value) for name, value in detail.items()}
    tellings = [
        _Telling(
            f"{trigger}:{events[group[0].id]}:{receiver}",
            trigger,
            wording,
            _receiver(group[0], receiver),
            {**_values(group), **given},
            group[0].id,
        )
        for receiver, wording in spoken.items()
        if wording is not None
        for group in _groups(found, receiver, wording)
    ]
    _queue(db, tellings, now)


def of_payment(
    db: Db,
    trigger: str,
    subject: object,
    checkout_id: UUID,
    values: Mapping[str, object],
    now: datetime,
) -> None:
    """Tell the buyer of a payment for her checkout. subject: the charge or the receipt."""
    ids = db.value(
        "SELECT array_agg(id) FROM orders WHERE checkout_id = %(id)s", {"id": checkout_id}
    )
    group = _orders(db, ids)
    wording = wordings.table().triggers[trigger]["buyer"]
    assert wording is not None, f"nobody is told of {trigger}"
    told = {**_values(group), **values}
    buyer = _receiver(group[0], "buyer")
    key = f"{trigger}:{subject}:buyer"
    _queue(db, [_Telling(key, trigger, wording, buyer, told, group[0].id)], now)


def of_member(
    db: Db, trigger: str, member_id: UUID, values: Mapping[str, object], now: datetime
) -> None:
    """Tell a member of what became of the account."""
    wording = wordings.table().triggers[trigger]["member"]
    assert wording is not None, f"nobody is told of {trigger}"
    member = db.row(
        _Member,
        """
        SELECT id, msisdn, name, language, deleted_at IS NULL AS is_here
        FROM members WHERE id = %(id)s
        """,
        {"id": member_id},
    )
    assert member is not None, f"no member {member_id}"
    key = f"{trigger}:{db.new_id()}:member"
    _queue(db, [_Telling(key, trigger, wording, member, values, None)], now)


def claim(db: Db, message_id: UUID, late: Late, now: datetime) -> Claimed | NotYet | None:
    """Take the right to send it now; commit, call the gateway once, then record.

    late: says what could not be said when the message was queued, for its order; None: it is no
    longer to be said, and the message goes nowhere. None: there is nothing to do any more.
    """
    message = _lock(db, message_id)
    doubted = message.state in ("sending", "unknown")
    if message.state in ("sent", "delivered", "failed"):
        return None
    if message.state == "sending":
        assert message.claimed_at is not None, f"message {message_id} is sending, unclaimed"
        lost_at = message.claimed_at + CLAIM_LOST_AFTER
        if now < lost_at:
            return NotYet(lost_at, "somebody is sending it")
    if doubted and message.maybe_twice:
        _give_up(db, message, now)
        return None
    if now >= message.created_at + TOO_LATE_AFTER:
        _end(db, message_id, "unknown" if doubted else "failed", "too_late", now)
        return None
    said = {}
    for name in wordings.late_in(message.text):
        value = late(db, name, message.order_id)
        if value is None:
            _end(db, message_id, "unknown" if doubted else "failed", "outdated", now)
            return None
        said[name] = value
    try_at = _may_try_at(db, now)
    if try_at > now:
        return NotYet(try_at, "the gateway takes no messages")
    text = wordings.complete(message.text, said)
    encoding, segments = gsm.parts(text)
    db.run(
        """
        UPDATE messages
        SET state = 'sending', claimed_at = %(now)s, updated_at = %(now)s,
            attempts = attempts + 1, maybe_twice = %(doubted)s, encoding = %(encoding)s,
            segments = %(segments)s
        WHERE id = %(id)s
        """,
        {
            "now": now,
            "doubted": doubted,
            "encoding": encoding,
            "segments": segments,
            "id": message_id,
        },
    )
    return Claimed(message_id, message.msisdn, text, message.attempts + 1)


def record(db: Db, claimed: Claimed, answer: SendAnswer, now: datetime) -> NotYet | None:
    """What came of the call. None: it is over; else when to claim it again.

    One that took so long that somebody else claimed the message counts only if it sent it.
    """
    message = _lock(db, claimed.id)
    _note_halt(db, answer, now)
    if answer.outcome == "accepted":
        _sent(db, message, answer, now)
        return None
    if message.state != "sending" or message.attempts != claimed.attempt:
        return None
    final = answer.twice_is_final and message.failure == answer.code
    if answer.outcome == "refused" or (final and not message.maybe_twice):
        _end(db, message.id, "failed", answer.code, now)
        return None
    if answer.outcome == "unknown":
        if message.maybe_twice:
            _give_up(db, message, now)
            return None
        _wait(db, message, "unknown", answer.code, now)
        return NotYet(now + REPEAT_AFTER, answer.code)
    # Surely not sent this time: as it was before this call.
    _wait(db, message, "unknown" if message.maybe_twice else "queued", answer.code, now)
    doublings = min(message.attempts - 1, 10)
    pause = PROBE_AFTER if answer.halts else min(LATER_MIN * 2**doublings, LATER_MAX)
    return NotYet(now + pause, answer.code)


def report(
    db: Db,
    provider_id: str,
    state: Literal["delivered", "failed"],
    failure: str | None,
    now: datetime,
) -> Literal["taken", "known", "early"]:
    """The gateway says what became of a message it took; the first final word stands.

    "early": we have not heard yet that it took such a message; kept for when we do.
    """
    _lock_provider_id(db, provider_id)
    taken = _apply(db, provider_id, state, failure, now)
    if taken:
        return "taken"
    if db.value("SELECT 1 FROM messages WHERE provider_id = %(id)s", {"id": provider_id}):
        return "known"
    db.run(
        """
        INSERT INTO early_reports (provider_id, state, failure, created_at)
        VALUES (%(id)s, %(state)s, %(failure)s, %(now)s)
        ON CONFLICT (provider_id) DO NOTHING
        """,
        {"id": provider_id, "state": state, "failure": failure, "now": now},
    )
    return "early"


def tidy(db: Db, before: datetime) -> int:
    """Forget reports from before then on messages that nobody ever owned to; how many."""
    return db.run("DELETE FROM early_reports WHERE created_at < %(before)s", {"before": before})


@dataclass(frozen=True)
class _Member:
    id: UUID
    msisdn: str = field(repr=False)
    name: str = field(repr=False)
    language: str
    is_here: bool  # who left is told nothing; the number may be somebody else's by now


@dataclass(frozen=True)
class _Order:
    id: UUID
    number: int
    total_cents: int
    fee_cents: int
    pay_by: datetime
    accept_by: datetime | None  # None: never paid
    deliver_on: date
    place: str
    buyer_id: UUID
    buyer_msisdn: str = field(repr=False)
    buyer_name: str = field(repr=False)
    buyer_language: str
    buyer_is_here: bool
    seller_id: UUID
    seller_msisdn: str = field(repr=False)
    seller_name: str = field(repr=False)
    seller_language: str
    seller_is_here: bool


@dataclass(frozen=True)
class _Telling:
    """One message to be: all that is needed to word it."""

    key: str
    trigger: str
    wording: Wording
    receiver: _Member
    values: Mapping[str, object]
    order_id: UUID | None


@dataclass(frozen=True)
class _Message:
    id: UUID
    msisdn: str = field(repr=False)
    text: str = field(repr=False)
    state: str
    attempts: int
    maybe_twice: bool
    claimed_at: datetime | None
    failure: str | None
    order_id: UUID | None
    created_at: datetime


def _orders(db: Db, ids: Sequence[UUID]) -> list[_Order]:
    return db.rows(
        _Order,
        """
        SELECT o.id, o.number, o.total_cents, o.fee_cents, o.pay_by, o.accept_by,
               o.deliver_on, p.name AS place,
               b.id AS buyer_id, b.msisdn AS buyer_msisdn, b.name AS buyer_name,
               b.language AS buyer_language, b.deleted_at IS NULL AS buyer_is_here,
               s.id AS seller_id, s.msisdn AS seller_msisdn, s.name AS seller_name,
               s.language AS seller_language, s.deleted_at IS NULL AS seller_is_here
        FROM orders o
        JOIN places p ON p.id = o.place_id
        JOIN members b ON b.id = o.buyer_id
        JOIN members s ON s.id = o.seller_id
        WHERE o.id = ANY(%(ids)s)
        ORDER BY o.number
        """,
        {"ids": list(ids)},
    )


def _groups(found: Sequence[_Order], receiver: str, wording: Wording) -> Iterator[list[_Order]]:
    """The orders of each message: all of one receiver's, or one each."""
    if receiver == "seller":  # who never heard of an order need not hear of its end
        found = [order for order in found if order.accept_by is not None]
    if not wording.for_several:
        yield from ([order] for order in found)
        return
    whose = attrgetter(f"{receiver}_id")
    for _, group in groupby(sorted(found, key=whose), key=whose):
        yield sorted(group, key=attrgetter("number"))


def _receiver(order: _Order, receiver: str) -> _Member:
    if receiver == "buyer":
        return _Member(
            order.buyer_id,
            order.buyer_msisdn,
            order.buyer_name,
            order.buyer_language,
            order.buyer_is_here,
        )
    return _Member(
        order.seller_id,
        order.seller_msisdn,
        order.seller_name,
        order.seller_language,
        order.seller_is_here,
    )


def _values(group: Sequence[_Order]) -> dict[str, object]:
    first = group[0]
    named = [str(order.number) for order in group[:ORDERS_NAMED_MAX]]
    more = len(group) - len(named)
    total_cents = sum(order.total_cents for order in group)
    return {
        "order": str(first.number),
        "orders": ", ".join(named) + (f" +{more}" if more else ""),
        "total": money.show(total_cents),
        "net": money.show(total_cents - sum(order.fee_cents for order in group)),
        "name": first.buyer_name,
        "seller": first.seller_name,
        "pay_by": first.pay_by,
        "accept_by": first.accept_by,
        "day": first.deliver_on,
        "place": first.place,
    }


def _of_detail(name: str, value: object) -> object:
    if name.endswith("_by") and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value


def _queue(db: Db, tellings: Sequence[_Telling], now: datetime) -> None:
    """Keep the messages, and ask for each to be sent. What was told before is not told again."""
    rows = [_worded(db, telling) for telling in tellings if telling.receiver.is_here]
    if not rows:
        return
    kept: list[UUID] | None = db.value(
        """
        WITH told AS (
            INSERT INTO messages (id, key, trigger, class, member_id, msisdn, language, text,
                                  encoding, segments, state, attempts, maybe_twice, order_id,
                                  created_at, updated_at)
            SELECT id, key, trigger, class, member_id, msisdn, language, text, encoding, segments,
                   'queued', 0, false, order_id, %(now)s, %(now)s
            FROM unnest(%(ids)s::uuid[], %(keys)s::text[], %(triggers)s::text[],
                        %(classes)s::text[], %(member_ids)s::uuid[], %(msisdns)s::text[],
                        %(languages)s::text[], %(texts)s::text[], %(encodings)s::text[],
                        %(segments)s::int[], %(order_ids)s::uuid[])
                AS m (id, key, trigger, class, member_id, msisdn, language, text, encoding,
                      segments, order_id)
            ON CONFLICT (key) DO NOTHING
            RETURNING id
        )
        SELECT array_agg(id) FROM told
        """,
        {"now": now, **{name: [row[name] for row in rows] for name in rows[0]}},
    )
    outbox.put_all(
        db, [outbox.Wanted("sms", now, {"message_id": message_id}) for message_id in kept or []]
    )


def _worded(db: Db, telling: _Telling) -> dict[str, object]:
    wording, receiver = telling.wording, telling.receiver
    spoken = receiver.language if receiver.language in wording.texts else wordings.FALLBACK
    text = wordings.fill(wording.texts[spoken], telling.values)
    encoding, segments = gsm.parts(text)  # counted anew when it is complete
    return {
        "ids": db.new_id(),
        "keys": telling.key,
        "triggers": telling.trigger,
        "classes": wording.kind,
        "member_ids": receiver.id,
        "msisdns": receiver.msisdn,
        "languages": spoken,
        "texts": text,
        "encodings": encoding,
        "segments": segments,
        "order_ids": telling.order_id,
    }


def _lock(db: Db, message_id: UUID) -> _Message:
    message = db.row(
        _Message,
        """
        SELECT id, msisdn, text, state, attempts, maybe_twice, claimed_at, failure, order_id,
               created_at
        FROM messages WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        {"id": message_id},
    )
    assert message is not None, f"no message {message_id}"
    return message


def _sent(db: Db, message: _Message, answer: SendAnswer, now: datetime) -> None:
    if message.state in ("sent", "delivered", "failed"):
        return
    if answer.provider_id is not None:
        _lock_provider_id(db, answer.provider_id)
    db.run(
        """
        UPDATE messages
        SET state = 'sent', sent_at = %(now)s, updated_at = %(now)s, cost = %(cost)s,
            failure = NULL,
            provider_id = CASE WHEN NOT EXISTS (
                SELECT FROM messages WHERE provider_id = %(provider_id)s) THEN %(provider_id)s END
        WHERE id = %(id)s
        """,
        {
            "now": now,
            "cost": answer.cost,
            "provider_id": answer.provider_id,
            "id": message.id,
        },
    )
    early = db.row(
        _Report,
        "DELETE FROM early_reports WHERE provider_id = %(id)s RETURNING state, failure",
        {"id": answer.provider_id},
    )
    if early is not None and answer.provider_id is not None:
        _apply(db, answer.provider_id, early.state, early.failure, now)


@dataclass(frozen=True)
class _Report:
    state: str
    failure: str | None


def _apply(db: Db, provider_id: str, state: str, failure: str | None, now: datetime) -> bool:
    return (
        db.run(
            """
            UPDATE messages
            SET state = %(state)s, failure = %(failure)s, final_at = %(now)s, updated_at = %(now)s
            WHERE provider_id = %(provider_id)s AND state = 'sent'
            """,
            {"state": state, "failure": failure, "now": now, "provider_id": provider_id},
        )
        == 1
    )


def _lock_provider_id(db: Db, provider_id: str) -> None:
    """A report and the answer it runs ahead of wait for each other: neither misses the other."""
    db.run(
        "SELECT pg_advisory_xact_lock(hashtextextended('message ' || %(id)s, 0))",
        {"id": provider_id},
    )


def _wait(db: Db, message: _Message, state: str, code: str, now: datetime) -> None:
    db.run(
        """
        UPDATE messages
        SET state = %(state)s, maybe_twice = false, failure = %(code)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "code": code, "now": now, "id": message.id},
    )


def _end(db: Db, message_id: UUID, state: str, failure: str, now: datetime) -> None:
    db.run(
        """
        UPDATE messages
        SET state = %(state)s, failure = %(failure)s, final_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "failure": failure, "now": now, "id": message_id},
    )


def _give_up(db: Db, message: _Message, now: datetime) -> None:
    """Two calls, and of neither we know what it did: a third could only make it worse."""
    _end(db, message.id, "unknown", "no_answer", now)
    incidents.open(db, "sms_unanswered", "sms", now, message_id=str(message.id))


def _may_try_at(db: Db, now: datetime) -> datetime:
    """While halted one message tries from time to time, whichever comes first."""
    halted = incidents.find_open(db, HALTED, "sms")
    if halted is None:
        return now
    next_at = datetime.fromisoformat(halted.detail["tried_at"]) + PROBE_AFTER
    if next_at <= now:
        incidents.amend(db, halted.id, tried_at=now.isoformat())
        return now
    return next_at


def _note_halt(db: Db, answer: SendAnswer, now: datetime) -> None:
    if answer.halts:
        incidents.open(db, HALTED, "sms", now, code=answer.code, tried_at=now.isoformat())
    elif answer.outcome in ("accepted", "refused"):
        halted = incidents.find_open(db, HALTED, "sms")
        if halted is not None:
            incidents.close(db, halted.id, "the gateway takes messages again", now)
