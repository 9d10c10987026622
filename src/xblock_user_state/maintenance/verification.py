"""Verifies the history of every row, for `check_history`.

Reads pages of state rows and, for each page, windows of their entries in all stores, whatever the flags show to
readers. The site may be running, so a row that seems wrong is read again under a lock before it is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from django.db.models import Q

from xblock_user_state import conf
from xblock_user_state.history.entries import Owner, all_rows, owner_of, shown_models, take_write_lock
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.maintenance.naming import block_names
from xblock_user_state.maintenance.paging import owner_pages, rows_of
from xblock_user_state.maintenance.rules import RowHistory
from xblock_user_state.maintenance.windows import entries_by_key
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated, repeat


@dataclass
class Findings:
    """Numbers of rows and entries that were checked, of entries hidden from readers or lost, and of rows with faults.

    ``faults`` has the first hundred of each row. ``notes`` has times that disagree; ``noted_rows`` counts their rows.
    ``late_rows`` counts the rows of which the first revisions are missing.
    """

    rows: int = 0
    entries: int = 0
    hidden: int = 0
    lost: int = 0
    wrong_rows: int = 0
    noted_rows: int = 0
    late_rows: int = 0
    faults: list[tuple[Owner, str]] = field(default_factory=list)
    notes: list[tuple[Owner, str]] = field(default_factory=list)

    def add_numbers(self, other: Findings) -> None:
        """Add the numbers of a page to these, without its faults and notes."""
        self.rows += other.rows
        self.entries += other.entries
        self.hidden += other.hidden
        self.lost += other.lost
        self.wrong_rows += other.wrong_rows
        self.noted_rows += other.noted_rows
        self.late_rows += other.late_rows

    def add(self, owner: Owner, history: RowHistory) -> None:
        """Add the findings of a row."""
        self.rows += 1
        self.entries += history.entries
        self.hidden += history.hidden
        self.lost += history.lost
        self.wrong_rows += bool(history.faults)
        self.late_rows += history.starts_late
        self.faults += [(owner, fault) for fault in history.faults]
        if history.note:
            self.noted_rows += 1
            self.notes.append((owner, history.note))


@dataclass(frozen=True)
class Verification:
    """One pass over the rows of the state's `database`, or over the rows of some blocks (sorted).

    Keeps up to `size` entries of each store in memory. With `late_start` the history of a row may begin after its first
    revision: its block type was not recorded before.
    """

    database: str
    block_ids: Sequence[int] | None = None
    size: int = 250
    late_start: bool = False

    def pages(self) -> Iterator[Findings]:
        """Yield the findings of each page. Raises `ServiceUnavailable` or a database error."""
        for owners in self.owners():
            yield self._page(owners)

    def owners(self) -> Iterator[list[Owner]]:
        """Yield pages of the owners of the rows. Raises `ServiceUnavailable` or a database error."""
        pages = owner_pages(self.database, block_ids=self.block_ids)
        while True:
            with errors_translated(self.database):
                owners = next(pages, None)
            if owners is None:
                return
            if owners:
                yield owners

    def count(self) -> int:
        """Return the number of rows to check. One statement, which reads a whole index."""
        rows = all_rows(StudentModule, self.database)
        with errors_translated(self.database):
            return (rows if self.block_ids is None else rows.filter(block_id__in=self.block_ids)).count()

    def _page(self, owners: Sequence[Owner]) -> Findings:
        findings = Findings()
        for owner, unlocked in self.verify(owners).items():
            history = self._verify_locked(owner) if unlocked.faults else unlocked
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
        # Rows before entries: a commit in between adds entries that seem wrong, and the locked pass clears them up.
        histories = self._rows(rows_of(owners), lock=lock)
        for owner, entries in groupby(entries_by_key(self.database, owners, self.size), key=owner_of):
            if owner in histories:
                histories[owner].add(entries)
        for history in histories.values():
            history.finish()
        return histories

    def _rows(self, which: Q, *, lock: bool) -> dict[Owner, RowHistory]:
        found = all_rows(StudentModule, self.database).filter(which)
        with errors_translated(self.database):
            rows = list(found.select_for_update() if lock else found)
            names = block_names(self.database, {row.block_id for row in rows})
        history_of = partial(RowHistory, shown=shown_models(), late_start=self.late_start)
        return {owner_of(row): history_of(row, names[row.block_id]) for row in rows}


def count_stranded(database: str) -> int:
    """Return how many rows wait in the outbox of a site that has no extended history, where no relay can ship them."""
    if conf.has_extended_history():
        return 0
    with errors_translated(database):
        return all_rows(HistoryOutbox, database).count()
