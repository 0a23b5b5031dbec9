"""Money needs books that nobody can change: accounts and balanced transfers of entries."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE accounts (
            id uuid NOT NULL,
            kind text NOT NULL,
            owner_id uuid,
            balance_cents bigint,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_accounts PRIMARY KEY (id),
            CONSTRAINT uq_accounts_kind_owner_id UNIQUE NULLS NOT DISTINCT (kind, owner_id),
            CONSTRAINT ck_accounts_kind
                CHECK (kind IN ('A.c2b', 'A.b2c', 'A.transit', 'A.bank', 'L.escrow', 'L.buyer',
                    'L.seller', 'L.out', 'L.suspense', 'L.mcharges', 'Q.capital', 'R.fee',
                    'E.mcharges', 'E.loss')),
            CONSTRAINT ck_accounts_owner_id
                CHECK ((kind IN ('L.escrow', 'L.buyer', 'L.seller', 'L.out')) = (owner_id IS NOT
                    NULL)),
            CONSTRAINT ck_accounts_cached CHECK ((owner_id IS NULL) = (balance_cents IS NULL)),
            CONSTRAINT ck_accounts_balance_cents CHECK (balance_cents >= 0)
        )
    """)
    op.execute("""
        CREATE TABLE transfers (
            id uuid NOT NULL,
            kind text NOT NULL,
            key text NOT NULL,
            body_hash bytea NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_transfers PRIMARY KEY (id),
            CONSTRAINT uq_transfers_key UNIQUE (key)
        )
    """)
    op.execute("""
        CREATE TABLE entries (
            id uuid NOT NULL,
            transfer_id uuid NOT NULL,
            account_id uuid NOT NULL,
            amount_cents bigint NOT NULL,
            CONSTRAINT pk_entries PRIMARY KEY (id),
            CONSTRAINT ck_entries_amount_cents CHECK (amount_cents <> 0),
            CONSTRAINT fk_entries_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfers (id),
            CONSTRAINT fk_entries_account_id FOREIGN KEY (account_id) REFERENCES accounts (id)
        )
    """)
    op.execute("CREATE INDEX ix_entries_account_id ON entries (account_id)")
    op.execute("CREATE INDEX ix_entries_transfer_id ON entries (transfer_id)")
    for table in ("transfers", "entries"):
        for event in ("UPDATE OR DELETE", "TRUNCATE"):
            name = event.split()[0].lower()
            op.execute(f"""
                CREATE TRIGGER {table}_refuse_{name} BEFORE {event} ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
            """)
    # At commit, when all entries are there: a transfer is never seen unbalanced by anybody else.
    op.execute("""
        CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            checked uuid;
            entries_count bigint;
            sum_cents numeric;
        BEGIN
            IF TG_TABLE_NAME = 'transfers' THEN
                checked := NEW.id;
            ELSE
                checked := NEW.transfer_id;
            END IF;
            SELECT count(*), coalesce(sum(amount_cents), 0) INTO entries_count, sum_cents
            FROM entries WHERE transfer_id = checked;
            IF entries_count < 2 OR sum_cents <> 0 THEN
                RAISE EXCEPTION 'transfer % has % entries that sum to %',
                    checked, entries_count, sum_cents
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NULL;
        END $$
    """)
    for table in ("transfers", "entries"):
        op.execute(f"""
            CREATE CONSTRAINT TRIGGER {table}_balance AFTER INSERT ON {table}
            DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced()
        """)


def downgrade() -> None:
    op.execute("DROP TABLE entries")
    op.execute("DROP TABLE transfers")
    op.execute("DROP TABLE accounts")
    op.execute("DROP FUNCTION refuse_unbalanced")
