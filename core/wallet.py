"""Wallet: what a member may withdraw, whether earned as a seller or come back as a buyer."""

from dataclasses import dataclass
from uuid import UUID

from core import ledger
from core.database import Db


@dataclass(frozen=True)
class Balance:
    """In cents. earned: as a seller. returned: come back as a buyer. on_its_way: set aside for the
    payouts that have not ended yet, and in neither of the two."""

    earned_cents: int
    returned_cents: int
    on_its_way_cents: int

    @property
    def total_cents(self) -> int:
        """What may be withdrawn."""
        return self.earned_cents + self.returned_cents


def balance(db: Db, member_id: UUID) -> Balance:
    on_its_way_cents: int = db.value(
        """
        SELECT coalesce(sum(amount_cents), 0)::bigint FROM payouts
        WHERE member_id = %(member_id)s AND state NOT IN ('paid', 'failed')
        """,
        {"member_id": member_id},
    )
    return Balance(
        earned_cents=ledger.balance(db, ledger.seller(member_id)),
        returned_cents=ledger.balance(db, ledger.buyer(member_id)),
        on_its_way_cents=on_its_way_cents,
    )
