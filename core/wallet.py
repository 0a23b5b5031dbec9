"""Wallet: what a member may withdraw, earned as a seller or come back as a buyer, and its history.

The two accounts are one purse to their owner. Both are read by their newest entries, so a page of
the history costs the same whether a member has ten entries or a hundred thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

from core import (
    days,
    freezes,
    ledger,
    members,
    messages,
    money,
    numbers,
    payouts,
    solvency,
    withdrawals,
)
from core.database import Db
from core.rules import Rules

# What moved it, in the member's terms. paid_in: a payment that no order waited for any more.
MovementKind = Literal[
    "sale",
    "refund",
    "decision",
    "withdrawal",
    "sent_back",
    "came_back",
    "paid_in",
    "paid_with",
    "other",
]
Progress = Literal["looked_at", "waits", "on_its_way", "paid", "came_back"]
Prospect = Literal["soon", "cooling", "looked_at", "frozen", "insolvent"]
Withdrawn = Literal[
    "soon", "cooling", "looked_at", "not_whole", "too_small", "frozen", "insolvent", "overdrawn"
]

STATEMENT_PERIOD: Final = timedelta(days=30)
STATEMENT_MOVEMENTS_MAX: Final = 10  # what three parts of an SMS hold
STATEMENT_EVERY: Final = timedelta(hours=1)  # each costs us three parts
# What is told of a withdrawal, by what becomes of it.
_TOLD: Final = {
    "soon": "withdrawal_asked",
    "cooling": "withdrawal_cooling",
    "looked_at": "withdrawal_looked_at",
}
_NEWEST: Final = UUID(int=2**128 - 1)  # after every entry there will ever be
MOVEMENTS_MAX: Final = 100  # of a page
# By account and id in one, as only the index has them. And a known limit: for an unknown one the
# planner expects a tenth of all there is, and may sort it all.
_MOVEMENTS: Final[LiteralString] = """
WITH newest AS (
    (SELECT id, transfer_id, amount_cents FROM entries
     WHERE account_id >= %(earned)s AND (account_id, id) < (%(earned)s, %(before)s)
     ORDER BY account_id DESC, id DESC LIMIT 100)
    UNION ALL
    (SELECT id, transfer_id, amount_cents FROM entries
     WHERE account_id >= %(returned)s AND (account_id, id) < (%(returned)s, %(before)s)
     ORDER BY account_id DESC, id DESC LIMIT 100)
    ORDER BY id DESC LIMIT %(limit)s
)
SELECT e.id, t.at, t.kind AS transfer, -e.amount_cents AS cents, o.number AS order,
       p.kind AS payout
FROM newest e
-- One by one: planned for any limit at all, a join would read every transfer there is.
JOIN LATERAL (
    SELECT kind, key, at FROM transfers WHERE id = e.transfer_id LIMIT 1
) AS t ON true
-- A transfer's key names what it is about: release:<order>, payout:<payout>:requested.
LEFT JOIN LATERAL (
    SELECT CASE WHEN t.key ~ '^[a-z_]+:[0-9a-f]{8}-[0-9a-f-]{27}(:|$)'
                THEN split_part(t.key, ':', 2)::uuid END AS id
) AS about ON true
LEFT JOIN LATERAL (SELECT number FROM orders WHERE id = about.id LIMIT 1) AS o ON true
LEFT JOIN LATERAL (SELECT kind FROM payouts WHERE id = about.id LIMIT 1) AS p ON true
ORDER BY e.id DESC
"""


@dataclass(frozen=True)
class Balance:
    """In cents. earned: as a seller. returned: come back as a buyer. to_come: set aside for
    payouts that wait or are on their way, and in neither of the two."""

    earned_cents: int
    returned_cents: int
    to_come_cents: int

    @property
    def total_cents(self) -> int:
        return self.earned_cents + self.returned_cents

    @property
    def sendable_cents(self) -> int:
        """What M-Pesa could be given of it now: whole shillings, of each account enough."""
        return sum(withdrawals.sendable(self.earned_cents, self.returned_cents))


@dataclass(frozen=True)
class Movement:
    """One entry on one of the two accounts. id: the entry's. cents: what the member has more by.

    order: the number of the order it was for, if it was for one.
    """

    id: UUID
    at: datetime
    kind: MovementKind
    cents: int
    order: int | None


@dataclass(frozen=True)
class Statement:
    """movements: oldest first; opening and closing are the balance before and after them."""

    since: datetime
    until: datetime
    opening_cents: int
    movements: Sequence[Movement]
    closing_cents: int


@dataclass(frozen=True)
class Due:
    """What is held for a seller. net_cents: his, of what lies in its escrow now, less the fee.

    by: when the next thing must happen, None where no hour is set; state: the order's.
    """

    order_id: UUID
    number: int
    state: str
    net_cents: int
    by: datetime | None


def balance(db: Db, member_id: UUID) -> Balance:
    to_come_cents: int = db.value(
        """
        SELECT coalesce(sum(amount_cents), 0)::bigint FROM payouts
        WHERE member_id = %(member_id)s AND state NOT IN ('paid', 'failed')
        """,
        {"member_id": member_id},
    )
    return Balance(
        earned_cents=ledger.balance(db, ledger.seller(member_id)),
        returned_cents=ledger.balance(db, ledger.buyer(member_id)),
        to_come_cents=to_come_cents,
    )


def movements(db: Db, member_id: UUID, limit: int, before: UUID | None = None) -> list[Movement]:
    """The newest first. before: the id of the last one that was seen, for those behind it.

    limit: 100 at most.
    """
    assert limit <= MOVEMENTS_MAX, f"a page of {limit} movements is of {MOVEMENTS_MAX} at most"
    rows = db.rows(
        _Row,
        _MOVEMENTS,
        {
            "earned": ledger.seller(member_id).id,
            "returned": ledger.buyer(member_id).id,
            "before": before or _NEWEST,
            "limit": limit,
        },
    )
    return [Movement(row.id, row.at, _kind(row), row.cents, row.order) for row in rows]


def statement(db: Db, member_id: UUID, now: datetime) -> Statement:
    """Of the last 30 days, or of fewer where so much has moved that it would fill a letter."""
    last = movements(db, member_id, STATEMENT_MOVEMENTS_MAX)
    begin = now - STATEMENT_PERIOD
    shown = [movement for movement in reversed(last) if movement.at >= begin]
    is_cut = len(shown) == STATEMENT_MOVEMENTS_MAX
    closing_cents = balance(db, member_id).total_cents
    return Statement(
        since=shown[0].at if is_cut else begin,
        until=now,
        opening_cents=closing_cents - sum(movement.cents for movement in shown),
        movements=shown,
        closing_cents=closing_cents,
    )


def send_statement(
    db: Db, member_id: UUID, said: Statement, lines: str, now: datetime
) -> Literal["sent", "too_soon", "shared"]:
    """By SMS. lines: its movements in the member's words.

    "too_soon": the last was sent within the hour. "shared": somebody else reads that phone's SMS.
    """
    member = members.by_id(db, member_id)
    assert member is not None, f"no member {member_id}"
    if members.sharing(db, member.msisdn):
        return "shared"
    if messages.told_since(db, "statement", member.msisdn, now - STATEMENT_EVERY):
        return "too_soon"
    values = {
        "from": days.today(said.since),
        "to": days.today(said.until),
        "opening": money.show(said.opening_cents),
        "lines": lines,
        "closing": money.show(said.closing_cents),
    }
    messages.of_member(db, "statement", member_id, values, now)
    return "sent"


def prospect(db: Db, member_id: UUID, cents: int, rules: Rules, now: datetime) -> Prospect:
    """What would become of a withdrawal of so much, so that she knows before she asks."""
    if freezes.is_frozen(db, member_id):
        return "frozen"
    if solvency.surplus_cents(db) < 0:
        return "insolvent"
    if not payouts.is_automatic(db, member_id, cents, rules, now):
        return "looked_at"
    return "cooling" if cools_until(db, member_id, now) else "soon"


def cools_until(db: Db, member_id: UUID, now: datetime) -> datetime | None:
    """Until when money waits since the member's number or PIN is new. None: it does not."""
    member = members.by_id(db, member_id)
    return numbers.cools_until(db, member_id, member.msisdn, now) if member else None


def withdraw(db: Db, member_id: UUID, cents: int, rules: Rules, now: datetime) -> Withdrawn:
    """Take so much out; the PIN is checked. "looked_at": a person lets it go first, or some of it.
    "cooling": it waits because her number or PIN is new.

    She is told either way; a refusal moves nothing.
    """
    asked = withdrawals.withdraw(db, member_id, cents, rules, now)
    if isinstance(asked, str):
        return asked
    found = [payouts.by_id(db, payout_id) for payout_id in asked]
    waits = any(payout is not None and payout.state == "requested" for payout in found)
    until = cools_until(db, member_id, now)
    outcome: Withdrawn = "looked_at" if waits else "cooling" if until else "soon"
    values = {"total": money.show(cents), "until": until}
    messages.of_member(db, _TOLD[outcome], member_id, values, now)
    return outcome


def progress(payout: payouts.Payout) -> Progress:
    """How a payout stands, for whoever waits for it, who need not know what it waits for."""
    match payout.state:
        case "approved" if payout.waits_for is not None:
            return "waits"
        case "requested":
            return "looked_at"
        case "paid":
            return "paid"
        case "failed":
            return "came_back"
        case _:
            return "on_its_way"


def due(db: Db, seller_id: UUID, limit: int) -> list[Due]:
    """What is held for a seller, the soonest first; those of which no hour is set last."""
    rows = db.rows(
        _Held,
        """
        SELECT o.id, o.number, o.state, a.balance_cents AS held_cents, o.total_cents,
               o.fee_cents AS order_fee_cents, e.released_cents, e.fee_cents,
               CASE o.state WHEN 'paid' THEN o.accept_by
                            WHEN 'accepted' THEN o.dispatch_by
                            WHEN 'delivered' THEN o.inspect_by END AS by
        FROM orders o
        JOIN escrows e ON e.order_id = o.id AND e.state IN ('held', 'frozen')
        JOIN accounts a ON a.kind = 'L.escrow' AND a.owner_id = o.id
        WHERE o.seller_id = %(seller_id)s AND a.balance_cents > 0
        ORDER BY by NULLS LAST, o.number LIMIT %(limit)s
        """,
        {"seller_id": seller_id, "limit": limit},
    )
    return [Due(row.id, row.number, row.state, row.net_cents, row.by) for row in rows]


@dataclass(frozen=True)
class _Row:
    id: UUID
    at: datetime
    transfer: str
    cents: int
    order: int | None
    payout: str | None


def _kind(row: _Row) -> MovementKind:
    match row.transfer:
        case "release":
            return "sale"
        case "refund":
            return "refund"
        case "decision":
            return "decision"
        case "payout" | "payout_reopened":
            return "withdrawal" if row.payout == "withdrawal" else "sent_back"
        case "payout_failed":
            return "came_back"
        case "capture" | "receipt":
            return "paid_in" if row.cents > 0 else "paid_with"
        case _:
            return "other"


@dataclass(frozen=True)
class _Held:
    id: UUID
    number: int
    state: str
    held_cents: int
    total_cents: int
    order_fee_cents: int
    released_cents: int
    fee_cents: int
    by: datetime | None

    @property
    def net_cents(self) -> int:
        gross_cents = self.held_cents + self.released_cents + self.fee_cents
        fee_cents = money.part_cents(self.order_fee_cents, gross_cents, self.total_cents)
        return self.held_cents - (fee_cents - self.fee_cents)
