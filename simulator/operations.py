"""What a business's operator asks of M-Pesa: payouts, reversals, top-ups, and questions.

Each is accepted at once, waits in a queue, is done, and is told of by a Result. What the Results
claim is another matter: the rules decide.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from simulator import outbound, results
from simulator.books import PAID_IN, REVERSAL, Movement, account
from simulator.clock import EAST_AFRICA
from simulator.ground import Ground, Part
from simulator.journal import Record
from simulator.mpesa import ksh
from simulator.results import Facts
from simulator.rulebook import Operated
from simulator.rules import DEFAULTS, Rules
from simulator.telling import Act, Manner, Teller

QUESTIONS: tuple[Operated, ...] = ("status", "balance")  # they move nothing, and leave no trace
REASONS: dict[str, str] = {
    "b2c": "Business Payment to Customer via API",
    "reversal": "Transaction Reversal via API",
    "topup": "Business Pay To Bulk via API",
    "push": "Pay Bill Online",
    "c2b": "Pay Bill",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. shortcode: whose operator asks.

    party: whom a payout or a top-up goes to. receipt: what is reversed or asked about, asked_id:
    the same by its OriginatorConversationID. originator_id: of a payout, the business's own.
    body: as it came.
    """

    kind: Operated
    shortcode: str
    result_url: str
    timeout_url: str
    amount_cents: int = 0
    party: str = ""
    receipt: str = ""
    asked_id: str = ""
    originator_id: str = ""
    remarks: str = ""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Operation:
    """One request that was accepted. refusal: the result that the operator's credential earned.

    code and ended_at are None until it is done; then transaction_id is its receipt if code is "0".
    """

    originator_id: str
    conversation_id: str
    request: Request
    rules: Rules
    accepted_at: datetime
    refusal: str | None = None
    is_forgotten: bool = False
    code: str | None = None
    transaction_id: str = ""
    charge_cents: int = 0
    ended_at: datetime | None = None


class DuplicateId(Exception):
    """That OriginatorConversationID has been accepted before, and that request stands."""


class NotReversible(Exception):
    """No payment by a customer has that receipt, or it has been given back."""


class Operations(Part):
    """All of them. Verbs lock the world themselves and never wait for a network inside."""

    def __init__(self, ground: Ground, *, tell: Callable[[str, str], None]) -> None:
        """tell: M-Pesa's SMS to a phone."""
        super().__init__(ground)
        self._teller = Teller(self._clock, self._post)
        self._tell = tell
        self._all: dict[str, Operation] = {}  # by OriginatorConversationID, for ever
        self._by_transaction: dict[str, str] = {}

    def accept(self, request: Request, refusal: str | None) -> Operation:
        """Take a request; what comes of it comes later. Raises DuplicateId.

        refusal: what the initiator's credential earned.
        """
        with self._journal.change():
            if request.originator_id in self._all:
                raise DuplicateId
            now = self._clock.now()
            rules = self._rulebook.for_operation(request.kind)
            operation = Operation(
                request.originator_id or self._new_originator_id(),
                self._new_conversation_id(now),
                request,
                rules,
                now,
                refusal,
                is_forgotten=not rules.acts,
            )
            self._keep(operation)
            originator_id, waits = operation.originator_id, 0.0
            if rules.queue != "none":
                waits = rules.queue_seconds
                for seconds, act in self._time_outs(operation):
                    self._clock.after(waits + seconds, act)
            at_once = rules.acts and rules.result == "before_ack"
            if rules.acts and not at_once:
                self._clock.after(waits + rules.act_seconds, lambda: self._do(originator_id))
        if at_once:
            for act in self._do(originator_id, before_ack=True):
                act()
        return operation

    def reverse_by_mpesa(self, receipt: str) -> Movement:
        """M-Pesa itself gives a payment back, as when a customer complains; no business is told.

        Raises NotReversible.
        """
        with self._journal.change():
            paid = self._books.find(receipt)
            if paid is None or paid.kind not in PAID_IN or self._books.is_reversed(receipt):
                raise NotReversible
            if self._books.balance_cents(paid.target) < paid.amount_cents:
                raise NotReversible
            return self._give_back(paid, self._clock.now())

    def replay(self, record: Record) -> None:
        """Take up an operation of an earlier run."""
        self._take_up(_read(record))

    def resume(self) -> None:
        """After the replay: what was in the queue when the world stopped is done as usual."""
        for operation in self._all.values():
            if operation.code is None and not operation.is_forgotten:
                due = operation.accepted_at + timedelta(seconds=operation.rules.act_seconds)
                self._clock.at(due, partial(self._do, operation.originator_id))

    # --- doing it ---------------------------------------------------------------------------

    def _do(self, originator_id: str, *, before_ack: bool = False) -> list[Act]:
        """Do it. before_ack: the Results are returned, for whoever holds no lock to tell."""
        with self._journal.change():
            operation = self._all[originator_id]
            assert operation.code is None, "an operation was done twice"
            now = self._clock.now()
            code, moved, charge_cents = self._outcome(operation, now)
            is_question = operation.request.kind in QUESTIONS
            operation = replace(
                operation,
                code=code,
                transaction_id=(moved.receipt or "") if moved else self._failure_id(operation),
                charge_cents=charge_cents,
                ended_at=now,
            )
            facts = self._found(operation) if is_question else self._facts(operation)
            if facts is None and code == "0" and operation.request.kind == "status":
                operation = replace(operation, code="2032")
            self._keep(operation)
            acts = self._results(operation, facts)
            if before_ack:
                return [act for _, act in acts]
            for seconds, act in acts:
                self._clock.after(operation.rules.result_seconds + seconds, act)
            return []

    def _outcome(self, operation: Operation, now: datetime) -> tuple[str, Movement | None, int]:
        """The result code, what was moved, and the charge in cents."""
        request, forced = operation.request, operation.rules.result_code
        if operation.refusal is not None:
            return operation.refusal, None, 0
        if forced not in (None, "0"):
            return str(forced), None, 0
        if request.shortcode not in self._books.shortcodes:
            return "11", None, 0
        if request.kind == "b2c":
            return self._pay_out(request, now)
        if request.kind == "reversal":
            return self._reverse(request, now)
        if request.kind == "topup":
            return self._top_up(request, now)
        return "0", None, 0

    def _pay_out(self, request: Request, now: datetime) -> tuple[str, Movement | None, int]:
        rules, cents = self._rulebook.rules, request.amount_cents
        source = account(request.shortcode, "Utility")
        receiver = self._books.subscriber(request.party, now)
        holds = self._books.balance_cents(request.party)
        received = self._books.received_cents(request.party, now)
        refusals = (
            ("2028", not self._books.shortcodes[request.shortcode].pays_out),
            ("2", cents < rules.b2c_least * 100),
            ("3", cents > rules.b2c_most * 100),
            ("2040", receiver.network != "safaricom"),
            ("4", received + cents > rules.daily_limit * 100),
            ("8", holds + cents > rules.balance_limit * 100),
            ("1", self._books.balance_cents(source) < cents),
        )
        refusal = next((code for code, applies in refusals if applies), None)
        if refusal is not None:
            return refusal, None, 0
        paid = self._books.move(source, request.party, cents, "b2c", request.remarks, now)
        charge_cents = _charge_cents(cents, rules)
        if charge_cents:
            self._books.charge(paid, request.shortcode, charge_cents)
        self._tell_received(paid)
        return "0", paid, charge_cents

    def _reverse(self, request: Request, now: datetime) -> tuple[str, Movement | None, int]:
        paid = self._books.find(request.receipt)
        utility = account(request.shortcode, "Utility")
        if paid is None or paid.kind not in PAID_IN or paid.target != utility:
            return "R000002", None, 0
        if self._books.is_reversed(request.receipt):
            return "R000001", None, 0
        if request.amount_cents != paid.amount_cents:
            return "2028", None, 0
        if self._books.balance_cents(utility) < paid.amount_cents:
            return "1", None, 0
        return "0", self._give_back(paid, now), 0

    def _top_up(self, request: Request, now: datetime) -> tuple[str, Movement | None, int]:
        receiver = self._books.shortcodes.get(request.party)
        source = account(request.shortcode, "Utility")
        if receiver is None or receiver.number == request.shortcode or not receiver.pays_out:
            return "2028", None, 0
        if self._books.balance_cents(source) < request.amount_cents:
            return "1", None, 0
        moved = self._books.move(
            source, account(receiver.number, "Utility"), request.amount_cents, "topup",
            request.remarks, now,
        )  # fmt: skip
        return "0", moved, 0

    def _give_back(self, paid: Movement, now: datetime) -> Movement:
        assert paid.receipt is not None, "a payment without a receipt"
        back = self._books.move(
            paid.target, paid.source, paid.amount_cents, REVERSAL, paid.receipt, now
        )
        left = ksh(self._books.balance_cents(back.target))
        self._tell(
            back.target,
            f"{back.receipt} Confirmed. Transaction {paid.receipt} of {ksh(paid.amount_cents)} has "
            f"been reversed into your M-PESA account. New M-PESA balance is {left}.",
        )
        return back

    def _tell_received(self, paid: Movement) -> None:
        at = paid.at.astimezone(EAST_AFRICA)
        business = self._books.shortcodes[paid.source.partition("/")[0]].business
        left = ksh(self._books.balance_cents(paid.target))
        self._tell(
            paid.target,
            f"{paid.receipt} Confirmed. You have received {ksh(paid.amount_cents)} from {business} "
            f"on {at.day}/{at.month}/{at:%y} at {at:%I:%M %p}. New M-PESA balance is {left}.",
        )

    # --- telling of it ----------------------------------------------------------------------

    def _results(self, operation: Operation, facts: Facts | None) -> list[tuple[float, Act]]:
        rules, truth = operation.rules, operation.code or ""
        if rules.result == "never":
            return []
        told = [(code, True) for code in rules.result_contradiction or (truth,)]
        if rules.result_interim:
            told.insert(0, ("0", False))
        bodies = [
            self._result(operation, facts, code, is_final=is_final) for code, is_final in told
        ]
        return self._teller.acts(operation.request.result_url, bodies, _manner(rules))

    def _result(
        self, operation: Operation, facts: Facts | None, code: str, *, is_final: bool
    ) -> tuple[bytes, str]:
        rules, request = operation.rules, operation.request
        transaction_id = operation.transaction_id
        if (code == "0") != (operation.code == "0") and request.kind not in QUESTIONS:
            transaction_id = self._books.new_receipt()  # what is not true has a receipt of its own
        if code == "0" and request.kind not in QUESTIONS:
            transaction_id = rules.result_receipt or transaction_id
        return results.result(
            request.kind,
            code,
            self._parameters(operation, facts, transaction_id) if code == "0" else [],
            originator_id=operation.originator_id,
            conversation_id=operation.conversation_id,
            transaction_id=transaction_id,
            timeout_url=request.timeout_url,
            rules=rules,
            is_final=is_final,
        )

    def _parameters(
        self, operation: Operation, facts: Facts | None, transaction_id: str
    ) -> list[results.Parameter]:
        """What a Result of code 0 says, and be it a forgery."""
        rules, request, books = operation.rules, operation.request, self._books

        def holds(kind: str) -> int:
            return books.balance_cents(account(request.shortcode, kind))

        if request.kind == "balance":
            return results.balance(
                [
                    ("Working Account", holds("Working")),
                    ("Float Account", 0),
                    ("Utility Account", holds("Utility") + rules.balance_off * 100),
                    ("Charges Paid Account", holds("Charges")),
                    ("Organization Settlement Account", 0),
                ],
                operation.ended_at or operation.accepted_at,
            )
        if facts is None:  # a status of nothing: only a forger would speak of it
            return []
        if rules.result_amount is not None:
            facts = replace(facts, amount_cents=rules.result_amount * 100)
        if rules.result_party is not None:
            facts = _with_party(facts, rules.result_party)
        if request.kind == "status":
            return results.status(facts, rules)
        if request.kind == "reversal":
            return results.reversal(facts, request.receipt, holds("Utility"))
        if request.kind == "topup":
            return results.top_up(facts, holds("Utility"))
        return results.b2c(
            facts,
            transaction_id,
            utility_cents=holds("Utility"),
            working_cents=holds("Working"),
            charges_cents=holds("Charges"),
        )

    def _time_outs(self, operation: Operation) -> list[tuple[float, Act]]:
        """What QueueTimeOutURL is told: the request as it came, or a Result of its own kind."""
        request, rules = operation.request, operation.rules
        if rules.queue == "echo":
            bodies = [(request.body, outbound.JSON)]
        else:
            bodies = [
                results.result(
                    request.kind,
                    results.BUSY,
                    [],
                    originator_id=operation.originator_id,
                    conversation_id=operation.conversation_id,
                    transaction_id=_ZEROS,
                    timeout_url=request.timeout_url,
                    rules=rules,
                )
            ]
        return self._teller.acts(request.timeout_url, bodies, _manner(rules))

    # --- what is known ----------------------------------------------------------------------

    def _found(self, question: Operation) -> Facts | None:
        """The transaction that a status query asks about, if the shortcode has part in it."""
        asked = question.request
        if asked.kind != "status":
            return None
        originator_id = asked.asked_id or self._by_transaction.get(asked.receipt, "")
        found = self._all.get(originator_id)
        if found is not None:
            has_part = asked.shortcode in (found.request.shortcode, found.request.party)
            is_known = has_part and not found.is_forgotten and found.request.kind not in QUESTIONS
            return self._facts(found) if is_known else None
        moved = self._books.find(asked.receipt)
        if moved is None or account(asked.shortcode, "Utility") not in (moved.source, moved.target):
            return None
        return Facts(
            "Completed", moved.amount_cents, self._party(moved.source), self._party(moved.target),
            REASONS[moved.kind], moved.receipt, "", "", moved.at, moved.at,
        )  # fmt: skip

    def _facts(self, operation: Operation) -> Facts:
        request, code = operation.request, operation.code
        receiver = request.party
        if request.kind == "reversal":
            paid = self._books.find(request.receipt)
            receiver = paid.source if paid is not None else ""
        return Facts(
            "Initiated" if code is None else "Completed" if code == "0" else "Declined",
            request.amount_cents,
            self._party(request.shortcode),
            self._party(receiver),
            REASONS.get(request.kind, ""),
            operation.transaction_id or None,
            operation.originator_id,
            operation.conversation_id,
            operation.accepted_at,
            operation.ended_at,
            operation.charge_cents,
        )

    def _party(self, name: str) -> str:
        """ "254712345678 - WANJIKU", "174379 - SOKONI"."""
        if name.startswith("+"):
            person = self._books.subscriber(name, self._clock.now())
            return f"{name[1:]} - {person.first_name}"
        number = name.partition("/")[0]
        shortcode = self._books.shortcodes.get(number)
        return f"{number} - {shortcode.business}" if shortcode else number

    def _keep(self, operation: Operation) -> None:
        self._take_up(operation)
        if operation.request.kind not in QUESTIONS:
            self._journal.note(_record(operation))

    def _take_up(self, operation: Operation) -> None:
        self._all[operation.originator_id] = operation
        if operation.transaction_id not in ("", _ZEROS):
            self._by_transaction[operation.transaction_id] = operation.originator_id

    def _failure_id(self, operation: Operation) -> str:
        is_ordinary = operation.rules.failure_id == "ordinary"
        if is_ordinary and operation.request.kind not in QUESTIONS:
            return self._books.new_receipt()
        return _ZEROS

    def _new_originator_id(self) -> str:
        bits = self._chance.getrandbits
        return f"{bits(16):04x}-{bits(16):04x}-{bits(16):04x}-{bits(72):018x}"

    def _new_conversation_id(self, now: datetime) -> str:
        """AG_ + the day + 2010 + something of its own."""
        return f"AG_{now.astimezone(EAST_AFRICA):%Y%m%d}_2010{self._chance.getrandbits(64):016x}"


_ZEROS = "SH00000000"  # the TransactionID of what is no transaction


def _manner(rules: Rules) -> Manner:
    return Manner(
        rules.result_repeats,
        rules.result_together,
        rules.result_gap_seconds,
        rules.result_retries,
    )


def _charge_cents(amount_cents: int, rules: Rules) -> int:
    for upto, cost in rules.b2c_charges:
        if amount_cents <= upto * 100:
            return cost * 100
    return rules.b2c_charges[-1][1] * 100 if rules.b2c_charges else 0


def _with_party(facts: Facts, number: str) -> Facts:
    """The facts with another customer. Of the two parties, a customer is the one of 12 digits."""
    other = f"{number.removeprefix('+')} - NOBODY"
    if facts.debit_party[:12].isdigit():
        return replace(facts, debit_party=other)
    return replace(facts, credit_party=other)


def _record(operation: Operation) -> Record:
    request = {
        name: getattr(operation.request, name) for name in Request.__slots__ if name != "body"
    }
    return {
        "is": "operation",
        "originator_id": operation.originator_id,
        "conversation_id": operation.conversation_id,
        "request": request,
        "accepted_at": operation.accepted_at.isoformat(),
        "refusal": operation.refusal,
        "is_forgotten": operation.is_forgotten,
        "code": operation.code,
        "transaction_id": operation.transaction_id,
        "charge_cents": operation.charge_cents,
        "ended_at": operation.ended_at.isoformat() if operation.ended_at else None,
    }


def _read(record: dict[str, Any]) -> Operation:
    ended_at = record["ended_at"]
    return Operation(
        record["originator_id"],
        record["conversation_id"],
        Request(**record["request"]),
        DEFAULTS,
        datetime.fromisoformat(record["accepted_at"]),
        record["refusal"],
        record["is_forgotten"],
        record["code"],
        record["transaction_id"],
        record["charge_cents"],
        datetime.fromisoformat(ended_at) if ended_at else None,
    )
