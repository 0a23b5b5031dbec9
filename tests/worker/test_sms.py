"""The SMS task: cut off anywhere, over real HTTP to the pretend gateway and back by its reports."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from channels import sms_africastalking
from channels.sms_africastalking import Account, AfricasTalking
from channels.switchboard import Switchboard
from channels.ussd import Hopper
from core import broadcasts, messages, orders, outbox, sendings
from core.database import Database
from core.errors import Unavailable
from core.sendings import SendAnswer
from flows import conversations
from simulator.server import Server, listen
from simulator.sms import Message
from simulator.world import Place, World
from tests.core.market import RULES, open_market, person, purchase
from tests.core.people import member
from tests.payments.street import served
from worker import tasks
from worker.relay import Relay

AMINA = "+254711000001"
SECRET = "a-secret-path"
SECOND = timedelta(seconds=1)


class Killed(BaseException):
    """As if the process had been killed at this point."""


class NoGateway:
    """No payment is made here."""


@dataclass
class Deadly:
    """A sender that dies in the middle of a call: before the message has left, or after."""

    inner: AfricasTalking
    after: bool

    def send(self, msisdn: str, text: str) -> SendAnswer:
        if self.after:
            self.inner.send(msisdn, text)
        raise Killed


class Office:
    """Our worker, the pretend gateway and a phone, under one virtual clock."""

    def __init__(self, database: Database, world: World, sender: AfricasTalking) -> None:
        self.database = database
        self.world = world
        self.sender = sender
        self.work = tasks.Work(database, NoGateway(), RULES, sender=sender)  # type: ignore[arg-type]
        self._relay = Relay(database, self._run)
        with database.begin() as db:
            self.amina = member(db, database.clock())

    def tell(self) -> None:
        """One message to Amina, due now."""
        with self.database.begin() as db:
            messages.of_member(db, "pin_changed", self.amina, {}, self.database.clock())

    def wait(self, seconds: int) -> None:
        """Second by second: what is due at the gateway, then what is due with us."""
        for _ in range(seconds):
            self.world.advance(1)
            while self._relay.hand_out():
                pass

    def write(self, text: str, to: str = "22384") -> None:
        """Amina sends an SMS."""
        self.world.sms.say(AMINA, to, text)

    def _run(self, items: Sequence[outbox.Item]) -> None:
        for item in items:
            tasks.run(self.work, item.id)

    def due(self) -> UUID:
        with self.database.begin() as db:
            (item,) = outbox.take_due(db, self.database.clock(), 10)
        return item.id

    def phone(self) -> list[Message]:
        return self.world.sms.inbox(AMINA)

    def stands(self) -> list[tuple[str, bool]]:
        """State and mark of every message, the oldest first."""
        with self.database.begin() as db:
            rows = db.value(
                "SELECT json_agg(json_build_array(state, maybe_twice) ORDER BY created_at, id)"
                " FROM messages"
            )
        return [(state, twice) for state, twice in rows]

    def value(self, sql: Any) -> Any:
        with self.database.begin() as db:
            return db.value(sql)

    @contextmanager
    def killed_in(self, **work: Any) -> Iterator[None]:
        """One worker with this odd equipment, killed by it; the next one is whole again."""
        whole, self.work = self.work, replace(self.work, **work)
        with pytest.raises(Killed):
            yield
        self.work = whole


@pytest.fixture
def office(new_database: Callable[[], Any], now: datetime) -> Iterator[Office]:
    with ExitStack() as stack:
        app = Flask("reports")
        url = stack.enter_context(served(app))
        place = Place(sms_url=f"{url}/channels/sms/africastalking/{SECRET}")
        world = World(place, virtual_from=now, chance=random.Random(7042))
        database = Database(
            stack.enter_context(new_database()), clock=world.clock.now, random=random.Random(1)
        )
        stack.callback(database.close)
        hopper = Hopper(database, RULES, seconds_max=3)
        switchboard = Switchboard(database, hopper, RULES)
        app.register_blueprint(sms_africastalking.blueprint(database, switchboard, secret=SECRET))
        gateway = Server(world, listen("127.0.0.1", 0))
        gateway.start()
        stack.callback(gateway.stop)
        account = Account(gateway.url, "sandbox", "sandbox-api-key")
        sender = stack.enter_context(closing(AfricasTalking(account)))
        yield Office(database, world, sender)


def _cut_after(database: Database, transactions: int) -> Any:
    """The database as a process sees it that is killed after so many transactions."""
    begun = 0

    class Cut:
        clock = staticmethod(database.clock)

        def begin(self, **limits: Any) -> Any:
            self._begins()
            return database.begin(**limits)

        def autocommit(self, **limits: Any) -> Any:
            self._begins()
            return database.autocommit(**limits)

        def _begins(self) -> None:
            nonlocal begun
            if begun == transactions:
                raise Killed
            begun += 1

    return Cut()


def test_a_message_is_sent_once_and_followed_to_the_phone(office: Office) -> None:
    office.tell()
    office.wait(2)
    assert office.stands() == [("sent", False)]
    office.wait(5)
    (message,) = office.phone()
    assert message.text.startswith("Your Sokoni PIN has been changed.")
    assert office.stands() == [("delivered", False)]
    assert office.value("SELECT count(*) FROM outbox WHERE done_at IS NULL") == 0


def test_a_message_that_cannot_be_delivered_says_why(office: Office) -> None:
    office.world.rulebook.change({"sms_report": "AbsentSubscriber"})
    office.tell()
    office.wait(8)
    assert office.stands() == [("failed", False)]
    assert office.value("SELECT failure FROM messages") == "AbsentSubscriber"


def test_a_report_that_comes_before_the_answer_is_not_lost(office: Office) -> None:
    office.tell()

    class ReportFirst:
        """The gateway's report overtakes its answer."""

        def send(self, msisdn: str, text: str) -> SendAnswer:
            answer = office.sender.send(msisdn, text)
            office.world.advance(10)
            assert office.stands() == [("sending", False)]
            return answer

    item = office.due()
    tasks.run(replace(office.work, sender=ReportFirst()), item)
    assert office.stands() == [("delivered", False)]


def test_a_worker_killed_before_its_claim_leaves_the_message_to_the_next(office: Office) -> None:
    office.tell()
    item = office.due()
    with office.killed_in(database=_cut_after(office.database, 1)):
        tasks.run(office.work, item)
    assert office.stands() == [("queued", False)]
    office.wait(70)
    assert len(office.phone()) == 1
    assert office.stands() == [("delivered", False)]


@pytest.mark.parametrize("arrived", [False, True])
def test_a_worker_killed_while_calling_is_followed_by_one_repeat(
    office: Office, arrived: bool
) -> None:
    office.tell()
    item = office.due()
    with office.killed_in(sender=Deadly(office.sender, after=arrived)):
        tasks.run(office.work, item)
    assert office.stands() == [("sending", False)]
    office.wait(300)
    assert len(office.phone()) == 1 + arrived
    assert office.stands() == [("delivered", True)]


def test_a_worker_killed_before_it_wrote_down_the_answer_is_followed_by_one_repeat(
    office: Office,
) -> None:
    office.tell()
    item = office.due()
    with office.killed_in(database=_cut_after(office.database, 2)):
        tasks.run(office.work, item)
    office.wait(300)
    assert len(office.phone()) == 2
    assert office.stands() == [("delivered", True)]


def test_workers_killed_again_and_again_send_no_third_time(office: Office) -> None:
    office.tell()
    for _ in range(2):
        with office.killed_in(sender=Deadly(office.sender, after=True)):
            office.wait(200)
    office.wait(600)
    assert len(office.phone()) == 2
    assert office.stands() == [("unknown", True)]
    assert office.value("SELECT array_agg(kind) FROM incidents") == ["sms_unanswered"]
    assert office.value("SELECT count(*) FROM outbox WHERE done_at IS NULL") == 0


def test_an_answer_that_is_lost_costs_one_repeat(office: Office) -> None:
    lost = {"fault": "reset", "when": "after", "on": "sms", "times": 1}
    office.world.rulebook.change({"faults": [lost]})
    office.tell()
    office.wait(120)
    assert len(office.phone()) == 2
    assert office.stands() == [("delivered", True)]


def test_a_gateway_out_of_breath_is_asked_until_it_takes_the_message(office: Office) -> None:
    busy = {"fault": "too_many", "on": "sms", "times": 4}
    office.world.rulebook.change({"faults": [busy]})
    office.tell()
    office.wait(600)
    assert len(office.phone()) == 1
    assert office.stands() == [("delivered", False)]


def test_without_balance_nothing_is_sent_and_all_of_it_later(office: Office) -> None:
    office.world.rulebook.change({"sms_code": 405})
    for _ in range(3):
        office.tell()
    office.wait(400)
    assert office.phone() == []
    assert office.stands() == [("queued", False)] * 3
    assert office.value("SELECT array_agg(kind) FROM incidents") == [sendings.HALTED]
    assert office.value("SELECT sum(attempts) FROM messages") <= 3

    office.world.rulebook.change({"sms_code": 101})
    office.wait(700)
    assert len(office.phone()) == 3
    assert office.stands() == [("delivered", False)] * 3
    assert office.value("SELECT count(*) FROM incidents WHERE closed_at IS NULL") == 0


def test_an_answer_outlives_a_short_absence_of_the_database(office: Office) -> None:
    office.tell()
    item = office.due()
    waits: list[float] = []
    begun = 0

    class Away:
        """The database, but for its second transaction, which would have recorded the answer."""

        clock = staticmethod(office.database.clock)
        autocommit = staticmethod(office.database.autocommit)

        def begin(self, **limits: Any) -> Any:
            nonlocal begun
            begun += 1
            if begun == 2:
                raise Unavailable("the database went away")
            return office.database.begin(**limits)

    tasks.run(replace(office.work, database=Away(), wait=waits.append), item)  # type: ignore[arg-type]
    assert len(waits) == 1
    assert office.stands() == [("sent", False)]


# Answers to SMS.


def test_an_sms_is_answered_with_a_screen_and_the_screen_with_the_next(office: Office) -> None:
    office.write("MENU")
    office.wait(3)
    (menu,) = office.phone()
    assert menu.text.startswith("Sokoni. Welcome, Amina")
    office.write("2")
    office.wait(3)
    assert len(office.phone()) == 2
    assert office.stands()[-1] == ("sent", False)
    office.wait(5)
    assert set(office.stands()) == {("delivered", False)}
    kept = office.value("SELECT array_agg(DISTINCT class || ' ' || cost_milli_cents) FROM messages")
    assert kept == ["reply 80000"]


def test_a_screen_about_an_order_is_paid_for_by_it(office: Office) -> None:
    with office.database.begin() as db:
        now = office.database.clock()
        db.run("UPDATE members SET deleted_at = %(now)s", {"now": now})  # the market has its own
        db.run("UPDATE places SET name = 'Elsewhere'")
        bought = purchase(db, open_market(db, now), now)
        (order, *_) = orders.lock(db, bought.checkout_id)
    office.write(f"STATUS {order.number}")
    office.wait(3)
    with office.database.begin() as db:
        db.run("DELETE FROM messages WHERE class <> 'reply'")
        spent = messages.cost_of_order(db, order.id)
    assert (spent.messages, spent.milli_cents) == (1, {"KES": 80_000 * spent.segments})


def test_an_sms_that_comes_twice_is_answered_once(office: Office) -> None:
    office.world.rulebook.change({"sms_again_seconds": 1})
    office.write("HELP")
    office.wait(10)
    (told,) = office.phone()
    assert told.text.startswith("Sokoni: write BUY maize 2")
    assert office.value("SELECT count(*) FROM heard") == 1


def test_a_worker_killed_while_it_sends_a_screen_is_followed_by_one_repeat(office: Office) -> None:
    office.write("MENU")
    office.world.advance(1)
    item = office.due()
    with office.killed_in(sender=Deadly(office.sender, after=True)):
        tasks.run(office.work, item)
    office.wait(300)
    assert len(office.phone()) == 2
    assert office.stands() == [("delivered", True)]


# Broadcasts.


def people(office: Office, count: int) -> list[UUID]:
    with office.database.begin() as db:
        return [person(db, office.database.clock(), 100 + number) for number in range(count)]


def broadcast(office: Office, receivers: list[UUID]) -> None:
    with office.database.begin() as db:
        broadcasts.put(db, "day", {"en": "Cheap today."}, receivers, RULES, office.database.clock())


def test_a_broadcast_reaches_everybody_once_in_calls_of_a_hundred(office: Office) -> None:
    calls: list[int] = []

    class Counting:
        def send_all(self, msisdns: list[str], text: str) -> Any:
            calls.append(len(msisdns))
            return office.sender.send_all(msisdns, text)

    office.work = replace(office.work, sender=Counting())  # type: ignore[arg-type]
    broadcast(office, people(office, 130))
    office.wait(10)
    assert sorted(calls) == [30, 100]
    assert office.stands() == [("delivered", False)] * 130
    assert len(office.world.sms.inbox("+254711000229")) == 1


def test_of_a_broadcast_each_message_has_its_own_fate(office: Office) -> None:
    codes = {"+254711000100": 403, "+254711000101": 406, "+254711000102": 501}
    office.world.rulebook.change({"sms_codes": codes})
    broadcast(office, people(office, 5))
    office.wait(10)
    found = office.value(
        "SELECT json_agg(json_build_array(state, failure) ORDER BY msisdn) FROM messages"
    )
    assert found == [
        ["failed", "InvalidPhoneNumber"],
        ["failed", "UserInBlacklist"],
        ["queued", "GatewayError"],
        ["delivered", None],
        ["delivered", None],
    ]
    office.world.rulebook.change({"sms_codes": {}})
    office.wait(60)
    assert len(office.world.sms.inbox("+254711000102")) == 1
    assert len(office.world.sms.inbox("+254711000103")) == 1
    assert office.value("SELECT count(*) FROM incidents") == 0
    assert office.value("SELECT array_agg(msisdn) FROM opt_outs") == ["+254711000101"]


def test_a_broadcast_of_which_nobody_knows_is_repeated_once_and_marked(office: Office) -> None:
    lost = {"fault": "reset", "when": "after", "on": "sms", "times": 1}
    office.world.rulebook.change({"faults": [lost]})
    broadcast(office, people(office, 3))
    office.wait(120)
    assert office.stands() == [("delivered", True)] * 3
    assert len(office.world.sms.inbox("+254711000100")) == 2


def test_a_broadcast_waits_behind_a_receipt(office: Office) -> None:
    broadcast(office, people(office, 130))
    office.tell()
    with office.database.begin() as db:
        first, *_ = outbox.take_due(db, office.database.clock(), 1)
    assert first.kind == "sms"


# Other ways than SMS.


def test_whom_the_network_bars_is_told_on_telegram_if_there_is_a_chat(office: Office) -> None:
    office.world.rulebook.change({"sms_codes": {AMINA: 406}})
    with office.database.begin() as db:
        conversations.prove(db, "telegram", "7001", AMINA, office.database.clock())
        conversations.lock(db, "ussd", AMINA, AMINA, office.database.clock() + SECOND)
    office.tell()
    tasks.run(office.work, office.due())
    assert office.value("SELECT channel FROM messages") is None
    with office.database.begin() as db:
        (item,) = outbox.take_due(db, office.database.clock(), 10)
    tasks.run(office.work, item.id)
    assert office.value("SELECT channel || ' ' || address FROM messages") == "telegram 7001"
    with office.database.begin() as db:
        (item,) = outbox.take_due(db, office.database.clock(), 10)
    assert item.kind == "telegram_message"


def test_whom_nothing_reaches_an_operator_hears_of(office: Office) -> None:
    office.world.rulebook.change({"sms_codes": {AMINA: 406}})
    office.tell()
    office.wait(5)
    assert office.stands() == [("failed", False)]
    assert office.value("SELECT array_agg(kind) FROM incidents") == ["unreachable"]


def test_the_nudge_of_the_schedule_runs(office: Office) -> None:
    tasks.SCHEDULED["nudge"](office.work)
    assert office.value("SELECT count(*) FROM messages") == 0
