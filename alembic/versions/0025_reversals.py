"""A payment that M-Pesa itself gave back is booked against that payment, wherever it lies."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

OTHERS = "'suspense', 'loss', 'charges', 'owed', 'bank', 'transit', 'capital'"


def upgrade() -> None:
    _allow(f"{OTHERS}, 'payment', 'nothing', 'buyer', 'seller'")


def downgrade() -> None:
    """What was booked so was taken from the buyer, if anybody asks an earlier release."""
    op.execute("UPDATE resolutions SET against = 'buyer' WHERE against = 'payment'")
    _allow(f"{OTHERS}, 'buyer', 'seller', 'nothing'")


def _allow(words: str) -> None:
    op.execute("ALTER TABLE resolutions DROP CONSTRAINT ck_resolutions_against")
    op.execute(
        "ALTER TABLE resolutions ADD CONSTRAINT ck_resolutions_against"
        f" CHECK (against IN ({words}))"
    )
