"""Windows of history entries: the entries of all stores, merged by key.

Entries move from store to store while a job reads. Each window reads the stores in that order, so it misses no entry
that moves meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter

from django.db import models
from django.db.models import Q

from xblock_user_state.history.entries import (
    TOMBSTONE,
    EntryRow,
    Key,
    Owner,
    all_rows,
    following,
    stores,
    tombstoned_among,
    tombstoned_in,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.history.rows import entry_rows
from xblock_user_state.history.unpacking import unpacked_in_order
from xblock_user_state.maintenance.paging import rows_of
from xblock_user_state.store.dialects.rows import value_field
from xblock_user_state.store.transactions import errors_translated


def entries_by_key(database: str, owners: Collection[Owner], size: int, which: Q | None = None) -> Iterator[EntryRow]:
    """Yield the entries of these owners in all stores, owner by owner, each owner's by revision.

    Copies of one entry come in the order in which entries move. Leaves out tombstones, and the entries that they bury.
    Reads up to `size` entries of each store at a time: one statement a store, whatever the number of owners. `which` is
    a condition for their rows, if the caller has a shorter one than `rows_of`.
    """
    if _are_ordered_alike(HistoryOutbox):
        learners = [owner.student_id for owner in owners]
        # The range follows from the owners. For a LIMIT, PostgreSQL may walk the index from its first row without it.
        within = Q(student_id__gte=min(learners), student_id__lte=max(learners))
        yield from _entries(database, (which or rows_of(owners)) & within, size)
        return
    # Databases sort texts by their collations, and MariaDB sorts UUIDs by their last bytes: no key of a learner would
    # bound the windows of all stores. Within one learner the keys are numbers.
    for _, of_learner in groupby(owners, key=attrgetter("student_id")):
        yield from _entries(database, rows_of(list(of_learner)), size)


def _are_ordered_alike(model: type[BaseStudentModuleHistory]) -> bool:
    """Tell whether all databases sort the ids of learners as Python does."""
    return isinstance(value_field(model._meta.get_field("student")), models.IntegerField)


def _entries(database: str, which: Q, size: int) -> Iterator[EntryRow]:
    after: Key | None = None
    while True:
        window = _Window(database, which, size, after)
        yield from window.entries()
        if window.last is None:
            return
        after = window.last


class _Window:
    """The entries that follow a key, up to the key `last`: the lowest last key of the stores with a full page.

    ``None`` as `last` means that no store has more. Keeps packs as they are stored until their entries are needed.
    """

    def __init__(self, database: str, which: Q, size: int, after: Key | None) -> None:
        self._database, self._which, self._after = database, which, after
        self._pages: list[list[EntryRow]] = []
        last_keys: list[Key] = []
        buried: set[Owner] = set()
        for model, alias in stores(database):
            page = self._page(model, alias, size)
            # A full page may be followed by more entries, so the window is complete up to its last key only.
            last_keys += [page[-1].key] if len(page) == size else []
            if model is HistoryOutbox:
                buried = self._buried(page)
            is_local = alias == database or not buried
            self._pages.append(page if is_local else [entry for entry in page if entry.owner not in buried])
        self.last = min(last_keys, default=None)

    def entries(self) -> Iterator[EntryRow]:
        """Yield the entries in key order. Copies with one key come in the order of the stores."""
        # The merge is stable. It has one pack of each store in memory.
        for entry in merge(*map(unpacked_in_order, filter(None, self._pages)), key=_key):
            if self.last is not None and entry[:3] > self.last:
                return
            # The key of a pack is its newest revision, so older entries of it may belong to the windows before.
            if entry.revision != TOMBSTONE and (entry.pack is None or self._after is None or entry[:3] > self._after):
                yield entry

    def _page(self, model: type[BaseStudentModuleHistory], alias: str, size: int) -> list[EntryRow]:
        rows = following(all_rows(model, alias).filter(self._which), self._after)
        with errors_translated(alias):
            return entry_rows(rows[:size])

    def _buried(self, outbox: Sequence[EntryRow]) -> set[Owner]:
        """Return the owners whose entries in the extended history are buried by a tombstone."""
        buried = tombstoned_in(outbox)
        if self._after is not None:
            # A tombstone has the lowest revision: where a window begins in the middle of an owner, it is behind.
            with errors_translated(self._database):
                buried |= tombstoned_among(all_rows(HistoryOutbox, self._database), [self._after.owner])
        return buried


_key = itemgetter(0, 1, 2)
