"""Reads the history of one learner, newest first, decoded.

From top to bottom: this module cuts a history into pages and decodes them, `merging` merges a page over the stores,
`window` and `extended_store` send the statements. Behind the oldest entry of the stores, `archived` has the early ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from xblock_user_state import conf
from xblock_user_state.history.encoding import decode_all, decode_alone, is_delta
from xblock_user_state.history.entries import COLUMNS, EntryRow, Owner
from xblock_user_state.history.extended_store import HistoryUnreadable, read_extended
from xblock_user_state.history.merging import merged
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory, stored
from xblock_user_state.history.watermarks import NO_WATERMARK, Watermark, watermarks_in
from xblock_user_state.history.window import Entries, Key, Window
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.metrics import current, names
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces

PAGE = 128
"""Entries that are read and decoded at a time. It bounds a reader's memory, however long the history is."""


class DecodedRow(NamedTuple):
    """A history entry and the text of its state, or the error that stands for the text."""

    row: EntryRow
    text: str | DamagedHistory | None


@dataclass(frozen=True)
class BlockHistory:
    """The history of one learner in one block."""

    database: str
    student_id: Any
    block_id: int

    def newest_first(
        self, limit: int | None = None, before_revision: int | None = None
    ) -> Iterator[BaseStudentModuleHistory]:
        """Yield the entries that the flags show, as instances of the stores' models."""
        for decoded in self.rows(limit, before_revision):
            yield _instance(self.database, decoded)

    def rows(self, limit: int | None = None, before_revision: int | None = None) -> Iterator[DecodedRow]:
        """Yield the entries that the flags show, newest first. One statement for each store and 128 entries.

        With an archive, one statement more and the early entries, if there are any.
        """
        left, before = limit, before_revision
        while left is None or left > 0:
            count = PAGE if left is None else min(PAGE, left)
            is_exact = limit is not None
            window = Window(self.database, self.student_id, [self.block_id], before, count, is_exact)
            page = _decoded(window, merged(window), count)
            yield from page
            before = page[-1].row.revision if page else before
            left = None if left is None else left - len(page)
            if len(page) < count:
                yield from islice(self._early(before), left)
                return

    def _early(self, before: int | None) -> Iterator[DecodedRow]:
        """Yield the entries of the archive before a revision, the oldest one of the stores."""
        # Without a revision the stores have no entry at all.
        if before is None or before <= 1 or conf.history_archive() is None:
            return iter(())
        mark = watermarks_in(self.database, self.student_id, [self.block_id]).get(self.block_id, NO_WATERMARK)
        return early_rows(Owner(self.student_id, self.block_id), mark, before)


def early_rows(owner: Owner, mark: Watermark, before: int) -> Iterator[DecodedRow]:
    """Return the entries of the archive before a revision, newest first. Raises `ArchiveUnreadable`, at once."""
    newest = min(before - 1, mark.newest_archived)
    if newest < 1:
        return iter(())
    # Late: few histories have early entries in an archive.
    from xblock_user_state.history.archived.lookup import early_entries  # noqa: PLC0415

    return (DecodedRow(row, decode_alone(stored(row))) for row in early_entries(owner, newest))


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
            found = [_instance(database, decoded) for decoded in _decoded(window, merged(window))]
            of_blocks = {block_id: [*history] for block_id, history in groupby(found, key=attrgetter("block_id"))}
            histories += _with_early(database, student_id, of_blocks)
    # A merge keeps the order of each history. A sort would not, where two times are the same or disagree.
    return list(merge(*histories, key=attrgetter("created"), reverse=True))


def _with_early(
    database: str, student_id: Any, histories: Mapping[int, list[BaseStudentModuleHistory]]
) -> Collection[list[BaseStudentModuleHistory]]:
    """Add the early entries in the archive to the histories of a learner by block. One statement, if any begin late."""
    late = {block_id: history[-1].revision for block_id, history in histories.items() if history[-1].revision > 1}
    if late and conf.history_archive() is not None:
        for block_id, mark in watermarks_in(database, student_id, late).items():
            early = early_rows(Owner(student_id, block_id), mark, late[block_id])
            histories[block_id].extend(_instance(database, decoded) for decoded in early)
    return histories.values()


def _instance(database: str, decoded: DecodedRow) -> BaseStudentModuleHistory:
    values, store = decoded.row[: len(COLUMNS)], decoded.row.store
    alias = database if store in (HistoryOutbox, StudentModuleHistory) else conf.history_database()
    instance: BaseStudentModuleHistory = store.from_db(alias, COLUMNS, values)
    instance.state = decoded.text
    instance.is_archived = decoded.row.is_archived
    return instance


def _decoded(window: Window, rows: Sequence[EntryRow], count: int | None = None) -> list[DecodedRow]:
    """Return the first `count` of the rows, decoded; fetch missing bases from the stores that the flags hide.

    The rows come newest first; those after the first `count` are bases.
    """
    if count is not None:
        rows = _with_bases(rows, count)
    decoded = [*_with_texts(rows)][:count]
    if any(isinstance(each.text, DamagedHistory) for each in decoded):
        found = {(row.block_id, row.revision): row for row in rows}
        missing = _bases(rows, len(decoded)) - found.keys()
        if missing:
            bases = {**_hidden_bases(window, missing), **found}
            chains = [bases[key] for key in sorted(bases, reverse=True)]
            decoded = [each for each in _with_texts(chains) if (each.row.block_id, each.row.revision) in found][:count]
    return decoded


def _with_texts(rows: Sequence[EntryRow]) -> Iterator[DecodedRow]:
    """Yield rows with their texts. They come newest first: by falling block and revision."""
    for _, of_block in groupby(rows, key=attrgetter("block_id")):
        chain = [*of_block]
        texts = [text for _, text in decode_all(reversed(chain))]
        yield from map(DecodedRow, chain, reversed(texts))


def _with_bases(rows: Sequence[EntryRow], count: int) -> Sequence[EntryRow]:
    """Return the first `count` rows of one block and the rows that they build on, down to a full entry."""
    end = min(count, len(rows))
    while end < len(rows) and is_delta(rows[end - 1].encoding):
        end += 1
    return rows[:end]


def _bases(rows: Sequence[EntryRow], count: int) -> set[Key]:
    """Return the keys of the entries that the deltas among the first `count` rows build on, directly or in turn."""
    bases: set[Key] = set()
    # Newest first: a delta that is a base itself is met after the entry that builds on it.
    for number, row in enumerate(rows):
        is_wanted = number < count or (row.block_id, row.revision) in bases
        if is_wanted and is_delta(row.encoding):
            bases.add((row.block_id, row.revision - 1))
    return bases


def _hidden_bases(window: Window, missing: set[Key]) -> Entries:
    """Return entries of all stores, hidden or not, down to the full entries that the `missing` ones build on."""
    found: dict[Key, EntryRow] = {}
    for block_id, keys in groupby(sorted(missing), key=itemgetter(0)):
        revisions = [revision for _, revision in keys]
        before, count = revisions[-1] + 1, revisions[-1] - revisions[0] + 1
        found |= _from_every_store(Window(window.database, window.student_id, [block_id], before, count))
    return found


def _from_every_store(window: Window) -> Entries:
    # The outbox even without an extended history: its rows may have outlived the settings that they were written under.
    found = {**window.read(HistoryOutbox, window.database), **window.read(StudentModuleHistory, window.database)}
    if not conf.has_extended_history():
        return found
    try:
        return {**found, **read_extended(window)}
    except HistoryUnreadable:
        current.count(names.UNAVAILABLE, 1, "history")
        raise


def decode(entries: Sequence[BaseStudentModuleHistory]) -> None:
    """Set the text of each of these entries of one row, by rising revision. A damaged entry raises when it is read."""
    for entry, (_, text) in zip(entries, decode_all(map(stored, entries)), strict=True):
        entry.state = text
