"""Heard: the SMS that have had their effect, so that a repeat has none."""

from datetime import datetime

import sqlalchemy as sa

from core.database import Db, metadata

heard_sms = sa.Table(
    "heard_sms",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),  # keyed, of sender and message id
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, index=True),
)


def first(db: Db, digest: bytes, now: datetime) -> bool:
    """Whether this is the first time; a second one at the same moment waits for the answer."""
    kept = db.run(
        """
        INSERT INTO heard_sms (digest, created_at) VALUES (%(digest)s, %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {"digest": digest, "now": now},
    )
    return kept == 1


def tidy(db: Db, before: datetime) -> int:
    """Forget those from before then, which no gateway repeats any more; how many."""
    return db.run("DELETE FROM heard_sms WHERE created_at < %(before)s", {"before": before})
