"""Passes over the old tables: the first by learner, later ones by time of change; and the rows of no learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import transaction

from xblock_user_state.history.entries import all_rows
from xblock_user_state.openedx.importing.fields import FieldImport
from xblock_user_state.openedx.importing.grouping import grouped
from xblock_user_state.openedx.importing.learners import Done, LearnerImport
from xblock_user_state.openedx.importing.models import ImportedModule, ImportProgress
from xblock_user_state.openedx.importing.report import Report
from xblock_user_state.openedx.old.reading import OldSite, Selection
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import INFO, PREFERENCES, SUMMARIES
from xblock_user_state.store.models import Preferences, UserInfo

MARGIN = timedelta(minutes=10)
"""A catch-up begins so long before the pass before it: clocks of servers differ, and transactions commit late."""

_LEARNERS = 500
GROUP = 2000
"""State rows of a group of learners, which one transaction takes."""


class NoFirstPass(Exception):
    """A catch-up needs a first pass of the same range that has ended."""


def groups(site: OldSite, selection: Selection, after: int | None = None, most: int = GROUP) -> Iterator[list[int]]:
    """Yield groups of learners with up to `most` rows, and alone each with more, from the one after `after`."""
    while True:
        learners = site.learners(selection, after, _LEARNERS)
        yield from grouped(learners, _sizes(site.row_counts(learners, selection)), most)
        if not learners:
            return
        after = learners[-1]


def _sizes(counts: Mapping[int, int]) -> Callable[[int], int]:
    return lambda learner: counts.get(learner, 0)


@dataclass
class Pass:
    """One pass over the learners of a selection. Call `run`, or `catch_up`; both yield after each transaction."""

    site: OldSite
    database: str
    report: Report
    selection: Selection = field(default_factory=Selection)
    dry_run: bool = False
    source_wins: bool = False
    remove_gone: bool = False
    batch: int = GROUP
    """State rows in a transaction; a learner with more has one of its own."""

    @property
    def name(self) -> str:
        """The name of the range, for its progress."""
        first, last = self.selection.first, self.selection.last
        return f"{self.site.database} {'' if first is None else first}:{'' if last is None else last}"

    @property
    def is_whole(self) -> bool:
        """Tell whether the pass covers all courses of its range, so that its progress is kept."""
        return self.selection.course_id is None and not self.dry_run

    @property
    def takes_what_has_no_learner(self) -> bool:
        """Tell whether the pass reports history without a row: of several ranges, the one without a beginning does."""
        return self.selection.first is None and self.selection.course_id is None

    def position(self) -> int | None:
        """Return the last learner whom an unfinished first pass has done. One statement."""
        if not self.is_whole:
            return None
        found = (
            all_rows(ImportProgress, self.database).filter(name=self.name, ended=None).values_list("learner", flat=True)
        )
        return next(iter(found), None)

    def run(self) -> Iterator[Done]:
        """Import all learners of the selection, going on after an interrupted pass."""
        after = self.position()
        if self.is_whole and after is None:
            self._begin()
        importing = self._importing()
        for group in groups(self.site, self.selection, after, self.batch):
            yield importing.take_learners(group, self._remember(group[-1]))
        yield from self._summaries(None)
        if self.remove_gone:
            for learners in self._imported_learners():
                importing.remove_gone(learners)
                yield Done()
            if self.selection.first is None:
                yield from self._gone_summaries()
        if self.is_whole:
            self._end()

    def catch_up(self) -> Iterator[Done]:
        """Import rows that were modified since the pass before began. Raises `NoFirstPass`."""
        since = self.covered()
        if since is None:
            raise NoFirstPass(f"no first pass of the range {self.name!r} has ended; {self._other_ranges()}")
        since -= MARGIN
        # In a variable: a first pass of the same range, run once more, keeps its own start in the row.
        started = _now()
        importing = self._importing()
        after = None
        while True:
            modules, after = self.site.modified_since(since, self.selection, after, self.batch)
            if modules:
                yield importing.take_rows(modules)
            if after is None:
                break
        if self.selection.course_id is None:
            yield from self._fields(since)
        yield from self._summaries(since)
        if self.is_whole:
            all_rows(ImportProgress, self.database).filter(name=self.name).update(covered=started)

    def covered(self) -> datetime | None:
        """Return the start of the newest pass that has ended; ``None`` if there is none. One statement."""
        found = all_rows(ImportProgress, self.database).filter(name=self.name).values_list("covered", flat=True)
        return next(iter(found), None)

    def _other_ranges(self) -> str:
        """Return advice for the user: the ranges of this database whose first pass has ended, or to run one."""
        ended = all_rows(ImportProgress, self.database).exclude(covered=None).order_by("name")
        names = [name for name in ended.values_list("name", flat=True) if name.startswith(f"{self.site.database} ")]
        if not names:
            return "run it without --catch-up"
        ranges = ", ".join(name.removeprefix(f"{self.site.database} ") for name in names)
        return f"use the ranges of first passes that have ended, each in a run of its own: {ranges}"

    def lost_history(self) -> Iterator[int]:
        """Report history entries whose row is gone; yield their number, page by page. Reads an index of each table."""
        for page in self.site.lost_history():
            self.report.add(
                Line(table, id_, Reason.HISTORY_WITHOUT_MODULE, f"student_module_id {module}")
                for table, id_, module in page
            )
            yield len(page)

    def _importing(self) -> LearnerImport:
        return LearnerImport(
            self.site,
            self.database,
            self.report,
            self.selection,
            dry_run=self.dry_run,
            source_wins=self.source_wins,
        )

    def _fields(self, since: datetime) -> Iterator[Done]:
        """Import preferences and user info of learners who changed any of them."""
        importing = FieldImport(self.site, self.database, dry_run=self.dry_run, source_wins=self.source_wins)
        for table in (PREFERENCES, INFO):
            yield from self._pages_of(importing, table, since)

    def _summaries(self, since: datetime | None) -> Iterator[Done]:
        """Import summaries, which belong to no learner: the range that begins with the first learner does it."""
        if self.selection.first is None:
            importing = FieldImport(
                self.site,
                self.database,
                dry_run=self.dry_run,
                source_wins=self.source_wins,
                course_id=self.selection.course_id,
            )
            yield from self._pages_of(importing, SUMMARIES, since)

    def _gone_summaries(self) -> Iterator[Done]:
        importing = FieldImport(self.site, self.database, dry_run=self.dry_run, source_wins=self.source_wins)
        for lines in importing.remove_gone_summaries():
            self.report.add(lines)
            yield Done()

    def _imported_learners(self) -> Iterator[list[int]]:
        """Yield groups of learners of whom anything may have been imported; some come more than once."""
        for model in (ImportedModule, Preferences, UserInfo):
            rows = all_rows(model, self.database).order_by("student_id")
            if self.selection.first is not None:
                rows = rows.filter(student_id__gte=self.selection.first)
            if self.selection.last is not None:
                rows = rows.filter(student_id__lte=self.selection.last)
            page = list(rows.values_list("student_id", flat=True).distinct()[:_LEARNERS])
            while page:
                yield from grouped(page, _sizes(self.site.row_counts(page, Selection())), self.batch)
                rest = rows.filter(student_id__gt=page[-1])
                page = list(rest.values_list("student_id", flat=True).distinct()[:_LEARNERS])

    def _pages_of(self, importing: FieldImport, table: str, since: datetime | None) -> Iterator[Done]:
        after = None
        while table in self.site.fields:
            owners = self.site.field_owners(table, after, _LEARNERS, self.selection, since)
            if not owners:
                return
            lines: list[Line] = []
            with transaction.atomic(using=self.database):
                importing.take(table, importing.with_account(table, owners), lines)
                self.report.add(lines)
            yield Done()
            after = owners[-1]

    def _begin(self) -> None:
        rows = all_rows(ImportProgress, self.database)
        rows.update_or_create(name=self.name, defaults={"learner": None, "started": _now(), "ended": None})

    def _remember(self, learner: int) -> Callable[[], None] | None:
        if not self.is_whole:
            return None

        def remember() -> None:
            all_rows(ImportProgress, self.database).filter(name=self.name).update(learner=learner)

        return remember

    def _end(self) -> None:
        [progress] = all_rows(ImportProgress, self.database).filter(name=self.name)
        progress.ended, progress.covered, progress.learner = _now(), progress.started, None
        progress.save(using=self.database)


def _now() -> datetime:
    return datetime.now(UTC)
