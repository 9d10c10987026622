"""How long locks are waited for, as far as it can be seen from here: the statements that take them, timed."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import elapsed, record, started


def before_locking(*, lock: bool) -> float | None:
    """Call it before rows are read, with a lock or without; give what it returns to `locked`."""
    return started() if lock else None


def before_beginning(connection: BaseDatabaseWrapper) -> float | None:
    """Call it before a transaction; give what it returns to `begun`.

    Where rows can't be locked (SQLite), who begins a transaction waits for the lock of the whole database.
    """
    can_wait = not connection.features.has_select_for_update and not connection.in_atomic_block
    return started() if can_wait else None


def locked(since: float | None) -> None:
    """Report that the rows are locked now."""
    if since is not None:
        record(names.LOCK_WAIT, elapsed(since), "rows")


def begun(since: float | None) -> None:
    """Report that the transaction has begun."""
    if since is not None:
        record(names.LOCK_WAIT, elapsed(since), "database")
