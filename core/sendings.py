"""Sendings: a message's way from the queue to the phone, or to a Telegram chat.

The gateway has no idempotency key, so a sending is claimed, committed, called, recorded. After a
call whose outcome nobody knows the message is sent once more, and marked: it may have come twice.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa

from core import gsm, incidents, opt_outs, outbox, quiet, reach, wordings
from core.database import Db, metadata
from core.messages import SCREEN
from core.rules import Rules

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

Channel = Literal["sms", "telegram"]

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


def tidy(db: Db, before: datetime) -> int:
    """Forget reports from before then on messages that nobody ever owned to; how many."""
    return db.run("DELETE FROM early_reports WHERE created_at < %(before)s", {"before": before})


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
        incidents.end(db, HALTED, "sms", "the gateway takes messages again", now)
