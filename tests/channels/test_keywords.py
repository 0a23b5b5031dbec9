"""Keywords: what people write is what they mean, and a word in a sentence is only a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.keywords import WORDS, Ambiguous, Keyword, parse


@pytest.mark.parametrize(
    ("text", "kind", "words", "quantity"),
    [
        ("BUY maize 2", "buy", "maize", "2"),
        ("buy 2 maize", "buy", "maize", "2"),
        ("  Buy:  2kg of Maize!! ", "buy", "Maize", "2"),
        ("BUY2maize", "buy", "maize", "2"),
        ("NUNUA magunia 2 ya mahindi", "buy", "mahindi", "2"),
        ("nunua nyanya 1/2", "buy", "nyanya", "1/2"),
        ("buy maize 1½", "buy", "maize", "1 1/2"),
        ("buy maize flour, 2.5 kg.", "buy", "maize flour", "2.5"),
        ("BUY", "buy", "", ""),
        ("buy 1042", "buy", "", ""),
        ("BEI nyanya", "prices", "nyanya", ""),
        ("bei ya nyanya?", "prices", "nyanya", ""),
        ("Price of 7up", "prices", "7up", ""),
        ("prices", "prices", "", ""),
    ],
)
def test_goods_are_told_from_how_many(text: str, kind: str, words: str, quantity: str) -> None:
    found = parse(text)
    assert isinstance(found, Keyword)
    assert (found.kind, found.words, found.quantity) == (kind, words, quantity)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("STATUS 1042", 1042),
        ("status1042", 1042),
        ("Status: #1042!", 1042),
        ("Hali ya oda namba 1042", 1042),
        ("ＳＴＡＴＵＳ １０４２", 1042),
        ("status ١٠٤٢", 1042),
        ("STATUS", None),
        ("Status of my order", None),
    ],
)
def test_an_order_is_asked_for_by_its_number(text: str, number: int | None) -> None:
    found = parse(text)
    assert isinstance(found, Keyword)
    assert (found.kind, found.number) == ("status", number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("DEAL 1042", 1042),
        ("deal1042 yes", 1042),
        ("Dili namba 1042, sawa asante", 1042),
        ("Deal no 1042 NO", 1042),
        ("Deals please", None),
        ("DILI", None),
    ],
)
def test_a_deal_is_asked_for_by_its_number_whatever_is_said_of_it(
    text: str, number: int | None
) -> None:
    assert parse(text) == Keyword("deal", WORDS[text.split()[0].rstrip("0124").lower()][1], number)


@pytest.mark.parametrize(
    "text", ["Deal is on", "DEAL 1042 1043", "deal 12345678901", "dili ni nzuri", "A deal 1042"]
)
def test_a_sentence_about_a_deal_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "OK 1042 4821",
        "ok 1042-4821",
        "ok1042,4821.",
        "Okay 1042 48 21",
        "OK 10424821",
        "ok order 1042 code 4821 asante",
        "SAWA 1042 4821",
    ],
)
def test_a_code_is_read_however_it_is_typed(text: str) -> None:
    found = parse(text)
    assert isinstance(found, Keyword)
    assert (found.kind, found.number, found.code) == ("confirm", 1042, "4821")
    assert "4821" not in repr(found)


@pytest.mark.parametrize(
    ("text", "number", "words"),
    [
        ("PROBLEM 1042 rotten", 1042, "rotten"),
        ("problem1042rotten", 1042, "rotten"),
        ("Problem order no. 1042 - Tomatoes were ROTTEN, 2 kg", 1042, "Tomatoes were ROTTEN, 2 kg"),
        ("SHIDA oda 1042 zimeoza", 1042, "zimeoza"),
        ("tatizo 1042", 1042, ""),
        ("problem 2 bags missing", None, "2 bags missing"),
        ("shida", None, ""),
    ],
)
def test_a_problem_keeps_its_senders_own_words(text: str, number: int | None, words: str) -> None:
    found = parse(text)
    assert isinstance(found, Keyword)
    assert (found.kind, found.number, found.words) == ("problem", number, words)


@pytest.mark.parametrize(
    ("text", "language"),
    [("YES 1042", "en"), ("yes, order no. 1042 please", "en"), ("Ndiyo1042", "sw")],
)
def test_a_yes_of_an_order_agrees_to_what_was_asked_of_it(text: str, language: str) -> None:
    assert parse(text) == Keyword("agree", language, 1042)


@pytest.mark.parametrize("text", ["yes 2", "yes no", "yes 1042 4821", "yes 1042 tomatoes"])
def test_a_yes_of_anything_else_is_an_answer(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "kind", "language"),
    [
        ("STOP", "stop", ""),
        ("*stop*", "stop", ""),
        ("Stop all sms please", "stop", ""),
        ("ACHA", "stop", "sw"),
        ("unsubscribe.", "stop", "en"),
        ("Start", "start", ""),
        ("anza", "start", "sw"),
        ("HELP!", "help", "en"),
        ("msaada tafadhali", "help", "sw"),
        ("\U0001f600 menu", "menu", ""),
        ("Balance", "balance", "en"),
        ("salio", "balance", "sw"),
        ("yes please", "go_on", "en"),
        ("Ndiyo", "go_on", "sw"),
        ("call me", "call_me", "en"),
        ("piga simu", "call_me", "sw"),
    ],
)
def test_a_word_alone_is_understood_in_its_language(text: str, kind: str, language: str) -> None:
    assert parse(text) == Keyword(kind, language)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "?!",
        "1",
        "1042",
        "nyanya",
        "I want to STOP buying",
        "Stop sending me rotten tomatoes",
        "stop 1042",
        "Please buy me a phone",
        "buy me a phone for my old mother",
        "Hali yako?",
        "ok",
        "OK thanks",
        "ok 1",
        "yes I will come",
        "call 0712345678",
        "help me find tomatoes",
        "price is far too high for me",
        "okra 2",
        "statuses 1042",
    ],
)
def test_a_sentence_or_an_answer_is_no_keyword(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "kind", "numbers"),
    [
        ("OK 4821", "confirm", ("4821",)),
        ("ok 1042 48", "confirm", ("1042", "48")),
        ("STATUS 1042 1043", "status", ("1042", "1043")),
    ],
)
def test_what_could_mean_two_things_is_said_to(
    text: str, kind: str, numbers: tuple[str, ...]
) -> None:
    found = parse(text)
    assert isinstance(found, Ambiguous)
    assert (found.kind, found.numbers) == (kind, numbers)


@given(st.text(max_size=200))
def test_nothing_that_is_typed_breaks_it(text: str) -> None:
    parse(text)


@given(word=st.sampled_from(sorted(WORDS)), rest=st.text(max_size=600))
def test_no_rest_breaks_a_keyword(word: str, rest: str) -> None:
    found = parse(f"{word} {rest}")
    assert found is None or found.kind == WORDS[word][0]
