"""The page of phones: what it is made of, and how it behaves in a browser.

It meets a small application that always says the same; test_story.py has it with all of Sokoni.
"""

import json
import random
import re
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import requests
from playwright.sync_api import Page, expect

from core import charges, orders, payouts
from simulator import page as pages
from simulator import pictures
from simulator.market import Market
from simulator.mpesa import PushRequest
from simulator.outbound import Answer
from simulator.rules import DEFAULTS, changed, shown
from simulator.server import Server, listen
from simulator.world import Place, World
from tests.simulator.browser import SECONDS_MAX, Chat, Phone, a_page
from tests.simulator.pretend import PAYER

ROOT = Path(__file__).parents[2]
BUYER, SELLER = pages.PHONES
MENU = "CON Karibu.\n1 Buy\n2 Help"
NOBODY = "http://127.0.0.1:9/watch/nobody"


# --- what it is made of


def test_the_page_comes_with_both_phones_and_nothing_from_elsewhere(web):
    answer = web.get("/simulator")
    assert answer.status_code == 200
    assert re.findall(r'data-number="([^"]+)"', answer.text) == [BUYER, SELLER]
    assert (
        re.findall(r'(?:src|href)="(?!/simulator/(?:static|pictures)/|#)([^"]*)"', answer.text)
        == []
    )
    assert " style=" not in answer.text
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    for name in pictures.SAMPLES:
        assert web.get(f"/simulator/pictures/{name}.png").data == pictures.sample(name)
    assert web.get("/simulator/pictures/page.png").status_code == 404
    for piece in sorted(Path(pages.WEB, "static").iterdir()):
        with web.get(f"/simulator/static/{piece.name}") as found:
            assert found.status_code == 200, piece.name
            assert not re.search(r"https?://(?!www\.w3\.org/)", found.text), piece.name


@pytest.mark.parametrize(
    ("query", "accepts", "heard"),
    [
        ("", "en-GB,en", "Add a phone"),
        ("", "sw-KE,sw;q=0.9,en;q=0.5", "Ongeza simu"),
        ("?lang=sw", "en", "Ongeza simu"),
        ("?lang=xx", "fr", "Add a phone"),
    ],
)
def test_the_page_speaks_the_language_asked_for(web, query, accepts, heard):
    answer = web.get("/simulator" + query, headers={"Accept-Language": accepts})
    assert heard in answer.text


def test_every_word_of_the_page_is_there_in_both_languages_and_used():
    words = pages.read_words()
    fields = re.compile(r"\{(\w+)\}")
    for name, each in words.items():
        assert set(each) == {"en", "sw"}, name
        assert all(each.values()), name
        assert set(fields.findall(each["en"])) == set(fields.findall(each["sw"])), name
    sources = [path.read_text() for path in Path(pages.WEB).rglob("*.*") if path.suffix != ".toml"]
    used = {
        name
        for source in sources
        for pattern in (
            r'say\("(\w+)"',
            r"say\.(\w+)",
            r'data-say="(\w+)"',
            r'data-label="(\w+)"',
            r'(?:entry|left|right): "(\w+)"',
            r'"(guide_\d)"',
            r' \? "(\w+)" : "\w+"',
            r' \? "\w+" : "(\w+)"',
        )
        for name in re.findall(pattern, source)
    } & set(words)
    # Made of two halves, the second of which is the name of something.
    made = (
        "state_",
        "event_",
        "charge_",
        "payout_",
        "escrow_",
        "owner_",
        "prompt_",
        "switch_",
        "soft_",
    )
    roles = {"buyer", "seller", "buyer_hint", "seller_hint"}
    assert {name for name in words if not name.startswith(made)} - used - roles == set()
    spoken = {name for source in sources for name in re.findall(r'say\("(\w+)"', source)}
    assert spoken - set(words) == set()


def test_every_line_of_an_orders_timeline_has_words_on_the_page():
    told = tomllib.loads((ROOT / "core" / "messages.toml").read_text())
    kinds = {
        kind
        for kind, each in told.items()
        if any(isinstance(each.get(receiver), dict) for receiver in ("buyer", "seller"))
    }
    assert {f"event_{kind}" for kind in kinds} - set(pages.read_words()) == set()
    assert {f"state_{state}" for state in orders.MOVES} - set(pages.read_words()) == set()
    assert {f"charge_{state}" for state in charges.STATES} - set(pages.read_words()) == set()


def test_every_state_of_a_payout_has_words_on_the_page():
    waits = {f"waits_{reason}" for reason in payouts.WAITS}
    wanted = {f"payout_{name}" for name in {*payouts.STATES, *waits}}
    assert wanted - set(pages.read_words()) == set()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("0722000111,+254 733 000 111", ["+254722000111", "+254733000111"]),
        ("nonsense,0722000111,0722000111", ["+254722000111"]),
        ("nonsense", [BUYER, SELLER]),
        (",".join(f"07220001{n:02}" for n in range(20)), [f"+25472200010{n}" for n in range(6)]),
    ],
)
def test_the_address_says_which_phones_are_on_the_table(web, asked, found):
    answer = web.get("/simulator", query_string={"phones": asked})
    assert re.findall(r'data-number="([^"]+)"', answer.text) == found


def test_one_more_phone_comes_as_a_piece_of_the_page(web):
    answer = web.get("/simulator/phone/0700000002?lang=sw")
    assert 'data-number="+254700000002"' in answer.text
    assert "Muuzaji" in answer.text
    assert web.get("/simulator/phone/nonsense").status_code == 404


@pytest.mark.parametrize("switch", [each for each in pages.SWITCHES if each.rules], ids=str)
def test_a_switch_is_on_by_its_rules_alone_and_off_again_by_the_usual_ones(switch):
    on = changed(DEFAULTS, switch.rules)
    states = {each.name: each.is_on(shown(on)) for each in pages.SWITCHES}
    assert [name for name, is_on in states.items() if is_on] == [switch.name]
    assert changed(on, switch.undone) == DEFAULTS


class Closed(Market):
    """A market nobody asks."""

    def __init__(self) -> None:
        super().__init__(NOBODY)

    def _ask(self, session: requests.Session) -> None:
        return None


def heard(stream: Iterator[str], event: str, containing: str = "") -> str:
    """The data of the next event of that name."""
    for each in stream:
        if each.startswith(f"event: {event}\n") and containing in each:
            return each
    raise AssertionError("the stream ended")


def test_the_stream_tells_once_what_is_and_then_what_changes(world, web, monkeypatch):
    monkeypatch.setattr(pages, "LOOK_SECONDS", 0.001)
    with closing(pages.stream(world, Closed(), [PAYER])) as stream:
        first = heard(stream, "phone")
        assert '"balance":10000' in first
        assert '"messages":[]' in first
        world.sms.tell(PAYER, "Umepokea")
        assert "Umepokea" in heard(stream, "phone")
        doubled = next(it for it in pages.SWITCHES if it.name == "doubled")
        web.put("/simulator/api/rules", json=doubled.rules)
        assert '"doubled":true' in heard(stream, "switches", "true")


def test_a_market_that_does_not_answer_is_said_to_be_none(world, monkeypatch):
    monkeypatch.setattr(pages, "LOOK_SECONDS", 0.001)
    with closing(pages.stream(world, Closed(), [])) as stream:
        assert heard(stream, "market") == 'event: market\ndata: {"market":null}\n\n'


def test_a_stream_without_news_gives_a_sign_of_life(world, monkeypatch):
    monkeypatch.setattr(pages, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(pages, "STILL_HERE_SECONDS", 0.01)
    with closing(pages.stream(world, Closed(), [PAYER])) as stream:
        assert pages.NEWS_OF_NOTHING in (next(stream) for _ in range(10))


def test_a_foreign_phone_has_no_purse(world, web):
    with closing(pages.stream(world, Closed(), ["+12025550123"])) as stream:
        assert '"network":null,"balance":null' in heard(stream, "phone")


def test_the_market_is_asked_while_somebody_looks_and_left_alone_after(httpserver, monkeypatch):
    monkeypatch.setattr("simulator.market.EVERY_SECONDS", 0.01)
    httpserver.expect_request("/watch/s").respond_with_json({"orders": []})
    market = Market(httpserver.url_for("/watch/s"))
    assert not market.is_known
    with market.watched(), market.watched():
        until(lambda: market.seen == {"orders": []})
    time.sleep(0.1)
    asked = len(httpserver.log)
    time.sleep(0.1)
    assert len(httpserver.log) == asked
    httpserver.clear()
    httpserver.expect_request("/watch/s").respond_with_data("", status=503)
    with market.watched():
        until(lambda: market.seen is None)
    with Market(NOBODY).watched():
        pass


def until(condition) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


# --- how it behaves, in a browser


class Application:
    """What the phones meet: a menu, `2` ends; everything else is accepted and kept."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.updates: list[dict] = []
        self.messages: list[dict[str, str]] = []

    def __call__(self, url, body, headers, timeout_seconds) -> Answer:
        if "/telegram/" in url:
            self.updates.append(json.loads(body))
        if url.endswith("/incoming"):
            self.messages.append(dict(parse_qsl(body.decode())))
        if "/ussd/" not in url or url.endswith("/events"):
            return Answer(200, {}, '{"ResultCode":0}')
        text = re.search(rb"&text=([^&]*)&", body)[1].decode()
        self.texts.append(text)
        return Answer(200, {}, "END Asante." if text.endswith("2") else MENU)


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def living(application) -> Iterator[World]:
    """A world in real time with that application."""
    place = Place(watch_url=NOBODY)
    world = World(place, chance=random.Random(7042), post=application)
    yield world
    world.stop()


@pytest.fixture
def served(living) -> Iterator[str]:
    server = Server(living, listen("127.0.0.1", 0))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def page(browser, served) -> Iterator[Page]:
    """The page at a desk."""
    with a_page(browser, served) as page:
        yield page


def ask_to_pay(world: World, number: str = BUYER, shillings: int = 2250) -> None:
    """Somebody's push to that phone."""
    world.rulebook.change({"prompt_seconds": 0})
    shortcode = next(iter(world.books.shortcodes))
    world.mpesa.push(
        PushRequest(
            shortcode=shortcode,
            kind="CustomerPayBillOnline",
            amount_cents=shillings * 100,
            msisdn=number,
            to_shortcode=shortcode,
            callback_url="http://shop.example/stk",
            reference="ORD7K2",
            description="Goods",
        )
    )


def test_enter_dials_the_code_that_stands_ready_and_what_is_typed_is_the_reply(page, application):
    phone = Phone(page, BUYER)
    expect(phone.entry).to_be_focused()
    expect(phone.entry).to_have_value("*384*7042#")
    page.keyboard.press("Enter")
    phone.shows("Karibu.")
    phone.answer("Amina", shows="Karibu.")
    phone.answer("2", shows="(session ended)")
    assert application.texts == ["", "Amina", "Amina%2A2"]
    phone.is_in("ended")
    expect(phone.announced).to_contain_text("Asante.")
    page.keyboard.press("Enter")
    phone.is_in("idle")


def test_the_keys_type_call_delete_and_hang_up_like_a_phones(page, application):
    phone = Phone(page, SELLER)
    phone.press(*"*384*7042*9#", "clear", "clear", "1", "#", "call")
    phone.is_in("session")
    phone.press("7", "8", "clear")
    page.keyboard.type("9")  # pressing and typing mix
    phone.press("call")
    phone.is_in("session")
    assert application.texts == ["1", "1%2A79"]
    phone.press("end")
    phone.shows("(you hung up)")
    phone.press("0")
    phone.is_in("idle")
    expect(phone.entry).to_have_value("0")
    expect(Phone(page, BUYER).entry).to_have_value("*384*7042#")


def test_typing_goes_to_the_phone_that_was_touched_last_and_escape_hangs_up(page):
    buyer, seller = Phone(page, BUYER), Phone(page, SELLER)
    page.keyboard.press("Enter")
    buyer.is_in("session")
    seller.touch()
    page.keyboard.press("Enter")
    seller.is_in("session")
    page.keyboard.type("77")
    expect(seller.entry).to_have_value("77")
    expect(buyer.entry).to_have_value("")
    page.keyboard.press("Escape")
    seller.shows("(you hung up)")
    buyer.is_in("session")


def test_tab_sees_a_phones_keys_as_one_and_arrows_walk_over_them(page):
    phone = Phone(page, BUYER)
    page.keyboard.press("Tab")
    expect(phone.key("call")).to_be_focused()
    for arrow, name in (
        ("ArrowDown", "1"),
        ("ArrowRight", "2"),
        ("ArrowDown", "5"),
        ("ArrowLeft", "4"),
        ("ArrowUp", "1"),
        ("ArrowUp", "call"),
        ("ArrowUp", "left"),
    ):
        page.keyboard.press(arrow)
        expect(phone.key(name)).to_be_focused()
    page.keyboard.press("Enter")
    phone.shows("No messages yet.")
    page.keyboard.press("Tab")
    expect(Chat(page, SELLER).toggle).to_be_focused()
    page.keyboard.press("Tab")
    expect(Phone(page, SELLER).view).to_be_focused()


def test_a_session_that_the_network_ends_is_seen_to_end(page, living):
    living.rulebook.change({"session_seconds": 2})
    page.keyboard.press("Enter")
    phone = Phone(page, BUYER)
    phone.is_in("session")
    phone.is_in("ended")
    phone.shows("Karibu.")
    phone.shows("(session ended)")


def test_the_prompt_takes_a_pin_that_nobody_can_read_and_the_money_leaves(page, living):
    phone = Phone(page, BUYER)
    ask_to_pay(living)
    phone.shows("Pay KSh 2,250 to SOKONI, account ORD7K2?")
    expect(phone.announced).to_contain_text("Pay KSh 2,250")
    page.keyboard.type("12x34567")
    expect(phone.entry).to_have_value("1234")
    assert phone.entry.evaluate("it => getComputedStyle(it).webkitTextSecurity") == "disc"
    page.keyboard.press("Enter")
    phone.shows(re.compile(r"Sent\.|New M-PESA balance"))  # M-Pesa's SMS may be the faster
    expect(phone.balance).to_have_text("KSh 7,750")
    expect(phone.badge).to_have_text("1")


def test_a_prompt_can_be_cancelled_mistyped_or_left_alone(page, living):
    living.rulebook.change({"same_amount_seconds": 0, "prompt_lifetime_seconds": 60})
    phone = Phone(page, BUYER)
    ask_to_pay(living)
    phone.is_in("prompt")
    page.keyboard.press("Escape")
    phone.shows("You cancelled the payment.")
    ask_to_pay(living)
    phone.is_in("prompt")
    phone.press(*"9999", "call")
    phone.shows("Wrong M-Pesa PIN.")
    living.rulebook.change({"prompt_lifetime_seconds": 1})
    ask_to_pay(living)
    phone.is_in("prompt")
    phone.shows("The payment request has ended.")
    expect(phone.balance).to_have_text("KSh 10,000")


def test_messages_fill_the_inbox_as_they_come_and_count_until_read(page, living):
    phone = Phone(page, BUYER)
    for word in ("first", "second"):
        living.sms.tell(BUYER, f"The {word} message")
    phone.shows("2 new messages")
    expect(phone.badge).to_have_text("2")
    expect(phone.announced).to_contain_text("MPESA: The second message")
    phone.press("left")
    expect(phone.view.locator("li")).to_have_count(2)
    living.sms.tell(BUYER, "The third message")
    expect(phone.view.locator("li")).to_have_count(3)
    expect(phone.view.locator("li").first).to_contain_text("third")
    expect(phone.view.locator("li.chosen")).to_contain_text("second")
    page.keyboard.press("Enter")
    phone.shows("The second message")
    expect(phone.badge).to_have_text("2")
    phone.press("left")
    phone.shows("The first message")
    phone.press("right", "up", "up", "ok")
    phone.shows("The third message")
    expect(phone.badge).to_be_hidden()
    phone.press("end", "end")
    phone.is_in("idle")
    phone.shows("Press the green key")


def test_the_page_reads_in_swahili_from_one_press_to_the_next(page, living):
    phone = Phone(page, BUYER)
    living.sms.tell(BUYER, "Umepokea")
    page.keyboard.press("Enter")
    phone.is_in("session")
    page.get_by_role("button", name="Kiswahili").click()
    expect(page.get_by_role("heading", name="Pesa ni za nani")).to_be_visible()
    expect(phone.lcd.locator(".soft-left")).to_have_text("Tuma")
    expect(page.locator("html")).to_have_attribute("lang", "sw")
    phone.shows("Karibu.")
    phone.is_in("session")
    phone.press("end")
    phone.shows("Ujumbe 1 mpya")
    page.reload()
    expect(phone.root.locator("h2")).to_contain_text("Mnunuzi")


def test_a_phone_can_be_added_and_put_away_again(page, served):
    page.get_by_role("button", name="Add a phone").click()
    page.keyboard.type("nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("That is no phone number")
    page.get_by_label("Number", exact=True).fill("0712 345 678")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("here already")
    page.get_by_label("Number", exact=True).fill("0722 000 111")
    page.keyboard.press("Enter")
    phone = Phone(page, "+254722000111")
    expect(phone.balance).to_have_text("KSh 10,000")
    expect(phone.entry).to_be_focused()
    page.keyboard.press("Enter")
    phone.is_in("session")
    page.reload()
    expect(page.locator(".phone")).to_have_count(3)
    phone.root.get_by_role("button", name="Put this phone away").click()
    expect(page.locator(".phone")).to_have_count(2)
    assert page.url == f"{served}/simulator?phones={BUYER[1:]},{SELLER[1:]}&lang=en"


def test_who_leaves_the_page_leaves_no_session_open(page, living):
    page.keyboard.press("Enter")
    Phone(page, BUYER).is_in("session")
    assert living.handsets.is_in_session(BUYER)
    page.goto("about:blank")
    until(lambda: not living.handsets.is_in_session(BUYER))


def test_the_switches_set_the_rules_and_show_them(page, living, application):
    for each in pages.SWITCHES:
        switch = page.locator(f'[data-switch="{each.name}"]')
        switch.click()
        expect(switch).to_be_checked()
        assert each.is_on(shown(living.rulebook.rules)) or not each.rules
    expect(Phone(page, BUYER).balance).to_have_text("KSh 20")
    page.locator('[data-switch="late"]').click()
    expect(page.locator('[data-switch="late"]')).not_to_be_checked()
    assert living.rulebook.rules.callback_seconds == DEFAULTS.callback_seconds

    phone = Phone(page, BUYER)
    phone.press("call")
    phone.shows("Network error")
    expect(page.locator('[data-switch="drop"]')).not_to_be_checked()
    assert application.texts == ["", ""], "sent twice, and its answer dropped"

    page.get_by_role("button", name="All well again").click()
    expect(page.locator("[data-switch][aria-checked=true]")).to_have_count(0)
    assert living.rulebook.rules == DEFAULTS
    expect(phone.balance).to_have_text("KSh 10,000")


def test_a_market_that_does_not_answer_leaves_the_phones_working(page):
    expect(page.get_by_text("Sokoni does not answer just now.")).to_be_visible()
    page.keyboard.press("Enter")
    Phone(page, BUYER).shows("Karibu.")


def test_a_world_that_is_away_is_said_to_be_and_found_again(page):
    phone = Phone(page, BUYER)
    away = page.get_by_text("The pretend world does not answer.")
    expect(away).to_be_hidden()
    page.route("**/simulator/events*", lambda route: route.abort())
    page.reload()
    expect(away).to_be_visible()
    page.route("**/simulator/api/dial", lambda route: route.abort())
    page.keyboard.press("Enter")
    phone.shows("The network does not answer.")
    page.unroute_all()
    expect(away).to_be_hidden()
    expect(phone.balance).to_have_text("KSh 10,000")
    phone.press("end", "call")
    phone.shows("Karibu.")


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1440])
def test_nothing_is_wider_than_the_screen(browser, served, width):
    coarse = {"has_touch": True} if width < 700 else {}
    with a_page(browser, served, viewport={"width": width, "height": 800}, **coarse) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".handset").first.bounding_box()["width"] <= width
        jump = page.get_by_role("link", name="Seller")
        expect(jump).to_be_visible() if width <= 720 else expect(jump).to_be_hidden()


def test_the_longest_screen_fits_without_scrolling(page, application, monkeypatch):
    screen = ("Nyanya na vitunguu " * 12)[:160]
    monkeypatch.setattr(sys.modules[__name__], "MENU", "CON " + screen)
    page.keyboard.press("Enter")
    phone = Phone(page, BUYER)
    phone.shows(screen.strip())
    assert phone.view.evaluate("it => it.scrollHeight <= it.clientHeight")


# --- messages to Sokoni, and Telegram


def business_writes(world: World, text: str, number: str = BUYER) -> None:
    world.sms.send("SOKONI", number, text, is_queued=False)


def bot_writes(world: World, text: str, markup=None, number: str = BUYER) -> int:
    """The id of the message."""
    chat_id = world.telegram.chat(number).id
    return world.telegram.send(chat_id, {"text": text}, markup)["message_id"]


def taps(*labels: str):
    return {"inline_keyboard": [[{"text": it, "callback_data": it.lower()}] for it in labels]}


def test_what_is_typed_under_a_message_goes_to_the_short_code(page, living, application):
    phone = Phone(page, BUYER)
    business_writes(living, "Reply YES to go on.")
    phone.shows("1 new message")
    phone.press("left", "left")
    phone.is_in("message")
    page.keyboard.type("YES")
    expect(phone.lcd.locator(".soft-left")).to_have_text("Send")
    page.keyboard.press("Enter")
    phone.shows("Sent to 22384.")
    until(lambda: application.messages)
    sent = application.messages[0]
    assert (sent["from"], sent["to"], sent["text"]) == (BUYER, "22384", "YES")


def test_a_message_takes_the_place_of_a_call_that_is_over_but_not_of_its_last_screen(
    page, living, application
):
    phone = Phone(page, BUYER)
    phone.press("call")
    phone.shows("Karibu.")
    phone.press("end")
    phone.shows("(you hung up)")
    business_writes(living, "Reply YES to go on.")
    phone.shows("1 new message")
    phone.press("call")
    phone.answer("2", shows="Asante.")
    business_writes(living, "Order 1001 is paid.")
    phone.has_messages(2)
    phone.shows("Asante.")


def test_a_message_can_be_begun_in_the_inbox_but_mpesa_reads_none(page, living, application):
    phone = Phone(page, BUYER)
    phone.press("left")
    phone.is_in("inbox")
    page.keyboard.type("BEI nyanya")
    phone.press("call")
    phone.shows("Sent to 22384.")
    until(lambda: application.messages)
    assert application.messages[0]["text"] == "BEI nyanya"
    living.sms.tell(BUYER, "Umepokea")
    phone.press("end", "left")
    phone.shows("MPESA")  # it has come
    phone.press("left")
    phone.shows("Umepokea")
    expect(phone.entry).to_be_hidden()


def test_a_chat_opens_beside_its_phone_and_works_by_keyboard(page, living, application):
    chat = Chat(page, BUYER)
    expect(chat.pane).to_be_hidden()
    chat.toggle.focus()
    page.keyboard.press("Enter")
    expect(chat.toggle).to_have_attribute("aria-expanded", "true")
    expect(Phone(page, BUYER).lcd).to_be_visible()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(chat.input).to_be_focused()
    page.keyboard.type("*384*7042# <b>2</b>")
    page.keyboard.press("Enter")
    expect(chat.bubbles).to_have_count(2)
    expect(chat.bubbles.last).to_contain_text("*384*7042# <b>2</b>")
    expect(chat.input).to_have_value("")
    until(lambda: len(application.updates) == 2)
    assert application.updates[0]["message"]["text"] == "/start"
    assert application.texts == [], "what is typed here does not reach the keypad"
    page.keyboard.press("Escape")
    expect(chat.pane).to_be_hidden()
    expect(chat.toggle).to_be_focused()


def test_buttons_are_tapped_answered_and_edited_in_place(page, living, application):
    chat = Chat(page, BUYER)
    chat.start()
    first = bot_writes(living, "Which?", taps("Maize", "Beans"))
    bot_writes(living, "Later")
    chat.button("Beans").click()
    expect(chat.button("Beans")).to_have_class("spins")
    until(lambda: len(application.updates) == 2)
    query = application.updates[-1]["callback_query"]
    assert (query["data"], query["message"]["message_id"]) == ("beans", first)
    living.telegram.answer(query["id"], "Sold out", is_alert=False)
    expect(chat.toast).to_have_text("Sold out")
    expect(chat.button("Beans")).not_to_have_class("spins")
    chat_id = living.telegram.chat(BUYER).id
    living.telegram.edit(chat_id, first, {"text": "2 bags maize"}, taps("Pay"))
    bubble = page.locator(f'.message[data-message="{first}"]')
    expect(bubble).to_contain_text("2 bags maize")
    expect(bubble).to_contain_text("edited")
    expect(bubble.get_by_role("button")).to_have_text(["Pay"])
    expect(chat.bubbles).to_have_count(3)


def test_reply_keys_share_the_number_and_the_place_or_send_their_words(page, living, application):
    chat = Chat(page, BUYER)
    chat.start()
    keys = [[{"text": "My number", "request_contact": True}],
            [{"text": "My place", "request_location": True}, {"text": "Not now"}]]  # fmt: skip
    markup = {"keyboard": keys, "one_time_keyboard": False}
    bot_writes(living, "Who are you?", markup)
    for label in ("My number", "My place", "Not now"):
        chat.keys.get_by_role("button", name=label).click()
        expect(chat.input).to_be_focused()
    until(lambda: len(application.updates) == 4)
    contact, place, words = (each["message"] for each in application.updates[1:])
    assert contact["contact"]["user_id"] == contact["from"]["id"]
    assert -1.4 < place["location"]["latitude"] < -1.2
    assert words["text"] == "Not now"
    bot_writes(living, "Thanks", {"remove_keyboard": True})
    expect(chat.keys).to_be_hidden()


def test_pictures_are_sent_from_a_file_or_of_our_own_drawing(page, living, application, tmp_path):
    chat = Chat(page, BUYER)
    chat.start()
    chat.attach("Rotten tomatoes")
    picture = chat.bubbles.last.get_by_role("img")
    expect(picture).to_be_visible()
    until(lambda: picture.evaluate("it => it.complete && it.naturalWidth") == pictures.WIDTH)
    expect(chat.input).to_be_focused()
    own = tmp_path / "own.png"
    own.write_bytes(pictures.blank(200, 100))
    chat.root.locator("input[type=file]").set_input_files(own)
    expect(chat.bubbles).to_have_count(3)
    until(lambda: len(application.updates) == 3)
    assert application.updates[-1]["message"]["photo"][-1]["width"] == 200
    own.write_bytes(b"no picture")
    chat.root.locator("input[type=file]").set_input_files(own)
    expect(chat.toast).to_contain_text("Not sent: neither PNG nor JPEG")
    expect(chat.bubbles).to_have_count(3)


def test_what_follows_a_photo_is_in_view_however_late_the_photo_is(page, living, application):
    chat = Chat(page, BUYER)
    chat.start()
    for number in range(12):
        bot_writes(living, f"Line {number}")
    held = []
    page.route("**/telegram/file/**", lambda route: held.append(route))
    chat.attach("Rotten tomatoes")
    expect(chat.bubbles).to_have_count(14)
    bot_writes(living, "Thank you.")
    expect(chat.bubbles.last).to_contain_text("Thank you.")
    for each in held:
        each.continue_()
    picture = chat.root.get_by_role("img").last
    until(lambda: picture.evaluate("it => it.complete && it.naturalWidth") == pictures.WIDTH)
    expect(chat.bubbles.last).to_be_in_viewport(ratio=1)


def test_whoever_reads_the_newest_stays_there_whatever_grows(page, living, application):
    """A photo that comes late and taller than was said; what is opened below; what comes then."""
    chat = Chat(page, BUYER)
    chat.start()
    for number in range(12):
        bot_writes(living, f"Line {number}")
    held = []
    page.route("**/telegram/file/**", lambda route: held.append(route))
    chat.attach("Rotten tomatoes")
    expect(chat.bubbles).to_have_count(14)
    until(lambda: held)
    held[0].fulfill(body=pictures.blank(80, 240), content_type="image/png")
    picture = chat.bubbles.last.get_by_role("img")
    until(lambda: picture.evaluate("it => it.complete && it.naturalHeight") == 240)
    expect(chat.bubbles.last.locator("time")).to_be_in_viewport(ratio=1)
    chat.root.get_by_role("button", name="Attach").click()
    expect(chat.bubbles.last.locator("time")).to_be_in_viewport(ratio=1)
    bot_writes(living, "Thank you. " * 20)
    expect(chat.bubbles).to_have_count(15)
    expect(chat.bubbles.last.locator("time")).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    expect(chat.bubbles.last).to_be_in_viewport(ratio=1)


def test_whoever_has_scrolled_up_is_left_there_until_she_writes(page, living, application):
    chat = Chat(page, BUYER)
    chat.start()
    for number in range(9):
        bot_writes(living, f"Line {number}" + "\n." * 6)
    expect(chat.bubbles).to_have_count(10)
    old = chat.bubbles.filter(has_text="Line 1")
    chat.root.locator(".talk").evaluate("it => it.scrollTo(0, 0)")
    expect(old).to_be_in_viewport()
    bot_writes(living, "News")
    expect(chat.bubbles).to_have_count(11)
    expect(old).to_be_in_viewport()
    expect(chat.bubbles.last).not_to_be_in_viewport()
    chat.input.fill("I am back")
    page.keyboard.press("Enter")
    expect(chat.bubbles).to_have_count(12)
    expect(chat.bubbles.last).to_be_in_viewport(ratio=1)


def test_what_the_bot_writes_is_counted_while_nobody_looks(page, living):
    chat = Chat(page, BUYER)
    chat.start()
    chat.toggle.click()
    bot_writes(living, "One")
    bot_writes(living, "Two")
    expect(chat.toggle.locator(".unread")).to_have_text("2")
    expect(chat.toggle).to_have_accessible_name("Telegram, 2 new")
    chat.toggle.click()
    expect(chat.toggle.locator(".unread")).to_be_hidden()
    expect(chat.bubbles.last).to_be_in_viewport()


def test_a_link_in_a_message_leads_into_the_chat(page, living, application):
    phone, chat = Phone(page, BUYER), Chat(page, BUYER)
    business_writes(living, "Go on: https://t.me/SokoniBot?start=a1_B-2")
    phone.shows("1 new message")
    phone.press("left", "left")
    phone.root.get_by_role("button", name="Open in Telegram").click()
    expect(chat.bubbles.first).to_contain_text("/start a1_B-2")
    until(lambda: application.updates)
    assert application.updates[0]["message"]["text"] == "/start a1_B-2"


def test_her_telegram_speaks_what_the_page_does(page, living, application):
    page.get_by_role("button", name="Kiswahili").click()
    Chat(page, BUYER).start()
    until(lambda: application.updates)
    assert application.updates[0]["message"]["from"]["language_code"] == "sw"


def test_the_bot_can_be_blocked_and_let_back(page, living):
    chat = Chat(page, BUYER)
    chat.start()
    chat.attach("Block the bot")
    expect(chat.input).to_be_hidden()
    assert living.telegram.chat(BUYER).state == "blocked"
    chat.root.get_by_role("button", name="Unblock the bot").click()
    expect(chat.input).to_be_focused()
    living.telegram.deactivate(BUYER)
    expect(chat.root.get_by_role("button", name="This Telegram account")).to_be_disabled()


def test_the_bots_commands_are_offered_and_the_chat_reads_in_swahili(page, living, application):
    chat = Chat(page, BUYER)
    chat.start()
    living.telegram.set_commands("default", "", [{"command": "orders", "description": "Mine"}])
    chat.attach("/orders")
    expect(chat.bubbles.last).to_contain_text("/orders")
    page.get_by_role("button", name="Kiswahili").click()
    expect(chat.input).to_have_attribute("placeholder", "Ujumbe")
    expect(chat.bubbles).to_have_count(2)


def test_on_a_small_screen_the_chat_takes_the_phones_place_until_a_prompt_comes(
    browser, served, living
):
    size = {"viewport": {"width": 360, "height": 740}}
    with a_page(browser, served, has_touch=True, **size) as page:
        phone, chat = Phone(page, BUYER), Chat(page, BUYER)
        chat.start()
        expect(phone.lcd).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        ask_to_pay(living)
        expect(phone.lcd).to_be_visible()
        phone.is_in("prompt")
        expect(chat.pane).to_be_hidden()


@pytest.mark.parametrize("width", [768, 1024, 1440])
def test_with_a_chat_open_nothing_is_wider_than_the_screen(browser, served, width):
    with a_page(browser, served, viewport={"width": width, "height": 800}) as page:
        for number in (BUYER, SELLER):
            Chat(page, number).toggle.click()
            expect(Chat(page, number).pane).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
