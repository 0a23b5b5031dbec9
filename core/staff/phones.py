"""Phones: what staff do about members' phone numbers, from a terminal."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

from core import number_changes
from core.staff import people
from core.staff.terminal import Command, Desk, masked, moment, person, table

WHY: Final[Mapping[str, str]] = {
    "not_mobile": "money goes to Kenyan mobile numbers only",
    "same_number": "that is how it is already",
    "taken": "a member has that number, with orders, money or something open",
}


def list_numbers(desk: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            people.name(change.member_id),
            person(desk.db, change.member_id),
            masked(change.to_msisdn) if change.to_msisdn else "no number",
            "to approve" if change.state == "proposed" else "on its way",
            moment(change.proposed_at),
            change.reason,
        )
        for change in number_changes.unfinished(desk.db)
    ]
    rows += [
        (people.name(member_id), person(desk.db, member_id), "", "waits for a number", "", "")
        for member_id in number_changes.without_number(desk.db)
    ]
    heads = ("member", "", "new number", "stands", "since", "why")
    return table(heads, rows, "Nobody waits for a number.")


def propose_number(desk: Desk, given: argparse.Namespace) -> str:
    return _propose(desk, given, given.new)


def retire_number(desk: Desk, given: argparse.Namespace) -> str:
    return _propose(desk, given, None)


def approve_number(desk: Desk, given: argparse.Namespace) -> str:
    by, member = desk.actor(given.by), people.one(desk, given.member, given.person)
    done = number_changes.approve(desk.db, member, by, desk.now)
    return "approved; it is changed within seconds" if done == "approved" else done


def decline_number(desk: Desk, given: argparse.Namespace) -> str:
    by, member = desk.actor(given.by), people.one(desk, given.member, given.person)
    done = number_changes.decline(desk.db, member, given.reason, by, desk.now)
    return "declined; nothing is changed" if done == "taken_back" else done


def _propose(desk: Desk, given: argparse.Namespace, to_msisdn: str | None) -> str:
    by, member = desk.actor(given.by), people.one(desk, given.member, given.person)
    return number_changes.propose(desk.db, member, to_msisdn, given.reason, by, desk.now)


OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "member": {"type": people.read, "help": "a phone number, or as numbers names who has none"},
    "new": {"type": people.read_msisdn, "help": "the phone number to be"},
    "--person": {"type": int, "choices": (1, 2), "help": "which, of two who share a phone"},
}
COMMANDS: Final[Mapping[str, tuple[Command, Sequence[str], str]]] = {
    "numbers": (list_numbers, (), "who gets another number, or waits for one"),
    "propose-number": (
        propose_number,
        ("member", "new", "--person", "--reason", "--by"),
        "the member comes with another phone",
    ),
    "retire-number": (
        retire_number,
        ("member", "--person", "--reason", "--by"),
        "the number is somebody else's by now; the account stays, and its money waits",
    ),
    "approve-number": (approve_number, ("member", "--person", "--by"), "as a second person"),
    "decline-number": (
        decline_number,
        ("member", "--person", "--reason", "--by"),
        "do not agree, or take your own back",
    ),
}
