"""Opt-outs: who wants no advertising, and whom the network lets us send nothing at all."""

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
        "(class, by) IN (('marketing', 'stop'), ('all', 'network'))", name="class_by"
    ),
)


def stop(db: Db, msisdn: str, now: datetime) -> None:
    """The phone's word: no more advertising. Whatever belongs to an order still comes."""
    _add(db, msisdn, "marketing", "stop", now)


def start(db: Db, msisdn: str) -> None:
    """The phone's word that takes `stop` back. The network's opt-out only the network undoes."""
    db.run("DELETE FROM opt_outs WHERE msisdn = %(msisdn)s AND by = 'stop'", {"msisdn": msisdn})


def bar(db: Db, msisdn: str, now: datetime) -> None:
    """The network's word: it takes no SMS of ours to this phone any more."""
    _add(db, msisdn, "all", "network", now)


def of(db: Db, msisdn: str) -> frozenset[str]:
    """The classes it is spared: "marketing", or "all" of SMS."""
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
