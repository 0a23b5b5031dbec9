"""Cases: who asks to be called gets a number at once, and is not called twice for it."""

from datetime import datetime

import pytest

from core import cases, incidents
from core.cases import ABOUT, Said
from core.database import Db
from tests.core.people import member


def test_a_case_has_a_number_and_the_conversation(db: Db, now: datetime) -> None:
    amina = member(db, now)
    said = Said(now, "ussd", "buy.confirm", "Pay KSh 900?\n1 Pay")
    assert cases.open(db, amina, "payment", [said], now) == "opened"
    case = cases.open_of(db, amina)
    assert case is not None
    assert (case.about, case.state, case.opened_at) == ("payment", "open", now)
    assert case.conversation == [
        {
            "at": now.isoformat(),
            "channel": "ussd",
            "label": "buy.confirm",
            "screen": "Pay KSh 900?\n1 Pay",
        }
    ]


def test_who_waits_already_keeps_the_number(db: Db, now: datetime) -> None:
    amina = member(db, now)
    assert cases.open(db, amina, "order", [], now) == "opened"
    first = cases.open_of(db, amina)
    assert cases.open(db, amina, "other", [], now) == "already_open"
    assert cases.open_of(db, amina) == first


def test_whose_case_is_closed_may_ask_again(db: Db, now: datetime) -> None:
    amina = member(db, now)
    cases.open(db, amina, "order", [], now)
    first = cases.open_of(db, amina)
    assert first is not None
    db.run("UPDATE cases SET state = 'closed', closed_at = %s", [now])
    assert cases.open_of(db, amina) is None
    assert cases.open(db, amina, "order", [], now) == "opened"
    second = cases.open_of(db, amina)
    assert second is not None
    assert second.number > first.number


def test_operators_hear_of_it_and_the_member_has_the_number_on_her_phone(
    db: Db, now: datetime
) -> None:
    amina = member(db, now)
    for _ in range(2):
        cases.open(db, amina, "account", [], now)
    case = cases.open_of(db, amina)
    assert case is not None
    incident = incidents.find_open(db, "call_me", amina)
    assert incident is not None
    assert incident.detail == {"case": case.number, "about": "account"}
    told = db.value("SELECT json_agg(text) FROM messages WHERE trigger = 'case_opened'")
    assert len(told) == 1
    assert f"Case {case.number}" in told[0]


@pytest.mark.parametrize("about", ABOUT)
def test_it_may_be_about_any_of_these(db: Db, now: datetime, about: cases.About) -> None:
    assert cases.open(db, member(db, now), about, [], now) == "opened"
