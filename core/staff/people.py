"""People: which members staff mean by a phone number, by one that was theirs, or by an id's end.

A number is not a person. Whoever had one before is found by it too, which is said; where it has
been more than one person's, staff are asked whom they mean, so that no stranger is taken for them.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from core import desk, members, names, number_changes, numbers, phone
from core.days import EAST_AFRICA_TIME
from core.errors import Invalid
from core.staff.terminal import Desk, Refused, person


@dataclass(frozen=True)
class Found:
    """ids: one member, or the two of one phone. how: in words, where it was not by their phone."""

    ids: Sequence[UUID]
    how: str = ""

    def said(self, words: str) -> str:
        """What was done or refused, and to whom if the number alone does not say it."""
        return f"{words} ({self.how})" if self.how else words


def find(at: Desk, text: str) -> Found:
    """Raises Refused: nobody is meant, or it is not clear who; then all of them are named."""
    if text.startswith("id:"):
        member_id = by_id(at, text)
        return Found([member_id], person(at.db, member_id))
    owners, before = desk.owners(at.db, text), numbers.had(at.db, text)
    if owners and not before:
        return Found(owners)
    known = {member_id: f"{_who(at, member_id)} has it" for member_id in owners}
    known |= {it.member_id: f"{_who(at, it.member_id)} had it until {_day(it)}" for it in before}
    match list(known), before:
        case [], _:
            raise Refused("nobody here has that number")
        case [member_id], [had]:
            how = f"{person(at.db, member_id)}, by a number they had until {_day(had)}"
            return Found([member_id], how)
        case _:
            raise Refused(f"name one by the id: {'; '.join(known.values())}")


def by_id(at: Desk, text: str) -> UUID:
    """The member whose id ends so. Raises Refused."""
    found = number_changes.of_members_ending(at.db, text.removeprefix("id:"))
    if len(found) != 1:
        raise Refused("no member of that name" if not found else "several are called so")
    return found[0]


def one(at: Desk, text: str, which: int | None) -> UUID:
    """The member who has that number now, or whose id ends so.

    which: of two who share the phone; None: whoever types is to say. Raises Refused.
    """
    if text.startswith("id:"):
        return by_id(at, text)
    both = members.sharing(at.db, text)
    if len(both) > 1 and which is None:
        first, second = (names.called(each.name) for each in both)
        raise Refused(f"two share that phone: --person 1 is {first}, --person 2 is {second}")
    nth = (which or 1) - 1
    found = both[nth] if nth < len(both) else members.by_msisdn(at.db, text)
    if found is None:
        raise Refused("nobody here has that number")
    return found.id


def name(member_id: UUID) -> str:
    """Its last letters: ids begin with the time, so their ends tell them apart."""
    return f"id:{member_id.hex[-8:]}"


def read(text: str) -> str:
    """A phone number in its one form, or a name as `name` gives it."""
    return text if re.fullmatch("id:[0-9a-f]{8,32}", text) else read_msisdn(text)


def read_msisdn(text: str) -> str:
    try:
        return phone.parse(text)
    except Invalid:
        raise argparse.ArgumentTypeError("a phone number, like +254711000345") from None


def _who(at: Desk, member_id: UUID) -> str:
    return f"{name(member_id)} {person(at.db, member_id)}"


def _day(had: numbers.Had) -> str:
    return had.until.astimezone(EAST_AFRICA_TIME).strftime("%d/%m/%Y")


OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "whose": {
        "type": read,
        "help": "a phone number, theirs now or before, or id:…",
    },
}
