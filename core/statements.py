"""Statements: SQL written once, prepared once a connection, run past psycopg's cursor.

psycopg adapts the values and reads the rows; its cursor, made for every use there is, would cost
a hop more than PostgreSQL does (docs/benchmarks.md).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import count
from operator import itemgetter
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

Row = TypeVar("Row")
Params = Mapping[str, object] | Sequence[object] | None

# Plans made once: planning anew for each set of values costs more than it finds. Commits wait for
# the disk where they say so (core.database).
_MANNERS: Final = b"SET plan_cache_mode = force_generic_plan; SET synchronous_commit = off"
_PLACEHOLDER: Final = re.compile(r"%(?:\((\w+)\)s|s|%)")


class Session:
    """One connection to the server, in autocommit, with what it has prepared."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        # One SQL type for every int: psycopg chooses by size, and each choice is prepared anew.
        connection.adapters.register_dumper(int, Int8Dumper)
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        self.timeout_seconds = 0.0  # of a statement outside a transaction; 0: none
        self._connection = connection
        self._transformer = Transformer(connection)
        self._prepared: dict[tuple[str, Any], bytes] = {}  # its name; none after the first use
        self._numbers = count()
        self.tell(_MANNERS)

    @property
    def is_idle(self) -> bool:
        """Whether it lives and no transaction is open on it."""
        return self._connection.pgconn.transaction_status == TransactionStatus.IDLE

    def rows(self, into: Callable[..., Row], sql: LiteralString, params: Params) -> list[Row]:
        """Every row, its columns given by name to `into`."""
        result = self.execute(sql, params)
        return self._transformer.load_rows(0, result.ntuples, _maker(into, sql, result))

    def row(self, into: Callable[..., Row], sql: LiteralString, params: Params) -> Row | None:
        """The first of them."""
        result = self.execute(sql, params)
        if not result.ntuples:
            return None
        return self._transformer.load_row(0, _maker(into, sql, result))

    def value(self, sql: LiteralString, params: Params) -> Any:
        """The first column of the first row, or None."""
        result = self.execute(sql, params)
        found = self._transformer.load_row(0, tuple) if result.ntuples else None
        return found[0] if found else None

    def count(self, sql: LiteralString, params: Params) -> int:
        """How many rows it touched."""
        return self.execute(sql, params).command_tuples or 0

    def tell(self, statements: bytes) -> None:
        """Execute what takes no values and returns no rows, in one round trip."""
        _checked(self._connection.pgconn.exec_(statements))

    def execute(self, sql: LiteralString, params: Params) -> PGresult:
        """The result, set as the one the transformer loads from."""
        text, names = _numbered(sql)
        given: Sequence[object] = ()
        if isinstance(params, Mapping):
            given = [params[name] for name in names]
        elif params is not None:
            given = params
        transformer, server = self._transformer, self._connection.pgconn
        # psycopg's own types do not say that a value may be NULL.
        values: Any = transformer.dump_sequence(given, [PyFormat.AUTO] * len(given))
        types, formats = transformer.types, transformer.formats
        name = self._prepared.get((sql, types))
        if name:
            result = server.exec_prepared(name, values, formats)
        elif name is None:  # the first time; most statements of a short life come once
            self._prepared[sql, types] = b""
            result = server.exec_params(text, values, types, formats)
        else:
            name = b"s%d" % next(self._numbers)
            _checked(server.prepare(name, text, types))
            self._prepared[sql, types] = name
            result = server.exec_prepared(name, values, formats)
        transformer.set_pgresult(_checked(result))
        return result


def _checked(result: PGresult) -> PGresult:
    """Raises psycopg's error for what the server refused, OperationalError for no answer."""
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return result
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        raise psycopg.OperationalError("the connection broke")
    raise psycopg.errors.error_from_result(result)


@cache
def _numbered(sql: LiteralString) -> tuple[bytes, Sequence[str]]:
    """The statement as the server reads it, and the names of its values in their order."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        name = found[1] or f"%{len(names)}"  # one given by its place has a number of its own
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _PLACEHOLDER.sub(number, sql).encode(), names


def _maker(
    into: Callable[..., Row], sql: LiteralString, result: PGresult
) -> Callable[[Sequence[Any]], Row]:
    """How to make one of a row's values; a statement has the same columns every time."""
    kept: Callable[[Sequence[Any]], Row] | None = _makers.get((sql, into))
    if kept is None:
        names = [result.fname(column) or b"" for column in range(result.nfields)]
        kept = _makers[sql, into] = _made(into, [name.decode() for name in names])
    return kept


_makers: Final[dict[tuple[str, Any], Any]] = {}


def _made(into: Callable[..., Row], names: Sequence[str]) -> Callable[[Sequence[Any]], Row]:
    """By place, which is faster than by name, where every field is there."""
    wanted = [field.name for field in fields(into) if field.init] if is_dataclass(into) else []
    if sorted(names) != sorted(wanted):
        return lambda values: into(**dict(zip(names, values, strict=True)))
    if len(wanted) == 1:
        return lambda values: into(values[0])
    in_order = itemgetter(*(names.index(name) for name in wanted))
    return lambda values: into(*in_order(values))
