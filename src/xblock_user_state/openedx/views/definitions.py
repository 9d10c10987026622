"""The SELECT statements behind the views, with the columns of the platform's old tables in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.openedx.numbers.arithmetic import BLOCK_BITS, FIRST, MAX_BLOCK, MAX_STUDENT
from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.store.dialects.rows import value_field
from xblock_user_state.store.models import Block, LearningContext, StudentModule

_INTEGERS: Mapping[str, str] = {"sqlite": "INTEGER", "postgresql": "bigint", "mysql": "SIGNED"}
_VALUES = ("state", "grade", "max_grade", "done", "created", "modified")


def student_module(connection: BaseDatabaseWrapper) -> str:
    """Return the rows of ``courseware_studentmodule``, with the id of our own block as a last column."""
    quote = connection.ops.quote_name
    imported = imported_model()
    number = _number(connection) if has_numbers() else f"CAST(NULL AS {integer_type(connection)})"
    joined, id_ = "", number
    if imported is not None:
        joined = (
            f" LEFT JOIN {quote(imported._meta.db_table)} imported"
            " ON imported.student_id = stored.student_id AND imported.block_id = stored.block_id"
        )
        # Foreign keys of other packages hold the old ids.
        id_ = f"COALESCE(imported.id, {number})"
    values = ", ".join(value(connection, f"stored.{name}", name) for name in _VALUES)
    return (
        f"SELECT {id_} AS id, {value(connection, 'block.block_type', 'module_type')}, block.usage_key AS module_id, "
        f"context.{quote('key')} AS course_id, {values}, stored.student_id, stored.block_id "
        f"FROM {quote(StudentModule._meta.db_table)} stored "
        f"INNER JOIN {quote(Block._meta.db_table)} block ON block.id = stored.block_id "
        f"INNER JOIN {quote(LearningContext._meta.db_table)} context ON context.id = block.context_id "
        f"LEFT JOIN {quote(BlockNumber._meta.db_table)} numbered ON numbered.block_id = stored.block_id{joined}"
    )


def _number(connection: BaseDatabaseWrapper) -> str:
    """Return the expression of a row's number (`numbers.arithmetic.number_of`)."""
    # The cast: PostgreSQL multiplies two 32-bit integers in 32 bits.
    student = f"CAST(stored.student_id AS {integer_type(connection)})"
    return (
        f"CASE WHEN stored.student_id BETWEEN 0 AND {MAX_STUDENT} AND numbered.number <= {MAX_BLOCK} "
        f"THEN {FIRST} + {student} * {1 << BLOCK_BITS} + numbered.number END"
    )


def integer_type(connection: BaseDatabaseWrapper) -> str:
    """Return the type of 64-bit integers in a CAST."""
    return _INTEGERS[connection.vendor]


def value(connection: BaseDatabaseWrapper, column: str, name: str) -> str:
    """Return the select item of a column that no index has."""
    # MariaDB and MySQL let a view's columns be updated, past revision and history, but not its expressions.
    return f"{f'IFNULL({column}, NULL)' if connection.vendor == 'mysql' else column} AS {name}"


def has_numbers() -> bool:
    """Tell whether rows have numbers: the ids of users are integers."""
    # Django's automatic keys are such fields too.
    student: Any = StudentModule._meta.get_field("student")
    return isinstance(value_field(student), models.IntegerField)


def imported_model() -> Any:
    """Return the model that keeps the ids of imported rows; ``None`` without it."""
    return apps.all_models["xblock_user_state_openedx"].get("importedmodule")
