"""`python -m core.staff`: what staff type about payouts, floats and our own money."""

import re
from datetime import datetime, timedelta

import pytest

from core import audit, balances, float_moves, halts, ledger
from core.database import Db
from tests.core.office import Terminal
from tests.core.purse import LOST, RULES, Purse

LARGE = 2_000_100


class Till(Terminal):
    """The terminal beside our money; Wanjiku has KSh 50,000, the payout float a million."""

    def __init__(self, db: Db, now: datetime) -> None:
        super().__init__(db, now, RULES)
        self.purse = Purse(db, now)
        self.purse.move("fee", self.purse.seller, ledger.FEES, 100_000)


@pytest.fixture
def desk(db: Db, now: datetime) -> Till:
    return Till(db, now)


def test_a_payout_that_waits_is_read_and_let_go_by_the_name_it_is_shown_by(desk: Till) -> None:
    assert desk.ok("payouts") == "No payout is on its way."
    payout_id = desk.purse.ask(LARGE)
    (name,) = re.findall(r"^([0-9a-f]{8})  withdrawal  20,001", desk.ok("payouts"), re.MULTILINE)
    assert payout_id.hex.endswith(name)
    assert "to approve" in desk.ok("payouts")
    assert desk.purse.msisdn[1:] not in desk.ok("payouts")
    assert desk.type(f"approve-payout {name} --by olive")[0] == 1
    assert desk.ok(f"approve-payout {name} --by peter") == "approved; it is sent"
    assert "waits for a second person" in desk.type(f"approve-payout {name} --by peter")[1]
    assert "approved" in desk.ok("payouts")
    assert "payout_approved" in desk.ok("audit")


def test_a_payout_is_stopped_with_a_reason(desk: Till) -> None:
    name = desk.purse.ask(LARGE).hex[-12:]
    said = desk.ok(f"reject-payout {name} --reason 'She never asked.' --by peter")
    assert "back in the wallet" in said
    assert desk.ok("payouts") == "No payout is on its way."


def test_what_was_halted_goes_on(desk: Till) -> None:
    halts.halt(desk.purse.db, "initiator", "2001", desk.purse.now)
    assert "Halted: initiator" in desk.ok("floats")
    assert desk.ok("resume-payouts --why initiator --by olive") == "resumed; what waited goes on"
    assert "Halted" not in desk.ok("floats")


def test_the_floats_are_shown_beside_what_mpesa_says(desk: Till) -> None:
    said = desk.ok("floats")
    assert re.search(r"collection +50,000 +50,000 +not asked yet", said)
    db, now = desk.purse.db, desk.purse.now
    asked = balances.ask(db, "b2c", RULES, now + timedelta(seconds=1))
    assert asked is not None
    balances.hear(db, asked.id, {"Utility Account": 99_990_000}, now + timedelta(seconds=2))
    said = desk.ok("floats")
    assert re.search(r"payout +1,000,000 +1,000,000 +999,900 +differs", said)
    assert re.search(r"^capital +1,000,000$", said, re.MULTILINE)
    assert re.search(r"^beyond all we owe +1,001,000$", said, re.MULTILINE)
    desk.purse.move("lost", ledger.LOSS, ledger.B2C, 200_000_000)
    assert "MONEY OF OTHER PEOPLE IS MISSING" in desk.ok("floats")


def test_mpesa_is_asked_on_demand(desk: Till) -> None:
    assert "M-Pesa is asked" in desk.ok("ask-balances --by olive")
    assert desk.purse.due("ask_balance") == desk.purse.now


def test_money_is_moved_to_the_payout_float_and_ended_by_the_statement(desk: Till) -> None:
    db, now = desk.purse.db, desk.purse.now
    assert desk.type("end-float-move --by olive")[0] == 1
    said = desk.ok("move-float 1,000 --by olive")
    assert said.endswith("of KSh 1,000 is on its way")
    assert "on its way already" in desk.type("move-float 1000 --by olive")[1]
    move = float_moves.open_one(db)
    assert move is not None
    float_moves.claim(db, move.id, RULES, now)
    float_moves.record_ack(db, move.id, LOST, now)
    line = f"Move {move.number} of KSh 1,000 to the payout float: unknown"
    assert line in desk.ok("floats")
    said = desk.ok("end-float-move --receipt SG632NMUAB --by olive")
    assert said == "it has arrived; what waited for it goes on"
    assert ledger.balance(db, ledger.TRANSIT) == 0
    acts = [act.what for act in audit.of(db, f"float move {move.number}")]
    assert acts == ["float_move_requested", "float_move_ended"]


def lost_move(desk: Till) -> None:
    """KSh 1,000 on its way, and nobody knows whether M-Pesa heard of it."""
    desk.ok("move-float 1000 --by olive")
    move = float_moves.open_one(desk.purse.db)
    assert move is not None
    float_moves.claim(desk.purse.db, move.id, RULES, desk.purse.now)
    float_moves.record_ack(desk.purse.db, move.id, LOST, desk.purse.now)


def test_one_that_never_left_is_ended_without_a_receipt(desk: Till) -> None:
    db = desk.purse.db
    lost_move(desk)
    before = ledger.balance(db, ledger.C2B)
    assert "collection float again" in desk.ok("end-float-move --by olive")
    assert ledger.balance(db, ledger.C2B) == before + 100_000


@pytest.mark.parametrize("of", ["move", "payout"])
def test_a_move_is_ended_by_no_receipt_that_stands_for_other_money(desk: Till, of: str) -> None:
    if of == "payout":
        payout_id = desk.purse.accepted()
        assert desk.purse.settle(payout_id, desk.purse.paid(payout_id)) == "paid"
    else:
        lost_move(desk)
        desk.ok("end-float-move --receipt SG632NMUAB --by olive")
    lost_move(desk)
    before = ledger.balance(desk.purse.db, ledger.B2C)
    code, said = desk.type("end-float-move --receipt SG632NMUAB --by olive")
    assert (code, "other money" in said) == (1, True)
    assert ledger.balance(desk.purse.db, ledger.B2C) == before
    move = float_moves.open_one(desk.purse.db)
    assert move is not None
    assert move.state == "unknown"


@pytest.mark.parametrize(
    ("line", "account", "cents"),
    [
        ("capital 5000 --reference BANK-1 --by olive", ledger.CAPITAL, 100_500_000),
        ("withdraw-fees 1000 --reference BANK-2 --by olive", ledger.BANK, 100_000),
    ],
)
def test_our_own_money_moves_when_a_second_person_books_it(
    desk: Till, line: str, account: ledger.Account, cents: int
) -> None:
    assert desk.ok("bookings") == "Nothing waits to be booked."
    number = booking_of(desk.ok(line))
    assert re.search(f"^{number} .*olive", desk.ok("bookings"), re.MULTILINE)
    assert desk.type(f"book {number} --by olive")[0] == 1
    assert desk.ok(f"book {number} --by peter") == "booked"
    assert ledger.balance(desk.purse.db, account) == cents
    assert desk.type(f"book {number} --by peter")[0] == 1


def test_a_booking_is_taken_back(desk: Till) -> None:
    number = booking_of(desk.ok("capital 5000 --reference BANK-1 --by olive"))
    assert desk.ok(f"decline-booking {number} --by olive") == "declined; nothing was booked"
    assert desk.ok("bookings") == "Nothing waits to be booked."


def booking_of(said: str) -> str:
    found = re.fullmatch(r"booking (\d+) is kept; a second person must book it .*", said)
    assert found, said
    return found[1]


REFUSED = {
    "approve-payout 1f0c33a9 --by peter": "waits for a second person",
    "move-float 1 --by olive": "too little",
    "move-float 100000 --by olive": "does not hold so much",
    "move-float 1000 --by peter": "your role",
    "ask-balances --by peter": "your role",
    "resume-payouts --by peter": "your role",
    "end-float-move --by olive": "no move between the floats is unknown",
    "withdraw-fees 1001 --reference BANK-1 --by olive": "so much of our fees is not there",
    "settle-charges 1 --reference BANK-1 --by olive": "do not owe M-Pesa so much",
    "capital 0 --reference BANK-1 --by olive": "too little",
    "capital 5 --reference x --by olive": "what does the bank or M-Pesa call it",
    "capital 5 --reference BANK-1 --by peter": "your role",
    "book 70000 --by peter": "waits for a second person",
    "decline-booking 70000 --by peter": "waits for a second person",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_is_refused_in_one_line_and_moves_nothing(desk: Till, line: str) -> None:
    books = ledger.trial_balance(desk.purse.db)
    code, said = desk.type(line)
    assert (code, said.count("\n")) == (1, 0)
    assert said.startswith("Refused: ")
    assert REFUSED[line] in said
    assert ledger.trial_balance(desk.purse.db) == books


@pytest.mark.parametrize(
    "line",
    [
        "approve-payout 12 --by peter",
        "approve-payout zzzzzzzz --by peter",
        "move-float 9.99 --by olive",
        "move-float NaN --by olive",
        "move-float 1e309 --by olive",
        "move-float -5 --by olive",
        "capital 5 --float c3b --reference BANK-1 --by olive",
        "capital 5 --by olive",
        "end-float-move --receipt nonsense --by olive",
        "book x --by peter",
        "resume-payouts --why luck --by olive",
    ],
)
def test_a_wrong_command_ends_with_2(desk: Till, line: str) -> None:
    with pytest.raises(SystemExit) as ended:
        desk.type(line)
    assert ended.value.code == 2
