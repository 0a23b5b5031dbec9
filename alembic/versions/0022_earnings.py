"""A seller is paid at once, or when she asks."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE members ADD COLUMN paid_at_once boolean NOT NULL DEFAULT true")


def downgrade() -> None:
    op.execute("ALTER TABLE members DROP COLUMN paid_at_once")
