"""Retries of short transactions, and translation of database errors to the contract's."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from django.db import connections, transaction
from django.db.utils import Error

from xblock_user_state.interface import Conflict, ServiceUnavailable
from xblock_user_state.metrics import names, waiting
from xblock_user_state.metrics.current import count
from xblock_user_state.store.dialects import Failure, TransactionLost, dialect_of

Result = TypeVar("Result")

# A second attempt locks the rows and wins, except for new rows, which can't be locked, and where taking a lock can
# fail: above READ COMMITTED, and in SQLite's deferred transactions. MAX_SECONDS bounds these. In a caller's transaction
# the number is the bound, because its snapshot may never show the row in its way.
MAX_ATTEMPTS = 100
MAX_ATTEMPTS_OF_CALLERS = 12
# After this time no attempt begins. A single attempt may wait for a lock as long as the database's lock timeout.
MAX_SECONDS = 15.0
# Undone by a savepoint, so repeated in a caller's transaction too.
_REPEATED = (Failure.DUPLICATE, Failure.OUTDATED)


class LostRace(Exception):
    """Another transaction changed a row after it was read."""


def repeat(
    database: str,
    attempt: Callable[[], Result],
    *,
    first: Callable[[], Result] | None = None,
    first_is_bare: bool = False,
) -> Result:
    """Run `attempt` in a transaction and commit it; repeat it after a lost race, a deadlock or a serialization failure.

    `first`, if given, replaces the first attempt: it may read without locks, where `attempt` locks. With
    `first_is_bare` the first attempt has no transaction or savepoint, so each of its statements must leave consistent
    data.

    Inside a caller's transaction each attempt runs in a savepoint. A lost race is repeated there too, unless the
    savepoint is gone (`TransactionLost`). A deadlock or a serialization failure has ended the caller's transaction, so
    its error is raised.

    Raises `ServiceUnavailable` after the last attempt.
    """
    started = time.monotonic()
    connection = connections[database]
    in_own = connection.get_autocommit()
    most = MAX_ATTEMPTS if in_own else MAX_ATTEMPTS_OF_CALLERS
    number = 0
    while True:
        number += 1
        is_bare = number == 1 and first_is_bare
        try:
            return _attempt(database, first if first and number == 1 else attempt, is_bare=is_bare)
        except LostRace as error:
            count(names.LOST_RACES, 1, "revision" if error.__cause__ is None else "database")
            if not in_own and connection.needs_rollback:
                raise TransactionLost("the transaction was rolled back while it lost a race for a row") from error
            if number == most or time.monotonic() - started > MAX_SECONDS:
                count(names.UNAVAILABLE, 1, "attempts")
                raise ServiceUnavailable(f"learner state could not be written in {number} attempts") from error
        count(names.RETRIES, 1)
        # After a bare attempt the next one queues for the rows' locks: a pause would lose its place. Other attempts
        # pause up to a quarter of a second, at random, so that two rivals don't meet again.
        if not is_bare:
            time.sleep(random.uniform(0, min(0.25, 0.002 * 2**number)))


def _attempt(database: str, attempt: Callable[[], Result], *, is_bare: bool) -> Result:
    connection = connections[database]
    in_own = connection.get_autocommit()
    since = waiting.before_beginning(connection)
    try:
        with nullcontext() if is_bare else transaction.atomic(using=database):
            waiting.begun(since)
            return attempt()
    except Error as error:
        failure = dialect_of(connection).failure(error)
        if failure in _REPEATED or (in_own and failure is Failure.CONFLICT):
            raise LostRace from error
        raise


def errors_undo_their_statement(database: str) -> bool:
    """Tell whether a statement that fails now undoes itself and nothing else, so that it needs no savepoint."""
    connection = connections[database]
    return connection.get_autocommit() or not dialect_of(connection).errors_end_transactions


@contextmanager
def errors_translated(database: str) -> Iterator[None]:
    """Raise `ServiceUnavailable` for errors of a database that can't serve; let all other errors through.

    If the error has rolled back a caller's ``atomic()`` block, Django refuses further statements in the block.
    """
    try:
        yield
    except Error as error:
        connection = connections[database]
        dialect = dialect_of(connection)
        # Django notices it only where a savepoint is missing. A caller that caught the error would commit the rest.
        is_unknown = connection.in_atomic_block and not connection.needs_rollback
        if is_unknown and dialect.has_rolled_back(connection, error):
            connection.needs_rollback = True
        if dialect.failure(error) not in (Failure.UNAVAILABLE, Failure.CONFLICT, Failure.OUTDATED):
            raise
        # The next call makes a new connection. In a caller's transaction that would hide that its writes are lost.
        if connection.autocommit:
            connection.close_if_unusable_or_obsolete()
        count(names.UNAVAILABLE, 1, "database")
        raise ServiceUnavailable(f"the database {database!r} can't serve learner state: {error}") from error


@contextmanager
def deadlocks_translated(database: str) -> Iterator[None]:
    """Raise `Conflict` for a deadlock or a serialization failure, which rolled back the whole transaction.

    Use it around an outermost transaction, whose caller can repeat it. Inside a caller's transaction only that caller
    can, so the error stays `ServiceUnavailable`, as other errors of a database that can't serve.
    """
    in_own = connections[database].get_autocommit()
    try:
        with errors_translated(database):
            yield
    # Also from calls of a client inside the transaction.
    except ServiceUnavailable as error:
        cause = error.__cause__
        if not (in_own and isinstance(cause, Error)):
            raise
        if dialect_of(connections[database]).failure(cause) is not Failure.CONFLICT:
            raise
        raise Conflict(f"nothing was written, because of another transaction: {cause}") from error
