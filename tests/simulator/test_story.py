"""Stories on the page: two people, their phones and a chat, with all of Sokoni's processes."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from simulator import page as pages
from tests.local.test_run import free_ports
from tests.simulator.browser import Chat, Phone, a_page

ROOT = Path(__file__).parents[2]
BUYER, SELLER = pages.PHONES
START_SECONDS_MAX = 120
DESK = {"viewport": {"width": 1440, "height": 900}}


@pytest.fixture
def sokoni() -> Iterator[str]:
    """`make run` on free ports and an empty folder; the pretend world's address."""
    port, world_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="sokoni-page-") as folder:
        Path(folder).chmod(0o755)  # a root's PostgreSQL runs as another user
        environ = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_URL")},
            "SOKONI_ENV": "development",
            "SOKONI_HOME": str(Path(folder, "home")),
            "PORT": str(port),
            "SIMULATOR_PORT": str(world_port),
            "PUSH_AFTER_SECONDS": "1",
            "NUDGE_AFTER_SECONDS": "2",
            "QUIET_HOURS": "0-0",
            "WEB_PROCESSES": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "local.run"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            began = time.monotonic()
            said = []
            for line in process.stdout:
                said.append(line)
                if "Ctrl-C stops everything" in line:
                    break
            assert "Ctrl-C stops everything" in said[-1], "".join(said)
            assert time.monotonic() - began < START_SECONDS_MAX
            yield f"http://127.0.0.1:{world_port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


@pytest.mark.timeout(600)
def test_a_newcomer_buys_and_pays_and_her_code_sends_the_seller_his_money(browser, sokoni):
    with a_page(browser, sokoni, **DESK) as page:
        buyer, seller = Phone(page, BUYER), Phone(page, SELLER)
        order, verdict = page.locator(".order"), page.locator(".verdict")
        join_and_fill_a_basket(page, buyer)
        buyer.choose("Pay", shows="Which day shall it come?")
        buyer.answer("1", shows="by M-Pesa?")
        buyer.choose("This phone", shows="M-Pesa will now ask for your PIN")
        buyer.shows("(session ended)")
        expect(order).to_have_attribute("data-state", "placed")

        buyer.shows("Pay KSh 2,250 to SOKONI")
        page.keyboard.type("1234")
        page.keyboard.press("Enter")
        expect(buyer.balance).to_have_text("KSh 7,750")
        expect(order).to_have_attribute("data-state", "paid")
        expect(order).to_contain_text("KSh 2,250 held")
        expect(owner(page, "escrow")).to_contain_text("KSh 2,250")
        expect(owner(page, "capital")).to_contain_text("KSh 1,000,000")
        expect(verdict).to_have_text("Books balance: KSh 1,002,250 = KSh 1,002,250")

        seller.touch()
        page.keyboard.press("Enter")
        seller.choose("Sell", shows="Your Sokoni PIN?")
        seller.answer("2580", shows="Orders")
        seller.choose("Orders", shows="1001")
        seller.answer("1", shows="You get 2,194 (fee 56)")
        seller.choose("Accept", shows="I sent all")
        expect(order).to_have_attribute("data-state", "accepted")
        seller.choose("I sent all", shows="is on its way")
        expect(order).to_have_attribute("data-state", "dispatched")
        seller.choose("Enter code", shows="4-digit code?")

        seller.answer(code_of(page, buyer), shows="KSh 2,194 is yours")
        expect(order).to_have_attribute("data-state", "completed")
        expect(order).to_contain_text("KSh 2,194 to the seller, KSh 56 fee")
        expect(owner(page, "escrow")).to_contain_text("KSh 0")
        expect(owner(page, "fee")).to_contain_text("KSh 56")

        payout = page.locator(".payouts li")
        expect(payout).to_contain_text("KSh 2,194 to Wanjiku Fresh")
        expect(payout).to_contain_text("on the phone")
        expect(payout).to_have_attribute("data-state", "paid")
        expect(seller.balance).to_have_text("KSh 12,194")
        expect(owner(page, "seller")).to_contain_text("KSh 0")
        seller.press("end")
        read_from(seller, "MPESA")
        seller.shows("Confirmed. You have received Ksh2,194.00 from SOKONI")
        expect(verdict).to_contain_text("Books balance")
        expect(page.locator(".guide .done")).to_have_count(4)


@pytest.mark.timeout(600)
def test_one_purchase_goes_from_ussd_to_sms_to_telegram_and_its_money_is_frozen(browser, sokoni):
    with a_page(browser, sokoni, **DESK) as page:
        buyer, seller, chat = Phone(page, BUYER), Phone(page, SELLER), Chat(page, BUYER)
        order = page.locator(".order")
        join_and_fill_a_basket(page, buyer)

        buyer.press("end")
        buyer.shows("1 new message")
        read_newest(buyer)
        buyer.shows("To go on here, reply YES")
        page.keyboard.type("yes")
        page.keyboard.press("Enter")
        buyer.has_messages(1)
        buyer.press("end")
        read_newest(buyer)
        buyer.shows("Items in your basket: 1. Total KSh 2,250.")

        chat.start()
        chat.says("share your phone number")
        chat.keys.get_by_role("button", name="Share my phone number").click()
        chat.says("Welcome back, Amina. You had not finished: buying, basket KSh 2,250.")
        expect(chat.keys).to_be_hidden()
        buyer.has_messages(1)  # to the phone itself: a chat speaks for it
        chat.tap("Continue", shows="Items in your basket: 1. Total KSh 2,250.")
        chat.tap("Pay", shows="Which day shall it come?")
        chat.tap(re.compile("^1 "), shows="by M-Pesa?")
        chat.tap("This phone", shows="M-Pesa will now ask for your PIN")
        expect(order).to_have_attribute("data-state", "placed")

        buyer.shows("Pay KSh 2,250 to SOKONI")
        buyer.touch()
        page.keyboard.type("1234")
        page.keyboard.press("Enter")
        chat.says("KSh 2,250 paid for order 1001.")
        chat.says("Give it only when you have the goods")
        expect(order).to_contain_text("KSh 2,250 held")

        seller.touch()
        page.keyboard.press("Enter")
        seller.choose("Sell", shows="Your Sokoni PIN?")
        seller.answer("2580", shows="Orders")
        seller.choose("Orders", shows="1001")
        seller.answer("1", shows="You get 2,194 (fee 56)")
        seller.choose("Accept", shows="I sent all")
        seller.choose("I sent all", shows="is on its way")
        chat.says("Wanjiku Fresh has sent order 1001.")

        chat.attach("/orders")
        chat.tap("1001", shows=": on its way")
        chat.tap("A problem", shows="Order 1001: what is wrong?")
        chat.tap("rotten or bad", shows="We hold KSh 2,250 until we decide.")
        chat.tap("Report it", shows="Thank you. Case 5001, order 1001")
        expect(order).to_have_attribute("data-state", "disputed")
        chat.says("Photos help: send them on Telegram.")  # the receipt; nothing else is to come
        chat.attach("Rotten tomatoes")
        chat.says("Your photo is kept with the problem you reported.")
        seller.press("end")
        seller.shows("reports a problem, order 1001")

        expect(order).to_contain_text("KSh 2,250 frozen")
        expect(order).to_contain_text("The buyer disputes it")
        expect(owner(page, "escrow")).to_contain_text("KSh 2,250")
        expect(page.locator(".verdict")).to_contain_text("Books balance")
        expect(page.locator(".guide .done")).to_have_count(4)


def read_newest(phone: Phone) -> None:
    """Open the inbox of a phone at rest, and the message that came last."""
    phone.press("left")
    phone.is_in("inbox")
    phone.press("left")
    phone.is_in("message")


def read_from(phone: Phone, sender: str) -> None:
    """Open the inbox of a phone at rest, and the newest message of that sender."""
    phone.press("left")
    phone.is_in("inbox")
    phone.view.locator("li", has_text=sender).first.click()
    phone.is_in("message")


def owner(page: Page, name: str) -> Locator:
    return page.locator(f'.owners [data-owner="{name}"]')


def code_of(page: Page, buyer: Phone) -> str:
    """The delivery code, out of the buyer's messages as she reads them."""
    buyer.press("end", "left")
    row = buyer.view.locator("li", has_text=re.compile(r"[Cc]ode [0-9]{4}"))
    row.click()
    buyer.is_in("message")
    found = re.search(r"[Cc]ode ([0-9]{4})", buyer.view.inner_text())
    assert found, buyer.view.inner_text()
    Phone(page, SELLER).touch()
    return found[1]


def join_and_fill_a_basket(page: Page, buyer: Phone) -> None:
    """A crate of tomatoes at KSh 2,250, from the first seller."""
    page.keyboard.press("Enter")
    buyer.choose("English", shows="What is your name?")
    buyer.answer("Amina", shows="Which market or village")
    buyer.answer("Toi", shows="Choose your place")
    buyer.choose("Toi Market", shows="We keep name")
    buyer.choose("I agree", shows="Choose a PIN")
    buyer.answer("4826", shows="You are registered")
    buyer.choose("Buy now", shows="What would you like?")
    buyer.answer("tomatoes", shows="We found these")
    buyer.choose("Tomatoes", shows="Who do you buy from?")
    buyer.choose("Wanjiku Fresh", shows="How many")
    buyer.answer("1", shows="in your basket")
