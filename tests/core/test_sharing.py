"""A shared phone: two people, two PINs, and neither learns or locks more than they must."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from core import ledger, members, pins
from core.database import Database, Db
from tests.core.people import PIN, RULES, member

PHONE = "+254711000001"
JUMAS_PIN = "7391"
NOBODYS_PIN = "1470"


def share(db: Db, now: datetime, owner: UUID, pin: str = JUMAS_PIN, name: str = "Juma") -> str:
    return members.share(
        db,
        owner,
        name=name,
        language="sw",
        consent_version="1",
        consent_wording="Nakubali.",
        pin=pin,
        rules=RULES,
        now=now,
    )


@pytest.fixture
def amina(db: Db, now: datetime) -> UUID:
    return member(db, now)


@pytest.fixture
def juma(db: Db, now: datetime, amina: UUID) -> UUID:
    assert share(db, now, amina) == "joined"
    first, second = members.sharing(db, PHONE)
    assert first.id == amina
    return second.id


def whose(db: Db, pin: str, now: datetime) -> UUID | str:
    return pins.whose(db, PHONE, pin, RULES, now)


def test_the_second_person_is_a_member_like_any_other(db: Db, amina: UUID, juma: UUID) -> None:
    owner, found = members.by_id(db, amina), members.by_id(db, juma)
    assert owner is not None
    assert found is not None
    assert (found.name, found.language, found.msisdn) == ("Juma", "sw", PHONE)
    assert found.place_id == owner.place_id
    assert not found.is_seller
    wording = db.value("SELECT wording FROM consents WHERE member_id = %s", [juma])
    assert wording == "Nakubali."


def test_the_number_alone_says_nothing_of_who_speaks(db: Db, juma: UUID) -> None:
    assert members.by_msisdn(db, PHONE) is None


def test_a_phone_of_one_is_shared_with_nobody(db: Db, amina: UUID) -> None:
    assert members.sharing(db, PHONE) == []
    found = members.by_msisdn(db, PHONE)
    assert found is not None
    assert found.id == amina


def test_there_is_no_third(db: Db, now: datetime, amina: UUID, juma: UUID) -> None:
    for owner in (amina, juma):
        assert share(db, now, owner, pin="8642", name="Njeri") == "full"
    assert [person.name for person in members.sharing(db, PHONE)] == ["Amina", "Juma"]


def test_nobody_registers_a_shared_phone_anew(db: Db, now: datetime, juma: UUID) -> None:
    outcome = members.register(
        db,
        msisdn=PHONE,
        name="Njeri",
        place_id=members.sharing(db, PHONE)[0].place_id,
        language="en",
        consent_version="1",
        consent_wording="I agree.",
        pin=NOBODYS_PIN,
        rules=RULES,
        now=now,
    )
    assert outcome == "already_registered"


# --- the PINs -------------------------------------------------------------------------------------


def test_the_pin_says_who_it_is(db: Db, now: datetime, amina: UUID, juma: UUID) -> None:
    assert whose(db, PIN, now) == amina
    assert whose(db, JUMAS_PIN, now) == juma
    assert whose(db, NOBODYS_PIN, now) == "wrong"


def test_a_pin_of_neither_is_a_wrong_guess_at_both(
    db: Db, now: datetime, amina: UUID, juma: UUID
) -> None:
    assert whose(db, PIN, now) == amina
    guesses = [whose(db, NOBODYS_PIN, now) for _ in range(5)]
    assert guesses == [*["wrong"] * 4, "locked"]
    for pin in (PIN, JUMAS_PIN):
        assert whose(db, pin, now) == "locked"
        assert whose(db, pin, now + timedelta(minutes=30)) in (amina, juma)


def test_ones_own_pin_forgives_no_guesses_at_the_others(
    db: Db, now: datetime, amina: UUID, juma: UUID
) -> None:
    """Else either could guess four times, type an own PIN, and guess on for ever."""
    assert whose(db, PIN, now) == amina
    for _ in range(4):
        assert whose(db, NOBODYS_PIN, now) == "wrong"
    assert whose(db, PIN, now) == amina
    assert whose(db, NOBODYS_PIN, now) == "wrong"
    assert whose(db, JUMAS_PIN, now) == "locked"
    assert whose(db, PIN, now) == amina


def test_who_is_locked_does_not_keep_the_other_out(
    db: Db, now: datetime, amina: UUID, juma: UUID
) -> None:
    for _ in range(5):
        pins.check(db, juma, NOBODYS_PIN, RULES, now)
    assert whose(db, JUMAS_PIN, now) == "locked"
    assert whose(db, PIN, now) == amina


def test_each_of_them_is_told_when_a_pin_is_locked(db: Db, now: datetime, juma: UUID) -> None:
    for _ in range(5):
        whose(db, NOBODYS_PIN, now)
    told = db.value("SELECT count(DISTINCT member_id) FROM messages WHERE trigger = 'pin_locked'")
    assert told == 2


def test_the_second_cannot_take_the_first_ones_pin(db: Db, now: datetime, amina: UUID) -> None:
    assert share(db, now, amina, pin=PIN) == "taken"
    found = members.by_msisdn(db, PHONE)
    assert found is not None
    assert found.id == amina
    assert share(db, now, amina) == "joined"


def test_a_pin_is_not_changed_to_the_others(db: Db, now: datetime, amina: UUID, juma: UUID) -> None:
    assert pins.set(db, juma, PIN, RULES, now) == "taken"
    assert pins.check(db, juma, JUMAS_PIN, RULES, now) == "right"
    assert pins.set(db, juma, "8642", RULES, now) == "changed"
    assert whose(db, "8642", now) == juma


def test_nobody_finds_the_others_pin_by_changing_an_own_one(
    db: Db, now: datetime, amina: UUID, juma: UUID
) -> None:
    assert whose(db, PIN, now) == amina
    tried = ["8642", "9753", "1470", PIN, "2587", "3698"]
    outcomes = [pins.set(db, juma, pin, RULES, now) for pin in tried]
    assert outcomes == ["changed", "changed", "changed", "taken", "locked", "locked"]
    # Not even the right one is told apart now.
    assert pins.set(db, juma, PIN, RULES, now) == "locked"


def test_a_phone_of_one_changes_its_pin_as_ever(db: Db, now: datetime, amina: UUID) -> None:
    assert [pins.set(db, amina, pin, RULES, now) for pin in (PIN, "8642")] == ["changed"] * 2


def test_who_leaves_the_phone_is_nobody_here_and_the_other_is_still_asked(
    db: Db, now: datetime, amina: UUID, juma: UUID
) -> None:
    assert members.leave(db, juma, now) == "left"
    assert members.by_id(db, juma) is None
    assert members.by_msisdn(db, PHONE) is None  # the phone itself shows nothing of hers
    assert whose(db, JUMAS_PIN, now) == "wrong"
    assert whose(db, PIN, now) == amina


@pytest.mark.parametrize("leaver", [0, 1])
def test_a_place_on_the_phone_is_taken_again(
    db: Db, now: datetime, amina: UUID, juma: UUID, leaver: int
) -> None:
    gone, stays = (amina, juma) if leaver == 0 else (juma, amina)
    assert members.leave(db, gone, now) == "left"
    assert share(db, now, stays, pin="8642") == "joined"
    assert len(members.sharing(db, PHONE)) == 2
    assert share(db, now, stays, pin="9753") == "full"


def test_nobody_leaves_money_behind(db: Db, now: datetime, amina: UUID, juma: UUID) -> None:
    legs = [ledger.debit(ledger.C2B, 100), ledger.credit(ledger.seller(juma), 100)]
    ledger.post(db, "test", "test:juma", legs, now)
    assert members.leave(db, juma, now) == "has_something"
    assert whose(db, JUMAS_PIN, now) == juma


def test_two_people_at_once_make_room_for_one(database: Database, now: datetime) -> None:
    with database.begin() as db:
        amina = member(db, now)

    def join(pin: str) -> str:
        with database.begin() as db:
            return share(db, now, amina, pin=pin)

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(join, ["7391", "8642"]))
    assert sorted(outcomes) == ["full", "joined"]
    with database.begin() as db:
        assert len(members.sharing(db, PHONE)) == 2
