"""SIM checks: whether a line got another SIM card lately, asked before money goes to it.

Who steals a number gets the owner's money by it. A check stays good for a while; until the network
answers it is open and asked again, each time later. Nobody's word is taken for "no swap": what is
not known is not clean.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import days, incidents, outbox
from core.database import Db, metadata
from core.rules import Rules

Outcome = Literal["clean", "swapped"]

GOOD_FOR: Final = timedelta(minutes=15)  # a payout and what comes with it ask once
# After each question that brought no answer; the last one again and again.
ASK_AGAIN_AFTER: Final = (
    *(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 20, 40)),
    timedelta(hours=1),
)
QUESTIONS_BEFORE_INCIDENT: Final = 4  # eight minutes, after which a person looks at it
UNANSWERED: Final = "sim_unanswered"  # that incident

sim_checks = sa.Table(
    "sim_checks",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("msisdn", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text),  # the network's word; NULL: nobody knows yet
    sa.Column("swapped_on", sa.Date),  # the last day it got another SIM, if it says one
    sa.Column("questions", sa.Integer, nullable=False),
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("outcome IN ('clean', 'swapped')", name="outcome"),
    sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ended"),
    sa.Index(
        "uq_sim_checks_open", "msisdn", unique=True, postgresql_where=sa.text("ended_at IS NULL")
    ),
    sa.Index("ix_sim_checks_msisdn", "msisdn", "ended_at"),
)

# Each question by the id the gateway gave it. Its answer comes by another road and may be first.
sim_questions = sa.Table(
    "sim_questions",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("check_id", sa.Uuid, sa.ForeignKey("sim_checks.id")),  # NULL: the answer was first
    sa.Column("status", sa.Text),  # as the gateway says it; NULL: it said nothing yet
    sa.Column("swapped_on", sa.Date),
    sa.Column("outcome", sa.Text),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("outcome IN ('clean', 'swapped')", name="outcome"),
)


# Is the line of the payout p asked about at this moment?
ASKED: Final[LiteralString] = """EXISTS (
    SELECT FROM sim_checks c WHERE c.msisdn = p.msisdn AND c.ended_at IS NULL)"""


@dataclass(frozen=True)
class Finding:
    """What is known of a line. swapped_on: the day it got another SIM; None: not lately."""

    swapped_on: date | None


@dataclass(frozen=True)
class Question:
    """What the network is to be asked now."""

    check_id: UUID
    msisdn: str = field(repr=False)


@dataclass(frozen=True)
class SimAnswer:
    """What the gateway said. outcome None: nothing yet, or nothing that could be relied on.

    status: its own word, or ours for a call that came to nothing. request_id: by which the answer
    will be named if it comes later. swapped_on: the last swap it knows of; None: none.
    """

    status: str
    outcome: Outcome | None = None
    swapped_on: date | None = None
    request_id: str | None = None


def finding(
    db: Db, msisdn: str, known_until: datetime | None, rules: Rules, now: datetime
) -> Finding | None:
    """What the last check found, while it is good. None: nobody knows; see want.

    Whatever the network calls it, a swap within our days is one, and one before them is none; but
    for one that came after known_until, when the owner last typed the PIN: then who holds the line
    may be whoever was given a number that lay dead.
    """
    last = db.row(
        _Last,
        """
        SELECT outcome, swapped_on, ended_at FROM sim_checks
        WHERE msisdn = %(msisdn)s AND ended_at > %(since)s
        ORDER BY ended_at DESC LIMIT 1
        """,
        {"msisdn": msisdn, "since": now - GOOD_FOR},
    )
    if last is None:
        return None
    swapped_on = last.swapped_on
    if last.outcome == "swapped" and swapped_on is None:
        swapped_on = days.today(last.ended_at)  # lately, and nobody says when
    if swapped_on is None:
        return Finding(None)
    is_late = days.today(now) - swapped_on < timedelta(days=rules.sim_swap_days)
    is_unseen = known_until is not None and swapped_on > days.today(known_until)
    return Finding(swapped_on if is_late or is_unseen else None)


def want(db: Db, msisdn: str, now: datetime) -> None:
    """Have the line checked. The payouts that wait for that are asked for when the check ends."""
    # Locked where it is open already, so that it cannot end before whoever waits says so.
    check = db.row(
        _Check,
        """
        INSERT INTO sim_checks (id, msisdn, questions, opened_at)
        VALUES (%(id)s, %(msisdn)s, 0, %(now)s)
        ON CONFLICT (msisdn) WHERE ended_at IS NULL DO UPDATE SET msisdn = excluded.msisdn
        RETURNING id, msisdn, questions, ended_at
        """,
        {"id": db.new_id(), "msisdn": msisdn, "now": now},
    )
    assert check is not None, "an upsert returned no row"
    if not check.questions:
        outbox.put(db, "check_sim", due_at=now, check_id=check.id)


def question_due(db: Db, check_id: UUID, now: datetime) -> Question | None:
    """For the task check_sim: what to ask now; the next time is set here. None: it has ended.

    A question may be asked twice without harm: any answer to any of them ends the check.
    """
    check = _lock(db, check_id)
    if check.ended_at is not None:
        return None
    pause = ASK_AGAIN_AFTER[min(check.questions, len(ASK_AGAIN_AFTER) - 1)]
    outbox.put(db, "check_sim", due_at=now + pause, check_id=check_id)
    db.run("UPDATE sim_checks SET questions = questions + 1 WHERE id = %(id)s", {"id": check_id})
    if check.questions == QUESTIONS_BEFORE_INCIDENT:
        incidents.open(db, UNANSWERED, check_id, now, questions=check.questions)
    return Question(check_id, check.msisdn)


def record(db: Db, check_id: UUID, answer: SimAnswer, now: datetime) -> None:
    """What the call brought: the answer, or the id by which it will come, or has come already."""
    check = _lock(db, check_id)
    if answer.outcome is not None:
        _end(db, check, answer.outcome, answer.swapped_on, now)
    if answer.request_id is None:
        return
    came_first = db.row(
        _Answer,
        """
        INSERT INTO sim_questions (request_id, check_id, at)
        VALUES (%(request_id)s, %(check_id)s, %(now)s)
        ON CONFLICT (request_id) DO UPDATE
        SET check_id = coalesce(sim_questions.check_id, excluded.check_id)
        RETURNING check_id, outcome, swapped_on
        """,
        {"request_id": answer.request_id, "check_id": check_id, "now": now},
    )
    # An id that was given for another question says nothing of this line.
    if came_first is not None and came_first.check_id == check_id and came_first.outcome:
        _end(db, check, came_first.outcome, came_first.swapped_on, now)


def answered(
    db: Db, answer: SimAnswer, now: datetime
) -> Literal["ended", "kept", "already_ended", "nothing"]:
    """An answer that came by itself. The first that says something counts.

    "kept": we have not heard yet what was asked under that id. "nothing": it says too little.
    """
    assert answer.request_id is not None, "an answer to nothing"
    if answer.outcome is None:
        return "nothing"
    check_id: UUID | None = db.value(
        """
        INSERT INTO sim_questions (request_id, status, swapped_on, outcome, at)
        VALUES (%(request_id)s, %(status)s, %(swapped_on)s, %(outcome)s, %(now)s)
        ON CONFLICT (request_id) DO UPDATE
        SET status = coalesce(sim_questions.status, excluded.status),
            swapped_on = CASE WHEN sim_questions.outcome IS NULL THEN excluded.swapped_on
                              ELSE sim_questions.swapped_on END,
            outcome = coalesce(sim_questions.outcome, excluded.outcome)
        RETURNING check_id
        """,
        {
            "request_id": answer.request_id,
            "status": answer.status,
            "swapped_on": answer.swapped_on,
            "outcome": answer.outcome,
            "now": now,
        },
    )
    if check_id is None:
        return "kept"
    check = _lock(db, check_id)
    if check.ended_at is not None:
        return "already_ended"
    _end(db, check, answer.outcome, answer.swapped_on, now)
    return "ended"


@dataclass(frozen=True)
class _Last:
    outcome: Outcome
    swapped_on: date | None
    ended_at: datetime


@dataclass(frozen=True)
class _Answer:
    check_id: UUID
    outcome: Outcome | None
    swapped_on: date | None


@dataclass(frozen=True)
class _Check:
    id: UUID
    msisdn: str = field(repr=False)
    questions: int
    ended_at: datetime | None


@dataclass(frozen=True)
class _Waiting:
    payout_id: UUID


def _lock(db: Db, check_id: UUID) -> _Check:
    check = db.row(
        _Check,
        """
        SELECT id, msisdn, questions, ended_at FROM sim_checks
        WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        {"id": check_id},
    )
    assert check is not None, f"no check {check_id}"
    return check


def _end(db: Db, check: _Check, outcome: Outcome, swapped_on: date | None, now: datetime) -> None:
    if check.ended_at is not None:
        return
    db.run(
        """
        UPDATE sim_checks
        SET outcome = %(outcome)s, swapped_on = %(swapped_on)s, ended_at = %(now)s
        WHERE id = %(id)s AND ended_at IS NULL
        """,
        {"id": check.id, "outcome": outcome, "swapped_on": swapped_on, "now": now},
    )
    incidents.end(db, UNANSWERED, check.id, "the network answered", now)
    # Of this line only, and by the line they go to by now: its owner may have another since.
    waiting = db.rows(
        _Waiting,
        """
        SELECT id AS payout_id FROM payouts
        WHERE state = 'approved' AND waits_for = 'sim' AND msisdn = %(msisdn)s
        ORDER BY approved_at, id
        """,
        {"msisdn": check.msisdn},
    )
    if waiting:
        outbox.put_all(
            db, [outbox.Wanted("submit_payout", now, {"payout_id": w.payout_id}) for w in waiting]
        )
