"""Disputes: what a buyer says is wrong with an order, while its money waits for a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString, get_args
from uuid import UUID

import sqlalchemy as sa

from core import cases, deliveries, escrow, evidence, incidents, orders, outbox, reductions
from core.database import Db, metadata

Reason = Literal["rotten", "less", "wrong", "not_come", "other"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

Stands = Literal["disputable", "already_open", "not_yet", "too_late"]

ANSWER_WITHIN: Final = timedelta(hours=48)  # the seller's time to answer
REMIND_BEFORE: Final = (timedelta(hours=24), timedelta(hours=4))  # of the end of that time
DECIDE_WITHIN: Final = timedelta(days=7)  # of the review's beginning
LATE_AGAIN_AFTER: Final = timedelta(days=1)  # past that, operators hear of it every day

UNDECIDED: Final = ("open", "seller_reply", "review")
RESOLVED: Final = ("resolved_buyer", "resolved_seller", "resolved_split")
STATES: Final = (*UNDECIDED, *RESOLVED, "withdrawn")

# By the order's state; in any other its money has left the escrow.
_STANDS: Final[Mapping[str, Stands]] = {
    "placed": "not_yet",
    "paid": "not_yet",
    "accepted": "not_yet",
    "dispatched": "disputable",
    "delivered": "disputable",
    "disputed": "already_open",
}

disputes = sa.Table(
    "disputes",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),  # cases.new_number
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), nullable=False, index=True),
    sa.Column("opened_by", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("words", sa.Text),  # as the buyer typed them; the seller's are evidence
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("answer_by", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("answered_at", sa.DateTime(timezone=True)),  # within his time
    sa.Column("decide_by", sa.DateTime(timezone=True)),  # set when the review begins
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    # The seller was silent, so it is the buyer's unless the operator finds otherwise.
    sa.Column("default_buyer", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint(f"reason IN ({', '.join(map(repr, REASONS))})", name="reason"),
    sa.CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
    sa.CheckConstraint("state <> 'seller_reply' OR answered_at IS NOT NULL", name="answered_at"),
    sa.CheckConstraint(
        "state IN ('open', 'seller_reply', 'withdrawn') OR decide_by IS NOT NULL", name="decide_by"
    ),
    sa.CheckConstraint(
        "(state IN ('open', 'seller_reply', 'review')) = (closed_at IS NULL)", name="closed_at"
    ),
    sa.CheckConstraint("NOT default_buyer OR answered_at IS NULL", name="default_buyer"),
    sa.Index(
        "uq_disputes_undecided",
        "order_id",
        unique=True,
        postgresql_where=sa.text(f"state IN ({', '.join(map(repr, UNDECIDED))})"),
    ),
    sa.Index("ix_disputes_opened_by", "opened_by", "opened_at"),
)

_COLUMNS: Final[LiteralString] = """
    d.id, d.number, d.order_id, d.opened_by, d.reason, d.words, d.state, d.opened_at, d.answer_by,
    d.answered_at, d.decide_by, d.closed_at, d.default_buyer"""


@dataclass(frozen=True)
class Dispute:
    """number: what people say, "case 5001". words: the buyer's own, if any."""

    id: UUID
    number: int
    order_id: UUID
    opened_by: UUID
    reason: Reason
    words: str | None = field(repr=False)
    state: str
    opened_at: datetime
    answer_by: datetime
    answered_at: datetime | None
    decide_by: datetime | None
    closed_at: datetime | None
    default_buyer: bool


@dataclass(frozen=True)
class Disputable:
    """An order whose buyer may say that something is wrong. total_cents: what is held for it."""

    order_id: UUID
    number: int
    seller_name: str = field(repr=False)
    total_cents: int


def open(  # noqa: A001 - read as disputes.open
    db: Db, order_id: UUID, member_id: UUID, reason: Reason, words: str | None, now: datetime
) -> Literal["opened", "already_open", "not_yet", "too_late", "not_yours"]:
    """The buyer says that something is wrong: the money stays where it is until that is decided.

    The order's timers find it disputed and do nothing; buyer, seller and operators hear of it.
    "not_yet": it was not sent, and she can cancel it. "too_late": its money is not held any more.
    "not_yours": it is not an order of hers.
    """
    order = orders.lock_one(db, order_id)
    if order is None or order.buyer_id != member_id:
        return "not_yours"
    stands = _STANDS.get(order.state, "too_late")
    if stands != "disputable":
        return stands
    reductions.lapse(db, order_id, now)  # what she says now goes before what she said then
    number = cases.new_number(db)
    dispute_id, answer_by = db.new_id(), now + ANSWER_WITHIN
    db.run(
        """
        INSERT INTO disputes (id, number, order_id, opened_by, reason, words, state, opened_at,
                              answer_by, updated_at)
        VALUES (%(id)s, %(number)s, %(order_id)s, %(member_id)s, %(reason)s, %(words)s, 'open',
                %(now)s, %(answer_by)s, %(now)s)
        """,
        {
            "id": dispute_id,
            "number": number,
            "order_id": order_id,
            "member_id": member_id,
            "reason": reason,
            "words": words,
            "now": now,
            "answer_by": answer_by,
        },
    )
    escrow.freeze(db, order_id, now)
    case, until = str(number), answer_by.isoformat()
    orders.move(db, order_id, "disputed", now, case=case, problem=reason, answer_by=until)
    incidents.open(db, "disputed", order_id, now, case=number, order=order.number, problem=reason)
    outbox.put(db, "answer_reminder", due_at=answer_by - REMIND_BEFORE[0], dispute_id=dispute_id)
    outbox.put(db, "answer_deadline", due_at=answer_by, dispute_id=dispute_id)
    return "opened"


def answer(
    db: Db, order_id: UUID, member_id: UUID, words: str, now: datetime
) -> Literal["answered", "added", "too_many", "over", "not_yours"]:
    """The seller tells his side. "added": he had, or his time was over; it is read all the same.

    "too_many": he has said as much as is kept. "over": nobody complains of it any more.
    "not_yours": it is not an order of his.
    """
    order = orders.lock_one(db, order_id)
    if order is None or order.seller_id != member_id:
        return "not_yours"
    dispute = _in_time(db, of_order(db, order_id), now)
    if dispute is None:
        return "over"
    if evidence.say(db, dispute.id, member_id, words, now) == "too_many":
        return "too_many"
    if dispute.state != "open":
        return "added"
    db.run(
        """
        UPDATE disputes SET state = 'seller_reply', answered_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": dispute.id},
    )
    orders.note(db, [order_id], "answered", now, case=str(dispute.number))
    return "answered"


def withdraw(
    db: Db, order_id: UUID, member_id: UUID, now: datetime
) -> Literal["withdrawn", "too_late", "over", "not_yours"]:
    """The buyer takes it back before the seller has answered: the money is held as before.

    The order goes on from where it stood, its time to inspect begins anew (deliveries.resume).
    "too_late": he has answered or let his time pass, or she took back another one before: it is
    decided, so that no order waits for ever. "over": nobody complains of it any more.
    """
    order = orders.lock_one(db, order_id)
    if order is None or order.buyer_id != member_id:
        return "not_yours"
    dispute = _in_time(db, of_order(db, order_id), now)
    if dispute is None:
        return "over"
    if dispute.state != "open" or _was_withdrawn(db, order_id):
        return "too_late"
    close(db, dispute, "withdrawn", now)
    escrow.thaw(db, order_id, now)
    orders.note(db, [order_id], "withdrawn", now, case=str(dispute.number))
    deliveries.resume(db, order_id, now)
    return "withdrawn"


def remind_to_answer(
    db: Db, dispute_id: UUID, now: datetime
) -> Literal["reminded", "not_yet", "not_open"]:
    """For the timer answer_reminder: the seller has said nothing. Once for each of its times."""
    dispute = lock(db, dispute_id)
    if dispute.state != "open" or dispute.answer_by <= now:
        return "not_open"
    times = [dispute.answer_by - before for before in REMIND_BEFORE]
    next_at = min((at for at in times if at > now), default=None)
    if next_at is not None:
        outbox.put(db, "answer_reminder", due_at=next_at, dispute_id=dispute_id)
    since = max((at for at in times if at <= now), default=None)
    if since is None:
        return "not_yet"
    if orders.noted(db, dispute.order_id, "answer_reminder", since):
        return "not_open"
    by = dispute.answer_by.isoformat()
    case = str(dispute.number)
    orders.note(db, [dispute.order_id], "answer_reminder", now, case=case, answer_by=by)
    return "reminded"


def end_answering(
    db: Db, dispute_id: UUID, now: datetime
) -> Literal["review", "not_yet", "not_open"]:
    """For the timer answer_deadline: whatever the seller has said by now, it is to be decided."""
    dispute = lock(db, dispute_id)
    if dispute.state not in ("open", "seller_reply"):
        return "not_open"
    if now < dispute.answer_by:
        outbox.put(db, "answer_deadline", due_at=dispute.answer_by, dispute_id=dispute_id)
        return "not_yet"
    begin_review(db, dispute, now)
    return "review"


def escalate(
    db: Db, dispute_id: UUID, now: datetime
) -> Literal["escalated", "not_yet", "not_open"]:
    """For the timer decision_deadline: nobody has decided. Operators hear of it, again every day.

    The money stays where it is, for however long.
    """
    dispute = lock(db, dispute_id)
    if dispute.state != "review":
        return "not_open"
    assert dispute.decide_by is not None, f"dispute {dispute_id} is in review without its deadline"
    if now < dispute.decide_by:
        outbox.put(db, "decision_deadline", due_at=dispute.decide_by, dispute_id=dispute_id)
        return "not_yet"
    days_late = (now - dispute.decide_by).days
    opened = incidents.open(
        db, "dispute_late", dispute.order_id, now, case=dispute.number, days_late=days_late
    )
    known = None if opened else incidents.find_open(db, "dispute_late", dispute.order_id)
    if known is not None:
        incidents.amend(db, known.id, days_late=days_late)
    if not orders.noted(db, dispute.order_id, "decision_late", dispute.decide_by):
        orders.note(db, [dispute.order_id], "decision_late", now, case=str(dispute.number))
    outbox.put(db, "decision_deadline", due_at=now + LATE_AGAIN_AFTER, dispute_id=dispute_id)
    return "escalated"


def lock(db: Db, dispute_id: UUID) -> Dispute:
    """A dispute that nobody else moves until the transaction ends; its order is locked first."""
    order_id: UUID | None = db.value(
        "SELECT order_id FROM disputes WHERE id = %(id)s", {"id": dispute_id}
    )
    assert order_id is not None, f"no dispute {dispute_id}"
    orders.lock_one(db, order_id)
    found = by_id(db, dispute_id)
    assert found is not None, f"no dispute {dispute_id}"
    return found


def begin_review(db: Db, dispute: Dispute, now: datetime) -> Dispute:
    """Both were heard, or had their time: from here on an operator decides. It is locked."""
    silent, decide_by = dispute.state == "open", now + DECIDE_WITHIN
    db.run(
        """
        UPDATE disputes
        SET state = 'review', default_buyer = %(silent)s, decide_by = %(decide_by)s,
            updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"silent": silent, "decide_by": decide_by, "now": now, "id": dispute.id},
    )
    case = str(dispute.number)
    detail = {"reason": "answer_missed"} if silent else {}
    orders.note(db, [dispute.order_id], "review", now, case=case, **detail)
    outbox.put(db, "decision_deadline", due_at=decide_by, dispute_id=dispute.id)
    found = by_id(db, dispute.id)
    assert found is not None, f"no dispute {dispute.id}"
    return found


def close(db: Db, dispute: Dispute, state: str, now: datetime) -> None:
    """It ends so, and nobody has to look at it any more. It is locked."""
    db.run(
        """
        UPDATE disputes
        SET state = %(state)s, closed_at = %(now)s, updated_at = %(now)s,
            decide_by = CASE WHEN %(state)s = 'withdrawn' THEN decide_by
                             ELSE coalesce(decide_by, %(now)s) END
        WHERE id = %(id)s
        """,
        {"state": state, "now": now, "id": dispute.id},
    )
    for kind in ("disputed", "dispute_late"):
        incidents.end(db, kind, dispute.order_id, state, now)


def stands(
    db: Db, order_id: UUID, member_id: UUID
) -> Literal["disputable", "already_open", "not_yet", "too_late", "not_yours"]:
    """What open would say to her now; nothing is locked."""
    state: str | None = db.value(
        "SELECT state FROM orders WHERE id = %(order_id)s AND buyer_id = %(member_id)s",
        {"order_id": order_id, "member_id": member_id},
    )
    return "not_yours" if state is None else _STANDS.get(state, "too_late")


def disputable(db: Db, member_id: UUID, limit: int) -> list[Disputable]:
    """Her orders of which she may complain, and those of which she did; the newest first."""
    return db.rows(
        Disputable,
        """
        SELECT o.id AS order_id, o.number, s.name AS seller_name,
               o.total_cents - o.reduced_cents - o.came_cents AS total_cents
        FROM orders o JOIN members s ON s.id = o.seller_id
        WHERE o.buyer_id = %(member_id)s AND o.state IN ('dispatched', 'delivered', 'disputed')
        ORDER BY o.number DESC LIMIT %(limit)s
        """,
        {"member_id": member_id, "limit": limit},
    )


def of_order(db: Db, order_id: UUID) -> Dispute | None:
    """The one that holds the order's money; None: nobody complains of it."""
    return db.row(
        Dispute,
        f"""
        SELECT {_COLUMNS} FROM disputes d
        WHERE d.order_id = %(order_id)s AND d.state IN ('open', 'seller_reply', 'review')
        """,
        {"order_id": order_id},
    )


def last_of(db: Db, order_id: UUID) -> Dispute | None:
    """The newest of an order, decided or not; None: nobody ever complained of it."""
    return db.row(
        Dispute,
        f"""
        SELECT {_COLUMNS} FROM disputes d
        WHERE d.order_id = %(order_id)s ORDER BY d.number DESC LIMIT 1
        """,
        {"order_id": order_id},
    )


def by_id(db: Db, dispute_id: UUID) -> Dispute | None:
    return db.row(
        Dispute, f"SELECT {_COLUMNS} FROM disputes d WHERE d.id = %(id)s", {"id": dispute_id}
    )


def numbered(db: Db, number: int) -> Dispute | None:
    """The one that people call by this number."""
    return db.row(
        Dispute, f"SELECT {_COLUMNS} FROM disputes d WHERE d.number = %(n)s", {"n": number}
    )


def undecided(db: Db) -> list[Dispute]:
    """Those that an operator can decide first, then by the time that is left."""
    return db.rows(
        Dispute,
        f"""
        SELECT {_COLUMNS} FROM disputes d WHERE d.state IN ('open', 'seller_reply', 'review')
        ORDER BY coalesce(d.decide_by, d.answer_by), d.number
        """,
    )


def _was_withdrawn(db: Db, order_id: UUID) -> bool:
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM disputes
                           WHERE order_id = %(order_id)s AND state = 'withdrawn')
            """,
            {"order_id": order_id},
        )
    )


def _in_time(db: Db, dispute: Dispute | None, now: datetime) -> Dispute | None:
    """As it stands by the clock, also where the timer of its deadline is late."""
    if dispute is None or dispute.state == "review" or now < dispute.answer_by:
        return dispute
    return begin_review(db, dispute, now)
