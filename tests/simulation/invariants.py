"""What must hold after every step, and at the end of every day, whatever befell anybody."""

from typing import Final, LiteralString

from core import stock
from tests.core import parts
from tests.simulation.town import (
    ALONE_A_DAY_CENTS,
    AUTOMATIC_CENTS,
    B2C_UTILITY,
    C2B_UTILITY,
    DECIDED_ALONE_CENTS,
    RESOLVED_ALONE_CENTS,
    Town,
)


def _rows(counted: LiteralString) -> LiteralString:
    """What another suite counts, to be asked whether there is any."""
    return counted.replace("SELECT count(*)", "SELECT", 1)


# Of a payout: M-Pesa was called, and has not said yet what became of it.
_SENT: Final = "p.state IN ('submitting', 'accepted', 'unknown')"

# What each kind of transfer debits, and what it credits. A difference may be booked anywhere.
_LEGS: Final = {
    "capture": ("A.c2b L.buyer", "L.escrow L.buyer"),
    "part": ("A.c2b", "L.buyer"),
    "receipt": ("A.c2b L.suspense", "L.suspense L.buyer"),
    "release": ("L.escrow", "L.seller R.fee"),
    "refund": ("L.escrow", "L.buyer"),
    "decision": ("L.escrow", "L.buyer L.seller R.fee"),
    "payout": ("L.buyer L.seller", "L.out"),
    "payout_failed": ("L.out", "L.buyer L.seller"),
    "payout_reopened": ("L.buyer L.seller E.loss", "L.out"),
    "paid": ("L.out E.mcharges", "A.b2c A.c2b L.mcharges"),
    "float_move": ("A.transit", "A.c2b"),
    "float_arrived": ("A.b2c", "A.transit"),
    "float_failed": ("A.c2b", "A.transit"),
    "capital": ("A.c2b A.b2c", "Q.capital"),
    "charges": ("L.mcharges", "A.c2b A.b2c"),
    "fees": ("A.bank", "A.c2b"),
}
_FITTING: Final = ", ".join(
    f"'{kind} {side} {account}'"
    for kind, sides in _LEGS.items()
    for side, accounts in zip(("debits", "credits"), sides, strict=True)
    for account in accounts.split()
)

# What one of ours decided of other people's money, and nobody else agreed to.
_ALONE: Final = """
    SELECT id, decided_by AS who, decided_at AS at, buyer_cents + seller_cents AS cents
    FROM verdicts WHERE state = 'carried_out' AND approved_by IS NULL
    UNION ALL
    SELECT id, decided_by, decided_at, abs(gap_cents)
    FROM resolutions WHERE state = 'carried_out' AND approved_by IS NULL"""

# Each condition finds what is broken. Only what one statement can see: it is asked after each step.
ALWAYS: Final = {
    "I1 each transfer sums to zero": """
        SELECT FROM transfers t LEFT JOIN entries e ON e.transfer_id = t.id
        GROUP BY t.id HAVING count(e.id) < 2 OR sum(e.amount_cents) <> 0""",
    "each transfer moves between the accounts of its kind": f"""
        SELECT FROM entries e JOIN transfers t ON t.id = e.transfer_id
        JOIN accounts a ON a.id = e.account_id
        WHERE t.kind <> 'difference' AND concat_ws(
            ' ', t.kind, CASE WHEN e.amount_cents > 0 THEN 'debits' ELSE 'credits' END, a.kind)
            NOT IN ({_FITTING})""",
    "I2 no account of other people's money and no float is below zero": """
        SELECT FROM folds WHERE kind LIKE 'L.%%' AND debit_cents > 0
                             OR kind LIKE 'A.%%' AND debit_cents < 0""",
    "I3 the escrow accounts hold what the escrows say": """
        SELECT FROM folds WHERE kind = 'L.escrow' HAVING coalesce(-sum(debit_cents), 0) <> (
            SELECT coalesce(sum(captured_cents - released_cents - refunded_cents - fee_cents), 0)
            FROM escrows)""",
    "I4 no escrow gives more than it took, and all of it when it is settled": """
        SELECT FROM escrows
        WHERE released_cents + refunded_cents + fee_cents > captured_cents
           OR (released_cents + refunded_cents + fee_cents <> captured_cents
               AND state = 'settled')""",
    "I5 each receipt is booked once": """
        SELECT FROM entries e JOIN transfers t ON t.id = e.transfer_id
        JOIN accounts a ON a.id = e.account_id
        WHERE t.kind IN ('capture', 'part', 'receipt') AND a.kind = 'A.c2b'
        HAVING coalesce(sum(e.amount_cents), 0) <>
            (SELECT coalesce(sum(amount_cents), 0) FROM receipts)
            + (SELECT coalesce(sum(amount_cents), 0) FROM charges
               WHERE state IN ('paid', 'reversed') AND receipt IS NULL)""",
    "I5 suspense holds what nobody has explained": """
        SELECT FROM folds WHERE kind = 'L.suspense' HAVING coalesce(-sum(debit_cents), 0) <> (
            SELECT coalesce(sum(amount_cents), 0) FROM receipts
            WHERE charge_id IS NULL AND outcome NOT IN ('reversed', 'returned'))""",
    "I6 a paid charge is captured once, by itself or as a part": """
        SELECT FROM charges c WHERE (c.state IN ('paid', 'reversed')) <> EXISTS (
            SELECT FROM transfers t
            WHERE t.key IN ('capture:' || c.id, 'capture:' || c.id || ':part'))
        UNION ALL
        SELECT FROM checkouts k JOIN charges c ON c.checkout_id = k.id
        JOIN transfers t ON t.key = 'capture:' || c.id
        JOIN entries e ON e.transfer_id = t.id
        JOIN accounts a ON a.id = e.account_id AND a.kind = 'L.escrow'
        GROUP BY k.id HAVING count(DISTINCT t.id) > 1""",
    "I6 what only another phone had paid goes back to no other": """
        SELECT FROM payouts p JOIN members m ON m.id = p.member_id
        WHERE p.kind = 'refund' AND p.requested_by = 'system' AND p.msisdn = m.msisdn
          AND NOT EXISTS (SELECT FROM explanations x
                          WHERE x.member_id = m.id AND x.state = 'booked')
          AND NOT EXISTS (
            SELECT FROM checkouts k JOIN charges c ON c.checkout_id = k.id
            LEFT JOIN receipts r ON r.charge_id = c.id
            WHERE k.buyer_id = m.id AND (c.state IN ('paid', 'reversed') OR r.receipt IS NOT NULL)
              AND (c.msisdn = m.msisdn OR r.receipt <> c.receipt OR c.receipt IS NULL
                   OR EXISTS (SELECT FROM number_changes n
                              WHERE n.state = 'done' AND n.from_msisdn = c.msisdn)
                   OR NOT EXISTS (SELECT FROM charge_codes x
                                  WHERE x.charge_id = c.id AND x.meaning = 'paid'
                                    AND x.at <= p.created_at)))""",
    "I6 a paid payout leaves a float once": """
        SELECT FROM payouts p
        LEFT JOIN transfers t ON t.kind = 'paid' AND t.key LIKE 'payout:' || p.id || ':paid%%'
        LEFT JOIN entries e ON e.transfer_id = t.id AND e.account_id IN (
            SELECT id FROM accounts WHERE kind IN ('A.b2c', 'A.c2b'))
        GROUP BY p.id HAVING coalesce(-sum(e.amount_cents), 0) <>
            CASE p.state WHEN 'paid' THEN p.amount_cents ELSE 0 END""",
    "I7 money is in flight exactly while its payout is": """
        SELECT FROM payouts p LEFT JOIN folds f ON f.kind = 'L.out' AND f.owner_id = p.id
        WHERE coalesce(-f.debit_cents, 0) <>
            CASE WHEN p.state IN ('paid', 'failed') THEN 0 ELSE p.amount_cents END""",
    "I8 an escrow is frozen exactly while a dispute is open": """
        SELECT FROM orders o JOIN escrows e ON e.order_id = o.id
        WHERE (e.state = 'frozen') <> EXISTS (
            SELECT FROM disputes d WHERE d.order_id = o.id
               AND d.state IN ('open', 'seller_reply', 'review'))""",
    "I9 what was paid stays paid": """
        SELECT FROM transfers t
        JOIN charges c ON t.key IN ('capture:' || c.id, 'capture:' || c.id || ':part')
        WHERE c.state NOT IN ('paid', 'reversed')
        UNION ALL
        SELECT FROM transfers t JOIN payouts p ON t.key = 'payout:' || p.id || ':paid'
        WHERE p.state <> 'paid'""",
    "I9 what M-Pesa gave back is booked once, and its charge says so": """
        SELECT FROM receipts r
        LEFT JOIN statement_lines l ON l.linked_receipt = r.receipt AND l.source = 'statement'
        LEFT JOIN transfers t ON t.kind = 'difference' AND t.key LIKE l.movement || ':%%'
        WHERE r.outcome = 'reversed' GROUP BY r.receipt HAVING count(DISTINCT t.id) <> 1
        UNION ALL
        SELECT FROM charges c JOIN receipts r ON r.receipt = c.receipt
        WHERE (c.state = 'reversed') <> (r.outcome = 'reversed')""",
    "I12 no more is promised than there is": f"""
        SELECT FROM stock s WHERE {stock.AVAILABLE_MILLI} < 0""",
    "I12 stock is the sum of its movements": """
        SELECT FROM stock s WHERE on_hand_milli <> (
            SELECT sum(quantity_milli) FROM stock_movements m WHERE m.offer_id = s.offer_id)""",
    "I12 what is allocated is what paid orders were allocated": """
        SELECT FROM stock s WHERE allocated_milli <> coalesce((
            SELECT sum(quantity_milli) FROM reservations r
            WHERE r.offer_id = s.offer_id AND r.state = 'allocated'), 0)""",
    "I12 each line is promised, allocated, gone or free as its order says": _rows(
        parts.WRONG_LINES
    ),
    "I16 cached balances are the sum of their entries": """
        SELECT FROM folds WHERE balance_cents IS NOT NULL AND balance_cents <> -debit_cents
        UNION ALL
        SELECT FROM ledger_marks m LEFT JOIN entries e
            ON e.account_id = m.account_id AND e.id < m.before_id
        GROUP BY m.account_id HAVING m.amount_cents <> coalesce(sum(e.amount_cents), 0)""",
    "I17 the fee is rounded once, of all that the seller got": """
        SELECT FROM orders o JOIN escrows e ON e.order_id = o.id
        WHERE o.fee_cents <> (o.total_cents * 250 + 500000) / 1000000 * 100
           OR e.fee_cents <> (2 * o.fee_cents * (e.released_cents + e.fee_cents)
                              + o.total_cents * 100) / (2 * o.total_cents * 100) * 100""",
    "I17 the fees are what the escrows gave": """
        SELECT FROM folds WHERE kind = 'R.fee' HAVING coalesce(-sum(debit_cents), 0) <>
            (SELECT coalesce(sum(fee_cents), 0) FROM escrows)""",
    "I19 each change of an order is told once": """
        SELECT FROM orders o LEFT JOIN order_events v ON v.order_id = o.id AND v.kind = o.state
        WHERE o.state IN ('paid', 'accepted', 'completed', 'cancelled', 'expired', 'refunded',
                          'split')
        GROUP BY o.id HAVING count(v.id) < 1
            OR count(v.id) > 1 AND o.came_cents = 0""",  # accepted again for the rest of it
    "I19 each change of an order is told to each once": """
        SELECT FROM messages
        WHERE trigger IN ('placed', 'paid', 'refused', 'cancelled', 'completed', 'refunded',
                          'split', 'expired', 'dispatch_missed', 'accept_missed')
        GROUP BY trigger, order_id, member_id HAVING count(*) > 1""",
    "I19 each payout that was paid is told of once": """
        SELECT FROM messages WHERE trigger IN ('payout_paid', 'refund_paid')
        HAVING count(*) <> (SELECT count(*) FROM payouts WHERE state = 'paid')""",
    "I13 no order is forgotten": """
        SELECT FROM orders o
        WHERE o.state IN ('paid', 'accepted', 'dispatched', 'delivered')
          AND NOT EXISTS (
            SELECT FROM outbox x WHERE x.done_at IS NULL
              AND x.arguments = jsonb_build_object('order_id', o.id)
              AND x.kind = CASE o.state
                WHEN 'paid' THEN 'accept_deadline' WHEN 'accepted' THEN 'dispatch_deadline'
                WHEN 'dispatched' THEN 'delivery_deadline' ELSE 'inspection_over' END)
          AND NOT EXISTS (SELECT FROM reductions r WHERE r.order_id = o.id
                            AND r.state = 'open' AND r.kind = 'less_came')
          AND NOT EXISTS (SELECT FROM incidents i WHERE i.kind = 'delivery_silent'
                            AND i.subject = o.id::text)""",
    "I13 whoever says that less came is answered, or the clock answers": _rows(
        parts.WRONG_REDUCTIONS
    ),
    "I17 the parts of an order add up to it": _rows(parts.WRONG_SUMS),
    "I13 no dispute is forgotten": """
        SELECT FROM disputes d
        WHERE d.state IN ('open', 'seller_reply', 'review') AND NOT EXISTS (
            SELECT FROM outbox x WHERE x.done_at IS NULL
              AND x.arguments = jsonb_build_object('dispute_id', d.id)
              AND x.kind = CASE d.state WHEN 'review' THEN 'decision_deadline'
                                        ELSE 'answer_deadline' END)""",
    "I13 no checkout is forgotten": """
        SELECT FROM checkouts k WHERE k.state = 'placed' AND NOT EXISTS (
            SELECT FROM outbox x WHERE x.done_at IS NULL AND x.kind = 'expire_checkout'
              AND x.arguments = jsonb_build_object('checkout_id', k.id))""",
    "I13 no charge is forgotten": """
        SELECT FROM charges c
        WHERE c.state IN ('created', 'pending', 'unknown') AND NOT EXISTS (
            SELECT FROM outbox x WHERE x.done_at IS NULL
              AND x.arguments = jsonb_build_object('charge_id', c.id)
              AND x.kind = CASE WHEN c.claimed_at IS NULL THEN 'stk_push'
                                ELSE 'query_charge' END)
          AND NOT EXISTS (SELECT FROM incidents i WHERE i.closed_at IS NULL
                            AND i.kind = 'charge_unanswered' AND i.subject = c.id::text)""",
    "I13 no payout is forgotten": """
        SELECT FROM payouts p
        WHERE p.state IN ('approved', 'submitting', 'accepted', 'unknown')
          AND p.waits_for IS NULL AND NOT EXISTS (
            SELECT FROM outbox x WHERE x.done_at IS NULL
              AND x.arguments = jsonb_build_object('payout_id', p.id)
              AND x.kind = CASE p.state WHEN 'approved' THEN 'submit_payout'
                                        ELSE 'query_payout' END)
          AND NOT EXISTS (SELECT FROM incidents i WHERE i.closed_at IS NULL AND (
            i.kind = 'payouts_halted' OR i.kind = 'payout_unanswered' AND i.subject = p.id::text))
        """,
    "I13 nothing that came is left unread": """
        SELECT FROM inbox i WHERE i.processed_at IS NULL AND NOT EXISTS (
            SELECT FROM outbox x WHERE x.done_at IS NULL AND x.kind = 'settle_inbox'
              AND x.arguments = jsonb_build_object('inbox_id', i.id))""",
    "I20 no phone is asked twice at once": """
        SELECT FROM charges WHERE state IN ('created', 'pending', 'unknown')
        GROUP BY msisdn HAVING count(*) > 1""",
    "I21 the floats cover all that is other people's": """
        SELECT FROM folds
        WHERE kind IN ('A.c2b', 'A.b2c', 'A.transit', 'L.escrow', 'L.buyer', 'L.seller', 'L.out',
                       'L.suspense')
        HAVING coalesce(sum(debit_cents), 0) < 0""",
    # What holds money back. A call and a word of ours at the same moment may come in any order.
    "nothing is sent while its member is frozen": f"""
        SELECT FROM payouts p JOIN freezes f ON f.member_id = p.member_id
        WHERE {_SENT} AND f.frozen_at < p.claimed_at
          AND (f.lifted_at IS NULL OR f.lifted_at > p.claimed_at)""",
    "nothing is sent to a number that its owner has left": f"""
        SELECT FROM payouts p JOIN number_changes n ON n.from_msisdn = p.msisdn
        WHERE {_SENT} AND n.state = 'done'
          AND n.ended_at >= p.created_at AND n.ended_at < p.claimed_at""",
    "nobody is asked for money at a number that its owner has left": """
        SELECT FROM charges c JOIN number_changes n ON n.from_msisdn = c.msisdn
        WHERE n.state = 'done' AND n.ended_at >= c.created_at AND n.ended_at < c.claimed_at""",
    "nothing is sent while a number or a PIN is new": f"""
        SELECT FROM payouts p JOIN number_changes n ON n.to_msisdn = p.msisdn
        WHERE {_SENT} AND p.kind <> 'reversal' AND n.state = 'done'
          AND n.ended_at < p.claimed_at AND n.ended_at + interval '24 hours' > p.claimed_at
        UNION ALL
        SELECT FROM payouts p JOIN members m ON m.id = p.member_id AND m.msisdn = p.msisdn
        JOIN pin_resets r ON r.member_id = m.id
        WHERE {_SENT} AND p.kind <> 'reversal' AND r.state = 'used'
          AND r.ended_at < p.claimed_at AND r.ended_at + interval '24 hours' > p.claimed_at""",
    "nothing is sent to a line that nobody asked about, or that got another SIM": f"""
        SELECT FROM payouts p LEFT JOIN LATERAL (
            SELECT c.outcome, c.swapped_on FROM sim_checks c
            WHERE c.msisdn = p.msisdn AND c.ended_at <= p.claimed_at
              AND c.ended_at > p.claimed_at - interval '15 minutes'
            ORDER BY c.ended_at DESC LIMIT 1) AS last ON true
        WHERE {_SENT} AND p.kind <> 'reversal' AND (
            last.outcome IS NULL OR p.approved_by = 'automatic'
            AND last.swapped_on > p.claimed_at::date - 13)""",
    "nobody lets go, decides or changes what is their own": """
        SELECT FROM staff s
        JOIN LATERAL (
            SELECT id FROM members WHERE msisdn = s.msisdn
            UNION SELECT member_id FROM number_changes
            WHERE state = 'done' AND from_msisdn = s.msisdn) AS own ON true
        WHERE EXISTS (SELECT FROM payouts p
                      WHERE p.approved_by = s.name AND p.member_id = own.id)
           OR EXISTS (SELECT FROM verdicts v JOIN disputes d ON d.id = v.dispute_id
                      JOIN orders o ON o.id = d.order_id
                      WHERE s.id IN (v.decided_by, v.approved_by)
                        AND own.id IN (o.buyer_id, o.seller_id))
           OR EXISTS (SELECT FROM pin_resets r
                      WHERE s.id IN (r.proposed_by, r.decided_by) AND r.member_id = own.id
                        AND r.state <> 'declined')
           OR EXISTS (SELECT FROM number_changes n
                      WHERE s.id IN (n.proposed_by, n.decided_by) AND n.member_id = own.id
                        AND n.state <> 'declined')
           OR EXISTS (SELECT FROM explanations x
                      WHERE s.id IN (x.proposed_by, x.decided_by) AND x.member_id = own.id
                        AND x.state <> 'declined')
           OR EXISTS (SELECT FROM freezes f
                      WHERE f.lifted_by = s.name AND f.member_id = own.id)""",
    "what is much leaves by two people's word": f"""
        SELECT FROM payouts p JOIN payouts q ON q.member_id = p.member_id
        WHERE p.approved_by = 'automatic' AND q.approved_by = 'automatic'
          AND p.state <> 'failed' AND q.state <> 'failed'
          AND coalesce(p.sim_swapped_on, q.sim_swapped_on) IS NULL
          AND q.created_at <= p.created_at AND q.created_at > p.created_at - interval '24 hours'
          AND NOT EXISTS (SELECT FROM incidents i WHERE i.kind = 'paid_after_failure'
                            AND i.subject IN (p.id::text, q.id::text))
        GROUP BY p.id HAVING sum(q.amount_cents) > {AUTOMATIC_CENTS}
        UNION ALL
        SELECT FROM verdicts v
        WHERE v.state = 'carried_out' AND v.approved_by IS NULL
          AND v.buyer_cents + v.seller_cents > {DECIDED_ALONE_CENTS}
        UNION ALL
        SELECT FROM resolutions r
        WHERE r.state = 'carried_out' AND r.approved_by IS NULL
          AND abs(r.gap_cents) > {RESOLVED_ALONE_CENTS}
        UNION ALL
        SELECT FROM ({_ALONE}) AS a JOIN ({_ALONE}) AS b
            ON b.who = a.who AND b.at <= a.at AND b.at > a.at - interval '24 hours'
        GROUP BY a.id HAVING sum(b.cents) > {ALONE_A_DAY_CENTS}""",
    "whoever lets a payout go is in the audit log": """
        SELECT FROM payouts p
        WHERE p.approved_by <> 'automatic' AND NOT EXISTS (
            SELECT FROM audit_log a WHERE a.subject = 'payout ' || p.id
              AND a.what = 'payout_approved' AND a.who = p.approved_by)""",
}

FOLDS: Final = """
    WITH folds AS MATERIALIZED (
        SELECT a.id, a.kind, a.owner_id, a.balance_cents,
               coalesce(sum(e.amount_cents), 0)::bigint AS debit_cents
        FROM accounts a LEFT JOIN entries e ON e.account_id = a.id GROUP BY a.id
    )"""

MONEY: Final = """
    SELECT coalesce(md5(string_agg(concat_ws(' ', id, amount_cents), ' ' ORDER BY id)), '')
    FROM entries"""

# At the end, when nothing is on its way any more: what is still open, and nobody looks at.
_ENDED: Final = {
    "I13 every paid order is released, refunded, split or in an open case": """
        SELECT FROM orders o JOIN escrows e ON e.order_id = o.id
        WHERE e.state IN ('held', 'frozen') AND NOT EXISTS (
            SELECT FROM incidents i WHERE i.subject = o.id::text AND i.closed_at IS NULL
              AND i.kind IN ('delivery_silent', 'disputed', 'dispute_late'))""",
    "I13 no charge is unknown for ever": """
        SELECT FROM charges c WHERE c.state IN ('created', 'pending', 'unknown')
           OR c.state = 'review' AND NOT EXISTS (
               SELECT FROM incidents i WHERE i.subject = c.id::text AND i.closed_at IS NULL)""",
    "I13 no payout is unknown for ever": """
        SELECT FROM payouts p WHERE p.state IN ('approved', 'submitting', 'accepted', 'unknown')
           OR p.state = 'requested' AND NOT EXISTS (
               SELECT FROM incidents i WHERE i.subject = p.id::text AND i.closed_at IS NULL)""",
    "I13 no checkout waits for ever": "SELECT FROM checkouts WHERE state = 'placed'",
    # An open case of a person's: a refund that could not be sent, or was not let go. What she
    # asked for herself, and could not have, she was told of: nobody else has to look.
    "I13 what came back to a buyer was sent to her, or somebody is to look": """
        SELECT FROM accounts a WHERE a.kind = 'L.buyer' AND a.balance_cents >= 1000
          AND NOT EXISTS (
            SELECT FROM payouts p JOIN incidents i ON i.subject = p.id::text
            WHERE p.member_id = a.owner_id AND p.account = 'buyer' AND i.closed_at IS NULL
              AND i.kind IN ('refund_failed', 'payout_failed_by_us', 'payout_to_approve'))
          AND NOT EXISTS (
            SELECT FROM entries e JOIN transfers t ON t.id = e.transfer_id
            JOIN payouts p ON t.key = 'payout:' || p.id || ':failed' AND p.kind = 'withdrawal'
            WHERE e.account_id = a.id AND e.id = (
                SELECT max(x.id::text)::uuid FROM entries x
                WHERE x.account_id = a.id AND x.amount_cents < 0))""",
}


def broken_at_the_end(town: Town) -> list[str]:
    """The invariants that do not hold when nothing is on its way any more."""
    with town.database.look() as db:
        found: list[str] = [
            name
            for name, sql in _ENDED.items()
            if db.value(f"SELECT EXISTS ({sql})")  # type: ignore[arg-type]
        ]
    return found + differing_books(town)


def differing_books(town: Town) -> list[str]:
    """I10, which holds whenever nothing is on its way between M-Pesa and us."""
    found = []
    with town.database.look() as db:
        for kind, name in (("A.c2b", C2B_UTILITY), ("A.b2c", B2C_UTILITY)):
            ours: int = db.value(_FLOAT, {"kind": kind})
            # What was lost, and no line of the statement proves, waits for a person as a case.
            is_known = town.lost or town.reversed
            known: int = db.value(_CASES_OPEN, {"kind": kind}) if is_known else 0
            theirs = town.world.books.balance_cents(name)
            if theirs not in (ours, ours + known):
                found.append(f"I10 {kind} is M-Pesa's: {ours} with us, {theirs} with them")
    return found


_FLOAT: Final = """
    SELECT coalesce(sum(e.amount_cents), 0)::bigint FROM entries e
    JOIN accounts a ON a.id = e.account_id WHERE a.kind = %(kind)s"""
_CASES_OPEN: Final = """
    SELECT coalesce(sum(theirs_cents - ours_cents), 0)::bigint FROM differences
    WHERE book = %(kind)s AND state = 'open' AND kind <> 'balance'"""


def broken_at_mpesa(town: Town) -> list[str]:
    """What only the pretend world can tell."""
    found = []
    if not town.world.books.audit()["balanced"]:
        found.append("I11 money is conserved in M-Pesa's books")
    pushed: dict[str, int] = {}
    for push in town.world.mpesa._pushes.values():
        pushed[push.request.reference] = pushed.get(push.request.reference, 0) + 1
    if any(times > 1 for times in pushed.values()):
        found.append("I6 each charge is pushed once at most")
    return found
