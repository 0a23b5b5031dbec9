"""The Celery application: how tasks travel and run. The outbox in PostgreSQL stays the truth."""

from typing import Final, get_args

from celery import Celery

from core import outbox
from settings import Settings

# money first: a worker of several queues empties them in this order.
QUEUES: Final[tuple[outbox.Queue, ...]] = get_args(outbox.Queue)

TASK_SECONDS_MAX = 120  # a task that hangs is killed; the longest takes about 45 s

# kombu's own values give back what a dead worker held only after an hour. The outbox's lease
# gives it back too; this is for the scheduled tasks, which have no row there.
TRANSPORT_OPTIONS: Final = {
    "visibility_timeout": TASK_SECONDS_MAX + 30,  # longer than any task, or it would run twice
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "queue_order_strategy": "priority",
    "socket_connect_timeout": 3,
    "socket_timeout": 15,  # above the 10 s that kombu blocks for a message
}


def create(settings: Settings) -> Celery:
    """An application without tasks: enough to send them. worker.tasks adds what runs."""
    app = Celery("sokoni", broker=settings.celery_broker_url, set_as_current=False)
    app.conf.update(
        broker_transport_options=dict(TRANSPORT_OPTIONS),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_publish_retry=False,
        task_queues={name: {} for name in QUEUES},
        task_default_queue="reports",
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_expires=None,  # there are no results, so no daily task to clean them up
        # A task killed in the middle is given to another worker: each may run twice.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # Ended between a provider's answer and our note of it, a task would leave a riddle.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_prefetch_multiplier=1,
        task_time_limit=TASK_SECONDS_MAX,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def task_name(kind: str) -> str:
    """Celery's name for the task of an outbox kind or of the schedule."""
    return f"sokoni.{kind}"
