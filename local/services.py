"""The two servers of one machine: PostgreSQL and Valkey, unless the settings name others.

`python -m local.services` runs them until it is stopped.
"""

import json
import signal
import sys
from pathlib import Path
from time import sleep

from local import postgres, valkey
from local.places import CannotStart
from settings import Settings, SettingsError, broker_url, load_environment, refuse

DATABASE = "sokoni"


def resolve(settings: Settings) -> Settings:
    """The settings with the addresses of the embedded servers that run; None where none does."""
    if settings.database_url is not None and settings.redis_url is not None:
        return settings
    try:
        noted = json.loads(_note(settings).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return settings
    database_url, redis_url = noted["database_url"], noted["redis_url"]
    return using(
        settings,
        database_url if database_url and postgres.answers(database_url) else None,
        redis_url if redis_url and valkey.answers(valkey.socket_of(redis_url)) else None,
    )


def using(settings: Settings, database_url: str | None, redis_url: str | None) -> Settings:
    """The settings, with these addresses where they name none."""
    redis_url = settings.redis_url or redis_url
    return settings.model_copy(
        update={
            "database_url": settings.database_url or database_url,
            "redis_url": redis_url,
            "celery_broker_url": settings.celery_broker_url or broker_url(redis_url),
        }
    )


def start_postgres(settings: Settings) -> postgres.Server:
    """With its database; it stops when this process ends."""
    server = postgres.start(
        settings.sokoni_home, bin_folder=settings.embedded_pg_bin, dies_with_us=True
    )
    _write_down(settings, "database_url", postgres.ensure_database(server, DATABASE))
    return server


def start_valkey(settings: Settings) -> valkey.Server:
    """It stops when this process ends."""
    server = valkey.start(settings.sokoni_home, dies_with_us=True)
    _write_down(settings, "redis_url", server.url)
    return server


def _note(settings: Settings) -> Path:
    return settings.sokoni_home / "servers.json"


def _write_down(settings: Settings, name: str, url: str) -> None:
    note = _note(settings)
    noted = json.loads(note.read_text()) if note.exists() else {}
    part = note.with_suffix(".part")
    part.write_text(json.dumps({"database_url": None, "redis_url": None, **noted, name: url}))
    part.replace(note)


def main() -> int:
    try:
        settings = load_environment()
    except SettingsError as error:
        refuse(error)
    stopped: list[int] = []  # not an Event: its lock may be held when the signal comes
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: stopped.append(caught))
    database = redis = None
    try:
        if settings.database_url is None:
            database = start_postgres(settings)
        if settings.redis_url is None:
            redis = start_valkey(settings)
    except CannotStart as error:
        print(error, file=sys.stderr)
    else:
        settings = resolve(settings)
        print(f"DATABASE_URL={settings.database_url}")
        print(f"REDIS_URL={settings.redis_url}")
        print("Ctrl-C stops what was started here.", flush=True)
        while not stopped:
            sleep(0.1)
    if redis is not None and redis.process is not None:
        valkey.stop(redis)
    if database is not None and database.process is not None:
        postgres.stop(database)
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(main())
