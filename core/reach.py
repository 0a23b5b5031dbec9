"""Reach: the addresses at which nobody can be reached any more, whatever we send."""

from datetime import datetime

import sqlalchemy as sa

from core.database import Db, metadata

unreachable = sa.Table(
    "unreachable",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
)


def lose(db: Db, channel: str, address: str, reason: str, now: datetime) -> None:
    """Nothing sent there arrives from now on. reason: the provider's word for it."""
    db.run(
        """
        INSERT INTO unreachable (channel, address, reason, since)
        VALUES (%(channel)s, %(address)s, %(reason)s, %(now)s)
        ON CONFLICT (channel, address) DO NOTHING
        """,
        {"channel": channel, "address": address, "reason": reason, "now": now},
    )


def find(db: Db, channel: str, address: str) -> None:
    """They are back."""
    db.run(
        "DELETE FROM unreachable WHERE channel = %(channel)s AND address = %(address)s",
        {"channel": channel, "address": address},
    )


def is_lost(db: Db, channel: str, address: str) -> bool:
    found: bool = db.value(
        """
        SELECT EXISTS (
            SELECT FROM unreachable WHERE channel = %(channel)s AND address = %(address)s)
        """,
        {"channel": channel, "address": address},
    )
    return found
