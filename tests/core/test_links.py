"""A chat comes to speak for a phone: by a token, once and soon, or by a contact."""

from datetime import datetime, timedelta

from core import links, reach
from core.database import Database, Db
from tests.core.people import RULES

PHONE = "+254711000001"
OTHER = "+254711000002"


def token(db: Db, now: datetime, msisdn: str = PHONE) -> str:
    links.make(db, msisdn, RULES, now)
    made = links.token_of(db, msisdn, RULES, now)
    assert made is not None
    return made


def test_a_token_is_short_and_has_no_letter_that_looks_like_another(db: Db, now: datetime) -> None:
    made = token(db, now)
    assert len(made) == links.TOKEN_LETTERS
    assert set(made) <= set(links.ALPHABET)
    assert not set("01IO") & set(links.ALPHABET)
    assert 256 % len(links.ALPHABET) == 0  # or some letters would come more often


def test_the_database_does_not_hold_the_token(db: Db, now: datetime) -> None:
    made = token(db, now)
    assert made not in str(db.value("SELECT json_agg(links)::text FROM links"))
    links.make(db, OTHER, RULES, now)
    assert links.token_of(db, OTHER, RULES, now) != made


def test_a_token_shown_in_time_is_used_once(db: Db, now: datetime) -> None:
    shown = links.show(db, token(db, now), "77", RULES, now)
    assert shown is not None
    assert shown.msisdn == PHONE
    assert links.use(db, shown.id, now) == links.Used("77", PHONE)
    assert links.use(db, shown.id, now) is None
    assert links.token_of(db, PHONE, RULES, now) is None


def test_a_token_is_the_first_chats_that_shows_it(db: Db, now: datetime) -> None:
    made = token(db, now)
    assert links.show(db, made, "77", RULES, now) is not None
    assert links.show(db, made, "78", RULES, now) is None
    assert links.show(db, made, "77", RULES, now) is not None


def test_a_token_ends_after_its_time_shown_or_not(db: Db, now: datetime) -> None:
    made, late = token(db, now), now + links.GOOD_FOR
    shown = links.show(db, made, "77", RULES, now)
    assert shown is not None
    assert links.use(db, shown.id, late) is None
    assert links.show(db, made, "77", RULES, late) is None
    assert links.token_of(db, PHONE, RULES, late) is None


def test_a_phone_has_one_token_at_a_time(db: Db, now: datetime) -> None:
    old, new = token(db, now), token(db, now)
    assert links.show(db, old, "77", RULES, now) is None
    assert links.show(db, new, "77", RULES, now) is not None


def test_nothing_else_is_a_token(db: Db, now: datetime) -> None:
    made = token(db, now)
    for given in ("", made[:-1], made + "2", "\ud800", "' OR true --"):
        assert links.show(db, given, "77", RULES, now) is None


def test_a_token_nobody_showed_cannot_be_used(db: Db, now: datetime) -> None:
    token(db, now)
    assert links.use(db, db.value("SELECT id FROM links"), now) is None


def test_a_shared_contact_is_as_good_and_as_short_lived(db: Db, now: datetime) -> None:
    link_id = links.prove(db, PHONE, "77", now)
    assert links.token_of(db, PHONE, RULES, now) is None
    assert links.use(db, link_id, now + links.GOOD_FOR) is None
    assert links.use(db, link_id, now) == links.Used("77", PHONE)


def test_links_that_are_over_are_forgotten(db: Db, now: datetime) -> None:
    token(db, now)
    assert links.tidy(db, now) == 0
    assert links.tidy(db, now + links.GOOD_FOR + timedelta(seconds=1)) == 1


def test_two_chats_cannot_use_one_token(database: Database, now: datetime) -> None:
    with database.begin() as db:
        made = token(db, now)
        shown = links.show(db, made, "77", RULES, now)
    assert shown is not None
    with database.begin() as first:
        assert links.use(first, shown.id, now) is not None
    with database.begin() as second:
        assert links.use(second, shown.id, now) is None


def test_an_address_is_lost_until_it_is_found(db: Db, now: datetime) -> None:
    assert not reach.is_lost(db, "telegram", "77")
    reach.lose(db, "telegram", "77", "blocked", now)
    reach.lose(db, "telegram", "77", "forbidden", now)
    assert reach.is_lost(db, "telegram", "77")
    assert not reach.is_lost(db, "telegram", "78")
    assert not reach.is_lost(db, "sms", "77")
    reach.find(db, "telegram", "77")
    assert not reach.is_lost(db, "telegram", "77")
