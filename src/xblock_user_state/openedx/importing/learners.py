"""Imports learners: the unit of the import. All of a learner is written in one transaction, or nothing of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import leave_tombstones
from xblock_user_state.interface import BlockKeyCollision
from xblock_user_state.openedx.importing.building import FIRST, Built, Source, Start, build, sources_of, state_of
from xblock_user_state.openedx.importing.fields import FieldImport
from xblock_user_state.openedx.importing.histories import Histories
from xblock_user_state.openedx.importing.removing import Removal
from xblock_user_state.openedx.importing.report import Report
from xblock_user_state.openedx.importing.storing import Known, Stored, Storing, continues, decide, is_unchanged, known
from xblock_user_state.openedx.old.reading import OldSite, Selection
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import INFO, MODULES, PREFERENCES, Module
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.blocks import register, registered
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.users import usernames

_PAGE = 1000
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
        return self._take(modules, Group(sorted({module.student_id for module in modules})))

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
        owners = {source.owner for source in sources}
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
        for start in range(0, len(group.sources), _PAGE):
            read += self._store_some(group.sources[start : start + _PAGE], storing, lines)
        if not self.dry_run:
            storing.flush()
            storing.ship()
        for table in group.fields:
            self._fields().take(table, group.learners, lines)
        self._remember(group)
        return Done(0, read, storing.rows, storing.entries), lines

    def _store_some(self, sources: Sequence[Source], storing: Storing, lines: list[Line]) -> int:
        """Build rows and give them to `storing`; return the number of entries that were read."""
        found = known(self.database, [source.owner for source in sources], lock=not self.dry_run)
        sources = self._with_siblings(sources, found, lines)
        read = 0
        for built in self._built(sources, found, lines):
            read += len(built.entries)
            step = decide(built, found, lines, source_wins=self.source_wins)
            if not self.dry_run:
                owner = built.source.owner
                storing.add(built, step, found.rows.get(owner), found.imported.get(owner, {}))
        return read

    def _fields(self) -> FieldImport:
        return FieldImport(self.site, self.database, dry_run=self.dry_run, source_wins=self.source_wins)

    def _with_siblings(self, sources: Sequence[Source], found: Known, lines: list[Line]) -> list[Source]:
        """Add the other old rows about the same learners and blocks: the import has their ids."""
        by_owner = {source.owner: source for source in sources}
        imported = {id_ for owner in by_owner for id_ in found.imported.get(owner, ())}
        missing = imported.difference(*(source.ids for source in sources))
        if missing:
            for sibling in sources_of(self.site.modules_by_id(sorted(missing)), lines):
                source = by_owner.get(sibling.owner)
                if source is not None:
                    by_owner[source.owner] = source._replace(modules=[*source.modules, *sibling.modules])
        return list(by_owner.values())

    def _built(self, sources: Sequence[Source], found: Known, lines: list[Line]) -> Iterator[Built]:
        """Build what has changed: the rest of its history, or else the whole."""
        histories = Histories(self.site, sources)
        left = {
            source.ids[0]: stored
            for source in sources
            if len(source.modules) == 1 and (stored := found.as_left(source.owner, source.ids))
        }
        changed = self._changed(sources, left, histories, lines)
        longer = [source for source in changed if _is_longer(source, left, histories)]
        done = set()
        for source, entries, rows, start in histories.rests({id_: row.revision for id_, row in left.items()}, longer):
            own: list[Line] = []
            built = build(source, entries, rows, own, start)
            # An entry that came late, before others, has moved them.
            if built is not None and continues(built, left[source.ids[0]]):
                done.add(source.owner)
                lines += own
                yield built
        for source, entries, rows, _ in histories.whole(source for source in changed if source.owner not in done):
            stored = found.rows.get(source.owner)
            built = build(source, entries, rows, lines, Start(restart=stored.revision + 1) if stored else FIRST)
            if built is not None:
                yield built

    def _changed(
        self, sources: Sequence[Source], left: Mapping[int, Stored], histories: Histories, lines: list[Line]
    ) -> list[Source]:
        """Leave out sources that are here as they would be built, without reading their histories."""
        if not left:
            return list(sources)
        rows = self.site.rows(list(left))
        changed = []
        for source in sources:
            own: list[Line] = []
            stored = left.get(source.ids[0])
            old = state_of(source, rows, own) if stored is not None else None
            if stored is not None and old is not None and is_unchanged(stored, old, histories.count(source)):
                lines += own
            else:
                changed.append(source)
        return changed

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


def _is_longer(source: Source, left: Mapping[int, Stored], histories: Histories) -> bool:
    """Tell whether a source has more entries than its row here, which is as the import left it."""
    stored = left.get(source.ids[0])
    return stored is not None and histories.count(source) > stored.revision


def _refused(sources: Sequence[Source], error: Error) -> list[Line]:
    return [Line(MODULES, module.id, Reason.REFUSED, str(error)) for source in sources for module in source.modules]
