"""Writes one learner's changes: read, apply, compare and set, append history, commit.

All of it in one short transaction; a lost race repeats it. Whatever the number of rows, seven statements at most with
transaction control, up to four more for each further scope of a batch, and five more if blocks are new to the store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from django.db import connections
from xblock.fields import Scope

from xblock_user_state.metrics import waiting
from xblock_user_state.state.arguments import RowKey
from xblock_user_state.state.change import Row
from xblock_user_state.state.keys import BlockId
from xblock_user_state.state.writing import Changes
from xblock_user_state.store.blocks import register, registered
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.base import Target
from xblock_user_state.store.reader import read_rows
from xblock_user_state.store.tables import TABLES, Table
from xblock_user_state.store.transactions import LostRace, repeat

Changed = Mapping[RowKey, tuple[Row | None, Row]]
"""Rows as they were, ``None`` if they were not there, and as they are now."""


class Recorder(Protocol):
    """Who keeps the history of a write, in its transaction."""

    def chained(self, table: Table, key: RowKey, before: Row | None, after: Row) -> Row:
        """Return the row `after` with the place that its history entry will have."""

    def append(self, table: Table, changed: Changed) -> None:
        """Keep entries for the rows that were written."""


def write(database: str, student_id: Any, changes: Changes, recorder: Recorder) -> dict[Scope, Changed]:
    """Commit all changes, or none and raise; return what has changed. Blocks that may be created are registered before.

    In a caller's transaction it is theirs to commit.
    """
    if not any(changes.values()):
        return {}
    edits = [(key, change) for by_key in changes.values() for key, change in by_key.items() if isinstance(key, BlockId)]
    known = registered(database, {key for key, _ in edits})
    new = {key for key, change in edits if change.can_create()} - known
    if new:
        register(database, new)
    # A caller's transaction may have read the rows before: only a lock shows what they are now.
    is_callers = not connections[database].get_autocommit()
    return repeat(
        database, lambda again: _attempt(database, student_id, changes, recorder, known | new, lock=again or is_callers)
    )


def _attempt(
    database: str, student_id: Any, changes: Changes, recorder: Recorder, known: Collection[BlockId], *, lock: bool
) -> dict[Scope, Changed]:
    written: dict[Scope, Changed] = {}
    for scope, table in TABLES.items():
        if not changes.get(scope):
            continue
        since = waiting.before_locking(connections[database], lock=lock)
        stored = read_rows(database, table, student_id, changes[scope], lock=lock)
        waiting.locked(since)
        changed = {
            key: (before, recorder.chained(table, key, before, after))
            for key, change in changes[scope].items()
            if (after := change.apply(before := stored.get(key))) is not None
        }
        # Only a registry that has lost blocks (restored from a backup, say) lacks one that has a row.
        lost = {key for key in changed if isinstance(key, BlockId) and key not in known}
        if lost:
            register(database, lost)
        _store(database, table, student_id, {key: after for key, (_, after) in changed.items()})
        recorder.append(table, changed)
        written[scope] = changed
    return written


def _store(database: str, table: Table, student_id: Any, rows: Mapping[RowKey, Row]) -> None:
    connection = connections[database]
    dialect = dialect_of(connection)
    keys = (table.key_column,) if table.key_column else ()
    target = Target(connection, table.model, (*keys, *table.columns), table.owner(student_id))
    # In primary-key order, so that two writers of the same rows meet at the first of them.
    ordered = sorted(rows.items(), key=lambda item: table.key_value(item[0]) or 0)
    values = [(row.revision, (*(table.key_value(key) for _ in keys), *table.values(row))) for key, row in ordered]
    created = [value for revision, value in values if revision == 1]
    updated = [value for revision, value in values if revision > 1]
    if created:
        dialect.insert(target, created)
    if updated and dialect.update(target, keys, updated) != len(updated):
        raise LostRace
