"""Catalogue: what is for sale, from whom, at which price, in words of the buyer's language.

Where a language lacks a word, the English one stands in; so a third language needs words only.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import LiteralString
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core import spelling
from core.database import Db, metadata
from core.errors import Invalid
from core.money import CENTS
from core.stock import AVAILABLE_MILLI

PRICE_SHILLINGS_MAX = 250_000  # of one unit: what M-Pesa moves at once
QUANTITY_MILLI_MAX = 1_000_000_000  # a million units: nobody means more

categories_table = sa.Table(
    "categories",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("slug", sa.Text, nullable=False, unique=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("names", JSONB, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("names ? 'en'", name="names"),
)

products_table = sa.Table(
    "products",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("category_id", sa.Uuid, sa.ForeignKey("categories.id"), nullable=False, index=True),
    sa.Column("slug", sa.Text, nullable=False, unique=True),
    sa.Column("names", JSONB, nullable=False),
    sa.Column("units", JSONB, nullable=False),
    sa.Column("other_names", ARRAY(sa.Text), nullable=False),
    sa.Column("search", sa.Text, nullable=False),
    sa.Column("step_milli", sa.BigInteger, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("names ? 'en'", name="names"),
    sa.CheckConstraint("units->'en' ?& '{one,many}'", name="units"),
    sa.CheckConstraint("step_milli > 0", name="step_milli"),
    sa.Index(
        "ix_products_search",
        "search",
        postgresql_using="gin",
        postgresql_ops={"search": "gin_trgm_ops"},
    ),
)

offers_table = sa.Table(
    "offers",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("product_id", sa.Uuid, sa.ForeignKey("products.id"), nullable=False),
    sa.Column("seller_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False, index=True),
    sa.Column("price_cents", sa.BigInteger, nullable=False),
    sa.Column("minimum_milli", sa.BigInteger, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("product_id", "seller_id"),
    sa.CheckConstraint("price_cents > 0", name="price_cents"),
    sa.CheckConstraint("minimum_milli > 0", name="minimum_milli"),
)


@dataclass(frozen=True)
class Category:
    id: UUID
    name: str


@dataclass(frozen=True)
class ProductLine:
    """A product as a list shows it. unit: of one, "kilo". from_price_cents: of the cheapest."""

    id: UUID
    name: str
    unit: str
    from_price_cents: int
    sellers_count: int


@dataclass(frozen=True)
class OfferLine:
    """An offer as a buyer sees it. unit: of one, "bag"; units: of many, "bags".

    available_milli: at most QUANTITY_MILLI_MAX, which is more than anybody can order at once.
    """

    id: UUID
    product_name: str
    seller_name: str
    price_cents: int
    minimum_milli: int
    step_milli: int
    available_milli: int
    unit: str
    units: str


def categories(db: Db, language: str, buyer_id: UUID, now: datetime) -> list[Category]:
    """Those with something this buyer can order, in the market's own order."""
    return db.rows(Category, _CATEGORIES, {"language": language, "buyer_id": buyer_id, "now": now})


def products(
    db: Db, category_id: UUID, language: str, buyer_id: UUID, now: datetime
) -> list[ProductLine]:
    """Those of a category which this buyer can order from somebody else, by name."""
    return db.rows(
        ProductLine,
        _PRODUCTS,
        {"category_id": category_id, "language": language, "buyer_id": buyer_id, "now": now},
    )


def search(
    db: Db, words: str, language: str, buyer_id: UUID, now: datetime, limit: int = 20
) -> list[ProductLine]:
    """What this buyer can order and may have meant, best first; found by its name in any language.

    Names are shown in the buyer's language whichever was typed.
    """
    sought = spelling.sought(db, words)
    if sought is None:
        return []
    found = db.rows(
        _Found,
        _SEARCH,
        {
            **sought,
            "language": language,
            "buyer_id": buyer_id,
            "now": now,
            "limit": max(limit, spelling.CANDIDATES_MAX),
        },
    )
    return [
        ProductLine(near.id, near.name, near.unit, near.from_price_cents, near.sellers_count)
        for near in spelling.nearest(sought["words"], found)[:limit]
    ]


def offers(
    db: Db, product_id: UUID, language: str, buyer_id: UUID, now: datetime
) -> list[OfferLine]:
    """Those of others with stock enough for their minimum: cheapest first, then by seller."""
    return db.rows(
        OfferLine,
        _OFFERS,
        {"product_id": product_id, "language": language, "buyer_id": buyer_id, "now": now},
    )


def offer(db: Db, offer_id: UUID, language: str, now: datetime) -> OfferLine | None:
    """One offer as it stands, sold out or not; None: withdrawn, or never made."""
    return db.row(OfferLine, _OFFER, {"offer_id": offer_id, "language": language, "now": now})


def offers_of(db: Db, seller_id: UUID, language: str, now: datetime) -> list[OfferLine]:
    """All that a seller offers, sold out too, by the product's name."""
    return db.rows(
        OfferLine, _OFFERS_OF, {"seller_id": seller_id, "language": language, "now": now}
    )


def add_category(
    db: Db, *, slug: str, names: Mapping[str, str], position: int, now: datetime
) -> UUID:
    """names: by language, English among them."""
    category_id = db.new_id()
    db.run(
        """
        INSERT INTO categories (id, slug, position, names, created_at, updated_at)
        VALUES (%(id)s, %(slug)s, %(position)s, %(names)s, %(now)s, %(now)s)
        """,
        {
            "id": category_id,
            "slug": slug,
            "position": position,
            "names": Jsonb(dict(names)),
            "now": now,
        },
    )
    return category_id


def add_product(
    db: Db,
    *,
    category_id: UUID,
    slug: str,
    names: Mapping[str, str],
    units: Mapping[str, Mapping[str, str]],
    step_milli: int,
    other_names: Sequence[str] = (),
    now: datetime,
) -> UUID:
    """names: by language, English among them. units: by language, {"one": "bag", "many": "bags"}.

    other_names: what else people call it, for the search only. step_milli: 1000 sells it whole.
    """
    product_id = db.new_id()
    db.run(
        """
        INSERT INTO products (id, category_id, slug, names, units, other_names, search, step_milli,
                              active, created_at, updated_at)
        VALUES (%(id)s, %(category_id)s, %(slug)s, %(names)s, %(units)s, %(other_names)s,
                %(search)s, %(step_milli)s, true, %(now)s, %(now)s)
        """,
        {
            "id": product_id,
            "category_id": category_id,
            "slug": slug,
            "names": Jsonb(dict(names)),
            "units": Jsonb({language: dict(words) for language, words in units.items()}),
            "other_names": list(other_names),
            "search": spelling.document([*names.values(), *other_names]),
            "step_milli": step_milli,
            "now": now,
        },
    )
    return product_id


def add_offer(
    db: Db,
    *,
    product_id: UUID,
    seller_id: UUID,
    price_cents: int,
    minimum_milli: int,
    now: datetime,
) -> UUID:
    """A seller's price, a unit. It is shown once there is stock for its minimum."""
    offer_id = db.new_id()
    db.run(
        """
        INSERT INTO offers (id, product_id, seller_id, price_cents, minimum_milli, active,
                            created_at, updated_at)
        VALUES (%(id)s, %(product_id)s, %(seller_id)s, %(price_cents)s, %(minimum_milli)s, true,
                %(now)s, %(now)s)
        """,
        {
            "id": offer_id,
            "product_id": product_id,
            "seller_id": seller_id,
            "price_cents": price_cents,
            "minimum_milli": minimum_milli,
            "now": now,
        },
    )
    return offer_id


def set_price(db: Db, offer_id: UUID, price_cents: int, now: datetime) -> None:
    """From now on; orders already placed keep theirs."""
    db.run(
        "UPDATE offers SET price_cents = %(price_cents)s, updated_at = %(now)s WHERE id = %(id)s",
        {"price_cents": price_cents, "now": now, "id": offer_id},
    )


def withdraw(db: Db, offer_id: UUID, now: datetime) -> None:
    """The offer is no longer for sale; orders already placed stand."""
    db.run(
        "UPDATE offers SET active = false, updated_at = %(now)s WHERE id = %(id)s",
        {"now": now, "id": offer_id},
    )


def parse_quantity(text: str, *, step_milli: int, minimum_milli: int, available_milli: int) -> int:
    """What was typed, in thousandths of a unit: "2", "2.5", "2,5", ".5", "1/2", "½", "1 1/2".

    A comma before exactly three digits is read as people write thousands: "1,500" is 1500.
    Raises Invalid: "number"; "too_much"; "whole_number" or "step" (step); "minimum" (minimum);
    "not_enough" (stock). The values are what show_quantity makes of them.
    """
    quantity_milli = _thousandths(text.strip())
    if quantity_milli > QUANTITY_MILLI_MAX:
        raise Invalid("too_much")
    if quantity_milli % step_milli:
        if step_milli == 1000:
            raise Invalid("whole_number")
        raise Invalid("step", step=show_quantity(step_milli))
    if quantity_milli < minimum_milli:
        raise Invalid("minimum", minimum=show_quantity(minimum_milli))
    if quantity_milli > available_milli:
        sellable_milli = available_milli - available_milli % step_milli
        raise Invalid("not_enough", stock=show_quantity(sellable_milli))
    return int(quantity_milli)


def parse_price(text: str) -> int:
    """What was typed, in cents: "250", "1,500", "KSh 250", "250/=". Raises Invalid("price")."""
    typed = _PRICE.fullmatch(text.strip().lower())
    shillings = int(typed["shillings"].replace(",", "")) if typed else 0
    if not 1 <= shillings <= PRICE_SHILLINGS_MAX:
        raise Invalid("price")
    return shillings * CENTS


def show_quantity(quantity_milli: int) -> str:
    """For a screen: "2", "2.5", "1,500"."""
    whole, rest = divmod(quantity_milli, 1000)
    return f"{whole:,}.{rest:03}".rstrip("0") if rest else f"{whole:,}"


_FRACTIONS = str.maketrans({"½": " 1/2", "¼": " 1/4", "¾": " 3/4"})
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?")
_DECIMAL = re.compile(r"[0-9]+[.,]?|[0-9]*[.,][0-9]+")
_FRACTION = re.compile(r"(?:(?P<whole>[0-9]+) +)?(?P<part>[0-9]+/0*[1-9][0-9]*)")
_PRICE = re.compile(
    r"((ksh|kes)\.? *)?(?P<shillings>[0-9]{1,9}|[1-9][0-9]{0,2}(,[0-9]{3}){1,2})(\.00?|/[=-])?"
)
_TYPED_MAX = 20  # characters of a quantity; more is a slip of the finger


def _thousandths(typed: str) -> Fraction:
    """Exact: what is finer than a thousandth must not be rounded into a whole step."""
    if len(typed) > _TYPED_MAX:
        raise Invalid("too_much" if typed.isdecimal() else "number")
    plain = typed.translate(_FRACTIONS).strip()
    if fraction := _FRACTION.fullmatch(plain):
        return 1000 * (int(fraction["whole"] or 0) + Fraction(fraction["part"]))
    if _GROUPED.fullmatch(plain):
        return 1000 * Fraction(plain.replace(",", ""))
    if not _DECIMAL.fullmatch(plain):
        raise Invalid("number")
    return 1000 * Fraction(plain.replace(",", "."))


@dataclass(frozen=True)
class _Found(ProductLine):
    search: str
    score: float


_NAME: LiteralString = "coalesce(p.names->>%(language)s, p.names->>'en')"
_UNIT: LiteralString = "coalesce(p.units->%(language)s->>'one', p.units->'en'->>'one')"
_UNITS: LiteralString = "coalesce(p.units->%(language)s->>'many', p.units->'en'->>'many')"

# LATERAL … OFFSET 0: as a relation of its own, what is left is asked of these offers only and not,
# while the market is small, of every one in it.
_ON_SALE: LiteralString = f"""
    products p
    JOIN offers o ON o.product_id = p.id AND o.active AND o.seller_id <> %(buyer_id)s
    JOIN members m ON m.id = o.seller_id AND m.deleted_at IS NULL
    JOIN stock s ON s.offer_id = o.id
    JOIN LATERAL (SELECT {AVAILABLE_MILLI} AS milli OFFSET 0) AS available
        ON available.milli >= o.minimum_milli
"""

# LATERAL … LIMIT 1, not EXISTS, which the planner turns into a look at every offer of the market.
_CATEGORIES: LiteralString = f"""
    SELECT c.id, coalesce(c.names->>%(language)s, c.names->>'en') AS name
    FROM categories c
    CROSS JOIN LATERAL (
        SELECT FROM {_ON_SALE} WHERE p.category_id = c.id AND p.active LIMIT 1
    ) AS something
    ORDER BY c.position, c.id
"""

_PRODUCTS: LiteralString = f"""
    SELECT p.id, {_NAME} AS name, {_UNIT} AS unit, min(o.price_cents) AS from_price_cents,
           count(*) AS sellers_count
    FROM {_ON_SALE}
    WHERE p.category_id = %(category_id)s AND p.active
    GROUP BY p.id
    ORDER BY name, p.id
"""

# Only what can be ordered is ranked: a better name that is sold out hides nothing.
_SEARCH: LiteralString = f"""
    SELECT p.id, {_NAME} AS name, {_UNIT} AS unit, min(o.price_cents) AS from_price_cents,
           count(*) AS sellers_count, p.search, {spelling.SCORE} AS score
    FROM {_ON_SALE}
    WHERE {spelling.MATCHES} AND p.active
    GROUP BY p.id
    ORDER BY score DESC, name, p.id
    LIMIT %(limit)s
"""

_OFFER_LINE: LiteralString = f"""
    o.id, {_NAME} AS product_name, m.name AS seller_name, o.price_cents, o.minimum_milli,
    p.step_milli, least(greatest({AVAILABLE_MILLI}, 0), {QUANTITY_MILLI_MAX}) AS available_milli,
    {_UNIT} AS unit, {_UNITS} AS units
"""

_OFFERS: LiteralString = f"""
    SELECT {_OFFER_LINE}
    FROM {_ON_SALE}
    WHERE p.id = %(product_id)s AND p.active
    ORDER BY o.price_cents, seller_name, o.id
"""

_OFFER: LiteralString = f"""
    SELECT {_OFFER_LINE}
    FROM offers o
    JOIN products p ON p.id = o.product_id
    JOIN members m ON m.id = o.seller_id AND m.deleted_at IS NULL
    LEFT JOIN stock s ON s.offer_id = o.id
    WHERE o.id = %(offer_id)s AND o.active AND p.active
"""

_OFFERS_OF: LiteralString = f"""
    SELECT {_OFFER_LINE}
    FROM offers o
    JOIN products p ON p.id = o.product_id
    JOIN members m ON m.id = o.seller_id
    LEFT JOIN stock s ON s.offer_id = o.id
    WHERE o.seller_id = %(seller_id)s AND o.active AND p.active
    ORDER BY product_name, o.id
"""
