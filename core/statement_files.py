"""Statement files: what M-Pesa's portal exports of one account, read whole or not at all.

A file with one wrong line is refused with the numbers of all its wrong lines: half a statement
would show differences that are none, and whoever exports it anew has it right within a minute.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from core.days import EAST_AFRICA_TIME, YEARS
from core.money import CENTS
from core.statement_lines import Book, Kind, Line, Statement

BYTES_MAX: Final = 64 * 1024 * 1024
NEEDED: Final = (
    "Receipt No.",
    "Completion Time",
    "Transaction Status",
    "Paid In",
    "Withdrawn",
    "Balance",
    "Reason Type",
)
# Found in the reason, the first that fits; in this order, for a charge names what it is for.
_KINDS: Final[tuple[tuple[str, Kind], ...]] = (
    ("settlement of charges", "charges_settled"),
    ("charge", "charge"),
    ("reversal", "reversal"),
    ("pay to bulk", "float_move"),
    ("organization funds", "funds"),
    ("payment to customer", "payout"),
    ("salary payment", "payout"),
    ("promotion payment", "payout"),
    ("pay bill", "payment"),
    ("paybill", "payment"),
    ("buy goods", "payment"),
    ("merchant payment", "payment"),
)
_IN_SHILLINGS: Final = frozenset({"payment", "payout", "reversal", "float_move"})
_SIGNS: Final[Mapping[Kind, int]] = {"payment": 1, "payout": -1, "charge": -1}
_WITH_RECEIPT: Final = _IN_SHILLINGS | {"charge"}
_RECEIPT: Final = re.compile("[A-Z0-9]{6,20}")
_AMOUNT: Final = re.compile(r"(-?)([0-9]{1,12}|[0-9]{1,3}(?:,[0-9]{3}){1,3})(?:\.([0-9]{1,2}))?")
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})|([0-9]{2})-([0-9]{2})-([0-9]{4})")


@dataclass(frozen=True)
class Shortcodes:
    """Ours: where payers pay to, and from where we pay out."""

    collection: str
    payout: str

    def book(self, shortcode: str, account: str) -> Book | None:
        """The account of the ledger that mirrors that one at M-Pesa; None: it is none of ours."""
        books: Mapping[tuple[str, str], Book] = {
            (self.payout, "Charges"): "L.mcharges",
            (self.payout, "Utility"): "A.b2c",
            (self.collection, "Utility"): "A.c2b",
        }
        return books.get((shortcode, account))


@dataclass(frozen=True)
class Problem:
    """line: of the file, from 1. why: for a person; nothing of what stands there, it may be a name
    or a number."""

    line: int
    why: str


class Unreadable(Exception):
    """The file cannot be used, and nothing of it was. problems: every one, in their order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"a statement with {len(problems)} wrong lines")
        self.problems = problems


def read(file: bytes, ours: Shortcodes) -> Statement:
    """The statement in a CSV file as the portal gives it. Raises Unreadable."""
    if len(file) > BYTES_MAX:
        raise Unreadable([Problem(1, f"the file is larger than {BYTES_MAX // 2**20} MB")])
    rows = _rows(_text(file))
    heads = next((place for place, (_, row) in enumerate(rows) if NEEDED[0] in row), None)
    if heads is None:
        raise Unreadable([Problem(1, f"no column is called {NEEDED[0]!r}: is it a statement?")])
    number, columns = rows[heads]
    if missing := [name for name in NEEDED if name not in columns]:
        raise Unreadable([Problem(number, f"without the column {name!r}") for name in missing])
    shortcode, book, days = _heading(rows[:heads], ours)
    lines, problems = [], []
    for number, row in rows[heads + 1 :]:
        if len(row) != len(columns):
            problems.append(Problem(number, f"{len(row)} cells, of {len(columns)}"))
            continue
        try:
            lines.append(_line(_Row(dict(zip(columns, row, strict=True))), days))
        except _Wrong as wrong:
            problems.append(Problem(number, str(wrong)))
    if problems:
        raise Unreadable(problems)
    if lines and lines[0].completed_at >= lines[-1].completed_at:
        lines.reverse()  # the portal puts the newest first, also of one second
    return Statement("statement", shortcode, book, days, lines)


class _Wrong(Exception):
    """What is wrong with a line, in words."""


@dataclass(frozen=True)
class _Row:
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def _text(file: bytes) -> str:
    """In UTF-8, with a mark of it or without, or what spreadsheets call Unicode."""
    encoding = "utf-16" if file.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = file.decode(encoding)
    except UnicodeDecodeError as error:
        line = file.count(b"\n", 0, error.start) + 1
        raise Unreadable([Problem(line, "not in UTF-8: export it as CSV UTF-8")]) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise Unreadable([Problem(line, "not text: export it as CSV UTF-8")])
    return text


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Every row that is not blank, with the number of its line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error:
        raise Unreadable([Problem(reader.line_num, "not CSV: a quote is open, or stray")]) from None
    return rows


def _heading(
    rows: Sequence[tuple[int, Sequence[str]]], ours: Shortcodes
) -> tuple[str, Book, tuple[date, date] | None]:
    """Whose account it is of, and which days."""
    said = {row[0].rstrip(": ").lower(): (number, " ".join(row[1:])) for number, row in rows}
    problems = [
        Problem(1, f"the heading does not say its {name!r}")
        for name in ("short code", "account", "time period")
        if name not in said
    ]
    if problems:
        raise Unreadable(problems)
    line, shortcode = said["short code"]
    if shortcode not in (ours.collection, ours.payout):
        raise Unreadable(
            [Problem(line, f"of another shortcode; ours: {ours.collection}, {ours.payout}")]
        )
    line, account = said["account"]
    book = ours.book(shortcode, account.removesuffix(" Account"))
    if book is None:
        raise Unreadable([Problem(line, "of an account that no money of ours is on")])
    line, period = said["time period"]
    if period == "All":
        return shortcode, book, None
    try:
        days = [_date(found) for found in _DATE.finditer(period)]
    except ValueError:
        days = []
    if len(days) not in (1, 2) or days[0] > days[-1]:
        raise Unreadable([Problem(line, "the time period is no day, and not from one to another")])
    return shortcode, book, (days[0], days[-1])


def _date(found: re.Match[str]) -> date:
    year, month, day, *others = found.groups()
    if year is None:
        day, month, year = others
    if int(year) not in YEARS:
        raise ValueError
    return date(int(year), int(month), int(day))


def _line(row: _Row, days: tuple[date, date] | None) -> Line:
    reason = row["Reason Type"]
    kind: Kind = next((kind for words, kind in _KINDS if words in reason.lower()), "other")
    amount_cents = _moved(row)
    if kind in _IN_SHILLINGS and amount_cents % CENTS:
        raise _Wrong("the amount is not in whole shillings")
    if amount_cents * _SIGNS.get(kind, amount_cents) < 0:
        raise _Wrong("it is paid in where it should be withdrawn, or the reverse")
    receipt = row["Receipt No."]
    if not _RECEIPT.fullmatch(receipt) and (receipt or kind in _WITH_RECEIPT):
        raise _Wrong("'Receipt No.' is no receipt")
    completed_at = _time(row, "Completion Time")
    if days is not None and not days[0] <= completed_at.date() <= days[1]:
        raise _Wrong("of another day than the heading says")
    status = row["Transaction Status"]
    if not re.fullmatch("[A-Za-z ]{1,32}", status):
        raise _Wrong("'Transaction Status' is no status")
    linked = row["Linked Transaction ID"]
    return Line(
        receipt=receipt or None,
        kind=kind,
        amount_cents=amount_cents,
        completed_at=completed_at,
        status=status,
        balance_cents=_amount(row, "Balance") if row["Balance"] else None,
        reason=reason[:64],
        reference=row["A/C No."][:64],
        linked_receipt=linked if _RECEIPT.fullmatch(linked) else None,
        msisdn=_msisdn(row["Other Party Info"]),
        initiated_at=_time(row, "Initiation Time") if row["Initiation Time"] else None,
    )


def _moved(row: _Row) -> int:
    """What the line moved, in cents: in above zero, out below."""
    paid_in, withdrawn = row["Paid In"], row["Withdrawn"]
    if bool(paid_in) == bool(withdrawn):
        raise _Wrong("'Paid In' or 'Withdrawn', one of the two has the amount")
    if paid_in:
        cents = _amount(row, "Paid In")
        if cents < 0:
            raise _Wrong("'Paid In' is below zero")
    else:
        cents = -abs(_amount(row, "Withdrawn"))  # with a minus before it here, without there
    if not cents:
        raise _Wrong("the amount is 0")
    return cents


def _amount(row: _Row, column: str) -> int:
    """In cents."""
    found = _AMOUNT.fullmatch(row[column])
    if found is None:
        raise _Wrong(f"{column!r} is no amount, as 1,234.00")
    sign, shillings, cents = found.groups()
    amount = int(shillings.replace(",", "")) * CENTS + int((cents or "").ljust(2, "0"))
    return -amount if sign else amount


def _time(row: _Row, column: str) -> datetime:
    text = row[column]
    if re.fullmatch("[0-9]{2}-[0-9]{2}-[0-9]{4} .*", text):  # other exports put the day first
        text = f"{text[6:10]}-{text[3:5]}-{text[:2]}{text[10:]}"
    try:
        if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", text):
            raise ValueError
        found = datetime.fromisoformat(text).replace(tzinfo=EAST_AFRICA_TIME)  # beats strptime
        if found.year not in YEARS:
            raise ValueError
        return found
    except ValueError:
        raise _Wrong(f"{column!r} is no time, as 2026-11-21 14:05:00") from None


def _msisdn(party: str) -> str | None:
    """The number in "254708374149 - JOHN DOE"; None: no person's, or masked."""
    found = re.match(r"(254[17][0-9]{8})\b", party)
    return f"+{found[1]}" if found else None
