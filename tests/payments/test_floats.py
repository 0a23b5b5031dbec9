"""Our floats beside the pretend M-Pesa: filled up, counted, and never believed without proof.

Each story runs over real HTTP in both directions; at its end both books say the same.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from core import balances, float_moves, halts, ledger, outbox, reply_paths
from core.float_moves import FloatMove
from tests.core.market import RULES
from tests.payments.street import B2C_UTILITY, UTILITY
from tests.payments.street import street as open_street
from tests.payments.test_disbursements import EARNED_CENTS, FLOAT_CENTS, Till
from worker import floats

MOVED_CENTS = 150_000  # KSh 1,500 of the KSh 2,000 on the collection float
HOUR = 3600


class Vault(Till):
    """A till whose worker looks after the floats too."""

    def move_some(self, cents: int = MOVED_CENTS) -> UUID:
        with self.street.database.begin() as db:
            asked = float_moves.request(db, cents, "olive", self.street.now)
        assert isinstance(asked, UUID), asked
        return asked

    def moved(self, move_id: UUID) -> FloatMove:
        with self.street.database.begin() as db:
            found = float_moves.by_id(db, move_id)
        assert found is not None
        return found

    def ask(self, of: balances.Float) -> None:
        with self.street.database.begin() as db:
            outbox.put(db, "ask_balance", due_at=self.street.now, float=of)

    def seen(self, of: balances.Float) -> balances.Seen | None:
        with self.street.database.begin() as db:
            return balances.last(db, of)

    def calls(self, kind: str) -> int:
        """How many M-Pesa took."""
        return sum(1 for o in self.world.operations._all.values() if o.request.kind == kind)

    def floats(self) -> tuple[int, int, int]:
        """Collection, transit, payout, as our books say."""
        money = self.street.money()
        return tuple(money.get(name, 0) for name in ("A.c2b", "A.transit", "A.b2c"))  # type: ignore[return-value]

    def has_arrived_once(self, move_id: UUID) -> bool:
        assert self.moved(move_id).state == "arrived"
        assert self.floats() == (EARNED_CENTS - MOVED_CENTS, 0, FLOAT_CENTS + MOVED_CENTS)
        assert self.calls("topup") == 1
        self.books_agree()
        return True

    def never_left(self, move_id: UUID) -> bool:
        assert self.moved(move_id).state == "failed"
        assert self.floats() == (EARNED_CENTS, 0, FLOAT_CENTS)
        self.books_agree()
        return True


@pytest.fixture
def vault(new_database: Callable[[], Any], now: datetime) -> Iterator[Vault]:
    with open_street(new_database, now) as street:
        made = Vault(street)
        street.kinds = street.kinds | floats.TASKS.keys()
        yield made


def test_a_move_arrives_with_its_result(vault: Vault) -> None:
    move_id = vault.move_some()
    assert vault.floats() == (EARNED_CENTS - MOVED_CENTS, MOVED_CENTS, FLOAT_CENTS)
    vault.street.wait(10)
    assert vault.has_arrived_once(move_id)
    receipt = vault.moved(move_id).receipt
    assert receipt is not None
    moved = vault.world.books.find(receipt)
    assert moved is not None
    assert (moved.source, moved.target, moved.amount_cents) == (UTILITY, B2C_UTILITY, MOVED_CENTS)


@pytest.mark.parametrize(
    "rules",
    [
        {"result_repeats": 3, "result_together": True},
        {"next_topup": [{"result": "before_ack"}]},
        {"next_topup": [{"result": "never"}]},
        {"next_topup": [{"queue": "echo", "queue_seconds": 5}]},
        {"next_topup": [{"queue": "result", "queue_seconds": 5}]},
        {"next_topup": [{"queue": "echo", "result": "never", "queue_seconds": 5}]},
        {"next_topup": [{"result_interim": True}]},
        {"next_topup": [{"result_contradiction": ["1", "0"]}]},
        {"next_topup": [{"result_contradiction": ["0", "1"]}]},
        {"next_topup": [{"result_body": "html"}]},
        {"next_topup": [{"result_code_form": "string"}]},
        {"faults": [{"fault": "spike", "on": "topup", "times": 2}]},
        {"faults": [{"fault": "token_replaced", "on": "topup", "times": 1}]},
        {"faults": [{"fault": "reset", "when": "after", "on": "topup", "times": 1}]},
        {"faults": [{"fault": "html_503", "when": "after", "on": "topup", "times": 1}]},
        {"faults": [{"fault": "slow", "when": "after", "seconds": 2, "on": "topup", "times": 1}]},
    ],
    ids=lambda rules: json.dumps(rules).replace('"', ""),
)
def test_whatever_the_answers_do_it_arrives_once(vault: Vault, rules: dict[str, Any]) -> None:
    vault.rules(**rules)
    if "slow" in str(rules):
        vault.street.hurry()
    move_id = vault.move_some()
    vault.street.leap(700)
    assert vault.has_arrived_once(move_id)


def test_one_whose_ack_and_result_are_lost_is_proved_by_the_balance(vault: Vault) -> None:
    vault.rules(
        faults=[{"fault": "reset", "when": "after", "on": "topup", "times": 1}],
        next_topup=[{"result": "never"}],
    )
    move_id = vault.move_some()
    vault.street.leap(200)
    assert vault.has_arrived_once(move_id)
    assert vault.moved(move_id).receipt is None
    assert vault.calls("balance") >= 1


def test_one_that_mpesa_never_had_is_given_back_after_an_hour(vault: Vault) -> None:
    vault.rules(faults=[{"fault": "html_503", "on": "topup", "times": 1}])
    move_id = vault.move_some()
    vault.street.leap(1800)
    assert vault.moved(move_id).state == "unknown"
    vault.street.leap(2 * HOUR)
    assert vault.never_left(move_id)
    assert "float_move_failed" in vault.street.incidents()


def test_one_that_was_accepted_and_forgotten_is_given_back(vault: Vault) -> None:
    vault.rules(next_topup=[{"acts": False}])
    move_id = vault.move_some()
    vault.street.leap(2 * HOUR)
    assert vault.never_left(move_id)


def test_too_little_at_mpesa_is_a_failure_and_stops_no_payout(vault: Vault) -> None:
    vault.fund(UTILITY, -EARNED_CENTS)
    move_id = vault.move_some()
    vault.street.wait(10)
    assert vault.moved(move_id).state == "failed"
    vault.fund(UTILITY, EARNED_CENTS)
    assert vault.never_left(move_id)
    with vault.street.database.begin() as db:
        assert not halts.is_halted(db, "float")


def test_a_low_float_is_filled_up_by_itself_and_what_waited_goes_out(vault: Vault) -> None:
    with vault.street.database.begin() as db:
        legs = [ledger.debit(ledger.BANK, FLOAT_CENTS), ledger.credit(ledger.B2C, FLOAT_CENTS)]
        ledger.post(db, "test", "test:away", legs, vault.street.now)
    vault.fund(B2C_UTILITY, -FLOAT_CENTS)
    payout_id = vault.withdraw(100_000)
    vault.street.wait(20)
    assert vault.state(payout_id) == "paid"
    assert vault.calls("topup") == 1
    assert vault.phone_has() == 100_000
    assert vault.floats() == (0, 0, EARNED_CENTS - 100_000)
    vault.books_agree()


# --- what lies there ------------------------------------------------------------------------------


def test_both_floats_are_asked_about_and_equal(vault: Vault) -> None:
    payout_id = vault.withdraw()
    vault.street.wait(15)
    assert vault.state(payout_id) == "paid"
    for of in balances.FLOATS:
        vault.ask(of)
    vault.street.wait(10)
    collected, paid_out = vault.seen("c2b"), vault.seen("b2c")
    assert collected is not None
    assert paid_out is not None
    assert (collected.outcome, paid_out.outcome) == ("equal", "equal")
    assert paid_out.held_cents == vault.world.books.balance_cents(B2C_UTILITY)
    assert paid_out.owed_cents == vault.street.money()["L.mcharges"]


def test_a_question_that_our_operator_may_not_ask_halts_everything(vault: Vault) -> None:
    vault.rules(next_balance=[{"result_code": "2001"}])
    vault.ask("b2c")
    vault.street.wait(10)
    with vault.street.database.begin() as db:
        assert halts.is_halted(db, "initiator")
    payout_id, asked = vault.withdraw(), vault.calls("balance")
    vault.ask("c2b")
    vault.street.wait(10)
    assert vault.payout(payout_id).waits_for == "halted"
    assert (vault.calls("balance"), vault.sent()) == (asked, 0)


def test_a_difference_that_stands_is_told(vault: Vault) -> None:
    vault.rules(balance={"balance_off": -700})
    vault.ask("b2c")
    vault.street.leap(60)
    assert "balance_differs" not in vault.street.incidents()
    vault.street.leap(700)
    assert "balance_differs" in vault.street.incidents()


# --- forgeries ------------------------------------------------------------------------------------


def forged(**changes: Any) -> bytes:
    said = {"amount": MOVED_CENTS // 100, "receipt": "FORGED0001", "code": 0, **changes}
    result = {
        "ResultType": 0,
        "ResultCode": said["code"],
        "ResultDesc": "x",
        "OriginatorConversationID": said.get("originator", "somebody's"),
        "ConversationID": "AG_x",
        "TransactionID": said["receipt"],
        "ResultParameters": {
            "ResultParameter": [{"Key": "Amount", "Value": f"{said['amount']}.00"}]
        },
    }
    return json.dumps({"Result": result}).encode()


@pytest.mark.parametrize("changes", [{}, {"amount": 1}, {"code": 1}, {"receipt": "x"}])
def test_a_forged_result_moves_nothing(vault: Vault, changes: dict[str, Any]) -> None:
    vault.rules(next_topup=[{"act_seconds": 300, "result": "never"}])
    move_id = vault.move_some()
    vault.street.wait(5)
    before = vault.floats()
    with vault.street.database.begin() as db:
        token = reply_paths.open(db, "top_up", move_id, 0, RULES, vault.street.now)
    assert vault.street.post(f"/payments/results/{token}", forged(**changes)).status_code == 200
    vault.street.wait(2)
    assert vault.floats() == before
    assert "float_move_doubted" in vault.street.incidents()
    assert vault.street.post(f"/payments/results/{'0' * 32}", forged()).status_code == 404
    vault.street.leap(900)
    assert vault.has_arrived_once(move_id)


def test_a_forged_balance_opens_nothing_but_doubt(vault: Vault) -> None:
    vault.rules(next_balance=[{"result": "never"}])
    vault.ask("b2c")
    vault.street.wait(3)
    with vault.street.database.begin() as db:
        question_id = db.value("SELECT id FROM balance_questions")
        token = reply_paths.open(db, "balance", question_id, 0, RULES, vault.street.now)
    told = "Utility Account|KES|1.00|1.00|0.00|0.00"
    result = {
        "ResultType": "0",
        "ResultCode": "0",
        "ResultParameters": {"ResultParameter": [{"Key": "AccountBalance", "Value": told}]},
    }
    vault.street.post(f"/payments/results/{token}", json.dumps({"Result": result}).encode())
    vault.street.leap(60)
    assert vault.floats() == (EARNED_CENTS, 0, FLOAT_CENTS)
    assert "balance_differs" not in vault.street.incidents()
    vault.street.leap(700)
    seen = vault.seen("b2c")
    assert seen is not None
    assert seen.outcome == "equal", "asked again, M-Pesa itself says so"
