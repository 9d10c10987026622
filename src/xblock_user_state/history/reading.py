"""Reads the history of one learner, newest first, decoded.

From top to bottom: this module cuts a history into pages and decodes them, `merging` merges a page over the stores,
`window` and `extended_store` send the statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from xblock_user_state import conf
from xblock_user_state.history.encoding import MAX_CHAIN, decode_all, is_delta
from xblock_user_state.history.entries import Owner
from xblock_user_state.history.extended_store import HistoryUnreadable, read_extended
from xblock_user_state.history.merging import merged
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory, stored
from xblock_user_state.history.window import Entries, Key, Window
from xblock_user_state.metrics import current, names
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces

PAGE = 128
"""Entries that are read and decoded at a time. It bounds a reader's memory, however long the history is."""


@dataclass(frozen=True)
class BlockHistory:
    """The history of one learner in one block."""

    database: str
    student_id: Any
    block_id: int

    def newest_first(
        self, limit: int | None = None, before_revision: int | None = None
    ) -> Iterator[BaseStudentModuleHistory]:
        """Yield the entries that the flags show, decoded. One statement for each store and 128 entries."""
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
        # The page's oldest entry may build on up to 31 older ones. Reading them with the page saves statements.
        window = Window(self.database, self.student_id, [self.block_id], before, count + MAX_CHAIN - 1)
        found = merged(window)
        wanted = sorted(found, reverse=True)[:count]
        if wanted:
            _decode_with_bases(window, found, oldest=wanted[-1][1])
        return [found[key] for key in wanted]


def entries_of(student_modules: Iterable[StudentModule | Owner]) -> list[BaseStudentModuleHistory]:
    """Return the entries of modules or their keys, newest first; those of one module by revision, whatever their times.

    One statement for each store, learner and 10,000 blocks.
    """
    database = state_database()
    blocks: dict[Any, set[int]] = {}
    for module in student_modules:
        blocks.setdefault(module.student_id, set()).add(module.block_id)
    histories: list[list[BaseStudentModuleHistory]] = []
    for student_id, block_ids in blocks.items():
        for some in pieces(database, sorted(block_ids)):
            window = Window(database, student_id, some)
            found = merged(window)
            _decode_with_bases(window, found)
            for _, keys in groupby(sorted(found, reverse=True), key=itemgetter(0)):
                histories.append([found[key] for key in keys])
    # A merge keeps the order of each history. A sort would not, where two times are the same or disagree.
    return list(merge(*histories, key=attrgetter("created"), reverse=True))


def _decode_with_bases(window: Window, found: Entries, oldest: int = 1) -> None:
    """Decode the entries down to the revision `oldest`; fetch missing bases from the stores that the flags hide."""
    missing = _bases(found, oldest) - found.keys()
    chains = {**_hidden_bases(window, missing), **found} if missing else found
    for _, keys in groupby(sorted(chains), key=itemgetter(0)):
        decode([chains[key] for key in keys])


def _bases(found: Entries, oldest: int) -> set[Key]:
    """Return the keys of the entries that the deltas down to the revision `oldest` build on, directly or in turn."""
    bases: set[Key] = set()
    # Newest first: a delta that is a base itself is met after the entry that builds on it.
    for block_id, revision in sorted(found, reverse=True):
        is_wanted = revision >= oldest or (block_id, revision) in bases
        if is_wanted and is_delta(found[block_id, revision].encoding):
            bases.add((block_id, revision - 1))
    return bases


def _hidden_bases(window: Window, missing: set[Key]) -> Entries:
    """Return entries of all stores, hidden or not, down to the full entries that the `missing` ones build on."""
    found: Entries = {}
    for block_id, keys in groupby(sorted(missing), key=itemgetter(0)):
        revisions = [revision for _, revision in keys]
        before, count = revisions[-1] + 1, revisions[-1] - revisions[0] + MAX_CHAIN
        found |= _from_every_store(Window(window.database, window.student_id, [block_id], before, count))
    return found


def _from_every_store(window: Window) -> Entries:
    # The outbox even without an extended history: its rows may have outlived the settings that they were written under.
    found = window.read(HistoryOutbox, window.database) | window.read(StudentModuleHistory, window.database)
    if not conf.has_extended_history():
        return found
    try:
        return found | read_extended(window)
    except HistoryUnreadable:
        current.count(names.UNAVAILABLE, 1, "history")
        raise


def decode(entries: Sequence[BaseStudentModuleHistory]) -> None:
    """Set the text of each of these entries of one row, by rising revision. A damaged entry raises when it is read."""
    for entry, (_, text) in zip(entries, decode_all(map(stored, entries)), strict=True):
        entry.state = text
