"""A town to live a day in: the real system and the pretend world, under one clock and one fate."""

import json
import logging
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit
from uuid import UUID

import argon2
import psycopg
import structlog

import app as web
from core import ledger, outbox, pins
from core.database import Db
from core.errors import Unavailable
from core.orders import Receiver
from core.rules import Rules
from payments import daraja
from payments.africastalking import Account
from settings import Settings
from simulator import outbound, server
from simulator.books import account
from simulator.world import (
    SANDBOX_B2C_SHORTCODE,
    SANDBOX_PASSKEY,
    SANDBOX_SHORTCODE,
    Place,
    World,
)
from tests import emptied
from tests.core import office
from tests.core.market import Market, add_offer, msisdn, open_market, person
from tests.simulation.fate import Fate, Job, Killed
from tests.simulation.mortal import MortalDatabase, mortal_statements
from tests.simulation.wires import Wire, WiredDaraja, WiredInsights, WiredSms, answer
from worker import tasks
from worker.relay import BrokerAway, Relay
from worker.work import Work

BEGIN = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
C2B_UTILITY = account(SANDBOX_SHORTCODE, "Utility")
B2C_UTILITY = account(SANDBOX_B2C_SHORTCODE, "Utility")
CAPITAL_CENTS = 3_000_00
RICH_CENTS = 400_000_00  # less than a phone may hold, more than M-Pesa moves at once
WELL_OFF_CENTS = 10_000_00
MILL_CENTS = 90_000_00  # three of them are more than M-Pesa moves at once
# Of more, two people decide.
AUTOMATIC_CENTS, DECIDED_ALONE_CENTS, RESOLVED_ALONE_CENTS = 1_500_00, 600_00, 600_00
ALONE_A_DAY_CENTS = 800_00
PIN = "2580"
OUR_URL, THEIR_URL = "http://sokoni", "http://pretend"
# These wait for what we say; everything else travels by the post.
_ASKED = ("/channels/ussd/", "/validation")
_MPESA_TELLS = ("payments/stk", "payments/results", "payments/c2b")
# Weak on purpose: a PIN is typed thousands of times here, and nobody steals these.
_WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Letter:
    """Something M-Pesa or Africa's Talking posts to us, not delivered yet."""

    number: int
    path: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def name(self) -> str:
        """The path without its secret."""
        parts = self.path.strip("/").split("/")
        return "/".join(parts[:2]) if parts[0] == "payments" else parts[-1]


@dataclass
class Person:
    """msisdn: of the phone she has now; "" while she has none."""

    id: UUID
    name: str
    msisdn: str
    session: str | None = None  # of USSD
    screen: str = ""


class Ground:
    """What is built once a process: the database, both web applications."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(
            sokoni_env="test",
            hop_seconds_max=9,
            public_base_url=OUR_URL,
            daraja_base_url=THEIR_URL,
            africastalking_base_url=THEIR_URL,
            quiet_hours="0-0",
            hops_a_minute_max=0,
            log_level="ERROR",
        )
        self.town: Town | None = None
        self.database = MortalDatabase(url, self._now)
        self.web = web.create_app(self.settings, database=self.database)
        self.pretend = server.create_app(_Present(self))  # type: ignore[arg-type]
        self.broken: list[str] = []  # what was logged as an error
        with psycopg.connect(url) as connection:
            self._reset = emptied.statements(connection)

    def _now(self) -> datetime:
        return self.town.world.clock.now() if self.town else BEGIN

    def _hear(self, _logger: Any, _level: str, event: Any) -> Any:
        """Keep what no day may bring; that something was away for a while is not of it."""
        if event["event"] in ("hop_broken", "ledger_is_wrong"):
            self.broken.append(f"{event['event']} {sys.exc_info()[1] or ''}".strip())
        raise structlog.DropEvent

    def clear(self) -> None:
        """Nobody and nothing is in the database any more; numbers begin anew."""
        with self.database.begin() as db:
            db._session.tell(self._reset)


@contextmanager
def ground(url: str) -> Iterator[Ground]:
    """A ground on that database; what is logged meanwhile is heard by it alone."""
    configured, root = structlog.get_config(), logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    made = Ground(url)
    structlog.configure(
        processors=[made._hear],
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        cache_logger_on_first_use=False,
    )
    logging.disable()
    try:
        with mortal_statements(made.database), patch.object(pins, "_HASHER", _WEAK):
            yield made
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**configured)
        root.handlers[:], (sys.excepthook, threading.excepthook) = handlers, hooks
        root.setLevel(level)
        logging.captureWarnings(False)
        made.database.close()


class _Present:
    """The pretend world of the day that is being lived; before the first, an empty one."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._empty = World(virtual_from=BEGIN, chance=random.Random(0))

    def __getattr__(self, name: str) -> Any:
        town = self._ground.town
        return getattr(self._empty if town is None else town.world, name)


class Town:
    """One day's town: its people, what travels to and fro, and who works on it."""

    def __init__(
        self,
        ground: Ground,
        seed: object,
        fate: Fate,
        on_hand_milli: int = 30_000,
        capital_cents: int = CAPITAL_CENTS,
    ) -> None:
        self.ground, self.fate, self.database = ground, fate, ground.database
        ground.town = None
        ground.broken.clear()
        ground.clear()
        self.letters: list[Letter] = []
        self.heard: list[Letter] = []  # of M-Pesa's, which were delivered
        self.lost: list[Letter] = []  # of M-Pesa's, never to be delivered again
        self.queue: list[outbox.Item] = []  # what the broker holds
        self.reversed: list[str] = []  # receipts of what M-Pesa itself gave back
        self.full: frozenset[outbox.Queue] = frozenset()  # queues that take no more
        self._names: dict[object, int] = {}
        self._letters = 0
        self.world = World(
            _place(), virtual_from=BEGIN, chance=random.Random(f"world {seed}"), post=self._post
        )
        ground.town = self
        self.database.fate = fate
        self.database.random.seed(f"database {seed}")
        self.rules: Rules = replace(
            ground.settings.rules(),
            payout_automatic_max_cents=AUTOMATIC_CENTS,
            dispute_second_above_cents=DECIDED_ALONE_CENTS,
            difference_second_above_cents=RESOLVED_ALONE_CENTS,
            decisions_alone_max_cents=ALONE_A_DAY_CENTS,
        )
        self.wire = Wire(ground.pretend, fate, self.wait)
        self.start_workers()
        with self.database.begin() as db:
            self.market = self._open(db, on_hand_milli)
        self.fill_float(capital_cents, "morning")

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    def start_workers(self) -> None:
        """Processes of the worker and the relay begin, with nothing in their heads."""
        self.daraja = WiredDaraja(
            daraja.Account(
                base_url=THEIR_URL,
                consumer_key=self.world.place.consumer_key,
                consumer_secret=self.world.place.consumer_secret,
                shortcode=SANDBOX_SHORTCODE,
                passkey=SANDBOX_PASSKEY,
                public_base_url=OUR_URL,
                b2c_shortcode=SANDBOX_B2C_SHORTCODE,
                initiator=self.world.place.initiator,
                initiator_password=self.world.place.initiator_password,
                certificate=_certificate(self.world),
                calls_per_second=1e9,
                statement_url=f"{THEIR_URL}/simulator/api/statement?format=csv",
            ),
            self.wire,
            clock=self.world.clock.now,
        )
        place = self.world.place
        account = Account(THEIR_URL, place.africastalking_username, place.africastalking_api_key)
        self.work = tasks.Work(
            self.database,
            self.daraja,
            self.rules,
            WiredSms(account, "22384", self.wire),
            wait=self.wait,
            insights=WiredInsights(account, self.wire),
        )
        self.relay = Relay(self.database, self._send, full=lambda: self.full)
        if not self.world.c2b._urls:
            secret = self.ground.settings.daraja_c2b_secret.get_secret_value()
            assert self.daraja.register_urls(secret) == "registered"
            assert self.daraja.register_pull("+254722000000", secret) == "registered"

    def restart(self) -> None:
        """All processes die, and the broker with what it held; the database stands."""
        self.queue.clear()
        self.start_workers()

    # --- what is done, each as a job ----------------------------------------------------------

    def do(self, job: Job, act: Callable[[], object]) -> str:
        """The job's outcome in a word. Raises whatever nobody may raise."""
        with self.fate.working(job):
            try:
                outcome = str(act())
            except Killed:
                return "dies"
            except Exception as error:
                if not _is_borne(error):
                    raise
                return type(error).__name__
        return outcome

    def run_task(self, item: outbox.Item) -> str:
        """What waits in the queue and can be done at once with it comes with it."""
        kind = item.kind
        if kind not in tasks.AT_ONCE:
            try:
                tasks.run(self.work, item.id)
            finally:
                if kind == "change_number":
                    self._meet_again()
            return "done"
        along = [each for each in self.queue if each.kind == kind]
        self.queue[:] = [each for each in self.queue if each.kind != kind]
        at_once, broken = tasks.AT_ONCE[kind], []

        def watched(work: Work, item_ids: Sequence[UUID]) -> set[UUID]:
            try:
                return at_once(work, item_ids)
            except Exception as error:
                broken.append(error)
                raise

        with patch.dict(tasks.AT_ONCE, {kind: watched}):  # type: ignore[arg-type]
            tasks.run_all(self.work, kind, list(dict.fromkeys([item.id, *(e.id for e in along)])))
        for error in broken:  # it would only have cost time: each is done by itself after that
            if not _is_borne(error):
                raise error
        return "done"

    def deliver(self, letter: Letter) -> str:
        """Our web server's answer to it."""
        status, _, _ = answer(
            self.ground.web, "POST", OUR_URL + letter.path, letter.headers, letter.body
        )
        if status == 200 and letter.name in _MPESA_TELLS:
            self.heard.append(letter)
        return str(status)

    def lose(self, letter: Letter) -> str:
        if letter.name.startswith("payments/"):
            self.lost.append(letter)
        return "lost"

    def wait(self, seconds: float) -> None:
        """Time passes; M-Pesa and the phones do what they do."""
        self.world.advance(seconds)

    def named(self, kind: str, subject: object) -> str:
        """A short name for an id, the same each time it is met."""
        number = self._names.setdefault((kind, subject), 1 + len(self._names))
        return f"{kind} #{number}"

    def fill_float(self, cents: int, key: str) -> str:
        """Own capital comes to the payout float, at M-Pesa and in the books."""
        with self.world.journal.change():
            self.world.books.inject(B2C_UTILITY, cents, "capital", self.now)
        legs = [ledger.debit(ledger.B2C, cents), ledger.credit(ledger.CAPITAL, cents)]
        # The bank's money is there whatever befalls us: whoever booked it looks whether it is.
        with self.fate.working(None), self.database.begin() as db:
            ledger.post(db, "capital", f"capital:{key}", legs, self.now)
            outbox.put(db, "resume_payouts", due_at=self.now)
        return "there"

    def _send(self, items: Sequence[outbox.Item]) -> None:
        """To the broker, which may be away; and we may die."""
        job = self.fate.job
        if job is not None:
            job.sends += 1
            if self.fate.passes(job, "before send", job.sends) is not None:
                raise BrokerAway
        self.queue.extend(items)
        if job is not None:
            self.fate.passes(job, "after send", job.sends)

    def _post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        _timeout_seconds: float,
        /,
        *,
        method: str = "POST",
    ) -> outbound.Answer:
        """A request leaves the pretend world. Most travel as letters; some wait for an answer."""
        path = urlsplit(url).path
        if any(part in path for part in _ASKED):
            return self._ask(method, path, headers, body)
        if self._is_lie(body):
            return outbound.Answer(200, {}, "")
        self._letters += 1
        letter = Letter(self._letters, path, body, headers)
        job = self.fate.job
        if job is not None and job.calls and self.world.rulebook.happens(0.5):
            # M-Pesa tells it before it answers the call that is under way: both are on their way.
            try:
                said = self._ask(method, path, headers, body)
            except outbound.Unanswered:
                said = None
            if said is not None and said.status == 200:
                return said
        self.letters.append(letter)
        return outbound.Answer(200, {}, "")

    def _is_lie(self, body: bytes) -> bool:
        """Whether M-Pesa itself says by our own secret path that what did not happen did.

        A contradiction of the rules' is one where the prompt was never seen, or a limit stood in
        the way. Nobody could find that out but by the statement, and no M-Pesa does it.
        """
        said = json.loads(body) if b'"ResultCode":0' in body else {}
        match said:
            case {"Body": {"stkCallback": {"CheckoutRequestID": push_id}}}:
                push = self.world.mpesa.find(push_id)
                return push is not None and push.result != "0"
            case {"Result": {"OriginatorConversationID": operation_id}}:
                done = self.world.operations._all.get(operation_id)
                return done is not None and done.code != "0"
        return False

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> outbound.Answer:
        caller = self.fate.job
        job = Job(_route(path))
        if caller is not None:  # who shall stop, stops there too
            job.stops_before, job.stop = caller.stops_before, caller.stop
        with self.fate.working(job):
            try:
                status, said, text = answer(self.ground.web, method, OUR_URL + path, headers, body)
            except Killed:
                raise outbound.Unanswered("nobody there") from None
        lower = {name.lower(): value for name, value in said.items()}
        return outbound.Answer(status, lower, text.decode())

    # --- who lives here -----------------------------------------------------------------------

    def _open(self, db: Db, on_hand_milli: int) -> Market:
        market = open_market(db, self.now, on_hand_milli=on_hand_milli)
        self.buyers = [
            Person(market.buyer, "Amina", msisdn(1)),
            *(
                Person(person(db, self.now, number, name), name, msisdn(number))
                for number, name in ((8, "Baraka"), (9, "Chebet"))
            ),
        ]
        self.sellers = [
            Person(market.wanjiku, "Wanjiku", msisdn(2)),
            Person(market.otieno, "Otieno", msisdn(3)),
        ]
        for each in [*self.buyers, *self.sellers]:
            peppered = pins._peppered(each.id, PIN, self.rules)
            db.run(
                """
                UPDATE members SET pin_hash = %(hash)s, is_seller = %(sells)s,
                                   paid_at_once = %(at_once)s
                WHERE id = %(id)s
                """,
                {
                    "at_once": each.name != "Otieno",  # he keeps what he earns, and withdraws it
                    "hash": _WEAK.hash(peppered, salt=b"salt of no use"),
                    "sells": each in self.sellers,
                    "id": each.id,
                },
            )
            cents = RICH_CENTS if each in self.buyers else WELL_OFF_CENTS
            self._holds(each.msisdn, cents)
        self.sister, self.mother = msisdn(70), Receiver("Mama Juma", msisdn(77))
        self._holds(self.sister, RICH_CENTS)
        self.mills = add_offer(
            db, _category(db), "mills", market.wanjiku, MILL_CENTS, 1000, on_hand_milli, self.now
        )
        office.hire(db, "olive", ["operator", "approver"])
        office.hire(db, "peter", ["approver"])
        office.hire(db, "wanda", ["operator", "approver"], msisdn(2))  # Wanjiku, in our pay
        return market

    def _meet_again(self) -> None:
        """Whoever has another number has another phone, with some money on it."""
        with self.fate.working(None), self.database.look() as db:
            for each in self.people:
                number = _msisdn(db, each.id) or ""
                if number in ("", each.msisdn):
                    each.msisdn = number
                    continue
                each.msisdn, each.session = number, None
                self._holds(number, WELL_OFF_CENTS)

    def _holds(self, phone: str, cents: int) -> None:
        with self.world.journal.change():
            self.world.books.set_balance(phone, cents, self.now)

    @property
    def people(self) -> list[Person]:
        return [*self.buyers, *self.sellers]

    @property
    def payers(self) -> dict[str, str]:
        """Whose phones may be asked to pay: names by number."""
        return {self.sister: "a sister"} | {each.msisdn: each.name for each in self.shoppers}

    @property
    def shoppers(self) -> list[Person]:
        """The buyers who have a phone."""
        return [each for each in self.buyers if each.msisdn]


def _category(db: Db) -> UUID:
    found: UUID = db.value("SELECT id FROM categories")
    return found


def _msisdn(db: Db, member_id: UUID) -> str | None:
    found: str | None = db.value("SELECT msisdn FROM members WHERE id = %(id)s", {"id": member_id})
    return found


def _place() -> Place:
    return Place(
        ussd_url=f"{OUR_URL}/channels/ussd/africastalking/sandbox-path-secret",
        sms_url=f"{OUR_URL}/channels/sms/africastalking/sandbox-path-secret",
        sim_url=f"{OUR_URL}/payments/sim/sandbox-path-secret",
    )


def _route(path: str) -> str:
    """The path without what is secret in it."""
    parts = path.strip("/").split("/")
    if parts[0] == "payments":
        return "/".join([parts[1], *parts[3:]])
    return "/".join([parts[1], *parts[4:]])


_certificates: list[str] = []


def _certificate(world: World) -> str:
    """Of the process's own key: made once, since it takes a tenth of a second."""
    if not _certificates:
        _certificates.append(world.initiator.certificate())
    return _certificates[0]


def _is_borne(error: Exception) -> bool:
    """Whether what failed is given back and tried again: the rest are our own broken promises."""
    if isinstance(error, ExceptionGroup):  # of tasks that were handed over together
        return all(_is_borne(each) for each in error.exceptions)
    return isinstance(error, Unavailable | BrokerAway)
