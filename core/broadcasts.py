"""Broadcasts: the same words to many members, in batches that the gateway takes in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final
from uuid import UUID

from core import gsm, outbox, quiet, wordings
from core.database import Db
from core.rules import Rules

BATCH: Final = 100  # receivers of one call: the gateway publishes no limit, its clients chunk so


def put(
    db: Db,
    subject: str,
    texts: Mapping[str, str],
    receivers: Sequence[UUID],
    rules: Rules,
    now: datetime,
) -> int:
    """Queue advertising for these members, for each once a subject; how many were new.

    texts: by language, without placeholders. Whoever wants none or has left is passed over; at
    night all wait until morning. Give thousands of receivers by the thousand, each in a transaction
    of its own; one that was given before changes nothing.
    """
    found = db.rows(
        _Receiver,
        """
        SELECT id, msisdn, language FROM members m
        WHERE id = ANY(%(ids)s) AND deleted_at IS NULL AND msisdn IS NOT NULL
          AND NOT EXISTS (SELECT FROM opt_outs o
                          WHERE o.msisdn = m.msisdn AND o.class <> 'asking')
          AND NOT EXISTS (SELECT FROM messages t
                          WHERE t.key = 'broadcast:' || %(subject)s || ':' || m.id)
        ORDER BY language, id
        """,
        {"ids": list(receivers), "subject": subject},
    )
    for language, same in groupby(found, key=attrgetter("language")):
        said = language if language in texts else wordings.FALLBACK
        group = list(same)
        for start in range(0, len(group), BATCH):
            batch_id = _batch(
                db, subject, said, gsm.plain(texts[said]), group[start : start + BATCH], now
            )
            outbox.put(db, "sms_batch", due_at=quiet.over_at(now, rules), batch_id=batch_id)
    return len(found)


def unsent(db: Db, batch_id: UUID) -> list[UUID]:
    """The messages of a batch of which the last word is not spoken."""
    found: list[UUID] | None = db.value(
        """
        SELECT array_agg(id ORDER BY id) FROM messages
        WHERE batch_id = %(batch_id)s AND channel IS DISTINCT FROM 'telegram'
          AND (state IN ('queued', 'sending') OR state = 'unknown' AND final_at IS NULL)
        """,
        {"batch_id": batch_id},
    )
    return found or []


@dataclass(frozen=True)
class _Receiver:
    id: UUID
    msisdn: str = field(repr=False)
    language: str


def _batch(
    db: Db, subject: str, language: str, text: str, group: Sequence[_Receiver], now: datetime
) -> UUID:
    batch_id = db.new_id()
    encoding, segments = gsm.parts(text)
    db.run(
        """
        INSERT INTO messages (id, key, trigger, class, member_id, msisdn, language, text, encoding,
                              segments, state, attempts, maybe_twice, can_wait, batch_id,
                              created_at, updated_at)
        SELECT id, 'broadcast:' || %(subject)s || ':' || member_id, 'broadcast', 'marketing',
               member_id, msisdn, %(language)s, %(text)s, %(encoding)s, %(segments)s, 'queued', 0,
               false, true, %(batch_id)s, %(now)s, %(now)s
        FROM unnest(%(ids)s::uuid[], %(member_ids)s::uuid[], %(msisdns)s::text[])
            AS m (id, member_id, msisdn)
        """,
        {
            "subject": subject,
            "language": language,
            "text": text,
            "encoding": encoding,
            "segments": segments,
            "batch_id": batch_id,
            "ids": [db.new_id() for _ in group],
            "member_ids": [receiver.id for receiver in group],
            "msisdns": [receiver.msisdn for receiver in group],
            "now": now,
        },
    )
    return batch_id
