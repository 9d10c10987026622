"""PostgreSQL: rows travel as one array a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.utils import Error, InterfaceError, OperationalError

from xblock_user_state.store.dialects.base import Dialect, Failure, Target, Values

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_DUPLICATE = {"23505"}
_CONFLICT = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available (lock_timeout)
}
_UNAVAILABLE = {
    "25006",  # read_only_sql_transaction: connected to a standby
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
}
_UNAVAILABLE_CLASSES = {
    "08",  # connection exception
    "53",  # insufficient resources
    "57",  # operator intervention (shutdown, crash of another process)
    "58",  # system error
}

# Types whose items psycopg escapes in Python when they travel as one list, a microsecond for each quote of a JSON text:
# they travel one by one.
_ESCAPED = {"text", "varchar", "bytea"}


class PostgreSQL(Dialect):
    """PostgreSQL 14 and later, through psycopg 3."""

    vendor = "postgresql"

    def insert(self, target: Target, rows: Sequence[Values]) -> None:
        """Insert rows, in their order. Raises the driver's ``IntegrityError`` if one is there already."""
        pinned = ", ".join(["%s"] * len(target.pinned))
        columns = ", ".join(target.quoted([*target.pinned, *target.columns]))
        selected = ", ".join(filter(None, [pinned, "new.*"]))
        for chunk in self.chunks(target, rows):
            sql = f"INSERT INTO {target.table} ({columns}) SELECT {selected} FROM {self._arrays(target, len(chunk))}"
            self._execute(target, sql, [*target.pinned_values(), *self._parameters(target, chunk)])

    def max_rows(self, target: Target) -> int:
        """Return a number of rows that keeps a statement's text within some megabytes."""
        return 10_000

    def failure(self, error: Error) -> Failure | None:
        """Tell what an error means, by its SQLSTATE; an operational error without one is a broken connection."""
        state = getattr(error.__cause__, "sqlstate", None)
        if state is None:
            return Failure.UNAVAILABLE if isinstance(error, OperationalError | InterfaceError) else None
        if state in _DUPLICATE:
            return Failure.DUPLICATE
        if state in _CONFLICT:
            return Failure.CONFLICT
        return Failure.UNAVAILABLE if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES else None

    def _update(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> int:
        # The rows are locked in the order of their keys, as everybody does: an UPDATE by itself locks them in that of
        # its plan, and two of them would wait for each other until the server notices the deadlock.
        columns = ", ".join(f"new.{name}" for name in target.quoted(target.columns))
        order = ", ".join(f"new.{name}" for name in target.quoted(keys)) or "1"
        locked = (
            f"SELECT {columns} FROM {target.table} AS old, {self._arrays(target, len(rows))} "
            f"WHERE {self._matches(target, keys, 'old', 'new')} ORDER BY {order} FOR UPDATE OF old"
        )
        sql = (
            f"UPDATE {target.table} AS old SET {self._assignments(target, keys)} FROM ({locked}) AS new "
            f"WHERE {self._matches(target, keys, 'old', 'new')}"
        )
        pinned = target.pinned_values()
        return self._execute(target, sql, [*self._parameters(target, rows), *pinned, *pinned])

    def _arrays(self, target: Target, count: int) -> str:
        arrays = ", ".join(self._array(target.db_type(column), count) for column in target.columns)
        return f"unnest({arrays}) AS new ({', '.join(target.quoted(target.columns))})"

    def _array(self, db_type: str, count: int) -> str:
        items = f"ARRAY[{', '.join(['%s'] * count)}]" if db_type in _ESCAPED else "%s"
        return f"{items}::{db_type}[]"

    def _parameters(self, target: Target, rows: Sequence[Values]) -> Iterator[Any]:
        for column, values in zip(target.columns, zip(*rows, strict=True), strict=True):
            if target.db_type(column) in _ESCAPED:
                yield from values
            else:
                yield list(values)
