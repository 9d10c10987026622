"""Stores built rows with their history, in the caller's transaction, and decides what happens to rows that exist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import chain
from typing import NamedTuple

from django.db import transaction

from xblock_user_state import conf
from xblock_user_state.history.encoding import checksum
from xblock_user_state.history.entries import (
    TOMBSTONE,
    Owner,
    all_rows,
    delete_local_entries,
    delete_rows,
    extended_model,
    leave_tombstones,
    lockable,
    take_write_lock,
)
from xblock_user_state.history.models import HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox import shipping
from xblock_user_state.maintenance.paging import PAGE, rows_of
from xblock_user_state.openedx.importing.building import ENTRY_COLUMNS, ROW_COLUMNS, Built, Content, OldState
from xblock_user_state.openedx.importing.loading import load
from xblock_user_state.openedx.importing.models import ImportedModule
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import MODULES
from xblock_user_state.store.dialects.rows import Values
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces

IMPORTED_COLUMNS = ("id", "student_id", "block_id", "revision", "checksum")
_STORED = (
    *("student_id", "block_id", "revision", "history_checksum", "state", "grade", "max_grade"),
    *("done", "created", "modified"),
)
_TIES = timedelta(seconds=1)
_MOST_ROWS = 4000
_MOST_BYTES = 8_000_000


class Stored(NamedTuple):
    """A row of ours."""

    revision: int
    checksum: int | None
    content: Content
    done: str
    created: datetime
    modified: datetime


class Left(NamedTuple):
    """A row of ours as the import left it."""

    revision: int
    checksum: int | None


def is_as_left(revision: int, content: Content, left: Iterable[Left]) -> bool:
    """Tell whether a row of ours is as the import left it, for any of its old ids."""
    return any(each.revision == revision and each.checksum in (None, checksum_of(content)) for each in left)


def checksum_of(content: Content) -> int:
    """Return the checksum of a row's state and score, for `ImportedModule`."""
    return checksum(0, "\n".join(map(repr, content)))


class Known(NamedTuple):
    """Everything that this store knows of some owners: their rows, and the old ids and contents of imported ones."""

    rows: Mapping[Owner, Stored]
    imported: Mapping[Owner, Mapping[int, Left]]

    def as_left(self, owner: Owner, old_ids: Collection[int]) -> Stored | None:
        """Return the row of an owner if it is as the import left it, from old rows with just these ids."""
        stored, left = self.rows.get(owner), self.imported.get(owner, {})
        if stored is None or left.keys() != set(old_ids):
            return None
        return stored if is_as_left(stored.revision, stored.content, left.values()) else None


def is_unchanged(stored: Stored, old: OldState, entries: int) -> bool:
    """Tell whether an old row with so many history entries would be stored as it is.

    A row with copies of entries, or with an entry that was made from the row, never passes: its revision is another.
    """
    return (
        (stored.content, stored.done, stored.created) == (old.content, old.done, old.created)
        and stored.revision == max(entries, 1)
        # Ties of entries were moved apart by microseconds.
        and timedelta(0) <= stored.modified - old.modified < _TIES
    )


class Step(Enum):
    """The fate of a built row."""

    INSERT = "there is no row"
    APPEND = "the stored history is the beginning of the new one"
    REPLACE = "the row is as the import left it, and has changed in the old tables"
    ADOPT = "the row is the same; only its old id is new"
    KEEP = "the row is the same, or is left alone"


def known(database: str, owners: Iterable[Owner], *, lock: bool) -> Known:
    """Read the rows of these owners and lock them. Two statements if there are none, two more for 200 owners."""
    wanted = sorted(set(owners))
    learners = {owner.student_id for owner in wanted}
    if lock:
        take_write_lock(database)
    found = _with_rows(database, StudentModule, learners) | _with_rows(database, ImportedModule, learners)
    rows: dict[Owner, Stored] = {}
    imported: dict[Owner, dict[int, Left]] = defaultdict(dict)
    for some in pieces(database, [owner for owner in wanted if owner.student_id in found], PAGE):
        stored = all_rows(StudentModule, database).filter(rows_of(some)).order_by("student_id", "block_id")
        parts = (stored.filter(which).select_for_update() for which in lockable(stored)) if lock else [stored]
        for row in chain.from_iterable(part.values_list(*_STORED) for part in parts):
            owner, (revision, checksum), content = Owner(*row[:2]), row[2:4], row[4:7]
            rows[owner] = Stored(revision, checksum, content, *row[7:])
        old = all_rows(ImportedModule, database).filter(rows_of(some))
        for id_, student_id, block_id, *left in old.values_list(*IMPORTED_COLUMNS):
            imported[Owner(student_id, block_id)][id_] = Left(*left)
    return Known(rows, imported)


def _with_rows(database: str, model: type[StudentModule | ImportedModule], learners: Collection[int]) -> set[int]:
    rows = all_rows(model, database)
    return {
        id_
        for ids in pieces(database, sorted(learners), 1000)
        for id_ in rows.filter(student_id__in=ids).values_list("student_id", flat=True).distinct().order_by()
    }


def decide(built: Built, known: Known, lines: list[Line], *, source_wins: bool) -> Step:
    """Return the fate of a built row, and report a row of ours that is left alone."""
    owner = built.source.owner
    stored, imported = known.rows.get(owner), known.imported.get(owner, {})
    if stored is None:
        return Step.INSERT if source_wins or not imported else _keep(built, lines, Reason.OURS_CHANGED, "deleted")
    is_same = stored.content == _content(built)
    as_left = is_as_left(stored.revision, stored.content, imported.values())
    if not as_left and not source_wins:
        if not is_same or (not imported and stored.revision < built.row.revision):
            reason = Reason.OURS_CHANGED if imported else Reason.OURS_EXISTS
            return _keep(built, lines, reason, f"revision {stored.revision}")
        return Step.ADOPT
    rest = built.done, built.row.created, built.row.modified
    if is_same and (stored.done, stored.created, stored.modified) == rest:
        is_complete = stored.revision == built.row.revision or not built.entries
        if is_complete and as_left:
            return Step.KEEP if set(imported) == {module.id for module in built.source.modules} else Step.ADOPT
    return Step.APPEND if continues(built, stored) else Step.REPLACE


def _keep(built: Built, lines: list[Line], reason: Reason, detail: str) -> Step:
    where = f"{built.source.block.usage_key}, learner {built.source.student_id}: {detail}"
    lines += [Line(MODULES, module.id, reason, where) for module in built.source.modules]
    return Step.KEEP


def _content(built: Built) -> Content:
    return built.row.text, built.row.grade, built.row.max_grade


def continues(built: Built, stored: Stored) -> bool:
    """Tell whether the built history has the stored row at its revision, and goes on."""
    if stored.checksum is None or not 0 < stored.revision < built.row.revision:
        return False
    text, *score = built.before_restart or (None, None, None)
    return text is not None and (checksum(stored.revision, text), *score) == (stored.checksum, *stored.content[1:])


@dataclass
class Storing:
    """Collects built rows and writes them in pages. Use it inside one transaction of the state's `database`.

    New history goes where the site writes history: to the default history, or to the extended history. There it is
    written directly and committed before the state is, because a detour of all entries over the outbox would double
    the work; entries of a transaction that failed are replaced by the next attempt. Entries of rows that exist take
    the outbox, as every change does.
    """

    database: str
    inserted: list[Values] = field(default_factory=list)
    imported: list[Values] = field(default_factory=list)
    local: list[Values] = field(default_factory=list)
    extended: list[Values] = field(default_factory=list)
    rows: int = 0
    entries: int = 0
    waiting: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    _forgotten: list[int] = field(default_factory=list)
    _cleared: list[Owner] = field(default_factory=list)
    _replaced: list[Owner] = field(default_factory=list)
    _size: int = 0
    _is_extended: bool = field(default_factory=conf.writes_extended_history)
    _tombstoned: set[Owner] = field(default_factory=set)

    def begin(self, learners: Collection[int]) -> None:
        """Look which owners among new rows of these learners have a tombstone: their entries take the outbox."""
        if self._is_extended:
            found = all_rows(HistoryOutbox, self.database).filter(student_id__in=list(learners), revision=TOMBSTONE)
            self._tombstoned = {Owner(*each) for each in found.values_list("student_id", "block_id")}

    def add(self, built: Built, step: Step, stored: Stored | None, old_ids: Collection[int]) -> None:
        """Store a row that `decide` has given this step; `old_ids` are those known so far."""
        if step is Step.KEEP:
            return
        owner = built.source.owner
        self._forgotten += old_ids
        if step is Step.ADOPT and stored is not None:
            self._remember(built, stored.revision)
            return
        skipped = 0
        if stored is not None:
            self._replaced.append(owner)
            if step is Step.APPEND:
                skipped = stored.revision - built.start.revision
            else:
                self._cleared.append(owner)
                if not built.entries:
                    # Without history the revision only grows, so that a client with the old one notices.
                    built = built._replace(row=built.row._replace(revision=stored.revision + 1))
        self.inserted.append(built.values)
        self._remember(built, built.row.revision)
        self.rows += 1
        self._size += len(built.row.text or "")
        self._add_entries(owner, built.entries.pages(skipped), is_new=stored is None)

    def _add_entries(self, owner: Owner, pages: Iterable[Sequence[Values]], *, is_new: bool) -> None:
        is_direct = self._is_extended and is_new and owner not in self._tombstoned
        collected = self.extended if is_direct else self.local
        for page in pages:
            collected += page
            self.entries += len(page)
            self._size += sum(len(entry[-1] or b"") for entry in page)
            if self._is_extended and not is_direct:
                self.waiting[owner.student_id].add(owner.block_id)
            self._flush_if_full()
        self._flush_if_full()

    def _flush_if_full(self) -> None:
        if len(self.inserted) + len(self.local) + len(self.extended) > _MOST_ROWS or self._size > _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were collected."""
        for ids in pieces(self.database, self._forgotten, 1000):
            delete_rows(all_rows(ImportedModule, self.database).filter(id__in=ids))
        for owners in pieces(self.database, self._cleared, PAGE):
            delete_local_entries(self.database, rows_of(owners))
            if conf.has_extended_history():
                leave_tombstones(self.database, owners)
        # A row that is deleted and inserted again in one transaction is changed, for everyone else.
        for owners in pieces(self.database, self._replaced, PAGE):
            delete_rows(all_rows(StudentModule, self.database).filter(rows_of(owners)))
        load(self.database, StudentModule, ROW_COLUMNS, self.inserted)
        if self.extended:
            # With the new rows locked: a client that made one first has history there that is not ours to replace.
            self._write_extended()
        load(self.database, ImportedModule, IMPORTED_COLUMNS, self.imported)
        local = HistoryOutbox if self._is_extended else StudentModuleHistory
        load(self.database, local, ENTRY_COLUMNS, self.local)
        for each in (self.inserted, self.imported, self.local, self.extended):
            each.clear()
        for owners in (self._cleared, self._replaced):
            owners.clear()
        self._forgotten.clear()
        self._size = 0

    def ship(self) -> None:
        """Ship the entries that took the outbox, after the commit, unless the relay does."""
        if conf.ships_at_once():
            for student_id, blocks in self.waiting.items():
                shipping.ship_after_commit(self.database, student_id, blocks)

    def _remember(self, built: Built, revision: int) -> None:
        source, content = built.source, checksum_of(_content(built))
        self.imported += [
            (module.id, source.student_id, source.block.id, revision, content) for module in source.modules
        ]

    def _write_extended(self) -> None:
        alias, model = conf.history_database(), extended_model()
        blocks: dict[int, set[int]] = defaultdict(set)
        for student_id, block_id, revision, *_ in self.extended:
            # A long history comes in several pages.
            if revision == 1:
                blocks[student_id].add(block_id)
        with transaction.atomic(using=alias):
            # Left by an attempt whose state was not committed.
            for student_id, ids in blocks.items():
                for some in pieces(alias, sorted(ids), 1000):
                    delete_rows(all_rows(model, alias).filter(student_id=student_id, block_id__in=some))
            load(alias, model, ENTRY_COLUMNS, self.extended)
