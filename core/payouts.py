"""Payouts: money on its way from a member's account to a phone, sent once whatever fails.

A payout is set aside in the ledger (`L.out`) before anything is sent, and its identity at M-Pesa is
committed before the call. An answer that is lost is asked about, never replaced by another call: a
payout ends by proof, as paid or as failed, and until then it is in flight.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID, uuid5

import sqlalchemy as sa

from core import (
    freezes,
    incidents,
    initiator,
    ledger,
    members,
    messages,
    money,
    numbers,
    outbox,
    phone,
    receipts,
    reply_paths,
    sim_checks,
    solvency,
)
from core.database import Db, metadata
from core.errors import Invalid
from core.members import Member
from core.money import CENTS, PAYOUT_CENTS_MIN
from core.rules import Rules

Kind = Literal["withdrawal", "refund", "reversal"]
Refused = Literal["not_whole", "too_small", "frozen", "insolvent", "overdrawn"]
Settled = Literal["paid", "failed", "pending", "already_settled", "doubted", "conflict"]
Halt = Literal["initiator", "float"]

STATES: Final = ("requested", "approved", "submitting", "accepted", "unknown", "paid", "failed")
SENT: Final = ("submitting", "accepted", "unknown")  # M-Pesa may have it, and may act on it
WAITS: Final = (
    "frozen",
    "halted",
    "cooling",
    "sim",
    "float",
    "probe",
)  # for what an approved one waits
AUTOMATIC: Final = "automatic"  # who approves what is below the limit
SYSTEM: Final = "system"  # who asks for what nobody asked for

AMOUNT_CENTS_MAX: Final = 250_000 * CENTS  # of one payout by M-Pesa (Daraja, B2C)
REVERSAL_CENTS_MIN: Final = 1 * CENTS  # a receipt goes back whole, however small
# What M-Pesa charges us for one payout up to so much, in cents (published in August 2023). The
# proof of a payout may name another; the statement has the last word.
CHARGES: Final = ((100 * CENTS, 0), (1_500 * CENTS, 500), (5_000 * CENTS, 900))
CHARGE_CENTS_MAX: Final = 1_100
AUTOMATIC_WITHIN: Final = timedelta(hours=24)  # many small ones are one large one

CLAIM_LOST_AFTER: Final = timedelta(seconds=60)  # the call itself ends after 11 s
RESULT_WITHIN: Final = timedelta(minutes=5)  # of the ack; then we ask
# After the claim, while nobody knows: the last hours are beyond ABSENT_AFTER.
QUERY_AFTER: Final = (
    *(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 20, 40)),
    *(timedelta(hours=hours) for hours in range(1, 27)),
    *(timedelta(days=days) for days in range(2, 8)),
)
# "No such payout" proves nothing soon after the call; by now M-Pesa would know it.
ABSENT_AFTER: Final = timedelta(hours=24)
# While the float is too low we look again, each time later: whoever puts money in says so.
FLOAT_LOOK_AGAIN: Final = timedelta(minutes=1)
FLOAT_LOOK_AGAIN_MAX: Final = timedelta(hours=1)
RETRY_SECONDS_MAX: Final = 600
REFUSALS_BEFORE_INCIDENT: Final = 8
HALTED: Final = "payouts_halted"  # the incident while which nothing is sent; closing it ends that

_CENTS_MAX: Final = 10**10  # of one request: more than anybody has here
_NAMESPACE: Final = UUID("0d8f2a1c-6f0e-4a7d-9a4e-7061796f7574")
_CLAIMS: Final = 7042_0003  # the advisory lock of whoever claims one
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


@dataclass(frozen=True)
class ClaimedPayout:
    """A payout to be sent now. token: the 32 hex digits of the path its result comes by.

    originator_id: None for a reversal, which M-Pesa makes once for each receipt by itself.
    """

    id: UUID
    amount_cents: int
    msisdn: str = field(repr=False)
    originator_id: str | None
    reverses_receipt: str | None
    token: str = field(repr=False)


@dataclass(frozen=True)
class PayoutToQuery:
    """What M-Pesa is to be asked about, by the identity it knows it by."""

    id: UUID
    originator_id: str
    is_reversal: bool
    token: str = field(repr=False)


@dataclass(frozen=True)
class PayoutAnswer:
    """What the gateway said to a call. "unknown": M-Pesa may or may not have it.

    originator_id: as the gateway names what it took; of a reversal it is the only name there is.
    """

    outcome: Literal["accepted", "refused", "unknown"]
    code: str
    originator_id: str | None = None
    conversation_id: str | None = None
    detail: str = field(default="", repr=False)


@dataclass(frozen=True)
class PayoutResult:
    """What M-Pesa says became of a payout.

    verdict: "paid" and "failed" are final; "reversed": the receipt was reversed before; "absent":
    it knows of no such payout; "unknown": nobody knows what it says.
    ours: it failed for a reason on our side, which is no news for the member. halts: and so will
    every other one. msisdn: None where masked or not told. asked_at: of a question, when.
    """

    source: Literal["result", "status", "statement"]
    verdict: Literal["paid", "failed", "reversed", "absent", "pending", "unknown"]
    code: str
    amount_cents: int | None = None
    receipt: str | None = None
    msisdn: str | None = field(default=None, repr=False)
    originator_id: str | None = None
    conversation_id: str | None = None
    reverses_receipt: str | None = None
    charge_cents: int | None = None
    ours: bool = False
    halts: Halt | None = None
    asked_at: datetime | None = None


def parse_amount(text: str) -> int:
    """An amount as a member types it, in cents. Raises Invalid: "whole_shillings"."""
    typed = text.strip().replace(",", "")
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 9):
        raise Invalid("whole_shillings")
    return int(typed) * CENTS


def withdraw(
    db: Db, member_id: UUID, cents: int | None, rules: Rules, now: datetime
) -> list[UUID] | Refused:
    """A member takes so much out of the wallet, all of it where cents is None. The PIN is checked.

    What was earned goes first; each of the two accounts gives a payout of its own, and M-Pesa
    sends none below KSh 10.
    """
    _lock_member(db, member_id)
    returned, earned = _lock_wallet(db, member_id)
    if cents is None:
        shares = sendable(earned, returned)
        if not any(shares):
            return "too_small"
    else:
        if refused := _unfit(cents, PAYOUT_CENTS_MIN):
            return refused
        if cents > earned + returned:
            return "overdrawn"
        shares = _shares(cents, earned, returned)
        if sum(shares) != cents:
            return "too_small"
    asked: list[UUID] = []
    accounts: Sequence[Literal["seller", "buyer"]] = ("seller", "buyer")
    for account, share in zip(accounts, shares, strict=True):
        if not share:
            continue
        done = request(
            db,
            member_id,
            account,
            "withdrawal",
            share,
            rules,
            now,
            requested_by=str(member_id),
        )
        if isinstance(done, str):
            assert not asked, f"a half of a withdrawal of {member_id} is {done}"
            return done
        asked += done
    return asked


def sendable(earned_cents: int, returned_cents: int) -> list[int]:
    """What could be sent of each of the two accounts: whole shillings, none below KSh 10."""
    whole = [cents - cents % CENTS for cents in (earned_cents, returned_cents)]
    return [cents if cents >= PAYOUT_CENTS_MIN else 0 for cents in whole]


def is_automatic(db: Db, member_id: UUID, cents: int, rules: Rules, now: datetime) -> bool:
    """Whether so much more may leave today without a second person's eyes."""
    return _automatic_cents(db, member_id, now) + cents <= rules.payout_automatic_max_cents


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
    if refused := _unfit(cents, minimum):
        return refused
    own_msisdn = _lock_member(db, member_id)
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
    payout = _lock(db, payout_id)
    if payout.state != "requested":
        return "not_waiting"
    if by == payout.requested_by or str(payout.member_id) in (by, str(own_member_id)):
        incidents.open(db, "payout_own_approval", payout_id, now, by=by)
        return "own"
    if freezes.is_frozen(db, payout.member_id):
        return "frozen"
    _approve(db, payout_id, by, now)
    _close_incident(db, "payout_to_approve", payout_id, f"approved by {by}", now)
    return "approved"


def reject(db: Db, payout_id: UUID, by: str, now: datetime) -> Literal["rejected", "not_waiting"]:
    """An operator does not let it go: the money is on the member's account again.

    Of what the member did not ask for, somebody is to say what becomes of it.
    """
    payout = _lock(db, payout_id)
    if payout.state != "requested":
        return "not_waiting"
    _keep_code(db, payout_id, "operator", "rejected", "failed", now)
    _close_incident(db, "payout_to_approve", payout_id, f"rejected by {by}", now)
    _give_back(db, payout, "rejected", now)
    if payout.kind != "withdrawal":
        incidents.open(db, "refund_failed", payout_id, now, code="rejected")
    _tell(db, payout, "payout_failed", now)
    return "rejected"


def claim_for_submit(db: Db, payout_id: UUID, rules: Rules, now: datetime) -> ClaimedPayout | None:
    """Take the right to send it; commit, call the gateway once, then record_ack.

    None: nothing to do now. Where its member is frozen, or that number or the PIN is new, M-Pesa
    refuses us, nobody knows whether the line got another SIM or the float is too low, it waits, in
    the order of approval, and is asked for again when that is over. Where the line got another SIM
    lately a person must approve it. A refund to a number that its owner has left goes back to the
    balance.
    """
    _lock_claims(db)
    payout = _lock(db, payout_id)
    if payout.state != "approved":
        return None
    if _was_left(db, payout):
        _go_the_other_road(db, payout, now)
        return None
    if not _cools(db, payout, now) and _is_swapped(db, payout, rules, now):
        return None
    waits_for = _hindrance(db, payout, rules, now)
    if waits_for is not None:
        db.run(
            "UPDATE payouts SET waits_for = %(why)s, updated_at = %(now)s WHERE id = %(id)s",
            {"why": waits_for, "now": now, "id": payout_id},
        )
        return None
    db.run(
        """
        UPDATE payouts
        SET state = 'submitting', waits_for = NULL, claimed_at = %(now)s, asked_at = NULL,
            attempts = attempts + 1, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": payout_id},
    )
    outbox.put(db, "query_payout", due_at=now + CLAIM_LOST_AFTER, payout_id=payout_id)
    return _claimed(db, payout, rules, now)


def record_ack(db: Db, payout_id: UUID, answer: PayoutAnswer, now: datetime) -> None:
    """What came of the call. A repeat changes nothing; the result may have been here before us."""
    payout = _lock(db, payout_id)
    _keep_code(db, payout_id, "ack", answer.code, answer.outcome, now)
    db.run(
        """
        UPDATE payouts
        SET asked_at = coalesce(asked_at, %(now)s), updated_at = %(now)s,
            originator_id = coalesce(originator_id, %(originator_id)s),
            conversation_id = coalesce(%(conversation_id)s, conversation_id)
        WHERE id = %(id)s
        """,
        {
            "now": now,
            "originator_id": answer.originator_id,
            "conversation_id": answer.conversation_id,
            "id": payout_id,
        },
    )
    if payout.state != "submitting":
        return
    if answer.outcome == "refused":
        initiator.not_asked(db)
        _set_state(db, payout_id, "approved", now)
        pause = timedelta(seconds=min(2**payout.attempts, RETRY_SECONDS_MAX))
        outbox.put(db, "submit_payout", due_at=now + pause, payout_id=payout_id)
        if payout.attempts >= REFUSALS_BEFORE_INCIDENT:
            incidents.open(
                db, "payout_refused", payout_id, now, code=answer.code, attempts=payout.attempts
            )
        return
    accepted = answer.outcome == "accepted"
    _set_state(db, payout_id, "accepted" if accepted else "unknown", now)
    wait = RESULT_WITHIN if accepted else QUERY_AFTER[0]
    outbox.put(db, "query_payout", due_at=now + wait, payout_id=payout_id)


def record_timeout(db: Db, payout_id: UUID, now: datetime) -> Literal["unknown", "already_settled"]:
    """M-Pesa says that it waited too long in the queue: no failure, it may be paid yet. We ask."""
    payout = _lock(db, payout_id)
    _keep_code(db, payout_id, "timeout", "queue", "unknown", now)
    if payout.state not in SENT:
        return "already_settled"
    _doubt_and_ask(db, payout, now)
    return "unknown"


def query_due(
    db: Db, payout_id: UUID, rules: Rules, now: datetime
) -> PayoutToQuery | ClaimedPayout | None:
    """For the timer query_payout: what to ask M-Pesa now; the answer comes by its own path.

    A ClaimedPayout is a reversal whose ack was lost, which has no name to ask by: it is asked for
    again, since M-Pesa reverses a receipt once and then says that it has. None: nothing to ask.
    Either way the next time is set here; after a week an incident takes its place.
    """
    payout = _lock(db, payout_id)
    if payout.state not in SENT or is_halted(db, "initiator"):
        return None  # who ends the halt asks for all of them
    assert payout.claimed_at is not None, f"payout {payout_id} is {payout.state}, never claimed"
    patience = {
        "submitting": payout.claimed_at + CLAIM_LOST_AFTER,
        "accepted": (payout.asked_at or payout.claimed_at) + RESULT_WITHIN,
    }.get(payout.state, now)
    if now < patience:
        outbox.put(db, "query_payout", due_at=patience, payout_id=payout_id)
        return None
    waits = (payout.claimed_at + wait for wait in QUERY_AFTER)
    next_at = next((at for at in waits if at > now), None)
    if next_at is None:
        incidents.open(db, "payout_unanswered", payout_id, now, cents=payout.amount_cents)
    else:
        outbox.put(db, "query_payout", due_at=next_at, payout_id=payout_id)
    db.run(
        """
        UPDATE payouts SET state = 'unknown', query_count = query_count + 1, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"now": now, "id": payout_id},
    )
    if payout.originator_id is None:
        return _claimed(db, payout, rules, now)
    number = payout.query_count + 1
    token = reply_paths.open(db, "payout_query", payout_id, number, rules, now)
    return PayoutToQuery(payout_id, payout.originator_id, payout.kind == "reversal", token)


def settle(db: Db, payout_id: UUID, result: PayoutResult, now: datetime) -> Settled:
    """Record what M-Pesa says became of a payout; the first proof ends it.

    "doubted": it cannot be so; M-Pesa is asked, nothing moved. "conflict": it contradicts what is
    proved; an incident is open. "already_settled": a repeat, another source, or a failure after
    the money was sent, which an incident tells of.
    Raises UnknownPayout. Source: Daraja, B2C result, Transaction Status, Reversal.
    """
    payout = _lock(db, payout_id)
    if result.halts is not None:
        halt(db, result.halts, result.code, now)
    doubts = _doubts(db, payout, result)
    if result.halts != "initiator" and result.verdict in ("paid", "failed", "reversed"):
        vouch(db, result.asked_at or payout.claimed_at, now, doubted=bool(doubts))
    meaning = "doubted" if doubts else result.verdict
    _keep_code(db, payout_id, result.source, result.code, meaning, now)
    if payout.state == "paid":
        return _after_payment(db, payout, result, doubts, now)
    if doubts:
        incidents.open(
            db, "payout_doubted", payout_id, now,
            doubts=doubts, code=result.code, state=payout.state, source=result.source,
        )  # fmt: skip
        if payout.state in SENT and result.source == "result":
            _doubt_and_ask(db, payout, now)
        return "doubted"
    match result.verdict:
        case "paid" | "reversed":
            _pay(db, payout, result, now)
            return "paid"
        case "failed" if _is_one_of_several(payout):
            return "pending"  # its timer goes on
        case "failed" if payout.state != "failed":
            _fail(db, payout, result, now)
            return "failed"
        case "absent" if payout.state in SENT and _is_late(payout, result):
            _fail(db, payout, result, now)
            return "failed"
        case "unknown":
            incidents.open(db, "unknown_code", payout_id, now, code=result.code)
    if payout.state == "failed":
        return "already_settled"
    if result.source == "result" and payout.state in SENT:
        _doubt_and_ask(db, payout, now)
    return "pending"


def halt(db: Db, why: Halt, code: str, now: datetime) -> None:
    """M-Pesa takes nothing from us any more, so nothing is sent until an operator says so.

    "initiator": our name or password is wrong or locked, and each further call makes it worse.
    "float": there is too little to pay out, whatever our books say; reversals go on.
    """
    if why == "initiator":
        initiator.refused(db, now)
    if incidents.open(db, HALTED, why, now, code=code) is not None and why == "float":
        outbox.put(db, "ask_balance", due_at=now, float="b2c")  # it knows better than our books


def is_halted(db: Db, why: Halt) -> bool:
    """Whether nothing is sent, until an operator says so."""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM incidents
                           WHERE kind = %(kind)s AND subject = %(why)s AND closed_at IS NULL)
            """,
            {"kind": HALTED, "why": why},
        )
    )


def vouch(db: Db, called_at: datetime | None, now: datetime, *, doubted: bool = False) -> None:
    """M-Pesa has worked on a call made then, so it takes our operator's word: the others may go."""
    if called_at is not None and not doubted and initiator.accepted(db, called_at, now):
        outbox.put(db, "resume_payouts", due_at=now)


def resume(db: Db, by: str, now: datetime, rules: Rules, why: Halt | None = None) -> list[UUID]:
    """An operator has mended it: all that waited goes on, and what failed by it is sent anew.

    why: what was mended; None: all. Returns the payouts that take the place of failed ones.
    """
    reasons: Sequence[Halt] = ("initiator", "float") if why is None else (why,)
    again: list[UUID] = []
    for reason in reasons:
        found = incidents.find_open(db, HALTED, reason)
        if found is not None:
            incidents.close(db, found.id, f"resumed by {by}", now)
    for failed in _failed_by_us(db):
        if _is_halted_for(db, failed):
            continue
        if _was_left(db, failed):  # it lies on the balance, and is looked for anew
            outbox.put(db, "refund_balance", due_at=now, member_id=failed.member_id)
            _close_incident(db, "payout_failed_by_us", failed.id, f"resumed by {by}", now)
            continue
        outcome = request(
            db, failed.member_id, failed.account, failed.kind, failed.amount_cents, rules, now,
            requested_by=SYSTEM, key=f"instead of {failed.id}",
            msisdn=numbers.now_of(db, failed.member_id, failed.msisdn, failed.created_at),
        )  # fmt: skip
        if not isinstance(outcome, str):
            again += outcome
        _close_incident(db, "payout_failed_by_us", failed.id, f"resumed by {by}", now)
    for payout_id in _sent(db):
        outbox.put(db, "query_payout", due_at=now, payout_id=payout_id)
    outbox.put(db, "resume_payouts", due_at=now)
    outbox.put(db, "keep_float", due_at=now)
    return again


def float_arrived(db: Db, rules: Rules, now: datetime) -> None:
    """For the task of that name: money has come into the payout float, so what waited goes on.

    Also what M-Pesa refused for want of it: nobody has to say that this is mended.
    """
    if is_halted(db, "float"):
        resume(db, SYSTEM, now, rules, "float")
    else:
        outbox.put(db, "resume_payouts", due_at=now)


def resume_waiting(db: Db, now: datetime, look: int | None = None) -> int:
    """For the timer resume_payouts: ask again for what waited, in its order; how many.

    Whoever puts money into the float, ends a halt or lifts a freeze sets it. look: the how manieth
    look it is that nobody asked for.
    """
    _lock_claims(db)
    waiting = db.rows(
        Payout,
        f"""
        SELECT {_COLUMNS}
        FROM payouts p
        WHERE state = 'approved' AND waits_for IS NOT NULL
          AND NOT (waits_for = 'sim' AND {sim_checks.ASKED})
        ORDER BY approved_at, id
        """,
    )
    left_cents = free_cents(db, ledger.B2C) if waiting else 0
    wanted, known, cooled_at, too_little = [], list[UUID](), list[datetime](), False
    for payout in waiting:
        if _is_halted_for(db, payout) or freezes.is_frozen(db, payout.member_id):
            continue
        if cools_until := _cools(db, payout, now):
            cooled_at.append(cools_until)
            continue
        if payout.waits_for == "sim":  # whether the float is enough is asked after that
            known.append(payout.id)
            wanted.append(outbox.Wanted("submit_payout", now, {"payout_id": payout.id}))
            continue
        if payout.kind != "reversal":
            left_cents -= payout.amount_cents
            if left_cents < 0:  # and those behind it wait as well, however small
                too_little = True
                continue
        wanted.append(outbox.Wanted("submit_payout", now, {"payout_id": payout.id}))
    if not too_little:
        _close_incident(db, "float_low", "payouts", "enough for all that waited", now)
    elif look is not None:
        pause = min(FLOAT_LOOK_AGAIN * 2 ** min(look, 10), FLOAT_LOOK_AGAIN_MAX)
        outbox.put(db, "resume_payouts", due_at=now + pause, look=look + 1)
        outbox.put(db, "keep_float", due_at=now)
    if cooled_at:  # the row that was to bring this is the one that did
        outbox.put(db, "resume_payouts", due_at=min(cooled_at))
    if known:  # each is asked for once: many lines are answered for at the same time
        db.run(
            "UPDATE payouts SET waits_for = NULL, updated_at = %(now)s WHERE id = ANY(%(ids)s)",
            {"now": now, "ids": known},
        )
    if wanted:
        outbox.put_all(db, wanted)
    return len(wanted)


def follow(db: Db, member_id: UUID, now: datetime) -> None:
    """The member has another number: what was not sent to an older one goes to it.

    What M-Pesa has, it has, and is settled by proof. A reversal would come to the old number, so it
    goes the other road.
    """
    own_msisdn = _lock_member(db, member_id)
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
            _go_the_other_road(db, payout, now)
            continue
        db.run(
            """
            UPDATE payouts SET msisdn = %(msisdn)s, sim_swapped_on = NULL, updated_at = %(now)s
            WHERE id = %(id)s
            """,
            {"msisdn": own_msisdn, "now": now, "id": payout.id},
        )


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


def _unfit(cents: int, minimum: int) -> Refused | None:
    if cents % CENTS != 0:  # a shilling's part; and whatever is no whole number at all
        return "not_whole"
    if cents < minimum:
        return "too_small"
    return "overdrawn" if cents > _CENTS_MAX else None


def _parts(cents: int) -> list[int]:
    """As few as M-Pesa's maximum allows, none below its minimum."""
    parts = [AMOUNT_CENTS_MAX] * (cents // AMOUNT_CENTS_MAX)
    rest = cents % AMOUNT_CENTS_MAX
    if rest:
        parts.append(rest)
    if len(parts) > 1 and rest and rest < PAYOUT_CENTS_MIN:
        parts[-2:] = [AMOUNT_CENTS_MAX - PAYOUT_CENTS_MIN, PAYOUT_CENTS_MIN + rest]
    return parts


def _shares(cents: int, earned: int, returned: int) -> list[int]:
    """How much of each account, neither share too small to be sent; less in all where none fit."""
    of_earned = min(cents, earned - earned % CENTS)
    of_returned = cents - of_earned
    if 0 < of_returned < PAYOUT_CENTS_MIN:
        of_earned, of_returned = cents - PAYOUT_CENTS_MIN, PAYOUT_CENTS_MIN
    if 0 < of_earned < PAYOUT_CENTS_MIN:
        of_earned, of_returned = 0, cents
    fits = of_earned <= earned and of_returned <= returned
    return [of_earned, of_returned] if fits else [0, 0]


def _lock_claims(db: Db) -> None:
    """One after the other: two must not count on the same shillings of the float."""
    db.run("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _CLAIMS})


def _lock_member(db: Db, member_id: UUID) -> str | None:
    """First of all locks here: of two that ask at once the second counts the first. The number."""
    msisdn: str | None = db.value(
        "SELECT msisdn FROM members WHERE id = %(id)s FOR NO KEY UPDATE", {"id": member_id}
    )
    return msisdn


def _lock_wallet(db: Db, member_id: UUID) -> tuple[int, int]:
    """What lies on the member's accounts as a buyer and as a seller, and stays while we hold it."""
    found = [
        db.value(
            "SELECT balance_cents FROM accounts WHERE id = %(id)s FOR NO KEY UPDATE",
            {"id": account.id},
        )
        for account in (ledger.buyer(member_id), ledger.seller(member_id))
    ]
    return found[0] or 0, found[1] or 0


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


def _is_swapped(db: Db, payout: Payout, rules: Rules, now: datetime) -> bool:
    """Did its line get another SIM since a person last approved it? Then a person must, again."""
    found = _sim_finding(db, payout, rules, now)
    if found is None or found.swapped_on is None:
        return False
    if payout.sim_swapped_on is not None and found.swapped_on <= payout.sim_swapped_on:
        return False  # nobody else could approve it since
    db.run(
        """
        UPDATE payouts
        SET state = 'requested', approved_by = NULL, approved_at = NULL, waits_for = NULL,
            sim_swapped_on = %(swapped_on)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"swapped_on": found.swapped_on, "now": now, "id": payout.id},
    )
    incidents.open(
        db, "payout_to_approve", payout.id, now,
        cents=payout.amount_cents, what=payout.kind, sim_swapped_on=found.swapped_on.isoformat(),
    )  # fmt: skip
    to_payer = _member_paid_for(db, payout) is not None
    _tell(db, payout, "payer_sim_swapped" if to_payer else "payout_sim_swapped", now)
    return True


def _sim_finding(db: Db, payout: Payout, rules: Rules, now: datetime) -> sim_checks.Finding | None:
    """What is known of the line it goes to. A reversal goes back to whoever paid, by M-Pesa."""
    if not rules.sim_check or payout.kind == "reversal":
        return sim_checks.Finding(None)
    known_until = db.value(
        """
        SELECT pin_right_at FROM members WHERE id = %(member_id)s AND msisdn = %(msisdn)s
        """,
        {"member_id": payout.member_id, "msisdn": payout.msisdn},
    )
    return sim_checks.finding(db, payout.msisdn, known_until, rules, now)


def _hindrance(db: Db, payout: Payout, rules: Rules, now: datetime) -> str | None:
    """Why it cannot be sent now."""
    if freezes.is_frozen(db, payout.member_id):
        return "frozen"
    if _is_halted_for(db, payout):
        return "halted"
    if cools_until := _cools(db, payout, now):
        outbox.put(db, "resume_payouts", due_at=cools_until)
        return "cooling"
    if _sim_finding(db, payout, rules, now) is None:
        sim_checks.want(db, payout.msisdn, now)
        return "sim"
    left_cents = None
    if payout.kind != "reversal":  # that is from the float that its receipt came to
        left_cents = free_cents(db, ledger.B2C) - payout.amount_cents
        if left_cents < 0 or _others_wait(db, payout):
            free = left_cents + payout.amount_cents
            if incidents.open(db, "float_low", "payouts", now, free_cents=free) is not None:
                outbox.put(db, "resume_payouts", due_at=now + FLOAT_LOOK_AGAIN, look=1)
                outbox.put(db, "keep_float", due_at=now)
            return "float"
    if not initiator.may_call(db, rules, now):
        outbox.put(db, "resume_payouts", due_at=now + initiator.PROBE_FOR)
        return "probe"
    floor_cents = rules.payout_float_floor_cents
    if left_cents is not None and left_cents < floor_cents <= left_cents + payout.amount_cents:
        outbox.put(db, "keep_float", due_at=now)
    return None


def _cools(db: Db, payout: Payout, now: datetime) -> datetime | None:
    """Until when it waits because the number it goes to, or the member's PIN, is a new one."""
    if payout.kind == "reversal":  # it goes back to whoever paid, by M-Pesa
        return None
    return numbers.cools_until(db, payout.member_id, payout.msisdn, now)


def _is_halted_for(db: Db, payout: Payout) -> bool:
    return is_halted(db, "initiator") or (payout.kind != "reversal" and is_halted(db, "float"))


def _others_wait(db: Db, payout: Payout) -> bool:
    """Does one that was approved earlier wait for the float?"""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM payouts
                           WHERE state = 'approved' AND waits_for = 'float'
                             AND (approved_at, id) < (%(approved_at)s, %(id)s))
            """,
            {"approved_at": payout.approved_at, "id": payout.id},
        )
    )


def _claimed(db: Db, payout: Payout, rules: Rules, now: datetime) -> ClaimedPayout:
    path = "reversal" if payout.kind == "reversal" else "payout"
    return ClaimedPayout(
        payout.id,
        payout.amount_cents,
        payout.msisdn,
        payout.originator_id,
        payout.reverses_receipt,
        reply_paths.open(db, path, payout.id, 0, rules, now),
    )


def _lock(db: Db, payout_id: UUID) -> Payout:
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


def _keep_code(
    db: Db, payout_id: UUID, source: str, code: str, meaning: str, now: datetime
) -> None:
    db.run(
        """
        INSERT INTO payout_codes (payout_id, source, code, meaning, at)
        VALUES (%(payout_id)s, %(source)s, %(code)s, %(meaning)s, %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {"payout_id": payout_id, "source": source, "code": code, "meaning": meaning, "now": now},
    )


def _set_state(db: Db, payout_id: UUID, state: str, now: datetime) -> None:
    db.run(
        "UPDATE payouts SET state = %(state)s, updated_at = %(now)s WHERE id = %(id)s",
        {"state": state, "now": now, "id": payout_id},
    )


def _doubt_and_ask(db: Db, payout: Payout, now: datetime) -> None:
    _set_state(db, payout.id, "unknown", now)
    outbox.put(db, "query_payout", due_at=now, payout_id=payout.id)


def _is_late(payout: Payout, result: PayoutResult) -> bool:
    """Was M-Pesa asked so long after the call that it would know the payout by then?"""
    assert payout.claimed_at is not None, f"payout {payout.id} is in flight and was never claimed"
    return result.asked_at is not None and result.asked_at >= payout.claimed_at + ABSENT_AFTER


def _is_one_of_several(payout: Payout) -> bool:
    """Was a reversal called again, and nobody knows which call is which? Another may yet do it."""
    return payout.state in SENT and payout.originator_id is None and payout.query_count > 0


def _doubts(db: Db, payout: Payout, result: PayoutResult) -> list[str]:
    """What in it does not fit the payout we sent: the names of those things."""
    doubts = []
    final = result.verdict in ("paid", "failed", "reversed")
    if final and payout.claimed_at is None:
        doubts.append("never_sent")
    if (
        final
        and result.source != "statement"
        and payout.originator_id is not None
        and result.originator_id != payout.originator_id
    ):
        doubts.append("originator_id")
    if (
        payout.conversation_id
        and result.conversation_id
        and result.conversation_id != payout.conversation_id
    ):
        doubts.append("conversation_id")
    if result.verdict == "paid":
        if result.amount_cents != payout.amount_cents:
            doubts.append("amount")
        if payout.kind == "reversal":
            if result.reverses_receipt not in (None, payout.reverses_receipt):
                doubts.append("reverses_receipt")
        elif result.msisdn is not None and result.msisdn != payout.msisdn:
            doubts.append("msisdn")
        if result.receipt is None or _is_used(db, payout, result.receipt):
            doubts.append("receipt")
    return doubts


def _is_used(db: Db, payout: Payout, receipt: str) -> bool:
    """Does the receipt stand for other money?"""
    of_another = db.value(
        "SELECT id FROM payouts WHERE receipt = %(receipt)s AND id <> %(id)s",
        {"receipt": receipt, "id": payout.id},
    )
    return of_another is not None or receipts.find(db, receipt) is not None


def _after_payment(
    db: Db, payout: Payout, result: PayoutResult, doubts: list[str], now: datetime
) -> Settled:
    """Paid is paid; what is said afterwards is compared and never moves anything."""
    if result.verdict == "failed":
        incidents.open(db, "failure_after_payout", payout.id, now, code=result.code)
    if result.verdict != "paid":
        return "already_settled"
    if doubts or payout.receipt not in (None, result.receipt):
        incidents.open(db, "payout_conflict", payout.id, now, doubts=doubts, source=result.source)
        return "conflict"
    if payout.receipt is None:
        db.run(
            "UPDATE payouts SET receipt = %(receipt)s, updated_at = %(now)s WHERE id = %(id)s",
            {"receipt": result.receipt, "now": now, "id": payout.id},
        )
        _close_incident(db, "reversal_without_receipt", payout.id, "its receipt came", now)
    return "already_settled"


def _pay(db: Db, payout: Payout, result: PayoutResult, now: datetime) -> None:
    """The one cash leg of a payout."""
    if payout.state == "failed":
        _reopen(db, payout, now)
    charge_cents = result.charge_cents
    if charge_cents is None:
        charge_cents = _charge_cents(payout)
    legs = [
        ledger.debit(ledger.out(payout.id), payout.amount_cents),
        ledger.credit(payout.pays_from, payout.amount_cents),
        ledger.debit(ledger.MPESA_CHARGES, charge_cents),
        ledger.credit(ledger.MPESA_CHARGES_OWED, charge_cents),
    ]
    moving = [leg for leg in legs if leg.amount_cents]
    posted = ledger.post(db, "paid", f"payout:{payout.id}:paid", moving, now)
    assert posted == "posted", f"payout {payout.id} is {payout.state}, and was paid before"
    db.run(
        """
        UPDATE payouts
        SET state = 'paid', waits_for = NULL, receipt = %(receipt)s, charge_cents = %(charge)s,
            code = %(code)s, approved_by = coalesce(approved_by, %(automatic)s),
            settled_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {
            "automatic": AUTOMATIC,  # it waited for another approval, and had left by the first
            "receipt": result.receipt,
            "charge": charge_cents,
            "code": result.code,
            "now": now,
            "id": payout.id,
        },
    )
    if result.verdict == "reversed":  # the statement shows which of M-Pesa's lines it was
        incidents.open(db, "reversal_without_receipt", payout.id, now, code=result.code)
    for kind in ("payout_failed_by_us", "payout_to_approve"):
        _close_incident(db, kind, payout.id, "paid after all", now)
    if payout.kind == "withdrawal":
        _tell(db, payout, "payout_paid", now)
    else:
        _tell(db, payout, "refund_paid", now)
        _tell_payer(db, payout, now)


def _charge_cents(payout: Payout) -> int:
    if payout.kind == "reversal":
        return 0
    return next((c for upto, c in CHARGES if payout.amount_cents <= upto), CHARGE_CENTS_MAX)


def _reopen(db: Db, payout: Payout, now: datetime) -> None:
    """It had failed, and the money was sent all the same: what its owner has of it is taken back.

    The rest is our loss.
    """
    balance_cents: int = db.value(
        "SELECT balance_cents FROM accounts WHERE id = %(id)s FOR NO KEY UPDATE",
        {"id": payout.owner.id},
    )
    taken_cents = min(balance_cents, payout.amount_cents)
    lost_cents = payout.amount_cents - taken_cents
    legs = [
        ledger.debit(payout.owner, taken_cents),
        ledger.debit(ledger.LOSS, lost_cents),
        ledger.credit(ledger.out(payout.id), payout.amount_cents),
    ]
    moving = [leg for leg in legs if leg.amount_cents]
    ledger.post(db, "payout_reopened", f"payout:{payout.id}:reopened", moving, now)
    incidents.open(db, "paid_after_failure", payout.id, now, lost_cents=lost_cents)


def _fail(db: Db, payout: Payout, result: PayoutResult, now: datetime) -> None:
    """Nothing was sent. A new payout is a new decision, of the member or of an operator."""
    _give_back(db, payout, result.code, now)
    _close_incident(db, "payout_to_approve", payout.id, "it has failed", now)
    outbox.put(db, "resume_payouts", due_at=now)  # what it kept of the float is free
    if payout.kind == "reversal":  # the same money, by the other road
        outbox.put(db, "refund_balance", due_at=now, member_id=payout.member_id)
    elif result.ours:
        incidents.open(db, "payout_failed_by_us", payout.id, now, code=result.code)
    else:
        if payout.kind == "refund":  # nobody asked for it, so nobody will ask again
            incidents.open(db, "refund_failed", payout.id, now, code=result.code)
        _tell(db, payout, "payout_failed", now)


def _give_back(db: Db, payout: Payout, code: str, now: datetime) -> None:
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


def _was_left(db: Db, payout: Payout) -> bool:
    """Is it a refund to a number that its owner has come away from since it was asked for?"""
    return payout.kind != "withdrawal" and numbers.was_left(db, payout.msisdn, payout.created_at)


def _go_the_other_road(db: Db, payout: Payout, now: datetime) -> None:
    """Whoever it was for has left that number: a refund is looked for anew, with the new one."""
    _keep_code(db, payout.id, "operator", "number_changed", "failed", now)
    _close_incident(db, "payout_to_approve", payout.id, "the number was changed", now)
    _give_back(db, payout, "number_changed", now)
    outbox.put(db, "refund_balance", due_at=now, member_id=payout.member_id)


def _failed_by_us(db: Db) -> list[Payout]:
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


@dataclass(frozen=True)
class _Id:
    id: UUID


def _sent(db: Db) -> list[UUID]:
    found = db.rows(
        _Id, "SELECT id FROM payouts WHERE state IN ('submitting', 'accepted', 'unknown')"
    )
    return [row.id for row in found]


def _close_incident(db: Db, kind: str, subject: object, note: str, now: datetime) -> None:
    found = incidents.find_open(db, kind, subject)
    if found is not None:
        incidents.close(db, found.id, note, now)


def _tell(db: Db, payout: Payout, trigger: str, now: datetime) -> None:
    values = {"total": money.show(payout.amount_cents)}
    messages.of_member(db, trigger, payout.member_id, values, now)


def _tell_payer(db: Db, payout: Payout, now: datetime) -> None:
    """Whoever paid for the member, and has some of it back, hears why it comes."""
    member = _member_paid_for(db, payout)
    if member is None:
        return
    values = {"total": money.show(payout.amount_cents), "buyer": member.name.split()[0]}
    language = messages.language_of(db, payout.msisdn) or member.language
    key = str(payout.id)
    messages.of_phone(db, "payer_refunded", key, payout.msisdn, language, values, now)


def _member_paid_for(db: Db, payout: Payout) -> Member | None:
    """Whose money goes to the line of somebody else, who paid it. None: it goes to their own."""
    member = members.by_id(db, payout.member_id)
    return None if member is None or payout.msisdn == member.msisdn else member
