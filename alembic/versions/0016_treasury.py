"""The floats are moved, counted and covered by capital of our own."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

PATHS = ("payout", "reversal", "payout_query", "balance", "top_up")
WAITS = ("frozen", "halted", "float")


def upgrade() -> None:
    op.execute("CREATE SEQUENCE float_move_numbers START 1")
    op.execute("""
        CREATE TABLE float_moves (
            id uuid NOT NULL,
            number bigint NOT NULL,
            amount_cents bigint NOT NULL,
            state text NOT NULL,
            originator_id text,
            conversation_id text,
            receipt text,
            code text,
            attempts integer NOT NULL,
            query_count integer NOT NULL,
            requested_by text NOT NULL,
            claimed_at timestamptz,
            asked_at timestamptz,
            settled_at timestamptz,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_float_moves PRIMARY KEY (id),
            CONSTRAINT uq_float_moves_number UNIQUE (number),
            CONSTRAINT uq_float_moves_originator_id UNIQUE (originator_id),
            CONSTRAINT uq_float_moves_receipt UNIQUE (receipt),
            CONSTRAINT ck_float_moves_state
                CHECK (state IN ('requested', 'submitting', 'accepted', 'unknown', 'arrived',
                                 'failed')),
            CONSTRAINT ck_float_moves_amount_cents
                CHECK (amount_cents % 100 = 0 AND amount_cents >= 1000),
            CONSTRAINT ck_float_moves_settled_at
                CHECK ((state IN ('arrived', 'failed')) = (settled_at IS NOT NULL))
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_float_moves_open ON float_moves ((true)) WHERE settled_at IS NULL
    """)
    op.execute("""
        CREATE TABLE balance_questions (
            id uuid NOT NULL,
            float text NOT NULL,
            asked_at timestamptz NOT NULL,
            answered_at timestamptz,
            outcome text,
            held_cents bigint,
            books_cents bigint,
            CONSTRAINT pk_balance_questions PRIMARY KEY (id),
            CONSTRAINT ck_balance_questions_float CHECK (float IN ('c2b', 'b2c')),
            CONSTRAINT ck_balance_questions_outcome
                CHECK (outcome IN ('equal', 'differs', 'busy', 'unreadable')),
            CONSTRAINT ck_balance_questions_answered_at
                CHECK ((outcome IS NULL) = (answered_at IS NULL))
        )
    """)
    op.execute("CREATE INDEX ix_balance_questions_float ON balance_questions (float, asked_at)")
    op.execute("""
        CREATE TABLE balances (
            question_id uuid NOT NULL,
            account text NOT NULL,
            amount_cents bigint NOT NULL,
            CONSTRAINT pk_balances PRIMARY KEY (question_id, account),
            CONSTRAINT fk_balances_question_id
                FOREIGN KEY (question_id) REFERENCES balance_questions (id)
        )
    """)
    op.execute("CREATE SEQUENCE booking_numbers START 1")
    op.execute("""
        CREATE TABLE bookings (
            id uuid NOT NULL,
            number bigint NOT NULL,
            kind text NOT NULL,
            float text NOT NULL,
            amount_cents bigint NOT NULL,
            reference text NOT NULL,
            state text NOT NULL,
            proposed_by text NOT NULL,
            proposed_at timestamptz NOT NULL,
            decided_by text,
            decided_at timestamptz,
            CONSTRAINT pk_bookings PRIMARY KEY (id),
            CONSTRAINT uq_bookings_number UNIQUE (number),
            CONSTRAINT ck_bookings_kind CHECK (kind IN ('capital', 'charges', 'fees')),
            CONSTRAINT ck_bookings_float CHECK (float IN ('c2b', 'b2c')),
            CONSTRAINT ck_bookings_fees_of_collection CHECK (kind <> 'fees' OR float = 'c2b'),
            CONSTRAINT ck_bookings_amount_cents CHECK (amount_cents > 0 AND amount_cents % 100 = 0),
            CONSTRAINT ck_bookings_state CHECK (state IN ('proposed', 'booked', 'declined')),
            CONSTRAINT ck_bookings_decided_by
                CHECK ((state = 'proposed') = (decided_by IS NULL)),
            CONSTRAINT ck_bookings_decided_at
                CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
            CONSTRAINT ck_bookings_two_people
                CHECK (state <> 'booked' OR decided_by <> proposed_by)
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_bookings_reference ON bookings (kind, reference)
        WHERE state <> 'declined'
    """)
    op.execute("""
        CREATE TABLE initiators (
            word_hash bytea NOT NULL,
            used_since timestamptz NOT NULL,
            probed_at timestamptz,
            accepted_at timestamptz,
            CONSTRAINT pk_initiators PRIMARY KEY (word_hash)
        )
    """)
    _only("reply_paths", "kind", (*PATHS, "top_up_query"))
    _only("payouts", "waits_for", (*WAITS, "probe"))


def downgrade() -> None:
    op.execute("UPDATE payouts SET waits_for = 'halted' WHERE waits_for = 'probe'")
    op.execute("DELETE FROM reply_paths WHERE kind = 'top_up_query'")
    _only("payouts", "waits_for", WAITS)
    _only("reply_paths", "kind", PATHS)
    for table in ("initiators", "bookings", "balances", "balance_questions", "float_moves"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP SEQUENCE booking_numbers")
    op.execute("DROP SEQUENCE float_move_numbers")


def _only(table: str, column: str, values: tuple[str, ...]) -> None:
    name = f"ck_{table}_{column}"
    listed = ", ".join(map(repr, values))
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IN ({listed}))")
