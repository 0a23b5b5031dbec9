"""`python -m core.reconcile`: a day of M-Pesa against our books, as a bookkeeper reads it.

Whoever looks at what is known need not say who they are. What is read from a file, or asked for,
books what it proves: an operator signs that.

Ends with 0 where nothing is open, 1 where something differs, 2 where what it was given cannot be
used; then nothing was kept and nothing has moved.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from core import reconcile, staff, statement_files
from core.balances import Float, Seen
from core.database import Database
from core.days import EAST_AFRICA_TIME, today
from core.differences import Difference
from core.errors import Unavailable
from core.money import CENTS, show
from core.reconcile import Read, Reconciled, Report, Total
from core.rules import Rules
from core.staff import Actor
from core.staff.terminal import NOT_THERE, origin
from core.statement_files import Shortcodes, Unreadable
from core.statement_lines import Book, Statement

EQUAL, DIFFERS, UNUSABLE = 0, 1, 2
PROBLEMS_SHOWN: Final = 20

ACCOUNTS: Final[dict[Book, str]] = {
    "A.c2b": "Collection float",
    "A.b2c": "Payout float",
    "L.mcharges": "Charges owed",
}
SOURCES: Final = {"statement": "statement", "pull": "pulled transactions"}
KINDS: Final = {
    "not_with_us": "not with us",
    "not_at_mpesa": "not at M-Pesa",
    "amount": "other amount",
    "charge": "other charge",
    "status": "not completed",
    "reversed": "reversed by M-Pesa",
    "duplicate": "told twice",
    "balance": "balance",
}


class Unusable(Exception):
    """What the command was given is of no use; its text says why, line by line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; how it ends is said above."""
    from settings import from_environment  # here only: the business itself knows no settings

    settings = from_environment()
    assert settings.database_url is not None, "settings without a database were let through"
    database = Database(settings.database_url)
    try:
        return run(database, settings.rules(), arguments)
    except Unavailable:
        print("Refused: the database cannot be reached", file=sys.stderr)
        return UNUSABLE
    finally:
        database.close()


def run(database: Database, rules: Rules, arguments: Sequence[str] | None) -> int:
    now, ours = database.clock(), Shortcodes(rules.paybill, rules.payout_shortcode)
    given = _parser(now).parse_args(arguments)
    try:
        if given.date > today(now):
            raise Unusable("that day has not come yet")
        by = _by(database, given)
        statements = [_statement(path, ours, given.date) for path in given.statement]
        if given.csv is not None:
            given.csv.write_text("")  # before anything is done: can it be written at all?
    except Unusable as why:
        print(f"Refused: {why}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        print(f"Refused: {error.filename}: {error.strerror}", file=sys.stderr)
        return UNUSABLE
    done: Reconciled | None = None
    if by is None:
        reconcile.look(database, given.date)
    else:
        done = reconcile.run(database, given.date, rules, statements, by)
    with database.begin() as db:
        report, to_book = reconcile.report(db, given.date), len(reconcile.provable(db))
        if given.ask and by is not None:
            reconcile.ask(db, given.date, by, now)
    print(table(report, ours, now))
    if done is not None and (done.lines or done.settled):
        print(
            f"\n{_count(done.lines, 'line')} read, {done.new:,} new; {done.settled:,} booked now."
        )
    if to_book:
        print(
            f"\n{_count(to_book, 'line')} to be booked as proved: --by NAME does it,"
            " or resolve does what is too much for one."
        )
    if given.ask:
        print("\nM-Pesa is being asked for more; look again in a minute.")
    if given.csv is not None:
        with given.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(sheet(report, now))
    return DIFFERS if report.open else EQUAL


def table(report: Report, ours: Shortcodes, now: datetime) -> str:
    """In shillings; what M-Pesa or we took out is below zero."""
    lines = [f"M-Pesa and our books, {report.day:%A} {report.day.day} {report.day:%B %Y}", ""]
    lines += [_heard(read) for read in report.reads] or ["Nothing was read of this day yet."]
    lines += [_asked(of, seen) for of, seen in report.asked.items()]
    for book, name in ACCOUNTS.items():
        totals = [each for each in report.totals if each.book == book]
        if totals:
            shortcode = ours.collection if book == "A.c2b" else ours.payout
            lines += ["", *_columns(_totals(f"{name} {shortcode}", totals), "<>>>>>")]
    lines += ["", _open(report.open)]
    if report.open:
        rows = [
            ("case", "what", "receipt", "when", "at M-Pesa", "with us", "age", "suggestion"),
            *(_difference(each, now) for each in report.open),
        ]
        lines += _columns(rows, "><<<>>><")
    return "\n".join(lines)


def sheet(report: Report, now: datetime) -> list[Sequence[object]]:
    """The same as rows for a spreadsheet: amounts as plain shillings, times with their zone."""
    heads = (
        "row", "account", "kind", "lines at M-Pesa", "KSh at M-Pesa", "lines with us",
        "KSh with us", "KSh difference", "case", "receipt", "when", "age in days", "source",
        "suggestion",
    )  # fmt: skip
    rows: list[Sequence[object]] = [heads]
    rows += [
        (
            "total", each.book, each.kind, each.their_lines, _plain(each.theirs_cents),
            each.our_movements, _plain(each.ours_cents),
            _plain(each.theirs_cents - each.ours_cents), "", "", report.day, "", "", "",
        )
        for each in report.totals
    ]  # fmt: skip
    rows += [
        (
            "difference", each.book, each.kind, "", _plain(each.theirs_cents), "",
            _plain(each.ours_cents), _plain(each.gap_cents), each.number, each.receipt or "",
            each.at.astimezone(EAST_AFRICA_TIME).isoformat(), each.age_days(now), each.source,
            each.action,
        )
        for each in report.open
    ]  # fmt: skip
    return rows


def _by(database: Database, given: argparse.Namespace) -> Actor | None:
    """Raises Unusable: it is to be signed, and not by an operator of ours."""
    if given.by is None:
        if given.statement or given.ask:
            raise Unusable("say who you are: --by NAME, as core.staff knows you")
        return None
    with database.begin() as db:
        found = staff.find(db, given.by)
    if found is None or not found.active:
        raise Unusable(NOT_THERE)
    if not found.has("operator"):
        raise Unusable("your role does not allow that")
    return Actor(found, origin())


def _statement(path: Path, ours: Shortcodes, day: date) -> Statement:
    """Raises Unusable, OSError."""
    try:
        statement = statement_files.read(path.read_bytes(), ours)
    except Unreadable as error:
        shown = [f"  line {each.line}: {each.why}" for each in error.problems[:PROBLEMS_SHOWN]]
        more = len(error.problems) - len(shown)
        shown += [f"  and {more:,} more"] if more else []
        raise Unusable("\n".join([f"{path}, of which nothing was used:", *shown])) from None
    if statement.days is not None and not statement.days[0] <= day <= statement.days[1]:
        raise Unusable(f"{path} is of another day")
    return statement


def _heard(read: Read) -> str:
    until, at = (_moment(each) for each in (read.until, read.read_at))
    return f"{ACCOUNTS[read.book]} {read.shortcode}: {SOURCES[read.source]} to {until}, read {at}"


def _asked(of: Float, seen: Seen) -> str:
    """The newest, whatever the day."""
    name = ACCOUNTS["A.c2b" if of == "c2b" else "A.b2c"]
    there, here = show(seen.held_cents), show(seen.books_cents)
    said = {"equal": "equal", "differs": "DIFFERENT"}.get(seen.outcome, "money was under way")
    return f"{name}: asked {_moment(seen.at)}, KSh {there} at M-Pesa, {here} with us: {said}"


def _totals(name: str, totals: Sequence[Total]) -> list[Sequence[str]]:
    def row(kind: str, of: Sequence[Total]) -> Sequence[str]:
        theirs, ours = sum(t.theirs_cents for t in of), sum(t.ours_cents for t in of)
        return (
            kind,
            f"{sum(t.their_lines for t in of):,}",
            show(theirs),
            f"{sum(t.our_movements for t in of):,}",
            show(ours),
            show(theirs - ours),
        )

    heads = (name, "lines", "KSh at M-Pesa", "entries", "KSh with us", "difference")
    rows = [row(each.kind.replace("_", " "), [each]) for each in totals]
    return [heads, *rows, row("total", totals)]


def _open(differences: Sequence[Difference]) -> str:
    if not differences:
        return "Nothing differs."
    gap = show(sum(each.gap_cents for each in differences if each.kind != "balance"))
    return f"{_count(len(differences), 'difference')} open, KSh {gap} together, balances apart"


def _difference(it: Difference, now: datetime) -> Sequence[str]:
    what = (
        KINDS[it.kind] if it.kind == "balance" else f"{it.what.replace('_', ' ')} {KINDS[it.kind]}"
    )
    return (
        str(it.number),
        what,
        it.receipt or "",
        _moment(it.at),
        show(it.theirs_cents),
        show(it.ours_cents),
        f"{it.age_days(now)} d",
        it.action,
    )


def _columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Each column as wide as what is in it. sides: < or > for each of them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _moment(at: datetime) -> str:
    return at.astimezone(EAST_AFRICA_TIME).strftime("%d/%m/%Y %H:%M")


def _plain(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // CENTS}.{abs(cents) % CENTS:02}"


def _parser(now: datetime) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.reconcile", description="M-Pesa against our books, line by line."
    )
    parser.add_argument(
        "--date",
        type=_day,
        default=today(now) - timedelta(days=1),
        metavar="DAY",
        help="as 2026-11-21; yesterday if not named",
    )
    parser.add_argument(
        "--statement",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="CSV of M-Pesa's portal, of one account; may be given several times",
    )
    parser.add_argument(
        "--ask", action="store_true", help="have the worker ask M-Pesa of that day, as each night"
    )
    parser.add_argument(
        "--by", metavar="NAME", help="who you are; needed with --statement and --ask"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="where the same goes as CSV")
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a day is written as 2026-11-21") from None


if __name__ == "__main__":
    raise SystemExit(main())
