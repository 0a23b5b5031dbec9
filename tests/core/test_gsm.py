"""GSM text, checked letter by letter against an independent library and against the reference."""

import pytest
import smsutil
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import gsm

LETTERS = st.characters(exclude_categories=["Cs"])
NAMES = st.text(st.sampled_from("Amina ŋĩç’—…€[]😀\u200d\u00a0éÜ\t\n^{}|~ጤ中"), max_size=40)


def test_the_alphabet_is_the_librarys() -> None:
    """Less what no text of ours may hold: form feed aside, both know the same 137 letters."""
    encodable = {
        chr(code)
        for code in range(0x3000)
        if smsutil.is_valid_gsm(chr(code)) and chr(code) != "\x1b"
    }
    assert set(gsm.SEPTETS) == encodable


def test_every_letter_costs_what_the_library_says() -> None:
    for letter, cost in gsm.SEPTETS.items():
        assert cost == len(smsutil.encode(letter)), letter


@given(st.text(st.sampled_from(sorted(gsm.SEPTETS)), max_size=400))
def test_the_septets_of_a_text_are_the_librarys(text: str) -> None:
    counted = sum(len(smsutil.encode(letter)) for letter in text)
    assert gsm.septets(text) == counted


@given(st.text(LETTERS, max_size=60) | NAMES)
@example("")
@example("\ud800")
def test_whatever_comes_out_a_plain_phone_can_show(text: str) -> None:
    shown = gsm.plain(text)
    assert set(shown) <= set(gsm.SEPTETS)
    assert "\r" not in shown


@given(st.text(LETTERS, max_size=60) | NAMES)
def test_plain_text_stays_as_it_is(text: str) -> None:
    once = gsm.plain(text)
    assert gsm.plain(once) == once


@given(st.text(LETTERS, max_size=60) | NAMES, st.integers(1, 60))
def test_clipped_text_is_never_wider_than_it_may_be(text: str, width: int) -> None:
    assert gsm.septets(gsm.clip(text, width)) <= width


@given(st.text(LETTERS, max_size=60) | NAMES, st.integers(1, 60))
def test_what_fits_is_not_clipped(text: str, width: int) -> None:
    whole = gsm.plain(text)
    if gsm.septets(whole) <= width:
        assert gsm.clip(text, width) == whole


def test_what_is_cut_ends_in_a_full_stop() -> None:
    assert gsm.clip("Maximiliana-Wilhelmina", 16) == "Maximiliana-Wil."
    assert gsm.clip("Wanjiku of the hill", 8) == "Wanjiku."


def test_look_alikes_replace_what_the_alphabet_lacks() -> None:
    told = {
        "Ng’ang’a": "Ng'ang'a",
        "“Mama” — duka…": '"Mama" - duka...',
        "Mũthoni Kĩbaara": "Muthoni Kibaara",
        "Cédric Garçon": "Cédric Garcon",
        "Peña Übel": "Peña Übel",
        "½ kilo × 2": "1/2 kilo x 2",
        "Amina 😀 Duka": "Amina Duka",
        "₦ ₵ ¢ ™": "NGN GHS c TM",
        "a\r\nb\rc": "a\nb\nc",
        "`x`": "'x'",
        "\u202eevil\u202c": "evil",
        "Zo\u0308e": "Zöe",
    }
    assert {text: gsm.plain(text) for text in told} == told


@pytest.mark.parametrize(
    ("text", "encoding", "parts"),
    [
        ("a" * 160, "gsm", 1),
        ("a" * 161, "gsm", 2),
        ("a" * 306, "gsm", 2),
        ("a" * 307, "gsm", 3),
        ("€" * 80, "gsm", 1),
        ("€" * 81, "gsm", 2),
        ("€" * 153, "gsm", 3),  # 76 to a part, one septet wasted in each
        ("’" * 70, "ucs2", 1),
        ("’" * 71, "ucs2", 2),
        ("’" * 134, "ucs2", 2),
        ("’" * 135, "ucs2", 3),
        ("\U0001f600" * 35, "ucs2", 1),
        ("\U0001f600" * 36, "ucs2", 2),
        ("a" * 159 + "\n", "gsm", 1),
        ("a" * 160 + "§", "gsm", 2),
        ("a" * 160 + "ç", "ucs2", 3),
    ],
)
def test_a_text_of_known_length_has_its_parts(text: str, encoding: str, parts: int) -> None:
    assert gsm.parts(text) == (encoding, parts)


@given(
    st.text(st.sampled_from("a€^§"), min_size=1, max_size=480)
    | st.text(st.sampled_from("a’😀"), min_size=1, max_size=210)
)
@settings(max_examples=300)
def test_the_parts_of_a_text_are_the_librarys(text: str) -> None:
    counted = smsutil.split(text)
    assert gsm.parts(text) == (
        "gsm" if counted.encoding == "gsm0338" else "ucs2",
        len(counted.parts),
    )
