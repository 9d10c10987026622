"""Copies one row from the store that serves to the other one, and compares both.

Call these functions in a transaction of the platform's database. A row is copied as it is, under the lock of the
platform's row, so two requests can't leave an older copy behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

from django.db import transaction
from xblock.fields import Scope

from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import all_rows
from xblock_user_state.interface import Batch, UserId
from xblock_user_state.openedx.importing.models import NOT_IMPORTED, ImportedModule
from xblock_user_state.openedx.platform import differences, old_rows
from xblock_user_state.openedx.platform.old_rows import Address, OldRow, UnreadableRow
from xblock_user_state.state.change import Row
from xblock_user_state.state.codec import NotAState, decode_state
from xblock_user_state.state.comparison import diff
from xblock_user_state.state.keys import canonical_key
from xblock_user_state.store import reader
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.tables import TABLES

_LOG = logging.getLogger("xblock_user_state.openedx")

Step = Callable[[Batch, Address], None]
"""A part of a write that is repeated in this store."""


def copy_there(address: Address) -> Collection[str]:
    """Make the platform's rows equal to this store's row. Nothing is compared, so no field is returned."""
    # The lock comes first: a row that is read before it may be older than the copy of another request.
    found = old_rows.locked(address)
    if address.scope == Scope.user_state:
        done = _rows_here(address).values_list("done", flat=True).first()
        ids = [module.pk for module in found]
        module = old_rows.write_module(address, row_here(address), found, done)
        _keep_id(address, module, ids)
    else:
        old_rows.write_fields(address, row_here(address), found)
    return ()


def copy_here(address: Address, steps: Sequence[Step]) -> Collection[str]:
    """Repeat the `steps` in this store and compare; copy the row where it differs, or where there are no steps.

    Returns the fields that differed.
    """
    found = old_rows.locked(address)
    try:
        old = old_rows.content(address, found)
    except UnreadableRow as error:
        _LOG.warning("the platform's row can't be copied: %s", error)
        return [differences.WHOLE_STATE]
    if old is None:
        _delete_here(address)
        return ()
    differing = _repeat(address, steps, old) if steps else ()
    if differing or not steps:
        with DjangoXBlockUserStateClient().batch(learner_of(address)) as batch:
            _replace(batch, address, old)
    if address.scope == Scope.user_state:
        _keep_beside(address, found[0])
    return differing


def _repeat(address: Address, steps: Sequence[Step], old: OldRow) -> Collection[str]:
    """Make the steps and return the fields that differ from `old`. If any do, nothing was written."""
    with transaction.atomic(using=state_database()):
        with DjangoXBlockUserStateClient().batch(learner_of(address)) as batch:
            for step in steps:
                step(batch, address)
        differing = differences_of(old, row_here(address))
        if differing:
            # The history gets no entry of a state that the learner never had.
            transaction.set_rollback(True, using=state_database())
    return differing


def _keep_id(address: Address, module: Any, ids: Sequence[int]) -> None:
    """Keep the id of a new row of the platform's, or forget the `ids` of deleted ones. Up to two statements."""
    if module is None:
        _ids(pk__in=ids).delete()
    elif not ids:
        # A copy before may have been rolled back in the platform's database, and not in this store's. The platform may
        # then give its id to another row.
        (_ids_here(address).filter(revision=NOT_IMPORTED) | _ids(pk=module.pk)).delete()
        _add_id(address, module, NOT_IMPORTED)


def _keep_beside(address: Address, module: Any) -> None:
    """Keep the columns of the platform's row that are no part of a change: its id, to which others refer, and ``done``.

    Three statements.
    """
    rows = _rows_here(address)
    rows.exclude(done=module.done).update(done=module.done)
    row = row_here(address)
    if row is not None:
        _add_id(address, module, row.revision)


def _add_id(address: Address, module: Any, revision: int) -> None:
    block: Any = address.row
    kept = ImportedModule(pk=module.pk, student_id=address.student_id, block_id=block.id, revision=revision)
    all_rows(ImportedModule, state_database()).bulk_create([kept], ignore_conflicts=True)


def _ids_here(address: Address) -> Any:
    """Return the queryset of the ids that the platform's rows have."""
    block: Any = address.row
    return _ids(student_id=address.student_id, block_id=block.id)


def _ids(**conditions: Any) -> Any:
    return all_rows(ImportedModule, state_database()).filter(**conditions)


def _replace(batch: Batch, address: Address, old: OldRow) -> None:
    key: Any = canonical_key(address.row)
    batch.replace(key, old.state, address.scope)
    if address.scope == Scope.user_state:
        batch.set_score(key, old.grade, old.max_grade)


def differences_of(old: OldRow, row: Row | None) -> list[str]:
    """Return the fields in which this store's row differs from the platform's. A score is a field, too."""
    try:
        state = None if row is None or row.text is None else decode_state(row.text)
    except NotAState:
        return [differences.WHOLE_STATE]
    found = [change.field for change in diff(old.state, state)]
    score = (None, None) if row is None else (row.grade, row.max_grade)
    return found if score == (old.grade, old.max_grade) else [*found, differences.SCORE]


def set_fields(fields: Mapping[str, Any]) -> Step:
    """Return the step that overlays fields."""
    # A block may change its lists and dicts before the step is made.
    kept = deepcopy(dict(fields))
    return lambda batch, address: batch.set(canonical_key(address.row), kept, address.scope)


def remove_fields(fields: Collection[str] | None) -> Step:
    """Return the step that removes fields, or all."""
    return lambda batch, address: batch.delete(canonical_key(address.row), fields, address.scope)


def set_score(grade: float | None, max_grade: float | None) -> Step:
    """Return the step that sets the score."""

    def step(batch: Batch, address: Address) -> None:
        key: Any = canonical_key(address.row)
        batch.set_score(key, grade, max_grade)

    return step


def learner_of(address: Address) -> UserId | None:
    return None if address.student_id is None else UserId(address.student_id)


def row_here(address: Address) -> Row | None:
    rows = reader.read_rows(state_database(), TABLES[address.scope], address.student_id, [address.row])
    return rows.get(address.row)


def _delete_here(address: Address) -> None:
    """Delete this store's row, with its history, as the platform has."""
    _rows_here(address).delete()
    if address.scope == Scope.user_state:
        _ids_here(address).delete()


def _rows_here(address: Address) -> Any:
    """Return the queryset of this store's row."""
    table = TABLES[address.scope]
    wanted = {"student_id": address.student_id} if table.owned else {}
    for name in table.key_columns:
        wanted[name] = table.key_value(address.row)
    return all_rows(table.model, state_database()).filter(**wanted)
