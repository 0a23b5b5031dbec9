"""The market of the benchmark: a PostgreSQL of its own, many members, a fresh copy a round."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg import sql

from bench import journeys, servers, wires
from bench.journeys import Journey
from bench.wires import PHONES, Channel, Wire
from core import carts, checkouts, demo, order_book
from core.database import Database, Db
from core.rules import Rules
from local import postgres
from settings import Settings, environment_of

ROOT = Path(__file__).parent.parent
TEMPLATE = "market"
MEMBERS = 60_000
PAST_ORDERS_MAX = 1_000

# Each made 1 journey before; none is a seller; one hash stands in for every PIN.
_MEMBERS = """
    INSERT INTO members (id, msisdn, name, language, place_id, is_seller, pin_hash, pin_failures,
                         consent_version, consent_at, created_at, updated_at)
    SELECT gen_random_uuid(), '+' || (%(phones)s + n)::text, 'Caller Number', 'en',
           places[1 + n %% cardinality(places)], false, seller.pin_hash, 0,
           'bench', %(then)s, %(then)s, %(then)s
    FROM generate_series(0, %(count)s - 1) AS n,
         (SELECT array_agg(id) AS places FROM places) AS p,
         (SELECT pin_hash FROM members LIMIT 1) AS seller
"""
_CONVERSATIONS = """
    INSERT INTO conversations (id, channel, address, msisdn, language, session, service_code,
                               accepted_length, accepted_digest, turn, open, created_at, updated_at)
    SELECT gen_random_uuid(), 'ussd', msisdn, msisdn, 'en', 'before' || msisdn, %(code)s,
           0, '\\x00', 1, false, %(then)s, %(then)s
    FROM members WHERE NOT is_seller
"""
# One that has proved its phone, or written before, for each member; nothing is open.
_ON_CHANNEL = """
    INSERT INTO conversations (id, channel, address, msisdn, language, session, service_code,
                               accepted_length, accepted_digest, turn, open, created_at, updated_at)
    SELECT gen_random_uuid(), %(channel)s, address, msisdn, 'en', %(channel)s || ':' || address, '',
           0, '\\x00', 0, false, now() - interval '2 days', now() - interval '2 days'
    FROM members, LATERAL (SELECT CASE %(channel)s WHEN 'telegram' THEN ltrim(msisdn, '+')
                                                   ELSE msisdn END AS address) AS a
    WHERE NOT is_seller
"""
_HOPS = """
    INSERT INTO hops (session, digest, conversation_id, label, screen, ends, created_at)
    SELECT session, '\\x00', id, 'home.menu', repeat('Sokoni ', 15), true, %(then)s
    FROM conversations
"""

_SCREENS = """
    SELECT c.msisdn, h.screen FROM hops h JOIN conversations c ON c.id = h.conversation_id
    WHERE c.channel = %(channel)s AND h.digest <> '\\x00' ORDER BY h.created_at
"""


@dataclass(frozen=True)
class Market:
    """A running server with a loaded market, never called, to be copied."""

    server: postgres.Server
    folder: Path  # for whatever a round writes down
    settings: Settings
    members: int

    def cpu_seconds(self) -> float:
        """What PostgreSQL's living processes have used of the processors."""
        assert self.server.process is not None, "somebody else keeps this server"
        return servers.cpu_seconds(self.server.process.pid)

    def settings_for(self, url: str) -> Settings:
        """The settings of a server on this copy."""
        return self.settings.model_copy(update={"database_url": url})

    @contextmanager
    def copy(self, name: str, *, flush_ms: int = 0) -> Iterator[str]:
        """A database as it was loaded; its URL. flush_ms: how long each disk flush takes more."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            new, old = sql.Identifier(name), sql.Identifier(TEMPLATE)
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(new, old)
            )
            # PostgreSQL's own way to wait before it flushes, here whether others commit or not.
            connection.execute("ALTER SYSTEM SET commit_siblings = 0")
            connection.execute(
                sql.SQL("ALTER SYSTEM SET commit_delay = {}").format(flush_ms * 1000)
            )
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CHECKPOINT")
        try:
            yield _named(self.server.url, name)
        finally:
            with psycopg.connect(self.server.url, autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(new))

    def wire(self, channel: Channel, name: journeys.Name) -> Wire:
        """The journeys through every offer there is, as one of the members meets them."""
        return wires.wire(channel, self._journeys(name), self.settings)

    def _journeys(self, name: journeys.Name) -> list[Journey]:
        database = Database(_named(self.server.url, TEMPLATE), size=1)
        try:
            with database.begin() as db:
                buyer: UUID = db.value("SELECT id FROM members WHERE NOT is_seller LIMIT 1")
                return journeys.every(db, name, buyer, database.clock())
        finally:
            database.close()


@contextmanager
def opened(settings: Settings, *, members: int = MEMBERS) -> Iterator[Market]:
    """A new server in a folder of its own, loaded; both are gone afterwards. It flushes to disk."""
    folder = Path(tempfile.mkdtemp(prefix="sokoni-bench-"))
    folder.chmod(0o755)  # PostgreSQL may run as another user
    try:
        server = postgres.start(folder, bin_folder=settings.embedded_pg_bin, dies_with_us=True)
        try:
            url = postgres.ensure_database(server, TEMPLATE)
            settings = settings.model_copy(
                update={"database_url": url, "redis_url": None, "hops_a_minute_max": 0}
            )
            _migrate(settings)
            _load(settings, members)
            yield Market(server, folder, settings, members)
        finally:
            postgres.stop(server)
    finally:
        shutil.rmtree(folder)


def enrol(url: str, channel: Channel) -> None:
    """Every member has spoken to us there; by USSD they have anyway."""
    if channel == "ussd":
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_ON_CHANNEL, {"channel": channel})
        connection.execute("VACUUM (ANALYZE) conversations")


def screens(url: str, channel: Channel) -> Mapping[int, Sequence[str]]:
    """What was kept as shown since the market was loaded, by caller, in its order."""
    found: dict[int, list[str]] = {}
    with psycopg.connect(url) as connection:
        for msisdn, screen in connection.execute(_SCREENS, {"channel": channel}):
            found.setdefault(int(msisdn) - PHONES, []).append(screen)
    return found


def written(url: str) -> Mapping[str, int]:
    """The rows of every table that a journey adds to."""
    with psycopg.connect(url) as connection:
        return {
            name: connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
            ).fetchone()[0]  # type: ignore[index]
            for name in _tables(connection)
        }


def _tables(connection: psycopg.Connection[tuple[str]]) -> Sequence[str]:
    found = connection.execute(
        "SELECT relname FROM pg_stat_user_tables WHERE relname <> 'alembic_version'"
    ).fetchall()
    return sorted(name for (name,) in found)


def _migrate(settings: Settings) -> None:
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=environment_of(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )


def _load(settings: Settings, members: int) -> None:
    assert settings.database_url is not None, "the market has no database"
    database = Database(settings.database_url, size=1)
    now = database.clock()
    then = now - timedelta(days=2)
    try:
        with database.begin(seconds=120) as db:
            demo.load(db, settings.rules(), now)
            db.run(_MEMBERS, {"phones": PHONES, "count": members, "then": then})
            db.run(_CONVERSATIONS, {"code": settings.ussd_service_code, "then": then})
            db.run(_HOPS, {"then": then})
            db.run("UPDATE stock SET on_hand_milli = 10000000000")  # never sold out
            _trade(db, min(members // 4, PAST_ORDERS_MAX), settings.rules(), then)
    finally:
        database.close()
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


def _trade(db: Db, orders: int, rules: Rules, then: datetime) -> None:
    """Past orders, never paid: on empty tables the server plans its statements as for a toy."""
    wanted = db.rows(_Wanted, _WANTED, {"orders": orders})
    for one in wanted:
        carts.add(db, one.buyer_id, one.offer_id, one.quantity_milli, None, then)
        total_cents = carts.read(db, one.buyer_id, "en").total_cents
        placed = checkouts.place(db, one.buyer_id, one.msisdn, total_cents, rules, then)
        assert placed == "placed", f"a past order is {placed}"
        (order,) = order_book.unpaid(db, one.buyer_id)
        checkouts.cancel(db, order.checkout_id, one.buyer_id, then)
    db.run("UPDATE outbox SET done_at = %(then)s", {"then": then})


@dataclass(frozen=True)
class _Wanted:
    buyer_id: UUID
    msisdn: str
    offer_id: UUID
    quantity_milli: int


# The last members and the offers in turn.
_WANTED = """
    SELECT buyer.id AS buyer_id, buyer.msisdn, offer.id AS offer_id,
           offer.minimum_milli AS quantity_milli
    FROM (SELECT id, msisdn, row_number() OVER (ORDER BY msisdn DESC) AS place
          FROM members WHERE NOT is_seller ORDER BY msisdn DESC LIMIT %(orders)s) AS buyer
    JOIN (SELECT id, minimum_milli, row_number() OVER (ORDER BY id) AS place,
                 count(*) OVER () AS among FROM offers) AS offer
      ON offer.place = 1 + buyer.place %% offer.among
"""


def _named(url: str, name: str) -> str:
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)
