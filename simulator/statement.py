"""The portal's statement of a shortcode, as a file; and the lies that the rules plant in it.

There is no API for it: the organisation's portal exports one account of one shortcode as CSV.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import accumulate

from simulator.books import CHARGE, Books, Movement, Subscriber, account
from simulator.callbacks import money
from simulator.clock import EAST_AFRICA
from simulator.rules import Difference

COLUMNS = (
    "Receipt No.", "Completion Time", "Initiation Time", "Details", "Transaction Status",
    "Paid In", "Withdrawn", "Balance", "Balance Confirmed", "Reason Type", "Other Party Info",
    "Linked Transaction ID", "A/C No.",
)  # fmt: skip
STRANGER = "+254799000000"
FOREIGN_CENTS = 100_00
_DETAILS: dict[str, tuple[str, str]] = {  # and the reason
    "push": ("Pay Bill Online from {party}", "Pay Bill Online"),
    "c2b": ("Pay Bill from {party}", "Pay Bill"),
    "b2c": ("Business Payment to Customer to {party}", "Business Payment to Customer via API"),
    CHARGE: ("Business Payment Charge", "Business Payment Charge"),
    "charges settled": ("Settlement of Charges", "Settlement of Charges"),
    "reversal": ("Reversal of {reference} to {party}", "Transaction Reversal"),
    "topup": ("Business Pay To Bulk, {party}", "Business Pay To Bulk"),
    "injected": ("Organization funds, {reference}", "Organization Funds"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """A line as it is told. truth: the movement it is told of; None: there never was one."""

    moved: Movement
    truth: Movement | None


def export(
    books: Books,
    shortcode: str,
    kind: str,
    differences: Sequence[Difference],
    now: datetime,
    day: date | None = None,
) -> str:
    """One account of the shortcode as CSV, newest line first, with its heading.

    kind: of the account. day: in Nairobi; None: all there is. Balances are the true ones.
    """
    name = account(shortcode, kind)
    movements = [each for each in books.statement() if name in (each.source, each.target)]
    steps = (each.amount_cents if each.target == name else -each.amount_cents for each in movements)
    balances = dict(zip(map(id, movements), accumulate(steps), strict=True))
    if day is not None:
        movements = [each for each in movements if _local(each.at).date() == day]
    lies = [each for each in differences if each.where == "statement"]
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["Short Code:", shortcode])
    rows.writerow(["Organization:", books.shortcodes[shortcode].business])
    rows.writerow(["Account:", f"{kind} Account"])
    rows.writerow(["Time Period:", str(day) if day else "All"])
    rows.writerow([])
    rows.writerow(COLUMNS)
    last = balances[id(movements[-1])] if movements else 0
    for said in reversed(disturbed(movements, lies, name, now)):
        balance_cents = last if said.truth is None else balances[id(said.truth)]
        rows.writerow(_row(books, said.moved, said.moved.target == name, balance_cents))
    return file.getvalue()


def disturbed(
    movements: Sequence[Movement], differences: Sequence[Difference], name: str, now: datetime
) -> list[Said]:
    """The movements of an account, oldest first, with the lies told of them.

    name: of the account, which a foreign line is paid into. A lie about a line that is not there
    changes nothing.
    """
    lines = [Said(each, each) for each in movements]
    for number, lie in enumerate(differences, start=1):
        if lie.kind == "foreign":
            receipt = lie.receipt or f"SX{number:08}"
            cents = FOREIGN_CENTS if lie.amount is None else lie.amount * 100
            at = lines[-1].moved.at if lines else now
            moved = Movement(receipt, STRANGER, name, cents, "c2b", "UNKNOWN", at)
            lines.append(Said(moved, None))
            continue
        places = [place for place, each in enumerate(lines) if _is_meant(lie, each.moved)]
        if not places:
            continue
        place = places[-1]
        line = lines[place]
        if lie.kind == "missing":
            del lines[place]
        elif lie.kind == "doubled":
            lines.insert(place, line)
        else:
            more = line.moved.amount_cents + 100
            cents = more if lie.amount is None else lie.amount * 100
            lines[place] = replace(line, moved=replace(line.moved, amount_cents=cents))
    return lines


def _is_meant(lie: Difference, moved: Movement) -> bool:
    has_receipt = moved.receipt is not None and moved.kind != CHARGE
    return has_receipt and lie.receipt in (None, moved.receipt)


def _row(books: Books, moved: Movement, is_in: bool, balance_cents: int) -> list[str]:
    at = f"{_local(moved.at):%Y-%m-%d %H:%M:%S}"
    other = moved.source if is_in else moved.target
    party = _party(books, other)
    details, reason = _DETAILS[moved.kind]
    amount = money(moved.amount_cents)
    return [
        moved.receipt or "",
        at,
        at,
        details.format(party=party, reference=moved.reference),
        "Completed",
        amount if is_in else "",
        "" if is_in else f"-{amount}",
        money(balance_cents),
        "true",
        reason,
        party,
        moved.reference if moved.kind == "reversal" else "",
        moved.reference if moved.kind in ("push", "c2b") else "",
    ]


def _party(books: Books, name: str) -> str:
    if name.startswith("+"):
        return f"{name[1:]} - {Subscriber(name).first_name}"
    number = name.partition("/")[0]
    shortcode = books.shortcodes.get(number)
    return f"{number} - {shortcode.business}" if shortcode else ""


def _local(at: datetime) -> datetime:
    return at.astimezone(EAST_AFRICA)
