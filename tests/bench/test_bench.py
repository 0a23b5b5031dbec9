"""The benchmark itself: it drives real servers, sees what is wrong, and compares like with like."""

import shutil
import subprocess

import pytest

import app
from bench import __main__ as bench
from bench import floor, layers, load, market, servers
from bench.journeys import Hop

MEMBERS_A_RUN = 100


@pytest.fixture(scope="module", autouse=True)
def _wrk():
    load.ready()


def run(loaded, application, kind, journeys):
    """A second of calls; what was seen, and the rows it left."""
    with loaded.copy("smoke") as url:
        before = market.written(url)
        settings = loaded.settings_for(url)
        log = loaded.folder / f"{application}-{kind}.log"
        with servers.running(application, settings, log, kind=kind) as server:
            seen = load.drive(
                server.base_url,
                journeys,
                loaded.callers(0, MEMBERS_A_RUN),
                loaded.folder,
                seconds=1,
                connections=2,
            )
            megabytes = server.worker_megabytes()
        after = market.written(url)
    return seen, {name: after[name] - before[name] for name in after}, megabytes


@pytest.mark.parametrize(
    ("application", "kind"), [("system", "granian"), ("system", "gunicorn"), ("floor", "granian")]
)
def test_callers_place_orders_on_each_server(loaded, application, kind):
    seen, added, megabytes = run(loaded, application, kind, loaded.journeys("order"))
    assert seen.journeys > 0, (loaded.folder / f"{application}-{kind}.log").read_text()
    bench.check("smoke", "order", [seen], added, connections=2)
    assert 20 < megabytes < 500


def test_a_wrong_screen_is_seen(loaded):
    journeys = [[Hop("", "CON Sokoni. Welcome, "), Hop("1", "CON Something else")]]
    seen, added, _ = run(loaded, "system", "granian", journeys)
    assert (seen.hops, seen.journeys) == (MEMBERS_A_RUN, 0)
    assert seen.wrong == MEMBERS_A_RUN
    assert seen.example.startswith("2: 200 CON What would you like?")
    with pytest.raises(bench.Wrong, match="wrong bodies"):
        bench.check("smoke", "browse", [seen], added, connections=2)


@pytest.mark.parametrize("name", ["browse", "order"])
def test_the_floor_writes_the_rows_of_the_system_in_no_more_statements(loaded, name):
    added, statements = {}, {}
    for application, create_app in (("system", app.create_app), ("floor", floor.create_app)):
        with loaded.copy("walked") as url:
            before = market.written(url)
            settings = loaded.settings_for(url)
            web = create_app(settings)
            journeys = loaded.journeys(name)
            counter = layers.Statements()
            with counter.counted():
                for requests in layers.calls(loaded.path, settings.ussd_service_code, journeys, 3):
                    layers.walk(web, requests)
            web.extensions["sokoni.database"].close()
            after = market.written(url)
        added[application] = {table: after[table] - before[table] for table in after}
        statements[application] = counter.number
    assert added["floor"] == added["system"]
    assert 0 < statements["floor"] <= statements["system"]


def test_a_profile_says_whose_the_time_is(loaded):
    with loaded.copy("profiled") as url:
        settings = loaded.settings_for(url)
        web = app.create_app(settings)
        found = layers.profile(
            web, loaded.path, settings.ussd_service_code, loaded.journeys("browse"), 20
        )
        web.extensions["sokoni.database"].close()
    assert found.hops == 5 * 20
    assert 0 < found.process_us < found.wall_us
    assert sum(share for _, share in found.shares) == pytest.approx(1)
    assert {"PostgreSQL: waiting for it", "flows/engine.py"} <= {name for name, _ in found.shares}


def test_without_wrk_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    def refused(*_arguments, **_named):
        raise subprocess.CalledProcessError(100, "apt-get")

    monkeypatch.setattr(subprocess, "run", refused)
    with pytest.raises(load.NoTool, match="sudo apt-get install wrk"):
        load.ready()
