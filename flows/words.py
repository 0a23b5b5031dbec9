"""The words on the screens: one TOML file beside each flow, every language under its screen.

A file has one table a state, whose keys are languages ("en", "sw") and, where the state has
them, `option.<key>` (a Menu's fixed options) and `item` (how a Pick words one of its options).
`hint.<name>` are the hints, `resume` is what an unfinished conversation is called. common.toml
holds what every flow shares, the languages' own names, and the width of every placeholder.
"""

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from core.days import EAST_AFRICA_TIME
from core.gsm import clip, septets

FOLDER = Path(__file__).parent
FALLBACK = "en"

Texts = Mapping[str, str]  # language -> template
Values = Mapping[str, object]  # placeholder -> what it stands for


@dataclass(frozen=True)
class Common:
    """What all flows share: the languages and the widths, in septets, of every placeholder."""

    languages: Mapping[str, str]  # "sw" -> "Kiswahili"
    widths: Mapping[str, int]  # of words: clipped
    figures: Mapping[str, int]  # of numbers: never clipped
    texts: Mapping[str, Texts]


@dataclass(frozen=True)
class StateWords:
    text: Texts
    item: Texts
    options: Mapping[str, Texts]


@dataclass(frozen=True)
class Words:
    """The words of one flow."""

    states: Mapping[str, StateWords]
    hints: Mapping[str, Texts]
    resume: Texts

    def hint(self, name: str) -> Texts | None:
        return self.hints.get(name) or common().texts.get(f"hint.{name}")


def fill(texts: Texts, language: str, values: Values) -> str:
    """The template in this language with its placeholders filled in, each clipped to its width."""
    template = texts.get(language) or texts[FALLBACK]
    if "{" not in template:
        return template
    return template.format_map(_Clipped(values))


def widest(template: str) -> int:
    """The septets of the longest text this template can become."""
    return septets(template.format_map(_Widest()))


def show_day(day: date, language: str) -> str:
    """For a screen: "Sun 22/11"."""
    name = common().texts[f"day.{day.weekday()}"]
    return f"{name.get(language) or name[FALLBACK]} {day.day}/{day.month}"


def show_moment(moment: datetime, language: str) -> str:
    """The same with its hour, of the market's day: "Sun 22/11 12:03"."""
    there = moment.astimezone(EAST_AFRICA_TIME)
    return f"{show_day(there.date(), language)} {there:%H:%M}"


def placeholders(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)


@cache
def common() -> Common:
    tables = _read(FOLDER / "common.toml")
    widths, figures = tables.pop("width"), tables.pop("figure")
    languages = tables.pop("language")
    grouped = {
        f"{group}.{name}": texts
        for group in (
            "hint",
            "status",
            "deal",
            "day",
            "problem",
            "about",
            "rest",
            "movement",
            "payout",
            "held",
        )
        for name, texts in tables.pop(group).items()
    }
    return Common(languages, widths, figures, {**tables, **grouped})


def load(flow: str) -> Words:
    return parse(_read(FOLDER / f"{flow}.toml"))


def parse(tables: dict[str, Any]) -> Words:
    hints = tables.pop("hint", {})
    resume = tables.pop("resume", {})
    return Words({name: _state(table) for name, table in tables.items()}, hints, resume)


def _state(table: Mapping[str, Any]) -> StateWords:
    texts = {key: text for key, text in table.items() if key not in {"option", "item"}}
    return StateWords(texts, table.get("item", {}), table.get("option", {}))


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


class _Clipped(dict[str, object]):
    """The values of a template, on demand and never wider than declared."""

    def __init__(self, values: Values) -> None:
        super().__init__()
        self._values = values

    def __missing__(self, name: str) -> str:
        value = self._values[name]
        shared = common()
        if name in shared.widths:
            return clip(str(value), shared.widths[name])
        figure, width = f"{value:,}" if isinstance(value, int) else str(value), shared.figures[name]
        assert len(figure) <= width, f"{name} {figure} is wider than {width}"
        return figure


class _Widest(dict[str, object]):
    def __missing__(self, name: str) -> str:
        shared = common()
        return "W" * (shared.widths.get(name) or shared.figures[name])
