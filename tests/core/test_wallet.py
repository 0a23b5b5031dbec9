"""The wallet: one purse of two accounts, its history by pages, and what leaves it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import LiteralString

import pytest

from core import freezes, ledger, payouts, wallet
from core.database import Db
from core.statements import _numbered
from tests.core.purse import EARNED_CENTS, RULES, Purse

MANY = 30_000
EXPLAIN: LiteralString = """
EXPLAIN EXECUTE page (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 20)
"""


@pytest.fixture
def purse(db: Db, now: datetime) -> Purse:
    return Purse(db, now)


def test_both_accounts_are_one_balance_and_what_is_on_its_way_is_in_neither(
    purse: Purse,
) -> None:
    purse.move("back", ledger.C2B, purse.buyer, 30_050)
    purse.ask(100_000)
    found = wallet.balance(purse.db, purse.member)
    assert (found.earned_cents, found.returned_cents, found.to_come_cents) == (
        EARNED_CENTS - 100_000, 30_050, 100_000,
    )  # fmt: skip
    assert found.total_cents == EARNED_CENTS - 100_000 + 30_050
    assert found.sendable_cents == EARNED_CENTS - 100_000 + 30_000


def test_movements_are_told_newest_first_in_the_members_terms(purse: Purse) -> None:
    payout_id = purse.submitted(cents=100_000)
    purse.settle(payout_id, purse.failed(payout_id))
    found = wallet.movements(purse.db, purse.member, 10)
    assert [(one.kind, one.cents) for one in found] == [
        ("came_back", 100_000), ("withdrawal", -100_000), ("other", EARNED_CENTS),
    ]  # fmt: skip


def test_pages_hold_every_movement_once(purse: Purse) -> None:
    for number in range(7):
        account = purse.buyer if number % 2 else purse.seller
        purse.move(f"m{number}", ledger.C2B, account, 100 + number)
    whole = wallet.movements(purse.db, purse.member, 100)
    paged, before = [], None
    while page := wallet.movements(purse.db, purse.member, 3, before):
        paged += page
        before = page[-1].id
    assert paged == whole
    assert len({one.id for one in whole}) == 8


def test_a_strangers_movements_are_not_mine(purse: Purse) -> None:
    assert wallet.movements(purse.db, purse.db.new_id(), 10) == []


def test_a_statement_begins_with_what_there_was_and_ends_with_what_there_is(purse: Purse) -> None:
    for number in range(wallet.STATEMENT_MOVEMENTS_MAX):
        purse.move(f"m{number}", ledger.C2B, purse.buyer, 1_000)
    said = wallet.statement(purse.db, purse.member, purse.now)
    assert said.opening_cents == EARNED_CENTS  # the eleventh is in it
    assert said.closing_cents == EARNED_CENTS + 10_000
    assert len(said.movements) == wallet.STATEMENT_MOVEMENTS_MAX
    later = wallet.statement(purse.db, purse.member, purse.now + timedelta(days=31))
    assert (later.movements, later.opening_cents) == ([], later.closing_cents)


def test_a_statement_comes_once_an_hour(purse: Purse) -> None:
    def ask(at: datetime) -> str:
        said = wallet.statement(purse.db, purse.member, at)
        return wallet.send_statement(purse.db, purse.member, said, "lines", at)

    assert [ask(purse.now), ask(purse.now)] == ["sent", "too_soon"]
    assert ask(purse.now + wallet.STATEMENT_EVERY) == "sent"


@pytest.mark.parametrize(
    ("cents", "outcome"),
    [
        (100_000, "soon"),
        (2_000_100, "looked_at"),
        (999, "not_whole"),
        (0, "too_small"),
        (-1_000, "too_small"),
        (900, "too_small"),
        (EARNED_CENTS + 100, "overdrawn"),
        (10**14, "overdrawn"),
    ],
)
def test_a_withdrawal_is_what_the_screen_said_it_would_be(
    purse: Purse, cents: int, outcome: str
) -> None:
    before = wallet.balance(purse.db, purse.member)
    assert wallet.withdraw(purse.db, purse.member, cents, RULES, purse.now) == outcome
    moved = outcome in ("soon", "looked_at")
    assert (wallet.balance(purse.db, purse.member) == before) != moved
    assert len(purse.told()) == moved
    if moved:
        assert ("person" in purse.told()[0] or "one of us" in purse.told()[0]) == (
            outcome == "looked_at"
        )


def test_a_payout_that_waits_is_told_of_as_waiting_whatever_it_waits_for(purse: Purse) -> None:
    payout = purse.payout(purse.ask())
    assert wallet.progress(payout) == "on_its_way"
    told = {wallet.progress(replace(payout, waits_for=why)) for why in payouts.WAITS}
    assert told == {"waits"}
    assert wallet.progress(purse.payout(purse.ask(2_000_100))) == "looked_at"
    assert wallet.progress(purse.payout(purse.unknown())) == "on_its_way", "it may be there"


def test_what_is_frozen_does_not_leave(purse: Purse) -> None:
    freezes.freeze(purse.db, purse.member, "lost phone", "olive", purse.now)
    assert wallet.prospect(purse.db, purse.member, 1_000, RULES, purse.now) == "frozen"
    assert wallet.withdraw(purse.db, purse.member, 1_000, RULES, purse.now) == "frozen"
    assert purse.told() == []


def test_a_page_of_a_long_history_is_read_by_the_index(purse: Purse) -> None:
    """Of 30,000 entries no more are read than a page may have, wherever it is."""
    purse.db._session.tell(b"DISCARD PLANS")  # of tests before this one: for tables of a few rows
    purse.db.run(
        """
        WITH made AS (
            INSERT INTO transfers (id, kind, key, body_hash, at)
            SELECT gen_random_uuid(), 'test', 'long:' || n, '', %(now)s
            FROM generate_series(1, %(many)s) AS n RETURNING id
        ), numbered AS (SELECT id, row_number() OVER () AS n FROM made)
        INSERT INTO entries (id, transfer_id, account_id, amount_cents)
        SELECT lpad(to_hex(n * 2 + side), 32, '0')::uuid, id,
               CASE side WHEN 0 THEN %(mine)s::uuid ELSE %(c2b)s::uuid END,
               CASE side WHEN 0 THEN -1 ELSE 1 END
        FROM numbered, generate_series(0, 1) AS side
        """,
        {"now": purse.now, "many": MANY, "mine": purse.seller.id, "c2b": ledger.C2B.id},
    )
    purse.db.run("ANALYZE entries")
    text, _names = _numbered(wallet._MOVEMENTS)
    purse.db.run("SET LOCAL plan_cache_mode = force_generic_plan")  # as every session of ours
    purse.db._session.tell(b"PREPARE page (uuid, uuid, uuid, bigint) AS " + text)
    plan = "\n".join(purse.db.rows(_line, EXPLAIN))  # type: ignore[arg-type]
    assert plan.count("ix_entries_account_id") == 2, plan
    assert "Seq Scan" not in plan.replace("Seq Scan on orders", "").replace(
        "Seq Scan on payouts",
        "",  # which are empty here
    )
    found = wallet.movements(purse.db, purse.member, 20)
    assert len(found) == 20


def _line(**row: str) -> str:
    (text,) = row.values()
    return text
