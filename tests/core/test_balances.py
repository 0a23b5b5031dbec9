"""Balances: what M-Pesa says of our floats, kept, and held against the books when it is quiet."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from core import balances, float_moves, halts, incidents, initiator, ledger, solvency
from core.balances import Float
from core.database import Db
from tests.core.market import open_market, purchase
from tests.core.purse import EARNED_CENTS, FLOAT_CENTS, LOST, RULES, Purse

MINUTE = timedelta(minutes=1)
THOUSAND = 100_000


@dataclass
class Teller:
    """Who asks M-Pesa what lies on the payout float, and hears it a second later."""

    purse: Purse
    now: datetime

    @property
    def db(self) -> Db:
        return self.purse.db

    def ask(self, of: Float = "b2c") -> UUID:
        asked = balances.ask(self.db, of, RULES, self.now)
        assert asked is not None
        assert asked.token not in repr(asked)
        return asked.id

    def hear(self, cents: int, of: Float = "b2c", owed: int = 0) -> str:
        question_id = self.ask(of)
        told = {"Utility Account": cents, "Working Account": 0, "Charges Paid Account": -owed}
        heard = balances.hear(self.db, question_id, told, self.now + timedelta(seconds=1))
        self.now += 11 * MINUTE
        return heard

    def incident(self) -> dict[str, int] | None:
        found = incidents.find_open(self.db, "balance_differs", "b2c")
        return found and found.detail


@pytest.fixture
def teller(db: Db, now: datetime) -> Teller:
    return Teller(Purse(db, now - timedelta(seconds=1)), now + MINUTE)


def test_what_is_equal_is_kept_with_every_account_and_troubles_nobody(teller: Teller) -> None:
    assert teller.hear(FLOAT_CENTS, owed=500) == "equal"
    seen = balances.last(teller.db, "b2c")
    assert seen is not None
    assert (seen.held_cents, seen.books_cents, seen.owed_cents) == (FLOAT_CENTS, FLOAT_CENTS, 500)
    accounts = teller.db.value("SELECT json_object_agg(account, amount_cents) FROM balances")
    assert accounts == {
        "Utility Account": FLOAT_CENTS,
        "Working Account": 0,
        "Charges Paid Account": -500,
    }
    assert teller.purse.open_incidents() == set()
    assert balances.last(teller.db, "c2b") is None


def test_a_difference_is_one_when_it_stands_at_two_questions(teller: Teller) -> None:
    assert teller.hear(FLOAT_CENTS - THOUSAND) == "differs"
    assert teller.incident() is None
    assert teller.purse.due("ask_balance") is not None
    assert teller.hear(FLOAT_CENTS - THOUSAND) == "differs"
    detail = teller.incident()
    assert detail is not None
    assert detail["difference_cents"] == -THOUSAND
    assert teller.hear(FLOAT_CENTS) == "equal"
    assert teller.incident() is None


def test_one_that_changes_in_between_is_asked_about_again(teller: Teller) -> None:
    assert teller.hear(FLOAT_CENTS - THOUSAND) == "differs"
    assert teller.hear(FLOAT_CENTS + 500) == "differs"
    assert teller.incident() is None


def test_an_incident_follows_the_difference(teller: Teller) -> None:
    for cents in (THOUSAND, THOUSAND, 2 * THOUSAND, 2 * THOUSAND):
        teller.hear(FLOAT_CENTS - cents)
    detail = teller.incident()
    assert detail is not None
    assert detail["difference_cents"] == -2 * THOUSAND


def test_while_a_payout_is_on_its_way_there_is_nothing_to_compare_with(teller: Teller) -> None:
    payout_id = teller.purse.accepted()
    assert teller.hear(FLOAT_CENTS - THOUSAND) == "busy"
    teller.purse.settle(payout_id, teller.purse.paid(payout_id))
    assert teller.hear(FLOAT_CENTS - THOUSAND) == "equal"


def test_what_was_booked_while_we_asked_makes_the_answer_stale(teller: Teller) -> None:
    question_id = teller.ask()
    legs = [ledger.debit(ledger.B2C, 100), ledger.credit(ledger.CAPITAL, 100)]
    ledger.post(teller.db, "test", "test:meanwhile", legs, teller.now)
    teller.db.run(
        """
        UPDATE balance_questions SET asked_at = %(at)s WHERE id = %(id)s
        """,
        {"at": teller.db._owner.clock(), "id": question_id},
    )
    told = {"Utility Account": FLOAT_CENTS}
    assert balances.hear(teller.db, question_id, told, teller.now) == "busy"


def test_a_prompt_that_is_open_makes_the_collection_float_busy(db: Db, now: datetime) -> None:
    market = open_market(db, now)
    teller = Teller(Purse(db, now - timedelta(seconds=1)), now + MINUTE)
    assert teller.hear(EARNED_CENTS, "c2b") == "equal"
    purchase(db, market, now)
    assert teller.hear(EARNED_CENTS, "c2b") == "busy"


@pytest.mark.parametrize(("arrives", "state"), [(True, "arrived"), (False, "unknown")])
def test_the_float_itself_proves_a_move_whose_answer_was_lost(
    teller: Teller, arrives: bool, state: str
) -> None:
    asked = float_moves.request(teller.db, THOUSAND, "olive", teller.now)
    assert isinstance(asked, UUID)
    assert float_moves.claim(teller.db, asked, RULES, teller.now) is not None
    float_moves.record_ack(teller.db, asked, LOST, teller.now)
    surplus = solvency.surplus_cents(teller.db)
    teller.now += MINUTE
    heard = teller.hear(FLOAT_CENTS + (THOUSAND if arrives else 0))
    assert heard == ("equal" if arrives else "busy")
    move = float_moves.by_id(teller.db, asked)
    assert move is not None
    assert move.state == state
    assert solvency.surplus_cents(teller.db) == surplus
    assert teller.incident() is None


def test_an_answer_that_says_nothing_is_kept_as_such(teller: Teller) -> None:
    question_id = teller.ask()
    assert balances.hear(teller.db, question_id, None, teller.now) == "unreadable"
    assert balances.last(teller.db, "b2c") is None


def test_an_answer_is_heard_once(teller: Teller) -> None:
    question_id = teller.ask()
    told = {"Utility Account": FLOAT_CENTS}
    assert balances.hear(teller.db, question_id, told, teller.now) == "equal"
    forged = {"Utility Account": 0}
    assert balances.hear(teller.db, question_id, forged, teller.now) == "already_heard"
    seen = balances.last(teller.db, "b2c")
    assert seen is not None
    assert seen.held_cents == FLOAT_CENTS


def test_nobody_is_asked_while_our_operator_is_refused(teller: Teller) -> None:
    halts.halt(teller.db, "initiator", "2001", teller.now)
    assert balances.ask(teller.db, "b2c", RULES, teller.now) is None


def test_the_first_answer_shows_that_our_operators_word_is_taken(teller: Teller) -> None:
    guarded = replace(RULES, initiator_key=b"a name and a password")
    asked = balances.ask(teller.db, "b2c", guarded, teller.now)
    assert asked is not None
    assert balances.ask(teller.db, "c2b", guarded, teller.now) is None
    assert teller.purse.due("ask_balance") == teller.now + initiator.PROBE_FOR
    balances.hear(teller.db, asked.id, {"Utility Account": FLOAT_CENTS}, teller.now)
    assert balances.ask(teller.db, "c2b", guarded, teller.now) is not None
    assert teller.purse.due("resume_payouts") == teller.now
