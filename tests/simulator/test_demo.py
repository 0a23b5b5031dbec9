"""The storyteller of `make demo`, against a scripted world; the whole of it is run by hand."""

import io
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from simulator import demo, person
from simulator.demo import Basket, Story, judged
from simulator.person import Lost, Person, Sms, Turn
from simulator.phone import Failed, Prompt
from simulator.storyboard import Storyboard

NOBODY_TYPES = {}.__getitem__  # whoever does fails
FLOWS = Path(__file__).parents[2] / "flows"
PIN = "4791"


class Script:
    """A world that shows these screens one after the other, and keeps what it was asked."""

    def __init__(self, *screens: str, **answers: Any) -> None:
        self.screens, self.answers = list(screens), answers
        self.calls: list[tuple[str, Any]] = []

    def call(self, method: str, path: str, body: Any = None) -> Any:
        self.calls.append((path, body))
        if path in ("dial", "reply"):
            return {"session": "s1", "screen": self.screens.pop(0), "open": bool(self.screens)}
        return self.answers.get(path.split("/")[0])

    @property
    def typed(self) -> list[str]:
        return [body["text"] for path, body in self.calls if path == "reply"]


def somebody(*screens: str, **answers: Any) -> Person:
    return Person("Amina Wanjiru", "+254712345678", "magenta", Script(*screens, **answers))


def told(board_of: Any) -> str:
    output = io.StringIO()
    board_of(Storyboard(output))
    return output.getvalue()


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr(person, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(person.until, "__defaults__", (0.05,))


def test_an_option_is_found_by_its_words_on_whichever_page_it_stands():
    amina = somebody("Goods\n1 Kale\n99 More", "Goods\n12 Tomatoes 90\n99 More", "How many?", "End")
    talk = amina.dial("*384#").choose("Tomatoes").type("2")
    assert amina.world.typed == ["99", "12", "2"]
    assert talk.all() == [
        Turn("", "*384#"),
        Turn("Goods\n1 Kale\n99 More", "99", "…"),
        Turn("Goods\n12 Tomatoes 90\n99 More", "12", "Tomatoes 90"),
        Turn("How many?", "2"),
        Turn("End"),
    ]


@pytest.mark.parametrize("words", ["Sell", "uy", "More"])
def test_an_option_that_is_nowhere_is_named_with_the_screen(words):
    talk = somebody("Sokoni\n1 Buy\n99 More", "Sokoni\n2 Help", "?").dial("*384#")
    with pytest.raises(Lost, match=f"no '{words}' on the screen:\nSokoni\n2 Help"):
        talk.choose(words)


def test_nothing_can_be_typed_once_the_session_has_ended():
    with pytest.raises(Lost, match="The session has ended"):
        somebody("Goodbye").dial("*384#").type("1")


def test_a_screen_that_says_something_else_breaks_the_story_off():
    assert somebody("Thank you!").dial("*384#").see("Thank").screen == "Thank you!"
    with pytest.raises(Lost, match="'Thank' is not on the screen:\nTry again"):
        somebody("Try again").dial("*384#").see("Thank")


def test_the_first_sms_with_the_words_is_found_and_a_missing_one_is_waited_for_and_named():
    received = [{"from": "MPESA", "text": "Code 1"}, {"from": "SOKONI", "text": "Code 1234, order"}]
    amina = somebody(sms=received)
    assert amina.sms(r"Code [0-9]{4}") == Sms("SOKONI", "Code 1234, order")
    with pytest.raises(Lost, match="in vain for an SMS on Amina's phone with 'Receipt'"):
        amina.sms("Receipt")


def test_a_prompt_is_waited_for_and_a_payment_that_fails_breaks_the_story_off():
    shown = {"id": "p1", "amount": 560, "account": "AB12", "business": "SOKONI", "at": "now"}
    amina = somebody(prompts=[shown])
    assert amina.prompt() == Prompt("p1", 560, "AB12", "SOKONI")
    amina.world.answers["prompts"] = {"result": "1", "receipt": None, "message": "No money."}
    with pytest.raises(Lost, match=r"Amina's payment failed: No money\."):
        amina.pay(Prompt("p1", 560, "AB12", "SOKONI"), "1234")
    amina.world.answers["prompts"] = []
    with pytest.raises(Lost, match="in vain for an M-Pesa prompt on Amina's phone"):
        amina.prompt()


def test_what_is_drawn_says_who_typed_what_and_shows_no_pin():
    amina = somebody("Your PIN?", "Sokoni\n1 Buy", "Bye")
    talk = amina.dial("*384#").type_secret(PIN).choose("Buy")
    shown = told(lambda board: board.talk(amina, talk.all(), 1, 2, 3))
    assert "› *384# › •••• › 1 Buy" in shown
    assert "Amina Wanjiru  +254712345678" in shown
    assert shown.count("╭─ Amina ") == 3
    assert PIN not in shown


def test_what_goes_into_a_file_is_plain_and_on_a_terminal_it_has_colour(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    plain, coloured = io.StringIO(), Terminal()
    for output in (plain, coloured):
        board = Storyboard(output)
        board.beat_seconds = 0
        board.scene("She pays")
        board.money(("before", {"Held": 5_640_00}), ("after", {"Held": 1_140_50}))
        board.verdict("It adds up.", holds=False)
    assert "\x1b" not in plain.getvalue()
    assert "\x1b" in coloured.getvalue()
    for each in ("She pays · 0 s", "5,640", "1,140.50", "✗ It adds up."):
        assert each in plain.getvalue()


def test_every_frame_of_a_row_is_equally_high_and_no_line_is_wider_than_the_page():
    amina, long = somebody(), Sms("SOKONI", "Order 1001 is complete. " * 9)
    lines = told(
        lambda board: board.messages((amina, long), (amina, Sms("MPESA", "Paid.")), (amina, long))
    ).splitlines()
    assert lines[0].count("╭") == 3
    assert lines[-1].count("╰") == 3
    assert max(map(len, lines)) <= 100


# --- the story -----------------------------------------------------------------------------


def order(number: int, *kinds: str, **escrow_cents: int) -> dict[str, Any]:
    escrow = dict.fromkeys(("held_cents", "released_cents", "refunded_cents", "fee_cents"), 0)
    return {
        "number": number,
        "seller": "Wanjiku Fresh",
        "events": [{"kind": kind} for kind in kinds],
        "escrow": escrow | escrow_cents,
    }


class Evening:
    """What everybody says after one basket of two orders, of which one was delivered."""

    def __init__(self) -> None:
        self.amina = somebody()
        self.orders = [
            order(1001, "placed", "paid", "completed", released_cents=438700, fee_cents=11300),
            order(1002, "placed", "paid", held_cents=114000),
        ]
        self.payouts = [{"state": "paid", "cents": 438700, "to": "Wanjiku Fresh"}]
        self.books: dict[str, Any] = {
            "accounts": {"A.c2b": 564000, "A.b2c": 61300},
            "balanced": True,
            "cached_equal_fold": True,
        }
        opening = {"kind": "injected", "from": "outside", "amount": 10_000, "account": "opening"}
        self.paid = {"kind": "push", "from": self.amina.number, "amount": 5640, "account": "AB12"}
        self.sent = {"kind": "b2c", "from": "600997/Utility", "amount": 4387, "account": "Sokoni"}
        charge = {"kind": "charge", "from": "600997/Charges", "amount": 9, "account": "Sokoni"}
        self.statement = [opening, self.paid, self.sent, charge]
        self.audit = {"balanced": True, "shortcodes": 6253}
        self.baskets = [Basket(self.amina, {"Wanjiku Fresh": 1001, "Otieno Supplies": 1002}, 5640)]

    def wrong(self) -> set[int]:
        """Which of the verdicts do not hold."""
        market = {"orders": self.orders, "payouts": self.payouts, "ledger": self.books}
        found = judged(market, self.statement, self.audit, self.baskets, [1001])
        return {place for place, (_, holds) in enumerate(found) if not holds}


MONEY, PAYMENTS, ORDERS, PAYOUTS, LEDGER, MPESA = range(6)


def test_an_evening_on_which_all_is_right_adds_up():
    assert Evening().wrong() == set()


def paid_twice(evening: Evening) -> None:
    evening.statement.append({**evening.paid, "account": "XY34"})


def paid_by_another(evening: Evening) -> None:
    evening.paid["from"] = "+254799999999"


def one_order_too_many(evening: Evening) -> None:
    evening.orders.append(order(1003, "placed"))


def one_order_lost(evening: Evening) -> None:
    evening.orders[1] = order(1003, "placed", "paid", held_cents=114000)


def recorded_twice(evening: Evening) -> None:
    evening.orders[0]["events"].append({"kind": "paid"})


def completed_twice(evening: Evening) -> None:
    evening.orders[0]["events"].append({"kind": "completed"})


def completed_without_code(evening: Evening) -> None:
    evening.orders[1]["events"].append({"kind": "completed"})


def a_cent_gone(evening: Evening) -> None:
    evening.orders[1]["escrow"]["held_cents"] -= 1


def sent_twice(evening: Evening) -> None:
    evening.statement.append(evening.sent)


def sent_in_vain(evening: Evening) -> None:
    evening.payouts[0]["state"] = "unknown"


def never_sent(evening: Evening) -> None:
    evening.payouts.append({"state": "paid", "cents": 1000, "to": "Amina"})


def unbalanced(evening: Evening) -> None:
    evening.books["balanced"] = False


def stale(evening: Evening) -> None:
    evening.books["cached_equal_fold"] = False


def audit_fails(evening: Evening) -> None:
    evening.audit["balanced"] = False


def float_differs(evening: Evening) -> None:
    evening.audit["shortcodes"] += 1


@pytest.mark.parametrize(
    ("spoil", "found_by"),
    [
        (paid_twice, {MONEY, PAYMENTS}),
        (paid_by_another, {PAYMENTS}),
        (one_order_too_many, {ORDERS}),
        (one_order_lost, {ORDERS}),
        (recorded_twice, {ORDERS}),
        (completed_twice, {ORDERS}),
        (completed_without_code, {ORDERS}),
        (a_cent_gone, {MONEY}),
        (sent_twice, {PAYOUTS}),
        (sent_in_vain, {PAYOUTS}),
        (never_sent, {PAYOUTS}),
        (unbalanced, {LEDGER}),
        (stale, {LEDGER}),
        (audit_fails, {MPESA}),
        (float_differs, {MPESA}),
    ],
)
def test_whatever_is_doubled_lost_or_wrong_is_found(spoil, found_by):
    evening = Evening()
    spoil(evening)
    assert evening.wrong() == found_by


BUYING = (
    "Language\n1 English", "Name?", "Place?", "Which?\n1 Umoja", "Law\n1 I agree", "PIN?",
    "Welcome, Baraka\n1 Buy now", "What?", "Found\n1 Kale", "Whose?\n1 Wanjiku Fresh", "How many?",
    "Basket\n1 Pay", "Day?\n1 Sun", "Sure?\n1 This phone", "Order 1005. It is KSh 300.",
)  # fmt: skip


def test_the_worker_dies_between_the_prompt_and_the_pin():
    prompt = {"id": "p1", "amount": 300, "account": "AB12", "business": "SOKONI"}
    world = Script(*BUYING, sms=[{"from": "SOKONI", "text": "KSh 300 paid for order 1005."}])
    paid = {"result": "0", "receipt": "SAB1"}

    def call(method: str, path: str, body: Any = None) -> Any:
        found = Script.call(world, method, path, body)
        return ([prompt] if method == "GET" else paid) if path.startswith("prompts") else found

    world.call = call
    market = {"orders": [order(1005, "placed", "paid")]}
    story = Story(
        world,
        Storyboard(io.StringIO()),
        watch=lambda: market,
        kill=lambda: world.calls.append(("killed", None)),
        type_in=NOBODY_TYPES,
    )
    story.worker_is_killed()
    happened = [(path, body) for path, body in world.calls if path not in ("dial", "reply")]
    assert happened == [
        ("rules", {"next": [{"callback_repeats": 2, "callback_together": True}]}),
        ("prompts/%2B254711000222", None),
        ("killed", None),
        ("prompts/p1", {"pin": "1234"}),
        ("sms/%2B254711000222", None),
    ]
    assert [(it.orders, it.shillings) for it in story.baskets] == [({"Wanjiku Fresh": 1005}, 300)]


def test_an_order_that_stays_unpaid_is_named():
    board = Storyboard(io.StringIO())
    story = Story(Script(), board, watch=lambda: {"orders": []}, kill=list, type_in=NOBODY_TYPES)
    with pytest.raises(Lost, match="in vain for order 1005 to be paid"):
        story._event(1005, "paid", 0.05)


@pytest.mark.parametrize(
    ("ending", "status", "last"),
    [
        (True, 0, "Nothing lost, nothing doubled. Told in 0 s."),
        (False, 1, "It does not add up."),
        (Lost("There is no 'Sell'."), 1, "The story broke off. There is no 'Sell'."),
        (Failed("The pretend world does not answer."), 1, "The story broke off. The pretend world"),
    ],
)
def test_the_exit_status_and_the_last_line_say_how_it_ended(monkeypatch, ending, status, last):
    def tell(_story: Story) -> bool:
        if isinstance(ending, Exception):
            raise ending
        return ending

    monkeypatch.setattr(Story, "tell", tell)
    output = io.StringIO()
    story = Story(Script(), Storyboard(output), watch=dict, kill=list, type_in=NOBODY_TYPES)
    assert demo.play(story, story.board) == status
    assert output.getvalue().splitlines()[-1].strip().startswith(last)


def test_without_a_world_it_breaks_off_with_1():
    # No process has that number: Linux ends at 4194304.
    done = subprocess.run(
        [sys.executable, "-m", "simulator.demo", "--url", "http://127.0.0.1:9",
         "--watch", "http://127.0.0.1:9/watch", "--worker", "4194305"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert "The story broke off. The pretend world does not answer." in done.stdout


def test_the_killer_ends_that_process_at_once_and_says_when_it_is_gone():
    sleeper = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    kill = demo.killer(sleeper.pid)
    kill()
    assert sleeper.wait(60) == -signal.SIGKILL
    with pytest.raises(Failed, match="not there to be killed"):
        kill()


def test_staff_type_a_command_and_read_how_it_ended():
    type_in = demo.typist(sys.executable)
    status, said = type_in("simulator.demo", "--nonsense")
    assert (status, "--url" in said) == (2, True)


LEDGER_LINE = "5002  payment other amount  {receipt}  21/11/2026 15:55  5,641  5,640  0 d  ask"


@pytest.mark.parametrize(
    ("status", "said", "holds"),
    [
        (1, "1 difference open, KSh 1\n" + LEDGER_LINE.format(receipt="SAB1"), True),
        (0, "Nothing differs.", False),
        (1, "1 difference open, KSh 1\n" + LEDGER_LINE.format(receipt="SXX9"), False),
        (1, "2 differences open, KSh 2\n" + LEDGER_LINE.format(receipt="SAB1"), False),
        (2, "Refused: a file of another shortcode", False),
    ],
)
def test_the_bookkeeper_finds_the_lie_and_nothing_else(status, said, holds):
    lines = [{"kind": "push", "receipt": "SAB1", "amount": 5640}]
    world = Script(statement=lines)
    world.text = lambda path: f"a file of {path}"
    typed = []

    def type_in(*words: str) -> tuple[int, str]:
        typed.append(words)
        return status, f"M-Pesa and our books\n\n{said}\n\n8 lines read"

    story = Story(world, Storyboard(io.StringIO()), watch=dict, kill=list, type_in=type_in)
    assert story.is_reconciled() is holds
    (words,) = typed
    assert words[0] == "core.reconcile"
    assert words.count("--statement") == 2
    lie = {"kind": "amount", "receipt": "SAB1", "amount": 5641}
    rules = [body for path, body in world.calls if path == "rules"]
    assert rules == [{"statement_differences": [lie]}, {"statement_differences": []}]


def test_money_on_a_phone_is_waited_for_in_our_books_and_at_mpesa():
    sms = [{"from": "MPESA", "text": "S1 Confirmed. You have received Ksh4,387.00 from SOKONI on"}]
    market = {"payouts": [{"state": "accepted", "cents": 438700, "to": "Amina"}]}
    board = Storyboard(io.StringIO())
    story = Story(Script(sms=sms), board, watch=lambda: market, kill=list, type_in=NOBODY_TYPES)
    with pytest.raises(Lost, match="in vain for KSh 4,387 to be on Amina's phone"):
        story._arrives(story.amina, 438700, seconds=0.05)
    market["payouts"][0]["state"] = "paid"
    assert story._arrives(story.amina, 438700).sender == "MPESA"


def test_the_watcher_says_when_the_market_is_away():
    with pytest.raises(Failed, match="does not say how it stands: ConnectionError"):
        demo.watcher("http://127.0.0.1:9/watch")()


def test_the_words_the_story_looks_for_are_on_the_screens():
    """It finds its way by them, so whoever changes a screen's words changes them there too."""

    def options(flow: str, language: str) -> set[str]:
        found = tomllib.loads((FLOWS / f"{flow}.toml").read_text())
        screens = [screen.get("option", {}) for screen in found.values()]
        return {words[language] for option in screens for words in option.values()}

    for language, words in demo.WORDS.items():
        for name in ("orders", "accept", "sent", "code", "answer"):
            assert words[name] in options("sell", language)
        assert words["sell"] in options("home", language)
        paid = tomllib.loads((FLOWS / "sell.toml").read_text())["paid"]
        assert paid[language].startswith(words["paid"])
    assert {"I agree", "Buy now"} <= options("register", "en")
    assert {"Pay", "Add more", "This phone"} <= options("buy", "en")
    assert {"Refuse", "Refuse it"} <= options("sell", "en")
    assert "Help" in options("home", "en")
    assert "A problem" in options("home", "en")
    assert "Report it" in options("problem", "en")
