"""Reductions: less of a line than was ordered, said by one side for the other to answer.

The row alone; what is done about it, by whom, is in core.shortages.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString, get_args
from uuid import UUID

import sqlalchemy as sa

from core.database import Db, metadata
from core.money import CENTS

# "short": the seller can send no more. "less_came": the buyer has no more.
Kind = Literal["short", "less_came"]
# "lapsed": nobody answered, or the order went another way meanwhile.
Ended = Literal["agreed", "declined", "withdrawn", "lapsed"]
STATES: Final = ("open", *get_args(Ended))

reductions = sa.Table(
    "reductions",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), nullable=False, index=True),
    sa.Column("line_id", sa.Uuid, sa.ForeignKey("lines.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("proposed_by", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("from_milli", sa.BigInteger, nullable=False),  # that was to come, or is on the road
    sa.Column("to_milli", sa.BigInteger, nullable=False),
    sa.Column("refund_cents", sa.BigInteger, nullable=False),
    sa.Column("restock", sa.Boolean, nullable=False),  # the difference can be sold to others
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("answer_by", sa.DateTime(timezone=True), nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint(f"kind IN ({', '.join(map(repr, get_args(Kind)))})", name="kind"),
    sa.CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
    sa.CheckConstraint("to_milli >= 0 AND to_milli < from_milli", name="less"),
    sa.CheckConstraint(f"refund_cents > 0 AND refund_cents % {CENTS} = 0", name="refund_cents"),
    sa.CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ended_at"),
    # One at a time for each order.
    sa.Index(
        "uq_reductions_open",
        "order_id",
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    ),
)

_COLUMNS: Final[LiteralString] = """
    id, order_id, line_id, kind, proposed_by, from_milli, to_milli, refund_cents, restock, state,
    answer_by, created_at, (SELECT l.offer_id FROM lines l WHERE l.id = line_id) AS offer_id"""


@dataclass(frozen=True)
class Reduction:
    """from_milli, to_milli: of what was to come of the line, or is on the road, in thousandths.

    restock: of one that is short, that the difference can be sold to others; else it is not there.
    """

    id: UUID
    order_id: UUID
    line_id: UUID
    kind: Kind
    proposed_by: UUID
    from_milli: int
    to_milli: int
    refund_cents: int
    restock: bool
    state: str
    answer_by: datetime
    created_at: datetime
    offer_id: UUID

    @property
    def off_milli(self) -> int:
        return self.from_milli - self.to_milli


def propose(db: Db, new: Reduction) -> None:
    """Write it down. The caller holds the order's lock, and none of it is open."""
    db.run(
        """
        INSERT INTO reductions (id, order_id, line_id, kind, proposed_by, from_milli, to_milli,
                                refund_cents, restock, state, answer_by, created_at)
        VALUES (%(id)s, %(order_id)s, %(line_id)s, %(kind)s, %(proposed_by)s, %(from_milli)s,
                %(to_milli)s, %(refund_cents)s, %(restock)s, %(state)s, %(answer_by)s,
                %(created_at)s)
        """,
        vars(new),
    )


def end(db: Db, reduction_id: UUID, state: Ended, now: datetime) -> None:
    """It is answered, or of no use any more. The caller holds the order's lock."""
    ended = db.run(
        """
        UPDATE reductions SET state = %(state)s, ended_at = %(now)s
        WHERE id = %(id)s AND state = 'open'
        """,
        {"state": state, "now": now, "id": reduction_id},
    )
    assert ended, f"reduction {reduction_id} is not open"


def lapse(db: Db, order_id: UUID, now: datetime) -> None:
    """The order goes another way: what was open of it is so no more."""
    found = open_of(db, order_id)
    if found is not None:
        end(db, found.id, "lapsed", now)


def open_of(db: Db, order_id: UUID) -> Reduction | None:
    """The one that waits for an answer: meanwhile the order stands still."""
    return db.row(
        Reduction,
        f"SELECT {_COLUMNS} FROM reductions WHERE order_id = %(id)s AND state = 'open'",
        {"id": order_id},
    )


def by_id(db: Db, reduction_id: UUID) -> Reduction | None:
    return db.row(
        Reduction, f"SELECT {_COLUMNS} FROM reductions WHERE id = %(id)s", {"id": reduction_id}
    )


def proposed(db: Db, order_id: UUID, kind: Kind) -> int:
    """How many of this kind there ever were of the order."""
    found: int = db.value(
        "SELECT count(*) FROM reductions WHERE order_id = %(id)s AND kind = %(kind)s",
        {"id": order_id, "kind": kind},
    )
    return found
