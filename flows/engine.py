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

Resume = Literal["continue", "ask", "restart"]


@dataclass
class Context:
    """What a flow's functions may use during one hop."""

    db: Db
    now: datetime
    rules: Rules
    msisdn: str = field(repr=False)  # of the phone that speaks, proved by its network
    language: str
    member: Member | None = field(repr=False)
    room_septets: int
    replaying: bool = False  # answers dialled in advance: nothing with an effect may happen
    parked: "Frame | None" = None  # an unfinished conversation, offered again
    parked_name: str = ""
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
class Flow:
    """A table of states, the first of them its beginning. Its words: `<name>.toml` beside it."""

    name: str
    answers: type[Any]
    table: tuple[State, ...]
    resume_show: Show = nothing
    resume_hours_max: int = 24  # older than this, an unfinished conversation is forgotten
    given_words: Words | None = None

    @cached_property
    def states(self) -> Mapping[str, State]:
        return {state.name: state for state in self.table}

    @cached_property
    def words(self) -> Words:
        return self.given_words or load(self.name)

    @cached_property
    def version(self) -> str:
        """Changes when the table does: states, their kinds, fields, options and targets."""
        shape = [
            (type(state).__name__, state.name, getattr(state, "field", ""), targets(state))
            for state in self.table
        ]
        return sha256(repr(shape).encode()).hexdigest()[:12]

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


Book = Mapping[str, Flow]


@dataclass(frozen=True)
class Frame:
    """Where a conversation stands, as it is kept between two answers.

    shown: what the numbers on the screen stand for: [value, label] of a Pick, the options' names
    of a Menu. An answer is read against it, never against a fresh list.
    """

    flow: str
    version: str
    state: str
    answers: Mapping[str, object] = field(default_factory=dict, repr=False)
    shown: Sequence[Any] = field(default=(), repr=False)
    page: int = 0
    history: Sequence[str] = ()
    language: str = FALLBACK  # of the labels in shown


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


class EffectAhead(Exception):
    """Answers dialled in advance reached a state that would do something."""


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
        )


def begin(book: Book, name: str, context: Context) -> Step:
    """The first screen of a flow."""
    return _enter(_start(book, name), context, None)


def offer(book: Book, unfinished: Frame, context: Context) -> Step:
    """Ask whether to take up what was left unfinished. Raises Outdated."""
    context.parked = unfinished
    home = _start(book, HOME)
    return _enter(replace(home, state=home.flow.states[OFFER]), context, None)


def redraw(book: Book, frame: Frame, context: Context, hint: str | None = None) -> Step:
    """The same screen again. Raises Outdated."""
    place = _unfold(book, frame)
    if frame.language != context.language:
        _relabel(place, context)
    return _screen(place, context, _hint(place.flow, hint, {}) if hint else None)


def take(book: Book, frame: Frame, text: str, context: Context) -> Step:
    """One answer. Raises Outdated, and EffectAhead while context.replaying."""
    place = _unfold(book, frame)
    try:
        typed = _readable(text)
        if typed == HOME_KEY:
            return begin(book, HOME, context)
        if typed == BACK:
            return _back(place, context)
        if not isinstance(place.state, Ask) and (language := _spoken(typed)):
            context.language = language
            return redraw(book, frame, context)
        match place.state:
            case Pick() as state:
                return _picked(place, state, typed, context)
            case Menu() as state:
                return _chosen(place, state, typed, context)
            case Ask() as state:
                return _asked(place, state, typed, context)
            case state:
                raise AssertionError(f"{state.name} waits for no answer")
    except Invalid as error:
        return _screen(place, context, _hint(place.flow, error.hint, error.values))


def reveal(book: Book, frame: Frame, kept: str, context: Context) -> str:
    """A kept screen of this frame with its secret in it again. Raises Outdated."""
    place = _unfold(book, frame)
    if not isinstance(place.state, Menu) or not place.state.hides:
        return kept
    value = place.state.show(context, place.answers)[place.state.hides]
    return kept.replace(HIDDEN, str(value))


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
    names = ["too_long"]
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


def _start(book: Book, name: str) -> _Place:
    flow = book[name]
    return _Place(book, flow, flow.table[0], flow.answers())


def _unfold(book: Book, frame: Frame) -> _Place:
    """A kept frame against today's flow. One kept by another version must still mean the same."""
    flow = book.get(frame.flow)
    state = flow.states.get(frame.state) if flow else None
    if flow is None or not isinstance(state, Pick | Ask | Menu):
        raise Outdated(f"{frame.flow}.{frame.state} is no more")
    history = list(frame.history)
    if frame.version != flow.version:
        if not _still_means(flow, state, frame.shown):
            raise Outdated(f"{frame.flow}.{frame.state} no longer has what was shown")
        history = [name for name in history if name in flow.states]
    try:
        answers = answers_.restore(flow.answers, frame.answers)
    except ValueError as error:
        raise Outdated(f"the answers of {frame.flow} changed their shape") from error
    return _Place(book, flow, state, answers, frame.shown, frame.page, history)


def _still_means(flow: Flow, state: State, shown: Sequence[Any]) -> bool:
    """Can today's state read an answer to a screen that another version of it has shown?"""
    match state:
        case Menu():
            return all(isinstance(name, str) and name in state.to for name in shown)
        case Pick():
            kind = answers_.kinds(flow.answers)[state.field or state.name]
            return all(_is_option(option, kind) for option in shown)
        case _:
            return not shown


def _is_option(option: object, kind: type) -> bool:
    if isinstance(option, str) or not isinstance(option, Sequence) or len(option) != 2:
        return False
    try:
        answers_.read(option[0], kind)
    except ValueError:
        return False
    return True


def _readable(text: str) -> str:
    """What was typed, without what no keypad types. Raises Invalid("too_long")."""
    if len(text) > REPLY_CHARACTERS_MAX:
        raise Invalid("too_long")
    whole = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in whole).strip()


def _go(place: _Place, target: str, context: Context, hint: _Hint | None) -> Step:
    """Follow a target; what lies between two screens is done on the way."""
    if target == RESUME:
        assert context.parked is not None, "nothing was left unfinished"
        return redraw(place.book, context.parked, context)
    if target.startswith("@"):
        return _enter(_start(place.book, target[1:]), context, hint)
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
