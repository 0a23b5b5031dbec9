"""Tasks of SMS: single messages, broadcasts by the hundred, the screens of conversations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from core import broadcasts, messages, outbox, sendings, wordings
from core.database import Db
from flows import conversations
from flows.run import revealed
from worker.work import Work, in_the_end, late, look_again

log = structlog.get_logger(__name__)


def sms(work: Work, item: outbox.Item) -> None:
    """Send a message: once, and once more where nobody knows whether it was sent."""
    database = work.database
    with database.begin() as db:
        message_id = UUID(item.arguments["message_id"])
        claimed = _claim(work, db, message_id)
        if not isinstance(claimed, sendings.Claimed):
            look_again(db, item, claimed, database.clock())
            return
    _send(work, item, claimed)


def sms_batch(work: Work, item: outbox.Item) -> None:
    """Send the same words to many, in one call: to each once, as a message of its own."""
    database, batch_id = work.database, UUID(item.arguments["batch_id"])
    with database.begin() as db:
        claims = [_claim(work, db, each) for each in broadcasts.unsent(db, batch_id)]
        claimed = [each for each in claims if isinstance(each, sendings.Claimed)]
        waits = [each for each in claims if isinstance(each, sendings.NotYet)]
        if not claimed:
            look_again(db, item, _soonest(waits), database.clock())
            return
    answers = work.sender.send_all([each.msisdn for each in claimed], claimed[0].text)

    def record(db: Db, now: datetime) -> None:
        again = [sendings.record(db, each, answers[each.msisdn], now) for each in claimed]
        look_again(db, item, _soonest([*waits, *filter(None, again)]), now)

    in_the_end(work, record)


def sms_screen(work: Work, item: outbox.Item) -> None:
    """Send the screen that answers an SMS: kept by its hop, its secrets filled in here only."""
    database, given = work.database, item.arguments
    conversation_id, digest = UUID(given["conversation_id"]), bytes.fromhex(given["digest"])
    with database.begin() as db:
        now = database.clock()
        asked = conversations.by_id(db, conversation_id)
        assert asked is not None, f"no conversation {conversation_id}"
        assert asked.session is not None, f"{conversation_id} has answered nothing"
        kept = conversations.answered(db, asked.session, digest)
        if kept is None:  # tidied away: nobody waits for it any more
            outbox.done(db, item.id, now)
            return
        message_id = messages.of_screen(
            db,
            f"{conversation_id}:{given['digest']}",
            asked.address,
            asked.member_language or asked.language or wordings.FALLBACK,
            kept.screen,
            now,
            member_id=asked.member_id,
            order_id=UUID(given["order_id"]) if "order_id" in given else None,
        )
        claimed = _claim(work, db, message_id)
        if not isinstance(claimed, sendings.Claimed):
            look_again(db, item, claimed, now)
            return
        text = revealed(db, conversation_id, claimed.text, work.rules, now)
    _send(work, item, replace(claimed, text=text))


TASKS: Final[Mapping[str, Callable[[Work, outbox.Item], None]]] = {
    "sms": sms,
    "sms_batch": sms_batch,
    "sms_screen": sms_screen,
}


def _claim(work: Work, db: Db, message_id: UUID) -> sendings.Claimed | sendings.NotYet | None:
    return sendings.claim(
        db, message_id, late(work), work.database.clock(), rules=work.rules, ways=_ways
    )


def _ways(db: Db, msisdn: str) -> list[tuple[str, str]]:
    """The channels by which this phone's owner spoke to us, the newest first."""
    return [(known.channel, known.address) for known in conversations.of_phone(db, msisdn)]


def _send(work: Work, item: outbox.Item, claimed: sendings.Claimed) -> None:
    answer = work.sender.send(claimed.msisdn, claimed.text)
    if answer.outcome != "accepted":
        log.warning("sms_not_sent", id=str(claimed.id), outcome=answer.outcome, code=answer.code)

    def record(db: Db, now: datetime) -> None:
        look_again(db, item, sendings.record(db, claimed, answer, now), now)

    in_the_end(work, record)


def _soonest(waits: Sequence[sendings.NotYet]) -> sendings.NotYet | None:
    return min(waits, key=lambda wait: wait.due_at, default=None)
