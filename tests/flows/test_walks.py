"""Every way out of every state of every flow is walked, along roads made from the graph itself.

At each screen on the road the walk steps aside: the hop is repeated, nonsense is typed, the keys
for back and home are pressed, the session drops and is dialled anew. Then it goes on as if nothing
had happened.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest

from core.database import Db
from core.rules import Rules
from flows import engine, run
from flows.book import BOOK
from flows.engine import Ask, Call, End, Flow, Pick, State
from flows.words import common
from tests.flows import graph, invariants
from tests.flows.graph import OFFERED, REDIAL, Edge, Node
from tests.flows.handset import Clock, EngineLine, Handset, Seen
from tests.flows.street import PHONE, Street

EDGES = graph.edges()
TOO_LONG = "nyanya " * 30


class Walk:
    """One member on her way through the flows, and what was seen of the ways she took."""

    def __init__(self, street: Street, language: str) -> None:
        self.street = street
        self.handset = Handset(
            EngineLine(street.db, street.rules, street.clock), street.clock, street.msisdn
        )
        self.language = language
        self.trail: list[Edge] = []  # ways that states took without asking
        self.meanwhile: dict[Node, Callable[[Street, Any], object]] = {}

    @property
    def node(self) -> Node:
        return Node(*self.handset.seen.label.split("."))

    def go(self, leg: list[Edge]) -> None:
        """From a screen to the next: an answer, and the ways that follow it unasked."""
        causes = [known for edge in leg if (known := graph.cause(edge)) is not None]
        assert len(causes) == len(leg), f"nobody has said what causes one of {leg}"
        for edge, how in zip(leg, causes, strict=True):
            if how.before:
                how.before(self.street)
            if how.meanwhile:
                self.meanwhile[edge.source] = how.meanwhile
        typed = [how.typed for how in causes if how.typed is not None]
        self.trail = []
        if graph.answers_itself(leg[0]) or typed[-1] == REDIAL:
            self.handset.dial()
        else:
            answer = typed[-1]
            self.handset.reply(answer(self.street) if callable(answer) else answer)
        assert not self.meanwhile, f"never came by {list(self.meanwhile)}"
        self._check_road(leg)

    def _check_road(self, leg: list[Edge]) -> None:
        """She went these ways, then wherever the states led, and stands where that leads."""
        asked = [] if graph.answers_itself(leg[0]) else leg[:1]
        went = asked + [edge for edge in self.trail if edge not in asked]
        if leg[-1].way == REDIAL:
            went = leg
        assert went[: len(leg)] == leg, f"went {went} instead of {leg}"
        at = leg[0].source
        for edge in went:
            assert edge.source == at, f"{edge} does not follow {at}"
            at = graph.target(edge)
        assert self.node == at, f"{went} should lead to {at}, not to {self.node}"
        if at == OFFERED or not isinstance(graph.state_of(at), End):
            assert not self.handset.seen.ends
        else:
            assert self.handset.seen.ends


def traced(walk: Walk) -> dict[str, Flow]:
    """The same flows, with what they do written down, and a moment given to the street before."""

    def around(flow: Flow, state: State) -> State:
        at = Node(flow.name, state.name)

        def street_first(verb: Callable[..., Any]) -> Callable[..., Any]:
            def seen(context: engine.Context, answers: Any, *value: Any) -> Any:
                if happen := walk.meanwhile.pop(at, None):
                    happen(walk.street, answers)
                outcome = verb(context, answers, *value)
                if not isinstance(outcome, list):
                    walk.trail.append(Edge(*at, outcome))
                elif not outcome:
                    walk.trail.append(Edge(*at, f"no_{state.name}"))
                return outcome

            return seen

        match state:
            case Call() | Ask(secret=True):
                assert state.do is not None
                return replace(state, do=street_first(state.do))
            case Pick():
                return replace(state, options=street_first(state.options))
        return state

    return {
        name: replace(flow, table=tuple(around(flow, state) for state in flow.table))
        for name, flow in BOOK.items()
    }


def legs(path: list[Edge]) -> list[list[Edge]]:
    """A road cut at its screens: what is answered, then what follows unasked."""
    numbered: list[tuple[int, Edge]] = []
    for edge in path:
        new = not graph.answers_itself(edge) and numbered
        numbered.append((len(numbered) if new else (numbered[-1][0] if numbered else 0), edge))
    return [[edge for _, edge in leg] for _, leg in groupby(numbered, key=lambda pair: pair[0])]


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_each_way_is_walked_and_nothing_on_it_breaks(
    edge: Edge, db: Db, clock: Clock, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = graph.path_to(edge)
    causes = [known for step in path if (known := graph.cause(step)) is not None]
    phones = [how.phone for how in causes if how.phone]
    language = list(common().languages)[EDGES.index(edge) % len(common().languages)]
    street = Street(db, clock, rules, phones[0] if phones else PHONE)
    walk = Walk(street, language)
    monkeypatch.setattr(run, "BOOK", traced(walk))
    for how in causes:
        if how.start:
            how.start(street)
    db.run("UPDATE members SET language = %(language)s", {"language": language})
    for leg in legs(path):
        walk.go(leg)
        assert invariants.broken(db, clock()) == []
        step_aside(walk)


def step_aside(walk: Walk) -> None:
    """Everything that may happen at this screen besides its answers; then it is undone."""
    seen, node = walk.handset.seen, walk.node
    with undone(walk):
        before = invariants.footprint(walk.street.db)
        assert walk.handset.repeat() == replace(seen, label="repeat")
        assert invariants.footprint(walk.street.db) == before
    if seen.ends:
        with undone(walk):
            after_the_end(walk)
        return
    state = graph.state_of(node)
    for nonsense in ("?", TOO_LONG):
        with undone(walk):
            answer_nonsense(walk, node, state, nonsense, seen)
    for key in (engine.BACK, engine.HOME_KEY):
        with undone(walk):
            before = business(walk)
            assert not walk.handset.reply(key).ends
            assert business(walk) == before
            assert walk.node in begins() or key == engine.BACK
    with undone(walk):
        speak_otherwise(walk, node, state, seen)
    with undone(walk):
        drop_and_redial(walk, node, state)
    assert invariants.broken(walk.street.db, walk.street.clock()) == []


def answer_nonsense(walk: Walk, node: Node, state: State, typed: str, seen: Seen) -> None:
    """A hint and the same state; nothing moved but the turn."""
    before = business(walk)
    hinted = walk.handset.reply(typed)
    assert walk.node == node
    assert business(walk) == before
    hints = [
        texts.get(language, "").split("{")[0]
        for texts in engine.hints_at(BOOK[node.flow], state)
        for language in common().languages
    ]
    assert any(hint and hinted.text.startswith(hint) for hint in hints), hinted.text
    numbered = options(seen)
    assert hinted.lines[-len(numbered) :] == numbered or not numbered


def speak_otherwise(walk: Walk, node: Node, state: State, seen: Seen) -> None:
    """Another language in the middle: the same state and numbers; and back, as if nothing was."""
    if isinstance(state, Ask):
        return
    spoken = walk.street.db.value("SELECT language FROM conversations")
    before = business(walk)
    for language in (*(code for code in common().languages if code != spoken), spoken):
        walk.handset.reply(language)
        assert walk.node == node
        assert walk.street.db.value("SELECT language FROM conversations") == language
    assert options(walk.handset.seen) == options(seen)
    assert business(walk) == before


def options(seen: Seen) -> list[str]:
    return [line for line in seen.lines if line.partition(" ")[0].isdecimal()]


def drop_and_redial(walk: Walk, node: Node, state: State) -> None:
    """What the state says of being taken up again is what happens."""
    before = business(walk)
    again = walk.handset.dial()
    assert business(walk) == before
    rule = getattr(state, "resume")  # noqa: B009 - every state with a screen has one
    if node == OFFERED:
        assert walk.node == OFFERED
    elif rule == "continue":
        assert walk.node == node
    elif rule == "restart":
        assert walk.node in begins()
    else:
        assert walk.node == OFFERED
        walk.handset.reply("1")
        assert walk.node == node
    assert not again.ends


def after_the_end(walk: Walk) -> None:
    """More text in a session that is over moves nothing; a new dial begins at the beginning."""
    before = business(walk)
    walk.handset.text += "*1"
    over = walk.handset.repeat()
    assert (over.ends, over.label) == (True, "over")
    assert business(walk) == before
    walk.handset.dial()
    assert walk.node in begins()


def begins() -> set[Node]:
    """Where a dial leads that takes nothing up."""
    return {Node("home", "menu"), Node("register", "language")}


def business(walk: Walk) -> dict[str, int]:
    found = invariants.footprint(walk.street.db)
    return {name: count for name, count in found.items() if name != "turns"}


@contextmanager
def undone(walk: Walk) -> Iterator[None]:
    handset, hour = copy(walk.handset), walk.street.clock.now
    walk.street.db.run("SAVEPOINT aside")
    yield
    walk.street.db.run("ROLLBACK TO SAVEPOINT aside")
    walk.street.db.run("RELEASE SAVEPOINT aside")
    walk.handset, walk.street.clock.now = handset, hour


def test_no_way_is_forgotten() -> None:
    assert [str(edge) for edge in EDGES if graph.cause(edge) is None] == []


def test_no_cause_is_left_over() -> None:
    walked = {*EDGES, Edge(*graph.LEFT_AT, REDIAL)}
    assert [str(edge) for edge in graph.CAUSES if edge not in walked] == []
