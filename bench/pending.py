"""Pending: checkouts whose push was taken, by the ten thousand, and what M-Pesa says of them.

One checkout of every offer is placed by our own verbs; the others are copies of its rows under new
keys, each another buyer's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import psycopg

from core import carts, charges, checkouts, order_book
from core.charges import PushAnswer
from core.database import Database, Db
from core.rules import Rules

DAY: Final = timedelta(days=1)  # to pay: nothing here may be late

_OFFERS = """
    SELECT buyer.id AS buyer_id, buyer.msisdn, offer.id AS offer_id,
           offer.minimum_milli AS quantity_milli
    FROM (SELECT id, msisdn, row_number() OVER (ORDER BY msisdn) AS place
          FROM members WHERE NOT is_seller) AS buyer
    JOIN (SELECT id, minimum_milli, row_number() OVER (ORDER BY id) AS place FROM offers) AS offer
      USING (place)
    ORDER BY place
"""
# A line a copy: the new keys, and the first one it is a copy of. No two share the phone that pays:
# while there are members whose phone is not asked yet it is the buyer's own, then some other's.
_COPIES = """
    CREATE TEMPORARY TABLE copies AS
    WITH buyers AS MATERIALIZED (
        SELECT id, msisdn, row_number() OVER (ORDER BY msisdn) - 1 AS place
        FROM members WHERE NOT is_seller
    ), firsts AS (
        SELECT id, row_number() OVER (ORDER BY id) - 1 AS place
        FROM unnest(%(firsts)s::uuid[]) AS id
    ), numbers AS MATERIALIZED (
        SELECT n, n %% among AS buyer_place, n %% first_count AS first_place,
               n >= first_count AND n < among AS is_own
        FROM generate_series(1, %(count)s) AS n,
            (SELECT count(*) AS among FROM buyers) AS b,
            (SELECT count(*) AS first_count FROM firsts) AS f
    )
    SELECT n, gen_random_uuid() AS checkout_id, gen_random_uuid() AS order_id,
           gen_random_uuid() AS charge_id, b.id AS buyer_id,
           CASE WHEN is_own THEN b.msisdn ELSE '+2541' || lpad(n::text, 8, '0') END AS msisdn,
           f.id AS first_id
    FROM numbers
    JOIN firsts f ON f.place = first_place
    JOIN buyers b ON b.place = buyer_place
"""
# What is new in the copy of each table's row; all else is as it was.
_NEW: Final = {
    "checkouts": ("t.id = c.first_id", "'id', c.checkout_id, 'buyer_id', c.buyer_id"),
    "orders": (
        "t.checkout_id = c.first_id",
        "'id', c.order_id, 'checkout_id', c.checkout_id, 'buyer_id', c.buyer_id,"
        " 'number', 10000000 + c.n",
    ),
    "lines": (
        "t.checkout_id = c.first_id",
        "'id', gen_random_uuid(), 'checkout_id', c.checkout_id, 'order_id', c.order_id",
    ),
    "reservations": (
        "t.checkout_id = c.first_id",
        "'id', gen_random_uuid(), 'checkout_id', c.checkout_id, 'order_id', c.order_id",
    ),
    "escrows": (
        "t.order_id = (SELECT id FROM orders WHERE checkout_id = c.first_id)",
        "'order_id', c.order_id",
    ),
    "charges": (
        "t.checkout_id = c.first_id",
        "'id', c.charge_id, 'checkout_id', c.checkout_id, 'msisdn', c.msisdn,"
        " 'reference', 'B' || c.n, 'push_id', 'ws_CO_' || c.n,"
        " 'token_hash', '\\x' || encode(sha256(c.charge_id::text::bytea), 'hex')",
    ),
}
# As M-Pesa says it after the PIN.
_SAID = """
    SELECT c.n, c.charge_id, jsonb_build_object('Body', jsonb_build_object('stkCallback',
        jsonb_build_object(
            'MerchantRequestID', t.push_group_id, 'CheckoutRequestID', t.push_id,
            'ResultCode', 0, 'ResultDesc', 'The service request is processed successfully.',
            'CallbackMetadata', jsonb_build_object('Item', jsonb_build_array(
                jsonb_build_object('Name', 'Amount', 'Value', t.amount_cents / 100),
                jsonb_build_object('Name', 'MpesaReceiptNumber',
                                   'Value', 'B' || lpad(c.n::text, 9, '0')),
                jsonb_build_object('Name', 'TransactionDate', 'Value', 20261121120000),
                jsonb_build_object('Name', 'PhoneNumber',
                                   'Value', ltrim(t.msisdn, '+')::bigint)))))
        )::text AS body
    FROM copies c JOIN charges t ON t.id = c.charge_id
"""
_KEPT = f"""
    INSERT INTO inbox (id, source, key, body_hash, body, headers, peer, received_at)
    SELECT gen_random_uuid(), 'stk', charge_id::text, sha256(convert_to(body, 'UTF8')),
           convert_to(body, 'UTF8'), '{{}}', '127.0.0.1', now() + n * interval '1 microsecond'
    FROM ({_SAID}) AS said WHERE n <= %(count)s
"""
_DUE = """
    INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
    SELECT gen_random_uuid(), 'settle_inbox', jsonb_build_object('inbox_id', id), received_at, 0,
           received_at
    FROM inbox WHERE processed_at IS NULL
"""


@dataclass(frozen=True)
class Callback:
    """What M-Pesa posts, and where."""

    path: str
    body: bytes


@dataclass(frozen=True)
class _Offer:
    buyer_id: UUID
    msisdn: str
    offer_id: UUID
    quantity_milli: int


def put(url: str, waiting: int, to_come: int, rules: Rules) -> Sequence[Callback]:
    """In a fresh market so many callbacks wait in the inbox; the others are still to be posted.

    Each is of a checkout of its own that waits for it.
    """
    firsts = _place(url, rules)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_COPIES, {"count": waiting + to_come, "firsts": firsts})
        for table, (same, new) in _NEW.items():
            connection.execute(
                f"""
                INSERT INTO {table}
                SELECT (jsonb_populate_record(t, jsonb_build_object({new}))).*
                FROM copies c JOIN {table} t ON {same}
                """
            )
        connection.execute(_KEPT, {"count": waiting})
        connection.execute(_DUE)
        said = connection.execute(f"SELECT * FROM ({_SAID}) AS said WHERE n > {waiting}").fetchall()
        callbacks = []
        for _, charge_id, body in said:
            token = charges._token(charge_id, rules)
            connection.execute(
                "UPDATE charges SET token_hash = %s WHERE id = %s",
                [sha256(token.encode()).digest(), charge_id],
            )
            callbacks.append(Callback(f"/payments/stk/{token}", body.encode()))
        connection.execute("VACUUM (ANALYZE)")
    return callbacks


def _place(url: str, rules: Rules) -> list[UUID]:
    """A checkout of each offer, its push taken; their ids. What else they set in motion is off."""
    database = Database(url, size=1)
    try:
        with database.begin(seconds=60) as db:
            found = [_place_one(db, offer, database, rules) for offer in db.rows(_Offer, _OFFERS)]
            db.run("UPDATE outbox SET done_at = %(now)s", {"now": database.clock()})
            later = {"later": database.clock() + DAY}
            db.run("UPDATE checkouts SET pay_by = %(later)s WHERE state = 'placed'", later)
            db.run("UPDATE orders SET pay_by = %(later)s WHERE state = 'placed'", later)
            db.run("UPDATE reservations SET until = %(later)s WHERE state = 'live'", later)
        return found
    finally:
        database.close()


def _place_one(db: Db, offer: _Offer, database: Database, rules: Rules) -> UUID:
    now = database.clock()
    added = carts.add(db, offer.buyer_id, offer.offer_id, offer.quantity_milli, None, now)
    assert added == "added", f"an offer of the market is {added}"
    total_cents = carts.read(db, offer.buyer_id, "en").total_cents
    placed = checkouts.place(db, offer.buyer_id, offer.msisdn, total_cents, rules, now)
    assert placed == "placed", f"a checkout of the market is {placed}"
    checkout_id = order_book.unpaid(db, offer.buyer_id)[-1].checkout_id
    (charge,) = charges.of_checkout(db, checkout_id)
    assert charges.claim_for_push(db, charge.id, rules, now) is not None, "the push is not wanted"
    taken = PushAnswer("accepted", f"ws_CO_{charge.id}", f"group-{charge.id}", "0")
    charges.record_push(db, charge.id, taken, now)
    return checkout_id
