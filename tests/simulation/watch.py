"""The watch: what a town's database says, asked again only where somebody wrote.

Most steps write to a few tables; whatever reads none of them stands as it was said before. Nothing
else changes a table here: triggers refuse, and change nothing (test_watch asks anew, to compare).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from tests.simulation.invariants import ALWAYS, FOLDS, MONEY
from tests.simulation.mortal import EVERYTHING, MortalDatabase

_DUES: Final = """
    SELECT coalesce(json_object_agg(kind, due_at), '{}') FROM (
        SELECT kind, min(due_at) AS due_at FROM outbox WHERE done_at IS NULL GROUP BY kind) AS d"""


@dataclass(frozen=True)
class _Seen:
    """What was asked: broken, of the conditions asked for; the others None where not asked."""

    broken: list[str]
    money: str | None
    dues: dict[str, str] | None


class Watch:
    """Over one day's database. Nobody may be at work while it looks."""

    def __init__(self, database: MortalDatabase) -> None:
        self._database = database
        self._broken: set[str] = set()
        self._money = ""
        self._dues: dict[str, datetime] = {}
        database.written.add(EVERYTHING)

    def broken(self, now: datetime) -> list[str]:
        """The names of the conditions that do not hold."""
        self._look(now)
        return [name for name in ALWAYS if name in self._broken]

    def money(self, now: datetime) -> str:
        """A word for every entry there is: the same before and after what must move nothing."""
        self._look(now)
        return self._money

    def dues(self, now: datetime) -> dict[str, datetime]:
        """Of each kind of task that is open, when the soonest is due."""
        self._look(now)
        return self._dues

    def _look(self, now: datetime) -> None:
        written = self._database.written
        if not written:
            return
        asked = [
            name for name, tables in _READ.items() if tables & written or EVERYTHING in written
        ]
        written.clear()
        if not asked:
            return
        with self._database.look() as db:
            seen = db.row(_Seen, _statement(tuple(asked)), {"now": now})  # type: ignore[arg-type]
        assert seen is not None
        self._broken = self._broken.difference(asked).union(seen.broken)
        if seen.money is not None:
            self._money = seen.money
        if seen.dues is not None:
            self._dues = {kind: datetime.fromisoformat(at) for kind, at in seen.dues.items()}


def _tables(sql: str) -> frozenset[str]:
    """Every word of it that may be a table's name."""
    return frozenset(re.findall("[a-z_]+", f"{sql} {FOLDS}" if "folds" in sql else sql))


_READ: Final = {
    name: _tables(sql) for name, sql in {**ALWAYS, "money": MONEY, "dues": _DUES}.items()
}


@cache
def _statement(asked: tuple[str, ...]) -> str:
    """That asks what is named, in one trip."""
    cases = ", ".join(
        f"CASE WHEN EXISTS ({ALWAYS[name]}) THEN $${name}$$ END" for name in asked if name in ALWAYS
    )
    sql = f"""
        SELECT array_remove(ARRAY[{cases}]::text[], NULL) AS broken,
               {f"({MONEY})" if "money" in asked else "NULL"} AS money,
               {f"({_DUES})" if "dues" in asked else "NULL::json"} AS dues"""
    return f"{FOLDS} {sql}" if "folds" in sql else sql
