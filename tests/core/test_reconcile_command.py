"""`python -m core.reconcile`: what a bookkeeper types, reads, and how it ends."""

import csv
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core import audit, settlements, staff
from core.database import Database
from core.reconcile import __main__ as command
from core.rules import Rules
from tests.core.market import open_market, paid, purchase, pushed
from tests.core.office import at_work, hire
from tests.core.purse import Purse
from tests.core.test_statement_files import COLUMNS, HEADING, PAID, SENT

ROOT = Path(__file__).parents[2]
NIGHT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
TABLE = """\
M-Pesa and our books, Saturday 21 November 2026

Collection float 174379: statement to 22/11/2026 00:00, read 22/11/2026 04:00

Collection float 174379  lines  KSh at M-Pesa  entries  KSh with us  difference
funds                        1         50,000        1       50,000           0
payment                      2            781        1          681         100
total                        3         50,781        2       50,681         100

2 differences open, KSh 100 together, balances apart
case  what                 receipt     when              at M-Pesa  with us  age  suggestion
5001  payment not with us  SRCPT00009  21/11/2026 12:30        100        0  0 d  book it to \
suspense, and find who paid
5002  balance                          21/11/2026 12:30     50,781   50,681  0 d  look for the \
line that is missing, here or there

3 lines read, 3 new; 0 booked now.
"""
FUNDS = ",2026-11-21 12:00:00,,Funds,Completed,50000.00,,50000.00,true,Organization Funds,,,\r\n"
FOREIGN = (
    "SRCPT00009,2026-11-21 12:30:00,,Pay Bill,Completed,100.00,,50781.00,true,Pay Bill,,,MAMA\r\n"
)


class Office:
    """Where a buyer has paid KSh 681, and KSh 50,000 were there before."""

    def __init__(self, database: Database, folder: Path, say: Any) -> None:
        self.database, self.folder, self._say = database, folder, say

    def file(self, *lines: str, heading: str = HEADING, name: str = "utility.csv") -> Path:
        path = self.folder / name
        path.write_text(heading + COLUMNS + "".join(lines))
        return path

    def run(self, *arguments: object, by: str | None = "olive") -> tuple[int, str, str]:
        given = ["--date", "2026-11-21", *map(str, arguments), *(["--by", by] if by else [])]
        code = command.run(self.database, Rules(), given)
        said = self._say.readouterr()
        return code, said.out, said.err

    def kept(self) -> int:
        with self.database.begin() as db:
            found: int = db.value(
                "SELECT (SELECT count(*) FROM statement_lines)"
                " + (SELECT count(*) FROM statement_readings) + (SELECT count(*) FROM differences)"
            )
        return found


@pytest.fixture(scope="module")
def sold(new_database: Callable[[], Any]) -> Iterator[str]:
    """A database with a sale in it; whoever changes it puts it back."""
    now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=random.Random(1))
        with database.begin() as db:
            bought = pushed(db, purchase(db, open_market(db, now), now), now)
            settlements.settle(db, bought.charge_id, paid(bought, "SRCPT00001"), now)
            Purse(db, now, float_cents=0)
            hire(db, "olive")
            hire(db, "peter", ["approver"])
            hire(db, "gone")
            assert staff.retire(db, "gone", at_work(db, "chief"), now) == "retired"
        database.close()
        yield url


@pytest.fixture
def office(sold: str, tmp_path: Path, capsys: Any) -> Iterator[Office]:
    database = Database(sold, clock=lambda: NIGHT)
    with database.begin() as db:
        db.run("DELETE FROM incidents")
        db.run("DELETE FROM differences")
        db.run("DELETE FROM statement_lines")
        db.run("DELETE FROM statement_readings")
        db.run("ALTER SEQUENCE case_numbers RESTART")
    yield Office(database, tmp_path, capsys)
    database.close()


BOUGHT = PAID.replace('"10,681.00"', "50681.00")


def test_a_day_that_differs_is_a_table_and_ends_with_1(office: Office) -> None:
    code, said, error = office.run("--statement", office.file(FOREIGN, BOUGHT, FUNDS))
    assert said == TABLE
    assert (code, error) == (1, "")


def test_a_day_that_does_not_differ_ends_with_0(office: Office) -> None:
    code, said, _ = office.run("--statement", office.file(BOUGHT, FUNDS))
    assert (code, "Nothing differs." in said) == (0, True)
    code, said, _ = office.run(by=None)
    assert (code, "Nothing differs." in said) == (0, True)


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (None, "say who you are: --by NAME, as core.staff knows you"),
        ("nobody", "nobody of that name acts here"),
        ("gone", "nobody of that name acts here"),
        ("peter", "your role does not allow that"),
    ],
)
def test_what_books_is_signed_by_an_operator(office: Office, by: str | None, why: str) -> None:
    for given in (("--statement", office.file(FOREIGN)), ("--ask",)):
        assert office.run(*given, by=by) == (2, "", f"Refused: {why}\n")
    assert office.kept() == 0
    with office.database.begin() as db:
        assert not db.value("SELECT EXISTS (SELECT FROM outbox WHERE kind = 'reconcile_day')")


def test_who_brought_a_statement_is_in_the_audit_log(office: Office) -> None:
    office.run("--statement", office.file(FUNDS, heading=HEADING.replace("2026-11-21", "All")))
    with office.database.begin() as db:
        acts = audit.of(db, "day 2026-11-21")
    known = {"account": "A.c2b", "lines": 1, "new": 1}
    assert ("olive", "statement_read", known) in [(act.who, act.what, act.after) for act in acts]


def test_a_day_of_which_nothing_was_read_says_so(office: Office) -> None:
    code, said, _ = office.run(by=None)
    assert (code, "Nothing was read of this day yet." in said) == (0, True)


def test_the_same_file_twice_is_the_same_table(office: Office) -> None:
    path = office.file(FOREIGN, BOUGHT, FUNDS)
    first, kept = office.run("--statement", path), office.kept()
    second = office.run("--statement", path, "--statement", path)
    assert second[1] == first[1].replace("3 lines read, 3 new", "6 lines read, 0 new")
    assert office.kept() == kept + 2  # that it was read, twice more


def test_the_table_goes_to_a_spreadsheet_too(office: Office) -> None:
    path = office.folder / "out.csv"
    office.run("--statement", office.file(FOREIGN, BOUGHT, FUNDS), "--csv", path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["kind"], row["KSh difference"]) for row in rows] == [
        ("total", "funds", "0.00"),
        ("total", "payment", "100.00"),
        ("difference", "not_with_us", "100.00"),
        ("difference", "balance", "100.00"),
    ]
    assert rows[2]["case"] == "5001"
    assert rows[2]["receipt"] == "SRCPT00009"
    assert rows[2]["when"] == "2026-11-21T12:30:00+03:00"
    assert rows[2]["suggestion"] == "book it to suspense, and find who paid"


def test_a_wrong_line_names_itself_and_nothing_is_used(office: Office) -> None:
    good = office.file(BOUGHT, FUNDS)
    bad = office.file(FOREIGN, PAID.replace("681.00", "1e309"), SENT.replace("-681.00", "0"),
                      name="bad.csv")  # fmt: skip
    code, said, error = office.run("--statement", good, "--statement", bad)
    assert (code, said, office.kept()) == (2, "", 0)
    assert error == (
        f"Refused: {bad}, of which nothing was used:\n"
        "  line 8: 'Paid In' is no amount, as 1,234.00\n"
        "  line 9: the amount is 0\n"
    )


def test_of_many_wrong_lines_the_first_are_named(office: Office) -> None:
    bad = office.file(*[PAID.replace("681.00", "NaN")] * 30)
    code, _, error = office.run("--statement", bad)
    assert (code, len(error.splitlines())) == (2, 22)
    assert error.endswith("  and 10 more\n")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("174379", "600000"), "line 1: of another shortcode; ours: 174379, 600997"),
        (("Period:,2026-11-21", "Period:,2026-11-20"), "is of another day"),
    ],
)
def test_a_file_of_something_else_is_refused(
    office: Office, change: tuple[str, str], why: str
) -> None:
    path = office.file(heading=HEADING.replace(*change))
    code, said, error = office.run("--statement", path)
    assert (code, said, office.kept()) == (2, "", 0)
    assert why in error


def test_what_cannot_be_read_or_written_is_refused(office: Office) -> None:
    away = office.folder / "away" / "file.csv"
    code, said, error = office.run("--statement", away)
    assert (code, said, error) == (2, "", f"Refused: {away}: No such file or directory\n")
    code, said, error = office.run("--statement", office.file(FUNDS), "--csv", away)
    assert (code, said, error) == (2, "", f"Refused: {away}: No such file or directory\n")
    assert office.kept() == 0


@pytest.mark.parametrize("day", ["2026-11-23", "2026-02-30", "21/11/2026", "tomorrow", ""])
def test_a_day_that_is_none_or_has_not_come_ends_with_2(
    office: Office, day: str, capsys: Any
) -> None:
    try:
        code = command.run(office.database, Rules(), ["--date", day])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert (code, capsys.readouterr().out) == (2, "")


def test_a_whole_history_is_read_at_once(office: Office) -> None:
    path = office.file(FOREIGN, BOUGHT, FUNDS, heading=HEADING.replace("2026-11-21", "All"))
    code, said, _ = office.run("--statement", path)
    assert (code, "not with us" in said) == (1, True)


def test_the_command_itself_works_on_a_real_database(office: Office, sold: str) -> None:
    url = office.database.engine.url.set(drivername="postgresql")
    environment = {
        **os.environ,
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "SOKONI_ENV": "test",
    }

    def run(*arguments: object) -> tuple[int, str, str]:
        line = [
            sys.executable,
            "-m",
            "core.reconcile",
            "--date",
            "2020-01-01",
            *map(str, arguments),
        ]
        done = subprocess.run(
            line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    code, said, error = run()
    assert (code, error) == (0, "")
    assert "Nothing differs." in said
    assert run("--statement", office.file(BOUGHT), "--by", "olive")[0] == 2
