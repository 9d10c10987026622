"""MariaDB and MySQL: rows as a union of selects, in pieces that fit a packet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure, Target, Values

# https://mariadb.com/kb/en/mariadb-error-code-reference/
_DUPLICATE = {1062}
_CONFLICT = {
    1020,  # the row changed since it was read (innodb_snapshot_isolation)
    1205,  # lock wait timeout
    1213,  # deadlock; on Galera also a conflict found at commit
}
_UNAVAILABLE = {
    1021,  # disk full
    1040,  # too many connections
    1047,  # Galera: the node is not ready
    1053,  # shutdown in progress
    1114,  # table full
    1129,  # host blocked
    *range(1158, 1162),  # network errors
    1180,  # error during commit
    1203,  # the user has too many connections
    1226,  # the user is over a limit
    1290,  # read-only server
    1317,  # query killed
    1836,  # read-only mode
    1927,  # connection killed
    1969,  # statement timeout (MariaDB)
    3024,  # statement timeout (MySQL)
}
_CLIENT_ERRORS = range(2000, 3000)  # can't connect, server has gone away, lost connection …

# MariaDB's max_allowed_packet is 16 MiB by default; escaping may double a text.
_MAX_TEXT = 4 * 1024 * 1024


class MySQL(Dialect):
    """MariaDB 10.6 and later, MySQL 8.0 and later, through mysqlclient."""

    vendor = "mysql"

    def max_rows(self, target: Target) -> int:
        """Return a number of rows that keeps a statement's text in the parser's limits."""
        return 1000

    def chunks(self, target: Target, rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
        """Cut rows into pieces by number and by the size of their texts."""
        for chunk in super().chunks(target, rows):
            piece: list[Values] = []
            size = 0
            for row in chunk:
                row_size = sum(len(value) for value in row if isinstance(value, str | bytes))
                if piece and size + row_size > _MAX_TEXT:
                    yield piece
                    piece, size = [], 0
                piece.append(row)
                size += row_size
            yield piece

    def failure(self, error: Error) -> Failure | None:
        """Tell what an error means, by its number."""
        number = error.args[0] if error.args else None
        if number in _DUPLICATE:
            return Failure.DUPLICATE
        if number in _CONFLICT:
            return Failure.CONFLICT
        return Failure.UNAVAILABLE if number in _UNAVAILABLE or number in _CLIENT_ERRORS else None

    def _update(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> int:
        names = target.quoted(target.columns)
        first = ", ".join(f"%s AS {name}" for name in names)
        other = ", ".join(["%s"] * len(names))
        selects = " UNION ALL ".join([f"SELECT {first}", *[f"SELECT {other}"] * (len(rows) - 1)])
        sql = (
            f"UPDATE {target.table} AS old JOIN ({selects}) AS new "
            f"ON {self._matches(target, keys, 'old', 'new')} SET {self._assignments(target, keys, 'old.')}"
        )
        # In the joined table stand the values first, then the condition's.
        return self._execute(target, sql, [*chain.from_iterable(rows), *target.pinned_values()])
