"""Shrinking: of what befell on a day that broke, only that without which it would not have."""

from tests.simulation.day import ORDINARY, Lived, Profile, live
from tests.simulation.town import Ground

TRIES_MAX = 60


def shrink(ground: Ground, lived: Lived, seed: int, profile: Profile = ORDINARY) -> Lived:
    """The same seed, as many strikes of fate spared as may be; it is broken in the same way."""
    kept, spared = lived, set[int]()
    steps = 8
    tries = 0
    while steps:
        for first in range(0, lived.struck, steps):
            some = set(range(first, first + steps)) - spared
            tries += 1
            if not some or tries > TRIES_MAX:
                continue
            again = live(ground, seed, profile, skip=spared | some)
            if again.broken == lived.broken:
                kept, spared = again, spared | some
        steps //= 2
    return kept
