"""Buy: choose goods from one seller or several, and confirm the basket to be paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from uuid import UUID

from core import (
    carts,
    catalogue,
    charges,
    checkouts,
    days,
    listings,
    members,
    money,
    names,
    order_book,
    phone,
    places,
)
from core.carts import Cart
from core.catalogue import OfferLine, ProductLine
from core.errors import Invalid
from core.orders import Receiver
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick, Typed
from flows.register import place_words, places_meant
from flows.words import Values, show_day

DAYS_AHEAD = 6


@dataclass
class Answers:
    category: UUID | None = None
    words: str | None = None
    wanted: str | None = None  # of it, as typed with the words, before there was an offer
    product: UUID | None = None
    offer: UUID | None = None
    price_cents: int | None = None  # as the buyer was shown it
    quantity: int | None = None  # thousandths of a unit
    line: UUID | None = None
    day: str | None = None  # of delivery, ISO 8601
    total_cents: int | None = None  # as the buyer was shown it
    payer: str | None = None  # another's phone, that is to be asked
    receiver: str | None = None  # the name of whoever has it brought, if not she herself
    receiver_phone: str | None = None
    place_words: str | None = None
    to_place: UUID | None = None


def look(context: Context, answers: Any) -> Literal["filled", "empty"]:
    """Is there a basket from before?"""
    cart = _cart(context)
    answers.total_cents = cart.total_cents
    return "filled" if cart.lines else "empty"


def categories(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = listings.categories(context.db, context.language, context.buyer, context.now)
    return [Option(category.id, {"category": category.name}) for category in found]


def products(context: Context, answers: Any) -> list[Option[UUID]]:
    if answers.category is None:
        return []
    return _products(
        listings.products(
            context.db, answers.category, context.language, context.buyer, context.now
        )
    )


@hints("words")
def words(_context: Context, _answers: Any, text: str) -> str:
    if sum(character.isalpha() for character in text) < 2:
        raise Invalid("words")
    return text


def found(context: Context, answers: Any) -> list[Option[UUID]]:
    buyer = context.buyer.id
    return _products(
        catalogue.search(context.db, answers.words, context.language, buyer, context.now)
    )


def offers(context: Context, answers: Any) -> list[Option[UUID]]:
    lines = listings.offers(
        context.db, answers.product, context.language, context.buyer, context.now
    )
    return [
        Option(
            line.id,
            {"seller": line.seller_name, "price": money.show(line.price_cents), "unit": line.unit},
        )
        for line in lines
    ]


def see(context: Context, answers: Any) -> Literal["open", "wanted", "gone"]:
    """The offer as it stands, its price remembered as the one the buyer is shown.

    "wanted": she said with her first words how many; if he has not so many, she is asked.
    """
    offer = _offer(context, answers)
    if offer is None or offer.available_milli < offer.minimum_milli:
        return "gone"
    answers.price_cents = offer.price_cents
    wanted, answers.wanted = answers.wanted, None
    if wanted is None:
        return "open"
    try:
        answers.quantity = quantity(context, answers, wanted)
    except Invalid:
        return "open"
    return "wanted"


def offer_line(context: Context, answers: Any) -> Values:
    offer = _offer(context, answers)
    assert offer is not None, "an offer that was shown is not in the catalogue"
    return {
        "product": offer.product_name,
        "seller": offer.seller_name,
        "price": money.show(offer.price_cents),
        "unit": offer.unit,
        "units": offer.units,
        "stock": catalogue.show_quantity(max(0, offer.available_milli)),
        "minimum": catalogue.show_quantity(offer.minimum_milli),
    }


@hints("number", "whole_number", "step", "minimum", "not_enough", "too_much")
def quantity(context: Context, answers: Any, text: str) -> int:
    offer = _offer(context, answers)
    if offer is None:
        raise Invalid("not_enough", stock="0")
    return catalogue.parse_quantity(
        text,
        step_milli=offer.step_milli,
        minimum_milli=offer.minimum_milli,
        available_milli=offer.available_milli,
    )


def add(
    context: Context, answers: Any
) -> Literal[
    "added",
    "not_so_many",
    "own_offer",
    "below_minimum",
    "price_changed",
    "too_many_lines",
    "too_large",
]:
    outcome = carts.add(
        context.db,
        context.buyer.id,
        answers.offer,
        answers.quantity,
        answers.price_cents,
        context.now,
    )
    return "not_so_many" if outcome == "sold_out" else outcome


def cart_line(context: Context, answers: Any) -> Values:
    cart = _cart(context)
    answers.total_cents = cart.total_cents
    return {
        "count": len(cart.lines),
        "total": money.show(cart.total_cents),
    }


def lines(context: Context, _answers: Any) -> list[Option[UUID]]:
    return [
        Option(
            line.id,
            {
                "product": line.product_name,
                "quantity": catalogue.show_quantity(line.quantity_milli),
                "unit": line.unit if line.quantity_milli == 1000 else line.units,
                "total": money.show(line.amount_cents),
            },
        )
        for line in _cart(context).lines
    ]


def remove(context: Context, answers: Any) -> Literal["removed", "cart_empty"]:
    carts.remove(context.db, context.buyer.id, answers.line, context.now)
    return "removed" if look(context, answers) == "filled" else "cart_empty"


def days_ahead(context: Context, _answers: Any) -> list[Option[str]]:
    ahead = days.coming(context.now, DAYS_AHEAD)
    return [Option(day.isoformat(), {"day": show_day(day, context.language)}) for day in ahead]


def confirm_line(context: Context, answers: Any) -> Values:
    place = places.by_id(context.db, answers.to_place or context.buyer.place_id)
    to = [names.called(answers.receiver)] if answers.receiver else []
    return {
        **cart_line(context, answers),
        "to": ", ".join([*to, place.name if place else ""]),
        "day": show_day(date.fromisoformat(answers.day), context.language),
    }


@hints("name")
def receiver_name(_context: Context, _answers: Any, text: str) -> str:
    return members.parse_name(text)


@hints("phone")
def receiver_number(_context: Context, _answers: Any, text: str) -> str:
    msisdn = phone.parse(text)
    if not phone.is_kenyan_mobile(msisdn):
        raise Invalid("phone")  # where we could send no code
    return msisdn


def own(context: Context, answers: Any) -> Literal["mpesa", "no_mpesa"]:
    """She pays by the phone that she speaks by."""
    answers.payer = None
    return "mpesa" if phone.has_mpesa(context.msisdn) else "no_mpesa"


def known_payer(context: Context, answers: Any) -> Literal["known", "unknown"]:
    """Who has paid for her before is offered, never taken for granted."""
    answers.payer = charges.last_payer(context.db, context.buyer.id)
    return "known" if answers.payer else "unknown"


@hints("phone", "no_mpesa")
def payer_number(_context: Context, _answers: Any, text: str) -> str:
    msisdn = phone.parse(text)
    if not phone.has_mpesa(msisdn):
        raise Invalid("no_mpesa")
    return msisdn


def payer_line(context: Context, answers: Any) -> Values:
    return {"number": phone.local(answers.payer), "total": money.show(_cart(context).total_cents)}


def split(_context: Context, answers: Any) -> Literal["one", "parts"]:
    """Is it more than M-Pesa moves at once? By the total shown to her; no other one is placed."""
    return "parts" if len(charges.parts(answers.total_cents)) > 1 else "one"


def parts_line(_context: Context, answers: Any) -> Values:
    """ "250,000 + 83,500", and of many "9 x 250,000 + 83,500"."""
    *whole, last = charges.parts(answers.total_cents)
    times = f"{len(whole)} x " if len(whole) > 1 else ""
    return {
        "count": len(whole) + 1,
        "parts": f"{times}{money.show(whole[0])} + {money.show(last)}",
    }


def place(
    context: Context, answers: Any
) -> Literal[
    "placed",
    "placed_other",
    "cart_empty",
    "sold_out",
    "price_changed",
    "too_many_open",
    "payment_open",
    "too_soon",
    "unwilling",
    "day_over",
]:
    receiver = Receiver(answers.receiver, answers.receiver_phone) if answers.to_place else None
    outcome = checkouts.place(
        context.db,
        context.buyer.id,
        answers.payer or context.msisdn,
        answers.total_cents,
        context.rules,
        context.now,
        deliver_on=date.fromisoformat(answers.day),
        place_id=answers.to_place,
        receiver=receiver,
    )
    return "placed_other" if outcome == "placed" and answers.payer else outcome


def placed_orders(context: Context, answers: Any) -> Values:
    """total: what is asked for now, all of it or the first part."""
    placed = order_book.newest(context.db, context.buyer.id)
    first_cents, *_later = charges.parts(sum(order.total_cents for order in placed))
    return {
        "orders": ", ".join(str(order.number) for order in placed),
        "total": money.show(first_cents),
        "number": phone.local(answers.payer) if answers.payer else "",
    }


def basket(context: Context, _answers: Any) -> Values:
    return {"total": money.show(_cart(context).total_cents)}


def _cart(context: Context) -> Cart:
    return carts.read(context.db, context.buyer.id, context.language)


def _offer(context: Context, answers: Any) -> OfferLine | None:
    """As it stands; read once, however many of a hop's functions ask."""
    key = (answers.offer, context.language)
    if key not in context.read:
        context.read[key] = catalogue.offer(
            context.db, answers.offer, context.language, context.now
        )
    found: OfferLine | None = context.read[key]
    return found


def _products(found: Sequence[ProductLine]) -> list[Option[UUID]]:
    return [
        Option(
            product.id,
            {
                "product": product.name,
                "price": money.show(product.from_price_cents),
                "unit": product.unit,
            },
        )
        for product in found
    ]


BY_NAME = Typed("words", parse=words, to="found")

BUY = Flow(
    "buy",
    Answers,
    (
        Call("look", do=look, effect=False, to={"filled": "cart", "empty": "category"}),
        Pick("category", options=categories, to="product", typed=BY_NAME, empty="closed"),
        Pick("product", options=products, to="offer", typed=BY_NAME, empty="category"),
        Pick("found", options=found, to="offer", field="product", typed=BY_NAME, empty="category"),
        Pick("offer", options=offers, to="see", empty="category"),
        Call(
            "see",
            do=see,
            effect=False,
            to={"open": "quantity", "wanted": "add_wanted", "gone": "category"},
        ),
        Ask("quantity", show=offer_line, parse=quantity, to="add", nudge=True),
        Call(
            "add",
            do=add,
            to={
                "added": "cart",
                "not_so_many": "see",
                "own_offer": "category",
                "below_minimum": "see",
                "price_changed": "see",
                "too_many_lines": "cart",
                "too_large": "cart",
            },
        ),
        Call(
            "add_wanted",
            do=add,
            to={
                "added": "cart",
                "not_so_many": "quantity",
                "own_offer": "category",
                "below_minimum": "quantity",
                "price_changed": "offer",
                "too_many_lines": "cart",
                "too_large": "cart",
            },
        ),
        Menu(
            "cart",
            show=cart_line,
            to={"pay": "day", "more": "category", "change": "line"},
            nudge=True,
        ),
        Pick("line", options=lines, to="remove", empty="category"),
        Call("remove", do=remove, to={"removed": "cart", "cart_empty": "category"}),
        Pick("day", options=days_ahead, to="confirm", nudge=True),
        Menu(
            "confirm",
            show=confirm_line,
            to={"pay": "own", "other": "known_payer", "gift": "receiver", "change": "cart"},
            nudge=True,
        ),
        Ask("receiver", parse=receiver_name, to="receiver_phone"),
        Ask("receiver_phone", parse=receiver_number, to="place_words"),
        Ask("place_words", parse=place_words, to="to_place"),
        Pick("to_place", options=places_meant, to="confirm", empty="place_words"),
        Call("own", do=own, effect=False, to={"mpesa": "split", "no_mpesa": "payer"}),
        Call(
            "known_payer",
            do=known_payer,
            effect=False,
            to={"known": "same_payer", "unknown": "payer"},
        ),
        Menu("same_payer", show=payer_line, to={"ask": "split", "other": "payer"}),
        Ask("payer", parse=payer_number, to="sure_payer"),
        Menu("sure_payer", show=payer_line, to={"ask": "split", "other": "payer"}),
        Call("split", do=split, effect=False, to={"one": "place", "parts": "parts"}),
        Menu("parts", show=parts_line, to={"pay": "place", "change": "cart"}),
        Call(
            "place",
            do=place,
            to={
                "placed": "asked",
                "placed_other": "asked_other",
                "cart_empty": "category",
                "sold_out": "look",
                "price_changed": "confirm",
                "too_many_open": "unpaid",
                "payment_open": "wait",
                "too_soon": "wait",
                "unwilling": "payer",
                "day_over": "day",
            },
        ),
        End("asked", show=placed_orders),
        End("asked_other", show=placed_orders),
        End("wait"),
        End("unpaid"),
        End("closed"),
    ),
    resume_show=basket,
)
