"""Dialogues as text: what a member types, what she sees, what was queued.

A transcript begins with "# <story> lang=en", and may say phone=+2547… and who=stranger. Then:

    > 1                           she types this; (nothing): Send on an empty box
    > (dial)                      a new session; (dial *384*7042*1#) with answers dialled ahead;
                                  (redial) after the network dropped the last one
    > (repeat)                    the gateway sends its last request again
    + 20 minutes                  the hour moves
    ! Otieno Supplies sells tomatoes for 2500    something happens on the street, see HAPPENINGS

Indented lines are the screen that answers; "outbox:" names what was newly queued.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from core import charges
from core.database import Db
from core.rules import Rules
from tests.flows.handset import CODE, Clock, EngineLine, Handset
from tests.flows.street import NEIGHBOUR, PHONE, Street

NAMES = {"en": "Amina", "sw": "Zawadi"}  # of the member who dials


@dataclass
class Dialogue:
    """A transcript being played."""

    db: Db
    clock: Clock
    rules: Rules
    language: str = "en"
    queued: set[str] = field(default_factory=set)

    def play(self, script: str) -> str:
        """The script with its screens as they are now."""
        lines = script.splitlines()
        about = dict(re.findall(r"(lang|phone|who)=(\S+)", lines[0]))
        self.language = about["lang"]
        self.street = Street(self.db, self.clock, self.rules, about.get("phone", PHONE))
        if about.get("who") != "stranger":
            self.street.register(NAMES[self.language], self.language)
        self.handset = Handset(
            EngineLine(self.db, self.rules, self.clock), self.clock, self.street.msisdn
        )
        played: list[str] = []
        for line in lines:
            if line.startswith(("  ", "outbox:")):
                continue
            played += [line, *self._answers(line)]
        return "\n".join(played) + "\n"

    def _answers(self, line: str) -> list[str]:
        mark, rest = line[:2], line[2:]
        if mark == "> ":
            screen = [f"  {shown}".rstrip() for shown in self._type(rest).split("\n")]
            return [*screen, *self._newly_queued()]
        if mark == "+ ":
            number, unit = rest.split()
            self.clock.wait(**{unit.rstrip("s") + "s": int(number)})
        elif mark == "! ":
            self._happen(rest)
            self._newly_queued()
        else:
            assert not line or line.startswith("#"), f"what is {line!r}?"
        return []

    def _type(self, typed: str) -> str:
        if dialled := re.fullmatch(r"\((?:re)?dial(?: (\S+))?\)", typed):
            extension = dialled[1].removeprefix(CODE[:-1]).strip("*#") if dialled[1] else ""
            return self.handset.dial(extension).drawn()
        if typed == "(repeat)":
            return self.handset.repeat().drawn()
        return self.handset.reply("" if typed == "(nothing)" else typed).drawn()

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


def _own_shop(street: Street, seller: str) -> None:
    street.sell_by("Tomatoes", seller, street.buyer)


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
    r"she declines the prompt": lambda street: (street.prompt(), street.decline()),
    r"the time to pay runs out": lambda street: street.run_out(),
    r"she cancels on another phone": lambda street: street.cancel(),
    r"somebody tried (\d) wrong PINs": lambda street, times: street.fail_pin(int(times)),
    r"she was registered elsewhere": lambda street: street.register(),
}
