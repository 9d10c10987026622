"""Compares old histories with ours, entry by entry. Times are not compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from operator import attrgetter
from typing import NamedTuple

from xblock_user_state.history.encoding import Decoded, decode
from xblock_user_state.history.entries import EntryRow, Owner, owner_of
from xblock_user_state.history.models import stored
from xblock_user_state.maintenance.paging import PAGE
from xblock_user_state.maintenance.windows import entries_by_key
from xblock_user_state.openedx.importing.building import OldState, Source, contents
from xblock_user_state.openedx.old.merging import in_order
from xblock_user_state.openedx.old.reading import OldSite
from xblock_user_state.openedx.old.tables import Entry

MOST_ROWS = PAGE
"""Rows that are compared at a time."""

_ENTRIES = 1000
"""Old entries of a page. A row with more has a page of its own, and is read in pieces."""


class OldRow(NamedTuple):
    """The old rows about one learner and block, and the state that they give."""

    source: Source
    state: OldState


class HistoryDifference(NamedTuple):
    """The first difference of the histories of one learner and block, as two texts."""

    source: Source
    old: str
    ours: str


@dataclass(frozen=True)
class HistoryComparison:
    """Compares histories of the old `site` with all that the state's `database` and the extended history have.

    A page takes a statement for each old table and for each of our stores, whatever its number of rows.
    """

    site: OldSite
    database: str

    def of_rows(self, rows: Sequence[OldRow]) -> Iterator[HistoryDifference]:
        """Yield the differences of up to `MOST_ROWS` rows, sorted by learner and block."""
        for page, is_long in self._pages(rows):
            histories = self._long_history(page) if is_long else self._histories(page)
            here = _Following(entries_by_key(self.database, [_owner(row.source) for row in page], 2 * _ENTRIES))
            for (source, state), entries in zip(page, histories, strict=True):
                difference = _difference(contents(source, entries, state), _contents_here(here.of(_owner(source))))
                if difference:
                    yield HistoryDifference(source, *difference)

    def _pages(self, rows: Sequence[OldRow]) -> Iterator[tuple[list[OldRow], bool]]:
        """Yield rows that have up to `_ENTRIES` entries together, and alone each row that has more."""
        counts = self.site.history_counts([id_ for row in rows for id_ in _ids(row.source)])
        page: list[OldRow] = []
        size = 0
        for row in rows:
            entries = sum(counts.get(id_, 0) for id_ in _ids(row.source))
            if page and size + entries > _ENTRIES:
                yield page, False
                page, size = [], 0
            if entries > _ENTRIES:
                yield [row], True
            else:
                page.append(row)
                size += entries
        if page:
            yield page, False

    def _long_history(self, page: Sequence[OldRow]) -> Iterator[Iterable[Entry]]:
        return (self.site.long_history(_ids(row.source)) for row in page)

    def _histories(self, page: Sequence[OldRow]) -> Iterator[Iterable[Entry]]:
        found: dict[int, list[Entry]] = defaultdict(list)
        for entry in self.site.entries([id_ for row in page for id_ in _ids(row.source)]):
            found[entry.student_module_id].append(entry)
        return (sorted((each for id_ in _ids(row.source) for each in found[id_]), key=in_order) for row in page)


class _Following:
    """Entries of owners, each taken once, in the order in which they come."""

    def __init__(self, entries: Iterator[EntryRow]) -> None:
        self._groups = groupby(entries, key=owner_of)
        self._next = next(self._groups, None)

    def of(self, owner: Owner) -> Iterator[EntryRow]:
        """Yield the entries of an owner; none if another one's come first. Read them to the end."""
        if self._next is not None and self._next[0] == owner:
            yield from self._next[1]
            self._next = next(self._groups, None)


def _contents_here(entries: Iterable[EntryRow]) -> Iterator[tuple[object, ...]]:
    """Yield state and score of each revision; an error stands for a state that can't be read."""
    before: Decoded = (0, None)
    for revision, copies in groupby(entries, key=attrgetter("revision")):
        # Readers take the first, too.
        entry = next(copies)
        before = revision, decode(stored(entry), before)
        yield before[1], entry.grade, entry.max_grade


def _difference(old: Iterable[object], ours: Iterable[object]) -> tuple[str, str] | None:
    """Return the first difference of two histories as two texts; ``None`` if there is none. Reads both to the end."""
    first = None
    lengths = [0, 0]
    for revision, pair in enumerate(zip_longest(old, ours), start=1):
        one, other = pair
        lengths = [length + (each is not None) for length, each in zip(lengths, pair, strict=True)]
        if first is None and None not in pair and one != other:
            first = revision
    if first is not None:
        return f"revision {first}", "another"
    return None if lengths[0] == lengths[1] else (f"{lengths[0]} entries", f"{lengths[1]} entries")


def _ids(source: Source) -> list[int]:
    return [module.id for module in source.modules]


def _owner(source: Source) -> Owner:
    return Owner(source.student_id, source.block.id)
