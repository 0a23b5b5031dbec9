"""Money: how fast callbacks become ledger entries, how long a backlog takes, what history costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from threading import Event, Thread
from time import monotonic, perf_counter, sleep
from typing import Final, LiteralString
from uuid import UUID

import psycopg
import requests

from bench import pending, senders, servers
from bench.market import Market
from bench.pending import Callback
from bench.rounds import Wrong
from core import earnings, ledger, outbox, wallet
from core.database import Database
from local import valkey
from worker import tasks
from worker.work import Work

BACKLOG: Final = 50_000  # callbacks in the inbox, unread
ARRIVALS_A_SECOND: Final = 100  # posted while the backlog drains
ARRIVALS_MAX: Final = 60_000
SETTLED_EACH: Final = 400  # callbacks beside each history
HISTORIES: Final = (1_000, 10_000, 100_000, 1_000_000)  # entries in the ledger
PAYOUTS: Final = 3_000
ENTRIES_READ: Final = 100_000  # of one seller, who asks for a statement
READINGS: Final = 50
EARNED_CENTS: Final = 50_000  # by each seller
WARM_UP_SECONDS: Final = 5.0
PAST_CENTS: Final = 50_000  # of each sale of the past
LOOK_SECONDS: Final = 0.5
SECONDS_MAX: Final = 900

# Sales of the past, two entries each, as a release books them: between an escrow and a seller.
_PAST: Final[Sequence[LiteralString]] = (
    "SET session_replication_role = replica",
    """
    CREATE TEMPORARY TABLE past AS
    SELECT n, gen_random_uuid() AS escrow_id, gen_random_uuid() AS account_id,
           (lpad(to_hex((extract(epoch FROM now() - interval '1 day') * 1000)::bigint
                        + n / 1000), 12, '0')
            || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid AS id
    FROM generate_series(1, %(transfers)s) AS n
    """,
    """
    INSERT INTO accounts (id, kind, owner_id, balance_cents, created_at, updated_at)
    SELECT account_id, 'L.escrow', escrow_id, 50000, now(), now() FROM past
    """,
    """
    INSERT INTO transfers (id, kind, key, body_hash, at)
    SELECT id, 'capture', 'past:' || n, '\\x00', now() FROM past
    """,
    """
    INSERT INTO entries (id, transfer_id, account_id, amount_cents)
    SELECT id, id, %(c2b)s, 50000 FROM past
    """,
    """
    INSERT INTO entries (id, transfer_id, account_id, amount_cents)
    SELECT (overlay(id::text PLACING '9' FROM 20 FOR 1))::uuid, id, account_id, -50000 FROM past
    """,
    "DROP TABLE past",
    "SET session_replication_role = DEFAULT",
)


# All of it becomes what one seller earned.
_ALL_TO_ONE: Final[Sequence[LiteralString]] = (
    "SET session_replication_role = replica",
    """
    INSERT INTO accounts (id, kind, owner_id, balance_cents, created_at, updated_at)
    VALUES (%(id)s, 'L.seller', %(owner)s, %(cents)s, now(), now())
    """,
    "UPDATE entries SET account_id = %(id)s WHERE amount_cents < 0",
    "UPDATE transfers SET kind = 'release' WHERE key LIKE 'past:%%' AND %(id)s IS NOT NULL",
    "SET session_replication_role = DEFAULT",
)


@dataclass(frozen=True)
class Settling:
    """By one process, one after the other, beside a ledger of so many entries."""

    entries: int
    us: float  # median of one, on the clock
    database_cpu_us: float


@dataclass(frozen=True)
class Drain:
    """A backlog, and what came meanwhile, by the processes of `make run`.

    settled: within seconds, until as many as the backlog were booked. seconds_in_all: until what
    came meanwhile was booked too. cpu_us: of a settlement, by process.
    """

    backlog: int
    arrived: int
    settled: int
    seconds: float
    seconds_in_all: float
    p99_answer_ms: float
    cpu_us: Mapping[str, float]

    @property
    def a_second(self) -> float:
        return self.settled / self.seconds


@dataclass(frozen=True)
class PaidOut:
    """Sellers whose sales were released at once, each paid to a phone by the pretend M-Pesa.

    seconds: from the first release to the last proof of payment.
    """

    payouts: int
    seconds: float
    cpu_us: Mapping[str, float]

    @property
    def a_second(self) -> float:
        return self.payouts / self.seconds


@dataclass(frozen=True)
class Reading:
    """By one who sold so often, in milliseconds on the clock, medians."""

    entries: int
    balance_ms: float
    statement_ms: float


@dataclass(frozen=True)
class Money:
    settlings: Sequence[Settling]
    reading: Reading
    drain: Drain
    paid_out: PaidOut


def measured(
    opened: Market,
    *,
    backlog: int = BACKLOG,
    histories: Sequence[int] = HISTORIES,
    payouts: int = PAYOUTS,
    entries_read: int = ENTRIES_READ,
) -> Money:
    """Raises Wrong: something was not booked, or booked twice."""
    return Money(
        [_settled(opened, entries) for entries in histories],
        _read(opened, entries_read),
        _drained(opened, backlog),
        _paid_out(opened, payouts),
    )


def _read(opened: Market, entries: int) -> Reading:
    """A seller's balance and statement; the escrows of the past are all releases to that one."""
    with opened.copy("reading") as url, ExitStack() as stack:
        database = Database(url, size=1)
        stack.callback(database.close)
        with database.begin() as db:
            member_id: UUID = db.value("SELECT id FROM members WHERE NOT is_seller LIMIT 1")
        _load_past(url, 2 * entries)
        seller = ledger.seller(member_id)
        with psycopg.connect(url, autocommit=True) as connection:
            given = {"id": seller.id, "owner": member_id, "cents": entries * PAST_CENTS}
            for statement in _ALL_TO_ONE:
                connection.execute(statement, given if "%(" in statement else None)
            connection.execute("VACUUM (ANALYZE)")
        with database.begin() as db:
            assert ledger.balance(db, seller) == entries * PAST_CENTS
        times: dict[str, list[float]] = {"balance": [], "statement": []}
        for _ in range(READINGS):
            with database.begin() as db:
                since = perf_counter()
                found = wallet.balance(db, member_id)
                times["balance"].append(perf_counter() - since)
                since = perf_counter()
                said = wallet.statement(db, member_id, database.clock())
                times["statement"].append(perf_counter() - since)
            assert found.earned_cents == said.closing_cents, "two balances of one wallet"
            assert len(said.movements) == wallet.STATEMENT_MOVEMENTS_MAX
    ms = {name: median(each) * 1000 for name, each in times.items()}
    return Reading(entries, ms["balance"], ms["statement"])


class _NoGateway:
    """A settlement calls nobody."""


def _settled(opened: Market, entries: int) -> Settling:
    rules = opened.settings.rules()
    with opened.copy("settlings") as url, ExitStack() as stack:
        pending.put(url, SETTLED_EACH, 0, rules)
        _load_past(url, entries)
        database = Database(url, size=1)
        stack.callback(database.close)
        with database.begin(seconds=60) as db:
            ledger.mark(db, database.clock())
            items = outbox.take_due(db, database.clock(), SETTLED_EACH)
        assert len(items) == SETTLED_EACH, f"{len(items)} of {SETTLED_EACH} callbacks are due"
        work = Work(database, _NoGateway(), rules, sender=_NoGateway())  # type: ignore[arg-type]
        tasks.run(work, items[0].id)  # connections and plans
        before, times = opened.cpu_seconds(), []
        for item in items[1:]:
            since = perf_counter()
            tasks.run(work, item.id)
            times.append(perf_counter() - since)
        cpu = (opened.cpu_seconds() - before) / len(times)
        _check(url, SETTLED_EACH)
    return Settling(entries, median(times) * 1e6, cpu * 1e6)


def _load_past(url: str, entries: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        given = {"transfers": entries // 2, "c2b": ledger.C2B.id}
        connection.execute(
            """
            INSERT INTO accounts (id, kind, created_at, updated_at)
            VALUES (%(c2b)s, 'A.c2b', now(), now())
            ON CONFLICT DO NOTHING
            """,
            given,
        )
        for statement in _PAST:
            connection.execute(statement, given if "%(" in statement else None)
        connection.execute("VACUUM (ANALYZE)")


def _drained(opened: Market, backlog: int) -> Drain:
    rules = opened.settings.rules()
    with opened.copy("drain") as url:
        to_come = pending.put(url, backlog, min(ARRIVALS_MAX, 2 * backlog), rules)
        with _running(opened, url) as (base_url, _, used):
            since = monotonic()
            with _Posting(base_url, to_come) as posting:
                _wait(url, _BOOKED, backlog)
                seconds = monotonic() - since
                settled, cpu = _count(url, _BOOKED), used()
            _wait(url, _BOOKED, backlog + posting.posted)
            in_all = monotonic() - since
        _check(url, backlog + posting.posted)
    per = {name: seconds / settled * 1e6 for name, seconds in cpu.items()}
    return Drain(backlog, posting.posted, settled, seconds, in_all, posting.p99_ms, per)


def _paid_out(opened: Market, payouts: int) -> PaidOut:
    with opened.copy("payouts") as url:
        _earn(url, payouts)
        with _running(opened, url) as (_, fund, used):
            fund(payouts * EARNED_CENTS)
            _release(url)
            since = monotonic()
            _wait(url, _PAID, payouts)
            seconds, cpu = monotonic() - since, used()
        _check_payouts(url, payouts)
    return PaidOut(payouts, seconds, {name: each / payouts * 1e6 for name, each in cpu.items()})


@contextmanager
def _running(
    opened: Market, url: str
) -> Iterator[tuple[str, Callable[[int], None], Callable[[], Mapping[str, float]]]]:
    """All that `make run` starts, on this database.

    Gives the web's address, what puts so many cents into the payout float at the pretend M-Pesa,
    and what says how many seconds of processor each process has used since.
    """
    with ExitStack() as stack:
        store = valkey.start(opened.folder, dies_with_us=True)
        stack.callback(valkey.stop, store)
        settings = senders.settings_of(opened, url, store.url)
        port = servers.free_port()
        settings = settings.model_copy(
            update={
                "port": port,
                "public_base_url": f"http://{settings.host}:{port}",
                "daraja_calls_per_second": 1_000,
            }
        )
        assert opened.server.process is not None, "somebody else keeps this server"
        pids = {"database": opened.server.process.pid}
        gateway = stack.enter_context(senders.running(senders.GATEWAY, settings, opened))
        senders.without_reports(settings)
        web = stack.enter_context(
            servers.running("system", settings, opened.folder / "web.log", port=port)
        )
        pids |= {"web": web.process.pid, "M-Pesa": gateway}
        for name in senders.WORKER:
            pids[name] = stack.enter_context(senders.running(name, settings, opened))
        sleep(WARM_UP_SECONDS)
        before = {name: servers.cpu_seconds(pid) for name, pid in pids.items()}

        def fund(cents: int) -> None:
            address = f"http://{settings.host}:{settings.simulator_port}/simulator/api/shortcodes"
            answer = requests.put(
                f"{address}/{settings.daraja_b2c_shortcode}", json={"utility": cents // 100},
                timeout=10,
            )  # fmt: skip
            if answer.status_code != 200:
                raise Wrong(f"the pretend M-Pesa took no float: {answer.text}")

        def used() -> Mapping[str, float]:
            return {name: servers.cpu_seconds(pid) - before[name] for name, pid in pids.items()}

        yield web.base_url, fund, used


def _earn(url: str, count: int) -> None:
    """So many members have sold something; the float to pay them from is ours."""
    database = Database(url, size=1)
    try:
        with database.begin(seconds=SECONDS_MAX) as db:
            now = database.clock()
            ids: list[UUID] = db.value(
                "SELECT (array_agg(id ORDER BY msisdn))[:%(count)s] FROM members"
                " WHERE NOT is_seller",
                {"count": count},
            )
            for member_id in ids:
                legs = [
                    ledger.debit(ledger.C2B, EARNED_CENTS),
                    ledger.credit(ledger.seller(member_id), EARNED_CENTS),
                ]
                ledger.post(db, "release", f"bench:{member_id}", legs, now)
            legs = [
                ledger.debit(ledger.B2C, count * EARNED_CENTS),
                ledger.credit(ledger.CAPITAL, count * EARNED_CENTS),
            ]
            ledger.post(db, "capital", "bench:capital", legs, now)
    finally:
        database.close()


def _release(url: str) -> None:
    """What a release asks for, for all of them at once."""
    database = Database(url, size=1)
    try:
        with database.begin(seconds=SECONDS_MAX) as db:
            owners: list[UUID] = db.value(
                "SELECT array_agg(owner_id) FROM accounts WHERE kind = 'L.seller'"
            )
            for member_id in owners:
                earnings.due(db, member_id, database.clock())
    finally:
        database.close()


class _Posting:
    """M-Pesa, which posts so many callbacks a second whatever we do."""

    def __init__(self, base_url: str, callbacks: Sequence[Callback]) -> None:
        self._base_url = base_url
        self._callbacks = callbacks
        self._stop = Event()
        self._thread = Thread(target=self._run, name="posting")
        self._ms: list[float] = []
        self._wrong = ""

    def __enter__(self) -> "_Posting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._wrong:
            raise Wrong(self._wrong)

    @property
    def posted(self) -> int:
        return len(self._ms)

    @property
    def p99_ms(self) -> float:
        """Until our answer."""
        return quantiles(self._ms, n=100)[98]

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Content-Type"] = "application/json"
            due = monotonic()
            for callback in self._callbacks:
                if self._stop.is_set():
                    return
                sleep(max(0.0, due - monotonic()))
                due += 1 / ARRIVALS_A_SECOND
                since = perf_counter()
                try:
                    answer = session.post(self._base_url + callback.path, callback.body, timeout=10)
                except requests.RequestException as error:
                    self._wrong = f"a callback was not taken: {error}"
                    return
                self._ms.append((perf_counter() - since) * 1000)
                if answer.status_code != 200:
                    self._wrong = f"a callback was answered {answer.status_code}"
                    return


_BOOKED: Final = "SELECT count(*) FROM inbox WHERE processed_at IS NOT NULL"
_PAID: Final = "SELECT count(*) FROM payouts WHERE state = 'paid'"


def _wait(url: str, counted: LiteralString, count: int) -> None:
    """Until there are so many. Raises Wrong."""
    until = monotonic() + SECONDS_MAX
    while (found := _count(url, counted)) < count:
        if monotonic() > until:
            raise Wrong(f"{found} of {count} after {SECONDS_MAX} s: {counted}")
        sleep(LOOK_SECONDS)


def _count(url: str, counted: LiteralString) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute(counted).fetchone()
    assert found is not None, "a count has a row"
    return int(found[0])


def _check_payouts(url: str, count: int) -> None:
    """Each was sent once and is proved; the books are what they must be. Raises Wrong."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            """
            SELECT count(*), count(DISTINCT receipt), count(DISTINCT member_id),
                   count(*) FILTER (WHERE attempts = 1 AND state = 'paid')
            FROM payouts
            """
        ).fetchone()
    if found != (count,) * 4:
        raise Wrong(f"of {count} payouts, receipts, members, paid at once: {found}")
    _check_ledger(url)


def _check(url: str, count: int) -> None:
    """Every callback is booked once and both sides agree. Raises Wrong."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            """
            SELECT (SELECT count(*) FROM inbox WHERE outcome = 'paid'),
                   (SELECT count(*) FROM charges WHERE state = 'paid'),
                   (SELECT count(*) FROM transfers
                    WHERE kind = 'capture' AND key NOT LIKE 'past:%'),
                   (SELECT count(*) FROM escrows WHERE state = 'held')
            """
        ).fetchone()
    if found != (count,) * 4:
        raise Wrong(f"of {count} callbacks were read, charged, posted, held: {found}")
    _check_ledger(url)


def _check_ledger(url: str) -> None:
    database = Database(url, size=1)
    try:
        with database.begin(seconds=SECONDS_MAX) as db:
            if ledger.unbalanced_transfers(db) or ledger.stale_balances(db):
                raise Wrong("the ledger does not balance")
    finally:
        database.close()
