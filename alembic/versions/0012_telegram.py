"""A chat is linked to a phone by a one-time token; addresses where nobody is reached are kept."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE links (
            id uuid NOT NULL,
            msisdn text NOT NULL,
            token_digest bytea,
            address text,
            expires_at timestamptz NOT NULL,
            used_at timestamptz,
            created_at timestamptz NOT NULL,
            CONSTRAINT pk_links PRIMARY KEY (id),
            CONSTRAINT uq_links_token_digest UNIQUE (token_digest)
        )
    """)
    op.execute("CREATE INDEX ix_links_msisdn ON links (msisdn)")
    op.execute("CREATE INDEX ix_links_expires_at ON links (expires_at)")
    op.execute("""
        CREATE TABLE unreachable (
            channel text NOT NULL,
            address text NOT NULL,
            reason text NOT NULL,
            since timestamptz NOT NULL,
            CONSTRAINT pk_unreachable PRIMARY KEY (channel, address)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE unreachable")
    op.execute("DROP TABLE links")
