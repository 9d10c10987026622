"""Answers of the history database: the exception for each, and the time that an answer may take."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, NamedTuple

from django.db import connections
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import Key, Owner, all_rows, extended_model
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.transactions import LostRace

BATCH_SECONDS = 60.0
"""Seconds that a relay waits for the history database to take a batch. Deletions of these rows wait as long."""

FILE_SECONDS = 0.1
"""Seconds to wait for a locked SQLite file of the history. All writers of state wait as long for their own file."""


class HistoryUnavailable(Exception):
    """The history database can't be reached, or has no table for the history."""


class EntriesRefused(HistoryUnavailable):
    """The history database can be reached, and refuses at least one entry of a batch that ends with the key `last`."""

    def __init__(self, message: str, last: Key) -> None:
        super().__init__(message)
        self.last = last


class FileLocked(HistoryUnavailable):
    """Another connection keeps the SQLite file of the history locked for more than `FILE_SECONDS`."""


class HistoryBusy(LostRace):
    """Deadlock, lock timeout or duplicate key in the history database: repeat the whole shipment."""


class KeysTaken(Exception):
    """The extended history has other entries under the keys of these owners."""

    def __init__(self, owners: Collection[Owner]) -> None:
        self.owners = owners


class Patience(NamedTuple):
    """The deadline of one answer in seconds, and the moment until which a busy shipment is repeated."""

    seconds: float
    until: float
    settled: set[Owner]
    """Owners whose entries of one key are copies, in the outbox and in the default history, of which one is damaged."""


def exception_for(error: Error, last: HistoryOutbox, patience: Patience) -> Exception:
    """Return the exception for an error of the history database, which was given rows up to the row `last`."""
    alias = conf.history_database()
    connection = connections[alias]
    failure = dialect_of(connection).failure(error)
    # No row locks: SQLite, where a conflict is a locked file.
    if failure is Failure.CONFLICT and not connection.features.has_select_for_update:
        return FileLocked(described(error))
    if failure in (Failure.DUPLICATE, Failure.CONFLICT) and time.monotonic() < patience.until:
        return HistoryBusy(described(error))
    # An error of no known kind: the rows are at fault if the table can be read.
    if failure in (None, Failure.TOO_LARGE) and _is_readable(alias, last.student_id, patience.seconds):
        return EntriesRefused(described(error), last.pk)
    return HistoryUnavailable(described(error))


def described(error: BaseException | None) -> str:
    """Return a message with the alias and the error, without learners' data."""
    # The first line only: PostgreSQL's next lines show the failing row, with a learner's state.
    return f"{conf.history_database()!r}: {str(error).partition(chr(10))[0]}"


def _is_readable(alias: str, student_id: Any, seconds: float) -> bool:
    try:
        with answer_expected(alias, seconds):
            all_rows(extended_model(), alias).filter(student_id=student_id).exists()
    except Error:
        return False
    return True
