"""A member who forgot the PIN may choose a new one, once two people of ours agree."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE pin_resets (
            id uuid NOT NULL CONSTRAINT pk_pin_resets PRIMARY KEY,
            member_id uuid NOT NULL
                CONSTRAINT fk_pin_resets_member_id REFERENCES members (id),
            state text NOT NULL,
            reason text NOT NULL,
            proposed_by uuid NOT NULL
                CONSTRAINT fk_pin_resets_proposed_by REFERENCES staff (id),
            proposed_at timestamptz NOT NULL,
            decided_by uuid CONSTRAINT fk_pin_resets_decided_by REFERENCES staff (id),
            decided_at timestamptz,
            until timestamptz,
            ended_at timestamptz,
            cool_until timestamptz,
            CONSTRAINT ck_pin_resets_state
                CHECK (state IN ('proposed', 'approved', 'used', 'void', 'declined')),
            CONSTRAINT ck_pin_resets_reason CHECK (char_length(reason) BETWEEN 10 AND 500),
            CONSTRAINT ck_pin_resets_decided CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
            CONSTRAINT ck_pin_resets_decider CHECK (
                CASE state WHEN 'proposed' THEN decided_by IS NULL WHEN 'void' THEN true
                ELSE decided_by IS NOT NULL END),
            CONSTRAINT ck_pin_resets_two_people
                CHECK (state = 'declined' OR decided_by <> proposed_by),
            CONSTRAINT ck_pin_resets_until
                CHECK (state NOT IN ('approved', 'used') OR until IS NOT NULL),
            CONSTRAINT ck_pin_resets_ended
                CHECK ((state IN ('used', 'void')) = (ended_at IS NOT NULL)),
            CONSTRAINT ck_pin_resets_cools CHECK ((state = 'used') = (cool_until IS NOT NULL))
        );
        CREATE UNIQUE INDEX uq_pin_resets_open ON pin_resets (member_id)
            WHERE state IN ('proposed', 'approved');
        CREATE INDEX ix_pin_resets_used ON pin_resets (member_id, cool_until)
            WHERE state = 'used'
    """)


def downgrade() -> None:
    op.execute("DROP TABLE pin_resets")
