"""Due work is found by its kind, however much of another kind waits."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP INDEX ix_outbox_due")
    op.execute("CREATE INDEX ix_outbox_due ON outbox (kind, due_at, id) WHERE done_at IS NULL")


def downgrade() -> None:
    op.execute("DROP INDEX ix_outbox_due")
    op.execute("CREATE INDEX ix_outbox_due ON outbox (due_at) WHERE done_at IS NULL")
