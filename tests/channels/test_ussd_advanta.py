"""USSD through Advanta: the dialled code and all replies in one field of a query."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from app import create_app
from channels import ussd_advanta
from core.database import Database
from core.errors import Invalid
from flows.run import History
from flows.words import common
from settings import Settings
from tests.channels.gateways import ADVANTA, ADVANTA_CODE, AdvantaLine, advanta_seen
from tests.channels.test_ussd_africastalking import NASTY
from tests.flows.handset import Clock, Handset

Turn = Callable[[], int]
Ask = Callable[..., TestResponse]
CONFLICT = common().texts["conflict"]["en"]
OVER = common().texts["over"]["en"]


@pytest.fixture(params=["the dialled", "all"], ids=["# after the code", "# at the end"])
def handset(
    request: pytest.FixtureRequest, client: FlaskClient, clock: Clock, phone: str
) -> Handset:
    return Handset(AdvantaLine(client, closes=request.param), clock, phone)


@pytest.fixture
def ask(client: FlaskClient, phone: str) -> Ask:
    """One raw request of the gateway; fields by name, None leaves one out."""

    def send(path: str = ADVANTA, **fields: Any) -> TestResponse:
        usual = {
            "SESSIONID": phone[4:],
            "USSDCODE": "*415#",
            "MSISDN": phone[1:],
            "INPUT": ADVANTA_CODE,
        }
        query = {k: v for k, v in {**usual, **fields}.items() if v is not None}
        return client.get(path, query_string=MultiDict(query))

    return send


@pytest.fixture
def menu(register: Callable[..., None], ask: Ask) -> str:
    """Amina has dialled, and sees this."""
    register()
    return advanta_seen(ask()).text


# What a request says


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ("*415#", "*415#", ""),
        ("*415*1#", "*415#", "1"),
        ("*415*33#", "*415*33#", ""),
        ("*415*33*1#", "*415*33#", "1"),
        ("*415*33*1*2#", "*415*33#", "1*2"),
        ("*415*33#*1*2", "*415*33#", "1*2"),
        ("*415*33*1#*2", "*415*33#", "1*2"),
        ("*415*33*1*2", "*415*33#", "1*2"),
        ("415*33*1#", "*415*33#", "1"),
        ("*415*33*33*1#", "*415*33#", "33*1"),
        ("*415*33**#", "*415*33#", "*"),
        ("*415*33#**", "*415*33#", "*"),
        ("*415*33*1*#", "*415*33#", "1*"),
        ("*415*33*1**2#", "*415*33#", "1**2"),
        ("*415*33*a#b#", "*415*33#", "a#b"),
        ("*415*33*#*1#", "*415*33#", "*1"),
        ("*415*33*1##", "*415*33#", "1"),
        ("*415*33* 1 #", "*415*33#", " 1 "),
    ],
)
def test_what_was_typed_is_what_stands_after_our_code(given, code, text):
    assert ussd_advanta.history(given, code) == text


@pytest.mark.parametrize(
    "given", ["", "#", "*", "*415#", "*415*3#", "*415*331#", "*415*34*1#", "*416*33#", "33*1#",
              "1", "**415*33#", "*415**33#", "*415*33 *1#", "*415*33\n"],
)  # fmt: skip
def test_another_code_is_not_ours_to_answer(given):
    with pytest.raises(Invalid, match="INPUT"):
        ussd_advanta.history(given, "*415*33#")


@pytest.mark.parametrize("number", ["254733000001", "+254733000001", " 254733000001", "0733000001"])
def test_the_number_may_have_any_of_its_forms(number):
    query = MultiDict(
        {"SESSIONID": "99812", "USSDCODE": "*415#", "MSISDN": number, "INPUT": "*415*33*1#"}
    )
    inbound = ussd_advanta.parse(query, "*415*33#", 156)
    assert inbound.msisdn == inbound.address == "+254733000001"
    assert (inbound.session, inbound.service_code) == ("advanta:99812", "*415#")
    assert inbound.said == History("1", dialled_ahead=True)
    assert (inbound.channel, inbound.room_septets, inbound.private) == ("ussd", 156, True)
    assert ussd_advanta.parse(query, "*415*33#", 156, False).said == History("1", False)


# Classifying a hop


def test_a_dial_shows_the_first_screen(handset: Handset) -> None:
    assert "English" in handset.dial().text


def test_dialled_answers_are_walked_through_and_the_session_goes_on(member: Handset) -> None:
    there = member.dial("1*1").text
    further = member.reply("1").text
    member.dial()
    member.reply("000")
    assert member.walk("1", "1").text == there
    assert member.reply("1").text == further


def test_equal_input_gets_the_stored_screen_and_runs_nothing(member: Handset, turn: Turn) -> None:
    member.dial()
    first = member.reply("1")
    before = turn()
    assert [member.repeat().text for _ in range(3)] == [first.text] * 3
    assert turn() == before


def test_where_the_hash_stands_does_not_make_another_hop(menu: str, ask: Ask, turn: Turn) -> None:
    one = advanta_seen(ask(INPUT="*415*33*1#")).text
    before = turn()
    for same in ("*415*33#*1", "*415*33*1", "*415*33#*1#"):
        assert advanta_seen(ask(INPUT=same)).text == one
    assert turn() == before


def test_two_equal_answers_are_two_turns(member: Handset, turn: Turn) -> None:
    member.dial()
    categories = member.reply("1")
    before = turn()
    assert member.reply("1").text != categories.text
    assert turn() == before + 1


def test_shorter_input_is_late_and_gets_its_own_stored_screen(
    menu: str, ask: Ask, turn: Turn
) -> None:
    chosen = advanta_seen(ask(INPUT="*415*33*1#")).text
    ask(INPUT="*415*33*1*1#")
    before = turn()
    assert advanta_seen(ask()).text == menu
    assert advanta_seen(ask(INPUT="*415*33*1#")).text == chosen
    assert turn() == before


@pytest.mark.parametrize("given", ["*415*33*2#", "*415*33*2*1#", "*415*33*11#", "*415*33**1*1#"])
def test_input_that_does_not_continue_the_session_is_refused(
    given: str, menu: str, ask: Ask, turn: Turn
) -> None:
    ask(INPUT="*415*33*1#")
    before = turn()
    refused = advanta_seen(ask(INPUT=given))
    assert (refused.ends, refused.text) == (True, CONFLICT)
    assert turn() == before


@pytest.mark.parametrize("given", ["*415*33#", "*415*33*1#", "*415*33*1*1#"])
def test_another_phone_in_the_session_is_refused_and_sees_nothing_of_it(
    given: str, menu: str, ask: Ask, turn: Turn
) -> None:
    ask(INPUT="*415*33*1#")
    before = turn()
    refused = advanta_seen(ask(INPUT=given, MSISDN="254733999996"))
    assert (refused.ends, refused.text) == (True, CONFLICT)
    assert turn() == before


def test_another_service_code_in_the_session_is_refused(menu: str, ask: Ask, turn: Turn) -> None:
    before = turn()
    assert advanta_seen(ask(USSDCODE="*416#", INPUT="*415*33*1#")).text == CONFLICT
    assert turn() == before


def test_only_the_newest_session_of_a_phone_moves_anything(menu: str, ask: Ask, turn: Turn) -> None:
    shown = advanta_seen(ask(INPUT="*415*33*1#")).text
    ask(SESSIONID="1")
    before = turn()
    assert advanta_seen(ask(INPUT="*415*33*1*1#")).text == OVER
    assert advanta_seen(ask(INPUT="*415*33*1#")).text == shown
    assert turn() == before


def test_after_the_end_more_input_moves_nothing(menu: str, ask: Ask, turn: Turn) -> None:
    assert advanta_seen(ask(INPUT="*415*33*2#")).ends
    before = turn()
    assert advanta_seen(ask(INPUT="*415*33*2*1#")).text == OVER
    assert turn() == before


def test_the_same_hop_twice_at_one_instant_takes_one_turn(
    app: Flask, menu: str, phone: str, turn: Turn
) -> None:
    gate = Barrier(3)
    query = {
        "SESSIONID": phone[4:], "USSDCODE": "*415#", "MSISDN": phone[1:], "INPUT": "*415*33*1#"
    }  # fmt: skip

    def one(_number: int) -> str:
        client = app.test_client()
        gate.wait(60)
        return advanta_seen(client.get(ADVANTA, query_string=query)).text

    before = turn()
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(one, range(3)))) == 1
    assert turn() == before + 1


# Typed text


@pytest.mark.parametrize("typed", ["*", "**", "*1", "1*", "*5*", "#1", "#*#"])
def test_stars_and_hashes_that_were_typed_are_part_of_the_answer(
    typed: str, member: Handset
) -> None:
    dialled = member.dial()
    assert member.reply(typed).lines[1:] == dialled.lines
    assert member.reply("1").text != member.dial().text


def test_a_lone_hash_at_the_first_screen_is_the_dial_again(member: Handset, turn: Turn) -> None:
    """It cannot be told from the one that closes the code; nor can an empty answer."""
    dialled = member.dial()
    before = turn()
    assert member.reply("#").text == dialled.text
    assert turn() == before
    assert member.reply("1").text != dialled.text


@pytest.mark.parametrize("typed", NASTY.values(), ids=NASTY)
def test_whatever_is_typed_gets_a_screen(typed: str, member: Handset) -> None:
    member.dial()
    for answer in (typed, "1", typed, "1", typed):
        assert not member.reply(answer).ends


@pytest.mark.parametrize(
    "text", ["%ED%A0%80", "%zz", "%", "%f", "%C3%28", "%F0%9F", "%u0041", "+%00+", ";", "%26"]
)
def test_bytes_that_are_no_text_are_an_answer_like_any_nonsense(
    text: str, menu: str, client: FlaskClient, phone: str
) -> None:
    query = f"SESSIONID={phone[4:]}&USSDCODE=*415%23&MSISDN={phone[1:]}&INPUT=*415*33*{text}%23"
    answer = advanta_seen(client.get(f"{ADVANTA}?{query}"))
    assert not answer.ends
    assert answer.lines[1:] == menu.split("\n")


def test_ninety_nine_pages_further_is_answered(member: Handset) -> None:
    member.dial()
    member.reply("1")
    for _ in range(99):
        assert not member.reply("99").ends


def test_a_session_of_very_many_answers_ends_politely(member: Handset) -> None:
    """Past 4,000 characters of history the text is no longer read; a new dial is."""
    member.dial()
    while not member.seen.ends:
        member.reply("a" * 150)
    assert len(member.text) > 3900
    assert not member.dial().ends


# Bad input

FIELDS = ("SESSIONID", "USSDCODE", "MSISDN", "INPUT")


def unclear(answer: TestResponse) -> None:
    seen = advanta_seen(answer)
    assert seen.ends
    assert seen.lines == list(common().texts["unclear"].values())


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_answered_in_every_language(field: str, ask: Ask, turn: Turn) -> None:
    unclear(ask(**{field: None}))
    assert turn() == 0


@pytest.mark.parametrize("field", FIELDS)
def test_a_doubled_field_is_not_guessed_at(field: str, ask: Ask, turn: Turn) -> None:
    unclear(ask(**{field: ["1", "2"]}))
    unclear(ask(**{field: [ADVANTA_CODE, ADVANTA_CODE]}))
    assert turn() == 0


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["", "\0", "\n", "x" * 5000, "\ufffd\u202e"])
def test_an_odd_field_is_not_guessed_at(field: str, value: str, ask: Ask, turn: Turn) -> None:
    unclear(ask(**{field: value}))
    assert turn() == 0


def test_fields_are_told_apart_by_their_case(client: FlaskClient, phone: str) -> None:
    """As documented; a guess here could read one session's replies into another."""
    query = {"sessionid": "1", "ussdcode": "*415#", "msisdn": phone[1:], "input": ADVANTA_CODE}
    unclear(client.get(ADVANTA, query_string=query))


def test_an_unknown_field_is_ignored(ask: Ask) -> None:
    assert not advanta_seen(ask(NETWORK="saf", token="x")).ends


@pytest.mark.parametrize("query", ["", "?", "&&&===&", "%", "INPUT", "INPUT=&" * 1000])
def test_a_query_that_is_no_hop_is_answered_politely(query: str, client: FlaskClient) -> None:
    unclear(client.get(f"{ADVANTA}?{query}"))


def test_a_body_beside_the_query_is_not_read(client: FlaskClient, phone: str) -> None:
    query = {
        "SESSIONID": phone[4:], "USSDCODE": "*415#", "MSISDN": phone[1:], "INPUT": ADVANTA_CODE
    }  # fmt: skip
    answer = client.get(ADVANTA, query_string=query, data=b"x" * 200_000)
    assert not advanta_seen(answer).ends


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_another_method_is_refused(method: str, client: FlaskClient) -> None:
    assert getattr(client, method)(ADVANTA).status_code == 405


def test_a_head_request_takes_no_turn(client: FlaskClient, phone: str, turn: Turn) -> None:
    query = {
        "SESSIONID": phone[4:], "USSDCODE": "*415#", "MSISDN": phone[1:], "INPUT": ADVANTA_CODE
    }  # fmt: skip
    assert client.head(ADVANTA, query_string=query).status_code == 405
    assert turn() == 0


@pytest.mark.parametrize(
    "secret",
    ["wrong", "sandbox-advanta-secre", "sandbox-advanta-secrets", "%00", "%ff", "é", "%20",
     "sandbox-path-secret", "sandbox-hubtel-secret"],
)  # fmt: skip
def test_a_wrong_secret_is_404_with_an_empty_body(secret: str, ask: Ask, turn: Turn) -> None:
    answer = ask(f"/channels/ussd/advanta/{secret}")
    assert (answer.status_code, answer.data) == (404, b"")
    assert turn() == 0


def test_without_a_secret_the_gateway_is_not_there(server: Settings, market: Database) -> None:
    without = create_app(server.model_copy(update={"advanta_secret": None}), database=market)
    assert without.test_client().get(ADVANTA).status_code == 404


@pytest.mark.parametrize(
    "number",
    ["", "hello", "+", "0", "123", "2547", "25473300000100000000", "999123456789", "' OR 1=1 --",
     "254733\u0000000001", "😀"],
)  # fmt: skip
def test_what_is_no_phone_number_is_not_spoken_to(number: str, ask: Ask) -> None:
    unclear(ask(MSISDN=number))
