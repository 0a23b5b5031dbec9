"""The flow engine: five kinds of state and how one answer moves a conversation between them.

It draws and decides; what it reads or does, it does through the functions in the flow's table,
inside the transaction of the Context. It keeps nothing between two calls.

A target is the name of a state, "@name" for the beginning of another flow, or "@resume" for the
conversation that was left unfinished.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from core.database import Db
from core.errors import Invalid
from core.gsm import septets
from core.members import Member
from core.rules import Rules
from flows import answers as answers_
from flows import paging
from flows.words import FALLBACK, StateWords, Texts, Values, Words, common, fill, load, widest

Value = TypeVar("Value")

BACK, HOME_KEY, MORE = "0", "000", "99"  # on every channel; networks use 00 and 98 themselves
HOME = "home"  # the flow that 000 and the end of every road lead to
RESUME = "@resume"
OFFER = "offer"  # the state of the home flow that offers an unfinished conversation
REPLY_CHARACTERS_MAX = 160
HIDDEN = "####"  # stands in a kept screen for what may not be kept
HISTORY_MAX = 12  # screens that 0 can go back
OWN_HINTS = ("choose", "too_long", "updated", "start_over")  # of the engine, in every flow

Resume = Literal["continue", "ask", "restart"]
# What an answer did, for those who count. "hint": the same state asks again; "page": more of it.
Kind = Literal["began", "passed", "back", "home", "hint", "language", "page"]


@dataclass
class Context:
    """What a flow's functions may use during one hop."""

    db: Db
    now: datetime
    rules: Rules
    msisdn: str = field(repr=False)  # of the phone that speaks; "": nothing has proved one yet
    language: str
    member: Member | None = field(repr=False)
    room_septets: int
    private: bool = True  # False: what is typed stays readable, so no secret is asked for
    on_line: bool = False  # the network itself says whose line this is, and nobody can read along
    replaying: bool = False  # nothing with an effect may happen: EffectAhead instead
    parked: "Frame | None" = None  # an unfinished conversation, offered again
    parked_name: str = ""
    resumed: bool = False  # it was taken up by this hop
    read: dict[object, Any] = field(
        default_factory=dict, repr=False
    )  # by this hop, until an effect

    @property
    def buyer(self) -> Member:
        assert self.member is not None, "this state is for members only"
        return self.member


@dataclass(frozen=True)
class Option(Generic[Value]):
    """One line of a list. value: what is answered; shown: placeholders of the state's item."""

    value: Value
    shown: Values


def nothing(_context: Context, _answers: Any) -> Values:
    return {}


Show = Callable[[Context, Any], Values]


@dataclass(frozen=True)
class Typed:
    """What a Pick does with words instead of a number: parse, keep as an answer, go on."""

    field: str
    parse: Callable[[Context, Any, str], object]
    to: str


@dataclass(frozen=True)
class Pick:
    """One of a list made at run time; it pages itself. empty: where an empty list leads."""

    name: str
    options: Callable[[Context, Any], list[Option[Any]]]
    to: str
    empty: str | None = None  # None: the list is never empty
    field: str = ""
    typed: Typed | None = None
    show: Show = nothing
    resume: Resume = "ask"
    nudge: bool = False  # left here, the member is reminded of it, once


@dataclass(frozen=True)
class Ask:
    """Typed text. A secret one hands its value to `do` and to nothing else, ever."""

    name: str
    parse: Callable[[Context, Any, str], object]
    to: str | Mapping[str, str]
    field: str = ""
    secret: bool = False
    do: Callable[[Context, Any, Any], str] | None = None
    show: Show = nothing
    resume: Resume = "ask"
    nudge: bool = False


@dataclass(frozen=True)
class Menu:
    """Fixed options, each with its own target.

    hides: the placeholder whose value is shown and never kept, with the hop neither.
    """

    name: str
    to: Mapping[str, str]
    show: Show = nothing
    resume: Resume = "ask"
    hides: str = ""
    nudge: bool = False


@dataclass(frozen=True)
class Call:
    """A verb of the core; it has no screen. Each outcome of its Literal has its own target."""

    name: str
    do: Callable[[Context, Any], str]
    to: Mapping[str, str]
    effect: bool = True  # False: it only reads, and may run for answers dialled in advance


@dataclass(frozen=True)
class End:
    """The last screen."""

    name: str
    show: Show = nothing


State = Pick | Ask | Menu | Call | End


@dataclass(frozen=True)
class Moved:
    """What releases renamed, for conversations kept by the ones before: old name -> today's.

    None: it is gone. Whoever stood at that state starts over, that answer is forgotten.
    """

    states: Mapping[str, str | None] = field(default_factory=dict)
    answers: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    """A table of states, the first of them its beginning. Its words: `<name>.toml` beside it."""

    name: str
    answers: type[Any]
    table: tuple[State, ...]
    resume_show: Show = nothing
    resume_hours_max: int = 24  # older than this, an unfinished conversation is forgotten
    given_words: Words | None = None
    moved: Moved = Moved()
    takes: tuple[str, ...] = ()  # answers that it has from the flow that led here, where given

    @cached_property
    def states(self) -> Mapping[str, State]:
        return {state.name: state for state in self.table}

    @cached_property
    def words(self) -> Words:
        return self.given_words or load(self.name)

    @cached_property
    def version(self) -> str:
        """Changes whenever anything does that a kept conversation could be read by."""
        kinds = answers_.kinds(self.answers)
        shape = [(_reads(self, state), state.name, targets(state)) for state in self.table]
        return _digest(shape, kinds, self.words, self.moved)

    @cached_property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """The answers that every road to a state has given; without them it cannot be drawn."""
        return _needs(self)

    def meaning(self, state: State, language: str, shown: Sequence[Any]) -> str:
        """Of a screen: changes when an answer to it would come to mean something else.

        Its question, how its answer is read and kept and where that leads; of a menu the words
        and the target of each option that was shown, by whatever number.
        """
        names = tuple(map(str, shown)) if isinstance(state, Menu) else ()
        key = (state.name, language, names)
        if key not in self._meanings:
            self._meanings[key] = _meaning(self, state, language, names)
        return self._meanings[key]

    def reserve_septets(self, state: Pick, language: str) -> int:
        """The room of a list's question: its widest, or that of the widest hint in its place."""
        key = (state.name, language)
        if key not in self._reserved:
            texts = [self.words.states[state.name].text, *hints_at(self, state)]
            self._reserved[key] = max(widest(text[language]) for text in texts)
        return self._reserved[key]

    @cached_property
    def _reserved(self) -> dict[tuple[str, str], int]:
        return {}

    @cached_property
    def _meanings(self) -> dict[tuple[str, str, tuple[str, ...]], str]:
        return {}


Book = Mapping[str, Flow]


@dataclass(frozen=True)
class Frame:
    """Where a conversation stands, as it is kept between two answers.

    shown: what the numbers on the screen stand for: [value, label] of a Pick, the options' names
    of a Menu. An answer is read against it, never against a fresh list. version: of the flow that
    drew it; meaning: of the screen it drew.
    """

    flow: str
    version: str
    state: str
    answers: Mapping[str, object] = field(default_factory=dict, repr=False)
    shown: Sequence[Any] = field(default=(), repr=False)
    page: int = 0
    history: Sequence[str] = ()
    language: str = FALLBACK  # of the labels in shown
    meaning: str = ""


@dataclass(frozen=True)
class Screen:
    """What is shown: a text, then its options and keys, each typed by its first part."""

    text: str
    lines: tuple[tuple[str, str], ...]
    ends: bool
    label: str  # flow.state, for those who watch
    secret: str = field(default="", repr=False)  # what in it must not be kept

    def drawn(self) -> str:
        return "\n".join([self.text, *(f"{key} {label}" for key, label in self.lines)])

    def kept(self) -> str:
        """As it may lie in the database."""
        return self.drawn().replace(self.secret, HIDDEN) if self.secret else self.drawn()


@dataclass(frozen=True)
class Step:
    """After one answer: where the conversation stands (None: it ended) and what is shown."""

    frame: Frame | None
    screen: Screen
    kind: Kind = "began"


class EffectAhead(Exception):
    """A state was reached that would do something where nothing may happen."""


class Outdated(Exception):
    """The conversation was kept by another version of its flow and no longer fits."""


@dataclass(frozen=True)
class _Hint:
    texts: Texts
    values: Values


@dataclass
class _Place:
    """A frame while it moves: the same with its flow, its state and its answers unfolded."""

    book: Book
    flow: Flow
    state: State
    answers: Any
    shown: Sequence[Any] = ()
    page: int = 0
    history: list[str] = field(default_factory=list)
    asks_again: bool = False  # what was shown means something else today

    def words(self) -> StateWords:
        return self.flow.words.states[self.state.name]

    def frame(self, language: str) -> Frame:
        kept = answers_.keep(self.answers)
        return Frame(
            self.flow.name,
            self.flow.version,
            self.state.name,
            kept,
            self.shown,
            self.page,
            self.history[-HISTORY_MAX:],
            language,
            self.flow.meaning(self.state, language, self.shown),
        )


def begin(book: Book, name: str, context: Context) -> Step:
    """The first screen of a flow."""
    return _enter(_start(book, name), context, None)


def begin_at(
    book: Book, name: str, state: str, answers: Mapping[str, object], context: Context
) -> Step:
    """A state of a flow, as if these answers had been given (written as a frame keeps them)."""
    flow = book[name]
    given = answers_.restore(flow.answers, answers)
    place = _Place(book, flow, flow.states[state] if state else flow.table[0], given)
    return _enter(place, context, None)


def start_over(book: Book, context: Context) -> Step:
    """The first screen of all, saying why: the conversation does not survive a change."""
    home = _start(book, HOME)
    context.parked = None
    return _enter(home, context, _hint(home.flow, "start_over", {}))


def offer(book: Book, unfinished: Frame, context: Context) -> Step:
    """Ask whether to take up what was left unfinished. Raises Outdated."""
    context.parked = unfinished
    home = _start(book, HOME)
    return _enter(replace(home, state=home.flow.states[OFFER]), context, None)


def redraw(book: Book, frame: Frame, context: Context, hint: str | None = None) -> Step:
    """The same screen again. Raises Outdated."""
    place = _unfold(book, frame)
    said = _hint(place.flow, hint, {}) if hint else None
    if place.asks_again:
        return _enter(place, context, said)
    if frame.language != context.language:
        _relabel(place, context)
    return _screen(place, context, said)


def take(book: Book, frame: Frame, text: str, context: Context) -> Step:
    """One answer. Raises Outdated, and EffectAhead while context.replaying.

    What was typed at a screen that means something else today is not taken: it is asked again.
    """
    place = _unfold(book, frame)
    try:
        typed = _readable(text)
        if typed == HOME_KEY:
            return replace(begin(book, HOME, context), kind="home")
        if typed == BACK:
            return replace(_back(place, context), kind="back")
        if not isinstance(place.state, Ask) and (language := _spoken(typed)):
            context.language = language
            return replace(redraw(book, frame, context), kind="language")
        if place.asks_again:
            updated = _hint(place.flow, "updated", {})
            return replace(_enter(place, context, updated), kind="hint")
        step = _answered(place, typed, context)
    except Invalid as error:
        step = _screen(place, context, _hint(place.flow, error.hint, error.values))
    return replace(step, kind=_kind(place, step))


def _answered(place: _Place, typed: str, context: Context) -> Step:
    match place.state:
        case Pick() as state:
            return _picked(place, state, typed, context)
        case Menu() as state:
            return _chosen(place, state, typed, context)
        case Ask() as state:
            return _asked(place, state, typed, context)
        case state:
            raise AssertionError(f"{state.name} waits for no answer")


def _kind(place: _Place, step: Step) -> Kind:
    """Of an answer that was typed where this place is."""
    frame = step.frame
    if frame is None or (frame.flow, frame.state) != (place.flow.name, place.state.name):
        return "passed"
    return "hint" if frame.page == place.page else "page"


def reveal(book: Book, frame: Frame, kept: str, context: Context) -> str:
    """A kept screen of this frame with its secret in it again. Raises Outdated."""
    place = _unfold(book, frame)
    if not isinstance(place.state, Menu) or not place.state.hides:
        return kept
    value = place.state.show(context, place.answers)[place.state.hides]
    return kept.replace(HIDDEN, str(value))


def nudges(book: Book, frame: Frame) -> bool:
    """Whether a member who left here is reminded of it."""
    flow = book.get(frame.flow)
    state = flow.states.get(frame.state) if flow else None
    return isinstance(state, Pick | Ask | Menu) and state.nudge


def asks_secret(book: Book, frame: Frame) -> bool:
    """Whether what is typed here may not stay readable."""
    flow = book.get(frame.flow)
    state = flow.states.get(frame.state) if flow else None
    return isinstance(state, Ask) and state.secret


def acts(book: Book, frame: Frame) -> bool:
    """Whether what is typed here does something, if it can be read."""
    flow = book.get(frame.flow)
    state = flow.states.get(frame.state) if flow else None
    if flow is None or not isinstance(state, Ask):
        return False
    leads = flow.states.get(state.to) if isinstance(state.to, str) else None
    return state.do is not None or (isinstance(leads, Call) and leads.effect)


def resume_rule(book: Book, frame: Frame) -> tuple[Resume, int]:
    """What its state says of being taken up again, and the greatest age in hours."""
    flow = book.get(frame.flow)
    state = flow.states.get(frame.state) if flow else None
    if flow is None or not isinstance(state, Pick | Ask | Menu):
        return "restart", 0
    return state.resume, flow.resume_hours_max


def targets(state: State) -> dict[str, str]:
    """Every way out of a state: what leads there, and where it is."""
    match state:
        case Pick():
            typed = {"typed": state.typed.to} if state.typed else {}
            empty = {f"no_{state.name}": state.empty} if state.empty else {}
            return {"picked": state.to, **typed, **empty}
        case Ask(to=str() as to):
            return {"answered": to}
        case Ask(to=ways) | Menu(to=ways) | Call(to=ways):
            assert isinstance(ways, Mapping)
            return dict(ways)
        case End():
            return {}


def hints_at(flow: Flow, state: State) -> list[Texts]:
    """Every hint that can be shown on this state's screen, whoever sends the member there."""
    names = ["too_long", "updated"]
    if flow.name == HOME or state is flow.table[0]:
        names.append("start_over")
    match state:
        case Pick(typed=typed):
            names += ["choose", *(answers_.hints_of(typed.parse) if typed else ())]
        case Menu():
            names += ["choose"]
        case Ask(parse=parse):
            names += answers_.hints_of(parse)
    found = [flow.words.hint(name) for name in [*names, *_carried(flow, state.name, set())]]
    return [texts for texts in found if texts]


def _carried(flow: Flow, name: str, seen: set[str]) -> set[str]:
    """The outcomes whose hints are still on their way when this state is reached."""
    carried: set[str] = set()
    for state in flow.table:
        unasked = isinstance(state, Call | Pick)  # a list only where it is empty
        for outcome, target in targets(state).items():
            says = outcome == f"no_{state.name}" if isinstance(state, Pick) else unasked
            if target == name and (says or getattr(state, "do", None)):
                carried.add(outcome)
                if unasked and state.name not in seen:
                    carried |= _carried(flow, state.name, seen | {state.name})
    return carried


def _name(unfinished: _Place, context: Context) -> str:
    """What an unfinished conversation is called when it is offered again."""
    values = unfinished.flow.resume_show(context, unfinished.answers)
    return fill(unfinished.flow.words.resume, context.language, values)


def _start(book: Book, name: str, before: Any = None) -> _Place:
    """before: the answers of the flow that led here."""
    flow = book[name]
    taken = {field: getattr(before, field, None) for field in flow.takes}
    return _Place(book, flow, flow.table[0], flow.answers(**taken))


def _unfold(book: Book, frame: Frame) -> _Place:
    """A kept frame against today's flow. Raises Outdated."""
    flow = book.get(frame.flow)
    if flow is None:
        raise Outdated(f"there is no flow {frame.flow} any more")
    if frame.version != flow.version:
        return _carried_over(book, flow, frame)
    answers = answers_.restore(flow.answers, frame.answers)
    state = flow.states[frame.state]
    return _Place(book, flow, state, answers, frame.shown, frame.page, list(frame.history))


def _carried_over(book: Book, flow: Flow, frame: Frame) -> _Place:
    """What another version of the flow has kept, by way of what was renamed. Raises Outdated."""
    kept = _renamed(frame.answers, flow.moved.answers)
    try:
        answers = answers_.restore(flow.answers, kept)
    except ValueError as error:
        raise Outdated(f"the answers of {flow.name} changed their shape") from error

    def standing(name: str) -> State | None:
        """Today's state of that name, if one could stand there with these answers."""
        state = flow.states.get(flow.moved.states.get(name, name) or "")
        if not isinstance(state, Pick | Ask | Menu) or not flow.needs[state.name] <= kept.keys():
            return None
        return state

    state = standing(frame.state)
    if state is None:
        raise Outdated(f"nobody can stand at {flow.name}.{frame.state} with these answers")
    history = [known.name for name in frame.history if (known := standing(name))]
    if frame.meaning != flow.meaning(state, frame.language, frame.shown):
        return _Place(book, flow, state, answers, history=history, asks_again=True)
    return _Place(book, flow, state, answers, frame.shown, frame.page, history)


def _renamed(kept: Mapping[str, object], moved: Mapping[str, str | None]) -> dict[str, object]:
    names = {name: moved.get(name, name) for name in kept}
    return {new: kept[old] for old, new in names.items() if new is not None}


def _meaning(flow: Flow, state: State, language: str, names: Sequence[str]) -> str:
    """names: of the options that were shown."""
    words = flow.words.states[state.name]
    first = _first_names(flow.moved.states)
    ways = {way: first.get(target, target) for way, target in targets(state).items()}
    if isinstance(state, Menu):
        ways = {name: ways.get(name, "") for name in names}
    if isinstance(state, Pick):
        ways.pop(f"no_{state.name}", None)  # nobody answers an empty list
    labels = [words.options[name].get(language) for name in names if name in words.options]
    question = words.text.get(language)
    return _digest(_reads(flow, state), question, sorted(ways.items()), labels)


def _reads(flow: Flow, state: State) -> tuple[object, ...]:
    """How a state reads an answer and where it keeps it."""
    first, kinds = _first_names(flow.moved.answers), answers_.kinds(flow.answers)

    def kept(name: str) -> tuple[str, str]:
        return first.get(name, name), kinds[name].__name__

    match state:
        case Pick(typed=None):
            return "pick", kept(state.field or state.name)
        case Pick(typed=Typed() as typed):
            return "pick", kept(state.field or state.name), typed.parse.__name__, kept(typed.field)
        case Ask(secret=True):
            return "secret", state.parse.__name__
        case Ask():
            return "ask", state.parse.__name__, kept(state.field or state.name)
    return (type(state).__name__,)


def _first_names(moved: Mapping[str, str | None]) -> dict[str, str]:
    """Today's name -> the oldest, so that a renaming alone changes no meaning."""
    names: dict[str, str] = {}
    for old, new in moved.items():
        if new is not None:
            names.setdefault(new, old)
    return names


def _digest(*parts: object) -> str:
    return sha256(repr(parts).encode()).hexdigest()[:12]


def _needs(flow: Flow) -> Mapping[str, frozenset[str]]:
    """Of every state; of one that no road inside the flow leads to, none."""
    roads = [
        (state.name, target, _given(state, way))
        for state in flow.table
        for way, target in targets(state).items()
    ]
    found: dict[str, frozenset[str]] = {flow.table[0].name: frozenset()}
    changed = True
    while changed:
        changed = False
        for name, target, given in roads:
            if name not in found or target not in flow.states:
                continue
            there = found[name] | given
            narrower = found.get(target, there) & there
            changed |= found.get(target) != narrower
            found[target] = narrower
    return {name: found.get(name, frozenset()) for name in flow.states}


def _given(state: State, way: str) -> frozenset[str]:
    """The answer kept by who leaves a state this way."""
    match state, way:
        case Pick(), "picked":
            return frozenset({state.field or state.name})
        case Pick(typed=Typed(field=field)), "typed":
            return frozenset({field})
        case Ask(secret=False), _:
            return frozenset({state.field or state.name})
    return frozenset()


def _readable(text: str) -> str:
    """What was typed, without what no keypad types, nor a # that ends it as it ends a code.

    Some gateways keep such a # and some do not. Raises Invalid("too_long").
    """
    if len(text) > REPLY_CHARACTERS_MAX:
        raise Invalid("too_long")
    whole = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in whole).rstrip(" #").lstrip()


def _go(place: _Place, target: str, context: Context, hint: _Hint | None) -> Step:
    """Follow a target; what lies between two screens is done on the way."""
    if target == RESUME:
        assert context.parked is not None, "nothing was left unfinished"
        context.resumed = True
        return redraw(place.book, context.parked, context)
    if target.startswith("@"):
        return _enter(_start(place.book, target[1:], place.answers), context, hint)
    history = place.history
    if isinstance(place.state, Pick | Ask | Menu) and place.state.name != target:
        history = [*history, place.state.name]
    if target in history:  # the road turns back on itself: forget the loop
        history = history[: history.index(target)]
    state = place.flow.states[target]
    return _enter(replace(place, state=state, shown=(), page=0, history=history), context, hint)


def _enter(place: _Place, context: Context, hint: _Hint | None) -> Step:
    match place.state:
        case Call() as state:
            if state.effect:
                _allow_effect(context)
                place.history = []  # what is done is not undone by going back
            outcome = state.do(context, place.answers)
            return _after(place, state.to, outcome, context, hint)
        case Pick() as state:
            options = state.options(context, place.answers)
            if not options:
                return _after(place, targets(state), f"no_{state.name}", context, hint)
            item = place.words().item
            place.shown = [
                (_kept(option.value), fill(item, context.language, option.shown))
                for option in options
            ]
        case Menu() as state:
            place.shown = list(state.to)
    return _screen(place, context, hint)


def _after(
    place: _Place, to: Mapping[str, str], outcome: str, context: Context, hint: _Hint | None
) -> Step:
    assert outcome in to, f"{place.flow.name}.{place.state.name} has no way out for {outcome}"
    texts = place.flow.words.hint(outcome)
    return _go(place, to[outcome], context, _Hint(texts, {}) if texts else hint)


def _back(place: _Place, context: Context) -> Step:
    if place.page > 0:
        return _screen(replace(place, page=place.page - 1), context, None)
    if not place.history:
        return begin(place.book, HOME, context)
    *history, name = place.history
    state = place.flow.states[name]
    return _enter(replace(place, state=state, shown=(), page=0, history=history), context, None)


def _relabel(place: _Place, context: Context) -> None:
    """The shown list in another language: the same options under the same numbers."""
    if not isinstance(place.state, Pick):
        return
    item = place.words().item
    labels = {
        _kept(option.value): fill(item, context.language, option.shown)
        for option in place.state.options(context, place.answers)
    }
    place.shown = [(value, labels.get(value, label)) for value, label in place.shown]


def _spoken(typed: str) -> str | None:
    """The language that was typed, by its name or its code, to change to it here and now."""
    named = {name.casefold(): code for code, name in common().languages.items()}
    word = typed.casefold()
    return word if word in named.values() else named.get(word)


def _picked(place: _Place, state: Pick, typed: str, context: Context) -> Step:
    if typed == MORE and place.page + 1 < len(_pages(place, state, context)):
        return _screen(replace(place, page=place.page + 1), context, None)
    if (number := _number(typed)) is None:
        if state.typed is None or not typed:
            raise Invalid("choose")
        value = state.typed.parse(context, place.answers, typed)
        setattr(place.answers, state.typed.field, value)
        return _go(place, state.typed.to, context, None)
    if not 1 <= number <= len(place.shown):
        raise Invalid("choose")
    name = state.field or state.name
    kind = answers_.kinds(place.flow.answers)[name]
    setattr(place.answers, name, answers_.read(place.shown[number - 1][0], kind))
    return _go(place, state.to, context, None)


def _chosen(place: _Place, state: Menu, typed: str, context: Context) -> Step:
    number = _number(typed)
    if number is None or not 1 <= number <= len(place.shown):
        raise Invalid("choose")
    return _go(place, state.to[place.shown[number - 1]], context, None)


def _asked(place: _Place, state: Ask, typed: str, context: Context) -> Step:
    if state.secret and not context.private:
        return _screen(place, context, None)
    value = state.parse(context, place.answers, typed)
    if isinstance(state.to, str):
        setattr(place.answers, state.field or state.name, value)
        return _go(place, state.to, context, None)
    assert state.do is not None, f"{state.name} has outcomes but no verb"
    _allow_effect(context)
    place.history = []
    return _after(place, state.to, state.do(context, place.answers, value), context, None)


def _allow_effect(context: Context) -> None:
    if context.replaying:
        raise EffectAhead
    context.read.clear()
    context.db.make_durable()


def _screen(place: _Place, context: Context, hint: _Hint | None) -> Step:
    """Draw the state the conversation stands at."""
    state, words, language = place.state, place.words(), context.language
    assert not isinstance(state, Call), f"{state.name} has no screen"
    if context.parked is not None and (place.flow.name, state.name) == (HOME, OFFER):
        context.parked_name = _name(_unfold(place.book, context.parked), context)
    values = state.show(context, place.answers)
    question = fill(words.text, language, values)
    if isinstance(state, Ask) and state.secret and not context.private:
        question = fill(common().texts["dial"], language, {"dial_code": context.rules.dial_code})
    hinted = fill(hint.texts, language, hint.values) if hint else ""
    lines: list[tuple[str, str]] = []
    match state:
        case Pick():
            begins = _pages(place, state, context)
            page = min(place.page, len(begins) - 1)
            end = begins[page + 1] if page + 1 < len(begins) else len(place.shown)
            for index in range(begins[page], end):
                lines.append((str(index + 1), place.shown[index][1]))
            if page + 1 < len(begins):
                lines.append((MORE, common().texts["more"][language]))
            question = hinted or question
            place.page = page
        case Menu():
            for index, name in enumerate(place.shown):
                lines.append((str(index + 1), fill(words.options[name], language, values)))
    if not isinstance(state, Pick) and hinted:
        question = f"{hinted}\n{question}"
    ends = isinstance(state, End)
    elsewhere = place.flow.name != HOME and context.member is not None
    if not ends and (place.history or place.page or elsewhere):
        lines.append((BACK, common().texts["back"][language]))
    secret = str(values[state.hides]) if isinstance(state, Menu) and state.hides else ""
    screen = Screen(question, tuple(lines), ends, f"{place.flow.name}.{state.name}", secret)
    return Step(None if ends else place.frame(language), screen)


def _pages(place: _Place, state: Pick, context: Context) -> list[int]:
    """Where the pages of the shown list begin: the same whatever hint or price stands above."""
    language = context.language
    room = context.room_septets - place.flow.reserve_septets(state, language)
    room_alone = room - line_septets(BACK, common().texts["back"][language])
    room_paged = room_alone - line_septets(MORE, common().texts["more"][language])
    costs = [line_septets(str(n), label) for n, (_, label) in enumerate(place.shown, 1)]
    return paging.starts(costs, room_paged, room_alone)


def line_septets(key: str, label: str) -> int:
    """The room of one option's line, with the line break before it."""
    return 1 + len(key) + 1 + septets(label)


def _hint(flow: Flow, name: str, values: Values) -> _Hint:
    texts = flow.words.hint(name)
    assert texts is not None, f"{flow.name} has no words for the hint {name}"
    return _Hint(texts, values)


def _number(typed: str) -> int | None:
    return int(typed) if typed.isascii() and typed.isdecimal() and len(typed) <= 4 else None


def _kept(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value
