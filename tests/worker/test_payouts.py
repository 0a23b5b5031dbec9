"""The tasks of money that goes out: cut off anywhere, run twice, given back; a scripted gateway."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest

from core import deliveries, halts, inbox, outbox, payout_queue, payouts, refunds, reply_paths
from core.database import Database
from core.errors import Unavailable
from core.payout_calls import PayoutAnswer
from core.payouts import Payout
from tests.core.market import open_market, order_of, purchase, settled
from tests.core.purse import ACCEPTED, LOST, REFUSED, RULES, Purse
from tests.payments.street import PAYOUT_KINDS, Mute
from tests.worker.test_tasks import Clock, Killed
from worker import tasks
from worker.work import RECORD_PAUSES_SECONDS

KINDS = PAYOUT_KINDS | {"settle_inbox"}


@dataclass
class Gateway:
    """A provider that does what a test says and counts what it was asked."""

    answers: list[PayoutAnswer] = field(default_factory=list)
    away: bool = False
    dies: bool = False
    before_answer: Callable[[], object] = lambda: None
    paid: list[tuple[Any, ...]] = field(default_factory=list)
    reversed: list[tuple[Any, ...]] = field(default_factory=list)
    queried: list[tuple[Any, ...]] = field(default_factory=list)

    def prepare_payouts(self) -> None:
        if self.away:
            raise Unavailable("no token")

    def pay_out(self, *asked: Any) -> PayoutAnswer:
        return self._answer(self.paid, asked)

    def reverse_payment(self, *asked: Any) -> PayoutAnswer:
        return self._answer(self.reversed, asked)

    def query_payout(self, *asked: Any) -> PayoutAnswer:
        return self._answer(self.queried, asked)

    def _answer(self, log: list[tuple[Any, ...]], asked: tuple[Any, ...]) -> PayoutAnswer:
        log.append(asked)
        self.before_answer()
        if self.dies:
            raise Killed
        return self.answers.pop(0) if self.answers else ACCEPTED


class Office:
    """A purse, a payout of KSh 1,000 asked for, and a worker."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock
        self.gateway = Gateway()
        self.slept: list[float] = []
        self.work = tasks.Work(database, self.gateway, RULES, Mute(), wait=self.slept.append)  # type: ignore[arg-type]
        with database.begin() as db:
            self.purse = Purse(db, clock.now)
            self.payout_id = self.purse.ask()

    def run_due(self) -> list[str]:
        with self.database.begin() as db:
            items = outbox.take_due(db, self.clock.now, 100)
        items = [item for item in items if item.kind in KINDS]
        for item in items:
            tasks.run(self.work, item.id)
        return [item.kind for item in items]

    def payout(self, payout_id: UUID | None = None) -> Payout:
        with self.database.begin() as db:
            found = payouts.by_id(db, payout_id or self.payout_id)
        assert found is not None
        return found

    def item(self, kind: str) -> UUID:
        found: UUID = self.value("SELECT id FROM outbox WHERE kind = %s ORDER BY id DESC", [kind])
        return found

    def value(self, sql: Any, given: Any = None) -> Any:
        with self.database.begin() as db:
            return db.value(sql, given)


@pytest.fixture
def office(new_database: Callable[[], Any], now: datetime) -> Iterator[Office]:
    clock = Clock(now)
    with new_database() as url:
        database = Database(url, clock=clock, random=Random(7042))
        yield Office(database, clock)
        database.close()


def test_a_payout_is_claimed_called_recorded_and_done(office: Office) -> None:
    assert office.run_due() == ["submit_payout"]
    ((originator_id, msisdn, cents, remarks, token),) = office.gateway.paid
    assert (originator_id, cents) == (str(office.payout_id), 100_000)
    assert msisdn == office.purse.msisdn
    assert 2 <= len(remarks) <= 100
    with office.database.begin() as db:
        path = reply_paths.by_token(db, token)
    assert path is not None
    assert (path.kind, path.subject_id) == ("payout", office.payout_id)
    assert office.payout().state == "accepted"
    open_rows = "SELECT count(*) FROM outbox WHERE kind = 'submit_payout' AND done_at IS NULL"
    assert office.value(open_rows) == 0


def test_the_identity_is_in_the_database_before_the_call(office: Office) -> None:
    seen: list[Any] = []
    office.gateway.before_answer = lambda: seen.append(office.payout())
    office.run_due()
    (payout,) = seen
    assert (payout.state, payout.originator_id) == ("submitting", str(office.payout_id))


def test_while_the_gateway_cannot_be_asked_nothing_is_claimed(office: Office) -> None:
    office.gateway.away = True
    with pytest.raises(Unavailable):
        office.run_due()
    assert office.payout().state == "approved"
    office.gateway.away = False
    office.clock.passes(5)
    assert "submit_payout" in office.run_due()
    assert len(office.gateway.paid) == 1


def test_a_worker_that_dies_in_the_call_leaves_a_question_and_never_a_second_call(
    office: Office,
) -> None:
    office.gateway.dies = True
    with pytest.raises(Killed):
        office.run_due()
    assert office.payout().state == "submitting"
    office.gateway.dies = False
    office.clock.passes(61)
    assert sorted(office.run_due()) == ["query_payout", "submit_payout"]
    assert (len(office.gateway.paid), len(office.gateway.queried)) == (1, 1)
    ((originator_id, is_reversal, _),) = office.gateway.queried
    assert (originator_id, is_reversal) == (str(office.payout_id), False)
    assert office.payout().state == "unknown"


def test_a_short_absence_of_the_database_loses_no_answer(office: Office) -> None:
    begin, absences = office.database.begin, iter([True, True])

    def away(**given: Any) -> Any:
        if office.gateway.paid and next(absences, False):
            raise Unavailable("away")
        return begin(**given)

    office.database.begin = away  # type: ignore[method-assign]
    with begin() as db:
        (item, *_) = outbox.take_due(db, office.clock.now, 10)
    tasks.run(office.work, item.id)
    assert office.slept == list(RECORD_PAUSES_SECONDS[:2])
    assert office.payout().state == "accepted"


def test_the_same_item_given_to_two_workers_is_one_call(office: Office) -> None:
    item_id = office.item("submit_payout")
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(tasks.run, office.work, item_id) for _ in range(2)]:
            done.result(30)
    assert len(office.gateway.paid) == 1


def test_a_refusal_comes_again_with_the_same_identity_and_path(office: Office) -> None:
    office.gateway.answers = [REFUSED, ACCEPTED]
    office.run_due()
    assert office.payout().state == "approved"
    office.clock.passes(2)
    assert office.run_due() == ["submit_payout"]
    first, second = office.gateway.paid
    assert first == second
    assert office.payout().state == "accepted"


def test_a_lost_answer_is_asked_about(office: Office) -> None:
    office.gateway.answers = [LOST]
    office.run_due()
    office.clock.passes(60)
    assert office.run_due() == ["query_payout"]
    assert len(office.gateway.paid) == 1


def test_a_question_that_is_not_taken_is_asked_again_in_time(office: Office) -> None:
    office.gateway.answers = [LOST, REFUSED, LOST, ACCEPTED]
    office.run_due()
    asked = 0
    for _ in range(20):
        office.clock.passes(60)
        asked += office.run_due().count("query_payout")
    assert asked == len(office.gateway.queried) == 5
    assert len({token for *_, token in office.gateway.queried}) == 5


def test_a_result_kept_in_the_inbox_is_read_by_the_same_path(office: Office) -> None:
    office.run_due()
    with office.database.begin() as db:
        key = f"payout:{office.payout_id}:0"
        assert inbox.keep(db, "result", key, b"<html>", {}, "127.0.0.1", office.clock.now)
    assert "settle_inbox" in office.run_due()
    assert office.payout().state == "unknown"
    assert office.value("SELECT outcome FROM inbox") == "pending"


def test_a_refund_and_what_waits_are_tasks_too(office: Office) -> None:
    with office.database.begin() as db:
        market = open_market(db, office.clock.now)
        bought = settled(db, purchase(db, market, office.clock.now), office.clock.now)
        for seller in (market.wanjiku, market.otieno):
            order = order_of(db, bought, seller)
            deliveries.refuse(db, order.id, seller, office.clock.now)
        refunds.due(db, bought.buyer, office.clock.now)
        halts.halt(db, "initiator", "2001", office.clock.now)
    office.run_due()
    assert office.run_due() == ["submit_payout"]
    assert (office.gateway.paid, office.gateway.reversed) == ([], [])
    with office.database.begin() as db:
        payout_queue.resume(db, "wambui", office.clock.now, RULES)
    assert office.run_due() == ["resume_payouts"]
    assert sorted(office.run_due()) == ["submit_payout", "submit_payout"]
    ((receipt, cents, _, _),) = office.gateway.reversed
    assert (receipt, cents) == (f"R{bought.reference}", bought.total_cents)
    assert len(office.gateway.paid) == 1


def test_a_reversal_whose_answer_was_lost_is_asked_for_again(office: Office) -> None:
    with office.database.begin() as db:
        market = open_market(db, office.clock.now)
        bought = settled(db, purchase(db, market, office.clock.now), office.clock.now)
        for seller in (market.wanjiku, market.otieno):
            order = order_of(db, bought, seller)
            deliveries.refuse(db, order.id, seller, office.clock.now)
    office.gateway.answers = [ACCEPTED, LOST, PayoutAnswer("accepted", "0", "29115-1", "AG_5")]
    office.run_due()
    office.run_due()
    office.clock.passes(60)
    office.run_due()
    first, second = office.gateway.reversed
    assert first == second
    office.clock.passes(60)
    office.run_due()
    ((originator_id, is_reversal, _),) = office.gateway.queried
    assert (originator_id, is_reversal) == ("29115-1", True)
