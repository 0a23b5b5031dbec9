"""How many came to each state of a flow and what became of them, kept when the hops are gone."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE funnel (
            day date NOT NULL,
            channel text NOT NULL,
            flow text NOT NULL,
            state text NOT NULL,
            came integer NOT NULL,
            passed integer NOT NULL,
            went_back integer NOT NULL,
            mistyped integer NOT NULL,
            went_away integer NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_funnel PRIMARY KEY (day, channel, flow, state)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE funnel")
