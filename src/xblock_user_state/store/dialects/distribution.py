"""Tells whether Citus distributes our tables on a server of PostgreSQL (docs/decisions/0039).

A process asks once for each database, and remembers the answer. Another process may distribute the tables later. Until
this process knows, its statements have the same result, and take longer; Citus refuses a few of them, which tells it.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error, NotSupportedError

_KNOWN: dict[str, bool] = {}
"""The answers, by alias."""

_HAS_CITUS = "SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
# Tables that Citus copies to every node, and local ones, have another method than "h", by hash.
_HAS_OUR_TABLES = """
    SELECT EXISTS (
        SELECT FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid
        WHERE partmethod = 'h' AND starts_with(relname, 'xblock_user_state_') AND pg_table_is_visible(pg_class.oid)
    )
"""


class Outdated(NotSupportedError):
    """Citus has refused a statement because this process did not know that it distributes the tables."""


def is_distributed(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether Citus distributes our tables.

    The first time for a database that a connection is open, this takes a statement, and one more on a server with
    Citus. Before that the answer is no.
    """
    known = _KNOWN.get(connection.alias)
    if known is None and _takes_statements(connection):
        known = _KNOWN[connection.alias] = _ask(connection)
    return bool(known)


def ask_again(alias: str) -> None:
    """Forget the answer for a database: this process has distributed its tables, or made them local again."""
    _KNOWN.pop(alias, None)


def learns_from(connection: BaseDatabaseWrapper, error: Error) -> bool:
    """Tell whether Citus has refused a statement that suits PostgreSQL without it. If so, remember that it is there."""
    is_refused = getattr(error.__cause__, "sqlstate", None) == "0A000" and "distributed" in str(error)
    if is_refused:
        _KNOWN[connection.alias] = True
    return is_refused


def _takes_statements(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the connection is open, and not in a transaction that has failed."""
    driver: Any = connection.connection
    # By name: the driver need not be loaded to read this module.
    return driver is not None and getattr(driver.info.transaction_status, "name", "") in ("IDLE", "INTRANS")


def _ask(connection: BaseDatabaseWrapper) -> bool:
    driver: Any = connection.connection
    # Without Django's cursor, as Django's own checks of a connection: it is no statement of the caller's.
    with connection.wrap_database_errors, driver.cursor() as cursor:
        return all(cursor.execute(question).fetchone()[0] for question in (_HAS_CITUS, _HAS_OUR_TABLES))
