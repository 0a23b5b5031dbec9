"""A paid order goes somewhere, on a day, against a code; orders placed before: tomorrow, home."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE orders
            ADD COLUMN place_id uuid,
            ADD COLUMN deliver_on date,
            ADD COLUMN dispatch_by timestamptz,
            ADD COLUMN inspect_by timestamptz,
            ADD CONSTRAINT fk_orders_place_id FOREIGN KEY (place_id) REFERENCES places (id)
    """)
    op.execute("""
        UPDATE orders o
        SET place_id = m.place_id,
            deliver_on = (greatest(o.created_at, CASE WHEN o.state = 'paid' THEN now() END)
                          AT TIME ZONE 'UTC' + interval '3 hours')::date + 1,
            accept_by = CASE WHEN o.state = 'paid' THEN now() + interval '24 hours'
                             ELSE o.accept_by END
        FROM members m WHERE m.id = o.buyer_id
    """)
    op.execute("""
        ALTER TABLE orders
            ALTER COLUMN place_id SET NOT NULL,
            ALTER COLUMN deliver_on SET NOT NULL
    """)
    op.execute("""
        CREATE TABLE deliveries (
            order_id uuid NOT NULL,
            generation integer NOT NULL,
            tries integer NOT NULL,
            entered_at timestamptz,
            claimed_at timestamptz,
            claim_note text,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_deliveries PRIMARY KEY (order_id),
            CONSTRAINT ck_deliveries_generation CHECK (generation > 0),
            CONSTRAINT ck_deliveries_tries CHECK (tries BETWEEN 0 AND 5),
            CONSTRAINT fk_deliveries_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
        )
    """)
    op.execute("""
        INSERT INTO deliveries (order_id, generation, tries, created_at, updated_at)
        SELECT id, 1, 0, now(), now() FROM orders WHERE state = 'paid'
    """)
    op.execute("""
        INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
        SELECT gen_random_uuid(), 'accept_deadline', jsonb_build_object('order_id', id),
               accept_by, 0, now()
        FROM orders WHERE state = 'paid'
    """)


def downgrade() -> None:
    op.execute("""
        DELETE FROM outbox WHERE kind IN (
            'payment_reminder', 'accept_reminder', 'accept_deadline', 'dispatch_reminder',
            'dispatch_deadline', 'delivery_deadline', 'inspection_reminder', 'inspection_over')
    """)
    op.execute("DROP TABLE deliveries")
    op.execute("""
        ALTER TABLE orders
            DROP COLUMN inspect_by,
            DROP COLUMN dispatch_by,
            DROP COLUMN deliver_on,
            DROP COLUMN place_id
    """)
