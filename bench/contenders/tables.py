"""Makes and drops the tables of the benchmark, which no migration knows."""

from __future__ import annotations

from django.db import connection, models

PREFIX = "bench_"


def create_tables(*wanted: type[models.Model]) -> None:
    """Make the tables of these models, empty."""
    with connection.schema_editor() as editor:
        for model in wanted:
            editor.create_model(model)


def drop_tables() -> None:
    """Drop whatever tables of the benchmark there are."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith(PREFIX):
                cursor.execute(f"DROP TABLE {table}")
