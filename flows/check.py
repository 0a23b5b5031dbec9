"""The proofs of every flow, without running one: `python -m flows.check`.

Roads: every target exists, every state is reached, every state can end, no circle of Calls alone,
every outcome of a verb leads somewhere. Answers: every Pick and Ask has a field of its name and
type; what was renamed is here by its new name alone. Words: every screen, option and hint is there
in every language with the same placeholders, in letters every phone has; whoever is sent back is
told why; nothing is left over. Room: the longest possible screen fits.
"""

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from core import wordings
from core.gsm import SEPTETS
from flows import answers
from flows.book import BOOK
from flows.engine import (
    BACK,
    HOME,
    MORE,
    OFFER,
    OWN_HINTS,
    RESUME,
    Ask,
    Book,
    Call,
    End,
    Flow,
    Menu,
    Option,
    Pick,
    State,
    hints_at,
    line_septets,
    targets,
)
from flows.words import Texts, common, placeholders, widest

ROOM_SEPTETS = 156  # Africa's Talking's 160 of the strictest network, less "CON "
OPTIONS_ON_A_PAGE_MIN = 2

Fault = str


def faults(book: Book, room_septets: int = ROOM_SEPTETS) -> list[Fault]:
    """Everything wrong with these flows, each as a line that names its place."""
    found = [f"common: {fault}" for fault in _texts_of_common()]
    found += [f"messages: {fault}" for fault in wordings.faults(common().languages)]
    for flow in book.values():
        proofs = (
            *(_roads(book, flow), _answers(flow), _taken(book, flow)),
            *(_moved(flow), _words(flow)),
        )
        of_flow = [fault for proof in proofs for fault in proof]
        if not of_flow:  # the length of a text that is not there cannot be measured
            of_flow = list(_room(flow, room_septets))
        found += [f"{flow.name}: {fault}" for fault in of_flow]
    return found


def longest(flow: Flow, state: State, language: str) -> int:
    """The septets of the longest screen this state can draw; of a list, with its least options."""
    words = flow.words.states[state.name]
    question = widest(words.text[language])
    if isinstance(state, End):
        return question
    back = line_septets(BACK, common().texts["back"][language])
    hints = [widest(texts[language]) for texts in hints_at(flow, state)]
    if isinstance(state, Pick):
        more = line_septets(MORE, common().texts["more"][language])
        option = line_septets("99", "") + widest(words.item[language])
        return max(question, *hints) + OPTIONS_ON_A_PAGE_MIN * option + more + back
    lines = 0
    if isinstance(state, Menu):
        lines = sum(
            line_septets(str(number), "") + widest(words.options[name][language])
            for number, name in enumerate(state.to, 1)
        )
    return max(hints) + 1 + question + lines + back


def mermaid(flow: Flow, notes: Mapping[str, str] | None = None) -> str:
    """The flow as a drawing, in Mermaid's words. notes: what stands under a state's name."""
    shapes = {Pick: "[[{}]]", Ask: "[/{}/]", Menu: "[{}]", Call: "{{{{{}}}}}", End: "([{}])"}
    lines = ["flowchart TD"]
    for state in flow.table:
        note = (notes or {}).get(state.name)
        shown = f'"{state.name}<br/>{note}"' if note else state.name
        lines.append(f"    {state.name}" + shapes[type(state)].format(shown))
    for state in flow.table:
        for way, target in targets(state).items():
            shown = f"flow_{target[1:]}" if target.startswith("@") else target
            node = f'{shown}(["{target}"])' if target.startswith("@") else shown
            lines.append(f"    {state.name} -->|{way}| {node}")
    return "\n".join(lines)


def depths(flow: Flow) -> Mapping[str, int]:
    """How many steps each state is from the beginning; those never reached are missing."""
    begins = [flow.table[0].name, *([OFFER] if flow.name == HOME else [])]
    found = dict.fromkeys(begins, 0)
    waiting = deque(begins)
    while waiting:
        name = waiting.popleft()
        for target in targets(flow.states[name]).values():
            if target in flow.states and target not in found:
                found[target] = found[name] + 1
                waiting.append(target)
    return found


def _roads(book: Book, flow: Flow) -> Iterator[Fault]:
    if len(flow.states) != len(flow.table):
        yield "two states have one name"
    for state in flow.table:
        for way, target in targets(state).items():
            known = target in flow.states or target == RESUME or target[1:] in book
            if not known:
                yield f"{state.name} leads by {way} to {target}, which is not there"
        yield from _outcomes(state)
        if not _ends(flow, state.name):
            yield f"{state.name} never ends"
        if isinstance(state, Call) and _circles(flow, state.name):
            yield f"{state.name} is in a circle of Calls alone"
    reached = depths(flow)
    yield from (f"{name} is never reached" for name in flow.states if name not in reached)


def _outcomes(state: State) -> Iterator[Fault]:
    """A verb's targets are its Literal's outcomes, no more and no fewer."""
    verb = getattr(state, "do", None)
    if isinstance(state, Ask) and not state.secret == (verb is not None) == _branches(state):
        yield f"{state.name}: a secret has a verb and its outcomes, any other answer one target"
        return
    if verb is None:
        return
    returned = get_type_hints(verb).get("return")
    outcomes = set(get_args(returned)) if get_origin(returned) is Literal else set()
    ways = set(targets(state))
    yield from (f"{state.name} has no way out for {lost}" for lost in sorted(outcomes - ways))
    yield from (f"{state.name}: {lost} never happens" for lost in sorted(ways - outcomes))


def _branches(state: Ask) -> bool:
    return not isinstance(state.to, str)


def _ends(flow: Flow, name: str) -> bool:
    seen, waiting = {name}, [name]
    while waiting:
        state = flow.states[waiting.pop()]
        if isinstance(state, End):
            return True
        for target in targets(state).values():
            if target.startswith("@"):
                return True
            if target in flow.states and target not in seen:
                seen.add(target)
                waiting.append(target)
    return False


def _circles(flow: Flow, name: str) -> bool:
    seen: set[str] = set()
    waiting = list(targets(flow.states[name]).values())
    while waiting:
        target = waiting.pop()
        if target == name:
            return True
        if target not in seen and isinstance(flow.states.get(target), Call):
            seen.add(target)
            waiting += targets(flow.states[target]).values()
    return False


def _answers(flow: Flow) -> Iterator[Fault]:
    kinds = answers.kinds(flow.answers)
    for state in flow.table:
        given: list[tuple[str, Any]] = []
        match state:
            case Pick(options=options, typed=typed):
                (listed,) = get_args(_returned(options)) or (None,)
                if get_origin(listed) is not Option:
                    yield f"{state.name}: its options' type is not said"
                    continue
                given.append((state.field or state.name, get_args(listed)[0]))
                if typed:
                    given.append((typed.field, _returned(typed.parse)))
            case Ask(secret=False, parse=parse):
                given.append((state.field or state.name, _returned(parse)))
        for name, kind in given:
            if kinds.get(name) is not kind:
                yield f"{state.name} answers {name}, a {_called(kind)}: {_called(kinds.get(name))}"


def _taken(book: Book, flow: Flow) -> Iterator[Fault]:
    """What it takes over is an answer of its own, and of one type wherever it may come from."""
    kinds = answers.kinds(flow.answers)
    yield from (f"takes {name}, which is no answer" for name in flow.takes if name not in kinds)
    for other in book.values():
        if any(f"@{flow.name}" in targets(state).values() for state in other.table):
            theirs = answers.kinds(other.answers)
            for name in set(flow.takes) & kinds.keys() & theirs.keys():
                if kinds[name] is not theirs[name]:
                    yield f"takes {name} from {other.name}, where it is a {_called(theirs[name])}"


def _moved(flow: Flow) -> Iterator[Fault]:
    """What releases renamed: the old name is nobody's any more, the new one is there."""
    kinds = answers.kinds(flow.answers)
    for old, new in flow.moved.states.items():
        if old in flow.states:
            yield f"{old} has moved, and is still there"
        if new is not None and not isinstance(flow.states.get(new), Pick | Ask | Menu):
            yield f"{old} has moved to {new}, where nobody can stand"
    for old, new in flow.moved.answers.items():
        if old in kinds:
            yield f"the answer {old} has moved, and is still there"
        if new is not None and new not in kinds:
            yield f"the answer {old} has moved to {new}, which is no answer"


def _returned(function: Callable[..., object]) -> Any:
    return get_type_hints(function).get("return")


def _called(kind: Any) -> str:
    return "no such field" if kind is None else getattr(kind, "__name__", str(kind))


def _words(flow: Flow) -> Iterator[Fault]:
    words = flow.words
    yield from (f"no state is called {name}" for name in words.states if name not in flow.states)
    for state in flow.table:
        if isinstance(state, Call):
            if state.name in words.states:
                yield f"{state.name} has words but no screen"
            continue
        if state.name not in words.states:
            yield f"{state.name} has no words"
            continue
        of_state = words.states[state.name]
        yield from _texts(state.name, of_state.text)
        options = set(state.to) if isinstance(state, Menu) else set()
        for name in sorted(options ^ set(of_state.options)):
            yield f"{state.name}: option {name} has no words or no target"
        for name in options & set(of_state.options):
            yield from _texts(f"{state.name}.option.{name}", of_state.options[name])
        if isinstance(state, Pick):
            yield from _texts(f"{state.name}.item", of_state.item)
        elif of_state.item:
            yield f"{state.name} has an item but no list"
    yield from _hints(flow)
    if flow.name != HOME:
        yield from _texts("resume", words.resume)


def _hints(flow: Flow) -> Iterator[Fault]:
    """Whoever is sent back is told why, in words that are there; no words are left over."""
    at, used = depths(flow), set[str]()
    for state in flow.table:
        typed = state.typed if isinstance(state, Pick) else None
        parse = typed.parse if typed else getattr(state, "parse", None)
        raised = set(answers.hints_of(parse))
        for hint in sorted(raised):
            if flow.words.hint(hint) is None:
                yield f"{state.name}: the hint {hint} has no words"
        used |= raised
        if isinstance(state, Menu) or not hasattr(state, "to"):
            continue
        for way, target in targets(state).items():
            has_words = flow.words.hint(way) is not None
            sent_back = (
                way not in {"picked", "answered", "typed"}
                and at.get(target, len(at)) <= at.get(state.name, 0)
                and not isinstance(flow.states[target], End)
            )
            if has_words and target.startswith("@"):
                yield f"{state.name}: the hint {way} would be shown in another flow"
            if sent_back and not has_words:
                yield f"{state.name}: {way} sends back to {target} without a hint"
            used.add(way)
    for name, texts in flow.words.hints.items():
        yield from _texts(f"hint.{name}", texts)
        if name in OWN_HINTS:
            yield f"the hint {name} is the engine's own"
        if name not in used:
            yield f"the hint {name} is never shown"


def _texts_of_common() -> Iterator[Fault]:
    for name, texts in common().texts.items():
        yield from _texts(name, texts)


def _texts(name: str, texts: Texts) -> Iterator[Fault]:
    """Every language, the same placeholders, each with a width, letters that every phone has."""
    shared = common()
    for language in shared.languages:
        if language not in texts:
            yield f"{name} is not said in {language}"
    for language in set(texts) - set(shared.languages):
        yield f"{name} is said in {language}, which is no language of common.toml"
    wanted = {placeholders(text) for text in texts.values()}
    if len(wanted) > 1:
        yield f"{name} has other placeholders in one language than in another"
    for placeholder in sorted(frozenset().union(*wanted)):
        if placeholder not in shared.widths and placeholder not in shared.figures:
            yield f"{name}: the width of {placeholder} is not declared"
    for language, text in texts.items():
        strange = sorted(set(text) - set(SEPTETS) - set("{}"))
        if strange:
            yield f"{name} in {language} has letters no plain phone has: {' '.join(strange)}"


def _room(flow: Flow, room_septets: int) -> Iterator[Fault]:
    for state in flow.table:
        if isinstance(state, Call):
            continue
        for language in common().languages:
            if (needed := longest(flow, state, language)) > room_septets:
                yield f"{state.name} in {language} can take {needed} septets of {room_septets}"


def _table(flow: Flow) -> Iterator[str]:
    languages = list(common().languages)
    yield f"{flow.name} (version {flow.version}), longest screen in septets"
    yield f"  {'state':<14}{'kind':<6}" + "".join(f"{language:>5}" for language in languages)
    for state in flow.table:
        septets = (
            ["" for _ in languages]
            if isinstance(state, Call)
            else [str(longest(flow, state, language)) for language in languages]
        )
        row = f"  {state.name:<14}{type(state).__name__.lower():<6}"
        yield row + "".join(f"{number:>5}" for number in septets)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.check", description="Prove every flow.")
    parser.add_argument("--room", type=int, default=ROOM_SEPTETS, help="septets after the prefix")
    parser.add_argument("--mermaid", action="store_true", help="draw the flows instead")
    asked = parser.parse_args()
    found = faults(BOOK, asked.room)
    for fault in found:
        print(fault, file=sys.stderr)
    if found:
        return 1
    for flow in BOOK.values():
        print(mermaid(flow) if asked.mermaid else "\n".join(_table(flow)), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
