"""MariaDB and MySQL: a write is one packet of statements, with a transaction around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC
from typing import Any
from weakref import WeakKeyDictionary

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, TooLarge, execute
from xblock_user_state.store.dialects.rows import (
    REVISION,
    Convert,
    Rows,
    Sql,
    Target,
    Values,
    Write,
    microseconds_to_time,
    text_sizes,
)

# https://mariadb.com/kb/en/mariadb-error-code-reference/
_DUPLICATE = {1062}
_LOCK_TIMEOUT = 1205
_CONFLICT = {
    1020,  # the row changed since it was read (innodb_snapshot_isolation)
    _LOCK_TIMEOUT,
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
_PACKET_TOO_LARGE = 1153

# Smaller rows fit into the least limit that a server may be given in earnest, 1 MiB, however they are escaped.
_CERTAINLY_SMALL = 100_000
# A statement's text beside the long values.
_STATEMENT_BYTES = 2000
_ESCAPED = b"\0\n\r\x1a\"'\\"


# Answers of `_is_galera` by connection of the driver: a new connection may lead to another server.
_GALERA: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


class MySQL(Dialect):
    """MariaDB 10.6 and later, MySQL 8.0 and later, through mysqlclient."""

    vendor = "mysql"
    # MariaDB's max_allowed_packet is 16 MiB by default, and escaping may double a text.
    _max_text = 4 * 1024 * 1024

    def keyed(self, table: str) -> str:
        """Let the server go to each key. It takes a learner for a few rows, and would read, and lock, all of them."""
        return f"{table} FORCE INDEX (PRIMARY)"

    def id_table(self, ids: Sequence[int]) -> Sql:
        """Return a FROM item that lists ids."""
        # One JSON parameter: a union of a hundred SELECTs takes the server much longer to plan.
        return "JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked", [f"[{','.join(map(str, ids))}]"]

    def select_expression(
        self, name: str, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> tuple[str, Convert | None]:
        """Select times as microseconds: the driver and Django would parse each of them from text, in Python."""
        # The difference is right only where Django stores times in UTC.
        if not isinstance(field, models.DateTimeField) or connection.timezone is not UTC:
            return name, None
        return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {name})", microseconds_to_time

    def insert(self, target: Target, rows: Sequence[Values]) -> None:
        """Insert rows in their order. Raises `TooLarge` for a row that no packet takes."""
        _check_sizes(Rows(target, rows))
        super().insert(target, rows)

    def store(self, write: Write) -> bool:
        """Write rows and history. Raises `TooLarge` for a row that no packet takes."""
        _check_sizes(write.rows)
        return super().store(write)

    def store_at_once(self, write: Write) -> Outcome:
        """Write and commit by one packet of statements, if the host's ``OPTIONS`` let the driver send packets.

        In a transaction, write one row without history. A node of a Galera cluster gets no packets.
        """
        connection = write.rows.target.connection
        in_transaction = not connection.get_autocommit()
        if in_transaction and not write.is_one_row:
            return Outcome.NOT_SENT
        _check_sizes(write.rows)
        if in_transaction:
            return self._store_one(write)
        # mysqlclient allows packets of statements by default.
        if not connection.settings_dict["OPTIONS"].get("multi_statements", True) or not self._fits(write):
            return Outcome.NOT_SENT
        if write.beside or _is_galera(connection):
            return Outcome.NOT_SENT
        statements: list[Sql] = [("START TRANSACTION", []), *self._statements(write), ("COMMIT", [])]
        try:
            with connection.cursor() as cursor:
                cursor.execute("; ".join(sql for sql, _ in statements), [one for _, some in statements for one in some])
                # An error of a later statement is raised only when its result is fetched.
                while cursor.nextset():
                    pass
        except Error as error:
            # The server stops at the first statement that fails and leaves the transaction open.
            with suppress(Error):
                execute(connection, "ROLLBACK", [])
            if error.args and error.args[0] == _SUBQUERY_HAS_ROWS:
                return Outcome.LOST_RACE
            raise
        return Outcome.STORED

    def _classified(self, error: Error) -> Failure | None:
        """Classify an error by its number."""
        number = error.args[0] if error.args else None
        if number in _DUPLICATE:
            return Failure.DUPLICATE
        if number in _CONFLICT:
            return Failure.CONFLICT
        if number == _PACKET_TOO_LARGE:
            return Failure.TOO_LARGE
        return Failure.UNAVAILABLE if number in _UNAVAILABLE or number in _CLIENT_ERRORS else None

    def has_rolled_back(self, connection: BaseDatabaseWrapper, error: Error) -> bool:
        """Tell whether an error has rolled back the transaction. One statement after a lock timeout."""
        number = error.args[0] if error.args else None
        if number == _LOCK_TIMEOUT:
            with connection.cursor() as cursor:
                cursor.execute("SELECT @@innodb_rollback_on_timeout")
                return bool(cursor.fetchone()[0])
        return number in _CONFLICT

    def _store_one(self, write: Write) -> Outcome:
        """Write one row by one statement."""
        target = write.rows.target
        created, updated = replace(write, rows=Rows(target, self._adapted(target, write.rows.values))).split()
        if created:
            execute(target.connection, *self._insertion(target, created))
            return Outcome.STORED
        # No upsert: it would insert a row that was deleted meanwhile, and only a savepoint would take that back.
        [row] = updated
        values = dict(zip(target.columns, row, strict=True))
        expected = {**{column: values.pop(column) for column in write.matched}, REVISION: values[REVISION] - 1}
        quote = target.connection.ops.quote_name
        sets = ", ".join(f"{quote(column)} = %s" for column in values)
        conditions = " AND ".join(f"{name} = %s" for name in (*target.layout.pinned_names, *map(quote, expected)))
        sql = f"UPDATE {target.table} SET {sets} WHERE {conditions}"
        found = execute(target.connection, sql, [*values.values(), *target.pinned_values(), *expected.values()])
        return Outcome.STORED if found == 1 else Outcome.LOST_RACE

    def _store_rows(self, write: Write) -> bool:
        connection = write.rows.target.connection
        created, updated = write.split()
        if created:
            execute(connection, *self._insertion(write.rows.target, created))
        return not updated or execute(connection, *self._update(write, updated)) == 2 * len(updated)

    def _ignoring(self, insertion: Sql) -> Sql:
        sql, parameters = insertion
        return sql.replace("INSERT", "INSERT IGNORE", 1), parameters

    def _max_rows(self, target: Target) -> int:
        # Keeps a statement's text within the memory of the server's parser.
        return 1000

    def _statements(self, write: Write) -> Iterator[Sql]:
        """Yield the statements of a write. The packet ends with error 1242 if an updated row was not as expected."""
        target = write.rows.target
        created, updated = replace(write, rows=Rows(target, self._adapted(target, write.rows.values))).split()
        if updated:
            yield self._update(write, updated)
            # SQL has no RAISE outside stored procedures. A scalar subquery with two rows is an error, so this one fails
            # the packet unless the update changed all rows. ROW_COUNT() is that of the statement before.
            two = "SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two"
            yield f"SELECT ({two} WHERE ROW_COUNT() <> %s)", [2 * len(updated)]
        if created:
            yield self._insertion(target, created)
        if write.history and write.history.values:
            entries = self._adapted(write.history.target, write.history.values)
            yield self._insertion(write.history.target, entries)

    def _insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return the statement that inserts rows."""
        pinned, are_numbers = target.pinned_values(), target.layout.are_numbers
        texts, parameters = [], []
        for row in rows:
            items = ["%s"] * len(pinned)
            parameters += pinned
            for value, is_number in zip(row, are_numbers, strict=True):
                # Numbers stand in the text: mysqlclient takes a microsecond and a half for each parameter.
                if value is None:
                    items.append("NULL")
                elif is_number:
                    items.append(repr(value))
                else:
                    items.append("%s")
                    parameters.append(value)
            texts.append(f"({', '.join(items)})")
        return f"INSERT INTO {target.table} ({target.layout.every_name}) VALUES {', '.join(texts)}", parameters

    def _update(self, write: Write, rows: Sequence[Values]) -> Sql:
        """Return the statement that updates rows. Its row count is 2 for each row that was as expected."""
        target = write.rows.target
        # An upsert that meets the rows by their keys: an UPDATE joined to a union of SELECTs takes twice as long.
        # The server counts 2 for a row that it changes, and at most 1 for a row that it inserts or leaves as it is.
        insertion, parameters = self._insertion(target, rows)
        conditions = [
            f"{REVISION} = VALUES({REVISION}) - 1",
            *(f"{name} = VALUES({name})" for name in write.also_matched),
        ]
        is_expected = " AND ".join(conditions)
        # MySQL assigns from left to right, and a later expression sees the new values: the revision, which all compare,
        # comes last. https://dev.mysql.com/doc/refman/8.0/en/update.html
        columns = [*(column for column in target.columns if column not in {*write.matched, REVISION}), REVISION]
        quoted = [target.connection.ops.quote_name(column) for column in columns]
        sets = ", ".join(f"{name} = IF({is_expected}, VALUES({name}), {name})" for name in quoted)
        return f"{insertion} ON DUPLICATE KEY UPDATE {sets}", parameters


def _is_galera(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the server is a node of a Galera cluster. One statement in the life of a connection.

    A node that meets a conflict inside a packet may repeat one statement of it, as if it stood alone, and answer OK to
    the COMMIT of a transaction that it has rolled back: seen with MariaDB 10.11 and Galera 26.4.
    """
    connection.ensure_connection()
    driver: Any = connection.connection
    found = _GALERA.get(driver)
    if found is None:
        # Without Django's cursor, as Django's own checks of a connection: it is no statement of the caller's. MySQL has
        # no such variable, so a SELECT would fail there.
        with connection.wrap_database_errors, closing(driver.cursor()) as cursor:
            cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
            found = _GALERA[driver] = any(value == "ON" for _, value in cursor.fetchall())
    return found


def _check_sizes(rows: Rows) -> None:
    """Raise `TooLarge` if a row is over ``max_allowed_packet``. One statement, if a row is large enough to ask."""
    # The server answers too large a packet by closing the connection, as it does when it goes down.
    target = rows.target
    large = [row for row, size in zip(rows.values, text_sizes(rows), strict=True) if size > _CERTAINLY_SMALL]
    if not large:
        return
    with target.connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        [limit] = cursor.fetchone()
    for row in large:
        size = sum(_packet_size(row[column]) for column in target.layout.long) + _STATEMENT_BYTES
        if size > limit:
            raise TooLarge(size, limit, "max_allowed_packet")


def _packet_size(value: str | bytes | None) -> int:
    """Return the bytes of a value in a statement: a character of `_ESCAPED` takes two."""
    data = value.encode() if isinstance(value, str) else value or b""
    return len(data) + sum(data.count(character) for character in _ESCAPED)
