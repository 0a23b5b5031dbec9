"""Members: the people and shops who trade here, each known by a phone number."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from core import pins
from core.database import Db, metadata
from core.errors import Invalid
from core.rules import Rules

Registered = Literal["registered", "already_registered"]

NAME_MIN, NAME_MAX = 2, 40  # characters
_JOINERS = frozenset(" '-.")

members = sa.Table(
    "members",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("msisdn", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("place_id", sa.Uuid, sa.ForeignKey("places.id"), nullable=False, index=True),
    sa.Column("is_seller", sa.Boolean, nullable=False),
    sa.Column("pin_hash", sa.Text, nullable=False),
    sa.Column("pin_failures", sa.Integer, nullable=False),
    sa.Column("pin_locked_until", sa.DateTime(timezone=True)),
    sa.Column("consent_version", sa.Text, nullable=False),
    sa.Column("consent_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("deleted_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint(r"msisdn ~ '^\+[1-9][0-9]{6,14}$'", name="msisdn"),
    sa.CheckConstraint("char_length(name) BETWEEN 2 AND 40", name="name"),
    sa.CheckConstraint("language ~ '^[a-z]{2,3}$'", name="language"),
    sa.CheckConstraint("pin_failures >= 0", name="pin_failures"),
    # A number is given to somebody else after its owner left: unique among the living only.
    sa.Index(
        "uq_members_msisdn", "msisdn", unique=True, postgresql_where=sa.text("deleted_at IS NULL")
    ),
)

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("member_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False, index=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("wording", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
)


@dataclass(frozen=True)
class Member:
    """language: the code of the words to use, for example "sw"."""

    id: UUID
    msisdn: str = field(repr=False)
    name: str = field(repr=False)
    language: str
    place_id: UUID
    is_seller: bool
    consent_version: str


def by_msisdn(db: Db, msisdn: str) -> Member | None:
    return db.row(
        Member,
        """
        SELECT id, msisdn, name, language, place_id, is_seller, consent_version
        FROM members
        WHERE msisdn = %(msisdn)s AND deleted_at IS NULL
        """,
        {"msisdn": msisdn},
    )


def by_id(db: Db, member_id: UUID) -> Member | None:
    return db.row(
        Member,
        """
        SELECT id, msisdn, name, language, place_id, is_seller, consent_version
        FROM members
        WHERE id = %(member_id)s AND deleted_at IS NULL
        """,
        {"member_id": member_id},
    )


def register(
    db: Db,
    *,
    msisdn: str,
    name: str,
    place_id: UUID,
    language: str,
    consent_version: str,
    consent_wording: str,
    pin: str,
    rules: Rules,
    now: datetime,
) -> Registered:
    """A new member, with the words agreed to kept as they were shown.

    name and pin: as parse_name and pins.parse return them. "already_registered": the number has a
    member, of whom nothing is changed (two phones' answers may arrive at once).
    """
    member_id = db.new_id()
    added = db.run(
        """
        INSERT INTO members
            (id, msisdn, name, language, place_id, is_seller, pin_hash, pin_failures,
             consent_version, consent_at, created_at, updated_at)
        VALUES
            (%(id)s, %(msisdn)s, %(name)s, %(language)s, %(place_id)s, false, %(pin_hash)s, 0,
             %(consent_version)s, %(now)s, %(now)s, %(now)s)
        ON CONFLICT (msisdn) WHERE deleted_at IS NULL DO NOTHING
        """,
        {
            "id": member_id,
            "msisdn": msisdn,
            "name": name,
            "language": language,
            "place_id": place_id,
            "pin_hash": pins.hashed(member_id, pin, rules),
            "consent_version": consent_version,
            "now": now,
        },
    )
    if not added:
        return "already_registered"
    db.run(
        """
        INSERT INTO consents (id, member_id, version, language, wording, created_at)
        VALUES (%(id)s, %(member_id)s, %(version)s, %(language)s, %(wording)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "member_id": member_id,
            "version": consent_version,
            "language": language,
            "wording": consent_wording,
            "now": now,
        },
    )
    return "registered"


def rename(db: Db, member_id: UUID, name: str, now: datetime) -> None:
    db.run(
        "UPDATE members SET name = %(name)s, updated_at = %(now)s WHERE id = %(member_id)s",
        {"name": name, "member_id": member_id, "now": now},
    )


def set_language(db: Db, member_id: UUID, language: str, now: datetime) -> None:
    db.run(
        "UPDATE members SET language = %(language)s, updated_at = %(now)s WHERE id = %(member_id)s",
        {"language": language, "member_id": member_id, "now": now},
    )


def move(db: Db, member_id: UUID, place_id: UUID, now: datetime) -> None:
    db.run(
        "UPDATE members SET place_id = %(place_id)s, updated_at = %(now)s WHERE id = %(member_id)s",
        {"place_id": place_id, "member_id": member_id, "now": now},
    )


def make_seller(db: Db, member_id: UUID, now: datetime) -> None:
    """From now on the member may have offers."""
    db.run(
        "UPDATE members SET is_seller = true, updated_at = %(now)s WHERE id = %(member_id)s",
        {"member_id": member_id, "now": now},
    )


def parse_name(text: str) -> str:
    """A person's or a shop's name: letters of any script, blanks, ' - and full stops.

    Raises Invalid("name") for anything else, or for fewer than 2 or more than 40 characters.
    """
    name = " ".join(unicodedata.normalize("NFC", text).replace("\u2019", "'").split())
    letters = sum(map(str.isalpha, name))
    if not NAME_MIN <= len(name) <= NAME_MAX or letters < NAME_MIN or not name[0].isalpha():
        raise Invalid("name")
    # Category M: vowel signs and accents that have no letter of their own (Amharic, Arabic, Hindi).
    if not all(c.isalpha() or c in _JOINERS or unicodedata.category(c)[0] == "M" for c in name):
        raise Invalid("name")
    return name
