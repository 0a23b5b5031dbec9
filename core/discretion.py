"""Discretion: what one of ours may decide about other people's money without a second person."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from core.database import Db
from core.rules import Rules

WITHIN: Final = timedelta(days=1)


def lock(db: Db, staff_id: UUID) -> None:
    """One decision of theirs after the other, so that none is left out of the sum of their day.

    Before all else that is locked for a decision.
    """
    db.run("SELECT FROM staff WHERE id = %(id)s FOR NO KEY UPDATE", {"id": staff_id})


def suffices(
    db: Db, staff_id: UUID, cents: int, one_max_cents: int, rules: Rules, now: datetime
) -> bool:
    """Whether they may decide about so much alone; the caller has called lock.

    one_max_cents: in one decision of that sort. With all that they decided alone within a day, of
    disputes and of differences, and what only files of theirs proved, it is bounded too, or many
    small ones would pass for a large one.
    """
    decided_cents = int(
        db.value(
            """
            SELECT coalesce(sum(cents), 0)::bigint FROM (
                SELECT buyer_cents + seller_cents AS cents, decided_at AS at FROM verdicts
                WHERE decided_by = %(id)s AND state = 'carried_out' AND approved_by IS NULL
                UNION ALL
                SELECT abs(gap_cents), decided_at FROM resolutions
                WHERE decided_by = %(id)s AND state = 'carried_out' AND approved_by IS NULL
                UNION ALL
                SELECT l.amount_cents, r.read_at
                FROM statement_readings r JOIN statement_lines l ON l.reading_id = r.id
                WHERE r.read_by = %(id)s AND l.kind = 'payment' AND l.outcome IS NOT NULL
            ) AS alone WHERE at > %(since)s
            """,
            {"id": staff_id, "since": now - WITHIN},
        )
    )
    return cents <= one_max_cents and decided_cents + cents <= rules.decisions_alone_max_cents
