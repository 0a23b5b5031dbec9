"""Evidence: photos and words belong to a dispute, once each, and only if they are what they say."""

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from core import disputes, evidence
from core.database import Db
from core.errors import Unavailable
from core.evidence import BYTES_MAX, PHOTOS_MAX, WANTED_FOR, WORDS_MAX
from core.storage import Folder, Missing, Storage
from tests.core.deal import Deal
from tests.core.market import purchase, settled

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 "


@pytest.fixture
def deal(db: Db, now: datetime) -> Deal:
    made = Deal(db, now)
    made.comes_to("dispatched")
    return made


@pytest.fixture
def dispute(deal: Deal) -> UUID:
    assert disputes.open(deal.db, deal.id, deal.buyer, "rotten", None, deal.now) == "opened"
    found = disputes.of_order(deal.db, deal.id)
    assert found is not None
    return found.id


@pytest.fixture
def kept(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def add(
    deal: Deal, kept: Storage, dispute: UUID, content: bytes = JPEG, called: str = "image/jpeg"
) -> str:
    return evidence.add(deal.db, kept, dispute, deal.buyer, content, called, deal.now)


@pytest.mark.parametrize(
    ("content", "kind"), [(JPEG, "image/jpeg"), (PNG, "image/png"), (WEBP, "image/webp")]
)
def test_a_photo_is_kept_as_what_its_first_bytes_say(
    deal: Deal, kept: Folder, dispute: UUID, content: bytes, kind: str
) -> None:
    assert add(deal, kept, dispute, content, called="image/jpeg") == "kept"
    (photo,) = evidence.photos(deal.db, dispute)
    assert (photo.content_type, photo.bytes, photo.member_id) == (kind, len(content), deal.buyer)
    assert kept.get(photo.key) == content


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (b"", "image/jpeg"),
        (b"\xff\xd8", "image/jpeg"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"%PDF-1.7", "application/pdf"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "image/webp"),
        (b"MZ" + JPEG, "image/jpeg"),
        (JPEG, "application/pdf"),
    ],
)
def test_what_is_no_picture_is_not_kept(
    deal: Deal, kept: Folder, dispute: UUID, tmp_path: Path, content: bytes, called: str
) -> None:
    assert add(deal, kept, dispute, content, called) == "not_a_picture"
    assert evidence.photos(deal.db, dispute) == []
    assert files(tmp_path) == []


def test_a_photo_of_ten_megabytes_is_kept_and_one_byte_more_is_not(
    deal: Deal, kept: Folder, dispute: UUID
) -> None:
    whole = JPEG + bytes(BYTES_MAX - len(JPEG))
    assert add(deal, kept, dispute, whole + b"\x00") == "too_large"
    assert add(deal, kept, dispute, whole) == "kept"


def test_the_same_photo_again_is_the_same(deal: Deal, kept: Folder, dispute: UUID) -> None:
    assert [add(deal, kept, dispute) for _ in range(3)] == ["kept", "same", "same"]
    assert len(evidence.photos(deal.db, dispute)) == 1


def test_ten_photos_are_enough(deal: Deal, kept: Folder, dispute: UUID, tmp_path: Path) -> None:
    for number in range(PHOTOS_MAX):
        assert add(deal, kept, dispute, JPEG + bytes([number])) == "kept"
    assert add(deal, kept, dispute, JPEG + b"one more") == "too_many"
    assert add(deal, kept, dispute, JPEG + b"\x00") == "same"
    assert len(files(tmp_path)) == PHOTOS_MAX


class Crowded(Folder):
    """While a file is being put, others are faster."""

    def __init__(self, path: Path, deal: Deal, dispute: UUID) -> None:
        super().__init__(path)
        self.deal, self.dispute = deal, dispute

    def put(self, key: str, content: bytes, content_type: str) -> None:
        super().put(key, content, content_type)
        for number in range(PHOTOS_MAX):
            self.deal.db.run(
                """
                INSERT INTO evidence (id, dispute_id, member_id, kind, sha256, bytes, key,
                                      content_type, at)
                VALUES (gen_random_uuid(), %s, %s, 'photo', %s, 1, 'other', 'image/png', %s)
                """,
                [self.dispute, self.deal.buyer, bytes([number]), self.deal.now],
            )


def test_a_photo_that_lost_the_last_place_is_not_left_lying_about(
    deal: Deal, dispute: UUID, tmp_path: Path
) -> None:
    assert add(deal, Crowded(tmp_path, deal, dispute), dispute) == "too_many"
    assert files(tmp_path) == []


class Down(Folder):
    def put(self, key: str, content: bytes, content_type: str) -> None:
        raise Unavailable("the storage is down")


def test_a_photo_is_on_record_only_once_it_is_stored(
    deal: Deal, kept: Folder, dispute: UUID, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable):
        add(deal, Down(tmp_path), dispute)
    assert evidence.photos(deal.db, dispute) == []
    assert add(deal, kept, dispute) == "kept"


def test_words_may_be_added_once_each(deal: Deal, dispute: UUID) -> None:
    def say(words: str) -> str:
        return evidence.say(deal.db, dispute, deal.buyer, words, deal.now)

    assert [say("Half of them."), say("Half of them.")] == ["kept", "same"]
    for number in range(1, WORDS_MAX):
        assert say(f"Also {number}.") == "kept"
    assert say("And another thing.") == "too_many"


def test_words_no_database_can_hold_are_kept_readable(deal: Deal, dispute: UUID) -> None:
    assert evidence.say(deal.db, dispute, deal.buyer, "bad \ud800", deal.now) == "kept"
    assert deal.db.value("SELECT words FROM evidence") == "bad ?"


# --- whose photo is it? ---------------------------------------------------------------------------


def test_a_photo_is_wanted_from_both_sides_of_a_complaint_for_two_days(
    deal: Deal, dispute: UUID
) -> None:
    moment = timedelta(seconds=1)
    for side in (deal.buyer, deal.seller):
        assert evidence.wanted(deal.db, side, deal.now) == dispute
        assert evidence.wanted(deal.db, side, deal.now + WANTED_FOR - moment) == dispute
        assert evidence.wanted(deal.db, side, deal.now + WANTED_FOR) is None
    assert evidence.wanted(deal.db, deal.market.otieno, deal.now) is None


def test_from_a_seller_it_is_wanted_for_what_he_has_just_answered(
    deal: Deal, dispute: UUID
) -> None:
    """Not for the complaint that came later, nor for his own of somebody else."""
    deal.now += timedelta(hours=1)
    first = deal.id
    deal.bought = settled(deal.db, purchase(deal.db, deal.market, deal.now), deal.now)
    deal.id = deal.order().id
    deal.comes_to("dispatched")
    assert disputes.open(deal.db, deal.id, deal.buyer, "less", None, deal.now) == "opened"
    second = disputes.of_order(deal.db, deal.id)
    assert second is not None
    assert evidence.wanted(deal.db, deal.seller, deal.now) == second.id
    deal.now += timedelta(hours=1)
    assert disputes.answer(deal.db, first, deal.seller, "No.", deal.now) == "answered"
    assert evidence.wanted(deal.db, deal.seller, deal.now) == dispute
    assert evidence.wanted(deal.db, deal.buyer, deal.now) == second.id


def test_each_side_has_room_of_its_own(deal: Deal, kept: Folder, dispute: UUID) -> None:
    for number in range(evidence.PHOTOS_MAX):
        assert add(deal, kept, dispute, JPEG + bytes([number])) == "kept"
    assert add(deal, kept, dispute, JPEG + b"one more of hers") == "too_many"
    his = evidence.add(deal.db, kept, dispute, deal.seller, JPEG, "image/jpeg", deal.now)
    assert his == "kept"


def test_no_photo_is_wanted_of_what_nobody_complains_of_or_is_decided(
    deal: Deal, dispute: UUID
) -> None:
    deal.db.run("UPDATE disputes SET state = 'withdrawn', closed_at = opened_at")
    assert evidence.wanted(deal.db, deal.buyer, deal.now) is None


@pytest.fixture
def another(deal: Deal, dispute: UUID) -> UUID:
    """A complaint of the same buyer's other order, an hour later."""
    deal.now += timedelta(hours=1)
    deal.seller = deal.market.otieno
    deal.id = deal.order().id
    deal.comes_to("dispatched")
    assert disputes.open(deal.db, deal.id, deal.buyer, "less", None, deal.now) == "opened"
    found = disputes.of_order(deal.db, deal.id)
    assert found is not None
    return found.id


def test_a_photo_is_for_the_newest_complaint(deal: Deal, another: UUID) -> None:
    assert evidence.wanted(deal.db, deal.buyer, deal.now) == another


def test_the_same_photo_may_prove_two_complaints(
    deal: Deal, kept: Folder, dispute: UUID, another: UUID
) -> None:
    assert add(deal, kept, dispute) == "kept"
    assert add(deal, kept, another) == "kept"


def test_a_photo_that_was_deleted_by_hand_is_missing_and_nothing_else(
    deal: Deal, kept: Folder, dispute: UUID
) -> None:
    assert add(deal, kept, dispute) == "kept"
    (photo,) = evidence.photos(deal.db, dispute)
    kept.delete(photo.key)
    with pytest.raises(Missing):
        kept.get(photo.key)
