"""A hop has its time: past it, or without a database, a polite end that follows no commit."""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import psycopg
import pytest

from app import create_app
from core.database import Database
from flows.words import common
from settings import Settings
from tests.channels.conftest import PATH, Heard
from tests.channels.wire import Cut, Wire
from tests.flows.handset import Clock, Handset, Seen, WebLine

Turn = Callable[[], int]
SECONDS_MAX = 1.0
SORRY = common().texts["apology"]
ALL_SORRY = "\n".join(SORRY.values())


@pytest.fixture
def hasty(server: Settings, market: Database, member: Handset) -> Handset:
    """Amina's phone, at a web server that gives each hop a second."""
    quick = server.model_copy(update={"hop_seconds_max": SECONDS_MAX})
    member.line = WebLine(create_app(quick, database=market).test_client(), PATH)
    return member


@pytest.fixture
def held(market_url: str) -> Iterator[Callable[[str], psycopg.Connection]]:
    """Somebody else holds the conversation of this phone."""
    with psycopg.connect(market_url) as connection:

        def hold(phone: str) -> psycopg.Connection:
            connection.execute("SELECT FROM conversations WHERE address = %s FOR UPDATE", [phone])
            return connection

        yield hold


def timed(ask: Callable[[], Seen]) -> tuple[Seen, float]:
    began = monotonic()
    return ask(), monotonic() - began


def test_a_hop_that_must_wait_too_long_ends_politely_and_keeps_nothing(
    hasty: Handset,
    held: Callable[[str], psycopg.Connection],
    turn: Turn,
    register: Callable[..., None],
    heard: Heard,
) -> None:
    hasty.dial()
    before = turn()
    holder = held(hasty.msisdn)
    answer, seconds = timed(lambda: hasty.reply("1"))
    assert (answer.ends, answer.text, answer.label) == (True, SORRY["en"], "apology")
    assert seconds < SECONDS_MAX + 3
    assert heard.events == ["hop_late"]
    holder.rollback()
    assert turn() == before
    assert hasty.repeat().label == "buy.category"  # the same hop once more is taken then


def test_the_apology_is_in_the_members_language(
    hasty: Handset,
    held: Callable[[str], psycopg.Connection],
    market: Database,
) -> None:
    with market.begin() as db:
        db.run(
            "UPDATE members SET language = 'sw' WHERE msisdn = %(phone)s",
            {"phone": hasty.msisdn},
        )
    hasty.dial()
    held(hasty.msisdn)
    assert hasty.reply("1").text == SORRY["sw"]


def test_whoever_we_never_spoke_to_is_told_in_every_language(
    hasty: Handset,
    held: Callable[[str], psycopg.Connection],
    server: Settings,
    market: Database,
) -> None:
    """Another process of ours, which has not heard of her yet."""
    hasty.dial()
    held(hasty.msisdn)
    quick = server.model_copy(update={"hop_seconds_max": SECONDS_MAX})
    hasty.line = WebLine(create_app(quick, database=market).test_client(), PATH)
    assert hasty.reply("1").text == ALL_SORRY


def test_a_lock_deep_in_a_purchase_is_no_reason_to_wait_longer(
    hasty: Handset, market_url: str, turn: Turn
) -> None:
    hasty.dial()
    hasty.walk("1", "1", "2", "1")
    before = turn()
    with psycopg.connect(market_url) as other:
        other.execute("LOCK TABLE lines IN ACCESS EXCLUSIVE MODE")
        answer, seconds = timed(lambda: hasty.reply("4"))
    assert (answer.text, seconds < SECONDS_MAX + 3) == (SORRY["en"], True)
    assert turn() == before
    assert hasty.repeat().label == "buy.cart"


def test_a_state_that_breaks_us_is_forgotten_so_that_the_next_dial_works(
    member: Handset, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    member.dial()
    member.reply("1")
    with monkeypatch.context() as bad:
        bad.setattr("flows.engine.take", broken)
        assert member.reply("1").text == SORRY["en"]
    assert heard.broken == ["hop_broken"]
    heard.broken.clear()
    assert member.dial().label == "home.menu"


def broken(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


def test_without_a_database_every_hop_ends_politely(
    server: Settings, clock: Clock, phone: str
) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing", size=1)
    client = create_app(server, database=nowhere).test_client()
    handset = Handset(WebLine(client, PATH), clock, phone)
    answer, seconds = timed(handset.dial)
    assert (answer.ends, answer.text) == (True, ALL_SORRY)
    assert seconds < 1


# The wire to the database


@pytest.fixture
def wire(market_url: str) -> Iterator[Wire]:
    laid = Wire(market_url)
    yield laid
    laid.down()


@pytest.fixture
def wired(wire: Wire, server: Settings, clock: Clock, member: Handset) -> Iterator[Handset]:
    """Amina's phone, at a web server whose database is at the end of the wire."""
    database = Database(wire.url, clock=clock, size=2)
    member.line = WebLine(create_app(server, database=database).test_client(), PATH)
    yield member
    database.close()


def test_a_database_that_goes_away_between_hops_is_apologised_for_and_found_again(
    wired: Handset, wire: Wire, turn: Turn
) -> None:
    wired.dial()
    before = turn()
    wire.down()
    answer, seconds = timed(lambda: wired.reply("1"))
    assert (answer.ends, answer.text) == (True, SORRY["en"])
    assert seconds < 3.5
    assert turn() == before
    wire.up()
    assert wired.repeat().label == "buy.category"


def test_connections_that_died_in_the_pool_are_replaced_without_a_word(
    wired: Handset, wire: Wire, heard: Heard
) -> None:
    wired.dial()
    wire.down()
    wire.up()
    assert wired.reply("1").label == "buy.category"
    assert heard.events == []


@pytest.mark.parametrize("cut", [Cut.BEFORE_COMMIT, Cut.AFTER_COMMIT])
def test_a_hop_without_effect_is_answered_whenever_the_wire_breaks(
    wired: Handset, wire: Wire, turn: Turn, cut: Cut
) -> None:
    """What was not kept is done again under the lock; what was kept is found there."""
    wired.dial()
    before = turn()
    wire.cut, wire.commits = cut, b"buy.category"  # the label that is kept with the hop
    answer = wired.reply("1")
    assert (answer.ends, answer.lines[0]) == (
        False, "What would you like? Choose, or type its name."
    )  # fmt: skip
    assert turn() == before + 1
    assert wire.cut is Cut.NEVER
    assert wired.reply("1").label == "buy.product"


def test_a_commit_that_never_happened_is_apologised_for(
    wired: Handset, wire: Wire, turn: Turn
) -> None:
    wired.dial()
    wired.walk("1", "honey", "1", "1")
    before = turn()
    wire.cut = Cut.BEFORE_COMMIT
    assert wired.reply("1").text == SORRY["en"]
    assert turn() == before
    assert wired.repeat().label == "buy.cart"


def test_a_commit_still_under_way_is_waited_for(
    wired: Handset, wire: Wire, turn: Turn, slow_commits: None
) -> None:
    """The server takes its time, and the wire breaks meanwhile: no apology before it is known."""
    wired.dial()
    wired.walk("1", "honey", "1", "1")
    before = turn()
    wire.cut = Cut.DURING_COMMIT
    answer = wired.reply("1")
    assert not answer.ends
    assert turn() == before + 1


@pytest.fixture
def slow_commits(market_url: str, member: Handset) -> Iterator[None]:
    """Every commit of a hop takes 0.3 s, as on a busy disk."""
    with psycopg.connect(market_url, autocommit=True) as connection:
        connection.execute(
            """
            CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END';
            CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON hops
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
            """
        )
        yield
        connection.execute("DROP TRIGGER dawdle ON hops; DROP FUNCTION dawdle()")


def test_a_first_dial_whose_commit_is_still_under_way_is_waited_for(
    wired: Handset, wire: Wire, slow_commits: None
) -> None:
    """Not even her conversation can be seen yet."""
    wired.dial()
    stranger = Handset(wired.line, wired.clock, "+254733777777")
    wire.cut = Cut.DURING_COMMIT
    assert stranger.dial().label == "repeat"
    assert stranger.seen.text.startswith("Sokoni: buy, sell")


def test_an_order_whose_commit_was_lost_is_placed_once(
    wired: Handset, wire: Wire, market: Database
) -> None:
    wired.dial()
    wired.walk("1", "honey", "1", "1", "1", "1", "1")
    assert wired.seen.label == "buy.confirm"
    wire.cut = Cut.AFTER_COMMIT
    answer = wired.reply("1")
    assert answer.text.startswith("Order ")
    assert wired.repeat().text == answer.text
    with market.begin() as db:
        placed = db.value(
            """
            SELECT count(*) FROM orders o JOIN members m ON m.id = o.buyer_id
            WHERE m.msisdn = %(phone)s
            """,
            {"phone": wired.msisdn},
        )
    assert placed == 1
