"""Disputes with their evidence freeze money; people ask to be called; two may share a phone."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE case_numbers START WITH 5001")
    op.execute("""
        CREATE TABLE disputes (
            id uuid NOT NULL,
            number bigint NOT NULL,
            order_id uuid NOT NULL,
            opened_by uuid NOT NULL,
            reason text NOT NULL,
            words text,
            state text NOT NULL,
            opened_at timestamptz NOT NULL,
            answer_by timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_disputes PRIMARY KEY (id),
            CONSTRAINT uq_disputes_number UNIQUE (number),
            CONSTRAINT ck_disputes_reason
                CHECK (reason IN ('rotten', 'less', 'wrong', 'not_come', 'other')),
            CONSTRAINT ck_disputes_state
                CHECK (state IN ('open', 'seller_reply', 'review', 'resolved_buyer',
                                 'resolved_seller', 'resolved_split', 'withdrawn')),
            CONSTRAINT fk_disputes_order_id FOREIGN KEY (order_id) REFERENCES orders (id),
            CONSTRAINT fk_disputes_opened_by FOREIGN KEY (opened_by) REFERENCES members (id)
        )
    """)
    op.execute("CREATE INDEX ix_disputes_order_id ON disputes (order_id)")
    op.execute("CREATE INDEX ix_disputes_opened_by ON disputes (opened_by, opened_at)")
    op.execute("""
        CREATE UNIQUE INDEX uq_disputes_undecided ON disputes (order_id)
        WHERE state IN ('open', 'seller_reply', 'review')
    """)
    op.execute("""
        CREATE TABLE evidence (
            id uuid NOT NULL,
            dispute_id uuid NOT NULL,
            member_id uuid NOT NULL,
            kind text NOT NULL,
            sha256 bytea NOT NULL,
            bytes integer NOT NULL,
            key text,
            content_type text,
            words text,
            at timestamptz NOT NULL,
            CONSTRAINT pk_evidence PRIMARY KEY (id),
            CONSTRAINT uq_evidence_dispute_id_sha256 UNIQUE (dispute_id, sha256),
            CONSTRAINT ck_evidence_kind CHECK (kind IN ('photo', 'text')),
            CONSTRAINT ck_evidence_content
                CHECK (CASE kind WHEN 'photo' THEN key IS NOT NULL AND content_type IS NOT NULL
                       ELSE words IS NOT NULL END),
            CONSTRAINT fk_evidence_dispute_id FOREIGN KEY (dispute_id) REFERENCES disputes (id),
            CONSTRAINT fk_evidence_member_id FOREIGN KEY (member_id) REFERENCES members (id)
        )
    """)
    op.execute("""
        CREATE TABLE cases (
            id uuid NOT NULL,
            number bigint NOT NULL,
            member_id uuid NOT NULL,
            about text NOT NULL,
            conversation jsonb NOT NULL,
            state text NOT NULL,
            opened_at timestamptz NOT NULL,
            closed_at timestamptz,
            CONSTRAINT pk_cases PRIMARY KEY (id),
            CONSTRAINT uq_cases_number UNIQUE (number),
            CONSTRAINT ck_cases_about CHECK (about IN ('order', 'payment', 'account', 'other')),
            CONSTRAINT ck_cases_state CHECK (state IN ('open', 'closed')),
            CONSTRAINT ck_cases_closed_at CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
            CONSTRAINT fk_cases_member_id FOREIGN KEY (member_id) REFERENCES members (id)
        )
    """)
    op.execute("CREATE UNIQUE INDEX uq_cases_open ON cases (member_id) WHERE state = 'open'")
    op.execute("CREATE INDEX ix_cases_member_id ON cases (member_id)")
    op.execute("""
        ALTER TABLE members
            ADD COLUMN person smallint NOT NULL DEFAULT 1,
            ADD COLUMN shares_phone boolean NOT NULL DEFAULT false,
            ADD CONSTRAINT ck_members_person CHECK (person IN (1, 2)),
            ADD CONSTRAINT ck_members_shares_phone CHECK (person = 1 OR shares_phone)
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_members_msisdn_person ON members (msisdn, person)
        WHERE deleted_at IS NULL
    """)
    op.execute("DROP INDEX uq_members_msisdn")


def downgrade() -> None:
    op.execute("UPDATE members SET deleted_at = now() WHERE person = 2 AND deleted_at IS NULL")
    op.execute("""
        CREATE UNIQUE INDEX uq_members_msisdn ON members (msisdn) WHERE deleted_at IS NULL
    """)
    op.execute("DROP INDEX uq_members_msisdn_person")
    op.execute("ALTER TABLE members DROP COLUMN shares_phone, DROP COLUMN person")
    for table in ("cases", "evidence", "disputes"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP SEQUENCE case_numbers")
