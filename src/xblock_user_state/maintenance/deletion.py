"""Deletes the state of all learners in some blocks for good, in pages, for `actions`.

A page is one transaction. It locks the rows of up to 500 learners in one block, and deletes them with their history:
the entries of the local stores by a DELETE for each store, the entries of the extended history by tombstones. A row and
its history go together, so an interrupted deletion leaves whole rows. The next call deletes these.

A writer may begin a row anew meanwhile. The page locks that row and takes it whole, or does not see it and leaves it
whole. The end of the job is the last learner of a block at that moment, so it can't chase the writers for ever.

The job starts from state rows. Entries without a row (orphans) stay for the sweep: no index of the history finds the
entries of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db.models import Q

from xblock_user_state.history.deletion import bury
from xblock_user_state.history.entries import (
    Owner,
    all_rows,
    delete_local_entries,
    delete_rows,
    take_write_lock,
)
from xblock_user_state.history.outbox import shipping
from xblock_user_state.maintenance.paging import lock_learners
from xblock_user_state.store.models import StudentModule, UserStateSummary
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated, repeat

PAGE = 500
"""Rows of a page. Writers of these rows wait until the page is committed."""


class Deleted(NamedTuple):
    """Numbers of deleted rows: states of single learners, and states that all learners of a block share."""

    states: int
    shared: int


def delete_blocks(database: str, block_ids: Sequence[int]) -> Iterator[Deleted]:
    """Delete all states, scores and history of these blocks (sorted). Yields after each committed page.

    Raises `ServiceUnavailable` or a database error. The pages before stay deleted.
    """
    for block_id in block_ids:
        yield from _delete_block(database, block_id)
    for some in pieces(database, block_ids, PAGE):
        with errors_translated(database):
            yield Deleted(0, repeat(database, partial(_delete_shared, database, some)))


def count_blocks(database: str, block_ids: Sequence[int]) -> Deleted:
    """Return the numbers of rows that `delete_blocks` would delete. Reads the index of these blocks."""
    states = shared = 0
    with errors_translated(database):
        for some in pieces(database, block_ids, PAGE):
            states += all_rows(StudentModule, database).filter(block_id__in=some).count()
            shared += all_rows(UserStateSummary, database).filter(block_id__in=some).count()
    return Deleted(states, shared)


def _delete_block(database: str, block_id: int) -> Iterator[Deleted]:
    after: Any = None
    while True:
        with errors_translated(database):
            student_ids = repeat(database, partial(_delete_page, database, block_id, after))
        yield Deleted(len(student_ids), 0)
        if len(student_ids) < PAGE:
            return
        # From the last learner on: PostgreSQL would step over the dead index entries of all pages before.
        after = student_ids[-1]


def _delete_page(database: str, block_id: int, after: Any) -> Sequence[Any]:
    """Delete the rows of up to `PAGE` learners that follow the learner `after`; return the ids of these learners."""
    take_write_lock(database)
    student_ids = lock_learners(database, block_id, PAGE, after)
    if student_ids:
        # Only the locked rows: each deleted row needs its tombstone.
        which = Q(block_id=block_id, student_id__in=student_ids)
        delete_rows(all_rows(StudentModule, database).filter(which))
        delete_local_entries(database, which)

        # Here and not in `shipping`, which may send such a statement only for this package and the relay (law 7).
        def ship_tombstones() -> None:
            shipping.ship_at_once(database, which, len(student_ids))

        bury(database, [Owner(student_id, block_id) for student_id in student_ids], ship_tombstones)
    return student_ids


def _delete_shared(database: str, block_ids: Sequence[int]) -> int:
    take_write_lock(database)
    rows = all_rows(UserStateSummary, database).filter(block_id__in=block_ids)
    # In the order in which writers lock rows of several blocks.
    found = list(rows.order_by("block_id").select_for_update().values_list("block_id", flat=True))
    if found:
        delete_rows(rows.filter(block_id__in=found))
    return len(found)
