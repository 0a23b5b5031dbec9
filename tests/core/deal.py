"""A deal: one paid order of one seller, walked from state to state."""

from datetime import datetime
from uuid import UUID

from core import deliveries, disputes, ledger, orders, outbox, reductions, shortages, stock, trips
from core.database import Db
from core.orders import Order
from core.reductions import Reduction
from tests.core.market import RULES, Market, open_market, order_of, purchase, run_timers, settled

STATES = ("placed", "paid", "accepted", "dispatched", "delivered")
# Escrow, buyer, seller and fee, in cents, as Deal.purses has them.
HELD = (50_000, 0, 0, 0)
RELEASED = (0, 0, 48_700, 1_300)
REFUNDED = (0, 50_000, 0, 0)


class Deal:
    """Wanjiku's order of two tomatoes for KSh 500, fee KSh 13; paid on Saturday the 21st of
    November at noon in Nairobi, to be delivered on Sunday."""

    def __init__(self, db: Db, now: datetime) -> None:
        self.db, self.now = db, now
        self.market: Market = open_market(db, now)
        self.bought = settled(db, purchase(db, self.market, now), now)
        self.buyer, self.seller = self.market.buyer, self.market.wanjiku
        self.id = self.order().id

    def order(self) -> Order:
        return order_of(self.db, self.bought, self.seller)

    def state(self) -> str:
        return self.order().state

    def accept(self) -> str:
        return deliveries.accept(self.db, self.id, self.seller, self.now)

    def refuse(self) -> str:
        return deliveries.refuse(self.db, self.id, self.seller, self.now)

    def dispatch(self) -> str:
        return deliveries.dispatch(self.db, self.id, self.seller, self.now)

    def claim(self) -> str:
        return deliveries.claim(self.db, self.id, self.seller, self.now, "left with the neighbour")

    def received(self) -> str:
        return deliveries.received(self.db, self.id, self.buyer, self.now)

    def cancel(self) -> str:
        return deliveries.cancel(self.db, self.id, self.buyer, self.now)

    def new_code(self) -> str:
        return deliveries.new_code(self.db, self.id, self.buyer, self.now)

    def code(self) -> str:
        shown = deliveries.show_code(self.db, self.id, self.buyer, RULES)
        assert shown is not None
        return shown

    def enter(self, code: str | None = None) -> str:
        typed = self.code() if code is None else code
        return deliveries.enter_code(self.db, self.id, self.seller, typed, RULES, self.now)

    def enter_wrong(self) -> str:
        return self.enter(f"{(int(self.code()) + 1) % 10_000:04}")

    def send_part(self, units: float = 1) -> str:
        (line,) = trips.of_order(self.db, self.id)
        load = {line.id: round(units * 1000)}
        return deliveries.dispatch_part(self.db, self.id, self.seller, load, self.now)

    def complain(self) -> str:
        return disputes.open(self.db, self.id, self.buyer, "rotten", None, self.now)

    def offer_less(self, units: float = 1, *, restock: bool = False) -> str:
        """Of the two units he can send so many."""
        (line,) = trips.of_order(self.db, self.id)
        can_milli = round(units * 1000)
        return shortages.offer_less(
            self.db, self.id, self.seller, line.id, can_milli, restock, self.now
        )

    def say_less_came(self, units: float = 1) -> str:
        (line,) = trips.of_order(self.db, self.id)
        came_milli = round(units * 1000)
        return shortages.say_less_came(self.db, self.id, self.buyer, line.id, came_milli, self.now)

    def agree(self) -> str:
        """Whoever is to."""
        return shortages.agree(self.db, self.id, self._answers(), self.now)

    def decline(self) -> str:
        return shortages.decline(self.db, self.id, self._answers(), self.now)

    def take_back(self) -> str:
        said = self.seller if self._answers() == self.buyer else self.buyer
        return shortages.take_back(self.db, self.id, said, self.now)

    def run_out(self) -> str:
        """The time to answer is over."""
        found = self.reduction()
        assert found is not None
        return shortages.run_out(self.db, found.id, found.answer_by)

    def _answers(self) -> UUID:
        found = self.reduction()
        return self.buyer if found is None or found.kind == "short" else self.seller

    def reduction(self) -> Reduction | None:
        return reductions.open_of(self.db, self.id)

    def ended(self) -> list[str]:
        """How each of its reductions stands, the oldest first."""
        found: list[str] | None = self.db.value(
            "SELECT array_agg(state ORDER BY created_at, id) FROM reductions WHERE order_id = %s",
            [self.id],
        )
        return found or []

    def comes_to(self, state: str) -> None:
        steps = {
            "accepted": self.accept,
            "dispatched": self.dispatch,
            "delivered": self.claim,
        }
        for to, step in steps.items():
            if STATES.index(self.state()) < STATES.index(to) <= STATES.index(state):
                assert step() in {"accepted", "dispatched", "claimed"}, to
        assert self.state() == state

    def events(self) -> list[str]:
        return [event.kind for event in orders.timeline(self.db, self.id)]

    def purses(self) -> tuple[int, int, int, int]:
        """Escrow, buyer, seller and fee, in cents; not what came back from the other order."""
        others = self.db.value(
            "SELECT coalesce(sum(refunded_cents), 0)::bigint FROM escrows WHERE order_id <> %s",
            [self.id],
        )
        return (
            ledger.balance(self.db, ledger.escrow(self.id)),
            ledger.balance(self.db, ledger.buyer(self.buyer)) - others,
            ledger.balance(self.db, ledger.seller(self.seller)),
            ledger.balance(self.db, ledger.FEES),
        )

    def goods(self) -> tuple[int, int, int]:
        """On hand, allocated, and what another buyer could have, in thousandths."""
        on_hand, allocated = self.db.value(
            "SELECT array[on_hand_milli, allocated_milli] FROM stock WHERE offer_id = %s",
            [self.market.tomatoes],
        )
        left = stock.available(self.db, [self.market.tomatoes], self.now)
        return on_hand, allocated, left[self.market.tomatoes]

    def timers(self) -> dict[str, datetime]:
        """What is still to come for this order, and when."""
        rows = self.db.value(
            """
            SELECT coalesce(json_agg(json_build_array(kind, due_at)), '[]') FROM outbox
            WHERE done_at IS NULL AND (
                arguments = jsonb_build_object('order_id', %s::text)
                OR arguments->>'reduction_id' IN (
                    SELECT id::text FROM reductions WHERE order_id = %s))
            """,
            [str(self.id), self.id],
        )
        return {kind: datetime.fromisoformat(due_at) for kind, due_at in rows}

    def wait_for_timers(self, until: datetime) -> None:
        """The worker does all that falls due, each at its time."""
        while (due_at := outbox.next_due(self.db)) is not None and due_at <= until:
            self.now = max(self.now, due_at)
            run_timers(self.db, self.now)
        self.now = until
