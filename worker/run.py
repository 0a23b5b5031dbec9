"""The worker: takes tasks from Celery's queues and runs them in processes of its own."""

import argparse
import sys
import warnings
from functools import cache
from typing import Any

from celery import signals
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

import logs
import settings as all_settings
import storage
from channels import limits, sms_africastalking
from channels.telegram import sender
from channels.telegram.flood import Flood
from core.database import Database
from payments import daraja, insights
from settings import Settings
from worker import tasks
from worker.app import QUEUES, create
from worker.work import Work

PROCESSES = 2


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.run", description=__doc__)
    parser.add_argument("queues", nargs="*", metavar="queue", help=f"of {', '.join(QUEUES)}: all")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.queues) - set(QUEUES)
    if unknown:
        parser.error(f"no such queue: {', '.join(sorted(unknown))}")

    settings = all_settings.from_environment(needs=("database_url", "celery_broker_url"))

    def keep_ours(**_: Any) -> None:
        logs.configure(settings.log_level)

    signals.setup_logging.connect(keep_ours, weak=False)

    # Celery warns root of pickle, and everybody of a default that we have chosen ourselves.
    for category in (SecurityWarning, CPendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
    app = create(settings)
    tasks.register(app, cache(lambda: connect(settings, chosen.processes)))
    worker = app.Worker(
        hostname="sokoni",
        concurrency=chosen.processes,
        pool_cls="prefork",
        queues=chosen.queues or list(QUEUES),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def connect(settings: Settings, processes: int) -> Work:
    """Once a process, after the fork: connections do not survive one."""
    assert settings.database_url is not None, "needed, so it is there"
    database = Database(settings.database_url, size=1)
    return Work(
        database=database,
        gateway=daraja.connect(settings, clock=database.clock, processes=processes),
        rules=settings.rules(),
        sender=sms_africastalking.connect(settings),
        writer=sender.connect(settings),
        flood=Flood(limits.connect(settings.redis_url)),
        storage=storage.connect(settings),
        insights=insights.connect(settings),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
