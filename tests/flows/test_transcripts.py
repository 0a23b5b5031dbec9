"""The dialogues of tests/transcripts, word for word: `make accept` records them anew."""

from pathlib import Path

import pytest

from core.database import Db
from core.rules import Rules
from flows.book import BOOK
from flows.words import common
from tests.flows import invariants
from tests.flows.handset import Clock
from tests.flows.transcripts import Dialogue

FOLDER = Path(__file__).parent.parent / "transcripts"
TRANSCRIPTS = sorted(FOLDER.glob("*/*.txt"))


@pytest.mark.parametrize(
    "path", TRANSCRIPTS, ids=[str(path.relative_to(FOLDER))[:-4] for path in TRANSCRIPTS]
)
def test_the_dialogue_is_as_recorded(
    path: Path, db: Db, clock: Clock, rules: Rules, request: pytest.FixtureRequest
) -> None:
    recorded = path.read_text(encoding="utf-8")
    played = Dialogue(db, clock, rules).play(recorded)
    if request.config.getoption("--accept"):
        path.write_text(played, encoding="utf-8")
    else:
        assert played.splitlines() == recorded.splitlines()
    assert invariants.broken(db, clock()) == []


def test_every_flow_has_its_stories() -> None:
    assert {path.parent.name for path in TRANSCRIPTS} == set(BOOK)


def test_every_story_is_told_in_every_language() -> None:
    told = {(path.parent.name, path.name) for path in TRANSCRIPTS}
    stories = {(flow, name.split(".")[0]) for flow, name in told}
    wanted = {(flow, f"{s}.{code}.txt") for flow, s in stories for code in common().languages}
    assert told == wanted
