"""Verifies the history of every row, for `check_history`.

Reads pages of state rows and, for each page, windows of their entries in all stores, whatever the flags show to
readers. The site may be running, so a row that seems wrong is read again under a lock before it is reported. The pages
may come from a replica, which is behind the history database; the row is read again from the primary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby, islice
from operator import itemgetter

from django.db.models import Q

from xblock_user_state import conf
from xblock_user_state.history.archived.coverage import Coverage
from xblock_user_state.history.archived.lookup import archived_id
from xblock_user_state.history.archived.places import Place
from xblock_user_state.history.entries import Owner, all_rows, shown_models, take_write_lock
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.history.rows import tuples
from xblock_user_state.history.watermarks import NO_WATERMARK, watermarks_of
from xblock_user_state.maintenance.naming import BlockNames
from xblock_user_state.maintenance.paging import PAGE, owner_pages, rows_between, rows_of
from xblock_user_state.maintenance.rules import RowHistory, StateRow
from xblock_user_state.maintenance.shares import ALL_LEARNERS, Share
from xblock_user_state.maintenance.windows import entries_by_key
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated, repeat

NUMBERS = ("rows", "entries", "hidden", "lost", "wrong_rows", "noted_rows", "late_rows", "cut_rows", "archive_gaps")


@dataclass
class Findings:
    """Numbers of rows and entries that were checked, of entries hidden from readers or lost, and of rows with faults.

    ``faults`` has the first hundred of each row. ``notes`` has times that disagree; ``noted_rows`` counts their rows.
    ``late_rows`` counts the rows of which the first revisions are missing, and ``cut_rows`` those whose early entries
    are in the archive, or were dropped; ``archive_gaps`` those of which the archive lacks entries. ``last`` is the last
    owner of a page.
    """

    rows: int = 0
    entries: int = 0
    hidden: int = 0
    lost: int = 0
    wrong_rows: int = 0
    noted_rows: int = 0
    late_rows: int = 0
    cut_rows: int = 0
    archive_gaps: int = 0
    last: Owner | None = None
    faults: list[tuple[Owner, str]] = field(default_factory=list)
    notes: list[tuple[Owner, str]] = field(default_factory=list)

    def numbers(self) -> dict[str, int]:
        """Return the numbers by their names."""
        return {name: getattr(self, name) for name in NUMBERS}

    def add_numbers(self, numbers: Mapping[str, int]) -> None:
        """Add the numbers of a page, or of an interrupted check."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + numbers.get(name, 0))

    def add(self, owner: Owner, history: RowHistory) -> None:
        """Add the findings of a row."""
        self.rows += 1
        self.entries += history.entries
        self.hidden += history.hidden
        self.lost += history.lost
        self.wrong_rows += bool(history.faults)
        self.late_rows += history.starts_late
        self.cut_rows += history.is_cut
        self.faults += [(owner, fault) for fault in history.faults]
        if history.archive_fault:
            self.archive_gaps += 1
            self.faults.append((owner, history.archive_fault))
        if history.note:
            self.noted_rows += 1
            self.notes.append((owner, history.note))


@dataclass(frozen=True)
class Verification:
    """One pass over the rows of the state's `database`: all, or of some blocks (sorted), or of a share of learners.

    Begins with the row that follows `after`. Keeps up to `size` entries of each store in memory. With `late_start` the
    history of a row may begin after its first revision: its block type was not recorded before. With a `replica` the
    pages are read there, by its alias. Compares the entries in the `archive`, if there is one, with the watermarks.
    """

    database: str
    block_ids: Sequence[int] | None = None
    size: int = 250
    late_start: bool = False
    share: Share = ALL_LEARNERS
    after: Owner | None = None
    replica: str | None = None
    archive: Place | None = None

    def pages(self) -> Iterator[Findings]:
        """Yield the findings of each page. Raises `ServiceUnavailable` or a database error."""
        for owners in self._of_replica.owners():
            yield self._page(owners)

    def owners(self) -> Iterator[list[Owner]]:
        """Yield pages of the owners of the rows. Raises `ServiceUnavailable` or a database error."""
        pages = owner_pages(self.database, block_ids=self.block_ids, after=self.after)
        # A share has a few owners of each page. Together they fill pages of their own.
        wanted = (owner for page in pages for owner in page if self.share.has(owner.student_id))
        while True:
            with errors_translated(self.database):
                owners = list(islice(wanted, PAGE))
            if not owners:
                return
            yield owners

    def count(self) -> int | None:
        """Return the number of rows to check, ``None`` for a share. One statement, which reads a whole index."""
        if not self.share.is_all:
            return None
        database = self._of_replica.database
        rows = all_rows(StudentModule, database)
        with errors_translated(database):
            return (rows if self.block_ids is None else rows.filter(block_id__in=self.block_ids)).count()

    def _page(self, owners: Sequence[Owner]) -> Findings:
        findings = Findings(last=owners[-1])
        for owner, unlocked in self._of_replica.verify(owners).items():
            seems_wrong = unlocked.faults or unlocked.archive_fault or (unlocked.note and self.replica)
            history = self._verify_locked(owner) if seems_wrong else unlocked
            if history is not None:  # Else the row was deleted meanwhile.
                findings.add(owner, history)
        return findings

    def _verify_locked(self, owner: Owner) -> RowHistory | None:
        """Verify one row while its writers wait; ``None`` if the row is gone."""

        def attempt() -> RowHistory | None:
            # SQLite locks no rows; its write lock keeps all writers away.
            take_write_lock(self.database)
            return self.verify([owner], lock=True).get(owner)

        return repeat(self.database, attempt)

    def verify(self, owners: Sequence[Owner], *, lock: bool = False) -> dict[Owner, RowHistory]:
        """Verify rows that exist. Without a lock a row may seem wrong that a request is changing."""
        # A lock must take no other row.
        which = rows_of(owners) if lock or self.block_ids is not None else rows_between(owners)
        # Rows before entries: a commit in between adds entries that seem wrong, and the locked pass clears them up.
        histories = self._rows(which, lock=lock)
        for owner, entries in groupby(entries_by_key(self.database, owners, self.size, which), key=itemgetter(0, 1)):
            if owner in histories:
                histories[owner].add(entries)
        for history in histories.values():
            history.finish()
        self._compare_with_archive(histories, renew=lock)
        return histories

    def _compare_with_archive(self, histories: Mapping[Owner, RowHistory], *, renew: bool) -> None:
        """Compare the archive with the watermarks. It may have changed since its manifest was read: see `renew`."""
        archived = {owner: history for owner, history in histories.items() if history.mark.newest_archived}
        if self._coverage is None or not archived:
            return
        if renew:
            self._coverage.renew()
        covered = self._coverage.of({archived_id(owner.student_id) for owner in archived})
        for owner, history in archived.items():
            student_id = archived_id(owner.student_id)
            # A file that can't be read is named by itself.
            if covered.is_known(student_id):
                history.compare_with_archive(covered.revisions.get((student_id, owner.block_id), ()))

    def _rows(self, which: Q, *, lock: bool) -> dict[Owner, RowHistory]:
        # In the order of the key, so that a report has the same order each time.
        found = all_rows(StudentModule, self.database).filter(which).order_by("student_id", "block_id")
        with errors_translated(self.database):
            rows = [StateRow(*row) for row in tuples(found.select_for_update() if lock else found, StateRow._fields)]
            names = self._names.of({row.block_id for row in rows})
            marks = watermarks_of(self.database, which)
        history_of = partial(RowHistory, shown=shown_models(), late_start=self.late_start)
        return {
            Owner(*row[:2]): history_of(row, names[row.block_id], mark=marks.get(Owner(*row[:2]), NO_WATERMARK))
            for row in rows
        }

    @cached_property
    def _coverage(self) -> Coverage | None:
        return None if self.archive is None else Coverage(self.archive)

    @cached_property
    def _of_replica(self) -> Verification:
        """The same pass over the replica; itself without one."""
        return self if self.replica is None else replace(self, database=self.replica, replica=None)

    @cached_property
    def _names(self) -> BlockNames:
        return BlockNames(self.database)


def count_stranded(database: str) -> int:
    """Return how many rows wait in the outbox of a site that has no extended history, where no relay can ship them."""
    if conf.has_extended_history():
        return 0
    with errors_translated(database):
        return all_rows(HistoryOutbox, database).count()
