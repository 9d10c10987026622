"""Watermarks: the beginnings of histories whose early entries are in the archive, or were dropped.

**The tombstone rule** of the outbox holds here, too. A deletion for good makes the watermark a tombstone in its own
transaction (`entries.bury_archived`). At once readers and maintenance take the archive to have nothing of this learner
and block, and the next `archive_history` erases it from the files. A new life of the row gets no watermark before that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Q

from xblock_user_state.history.entries import TOMBSTONE, Owner, all_rows
from xblock_user_state.history.models import HistoryWatermark


class Watermark(NamedTuple):
    """The columns of a `HistoryWatermark`."""

    first_kept: int = 1
    last_archived: int = 0
    first_archived: int = 0

    @property
    def is_tombstone(self) -> bool:
        """Tell whether the entries in the archive are of a life that was deleted for good."""
        return self.first_kept == TOMBSTONE

    @property
    def beginning(self) -> int:
        """The first revision that must be in the tables."""
        return max(1, self.first_kept)

    @property
    def newest_archived(self) -> int:
        """The newest revision that readers may find in the archive, 0 if there is none."""
        return 0 if self.is_tombstone else self.last_archived

    def announced(self, first: int, last: int) -> Watermark:
        """Return the watermark before these revisions go to the archive, which the tables still have."""
        continues = self.last_archived > 0 and self.first_archived <= first <= self.last_archived + 1
        return self._replace(
            last_archived=max(self.last_archived, last), first_archived=self.first_archived if continues else first
        )

    def raised(self, first_kept: int, *, is_archived: bool) -> Watermark:
        """Return the watermark with which the revisions before `first_kept` leave the tables, or were dropped."""
        # An interrupted run may have announced what is dropped now.
        is_known = is_archived or self.last_archived < self.first_kept
        return self._replace(
            first_kept=max(self.first_kept, first_kept),
            first_archived=self.first_archived if is_known else max(self.first_archived, first_kept),
        )

    def missing(self, archived: Collection[int]) -> list[int]:
        """Return the revisions that are not in the tables and not among those that the archive has, but must be."""
        # Earlier versions did not write the first one.
        first = self.first_archived or min(archived, default=self.last_archived)
        wanted = range(first, min(self.newest_archived, self.first_kept - 1) + 1)
        return [revision for revision in wanted if revision not in archived]


NO_WATERMARK = Watermark()
"""The whole history is in the tables."""


def watermarks_in(database: str, student_id: Any, block_ids: Collection[int]) -> dict[int, Watermark]:
    """Return the watermarks of a learner by block. One statement."""
    rows = all_rows(HistoryWatermark, database).filter(student_id=student_id, block_id__in=list(block_ids))
    return {block_id: Watermark(*row) for block_id, *row in rows.values_list("block_id", *Watermark._fields)}


def watermarks_of(database: str, which: Q) -> dict[Owner, Watermark]:
    """Return the watermarks that a condition on learners and blocks selects. One statement."""
    rows = all_rows(HistoryWatermark, database).filter(which)
    found = rows.values_list("student_id", "block_id", *Watermark._fields)
    return {Owner(*row[:2]): Watermark(*row[2:]) for row in found}


def write_watermarks(database: str, marks: Mapping[Owner, Watermark]) -> None:
    """Insert or replace the watermarks of a learner, whose state rows the caller has locked. One statement."""
    rows = [HistoryWatermark(**owner._asdict(), **mark._asdict()) for owner, mark in marks.items()]
    # ON DUPLICATE KEY of MySQL and MariaDB names no key.
    can_name_key = connections[database].features.supports_update_conflicts_with_target
    all_rows(HistoryWatermark, database).bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=Owner._fields if can_name_key else None,
        update_fields=Watermark._fields,
    )
