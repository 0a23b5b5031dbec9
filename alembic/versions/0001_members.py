"""Members need a place to live in, a language, a PIN and a consent that can be shown later."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("""
        CREATE TABLE places (
            id uuid CONSTRAINT pk_places PRIMARY KEY,
            name text NOT NULL,
            kind text NOT NULL
                CONSTRAINT ck_places_kind CHECK (kind IN ('market', 'village', 'town', 'estate')),
            county text NOT NULL,
            latitude double precision NOT NULL
                CONSTRAINT ck_places_latitude CHECK (latitude BETWEEN -90 AND 90),
            longitude double precision NOT NULL
                CONSTRAINT ck_places_longitude CHECK (longitude BETWEEN -180 AND 180),
            search text NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT uq_places_name_county UNIQUE (name, county)
        )
    """)
    op.execute("CREATE INDEX ix_places_search ON places USING gin (search gin_trgm_ops)")
    op.execute("""
        CREATE TABLE members (
            id uuid CONSTRAINT pk_members PRIMARY KEY,
            msisdn text NOT NULL
                CONSTRAINT ck_members_msisdn CHECK (msisdn ~ '^\\+[1-9][0-9]{6,14}$'),
            name text NOT NULL
                CONSTRAINT ck_members_name CHECK (char_length(name) BETWEEN 2 AND 40),
            language text NOT NULL
                CONSTRAINT ck_members_language CHECK (language ~ '^[a-z]{2,3}$'),
            place_id uuid NOT NULL CONSTRAINT fk_members_place_id REFERENCES places (id),
            is_seller boolean NOT NULL,
            pin_hash text NOT NULL,
            pin_failures integer NOT NULL
                CONSTRAINT ck_members_pin_failures CHECK (pin_failures >= 0),
            pin_locked_until timestamptz,
            consent_version text NOT NULL,
            consent_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            deleted_at timestamptz
        )
    """)
    # A number is given to somebody else after its owner left: unique among the living only.
    op.execute("""
        CREATE UNIQUE INDEX uq_members_msisdn ON members (msisdn) WHERE deleted_at IS NULL
    """)
    op.execute("CREATE INDEX ix_members_place_id ON members (place_id)")
    op.execute("""
        CREATE TABLE consents (
            id uuid CONSTRAINT pk_consents PRIMARY KEY,
            member_id uuid NOT NULL CONSTRAINT fk_consents_member_id REFERENCES members (id),
            version text NOT NULL,
            language text NOT NULL,
            wording text NOT NULL,
            created_at timestamptz NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_consents_member_id ON consents (member_id)")


def downgrade() -> None:
    op.execute("DROP TABLE consents")
    op.execute("DROP TABLE members")
    op.execute("DROP TABLE places")
    op.execute("DROP EXTENSION pg_trgm")
