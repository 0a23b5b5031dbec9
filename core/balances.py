"""Balances: what M-Pesa says lies on our two floats, each answer kept and held against our books.

Money moves while we ask, so a difference is one only when nothing was under way, and it stands at
two questions in a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, get_args
from uuid import UUID

import sqlalchemy as sa

from core import float_moves, halts, incidents, initiator, ledger, outbox, reply_paths
from core.database import Db, metadata
from core.rules import Rules

Float = Literal["c2b", "b2c"]
FLOATS: Final[tuple[Float, ...]] = get_args(Float)
Heard = Literal["equal", "differs", "busy", "unreadable", "already_heard"]

OWED: Final = "Charges Paid Account"  # stands below zero: what M-Pesa has not taken yet
ASK_AGAIN: Final = timedelta(minutes=10)  # where it differs for the first time

questions = sa.Table(
    "balance_questions",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("float", sa.Text, nullable=False),
    sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("answered_at", sa.DateTime(timezone=True)),
    sa.Column("outcome", sa.Text),
    sa.Column("held_cents", sa.BigInteger),  # at M-Pesa, what is owed it not counted
    sa.Column("books_cents", sa.BigInteger),  # with us, when the answer was read
    sa.CheckConstraint(f"float IN ({', '.join(map(repr, FLOATS))})", name="float"),
    sa.CheckConstraint("outcome IN ('equal', 'differs', 'busy', 'unreadable')", name="outcome"),
    sa.CheckConstraint("(outcome IS NULL) = (answered_at IS NULL)", name="answered_at"),
    sa.Index("ix_balance_questions_float", "float", "asked_at"),
)

balances = sa.Table(
    "balances",
    metadata,
    sa.Column("question_id", sa.Uuid, sa.ForeignKey("balance_questions.id"), primary_key=True),
    sa.Column("account", sa.Text, primary_key=True),  # as M-Pesa calls it
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Question:
    """To be asked now. token: the 32 hex digits of the path the answer comes by."""

    id: UUID
    of: Float
    token: str = field(repr=False)


@dataclass(frozen=True)
class Seen:
    """The last that M-Pesa said of a float. owed_cents: what it has not taken yet, positive."""

    at: datetime
    outcome: str
    held_cents: int
    books_cents: int
    owed_cents: int


def account(of: Float) -> ledger.Account:
    """The float as our books know it."""
    return ledger.C2B if of == "c2b" else ledger.B2C


def ask(db: Db, of: Float, rules: Rules, now: datetime) -> Question | None:
    """Begin a question; commit, then call the gateway. None: our operator's word is not taken.

    Where it is only not known yet whether it is, the question is asked a little later.
    """
    if halts.is_halted(db, "initiator"):
        return None
    if not initiator.may_call(db, rules, now):
        outbox.put(db, "ask_balance", due_at=now + initiator.PROBE_FOR, float=of)
        return None
    question_id = db.new_id()
    db.run(
        """
        INSERT INTO balance_questions (id, float, asked_at) VALUES (%(id)s, %(float)s, %(now)s)
        """,
        {"id": question_id, "float": of, "now": now},
    )
    return Question(question_id, of, reply_paths.open(db, "balance", question_id, 0, rules, now))


def hear(db: Db, question_id: UUID, told: Mapping[str, int] | None, now: datetime) -> Heard:
    """Keep the answer and compare it with our books.

    told: cents by M-Pesa's name of the account; None: the answer says nothing. "busy": something
    was under way, so that it can be compared with nothing.
    """
    question = db.row(
        _Open,
        """
        SELECT float AS of, asked_at, answered_at FROM balance_questions
        WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        {"id": question_id},
    )
    assert question is not None, f"no question of a balance {question_id}"
    if question.answered_at is not None:
        return "already_heard"
    if told is None:
        _keep(db, question_id, "unreadable", None, None, now)
        return "unreadable"
    halts.vouch(db, question.asked_at, now)
    held_cents = sum(cents for name, cents in told.items() if name != OWED)
    _keep_accounts(db, question_id, told)
    float_ = account(question.of)
    books_cents = ledger.balance(db, float_)
    is_quiet = not ledger.moved_since(db, float_, question.asked_at)
    is_quiet = is_quiet and not _is_under_way(db, question.of)
    if is_quiet and question.of == "b2c":
        proved = float_moves.settle_by_balance(db, held_cents - books_cents, question.asked_at, now)
        books_cents = ledger.balance(db, float_) if proved else books_cents
    if not is_quiet or float_moves.open_one(db) is not None:
        _keep(db, question_id, "busy", held_cents, books_cents, now)
        return "busy"
    outcome: Literal["equal", "differs"] = "equal" if held_cents == books_cents else "differs"
    before = last(db, question.of, compared=True)
    _keep(db, question_id, outcome, held_cents, books_cents, now)
    difference_cents = held_cents - books_cents
    known = incidents.find_open(db, "balance_differs", question.of)
    if outcome == "equal":
        if known is not None:
            incidents.close(db, known.id, "it is equal again", now)
    elif before is None or before.held_cents - before.books_cents != difference_cents:
        outbox.put(db, "ask_balance", due_at=now + ASK_AGAIN, float=question.of)
    elif known is not None:
        incidents.amend(db, known.id, difference_cents=difference_cents)
    else:
        incidents.open(
            db, "balance_differs", question.of, now,
            difference_cents=difference_cents, mpesa_cents=held_cents, books_cents=books_cents,
        )  # fmt: skip
    return outcome


def last(db: Db, of: Float, *, compared: bool = False) -> Seen | None:
    """The newest answer that could be read. compared: only of those that could be compared."""
    return db.row(
        Seen,
        """
        SELECT q.answered_at AS at, q.outcome, q.held_cents, q.books_cents,
               coalesce(-(SELECT amount_cents FROM balances
                          WHERE question_id = q.id AND account = %(owed)s), 0) AS owed_cents
        FROM balance_questions q
        WHERE q.float = %(float)s AND q.outcome = ANY(%(outcomes)s)
        ORDER BY q.asked_at DESC, q.id DESC LIMIT 1
        """,
        {
            "float": of,
            "owed": OWED,
            "outcomes": ["equal", "differs"] if compared else ["equal", "differs", "busy"],
        },
    )


@dataclass(frozen=True)
class _Open:
    of: Float
    asked_at: datetime
    answered_at: datetime | None


def _is_under_way(db: Db, of: Float) -> bool:
    """Is anything with M-Pesa, or kept and not yet read, that changes this float?"""
    if of == "b2c":
        return bool(
            db.value(
                """
                SELECT EXISTS (SELECT FROM payouts WHERE kind <> 'reversal'
                               AND state IN ('submitting', 'accepted', 'unknown'))
                """
            )
        )
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM payouts WHERE kind = 'reversal'
                           AND state IN ('submitting', 'accepted', 'unknown'))
                OR EXISTS (SELECT FROM charges WHERE state IN ('created', 'pending', 'unknown'))
            """
        )
    )


def _keep(
    db: Db,
    question_id: UUID,
    outcome: str,
    held_cents: int | None,
    books_cents: int | None,
    now: datetime,
) -> None:
    db.run(
        """
        UPDATE balance_questions
        SET outcome = %(outcome)s, held_cents = %(held)s, books_cents = %(books)s,
            answered_at = %(now)s
        WHERE id = %(id)s
        """,
        {
            "outcome": outcome,
            "held": held_cents,
            "books": books_cents,
            "now": now,
            "id": question_id,
        },
    )


def _keep_accounts(db: Db, question_id: UUID, told: Mapping[str, int]) -> None:
    db.run(
        """
        INSERT INTO balances (question_id, account, amount_cents)
        SELECT %(id)s, account, cents
        FROM unnest(%(accounts)s::text[], %(cents)s::bigint[]) AS a (account, cents)
        """,
        {"id": question_id, "accounts": list(told), "cents": list(told.values())},
    )
