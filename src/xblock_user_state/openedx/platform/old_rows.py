"""One row of this store, as the platform's tables hold it: a row of `StudentModule`, or a row for each field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db import router
from opaque_keys.edx.block_types import BlockTypeKeyV1
from xblock.core import XBlock
from xblock.fields import Scope

from xblock_user_state.interface import State
from xblock_user_state.state.change import Row
from xblock_user_state.state.codec import decode, decode_state, encode
from xblock_user_state.state.keys import RowKey, canonical_key

MODELS: Mapping[Scope, str] = {
    Scope.user_state: "StudentModule",
    Scope.preferences: "XModuleStudentPrefsField",
    Scope.user_info: "XModuleStudentInfoField",
    Scope.user_state_summary: "XModuleUserStateSummaryField",
}
"""The platform's models of the scopes, in the app ``courseware``."""


class Address(NamedTuple):
    """A row of this store. ``student_id`` is ``None`` for a row that all learners share."""

    scope: Scope
    row: RowKey
    student_id: Any


class OldRow(NamedTuple):
    """The platform's content of a row. ``state`` is ``None`` for a row that never had a state."""

    state: State | None
    grade: float | None = None
    max_grade: float | None = None


class UnreadableRow(Exception):
    """The platform's text is no JSON object, or the text of a field is no JSON."""


def model_named(name: str) -> Any:
    """Return a model of the platform. Raises ``LookupError``."""
    return apps.get_model("courseware", name)


def model_of(scope: Scope) -> Any:
    """Return the platform's model of a scope."""
    return model_named(MODELS[scope])


def database_of(scope: Scope) -> str:
    """Return the alias of the database that the platform writes a scope to."""
    return router.db_for_write(model_of(scope))


def locked(address: Address) -> list[Any]:
    """Return the platform's rows of this row, locked. Call it in a transaction."""
    # The base manager is Django's own: what is put into the models' own queryset notes writes.
    rows = model_of(address.scope)._base_manager.filter(**identity(address))
    return list(rows.select_for_update())


def content(address: Address, found: list[Any]) -> OldRow | None:
    """Return the content of the platform's rows; ``None`` if there is none. Raises `UnreadableRow`."""
    if not found:
        return None
    try:
        if address.scope == Scope.user_state:
            [row] = found
            return OldRow(None if row.state is None else decode_state(row.state), row.grade, row.max_grade)
        return OldRow({each.field_name: decode(each.value) for each in found})
    except ValueError as error:
        raise UnreadableRow(f"{MODELS[address.scope]} {address}: {error}") from error


def write_module(address: Address, row: Row | None, found: list[Any], done: str | None) -> Any:
    """Make the platform's row of a block equal to this store's row; ``None`` deletes it. Returns the row, if any."""
    if row is None:
        for each in found:
            each.delete()
        return None
    module = found[0] if found else model_of(address.scope)(**identity(address), module_type=_type_of(address))
    before = _content_of(module)
    module.state, module.grade, module.max_grade, module.done = row.text, row.grade, row.max_grade, done
    if not found or _content_of(module) != before:
        # Its signals write the platform's history.
        module.save()
    _set_times(module, row.created, row.modified)
    return module


def _content_of(module: Any) -> tuple[Any, ...]:
    return module.state, module.grade, module.max_grade, module.done


def _set_times(module: Any, created: datetime, modified: datetime) -> None:
    # A save puts the present time into the row.
    type(module)._base_manager.filter(pk=module.pk).update(created=created, modified=modified)


def write_fields(address: Address, row: Row | None, found: list[Any]) -> None:
    """Make the platform's rows of the fields of another scope equal to this store's row; ``None`` deletes them."""
    state = {} if row is None or row.text is None else decode_state(row.text)
    rows = {each.field_name: each for each in found}
    for name in rows.keys() - state.keys():
        rows[name].delete()
    for name, value in state.items():
        text = encode(value)
        field = rows.get(name) or model_of(address.scope)(**identity(address), field_name=name)
        if field.pk is None or field.value != text:
            field.value = text
            field.save()


def identity(address: Address) -> dict[str, Any]:
    """Return the values of the columns by which the platform finds a row, or the rows of its fields."""
    key: Any = canonical_key(address.row)
    if address.scope == Scope.user_state:
        return {"student_id": address.student_id, "module_state_key": key, "course_id": key.context_key}
    if address.scope == Scope.preferences:
        named = key if isinstance(key, BlockTypeKeyV1) else BlockTypeKeyV1(XBlock.entry_point, key)
        return {"student_id": address.student_id, "module_type": named}
    return {"student_id": address.student_id} if address.scope == Scope.user_info else {"usage_id": key}


def _type_of(address: Address) -> str:
    key: Any = canonical_key(address.row)
    # The platform's column is as long as this.
    return str(key.block_type)[:32]
