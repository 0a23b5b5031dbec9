"""Money nobody could explain finds whose it is, by the word of two people."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE explanations (
            id uuid NOT NULL,
            receipt text NOT NULL,
            charge_id uuid NOT NULL,
            state text NOT NULL,
            reason text NOT NULL,
            proposed_by uuid NOT NULL,
            proposed_at timestamptz NOT NULL,
            decided_by uuid,
            decided_at timestamptz,
            CONSTRAINT pk_explanations PRIMARY KEY (id),
            CONSTRAINT fk_explanations_receipt
                FOREIGN KEY (receipt) REFERENCES receipts (receipt),
            CONSTRAINT fk_explanations_charge_id
                FOREIGN KEY (charge_id) REFERENCES charges (id),
            CONSTRAINT fk_explanations_proposed_by
                FOREIGN KEY (proposed_by) REFERENCES staff (id),
            CONSTRAINT fk_explanations_decided_by
                FOREIGN KEY (decided_by) REFERENCES staff (id),
            CONSTRAINT ck_explanations_state
                CHECK (state IN ('proposed', 'booked', 'declined')),
            CONSTRAINT ck_explanations_decided CHECK (
                (state = 'proposed') = (decided_by IS NULL)
                AND (decided_by IS NULL) = (decided_at IS NULL)),
            CONSTRAINT ck_explanations_two_people
                CHECK (state <> 'booked' OR decided_by <> proposed_by),
            CONSTRAINT ck_explanations_reason CHECK (char_length(reason) BETWEEN 10 AND 500)
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_explanations_receipt ON explanations (receipt)
        WHERE state <> 'declined'
    """)


def downgrade() -> None:
    op.execute("DROP TABLE explanations")
