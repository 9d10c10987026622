"""Writes one learner's changes by compare-and-set, together with their history, and retries after a lost race.

The first attempt has one of five modes: the first line of the table that fits. The numbers are statements for a change
of recorded blocks that are registered, transaction control included, whatever the number of blocks;
`tests/integration/golden/` shows the statements.

====  ======================================  =============================  ==========  =====  ==============  ======
mode  when                                    rows come from                 PostgreSQL  Citus  MariaDB, MySQL  SQLite
====  ======================================  =============================  ==========  =====  ==============  ======
3     a row is hot                            a lookup that locks the rows   4           5      5               5
5     a caller's transaction, rows cached     the client's row cache         3           4      4               4
4     a caller's transaction                  a lookup that locks the rows   4           5      5               5
1     all rows are cached                     the client's row cache         1           4      1               4
2     otherwise                               a lookup without a lock        2           6      2               5
====  ======================================  =============================  ==========  =====  ==============  ======

Modes 1 and 2 commit at once: by one statement on PostgreSQL, and by one packet of statements on MariaDB and MySQL. If
the write does not fit, has several scopes, or the host forbids packets, they open a transaction around the statements.
On Citus they do so, unless the write has no history, and new rows only or changed ones only; mode 2 takes
5 where all rows are new or all are there. Mode 3 runs in a transaction.

In a caller's transaction the write has a savepoint, around the lookup too on PostgreSQL, where any error would end the
transaction. On the others, a single row without history needs none: mode 5 takes 1 statement then, and mode 4 takes 2.

A condition on a row, the revision that the caller read, is checked against a lookup before the write. In modes 1
and 5 the compare-and-set itself checks it; a cached row that does not fit leads to a lookup, because it may be stale.

The compare-and-set verifies rows that change, and no others. A row that stays as it is, or does not fit its condition,
decides nothing in modes 1 and 2 before a read that locks has shown it, too: another client may have changed a cached
row, and a proxy that splits reads may have asked a standby that lags (docs/decisions/0049). Such a call takes one
statement more in mode 2. In mode 1 this read takes the place of the lookup.

A write with something to store beside it takes a transaction around its statements in each mode.

On SQLite every mode runs in a transaction. It takes the one lock of the database, so no row needs a lock.

A lost race in mode 1 goes on in mode 2, on SQLite in mode 3. Any other lost race, deadlock or serialization failure
repeats the call in mode 3, or in mode 4 and a savepoint where the transaction is the caller's. If a history entry met
an existing one, the repetition continues after the newest revision of the local stores: by 2 statements, and 1 more for
each row that is behind its history, because it was restored from a backup or deleted by SQL. No key of a default
history that is partitioned by time notices that, so there every mode asks for such entries first: 1 statement more.
Registering new blocks takes 1 statement on PostgreSQL, 3 on other databases, and 2 more in a savepoint: on PostgreSQL
in a caller's transaction, and where another app keeps a row for each block. It is done between the lookup and the
write.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from django.db import connections, transaction
from django.db.utils import Error
from xblock.fields import Scope

from xblock_user_state.interface import Conflict
from xblock_user_state.metrics import names, waiting
from xblock_user_state.metrics.current import count
from xblock_user_state.state.change import Change, Changes, Row, WrittenRows, check_conditions, clock
from xblock_user_state.state.codec import NotAState
from xblock_user_state.state.keys import BlockId, RowKey
from xblock_user_state.store import hot_rows
from xblock_user_state.store.blocks import Lookup, lookup, register
from xblock_user_state.store.dialects import Failure, Outcome, dialect_of
from xblock_user_state.store.dialects.rows import Rows, Target, Write
from xblock_user_state.store.reader import read_rows
from xblock_user_state.store.row_cache import RowCache
from xblock_user_state.store.tables import TABLES, Table
from xblock_user_state.store.transactions import LostRace, errors_undo_their_statement, repeat

_LOG = logging.getLogger("xblock_user_state.client")

Edits = Mapping[RowKey, Change]
Changed = Mapping[RowKey, tuple[Row | None, Row]]
"""Rows before a change, ``None`` if there was none, and after it."""


class Beside(Protocol):
    """A row of another table that is stored in the transaction of a write.

    Both methods get the rows that the call named and that exist after it.
    """

    def row(self, written: WrittenRows) -> Rows:
        """Return the row. If it exists, the write is repeated with `store`."""

    def store(self, written: WrittenRows) -> None:
        """Insert the row, after the rows of the write. May raise any error, which rolls back the write."""


class Written(NamedTuple):
    """The result of a write."""

    changed: Mapping[Scope, Changed]
    """The rows that changed."""
    rows: WrittenRows
    """The rows that the call named and that exist after it, changed or not."""


class Recorder(Protocol):
    """Makes the history entries of a write. They are stored in its transaction."""

    def chained(self, table: Table, key: RowKey, before: Row | None, after: Row) -> Row:
        """Return the row `after` with the place that its history entry takes in the chain."""

    def entries(self, table: Table, changed: Changed) -> Rows | None:
        """Return the entries to store with these rows, if there are any."""

    def newest_revisions(self, table: Table, keys: Collection[RowKey]) -> Mapping[RowKey, int]:
        """Return the newest revision that the stores beside the state have of each key; none for a key without any."""

    def taken(self, table: Table, changed: Changed) -> Collection[RowKey]:
        """Return the keys whose new revisions have entries already, if no key of their table would tell."""

    def written(self, entries: Rows) -> None:
        """Handle entries that were stored. A caller's transaction may still roll them back."""


@dataclass(frozen=True)
class Writer:
    """Writes the changes of one call, of one learner, to the state's `database`."""

    database: str
    student_id: Any
    recorder: Recorder
    row_cache: RowCache
    beside: Beside | None = None
    """Stored in the transaction of the write, also where nothing changes."""
    # Keys whose rows or history entries could not be inserted, because others were there.
    _met_existing: set[tuple[Table, RowKey]] = field(default_factory=set, init=False)
    # The rows that the last attempt has found.
    _found: dict[Table, Mapping[RowKey, Row]] = field(default_factory=dict, init=False)

    def write(self, changes: Changes) -> Written:
        """Commit all changes, or none and raise; return the rows as they are then.

        In a caller's transaction the caller commits. Raises `Conflict` if a condition of the changes does not hold.
        """
        wanted = {
            table: self._with_creation(table, changes[scope]) for scope, table in TABLES.items() if changes.get(scope)
        }
        if not wanted:
            return Written({}, {})
        connection = connections[self.database]
        in_callers = not connection.get_autocommit()
        is_hot = hot_rows.any_hot(self._addresses(wanted))
        # SQLite has one lock for the database: a transaction that begins with it loses no race.
        is_optimistic = not is_hot and connection.features.has_select_for_update
        is_bare = errors_undo_their_statement(self.database) if in_callers else is_optimistic
        changed = repeat(
            self.database,
            partial(self._attempt_again, wanted),
            # A plain read in a caller's transaction may show an old snapshot (MySQL's REPEATABLE READ), which would
            # lose every race. A locking read shows the newest commit.
            first=partial(self._attempt, wanted, lock=True, is_bare=is_bare)
            if is_hot
            else partial(self._attempt_first, wanted, lock=in_callers, is_bare=is_bare),
            first_is_bare=is_bare,
        )
        for table, rows in changed.items():
            after_change = {key: after for key, (_, after) in rows.items()}
            self.row_cache.remember(connection, table, self._learner_of(table), after_change)
        return Written(
            {table.scope: rows for table, rows in changed.items()},
            self._rows_after(changed),
        )

    def lock(self, rows: Mapping[Scope, Collection[RowKey]]) -> None:
        """Lock the rows that exist until the caller's transaction ends. One statement a scope.

        By the statements and in the order of `write`: a lock by another statement, through another index, deadlocked.
        """
        for scope, table in TABLES.items():
            if rows.get(scope):
                self._lookup(table, rows[scope], lock=True)

    def _rows_after(self, changed: Mapping[Table, Changed]) -> WrittenRows:
        """Return the rows that the call named and that exist after these changes."""
        return {
            table.scope: {**self._found[table], **{key: after for key, (_, after) in rows.items()}}
            for table, rows in changed.items()
        }

    def _with_creation(self, table: Table, edits: Edits) -> Edits:
        """Add the creation of cached rows to the conditions that name their revisions.

        A row that was deleted for good and created again may have reached the same revision.
        """
        conditional = {key: change.condition for key, change in edits.items() if change.condition}
        if not conditional:
            return edits
        cached = self.row_cache.cached(connections[self.database], table, self._learner_of(table), conditional)
        return {
            **edits,
            **{
                key: replace(edits[key], condition=condition._replace(created=cached[key].created))
                for key, condition in conditional.items()
                if key in cached and condition.holds(cached[key])
            },
        }

    def _attempt_first(self, wanted: Mapping[Table, Edits], *, lock: bool, is_bare: bool) -> Mapping[Table, Changed]:
        """Run mode 1, then mode 2; in a caller's transaction mode 5, then mode 4."""
        return self._attempt_cached(wanted, is_bare=is_bare) or self._attempt(wanted, lock=lock, is_bare=is_bare)

    def _attempt_again(self, wanted: Mapping[Table, Edits]) -> Mapping[Table, Changed]:
        """Run mode 3, or mode 4 in a caller's transaction."""
        hot_rows.mark(self._addresses(wanted))
        return self._attempt(wanted, lock=True, is_bare=False)

    def _attempt_cached(self, wanted: Mapping[Table, Edits], *, is_bare: bool) -> Mapping[Table, Changed] | None:
        """Change cached rows; return ``None``, with nothing written, if that can't be or a cached row is stale."""
        changed = {}
        for table, edits in wanted.items():
            rows = self.row_cache.recall(connections[self.database], table, self._learner_of(table), edits)
            if rows is None:
                return None
            changed[table] = self._apply(table, edits, rows) if _hold(edits, rows) else {}
            # A cached row may be stale: it decides neither that a condition does not hold, nor that an edit changes
            # nothing.
            if len(changed[table]) < len(edits):
                if connections[self.database].get_autocommit():
                    return self._attempt_verified(wanted, is_bare=is_bare)
                return None
        self._refuse_taken(changed)
        try:
            # A row that was deleted and created again may have the cached revision, but not the time of creation.
            self._store(changed, is_bare=is_bare, also_matched=("created",))
        except LostRace:
            for table in wanted:
                self.row_cache.forget(table, self._learner_of(table))
            # Other rows may be written already: only a rollback takes them back.
            if not is_bare:
                raise
            count(names.LOST_RACES, 1, "known")
            return None
        return changed

    def _attempt(self, wanted: Mapping[Table, Edits], *, lock: bool, is_bare: bool) -> Mapping[Table, Changed]:
        found = {
            table: self._lookup(table, edits, lock=lock, cut=all(edit.only_deletes_all for edit in edits.values()))
            for table, edits in wanted.items()
        }
        rows = {table: lookup.rows for table, lookup in found.items()}
        registered = {block for lookup in found.values() for block in lookup.registered}
        may_be_stale = not lock and connections[self.database].get_autocommit()
        if may_be_stale and not all(_hold(edits, rows[table]) for table, edits in wanted.items()):
            return self._attempt_verified(wanted, registered, is_bare=is_bare)
        changed = self._checked(wanted, rows)
        if may_be_stale and _leaves_row(wanted, changed):
            if _leaves_conditional_row(wanted, changed):
                return self._attempt_locked(wanted)
            return self._attempt_verified(wanted, registered, is_bare=is_bare)
        return self._finish(changed, registered, is_bare=is_bare)

    def _attempt_verified(
        self, wanted: Mapping[Table, Edits], registered: Collection[BlockId] = (), *, is_bare: bool
    ) -> Mapping[Table, Changed]:
        """Change rows as the primary has them: a proxy sends reads that lock nowhere else."""
        rows = {table: self._locked_rows(table, edits) for table, edits in wanted.items()}
        changed = self._checked(wanted, rows)
        if _leaves_conditional_row(wanted, changed):
            return self._attempt_locked(wanted)
        known = {key for of_table in rows.values() for key in of_table if isinstance(key, BlockId)}
        return self._finish(changed, known.union(registered), is_bare=is_bare)

    def _attempt_locked(self, wanted: Mapping[Table, Edits]) -> Mapping[Table, Changed]:
        """Change some rows, and keep other writers until then from rows that stay as they are.

        The compare-and-set does not see these. In a transaction of its own.
        """
        with transaction.atomic(using=self.database):
            return self._attempt(wanted, lock=True, is_bare=False)

    def _checked(
        self, wanted: Mapping[Table, Edits], rows: Mapping[Table, Mapping[RowKey, Row]]
    ) -> Mapping[Table, Changed]:
        """Return the changes of these rows. Raises `Conflict` if a condition does not hold."""
        self._check_conditions(wanted, rows)
        return {table: self._apply(table, edits, rows[table]) for table, edits in wanted.items()}

    def _finish(
        self, changed: Mapping[Table, Changed], registered: Collection[BlockId], *, is_bare: bool
    ) -> Mapping[Table, Changed]:
        """Register blocks that are new, and write the rows."""
        if self._met_existing:
            changed = {table: self._continued(table, rows) for table, rows in changed.items()}
        else:
            self._refuse_taken(changed)
        new = {key for rows in changed.values() for key in rows if isinstance(key, BlockId)}.difference(registered)
        if new:
            register(self.database, new)
        # Without a transaction no row is locked: see `_attempt_cached`.
        also_matched = ("created",) if connections[self.database].get_autocommit() else ()
        self._store(changed, is_bare=is_bare, also_matched=also_matched)
        return changed

    def _check_conditions(self, wanted: Mapping[Table, Edits], rows: Mapping[Table, Mapping[RowKey, Row]]) -> None:
        try:
            check_conditions(
                {table.scope: edits for table, edits in wanted.items()},
                lambda scope, key: rows[TABLES[scope]].get(key),
            )
        except Conflict:
            # The caller reads again, perhaps by another client: a stale row must not make the next write fail too.
            for table in wanted:
                self.row_cache.forget(table, self._learner_of(table))
            raise

    def _lookup(self, table: Table, keys: Collection[RowKey], *, lock: bool, cut: bool = False) -> Lookup:
        blocks = [key for key in keys if isinstance(key, BlockId)]
        lock = lock and connections[self.database].features.has_select_for_update
        since = waiting.before_locking(lock=lock)
        if blocks:
            found = lookup(self.database, table, self.student_id, blocks, lock=lock, cut=cut)
        else:
            found = Lookup(read_rows(self.database, table, self.student_id, keys, lock=lock), ())
        waiting.locked(since)
        return found

    def _locked_rows(self, table: Table, keys: Collection[RowKey]) -> Mapping[RowKey, Row]:
        """Return the rows by a plain SELECT with FOR UPDATE at its end, by which every proxy knows it."""
        since = waiting.before_locking(lock=True)
        rows = read_rows(self.database, table, self.student_id, keys, lock=True)
        waiting.locked(since)
        return rows

    def _apply(self, table: Table, edits: Edits, rows: Mapping[RowKey, Row]) -> Changed:
        now = clock()
        self._found[table] = rows
        return {
            key: (before, self.recorder.chained(table, key, before, after))
            for key, change in edits.items()
            if (after := self._changed(table, key, change, before := rows.get(key), now)) is not None
        }

    def _changed(self, table: Table, key: RowKey, change: Change, before: Row | None, now: datetime) -> Row | None:
        try:
            return change.apply(before, now)
        except NotAState as error:
            # SQL may have stored any text. No row may become unwritable by that, so the change replaces it.
            _LOG.warning(
                "a write replaces the state of learner %s in %s (%s), which can't be read: %s",
                self._learner_of(table),
                _name(key),
                table.scope.name,
                error,
            )
            return change.after_deletion().apply(before, now)

    def _refuse_taken(self, changed: Mapping[Table, Changed]) -> None:
        """Raise `LostRace` if the history has entries of the new revisions, as a key of its table would do."""
        taken = {(table, key) for table, rows in changed.items() for key in self.recorder.taken(table, rows)}
        if taken:
            self._met_existing.update(taken)
            raise LostRace

    def _continued(self, table: Table, changed: Changed) -> Changed:
        """Continue after the newest revision of the history: raise rows that are behind it, in this transaction.

        A restored backup takes a row back, SQL deletes it or changes its revision; the history stays. An entry never
        replaces another, so both lives of the row remain readable.
        """
        existing = [key for key in changed if (table, key) in self._met_existing]
        newest = self.recorder.newest_revisions(table, existing)
        continued = {
            key: self._raised(table, key, before, after, newest[key])
            if newest.get(key, 0) >= after.revision
            else (before, after)
            for key, (before, after) in changed.items()
        }
        # The insertion of a row waits for a sweep, which removes the entries that the row would continue after.
        is_new = any(before is None for before, _ in changed.values())
        if is_new and self.recorder.newest_revisions(table, existing) != newest:
            raise LostRace
        return continued

    def _raised(
        self, table: Table, key: RowKey, before: Row | None, after: Row, revision: int
    ) -> tuple[Row | None, Row]:
        connection, columns = connections[self.database], (*table.key_columns, *table.columns)
        if before is None:
            raised = Row(revision, None, None, None, after.created, after.created)
            target = Target(connection, table.model, columns, table.pinned(self.student_id))
            dialect_of(connection).insert(target, [(table.key_value(key), *table.values(raised))])
        else:
            raised = before._replace(revision=revision, checksum=None)
            row = table.model._base_manager.using(self.database).filter(**table.pinned(self.student_id))
            row.filter(**{column: table.key_value(key) for column in table.key_columns}).update(revision=revision)
        return raised, self.recorder.chained(table, key, raised, after._replace(revision=revision + 1))

    def _store(self, changed: Mapping[Table, Changed], *, is_bare: bool, also_matched: tuple[str, ...] = ()) -> None:
        """Write rows and history, all or nothing. Raises `LostRace` if a row is not as it was read.

        Unless the attempt is bare, its own transaction or savepoint has to be rolled back then.
        """
        writes = [self._write_of(table, rows, also_matched) for table, rows in changed.items() if rows]
        if not writes and not self.beside:
            return
        try:
            outcome = self._store_at_once(writes, changed)
            if outcome is Outcome.NOT_SENT:
                self._store_in_transaction(writes, changed, is_bare=is_bare)
                return
        except Error as error:
            self._refuse_too_large(changed, error)
            if dialect_of(connections[self.database]).failure(error) is Failure.DUPLICATE:
                self._met_existing.update((table, key) for table, rows in changed.items() for key in rows)
            raise
        if outcome is Outcome.LOST_RACE:
            raise LostRace
        self._tell_recorder(writes)

    def _refuse_too_large(self, changed: Mapping[Table, Changed], error: Error) -> None:
        """Raise ``ValueError`` if the database has refused a state for its size, which no repetition changes."""
        dialect = dialect_of(connections[self.database])
        if dialect.failure(error) is not Failure.TOO_LARGE:
            return
        key, text = max(
            ((key, after.text or "") for rows in changed.values() for key, (_, after) in rows.items()),
            key=lambda item: len(item[1]),
        )
        raise ValueError(
            f"the state of {_name(key)} is too large for the database {self.database!r}: it has "
            f"{len(text.encode()):,} bytes ({error}); nothing was written"
        ) from error

    def _store_at_once(self, writes: list[Write], changed: Mapping[Table, Changed]) -> Outcome:
        # One statement or packet carries one table's rows.
        if len(writes) != 1:
            return Outcome.NOT_SENT
        beside = self.beside.row(self._rows_after(changed)) if self.beside else None
        return dialect_of(connections[self.database]).store_at_once(replace(writes[0], beside=beside))

    def _store_in_transaction(self, writes: list[Write], changed: Mapping[Table, Changed], *, is_bare: bool) -> None:
        dialect = dialect_of(connections[self.database])
        # A bare attempt may be in a caller's transaction, which needs a savepoint.
        with transaction.atomic(using=self.database, savepoint=is_bare):
            if not all(dialect.store(write) for write in writes):
                raise LostRace
            if self.beside:
                self.beside.store(self._rows_after(changed))
            # Before the commit: the recorder ships entries by a hook on it.
            self._tell_recorder(writes)

    def _tell_recorder(self, writes: Iterable[Write]) -> None:
        for write in writes:
            if write.history:
                self.recorder.written(write.history)

    def _write_of(self, table: Table, changed: Changed, also_matched: tuple[str, ...]) -> Write:
        columns = (*table.key_columns, *table.columns)
        target = Target(connections[self.database], table.model, columns, table.pinned(self.student_id))
        # In primary-key order: two writers of the same rows meet at the first of them, and can't deadlock. A table
        # without a key column has one row, so any value sorts it.
        ordered = sorted(changed.items(), key=lambda item: table.key_value(item[0]) or 0)
        keys = [(table.key_value(key),) if table.key_columns else () for key, _ in ordered]
        values = [(*key, *table.values(after)) for key, (_, (_, after)) in zip(keys, ordered, strict=True)]
        history = self.recorder.entries(table, changed)
        return Write(Rows(target, values), table.key_columns, also_matched, history)

    def _addresses(self, wanted: Mapping[Table, Edits]) -> Iterator[tuple[str, Table, Any, RowKey]]:
        """Yield a name for each row of a call, as `hot_rows` remembers them."""
        return (
            (self.database, table, self._learner_of(table), key) for table, edits in wanted.items() for key in edits
        )

    def _learner_of(self, table: Table) -> Any:
        return self.student_id if table.owned else None


def _name(key: RowKey) -> object:
    """Return the name of a row, for messages."""
    return key.usage_key if isinstance(key, BlockId) else key or "user_info"


def _hold(edits: Edits, rows: Mapping[RowKey, Row]) -> bool:
    """Tell whether all conditions hold for these rows."""
    return all(change.condition is None or change.condition.holds(rows.get(key)) for key, change in edits.items())


def _leaves_row(wanted: Mapping[Table, Edits], changed: Mapping[Table, Changed]) -> bool:
    """Tell whether a write leaves a row as it is."""
    return any(len(changed[table]) < len(edits) for table, edits in wanted.items())


def _leaves_conditional_row(wanted: Mapping[Table, Edits], changed: Mapping[Table, Changed]) -> bool:
    """Tell whether a write of some rows leaves another row as it is, whose revision the caller named."""
    return any(changed.values()) and any(
        change.condition and change.condition.revision and key not in changed[table]
        for table, edits in wanted.items()
        for key, change in edits.items()
    )
