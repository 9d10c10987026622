"""MariaDB and MySQL: rows as a union of selects, in pieces that fit a packet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure
from xblock_user_state.store.dialects.rows import Convert, Sql, Target, Values, Write, microseconds_to_time, split

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

    def listed(self, ids: Sequence[int]) -> Sql:
        """Return what is selected from to have numbers as a table: a union of selects takes the server much longer."""
        return "JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked", [f"[{','.join(map(str, ids))}]"]

    def read_as(
        self, name: str, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> tuple[str, Convert | None]:
        """Read times as microseconds: the driver and Django parse each of them in Python, as text."""
        if not isinstance(field, models.DateTimeField) or connection.timezone is not UTC:
            return name, None
        return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {name})", microseconds_to_time

    def store_at_once(self, write: Write) -> bool | None:
        """Write rows and history by one packet of statements, a transaction, where the host lets the driver send such.

        The server ends at the first statement that fails; the one after the update fails if rows were not as expected.
        """
        connection = write.rows.target.connection
        if not connection.settings_dict["OPTIONS"].get("multi_statements", True) or not self.fits(write):
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

    def insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return the statement that inserts rows. Numbers stand in its text: the driver would take longer for them."""
        pinned, are_numbers = target.pinned_values(), target.layout.are_numbers
        texts, parameters = [], []
        for row in rows:
            items = ["%s"] * len(pinned)
            parameters += pinned
            for value, is_number in zip(row, are_numbers, strict=True):
                if value is None:
                    items.append("NULL")
                elif is_number:
                    items.append(repr(value))
                else:
                    items.append("%s")
                    parameters.append(value)
            texts.append(f"({', '.join(items)})")
        return f"INSERT INTO {target.table} ({target.every_name}) VALUES {', '.join(texts)}", parameters

    def _statements(self, write: Write) -> Iterator[Sql]:
        target = write.rows.target
        created, updated = split(target, self.prepared(target, write.rows.values))
        if updated:
            yield self._update(target, write.keys, updated)
            # Two rows where one is allowed are an error.
            two = "SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two"
            yield f"SELECT ({two} WHERE ROW_COUNT() <> %s)", [2 * len(updated)]
        if created:
            yield self.insertion(target, created)
        if write.history:
            entries = self.prepared(write.history.target, write.history.values)
            yield self.insertion(write.history.target, entries)

    def _store(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> bool:
        created, updated = split(target, rows)
        if created:
            self.execute(target.connection, *self.insertion(target, created))
        return not updated or self.execute(target.connection, *self._update(target, keys, updated)) == 2 * len(updated)

    def _update(self, target: Target, keys: Sequence[str], rows: Sequence[Values]) -> Sql:
        """Return the statement that updates rows, which counts two for each that is as expected, and less for others.

        An insertion that meets the rows: a join with a union of selects takes the server twice as long.
        """
        insertion, parameters = self.insertion(target, rows)
        is_expected = " AND ".join(
            ["revision = VALUES(revision) - 1", *(f"{key} = VALUES({key})" for key in keys if key == "created")]
        )
        # One after the other, and each sees those before it: what is compared comes last.
        columns = [*(column for column in target.columns if column not in {*keys, "revision"}), "revision"]
        quoted = [target.connection.ops.quote_name(column) for column in columns]
        sets = ", ".join(f"{name} = IF({is_expected}, VALUES({name}), {name})" for name in quoted)
        return f"{insertion} ON DUPLICATE KEY UPDATE {sets}", parameters

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return sql.replace("INSERT", "INSERT IGNORE", 1), parameters
