"""Ledger: where every cent is. Balanced transfers of entries that nobody can change.

Accounts A and E hold what debits bring, L, Q and R what credits bring; a balance is shown positive
on its account's own side. Only the balances of escrow,
buyer, seller and payout accounts are cached, each touched by its own orders alone; every other
balance is the sum of its entries, because a row that all orders change makes them queue. A mark,
set each hour, says how far that sum was made, so that a balance reads only what came since.
"""

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal
from uuid import UUID, uuid5

import sqlalchemy as sa

from core.database import Database, Db, metadata
from core.money import show

KINDS: Final = (
    "A.c2b",
    "A.b2c",
    "A.transit",
    "A.bank",
    "L.escrow",
    "L.buyer",
    "L.seller",
    "L.out",
    "L.suspense",
    "L.mcharges",
    "Q.capital",
    "R.fee",
    "E.mcharges",
    "E.loss",
)
CACHED: Final = frozenset({"L.escrow", "L.buyer", "L.seller", "L.out"})
_DEBIT_NORMAL: Final = "AE"  # an account's class is the first letter of its kind
_NAMESPACE: Final = UUID("6a5c7f0e-2d43-4e0b-9c1f-534f4b4f4e49")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Uuid),
    sa.Column("balance_cents", sa.BigInteger),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("kind", "owner_id", postgresql_nulls_not_distinct=True),
    sa.CheckConstraint(f"kind IN ({', '.join(repr(kind) for kind in KINDS)})", name="kind"),
    sa.CheckConstraint(
        f"(kind IN ({', '.join(repr(kind) for kind in KINDS if kind in CACHED)}))"
        " = (owner_id IS NOT NULL)",
        name="owner_id",
    ),
    sa.CheckConstraint("(owner_id IS NULL) = (balance_cents IS NULL)", name="cached"),
    sa.CheckConstraint("balance_cents >= 0", name="balance_cents"),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("transfer_id", sa.Uuid, sa.ForeignKey("transfers.id"), nullable=False, index=True),
    sa.Column("account_id", sa.Uuid, sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),  # debit above zero, credit below
    sa.CheckConstraint("amount_cents <> 0", name="amount_cents"),
    sa.Index("ix_entries_account_id", "account_id", "id"),
)

# Of accounts without a cached balance: the sum of the entries before this one.
marks = sa.Table(
    "ledger_marks",
    metadata,
    sa.Column("account_id", sa.Uuid, sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("before_id", sa.Uuid, nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),  # debits less credits
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)

# An entry's id carries the time of its making; by now whoever made an older one has committed.
MARK_BEHIND: Final = timedelta(minutes=10)


class Conflict(Exception):
    """A transfer's key is used already, for other entries. Nothing has moved."""


class Overdrawn(Exception):
    """A transfer would take more from an account than it holds. Nothing has moved."""


@dataclass(frozen=True, order=True)
class Account:
    """kind: one of KINDS. owner_id: the order, member or payout it belongs to, if one."""

    kind: str
    owner_id: UUID | None = None

    def __post_init__(self) -> None:
        assert self.kind in KINDS, f"no account is called {self.kind}"
        assert (self.kind in CACHED) == (self.owner_id is not None), f"whose {self.kind}?"

    @property
    def id(self) -> UUID:
        """Follows from what it is, so that a posting needs no look-up."""
        return uuid5(_NAMESPACE, f"{self.kind}:{self.owner_id}")

    @property
    def debit_normal(self) -> bool:
        return self.kind[0] in _DEBIT_NORMAL


C2B: Final = Account("A.c2b")  # the collection float: what payers sent, at M-Pesa
B2C: Final = Account("A.b2c")  # the payout float
TRANSIT: Final = Account("A.transit")
BANK: Final = Account("A.bank")
SUSPENSE: Final = Account("L.suspense")  # money nobody can explain yet
MPESA_CHARGES_OWED: Final = Account("L.mcharges")
CAPITAL: Final = Account("Q.capital")
FEES: Final = Account("R.fee")
MPESA_CHARGES: Final = Account("E.mcharges")
LOSS: Final = Account("E.loss")


def escrow(order_id: UUID) -> Account:
    """Money held for one order."""
    return Account("L.escrow", order_id)


def buyer(member_id: UUID) -> Account:
    """What a member has back as a buyer, and may withdraw."""
    return Account("L.buyer", member_id)


def seller(member_id: UUID) -> Account:
    """What a member has earned as a seller, and may withdraw."""
    return Account("L.seller", member_id)


def out(payout_id: UUID) -> Account:
    """A payout or refund on its way."""
    return Account("L.out", payout_id)


@dataclass(frozen=True)
class Leg:
    """One entry to be. amount_cents: a debit is above zero, a credit below."""

    account: Account
    amount_cents: int


@dataclass(frozen=True)
class Transfer:
    """What is to be moved at once. key: by which it is known, and moved no second time."""

    kind: str
    key: str
    legs: Sequence[Leg]

    def __post_init__(self) -> None:
        assert len(self.legs) >= 2, f"{self.key} has one leg only: {self.legs}"
        assert sum(leg.amount_cents for leg in self.legs) == 0, f"unbalanced: {self}"
        assert all(leg.amount_cents for leg in self.legs), f"{self.key} has an empty leg"

    @property
    def body_hash(self) -> bytes:
        body = [self.kind, *sorted(f"{leg.account.id} {leg.amount_cents}" for leg in self.legs)]
        return sha256("\n".join(body).encode()).digest()


def debit(account: Account, cents: int) -> Leg:
    return Leg(account, cents)


def credit(account: Account, cents: int) -> Leg:
    return Leg(account, -cents)


def post(
    db: Db, kind: str, key: str, legs: Sequence[Leg], now: datetime
) -> Literal["posted", "repeat"]:
    """Move money, once for each key. "repeat": the same was posted under this key before.

    Raises Conflict: the key stands for another transfer; Overdrawn: an account would go below
    zero. Neither moves anything.
    """
    transfer = Transfer(kind, key, legs)
    if _overdraws(db, legs, _ensure(db, legs, now)):
        if _was_posted(db, transfer):
            return "repeat"
        raise Overdrawn(f"{key} takes more than there is: {legs}")
    if _insert(db, [transfer], now):
        return "posted"
    assert _was_posted(db, transfer), f"{key} was refused, and is not there"
    return "repeat"


def post_all(db: Db, transfers: Sequence[Transfer], now: datetime) -> None:
    """Move all of this money at once, for the first time; all accounts are locked in their order.

    Raises Conflict: a key was used before, if for the same; Overdrawn. Neither moves anything.
    """
    legs = [leg for transfer in transfers for leg in transfer.legs]
    if _overdraws(db, legs, _ensure(db, legs, now)):
        raise Overdrawn(f"more is taken than there is: {transfers}")
    if not _insert(db, transfers, now):
        raise Conflict(f"one was posted before: {[transfer.key for transfer in transfers]}")


def balance(db: Db, account: Account) -> int:
    """In cents, positive on the account's own side. An account never used has nothing."""
    if account.kind in CACHED:
        cached = db.value(
            "SELECT balance_cents FROM accounts WHERE id = %(id)s", {"id": account.id}
        )
        return int(cached or 0)
    return total(db, [account]) if account.debit_normal else -total(db, [account])


def total(db: Db, of: Sequence[Account]) -> int:
    """The debits less the credits of all of them together, in cents."""
    return int(
        db.value(
            """
            SELECT coalesce(sum(coalesce(m.amount_cents, 0) + coalesce(e.cents, 0)), 0)::bigint
            FROM unnest(%(ids)s::uuid[]) AS a (id)
            LEFT JOIN ledger_marks m ON m.account_id = a.id
            LEFT JOIN LATERAL (
                SELECT sum(amount_cents) AS cents FROM entries
                WHERE account_id = a.id AND id >= coalesce(m.before_id, %(first)s)
            ) AS e ON true
            """,
            {"ids": [account.id for account in of], "first": UUID(int=0)},
        )
    )


def moved_since(db: Db, account: Account, at: datetime) -> bool:
    """Whether anything was posted on the account at that time or later."""
    return bool(
        db.value(
            """
            SELECT EXISTS (SELECT FROM entries WHERE account_id = %(id)s AND id >= %(first)s)
            """,
            {"id": account.id, "first": _first_id(at)},
        )
    )


def mark(db: Db, now: datetime) -> int:
    """Note how much lies on each account whose balance is not cached; of how many accounts."""
    before_id = _first_id(now - MARK_BEHIND)
    return db.run(
        """
        INSERT INTO ledger_marks (account_id, before_id, amount_cents, at)
        SELECT a.id, %(before_id)s, coalesce(m.amount_cents, 0) + coalesce(e.cents, 0), %(now)s
        FROM accounts a
        LEFT JOIN ledger_marks m ON m.account_id = a.id
        LEFT JOIN LATERAL (
            SELECT sum(amount_cents)::bigint AS cents FROM entries
            WHERE account_id = a.id AND id >= coalesce(m.before_id, %(first)s)
              AND id < %(before_id)s
        ) AS e ON true
        WHERE a.balance_cents IS NULL AND coalesce(m.before_id, %(first)s) < %(before_id)s
        ON CONFLICT (account_id) DO UPDATE
        SET before_id = excluded.before_id, amount_cents = excluded.amount_cents, at = excluded.at
        WHERE ledger_marks.before_id < excluded.before_id
        """,
        {"before_id": before_id, "first": UUID(int=0), "now": now},
    )


@dataclass(frozen=True)
class Balance:
    """All accounts of one kind. debits_cents and credits_cents are both positive."""

    kind: str
    debits_cents: int
    credits_cents: int

    @property
    def balance_cents(self) -> int:
        """Positive on the kind's own side."""
        side = 1 if self.kind[0] in _DEBIT_NORMAL else -1
        return side * (self.debits_cents - self.credits_cents)


def trial_balance(db: Db) -> list[Balance]:
    """Every kind of account that was ever used, by its name."""
    return db.rows(
        Balance,
        """
        SELECT a.kind,
               coalesce(sum(e.amount_cents) FILTER (WHERE e.amount_cents > 0), 0)::bigint
                   AS debits_cents,
               coalesce(-sum(e.amount_cents) FILTER (WHERE e.amount_cents < 0), 0)::bigint
                   AS credits_cents
        FROM accounts a JOIN entries e ON e.account_id = a.id
        GROUP BY a.kind ORDER BY a.kind
        """,
    )


def unbalanced_transfers(db: Db) -> int:
    """Transfers whose entries do not sum to zero. The database refuses them: always 0."""
    return int(
        db.value(
            """
            SELECT count(*) FROM (
                SELECT FROM transfers t LEFT JOIN entries e ON e.transfer_id = t.id
                GROUP BY t.id HAVING count(e.id) < 2 OR sum(e.amount_cents) <> 0
            ) AS wrong
            """
        )
    )


def stale_balances(db: Db) -> int:
    """Cached balances, and marks, that are not the sum of their entries: always 0."""
    return int(
        db.value(
            """
            SELECT count(*) FROM (
                SELECT a.id FROM accounts a LEFT JOIN entries e ON e.account_id = a.id
                WHERE a.balance_cents IS NOT NULL
                GROUP BY a.id HAVING a.balance_cents <> -coalesce(sum(e.amount_cents), 0)
                UNION ALL
                SELECT m.account_id FROM ledger_marks m
                LEFT JOIN entries e ON e.account_id = m.account_id AND e.id < m.before_id
                GROUP BY m.account_id
                HAVING m.amount_cents <> coalesce(sum(e.amount_cents), 0)
            ) AS stale
            """
        )
    )


@dataclass(frozen=True)
class HeldEscrow:
    """order: its id. held_cents: what lies on the escrow's account now."""

    order: UUID
    number: int
    state: str
    held_cents: int


def held_escrows(db: Db) -> list[HeldEscrow]:
    """Every escrow with money in it, by order number."""
    return db.rows(
        HeldEscrow,
        """
        SELECT o.id AS order, o.number, e.state, a.balance_cents AS held_cents
        FROM accounts a
        JOIN orders o ON o.id = a.owner_id
        JOIN escrows e ON e.order_id = o.id
        WHERE a.kind = 'L.escrow' AND a.balance_cents > 0
        ORDER BY o.number
        """,
    )


def _first_id(at: datetime) -> UUID:
    """No entry made from then on has a lower one: ids begin with their milliseconds."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


@dataclass(frozen=True)
class _Opened:
    id: UUID


def _ensure(db: Db, legs: Sequence[Leg], now: datetime) -> set[UUID]:
    """Open the accounts that are used for the first time; which they were."""
    used = sorted({leg.account for leg in legs}, key=_lock_order)
    opened = db.rows(
        _Opened,
        """
        INSERT INTO accounts (id, kind, owner_id, balance_cents, created_at, updated_at)
        SELECT id, kind, owner_id, balance_cents, %(now)s, %(now)s
        FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(owners)s::uuid[], %(zeros)s::bigint[])
            WITH ORDINALITY AS a (id, kind, owner_id, balance_cents, position)
        ORDER BY position
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        {
            "ids": [account.id for account in used],
            "kinds": [account.kind for account in used],
            "owners": [account.owner_id for account in used],
            "zeros": [0 if account.kind in CACHED else None for account in used],
            "now": now,
        },
    )
    return {account.id for account in opened}


def _lock_order(account: Account) -> tuple[str, str]:
    return account.kind, str(account.owner_id)


@dataclass(frozen=True)
class _Locked:
    id: UUID
    balance_cents: int


def _overdraws(db: Db, legs: Sequence[Leg], opened: Collection[UUID]) -> bool:
    """Would somebody's money go below zero? What is cached stays locked, and what is taken from.

    opened: accounts that this transaction made; they hold nothing, and nobody else sees them.
    """
    changes = _changes(legs)
    cached = {account.id: cents for account, cents in changes.items() if account.kind in CACHED}
    balances = dict.fromkeys(opened, 0)
    if known := cached.keys() - balances.keys():
        locked = db.rows(
            _Locked,
            """
            SELECT id, balance_cents FROM accounts
            WHERE id = ANY(%(ids)s) ORDER BY kind, owner_id FOR NO KEY UPDATE
            """,
            {"ids": list(known)},
        )
        balances |= {row.id: row.balance_cents for row in locked}
    if any(balances[account_id] + cents < 0 for account_id, cents in cached.items()):
        return True
    # Suspense and its like are taken from by an operator at most: the lock queues nobody else.
    for account in sorted(changes, key=_lock_order):
        if account.kind not in CACHED and changes[account] < 0:
            db.run("SELECT FROM accounts WHERE id = %(id)s FOR NO KEY UPDATE", {"id": account.id})
            if balance(db, account) + changes[account] < 0:
                return True
    return False


def _changes(legs: Sequence[Leg]) -> dict[Account, int]:
    """What each account of other people's money gains; these are credit-normal."""
    changes: dict[Account, int] = {}
    for leg in legs:
        if leg.account.kind.startswith("L."):
            changes[leg.account] = changes.get(leg.account, 0) - leg.amount_cents
    return changes


def _insert(db: Db, transfers: Sequence[Transfer], now: datetime) -> bool:
    """The transfers, their entries and the cached balances at once; False: a key is used.

    Then only those are there whose keys were not, without entries: the commit refuses that.
    """
    made = [(db.new_id(), transfer) for transfer in transfers]
    legs = [(made_id, db.new_id(), leg) for made_id, transfer in made for leg in transfer.legs]
    changes = _changes([leg for _, _, leg in legs])
    cached = {a.id: cents for a, cents in changes.items() if a.kind in CACHED}
    posted = db.value(
        """
        WITH inserted AS (
            INSERT INTO transfers (id, kind, key, body_hash, at)
            SELECT id, kind, key, body_hash, %(now)s
            FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(keys)s::text[],
                        %(body_hashes)s::bytea[]) AS t (id, kind, key, body_hash)
            ON CONFLICT (key) DO NOTHING
            RETURNING id
        ), posted AS (
            SELECT FROM inserted HAVING count(*) = cardinality(%(ids)s::uuid[])
        ), entered AS (
            INSERT INTO entries (id, transfer_id, account_id, amount_cents)
            SELECT e.id, e.transfer_id, e.account_id, e.amount_cents
            FROM posted, unnest(%(entry_ids)s::uuid[], %(transfer_ids)s::uuid[],
                                %(account_ids)s::uuid[], %(amounts)s::bigint[])
                AS e (id, transfer_id, account_id, amount_cents)
        ), cached AS (
            UPDATE accounts a
            SET balance_cents = a.balance_cents + c.cents, updated_at = %(now)s
            FROM posted, unnest(%(changed_ids)s::uuid[], %(changes)s::bigint[]) AS c (id, cents)
            WHERE a.id = c.id
        )
        SELECT CASE WHEN NOT EXISTS (SELECT FROM posted) THEN 'used'
                    WHEN EXISTS (SELECT FROM ledger_marks
                                 WHERE before_id > (%(entry_ids)s::uuid[])[1]) THEN 'late'
                    ELSE 'posted' END
        """,
        {
            "ids": [made_id for made_id, _ in made],
            "kinds": [transfer.kind for transfer in transfers],
            "keys": [transfer.key for transfer in transfers],
            "body_hashes": [transfer.body_hash for transfer in transfers],
            "transfer_ids": [made_id for made_id, _, _ in legs],
            "entry_ids": [entry_id for _, entry_id, _ in legs],
            "account_ids": [leg.account.id for _, _, leg in legs],
            "amounts": [leg.amount_cents for _, _, leg in legs],
            "changed_ids": list(cached),
            "changes": list(cached.values()),
            "now": now,
        },
    )
    assert posted != "late", f"{transfers} is older than a mark: is this machine's clock behind?"
    return bool(posted == "posted")


def _was_posted(db: Db, transfer: Transfer) -> bool:
    key = transfer.key
    found = db.value("SELECT body_hash FROM transfers WHERE key = %(key)s", {"key": key})
    if found is not None and bytes(found) != transfer.body_hash:
        raise Conflict(f"{key} stands for another transfer")
    return found is not None


def report(db: Db) -> dict[str, object]:
    """The books as JSON: cents by kind of account, the totals, the escrows, what was checked."""
    kinds = trial_balance(db)
    debits = sum(b.debits_cents for b in kinds)
    credited = sum(b.credits_cents for b in kinds)
    return {
        "accounts": {b.kind: b.balance_cents for b in kinds},
        "debits": debits,
        "credits": credited,
        "balanced": debits == credited and unbalanced_transfers(db) == 0,
        "cached_equal_fold": stale_balances(db) == 0,
        "escrows": [
            {
                "order": str(held.order),
                "number": held.number,
                "state": held.state,
                "held_cents": held.held_cents,
            }
            for held in held_escrows(db)
        ],
    }


def main() -> None:
    """`python -m core.ledger [--json]`; ends with 1 where the books do not balance."""
    from settings import from_environment  # here only: the business itself knows no settings

    settings = from_environment()
    if settings.database_url is None:
        raise SystemExit("Ledger: no database. Set DATABASE_URL, or start one: make services")
    database = Database(settings.database_url)
    try:
        with database.begin() as db:
            db.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            books = report(db)
            kinds = trial_balance(db)
    finally:
        database.close()
    if "--json" in sys.argv[1:]:
        print(json.dumps(books, indent=2))
    else:
        print(_table(books, kinds))
    if not (books["balanced"] and books["cached_equal_fold"]):
        raise SystemExit(1)


def _table(books: dict[str, object], kinds: Sequence[Balance]) -> str:
    """In shillings, as people read books."""
    rows = [("account", "debits", "credits", "balance")]
    rows += [
        (b.kind, show(b.debits_cents), show(b.credits_cents), show(b.balance_cents)) for b in kinds
    ]
    debits = sum(b.debits_cents for b in kinds)
    credited = sum(b.credits_cents for b in kinds)
    rows.append(("total", show(debits), show(credited), ""))
    lines = [
        f"{name:<12}{left:>16}{right:>16}{own:>16}".rstrip() for name, left, right, own in rows
    ]
    verdict = "balanced" if books["balanced"] else "NOT BALANCED"
    cached = "equal" if books["cached_equal_fold"] else "DO NOT EQUAL"
    return "\n".join([*lines, f"{verdict}; cached balances {cached} the sum of their entries"])


if __name__ == "__main__":
    main()
