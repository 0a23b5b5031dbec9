"""Resets: what staff do for a member who forgot the PIN, from a terminal."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

from core import pin_resets
from core.staff import people
from core.staff.terminal import Command, Desk, moment, person, table

WHY: Final[Mapping[str, str]] = {
    "already_open": "they may choose a PIN already; pin-resets says until when",
    "changed_number": "you had a hand in their number of late: a third person must approve it",
    "no_number": "they have no number to choose a PIN on: propose-number first",
    "shared": "two people's PINs tell them apart there: first give that person a number of their"
    " own, propose-number --person",
}


def list_resets(desk: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            people.name(reset.member_id),
            person(desk.db, reset.member_id),
            f"open until {moment(reset.until)}" if reset.until else "to approve",
            moment(reset.proposed_at),
            reset.reason,
        )
        for reset in pin_resets.unfinished(desk.db, desk.now)
    ]
    return table(("member", "", "stands", "since", "why"), rows, "Nobody waits for a PIN.")


def propose_reset(desk: Desk, given: argparse.Namespace) -> str:
    by, member = desk.actor(given.by), people.one(desk, given.member, 1)
    return pin_resets.propose(desk.db, member, given.reason, by, desk.now)


def approve_reset(desk: Desk, given: argparse.Namespace) -> str:
    by, member = desk.actor(given.by), people.one(desk, given.member, 1)
    done = pin_resets.approve(desk.db, member, by, desk.rules, desk.now)
    return "approved; an SMS says how to choose one" if done == "approved" else done


def decline_reset(desk: Desk, given: argparse.Namespace) -> str:
    by, member = desk.actor(given.by), people.one(desk, given.member, 1)
    done = pin_resets.decline(desk.db, member, given.reason, by, desk.now)
    return "declined; the PIN stays as it is" if done == "taken_back" else done


COMMANDS: Final[Mapping[str, tuple[Command, Sequence[str], str]]] = {
    "pin-resets": (list_resets, (), "who may choose a new PIN, or waits for that"),
    "propose-pin-reset": (
        propose_reset,
        ("member", "--reason", "--by"),
        "the member forgot the PIN, and you know who it is",
    ),
    "approve-pin-reset": (approve_reset, ("member", "--by"), "as a second person"),
    "decline-pin-reset": (
        decline_reset,
        ("member", "--reason", "--by"),
        "do not agree, or take your own back; also once it is approved",
    ),
}
