"""Lookups by the number of a row: they name the learner and the block, so that the primary key finds the row.

The number is an expression over the columns of three tables, which no index holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db import NotSupportedError, models
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In

from xblock_user_state.openedx.importing.models import ImportedModule
from xblock_user_state.openedx.numbers.arithmetic import FIRST, parts_of
from xblock_user_state.openedx.numbers.models import BlockNumber
from xblock_user_state.openedx.views.definitions import has_numbers

_Sql = tuple[str, list[Any]]


class RowNumberIs(Exact):
    """Finds a row by its number."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return the condition of the row's learner and block."""
        if not _names_rows(self):
            return super().as_sql(compiler, connection)
        return _condition(self.lhs, [self.rhs], compiler, connection)


class RowNumberIn(In):
    """Finds rows by their numbers."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return the condition of the rows' learners and blocks."""
        if not _names_rows(self):
            return super().as_sql(compiler, connection)
        return _condition(self.lhs, list(dict.fromkeys(self.rhs)), compiler, connection)


def register_lookups(field: Any) -> None:
    """Use these lookups for a field of the numbers, or for a class of such fields."""
    for lookup in (RowNumberIs, RowNumberIn):
        field.register_lookup(lookup)


if TYPE_CHECKING:
    _BigAutoField = models.BigAutoField[int, int]
else:
    _BigAutoField = models.BigAutoField


class RowNumberField(_BigAutoField):
    """The number of a row. Lookups find the row by the primary key of our table."""


register_lookups(RowNumberField)


def _names_rows(lookup: Any) -> bool:
    """Tell whether a lookup compares the view's own column, not a foreign key to it, with given numbers."""
    column = lookup.lhs
    return isinstance(column, Col) and not column.target.is_relation and lookup.rhs_is_direct_value()


def _condition(column: Col, numbers: Sequence[Any], compiler: Any, connection: Any) -> _Sql:
    # Django 6.1 has given the method another name.
    quote = getattr(compiler, "quote_name", None) or compiler.quote_name_unless_alias
    alias = quote(column.alias)
    rows = [each for each in (_row(alias, number, connection) for number in numbers if number is not None) if each]
    if not rows:
        raise EmptyResultSet
    return _any(rows)


def _row(alias: str, number: int, connection: Any) -> _Sql | None:
    quote = connection.ops.quote_name
    if 0 <= number < FIRST:
        found = f"FROM {quote(ImportedModule._meta.db_table)} WHERE id = %s"
        block = _or_none(f"(SELECT block_id {found})")
        return f"({alias}.student_id = (SELECT student_id {found}) AND {alias}.block_id = {block})", [number, number]
    if not has_numbers():
        raise NotSupportedError("rows have no numbers here, because the ids of users are no integers")
    parts = parts_of(number)
    if parts is None:
        return None
    block = _or_none(f"(SELECT block_id FROM {quote(BlockNumber._meta.db_table)} WHERE number = %s)")
    return f"({alias}.student_id = %s AND {alias}.block_id = {block})", list(parts)


def _or_none(block_id: str) -> str:
    """Return the expression of a block's id, or of an id that no block has: a NULL would make ``exclude`` drop rows."""
    return f"COALESCE({block_id}, 0)"


def _any(conditions: Sequence[_Sql]) -> _Sql:
    """Return the condition that one of many holds, as a balanced tree: SQLite bounds the depth of an expression."""
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    (left, some), (right, others) = _any(conditions[:middle]), _any(conditions[middle:])
    return f"({left} OR {right})", [*some, *others]
