"""Reads the history of one learner and block from all stores, newest first, each revision once.

Entries move from the outbox and from the default history to the extended one, never back, so the stores are asked in
that order: an entry that moves meanwhile is seen in one of them at least.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connections
from django.db.models import Q
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.encoding import DELTA, MAX_CHAIN, Stored, decode_all
from xblock_user_state.history.entries import (
    TOMBSTONE,
    Owner,
    buried_among,
    buried_in,
    extended_model,
    owner_of,
    shown_models,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox.breaker import READING, SHIPPING
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import current, names
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces

PAGE = 128
"""How many entries are read and decoded at a time; the memory that a reader needs does not depend on their number."""

Key = tuple[int, int]
"""Block and revision: what names an entry among those of one learner."""

Entries = dict[Key, BaseStudentModuleHistory]


class HistoryUnreadable(ServiceUnavailable):
    """A part of the history is in the history database only, which can't be reached."""


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
        """Return the newest entries of the stores that the flags show. A statement a store.

        While the history database is down: those of the others, if these have all; else it raises `ServiceUnavailable`.
        """
        # While it is known to be down, readers don't wait for it where they need not.
        if SHIPPING.is_open() or READING.is_open():
            found = self._all_near(before, count)
            if found is not None:
                return found
        try:
            near, buried = self._near(before, count)
            far = {} if buried.issuperset(self._owners) else self._shown_extended(before, count)
        except HistoryUnreadable:
            found = self._all_near(before, count)
            if found is None:
                current.count(names.UNAVAILABLE, 1, "history")
                raise
            return found
        return _newest({**{key: entry for key, entry in far.items() if owner_of(entry) not in buried}, **near}, count)

    @property
    def _owners(self) -> list[Owner]:
        return [Owner(self.student_id, block_id) for block_id in self.block_ids]

    def _near(self, before: int | None, count: int | None) -> tuple[Entries, set[Owner]]:
        """Return the entries in the state's database, and the owners whose extended history is gone."""
        found: Entries = {}
        buried: set[Owner] = set()
        for model in shown_models():
            if model is HistoryOutbox:
                found = self._of(model, self.database, before, count)
                buried = self._buried(found, count)
            elif model is StudentModuleHistory:
                found = {**self._of(model, self.database, before, count), **found}
        return found, buried

    def _all_near(self, before: int | None, count: int | None) -> Entries | None:
        """Return the newest entries if the state's database has all of them; else ``None``."""
        # In this order: what is committed meanwhile is then not missed, and what is asked for is there to be seen.
        rows = StudentModule.objects.using(self.database).filter(self._rows())
        revisions = list(rows.values_list("block_id", "revision"))
        found, _ = self._near(before, count)
        for block_id, revision in revisions:
            top = revision if before is None else min(revision, before - 1)
            bottom = 1 if count is None else max(1, top - count + 1)
            if any((block_id, each) not in found for each in range(bottom, top + 1)):
                return None
        return _newest(found, count)

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

    def _buried(self, outbox: Entries, count: int | None) -> set[Owner]:
        """Return the owners whose extended history is gone. A tombstone has the lowest revision: a page may miss it."""
        if count is None or len(outbox) < count:
            return buried_in(outbox.values())
        return buried_among(HistoryOutbox._base_manager.using(self.database).filter(self._rows()), self._owners)

    def _shown_extended(self, before: int | None, count: int | None) -> Entries:
        is_shown = any(model not in (HistoryOutbox, StudentModuleHistory) for model in shown_models())
        return self._of_extended(before, count) if is_shown else {}

    def _of_extended(self, before: int | None, count: int | None) -> Entries:
        """Return entries of the extended history. Raises `HistoryUnreadable`: at once if it failed a moment ago."""
        if not READING.lets_through():
            raise HistoryUnreadable(_unreadable("it failed a moment ago"))
        try:
            found = self._ask(before, count)
        except Error as error:
            READING.failed(error)
            raise HistoryUnreadable(_unreadable(error)) from error
        READING.succeeded()
        return found

    def _ask(self, before: int | None, count: int | None) -> Entries:
        alias, seconds = conf.history_database(), conf.history_timeout()
        until = time.monotonic() + seconds
        was_open = connections[alias].connection is not None
        try:
            with answer_expected(alias, seconds):
                return self._of(extended_model(), alias, before, count)
        except Error:
            # A connection that has broken is given up, so that the next read makes a new one.
            connections[alias].close_if_unusable_or_obsolete()
            if not was_open or connections[alias].connection is not None or time.monotonic() >= until:
                raise
        # It was lost since it was used last, which says nothing of the database.
        with answer_expected(alias, seconds):
            return self._of(extended_model(), alias, before, count)

    def _hidden(self, missing: set[Key]) -> Entries:
        """Return entries of the stores that the flags hide, down to the full ones that `missing` build on."""
        found: Entries = {}
        for block_id, keys in groupby(sorted(missing), key=itemgetter(0)):
            revisions = [revision for _, revision in keys]
            before, count = revisions[-1] + 1, revisions[-1] - revisions[0] + MAX_CHAIN
            stores = _Stores(self.database, self.student_id, [block_id])
            # The outbox too: what waits there may have outlived the settings of its extended history.
            for model in (HistoryOutbox, StudentModuleHistory):
                found |= stores._of(model, self.database, before, count)
            if conf.has_extended_history():
                found |= stores._of_needed_extended(before, count)
        return found

    def _of_needed_extended(self, before: int, count: int) -> Entries:
        try:
            return self._of_extended(before, count)
        except HistoryUnreadable:
            current.count(names.UNAVAILABLE, 1, "history")
            raise


def _unreadable(reason: object) -> str:
    alias = conf.history_database()
    return f"a part of the history is in the database {alias!r}, which can't be reached: {reason}"


def _newest(found: Entries, count: int | None) -> Entries:
    return {key: found[key] for key in sorted(found, reverse=True)[:count] if key[1] != TOMBSTONE}


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
