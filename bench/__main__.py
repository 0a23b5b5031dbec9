"""`make bench`: what the production server answers in a second, beside the floor; what one worker
sends, books and pays out; memory; where time goes.
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import layers, load, market, money, rounds, senders
from bench.load import Seen
from bench.money import Money
from bench.rounds import COURSES, Name, Pair, Rounds, Wrong
from bench.senders import Rate, Sent
from settings import load_environment

FLUSH_MS = 2
PARTS: Final[Mapping[str, Sequence[Name]]] = {
    "browse": ["browse"],
    "order": ["order"],
    "channels": ["browse", "telegram", "sms"],
    "senders": [],
    "money": [],
}


@dataclass(frozen=True)
class Target:
    ratio: float
    hops_a_second: int


TARGETS: Final[Mapping[Name, Target]] = {"browse": Target(0.6, 1800), "order": Target(0.5, 700)}
P99_MS_MAX = 60
WORKER_MEGABYTES_MAX = 150
OF_USSD_MIN = 0.7  # of the hops a second of the same journey by USSD
SMS_A_SECOND_MIN = 300
RECEIPT_P99_SECONDS_MAX = 2.0
SETTLEMENTS_A_SECOND_MIN = 150
READING_MS_MAX = 20
FLAT_MAX = 1.5  # a settlement beside the longest history, of one beside the shortest


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    parts = options.only or list(PARTS)
    names = [name for name in COURSES if any(name in PARTS[part] for part in parts)]
    try:
        load.ready()
    except load.NoTool as error:
        print(error, file=sys.stderr)
        return 2
    print(_machine(), flush=True)
    how = (options.seconds, options.connections)
    with market.opened(load_environment()) as opened:
        try:
            measure = rounds.yardstick_of(opened, *how)
            rows = rounds.measured(opened, names, options.rounds, *how, _tell)
            by_ussd = [name for name in TARGETS if name in parts]
            slow = rounds.measured(opened, by_ussd, 1, *how, _tell, flush_ms=FLUSH_MS)
            profiles = {name: rounds.profiled(opened, name) for name in names}
            sent = senders.measured(opened) if "senders" in parts else None
            booked = money.measured(opened) if "money" in parts else None
        except Wrong as error:
            print(error, file=sys.stderr)
            return 1
    _print_yardstick(measure)
    _print_table(f"{options.connections} connections, medians of {options.rounds}", rows)
    _print_table(f"the disk {FLUSH_MS} ms slower, one round", slow)
    if sent is not None:
        _print_sent(sent)
    if booked is not None:
        _print_money(booked)
    print("\ntargets\n")
    reached = [*_targets(rows), *_targets_of_sending(sent), *_targets_of_money(booked)]
    for about, is_reached in reached:
        print(f"  {'reached' if is_reached else 'MISSED ':8} {about}")
    for name, found in profiles.items():
        _print_profile(name, found)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="this part; may be given more than once"
    )
    parser.add_argument("--seconds", type=int, default=5, help="of each round (5)")
    parser.add_argument("--rounds", type=int, default=3, help="of system and floor each (3)")
    parser.add_argument("--connections", type=int, default=16, help="at once (16)")
    return parser.parse_args(arguments)


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _machine() -> str:
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} before"
    )


def _print_yardstick(measure: Seen) -> None:
    print(
        f"\nyardstick (a form, a SELECT, an INSERT, a COMMIT): {measure.hops_a_second:,.0f} "
        f"requests/s, p99 {measure.p99_ms:.1f} ms"
    )


def _print_table(title: str, rows: Mapping[Name, Pair]) -> None:
    if not rows:
        return
    print(f"\n{title}\n")
    print(
        f"{'':40}{'hops/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'MB':>6}{'CPU us':>9}{'database':>10}"
        f"{'of floor':>10}{'by CPU':>8}{'of USSD':>9}{'by CPU':>8}"
    )
    for name, pair in rows.items():
        of_floor = _beside(pair.system, pair.floor)
        of_ussd = ""
        if COURSES[name].channel != "ussd":
            of_ussd = _beside(pair.system, rows["browse"].system, width=9)
        print(f"{_line(COURSES[name].about, pair.system)}{of_floor}{of_ussd}")
        print(_line("  its floor", pair.floor))


def _line(about: str, found: Rounds) -> str:
    return (
        f"{about:40}{found.hops_a_second:>10,.0f}{found.p50_ms:>9.1f}{found.p99_ms:>9.1f}"
        f"{found.worker_megabytes:>6.0f}{found.web_cpu_us:>9.0f}{found.database_cpu_us:>10.0f}"
    )


def _beside(found: Rounds, other: Rounds, *, width: int = 10) -> str:
    """Of the other's hops a second; the same if both had as much of the processors."""
    by_cpu = other.cpu_us / found.cpu_us
    return f"{found.hops_a_second / other.hops_a_second:>{width}.2f}{by_cpu:>8.2f}"


def _print_sent(sent: Sent) -> None:
    print("\none worker (relay, 2 processes), SMS to the pretend gateway\n")
    print(f"{'':40}{'messages':>10}{'a second':>10}   CPU us a message")
    _print_rate("receipts, one call each", sent.receipts)
    _print_rate("a broadcast, a hundred a call", sent.broadcast)
    waits = sent.waits
    print(
        f"\n{waits.receipts:,} receipts put meanwhile, one each {senders.EVERY_SECONDS:g} s: "
        f"handed over after {waits.p50_seconds:.2f} s, p99 {waits.p99_seconds:.2f} s, "
        f"longest {waits.longest_seconds:.2f} s"
    )


def _print_rate(about: str, rate: Rate) -> None:
    used = ", ".join(f"{name} {cpu_us:,.0f}" for name, cpu_us in rate.cpu_us.items())
    print(f"{about:40}{rate.messages:>10,}{rate.a_second:>10,.0f}   {used}")


def _print_money(booked: Money) -> None:
    print("\none process, one M-Pesa callback after the other, from the inbox to the ledger\n")
    print(f"{'entries in the ledger':40}{'us':>10}{'database':>10}   of it processor")
    for one in booked.settlings:
        print(f"{one.entries:>21,}{one.us:>29,.0f}{one.database_cpu_us:>10,.0f}")
    drain, out, reading = booked.drain, booked.paid_out, booked.reading
    print(
        f"\na member with {reading.entries:,} entries: balance {reading.balance_ms:.1f} ms, "
        f"statement {reading.statement_ms:.1f} ms"
    )
    print(
        f"\na backlog of {drain.backlog:,} callbacks, {money.ARRIVALS_A_SECOND} more a second: "
        f"{drain.settled:,} booked in {drain.seconds:,.0f} s, {drain.a_second:,.0f} a second; "
        f"all {drain.backlog + drain.arrived:,} after {drain.seconds_in_all:,.0f} s; "
        f"p99 of our answer {drain.p99_answer_ms:.0f} ms"
    )
    _print_used(drain.cpu_us)
    print(
        f"\n{out.payouts:,} sellers paid out, from release to proof: {out.seconds:,.0f} s, "
        f"{out.a_second:,.0f} a second"
    )
    _print_used(out.cpu_us)


def _print_used(cpu_us: Mapping[str, float]) -> None:
    used = ", ".join(f"{name} {us:,.0f}" for name, us in cpu_us.items())
    print(f"  CPU us of each: {used}")


def _targets(rows: Mapping[Name, Pair]) -> list[tuple[str, bool]]:
    found = []
    for name, target in TARGETS.items():
        if name not in rows:
            continue
        system, hops = rows[name].system, rows[name].system.hops_a_second
        ratio = hops / rows[name].floor.hops_a_second
        found += [
            (f"{name}: at least {target.ratio} of its floor", ratio >= target.ratio),
            (f"{name}: at least {target.hops_a_second:,} hops/s", hops >= target.hops_a_second),
            (f"{name}: p99 below {P99_MS_MAX} ms", system.p99_ms < P99_MS_MAX),
            (
                f"{name}: a worker below {WORKER_MEGABYTES_MAX} MB",
                system.worker_megabytes < WORKER_MEGABYTES_MAX,
            ),
        ]
    for name, pair in rows.items():
        if COURSES[name].channel != "ussd":
            of_ussd = pair.system.hops_a_second / rows["browse"].system.hops_a_second
            found.append(
                (f"{name}: at least {OF_USSD_MIN} of the hop by USSD", of_ussd >= OF_USSD_MIN)
            )
    return found


def _targets_of_sending(sent: Sent | None) -> list[tuple[str, bool]]:
    if sent is None:
        return []
    rates = {"receipts": sent.receipts, "a broadcast": sent.broadcast}
    return [
        *(
            (f"{about}: at least {SMS_A_SECOND_MIN} SMS/s", rate.a_second >= SMS_A_SECOND_MIN)
            for about, rate in rates.items()
        ),
        (
            f"receipts beside a broadcast: p99 below {RECEIPT_P99_SECONDS_MAX:.0f} s",
            sent.waits.p99_seconds < RECEIPT_P99_SECONDS_MAX,
        ),
    ]


def _targets_of_money(booked: Money | None) -> list[tuple[str, bool]]:
    if booked is None:
        return []
    drain, settlings = booked.drain, booked.settlings
    return [
        (
            f"at least {SETTLEMENTS_A_SECOND_MIN} settlements a second",
            drain.a_second >= SETTLEMENTS_A_SECOND_MIN,
        ),
        (
            f"a backlog drains while {money.ARRIVALS_A_SECOND} a second arrive",
            drain.a_second > money.ARRIVALS_A_SECOND,
        ),
        (
            f"a settlement costs the same with {settlings[-1].entries:,} entries",
            settlings[-1].us <= FLAT_MAX * settlings[0].us,
        ),
        (
            f"a statement out of {booked.reading.entries:,} entries below {READING_MS_MAX} ms",
            max(booked.reading.balance_ms, booked.reading.statement_ms) < READING_MS_MAX,
        ),
    ]


def _print_profile(name: Name, found: layers.Profile) -> None:
    print(
        f"\n{COURSES[name].about}, one thread: {found.wall_us:,.0f} us a hop, of them "
        f"{found.process_us:,.0f} in our process; {found.statements:.1f} statements a hop\n"
    )
    for layer, share in found.shares:
        print(f"  {layer:30}{share:>7.1%}{share * found.wall_us:>9,.0f} us")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
