"""Demo data: a market with places, goods, sellers and stock, for an empty database.

`python -m core.demo` loads it once; run again it changes nothing. With `--capital` so many
shillings of our own lie in the payout float, also once.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core import catalogue, demo_data, members, places, stock, treasury
from core.database import Database, Db
from core.money import CENTS
from core.rules import Rules

# The sellers' consent; a person's own is kept with the words of the screen it was given on.
CONSENT_VERSION = "demo"
CONSENT_WORDING = "A made-up seller of the demo market."


@dataclass(frozen=True)
class Loaded:
    places: int
    sellers: int
    categories: int
    products: int
    offers: int


def load(db: Db, rules: Rules, now: datetime) -> Loaded | None:
    """Fill an empty market; None: it has categories already, and nothing was changed."""
    db.run("LOCK TABLE categories IN SHARE ROW EXCLUSIVE MODE")  # two at once: the second waits
    if db.value("SELECT count(*) FROM categories"):
        return None
    place_ids = {place.name: _add_place(db, place, now) for place in demo_data.PLACES}
    seller_ids = [
        _add_seller(db, seller, place_ids[seller.place], rules, now) for seller in demo_data.SELLERS
    ]
    for position, category in enumerate(demo_data.CATEGORIES, start=1):
        category_id = catalogue.add_category(
            db,
            slug=category.slug,
            names={"en": category.en, "sw": category.sw},
            position=position,
            now=now,
        )
        for product in category.products:
            _add_product(db, product, category_id, seller_ids, now)
    products = [product for category in demo_data.CATEGORIES for product in category.products]
    return Loaded(
        places=len(place_ids),
        sellers=len(seller_ids),
        categories=len(demo_data.CATEGORIES),
        products=len(products),
        offers=sum(len(product.sold) for product in products),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m core.demo", description="Demo data.")
    parser.add_argument("--capital", type=int, default=0, metavar="KSH", help="of our own")
    given = parser.parse_args(arguments)
    from settings import from_environment  # here only: the business itself knows no settings

    settings = from_environment()
    if settings.database_url is None:
        raise SystemExit("Demo data: no database. Set DATABASE_URL, or start one: make services")
    database = Database(settings.database_url)
    try:
        with database.begin() as db:
            loaded = load(db, settings.rules(), database.clock())
            if given.capital > 0:
                treasury.found(db, given.capital * CENTS, database.clock())
    finally:
        database.close()
    if loaded is None:
        print("Demo data: already there.")
    else:
        print(
            f"Demo data: {loaded.places} places, {loaded.categories} categories, "
            f"{loaded.products} products, {loaded.sellers} sellers, {loaded.offers} offers."
        )


def _add_place(db: Db, place: demo_data.Place, now: datetime) -> UUID:
    return places.add(
        db,
        name=place.name,
        kind=place.kind,
        county=place.county,
        latitude=place.latitude,
        longitude=place.longitude,
        now=now,
    )


def _add_seller(
    db: Db, seller: demo_data.Seller, place_id: UUID, rules: Rules, now: datetime
) -> UUID:
    """The number may have a member already, who then becomes the seller."""
    members.register(
        db,
        msisdn=seller.msisdn,
        name=seller.name,
        place_id=place_id,
        language=seller.language,
        consent_version=CONSENT_VERSION,
        consent_wording=CONSENT_WORDING,
        pin=demo_data.PIN,
        rules=rules,
        now=now,
    )
    member = members.by_msisdn(db, seller.msisdn)
    assert member is not None, "a seller who was just registered is not there"
    members.make_seller(db, member.id, now)
    return member.id


def _add_product(
    db: Db,
    product: demo_data.Product,
    category_id: UUID,
    seller_ids: list[UUID],
    now: datetime,
) -> None:
    unit = demo_data.UNITS[product.unit]
    product_id = catalogue.add_product(
        db,
        category_id=category_id,
        slug=product.slug,
        names={"en": product.en, "sw": product.sw},
        units={
            language: {"one": one, "many": many} for language, (one, many) in unit._asdict().items()
        },
        step_milli=product.step_milli,
        other_names=product.other_names,
        now=now,
    )
    for seller, price_shillings, on_hand in product.sold:
        offer_id = catalogue.add_offer(
            db,
            product_id=product_id,
            seller_id=seller_ids[seller],
            price_cents=price_shillings * 100,
            minimum_milli=product.minimum * 1000,
            now=now,
        )
        stock.receive(db, offer_id, on_hand * 1000, "opening stock", now)


if __name__ == "__main__":
    main()
