"""Two people who found each other elsewhere trade through escrow."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE orders
            ADD COLUMN title text,
            ADD COLUMN agreed boolean NOT NULL DEFAULT false,
            ADD CONSTRAINT ck_orders_title CHECK (title <> '')
    """)
    op.execute("""
        CREATE TABLE deals (
            id uuid NOT NULL,
            number bigint NOT NULL,
            state text NOT NULL,
            opener_id uuid NOT NULL,
            opener_is text NOT NULL,
            invited_msisdn text NOT NULL,
            invited_id uuid,
            title text NOT NULL,
            terms text NOT NULL,
            total_cents bigint NOT NULL,
            fee_cents bigint NOT NULL,
            due_on date NOT NULL,
            answer_by timestamptz NOT NULL,
            seller_proved boolean NOT NULL,
            invited_at timestamptz,
            reminded_at timestamptz,
            order_id uuid,
            closed_at timestamptz,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_deals PRIMARY KEY (id),
            CONSTRAINT uq_deals_number UNIQUE (number),
            CONSTRAINT uq_deals_order_id UNIQUE (order_id),
            CONSTRAINT ck_deals_state
                CHECK (state IN ('open', 'accepted', 'declined', 'withdrawn', 'lapsed')),
            CONSTRAINT ck_deals_opener_is CHECK (opener_is IN ('buyer', 'seller')),
            CONSTRAINT ck_deals_two_people CHECK (opener_id <> invited_id),
            CONSTRAINT ck_deals_total_cents
                CHECK (total_cents BETWEEN 1000 AND 25000000 AND total_cents % 100 = 0),
            CONSTRAINT ck_deals_fee_cents CHECK (fee_cents BETWEEN 0 AND total_cents),
            CONSTRAINT ck_deals_closed_at CHECK ((state = 'open') = (closed_at IS NULL)),
            CONSTRAINT ck_deals_order_id CHECK ((state = 'accepted') = (order_id IS NOT NULL)),
            CONSTRAINT ck_deals_invited_id CHECK (state <> 'accepted' OR invited_id IS NOT NULL),
            CONSTRAINT fk_deals_opener_id FOREIGN KEY (opener_id) REFERENCES members (id),
            CONSTRAINT fk_deals_invited_id FOREIGN KEY (invited_id) REFERENCES members (id),
            CONSTRAINT fk_deals_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
        )
    """)
    op.execute("CREATE INDEX ix_deals_opener_id ON deals (opener_id, created_at)")
    op.execute("CREATE INDEX ix_deals_invited_msisdn ON deals (invited_msisdn, created_at)")
    op.execute("""
        CREATE UNIQUE INDEX uq_deals_open ON deals
            (opener_id, opener_is, invited_msisdn, title, terms, total_cents, due_on)
        WHERE state = 'open'
    """)


def downgrade() -> None:
    op.execute("DROP TABLE deals")
    op.execute("""
        DELETE FROM outbox WHERE kind IN ('deal_invitation', 'deal_reminder', 'deal_deadline')
    """)
    op.execute("ALTER TABLE orders DROP COLUMN title, DROP COLUMN agreed")
