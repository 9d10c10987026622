"""Partitions of the extended history, if the setting HISTORY_PARTITIONS asks for them and the table is empty."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from xblock_user_state.history.partitions import partition_if_empty


def partition(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Partition the table. It stays partitioned when the migration is undone: the tables of both kinds are one model."""
    model = apps.get_model("xblock_user_state_extended_history", "StudentModuleHistoryExtended")
    partition_if_empty(schema_editor.connection, model)


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state_extended_history', '0001_initial'),
    ]

    operations = [
        # Each change of a table ends a transaction on MariaDB and MySQL.
        migrations.RunPython(partition, migrations.RunPython.noop, atomic=False),
    ]
