"""The rules in force: what is asked of them, used up and diced for while the world runs."""

import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from simulator.rules import DEFAULTS, Fault, On, Rules, changed, for_one

Operated = Literal["b2c", "status", "reversal", "balance", "topup"]
Queue = Literal[
    "next", "next_b2c", "next_status", "next_reversal", "next_balance", "next_topup", "next_hop",
    "next_update",
]  # fmt: skip
_QUEUES: dict[Operated, Queue] = {
    "b2c": "next_b2c",
    "status": "next_status",
    "reversal": "next_reversal",
    "balance": "next_balance",
    "topup": "next_topup",
}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Rulebook:
    """Holds the rules, and the dice they are played with."""

    def __init__(self, chance: random.Random) -> None:
        self.rules: Rules = DEFAULTS
        self._chance = chance
        self._lock = threading.Lock()

    def change(self, given: Any) -> Rules:
        """Take new rules. Raises rules.WrongRules; then nothing is changed."""
        with self._lock:
            self.rules = changed(self.rules, given)
            if isinstance(given, dict) and given.get("seed") is not None:
                self._chance.seed(self.rules.seed)
            return self.rules

    def for_push(self) -> Rules:
        """The rules for the push being accepted; uses up one item of `next`."""
        return self._use("next")

    def for_operation(self, kind: Operated) -> Rules:
        """The rules for the payout (or whatever it is) being accepted; uses up one item."""
        return self._use(_QUEUES[kind], getattr(self.rules, kind))

    def for_hop(self) -> Rules:
        """The rules for the hop being sent; uses up one item of `next_hop`."""
        return self._use("next_hop")

    def for_update(self) -> Rules:
        """The rules for an update of Telegram's; uses up one item of `next_update`."""
        return self._use("next_update")

    def fault(self, on: On) -> Fault | None:
        """The fault that strikes this request, if one does; uses up one of its `times`."""
        with self._lock:
            for place, fault in enumerate(self.rules.faults):
                if fault.on not in ("any", on) or not self._happens(fault.chance):
                    continue
                if fault.times is not None:
                    left = (replace(fault, times=fault.times - 1),) if fault.times > 1 else ()
                    others = self.rules.faults
                    self.rules = replace(
                        self.rules, faults=(*others[:place], *left, *others[place + 1 :])
                    )
                return fault
            return None

    def happens(self, probability: float) -> bool:
        with self._lock:
            return self._happens(probability)

    def outcome(self, rules: Rules) -> tuple[str, float] | None:
        """The result code the prompt is answered with and after how many seconds; None: a person.

        rules: those of the push.
        """
        if rules.auto is None:
            return None
        with self._lock:
            codes, weights = list(rules.auto), list(rules.auto.values())
            code = self._chance.choices(codes, weights)[0]
            return code, self._chance.uniform(*rules.auto_seconds)

    def _use(self, queue: Queue, always: Mapping[str, Any] = _NOTHING) -> Rules:
        """The rules, `always` laid over them, and over both the first item of the queue."""
        with self._lock:
            items: tuple[Mapping[str, Any], ...] = getattr(self.rules, queue)
            if items:
                rest: dict[str, Any] = {queue: items[1:]}
                self.rules = replace(self.rules, **rest)
            over = {**always, **(items[0] if items else {})}
            return for_one(self.rules, over) if over else self.rules

    def _happens(self, probability: float) -> bool:
        # Certain things throw no dice, so that a rule left alone changes nobody's luck.
        return probability >= 1 or (probability > 0 and self._chance.random() < probability)
