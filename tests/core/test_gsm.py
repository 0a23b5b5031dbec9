"""GSM text, checked letter by letter against an independent library and against the reference."""

import smsutil
from hypothesis import example, given
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
