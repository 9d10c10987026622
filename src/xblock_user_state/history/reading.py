"""Reads the history of one learner and block from all stores, newest first, each revision once.

Entries move from the outbox and from the default history to the extended one, never back, so the stores are asked in
that order: an entry that moves meanwhile is seen in one of them at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.breaker import HISTORY_DATABASE
from xblock_user_state.history.shipping import TOMBSTONE, extended_model
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox, StudentModule, StudentModuleHistory
from xblock_user_state.state.encoding import DELTA, MAX_CHAIN, Stored, decode_all
from xblock_user_state.store.tables import state_database

PAGE = 128
"""How many entries are read and decoded at a time; the memory that a reader needs does not depend on their number."""

Entries = dict[int, BaseStudentModuleHistory]


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
        # A page's oldest entry may build on up to so many older ones.
        found = self._merged(before, count + MAX_CHAIN - 1)
        wanted = sorted(found, reverse=True)[:count]
        if wanted:
            self._decode(found, oldest=wanted[-1])
        return [found[revision] for revision in wanted]

    def _merged(self, before: int | None, count: int) -> Entries:
        """Return the newest entries of the stores that the flags show, by revision."""
        found = self._of(HistoryOutbox, self.database, before, count) if conf.has_extended_history() else {}
        buried = self._is_buried(found, count)
        if not conf.value("EXTENDED_HISTORY") or conf.reads_both_histories():
            found = {**self._of(StudentModuleHistory, self.database, before, count), **found}
        if not buried and self._shows_extended():
            found = {**self._of_extended(before, count, found), **found}
        return {revision: found[revision] for revision in sorted(found, reverse=True)[:count] if revision != TOMBSTONE}

    def _of(self, model: type[BaseStudentModuleHistory], alias: str, before: int | None, count: int) -> Entries:
        entries = model._base_manager.using(alias).filter(student_id=self.student_id, block_id=self.block_id)
        if before is not None:
            entries = entries.filter(revision__lt=before)
        return {entry.revision: entry for entry in entries.order_by("-revision")[:count]}

    def _is_buried(self, outbox: Entries, count: int) -> bool:
        """Tell whether the outbox says that what the extended history has is gone."""
        if len(outbox) < count:
            return TOMBSTONE in outbox
        rows = HistoryOutbox.objects.using(self.database)
        return rows.filter(student_id=self.student_id, block_id=self.block_id, revision=TOMBSTONE).exists()

    def _shows_extended(self) -> bool:
        shown = conf.value("EXTENDED_HISTORY") or conf.reads_both_histories()
        return bool(shown and conf.has_extended_history())

    def _of_extended(self, before: int | None, count: int, found: Entries) -> Entries:
        """Return the entries of the extended history. While it is down: none, if all there are have been found."""
        try:
            return self._of(extended_model(), conf.history_database(), before, count)
        except Error as error:
            HISTORY_DATABASE.failed(error)
            if self._is_complete(before, count, found):
                return {}
            raise ServiceUnavailable(
                f"a part of the history is in the database {conf.history_database()!r}, which can't be reached: {error}"
            ) from error

    def _is_complete(self, before: int | None, count: int, found: Entries) -> bool:
        rows = StudentModule.objects.using(self.database).filter(student_id=self.student_id, block_id=self.block_id)
        newest = rows.values_list("revision", flat=True).first() or 0
        top = newest if before is None else min(newest, before - 1)
        return all(revision in found for revision in range(max(1, top - count + 1), top + 1))

    def _decode(self, found: Entries, oldest: int) -> None:
        """Give each entry down to the `oldest` its text; bases that no shown store has come from the others."""
        missing = _bases(found, oldest) - found.keys()
        every = {**self._hidden(missing), **found} if missing else found
        decode([every[revision] for revision in sorted(every)])

    def _hidden(self, missing: set[int]) -> Entries:
        """Return entries of the stores that the flags hide, down to the full ones that `missing` build on."""
        before, count = max(missing) + 1, max(missing) - min(missing) + MAX_CHAIN
        found = self._of(StudentModuleHistory, self.database, before, count)
        if conf.has_extended_history():
            found = {**self._of(extended_model(), conf.history_database(), before, count), **found}
        return found


def decode(entries: Sequence[BaseStudentModuleHistory]) -> None:
    """Give each of these entries of one row, by rising revision, its text; a damaged one tells so when it is read."""
    stored = (Stored(entry.revision, entry.encoding, _bytes(entry)) for entry in entries)
    for entry, (_, text) in zip(entries, decode_all(stored), strict=True):
        entry.state = text


def entries_of(student_modules: Iterable[StudentModule]) -> list[BaseStudentModuleHistory]:
    """Return the entries of these modules, newest first. A statement a store and module for each 128 of them."""
    database = state_database()
    entries = [
        entry
        for module in student_modules
        for entry in BlockHistory(database, module.student_id, module.block_id).newest_first()
    ]
    return sorted(entries, key=lambda entry: (entry.created, entry.revision), reverse=True)


def _bases(found: Entries, oldest: int) -> set[int]:
    """Return the revisions that the entries down to the `oldest` build on, and these in turn."""
    bases: set[int] = set()
    for revision in sorted(found, reverse=True):
        if found[revision].encoding == DELTA and (revision >= oldest or revision in bases):
            bases.add(revision - 1)
    return bases


def _bytes(entry: BaseStudentModuleHistory) -> bytes | None:
    return None if entry.body is None else bytes(entry.body)
