"""Reads the history of one learner and block from all stores, newest first, each revision once.

Entries move from the outbox and from the default history to the extended one, never back, so the stores are asked in
that order: an entry that moves meanwhile is seen in one of them at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connections
from django.db.models import Q
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.breaker import HISTORY_DATABASE
from xblock_user_state.history.shipping import TOMBSTONE, extended_model
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import current, names
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.state.encoding import DELTA, MAX_CHAIN, Stored, decode_all
from xblock_user_state.store.reader import pieces
from xblock_user_state.store.tables import state_database

PAGE = 128
"""How many entries are read and decoded at a time; the memory that a reader needs does not depend on their number."""

Key = tuple[int, int]
"""Block and revision: what names an entry among those of one learner."""

Entries = dict[Key, BaseStudentModuleHistory]


def shown_models() -> tuple[type[BaseStudentModuleHistory], ...]:
    """Return the models of the stores that the flags show to readers, in the order in which they are asked."""
    both = conf.reads_both_histories()
    has_extended = conf.has_extended_history()
    models: list[type[BaseStudentModuleHistory]] = [HistoryOutbox] if has_extended else []
    if both or not conf.value("EXTENDED_HISTORY"):
        models.append(StudentModuleHistory)
    if has_extended and (both or conf.value("EXTENDED_HISTORY")):
        models.append(extended_model())
    return tuple(models)


@dataclass(frozen=True)
class BlockHistory:
    """The history of one learner in one block."""

    database: str
    student_id: Any
    block_id: int

    def newest_first(
        self, limit: int | None = None, before_revision: int | None = None
    ) -> Iterator[BaseStudentModuleHistory]:
        """Yield the entries that the flags show, decoded: a statement a store for each 128 of them."""
        left, before = limit, before_revision
        while left is None or left > 0:
            count = PAGE if left is None else min(PAGE, left)
            entries = self._page(before, count)
            yield from entries
            if len(entries) < count:
                return
            before = entries[-1].revision
            left = None if left is None else left - count

    def _page(self, before: int | None, count: int) -> list[BaseStudentModuleHistory]:
        stores = _Stores(self.database, self.student_id, [self.block_id])
        # A page's oldest entry may build on up to so many older ones.
        found = stores.merged(before, count + MAX_CHAIN - 1)
        wanted = sorted(found, reverse=True)[:count]
        if wanted:
            stores.decode(found, oldest=wanted[-1][1])
        return [found[key] for key in wanted]


@dataclass(frozen=True)
class _Stores:
    """What the stores hold of one learner in some blocks. Windows of revisions are for one block only."""

    database: str
    student_id: Any
    block_ids: Sequence[int]

    def merged(self, before: int | None = None, count: int | None = None) -> Entries:
        """Return the newest entries of the stores that the flags show. A statement a store."""
        found: Entries = {}
        buried: set[int] = set()
        for model in shown_models():
            if model is HistoryOutbox:
                found = self._of(model, self.database, before, count)
                buried = self._buried(found, count)
            elif model is StudentModuleHistory:
                found = {**self._of(model, self.database, before, count), **found}
            elif not buried.issuperset(self.block_ids):
                extended = self._of_extended(before, count, found)
                found = {**{key: entry for key, entry in extended.items() if key[0] not in buried}, **found}
        return {key: found[key] for key in sorted(found, reverse=True)[:count] if key[1] != TOMBSTONE}

    def decode(self, found: Entries, oldest: int = 1) -> None:
        """Give entries down to the `oldest` revision their texts; bases that no shown store has come from others."""
        missing = _bases(found, oldest) - found.keys()
        every = {**self._hidden(missing), **found} if missing else found
        for _, keys in groupby(sorted(every), key=itemgetter(0)):
            decode([every[key] for key in keys])

    def _of(self, model: type[BaseStudentModuleHistory], alias: str, before: int | None, count: int | None) -> Entries:
        entries = model._base_manager.using(alias).filter(self._rows())
        if before is not None:
            entries = entries.filter(revision__lt=before)
        return {(entry.block_id, entry.revision): entry for entry in entries.order_by("block_id", "-revision")[:count]}

    def _rows(self) -> Q:
        # Of one block, the primary key gives the newest without sorting, if the block is named as one.
        blocks = {"block_id": self.block_ids[0]} if len(self.block_ids) == 1 else {"block_id__in": self.block_ids}
        return Q(student_id=self.student_id, **blocks)

    def _buried(self, outbox: Entries, count: int | None) -> set[int]:
        """Return the blocks of which the outbox says that what the extended history has is gone."""
        if count is None or len(outbox) < count:
            return {block_id for block_id, revision in outbox if revision == TOMBSTONE}
        buried = HistoryOutbox.objects.using(self.database).filter(self._rows(), revision=TOMBSTONE)
        return set(buried.values_list("block_id", flat=True))

    def _of_extended(self, before: int | None, count: int | None, found: Entries) -> Entries:
        """Return the entries of the extended history. While it is down: none, if all there are have been found."""
        # While it is known to be down, readers don't wait for it where they need not.
        if HISTORY_DATABASE.is_open() and self._is_complete(before, count, found):
            return {}
        try:
            return self._of(extended_model(), conf.history_database(), before, count)
        except Error as error:
            _note_failure(error)
            if self._is_complete(before, count, found):
                return {}
            raise _unavailable(error) from error

    def _is_complete(self, before: int | None, count: int | None, found: Entries) -> bool:
        """Tell whether the newest entries have been found of each row."""
        rows = StudentModule.objects.using(self.database).filter(self._rows())
        for block_id, revision in rows.values_list("block_id", "revision"):
            top = revision if before is None else min(revision, before - 1)
            bottom = 1 if count is None else max(1, top - count + 1)
            if any((block_id, each) not in found for each in range(bottom, top + 1)):
                return False
        return True

    def _hidden(self, missing: set[Key]) -> Entries:
        """Return entries of the stores that the flags hide, down to the full ones that `missing` build on."""
        found: Entries = {}
        for block_id, keys in groupby(sorted(missing), key=itemgetter(0)):
            revisions = [revision for _, revision in keys]
            before, count = revisions[-1] + 1, revisions[-1] - revisions[0] + MAX_CHAIN
            stores = _Stores(self.database, self.student_id, [block_id])
            found |= stores._of(StudentModuleHistory, self.database, before, count)
            if conf.has_extended_history():
                found |= stores._of_hidden_extended(before, count)
        return found

    def _of_hidden_extended(self, before: int, count: int) -> Entries:
        try:
            return self._of(extended_model(), conf.history_database(), before, count)
        except Error as error:
            _note_failure(error)
            raise _unavailable(error) from error


def _note_failure(error: Error) -> None:
    HISTORY_DATABASE.failed(error)
    # A connection that has broken is given up, so that the next read makes a new one.
    connections[conf.history_database()].close_if_unusable_or_obsolete()


def _unavailable(error: Error) -> ServiceUnavailable:
    alias = conf.history_database()
    current.count(names.UNAVAILABLE, 1, "history")
    return ServiceUnavailable(f"a part of the history is in the database {alias!r}, which can't be reached: {error}")


def decode(entries: Sequence[BaseStudentModuleHistory]) -> None:
    """Give each of these entries of one row, by rising revision, its text; a damaged one tells so when it is read."""
    stored = (Stored(entry.revision, entry.encoding, _bytes(entry)) for entry in entries)
    for entry, (_, text) in zip(entries, decode_all(stored), strict=True):
        entry.state = text


def entries_of(student_modules: Iterable[StudentModule]) -> list[BaseStudentModuleHistory]:
    """Return the entries of these modules, newest first. A statement a store for each learner, up to 10,000 blocks."""
    database = state_database()
    blocks: dict[Any, set[int]] = {}
    for module in student_modules:
        blocks.setdefault(module.student_id, set()).add(module.block_id)
    entries: list[BaseStudentModuleHistory] = []
    for student_id, block_ids in blocks.items():
        for some in pieces(database, sorted(block_ids)):
            stores = _Stores(database, student_id, some)
            found = stores.merged()
            stores.decode(found)
            entries += found.values()
    return sorted(entries, key=lambda entry: (entry.created, entry.revision), reverse=True)


def _bases(found: Entries, oldest: int) -> set[Key]:
    """Return the keys of the entries that those down to the `oldest` revision build on, and these in turn."""
    bases: set[Key] = set()
    for block_id, revision in sorted(found, reverse=True):
        is_wanted = revision >= oldest or (block_id, revision) in bases
        if is_wanted and found[block_id, revision].encoding == DELTA:
            bases.add((block_id, revision - 1))
    return bases


def _bytes(entry: BaseStudentModuleHistory) -> bytes | None:
    return None if entry.body is None else bytes(entry.body)
