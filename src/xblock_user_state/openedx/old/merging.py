"""One history from the two old tables of history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

from xblock_user_state.openedx.old.tables import EXTENDED, Entry

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands in for a time that nobody knows."""


def in_order(entry: Entry) -> tuple[datetime, bool, int]:
    """Return the sort key of entries: time, default table before extended table, id.

    Ids alone mislead after a copy with new ids, and times alone have ties: until 2022 the platform saved a submission
    in two entries of one second.
    """
    return entry.created or NO_TIME, entry.table == EXTENDED, entry.id


def merged(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield sorted entries (`in_order`), leaving out copies: those that the extended table shares with the default one.

    Copies have the same time, state and score. Two equal entries of one table are two saves, and both stay.
    """
    for _, at_once in groupby(entries, key=lambda entry: entry.created):
        originals: list[tuple[object, ...]] = []
        for entry in at_once:
            content = entry.student_module_id, entry.state, entry.grade, entry.max_grade
            if entry.table != EXTENDED:
                originals.append(content)
            elif content in originals:
                originals.remove(content)
                continue
            yield entry
