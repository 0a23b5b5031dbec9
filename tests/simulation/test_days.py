"""Seeded disasters: whatever befalls anybody in whatever order, every invariant stands.

`.ci/run` lives on to the five hundredth for each change (`make simulate`).
"""

import pytest

from tests.simulation.day import Profile, live
from tests.simulation.town import Ground

# Many days in one test, perhaps beside another suite.
pytestmark = pytest.mark.timeout(600)

SEEDS, BATCH = 20, 5


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH), ids=lambda it: f"{it}-{it + BATCH - 1}")
def test_no_day_loses_a_shilling_or_pays_one_twice(ground: Ground, first: int) -> None:
    for seed in range(first, first + BATCH):
        lived = live(ground, seed)
        assert lived.broken is None, lived.told()


@pytest.mark.parametrize("seed", [1, 11, 25])
def test_a_seed_is_lived_again_to_the_letter(ground: Ground, seed: int) -> None:
    restless = Profile(pairs=0.3, rate=0.05)
    first, again = (live(ground, seed, restless) for _ in range(2))
    assert first.told() == again.told()
    assert first.points == again.points
