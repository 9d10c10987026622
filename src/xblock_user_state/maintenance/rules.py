"""The rules that the history of one row must keep: laws 3 and 9 of docs/concepts.

Revisions, texts and checksums decide. Times do not: they lose their microseconds in Django's JSON fixtures, and an hour
of autumn comes twice in local times. Times that disagree are a note, and no fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from xblock_user_state import conf
from xblock_user_state.history.encoding import (
    LOST,
    MAX_CHAIN,
    PLAIN,
    Decoded,
    Stored,
    checksum,
    closed_off,
    decode,
    is_delta,
)
from xblock_user_state.history.entries import COLUMNS, KEY, EntryRow, store_name
from xblock_user_state.history.models import BaseStudentModuleHistory, stored
from xblock_user_state.history.watermarks import NO_WATERMARK, Watermark
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import BlockName, unreadable_key
from xblock_user_state.state import codec
from xblock_user_state.store.models import StudentModule

UNREADABLE = "the state can't be read, so something else than the client wrote it; set or delete it with the client"
"""The fault of a state that no repair mends."""

MOST_FAULTS = 100
"""Faults that are kept of one row: thousands of entries may be damaged."""

# Django's JSON fixtures cut times to milliseconds.
_RESOLUTION = timedelta(milliseconds=1)

_revision = itemgetter(2)


class StateRow(NamedTuple):
    """The columns of a state row that the rules compare."""

    student_id: Any
    block_id: int
    revision: int
    state: str | None
    modified: datetime
    grade: float | None
    max_grade: float | None
    history_chain: int
    history_checksum: int | None


AnyRow = StateRow | StudentModule


class _DecodedEntry(NamedTuple):
    """An entry, its text, and its place in its chain: 1 for a full entry, one more for each delta."""

    entry: EntryRow
    text: str | DamagedHistory | None
    place: int

    @property
    def content(self) -> tuple[object, ...]:
        """State and score."""
        return self.text, self.entry.grade, self.entry.max_grade

    @property
    def is_readable(self) -> bool:
        return not isinstance(self.text, DamagedHistory)

    @property
    def is_lost(self) -> bool:
        """Tell whether the entry is closed off."""
        return self.entry.encoding == LOST


class RowHistory:
    """Checks the history of one row, entry by entry, oldest first. Call `add` once, then `finish`."""

    def __init__(
        self,
        row: AnyRow,
        block: BlockName,
        *,
        shown: tuple[type[BaseStudentModuleHistory], ...],
        late_start: bool,
        mark: Watermark = NO_WATERMARK,
    ) -> None:
        """`shown` are the models that readers see, and `mark` tells which early entries need not be in the tables."""
        self._row, self._shown, self._late_start, self.mark = row, shown, late_start, mark
        self._is_recorded = block.block_type is not None and conf.is_recorded(block.block_type)
        self._newest: _DecodedEntry | None = None
        self._followers: list[_DecodedEntry] = []
        self._is_uneven = self._is_closed = self._has_packs = False
        self.faults: list[str] = []
        self.note: str | None = None
        self.archive_fault: str | None = None
        self.entries = self.hidden = self.lost = 0
        self.starts_late = False
        """The first revisions are missing, which is a fault. Perhaps the block type was not recorded before."""
        self.is_unreadable = False
        """The state is not a JSON object: `repair_history` leaves the row as it is."""
        self._check_state()
        if block.block_type is None:
            self._fault("its block is not registered, so nobody can tell whether it is recorded")
        elif (problem := unreadable_key(block)) is not None:
            self._fault(f"iterations leave out its block: {problem}")

    def add(self, entries: Iterable[EntryRow]) -> None:
        """Check all entries of the row, by rising revision."""
        for revision, copies in groupby(entries, key=_revision):
            self.entries += 1
            self._check_revision(revision, list(copies))

    def finish(self) -> None:
        """Compare the newest entry with the row."""
        self._name_followers()
        revision = self._newest.entry.revision if self._newest else self.mark.beginning - 1
        if self._newest and self._is_recorded and is_raised(self._row, revision, self._newest.text):
            self._fault(
                f"the state was changed by something else than the client after revision {revision}: its revision is "
                f"{self._row.revision}"
            )
        elif revision < self._row.revision:
            is_fault = self._check_gap(revision + 1, self._row.revision)
            if expects_base(self._row) and not is_fault:
                self._fault(f"the next entry may build on revision {self._row.revision}, which is missing")
        elif revision > self._row.revision:
            self._fault(
                "the state was restored, or changed by something else than the client: its revision is "
                f"{self._row.revision}, and its history goes to {revision}"
            )
        elif self._newest and self._newest.is_readable:
            self._compare_with_row(self._newest)
        elif self._newest and self._newest.is_lost:
            self._fault(f"revision {revision}, the newest, is lost, and no entry has the state")

    def compare_with_archive(self, revisions: Collection[int]) -> None:
        """Compare the revisions that the archive has with the watermark."""
        missing = self.mark.missing(revisions)
        if missing:
            self.archive_fault = f"{_missing(missing)} in the archive"

    @property
    def is_cut(self) -> bool:
        """Tell whether early entries are in the archive, or were dropped."""
        return self.mark.beginning > 1

    @property
    def needs_repair(self) -> bool:
        """Tell whether `repair_history` must look at the row: also at copies, and entries that are closed off."""
        return bool(self.faults) or self._is_uneven or self._is_closed

    def _check_state(self) -> None:
        if self._row.state is not None:
            try:
                codec.check_state(self._row.state)
            except codec.NotAState as error:
                self.is_unreadable = True
                self._fault(f"{UNREADABLE}: {error}")

    def _check_revision(self, revision: int, copies: Sequence[EntryRow]) -> None:
        last = self._newest.entry.revision if self._newest else self.mark.beginning - 1
        decoded = [self._decode(copy) for copy in copies]
        self._has_packs |= copies[0].pack is not None or copies[-1].pack is not None
        # Nearly all revisions have one entry, which follows the one before and can be read: no copy to compare.
        is_plain = len(copies) == 1 and revision == last + 1 and decoded[0].is_readable and not self._followers
        if not is_plain or copies[0].store not in self._shown:
            self._check_copies(revision, last, decoded)
        # A damaged copy does not hide a readable one: the next delta is decoded against the readable copy.
        previous, self._newest = self._newest, next((copy for copy in decoded if copy.is_readable), decoded[0])
        self._compare_with_previous(previous, self._newest)

    def _check_copies(self, revision: int, last: int, decoded: Sequence[_DecodedEntry]) -> None:
        """Check the entries of a revision; `last` is the revision that came before."""
        if revision > last + 1:
            # The cause first: entries that follow may build on a missing one.
            self._name_followers()
            self._check_gap(last + 1, revision - 1)
        self.hidden += not any(copy.entry.store in self._shown for copy in decoded)
        damaged = [copy for copy in decoded if not copy.is_readable and not copy.is_lost]
        if damaged and all(self._follows(copy) for copy in decoded):
            self._followers.append(damaged[0])
        else:
            self._name_followers()
            for copy in damaged:
                self._name_damaged(copy)
        self.lost += not damaged and all(copy.is_lost for copy in decoded)
        self._is_closed |= any(closed_off(stored(copy.entry)) for copy in decoded)
        if len(decoded) > 1:
            self._compare_copies(revision, decoded)

    def _compare_copies(self, revision: int, decoded: Sequence[_DecodedEntry]) -> None:
        # Equal texts may be encoded in different ways, and times may have lost their microseconds: that is no fault.
        self._is_uneven |= len({values_of(copy.entry) for copy in decoded if copy.entry.pack is None}) > 1
        contents = {(*copy.content, copy.entry.actor_id) for copy in decoded if copy.is_readable}
        times = [copy.entry.created for copy in decoded]
        is_half_lost = len({copy.is_lost for copy in decoded}) > 1
        if len(contents) > 1 or is_half_lost or are_apart(min(times), max(times)):
            self._fault(f"revision {revision} is in {len(decoded)} stores, and is not the same in all of them")

    def _follows(self, copy: _DecodedEntry) -> bool:
        """Tell whether a copy can't be read because the entry before it can't be read, or is in the same pack."""
        if self._newest is None or self._newest.is_readable:
            return False
        before, entry = self._newest.entry, copy.entry
        is_next = entry.revision == before.revision + 1
        return is_next and (is_delta(entry.encoding) or (entry.pack is not None and entry.pack == before.pack))

    def _name_damaged(self, copy: _DecodedEntry) -> None:
        self._fault(f"{copy.text} (in the {store_name(copy.entry.store)})")

    def _name_followers(self) -> None:
        """Report the entries that build on a damaged entry: several in one line, as they may be sound themselves."""
        if len(self._followers) == 1:
            self._name_damaged(self._followers[0])
        elif self._followers:
            first, last = (self._followers[place].entry.revision for place in (0, -1))
            pack = self._followers[0].entry.pack
            reason = f"they build on revision {first - 1}"
            if pack is not None:
                reason = f"they are in the damaged pack of revision {pack}, or build on it"
            self._fault(f"revisions {first} to {last} can't be read: {reason}")
        self._followers = []

    def _decode(self, entry: EntryRow) -> _DecodedEntry:
        previous = self._newest
        base: Decoded = (previous.entry.revision, previous.text) if previous else (0, None)
        text = decode_checked(stored(entry), base)
        # An entry without a text is no base, so its place is 0.
        place = previous.place + 1 if previous and is_delta(entry.encoding) else int(text is not None)
        return _DecodedEntry(entry, text, place)

    def _compare_with_previous(self, previous: _DecodedEntry | None, newest: _DecodedEntry) -> None:
        revision, last = newest.entry.revision, previous.entry.revision if previous else 0
        if previous and are_apart(newest.entry.created, previous.entry.created):
            self._note(f"revision {revision} is earlier than revision {last}")
        # A full entry may follow a change by something else than the client, so it may be equal to the entry before.
        is_change = previous is None or not newest.is_readable or not is_delta(newest.entry.encoding)
        if previous and not is_change and newest.content == previous.content:
            self._fault(f"revision {revision} changed nothing")
        if newest.is_readable and newest.place > MAX_CHAIN:
            others = newest.place - 1
            self._fault(f"revision {revision} builds on {others} others; readers decode at most {MAX_CHAIN - 1}")

    def _compare_with_row(self, newest: _DecodedEntry) -> None:
        row, revision = self._row, newest.entry.revision
        expected = checksum(revision, row.state) if row.state is not None else None
        if self.is_unreadable:
            pass  # Named already.
        elif newest.text != row.state:
            self._fault(f"the state was changed by something else than the client after revision {revision}")
        elif row.history_checksum not in (None, expected):
            self._fault(f"the state's history_checksum is not that of revision {revision}")
        if (newest.entry.grade, newest.entry.max_grade) != (row.grade, row.max_grade):
            self._fault(f"the score was changed by something else than the client after revision {revision}")
        if are_apart(*sorted((newest.entry.created, row.modified))):
            self._note(f"revision {revision} has another time than the state")
        # The first kept entry stays a full one when the early ones are restored.
        may_be_shorter = self._has_packs or self.mark != NO_WATERMARK
        if expects_base(row) and is_wrong_place(row.history_chain, newest.place, may_be_shorter=may_be_shorter):
            self._fault(
                f"revision {revision} is number {newest.place} of its chain, and the state's history_chain is "
                f"{row.history_chain}"
            )

    def _check_gap(self, first: int, last: int) -> bool:
        """Report revisions that no store has, unless they may be missing; return whether they are a fault."""
        is_fault = self._is_recorded and not (first == 1 and self._late_start)
        if is_fault:
            self.starts_late |= first == 1
            self._fault(_missing(range(first, last + 1)))
        return is_fault

    def _fault(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)

    def _note(self, text: str) -> None:
        # The first of a row is enough: all times of a row may be wrong.
        self.note = self.note or f"times disagree: {text}"


def _missing(revisions: Sequence[int]) -> str:
    """Return a sentence that some revisions, in order, are missing."""
    first, last = revisions[0], revisions[-1]
    if first == last:
        return f"revision {first} is missing"
    if last - first == len(revisions) - 1:
        return f"revisions {first} to {last} are missing"
    return f"{len(revisions)} revisions between {first} and {last} are missing"


def expects_base(row: AnyRow) -> bool:
    """Tell whether the next entry of a row may be a delta; a full one is always right."""
    text = row.state
    has_checksum = text is not None and row.history_checksum == checksum(row.revision, text)
    return has_checksum and row.history_chain > 0


def is_wrong_place(chain: int, place: int, *, may_be_shorter: bool) -> bool:
    """Tell whether a row's ``history_chain`` is not the `place` of its newest entry in its chain.

    The chain may be shorter than the row has counted if entries are in packs, or early ones in the archive: an entry in
    a pack needs no other, and the first one that is kept needs none.
    """
    return chain < place if may_be_shorter else chain != place


def is_raised(row: AnyRow, newest: int, text: str | DamagedHistory | None) -> bool:
    """Tell whether something else than the client has raised the row's revision; `text` is of its newest entry.

    The checksum proves it: the client's last write of the row made the revision `newest`, so no entry is missing.
    """
    return newest < row.revision and isinstance(text, str) and row.history_checksum == checksum(newest, text)


def are_apart(earlier: datetime, later: datetime) -> bool:
    """Tell whether a time is later than another by a millisecond or more. Both must be in UTC."""
    return later > earlier and later - earlier >= _RESOLUTION


def values_of(entry: EntryRow) -> tuple[object, ...]:
    """Return all columns of an entry except its key, for a comparison."""
    return entry[len(KEY) : len(COLUMNS)]


def decode_checked(entry: Stored, before: Decoded) -> str | DamagedHistory | None:
    """Return the text of an entry, or the error that readers get; `before` is the decoded entry before it."""
    text = decode(entry, before)
    # Compressed bodies have a checksum. A plain body has none, so it must at least be JSON.
    return _check_json(entry.revision, text) if entry.encoding == PLAIN and isinstance(text, str) else text


def _check_json(revision: int, text: str) -> str | DamagedHistory:
    """Return the text if it is a JSON object, else the error that readers get."""
    try:
        codec.check_state(text)
    except codec.NotAState as error:
        return DamagedHistory(f"revision {revision} can't be read: {error}")
    return text
