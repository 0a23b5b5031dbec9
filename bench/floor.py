"""The floor: the same journeys by hand, Flask and psycopg with nothing between, for comparison.

It reads and writes the rows the system does for these journeys, in as few statements as that takes,
and does nothing else a market needs: no page, no hint, no way back, no other basket than one line.
The lists of goods it remembers as long as the system does, and where it left each conversation, in
the plainest way there is.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from flask import Flask, Response, jsonify, request
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from werkzeug.datastructures import MultiDict

from settings import Settings, load_environment

LINES_SHOWN = 4
DAYS_AHEAD = 6
Params = list[Any] | dict[str, Any]
KEY = b"a key of the floor's"
NO_SELLER = UUID(int=0)  # these callers offer nothing themselves


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. Without settings it takes the process's own."""
    settings = settings or load_environment()
    app = Flask("floor", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["sokoni.database"] = pool = ConnectionPool(
        settings.database_url or "",
        min_size=settings.web_threads,
        kwargs={"autocommit": True},
        open=True,
    )

    listings = _Listings(timedelta(seconds=settings.listing_seconds_max))
    standing: _Standing = {}

    @app.get("/health/ready")
    def ready() -> str:
        return "ready"

    def answered(said: _Said) -> tuple[str, bool]:
        with pool.connection() as connection:  # an exception rolls back
            connection.execute("BEGIN; SET LOCAL synchronous_commit = off", prepare=False)
            screen, ends = _hop(connection.cursor(), said, settings, listings, standing)
            connection.execute("COMMIT", prepare=False)
        return screen, ends

    @app.post("/channels/ussd/africastalking/<secret>")
    def ussd(secret: str) -> tuple[str, int] | Response:
        if secret != settings.africastalking_secret.get_secret_value():
            return "", 404
        screen, ends = answered(_by_ussd(request.form))
        body = f"{'END' if ends else 'CON'} {screen}"
        return Response(body, content_type="text/plain; charset=utf-8")

    @app.post("/channels/sms/africastalking/<secret>/incoming")
    def sms(secret: str) -> tuple[str, int]:
        if secret != settings.africastalking_secret.get_secret_value():
            return "", 404
        answered(_by_sms(request.form))
        return "", 200

    @app.post("/channels/telegram/<secret>")
    def telegram(secret: str) -> tuple[str, int] | Response:
        if secret != settings.telegram_secret.get_secret_value():
            return "", 404
        if request.headers.get("X-Telegram-Bot-Api-Secret-Token") != secret:
            return "", 403
        update = json.loads(request.get_data())
        answered(_by_telegram(update))
        if "message" in update:
            return "", 200
        query_id = update["callback_query"]["id"]
        return jsonify(method="answerCallbackQuery", callback_query_id=query_id)

    return app


class _Listings:
    """The lists of goods, each as it was read at most so long ago."""

    def __init__(self, age_max: timedelta) -> None:
        self._age_max = age_max
        self._kept: dict[str, tuple[datetime, list[tuple[Any, ...]]]] = {}

    def read(
        self, cur: psycopg.Cursor[Any], of: str, sql: LiteralString, params: Params, now: datetime
    ) -> list[tuple[Any, ...]]:
        kept = self._kept.get(of)
        if kept is None or now - kept[0] >= self._age_max:
            cur.execute(sql, params, prepare=True)
            kept = self._kept[of] = (now, cur.fetchall())
        return kept[1]


@dataclass(frozen=True)
class _Said:
    """key: of this request in its session. answer: None where the conversation begins.

    wish: the kind of outbox row by which the screen is sent; "": it is the answer.
    """

    channel: str
    address: str
    session: str
    key: str
    answer: str | None
    service_code: str = ""
    length: int = 0
    wish: str = ""
    work: Mapping[str, object] = field(default_factory=dict)


def _by_ussd(form: MultiDict[str, str]) -> _Said:
    text, session = form["text"], form["sessionId"]
    answer = text.rpartition("*")[2] if text else None
    return _Said("ussd", form["phoneNumber"], session, text, answer, form["serviceCode"], len(text))


def _by_sms(form: MultiDict[str, str]) -> _Said:
    msisdn, text = form["from"], form["text"]
    answer = {"MENU": None, "BUY": "1"}.get(text, text)
    return _Said("sms", msisdn, f"sms:{msisdn}", form["id"], answer, wish="sms_screen")


def _by_telegram(update: dict[str, Any]) -> _Said:
    key, query = str(update["update_id"]), update.get("callback_query")
    chat = str((query or update)["message"]["chat"]["id"])
    answer = query["data"].partition(":")[2] if query else None
    edit = {"edit": query["message"]["message_id"]} if query else {}
    return _Said(
        "telegram",
        chat,
        f"telegram:{chat}",
        key,
        answer,
        wish="telegram_screen",
        work={"chat": chat, **edit},
    )


# The columns of a conversation and its member, by channel and address.
_Standing = dict[tuple[str, str], tuple[Any, ...]]


def _hop(
    cur: psycopg.Cursor[Any],
    said: _Said,
    settings: Settings,
    listings: _Listings,
    standing: _Standing,
) -> tuple[str, bool]:
    """The screen, and whether it is the last."""
    now = datetime.now(UTC)
    digest = hmac.digest(KEY, f"{said.session} {said.key}".encode(), "sha256")[:16]
    known = standing.pop((said.channel, said.address), None) if said.answer is not None else None
    conversation_id, msisdn, turn, frame, member_id, name, language, place_id, version, is_new = (
        known
        or _one(
            cur,
            """
            SELECT c.id, c.msisdn, c.turn, c.frame, m.id, m.name, m.language, m.place_id,
                m.ctid::text || m.xmin::text,
                NOT EXISTS (SELECT FROM hops WHERE session = %s AND digest = %s)
            FROM conversations c
            LEFT JOIN members m ON m.msisdn = c.msisdn AND m.deleted_at IS NULL
            WHERE c.channel = %s AND c.address = %s
            FOR UPDATE OF c
            """,
            [said.session, digest, said.channel, said.address],
        )
    )
    if said.answer is not None:
        body, frame = _answered(
            cur, frame, said.answer, member_id, msisdn, language, place_id, settings, listings, now
        )
    else:
        assert is_new, "a caller who comes a second time"
        body = f"Sokoni. Welcome, {name.split()[0]}.\n1 Buy\n2 My orders\n3 Account\n4 Help"
        frame = {"state": "menu"}
    wish = {
        "conversation_id": str(conversation_id),
        "digest": digest.hex(),
        "turn": turn + 1,
        "lines": body.count("\n"),
        **said.work,
    }
    cur.execute(
        _SAVE_AND_WISH if said.wish else _SAVE,
        {
            "session": said.session,
            "code": said.service_code,
            "length": said.length,
            "digest": digest,
            "language": language,
            "frame": Jsonb(frame) if frame else None,
            "open": frame is not None,
            "now": now,
            "id": conversation_id,
            "turn": turn,
            "member": member_id,
            "version": version,
            "label": frame["state"] if frame else "end",
            "screen": body,
            "work": uuid4(),
            "kind": said.wish,
            "arguments": Jsonb(wish),
        },
        prepare=True,
    )
    assert cur.rowcount == 1, "a conversation that somebody else moved"
    if frame is not None:
        place: tuple[Any, ...] = (conversation_id, msisdn, turn + 1, frame, member_id, name)
        standing[said.channel, said.address] = (*place, language, place_id, version, True)
    return body, frame is None


_MOVED = """
    moved AS (
        UPDATE conversations
        SET session = %(session)s, service_code = %(code)s, accepted_length = %(length)s,
            accepted_digest = %(digest)s, turn = turn + 1, language = %(language)s,
            frame = %(frame)s, parked = NULL, open = %(open)s, updated_at = %(now)s
        WHERE id = %(id)s AND turn = %(turn)s AND EXISTS (
            SELECT FROM members
            WHERE id = %(member)s AND ctid::text || xmin::text = %(version)s)
        RETURNING id
    )
"""
_KEPT = """
    INSERT INTO hops (session, digest, conversation_id, label, screen, ends, created_at)
    SELECT %(session)s, %(digest)s, id, %(label)s, %(screen)s, NOT %(open)s, %(now)s FROM moved
"""
_SAVE = f"WITH {_MOVED} {_KEPT}"
_SAVE_AND_WISH = f"""
    WITH {_MOVED}, kept AS ({_KEPT} RETURNING conversation_id)
    INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
    SELECT %(work)s, %(kind)s, %(arguments)s, %(now)s, 0, %(now)s FROM kept
"""


def _answered(
    cur: psycopg.Cursor[Any],
    frame: dict[str, Any],
    answer: str,
    member_id: UUID,
    msisdn: str,
    language: str,
    place_id: UUID,
    settings: Settings,
    listings: _Listings,
    now: datetime,
) -> tuple[str, dict[str, Any] | None]:
    """The next screen, and where the conversation then stands; None: it is over."""
    match frame["state"]:
        case "menu":
            _cart(cur, member_id, language)
            rows = listings.read(
                cur, f"categories {language}", _CATEGORIES, [language, NO_SELLER, now], now
            )
            return _list("What would you like?", "category", rows)
        case "category":
            category_id = UUID(frame["shown"][int(answer) - 1])
            of = f"products {category_id} {language}"
            params: Params = [language, language, NO_SELLER, now, category_id]
            rows = listings.read(cur, of, _PRODUCTS, params, now)
            return _list("Choose, or type a name.", "product", rows)
        case "product":
            product_id = UUID(frame["shown"][int(answer) - 1])
            of = f"offers {product_id} {language}"
            rows = listings.read(cur, of, _OFFERS, [language, NO_SELLER, now, product_id], now)
            return _list("Who do you buy from?", "offer", rows)
        case "offer":
            offer_id = frame["shown"][int(answer) - 1]
            product, price, unit, left, *_ = _offer(cur, UUID(offer_id), language, now)
            body = f"{product} KSh {price // 100}/{unit}. {left // 1000} left.\nHow many?\n0 Back"
            return body, {"state": "quantity", "offer": offer_id}
        case "quantity":
            offer_id = UUID(frame["offer"])
            quantity = int(answer) * 1000
            _product, _price, _unit, left, minimum = _offer(cur, offer_id, language, now)
            assert minimum <= quantity <= left, "the journey asks for what cannot be had"
            total = _add(cur, member_id, offer_id, quantity, language, now)
            body = f"It is in your basket.\nItems in your basket: 1. Total KSh {total // 100}."
            return f"{body}\n1 Pay\n2 Add more\n3 Take out\n0 Back", {"state": "cart"}
        case "cart":
            days = [now.date() + timedelta(days=ahead) for ahead in range(1, DAYS_AHEAD + 1)]
            return _list(
                "Which day shall it come?", "day", [(f"{day}", f"{day:%a %d}") for day in days]
            )
        case "day":
            day = frame["shown"][int(answer) - 1]
            total = sum(line[3] for line in _cart(cur, member_id, language))
            place, *_ = _one(cur, "SELECT name, kind, county FROM places WHERE id = %s", [place_id])
            body = f"To {place}, {day}. Pay KSh {total // 100} by M-Pesa?"
            keys = "1 This phone\n2 Another phone\n3 For another\n4 Change\n0 Back"
            return f"{body}\n{keys}", {
                "state": "confirm",
                "total": total,
                "day": day,
            }
        case "confirm":
            numbers = _place(cur, member_id, msisdn, place_id, frame, settings, now)
            return f"Order {numbers}. M-Pesa will now ask for your PIN.", None
        case state:
            raise AssertionError(f"no journey leads through {state}")


def _list(
    question: str, state: str, rows: list[tuple[Any, ...]]
) -> tuple[str, dict[str, Any] | None]:
    shown = [str(row[0]) for row in rows]
    lines = [
        f"{number} {' '.join(str(part) for part in row[1:])}" for number, row in enumerate(rows, 1)
    ]
    body = "\n".join([question, *lines[:LINES_SHOWN], "99 More", "0 Back"])
    return body, {"state": state, "shown": shown, "lines": lines}


def _cart(cur: psycopg.Cursor[Any], member_id: UUID, language: str) -> list[tuple[Any, ...]]:
    cur.execute(_CART, [language, member_id], prepare=True)
    return cur.fetchall()


def _offer(
    cur: psycopg.Cursor[Any], offer_id: UUID, language: str, now: datetime
) -> tuple[Any, ...]:
    return _one(cur, _OFFER, [language, language, now, offer_id])


def _add(
    cur: psycopg.Cursor[Any],
    member_id: UUID,
    offer_id: UUID,
    quantity: int,
    language: str,
    now: datetime,
) -> int:
    """One line into the cart; the cart's total in cents."""
    cur.execute("SET LOCAL synchronous_commit = on", prepare=False)
    (checkout_id,) = _one(
        cur,
        """
        INSERT INTO checkouts (id, buyer_id, state, total_cents, created_at, updated_at)
        VALUES (%(id)s, %(buyer)s, 'draft', 0, %(now)s, %(now)s)
        ON CONFLICT (buyer_id) WHERE state = 'draft' DO UPDATE SET updated_at = %(now)s
        RETURNING id
        """,
        {"id": uuid4(), "buyer": member_id, "now": now},
    )
    product_id, seller_id, price, *_ = _one(
        cur, _CHOICE, [now, checkout_id, checkout_id, offer_id, offer_id]
    )
    cur.execute(
        """
        INSERT INTO lines (id, checkout_id, offer_id, product_id, seller_id, quantity_milli,
                           price_cents, amount_cents, created_at, updated_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            *(uuid4(), checkout_id, offer_id, product_id, seller_id, quantity),
            *(price, price * quantity // 1000, now, now),
        ],
        prepare=True,
    )
    return int(sum(line[3] for line in _cart(cur, member_id, language)))


def _place(
    cur: psycopg.Cursor[Any],
    buyer: UUID,
    msisdn: str,
    place_id: UUID,
    frame: dict[str, Any],
    settings: Settings,
    now: datetime,
) -> str:
    """The cart of one line becomes an order; the number to show."""
    pay_by = now + timedelta(minutes=settings.reservation_minutes)
    order_id, event_id, charge_id = uuid4(), uuid4(), uuid4()
    cur.execute("SET LOCAL synchronous_commit = on", prepare=False)
    checkout_id, _open_checkouts = _one(
        cur,
        """
        SELECT id, (SELECT count(*) FROM checkouts WHERE buyer_id = %s AND state = 'placed')
        FROM checkouts WHERE buyer_id = %s AND state = 'draft' FOR NO KEY UPDATE
        """,
        [buyer, buyer],
    )
    offer_id, seller_id, quantity, _price, amount, _offered = _one(cur, _CHOSEN, [checkout_id])
    assert amount == frame["total"], "the total is not what was shown"
    cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [msisdn], prepare=True)
    (clear,) = _one(
        cur, _PERMIT, {"phone": msisdn, "checkout": checkout_id, "amount": amount, "now": now}
    )
    assert clear, "this phone cannot be asked now"
    cur.execute("SELECT FROM stock WHERE offer_id = %s FOR NO KEY UPDATE", [offer_id], prepare=True)
    (available,) = _one(
        cur, f"SELECT {_AVAILABLE} FROM stock s WHERE s.offer_id = %s", [now, offer_id]
    )
    assert available >= quantity, "sold out"
    cur.execute(
        """
        INSERT INTO orders (id, number, checkout_id, buyer_id, seller_id, state, total_cents,
                            fee_cents, pay_by, place_id, deliver_on, created_at, updated_at)
        VALUES (%s, nextval('order_numbers'), %s, %s, %s, 'placed', %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            *(order_id, checkout_id, buyer, seller_id, amount),
            *(amount * settings.fee_basis_points // 1_000_000 * 100, pay_by),
            *(place_id, date.fromisoformat(frame["day"]), now, now),
        ],
        prepare=True,
    )
    cur.execute(
        "INSERT INTO order_events (id, order_id, kind, detail, at) VALUES (%s, %s, %s, %s, %s)",
        [event_id, order_id, "placed", Jsonb({}), now],
        prepare=True,
    )
    _tell(cur, order_id, event_id, now)
    cur.execute(
        """
        WITH placed AS (
            UPDATE checkouts SET state = 'placed', total_cents = %(total)s, placed_at = %(now)s,
                                 pay_by = %(pay_by)s, updated_at = %(now)s
            WHERE id = %(checkout)s
        )
        UPDATE lines SET order_id = %(order)s, updated_at = %(now)s
        WHERE checkout_id = %(checkout)s
        """,
        {
            "total": amount,
            "now": now,
            "pay_by": pay_by,
            "checkout": checkout_id,
            "order": order_id,
        },
        prepare=True,
    )
    cur.execute(
        """
        INSERT INTO escrows (order_id, state, captured_cents, released_cents, refunded_cents,
                             fee_cents, created_at, updated_at)
        VALUES (%s, 'none', 0, 0, 0, 0, %s, %s)
        """,
        [order_id, now, now],
        prepare=True,
    )
    cur.execute(
        """
        INSERT INTO reservations (id, offer_id, checkout_id, order_id, quantity_milli, state, until,
                                  created_at, updated_at)
        VALUES (%s, %s, %s, %s, %s, 'live', %s, %s, %s)
        """,
        [uuid4(), offer_id, checkout_id, order_id, quantity, pay_by, now, now],
        prepare=True,
    )
    cur.execute(
        """
        INSERT INTO charges (id, checkout_id, msisdn, amount_cents, reference, token_hash, state,
                             query_count, created_at, updated_at)
        VALUES (%s, %s, %s, %s, %s, %s, 'created', 0, %s, %s)
        """,
        [
            *(charge_id, checkout_id, msisdn, amount, charge_id.hex[:10].upper()),
            *(sha256(charge_id.bytes).digest(), now, now),
        ],
        prepare=True,
    )
    push_at = now + timedelta(seconds=settings.push_after_seconds)
    remind_at = pay_by - timedelta(minutes=5)
    whose = {"checkout_id": str(checkout_id)}
    _put(
        cur,
        [
            ("stk_push", {"charge_id": str(charge_id)}, push_at),
            ("payment_reminder", whose, remind_at),
            ("expire_checkout", whose, pay_by),
        ],
        now,
    )
    cur.execute(
        """
        SELECT o.id, o.number, o.state, m.name, o.total_cents
        FROM orders o JOIN members m ON m.id = o.seller_id
        WHERE o.checkout_id = %s ORDER BY o.number
        """,
        [checkout_id],
        prepare=True,
    )
    return ", ".join(str(row[1]) for row in cur.fetchall())


def _tell(cur: psycopg.Cursor[Any], order_id: UUID, event_id: UUID, now: datetime) -> None:
    """The buyer's receipt, and the wish to send it."""
    number, total, pay_by, buyer_id, msisdn, _name, language, _seller = _one(
        cur,
        """
        SELECT o.number, o.total_cents, o.pay_by, b.id, b.msisdn, b.name, b.language, s.name
        FROM orders o JOIN members b ON b.id = o.buyer_id JOIN members s ON s.id = o.seller_id
        WHERE o.id = %s
        """,
        [order_id],
    )
    message_id = uuid4()
    text = f"Order {number}: pay KSh {total // 100} by M-Pesa before {pay_by:%H:%M}."
    cur.execute(
        """
        WITH told AS (
            INSERT INTO messages (id, key, trigger, class, member_id, msisdn, language, text,
                                  encoding, segments, state, attempts, maybe_twice, order_id,
                                  created_at, updated_at)
            VALUES (%s, %s, 'placed', 'receipt', %s, %s, %s, %s, 'gsm', 1, 'queued', 0, false, %s,
                    %s, %s)
        )
        INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
        VALUES (%s, 'sms', %s, %s, 0, %s)
        """,
        [
            *(message_id, f"placed:{event_id}:buyer", buyer_id, msisdn, language, text),
            *(order_id, now, now),
            *(uuid4(), Jsonb({"message_id": str(message_id)}), now, now),
        ],
        prepare=True,
    )


def _put(
    cur: psycopg.Cursor[Any], wanted: list[tuple[str, dict[str, str], datetime]], now: datetime
) -> None:
    kinds, arguments, due_ats = zip(*wanted, strict=True)
    cur.execute(
        """
        INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
        SELECT id, kind, arguments, due_at, 0, %s
        FROM unnest(%s::uuid[], %s::text[], %s::jsonb[], %s::timestamptz[])
            AS w (id, kind, arguments, due_at)
        """,
        [
            *(now, [uuid4() for _ in wanted], list(kinds)),
            *([Jsonb(one) for one in arguments], list(due_ats)),
        ],
        prepare=True,
    )


def _one(cur: psycopg.Cursor[Any], sql: LiteralString, params: Params) -> tuple[Any, ...]:
    """The row that must be there."""
    found: tuple[Any, ...] | None = cur.execute(sql, params, prepare=True).fetchone()
    assert found is not None, "a row that the journey left is not there"
    return found


_AVAILABLE = """(s.on_hand_milli - s.allocated_milli - coalesce((
    SELECT sum(r.quantity_milli) FROM reservations r
    WHERE r.offer_id = s.offer_id AND r.state = 'live' AND (r.until > %s OR EXISTS (
        SELECT FROM charges c WHERE c.checkout_id = r.checkout_id
            AND c.state IN ('created', 'pending', 'unknown')))), 0)::bigint)"""

_ON_SALE = f"""
    products p
    JOIN offers o ON o.product_id = p.id AND o.active AND o.seller_id <> %s
    JOIN members m ON m.id = o.seller_id AND m.deleted_at IS NULL
    JOIN stock s ON s.offer_id = o.id
    JOIN LATERAL (SELECT {_AVAILABLE} AS milli OFFSET 0) AS available
        ON available.milli >= o.minimum_milli
"""

_CATEGORIES = f"""
    SELECT c.id, c.names->>%s
    FROM categories c
    CROSS JOIN LATERAL (
        SELECT FROM {_ON_SALE} WHERE p.category_id = c.id AND p.active LIMIT 1
    ) AS something
    ORDER BY c.position, c.id
"""

_PRODUCTS = f"""
    SELECT p.id, p.names->>%s AS name, min(o.price_cents) / 100, p.units->%s->>'one'
    FROM {_ON_SALE}
    WHERE p.category_id = %s AND p.active
    GROUP BY p.id
    ORDER BY name, p.id
"""

_OFFERS = f"""
    SELECT o.id, m.name, o.price_cents / 100, p.units->%s->>'one'
    FROM {_ON_SALE}
    WHERE p.id = %s AND p.active
    ORDER BY o.price_cents, m.name, o.id
"""

_OFFER = f"""
    SELECT p.names->>%s, o.price_cents, p.units->%s->>'one', {_AVAILABLE}, o.minimum_milli
    FROM offers o
    JOIN products p ON p.id = o.product_id
    JOIN members m ON m.id = o.seller_id AND m.deleted_at IS NULL
    LEFT JOIN stock s ON s.offer_id = o.id
    WHERE o.id = %s AND o.active AND p.active
"""

_CART = """
    SELECT l.id, p.names->>%s, l.quantity_milli, l.amount_cents, m.name
    FROM checkouts k
    JOIN lines l ON l.checkout_id = k.id
    JOIN products p ON p.id = l.product_id
    JOIN members m ON m.id = l.seller_id
    WHERE k.buyer_id = %s AND k.state = 'draft'
    ORDER BY l.created_at, l.id
"""

_CHOICE = f"""
    SELECT o.product_id, o.seller_id, o.price_cents, o.minimum_milli, {_AVAILABLE},
           mine.quantity_milli, others.lines, others.cents
    FROM offers o
    JOIN products p ON p.id = o.product_id AND p.active
    JOIN members m ON m.id = o.seller_id AND m.deleted_at IS NULL
    JOIN stock s ON s.offer_id = o.id
    LEFT JOIN lines mine ON mine.checkout_id = %s AND mine.offer_id = o.id
    CROSS JOIN (
        SELECT count(*) AS lines, sum(amount_cents) AS cents
        FROM lines WHERE checkout_id = %s AND offer_id <> %s
    ) AS others
    WHERE o.id = %s AND o.active
"""

_CHOSEN = """
    SELECT l.offer_id, l.seller_id, l.quantity_milli, l.price_cents, l.amount_cents,
           CASE WHEN o.active AND p.active AND m.deleted_at IS NULL THEN o.price_cents END
    FROM lines l
    JOIN offers o ON o.id = l.offer_id
    JOIN products p ON p.id = l.product_id
    JOIN members m ON m.id = l.seller_id
    WHERE l.checkout_id = %s
    ORDER BY l.created_at, l.id
"""

_PERMIT = """
    SELECT NOT EXISTS (
        SELECT FROM charges WHERE (msisdn = %(phone)s OR checkout_id = %(checkout)s)
            AND state IN ('created', 'pending', 'unknown')
    ) AND NOT EXISTS (
        SELECT FROM charges WHERE msisdn = %(phone)s
            AND (coalesce(asked_at, claimed_at) > %(now)s - interval '60 s'
                 OR (coalesce(asked_at, claimed_at) > %(now)s - interval '120 s'
                     AND (amount_cents = %(amount)s OR state = 'review'))))
"""
