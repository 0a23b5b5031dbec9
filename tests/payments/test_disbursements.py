# ruff: noqa: N802 - F1 to F24 are names
"""Money going out beside the pretend M-Pesa, which behaves as badly as the real one (F18 to F21).

Each story runs over real HTTP in both directions; at its end both books say the same.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from core import (
    deliveries,
    halts,
    ledger,
    outbox,
    payout_queue,
    payouts,
    refunds,
    reply_paths,
    withdrawals,
)
from core.payouts import Payout
from tests.core.market import RULES, TOTAL_CENTS, msisdn, order_of
from tests.payments.street import B2C_UTILITY, PAYMENT_KINDS, PAYOUT_KINDS, UTILITY, Street
from tests.payments.street import street as open_street

FLOAT_CENTS = 10_000_000
EARNED_CENTS = 200_000
PAID_CENTS = 100_000  # KSh 1,000
CHARGE_CENTS = 500
HOUR = 3600


class Till:
    """A street whose seller Wanjiku has earned KSh 2,000, with KSh 100,000 in the payout float."""

    def __init__(self, street: Street) -> None:
        self.street, self.world = street, street.world
        street.kinds = PAYMENT_KINDS | PAYOUT_KINDS
        self.seller = street.market.wanjiku
        with street.database.begin() as db:
            self.msisdn: str = db.value("SELECT msisdn FROM members WHERE id = %s", [self.seller])
            for key, debit, credit, cents in (
                ("capital", ledger.B2C, ledger.CAPITAL, FLOAT_CENTS),
                ("sales", ledger.C2B, ledger.seller(self.seller), EARNED_CENTS),
            ):
                legs = [ledger.debit(debit, cents), ledger.credit(credit, cents)]
                ledger.post(db, "test", f"test:{key}", legs, street.now)
        self.fund(B2C_UTILITY, FLOAT_CENTS)
        self.fund(UTILITY, EARNED_CENTS)

    def fund(self, owner: str, cents: int) -> None:
        """So much more, or less, from a bank; our books hear nothing of it."""
        with self.world.journal.change():
            self.world.books.inject(owner, cents, "bank", self.world.clock.now())

    def withdraw(self, cents: int = PAID_CENTS) -> UUID:
        with self.street.database.begin() as db:
            asked = withdrawals.withdraw(db, self.seller, cents, RULES, self.street.now)
        assert not isinstance(asked, str), asked
        return asked[0]

    def payout(self, payout_id: UUID) -> Payout:
        with self.street.database.begin() as db:
            found = payouts.by_id(db, payout_id)
        assert found is not None
        return found

    def state(self, payout_id: UUID) -> str:
        return self.payout(payout_id).state

    def phone_has(self) -> int:
        """What she got, in cents, above the KSh 10,000 that everybody starts with."""
        with self.world.journal.change():
            self.world.books.subscriber(self.msisdn, self.world.clock.now())
        return self.world.books.balance_cents(self.msisdn) - 1_000_000

    def is_paid_once(self, payout_id: UUID) -> bool:
        assert self.state(payout_id) == "paid"
        assert self.phone_has() == PAID_CENTS
        assert self.street.money() == {
            "A.b2c": FLOAT_CENTS - PAID_CENTS,
            "A.c2b": EARNED_CENTS,
            "L.seller": EARNED_CENTS - PAID_CENTS,
            "L.mcharges": CHARGE_CENTS,
            "Q.capital": FLOAT_CENTS,
            "E.mcharges": CHARGE_CENTS,
        }
        self.books_agree()
        return True

    def is_back(self, payout_id: UUID) -> bool:
        assert self.state(payout_id) == "failed"
        assert self.phone_has() == 0
        assert self.street.money() == {
            "A.b2c": FLOAT_CENTS,
            "A.c2b": EARNED_CENTS,
            "L.seller": EARNED_CENTS,
            "Q.capital": FLOAT_CENTS,
        }
        self.books_agree()
        return True

    def books_agree(self) -> None:
        """I10 and I11: M-Pesa's utility accounts are our floats, and its own books balance."""
        books, ours = self.world.books, self.street.money()
        assert books.audit()["balanced"]
        assert books.balance_cents(B2C_UTILITY) == ours.get("A.b2c", 0)
        assert books.balance_cents(UTILITY) == ours.get("A.c2b", 0)

    def rules(self, **given: Any) -> None:
        self.street.rules(**given)

    def sent(self) -> int:
        """How many payouts M-Pesa took."""
        return sum(1 for o in self.world.operations._all.values() if o.request.kind == "b2c")

    def asked(self, call: str = "submit_payout") -> int:
        with self.street.database.begin() as db:
            found: int = db.value("SELECT sum(attempts) FROM outbox WHERE kind = %s", [call])
        return found

    def reply(
        self, payout_id: UUID, body: bytes, kind: str = "payout", door: str = "results"
    ) -> int:
        with self.street.database.begin() as db:
            token = reply_paths.open(db, kind, payout_id, 0, RULES, self.street.now)
        return self.street.post(f"/payments/{door}/{token}", body).status_code

    def result(self, payout_id: UUID, **changes: Any) -> bytes:
        """A Result that says it was paid, as a forger would write it."""
        payout = self.payout(payout_id)
        said = {
            "receipt": "FORGED0001",
            "amount": payout.amount_cents // 100,
            "party": f"{payout.msisdn[1:]} - WANJIKU",
            "originator": payout.originator_id,
            "code": 0,
            **changes,
        }
        parameters = {
            "TransactionAmount": said["amount"],
            "TransactionReceipt": said["receipt"],
            "ReceiverPartyPublicName": said["party"],
        }
        result = {
            "ResultType": 0,
            "ResultCode": said["code"],
            "OriginatorConversationID": said["originator"],
            "ConversationID": payout.conversation_id,
            "TransactionID": said["receipt"],
            "ResultParameters": {
                "ResultParameter": [{"Key": k, "Value": v} for k, v in parameters.items()]
            },
        }
        return json.dumps({"Result": result}).encode()


@pytest.fixture
def till(new_database: Callable[[], Any], now: datetime) -> Iterator[Till]:
    with open_street(new_database, now) as street:
        yield Till(street)


def test_a_withdrawal_arrives(till: Till) -> None:
    payout_id = till.withdraw()
    till.street.wait(6)
    assert till.is_paid_once(payout_id)
    assert till.street.incidents() == set()


# --- F18: the answer to the call is lost ----------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "html_503", "internal_error", "slow"])
def test_F18_an_answer_lost_after_acting_is_settled_by_its_result(till: Till, fault: str) -> None:
    till.rules(faults=[{"fault": fault, "when": "after", "on": "b2c", "times": 1, "seconds": 2}])
    if fault == "slow":
        till.street.hurry()
    payout_id = till.withdraw()
    till.street.wait(8)
    assert till.is_paid_once(payout_id)
    assert till.sent() == 1


def test_F18_an_answer_lost_after_acting_and_no_result_is_settled_by_status(till: Till) -> None:
    lost = {"fault": "reset", "when": "after", "on": "b2c", "times": 1}
    till.rules(faults=[lost], next_b2c=[{"result": "never"}])
    payout_id = till.withdraw()
    till.street.leap(70)
    assert till.is_paid_once(payout_id)
    assert (till.sent(), till.asked()) == (1, 2)  # first, while the line was not checked


def test_F18_a_call_lost_before_acting_is_never_sent_again_and_comes_back_after_a_day(
    till: Till,
) -> None:
    till.rules(faults=[{"fault": "reset", "when": "before", "on": "b2c", "times": 1}])
    payout_id = till.withdraw()
    till.street.leap(23 * HOUR)
    assert till.state(payout_id) == "unknown"
    till.street.leap(2 * HOUR)
    assert till.is_back(payout_id)
    assert (till.sent(), till.asked()) == (0, 2)
    assert "payout_failed_by_us" in till.street.incidents()


def test_F18_a_repeat_of_what_mpesa_has_is_accepted_and_paid_once(till: Till) -> None:
    """A worker's process is given back the claim it died with: M-Pesa says Duplicate."""
    till.rules(next_b2c=[{"act_seconds": 30}])
    payout_id = till.withdraw()
    till.street.wait(1)
    with till.street.database.begin() as db:
        db.run("UPDATE payouts SET state = 'approved', conversation_id = NULL")
        outbox.put(db, "submit_payout", due_at=till.street.now, payout_id=payout_id)
    till.street.wait(2)
    assert till.state(payout_id) == "accepted"
    till.street.wait(40)
    assert till.is_paid_once(payout_id)
    assert till.sent() == 1


def test_maintenance_by_the_same_code_is_no_acceptance(till: Till) -> None:
    till.rules(faults=[{"fault": "maintenance", "on": "b2c", "times": 1}])
    payout_id = till.withdraw()
    till.street.wait(2)
    assert till.state(payout_id) == "unknown"


@pytest.mark.parametrize("fault", ["spike", "quota", "bad_request", "rejected"])
def test_a_refusal_before_acting_is_sent_again_with_the_same_identity(
    till: Till, fault: str
) -> None:
    till.rules(faults=[{"fault": fault, "on": "b2c", "times": 2}])
    payout_id = till.withdraw()
    till.street.wait(15)
    assert till.is_paid_once(payout_id)
    assert till.payout(payout_id).attempts == 3


# --- F19, F20: the result is late, or never comes -------------------------------------------------


@pytest.mark.parametrize("form", ["echo", "result"])
def test_F19_a_queue_timeout_then_success_is_paid_once(till: Till, form: str) -> None:
    till.rules(next_b2c=[{"queue": form, "queue_seconds": 10, "act_seconds": 20}])
    payout_id = till.withdraw()
    till.street.wait(15)
    assert till.state(payout_id) == "unknown"
    till.street.wait(30)
    assert till.is_paid_once(payout_id)


def test_F20_a_result_that_never_comes_is_asked_for(till: Till) -> None:
    till.rules(next_b2c=[{"result": "never"}])
    payout_id = till.withdraw()
    till.street.leap(290)
    assert till.state(payout_id) == "accepted"
    till.street.leap(30)
    assert till.is_paid_once(payout_id)


def test_F20_neither_result_nor_answer_for_hours_and_it_is_paid_all_the_same(till: Till) -> None:
    till.rules(next_b2c=[{"result": "never"}], status={"result": "never"})
    payout_id = till.withdraw()
    till.street.leap(5 * HOUR)
    assert till.state(payout_id) == "unknown"
    assert till.asked("query_payout") > 8
    till.rules(status={})
    till.street.leap(1.5 * HOUR)
    assert till.is_paid_once(payout_id)


def test_a_failure_asked_for_by_status_comes_back(till: Till) -> None:
    till.rules(next_b2c=[{"result": "never", "result_code": "2040"}])
    payout_id = till.withdraw()
    till.street.leap(330)
    assert till.is_back(payout_id)


@pytest.mark.parametrize("status", ["Initiated", "Authorized", "Pending Authorized"])
def test_a_status_that_is_not_final_is_asked_again(till: Till, status: str) -> None:
    till.rules(next_b2c=[{"result": "never"}], next_status=[{"status_says": status}])
    payout_id = till.withdraw()
    till.street.leap(330)
    assert till.state(payout_id) == "unknown"
    till.street.leap(1 * HOUR)
    assert till.is_paid_once(payout_id)


@pytest.mark.parametrize(
    "behaviour",
    [
        {"result_repeats": 3, "result_together": True},
        {"result_repeats": 3},
        {"result": "before_ack"},
        {"result_seconds": 200},
        {"result_interim": True},
        {"result_code_form": "string", "reference_form": "array"},
        {"result_contradiction": ["2040", "0"]},
        {"result_contradiction": ["0", "2040"]},
        {"result_contradiction": ["17"]},
        {"result_contradiction": ["26"]},
        {"result_contradiction": ["15"]},
        {"result_contradiction": ["9876"]},
        {"result_body": "html"},
        {"result_body": "empty"},
        {"result_body": "not_json"},
        {"result_amount": 999},
        {"result_party": "+254799999999"},
    ],
    ids=str,
)
def test_however_the_result_comes_it_is_paid_once(till: Till, behaviour: dict[str, Any]) -> None:
    till.rules(next_b2c=[behaviour])
    payout_id = till.withdraw()
    till.street.leap(400)
    assert till.is_paid_once(payout_id)
    assert till.sent() == 1


@pytest.mark.parametrize("code", ["2", "3", "4", "8", "2040", "SFC_IC0003"])
def test_F21_a_failure_of_the_receivers_puts_it_back(till: Till, code: str) -> None:
    till.rules(next_b2c=[{"result_code": code}])
    payout_id = till.withdraw()
    till.street.wait(8)
    assert till.is_back(payout_id)
    till.street.leap(2 * HOUR)
    assert till.sent() == 1, "nobody decided anew"


def test_F21_a_line_that_is_not_registered_is_told_of_it(till: Till) -> None:
    with till.world.journal.change():
        till.world.books.change_subscriber(
            till.msisdn, network="airtel", now=till.world.clock.now()
        )
    payout_id = till.withdraw()
    till.street.wait(8)
    assert till.state(payout_id) == "failed"
    with till.street.database.begin() as db:
        texts = db.value("SELECT array_agg(text) FROM messages WHERE trigger = 'payout_failed'")
    assert len(texts) == 1


# --- our own side ---------------------------------------------------------------------------------


def test_F21_mpesas_float_is_empty_though_our_books_say_otherwise(till: Till) -> None:
    till.fund(B2C_UTILITY, -FLOAT_CENTS)
    first = till.withdraw()
    till.street.wait(8)
    second = till.withdraw(50_000)
    till.street.leap(1 * HOUR)
    assert till.state(first) == "failed"
    assert till.payout(second).waits_for == "halted"
    assert till.sent() == 1, "it is not tried in vain"
    assert {halts.HALTED, "payout_failed_by_us"} <= till.street.incidents()
    till.fund(B2C_UTILITY, FLOAT_CENTS)
    with till.street.database.begin() as db:
        payout_queue.resume(db, "wambui", till.street.now, RULES, "float")
    till.street.wait(10)
    assert till.state(second) == "paid"
    assert till.phone_has() == 150_000
    till.books_agree()
    with till.street.database.begin() as db:
        texts = db.value("SELECT array_agg(trigger) FROM messages WHERE trigger LIKE 'payout%'")
    assert texts == ["payout_paid", "payout_paid"]


def test_a_wrong_password_is_tried_once_and_never_locks_us_out(till: Till) -> None:
    till.world.initiator.change(password="Another#1")
    first = till.withdraw()
    till.street.wait(8)
    second = till.withdraw(50_000)
    till.street.leap(2 * HOUR)
    assert till.state(first) == "failed"
    assert till.payout(second).waits_for == "halted"
    assert till.sent() == 1
    assert not till.world.initiator.is_locked
    till.world.initiator.change(password=till.world.place.initiator_password)
    with till.street.database.begin() as db:
        payout_queue.resume(db, "wambui", till.street.now, RULES)
    till.street.wait(10)
    assert till.phone_has() == 150_000
    till.books_agree()


def test_a_low_float_is_waited_for(till: Till) -> None:
    with till.street.database.begin() as db:
        legs = [ledger.debit(ledger.BANK, FLOAT_CENTS), ledger.credit(ledger.B2C, FLOAT_CENTS)]
        ledger.post(db, "test", "test:away", legs, till.street.now)
    payout_id = till.withdraw()
    till.street.leap(600)
    assert (till.state(payout_id), till.payout(payout_id).waits_for) == ("approved", "float")
    with till.street.database.begin() as db:
        legs = [ledger.debit(ledger.B2C, FLOAT_CENTS), ledger.credit(ledger.BANK, FLOAT_CENTS)]
        ledger.post(db, "test", "test:back", legs, till.street.now)
    till.street.leap(320)  # to the look after a quarter of an hour
    assert till.is_paid_once(payout_id)
    assert till.asked() == 4


# --- forgeries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 1},
        {"amount": 0},
        {"amount": -1000},
        {"amount": 1000.5},
        {"amount": 1e308 * 10},
        {"amount": float("nan")},
        {"amount": "1e309"},
        {"amount": None},
        {"party": "254799999999 - THIEF"},
        {"originator": "11111111-1111-1111-1111-111111111111"},
        {"originator": None},
        {"receipt": None},
        {"receipt": "' OR 1=1"},
    ],
    ids=str,
)
def test_F13_a_forged_result_moves_nothing_and_the_truth_is_asked_for(
    till: Till, changes: dict[str, Any]
) -> None:
    till.rules(next_b2c=[{"result": "never", "act_seconds": 20}])
    payout_id = till.withdraw()
    till.street.wait(2)
    assert till.reply(payout_id, till.result(payout_id, **changes)) == 200
    till.street.wait(2)
    assert till.state(payout_id) == "unknown"
    assert till.street.money()["L.out"] == PAID_CENTS
    till.street.leap(1200)
    assert till.is_paid_once(payout_id)
    assert "payout_doubted" in till.street.incidents()


@pytest.mark.parametrize("door", ["results", "timeouts"])
@pytest.mark.parametrize("token", ["0" * 32, "0" * 31, "G" * 32, "%00" * 32])
def test_a_wrong_path_is_404_and_keeps_nothing(till: Till, door: str, token: str) -> None:
    payout_id = till.withdraw()
    before = till.street.outcomes()
    answer = till.street.post(f"/payments/{door}/{token}", till.result(payout_id))
    assert (answer.status_code, answer.content) == (404, b"")
    assert till.street.outcomes() == before


def test_another_receipt_for_what_is_paid_changes_nothing(till: Till) -> None:
    payout_id = till.withdraw()
    till.street.wait(6)
    receipt = till.payout(payout_id).receipt
    for _ in range(2):
        assert till.reply(payout_id, till.result(payout_id)) == 200
    till.street.wait(2)
    assert till.payout(payout_id).receipt == receipt
    assert till.is_paid_once(payout_id)
    assert till.street.outcomes() == ["paid", "conflict"], "the second is the first, word by word"
    assert "payout_conflict" in till.street.incidents()


def test_a_result_on_another_payouts_path_is_doubted(till: Till) -> None:
    till.rules(b2c={"result": "never", "act_seconds": 60})
    first, second = till.withdraw(), till.withdraw()
    till.street.wait(2)
    till.reply(second, till.result(first))
    till.street.wait(1)
    assert [till.state(first), till.state(second)] == ["accepted", "unknown"]
    assert till.street.money()["L.out"] == 2 * PAID_CENTS


def test_a_forged_timeout_only_makes_us_ask(till: Till) -> None:
    till.rules(next_b2c=[{"result": "never", "act_seconds": 20}])
    payout_id = till.withdraw()
    till.street.wait(2)
    assert till.reply(payout_id, b"<html>", door="timeouts") == 200
    till.street.wait(2)
    assert till.state(payout_id) == "unknown"
    till.street.leap(400)
    assert till.is_paid_once(payout_id)


def test_a_status_that_names_another_payout_is_not_believed(till: Till) -> None:
    lies = {"result_originator": "another", "status_says": "Declined"}
    till.rules(next_b2c=[{"result": "never"}], next_status=[lies])
    payout_id = till.withdraw()
    till.street.leap(330)
    assert till.state(payout_id) == "unknown"
    till.street.leap(600)
    assert till.is_paid_once(payout_id)


# --- refunds --------------------------------------------------------------------------------------


def paid_and_refused(till: Till, *, both: bool = True, payer: str = msisdn(1)) -> None:
    """Amina has KSh 681 paid by prompt; then Wanjiku's share, or all of it, comes back."""
    street = till.street
    street.rules(auto="0")
    bought = street.buy(payer)
    street.wait(40)
    assert street.orders(bought) == ["paid", "paid"]
    with street.database.begin() as db:
        for seller in (street.market.wanjiku, *([street.market.otieno] if both else [])):
            order = order_of(db, bought, seller)
            assert deliveries.refuse(db, order.id, seller, street.now) == "refused"
        refunds.due(db, bought.buyer, street.now)


def payer_has(till: Till) -> int:
    return till.world.books.balance_cents(msisdn(1)) - 1_000_000


def test_a_whole_refund_goes_back_by_reversal_to_whoever_paid(till: Till) -> None:
    paid_and_refused(till)
    assert payer_has(till) == -TOTAL_CENTS
    till.street.wait(8)
    assert payer_has(till) == 0
    till.books_agree()
    assert till.street.money().get("L.out", 0) == till.street.money().get("L.buyer", 0) == 0
    assert till.street.money()["A.b2c"] == FLOAT_CENTS


def test_a_part_refund_goes_back_by_payout(till: Till) -> None:
    paid_and_refused(till, both=False)
    till.street.wait(8)
    assert payer_has(till) == 50_000 - TOTAL_CENTS
    till.books_agree()
    assert till.street.money()["A.b2c"] == FLOAT_CENTS - 50_000


@pytest.mark.parametrize(
    "rules",
    [
        {"faults": [{"fault": "reset", "when": "after", "on": "reversal", "times": 1}]},
        {"faults": [{"fault": "reset", "when": "before", "on": "reversal", "times": 1}]},
        {
            "faults": [{"fault": "reset", "when": "after", "on": "reversal", "times": 1}],
            "next_reversal": [{"result": "never"}],
        },
        {"next_reversal": [{"result": "never"}]},
        {"next_reversal": [{"queue": "echo", "queue_seconds": 5, "act_seconds": 20}]},
        {"next_reversal": [{"result_repeats": 3, "result_together": True}]},
        {"next_reversal": [{"result_contradiction": ["R000001"]}]},
        {"next_reversal": [{"result_code": "R000002"}]},
        {"next_reversal": [{"result_code": "2006"}]},
        {"next_reversal": [{"result_contradiction": ["0", "R000001"]}]},
    ],
    ids=str,
)
def test_however_a_reversal_goes_the_payer_has_her_money_once(
    till: Till, rules: dict[str, Any]
) -> None:
    paid_and_refused(till)
    till.rules(**rules)
    till.street.leap(1 * HOUR)
    assert payer_has(till) == 0
    till.books_agree()
    assert till.street.money().get("L.out", 0) == till.street.money().get("L.buyer", 0) == 0
