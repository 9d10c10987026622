"""Verifies the history of every row, for `check_history`: laws 3 and 9 of docs/concepts.

Pages over the state rows and, with them, over the entries of all stores, whatever the flags show. Entries are read in
windows, each of them from the stores in the order in which entries move, so none is missed that moves meanwhile. The
site may be running: what looks wrong is looked at again with the row locked. No statement but those of the second look
pins a learner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from django.db.models import Q

from xblock_user_state import conf
from xblock_user_state.history.encoding import DELTA, MAX_CHAIN, PLAIN, Decoded, Stored, decode
from xblock_user_state.history.entries import (
    TOMBSTONE,
    Key,
    Owner,
    following,
    owner_of,
    shown_models,
    store_name,
    stores,
    take_write_lock,
    tombstoned_among,
    tombstoned_in,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import block_names
from xblock_user_state.maintenance.orphans import Life, why_orphan
from xblock_user_state.maintenance.paging import pages, rows_of
from xblock_user_state.state import codec
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated, repeat

# Of one row; a history of many thousand entries may be all wrong.
_MOST_FAULTS = 100


@dataclass
class Findings:
    """What was found: how much was looked at, what is wrong, and how many entries no reader is shown.

    ``faults`` has the first hundred of each row.
    """

    rows: int = 0
    entries: int = 0
    hidden: int = 0
    wrong_rows: int = 0
    faults: list[tuple[Owner, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Verification:
    """One pass over the rows of the state's `database`, or those of some blocks (sorted).

    With up to `size` entries of each store in memory. With `late_start` the history of a row may begin later than the
    row: its block type was not recorded then.
    """

    database: str
    block_ids: Sequence[int] | None = None
    size: int = 250
    late_start: bool = False

    def pages(self) -> Iterator[Findings]:
        """Yield what was found, page by page. Raises `ServiceUnavailable` or an error of a database."""
        owners_of = pages(self.database, block_ids=self.block_ids)
        while True:
            with errors_translated(self.database):
                owners = next(owners_of, None)
            if owners is None:
                return
            if owners:
                yield self._page(owners)

    def count(self) -> int:
        """Return how many rows there are to look at. Takes as long as reading the index of all of them."""
        rows = StudentModule._base_manager.using(self.database)
        with errors_translated(self.database):
            return (rows if self.block_ids is None else rows.filter(block_id__in=self.block_ids)).count()

    def _page(self, owners: Sequence[Owner]) -> Findings:
        findings = Findings()
        for owner, at_first in self._look(rows_of(owners)).items():
            history = self._look_again(owner) if at_first.faults else at_first
            if history is None:  # The row is gone.
                continue
            findings.rows += 1
            findings.entries += history.entries
            findings.hidden += history.hidden
            findings.wrong_rows += bool(history.faults)
            findings.faults += [(owner, fault) for fault in history.faults]
        return findings

    def _look_again(self, owner: Owner) -> _History | None:
        """Look at a row to which nobody writes meanwhile; ``None`` if it is not there any more."""

        def attempt() -> _History | None:
            take_write_lock(self.database)
            return self._look(Q(**owner._asdict()), lock=True).get(owner)

        return repeat(self.database, attempt)

    def _look(self, which: Q, *, lock: bool = False) -> dict[Owner, _History]:
        histories = {owner_of(row): history for row, history in self._begun(which, lock=lock)}
        for owner, entries in groupby(_entries(self.database, which, self.size), key=owner_of):
            if owner in histories:
                histories[owner].take(entries)
        for history in histories.values():
            history.finish()
        return histories

    def _begun(self, which: Q, *, lock: bool) -> Iterator[tuple[StudentModule, _History]]:
        found = StudentModule._base_manager.using(self.database).filter(which)
        with errors_translated(self.database):
            rows = list(found.select_for_update() if lock else found)
            names = block_names(self.database, {row.block_id for row in rows})
        begun = partial(_History, shown=shown_models(), late_start=self.late_start)
        for row in rows:
            block_type = names[row.block_id].block_type if row.block_id in names else None
            yield row, begun(row, block_type)


def _checked(revision: int, text: str) -> str | DamagedHistory:
    """Return the text of a state, or the error that stands for it if it is none."""
    try:
        is_state = isinstance(codec.decode(text), dict)
    except (ValueError, RecursionError) as error:
        return DamagedHistory(f"revision {revision} can't be read: it is not JSON: {error}")
    return text if is_state else DamagedHistory(f"revision {revision} can't be read: it is not a JSON object")


def _entries(database: str, which: Q, size: int) -> Iterator[BaseStudentModuleHistory]:
    """Yield the entries of all stores by their keys; of one key, in the order in which entries move."""
    after, is_left = None, True
    while is_left:
        window = _Window(database, which, size, after)
        yield from window.entries
        after, is_left = window.last, window.last is not None


class _Window:
    """The entries that follow a key, up to the key `last` that is the end of the shortest full page of a store."""

    def __init__(self, database: str, which: Q, size: int, after: Key | None) -> None:
        self._database, self._which, self._after = database, which, after
        found: list[BaseStudentModuleHistory] = []
        ends: list[Key] = []
        buried: set[Owner] = set()
        for model, alias in stores(database):
            rows = following(model._base_manager.using(alias).filter(which), after)
            with errors_translated(alias):
                page = list(rows[:size])
            ends += [page[-1].pk] if len(page) == size else []
            if model is HistoryOutbox:
                buried = self._buried(page)
            found += page if alias == database else [entry for entry in page if owner_of(entry) not in buried]
        self.last = min(ends, default=None)
        mine = [entry for entry in found if entry.revision != TOMBSTONE and self._is_within(entry)]
        self.entries = sorted(mine, key=attrgetter("pk"))

    def _is_within(self, entry: BaseStudentModuleHistory) -> bool:
        return self.last is None or entry.pk <= self.last

    def _buried(self, outbox: Sequence[BaseStudentModuleHistory]) -> set[Owner]:
        """Return the owners whose extended history is gone.

        A tombstone has the lowest revision, so the window before has met that of the owner whom it ended with.
        """
        buried = tombstoned_in(outbox)
        if self._after is not None:
            with errors_translated(self._database):
                outbox_rows = HistoryOutbox._base_manager.using(self._database)
                buried |= tombstoned_among(outbox_rows, [Owner(*self._after[:2])])
        return buried


class _Newest(NamedTuple):
    """The newest entry that was looked at, its text, and its place in its chain."""

    entry: BaseStudentModuleHistory
    text: str | DamagedHistory | None
    place: int

    @property
    def content(self) -> tuple[object, ...]:
        return self.text, self.entry.grade, self.entry.max_grade

    @property
    def is_readable(self) -> bool:
        return not isinstance(self.text, DamagedHistory)


class _History:
    """The history of one row, which is looked at entry by entry, oldest first."""

    def __init__(
        self,
        row: StudentModule,
        block_type: str | None,
        *,
        shown: tuple[type[BaseStudentModuleHistory], ...],
        late_start: bool,
    ) -> None:
        self._row, self._shown, self._late_start = row, shown, late_start
        self._life = Life(row.revision, row.created)
        self._is_recorded = block_type is not None and conf.is_recorded(block_type)
        self._newest: _Newest | None = None
        self.faults: list[str] = []
        self.entries = self.hidden = 0
        if block_type is None:
            self._fault("its block is not registered, so nobody can tell whether it is recorded")

    def take(self, entries: Iterable[BaseStudentModuleHistory]) -> None:
        """Look at all entries of the row, by rising revision."""
        for revision, copies in groupby(entries, key=attrgetter("revision")):
            mine = [copy for copy in copies if self._is_mine(copy)]
            if mine:
                self._take(revision, mine)

    def finish(self) -> None:
        """Compare the newest entry with the row."""
        revision = self._newest.entry.revision if self._newest else 0
        if revision < self._row.revision:
            is_fault = self._miss(revision + 1, self._row.revision)
            if self._row.history_chain and not is_fault:
                self._fault(f"the next entry may build on revision {self._row.revision}, which is missing")
        elif self._newest and self._newest.is_readable:
            self._compare(self._newest)

    def _is_mine(self, entry: BaseStudentModuleHistory) -> bool:
        self.entries += 1
        why = why_orphan(entry.revision, entry.created, self._life)
        if why is not None:
            store = store_name(type(entry))
            self._fault(f"revision {entry.revision} in the {store} is an orphan: {why}; run sweep_history")
        return why is None

    def _take(self, revision: int, copies: Sequence[BaseStudentModuleHistory]) -> None:
        self.hidden += not any(isinstance(copy, self._shown) for copy in copies)
        found = [self._read(copy) for copy in copies]
        for one in found:
            if isinstance(one.text, DamagedHistory):
                self._fault(f"{one.text} (in the {store_name(type(one.entry))})")
        readable = [one for one in found if one.is_readable]
        if len({(*one.content, one.entry.created, one.entry.actor_id) for one in readable}) > 1:
            self._fault(f"revision {revision} is in {len(copies)} stores, and is not the same in all of them")
        before, self._newest = self._newest, (readable or found)[0]
        self._follow_up(before, self._newest)

    def _read(self, entry: BaseStudentModuleHistory) -> _Newest:
        newest = self._newest
        before: Decoded = (newest.entry.revision, newest.text) if newest else (0, None)
        body = None if entry.body is None else bytes(entry.body)
        text = decode(Stored(entry.revision, entry.encoding, body), before)
        # Compressed texts have a checksum; of a plain one JSON alone can tell.
        if entry.encoding == PLAIN and isinstance(text, str):
            text = _checked(entry.revision, text)
        is_delta = entry.encoding == DELTA
        return _Newest(entry, text, newest.place + 1 if newest and is_delta else int(text is not None))

    def _follow_up(self, before: _Newest | None, new: _Newest) -> None:
        """Compare an entry with the one before it."""
        revision, last = new.entry.revision, before.entry.revision if before else 0
        if revision > last + 1:
            self._miss(last + 1, revision - 1)
        if before and new.entry.created <= before.entry.created:
            self._fault(f"revision {revision} is not later than revision {last}")
        if before and revision == last + 1 and new.content == before.content:
            self._fault(f"revision {revision} changed nothing")
        if new.is_readable and new.place > MAX_CHAIN:
            self._fault(
                f"revision {revision} builds on {new.place - 1} others; readers look for {MAX_CHAIN - 1} at most"
            )

    def _compare(self, newest: _Newest) -> None:
        row, revision = self._row, newest.entry.revision
        if newest.text != row.state:
            self._fault(f"revision {revision} differs from the state")
        if (newest.entry.grade, newest.entry.max_grade) != (row.grade, row.max_grade):
            self._fault(f"revision {revision} differs from the score")
        if newest.entry.created != row.modified:
            self._fault(f"revision {revision} has another time than the state")
        # With 0 the next entry builds on none, which is right at any time.
        if row.history_chain not in (0, newest.place):
            self._fault(
                f"revision {revision} is number {newest.place} of its chain, and the state's history_chain is "
                f"{row.history_chain}"
            )

    def _miss(self, first: int, last: int) -> bool:
        """Take note of revisions that no store has, and tell whether they should be there."""
        is_fault = self._is_recorded and not (first == 1 and self._late_start)
        if is_fault:
            missing = f"revision {first} is" if first == last else f"revisions {first} to {last} are"
            self._fault(f"{missing} missing")
        return is_fault

    def _fault(self, text: str) -> None:
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)
