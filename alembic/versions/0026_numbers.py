"""A member keeps the account when the phone number changes, or while there is none."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE number_changes (
            id uuid NOT NULL CONSTRAINT pk_number_changes PRIMARY KEY,
            member_id uuid NOT NULL
                CONSTRAINT fk_number_changes_member_id REFERENCES members (id),
            from_msisdn text,
            to_msisdn text,
            state text NOT NULL,
            reason text NOT NULL,
            proposed_by uuid NOT NULL
                CONSTRAINT fk_number_changes_proposed_by REFERENCES staff (id),
            proposed_at timestamptz NOT NULL,
            decided_by uuid CONSTRAINT fk_number_changes_decided_by REFERENCES staff (id),
            decided_at timestamptz,
            ended_at timestamptz,
            cool_until timestamptz,
            CONSTRAINT ck_number_changes_state
                CHECK (state IN ('proposed', 'approved', 'done', 'void', 'declined')),
            CONSTRAINT ck_number_changes_changes CHECK (from_msisdn IS DISTINCT FROM to_msisdn),
            CONSTRAINT ck_number_changes_msisdn CHECK (to_msisdn ~ '^\\+[1-9][0-9]{6,14}$'),
            CONSTRAINT ck_number_changes_reason CHECK (char_length(reason) BETWEEN 10 AND 500),
            CONSTRAINT ck_number_changes_decided CHECK (
                (state = 'proposed') = (decided_by IS NULL)
                AND (decided_by IS NULL) = (decided_at IS NULL)),
            CONSTRAINT ck_number_changes_two_people
                CHECK (state = 'declined' OR decided_by <> proposed_by),
            CONSTRAINT ck_number_changes_ended
                CHECK ((state IN ('done', 'void')) = (ended_at IS NOT NULL)),
            CONSTRAINT ck_number_changes_cools CHECK (
                (cool_until IS NOT NULL) = (state = 'done' AND to_msisdn IS NOT NULL))
        );
        CREATE UNIQUE INDEX uq_number_changes_open ON number_changes (member_id)
            WHERE state IN ('proposed', 'approved');
        CREATE INDEX ix_number_changes_done ON number_changes (member_id, ended_at)
            WHERE state = 'done';

        ALTER TABLE members ALTER COLUMN msisdn DROP NOT NULL;
        ALTER TABLE members ADD COLUMN pin_right_at timestamptz;
        UPDATE members SET pin_right_at = updated_at;

        ALTER TABLE payouts DROP CONSTRAINT ck_payouts_waits_for;
        ALTER TABLE payouts ADD CONSTRAINT ck_payouts_waits_for
            CHECK (waits_for IN ('frozen', 'halted', 'cooling', 'sim', 'float', 'probe'))
        """
    )


def downgrade() -> None:
    # Whoever has no number gets one that no network gives out.
    op.execute(
        """
        UPDATE payouts SET waits_for = 'frozen' WHERE waits_for = 'cooling';
        ALTER TABLE payouts DROP CONSTRAINT ck_payouts_waits_for;
        ALTER TABLE payouts ADD CONSTRAINT ck_payouts_waits_for
            CHECK (waits_for IN ('frozen', 'halted', 'sim', 'float', 'probe'));

        UPDATE members m SET msisdn = '+999' || lpad(n.nth::text, 11, '0')
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS nth
              FROM members WHERE msisdn IS NULL) AS n
        WHERE n.id = m.id;
        ALTER TABLE members ALTER COLUMN msisdn SET NOT NULL;
        ALTER TABLE members DROP COLUMN pin_right_at;
        DROP TABLE number_changes
        """
    )
