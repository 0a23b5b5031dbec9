"""Trips: how much of an order is still to come, and how much of that is on the road.

An order goes whole unless its seller sends a part of it. Then one trip at a time is on the road;
what was left behind for another waits until that has come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core.database import Db
from core.money import line_cents


@dataclass(frozen=True)
class Line:
    """A line of an order, in thousandths of its unit. unit: of one, "kilo"; units: of many.

    quantity_milli: ordered, less what was taken off it by agreement. came_milli: in earlier trips.
    behind_milli: waits for another trip while one is on the road.
    """

    id: UUID
    offer_id: UUID
    product: str
    unit: str
    units: str
    step_milli: int
    price_cents: int
    quantity_milli: int
    came_milli: int
    behind_milli: int

    @property
    def to_come_milli(self) -> int:
        return self.quantity_milli - self.came_milli

    @property
    def on_road_milli(self) -> int:
        """Of an order that was sent."""
        return self.to_come_milli - self.behind_milli

    @property
    def on_road_cents(self) -> int:
        return self.worth_cents(self.came_milli + self.on_road_milli) - self.came_cents

    @property
    def behind_cents(self) -> int:
        return self.worth_cents(self.quantity_milli) - self.came_cents - self.on_road_cents

    @property
    def came_cents(self) -> int:
        return self.worth_cents(self.came_milli)

    def worth_cents(self, quantity_milli: int) -> int:
        """Of so much of it, counted from the first: parts are differences, so that none is lost."""
        return line_cents(self.price_cents, quantity_milli)

    def off_cents(self, milli: int) -> int:
        """What it is worth less when so much is taken off it."""
        left_milli = self.quantity_milli - milli
        return self.worth_cents(self.quantity_milli) - self.worth_cents(left_milli)


def of_order(db: Db, order_id: UUID, language: str = "en") -> list[Line]:
    """All its lines, in the order in which they were chosen; one may have nothing more to come."""
    return db.rows(
        Line,
        """
        SELECT l.id, l.offer_id, coalesce(p.names->>%(language)s, p.names->>'en') AS product,
               coalesce(p.units->%(language)s->>'one', p.units->'en'->>'one') AS unit,
               coalesce(p.units->%(language)s->>'many', p.units->'en'->>'many') AS units,
               p.step_milli, l.price_cents, l.quantity_milli - l.reduced_milli AS quantity_milli,
               l.came_milli, l.behind_milli
        FROM lines l JOIN products p ON p.id = l.product_id
        WHERE l.order_id = %(order_id)s ORDER BY l.created_at, l.id
        """,
        {"order_id": order_id, "language": language},
    )


def on_road_cents(lines: Sequence[Line]) -> int:
    return sum(line.on_road_cents for line in lines)


def behind_cents(lines: Sequence[Line]) -> int:
    return sum(line.behind_cents for line in lines)


def is_part(db: Db, order_id: UUID) -> bool:
    """Whether something was left behind when it was sent."""
    return bool(
        db.value(
            "SELECT EXISTS (SELECT FROM lines WHERE order_id = %(id)s AND behind_milli > 0)",
            {"id": order_id},
        )
    )


def leave_behind(db: Db, behind: Mapping[UUID, int], now: datetime) -> None:
    """A part is sent: so much of these lines, by their ids, is not in it."""
    db.run(
        """
        UPDATE lines l SET behind_milli = b.milli, updated_at = %(now)s
        FROM unnest(%(ids)s::uuid[], %(behind)s::bigint[]) AS b (id, milli)
        WHERE l.id = b.id
        """,
        {"ids": list(behind), "behind": list(behind.values()), "now": now},
    )


def come(db: Db, order_id: UUID, now: datetime) -> None:
    """What was on the road has come; what was left behind is still to come."""
    db.run(
        """
        UPDATE lines
        SET came_milli = quantity_milli - reduced_milli - behind_milli, behind_milli = 0,
            updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "order_id": order_id},
    )


def take_off(db: Db, line_id: UUID, milli: int, now: datetime) -> None:
    """So much of a line will not come, by agreement."""
    db.run(
        """
        UPDATE lines SET reduced_milli = reduced_milli + %(milli)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"milli": milli, "now": now, "id": line_id},
    )
