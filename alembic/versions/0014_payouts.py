"""Money goes out: payouts with an identity of their own, the paths of their results, freezes."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE payouts (
            id uuid NOT NULL,
            member_id uuid NOT NULL,
            account text NOT NULL,
            kind text NOT NULL,
            amount_cents bigint NOT NULL,
            msisdn text NOT NULL,
            state text NOT NULL,
            waits_for text,
            originator_id text,
            conversation_id text,
            receipt text,
            reverses_receipt text,
            charge_cents bigint,
            code text,
            attempts integer NOT NULL,
            query_count integer NOT NULL,
            requested_by text NOT NULL,
            approved_by text,
            approved_at timestamptz,
            claimed_at timestamptz,
            asked_at timestamptz,
            settled_at timestamptz,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_payouts PRIMARY KEY (id),
            CONSTRAINT ck_payouts_state
                CHECK (state IN ('requested', 'approved', 'submitting', 'accepted', 'unknown',
                                 'paid', 'failed')),
            CONSTRAINT ck_payouts_account CHECK (account IN ('buyer', 'seller')),
            CONSTRAINT ck_payouts_kind CHECK (kind IN ('withdrawal', 'refund', 'reversal')),
            CONSTRAINT ck_payouts_refund_of_buyer CHECK (kind = 'withdrawal' OR account = 'buyer'),
            CONSTRAINT ck_payouts_waits_for CHECK (waits_for IN ('frozen', 'halted', 'float')),
            CONSTRAINT ck_payouts_waits CHECK (waits_for IS NULL OR state = 'approved'),
            CONSTRAINT ck_payouts_amount_cents
                CHECK (amount_cents % 100 = 0 AND amount_cents <= 25000000 AND amount_cents >=
                    CASE kind WHEN 'reversal' THEN 100 ELSE 1000 END),
            CONSTRAINT ck_payouts_reverses
                CHECK ((kind = 'reversal') = (reverses_receipt IS NOT NULL)),
            CONSTRAINT ck_payouts_originator_id
                CHECK (kind = 'reversal' OR originator_id IS NOT NULL),
            CONSTRAINT ck_payouts_approved
                CHECK (state IN ('requested', 'failed') OR approved_by IS NOT NULL),
            CONSTRAINT ck_payouts_two_people CHECK (approved_by <> requested_by),
            CONSTRAINT fk_payouts_member_id FOREIGN KEY (member_id) REFERENCES members (id),
            CONSTRAINT fk_payouts_reverses_receipt
                FOREIGN KEY (reverses_receipt) REFERENCES receipts (receipt),
            CONSTRAINT uq_payouts_originator_id UNIQUE (originator_id),
            CONSTRAINT uq_payouts_receipt UNIQUE (receipt),
            CONSTRAINT uq_payouts_reverses_receipt UNIQUE (reverses_receipt)
        )
    """)
    op.execute("CREATE INDEX ix_payouts_member_id ON payouts (member_id, created_at)")
    op.execute("""
        CREATE INDEX ix_payouts_sent ON payouts (kind)
        WHERE state IN ('submitting', 'accepted', 'unknown')
    """)
    op.execute("""
        CREATE INDEX ix_payouts_waiting ON payouts (approved_at, id) WHERE state = 'approved'
    """)
    op.execute("CREATE INDEX ix_payouts_requested ON payouts (id) WHERE state = 'requested'")
    op.execute("""
        CREATE TABLE payout_codes (
            payout_id uuid NOT NULL,
            source text NOT NULL,
            code text NOT NULL,
            meaning text NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_payout_codes PRIMARY KEY (payout_id, source, code, meaning),
            CONSTRAINT fk_payout_codes_payout_id FOREIGN KEY (payout_id) REFERENCES payouts (id)
        )
    """)
    op.execute("""
        CREATE TABLE reply_paths (
            token_hash bytea NOT NULL,
            kind text NOT NULL,
            subject_id uuid NOT NULL,
            number integer NOT NULL,
            opened_at timestamptz NOT NULL,
            CONSTRAINT pk_reply_paths PRIMARY KEY (token_hash),
            CONSTRAINT ck_reply_paths_kind
                CHECK (kind IN ('payout', 'reversal', 'payout_query', 'balance', 'top_up')),
            CONSTRAINT uq_reply_paths_kind_subject_id_number UNIQUE (kind, subject_id, number)
        )
    """)
    op.execute("""
        CREATE TABLE freezes (
            id uuid NOT NULL,
            member_id uuid NOT NULL,
            reason text NOT NULL,
            frozen_by text NOT NULL,
            frozen_at timestamptz NOT NULL,
            lifted_by text,
            lifted_at timestamptz,
            CONSTRAINT pk_freezes PRIMARY KEY (id),
            CONSTRAINT ck_freezes_lifted CHECK ((lifted_by IS NULL) = (lifted_at IS NULL)),
            CONSTRAINT fk_freezes_member_id FOREIGN KEY (member_id) REFERENCES members (id)
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_freezes_open ON freezes (member_id) WHERE lifted_at IS NULL
    """)
    op.execute("CREATE INDEX ix_freezes_member_id ON freezes (member_id)")
    # A float is looked at for each payout, and must not be summed from its first entry.
    op.execute("""
        CREATE TABLE ledger_marks (
            account_id uuid NOT NULL,
            before_id uuid NOT NULL,
            amount_cents bigint NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_ledger_marks PRIMARY KEY (account_id),
            CONSTRAINT fk_ledger_marks_account_id FOREIGN KEY (account_id) REFERENCES accounts (id)
        )
    """)
    op.execute("DROP INDEX ix_entries_account_id")
    op.execute("CREATE INDEX ix_entries_account_id ON entries (account_id, id)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_entries_account_id")
    op.execute("CREATE INDEX ix_entries_account_id ON entries (account_id)")
    for table in ("ledger_marks", "freezes", "reply_paths", "payout_codes", "payouts"):
        op.execute(f"DROP TABLE {table}")
