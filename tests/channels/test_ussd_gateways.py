"""Three gateways of three shapes, one conversation: the same screens, the same order."""

import re
from collections.abc import Callable, Mapping
from itertools import count
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.database import Database
from core.rules import Rules
from simulator import outbound
from simulator import rules as pretend
from simulator.ussd import Gateway, Screen, Session
from simulator.ussd_advanta import Advanta
from simulator.ussd_africastalking import AfricasTalking
from simulator.ussd_hubtel import Hubtel
from tests.channels.gateways import (
    ADVANTA,
    ADVANTA_CODE,
    AFRICASTALKING,
    HUBTEL,
    HUBTEL_CODE,
    NAMES,
    line,
)
from tests.flows import invariants
from tests.flows.handset import CODE, Clock, Handset
from tests.flows.street import Street

Phones = Mapping[str, Handset]

_numbers = count(1)


@pytest.fixture
def phones(client: FlaskClient, market: Database, clock: Clock, rules: Rules) -> Phones:
    """A member of the same name and place at each gateway."""
    found = {}
    for name in NAMES:
        msisdn = f"+2547240{next(_numbers):05}"
        with market.begin() as db:
            Street(db, clock, rules, msisdn).register("Amina")
        found[name] = Handset(line(name, client), clock, msisdn)
    return found


def on_each(phones: Phones, act: Callable[[Handset], object]) -> str:
    """Do this on every phone: what all of them show, an order's own number aside."""
    shown = {}
    for name, phone in phones.items():
        act(phone)
        shown[name] = re.sub(r"\b1\d{3}\b", "<order>", phone.seen.drawn())
    assert len(set(shown.values())) == 1, shown
    return shown.popitem()[1]


def typing(typed: str) -> Callable[[Handset], object]:
    return lambda phone: phone.reply(typed)


PURCHASE = (
    ("1", "What would you like?"),
    ("nonsense*#", "Not found."),
    ("99", "6 Eggs"),
    ("0", "1 Vegetables"),
    ("1", "Choose, or type a name."),
    ("99", "6 Ginger"),
    ("0", "1 Amaranth"),
    ("4", "Who do you buy from?"),
    ("1", "How many bunches?"),
    ("0", "Who do you buy from?"),
    ("1", "How many bunches?"),
    ("lots", "How many bunches?"),
    ("3", "At least 5"),
    ("5", "Items in your basket: 1."),
    ("1", "Which day shall it come?"),
    ("1", "To Toi Market"),
    ("1", "END Order <order>."),
)


def test_the_same_purchase_shows_the_same_screens_and_makes_the_same_order(
    phones: Phones, market: Database, clock: Clock, rules: Rules
) -> None:
    on_each(phones, Handset.dial)
    for typed, expected in PURCHASE:
        screen = on_each(phones, typing(typed))
        assert expected in screen
        assert on_each(phones, Handset.repeat) == screen
    with market.begin() as db:
        made = [orders(db, phone.msisdn) for phone in phones.values()]
        assert len(made[0]) == 1
        assert made == [made[0]] * len(NAMES)
        assert invariants.broken(db, clock()) == []


def orders(db: Any, msisdn: str) -> list[Any]:
    """Of this phone's owner: the order, its lines, what it is waiting for."""
    found: list[Any] | None = db.value(
        """
        SELECT json_agg(json_build_array(o.state, o.seller_id, o.total_cents, o.fee_cents,
            l.offer_id, l.quantity_milli, c.state, c.amount_cents) ORDER BY o.number, l.offer_id)
        FROM orders o
        JOIN members m ON m.id = o.buyer_id
        JOIN lines l ON l.order_id = o.id
        JOIN charges c ON c.checkout_id = o.checkout_id
        WHERE m.msisdn = %(msisdn)s
        """,
        {"msisdn": msisdn},
    )
    return found or []


@pytest.mark.parametrize("extension", ["1", "1*1", "1*1*4*1", "1*1*4*1*5*1", "1*77", "5*1", "*1"])
def test_the_same_dialled_answers_reach_the_same_screen_and_go_on_alike(
    extension: str, phones: Phones
) -> None:
    """*713*1#, *415*33*1#, and *384*7042*1#."""
    on_each(phones, lambda phone: phone.dial(extension))
    if not next(iter(phones.values())).seen.ends:
        on_each(phones, typing("1"))
        on_each(phones, Handset.repeat)


@pytest.mark.parametrize(
    "typed",
    ["*", "**", "***", "*1", "1*", "*5*", "1*1", "#", "##", "1#", "1##", "#1", "#*#", "1#*", "*#",
     "#*", "0#", "99#", "Kale#"],
)  # fmt: skip
def test_stars_and_hashes_are_read_alike_whether_repeated_or_not(
    typed: str, phones: Phones
) -> None:
    on_each(phones, Handset.dial)
    on_each(phones, typing("1"))
    on_each(phones, typing(typed))
    on_each(phones, typing("0"))


def test_a_long_list_breaks_at_the_same_places(phones: Phones) -> None:
    on_each(phones, Handset.dial)
    screen = on_each(phones, typing("1"))
    screen = on_each(phones, typing("1"))
    pages = 1
    while "99 " in screen:
        screen = on_each(phones, typing("99"))
        pages += 1
    assert pages > 2
    for _ in range(99):
        on_each(phones, typing("99"))


def test_what_was_begun_at_one_gateway_is_offered_at_another(
    client: FlaskClient, market: Database, clock: Clock, rules: Rules, phone: str
) -> None:
    """All three know her by her number; the older session moves nothing any more."""
    with market.begin() as db:
        Street(db, clock, rules, phone).register("Amina")
    handsets = [Handset(line(name, client), clock, phone) for name in NAMES[:3]]
    handsets[0].dial("1*1*4*1")
    assert "How many bunches?" in handsets[0].seen.text
    for handset in handsets[1:]:
        offered = handset.dial()
        assert "You had not finished: buying" in offered.text
        handset.choose("Continue")
        assert "How many bunches?" in handset.seen.text
    assert handsets[2].reply("5").lines[0] == "It is in your basket."
    assert handsets[0].reply("2").ends


PRETEND: Mapping[str, tuple[Gateway, str]] = {
    "africastalking": (AfricasTalking(CODE, AFRICASTALKING), "*384*7042*1*1#"),
    "hubtel": (Hubtel(HUBTEL_CODE, HUBTEL), "*713*1*1#"),
    "advanta": (Advanta(ADVANTA_CODE, ADVANTA), "*415*33*1*1#"),
}


@pytest.mark.parametrize("name", PRETEND)
@pytest.mark.parametrize("advanta_hash", ["end", "dialled"])
def test_the_pretend_gateways_are_understood_and_understand(
    name: str, advanta_hash: str, client: FlaskClient, member: Handset, clock: Clock
) -> None:
    """They were written without us, from the same documents."""
    gateway, code = PRETEND[name]
    rules = pretend.Rules(advanta_hash=advanta_hash)
    ahead = gateway.replies_dialled(code)
    assert ahead is not None
    now, chance = clock(), Random(member.msisdn)
    session = Session(
        gateway.new_id(chance), gateway, member.msisdn, "63902", code, now, now, list(ahead)
    )

    def hop(*replies: str) -> Screen:
        session.replies.extend(replies)
        session.hops += 1
        request = gateway.hop(session, rules)
        given = client.open(
            request.url, method=request.method, data=request.body, headers=dict(request.headers)
        )
        headers = {key.lower(): value for key, value in given.headers.items()}
        screen = gateway.read(session, outbound.Answer(given.status_code, headers, given.text))
        assert screen.wrong == ""
        return screen

    assert hop().text.startswith("Choose, or type a name. KSh for each:\n1 Amaranth")
    assert hop("4").text.startswith("Who do you buy from?")
    assert hop("1").text.startswith("Coriander KSh")
    for _ in range(4):
        assert hop("0").goes_on
    assert not hop("2").goes_on
