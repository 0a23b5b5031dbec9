"""A line is checked for a swapped SIM before money goes to it."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE sim_checks (
            id uuid NOT NULL CONSTRAINT pk_sim_checks PRIMARY KEY,
            msisdn text NOT NULL,
            outcome text,
            swapped_on date,
            questions integer NOT NULL,
            opened_at timestamptz NOT NULL,
            ended_at timestamptz,
            CONSTRAINT ck_sim_checks_outcome CHECK (outcome IN ('clean', 'swapped')),
            CONSTRAINT ck_sim_checks_ended CHECK ((outcome IS NULL) = (ended_at IS NULL))
        );
        CREATE UNIQUE INDEX uq_sim_checks_open ON sim_checks (msisdn) WHERE ended_at IS NULL;
        CREATE INDEX ix_sim_checks_msisdn ON sim_checks (msisdn, ended_at);

        CREATE TABLE sim_questions (
            request_id text NOT NULL CONSTRAINT pk_sim_questions PRIMARY KEY,
            check_id uuid CONSTRAINT fk_sim_questions_check_id REFERENCES sim_checks (id),
            status text,
            swapped_on date,
            outcome text,
            at timestamptz NOT NULL,
            CONSTRAINT ck_sim_questions_outcome CHECK (outcome IN ('clean', 'swapped'))
        );

        ALTER TABLE payouts ADD COLUMN sim_swapped_on date;
        ALTER TABLE payouts DROP CONSTRAINT ck_payouts_waits_for;
        ALTER TABLE payouts ADD CONSTRAINT ck_payouts_waits_for
            CHECK (waits_for IN ('frozen', 'halted', 'sim', 'float', 'probe'))
        """
    )


def downgrade() -> None:
    op.execute(
        """
        UPDATE payouts SET waits_for = 'halted' WHERE waits_for = 'sim';
        ALTER TABLE payouts DROP CONSTRAINT ck_payouts_waits_for;
        ALTER TABLE payouts ADD CONSTRAINT ck_payouts_waits_for
            CHECK (waits_for IN ('frozen', 'halted', 'float', 'probe'));
        ALTER TABLE payouts DROP COLUMN sim_swapped_on;
        DROP TABLE sim_questions;
        DROP TABLE sim_checks
        """
    )
