"""A table, data migrations with and without hints, and SQL."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models

from tests.traces import leaves_trace


class Migration(migrations.Migration):
    initial = True

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel("Passerby", [("id", models.BigAutoField(primary_key=True))]),
        migrations.RunPython(leaves_trace("bystander"), migrations.RunPython.noop),
        migrations.RunPython(
            leaves_trace("bystander, hinted"), migrations.RunPython.noop, hints={"model_name": "passerby"}
        ),
        migrations.RunSQL("INSERT INTO bystander_passerby (id) VALUES (1)", migrations.RunSQL.noop),
    ]
