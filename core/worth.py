"""Worth: what there is to an order, less what went back of it and what was paid out before."""

from dataclasses import dataclass
from typing import Final

from core.money import part_cents

# Paid, and its money not yet gone to either side.
UNDER_WAY: Final = frozenset({"paid", "accepted", "dispatched", "delivered", "disputed"})


@dataclass(frozen=True)
class Worth:
    """All in cents. state: the order's.

    placed_cents, placed_fee_cents: fixed when it was placed. reduced_cents: gone back since because
    less comes. came_cents: the seller's already, for what came in earlier trips.
    """

    state: str
    placed_cents: int
    placed_fee_cents: int
    reduced_cents: int
    came_cents: int

    @property
    def total_cents(self) -> int:
        """What is still to be paid out of it; once it has ended, what it came to."""
        return self.placed_cents - self.reduced_cents - self._paid_out_cents

    @property
    def fee_cents(self) -> int:
        """The seller's, of the total; each part takes what the fee of all of them grows by."""
        gross_cents = self.placed_cents - self.reduced_cents
        return self._fee_of(gross_cents) - self._fee_of(self._paid_out_cents)

    @property
    def net_cents(self) -> int:
        return self.total_cents - self.fee_cents

    def net_of(self, part_cents: int) -> int:
        """Of so much of the total, the next that is paid out, what the seller gets."""
        before = self._paid_out_cents
        return part_cents - self._fee_of(before + part_cents) + self._fee_of(before)

    @property
    def _paid_out_cents(self) -> int:
        return self.came_cents if self.state in UNDER_WAY else 0

    def _fee_of(self, gross_cents: int) -> int:
        return part_cents(self.placed_fee_cents, gross_cents, self.placed_cents)
