"""Listings: what is for sale as a buyer's lists show it, which may be a moment old.

Only to choose from: the offer chosen, the basket and the order read the truth (core/catalogue.py,
core/checkouts.py; docs/decisions/0011-listings-of-a-moment.md). Everybody who sells nothing sees
the same lists; a seller's leave out the seller's own offers and are always read anew.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from core import catalogue
from core.catalogue import Category, OfferLine, ProductLine
from core.database import Db
from core.members import Member

NO_SELLER: Final = UUID(int=0)  # whose own offers are left out for those who have none


def categories(db: Db, language: str, buyer: Member, now: datetime) -> Sequence[Category]:
    """As catalogue.categories."""
    if buyer.is_seller:
        return catalogue.categories(db, language, buyer.id, now)
    return db.recall(
        ("categories", language),
        lambda: catalogue.categories(db, language, NO_SELLER, now),
        now,
    )


def products(
    db: Db, category_id: UUID, language: str, buyer: Member, now: datetime
) -> Sequence[ProductLine]:
    """As catalogue.products."""
    if buyer.is_seller:
        return catalogue.products(db, category_id, language, buyer.id, now)
    return db.recall(
        ("products", category_id, language),
        lambda: catalogue.products(db, category_id, language, NO_SELLER, now),
        now,
    )


def offers(
    db: Db, product_id: UUID, language: str, buyer: Member, now: datetime
) -> Sequence[OfferLine]:
    """As catalogue.offers."""
    if buyer.is_seller:
        return catalogue.offers(db, product_id, language, buyer.id, now)
    return db.recall(
        ("offers", product_id, language),
        lambda: catalogue.offers(db, product_id, language, NO_SELLER, now),
        now,
    )
