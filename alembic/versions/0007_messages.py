"""What people are told is kept: each message once, followed from the queue to the phone."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE messages (
            id uuid NOT NULL,
            key text NOT NULL,
            trigger text NOT NULL,
            class text NOT NULL,
            member_id uuid NOT NULL,
            msisdn text NOT NULL,
            language text NOT NULL,
            text text NOT NULL,
            encoding text NOT NULL,
            segments integer NOT NULL,
            state text NOT NULL,
            attempts integer NOT NULL,
            maybe_twice boolean NOT NULL,
            claimed_at timestamptz,
            provider_id text,
            cost text,
            failure text,
            order_id uuid,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            sent_at timestamptz,
            final_at timestamptz,
            CONSTRAINT pk_messages PRIMARY KEY (id),
            CONSTRAINT ck_messages_class
                CHECK (class IN ('code', 'receipt', 'alert', 'marketing')),
            CONSTRAINT ck_messages_encoding CHECK (encoding IN ('gsm', 'ucs2')),
            CONSTRAINT ck_messages_segments CHECK (segments > 0),
            CONSTRAINT ck_messages_state
                CHECK (state IN ('queued', 'sending', 'sent', 'delivered', 'failed', 'unknown')),
            CONSTRAINT fk_messages_member_id FOREIGN KEY (member_id) REFERENCES members (id),
            CONSTRAINT fk_messages_order_id FOREIGN KEY (order_id) REFERENCES orders (id),
            CONSTRAINT uq_messages_key UNIQUE (key),
            CONSTRAINT uq_messages_provider_id UNIQUE (provider_id)
        )
    """)
    op.execute("CREATE INDEX ix_messages_member_id ON messages (member_id, created_at)")
    op.execute("CREATE INDEX ix_messages_order_id ON messages (order_id)")
    op.execute("""
        CREATE TABLE early_reports (
            provider_id text NOT NULL,
            state text NOT NULL,
            failure text,
            created_at timestamptz NOT NULL,
            CONSTRAINT pk_early_reports PRIMARY KEY (provider_id),
            CONSTRAINT ck_early_reports_state CHECK (state IN ('delivered', 'failed'))
        )
    """)
    op.execute("CREATE INDEX ix_early_reports_created_at ON early_reports (created_at)")


def downgrade() -> None:
    op.execute("DROP TABLE early_reports")
    op.execute("DROP TABLE messages")
