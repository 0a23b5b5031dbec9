"""Answers survive being kept as JSON, and are refused where they no longer fit."""

import json
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import answers
from flows.book import BOOK


@dataclass
class Basket:
    product: UUID | None = None
    words: str | None = None
    quantity: int | None = None
    agreed: bool | None = None


@given(
    st.builds(
        Basket,
        product=st.none() | st.uuids(),
        words=st.none() | st.text(max_size=20),
        quantity=st.none() | st.integers(-(2**53), 2**53),
        agreed=st.none() | st.booleans(),
    )
)
def test_what_is_kept_comes_back(basket: Basket) -> None:
    kept = json.loads(json.dumps(answers.keep(basket)))
    assert answers.restore(Basket, kept) == basket


def test_what_was_not_answered_is_not_kept() -> None:
    assert answers.keep(Basket(words="maize")) == {"words": "maize"}


@pytest.mark.parametrize(
    "kept",
    [
        {"colour": "red"},
        {"quantity": "two"},
        {"words": 2},
        {"product": "not a key"},
        {"agreed": "yes"},
    ],
    ids=str,
)
def test_answers_of_another_shape_are_refused(kept: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        answers.restore(Basket, kept)


def test_an_answer_of_a_kind_that_json_cannot_keep_is_a_mistake() -> None:
    @dataclass
    class Wrong:
        price: float | None = None

    with pytest.raises(AssertionError, match="float"):
        answers.kinds(Wrong)


def test_the_hints_a_parser_may_raise_are_written_on_it() -> None:
    @answers.hints("number", "minimum")
    def parser() -> None: ...

    assert answers.hints_of(parser) == ("number", "minimum")
    assert answers.hints_of(print) == ()


def test_no_flow_has_room_for_a_secret_among_its_answers() -> None:
    kept = {name for flow in BOOK.values() for name in answers.kinds(flow.answers)}
    assert not {name for name in kept if "pin" in name.lower()}
