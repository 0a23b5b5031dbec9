"""Dialogues as text: what a member types, what she sees, what was queued.

A transcript begins with "# <story> lang=en", and may say phone=+2547…, who=stranger, or who=seller
for the phone of Wanjiku Fresh. Then:

    > 1                           she types this; (nothing): Send on an empty box
    > (dial)                      a new session; (dial *384*7042*1#) with answers dialled ahead;
                                  (redial) after the network dropped the last one
    > (repeat)                    the gateway sends its last request again
    > (the code)                  of the newest order; also (the code before) and (a wrong code)
    + 20 minutes                  the hour moves
    ! Otieno Supplies sells tomatoes for 2500    something happens on the street, see HAPPENINGS

Indented lines are the screen that answers, a delivery code on it drawn as ####; "outbox:" names
what was newly queued, "ledger:" what was posted.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from core import charges, deals, links, members, money, opt_outs
from core.database import Db
from core.rules import Rules
from tests.flows.handset import CODE, Clock, EngineLine, Handset
from tests.flows.street import FRIEND, NEIGHBOUR, PHONE, SHOP, Bargain, Street

NAMES = {"en": "Amina", "sw": "Zawadi"}  # of the member who dials


@dataclass(frozen=True)
class Posting:
    """One transfer. legs: kind of account, cents; debits above zero."""

    key: str
    kind: str
    legs: list[tuple[str, int]]

    def drawn(self) -> str:
        """ "release L.escrow 2,400 to L.seller 2,340, R.fee 60"."""
        sides = (
            ", ".join(f"{name} {money.show(abs(cents))}" for name, cents in self.legs if of(cents))
            for of in (lambda cents: cents > 0, lambda cents: cents < 0)
        )
        return f"{self.kind} {' to '.join(sides)}"


_POSTINGS = """
SELECT t.key, t.kind, json_agg(json_build_array(a.kind, e.amount_cents)
                               ORDER BY e.amount_cents, a.kind) AS legs
FROM transfers t JOIN entries e ON e.transfer_id = t.id JOIN accounts a ON a.id = e.account_id
GROUP BY t.id ORDER BY t.at, t.key
"""


@dataclass
class Dialogue:
    """A transcript being played."""

    db: Db
    clock: Clock
    rules: Rules
    language: str = "en"
    queued: set[str] = field(default_factory=set)
    posted: set[str] = field(default_factory=set)

    def play(self, script: str) -> str:
        """The script with its screens as they are now."""
        lines = script.splitlines()
        about = dict(re.findall(r"(lang|phone|who)=(\S+)", lines[0]))
        self.language = about["lang"]
        phone = SHOP if about.get("who") == "seller" else about.get("phone", PHONE)
        self.street = Street(self.db, self.clock, self.rules, phone)
        if about.get("who") != "stranger":
            owner = self.street.register(NAMES[self.language], self.language)
            members.set_language(self.db, owner, self.language, self.clock())
        self.handset = Handset(
            EngineLine(self.db, self.rules, self.clock), self.clock, self.street.msisdn
        )
        played: list[str] = []
        for line in lines:
            if line.startswith(("  ", "outbox:", "ledger:")):
                continue
            played += [line, *self._answers(line)]
        return "\n".join(played) + "\n"

    def _answers(self, line: str) -> list[str]:
        mark, rest = line[:2], line[2:]
        if mark == "> ":
            drawn = self._masked(self._type(rest))
            screen = [f"  {shown}".rstrip() for shown in drawn.split("\n")]
            return [*screen, *self._newly_queued(), *self._newly_posted()]
        if mark == "+ ":
            number, unit = rest.split()
            self.clock.wait(**{unit.rstrip("s") + "s": int(number)})
        elif mark == "! ":
            self._happen(rest)
            self._newly_queued()
            self._newly_posted()
        else:
            assert not line or line.startswith("#"), f"what is {line!r}?"
        return []

    def _type(self, typed: str) -> str:
        if dialled := re.fullmatch(r"\((?:re)?dial(?: (\S+))?\)", typed):
            extension = dialled[1].removeprefix(CODE[:-1]).strip("*#") if dialled[1] else ""
            return self.handset.dial(extension).drawn()
        if typed == "(repeat)":
            return self.handset.repeat().drawn()
        if about_code := re.fullmatch(r"\((the|a wrong) code( before)?\)", typed):
            typed = self._code(about_code[1] == "the", before=bool(about_code[2]))
        return self.handset.reply("" if typed == "(nothing)" else typed).drawn()

    def _code(self, right: bool, *, before: bool) -> str:
        (*_, newest) = self.street.under_way()
        if not right:
            return self.street.wrong_code(newest)
        return self.street.code(newest, generations_ago=int(before))

    def _masked(self, drawn: str) -> str:
        """Without a code or a token itself, which is another one whenever its id is."""
        for bargain in self.street.under_way():
            drawn = re.sub(rf"\b{self.street.code(bargain)}\b", "####", drawn)
        token = links.token_of(self.db, self.street.msisdn, self.rules, self.clock())
        return drawn.replace(token, "########") if token else drawn

    def _newly_posted(self) -> list[str]:
        rows = self.db.rows(Posting, _POSTINGS)
        new = [posting for posting in rows if posting.key not in self.posted]
        self.posted |= {posting.key for posting in rows}
        return [f"ledger: {posting.drawn()}" for posting in new]

    def _newly_queued(self) -> list[str]:
        rows = self.db.value(
            "SELECT coalesce(json_agg(json_build_array(id, kind) ORDER BY due_at, kind), '[]')"
            " FROM outbox WHERE done_at IS NULL"
        )
        new = [kind for key, kind in rows if key not in self.queued]
        self.queued |= {key for key, _ in rows}
        return [f"outbox: {', '.join(new)}"] if new else []

    def _happen(self, said: str) -> None:
        for pattern, happen in HAPPENINGS.items():
            if found := re.fullmatch(pattern, said):
                happen(self.street, *found.groups())
                return
        raise AssertionError(f"nothing on the street is called {said!r}")


def _three_unpaid_baskets(street: Street) -> None:
    for _ in range(street.rules.open_checkouts_max):
        street.place_unpaid(1, "Honey", "Mutua Grains")


def _payment_open(street: Street) -> None:
    with street.basket_put_aside():
        street.put_in_basket(1, "Honey", "Mutua Grains")
        street.place()
        street.prompt()


def _order_paid_for_by_a_friend(street: Street) -> None:
    """Her order waits for the payment of somebody else, who declined."""
    street.put_in_basket(1, "Honey", "Mutua Grains")
    checkout_id = street.place(payer=NEIGHBOUR)
    charges.withdraw(street.db, checkout_id, street.clock())


def _paid_by_a_friend(street: Street) -> None:
    with street.basket_put_aside():
        street.put_in_basket(1, "Honey", "Mutua Grains")
        street.place(payer=FRIEND)
        street.friend.pay()


def _own_shop(street: Street, seller: str) -> None:
    street.sell_by("Tomatoes", seller, street.owner)


def _buys(street: Street, number: float, product: str, seller: str) -> None:
    street.put_in_basket(number, product, seller)
    street.place()
    street.pay()


def _do(street: Street, act: Callable[[Street, Bargain], None]) -> None:
    """That happens to the newest order that is under way."""
    (*_, newest) = street.under_way()
    act(street, newest)


def _many_deals(street: Street) -> None:
    for number in range(deals.OPEN_MAX):
        street.propose("buyer", NEIGHBOUR, f"Goat no {number}")


def _add_words(street: Street, bargain: Bargain, times: int) -> None:
    for number in range(times):
        street.say_more(bargain, f"They smell, and that is {number}.")


SELLER_DOES = {
    "can send only 1": Street.offer_less,
    "sends 1 of it": Street.send_part,
    "agrees": Street.agree_to_less,
    "objects": Street.object_to_less,
    "accepts": Street.accept,
    "sends": Street.dispatch,
    "delivers": Street.claim,
    "refuses": Street.refuse,
    "types the code": Street.type_code,
    "answers": Street.answer_complaint,
}
BUYER_DOES = {
    "has only 1": Street.say_less_came,
    "agrees": Street.agree_to_less,
    "has all after all": Street.take_less_back,
    "cancels": Street.call_off,
    "confirms": Street.confirm,
    "asks for a new code": Street.renew_code,
    "complains": Street.complain,
    "takes it back": Street.take_back,
}

# What a line beginning with "! " makes happen. "she": whoever dials.
HAPPENINGS: dict[str, Callable[..., None]] = {
    r"(.+) sells (.+) for (\d+)": lambda street, seller, product, shillings: street.set_price(
        product, seller, int(shillings)
    ),
    r"a neighbour buys ([\d.]+) (.+) of (.+)": lambda street, number, product, seller: (
        street.neighbour_buys(float(number), product, seller)
    ),
    r"nobody sells (.+) any more": lambda street, product: street.withdraw(product),
    r"the market is empty": lambda street: street.withdraw_all(),
    r"the tomatoes of (.+) are hers": _own_shop,
    r"her basket holds ([\d.]+) (.+) of (.+)": lambda street, number, product, seller: (
        street.put_in_basket(float(number), product, seller)
    ),
    r"she has three unpaid baskets": _three_unpaid_baskets,
    r"a prompt is open on her phone": _payment_open,
    r"a foreign order waits": _order_paid_for_by_a_friend,
    r"she pays": lambda street: street.pay(),
    r"her friend pays": lambda street: street.friend.pay(),
    r"her friend paid for an earlier order": _paid_by_a_friend,
    r"her friend wants no such prompts": lambda street: opt_outs.refuse(
        street.db, FRIEND, street.clock()
    ),
    r"the next part is asked for": lambda street: street.ask_next_parts(),
    r"she (?:bought|buys) ([\d.]+) (.+) of (.+)": lambda street, number, product, seller: _buys(
        street, float(number), product, seller
    ),
    r"a neighbour also wants ([\d.]+) (.+) of (.+)": lambda street, number, product, seller: (
        street.neighbour.put_in_basket(float(number), product, seller)
    ),
    rf"the seller ({'|'.join(SELLER_DOES)})(?: it)?": (
        lambda street, does: _do(street, SELLER_DOES[does])
    ),
    rf"the buyer ({'|'.join(BUYER_DOES)})": (lambda street, does: _do(street, BUYER_DOES[does])),
    r"staff give the buyer (\d+)": lambda street, shillings: _do(
        street, lambda street, bargain: street.decide(bargain, int(shillings))
    ),
    r"somebody tried (\d) wrong codes": lambda street, times: _do(
        street, lambda street, bargain: street.fail_code(bargain, int(times))
    ),
    r"she declines the prompt": lambda street: (street.prompt(), street.decline()),
    r"the time to pay runs out": lambda street: street.run_out(),
    r"she cancels on another phone": lambda street: street.cancel(),
    r"somebody tried (\d) wrong PINs": lambda street, times: street.fail_pin(int(times)),
    r"she earned (\d+)": lambda street, shillings: street.earn(int(shillings)),
    r"she took out (\d+)": lambda street, shillings: street.take_out(int(shillings)),
    r"her phone is reported lost": lambda street: street.freeze(),
    r"she has come here with a new number": lambda street: street.come_here(),
    r"she may choose a new PIN": lambda street: street.may_reset_pin(),
    r"she may not any more": lambda street: street.may_not_reset_pin(),
    r"(\d+) is missing": lambda street, shillings: street.lose(int(shillings)),
    r"a chat on Telegram speaks for her phone": lambda street: street.link_chat(),
    r"she was registered elsewhere": lambda street: street.register(),
    r"the buyer added words (\d+) times": lambda street, times: _do(
        street, lambda street, bargain: _add_words(street, bargain, int(times))
    ),
    r"two people share her phone": lambda street: street.share_phone(),
    r"a neighbour offers her (.+) for (\d+)": lambda street, title, shillings: street.is_invited(
        "seller", title, shillings=int(shillings)
    ),
    r"a neighbour wants her (.+) for (\d+)": lambda street, title, shillings: street.is_invited(
        "buyer", title, shillings=int(shillings)
    ),
    r"she offers a neighbour (.+) for (\d+)": lambda street, title, shillings: (
        street.neighbour and street.propose("seller", NEIGHBOUR, title, int(shillings))
    ),
    r"the deal is accepted": lambda street: street.agree(),
    r"the deal is refused": lambda street: street.decline_deals(),
    r"the deal is taken back": lambda street: street.take_back_deals(),
    r"the neighbour pays": lambda street: street.neighbour.pay(),
    r"she has opened many deals": _many_deals,
    r"her phone was reported lost": lambda street: street.freeze(),
    r"somebody has called her back": lambda street: street.called_back(),
}
