"""The SELECT statements behind the views, with the columns of the platform's old tables in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.openedx.decoded.models import DecodedHistory
from xblock_user_state.openedx.importing.models import ImportedModule
from xblock_user_state.openedx.numbers.arithmetic import BLOCK_BITS, FIRST, MAX_BLOCK, MAX_STUDENT
from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.store.dialects.rows import value_field
from xblock_user_state.store.models import Block, LearningContext, StudentModule

_INTEGERS: Mapping[str, str] = {"sqlite": "INTEGER", "postgresql": "bigint", "mysql": "SIGNED"}
_VALUES = ("state", "grade", "max_grade", "done", "created", "modified")


def student_module(connection: BaseDatabaseWrapper) -> str:
    """Return the rows of ``courseware_studentmodule``, with the id of our own block as a last column.

    An imported row keeps its old id, which foreign keys of other packages hold; any other row has its number.
    """
    quote = connection.ops.quote_name
    values = ", ".join(value(connection, f"stored.{name}", name) for name in _VALUES)
    return (
        f"SELECT {_id(connection)} AS id, {value(connection, 'block.block_type', 'module_type')}, "
        f"block.usage_key AS module_id, context.{quote('key')} AS course_id, {values}, "
        "stored.student_id, stored.block_id "
        f"FROM {quote(StudentModule._meta.db_table)} stored "
        f"INNER JOIN {quote(Block._meta.db_table)} block ON block.id = stored.block_id "
        f"INNER JOIN {quote(LearningContext._meta.db_table)} context ON context.id = block.context_id "
        f"{_joined_for_id(connection)}"
    )


def history(connection: BaseDatabaseWrapper) -> str:
    """Return the rows of ``courseware_studentmodulehistory``: those of the decoded copy."""
    quote = connection.ops.quote_name
    columns = ("id", "version", "created", "state", "grade", "max_grade")
    values = ", ".join(value(connection, f"stored.{name}", name) for name in columns)
    return (
        f"SELECT {values}, {_id(connection)} AS student_module_id "
        f"FROM {quote(DecodedHistory._meta.db_table)} stored {_joined_for_id(connection)}"
    )


def _id(connection: BaseDatabaseWrapper) -> str:
    """Return the expression of a row's id."""
    return f"COALESCE(imported.id, {_number(connection) if has_numbers() else 'NULL'})"


def _joined_for_id(connection: BaseDatabaseWrapper) -> str:
    """Return the joins that a row's id needs."""
    quote = connection.ops.quote_name
    imported = quote(ImportedModule._meta.db_table)
    # Two old rows may have become one row; it has the lower of their ids.
    lower = (
        f"SELECT 1 FROM {imported} lower_one WHERE lower_one.student_id = imported.student_id "
        "AND lower_one.block_id = imported.block_id AND lower_one.id < imported.id"
    )
    return (
        f"LEFT JOIN {quote(BlockNumber._meta.db_table)} numbered ON numbered.block_id = stored.block_id "
        f"LEFT JOIN {imported} imported ON imported.student_id = stored.student_id "
        f"AND imported.block_id = stored.block_id AND NOT EXISTS ({lower})"
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
    # MariaDB and MySQL let a view's columns be updated, past revision and history, but not its expressions
    # (findings/mariadb-updates-through-left-join.sh).
    return f"{f'IFNULL({column}, NULL)' if connection.vendor == 'mysql' else column} AS {name}"


def has_numbers() -> bool:
    """Tell whether rows have numbers: the ids of users are integers."""
    # Django's automatic keys are such fields too.
    student: Any = StudentModule._meta.get_field("student")
    return isinstance(value_field(student), models.IntegerField)
