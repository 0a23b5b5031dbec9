import logging
import random
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from core import members, pins
from core.database import Database, Db
from core.errors import Invalid
from tests.core.people import PIN, RULES, member

SHIPPED = pins._HASHER  # as it is before any test begins


@pytest.fixture(autouse=True)
def _hashed_as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_HASHER", SHIPPED)


@pytest.mark.parametrize("typed", ["2580", "0007", "1998", "2026", " 4821 ", "1212", "1235"])
def test_four_digits_are_a_pin(typed: str) -> None:
    assert pins.parse(typed) == typed.strip()


@pytest.mark.parametrize(
    "typed", ["", "258", "25800", "25 80", "２５８０", "٢٥٨٠", "abcd", "-258", "2580\x00", "2.58"]
)
def test_a_pin_is_four_plain_digits(typed: str) -> None:
    with pytest.raises(Invalid, match="pin_digits"):
        pins.parse(typed)


@pytest.mark.parametrize("typed", ["0000", "9999", "0123", "1234", "6789", "9876", "3210"])
def test_the_first_pins_anybody_would_guess_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match="pin_weak"):
        pins.parse(typed)


def test_the_right_pin_is_right_and_another_wrong(db: Db, now: datetime) -> None:
    amina = member(db, now)
    assert pins.check(db, amina, PIN, RULES, now) == "right"
    assert pins.check(db, amina, "2581", RULES, now) == "wrong"


def test_five_wrong_ones_lock_even_the_right_one_for_30_minutes(db: Db, now: datetime) -> None:
    amina = member(db, now)
    answers = [pins.check(db, amina, "1357", RULES, now) for _ in range(5)]
    assert answers == ["wrong"] * 4 + ["locked"]
    almost = now + timedelta(minutes=30, microseconds=-1)
    assert pins.check(db, amina, PIN, RULES, almost) == "locked"
    assert pins.check(db, amina, PIN, RULES, now + timedelta(minutes=30)) == "right"


def test_guesses_while_locked_do_not_make_it_longer(db: Db, now: datetime) -> None:
    amina = member(db, now)
    for minute in range(8):
        pins.check(db, amina, "1357", RULES, now + timedelta(minutes=minute))
    assert pins.check(db, amina, PIN, RULES, now + timedelta(minutes=34)) == "right"


def test_after_a_lock_has_ended_there_are_five_guesses_again(db: Db, now: datetime) -> None:
    amina = member(db, now)
    for _ in range(5):
        pins.check(db, amina, "1357", RULES, now)
    later = now + timedelta(minutes=31)
    answers = [pins.check(db, amina, "1357", RULES, later) for _ in range(5)]
    assert answers == ["wrong"] * 4 + ["locked"]
    assert pins.check(db, amina, PIN, RULES, later) == "locked"


def test_a_right_pin_forgives_the_wrong_ones_before_it(db: Db, now: datetime) -> None:
    amina = member(db, now)
    for _ in range(3):
        for _ in range(4):
            assert pins.check(db, amina, "1357", RULES, now) == "wrong"
        assert pins.check(db, amina, PIN, RULES, now) == "right"


def test_guesses_at_the_same_instant_are_all_counted(database: Database, now: datetime) -> None:
    with database.begin() as db:
        amina = member(db, now)

    def guess(_: int) -> str:
        with database.begin() as db:
            return pins.check(db, amina, "1357", RULES, now)

    with ThreadPoolExecutor(8) as threads:
        answers = sorted(threads.map(guess, range(8)))
    assert answers == ["locked"] * 4 + ["wrong"] * 4


def test_a_new_pin_replaces_the_old_and_ends_a_lock(db: Db, now: datetime) -> None:
    amina = member(db, now)
    for _ in range(5):
        pins.check(db, amina, "1357", RULES, now)
    pins.set(db, amina, "7531", RULES, now)
    assert pins.check(db, amina, "7531", RULES, now) == "right"
    assert pins.check(db, amina, PIN, RULES, now) == "wrong"


def test_a_hash_copied_to_another_member_opens_nothing(db: Db, now: datetime) -> None:
    amina, baraka = member(db, now, 1), member(db, now, 2)
    db.run(
        """
        UPDATE members SET pin_hash = (SELECT pin_hash FROM members WHERE id = %(of)s)
        WHERE id = %(to)s
        """,
        {"of": amina, "to": baraka},
    )
    assert pins.check(db, baraka, PIN, RULES, now) == "wrong"


def test_without_the_pepper_the_table_alone_proves_no_pin(db: Db, now: datetime) -> None:
    amina = member(db, now)
    other = replace(RULES, pin_pepper=b"another pepper")
    assert pins.check(db, amina, PIN, other, now) == "wrong"
    with pytest.raises(AssertionError, match="no pepper"):
        pins.check(db, amina, PIN, replace(RULES, pin_pepper=b""), now)


def test_a_pin_is_kept_as_argon2id_of_19_mib(db: Db, now: datetime) -> None:
    amina = member(db, now)
    kept = db.value("SELECT pin_hash FROM members WHERE id = %(id)s", {"id": amina})
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PIN not in kept.split("$")


def test_a_locked_pin_costs_an_attacker_the_same_work(
    db: Db, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    amina = member(db, now)
    hashings: list[str] = []
    matches = pins._matches

    def counted(pin_hash: str, peppered: bytes) -> bool:
        hashings.append(pin_hash)
        return matches(pin_hash, peppered)

    monkeypatch.setattr(pins, "_matches", counted)
    answers = [pins.check(db, amina, guess, RULES, now) for guess in (PIN, *["1357"] * 5, PIN)]
    assert answers == ["right", *["wrong"] * 4, "locked", "locked"]
    assert len(hashings) == 7


def test_no_pin_appears_in_a_log_a_repr_or_an_error(
    db: Db, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    amina = member(db, now, pin="8642")
    pins.check(db, amina, "8642", RULES, now)
    pins.check(db, amina, "9753", RULES, now)
    kept = pins._lock(db, amina)
    stranger = db.new_id()
    with pytest.raises(AssertionError) as no_member:
        pins.check(db, stranger, "8642", RULES, now)
    with pytest.raises(Invalid) as weak:
        pins.parse("7777")
    errors = "".join(
        line
        for error in (no_member.value, weak.value)
        for line in (*traceback.format_exception(error), repr(vars(error)))
    )
    said = caplog.text + repr(kept) + repr(members.by_id(db, amina)) + repr(RULES) + errors
    said = said.replace(str(amina), "").replace(str(stranger), "")
    assert "argon2id" not in said
    for pin in ("8642", "9753", "7777"):
        # The sources of a traceback's lines are this file's own: only a bare value is a leak.
        assert pin not in said.replace(f'"{pin}"', "")


def test_pins_nobody_chose_are_wrong(db: Db, now: datetime) -> None:
    amina = member(db, now)
    for guess in random.Random(7042).sample([f"{n:04}" for n in range(10_000)], 4):
        assert pins.check(db, amina, guess, RULES, now) == "wrong"
