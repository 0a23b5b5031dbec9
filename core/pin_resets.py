"""PIN resets: a member who forgot the PIN may choose a new one, on the own phone, for a day.

One of ours proposes it, another agrees, and neither sees or sets a PIN. Whoever holds the line then
chooses one; for as long as a new number cools, no money leaves to it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import audit, incidents, messages, phone, pins, reasons, staff
from core.database import Db, metadata
from core.rules import Rules
from core.staff import Actor

Unfit = Literal["not_allowed", "party", "no_number", "shared"]

STATES: Final = ("proposed", "approved", "used", "void", "declined")
OPEN_FOR: Final = timedelta(hours=24)  # from the approval on
# So long whoever had a hand in a member's number approves no PIN for it: else two of ours alone
# could take the whole account to a phone of theirs.
HANDS_APART_FOR: Final = timedelta(days=30)
LINE: Final = "the member's phone"  # from where, in the audit log, the member did it
OWN: Final = "pin_reset_own"  # the incident: somebody of ours, and their own PIN

pin_resets = sa.Table(
    "pin_resets",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("proposed_by", sa.Uuid, sa.ForeignKey("staff.id"), nullable=False),
    sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("decided_by", sa.Uuid, sa.ForeignKey("staff.id")),
    sa.Column("decided_at", sa.DateTime(timezone=True)),
    sa.Column("until", sa.DateTime(timezone=True)),  # an approved one is void from here on
    sa.Column("ended_at", sa.DateTime(timezone=True)),  # when it was used, or became void
    sa.Column("cool_until", sa.DateTime(timezone=True)),  # no money goes to the member before
    sa.CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
    sa.CheckConstraint(reasons.FITS, name="reason"),
    sa.CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL)", name="decided"),
    sa.CheckConstraint(
        "CASE state WHEN 'proposed' THEN decided_by IS NULL WHEN 'void' THEN true"
        " ELSE decided_by IS NOT NULL END",
        name="decider",
    ),
    sa.CheckConstraint("state = 'declined' OR decided_by <> proposed_by", name="two_people"),
    sa.CheckConstraint("state NOT IN ('approved', 'used') OR until IS NOT NULL", name="until"),
    sa.CheckConstraint("(state IN ('used', 'void')) = (ended_at IS NOT NULL)", name="ended"),
    sa.CheckConstraint("(state = 'used') = (cool_until IS NOT NULL)", name="cools"),
    sa.Index(
        "uq_pin_resets_open",
        "member_id",
        unique=True,
        postgresql_where=sa.text("state IN ('proposed', 'approved')"),
    ),
    sa.Index(
        "ix_pin_resets_used",
        "member_id",
        "cool_until",
        postgresql_where=sa.text("state = 'used'"),
    ),
)

_COLUMNS: Final[LiteralString] = "id, member_id, state, reason, proposed_by, proposed_at, until"


@dataclass(frozen=True)
class Reset:
    """until: the moment from which on an approved one is void. None: nobody has approved it."""

    id: UUID
    member_id: UUID
    state: Literal["proposed", "approved"]
    reason: str
    proposed_by: UUID
    proposed_at: datetime
    until: datetime | None

    def is_over(self, now: datetime) -> bool:
        return self.until is not None and self.until <= now


def propose(
    db: Db, member_id: UUID, reason: str, by: Actor, now: datetime
) -> Literal["proposed", "already_proposed", "already_open", "no_reason"] | Unfit:
    """An operator knows who it is, and why; nothing changes before a second person agrees.

    "already_open": the member may choose a PIN as it is. "party": it is the operator's own account.
    "shared": two of one phone are told apart by nothing but their PINs.
    """
    if not by.may("operator"):
        return "not_allowed"
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    if unfit := _unfit(db, member_id, by, now):
        return unfit
    before = _open(db, member_id)
    if before is not None and before.is_over(now):
        void(db, member_id, now)
    elif before is not None:
        return "already_proposed" if before.state == "proposed" else "already_open"
    db.run(
        """
        INSERT INTO pin_resets (id, member_id, state, reason, proposed_by, proposed_at)
        VALUES (%(id)s, %(member_id)s, 'proposed', %(reason)s, %(by)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "member_id": member_id,
            "reason": reason,
            "by": by.who.id,
            "now": now,
        },
    )
    after = {"state": "proposed", "why": reason}
    by.write(db, "pin_reset_proposed", _subject(member_id), {}, after, now)
    return "proposed"


def approve(
    db: Db, member_id: UUID, by: Actor, rules: Rules, now: datetime
) -> Literal["approved", "not_proposed", "own", "changed_number"] | Unfit:
    """A second person agrees: the member is told, and may choose a PIN for OPEN_FOR.

    "changed_number": the approver had a hand in the member's number of late.
    """
    if not by.may("approver"):
        return "not_allowed"
    if unfit := _unfit(db, member_id, by, now):
        return unfit
    reset = _open(db, member_id)
    if reset is None or reset.state != "proposed":
        return "not_proposed"
    if reset.proposed_by == by.who.id:
        incidents.open(db, OWN, member_id, now, by=by.name)
        return "own"
    if _changed_number(db, member_id, by, now):
        return "changed_number"
    until = now + OPEN_FOR
    db.run(
        """
        UPDATE pin_resets
        SET state = 'approved', decided_by = %(by)s, decided_at = %(now)s, until = %(until)s
        WHERE id = %(id)s
        """,
        {"by": by.who.id, "now": now, "until": until, "id": reset.id},
    )
    before, after = {"state": "proposed"}, {"state": "approved", "until": until}
    by.write(db, "pin_reset_approved", _subject(member_id), before, after, now)
    values = {"until": until, "support": phone.local(rules.support_msisdn)}
    messages.of_member(db, "pin_reset", member_id, values, now)
    return "approved"


def decline(
    db: Db, member_id: UUID, reason: str, by: Actor, now: datetime
) -> Literal["taken_back", "not_allowed", "not_proposed", "no_reason"]:
    """An approver does not agree, or whoever proposed it takes it back; also once it is approved.

    The member may have said that it was somebody else who asked for it.
    """
    reason = reasons.read(reason)
    if not reason:
        return "no_reason"
    _lock_member(db, member_id)
    reset = _open(db, member_id)
    if reset is None or reset.is_over(now):
        return "not_proposed"
    if not by.may_decline(reset.proposed_by, reset.until or reset.proposed_at):
        return "not_allowed"
    if reset.state == "approved":
        void(db, member_id, now)
    else:
        db.run(
            """
            UPDATE pin_resets
            SET state = 'declined', decided_by = %(by)s, decided_at = %(now)s WHERE id = %(id)s
            """,
            {"by": by.who.id, "now": now, "id": reset.id},
        )
    before, after = {"state": reset.state}, {"state": "declined", "why": reason}
    by.write(db, "pin_reset_declined", _subject(member_id), before, after, now)
    return "taken_back"


def is_open(db: Db, member_id: UUID, now: datetime) -> bool:
    """Whether the member may choose a new PIN without the old one, on the own line."""
    found: bool = db.value(
        """
        SELECT EXISTS (
            SELECT FROM pin_resets r JOIN members m ON m.id = r.member_id
            WHERE r.member_id = %(member_id)s AND r.state = 'approved' AND r.until > %(now)s
              AND m.deleted_at IS NULL AND m.msisdn IS NOT NULL AND NOT m.shares_phone)
        """,
        {"member_id": member_id, "now": now},
    )
    return found


def use(
    db: Db, member_id: UUID, pin: str, rules: Rules, now: datetime
) -> Literal["changed", "over"]:
    """The member has chosen a PIN, on the own line. "over": not any more, or nobody allowed it."""
    _lock_member(db, member_id)
    if not is_open(db, member_id, now):
        return "over"
    done = pins.set(db, member_id, pin, rules, now)
    assert done == "changed", f"{member_id} shares no phone, and the PIN is {done}"
    cool_until = now + timedelta(hours=rules.number_cooling_hours)
    db.run(
        """
        UPDATE pin_resets
        SET state = 'used', ended_at = %(now)s, cool_until = %(cool_until)s
        WHERE member_id = %(member_id)s AND state = 'approved'
        """,
        {"now": now, "cool_until": cool_until, "member_id": member_id},
    )
    before, after = {"state": "approved"}, {"state": "used", "money_from": cool_until}
    audit.write(db, staff.SYSTEM, LINE, "pin_reset_used", _subject(member_id), before, after, now)
    return "changed"


def void(db: Db, member_id: UUID, now: datetime) -> None:
    """Nothing comes of an open one any more. The caller holds the member's row."""
    db.run(
        """
        UPDATE pin_resets SET state = 'void', ended_at = %(now)s
        WHERE member_id = %(member_id)s AND state IN ('proposed', 'approved')
        """,
        {"now": now, "member_id": member_id},
    )


def unfinished(db: Db, now: datetime) -> list[Reset]:
    """Those that wait for a second person, or for the member, oldest first."""
    return db.rows(
        Reset,
        f"""
        SELECT {_COLUMNS} FROM pin_resets
        WHERE state IN ('proposed', 'approved') AND (until IS NULL OR until > %(now)s)
          AND member_id IN (SELECT id FROM members WHERE deleted_at IS NULL)
        ORDER BY proposed_at, id
        """,
        {"now": now},
    )


@dataclass(frozen=True)
class _Line:
    has_number: bool
    shares_phone: bool


def _lock_member(db: Db, member_id: UUID) -> _Line | None:
    """Of two who act at once the second sees what the first did. None: the member has left."""
    return db.row(
        _Line,
        """
        SELECT msisdn IS NOT NULL AS has_number, shares_phone FROM members
        WHERE id = %(id)s AND deleted_at IS NULL FOR NO KEY UPDATE
        """,
        {"id": member_id},
    )


def _unfit(
    db: Db, member_id: UUID, by: Actor, now: datetime
) -> Literal["party", "no_number", "shared"] | None:
    line = _lock_member(db, member_id)
    if line is None or not line.has_number:
        return "no_number"
    if staff.is_member(db, by.who, member_id):
        incidents.open(db, OWN, member_id, now, by=by.name)
        return "party"
    return "shared" if line.shares_phone else None


def _open(db: Db, member_id: UUID) -> Reset | None:
    return db.row(
        Reset,
        f"""
        SELECT {_COLUMNS} FROM pin_resets
        WHERE member_id = %(member_id)s AND state IN ('proposed', 'approved')
        """,
        {"member_id": member_id},
    )


def _changed_number(db: Db, member_id: UUID, by: Actor, now: datetime) -> bool:
    return bool(
        db.value(
            """
            SELECT EXISTS (
                SELECT FROM number_changes
                WHERE member_id = %(member_id)s AND state = 'done' AND ended_at > %(since)s
                  AND %(by)s IN (proposed_by, decided_by))
            """,
            {"member_id": member_id, "since": now - HANDS_APART_FOR, "by": by.who.id},
        )
    )


def _subject(member_id: UUID) -> str:
    return f"member {member_id}"
