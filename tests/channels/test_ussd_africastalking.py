"""USSD through Africa's Talking: what is a new answer, what a repeat, what neither."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from app import create_app
from channels import ussd_africastalking
from core.database import Database
from core.rules import Rules
from flows.words import common
from settings import Settings
from tests.channels.conftest import PATH
from tests.flows import invariants
from tests.flows.handset import CODE, Clock, Handset, Seen, WebLine, seen
from tests.flows.street import PIN, SHOP, Street

Dial = Callable[..., TestResponse]
Turn = Callable[[], int]
CONFLICT = common().texts["conflict"]["en"]
OVER = common().texts["over"]["en"]


# Classifying an incoming hop


def test_no_session_yet_and_no_text_is_a_dial(handset: Handset) -> None:
    assert handset.dial().label == "register.language"


def test_no_session_yet_but_text_walks_through_what_was_dialled(member: Handset) -> None:
    assert member.dial("1*1").label == "buy.product"


def test_equal_text_gets_the_stored_screen_and_runs_nothing(member: Handset, turn: Turn) -> None:
    member.dial()
    first = member.reply("1")
    before = turn()
    for _ in range(3):
        assert member.repeat().text == first.text
    assert turn() == before


def test_longer_text_is_one_new_turn(member: Handset, turn: Turn) -> None:
    member.dial()
    before = turn()
    assert member.reply("1").label == "buy.category"
    assert turn() == before + 1


def test_two_equal_answers_are_two_turns(member: Handset) -> None:
    """ "1" and then "1" again is no repeat: the whole text differs."""
    member.dial()
    member.reply("1")
    assert member.reply("1").label == "buy.product"


def test_shorter_text_is_late_and_gets_its_own_stored_screen(member: Handset, turn: Turn) -> None:
    dialled = member.dial()
    chosen = member.reply("1")
    member.reply("1")
    before = turn()
    for text, screen in (("", dialled), ("1", chosen)):
        late = member.line.answer(member.msisdn, member.session, CODE, text)
        assert (late.text, late.label) == (screen.text, "repeat")
    assert turn() == before
    assert member.reply("1").label == "buy.offer"


def test_the_start_sent_twice_is_one_dial(member: Handset, turn: Turn) -> None:
    first = member.dial()
    before = turn()
    assert member.repeat().text == first.text
    assert turn() == before


@pytest.mark.parametrize("text", ["2", "2*1", "11", "1 *1", "1", "*1*1"])
def test_text_that_does_not_continue_the_session_is_refused(
    text: str, member: Handset, turn: Turn
) -> None:
    member.dial()
    member.walk("1", "2", "99") if text == "1" else member.reply("1")
    before = turn()
    answer = member.line.answer(member.msisdn, member.session, CODE, text)
    if text == "1":  # this one was heard before, and is late
        assert answer.label == "repeat"
    else:
        assert (answer.ends, answer.text) == (True, CONFLICT)
    assert turn() == before


def test_after_a_conflict_the_session_goes_on_where_it_was(member: Handset) -> None:
    member.dial()
    member.reply("1")
    member.line.answer(member.msisdn, member.session, CODE, "3*3")
    assert member.reply("1").label == "buy.product"


@pytest.mark.parametrize("text", ["1", "1*1"])
def test_another_service_code_in_the_session_is_refused(
    text: str, member: Handset, turn: Turn
) -> None:
    member.dial()
    member.reply("1")
    before = turn()
    answer = member.line.answer(member.msisdn, member.session, "*384*9999#", text)
    assert (answer.ends, answer.text) == (True, CONFLICT)
    assert turn() == before


@pytest.mark.parametrize("text", ["", "1", "1*1"])
def test_another_phone_in_the_session_is_refused_and_sees_nothing_of_it(
    text: str, member: Handset, turn: Turn
) -> None:
    member.dial()
    mine = member.reply("1")
    before = turn()
    answer = member.line.answer("+254733999999", member.session, CODE, text)
    assert (answer.ends, answer.text) == (True, CONFLICT)
    assert answer.text != mine.text
    assert turn() == before
    assert member.reply("1").label == "buy.product"


# What the text adds, whatever it is


@pytest.mark.parametrize("typed", ["*", "**", "*1", "1*", "*5*", "#", "#1", "#*#"])
def test_stars_and_hashes_that_were_typed_are_part_of_the_answer(
    typed: str, member: Handset
) -> None:
    dialled = member.dial()
    assert member.reply(typed).lines[1:] == dialled.lines
    assert member.reply("1").label == "buy.category"


def test_a_name_of_stars_is_no_name(handset: Handset) -> None:
    handset.dial()
    handset.reply("1")
    assert handset.reply("Amina*Njeri").label == "register.name"
    assert handset.reply("Amina").label == "register.place_words"


def test_an_empty_answer_gets_a_hint_and_the_next_one_is_read(member: Handset) -> None:
    member.dial()
    member.reply("1")
    assert member.reply("").text.startswith("Choose a number shown.")
    assert member.text.endswith("*")
    assert member.reply("1").label == "buy.product"


def test_an_empty_first_answer_is_the_dial_again(member: Handset) -> None:
    dialled = member.dial()
    member.text = ""
    assert member.repeat().text == dialled.text
    member.text = "*1"  # as the gateway joins an empty answer and "1"
    assert member.repeat().lines[1:] == dialled.lines
    assert member.reply("1").label == "buy.category"


# Several sessions, several hops at once


def test_only_the_newest_session_of_a_phone_moves_anything(member: Handset, turn: Turn) -> None:
    member.dial()
    member.reply("1")
    old = member.session
    member.dial()
    before = turn()
    late = member.line.answer(member.msisdn, old, CODE, "1*1")
    assert (late.ends, late.text) == (True, OVER)
    assert turn() == before
    assert not member.reply("1").ends


def test_a_late_repeat_in_an_old_session_gets_what_it_got_then(member: Handset, turn: Turn) -> None:
    member.dial()
    shown = member.reply("1")
    old = member.session
    member.dial()
    before = turn()
    assert member.line.answer(member.msisdn, old, CODE, "1").text == shown.text
    assert turn() == before


def test_after_the_end_more_text_moves_nothing(member: Handset, turn: Turn) -> None:
    member.dial()
    assert member.reply("2").ends
    before = turn()
    member.text += "*1"
    assert member.repeat().text == OVER
    assert turn() == before
    assert member.dial().label == "home.menu"


def together(app: Flask, handset: Handset, *texts: str) -> list[Seen]:
    """These hops of one session arrive at the same instant."""
    gate = Barrier(len(texts))

    def one(text: str) -> Seen:
        line = WebLine(app.test_client(), PATH)
        gate.wait(60)
        return line.answer(handset.msisdn, handset.session, CODE, text)

    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(one, texts))


def test_the_same_hop_twice_at_one_instant_takes_one_turn(
    app: Flask, member: Handset, turn: Turn
) -> None:
    member.dial()
    for _ in range(5):
        before = turn()
        member.text = f"{member.text}*1".strip("*") if before % 2 else f"{member.text}*0".strip("*")
        one, two = together(app, member, member.text, member.text)
        assert one.text == two.text
        assert turn() == before + 1


def test_the_same_dial_twice_at_one_instant_is_one_dial(
    app: Flask, handset: Handset, turn: Turn
) -> None:
    """The first of all: even the conversation is not there yet."""
    handset.session = f"ATUid_{handset.msisdn[1:]}"
    screens = {seen.text for seen in together(app, handset, "", "", "")}
    assert len(screens) == 1
    assert turn() == 1


def test_the_same_confirmation_at_one_instant_orders_once(
    app: Flask, member: Handset, market: Database, clock: Clock, rules: Rules
) -> None:
    with market.begin() as db:
        street = Street(db, clock, rules, member.msisdn)
        street.put_in_basket(1, "Honey", "Mutua Grains")
    member.dial()
    member.walk("1", "1", "1")
    member.text += "*1"
    screens = {seen.text for seen in together(app, member, *[member.text] * 3)}
    assert len(screens) == 1
    assert screens.pop().startswith("Order ")
    with market.begin() as db:
        orders = db.value(
            "SELECT count(*) FROM orders WHERE buyer_id = %(id)s",
            {"id": Street(db, clock, rules, member.msisdn).owner},
        )
        assert orders == 1
        assert invariants.broken(db, clock()) == []


def test_two_different_answers_at_one_instant_take_one_turn(
    app: Flask, member: Handset, turn: Turn
) -> None:
    member.dial()
    before = turn()
    labels = sorted(seen.label for seen in together(app, member, "1", "6"))
    assert labels in (["buy.category", "conflict"], ["account.menu", "conflict"])
    assert turn() == before + 1


# Answers dialled with the code


def test_dialled_answers_stop_before_a_secret(handset: Handset, market: Database) -> None:
    screen = handset.dial("1*Amina*Toi*1*1*2580")
    assert screen.label == "register.pin"
    with market.begin() as db:
        assert db.value(
            "SELECT count(*) FROM members WHERE msisdn = %(phone)s", {"phone": handset.msisdn}
        ) == 0  # fmt: skip
    assert handset.reply("2580").label == "register.welcome"


def test_dialled_answers_stop_before_an_effect_and_the_session_goes_on(
    member: Handset, market: Database
) -> None:
    screen = member.dial("1*1*2*1*4*1*1")
    assert screen.label == "buy.quantity"
    with market.begin() as db:
        assert db.value(
            """
            SELECT count(*) FROM lines l JOIN checkouts k ON k.id = l.checkout_id
            JOIN members m ON m.id = k.buyer_id WHERE m.msisdn = %(phone)s
            """,
            {"phone": member.msisdn},
        ) == 0  # fmt: skip
    assert member.repeat().text == screen.text
    assert member.reply("4").label == "buy.cart"


def test_dialled_nonsense_stands_where_it_went_wrong(member: Handset) -> None:
    assert member.dial("1*77").label == "buy.category"
    assert member.reply("1").label == "buy.product"


def test_a_lost_session_is_found_again_by_what_was_typed(member: Handset) -> None:
    """The gateway's history is known, ours is not (a restored backup): the same rule."""
    member.session = "ATUid_lost"
    member.text = "1*1*2"
    assert member.repeat().label == "buy.offer"
    assert member.reply("1").label == "buy.quantity"


def test_dialled_answers_beyond_the_end_are_not_read(member: Handset) -> None:
    assert member.dial("7*1*1").ends


def test_a_late_hop_of_what_was_passed_over_gets_its_own_screen(
    member: Handset, turn: Turn
) -> None:
    member.dial("1*1")
    before = turn()
    late = member.line.answer(member.msisdn, member.session, CODE, "1")
    assert late.text.startswith("What would you like?")
    assert turn() == before


def test_a_thousand_dialled_answers_cost_no_more_than_twenty(member: Handset) -> None:
    assert not member.dial("*".join(["1", "0"] * 500)).ends
    assert not member.reply("1").ends


def test_where_the_setting_is_off_the_first_screen_comes_first(
    server: Settings, market: Database, member: Handset
) -> None:
    careful = create_app(server.model_copy(update={"ussd_dialled_ahead": False}), database=market)
    member.line = WebLine(careful.test_client(), PATH)
    assert member.dial("1*1").label == "home.menu"
    assert member.repeat().lines[0] == "Sokoni. Welcome, Amina."
    assert member.reply("1").label == "buy.category"


# Bad input

MISSING = ("phoneNumber", "serviceCode", "text", "sessionId")


@pytest.mark.parametrize("field", MISSING)
def test_a_missing_field_is_answered_in_every_language(field: str, dial: Dial, turn: Turn) -> None:
    unclear(dial(**{field: None}))
    assert turn() == 0


@pytest.mark.parametrize("field", MISSING)
def test_a_doubled_field_is_not_guessed_at(field: str, dial: Dial, turn: Turn) -> None:
    unclear(dial(**{field: ["1", "2"]}))
    unclear(dial(**{field: ["+254733000001", "+254733000001"]}))
    assert turn() == 0


def unclear(answer: TestResponse) -> None:
    shown = seen(answer)
    assert shown.ends
    assert shown.lines == list(common().texts["unclear"].values())


def test_an_unknown_field_is_ignored(dial: Dial) -> None:
    assert seen(dial(somethingNew="1", lastAppResponse="x")).label == "register.language"


def test_the_order_of_the_fields_and_a_missing_network_do_not_matter(
    client: FlaskClient, phone: str
) -> None:
    body = f"text=&sessionId=s{phone[1:]}&phoneNumber=%2B{phone[1:]}&serviceCode=*384*7042%23"
    answer = client.post(
        PATH, data=body, content_type="application/x-www-form-urlencoded; charset=UTF-8"
    )
    assert seen(answer).label == "register.language"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"", ""),
        (b'{"text": ""}', "application/json"),
        (b"text=&sessionId=1", "text/plain"),
        (b"\xff\xfe\x00", "application/x-www-form-urlencoded"),
        (b"&&&===&", "application/x-www-form-urlencoded"),
        (b"x" * 1000, "multipart/form-data; boundary=y"),
        (b"--y\r\nContent-Disposition: form-data; name", "multipart/form-data; boundary=y"),
        (b"text=&" * 2000, "application/x-www-form-urlencoded"),
        (b"x" * 200_000, "application/x-www-form-urlencoded"),
    ],
    ids=["empty", "untyped", "json", "plain", "bytes", "separators", "multipart", "cut", "many",
         "huge"],
)  # fmt: skip
def test_a_body_that_is_no_hop_is_answered_politely(
    body: bytes, kind: str, client: FlaskClient
) -> None:
    unclear(client.post(PATH, data=body, content_type=kind))


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_another_method_is_refused(method: str, client: FlaskClient) -> None:
    assert getattr(client, method)(PATH).status_code == 405


@pytest.mark.parametrize(
    "secret",
    ["wrong", "sandbox-path-secre", "sandbox-path-secrets", "%00", "%ff", "é", "..", "%20"],
)
@pytest.mark.parametrize("rest", ["", "/events"])
def test_a_wrong_secret_is_404_with_an_empty_body(
    secret: str, rest: str, dial: Dial, turn: Turn
) -> None:
    answer = dial(f"/channels/ussd/africastalking/{secret}{rest}")
    if secret == "..":  # the web server itself takes this for the folder above
        assert answer.status_code == 404
    else:
        assert (answer.status_code, answer.data) == (404, b"")
    assert turn() == 0


@pytest.mark.parametrize(
    "number",
    ["", "hello", "+", "0", "123", "+2547", "+25473300000100000000", "254-sokoni", "+999123456789",
     "' OR 1=1 --", "\0", "+254733\u0000000001", "😀"],
)  # fmt: skip
def test_what_is_no_phone_number_is_not_spoken_to(number: str, dial: Dial) -> None:
    unclear(dial(phoneNumber=number))


def test_a_number_whose_plus_was_lost_on_the_way_is_still_that_number(
    member: Handset, dial: Dial, phone: str
) -> None:
    """A literal + in a form means a blank."""
    assert "Amina" in seen(dial(phoneNumber=f" {phone[1:]}")).text
    assert "Amina" in seen(dial(phoneNumber=phone[1:], sessionId="another")).text


def test_a_foreign_number_may_join(client: FlaskClient, clock: Clock) -> None:
    handset = Handset(WebLine(client, PATH), clock, "+256772123456")
    handset.dial()
    assert handset.walk("2", "Okello", "Busia", "1", "1", "2580").label == "register.welcome"


NASTY = {
    "nul": "\0",
    "nul within": "1\0",
    "emoji": "😀👩‍👩‍👧",
    "right to left": "\u202emiddle\u202c",
    "arabic": "محمد علي",
    "arabic digit": "١",
    "combining": "Z̷̢̧a̶l̵g̸o̴",
    "zero width": "\u200b\u200d\ufeff",
    "replacement": "\N{REPLACEMENT CHARACTER}",
    "line breaks": "\r\n\r\n",
    "tab": "\t",
    "escape": "\x1b[2J",
    "sql": "'; DROP TABLE members; --",
    "sql number": "1 OR 1=1",
    "like": "%%%___",
    "html": "<script>alert(1)</script>",
    "template": "{name}{0.__class__}%(x)s",
    "path": "../../etc/passwd",
    "minus": "-1",
    "gigantic": "9" * 150,
    "decimal": "0.0000000000000001",
    "exponent": "1e309",
    "infinite": "inf",
    "not a number": "nan",
    "fraction of nothing": "1/0",
    "blanks": " " * 100,
    "long": "a" * 161,
}


# A screen of every kind, and what is typed after the dial to see it.
SCREENS = {
    "home.menu": "",
    "buy.category": "1",
    "buy.product": "1*1",
    "buy.offer": "1*1*2",
    "buy.quantity": "1*1*2*1",
    "account.name": "6*2",
    "account.place_words": "6*3",
    "account.place": "6*3*Kisii",
    "account.old_pin": "6*4",
}


@pytest.mark.parametrize("typed", NASTY.values(), ids=NASTY)
def test_whatever_a_member_types_wherever_gets_a_screen(typed: str, member: Handset) -> None:
    for label, way in SCREENS.items():
        member.dial()
        member.reply("000")
        for answer in filter(None, way.split("*")):
            member.reply(answer)
        assert member.seen.label == label
        assert not member.reply(typed).ends


ITS_ORDER = "(the order)"  # by its number: others were ordered of the shop too

SELLERS_SCREENS = {
    "sell.pin": (),
    "sell.menu": (PIN,),
    "sell.order": (PIN, "1"),
    "sell.new": (PIN, "1", ITS_ORDER),
    "sell.goods": (PIN, "1", ITS_ORDER, "3"),
    "sell.sure": (PIN, "1", ITS_ORDER, "2"),
    "sell.offer": (PIN, "2"),
    "sell.offer_menu": (PIN, "2", "1"),
    "sell.price": (PIN, "2", "1", "1"),
    "sell.more": (PIN, "2", "1", "2"),
    "sell.fewer": (PIN, "2", "1", "3"),
}


@pytest.fixture(scope="module")
def ordered(market: Database, clock: Clock, rules: Rules) -> int:
    """The number of an order that Wanjiku Fresh has not accepted."""
    with market.begin() as db:
        Street(db, clock, rules).neighbour_buys(5, "Coriander", "Wanjiku Fresh")
        return int(db.value("SELECT max(number) FROM orders WHERE state = 'paid'"))


@pytest.fixture(scope="module")
def shop(server: Settings, market: Database, clock: Clock) -> Handset:
    """The phone of Wanjiku Fresh; she may dial all day."""
    patient = server.model_copy(update={"hops_a_minute_max": 0})
    return Handset(WebLine(create_app(patient, database=market).test_client(), PATH), clock, SHOP)


@pytest.mark.parametrize("label", SELLERS_SCREENS)
def test_whatever_a_seller_types_wherever_gets_a_screen(
    label: str, shop: Handset, ordered: int
) -> None:
    shop.dial()
    for typed in NASTY.values():
        if shop.seen.label != label or len(shop.text) > 2000:
            shop.dial()
            shop.choose("Sell")
            for step in SELLERS_SCREENS[label]:
                if step == ITS_ORDER:
                    shop.choose(str(ordered))
                else:
                    shop.reply(step)
        assert shop.seen.label == label
        assert not shop.reply(typed).ends


@pytest.mark.parametrize("typed", NASTY.values(), ids=NASTY)
def test_whatever_a_stranger_types_on_the_way_in_gets_a_screen(
    typed: str, handset: Handset, turn: Turn
) -> None:
    """What means something (a name in Arabic, "nan" for Nanyuki) goes on, or is asked again."""
    handset.dial()
    for answer in ("1", "Amina", "Toi", "1", "1", "2580"):
        before = handset.seen.label
        assert not handset.reply(typed).ends
        if handset.seen.label == before:
            handset.reply(answer)
        else:
            assert before in {"register.name", "register.place_words"}
    assert handset.seen.label == "register.welcome"


@pytest.mark.parametrize(
    "text",
    ["%ED%A0%80", "%ED%A0%80%ED%B0%80", "%zz", "%", "%f", "%C3%28", "%F0%9F", "%u0041", "+%00+"],
)
def test_bytes_that_are_no_text_are_an_answer_like_any_nonsense(
    text: str, member: Handset, client: FlaskClient, phone: str
) -> None:
    dialled = member.dial()
    body = (
        f"phoneNumber=%2B{phone[1:]}&serviceCode=%2A384%2A7042%23&sessionId={member.session}"
        f"&text={text}"
    )
    answer = seen(client.post(PATH, data=body, content_type="application/x-www-form-urlencoded"))
    assert not answer.ends
    assert answer.lines[-len(dialled.lines) :] == dialled.lines


def test_ten_kilobytes_of_text_are_refused_and_move_nothing(member: Handset, turn: Turn) -> None:
    member.dial()
    before = turn()
    assert member.reply("9" * 10_000).ends
    assert turn() == before


def test_a_session_of_very_many_answers_ends_politely(member: Handset) -> None:
    """Past 4,000 characters of history the text is no longer read; a new dial is."""
    member.dial()
    while not member.seen.ends:
        member.reply("a" * 150)
    assert len(member.text) > 4000
    assert not member.dial().ends


@pytest.mark.parametrize(
    "name",
    ["Zoë Müller", "Ng'ang'a", "Mũthoni wa Kĩbaara", "محمد علي", "Иван", "አበበ", "王小明", "É" * 40,
     "W" * 40, "Ç ç Ç", "Øystein Åse"],
)  # fmt: skip
@pytest.mark.parametrize("language", ["en", "sw"])
def test_whatever_her_name_is_every_screen_fits_and_every_phone_can_show_it(
    name: str, language: str, handset: Handset, register: Callable[..., None]
) -> None:
    """The handset refuses other letters and longer screens: see `seen`."""
    register(name, language)
    handset.dial()
    handset.walk("6")
    handset.dial()
    handset.walk("1", "99")
    assert handset.dial().label == "home.offer"


# The end of a session

NOTICE = {
    "date": "2026-11-21 09:00:00",
    "networkCode": "63902",
    "serviceCode": CODE,
    "cost": "KES 0.10",
    "durationInMillis": "192",
    "hopsCount": "3",
    "hopsMetadata": "home.menu|buy.category",
    "input": "3*4*7913",
    "lastAppResponse": "CON Choose a new PIN of 4 digits.\n0 Back",
    "errorMessage": "",
}


@pytest.fixture
def notify(client: FlaskClient, member: Handset) -> Callable[..., TestResponse]:
    def send(**fields: Any) -> TestResponse:
        form = {**NOTICE, "phoneNumber": member.msisdn, "sessionId": member.session, **fields}
        return client.post(f"{PATH}/events", data={k: v for k, v in form.items() if v is not None})

    return send


def kept(market: Database, session: str) -> dict[str, Any] | None:
    with market.begin() as db:
        found: dict[str, Any] | None = db.value(
            "SELECT to_jsonb(e) FROM session_ends e WHERE session = %(session)s",
            {"session": session},
        )
    return found


def open_screens(market: Database, phone: str) -> bool:
    with market.begin() as db:
        found: bool = db.value(
            "SELECT open FROM conversations WHERE address = %(phone)s", {"phone": phone}
        )
    return found


@pytest.mark.parametrize("status", ["Success", "Incomplete", "Failed"])
def test_the_end_of_a_session_is_kept_and_its_screen_is_off_the_phone(
    status: str, member: Handset, market: Database, notify: Callable[..., TestResponse]
) -> None:
    member.dial()
    assert open_screens(market, member.msisdn)
    assert notify(status=status).status_code == 200
    end = kept(market, member.session)
    assert end is not None
    assert {name: end[name] for name in ("status", "hops", "milliseconds", "cost", "network")} == {
        "status": status, "hops": 3, "milliseconds": 192, "cost": "KES 0.10", "network": "63902"
    }  # fmt: skip
    assert not open_screens(market, member.msisdn)


def test_a_notice_twice_is_kept_once(
    member: Handset, market: Database, notify: Callable[..., TestResponse]
) -> None:
    member.dial()
    notify(status="Incomplete")
    assert notify(status="Success").status_code == 200
    end = kept(market, member.session)
    assert end is not None
    assert end["status"] == "Incomplete"


def test_a_notice_of_an_unknown_session_is_kept_and_touches_nobody(
    member: Handset, market: Database, notify: Callable[..., TestResponse]
) -> None:
    member.dial()
    assert notify(sessionId="ATUid_nobody", status="Failed", errorMessage="x").status_code == 200
    assert kept(market, "ATUid_nobody") is not None
    assert open_screens(market, member.msisdn)


def test_a_late_notice_of_an_old_session_does_not_close_the_new_one(
    member: Handset, market: Database, notify: Callable[..., TestResponse]
) -> None:
    member.dial()
    old = member.session
    member.dial()
    notify(sessionId=old, status="Incomplete")
    assert open_screens(market, member.msisdn)


@pytest.mark.parametrize(
    "fields",
    [
        dict.fromkeys(NOTICE),
        {"sessionId": None},
        {"status": None},
        {"sessionId": ""},
        {"sessionId": ["a", "b"], "status": "Success"},
        {"status": "Exploded"},
        {"status": "Success", "hopsCount": "three", "durationInMillis": "-1", "cost": "\0free\0"},
        {"status": "Success", "hopsCount": "9" * 30, "errorMessage": "x" * 9000},
        {"status": "Success", "cost": "0", "networkCode": "😀"},
    ],
    ids=["bare", "no session", "no status", "empty session", "two sessions", "unknown status",
         "odd numbers", "too much", "odd network"],
)  # fmt: skip
def test_an_odd_notice_is_answered_200(
    fields: dict[str, Any], member: Handset, notify: Callable[..., TestResponse]
) -> None:
    member.dial()
    assert notify(**fields).status_code == 200


def test_neither_what_was_typed_nor_the_last_screen_is_kept_of_a_notice(
    member: Handset, market: Database, notify: Callable[..., TestResponse]
) -> None:
    member.dial()
    secret = {"input": "3*4*zebra7913", "lastAppResponse": "CON giraffe7913"}
    notify(status="Success", **secret)
    with market.begin() as db:
        tables = db.value(
            "SELECT array_agg(table_name::text) FROM information_schema.tables"
            " WHERE table_schema = 'public'"
        )
        for table in tables:
            whole = db.value(f"SELECT string_agg(t::text, ' ') FROM {table} t") or ""
            assert "zebra7913" not in whole
            assert "giraffe7913" not in whole


@pytest.mark.parametrize(
    ("status", "told"), [("Incomplete", True), ("Success", False), ("Failed", False)]
)
def test_whoever_was_cut_off_while_buying_is_to_be_told_in_half_a_minute(
    status: str,
    told: bool,
    member: Handset,
    market: Database,
    notify: Callable[..., TestResponse],
) -> None:
    member.dial()
    member.choose("Buy")
    member.reply("tomatoes")
    member.walk("1", "1")
    notify(status=status)
    notify(status=status)
    with market.begin() as db:
        due = db.value(
            """
            SELECT array_agg(due_at) FROM outbox
            WHERE kind = 'nudge_cut_off' AND arguments = jsonb_build_object('session', %(id)s::text)
            """,
            {"id": member.session},
        )
        assert due == ([market.clock() + timedelta(seconds=30)] if told else None)


def test_a_notice_while_the_database_is_away_is_answered_200(
    server: Settings, member: Handset
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing", size=1)
    client = create_app(server, database=away).test_client()
    form = {**NOTICE, "sessionId": "ATUid_away", "status": "Success"}
    assert client.post(f"{PATH}/events", data=form).status_code == 200


@pytest.mark.parametrize(
    ("network", "room"), [("63902", 156), ("63903", 180), ("99999", 156), (None, 156)]
)
def test_the_room_of_a_screen_is_its_networks(network, room):
    form = MultiDict(
        {"phoneNumber": "+254712345678", "serviceCode": "*1#", "text": "", "sessionId": "s"}
    )
    if network:
        form["networkCode"] = network
    assert ussd_africastalking.parse(form, 156, {"63903": 180}).room_septets == room
