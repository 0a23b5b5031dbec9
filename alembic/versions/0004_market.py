"""Goods are promised, ordered and paid for: carts, orders with a timeline, stock, escrows."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE order_numbers START WITH 1001")
    op.execute("""
        CREATE TABLE checkouts (
            id uuid NOT NULL,
            buyer_id uuid NOT NULL,
            state text NOT NULL,
            total_cents bigint NOT NULL,
            placed_at timestamptz,
            pay_by timestamptz,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_checkouts PRIMARY KEY (id),
            CONSTRAINT ck_checkouts_state
                CHECK (state IN ('draft', 'placed', 'paid', 'expired', 'cancelled')),
            CONSTRAINT ck_checkouts_placed
                CHECK (CASE WHEN state = 'draft' THEN total_cents = 0 AND placed_at IS NULL AND
                    pay_by IS NULL ELSE total_cents > 0 AND placed_at IS NOT NULL AND pay_by IS
                    NOT NULL END),
            CONSTRAINT fk_checkouts_buyer_id FOREIGN KEY (buyer_id) REFERENCES members (id)
        )
    """)
    op.execute("CREATE INDEX ix_checkouts_buyer_id ON checkouts (buyer_id)")
    op.execute("""
        CREATE UNIQUE INDEX uq_checkouts_draft ON checkouts (buyer_id)
        WHERE state = 'draft'
    """)
    op.execute("""
        CREATE TABLE orders (
            id uuid NOT NULL,
            number bigint NOT NULL,
            checkout_id uuid NOT NULL,
            buyer_id uuid NOT NULL,
            seller_id uuid NOT NULL,
            state text NOT NULL,
            total_cents bigint NOT NULL,
            fee_cents bigint NOT NULL,
            pay_by timestamptz NOT NULL,
            accept_by timestamptz,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_orders PRIMARY KEY (id),
            CONSTRAINT ck_orders_state
                CHECK (state IN ('placed', 'paid', 'accepted', 'dispatched', 'delivered',
                    'disputed', 'completed', 'expired', 'cancelled', 'refunded', 'split')),
            CONSTRAINT ck_orders_total_cents CHECK (total_cents > 0 AND total_cents % 100 = 0),
            CONSTRAINT ck_orders_fee_cents CHECK (fee_cents BETWEEN 0 AND total_cents),
            CONSTRAINT ck_orders_two_people CHECK (buyer_id <> seller_id),
            CONSTRAINT uq_orders_checkout_id_seller_id UNIQUE (checkout_id, seller_id),
            CONSTRAINT uq_orders_number UNIQUE (number),
            CONSTRAINT fk_orders_checkout_id FOREIGN KEY (checkout_id) REFERENCES checkouts (id),
            CONSTRAINT fk_orders_buyer_id FOREIGN KEY (buyer_id) REFERENCES members (id),
            CONSTRAINT fk_orders_seller_id FOREIGN KEY (seller_id) REFERENCES members (id)
        )
    """)
    op.execute("CREATE INDEX ix_orders_buyer_id ON orders (buyer_id, number)")
    op.execute("CREATE INDEX ix_orders_seller_id ON orders (seller_id, number)")
    op.execute("""
        CREATE TABLE order_events (
            id uuid NOT NULL,
            order_id uuid NOT NULL,
            kind text NOT NULL,
            detail jsonb NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_order_events PRIMARY KEY (id),
            CONSTRAINT fk_order_events_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
        )
    """)
    op.execute("CREATE INDEX ix_order_events_order_id ON order_events (order_id)")
    op.execute("""
        CREATE TABLE lines (
            id uuid NOT NULL,
            checkout_id uuid NOT NULL,
            order_id uuid,
            offer_id uuid NOT NULL,
            product_id uuid NOT NULL,
            seller_id uuid NOT NULL,
            quantity_milli bigint NOT NULL,
            price_cents bigint NOT NULL,
            amount_cents bigint NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_lines PRIMARY KEY (id),
            CONSTRAINT ck_lines_quantity_milli CHECK (quantity_milli > 0),
            CONSTRAINT ck_lines_price_cents CHECK (price_cents > 0),
            CONSTRAINT ck_lines_amount_cents CHECK (amount_cents > 0 AND amount_cents % 100 = 0),
            CONSTRAINT uq_lines_checkout_id_offer_id UNIQUE (checkout_id, offer_id),
            CONSTRAINT fk_lines_checkout_id FOREIGN KEY (checkout_id) REFERENCES checkouts (id),
            CONSTRAINT fk_lines_order_id FOREIGN KEY (order_id) REFERENCES orders (id),
            CONSTRAINT fk_lines_offer_id FOREIGN KEY (offer_id) REFERENCES offers (id),
            CONSTRAINT fk_lines_product_id FOREIGN KEY (product_id) REFERENCES products (id),
            CONSTRAINT fk_lines_seller_id FOREIGN KEY (seller_id) REFERENCES members (id)
        )
    """)
    op.execute("CREATE INDEX ix_lines_offer_id ON lines (offer_id)")
    op.execute("CREATE INDEX ix_lines_order_id ON lines (order_id)")
    op.execute("""
        CREATE TABLE stock (
            offer_id uuid NOT NULL,
            on_hand_milli bigint NOT NULL,
            allocated_milli bigint NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_stock PRIMARY KEY (offer_id),
            CONSTRAINT ck_stock_allocated_milli CHECK (allocated_milli >= 0),
            CONSTRAINT ck_stock_on_hand_milli CHECK (on_hand_milli >= allocated_milli),
            CONSTRAINT fk_stock_offer_id FOREIGN KEY (offer_id) REFERENCES offers (id)
        )
    """)
    op.execute("""
        CREATE TABLE stock_movements (
            id uuid NOT NULL,
            offer_id uuid NOT NULL,
            order_id uuid,
            kind text NOT NULL,
            quantity_milli bigint NOT NULL,
            reason text NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_stock_movements PRIMARY KEY (id),
            CONSTRAINT ck_stock_movements_kind
                CHECK (kind IN ('received', 'dispatched', 'corrected')),
            CONSTRAINT ck_stock_movements_quantity_milli CHECK (quantity_milli <> 0),
            CONSTRAINT fk_stock_movements_offer_id
                FOREIGN KEY (offer_id) REFERENCES stock (offer_id),
            CONSTRAINT fk_stock_movements_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
        )
    """)
    op.execute("CREATE INDEX ix_stock_movements_offer_id ON stock_movements (offer_id)")
    op.execute("CREATE INDEX ix_stock_movements_order_id ON stock_movements (order_id)")
    op.execute("""
        CREATE TABLE reservations (
            id uuid NOT NULL,
            offer_id uuid NOT NULL,
            checkout_id uuid NOT NULL,
            order_id uuid NOT NULL,
            quantity_milli bigint NOT NULL,
            state text NOT NULL,
            until timestamptz NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_reservations PRIMARY KEY (id),
            CONSTRAINT ck_reservations_quantity_milli CHECK (quantity_milli > 0),
            CONSTRAINT ck_reservations_state
                CHECK (state IN ('live', 'allocated', 'released', 'consumed')),
            CONSTRAINT uq_reservations_checkout_id_offer_id UNIQUE (checkout_id, offer_id),
            CONSTRAINT fk_reservations_offer_id
                FOREIGN KEY (offer_id) REFERENCES stock (offer_id),
            CONSTRAINT fk_reservations_checkout_id
                FOREIGN KEY (checkout_id) REFERENCES checkouts (id),
            CONSTRAINT fk_reservations_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
        )
    """)
    op.execute("""
        CREATE INDEX ix_reservations_live ON reservations (offer_id)
        WHERE state = 'live'
    """)
    op.execute("CREATE INDEX ix_reservations_order_id ON reservations (order_id)")
    op.execute("""
        CREATE TABLE escrows (
            order_id uuid NOT NULL,
            state text NOT NULL,
            captured_cents bigint NOT NULL,
            released_cents bigint NOT NULL,
            refunded_cents bigint NOT NULL,
            fee_cents bigint NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_escrows PRIMARY KEY (order_id),
            CONSTRAINT ck_escrows_state CHECK (state IN ('none', 'held', 'frozen', 'settled')),
            CONSTRAINT ck_escrows_positive
                CHECK (captured_cents >= 0 AND released_cents >= 0 AND refunded_cents >= 0 AND
                    fee_cents >= 0),
            CONSTRAINT ck_escrows_not_overdrawn
                CHECK (released_cents + refunded_cents + fee_cents <= captured_cents),
            CONSTRAINT ck_escrows_settled_whole
                CHECK (state <> 'settled' OR released_cents + refunded_cents + fee_cents =
                    captured_cents),
            CONSTRAINT ck_escrows_captured CHECK ((state = 'none') = (captured_cents = 0)),
            CONSTRAINT fk_escrows_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
        )
    """)
    op.execute("""
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
    """)
    for table in ("order_events", "stock_movements"):
        for event in ("UPDATE OR DELETE", "TRUNCATE"):
            name = event.split()[0].lower()
            op.execute(f"""
                CREATE TRIGGER {table}_refuse_{name} BEFORE {event} ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
            """)


def downgrade() -> None:
    op.execute("DROP TABLE escrows")
    op.execute("DROP TABLE reservations")
    op.execute("DROP TABLE stock_movements")
    op.execute("DROP TABLE stock")
    op.execute("DROP TABLE lines")
    op.execute("DROP TABLE order_events")
    op.execute("DROP TABLE orders")
    op.execute("DROP TABLE checkouts")
    op.execute("DROP FUNCTION refuse_change")
    op.execute("DROP SEQUENCE order_numbers")
