"""The history database, for jobs that ask it while they hold locks in the state's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.outbox.answers import BATCH_SECONDS, FILE_SECONDS, HistoryUnavailable
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.history.outbox.reaching import await_file, reach_history
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.transactions import LostRace


def reach() -> None:
    """Connect to the history database, and wait for its file on SQLite. Raises `HistoryUnavailable`.

    Call it before any row is locked: a server that does not answer takes the whole timeout.
    """
    reach_history(BATCH_SECONDS)
    await_file(BATCH_SECONDS)


@contextmanager
def history_answers() -> Iterator[None]:
    """Translate errors of the history database, which may be of another vendor than the state's.

    The answer is bounded in time, because rows of the state's database are locked meanwhile. Raises
    `HistoryUnavailable`, or `LostRace` if another transaction was in the way.
    """
    alias = conf.history_database()
    connection = connections[alias]
    try:
        with answer_expected(alias, BATCH_SECONDS, FILE_SECONDS):
            yield
    except Error as error:
        if dialect_of(connection).failure(error) in (Failure.DUPLICATE, Failure.CONFLICT):
            # Another back-fill or a relay wrote the same key, or has locked the file. The next attempt reads again.
            raise LostRace from error
        # A timeout has shut the connection; the next page needs a new one.
        connection.close_if_unusable_or_obsolete()
        raise HistoryUnavailable(str(error)) from error
