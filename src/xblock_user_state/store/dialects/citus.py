"""Citus: PostgreSQL whose tables are distributed over servers by the learner (docs/decisions/0039).

Citus sends a statement whole to the one server that has the learner's rows, if every part of it names the learner. Of
any other statement it runs the parts one by one, and copies the results between them to all servers. An INSERT that is
a part, or that selects its rows, is always run so. Hence a write is several statements, in a transaction of one server.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.utils import Error

from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, assignments, execute, matches
from xblock_user_state.store.dialects.postgresql import PostgreSQL, arrays, locking, row_table, sqlstate
from xblock_user_state.store.dialects.rows import Rows, Sql, Target, Values, Write

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE = {
    "55000",  # object_not_in_prerequisite_state: servers or shards were changed meanwhile
    "XX000",  # internal_error: what Citus gives no other, such as "failure on connection marked as essential"
}


class Citus(PostgreSQL):
    """Citus 13 and later. Tables that are not distributed get the same statements."""

    mixes_owners = False

    # PostgreSQL hides the learner from the planner, for a plan that it keeps. Citus routes by the learner, and keeps no
    # plan of these statements.
    pinned = Dialect.pinned
    fetch = Dialect.fetch
    # One statement after the other. Blocks are registered as on PostgreSQL: INSERT .. VALUES .. ON CONFLICT would lock
    # the registry, which is on every server, until a caller's transaction ends.
    store = Dialect.store

    def store_at_once(self, write: Write) -> Outcome:
        """Write by one statement, if one is enough: without history, new rows only or changed ones only."""
        created, updated = write.split()
        in_transaction = not write.rows.target.connection.get_autocommit()
        if in_transaction or write.history or write.beside or (created and updated) or not self._fits(write):
            return Outcome.NOT_SENT
        return Outcome.STORED if self._store_rows(write) else Outcome.LOST_RACE

    def _classified(self, error: Error) -> Failure | None:
        """Classify an error by its SQLSTATE."""
        known = super()._classified(error)
        return Failure.UNAVAILABLE if known is None and sqlstate(error) in _UNAVAILABLE else known

    def _store_rows(self, write: Write) -> bool:
        target = write.rows.target
        created, updated = write.split()
        if updated and execute(target.connection, *self._update(write, updated)) != len(updated):
            return False
        if created:
            execute(target.connection, *self._insertion(target, created))
        return True

    def _update(self, write: Write, rows: Sequence[Values]) -> Sql:
        """Return the statement that updates rows: all of them, or none if one is not as expected."""
        target, layout = write.rows.target, write.rows.target.layout
        condition = matches(self.pinned(layout, "old."), layout, write.matched)
        parts = [f"new AS (SELECT * FROM {row_table(layout)})"]
        update = f"UPDATE {layout.table} AS old SET {assignments(layout, write.matched, 'new')} FROM new"
        update, pinned = f"{update} WHERE {condition}", target.pinned_values()
        # A single row can't deadlock with itself, and needs no lock before its update.
        if len(rows) > 1:
            parts.append(f"locked AS ({locking(layout, write.keys, condition)})")
            update, pinned = f"{update} AND (SELECT is_every FROM locked)", pinned * 2
        return f"WITH {', '.join(parts)} {update}", [*arrays(Rows(target, rows)), *pinned]

    def _max_rows(self, target: Target) -> int:
        # A new row has a parameter for each column, and its text is parsed on two servers.
        return 1000

    def _insertion(self, target: Target, rows: Sequence[Values]) -> Sql:
        """Return the statement that inserts rows: VALUES, which Citus routes by the learner that each row names."""
        return super(PostgreSQL, self)._insertion(target, super(PostgreSQL, self)._adapted(target, rows))
