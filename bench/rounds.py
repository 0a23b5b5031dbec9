"""Rounds: a course driven through the system or its floor, and what it cost.

Every round has a fresh copy of the market and fresh processes; system and floor take turns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import median
from typing import Final, Literal

from bench import journeys, layers, load, market, servers, wires, yardstick
from bench.journeys import Step
from bench.load import Seen
from bench.market import Market
from bench.servers import Application
from bench.wires import Channel, Wire

WARM_UP_SECONDS = 2
PROFILED = 200  # journeys

Name = Literal["browse", "order", "telegram", "sms"]


@dataclass(frozen=True)
class Course:
    """A journey on a channel."""

    journey: journeys.Name
    channel: Channel
    about: str


COURSES: Final[Mapping[Name, Course]] = {
    "browse": Course("browse", "ussd", "a menu journey of five screens"),
    "order": Course("order", "ussd", "a journey that ends in a placed order"),
    "telegram": Course("browse", "telegram", "the menu journey, tapped on Telegram"),
    "sms": Course("browse", "sms", "the menu journey, written by SMS"),
}


@dataclass(frozen=True)
class Round:
    """cpu: microseconds a hop, of the web's processes and of PostgreSQL's."""

    seen: Seen
    worker_megabytes: float
    web_cpu_us: float
    database_cpu_us: float

    @property
    def cpu_us(self) -> float:
        return self.web_cpu_us + self.database_cpu_us


@dataclass(frozen=True)
class Rounds:
    """All of one course on one application; medians."""

    rounds: Sequence[Round]

    @property
    def hops_a_second(self) -> float:
        return median(one.seen.hops_a_second for one in self.rounds)

    @property
    def p50_ms(self) -> float:
        return median(one.seen.p50_ms for one in self.rounds)

    @property
    def p99_ms(self) -> float:
        return median(one.seen.p99_ms for one in self.rounds)

    @property
    def worker_megabytes(self) -> float:
        """The most of any round."""
        return max(one.worker_megabytes for one in self.rounds)

    @property
    def web_cpu_us(self) -> float:
        return median(one.web_cpu_us for one in self.rounds)

    @property
    def database_cpu_us(self) -> float:
        return median(one.database_cpu_us for one in self.rounds)

    @property
    def cpu_us(self) -> float:
        """A hop's, everywhere; steadier than hops a second on a machine that others use too."""
        return median(one.cpu_us for one in self.rounds)


@dataclass(frozen=True)
class Pair:
    system: Rounds
    floor: Rounds


class Wrong(Exception):
    """The system answered or kept what it should not."""


def measured(
    opened: Market,
    names: Sequence[Name],
    rounds: int,
    seconds: int,
    connections: int,
    tell: Callable[[str], None],
    *,
    flush_ms: int = 0,
) -> Mapping[Name, Pair]:
    """The courses in turn, round after round, each by the system and by its floor.

    tell: is given a line after each. Raises Wrong.
    """
    found: dict[tuple[Name, Application], list[Round]] = {}
    driven = {name: _wire(opened, name) for name in names}
    for number in range(rounds):
        order: list[Application] = ["system", "floor"]
        for name in names:
            for application in order if number % 2 == 0 else reversed(order):
                one = _round(
                    opened, application, name, driven[name], seconds, connections, flush_ms
                )
                tell(
                    f"{name} {application}: {one.seen.hops_a_second:,.0f} hops/s, "
                    f"{one.cpu_us:,.0f} us of CPU a hop"
                )
                found.setdefault((name, application), []).append(one)
    return {
        name: Pair(Rounds(found[name, "system"]), Rounds(found[name, "floor"])) for name in names
    }


def yardstick_of(opened: Market, seconds: int, connections: int) -> Seen:
    """What this machine can do at all."""
    wire = wires.wire("ussd", [[Step("", yardstick.BEGINS)]], opened.settings)
    with opened.copy("round") as url:
        settings = opened.settings_for(url)
        with servers.running("yardstick", settings, opened.folder / "web.log") as server:
            return load.drive(
                server.base_url,
                wire,
                range(opened.members),
                opened.folder,
                seconds=seconds,
                connections=connections,
            )


def profiled(opened: Market, name: Name) -> layers.Profile:
    """Where the time of one of the system's hops goes."""
    import app  # here only: nobody else of ours imports it

    wire = _wire(opened, name)
    with opened.copy("profile") as url:
        market.enrol(url, wire.channel)
        web = app.create_app(opened.settings_for(url))
        try:
            return layers.profile(web, wire, PROFILED)
        finally:
            web.extensions["sokoni.database"].close()


def check(
    who: str,
    name: Name,
    seen: Sequence[Seen],
    added: Mapping[str, int],
    shown: Mapping[int, Sequence[str]],
    wire: Wire,
    connections: int,
) -> None:
    """Every answer was right, and the books hold what was answered, no more and no less.

    added: rows, by table; shown: the screens that were kept, by caller. Raises Wrong.
    """
    for one in seen:
        if one.wrong or one.lost:
            raise Wrong(f"{who}: {one.wrong} wrong answers, {one.lost} lost; hop {one.example}")
    # When time is up, each line may have one hop on its way that nobody waits for.
    cut = connections * len(seen)
    hops, journeys = sum(one.hops for one in seen), sum(one.journeys for one in seen)
    if not hops <= added["hops"] <= hops + cut:
        raise Wrong(f"{who}: {hops} hops were answered, {added['hops']} are kept")
    orders = added["orders"]
    expected = journeys if name == "order" else 0
    if not expected <= orders <= expected + (cut if name == "order" else 0):
        raise Wrong(f"{who}: {expected} orders were confirmed, {orders} are kept")
    # The push, its time's two ends, and the receipt by SMS; a screen that is sent is one more.
    each = {"reservations": 1, "escrows": 1, "charges": 1, "messages": 1, "outbox": 4}
    sent = {"outbox": 0 if wire.channel == "ussd" else added["hops"]}
    for table, number in each.items():
        if added[table] != number * orders + sent.get(table, 0):
            raise Wrong(f"{who}: {orders} orders and {hops} hops have {added[table]} {table}")
    for caller, screens in shown.items():
        steps = wire.journeys[caller % len(wire.journeys)]
        for place, (screen, step) in enumerate(zip_longest(screens, steps[: len(screens)])):
            if step is None or not screen.startswith(step.begins):
                raise Wrong(f"{who}: hop {place + 1} of a caller kept {screen[:60]!r}")


def _wire(opened: Market, name: Name) -> Wire:
    course = COURSES[name]
    return opened.wire(course.channel, course.journey)


def _round(
    opened: Market,
    application: Application,
    name: Name,
    wire: Wire,
    seconds: int,
    connections: int,
    flush_ms: int,
) -> Round:
    quarter = opened.members // 4
    with opened.copy("round", flush_ms=flush_ms) as url:
        market.enrol(url, wire.channel)
        before = market.written(url)
        with servers.running(
            application, opened.settings_for(url), opened.folder / "web.log"
        ) as server:

            def drive(callers: range, lasting: int) -> Seen:
                return load.drive(
                    server.base_url,
                    wire,
                    callers,
                    opened.folder,
                    seconds=lasting,
                    connections=connections,
                )

            warm = drive(range(quarter), WARM_UP_SECONDS)
            web, database = server.cpu_seconds(), opened.cpu_seconds()
            seen = drive(range(quarter, opened.members), seconds)
            web, database = server.cpu_seconds() - web, opened.cpu_seconds() - database
            megabytes = server.worker_megabytes()
        after = market.written(url)
        shown = market.screens(url, wire.channel)
    added = {table: count - before[table] for table, count in after.items()}
    check(f"{name} on the {application}", name, [warm, seen], added, shown, wire, connections)
    hops = max(1, seen.hops)
    return Round(seen, megabytes, web / hops * 1e6, database / hops * 1e6)
