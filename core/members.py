"""Members: the people and shops who trade here, each known by a phone number.

Two people may share a phone. Then the number says nothing of who speaks: their PINs do.
"""

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
    sa.Column("msisdn", sa.Text),  # NULL: theirs no more, and no other is known yet
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
    sa.Column("person", sa.SmallInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("shares_phone", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("paid_at_once", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("pin_right_at", sa.DateTime(timezone=True)),  # about: see pins
    sa.CheckConstraint("person IN (1, 2)", name="person"),
    sa.CheckConstraint("person = 1 OR shares_phone", name="shares_phone"),
    sa.CheckConstraint(r"msisdn ~ '^\+[1-9][0-9]{6,14}$'", name="msisdn"),
    sa.CheckConstraint("char_length(name) BETWEEN 2 AND 40", name="name"),
    sa.CheckConstraint("language ~ '^[a-z]{2,3}$'", name="language"),
    sa.CheckConstraint("pin_failures >= 0", name="pin_failures"),
    # A number is given to somebody else after its owner left: unique among the living only.
    sa.Index(
        "uq_members_msisdn_person",
        "msisdn",
        "person",
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
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
    """Whose phone it is. None: nobody's, or two people's (see sharing)."""
    return db.row(
        Member,
        """
        SELECT id, msisdn, name, language, place_id, is_seller, consent_version
        FROM members
        WHERE msisdn = %(msisdn)s AND deleted_at IS NULL AND NOT shares_phone
        """,
        {"msisdn": msisdn},
    )


def sharing(db: Db, msisdn: str) -> list[Member]:
    """The two people of one phone, who are told apart by their PINs (pins.whose).

    One, where the other has gone and the PIN is still asked.
    """
    return db.rows(
        Member,
        """
        SELECT id, msisdn, name, language, place_id, is_seller, consent_version
        FROM members
        WHERE msisdn = %(msisdn)s AND deleted_at IS NULL AND shares_phone
        ORDER BY person
        """,
        {"msisdn": msisdn},
    )


def by_id(db: Db, member_id: UUID) -> Member | None:
    """None: they have left, or have no number now."""
    return db.row(
        Member,
        """
        SELECT id, msisdn, name, language, place_id, is_seller, consent_version
        FROM members
        WHERE id = %(member_id)s AND deleted_at IS NULL AND msisdn IS NOT NULL
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
    consent = _Consent(consent_version, language, consent_wording)
    added = _add(db, msisdn, None, name, place_id, pin, consent, rules, now)
    return "registered" if added else "already_registered"


def share(
    db: Db,
    owner_id: UUID,
    *,
    name: str,
    language: str,
    consent_version: str,
    consent_wording: str,
    pin: str,
    rules: Rules,
    now: datetime,
) -> Literal["joined", "taken", "locked", "full"]:
    """A second person on the owner's phone; from now on nobody is shown anything before a PIN.

    "taken": it is the owner's PIN. Asking that is guessing it: see pins.differs for "locked".
    "full": there are two already.
    """
    owner = by_id(db, owner_id)
    assert owner is not None, f"{owner_id}, who shares a phone, is no member"
    differs = pins.differs(db, owner_id, pin, rules, now)
    if differs != "differs":
        return differs
    first: int | None = db.value(
        """
        UPDATE members o SET shares_phone = true, updated_at = %(now)s
        WHERE id = %(id)s AND NOT EXISTS (
            SELECT FROM members m
            WHERE m.msisdn = o.msisdn AND m.id <> o.id AND m.deleted_at IS NULL)
        RETURNING person
        """,
        {"id": owner_id, "now": now},
    )
    if first is None:
        return "full"
    consent = _Consent(consent_version, language, consent_wording)
    added = _add(db, owner.msisdn, 3 - first, name, owner.place_id, pin, consent, rules, now)
    assert added, f"member {owner_id} shared no phone, and there was a second person"
    return "joined"


@dataclass(frozen=True)
class _Consent:
    """wording: as it was shown, in this language."""

    version: str
    language: str
    wording: str


def _add(
    db: Db,
    msisdn: str,
    person: int | None,
    name: str,
    place_id: UUID,
    pin: str,
    consent: _Consent,
    rules: Rules,
    now: datetime,
) -> bool:
    """False: the number has this person already. person: which of two; None: the only one."""
    member_id = db.new_id()
    added = db.run(
        """
        INSERT INTO members
            (id, msisdn, person, shares_phone, name, language, place_id, is_seller, pin_hash,
             pin_failures, pin_right_at, consent_version, consent_at, created_at, updated_at)
        VALUES
            (%(id)s, %(msisdn)s, %(person)s, %(shares_phone)s, %(name)s, %(language)s,
             %(place_id)s, false, %(pin_hash)s, 0, %(now)s, %(consent_version)s, %(now)s, %(now)s,
             %(now)s)
        ON CONFLICT (msisdn, person) WHERE deleted_at IS NULL DO NOTHING
        """,
        {
            "id": member_id,
            "msisdn": msisdn,
            "person": person or 1,
            "shares_phone": person is not None,
            "name": name,
            "language": consent.language,
            "place_id": place_id,
            "pin_hash": pins.hashed(member_id, pin, rules),
            "consent_version": consent.version,
            "now": now,
        },
    )
    if not added:
        return False
    db.run(
        """
        INSERT INTO consents (id, member_id, version, language, wording, created_at)
        VALUES (%(id)s, %(member_id)s, %(version)s, %(language)s, %(wording)s, %(now)s)
        """,
        {
            "id": db.new_id(),
            "member_id": member_id,
            "version": consent.version,
            "language": consent.language,
            "wording": consent.wording,
            "now": now,
        },
    )
    return True


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


def give_number(db: Db, member_id: UUID, msisdn: str | None, now: datetime) -> None:
    """From now on it is the member's alone; None: the member has none. Nobody else has it.

    Whoever shared the old phone is still asked for the PIN there: it may be the one that was lost.
    """
    db.run(
        """
        UPDATE members
        SET msisdn = %(msisdn)s, person = 1, shares_phone = false, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"msisdn": msisdn, "now": now, "id": member_id},
    )


def leave(db: Db, member_id: UUID, now: datetime) -> Literal["left", "has_something"]:
    """One of two goes from the phone, and is no member any more; the other is still asked a PIN.

    "has_something": an order, money or goods would be left behind, so it takes a person of ours.
    """
    # Not even a row that refers to the member comes in between.
    db.run("SELECT FROM members WHERE id = %(id)s FOR UPDATE", {"id": member_id})
    if not has_nothing(db, member_id):
        return "has_something"
    close(db, member_id, now)
    return "left"


def close(db: Db, member_id: UUID, now: datetime) -> None:
    """The account is no more, and its number is free; see has_nothing."""
    db.run(
        "UPDATE members SET deleted_at = %(now)s, updated_at = %(now)s WHERE id = %(id)s",
        {"now": now, "id": member_id},
    )


def has_nothing(db: Db, member_id: UUID) -> bool:
    """Whether nobody would miss the account: no order ever, no money, no goods, nothing open."""
    found: bool = db.value(
        """
        SELECT NOT EXISTS (SELECT FROM orders WHERE %(id)s IN (buyer_id, seller_id))
           AND NOT EXISTS (SELECT FROM offers WHERE seller_id = %(id)s)
           AND NOT EXISTS (SELECT FROM payouts WHERE member_id = %(id)s)
           AND NOT EXISTS (SELECT FROM accounts
                           WHERE owner_id = %(id)s AND kind IN ('L.buyer', 'L.seller')
                             AND balance_cents <> 0)
           AND NOT EXISTS (SELECT FROM deals
                           WHERE %(id)s IN (opener_id, invited_id) AND state = 'open')
           AND NOT EXISTS (SELECT FROM cases WHERE member_id = %(id)s AND state = 'open')
           AND NOT EXISTS (SELECT FROM freezes WHERE member_id = %(id)s AND lifted_at IS NULL)
           AND NOT EXISTS (SELECT FROM number_changes
                           WHERE member_id = %(id)s AND state IN ('proposed', 'approved'))
        """,
        {"id": member_id},
    )
    return found


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
