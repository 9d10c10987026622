"""Real interference with a call: other writers, refused rows, killed connections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

needs_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server")


def on_another_connection(action: Callable[[], object]) -> None:
    """Run `action` on a separate connection, as another process would, and raise its error here."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 (raised again by the caller)
            errors.append(error)
        finally:
            connections.close_all()

    thread = Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "the other writer is still waiting for a lock"
    if errors:
        raise errors[0]


@contextmanager
def just_before(
    verb: str, model: type[models.Model], action: Callable[[], object], alias: str = "default"
) -> Iterator[list[str]]:
    """Run `action` once, just before the first statement of this kind on the table of `model`.

    The result lists the statements on the table; it grows while the block runs.
    """
    table = connections[alias].ops.quote_name(model._meta.db_table)
    seen: list[str] = []

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if table in sql:
            seen.append(sql)
            if is_statement(sql, verb, table) and sum(is_statement(one, verb, table) for one in seen) == 1:
                action()
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(wrapper):
        yield seen
    assert any(is_statement(one, verb, table) for one in seen), f"there was no {verb} on {table}"


@contextmanager
def just_after(verb: str, model: type[models.Model], action: Callable[[], object]) -> Iterator[None]:
    """Run `action` once, right after the first statement of this kind on the table of `model`."""
    table = connection.ops.quote_name(model._meta.db_table)
    seen: list[str] = []

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if is_statement(sql, verb, table):
            seen.append(sql)
            if len(seen) == 1:
                action()
        return result

    with connection.execute_wrapper(wrapper):
        yield
    assert seen, f"there was no {verb} on {table}"


def is_statement(sql: str, verb: str, table: str) -> bool:
    """Tell whether a statement, or a part of it, is of this kind and on this table (a quoted name).

    The kind is a verb, or "LOCK" for a SELECT that locks rows.
    """
    if verb in ("SELECT", "LOCK"):
        return sql.startswith("SELECT") and table in sql and (verb == "SELECT" or "FOR UPDATE" in sql)
    name = re.escape(table)
    meanings = {
        # MariaDB updates many rows by an upsert.
        "UPDATE": rf"UPDATE {name}|INSERT INTO {name} [^;]* ON DUPLICATE KEY UPDATE",
        "INSERT": rf"INSERT (IGNORE )?INTO {name} (?![^;]* ON DUPLICATE KEY UPDATE)",
        "DELETE": f"DELETE FROM {name}",  # noqa: S608 (a pattern)
    }
    return re.search(meanings[verb], sql) is not None


@contextmanager
def second_connection(alias: str = "default") -> Iterator[BaseDatabaseWrapper]:
    """A separate connection, as another process has."""
    other = connections[alias].copy()
    try:
        yield other
    finally:
        other.close()


def kill_connection(alias: str = "default") -> None:
    """End this thread's connection on the server's side, as an operator or a failover does."""
    is_postgresql = connections[alias].vendor == "postgresql"
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if is_postgresql else "SELECT CONNECTION_ID()")
        [number] = cursor.fetchone()
    with second_connection(alias) as other, other.cursor() as cursor:
        if is_postgresql:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [number])
        else:
            cursor.execute(f"KILL CONNECTION {number}")


_TRIGGERS = {
    "sqlite": [
        """
        CREATE TRIGGER refuse BEFORE {verb} ON {table} WHEN {condition}
        BEGIN SELECT RAISE(ABORT, 'refused by the test'); END
    """
    ],
    "mysql": [
        """
        CREATE TRIGGER refuse BEFORE {verb} ON {table} FOR EACH ROW
        IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by the test'; END IF
    """
    ],
    # Citus takes one command at a time.
    "postgresql": [
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF {condition} THEN RAISE EXCEPTION 'refused by the test'; END IF; RETURN NEW; END $$
        """,
        "CREATE TRIGGER refuse BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}
_DROPS = {
    "sqlite": "DROP TRIGGER refuse",
    "mysql": "DROP TRIGGER refuse",
    "postgresql": "DROP FUNCTION refuse CASCADE",
}


@contextmanager
def refusing(verb: str, model: type[models.Model], condition: str, alias: str = "default") -> Iterator[None]:
    """Let the database refuse rows that match, in the middle of a write, as a full disk or a broken index would."""
    one = connections[alias]
    table = one.ops.quote_name(model._meta.db_table)
    with one.cursor() as cursor:
        for command in _TRIGGERS[one.vendor]:
            cursor.execute(command.format(verb=verb, table=table, condition=condition))
    try:
        yield
    finally:
        with one.cursor() as cursor:
            cursor.execute(_DROPS[one.vendor])


@contextmanager
def without_table(model: type[models.Model]) -> Iterator[None]:
    """Rename a table away, as if its migration had been forgotten."""
    table, away = model._meta.db_table, f"{model._meta.db_table}_away"
    _rename_table(table, away)
    try:
        yield
    finally:
        _rename_table(away, table)


def _rename_table(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {connection.ops.quote_name(old)} RENAME TO {connection.ops.quote_name(new)}")


@contextmanager
def unreachable() -> Iterator[None]:
    """Point this thread's connection to a place without a database."""
    connection.close()
    before = dict(connection.settings_dict)
    if connection.vendor == "sqlite":
        connection.settings_dict["NAME"] = "/nonexistent/folder/state.sqlite3"
    else:
        connection.settings_dict.update({"HOST": "127.0.0.1", "PORT": "1"})
    try:
        yield
    finally:
        with suppress(DatabaseError):
            connection.close()
        connection.settings_dict.update(before)
