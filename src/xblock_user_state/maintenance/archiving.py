"""Moves early history entries to the archive, or drops them, for `archive_history`, while the site runs.

An entry is in the tables, or in a sealed and verified file of the archive, or in both; never in neither:

1. **Read.** For each learner a transaction locks the state rows, reads the entries, and writes watermarks: "the archive
   may have these". From now on a deletion for good leaves tombstones there, so that it reaches the file.
2. **Seal.** The file is written, read again and compared. Then the manifest names it.
3. **Remove.** For each learner a transaction locks the state rows and the entries, compares them with those that were
   read, raises the watermarks, and deletes the entries. In the extended history they go after that commit.

A process that is killed in between leaves entries in both places. Readers find each once, and the next run archives
them again, into a newer file, whose entries count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet

from xblock_user_state import conf
from xblock_user_state.history.archived.lookup import archived_id
from xblock_user_state.history.archived.manifest import read_manifest, replace
from xblock_user_state.history.archived.parts import Archived, write_part
from xblock_user_state.history.archived.places import Place
from xblock_user_state.history.encoding import PACK, encode_compact, is_delta
from xblock_user_state.history.entries import (
    KEY,
    EntryRow,
    Owner,
    all_rows,
    delete_rows,
    extended_model,
    lasting_stores,
    take_write_lock,
)
from xblock_user_state.history.models import HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.rows import entry_rows
from xblock_user_state.history.watermarks import NO_WATERMARK, Watermark, watermarks_in, write_watermarks
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.cutting import CutHistory, Rows, Store, UnclearHistory, cut, digest_of
from xblock_user_state.maintenance.history_database import history_answers, reach
from xblock_user_state.maintenance.naming import BlockName, BlockNames
from xblock_user_state.maintenance.numbers import Numbers, Step
from xblock_user_state.maintenance.paging import count_rows, filled_pages, rows_of
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated, repeat

FILE_ENTRIES = 200_000
"""Entries at which a file ends, after the learner who reaches them. They are in memory together."""

FILE_CHARACTERS = 256_000_000
"""Characters of their texts at which a file ends."""


@dataclass
class Done(Numbers):
    """Numbers of a step or of a pass: ``entries`` left the tables, for ``files`` of so many ``bytes``.

    ``left`` counts the rows whose old entries stay: they are damaged, missing in between, there twice, on their way to
    the extended history or partly there, or were changed meanwhile.
    """

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Cut:
    """Early entries of a learner in a block, as they were read."""

    owner: Owner
    first_kept: int
    text: str | None
    """The state at the revision `first_kept`."""
    count: int
    archived: Sequence[Archived]
    """The entries for the archive; none if they are to be dropped."""
    digests: Mapping[Store, bytes]
    """A digest of the rows up to `first_kept` in each store."""

    @property
    def characters(self) -> int:
        """The size of the texts for the archive."""
        return sum(len(entry.state or "") for entry in self.archived)


@dataclass(frozen=True)
class Archiving:
    """One pass over the history of the rows in the state's `database`: all, of one learner, or of some blocks (sorted).

    Moves entries that were created before `older_than` to the archive at `place`; without a place it drops them.
    """

    database: str
    older_than: datetime
    place: Place | None
    student_id: Any = None
    block_ids: Sequence[int] | None = None
    dry_run: bool = False

    def steps(self, after: Owner | None = None) -> Iterator[Step[Done]]:
        """Move the entries of page after page, from the row that follows `after`. Yields after each transaction.

        Raises `ArchiveError`, `HistoryUnavailable`, `ServiceUnavailable`, ``OSError`` or a database error. Files that
        the manifest names stay, and so does each learner's cut.
        """
        cuts: list[Cut] = []
        entries = characters = 0
        for owners in filled_pages(self.database, self.student_id, self.block_ids, after):
            candidates = self._candidates(owners)
            for student_id, group in groupby(owners, key=attrgetter("student_id")):
                of_learner = [*group]
                wanted = [owner.block_id for owner in of_learner if owner in candidates]
                if wanted:
                    found, left = self._read(student_id, wanted)
                    cuts += found
                    entries += sum(each.count for each in found)
                    characters += sum(each.characters for each in found)
                    yield Step(Done(left=left))
                # Without a file there is nothing to collect.
                if cuts and (self.place is None or entries >= FILE_ENTRIES or characters >= FILE_CHARACTERS):
                    yield from self._finish(cuts)
                    cuts, entries, characters = [], 0, 0
                    yield Step(Done(), of_learner[-1])
            yield Step(Done(rows=len(owners)), None if cuts else owners[-1])
        yield from self._finish(cuts)

    def count(self) -> int:
        """Return the number of state rows of the pass. One statement, which reads a whole index."""
        return count_rows(self.database, self.student_id, self.block_ids)

    def _candidates(self, owners: Sequence[Owner]) -> set[Owner]:
        """Return the owners with several old entries. One statement for each store; it reads no bodies."""
        rows: Counter[Owner] = Counter()
        for model, alias in lasting_stores(self.database):
            old = all_rows(model, alias).filter(rows_of(owners), created__lt=self.older_than)
            counted = old.values("student_id", "block_id").annotate(rows=Count("revision"), highest=Max("encoding"))
            with errors_translated(alias):
                for student_id, block_id, count, highest in counted.values_list(*Owner._fields, "rows", "highest"):
                    # A pack is one row, and has several entries.
                    rows[Owner(student_id, block_id)] += count + (highest == PACK)
        return {owner for owner, count in rows.items() if count > 1}

    def _read(self, student_id: Any, block_ids: Sequence[int]) -> tuple[list[Cut], int]:
        """Return the cuts of a learner in some blocks, and the number of blocks whose old entries stay."""
        if conf.has_extended_history():
            reach()
        with errors_translated(self.database):
            return repeat(self.database, partial(self._attempt_read, student_id, block_ids))

    def _attempt_read(self, student_id: Any, block_ids: Sequence[int]) -> tuple[list[Cut], int]:
        marks = _lock_states(self.database, student_id, block_ids)
        outbox = all_rows(HistoryOutbox, self.database).filter(student_id=student_id, block_id__in=block_ids)
        waiting = set(outbox.values_list("block_id", flat=True))
        wanted = [block_id for block_id in marks if block_id not in waiting]
        stores = dict(self._rows_of_stores(student_id, wanted)) if wanted else {}
        names = self._names.of(wanted) if wanted else {}
        cuts: list[Cut] = []
        left = len(waiting)
        for block_id in wanted:
            rows = {model: found.get(block_id, []) for model, found in stores.items()}
            try:
                found = cut(rows, self.older_than, keeps_early=self.place is not None)
            except UnclearHistory:
                left += 1
            else:
                if found and _is_in_one_store(rows, found):
                    cuts.append(self._described(Owner(student_id, block_id), rows, found, names[block_id]))
                elif found:
                    left += 1
        if cuts and self.place and not self.dry_run:
            announced = {
                each.owner: marks[each.owner.block_id].announced(each.archived[0].revision, each.first_kept - 1)
                for each in cuts
            }
            write_watermarks(self.database, announced)
        return cuts, left

    def _rows_of_stores(
        self, student_id: Any, block_ids: Sequence[int]
    ) -> Iterator[tuple[Store, dict[int, list[EntryRow]]]]:
        for model, alias in lasting_stores(self.database):
            rows = all_rows(model, alias).filter(student_id=student_id, block_id__in=block_ids).order_by(*KEY)
            if alias == self.database:
                yield model, _by_block(rows)
            else:
                with history_answers():
                    found = _by_block(rows)
                yield model, found

    def _described(
        self, owner: Owner, rows: Mapping[Store, Sequence[EntryRow]], found: CutHistory, name: BlockName
    ) -> Cut:
        first_kept = found.first.revision
        text = found.first.text
        entries = [_archived(each.copies[0], each.text, name) for each in found.early] if self.place else []
        digests = {model: digest_of(row for row in some if row.revision <= first_kept) for model, some in rows.items()}
        kept = None if isinstance(text, DamagedHistory) else text
        return Cut(owner, first_kept, kept, len(found.early), entries, digests)

    def _finish(self, cuts: Sequence[Cut]) -> Iterator[Step[Done]]:
        """Seal a file of these entries, and remove them from the tables."""
        if self.dry_run:
            yield Step(Done(entries=sum(each.count for each in cuts)))
            return
        if cuts and self.place:
            before = read_manifest(self.place)
            part = write_part(self.place, [entry for each in cuts for entry in each.archived], before.next_number)
            replace(self.place, before, [*before.parts, part])
            yield Step(Done(files=1, bytes=part.bytes))
        for student_id, group in groupby(cuts, key=lambda each: each.owner.student_id):
            of_learner = {each.owner.block_id: each for each in group}
            removed = self._remove(student_id, of_learner)
            yield Step(Done(entries=sum(each.count for each in removed), left=len(of_learner) - len(removed)))

    def _remove(self, student_id: Any, cuts: Mapping[int, Cut]) -> Sequence[Cut]:
        """Remove the entries of a learner; return the cuts that were made."""
        with errors_translated(self.database):
            removed = repeat(self.database, partial(self._attempt_remove, student_id, cuts))
            if conf.has_extended_history() and removed:
                reach()
                repeat(self.database, partial(self._attempt_remove_extended, student_id, removed))
        return [*removed.values()]

    def _attempt_remove(self, student_id: Any, cuts: Mapping[int, Cut]) -> dict[int, Cut]:
        marks = _lock_states(self.database, student_id, [*cuts])
        same = _remove_same(StudentModuleHistory, self.database, student_id, _among(cuts, marks))
        if same:
            raised = {
                each.owner: marks[block_id].raised(each.first_kept, is_archived=bool(each.archived))
                for block_id, each in same.items()
            }
            write_watermarks(self.database, raised)
        return same

    def _attempt_remove_extended(self, student_id: Any, cuts: Mapping[int, Cut]) -> None:
        marks = _lock_states(self.database, student_id, [*cuts])
        alias = conf.history_database()
        with history_answers(), transaction.atomic(using=alias):
            _remove_same(extended_model(), alias, student_id, _among(cuts, marks))

    @cached_property
    def _names(self) -> BlockNames:
        return BlockNames(self.database)


def _lock_states(database: str, student_id: Any, block_ids: Sequence[int]) -> dict[int, Watermark]:
    """Lock the state rows of a learner; return their watermarks by block, without tombstones.

    A deletion for good locks them too: it has left its tombstones, or waits and will find the watermarks.
    """
    take_write_lock(database, which=Q(student_id=student_id))
    rows = all_rows(StudentModule, database).filter(student_id=student_id, block_id__in=block_ids)
    # In the order of the primary key, as writers do.
    locked = list(rows.order_by("block_id").select_for_update().values_list("block_id", flat=True))
    found = watermarks_in(database, student_id, locked)
    marks = {block_id: found.get(block_id, NO_WATERMARK) for block_id in locked}
    return {block_id: mark for block_id, mark in marks.items() if not mark.is_tombstone}


def _is_in_one_store(rows: Rows, found: CutHistory) -> bool:
    """Tell whether one store has all rows up to the first kept one.

    Two databases share no transaction. An end between the two would leave entries in one whose bases were in the other.
    """
    return sum(any(row.revision <= found.first.revision for row in some) for some in rows.values()) == 1


def _by_block(rows: QuerySet[Any]) -> dict[int, list[EntryRow]]:
    return {block_id: [*group] for block_id, group in groupby(entry_rows(rows), key=attrgetter("block_id"))}


def _archived(entry: EntryRow, text: str | DamagedHistory | None, name: BlockName) -> Archived:
    return Archived(
        student_id=archived_id(entry.student_id),
        block_id=entry.block_id,
        context_key=name.context_key,
        usage_key=name.usage_key,
        revision=entry.revision,
        created=entry.created,
        # `cut` has refused damaged entries.
        state=None if isinstance(text, DamagedHistory) else text,
        grade=entry.grade,
        max_grade=entry.max_grade,
        version=entry.version,
        actor_id=None if entry.actor_id is None else archived_id(entry.actor_id),
    )


def _among(cuts: Mapping[int, Cut], marks: Mapping[int, Watermark]) -> dict[int, Cut]:
    return {block_id: each for block_id, each in cuts.items() if block_id in marks}


def _remove_same(model: Store, alias: str, student_id: Any, cuts: Mapping[int, Cut]) -> dict[int, Cut]:
    """Remove the early rows that a store has, where they are as they were read; return the cuts that were made."""
    if not cuts:
        return {}
    rows = all_rows(model, alias).filter(student_id=student_id)
    highest = max(each.first_kept for each in cuts.values())
    early = rows.filter(block_id__in=[*cuts], revision__lte=highest).order_by(*KEY).select_for_update()
    found = _by_block(early)
    same: dict[int, Cut] = {}
    for block_id, each in cuts.items():
        of_block = [row for row in found.get(block_id, []) if row.revision <= each.first_kept]
        if digest_of(of_block) != each.digests[model]:
            continue
        same[block_id] = each
        if of_block:
            _remove_rows(rows.filter(block_id=block_id), of_block[-1], each)
    return same


def _remove_rows(rows: QuerySet[Any], newest: EntryRow, each: Cut) -> None:
    """Delete the early rows of a block, and make the first kept one a full entry. `newest` is the newest of both."""
    if newest.revision == each.first_kept and (is_delta(newest.encoding) or newest.encoding == PACK):
        encoding, body = encode_compact(each.text, None)
        rows.filter(revision=each.first_kept).update(encoding=encoding, body=body)
    delete_rows(rows.filter(revision__lt=each.first_kept))
