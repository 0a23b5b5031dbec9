"""SMS both ways: replies, opt-outs, broadcasts, the channel each message goes by, and its cost."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE messages
            ALTER COLUMN member_id DROP NOT NULL,
            ADD COLUMN channel text,
            ADD COLUMN address text,
            ADD COLUMN can_wait boolean NOT NULL DEFAULT false,
            ADD COLUMN batch_id uuid,
            ADD COLUMN cost_currency text,
            ADD COLUMN cost_milli_cents bigint,
            DROP CONSTRAINT ck_messages_class,
            ADD CONSTRAINT ck_messages_class
                CHECK (class IN ('code', 'receipt', 'alert', 'marketing', 'reply')),
            ADD CONSTRAINT ck_messages_channel CHECK (channel IN ('sms', 'telegram'))
    """)
    op.execute("""
        UPDATE messages
        SET channel = 'sms',
            cost_currency = substring(cost FROM '^([A-Z]{3}) '),
            cost_milli_cents = (substring(cost FROM '([0-9]+[.]?[0-9]*)$')::numeric * 100000)
        WHERE state <> 'queued'
    """)
    op.execute("CREATE INDEX ix_messages_msisdn ON messages (msisdn, claimed_at)")
    op.execute("""
        CREATE INDEX ix_messages_batch_id ON messages (batch_id) WHERE (batch_id IS NOT NULL)
    """)
    op.execute("""
        CREATE TABLE opt_outs (
            msisdn text NOT NULL,
            class text NOT NULL,
            by text NOT NULL,
            since timestamptz NOT NULL,
            CONSTRAINT pk_opt_outs PRIMARY KEY (msisdn, class),
            CONSTRAINT ck_opt_outs_class_by
                CHECK ((class, by) IN (('marketing', 'stop'), ('all', 'network')))
        )
    """)
    op.execute("""
        CREATE TABLE heard (
            digest bytea NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT pk_heard PRIMARY KEY (digest)
        )
    """)
    op.execute("CREATE INDEX ix_heard_created_at ON heard (created_at)")


def downgrade() -> None:
    op.execute("DROP TABLE heard")
    op.execute("DROP TABLE opt_outs")
    op.execute("DELETE FROM outbox WHERE kind IN ('sms_screen', 'sms_batch')")
    op.execute("DELETE FROM messages WHERE member_id IS NULL OR class = 'reply'")
    op.execute("DROP INDEX ix_messages_batch_id")
    op.execute("DROP INDEX ix_messages_msisdn")
    op.execute("""
        ALTER TABLE messages
            DROP CONSTRAINT ck_messages_channel,
            DROP CONSTRAINT ck_messages_class,
            ADD CONSTRAINT ck_messages_class
                CHECK (class IN ('code', 'receipt', 'alert', 'marketing')),
            DROP COLUMN cost_milli_cents,
            DROP COLUMN cost_currency,
            DROP COLUMN batch_id,
            DROP COLUMN can_wait,
            DROP COLUMN address,
            DROP COLUMN channel,
            ALTER COLUMN member_id SET NOT NULL
    """)
