"""Watch: the newest orders and payouts beside the books, as JSON for where people try Sokoni.

Never part of production: it names buyers and sellers to whoever knows the path.
"""

import hmac
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify

from core import ledger, names
from core.database import Database, Db
from core.errors import Unavailable

ORDERS_MAX = 8
PAYOUTS_MAX = 20
SECONDS_MAX = 2.0


@dataclass(frozen=True)
class _Order:
    id: UUID
    number: int
    state: str
    total_cents: int
    fee_cents: int
    seller: str
    buyer: str
    charge: str | None
    escrow: str
    captured_cents: int
    released_cents: int
    refunded_cents: int
    taken_cents: int


@dataclass(frozen=True)
class _Event:
    order_id: UUID
    kind: str
    reason: str | None
    at: datetime


@dataclass(frozen=True)
class _Payout:
    id: UUID
    kind: str
    state: str
    waits_for: str | None
    cents: int
    account: str
    receiver: str
    at: datetime


def blueprint(database: Database, *, secret: str) -> Blueprint:
    """GET /watch/<secret>. A wrong secret is 404 with an empty body."""
    routes = Blueprint("watch", __name__)

    @routes.get("/watch/<secret>")
    def watch(secret: str) -> Response | tuple[str, int]:
        if not hmac.compare_digest(secret.encode("utf-8", "replace"), wanted):
            return "", 404
        try:
            with database.begin(seconds=SECONDS_MAX, durable=False) as db:
                db.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                found = read(db)
        except Unavailable:
            return "", 503
        return jsonify(found)

    wanted = secret.encode()
    return routes


def read(db: Db) -> dict[str, Any]:
    """The newest orders and payouts, newest first, and the ledger's totals; amounts in cents."""
    orders = _orders(db)
    events = _events(db, [order.id for order in orders])
    books = ledger.report(db)
    return {
        "orders": [_shown(order, events) for order in orders],
        "payouts": [
            {
                "id": str(each.id),
                "kind": each.kind,
                "state": each.state,
                "waits_for": each.waits_for,
                "cents": each.cents,
                "to": each.receiver if each.account == "seller" else names.called(each.receiver),
                "at": each.at.isoformat(),
            }
            for each in _payouts(db)
        ],
        "ledger": {
            name: books[name]
            for name in ("accounts", "debits", "credits", "balanced", "cached_equal_fold")
        },
    }


def _orders(db: Db) -> list[_Order]:
    return db.rows(
        _Order,
        """
        SELECT o.id, o.number, o.state, o.total_cents, o.fee_cents, s.name AS seller,
               b.name AS buyer, c.state AS charge, e.state AS escrow, e.captured_cents,
               e.released_cents, e.refunded_cents, e.fee_cents AS taken_cents
        FROM orders o
        JOIN members s ON s.id = o.seller_id
        JOIN members b ON b.id = o.buyer_id
        JOIN escrows e ON e.order_id = o.id
        LEFT JOIN LATERAL (
            SELECT state FROM charges WHERE checkout_id = o.checkout_id
            ORDER BY (state IN ('paid', 'reversed')) DESC, created_at DESC, id DESC LIMIT 1
        ) AS c ON true
        ORDER BY o.number DESC LIMIT %(most)s
        """,
        {"most": ORDERS_MAX},
    )


def _payouts(db: Db) -> list[_Payout]:
    return db.rows(
        _Payout,
        """
        SELECT p.id, p.kind, p.state, p.waits_for, p.amount_cents AS cents, p.updated_at AS at,
               p.account, m.name AS receiver
        FROM payouts p JOIN members m ON m.id = p.member_id
        ORDER BY p.created_at DESC, p.id DESC LIMIT %(most)s
        """,
        {"most": PAYOUTS_MAX},
    )


def _events(db: Db, order_ids: list[UUID]) -> Mapping[UUID, list[_Event]]:
    found = defaultdict(list)
    for event in db.rows(
        _Event,
        """
        SELECT order_id, kind, detail ->> 'reason' AS reason, at
        FROM order_events WHERE order_id = ANY(%(ids)s) ORDER BY at, id
        """,
        {"ids": order_ids},
    ):
        found[event.order_id].append(event)
    return found


def _shown(order: _Order, events: Mapping[UUID, list[_Event]]) -> dict[str, Any]:
    gone_cents = order.released_cents + order.refunded_cents + order.taken_cents
    return {
        "number": order.number,
        "state": order.state,
        "total_cents": order.total_cents,
        "fee_cents": order.fee_cents,
        "seller": order.seller,
        "buyer": names.called(order.buyer),
        "charge": order.charge,
        "escrow": {
            "state": order.escrow,
            "held_cents": order.captured_cents - gone_cents,
            "released_cents": order.released_cents,
            "refunded_cents": order.refunded_cents,
            "fee_cents": order.taken_cents,
        },
        "events": [
            {"kind": event.kind, "reason": event.reason, "at": event.at.isoformat()}
            for event in events.get(order.id, ())
        ],
    }
