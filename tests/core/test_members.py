from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import members, pins
from core.database import Database, Db
from core.errors import Invalid
from tests.core.people import PIN, RULES, member, place


def register(db: Db, now: datetime, **other: object) -> str:
    given = {
        "msisdn": "+254711000001",
        "name": "Amina",
        "language": "sw",
        "consent_version": "2026-11",
        "consent_wording": "Nakubali Sokoni ihifadhi jina langu.",
        "pin": PIN,
        **other,
    }
    return members.register(db, rules=RULES, now=now, **given)  # type: ignore[arg-type]


def test_who_registers_is_known_by_the_number(db: Db, now: datetime) -> None:
    here = place(db, now)
    assert register(db, now, place_id=here) == "registered"
    found = members.by_msisdn(db, "+254711000001")
    assert found is not None
    assert found == members.by_id(db, found.id)
    assert (found.name, found.language, found.place_id) == ("Amina", "sw", here)
    assert not found.is_seller
    assert pins.check(db, found.id, PIN, RULES, now) == "right"


def test_nobody_is_known_by_a_strange_number_or_id(db: Db) -> None:
    assert members.by_msisdn(db, "+254711000001") is None
    assert members.by_id(db, db.new_id()) is None


def test_the_words_agreed_to_are_kept_as_they_were_shown(db: Db, now: datetime) -> None:
    register(db, now, place_id=place(db, now))
    agreed = db.value(
        """
        SELECT array[c.version, c.language, c.wording] || c.created_at::text
        FROM consents c JOIN members m ON m.id = c.member_id
        WHERE m.consent_version = c.version AND m.consent_at = c.created_at
        """
    )
    assert agreed[:3] == ["2026-11", "sw", "Nakubali Sokoni ihifadhi jina langu."]


def test_registering_again_changes_nothing(db: Db, now: datetime) -> None:
    here = place(db, now)
    register(db, now, place_id=here)
    before = members.by_msisdn(db, "+254711000001")
    again = register(db, now, place_id=here, name="Somebody else", pin="1357", language="en")
    assert again == "already_registered"
    assert members.by_msisdn(db, "+254711000001") == before
    assert before is not None
    assert pins.check(db, before.id, PIN, RULES, now) == "right"
    assert db.value("SELECT count(*) FROM consents") == 1


def test_of_two_who_register_a_number_at_once_one_does(database: Database, now: datetime) -> None:
    with database.begin() as db:
        here = place(db, now)

    def answer(_: int) -> str:
        with database.begin() as db:
            return register(db, now, place_id=here)

    with ThreadPoolExecutor(4) as threads:
        answers = sorted(threads.map(answer, range(4)))
    assert answers == ["already_registered"] * 3 + ["registered"]


def test_a_number_can_be_registered_by_its_next_owner(db: Db, now: datetime) -> None:
    before = member(db, now)
    db.run("UPDATE members SET deleted_at = %(now)s", {"now": now})
    assert members.by_msisdn(db, "+254711000001") is None
    assert members.by_id(db, before) is None
    assert register(db, now, place_id=place(db, now)) == "registered"


def test_what_a_member_changes_is_changed_for_that_member_only(db: Db, now: datetime) -> None:
    amina, baraka = member(db, now, 1), member(db, now, 2, "Baraka")
    others = members.by_id(db, baraka)
    there = place(db, now, "Kongowea Market")
    later = now + timedelta(days=1)
    members.rename(db, amina, "Amina wa Wambui", later)
    members.set_language(db, amina, "sw", later)
    members.move(db, amina, there, later)
    members.make_seller(db, amina, later)
    changed = members.by_id(db, amina)
    assert changed is not None
    assert (changed.name, changed.language, changed.place_id, changed.is_seller) == (
        "Amina wa Wambui",
        "sw",
        there,
        True,
    )
    assert members.by_id(db, baraka) == others
    touched = "SELECT updated_at FROM members WHERE id = %(id)s"
    assert db.value(touched, {"id": amina}) == later
    assert db.value(touched, {"id": baraka}) == now


@pytest.mark.parametrize(
    "msisdn", ["0711000001", "254711000001", "+0711000001", "+25471100000a", "", "+254711000001\n"]
)
def test_the_database_refuses_a_number_that_is_not_e164(db: Db, now: datetime, msisdn: str) -> None:
    here = place(db, now)
    with pytest.raises(psycopg.errors.CheckViolation):
        register(db, now, place_id=here, msisdn=msisdn)


def test_neither_number_nor_name_shows_in_a_repr(db: Db, now: datetime) -> None:
    shown = repr(members.by_id(db, member(db, now)))
    assert "254711000001" not in shown
    assert "Amina" not in shown


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Amina", "Amina"),
        ("  mama   mboga \t", "mama mboga"),
        ("Ng\u2019ang'a", "Ng'ang'a"),
        ("J. O. Odhiambo-Were", "J. O. Odhiambo-Were"),
        ("Wanjikũ", "Wanjikũ"),
        ("Wanjiku\u0303", "Wanjikũ"),
        ("አበበ", "አበበ"),
        ("फ़ातिमा", "फ़ातिमा"),
        ("محمد", "محمد"),
        ("Al", "Al"),
        ("a" * 40, "a" * 40),
    ],
)
def test_a_name_is_taken_in_any_script(typed: str, name: str) -> None:
    assert members.parse_name(typed) == name


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "A",
        "1",
        "Amina 2",
        "0712345678",
        "a" * 41,
        "a" * 10_000,
        "--",
        ".Amina",
        "A-",
        "<b>Amina</b>",
        "Amina; DROP TABLE members",
        "Amina\x00",
        "Amina\ud800",
        "Ami\u202ena",
        "Amina 😀",
        "A\u0301\u0301\u0301",
    ],
)
def test_what_is_no_name_is_refused(typed: str) -> None:
    with pytest.raises(Invalid, match="name"):
        members.parse_name(typed)


@given(st.text(max_size=45))
def test_every_name_taken_is_taken_again_unchanged(typed: str) -> None:
    try:
        name = members.parse_name(typed)
    except Invalid:
        return
    assert members.parse_name(name) == name
    assert 2 <= len(name) <= 40
