"""Disputes are answered, decided by staff and closed; every act of staff is kept for ever."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE disputes
            ADD COLUMN answered_at timestamptz,
            ADD COLUMN decide_by timestamptz,
            ADD COLUMN closed_at timestamptz,
            ADD COLUMN default_buyer boolean NOT NULL DEFAULT false,
            ADD CONSTRAINT ck_disputes_answered_at
                CHECK (state <> 'seller_reply' OR answered_at IS NOT NULL),
            ADD CONSTRAINT ck_disputes_decide_by
                CHECK (state IN ('open', 'seller_reply', 'withdrawn') OR decide_by IS NOT NULL),
            ADD CONSTRAINT ck_disputes_closed_at
                CHECK ((state IN ('open', 'seller_reply', 'review')) = (closed_at IS NULL)),
            ADD CONSTRAINT ck_disputes_default_buyer
                CHECK (NOT default_buyer OR answered_at IS NULL)
    """)
    # Those that were reported before there were timers for it.
    op.execute("""
        INSERT INTO outbox (id, kind, arguments, due_at, attempts, created_at)
        SELECT gen_random_uuid(), 'answer_deadline', jsonb_build_object('dispute_id', id),
               answer_by, 0, opened_at
        FROM disputes WHERE state = 'open'
    """)
    op.execute("""
        CREATE TABLE staff (
            id uuid NOT NULL,
            name text NOT NULL,
            roles text[] NOT NULL,
            msisdn text,
            active boolean NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_staff PRIMARY KEY (id),
            CONSTRAINT uq_staff_name UNIQUE (name),
            CONSTRAINT ck_staff_roles
                CHECK (roles <@ ARRAY['operator', 'approver', 'admin']::text[]
                       AND cardinality(roles) > 0),
            CONSTRAINT ck_staff_name CHECK (name ~ '^[a-z][a-z0-9._-]{1,29}$'),
            CONSTRAINT ck_staff_not_reserved CHECK (name NOT IN ('automatic', 'system')),
            CONSTRAINT ck_staff_msisdn CHECK (msisdn ~ '^\\+[1-9][0-9]{6,14}$')
        )
    """)
    op.execute("""
        CREATE TABLE verdicts (
            id uuid NOT NULL,
            dispute_id uuid NOT NULL,
            state text NOT NULL,
            buyer_cents bigint NOT NULL,
            seller_cents bigint NOT NULL,
            fee_cents bigint,
            reason text NOT NULL,
            decided_by uuid NOT NULL,
            decided_at timestamptz NOT NULL,
            approved_by uuid,
            declined_by uuid,
            ended_at timestamptz,
            CONSTRAINT pk_verdicts PRIMARY KEY (id),
            CONSTRAINT ck_verdicts_state CHECK (state IN ('proposed', 'carried_out', 'declined')),
            CONSTRAINT ck_verdicts_ended_at CHECK ((state = 'proposed') = (ended_at IS NULL)),
            CONSTRAINT ck_verdicts_fee_cents
                CHECK ((state = 'carried_out') = (fee_cents IS NOT NULL)),
            CONSTRAINT ck_verdicts_declined_by
                CHECK ((state = 'declined') = (declined_by IS NOT NULL)),
            CONSTRAINT ck_verdicts_approved_by
                CHECK (approved_by IS NULL OR state = 'carried_out'),
            CONSTRAINT ck_verdicts_two_people CHECK (approved_by <> decided_by),
            CONSTRAINT ck_verdicts_whole_shillings
                CHECK (buyer_cents >= 0 AND seller_cents >= 0 AND buyer_cents + seller_cents > 0
                       AND buyer_cents % 100 = 0 AND seller_cents % 100 = 0),
            CONSTRAINT ck_verdicts_reason CHECK (char_length(reason) BETWEEN 10 AND 500),
            CONSTRAINT fk_verdicts_dispute_id FOREIGN KEY (dispute_id) REFERENCES disputes (id),
            CONSTRAINT fk_verdicts_decided_by FOREIGN KEY (decided_by) REFERENCES staff (id),
            CONSTRAINT fk_verdicts_approved_by FOREIGN KEY (approved_by) REFERENCES staff (id),
            CONSTRAINT fk_verdicts_declined_by FOREIGN KEY (declined_by) REFERENCES staff (id)
        )
    """)
    op.execute("CREATE INDEX ix_verdicts_dispute_id ON verdicts (dispute_id)")
    op.execute("""
        CREATE UNIQUE INDEX uq_verdicts_standing ON verdicts (dispute_id)
        WHERE state <> 'declined'
    """)
    op.execute("""
        CREATE TABLE audit_log (
            id uuid NOT NULL,
            at timestamptz NOT NULL,
            who text NOT NULL,
            origin text NOT NULL,
            what text NOT NULL,
            subject text NOT NULL,
            before jsonb NOT NULL,
            after jsonb NOT NULL,
            CONSTRAINT pk_audit_log PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_audit_log_subject ON audit_log (subject, at)")
    op.execute("CREATE INDEX ix_audit_log_at ON audit_log (at)")
    for event in ("UPDATE OR DELETE", "TRUNCATE"):
        op.execute(f"""
            CREATE TRIGGER audit_log_refuse_{event.split()[0].lower()} BEFORE {event} ON audit_log
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)


def downgrade() -> None:
    for table in ("audit_log", "verdicts", "staff"):
        op.execute(f"DROP TABLE {table}")
    op.execute("""
        DELETE FROM outbox
        WHERE kind IN ('answer_reminder', 'answer_deadline', 'decision_deadline')
    """)
    op.execute("""
        ALTER TABLE disputes
            DROP COLUMN default_buyer, DROP COLUMN closed_at, DROP COLUMN decide_by,
            DROP COLUMN answered_at
    """)
