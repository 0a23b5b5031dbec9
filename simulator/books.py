"""The books of the pretend M-Pesa: who holds how much, and every shilling that ever moved.

Amounts are integer cents. A customer's account is his msisdn; a shortcode has three, written
"174379/Working", "174379/Utility" and "174379/Charges". What a business owes M-Pesa for its
transactions stands below zero in its Charges, and as M-Pesa's own in "mpesa", until it is settled.
Money enters and leaves this world through the account "outside" only, so all other accounts
together always hold what came in by it.
"""

import random
import string
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Literal

from simulator import msisdn as numbers
from simulator.clock import EAST_AFRICA
from simulator.journal import Journal, Record

Network = Literal["safaricom", "airtel", "telkom", "equitel"]
# Africa's Talking's codes of the Kenyan operators.
NETWORK_CODES: dict[Network, str] = {
    "safaricom": "63902",
    "airtel": "63903",
    "telkom": "63907",
    "equitel": "63999",
}
FOREIGN_NETWORK_CODE = "99999"
ACCOUNT_KINDS = ("Working", "Utility", "Charges")
CHARGES = "/Charges"
OPENING_CENTS = 10_000_00
OPENING_PIN = "1234"
OUTSIDE = "outside"
MPESA = "mpesa"  # what businesses owe or have paid it for its services
PAID_IN = ("push", "c2b")  # the kinds of movements by which customers pay
CHARGE = "charge"
REVERSAL = "reversal"
RECEIPT_LETTERS = string.ascii_uppercase + string.digits
FIRST_NAMES = ("WANJIKU", "OTIENO", "AKINYI", "KIPROTICH", "MUTUA", "NJERI", "BARASA", "HALIMA")


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A person with a phone. pin_tries_wrong counts wrong M-Pesa PINs in a row."""

    msisdn: str
    pin: str = OPENING_PIN
    network: Network = "safaricom"
    pin_tries_wrong: int = 0

    @property
    def first_name(self) -> str:
        return FIRST_NAMES[int(self.msisdn[-4:]) % len(FIRST_NAMES)]


@dataclass(frozen=True, slots=True)
class Shortcode:
    """A paybill, with the till that belongs to it if any; without a passkey nobody can pay to it.

    pays_out: whether it can send money to customers.
    """

    number: str
    business: str
    passkey: str | None = field(repr=False)
    till: str | None = None
    pays_out: bool = False


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that went from one account to another. receipt is None for money from outside.

    A charge has the receipt of what it is charged for. reference: of a reversal, the receipt that
    was reversed.
    """

    receipt: str | None
    source: str
    target: str
    amount_cents: int
    kind: str
    reference: str
    at: datetime


class NoSuchAccount(Exception):
    """The number can hold no M-Pesa money."""


class Books:
    """Subscribers, shortcodes and movements. Every verb runs inside one `journal.change()`."""

    def __init__(
        self, shortcodes: tuple[Shortcode, ...], journal: Journal, chance: random.Random
    ) -> None:
        self.shortcodes = {shortcode.number: shortcode for shortcode in shortcodes}
        self._journal = journal
        self._chance = chance
        self._subscribers: dict[str, Subscriber] = {}
        self._balances: Counter[str] = Counter()
        self._movements: list[Movement] = []
        self._receipts: set[str] = set()
        self._by_receipt: dict[str, Movement] = {}
        self._reversed: set[str] = set()
        self._received: Counter[tuple[str, date]] = Counter()  # by customer and day in Nairobi

    def is_paybill(self, number: str) -> bool:
        """Whether customers can pay to that shortcode."""
        shortcode = self.shortcodes.get(number)
        return shortcode is not None and shortcode.passkey is not None

    def subscriber(self, msisdn: str, now: datetime) -> Subscriber:
        """The subscriber with that number; a Kenyan mobile exists from its first use.

        Raises NoSuchAccount: a number of another country.
        """
        known = self._subscribers.get(msisdn)
        if known is not None:
            return known
        if not numbers.may_hold_mpesa(msisdn):
            raise NoSuchAccount("no M-Pesa account can exist for this number")
        opened = self._keep(Subscriber(msisdn))
        self.inject(msisdn, OPENING_CENTS, "opening", now)
        return opened

    def change_subscriber(
        self,
        msisdn: str,
        now: datetime,
        *,
        pin: str | None = None,
        network: Network | None = None,
        pin_tries_wrong: int | None = None,
    ) -> Subscriber:
        """Set what is given; a new PIN also forgets the wrong tries."""
        subscriber = self.subscriber(msisdn, now)
        if pin is not None:
            subscriber = replace(subscriber, pin=pin, pin_tries_wrong=0)
        if network is not None:
            subscriber = replace(subscriber, network=network)
        if pin_tries_wrong is not None:
            subscriber = replace(subscriber, pin_tries_wrong=pin_tries_wrong)
        return self._keep(subscriber)

    def network_code(self, msisdn: str, now: datetime) -> str:
        """Africa's Talking's code of the phone's operator."""
        if not numbers.may_hold_mpesa(msisdn):
            return FOREIGN_NETWORK_CODE
        return NETWORK_CODES[self.subscriber(msisdn, now).network]

    def set_balance(self, msisdn: str, balance_cents: int, now: datetime) -> None:
        """Bring the subscriber's money to that amount; the difference comes from outside."""
        self.subscriber(msisdn, now)
        self.inject(msisdn, balance_cents - self._balances[msisdn], "set balance", now)

    def inject(self, account: str, amount_cents: int, reference: str, now: datetime) -> None:
        """Money from outside into an account; a negative amount leaves the world."""
        if amount_cents > 0:
            self._record(Movement(None, OUTSIDE, account, amount_cents, "injected", reference, now))
        elif amount_cents < 0:
            self._record(
                Movement(None, account, OUTSIDE, -amount_cents, "injected", reference, now)
            )

    def deposit(self, account: str, amount_cents: int, reference: str, now: datetime) -> bool:
        """Money from a bank, once for each reference; whether it came now."""
        known = any(
            each.source == OUTSIDE and (each.target, each.reference) == (account, reference)
            for each in self._movements
        )
        if not known:
            self.inject(account, amount_cents, reference, now)
        return not known

    def move(
        self,
        source: str,
        target: str,
        amount_cents: int,
        kind: str,
        reference: str,
        now: datetime,
        receipt: str | None = None,
    ) -> Movement:
        """Move money. The source must hold it: ask `balance_cents` first.

        receipt: one taken with `new_receipt` for this; None takes a new one.
        """
        assert amount_cents > 0, f"a movement of {amount_cents} cents"
        held = self._balances[source]
        assert held >= amount_cents, f"{amount_cents} cents asked of an account holding {held}"
        movement = Movement(
            receipt or self.new_receipt(), source, target, amount_cents, kind, reference, now
        )
        self._record(movement)
        return movement

    def charge(self, paid: Movement, shortcode: str, amount_cents: int) -> None:
        """Have a business owe M-Pesa for what it has just paid; nothing is taken from it yet."""
        self._record(
            Movement(
                paid.receipt, account(shortcode, "Charges"), MPESA, amount_cents, CHARGE,
                paid.reference, paid.at,
            )
        )  # fmt: skip

    def settle_charges(self, shortcode: str, now: datetime) -> int:
        """M-Pesa takes what it is owed out of Utility, as far as that reaches; the cents taken."""
        owed = -self._balances[account(shortcode, "Charges")]
        cents = min(owed, self._balances[account(shortcode, "Utility")])
        if cents > 0:
            self.move(
                account(shortcode, "Utility"), account(shortcode, "Charges"), cents,
                "charges settled", shortcode, now,
            )  # fmt: skip
        return cents

    def find(self, receipt: str) -> Movement | None:
        """What was moved under that receipt, charges apart."""
        return self._by_receipt.get(receipt)

    def is_reversed(self, receipt: str) -> bool:
        return receipt in self._reversed

    def received_cents(self, msisdn: str, now: datetime) -> int:
        """What the customer was sent on this day in Nairobi."""
        return self._received[msisdn, now.astimezone(EAST_AFRICA).date()]

    def new_receipt(self) -> str:
        """Ten capitals and digits, starting with a letter, never seen before."""
        while True:
            receipt = "S" + "".join(self._chance.choices(RECEIPT_LETTERS, k=9))
            if receipt not in self._receipts:
                self._receipts.add(receipt)
                return receipt

    def balance_cents(self, account: str) -> int:
        return self._balances[account]

    def statement(self) -> tuple[Movement, ...]:
        """Every movement, oldest first."""
        return tuple(self._movements)

    def audit(self) -> dict[str, int | bool]:
        """Totals in cents, and whether the balances are what the movements say.

        `injected` is counted from the movements alone, the others from the balances alone, so the
        two can disagree. `shortcodes` is what businesses hold, their debts apart; `mpesa` is what
        they have paid M-Pesa for its services, so that it and the two before make the total.
        """
        injected = 0
        folded: Counter[str] = Counter()
        for movement in self._movements:
            folded[movement.source] -= movement.amount_cents
            folded[movement.target] += movement.amount_cents
            if movement.source == OUTSIDE:
                injected += movement.amount_cents
            if movement.target == OUTSIDE:
                injected -= movement.amount_cents
        del folded[OUTSIDE]
        held = {account: cents for account, cents in self._balances.items() if account != OUTSIDE}
        charges = sum(cents for name, cents in held.items() if name.endswith(CHARGES))
        shortcodes = sum(cents for name, cents in held.items() if "/" in name) - charges
        mpesa = held.get(MPESA, 0) + charges
        total = sum(held.values())
        return {
            "customers": total - shortcodes - mpesa,
            "shortcodes": shortcodes,
            "mpesa": mpesa,
            "total": total,
            "injected": injected,
            "balanced": total == injected
            and all(folded[account] == cents for account, cents in held.items())
            and all(
                cents <= 0 if name.endswith(CHARGES) else cents >= 0 for name, cents in held.items()
            ),
        }

    def replay(self, record: Record) -> None:
        """Take up a record of an earlier run."""
        if record["is"] == "subscriber":
            values = {name: value for name, value in record.items() if name != "is"}
            self._subscribers[record["msisdn"]] = Subscriber(**values)
        else:
            assert record["is"] == "movement", f"a record of kind {record['is']}"
            self._take_up(
                Movement(
                    record["receipt"],
                    record["source"],
                    record["target"],
                    record["amount_cents"],
                    record["kind"],
                    record["reference"],
                    datetime.fromisoformat(record["at"]),
                )
            )

    def _keep(self, subscriber: Subscriber) -> Subscriber:
        if self._subscribers.get(subscriber.msisdn) != subscriber:
            self._subscribers[subscriber.msisdn] = subscriber
            self._journal.note({"is": "subscriber", **asdict(subscriber)})
        return subscriber

    def _record(self, movement: Movement) -> None:
        self._take_up(movement)
        self._journal.note({"is": "movement", **asdict(movement), "at": movement.at.isoformat()})

    def _take_up(self, movement: Movement) -> None:
        self._balances[movement.source] -= movement.amount_cents
        self._balances[movement.target] += movement.amount_cents
        self._movements.append(movement)
        if movement.receipt is None or movement.kind == CHARGE:
            return
        self._receipts.add(movement.receipt)
        self._by_receipt[movement.receipt] = movement
        if movement.kind == REVERSAL:
            self._reversed.add(movement.reference)
        if movement.target.startswith("+"):
            day = movement.at.astimezone(EAST_AFRICA).date()
            self._received[movement.target, day] += movement.amount_cents


def account(shortcode: str, kind: str) -> str:
    """The name of a shortcode's account."""
    assert kind in ACCOUNT_KINDS, f"a shortcode has no {kind} account"
    return f"{shortcode}/{kind}"
