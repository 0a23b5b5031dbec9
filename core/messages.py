"""Messages: what people are told, each once, followed from the queue to the phone.

Whoever changes something tells of it in the same transaction; the outbox's `sms` sends it, or hands
it to `telegram_message` where the receiver spoke to us there last. A sending has no idempotency key
at the gateway, so it is claimed, committed, called, recorded. After a call whose outcome nobody
knows the message is sent once more, and marked: it may have come twice.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal
from uuid import UUID, uuid5

import sqlalchemy as sa

from core import gsm, incidents, money, opt_outs, outbox, quiet, reach, wordings
from core.database import Db, metadata
from core.phone import is_kenyan_mobile
from core.records import records
from core.rules import Rules
from core.wordings import Wording
from core.worth import Worth

# queued -> sending -> sent -> delivered | failed; never back, but where a call surely sent nothing.
# "unknown": it may have been sent. It is sent once more; if maybe_twice is set, it was.
STATES: Final = ("queued", "sending", "sent", "delivered", "failed", "unknown")

CLAIM_LOST_AFTER: Final = timedelta(seconds=60)  # the call itself ends after 13 s
REPEAT_AFTER: Final = timedelta(seconds=60)  # a call whose outcome nobody knows
LATER_MIN: Final = timedelta(seconds=30)
LATER_MAX: Final = timedelta(minutes=10)
PROBE_AFTER: Final = timedelta(minutes=5)  # while the gateway takes nothing from us
TOO_LATE_AFTER: Final = timedelta(hours=24)  # to be of use to anybody
REPLY_TOO_LATE_AFTER: Final = timedelta(hours=1)
FULL_AFTER: Final = timedelta(minutes=10)  # while a phone has had as much as it may
HALTED: Final = "sms_halted"  # the incident while which sending stops
BARRED: Final = frozenset({"UserInBlacklist", "UserInBlackList"})  # answered; reported
SCREEN: Final = "screen"  # the trigger of a conversation's screen
DEAL: Final = "deal_"  # of an order without lines, before the trigger
ORDERS_NAMED_MAX: Final = 3

Channel = Literal["sms", "telegram"]

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
# The channels and addresses by which a phone's owner spoke to us, the newest first.
Ways = Callable[[Db, str], Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Claimed:
    """A message to be sent now, by its holder and nobody else. chat: the Telegram one, if there."""

    id: UUID
    msisdn: str = field(repr=False)
    text: str = field(repr=False)
    attempt: int
    chat: str | None = field(default=None, repr=False)


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


def chat_of(db: Db, message_id: UUID) -> str | None:
    """The Telegram chat that it goes to; None: it goes by SMS."""
    found: str | None = db.value(
        "SELECT address FROM messages WHERE id = %(id)s AND channel = 'telegram'",
        {"id": message_id},
    )
    return found


def claim(
    db: Db,
    message_id: UUID,
    late: Late,
    now: datetime,
    *,
    by: Channel = "sms",
    rules: Rules | None = None,
    ways: Ways | None = None,
) -> Claimed | NotYet | None:
    """Take the right to send it now; commit, call the gateway once, then record.

    late: says what could not be said when the message was queued, for its order; None: it is no
    longer to be said, and the message goes nowhere. by: whose the claim would be; an SMS that goes
    to a Telegram chat (ways) is handed over to `telegram_message`. None: there is nothing to do.
    """
    message = _lock(db, message_id)
    doubted = message.state in ("sending", "unknown")
    if message.state in ("sent", "delivered", "failed") or by != (message.channel or "sms"):
        return None
    if message.state == "sending":
        assert message.claimed_at is not None, f"message {message_id} is sending, unclaimed"
        lost_at = message.claimed_at + CLAIM_LOST_AFTER
        if now < lost_at:
            return NotYet(lost_at, "somebody is sending it")
    if doubted and message.maybe_twice:
        _give_up(db, message, now)
        return None
    if message.member_is_at not in (None, message.msisdn):
        moved = _follow(db, message, by, now)
        if moved is None:
            return None
        message = moved
    standing = _standing(db, message, now)
    if over := _over(db, message, standing, now):
        _end(db, message_id, "unknown" if doubted else "failed", over, now)
        return None
    said = {}
    for name in message.waits_for:
        value = late(db, name, message.order_id)
        if value is None:
            _end(db, message_id, "unknown" if doubted else "failed", "outdated", now)
            return None
        said[name] = value
    if message.can_wait and (morning := quiet.over_at(now, rules or Rules())) > now:
        return NotYet(morning, "it is night")
    if (
        message.channel is None
        and message.kind != "reply"
        and _elsewhere(db, message, standing, ways, now)
    ):
        return None
    if by == "sms":
        wait = _wait_for_room(db, message, standing, rules or Rules(), now)
        wait = wait or _wait_for_gateway(db, now)
        if wait is not None:
            return wait
    text = wordings.complete(message.text, said)
    encoding, segments = gsm.parts(text)
    db.run(
        """
        UPDATE messages
        SET state = 'sending', claimed_at = %(now)s, updated_at = %(now)s, channel = %(by)s,
            attempts = attempts + 1, maybe_twice = %(doubted)s, encoding = %(encoding)s,
            segments = %(segments)s
        WHERE id = %(id)s
        """,
        {
            "now": now,
            "by": by,
            "doubted": doubted,
            "encoding": encoding,
            "segments": segments,
            "id": message_id,
        },
    )
    chat = message.address if by == "telegram" else None
    return Claimed(message_id, message.msisdn, text, message.attempts + 1, chat)


def record(db: Db, claimed: Claimed, answer: SendAnswer, now: datetime) -> NotYet | None:
    """What came of the call. None: it is over; else when to claim it again.

    One that took so long that somebody else claimed the message counts only if it sent it. What
    Telegram refuses goes by SMS; what the network bars goes by Telegram, if it can.
    """
    message = _lock(db, claimed.id)
    if claimed.chat is None:
        _note_halt(db, answer, now)
    if answer.outcome == "accepted":
        _sent(db, message, claimed, answer, now)
        return None
    if message.state != "sending" or message.attempts != claimed.attempt:
        return None
    final = answer.twice_is_final and message.failure == answer.code
    if answer.outcome == "refused" or (final and not message.maybe_twice):
        return _refused(db, message, claimed, answer.code, now)
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
    if (msisdn := _apply(db, provider_id, state, failure, now)) is not None:
        if failure in BARRED:
            opt_outs.bar(db, msisdn, now)
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


def tidy(db: Db, before: datetime) -> int:
    """Forget reports from before then on messages that nobody ever owned to; how many."""
    return db.run("DELETE FROM early_reports WHERE created_at < %(before)s", {"before": before})


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


@dataclass(frozen=True)
class _Message:
    id: UUID
    trigger: str
    kind: str
    member_id: UUID | None
    msisdn: str = field(repr=False)
    member_is_at: str | None = field(repr=False)  # the number by now; "": none; None: a stranger
    channel: str | None
    address: str | None = field(repr=False)
    batch_id: UUID | None
    can_wait: bool
    text: str = field(repr=False)
    state: str
    attempts: int
    maybe_twice: bool
    claimed_at: datetime | None
    failure: str | None
    order_id: UUID | None
    created_at: datetime

    @property
    def waits_for(self) -> frozenset[str]:
        """What is to be filled in; a screen may quote anything, and is complete."""
        return frozenset() if self.trigger == SCREEN else wordings.late_in(self.text)


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
        "buyer": first.buyer_name.split()[0],
        "receiver": (first.receiver_name or first.buyer_name).split()[0],
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


def _lock(db: Db, message_id: UUID) -> _Message:
    message = db.row(
        _Message,
        """
        SELECT id, trigger, class AS kind, member_id, msisdn, channel, address, batch_id, can_wait,
               text, state, attempts, maybe_twice, claimed_at, failure, order_id, created_at,
               (SELECT coalesce(CASE WHEN deleted_at IS NULL THEN m.msisdn END, '')
                FROM members m WHERE m.id = messages.member_id) AS member_is_at
        FROM messages WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        {"id": message_id},
    )
    assert message is not None, f"no message {message_id}"
    return message


def _follow(db: Db, message: _Message, by: Channel, now: datetime) -> _Message | None:
    """Its receiver has another number by now, and is told there. None: not now, or not at all.

    What answered somebody at the old phone, or advertises, is of no use at the new one.
    """
    if not message.member_is_at or message.kind in ("reply", "marketing"):
        _end(db, message.id, "failed", "moved", now)
        return None
    db.run(
        """
        UPDATE messages
        SET msisdn = %(msisdn)s, state = 'queued', channel = NULLIF(channel, 'telegram'),
            address = NULL, failure = NULL, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"msisdn": message.member_is_at, "now": now, "id": message.id},
    )
    if by == "telegram":  # the chat spoke for the old one
        outbox.put(db, "sms", due_at=now, message_id=message.id)
        return None
    return replace(message, msisdn=message.member_is_at, address=None, failure=None)


@dataclass(frozen=True)
class _Standing:
    """Of the phone a message is for: what it is spared, and what it got of the same sort."""

    barred: bool
    opted_out: bool
    in_hour: int
    in_day: int


def _standing(db: Db, message: _Message, now: datetime) -> _Standing:
    """Advertising is counted by itself."""
    found = db.row(
        _Standing,
        """
        SELECT EXISTS (SELECT FROM opt_outs
                       WHERE msisdn = %(msisdn)s AND class = 'all') AS barred,
               EXISTS (SELECT FROM opt_outs
                       WHERE msisdn = %(msisdn)s AND class <> 'asking') AS opted_out,
               count(*) FILTER (WHERE claimed_at > %(hour_ago)s) AS in_hour,
               count(*) AS in_day
        FROM messages
        WHERE msisdn = %(msisdn)s AND claimed_at > %(day_ago)s AND id <> %(id)s
          AND (class = 'marketing') = %(is_marketing)s
        """,
        {
            "id": message.id,
            "msisdn": message.msisdn,
            "hour_ago": now - timedelta(hours=1),
            "day_ago": now - timedelta(days=1),
            "is_marketing": message.kind == "marketing",
        },
    )
    assert found is not None, "a count has a row"
    return found


def _over(db: Db, message: _Message, standing: _Standing, now: datetime) -> str | None:
    """Why it is of no use any more, or not wanted; None: it is."""
    late_after = REPLY_TOO_LATE_AFTER if message.kind == "reply" else TOO_LATE_AFTER
    if now >= message.created_at + late_after:
        return "too_late"
    if message.kind == "marketing" and standing.opted_out:
        return "opted_out"
    if not message.can_wait or message.order_id is None:
        return None
    passed_by = db.value(
        """
        SELECT EXISTS (SELECT FROM order_events
                       WHERE order_id = %(order_id)s AND at > %(created_at)s)
        """,
        {"order_id": message.order_id, "created_at": message.created_at},
    )
    return "outdated" if passed_by else None


def _elsewhere(
    db: Db, message: _Message, standing: _Standing, ways: Ways | None, now: datetime
) -> bool:
    """Whether an SMS is none: it goes to a Telegram chat, or nowhere at all.

    To the chat if its owner spoke to us there last, or if the network takes no SMS for this phone.
    """
    known = ways(db, message.msisdn) if ways is not None else ()
    chats = [
        address
        for channel, address in known
        if channel == "telegram" and not reach.is_lost(db, channel, address)
    ]
    last = bool(chats) and known[0] == ("telegram", chats[0])
    if message.address is None and (last or (chats and standing.barred)):
        db.run(
            """
            UPDATE messages
            SET channel = 'telegram', address = %(chat)s, failure = NULL, updated_at = %(now)s
            WHERE id = %(id)s
            """,
            {"chat": chats[0], "now": now, "id": message.id},
        )
        kind = "telegram_message" if message.batch_id is None else "telegram_broadcast"
        outbox.put(db, kind, due_at=now, message_id=message.id)
        return True
    if message.failure in BARRED:  # it was tried as an SMS, and there is no other way
        _end(db, message.id, "failed", "barred", now)
        _unreachable(db, message, now)
        return True
    return False


def _wait_for_room(
    db: Db, message: _Message, standing: _Standing, rules: Rules, now: datetime
) -> NotYet | None:
    """A phone takes so many messages in an hour and in a day."""
    is_marketing = message.kind == "marketing"
    hour_max, day_max = (
        (rules.marketing_an_hour_max, rules.marketing_a_day_max)
        if is_marketing
        else (rules.sms_an_hour_max, rules.sms_a_day_max)
    )
    if standing.in_hour < hour_max and standing.in_day < day_max:
        return None
    if not is_marketing:
        incidents.open(db, "sms_flood", message.member_id or "strangers", now)
    return NotYet(now + FULL_AFTER, "that phone has had enough")


def _refused(
    db: Db, message: _Message, claimed: Claimed, code: str, now: datetime
) -> NotYet | None:
    """No by one way; perhaps there is another. Each is tried once."""
    if claimed.chat is not None:
        db.run(
            """
            UPDATE messages
            SET state = 'queued', channel = 'sms', failure = %(code)s, updated_at = %(now)s
            WHERE id = %(id)s
            """,
            {"code": code, "now": now, "id": message.id},
        )
        if message.batch_id is None:
            outbox.put(db, "sms", due_at=now, message_id=message.id)
        else:
            outbox.put(db, "sms_batch", due_at=now, batch_id=message.batch_id)
        return None
    if code in BARRED:
        opt_outs.bar(db, message.msisdn, now)
        if message.address is None and message.kind not in ("marketing", "reply"):
            db.run(
                """
                UPDATE messages
                SET state = 'queued', channel = NULL, failure = %(code)s, updated_at = %(now)s
                WHERE id = %(id)s
                """,
                {"code": code, "now": now, "id": message.id},
            )
            return NotYet(now, code)
        _unreachable(db, message, now)
    _end(db, message.id, "failed", code, now)
    return None


def _unreachable(db: Db, message: _Message, now: datetime) -> None:
    """Nothing gets through to a member who is waiting for it."""
    if message.kind in ("code", "receipt", "alert"):
        incidents.open(db, "unreachable", message.member_id, now, message_class=message.kind)


def _sent(db: Db, message: _Message, claimed: Claimed, answer: SendAnswer, now: datetime) -> None:
    if message.state in ("sent", "delivered", "failed"):
        return
    if answer.provider_id is not None:
        _lock_provider_id(db, answer.provider_id)
    currency, milli_cents = _priced(answer.cost)
    failure: str | None = db.value(
        """
        WITH early AS (
            DELETE FROM early_reports WHERE provider_id = %(provider_id)s RETURNING state, failure
        )
        UPDATE messages
        SET state = coalesce((SELECT state FROM early), %(state)s), sent_at = %(now)s,
            failure = (SELECT failure FROM early),
            final_at = CASE WHEN %(is_final)s OR EXISTS (SELECT FROM early) THEN %(now)s END,
            cost = %(cost)s, cost_currency = %(currency)s, cost_milli_cents = %(milli_cents)s,
            provider_id = CASE WHEN NOT EXISTS (
                SELECT FROM messages WHERE provider_id = %(provider_id)s) THEN %(provider_id)s END,
            updated_at = %(now)s
        WHERE id = %(id)s
        RETURNING failure
        """,
        {
            # Telegram takes a message by showing it, and reports no more.
            "state": "sent" if claimed.chat is None else "delivered",
            "is_final": claimed.chat is not None,
            "now": now,
            "cost": answer.cost,
            "currency": currency,
            "milli_cents": milli_cents,
            "provider_id": answer.provider_id,
            "id": message.id,
        },
    )
    if failure in BARRED:
        opt_outs.bar(db, message.msisdn, now)


_PRICE: Final = re.compile(
    r"(?:(?P<currency>[A-Z]{3}) )?(?P<whole>\d{1,9})(?:\.(?P<part>\d{1,5}))?"
)


def _priced(cost: str | None) -> tuple[str | None, int | None]:
    """What the gateway says it costs, as currency and milli-cents; None for what it is not."""
    read = _PRICE.fullmatch(cost or "")
    if read is None:
        return None, None
    return read["currency"], int(read["whole"] + (read["part"] or "").ljust(5, "0"))


def _apply(db: Db, provider_id: str, state: str, failure: str | None, now: datetime) -> str | None:
    """The first final word on a message, and the phone it was for; None: there is no such one."""
    msisdn: str | None = db.value(
        """
        UPDATE messages
        SET state = %(state)s, failure = %(failure)s, final_at = %(now)s, updated_at = %(now)s
        WHERE provider_id = %(provider_id)s AND state = 'sent'
        RETURNING msisdn
        """,
        {"state": state, "failure": failure, "now": now, "provider_id": provider_id},
    )
    return msisdn


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


def _wait_for_gateway(db: Db, now: datetime) -> NotYet | None:
    """While halted one message tries from time to time, whichever comes first."""
    halted = incidents.find_open(db, HALTED, "sms")
    if halted is None:
        return None
    next_at = datetime.fromisoformat(halted.detail["tried_at"]) + PROBE_AFTER
    if next_at <= now:
        incidents.amend(db, halted.id, tried_at=now.isoformat())
        return None
    return NotYet(next_at, "the gateway takes no messages")


def _note_halt(db: Db, answer: SendAnswer, now: datetime) -> None:
    if answer.halts:
        incidents.open(db, HALTED, "sms", now, code=answer.code, tried_at=now.isoformat())
    elif answer.outcome in ("accepted", "refused"):
        halted = incidents.find_open(db, HALTED, "sms")
        if halted is not None:
            incidents.close(db, halted.id, "the gateway takes messages again", now)
