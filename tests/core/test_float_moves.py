"""Float moves: called once, believed on proof only, and nobody's money is ever less by one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from core import float_moves, halts, ledger, outbox, payout_calls, payout_queue, payouts, solvency
from core.database import Db
from core.float_moves import FloatMove
from core.payout_calls import PayoutAnswer
from core.payout_proofs import ABSENT_AFTER as PAYOUT_ABSENT_AFTER
from core.payout_proofs import PayoutResult
from core.rules import Rules
from tests.core.purse import EARNED_CENTS, FLOAT_CENTS, LOST, REFUSED, Purse
from tests.core.transactions import attempt

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
THOUSAND = 100_000
ACCEPTED = PayoutAnswer("accepted", "0", "29115-1", "AG_1")
RULES = Rules(token_key=b"token key for tests", payout_float_floor_cents=1_000_000, sim_check=False)


@dataclass
class Vault:
    """Two floats, KSh 50,000 of sales on the one; a move of KSh 1,000 to the other."""

    purse: Purse
    now: datetime

    @property
    def db(self) -> Db:
        return self.purse.db

    def request(self, cents: Any = THOUSAND) -> Any:
        return float_moves.request(self.db, cents, "olive", self.now)

    def claimed(self) -> UUID:
        move_id: UUID = self.request()
        assert float_moves.claim(self.db, move_id, RULES, self.now) is not None
        return move_id

    def called(self, answer: PayoutAnswer = ACCEPTED) -> UUID:
        move_id = self.claimed()
        float_moves.record_ack(self.db, move_id, answer, self.now)
        return move_id

    def settle(self, move_id: UUID, verdict: str = "paid", **changes: Any) -> str:
        result = PayoutResult(
            "result", "paid", "0", amount_cents=THOUSAND, receipt="SG632NMUAB",
            originator_id="29115-1", conversation_id="AG_1",
        )  # fmt: skip
        if verdict != "paid":
            changes = {"amount_cents": None, "receipt": None, "code": "1", **changes}
        return float_moves.settle(
            self.db, move_id, replace(result, verdict=verdict, **changes), self.now
        )

    def move(self, move_id: UUID) -> FloatMove:
        found = float_moves.by_id(self.db, move_id)
        assert found is not None
        return found

    def floats(self) -> dict[str, int]:
        """What has changed of each, in cents."""
        found = {
            "c2b": ledger.balance(self.db, ledger.C2B) - EARNED_CENTS,
            "b2c": ledger.balance(self.db, ledger.B2C) - FLOAT_CENTS,
            "transit": ledger.balance(self.db, ledger.TRANSIT),
        }
        return {name: cents for name, cents in found.items() if cents}

    def due(self, kind: str) -> timedelta | None:
        found = self.purse.due(kind)
        return None if found is None else found - self.now


UNDER_WAY = {"c2b": -THOUSAND, "transit": THOUSAND}
ARRIVED = {"c2b": -THOUSAND, "b2c": THOUSAND}


@pytest.fixture
def vault(db: Db, now: datetime) -> Iterator[Vault]:
    made = Vault(Purse(db, now), now)
    surplus = solvency.surplus_cents(db)
    yield made
    assert solvency.surplus_cents(db) == surplus, "a move between our floats owns nothing"


def test_it_leaves_one_float_and_arrives_on_the_other_with_its_proof(vault: Vault) -> None:
    move_id = vault.request()
    assert vault.floats() == UNDER_WAY
    assert vault.due("submit_float_move") == timedelta(0)
    claimed = float_moves.claim(vault.db, move_id, RULES, vault.now)
    assert claimed is not None
    assert (claimed.amount_cents, len(claimed.reference) <= 13) == (THOUSAND, True)
    assert claimed.token not in repr(claimed)
    assert float_moves.claim(vault.db, move_id, RULES, vault.now) is None
    float_moves.record_ack(vault.db, move_id, ACCEPTED, vault.now)
    assert vault.due("query_float_move") == MINUTE  # the claim's; the ack's is later
    assert vault.settle(move_id) == "arrived"
    assert vault.floats() == ARRIVED
    assert (vault.move(move_id).state, vault.move(move_id).receipt) == ("arrived", "SG632NMUAB")
    assert vault.due("float_arrived") == timedelta(0)


@pytest.mark.parametrize(
    ("cents", "refusal"),
    [
        (0, "too_small"),
        (-THOUSAND, "too_small"),
        (900, "too_small"),
        (99_950, "not_whole"),
        (9.99, "not_whole"),
        (float("nan"), "not_whole"),
        (1e309, "not_whole"),
        (EARNED_CENTS + 100, "overdrawn"),
        (10**300, "overdrawn"),
    ],
)
def test_what_cannot_be_moved_is_refused_and_nothing_moves(
    vault: Vault, cents: Any, refusal: str
) -> None:
    assert vault.request(cents) == refusal
    assert vault.floats() == {}
    assert vault.due("submit_float_move") is None


def test_there_is_one_at_a_time(vault: Vault) -> None:
    first = vault.called()
    assert vault.request() == "one_is_open"
    vault.settle(first)
    assert isinstance(vault.request(), UUID)


def test_what_will_be_given_back_from_a_float_cannot_be_moved_from_it(vault: Vault) -> None:
    purse = vault.purse
    purse.move("returned", purse.seller, purse.buyer, 4_000_000)
    vault.db.run("ALTER TABLE payouts DROP CONSTRAINT fk_payouts_reverses_receipt")
    payouts.request(
        vault.db, purse.member, "buyer", "reversal", 4_000_000, RULES, vault.now,
        requested_by="system", reverses_receipt="RKTQDM7W6S",
    )  # fmt: skip
    assert payouts.free_cents(vault.db, ledger.C2B) == EARNED_CENTS - 4_000_000
    assert vault.request(1_000_100) == "overdrawn"
    assert isinstance(vault.request(1_000_000), UUID)


def test_a_refusal_before_acting_is_called_again_and_in_the_end_given_up(vault: Vault) -> None:
    move_id = vault.request()
    for attempt_ in range(1, payout_calls.REFUSALS_BEFORE_INCIDENT):
        assert float_moves.claim(vault.db, move_id, RULES, vault.now) is not None
        vault.purse.forget_work()
        float_moves.record_ack(vault.db, move_id, REFUSED, vault.now)
        assert vault.move(move_id).state == "requested"
        assert vault.due("submit_float_move") == timedelta(seconds=2**attempt_)
    assert float_moves.claim(vault.db, move_id, RULES, vault.now) is not None
    float_moves.record_ack(vault.db, move_id, REFUSED, vault.now)
    assert vault.move(move_id).state == "failed"
    assert vault.floats() == {}
    assert "float_move_failed" in vault.purse.open_incidents()


def test_a_failure_puts_it_back_and_the_operator_is_told_until_one_arrives(vault: Vault) -> None:
    failed = vault.called()
    assert vault.settle(failed, "failed") == "failed"
    assert vault.floats() == {}
    assert "float_move_failed" in vault.purse.open_incidents()
    assert not halts.is_halted(vault.db, "float"), "too little to move stops no payout"
    again = vault.claimed()
    vault.settle(again, originator_id=None, conversation_id=None, receipt="SG632NMUAC")
    assert vault.purse.open_incidents() == set()


def test_a_lost_answer_is_asked_about_and_never_called_again(vault: Vault) -> None:
    move_id = vault.called(LOST)
    assert vault.move(move_id).state == "unknown"
    assert vault.due("query_float_move") == MINUTE
    assert float_moves.claim(vault.db, move_id, RULES, vault.now) is None
    vault.purse.forget_work()
    assert float_moves.query_due(vault.db, move_id, RULES, vault.now + MINUTE) is None
    assert vault.due("ask_balance") == MINUTE, "it has no name: the float itself is asked"
    assert vault.floats() == UNDER_WAY


def test_one_that_has_a_name_is_asked_about_by_it_each_time_on_another_path(vault: Vault) -> None:
    move_id = vault.called()
    first = float_moves.query_due(vault.db, move_id, RULES, vault.now + 5 * MINUTE)
    second = float_moves.query_due(vault.db, move_id, RULES, vault.now + 6 * MINUTE)
    assert first is not None
    assert second is not None
    assert first.originator_id == second.originator_id == "29115-1"
    assert first.token != second.token


def test_it_is_asked_about_for_a_week_and_then_a_person_is(vault: Vault) -> None:
    move_id = vault.called(LOST)
    asked = 0
    while vault.due("query_float_move") is not None:
        vault.now = vault.purse.now = vault.purse.due("query_float_move") or vault.now
        vault.purse.forget_work()
        float_moves.query_due(vault.db, move_id, RULES, vault.now)
        asked += 1
    assert 20 < asked < 60
    assert "float_move_unanswered" in vault.purse.open_incidents()


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"amount_cents": THOUSAND + 100}, "amount"),
        ({"amount_cents": None}, "amount"),
        ({"originator_id": "somebody's"}, "originator_id"),
        ({"conversation_id": "AG_2"}, "conversation_id"),
        ({"receipt": None}, "receipt"),
    ],
)
def test_a_result_that_does_not_fit_moves_nothing_and_makes_us_ask(
    vault: Vault, changes: dict[str, Any], doubt: str
) -> None:
    move_id = vault.called()
    vault.purse.forget_work()
    assert vault.settle(move_id, **changes) == "doubted"
    assert vault.floats() == UNDER_WAY
    assert vault.due("query_float_move") == timedelta(0)
    detail = vault.db.value("SELECT detail FROM incidents WHERE kind = 'float_move_doubted'")
    assert doubt in detail["doubts"]


def test_a_receipt_stands_for_one_move(vault: Vault) -> None:
    vault.settle(vault.called())
    second = vault.claimed()
    said = {"originator_id": None, "conversation_id": None}
    assert vault.settle(second, **said) == "doubted"
    assert vault.settle(second, receipt="SG632NMUAC", **said) == "arrived"
    assert vault.floats() == {"c2b": -2 * THOUSAND, "b2c": 2 * THOUSAND}


def test_a_result_of_one_that_was_never_called_is_a_forgery(vault: Vault) -> None:
    move_id = vault.request()
    assert vault.settle(move_id) == "doubted"
    assert vault.floats() == UNDER_WAY


def test_what_arrives_after_its_failure_is_booked_all_the_same(vault: Vault) -> None:
    move_id = vault.called()
    vault.settle(move_id, "failed")
    assert vault.settle(move_id, source="status") == "arrived"
    assert vault.floats() == ARRIVED
    assert vault.settle(move_id, "failed") == "already_settled"
    assert vault.floats() == ARRIVED


def test_no_order_of_what_is_heard_moves_it_twice(vault: Vault) -> None:
    told = [("paid", "result"), ("failed", "result"), ("paid", "status"), ("failed", "status")]
    for number, order in enumerate(permutations(told)):
        move_id = vault.claimed()
        said = {"originator_id": None, "conversation_id": None, "receipt": f"SG632NM{number:03}"}
        for verdict, source in order:
            receipt = said if verdict == "paid" else {**said, "receipt": None}
            vault.settle(move_id, verdict, **{**receipt, "source": source})
        assert vault.move(move_id).state == "arrived"
    assert vault.floats() == {"c2b": -24 * THOUSAND, "b2c": 24 * THOUSAND}


def test_a_queue_time_out_is_no_failure(vault: Vault) -> None:
    move_id = vault.called()
    assert float_moves.record_timeout(vault.db, move_id, vault.now) == "unknown"
    assert vault.settle(move_id) == "arrived"
    assert float_moves.record_timeout(vault.db, move_id, vault.now) == "already_settled"
    assert vault.floats() == ARRIVED


@pytest.mark.parametrize(("after", "outcome"), [(59 * MINUTE, "pending"), (HOUR, "failed")])
def test_that_mpesa_knows_of_none_is_believed_an_hour_after_the_call(
    vault: Vault, after: timedelta, outcome: str
) -> None:
    move_id = vault.called()
    said = {"source": "status", "code": "2032", "asked_at": vault.now + after}
    assert vault.settle(move_id, "absent", **said) == outcome
    assert float_moves.ABSENT_AFTER < PAYOUT_ABSENT_AFTER


@pytest.mark.parametrize(
    ("more", "after", "state"),
    [
        (THOUSAND, MINUTE, "arrived"),
        (THOUSAND, 59 * timedelta(seconds=1), "unknown"),
        (0, 59 * MINUTE, "unknown"),
        (0, HOUR, "failed"),
        (THOUSAND + 100, HOUR, "unknown"),
        (-THOUSAND, HOUR, "unknown"),
    ],
)
def test_one_without_a_name_is_proved_by_what_lies_on_the_float(
    vault: Vault, more: int, after: timedelta, state: str
) -> None:
    move_id = vault.called(LOST)
    vault.now += after
    float_moves.settle_by_balance(vault.db, more, vault.now, vault.now)
    assert vault.move(move_id).state == state
    assert vault.floats() == {"arrived": ARRIVED, "unknown": UNDER_WAY, "failed": {}}[state]


def test_the_receipt_may_come_after_the_balance_has_proved_it(vault: Vault) -> None:
    move_id = vault.called(LOST)
    float_moves.settle_by_balance(vault.db, THOUSAND, vault.now + MINUTE, vault.now + MINUTE)
    assert vault.move(move_id).receipt is None
    assert vault.settle(move_id) == "already_settled"
    assert vault.move(move_id).receipt == "SG632NMUAB"
    assert vault.floats() == ARRIVED


def test_one_with_a_name_is_not_proved_by_the_float(vault: Vault) -> None:
    move_id = vault.called()
    later = vault.now + 2 * HOUR
    assert float_moves.settle_by_balance(vault.db, 0, later, later) is None
    assert vault.move(move_id).state == "accepted"


# --- by itself ------------------------------------------------------------------------------------


def test_a_low_payout_float_is_filled_up_to_twice_its_floor(db: Db, now: datetime) -> None:
    vault = Vault(Purse(db, now, float_cents=900_000), now)
    move_id = float_moves.keep(db, RULES, now)
    assert move_id is not None
    move = vault.move(move_id)
    assert (move.amount_cents, move.requested_by) == (1_100_000, payouts.SYSTEM)
    assert float_moves.keep(db, RULES, now) is None, "one is on its way"


@pytest.mark.parametrize(("float_cents", "floor"), [(1_000_000, 1_000_000), (0, 0)])
def test_one_that_is_not_low_or_has_no_floor_is_left_alone(
    db: Db, now: datetime, float_cents: int, floor: int
) -> None:
    Purse(db, now, float_cents=float_cents)
    assert float_moves.keep(db, replace(RULES, payout_float_floor_cents=floor), now) is None


def test_no_more_is_taken_than_the_collection_float_can_spare(db: Db, now: datetime) -> None:
    vault = Vault(Purse(db, now, float_cents=100), now)
    vault.purse.move("spent", vault.purse.seller, ledger.C2B, EARNED_CENTS - 150_050)
    move_id = float_moves.keep(db, RULES, now)
    assert move_id is not None
    assert vault.move(move_id).amount_cents == 150_000
    vault.settle(move_id, "failed")


def test_for_next_to_nothing_no_move_is_made(db: Db, now: datetime) -> None:
    vault = Vault(Purse(db, now, float_cents=100), now)
    vault.purse.move("spent", vault.purse.seller, ledger.C2B, EARNED_CENTS - 99_900)
    assert float_moves.keep(db, RULES, now) is None


def test_what_waits_to_be_paid_is_counted_in(db: Db, now: datetime) -> None:
    vault = Vault(Purse(db, now, float_cents=1_500_000), now)
    vault.purse.ask(1_000_000)
    move_id = float_moves.keep(db, RULES, now)
    assert move_id is not None
    assert vault.move(move_id).amount_cents == 1_500_000


def test_the_payout_that_takes_it_below_the_floor_asks_once(db: Db, now: datetime) -> None:
    purse = Purse(db, now, float_cents=1_150_000)
    claims = []
    for payout_id in (purse.ask(THOUSAND), purse.ask(THOUSAND), purse.ask(THOUSAND)):
        assert payout_calls.claim_for_submit(db, payout_id, RULES, now) is not None
        claims.append(purse.due("keep_float") is not None)
        db.run("UPDATE outbox SET done_at = %s WHERE kind = 'keep_float'", [now])
    assert claims == [False, True, False]


def test_when_it_arrives_what_waited_goes_on_also_what_mpesa_had_refused(
    db: Db, now: datetime
) -> None:
    purse = Purse(db, now, float_cents=150_000)
    first = purse.accepted()
    second = purse.ask()
    assert purse.claim(second) is None
    purse.settle(first, purse.failed(first, "1", ours=True, halts="float"))
    assert halts.is_halted(db, "float")
    assert purse.due("ask_balance") == now
    assert purse.told() == [], "the seller hears of no failure"
    vault = Vault(purse, now)
    move_id = vault.called()
    purse.forget_work()
    vault.settle(move_id)
    assert purse.due("float_arrived") == now
    payout_queue.float_arrived(db, RULES, now)
    assert not halts.is_halted(db, "float")
    assert "payout_failed_by_us" not in purse.open_incidents()
    assert payout_queue.resume_waiting(db, now) == 1
    states = db.value("SELECT array_agg(state ORDER BY created_at, id) FROM payouts")
    assert states == ["failed", "approved", "approved"]


# --- our operator's word --------------------------------------------------------------------------


def test_while_mpesa_refuses_our_operator_nothing_is_called_or_asked(vault: Vault) -> None:
    move_id = vault.request()
    halts.halt(vault.db, "initiator", "2001", vault.now)
    assert float_moves.claim(vault.db, move_id, RULES, vault.now) is None
    vault.purse.forget_work()
    payout_queue.resume(vault.db, "olive", vault.now, RULES)
    assert vault.due("keep_float") == timedelta(0)
    assert float_moves.keep(vault.db, RULES, vault.now) is None
    assert vault.due("submit_float_move") == timedelta(0)
    assert float_moves.claim(vault.db, move_id, RULES, vault.now) is not None


def test_a_refused_operator_halts_payouts_too(vault: Vault) -> None:
    move_id = vault.called()
    assert vault.settle(move_id, "failed", code="2001", halts="initiator") == "failed"
    assert halts.is_halted(vault.db, "initiator")
    assert vault.floats() == {}


def test_the_database_itself_refuses_two_at_once(vault: Vault) -> None:
    vault.request()
    sql = """
        INSERT INTO float_moves (id, number, amount_cents, state, attempts, query_count,
                                 requested_by, created_at, updated_at)
        VALUES (gen_random_uuid(), 99, 1000, 'requested', 0, 0, 'olive', %(now)s, %(now)s)
    """
    outcome = attempt(vault.db, lambda: vault.db.run(sql, {"now": vault.now}))
    assert isinstance(outcome, type)
    assert outbox.KINDS["submit_float_move"].queue == "money"
