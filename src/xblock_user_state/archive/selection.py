"""Reads the history of many learners for `export_history`: decoded, and merged from all stores that readers see.

Pages over the state rows by key, and reads the entries of a page together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from xblock_user_state import conf
from xblock_user_state.archive.lines import OwnerLines
from xblock_user_state.history.encoding import Decoded, decode, is_delta
from xblock_user_state.history.entries import EntryRow, Key, Owner, shown_models
from xblock_user_state.history.models import BaseStudentModuleHistory, stored
from xblock_user_state.history.outbox.collisions import is_same_entry
from xblock_user_state.history.reading import BlockHistory, early_rows
from xblock_user_state.history.watermarks import NO_WATERMARK, Watermark, watermarks_of
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import BlockNames
from xblock_user_state.maintenance.paging import filled_pages, rows_between, rows_of
from xblock_user_state.maintenance.windows import entries_by_key
from xblock_user_state.state import codec
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.users import Usernames

WINDOW = 2_000
"""Entries of each store that are read at a time."""

LONG = 1_000
"""Entries of one history that are in memory at a time, as they are stored. A longer one is read in pages of its own."""


class Exported(NamedTuple):
    """An entry as a line of the export."""

    key: Key
    line: str
    is_damaged: bool


class DecodedEntry(NamedTuple):
    """An entry and its text, or the error that stands for the text."""

    entry: EntryRow
    text: str | DamagedHistory | None
    is_checked: bool = False
    """Tell whether the text is known to be a state."""


@dataclass(frozen=True)
class Selection:
    """A selection of entries in the state's `database`: all, or limited to a learner, blocks and a time range.

    `block_ids` is sorted. `since` belongs to the range, `until` does not.

    With a `replica`, an alias, pages are read there. Histories of more than 1,000 entries, and those in which entries
    seem to be missing, come from `database`: the history database may be ahead of the replica.
    """

    database: str
    student_id: Any = None
    block_ids: Sequence[int] | None = None
    since: datetime | None = None
    until: datetime | None = None
    replica: str | None = None

    def entries(self, after: Key | None = None) -> Iterator[Exported]:
        """Yield the entries, from the entry that follows `after`. Entries of an owner come together, newest first.

        Raises `UserStateError` or a database error.
        """
        usernames, blocks = Usernames(), BlockNames(self._source)
        begun = None if after is None else after.owner
        # The owner at which the export was interrupted; its newer entries are in complete parts.
        if begun is not None and after is not None:
            yield from self._of_page([begun], usernames, blocks, before_revision=after.revision)
        for page in filled_pages(self._source, self.student_id, self.block_ids, begun):
            yield from self._of_page(page, usernames, blocks)

    @property
    def _source(self) -> str:
        return self.replica or self.database

    def _of_page(
        self, owners: Sequence[Owner], usernames: Usernames, blocks: BlockNames, before_revision: int | None = None
    ) -> Iterator[Exported]:
        learners = usernames.of({owner.student_id for owner in owners})
        names = blocks.of({owner.block_id for owner in owners})
        marks = self._watermarks(owners)
        for owner, history in self._histories(owners):
            lines = OwnerLines(learners.get(owner.student_id), names[owner.block_id])
            wanted = self._in_range(_with_early(owner, history, marks.get(owner, NO_WATERMARK)), before_revision)
            # Names of actors are looked up for a page of entries, not for each.
            while some := list(islice(wanted, LONG)):
                actors = usernames.of({read.entry.actor_id for read in some if read.entry.actor_id is not None})
                for entry, text, is_checked in some:
                    line, is_damaged = lines.line(entry, text, actors.get(entry.actor_id), is_checked=is_checked)
                    yield Exported(Key(*owner, entry.revision), line, is_damaged)

    def _watermarks(self, owners: Sequence[Owner]) -> Mapping[Owner, Watermark]:
        """Return the watermarks of a page, by one statement; none on a site without an archive."""
        if conf.history_archive() is None:
            return {}
        with errors_translated(self.database):
            return watermarks_of(self.database, rows_of(owners))

    def _histories(self, owners: Sequence[Owner]) -> Iterator[tuple[Owner, Iterator[DecodedEntry]]]:
        """Yield the owners that have entries, each with its history, newest first."""
        known = set(owners)
        which = rows_of(owners) if self.block_ids is not None else rows_between(owners)
        for key, rows in groupby(entries_by_key(self._source, owners, WINDOW, which), itemgetter(0, 1)):
            history = list(islice(rows, LONG + 1))
            if key in known:
                yield Owner(*key), self._newest_first(Owner(*key), history)

    def _newest_first(self, owner: Owner, history: Sequence[EntryRow]) -> Iterator[DecodedEntry]:
        shown = shown_models()
        chosen = _one_of_each(history, shown)
        is_torn = self.replica is not None and _is_torn(chosen)
        # Of two lives, readers give the entries of one other revisions.
        if len(history) > LONG or is_torn or (len(chosen) < len(history) and _has_two_lives(history)):
            for row, text in BlockHistory(self.database, *owner).rows():
                yield DecodedEntry(row, text)
            return
        for chain in _chains_newest_first(chosen):
            yield from (each for each in reversed(decoded(chain)) if each.entry.store in shown)

    def _in_range(self, history: Iterator[DecodedEntry], before_revision: int | None) -> Iterator[DecodedEntry]:
        for read in history:
            created = read.entry.created
            # Times fall strictly with the revisions, so all further entries are too old.
            if self.since is not None and created < self.since:
                return
            is_new = before_revision is None or read.entry.revision < before_revision
            if is_new and (self.until is None or created < self.until):
                yield read


def _with_early(owner: Owner, history: Iterator[DecodedEntry], mark: Watermark) -> Iterator[DecodedEntry]:
    """Yield a history, newest first, and its early entries in the archive."""
    oldest = 0
    for each in history:
        oldest = each.entry.revision
        yield each
    for row, text in early_rows(owner, mark, oldest):
        yield DecodedEntry(row, text)


def _one_of_each(history: Sequence[EntryRow], shown: Collection[type[BaseStudentModuleHistory]]) -> list[EntryRow]:
    """Return an entry of each revision, in their order: of copies the first that readers are `shown`."""
    found: dict[int, EntryRow] = {}
    for entry in history:
        first = found.setdefault(entry.revision, entry)
        if first is not entry and first.store not in shown and entry.store in shown:
            found[entry.revision] = entry
    return list(found.values())


def _is_torn(history: Sequence[EntryRow]) -> bool:
    """Tell whether entries are missing between others, or are those of a life that was deleted for good."""
    return any(
        later.revision != earlier.revision + 1 or later.created < earlier.created
        for earlier, later in pairwise(history)
    )


def _has_two_lives(history: Sequence[EntryRow]) -> bool:
    """Tell whether two stores have different entries of one revision."""
    return any(one.revision == other.revision and not is_same_entry(one, other) for one, other in pairwise(history))


def _chains_newest_first(history: Sequence[EntryRow]) -> Iterator[Sequence[EntryRow]]:
    """Cut a history into chains: a full entry, and the deltas that build on it."""
    end = len(history)
    for start in range(end - 1, -1, -1):
        if start == 0 or not is_delta(history[start].encoding):
            yield history[start:end]
            end = start


def decoded(rows: Sequence[EntryRow]) -> list[DecodedEntry]:
    """Return the entries of one owner, decoded. They come by rising revision, each revision once."""
    found: list[DecodedEntry] = []
    before: Decoded = (0, None)
    is_checked = False
    for entry in rows:
        text = decode(stored(entry), before)
        before = entry.revision, text
        # A delta on a state is a state. Another text is checked: SQL may have written it, and a score recorded it.
        is_checked = isinstance(text, str) and ((is_checked and is_delta(entry.encoding)) or codec.is_state(text))
        found.append(DecodedEntry(entry, text, is_checked))
    return found
