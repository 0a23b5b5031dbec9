"""Weathers: how M-Pesa behaves for a while. Everything here has happened to somebody."""

import random
from typing import Any, Final

Weather = dict[str, Any]

# What may befall one push; "0" is said only where it is true, since a callback by our own secret
# path is believed.
_PUSHES: Final[tuple[Weather, ...]] = (
    {"auto": "0"},
    {"auto": "observed"},
    {"auto": "1032"},
    {"auto": "0", "callback": "before_ack"},
    {"auto": "0", "callback": "never"},
    {"auto": "0", "callback_repeats": 3, "callback_gap_seconds": 0.0},
    {"auto": "0", "contradiction": ["1037", "0"]},
    {"auto": "0", "contradiction": ["0", "1032"]},
    {"auto": "0", "claimed_amount": 1},
    {"auto": "0", "claimed_phone": "254700000099"},
    {"auto": "0", "body_form": "html"},
    {"auto": "0", "body_form": "not_json"},
    {"auto": "0", "phone_form": "masked", "code_form": "string"},
    {"auto": "0", "callback_seconds": 1200.0},
    {"auto": "0", "auto_seconds": [50.0, 59.0], "callback_seconds": 900.0},
    {"auto": "0", "c2b_repeats": 2, "c2b_seconds": 0.0},
)

# What may befall a payout or a reversal.
_OPERATIONS: Final[tuple[Weather, ...]] = (
    {},
    {"result": "before_ack"},
    {"result": "never"},
    {"result_repeats": 3, "result_gap_seconds": 0.0},
    {"queue": "echo", "act_seconds": 90.0},
    {"queue": "result", "queue_seconds": 5.0},
    {"queue": "echo", "acts": False},
    {"acts": False},
    {"result_contradiction": ["2040", "0"], "result_gap_seconds": 40.0},
    {"result_contradiction": ["0", "2040"]},
    {"result_code": "2040"},
    {"result_code": "8"},
    {"result_code": "17"},
    {"result_code": "1"},
    {"result_code": "8006"},
    {"result_interim": True},
    {"result_amount": 11},
    {"result_party": "254700000099 - NOBODY"},
    {"result_body": "html"},
    {"result_body": "empty"},
    {"result_code_form": "string", "reference_form": "array"},
    {"act_seconds": 400.0},
    {"result_seconds": 700.0},
)

_STATUSES: Final[tuple[Weather, ...]] = (
    {},
    {"result": "never"},
    {"status_says": "Initiated"},
    {"result_body": "not_json"},
    {"result_code": "26"},
    {"result_code": "21"},
    {"acts": False},
    {"result_repeats": 2},
    {"status_party": "credit"},
)

_PAYING: Final = ("b2c", "b2c", "reversal")

_FAULTS: Final = (
    ("reset", "after"),
    ("reset", "before"),
    ("slow", "after"),
    ("html_503", "before"),
    ("html_503", "after"),
    ("server_error", "after"),
    ("spike", "before"),
    ("quota", "before"),
    ("empty_400", "before"),
    ("too_many", "before"),
    ("internal_error", "before"),
    ("internal_error", "after"),
    ("maintenance", "before"),
    ("rejected", "before"),
    ("token_replaced", "before"),
)


# How the networks answer for SIM cards; and whether M-Pesa asks us before it takes money.
_LINES: Final[tuple[Weather, ...]] = (
    {"sim_answer": "callback_first"},
    {"sim_answer": "reply"},
    {"sim_answer": "never"},
    {"sim_says": "Failed"},
    {"sim_repeats": 2},
    {"validation": False},
)

_KINDS: Final = ("fair", *("push", "payout", "faults") * 2, "status", "float", "lines")


def change(dice: random.Random) -> tuple[str, Weather]:
    """Another weather: what it is called, and the rules of the pretend world."""
    kind = dice.choice(_KINDS)
    if kind == "fair":
        return "fair", {"reset": True}
    if kind == "push":
        rules = dict(dice.choice(_PUSHES))
        if dice.random() < 0.5:
            return f"the next push {_said(rules)}", {"next": [rules]}
        return f"pushes {_said(rules)}", rules
    if kind in ("payout", "status", "float"):
        of = {"status": "status", "float": "topup"}.get(kind) or dice.choice(_PAYING)
        rules = dict(dice.choice(_STATUSES if kind == "status" else _OPERATIONS))
        if dice.random() < 0.6:
            return f"the next {of} {_said(rules)}", {f"next_{of}": [rules]}
        return f"each {of} {_said(rules)}", {of: rules}
    if kind == "lines":
        rules = dict(dice.choice(_LINES))
        return _said(rules), rules
    fault, when = dice.choice(_FAULTS)
    on = dice.choice(["any", "push", "b2c", "query", "status", "reversal", "topup", "oauth", "sms"])
    chance = dice.choice([1.0, 0.5])
    times = dice.choice([1, 2, 5])
    given = {"fault": fault, "when": when, "on": on, "chance": chance, "times": times}
    return f"{fault} {when} {on}, {times} times", {"faults": [given]}


FAIR: Final[Weather] = {"reset": True}


def _said(rules: Weather) -> str:
    return ", ".join(f"{name} {value}" for name, value in rules.items()) or "goes well"
