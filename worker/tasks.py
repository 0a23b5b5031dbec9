"""Tasks: one for each kind of the outbox, and what the schedule asks for.

Each may run twice, at once or one after the other. A provider is called between two short
transactions, never inside one: claim, commit, call, record. A row is done in the transaction of
the task's last effect.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from celery import Celery

from core import (
    charges,
    checkouts,
    deals,
    deliveries,
    disputes,
    heard,
    inbox,
    incidents,
    ledger,
    links,
    number_changes,
    outbox,
    proposals,
    sendings,
    settlements,
    shortages,
    treasury,
)
from core.database import STATEMENT_SECONDS_MAX, Db
from core.errors import Unavailable
from flows import conversations, funnel, nudges
from payments import callbacks
from worker import floats, payouts, reconciliation, sim_checks, sms, telegram
from worker.app import task_name
from worker.work import Work, in_the_end

log = structlog.get_logger(__name__)

DESCRIPTION = "Sokoni"  # of a payment, on the payer's phone
SCREEN_SECONDS = 5  # a prompt cannot show over an open USSD screen: look again after this
SCREEN_WAITS_MAX = 12
RETRY_SECONDS_MAX = 600
FAILURES_BEFORE_INCIDENT = 8
DONE_KEPT = timedelta(days=7)
HOPS_KEPT = timedelta(days=2)
REPORTS_KEPT = timedelta(days=2)


def register(app: Celery, work: Callable[[], Work]) -> None:
    """Give the application its tasks. work is called in the process that runs them."""
    for kind in TASKS:
        app.task(_of_outbox(kind, work), name=task_name(kind))
    for name, scheduled in SCHEDULED.items():
        app.task(_of_schedule(scheduled, work), name=task_name(name))


def run(work: Work, item_id: UUID) -> None:
    """Do what the outbox's row asks, if nobody has. What fails is given back, then raised."""
    with work.database.autocommit(seconds=STATEMENT_SECONDS_MAX) as db:
        item = outbox.item(db, item_id)
    if item is None or item.done_at is not None:
        return
    try:
        TASKS[item.kind](work, item)
    except Exception as error:
        _give_back(work, item, error)
        raise


def run_all(work: Work, kind: str, item_ids: Sequence[UUID]) -> None:
    """Do what these rows ask: at once what may be, the others each by itself.

    What fails takes nobody with it: it is given back, then raised.
    """
    left = list(item_ids)
    if kind in AT_ONCE and len(left) > 1:
        try:
            done = AT_ONCE[kind](work, left)
            left = [item_id for item_id in left if item_id not in done]
        except Exception as error:  # noqa: BLE001 - whose it is is found out below, one by one
            log.warning("not_done_at_once", kind=kind, error=type(error).__name__)
    failed: list[Exception] = []
    for item_id in left:
        try:
            run(work, item_id)
        except Exception as error:  # noqa: BLE001 - it is raised below
            failed.append(error)
    if failed:
        raise failed[0] if len(failed) == 1 else ExceptionGroup(kind, failed)


def stk_push(work: Work, item: outbox.Item) -> None:
    """Prompt the payer's phone: once at most, whatever dies at whatever moment."""
    database, charge_id = work.database, UUID(item.arguments["charge_id"])
    with database.begin() as db:
        now = database.clock()
        charge = charges.by_id(db, charge_id)
        assert charge is not None, f"no charge {charge_id}"
        if item.attempts <= SCREEN_WAITS_MAX and conversations.screen_open(db, charge.msisdn, now):
            later = now + timedelta(seconds=SCREEN_SECONDS)
            outbox.postpone(db, item.id, later, "a USSD screen is open on that phone")
            return
    work.gateway.prepare()  # if that fails nothing is claimed yet, and the row comes back
    with database.begin() as db:
        claimed = charges.claim_for_push(db, charge_id, work.rules, database.clock())
        if claimed is None:
            outbox.done(db, item.id, database.clock())
    if claimed is None:
        return
    answer = work.gateway.request_payment(
        claimed.msisdn, claimed.amount_cents, claimed.reference, DESCRIPTION, claimed.token
    )

    def record(db: Db, now: datetime) -> None:
        charges.record_push(db, charge_id, answer, now)
        outbox.done(db, item.id, now)

    in_the_end(work, record)


def query_charge(work: Work, item: outbox.Item) -> None:
    """Ask what became of a push that says nothing. The next time is set before we ask."""
    database, charge_id = work.database, UUID(item.arguments["charge_id"])
    with database.begin() as db:
        asked = charges.query_due(db, charge_id, database.clock())
        outbox.done(db, item.id, database.clock())
    if asked is None:
        return
    try:
        result = work.gateway.query_payment(asked.push_id)
    except Unavailable as error:
        log.warning("charge_not_queried", charge=str(charge_id), reason=str(error))
        return
    with database.begin() as db:
        settlements.settle(db, charge_id, result, database.clock())


def settle_inbox(work: Work, item: outbox.Item) -> None:
    """Read a provider's message that was kept, and book what it says."""
    with work.database.begin() as db:
        now = work.database.clock()
        kept = inbox.item(db, UUID(item.arguments["inbox_id"]))
        if kept is not None and kept.processed_at is None:
            outcome = callbacks.settle(db, kept, now)
            inbox.processed(db, kept.id, outcome, now)
        outbox.done(db, item.id, now)


def settle_plain(work: Work, item_ids: Sequence[UUID]) -> set[UUID]:
    """Book the payments among a provider's messages, in one transaction; which rows are done."""
    with work.database.begin() as db:
        now = work.database.clock()
        items = outbox.open_items(db, item_ids)
        kept = inbox.items(db, [UUID(item.arguments["inbox_id"]) for item in items])
        outcomes = callbacks.settle_plain(db, kept, now)
        done = {item.id for item in items if UUID(item.arguments["inbox_id"]) in outcomes}
        if done:
            inbox.processed_all(db, outcomes, now)
            outbox.done_all(db, list(done), now)
    return done


def nudge_cut_off(work: Work, item: outbox.Item) -> None:
    """Write to whoever was cut off in the middle of something."""
    with work.database.begin() as db:
        now = work.database.clock()
        nudges.cut_off(db, item.arguments["session"], work.rules, now)
        outbox.done(db, item.id, now)


def _timer(
    subject: str, verb: Callable[[Db, UUID, datetime], object]
) -> Callable[[Work, outbox.Item], None]:
    """The task of a timer: one verb of the core's, which knows itself whether its time has come.

    subject: the argument that names what the verb is about.
    """

    def task(work: Work, item: outbox.Item) -> None:
        with work.database.begin() as db:
            now = work.database.clock()
            verb(db, UUID(item.arguments[subject]), now)
            outbox.done(db, item.id, now)

    return task


def next_part(work: Work, item: outbox.Item) -> None:
    """Ask for the next part of what is paid in several."""
    with work.database.begin() as db:
        now = work.database.clock()
        checkouts.ask_next(db, UUID(item.arguments["charge_id"]), work.rules, now)
        outbox.done(db, item.id, now)


def change_number(work: Work, item: outbox.Item) -> None:
    """Give a member another number, as two people agreed; who is at the old phone begins anew."""
    with work.database.begin() as db:
        now = work.database.clock()
        change = number_changes.by_id(db, UUID(item.arguments["change_id"]))
        if change.state == "approved":
            phones = [one for one in (change.from_msisdn, change.to_msisdn) if one is not None]
            conversations.end_of_phones(db, phones, now)
            number_changes.carry_out(db, change.id, work.rules, now)
        outbox.done(db, item.id, now)


TASKS: Final[Mapping[str, Callable[[Work, outbox.Item], None]]] = {
    "stk_push": stk_push,
    "next_part": next_part,
    "query_charge": query_charge,
    "review_charge": _timer("charge_id", charges.review),
    "payment_reminder": _timer("checkout_id", checkouts.remind),
    "expire_checkout": _timer("checkout_id", checkouts.expire),
    "accept_reminder": _timer("order_id", deliveries.remind_to_accept),
    "accept_deadline": _timer("order_id", deliveries.accept_missed),
    "dispatch_reminder": _timer("order_id", deliveries.remind_to_dispatch),
    "dispatch_deadline": _timer("order_id", deliveries.dispatch_missed),
    "delivery_deadline": _timer("order_id", deliveries.silent),
    "inspection_reminder": _timer("order_id", deliveries.remind_to_inspect),
    "inspection_over": _timer("order_id", deliveries.inspection_over),
    "short_reminder": _timer("reduction_id", shortages.remind),
    "less_came_reminder": _timer("reduction_id", shortages.remind),
    "less_came_deadline": _timer("reduction_id", shortages.run_out),
    "answer_reminder": _timer("dispute_id", disputes.remind_to_answer),
    "answer_deadline": _timer("dispute_id", disputes.end_answering),
    "decision_deadline": _timer("dispute_id", disputes.escalate),
    "deal_invitation": _timer("deal_id", deals.invite),
    "deal_reminder": _timer("deal_id", deals.remind),
    "deal_deadline": _timer("deal_id", deals.lapse),
    "settle_inbox": settle_inbox,
    "nudge_cut_off": nudge_cut_off,
    "change_number": change_number,
    **floats.TASKS,
    **payouts.TASKS,
    **reconciliation.TASKS,
    **sim_checks.TASKS,
    **sms.TASKS,
    **telegram.TASKS,
}


# What several rows of a kind ask, done at once for those it can be; the rows that are done.
AT_ONCE: Final[Mapping[str, Callable[[Work, Sequence[UUID]], set[UUID]]]] = {
    "settle_inbox": settle_plain,
}


def tidy(work: Work) -> None:
    """Forget work long done and hops long answered."""
    with work.database.begin() as db:
        now = work.database.clock()
        rows = outbox.tidy(db, now - DONE_KEPT)
        hops = conversations.tidy(db, now - HOPS_KEPT)
        reports = sendings.tidy(db, now - REPORTS_KEPT)
        reports += heard.tidy(db, now - REPORTS_KEPT)
        links.tidy(db, now - REPORTS_KEPT)
    log.info("tidied", outbox=rows, hops=hops, reports=reports)


def nudge(work: Work) -> None:
    """Write to those who fell silent in the middle of something."""
    with work.database.begin() as db:
        nudged = nudges.silent(db, work.rules, work.database.clock())
    if nudged:
        log.info("nudged", conversations=nudged)


def check_ledger(work: Work) -> None:
    """Transfers that are not zero, cached balances that are not their entries: an incident."""
    with work.database.begin() as db:
        now = work.database.clock()
        unbalanced, stale = ledger.unbalanced_transfers(db), ledger.stale_balances(db)
        if unbalanced or stale:
            log.error("ledger_is_wrong", unbalanced_transfers=unbalanced, stale_balances=stale)
            incidents.open(
                db,
                "ledger_is_wrong",
                "ledger",
                now,
                unbalanced_transfers=unbalanced,
                stale_balances=stale,
            )
            return
        ledger.mark(db, now)


def look_after_money(work: Work) -> None:
    """Is everybody's money there? And what does M-Pesa say lies on our floats?"""
    with work.database.begin() as db:
        if not treasury.look(db, work.database.clock()):
            log.error("money_is_missing")


def lapse_proposals(work: Work) -> None:
    """What no second person agreed to in time is taken back."""
    now = work.database.clock()
    with work.database.begin() as db:
        found = proposals.lapsing(db, work.rules, now)
    for each in found:
        with work.database.begin() as db:
            proposals.lapse(db, each, work.rules, now)


def roll_up_funnel(work: Work) -> None:
    """Count who came to each screen and what became of them, before the hops are forgotten."""
    with work.database.begin(seconds=funnel.SECONDS_MAX) as db:
        lines = funnel.roll_up(db, work.database.clock())
    log.info("funnel_rolled_up", lines=lines)


SCHEDULED: Final[Mapping[str, Callable[[Work], None]]] = {
    "tidy": tidy,
    "roll_up_funnel": roll_up_funnel,
    "check_ledger": check_ledger,
    "lapse_proposals": lapse_proposals,
    "look_after_money": look_after_money,
    "nudge": nudge,
    "reconcile": reconciliation.reconcile,
}


def _of_outbox(kind: str, work: Callable[[], Work]) -> Callable[..., None]:
    def task(*item_ids: str) -> None:
        run_all(work(), kind, [UUID(item_id) for item_id in item_ids])

    task.__name__ = kind
    return task


def _of_schedule(scheduled: Callable[[Work], None], work: Callable[[], Work]) -> Callable[[], None]:
    def task() -> None:
        scheduled(work())

    task.__name__ = scheduled.__name__
    return task


def _give_back(work: Work, item: outbox.Item, error: Exception) -> None:
    """Come again later, each time later; tell somebody when that does not help."""
    database, reason = work.database, type(error).__name__
    pause = timedelta(seconds=min(2**item.attempts, RETRY_SECONDS_MAX))
    try:
        with database.begin() as db:
            now = database.clock()
            outbox.postpone(db, item.id, now + pause, reason)
            if item.attempts >= FAILURES_BEFORE_INCIDENT:
                incidents.open(
                    db, "task_fails", item.id, now, task=item.kind, attempts=item.attempts
                )
    except Unavailable:
        log.warning("task_not_given_back", item=str(item.id), error=reason)  # its lease does it
