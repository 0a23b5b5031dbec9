"""Another phone pays, another person receives, large sums are paid in parts."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE orders
            ADD COLUMN receiver_name text,
            ADD COLUMN receiver_msisdn text,
            ADD CONSTRAINT ck_orders_receiver
                CHECK ((receiver_name IS NULL) = (receiver_msisdn IS NULL))
    """)
    op.execute("""
        ALTER TABLE opt_outs
            DROP CONSTRAINT ck_opt_outs_class_by,
            ADD CONSTRAINT ck_opt_outs_class_by CHECK (
                (class, by) IN (('marketing', 'stop'), ('asking', 'refuse'), ('all', 'network')))
    """)


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE kind = 'next_part'")
    op.execute("DELETE FROM opt_outs WHERE class = 'asking'")
    op.execute("""
        ALTER TABLE opt_outs
            DROP CONSTRAINT ck_opt_outs_class_by,
            ADD CONSTRAINT ck_opt_outs_class_by
                CHECK ((class, by) IN (('marketing', 'stop'), ('all', 'network')))
    """)
    op.execute("""
        ALTER TABLE orders
            DROP CONSTRAINT ck_orders_receiver,
            DROP COLUMN receiver_msisdn,
            DROP COLUMN receiver_name
    """)
