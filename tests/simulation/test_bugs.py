"""Planted bugs: each is found out within 25 days aimed at it, by the invariant that forbids it."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.simulation import town
from tests.simulation.bugs import BUGS, Bug
from tests.simulation.day import live
from tests.simulation.town import Ground

# Many days in one test, perhaps beside another suite.
pytestmark = pytest.mark.timeout(600)

DAYS = 25


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "_"))
def test_a_planted_bug_is_found_out(
    ground: Ground, new_database: Callable[[], Any], bug: Bug
) -> None:
    with ExitStack() as stack:
        if bug.schema:
            ground = stack.enter_context(town.ground(stack.enter_context(new_database())))
            with ground.database.begin() as db:
                for dropped in bug.schema:
                    db.run(dropped)  # type: ignore[arg-type]
        stack.enter_context(bug.plant())
        for seed in range(DAYS):
            lived = live(ground, seed, bug.profile)
            if lived.broken is not None:
                assert re.search(bug.invariant, lived.broken), lived.told()
                return
    pytest.fail(f"{DAYS} days and nobody noticed")


def test_every_invariant_has_a_bug_that_breaks_it() -> None:
    found = {name for bug in BUGS for name in re.findall(r"I\d+", bug.invariant)}
    asked = {f"I{number}" for number in range(1, 22)} - {"I14"}  # I14: by the enumeration
    assert found >= asked
