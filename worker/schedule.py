"""The scheduler: Celery's beat for the hours, exactly one at work, guarded by an advisory lock.

Only housekeeping is scheduled here; whatever is due for one charge or order is an outbox row.
The lock belongs to a session of PostgreSQL: behind a pooler that changes sessions it guards
nothing, so DATABASE_URL must reach the server itself.
"""

import sys
from typing import Final

import psycopg
import sqlalchemy as sa
import structlog
from celery import Celery
from celery.beat import Scheduler
from celery.schedules import crontab

import logs
import settings as all_settings
from worker.app import create, task_name
from worker.stopping import Signalled, Stopping

log = structlog.get_logger(__name__)

LOCK_KEY: Final = 7042_0001
WAIT_SECONDS = 1.0

# By the clock, not by intervals: one that starts anew forgets nothing that way.
SCHEDULE: Final = {
    "tidy": {
        "task": task_name("tidy"),
        "schedule": crontab(minute="23"),
        "options": {"queue": "reports"},
    },
    "roll_up_funnel": {
        "task": task_name("roll_up_funnel"),
        "schedule": crontab(minute="13"),
        "options": {"queue": "reports"},
    },
    "nudge": {
        "task": task_name("nudge"),
        "schedule": crontab(),  # each minute
        "options": {"queue": "receipts"},
    },
    "reconcile": {  # at 04:17 in Nairobi, when the day before is all told
        "task": task_name("reconcile"),
        "schedule": crontab(minute="17", hour="1"),
        "options": {"queue": "reports"},
    },
    "check_ledger": {
        "task": task_name("check_ledger"),
        "schedule": crontab(minute="7"),
        "options": {"queue": "reports"},
    },
    "lapse_proposals": {
        "task": task_name("lapse_proposals"),
        "schedule": crontab(minute="47"),
        "options": {"queue": "reports"},
    },
    "look_after_money": {
        "task": task_name("look_after_money"),
        "schedule": crontab(minute="37"),
        "options": {"queue": "money"},
    },
}


def keep(url: str, app: Celery, stop: Stopping) -> int:
    """Wait for the lock, then send what falls due until stop is set; the exit code.

    1: the lock was lost with its connection, so another may have it: whoever supervises us
    starts us again, to wait in line.
    """
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
            if _locked(connection, stop):
                log.info("schedule_kept_here")
                _tick(connection, scheduler(app), stop)
    except psycopg.OperationalError as error:
        log.error("schedule_lock_lost", error=type(error).__name__)
        return 1
    return 0


def scheduler(app: Celery) -> Scheduler:
    """Celery's own, with our hours. What was sent when, it keeps in memory only."""
    app.conf.beat_schedule = dict(SCHEDULE)
    return Scheduler(app, max_interval=WAIT_SECONDS)


def _locked(connection: "psycopg.Connection[tuple[object, ...]]", stop: Stopping) -> bool:
    """Wait until the lock is ours; False: told to stop first."""
    while not stop.is_set():
        answer = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
        if answer is not None and answer[0]:
            return True
        stop.wait(WAIT_SECONDS)
    return False


def _tick(
    connection: "psycopg.Connection[tuple[object, ...]]", beat: Scheduler, stop: Stopping
) -> None:
    while not stop.is_set():
        connection.execute("SELECT 1")  # raises when the session, and the lock with it, is gone
        stop.wait(min(beat.tick(), WAIT_SECONDS))


def main() -> int:
    settings = all_settings.from_environment(needs=("database_url", "celery_broker_url"))
    logs.configure(settings.log_level)
    assert settings.database_url is not None, "needed, so it is there"
    stop = Signalled()
    url = sa.make_url(settings.database_url).set(drivername="postgresql")
    return keep(url.render_as_string(hide_password=False), create(settings), stop)


if __name__ == "__main__":
    sys.exit(main())
