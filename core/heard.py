"""Heard: messages and updates that have had their effect, so that a repeat has none."""

from datetime import datetime

import sqlalchemy as sa

from core.database import Db, metadata

heard = sa.Table(
    "heard",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),  # keyed, of sender and its number
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, index=True),
)


def first(db: Db, digest: bytes, now: datetime) -> bool:
    """Whether this is the first time; a second one at the same moment waits for the answer."""
    kept = db.run(
        """
        INSERT INTO heard (digest, created_at) VALUES (%(digest)s, %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {"digest": digest, "now": now},
    )
    return kept == 1


def tidy(db: Db, before: datetime) -> int:
    """Forget those from before then, which no gateway repeats any more; how many."""
    return db.run("DELETE FROM heard WHERE created_at < %(before)s", {"before": before})
