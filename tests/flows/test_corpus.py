"""What conversations kept by earlier releases said still means the same, or is asked again.

`make accept` adds today's screens to tests/conversations; nothing is ever taken out of it but the
conversations of a flow that is no more.
"""

import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest

from core.database import Db
from core.rules import Rules
from flows import conversations, engine, run
from flows.book import BOOK
from flows.engine import Ask, Book, Context, Frame, Menu, Moved, Pick, Step
from tests.flows import books, corpus, graph
from tests.flows.books import ASK, CALL, CLOSED, PICK, STALL, THANKS, flow
from tests.flows.graph import Edge, Node
from tests.flows.handset import ROOM_SEPTETS, Clock
from tests.flows.street import FRIEND, MOTHER, PHONE, Street
from tests.flows.walks_phones import without_network
from tests.flows.walks_road import Walk, legs, traced

NODES = [
    Node(flow.name, state.name)
    for flow in BOOK.values()
    for state in flow.table
    if isinstance(state, Pick | Ask | Menu)
]


def ways_out(node: Node) -> list[Edge]:
    """Those that an answer takes."""
    edges = [edge for edge in graph.edges() if edge.source == node]
    return [edge for edge in edges if not graph.answers_itself(edge)]


def answers_at(node: Node) -> list[str]:
    """What can be typed there whoever dials: no code that is another one for each order."""
    typed = [known.typed for edge in ways_out(node) if (known := graph.cause(edge)) is not None]
    return list(dict.fromkeys(answer for answer in typed if isinstance(answer, str)))


@pytest.fixture
def stand_at(
    db: Db, clock: Clock, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Node], tuple[Step, Context]]:
    """Walk to a screen, along the graph's shortest road; where the conversation stands there."""

    def walk_to(node: Node) -> tuple[Step, Context]:
        path = graph.path_to(ways_out(node)[0])
        assert path is not None, f"no road leads to {node}"
        causes = [known for step in path if (known := graph.cause(step)) is not None]
        phones = [how.phone for how in causes if how.phone]
        street = Street(db, clock, rules, phones[0] if phones else PHONE)
        walk = Walk(street, without_network(street))
        with monkeypatch.context() as patched:
            patched.setattr(run, "BOOK", traced(walk))
            for how in causes:
                if how.start:
                    how.start(street)
            for leg in legs(path)[:-1]:
                walk.go(leg)
        assert walk.node == node
        return standing(street)

    def standing(street: Street) -> tuple[Step, Context]:
        kept = conversations.read(db, "ussd", street.msisdn)
        assert kept is not None
        frame = conversations.frame_of(kept.frame)
        assert frame is not None
        context = replace(
            run._context(db, kept, rules, clock()),
            room_septets=ROOM_SEPTETS,
            parked=conversations.frame_of(kept.parked),
        )
        return engine.redraw(BOOK, frame, copy(context)), context

    return walk_to


@pytest.mark.parametrize("node", NODES, ids=str)
def test_an_old_screens_answer_does_what_it_did_or_is_asked_again(
    node: Node, stand_at: Callable[[Node], tuple[Step, Context]], request: pytest.FixtureRequest
) -> None:
    step, context = stand_at(node)
    kept = corpus.load(node.flow)
    if request.config.getoption("--accept") and not corpus.has(
        kept, BOOK[node.flow], graph.state_of(node)
    ):
        corpus.add(corpus.record(BOOK, step, answers_at(node), context))
        kept = corpus.load(node.flow)
    assert step.frame is not None
    moved = BOOK[node.flow].moved.states
    here = [one for one in kept if moved.get(one.frame["state"], one.frame["state"]) == node.state]
    assert [fault for one in here for fault in corpus.faults(BOOK, one, step.frame, context)] == []


@pytest.mark.parametrize("name", BOOK)
def test_every_screen_of_today_is_kept_for_the_releases_to_come(name: str) -> None:
    kept, screens = corpus.load(name), [node for node in NODES if node.flow == name]
    missing = [
        str(node) for node in screens if not corpus.has(kept, BOOK[name], graph.state_of(node))
    ]
    assert missing == [], "record them: make accept"


def test_every_kept_conversation_is_of_a_flow_and_stands_somewhere_or_is_declared_gone() -> None:
    assert {path.stem for path in corpus.FOLDER.glob("*.jsonl")} == set(BOOK)
    for name, today in BOOK.items():
        for one in corpus.load(name):
            assert list(corpus._undeclared(today, one)) == []


def test_the_corpus_holds_nothing_of_a_person() -> None:
    """No number but those that walks type, no PIN chosen, no id of a database that is gone."""
    for path in corpus.FOLDER.glob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\+254[0-9]*", text)) <= {FRIEND, MOTHER}
        assert not corpus.ID.search(text), path.name


# A change that nobody thought through is found


@dataclass
class Bought:
    product: str | None = None
    number: int | None = None


@dataclass
class Worded:
    product: str | None = None
    quantity: str | None = None


SURE = books.menu("sure", yes="sell", no="closed")
ASK_FIRST = replace(ASK, to="sure")
SHOP = (PICK, ASK_FIRST, SURE, CALL, THANKS, CLOSED)
SURE_WORDS = {
    "sure": {
        "en": "Sure?",
        "sw": "Hakika?",
        "option": {"yes": {"en": "Yes", "sw": "Ndiyo"}, "no": {"en": "No", "sw": "Hapana"}},
    }
}


NOTHING_MOVED = Moved()


def shop(
    table: tuple[engine.State, ...] = SHOP,
    words: dict[str, Any] = SURE_WORDS,
    moved: Moved = NOTHING_MOVED,
    answers: type[Any] = books.Answers,
) -> Book:
    return {"stall": replace(flow(table, words, answers), moved=moved)}


def dozens(_context: Context, _answers: Any, text: str) -> int:
    return 12 * int(text)


def number(_context: Context, _answers: Any, text: str) -> str:
    return text


SWAPPED = (PICK, ASK_FIRST, books.menu("sure", yes="closed", no="sell"), CALL, THANKS, CLOSED)
FINAL = (PICK, replace(ASK, to="final"), replace(SURE, name="final"), CALL, THANKS, CLOSED)
NAMED_ANEW = (PICK, replace(ASK_FIRST, field="number"), SURE, CALL, THANKS, CLOSED)
IN_DOZENS = (PICK, replace(ASK_FIRST, parse=dozens), SURE, CALL, THANKS, CLOSED)
AS_WORDS = (PICK, replace(ASK_FIRST, parse=number), SURE, CALL, THANKS, CLOSED)
RENAMED = {"final": SURE_WORDS["sure"]}

# What a release brings -> its flow, and what is found wrong with it.
RELEASES: dict[str, tuple[Book, list[str]]] = {
    "nothing new": (shop(), []),
    "a state taken away": (
        shop(STALL, {}),
        ["stall.sure is gone: say in `moved` where its conversations go, or None"],
    ),
    "a state taken away, and said so": (
        shop(STALL, {}, Moved(states={"sure": None})), [],
    ),
    "a state taken away, and its conversations led elsewhere": (
        shop(STALL, {}, Moved(states={"sure": "quantity"})), [],
    ),
    "a state renamed": (
        shop(FINAL, RENAMED),
        ["stall.sure is gone: say in `moved` where its conversations go, or None"],
    ),
    "a state renamed, and said so": (
        shop(FINAL, RENAMED, Moved(states={"sure": "final"})), [],
    ),
    "an answer renamed": (
        shop(NAMED_ANEW, answers=Bought),
        ["stall.sure: the answer quantity is gone: say in `moved` what it is now, or None"],
    ),
    "an answer renamed, and said so": (
        shop(NAMED_ANEW, moved=Moved(answers={"quantity": "number"}), answers=Bought), [],
    ),
    "an answer of another type under the same name": (
        shop(AS_WORDS, answers=Worded),
        ["stall.sure: the answer quantity is no str: name it anew"],
    ),
}  # fmt: skip


def recorded(book: Book, context: Context) -> list[tuple[corpus.Kept, Frame]]:
    """The shop's three screens as they are kept, and the frames they were kept from."""
    found, step = [], engine.begin(book, "stall", context)
    for typed, answers in (("2", ["1", "2"]), ("7", ["3", "7"]), ("1", ["1", "2"])):
        assert step.frame is not None
        found.append((corpus.record(book, step, answers, context), step.frame))
        step = engine.take(book, step.frame, typed, context)
    assert step.screen.ends
    return found


def found_by(book: Book, kept: list[tuple[corpus.Kept, Frame]], context: Context) -> list[str]:
    return [fault for one, frame in kept for fault in corpus.faults(book, one, frame, context)]


@pytest.fixture
def at_stall(db: Db, clock: Clock, rules: Rules) -> Context:
    return Context(db, clock(), rules, PHONE, corpus.LANGUAGE, None, ROOM_SEPTETS)


@pytest.mark.parametrize("release", RELEASES)
def test_what_became_of_a_state_or_an_answer_must_be_said(release: str, at_stall: Context) -> None:
    book, faults = RELEASES[release]
    assert found_by(book, recorded(shop(), at_stall), at_stall) == faults


def test_an_answer_that_comes_to_be_read_otherwise_is_found(at_stall: Context) -> None:
    """Its parser has the name it had: only trying it tells."""
    kept = recorded(shop(), at_stall)
    dozens.__name__ = ASK.parse.__name__
    assert found_by(shop(IN_DOZENS), kept, at_stall) == [
        "stall.quantity: '3' led to sure and gave {'quantity': 3}, "
        "and now leads to sure and gives {'quantity': 36}",
        "stall.quantity: '7' led to sure and gave {'quantity': 7}, "
        "and now leads to sure and gives {'quantity': 84}",
    ]


def test_two_options_that_change_places_are_asked_again_and_would_be_found_if_not(
    at_stall: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_by(shop(SWAPPED), recorded(shop(), at_stall), at_stall) == []
    monkeypatch.setattr(engine, "_meaning", lambda *_: "the same, as ever")
    assert found_by(shop(SWAPPED), recorded(shop(), at_stall), at_stall) == [
        "stall.sure: '1' led to sell and gave {}, and now leads to closed and gives {}",
        "stall.sure: '2' led to closed and gave {}, and now leads to sell and gives {}",
    ]


def test_a_list_that_shows_something_else_now_is_read_as_it_was_shown(at_stall: Context) -> None:
    def fewer(_context: Context, _answers: Any) -> list[engine.Option[str]]:
        return [engine.Option("rice", {"product": "rice"})]

    later = shop((replace(PICK, options=fewer), *SHOP[1:]))
    assert found_by(later, recorded(shop(), at_stall), at_stall) == []
