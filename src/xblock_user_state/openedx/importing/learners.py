"""Imports learners: the unit of the import. All of a learner is written in one transaction, or nothing of it."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import Owner, leave_tombstones
from xblock_user_state.interface import BlockKeyCollision
from xblock_user_state.openedx.importing.building import Built, Source, build, sources_of, state_of
from xblock_user_state.openedx.importing.fields import FieldImport
from xblock_user_state.openedx.importing.removing import Removal
from xblock_user_state.openedx.importing.report import Report
from xblock_user_state.openedx.importing.storing import Known, Storing, decide, is_unchanged, known
from xblock_user_state.openedx.old.merging import in_order
from xblock_user_state.openedx.old.reading import OldSite, Selection
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import INFO, MODULES, PREFERENCES, Entry, Module, ModuleRow
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.blocks import register, registered
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.users import usernames

LONG_HISTORY = 1000
"""Entries with their states in memory at a time. A row with more of them is read in chunks."""

_MANY_BLOCKS = 200_000
_TRIES = {Failure.CONFLICT: 8, Failure.DUPLICATE: 3}


@dataclass(frozen=True)
class Done:
    """Numbers of state rows and history entries that were read, and of rows and entries that were written."""

    modules: int = 0
    read: int = 0
    rows: int = 0
    entries: int = 0

    def __add__(self, other: Done) -> Done:
        return Done(
            self.modules + other.modules,
            self.read + other.read,
            self.rows + other.rows,
            self.entries + other.entries,
        )


class Group(NamedTuple):
    """Learners who are written in one transaction: their states, and the tables of their other `fields`."""

    learners: Sequence[int]
    fields: Sequence[str] = ()
    after: Callable[[], None] | None = None
    """Remembers the progress, in the transaction."""
    sources: Sequence[Source] = ()


@dataclass
class LearnerImport:
    """Imports learners, or some of their rows, from the old `site` to the state's `database`."""

    site: OldSite
    database: str
    report: Report
    selection: Selection = field(default_factory=Selection)
    dry_run: bool = False
    source_wins: bool = False
    _registered: set[int] = field(default_factory=set)

    def take_learners(self, learners: Sequence[int], after: Callable[[], None] | None = None) -> Done:
        """Import everything of some learners in one transaction, which also runs `after`.

        If the database refuses some row, the learners are imported one by one, and then row by row: `refused` is
        reported for what is left out.
        """
        fields = () if self.selection.course_id else (PREFERENCES, INFO)
        return self._take(self.site.modules(learners, self.selection), Group(learners, fields, after))

    def remove_gone(self, learners: Sequence[int]) -> None:
        """Remove what the import has brought of these learners, and what the old tables do not have any more."""
        removal = Removal(self.database, dry_run=self.dry_run, source_wins=self.source_wins)
        lines = removal.take(learners, {module.id for module in self.site.modules(learners, Selection())})
        for table in (PREFERENCES, INFO):
            self._fields().remove_gone(table, learners, lines)
        self.report.add(lines)

    def take_rows(self, modules: Sequence[Module]) -> Done:
        """Import some state rows with their history, and the other rows about the same blocks."""
        return self._take(self._with_siblings(modules), Group(sorted({module.student_id for module in modules})))

    def _take(self, modules: Sequence[Module], group: Group) -> Done:
        lines: list[Line] = []
        alive = set(usernames(group.learners))
        sources = sources_of([module for module in modules if module.student_id in alive], lines)
        lines += [
            Line(MODULES, module.id, Reason.NO_USER, f"learner {module.student_id}")
            for module in modules
            if module.student_id not in alive
        ]
        sources = self._known_blocks(sources, lines)
        self.report.add(lines)
        present = [id_ for id_ in group.learners if id_ in alive]
        done = self._store(group._replace(learners=present, sources=sources))
        gone = [id_ for id_ in group.learners if id_ not in alive]
        self.report.add(self._fields().without_user(group.fields, gone))
        return done + Done(modules=len(modules))

    def _store(self, group: Group) -> Done:
        tries = 0
        while True:
            tries += 1
            lines: list[Line] = []
            try:
                with nullcontext() if self.dry_run else transaction.atomic(using=self.database):
                    done, lines = self._attempt(group)
                    # Before the commit: a report that can't be written must not lose what was not taken.
                    self.report.add(lines)
            except Error as error:
                self.report.expect_again(lines)
                failure = self._failure(error)
                # Another writer inserted a row first: the next attempt finds it. The same error again means history
                # whose row is gone.
                if failure in (Failure.CONFLICT, Failure.DUPLICATE) and tries < _TRIES[failure]:
                    time.sleep(random.uniform(0, 0.01 * 2**tries))
                    continue
                if failure in (Failure.UNAVAILABLE, Failure.CONFLICT):
                    raise
                return self._store_halves(group, error)
            return done

    def _failure(self, error: Error) -> Failure | None:
        """Classify an error by the dialect of the driver that it comes from: four databases may have a part here."""
        aliases = {self.database, self.site.database, *(alias for _, alias in self.site.history)}
        if conf.writes_extended_history():
            aliases.add(conf.history_database())
        for alias in sorted(aliases):
            connection: Any = connections[alias]
            if isinstance(error.__cause__, connection.Database.Error):
                return dialect_of(connection).failure(error)
        return None

    def _store_halves(self, group: Group, error: Error) -> Done:
        if group.fields:
            # Then the fields alone.
            done = self._store(group._replace(fields=(), after=None))
            self._fields().take_one_by_one(group.fields, group.learners, self.report)
            self._remember(group)
            return done
        if len(group.sources) > 1:
            middle = len(group.sources) // 2
            done = self._store(group._replace(sources=group.sources[:middle], after=None))
            return done + self._store(group._replace(sources=group.sources[middle:]))
        with nullcontext() if self.dry_run else transaction.atomic(using=self.database):
            self._drop_entries(group.sources)
            self.report.add(_refused(group.sources, error))
        self._remember(group)
        return Done()

    def _drop_entries(self, sources: Sequence[Source]) -> None:
        """Drop history that an attempt may have committed to the extended history before its state was refused."""
        if self.dry_run or not conf.writes_extended_history():
            return
        owners = {Owner(source.student_id, source.block.id) for source in sources}
        leave_tombstones(self.database, owners - known(self.database, owners, lock=True).rows.keys())

    def _remember(self, group: Group) -> None:
        """Remember the progress, unless nothing is to be written."""
        if group.after is not None and not self.dry_run:
            group.after()

    def _attempt(self, group: Group) -> tuple[Done, list[Line]]:
        lines: list[Line] = []
        storing = Storing(self.database)
        storing.begin(group.learners)
        read = 0
        for start in range(0, len(group.sources), LONG_HISTORY):
            read += self._store_some(group.sources[start : start + LONG_HISTORY], storing, lines)
        if not self.dry_run:
            storing.flush()
            storing.ship()
        for table in group.fields:
            self._fields().take(table, group.learners, lines)
        self._remember(group)
        return Done(0, read, storing.rows, storing.entries), lines

    def _store_some(self, sources: Sequence[Source], storing: Storing, lines: list[Line]) -> int:
        """Build rows and give them to `storing`; return the number of entries that were read."""
        owners = [Owner(source.student_id, source.block.id) for source in sources]
        found = known(self.database, owners, lock=not self.dry_run)
        read = 0
        for built in self._built(self._changed(sources, found, lines), found, lines):
            read += len(built.entries)
            step = decide(built, found, lines, source_wins=self.source_wins)
            if not self.dry_run:
                owner = Owner(built.source.student_id, built.source.block.id)
                storing.add(built, step, found.rows.get(owner), found.imported.get(owner, {}))
        return read

    def _fields(self) -> FieldImport:
        return FieldImport(self.site, self.database, dry_run=self.dry_run, source_wins=self.source_wins)

    def _changed(self, sources: Sequence[Source], found: Known, lines: list[Line]) -> list[Source]:
        """Leave out sources that are here as they would be built, without reading their histories."""
        taken = {
            source.modules[0].id: stored
            for source in sources
            if (stored := found.as_left(source.student_id, source.block.id, [module.id for module in source.modules]))
            and len(source.modules) == 1
        }
        if not taken:
            return list(sources)
        rows, counts = self.site.rows(list(taken)), self.site.history_counts(list(taken))
        changed = []
        for source in sources:
            id_ = source.modules[0].id
            own: list[Line] = []
            old = state_of(source, rows, own) if id_ in taken else None
            if old is not None and is_unchanged(taken[id_], old, counts.get(id_, 0)):
                lines += own
            else:
                changed.append(source)
        return changed

    def _built(self, sources: Sequence[Source], found: Known, lines: list[Line]) -> Iterator[Built]:
        for some, is_long in self._pieces(sources):
            ids = [module.id for source in some for module in source.modules]
            if is_long:
                histories: dict[int, list[Entry]] = {}
            else:
                histories = self._histories(ids)
            rows = _Once(partial(self.site.rows, ids))
            for source in some:
                own = [module.id for module in source.modules]
                entries = (
                    self.site.long_history(own)
                    if is_long
                    else iter(sorted((entry for id_ in own for entry in histories.get(id_, ())), key=in_order))
                )
                stored = found.rows.get(Owner(source.student_id, source.block.id))
                restart = stored.revision + 1 if stored else None
                built = build(source, entries, rows, lines, restart)
                if built is not None:
                    yield built

    def _histories(self, ids: Sequence[int]) -> dict[int, list[Entry]]:
        histories: dict[int, list[Entry]] = defaultdict(list)
        for entry in self.site.entries(ids):
            histories[entry.student_module_id].append(entry)
        return histories

    def _pieces(self, sources: Sequence[Source]) -> Iterator[tuple[list[Source], bool]]:
        """Yield sources that have up to `LONG_HISTORY` entries together, and alone each that has more."""
        piece: list[Source] = []
        size = 0
        for start in range(0, len(sources), LONG_HISTORY):
            page = sources[start : start + LONG_HISTORY]
            counts = self.site.history_counts([module.id for source in page for module in source.modules])
            for source in page:
                entries = sum(counts.get(module.id, 0) for module in source.modules)
                if entries > LONG_HISTORY:
                    yield [source], True
                    continue
                if size + entries > LONG_HISTORY or len(piece) >= LONG_HISTORY:
                    yield piece, False
                    piece, size = [], 0
                piece.append(source)
                size += entries
        if piece:
            yield piece, False

    def _known_blocks(self, sources: Sequence[Source], lines: list[Line]) -> list[Source]:
        """Register the blocks of the sources; leave out sources whose block collides with another."""
        if self.dry_run:
            return list(sources)
        if len(self._registered) > _MANY_BLOCKS:
            self._registered.clear()
        new = {source.block for source in sources if source.block.id not in self._registered}
        collided: dict[BlockId, str] = {}
        try:
            self._register(new)
        except BlockKeyCollision:
            for block in new:
                try:
                    self._register({block})
                except BlockKeyCollision as error:
                    collided[block] = str(error)
        lines += [
            Line(MODULES, module.id, Reason.KEY_COLLISION, collided[source.block])
            for source in sources
            if source.block in collided
            for module in source.modules
        ]
        return [source for source in sources if source.block not in collided]

    def _register(self, blocks: set[BlockId]) -> None:
        missing = blocks - registered(self.database, blocks)
        if missing:
            register(self.database, missing)
        self._registered |= {block.id for block in blocks}

    def _with_siblings(self, modules: Sequence[Module]) -> list[Module]:
        """Add the other old rows about the same learners and blocks: the import has their ids."""
        lines: list[Line] = []
        owners = [Owner(source.student_id, source.block.id) for source in sources_of(modules, lines)]
        imported = known(self.database, owners, lock=False).imported
        given = {module.id for module in modules}
        missing = {id_ for ids in imported.values() for id_ in ids} - given
        return [*modules, *self.site.modules_by_id(sorted(missing))]


class _Once:
    """Calls a function once, when it is asked for the first time."""

    def __init__(self, read: Callable[[], Mapping[int, ModuleRow]]) -> None:
        self._read = read
        self._found: Mapping[int, ModuleRow] | None = None

    def __call__(self) -> Mapping[int, ModuleRow]:
        if self._found is None:
            self._found = self._read()
        return self._found


def _refused(sources: Sequence[Source], error: Error) -> list[Line]:
    return [Line(MODULES, module.id, Reason.REFUSED, str(error)) for source in sources for module in source.modules]
