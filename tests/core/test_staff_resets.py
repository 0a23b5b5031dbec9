"""`python -m core.staff`: what staff type for a member who forgot the PIN."""

import re

import pytest

from core import pin_resets
from tests.core.office import hire
from tests.core.people import RULES as PIN_RULES
from tests.core.people import member
from tests.core.test_number_changes import join
from tests.core.test_staff_phones import Counter, desk

__all__ = ["desk"]

HERS = "0711000009"
WHY = "--reason 'She told us her last three orders.'"


def test_a_new_pin_is_proposed_read_and_allowed_by_another(desk: Counter) -> None:
    assert desk.ok("pin-resets") == "Nobody waits for a PIN."
    assert "a second person" in desk.ok(f"propose-pin-reset {HERS} {WHY} --by olive")
    shown = desk.ok("pin-resets")
    for part in ("Wanjiku Fresh", "+2547•••009", "to approve", "last three orders"):
        assert part in shown
    assert HERS[1:] not in shown
    assert "your role" in desk.refused(f"approve-pin-reset {HERS} --by olive")
    assert "an SMS says how" in desk.ok(f"approve-pin-reset {HERS} --by peter")
    assert "open until 22/11/2026" in desk.ok("pin-resets")
    done = pin_resets.use(desk.db, desk.wanjiku, "7391", PIN_RULES, desk.now)
    assert done == "changed"
    assert desk.ok("pin-resets") == "Nobody waits for a PIN."
    acts = desk.ok(f"audit --of 'member {desk.wanjiku}'")
    assert {"pin_reset_proposed", "pin_reset_approved", "pin_reset_used"} <= set(acts.split())


def test_what_was_allowed_is_taken_back_by_the_name_that_the_list_shows(desk: Counter) -> None:
    desk.ok(f"propose-pin-reset {HERS} {WHY} --by olive")
    desk.ok(f"approve-pin-reset {HERS} --by peter")
    (name,) = re.findall(r"^id:[0-9a-f]{8}", desk.ok("pin-resets"), re.M)
    said = desk.ok(f"decline-pin-reset {name} {WHY} --by peter")
    assert said == "declined; the PIN stays as it is"
    assert "no decision" in desk.refused(f"approve-pin-reset {HERS} --by peter")


def test_a_hand_in_ones_own_pin_is_an_incident_that_says_what_to_do(desk: Counter) -> None:
    hire(desk.db, "wanjiku", ["operator"], "+254711000009")
    assert "a party" in desk.refused(f"propose-pin-reset {HERS} {WHY} --by wanjiku")
    shown = desk.ok("incidents")
    assert "pin_reset_own" in shown
    assert "speak with whoever it was" in shown


def test_of_a_shared_phone_it_says_what_to_do_first(desk: Counter) -> None:
    owner = member(desk.db, desk.now, 12, "Amina Wanjiru")
    join(desk.db, owner, desk.now)
    said = desk.refused(f"propose-pin-reset 0711000012 {WHY} --by olive")
    assert "propose-number --person" in said
    assert desk.ok("pin-resets") == "Nobody waits for a PIN."


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"propose-pin-reset 0711000001 {WHY} --by olive", "nobody here has that number"),
        (f"propose-pin-reset id:00000000 {WHY} --by olive", "no member of that name"),
        (f"propose-pin-reset {HERS} {WHY} --by peter", "role"),
        (f"propose-pin-reset {HERS} {WHY} --by nobody", "nobody of that name"),
        (f"propose-pin-reset {HERS} --reason lost --by olive", "too short"),
        (f"approve-pin-reset {HERS} --by peter", "no decision"),
        (f"decline-pin-reset {HERS} {WHY} --by peter", "no decision"),
    ],
)
def test_what_is_refused_is_said_in_one_line(desk: Counter, line: str, why: str) -> None:
    assert why in desk.refused(line)
    assert desk.ok("pin-resets") == "Nobody waits for a PIN."


@pytest.mark.parametrize(
    "line",
    [
        f"propose-pin-reset wanjiku {WHY} --by olive",
        f"propose-pin-reset {HERS} --by olive",
        f"approve-pin-reset {HERS}",
        f"propose-pin-reset {HERS} 7391 {WHY} --by olive",
    ],
)
@pytest.mark.usefixtures("capsys")
def test_what_is_no_command_ends_with_2(desk: Counter, line: str) -> None:
    with pytest.raises(SystemExit) as ended:
        desk.type(line)
    assert ended.value.code == 2
