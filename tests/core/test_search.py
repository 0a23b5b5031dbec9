"""The search for goods, on those of the demo market."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from random import Random

import pytest

from core import catalogue, demo, demo_data, members
from core.database import Database, Db
from tests.core.people import RULES, member


class Market:
    def __init__(self, db: Db, now: datetime) -> None:
        demo.load(db, RULES, now)
        self.db, self.now = db, now
        self.buyer = member(db, now)

    def find(self, typed: str, language: str = "en") -> list[str]:
        found = catalogue.search(self.db, typed, language, self.buyer, self.now)
        return [line.name for line in found]


class _RollBack(Exception):
    """The end of the searches' transaction."""


@pytest.fixture(scope="module")
def market(database_url: str) -> Iterator[Market]:
    """One for all searches, for they only read; rolled back after them."""
    now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    database = Database(database_url, clock=lambda: now, random=Random(7042), size=1)
    with suppress(_RollBack), database.begin(seconds=3600) as db:
        yield Market(db, now)
        raise _RollBack
    database.close()


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("nyanya", "Tomatoes"),
        ("NYANYA", "Tomatoes"),
        ("nyany", "Tomatoes"),
        ("nyaya", "Tomatoes"),
        ("nyanja", "Tomatoes"),
        ("nynya", "Tomatoes"),
        ("naynya", "Tomatoes"),
        ("tomato", "Tomatoes"),
        ("tomatos", "Tomatoes"),
        ("tomatoe", "Tomatoes"),
        ("tomatto", "Tomatoes"),
        ("tomtoes", "Tomatoes"),
        ("sukumawiki", "Kale (sukuma wiki)"),
        ("sukuma wiki", "Kale (sukuma wiki)"),
        ("sukuma-wiki", "Kale (sukuma wiki)"),
        ("skuma wiki", "Kale (sukuma wiki)"),
        ("sukma", "Kale (sukuma wiki)"),
        ("kale", "Kale (sukuma wiki)"),
        ("viazi", "Potatoes"),
        ("viasi", "Potatoes"),
        ("viaz", "Potatoes"),
        ("waru", "Potatoes"),
        ("potatos", "Potatoes"),
        ("potatoe", "Potatoes"),
        ("viazi vitamu", "Sweet potatoes"),
        ("mahrage", "Beans (rosecoco)"),
        ("maharagwe", "Beans (rosecoco)"),
        ("maharage", "Beans (rosecoco)"),
        ("mahargwe", "Beans (rosecoco)"),
        ("maragwe", "Beans (rosecoco)"),
        ("beens", "Beans (rosecoco)"),
        ("vitunguu maj", "Red onions"),
        ("vitunguu", "Red onions"),
        ("kitunguu", "Red onions"),
        ("onion", "Red onions"),
        ("onyons", "Red onions"),
        ("kabichi", "Cabbage"),
        ("kabej", "Cabbage"),
        ("cabage", "Cabbage"),
        ("hoho", "Green peppers"),
        ("capsicam", "Green peppers"),
        ("dania", "Coriander"),
        ("ndengu", "Green grams"),
        ("dengu", "Lentils"),
        ("dengu kamande", "Lentils"),
        ("maiz", "Dry maize"),
        ("mahindi", "Dry maize"),
        ("mahidi", "Dry maize"),
        ("mchele", "Pishori rice"),
        ("mchere", "Pishori rice"),
        ("unga wa ngano", "Wheat flour 2 kg"),
        ("sembe", "Maize flour 2 kg"),
        ("mayai", "Eggs"),
        ("mayayi", "Eggs"),
        ("egg", "Eggs"),
        ("omena", "Omena (dagaa)"),
        ("dagaa", "Omena (dagaa)"),
        ("maziwa", "Fresh milk"),
        ("mazywa", "Fresh milk"),
        ("ovacado", "Avocados"),
        ("avocado", "Avocados"),
        ("ndimu", "Lemons"),
        ("tikiti", "Watermelons"),
        ("njugu", "Groundnuts"),
        ("ng'ombe nyanya", "Tomatoes"),
    ],
)
def test_goods_are_found_as_people_spell_them(market: Market, typed: str, name: str) -> None:
    found = market.find(typed)
    assert found, f"nothing found for {typed}"
    assert found[0] == name


def test_what_is_found_is_shown_in_the_buyers_language(market: Market) -> None:
    assert market.find("tomatoes", "sw") == ["Nyanya"]
    assert market.find("nyanya", "en") == ["Tomatoes"]


def test_a_right_word_finds_all_that_bear_it_and_nothing_like_it(market: Market) -> None:
    assert market.find("ndizi", "sw") == ["Ndizi mbivu", "Ndizi za kupika"]
    assert market.find("vitungu", "sw") == ["Vitunguu", "Vitunguu saumu"]
    assert market.find("unga", "sw") == [
        "Unga wa mahindi kilo 2",
        "Unga wa ngano kilo 2",
        "Unga wa uji kilo 1",
    ]


def test_a_word_that_is_no_name_does_not_hide_the_one_that_is(market: Market) -> None:
    assert market.find("tomato safi") == ["Tomatoes"]
    assert market.find("fresh tomato") == ["Fresh milk", "Tomatoes"]


def test_two_or_three_letters_are_the_beginning_of_a_word(market: Market) -> None:
    assert market.find("om") == ["Omena (dagaa)"]
    assert market.find("egs") == []  # not guessed at: any three letters are like something
    assert market.find("ch") == ["Green grams", "Oranges", "Wheat flour 2 kg"]


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "*",
        "%",
        "_",
        "\\",
        "'",
        "\x00",
        "\ud800",
        "😀",
        "xyzzy",
        "0",
        "'; DROP",
        "table",
        "order",
    ],
)
def test_nonsense_finds_no_goods(market: Market, typed: str) -> None:
    assert market.find(typed) == []


def test_ten_thousand_letters_find_no_goods(market: Market) -> None:
    assert market.find("q" * 10_000) == []


def test_no_more_is_found_than_asked_for(market: Market) -> None:
    found = catalogue.search(market.db, "m", "en", market.buyer, market.now, limit=3)
    assert len(found) == 3


@pytest.mark.parametrize("product", [p for c in demo_data.CATEGORIES for p in c.products])
def test_each_product_is_found_by_each_of_its_names(
    market: Market, product: demo_data.Product
) -> None:
    for name in (product.en, product.sw, *product.other_names):
        assert product.en in market.find(name)


def test_a_seller_finds_only_what_others_sell(market: Market) -> None:
    seller = members.by_msisdn(market.db, demo_data.SELLERS[0].msisdn)
    assert seller is not None
    [line] = catalogue.search(market.db, "nyanya", "en", seller.id, market.now)
    assert line.sellers_count == 2
