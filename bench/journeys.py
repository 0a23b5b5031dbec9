"""Journeys: what a caller types, hop after hop, and how each screen must begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from core import catalogue
from core.database import Db

Name = Literal["browse", "order"]

LANGUAGE = "en"
PRODUCT_LETTERS = 12  # of its name that are looked for; a screen may clip the rest


@dataclass(frozen=True)
class Hop:
    """text: all that was typed in the session by now, as the gateway sends it."""

    text: str
    begins: str


Journey = Sequence[Hop]


def every(db: Db, name: Name, buyer_id: UUID, now: datetime) -> list[Journey]:
    """The journey through every offer of the market, so that no row is hotter than in life."""
    found = []
    for category_number, category in enumerate(
        catalogue.categories(db, LANGUAGE, buyer_id, now), 1
    ):
        products = catalogue.products(db, category.id, LANGUAGE, buyer_id, now)
        for product_number, product in enumerate(products, 1):
            offers = catalogue.offers(db, product.id, LANGUAGE, buyer_id, now)
            for offer_number, offer in enumerate(offers, 1):
                numbers = (category_number, product_number, offer_number)
                steps = _browse(numbers, offer)
                found.append(_said(steps if name == "browse" else [*steps, *_order(offer)]))
    return found


Step = tuple[str, str]  # what is typed, how the screen begins


def _browse(numbers: tuple[int, int, int], offer: catalogue.OfferLine) -> list[Step]:
    category, product, seller = map(str, numbers)
    return [
        ("", "CON Sokoni. Welcome, "),
        ("1", "CON What would you like?"),
        (category, "CON Choose, or type a name."),
        (product, "CON Who do you buy from?"),
        (seller, f"CON {offer.product_name[:PRODUCT_LETTERS]}"),
    ]


def _order(offer: catalogue.OfferLine) -> list[Step]:
    return [
        (catalogue.show_quantity(offer.minimum_milli), "CON It is in your basket."),
        ("1", "CON Which day shall it come?"),
        ("1", "CON To "),
        ("1", "END Order "),
    ]


def _said(steps: Sequence[Step]) -> Journey:
    typed = [text for text, _ in steps[1:]]
    return [Hop("*".join(typed[:number]), begins) for number, (_, begins) in enumerate(steps)]
