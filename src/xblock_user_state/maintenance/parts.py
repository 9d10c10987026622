"""Parts of a long action on many learners, each small enough for one request of a page."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from xblock_user_state.history.entries import all_rows
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated

STATES = 100
"""States of a part."""

LEARNERS = 20
"""Learners in whose rows a part of a course is looked for."""

BLOCKS = 6
"""Blocks in which a part of all learners is looked for, one statement each."""


class Seen(NamedTuple):
    """A learner in a block, and the revision of the row; 0 if there is none."""

    student_id: Any
    block_id: int
    revision: int


class Place(NamedTuple):
    """A place among the states of all learners: a block, and the last learner in it that is done."""

    block_id: int
    student_id: Any = None


_COLUMNS = ("student_id", "block_id", "revision")


def of_all_learners(database: str, block_ids: Sequence[int], place: Place | None) -> tuple[list[Seen], Place | None]:
    """Return the states that follow a place in some blocks (sorted), block by block, and the place after them."""
    found: list[Seen] = []
    start = bisect_left(block_ids, place.block_id) if place else 0
    for block_id in block_ids[start : start + BLOCKS]:
        rows = all_rows(StudentModule, database).filter(block_id=block_id)
        if place and place.block_id == block_id and place.student_id is not None:
            rows = rows.filter(student_id__gt=place.student_id)
        left = STATES - len(found)
        with errors_translated(database):
            some = [Seen(*row) for row in rows.order_by("student_id").values_list(*_COLUMNS)[: left + 1]]
        found += some[:left]
        if len(some) > left:
            return found, Place(block_id, some[-2].student_id if left else None)
    rest = block_ids[start + BLOCKS :]
    return found, Place(rest[0]) if rest else None


def of_learners_in_block(
    database: str, student_ids: Sequence[Any], block_id: int, start: int
) -> tuple[list[Seen], int | None]:
    """Return some learners in a block, also those without a row, and the number of learners until there."""
    some = student_ids[start : start + STATES]
    rows = all_rows(StudentModule, database).filter(block_id=block_id, student_id__in=some)
    with errors_translated(database):
        revisions = dict(rows.values_list("student_id", "revision"))
    end = start + len(some)
    found = [Seen(student_id, block_id, revisions.get(student_id, 0)) for student_id in some]
    return found, end if end < len(student_ids) else None


def of_learners_in_course(
    database: str, student_ids: Sequence[Any], block_ids: Collection[int], start: int
) -> tuple[list[Seen], int | None]:
    """Return the states of some learners in the blocks of a course, and the number of learners until there.

    A learner's states are not cut: their changes are one transaction.
    """
    some = student_ids[start : start + LEARNERS]
    rows = all_rows(StudentModule, database).filter(student_id__in=some).order_by("student_id", "block_id")
    with errors_translated(database):
        seen = [Seen(*row) for row in rows.values_list(*_COLUMNS) if row[1] in block_ids]
    of_learner = {student_id: list(of_one) for student_id, of_one in groupby(seen, key=lambda one: one.student_id)}
    found: list[Seen] = []
    for number, student_id in enumerate(some):
        states = of_learner.get(student_id, [])
        if found and len(found) + len(states) > STATES:
            return found, start + number
        found += states
    end = start + len(some)
    return found, end if end < len(student_ids) else None
