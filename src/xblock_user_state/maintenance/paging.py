"""Pages of owners: learners and their blocks, cut by the key of their state rows."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from django.db.models import Q, QuerySet

from xblock_user_state.history.entries import Owner, all_rows, lockable, stores
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated

PAGE = 500
"""Owners in one statement: SQLite's parser takes up to 1,000 alternatives."""


def owner_pages(
    database: str, student_id: Any = None, block_ids: Sequence[int] | None = None, after: Owner | None = None
) -> Iterator[list[Owner]]:
    """Yield pages of the owners of state rows, from the one that follows `after`.

    All owners, or only those of one learner, of some blocks (sorted), or both. A page may be empty.
    """
    rows = all_rows(StudentModule, database)
    if student_id is not None:
        rows = rows.filter(student_id=student_id)
    elif block_ids is not None:
        yield from _pages_by_block(rows, block_ids, after)
        return
    wanted = None if block_ids is None else set(block_ids)
    while True:
        # The first condition follows from the second. MariaDB needs it: it makes no index range of a row comparison.
        left = rows if after is None else rows.filter(student_id__gte=after.student_id, pk__gt=after)
        page = _page(left.order_by("student_id", "block_id"))
        yield [owner for owner in page if wanted is None or owner.block_id in wanted]
        if len(page) < PAGE:
            return
        after = page[-1]


def filled_pages(
    database: str, student_id: Any = None, block_ids: Sequence[int] | None = None, after: Owner | None = None
) -> Iterator[list[Owner]]:
    """Yield the pages of `owner_pages` that are not empty. Raises `ServiceUnavailable` for a database that is down."""
    pages = owner_pages(database, student_id, block_ids, after)
    while True:
        with errors_translated(database):
            owners = next(pages, None)
        if owners is None:
            return
        if owners:
            yield owners


def count_rows(database: str, student_id: Any = None, block_ids: Sequence[int] | None = None) -> int:
    """Return the number of state rows: all, of one learner, or of some blocks. One statement, which reads an index."""
    rows = all_rows(StudentModule, database)
    if student_id is not None:
        rows = rows.filter(student_id=student_id)
    elif block_ids is not None:
        rows = rows.filter(block_id__in=block_ids)
    with errors_translated(database):
        return rows.count()


def _pages_by_block(
    rows: QuerySet[StudentModule], block_ids: Sequence[int], after: Owner | None
) -> Iterator[list[Owner]]:
    # The index (block_id, student_id) finds the rows of some blocks without a scan of all learners.
    for block_id in block_ids[bisect_left(block_ids, after.block_id) if after else 0 :]:
        of_block = rows.filter(block_id=block_id).order_by("student_id")
        is_begun = after is not None and after.block_id == block_id
        page = _page(of_block.filter(student_id__gt=after.student_id) if after and is_begun else of_block)
        while page:
            yield page
            page = _page(of_block.filter(student_id__gt=page[-1].student_id)) if len(page) == PAGE else []


def learners_of(database: str, block_ids: Sequence[int]) -> set[Any]:
    """Return the ids of all learners with a state row in some blocks (sorted). Reads the index of these blocks once."""
    return {owner.student_id for page in owner_pages(database, block_ids=block_ids) for owner in page}


def lock_learners(database: str, block_id: int, size: int, after: Any = None, student_id: Any = None) -> list[Any]:
    """Lock the rows of up to `size` learners in a block, from the learner that follows `after`; return their ids.

    With `student_id` only the row of this learner. Call it in a transaction.
    """
    rows = all_rows(StudentModule, database).filter(block_id=block_id)
    if after is not None:
        rows = rows.filter(student_id__gt=after)
    locked: list[Any] = []
    # Writers lock rows of one learner by block, and this page rows of one block: a page and a writer meet in one row,
    # so their locks make no circle. Two pages meet in the order of the learners.
    for which in lockable(rows, Q() if student_id is None else Q(student_id=student_id)):
        found = rows.filter(which).order_by("student_id").select_for_update()
        locked += found.values_list("student_id", flat=True)[: size - len(locked)]
        if len(locked) == size:
            break
    return locked


def _page(rows: QuerySet[StudentModule]) -> list[Owner]:
    return [Owner(*row) for row in rows.values_list("student_id", "block_id")[:PAGE]]


def rows_of(owners: Collection[Owner]) -> Q:
    """Return the condition that selects the rows of these owners in any table of state or history.

    An empty collection would select every row.
    """
    # By learner, which makes fewer alternatives than one for each owner.
    blocks: dict[Any, list[int]] = defaultdict(list)
    for student_id, block_id in owners:
        blocks[student_id].append(block_id)
    block_ids = {block_id for _, block_id in owners}
    if len(block_ids) == 1:
        return Q(block_id=block_ids.pop(), student_id__in=list(blocks))
    which = Q()
    for student_id, ids in blocks.items():
        which |= Q(student_id=student_id, block_id__in=ids)
    return which


def rows_between(owners: Sequence[Owner]) -> Q:
    """Return the condition that selects the rows of these owners, if they are all of their learners' in key order.

    All from the first owner to the last, that is: the first and the last learner may have more. It has a value for
    each learner, where `rows_of` has one for each owner.
    """
    first, last = owners[0], owners[-1]
    before = Q(student_id=first.student_id, block_id__lt=first.block_id)
    behind = Q(student_id=last.student_id, block_id__gt=last.block_id)
    return Q(student_id__in=list(dict.fromkeys(owner.student_id for owner in owners))) & ~before & ~behind


def owners_with_history(database: str, owners: Sequence[Owner]) -> set[tuple[Any, int]]:
    """Return the owners that have history in any store: most blocks have none. One statement for each store."""
    if not owners:
        return set()
    which = rows_of(owners)
    found: set[tuple[Any, int]] = set()
    for model, alias in stores(database):
        found.update(all_rows(model, alias).filter(which).values_list("student_id", "block_id").distinct())
    return found
