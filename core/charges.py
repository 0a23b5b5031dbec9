"""Charges: attempts to ask a payer for the money of a checkout, one push each.

The payer is the buyer, or whoever she says pays for her. M-Pesa moves KSh 250,000 at once, so what
costs more is asked for in parts, one after the other.

A push has no idempotency key at the provider, so it is made at most once: claimed, committed,
called, recorded. What became of it core.settlements learns from whatever proof comes first. Timers
are outbox rows that the verbs here set themselves.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from string import ascii_uppercase, digits
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import captures, incidents, messages, money, numbers, outbox
from core.database import Db, metadata
from core.money import CENTS
from core.rules import Rules

Permitted = Literal["clear", "already_open", "too_soon", "unwilling"]
Opened = Literal["opened", "already_open", "too_soon", "unwilling"]

STATES: Final = (
    "created",
    "pending",
    "refused",
    "unknown",
    "failed",
    "review",
    "paid",
    "reversed",
)
OPEN: Final = ("created", "pending", "unknown")  # the payer may still be asked, or be answering
PAID: Final = ("paid", "reversed")

AMOUNT_CENTS_MAX: Final = 250_000 * CENTS  # that M-Pesa moves at once
# Prompts that another's phone left unpaid, within a day: by one buyer, and by all of them.
UNPAID_ASKS_MAX: Final = 3
UNPAID_ASKS_OF_ALL_MAX: Final = 6
CLAIM_LOST_AFTER: Final = timedelta(seconds=60)  # the call itself ends after 11 s
REVIEW_AFTER: Final = timedelta(minutes=15)
# Between two prompts on one phone, and where M-Pesa refuses the same amount again (result 17).
PROMPT_GAP: Final = timedelta(seconds=60)
SAME_AMOUNT_GAP: Final = timedelta(minutes=2)
# After the ack: half of all payers have answered after 16 s, 99 % after 49 s.
QUERY_AFTER: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (30, 60, 90, 150, 300, *(3600 * hour for hour in range(1, 25)))
)
_REFERENCE_LETTERS: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that reads like another
_COLUMNS: Final[LiteralString] = """
    id, checkout_id, msisdn, amount_cents, reference, state, code, claimed_at, asked_at, push_id,
    push_group_id, receipt, query_count"""
_LETTERS_TYPED: Final = frozenset(ascii_uppercase + digits)
_REFERENCE_LENGTH: Final = 8  # of 12 that M-Pesa shows; short enough to type by hand

charges = sa.Table(
    "charges",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("checkout_id", sa.Uuid, sa.ForeignKey("checkouts.id"), nullable=False, index=True),
    sa.Column("msisdn", sa.Text, nullable=False, index=True),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("reference", sa.Text, nullable=False, unique=True),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("code", sa.Text),  # the first final one
    sa.Column("claimed_at", sa.DateTime(timezone=True)),
    sa.Column("asked_at", sa.DateTime(timezone=True)),  # when the gateway's answer was recorded
    sa.Column("push_id", sa.Text, unique=True),
    sa.Column("push_group_id", sa.Text),
    sa.Column("receipt", sa.Text, unique=True),
    sa.Column("query_count", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="state"),
    sa.CheckConstraint("amount_cents > 0 AND amount_cents % 100 = 0", name="amount_cents"),
    sa.CheckConstraint("reference ~ '^[A-Z0-9]{1,12}$'", name="reference"),
    sa.Index(
        "uq_charges_open_msisdn",
        "msisdn",
        unique=True,
        postgresql_where=sa.text("state IN ('created', 'pending', 'unknown')"),
    ),
    sa.Index(
        "uq_charges_open_checkout",
        "checkout_id",
        unique=True,
        postgresql_where=sa.text("state IN ('created', 'pending', 'unknown')"),
    ),
)

charge_codes = sa.Table(
    "charge_codes",
    metadata,
    sa.Column("charge_id", sa.Uuid, sa.ForeignKey("charges.id"), primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("meaning", sa.Text, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),  # first seen
)


class UnknownCharge(LookupError):
    """No such charge; the caller keeps what it was told and alerts."""


@dataclass(frozen=True)
class PushAnswer:
    """What the gateway said to a push. "unknown": it may or may not have reached the payer."""

    outcome: Literal["accepted", "refused", "unknown"]
    push_id: str | None = field(default=None, repr=False)  # Daraja's holds a phone number
    push_group_id: str | None = None
    code: str | None = None
    detail: str = field(default="", repr=False)


@dataclass(frozen=True)
class ChargeResult:
    """What a callback or a query says became of a push.

    verdict: "failed" only for a code known to be final, "unknown" for one that is not known.
    over_limit: it failed because that line has moved as much today as M-Pesa lets it.
    amount_cents, receipt: as told, if told. msisdn: None when absent or masked.
    """

    source: Literal["callback", "query"]
    verdict: Literal["paid", "failed", "pending", "unknown"]
    code: str
    amount_cents: int | None = None
    receipt: str | None = None
    msisdn: str | None = field(default=None, repr=False)
    push_id: str | None = field(default=None, repr=False)
    push_group_id: str | None = None
    over_limit: bool = False


@dataclass(frozen=True)
class ClaimedCharge:
    """A push to be made now, by its holder and nobody else.

    token: the 32 hex digits of the callback's path.
    """

    id: UUID
    msisdn: str = field(repr=False)
    amount_cents: int
    reference: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class ChargeToQuery:
    id: UUID
    push_id: str = field(repr=False)


@dataclass(frozen=True)
class Charge:
    """One attempt. asked_at: when the gateway's answer to the push was recorded."""

    id: UUID
    checkout_id: UUID
    msisdn: str = field(repr=False)
    amount_cents: int
    reference: str
    state: str
    code: str | None
    claimed_at: datetime | None
    asked_at: datetime | None
    push_id: str | None = field(repr=False)
    push_group_id: str | None
    receipt: str | None
    query_count: int


def parts(cents: int) -> list[int]:
    """The amounts in which so much is asked for, one after the other."""
    whole, rest = divmod(cents, AMOUNT_CENTS_MAX)
    return [AMOUNT_CENTS_MAX] * whole + [rest] * bool(rest)


def permit(db: Db, checkout_id: UUID, msisdn: str, amount_cents: int, now: datetime) -> Permitted:
    """May this phone be asked now? The answer stands until the transaction ends.

    "already_open": a charge on this phone or for this checkout still waits for its answer.
    "too_soon": it was prompted within a minute, or within two for this amount. "unwilling": it is
    not the buyer's own, and wants no such prompts, or has left enough of them unpaid today.
    """
    db.run(
        "SELECT pg_advisory_xact_lock(hashtextextended('charge ' || %(msisdn)s, 0))",
        {"msisdn": msisdn},
    )
    found: Permitted = db.value(
        """
        SELECT CASE
            WHEN EXISTS (SELECT FROM charges WHERE (msisdn = %(msisdn)s
                             OR checkout_id = %(checkout_id)s)
                         AND state IN ('created', 'pending', 'unknown')) THEN 'already_open'
            WHEN EXISTS (SELECT FROM charges WHERE msisdn = %(msisdn)s
                         AND (coalesce(asked_at, claimed_at) > %(prompted)s
                              OR (coalesce(asked_at, claimed_at) > %(same)s
                                  AND (amount_cents = %(amount_cents)s OR state = 'review'))))
                THEN 'too_soon'
            WHEN m.msisdn = %(msisdn)s THEN 'clear'
            WHEN EXISTS (SELECT FROM opt_outs WHERE msisdn = %(msisdn)s AND class = 'asking')
                THEN 'unwilling'
            WHEN (SELECT count(*) >= %(of_all)s
                      OR count(*) FILTER (WHERE asker.buyer_id = m.id) >= %(of_one)s
                  FROM charges c JOIN checkouts asker ON asker.id = c.checkout_id
                  JOIN members b ON b.id = asker.buyer_id AND b.msisdn <> c.msisdn
                  WHERE c.msisdn = %(msisdn)s AND c.claimed_at > %(day_ago)s
                    AND c.state NOT IN ('paid', 'reversed')) THEN 'unwilling'
            ELSE 'clear' END
        FROM (SELECT) AS always
        LEFT JOIN checkouts k ON k.id = %(checkout_id)s
        LEFT JOIN members m ON m.id = k.buyer_id
        """,
        {
            "msisdn": msisdn,
            "checkout_id": checkout_id,
            "amount_cents": amount_cents,
            "prompted": now - PROMPT_GAP,
            "same": now - SAME_AMOUNT_GAP,
            "day_ago": now - timedelta(days=1),
            "of_one": UNPAID_ASKS_MAX,
            "of_all": UNPAID_ASKS_OF_ALL_MAX,
        },
    )
    return found


def open(  # noqa: A001 - read as charges.open
    db: Db, checkout_id: UUID, msisdn: str, amount_cents: int, rules: Rules, now: datetime
) -> Opened:
    """Ask this phone for the checkout's money, if it may be asked now (see permit)."""
    permitted = permit(db, checkout_id, msisdn, amount_cents, now)
    if permitted != "clear":
        return permitted
    create(db, checkout_id, msisdn, amount_cents, rules, now)
    return "opened"


def create(
    db: Db,
    checkout_id: UUID,
    msisdn: str,
    amount_cents: int,
    rules: Rules,
    now: datetime,
    timers: Sequence[outbox.Wanted] = (),
) -> UUID:
    """A charge that was permitted, and its push, due once the USSD screen has closed.

    Whoever pays for somebody else is told by SMS who asks, and for what; once for a checkout.
    timers: of the checkout, to be set with it.
    """
    charge_id = db.new_id()
    for_another: bool = db.value(
        """
        INSERT INTO charges (id, checkout_id, msisdn, amount_cents, reference, token_hash, state,
                             query_count, created_at, updated_at)
        VALUES (%(id)s, %(checkout_id)s, %(msisdn)s, %(amount_cents)s, %(reference)s,
                %(token_hash)s, 'created', 0, %(now)s, %(now)s)
        RETURNING msisdn <> (SELECT m.msisdn FROM checkouts k JOIN members m ON m.id = k.buyer_id
                             WHERE k.id = %(checkout_id)s)
        """,
        {
            "id": charge_id,
            "checkout_id": checkout_id,
            "msisdn": msisdn,
            "amount_cents": amount_cents,
            "reference": "".join(db.random.choices(_REFERENCE_LETTERS, k=_REFERENCE_LENGTH)),
            "token_hash": _token_hash(_token(charge_id, rules)),
            "now": now,
        },
    )
    due_at = now + timedelta(seconds=rules.push_after_seconds)
    outbox.put_all(db, [outbox.Wanted("stk_push", due_at, {"charge_id": charge_id}), *timers])
    if for_another:
        messages.of_payer(db, "payment_asked", checkout_id, checkout_id, msisdn, {}, now)
    return charge_id


def withdraw(db: Db, checkout_id: UUID, now: datetime) -> None:
    """The checkout is closed: a push that was not begun shall not be made."""
    db.run(
        """
        UPDATE charges SET state = 'refused', code = 'withdrawn', updated_at = %(now)s
        WHERE checkout_id = %(checkout_id)s AND state = 'created' AND claimed_at IS NULL
        """,
        {"checkout_id": checkout_id, "now": now},
    )


def claim_for_push(db: Db, charge_id: UUID, rules: Rules, now: datetime) -> ClaimedCharge | None:
    """Take the one right to push; commit, call the gateway once, then record_push.

    None: nothing to do, now or later: claimed before, closed, or its time to pay is over. A claim
    whose holder died is found by a timer that is set here.
    """
    charge = lock(db, charge_id)
    if charge.state != "created" or charge.claimed_at is not None:
        return None
    # Whoever has her old number by now, or her payer's, is asked for nothing of theirs.
    refused: str | None = db.value(
        f"""
        SELECT CASE WHEN k.state <> 'placed' OR k.pay_by <= %(now)s THEN 'too_late'
                    WHEN {numbers.LEFT} THEN 'number_changed' END
        FROM charges c
        JOIN checkouts k ON k.id = c.checkout_id
        JOIN members m ON m.id = k.buyer_id
        WHERE c.id = %(id)s
        """,
        {"id": charge_id, "now": now},
    )
    if refused is not None:
        close(db, charge, "refused", refused, now)
        if refused == "number_changed":
            tell_how_to_pay(db, charge, now)
        return None
    db.run(
        "UPDATE charges SET claimed_at = %(now)s, updated_at = %(now)s WHERE id = %(id)s",
        {"now": now, "id": charge_id},
    )
    outbox.put(db, "query_charge", due_at=now + CLAIM_LOST_AFTER, charge_id=charge_id)
    return ClaimedCharge(
        charge.id, charge.msisdn, charge.amount_cents, charge.reference, _token(charge_id, rules)
    )


def record_push(db: Db, charge_id: UUID, answer: PushAnswer, now: datetime) -> None:
    """What came of the call. A repeat changes nothing; a callback may have been here before us."""
    charge = lock(db, charge_id)
    if charge.asked_at is not None:
        return
    if answer.code is not None:
        keep_code(db, charge_id, "ack", answer.code, answer.outcome, now)
    db.run(
        """
        UPDATE charges SET asked_at = %(now)s, updated_at = %(now)s,
            push_id = coalesce(%(push_id)s, push_id),
            push_group_id = coalesce(%(push_group_id)s, push_group_id)
        WHERE id = %(id)s
        """,
        {
            "now": now,
            "push_id": answer.push_id,
            "push_group_id": answer.push_group_id,
            "id": charge_id,
        },
    )
    if charge.state not in ("created", "unknown"):
        return
    if answer.outcome == "refused":
        close(db, charge, "refused", answer.code, now)
        tell_how_to_pay(db, charge, now)
        return
    _set_state(db, charge_id, "pending" if answer.outcome == "accepted" else "unknown", now)
    outbox.put(db, "query_charge", due_at=now + QUERY_AFTER[0], charge_id=charge_id)
    outbox.put(db, "review_charge", due_at=now + REVIEW_AFTER, charge_id=charge_id)


def query_due(db: Db, charge_id: UUID, now: datetime) -> ChargeToQuery | None:
    """For the timer query_charge: what to ask the gateway now; then settle with what it says.

    None: there is nothing to ask. Either way the next time is set here. After 24 hours without an
    answer an incident takes its place.
    """
    charge = lock(db, charge_id)
    if charge.state not in (*OPEN, "review") or charge.claimed_at is None:
        return None
    if charge.state == "created":
        lost_at = charge.claimed_at + CLAIM_LOST_AFTER
        if now < lost_at:
            outbox.put(db, "query_charge", due_at=lost_at, charge_id=charge_id)
            return None
        _set_state(db, charge_id, "unknown", now)
        review_at = charge.claimed_at + REVIEW_AFTER
        outbox.put(db, "review_charge", due_at=review_at, charge_id=charge_id)
    asked_at = charge.asked_at or charge.claimed_at
    next_at = next((asked_at + wait for wait in QUERY_AFTER if asked_at + wait > now), None)
    if next_at is None:
        incidents.open(db, "charge_unanswered", charge_id, now, state=charge.state)
    else:
        outbox.put(db, "query_charge", due_at=next_at, charge_id=charge_id)
    if charge.push_id is None:
        return None
    db.run(
        """
        UPDATE charges SET query_count = query_count + 1, updated_at = %(now)s WHERE id = %(id)s
        """,
        {"now": now, "id": charge_id},
    )
    return ChargeToQuery(charge_id, charge.push_id)


def review(db: Db, charge_id: UUID, now: datetime) -> Literal["review", "settled", "not_yet"]:
    """For the timer review_charge: after 15 minutes without an answer phone and stock are free.

    Queries go on; "not_yet" has set the timer anew.
    """
    charge = lock(db, charge_id)
    if charge.state not in ("pending", "unknown"):
        return "settled"
    asked_at = charge.asked_at or charge.claimed_at
    assert asked_at is not None, f"charge {charge_id} is {charge.state}, and nobody claimed it"
    if now < asked_at + REVIEW_AFTER:
        outbox.put(db, "review_charge", due_at=asked_at + REVIEW_AFTER, charge_id=charge_id)
        return "not_yet"
    close(db, charge, "review", None, now)
    return "review"


def lock(db: Db, charge_id: UUID) -> Charge:
    """For whoever changes it; who also changes its checkout has locked that first."""
    charge = db.row(
        Charge,
        f"SELECT {_COLUMNS} FROM charges WHERE id = %(id)s FOR NO KEY UPDATE",
        {"id": charge_id},
    )
    if charge is None:
        raise UnknownCharge(f"no charge {charge_id}")
    return charge


def lock_all(db: Db, charge_ids: Sequence[UUID]) -> list[Charge]:
    """The same of several, by id; what is no charge is passed over."""
    return db.rows(
        Charge,
        f"SELECT {_COLUMNS} FROM charges WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE",
        {"ids": list(charge_ids)},
    )


def keep_code(db: Db, charge_id: UUID, source: str, code: str, meaning: str, now: datetime) -> bool:
    """True: the first time this source says this of the charge."""
    return keep_codes(db, {charge_id: code}, source, meaning, now) == 1


def keep_codes(db: Db, codes: Mapping[UUID, str], source: str, meaning: str, now: datetime) -> int:
    """The same of several charges; of how many for the first time."""
    return db.run(
        """
        INSERT INTO charge_codes (charge_id, source, code, meaning, at)
        SELECT charge_id, %(source)s, code, %(meaning)s, %(now)s
        FROM unnest(%(charge_ids)s::uuid[], %(codes)s::text[]) AS c (charge_id, code)
        ON CONFLICT DO NOTHING
        """,
        {
            "charge_ids": list(codes),
            "source": source,
            "codes": list(codes.values()),
            "meaning": meaning,
            "now": now,
        },
    )


def set_paid(db: Db, paid: Mapping[UUID, str | None], now: datetime) -> None:
    """These charges brought their money. paid: the receipt, if known, by charge."""
    db.run(
        """
        UPDATE charges c
        SET state = 'paid', receipt = coalesce(p.receipt, c.receipt), updated_at = %(now)s
        FROM unnest(%(ids)s::uuid[], %(receipts)s::text[]) AS p (id, receipt) WHERE c.id = p.id
        """,
        {"ids": list(paid), "receipts": list(paid.values()), "now": now},
    )


def set_receipt(db: Db, charge_id: UUID, receipt: str, now: datetime) -> None:
    db.run(
        "UPDATE charges SET receipt = %(receipt)s, updated_at = %(now)s WHERE id = %(id)s",
        {"receipt": receipt, "now": now, "id": charge_id},
    )


def close(db: Db, charge: Charge, state: str, code: str | None, now: datetime) -> None:
    """The phone is free again, and the checkout may expire when its time is up."""
    pay_by: datetime = db.value(
        """
        WITH closed AS (
            UPDATE charges
            SET state = %(state)s, code = %(code)s, updated_at = %(now)s
            WHERE id = %(id)s
        )
        SELECT pay_by FROM checkouts WHERE id = %(checkout_id)s
        """,
        {
            "state": state,
            "code": code,
            "now": now,
            "id": charge.id,
            "checkout_id": charge.checkout_id,
        },
    )
    due_at = max(pay_by, now)
    outbox.put(db, "expire_checkout", due_at=due_at, checkout_id=charge.checkout_id)


def ask_at_once(db: Db, charge: Charge, result: ChargeResult, now: datetime) -> None:
    """Ask the gateway at once; where the ack was lost, by the push's id that the callback names."""
    if charge.push_id is None and result.push_id is not None:
        db.run(
            """
            UPDATE charges SET push_id = %(push_id)s, push_group_id = %(push_group_id)s,
                               updated_at = %(now)s
            WHERE id = %(id)s
              AND NOT EXISTS (SELECT FROM charges WHERE push_id = %(push_id)s)
            """,
            {
                "push_id": result.push_id,
                "push_group_id": result.push_group_id,
                "now": now,
                "id": charge.id,
            },
        )
    if charge.state not in PAID:
        outbox.put(db, "query_charge", due_at=now, charge_id=charge.id)


def tell_how_to_pay(db: Db, charge: Charge, now: datetime, *, over_limit: bool = False) -> None:
    """The prompt came to nothing: while her goods are promised, she can pay by hand."""
    waits: bool = db.value(
        "SELECT state = 'placed' AND pay_by > %(now)s FROM checkouts WHERE id = %(id)s",
        {"id": charge.checkout_id, "now": now},
    )
    if waits:
        missing_cents = captures.missing_cents(db, charge.checkout_id)
        values = {
            "reference": charge.reference,
            "total": money.show(min(missing_cents, AMOUNT_CENTS_MAX)),
        }
        trigger = "payment_over_limit" if over_limit else "payment_failed"
        messages.of_payment(db, trigger, charge.id, charge.checkout_id, values, now)


def last_payer(db: Db, buyer_id: UUID) -> str | None:
    """The phone, not her own, that paid for her last, and would be asked again."""
    found: str | None = db.value(
        f"""
        SELECT c.msisdn
        FROM checkouts k JOIN charges c ON c.checkout_id = k.id
        JOIN members m ON m.id = k.buyer_id
        WHERE k.buyer_id = %(buyer_id)s AND c.state = 'paid' AND c.msisdn <> m.msisdn
          AND NOT {numbers.LEFT}
          AND NOT EXISTS (SELECT FROM opt_outs o WHERE o.msisdn = c.msisdn AND o.class = 'asking')
        ORDER BY c.updated_at DESC, c.id DESC LIMIT 1
        """,
        {"buyer_id": buyer_id},
    )
    return found


def by_token(db: Db, token: str) -> Charge | None:
    """The charge whose callback path holds this token."""
    return db.row(
        Charge,
        f"SELECT {_COLUMNS} FROM charges WHERE token_hash = %(hash)s",
        {"hash": _token_hash(token)},
    )


def by_reference(db: Db, reference: str) -> Charge | None:
    """The charge whose account the payer named, however she typed it."""
    return db.row(
        Charge,
        f"SELECT {_COLUMNS} FROM charges WHERE reference = %(reference)s",
        {"reference": _as_ours(reference)},
    )


def is_awaited(db: Db, reference: str) -> bool:
    """Is there something to pay by this account, however it was typed?

    The checkout is still to be paid, in whole or in part, or the charge might yet be its payment.
    """
    return bool(
        db.value(
            """
            SELECT EXISTS (
                SELECT FROM charges c JOIN checkouts k ON k.id = c.checkout_id
                WHERE c.reference = %(reference)s AND (k.state = 'placed' OR (
                    k.state <> 'paid' AND c.state IN ('created', 'pending', 'unknown'))))
            """,
            {"reference": _as_ours(reference)},
        )
    )


def by_id(db: Db, charge_id: UUID) -> Charge | None:
    return db.row(Charge, f"SELECT {_COLUMNS} FROM charges WHERE id = %(id)s", {"id": charge_id})


def of_checkout(db: Db, checkout_id: UUID) -> list[Charge]:
    """Every attempt for the checkout, oldest first."""
    return db.rows(
        Charge,
        f"SELECT {_COLUMNS} FROM charges WHERE checkout_id = %(id)s ORDER BY created_at, id",
        {"id": checkout_id},
    )


def _as_ours(reference: str) -> str:
    """A reference as payers type it, in the form ours have."""
    return "".join(letter for letter in reference.upper() if letter in _LETTERS_TYPED)


def _token(charge_id: UUID, rules: Rules) -> str:
    """Derived, so that only its hash need be stored and the push can still name it."""
    return hmac.new(rules.token_key, charge_id.bytes, sha256).hexdigest()[:32]


def _token_hash(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _set_state(db: Db, charge_id: UUID, state: str, now: datetime) -> None:
    db.run(
        "UPDATE charges SET state = %(state)s, updated_at = %(now)s WHERE id = %(id)s",
        {"state": state, "now": now, "id": charge_id},
    )
