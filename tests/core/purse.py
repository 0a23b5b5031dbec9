"""A purse: a member with money to be sent, a float to send it from, and what M-Pesa says of it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core import ledger, outbox, payout_calls, payout_proofs, payouts
from core.database import Db
from core.payout_calls import PayoutAnswer
from core.payout_proofs import PayoutResult
from core.payouts import Payout
from core.rules import Rules
from tests.core.market import person

# The SIM check has tests of its own: here nobody could be asked.
RULES = Rules(
    token_key=b"token key for tests", payout_automatic_max_cents=2_000_000, sim_check=False
)
FLOAT_CENTS = 100_000_000
EARNED_CENTS = 5_000_000
PAID_CHARGE_CENTS = 500  # for KSh 101 to 1,500
ACCEPTED = PayoutAnswer("accepted", "0", None, "AG_1")
REFUSED = PayoutAnswer("refused", "500.003.02")
LOST = PayoutAnswer("unknown", "timeout")
OPERATOR = "wambui"
THOUSAND = 100_000  # KSh 1,000 in cents
# Where the money is before a payout of that much, while it is on its way, and after it.
UNTOUCHED = {"seller": EARNED_CENTS, "b2c": FLOAT_CENTS, "c2b": EARNED_CENTS}
SET_ASIDE = {**UNTOUCHED, "seller": EARNED_CENTS - THOUSAND, "out": THOUSAND}
PAID = {
    "seller": EARNED_CENTS - THOUSAND,
    "b2c": FLOAT_CENTS - THOUSAND,
    "c2b": EARNED_CENTS,
    "charges": PAID_CHARGE_CENTS,
}


class Purse:
    """Wanjiku, who has earned KSh 50,000, and our floats: KSh 1,000,000 to pay out, hers held."""

    def __init__(self, db: Db, now: datetime, *, float_cents: int = FLOAT_CENTS) -> None:
        self.db, self.now = db, now
        self.member = person(db, now, 9, "Wanjiku")
        self.msisdn: str = db.value("SELECT msisdn FROM members WHERE id = %s", [self.member])
        self.seller, self.buyer = ledger.seller(self.member), ledger.buyer(self.member)
        if float_cents:
            self.move("capital", ledger.B2C, ledger.CAPITAL, float_cents)
        self.move("sales", ledger.C2B, self.seller, EARNED_CENTS)

    def move(self, key: str, debit: ledger.Account, credit: ledger.Account, cents: int) -> None:
        legs = [ledger.debit(debit, cents), ledger.credit(credit, cents)]
        assert ledger.post(self.db, "test", f"test:{key}", legs, self.now) == "posted"

    def ask(self, cents: int = 100_000, **given: Any) -> UUID:
        """One payout of KSh 1,000, requested and, below the limit, approved."""
        (payout_id,) = self.request(cents, **given)
        return payout_id

    def request(self, cents: int = 100_000, **given: Any) -> Any:
        given = {"requested_by": str(self.member), **given}
        return payouts.request(
            self.db, self.member, "seller", "withdrawal", cents, RULES, self.now, **given
        )

    def claim(self, payout_id: UUID) -> payout_calls.ClaimedPayout | None:
        return payout_calls.claim_for_submit(self.db, payout_id, RULES, self.now)

    def submitted(self, **given: Any) -> UUID:
        payout_id = self.ask(**given)
        assert self.claim(payout_id) is not None
        return payout_id

    def accepted(self, **given: Any) -> UUID:
        payout_id = self.submitted(**given)
        self.ack(payout_id, ACCEPTED)
        return payout_id

    def unknown(self, **given: Any) -> UUID:
        payout_id = self.submitted(**given)
        self.ack(payout_id, LOST)
        return payout_id

    def ack(self, payout_id: UUID, answer: PayoutAnswer) -> None:
        payout_calls.record_ack(self.db, payout_id, answer, self.now)

    def settle(self, payout_id: UUID, result: PayoutResult) -> str:
        return payout_proofs.settle(self.db, payout_id, result, self.now)

    def query(
        self, payout_id: UUID
    ) -> payout_calls.PayoutToQuery | payout_calls.ClaimedPayout | None:
        return payout_calls.query_due(self.db, payout_id, RULES, self.now)

    def paid(self, payout_id: UUID, receipt: str = "SG632NMUAB", **changes: Any) -> PayoutResult:
        """The Result of a payout that went well."""
        payout = self.payout(payout_id)
        result = PayoutResult(
            "result",
            "paid",
            "0",
            amount_cents=payout.amount_cents,
            receipt=receipt,
            msisdn=payout.msisdn,
            originator_id=payout.originator_id,
            conversation_id=payout.conversation_id,
        )
        return replace(result, **changes)

    def failed(self, payout_id: UUID, code: str = "2040", **changes: Any) -> PayoutResult:
        originator_id = self.payout(payout_id).originator_id
        result = PayoutResult("result", "failed", code, originator_id=originator_id)
        return replace(result, **changes)

    def absent(self, asked_after: timedelta) -> PayoutResult:
        """A status: M-Pesa knows of no such payout, asked so long after the call."""
        asked_at = self.now + asked_after
        return PayoutResult("status", "absent", "2032", ours=True, asked_at=asked_at)

    def payout(self, payout_id: UUID) -> Payout:
        found = payouts.by_id(self.db, payout_id)
        assert found is not None
        return found

    def state(self, payout_id: UUID) -> str:
        return self.payout(payout_id).state

    def cents(self, *payout_ids: UUID) -> dict[str, int]:
        """Where the money is that was somewhere before or is now."""
        found = {
            "seller": ledger.balance(self.db, self.seller),
            "buyer": ledger.balance(self.db, self.buyer),
            "out": sum(ledger.balance(self.db, ledger.out(id_)) for id_ in payout_ids),
            "b2c": ledger.balance(self.db, ledger.B2C),
            "c2b": ledger.balance(self.db, ledger.C2B),
            "charges": ledger.balance(self.db, ledger.MPESA_CHARGES),
            "loss": ledger.balance(self.db, ledger.LOSS),
        }
        return {name: cents for name, cents in found.items() if cents}

    def due(self, kind: str) -> datetime | None:
        found: datetime | None = self.db.value(
            "SELECT min(due_at) FROM outbox WHERE kind = %s AND done_at IS NULL", [kind]
        )
        return found

    def forget_work(self) -> None:
        self.db.run("UPDATE outbox SET done_at = %s WHERE done_at IS NULL", [self.now])

    def open_incidents(self) -> set[str]:
        kinds = self.db.value("SELECT array_agg(kind) FROM incidents WHERE closed_at IS NULL")
        return set(kinds or ())

    def told(self) -> list[str]:
        texts = self.db.value("SELECT array_agg(text ORDER BY created_at, id) FROM messages")
        return texts or []


def work_is_done(db: Db, now: datetime) -> None:
    for item in outbox.take_due(db, now, 100):
        outbox.done(db, item.id, now)
