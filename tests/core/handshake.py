"""A handshake: Amina and Juma, neighbours, and what they agree on without any catalogue."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from core import charges, checkouts, deals, deliveries, ledger, members, orders, outbox, settlements
from core.charges import ChargeResult, PushAnswer
from core.database import Db
from core.deals import Deal, Side
from core.members import Member
from core.orders import Order
from core.rules import Rules
from tests.core.market import RULES, person, run_timers

TOTAL_CENTS = 850_000
FEE_CENTS = 21_300  # 250 basis points, half-up to the shilling
NET_CENTS = TOTAL_CENTS - FEE_CENTS
DUE = date(2026, 11, 25)  # a Wednesday; the tests' now is Saturday the 21st, noon in Nairobi
AGREED: dict[str, Any] = {
    "title": "Samsung A12, used",
    "terms": "With charger. We meet at Toi Market.",
    "total_cents": TOTAL_CENTS,
    "due_on": DUE,
}


class Handshake:
    """opener is her side; the other's phone is Juma's."""

    def __init__(self, db: Db, now: datetime, *, rules: Rules = RULES) -> None:
        self.db, self.now, self.rules = db, now, rules
        self.amina = member(db, person(db, now, 41, "Amina Wanjiru"))
        self.juma = member(db, person(db, now, 42, "Juma Otieno"))

    def opened(self, side: Side = "buyer", **changes: Any) -> UUID:
        """Amina opens it with Juma; its id."""
        found = self.open(side, **changes)
        assert isinstance(found, UUID), found
        self.id = found
        return found

    def open(self, side: Side = "buyer", *, by: Member | None = None, **changes: Any) -> Any:
        given = {**AGREED, "msisdn": self.juma.msisdn, "proved": side == "seller", **changes}
        invited = given.pop("msisdn")
        opener = by or self.amina
        return deals.open(self.db, opener, side, invited, rules=self.rules, now=self.now, **given)

    def accept(self, by: Member | None = None, *, proved: bool = True) -> str:
        who = by or self.juma
        return deals.accept(self.db, self.id, who, proved=proved, rules=self.rules, now=self.now)

    def decline(self, by: Member | None = None) -> str:
        return deals.decline(self.db, self.id, by or self.juma, self.now)

    def withdraw(self, by: Member | None = None) -> str:
        return deals.withdraw(self.db, self.id, by or self.amina, self.now)

    def deal(self) -> Deal:
        found = deals.by_id(self.db, self.id)
        assert found is not None
        return found

    def order(self) -> Order:
        order_id = self.deal().order_id
        assert order_id is not None, "it is not agreed"
        found = orders.by_id(self.db, order_id)
        assert found is not None
        return found

    def pay(self) -> str:
        """Its buyer is prompted, if not yet, and types the M-Pesa PIN."""
        order = self.order()
        asked = charges.of_checkout(self.db, order.checkout_id)
        if not any(charge.state in charges.OPEN for charge in asked):
            buyer = members.by_id(self.db, order.buyer_id)
            assert buyer is not None
            again = checkouts.pay_again(
                self.db, order.checkout_id, buyer.id, buyer.msisdn, self.rules, self.now
            )
            assert again == "asked", again
        (*_, charge) = charges.of_checkout(self.db, order.checkout_id)
        if charges.claim_for_push(self.db, charge.id, self.rules, self.now) is not None:
            answer = PushAnswer("accepted", f"ws_{charge.id}", f"group_{charge.id}", "0")
            charges.record_push(self.db, charge.id, answer, self.now)
        result = ChargeResult(
            "callback", "paid", "0", charge.amount_cents, f"R{charge.reference}", charge.msisdn
        )
        return settlements.settle(self.db, charge.id, result, self.now)

    def code(self) -> str:
        found = deliveries.code_of(self.db, self.order().id, self.rules)
        assert found is not None
        return found

    def enter(self) -> str:
        order = self.order()
        return deliveries.enter_code(
            self.db, order.id, order.seller_id, self.code(), self.rules, self.now
        )

    def dispatch(self) -> str:
        order = self.order()
        return deliveries.dispatch(self.db, order.id, order.seller_id, self.now)

    def purses(self) -> tuple[int, int, int, int]:
        """Escrow, buyer, seller and fee, in cents."""
        order = self.order()
        accounts = (ledger.escrow(order.id), ledger.buyer(order.buyer_id))
        return (
            *(ledger.balance(self.db, account) for account in accounts),
            ledger.balance(self.db, ledger.seller(order.seller_id)),
            ledger.balance(self.db, ledger.FEES),
        )

    def told(self, who: Member, trigger: str | None = None) -> list[str]:
        """What this phone was told, as triggers; or the texts of one trigger."""
        texts = self.db.value(
            """
            SELECT json_agg(json_build_array(trigger, text) ORDER BY created_at, trigger)
            FROM messages WHERE msisdn = %(msisdn)s
            """,
            {"msisdn": who.msisdn},
        )
        return [
            name if trigger is None else text
            for name, text in texts or []
            if trigger in (None, name)
        ]

    def wait(self, until: datetime) -> None:
        """The worker does all that falls due, each at its time."""
        while (due_at := outbox.next_due(self.db)) is not None and due_at <= until:
            self.now = max(self.now, due_at)
            run_timers(self.db, self.now)
        self.now = until


def member(db: Db, member_id: UUID) -> Member:
    found = members.by_id(db, member_id)
    assert found is not None
    return found
