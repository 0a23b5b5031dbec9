"""Each line of M-Pesa is matched to an entry; each difference is a case."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE statement_readings (
            id uuid NOT NULL,
            source text NOT NULL,
            shortcode text NOT NULL,
            book text NOT NULL,
            from_at timestamptz NOT NULL,
            until_at timestamptz NOT NULL,
            lines integer NOT NULL,
            read_at timestamptz NOT NULL,
            CONSTRAINT pk_statement_readings PRIMARY KEY (id),
            CONSTRAINT ck_statement_readings_source CHECK (source IN ('statement', 'pull')),
            CONSTRAINT ck_statement_readings_book
                CHECK (book IN ('A.c2b', 'A.b2c', 'L.mcharges')),
            CONSTRAINT ck_statement_readings_period CHECK (from_at <= until_at)
        )
    """)
    op.execute("CREATE INDEX ix_statement_readings_until_at ON statement_readings (until_at)")
    op.execute("""
        CREATE TABLE statement_lines (
            id uuid NOT NULL,
            reading_id uuid NOT NULL,
            source text NOT NULL,
            shortcode text NOT NULL,
            book text NOT NULL,
            receipt text,
            kind text NOT NULL,
            number integer NOT NULL,
            amount_cents bigint NOT NULL,
            balance_cents bigint,
            status text NOT NULL,
            reason text NOT NULL,
            reference text NOT NULL,
            linked_receipt text,
            msisdn text,
            initiated_at timestamptz,
            completed_at timestamptz NOT NULL,
            movement text,
            ours_cents bigint,
            outcome text,
            gone_at timestamptz,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_statement_lines PRIMARY KEY (id),
            CONSTRAINT uq_statement_lines_line
                UNIQUE NULLS NOT DISTINCT
                (source, book, receipt, kind, completed_at, amount_cents, number),
            CONSTRAINT ck_statement_lines_source CHECK (source IN ('statement', 'pull')),
            CONSTRAINT ck_statement_lines_book CHECK (book IN ('A.c2b', 'A.b2c', 'L.mcharges')),
            CONSTRAINT ck_statement_lines_kind
                CHECK (kind IN ('payment', 'payout', 'reversal', 'float_move', 'charge',
                                'charges_settled', 'funds', 'other')),
            CONSTRAINT ck_statement_lines_number CHECK (number > 0),
            CONSTRAINT ck_statement_lines_amount_cents CHECK (amount_cents <> 0),
            CONSTRAINT ck_statement_lines_matched
                CHECK ((movement IS NULL) = (ours_cents IS NULL)),
            CONSTRAINT ck_statement_lines_gone CHECK (gone_at IS NULL OR movement IS NULL),
            CONSTRAINT fk_statement_lines_reading_id
                FOREIGN KEY (reading_id) REFERENCES statement_readings (id)
        )
    """)
    op.execute("CREATE INDEX ix_statement_lines_receipt ON statement_lines (receipt)")
    op.execute("CREATE INDEX ix_statement_lines_completed_at ON statement_lines (completed_at)")
    op.execute("""
        CREATE INDEX ix_statement_lines_unmatched ON statement_lines (id)
        WHERE movement IS NULL AND gone_at IS NULL
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_statement_lines_movement ON statement_lines (source, book, movement)
        WHERE movement IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE differences (
            id uuid NOT NULL,
            number bigint NOT NULL,
            key text NOT NULL,
            kind text NOT NULL,
            book text NOT NULL,
            source text NOT NULL,
            what text NOT NULL,
            receipt text,
            movement text,
            line_id uuid,
            theirs_cents bigint NOT NULL,
            ours_cents bigint NOT NULL,
            at timestamptz NOT NULL,
            state text NOT NULL,
            note text,
            opened_at timestamptz NOT NULL,
            closed_at timestamptz,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_differences PRIMARY KEY (id),
            CONSTRAINT uq_differences_number UNIQUE (number),
            CONSTRAINT uq_differences_key UNIQUE (key),
            CONSTRAINT ck_differences_kind
                CHECK (kind IN ('not_with_us', 'not_at_mpesa', 'amount', 'charge', 'status',
                                'reversed', 'duplicate', 'balance')),
            CONSTRAINT ck_differences_book CHECK (book IN ('A.c2b', 'A.b2c', 'L.mcharges')),
            CONSTRAINT ck_differences_state CHECK (state IN ('open', 'gone', 'resolved')),
            CONSTRAINT ck_differences_closed CHECK ((state = 'open') = (closed_at IS NULL)),
            CONSTRAINT ck_differences_note CHECK ((state = 'open') = (note IS NULL)),
            CONSTRAINT ck_differences_differs CHECK (theirs_cents <> ours_cents),
            CONSTRAINT fk_differences_line_id FOREIGN KEY (line_id) REFERENCES statement_lines (id)
        )
    """)
    op.execute("CREATE INDEX ix_differences_open ON differences (at) WHERE state = 'open'")
    op.execute("""
        CREATE TABLE resolutions (
            id uuid NOT NULL,
            difference_id uuid NOT NULL,
            state text NOT NULL,
            gap_cents bigint NOT NULL,
            against text NOT NULL,
            reason text NOT NULL,
            decided_by uuid NOT NULL,
            decided_at timestamptz NOT NULL,
            approved_by uuid,
            declined_by uuid,
            ended_at timestamptz,
            CONSTRAINT pk_resolutions PRIMARY KEY (id),
            CONSTRAINT ck_resolutions_state
                CHECK (state IN ('proposed', 'carried_out', 'declined', 'outdated')),
            CONSTRAINT ck_resolutions_against
                CHECK (against IN ('suspense', 'loss', 'charges', 'owed', 'bank', 'transit',
                                   'capital', 'buyer', 'seller', 'nothing')),
            CONSTRAINT ck_resolutions_ended_at CHECK ((state = 'proposed') = (ended_at IS NULL)),
            CONSTRAINT ck_resolutions_declined_by
                CHECK ((state = 'declined') = (declined_by IS NOT NULL)),
            CONSTRAINT ck_resolutions_approved_by
                CHECK (approved_by IS NULL OR state = 'carried_out'),
            CONSTRAINT ck_resolutions_two_people CHECK (approved_by <> decided_by),
            CONSTRAINT ck_resolutions_reason CHECK (char_length(reason) BETWEEN 10 AND 500),
            CONSTRAINT fk_resolutions_difference_id
                FOREIGN KEY (difference_id) REFERENCES differences (id),
            CONSTRAINT fk_resolutions_decided_by FOREIGN KEY (decided_by) REFERENCES staff (id),
            CONSTRAINT fk_resolutions_approved_by FOREIGN KEY (approved_by) REFERENCES staff (id),
            CONSTRAINT fk_resolutions_declined_by FOREIGN KEY (declined_by) REFERENCES staff (id)
        )
    """)
    op.execute("CREATE INDEX ix_resolutions_difference_id ON resolutions (difference_id)")
    op.execute("""
        CREATE UNIQUE INDEX uq_resolutions_proposed ON resolutions (difference_id)
        WHERE state = 'proposed'
    """)


def downgrade() -> None:
    for table in ("resolutions", "differences", "statement_lines", "statement_readings"):
        op.execute(f"DROP TABLE {table}")
