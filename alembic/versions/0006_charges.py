"""Payers are asked once and every proof is kept: charges, receipts, inbox, outbox, incidents."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE charges (
            id uuid NOT NULL,
            checkout_id uuid NOT NULL,
            msisdn text NOT NULL,
            amount_cents bigint NOT NULL,
            reference text NOT NULL,
            token_hash bytea NOT NULL,
            state text NOT NULL,
            code text,
            claimed_at timestamptz,
            asked_at timestamptz,
            push_id text,
            push_group_id text,
            receipt text,
            query_count integer NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_charges PRIMARY KEY (id),
            CONSTRAINT ck_charges_state
                CHECK (state IN ('created', 'pending', 'refused', 'unknown', 'failed', 'review',
                    'paid', 'reversed')),
            CONSTRAINT ck_charges_amount_cents
                CHECK (amount_cents > 0 AND amount_cents % 100 = 0),
            CONSTRAINT ck_charges_reference CHECK (reference ~ '^[A-Z0-9]{1,12}$'),
            CONSTRAINT fk_charges_checkout_id FOREIGN KEY (checkout_id) REFERENCES checkouts (id),
            CONSTRAINT uq_charges_reference UNIQUE (reference),
            CONSTRAINT uq_charges_token_hash UNIQUE (token_hash),
            CONSTRAINT uq_charges_push_id UNIQUE (push_id),
            CONSTRAINT uq_charges_receipt UNIQUE (receipt)
        )
    """)
    op.execute("CREATE INDEX ix_charges_checkout_id ON charges (checkout_id)")
    op.execute("CREATE INDEX ix_charges_msisdn ON charges (msisdn)")
    op.execute("""
        CREATE UNIQUE INDEX uq_charges_open_checkout ON charges (checkout_id)
        WHERE state IN ('created', 'pending', 'unknown')
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_charges_open_msisdn ON charges (msisdn)
        WHERE state IN ('created', 'pending', 'unknown')
    """)
    op.execute("""
        CREATE TABLE charge_codes (
            charge_id uuid NOT NULL,
            source text NOT NULL,
            code text NOT NULL,
            meaning text NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_charge_codes PRIMARY KEY (charge_id, source, code, meaning),
            CONSTRAINT fk_charge_codes_charge_id FOREIGN KEY (charge_id) REFERENCES charges (id)
        )
    """)
    op.execute("""
        CREATE TABLE receipts (
            receipt text NOT NULL,
            source text NOT NULL,
            charge_id uuid,
            amount_cents bigint NOT NULL,
            reference text NOT NULL,
            outcome text NOT NULL,
            at timestamptz NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_receipts PRIMARY KEY (receipt),
            CONSTRAINT ck_receipts_source
                CHECK (source IN ('callback', 'c2b', 'pull', 'statement')),
            CONSTRAINT ck_receipts_amount_cents CHECK (amount_cents > 0),
            CONSTRAINT fk_receipts_charge_id FOREIGN KEY (charge_id) REFERENCES charges (id)
        )
    """)
    op.execute("CREATE INDEX ix_receipts_charge_id ON receipts (charge_id)")
    op.execute("""
        CREATE TABLE inbox (
            id uuid NOT NULL,
            source text NOT NULL,
            key text NOT NULL,
            body_hash bytea NOT NULL,
            body bytea NOT NULL,
            headers jsonb NOT NULL,
            peer text NOT NULL,
            received_at timestamptz NOT NULL,
            processed_at timestamptz,
            outcome text,
            CONSTRAINT pk_inbox PRIMARY KEY (id),
            CONSTRAINT uq_inbox_source_key_body_hash UNIQUE (source, key, body_hash)
        )
    """)
    op.execute("""
        CREATE TABLE outbox (
            id uuid NOT NULL,
            kind text NOT NULL,
            arguments jsonb NOT NULL,
            due_at timestamptz NOT NULL,
            attempts integer NOT NULL,
            handed_until timestamptz,
            done_at timestamptz,
            last_error text,
            created_at timestamptz NOT NULL,
            CONSTRAINT pk_outbox PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_outbox_done ON outbox (done_at) WHERE done_at IS NOT NULL")
    op.execute("CREATE INDEX ix_outbox_due ON outbox (due_at) WHERE done_at IS NULL")
    op.execute("""
        CREATE UNIQUE INDEX uq_outbox_open ON outbox (kind, arguments)
        WHERE done_at IS NULL
    """)
    op.execute("""
        CREATE TABLE incidents (
            id uuid NOT NULL,
            kind text NOT NULL,
            subject text NOT NULL,
            detail jsonb NOT NULL,
            opened_at timestamptz NOT NULL,
            closed_at timestamptz,
            note text,
            CONSTRAINT pk_incidents PRIMARY KEY (id)
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_incidents_open ON incidents (kind, subject)
        WHERE closed_at IS NULL
    """)


def downgrade() -> None:
    op.execute("DROP TABLE incidents")
    op.execute("DROP TABLE outbox")
    op.execute("DROP TABLE inbox")
    op.execute("DROP TABLE receipts")
    op.execute("DROP TABLE charge_codes")
    op.execute("DROP TABLE charges")
