"""What must hold whatever anybody dialled: money balances, stock is promised once, orders match."""

from datetime import datetime

from core import ledger
from core.database import Db
from core.stock import AVAILABLE_MILLI
from tests.core.parts import WRONG_ESCROWS, WRONG_LINES, WRONG_REDUCTIONS, WRONG_SUMS


def broken(db: Db, now: datetime) -> list[str]:
    """The invariants that do not hold, each named with how often it is broken."""
    counted = db.value(_BROKEN, {"now": now})
    counted["transfers that do not balance"] = ledger.unbalanced_transfers(db)
    counted["balances that are not the sum of their entries"] = ledger.stale_balances(db)
    return [f"{name}: {count}" for name, count in counted.items() if count]


def footprint(db: Db) -> dict[str, int]:
    """How much of everything there is: the same before and after what must do nothing."""
    found: dict[str, int] = db.value(_FOOTPRINT)
    return found


_BROKEN = f"""
SELECT json_build_object(
    'offers promised beyond their stock',
    (SELECT count(*) FROM stock s WHERE {AVAILABLE_MILLI} < 0),
    'stock that is not the sum of its movements',
    (SELECT count(*) FROM stock s WHERE on_hand_milli <>
        (SELECT sum(quantity_milli) FROM stock_movements m WHERE m.offer_id = s.offer_id)),
    'allocations without their reservations',
    (SELECT count(*) FROM stock s WHERE allocated_milli <>
        (SELECT coalesce(sum(quantity_milli), 0) FROM reservations r
         WHERE r.offer_id = s.offer_id AND r.state = 'allocated')),
    'order lines without their reservation, or without what was sent of them',
    ({WRONG_LINES}),
    'orders whose parts do not add up',
    ({WRONG_SUMS}),
    'reductions that nobody can answer',
    ({WRONG_REDUCTIONS}),
    'reservations of nothing ordered',
    (SELECT count(*) FROM reservations r WHERE NOT EXISTS
        (SELECT FROM lines l WHERE l.order_id = r.order_id AND l.offer_id = r.offer_id)),
    'orders that are not the sum of their lines',
    (SELECT count(*) FROM orders o WHERE title IS NULL AND total_cents IS DISTINCT FROM
        (SELECT sum(amount_cents) FROM lines l WHERE l.order_id = o.id)),
    'orders of lines and of a title both',
    (SELECT count(*) FROM orders o WHERE title IS NOT NULL
        AND EXISTS (SELECT FROM lines l WHERE l.order_id = o.id)),
    'deals that are not their orders',
    (SELECT count(*) FROM deals d LEFT JOIN orders o ON o.id = d.order_id
     WHERE (d.state = 'accepted' AND (d.number, d.total_cents, d.fee_cents, d.title, d.due_on)
            IS DISTINCT FROM (o.number, o.total_cents, o.fee_cents, o.title, o.deliver_on))
        OR (d.state <> 'accepted' AND EXISTS (
            SELECT FROM orders taken WHERE taken.number = d.number))),
    'orders of a title that nobody agreed on',
    (SELECT count(*) FROM orders o WHERE title IS NOT NULL
        AND NOT EXISTS (SELECT FROM deals d WHERE d.order_id = o.id)),
    'open deals that nobody will close',
    (SELECT count(*) FROM deals d WHERE state = 'open' AND NOT EXISTS (
        SELECT FROM outbox x WHERE x.kind = 'deal_deadline' AND x.done_at IS NULL
           AND x.arguments->>'deal_id' = d.id::text)),
    'checkouts that are not the sum of their orders',
    (SELECT count(*) FROM checkouts k WHERE total_cents <>
        (SELECT coalesce(sum(total_cents), 0) FROM orders o WHERE o.checkout_id = k.id)),
    'orders whose escrow does not fit',
    ({WRONG_ESCROWS}),
    'disputed orders whose escrow is not frozen, or the reverse',
    (SELECT count(*) FROM orders o JOIN escrows e ON e.order_id = o.id
     WHERE (e.state = 'frozen') <> EXISTS (
        SELECT FROM disputes d WHERE d.order_id = o.id AND o.state = 'disputed'
           AND d.state IN ('open', 'seller_reply', 'review'))),
    'escrows whose account does not fit',
    (SELECT count(*) FROM escrows e LEFT JOIN accounts a
        ON a.kind = 'L.escrow' AND a.owner_id = e.order_id
     WHERE coalesce(a.balance_cents, 0)
        <> e.captured_cents - e.released_cents - e.fee_cents - e.refunded_cents),
    'sellers who have more or less than was released to them',
    (SELECT count(*) FROM members m WHERE
        (SELECT coalesce(sum(balance_cents), 0) FROM accounts a
         WHERE a.kind = 'L.seller' AND a.owner_id = m.id)
        + (SELECT coalesce(sum(amount_cents), 0) FROM payouts p
           WHERE p.member_id = m.id AND p.account = 'seller' AND p.state <> 'failed') <>
        (SELECT coalesce(sum(e.released_cents), 0) FROM escrows e
         JOIN orders o ON o.id = e.order_id WHERE o.seller_id = m.id)
        - (SELECT coalesce(sum(e.amount_cents), 0) FROM entries e  -- what a test let her earn
           JOIN transfers t ON t.id = e.transfer_id JOIN accounts a ON a.id = e.account_id
           WHERE t.key LIKE 'test:%%' AND a.kind = 'L.seller' AND a.owner_id = m.id)),
    'buyers who have less than came back to them',
    (SELECT count(*) FROM members m WHERE
        (SELECT coalesce(sum(balance_cents), 0) FROM accounts a
         WHERE a.kind = 'L.buyer' AND a.owner_id = m.id) <
        (SELECT coalesce(sum(e.refunded_cents), 0) FROM escrows e
         JOIN orders o ON o.id = e.order_id WHERE o.buyer_id = m.id)),
    'charges to be pushed that nobody will push',
    (SELECT count(*) FROM charges c WHERE c.state = 'created' AND c.claimed_at IS NULL
     AND NOT EXISTS (SELECT FROM outbox x WHERE x.kind = 'stk_push' AND x.done_at IS NULL
                     AND x.arguments->>'charge_id' = c.id::text))
)
"""

_FOOTPRINT = """
SELECT json_build_object(
    'turns', (SELECT sum(turn) FROM conversations),
    'members', (SELECT count(*) FROM members),
    'lines', (SELECT json_agg(json_build_array(id, quantity_milli) ORDER BY id) FROM lines),
    'orders', (SELECT json_agg(json_build_array(id, state) ORDER BY id) FROM orders),
    'charges', (SELECT json_agg(json_build_array(id, state) ORDER BY id) FROM charges),
    'outbox', (SELECT count(*) FROM outbox WHERE kind NOT LIKE '%_screen'),
    'screens', (SELECT count(*) FROM outbox WHERE kind LIKE '%_screen'),
    'deliveries', (SELECT json_agg(json_build_array(order_id, generation, tries) ORDER BY order_id)
                   FROM deliveries),
    'reductions', (SELECT json_agg(json_build_array(id, state) ORDER BY id) FROM reductions),
    'trips', (SELECT json_agg(json_build_array(id, came_milli, behind_milli) ORDER BY id)
              FROM lines),
    'disputes', (SELECT json_agg(json_build_array(id, state) ORDER BY id) FROM disputes),
    'verdicts', (SELECT count(*) FROM verdicts),
    'deals', (SELECT json_agg(json_build_array(id, state) ORDER BY id) FROM deals),
    'evidence', (SELECT count(*) FROM evidence),
    'cases', (SELECT count(*) FROM cases),
    'prices', (SELECT sum(price_cents) FROM offers),
    'stock', (SELECT sum(on_hand_milli) FROM stock),
    'entries', (SELECT count(*) FROM entries)
)
"""
