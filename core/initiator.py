"""Initiator: our operator at M-Pesa, by whose word money goes out, and whether it is taken yet.

Each call with a wrong password brings the operator closer to being locked. So until M-Pesa has
worked on one call made by a word, after a start, a change or a refusal, calls go one at a time.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import sqlalchemy as sa

from core.database import Db, metadata
from core.rules import Rules

PROBE_FOR: Final = timedelta(minutes=5)  # a call that says nothing by then makes room for another

initiators = sa.Table(
    "initiators",
    metadata,
    sa.Column("word_hash", sa.LargeBinary, primary_key=True),  # of name and password
    sa.Column("used_since", sa.DateTime(timezone=True), nullable=False),  # its last refusal, too
    sa.Column("probed_at", sa.DateTime(timezone=True)),  # the call that is to show it
    sa.Column("accepted_at", sa.DateTime(timezone=True)),  # None: not since used_since
)


def may_call(db: Db, rules: Rules, now: datetime) -> bool:
    """Whether a call may be made by its word now; whoever asks and may, makes it.

    Always, where the rules name no word: then nobody guards it.
    """
    if not rules.initiator_key:
        return True
    hashed = sha256(rules.initiator_key).digest()
    db.run(
        """
        INSERT INTO initiators (word_hash, used_since) VALUES (%(hash)s, %(now)s)
        ON CONFLICT (word_hash) DO NOTHING
        """,
        {"hash": hashed, "now": now},
    )
    is_taken: bool = db.value(
        "SELECT accepted_at IS NOT NULL FROM initiators WHERE word_hash = %(hash)s",
        {"hash": hashed},
    )
    if is_taken:
        return True
    return bool(
        db.run(
            """
            UPDATE initiators SET probed_at = %(now)s
            WHERE word_hash = %(hash)s AND (probed_at IS NULL OR probed_at <= %(before)s)
            """,
            {"hash": hashed, "now": now, "before": now - PROBE_FOR},
        )
    )


def not_asked(db: Db) -> None:
    """The call that was to show it was never made: the next one may."""
    db.run("UPDATE initiators SET probed_at = NULL WHERE accepted_at IS NULL")


def accepted(db: Db, called_at: datetime, now: datetime) -> bool:
    """M-Pesa has worked on a call made then; whether that is news, so that others may go."""
    return bool(
        db.run(
            """
            UPDATE initiators SET accepted_at = %(now)s
            WHERE accepted_at IS NULL AND used_since <= %(called_at)s
            """,
            {"called_at": called_at, "now": now},
        )
    )


def refused(db: Db, now: datetime) -> None:
    """M-Pesa does not take its word: whatever is called before now proves nothing any more."""
    db.run(
        "UPDATE initiators SET used_since = %(now)s, accepted_at = NULL, probed_at = NULL",
        {"now": now},
    )
