"""The watch: what it remembers of the database is what the database says."""

import pytest

from tests.simulation.day import Profile, live
from tests.simulation.mortal import EVERYTHING, written_by
from tests.simulation.town import Ground
from tests.simulation.watch import Watch


@pytest.mark.timeout(600)  # on a busy machine
def test_what_is_not_asked_again_still_stands(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []
    look = Watch._look

    def compared(self: Watch, now: object) -> None:
        look(self, now)  # type: ignore[arg-type]
        anew = Watch(ground.database)  # which remembers nothing
        look(anew, now)  # type: ignore[arg-type]
        assert vars(anew) == vars(self)
        looked.append(True)

    monkeypatch.setattr(Watch, "_look", compared)
    lived = live(ground, 3, Profile(pairs=0.3, rate=0.05))
    assert lived.broken is None, lived.told()
    assert len(looked) > 100


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT id FROM orders FOR NO KEY UPDATE", set()),
        ("SELECT id FROM orders o FOR UPDATE OF o SKIP LOCKED", set()),
        ("INSERT INTO stock (id) VALUES (1) ON CONFLICT DO UPDATE SET id = 2", {"stock"}),
        ("\n  WITH a AS (DELETE FROM inbox) UPDATE\n outbox SET id = 1", {"inbox", "outbox"}),
        ("TRUNCATE orders", {EVERYTHING}),
    ],
)
def test_a_statement_says_which_tables_it_writes_to(sql: str, tables: set[str]) -> None:
    assert written_by(sql) == tables
