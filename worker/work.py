"""Work: what every task works with, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import sleep
from typing import Final
from uuid import UUID

from channels.sms import Sender
from channels.telegram.flood import Flood
from channels.telegram.sender import Writer
from core import deliveries, outbox, sendings
from core.database import Database, Db
from core.errors import Unavailable
from core.rules import Rules
from core.storage import Storage
from payments.gateway import Gateway
from payments.insights import SimGateway

RECORD_PAUSES_SECONDS: Final = (0.5, 1, 2, 4, 8, 16)  # a standby takes over within 20 s


@dataclass(frozen=True)
class Work:
    """What tasks work with; one for each process. writer, storage, insights: None where none
    needs them."""

    database: Database
    gateway: Gateway
    rules: Rules
    sender: Sender
    writer: Writer | None = None
    flood: Flood = field(default_factory=lambda: Flood(None))
    storage: Storage | None = None
    insights: SimGateway | None = None
    wait: Callable[[float], None] = sleep


def in_the_end(work: Work, record: Callable[[Db, datetime], None]) -> None:
    """Outlive a short absence of the database: only we have heard what a provider answered."""
    for pause in (*RECORD_PAUSES_SECONDS, None):
        try:
            with work.database.begin() as db:
                record(db, work.database.clock())
            return
        except Unavailable:
            if pause is None:
                raise
            work.wait(pause)


def look_again(db: Db, item: outbox.Item, again: sendings.NotYet | None, now: datetime) -> None:
    """The item's message is done with, or is to be claimed again then."""
    if again is None:
        outbox.done(db, item.id, now)
    else:
        outbox.postpone(db, item.id, again.due_at, again.reason)


def late(work: Work) -> sendings.Late:
    """What a message says only while it is being sent: where to dial and to pay, and codes."""

    def say(db: Db, name: str, order_id: UUID | None) -> str | None:
        if name == "code":
            assert order_id is not None, "a code, and of no order"
            return deliveries.code_of(db, order_id, work.rules)
        return {"dial": work.rules.dial_code, "paybill": work.rules.paybill}[name]

    return say
