"""MariaDB and MySQL: rows as a union of selects, in pieces that fit a packet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure, Sql, Target, Values, Write, split, text_sizes

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

_SUBQUERY_HAS_ROWS = 1242


class MySQL(Dialect):
    """MariaDB 10.6 and later, MySQL 8.0 and later, through mysqlclient."""

    vendor = "mysql"
    # MariaDB's max_allowed_packet is 16 MiB by default; escaping may double a text.
    max_text = 4 * 1024 * 1024

    def relation(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return what is selected from to have rows as a table."""
        first = ", ".join(f"%s AS {name}" for name in target.layout.names)
        other = ", ".join(["%s"] * len(target.columns))
        selects = " UNION ALL ".join([f"SELECT {first}", *[f"SELECT {other}"] * (len(rows) - 1)])
        return f"({selects}) AS new", list(chain.from_iterable(rows))

    def store_at_once(self, write: Write) -> bool | None:
        """Write rows and history by one packet of statements, a transaction, where the host lets the driver send such.

        The server ends at the first statement that fails; the one after the update fails if rows were not as expected.
        """
        connection = write.rows.target.connection
        if not connection.settings_dict["OPTIONS"].get("multi_statements", True) or not self._fits(write):
            return None
        statements: list[Sql] = [("START TRANSACTION", []), *self._statements(write), ("COMMIT", [])]
        try:
            with connection.cursor() as cursor:
                cursor.execute("; ".join(sql for sql, _ in statements), [one for _, some in statements for one in some])
                while cursor.nextset():
                    pass
        except Error as error:
            with suppress(Error):
                self.execute(connection, "ROLLBACK", [])
            if error.args and error.args[0] == _SUBQUERY_HAS_ROWS:
                return False
            raise
        return True

    def max_rows(self, target: Target) -> int:
        """Return a number of rows that keeps a statement's text in the parser's limits."""
        return 1000

    def failure(self, error: Error) -> Failure | None:
        """Tell what an error means, by its number."""
        number = error.args[0] if error.args else None
        if number in _DUPLICATE:
            return Failure.DUPLICATE
        if number in _CONFLICT:
            return Failure.CONFLICT
        return Failure.UNAVAILABLE if number in _UNAVAILABLE or number in _CLIENT_ERRORS else None

    def _statements(self, write: Write) -> Iterator[Sql]:
        target = write.rows.target
        created, updated = split(target, self.prepared(target, write.rows.values))
        if updated:
            yield self._update(target, write.keys, updated)
            # Two rows where one is allowed are an error.
            two = "SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two"
            yield f"SELECT ({two} WHERE ROW_COUNT() <> %s)", [len(updated)]
        if created:
            yield self.insertion(target, created)
        if write.history:
            entries = self.prepared(write.history.target, write.history.values)
            yield self.insertion(write.history.target, entries)

    def _store(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> bool:
        created, updated = split(target, rows)
        if created:
            self.execute(target.connection, *self.insertion(target, created))
        return not updated or self.execute(target.connection, *self._update(target, keys, updated)) == len(updated)

    def _update(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> Sql:
        relation, parameters = self.relation(target, rows)
        matches, pinned = self.matches(target, keys)
        sql = f"UPDATE {target.table} AS old JOIN {relation} ON {matches} SET {self.assignments(target, keys, 'old.')}"
        return sql, [*parameters, *pinned]

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return sql.replace("INSERT", "INSERT IGNORE", 1), parameters

    def _fits(self, write: Write) -> bool:
        tables = [write.rows, write.history] if write.history else [write.rows]
        size = sum(size for table in tables for size in text_sizes(table))
        return size <= self.max_text and all(len(table.values) <= self.max_rows(table.target) for table in tables)
