"""An order comes in part, or less of it than was ordered."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nothing of it is used by the release before, for which every order comes whole.
    op.execute("""
        ALTER TABLE orders
            ADD COLUMN reduced_cents bigint NOT NULL DEFAULT 0,
            ADD COLUMN came_cents bigint NOT NULL DEFAULT 0,
            ADD CONSTRAINT ck_orders_parts
                CHECK (reduced_cents >= 0 AND came_cents >= 0
                       AND reduced_cents + came_cents <= total_cents)
    """)
    op.execute("""
        ALTER TABLE lines
            ADD COLUMN reduced_milli bigint NOT NULL DEFAULT 0,
            ADD COLUMN came_milli bigint NOT NULL DEFAULT 0,
            ADD COLUMN behind_milli bigint NOT NULL DEFAULT 0,
            ADD CONSTRAINT ck_lines_parts
                CHECK (reduced_milli >= 0 AND came_milli >= 0 AND behind_milli >= 0
                       AND reduced_milli + came_milli + behind_milli <= quantity_milli)
    """)
    op.execute("""
        CREATE TABLE reductions (
            id uuid NOT NULL,
            order_id uuid NOT NULL,
            line_id uuid NOT NULL,
            kind text NOT NULL,
            proposed_by uuid NOT NULL,
            from_milli bigint NOT NULL,
            to_milli bigint NOT NULL,
            refund_cents bigint NOT NULL,
            restock boolean NOT NULL,
            state text NOT NULL,
            answer_by timestamptz NOT NULL,
            created_at timestamptz NOT NULL,
            ended_at timestamptz,
            CONSTRAINT pk_reductions PRIMARY KEY (id),
            CONSTRAINT ck_reductions_kind CHECK (kind IN ('short', 'less_came')),
            CONSTRAINT ck_reductions_state
                CHECK (state IN ('open', 'agreed', 'declined', 'withdrawn', 'lapsed')),
            CONSTRAINT ck_reductions_less CHECK (to_milli >= 0 AND to_milli < from_milli),
            CONSTRAINT ck_reductions_refund_cents
                CHECK (refund_cents > 0 AND refund_cents % 100 = 0),
            CONSTRAINT ck_reductions_ended_at CHECK ((state = 'open') = (ended_at IS NULL)),
            CONSTRAINT fk_reductions_order_id FOREIGN KEY (order_id) REFERENCES orders (id),
            CONSTRAINT fk_reductions_line_id FOREIGN KEY (line_id) REFERENCES lines (id),
            CONSTRAINT fk_reductions_proposed_by FOREIGN KEY (proposed_by) REFERENCES members (id)
        )
    """)
    op.execute("CREATE INDEX ix_reductions_order_id ON reductions (order_id)")
    op.execute("""
        CREATE UNIQUE INDEX uq_reductions_open ON reductions (order_id) WHERE state = 'open'
    """)


def downgrade() -> None:
    op.execute("""
        DELETE FROM outbox
        WHERE kind IN ('short_reminder', 'less_came_reminder', 'less_came_deadline')
    """)
    op.execute("DROP TABLE reductions")
    op.execute("""
        ALTER TABLE lines
            DROP COLUMN behind_milli, DROP COLUMN came_milli, DROP COLUMN reduced_milli
    """)
    op.execute("ALTER TABLE orders DROP COLUMN came_cents, DROP COLUMN reduced_cents")
