"""A third language needs words and nothing else.

Each text is said once more, under "xx": a purchase in French, written here; the rest mechanically,
as the English with an accent on every vowel. Take the accents away and each story that is recorded
in English must stand there again, word for word.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core import wordings
from core.database import Db
from core.rules import Rules
from flows import check, run, words
from flows.book import BOOK
from flows.engine import Book
from tests.flows import test_transcripts, transcripts
from tests.flows.handset import Clock, Handset
from tests.flows.street import PIN, Street

CODE, NAME = "xx", "Gallo"
ACCENTS = str.maketrans("aeiou", "àéìòù")  # letters every phone has
NO_ACCENTS = str.maketrans("àéìòù", "aeiou")
FRENCH = {
    "Buy": "Acheter",
    "Sokoni. Welcome, {name}.": "Sokoni. Bonjour, {name}.",
    "What would you like? Choose, or type its name.": "Que voulez-vous ? Un numéro ou un nom.",
    "Choose, or type a name. KSh for each:": "Un numéro ou un nom. KSh par unité :",
    "Who do you buy from? KSh for each:": "Chez qui ? KSh par unité :",
    "{product} KSh {price}/{unit}. {stock} left.\nHow many {units}? (min {minimum})": (
        "{product} KSh {price}/{unit}. Reste {stock}.\nCombien ? ({units}, min {minimum})"
    ),
    "It is in your basket.": "Dans le panier.",
    "Items in your basket: {count}. Total KSh {total}.": "Panier : {count}. Total KSh {total}.",
    "Pay": "Payer",
    "Add more": "Ajouter",
    "Take out": "Enlever",
    "Which day shall it come?": "Quel jour livrer ?",
    "Mon": "lun",
    "Back": "Retour",
    "To {to}, {day}. Pay KSh {total} by M-Pesa?": "A {to}, {day}. KSh {total} par M-Pesa ?",
    "This phone": "Ce mobile",
    "Another phone": "Autre mobile",
    "For another": "Pour autrui",
    "Change": "Modifier",
}
COUNTS_LANGUAGES = "mistakes_at_every_step"  # types the number after the last language's
STORIES = [
    path
    for path in test_transcripts.TRANSCRIPTS
    if path.name.endswith(".en.txt") and not path.name.startswith(COUNTS_LANGUAGES)
]
SPEAKS = re.compile(r"[àéìòù]")


def accented(text: str) -> str:
    """The same with an accent on each vowel, placeholders as they are."""
    parts = re.split(r"(\{[^}]*\})", text)
    return "".join(part if part.startswith("{") else part.translate(ACCENTS) for part in parts)


def french(text: str) -> str:
    return FRENCH.get(text) or accented(text)


def spoken(tables: Any, say: Any) -> Any:
    """The tables of a file of words, each text in one language more."""
    if not isinstance(tables, dict):
        return tables
    more = {name: spoken(table, say) for name, table in tables.items()}
    if isinstance(tables.get("en"), str):
        more[CODE] = NAME if tables["en"] == "English" else say(tables["en"])
    return more


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it with what says an English text otherwise; the book in three languages."""

    def add(say: Any) -> Book:
        read, table = words._read, wordings.table()

        @cache
        def in_three(path: Path) -> dict[str, Any]:
            tables: dict[str, Any] = spoken(read(path), say)
            return tables

        messages = replace(
            table,
            triggers={
                trigger: {receiver: _said(wording, say) for receiver, wording in receivers.items()}
                for trigger, receivers in table.triggers.items()
            },
        )
        monkeypatch.setattr(words, "_read", lambda path: dict(in_three(path)))
        monkeypatch.setattr(wordings, "table", lambda: messages)
        words.common.cache_clear()
        book = {name: replace(flow) for name, flow in BOOK.items()}  # no words read yet
        monkeypatch.setattr(run, "BOOK", book)
        return book

    yield add
    monkeypatch.undo()
    words.common.cache_clear()


def _said(wording: wordings.Wording | None, say: Any) -> wordings.Wording | None:
    if wording is None:
        return None
    return replace(wording, texts={**wording.texts, CODE: say(wording.texts["en"])})


@pytest.mark.parametrize("say", [accented, french])
def test_the_proofs_hold_in_three_languages(speak: Any, say: Any) -> None:
    assert check.faults(speak(say)) == []


def test_a_language_half_said_is_found(speak: Any) -> None:
    book = speak(lambda text: text.translate(ACCENTS))  # placeholders too
    assert any("other placeholders" in fault for fault in check.faults(book))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_story_is_the_same_in_a_third_language(
    path: Path, speak: Any, db: Db, clock: Clock, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(accented)
    monkeypatch.setitem(transcripts.NAMES, CODE, transcripts.NAMES["en"])
    recorded = path.read_text(encoding="utf-8")
    script = recorded.replace("lang=en", f"lang={CODE}", 1)
    played = transcripts.Dialogue(db, clock, rules).play(script)
    plain = played.translate(NO_ACCENTS).replace(f"  {3} {NAME}\n", "")
    assert plain.splitlines()[1:] == recorded.splitlines()[1:]
    assert SPEAKS.search(played) or "who=stranger" in script


def test_a_purchase_in_french_from_the_first_dial_to_the_receipt(
    new_phone: Handset, street: Street, speak: Any, db: Db, clock: Clock
) -> None:
    speak(french)
    new_phone.dial()
    new_phone.choose(NAME)
    new_phone.walk("Aline", "Toi", "1", "1", PIN)
    seen = [new_phone.dial()]
    seen += [new_phone.choose(label) for label in ("Acheter", "Vegetables", "Tomatoes")]
    seen += [new_phone.choose("Wanjiku Fresh"), new_phone.reply("2")]
    seen += [new_phone.choose(label) for label in ("Payer", "lun", "Ce mobile")]
    assert seen[0].lines[:2] == ["Sokoni. Bonjour, Aline.", "1 Acheter"]
    assert seen[4].lines == [
        "Tomatoes KSh 2,250/crate. Reste 40.",
        "Combien ? (crates, min 1)",
        "0 Retour",
    ]
    assert seen[5].lines == [
        "Dans le panier.",
        "Panier : 1. Total KSh 4,500.",
        "1 Payer",
        "2 Ajouter",
        "3 Enlever",
        "0 Retour",
    ]
    assert seen[7].lines == [
        "A Toi Market, lun 23/11. KSh 4,500 par M-Pesa ?",
        "1 Ce mobile",
        "2 Autre mobile",
        "3 Pour autrui",
        "4 Modifier",
        "0 Retour",
    ]
    assert seen[-1].ends
    street.pay()
    for screen in seen:
        assert strange_in(screen.text) == []
    told: Mapping[str, str] = db.value(
        "SELECT json_object_agg(trigger, text) FROM messages WHERE language = %(code)s",
        {"code": CODE},
    )
    assert "paid" in told
    for text in told.values():
        assert strange_in(text) == []


def strange_in(text: str) -> list[str]:
    """Pieces of our own English or Swahili texts that stand in it."""
    pieces = {
        piece
        for tables in (words._read(path) for path in words.FOLDER.glob("*.toml"))
        for said in texts_of(tables)
        for language, template in said.items()
        if language != CODE
        for piece in re.split(r"\{[^}]*\}|\n", template)
        if len(piece.strip()) > 7
    }
    own = "\n".join(FRENCH.values())
    return [piece for piece in pieces if piece in text and piece not in own]


def texts_of(tables: Any) -> Iterator[Mapping[str, str]]:
    if isinstance(tables, dict):
        if isinstance(tables.get("en"), str):
            yield {code: tables[code] for code in ("en", "sw")}
        else:
            for table in tables.values():
                yield from texts_of(table)
