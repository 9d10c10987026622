"""Rows of the old tables, one at a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from django.db import connections

from demo.old_tables.schema import HISTORY, MODULE

# A time on the first day, for rows whose time does not matter.
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def insert_module(alias: str, **values: Any) -> int:
    """Insert a learner's row of a block; return its id.

    `student_id`, `module_id` and `course_id` must be given, as texts the keys. The type is taken from the key unless it
    is given. Times are aware, or texts that go to the database as they are.
    """
    key_type = re.search(r"\+type@([^+]+)\+|^i4x://[^/]+/[^/]+/([^/]+)/", values["module_id"])
    defaults = {
        "module_type": next(filter(None, key_type.groups())) if key_type else "problem",
        "state": '{"seed": 1}',
        "grade": None,
        "max_grade": None,
        "done": "na",
        "created": NOON,
        "modified": values.get("created", NOON),
    }
    return _insert(alias, MODULE, {**defaults, **values})


def insert_history(alias: str, module: int, table: str = HISTORY, **values: Any) -> int:
    """Insert an entry of the history of the module with this id; return the entry's id."""
    defaults = {"version": None, "created": NOON, "state": '{"seed": 1}', "grade": None, "max_grade": None}
    return _insert(alias, table, {**defaults, **values, "student_module_id": module})


def insert_field(alias: str, table: str, **values: Any) -> int:
    """Insert the value of one field of another scope than the learner's state; return the row's id."""
    defaults = {"value": "null", "created": NOON, "modified": values.get("created", NOON)}
    return _insert(alias, table, {**defaults, **values})


def _insert(alias: str, table: str, values: dict[str, Any]) -> int:
    connection = connections[alias]
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    returning = " RETURNING id" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) VALUES ({places}){returning}",
            [_adapted(alias, value) for value in values.values()],
        )
        return int(cursor.fetchone()[0] if returning else cursor.lastrowid)


def _adapted(alias: str, value: Any) -> Any:
    return connections[alias].ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value
