"""Staff: an admin says who they are, the first one says it herself, and one is always left."""

from datetime import datetime
from typing import Any

import pytest
from psycopg.errors import CheckViolation, IntegrityConstraintViolation

from core import audit, staff
from core.database import Db
from core.staff import Actor
from tests.core.office import ORIGIN, hire
from tests.core.transactions import attempt


def add(db: Db, name: str, roles: Any, by: Actor | None, now: datetime, phone: Any = None) -> str:
    return staff.add(db, name, roles, phone, by, ORIGIN, now)


def test_the_first_of_all_is_an_admin_and_names_the_others(db: Db, now: datetime) -> None:
    assert add(db, "grace", ["operator"], None, now) == "not_admin"
    assert add(db, "grace", ["operator", "admin"], None, now) == "added"
    assert add(db, "mallory", ["admin"], None, now) == "not_admin"
    grace = staff.find(db, "grace")
    assert grace is not None
    assert add(db, "olive", ["operator"], Actor(grace, ORIGIN), now) == "added"
    first, _olive = audit.newest(db, 10)[::-1]
    assert (first.who, first.subject) == ("grace", "staff grace")


def test_an_admin_adds_and_changes_people(db: Db, now: datetime) -> None:
    chief = hire(db, "chief")
    assert add(db, "olive", ["approver", "operator"], chief, now, "+254711000001") == "added"
    assert add(db, "olive", ["operator"], chief, now) == "changed"
    found = staff.find(db, "olive")
    assert found is not None
    assert (found.roles, found.msisdn, found.active) == (["operator"], "+254711000001", True)
    assert [one.name for one in staff.everybody(db)] == ["chief", "olive"]


@pytest.mark.parametrize("roles", [["operator"], ["approver"], ["operator", "approver"]])
def test_nobody_else_adds_or_retires_people(db: Db, now: datetime, roles: Any) -> None:
    olive = hire(db, "olive", roles)
    assert add(db, "friend", ["admin"], olive, now) == "not_admin"
    assert staff.retire(db, "chief", olive, now) == "not_admin"
    assert staff.find(db, "friend") is None


@pytest.mark.parametrize(
    "name", ["system", "automatic", "", "O", "Olive", "ol ive", "1st", "x" * 31]
)
def test_a_name_is_one_to_sign_with(db: Db, now: datetime, name: str) -> None:
    assert add(db, name, ["operator"], hire(db, "chief"), now) == "no_name"


def test_nobody_is_without_a_role(db: Db, now: datetime) -> None:
    assert add(db, "olive", [], hire(db, "chief"), now) == "no_roles"


def test_who_leaves_may_do_nothing_and_may_come_back(db: Db, now: datetime) -> None:
    chief = hire(db, "chief")
    hire(db, "olive")
    assert staff.retire(db, "olive", chief, now) == "retired"
    assert staff.retire(db, "olive", chief, now) == "not_there"
    found = staff.find(db, "olive")
    assert found is not None
    assert not found.has("operator")
    assert add(db, "olive", ["operator"], chief, now) == "changed"
    found = staff.find(db, "olive")
    assert found is not None
    assert found.has("operator")


def test_the_last_admin_stays_one(db: Db, now: datetime) -> None:
    chief = hire(db, "chief")
    assert staff.retire(db, "chief", chief, now) == "last_admin"
    assert add(db, "chief", ["operator"], chief, now) == "last_admin"
    hire(db, "grace", ["admin"])
    assert staff.retire(db, "chief", chief, now) == "retired"
    assert add(db, "chief", ["admin"], chief, now) == "not_admin"


def test_every_change_is_on_the_record_without_a_number(db: Db, now: datetime) -> None:
    chief = hire(db, "chief")
    add(db, "olive", ["operator"], chief, now, "+254711000001")
    staff.retire(db, "olive", chief, now)
    added, retired = audit.of(db, "staff olive")
    assert (added.who, added.origin, added.what, added.at) == ("chief", ORIGIN, "staff_added", now)
    assert (added.before, added.after["roles"]) == ({}, ["operator"])
    assert (retired.before["active"], retired.after) == (True, {"active": False})
    assert "254711" not in str([added, retired])
    assert [act.what for act in audit.newest(db, 2)] == ["staff_retired", "staff_added"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_log SET who = 'somebody else'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
def test_the_database_refuses_to_change_the_record(db: Db, change: Any) -> None:
    hire(db, "olive")
    before = audit.newest(db, 10)
    assert attempt(db, lambda: db.run(change)) is IntegrityConstraintViolation
    assert audit.newest(db, 10) == before


@pytest.mark.parametrize(
    "change",
    ["SET roles = '{king}'", "SET roles = '{}'", "SET name = 'system'", "SET msisdn = '0711'"],
)
def test_the_database_refuses_roles_and_names_that_are_none(db: Db, change: Any) -> None:
    hire(db, "chief")
    assert attempt(db, lambda: db.run("UPDATE staff " + change)) is CheckViolation
