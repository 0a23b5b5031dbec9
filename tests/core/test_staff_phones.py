"""`python -m core.staff`: what staff type about members' phone numbers."""

import re
from datetime import datetime
from uuid import UUID

import pytest

from core import members
from core.database import Db
from tests.core.market import person
from tests.core.office import Terminal
from tests.core.people import member, place
from tests.core.test_number_changes import carry_out, join

WHY = "--reason 'She showed her identity card; the SIM is lost.'"


class Counter(Terminal):
    """The terminal to which Wanjiku came, who has +254711000009."""

    def __init__(self, db: Db, now: datetime) -> None:
        super().__init__(db, now)
        self.wanjiku = person(db, now, 9, "Wanjiku Fresh")

    def is_frozen(self, member_id: UUID) -> bool:
        """By staff; who has no number is so any way."""
        return bool(
            self.db.value(
                "SELECT EXISTS (SELECT FROM freezes WHERE member_id = %s AND lifted_at IS NULL)",
                [member_id],
            )
        )


@pytest.fixture
def desk(db: Db, now: datetime) -> Counter:
    return Counter(db, now)


def test_a_new_number_is_proposed_read_and_approved_by_another(desk: Counter) -> None:
    assert desk.ok("numbers") == "Nobody waits for a number."
    said = desk.ok(f"propose-number 0711000009 0722000050 {WHY} --by olive")
    assert "a second person must approve it" in said
    shown = desk.ok("numbers")
    for part in ("Wanjiku Fresh", "+2547•••009", "+2547•••050", "to approve", "identity card"):
        assert part in shown
    assert "711000009" not in shown
    assert "your role" in desk.refused("approve-number +254711000009 --by olive")
    assert "within seconds" in desk.ok("approve-number +254711000009 --by peter")
    assert "on its way" in desk.ok("numbers")
    assert carry_out(desk.db, desk.now) == "done"
    assert desk.ok("numbers") == "Nobody waits for a number."
    acts = desk.ok(f"audit --of 'member {desk.wanjiku}'")
    assert "number ..009 > ..050" in acts
    assert members.by_msisdn(desk.db, "+254722000050") is not None


def test_a_retired_number_leaves_a_member_who_is_named_by_the_id(desk: Counter) -> None:
    desk.ok(f"retire-number +254711000009 {WHY} --by olive")
    desk.ok("approve-number +254711000009 --by peter")
    assert carry_out(desk.db, desk.now) == "done"
    (name,) = re.findall(r"^(id:[0-9a-f]{8})  Wanjiku Fresh  no number", desk.ok("numbers"), re.M)
    assert "nobody here" in desk.refused(f"retire-number +254711000009 {WHY} --by olive")
    assert "how it is already" in desk.refused(f"retire-number {name} {WHY} --by olive")
    desk.ok(f"propose-number {name} 0722000050 {WHY} --by olive")
    desk.ok(f"approve-number {name} --by peter")
    assert carry_out(desk.db, desk.now) == "done"
    assert members.by_msisdn(desk.db, "+254722000050") is not None


def test_what_was_proposed_is_declined_with_a_reason(desk: Counter) -> None:
    desk.ok(f"propose-number 0711000009 0722000050 {WHY} --by olive")
    assert desk.ok(f"decline-number 0711000009 {WHY} --by peter") == "declined; nothing is changed"
    assert "no decision" in desk.refused("approve-number 0711000009 --by peter")


def test_of_two_who_share_a_phone_one_is_named(desk: Counter) -> None:
    owner = member(desk.db, desk.now, 12, "Amina Wanjiru")
    join(desk.db, owner, desk.now)
    said = desk.refused(f"propose-number 0711000012 0722000050 {WHY} --by olive")
    assert said == "Refused: two share that phone: --person 1 is Amina, --person 2 is Juma"
    desk.ok(f"propose-number 0711000012 0722000050 --person 2 {WHY} --by olive")
    assert "Juma" in desk.ok("numbers")


LOST = "--reason 'Her phone was stolen.' --by olive"


def move(desk: Counter, to: str | None = "0722000050") -> None:
    """Wanjiku has another number from now on, or none."""
    line = f"propose-number 0711000009 {to}" if to else "retire-number 0711000009"
    desk.ok(f"{line} {WHY} --by olive")
    desk.ok("approve-number 0711000009 --by peter")
    assert carry_out(desk.db, desk.now) == "done"


def newcomer(desk: Counter) -> UUID:
    """A stranger to whom the network gave Wanjiku's first number."""
    village = place(desk.db, desk.now, "Kawangware")
    return member(desk.db, desk.now, 9, "Zawadi", place_id=village)


@pytest.mark.parametrize("to", ["0722000050", None])
def test_who_has_another_number_or_none_is_found_by_the_old_one(
    desk: Counter, to: str | None
) -> None:
    move(desk, to)
    ending = "+2547•••050" if to else "no number"
    how = f"Wanjiku Fresh  {ending}, by a number they had until 21/11/2026"
    assert desk.ok("trace 0711000009").splitlines()[0] == how
    said = desk.ok(f"freeze 0711000009 {LOST}")
    assert said == f"frozen: no money leaves ({how})"
    assert desk.is_frozen(desk.wanjiku)
    assert desk.refused(f"freeze 0711000009 {LOST}").endswith(f"frozen already ({how})")
    assert how in desk.ok("unfreeze 0711000009 --by peter")
    assert "not frozen" in desk.refused("unfreeze 0711000009 --by peter")


def test_whoever_has_the_number_now_is_not_taken_for_whoever_had_it(desk: Counter) -> None:
    move(desk)
    zawadi = newcomer(desk)
    lines = ("trace 0711000009", f"freeze 0711000009 {LOST}", "unfreeze 0711000009 --by peter")
    for line in lines:
        said = desk.refused(line)
        assert "Zawadi  +2547•••009 has it; " in said
        assert "Wanjiku Fresh  +2547•••050 had it until 21/11/2026" in said
    now_hers, once_hers = re.findall("id:[0-9a-f]{8}", said)
    assert desk.ok(f"trace {now_hers}").startswith("Zawadi  +2547•••009")
    desk.ok(f"freeze {once_hers} {LOST}")
    assert (desk.is_frozen(zawadi), desk.is_frozen(desk.wanjiku)) == (False, True)
    assert "Wanjiku" in desk.ok(f"unfreeze {once_hers} --by peter")
    assert not desk.is_frozen(desk.wanjiku)


def test_a_number_that_came_back_is_its_owners_alone(desk: Counter) -> None:
    move(desk)
    desk.ok(f"propose-number 0722000050 0711000009 {WHY} --by olive")
    desk.ok("approve-number 0722000050 --by peter")
    assert carry_out(desk.db, desk.now) == "done"
    assert desk.ok(f"freeze 0711000009 {LOST}") == "frozen: no money leaves"


def test_a_number_that_two_had_one_after_the_other_is_neithers_to_freeze(desk: Counter) -> None:
    move(desk)
    zawadi = newcomer(desk)
    move(desk, "0722000051")
    said = desk.refused(f"freeze 0711000009 {LOST}")
    assert said.count("had it until") == 2
    assert not desk.is_frozen(zawadi)


def test_who_has_left_is_not_found_by_a_number(desk: Counter) -> None:
    move(desk, None)
    members.close(desk.db, desk.wanjiku, desk.now)
    assert "nobody here has that number" in desk.refused("trace 0711000009")


def test_both_of_a_shared_phone_are_traced(desk: Counter) -> None:
    owner = member(desk.db, desk.now, 12, "Amina Wanjiru")
    join(desk.db, owner, desk.now)
    said = desk.ok("trace 0711000012")
    assert ("Amina Wanjiru" in said, "Juma" in said) == (True, True)


def test_a_name_that_no_member_has_is_refused(desk: Counter) -> None:
    assert "no member of that name" in desk.refused("trace id:00000000")
    assert "no member of that name" in desk.refused(f"freeze id:00000000 {LOST}")
    assert "no order, receipt" in desk.refused("trace id:0")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"propose-number 0711000009 0711000009 {WHY} --by olive", "how it is already"),
        (f"propose-number 0711000009 0202222222 {WHY} --by olive", "Kenyan mobile"),
        (f"propose-number 0711000009 +447911123456 {WHY} --by olive", "Kenyan mobile"),
        (f"propose-number 0711000001 0722000050 {WHY} --by olive", "nobody here has that number"),
        (f"propose-number id:00000000 0722000050 {WHY} --by olive", "no member of that name"),
        (f"propose-number 0711000009 0722000050 {WHY} --by peter", "role"),
        (f"propose-number 0711000009 0722000050 {WHY} --by nobody", "nobody of that name"),
        ("propose-number 0711000009 0722000050 --reason lost --by olive", "too short"),
        ("approve-number 0711000009 --by peter", "no decision"),
        (f"decline-number 0711000009 {WHY} --by peter", "no decision"),
    ],
)
def test_what_is_refused_is_said_in_one_line(desk: Counter, line: str, why: str) -> None:
    assert why in desk.refused(line)
    assert desk.ok("numbers") == "Nobody waits for a number."


@pytest.mark.parametrize(
    "line",
    [
        f"propose-number 0711000009 tomorrow {WHY} --by olive",
        f"propose-number 0711000009 '' {WHY} --by olive",
        f"propose-number wanjiku 0722000050 {WHY} --by olive",
        f"propose-number 0711000009 0722000050 --person 3 {WHY} --by olive",
        f"propose-number 0711000009 {WHY} --by olive",
        "retire-number 0711000009 --by olive",
    ],
)
def test_what_is_no_command_ends_with_2(desk: Counter, line: str) -> None:
    with pytest.raises(SystemExit) as ended:
        desk.type(line)
    assert ended.value.code == 2
