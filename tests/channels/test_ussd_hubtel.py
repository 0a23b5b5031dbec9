"""USSD through Hubtel: the newest reply under a growing number, and JSON whatever happens."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from channels import ussd_hubtel
from core.database import Database
from core.errors import Invalid
from flows.run import Answer, Begin
from flows.words import common
from settings import Settings
from tests.channels.gateways import HUBTEL, HubtelLine, hubtel_body, hubtel_seen
from tests.channels.test_ussd_africastalking import NASTY
from tests.flows.handset import Clock, Handset

Turn = Callable[[], int]
Post = Callable[..., TestResponse]
CONFLICT = common().texts["conflict"]["en"]
OVER = common().texts["over"]["en"]


@pytest.fixture
def handset(client: FlaskClient, clock: Clock, phone: str) -> Handset:
    return Handset(HubtelLine(client), clock, phone)


@pytest.fixture
def session(phone: str) -> str:
    return f"{int(phone[1:]):032x}"


@pytest.fixture
def post(client: FlaskClient, phone: str, session: str) -> Post:
    """One raw request of the gateway; fields by name, None leaves one out."""

    def send(path: str = HUBTEL, **fields: Any) -> TestResponse:
        usual = {"Mobile": phone[1:], "SessionId": session}
        return client.post(path, json=hubtel_body(**{**usual, **fields}))

    return send


@pytest.fixture
def reply(post: Post) -> Callable[..., str]:
    """Sends a reply; the screen it gets."""

    def send(sequence: int, message: str, **fields: Any) -> str:
        return hubtel_seen(post(Type="Response", Sequence=sequence, Message=message, **fields)).text

    return send


@pytest.fixture
def menu(register: Callable[..., None], post: Post) -> str:
    """Amina has dialled, and sees this."""
    register()
    return hubtel_seen(post()).text


# What a request says


def test_the_newest_reply_is_the_answer_and_its_number_the_key():
    body = hubtel_body(
        Type="Response", Mobile="233200000000", SessionId="3c79", Message="1", Sequence=2
    )
    inbound = ussd_hubtel.parse(ussd_hubtel.read(json.dumps(body).encode()), "713", 156)
    assert inbound.said == Answer("2", "1")
    assert inbound.msisdn == inbound.address == "+233200000000"
    assert (inbound.session, inbound.service_code) == ("hubtel:3c79", "713")
    assert (inbound.channel, inbound.room_septets, inbound.private) == ("ussd", 156, True)


@pytest.mark.parametrize(
    ("message", "code", "ahead"),
    [
        ("*713#", "713", []),
        ("*713*21#", "713", ["21"]),
        ("*713*9597*2#", "713", ["9597", "2"]),
        ("*713*9597*2#", "713*9597", ["2"]),
        ("*713*9597#", "713*9597", []),
        ("*713*9597*#", "713*9597", []),
        ("*713*95977#", "713*9597", []),
        ("*7130*1#", "713", []),
        ("*713**1#", "713", ["", "1"]),
        ("*713*1", "713", ["1"]),
        ("713*1#", "713", []),
        ("", "713", []),
        ("#", "713", []),
    ],
)
def test_answers_dialled_with_the_code_are_what_stands_after_it(message, code, ahead):
    assert list(ussd_hubtel.dialled(message, code)) == ahead


def test_dialled_answers_are_taken_only_where_the_setting_says_so():
    fields = ussd_hubtel.read(
        json.dumps(hubtel_body(Mobile="254733000001", SessionId="s", Message="*713*1#")).encode()
    )
    assert ussd_hubtel.parse(fields, "713", 156).said == Begin("1", ahead=["1"])
    assert ussd_hubtel.parse(fields, "713", 156, dialled_ahead=False).said == Begin("1")


@pytest.mark.parametrize("operator", ["mtn", "MTN", "", None, 5])
def test_neither_operator_nor_platform_nor_the_state_it_carries_decides_anything(operator, post):
    odd = {"Operator": operator, "Platform": "Webstore", "ClientState": {"state": "sell.menu"}}
    assert hubtel_seen(post(**odd, SomethingNew=[1])).text == hubtel_seen(post()).text


# What it is answered


def test_the_session_is_named_in_every_answer(post: Post, session: str) -> None:
    for fields in ({}, {"Type": "Nothing"}, {"Type": "Timeout"}, {"Mobile": "0"}):
        assert post(**fields).get_json()["SessionId"] == session


def test_where_options_are_shown_a_number_is_asked_for_and_else_text(
    post: Post,
) -> None:
    first = post().get_json()
    assert (first["Type"], first["DataType"], first["FieldType"]) == ("response", "input", "number")
    name = post(Type="Response", Sequence=2, Message="1").get_json()
    assert (name["Type"], name["DataType"], name["FieldType"]) == ("response", "input", "text")


def test_the_last_screen_is_a_release(menu: str, post: Post) -> None:
    last = post(Type="Response", Sequence=2, Message="2").get_json()
    assert (last["Type"], last["DataType"], last["FieldType"]) == ("release", "display", "text")
    assert last["Message"]


# Classifying a hop


def test_a_dial_shows_the_first_screen(handset: Handset) -> None:
    assert "English" in handset.dial().text


def test_dialled_answers_are_walked_through(member: Handset) -> None:
    there = member.dial("1*1").text
    member.dial()
    member.reply("000")
    assert member.walk("1", "1").text == there


def test_the_same_number_gets_the_stored_screen_and_runs_nothing(
    menu: str, reply: Callable[..., str], turn: Turn
) -> None:
    chosen = reply(2, "1")
    before = turn()
    assert [reply(2, "1") for _ in range(3)] == [chosen] * 3
    assert reply(2, "4") == chosen
    assert turn() == before


def test_the_same_reply_under_the_next_number_is_a_new_turn(
    menu: str, reply: Callable[..., str], turn: Turn
) -> None:
    categories = reply(2, "1")
    before = turn()
    assert reply(3, "1") not in {menu, categories}
    assert turn() == before + 1


def test_a_late_hop_gets_its_own_stored_screen(
    menu: str, reply: Callable[..., str], post: Post, turn: Turn
) -> None:
    categories = reply(2, "1")
    products = reply(3, "1")
    before = turn()
    assert hubtel_seen(post()).text == menu
    assert reply(2, "1") == categories
    assert turn() == before
    assert reply(4, "0") == categories != products


def test_the_start_sent_twice_is_one_dial(menu: str, post: Post, turn: Turn) -> None:
    before = turn()
    assert hubtel_seen(post()).text == menu
    assert turn() == before


def test_the_same_hop_twice_at_one_instant_takes_one_turn(
    app: Flask, menu: str, phone: str, session: str, turn: Turn
) -> None:
    gate = Barrier(3)
    body = hubtel_body(
        Type="Response", Mobile=phone[1:], SessionId=session, Message="1", Sequence=2
    )

    def one(_number: int) -> str:
        client = app.test_client()
        gate.wait(60)
        return hubtel_seen(client.post(HUBTEL, json=body)).text

    before = turn()
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(one, range(3)))) == 1
    assert turn() == before + 1


def test_the_last_screen_repeated_is_the_last_screen(
    menu: str, reply: Callable[..., str], turn: Turn
) -> None:
    last = reply(2, "2")
    before = turn()
    assert reply(2, "2") == last
    assert turn() == before


def test_a_reply_in_a_session_that_we_never_heard_of_moves_nothing(
    register: Callable[..., None], reply: Callable[..., str], post: Post, turn: Turn
) -> None:
    register()
    assert reply(2, "1") == OVER
    assert turn() == 0
    assert hubtel_seen(post()).lines[0] == "Sokoni. Welcome, Amina."


def test_another_phone_in_the_session_is_refused_and_sees_nothing_of_it(
    menu: str, post: Post, reply: Callable[..., str], turn: Turn
) -> None:
    mine = reply(2, "1")
    before = turn()
    other = "254733999998"
    for fields in (
        {"Mobile": other},
        {"Mobile": other, "Sequence": 9},
        {"Mobile": other, "Type": "Response", "Sequence": 2, "Message": "1"},
        {"Mobile": other, "Type": "Response", "Sequence": 3, "Message": "1"},
    ):
        refused = hubtel_seen(post(**fields))
        assert (refused.ends, refused.text) == (True, CONFLICT)
    assert turn() == before
    assert reply(3, "0") != mine


def test_another_service_code_in_the_session_is_refused(
    menu: str, reply: Callable[..., str], turn: Turn
) -> None:
    before = turn()
    assert reply(2, "1", ServiceCode="714") == CONFLICT
    assert turn() == before
    assert reply(3, "1") not in {menu, CONFLICT}


def test_only_the_newest_session_of_a_phone_moves_anything(
    menu: str, post: Post, reply: Callable[..., str], turn: Turn
) -> None:
    shown = reply(2, "1")
    post(SessionId="another")
    before = turn()
    assert reply(3, "1") == OVER
    assert reply(2, "1") == shown
    assert turn() == before


def test_after_the_end_a_further_reply_moves_nothing(
    menu: str, reply: Callable[..., str], turn: Turn
) -> None:
    reply(2, "2")
    before = turn()
    assert reply(3, "1") == OVER
    assert turn() == before


def test_a_session_may_have_the_name_that_another_gateway_gave_to_one(
    menu: str, session: str, client: FlaskClient, dial: Post, turn: Turn
) -> None:
    """Each gateway's sessions are its own."""
    before = turn()
    assert dial(sessionId=session).get_data(as_text=True).startswith("CON ")
    assert turn() == before + 1


# Typed text


@pytest.mark.parametrize("typed", ["*", "**", "*1", "1*", "*5*", "#", "#*#", "", " "])
def test_stars_and_hashes_that_were_typed_are_part_of_the_reply(
    typed: str, menu: str, reply: Callable[..., str]
) -> None:
    assert reply(2, typed).split("\n")[1:] == menu.split("\n")
    assert reply(3, "1") != menu


@pytest.mark.parametrize("typed", NASTY.values(), ids=NASTY)
def test_whatever_is_typed_gets_a_screen(typed: str, menu: str, post: Post) -> None:
    for sequence, message in enumerate((typed, "1", typed, "1", typed), 2):
        assert not hubtel_seen(post(Type="Response", Sequence=sequence, Message=message)).ends


def test_a_list_is_turned_page_by_page_and_back(member: Handset) -> None:
    member.dial()
    first = member.reply("1")
    pages = [first.text]
    while "99 " in member.seen.text:
        pages.append(member.reply("99").text)
    for expected in reversed(pages[:-1]):
        assert member.reply("0").text == expected


def test_ninety_nine_pages_further_is_answered(member: Handset) -> None:
    member.dial()
    member.reply("1")
    for _ in range(99):
        assert not member.reply("99").ends


# Bad input

MANDATORY = ("Type", "Mobile", "SessionId", "ServiceCode", "Message", "Sequence")


def unclear(answer: TestResponse) -> None:
    seen = hubtel_seen(answer)
    assert seen.ends
    assert seen.lines == list(common().texts["unclear"].values())


@pytest.mark.parametrize("field", MANDATORY)
def test_a_missing_field_is_answered_in_every_language(field: str, post: Post, turn: Turn) -> None:
    unclear(post(**{field: None}))
    assert turn() == 0


@pytest.mark.parametrize("field", MANDATORY)
def test_a_doubled_field_is_not_guessed_at(
    field: str, client: FlaskClient, phone: str, session: str, turn: Turn
) -> None:
    body = hubtel_body(Mobile=phone[1:], SessionId=session)
    doubled = f'{json.dumps(body)[:-1]}, "{field}": {json.dumps(body[field])}}}'
    unclear(client.post(HUBTEL, data=doubled, content_type="application/json"))
    assert turn() == 0


@pytest.mark.parametrize("field", MANDATORY)
@pytest.mark.parametrize("value", [[], {}, True, 1.5, -1, 0, "x" * 5000, "\0", "\ud800"])
def test_a_field_of_another_kind_is_not_guessed_at(
    field: str, value: object, post: Post, turn: Turn
) -> None:
    if field == "Message" and value in ("\0", "\ud800"):
        assert not hubtel_seen(post(Message=value)).ends  # a dial we cannot read is a dial
    else:
        unclear(post(**{field: value}))
        assert turn() == 0


@pytest.mark.parametrize("sequence", ["2", 10**9, 2.0, None, [2], "two"])
def test_the_hops_number_is_a_whole_number(sequence: object, menu: str, post: Post) -> None:
    unclear(post(Type="Response", Message="1", Sequence=sequence))


@pytest.mark.parametrize("kind", ["initiation", "Release", "HijackSession", "", " Response"])
def test_a_life_cycle_we_do_not_know_moves_nothing(kind: str, post: Post, turn: Turn) -> None:
    unclear(post(Type=kind))
    assert turn() == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"", ""),
        (b"null", "application/json"),
        (b"[]", "application/json"),
        (b'"Initiation"', "application/json"),
        (b"{", "application/json"),
        (b"{}", "application/json"),
        (b"\xff\xfe\x00", "application/json"),
        (b'{"Type": "Init\xff"}', "application/json"),
        (b"[" * 60_000, "application/json"),
        (b'{"a":' * 10_000, "application/json"),
        (b"9" * 60_000, "application/json"),
        (b'{"Sequence": ' + b"9" * 6000 + b"}", "application/json"),
        (b"Type=Initiation&SessionId=1", "application/x-www-form-urlencoded"),
        (b"x" * 200_000, "application/json"),
    ],
    ids=["empty", "untyped", "null", "list", "text", "cut", "bare", "bytes", "bad bytes", "deep",
         "deeper", "number", "long number", "form", "huge"],
)  # fmt: skip
def test_a_body_that_is_no_hop_is_answered_politely(
    body: bytes, kind: str, client: FlaskClient
) -> None:
    unclear(client.post(HUBTEL, data=body, content_type=kind))


def test_the_content_type_does_not_matter(client: FlaskClient, phone: str, session: str) -> None:
    body = json.dumps(hubtel_body(Mobile=phone[1:], SessionId=session))
    for kind in ("text/plain", "", "application/json; charset=utf-8"):
        assert not hubtel_seen(client.post(HUBTEL, data=body, content_type=kind)).ends


def test_a_body_with_a_byte_order_mark_is_read(
    client: FlaskClient, phone: str, session: str
) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(hubtel_body(Mobile=phone[1:], SessionId=session)).encode()
    assert not hubtel_seen(client.post(HUBTEL, data=body)).ends


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "head"])
def test_another_method_is_refused(method: str, client: FlaskClient) -> None:
    assert getattr(client, method)(HUBTEL).status_code == 405


@pytest.mark.parametrize(
    "secret", ["wrong", "sandbox-hubtel-secre", "sandbox-hubtel-secrets", "%00", "%ff", "é", "%20"]
)
def test_a_wrong_secret_is_404_with_an_empty_body(secret: str, post: Post, turn: Turn) -> None:
    answer = post(f"/channels/ussd/hubtel/{secret}")
    assert (answer.status_code, answer.data) == (404, b"")
    assert turn() == 0


def test_the_secret_of_one_gateway_opens_no_other(post: Post) -> None:
    assert post("/channels/ussd/hubtel/sandbox-path-secret").status_code == 404
    assert post("/channels/ussd/hubtel/sandbox-advanta-secret").status_code == 404


def test_without_a_secret_the_gateway_is_not_there(server: Settings, market: Database) -> None:
    without = create_app(server.model_copy(update={"hubtel_secret": None}), database=market)
    assert without.test_client().post(HUBTEL, json=hubtel_body()).status_code == 404


@pytest.mark.parametrize(
    "number",
    ["", "hello", "+", "0", "123", "0733000001", "2547", "25473300000100000000", "999123456789",
     "' OR 1=1 --", "254733\u0000000001", "😀"],
)  # fmt: skip
def test_what_is_no_phone_number_is_not_spoken_to(number: str, post: Post) -> None:
    unclear(post(Mobile=number))


def test_a_number_with_its_plus_is_the_same_number(menu: str, post: Post, phone: str) -> None:
    assert hubtel_seen(post(Mobile=phone)).text == menu


def test_a_ghanaian_number_is_read_in_full():
    fields = ussd_hubtel.read(
        json.dumps(hubtel_body(Mobile="233241234567", SessionId="s")).encode()
    )
    assert ussd_hubtel.parse(fields, "713", 156).msisdn == "+233241234567"


def test_a_list_is_no_request():
    with pytest.raises(Invalid, match="body"):
        ussd_hubtel.read(b"[]")


# The end of a session


def kept(market: Database, session: str) -> dict[str, Any] | None:
    with market.begin() as db:
        found: dict[str, Any] | None = db.value(
            "SELECT to_jsonb(e) FROM session_ends e WHERE session = %(session)s",
            {"session": f"hubtel:{session}"},
        )
    return found


def screen_open(market: Database, phone: str) -> bool:
    with market.begin() as db:
        found: bool = db.value(
            "SELECT open FROM conversations WHERE channel = 'ussd' AND address = %(phone)s",
            {"phone": phone},
        )
    return found


def test_a_timeout_is_kept_its_screen_is_off_the_phone_and_the_answer_is_empty(
    menu: str, post: Post, market: Database, phone: str, session: str, turn: Turn
) -> None:
    before = turn()
    assert screen_open(market, phone)
    answer = hubtel_seen(post(Type="Timeout", Sequence=2, Message=""))
    assert (answer.ends, answer.text) == (True, "")
    end = kept(market, session)
    assert end is not None
    assert (end["status"], end["network"]) == ("Incomplete", "vodafone")
    assert not screen_open(market, phone)
    assert turn() == before


def test_a_timeout_twice_is_kept_once(
    menu: str, post: Post, market: Database, session: str
) -> None:
    post(Type="Timeout", Operator="mtn")
    assert hubtel_seen(post(Type="Timeout", Operator="tigo")).ends
    end = kept(market, session)
    assert end is not None
    assert end["network"] == "mtn"


def test_after_a_timeout_a_new_dial_goes_on(
    menu: str, reply: Callable[..., str], post: Post
) -> None:
    reply(2, "1")
    post(Type="Timeout")
    assert not hubtel_seen(post(SessionId="the-next-one")).ends


def test_a_timeout_of_another_phone_does_not_close_the_screen(
    menu: str, post: Post, market: Database, phone: str
) -> None:
    assert hubtel_seen(post(Type="Timeout", Mobile="254733999997")).ends
    assert screen_open(market, phone)


@pytest.mark.parametrize(
    "fields",
    [
        {"Message": None, "Sequence": None, "ServiceCode": None},
        {"SessionId": "nobodys"},
        {"Operator": None},
        {"Operator": 7},
        {"Operator": "x" * 9000},
        {"Operator": "\0\ud800"},
        {"Mobile": None},
        {"Mobile": "0"},
        {"SessionId": ""},
        {"SessionId": None},
    ],
    ids=["bare", "unknown", "no operator", "odd operator", "long operator", "unprintable",
         "no number", "bad number", "no session", "missing session"],
)  # fmt: skip
def test_an_odd_timeout_is_released(fields: dict[str, Any], menu: str, post: Post) -> None:
    assert hubtel_seen(post(Type="Timeout", **fields)).ends


def test_a_timeout_while_the_database_is_away_is_released(
    server: Settings, phone: str, session: str
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing", size=1)
    client = create_app(server, database=away).test_client()
    body = hubtel_body(Type="Timeout", Mobile=phone[1:], SessionId=session)
    assert hubtel_seen(client.post(HUBTEL, json=body)).ends
