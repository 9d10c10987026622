"""Room on PostgreSQL's pages, so that updates stay on them (heap-only)."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

MODELS = ("StudentModule", "Preferences", "UserInfo", "UserStateSummary")


def leave_room(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let new pages be filled to 90 %: some 800 bytes, the state of a problem, are free. It takes no lock on writers."""
    _alter(apps, schema_editor, "SET (fillfactor = 90)")


def fill_up(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let pages be filled as other tables' are."""
    _alter(apps, schema_editor, "RESET (fillfactor)")


def _alter(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor, action: str) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    for name in MODELS:
        table = apps.get_model("xblock_user_state", name)._meta.db_table
        schema_editor.execute(f"ALTER TABLE {schema_editor.quote_name(table)} {action}")


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0002_outbox'),
    ]

    operations = [
        migrations.RunPython(leave_room, fill_up),
    ]
