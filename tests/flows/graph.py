"""The flows as one graph, and what makes a member go each way out of each state."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from core import carts, catalogue, deals, evidence, links, members, opt_outs, phone
from core.deals import Side
from flows.book import BOOK
from flows.engine import HOME, OFFER, RESUME, Call, Menu, Pick, State, targets
from tests.flows.street import CHAT, FRIEND, NEIGHBOUR, PIN, SECOND_PIN, SHOP, Bargain, Street

FOREIGN = "+256772123456"
REDIAL = "(redial)"


class Node(NamedTuple):
    flow: str
    state: str

    def __str__(self) -> str:
        return f"{self.flow}.{self.state}"


class Edge(NamedTuple):
    flow: str
    state: str
    way: str

    @property
    def source(self) -> Node:
        return Node(self.flow, self.state)

    def __str__(self) -> str:
        return f"{self.flow}.{self.state}-{self.way}"


START = Node(HOME, BOOK[HOME].table[0].name)
OFFERED = Node(HOME, OFFER)
LEFT_AT = Node("buy", "cart")  # where walks are dropped that shall be offered to go on


def edges() -> list[Edge]:
    """Every way out of every state of every flow."""
    return [
        Edge(flow.name, state.name, way)
        for flow in BOOK.values()
        for state in flow.table
        for way in targets(state)
    ]


def target(edge: Edge) -> Node:
    if edge.way == REDIAL:
        return OFFERED
    to = targets(state_of(edge.source))[edge.way]
    if to == RESUME:
        return LEFT_AT
    if to.startswith("@"):
        return Node(to[1:], BOOK[to[1:]].table[0].name)
    return Node(edge.flow, to)


def state_of(node: Node) -> State:
    return BOOK[node.flow].states[node.state]


def answers_itself(edge: Edge) -> bool:
    """Is this way taken by a state without asking: a Call, or a list that is empty?"""
    state = state_of(edge.source)
    return isinstance(state, Call) or (isinstance(state, Pick) and edge.way == f"no_{state.name}")


def path_to(edge: Edge, closed: Collection[Edge] = ()) -> list[Edge] | None:
    """The shortest way from a dial to this edge, the edge itself at its end.

    closed: ways that it may not take. None: then there is none.
    """
    came_by = _reached(frozenset(closed))
    if edge.source not in came_by:
        return None
    path = [edge]
    while (before := came_by[path[0].source]) is not None:
        path.insert(0, before)
    return path


@cache
def _reached(closed: frozenset[Edge]) -> Mapping[Node, Edge | None]:
    """All that can be reached from a dial, nearest first: by which way one comes to each."""
    came_by: dict[Node, Edge | None] = {START: None}
    waiting = deque([START])
    while waiting:
        node = waiting.popleft()
        ways = [Edge(*node, way) for way in targets(state_of(node))]
        if node == LEFT_AT:
            ways.append(Edge(*node, REDIAL))
        for way in ways:
            if way not in closed and target(way) not in came_by:
                came_by[target(way)] = way
                waiting.append(target(way))
    return came_by


@dataclass(frozen=True)
class Cause:
    """What makes a member go a way.

    typed: what she answers, or who knows it by then; of a state that does not ask, the answer that
    leads there. start: what happened before she dialled; before: while she looked at the last
    screen; meanwhile: between that state's own reading and its doing, with the answers so far
    (others commit at any moment). given: answers that were there before the state came by.
    """

    typed: str | Callable[[Street], str] | None = None
    start: Callable[[Street], object] | None = None
    before: Callable[[Street], object] | None = None
    meanwhile: Callable[[Street, Any], object] | None = None
    given: Callable[[Street, Any], object] | None = None
    phone: str | None = None


def cause(edge: Edge) -> Cause | None:
    """None: nobody has said yet how to go this way."""
    if edge in CAUSES:
        return CAUSES[edge]
    state = state_of(edge.source)
    if isinstance(state, Menu):
        return Cause(typed=str(1 + list(state.to).index(edge.way)))
    if isinstance(state, Pick) and edge.way == "picked":
        return Cause(typed="1")
    return None


def _basket(street: Street) -> None:
    street.put_in_basket(2, "Tomatoes", "Wanjiku Fresh")


def _second_line(street: Street) -> None:
    street.put_in_basket(2, "Beans", "Mutua Grains")


def _twelve_lines(street: Street, answers: Any) -> None:
    """As many as a basket takes, none of them what she is about to add."""
    for product in LONG_LIST:
        street.put_in_basket(5, product, "Otieno Supplies")


LONG_LIST = (
    *("Tomatoes", "Kale", "Spinach", "Arrowroots", "Green peppers", "Sweet potatoes"),
    *("Cassava", "Ripe bananas", "Pishori", "Beans (rose", "Cowpeas", "Eggs"),
)


def _dear_basket(street: Street, answers: Any) -> None:
    """KSh 2,499,000 of the 2,500,000 that ten payments can be."""
    street.set_price("Dry maize", "Mutua Grains", 41_650)
    street.put_in_basket(60, "Dry maize", "Mutua Grains")


def _lorry(street: Street) -> None:
    """More than one payment can be."""
    street.set_price("Dry maize", "Mutua Grains", 5_000)
    street.put_in_basket(60, "Dry maize", "Mutua Grains")


def _paid_for_by_a_friend(street: Street) -> None:
    with street.basket_put_aside():
        street.put_in_basket(1, "Tilapia", "Otieno Supplies")
        street.place(payer=FRIEND)
        street.friend.pay()


def _by_a_friend(_street: Street, answers: Any) -> None:
    """Another's phone is to pay."""
    answers.payer = FRIEND


def _friend_refuses(street: Street, _answers: Any) -> None:
    opt_outs.refuse(street.db, FRIEND, street.clock())


def _withdraw_category(street: Street, answers: Any) -> None:
    street.db.run(
        """
        UPDATE offers SET active = false
        WHERE product_id IN (SELECT id FROM products WHERE category_id = %(id)s)
        """,
        {"id": answers.category},
    )


def _withdraw_product(street: Street, answers: Any) -> None:
    street.db.run(
        "UPDATE offers SET active = false WHERE product_id = %(id)s", {"id": answers.product}
    )


def _change_offer(column: str) -> Callable[[Street, Any], None]:
    changes = {
        "seller_id": "UPDATE offers SET seller_id = %(owner)s WHERE id = %(id)s",
        "minimum_milli": "UPDATE offers SET minimum_milli = 10000 WHERE id = %(id)s",
        "price_cents": "UPDATE offers SET price_cents = price_cents + 100 WHERE id = %(id)s",
        "active": "UPDATE offers SET active = false WHERE id = %(id)s",
    }

    def change(street: Street, answers: Any) -> None:
        street.db.run(changes[column], {"id": answers.offer, "owner": street.owner})

    return change


def _neighbour_was_faster(street: Street, answers: Any) -> None:
    left = catalogue.offer(street.db, answers.offer, "en", street.clock())
    assert left is not None
    street.neighbour_takes(answers.offer, left.available_milli - 2000)


def _chose_long_ago(street: Street, answers: Any) -> None:
    """The day she chose is over by now: she went on from time to time, and thought it over."""
    answers.day = "2026-11-20"


def _empty_basket(street: Street, answers: Any) -> None:
    carts.empty(street.db, street.owner, street.clock())


def _unpaid_order(street: Street) -> None:
    street.place_unpaid(2, "Honey", "Mutua Grains")


def _prompted(street: Street) -> None:
    with street.basket_put_aside():
        street.put_in_basket(1, "Tilapia", "Otieno Supplies")
        street.place()
        street.prompt()


def _declined(street: Street) -> None:
    _prompted(street)
    street.decline()


def _three_unpaid(street: Street) -> None:
    for _ in range(street.rules.open_checkouts_max):
        _unpaid_order(street)


def _ordered(street: Street) -> None:
    """A neighbour orders of the shop, and pays."""
    street.neighbour_buys(2, "Tomatoes", "Wanjiku Fresh")


def _of_sold(
    happen: Callable[[Street, Bargain], object], *states: str
) -> Callable[[Street], object]:
    """That happens to what was ordered of the phone's owner and stands so."""

    def one(street: Street) -> None:
        (bargain,) = street.sold(*states)
        happen(street, bargain)

    return one


def _of_bought(
    happen: Callable[[Street, Bargain], object], *states: str
) -> Callable[[Street], object]:
    """That happens to what the phone's owner ordered."""

    def one(street: Street) -> None:
        (bargain,) = street.bought(*states)
        happen(street, bargain)

    return one


def _once_paid(happen: Callable[[Street, Bargain], object]) -> Callable[[Street], object]:
    """She pays what waited, and then that happens to it."""

    def one(street: Street) -> None:
        street.pay_what_waits()
        _of_bought(happen, "paid")(street)

    return one


def _right_code(street: Street) -> str:
    (bargain,) = street.sold("dispatched")
    return street.code(bargain)


def _wrong_code(street: Street) -> str:
    (bargain,) = street.sold("dispatched")
    return street.wrong_code(bargain)


def _two_people(street: Street) -> None:
    """The phone is shared; at most once."""
    if not members.sharing(street.db, street.msisdn):
        street.share_phone()


def _took_out(shillings: int) -> Callable[[Street], None]:
    """She took so much out on another phone."""
    return lambda street: street.take_out(shillings)


def _took_out_much(street: Street) -> None:
    """As much as may leave in a day without a second person's eyes."""
    shillings = street.rules.payout_automatic_max_cents // 100
    street.earn(shillings)
    street.take_out(shillings)


def _earned_and_took_out(street: Street) -> None:
    street.earn()
    street.take_out(500)


def _takes_out(cents: int) -> Callable[[Street, Any], None]:
    def ask(_street: Street, answers: Any) -> None:
        answers.amount = cents

    return ask


def _disputed_code(street: Street) -> str:
    (bargain,) = street.sold("disputed")
    return street.code(bargain)


def _on_its_way(street: Street) -> None:
    """She bought, and it was sent."""
    _unpaid_order(street)
    _once_paid(Street.dispatch)(street)


def _complained(street: Street) -> None:
    """And she complained of it."""
    _on_its_way(street)
    _of_bought(Street.complain, "dispatched")(street)


def _says_which(*states: str) -> Callable[[Street, Any], None]:
    """What led to the flow has named an order of hers."""

    def say(street: Street, answers: Any) -> None:
        (bargain,) = street.bought(*states)
        answers.order = bargain.id

    return say


def _names_a_neighbours(street: Street, answers: Any) -> None:
    neighbour = street.neighbour
    if not neighbour.bought("placed"):
        _unpaid_order(neighbour)
    (bargain,) = neighbour.bought("placed")
    answers.order = bargain.id


def _wants(quantity: str) -> Callable[[Street, Any], None]:
    """She said at once how many she wants."""

    def say(_street: Street, answers: Any) -> None:
        answers.wanted = quantity

    return say


def _takes(units: int) -> Callable[[Street, Any], None]:
    """And it is more than what her road to here has said."""

    def say(_street: Street, answers: Any) -> None:
        answers.quantity = units * 1000

    return say


def _says(text: str) -> Callable[[Street, Any], None]:
    """And what is wrong with it."""

    def say(_street: Street, answers: Any) -> None:
        answers.text = text

    return say


def _means_something_else(_street: Street, answers: Any) -> None:
    answers.reason, answers.text = "other", None


def _said_it_all(street: Street, bargain: Bargain) -> None:
    for number in range(evidence.WORDS_MAX):
        street.say_more(bargain, f"They smell, and that is {number}.")


def _answered_it_all(street: Street, bargain: Bargain) -> None:
    for number in range(evidence.WORDS_MAX):
        street.answer_complaint(bargain, f"They were fresh, and that is {number}.")


def _decided(street: Street, bargain: Bargain) -> None:
    """It was complained of, and staff have divided its money."""
    street.complain(bargain)
    street.decide(bargain)


def _paid_by_another(street: Street) -> None:
    """Her own phone was asked for money just now."""
    street.place(payer=FRIEND)
    replace(street, msisdn=FRIEND).pay()


def _in_parts(street: Street) -> Bargain:
    """The order of which a part is on the road, or came."""
    found: UUID = street.db.value(
        "SELECT order_id FROM lines WHERE behind_milli > 0 OR came_milli > 0"
    )
    (bargain,) = (one for one in street.under_way() if one.id == found)
    return bargain


def _ordered_and_sent_in_part(street: Street) -> None:
    """A neighbour orders once more of the shop, and has a part of that on the road."""
    street.neighbour.put_in_basket(2, "Tomatoes", "Wanjiku Fresh")
    _paid_by_another(street.neighbour)
    *_, newest = street.sold("paid")
    street.send_part(newest)


def _bought_and_sent_in_part(street: Street) -> None:
    """She ordered once more, and has a part of that on the road."""
    with street.basket_put_aside():
        street.put_in_basket(2, "Honey", "Mutua Grains")
        _paid_by_another(street)
    *_, newest = street.bought("paid")
    street.send_part(newest)


def _it_is_the_one_in_parts(street: Street, answers: Any) -> None:
    answers.order = _in_parts(street).id


def _none(_street: Street, answers: Any) -> None:
    """Of that line: of the whole order, then, for it has no other."""
    answers.came = 0


def _cannot_send_any(_street: Street, answers: Any) -> None:
    answers.quantity = 0


def _it_is_all_there_is(_street: Street, answers: Any) -> None:
    """The order is a deal, which has no lines."""
    answers.item = answers.order


def _empty_load(_street: Street, answers: Any) -> None:
    answers.load = "0:0"


def _shown_by_a_chat(street: Street, answers: Any) -> None:
    """A chat of another phone has shown a link of hers."""
    answers.link = links.prove(street.db, street.msisdn, CHAT, street.clock())


def _others_take_all(street: Street, answers: Any) -> None:
    left = catalogue.offer(street.db, answers.offer, "en", street.clock())
    assert left is not None
    street.neighbour_takes(answers.offer, left.available_milli)


def _means_deal(side: Side) -> Callable[[Street, Any], None]:
    """It is about another deal: one that a neighbour opened as its buyer, or its seller."""

    def mean(street: Street, answers: Any) -> None:
        answers.deal = street.is_invited(side)
        answers.side = "seller" if side == "buyer" else "buyer"

    return mean


def _means_own_deal(street: Street, answers: Any) -> None:
    answers.deal = street.propose("seller", NEIGHBOUR, "Goat")


def _opened_one(street: Street) -> None:
    street.register()
    assert street.neighbour
    street.propose("seller", NEIGHBOUR, "Goat")


def _opened_many(street: Street) -> None:
    for number in range(deals.OPEN_MAX):
        street.propose("buyer", NEIGHBOUR, f"Goat no {number}")


def _means_agreed_deal(side: Side) -> Callable[[Street, Any], None]:
    """It is about one that she accepted before, which the neighbour opened so."""

    def mean(street: Street, answers: Any) -> None:
        agreed = [deal for deal in _deals_of_the_neighbour(street) if deal.opener_is == side]
        if not any(deal.state == "accepted" for deal in agreed):
            street.is_invited(side)
            street.agree()
        (answers.deal,) = (
            deal.id
            for deal in _deals_of_the_neighbour(street)
            if (deal.opener_is, deal.state) == (side, "accepted")
        )

    return mean


def _deals_of_the_neighbour(street: Street) -> list[deals.Deal]:
    return deals.opened_by(street.db, street.neighbour.owner, 20)


def _means_bought_deal(street: Street, answers: Any) -> None:
    """The order is one that she agreed on with a neighbour."""
    _means_agreed_deal("seller")(street, deal := Named())
    found = deals.by_id(street.db, deal.deal)
    assert found is not None
    answers.order = found.order_id


class Named:
    """What answers would hold."""

    deal: Any = None


def _means_a_deal_of_others(street: Street, answers: Any) -> None:
    neighbour = street.neighbour
    shop = Street(street.db, street.clock, street.rules, SHOP)
    answers.deal = neighbour.propose("buyer", shop.msisdn)


def _means_own_phone(street: Street, answers: Any) -> None:
    answers.other = phone.local(street.msisdn)


def _as_a_seller(_street: Street, answers: Any) -> None:
    answers.side = "seller"


def _due_long_ago(_street: Street, answers: Any) -> None:
    answers.due = "2026-11-20"


def _meanwhile(happen: Callable[[Street], object]) -> Callable[[Street, Any], object]:
    return lambda street, _answers: happen(street)


def _edges(causes: Mapping[str, Cause]) -> Iterator[tuple[Edge, Cause]]:
    for name, how in causes.items():
        flow, state, way = name.split(".")
        yield Edge(flow, state, way), how


CAUSES: dict[Edge, Cause] = dict(
    _edges(
        {
            f"{LEFT_AT}.{REDIAL}": Cause(typed=REDIAL),
            "home.who.member": Cause(start=lambda street: street.register()),
            "home.who.stranger": Cause(),
            "home.who.shared": Cause(start=_two_people),
            "home.person.known": Cause(typed=PIN),
            "home.person.wrong": Cause(typed="9999"),
            "home.person.locked": Cause(
                typed="9999", before=lambda street: street.fail_both_pins(4)
            ),
            "register.speak.spoken": Cause(),
            "register.name.answered": Cause(typed="Amina"),
            "register.place_words.answered": Cause(typed="Toi"),
            "register.place.no_place": Cause(typed="qqqq"),
            "register.pin.registered": Cause(typed=PIN),
            "register.awaited.invited": Cause(start=lambda street: street.is_invited()),
            "register.awaited.nobody_waits": Cause(),
            "register.pin.already_registered": Cause(
                typed=PIN, before=lambda street: street.register("Njeri")
            ),
            "account.speak.spoken": Cause(),
            "account.name.answered": Cause(typed="Njeri"),
            "account.rename.renamed": Cause(),
            "account.place_words.answered": Cause(typed="Kibera"),
            "account.place.no_place": Cause(typed="qqqq"),
            "account.move.moved": Cause(),
            "account.whether_forgotten.known": Cause(),
            "account.whether_forgotten.forgotten": Cause(start=Street.may_reset_pin),
            "account.reset_pin.changed": Cause(typed="7391"),
            "account.reset_pin.over": Cause(typed="7391", before=Street.may_not_reset_pin),
            "account.old_pin.right": Cause(typed=PIN),
            "account.old_pin.wrong": Cause(typed="9999"),
            "account.old_pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "account.new_pin.changed": Cause(typed="7391"),
            "account.new_pin.taken": Cause(typed=SECOND_PIN, meanwhile=_meanwhile(_two_people)),
            "account.new_pin.locked": Cause(
                typed="7391",
                meanwhile=_meanwhile(
                    lambda street: (_two_people(street), street.fail_both_pins(5))
                ),
            ),
            "wallet.pin.right": Cause(typed=PIN),
            "wallet.pin.wrong": Cause(typed="9999"),
            "wallet.pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "wallet.worth.enough": Cause(start=Street.earn),
            "wallet.worth.too_little": Cause(),
            "wallet.worth.no_mpesa": Cause(phone=FOREIGN),
            "wallet.worth.frozen": Cause(before=Street.freeze),
            "wallet.all.all": Cause(),
            "wallet.all.too_little": Cause(meanwhile=_meanwhile(_took_out(3_000))),
            "wallet.amount.answered": Cause(typed="500"),
            "wallet.prospect.soon": Cause(),
            "wallet.prospect.cooling": Cause(meanwhile=_meanwhile(Street.come_here)),
            "wallet.prospect.looked_at": Cause(meanwhile=_meanwhile(_took_out_much)),
            "wallet.prospect.frozen": Cause(meanwhile=_meanwhile(Street.freeze)),
            "wallet.prospect.insolvent": Cause(meanwhile=_meanwhile(Street.lose)),
            "wallet.withdraw.soon": Cause(),
            "wallet.withdraw.cooling": Cause(meanwhile=_meanwhile(Street.come_here)),
            "wallet.withdraw.looked_at": Cause(meanwhile=_meanwhile(_took_out_much)),
            "wallet.withdraw.not_whole": Cause(given=_takes_out(cents=12_345)),
            "wallet.withdraw.too_small": Cause(given=_takes_out(cents=500)),
            "wallet.withdraw.overdrawn": Cause(meanwhile=_meanwhile(_took_out(2_990))),
            "wallet.withdraw.frozen": Cause(meanwhile=_meanwhile(Street.freeze)),
            "wallet.withdraw.insolvent": Cause(meanwhile=_meanwhile(Street.lose)),
            "wallet.when.at_once": Cause(),
            "wallet.when.on_request": Cause(start=Street.keep_earnings),
            "wallet.keep.kept": Cause(),
            "wallet.send.sent": Cause(),
            "wallet.movement.picked": Cause(typed="1", start=Street.earn),
            "wallet.movement.no_movement": Cause(),
            "wallet.statement.sent": Cause(),
            "wallet.statement.too_soon": Cause(meanwhile=_meanwhile(Street.ask_for_statement)),
            "wallet.statement.shared": Cause(meanwhile=_meanwhile(_two_people)),
            "wallet.payout.picked": Cause(typed="1", start=_earned_and_took_out),
            "wallet.payout.no_payout": Cause(),
            "sell.due.picked": Cause(typed="1", start=_ordered),
            "sell.due.no_due": Cause(),
            "share.room.free": Cause(),
            "share.room.full": Cause(given=lambda street, _: _two_people(street)),
            "share.leave_pin.right": Cause(typed=PIN),
            "share.leave_pin.wrong": Cause(typed="9999"),
            "share.leave_pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "share.leave.left": Cause(),
            "share.leave.has_something": Cause(meanwhile=_meanwhile(Street.earn)),
            "share.pin.right": Cause(typed=PIN),
            "share.pin.wrong": Cause(typed="9999"),
            "share.pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "share.name.answered": Cause(typed="Juma"),
            "share.new_pin.joined": Cause(typed=SECOND_PIN),
            "share.new_pin.taken": Cause(typed=PIN),
            "share.new_pin.locked": Cause(
                typed=SECOND_PIN, before=lambda street: street.fail_pin(4)
            ),
            "share.new_pin.full": Cause(typed="8642", meanwhile=_meanwhile(_two_people)),
            "link.stands.shown": Cause(given=_shown_by_a_chat),
            "link.stands.linked": Cause(before=lambda street: street.link_chat()),
            "link.stands.free": Cause(),
            "link.pin.right": Cause(typed=PIN),
            "link.pin.wrong": Cause(typed="9999"),
            "link.pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "link.make.made": Cause(),
            "link.unlink.unlinked": Cause(),
            "link.change.joined": Cause(),
            "link.change.too_late": Cause(before=lambda street: street.clock.wait(minutes=20)),
            "buy.look.filled": Cause(before=_basket),
            "buy.look.empty": Cause(),
            "buy.category.typed": Cause(typed="honey"),
            "buy.category.no_category": Cause(before=lambda street: street.withdraw_all()),
            "buy.product.typed": Cause(typed="honey"),
            "buy.product.no_product": Cause(meanwhile=_withdraw_category),
            "buy.found.typed": Cause(typed="tomatos"),
            "buy.found.no_found": Cause(typed="zzzzzz"),
            "buy.offer.no_offer": Cause(meanwhile=_withdraw_product),
            "buy.see.open": Cause(),
            "buy.see.wanted": Cause(given=_wants("5")),
            "buy.add_wanted.added": Cause(),
            "buy.add_wanted.not_so_many": Cause(meanwhile=_neighbour_was_faster),
            "buy.add_wanted.own_offer": Cause(meanwhile=_change_offer("seller_id")),
            "buy.add_wanted.below_minimum": Cause(meanwhile=_change_offer("minimum_milli")),
            "buy.add_wanted.price_changed": Cause(meanwhile=_change_offer("price_cents")),
            "buy.add_wanted.too_many_lines": Cause(meanwhile=_twelve_lines),
            "buy.add_wanted.too_large": Cause(given=_takes(200), meanwhile=_dear_basket),
            "buy.see.gone": Cause(meanwhile=_change_offer("active")),
            "buy.quantity.answered": Cause(typed="5"),
            "buy.add.added": Cause(),
            "buy.add.not_so_many": Cause(meanwhile=_neighbour_was_faster),
            "buy.add.own_offer": Cause(meanwhile=_change_offer("seller_id")),
            "buy.add.below_minimum": Cause(meanwhile=_change_offer("minimum_milli")),
            "buy.add.price_changed": Cause(meanwhile=_change_offer("price_cents")),
            "buy.add.too_many_lines": Cause(meanwhile=_twelve_lines),
            "buy.add.too_large": Cause(typed="200", meanwhile=_dear_basket),
            "buy.line.no_line": Cause(meanwhile=_empty_basket),
            "buy.remove.removed": Cause(before=_second_line),
            "buy.remove.cart_empty": Cause(),
            "buy.receiver.answered": Cause(typed="Juma"),
            "buy.receiver_phone.answered": Cause(typed="0722 000 077"),
            "buy.place_words.answered": Cause(typed="Kibera"),
            "buy.to_place.no_to_place": Cause(typed="qqqq"),
            "buy.own.mpesa": Cause(),
            "buy.own.no_mpesa": Cause(phone=FOREIGN),
            "buy.known_payer.known": Cause(before=_paid_for_by_a_friend),
            "buy.known_payer.unknown": Cause(),
            "buy.payer.answered": Cause(typed="0722 000 055"),
            "buy.split.one": Cause(),
            "buy.split.parts": Cause(start=_lorry),
            "buy.place.placed": Cause(),
            "buy.place.placed_other": Cause(given=_by_a_friend),
            "buy.place.unwilling": Cause(given=_by_a_friend, meanwhile=_friend_refuses),
            "buy.place.cart_empty": Cause(meanwhile=_empty_basket),
            "buy.place.sold_out": Cause(
                meanwhile=lambda street, _: street.neighbour_buys(39, "Tomatoes", "Wanjiku Fresh")
            ),
            "buy.place.price_changed": Cause(
                meanwhile=lambda street, _: street.set_price("Tomatoes", "Wanjiku Fresh", 2600)
            ),
            "buy.place.too_many_open": Cause(before=_three_unpaid),
            "buy.place.payment_open": Cause(before=_prompted),
            "buy.place.too_soon": Cause(before=_declined),
            "buy.place.day_over": Cause(meanwhile=_chose_long_ago),
            "my_orders.order.picked": Cause(typed="1", start=_unpaid_order),
            "my_orders.order.no_order": Cause(),
            "my_orders.stands.unpaid": Cause(),
            "my_orders.stands.preparing": Cause(before=lambda street: street.pay_what_waits()),
            "my_orders.stands.coming": Cause(before=_once_paid(Street.dispatch)),
            "my_orders.stands.offered": Cause(before=_once_paid(Street.offer_less)),
            "my_orders.stands.asked": Cause(before=_once_paid(Street.say_less_came)),
            "my_orders.line.no_line": Cause(
                meanwhile=_meanwhile(_of_bought(Street.confirm, "dispatched"))
            ),
            "my_orders.came.answered": Cause(typed="1"),
            "my_orders.ask_less.asked": Cause(),
            "my_orders.ask_less.by_complaint": Cause(given=_none),
            "my_orders.ask_less.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.confirm, "dispatched"))
            ),
            "my_orders.take_back.taken_back": Cause(),
            "my_orders.take_back.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.agree_to_less, "dispatched"))
            ),
            "my_orders.agree.agreed": Cause(),
            "my_orders.agree.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.take_less_back, "paid"))
            ),
            "my_orders.stands.disputed": Cause(before=_once_paid(Street.complain)),
            "my_orders.stands.decided": Cause(before=_once_paid(_decided)),
            "my_orders.pin_withdraw.right": Cause(typed=PIN),
            "my_orders.pin_withdraw.wrong": Cause(typed="9999"),
            "my_orders.pin_withdraw.locked": Cause(
                typed="9999", before=lambda street: street.fail_pin(4)
            ),
            "my_orders.withdraw.withdrawn": Cause(),
            "my_orders.withdraw.too_late": Cause(
                meanwhile=_meanwhile(_of_bought(Street.answer_complaint, "disputed"))
            ),
            "my_orders.withdraw.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.decide, "disputed"))
            ),
            "my_orders.stands.over": Cause(before=lambda street: street.cancel()),
            "my_orders.own.mpesa": Cause(),
            "my_orders.own.no_mpesa": Cause(phone=FOREIGN),
            "my_orders.known_payer.known": Cause(before=_paid_for_by_a_friend),
            "my_orders.known_payer.unknown": Cause(),
            "my_orders.payer.answered": Cause(typed="0722 000 055"),
            "my_orders.pay_again.asked": Cause(),
            "my_orders.pay_again.asked_other": Cause(given=_by_a_friend),
            "my_orders.pay_again.unwilling": Cause(given=_by_a_friend, meanwhile=_friend_refuses),
            "my_orders.pay_again.not_open": Cause(before=lambda street: street.run_out()),
            "my_orders.pay_again.payment_open": Cause(before=_prompted),
            "my_orders.pay_again.too_soon": Cause(before=_declined),
            "my_orders.give_up.given_up": Cause(),
            "my_orders.give_up.not_open": Cause(before=lambda street: street.cancel()),
            "my_orders.cancel.cancelled": Cause(),
            "my_orders.cancel.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.dispatch, "paid"))
            ),
            "my_orders.received.released": Cause(),
            "my_orders.received.part_released": Cause(
                before=_bought_and_sent_in_part, given=_it_is_the_one_in_parts
            ),
            "my_orders.received.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.confirm, "dispatched"))
            ),
            "my_orders.pin.right": Cause(typed=PIN),
            "my_orders.pin.wrong": Cause(typed="9999"),
            "my_orders.pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "my_orders.new_code.renewed": Cause(),
            "my_orders.new_code.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.refuse, "paid"))
            ),
            "my_orders.again.filled": Cause(),
            "my_orders.again.deal": Cause(given=_means_bought_deal),
            "my_orders.again.nothing_left": Cause(before=lambda street: street.withdraw("Honey")),
            "sell.who.seller": Cause(phone=SHOP),
            "sell.who.no_seller": Cause(),
            "sell.pin.right": Cause(typed=PIN),
            "sell.pin.wrong": Cause(typed="9999"),
            "sell.pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "sell.order.picked": Cause(typed="1", start=_ordered),
            "sell.order.no_order": Cause(),
            "sell.stands.new": Cause(),
            "sell.stands.ready": Cause(before=_of_sold(Street.accept, "paid")),
            "sell.stands.way": Cause(before=_of_sold(Street.dispatch, "paid")),
            "sell.stands.checking": Cause(before=_of_sold(Street.claim, "paid")),
            "sell.stands.said": Cause(before=_of_sold(Street.offer_less, "paid")),
            "sell.stands.less": Cause(before=_of_sold(Street.say_less_came, "paid")),
            "sell.chosen.line": Cause(),
            "sell.chosen.title": Cause(given=_it_is_all_there_is),
            "sell.less.answered": Cause(typed="1"),
            "sell.offer_less.asked": Cause(),
            "sell.offer_less.by_refusal": Cause(given=_cannot_send_any),
            "sell.offer_less.not_open": Cause(
                meanwhile=_meanwhile(_of_sold(Street.call_off, "paid"))
            ),
            "sell.take_back.taken_back": Cause(),
            "sell.take_back.not_open": Cause(
                meanwhile=_meanwhile(_of_sold(Street.agree_to_less, "paid"))
            ),
            "sell.agree.agreed": Cause(),
            "sell.agree.not_open": Cause(
                meanwhile=_meanwhile(_of_sold(Street.take_less_back, "dispatched"))
            ),
            "sell.object.declined": Cause(),
            "sell.object.not_open": Cause(
                meanwhile=_meanwhile(_of_sold(Street.take_less_back, "dispatched"))
            ),
            "sell.load.no_load": Cause(meanwhile=_meanwhile(_of_sold(Street.call_off, "accepted"))),
            "sell.loaded.answered": Cause(typed="1"),
            "sell.put_on.loaded": Cause(),
            "sell.send_part.dispatched": Cause(),
            "sell.send_part.wrong_load": Cause(given=_empty_load),
            "sell.send_part.not_open": Cause(
                meanwhile=_meanwhile(_of_sold(Street.call_off, "accepted"))
            ),
            "sell.code.waits": Cause(
                typed=_right_code, before=_of_sold(Street.say_less_came, "dispatched")
            ),
            "sell.stands.disputed": Cause(before=_of_sold(Street.complain, "paid")),
            "sell.stands.decided": Cause(before=_of_sold(_decided, "paid")),
            "sell.said.given": Cause(given=_says("They were fresh")),
            "sell.said.nothing": Cause(),
            "sell.text.answered": Cause(typed="They were fresh"),
            "sell.answer.answered": Cause(),
            "sell.answer.added": Cause(
                meanwhile=_meanwhile(_of_sold(Street.answer_complaint, "disputed"))
            ),
            "sell.answer.too_many": Cause(
                meanwhile=_meanwhile(_of_sold(_answered_it_all, "disputed"))
            ),
            "sell.answer.settled": Cause(meanwhile=_meanwhile(_of_sold(Street.decide, "disputed"))),
            "sell.stands.over": Cause(before=_of_sold(Street.call_off, "paid")),
            "sell.accept.accepted": Cause(),
            "sell.accept.not_open": Cause(meanwhile=_meanwhile(_of_sold(Street.call_off, "paid"))),
            "sell.refuse.refused": Cause(),
            "sell.refuse.not_open": Cause(meanwhile=_meanwhile(_of_sold(Street.call_off, "paid"))),
            "sell.dispatch.dispatched": Cause(),
            "sell.dispatch.not_open": Cause(
                meanwhile=_meanwhile(_of_sold(Street.call_off, "accepted"))
            ),
            "sell.code.released": Cause(typed=_right_code),
            "sell.code.part_released": Cause(
                typed=lambda street: street.code(_in_parts(street)),
                before=_ordered_and_sent_in_part,
                given=_it_is_the_one_in_parts,
            ),
            "sell.code.wrong_code": Cause(typed=_wrong_code),
            "sell.code.code_locked": Cause(
                typed=_wrong_code,
                before=_of_sold(lambda street, sold: street.fail_code(sold, 4), "dispatched"),
            ),
            "sell.code.frozen": Cause(
                typed=_disputed_code, before=_of_sold(Street.complain, "dispatched")
            ),
            "sell.code.not_open": Cause(
                typed="0123", before=_of_sold(Street.confirm, "dispatched")
            ),
            "sell.claim.claimed": Cause(),
            "sell.claim.not_open": Cause(
                meanwhile=_meanwhile(_of_sold(Street.confirm, "dispatched"))
            ),
            "sell.offer.no_offer": Cause(before=lambda street: street.withdraw_all()),
            "sell.price.answered": Cause(typed="2,600"),
            "sell.set_price.priced": Cause(),
            "sell.more.answered": Cause(typed="10"),
            "sell.take_in.stocked": Cause(),
            "sell.fewer.answered": Cause(typed="1"),
            "sell.take_out.stocked": Cause(),
            "sell.take_out.too_few": Cause(meanwhile=_others_take_all),
            "safe_pay.waiting.picked": Cause(typed="1", start=lambda street: street.is_invited()),
            "safe_pay.waiting.no_waiting": Cause(),
            "safe_pay.opened.picked": Cause(typed="1", start=_opened_one),
            "safe_pay.opened.no_opened": Cause(),
            "safe_pay.as_buyer.free": Cause(),
            "safe_pay.as_buyer.too_many": Cause(before=_opened_many),
            "safe_pay.as_buyer.frozen": Cause(before=Street.freeze),
            "safe_pay.as_seller.free": Cause(),
            "safe_pay.as_seller.too_many": Cause(before=_opened_many),
            "safe_pay.as_seller.frozen": Cause(before=Street.freeze),
            "safe_pay.title.answered": Cause(typed="Samsung A12, used"),
            "safe_pay.amount.answered": Cause(typed="8,500"),
            "safe_pay.other.answered": Cause(typed="0722000099"),
            "safe_pay.due.typed": Cause(typed="25/12"),
            "safe_pay.terms.answered": Cause(typed="With charger. We meet at Toi Market."),
            "safe_pay.sum_up.buyer": Cause(),
            "safe_pay.sum_up.seller": Cause(given=_as_a_seller),
            "safe_pay.word_open.pin": Cause(given=_as_a_seller),
            "safe_pay.word_open.no_pin": Cause(),
            "safe_pay.pin_open.opened": Cause(typed=PIN),
            "safe_pay.pin_open.wrong": Cause(typed="9999"),
            "safe_pay.pin_open.locked": Cause(
                typed="9999", before=lambda street: street.fail_pin(4)
            ),
            "safe_pay.pin_open.too_many": Cause(typed=PIN, meanwhile=_meanwhile(_opened_many)),
            "safe_pay.pin_open.frozen": Cause(typed=PIN, meanwhile=_meanwhile(Street.freeze)),
            "safe_pay.pin_open.yourself": Cause(typed=PIN, given=_means_own_phone),
            "safe_pay.pin_open.day_over": Cause(typed=PIN, given=_due_long_ago),
            "safe_pay.open.opened": Cause(),
            "safe_pay.open.too_many": Cause(meanwhile=_meanwhile(_opened_many)),
            "safe_pay.open.frozen": Cause(meanwhile=_meanwhile(Street.freeze)),
            "safe_pay.open.yourself": Cause(given=_means_own_phone),
            "safe_pay.open.day_over": Cause(given=_due_long_ago),
            "safe_pay.look.to_buy": Cause(),
            "safe_pay.look.to_sell": Cause(given=_means_deal("buyer")),
            "safe_pay.look.own": Cause(given=_means_own_deal),
            "safe_pay.look.bought": Cause(before=Street.agree),
            "safe_pay.look.sold": Cause(given=_means_agreed_deal("buyer")),
            "safe_pay.look.closed": Cause(before=Street.take_back_deals),
            "safe_pay.look.not_yours": Cause(given=_means_a_deal_of_others),
            "safe_pay.word_accept.pin": Cause(given=_means_deal("buyer")),
            "safe_pay.word_accept.no_pin": Cause(),
            "safe_pay.pin_accept.agreed": Cause(typed=PIN),
            "safe_pay.pin_accept.not_open": Cause(
                typed=PIN, meanwhile=_meanwhile(Street.take_back_deals)
            ),
            "safe_pay.pin_accept.stuck": Cause(typed=PIN, meanwhile=_meanwhile(Street.freeze)),
            "safe_pay.pin_accept.wrong": Cause(typed="9999"),
            "safe_pay.pin_accept.locked": Cause(
                typed="9999", before=lambda street: street.fail_pin(4)
            ),
            "safe_pay.accept.asked": Cause(),
            "safe_pay.accept.pay_later": Cause(before=_prompted),
            "safe_pay.accept.agreed": Cause(given=_means_deal("buyer")),
            "safe_pay.accept.not_open": Cause(meanwhile=_meanwhile(Street.take_back_deals)),
            "safe_pay.accept.stuck": Cause(meanwhile=_meanwhile(Street.freeze)),
            "safe_pay.decline.declined": Cause(),
            "safe_pay.decline.not_open": Cause(meanwhile=_meanwhile(Street.take_back_deals)),
            "safe_pay.withdraw.withdrawn": Cause(),
            "safe_pay.withdraw.not_open": Cause(meanwhile=_meanwhile(Street.decline_deals)),
            "problem.which.unsaid": Cause(),
            "problem.which.disputable": Cause(start=_on_its_way, given=_says_which("dispatched")),
            "problem.which.already_open": Cause(start=_complained, given=_says_which("disputed")),
            "problem.which.not_yet": Cause(start=_unpaid_order, given=_says_which("placed")),
            "problem.which.too_late": Cause(
                start=lambda street: (_unpaid_order(street), street.cancel()),
                given=_says_which("cancelled"),
            ),
            "problem.which.not_yours": Cause(given=_names_a_neighbours),
            "problem.order.picked": Cause(typed="1", start=_on_its_way),
            "problem.order.no_order": Cause(),
            "problem.understand.understood": Cause(given=_says("Zimeoza!")),
            "problem.understand.unclear": Cause(),
            "problem.enough.said": Cause(),
            "problem.enough.say_more": Cause(given=_means_something_else),
            "problem.text.answered": Cause(typed="Half of them are green"),
            "problem.report.opened": Cause(),
            "problem.report.already_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.complain, "dispatched"))
            ),
            "problem.report.too_late": Cause(
                meanwhile=_meanwhile(_of_bought(Street.confirm, "dispatched"))
            ),
            "problem.known.given": Cause(given=_says("They smell too")),
            "problem.known.nothing": Cause(),
            "problem.more.answered": Cause(typed="And they smell"),
            "problem.add.added": Cause(),
            "problem.add.too_many": Cause(
                meanwhile=_meanwhile(_of_bought(_said_it_all, "disputed"))
            ),
            "problem.add.too_late": Cause(
                meanwhile=_meanwhile(_of_bought(Street.decide, "disputed"))
            ),
            "messages.message.picked": Cause(typed="1", start=_unpaid_order),
            "messages.message.no_message": Cause(),
            "call_me.waits.waiting": Cause(before=lambda street: street.call_me()),
            "call_me.waits.free": Cause(),
            "call_me.open.opened": Cause(),
            "call_me.open.already_open": Cause(
                meanwhile=_meanwhile(lambda street: street.call_me())
            ),
        }
    )
)
