"""Staff: who of ours may decide over other people's money, and in which role."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from core import audit, numbers
from core.database import Db, metadata

# operator: decides and freezes. approver: is the second pair of eyes. admin: says who is staff.
Role = Literal["operator", "approver", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

NAME: Final = re.compile(r"[a-z][a-z0-9._-]{1,29}")
# As which the system itself signs (core.payouts); nobody of ours is called so.
SYSTEM: Final = "system"
RESERVED: Final = frozenset({SYSTEM, "automatic"})

staff = sa.Table(
    "staff",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),  # what they sign with, for ever
    sa.Column("roles", ARRAY(sa.Text), nullable=False),
    sa.Column("msisdn", sa.Text),  # of one who also trades here
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(
        f"roles <@ ARRAY[{', '.join(map(repr, ROLES))}]::text[] AND cardinality(roles) > 0",
        name="roles",
    ),
    sa.CheckConstraint("name ~ '^[a-z][a-z0-9._-]{1,29}$'", name="name"),
    sa.CheckConstraint(
        f"name NOT IN ({', '.join(map(repr, sorted(RESERVED)))})", name="not_reserved"
    ),
    sa.CheckConstraint(r"msisdn ~ '^\+[1-9][0-9]{6,14}$'", name="msisdn"),
)


@dataclass(frozen=True)
class Staff:
    """msisdn: by which they are known as a member, if they are one."""

    id: UUID
    name: str
    roles: list[Role]
    msisdn: str | None = field(repr=False)
    active: bool

    def has(self, role: Role) -> bool:
        return self.active and role in self.roles


@dataclass(frozen=True)
class Actor:
    """Somebody of ours at work. origin: from where, as the audit log keeps it.

    lapsed_by: None, or the schedule does it for them: it takes back what they proposed up to then.
    """

    who: Staff
    origin: str
    lapsed_by: datetime | None = None

    @property
    def name(self) -> str:
        return self.who.name

    def may(self, role: Role) -> bool:
        return self.who.has(role)

    def may_decline(self, proposed_by: UUID | str, proposed_at: datetime) -> bool:
        """A proposal of somebody, by id or name: as an approver, or because it is their own."""
        is_own = proposed_by in (self.who.id, self.name)
        if self.lapsed_by is not None:
            return is_own and proposed_at <= self.lapsed_by
        return is_own or self.may("approver")

    def write(
        self,
        db: Db,
        what: str,
        subject: object,
        before: Mapping[str, object],
        after: Mapping[str, object],
        now: datetime,
    ) -> None:
        """Put down in the audit log what they did."""
        signed = self.name if self.lapsed_by is None else SYSTEM
        audit.write(db, signed, self.origin, what, subject, before, after, now)


def add(
    db: Db,
    name: str,
    roles: Collection[Role],
    msisdn: str | None,
    by: Actor | None,
    origin: str,
    now: datetime,
) -> Literal["added", "changed", "no_name", "no_roles", "not_admin", "last_admin"]:
    """Somebody joins, or has these roles and this number from now on; one who had left is back.

    by: an admin; None only for the first of all, who must be one. "last_admin": nobody could say
    any more who is staff.
    """
    wanted = sorted(set(roles), key=ROLES.index)
    if not NAME.fullmatch(name) or name in RESERVED:
        return "no_name"
    if not wanted:
        return "no_roles"
    _lock(db)
    if not (_is_admin(db, by) if by else _is_first(db) and "admin" in wanted):
        return "not_admin"
    before = find(db, name)
    if before is not None and "admin" not in wanted and _is_last_admin(db, before):
        return "last_admin"
    db.run(
        """
        INSERT INTO staff (id, name, roles, msisdn, active, created_at, updated_at)
        VALUES (%(id)s, %(name)s, %(roles)s, %(msisdn)s, true, %(now)s, %(now)s)
        ON CONFLICT (name) DO UPDATE
        SET roles = excluded.roles, active = true, updated_at = excluded.updated_at,
            msisdn = coalesce(excluded.msisdn, staff.msisdn)
        """,
        {"id": db.new_id(), "name": name, "roles": wanted, "msisdn": msisdn, "now": now},
    )
    after = {"roles": wanted, "active": True, "is_member": msisdn is not None}
    who = by.name if by else name
    audit.write(db, who, origin, "staff_added", f"staff {name}", _shown(before), after, now)
    return "added" if before is None else "changed"


def retire(
    db: Db, name: str, by: Actor, now: datetime
) -> Literal["retired", "not_there", "not_admin", "last_admin"]:
    """They act no more. What they did stays, under their name."""
    _lock(db)
    if not _is_admin(db, by):
        return "not_admin"
    found = find(db, name)
    if found is None or not found.active:
        return "not_there"
    if _is_last_admin(db, found):
        return "last_admin"
    db.run(
        "UPDATE staff SET active = false, updated_at = %(now)s WHERE id = %(id)s",
        {"id": found.id, "now": now},
    )
    by.write(db, "staff_retired", f"staff {name}", _shown(found), {"active": False}, now)
    return "retired"


def find(db: Db, name: str) -> Staff | None:
    """By the name they sign with, whether they still act or not."""
    return db.row(
        Staff,
        "SELECT id, name, roles, msisdn, active FROM staff WHERE name = %(name)s",
        {"name": name},
    )


def everybody(db: Db) -> list[Staff]:
    """Those who act first, by name."""
    return db.rows(
        Staff,
        "SELECT id, name, roles, msisdn, active FROM staff ORDER BY active DESC, name",
    )


def lines_of(db: Db, who: Staff) -> set[str]:
    """By which they are known as a member, whatever number they have had; none: they are none."""
    return set() if who.msisdn is None else numbers.of_owner(db, who.msisdn)


def is_member(db: Db, who: Staff, *member_ids: UUID) -> bool:
    """Whether one of these members is they, or shares their phone; or did, by an older number."""
    return who.msisdn is not None and numbers.were_of(db, who.msisdn, member_ids)


def _lock(db: Db) -> None:
    """One after the other: of two that retire each other, the second finds nobody to do it."""
    db.run("LOCK TABLE staff IN SHARE ROW EXCLUSIVE MODE")


def _is_first(db: Db) -> bool:
    return not db.value("SELECT EXISTS (SELECT FROM staff)")


def _is_admin(db: Db, by: Actor) -> bool:
    """Still, now that nobody else changes it."""
    now_known = find(db, by.name)
    return now_known is not None and now_known.has("admin")


def _is_last_admin(db: Db, who: Staff) -> bool:
    return who.has("admin") and not db.value(
        """
        SELECT EXISTS (SELECT FROM staff WHERE active AND 'admin' = ANY(roles) AND id <> %(id)s)
        """,
        {"id": who.id},
    )


def _shown(who: Staff | None) -> dict[str, object]:
    """For the audit log, which keeps no number."""
    if who is None:
        return {}
    return {"roles": who.roles, "active": who.active, "is_member": who.msisdn is not None}
