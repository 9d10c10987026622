"""Creates, fills and drops the tables of the benchmark, which no migration knows."""

from __future__ import annotations

from django.db import connection, models

from bench.site.filling import Rows

PREFIX = "bench_"


def create_tables(*wanted: type[models.Model]) -> None:
    """Create empty tables for these models."""
    with connection.schema_editor() as editor:
        for model in wanted:
            editor.create_model(model)


def drop_tables() -> None:
    """Drop all tables of the benchmark."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith(PREFIX):
                cursor.execute(f"DROP TABLE {table}")


def fill_tables(rows: Rows, state: str, history: str) -> None:
    """Insert states and one plain history entry for each, into tables with the package's columns."""
    owner = {"student_id": "q.learner", "block_id": "b.id", "revision": "1"}
    rows.insert(state, {**owner, "state": "s.compact", "created": "now()", "modified": "now()"})
    body = "convert_to(s.compact, 'UTF8')" if connection.vendor == "postgresql" else "s.compact"
    rows.insert(history, {**owner, "created": "now()", "encoding": "0", "body": body})
