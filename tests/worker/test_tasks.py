"""The tasks by themselves: run twice, cut off anywhere, given back; with a gateway we script."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from core import charges, inbox, outbox
from core.charges import Charge, ChargeResult, PushAnswer
from core.database import Database, Db
from core.errors import CommitUnknown, Unavailable
from tests.core.market import (
    RULES,
    TOTAL_CENTS,
    Market,
    Purchase,
    msisdn,
    open_market,
    person,
    purchase,
    pushed,
)
from tests.payments.street import PAYMENT_KINDS, Mute
from worker import tasks
from worker.work import RECORD_PAUSES_SECONDS

PAYLOADS = Path(__file__).parent.parent / "payloads" / "daraja"


ACCEPTED = PushAnswer("accepted", "ws_CO_1", "group-1", "0")
PAID = ChargeResult("query", "paid", "0")


class Killed(BaseException):
    """As if the process had been killed at this point."""


@dataclass
class Gateway:
    """A provider that does what a test says and counts what it was asked."""

    answer: PushAnswer = ACCEPTED
    result: ChargeResult = PAID
    away: bool = False
    dies: bool = False
    before_answer: Callable[[], object] = lambda: None
    pushed: list[tuple[str, int, str, str]] = field(default_factory=list)
    queried: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        if self.away:
            raise Unavailable("no token")

    def request_payment(
        self, msisdn: str, amount_cents: int, reference: str, description: str, token: str
    ) -> PushAnswer:
        self.pushed.append((msisdn, amount_cents, reference, token))
        assert 1 <= len(description) <= 13
        self.before_answer()
        if self.dies:
            raise Killed
        return self.answer

    def query_payment(self, push_id: str) -> ChargeResult:
        if self.away:
            raise Unavailable("no answer")
        self.queried.append(push_id)
        return self.result


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Shop:
    """One purchase, its charge waiting to be pushed, and a worker to run tasks."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.gateway = Gateway()
        self.work = tasks.Work(database, self.gateway, RULES, sender=Mute())
        with database.begin() as db:
            self.market: Market = open_market(db, clock.now)
            self.bought: Purchase = purchase(db, self.market, clock.now)

    def due(self) -> list[outbox.Item]:
        """Only what is about payments."""
        with self.database.begin() as db:
            items = outbox.take_due(db, self.clock.now, 100)
        return [item for item in items if item.kind in PAYMENT_KINDS]

    def run_due(self) -> list[str]:
        items = self.due()
        for item in items:
            tasks.run(self.work, item.id)
        return [item.kind for item in items]

    def charge(self) -> Charge:
        with self.database.begin() as db:
            found = charges.by_id(db, self.bought.charge_id)
        assert found is not None
        return found

    def value(self, sql: Any) -> Any:
        with self.database.begin() as db:
            return db.value(sql)

    def push_item(self) -> UUID:
        found: UUID = self.value("SELECT id FROM outbox WHERE kind = 'stk_push'")
        return found


@pytest.fixture
def shop(new_database: Callable[[], Any], now: datetime) -> Any:
    clock = Clock(now)
    with new_database() as url:
        database = Database(url, clock=clock, random=Random(7042))
        yield Shop(database, clock)
        database.close()


def test_every_kind_of_the_outbox_has_its_task() -> None:
    assert tasks.TASKS.keys() == outbox.KINDS.keys()


def test_a_push_is_claimed_called_recorded_and_done(shop: Shop) -> None:
    shop.clock.passes(4)
    assert shop.run_due() == ["stk_push"]
    ((msisdn, cents, reference, token),) = shop.gateway.pushed
    assert (msisdn, cents, reference) == (shop.bought.payer, TOTAL_CENTS, shop.bought.reference)
    with shop.database.begin() as db:
        found = charges.by_token(db, token)
    assert found is not None
    assert found.id == shop.bought.charge_id
    assert (shop.charge().state, shop.charge().push_id) == ("pending", "ws_CO_1")
    assert shop.value("SELECT done_at IS NOT NULL FROM outbox WHERE kind = 'stk_push'")


def test_no_transaction_is_open_while_the_provider_is_called(shop: Shop) -> None:
    seen = []

    def look() -> None:
        seen.append(
            shop.value(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state LIKE 'idle in transaction%'"
            )
        )

    shop.gateway.before_answer = look
    shop.clock.passes(4)
    shop.run_due()
    assert seen == [0]


def test_a_push_given_to_two_workers_at_once_is_made_once(shop: Shop) -> None:
    shop.clock.passes(4)
    (item,) = shop.due()
    together = Barrier(8)

    def work(_: int) -> None:
        together.wait()
        tasks.run(shop.work, item.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(shop.gateway.pushed) == 1
    assert shop.charge().state == "pending"


def test_a_push_handed_out_again_when_it_is_done_does_nothing(shop: Shop) -> None:
    shop.clock.passes(4)
    item_id = shop.push_item()
    shop.run_due()
    tasks.run(shop.work, item_id)
    assert len(shop.gateway.pushed) == 1


@pytest.mark.parametrize("moment", ["during the call", "before the record"])
def test_a_worker_killed_after_its_claim_pushes_no_second_time(shop: Shop, moment: str) -> None:
    shop.clock.passes(4)
    (item,) = shop.due()
    if moment == "during the call":
        shop.gateway.dies = True
    else:
        shop.work = replace(shop.work, database=_cut_after(shop.database, 3))
    with pytest.raises(Killed):
        tasks.run(shop.work, item.id)
    shop.work = replace(shop.work, database=shop.database)
    assert shop.charge().state == "created"
    for _ in range(20):  # the lease ends, the timers come, an hour goes by
        shop.clock.passes(180)
        shop.run_due()
    assert len(shop.gateway.pushed) == 1
    assert shop.charge().state == "review"


def _cut_after(database: Database, transactions: int) -> Database:
    """The same database for a process that dies when it begins one transaction more."""
    return _Failing(database, lambda begun: begun >= transactions, Killed)


def _away_between(database: Database, first: int, last: int) -> Database:
    """The same database, away when its transactions of these numbers are begun."""
    return _Failing(database, lambda begun: first <= begun < last, Unavailable)


class _Failing(Database):
    def __init__(
        self, database: Database, fails: Callable[[int], bool], error: type[BaseException]
    ) -> None:
        self.clock = database.clock
        self._database, self._fails, self._error = database, fails, error
        self._begun = 0

    @contextmanager
    def begin(self, **given: Any) -> Iterator[Db]:
        self._begins()
        with self._database.begin(**given) as db:
            yield db

    @contextmanager
    def autocommit(self, *, seconds: float) -> Iterator[Db]:
        self._begins()
        with self._database.autocommit(seconds=seconds) as db:
            yield db

    def _begins(self) -> None:
        self._begun += 1
        if self._fails(self._begun - 1):
            raise self._error("at this moment")


@pytest.mark.parametrize("transactions", [0, 1, 2])
def test_a_worker_killed_before_its_claim_leaves_the_push_to_the_next(
    shop: Shop, transactions: int
) -> None:
    shop.clock.passes(4)
    (item,) = shop.due()
    shop.work = replace(shop.work, database=_cut_after(shop.database, transactions))
    with pytest.raises(Killed):
        tasks.run(shop.work, item.id)
    shop.work = replace(shop.work, database=shop.database)
    shop.clock.passes(outbox.KINDS["stk_push"].lease_seconds + 1)
    assert shop.run_due() == ["stk_push"]
    assert shop.charge().state == "pending"
    assert len(shop.gateway.pushed) == 1


def test_the_answer_to_a_push_outlives_a_short_absence_of_the_database(shop: Shop) -> None:
    shop.clock.passes(4)
    (item,) = shop.due()
    waits: list[float] = []
    is_away = _away_between(shop.database, 3, 6)
    shop.work = replace(shop.work, database=is_away, wait=waits.append)
    tasks.run(shop.work, item.id)
    assert len(waits) == 3
    assert (shop.charge().state, shop.charge().push_id) == ("pending", "ws_CO_1")
    assert len(shop.gateway.pushed) == 1


def test_a_long_absence_of_the_database_loses_the_answer_and_pushes_no_second_time(
    shop: Shop,
) -> None:
    shop.clock.passes(4)
    (item,) = shop.due()
    waits: list[float] = []
    is_away = _away_between(shop.database, 3, 99)
    shop.work = replace(shop.work, database=is_away, wait=waits.append)
    with pytest.raises(Unavailable):
        tasks.run(shop.work, item.id)
    assert tuple(waits) == RECORD_PAUSES_SECONDS
    shop.work = replace(shop.work, database=shop.database)
    shop.clock.passes(61)
    shop.run_due()
    assert shop.charge().state == "unknown"
    assert len(shop.gateway.pushed) == 1


def test_an_unknown_answer_is_recorded_and_never_repeated(shop: Shop) -> None:
    shop.gateway.answer = PushAnswer("unknown", None, None, "timeout")
    shop.clock.passes(4)
    shop.run_due()
    assert shop.charge().state == "unknown"
    shop.clock.passes(600)
    shop.run_due()
    assert len(shop.gateway.pushed) == 1


def show_screen(shop: Shop, *, is_open: bool) -> None:
    """As a hop leaves the conversation of the payer's phone."""
    with shop.database.begin() as db:
        db.run(
            """
            INSERT INTO conversations (id, channel, address, msisdn, open, accepted_length, turn,
                                       created_at, updated_at)
            VALUES (%(id)s, 'ussd', %(msisdn)s, %(msisdn)s, %(open)s, 0, 0, %(now)s, %(now)s)
            ON CONFLICT (channel, address) DO UPDATE
            SET open = %(open)s, updated_at = %(now)s
            """,
            {
                "id": db.new_id(),
                "msisdn": shop.bought.payer,
                "open": is_open,
                "now": shop.clock.now,
            },
        )


def test_a_push_waits_while_a_screen_is_open_on_that_phone(shop: Shop) -> None:
    shop.clock.passes(4)
    show_screen(shop, is_open=True)
    for _ in range(3):
        assert shop.run_due() == ["stk_push"]
        assert shop.run_due() == []
        shop.clock.passes(tasks.SCREEN_SECONDS)
    assert shop.gateway.pushed == []
    assert shop.charge().claimed_at is None
    show_screen(shop, is_open=False)
    shop.run_due()
    assert len(shop.gateway.pushed) == 1


def test_a_push_does_not_wait_for_ever_for_a_screen_to_close(shop: Shop) -> None:
    shop.clock.passes(4)
    waits = 0
    while not shop.gateway.pushed:
        show_screen(shop, is_open=True)
        shop.run_due()
        shop.clock.passes(tasks.SCREEN_SECONDS)
        waits += 1
    assert waits == tasks.SCREEN_WAITS_MAX + 1


def test_while_the_provider_is_away_nothing_is_claimed_and_the_push_comes_later(
    shop: Shop,
) -> None:
    shop.gateway.away = True
    shop.clock.passes(4)
    for _ in range(3):
        (item,) = shop.due()
        with pytest.raises(Unavailable):
            tasks.run(shop.work, item.id)
        assert shop.due() == []  # each time later
        shop.clock.passes(30)
    assert shop.charge().claimed_at is None
    shop.gateway.away = False
    shop.run_due()
    assert len(shop.gateway.pushed) == 1


def test_a_push_whose_time_to_pay_is_over_is_not_made(shop: Shop) -> None:
    shop.gateway.away = True
    shop.clock.passes(4)
    (item,) = shop.due()
    with pytest.raises(Unavailable):
        tasks.run(shop.work, item.id)
    shop.gateway.away = False
    shop.clock.passes(RULES.reservation_minutes * 60)
    shop.run_due()
    assert shop.gateway.pushed == []
    assert shop.charge().state == "refused"


def test_a_query_settles_and_the_next_one_was_set_before_it_was_asked(shop: Shop) -> None:
    shop.clock.passes(4)
    shop.run_due()
    shop.gateway.away = True
    shop.clock.passes(30)
    assert shop.run_due() == ["query_charge"]
    assert shop.charge().state == "pending"
    shop.gateway.away = False
    shop.clock.passes(30)
    assert shop.run_due() == ["query_charge"]
    assert shop.gateway.queried == ["ws_CO_1"]
    assert shop.charge().state == "paid"
    shop.clock.passes(3600)
    shop.run_due()
    assert shop.gateway.queried == ["ws_CO_1"]
    waiting = "SELECT count(*) FROM outbox WHERE done_at IS NULL AND kind = 'query_charge'"
    assert shop.value(waiting) == 0


def test_a_query_lost_in_the_middle_comes_again(shop: Shop) -> None:
    shop.clock.passes(4)
    shop.run_due()
    shop.clock.passes(30)
    (item,) = shop.due()
    shop.work = replace(shop.work, database=_cut_after(shop.database, 2))
    with pytest.raises(Killed):
        tasks.run(shop.work, item.id)
    shop.work = replace(shop.work, database=shop.database)
    shop.clock.passes(31)
    assert shop.run_due() == ["query_charge"]
    assert shop.charge().state == "paid"


def keep_callback(shop: Shop) -> UUID:
    with shop.database.begin() as db:
        body = (PAYLOADS / "stk_cancelled.json").read_bytes()
        now = shop.clock.now
        item = inbox.keep(db, "stk", str(shop.bought.charge_id), body, {}, "127.0.0.1", now)
    assert item is not None
    return item


def test_a_kept_callback_is_settled_once_however_often_it_is_handed_out(shop: Shop) -> None:
    shop.gateway.answer = PushAnswer(
        "accepted", "ws_CO_170820261404032708374149", "29115-34620561-1", "0"
    )
    shop.clock.passes(4)
    shop.run_due()
    keep_callback(shop)
    (item,) = shop.due()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tasks.run(shop.work, item.id), range(4)))
    assert shop.charge().state == "failed"
    assert shop.value("SELECT outcome FROM inbox") == "failed"
    assert shop.value("SELECT done_at IS NOT NULL FROM outbox WHERE kind = 'settle_inbox'")


def paid_callback(bought: Purchase, receipt: str) -> bytes:
    items = {"Amount": bought.total_cents // 100, "MpesaReceiptNumber": receipt}
    metadata = {"Item": [{"Name": name, "Value": value} for name, value in items.items()]}
    said = {"ResultCode": 0, "CallbackMetadata": metadata}
    return json.dumps({"Body": {"stkCallback": said}}).encode()


def kept_payments(shop: Shop, count: int) -> tuple[list[Purchase], list[UUID]]:
    """So many purchases, each paid, and the rows of the outbox that ask to book that."""
    bought = []
    with shop.database.begin() as db:
        for n in range(count):
            buyer, now = person(db, shop.clock.now, 50 + n), shop.clock.now
            one = purchase(db, shop.market, now, buyer=buyer, payer=msisdn(50 + n))
            pushed(db, one, now, push=str(n))
            body = paid_callback(one, f"RCPT00000{n}")
            inbox.keep(db, "stk", str(one.charge_id), body, {}, "127.0.0.1", now)
            bought.append(one)
    return bought, [item.id for item in shop.due() if item.kind == "settle_inbox"]


def states(shop: Shop) -> list[str]:
    """Of the charges whose callbacks were kept, in the order of these."""
    found: list[str] = shop.value(
        "SELECT array_agg(c.state ORDER BY i.id) FROM inbox i JOIN charges c ON c.id::text = i.key"
    )
    return found


_COMMITS = "SELECT count(DISTINCT xmin::text) FROM transfers"


def test_callbacks_handed_out_together_are_booked_in_one_transaction(shop: Shop) -> None:
    _, item_ids = kept_payments(shop, 3)
    tasks.run_all(shop.work, "settle_inbox", item_ids)
    assert states(shop) == ["paid"] * 3
    assert shop.value(_COMMITS) == 1
    assert shop.value("SELECT array_agg(DISTINCT outcome) FROM inbox") == ["paid"]
    assert [item.kind for item in shop.due() if item.kind == "settle_inbox"] == []


def test_a_callback_that_spoils_the_booking_of_several_holds_up_itself_alone(shop: Shop) -> None:
    bought, item_ids = kept_payments(shop, 3)
    with shop.database.begin() as db:  # as nothing of ours leaves it
        db.run(
            "DELETE FROM escrows USING orders WHERE order_id = id AND checkout_id = %s",
            [bought[1].checkout_id],
        )
    with pytest.raises(AssertionError, match="escrows"):
        tasks.run_all(shop.work, "settle_inbox", item_ids)
    assert states(shop) == ["paid", "pending", "paid"]
    assert shop.value(_COMMITS) == 2
    shop.clock.passes(3)
    assert [item.id for item in shop.due() if item.kind == "settle_inbox"] == [item_ids[1]]


def test_what_is_no_payment_is_settled_by_itself_beside_those_that_are(shop: Shop) -> None:
    _, item_ids = kept_payments(shop, 2)
    keep_callback(shop)  # a prompt that was cancelled, and never recorded as made
    with shop.database.begin() as db:
        inbox.keep(db, "c2b", "unreadable", b"{}", {}, "127.0.0.1", shop.clock.now)
    item_ids += [item.id for item in shop.due() if item.kind == "settle_inbox"]
    tasks.run_all(shop.work, "settle_inbox", item_ids)
    assert sorted(states(shop)) == ["failed", "paid", "paid"]
    assert shop.value("SELECT count(*) FROM inbox WHERE outcome = 'unreadable'") == 1
    assert [item.kind for item in shop.due() if item.kind == "settle_inbox"] == []


def test_the_same_callbacks_given_to_several_workers_are_booked_once(shop: Shop) -> None:
    _, item_ids = kept_payments(shop, 3)
    orders_of_work = [item_ids, item_ids[::-1], item_ids[:2], item_ids[1:]]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda ids: tasks.run_all(shop.work, "settle_inbox", ids), orders_of_work))
    assert states(shop) == ["paid"] * 3
    assert shop.value("SELECT count(*) FROM transfers") == 3


def test_callbacks_whose_commit_nobody_heard_of_are_booked_once(shop: Shop) -> None:
    _, item_ids = kept_payments(shop, 3)

    class Unheard(Database):
        """Every commit happens, and the connection breaks before it is said so."""

        clock = shop.clock

        def __init__(self) -> None:
            self.unheard = 0
            self.autocommit = shop.database.autocommit  # type: ignore[method-assign]

        @contextmanager
        def begin(self, **given: Any) -> Iterator[Db]:
            with shop.database.begin(**given) as db:
                yield db
            self.unheard += 1
            if self.unheard == 1:
                raise CommitUnknown("the connection broke during the commit")

    tasks.run_all(replace(shop.work, database=Unheard()), "settle_inbox", item_ids)
    assert states(shop) == ["paid"] * 3
    assert shop.value("SELECT count(*) FROM transfers") == 3


def test_a_task_that_fails_is_given_back_each_time_later_and_then_somebody_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(tasks.callbacks, "settle", broken)
    keep_callback(shop)
    pauses = []
    for _ in range(tasks.FAILURES_BEFORE_INCIDENT):
        assert shop.value("SELECT count(*) FROM incidents") == 0
        (item,) = [each for each in shop.due() if each.kind == "settle_inbox"]
        with pytest.raises(ZeroDivisionError):
            tasks.run(shop.work, item.id)
        due_at = shop.value("SELECT due_at FROM outbox WHERE kind = 'settle_inbox'")
        pauses.append((due_at - shop.clock.now).total_seconds())
        shop.clock.now = due_at
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256]
    assert shop.value("SELECT kind FROM incidents") == "task_fails"
    assert shop.value("SELECT last_error FROM outbox WHERE kind = 'settle_inbox'") == (
        "ZeroDivisionError"
    )
    assert shop.value("SELECT processed_at IS NULL FROM inbox")
    monkeypatch.undo()
    shop.run_due()
    assert shop.value("SELECT processed_at IS NOT NULL FROM inbox")


def test_a_row_tidied_away_meanwhile_is_no_work(shop: Shop) -> None:
    tasks.run(shop.work, UUID(int=7))


def test_an_unpaid_checkout_expires_when_its_time_is_up(shop: Shop) -> None:
    shop.gateway.answer = PushAnswer("refused", None, None, "400.002.02")
    shop.clock.passes(4)
    shop.run_due()
    shop.clock.passes(RULES.reservation_minutes * 60)
    assert "expire_checkout" in shop.run_due()
    assert shop.value("SELECT DISTINCT state FROM orders") == "expired"


def test_tidying_forgets_what_was_done_long_ago_and_nothing_else(shop: Shop) -> None:
    shop.clock.passes(4)
    shop.run_due()
    waiting = shop.value("SELECT count(*) FROM outbox WHERE done_at IS NULL")
    tasks.tidy(shop.work)
    assert shop.value("SELECT count(*) FROM outbox WHERE done_at IS NOT NULL") == 1
    shop.clock.passes(tasks.DONE_KEPT.total_seconds() + 1)
    tasks.tidy(shop.work)
    assert shop.value("SELECT count(*) FROM outbox WHERE done_at IS NOT NULL") == 0
    assert shop.value("SELECT count(*) FROM outbox") == waiting


def test_a_ledger_in_order_opens_no_incident(shop: Shop) -> None:
    shop.clock.passes(4)
    shop.run_due()
    shop.clock.passes(30)
    shop.run_due()
    assert shop.charge().state == "paid"
    tasks.check_ledger(shop.work)
    assert shop.value("SELECT count(*) FROM incidents") == 0


def test_a_cached_balance_that_was_tampered_with_is_an_incident_once(shop: Shop) -> None:
    shop.clock.passes(4)
    shop.run_due()
    shop.clock.passes(30)
    shop.run_due()
    with shop.database.begin() as db:
        assert db.run("UPDATE accounts SET balance_cents = 1 WHERE balance_cents > 0") > 0
    tasks.check_ledger(shop.work)
    tasks.check_ledger(shop.work)
    assert shop.value("SELECT string_agg(kind, ' ') FROM incidents") == "ledger_is_wrong"
