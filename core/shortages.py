"""Shortages: what buyer and seller agree on where there is less than was ordered.

Before it is sent the seller says how much he can send, and the buyer answers; if she does not, the
order's own deadlines end it. When it has come the buyer says how much did, and the seller answers;
if he does not, it is a dispute. Until there is an answer the order stands still (core.deliveries).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from core import deliveries, disputes, escrow, orders, outbox, reductions, stock, trips
from core.catalogue import show_quantity
from core.database import Db
from core.money import show
from core.orders import Order
from core.reductions import Reduction
from core.trips import Line

ANSWER_WITHIN: Final = timedelta(hours=24)  # the seller's time
REMIND_BEFORE: Final = (timedelta(hours=12), timedelta(hours=2))  # of the end of anybody's
PROPOSALS_MAX: Final = 3  # of each side of an order, or its time to inspect would never end

# "nothing_left": no more of the whole order; that is a refusal, or a dispute. "wrong_quantity": not
# less, or not in the unit's steps. "too_little": the difference, or a part that is left, is worth
# no shilling.
Proposed = Literal[
    "asked",
    "already_open",
    "too_often",
    "nothing_left",
    "wrong_quantity",
    "too_little",
    "not_open",
]


@dataclass(frozen=True)
class Standing:
    """What waits for an answer, with its line as the order has it now."""

    reduction: Reduction
    line: Line


def offer_less(
    db: Db,
    order_id: UUID,
    seller_id: UUID,
    line_id: UUID,
    can_milli: int,
    restock: bool,
    now: datetime,
) -> Proposed:
    """The seller can send no more than this of what is still to come of a line.

    restock: the difference is there all the same, to be sold to others; else it is gone.
    """
    order = orders.lock_one(db, order_id)
    if order is None or order.seller_id != seller_id or order.state not in ("paid", "accepted"):
        return "not_open"
    lines = trips.of_order(db, order_id)
    line = _line(lines, line_id)
    if line is None:
        return "not_open"
    off_milli = line.to_come_milli - can_milli
    refused = _refused(db, order, "short", line, can_milli, line.to_come_milli)
    if refused is not None:
        return refused
    if order.worth.total_cents - line.off_cents(off_milli) <= 0:
        return "nothing_left"
    answer_by = order.accept_by if order.state == "paid" else order.dispatch_by
    assert answer_by is not None, f"order {order_id} is {order.state} without its deadline"
    new = Reduction(
        *(db.new_id(), order_id, line_id, "short", seller_id),
        *(line.to_come_milli, can_milli, line.off_cents(off_milli), restock, "open"),
        *(answer_by, now, line.offer_id),
    )
    _propose(db, order, new, order.buyer_id, now)
    return "asked"


def say_less_came(
    db: Db, order_id: UUID, buyer_id: UUID, line_id: UUID, came_milli: int, now: datetime
) -> Proposed:
    """No more than this came of a line that was on the road; of all other lines everything did."""
    order = orders.lock_one(db, order_id)
    if (
        order is None
        or order.buyer_id != buyer_id
        or order.state not in ("dispatched", "delivered")
    ):
        return "not_open"
    lines = trips.of_order(db, order_id)
    line = _line(lines, line_id)
    if line is None:
        return "not_open"
    off_milli = line.on_road_milli - came_milli
    refused = _refused(db, order, "less_came", line, came_milli, line.on_road_milli)
    if refused is not None:
        return refused
    less = replace(line, quantity_milli=line.quantity_milli - off_milli)
    then = [less if one is line else one for one in lines]
    if trips.on_road_cents(then) <= 0:
        return "nothing_left"
    if trips.is_part(db, order_id) and trips.behind_cents(then) <= 0:
        return "too_little"
    answer_by = now + ANSWER_WITHIN
    new = Reduction(
        *(db.new_id(), order_id, line_id, "less_came", buyer_id),
        *(line.on_road_milli, came_milli, line.off_cents(off_milli), False, "open"),
        *(answer_by, now, line.offer_id),
    )
    _propose(db, order, new, order.seller_id, now)
    outbox.put(db, "less_came_deadline", due_at=answer_by, reduction_id=new.id)
    return "asked"


def agree(db: Db, order_id: UUID, member_id: UUID, now: datetime) -> Literal["agreed", "not_open"]:
    """The other side says yes: the difference goes back to the buyer at once.

    Of one that is short the order goes on with less. Of one that came the rest is the seller's, for
    the buyer has said that it is there.
    """
    order, reduction = _lock(db, order_id)
    if order is None or reduction is None or member_id != _answers(order, reduction):
        return "not_open"
    reductions.end(db, reduction.id, "agreed", now)
    if reduction.kind == "short":
        off_milli, restock = reduction.off_milli, reduction.restock
        stock.take_off(db, order_id, reduction.offer_id, off_milli, restock, now)
    trips.take_off(db, reduction.line_id, reduction.off_milli, now)
    orders.reduce(db, order_id, reduction.refund_cents, now)
    escrow.refund(db, order_id, reduction.refund_cents, now)
    kind = "short_agreed" if reduction.kind == "short" else "less_came_agreed"
    orders.note(db, [order_id], kind, now, back=show(reduction.refund_cents))
    if reduction.kind == "less_came":
        reduced = orders.by_id(db, order_id)
        assert reduced is not None, f"order {order_id} is gone"
        deliveries.arrive(db, reduced, now)
    return "agreed"


def decline(
    db: Db, order_id: UUID, member_id: UUID, now: datetime
) -> Literal["declined", "not_open"]:
    """The other side says no.

    Of one that is short: then she wants none of it, and has her money back. Of one that came: the
    buyer has a day to complain, or it is paid as it was ordered.
    """
    order, reduction = _lock(db, order_id)
    if order is None or reduction is None or member_id != _answers(order, reduction):
        return "not_open"
    if reduction.kind == "short":
        deliveries.call_off(
            db, order, now, reason="short_declined", of_rest="rest_cancelled", short="declined"
        )
    else:
        reductions.end(db, reduction.id, "declined", now)
        deliveries.object_to(db, order_id, now)
    return "declined"


def take_back(
    db: Db, order_id: UUID, member_id: UUID, now: datetime
) -> Literal["taken_back", "not_open"]:
    """Whoever said that there is less says so no more: the order goes on as before."""
    order, reduction = _lock(db, order_id)
    if order is None or reduction is None or member_id != reduction.proposed_by:
        return "not_open"
    reductions.end(db, reduction.id, "withdrawn", now)
    kind = "short_withdrawn" if reduction.kind == "short" else "less_came_withdrawn"
    orders.note(db, [order_id], kind, now)
    if reduction.kind == "less_came":
        deliveries.resume(db, order_id, now)
    return "taken_back"


def standing(db: Db, order_id: UUID, language: str) -> Standing | None:
    """What waits for an answer in this order; nothing is locked."""
    reduction = reductions.open_of(db, order_id)
    if reduction is None:
        return None
    line = _line(trips.of_order(db, order_id, language), reduction.line_id)
    assert line is not None, f"reduction {reduction.id} is of no line of its order"
    return Standing(reduction, line)


def offered_once(db: Db, order_id: UUID) -> bool:
    """Does a shortage of the order wait for its buyer's yes, and was there never another one?"""
    waits = reductions.open_of(db, order_id)
    return (
        waits is not None
        and waits.kind == "short"
        and reductions.proposed(db, order_id, "short") == 1
    )


def remind(db: Db, reduction_id: UUID, now: datetime) -> Literal["reminded", "not_yet", "not_open"]:
    """For the timers short_reminder and less_came_reminder: nobody has answered.

    Once for each of its times.
    """
    order, reduction = _lock_of(db, reduction_id)
    if reduction.state != "open" or reduction.answer_by <= now:
        return "not_open"
    times = [reduction.answer_by - before for before in REMIND_BEFORE]
    next_at = min((at for at in times if at > now), default=None)
    if next_at is not None:
        outbox.put(db, f"{reduction.kind}_reminder", due_at=next_at, reduction_id=reduction_id)
    since = max((at for at in times if reduction.created_at < at <= now), default=None)
    if since is None:
        return "not_yet"
    kind = f"{reduction.kind}_reminder"
    if orders.noted(db, order.id, kind, since):
        return "not_open"
    _note(db, order, reduction, kind, _answers(order, reduction), now)
    return "reminded"


def run_out(
    db: Db, reduction_id: UUID, now: datetime
) -> Literal["disputed", "not_yet", "not_open"]:
    """For the timer less_came_deadline: the seller is silent, so what she said is a dispute."""
    order, reduction = _lock_of(db, reduction_id)
    if reduction.state != "open":
        return "not_open"
    if now < reduction.answer_by:
        outbox.put(db, "less_came_deadline", due_at=reduction.answer_by, reduction_id=reduction_id)
        return "not_yet"
    line = _line(trips.of_order(db, order.id, _language(db, order.buyer_id)), reduction.line_id)
    assert line is not None, f"reduction {reduction_id} is of no line of its order"
    came, sent = show_quantity(reduction.to_milli), show_quantity(reduction.from_milli)
    words = f"{line.product}: {came} / {sent} {line.units}"
    opened = disputes.open(db, order.id, order.buyer_id, "less", words, now)
    assert opened == "opened", f"reduction {reduction_id} is open, and its order {opened}"
    return "disputed"


def _refused(
    db: Db, order: Order, kind: reductions.Kind, line: Line, to_milli: int, from_milli: int
) -> Literal["already_open", "too_often", "wrong_quantity", "too_little"] | None:
    """What keeps anybody from saying that there is so much instead of so much."""
    if reductions.open_of(db, order.id):
        return "already_open"
    if not 0 <= to_milli < from_milli or to_milli % line.step_milli:
        return "wrong_quantity"
    if reductions.proposed(db, order.id, kind) >= PROPOSALS_MAX:
        return "too_often"
    return None if line.off_cents(from_milli - to_milli) else "too_little"


def _propose(db: Db, order: Order, new: Reduction, answers: UUID, now: datetime) -> None:
    reductions.propose(db, new)
    _note(db, order, new, new.kind, answers, now)
    times = [new.answer_by - before for before in REMIND_BEFORE]
    remind_at = min((at for at in times if at > now), default=None)
    if remind_at is not None:
        outbox.put(db, f"{new.kind}_reminder", due_at=remind_at, reduction_id=new.id)


def _note(
    db: Db, order: Order, reduction: Reduction, kind: str, answers: UUID, now: datetime
) -> None:
    """Into the timeline, and in the words of whoever is to answer."""
    line = _line(trips.of_order(db, order.id, _language(db, answers)), reduction.line_id)
    assert line is not None, f"reduction {reduction.id} is of no line of its order"
    orders.note(
        db,
        [order.id],
        kind,
        now,
        product=line.product,
        has=show_quantity(reduction.to_milli),
        quantity=show_quantity(reduction.from_milli),
        back=show(reduction.refund_cents),
        answer_by=reduction.answer_by.isoformat(),
    )


def _answers(order: Order, reduction: Reduction) -> UUID:
    """Who is to answer: not who has said it."""
    return order.buyer_id if reduction.proposed_by == order.seller_id else order.seller_id


def _lock(db: Db, order_id: UUID) -> tuple[Order | None, Reduction | None]:
    return orders.lock_one(db, order_id), reductions.open_of(db, order_id)


def _lock_of(db: Db, reduction_id: UUID) -> tuple[Order, Reduction]:
    """Whatever became of it; its order is locked first."""
    found = reductions.by_id(db, reduction_id)
    assert found is not None, f"no reduction {reduction_id}"
    order = orders.lock_one(db, found.order_id)
    found = reductions.by_id(db, reduction_id)
    assert order is not None, f"reduction {reduction_id} is of no order"
    assert found is not None, f"no reduction {reduction_id}"
    return order, found


def _line(lines: list[Line], line_id: UUID) -> Line | None:
    return next((line for line in lines if line.id == line_id), None)


def _language(db: Db, member_id: UUID) -> str:
    found: str = db.value("SELECT language FROM members WHERE id = %(id)s", {"id": member_id})
    return found
