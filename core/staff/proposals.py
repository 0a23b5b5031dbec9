"""Proposals: what waits for a second person, and what to type, from a terminal."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

from core import proposals
from core.money import show
from core.proposals import What
from core.staff.terminal import Command, Desk, moment, table

_APPROVE: Final[Mapping[What, str]] = {
    "verdict": "approve",
    "resolution": "approve-resolution",
    "explanation": "approve-explanation",
    "booking": "book",
    "number": "approve-number",
    "pin_reset": "approve-pin-reset",
    "payout": "approve-payout",
}


def list_waiting(desk: Desk, _given: argparse.Namespace) -> str:
    rows = []
    for it in proposals.waiting(desk.db):
        lapses_at = proposals.lapses_at(it, desk.rules)
        rows.append(
            (
                it.what.replace("_", " "),
                "" if it.cents is None else show(it.cents),
                it.by or "a member",
                moment(it.since),
                "never" if lapses_at is None else moment(lapses_at),
                f"{_APPROVE[it.what]} {it.called}",
            )
        )
    heads = ("what", "KSh", "proposed by", "since", "lapses", "to agree, with --by NAME")
    return table(heads, rows, "Nothing waits for a second person.")


COMMANDS: Final[Mapping[str, tuple[Command, Sequence[str], str]]] = {
    "waiting": (list_waiting, (), "what a second person is to agree to, and until when"),
}
