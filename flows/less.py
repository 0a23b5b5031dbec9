"""Less: how a line of an order, and what is said to be missing of it, are shown to either side."""

from typing import Final
from uuid import UUID

from core import catalogue, money, shortages, trips
from core.order_book import BuyerOrder, SellerOrder
from core.shortages import Standing
from core.trips import Line
from flows.engine import Context
from flows.words import Values, common, show_moment

NONE: Final = frozenset({"x", "none", "hakuna"})  # 0 is the key that goes back


def how_many(text: str, line: Line, milli_max: int) -> int:
    """What was typed of a line, in thousandths of its unit, or that it is none. Raises Invalid."""
    if text.strip().casefold() in NONE:
        return 0
    return catalogue.parse_quantity(
        text, step_milli=line.step_milli, minimum_milli=0, available_milli=max(0, milli_max)
    )


def on_the_road_cents(context: Context, order: BuyerOrder | SellerOrder) -> int:
    """What is paid when what was sent has come; of an order that is not on the road, all of it."""
    if order.state not in ("dispatched", "delivered") or not trips.is_part(context.db, order.id):
        return order.total_cents
    return trips.on_road_cents(trips.of_order(context.db, order.id))


def line_of(context: Context, order_id: UUID, line_id: UUID) -> Line:
    """One that was shown."""
    found = trips.of_order(context.db, order_id, context.language)
    return next(line for line in found if line.id == line_id)


def line_values(line: Line, milli: int) -> Values:
    """So much of it."""
    return {
        "product": line.product,
        "quantity": catalogue.show_quantity(milli),
        "unit": line.unit if milli == 1000 else line.units,
        "units": line.units,
    }


def less_values(line: Line, to_milli: int, from_milli: int, language: str) -> Values:
    """So much of so much, and what the difference is worth."""
    has, quantity = catalogue.show_quantity(to_milli), catalogue.show_quantity(from_milli)
    of = common().texts["of"][language]  # a stroke would read as a half
    return {
        "less": f"{has} {of} {quantity} {line.units} {line.product}",
        "back": money.show(line.off_cents(from_milli - to_milli)),
    }


def standing_values(context: Context, order_id: UUID) -> Values:
    """What waits for an answer; nothing where it was answered since it was shown."""
    found: Standing | None = shortages.standing(context.db, order_id, context.language)
    if found is None:
        return {"less": "-", "back": "0", "until": "-"}
    said = found.reduction
    return {
        **less_values(found.line, said.to_milli, said.from_milli, context.language),
        "back": money.show(said.refund_cents),
        "until": show_moment(said.answer_by, context.language),
    }
