"""Members for tests: one call, only what matters to the test named."""

from datetime import datetime
from uuid import UUID

from core import members, places
from core.database import Db
from core.rules import Rules

RULES = Rules(pin_pepper=b"a pepper for tests", token_key=b"a token key for tests")
PIN = "2580"


def place(db: Db, now: datetime, name: str = "Wakulima Market") -> UUID:
    return places.add(
        db, name=name, kind="market", county="Nairobi", latitude=-1.29, longitude=36.83, now=now
    )


def member(db: Db, now: datetime, number: int = 1, name: str = "Amina", **other: object) -> UUID:
    """The member of +2547110000<number>, in a place of their own unless `place_id` is given."""
    msisdn = f"+25471100{number:04}"
    given = {
        "place_id": other.pop("place_id", None) or place(db, now, f"Village {number}"),
        "language": "en",
        "consent_version": "1",
        "consent_wording": "I agree.",
        "pin": PIN,
        **other,
    }
    done = members.register(db, msisdn=msisdn, name=name, rules=RULES, now=now, **given)  # type: ignore[arg-type]
    assert done == "registered", f"member {number} is {done}"
    found = members.by_msisdn(db, msisdn)
    assert found is not None
    return found.id
