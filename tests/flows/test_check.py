"""The proofs hold for our flows, and each of them finds the mistake it is there for."""

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from flows import check
from flows.book import BOOK
from flows.engine import Call, Context, End, Flow, Menu, Moved, Option, Pick, Typed
from flows.words import common
from tests.flows import books
from tests.flows.books import ASK, CALL, CLOSED, PICK, STALL, THANKS, flow


def faults(wrong: Flow) -> list[str]:
    found = check.faults({wrong.name: wrong})
    return [fault.removeprefix(f"{wrong.name}: ") for fault in found]


def test_our_own_flows_have_no_fault() -> None:
    assert check.faults(BOOK) == []


def test_the_stall_that_all_mistakes_are_seeded_in_has_none() -> None:
    assert faults(flow()) == []


def test_what_a_flow_takes_over_is_an_answer_of_its_own() -> None:
    assert faults(replace(flow(), takes=("product",))) == []
    assert faults(replace(flow(), takes=("price",))) == ["takes price, which is no answer"]


@dataclass
class Numbered:
    product: int | None = None


def test_what_a_flow_takes_over_is_of_one_type_on_both_sides() -> None:
    leading = flow((Menu("menu", to={"go": "@stall"}),), answers=Numbered, name="leading")
    taking = replace(flow(), takes=("product",))
    found = check.faults({"leading": leading, "stall": taking})
    assert "stall: takes product from leading, where it is a int" in found


def both(text: str) -> dict[str, str]:
    return {"en": text, "sw": text}


def either(_context: Context, _answers: Any) -> Literal["yes", "no"]:
    return "yes"


def changed(_context: Context, _answers: Any) -> Literal["sold", "updated"]:
    return "sold"


def anything(_context: Context, _answers: Any) -> str:
    return "yes"


def opened(_context: Context, _answers: Any, _pin: str) -> Literal["sold", "sold_out"]:
    return "sold"


def unsaid(_context: Context, _answers: Any):  # type: ignore[no-untyped-def]
    return []


def numbers(_context: Context, _answers: Any) -> list[Option[int]]:
    return []


def half(_context: Context, _answers: Any, _text: str) -> float:
    return 0.5


@dataclass
class Nameless:
    quantity: int | None = None


# The mistake -> the flow with it, and every fault that must be found; no other may be.
SEEDED: dict[str, tuple[Flow, list[str]]] = {
    "a target that is not there": (
        flow((PICK, replace(ASK, to="sale"), CALL, THANKS, CLOSED)),
        ["quantity leads by answered to sale, which is not there", "quantity never ends",
         "sell is never reached", "thanks is never reached"],
    ),
    "a flow that is not in the book": (
        flow((PICK, ASK, replace(CALL, to={"sold": "@shop", "sold_out": "product"}), CLOSED),
             {"thanks": None}),
        ["sell leads by sold to @shop, which is not there"],
    ),
    "a state nobody reaches": (
        flow((*STALL, End("goodbye")), {"goodbye": both("Bye.")}),
        ["goodbye is never reached"],
    ),
    "a road nobody begins": (
        flow((*STALL, Pick("other", options=books.goods, to="quantity", field="product")),
             {"other": {**both("?"), "item": both("{product}")}}),
        ["other is never reached"],
    ),
    "a road without an end": (
        flow((Menu("one", to={"on": "two"}), Menu("two", to={"back": "one"})),
             {"product": None, "quantity": None, "thanks": None, "closed": None, "hint": {},
              "one": {**both("1?"), "option": {"on": both("On")}},
              "two": {**both("2?"), "option": {"back": both("Back")}}}),
        ["one never ends", "two never ends"],
    ),
    "a circle of Calls alone": (
        flow((PICK, ASK, replace(CALL, to={"sold": "thanks", "sold_out": "again"}),
              Call("again", do=either, to={"yes": "sell", "no": "closed"}), THANKS, CLOSED),
             {"hint.yes": both("Again.")}),
        ["sell is in a circle of Calls alone", "again is in a circle of Calls alone"],
    ),
    "two states of one name": (
        flow((*STALL, End("thanks"))),
        ["two states have one name"],
    ),
    "an outcome that leads nowhere": (
        flow((PICK, ASK, replace(CALL, to={"sold": "thanks"}), THANKS, CLOSED),
             {"hint.sold_out": None}),
        ["sell has no way out for sold_out"],
    ),
    "a way that no outcome takes": (
        flow((PICK, ASK, replace(CALL, to={**CALL.to, "lost": "closed"}), THANKS, CLOSED)),
        ["sell: lost never happens"],
    ),
    "a verb that does not say its outcomes": (
        flow((PICK, ASK, replace(CALL, do=anything), THANKS, CLOSED)),
        ["sell: sold never happens", "sell: sold_out never happens"],
    ),
    "a secret without a verb": (
        flow((PICK, replace(ASK, secret=True), CALL, THANKS, CLOSED)),
        ["quantity: a secret has a verb and its outcomes, any other answer one target"],
    ),
    "a secret with one target": (
        flow((PICK, replace(ASK, secret=True, do=opened), CALL, THANKS, CLOSED)),
        ["quantity: a secret has a verb and its outcomes, any other answer one target"],
    ),
    "a verb behind an answer that is no secret": (
        flow((PICK, replace(ASK, do=opened, to=CALL.to), THANKS, CLOSED)),
        ["quantity: a secret has a verb and its outcomes, any other answer one target"],
    ),
    "an answer without a field": (
        flow(answers=Nameless),
        ["product answers product, a str: no such field"],
    ),
    "an answer of another type than its field": (
        flow((PICK, replace(ASK, parse=half), CALL, THANKS, CLOSED), {"hint.number": None}),
        ["quantity answers quantity, a float: int"],
    ),
    "a list of another type than its field": (
        flow((replace(PICK, options=numbers), ASK, CALL, THANKS, CLOSED)),
        ["product answers product, a int: str"],
    ),
    "a list that does not say its type": (
        flow((replace(PICK, options=unsaid), ASK, CALL, THANKS, CLOSED)),
        ["product: its options' type is not said"],
    ),
    "words typed for a list without a field": (
        flow((replace(PICK, typed=Typed("words", parse=books.quantity, to="quantity")),
              ASK, CALL, THANKS, CLOSED)),
        ["product answers words, a int: no such field"],
    ),
    "a state without words": (
        flow(words={"quantity": None}),
        ["quantity has no words"],
    ),
    "words without a state": (
        flow(words={"delivery": both("Where?")}),
        ["no state is called delivery"],
    ),
    "words for what has no screen": (
        flow(words={"sell": both("Selling.")}),
        ["sell has words but no screen"],
    ),
    "a language forgotten": (
        flow(words={"quantity.sw": None}),
        ["quantity is not said in sw"],
    ),
    "a language forgotten in a hint": (
        flow(words={"hint.sold_out.sw": None}),
        ["hint.sold_out is not said in sw"],
    ),
    "a language nobody declared": (
        flow(words={"quantity.fr": "Combien ?"}),
        ["quantity is said in fr, which is no language of common.toml"],
    ),
    "a list without words for its options": (
        flow(words={"product.item": {}}),
        ["product.item is not said in en", "product.item is not said in sw"],
    ),
    "words for options where there is no list": (
        flow(words={"thanks.item": both("{product}")}),
        ["thanks has an item but no list"],
    ),
    "an option without words": (
        flow((*STALL[:2], CALL, books.menu("thanks", more="product", done="closed"), CLOSED),
             {"thanks.option.more": both("More")}),
        ["thanks: option done has no words or no target"],
    ),
    "words for an option that leads nowhere": (
        flow((*STALL[:2], CALL, books.menu("thanks", done="closed"), CLOSED),
             {"thanks.option.more": both("More"), "thanks.option.done": both("Done")}),
        ["thanks: option more has no words or no target"],
    ),
    "other placeholders in one language": (
        flow(words={"quantity.sw": "{product} ngapi?"}),
        ["quantity has other placeholders in one language than in another"],
    ),
    "a placeholder without a width": (
        flow(words={"thanks": both("Thank you, {nickname}.")}),
        ["thanks: the width of nickname is not declared"],
    ),
    "a parser's hint without words": (
        flow(words={"hint.number": None}),
        ["quantity: the hint number has no words"],
    ),
    "sent back without a hint": (
        flow(words={"hint.sold_out": None}),
        ["sell: sold_out sends back to product without a hint"],
    ),
    "a hint carried into another flow": (
        flow((PICK, ASK, replace(CALL, to={"sold": "thanks", "sold_out": "@stall"}),
              THANKS, CLOSED)),
        ["sell: the hint sold_out would be shown in another flow"],
    ),
    "a hint nobody shows": (
        flow(words={"hint.lost": both("Lost.")}),
        ["the hint lost is never shown"],
    ),
    "moved, and still there": (
        replace(flow(), moved=Moved(states={"quantity": "product"}, answers={"product": None})),
        ["quantity has moved, and is still there",
         "the answer product has moved, and is still there"],
    ),
    "moved to where there is nothing": (
        replace(flow(), moved=Moved(states={"old": "sell", "older": "shop"},
                                    answers={"goods": "item"})),
        ["old has moved to sell, where nobody can stand",
         "older has moved to shop, where nobody can stand",
         "the answer goods has moved to item, which is no answer"],
    ),
    "a hint by the name of one of the engine's": (
        flow((PICK, ASK, replace(CALL, do=changed, to={"sold": "thanks", "updated": "product"}),
              THANKS, CLOSED), {"hint.updated": both("Changed."), "hint.sold_out": None}),
        ["the hint updated is the engine's own"],
    ),
    "no words to offer it again": (
        flow(words={"resume": {}}),
        ["resume is not said in en", "resume is not said in sw"],
    ),
    "a letter no plain phone has": (
        flow(words={"thanks.sw": "Asante sana… ç"}),
        ["thanks in sw has letters no plain phone has: ç …"],
    ),
    "a screen one septet too long": (
        flow(words={"thanks.sw": "a" * 157}),
        ["thanks in sw can take 157 septets of 156"],
    ),
    "a screen too long by letters that cost two": (
        flow(words={"thanks.en": "€" * 79}),
        ["thanks in en can take 158 septets of 156"],
    ),
    "a hint that leaves no room for its screen": (
        flow(words={"quantity.en": "a" * 100, "hint.number.en": "b" * 60}),
        ["quantity in en can take 168 septets of 156"],
    ),
    "a list with room for one option alone": (
        flow(words={"product.en": "a" * 90}),
        ["product in en can take 157 septets of 156"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", SEEDED)
def test_a_seeded_mistake_is_found_and_nothing_else(mistake: str) -> None:
    wrong, expected = SEEDED[mistake]
    assert sorted(faults(wrong)) == sorted(expected)


def test_a_screen_that_just_fits_is_no_fault() -> None:
    assert faults(flow(words={"thanks": both("a" * 156)})) == []


def test_a_network_with_less_room_has_its_own_faults() -> None:
    found = check.faults({"stall": flow(words={"thanks": both("a" * 120)})}, room_septets=100)
    assert "stall: thanks in en can take 120 septets of 100" in found


def test_the_longest_screen_counts_placeholders_at_their_width() -> None:
    named = flow(words={"thanks": both("{name}!")})
    assert check.longest(named, THANKS, "en") == common().widths["name"] + 1


def test_a_reached_state_knows_how_far_it_is_from_the_beginning() -> None:
    assert check.depths(flow()) == {
        "product": 0, "quantity": 1, "closed": 1, "sell": 2, "thanks": 3
    }  # fmt: skip


def test_a_drawing_has_every_state_and_every_way() -> None:
    drawn = check.mermaid(flow())
    for state in STALL:
        assert f"    {state.name}" in drawn
    assert "sell -->|sold_out| product" in drawn
    assert "product -->|no_product| closed" in drawn


def test_a_note_stands_under_its_states_name() -> None:
    drawn = check.mermaid(flow(), {"quantity": "3 came"})
    assert '    quantity[/"quantity<br/>3 came"/]' in drawn
    assert "    product[[product]]" in drawn


def test_the_command_prints_every_flow_and_succeeds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.check"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"{name} (version {book.version})" in done.stdout for name, book in BOOK.items())


def test_the_command_names_what_does_not_fit_and_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.check", "--room", "100"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "septets of 100" in done.stderr
