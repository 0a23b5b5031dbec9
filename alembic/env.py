"""How migrations reach the database: one at a time, and none that waits long for a lock.

Its address: `-x url=…`, else what the caller gave (`Config.attributes["url"]`), else the settings'.
"""

import importlib
import pkgutil

import sqlalchemy as sa
from alembic import context

import core
from core.database import metadata

LOCK_TIMEOUT = "5s"  # a migration that waits for a lock makes everybody behind it wait
STATEMENT_TIMEOUT = "60s"
ONE_AT_A_TIME = 7042_0002  # the advisory lock of whoever migrates


def url() -> str:
    given = context.get_x_argument(as_dictionary=True).get("url")
    given = given or context.config.attributes.get("url")
    if given:
        return str(given)
    from settings import from_environment  # only here: a caller that gives its own needs none

    found = from_environment().database_url
    assert found is not None, "from_environment answered without a database"
    return found


def compares() -> bool:
    """Is the command one that looks at the tables' definitions? An upgrade does not need them."""
    options = context.config.cmd_opts
    return options is not None and options.cmd[0].__name__ in {"revision", "check"}


def every_table() -> sa.MetaData:
    """Import what defines tables, so that a new noun needs no line here."""
    for module in pkgutil.iter_modules(core.__path__, "core."):
        importlib.import_module(module.name)
    for name in ("flows.conversations", "flows.funnel"):
        importlib.import_module(name)
    return metadata


def migrate() -> None:
    engine = sa.create_engine(
        sa.make_url(url()).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        # Waited for without a limit: the other one is migrating for us.
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": ONE_AT_A_TIME})
        connection.execute(sa.text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(sa.text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=every_table() if compares() else None,
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("migrations run against a database; there is no offline mode")
migrate()
