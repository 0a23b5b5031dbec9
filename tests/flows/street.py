"""What happens on the street while a member dials: others buy, prices change, money comes in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from core import catalogue, charges, checkouts, members, outbox, pins, places
from core.charges import ChargeResult, PushAnswer
from core.database import Db
from core.rules import Rules
from tests.flows.handset import Clock

PIN = "2580"
PHONE = "+254711000001"
NEIGHBOUR = "+254722000099"


@dataclass
class Street:
    """Everything around one phone: the market's database, the hour, the number that dials."""

    db: Db
    clock: Clock
    rules: Rules
    msisdn: str = PHONE

    @property
    def buyer(self) -> UUID:
        found = members.by_msisdn(self.db, self.msisdn)
        assert found is not None, "the phone's owner is no member"
        return found.id

    def register(self, name: str = "Amina", language: str = "en", msisdn: str = "") -> UUID:
        (place,) = places.find(self.db, "Toi Market", 1)
        members.register(
            self.db,
            msisdn=msisdn or self.msisdn,
            name=name,
            place_id=place.id,
            language=language,
            consent_version="test",
            consent_wording="I agree.",
            pin=PIN,
            rules=self.rules,
            now=self.clock(),
        )
        found = members.by_msisdn(self.db, msisdn or self.msisdn)
        assert found is not None, "a member just registered is not there"
        return found.id

    def offer(self, product: str, seller: str) -> UUID:
        """product: its English name, or how that begins. seller: the shop's name."""
        found: UUID | None = self.db.value(
            """
            SELECT o.id FROM offers o
            JOIN products p ON p.id = o.product_id JOIN members m ON m.id = o.seller_id
            WHERE p.names->>'en' ILIKE %(product)s || '%%' AND m.name = %(seller)s
            ORDER BY p.names->>'en' LIMIT 1
            """,
            {"product": product, "seller": seller},
        )
        assert found is not None, f"{seller} sells no {product}"
        return found

    def offers_of(self, product: str) -> list[UUID]:
        found: list[UUID] = self.db.value(
            """
            SELECT array_agg(o.id) FROM offers o JOIN products p ON p.id = o.product_id
            WHERE p.names->>'en' ILIKE %(product)s || '%%'
            """,
            {"product": product},
        )
        return found

    def set_price(self, product: str, seller: str, shillings: int) -> None:
        catalogue.set_price(self.db, self.offer(product, seller), shillings * 100, self.clock())

    def withdraw(self, product: str) -> None:
        for offer_id in self.offers_of(product):
            catalogue.withdraw(self.db, offer_id, self.clock())

    def withdraw_all(self) -> None:
        self.db.run("UPDATE offers SET active = false")

    def sell_by(self, product: str, seller: str, new_seller: UUID) -> None:
        """The shop changes hands."""
        self.db.run(
            "UPDATE offers SET seller_id = %(new)s WHERE id = %(id)s",
            {"new": new_seller, "id": self.offer(product, seller)},
        )

    def put_in_basket(self, quantity: float, product: str, seller: str) -> None:
        self.add(self.offer(product, seller), round(quantity * 1000))

    def add(self, offer_id: UUID, quantity_milli: int) -> None:
        added = checkouts.add(self.db, self.buyer, offer_id, quantity_milli, None, self.clock())
        assert added == "added", f"{quantity_milli} of {offer_id}: {added}"

    def neighbour_buys(self, quantity: float, product: str, seller: str) -> None:
        """Somebody else takes these, and pays."""
        self.neighbour_takes(self.offer(product, seller), round(quantity * 1000))

    def neighbour_takes(self, offer_id: UUID, quantity_milli: int) -> None:
        neighbour = Street(self.db, self.clock, self.rules, NEIGHBOUR)
        neighbour.register("Neighbour")
        neighbour.add(offer_id, quantity_milli)
        neighbour.place()
        neighbour.pay()

    def place(self, payer: str = "") -> UUID:
        """The buyer's basket is confirmed; its checkout."""
        cart = checkouts.cart(self.db, self.buyer, "en", self.clock())
        placed = checkouts.place(
            self.db,
            self.buyer,
            payer or self.msisdn,
            cart.total_cents,
            self.rules,
            self.clock(),
        )
        assert placed == "placed", placed
        assert cart.checkout_id is not None
        return cart.checkout_id

    def place_unpaid(self, quantity: float, product: str, seller: str) -> None:
        """A basket was confirmed, the prompt came, and she did not answer it."""
        with self.basket_put_aside():
            self.put_in_basket(quantity, product, seller)
            self.place()
            self.prompt()
            self.decline()
            self.clock.wait(minutes=3)

    @contextmanager
    def basket_put_aside(self) -> Iterator[None]:
        """What is in her basket now is not part of what happens inside."""
        kept = checkouts.cart(self.db, self.buyer, "en", self.clock()).lines
        checkouts.empty(self.db, self.buyer, self.clock())
        yield
        for line in kept:
            checkouts.add(
                self.db, self.buyer, line.offer_id, line.quantity_milli, None, self.clock()
            )

    def open_charges(self) -> list[UUID]:
        found: list[UUID] | None = self.db.value(
            """
            SELECT array_agg(id ORDER BY id) FROM charges
            WHERE msisdn = %(msisdn)s AND state IN ('created', 'pending', 'unknown')
            """,
            {"msisdn": self.msisdn},
        )
        return found or []

    def prompt(self) -> None:
        """The prompt for the open charge appears on her phone."""
        for charge_id in self.open_charges():
            claimed = charges.claim_for_push(self.db, charge_id, self.rules, self.clock())
            if claimed is not None:
                answer = PushAnswer("accepted", f"ws_{charge_id}", f"group_{charge_id}", "0")
                charges.record_push(self.db, charge_id, answer, self.clock())

    def pay(self) -> None:
        """She types her M-Pesa PIN."""
        self.prompt()
        for charge_id in self.open_charges():
            charge = charges.by_id(self.db, charge_id)
            assert charge is not None
            result = ChargeResult(
                "callback", "paid", "0", charge.amount_cents, f"R{charge.reference}", charge.msisdn
            )
            settled = charges.settle(self.db, charge_id, result, self.clock())
            assert settled in {"paid", "late"}, settled

    def decline(self) -> None:
        """She presses Cancel on the prompt."""
        for charge_id in self.open_charges():
            result = ChargeResult("callback", "failed", "1032")
            assert charges.settle(self.db, charge_id, result, self.clock()) == "failed"

    def run_out(self) -> None:
        """The time to pay is over, and the worker has seen it."""
        self.clock.wait(minutes=self.rules.reservation_minutes + 1)
        for item in outbox.take_due(self.db, self.clock(), 100):
            if item.kind == "expire_checkout":
                checkouts.expire(self.db, UUID(item.arguments["checkout_id"]), self.clock())

    def cancel(self) -> None:
        """She cancels what is unpaid, elsewhere."""
        for order in checkouts.unpaid(self.db, self.buyer):
            checkouts.cancel(self.db, order.checkout_id, self.buyer, self.clock())

    def fail_pin(self, times: int) -> None:
        for _ in range(times):
            pins.check(self.db, self.buyer, "9753", self.rules, self.clock())
