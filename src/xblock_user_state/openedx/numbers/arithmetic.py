"""Makes the number of a row from the learner's id and the block's number, and takes it apart again.

Numbers fill the range from 2**52 to 2**53: above every id of the old table, and below the integers that JavaScript
rounds. So there are limits, and a row beyond one has no number: a rounded number would name another learner's row.
"""

from __future__ import annotations

from typing import NamedTuple

BLOCK_BITS = 24
MAX_BLOCK = (1 << BLOCK_BITS) - 1
"""The highest number of a block: 16.7 million."""
MAX_STUDENT = (1 << 28) - 1
"""The highest id of a learner: 268 million."""
FIRST = 1 << 52
"""The lowest number of a row. Ids below it are those of imported rows."""


class Parts(NamedTuple):
    """The learner and the block of a row, by their numbers."""

    student_id: int
    block_number: int


def number_of(parts: Parts) -> int | None:
    """Return the number of a row, ``None`` beyond the limits."""
    student_id, block_number = parts
    if not (0 <= student_id <= MAX_STUDENT and 0 <= block_number <= MAX_BLOCK):
        return None
    return FIRST + (student_id << BLOCK_BITS) + block_number


def parts_of(number: int) -> Parts | None:
    """Return the parts of a row's number, ``None`` for any other integer."""
    if not FIRST <= number < 2 * FIRST:
        return None
    return Parts((number - FIRST) >> BLOCK_BITS, number & MAX_BLOCK)
