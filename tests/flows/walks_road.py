"""One member on her way through the flows, and what was seen of the ways she took."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

from flows import engine
from flows.book import BOOK
from flows.engine import Ask, Book, Call, End, Flow, Pick, State
from tests.flows import graph, invariants, walks_phones
from tests.flows.graph import OFFERED, REDIAL, Edge, Node
from tests.flows.handset import Seen
from tests.flows.street import Street
from tests.flows.walks_phones import Phone


class Walk:
    """At one phone at a time; the phone may be laid aside for another of hers."""

    def __init__(self, street: Street, phone: Phone) -> None:
        self.street, self.phone = street, phone
        self.trail: list[Edge] = []  # ways that states took without asking
        self.meanwhile: dict[Node, Callable[[Street, Any], object]] = {}
        self.given: dict[Node, Callable[[Street, Any], object]] = {}

    @property
    def node(self) -> Node:
        return walks_phones.node(self.street.db, self.phone)

    @property
    def seen(self) -> Seen:
        return self.phone.seen

    def go(self, leg: list[Edge]) -> None:
        """From a screen to the next: an answer, and the ways that follow it unasked."""
        answer = self.make_ready(leg)
        if answer is None:
            self.phone.dial()
        else:
            self.phone.reply(answer)
        assert not self.meanwhile, f"never came by {list(self.meanwhile)}"
        self._check_road(leg)

    def make_ready(self, leg: list[Edge]) -> str | None:
        """The street is such that this answer leads there. None: a new beginning does."""
        causes = [known for edge in leg if (known := graph.cause(edge)) is not None]
        assert len(causes) == len(leg), f"nobody has said what causes one of {leg}"
        self.meanwhile.clear()
        for edge, how in zip(leg, causes, strict=True):
            if how.before:
                how.before(self.street)
            if how.meanwhile:
                self.meanwhile[edge.source] = how.meanwhile
        self.given = {
            edge.source: how.given for edge, how in zip(leg, causes, strict=True) if how.given
        }
        typed = [how.typed for how in causes if how.typed is not None]
        self.trail = []
        if graph.answers_itself(leg[0]) or typed[-1] == REDIAL:
            return None
        answer = typed[-1]
        return answer(self.street) if callable(answer) else answer

    def came_by(self, edge: Edge) -> None:
        """A state went this way; again where a glance at the hop found that it needs the lock."""
        if edge not in self.trail:
            self.trail.append(edge)

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
        assert self.seen.ends == (at != OFFERED and isinstance(graph.state_of(at), End))

    @contextmanager
    def undone(self) -> Iterator[None]:
        """As if it had not happened: not in the market, not on the phone, not to the hour."""
        phone, hour, db = self.phone.copied(), self.street.clock.now, self.street.db
        db.run("SAVEPOINT aside")
        yield
        db.run("ROLLBACK TO SAVEPOINT aside")
        db.run("RELEASE SAVEPOINT aside")
        self.phone, self.street.clock.now = phone, hour

    @contextmanager
    def at(self, phone: Phone) -> Iterator[None]:
        """Meanwhile she holds this one."""
        laid_aside, self.phone = self.phone, phone
        yield
        self.phone = laid_aside

    def business(self) -> dict[str, Any]:
        """All that is in the market, but for what was said and shown."""
        found: dict[str, Any] = invariants.footprint(self.street.db)
        return {name: rows for name, rows in found.items() if name not in ("turns", "screens")}

    def stands_well(self) -> None:
        assert invariants.broken(self.street.db, self.street.clock()) == []


def legs(path: list[Edge]) -> list[list[Edge]]:
    """A road cut at its screens: what is answered, then what follows unasked."""
    numbered: list[tuple[int, Edge]] = []
    for edge in path:
        new = not graph.answers_itself(edge) and numbered
        numbered.append((len(numbered) if new else (numbered[-1][0] if numbered else 0), edge))
    return [[edge for _, edge in leg] for _, leg in groupby(numbered, key=lambda pair: pair[0])]


_walking: list[Walk] = []


def traced(walk: Walk) -> Book:
    """The same flows, with what they do written down, and a moment given to the street before.

    One book for all walks of a process: what a flow knows of itself it finds out once.
    """
    _walking[:] = [walk]
    return _TRACED


def _traced(flow: Flow) -> Flow:
    return replace(flow, table=tuple(_around(flow, state) for state in flow.table))


def _around(flow: Flow, state: State) -> State:
    at = Node(flow.name, state.name)

    def street_first(verb: Callable[..., Any]) -> Callable[..., Any]:
        def seen(context: engine.Context, answers: Any, *value: Any) -> Any:
            (walk,) = _walking
            if happen := walk.meanwhile.pop(at, None):
                happen(walk.street, answers)
            if give := walk.given.get(at):
                give(walk.street, answers)
            outcome = verb(context, answers, *value)
            if not isinstance(outcome, list):
                walk.came_by(Edge(*at, outcome))
            elif not outcome:
                walk.came_by(Edge(*at, f"no_{state.name}"))
            return outcome

        return seen

    match state:
        case Call():
            return replace(state, do=street_first(state.do))
        case Ask(do=verb) if verb is not None:
            return replace(state, do=street_first(verb))
        case Pick():
            return replace(state, options=street_first(state.options))
    return state


_TRACED: Book = {name: _traced(flow) for name, flow in BOOK.items()}
