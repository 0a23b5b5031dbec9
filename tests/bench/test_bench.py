"""The benchmark itself: it drives real servers, sees what is wrong, and compares like with like."""

import shutil
import subprocess
from dataclasses import replace

import pytest

import app
from bench import __main__ as bench
from bench import floor, layers, load, market, money, pending, rounds, senders, servers, wires
from bench.journeys import Step
from bench.load import Seen
from bench.rounds import COURSES, Pair, Round, Rounds

CALLERS = range(100)


@pytest.fixture(scope="module", autouse=True)
def _wrk():
    load.ready()


def run(loaded, application, kind, wire):
    """A second of calls; what was seen, the rows and the screens it left, the worker's memory."""
    with loaded.copy("smoke") as url:
        market.enrol(url, wire.channel)
        before = market.written(url)
        settings = loaded.settings_for(url)
        log = loaded.folder / f"{application}-{kind}.log"
        with servers.running(application, settings, log, kind=kind) as server:
            seen = load.drive(
                server.base_url, wire, CALLERS, loaded.folder, seconds=1, connections=2
            )
            megabytes = server.worker_megabytes()
        after = market.written(url)
        shown = market.screens(url, wire.channel)
    return seen, {name: after[name] - before[name] for name in after}, shown, megabytes


@pytest.mark.parametrize(
    ("application", "kind"), [("system", "granian"), ("system", "gunicorn"), ("floor", "granian")]
)
def test_callers_place_orders_on_each_server(loaded, application, kind):
    wire = loaded.wire("ussd", "order")
    seen, added, shown, megabytes = run(loaded, application, kind, wire)
    assert seen.journeys > 0, (loaded.folder / f"{application}-{kind}.log").read_text()
    rounds.check("smoke", "order", [seen], added, shown, wire, connections=2)
    assert 20 < megabytes < 500


@pytest.mark.parametrize("application", ["system", "floor"])
@pytest.mark.parametrize("channel", ["telegram", "sms"])
def test_callers_browse_on_each_channel(loaded, application, channel):
    wire = loaded.wire(channel, "browse")
    seen, added, shown, _ = run(loaded, application, "granian", wire)
    assert seen.journeys > 0, (loaded.folder / f"{application}-granian.log").read_text()
    rounds.check("smoke", channel, [seen], added, shown, wire, connections=2)
    assert added["outbox"] >= seen.hops
    assert max(map(len, shown.values())) == 5


def test_a_wrong_screen_is_seen(loaded):
    journey = [Step("", "Sokoni. Welcome, "), Step("1", "Something else")]
    wire = wires.wire("ussd", [journey], loaded.settings)
    seen, added, shown, _ = run(loaded, "system", "granian", wire)
    assert (seen.hops, seen.journeys) == (len(CALLERS), 0)
    assert seen.wrong == len(CALLERS)
    assert seen.example.startswith("2: 200 CON What would you like?")
    with pytest.raises(rounds.Wrong, match="wrong answers"):
        rounds.check("smoke", "browse", [seen], added, shown, wire, connections=2)


def test_a_wrong_screen_is_seen_where_the_answer_does_not_show_it(loaded):
    journey = [Step("", "Sokoni. Welcome, "), Step("2", "What would you like?")]
    wire = wires.wire("telegram", [journey], loaded.settings)
    seen, added, shown, _ = run(loaded, "system", "granian", wire)
    assert (seen.journeys, seen.wrong) == (len(CALLERS), 0)
    with pytest.raises(rounds.Wrong, match="hop 2 of a caller kept"):
        rounds.check("smoke", "telegram", [seen], added, shown, wire, connections=2)


def test_an_answer_that_nothing_was_kept_of_is_seen():
    wire = wires.Wire("sms", "/", {}, [], [[Step("", "Sokoni")]])
    seen = Seen(10, 10, 0, 0, 10.0, 1.0, 1.0, "")
    kept = dict.fromkeys(("reservations", "escrows", "charges", "messages", "orders"), 0)
    shown = {caller: ["Sokoni."] for caller in range(10)}
    rounds.check("x", "sms", [seen], {**kept, "hops": 10, "outbox": 10}, shown, wire, 0)
    with pytest.raises(rounds.Wrong, match="10 hops were answered, 9 are kept"):
        rounds.check("x", "sms", [seen], {**kept, "hops": 9, "outbox": 9}, shown, wire, 0)
    with pytest.raises(rounds.Wrong, match="0 orders and 10 hops have 9 outbox"):
        rounds.check("x", "sms", [seen], {**kept, "hops": 10, "outbox": 9}, shown, wire, 0)


@pytest.mark.parametrize("name", COURSES)
@pytest.mark.parametrize("listing_seconds_max", [0, 10])
def test_the_floor_writes_the_rows_of_the_system_in_no_more_statements(
    loaded, name, listing_seconds_max
):
    course = COURSES[name]
    wire = loaded.wire(course.channel, course.journey)
    keeps = {"listing_seconds_max": listing_seconds_max}
    added, statements = {}, {}
    for application, create_app in (("system", app.create_app), ("floor", floor.create_app)):
        with loaded.copy("walked") as url:
            market.enrol(url, wire.channel)
            before = market.written(url)
            web = create_app(loaded.settings_for(url).model_copy(update=keeps))
            counter = layers.Statements()
            with counter.counted():
                for requests in layers.calls(wire, 3):
                    layers.walk(web, requests)
            web.extensions["sokoni.database"].close()
            after = market.written(url)
        added[application] = {table: after[table] - before[table] for table in after}
        statements[application] = counter.number
    assert added["floor"] == added["system"]
    assert 0 < statements["floor"] <= statements["system"]


def test_a_profile_says_whose_the_time_is(loaded, monkeypatch):
    monkeypatch.setattr(rounds, "PROFILED", 20)
    found = rounds.profiled(loaded, "telegram")
    assert found.hops == 5 * 20
    assert 0 < found.process_us < found.wall_us
    assert sum(share for _, share in found.shares) == pytest.approx(1)
    named = {name for name, _ in found.shares}
    assert {"PostgreSQL: sending, waiting", "python-telegram-bot"} <= named


def test_a_worker_sends_receipts_past_a_broadcast(loaded):
    found = senders.measured(loaded, receipts=20, broadcast=200)
    assert (found.receipts.messages, found.broadcast.messages) == (20, 200)
    assert found.receipts.a_second > 0
    assert found.waits.receipts >= 10
    assert 0 < found.waits.p50_seconds <= found.waits.p99_seconds <= found.waits.longest_seconds
    assert {"relay", "worker", "gateway", "database"} == found.receipts.cpu_us.keys()


def test_a_channel_slower_than_its_target_is_said():
    seen = Seen(10_000, 2_000, 0, 0, 2_000.0, 5.0, 20.0, "")
    one = Round(seen, 100.0, 500.0, 300.0)
    slow = replace(one, seen=replace(seen, hops_a_second=1_399.0))
    ussd, sms = Pair(Rounds([one]), Rounds([one])), Pair(Rounds([slow]), Rounds([slow]))
    said = dict(bench._targets({"browse": ussd, "telegram": ussd, "sms": sms}))
    assert said["telegram: at least 0.7 of the hop by USSD"] is True
    assert said["sms: at least 0.7 of the hop by USSD"] is False


def test_without_wrk_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    def refused(*_arguments, **_named):
        raise subprocess.CalledProcessError(100, "apt-get")

    monkeypatch.setattr(subprocess, "run", refused)
    with pytest.raises(load.NoTool, match="sudo apt-get install wrk"):
        load.ready()


@pytest.mark.timeout(600)  # three markets, and all processes twice
def test_a_backlog_is_booked_beside_what_arrives_and_sellers_are_paid_out(loaded, monkeypatch):
    monkeypatch.setattr(money, "WARM_UP_SECONDS", 0)
    booked = money.measured(loaded, backlog=60, histories=[1_000], payouts=20, entries_read=500)
    assert booked.drain.backlog == 60
    assert booked.drain.settled >= 60
    assert booked.drain.arrived > 0
    assert booked.paid_out.payouts == 20
    assert [one.entries for one in booked.settlings] == [1_000]
    assert booked.settlings[0].us > 0
    assert booked.reading.entries == 500


def test_a_callback_that_was_not_booked_is_noticed(loaded):
    with loaded.copy("unbooked") as url:
        pending.put(url, 3, 2, loaded.settings.rules())
        with pytest.raises(rounds.Wrong, match="of 3 callbacks"):
            money._check(url, 3)
