"""Messages: what people are told, each once, in the transaction of what it tells of.

The outbox's `sms` sends it, or hands it to `telegram_message` where the receiver spoke to us there
last (core.sendings).
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Final
from uuid import UUID, uuid5

import sqlalchemy as sa

from core import gsm, money, names, wordings
from core.database import Db, metadata
from core.phone import is_kenyan_mobile
from core.records import records
from core.rules import Rules
from core.wordings import Wording
from core.worth import Worth

# queued -> sending -> sent -> delivered | failed; never back, but where a call surely sent nothing.
# "unknown": it may have been sent. It is sent once more; if maybe_twice is set, it was.
STATES: Final = ("queued", "sending", "sent", "delivered", "failed", "unknown")

SCREEN: Final = "screen"  # the trigger of a conversation's screen
DEAL: Final = "deal_"  # of an order without lines, before the trigger
ORDERS_NAMED_MAX: Final = 3

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # trigger:subject:receiver
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("class", sa.Text, nullable=False),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id")),  # NULL: a stranger's
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
    sa.Column("channel", sa.Text),  # NULL: it is chosen when it is sent
    sa.Column("address", sa.Text),  # the Telegram chat it was to go to; it may have come by SMS
    sa.Column("can_wait", sa.Boolean, nullable=False, server_default=sa.false()),  # until morning
    sa.Column("batch_id", sa.Uuid),  # of a broadcast: those sent together
    sa.Column("cost", sa.Text),  # as the gateway says it, "KES 0.8000"
    sa.Column("cost_currency", sa.Text),
    sa.Column("cost_milli_cents", sa.BigInteger),  # KES 0.8000 is 80,000
    sa.Column("failure", sa.Text),  # the last reason it was not sent or not delivered
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), index=True),  # of several, one
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("sent_at", sa.DateTime(timezone=True)),
    sa.Column("final_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("class IN ('code', 'receipt', 'alert', 'marketing', 'reply')", name="class"),
    sa.CheckConstraint("channel IN ('sms', 'telegram')", name="channel"),
    sa.CheckConstraint("encoding IN ('gsm', 'ucs2')", name="encoding"),
    sa.CheckConstraint("segments > 0", name="segments"),
    sa.CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="state"),
    sa.Index("ix_messages_member_id", "member_id", "created_at"),
    sa.Index("ix_messages_msisdn", "msisdn", "claimed_at"),
    sa.Index("ix_messages_batch_id", "batch_id", postgresql_where=sa.text("batch_id IS NOT NULL")),
)


def of_orders(
    db: Db, kind: str, events: Mapping[UUID, UUID], detail: Mapping[str, object], now: datetime
) -> None:
    """Tell buyers and sellers what happened to these orders, or nobody where the table says so.

    events: the timeline's line by order. The trigger is the detail's reason where the table knows
    it, else the kind; of an order that two people agreed on, the table may have other words, under
    deal_<trigger>. Deadlines in the detail (dispatch_by, inspect_by) are ISO 8601.
    """
    known = wordings.table().triggers
    reason = detail.get("reason")
    trigger = reason if isinstance(reason, str) and reason in known else kind
    of_deals = f"{DEAL}{trigger}"
    if "buyer" not in known.get(of_deals, ()):  # or it is of a deal that is no order yet
        of_deals = trigger
    said = [wording for name in (trigger, of_deals) for wording in known[name].values()]
    if not events or all(wording is None for wording in said):
        return
    found = _orders(db, list(events))
    given = {name: _of_detail(name, value) for name, value in detail.items()}
    tellings = [
        _Telling(
            f"{spoken}:{events[group[0].id]}:{receiver}",
            spoken,
            wording,
            _receiver(group[0], receiver),
            {**_values(group), **given},
            group[0].id,
        )
        for spoken, of_them in (
            (trigger, [order for order in found if not order.is_deal]),
            (of_deals, [order for order in found if order.is_deal]),
        )
        for receiver, wording in known[spoken].items()
        if wording is not None
        for group in _groups(_concerned(of_them, receiver, known[spoken]), receiver, wording)
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


def of_payer(
    db: Db,
    trigger: str,
    subject: UUID,
    checkout_id: UUID,
    msisdn: str,
    values: Mapping[str, object],
    now: datetime,
) -> None:
    """Tell whoever pays for somebody else, once of each subject.

    In the payer's own language if that phone is a member's, else in the buyer's.
    """
    ids = db.value(
        "SELECT array_agg(id) FROM orders WHERE checkout_id = %(id)s", {"id": checkout_id}
    )
    group = _orders(db, ids)
    language = language_of(db, msisdn) or group[0].buyer_language
    of_phone(
        *(db, trigger, str(uuid5(subject, msisdn)), msisdn, language),
        {**_values(group), **values},
        now,
        order_id=group[0].id,
    )


def of_member(
    db: Db, trigger: str, member_id: UUID, values: Mapping[str, object], now: datetime
) -> None:
    """Tell a member of what became of the account."""
    wording = wordings.table().triggers[trigger]["member"]
    assert wording is not None, f"nobody is told of {trigger}"
    member = db.row(
        _Receiver,
        """
        SELECT id, coalesce(msisdn, '') AS msisdn, name, language,
               deleted_at IS NULL AND msisdn IS NOT NULL AS is_here
        FROM members WHERE id = %(id)s
        """,
        {"id": member_id},
    )
    assert member is not None, f"no member {member_id}"
    key = f"{trigger}:{db.new_id()}:member"
    _queue(db, [_Telling(key, trigger, wording, member, values, None)], now)


def of_phone(
    db: Db,
    trigger: str,
    key: str,
    msisdn: str,
    language: str,
    values: Mapping[str, object],
    now: datetime,
    *,
    member_id: UUID | None = None,
    order_id: UUID | None = None,
) -> None:
    """Tell a phone, whosever it is. key: of what is answered or told, for that is done once."""
    wording = wordings.table().triggers[trigger]["phone"]
    assert wording is not None, f"nobody is told of {trigger}"
    phone = _Receiver(member_id, msisdn, "", language, True)
    _queue(db, [_Telling(f"{trigger}:{key}:phone", trigger, wording, phone, values, order_id)], now)


def of_screen(
    db: Db,
    key: str,
    msisdn: str,
    language: str,
    text: str,
    now: datetime,
    *,
    member_id: UUID | None = None,
    order_id: UUID | None = None,
) -> UUID:
    """The screen of a conversation as an SMS, once for each key; whoever asked for it sends it."""
    encoding, segments = gsm.parts(text)
    db.run(
        """
        INSERT INTO messages (id, key, trigger, class, member_id, msisdn, language, text, encoding,
                              segments, state, attempts, maybe_twice, channel, can_wait, order_id,
                              created_at, updated_at)
        VALUES (%(id)s, %(key)s, %(trigger)s, 'reply', %(member_id)s, %(msisdn)s, %(language)s,
                %(text)s, %(encoding)s, %(segments)s, 'queued', 0, false, 'sms', false,
                %(order_id)s, %(now)s, %(now)s)
        ON CONFLICT (key) DO NOTHING
        """,
        {
            "id": db.new_id(),
            "key": f"{SCREEN}:{key}",
            "trigger": SCREEN,
            "member_id": member_id,
            "msisdn": msisdn,
            "language": language,
            "text": text,
            "encoding": encoding,
            "segments": segments,
            "order_id": order_id,
            "now": now,
        },
    )
    found: UUID = db.value(
        "SELECT id FROM messages WHERE key = %(key)s", {"key": f"{SCREEN}:{key}"}
    )
    return found


def language_of(db: Db, msisdn: str) -> str | None:
    """What is spoken at this phone; None: it is no member's."""
    found: str | None = db.value(
        """
        SELECT language FROM members WHERE msisdn = %(msisdn)s AND deleted_at IS NULL
        ORDER BY person LIMIT 1
        """,
        {"msisdn": msisdn},
    )
    return found


def told_since(db: Db, trigger: str, msisdn: str, since: datetime) -> bool:
    """Whether this phone was told this from then on, by whatever channel."""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM messages
                           WHERE trigger = %(trigger)s AND msisdn = %(msisdn)s
                             AND created_at > %(since)s)
            """,
            {"trigger": trigger, "msisdn": msisdn, "since": since},
        )
    )


@dataclass(frozen=True)
class Told:
    """A message as its receiver may see it again: what is secret in it is hidden."""

    id: UUID
    text: str = field(repr=False)
    at: datetime


def last_of(db: Db, member_id: UUID, limit: int, rules: Rules | None = None) -> list[Told]:
    """What a member was told last, the newest first; what answered her own words is left out."""
    found = db.rows(
        Told,
        """
        SELECT id, text, created_at AS at FROM messages
        WHERE member_id = %(member_id)s AND class <> 'reply' AND state <> 'failed'
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
        """,
        {"member_id": member_id, "limit": limit},
    )
    rules = rules or Rules()
    shown = {"code": wordings.HIDDEN, "dial": rules.dial_code, "paybill": rules.paybill}
    return [Told(told.id, wordings.complete(told.text, shown), told.at) for told in found]


@dataclass(frozen=True)
class Cost:
    """What messages cost. milli_cents: by currency; KES 0.8000 is 80,000."""

    messages: int
    segments: int
    milli_cents: Mapping[str, int]


def cost_of_order(db: Db, order_id: UUID) -> Cost:
    """What was spent on telling people of an order; a message of several is one order's."""
    spent = db.rows(
        _Spent,
        """
        SELECT cost_currency AS currency, count(*) AS messages, sum(segments)::bigint AS segments,
               coalesce(sum(cost_milli_cents), 0)::bigint AS milli_cents
        FROM messages
        WHERE order_id = %(order_id)s AND channel = 'sms' AND sent_at IS NOT NULL
        GROUP BY cost_currency
        """,
        {"order_id": order_id},
    )
    return Cost(
        sum(each.messages for each in spent),
        sum(each.segments for each in spent),
        {each.currency: each.milli_cents for each in spent if each.currency is not None},
    )


@dataclass(frozen=True)
class _Receiver:
    id: UUID | None  # None: a phone that no member has
    msisdn: str = field(repr=False)
    name: str = field(repr=False)
    language: str
    is_here: bool  # who left, or has no number, is told nothing; it may be somebody else's by now


@dataclass(frozen=True)
class _Spent:
    currency: str | None
    messages: int
    segments: int
    milli_cents: int


@dataclass(frozen=True)
class _Order(Worth):
    id: UUID
    checkout_id: UUID
    number: int
    pay_by: datetime
    accept_by: datetime | None  # None: never paid
    deliver_on: date
    is_deal: bool
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
    seller_stays_unpaid: bool
    receiver_msisdn: str | None = field(repr=False)  # None: the buyer receives it
    receiver_name: str | None = field(repr=False)
    receiver_language: str

    @property
    def seller_is_keeper(self) -> bool:
        """What he earned is not sent now, as core.earnings will find."""
        return self.seller_stays_unpaid or not is_kenyan_mobile(self.seller_msisdn)


@dataclass(frozen=True)
class _Telling:
    """One message to be: all that is needed to word it."""

    key: str
    trigger: str
    wording: Wording
    receiver: _Receiver
    values: Mapping[str, object]
    order_id: UUID | None


def _orders(db: Db, ids: Sequence[UUID]) -> list[_Order]:
    return db.rows(
        _Order,
        """
        SELECT o.id, o.checkout_id, o.number, o.state, o.total_cents AS placed_cents,
               o.fee_cents AS placed_fee_cents, o.reduced_cents, o.came_cents, o.pay_by,
               o.accept_by, o.deliver_on, o.title IS NOT NULL AS is_deal,
               p.name AS place,
               b.id AS buyer_id, coalesce(b.msisdn, '') AS buyer_msisdn, b.name AS buyer_name,
               b.language AS buyer_language,
               b.deleted_at IS NULL AND b.msisdn IS NOT NULL AS buyer_is_here,
               s.id AS seller_id, coalesce(s.msisdn, '') AS seller_msisdn, s.name AS seller_name,
               s.language AS seller_language,
               s.deleted_at IS NULL AND s.msisdn IS NOT NULL AS seller_is_here,
               NOT s.paid_at_once
                   OR EXISTS (SELECT FROM freezes f
                              WHERE f.member_id = s.id AND f.lifted_at IS NULL)
                   OR coalesce((SELECT a.balance_cents FROM accounts a
                                WHERE a.kind = 'L.seller' AND a.owner_id = s.id), 0)
                       < %(payout_cents_min)s AS seller_stays_unpaid,
               o.receiver_msisdn, o.receiver_name,
               coalesce((SELECT r.language FROM members r
                         WHERE r.msisdn = o.receiver_msisdn AND r.deleted_at IS NULL
                         ORDER BY r.person LIMIT 1), b.language) AS receiver_language
        FROM orders o
        JOIN places p ON p.id = o.place_id
        JOIN members b ON b.id = o.buyer_id
        JOIN members s ON s.id = o.seller_id
        WHERE o.id = ANY(%(ids)s)
        ORDER BY o.number
        """,
        {"ids": list(ids), "payout_cents_min": money.PAYOUT_CENTS_MIN},
    )


def _concerned(found: Sequence[_Order], receiver: str, spoken: Container[str]) -> list[_Order]:
    """The orders of which this receiver is to hear.

    A buyer whose goods somebody else receives is their giver, and a seller whose money is not sent
    on at once (he wants it so, is frozen, has no M-Pesa, or it is too little) is its keeper, where
    there are words for that.
    """
    heard_of = [order for order in found if order.accept_by is not None]
    match receiver:
        case "seller":  # who never heard of an order need not hear of its end
            any_way = wordings.KEEPER not in spoken
            return [
                order
                for order in found
                if (order.is_deal or order.accept_by is not None)
                and (any_way or not order.seller_is_keeper)
            ]
        case wordings.KEEPER:
            return [order for order in heard_of if order.seller_is_keeper]
        case "receiver":
            return [order for order in heard_of if order.receiver_msisdn is not None]
        case "giver":
            return [order for order in found if order.receiver_msisdn is not None]
        case _:
            any_way = "giver" not in spoken
            return [order for order in found if any_way or order.receiver_msisdn is None]


def _groups(found: Sequence[_Order], receiver: str, wording: Wording) -> Iterator[list[_Order]]:
    """The orders of each message: all of one checkout that are one receiver's, or one each."""
    if not wording.for_several:
        yield from ([order] for order in found)
        return
    whose = attrgetter("checkout_id", "seller_id" if receiver == "seller" else "buyer_id")
    for _, group in groupby(sorted(found, key=whose), key=whose):
        yield sorted(group, key=attrgetter("number"))


def _receiver(order: _Order, receiver: str) -> _Receiver:
    if receiver == "receiver":
        assert order.receiver_msisdn is not None, f"order {order.id} has no other receiver"
        return _Receiver(None, order.receiver_msisdn, "", order.receiver_language, True)
    if receiver in ("buyer", "giver"):
        return _Receiver(
            order.buyer_id,
            order.buyer_msisdn,
            order.buyer_name,
            order.buyer_language,
            order.buyer_is_here,
        )
    return _Receiver(
        order.seller_id,
        order.seller_msisdn,
        order.seller_name,
        order.seller_language,
        order.seller_is_here,
    )


def _values(group: Sequence[_Order]) -> dict[str, object]:
    """buyer: by a first name, which is all that is told to whoever pays for her or receives it."""
    first = group[0]
    named = [str(order.number) for order in group[:ORDERS_NAMED_MAX]]
    more = len(group) - len(named)
    return {
        "order": str(first.number),
        "orders": ", ".join(named) + (f" +{more}" if more else ""),
        "total": money.show(sum(order.total_cents for order in group)),
        "net": money.show(sum(order.net_cents for order in group)),
        "name": first.buyer_name,
        "buyer": names.called(first.buyer_name),
        "receiver": names.called(first.receiver_name or first.buyer_name),
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
    db.run(
        """
        WITH given AS MATERIALIZED (
            SELECT * FROM json_to_recordset(%(rows)s::json)
                AS m (id uuid, work uuid, key text, trigger text, class text, member_id uuid,
                      msisdn text, language text, text text, encoding text, segments int,
                      channel text, can_wait boolean, order_id uuid)
        ), told AS (
            INSERT INTO messages (id, key, trigger, class, member_id, msisdn, language, text,
                                  encoding, segments, state, attempts, maybe_twice, channel,
                                  can_wait, order_id, created_at, updated_at)
            SELECT id, key, trigger, class, member_id, msisdn, language, text, encoding, segments,
                   'queued', 0, false, channel, can_wait, order_id, %(now)s, %(now)s
            FROM given
            ON CONFLICT (key) DO NOTHING
            RETURNING id
        )
        INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
        SELECT work, 'sms', jsonb_build_object('message_id', id), %(now)s, 0, %(now)s
        FROM told JOIN given USING (id)
        """,
        {"rows": records(rows), "now": now},
    )


def _worded(db: Db, telling: _Telling) -> dict[str, object]:
    wording, receiver = telling.wording, telling.receiver
    spoken = receiver.language if receiver.language in wording.texts else wordings.FALLBACK
    text = wordings.fill(wording.texts[spoken], telling.values)
    encoding, segments = gsm.parts(text)  # counted anew when it is complete
    return {
        "id": db.new_id(),
        "work": db.new_id(),
        "key": telling.key,
        "trigger": telling.trigger,
        "class": wording.kind,
        "member_id": receiver.id,
        "msisdn": receiver.msisdn,
        "language": spoken,
        "text": text,
        "encoding": encoding,
        "segments": segments,
        "channel": "sms" if wording.by_sms else None,
        "can_wait": wording.can_wait,
        "order_id": telling.order_id,
    }
