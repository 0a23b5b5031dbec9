"""Wallet: what a member has here, where it came from, and taking it out."""

from dataclasses import dataclass
from typing import Any

from core import money, wallet
from flows.account import check_pin, typed_pin
from flows.engine import Ask, Context, End, Flow
from flows.words import Values


@dataclass
class Answers:
    pass


def balance_line(context: Context, _answers: Any) -> Values:
    balance = wallet.balance(context.db, context.buyer.id)
    return {
        "balance": money.show(balance.total_cents),
        "earned": money.show(balance.earned_cents),
        "returned": money.show(balance.returned_cents),
        "on_its_way": money.show(balance.on_its_way_cents),
    }


WALLET = Flow(
    "wallet",
    Answers,
    (
        Ask(
            "pin",
            parse=typed_pin,
            secret=True,
            do=check_pin,
            to={"right": "balance", "wrong": "pin", "locked": "locked"},
            resume="restart",
        ),
        End("balance", show=balance_line),
        End("locked"),
    ),
)
