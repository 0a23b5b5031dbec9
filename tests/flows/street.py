"""What happens on the street while a member dials: others buy, prices change, money comes in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from core import (
    carts,
    cases,
    catalogue,
    charges,
    checkouts,
    days,
    deals,
    deliveries,
    disputes,
    earnings,
    escrow,
    evidence,
    freezes,
    ledger,
    members,
    number_changes,
    order_book,
    outbox,
    pin_resets,
    pins,
    places,
    settlements,
    shortages,
    staff,
    trips,
    verdicts,
    wallet,
)
from core.charges import ChargeResult, PushAnswer
from core.database import Db
from core.deals import Deal, Side
from core.members import Member
from core.money import CENTS
from core.rules import Rules
from core.staff import Actor, Role
from flows import conversations
from tests.flows.handset import Clock

PIN = "2580"
SECOND_PIN = "7391"  # of the second person on a shared phone
PHONE = "+254711000001"
NEIGHBOUR = "+254722000099"
FRIEND = "+254722000055"  # no member, and pays for others
MOTHER = "+254722000077"  # nor is she, and others buy for her
CHAT = "8589934592"  # on Telegram, somebody's
SHOP = "+254700000001"  # of Wanjiku Fresh, a seller of the demo market


@dataclass(frozen=True)
class Bargain:
    """An order, by whoever looks at it."""

    id: UUID
    number: int
    state: str
    buyer_id: UUID
    seller_id: UUID


@dataclass
class Street:
    """Everything around one phone: the market's database, the hour, the number that dials."""

    db: Db
    clock: Clock
    rules: Rules
    msisdn: str = PHONE

    @property
    def owner(self) -> UUID:
        """Of the phone that dials."""
        found = members.by_msisdn(self.db, self.msisdn)
        if found is None:
            found, _second = members.sharing(self.db, self.msisdn)
        return found.id

    @property
    def neighbour(self) -> "Street":
        """Another member, who buys too."""
        neighbour = Street(self.db, self.clock, self.rules, NEIGHBOUR)
        neighbour.register("Neighbour")
        return neighbour

    @property
    def friend(self) -> "Street":
        """Somebody who pays for others."""
        return Street(self.db, self.clock, self.rules, FRIEND)

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

    def share_phone(self, name: str = "Juma") -> None:
        """A second person joins on the phone; its owner, if there was none, before."""
        owner = members.by_msisdn(self.db, self.msisdn)
        joined = members.share(
            self.db,
            owner.id if owner else self.register(),
            name=name,
            language=owner.language if owner else "en",
            consent_version="test",
            consent_wording="I agree.",
            pin=SECOND_PIN,
            rules=self.rules,
            now=self.clock(),
        )
        assert joined == "joined", joined
        pins.check(self.db, self.owner, PIN, self.rules, self.clock())

    def fail_both_pins(self, times: int) -> None:
        for _ in range(times):
            pins.whose(self.db, self.msisdn, "9753", self.rules, self.clock())

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
        members.make_seller(self.db, new_seller, self.clock())
        self.db.run(
            "UPDATE offers SET seller_id = %(new)s WHERE id = %(id)s",
            {"new": new_seller, "id": self.offer(product, seller)},
        )

    def put_in_basket(self, quantity: float, product: str, seller: str) -> None:
        self.add(self.offer(product, seller), round(quantity * 1000))

    def add(self, offer_id: UUID, quantity_milli: int) -> None:
        added = carts.add(self.db, self.owner, offer_id, quantity_milli, None, self.clock())
        assert added == "added", f"{quantity_milli} of {offer_id}: {added}"

    def neighbour_buys(self, quantity: float, product: str, seller: str) -> None:
        """Somebody else takes these, and pays."""
        self.neighbour_takes(self.offer(product, seller), round(quantity * 1000))

    def neighbour_takes(self, offer_id: UUID, quantity_milli: int) -> None:
        neighbour = self.neighbour
        neighbour.add(offer_id, quantity_milli)
        neighbour.place()
        neighbour.pay()

    def place(self, payer: str = "") -> UUID:
        """The buyer's basket is confirmed; its checkout."""
        cart = carts.read(self.db, self.owner, "en")
        placed = checkouts.place(
            self.db,
            self.owner,
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
        kept = carts.read(self.db, self.owner, "en").lines
        carts.empty(self.db, self.owner, self.clock())
        yield
        for line in kept:
            carts.add(self.db, self.owner, line.offer_id, line.quantity_milli, None, self.clock())

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
            settled = settlements.settle(self.db, charge_id, result, self.clock())
            assert settled in {"paid", "part", "late"}, settled

    def ask_next_parts(self) -> None:
        """The worker asks for the next part of what is paid in several."""
        self.clock.wait(minutes=2)
        for item in outbox.take_due(self.db, self.clock(), 100):
            if item.kind == "next_part":
                charge_id = UUID(item.arguments["charge_id"])
                checkouts.ask_next(self.db, charge_id, self.rules, self.clock())

    def pay_what_waits(self) -> None:
        """She was asked again for what she had not paid, and pays it."""
        for order in order_book.unpaid(self.db, self.owner):
            asked = checkouts.pay_again(
                self.db, order.checkout_id, self.owner, self.msisdn, self.rules, self.clock()
            )
            assert asked == "asked", asked
            self.pay()

    def decline(self) -> None:
        """She presses Cancel on the prompt."""
        for charge_id in self.open_charges():
            result = ChargeResult("callback", "failed", "1032")
            assert settlements.settle(self.db, charge_id, result, self.clock()) == "failed"

    def run_out(self) -> None:
        """The time to pay is over, and the worker has seen it."""
        self.clock.wait(minutes=self.rules.reservation_minutes + 1)
        for item in outbox.take_due(self.db, self.clock(), 100):
            if item.kind == "expire_checkout":
                checkouts.expire(self.db, UUID(item.arguments["checkout_id"]), self.clock())

    def cancel(self) -> None:
        """She cancels what is unpaid, elsewhere."""
        for order in order_book.unpaid(self.db, self.owner):
            checkouts.cancel(self.db, order.checkout_id, self.owner, self.clock())

    def link_chat(self) -> None:
        """A chat on Telegram speaks for her phone."""
        conversations.prove(self.db, "telegram", CHAT, self.msisdn, self.clock())

    def fail_pin(self, times: int) -> None:
        for _ in range(times):
            pins.check(self.db, self.owner, "9753", self.rules, self.clock())

    def bought(self, *states: str) -> list[Bargain]:
        """What the phone's owner ordered and stands so, the newest last."""
        return self._bargains("buyer_id", states)

    def sold(self, *states: str) -> list[Bargain]:
        """The same of what was ordered from her."""
        return self._bargains("seller_id", states)

    def under_way(self) -> list[Bargain]:
        """Every order, whoever's, that is paid and not yet at its end."""
        states = {"paid", "accepted", "dispatched", "delivered", "disputed"}
        return [bargain for bargain in self.db.rows(Bargain, _BARGAINS) if bargain.state in states]

    def _bargains(self, side: str, states: tuple[str, ...]) -> list[Bargain]:
        return [
            bargain
            for bargain in self.db.rows(Bargain, _BARGAINS)
            if getattr(bargain, side) == self.owner and bargain.state in states
        ]

    def accept(self, bargain: Bargain) -> None:
        accepted = deliveries.accept(self.db, bargain.id, bargain.seller_id, self.clock())
        assert accepted == "accepted", accepted

    def dispatch(self, bargain: Bargain) -> None:
        if bargain.state == "paid":
            self.accept(bargain)
        sent = deliveries.dispatch(self.db, bargain.id, bargain.seller_id, self.clock())
        assert sent == "dispatched", sent

    def claim(self, bargain: Bargain) -> None:
        if bargain.state != "dispatched":
            self.dispatch(bargain)
        claimed = deliveries.claim(self.db, bargain.id, bargain.seller_id, self.clock())
        assert claimed == "claimed", claimed

    def type_code(self, bargain: Bargain) -> None:
        """The seller types what the buyer told him."""
        entered = deliveries.enter_code(
            self.db, bargain.id, bargain.seller_id, self.code(bargain), self.rules, self.clock()
        )
        assert entered == "released", entered

    def refuse(self, bargain: Bargain) -> None:
        refused = deliveries.refuse(self.db, bargain.id, bargain.seller_id, self.clock())
        assert refused == "refused", refused

    def call_off(self, bargain: Bargain) -> None:
        """Its buyer does not want it any more."""
        off = deliveries.cancel(self.db, bargain.id, bargain.buyer_id, self.clock())
        assert off == "cancelled", off

    def confirm(self, bargain: Bargain) -> None:
        """Its buyer says, on her phone, that she has the goods."""
        confirmed = deliveries.received(self.db, bargain.id, bargain.buyer_id, self.clock())
        assert confirmed == "released", confirmed

    def offer_less(self, bargain: Bargain, units: float = 1) -> None:
        """Its seller can send only so many of its first line; the others are gone."""
        first, *_ = trips.of_order(self.db, bargain.id)
        offered = shortages.offer_less(
            *(self.db, bargain.id, bargain.seller_id, first.id, round(units * 1000)),
            *(False, self.clock()),
        )
        assert offered == "asked", offered

    def say_less_came(self, bargain: Bargain, units: float = 1) -> None:
        """Its buyer says that so many came of its first line."""
        if bargain.state in {"paid", "accepted"}:
            self.dispatch(bargain)
        first, *_ = trips.of_order(self.db, bargain.id)
        milli = round(units * 1000)
        asked = shortages.say_less_came(
            self.db, bargain.id, bargain.buyer_id, first.id, milli, self.clock()
        )
        assert asked == "asked", asked

    def agree_to_less(self, bargain: Bargain) -> None:
        """Whoever is to answer agrees."""
        outcomes = {
            shortages.agree(self.db, bargain.id, member, self.clock())
            for member in (bargain.buyer_id, bargain.seller_id)
        }
        assert outcomes == {"agreed", "not_open"}, outcomes

    def take_less_back(self, bargain: Bargain) -> None:
        """Whoever said that there is less says so no more."""
        outcomes = {
            shortages.take_back(self.db, bargain.id, member, self.clock())
            for member in (bargain.buyer_id, bargain.seller_id)
        }
        assert outcomes == {"taken_back", "not_open"}, outcomes

    def object_to_less(self, bargain: Bargain) -> None:
        """Its seller says that nothing was missing."""
        declined = shortages.decline(self.db, bargain.id, bargain.seller_id, self.clock())
        assert declined == "declined", declined

    def send_part(self, bargain: Bargain, units: float = 1) -> None:
        """Its seller sends so many of its first line."""
        if bargain.state == "paid":
            self.accept(bargain)
        first, *_ = trips.of_order(self.db, bargain.id)
        load = {first.id: round(units * 1000)}
        sent = deliveries.dispatch_part(self.db, bargain.id, bargain.seller_id, load, self.clock())
        assert sent == "dispatched", sent

    def renew_code(self, bargain: Bargain) -> None:
        renewed = deliveries.new_code(self.db, bargain.id, bargain.buyer_id, self.clock())
        assert renewed == "renewed", renewed

    def complain(self, bargain: Bargain) -> None:
        """Its buyer says that the goods are rotten."""
        if bargain.state in {"paid", "accepted"}:
            self.dispatch(bargain)
        opened = disputes.open(self.db, bargain.id, bargain.buyer_id, "rotten", None, self.clock())
        assert opened == "opened", opened

    def say_more(self, bargain: Bargain, words: str) -> None:
        """Its buyer adds this to what she complains of."""
        dispute = disputes.of_order(self.db, bargain.id)
        assert dispute is not None, "nobody complains of it"
        said = evidence.say(self.db, dispute.id, bargain.buyer_id, words, self.clock())
        assert said == "kept", said

    def answer_complaint(self, bargain: Bargain, words: str = "They were fresh.") -> None:
        """Its seller tells his side."""
        told = disputes.answer(self.db, bargain.id, bargain.seller_id, words, self.clock())
        assert told in ("answered", "added"), told

    def take_back(self, bargain: Bargain) -> None:
        """Its buyer complains no more."""
        back = disputes.withdraw(self.db, bargain.id, bargain.buyer_id, self.clock())
        assert back == "withdrawn", back

    def decide(self, bargain: Bargain, buyer_shillings: int = 100) -> None:
        """Staff hear the seller, and give the buyer so much of it."""
        self.answer_complaint(bargain)
        dispute = disputes.of_order(self.db, bargain.id)
        assert dispute is not None, "nobody complains of it"
        buyer_cents = buyer_shillings * CENTS
        seller_cents = escrow.frozen_cents(self.db, bargain.id) - buyer_cents
        decided = verdicts.decide(
            *(self.db, dispute.id, self.judge, buyer_cents, seller_cents),
            *("Half of it was rotten.", self.rules, self.clock()),
        )
        assert decided == "decided", decided

    @property
    def judge(self) -> Actor:
        """One of ours."""
        roles: list[Role] = ["admin", "operator"]
        if staff.find(self.db, "judge") is None:
            staff.add(self.db, "judge", roles, None, None, "tests", self.clock())
        found = staff.find(self.db, "judge")
        assert found is not None, "who was just hired is not there"
        return Actor(found, "tests")

    @property
    def second(self) -> Actor:
        """Another of ours, who approves."""
        staff.add(self.db, "second", ["approver"], None, self.judge, "tests", self.clock())
        found = staff.find(self.db, "second")
        assert found is not None, "who was just hired is not there"
        return Actor(found, "tests")

    @property
    def member(self) -> Member:
        """Whose phone it is, with all that is known of her."""
        found = members.by_id(self.db, self.owner)
        assert found is not None, "the owner of the phone is not there"
        return found

    def propose(
        self, side: Side, msisdn: str, title: str = "Bicycle, used", shillings: int = 4_500
    ) -> UUID:
        """The phone's owner opens a deal with whoever has that number; the one there is, again."""
        opened = deals.open(
            self.db,
            self.member,
            side,
            msisdn,
            title=title,
            terms="As seen, with its lock.",
            total_cents=shillings * CENTS,
            due_on=days.coming(self.clock(), 4)[-1],
            proved=True,
            rules=self.rules,
            now=self.clock(),
        )
        assert isinstance(opened, UUID), opened
        return opened

    def is_invited(self, side: Side = "seller", title: str = "Bicycle, used", **more: int) -> UUID:
        """A neighbour opens one with her, as its buyer or its seller."""
        return self.neighbour.propose(side, self.msisdn, title, **more)

    def open_deals(self) -> list[Deal]:
        """Between anybody."""
        ids = self.db.value("SELECT array_agg(id ORDER BY number) FROM deals WHERE state = 'open'")
        found = [deals.by_id(self.db, deal_id) for deal_id in ids or []]
        return [deal for deal in found if deal is not None]

    def agree(self) -> None:
        """Whoever is invited accepts each of them."""
        for deal in self.open_deals():
            phone = Street(self.db, self.clock, self.rules, deal.invited_msisdn)
            done = deals.accept(
                self.db, deal.id, phone.member, proved=True, rules=self.rules, now=self.clock()
            )
            assert done in ("asked", "agreed"), done

    def decline_deals(self) -> None:
        for deal in self.open_deals():
            phone = Street(self.db, self.clock, self.rules, deal.invited_msisdn)
            assert deals.decline(self.db, deal.id, phone.member, self.clock()) == "declined"

    def take_back_deals(self) -> None:
        """Whoever opened them does not want them any more."""
        for deal in self.open_deals():
            opener = members.by_id(self.db, deal.opener_id)
            assert opener is not None
            assert deals.withdraw(self.db, deal.id, opener, self.clock()) == "withdrawn"

    def earn(self, shillings: int = 3_000) -> None:
        """A sale is over, and its money hers."""
        self._book("release", ledger.C2B, ledger.seller(self.owner), shillings)

    def lose(self, shillings: int = 1_000) -> None:
        """Of other people's money so much is missing."""
        self._book("test", ledger.LOSS, ledger.C2B, shillings)

    def take_out(self, shillings: int) -> None:
        done = wallet.withdraw(self.db, self.owner, shillings * CENTS, self.rules, self.clock())
        assert done in ("soon", "cooling", "looked_at"), done

    def come_here(self) -> None:
        """She had another number until now: two of ours gave her account this one."""
        judge, now, member_id = self.judge, self.clock(), self.owner
        for msisdn in (f"+2541{self.msisdn[5:]}", self.msisdn):
            said = "She has her identity card with her."
            done = number_changes.propose(self.db, member_id, msisdn, said, judge, now)
            assert done == "proposed", done
            done = number_changes.approve(self.db, member_id, self.second, now)
            assert done == "approved", done
            (change,) = number_changes.unfinished(self.db)
            assert number_changes.carry_out(self.db, change.id, self.rules, now) == "done"

    def may_reset_pin(self) -> None:
        """She forgot her PIN, and two of ours let her choose another."""
        said, now = "She told us her last three orders.", self.clock()
        assert pin_resets.propose(self.db, self.owner, said, self.judge, now) == "proposed"
        done = pin_resets.approve(self.db, self.owner, self.second, self.rules, now)
        assert done == "approved", done

    def may_not_reset_pin(self) -> None:
        """It was somebody else who asked for it."""
        said = "She did not ask for it herself."
        done = pin_resets.decline(self.db, self.owner, said, self.judge, self.clock())
        assert done == "taken_back", done

    def ask_for_statement(self) -> None:
        said = wallet.statement(self.db, self.owner, self.clock())
        assert wallet.send_statement(self.db, self.owner, said, "", self.clock()) == "sent"

    def _book(
        self, kind: str, debit: ledger.Account, credit: ledger.Account, shillings: int
    ) -> None:
        legs = [ledger.debit(debit, shillings * CENTS), ledger.credit(credit, shillings * CENTS)]
        ledger.post(self.db, kind, f"test:{self.db.new_id()}", legs, self.clock())

    def freeze(self) -> None:
        """Staff were told that the phone is lost."""
        freezes.freeze(self.db, self.owner, "lost phone", "judge", self.clock())

    def keep_earnings(self) -> None:
        """What the phone's owner sells stays here until asked for."""
        earnings.choose(self.db, self.owner, False, self.clock())

    def call_me(self) -> None:
        """The phone's owner asks to be called."""
        assert cases.open(self.db, self.owner, "order", [], self.clock()) == "opened"

    def called_back(self) -> None:
        """Somebody of ours has called her."""
        self.db.run(
            "UPDATE cases SET state = 'closed', closed_at = %(now)s WHERE member_id = %(id)s",
            {"now": self.clock(), "id": self.owner},
        )

    def code(self, bargain: Bargain, generations_ago: int = 0) -> str:
        newest: int = self.db.value(
            "SELECT generation FROM deliveries WHERE order_id = %(id)s", {"id": bargain.id}
        )
        return deliveries.code(self.rules, bargain.id, newest - generations_ago)

    def wrong_code(self, bargain: Bargain) -> str:
        return f"{(int(self.code(bargain)) + 1) % 10_000:04}"

    def fail_code(self, bargain: Bargain, times: int) -> None:
        for _ in range(times):
            deliveries.enter_code(
                self.db,
                bargain.id,
                bargain.seller_id,
                self.wrong_code(bargain),
                self.rules,
                self.clock(),
            )


_BARGAINS = "SELECT id, number, state, buyer_id, seller_id FROM orders ORDER BY number"
