"""Empties the tables after a test with transactions, in a fraction of the time of Django's ``flush``.

``flush`` empties every table, and then makes the content types and permissions of all models anew, by statements of
their own. A test leaves rows in a few tables, and nobody changes content types and permissions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.color import no_style
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

KEPT = {"django_content_type", "auth_permission"}
LARGE = 1_000_000
"""Bytes above which a table of PostgreSQL is truncated."""


def empty_after_tests() -> None:
    """Let Django's test case empty the tables so."""
    TransactionTestCase._fixture_teardown = _empty_databases  # type: ignore[attr-defined]


def _empty_databases(test: TransactionTestCase) -> None:
    for alias in test._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        connection = connections[alias]
        if filled := _filled_tables(connection):
            connection.ops.execute_sql_flush(_statements(connection, filled))


def _statements(connection: BaseDatabaseWrapper, filled: Sequence[str]) -> list[str]:
    if connection.vendor != "postgresql":
        statements: list[str] = connection.ops.sql_flush(no_style(), filled)
        return statements
    # TRUNCATE takes longer, because it makes new files; DELETE leaves dead rows, which later tests would read again.
    sizes = _row(connection, [f"pg_relation_size('{table}')" for table in filled])
    large = [table for table, size in zip(filled, sizes, strict=True) if size > LARGE]
    truncate = [f"TRUNCATE {', '.join(large)} CASCADE"] if large else []
    return [*truncate, *(f"DELETE FROM {table}" for table in filled if table not in large)]


def _filled_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the tables that have rows."""
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT)
    if not tables:
        return []
    found = _row(connection, [f"EXISTS (SELECT 1 FROM {table})" for table in tables])
    return [table for table, is_filled in zip(tables, found, strict=True) if is_filled]


def _row(connection: BaseDatabaseWrapper, expressions: Sequence[str]) -> Sequence[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(expressions)}")
        row: Sequence[Any] = cursor.fetchone()
    return row
