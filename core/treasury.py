"""Treasury: our own money at M-Pesa: capital put in, charges M-Pesa took, fees taken to the bank.

Each is proposed by one of ours with the reference of what happened outside, and booked by another.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString, get_args
from uuid import UUID

import sqlalchemy as sa

from core import balances, ledger, outbox, payouts, solvency
from core.balances import Float
from core.database import Db, metadata
from core.money import CENTS
from core.staff import Actor

Kind = Literal["capital", "charges", "fees"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Unfit = Literal[
    "not_whole", "too_small", "too_large", "no_reference", "not_allowed", "known_reference"
]
Short = Literal["overdrawn", "not_owed", "not_earned", "insolvent"]

CENTS_MAX: Final = 10**12  # of one booking: KSh 10 billion
REFERENCE_LETTERS_MIN: Final = 3

_COLUMNS: Final[LiteralString] = """
    id, number, kind, float AS of, amount_cents, reference, state, proposed_by, decided_by,
    proposed_at"""

numbers = sa.Sequence("booking_numbers", start=1, metadata=metadata)

bookings = sa.Table(
    "bookings",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("float", sa.Text, nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),  # of the bank, or M-Pesa's receipt
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("proposed_by", sa.Text, nullable=False),
    sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("decided_by", sa.Text),
    sa.Column("decided_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint(f"kind IN ({', '.join(map(repr, KINDS))})", name="kind"),
    sa.CheckConstraint(f"float IN ({', '.join(map(repr, balances.FLOATS))})", name="float"),
    sa.CheckConstraint("kind <> 'fees' OR float = 'c2b'", name="fees_of_collection"),
    sa.CheckConstraint(f"amount_cents > 0 AND amount_cents % {CENTS} = 0", name="amount_cents"),
    sa.CheckConstraint("state IN ('proposed', 'booked', 'declined')", name="state"),
    sa.CheckConstraint("(state = 'proposed') = (decided_by IS NULL)", name="decided_by"),
    sa.CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL)", name="decided_at"),
    sa.CheckConstraint("state <> 'booked' OR decided_by <> proposed_by", name="two_people"),
    sa.Index(
        "uq_bookings_reference",
        "kind",
        "reference",
        unique=True,
        postgresql_where=sa.text("state <> 'declined'"),
    ),
)


@dataclass(frozen=True)
class Booking:
    """of: the float that is more or less by it. decided_by: None while it waits."""

    id: UUID
    number: int
    kind: Kind
    of: Float
    amount_cents: int
    reference: str
    state: Literal["proposed", "booked", "declined"]
    proposed_by: str
    decided_by: str | None
    proposed_at: datetime

    @property
    def subject(self) -> str:
        """Its name in the audit log."""
        return f"booking {self.number}"

    def legs(self) -> list[ledger.Leg]:
        """What it moves in the books."""
        float_, cents = balances.account(self.of), self.amount_cents
        debit, credit = {
            "capital": (float_, ledger.CAPITAL),
            "charges": (ledger.MPESA_CHARGES_OWED, float_),
            "fees": (ledger.BANK, float_),
        }[self.kind]
        return [ledger.debit(debit, cents), ledger.credit(credit, cents)]


def propose(
    db: Db, kind: Kind, of: Float, cents: int, reference: str, by: Actor, now: datetime
) -> Booking | Unfit | Short:
    """An operator asks for it to be booked; nothing moves before a second person agrees.

    reference: what the bank or M-Pesa calls it; of each kind it is booked once.
    """
    if not by.may("operator"):
        return "not_allowed"
    if cents % CENTS != 0:  # also whatever is no whole number at all
        return "not_whole"
    if not 0 < cents <= CENTS_MAX:
        return "too_small" if cents <= 0 else "too_large"
    reference = reference.strip()
    if len(reference) < REFERENCE_LETTERS_MIN:
        return "no_reference"
    solvency.lock(db)
    if short := _shortage(db, kind, of, cents):
        return short
    booking_id = db.new_id()
    kept = db.run(
        """
        INSERT INTO bookings (id, number, kind, float, amount_cents, reference, state,
                              proposed_by, proposed_at)
        VALUES (%(id)s, nextval('booking_numbers'), %(kind)s, %(float)s, %(cents)s,
                %(reference)s, 'proposed', %(by)s, %(now)s)
        ON CONFLICT (kind, reference) WHERE state <> 'declined' DO NOTHING
        """,
        {
            "id": booking_id,
            "kind": kind,
            "float": of,
            "cents": cents,
            "reference": reference,
            "by": by.name,
            "now": now,
        },
    )
    if not kept:
        return "known_reference"
    booking = _by_id(db, booking_id)
    after = {"state": "proposed", "kind": kind, "float": of, "cents": cents, "as": reference}
    by.write(db, "booking_proposed", booking.subject, {}, after, now)
    return booking


def book(
    db: Db, number: int, by: Actor, now: datetime
) -> Literal["booked", "not_allowed", "not_waiting", "own"] | Short:
    """A second person agrees, and it is in the books. "own": whoever proposed it may not."""
    if not by.may("approver"):
        return "not_allowed"
    solvency.lock(db)
    booking = numbered(db, number)
    if booking is None or booking.state != "proposed":
        return "not_waiting"
    if booking.proposed_by == by.name:
        return "own"
    if short := _shortage(db, booking.kind, booking.of, booking.amount_cents):
        return short
    ledger.post(db, booking.kind, f"booking:{booking.id}", booking.legs(), now)
    _decide(db, booking, "booked", by, now)
    if booking.kind == "capital" and booking.of == "b2c":
        outbox.put(db, "float_arrived", due_at=now)
    return "booked"


def decline(
    db: Db, number: int, by: Actor, now: datetime
) -> Literal["taken_back", "not_allowed", "not_waiting"]:
    """It will not be booked; also one's own may be taken back."""
    booking = numbered(db, number)
    if booking is None or booking.state != "proposed":
        return "not_waiting"
    if not by.may_decline(booking.proposed_by, booking.proposed_at):
        return "not_allowed"
    _decide(db, booking, "declined", by, now)
    return "taken_back"


def found(db: Db, cents: int, now: datetime) -> bool:
    """Put the first capital into the payout float of a market that is tried out; False: it is in.

    It is real money nowhere: whoever runs the pretend M-Pesa puts as much there.
    """
    legs = [ledger.debit(ledger.B2C, cents), ledger.credit(ledger.CAPITAL, cents)]
    try:
        return ledger.post(db, "capital", "capital:first", legs, now) == "posted"
    except ledger.Conflict:  # another sum, by an earlier release
        return False


def numbered(db: Db, number: int) -> Booking | None:
    """The booking, locked."""
    return db.row(
        Booking,
        f"""
        SELECT {_COLUMNS}
        FROM bookings WHERE number = %(number)s FOR NO KEY UPDATE
        """,
        {"number": number},
    )


def proposed(db: Db) -> list[Booking]:
    """Those that wait for a second person, oldest first."""
    return db.rows(
        Booking,
        f"""
        SELECT {_COLUMNS}
        FROM bookings WHERE state = 'proposed' ORDER BY number
        """,
    )


def look(db: Db, now: datetime) -> bool:
    """For the schedule, each hour: whether I21 holds; the floats are filled up and asked about."""
    for of in balances.FLOATS:
        outbox.put(db, "ask_balance", due_at=now, float=of)
    outbox.put(db, "keep_float", due_at=now)
    return solvency.check(db, now)


def _shortage(db: Db, kind: Kind, of: Float, cents: int) -> Short | None:
    """What forbids that so much leaves; capital comes in, so nothing does."""
    if kind == "capital":
        return None
    owed_cents = ledger.balance(db, ledger.MPESA_CHARGES_OWED)
    if kind == "charges" and cents > owed_cents:
        return "not_owed"
    if kind == "fees":
        taken_cents = ledger.balance(db, ledger.BANK)
        if cents > ledger.balance(db, ledger.FEES) - taken_cents:
            return "not_earned"
        # As if M-Pesa took now what we owe it: that is nobody's to take to the bank.
        if solvency.surplus_cents(db) - owed_cents < cents:
            return "insolvent"
    return "overdrawn" if cents > payouts.free_cents(db, balances.account(of)) else None


def _decide(
    db: Db, booking: Booking, state: Literal["booked", "declined"], by: Actor, now: datetime
) -> None:
    db.run(
        """
        UPDATE bookings SET state = %(state)s, decided_by = %(by)s, decided_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "by": by.name, "now": now, "id": booking.id},
    )
    before = {"state": booking.state, "proposed_by": booking.proposed_by}
    by.write(db, f"booking_{state}", booking.subject, before, {"state": state}, now)


def _by_id(db: Db, booking_id: UUID) -> Booking:
    found = db.row(
        Booking,
        f"""
        SELECT {_COLUMNS}
        FROM bookings WHERE id = %(id)s
        """,
        {"id": booking_id},
    )
    assert found is not None, f"no booking {booking_id}"
    return found
