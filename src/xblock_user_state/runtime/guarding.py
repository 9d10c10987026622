"""Repetition of guarded units of work that lost a race, from the second attempt on with locks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from xblock_user_state.interface import Conflict, ConflictingRow

Result = TypeVar("Result")
Lock = Callable[[], AbstractContextManager[None]]


class LockableConflict(Conflict):
    """A conflict of a unit of work, with the lock of its rows for the next attempt."""

    def __init__(self, *args: object, rows: Sequence[ConflictingRow], lock: Lock) -> None:
        super().__init__(*args, rows=rows)
        self.lock = lock

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy as a `Conflict`: another process, such as a task queue's, can't have the lock of this one's client."""
        return Conflict, self.args, {"rows": self.rows}


# Logs show the name of the public class, which callers catch.
LockableConflict.__name__ = LockableConflict.__qualname__ = Conflict.__name__
LockableConflict.__module__ = Conflict.__module__


def run_guarded(work: Callable[[], Result], attempts: int = 5) -> Result:
    """Call `work`, again after each `Conflict`, and return its result. Raises the `Conflict` of the last attempt.

    `work` makes a new store and new blocks, and runs a unit of work with ``guarded=True``. Nothing of learner state is
    committed by the unit of an attempt that raises `Conflict`; all else that `work` does is done once for each attempt.
    A call of the client, or a save of a model's row, is not part of the unit, and is in conflict with it on its rows.

    From the second attempt on, the client locks the rows that the unit before has changed (see
    `XBlockUserStateClient.locked`), so concurrent callers take turns. The Django client runs these attempts in a
    transaction of the state's database. Call this function outside of transactions: on MariaDB and MySQL above READ
    COMMITTED, reads in an older transaction go on showing the old revision.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts!r}")
    lock: Lock = nullcontext
    for _ in range(attempts - 1):
        try:
            with lock():
                return work()
        except Conflict as error:
            # A deadlock, or a conditional write of the caller, brings no lock.
            lock = error.lock if isinstance(error, LockableConflict) else lock
    with lock():
        return work()
