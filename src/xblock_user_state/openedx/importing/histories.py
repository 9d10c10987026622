"""Reads the histories that rows are built from: whole, or from the entry on that this store has already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from xblock_user_state.openedx.importing.building import FIRST, Source, Start, next_time
from xblock_user_state.openedx.importing.grouping import grouped
from xblock_user_state.openedx.old.merging import Place, in_order, places_from
from xblock_user_state.openedx.old.reading import OldSite
from xblock_user_state.openedx.old.tables import Entry, ModuleRow

LONG_HISTORY = 1000
"""Entries with their states in memory at a time. A row with more of them is read in chunks."""


class History(NamedTuple):
    """Entries that follow a start, in order, and then the old rows: `building.build` makes a row of these."""

    source: Source
    entries: Iterable[Entry]
    rows: Callable[[], Mapping[int, ModuleRow]]
    start: Start = FIRST


class Histories:
    """Reads old histories in pieces of bounded size."""

    def __init__(self, site: OldSite, sources: Iterable[Source]) -> None:
        """Count the entries of the sources. One statement for each table."""
        self._site = site
        self._counts = site.history_counts([id_ for source in sources for id_ in source.ids])

    def count(self, source: Source) -> int:
        """Return the number of entries, copies included."""
        return sum(self._counts.get(id_, 0) for id_ in source.ids)

    def whole(self, sources: Iterable[Source]) -> Iterator[History]:
        """Yield the whole histories of these sources."""
        for piece in self._pieces(sources):
            ids = [id_ for source in piece for id_ in source.ids]
            rows = _Once(partial(self._site.rows, ids))
            if self._is_long(piece[0]):
                yield History(piece[0], self._site.long_history(ids), rows)
                continue
            found = _by_module(self._site.entries(ids))
            for source in piece:
                entries = [entry for id_ in source.ids for entry in found.get(id_, ())]
                yield History(source, sorted(entries, key=in_order), rows)

    def rests(self, revisions: Mapping[int, int], sources: Iterable[Source]) -> Iterator[History]:
        """Yield histories from the entry on with which this store's end, whose revisions are given by old ids.

        For sources of one old row each. Leaves out those for which only the states would tell the revisions.
        """
        for piece in self._pieces(sources):
            places = self._site.places([source.ids[0] for source in piece])
            rests = {id_: rest for id_, found in places.items() if (rest := places_from(found, revisions[id_]))}
            entries = self._site.entries_at(list(chain.from_iterable(rests.values())))
            by_module: Mapping[int, Iterable[Entry]]
            by_module = dict.fromkeys(rests, entries) if self._is_long(piece[0]) else _by_module(entries)
            rows = _Once(partial(self._site.rows, list(rests)))
            for source in piece:
                [id_] = source.ids
                if id_ in rests:
                    yield History(source, by_module[id_], rows, _start(places[id_], revisions[id_]))

    def _pieces(self, sources: Iterable[Source]) -> Iterator[list[Source]]:
        """Yield sources that have up to `LONG_HISTORY` entries together, and alone each that has more."""
        # A source without entries counts too: its state is in memory.
        return grouped(sources, lambda source: self.count(source) or 1, LONG_HISTORY)

    def _is_long(self, source: Source) -> bool:
        return self.count(source) > LONG_HISTORY


class _Once:
    """Calls a function once, when it is asked for the first time."""

    def __init__(self, read: Callable[[], Mapping[int, ModuleRow]]) -> None:
        self._read = read
        self._found: Mapping[int, ModuleRow] | None = None

    def __call__(self) -> Mapping[int, ModuleRow]:
        if self._found is None:
            self._found = self._read()
        return self._found


def _by_module(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    found: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.student_module_id].append(entry)
    return found


def _start(places: Sequence[Place], revision: int) -> Start:
    """Return the start of a build from the entry of a stored revision on."""
    modified = None
    for created, *_ in places[: revision - 1]:
        modified = next_time(created, modified)
    return Start(revision - 1, modified, revision + 1)
