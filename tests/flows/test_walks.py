"""Every way out of every state of every flow is walked by every channel, along roads made from the
graph itself, through the gateways' own requests.

On each road something goes wrong as well: a request comes twice, or twice at one instant, she
mistypes, or she drops it and comes back by another channel. Each walk has one of these; over the
channels each way has them all. WALKS=all walks every way with everything by every channel.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, Final
from zlib import crc32

import pytest
from flask.testing import FlaskClient

from app import create_app
from core.database import Database, Db
from core.rules import Rules
from flows import run
from flows.engine import Ask
from flows.words import common
from settings import Settings
from tests.flows import demo_market, graph, walks_phones
from tests.flows.graph import FOREIGN, OFFERED, REDIAL, Edge, Node
from tests.flows.handset import Clock
from tests.flows.street import PHONE, Street
from tests.flows.walks_aside import (
    BEGINS,
    answer_late,
    mistype,
    repeat,
    resumes,
    return_by,
    step_aside,
)
from tests.flows.walks_phones import CHANNELS, MEDIUM, Phone
from tests.flows.walks_report import CLOSED_TO
from tests.flows.walks_road import Walk, legs, traced
from tests.flows.walks_town import Backstage

EDGES: Final = graph.edges()
MODES: Final = ("plainly", "repeated", "mistyped", "elsewhere", "at_once")
ALL: Final = os.environ.get("WALKS") == "all"
Outcome = tuple[Node, Mapping[str, Any]]
# Others can send an SMS in her name: what is typed stays readable, and is no proof.
BY_WORD: Final = Edge("my_orders", "sure_received", "received")
BY_HERSELF: Final = {
    Edge("my_orders", "sure_less", "ask"),
    Edge("my_orders", "asked_less", "take_back"),
}
# A chat that asks for a link is one that speaks for the phone.
LINKED: Final = {Edge("link", "stands", "free"): Edge("link", "stands", "linked")}
# Where no PIN can be typed, a seller's word is taken without; he accepts once more when it is paid.
UNPROVED: Final = {
    Edge("safe_pay", state, "pin"): Edge("safe_pay", state, "no_pin")
    for state in ("word_open", "word_accept")
}
# Where the network does not say whose line it is, the old PIN is asked for.
OFF_LINE: Final = {
    Edge("account", "whether_forgotten", "forgotten"): Edge("account", "whether_forgotten", "known")
}
INSTEAD: Final = {**LINKED, **UNPROVED, **OFF_LINE}


def closed(channel: str) -> set[Edge]:
    """The ways that nobody can go by this channel."""
    match channel:
        case "sms":
            by_word = {BY_WORD, *BY_HERSELF, *UNPROVED, *OFF_LINE}
            return {*by_word, *(edge for edge in EDGES if _is_secret(edge.source))}
        case "telegram":
            return {*LINKED, *OFF_LINE}
        case "advanta":  # its numbers are Kenyan, written in any way
            return {edge for edge, how in graph.CAUSES.items() if how.phone == FOREIGN}
        case _:
            return set()


def _is_secret(node: Node) -> bool:
    state = graph.state_of(node)
    return isinstance(state, Ask) and state.secret


CLOSED: Final = {channel: closed(channel) for channel in CHANNELS}


@cache
def road(edge: Edge, channel: str) -> tuple[list[Edge], Edge | None]:
    """How to go that way; or how far one comes, and the first way on it that is closed."""
    shut = CLOSED[channel]
    path = None if edge in shut else graph.path_to(edge, shut)
    if path is not None:
        return path, None
    path = graph.path_to(edge)
    assert path is not None, f"no road leads to {edge}"
    barred = next(step for step in path if step in shut)
    return path[: path.index(barred)], barred


def modes(edge: Edge) -> Iterator[tuple[str, str]]:
    """How it is walked by which channel: by each at least once, and once in every mode."""
    open_by = [channel for channel in CHANNELS if road(edge, channel)[1] is None]
    yield from ((channel, CLOSED_TO) for channel in CHANNELS if channel not in open_by)
    if ALL:
        yield from product(open_by, MODES)
        return
    first = crc32(str(edge).encode())
    for number, mode in enumerate(MODES):
        yield open_by[(first + number) % len(open_by)], mode


def others(walk: Walk, edge: Edge) -> list[str]:
    """By what she may come back."""
    medium = MEDIUM[walk.phone.channel]
    away = [
        channel
        for channel in CHANNELS
        if MEDIUM[channel] != medium and (channel, walk.street.msisdn) != ("advanta", FOREIGN)
    ]
    return away if ALL else [away[crc32(str(edge).encode()) // len(MODES) % len(away)]]


WALKS: Final = [(edge, channel, mode) for edge in EDGES for channel, mode in modes(edge)]


@pytest.fixture(scope="module")
def server() -> Settings:
    return Settings(sokoni_env="test", hops_a_minute_max=0, hop_seconds_max=9)


@pytest.fixture(scope="module")
def rules(server: Settings) -> Rules:
    return server.rules()


@pytest.fixture(scope="module")
def market(new_database: Callable[[], Any], rules: Rules) -> Iterator[Database]:
    with new_database() as url:
        demo_market.load(url, rules)
        kept = Database(url, size=1)
        yield kept
        kept.close()


@pytest.fixture(scope="module")
def backstage(market: Database) -> Backstage:
    return Backstage(market)


@pytest.fixture(scope="module")
def client(server: Settings, backstage: Backstage) -> FlaskClient:
    return create_app(server, database=backstage).test_client()


@pytest.fixture
def begin(
    db: Db,
    clock: Clock,
    rules: Rules,
    backstage: Backstage,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[list[Edge], str], Walk]:
    """What happened before she spoke to us by this channel, to go down that road."""

    def walk(path: list[Edge], channel: str) -> Walk:
        causes = [known for step in path if (known := graph.cause(step)) is not None]
        phones = [how.phone for how in causes if how.phone]
        street = Street(db, clock, rules, phones[0] if phones else PHONE)
        backstage.play(db, clock)
        begun = Walk(street, walks_phones.phone(channel, street, client))
        monkeypatch.setattr(run, "BOOK", traced(begun))
        for how in causes:
            if how.start:
                how.start(street)
        languages = list(common().languages)
        language = languages[EDGES.index(path[-1]) % len(languages)] if path else "en"
        db.run("UPDATE members SET language = %(language)s", {"language": language})
        return begun

    return walk


@pytest.mark.parametrize(("edge", "channel", "mode"), WALKS, ids=str)
def test_each_way_is_walked_and_nothing_on_it_breaks(
    edge: Edge,
    channel: str,
    mode: str,
    begin: Callable[[list[Edge], str], Walk],
    backstage: Backstage,
    client: FlaskClient,
    record_property: Callable[[str, object], None],
) -> None:
    path, barred = road(edge, channel)
    walk = begin(path, channel)
    record_property("walk", (str(edge), channel, mode))
    if barred is not None:
        for leg in legs(path):
            walk.go(leg)
        refuse(walk, barred, client)
        return
    *before, last = legs(path)
    for leg in before:
        walk.go(leg)
    match mode:
        case "plainly":
            walk.go(last)
            step_aside(walk)
        case "repeated":
            walk.go(last)
            repeat(walk)
        case "mistyped" if before:
            mistype(walk)
            walk.go(last)
        case "mistyped":
            walk.go(last)
            mistype(walk)
        case "elsewhere" if before:
            for other in others(walk, edge):
                with walk.undone():
                    go_on_by(walk, other, last, client)
            walk.go(last)
        case "elsewhere":
            walk.go(last)
            for other in others(walk, edge):
                with walk.undone():
                    return_by(walk, walks_phones.phone(other, walk.street, client))
        case "at_once":
            alone = go_at_once(walk, last, backstage)
            if before and resumes(walk.node) == "ask":
                for other in others(walk, edge):
                    with walk.undone():
                        there = walks_phones.phone(other, walk.street, client)
                        go_at_both(walk, last, alone, there, backstage)
            walk.go(last)
    walk.stands_well()


def refuse(walk: Walk, barred: Edge, client: FlaskClient) -> None:
    """A way that is closed here leads nowhere: she is told another, and keeps her place."""
    how = graph.cause(barred)
    assert how is not None, f"nobody has said what causes {barred}"
    if barred in INSTEAD:
        assert INSTEAD[barred] in walk.trail
        return
    if how.phone == FOREIGN:
        foreign = replace(walk.street, msisdn=FOREIGN)
        told = walks_phones.phone(walk.phone.channel, foreign, client).dial()
        assert (told.text, told.ends) == (run.sorry("unclear", None), True)
        return
    assert walk.node == barred.source
    assert how.typed is not None
    if how.before:
        how.before(walk.street)
    before = walk.business()
    answer = how.typed(walk.street) if callable(how.typed) else how.typed
    told = walk.phone.reply(answer)
    way_out = ("OK", "SAWA") if barred == BY_WORD else (walk.street.rules.dial_code,)
    assert any(words in told.text for words in way_out), told.text
    assert walk.node == barred.source
    assert walk.business() == before


def go_on_by(walk: Walk, channel: str, leg: list[Edge], client: FlaskClient) -> None:
    """She drops it, comes back by this channel, and goes the way from there, if she may."""
    left = walk.phone
    there = walks_phones.phone(channel, walk.street, client)
    if not return_by(walk, there):
        return
    shut = [edge for edge in leg if edge in CLOSED[channel]]
    if shut:
        if shut[0] in {*UNPROVED, *OFF_LINE}:
            walk.go(leg[: leg.index(shut[0])])
        refuse(walk, shut[0], client)
    else:
        walk.go(leg)
        walk.stands_well()
    answer_late(walk, left)


def go_at_once(walk: Walk, leg: list[Edge], backstage: Backstage) -> Outcome:
    """The same request twice in one instant leads where it leads once, and does what it does.

    What that is; where she stood before, she stands again.
    """
    with walk.undone():
        walk.go(leg)
        alone = outcome(walk)
    with walk.undone():
        with backstage.at_once(walk.phone.repeat):
            walk.go(leg)
        assert outcome(walk) == alone
    return alone


def go_at_both(
    walk: Walk, leg: list[Edge], alone: Outcome, there: Phone, backstage: Backstage
) -> None:
    """She answers here in the instant in which she goes on by the other channel: one of both.

    Whichever is first, and whatever the other had read by then.
    """
    source = walk.node
    with walk.at(there):
        there.dial()
        assert walk.node == OFFERED
    with walk.undone():
        late = there.copied()
        answer = answer_leading(walk, leg)
        with backstage.at_once(lambda: walk.phone.reply(answer)):
            late.reply("1")
        assert not walk.meanwhile, f"never came by {list(walk.meanwhile)}"
        assert outcome(walk)[1] == alone[1]
        with walk.at(late):  # where it stands by now, or at the beginning
            assert walk.node in {alone[0], *BEGINS}
    if any(how.meanwhile or how.given for edge in leg if (how := graph.cause(edge))):
        return  # what happens on the street while she answers cannot be told from her answer
    with walk.undone():
        faster = there.copied()
        answer = answer_leading(walk, leg)
        before = walk.business()
        with backstage.at_once(lambda: faster.reply("1")):
            walk.phone.reply(answer)
        assert walk.business() == before
        assert walk.node == source  # drawn again: it is hers again, and took nothing


def answer_leading(walk: Walk, leg: list[Edge]) -> str:
    """What she answers to go there, the street being ready for it."""
    answer = walk.make_ready(leg)
    assert answer is not None, f"no answer leads to {leg}"
    return answer


def outcome(walk: Walk) -> Outcome:
    """Where she stands and what is in the market, without what is new each time: keys."""
    shape = {
        name: sorted(str(row[1:]) for row in rows) if isinstance(rows, list) else rows
        for name, rows in walk.business().items()
    }
    return walk.node, shape


def test_every_way_is_walked_by_every_channel_and_with_everything_that_goes_wrong() -> None:
    assert {(edge, channel) for edge, channel, _ in WALKS} == {*product(EDGES, CHANNELS)}
    assert {(edge, mode) for edge, _, mode in WALKS} >= {*product(EDGES, MODES)}


def test_no_way_is_closed_to_all_of_ussd_and_telegram() -> None:
    open_by = {(edge, MEDIUM[channel]) for edge, channel, mode in WALKS if mode != CLOSED_TO}
    assert {edge for edge in EDGES if (edge, "ussd") not in open_by} == set()
    reset = {edge for edge in EDGES if edge.source == ("account", "reset_pin")}
    not_by_chat = {edge for edge in EDGES if (edge, "telegram") not in open_by}
    assert not_by_chat == {*LINKED, *OFF_LINE, *reset}


def test_no_way_is_forgotten() -> None:
    assert [str(edge) for edge in EDGES if graph.cause(edge) is None] == []


def test_no_cause_is_left_over() -> None:
    walked = {*EDGES, Edge(*graph.LEFT_AT, REDIAL)}
    assert [str(edge) for edge in graph.CAUSES if edge not in walked] == []
