"""Payouts: money on its way from a member's account to a phone, sent once whatever fails.

A payout is set aside in the ledger (`L.out`) before anything is sent, and its identity at M-Pesa is
committed before the call. An answer that is lost is asked about, never replaced by another call: a
payout ends by proof, as paid or as failed, and until then it is in flight.
"""

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID, uuid5

import sqlalchemy as sa

from core import (
    freezes,
    incidents,
    ledger,
    members,
    messages,
    money,
    numbers,
    outbox,
    phone,
    sim_checks,
    solvency,
)
from core.database import Db, metadata
from core.members import Member
from core.money import CENTS, PAYOUT_CENTS_MIN
from core.rules import Rules

Kind = Literal["withdrawal", "refund", "reversal"]
Refused = Literal["not_whole", "too_small", "frozen", "insolvent", "overdrawn"]

STATES: Final = ("requested", "approved", "submitting", "accepted", "unknown", "paid", "failed")
SENT: Final = ("submitting", "accepted", "unknown")  # M-Pesa may have it, and may act on it
# For what an approved one waits (core.payout_queue).
WAITS: Final = ("frozen", "halted", "cooling", "sim", "float", "probe")
AUTOMATIC: Final = "automatic"  # who approves what is below the limit
SYSTEM: Final = "system"  # who asks for what nobody asked for

AMOUNT_CENTS_MAX: Final = 250_000 * CENTS  # of one payout by M-Pesa (Daraja, B2C)
REVERSAL_CENTS_MIN: Final = 1 * CENTS  # a receipt goes back whole, however small
AUTOMATIC_WITHIN: Final = timedelta(hours=24)  # many small ones are one large one

_CENTS_MAX: Final = 10**10  # of one request: more than anybody has here
_NAMESPACE: Final = UUID("0d8f2a1c-6f0e-4a7d-9a4e-7061796f7574")
_COLUMNS: Final[LiteralString] = """
    id, member_id, account, kind, amount_cents, msisdn, state, waits_for, originator_id,
    conversation_id, receipt, reverses_receipt, charge_cents, code, attempts, query_count,
    requested_by, approved_by, approved_at, claimed_at, asked_at, created_at, sim_swapped_on"""

payouts = sa.Table(
    "payouts",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("account", sa.Text, nullable=False),  # whose money it was: L.buyer or L.seller
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("msisdn", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("waits_for", sa.Text),  # why an approved one is not sent
    sa.Column("originator_id", sa.Text, unique=True),  # ours; of a reversal M-Pesa's, once known
    sa.Column("conversation_id", sa.Text),
    sa.Column("receipt", sa.Text, unique=True),
    sa.Column("reverses_receipt", sa.Text, sa.ForeignKey("receipts.receipt"), unique=True),
    sa.Column("charge_cents", sa.BigInteger),  # what M-Pesa took for it
    sa.Column("code", sa.Text),  # the first final one
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("query_count", sa.Integer, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),  # a member's id, an operator, SYSTEM
    sa.Column("approved_by", sa.Text),
    sa.Column("approved_at", sa.DateTime(timezone=True)),
    sa.Column("claimed_at", sa.DateTime(timezone=True)),  # the last time it was sent
    sa.Column("asked_at", sa.DateTime(timezone=True)),  # when the answer to that was recorded
    sa.Column("settled_at", sa.DateTime(timezone=True)),
    sa.Column("sim_swapped_on", sa.Date),  # the swap for which a person must approve it
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="state"),
    sa.CheckConstraint("account IN ('buyer', 'seller')", name="account"),
    sa.CheckConstraint("kind IN ('withdrawal', 'refund', 'reversal')", name="kind"),
    sa.CheckConstraint("kind = 'withdrawal' OR account = 'buyer'", name="refund_of_buyer"),
    sa.CheckConstraint(f"waits_for IN ({', '.join(map(repr, WAITS))})", name="waits_for"),
    sa.CheckConstraint("waits_for IS NULL OR state = 'approved'", name="waits"),
    sa.CheckConstraint(
        f"amount_cents % {CENTS} = 0 AND amount_cents <= {AMOUNT_CENTS_MAX} AND amount_cents >="
        f" CASE kind WHEN 'reversal' THEN {REVERSAL_CENTS_MIN} ELSE {PAYOUT_CENTS_MIN} END",
        name="amount_cents",
    ),
    sa.CheckConstraint("(kind = 'reversal') = (reverses_receipt IS NOT NULL)", name="reverses"),
    sa.CheckConstraint("kind = 'reversal' OR originator_id IS NOT NULL", name="originator_id"),
    sa.CheckConstraint(
        "state IN ('requested', 'failed') OR approved_by IS NOT NULL", name="approved"
    ),
    sa.CheckConstraint("approved_by <> requested_by", name="two_people"),
    sa.Index("ix_payouts_member_id", "member_id", "created_at"),
    sa.Index(
        "ix_payouts_sent",
        "kind",
        postgresql_where=sa.text("state IN ('submitting', 'accepted', 'unknown')"),
    ),
    sa.Index(
        "ix_payouts_waiting",
        "approved_at",
        "id",
        postgresql_where=sa.text("state = 'approved'"),
    ),
    sa.Index("ix_payouts_requested", "id", postgresql_where=sa.text("state = 'requested'")),
)

payout_codes = sa.Table(
    "payout_codes",
    metadata,
    sa.Column("payout_id", sa.Uuid, sa.ForeignKey("payouts.id"), primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("meaning", sa.Text, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),  # first seen
)


class UnknownPayout(LookupError):
    """No such payout; the caller keeps what it was told and alerts."""


@dataclass(frozen=True)
class Payout:
    """originator_id: its identity at M-Pesa. approved_by: None where nobody has, yet."""

    id: UUID
    member_id: UUID
    account: Literal["buyer", "seller"]
    kind: Kind
    amount_cents: int
    msisdn: str = field(repr=False)
    state: str
    waits_for: str | None
    originator_id: str | None
    conversation_id: str | None
    receipt: str | None
    reverses_receipt: str | None
    charge_cents: int | None
    code: str | None
    attempts: int
    query_count: int
    requested_by: str
    approved_by: str | None
    approved_at: datetime | None
    claimed_at: datetime | None
    asked_at: datetime | None
    created_at: datetime
    sim_swapped_on: date | None

    @property
    def owner(self) -> ledger.Account:
        """Where the money came from, and goes back to."""
        account = ledger.seller if self.account == "seller" else ledger.buyer
        return account(self.member_id)

    @property
    def pays_from(self) -> ledger.Account:
        """The float that is less when it is paid: a receipt is reversed where it came to."""
        return ledger.C2B if self.kind == "reversal" else ledger.B2C


def request(
    db: Db,
    member_id: UUID,
    account: Literal["buyer", "seller"],
    kind: Kind,
    cents: int,
    rules: Rules,
    now: datetime,
    *,
    requested_by: str,
    msisdn: str | None = None,
    reverses_receipt: str | None = None,
    key: str | None = None,
) -> list[UUID] | Refused:
    """Set so much of the account aside and send it: the payouts' ids, several above KSh 250,000.

    Below the limit of a day it is approved at once, else a second person must. msisdn: the
    member's own where None. key: asked again under it, nothing happens and the ids are the same;
    raises ledger.Conflict where the key stands for something else. A refusal moves nothing.
    """
    minimum = REVERSAL_CENTS_MIN if kind == "reversal" else PAYOUT_CENTS_MIN
    if refused := unfit(cents, minimum):
        return refused
    own_msisdn = lock_member(db, member_id)
    if own_msisdn is None or freezes.is_frozen(db, member_id):
        return "frozen"
    line = msisdn or own_msisdn
    assert kind == "reversal" or phone.is_kenyan_mobile(line), "no number that M-Pesa could know"
    surplus_cents = solvency.surplus_cents(db)
    if surplus_cents < 0:
        incidents.open(db, "insolvent", "books", now, missing_cents=-surplus_cents)
        return "insolvent"
    parts = _parts(cents)
    ids = [uuid5(_NAMESPACE, f"{key}:{n}") if key else db.new_id() for n in range(len(parts))]
    legs = [ledger.debit(ledger.Account(f"L.{account}", member_id), cents)]
    legs += [ledger.credit(ledger.out(id_), part) for id_, part in zip(ids, parts, strict=True)]
    try:
        posted = ledger.post(db, "payout", f"payout:{ids[0]}:requested", legs, now)
    except ledger.Overdrawn:
        return "overdrawn"
    if posted == "repeat":
        return ids
    automatic = is_automatic(db, member_id, cents, rules, now)
    for id_, part in zip(ids, parts, strict=True):
        db.run(
            """
            INSERT INTO payouts (id, member_id, account, kind, amount_cents, msisdn, state,
                                 originator_id, reverses_receipt, attempts, query_count,
                                 requested_by, created_at, updated_at)
            VALUES (%(id)s, %(member_id)s, %(account)s, %(kind)s, %(cents)s, %(msisdn)s,
                    'requested', %(originator_id)s, %(reverses_receipt)s, 0, 0,
                    %(requested_by)s, %(now)s, %(now)s)
            """,
            {
                "id": id_,
                "member_id": member_id,
                "account": account,
                "kind": kind,
                "cents": part,
                "msisdn": line,
                "originator_id": None if kind == "reversal" else str(id_),
                "reverses_receipt": reverses_receipt,
                "requested_by": requested_by,
                "now": now,
            },
        )
    for id_, part in zip(ids, parts, strict=True):
        if automatic:
            _approve(db, id_, AUTOMATIC, now)
        else:
            incidents.open(db, "payout_to_approve", id_, now, cents=part, what=kind)
    return ids


def approve(
    db: Db, payout_id: UUID, by: str, now: datetime, own_member_id: UUID | None = None
) -> Literal["approved", "own", "frozen", "not_waiting"]:
    """A second person lets it go. own_member_id: the operator's own membership, if any.

    "own": nobody approves what they asked for, or what comes to themselves; that is an incident.
    """
    payout = lock(db, payout_id)
    if payout.state != "requested":
        return "not_waiting"
    if by == payout.requested_by or str(payout.member_id) in (by, str(own_member_id)):
        incidents.open(db, "payout_own_approval", payout_id, now, by=by)
        return "own"
    if freezes.is_frozen(db, payout.member_id):
        return "frozen"
    _approve(db, payout_id, by, now)
    incidents.end(db, "payout_to_approve", payout_id, f"approved by {by}", now)
    return "approved"


def reject(db: Db, payout_id: UUID, by: str, now: datetime) -> Literal["rejected", "not_waiting"]:
    """An operator does not let it go: the money is on the member's account again.

    Of what the member did not ask for, somebody is to say what becomes of it.
    """
    payout = lock(db, payout_id)
    if payout.state != "requested":
        return "not_waiting"
    keep_code(db, payout_id, "operator", "rejected", "failed", now)
    incidents.end(db, "payout_to_approve", payout_id, f"rejected by {by}", now)
    give_back(db, payout, "rejected", now)
    if payout.kind != "withdrawal":
        incidents.open(db, "refund_failed", payout_id, now, code="rejected")
    tell(db, payout, "payout_failed", now)
    return "rejected"


def follow(db: Db, member_id: UUID, now: datetime) -> None:
    """The member has another number: what was not sent to an older one goes to it.

    What M-Pesa has, it has, and is settled by proof. A reversal would come to the old number, so it
    goes the other road.
    """
    own_msisdn = lock_member(db, member_id)
    assert own_msisdn is not None, f"the payouts of {member_id} shall follow to no number"
    for payout in db.rows(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts WHERE member_id = %(member_id)s AND state IN ('requested', 'approved')
        ORDER BY id FOR NO KEY UPDATE
        """,
        {"member_id": member_id},
    ):
        if numbers.now_of(db, member_id, payout.msisdn, payout.created_at) == payout.msisdn:
            continue
        if payout.kind == "reversal":
            go_the_other_road(db, payout, now)
            continue
        db.run(
            """
            UPDATE payouts SET msisdn = %(msisdn)s, sim_swapped_on = NULL, updated_at = %(now)s
            WHERE id = %(id)s
            """,
            {"msisdn": own_msisdn, "now": now, "id": payout.id},
        )


def was_left(db: Db, payout: Payout) -> bool:
    """Is it a refund to a number that its owner has come away from since it was asked for?"""
    return payout.kind != "withdrawal" and numbers.was_left(db, payout.msisdn, payout.created_at)


def go_the_other_road(db: Db, payout: Payout, now: datetime) -> None:
    """Whoever it was for has left that number: a refund is looked for anew, with the new one."""
    keep_code(db, payout.id, "operator", "number_changed", "failed", now)
    incidents.end(db, "payout_to_approve", payout.id, "the number was changed", now)
    give_back(db, payout, "number_changed", now)
    outbox.put(db, "refund_balance", due_at=now, member_id=payout.member_id)


def give_back(db: Db, payout: Payout, code: str, now: datetime) -> None:
    """It failed, and nothing was sent: its money is where it came from. code: why."""
    ledger.post(
        db,
        "payout_failed",
        f"payout:{payout.id}:failed",
        [
            ledger.debit(ledger.out(payout.id), payout.amount_cents),
            ledger.credit(payout.owner, payout.amount_cents),
        ],
        now,
    )
    db.run(
        """
        UPDATE payouts
        SET state = 'failed', waits_for = NULL, code = %(code)s, settled_at = %(now)s,
            updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"code": code, "now": now, "id": payout.id},
    )


def is_automatic(db: Db, member_id: UUID, cents: int, rules: Rules, now: datetime) -> bool:
    """Whether so much more may leave today without a second person's eyes."""
    return _automatic_cents(db, member_id, now) + cents <= rules.payout_automatic_max_cents


def unfit(cents: int, minimum: int) -> Refused | None:
    """Why nobody could ask for so much, whatever there is."""
    if cents % CENTS != 0:  # a shilling's part; and whatever is no whole number at all
        return "not_whole"
    if cents < minimum:
        return "too_small"
    return "overdrawn" if cents > _CENTS_MAX else None


def free_cents(db: Db, of: ledger.Account) -> int:
    """What a float holds and no payout on its way may still take.

    A reversal takes from the collection float, and counts there from its request on: money that
    has gone elsewhere meanwhile cannot be given back so.
    """
    if of == ledger.C2B:
        taken: int = db.value(
            """
            SELECT coalesce(sum(amount_cents), 0)::bigint FROM payouts
            WHERE state IN ('requested', 'approved', 'submitting', 'accepted', 'unknown')
              AND kind = 'reversal'
            """
        )
    else:
        taken = db.value(
            """
            SELECT coalesce(sum(amount_cents), 0)::bigint FROM payouts
            WHERE state IN ('submitting', 'accepted', 'unknown') AND kind <> 'reversal'
            """
        )
    return ledger.balance(db, of) - taken


def waiting_cents(db: Db) -> int:
    """What the payout float is to send and has not begun to."""
    found: int = db.value(
        """
        SELECT coalesce(sum(amount_cents), 0)::bigint FROM payouts
        WHERE state = 'approved' AND kind <> 'reversal'
        """
    )
    return found


def by_id(db: Db, payout_id: UUID) -> Payout | None:
    return db.row(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts WHERE id = %(id)s
        """,
        {"id": payout_id},
    )


def of_member(db: Db, member_id: UUID, limit: int) -> list[Payout]:
    """The member's last ones, newest first."""
    return db.rows(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts WHERE member_id = %(member_id)s
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
        """,
        {"member_id": member_id, "limit": limit},
    )


def named(db: Db, name: str) -> list[Payout]:
    """Those with this receipt, or whose id ends so, in eight hex digits or more without dashes."""
    ends = name.replace("-", "").lower()
    return db.rows(
        Payout,
        f"""
        SELECT {_COLUMNS} FROM payouts
        WHERE receipt = %(receipt)s
           OR (%(is_end)s AND replace(id::text, '-', '') LIKE %(end)s)
        """,
        {
            "receipt": name.upper(),
            "is_end": re.fullmatch("[0-9a-f]{8,32}", ends) is not None,
            "end": f"%{ends}",
        },
    )


def unfinished(db: Db, limit: int) -> list[Payout]:
    """Those that wait or are on their way, oldest first."""
    return db.rows(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts WHERE state IN ('requested', 'approved', 'submitting', 'accepted', 'unknown')
        ORDER BY created_at, id LIMIT %(limit)s
        """,
        {"limit": limit},
    )


def requested_ending(db: Db, letters: str) -> list[UUID]:
    """Those that wait for a second person and whose id ends so, in hex digits without dashes."""
    found = db.rows(
        _Id,
        """
        SELECT id FROM payouts
        WHERE state = 'requested' AND replace(id::text, '-', '') LIKE %(end)s
        """,
        {"end": f"%{letters}"},
    )
    return [row.id for row in found]


def failed_by_us(db: Db) -> list[Payout]:
    """Those that wait for an operator's decision, oldest first."""
    return db.rows(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts WHERE state = 'failed' AND id IN (
            SELECT subject::uuid FROM incidents
            WHERE kind = 'payout_failed_by_us' AND closed_at IS NULL)
        ORDER BY approved_at, id
        """,
    )


def sent(db: Db) -> list[UUID]:
    """Those that M-Pesa may have, and may act on."""
    found = db.rows(
        _Id, "SELECT id FROM payouts WHERE state IN ('submitting', 'accepted', 'unknown')"
    )
    return [row.id for row in found]


def waiting(db: Db) -> list[Payout]:
    """Approved ones that wait for something, in the order of their approval.

    But for those whose line is asked about at this moment: the answer brings them back.
    """
    return db.rows(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts p
        WHERE state = 'approved' AND waits_for IS NOT NULL
          AND NOT (waits_for = 'sim' AND {sim_checks.ASKED})
        ORDER BY approved_at, id
        """,
    )


def lock(db: Db, payout_id: UUID) -> Payout:
    """It, and nobody else changes it meanwhile. Raises UnknownPayout."""
    payout = db.row(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        {"id": payout_id},
    )
    if payout is None:
        raise UnknownPayout(f"no payout {payout_id}")
    return payout


def lock_member(db: Db, member_id: UUID) -> str | None:
    """First of all locks here: of two that ask at once the second counts the first. The number."""
    msisdn: str | None = db.value(
        "SELECT msisdn FROM members WHERE id = %(id)s FOR NO KEY UPDATE", {"id": member_id}
    )
    return msisdn


def keep_code(db: Db, payout_id: UUID, source: str, code: str, meaning: str, now: datetime) -> None:
    """What was said of it, the first time that it is. source: who said it."""
    db.run(
        """
        INSERT INTO payout_codes (payout_id, source, code, meaning, at)
        VALUES (%(payout_id)s, %(source)s, %(code)s, %(meaning)s, %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {"payout_id": payout_id, "source": source, "code": code, "meaning": meaning, "now": now},
    )


def tell(db: Db, payout: Payout, trigger: str, now: datetime) -> None:
    """The member, with its amount."""
    values = {"total": money.show(payout.amount_cents)}
    messages.of_member(db, trigger, payout.member_id, values, now)


def member_paid_for(db: Db, payout: Payout) -> Member | None:
    """Whose money goes to the line of somebody else, who paid it. None: it goes to their own."""
    member = members.by_id(db, payout.member_id)
    return None if member is None or payout.msisdn == member.msisdn else member


def _parts(cents: int) -> list[int]:
    """As few as M-Pesa's maximum allows, none below its minimum."""
    parts = [AMOUNT_CENTS_MAX] * (cents // AMOUNT_CENTS_MAX)
    rest = cents % AMOUNT_CENTS_MAX
    if rest:
        parts.append(rest)
    if len(parts) > 1 and rest and rest < PAYOUT_CENTS_MIN:
        parts[-2:] = [AMOUNT_CENTS_MAX - PAYOUT_CENTS_MIN, PAYOUT_CENTS_MIN + rest]
    return parts


def _approve(db: Db, payout_id: UUID, by: str, now: datetime) -> None:
    db.run(
        """
        UPDATE payouts
        SET state = 'approved', approved_by = %(by)s, approved_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"by": by, "now": now, "id": payout_id},
    )
    outbox.put(db, "submit_payout", due_at=now, payout_id=payout_id)


def _automatic_cents(db: Db, member_id: UUID, now: datetime) -> int:
    """What of the member's nobody looked at within a day."""
    return int(
        db.value(
            """
            SELECT coalesce(sum(amount_cents), 0)::bigint FROM payouts
            WHERE member_id = %(member_id)s AND created_at > %(since)s
              AND approved_by = %(automatic)s AND state <> 'failed'
            """,
            {"member_id": member_id, "since": now - AUTOMATIC_WITHIN, "automatic": AUTOMATIC},
        )
    )


@dataclass(frozen=True)
class _Id:
    id: UUID
