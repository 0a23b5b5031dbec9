"""Answers: what a member has said so far in a flow, as a dataclass that is kept as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints
from uuid import UUID

Parser = TypeVar("Parser", bound=Callable[..., object])

KINDS = (str, int, bool, UUID)
_seen: dict[type[Any], Mapping[str, type]] = {}


def hints(*names: str) -> Callable[[Parser], Parser]:
    """Declare which hints a parser may raise, so that the check can prove their words fit."""

    def declare(parser: Parser) -> Parser:
        parser.hints = names  # type: ignore[attr-defined]
        return parser

    return declare


def hints_of(parser: object) -> tuple[str, ...]:
    return getattr(parser, "hints", ())


def keep(answers: Any) -> dict[str, object]:
    """The answers given so far, as JSON can hold them."""
    return {
        name: str(value) if isinstance(value, UUID) else value
        for name in kinds(type(answers))
        if (value := getattr(answers, name)) is not None
    }


def restore(kind: type[Any], kept: Mapping[str, object]) -> Any:
    """The dataclass again. Raises ValueError where the kept ones do not fit it any more."""
    wanted = kinds(kind)
    restored = {}
    for name, value in kept.items():
        if name not in wanted:
            raise ValueError(f"no answer is called {name}")
        restored[name] = read(value, wanted[name])
    return kind(**restored)


def read(value: object, kind: type) -> object:
    """A JSON value as this kind of answer."""
    if kind is UUID:
        return UUID(str(value))
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} is no {kind.__name__}")
    return value


def kinds(kind: type[Any]) -> Mapping[str, type]:
    """Field of an answers' dataclass -> its type, the None of not-yet-answered left out."""
    if kind not in _seen:
        hinted = get_type_hints(kind)
        _seen[kind] = {field.name: _present(hinted[field.name]) for field in fields(kind)}
    return _seen[kind]


def _present(annotation: Any) -> type:
    if isinstance(annotation, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    assert annotation in KINDS, f"an answer cannot be a {annotation}"
    return annotation  # type: ignore[no-any-return]
