"""Makes the tables of models whose app is not installed."""

from __future__ import annotations

from django.db import connection, models


def create_tables(*wanted: type[models.Model]) -> None:
    """Make the tables of these models anew, empty."""
    present = connection.introspection.table_names()
    with connection.schema_editor() as editor:
        for model in reversed(wanted):
            if model._meta.db_table in present:
                editor.delete_model(model)
        for model in wanted:
            editor.create_model(model)
