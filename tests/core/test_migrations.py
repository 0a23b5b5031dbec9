"""The migrated database is the one that the tables' definitions describe."""

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import core
from core import deliveries, messages
from core.database import Database, metadata
from tests.core.market import open_market, order_of, person, purchase, settled

ROOT = Path(__file__).parents[2]
COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public'
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 't'
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
SEQUENCES = "SELECT sequencename, start_value FROM pg_sequences WHERE schemaname = 'public'"


@pytest.fixture(scope="module")
def alembic_config() -> Config:
    return Config(str(ROOT / "alembic.ini"))


@pytest.fixture
def described_url(new_database: Callable[[], Any], alembic_config: Config) -> Any:
    """A database made from the definitions alone."""
    for module in pkgutil.iter_modules(core.__path__, "core."):
        importlib.import_module(module.name)
    for name in ("flows.conversations", "flows.funnel"):
        importlib.import_module(name)
    with new_database() as url:
        with psycopg.connect(url) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
            connection.execute("CREATE EXTENSION pg_trgm")
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
        metadata.create_all(engine)
        engine.dispose()
        yield url


def _facts(url: str, sql: Any) -> set[Any]:
    with psycopg.connect(url) as connection:
        return {row for row in connection.execute(sql) if not str(row[0]).startswith("alembic")}


@pytest.mark.parametrize("facts", [COLUMNS, CONSTRAINTS, INDEXES, SEQUENCES])
def test_the_definitions_and_the_migrations_make_the_same_database(
    facts: str, described_url: str, database_url: str
) -> None:
    described, migrated = _facts(described_url, facts), _facts(database_url, facts)
    assert described - migrated == set(), "defined, not migrated"
    assert migrated - described == set(), "migrated, not defined"


def test_there_is_one_head(alembic_config: Config) -> None:
    assert len(ScriptDirectory.from_config(alembic_config).get_heads()) == 1


def test_the_migrations_run_down_and_up_again(
    new_database: Callable[[], Any], alembic_config: Config
) -> None:
    with new_database() as url:
        before = _facts(url, COLUMNS)
        alembic_config.attributes["url"] = url
        command.downgrade(alembic_config, "base")
        assert _facts(url, COLUMNS) == set()
        command.upgrade(alembic_config, "head")
        assert _facts(url, COLUMNS) == before


def test_two_that_migrate_at_once_both_end_well(new_database: Callable[[], Any]) -> None:
    with new_database() as url:
        downs = Config(str(ROOT / "alembic.ini"))
        downs.attributes["url"] = url
        command.downgrade(downs, "base")

        upgrade = [sys.executable, "-m", "alembic", "-x", f"url={url}", "upgrade", "head"]
        both = [subprocess.Popen(upgrade, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(30) for process in both] == [0, 0]
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_messages_sent_before_their_costs_were_numbers_have_them(
    database: Database, alembic_config: Config, now: datetime
) -> None:
    alembic_config.attributes["url"] = database.engine.url.render_as_string(hide_password=False)
    with database.begin() as db:
        who = person(db, now, 1)
        for _ in range(3):
            messages.of_member(db, "pin_changed", who, {}, now)
    database.close()
    command.downgrade(alembic_config, "0009")
    with database.begin() as db:
        for cost, name in (("KES 0.8000", "a"), ("0", "b"), (None, "c")):
            db.run(
                """
                UPDATE messages SET state = 'sent', cost = %(cost)s, key = %(name)s
                WHERE id = (SELECT min(id::text)::uuid FROM messages WHERE state = 'queued')
                """,
                {"cost": cost, "name": name},
            )
    database.close()
    command.upgrade(alembic_config, "head")
    with database.begin() as db:
        found = db.value(
            """
            SELECT json_agg(json_build_array(channel, cost_currency, cost_milli_cents) ORDER BY key)
            FROM messages
            """
        )
    assert found == [["sms", "KES", 80_000], ["sms", None, 0], ["sms", None, None]]


def test_an_order_paid_before_there_were_deliveries_can_be_delivered(
    database: Database, alembic_config: Config, now: datetime
) -> None:
    with database.begin() as db:
        market = open_market(db, now)
        bought = settled(db, purchase(db, market, now), now)
    alembic_config.attributes["url"] = database.engine.url.render_as_string(hide_password=False)
    database.close()
    command.downgrade(alembic_config, "0007")
    command.upgrade(alembic_config, "head")
    with database.begin() as db:
        order = order_of(db, bought, market.wanjiku)
        assert order.deliver_on > now.date()
        assert order.accept_by is not None
        waiting = db.value("SELECT count(*) FROM outbox WHERE kind = 'accept_deadline'")
        assert waiting == 2
        assert deliveries.accept(db, order.id, market.wanjiku, now) == "accepted"
        assert deliveries.dispatch(db, order.id, market.wanjiku, now) == "dispatched"
        assert deliveries.received(db, order.id, market.buyer, now) == "released"
