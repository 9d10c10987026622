"""Lock waits: the time of the statements that take locks, a round trip included."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import elapsed, record, started


def before_locking(*, lock: bool) -> float | None:
    """Start the timer before a read that locks rows. Pass the result to `locked`."""
    return started() if lock else None


def before_beginning(connection: BaseDatabaseWrapper) -> float | None:
    """Start the timer before a transaction on SQLite, whose BEGIN waits for the database's lock.

    Pass the result to `begun`.
    """
    can_wait = not connection.features.has_select_for_update and not connection.in_atomic_block
    return started() if can_wait else None


def locked(since: float | None) -> None:
    """Report the wait for row locks."""
    if since is not None:
        record(names.LOCK_WAIT, elapsed(since), "rows")


def begun(since: float | None) -> None:
    """Report the wait for the database's lock."""
    if since is not None:
        record(names.LOCK_WAIT, elapsed(since), "database")
