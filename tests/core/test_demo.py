import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from core import catalogue, demo, demo_data, members, pins, places
from core.database import Database, Db
from tests.core.people import RULES, member

ROOM_NAME, ROOM_SELLER, ROOM_UNIT = 22, 16, 8  # septets on a phone's line

TABLES = ("places", "members", "consents", "categories", "products", "offers", "stock")

PRODUCTS = [product for category in demo_data.CATEGORIES for product in category.products]


def counts(db: Db) -> dict[str, int]:
    return {table: db.value(f"SELECT count(*) FROM {table}") for table in TABLES}


def test_an_empty_market_is_filled(db: Db, now: datetime) -> None:
    loaded = demo.load(db, RULES, now)
    assert loaded is not None
    assert loaded.places >= 60
    assert (loaded.categories, loaded.sellers) == (6, 4)
    assert 40 <= loaded.products <= 50
    found = counts(db)
    assert found == {
        "places": loaded.places,
        "members": 4,
        "consents": 4,
        "categories": 6,
        "products": loaded.products,
        "offers": loaded.offers,
        "stock": loaded.offers,
    }


def test_a_second_time_changes_nothing(db: Db, now: datetime) -> None:
    demo.load(db, RULES, now)
    before = counts(db)
    assert demo.load(db, RULES, now) is None
    assert counts(db) == before


def test_two_at_once_fill_it_once(database: Database, now: datetime) -> None:
    def load(_: int) -> demo.Loaded | None:
        with database.begin() as db:
            return demo.load(db, RULES, now)

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(load, range(2)))
    assert sorted(loaded is None for loaded in done) == [False, True]


def test_a_buyer_finds_all_of_it(db: Db, now: datetime) -> None:
    demo.load(db, RULES, now)
    buyer = member(db, now, 9)
    shown = 0
    for category in catalogue.categories(db, "sw", buyer, now):
        for line in catalogue.products(db, category.id, "sw", buyer, now):
            offers = catalogue.offers(db, line.id, "sw", buyer, now)
            assert len(offers) == line.sellers_count
            assert 2 <= len(offers) <= 3
            shown += 1
    assert shown == len(PRODUCTS)


def test_the_sellers_have_their_pin_and_their_place(db: Db, now: datetime) -> None:
    demo.load(db, RULES, now)
    for number in range(1, 5):
        seller = members.by_msisdn(db, f"+25470000000{number}")
        assert seller is not None
        assert seller.is_seller
        assert pins.check(db, seller.id, "2580", RULES, now) == "right"
        place = places.by_id(db, seller.place_id)
        assert place is not None
        assert place.kind == "market"


def test_somebody_who_registered_a_sellers_number_first_keeps_name_and_pin(
    db: Db, now: datetime
) -> None:
    early = places.add(
        db, name="Early", kind="town", county="Kwale", latitude=-4, longitude=39, now=now
    )
    members.register(
        db,
        msisdn="+254700000001",
        name="Early Bird",
        place_id=early,
        language="en",
        consent_version="1",
        consent_wording="I agree.",
        pin="8642",
        rules=RULES,
        now=now,
    )
    demo.load(db, RULES, now)
    seller = members.by_msisdn(db, "+254700000001")
    assert seller is not None
    assert (seller.name, seller.is_seller) == ("Early Bird", True)
    assert pins.check(db, seller.id, "8642", RULES, now) == "right"


def test_every_word_fits_its_line_and_needs_no_transliteration() -> None:
    names = [word for named in (*demo_data.CATEGORIES, *PRODUCTS) for word in (named.en, named.sw)]
    units = [word for unit in demo_data.UNITS.values() for words in unit for word in words]
    sellers = [seller.name for seller in demo_data.SELLERS]
    known = [place.name for place in demo_data.PLACES]
    for words, room in (
        (names, ROOM_NAME),
        (known, ROOM_NAME),
        (units, ROOM_UNIT),
        (sellers, ROOM_SELLER),
    ):
        assert [word for word in words if len(word) > room or not word.isascii()] == []


def test_every_product_has_two_or_three_sellers_and_a_unit() -> None:
    for product in PRODUCTS:
        sellers = [seller for seller, _, _ in product.sold]
        assert 2 <= len({*sellers}) == len(sellers) <= 3, product.slug
        assert product.unit in demo_data.UNITS, product.slug
        assert all(on_hand >= product.minimum for _, _, on_hand in product.sold), product.slug


def test_two_of_anything_can_be_paid_from_a_new_m_pesa_account() -> None:
    """It holds KSh 10,000."""
    for product in PRODUCTS:
        for _, shillings, _ in product.sold:
            assert 2 * shillings * product.minimum <= 10_000, product.slug


def test_no_slug_or_name_is_used_twice() -> None:
    for values in (
        [p.slug for p in PRODUCTS],
        [p.en for p in PRODUCTS],
        [p.sw for p in PRODUCTS],
        [c.slug for c in demo_data.CATEGORIES],
        [(p.name, p.county) for p in demo_data.PLACES],
    ):
        assert len(values) == len(set(values))


def test_every_place_lies_in_kenya() -> None:
    for place in demo_data.PLACES:
        assert -4.8 < place.latitude < 5.1, place.name
        assert 33.9 < place.longitude < 42.0, place.name


def test_the_command_says_in_one_line_what_it_did(database: Database) -> None:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    said = [
        subprocess.run(
            [sys.executable, "-m", "core.demo"],
            cwd=Path(demo.__file__).parent.parent,
            env={"DATABASE_URL": url, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert said == [
        f"Demo data: {len(demo_data.PLACES)} places, 6 categories, {len(PRODUCTS)} products, "
        f"4 sellers, {sum(len(product.sold) for product in PRODUCTS)} offers.\n",
        "Demo data: already there.\n",
    ]
