"""Captures the SQL statements of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.test.utils import CaptureQueriesContext


@contextmanager
def captured() -> Iterator[list[str]]:
    """Collect all statements of the block, transaction control included. The list is filled when the block ends."""
    statements: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield statements
    statements.extend(query["sql"] for query in queries.captured_queries)


def verbs(statements: list[str]) -> list[str]:
    """Return the first word of each statement."""
    return [statement.split()[0].upper() for statement in statements]
