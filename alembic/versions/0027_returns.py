"""Money nobody could explain goes back to a member, by the word of two people."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE explanations
            ALTER COLUMN charge_id DROP NOT NULL,
            ADD COLUMN member_id uuid
                CONSTRAINT fk_explanations_member_id REFERENCES members (id),
            ADD CONSTRAINT ck_explanations_whose
                CHECK ((charge_id IS NULL) <> (member_id IS NULL)) NOT VALID
    """)
    op.execute("ALTER TABLE explanations VALIDATE CONSTRAINT ck_explanations_whose")
    op.execute("""
        CREATE INDEX ix_explanations_member_id ON explanations (member_id)
        WHERE member_id IS NOT NULL
    """)


def downgrade() -> None:
    # What was given back stays given back; what said to whom is in the audit log.
    op.execute("DELETE FROM explanations WHERE charge_id IS NULL")
    op.execute("""
        ALTER TABLE explanations
            DROP COLUMN member_id,
            ALTER COLUMN charge_id SET NOT NULL
    """)
