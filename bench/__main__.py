"""`make bench`: hops a second of the production server, beside the floor; memory; where time goes.

Every round has a fresh copy of the market and fresh processes; system and floor take turns.
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench import layers, load, market, servers, yardstick
from bench.journeys import Hop, Journey, Name
from bench.load import Seen
from bench.market import Market
from bench.servers import Application
from settings import load_environment

WARM_UP_SECONDS = 2
FLUSH_MS = 2
PROFILED = 200  # journeys

JOURNEYS: Mapping[Name, str] = {
    "browse": "a menu journey of five screens",
    "order": "a journey that ends in a placed order",
}


@dataclass(frozen=True)
class Target:
    ratio: float
    hops_a_second: int


TARGETS: Mapping[Name, Target] = {"browse": Target(0.6, 1800), "order": Target(0.5, 700)}
P99_MS_MAX = 60
WORKER_MEGABYTES_MAX = 150


@dataclass(frozen=True)
class Round:
    """cpu: microseconds a hop, of the web's processes and of PostgreSQL's."""

    seen: Seen
    worker_megabytes: float
    web_cpu_us: float
    database_cpu_us: float


class Wrong(Exception):
    """The server answered what it should not, or its books do not agree with what it answered."""


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    try:
        load.ready()
    except load.NoTool as error:
        print(error, file=sys.stderr)
        return 2
    print(_machine(), flush=True)
    settings = load_environment()
    with market.opened(settings) as opened:
        try:
            measure = _yardstick(opened, options.seconds, options.connections)
            rows = {
                name: _measured(opened, name, options.rounds, options.seconds, options.connections)
                for name in JOURNEYS
            }
            slow = {
                name: _measured(
                    opened, name, 1, options.seconds, options.connections, flush_ms=FLUSH_MS
                )
                for name in JOURNEYS
            }
            profiles = {name: _profiled(opened, name) for name in JOURNEYS}
        except Wrong as error:
            print(error, file=sys.stderr)
            return 1
    print(
        f"\nyardstick (a form, a SELECT, an INSERT, a COMMIT): {measure.hops_a_second:,.0f} "
        f"requests/s, p99 {measure.p99_ms:.1f} ms"
    )
    _print_table(f"{options.connections} connections, medians of {options.rounds}", rows)
    _print_table(f"the disk {FLUSH_MS} ms slower, one round", slow)
    _print_targets(rows)
    for name, found in profiles.items():
        _print_profile(name, found)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each round (8)")
    parser.add_argument("--rounds", type=int, default=3, help="of system and floor each (3)")
    parser.add_argument("--connections", type=int, default=16, help="at once (16)")
    return parser.parse_args(arguments)


Rounds = Mapping[Application, Sequence[Round]]


def _measured(
    opened: Market, name: Name, rounds: int, seconds: int, connections: int, *, flush_ms: int = 0
) -> Rounds:
    journeys = opened.journeys(name)
    found: dict[Application, list[Round]] = {"system": [], "floor": []}
    for number in range(rounds):
        order: list[Application] = ["system", "floor"]
        for application in order if number % 2 == 0 else reversed(order):
            one = _round(opened, application, name, journeys, seconds, connections, flush_ms)
            print(
                f"  {name} {application}: {one.seen.hops_a_second:,.0f} hops/s",
                file=sys.stderr,
                flush=True,
            )
            found[application].append(one)
    return found


def _round(
    opened: Market,
    application: Application,
    name: Name,
    journeys: Sequence[Journey],
    seconds: int,
    connections: int,
    flush_ms: int,
) -> Round:
    quarter = opened.members // 4
    with opened.copy("round", flush_ms=flush_ms) as url:
        before = market.written(url)
        with servers.running(
            application, opened.settings_for(url), opened.folder / "web.log"
        ) as server:

            def drive(first: int, last: int, lasting: int) -> Seen:
                return load.drive(
                    server.base_url,
                    journeys,
                    opened.callers(first, last),
                    opened.folder,
                    seconds=lasting,
                    connections=connections,
                )

            warm = drive(0, quarter, WARM_UP_SECONDS)
            web, database = server.cpu_seconds(), opened.cpu_seconds()
            seen = drive(quarter, opened.members, seconds)
            web, database = server.cpu_seconds() - web, opened.cpu_seconds() - database
            megabytes = server.worker_megabytes()
        after = market.written(url)
    added = {table: count - before[table] for table, count in after.items()}
    check(f"{name} on the {application}", name, [warm, seen], added, connections)
    hops = max(1, seen.hops)
    return Round(seen, megabytes, web / hops * 1e6, database / hops * 1e6)


def _yardstick(opened: Market, seconds: int, connections: int) -> Seen:
    """What this machine can do at all."""
    journeys = [[Hop("", yardstick.BEGINS)]]
    with opened.copy("round") as url:
        settings = opened.settings_for(url)
        with servers.running("yardstick", settings, opened.folder / "web.log") as server:
            return load.drive(
                server.base_url,
                journeys,
                opened.callers(0, opened.members),
                opened.folder,
                seconds=seconds,
                connections=connections,
            )


def check(
    who: str, name: Name, seen: Sequence[Seen], added: Mapping[str, int], connections: int
) -> None:
    """Every body was right, and the books hold what was answered, no more and no less."""
    for one in seen:
        if one.wrong or one.lost:
            raise Wrong(f"{who}: {one.wrong} wrong bodies, {one.lost} lost; hop {one.example}")
    # When time is up, each line may have one hop on its way that nobody waits for.
    cut = connections * len(seen)
    hops, journeys = sum(one.hops for one in seen), sum(one.journeys for one in seen)
    if not hops <= added["hops"] <= hops + cut:
        raise Wrong(f"{who}: {hops} hops were answered, {added['hops']} are kept")
    orders = added["orders"]
    expected = journeys if name == "order" else 0
    if not expected <= orders <= expected + (cut if name == "order" else 0):
        raise Wrong(f"{who}: {expected} orders were confirmed, {orders} are kept")
    # The push, its time's two ends, and the receipt by SMS.
    each = {"reservations": 1, "escrows": 1, "charges": 1, "messages": 1, "outbox": 4}
    for table, number in each.items():
        if added[table] != number * orders:
            raise Wrong(f"{who}: {orders} orders have {added[table]} {table}")


def _profiled(opened: Market, name: Name) -> layers.Profile:
    import app  # here only: nobody else of ours imports it

    with opened.copy("profile") as url:
        settings = opened.settings_for(url)
        web = app.create_app(settings)
        try:
            return layers.profile(
                web, opened.path, settings.ussd_service_code, opened.journeys(name), PROFILED
            )
        finally:
            web.extensions["sokoni.database"].close()


def _machine() -> str:
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} before"
    )


def _print_table(title: str, rows: Mapping[Name, Rounds]) -> None:
    print(f"\n{title}\n")
    print(
        f"{'':40}{'hops/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'MB':>6}"
        f"{'CPU us':>9}{'database':>10}{'of floor':>10}{'by CPU':>8}"
    )
    for name, found in rows.items():
        ratio = _hops(found["system"]) / _hops(found["floor"])
        by_cpu = _cpu_us(found["floor"]) / _cpu_us(found["system"])
        for application, rounds in found.items():
            about = JOURNEYS[name] if application == "system" else "  its floor"
            print(
                f"{about:40}{_hops(rounds):>10,.0f}"
                f"{median(one.seen.p50_ms for one in rounds):>9.1f}"
                f"{median(one.seen.p99_ms for one in rounds):>9.1f}"
                f"{max(one.worker_megabytes for one in rounds):>6.0f}"
                f"{median(one.web_cpu_us for one in rounds):>9.0f}"
                f"{median(one.database_cpu_us for one in rounds):>10.0f}"
                f"{ratio if application == 'system' else 1:>10.2f}"
                f"{by_cpu if application == 'system' else 1:>8.2f}"
            )


def _hops(rounds: Sequence[Round]) -> float:
    return median(one.seen.hops_a_second for one in rounds)


def _cpu_us(rounds: Sequence[Round]) -> float:
    """A hop's, everywhere; steadier than hops a second on a machine that others use too."""
    return median(one.web_cpu_us + one.database_cpu_us for one in rounds)


def _print_targets(rows: Mapping[Name, Rounds]) -> None:
    print("\ntargets\n")
    for name, target in TARGETS.items():
        system, floor = rows[name]["system"], rows[name]["floor"]
        ratio, hops = _hops(system) / _hops(floor), _hops(system)
        p99 = median(one.seen.p99_ms for one in system)
        megabytes = max(one.worker_megabytes for one in system)
        for about, reached in (
            (f"{name}: at least {target.ratio} of its floor", ratio >= target.ratio),
            (f"{name}: at least {target.hops_a_second:,} hops/s", hops >= target.hops_a_second),
            (f"{name}: p99 below {P99_MS_MAX} ms", p99 < P99_MS_MAX),
            (f"{name}: a worker below {WORKER_MEGABYTES_MAX} MB", megabytes < WORKER_MEGABYTES_MAX),
        ):
            print(f"  {'reached' if reached else 'MISSED ':8} {about}")


def _print_profile(name: Name, found: layers.Profile) -> None:
    print(
        f"\n{JOURNEYS[name]}, one thread: {found.wall_us:,.0f} us a hop, of them "
        f"{found.process_us:,.0f} in our process; {found.statements:.1f} statements a hop\n"
    )
    for layer, share in found.shares:
        print(f"  {layer:30}{share:>7.1%}{share * found.wall_us:>9,.0f} us")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
