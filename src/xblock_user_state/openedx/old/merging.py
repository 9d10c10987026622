"""One history from the two old tables of history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from xblock_user_state.openedx.old.tables import EXTENDED, Entry

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands in for a time that nobody knows."""


Place = tuple[datetime, bool, int]
"""The place of an entry in its history: time, whether it is of the extended table, id."""


def in_order(entry: Entry) -> Place:
    """Return the sort key of entries: time, default table before extended table, id.

    Ids alone mislead after a copy with new ids, and times alone have ties: until 2022 the platform saved a submission
    in two entries of one second.
    """
    return entry.created or NO_TIME, entry.table == EXTENDED, entry.id


def merged(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield sorted entries (`in_order`), leaving out copies: those that the extended table shares with the default one.

    Copies have the same time, state and score. Two equal entries of one table are two saves, and both stay.
    """
    moment: datetime | None = None
    originals: list[Entry] = []
    for entry in entries:
        if entry.created != moment:
            moment, originals = entry.created, []
        if entry.table != EXTENDED:
            originals.append(entry)
        elif originals and (original := _original(entry, originals)):
            originals.remove(original)
            continue
        yield entry


def places_from(places: Sequence[Place], revision: int) -> Sequence[Place] | None:
    """Return the sorted places of a history from the entry of a revision on.

    ``None`` if there is no later entry, or if copies may stand before it: then only the states tell the revisions.
    """
    if not 0 < revision < len(places) or places[revision - 1][0] == places[revision][0]:
        return None
    before = places[:revision]
    # At one time, entries of the extended table come after those of the default table.
    if any(one[0] == other[0] and one[1] != other[1] for one, other in pairwise(before)):
        return None
    return places[revision - 1 :]


def _original(copy: Entry, originals: Iterable[Entry]) -> Entry | None:
    content = copy.student_module_id, copy.state, copy.grade, copy.max_grade
    return next(
        (
            entry
            for entry in originals
            if (entry.student_module_id, entry.state, entry.grade, entry.max_grade) == content
        ),
        None,
    )
