"""Writes one learner's changes: read, apply, compare and set together with the history, or lose the race and repeat.

The first attempt locks nothing: it reads the rows, unless the client knows them, and then commits, in one statement or
packet of statements where the database takes that. An attempt after a lost race, or in a caller's transaction, locks
what it reads. The number of round trips does not depend on that of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from django.db import connections, transaction
from xblock.fields import Scope

from xblock_user_state.clients.base import Changes
from xblock_user_state.metrics import names, waiting
from xblock_user_state.metrics.current import count
from xblock_user_state.state.change import Change, Row, clock
from xblock_user_state.state.keys import BlockId, RowKey
from xblock_user_state.store import hot_rows
from xblock_user_state.store.blocks import Look, look, register
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Rows, Target, Write
from xblock_user_state.store.reader import read_rows
from xblock_user_state.store.row_cache import RowCache
from xblock_user_state.store.tables import TABLES, Table
from xblock_user_state.store.transactions import LostRace, repeat

Edits = Mapping[RowKey, Change]
Changed = Mapping[RowKey, tuple[Row | None, Row]]
"""Rows as they were, ``None`` if they were not there, and as they are now."""


class Recorder(Protocol):
    """Who keeps the history of a write, in its transaction."""

    def chained(self, table: Table, key: RowKey, before: Row | None, after: Row) -> Row:
        """Return the row `after` with the place that its history entry will have."""

    def entries(self, table: Table, changed: Changed) -> Rows | None:
        """Return the entries to be written with these rows, if there are any."""

    def written(self, entries: Rows) -> None:
        """Take note that entries were written; they may be rolled back yet, with a caller's transaction."""


@dataclass(frozen=True)
class Writer:
    """Writes changes of one learner to the state's `database`."""

    database: str
    student_id: Any
    recorder: Recorder
    known: RowCache

    def write(self, changes: Changes) -> Mapping[Scope, Changed]:
        """Commit all changes, or none and raise; return the rows that have changed.

        In a caller's transaction it is theirs to commit.
        """
        wanted = {table: changes[scope] for scope, table in TABLES.items() if changes.get(scope)}
        if not wanted:
            return {}
        connection = connections[self.database]
        is_callers = not connection.get_autocommit()
        locks_at_first = is_callers or hot_rows.any_hot(self._places(wanted))
        changed = repeat(
            self.database,
            partial(self._attempt_again, wanted),
            first=partial(self._attempt, wanted, lock=True) if locks_at_first else partial(self._attempt_first, wanted),
            # SQLite has one lock for all: a transaction that begins with it loses no race.
            first_in_autocommit=not locks_at_first and connection.features.has_select_for_update,
        )
        if not is_callers:
            for table, rows in changed.items():
                self.known.remember(table, self._owner(table), {key: after for key, (_, after) in rows.items()})
        return {table.scope: rows for table, rows in changed.items()}

    def _attempt_first(self, wanted: Mapping[Table, Edits]) -> Mapping[Table, Changed]:
        return self._attempt_known(wanted) or self._attempt(wanted, lock=False)

    def _attempt_again(self, wanted: Mapping[Table, Edits]) -> Mapping[Table, Changed]:
        hot_rows.mark(self._places(wanted))
        return self._attempt(wanted, lock=True)

    def _attempt_known(self, wanted: Mapping[Table, Edits]) -> Mapping[Table, Changed] | None:
        """Change rows as the client knows them; ``None``, and nothing was changed, if one of them is not so."""
        changed = {}
        for table, edits in wanted.items():
            rows = self.known.recall(table, self._owner(table), edits)
            changed[table] = {} if rows is None else self._apply(table, edits, rows)
            # What seems to change nothing may be a change of what another has written since.
            if len(changed[table]) < len(edits):
                return None
        try:
            self._store(changed, also_matched=("created",))
        except LostRace:
            for table in wanted:
                self.known.forget(table, self._owner(table))
            if not connections[self.database].get_autocommit():
                raise  # Some of it is written, in the transaction of this attempt.
            count(names.LOST_RACES, 1, "known")
            return None
        return changed

    def _attempt(self, wanted: Mapping[Table, Edits], *, lock: bool) -> Mapping[Table, Changed]:
        changed = {}
        for table, edits in wanted.items():
            found = self._read(table, edits, lock=lock)
            changed[table] = self._apply(table, edits, found.rows)
            new = {key for key in changed[table] if isinstance(key, BlockId)} - {*found.registered}
            if new:
                register(self.database, new)
        self._store(changed)
        return changed

    def _read(self, table: Table, edits: Edits, *, lock: bool) -> Look:
        blocks = [key for key in edits if isinstance(key, BlockId)]
        lock = lock and connections[self.database].features.has_select_for_update
        since = waiting.before_locking(lock=lock)
        if blocks:
            found = look(self.database, table, self.student_id, blocks, lock=lock)
        else:
            found = Look(read_rows(self.database, table, self.student_id, edits, lock=lock), ())
        waiting.locked(since)
        return found

    def _apply(self, table: Table, edits: Edits, rows: Mapping[RowKey, Row]) -> Changed:
        now = clock()
        return {
            key: (before, self.recorder.chained(table, key, before, after))
            for key, change in edits.items()
            if (after := change.apply(before := rows.get(key), now)) is not None
        }

    def _store(self, changed: Mapping[Table, Changed], also_matched: tuple[str, ...] = ()) -> None:
        """Write rows and history, all or nothing. Raises `LostRace` if a row is not as it was when it was read."""
        writes = [self._described(table, rows, also_matched) for table, rows in changed.items() if rows]
        if not writes:
            return
        connection = connections[self.database]
        dialect = dialect_of(connection)
        is_stored = dialect.store_at_once(writes[0]) if len(writes) == 1 and connection.get_autocommit() else None
        if is_stored is None:
            with transaction.atomic(using=self.database, savepoint=False):
                if not all(dialect.store(write) for write in writes):
                    raise LostRace
                self._tell_recorder(writes)
        elif is_stored:
            self._tell_recorder(writes)
        else:
            raise LostRace

    def _tell_recorder(self, writes: Iterable[Write]) -> None:
        for write in writes:
            if write.history:
                self.recorder.written(write.history)

    def _described(self, table: Table, changed: Changed, also_matched: tuple[str, ...]) -> Write:
        columns = (*table.key_columns, *table.columns)
        target = Target(connections[self.database], table.model, columns, table.owner(self.student_id))
        # In primary-key order, so that two writers of the same rows meet at the first of them.
        ordered = sorted(changed.items(), key=lambda item: table.key_value(item[0]) or 0)
        keys = [(table.key_value(key),) if table.key_columns else () for key, _ in ordered]
        values = [(*key, *table.values(after)) for key, (_, (_, after)) in zip(keys, ordered, strict=True)]
        history = self.recorder.entries(table, changed)
        return Write(Rows(target, values), (*table.key_columns, *also_matched), history)

    def _places(self, wanted: Mapping[Table, Edits]) -> Iterator[tuple[str, Table, Any, RowKey]]:
        return ((self.database, table, self._owner(table), key) for table, edits in wanted.items() for key in edits)

    def _owner(self, table: Table) -> Any:
        return self.student_id if table.owned else None
