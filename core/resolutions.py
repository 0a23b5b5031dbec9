"""Resolutions: what staff decide about a difference, posted with its reason in writing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, LiteralString, get_args
from uuid import UUID

import sqlalchemy as sa

from core import (
    differences,
    discretion,
    incidents,
    ledger,
    matching,
    reasons,
    receipts,
    reversals,
    settlements,
    solvency,
    staff,
    statement_lines,
)
from core.database import Db, metadata
from core.differences import Difference
from core.money import show
from core.receipts import Receipt
from core.rules import Rules
from core.staff import Actor

PENDING: Final = "resolution_to_approve"  # the incident while a second person is waited for

# Against what the gap is posted; "nothing": M-Pesa or time will mend it, our books are right.
# payment: which M-Pesa itself gave back, so from where it lies now (core.reversals).
Against = Literal[
    "suspense",
    "loss",
    "charges",
    "owed",
    "bank",
    "transit",
    "capital",
    "payment",
    "nothing",
]
AGAINST: Final[tuple[Against, ...]] = get_args(Against)
_FORMERLY: Final = ("buyer", "seller")  # in place of payment
_ACCOUNTS: Final[Mapping[Against, ledger.Account]] = {
    "suspense": ledger.SUSPENSE,
    "loss": ledger.LOSS,
    "charges": ledger.MPESA_CHARGES,
    "owed": ledger.MPESA_CHARGES_OWED,
    "bank": ledger.BANK,
    "transit": ledger.TRANSIT,
    "capital": ledger.CAPITAL,
}

Resolved = Literal[
    "resolved",
    "proposed",
    "already_proposed",
    "not_allowed",
    "party",
    "not_open",
    "no_reason",
    "no_such_posting",
    "too_little",
    "insolvent",
    "asked_for",
    "on_its_way",
]

resolutions = sa.Table(
    "resolutions",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column(
        "difference_id", sa.Uuid, sa.ForeignKey("differences.id"), nullable=False, index=True
    ),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("gap_cents", sa.BigInteger, nullable=False),  # of the difference, when it was decided
    sa.Column("against", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Uuid, sa.ForeignKey("staff.id"), nullable=False),
    sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("approved_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.Column("declined_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint(
        "state IN ('proposed', 'carried_out', 'declined', 'outdated')", name="state"
    ),
    sa.CheckConstraint(
        f"against IN ({', '.join(map(repr, (*AGAINST, *_FORMERLY)))})", name="against"
    ),
    sa.CheckConstraint("(state = 'proposed') = (ended_at IS NULL)", name="ended_at"),
    sa.CheckConstraint("(state = 'declined') = (declined_by IS NOT NULL)", name="declined_by"),
    sa.CheckConstraint("approved_by IS NULL OR state = 'carried_out'", name="approved_by"),
    sa.CheckConstraint("approved_by <> decided_by", name="two_people"),
    sa.CheckConstraint(reasons.FITS, name="reason"),
    sa.Index(
        "uq_resolutions_proposed",
        "difference_id",
        unique=True,
        postgresql_where=sa.text("state = 'proposed'"),
    ),
)

_COLUMNS: Final[LiteralString] = """
    id, difference_id, state, gap_cents, against, reason, decided_by, decided_at"""


@dataclass(frozen=True)
class Resolution:
    """gap_cents: what it posts on the account that differs, a debit above zero."""

    id: UUID
    difference_id: UUID
    state: Literal["proposed", "carried_out", "declined", "outdated"]
    gap_cents: int
    against: Against
    reason: str = field(repr=False)
    decided_by: UUID
    decided_at: datetime


def decide(
    db: Db, number: int, by: Actor, against: Against, reason: str, rules: Rules, now: datetime
) -> Resolved:
    """An operator says where a difference is to be booked, and why.

    "proposed": it is so much, or they decided so much alone today, that a second person must
    approve. "no_such_posting": a payment that
    only M-Pesa has goes to suspense, where it finds its owner, and to no other account; one that it
    gave back is taken from where that payment lies; of a balance nobody knows what it is, so
    nothing can be posted. "too_little": an account would go below zero. "asked_for": that reversal
    is one of ours, whose proof will end this. "on_its_way": some of it would be our loss, while
    money is still being sent to those it is taken from and may come back. "insolvent": other
    people's money would not be covered; capital goes in first. "party": it is about their own
    payment, sale, payout or phone; that is an incident. A refusal moves nothing.
    """
    if not by.may("operator"):
        return "not_allowed"
    discretion.lock(db, by.who.id)
    statement_lines.lock(db)
    difference = differences.numbered(db, number)
    if difference is None or difference.state != "open":
        return "not_open"
    if _is_party(db, difference, by, now):
        return "party"
    if proposed(db, difference.id) is not None:
        return "already_proposed"
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    if refused := _refused(db, difference, against):
        return refused
    gap_cents, one_max_cents = abs(difference.gap_cents), rules.difference_second_above_cents
    alone = discretion.suffices(db, by.who.id, gap_cents, one_max_cents, rules, now)
    resolution = _propose(db, difference, by, against, reason, now)
    if alone:
        _carry_out(db, difference, resolution, by, None, now)
        return "resolved"
    after = {"state": "proposed", **_shown(resolution)}
    by.write(db, "resolution_proposed", _case(difference), {"state": "open"}, after, now)
    incidents.open(db, PENDING, difference.id, now, case=number, cents=difference.gap_cents)
    return "proposed"


def approve(
    db: Db, number: int, by: Actor, now: datetime
) -> Literal[
    "resolved",
    "not_proposed",
    "not_open",
    "not_allowed",
    "own",
    "party",
    "outdated",
    "too_little",
    "insolvent",
    "no_such_posting",
    "asked_for",
    "on_its_way",
]:
    """A second person agrees, and it is posted. "outdated": the difference is another one now."""
    if not by.may("approver"):
        return "not_allowed"
    statement_lines.lock(db)
    difference = differences.numbered(db, number)
    if difference is None:
        return "not_open"
    resolution = proposed(db, difference.id)
    if resolution is None:
        return "not_proposed"
    if resolution.decided_by == by.who.id:
        incidents.open(db, "resolution_own_approval", difference.id, now, by=by.name)
        return "own"
    if _is_party(db, difference, by, now):
        return "party"
    if difference.state != "open" or difference.gap_cents != resolution.gap_cents:
        _end(db, resolution, "outdated", None, now)
        _close_incident(db, difference, "outdated", now)
        return "outdated"
    if refused := _refused(db, difference, resolution.against):
        return refused
    _carry_out(db, difference, resolution, by, by.who.id, now)
    return "resolved"


def decline(
    db: Db, number: int, by: Actor, reason: str, now: datetime
) -> Literal["declined", "not_proposed", "not_open", "not_allowed", "no_reason"]:
    """A second person does not agree, or whoever decided takes it back: it is open to decide."""
    statement_lines.lock(db)
    difference = differences.numbered(db, number)
    if difference is None:
        return "not_open"
    resolution = proposed(db, difference.id)
    if resolution is None:
        return "not_proposed"
    if not by.may_decline(resolution.decided_by, resolution.decided_at):
        return "not_allowed"
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    _end(db, resolution, "declined", by.who.id, now)
    _close_incident(db, difference, "declined", now)
    after = {"state": "declined", "reason": reason}
    by.write(db, "resolution_declined", _case(difference), {"state": "proposed"}, after, now)
    return "declined"


def proposed(db: Db, difference_id: UUID) -> Resolution | None:
    """The one that waits for a second person."""
    return db.row(
        Resolution,
        f"""
        SELECT {_COLUMNS} FROM resolutions
        WHERE difference_id = %(id)s AND state = 'proposed'
        """,
        {"id": difference_id},
    )


@dataclass(frozen=True)
class _Concerned:
    """Whose payment, sale or payout a difference is about, and from or to which phone."""

    member_id: UUID | None
    msisdn: str | None = field(repr=False)


def _is_party(db: Db, difference: Difference, by: Actor, now: datetime) -> bool:
    """Nobody of ours books what is their own, or went from or to their phone; who tries is told
    of.
    """
    concerned = _concerned(db, difference)
    ids = [each.member_id for each in concerned if each.member_id is not None]
    is_phone = not staff.lines_of(db, by.who).isdisjoint({each.msisdn for each in concerned})
    if not is_phone and not staff.is_member(db, by.who, *ids):
        return False
    known = {"case": difference.number, "by": by.name}
    incidents.open(db, "resolution_by_a_party", difference.id, now, **known)
    return True


def _concerned(db: Db, difference: Difference) -> list[_Concerned]:
    of, _, name = (difference.movement or "").partition(":")
    receipts = [difference.receipt, name if of == "receipt" else None]
    found = []
    if difference.line_id is not None:
        line = statement_lines.by_id(db, difference.line_id)
        receipts.append(line.linked_receipt)
        found.append(_Concerned(None, line.msisdn))
    return found + db.rows(
        _Concerned,
        """
        WITH payment AS (
            SELECT checkout_id, msisdn FROM charges
            WHERE id IN (SELECT charge_id FROM receipts WHERE receipt = ANY(%(receipts)s)
                         UNION ALL SELECT %(charge_id)s::uuid)
        )
        SELECT c.buyer_id AS member_id, p.msisdn
        FROM payment p JOIN checkouts c ON c.id = p.checkout_id
        UNION ALL
        SELECT o.seller_id, NULL FROM payment p JOIN orders o ON o.checkout_id = p.checkout_id
        UNION ALL
        SELECT member_id, NULL FROM explanations
        WHERE receipt = ANY(%(receipts)s) AND state = 'booked'
        UNION ALL
        SELECT member_id, msisdn FROM payouts
        WHERE receipt = ANY(%(receipts)s) OR id = %(payout_id)s::uuid
        """,
        {
            "receipts": [each for each in receipts if each is not None],
            "charge_id": name if of == "capture" else None,
            "payout_id": name if of == "payout" else None,
        },
    )


def _refused(
    db: Db, difference: Difference, against: Against
) -> Literal["no_such_posting", "too_little", "insolvent", "asked_for", "on_its_way"] | None:
    if against == "nothing":
        return None
    if difference.is_unknown_payment:
        return None if against == "suspense" else "no_such_posting"
    if difference.kind == "balance":
        return "no_such_posting"
    reversal = _reversal(db, difference)  # locks what is before solvency
    if difference.kind == "reversed" and reversals.is_asked_for(db, _reversed(db, difference)):
        return "asked_for"
    if reversal is not None and against not in _lies_in(reversal):
        return "no_such_posting"
    solvency.lock(db)
    legs = _legs(db, difference, against)
    if legs is None:
        return "no_such_posting"
    is_lost = any(leg.account == ledger.LOSS for leg in legs)
    if reversal is not None and is_lost and reversals.is_on_its_way(db, reversal):
        return "on_its_way"
    for leg in legs:
        side = 1 if leg.account.debit_normal else -1
        after_cents = ledger.balance(db, leg.account) + side * leg.amount_cents
        if leg.account == ledger.SUSPENSE and reversal is None:  # what has a receipt is somebody's
            after_cents -= receipts.unexplained_cents(db)
        if leg.account.kind[0] in "AL" and side * leg.amount_cents < 0 and after_cents < 0:
            return "too_little"
    before, after = solvency.surplus_cents(db), solvency.surplus_after(db, legs)
    return "insolvent" if after < min(before, 0) else None


def _legs(db: Db, difference: Difference, against: Against) -> list[ledger.Leg] | None:
    """None: that is no account which it could be posted against."""
    book, reversal = _book(difference), _reversal(db, difference)
    if reversal is not None:
        return [book, *reversals.legs(db, reversal)]
    account = _ACCOUNTS.get(against)
    if account is None or account == book.account:
        return None
    return [book, ledger.Leg(account, -difference.gap_cents)]


def _book(difference: Difference) -> ledger.Leg:
    return ledger.Leg(ledger.Account(difference.book), difference.gap_cents)


def _reversal(db: Db, difference: Difference) -> reversals.Reversal | None:
    """The payment that M-Pesa gave back; None: it is another difference, or was booked before.

    Of a payment that M-Pesa never had the same, while it lies in suspense: it leaves that with its
    receipt, or somebody would be given it yet.
    """
    if difference.kind == "reversed":
        return reversals.find(db, _reversed(db, difference), -difference.gap_cents)
    receipt = difference.receipt if difference.theirs_cents == 0 else None
    if difference.what != "payment" or receipt is None or not receipts.unexplained(db, receipt):
        return None
    return reversals.find(db, receipt, -difference.gap_cents)


def _lies_in(reversal: reversals.Reversal) -> Sequence[Against]:
    return ("payment",) if reversal.payable else ("payment", "suspense")


def _reversed(db: Db, difference: Difference) -> str:
    """The receipt of what M-Pesa gave back."""
    assert difference.line_id is not None, f"difference {difference.number} is of no line"
    receipt = statement_lines.by_id(db, difference.line_id).linked_receipt
    assert receipt is not None, f"difference {difference.number} is reversed, of no receipt"
    return receipt


def _propose(
    db: Db, difference: Difference, by: Actor, against: Against, reason: str, now: datetime
) -> Resolution:
    resolution = Resolution(
        db.new_id(),
        difference.id,
        "proposed",
        difference.gap_cents,
        against,
        reason,
        by.who.id,
        now,
    )
    db.run(
        """
        INSERT INTO resolutions (id, difference_id, state, gap_cents, against, reason, decided_by,
                                 decided_at)
        VALUES (%(id)s, %(difference_id)s, %(state)s, %(gap_cents)s, %(against)s, %(reason)s,
                %(decided_by)s, %(decided_at)s)
        """,
        vars(resolution),
    )
    return resolution


def _carry_out(
    db: Db,
    difference: Difference,
    resolution: Resolution,
    by: Actor,
    approved_by: UUID | None,
    now: datetime,
) -> None:
    """The gap is posted; the line, if only M-Pesa had it, has its movement."""
    if resolution.against != "nothing":
        _post(db, difference, resolution, by, now)
    db.run(
        """
        UPDATE resolutions
        SET state = 'carried_out', approved_by = %(approved_by)s, ended_at = %(now)s
        WHERE id = %(id)s
        """,
        {"approved_by": approved_by, "now": now, "id": resolution.id},
    )
    differences.resolve(db, difference.id, f"resolved by {by.name}", now)
    _close_incident(db, difference, "resolved", now)
    what = "difference_resolved" if approved_by is None else "resolution_approved"
    after = {"state": "resolved", **_shown(resolution)}
    by.write(db, what, _case(difference), {"state": "open"}, after, now)


def _post(db: Db, difference: Difference, resolution: Resolution, by: Actor, now: datetime) -> None:
    if difference.is_unknown_payment:
        _receive(db, difference, now)
        matching.match(db, now)
        return
    movement = f"difference:{difference.id}"
    key = f"{movement}:{resolution.id}"
    reversal = _reversal(db, difference)
    if reversal is not None:
        reversals.book(db, reversal, _book(difference), key, by, now)
    else:
        legs = _legs(db, difference, resolution.against)
        assert legs is not None, f"difference {difference.number} cannot be posted, nor was refused"
        ledger.post(db, "difference", key, legs, now)
    if difference.line_id is not None:
        matching.correct(db, difference.line_id, movement, now)


def _receive(db: Db, difference: Difference, now: datetime) -> None:
    """As if M-Pesa's confirmation had come: should it come yet, it finds the receipt known."""
    assert difference.line_id is not None, f"difference {difference.id} is a payment of no line"
    assert difference.source != "asked", f"difference {difference.id} is a balance, no payment"
    line = statement_lines.by_id(db, difference.line_id)
    assert line.receipt is not None, f"line {difference.line_id} is a payment without a receipt"
    done = settlements.receive(
        db,
        Receipt(
            difference.source, line.receipt, line.amount_cents, line.reference, line.completed_at
        ),
        now,
    )
    assert done not in ("repeat", "conflict"), f"line {difference.line_id} is unmatched, and {done}"


def _end(
    db: Db,
    resolution: Resolution,
    state: Literal["declined", "outdated"],
    declined_by: UUID | None,
    now: datetime,
) -> None:
    db.run(
        """
        UPDATE resolutions
        SET state = %(state)s, declined_by = %(declined_by)s, ended_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "declined_by": declined_by, "now": now, "id": resolution.id},
    )


def _close_incident(db: Db, difference: Difference, note: str, now: datetime) -> None:
    incidents.end(db, PENDING, difference.id, note, now)


def _shown(resolution: Resolution) -> dict[str, object]:
    return {
        "against": resolution.against,
        "shillings": show(resolution.gap_cents),
        "reason": resolution.reason,
    }


def _case(difference: Difference) -> str:
    return f"case {difference.number}"
