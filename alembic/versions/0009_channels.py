"""One conversation on many channels: where it went on, who spoke, what each answer did."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("parked_from", sa.Uuid))
    op.add_column("conversations", sa.Column("speaker_id", sa.Uuid))
    op.add_column("conversations", sa.Column("proved_at", TIMESTAMP(timezone=True)))
    op.add_column("conversations", sa.Column("shown_message", sa.BigInteger))
    op.add_column("conversations", sa.Column("nudged_at", TIMESTAMP(timezone=True)))
    op.add_column(
        "hops", sa.Column("kind", sa.Text, nullable=False, server_default=sa.text("'passed'"))
    )


def downgrade() -> None:
    op.drop_column("hops", "kind")
    for column in ("nudged_at", "shown_message", "proved_at", "speaker_id", "parked_from"):
        op.drop_column("conversations", column)
