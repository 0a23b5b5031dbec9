"""A person at the page: a browser, and hands on its phones."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Playwright, expect

CHROMIUM = "/usr/bin/chromium"
SECONDS_MAX = 45  # for what the page shows after a while


def launch(playwright: Playwright) -> Browser:
    if not Path(CHROMIUM).exists():
        pytest.fail("Chromium is missing here. This installs it: apt-get install -y chromium")
    expect.set_options(timeout=SECONDS_MAX * 1000)
    # Chromium cannot fence itself off when it is root's.
    return playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.getuid() != 0)


class a_page:  # noqa: N801 it reads as what it gives
    """Open the page; at the end nothing may have gone wrong in its scripts."""

    def __init__(self, browser: Browser, url: str, query: str = "", **context) -> None:
        self._context = browser.new_context(locale="en-GB", **context)
        self._context.set_default_timeout(SECONDS_MAX * 1000)
        self._page = self._context.new_page()
        self._wrong: list[str] = []
        self._page.on("pageerror", lambda error: self._wrong.append(str(error)))
        self._page.on("console", self._listen)
        self._url = f"{url}/simulator{query}"

    def _listen(self, message) -> None:
        # A refused call is the page's business; a script or a style that is stopped is not.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self._wrong.append(message.text)

    def __enter__(self) -> Page:
        self._page.goto(self._url)
        expect(self._page.locator(".balance").first).to_contain_text("KSh")
        return self._page

    def __exit__(self, kind, *_) -> None:
        self._context.close()
        assert kind is not None or self._wrong == []


class Phone:
    """One phone of the page. What is typed goes to the one that was touched last."""

    def __init__(self, page: Page, number: str) -> None:
        self.page = page
        self.root = page.locator(f'.phone[data-number="{number}"]')
        self.lcd = self.root.locator(".lcd")
        self.view = self.root.locator(".view")
        self.entry = self.root.locator(".entry input")
        self.balance = self.root.locator(".balance")
        self.badge = self.root.locator(".envelope b")
        self.announced = self.root.locator(".news")

    def touch(self) -> None:
        self.view.click()

    def key(self, name: str) -> Locator:
        return self.root.locator(f'[data-key="{name}"]')

    def press(self, *names: str) -> None:
        for name in names:
            self.key(name).click()

    def has_messages(self, count: int) -> None:
        """So many unread."""
        expect(self.badge).to_have_text(str(count))

    def is_in(self, mode: str) -> None:
        expect(self.lcd).to_have_attribute("data-mode", mode)

    def shows(self, words: str) -> None:
        expect(self.view).to_contain_text(words)

    def answer(self, text: str, *, shows: str) -> None:
        """Type a reply and send it; these words are on the screen that comes back."""
        self.is_in("session")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        self.shows(shows)

    def choose(self, words: str, *, shows: str) -> None:
        """Answer with the number that stands before these words."""
        self.shows(words)
        found = re.search(rf"^([0-9]+) .*{re.escape(words)}", self.view.inner_text(), re.MULTILINE)
        assert found, f"{words!r} is no choice of: {self.view.inner_text()}"
        self.answer(found[1], shows=shows)


class Chat:
    """A phone's Telegram, beside it."""

    def __init__(self, page: Page, number: str) -> None:
        self.page = page
        self.root = page.locator(f'.phone[data-number="{number}"]')
        self.toggle = self.root.locator(".telegram")
        self.pane = self.root.locator(".chat")
        self.bubbles = self.root.locator(".bubble")
        self.input = self.root.get_by_role("textbox", name=re.compile("Message|Ujumbe"))
        self.toast = self.root.locator(".toast")
        self.keys = self.root.locator(".reply-keys")

    def start(self) -> None:
        self.toggle.click()
        self.root.get_by_role("button", name=re.compile("^(Start|Anza)$")).click()
        expect(self.bubbles.first).to_contain_text("/start")

    def attach(self, words: str) -> None:
        self.root.get_by_role("button", name=re.compile("Attach|Ambatisha")).click()
        self.root.get_by_role("button", name=words).click()

    def button(self, label: str | re.Pattern[str]) -> Locator:
        """The newest with these words."""
        return self.root.locator(".buttons").get_by_role("button", name=label).last

    def tap(self, label: str | re.Pattern[str], *, shows: str) -> None:
        self.button(label).click()
        self.says(shows)

    def says(self, words: str) -> None:
        """These words are in a message, and it is in view."""
        said = self.bubbles.filter(has_text=words).last
        expect(said).to_be_in_viewport()
