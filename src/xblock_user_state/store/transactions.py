"""Short transactions of our own, repeated when they meet another one; errors as the contract names them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from django.db import connections, transaction
from django.db.utils import Error

from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import names, waiting
from xblock_user_state.metrics.current import count
from xblock_user_state.store.dialects import Failure, dialect_of

Result = TypeVar("Result")

# A second attempt locks the rows and so wins, but for creations, where there is no row to lock yet, and where the host
# has chosen another isolation or mode of transactions, where a lock may fail. So time is the bound; in a caller's
# transaction it is the number, since its snapshot may never see the row that is in the way.
MAX_ATTEMPTS = 100
MAX_ATTEMPTS_OF_CALLERS = 12
# No new attempt after this time: one that waits for a lock may have used up the database's whole lock timeout.
MAX_SECONDS = 15.0


class LostRace(Exception):
    """Somebody else changed a row after it was read."""


def repeat(database: str, attempt: Callable[[bool], Result], *, in_one: bool = True) -> Result:
    """Run `attempt` in a transaction and commit, and again while it loses a race or meets another transaction.

    Inside a caller's transaction an attempt runs in a savepoint: a lost race is repeated there too, but a
    deadlock or serialization failure has ended the caller's transaction and is raised. From the second
    attempt on, `attempt` is called with ``True``: it should lock what it reads. Where the caller has no transaction,
    and not all need be `in_one`, the first attempt is without: each of its statements must leave things right. Raises
    `ServiceUnavailable` when it goes on failing.
    """
    started = time.monotonic()
    is_ours = connections[database].get_autocommit()
    most = MAX_ATTEMPTS if is_ours else MAX_ATTEMPTS_OF_CALLERS
    number = 0
    while True:
        number += 1
        around = nullcontext() if number == 1 and is_ours and not in_one else transaction.atomic(using=database)
        try:
            return _attempt(database, attempt, around, again=number > 1)
        except LostRace as error:
            count(names.LOST_RACES, 1, "revision" if error.__cause__ is None else "database")
            if number == most or time.monotonic() - started > MAX_SECONDS:
                count(names.UNAVAILABLE, 1, "attempts")
                raise ServiceUnavailable(f"learner state could not be written in {number} attempts") from error
        count(names.RETRIES, 1)
        # The second attempt after one without a transaction waits in line for the rows' locks.
        if number > 1 or in_one or not is_ours:
            time.sleep(random.uniform(0, min(0.25, 0.002 * 2**number)))


def _attempt(
    database: str, attempt: Callable[[bool], Result], around: AbstractContextManager[object], *, again: bool
) -> Result:
    connection = connections[database]
    ours = connection.get_autocommit()
    since = waiting.before_beginning(connection)
    try:
        with around:
            waiting.begun(since)
            return attempt(again)
    except Error as error:
        failure = dialect_of(connection).failure(error)
        if failure is Failure.DUPLICATE or (ours and failure is Failure.CONFLICT):
            raise LostRace from error
        raise


@contextmanager
def errors_translated(database: str) -> Iterator[None]:
    """Raise `ServiceUnavailable` for errors which mean that the database can't serve; leave all others alone.

    A broken connection is given up, so that the next call makes a new one, unless a caller's transaction is
    on it.
    """
    try:
        yield
    except Error as error:
        connection = connections[database]
        if dialect_of(connection).failure(error) not in (Failure.UNAVAILABLE, Failure.CONFLICT):
            raise
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        count(names.UNAVAILABLE, 1, "database")
        raise ServiceUnavailable(f"the database {database!r} can't serve learner state: {error}") from error
