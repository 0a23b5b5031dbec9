"""Places: the markets, villages, towns and estates where members live and trade."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import spelling
from core.database import Db, metadata

Kind = Literal["market", "village", "town", "estate"]

_EARTH_KM: Final = 6_371.0
_KM_A_DEGREE: Final = 111.0  # of latitude; a little less than the least there is

places = sa.Table(
    "places",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("county", sa.Text, nullable=False),
    sa.Column("latitude", sa.Double, nullable=False),
    sa.Column("longitude", sa.Double, nullable=False),
    sa.Column("search", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("name", "county"),
    sa.CheckConstraint("kind IN ('market', 'village', 'town', 'estate')", name="kind"),
    sa.CheckConstraint("latitude BETWEEN -90 AND 90", name="latitude"),
    sa.CheckConstraint("longitude BETWEEN -180 AND 180", name="longitude"),
    sa.Index(
        "ix_places_search",
        "search",
        postgresql_using="gin",
        postgresql_ops={"search": "gin_trgm_ops"},
    ),
)


@dataclass(frozen=True)
class Place:
    """latitude, longitude: degrees, WGS 84."""

    id: UUID
    name: str
    kind: Kind
    county: str
    latitude: float
    longitude: float


def find(db: Db, words: str, limit: int) -> list[Place]:
    """The places a member may mean by what was typed, best first; none if it says nothing."""
    sought = spelling.sought(db, words)
    if sought is None:
        return []
    found = db.rows(_Found, _FIND, {**sought, "limit": max(limit, spelling.CANDIDATES_MAX)})
    return [
        Place(near.id, near.name, near.kind, near.county, near.latitude, near.longitude)
        for near in spelling.nearest(sought["words"], found)[:limit]
    ]


def nearest(db: Db, latitude: float, longitude: float, km_max: float) -> Place | None:
    """The place closest to a point (degrees, WGS 84), by great circle; None: none within km_max.

    Only places inside the box around that circle are measured. Across the 180th meridian and at
    the poles nobody trades.
    """
    degrees = km_max / _KM_A_DEGREE
    wide = degrees / max(math.cos(math.radians(latitude)), 0.01)  # meridians draw together
    found = db.rows(
        Place,
        """
        SELECT id, name, kind, county, latitude, longitude FROM places
        WHERE latitude BETWEEN %(south)s AND %(north)s
          AND longitude BETWEEN %(west)s AND %(east)s
        """,
        {
            "south": latitude - degrees,
            "north": latitude + degrees,
            "west": longitude - wide,
            "east": longitude + wide,
        },
    )
    near = [(_km(latitude, longitude, place), place.name, place) for place in found]
    km, _, place = min(near, default=(math.inf, "", None), key=lambda each: each[:2])
    return place if km <= km_max else None


def by_id(db: Db, place_id: UUID) -> Place | None:
    return db.row(
        Place,
        "SELECT id, name, kind, county, latitude, longitude FROM places WHERE id = %(id)s",
        {"id": place_id},
    )


def add(
    db: Db,
    *,
    name: str,
    kind: Kind,
    county: str,
    latitude: float,
    longitude: float,
    now: datetime,
) -> UUID:
    """A new place; its name is unique in its county."""
    place_id = db.new_id()
    db.run(
        """
        INSERT INTO places (id, name, kind, county, latitude, longitude, search, created_at)
        VALUES (%(id)s, %(name)s, %(kind)s, %(county)s, %(latitude)s, %(longitude)s, %(search)s,
                %(now)s)
        """,
        {
            "id": place_id,
            "name": name,
            "kind": kind,
            "county": county,
            "latitude": latitude,
            "longitude": longitude,
            "search": spelling.document([name]),
            "now": now,
        },
    )
    return place_id


def _km(latitude: float, longitude: float, place: Place) -> float:
    """Along the great circle (haversine), on a sphere of 6,371 km: wrong by 0.5 % at most."""
    here, there = math.radians(latitude), math.radians(place.latitude)
    east = math.radians(place.longitude - longitude)
    half_chord = (
        math.sin((there - here) / 2) ** 2
        + math.cos(here) * math.cos(there) * math.sin(east / 2) ** 2
    )
    return 2 * _EARTH_KM * math.asin(math.sqrt(half_chord))


@dataclass(frozen=True)
class _Found(Place):
    search: str
    score: float


_FIND: LiteralString = f"""
    SELECT id, name, kind, county, latitude, longitude, search, {spelling.SCORE} AS score
    FROM places
    WHERE {spelling.MATCHES}
    ORDER BY score DESC, name, county
    LIMIT %(limit)s
"""
