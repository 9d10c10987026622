"""Prepared statements of PostgreSQL: the server plans a statement once for a connection (docs/decisions/0028).

Django's connections prepare nothing, because behind a pooler in transaction mode each transaction may get another
server connection. So only the statements that come here are prepared. A connection is taken for a lasting one after its
first few statements. From then on it prepares them, unless the setting or a pooler forbids it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from xblock_user_state import conf

FIRST_STATEMENTS = 5
"""Statements of a connection before it prepares any: one that ends after a request would gain nothing."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_GONE = {
    "26000",  # invalid_sql_statement_name: DISCARD ALL, or another server connection of a pooler
    "42P05",  # duplicate_prepared_statement: a pooler, too
}
# An error of a class that has many others: the type of a column was changed.
_OUTDATED = "cached plan must not change result type"


@dataclass
class _Session:
    """Use of one connection of the driver."""

    statements: int = 0
    prepares: bool | None = None
    """``None`` until the connection has run its first statements."""


_SESSIONS: WeakKeyDictionary[Any, _Session] = WeakKeyDictionary()


def is_on(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the next statement is to be prepared. Once in a connection's life, this takes one statement."""
    # The log of statements shows the values of those that are not prepared. A tool that traces statements may replace
    # the method `cursor`, which `fetch` does not call.
    if connection.queries_logged or "cursor" in vars(connection):
        return False
    # As Django does before each statement.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    session = _session(connection)
    if session.prepares is None:
        session.statements += 1
        # A transaction that has failed takes no statement.
        if session.statements > FIRST_STATEMENTS and not connection.needs_rollback:
            choice = conf.value("PREPARE_STATEMENTS")
            session.prepares = choice == "always" or (choice == "direct" and _is_direct(connection))
    return bool(session.prepares)


def turn_off(connection: BaseDatabaseWrapper) -> None:
    """Prepare nothing more on the present connection of the driver."""
    _session(connection).prepares = False


def has_failed(error: Error) -> bool:
    """Tell whether the server has refused a statement only because it was prepared."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state in _GONE or (state == "0A000" and _OUTDATED in str(error))


def fetch(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
    """Run a query by a prepared statement and return its rows. Preparing it, at its first use, is a round trip."""
    wrapper: Any = connection
    driver = wrapper.connection
    usual, driver.prepare_threshold = driver.prepare_threshold, 0
    try:
        # Django's own cursor would write the parameters into the text. This one sends them apart.
        with wrapper.make_cursor(wrapper.Database.Cursor(driver)) as cursor:
            cursor.execute(sql, parameters)
            rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
    finally:
        driver.prepare_threshold = usual
    return rows


def _session(connection: BaseDatabaseWrapper) -> _Session:
    driver: Any = connection.connection
    session = _SESSIONS.get(driver)
    if session is None:
        session = _SESSIONS[driver] = _Session()
    return session


def _is_direct(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether no pooler stands between. It would name a process of its own, by which clients cancel statements."""
    driver: Any = connection.connection
    # Without Django's cursor, as Django's own checks of a connection: it is no statement of the caller's.
    with connection.wrap_database_errors:
        [process] = driver.execute("SELECT pg_backend_pid()").fetchone()
    return bool(driver.info.backend_pid == process)
