"""The engine: how one answer moves a conversation, on a tiny stall and on the demo market."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.database import Db
from core.rules import Rules
from flows import engine, run
from flows.book import BOOK
from flows.engine import Book, Call, Context, Frame, Menu, Option, Pick
from tests.flows import books
from tests.flows.books import ASK, CALL, CLOSED, PICK, STALL, THANKS, flow
from tests.flows.handset import Clock, EngineLine, Handset
from tests.flows.street import PHONE, Street

ROOM = 156


def context(db: Db, clock: Clock, rules: Rules) -> Context:
    return Context(db, clock(), rules, PHONE, "en", None, ROOM)


@pytest.fixture
def at_stall(db: Db, clock: Clock, rules: Rules) -> Context:
    return context(db, clock, rules)


def stall(*table: engine.State, **words: Any) -> Book:
    """A book of the stall, and a home to go to."""
    home = books.flow(
        (books.menu("menu", buy="@stall"),),
        {**dict.fromkeys(("product", "quantity", "thanks", "closed")), "menu": HOME_WORDS},
        name="home",
    )
    return {"home": home, "stall": flow(table or STALL, words)}


HOME_WORDS = {"en": "Home.", "sw": "Mwanzo.", "option": {"buy": {"en": "Buy", "sw": "Nunua"}}}


def list_of(*names: str) -> Pick:
    def options(_context: Context, _answers: Any) -> list[Option[str]]:
        return [Option(name, {"product": name}) for name in names]

    return replace(PICK, options=options)


def saved(frame: Frame | None) -> Frame:
    """As the conversation's table gives it back."""
    assert frame is not None
    return Frame(**json.loads(json.dumps(vars(frame))))


# What a number means


def test_a_number_means_what_was_shown_though_the_list_has_changed(at_stall: Context) -> None:
    shown = engine.begin(stall(list_of("beans", "maize"), *STALL[1:]), "stall", at_stall)
    changed = stall(list_of("apples", "beans", "maize"), *STALL[1:])
    step = engine.take(changed, saved(shown.frame), "2", at_stall)
    assert step.frame is not None
    assert step.frame.answers == {"product": "maize"}


def test_on_the_market_a_number_means_what_was_shown_though_somebody_sells_more(
    handset: Handset, street: Street
) -> None:
    handset.dial()
    handset.walk("1", "1")
    assert handset.seen.lines[1] == "1 Amaranth (terere) 12/bunch"
    street.withdraw("Amaranth")  # a fresh list would begin with Cabbage
    handset.walk("2", "1")
    assert handset.seen.text.startswith("Cabbage")


@pytest.mark.parametrize("typed", ["٢", "²", "Ⅱ", "2.", "+2", "1e0", "0x1", "99999", "२", "1 1"])
def test_only_plain_digits_are_a_number(typed: str, at_stall: Context) -> None:
    shown = engine.begin(stall(), "stall", at_stall)
    step = engine.take(stall(), saved(shown.frame), typed, at_stall)
    assert step.screen.text == "Choose a number shown."
    assert step.screen.label == "stall.product"


@pytest.mark.parametrize("typed", [" 2", "2 ", "02", "002", "\t2\n", "\u00a02"])
def test_a_number_may_have_blanks_and_zeros_about_it(typed: str, at_stall: Context) -> None:
    shown = engine.begin(stall(), "stall", at_stall)
    step = engine.take(stall(), saved(shown.frame), typed, at_stall)
    assert step.frame is not None
    assert step.frame.answers == {"product": "maize"}


# The keys


def test_0_goes_back_to_the_screen_before(at_stall: Context) -> None:
    book = stall()
    asked = engine.take(book, saved(engine.begin(book, "stall", at_stall).frame), "1", at_stall)
    assert asked.screen.label == "stall.quantity"
    back = engine.take(book, saved(asked.frame), "0", at_stall)
    assert back.screen.label == "stall.product"


def test_0_on_the_first_screen_of_a_flow_goes_home(at_stall: Context) -> None:
    book = stall()
    begun = engine.begin(book, "stall", at_stall)
    assert engine.take(book, saved(begun.frame), "0", at_stall).screen.label == "home.menu"


def test_000_goes_home_from_anywhere(at_stall: Context) -> None:
    book = stall()
    asked = engine.take(book, saved(engine.begin(book, "stall", at_stall).frame), "1", at_stall)
    assert engine.take(book, saved(asked.frame), "000", at_stall).screen.label == "home.menu"


def test_0_never_goes_back_over_what_was_done(at_stall: Context) -> None:
    """The screens before a Call with an effect are no longer a way back."""
    step = sold_one(stall(*WITH_MORE, **MORE_WORDS), at_stall)
    assert engine.take(
        stall(*WITH_MORE, **MORE_WORDS), saved(step.frame), "0", at_stall
    ).screen.label == "home.menu"  # fmt: skip


def test_0_goes_back_over_what_only_looked(at_stall: Context) -> None:
    looking = tuple(
        replace(state, effect=False) if isinstance(state, Call) else state for state in WITH_MORE
    )
    step = sold_one(stall(*looking, **MORE_WORDS), at_stall)
    back = engine.take(stall(*looking, **MORE_WORDS), saved(step.frame), "0", at_stall)
    assert back.screen.label == "stall.quantity"


# The stall, with a question after the sale.
WITH_MORE = (
    *STALL[:2],
    replace(CALL, to={"sold": "more", "sold_out": "product"}),
    books.menu("more", again="product", enough="thanks"),
    THANKS,
    CLOSED,
)
MORE_WORDS = {
    "more": {
        "en": "More?",
        "sw": "Zaidi?",
        "option": {name: {"en": name, "sw": name} for name in ("again", "enough")},
    }
}


def sold_one(book: Book, at_stall: Context) -> engine.Step:
    step = engine.begin(book, "stall", at_stall)
    for typed in ("1", "5"):
        step = engine.take(book, saved(step.frame), typed, at_stall)
    assert step.screen.label == "stall.more"
    return step


def test_a_road_that_turns_back_on_itself_does_not_lengthen_the_way_back(
    handset: Handset, street: Street
) -> None:
    street.put_in_basket(2, "Tomatoes", "Wanjiku Fresh")
    handset.dial()
    handset.walk("1", *["1", "1", "4"] * 20)  # pay, a day, change, pay, a day, change …
    assert handset.seen.label == "buy.cart"
    assert handset.reply("0").label == "home.menu"


# Lists over several pages


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    names=st.lists(st.text("abcdefghijklmnop ", min_size=1, max_size=40), min_size=1, max_size=40)
)
def test_every_option_can_be_reached_and_every_page_fits_whatever_hint_stands_above(
    at_stall: Context, names: list[str]
) -> None:
    unique = [f"{number}{name}" for number, name in enumerate(names)]
    book = stall(list_of(*unique), *STALL[1:])
    step, numbers, pages = engine.begin(book, "stall", at_stall), [], 0
    while True:
        pages += 1
        mistaken = engine.take(book, saved(step.frame), "?", at_stall)
        assert mistaken.screen.lines == step.screen.lines  # a hint moves no page break
        for screen in (step.screen, mistaken.screen):
            assert engine.septets(screen.drawn()) <= ROOM
        keys = [key for key, _ in step.screen.lines]
        numbers += [int(key) for key in keys if key not in {engine.BACK, engine.MORE}]
        if engine.MORE not in keys:
            break
        step = engine.take(book, saved(step.frame), engine.MORE, at_stall)
    assert numbers == list(range(1, len(unique) + 1))
    for _ in range(pages - 1):
        step = engine.take(book, saved(step.frame), engine.BACK, at_stall)
    assert step.screen.lines[0][0] == "1"


def test_an_option_of_an_earlier_page_may_be_typed_on_a_later_one(handset: Handset) -> None:
    handset.dial()
    handset.walk("1", "1", "99", "99")
    assert "Amaranth" not in handset.seen.text
    assert handset.reply("1").label == "buy.offer"


def test_back_from_the_next_screen_shows_the_list_from_its_first_page(handset: Handset) -> None:
    handset.dial()
    first = handset.walk("1", "1")
    handset.walk("99", "5")
    assert handset.reply("0").text == first.text


# Taking up what was left


def test_what_is_a_day_old_is_offered_and_what_is_older_is_not(
    handset: Handset, clock: Clock
) -> None:
    handset.dial()
    handset.walk("1", "1")
    left = clock.now
    clock.now = left + timedelta(hours=24) - timedelta(seconds=10)
    assert handset.dial().label == "home.offer"
    clock.now = clock.now + timedelta(hours=24)
    assert handset.dial().label == "home.menu"


def test_what_is_offered_again_lies_where_it_was(handset: Handset) -> None:
    handset.dial()
    page = handset.walk("1", "1", "99")
    handset.dial()
    assert handset.reply("1").text == page.text


def test_a_wrong_answer_to_the_offer_still_names_what_was_unfinished(handset: Handset) -> None:
    handset.dial()
    handset.reply("1")
    offered = handset.dial()
    assert handset.reply("9").lines[1:] == offered.lines


def test_back_from_a_new_start_does_not_lead_to_the_offer_again(handset: Handset) -> None:
    handset.dial()
    handset.reply("1")
    handset.dial()
    handset.reply("2")
    assert handset.reply("0").label == "home.menu"


# Secrets


def typed_pins(handset: Handset, street: Street) -> None:
    handset.dial()
    handset.walk("1", "Amina", "Toi", "1", "1", "4862", "2")  # registered with 4862
    handset.dial()
    handset.walk("6", "4", "7953", "4862", "6284")  # a wrong one, the right one, a new one
    handset.dial()
    handset.walk("6", "4", "6284")
    handset.dial()


def test_a_pin_is_in_no_text_of_the_database(new_phone: Handset, street: Street, db: Db) -> None:
    typed_pins(new_phone, street)
    found = {
        f"{table}.{column}"
        for table, column in texts_of(db)
        for value in db.value(
            f"SELECT coalesce(array_agg({column}::text), '{{}}') FROM {table}"  # type: ignore[arg-type]
        )
        if re.search(r"(?<![0-9a-f])(4862|7953|6284)(?![0-9a-f])", value or "")
    }
    assert found == set()


def texts_of(db: Db) -> list[tuple[str, str]]:
    found: list[list[str]] = db.value(
        """
        SELECT json_agg(json_build_array(table_name, column_name))
        FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('text', 'jsonb', 'character varying')
        """
    )
    return [(table, column) for table, column in found]


def test_the_same_search_finds_what_is_no_secret(
    new_phone: Handset, street: Street, db: Db
) -> None:
    """The search of the test above can find something."""
    new_phone.dial()
    new_phone.walk("1", "Zubeda Unlikely")
    assert [
        column
        for table, column in texts_of(db)
        if table == "conversations"
        and "Zubeda" in str(db.value(f"SELECT array_agg({column}::text) FROM conversations"))  # type: ignore[arg-type]
    ] == ["frame"]


def test_a_pin_cannot_be_found_by_hashing_all_ten_thousand(
    new_phone: Handset, street: Street, db: Db
) -> None:
    """What is kept of a hop is keyed: without the key no PIN gives the digest of its text."""
    typed_pins(new_phone, street)
    kept = {bytes(found) for found in db.value("SELECT array_agg(digest) FROM hops")}
    key = Rules(token_key=b"somebody's guess")
    typed = "1*Amina*Toi*1*1"
    session = new_phone.session
    guessed = {run.digest(key, session, f"{typed}*{pin:04}") for pin in range(10_000)}
    assert not kept & guessed


def test_a_repr_shows_neither_who_dials_nor_what_was_typed(
    handset: Handset, clock: Clock, rules: Rules, db: Db
) -> None:
    inbound = run.Inbound("ussd", PHONE, PHONE, "s", "*384#", run.History("4862"), ROOM)
    begun = engine.begin(BOOK, "register", context(db, clock, rules))
    shown = repr((inbound, context(db, clock, rules), begun.frame))
    assert "4862" not in shown
    assert PHONE not in shown


# What is broken on purpose


def test_a_verb_that_breaks_its_promise_is_a_mistake_of_ours(at_stall: Context) -> None:
    book = stall(
        PICK, books.ASK, replace(CALL, do=lambda _context, _answers: "given"), THANKS, CLOSED
    )
    step = engine.take(book, saved(engine.begin(book, "stall", at_stall).frame), "1", at_stall)
    with pytest.raises(AssertionError, match="no way out for given"):
        engine.take(book, saved(step.frame), "2", at_stall)


def test_an_empty_list_leads_where_the_flow_says(at_stall: Context) -> None:
    step = engine.begin(stall(list_of(), *STALL[1:]), "stall", at_stall)
    assert (step.frame, step.screen.label) == (None, "stall.closed")


def test_a_hint_is_carried_over_what_is_done_on_the_way(at_stall: Context) -> None:
    def no(_context: Context, _answers: Any) -> Literal["sold", "sold_out"]:
        return "sold_out"

    def go_on(_context: Context, _answers: Any) -> Literal["on"]:
        return "on"

    book = stall(
        PICK,
        books.ASK,
        replace(CALL, do=no, to={"sold": "thanks", "sold_out": "look"}),
        Call("look", do=go_on, effect=False, to={"on": "product"}),
        THANKS,
        CLOSED,
    )
    step = engine.begin(book, "stall", at_stall)
    for typed in ("1", "2"):
        step = engine.take(book, saved(step.frame), typed, at_stall)
    assert step.screen.text == "Sold out."


def test_a_flow_takes_over_the_answers_that_it_names_and_no_others(at_stall: Context) -> None:
    stall = flow((replace(PICK, to="@counter"), CLOSED))
    table = (replace(ASK, to="thanks"), THANKS)
    for takes, taken in ((("product",), {"product": "beans"}), ((), {})):
        counter = replace(flow(table, name="counter"), takes=takes)
        book = {"stall": stall, "counter": counter}
        begun = engine.begin(book, "stall", at_stall)
        there = engine.take(book, saved(begun.frame), "1", at_stall)
        assert saved(there.frame).flow == "counter"
        assert saved(there.frame).answers == taken


def test_answers_dialled_ahead_stop_before_an_effect(at_stall: Context) -> None:
    at_stall.replaying = True
    book = stall()
    step = engine.begin(book, "stall", at_stall)
    step = engine.take(book, saved(step.frame), "1", at_stall)
    with pytest.raises(engine.EffectAhead):
        engine.take(book, saved(step.frame), "2", at_stall)


def test_a_menu_shows_its_options_in_the_order_of_its_table() -> None:
    (menu,) = (state for state in BOOK["home"].table if state.name == "menu")
    assert isinstance(menu, Menu)
    assert list(menu.to) == ["buy", "my_orders", "sell", "wallet", "safe_pay", "account", "help"]


def test_a_delivery_code_is_shown_again_and_never_kept(
    street: Street, db: Db, rules: Rules, clock: Clock
) -> None:
    """What "My code" shows stands in no table; a repeat of the hop shows it all the same."""
    street.register("Amina")
    street.put_in_basket(2, "tomatoes", "Otieno Supplies")
    street.place()
    street.pay()
    (bargain,) = street.bought("paid")
    code = street.code(bargain)
    phone = Handset(EngineLine(db, rules, clock), clock, street.msisdn)
    phone.dial()
    shown = phone.walk("2", "1", "1", "2580")
    assert f"code {code}" in shown.text
    assert phone.repeat().text == shown.text
    kept = [
        f"{table}.{column}"
        for table, column in texts_of(db)
        for value in db.value(
            f"SELECT coalesce(array_agg({column}::text), '{{}}') FROM {table}"  # type: ignore[arg-type]
        )
        if f"code {code}" in (value or "")
    ]
    assert kept == []


@pytest.mark.parametrize(
    ("where", "does"),
    [
        ("buy.quantity", True),  # leads to a call that has an effect
        ("home.person", True),  # a secret, handed to its verb
        ("buy.receiver", False),
        ("buy.category", False),
        ("buy.confirm", False),  # only some of its options do
        ("buy.of_old", False),
        ("gone.of_old", False),
    ],
)
def test_it_is_known_before_an_answer_is_read_whether_it_does_something(
    where: str, does: bool
) -> None:
    name, _, state = where.partition(".")
    assert engine.acts(BOOK, Frame(name, "", state)) is does
