"""Acts: what buyers, sellers, operators and M-Pesa do of their own will. A new one is a function.

An act looks at the town and says what somebody does now, as a Deed; None: there is nothing to do.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from core import (
    carts,
    checkouts,
    days,
    deals,
    deliveries,
    disputes,
    earnings,
    ledger,
    members,
    opt_outs,
    payouts,
    shortages,
    stock,
    trips,
    withdrawals,
)
from core.database import Db
from core.orders import Receiver
from simulator.books import PAID_IN
from simulator.c2b import NotPaid
from simulator.handset import NoSuchSession, SessionClosed
from simulator.mpesa import PromptGone
from simulator.operations import NotReversible
from simulator.world import SANDBOX_SHORTCODE
from tests.simulation.town import PIN, Person, Town

WHY = "The photos show it clearly."
DIAL = "*384*7042#"


@dataclass(frozen=True)
class Deed:
    """who does what. moves: the outcomes by which money may move; None: it may by any."""

    who: str
    what: str
    do: Callable[[], str]
    moves: frozenset[str] | None = None


Act = Callable[[Town, random.Random], Deed | None]
ACTS: Final[dict[str, tuple[int, Act]]] = {}  # by name: how often, and the act


def act(weight: int) -> Callable[[Act], Act]:
    """weight: how often it is chosen, beside the others."""

    def register(made: Act) -> Act:
        ACTS[made.__name__] = weight, made
        return made

    return register


@dataclass(frozen=True)
class _Order:
    id: UUID
    number: int
    checkout_id: UUID
    buyer_id: UUID
    seller_id: UUID
    state: str
    total_cents: int


def doing(
    town: Town,
    who: str,
    what: str,
    verb: Callable[[Db, datetime], object],
    *moves: str,
) -> Deed:
    """A verb of the core's in a transaction of its own. moves: see Deed; none: it moves nothing."""

    def do() -> str:
        with town.database.begin() as db:
            return _said(verb(db, town.now))

    return Deed(who, what, do, frozenset(moves))


def _said(outcome: object) -> str:
    return outcome if isinstance(outcome, str) else "asked" if outcome else "nothing"


def orders_in(town: Town, *states: str) -> list[_Order]:
    with town.database.look() as db:
        return db.rows(
            _Order,
            """
            SELECT id, number, checkout_id, buyer_id, seller_id, state, total_cents FROM orders
            WHERE state = ANY(%(states)s) ORDER BY number
            """,
            {"states": list(states)},
        )


def somebody(town: Town, dice: random.Random) -> Person:
    """Mostly one whose money waits to be sent, if there is one."""
    with town.database.look() as db:
        ids: list[UUID] = db.value(
            """
            SELECT coalesce(array_agg(DISTINCT member_id), '{}') FROM payouts
            WHERE state IN ('requested', 'approved')
            """
        )
    waiting = [each for each in town.people if each.id in ids]
    return dice.choice(waiting if waiting and dice.random() < 0.7 else town.people)


def _name(town: Town, member_id: UUID) -> str:
    return next(each.name for each in town.people if each.id == member_id)


# --- buyers ---------------------------------------------------------------------------------


@act(9)
def buys(town: Town, dice: random.Random) -> Deed | None:
    with town.database.look() as db:
        asked: list[str] = db.value(
            """
            SELECT coalesce(array_agg(msisdn), '{}') FROM charges
            WHERE state IN ('created', 'pending', 'unknown')
            """
        )
    free = [each for each in town.shoppers if each.msisdn not in asked]
    if dice.random() < 0.1:
        free = town.shoppers
    return buying(town, dice, dice.choice(free)) if free else None


def buying(town: Town, dice: random.Random, buyer: Person) -> Deed:
    """A basket and its order."""
    tomatoes, beans = dice.randint(1, 4), dice.randint(0, 5)
    phone = buyer.msisdn if dice.random() < 0.8 else dice.choice(town.shoppers).msisdn
    wanted = [(town.market.tomatoes, tomatoes * 1000), (town.market.beans, beans * 500)]
    deed = basket(town, buyer, phone, wanted)
    return replace(deed, what=f"buys {tomatoes} tomatoes, {beans} halves of beans")


@act(3)
def has_another_pay(town: Town, dice: random.Random) -> Deed | None:
    """A phone that is no member's; the goods are hers, or her mother's, who gets the code."""
    if not town.shoppers:
        return None
    buyer, tomatoes, beans = dice.choice(town.shoppers), dice.randint(1, 3), dice.randint(0, 4)
    receiver = dice.choice([None, town.mother])
    wanted = [(town.market.tomatoes, tomatoes * 1000), (town.market.beans, beans * 500)]
    deed = basket(town, buyer, town.sister, wanted, receiver)
    for_whom = " for her mother" if receiver else ""
    return replace(deed, what=f"has a sister buy {tomatoes} tomatoes{for_whom}")


@act(3)
def buys_much(town: Town, dice: random.Random) -> Deed | None:
    """More than M-Pesa moves at once, mostly."""
    if not town.shoppers:
        return None
    buyer, mills, beans = dice.choice(town.shoppers), dice.choice([1, 3, 3, 4]), dice.randint(0, 2)
    phone = dice.choice([buyer.msisdn, buyer.msisdn, town.sister])
    deed = basket(
        town, buyer, phone, [(town.mills, mills * 1000), (town.market.beans, beans * 500)]
    )
    return replace(deed, what=f"buys {mills} mills")


@act(2)
def wants_no_requests(town: Town, dice: random.Random) -> Deed:
    """Whoever pays for others has enough of it, or not any more."""
    allows = dice.random() < 0.6

    def verb(db: Db, now: datetime) -> object:
        if allows:
            opt_outs.start(db, town.sister)
        else:
            opt_outs.refuse(db, town.sister, now)
        return "said"

    return doing(town, "a sister", "may be asked" if allows else "wants not to be asked", verb)


def basket(
    town: Town,
    buyer: Person,
    phone: str,
    wanted: Sequence[tuple[UUID, int]],
    receiver: Receiver | None = None,
) -> Deed:
    """wanted: offers and thousandths of a unit, of some none. phone: that is to pay."""

    def do() -> str:
        for offer_id, quantity_milli in (each for each in wanted if each[1]):
            with town.database.begin() as db:
                carts.add(db, buyer.id, offer_id, quantity_milli, None, town.now)
        with town.database.begin() as db:
            total = carts.read(db, buyer.id, "en").total_cents
            return checkouts.place(
                db, buyer.id, phone, total, town.rules, town.now, receiver=receiver
            )

    return Deed(buyer.name, "buys", do, frozenset())


@act(2)
def pays_again(town: Town, dice: random.Random) -> Deed | None:
    if not (found := orders_in(town, "placed")):
        return None
    order = dice.choice(found)
    phone = dice.choice(list(town.payers))

    def verb(db: Db, now: datetime) -> str:
        return checkouts.pay_again(db, order.checkout_id, order.buyer_id, phone, town.rules, now)

    return doing(town, _name(town, order.buyer_id), f"wants to pay {order.number} again", verb)


@act(1)
def gives_up(town: Town, dice: random.Random) -> Deed | None:
    if not (found := orders_in(town, "placed")):
        return None
    order = dice.choice(found)

    def verb(db: Db, now: datetime) -> str:
        return checkouts.cancel(db, order.checkout_id, order.buyer_id, now)

    return doing(town, _name(town, order.buyer_id), f"gives up {order.number}", verb)


@act(14)
def answers_prompt(town: Town, dice: random.Random) -> Deed | None:
    open_ = [
        (name, prompt)
        for phone, name in town.payers.items()
        for prompt in town.world.mpesa.prompts(phone)
    ]
    if not open_:
        return None
    payer, prompt = dice.choice(open_)
    pin = dice.choices(["1234", "9999", None], [8, 1, 1])[0]

    def do() -> str:
        try:
            return f"result {town.world.mpesa.answer(prompt.prompt_id, pin).result}"
        except PromptGone:
            return "gone"

    words = {"1234": "types her PIN", "9999": "types a wrong PIN", None: "cancels the prompt"}
    return Deed(payer, words[pin], do, frozenset())


@act(2)
def pays_by_hand(town: Town, dice: random.Random) -> Deed | None:
    with town.database.look() as db:
        found = db.rows(
            _Charge, "SELECT reference, amount_cents FROM charges ORDER BY created_at, id"
        )
    if not found:
        return None
    phone, charge = dice.choice(list(town.payers)), dice.choice(found[-6:])
    off = dice.choice([0, 0, 0, -5_000, 5_000])
    cents = max(100, charge.amount_cents + off)
    typed = dice.choices([charge.reference, charge.reference.lower(), "MAMA1"], [6, 2, 1])[0]

    def do() -> str:
        try:
            town.world.c2b.pay(phone, SANDBOX_SHORTCODE, typed, cents)
        except NotPaid as refused:
            return str(refused)
        return "paid"

    return Deed(town.payers[phone], f"pays {cents // 100} to {typed} by hand", do, frozenset())


@dataclass(frozen=True)
class _Charge:
    reference: str
    amount_cents: int


@act(3)
def calls_off(town: Town, dice: random.Random) -> Deed | None:
    return _buyers(town, dice, deliveries.cancel, "calls off", ("paid", "accepted"), "cancelled")


@act(4)
def has_it(town: Town, dice: random.Random) -> Deed | None:
    states = ("dispatched", "delivered")
    return _buyers(town, dice, deliveries.received, "has", states, "released")


@act(1)
def wants_new_code(town: Town, dice: random.Random) -> Deed | None:
    states = ("paid", "accepted", "dispatched", "delivered")
    return _buyers(town, dice, deliveries.new_code, "wants a new code of", states)


@act(6)
def complains(town: Town, dice: random.Random) -> Deed | None:
    reason = dice.choice(disputes.REASONS)

    def verb(db: Db, order_id: UUID, member_id: UUID, now: datetime) -> str:
        return disputes.open(db, order_id, member_id, reason, None, now)

    return _buyers(town, dice, verb, "complains of", ("dispatched", "delivered", "completed"))


@act(4)
def has_less(town: Town, dice: random.Random) -> Deed | None:
    """Or says so."""
    wild, which = dice.choice((None, None, None, 0, 500, 2_000)), dice.random()

    def verb(db: Db, order_id: UUID, member_id: UUID, now: datetime) -> str:
        lines = trips.of_order(db, order_id)
        if not lines:
            return "of no lines"
        line = lines[int(which * len(lines))]
        how_much = line.to_come_milli - line.step_milli if wild is None else wild
        return shortages.say_less_came(db, order_id, member_id, line.id, how_much, now)

    return _buyers(town, dice, verb, "has less of", ("dispatched", "delivered"))


@act(4)
def answers_less(town: Town, dice: random.Random) -> Deed | None:
    """Whoever is asked, or whoever asked; either may try what is the other's."""
    verb = dice.choice((shortages.agree, shortages.agree, shortages.decline, shortages.take_back))
    states = ("paid", "accepted", "dispatched", "delivered")
    whose = dice.choice(("buyer_id", "seller_id"))
    moves, what = ("agreed", "declined", "taken_back"), f"{verb.__name__}s about less of"
    return _of_order(town, dice, verb, what, states, whose, moves, either=True)


@act(2)
def takes_it_back(town: Town, dice: random.Random) -> Deed | None:
    return _buyers(
        town, dice, disputes.withdraw, "takes back the complaint of", ("disputed",), "withdrawn"
    )


def _buyers(
    town: Town, dice: random.Random, verb: Any, what: str, states: Sequence[str], *moves: str
) -> Deed | None:
    """A verb of the buyer's on an order in one of the states; now and then somebody else tries."""
    return _of_order(town, dice, verb, what, states, "buyer_id", moves)


def _sellers(
    town: Town, dice: random.Random, verb: Any, what: str, states: Sequence[str], *moves: str
) -> Deed | None:
    return _of_order(town, dice, verb, what, states, "seller_id", moves)


_NOT_THEIRS: Final = ("not_open", "not_yours", "of no lines")


def _of_order(
    town: Town,
    dice: random.Random,
    verb: Any,
    what: str,
    states: Sequence[str],
    whose: str,
    moves: Sequence[str],
    *,
    either: bool = False,
) -> Deed | None:
    """either: what the seller may do the buyer may, too, and it says itself whose turn it is."""
    if not (found := orders_in(town, *states)):
        return None
    order = dice.choice(found)
    member_id: UUID = getattr(order, whose)
    if dice.random() < 0.05:
        member_id = dice.choice(town.people).id
    theirs = {order.buyer_id, order.seller_id} if either else {getattr(order, whose)}

    def do(db: Db, now: datetime) -> object:
        said = verb(db, order.id, member_id, now)
        assert member_id in theirs or said in _NOT_THEIRS, f"a stranger {what} {said}"
        return said

    return doing(town, _name(town, member_id), f"{what} {order.number}", do, *moves)


# --- sellers --------------------------------------------------------------------------------


@act(14)
def accepts(town: Town, dice: random.Random) -> Deed | None:
    return _sellers(town, dice, deliveries.accept, "accepts", ("paid",))


@act(1)
def refuses(town: Town, dice: random.Random) -> Deed | None:
    return _sellers(town, dice, deliveries.refuse, "refuses", ("paid", "accepted"), "refused")


@act(14)
def sends(town: Town, dice: random.Random) -> Deed | None:
    return _sellers(town, dice, deliveries.dispatch, "sends", ("accepted",))


@act(3)
def has_less_to_send(town: Town, dice: random.Random) -> Deed | None:
    wild, which = dice.choice((None, None, None, 0, 500, 2_000)), dice.random()
    restock = dice.random() < 0.5

    def verb(db: Db, order_id: UUID, member_id: UUID, now: datetime) -> str:
        lines = trips.of_order(db, order_id)
        if not lines:
            return "of no lines"
        line = lines[int(which * len(lines))]
        how_much = line.to_come_milli - line.step_milli if wild is None else wild
        return shortages.offer_less(db, order_id, member_id, line.id, how_much, restock, now)

    return _sellers(town, dice, verb, "can send less of", ("paid", "accepted"))


@act(4)
def sends_a_part(town: Town, dice: random.Random) -> Deed | None:
    how_much = dice.choice((500, 1_000, 2_000))

    def verb(db: Db, order_id: UUID, member_id: UUID, now: datetime) -> str:
        load = {line.id: how_much for line in trips.of_order(db, order_id)[:1]}
        return deliveries.dispatch_part(db, order_id, member_id, load, now)

    return _sellers(town, dice, verb, "sends a part of", ("accepted",))


@act(3)
def claims_delivery(town: Town, dice: random.Random) -> Deed | None:
    return _sellers(town, dice, deliveries.claim, "says she has", ("dispatched",))


@act(9)
def enters_code(town: Town, dice: random.Random) -> Deed | None:
    wrong = dice.random() < 0.2

    def verb(db: Db, order_id: UUID, member_id: UUID, now: datetime) -> str:
        code = code_of(db, order_id, town)
        typed = f"{(int(code) + 1) % 10_000:04}" if wrong else code
        return deliveries.enter_code(db, order_id, member_id, typed, town.rules, now)

    states = ("dispatched", "delivered", "disputed")
    if wrong:
        return _sellers(town, dice, verb, "enters a wrong code of", states)
    return _sellers(town, dice, verb, "enters the code of", states, "released")


def code_of(db: Db, order_id: UUID, town: Town) -> str:
    """What the buyer would tell, also of an order that is disputed."""
    generation: int = db.value(
        "SELECT generation FROM deliveries WHERE order_id = %(id)s", {"id": order_id}
    )
    return deliveries.code(town.rules, order_id, generation)


@act(2)
def answers_complaint(town: Town, dice: random.Random) -> Deed | None:
    def verb(db: Db, order_id: UUID, member_id: UUID, now: datetime) -> str:
        return disputes.answer(db, order_id, member_id, "They were fresh.", now)

    return _sellers(town, dice, verb, "answers the complaint of", ("disputed",))


@act(1)
def restocks(town: Town, dice: random.Random) -> Deed:
    offer_id = dice.choice([town.market.tomatoes, town.market.beans])
    units = dice.choice([-3, -1, 2, 5])

    def verb(db: Db, now: datetime) -> object:
        if units < 0:
            return stock.count_out(db, offer_id, -units * 1000, "spoilt", now)
        return stock.receive(db, offer_id, units * 1000, "more", now) or "received"

    return doing(town, "a seller", f"counts {units:+} units", verb)


def _rich(town: Town) -> list[Person]:
    """Who has something to withdraw."""
    with town.database.look() as db:
        found: list[UUID] = db.value(
            """
            SELECT coalesce(array_agg(DISTINCT owner_id), '{}') FROM accounts
            WHERE kind IN ('L.buyer', 'L.seller') AND balance_cents > 0
            """
        )
    return [each for each in town.people if each.id in found]


@act(9)
def withdraws(town: Town, dice: random.Random) -> Deed | None:
    everybody = town.people if dice.random() < 0.1 else _rich(town)
    if not everybody:
        return None
    member = dice.choice(everybody)
    cents = dice.choice([None, None, 1_000, 20_000, 50_000, 999, 2_550])

    def verb(db: Db, now: datetime) -> object:
        asked = withdrawals.withdraw(db, member.id, cents, town.rules, now)
        return asked if isinstance(asked, str) else "asked"

    what = "all" if cents is None else f"{cents / 100:g}"
    return doing(town, member.name, f"withdraws {what}", verb, "asked")


@act(1)
def chooses_when_paid(town: Town, dice: random.Random) -> Deed:
    """Each sale at once, or when they ask for it."""
    seller, at_once = dice.choice(town.sellers), dice.random() < 0.5

    def verb(db: Db, now: datetime) -> object:
        earnings.choose(db, seller.id, at_once, now)
        return "chosen"

    when = "at once" if at_once else "on request"
    return doing(town, seller.name, f"wants what is earned {when}", verb)


@act(2)
def asks_with_a_key(town: Town, dice: random.Random) -> Deed | None:
    """The same request twice, under one key; the second time perhaps with another body."""
    rich = [each for each in _rich(town) if each in town.sellers]
    if not rich:
        return None
    member = dice.choice(rich)
    cents = dice.choice([10_000, 100_000])
    other = dice.choice([cents, cents + 10_000])
    key = f"asked {town.now.isoformat()} {dice.random()}"

    def ask(cents: int) -> object:
        with town.database.begin() as db:
            return payouts.request(
                db, member.id, "seller", "withdrawal", cents, town.rules, town.now,
                requested_by=str(member.id), key=key,
            )  # fmt: skip

    def do() -> str:
        first = ask(cents)
        if isinstance(first, str):
            return first
        with town.database.begin() as db:
            before = ledger.balance(db, ledger.seller(member.id))
        try:
            again = ask(other)
        except ledger.Conflict:
            again = "conflict"
        with town.database.begin() as db:
            after = ledger.balance(db, ledger.seller(member.id))
        fits = before == after and (again == first if other == cents else again == "conflict")
        assert fits or again in ("frozen", "overdrawn", "insolvent"), "I15 a key was used twice"
        return "asked once"

    return Deed(member.name, f"asks for {cents // 100}, and with the key again", do)


# --- two who found each other elsewhere -----------------------------------------------------


@act(3)
def opens_deal(town: Town, dice: random.Random) -> Deed | None:
    opener, other = dice.sample(town.people, 2)
    if not (opener.msisdn and other.msisdn):
        return None
    side: deals.Side = dice.choice(["buyer", "seller"])
    shillings, ahead = dice.choice([10, 450, 4_500]), dice.randint(1, 2)
    proved = dice.random() < 0.7

    def verb(db: Db, now: datetime) -> object:
        member = members.by_id(db, opener.id)
        assert member is not None
        opened = deals.open(
            db,
            member,
            side,
            other.msisdn,
            title="Bicycle, used",
            terms="As seen.",
            total_cents=shillings * 100,
            due_on=days.coming(now, ahead)[-1],
            proved=proved,
            rules=town.rules,
            now=now,
        )
        return opened if isinstance(opened, str) else "opened"

    return doing(town, opener.name, f"opens a deal with {other.name} as its {side}", verb)


@dataclass(frozen=True)
class _Deal:
    id: UUID
    number: int
    invited_id: UUID | None


@act(8)
def answers_deal(town: Town, dice: random.Random) -> Deed | None:
    with town.database.begin() as db:
        found = db.rows(
            _Deal, "SELECT id, number, invited_id FROM deals WHERE state = 'open' ORDER BY number"
        )
    if not found:
        return None
    deal, who = dice.choice(found), dice.choice(town.people)
    if dice.random() < 0.7:
        who = next((each for each in town.people if each.id == deal.invited_id), who)
    if not who.msisdn:
        return None
    does = dice.choices(["accepts", "declines", "withdraws"], [8, 1, 1])[0]

    def verb(db: Db, now: datetime) -> object:
        member = members.by_id(db, who.id)
        assert member is not None
        match does:
            case "accepts":
                proved = deal.number % 2 == 0
                return deals.accept(db, deal.id, member, proved=proved, rules=town.rules, now=now)
            case "declines":
                return deals.decline(db, deal.id, member, now)
            case _:
                return deals.withdraw(db, deal.id, member, now)

    return doing(town, who.name, f"{does} deal {deal.number}", verb)


# --- what M-Pesa gives back by itself -------------------------------------------------------


@act(3)
def gives_back(town: Town, dice: random.Random) -> Deed | None:
    """A payer has complained there; nobody tells us."""
    paid = [each.receipt for each in town.world.books.statement() if each.kind in PAID_IN]
    if not paid:
        return None
    receipt = str(dice.choice(paid))

    def do() -> str:
        try:
            town.world.operations.reverse_by_mpesa(receipt)
        except NotReversible:
            return "refused"
        town.reversed.append(receipt)
        return "given back"

    return Deed("M-Pesa", f"gives back {receipt} by itself", do, frozenset())


# --- whoever is not M-Pesa ----------------------------------------------------------------------

_RECEIPT: Final = re.compile(rb'(?<=[":])([A-Z0-9]{10})(?=")')


@act(2)
def forges(town: Town, dice: random.Random) -> Deed | None:
    """A stranger posts what M-Pesa has told us, by a path that is made up."""
    if not town.heard:
        return None
    letter = dice.choice(town.heard)
    secret = letter.path.split("/")[3]
    forged = letter.path.replace(secret, f"{dice.getrandbits(128):032x}")

    def do() -> str:
        said = town.deliver(replace(letter, path=forged))
        assert said in ("404", "503"), f"what was forged is answered with {said}"
        return said

    return Deed("a stranger", f"forges letter {letter.number}", do, frozenset())


@act(2)
def tells_otherwise(town: Town, dice: random.Random) -> Deed | None:
    """What was told and booked is told again, by the same path, under another receipt.

    Not before all that was heard is booked: who has paid by hand, and whose prompt says something
    for the first time, has paid twice as far as anybody can tell.
    """
    with town.database.look() as db:
        if db.value("SELECT EXISTS (SELECT FROM inbox WHERE processed_at IS NULL)"):
            return None
        booked: list[str] = db.value(
            """
            SELECT coalesce(array_agg(receipt), '{}') FROM (
                SELECT receipt FROM receipts UNION SELECT receipt FROM payouts) AS r
            WHERE receipt IS NOT NULL
            """
        )
    told = [
        each
        for each in town.heard
        if each.name != "payments/c2b"  # there another receipt is another payment
        and (found := _RECEIPT.search(each.body))
        and found[1].decode() in booked
    ]
    if not told:
        return None
    letter = dice.choice(told)
    other = "".join(dice.choices("ABCDEFGHJK0123456789", k=10))
    body = _RECEIPT.sub(other.encode(), letter.body)

    def do() -> str:
        return town.deliver(replace(letter, body=body))

    return Deed("M-Pesa", f"says {other} in letter {letter.number}", do, frozenset())


@act(2)
def gets_sim(town: Town, dice: random.Random) -> Deed | None:
    """A line's card is replaced, by its owner or by somebody else, today or a while ago."""
    person, days_ago = somebody(town, dice), dice.choice([0, 0, 13, 14, 100])
    if not person.msisdn:
        return None
    rules = town.world.rulebook.rules
    day = (town.now - timedelta(days=days_ago)).date()

    def do() -> str:
        swapped = {**rules.sim_swapped, person.msisdn: day.isoformat()}
        town.world.rulebook.change({"sim_swapped": swapped})
        return "replaced"

    return Deed(person.name, f"has a SIM of {days_ago} days", do, frozenset())


# --- anybody with a phone in the hand ---------------------------------------------------------


@act(2)
def writes(town: Town, dice: random.Random) -> Deed | None:
    """An SMS with a word of ours, or an answer to what we wrote; it travels by the post."""
    person, found = dice.choice(town.people), orders_in(town, "dispatched", "delivered", "paid")
    if not person.msisdn:
        return None
    number, code = 1001, "0000"
    if found:
        order = dice.choice(found)
        number = order.number
        with town.database.look() as db:
            code = code_of(db, order.id, town)
        person = next(each for each in town.people if each.id == order.seller_id)
    words = (f"OK {number} {code}", f"STATUS {number}", f"PROBLEM {number}", "WALLET", "1", PIN)
    text = dice.choice(words)

    def do() -> str:
        town.world.sms.say(person.msisdn, "22384", text)
        return "sent"

    return Deed(person.name, f"writes {text}", do, frozenset())


@act(4)
def dials(town: Town, dice: random.Random) -> Deed | None:
    """One hop through our web server: a screen is opened, or answered with what it offers."""
    person, handsets = dice.choice(town.people), town.world.handsets
    if not person.msisdn:
        return None
    if person.session is None or dice.random() < 0.05:

        def dial() -> str:
            return _show(person, handsets.dial(person.msisdn, DIAL))

        return Deed(person.name, "dials", dial)
    typed, session = _typed(town, person, dice), person.session

    def reply() -> str:
        try:
            return _show(person, handsets.reply(session, typed))
        except (NoSuchSession, SessionClosed):
            person.session = None
            return "it is closed"

    return Deed(person.name, f"types {typed}", reply)


def _show(person: Person, view: Any) -> str:
    person.session = view.session if view.is_open else None
    person.screen = view.screen
    return view.screen.partition("\n")[0][:50] + ("" if view.is_open else " (end)")


def _typed(town: Town, person: Person, dice: random.Random) -> str:
    screen = person.screen
    if "PIN" in screen and "1 " not in screen:
        return PIN if dice.random() < 0.9 else "0000"
    options = re.findall(r"^(\d{1,2}) ", screen, re.MULTILINE)
    forward = [each for each in options if each not in ("0", "99")]
    if forward and dice.random() < 0.9:
        return dice.choice(forward)
    if options and dice.random() < 0.5:
        return dice.choice(options)
    return dice.choice(["1", "2", "3", "500", "1000", "tomato", "0", PIN])
