"""Copies or moves the default history to the extended history, in pages by key, while the site runs.

A run may end at any point, and another may begin anywhere: a page that was copied before is only compared. The rows of
a page stay locked while it is copied. A deletion for good waits for the lock, and its tombstone, shipped later,
deletes the copies too. Rows whose tombstone is still in the outbox stay where they are: the tombstone would delete the
copies of entries that were written after it. An entry leaves the default history only in a transaction that has read
the same entry in the extended history, so readers, which ask the default history first, find it in one of the two.

Packs are rows as others, unless the two histories have the same entries in different rows: copies that were made before
one of the histories was compacted. Then their entries are compared one by one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import QuerySet

from xblock_user_state import conf
from xblock_user_state.history.encoding import PACK, encode_compact
from xblock_user_state.history.entries import (
    COLUMNS,
    KEY,
    KEYS_IN_A_STATEMENT,
    TOMBSTONE,
    Key,
    Owner,
    all_rows,
    delete_of_keys,
    extended_model,
    following,
    lockable,
    of_keys,
    take_write_lock,
    tombstoned_among,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory, stored
from xblock_user_state.history.unpacking import are_in_order
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.decoding import decoded
from xblock_user_state.maintenance.history_database import history_answers, reach
from xblock_user_state.maintenance.paging import PAGE, rows_of
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.dialects.rows import Target
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated, repeat

Values = tuple[Any, ...]
RowsByKey = dict[Key, Values]

# The longest wait for the locks of a deletion that is not yet committed.
_MAX_WAIT_SECONDS = 60.0


class EntriesDiffer(Exception):
    """Two entries with the same key differ between the histories."""


class RowsLocked(Exception):
    """Rows of the default history stayed locked by another transaction."""


class CopiedPage(NamedTuple):
    """One page of the default history, up to the key `last`: numbers of its entries, and a checksum.

    ``waiting`` entries stayed in place because a tombstone of their learner and block is not yet shipped. ``checksum``
    covers all columns of the entries that are the same on both sides.
    """

    last: Key
    compared: int
    copied: int
    removed: int
    waiting: int
    checksum: str


class _Copied(NamedTuple):
    """The result of one transaction: the rows that it locked, the number copied, and digests of the compared rows."""

    locked: Collection[Key]
    copied: int
    digests: Mapping[Key, bytes]


@dataclass(frozen=True)
class Backfill:
    """One pass over the default history in the state's `database`, `size` rows at a time.

    With `remove_source` an entry is removed once the extended history has it.
    """

    database: str
    size: int
    remove_source: bool = False

    def pages(self, after: Key | None = None) -> Iterator[CopiedPage]:
        """Copy, compare and yield one page after the other, from the row that follows `after`.

        Raises `EntriesDiffer`, `RowsLocked`, `HistoryUnavailable`, `ServiceUnavailable` or an error of the state's
        database. The pages before stay done, and both versions of an entry that differs stay unchanged.
        """
        while keys := [Key(*row) for row in self._rows(after).values_list(*KEY)[: self.size]]:
            yield self._page(keys)
            after = keys[-1]

    def count(self, after: Key | None = None) -> int:
        """Return the number of rows that are left. One statement, which reads a whole index."""
        with errors_translated(self.database):
            return self._rows(after).count()

    def _rows(self, after: Key | None) -> QuerySet[StudentModuleHistory]:
        return following(all_rows(StudentModuleHistory, self.database), after)

    def _page(self, keys: Sequence[Key]) -> CopiedPage:
        done: list[_Copied] = []
        pending, give_up = set(keys), time.monotonic() + _MAX_WAIT_SECONDS
        while pending:
            # Before any row is locked: a server that does not answer takes the whole timeout.
            reach()
            # In key order, so two passes at once can't deadlock.
            done.append(repeat(self.database, partial(self._attempt, sorted(pending))))
            pending -= set(done[-1].locked)
            # Rows that could not be locked are being deleted. Wait for the commit: a rollback leaves them here.
            pending &= set(_fetch(StudentModuleHistory, self.database, sorted(pending), KEY))
            if pending and time.monotonic() > give_up:
                raise RowsLocked(f"locked by another transaction for too long: {_describe_keys(pending)}")
            time.sleep(0.1 if pending else 0)
        digests = {key: digest for each in done for key, digest in each.digests.items()}
        locked = sum(len(each.locked) for each in done)
        return CopiedPage(
            last=keys[-1],
            compared=len(digests),
            copied=sum(each.copied for each in done),
            removed=len(digests) if self.remove_source else 0,
            waiting=locked - len(digests),
            checksum=_checksum(digests[key] for key in keys if key in digests),
        )

    def _attempt(self, keys: Sequence[Key]) -> _Copied:
        take_write_lock(self.database)
        # A locked row is skipped, and awaited by the caller: this transaction holds no locks while it waits.
        skip_locked = connections[self.database].features.has_select_for_update_skip_locked
        rows: RowsByKey = {}
        for some in pieces(self.database, keys, KEYS_IN_A_STATEMENT):
            found = of_keys(all_rows(StudentModuleHistory, self.database), some).order_by(*KEY)
            for which in lockable(found):
                locked = found.filter(which).select_for_update(skip_locked=skip_locked)
                rows.update((Key(*row[:3]), row) for row in locked.values_list(*COLUMNS))
        # Tombstones after the locks: a deletion that has not committed its tombstone by now waits for these locks.
        buried = tombstoned_among(all_rows(HistoryOutbox, self.database), {key.owner for key in rows})
        moved = {key: row for key, row in rows.items() if key.owner not in buried}
        packed, alike = _apart(moved)
        with history_answers():
            copied = _copy(alike) + sum(_copy_packed(self.database, *each) for each in packed.items())
            digests = _compare(alike)
        digests |= {key: _digest(moved[key]) for keys in packed.values() for key in keys}
        if self.remove_source:
            for some in pieces(self.database, list(moved), KEYS_IN_A_STATEMENT):
                delete_of_keys(all_rows(StudentModuleHistory, self.database), some)
        return _Copied(rows.keys(), copied, digests)


def _copy(rows: RowsByKey) -> int:
    """Insert and commit the rows that the extended history lacks; return their number."""
    model, alias = extended_model(), conf.history_database()
    present = _fetch(model, alias, list(rows), KEY)
    missing = [row for key, row in rows.items() if key not in present]
    _insert(missing)
    return len(missing)


def _insert(rows: Sequence[tuple[Any, ...]]) -> None:
    alias = conf.history_database()
    # Committed before the source row goes: a crash in between leaves two copies, never none.
    with transaction.atomic(using=alias):
        dialect_of(connections[alias]).insert(Target(connections[alias], extended_model(), COLUMNS, {}), rows)


def _compare(rows: RowsByKey) -> dict[Key, bytes]:
    """Return the digest of each row; raise `EntriesDiffer` unless the extended history has the same rows."""
    copies = _fetch(extended_model(), conf.history_database(), list(rows), COLUMNS)
    digests = {key: _digest(row) for key, row in rows.items()}
    different = [key for key, digest in digests.items() if key not in copies or _digest(copies[key]) != digest]
    if different:
        raise EntriesDiffer(_differing(different))
    return digests


def _apart(rows: RowsByKey) -> tuple[dict[Owner, dict[Key, Values]], RowsByKey]:
    """Return the rows of owners of whom one of the histories has packs, and the other rows."""
    # The two may have the same entries in different rows.
    alias, owners = conf.history_database(), {key.owner for key in rows}
    packed = {key.owner for key, row in rows.items() if row[COLUMNS.index("encoding")] == PACK}
    with history_answers():
        for some in pieces(alias, sorted(owners - packed), PAGE):
            found = all_rows(extended_model(), alias).filter(rows_of(some), encoding=PACK)
            packed.update(Owner(*row) for row in found.values_list("student_id", "block_id"))
    by_owner = {owner: {key: row for key, row in rows.items() if key.owner == owner} for owner in packed}
    return by_owner, {key: row for key, row in rows.items() if key.owner not in packed}


def _copy_packed(database: str, owner: Owner, rows: Mapping[Key, Values]) -> int:
    """Copy the entries of an owner's rows that the extended history lacks, and compare all; return their number."""
    here = _contents(database, StudentModuleHistory, database, owner)
    there = _contents(database, extended_model(), conf.history_database(), owner)
    whole: list[Values] = []
    missing: list[BaseStudentModuleHistory] = []
    copied = 0
    for key, row in rows.items():
        of_row = [entry for entry, _ in here.values() if key.revision in (entry.pack, entry.revision)]
        lacking = [entry for entry in of_row if entry.revision not in there]
        copied += len(lacking)
        if len(lacking) == len(of_row):
            whole.append(row)
        else:
            missing += lacking
    for entry in missing:
        text = here[entry.revision][1][0]
        if isinstance(text, str):
            entry.encoding, entry.body = encode_compact(text, None)
    _insert([*whole, *(tuple(getattr(entry, column) for column in COLUMNS) for entry in missing)])
    there = _contents(database, extended_model(), conf.history_database(), owner)
    moved = {revision for revision, (entry, _) in here.items() if (*owner, entry.pack or revision) in rows}
    different = [Key(*owner, each) for each in moved if each not in there or here[each][1] != there[each][1]]
    if different:
        raise EntriesDiffer(_differing(different))
    return copied


def _contents(
    database: str, model: type[BaseStudentModuleHistory], alias: str, owner: Owner
) -> dict[int, tuple[BaseStudentModuleHistory, tuple[Any, ...]]]:
    """Return each entry of an owner, and all that it holds, with its text decoded, by revision."""
    rows = list(all_rows(model, alias).filter(rows_of([owner]), revision__gt=TOMBSTONE).order_by("revision"))
    if not are_in_order(rows):
        raise EntriesDiffer(
            f"learner {owner.student_id}, block {owner.block_id} has revisions twice: run check_history"
        )
    contents = {}
    for entry, text in decoded(database, rows):
        known = stored(entry) if isinstance(text, DamagedHistory) else text
        score = entry.grade, entry.max_grade
        contents[entry.revision] = entry, (known, entry.created, *score, entry.version, entry.actor_id)
    return contents


def _fetch(
    model: type[BaseStudentModuleHistory], alias: str, keys: Sequence[Key], columns: tuple[str, ...]
) -> RowsByKey:
    """Return the existing rows among `keys`. The `columns` begin with the columns of the key."""
    found: RowsByKey = {}
    for some in pieces(alias, keys, KEYS_IN_A_STATEMENT):
        rows = of_keys(all_rows(model, alias), some)
        found.update((Key(*row[:3]), row) for row in rows.values_list(*columns))
    return found


def _digest(row: tuple[Any, ...]) -> bytes:
    # repr keeps 1, 1.0 and True apart, and NULL from an empty text.
    return hashlib.sha256(repr([_comparable(value) for value in row]).encode()).digest()


def _comparable(value: Any) -> Any:
    """Return the same value for every driver."""
    # PostgreSQL's driver returns a memoryview where the other drivers return bytes.
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) and value.tzinfo else value


def _checksum(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _differing(keys: Collection[Key]) -> str:
    return f"the two histories differ, nothing of this page was removed: {_describe_keys(keys)}"


def _describe_keys(keys: Collection[Key], most: int = 20) -> str:
    names = [f"learner {student}, block {block}, revision {revision}" for student, block, revision in sorted(keys)]
    return "; ".join(names[:most]) + (f"; and {len(names) - most:,} more" if len(names) > most else "")
