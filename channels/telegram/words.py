"""The words that Telegram alone needs, in words.toml; a language without them speaks English."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flows.words import FALLBACK, Texts


def say(name: str, language: str, values: Mapping[str, object] | None = None) -> str:
    """The words of that name, filled in."""
    texts = table()[name]
    return texts.get(language, texts[FALLBACK]).format_map(values or {})


def commands(language: str) -> list[tuple[str, str]]:
    """Each command with what it does."""
    listed = ((name.removeprefix("command."), name) for name in table() if name[:8] == "command.")
    return [(command, say(name, language)) for command, name in listed]


@cache
def table() -> Mapping[str, Texts]:
    read = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
    named = {f"command.{name}": texts for name, texts in read.pop("command").items()}
    return {**read, **named}
