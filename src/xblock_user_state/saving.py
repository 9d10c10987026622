"""Saves instances of the state models by the write path: code written for Django, or for Open edX, keeps working.

A save is one change: one revision, one history entry. It writes the fields of the state that differ from the loaded
ones, and the score if it differs. Columns that only the write path may set are compared too, and raise if they differ.
The ORM knows no actor, so history has none.

Statements: one for the key of the block, and those of a client's write; none if nothing differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from django.db import DatabaseError, IntegrityError, models
from django.db.models.expressions import DatabaseDefault

from xblock_user_state.clients.arguments import new_score
from xblock_user_state.history.entries import all_rows
from xblock_user_state.history.recording import HistoryRecorder
from xblock_user_state.metrics.calls import report_write
from xblock_user_state.metrics.current import started
from xblock_user_state.state.assigned import (
    Creation,
    RowExists,
    RowIsGone,
    Update,
    checked_text,
    edits_between,
    replacement,
)
from xblock_user_state.state.change import Overlay, Removal, Row, Score
from xblock_user_state.state.keys import BlockId, RowKey, identify_block_type
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import Block, UserStateRow
from xblock_user_state.store.row_cache import RowCache
from xblock_user_state.store.tables import TABLES, Table
from xblock_user_state.store.transactions import repeat
from xblock_user_state.store.writer import Writer

POINTS = ("grade", "max_grade")


class Saving(NamedTuple):
    """The arguments of Django's ``save``, of which `fields` are the ``update_fields``."""

    database: str
    insert: bool
    update: bool
    fields: Collection[str] | None


class Plan(NamedTuple):
    """The parts of a save."""

    change: Creation | Update | None
    """The change that the write path makes."""
    columns: Mapping[str, Any]
    """The values of other columns, which have no revisions: ``done``."""
    names: Collection[str]
    """The columns to be saved, as far as they differ."""


def check(instance: UserStateRow, saving: Saving) -> None:
    """Raise ``TypeError`` or ``ValueError`` if the instance can't be saved so. Sends no statement."""
    _plan(instance, saving)


def save(instance: UserStateRow, saving: Saving, block: BlockId | None = None) -> bool:
    """Save an instance, and give it the values as they are stored; return whether its row was created.

    A caller that knows the instance's block gives it: no statement looks it up, and a new one is registered.

    Raises ``IntegrityError`` if the row to create exists or its block is not registered, and ``DatabaseError`` (from
    Django 6.0 on the model's ``NotUpdated``) if the row to change was deleted.
    """
    plan = _plan(instance, saving)
    if plan.change is None and not plan.columns:
        return False
    database = saving.database
    write = partial(_write, instance, database, plan, block)
    with _errors_translated(instance):
        # The write path repeats itself, but for a transaction around it.
        row = repeat(database, write) if plan.columns else write()
    _take_over(instance, database, plan, row)
    return isinstance(plan.change, Creation)


def _plan(instance: UserStateRow, saving: Saving) -> Plan:
    if saving.database != state_database():
        raise ValueError(
            f"{_name(instance)} can't be saved in the database {saving.database!r}, "
            f"because learner state is in {state_database()!r}"
        )
    key, loaded = _key(instance), instance.loaded_values()
    if None in key.values():
        raise ValueError(f"a {type(instance).__name__} can't be saved without {' and '.join(key)}")
    is_same = loaded is not None and key.items() <= loaded.items()
    is_forced = saving.update or saving.fields is not None
    if saving.insert or (instance.is_new and not is_same and not is_forced):
        return _creation(instance, loaded or {})
    if loaded is None and saving.fields is None:
        raise ValueError(
            f"{_name(instance)} was not loaded, so save() can't tell which values are new: load it first, or name the "
            f"new ones in update_fields"
        )
    if loaded is not None and not is_same:
        raise ValueError(f"{_name(instance)} was loaded under another key; make a new instance instead of moving it")
    return _update(instance, loaded or {}, saving.fields)


def _creation(instance: UserStateRow, loaded: Mapping[str, Any]) -> Plan:
    values = _values(instance, None)
    # A copy may still have the values of its original.
    _check_managed(instance, values, loaded, may_be_unset=True)
    _check_block_type(instance)
    # The same errors as those of the client.
    score = new_score(*(values.get(name) for name in POINTS)).score
    change = Creation(score=score, text=checked_text(values.get("state"), _name(instance)))
    columns = {name: value for name, value in _others(instance, values).items() if value != _default(instance, name)}
    return Plan(change, columns, values.keys())


def _update(instance: UserStateRow, loaded: Mapping[str, Any], fields: Collection[str] | None) -> Plan:
    values = _values(instance, fields)
    _check_managed(instance, values, loaded, may_be_unset=False)
    differing = {
        name
        for name, value in values.items()
        # By identity first, because NaN differs from itself. SQL may have stored it.
        if name not in loaded or (value is not loaded[name] and value != loaded[name])
    }
    edits = _edits(instance, values["state"], loaded) if "state" in differing else ()
    points = _points(values, differing)
    change = Update(edits, points=points, created=loaded.get("created")) if edits or points else None
    columns = {name: value for name, value in _others(instance, values).items() if name in differing}
    return Plan(change, columns, values.keys())


def _edits(instance: UserStateRow, text: object, loaded: Mapping[str, Any]) -> tuple[Overlay | Removal, ...]:
    # A deferred text that was assigned, and never loaded, is meant as a whole.
    if "state" not in loaded:
        return replacement(text, _name(instance))
    return edits_between(loaded["state"], text, _name(instance))


def _points(values: Mapping[str, Any], differing: Collection[str]) -> Mapping[str, float | None]:
    """Return the points to write. Raises ``TypeError`` or ``ValueError`` as the client does."""
    if not {*POINTS}.intersection(differing):
        return {}
    # Both, because points mean nothing without their maximum.
    points = {name: values[name] for name in POINTS if name in values}
    if points.get("grade", 0) is None and "max_grade" not in differing:
        # Only the grade was taken away, so the old maximum goes too.
        return {"grade": None}
    score = new_score(points.get("grade", 0), points.get("max_grade")).score or Score(None, None)
    return {name: value for name, value in score._asdict().items() if name in points}


def _values(instance: UserStateRow, fields: Collection[str] | None) -> dict[str, Any]:
    """Return the values to save: those of all columns but the key and deferred ones, or of `fields` among them."""
    key = _key(instance)
    asked = [
        column.attname
        for column in _table_of(instance).model._meta.concrete_fields
        if column.attname not in key and (fields is None or not {column.name, column.attname}.isdisjoint(fields))
    ]
    loaded = instance.column_values()
    values = {name: loaded[name] for name in asked if name in loaded and not isinstance(loaded[name], DatabaseDefault)}
    for name, value in values.items():
        if hasattr(value, "resolve_expression"):
            raise TypeError(
                f"{name} of {_name(instance)} can't be saved as {value!r}: give the value, not an expression for SQL"
            )
    return values


def _managed(instance: UserStateRow) -> list[str]:
    """Return the columns that only the write path sets."""
    return [name for name in _table_of(instance).columns if name not in ("state", *POINTS)]


def _others(instance: UserStateRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the columns that the write path does not know."""
    return {name: value for name, value in values.items() if name not in _table_of(instance).columns}


def _check_managed(
    instance: UserStateRow, values: Mapping[str, Any], loaded: Mapping[str, Any], *, may_be_unset: bool
) -> None:
    for name in _managed(instance):
        if name not in values:
            continue
        allowed = [loaded[name]] if name in loaded else []
        if may_be_unset or not allowed:
            allowed += [None, _default(instance, name)]
        if values[name] not in allowed:
            raise ValueError(
                f"{name} of {_name(instance)} can't be saved as {values[name]!r}: only the write path sets it"
            )


def _check_block_type(instance: UserStateRow) -> None:
    text = _key(instance).get("block_type")
    if text is not None and identify_block_type(text) != text:
        raise ValueError(
            f"block_type {text!r} is not the text of a block type; it would be {identify_block_type(text)!r}"
        )


def _default(instance: UserStateRow, name: str) -> Any:
    column: models.Field[Any, Any] = instance._meta.get_field(name)  # type: ignore[assignment]
    return column.get_default()


def _write(instance: UserStateRow, database: str, plan: Plan, block: BlockId | None) -> Row | None:
    """Write the parts of a save; return the row as it is stored then, ``None`` if only other columns were written."""
    row = _change(instance, database, plan.change, block) if plan.change else None
    # By column: with a composite key as a whole MariaDB's UPDATE reads the whole table.
    rows = all_rows(_table_of(instance).model, database).filter(**_key(instance))
    if plan.columns and not rows.update(**plan.columns):
        raise RowIsGone
    return row


def _change(instance: UserStateRow, database: str, change: Creation | Update, block: BlockId | None) -> Row:
    """Commit the change, or leave that to a caller's transaction; return the row as it is stored then."""
    table, student_id = _table_of(instance), _key(instance).get("student_id")
    key = block or _row_key(instance, table, database)
    changes = {table.scope: {key: change}}
    since = started()
    writer = Writer(database, student_id, HistoryRecorder(database, student_id, actor_id=None), RowCache())
    written = writer.write(changes)
    if since is not None:
        report_write(database, "save", changes, written.changed, since)
    # Another writer may have written the same values: then the row is there, and this save has not changed it.
    return written.rows[table.scope][key]


def _take_over(instance: UserStateRow, database: str, plan: Plan, row: Row | None) -> None:
    """Give the instance the row's values, and remember what it has saved as loaded."""
    table, loaded = _table_of(instance), instance.loaded_values()
    stored = dict(zip(table.columns, table.values(row), strict=True)) if row else {}
    # A value that was not to be saved may have been assigned.
    stored = {name: value for name, value in stored.items() if name in plan.names or name in _managed(instance)}
    saved = {name: value for name, value in instance.column_values().items() if name in plan.names}
    if loaded is not None or isinstance(plan.change, Creation):
        loaded = {**(loaded or {}), **_key(instance), **saved, **stored}
    instance.take_over(stored, loaded, database)


def _row_key(instance: UserStateRow, table: Table, database: str) -> RowKey:
    key = _key(instance)
    if table.key_column == "block_id":
        return _block(instance, database, key["block_id"])
    if table.key_column is None:
        return None
    text: str = key[table.key_column]
    return text


def _block(instance: UserStateRow, database: str, block_id: int) -> BlockId:
    found = (
        all_rows(Block, database)
        .filter(id=block_id)
        .values_list("context_id", "context__key", "usage_key", "block_type")
    )
    for context_id, context_key, usage_key, block_type in found:
        return BlockId(block_id, context_id, context_key, usage_key, block_type)
    raise IntegrityError(
        f"{_name(instance)} can't be saved, because there is no such Block; DjangoXBlockUserStateClient registers the "
        f"blocks that it writes"
    )


@contextmanager
def _errors_translated(instance: UserStateRow) -> Iterator[None]:
    """Raise Django's errors."""
    try:
        yield
    except RowExists:
        raise IntegrityError(f"{_name(instance)} exists: load it to change it") from None
    except RowIsGone:
        error = getattr(type(instance), "NotUpdated", DatabaseError)
        raise error(f"{_name(instance)} was deleted; nothing was written") from None


def _table_of(instance: UserStateRow) -> Table:
    return next(table for table in TABLES.values() if isinstance(instance, table.model))


def _key(instance: UserStateRow) -> dict[str, Any]:
    """Return the primary key by column, with the types of its columns."""
    columns = _table_of(instance).model._meta.pk_fields
    return {column.attname: column.to_python(getattr(instance, column.attname)) for column in columns}


def _name(instance: UserStateRow) -> str:
    key = ", ".join(f"{name} {value}" for name, value in _key(instance).items())
    return f"{type(instance).__name__} ({key})"
