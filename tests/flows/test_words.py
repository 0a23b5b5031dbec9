"""Words: filled in, clipped to their widths, and English where a language lacks them."""

import re

import pytest

from flows import words
from flows.book import BOOK
from flows.words import common, fill, placeholders, widest


def test_a_placeholder_is_clipped_to_its_width() -> None:
    texts = {"en": "Welcome, {name}!"}
    assert fill(texts, "en", {"name": "Maximiliana-Wilhelmina"}) == "Welcome, Maximiliana-Wil.!"


def test_no_filled_text_is_wider_than_its_widest() -> None:
    wide = "W" * 200
    template = "{name}: {product} of {seller}, {unit}"
    assert len(fill({"en": template}, "en", dict.fromkeys(placeholders(template), wide))) == widest(
        template
    )


def test_a_figure_is_never_cut() -> None:
    assert fill({"en": "KSh {total}"}, "en", {"total": "250,000.50"}) == "KSh 250,000.50"
    with pytest.raises(AssertionError, match="wider than"):
        fill({"en": "KSh {total}"}, "en", {"total": "1,250,000.50"})


def test_a_language_without_words_speaks_english() -> None:
    assert fill({"en": "Hello", "sw": "Jambo"}, "fr", {}) == "Hello"


def test_braces_in_a_name_are_letters_not_placeholders() -> None:
    assert fill({"en": "{name}"}, "en", {"name": "{total}"}) == "{total}"
    assert fill({"en": "{name}"}, "en", {"name": "{0.a!r}"}) == "{0.a!r}"


def test_a_percent_or_a_format_in_a_name_stays_what_it_is() -> None:
    assert fill({"en": "{name}"}, "en", {"name": "%s %(x)d"}) == "%s %(x)d"


def test_a_flows_own_hint_goes_before_the_common_one() -> None:
    book = BOOK["buy"].words
    assert book.hint("number") == book.hints["number"]
    assert book.hint("choose") == common().texts["hint.choose"]
    assert book.hint("nobody says this") is None


def test_every_language_is_called_by_its_own_name() -> None:
    assert common().languages == {"en": "English", "sw": "Kiswahili"}


def test_every_word_file_belongs_to_a_flow() -> None:
    files = {path.stem for path in words.FOLDER.glob("*.toml")}
    assert files == {*BOOK, "common"}


def test_the_screens_differ_between_the_languages() -> None:
    """Words copied and not translated: only what is meant for both may be the same."""
    same = [
        f"{flow.name}.{name}"
        for flow in BOOK.values()
        for name, state in flow.words.states.items()
        if state.text["en"] == state.text["sw"]
        and any(letter.isalpha() for letter in re.sub("{.*?}", "", state.text["en"]))
    ]
    assert same == ["register.language", "account.language", "my_orders.over"]
