"""Of a statement it is known which of ours brought it, so that nobody proves much alone."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE statement_readings
            ADD COLUMN read_by uuid
                CONSTRAINT fk_statement_readings_read_by REFERENCES staff (id);
        CREATE INDEX ix_statement_lines_booked ON statement_lines (reading_id)
            WHERE outcome IS NOT NULL
    """)


def downgrade() -> None:
    op.execute("""
        DROP INDEX ix_statement_lines_booked;
        ALTER TABLE statement_readings DROP COLUMN read_by
    """)
