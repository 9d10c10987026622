"""The rules that the history of one row must keep: laws 3 and 9 of docs/concepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from xblock_user_state import conf
from xblock_user_state.history.encoding import DELTA, MAX_CHAIN, PLAIN, Decoded, Stored, decode
from xblock_user_state.history.entries import store_name
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import BlockName, unreadable_key
from xblock_user_state.maintenance.orphans import Life, why_orphan
from xblock_user_state.state import codec
from xblock_user_state.store.models import StudentModule

MOST_FAULTS = 100
"""Faults that are kept of one row: thousands of entries may be damaged."""


class _DecodedEntry(NamedTuple):
    """An entry, its text, and its place in its chain: 1 for a full entry, one more for each delta."""

    entry: BaseStudentModuleHistory
    text: str | DamagedHistory | None
    place: int

    @property
    def content(self) -> tuple[object, ...]:
        """State and score."""
        return self.text, self.entry.grade, self.entry.max_grade

    @property
    def is_readable(self) -> bool:
        return not isinstance(self.text, DamagedHistory)


class RowHistory:
    """Checks the history of one row, entry by entry, oldest first. Call `add` once, then `finish`."""

    def __init__(
        self,
        row: StudentModule,
        block: BlockName,
        *,
        shown: tuple[type[BaseStudentModuleHistory], ...],
        late_start: bool,
    ) -> None:
        """`shown` are the models that readers see."""
        self._row, self._shown, self._late_start = row, shown, late_start
        self._life = Life(row.revision, row.created)
        self._is_recorded = block.block_type is not None and conf.is_recorded(block.block_type)
        self._newest: _DecodedEntry | None = None
        self._followers: list[_DecodedEntry] = []
        self.faults: list[str] = []
        self.entries = self.hidden = 0
        if block.block_type is None:
            self._fault("its block is not registered, so nobody can tell whether it is recorded")
        elif (problem := unreadable_key(block)) is not None:
            self._fault(f"iterations leave out its block: {problem}")

    def add(self, entries: Iterable[BaseStudentModuleHistory]) -> None:
        """Check all entries of the row, by rising revision."""
        for revision, copies in groupby(entries, key=attrgetter("revision")):
            self.entries += 1
            of_row = list(self._without_orphans(copies))
            if of_row:
                self._check_revision(revision, of_row)

    def finish(self) -> None:
        """Compare the newest entry with the row."""
        self._name_followers()
        revision = self._newest.entry.revision if self._newest else 0
        if revision < self._row.revision:
            is_fault = self._check_gap(revision + 1, self._row.revision)
            if self._row.history_chain and not is_fault:
                self._fault(f"the next entry may build on revision {self._row.revision}, which is missing")
        elif self._newest and self._newest.is_readable:
            self._compare_with_row(self._newest)

    def _without_orphans(self, copies: Iterable[BaseStudentModuleHistory]) -> Iterator[BaseStudentModuleHistory]:
        for entry in copies:
            reason = why_orphan(entry.revision, entry.created, self._life)
            if reason is None:
                yield entry
            else:
                store = store_name(type(entry))
                self._fault(f"revision {entry.revision} in the {store} is an orphan: {reason}; run sweep_history")

    def _check_revision(self, revision: int, copies: Sequence[BaseStudentModuleHistory]) -> None:
        self.hidden += not any(isinstance(copy, self._shown) for copy in copies)
        decoded = [self._decode(copy) for copy in copies]
        damaged = [copy for copy in decoded if not copy.is_readable]
        if damaged and all(self._follows(copy) for copy in decoded):
            self._followers.append(damaged[0])
        else:
            self._name_followers()
            for copy in damaged:
                self._name_damaged(copy)
        readable = [copy for copy in decoded if copy.is_readable]
        if len({(*copy.content, copy.entry.created, copy.entry.actor_id) for copy in readable}) > 1:
            self._fault(f"revision {revision} is in {len(copies)} stores, and is not the same in all of them")
        # A damaged copy does not hide a readable one: the next delta is decoded against the readable copy.
        previous, self._newest = self._newest, (readable or decoded)[0]
        self._compare_with_previous(previous, self._newest)

    def _follows(self, copy: _DecodedEntry) -> bool:
        """Tell whether a copy can't be read because the entry before it can't be read."""
        is_next = self._newest is not None and copy.entry.revision == self._newest.entry.revision + 1
        is_base_damaged = self._newest is not None and not self._newest.is_readable
        return is_next and is_base_damaged and copy.entry.encoding == DELTA

    def _name_damaged(self, copy: _DecodedEntry) -> None:
        self._fault(f"{copy.text} (in the {store_name(type(copy.entry))})")

    def _name_followers(self) -> None:
        """Report the entries that build on a damaged entry: several in one line, as they may be sound themselves."""
        if len(self._followers) == 1:
            self._name_damaged(self._followers[0])
        elif self._followers:
            first, last = (self._followers[place].entry.revision for place in (0, -1))
            self._fault(f"revisions {first} to {last} can't be read: they build on revision {first - 1}")
        self._followers = []

    def _decode(self, entry: BaseStudentModuleHistory) -> _DecodedEntry:
        previous = self._newest
        base: Decoded = (previous.entry.revision, previous.text) if previous else (0, None)
        body = None if entry.body is None else bytes(entry.body)
        text = decode(Stored(entry.revision, entry.encoding, body), base)
        # Compressed bodies have a checksum. A plain body has none, so it must at least be JSON.
        if entry.encoding == PLAIN and isinstance(text, str):
            text = _check_json(entry.revision, text)
        # An entry without a text is no base, so its place is 0.
        is_delta = entry.encoding == DELTA
        return _DecodedEntry(entry, text, previous.place + 1 if previous and is_delta else int(text is not None))

    def _compare_with_previous(self, previous: _DecodedEntry | None, newest: _DecodedEntry) -> None:
        revision, last = newest.entry.revision, previous.entry.revision if previous else 0
        if revision > last + 1:
            self._check_gap(last + 1, revision - 1)
        # Times of a row rise strictly, also where the clock stands still.
        if previous and newest.entry.created <= previous.entry.created:
            self._fault(f"revision {revision} is not later than revision {last}")
        # After a gap the entries are no neighbours, and may be equal.
        if previous and revision == last + 1 and newest.content == previous.content:
            self._fault(f"revision {revision} changed nothing")
        if newest.is_readable and newest.place > MAX_CHAIN:
            others = newest.place - 1
            self._fault(f"revision {revision} builds on {others} others; readers decode at most {MAX_CHAIN - 1}")

    def _compare_with_row(self, newest: _DecodedEntry) -> None:
        row, revision = self._row, newest.entry.revision
        if newest.text != row.state:
            self._fault(f"revision {revision} differs from the state")
        if (newest.entry.grade, newest.entry.max_grade) != (row.grade, row.max_grade):
            self._fault(f"revision {revision} differs from the score")
        if newest.entry.created != row.modified:
            self._fault(f"revision {revision} has another time than the state")
        # 0 makes the next entry a full one, which is always right.
        if row.history_chain not in (0, newest.place):
            self._fault(
                f"revision {revision} is number {newest.place} of its chain, and the state's history_chain is "
                f"{row.history_chain}"
            )

    def _check_gap(self, first: int, last: int) -> bool:
        """Report revisions that no store has, unless they may be missing; return whether they are a fault."""
        is_fault = self._is_recorded and not (first == 1 and self._late_start)
        if is_fault:
            missing = f"revision {first} is" if first == last else f"revisions {first} to {last} are"
            self._fault(f"{missing} missing")
        return is_fault

    def _fault(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)


def _check_json(revision: int, text: str) -> str | DamagedHistory:
    """Return the text if it is a JSON object, else the error that readers get."""
    try:
        is_object = isinstance(codec.decode(text), dict)
    except (ValueError, RecursionError) as error:
        return DamagedHistory(f"revision {revision} can't be read: it is not JSON: {error}")
    return text if is_object else DamagedHistory(f"revision {revision} can't be read: it is not a JSON object")
