"""Deliveries: a paid order on its way to the buyer, and its money on the way to the seller.

The seller accepts, sends, and types the code that the buyer gives him for the goods; that releases
the money at once. Whatever is not done in time is done by a timer: an outbox row that is set with
the order's move, and that may come early, late or twice.

He may send it in parts (core.trips): each trip has a code and a release of its own, and when one
has come the order stands as accepted again for the rest. While one side waits for the other's
answer about less than was ordered (core.reductions), the order stands still: verbs say "waits",
timers pass by; only what calls it off before it is sent still does.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa

from core import days, escrow, incidents, orders, outbox, reductions, stock, trips
from core.database import Db, metadata
from core.money import show
from core.orders import Order
from core.rules import Rules
from core.trips import Line

ACCEPT_WITHIN: Final = timedelta(hours=24)
DISPATCH_WITHIN_MIN: Final = timedelta(hours=4)  # for who accepts when the day is nearly over
INSPECT_WITHIN: Final = timedelta(hours=24)
REST_WITHIN: Final = timedelta(hours=24)  # after a part has come, to send the rest
# After the last moment to send it: nobody has said anything of the goods, so an operator asks.
SILENT_AFTER: Final = timedelta(hours=48)
TRIES_MAX: Final = 5  # of 10,000 codes
Reminded = Literal["reminded", "not_yet", "not_open"]

_ON_ITS_WAY: Final = ("paid", "accepted", "dispatched", "delivered")

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),  # of the code, which is not kept
    sa.Column("tries", sa.Integer, nullable=False),  # wrong ones, of this generation
    sa.Column("entered_at", sa.DateTime(timezone=True)),  # the right code
    sa.Column("claimed_at", sa.DateTime(timezone=True)),
    sa.Column("claim_note", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("generation > 0", name="generation"),
    sa.CheckConstraint(f"tries BETWEEN 0 AND {TRIES_MAX}", name="tries"),
)


@dataclass(frozen=True)
class _Reminder:
    """before: how long before the order's deadline it is sent, the earliest first."""

    state: str
    deadline: Literal["accept_by", "dispatch_by", "inspect_by"]
    before: Sequence[timedelta]


_REMINDERS: Final[Mapping[str, _Reminder]] = {
    "accept_reminder": _Reminder("paid", "accept_by", [timedelta(hours=12)]),
    "dispatch_reminder": _Reminder("accepted", "dispatch_by", [timedelta(hours=12)]),
    "inspection_reminder": _Reminder(
        "delivered", "inspect_by", [timedelta(hours=12), timedelta(hours=2)]
    ),
}


def begin(db: Db, paid: Sequence[Order], now: datetime) -> None:
    """These orders are paid and their goods allocated: their sellers are asked to accept.

    Who gave his word before has accepted.
    """
    asked = [order.id for order in paid if not order.agreed]
    agreed = [order for order in paid if order.agreed]
    accept_by = now + ACCEPT_WITHIN
    if asked:
        orders.move_all(db, asked, "paid", now, accept_by=accept_by)
    for order in agreed:
        by = {"reason": "agreed_paid", "dispatch_by": _dispatch_by(order, now).isoformat()}
        orders.move_all(db, [order.id], "paid", now, accept_by=now, detail=by)
    order_ids = [order.id for order in paid]
    db.run(
        """
        INSERT INTO deliveries (order_id, generation, tries, created_at, updated_at)
        SELECT order_id, 1, 0, %(now)s, %(now)s FROM unnest(%(ids)s::uuid[]) AS o (order_id)
        """,
        {"ids": order_ids, "now": now},
    )
    orders.note(db, order_ids, "delivery_code", now)
    _set_timers(db, asked, "accept_reminder", "accept_deadline", accept_by, now)
    for order in agreed:
        _accepted(db, order, now, reason="agreed")


def accept(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime
) -> Literal["accepted", "waits", "not_open"]:
    """The seller will send it, by the end of its day."""
    order = _sellers(db, order_id, seller_id, "paid")
    if order is None:
        return "not_open"
    if reductions.open_of(db, order_id):
        return "waits"
    _accepted(db, order, now)
    return "accepted"


def refuse(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime
) -> Literal["refused", "not_open"]:
    """The seller will not send it: the buyer has her money back, he his goods."""
    order = _sellers(db, order_id, seller_id, "paid", "accepted")
    if order is None:
        return "not_open"
    call_off(db, order, now, reason="refused", of_rest="rest_refused")
    return "refused"


def dispatch(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime
) -> Literal["dispatched", "waits", "not_open"]:
    """The goods have left the seller; from here on she cannot cancel."""
    order = _sellers(db, order_id, seller_id, "accepted")
    if order is None:
        return "not_open"
    if reductions.open_of(db, order_id):
        return "waits"
    stock.dispatch(db, order_id, now)
    _sent(db, order, now)
    return "dispatched"


def dispatch_part(
    db: Db, order_id: UUID, seller_id: UUID, load: Mapping[UUID, int], now: datetime
) -> Literal["dispatched", "wrong_load", "waits", "not_open"]:
    """Some of the goods have left the seller; the others stay allocated for another trip.

    load: thousandths of a unit by line. "wrong_load": it is nothing or more than is to come, not in
    the steps of its unit, or worth no shilling, as then the rest must not be either. All that is to
    come is no part: the order is sent whole.
    """
    order = _sellers(db, order_id, seller_id, "accepted")
    if order is None:
        return "not_open"
    if reductions.open_of(db, order_id):
        return "waits"
    lines = trips.of_order(db, order_id)
    loaded = [
        replace(line, behind_milli=line.to_come_milli - load.get(line.id, 0)) for line in lines
    ]
    if not load.keys() <= {line.id for line in lines} or not all(map(_can_go, loaded)):
        return "wrong_load"
    behind = {line.id: line.behind_milli for line in loaded if line.behind_milli}
    if not behind:
        return dispatch(db, order_id, seller_id, now)
    part_cents = trips.on_road_cents(loaded)
    if part_cents <= 0 or trips.behind_cents(loaded) <= 0:
        return "wrong_load"
    part = {line.offer_id: line.on_road_milli for line in loaded if line.on_road_milli}
    stock.dispatch(db, order_id, now, part)
    trips.leave_behind(db, behind, now)
    _sent(db, order, now, reason="part_dispatched", total=show(part_cents))
    return "dispatched"


def enter_code(
    db: Db, order_id: UUID, seller_id: UUID, typed: str, rules: Rules, now: datetime
) -> Literal["released", "wrong_code", "code_locked", "frozen", "waits", "not_open"]:
    """The buyer gave the seller her code, so she has the goods: the money is his at once.

    "code_locked": by this or an earlier wrong one; only a new code of the buyer's opens it again.
    "frozen": the code is right and kept in evidence, but a dispute holds the money. "waits": it is
    right and kept too, but she has said since, or before, that less came: the seller answers that
    first. Else a code that she gave at the door would outdo what she found in the sack.
    """
    order = _sellers(db, order_id, seller_id, "dispatched", "delivered", "disputed")
    if order is None:
        return "not_open"
    slip = _slip(db, order_id)
    if slip.tries >= TRIES_MAX:
        return "code_locked"
    right = code(rules, order_id, slip.generation)
    if not hmac.compare_digest(typed.encode(errors="replace"), right.encode()):
        return _count_wrong(db, order_id, slip.tries + 1, now)
    db.run(
        """
        UPDATE deliveries SET entered_at = coalesce(entered_at, %(now)s), updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "order_id": order_id},
    )
    waits = reductions.open_of(db, order_id)
    if waits or order.state == "disputed":
        orders.note(db, [order_id], "code_kept", now)
        return "waits" if waits else "frozen"
    orders.note(db, [order_id], "code_accepted", now)
    arrive(db, order, now)
    return "released"


def claim(
    db: Db, order_id: UUID, seller_id: UUID, now: datetime, note: str | None = None
) -> Literal["claimed", "waits", "not_open"]:
    """The seller says, without her code, that she has the goods: she has a day to object.

    note: what he says in evidence.
    """
    order = _sellers(db, order_id, seller_id, "dispatched")
    if order is None:
        return "not_open"
    if reductions.open_of(db, order_id):
        return "waits"
    db.run(
        """
        UPDATE deliveries SET claimed_at = %(now)s, claim_note = %(note)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "note": note, "order_id": order_id},
    )
    _inspect(db, order_id, now)
    return "claimed"


def received(
    db: Db, order_id: UUID, buyer_id: UUID, now: datetime
) -> Literal["released", "waits", "not_open"]:
    """The buyer says that she has the goods: the money is the seller's at once.

    "waits": she has said that less came, and has not taken it back.
    """
    order = _buyers(db, order_id, buyer_id, "dispatched", "delivered")
    if order is None:
        return "not_open"
    if reductions.open_of(db, order_id):
        return "waits"
    orders.note(db, [order_id], "received", now)
    arrive(db, order, now)
    return "released"


def cancel(
    db: Db, order_id: UUID, buyer_id: UUID, now: datetime
) -> Literal["cancelled", "not_open"]:
    """The buyer does not want a paid order any more, and it was not sent: her money is back."""
    order = _buyers(db, order_id, buyer_id, "paid", "accepted")
    if order is None:
        return "not_open"
    call_off(db, order, now, reason=None, of_rest="rest_cancelled")
    return "cancelled"


def new_code(
    db: Db, order_id: UUID, buyer_id: UUID, now: datetime
) -> Literal["renewed", "not_open"]:
    """A code that nobody has seen or tried; the one before is void."""
    order = _buyers(db, order_id, buyer_id, *_ON_ITS_WAY)
    if order is None:
        return "not_open"
    _renew_code(db, order_id, now)
    return "renewed"


def code(rules: Rules, order_id: UUID, generation: int) -> str:
    """Four digits, derived, so that they are kept nowhere."""
    of_what = b"delivery" + order_id.bytes + generation.to_bytes(4, "big")
    digest = hmac.new(rules.token_key, of_what, sha256).digest()
    return f"{int.from_bytes(digest, 'big') % 10_000:04}"


def code_of(db: Db, order_id: UUID, rules: Rules) -> str | None:
    """The code that the order's buyer may give now, to be sent to her; None: it has no use."""
    return _valid_code(db, order_id, None, rules)


def show_code(db: Db, order_id: UUID, buyer_id: UUID, rules: Rules) -> str | None:
    """The same for her screen. None: it has no use, or the order is not hers."""
    return _valid_code(db, order_id, buyer_id, rules)


def remind_to_accept(db: Db, order_id: UUID, now: datetime) -> Reminded:
    """For the timer accept_reminder: the seller has not said whether he will send it."""
    return _remind(db, "accept_reminder", order_id, now)


def remind_to_dispatch(db: Db, order_id: UUID, now: datetime) -> Reminded:
    """For the timer dispatch_reminder: its day has come, and it is not sent."""
    return _remind(db, "dispatch_reminder", order_id, now)


def remind_to_inspect(db: Db, order_id: UUID, now: datetime) -> Reminded:
    """For the timer inspection_reminder: the buyer's time to object is running out."""
    return _remind(db, "inspection_reminder", order_id, now)


def accept_missed(
    db: Db, order_id: UUID, now: datetime
) -> Literal["cancelled", "not_yet", "not_open"]:
    """For the timer accept_deadline: nobody said that the goods will come, so her money is back."""
    order = _lock(db, order_id, "paid")
    if order is None:
        return "not_open"
    if _too_soon(db, "accept_deadline", order, order.accept_by, now):
        return "not_yet"
    reason = "short_unanswered" if reductions.open_of(db, order_id) else "accept_missed"
    call_off(db, order, now, reason=reason, of_rest="rest_missed")
    return "cancelled"


def dispatch_missed(
    db: Db, order_id: UUID, now: datetime
) -> Literal["cancelled", "not_yet", "not_open"]:
    """For the timer dispatch_deadline: the goods were not sent on their day; her money is back."""
    order = _lock(db, order_id, "accepted")
    if order is None:
        return "not_open"
    if _too_soon(db, "dispatch_deadline", order, order.dispatch_by, now):
        return "not_yet"
    reason = "short_unanswered" if reductions.open_of(db, order_id) else "dispatch_missed"
    call_off(db, order, now, reason=reason, of_rest="rest_missed")
    return "cancelled"


def silent(db: Db, order_id: UUID, now: datetime) -> Literal["asked", "not_yet", "not_open"]:
    """For the timer delivery_deadline: sent, and then nobody said a word; an operator asks both.

    The money stays where it is: who has the goods is not for a clock to say.
    """
    order = _lock(db, order_id, "dispatched")
    if order is None or reductions.open_of(db, order_id):
        return "not_open"
    if _too_soon(db, "delivery_deadline", order, _silent_at(order), now):
        return "not_yet"
    incidents.open(db, "delivery_silent", order_id, now, number=order.number)
    return "asked"


def inspection_over(
    db: Db, order_id: UUID, now: datetime
) -> Literal["released", "not_yet", "not_open"]:
    """For the timer inspection_over: she did not object in time, so the money is the seller's."""
    order = _lock(db, order_id, "delivered")
    if order is None or reductions.open_of(db, order_id):
        return "not_open"
    if _too_soon(db, "inspection_over", order, order.inspect_by, now):
        return "not_yet"
    arrive(db, order, now)
    return "released"


def resume(db: Db, order_id: UUID, now: datetime) -> Literal["released", "delivered", "dispatched"]:
    """What the buyer had against it she has taken back: it goes on from where it stood.

    Her dispute, and the money is held again, or her word that less came. Her time to look at the
    goods begins anew. The right code, typed meanwhile, counts now.
    """
    order = _lock(db, order_id, "disputed", "dispatched", "delivered")
    assert order is not None, f"order {order_id} is not with the buyer"
    slip = _slip(db, order_id)
    if slip.entered:
        orders.note(db, [order_id], "code_accepted", now)
        arrive(db, order, now)
        return "released"
    if slip.claimed:
        _inspect(db, order_id, now, reason="inspected_anew")
        return "delivered"
    if order.state == "disputed":
        orders.move(db, order_id, "dispatched", now, reason="resumed")
    due_at = max(_silent_at(order), now + INSPECT_WITHIN)
    outbox.put(db, "delivery_deadline", due_at=due_at, order_id=order_id)
    return "dispatched"


def object_to(db: Db, order_id: UUID, now: datetime) -> None:
    """The seller says that nothing was missing: the buyer has a day to complain, and a new code.

    Whatever code she gave with the goods, before she counted them, is void; else he had only to
    type it.
    """
    _renew_code(db, order_id, now)
    db.run(
        """
        UPDATE deliveries SET claimed_at = coalesce(claimed_at, %(now)s), entered_at = NULL
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "order_id": order_id},
    )
    _inspect(db, order_id, now, reason="less_refused")


def arrive(db: Db, order: Order, now: datetime) -> None:
    """What is on the road is the buyer's: the money for it is the seller's.

    With the last of it the order is complete. Else it stands as accepted, and the rest has a day
    and a code of its own.
    """
    if not trips.is_part(db, order.id):
        gross_cents = order.worth.total_cents
        net_cents = escrow.release(db, order.id, now)
        last = {"total": show(gross_cents), "net": show(net_cents)} if order.came_cents else {}
        orders.move(db, order.id, "completed", now, **last)
        return
    part_cents = trips.on_road_cents(trips.of_order(db, order.id))
    net_cents = escrow.release(db, order.id, now, part_cents)
    trips.come(db, order.id, now)
    orders.part_came(db, order.id, part_cents, now)
    db.run(
        """
        UPDATE deliveries
        SET generation = generation + 1, tries = 0, entered_at = NULL, claimed_at = NULL,
            claim_note = NULL, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "order_id": order.id},
    )
    by = max(days.end(order.deliver_on), now + REST_WITHIN)
    paid = {"total": show(part_cents), "net": show(net_cents)}
    detail = {"reason": "part_came", **paid, "dispatch_by": by.isoformat()}
    orders.move_all(db, [order.id], "accepted", now, dispatch_by=by, detail=detail)
    orders.note(db, [order.id], "rest_code", now)
    _set_timers(db, [order.id], "dispatch_reminder", "dispatch_deadline", by, now)


def call_off(
    db: Db,
    order: Order,
    now: datetime,
    *,
    reason: str | None,
    of_rest: str,
    short: reductions.Ended = "lapsed",
    gone_cents: int = 0,
) -> None:
    """It will not be sent: the goods stay with the seller, the money goes back.

    of_rest: the reason where a part of it came before; then it is complete without the rest. short:
    how ends what waits for an answer; what the seller then said is gone does not come back to him.
    gone_cents: of its money, what M-Pesa itself gave back. Stock first, in the order of locks.
    """
    waits = reductions.open_of(db, order.id)
    if waits is not None:
        reductions.end(db, waits.id, short, now)
        if not waits.restock:
            stock.take_off(db, order.id, waits.offer_id, waits.off_milli, False, now)
    stock.give_back(db, order.id, now)
    if gone_cents:
        back_cents = escrow.take_back(db, order.id, gone_cents, now)
    else:
        back_cents = escrow.refund(db, order.id, None, now)
    if order.came_cents:
        orders.reduce(db, order.id, back_cents, now)
        orders.move(db, order.id, "completed", now, reason=of_rest, back=show(back_cents))
    else:
        why = {"reason": reason} if reason else {}
        orders.move(db, order.id, "cancelled", now, **why)


def _lock(db: Db, order_id: UUID, *states: str) -> Order | None:
    """The order, locked, if it is in one of these states."""
    order = orders.lock_one(db, order_id)
    return order if order is not None and order.state in states else None


def _sellers(db: Db, order_id: UUID, seller_id: UUID, *states: str) -> Order | None:
    order = _lock(db, order_id, *states)
    return order if order is not None and order.seller_id == seller_id else None


def _buyers(db: Db, order_id: UUID, buyer_id: UUID, *states: str) -> Order | None:
    order = _lock(db, order_id, *states)
    return order if order is not None and order.buyer_id == buyer_id else None


def _dispatch_by(order: Order, now: datetime) -> datetime:
    """By when it is to be sent if it is accepted now: the end of its day."""
    return max(days.end(order.deliver_on), now + DISPATCH_WITHIN_MIN)


def _accepted(db: Db, order: Order, now: datetime, **detail: str) -> None:
    by = _dispatch_by(order, now)
    orders.move_all(db, [order.id], "accepted", now, dispatch_by=by, detail=detail)
    _set_timers(db, [order.id], "dispatch_reminder", "dispatch_deadline", by, now)


def _can_go(line: Line) -> bool:
    """Whether so much of it can be on the road, and so much stay behind."""
    on_road_milli = line.on_road_milli
    return 0 <= on_road_milli <= line.to_come_milli and not on_road_milli % line.step_milli


def _sent(db: Db, order: Order, now: datetime, **detail: str) -> None:
    orders.move(db, order.id, "dispatched", now, **detail)
    outbox.put(db, "delivery_deadline", due_at=_silent_at(order), order_id=order.id)


def _inspect(db: Db, order_id: UUID, now: datetime, **detail: str) -> None:
    """From now the buyer has a day to look at the goods. Of a part the money for it is named."""
    by = now + INSPECT_WITHIN
    detail |= {"inspect_by": by.isoformat(), **_of_part(db, order_id)}
    orders.move_all(db, [order_id], "delivered", now, inspect_by=by, detail=detail)
    _set_timers(db, [order_id], "inspection_reminder", "inspection_over", by, now)


def _of_part(db: Db, order_id: UUID) -> dict[str, str]:
    """What a part that was sent is worth, for who is told of it; nothing of a whole order."""
    if not trips.is_part(db, order_id):
        return {}
    return {"total": show(trips.on_road_cents(trips.of_order(db, order_id)))}


def _renew_code(db: Db, order_id: UUID, now: datetime) -> None:
    db.run(
        """
        UPDATE deliveries SET generation = generation + 1, tries = 0, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"now": now, "order_id": order_id},
    )
    orders.note(db, [order_id], "code_renewed", now)


@dataclass(frozen=True)
class _Slip:
    """generation: of the code that is good now. tries: wrong ones made of it.

    entered: the right one was typed. claimed: the seller says that she has the goods.
    """

    generation: int
    tries: int
    entered: bool
    claimed: bool


def _slip(db: Db, order_id: UUID) -> _Slip:
    slip = db.row(
        _Slip,
        """
        SELECT generation, tries, entered_at IS NOT NULL AS entered,
               claimed_at IS NOT NULL AS claimed
        FROM deliveries WHERE order_id = %(id)s
        """,
        {"id": order_id},
    )
    assert slip is not None, f"order {order_id} is paid, and has no code"
    return slip


def _count_wrong(
    db: Db, order_id: UUID, tries: int, now: datetime
) -> Literal["wrong_code", "code_locked"]:
    db.run(
        """
        UPDATE deliveries SET tries = %(tries)s, updated_at = %(now)s
        WHERE order_id = %(order_id)s
        """,
        {"tries": tries, "now": now, "order_id": order_id},
    )
    if tries < TRIES_MAX:
        return "wrong_code"
    orders.note(db, [order_id], "code_locked", now)
    return "code_locked"


def _valid_code(db: Db, order_id: UUID, buyer_id: UUID | None, rules: Rules) -> str | None:
    generation: int | None = db.value(
        """
        SELECT d.generation FROM deliveries d JOIN orders o ON o.id = d.order_id
        WHERE o.id = %(order_id)s AND o.state = ANY(%(states)s)
          AND o.buyer_id = coalesce(%(buyer_id)s, o.buyer_id)
        """,
        {"order_id": order_id, "states": list(_ON_ITS_WAY), "buyer_id": buyer_id},
    )
    return None if generation is None else code(rules, order_id, generation)


def _set_timers(
    db: Db,
    order_ids: Sequence[UUID],
    reminder_kind: str,
    deadline_kind: str,
    by: datetime,
    now: datetime,
) -> None:
    """What is due at the deadline, and at the first reminder before it that is still to come."""
    remind_at = _next_at(_REMINDERS[reminder_kind], by, now)
    due = {reminder_kind: remind_at, deadline_kind: by}
    outbox.put_all(
        db,
        [
            outbox.Wanted(kind, due_at, {"order_id": order_id})
            for kind, due_at in due.items()
            if due_at is not None
            for order_id in order_ids
        ],
    )


def _remind(db: Db, kind: str, order_id: UUID, now: datetime) -> Reminded:
    """Once for each of its times, however often the timer comes; the next one is set here."""
    reminder = _REMINDERS[kind]
    order = _lock(db, order_id, reminder.state)
    if order is None or reductions.open_of(db, order_id):
        return "not_open"
    by: datetime = getattr(order, reminder.deadline)
    next_at = _next_at(reminder, by, now)
    if next_at is not None:
        outbox.put(db, kind, due_at=next_at, order_id=order_id)
    since = max((by - before for before in reminder.before if by - before <= now), default=None)
    if since is None:
        return "not_yet"
    if by <= now or orders.noted(db, order_id, kind, since):
        return "not_open"
    part = _of_part(db, order_id) if order.state == "delivered" else {}
    orders.note(db, [order_id], kind, now, **{reminder.deadline: by.isoformat(), **part})
    return "reminded"


def _next_at(reminder: _Reminder, by: datetime, now: datetime) -> datetime | None:
    return min((by - before for before in reminder.before if by - before > now), default=None)


def _too_soon(db: Db, kind: str, order: Order, by: datetime | None, now: datetime) -> bool:
    """Is there time left? Then the timer is set anew."""
    assert by is not None, f"order {order.id} is {order.state} without its deadline"
    if by <= now:
        return False
    outbox.put(db, kind, due_at=by, order_id=order.id)
    return True


def _silent_at(order: Order) -> datetime:
    assert order.dispatch_by is not None, f"order {order.id} was sent, and never accepted"
    return order.dispatch_by + SILENT_AFTER
