"""Journeys: what a caller chooses, screen after screen, and how each screen must begin."""

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
class Step:
    """typed: the answer to the screen before, "" at the beginning. begins: the screen it leads to.

    ends: whether the conversation is over there.
    """

    typed: str
    begins: str
    ends: bool = False


Journey = Sequence[Step]


def every(db: Db, name: Name, buyer_id: UUID, now: datetime) -> list[Journey]:
    """The journey through every offer of the market, so that no row is hotter than in life."""
    found: list[Journey] = []
    for category_number, category in enumerate(
        catalogue.categories(db, LANGUAGE, buyer_id, now), 1
    ):
        products = catalogue.products(db, category.id, LANGUAGE, buyer_id, now)
        for product_number, product in enumerate(products, 1):
            offers = catalogue.offers(db, product.id, LANGUAGE, buyer_id, now)
            for offer_number, offer in enumerate(offers, 1):
                steps = _browse((category_number, product_number, offer_number), offer)
                found.append(steps if name == "browse" else [*steps, *_order(offer)])
    return found


def _browse(numbers: tuple[int, int, int], offer: catalogue.OfferLine) -> list[Step]:
    category, product, seller = map(str, numbers)
    return [
        Step("", "Sokoni. Welcome, "),
        Step("1", "What would you like?"),
        Step(category, "Choose, or type a name."),
        Step(product, "Who do you buy from?"),
        Step(seller, offer.product_name[:PRODUCT_LETTERS]),
    ]


def _order(offer: catalogue.OfferLine) -> list[Step]:
    return [
        Step(catalogue.show_quantity(offer.minimum_milli), "It is in your basket."),
        Step("1", "Which day shall it come?"),
        Step("1", "To "),
        Step("1", "Order ", ends=True),
    ]
