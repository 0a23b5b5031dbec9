"""Conversations as releases have kept them: what each answer to their screens meant at the time.

tests/conversations has a file a flow, a line a screen: the frame as it was kept, the lines that
were shown, and for each answer where it led and what it gave. Ids are another market's tomorrow,
so `<offer>` stands for the answer of that name, `<2>` for the second option shown.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID, uuid5

from flows import answers, engine
from flows.engine import Book, Context, Flow, Frame, Outdated, State, Step
from flows.words import common

FOLDER = Path(__file__).parent.parent / "conversations"
LANGUAGE = "en"  # of every conversation in the corpus
ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
NOBODY = UUID(int=7042)  # namespace of ids that stand for nothing that is there


@dataclass(frozen=True)
class Meant:
    """What an answer did at once: the state it led to, the answers it gave."""

    to: str
    gave: Mapping[str, object]


@dataclass(frozen=True)
class Kept:
    """One line. means: by what was typed."""

    screen: Sequence[str]
    frame: Mapping[str, Any]
    means: Mapping[str, Meant]

    @property
    def name(self) -> str:
        return f"{self.frame['flow']}.{self.frame['state']}"


def load(flow: str) -> list[Kept]:
    path = FOLDER / f"{flow}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [_read(json.loads(line)) for line in lines]


def add(kept: Kept) -> None:
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{kept.frame['flow']}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(kept), ensure_ascii=False) + "\n")


def has(kept: Iterable[Kept], flow: Flow, state: State) -> bool:
    """Is there a conversation at this state, drawn as today's flow draws it?"""
    shown = list(state.to) if isinstance(state, engine.Menu) else []
    today = flow.meaning(state, LANGUAGE, shown)
    return any((one.frame["state"], one.frame["meaning"]) == (state.name, today) for one in kept)


def record(book: Book, step: Step, typed: Iterable[str], context: Context) -> Kept:
    """The screen that a conversation stands at, and what each of these answers means there."""
    assert step.frame is not None, "nobody answers the last screen"
    frame = _saved(step.frame)
    ids = {value: name for name, value in _ids(frame).items()}
    means = {}
    for answer in typed:
        meant = _try(book, frame, answer, context)
        assert meant is not None, f"{answer!r} leads nowhere from {frame.flow}.{frame.state}"
        means[answer] = Meant(meant.to, _named(meant.gave, ids))
    kept = vars(frame) | {
        "answers": _named(frame.answers, ids),
        "shown": _named(frame.shown, ids),
    }
    return Kept(step.screen.kept().split("\n"), kept, means)


def faults(book: Book, kept: Kept, live: Frame, context: Context) -> list[str]:
    """Where an answer to that old screen would come to mean something else with today's flows.

    live: a conversation that stands there today, whose ids stand for the kept ones.
    """
    flow = book[kept.frame["flow"]]
    if undeclared := list(_undeclared(flow, kept)):
        return undeclared
    ids = _ids(_saved(live))
    frame = Frame(**_resolved(kept.frame, ids, flow))
    found = []
    for typed, meant in kept.means.items():
        now = _try(book, frame, typed, context)
        if now is None:
            continue  # asked again, refused, begun anew: nothing was done
        to = flow.moved.states.get(meant.to, meant.to)
        gave = engine._renamed(_resolved(meant.gave, ids, flow), flow.moved.answers)
        if (now.to, now.gave) != (to, gave):
            found.append(
                f"{kept.name}: {typed!r} led to {to} and gave {gave}, "
                f"and now leads to {now.to} and gives {dict(now.gave)}"
            )
    return found


def _undeclared(flow: Flow, kept: Kept) -> Iterator[str]:
    """What is no more, and nobody has said what became of it."""
    name, moved = kept.frame["state"], flow.moved
    asks = isinstance(flow.states.get(name), engine.Pick | engine.Ask | engine.Menu)
    if not asks and name not in moved.states:
        yield f"{kept.name} is gone: say in `moved` where its conversations go, or None"
    kinds = answers.kinds(flow.answers)
    for name, value in kept.frame["answers"].items():
        today = moved.answers.get(name, name)
        if today is not None and today not in kinds:
            yield f"{kept.name}: the answer {name} is gone: say in `moved` what it is now, or None"
        elif today is not None and not _fits(value, kinds[today]):
            yield f"{kept.name}: the answer {name} is no {kinds[today].__name__}: name it anew"


def _fits(value: object, kind: type) -> bool:
    if kind is UUID or _is_stand_in(value):
        return kind is UUID and _is_stand_in(value)
    return isinstance(value, kind)


def _try(book: Book, frame: Frame, typed: str, context: Context) -> Meant | None:
    """Answer, see where that leads at once, undo it all. None: it leads nowhere."""
    went: list[Meant] = []
    go = engine._go

    def seen(place: Any, target: str, *rest: Any) -> Step:
        before = engine._renamed(frame.answers, place.flow.moved.answers)
        given = answers.keep(place.answers).items()
        went.append(Meant(target, {name: v for name, v in given if before.get(name) != v}))
        return go(place, target, *rest)

    with _undone(context) as fresh, mock.patch.object(engine, "_go", seen), suppress(Outdated):
        step = engine.take(book, frame, typed, fresh)
        if _asks_again(step):
            return None
    return went[0] if went else None


def _asks_again(step: Step) -> bool:
    return step.screen.text.startswith(common().texts["hint.updated"][LANGUAGE])


@contextmanager
def _undone(context: Context) -> Iterator[Context]:
    context.db.run("SAVEPOINT tried")
    yield replace(context, read={})
    context.db.run("ROLLBACK TO SAVEPOINT tried")
    context.db.run("RELEASE SAVEPOINT tried")


def _ids(frame: Frame) -> dict[str, str]:
    """What stands for each id of a frame. One may have two names; an option's is the later."""
    ids = {f"<{name}>": value for name, value in frame.answers.items()}
    if not all(isinstance(option, str) for option in frame.shown):
        ids |= {f"<{number}>": value for number, (value, _) in enumerate(frame.shown, 1)}
    return {name: value for name, value in ids.items() if _is_id(value)}


def _named(value: Any, ids: Mapping[str, str]) -> Any:
    match value:
        case str():
            return ids.get(value, value)
        case Mapping():
            return {key: _named(one, ids) for key, one in value.items()}
        case Sequence():
            return [_named(one, ids) for one in value]
        case _:
            return value


def _resolved(value: Any, ids: Mapping[str, str], flow: Flow) -> Any:
    """The same with the ids of a conversation of today."""
    match value:
        case str() if _is_stand_in(value):
            name = value[1:-1]
            today = f"<{flow.moved.answers.get(name) or name}>"
            return ids.get(today, str(uuid5(NOBODY, name)))
        case Mapping():
            return {key: _resolved(one, ids, flow) for key, one in value.items()}
        case list():
            return [_resolved(one, ids, flow) for one in value]
        case _:
            return value


def _is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _is_stand_in(value: object) -> bool:
    return isinstance(value, str) and value.startswith("<") and value.endswith(">")


def _saved(frame: Frame) -> Frame:
    """As the conversation's table gives it back."""
    return Frame(**json.loads(json.dumps(vars(frame))))


def _read(line: dict[str, Any]) -> Kept:
    means = {typed: Meant(**meant) for typed, meant in line["means"].items()}
    return Kept(line["screen"], line["frame"], means)
