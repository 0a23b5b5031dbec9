"""Opt-outs: who wants no advertising, who is not to be asked to pay for others, and whom the
network lets us send nothing at all.
"""

from datetime import datetime

import sqlalchemy as sa

from core.database import Db, metadata

opt_outs = sa.Table(
    "opt_outs",
    metadata,
    sa.Column("msisdn", sa.Text, primary_key=True),
    sa.Column("class", sa.Text, primary_key=True),  # "all": of messages through the network
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(
        "(class, by) IN (('marketing', 'stop'), ('asking', 'refuse'), ('all', 'network'))",
        name="class_by",
    ),
)


def stop(db: Db, msisdn: str, now: datetime) -> None:
    """The phone's word: no more advertising. Whatever belongs to an order still comes."""
    _add(db, msisdn, "marketing", "stop", now)


def refuse(db: Db, msisdn: str, now: datetime) -> None:
    """The phone's word: nobody else's payments are asked of it."""
    _add(db, msisdn, "asking", "refuse", now)


def start(db: Db, msisdn: str) -> None:
    """The phone's word that takes both back. The network's opt-out only the network undoes."""
    db.run(
        "DELETE FROM opt_outs WHERE msisdn = %(msisdn)s AND by IN ('stop', 'refuse')",
        {"msisdn": msisdn},
    )


def bar(db: Db, msisdn: str, now: datetime) -> None:
    """The network's word: it takes no SMS of ours to this phone any more."""
    _add(db, msisdn, "all", "network", now)


def copy(db: Db, from_msisdn: str, to_msisdn: str) -> None:
    """The same person speaks at another phone: what was said at the old one holds there too."""
    db.run(
        """
        INSERT INTO opt_outs (msisdn, class, by, since)
        SELECT %(to)s, class, by, since FROM opt_outs
        WHERE msisdn = %(from)s AND by IN ('stop', 'refuse')
        ON CONFLICT (msisdn, class) DO NOTHING
        """,
        {"from": from_msisdn, "to": to_msisdn},
    )


def of(db: Db, msisdn: str) -> frozenset[str]:
    """What it is spared: "marketing", "asking", or "all" SMS."""
    found = db.value(
        "SELECT array_agg(class) FROM opt_outs WHERE msisdn = %(msisdn)s", {"msisdn": msisdn}
    )
    return frozenset(found or ())


def _add(db: Db, msisdn: str, kind: str, by: str, now: datetime) -> None:
    db.run(
        """
        INSERT INTO opt_outs (msisdn, class, by, since)
        VALUES (%(msisdn)s, %(kind)s, %(by)s, %(now)s)
        ON CONFLICT (msisdn, class) DO NOTHING
        """,
        {"msisdn": msisdn, "kind": kind, "by": by, "now": now},
    )
