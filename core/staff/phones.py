"""Phones: what staff do about members' phone numbers, from a terminal."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from core import members, number_changes, phone
from core.errors import Invalid
from core.staff.terminal import Command, Desk, Refused, masked, moment, person, table

WHY: Final[Mapping[str, str]] = {
    "not_mobile": "money goes to Kenyan mobile numbers only",
    "same_number": "that is how it is already",
    "taken": "a member has that number, with orders, money or something open",
}


def list_numbers(desk: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            ending_of(change.member_id),
            person(desk.db, change.member_id),
            masked(change.to_msisdn) if change.to_msisdn else "no number",
            "to approve" if change.state == "proposed" else "on its way",
            moment(change.proposed_at),
            change.reason,
        )
        for change in number_changes.unfinished(desk.db)
    ]
    rows += [
        (ending_of(lost_id), person(desk.db, lost_id), "", "waits for a number", "", "")
        for lost_id in number_changes.without_number(desk.db)
    ]
    heads = ("member", "", "new number", "stands", "since", "why")
    return table(heads, rows, "Nobody waits for a number.")


def propose_number(desk: Desk, given: argparse.Namespace) -> str:
    return _propose(desk, given, given.new)


def retire_number(desk: Desk, given: argparse.Namespace) -> str:
    return _propose(desk, given, None)


def approve_number(desk: Desk, given: argparse.Namespace) -> str:
    by, member = desk.actor(given.by), member_id(desk, given.member, given.person)
    done = number_changes.approve(desk.db, member, by, desk.now)
    return "approved; it is changed within seconds" if done == "approved" else done


def decline_number(desk: Desk, given: argparse.Namespace) -> str:
    by, member = desk.actor(given.by), member_id(desk, given.member, given.person)
    done = number_changes.decline(desk.db, member, given.reason, by, desk.now)
    return "declined; nothing is changed" if done == "taken_back" else done


def _propose(desk: Desk, given: argparse.Namespace, to_msisdn: str | None) -> str:
    by, member = desk.actor(given.by), member_id(desk, given.member, given.person)
    return number_changes.propose(desk.db, member, to_msisdn, given.reason, by, desk.now)


def member_id(desk: Desk, name: str, which: int | None) -> UUID:
    """By the phone number, or by the id's ending, as of one who has none.

    which: of two who share the phone; None: whoever types is to say. Raises Refused.
    """
    if name.startswith("id:"):
        found = number_changes.of_members_ending(desk.db, name[3:])
        if len(found) != 1:
            raise Refused("no member of that name" if not found else "several are called so")
        return found[0]
    people = members.sharing(desk.db, name)
    if len(people) > 1 and which is None:
        first, second = (person.name.split()[0] for person in people)
        raise Refused(f"two share that phone: --person 1 is {first}, --person 2 is {second}")
    nth = (which or 1) - 1
    one = people[nth] if nth < len(people) else members.by_msisdn(desk.db, name)
    if one is None:
        raise Refused("nobody here has that number")
    return one.id


def ending_of(member_id: UUID) -> str:
    """Its last letters: ids begin with the time, so their ends tell them apart."""
    return f"id:{member_id.hex[-8:]}"


def _member(text: str) -> str:
    if re.fullmatch("id:[0-9a-f]{8,32}", text):
        return text
    return _msisdn(text)


def _msisdn(text: str) -> str:
    try:
        return phone.parse(text)
    except Invalid:
        raise argparse.ArgumentTypeError("a phone number, like +254711000345") from None


OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "member": {"type": _member, "help": "a phone number, or as numbers names who has none"},
    "new": {"type": _msisdn, "help": "the phone number to be"},
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
