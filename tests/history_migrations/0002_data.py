"""Data migrations with and without hints, and SQL that fails in a database without the table."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

from tests.traces import leaves_trace

LABEL = "xblock_user_state_extended_history"
MODEL = "studentmodulehistoryextended"


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [(LABEL, "0001_initial")]

    operations: ClassVar[list[Any]] = [
        migrations.RunPython(leaves_trace("history"), migrations.RunPython.noop),
        migrations.RunPython(leaves_trace("history, hinted"), migrations.RunPython.noop, hints={"model_name": MODEL}),
        migrations.RunSQL(
            "UPDATE xblock_user_state_extended_history_studentmodulehistoryextended SET version = 'moved'",
            migrations.RunSQL.noop,
        ),
    ]
