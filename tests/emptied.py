"""Emptied databases: as the migrations left them, in a twentieth of the time that a copy takes."""

from typing import Any, Final, LiteralString

import psycopg

OURS: Final = 16384  # objects of a migration have this number or a greater one
LARGE_BYTES: Final = 32_000_000  # three times what the migrations make

# What a change of the schema moves, and what would have the next test's statements planned
# otherwise. A copy has the numbers of its template's rows.
_LOOK: Final[LiteralString] = f"""
    SELECT md5(string_agg(it || seen, ',' ORDER BY it)) FROM (
        SELECT 'table ' || oid AS it, xmin::text AS seen FROM pg_class WHERE oid >= {OURS}
        UNION ALL SELECT concat('column ', attrelid, ' ', attnum), xmin::text FROM pg_attribute
            WHERE attrelid >= {OURS}
        UNION ALL SELECT 'constraint ' || oid, xmin::text FROM pg_constraint WHERE oid >= {OURS}
        UNION ALL SELECT 'trigger ' || oid, xmin::text FROM pg_trigger WHERE oid >= {OURS}
        UNION ALL SELECT 'function ' || oid, xmin::text FROM pg_proc WHERE oid >= {OURS}
        UNION ALL SELECT concat('statistic ', starelid, ' ', staattnum), '' FROM pg_statistic
            WHERE starelid >= {OURS}
        UNION ALL SELECT concat('setting ', setrole), '' FROM pg_db_role_setting
            WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT 'large', '' WHERE pg_database_size(current_database()) > {LARGE_BYTES}
    ) AS s"""
_SEND_AWAY: Final = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_TABLES: Final = """
    SELECT 'DELETE FROM ' || quote_ident(tablename) FROM pg_tables
    WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY tablename"""
_NUMBERS: Final = """
    SELECT format('SELECT setval(%L, %s, false)', sequencename, start_value) FROM pg_sequences
    WHERE schemaname = 'public' ORDER BY sequencename"""


def statements(connection: psycopg.Connection[Any]) -> bytes:
    """What leaves no row and lets every number begin anew, in a transaction."""
    return ";".join(
        [
            "SET LOCAL session_replication_role = replica",  # no trigger guards what is booked
            *_column(connection, _TABLES),
            *_column(connection, _NUMBERS),
        ]
    ).encode()


class Emptied:
    """A database of tests, lent to one after the other; its own connection stays open."""

    def __init__(self, url: str) -> None:
        """url: of one that nobody has used yet."""
        self.url = url
        self._connection = psycopg.connect(url, autocommit=True)
        self._look = _column(self._connection, _LOOK)
        self._statements = statements(self._connection)

    def empty(self) -> bool:
        """Send everybody away and remove what they left. False: more than rows is left of them,
        or it was us whom somebody sent away."""
        try:
            self._connection.execute(_SEND_AWAY)
            if _column(self._connection, _LOOK) != self._look:
                return False
            with self._connection.transaction():
                self._connection.execute(self._statements)
        except psycopg.OperationalError:
            return False
        return True

    def close(self) -> None:
        self._connection.close()


def _column(connection: psycopg.Connection[Any], sql: LiteralString) -> list[str]:
    return [row[0] for row in connection.execute(sql)]
