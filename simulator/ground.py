"""The ground: what every part of the pretend world shares with the others."""

import random
from dataclasses import dataclass

from simulator import outbound
from simulator.books import Books
from simulator.clock import Clock
from simulator.journal import Journal
from simulator.rulebook import Rulebook


@dataclass(frozen=True, slots=True)
class Ground:
    """chance: the source of ids; the dice are the rulebook's. post: how anybody is called."""

    books: Books
    clock: Clock
    journal: Journal
    rulebook: Rulebook
    chance: random.Random
    post: outbound.Post


class Part:
    """A part of the world, which stands on that ground."""

    def __init__(self, ground: Ground) -> None:
        self._books = ground.books
        self._clock = ground.clock
        self._journal = ground.journal
        self._rulebook = ground.rulebook
        self._chance = ground.chance
        self._post = ground.post
