"""A bank's side of a day, written line by line beside our books: what M-Pesa says of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Any

from core import differences, matching, movements, reconcile, statement_lines
from core.database import Db
from core.differences import Difference, Judged
from core.movements import MOVED
from core.rules import Rules
from core.statement_lines import Book, Line, Source, Statement

DAY = date(2026, 11, 21)
SHORTCODES: dict[Book, str] = {"A.c2b": "174379", "A.b2c": "600997", "L.mcharges": "600997"}


class Bank:
    """Its lines of each account, oldest first; at first whatever our books had before the day's
    business. It tells of the day when it is over, at four in the morning."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.noon = db, now
        self.night = statement_lines.day_of(DAY)[1] + timedelta(hours=4)
        self.lines: dict[Book, list[Line]] = {"A.c2b": [], "A.b2c": [], "L.mcharges": []}
        self.pulled: list[Line] | None = None
        for each in db.rows(_Moved, f"SELECT book, cents FROM ({MOVED}) m", movements.since(now)):
            self.lines[each.book].append(Line(None, "funds", each.cents, now))

    def tell(self, book: Book, *lines: Line) -> None:
        self.lines[book] += lines

    def paid_in(self, receipt: str, cents: int, reference: str = "", **more: Any) -> Line:
        """Somebody paid, a minute after noon."""
        line = Line(receipt, "payment", cents, self.at(1), reference=reference, **more)
        self.tell("A.c2b", line)
        return line

    def paid_out(self, receipt: str, cents: int, msisdn: str | None = None, **more: Any) -> Line:
        """We paid somebody, and it cost a charge if that is named."""
        charge = more.pop("charge", 0)
        line = Line(receipt, "payout", -cents, self.at(1), msisdn=msisdn, **more)
        self.tell("A.b2c", line)
        if charge:
            self.tell("L.mcharges", Line(receipt, "charge", -charge, self.at(1)))
        return line

    def at(self, minutes: float) -> datetime:
        return self.noon + timedelta(minutes=minutes)

    def forget(self, book: Book, line: Line) -> None:
        self.lines[book].remove(line)

    def statement(self, book: Book, source: Source = "statement") -> Statement:
        """Of the whole day, with its balances."""
        if source == "pull":
            between = (self.at(-60), self.at(600))
            pulled = self.pulled or []
            return Statement("pull", SHORTCODES[book], book, None, pulled, between)
        lines = sorted(self.lines[book], key=lambda line: line.completed_at)
        balances = accumulate(line.amount_cents for line in lines if line.status == "Completed")
        told = [
            replace(line, balance_cents=next(balances)) if line.status == "Completed" else line
            for line in lines
        ]
        return Statement("statement", SHORTCODES[book], book, (DAY, DAY), told)

    def statements(self) -> list[Statement]:
        found = [self.statement(book) for book in self.lines]
        return found if self.pulled is None else [*found, self.statement("A.c2b", "pull")]

    def reconcile(self, statements: Sequence[Statement] | None = None) -> Judged:
        """As reconcile.run does, in this one transaction."""
        for statement in self.statements() if statements is None else statements:
            statement_lines.keep(self.db, statement, self.night)
        matching.match(self.db, self.night)
        self.outcomes = [
            reconcile.settle(self.db, proof, Rules(), self.night)
            for proof in reconcile.provable(self.db)
        ]
        matching.match(self.db, self.night)
        return differences.judge(self.db, DAY, self.night)

    def open(self) -> list[Difference]:
        return differences.undone(self.db)

    def shown(self) -> list[tuple[str, str, int, int]]:
        """What is open, but for balances, in the order of their numbers."""
        return [
            (each.kind, each.what, each.theirs_cents, each.ours_cents)
            for each in sorted(self.open(), key=lambda each: each.number)
            if each.kind != "balance"
        ]

    def off_balance(self) -> dict[Book, int]:
        """By how much M-Pesa has more than our books, where it differs."""
        return {each.book: each.gap_cents for each in self.open() if each.kind == "balance"}

    def notes(self) -> list[str]:
        """How those that ended did."""
        found = self.db.value(
            "SELECT array_agg(note ORDER BY number) FROM differences WHERE note IS NOT NULL"
            " AND kind <> 'balance'"
        )
        return found or []


class _Moved:
    def __init__(self, book: Book, cents: int) -> None:
        self.book, self.cents = book, cents
