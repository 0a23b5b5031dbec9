"""Verdicts: who gets the money of a dispute, said by staff, with the reason in writing."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import discretion, disputes, escrow, incidents, orders, reasons, staff, stock
from core.database import Db, metadata
from core.disputes import Dispute
from core.money import CENTS, show
from core.rules import Rules
from core.staff import Actor

Decided = Literal[
    "decided",
    "proposed",
    "already_proposed",
    "already_decided",
    "not_allowed",
    "party",
    "not_yet",
    "wrong_sum",
    "no_reason",
]

PENDING: Final = "verdict_to_approve"  # the incident while a second person is waited for
OWN: Final = "verdict_by_a_party"  # the incident of who would decide over their own money

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("dispute_id", sa.Uuid, sa.ForeignKey("disputes.id"), nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("buyer_cents", sa.BigInteger, nullable=False),
    sa.Column("seller_cents", sa.BigInteger, nullable=False),  # with the fee that he pays of it
    sa.Column("fee_cents", sa.BigInteger),  # once it is carried out
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Uuid, sa.ForeignKey("staff.id"), nullable=False),
    sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("approved_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.Column("declined_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.Column("ended_at", sa.DateTime(timezone=True)),  # carried out, or declined
    sa.CheckConstraint("state IN ('proposed', 'carried_out', 'declined')", name="state"),
    sa.CheckConstraint("(state = 'proposed') = (ended_at IS NULL)", name="ended_at"),
    sa.CheckConstraint("(state = 'carried_out') = (fee_cents IS NOT NULL)", name="fee_cents"),
    sa.CheckConstraint("(state = 'declined') = (declined_by IS NOT NULL)", name="declined_by"),
    sa.CheckConstraint("approved_by IS NULL OR state = 'carried_out'", name="approved_by"),
    sa.CheckConstraint("approved_by <> decided_by", name="two_people"),
    sa.CheckConstraint(
        f"buyer_cents >= 0 AND seller_cents >= 0 AND buyer_cents + seller_cents > 0"
        f" AND buyer_cents % {CENTS} = 0 AND seller_cents % {CENTS} = 0",
        name="whole_shillings",
    ),
    sa.CheckConstraint(reasons.FITS, name="reason"),
    # A dispute is decided once.
    sa.Index(
        "uq_verdicts_standing",
        "dispute_id",
        unique=True,
        postgresql_where=sa.text("state <> 'declined'"),
    ),
)

_COLUMNS: Final[LiteralString] = """
    v.id, v.dispute_id, v.state, v.buyer_cents, v.seller_cents, v.fee_cents, v.reason,
    v.decided_by, v.decided_at"""


@dataclass(frozen=True)
class Verdict:
    """seller_cents: with the fee, which is fee_cents once it is carried out."""

    id: UUID
    dispute_id: UUID
    state: Literal["proposed", "carried_out", "declined"]
    buyer_cents: int
    seller_cents: int
    fee_cents: int | None
    reason: str = field(repr=False)
    decided_by: UUID
    decided_at: datetime

    @property
    def outcome(self) -> Literal["resolved_buyer", "resolved_seller", "resolved_split"]:
        if not self.seller_cents:
            return "resolved_buyer"
        return "resolved_split" if self.buyer_cents else "resolved_seller"


def decide(
    db: Db,
    dispute_id: UUID,
    by: Actor,
    buyer_cents: int,
    seller_cents: int,
    reason: str,
    rules: Rules,
    now: datetime,
) -> Decided:
    """An operator says who gets how much of what is held, and why.

    seller_cents: with the fee that he pays of it. "proposed": it is so much, or they decided so
    much alone today, that a second person must approve. "not_yet": the seller still has time to
    answer. "wrong_sum": it is not what is held, in whole shillings. "party": it is their own money,
    or paid from their phone; that is an incident. A refusal moves nothing.
    """
    discretion.lock(db, by.who.id)
    dispute = disputes.lock(db, dispute_id)
    refused = _refused(db, dispute, by, by.may("operator"), now)
    if refused is not None:
        return refused
    if dispute.state in ("open", "seller_reply"):
        if dispute.state == "open" and now < dispute.answer_by:
            return "not_yet"
        dispute = disputes.begin_review(db, dispute, now)
    if standing(db, dispute_id) is not None:
        return "already_proposed"
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    held_cents = escrow.frozen_cents(db, dispute.order_id)
    if not _divides(held_cents, buyer_cents, seller_cents):
        return "wrong_sum"
    one_max_cents = rules.dispute_second_above_cents
    alone = discretion.suffices(db, by.who.id, held_cents, one_max_cents, rules, now)
    verdict = _propose(db, dispute, by, buyer_cents, seller_cents, reason, now)
    if alone:
        _carry_out(db, dispute, verdict, by, None, now)
        return "decided"
    shares = {"buyer_cents": buyer_cents, "seller_cents": seller_cents}
    after = {"state": "proposed", **shares, "reason": reason}
    by.write(db, "verdict_proposed", _case(dispute), {"state": dispute.state}, after, now)
    incidents.open(db, PENDING, dispute.order_id, now, case=dispute.number, **shares)
    return "proposed"


def approve(
    db: Db, dispute_id: UUID, by: Actor, now: datetime
) -> Literal["decided", "not_proposed", "already_decided", "not_allowed", "party", "own"]:
    """A second person agrees, and it is carried out. "own": whoever decided cannot approve it."""
    dispute = disputes.lock(db, dispute_id)
    refused = _refused(db, dispute, by, by.may("approver"), now)
    if refused is not None:
        return refused
    verdict = standing(db, dispute_id)
    if verdict is None:
        return "not_proposed"
    if verdict.decided_by == by.who.id:
        incidents.open(db, "verdict_own_approval", dispute.order_id, now, by=by.name)
        return "own"
    _carry_out(db, dispute, verdict, by, by.who.id, now)
    return "decided"


def decline(
    db: Db, dispute_id: UUID, by: Actor, reason: str, now: datetime
) -> Literal["declined", "not_proposed", "already_decided", "not_allowed", "party", "no_reason"]:
    """A second person does not agree, or whoever decided takes it back: it is open to decide."""
    dispute = disputes.lock(db, dispute_id)
    verdict = standing(db, dispute_id)
    if verdict is None:
        return "not_proposed"
    allowed = by.may_decline(verdict.decided_by, verdict.decided_at)
    refused = _refused(db, dispute, by, allowed, now)
    if refused is not None:
        return refused
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    _decline(db, verdict, by, now)
    _close_incident(db, dispute, "declined", now)
    after = {"state": "declined", "reason": reason}
    by.write(db, "verdict_declined", _case(dispute), {"state": "proposed"}, after, now)
    return "declined"


def overtake(db: Db, order_id: UUID, by: Actor, now: datetime) -> None:
    """M-Pesa itself gave the money back to the payer: there is nothing left to decide.

    It ends for the buyer, without a verdict; one that waited for a second person is declined.
    The caller holds the order's lock, and takes the money out of its escrow.
    """
    dispute = disputes.of_order(db, order_id)
    assert dispute is not None, f"nobody complains of order {order_id}"
    waiting = standing(db, dispute.id)
    if waiting is not None:
        _decline(db, waiting, by, now)
    disputes.close(db, dispute, "resolved_buyer", now)
    _close_incident(db, dispute, "reversed", now)
    before, after = {"state": dispute.state}, {"state": "resolved_buyer", "by": "reversal"}
    by.write(db, "dispute_overtaken", _case(dispute), before, after, now)


def standing(db: Db, dispute_id: UUID) -> Verdict | None:
    """The one that waits for a second person, or was carried out."""
    return db.row(
        Verdict,
        f"""
        SELECT {_COLUMNS} FROM verdicts v
        WHERE v.dispute_id = %(id)s AND v.state <> 'declined'
        """,
        {"id": dispute_id},
    )


def of_order(db: Db, order_id: UUID) -> Verdict | None:
    """How the order's money was divided; None: nobody had to decide that, or has not yet."""
    return db.row(
        Verdict,
        f"""
        SELECT {_COLUMNS} FROM verdicts v JOIN disputes d ON d.id = v.dispute_id
        WHERE d.order_id = %(order_id)s AND v.state = 'carried_out'
        """,
        {"order_id": order_id},
    )


def _refused(
    db: Db, dispute: Dispute, by: Actor, allowed: bool, now: datetime
) -> Literal["not_allowed", "party", "already_decided"] | None:
    if not allowed:
        return "not_allowed"
    if _is_party(db, dispute, by):
        incidents.open(db, OWN, dispute.order_id, now, case=dispute.number, by=by.name)
        return "party"
    return None if dispute.state in disputes.UNDECIDED else "already_decided"


def _is_party(db: Db, dispute: Dispute, by: Actor) -> bool:
    """Whether theirs is the phone of the buyer, of the seller, or of whoever paid."""
    order = orders.by_id(db, dispute.order_id)
    assert order is not None, f"dispute {dispute.id} is of no order"
    return staff.is_member(db, by.who, order.buyer_id, order.seller_id) or bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM charges
                           WHERE checkout_id = %(checkout_id)s AND msisdn = ANY(%(phones)s))
            """,
            {"checkout_id": order.checkout_id, "phones": list(staff.lines_of(db, by.who))},
        )
    )


def _divides(held_cents: int, *shares_cents: int) -> bool:
    """Whether the shares are all that is held, in whole shillings."""
    return sum(shares_cents) == held_cents and all(
        cents >= 0 and cents % CENTS == 0 for cents in shares_cents
    )


def _propose(
    db: Db,
    dispute: Dispute,
    by: Actor,
    buyer_cents: int,
    seller_cents: int,
    reason: str,
    now: datetime,
) -> Verdict:
    db.run(
        """
        INSERT INTO verdicts (id, dispute_id, state, buyer_cents, seller_cents, reason, decided_by,
                              decided_at)
        VALUES (%(id)s, %(dispute_id)s, 'proposed', %(buyer_cents)s, %(seller_cents)s, %(reason)s,
                %(by)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "dispute_id": dispute.id,
            "buyer_cents": buyer_cents,
            "seller_cents": seller_cents,
            "reason": reason,
            "by": by.who.id,
            "now": now,
        },
    )
    verdict = standing(db, dispute.id)
    assert verdict is not None, f"dispute {dispute.id} has no verdict, and has just got one"
    return verdict


def _carry_out(
    db: Db, dispute: Dispute, verdict: Verdict, by: Actor, approved_by: UUID | None, now: datetime
) -> None:
    """The money goes, the order ends, both hear of it. What was sent stays out of the stock.

    What was left behind for another trip is not to come any more; stock first, as locks go.
    """
    stock.give_back_rest(db, dispute.order_id, now)
    divided = escrow.settle(db, dispute.order_id, verdict.buyer_cents, now)
    db.run(
        """
        UPDATE verdicts
        SET state = 'carried_out', fee_cents = %(fee_cents)s, approved_by = %(approved_by)s,
            ended_at = %(now)s
        WHERE id = %(id)s
        """,
        {
            "fee_cents": divided.fee_cents,
            "approved_by": approved_by,
            "now": now,
            "id": verdict.id,
        },
    )
    detail = {
        "case": str(dispute.number),
        "total": show(verdict.buyer_cents + verdict.seller_cents),
        "back": show(divided.to_buyer_cents),
        "net": show(divided.to_seller_cents),
    }
    match verdict.outcome:
        case "resolved_buyer":
            orders.move(db, dispute.order_id, "refunded", now, **detail)
        case "resolved_split":
            orders.move(db, dispute.order_id, "split", now, **detail)
        case "resolved_seller":
            orders.move(
                db, dispute.order_id, "completed", now, **detail, reason="decided_for_seller"
            )
    disputes.close(db, dispute, verdict.outcome, now)
    _close_incident(db, dispute, verdict.outcome, now)
    before = {"state": dispute.state, "default_buyer": dispute.default_buyer}
    after = {
        "state": verdict.outcome,
        "to_buyer_cents": divided.to_buyer_cents,
        "to_seller_cents": divided.to_seller_cents,
        "fee_cents": divided.fee_cents,
        "reason": verdict.reason,
    }
    what = "dispute_decided" if approved_by is None else "verdict_approved"
    by.write(db, what, _case(dispute), before, after, now)


def _decline(db: Db, verdict: Verdict, by: Actor, now: datetime) -> None:
    db.run(
        """
        UPDATE verdicts SET state = 'declined', declined_by = %(by)s, ended_at = %(now)s
        WHERE id = %(id)s
        """,
        {"by": by.who.id, "now": now, "id": verdict.id},
    )


def _close_incident(db: Db, dispute: Dispute, note: str, now: datetime) -> None:
    incidents.end(db, PENDING, dispute.order_id, note, now)


def _case(dispute: Dispute) -> str:
    return f"case {dispute.number}"
