"""Buyers need goods to choose from: categories, products with unit words, sellers' offers."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE categories (
            id uuid CONSTRAINT pk_categories PRIMARY KEY,
            slug text NOT NULL CONSTRAINT uq_categories_slug UNIQUE,
            position integer NOT NULL,
            names jsonb NOT NULL CONSTRAINT ck_categories_names CHECK (names ? 'en'),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE products (
            id uuid CONSTRAINT pk_products PRIMARY KEY,
            category_id uuid NOT NULL
                CONSTRAINT fk_products_category_id REFERENCES categories (id),
            slug text NOT NULL CONSTRAINT uq_products_slug UNIQUE,
            names jsonb NOT NULL CONSTRAINT ck_products_names CHECK (names ? 'en'),
            units jsonb NOT NULL CONSTRAINT ck_products_units CHECK (units->'en' ?& '{one,many}'),
            other_names text[] NOT NULL,
            search text NOT NULL,
            step_milli bigint NOT NULL CONSTRAINT ck_products_step_milli CHECK (step_milli > 0),
            active boolean NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_products_category_id ON products (category_id)")
    op.execute("CREATE INDEX ix_products_search ON products USING gin (search gin_trgm_ops)")
    op.execute("""
        CREATE TABLE offers (
            id uuid CONSTRAINT pk_offers PRIMARY KEY,
            product_id uuid NOT NULL CONSTRAINT fk_offers_product_id REFERENCES products (id),
            seller_id uuid NOT NULL CONSTRAINT fk_offers_seller_id REFERENCES members (id),
            price_cents bigint NOT NULL CONSTRAINT ck_offers_price_cents CHECK (price_cents > 0),
            minimum_milli bigint NOT NULL
                CONSTRAINT ck_offers_minimum_milli CHECK (minimum_milli > 0),
            active boolean NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT uq_offers_product_id_seller_id UNIQUE (product_id, seller_id)
        )
    """)
    op.execute("CREATE INDEX ix_offers_seller_id ON offers (seller_id)")


def downgrade() -> None:
    op.execute("DROP TABLE offers")
    op.execute("DROP TABLE products")
    op.execute("DROP TABLE categories")
