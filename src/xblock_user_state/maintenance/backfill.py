"""Moves the default history to the extended one, in pages by key, while the site runs.

Copying a page that is there already changes nothing, and every page is compared after it was copied, so that a run may
end at any point and another may begin anywhere. The rows of a page are locked while it is copied: a deletion for good
waits, and its tombstone, shipped later, takes the copies along. Rows whose tombstone is on its way stay where they are:
it would take what was written after it, too. An entry leaves the default history only in a transaction in which the
extended one was seen to have it, so that readers, who ask the default history first, find it in one of them at least.

No statement here pins a learner, but none of them reads or locks more than a page.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    COLUMNS,
    KEY,
    KEYS_IN_A_STATEMENT,
    Key,
    Owner,
    extended_model,
    following,
    take_write_lock,
    tombstoned_among,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.history.outbox.shipping import (
    BATCH_SECONDS,
    FILE_SECONDS,
    HistoryUnavailable,
    await_file,
    reach_history,
)
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.dialects.rows import Target
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import LostRace, errors_translated, repeat

Rows = dict[Key, tuple[Any, ...]]

# How long rows may stay locked by somebody else: a deletion that is not yet committed.
_MAX_WAIT_SECONDS = 60.0


class EntriesDiffer(Exception):
    """Entries of the two histories have the same key and are not the same."""


class RowsLocked(Exception):
    """Rows of the default history stayed locked by another transaction."""


class Page(NamedTuple):
    """What was done to one page of the default history, up to the key `last`.

    ``waiting`` entries were left alone: a deletion of older ones of the same learner and block is yet to be shipped.
    ``checksum`` is that of all columns of the entries that are the same on both sides.
    """

    last: Key
    compared: int
    copied: int
    removed: int
    waiting: int
    checksum: str


class _Done(NamedTuple):
    """What one transaction did: rows that it could lock, how many it copied, and digests of those that it compared."""

    locked: Collection[Key]
    copied: int
    digests: Mapping[Key, bytes]


@dataclass(frozen=True)
class Backfill:
    """One pass over the default history in the state's `database`, `size` rows at a time.

    With `remove_source` entries are removed from it as soon as the extended history is seen to have them.
    """

    database: str
    size: int
    remove_source: bool = False

    def pages(self, after: Key | None = None) -> Iterator[Page]:
        """Copy, compare, and yield what was done, page by page, from the row that follows `after`.

        Raises `EntriesDiffer`, `RowsLocked`, `HistoryUnavailable`, `ServiceUnavailable` or an error of the state's
        database; the pages before are done then, and an entry that differs is in both histories as it was.
        """
        while keys := list(self._rows(after).values_list(*KEY)[: self.size]):
            yield self._page(keys)
            after = keys[-1]

    def count(self, after: Key | None = None) -> int:
        """Return how many rows are left to do. Takes as long as reading the index of all of them."""
        with errors_translated(self.database):
            return self._rows(after).count()

    def _rows(self, after: Key | None) -> QuerySet[StudentModuleHistory]:
        return following(StudentModuleHistory._base_manager.using(self.database), after)

    def _page(self, keys: Sequence[Key]) -> Page:
        done: list[_Done] = []
        pending, give_up = set(keys), time.monotonic() + _MAX_WAIT_SECONDS
        while pending:
            reach_history(BATCH_SECONDS)
            await_file(BATCH_SECONDS)
            done.append(repeat(self.database, partial(self._attempt, sorted(pending))))
            pending -= set(done[-1].locked)
            # Rows that could not be locked are being deleted, and are awaited: a rollback would leave them here.
            pending &= set(_values(StudentModuleHistory, self.database, sorted(pending), KEY))
            if pending and time.monotonic() > give_up:
                raise RowsLocked(f"locked by another transaction for too long: {_named(pending)}")
            time.sleep(0.1 if pending else 0)
        digests = {key: digest for each in done for key, digest in each.digests.items()}
        locked = sum(len(each.locked) for each in done)
        return Page(
            last=keys[-1],
            compared=len(digests),
            copied=sum(each.copied for each in done),
            removed=len(digests) if self.remove_source else 0,
            waiting=locked - len(digests),
            checksum=_checksum(digests[key] for key in keys if key in digests),
        )

    def _attempt(self, keys: Sequence[Key]) -> _Done:
        take_write_lock(self.database)
        skip_locked = connections[self.database].features.has_select_for_update_skip_locked
        rows: Rows = {}
        for some in pieces(self.database, keys, KEYS_IN_A_STATEMENT):
            found = StudentModuleHistory._base_manager.using(self.database).filter(pk__in=some)
            locked = found.order_by(*KEY).select_for_update(skip_locked=skip_locked)
            rows.update((row[:3], row) for row in locked.values_list(*COLUMNS))
        # After the rows were locked: a deletion that commits its tombstone later has to wait for them.
        owners = {Owner(*key[:2]) for key in rows}
        buried = tombstoned_among(HistoryOutbox._base_manager.using(self.database), owners)
        moved = {key: row for key, row in rows.items() if Owner(*key[:2]) not in buried}
        with _history_errors():
            copied = _copy(moved)
            digests = _compare(moved)
        if self.remove_source:
            for some in pieces(self.database, list(moved), KEYS_IN_A_STATEMENT):
                found = StudentModuleHistory._base_manager.using(self.database).filter(pk__in=some)
                found._raw_delete(self.database)
        return _Done(rows.keys(), copied, digests)


def _copy(rows: Rows) -> int:
    """Insert, and commit, the rows that the extended history does not have; return how many that were."""
    model, alias = extended_model(), conf.history_database()
    there = _values(model, alias, list(rows), KEY)
    missing = [row for key, row in rows.items() if key not in there]
    if missing:
        connection = connections[alias]
        with transaction.atomic(using=alias):
            dialect_of(connection).insert(Target(connection, model, COLUMNS, {}), missing)
    return len(missing)


def _compare(rows: Rows) -> dict[Key, bytes]:
    """Return the digest of each row, if the extended history has the same; raise `EntriesDiffer` if not."""
    there = _values(extended_model(), conf.history_database(), list(rows), COLUMNS)
    digests = {key: _digest(row) for key, row in rows.items()}
    different = [key for key, digest in digests.items() if key not in there or _digest(there[key]) != digest]
    if different:
        raise EntriesDiffer(f"the two histories differ, nothing of this page was removed: {_named(different)}")
    return digests


@contextmanager
def _history_errors() -> Iterator[None]:
    """Tell the history database's errors from those of the state's: it may be of another vendor.

    It is not waited for without end: rows of the state's database are locked meanwhile.
    """
    alias = conf.history_database()
    connection = connections[alias]
    try:
        with answer_expected(alias, BATCH_SECONDS, FILE_SECONDS):
            yield
    except Error as error:
        if dialect_of(connection).failure(error) in (Failure.DUPLICATE, Failure.CONFLICT):
            raise LostRace from error
        connection.close_if_unusable_or_obsolete()
        raise HistoryUnavailable(str(error)) from error


def _values(model: type[BaseStudentModuleHistory], alias: str, keys: Sequence[Key], columns: tuple[str, ...]) -> Rows:
    """Return columns, of which the key's are the first, of those of the rows that are there."""
    found: Rows = {}
    for some in pieces(alias, keys, KEYS_IN_A_STATEMENT):
        rows = model._base_manager.using(alias).filter(pk__in=some)
        found.update((row[:3], row) for row in rows.values_list(*columns))
    return found


def _digest(row: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(repr([_comparable(value) for value in row]).encode()).digest()


def _comparable(value: Any) -> Any:
    """Return a value as it is whatever the driver that read it."""
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) and value.tzinfo else value


def _checksum(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _named(keys: Collection[Key], most: int = 20) -> str:
    names = [f"learner {student}, block {block}, revision {revision}" for student, block, revision in sorted(keys)]
    return "; ".join(names[:most]) + (f"; and {len(names) - most:,} more" if len(names) > most else "")
