"""The flows as one graph, and what makes a member go each way out of each state."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from core import catalogue, checkouts
from flows.book import BOOK
from flows.engine import HOME, OFFER, RESUME, Call, Menu, Pick, State, targets
from tests.flows.street import PIN, SHOP, Bargain, Street

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


def path_to(edge: Edge) -> list[Edge]:
    """The shortest way from a dial to this edge, the edge itself at its end."""
    came_by: dict[Node, Edge | None] = {START: None}
    waiting = deque([START])
    while edge.source not in came_by:
        assert waiting, f"no road leads to {edge}"
        node = waiting.popleft()
        ways = [Edge(*node, way) for way in targets(state_of(node))]
        if node == LEFT_AT:
            ways.append(Edge(*node, REDIAL))
        for way in ways:
            if target(way) not in came_by:
                came_by[target(way)] = way
                waiting.append(target(way))
    path = [edge]
    while (before := came_by[path[0].source]) is not None:
        path.insert(0, before)
    return path


@dataclass(frozen=True)
class Cause:
    """What makes a member go a way.

    typed: what she answers, or who knows it by then; of a state that does not ask, the answer that
    leads there. start: what happened before she dialled; before: while she looked at the last
    screen; meanwhile: between that state's own reading and its doing, with the answers so far
    (others commit at any moment).
    """

    typed: str | Callable[[Street], str] | None = None
    start: Callable[[Street], object] | None = None
    before: Callable[[Street], object] | None = None
    meanwhile: Callable[[Street, Any], object] | None = None
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
    """KSh 248,250 of the 250,000 that one payment can be."""
    street.put_in_basket(60, "Dry maize", "Mutua Grains")
    street.put_in_basket(9, "Tomatoes", "Wanjiku Fresh")


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


def _empty_basket(street: Street, answers: Any) -> None:
    checkouts.empty(street.db, street.owner, street.clock())


def _unpaid_order(street: Street) -> None:
    street.place_unpaid(1, "Honey", "Mutua Grains")


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


def _dispatch_and_dispute(street: Street, bargain: Bargain) -> None:
    street.dispatch(bargain)
    street.dispute(bargain)


def _others_take_all(street: Street, answers: Any) -> None:
    left = catalogue.offer(street.db, answers.offer, "en", street.clock())
    assert left is not None
    street.neighbour_takes(answers.offer, left.available_milli)


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
            "register.speak.spoken": Cause(),
            "register.name.answered": Cause(typed="Amina"),
            "register.place_words.answered": Cause(typed="Toi"),
            "register.place.no_place": Cause(typed="qqqq"),
            "register.pin.registered": Cause(typed=PIN),
            "register.pin.already_registered": Cause(
                typed=PIN, before=lambda street: street.register("Njeri")
            ),
            "account.speak.spoken": Cause(),
            "account.name.answered": Cause(typed="Njeri"),
            "account.rename.renamed": Cause(),
            "account.place_words.answered": Cause(typed="Kibera"),
            "account.place.no_place": Cause(typed="qqqq"),
            "account.move.moved": Cause(),
            "account.old_pin.right": Cause(typed=PIN),
            "account.old_pin.wrong": Cause(typed="9999"),
            "account.old_pin.locked": Cause(typed="9999", before=lambda street: street.fail_pin(4)),
            "account.new_pin.changed": Cause(typed="7391"),
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
            "buy.place.placed": Cause(),
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
            "buy.place.day_over": Cause(before=lambda street: street.clock.wait(days=2)),
            "buy.place.no_mpesa": Cause(phone=FOREIGN),
            "my_orders.order.picked": Cause(typed="1", start=_unpaid_order),
            "my_orders.order.no_order": Cause(),
            "my_orders.stands.unpaid": Cause(),
            "my_orders.stands.preparing": Cause(before=lambda street: street.pay_what_waits()),
            "my_orders.stands.coming": Cause(before=_once_paid(Street.dispatch)),
            "my_orders.stands.disputed": Cause(before=_once_paid(_dispatch_and_dispute)),
            "my_orders.stands.over": Cause(before=lambda street: street.cancel()),
            "my_orders.pay_again.asked": Cause(),
            "my_orders.pay_again.not_open": Cause(before=lambda street: street.run_out()),
            "my_orders.pay_again.payment_open": Cause(before=_prompted),
            "my_orders.pay_again.too_soon": Cause(before=_declined),
            "my_orders.pay_again.no_mpesa": Cause(phone=FOREIGN),
            "my_orders.give_up.given_up": Cause(),
            "my_orders.give_up.not_open": Cause(before=lambda street: street.cancel()),
            "my_orders.cancel.cancelled": Cause(),
            "my_orders.cancel.not_open": Cause(
                meanwhile=_meanwhile(_of_bought(Street.dispatch, "paid"))
            ),
            "my_orders.received.released": Cause(),
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
            "sell.code.wrong_code": Cause(typed=_wrong_code),
            "sell.code.code_locked": Cause(
                typed=_wrong_code,
                before=_of_sold(lambda street, sold: street.fail_code(sold, 4), "dispatched"),
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
        }
    )
)
