"""Proposals: what waits for a second person of ours to agree, wherever it is kept.

What nobody agreed to in time lapses, as if whoever proposed it had taken it back: what was right
then need not be right now. A payout is the member's, and waits for as long as it takes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from core import (
    disputes,
    incidents,
    number_changes,
    pin_resets,
    resolutions,
    staff,
    suspense,
    treasury,
    verdicts,
)
from core.database import Db
from core.rules import Rules
from core.staff import Actor

What = Literal["verdict", "resolution", "explanation", "booking", "number", "pin_reset", "payout"]

ORIGIN = "schedule"  # from where it lapses, in the audit log
WHY = "nobody agreed to it in time"


@dataclass(frozen=True)
class Proposal:
    """name: the number of a case or booking, a receipt, the id of a member or payout.

    by: who proposed it; None: a member asked for it. cents: None where it is not about a sum.
    """

    what: What
    name: str
    cents: int | None
    by: str | None
    since: datetime

    @property
    def called(self) -> str:
        """As staff type it: ids begin with the time, so their ends tell them apart."""
        match self.what:
            case "number" | "pin_reset":
                return f"id:{UUID(self.name).hex[-8:]}"
            case "payout":
                return UUID(self.name).hex[-8:]
            case _:
                return self.name


def waiting(db: Db) -> list[Proposal]:
    """All that a second person is to look at, the oldest first."""
    return db.rows(
        Proposal,
        """
        SELECT 'verdict' AS what, d.number::text AS name, v.buyer_cents + v.seller_cents AS cents,
               s.name AS by, v.decided_at AS since
        FROM verdicts v JOIN disputes d ON d.id = v.dispute_id JOIN staff s ON s.id = v.decided_by
        WHERE v.state = 'proposed'
        UNION ALL
        SELECT 'resolution', f.number::text, abs(r.gap_cents), s.name, r.decided_at
        FROM resolutions r JOIN differences f ON f.id = r.difference_id
        JOIN staff s ON s.id = r.decided_by
        WHERE r.state = 'proposed'
        UNION ALL
        SELECT 'explanation', x.receipt, c.amount_cents, s.name, x.proposed_at
        FROM explanations x JOIN receipts c ON c.receipt = x.receipt
        JOIN staff s ON s.id = x.proposed_by
        WHERE x.state = 'proposed'
        UNION ALL
        SELECT 'booking', number::text, amount_cents, proposed_by, proposed_at
        FROM bookings WHERE state = 'proposed'
        UNION ALL
        SELECT 'number', c.member_id::text, NULL, s.name, c.proposed_at
        FROM number_changes c JOIN staff s ON s.id = c.proposed_by WHERE c.state = 'proposed'
        UNION ALL
        SELECT 'pin_reset', r.member_id::text, NULL, s.name, r.proposed_at
        FROM pin_resets r JOIN staff s ON s.id = r.proposed_by WHERE r.state = 'proposed'
        UNION ALL
        SELECT 'payout', id::text, amount_cents, NULL, updated_at
        FROM payouts WHERE state = 'requested'
        ORDER BY since, name
        """,
    )


def lapses_at(it: Proposal, rules: Rules) -> datetime | None:
    """None: never."""
    return None if it.by is None else it.since + timedelta(hours=rules.proposal_hours)


def lapsing(db: Db, rules: Rules, now: datetime) -> list[Proposal]:
    """Those whose time is over."""
    ends = [(lapses_at(it, rules), it) for it in waiting(db)]
    return [it for end, it in ends if end is not None and end <= now]


def lapse(db: Db, it: Proposal, rules: Rules, now: datetime) -> bool:
    """Nobody agreed, so it is as before, and the operators are told. False: it has not lapsed."""
    found = None if it.by is None else staff.find(db, it.by)
    if found is None:
        return False
    by = Actor(found, ORIGIN, lapsed_by=now - timedelta(hours=rules.proposal_hours))
    if _take_back(db, it, by, now) not in ("declined", "taken_back"):
        return False
    subject = f"{it.what} {it.called}".replace("_", " ")
    incidents.open(db, "proposal_lapsed", subject, now, proposed_by=it.by)
    return True


def _take_back(db: Db, it: Proposal, by: Actor, now: datetime) -> str:
    match it.what:
        case "verdict":
            dispute = disputes.numbered(db, int(it.name))
            assert dispute is not None, f"no dispute {it.name}"
            return verdicts.decline(db, dispute.id, by, WHY, now)
        case "resolution":
            return resolutions.decline(db, int(it.name), by, WHY, now)
        case "explanation":
            return suspense.decline(db, it.name, by, now)
        case "booking":
            return treasury.decline(db, int(it.name), by, now)
        case "number":
            return number_changes.decline(db, UUID(it.name), WHY, by, now)
        case "pin_reset":
            return pin_resets.decline(db, UUID(it.name), WHY, by, now)
        case "payout":
            raise AssertionError("a payout is proposed by nobody of ours")
