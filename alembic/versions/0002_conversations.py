"""Conversations are kept with what they changed, so that a dropped session loses nothing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.Uuid),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("msisdn", sa.Text),
        sa.Column("language", sa.Text),
        sa.Column("session", sa.Text),
        sa.Column("service_code", sa.Text),
        sa.Column("accepted_length", sa.Integer, nullable=False),
        sa.Column("accepted_digest", sa.LargeBinary),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("frame", JSONB),
        sa.Column("parked", JSONB),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
        sa.UniqueConstraint("channel", "address", name="uq_conversations_channel_address"),
    )
    op.create_index("ix_conversations_msisdn", "conversations", ["msisdn"])
    op.create_table(
        "hops",
        sa.Column("session", sa.Text),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("conversation_id", sa.Uuid, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("screen", sa.Text, nullable=False),
        sa.Column("ends", sa.Boolean, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("session", "digest", name="pk_hops"),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name="fk_hops_conversation_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_hops_created_at", "hops", ["created_at"])
    op.create_table(
        "session_ends",
        sa.Column("session", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("hops", sa.Integer),
        sa.Column("milliseconds", sa.Integer),
        sa.Column("cost", sa.Text),
        sa.Column("network", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("session", name="pk_session_ends"),
    )
    op.create_index("ix_session_ends_created_at", "session_ends", ["created_at"])


def downgrade() -> None:
    op.drop_table("session_ends")
    op.drop_table("hops")
    op.drop_table("conversations")
