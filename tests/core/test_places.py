from datetime import datetime

import pytest

from core import demo_data, places, spelling
from core.database import Db


@pytest.fixture
def kenya(db: Db, now: datetime) -> Db:
    for place in demo_data.PLACES:
        places.add(db, **place._asdict(), now=now)
    return db


def first(db: Db, typed: str) -> str | None:
    found = places.find(db, typed, 5)
    return found[0].name if found else None


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Gikomba", "Gikomba Market"),
        ("gikomba market", "Gikomba Market"),
        ("gicomba", "Gikomba Market"),
        ("GIKOMBE", "Gikomba Market"),
        ("wakulma", "Wakulima Market"),
        ("wakurima", "Wakulima Market"),
        ("kagemi", "Kangemi Market"),
        ("kongoea", "Kongowea Market"),
        ("karatna", "Karatina Market"),
        ("muranga", "Murang'a"),
        ("Murang’a", "Murang'a"),
        ("muraga", "Murang'a"),
        ("homabay", "Homa Bay"),
        ("homa bey", "Homa Bay"),
        ("ol kalou", "Ol Kalou"),
        ("olkalau", "Ol Kalou"),
        ("ki tale", "Kitale"),
        ("eldorete", "Eldoret"),
        ("nakulu", "Nakuru"),
        ("masakos", "Machakos Market"),
        ("kisi", "Kisii"),
        ("wanguru", "Wang'uru"),
        ("garisa", "Garissa"),
        ("thi", "Thika"),
        ("voi", "Voi"),
    ],
)
def test_a_place_is_found_as_people_spell_it(kenya: Db, typed: str, name: str) -> None:
    assert first(kenya, typed) == name


def test_a_few_letters_find_every_place_with_a_word_that_begins_so(kenya: Db) -> None:
    assert [place.name for place in places.find(kenya, "ka", 20)] == [
        "Kagio Market",
        "Kakamega",
        "Kangemi Market",
        "Kapenguria",
        "Kapsabet",
        "Karatina Market",
        "Kawangware",
        "Kayole",
        "Ol Kalou",
    ]


def test_a_whole_name_comes_before_a_word_and_a_word_before_its_beginning(
    db: Db, now: datetime
) -> None:
    here = {"kind": "town", "county": "Kisii", "latitude": 0, "longitude": 34, "now": now}
    for name in ("Aa Suneka", "Sunekari", "Suneka"):
        places.add(db, name=name, **here)  # type: ignore[arg-type]
    assert [place.name for place in places.find(db, "suneka", 5)] == [
        "Suneka",
        "Aa Suneka",
        "Sunekari",
    ]


def test_no_more_are_shown_than_asked_for(kenya: Db) -> None:
    assert len(places.find(kenya, "market", 3)) == 3


@pytest.mark.parametrize(
    "typed",
    ["", "  ", "*", "%", "_", "'", "\x00", "\ud800", "😀", "zzzzqqq", "99", "%%%%", "q' OR 1=1 --"],
)
def test_nonsense_finds_nothing(kenya: Db, typed: str) -> None:
    assert places.find(kenya, typed, 5) == []


def test_a_long_text_is_answered_as_well(kenya: Db) -> None:
    assert first(kenya, "gikomba " + "x" * 10_000) in {None, "Gikomba Market"}


def test_a_place_is_read_back_as_it_was_added(kenya: Db) -> None:
    found = places.find(kenya, "kongowea", 1)[0]
    assert places.by_id(kenya, found.id) == found
    assert (found.kind, found.county) == ("market", "Mombasa")
    assert (found.latitude, found.longitude) == (-4.0397, 39.6853)


def test_no_place_has_an_unknown_id(db: Db) -> None:
    assert places.by_id(db, db.new_id()) is None


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Wanjikũ  Fresh! ", "wanjiku fresh"),
        ("Murang’a", "muranga"),
        ("Ng'ombe", "ngombe"),
        ("Sukuma-wiki", "sukuma wiki"),
        ("STRASSE straße", "strasse strasse"),
        ("½ kg", "1 2 kg"),
        ("\x00%_\\", ""),
    ],
)
def test_folding_keeps_what_a_spelling_is_compared_by(text: str, folded: str) -> None:
    assert spelling.fold(text) == folded


def test_the_search_goes_through_the_trigram_index(db: Db, now: datetime) -> None:
    """On a country's worth of places; a handful is read whole, and rightly."""
    db.run(
        """
        INSERT INTO places (id, name, kind, county, latitude, longitude, search, created_at)
        SELECT gen_random_uuid(), n::text, 'village', n::text, 0, 0,
               ' ' || translate(md5(n::text), '0123456789', 'aeioukmnst') || ' ', %(now)s
        FROM generate_series(1, 20000) AS n
        """,
        {"now": now},
    )
    db.run("SELECT gin_clean_pending_list('ix_places_search')")  # as a vacuum does
    db.run("ANALYZE places")
    for typed in ("gi", "gikomba"):
        sought = spelling.sought(db, typed)
        assert sought is not None
        plan = db.value(
            "EXPLAIN (FORMAT JSON) " + places._FIND,
            {**sought, "limit": 5},
        )
        assert "ix_places_search" in str(plan)


def _put(db: Db, now: datetime, name: str, latitude: float, longitude: float) -> None:
    places.add(
        db,
        name=name,
        kind="market",
        county="Here",
        latitude=latitude,
        longitude=longitude,
        now=now,
    )


def _nearest(db: Db, latitude: float, longitude: float, km_max: float = 30) -> str | None:
    found = places.nearest(db, latitude, longitude, km_max)
    return None if found is None else found.name


def test_the_nearest_place_is_nearest_on_the_globe(db: Db, now: datetime) -> None:
    """In the north a degree of longitude is half as long as one of latitude."""
    _put(db, now, "East", 60.0, 10.3)
    _put(db, now, "North", 60.2, 10.0)
    assert _nearest(db, 60.0, 10.0) == "East"


def test_nothing_is_near_beyond_the_distance_asked_for(db: Db, now: datetime) -> None:
    _put(db, now, "Far", -1.0, 37.0)  # a degree of latitude is 111 km
    assert _nearest(db, -2.0, 37.0, 110) is None
    assert _nearest(db, -2.0, 37.0, 112) == "Far"
    _put(db, now, "Corner", -1.28, 36.72)  # in the box around the circle, not in the circle
    assert _nearest(db, -1.5, 36.5, 30) is None


def test_a_place_where_one_stands_is_the_nearest(db: Db, now: datetime) -> None:
    _put(db, now, "Here", -1.3, 36.8)
    _put(db, now, "There", -1.3, 36.81)
    assert _nearest(db, -1.3, 36.8) == "Here"


@pytest.mark.parametrize("point", [(90.0, 0.0), (-90.0, 180.0), (0.0, -180.0)])
def test_at_the_ends_of_the_world_there_is_no_place(
    db: Db, now: datetime, point: tuple[float, float]
) -> None:
    _put(db, now, "Toi", -1.3, 36.8)
    assert _nearest(db, *point) is None
