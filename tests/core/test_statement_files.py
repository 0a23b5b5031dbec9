"""Files of M-Pesa's portal: read whole, or refused with the numbers of the lines that are wrong."""

from datetime import UTC, date, datetime

import pytest

from core.statement_files import BYTES_MAX, Shortcodes, Unreadable, read
from core.statement_lines import Line, Statement

OURS = Shortcodes("174379", "600997")
HEADING = (
    "Short Code:,174379\r\n"
    "Organization:,SOKONI\r\n"
    "Account:,Utility Account\r\n"
    "Time Period:,2026-11-21\r\n"
    "\r\n"
)
COLUMNS = (
    "Receipt No.,Completion Time,Initiation Time,Details,Transaction Status,Paid In,Withdrawn,"
    "Balance,Balance Confirmed,Reason Type,Other Party Info,Linked Transaction ID,A/C No.\r\n"
)
PAID = (
    "SRCPT00001,2026-11-21 12:00:05,2026-11-21 12:00:01,Pay Bill Online from 254711000001 - AMINA,"
    'Completed,681.00,,"10,681.00",true,Pay Bill Online,254711000001 - AMINA,,ORD7K2QX\r\n'
)
SENT = (
    "SRCPT00002,2026-11-21 12:05:00,2026-11-21 12:05:00,Reversal,Completed,,-681.00,10000.00,true,"
    "Transaction Reversal,254711000001 - AMINA,SRCPT00001,\r\n"
)
FILE = HEADING + COLUMNS + SENT + PAID


def at(minute: int, second: int) -> datetime:
    return datetime(2026, 11, 21, 9, minute, second, tzinfo=UTC)


LINES = [
    Line(
        "SRCPT00001",
        "payment",
        68_100,
        at(0, 5),
        balance_cents=1_068_100,
        reason="Pay Bill Online",
        reference="ORD7K2QX",
        msisdn="+254711000001",
        initiated_at=at(0, 1),
    ),
    Line(
        "SRCPT00002",
        "reversal",
        -68_100,
        at(5, 0),
        balance_cents=1_000_000,
        reason="Transaction Reversal",
        linked_receipt="SRCPT00001",
        msisdn="+254711000001",
        initiated_at=at(5, 0),
    ),
]


def problems(file: str | bytes) -> list[tuple[int, str]]:
    raw = file if isinstance(file, bytes) else file.encode()
    with pytest.raises(Unreadable) as caught:
        read(raw, OURS)
    return [(each.line, each.why) for each in caught.value.problems]


def test_a_statement_is_read_oldest_line_first() -> None:
    days = (date(2026, 11, 21), date(2026, 11, 21))
    assert read(FILE.encode(), OURS) == Statement("statement", "174379", "A.c2b", days, LINES)


def test_of_one_second_the_newest_is_first_too() -> None:
    at_once = SENT.replace("12:05:00", "12:00:05")
    found = read((HEADING + COLUMNS + at_once + PAID).encode(), OURS).lines
    assert [line.kind for line in found] == ["payment", "reversal"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_spreadsheets_put_before_a_file_is_no_harm(encoding: str) -> None:
    assert read(FILE.encode(encoding), OURS).lines == LINES


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\r\n", "\n"),
        ("-681.00", "681.00"),
        ("681.00", "681"),
        ("10,681.00", "10681.00"),
        ("2026-11-21 12:00:05", "21-11-2026 12:00:05"),
        ("Time Period:,2026-11-21", "Time Period:,From 2026-11-21 to 21-11-2026"),
        (PAID, PAID + "\r\n,,,,,,,,,,,,\r\n"),
        (SENT + PAID, PAID + SENT),
    ],
    ids=str,
)
def test_other_exports_of_the_same_say_the_same(old: str, new: str) -> None:
    assert read(FILE.replace(old, new).encode(), OURS).lines == LINES


@pytest.mark.parametrize(
    ("account", "shortcode", "book"),
    [
        ("Utility", "174379", "A.c2b"),
        ("Utility", "600997", "A.b2c"),
        ("Charges", "600997", "L.mcharges"),
    ],
)
def test_each_account_of_ours_has_its_book(account: str, shortcode: str, book: str) -> None:
    file = HEADING.replace("174379", shortcode).replace("Utility", account) + COLUMNS
    statement = read(file.encode(), OURS)
    assert (statement.book, statement.lines) == (book, [])


@pytest.mark.parametrize(
    ("reason", "moved", "kind"),
    [
        ("Pay Bill", "5.00,", "payment"),
        ("Customer Merchant Payment", "5.00,", "payment"),
        ("Business Payment to Customer via API", ",-5.00", "payout"),
        ("Business Payment to Customer Charge", ",-0.55", "charge"),
        ("Settlement of Charges", ",-0.55", "charges_settled"),
        ("Business Pay To Bulk", "5.00,", "float_move"),
        ("Organization Funds", ",-5.25", "funds"),
        ("Something new", "5.25,", "other"),
    ],
)
def test_the_reason_says_what_moved(reason: str, moved: str, kind: str) -> None:
    line = PAID.replace("Pay Bill Online,254", f"{reason},254").replace("681.00,,", f"{moved},")
    assert [each.kind for each in read((HEADING + COLUMNS + line).encode(), OURS).lines] == [kind]


AMOUNTS = ["0", "0.00", "9.99", "1e309", "NaN", "inf", "-681.00", "681.000", "6 81", "1,23.00", "x"]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_an_amount_that_is_none_is_named_by_its_line(amount: str) -> None:
    found = problems(FILE.replace("Completed,681.00,", f'Completed,"{amount}",'))
    assert [line for line, _ in found] == [8]


WRONG = {
    "no receipt": (PAID.replace("SRCPT00001", ""), "'Receipt No.' is no receipt"),
    "a strange receipt": (PAID.replace("SRCPT00001", "=cmd()"), "'Receipt No.' is no receipt"),
    "no time": (PAID.replace("2026-11-21 12:00:05", "noon"), "'Completion Time' is no time"),
    "no such time": (PAID.replace("12:00:05", "25:00:05"), "'Completion Time' is no time"),
    "a time of no clock": (PAID.replace("2026-11", "0001-11"), "'Completion Time' is no time"),
    "another day": (PAID.replace("2026-11-21 12:00:05", "2026-11-20 12:00:05"), "another day"),
    "a cell less": (PAID.replace(",ORD7K2QX", ""), "12 cells, of 13"),
    "a cell more": (PAID.replace("ORD7K2QX", "ORD7K2QX,x"), "14 cells, of 13"),
    "both amounts": (PAID.replace("681.00,,", "681.00,-681.00,"), "one of the two"),
    "neither amount": (PAID.replace("681.00,,", ",,"), "one of the two"),
    "paid in by a payout": (PAID.replace("Pay Bill Online,2", "Salary Payment,2"), "the reverse"),
    "a strange balance": (PAID.replace('"10,681.00"', "much"), "'Balance' is no amount"),
    "a strange status": (PAID.replace("Completed", "Done!"), "'Transaction Status' is no status"),
}


@pytest.mark.parametrize("what", WRONG)
def test_one_wrong_line_refuses_the_file_and_says_which(what: str) -> None:
    line, why = WRONG[what]
    ((number, said),) = problems(HEADING + COLUMNS + SENT + line)
    assert (number, why in said) == (8, True), said


def test_every_wrong_line_is_named_at_once() -> None:
    bad = PAID.replace("681.00,,", "nothing,,")
    assert [line for line, _ in problems(HEADING + COLUMNS + bad + SENT + bad)] == [7, 9]


def test_no_name_and_no_number_is_repeated() -> None:
    bad = PAID.replace("681.00,,", "254711000001 - AMINA,,")
    ((_, said),) = problems(HEADING + COLUMNS + bad)
    assert "AMINA" not in said
    assert "254" not in said


@pytest.mark.parametrize(
    ("file", "line", "why"),
    [
        ("", 1, "no column is called"),
        ("<html>Log in</html>", 1, "no column is called"),
        (FILE.replace("174379", "600000"), 1, "of another shortcode; ours: 174379, 600997"),
        (FILE.replace("Utility", "Working"), 3, "of an account that no money of ours is on"),
        (FILE.replace("Utility", "Charges"), 3, "of an account that no money of ours is on"),
        (FILE.replace(",2026-11-21\r", ",soon\r"), 4, "no day"),
        (FILE.replace(",2026-11-21\r", ",2026-11-31\r"), 4, "no day"),
        (FILE.replace(",2026-11-21\r", ",9999-12-31\r"), 4, "no day"),
        (FILE.replace(",2026-11-21\r", ",2026-11-22 2026-11-21\r"), 4, "no day"),
        (FILE.replace("Account:,", "Konto:,"), 1, "does not say its 'account'"),
        (FILE.replace("Paid In", "In"), 6, "without the column 'Paid In'"),
        (FILE.replace("Reason Type", "Why"), 6, "without the column 'Reason Type'"),
        (FILE + '"', 9, "a quote is open"),
        (b"x" * (BYTES_MAX + 1), 1, "larger than 64 MB"),
        (FILE.encode() + b"\xff\xfe", 9, "not in UTF-8"),
        (FILE.replace("AMINA", "AMÎNA").encode("latin-1"), 7, "not in UTF-8"),
        (FILE.encode("utf-16")[:-1], 8, "not in UTF-8"),
        (FILE.replace("ORD7K2QX", "ORD\0"), 8, "not text"),
    ],
    ids=range(18),
)
def test_what_is_no_statement_of_ours_is_refused(file: str | bytes, line: int, why: str) -> None:
    number, said = problems(file)[0]
    assert (number, why in said) == (line, True), said
