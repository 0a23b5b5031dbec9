"""Parts: what must hold of each order however much of it came, in whatever trips, for tests."""

from typing import Final, LiteralString

# Of an order o with its escrow e: what is not as it must be. Its seller has what came, its buyer
# what did not, and the fee is that of all that he has; v is the verdict that divided it, if one.
WRONG_ESCROWS: Final[LiteralString] = """
    SELECT count(*) FROM orders o LEFT JOIN escrows e ON e.order_id = o.id
    LEFT JOIN disputes d ON d.order_id = o.id AND d.state IN ('resolved_buyer', 'resolved_split')
    LEFT JOIN verdicts v ON v.dispute_id = d.id AND v.state = 'carried_out',
    LATERAL (
        SELECT CASE WHEN o.accept_by IS NULL THEN 0
                    WHEN o.state IN ('refunded', 'split') THEN o.came_cents + v.seller_cents
                    WHEN o.state = 'completed' THEN o.total_cents - o.reduced_cents
                    WHEN o.state = 'cancelled' THEN 0
                    ELSE o.came_cents END AS cents) AS gross,
    LATERAL (
        SELECT (round(o.fee_cents::numeric * gross.cents / (o.total_cents * 100)) * 100)::bigint
            AS cents) AS fee
    WHERE jsonb_build_array(e.state, e.captured_cents, e.released_cents, e.refunded_cents,
                            e.fee_cents)
        IS DISTINCT FROM jsonb_build_array(
            CASE WHEN o.accept_by IS NULL THEN 'none'
                 WHEN o.state IN ('paid', 'accepted', 'dispatched', 'delivered') THEN 'held'
                 WHEN o.state = 'disputed' THEN 'frozen' ELSE 'settled' END,
            CASE WHEN o.accept_by IS NULL THEN 0 ELSE o.total_cents END,
            gross.cents - fee.cents,
            CASE WHEN o.accept_by IS NULL THEN 0
                 WHEN o.state = 'cancelled' THEN o.total_cents
                 WHEN o.state IN ('refunded', 'split') THEN o.reduced_cents + v.buyer_cents
                 ELSE o.reduced_cents END,
            fee.cents)"""

# Of a line l of an order o: its reservation and what left the stock for it.
WRONG_LINES: Final[LiteralString] = """
    SELECT count(*) FROM orders o JOIN lines l ON l.order_id = o.id
    LEFT JOIN reservations r ON r.order_id = o.id AND r.offer_id = l.offer_id,
    LATERAL (
        SELECT CASE
            WHEN o.state IN ('paid', 'accepted')
                THEN l.quantity_milli - l.reduced_milli - l.came_milli
            WHEN o.state IN ('dispatched', 'delivered', 'disputed') THEN l.behind_milli
            ELSE 0 END AS milli) AS to_be_sent,
    LATERAL (
        SELECT CASE
            WHEN o.state IN ('placed', 'paid', 'accepted', 'expired', 'cancelled')
              OR o.state = 'completed' AND o.reduced_cents + o.came_cents = o.total_cents
                THEN l.came_milli
            ELSE l.quantity_milli - l.reduced_milli - l.behind_milli END
            + (SELECT coalesce(sum(x.from_milli - x.to_milli), 0) FROM reductions x
               WHERE x.line_id = l.id AND x.kind = 'less_came' AND x.state = 'agreed')
            AS milli) AS sent
    WHERE sent.milli <> -(
            SELECT coalesce(sum(m.quantity_milli), 0) FROM stock_movements m
            WHERE m.order_id = o.id AND m.offer_id = l.offer_id AND m.kind = 'dispatched')
       OR CASE
            WHEN o.state = 'placed'
                THEN jsonb_build_array(r.state, r.quantity_milli)
                     IS DISTINCT FROM jsonb_build_array('live', l.quantity_milli)
            WHEN to_be_sent.milli > 0
                THEN jsonb_build_array(r.state, r.quantity_milli)
                     IS DISTINCT FROM jsonb_build_array('allocated', to_be_sent.milli)
            WHEN sent.milli = 0 THEN r.state IS DISTINCT FROM 'released'
            ELSE coalesce(r.state, '') NOT IN ('released', 'consumed') END"""

# Of an order o: what its columns say of its parts is what its lines and its reductions say.
WRONG_SUMS: Final[LiteralString] = """
    SELECT count(*) FROM orders o,
    LATERAL (
        SELECT coalesce(sum(round(price_cents * came_milli / 100000.0) * 100), 0)::bigint AS came,
               coalesce(sum(amount_cents - round(price_cents * (quantity_milli - reduced_milli)
                                                 / 100000.0) * 100), 0)::bigint AS off
        FROM lines WHERE order_id = o.id) AS l,
    LATERAL (
        SELECT coalesce(sum(refund_cents), 0)::bigint AS agreed FROM reductions
        WHERE order_id = o.id AND state = 'agreed') AS r
    WHERE l.off <> r.agreed OR l.came <> o.came_cents
       OR o.reduced_cents <> CASE
            WHEN o.state = 'completed' AND o.came_cents > 0
             AND o.reduced_cents + o.came_cents = o.total_cents
                THEN o.total_cents - o.came_cents
            ELSE r.agreed END"""

# A reduction is open only while its order stands where it says, and then somebody's time runs.
WRONG_REDUCTIONS: Final[LiteralString] = """
    SELECT count(*) FROM reductions r JOIN orders o ON o.id = r.order_id
    WHERE r.state = 'open' AND (
        o.state <> ALL(CASE r.kind WHEN 'short' THEN ARRAY['paid', 'accepted']
                                   ELSE ARRAY['dispatched', 'delivered'] END)
        OR r.kind = 'less_came' AND NOT EXISTS (
            SELECT FROM outbox x WHERE x.done_at IS NULL AND x.kind = 'less_came_deadline'
               AND x.arguments = jsonb_build_object('reduction_id', r.id)))"""
