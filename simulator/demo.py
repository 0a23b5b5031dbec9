"""The demo's story: a market day with luck, and all that can go wrong, told over the JSON calls.

It plays on a fresh market that somebody else started (`make demo`). Staff type their commands into
its terminal. At the end it adds up for itself what M-Pesa moved and what the market's books say.
Exit status: 0 all is right, 1 not.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import requests

from simulator.clock import EAST_AFRICA
from simulator.person import Lost, Person, Sms, Talk, World, until
from simulator.phone import Failed
from simulator.phone import World as Calls
from simulator.storyboard import Storyboard

CODE = "*384*7042#"
SELLERS_PIN = "2580"
BUYERS_PIN = "4791"
MPESA_PIN = "1234"
QUERY_SECONDS = 60.0  # M-Pesa is first asked 30 s after a push
COMMAND_SECONDS_MAX = 30
# People and M-Pesa are quicker here than elsewhere: the story is to be told in a minute.
PACE = {
    "prompt_seconds": 0.2,
    "callback_seconds": 0.3,
    "c2b_seconds": 0.6,
    "act_seconds": 0.3,
    "result_seconds": 0.3,
}
WORDS = {  # of the sellers' screens, each in the language of its seller
    "en": {"sell": "Sell", "orders": "Orders", "accept": "Accept", "sent": "I sent all",
           "code": "Enter code", "paid": "Thank you!", "answer": "Tell your side"},
    "sw": {"sell": "Uza", "orders": "Oda za wateja", "accept": "Kubali", "sent": "Nimetuma",
           "code": "Weka msimbo", "paid": "Asante!", "answer": "Jieleze"},
}  # fmt: skip
RECEIPT = "paid for order"
CODE_OF = r"^Code [0-9]{{4}}, order {}\b"
RECEIVED = r"Confirmed\. You have received Ksh{:,.2f} from SOKONI"
REVERSED = r"of Ksh{:,.2f} has been reversed into your M-PESA account"
ACCOUNTS = {
    "Collected at M-Pesa": "A.c2b",
    "To pay out of": "A.b2c",
    "Held for orders": "L.escrow",
    "Sellers' balances": "L.seller",
    "On its way to phones": "L.out",
    "Sokoni's fees": "R.fee",
}
PAID_IN, PAID_OUT = ("push", "c2b"), ("b2c", "reversal")  # kinds of M-Pesa's lines
STAFF = "olive"
WHY = "Half of them were broken, the other half she kept."


@dataclass(frozen=True)
class Basket:
    """What was confirmed at once. orders: number by seller."""

    buyer: Person
    orders: dict[str, int]
    shillings: int


@dataclass(frozen=True)
class Wish:
    """Typed as people type it: what, by whom, how much of it."""

    goods: str
    seller: str
    quantity: str


class Story:
    """The people, and the scenes in their order.

    watch: what the market says of its orders and books. kill: ends its worker as a crash does.
    type_in: runs a command of the market's keepers; its exit status, and what it said.
    """

    def __init__(
        self,
        world: World,
        board: Storyboard,
        watch: Callable[[], dict[str, Any]],
        kill: Callable[[], None],
        type_in: Callable[..., tuple[int, str]],
    ) -> None:
        self.world, self.board, self.watch = world, board, watch
        self.kill, self.type_in = kill, type_in
        self.amina = Person("Amina Wanjiru", "+254712345678", "bright_cyan", world)
        self.zawadi = Person("Zawadi Njeri", "+254722000111", "magenta", world)
        self.baraka = Person("Baraka Mwangi", "+254711000222", "blue", world)
        self.wanjiku = Person("Wanjiku Fresh", "+254700000001", "yellow", world)
        self.otieno = Person("Otieno Supplies", "+254700000002", "red", world)
        self.sellers = {seller.name: seller for seller in (self.wanjiku, self.otieno)}
        self.languages = {self.wanjiku.name: "en", self.otieno.name: "sw"}
        self.baskets: list[Basket] = []
        self.released: list[int] = []
        self.after_luck: dict[str, int] = {}

    def tell(self) -> bool:
        """All of it; whether everything added up. Raises Lost, Failed."""
        self.board.act("A day with luck")
        self.board.say(
            "The phones, M-Pesa and Africa's Talking are pretend; all else is Sokoni as it runs. "
            "What you see went over HTTP."
        )
        self._rules(**PACE)
        amina = self.joins_and_orders()
        self.pays(amina)
        self.board.act("A neighbour without luck")
        zawadi = self.pays_and_nobody_hears()
        # Half a minute until M-Pesa is asked about her: time to be read in.
        self.board.beat_seconds = 0.8
        self.board.act("The goods go out, the money too")
        self.goods_go_out(amina)
        self.code_is_typed(amina)
        self.board.act("Two people quarrel")
        self.is_divided(amina)
        self.board.act("More bad luck")
        baraka = self.worker_is_killed()
        self.is_refused(baraka)
        self.is_found(zawadi)
        self.code_comes_twice(zawadi)
        self.board.act("Does it add up?")
        return all([self.is_reconciled(), self.adds_up()])

    def joins_and_orders(self) -> Basket:
        board, amina = self.board, self.amina
        board.scene("Amina dials, and joins in a minute")
        talk = self._join(amina, "Toi")
        board.talk(amina, talk.all(), 1, 5, 7)
        board.scene("She fills one basket from two sellers")
        joining = len(talk.turns)
        talk, basket = self._order(
            talk.choose("Buy now"),
            amina,
            [Wish("nyanya", self.wanjiku.name, "2"), Wish("mayai", self.otieno.name, "3")],
        )
        board.talk(amina, talk.all()[joining:], 2, 3, 5, 10, -2, -1)
        return basket

    def pays(self, basket: Basket) -> None:
        board, amina = self.board, basket.buyer
        board.scene("M-Pesa asks her phone; the money is held, and everybody hears of it")
        self._pay(basket)
        self._until_paid(basket)
        hers = ["by M-Pesa before", RECEIPT, *map(CODE_OF.format, basket.orders.values())]
        board.messages(
            *((amina, amina.sms(words)) for words in hers),
            *(
                (self.sellers[name], self.sellers[name].sms(rf"\b{number}\b"))
                for name, number in basket.orders.items()
            ),
        )

    def pays_and_nobody_hears(self) -> Basket:
        board, zawadi = self.board, self.zawadi
        board.scene("Zawadi's network delivers every answer twice, at the same instant")
        self._rules(hop_repeats=2, hop_together=True)
        talk = self._join(zawadi, "Kibera")
        talk, basket = self._order(
            talk.choose("Buy now"),
            zawadi,
            [Wish("eggs", self.otieno.name, "1"), Wish("spinach", self.wanjiku.name, "10")],
        )
        board.talk(zawadi, talk.all(), -2, -1)
        board.say("Every key came twice, the last one too: still one basket, one payment.")
        self._rules(hop_repeats=1, hop_together=False)
        board.scene("She pays, and M-Pesa never tells Sokoni")
        self._rules(next=[{"callback": "never", "c2b_confirmation": 0}])
        self._pay(basket)
        board.say(
            "Her money is gone from her phone; the callback and the confirmation are lost. "
            "Sokoni will ask by itself, 30 s after its request. Remember her."
        )
        return basket

    def goods_go_out(self, basket: Basket) -> None:
        board = self.board
        board.scene("Both sellers accept and send, each in their own language")
        for name, number in basket.orders.items():
            seller, words = self.sellers[name], WORDS[self.languages[name]]
            talk = self._sell(seller, number).choose(words["accept"]).choose(words["sent"])
            talk.see(str(number))
            board.talk(seller, talk.all(), -3, -2, -1)
        for number in basket.orders.values():
            self._event(number, "dispatched")

    def code_is_typed(self, basket: Basket) -> None:
        """By one of the two sellers; the other's money stays held."""
        board, seller = self.board, self.wanjiku
        number = basket.orders[seller.name]
        board.scene(
            f"{seller.first_name} types the code from Amina's SMS: the money is on her phone"
        )
        before = self._money()
        talk = self._deliver(seller, basket)
        board.talk(seller, talk.all(), -3, -2, -1)
        self._event(number, "completed")
        board.messages(
            *((who, who.sms(rf"{number} is complete")) for who in (basket.buyer, seller)),
            (seller, self._arrives(seller, self._order_of(number)["escrow"]["released_cents"])),
        )
        self.after_luck = self._money()
        board.money(("before", before), ("after", self.after_luck))

    def worker_is_killed(self) -> Basket:
        board, baraka = self.board, self.baraka
        board.scene("The worker is killed while Baraka pays")
        talk = self._join(baraka, "Umoja")
        talk, basket = self._order(
            talk.choose("Buy now"), baraka, [Wish("kale", self.wanjiku.name, "20")]
        )
        board.talk(baraka, talk.all(), -1)
        self._rules(next=[{"callback_repeats": 2, "callback_together": True}])
        prompt = baraka.prompt()
        board.say(
            "The prompt is on his phone. Now kill -9, then his PIN: M-Pesa's callback comes twice "
            "at once, and nobody is there to work on it. It is kept, and a new worker finds it."
        )
        self.kill()
        baraka.pay(prompt, MPESA_PIN)
        board.prompt(baraka, prompt)
        self._until_paid(basket)
        board.messages((baraka, baraka.sms(RECEIPT)))
        return basket

    def is_refused(self, basket: Basket) -> None:
        """By the seller: the whole payment goes back."""
        board, baraka, seller = self.board, basket.buyer, self.wanjiku
        number = basket.orders[seller.name]
        board.scene(f"{seller.first_name} has no kale left: {baraka.first_name} has his money back")
        talk = self._sell(seller, number).choose("Refuse").choose("Refuse it").see(str(number))
        board.talk(seller, talk.all(), -2, -1)
        self._event(number, "cancelled")
        back = self._arrives(baraka, basket.shillings * 100, REVERSED)
        board.messages((baraka, baraka.sms(rf"cannot fill order {number}")), (baraka, back))

    def is_found(self, basket: Basket) -> None:
        board, zawadi = self.board, basket.buyer
        board.scene("Back to Zawadi: Sokoni asks M-Pesa, and hears the truth")
        with board.waiting("Until 30 s have passed since M-Pesa took the request ..."):
            self._until_paid(basket, QUERY_SECONDS)
        board.beat_seconds = 0.1
        board.messages((zawadi, zawadi.sms(RECEIPT)))

    def code_comes_twice(self, basket: Basket) -> None:
        """And what M-Pesa answers to his payout is lost: what it did, Sokoni learns by asking."""
        board, seller = self.board, self.otieno
        number = basket.orders[seller.name]
        board.scene(f"{seller.first_name} delivers to her; every key of his comes twice")
        words = WORDS[self.languages[seller.name]]
        self._rules(
            hop_repeats=2,
            hop_together=True,
            faults=[{"fault": "reset", "when": "after", "on": "b2c", "times": 1}],
            next_b2c=[{"result": "never", "queue": "echo", "queue_seconds": 1, "act_seconds": 0}],
        )
        self._sell(seller, number).choose(words["accept"]).choose(words["sent"]).see(str(number))
        talk = self._deliver(seller, basket)
        self._rules(hop_repeats=1, hop_together=False)
        board.talk(seller, talk.all(), -1)
        self._event(number, "completed")
        board.scene("He is paid, and M-Pesa's answer to that is lost")
        cents = self._order_of(number)["escrow"]["released_cents"]
        board.messages((seller, seller.sms(RECEIVED.format(cents / 100))))
        board.say(
            "The call was cut off, its result never comes; M-Pesa says only that it waited long. "
            "Nothing is sent again: Sokoni asks what became of it, and hears that it was paid."
        )
        self._arrives(seller, cents)

    def is_divided(self, basket: Basket) -> None:
        """By staff, between the two; each part goes to its phone."""
        board, buyer, seller = self.board, basket.buyer, self.otieno
        number = basket.orders[seller.name]
        board.scene("Half the eggs are broken; the money stays where it is, and both are heard")
        words = WORDS[self.languages[seller.name]]
        talk = buyer.dial(CODE).choose("Help").choose("A problem").choose(str(number))
        talk.choose("rotten or bad").choose("Report it")
        case = re.search(r"Case ([0-9]+)", talk.screen)
        if case is None:
            raise Lost(f"{buyer.first_name} could not complain:\n{talk.screen}")
        board.talk(buyer, talk.all(), -2, -1)
        talk = self._sell(seller, number).choose(words["answer"]).type("Zilitoka zote nzima")
        board.talk(seller, talk.all(), -2, -1)
        board.scene("Staff decide from a terminal: a part for each")
        held = self._order_of(number)["escrow"]["held_cents"] // 100
        self._command("core.staff", "add", STAFF, "--roles", "admin,operator")
        share = ("--buyer", str(held // 2), "--reason", WHY, "--by", STAFF)
        self._command("core.staff", "decide", case[1], *share)
        self._event(number, "split")
        parts = self._order_of(number)["escrow"]
        board.messages(
            (buyer, self._arrives(buyer, parts["refunded_cents"])),
            (seller, self._arrives(seller, parts["released_cents"])),
        )

    def is_reconciled(self) -> bool:
        """Against M-Pesa's statement with a shilling too much; whether just that is found."""
        board, today = self.board, f"{datetime.now(EAST_AFRICA):%Y-%m-%d}"
        board.scene("M-Pesa's statement is a shilling off, and the bookkeeper finds it")
        lines = [it for it in self.world.call("GET", "statement") if it["kind"] in PAID_IN]
        receipt, more = lines[0]["receipt"], lines[0]["amount"] + 1
        lie = {"kind": "amount", "receipt": receipt, "amount": more}
        self._rules(statement_differences=[lie])
        with tempfile.TemporaryDirectory(prefix="sokoni-statement-") as folder:
            given = []
            for shortcode in ("174379", "600997"):
                path = Path(folder, f"{shortcode}.csv")
                path.write_text(self.world.text(f"statement?format=csv&shortcode={shortcode}"))
                given += ["--statement", str(path)]
            status, said = self.type_in("core.reconcile", "--date", today, *given, "--by", STAFF)
        self._rules(statement_differences=[])
        begin = re.search(r"^[0-9,]+ differences? open", said, re.MULTILINE)
        open_ones = said[begin.start() :].partition("\n\n")[0] if begin else said
        board.terminal(f"python -m core.reconcile --date {today} --statement ...", open_ones)
        found = [line for line in open_ones.splitlines() if receipt in line and f"{more:,}" in line]
        holds = status == 1 and open_ones.startswith("1 difference open") and len(found) == 1
        board.verdict("The one line that was changed is found, and no other.", holds)
        return holds

    def adds_up(self) -> bool:
        board = self.board
        board.scene("The sum of it all")
        board.money(("after the luck", self.after_luck), ("at the end", self._money()))
        found = judged(
            self.watch(),
            self.world.call("GET", "statement"),
            self.world.call("GET", "audit"),
            self.baskets,
            self.released,
        )
        for text, holds in found:
            board.verdict(text, holds)
        return all(holds for _, holds in found)

    def _join(self, person: Person, place: str) -> Talk:
        talk = person.dial(CODE).choose("English").type(person.name).type(place).first()
        return talk.choose("I agree").type_secret(BUYERS_PIN).see(person.first_name)

    def _order(self, talk: Talk, buyer: Person, wishes: list[Wish]) -> tuple[Talk, Basket]:
        """From the first screen of buying to the last, on which the orders have their numbers."""
        for position, wish in enumerate(wishes):
            if position:
                talk.choose("Add more")
            talk.type(wish.goods).first().choose(wish.seller).type(wish.quantity)
        talk.choose("Pay").first().choose("This phone")
        said = re.search(r"Order ([0-9, ]+)\..*KSh ([0-9,]+)", talk.screen)
        if said is None:
            raise Lost(f"{buyer.first_name} could not order:\n{talk.screen}")
        numbers = {int(number) for number in said[1].split(", ")}
        orders = {
            order["seller"]: order["number"]
            for order in sorted(self.watch()["orders"], key=lambda it: it["number"])
            if order["number"] in numbers
        }
        basket = Basket(buyer, orders, int(said[2].replace(",", "")))
        self.baskets.append(basket)
        return talk, basket

    def _pay(self, basket: Basket) -> None:
        prompt = basket.buyer.prompt()
        if prompt.amount != basket.shillings:
            raise Lost(f"M-Pesa asks KSh {prompt.amount}, the basket says {basket.shillings}")
        self.board.prompt(basket.buyer, prompt)
        basket.buyer.pay(prompt, MPESA_PIN)

    def _until_paid(self, basket: Basket, seconds: float = 20.0) -> None:
        for number in basket.orders.values():
            self._event(number, "paid", seconds)

    def _event(self, number: int, kind: str, seconds: float = 20.0) -> None:
        until(f"order {number} to be {kind}", lambda: _events(self.watch(), number)[kind], seconds)

    def _sell(self, seller: Person, number: int) -> Talk:
        """The seller's screen of that order."""
        words = WORDS[self.languages[seller.name]]
        talk = seller.dial(CODE).choose(words["sell"]).type_secret(SELLERS_PIN)
        return talk.choose(words["orders"]).choose(str(number))

    def _deliver(self, seller: Person, basket: Basket) -> Talk:
        number, words = basket.orders[seller.name], WORDS[self.languages[seller.name]]
        code = basket.buyer.sms(CODE_OF.format(number)).text.split()[1].rstrip(",")
        talk = self._sell(seller, number).choose(words["code"]).type(code).see(words["paid"])
        self.released.append(number)
        return talk

    def _order_of(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = next(it for it in self.watch()["orders"] if it["number"] == number)
        return found

    def _arrives(
        self, person: Person, cents: int, words: str = RECEIVED, seconds: float = 20.0
    ) -> Sms:
        """M-Pesa's SMS on that phone, once Sokoni knows that the money is there."""

        def look() -> bool:
            return any(
                each["state"] == "paid" and each["cents"] == cents and each["to"] in person.name
                for each in self.watch()["payouts"]
            )

        until(f"KSh {cents // 100:,} to be on {person.first_name}'s phone", look, seconds)
        return person.sms(words.format(cents / 100))

    def _command(self, module: str, *words: str) -> None:
        """Raises Lost: it was refused."""
        status, said = self.type_in(module, *words)
        shown = " ".join(f"'{word}'" if " " in word else word for word in words)
        self.board.terminal(f"python -m {module} {shown}", said)
        if status:
            raise Lost(f"{module} {words[0]} ended with {status}: {said}")

    def _rules(self, **rules: Any) -> None:
        self.world.call("PUT", "rules", rules)

    def _money(self) -> dict[str, int]:
        accounts = self.watch()["ledger"]["accounts"]
        return {name: accounts.get(kind, 0) for name, kind in ACCOUNTS.items()}


def judged(
    market: dict[str, Any],
    statement: list[dict[str, Any]],
    audit: dict[str, Any],
    baskets: list[Basket],
    released: list[int],
) -> list[tuple[str, bool]]:
    """What must be true at the end, each in words with its figures, and whether it is.

    market: as it says of itself, in cents. statement, audit: M-Pesa's, in shillings.
    """
    paid = [each for each in statement if each["kind"] in PAID_IN]
    sent = sorted(each["amount"] * 100 for each in statement if each["kind"] in PAID_OUT)
    payouts = market["payouts"]
    left = sum(each["amount"] for each in paid)
    orders = {order["number"]: order for order in market["orders"]}
    wanted = sorted(number for basket in baskets for number in basket.orders.values())
    held, sellers, fees, back = (
        sum(order["escrow"][name] for order in market["orders"])
        for name in ("held_cents", "released_cents", "fee_cents", "refunded_cents")
    )
    books = market["ledger"]
    float_cents = sum(books["accounts"].get(kind, 0) for kind in ("A.c2b", "A.b2c", "A.transit"))
    events = {number: _events(market, number) for number in wanted}
    asked = sorted((each["from"], each["amount"]) for each in paid)
    return [
        (
            f"The buyers paid KSh {left:,}: {_ksh(held)} is held, {_ksh(sellers)} the sellers', "
            f"{_ksh(fees)} the fee, {_ksh(back)} refunded.",
            left * 100 == held + sellers + fees + back,
        ),
        (
            f"{len(baskets)} baskets, {len(paid)} payments: each basket was paid for once.",
            asked == sorted((basket.buyer.number, basket.shillings) for basket in baskets)
            and len({each["account"] for each in paid}) == len(paid),
        ),
        (
            f"{len(wanted)} orders, none doubled; each was paid once, and those whose code was "
            "typed were completed once.",
            sorted(orders) == wanted
            and len(market["orders"]) == len(wanted)
            and all(
                happened["placed"] == happened["paid"] == 1
                and happened["completed"] == (number in released)
                for number, happened in events.items()
            ),
        ),
        (
            f"{len(sent)} times M-Pesa sent money, KSh {sum(sent) // 100:,} in all: what Sokoni "
            "asked for, each once, and all of it has arrived.",
            sent == sorted(each["cents"] for each in payouts)
            and all(each["state"] == "paid" for each in payouts)
            and sum(sent) == sellers + back,
        ),
        (
            "Sokoni's books balance, and every balance is the sum of its entries.",
            bool(books["balanced"] and books["cached_equal_fold"]),
        ),
        (
            f"M-Pesa's own books balance; our shortcodes hold KSh {audit['shortcodes']:,}, and "
            f"Sokoni's say {_ksh(float_cents)}.",
            bool(audit["balanced"]) and audit["shortcodes"] * 100 == float_cents,
        ),
    ]


def _events(market: dict[str, Any], number: int) -> Counter[str]:
    """How often each kind of event has happened to an order."""
    found = (order for order in market["orders"] if order["number"] == number)
    return Counter(event["kind"] for order in found for event in order["events"])


def _ksh(cents: int) -> str:
    return f"{cents / 100:,.2f}".removesuffix(".00")


def watcher(url: str) -> Callable[[], dict[str, Any]]:
    """Asks the market how it stands. It raises Failed."""
    session = requests.Session()
    session.trust_env = False

    def watch() -> dict[str, Any]:
        try:
            answer = session.get(url, timeout=10, allow_redirects=False)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        except requests.RequestException as error:
            raise Failed(f"The market does not say how it stands: {type(error).__name__}") from None
        return found

    return watch


def killer(process: int) -> Callable[[], None]:
    """Ends that process and its children with SIGKILL; it leads a group of its own."""

    def kill() -> None:
        try:
            os.killpg(process, signal.SIGKILL)
        except ProcessLookupError:
            raise Failed("The worker is not there to be killed.") from None

    return kill


def typist(python: str) -> Callable[..., tuple[int, str]]:
    """Runs a module as a person in the market's office would, and gives what it printed."""

    def type_in(module: str, *words: str) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [python, "-m", module, *words],
                stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=COMMAND_SECONDS_MAX, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"{module} does not come to an end.") from None
        return done.returncode, (done.stdout or done.stderr).strip()

    return type_in


def play(story: Story, board: Storyboard) -> int:
    """Tell it; the exit status."""
    try:
        went_well = story.tell()
    except (Lost, Failed) as why:
        board.end(f"The story broke off. {why}", went_well=False)
        return 1
    if not went_well:
        board.end("It does not add up.", went_well=False)
        return 1
    board.end(f"Nothing lost, nothing doubled. Told in {board.seconds:.0f} s.", went_well=True)
    return 0


def main(arguments: list[str], output: TextIO) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulator.demo", description=__doc__)
    parser.add_argument("--url", required=True, help="the pretend world")
    parser.add_argument("--watch", required=True, help="where the market says how it stands")
    parser.add_argument("--worker", required=True, type=int, help="the process to be killed")
    given = parser.parse_args(arguments)
    # A way out that gives the terminal its cursor back.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    world, board = Calls(given.url), Storyboard(output)
    try:
        told = Story(
            world, board, watcher(given.watch), killer(given.worker), typist(sys.executable)
        )
        return play(told, board)
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout))
