from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import catalogue, settlements, stock
from core.database import Db
from core.errors import Invalid
from tests.core.market import failed, open_market, purchase, pushed
from tests.core.people import RULES, member


class Stall:
    """A market with one category, "Vegetables", and whatever a test puts on sale."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.now = db, now
        self.buyer = member(db, now, 1, "Amina")
        self.wanjiku = member(db, now, 2, "Wanjiku Fresh")
        self.otieno = member(db, now, 3, "Otieno Supplies")
        self.vegetables = self.category("vegetables", 1, en="Vegetables", sw="Mboga")
        self.tomatoes = self.product("tomatoes", en="Tomatoes", sw="Nyanya")

    def category(self, slug: str, position: int, **names: str) -> UUID:
        return catalogue.add_category(
            self.db, slug=slug, names=names, position=position, now=self.now
        )

    def product(
        self,
        slug: str,
        *,
        category: UUID | None = None,
        step_milli: int = 1000,
        other_names: tuple[str, ...] = (),
        **names: str,
    ) -> UUID:
        return catalogue.add_product(
            self.db,
            category_id=category or self.vegetables,
            slug=slug,
            names=names,
            units={
                "en": {"one": "crate", "many": "crates"},
                "sw": {"one": "kreti", "many": "kreti"},
            },
            step_milli=step_milli,
            other_names=other_names,
            now=self.now,
        )

    def sell(
        self,
        seller: UUID,
        product: UUID | None = None,
        *,
        shillings: int = 2250,
        minimum: int = 1,
        on_hand: int = 10,
    ) -> UUID:
        offer_id = catalogue.add_offer(
            self.db,
            product_id=product or self.tomatoes,
            seller_id=seller,
            price_cents=shillings * 100,
            minimum_milli=minimum * 1000,
            now=self.now,
        )
        if on_hand:
            stock.receive(self.db, offer_id, on_hand * 1000, "opening stock", self.now)
        return offer_id

    def promise(self, offer_id: UUID, quantity: int) -> None:
        self.db.run(
            """
            UPDATE stock SET allocated_milli = allocated_milli + %(milli)s
            WHERE offer_id = %(id)s
            """,
            {"milli": quantity * 1000, "id": offer_id},
        )

    def seen(self, buyer: UUID | None = None) -> tuple[list[str], list[str], list[str]]:
        """The names of what a buyer is shown: categories, products, and what a search finds."""
        who, db, now = buyer or self.buyer, self.db, self.now
        return (
            [c.name for c in catalogue.categories(db, "en", who, now)],
            [p.name for p in catalogue.products(db, self.vegetables, "en", who, now)],
            [p.name for p in catalogue.search(db, "tomatoes", "en", who, now)],
        )


ALL = (["Vegetables"], ["Tomatoes"], ["Tomatoes"])
NOTHING: tuple[list[str], list[str], list[str]] = ([], [], [])


@pytest.fixture
def stall(db: Db, now: datetime) -> Stall:
    return Stall(db, now)


def test_what_is_on_sale_is_seen_everywhere(stall: Stall) -> None:
    stall.sell(stall.wanjiku)
    assert stall.seen() == ALL


def test_a_product_nobody_offers_is_not_shown(stall: Stall) -> None:
    assert stall.seen() == NOTHING


def test_an_offer_that_never_had_stock_is_not_shown(stall: Stall) -> None:
    offer_id = stall.sell(stall.wanjiku, on_hand=0)
    assert stall.seen() == NOTHING
    line = catalogue.offer(stall.db, offer_id, "en", stall.now)
    assert line is not None
    assert line.available_milli == 0


def test_a_seller_is_not_shown_what_only_she_sells(stall: Stall) -> None:
    stall.sell(stall.wanjiku)
    assert stall.seen(stall.wanjiku) == NOTHING
    assert catalogue.offers(stall.db, stall.tomatoes, "en", stall.wanjiku, stall.now) == []
    stall.sell(stall.otieno)
    assert stall.seen(stall.wanjiku) == ALL


def test_an_offer_with_less_than_its_minimum_left_is_not_shown(stall: Stall) -> None:
    offer_id = stall.sell(stall.wanjiku, minimum=3, on_hand=10)
    stall.promise(offer_id, 7)
    assert stall.seen() == ALL
    stall.promise(offer_id, 1)
    assert stall.seen() == NOTHING
    assert catalogue.offers(stall.db, stall.tomatoes, "en", stall.buyer, stall.now) == []


def test_a_withdrawn_offer_is_gone(stall: Stall) -> None:
    offer_id = stall.sell(stall.wanjiku)
    catalogue.withdraw(stall.db, offer_id, stall.now)
    assert stall.seen() == NOTHING
    assert catalogue.offer(stall.db, offer_id, "en", stall.now) is None


def test_a_product_taken_off_the_market_is_gone(stall: Stall) -> None:
    offer_id = stall.sell(stall.wanjiku)
    stall.db.run("UPDATE products SET active = false")
    assert stall.seen() == NOTHING
    assert catalogue.offers(stall.db, stall.tomatoes, "en", stall.buyer, stall.now) == []
    assert catalogue.offer(stall.db, offer_id, "en", stall.now) is None


def test_a_seller_who_left_sells_no_more(stall: Stall) -> None:
    offer_id = stall.sell(stall.wanjiku)
    stall.db.run(
        "UPDATE members SET deleted_at = %(now)s WHERE id = %(id)s",
        {"now": stall.now, "id": stall.wanjiku},
    )
    assert stall.seen() == NOTHING
    assert catalogue.offer(stall.db, offer_id, "en", stall.now) is None


def test_a_product_line_gives_the_lowest_price_and_how_many_sell(stall: Stall) -> None:
    stall.sell(stall.wanjiku, shillings=2400)
    cheapest = stall.sell(stall.otieno, shillings=2250)
    [line] = catalogue.products(stall.db, stall.vegetables, "sw", stall.buyer, stall.now)
    assert (line.name, line.unit) == ("Nyanya", "kreti")
    assert (line.from_price_cents, line.sellers_count) == (225_000, 2)
    stall.promise(cheapest, 10)
    [line] = catalogue.products(stall.db, stall.vegetables, "en", stall.buyer, stall.now)
    assert (line.from_price_cents, line.sellers_count) == (240_000, 1)
    [found] = catalogue.search(stall.db, "nyanya", "en", stall.buyer, stall.now)
    assert found == line


def test_offers_are_shown_cheapest_first_then_by_seller(stall: Stall) -> None:
    zawadi = member(stall.db, stall.now, 4, "Zawadi")
    stall.sell(zawadi, shillings=100)
    stall.sell(stall.wanjiku, shillings=90)
    stall.sell(stall.otieno, shillings=100)
    lines = catalogue.offers(stall.db, stall.tomatoes, "en", stall.buyer, stall.now)
    assert [line.seller_name for line in lines] == ["Wanjiku Fresh", "Otieno Supplies", "Zawadi"]


def test_an_offer_line_says_all_that_a_buyer_must_know(stall: Stall) -> None:
    beans = stall.product("beans", en="Beans", sw="Maharagwe", step_milli=500)
    offer_id = stall.sell(stall.wanjiku, beans, shillings=140, minimum=2, on_hand=9)
    stall.promise(offer_id, 3)
    expected = catalogue.OfferLine(
        id=offer_id,
        product_name="Maharagwe",
        seller_name="Wanjiku Fresh",
        price_cents=14_000,
        minimum_milli=2000,
        step_milli=500,
        available_milli=6000,
        unit="kreti",
        units="kreti",
    )
    assert catalogue.offer(stall.db, offer_id, "sw", stall.now) == expected
    assert catalogue.offers(stall.db, beans, "sw", stall.buyer, stall.now) == [expected]


def test_a_sold_out_offer_is_still_told_but_as_empty(stall: Stall) -> None:
    offer_id = stall.sell(stall.wanjiku, on_hand=4)
    stall.promise(offer_id, 4)
    line = catalogue.offer(stall.db, offer_id, "en", stall.now)
    assert line is not None
    assert line.available_milli == 0


def test_goods_wait_for_a_payment_and_come_back_when_it_fails(db: Db, now: datetime) -> None:
    bought = open_market(db, now, on_hand_milli=3000)
    other = member(db, now, 7)

    def left(at: datetime) -> tuple[int, bool]:
        line = catalogue.offer(db, bought.tomatoes, "en", at)
        assert line is not None
        shown = catalogue.search(db, "tomatoes", "en", other, at)
        return line.available_milli, bool(shown)

    assert left(now) == (3000, True)
    db.run("UPDATE offers SET minimum_milli = 2000 WHERE id = %(id)s", {"id": bought.tomatoes})
    waiting = pushed(db, purchase(db, bought, now), now)
    assert left(now) == (1000, False)
    late = now + timedelta(minutes=RULES.reservation_minutes, seconds=1)
    assert left(late) == (1000, False)  # she may still be typing her PIN
    settlements.settle(db, waiting.charge_id, failed(), now + timedelta(minutes=1))
    assert left(now + timedelta(minutes=2)) == (1000, False)  # time enough to try again
    assert left(late) == (3000, True)


def test_a_new_price_is_the_one_shown(stall: Stall) -> None:
    offer_id = stall.sell(stall.wanjiku, shillings=100)
    catalogue.set_price(stall.db, offer_id, 12_000, stall.now + timedelta(hours=1))
    line = catalogue.offer(stall.db, offer_id, "en", stall.now)
    assert line is not None
    assert line.price_cents == 12_000


def test_categories_come_in_the_markets_own_order(stall: Stall) -> None:
    for slug, position in (("zebra", 0), ("apple", 2)):
        category = stall.category(slug, position, en=slug)
        stall.sell(stall.wanjiku, stall.product(f"of-{slug}", category=category, en=slug))
    stall.sell(stall.wanjiku)
    found = catalogue.categories(stall.db, "en", stall.buyer, stall.now)
    assert [category.name for category in found] == ["zebra", "Vegetables", "apple"]


def test_a_language_without_a_word_borrows_the_english_one(stall: Stall) -> None:
    stall.sell(stall.wanjiku)
    [category] = catalogue.categories(stall.db, "luo", stall.buyer, stall.now)
    [line] = catalogue.products(stall.db, category.id, "luo", stall.buyer, stall.now)
    [offer] = catalogue.offers(stall.db, line.id, "luo", stall.buyer, stall.now)
    assert (category.name, line.name, line.unit) == ("Vegetables", "Tomatoes", "crate")
    assert (offer.product_name, offer.unit, offer.units) == ("Tomatoes", "crate", "crates")


def test_a_third_language_needs_words_only(stall: Stall) -> None:
    stall.sell(stall.wanjiku)
    stall.db.run("""
        UPDATE products SET names = names || '{"luo": "Nyanya luo"}',
                            units = units || '{"luo": {"one": "sanduk", "many": "sanduke"}}'
    """)
    [line] = catalogue.products(stall.db, stall.vegetables, "luo", stall.buyer, stall.now)
    assert (line.name, line.unit) == ("Nyanya luo", "sanduk")


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda stall: stall.category("no-english", 2, sw="Mboga"),
        lambda stall: stall.product("no-english", sw="Nyanya"),
        lambda stall: stall.product("no-step", en="Nothing", step_milli=0),
        lambda stall: stall.sell(stall.wanjiku, shillings=0),
        lambda stall: stall.sell(stall.wanjiku, shillings=-1),
        lambda stall: stall.sell(stall.wanjiku, minimum=0),
    ],
)
def test_the_database_refuses_goods_that_cannot_be_sold(
    stall: Stall, forbidden: Callable[[Stall], UUID]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        forbidden(stall)


def test_a_seller_has_one_offer_of_a_product(stall: Stall) -> None:
    stall.sell(stall.wanjiku)
    with pytest.raises(psycopg.errors.UniqueViolation):
        stall.sell(stall.wanjiku)


# Quantities.

CRATES = {"step_milli": 1000, "minimum_milli": 1000, "available_milli": 40_000}
HALF_KILOS = {"step_milli": 500, "minimum_milli": 1000, "available_milli": 40_250}
ANY = {"step_milli": 1, "minimum_milli": 1, "available_milli": 10**9}


@pytest.mark.parametrize(
    ("typed", "milli"),
    [
        ("2", 2000),
        (" 2 ", 2000),
        ("02", 2000),
        ("2.5", 2500),
        ("2,5", 2500),
        ("2.", 2000),
        ("2.50", 2500),
        (".5", 500),
        (",5", 500),
        ("0.125", 125),
        ("0,125", 125),
        ("1/2", 500),
        ("3/4", 750),
        ("5/2", 2500),
        ("1 1/2", 1500),
        ("½", 500),
        ("1½", 1500),
        ("1 ½", 1500),
        ("¼", 250),
        ("2¾", 2750),
        ("1,500", 1_500_000),
        ("12,000.5", 12_000_500),
        ("1.500", 1500),
        ("1000000", 1_000_000_000),
    ],
)
def test_a_quantity_is_read_as_people_type_it(typed: str, milli: int) -> None:
    assert catalogue.parse_quantity(typed, **ANY) == milli


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        ".",
        ",",
        "-2",
        "+2",
        "2-",
        "two",
        "2 kg",
        "2kg",
        "2 3",
        "1e3",
        "0x10",
        "1/0",
        "1/",
        "/2",
        "1//2",
        "1.5/2",
        "2..5",
        "2.5.1",
        "1,50,000",
        "nan",
        "inf",
        "٢",
        "２",
        "²",
        "2\x00",
        "\ud800",
        "😀",
        "½½",
        "1_000",
        "x" * 10_000,
        "1." + "0" * 10_000,
    ],
)
def test_what_is_no_quantity_asks_for_a_number(typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        catalogue.parse_quantity(typed, **ANY)
    assert (refused.value.hint, refused.value.values) == ("number", {})


@pytest.mark.parametrize(
    ("typed", "rules", "hint", "values"),
    [
        ("2.5", CRATES, "whole_number", {}),
        ("1/3", CRATES, "whole_number", {}),
        ("2.0001", CRATES, "whole_number", {}),
        ("2.25", HALF_KILOS, "step", {"step": "0.5"}),
        ("0.4999", HALF_KILOS, "step", {"step": "0.5"}),
        ("1.9999999999", HALF_KILOS, "step", {"step": "0.5"}),
        ("1/3", HALF_KILOS, "step", {"step": "0.5"}),
        ("0", CRATES, "minimum", {"minimum": "1"}),
        ("0.5", HALF_KILOS, "minimum", {"minimum": "1"}),
        ("41", CRATES, "not_enough", {"stock": "40"}),
        ("40.5", HALF_KILOS, "not_enough", {"stock": "40"}),
        ("1000000", CRATES, "not_enough", {"stock": "40"}),
        ("1000001", CRATES, "too_much", {}),
        ("9" * 20, CRATES, "too_much", {}),
        ("9" * 10_000, CRATES, "too_much", {}),
    ],
)
def test_a_hint_tells_what_to_type_instead(
    typed: str, rules: dict[str, int], hint: str, values: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as refused:
        catalogue.parse_quantity(typed, **rules)
    assert (refused.value.hint, refused.value.values) == (hint, values)


@pytest.mark.parametrize(
    ("milli", "shown"),
    [(2000, "2"), (2500, "2.5"), (250, "0.25"), (1, "0.001"), (10_000, "10"), (1_500_000, "1,500")],
)
def test_a_quantity_is_shown_without_needless_noughts(milli: int, shown: str) -> None:
    assert catalogue.show_quantity(milli) == shown


@given(st.integers(1, 10**9))
def test_a_quantity_typed_as_it_was_shown_is_the_same(milli: int) -> None:
    assert catalogue.parse_quantity(catalogue.show_quantity(milli), **ANY) == milli


@given(st.decimals(0, 10**6, places=6, allow_nan=False), st.sampled_from([1, 250, 500, 1000]))
def test_only_whole_steps_are_taken_and_exactly(typed: Decimal, step_milli: int) -> None:
    limits = {"minimum_milli": 1, "available_milli": 10**9}
    exact = typed * 1000
    if exact == 0 or exact % step_milli:
        with pytest.raises(Invalid):
            catalogue.parse_quantity(f"{typed:f}", step_milli=step_milli, **limits)
    else:
        taken = catalogue.parse_quantity(f"{typed:f}", step_milli=step_milli, **limits)
        assert taken == exact
        assert isinstance(taken, int)


@given(st.text(max_size=25))
def test_no_text_breaks_the_reading_of_a_quantity(typed: str) -> None:
    try:
        milli = catalogue.parse_quantity(typed, **HALF_KILOS)
    except Invalid:
        return
    assert milli % 500 == 0
    assert 1000 <= milli <= 40_250


# --- the seller's side ----------------------------------------------------------------------------


def test_a_seller_sees_all_his_offers_sold_out_too_by_name(stall: Stall) -> None:
    beans = stall.product("beans", en="Beans", sw="Maharagwe")
    withdrawn = stall.product("onions", en="Onions", sw="Vitunguu")
    stall.sell(stall.wanjiku, on_hand=0)
    stall.sell(stall.wanjiku, beans, on_hand=7)
    catalogue.withdraw(stall.db, stall.sell(stall.wanjiku, withdrawn), stall.now)
    stall.sell(stall.otieno)
    mine = catalogue.offers_of(stall.db, stall.wanjiku, "en", stall.now)
    assert [(line.product_name, line.available_milli) for line in mine] == [
        ("Beans", 7000),
        ("Tomatoes", 0),
    ]
    in_swahili = catalogue.offers_of(stall.db, stall.wanjiku, "sw", stall.now)
    assert [line.product_name for line in in_swahili] == ["Maharagwe", "Nyanya"]


@pytest.mark.parametrize(
    ("typed", "shillings"),
    [
        ("250", 250),
        (" 1 ", 1),
        ("1,500", 1500),
        ("250,000", 250_000),
        ("0250", 250),
        ("250.00", 250),
        ("KSh 250", 250),
        ("ksh250", 250),
        ("Kes. 2,250", 2250),
        ("250/=", 250),
        ("250/-", 250),
    ],
)
def test_a_price_is_read_as_people_write_it(typed: str, shillings: int) -> None:
    assert catalogue.parse_price(typed) == shillings * 100


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "0",
        "-5",
        "2.50",
        "2,50",
        "1,5000",
        "250001",
        "9" * 40,
        "٢٥٠",
        "free",
        "1e3",
        "KSh",
        "1 2",
    ],
)
def test_what_is_no_price_asks_for_one(typed: str) -> None:
    with pytest.raises(Invalid, match="price"):
        catalogue.parse_price(typed)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_a_price(typed: str) -> None:
    with suppress(Invalid):
        cents = catalogue.parse_price(typed)
        assert 100 <= cents <= 25_000_000
        assert cents % 100 == 0


def test_more_than_anybody_orders_is_shown_as_the_most_that_can_be(stall: Stall) -> None:
    """A mountain of stock must not outgrow the screen it is shown on."""
    offer_id = stall.sell(stall.wanjiku, on_hand=3_000_000)
    found = catalogue.offer(stall.db, offer_id, "en", stall.now)
    assert found is not None
    assert catalogue.show_quantity(found.available_milli) == "1,000,000"
