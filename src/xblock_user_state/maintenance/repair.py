"""Repairs the history of rows for `repair_history`, one row at a time, while the site runs.

A repair guesses nothing. An entry that can be read stays as it is; one that can't is closed off with its bytes inside,
and a missing one by an entry without a body. Where the newest entry does not stand for the state, the state gets a new
revision, with a full entry: the state as it is now, after a change that nobody recorded. Revisions, texts and checksums
decide, never times.

A row and its local entries are locked, so that writers, relays and back-fills keep away. New entries take the way of
all new entries, through the outbox where there is an extended history. Entries of the extended history are changed
there, before the state's transaction commits: a crash between the two commits leaves a part of the repair, and the next
run does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connections, transaction
from django.db.models import Q
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.encoding import LOST, PACK, Stored, checksum, close_off, encode_compact, encode_plain
from xblock_user_state.history.entries import (
    KEY,
    EntryRow,
    Owner,
    all_rows,
    replace_rows,
    shown_models,
    store_name,
    take_write_lock,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory, stored
from xblock_user_state.history.outbox import collisions
from xblock_user_state.history.outbox.answers import BATCH_SECONDS, FILE_SECONDS, HistoryUnavailable
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.history.outbox.reaching import await_file, reach_history
from xblock_user_state.history.outbox.sending import loads
from xblock_user_state.history.outbox.shipping import ship_after_commit
from xblock_user_state.history.rows import instance
from xblock_user_state.history.watermarks import NO_WATERMARK, Watermark, watermarks_in
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import BlockName, block_names
from xblock_user_state.maintenance.rules import (
    UNREADABLE,
    RowHistory,
    decode_checked,
    expects_base,
    is_raised,
    is_wrong_place,
    values_of,
)
from xblock_user_state.maintenance.verification import Verification
from xblock_user_state.maintenance.versions import Version, versions_of
from xblock_user_state.maintenance.windows import entries_by_key
from xblock_user_state.state.change import clock
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import LostRace, repeat

MOST_MISSING = 10_000
"""Missing entries of one row that are closed off: SQL may have given the row any revision."""

_TICK = timedelta(microseconds=1)
Store = type[BaseStudentModuleHistory]
_LOCAL: tuple[Store, ...] = (HistoryOutbox, StudentModuleHistory)


@dataclass
class Repairs:
    """Numbers of rows that were checked, repaired, and left with faults, and of entries that are closed off.

    ``acts`` and ``left`` are the changes, and the faults that no repair mends, each with its row.
    """

    rows: int = 0
    repaired_rows: int = 0
    wrong_rows: int = 0
    lost: int = 0
    acts: list[tuple[Owner, str]] = field(default_factory=list)
    left: list[tuple[Owner, str]] = field(default_factory=list)
    late_rows: int = 0
    """Rows of which the first revisions are missing, and are left."""

    def add_numbers(self, other: Repairs) -> None:
        """Add the numbers of a page to these."""
        self.rows += other.rows
        self.repaired_rows += other.repaired_rows
        self.wrong_rows += other.wrong_rows
        self.lost += other.lost
        self.late_rows += other.late_rows


@dataclass(frozen=True)
class Repair:
    """One pass over the rows that a `verification` goes over. With `dry_run` it changes nothing."""

    verification: Verification
    dry_run: bool = False
    lost_start: bool = False
    """Close off missing first revisions too. Else they are left: the block type may not have been recorded then."""

    def pages(self) -> Iterator[Repairs]:
        """Repair row after row; yield each as soon as it is committed, and the sound rows of a page together.

        Raises `HistoryUnavailable`, `ServiceUnavailable` or a database error. The rows before stay repaired.
        """
        for owners in self.verification.owners():
            sound = Repairs()
            for owner, history in self.verification.verify(owners).items():
                if history.is_unreadable:
                    # A repair would make a text that nobody can read a revision, and its history look sound.
                    fault = next(fault for fault in history.faults if fault.startswith(UNREADABLE))
                    yield Repairs(rows=1, wrong_rows=1, lost=history.lost, left=[(owner, fault)])
                elif history.needs_repair:
                    yield self._repair(owner)
                else:
                    sound.rows += 1
                    sound.lost += history.lost
            yield sound

    def _repair(self, owner: Owner) -> Repairs:
        if conf.has_extended_history():
            # Before any row is locked: a server that does not answer takes the whole timeout.
            reach_history(BATCH_SECONDS)
            await_file(BATCH_SECONDS)
        row = repeat(self.verification.database, partial(self._attempt, owner))
        if row is not None and row.has_two_lives and (settled := self._settle(owner)):
            if self.dry_run:
                return settled
            repaired = self._repair(owner)
            return replace(repaired, repaired_rows=1, acts=settled.acts + repaired.acts)
        if row is not None and row.has_two_lives:
            # Copies of one entry, of which one has changed.
            row = repeat(self.verification.database, partial(self._attempt, owner, is_settled=True))
        return Repairs() if row is None else _repairs(owner, row)

    def _settle(self, owner: Owner) -> Repairs | None:
        """Give the entries of one life new revisions, as readers and the relay do; ``None`` if there is only one."""
        try:
            taken = collisions.settle(self.verification.database, owner, BATCH_SECONDS, dry_run=self.dry_run)
        except collisions.ExtendedUnread as error:
            raise HistoryUnavailable(str(error.__cause__)) from error
        if taken is None:
            return None
        act = f"two stores have different entries of revision {taken}: those of the present state get new revisions"
        return Repairs(rows=1, repaired_rows=1, acts=[(owner, act)])

    def _attempt(self, owner: Owner, *, is_settled: bool = False) -> RowRepair | None:
        database, of_owner = self.verification.database, Q(student_id=owner.student_id, block_id=owner.block_id)
        take_write_lock(database)
        found = list(all_rows(StudentModule, database).filter(of_owner).select_for_update())
        if not found:
            return None
        for model in (HistoryOutbox, StudentModuleHistory):
            # A back-fill or a relay that moves an entry meanwhile would move it as it was before the repair.
            locked = all_rows(model, database).filter(of_owner).order_by(*KEY).select_for_update()
            list(locked.values_list("revision"))
        [row] = found
        block = block_names(database, [owner.block_id])[owner.block_id]
        mark = watermarks_in(database, owner.student_id, [owner.block_id]).get(owner.block_id, NO_WATERMARK)
        repair = RowRepair(row, block, mark, late_start=self.verification.late_start, lost_start=self.lost_start)
        with _history_expected():
            versions = versions_of(row, entries_by_key(database, [owner], self.verification.size))
            repair.plan(versions, is_settled=is_settled)
        if not self.dry_run:
            repair.apply(database)
        return repair


def _repairs(owner: Owner, row: RowRepair) -> Repairs:
    after = row.verified()
    return Repairs(
        rows=1,
        repaired_rows=int(row.is_changed),
        wrong_rows=int(bool(after.faults)),
        lost=after.lost,
        late_rows=int(after.starts_late),
        acts=[(owner, act) for act in row.acts],
        left=[(owner, fault) for fault in after.faults],
    )


def _history_expected() -> AbstractContextManager[None]:
    """Bound the wait for the history database: rows of the state's database are locked meanwhile."""
    if not conf.has_extended_history():
        return nullcontext()
    return answer_expected(conf.history_database(), BATCH_SECONDS, FILE_SECONDS)


@contextmanager
def _history_errors() -> Iterator[None]:
    """Translate errors of the history database: `LostRace` after a deadlock, else `HistoryUnavailable`."""
    connection = connections[conf.history_database()]
    try:
        yield
    except Error as error:
        if dialect_of(connection).failure(error) is Failure.CONFLICT:
            raise LostRace from error
        # A timeout has shut the connection; the next run needs a new one.
        connection.close_if_unusable_or_obsolete()
        raise HistoryUnavailable(str(error)) from error


class RowRepair:
    """The repair of one row: call `plan` once, then `apply`, or not."""

    def __init__(
        self, row: StudentModule, block: BlockName, mark: Watermark, *, late_start: bool, lost_start: bool
    ) -> None:
        self._row, self._block, self._mark = row, block, mark
        self._late_start, self._lost_start = late_start, lost_start
        self._is_recorded = block.block_type is not None and conf.is_recorded(block.block_type)
        self._changes: dict[str, Any] = {}
        self._puts: dict[Store, list[EntryRow]] = {}
        self._history: list[EntryRow] = []
        self.acts: list[str] = []
        self.has_two_lives = False
        """True if two stores have different entries of a revision: nothing is planned before that is settled."""

    @property
    def is_changed(self) -> bool:
        """Tell whether there is anything to change."""
        return bool(self._changes or self._puts)

    def plan(self, versions: Sequence[Version], *, is_settled: bool) -> None:
        """Decide what to change. `versions` are the versions of all revisions, oldest first."""
        self.has_two_lives = not is_settled and not all(version.is_single for version in versions)
        if self.has_two_lives:
            return
        if any(map(_is_of_two_lives, versions)):
            # A life in rows and another in a pack of the same store, of which no other store has entries.
            self._history = [copy for version in versions for copy in version.copies]
            return
        newest = versions[-1] if versions else None
        if newest:
            self._write_anew(newest)
        before: Version | None = None
        for version in versions:
            self._close_gap(before, version.revision, _home(version.entry), version.entry.created)
            self._settle(version)
            before = version
        self._open_packs(versions)
        has_packs = any(version.entry.pack is not None for version in versions)
        self._follow(newest, may_be_shorter=has_packs or self._mark != NO_WATERMARK)

    def _follow(self, newest: Version | None, *, may_be_shorter: bool) -> None:
        """Let the row and its newest entry agree."""
        highest = newest.revision if newest else 0
        if highest < self._row.revision:
            self._extend(newest)
        elif newest and highest > self._row.revision:
            self._lift_restored(newest)
        elif newest and newest.is_readable and newest.agrees(self._row):
            self._check_chain(newest, may_be_shorter=may_be_shorter)
        elif newest:
            is_lost = not newest.is_readable
            reason = f"revision {highest} is lost" if is_lost else f"it was changed after revision {highest}"
            self._lift(highest, newest.entry.created, reason)

    def apply(self, database: str) -> None:
        """Write the changes of the plan, in a transaction that has locked the row and its local entries."""
        extended = [model for model in self._puts if model not in _LOCAL]
        if extended:
            alias = conf.history_database()
            with _history_errors(), _history_expected(), transaction.atomic(using=alias):
                for model in extended:
                    _put_all(model, alias, self._puts[model])
        for model in _LOCAL:
            _put_all(model, database, self._puts.get(model, []))
        if self._changes:
            row = all_rows(StudentModule, database)
            row.filter(student_id=self._row.student_id, block_id=self._row.block_id).update(**self._changes)
        if HistoryOutbox in self._puts and conf.ships_at_once() and conf.has_extended_history():
            ship_after_commit(database, self._row.student_id, [self._row.block_id])

    def verified(self) -> RowHistory:
        """Return the check of the row as it is after the repair."""
        row = copy(self._row)
        vars(row).update(self._changes)
        history = RowHistory(row, self._block, shown=shown_models(), late_start=self._late_start, mark=self._mark)
        history.add(self._history)
        history.finish()
        return history

    def _write_anew(self, newest: Version) -> None:
        """Take the text of a damaged newest entry from the row, if the row's checksum vouches for it."""
        row, entry = self._row, newest.entry
        is_damaged = newest.revision == row.revision and not newest.is_readable
        if is_damaged and self._is_vouched() and (entry.grade, entry.max_grade) == (row.grade, row.max_grade):
            newest.act = f"{newest.text}; it is written anew from the state"
            newest.encoding, newest.body = _full(row.state)
            newest.text, newest.place = row.state, 1
            self._changes["history_chain"] = 1

    def _is_vouched(self) -> bool:
        """Tell whether the client wrote the text of the row, at its revision: an entry had the same checksum."""
        row = self._row
        return row.state is not None and row.history_checksum == checksum(row.revision, row.state)

    def _settle(self, version: Version) -> None:
        """Close off an entry that can't be read, and make all copies of an entry the same."""
        if not version.is_readable and not version.is_lost:
            version.act = f"{version.text}; it is closed off"
            version.encoding, version.body = close_off(stored(version.entry))
        settled = _entry(
            version.entry.store,
            version.entry,
            revision=version.revision,
            encoding=version.encoding,
            body=version.body,
        )
        stale = [each for each in version.copies if _is_stale(each, settled, version)]
        if stale and version.act is None:
            store = store_name(version.entry.store)
            version.act = f"revision {version.revision} is not the same in all stores; the entry of the {store} is kept"
        if version.act:
            self.acts.append(version.act)
        for model in {each.store for each in stale}:
            self._put(model, settled)
        self._history.append(settled)

    def _open_packs(self, versions: Sequence[Version]) -> None:
        """Make rows of the entries of each pack that has an entry to change."""
        changed = {(store, entry.revision) for store, entries in self._puts.items() for entry in entries}
        packed = [each for version in versions for each in version.copies if each.pack is not None]
        opened = {(each.store, each.pack) for each in packed if (each.store, each.revision) in changed}
        for each in packed:
            if (each.store, each.pack) in opened and (each.store, each.revision) not in changed:
                text = None if each.body is None else bytes(each.body).decode()
                encoding, body = encode_compact(text, None)
                self._put(each.store, each._replace(encoding=encoding, body=body))

    def _close_gap(self, before: Version | None, end: int, home: Store, created: datetime) -> None:
        """Close off the missing revisions between a version and the revision `end`."""
        first = before.revision + 1 if before else self._mark.beginning
        if first >= end or not self._is_fault(first) or end - first > MOST_MISSING:
            return
        missing = f"revision {first} was" if first == end - 1 else f"revisions {first} to {end - 1} were"
        self.acts.append(f"{missing} missing; closed off")
        # The score and the actor are lost too. The time is a neighbour's: a table has no entry without a time.
        template = _lost(self._row, before.entry.created if before else created)
        for revision in range(first, end):
            self._add(home, _entry(home, template, revision=revision, encoding=LOST, body=None))

    def _is_fault(self, first: int) -> bool:
        """Tell whether a gap that begins with this revision is closed off."""
        return self._is_recorded and (first > 1 or self._lost_start)

    def _extend(self, newest: Version | None) -> None:
        """Add the entries that are missing up to the row's revision."""
        row, first = self._row, newest.revision + 1 if newest else self._mark.beginning
        if not self._is_fault(first):
            if expects_base(row):
                self._begin_chain(f"the next entry will be a full one: revision {row.revision} is missing")
            return
        if row.revision - first >= MOST_MISSING:
            return
        if newest and is_raised(row, newest.revision, newest.text):
            self._follow_raised(newest)
            return
        home = _home(newest.entry) if newest else _new_home()
        is_vouched = self._is_vouched()
        self._close_gap(newest, row.revision + (not is_vouched), home, row.modified)
        if is_vouched:
            self.acts.append(f"revision {row.revision} was missing; it is written from the state")
            self._record(home, row.revision, row.modified)
            self._changes["history_chain"] = 1
        else:
            self._lift(row.revision, row.modified, f"revision {row.revision} is lost")

    def _follow_raised(self, newest: Version) -> None:
        """Record the state at the revision to which something else than the client has raised the row."""
        row, text = self._row, self._row.state
        self._close_gap(newest, row.revision, _home(newest.entry), row.modified)
        self.acts.append(f"revision {row.revision} records the state: it was changed after revision {newest.revision}")
        # SQL may have left the time alone.
        created = max(row.modified, newest.entry.created + _TICK)
        self._record(_new_home(), row.revision, created)
        self._changes |= {
            "modified": created,
            "history_chain": int(text is not None),
            "history_checksum": None if text is None else checksum(row.revision, text),
        }

    def _lift_restored(self, newest: Version) -> None:
        """Give a row the revision that follows its history: another revision of that number was in the history."""
        row = self._row
        reason = f"it was restored or changed: its revision was {row.revision}, and its history went to"
        if newest.agrees(row):
            self.acts.append(f"the state has revision {newest.revision}: {reason} {newest.revision}, which is the same")
            self._changes |= {"revision": newest.revision, "modified": newest.entry.created}
            self._changes |= {"history_chain": 0, "history_checksum": None}
        else:
            self._lift(newest.revision, newest.entry.created, f"{reason} {newest.revision}")

    def _lift(self, highest: int, newest: datetime, reason: str) -> None:
        """Give the row the next revision, with a full entry of its state."""
        row, revision = self._row, highest + 1
        self.acts.append(f"revision {revision} records the state: {reason}")
        created = max(clock(), row.modified + _TICK, newest + _TICK)
        self._record(_new_home(), revision, created)
        text = row.state
        self._changes = {
            "revision": revision,
            "modified": created,
            "history_chain": int(text is not None),
            "history_checksum": None if text is None else checksum(revision, text),
        }

    def _record(self, home: Store, revision: int, created: datetime) -> None:
        encoding, body = _full(self._row.state)
        template = _lost(self._row, created)._replace(grade=self._row.grade, max_grade=self._row.max_grade)
        self._add(home, _entry(home, template, revision=revision, encoding=encoding, body=body))

    def _check_chain(self, newest: Version, *, may_be_shorter: bool) -> None:
        """Let the next entry be a full one, unless the row's chain and checksum are those of the newest entry."""
        row = self._row
        chain = self._changes.get("history_chain", row.history_chain)
        is_wrong = not self._is_vouched() and row.history_checksum is not None
        is_wrong |= expects_base(row) and is_wrong_place(chain, newest.place, may_be_shorter=may_be_shorter)
        if is_wrong:
            self._begin_chain("the next entry will be a full one: history_chain or history_checksum was wrong")

    def _begin_chain(self, act: str) -> None:
        self.acts.append(act)
        self._changes |= {"history_chain": 0, "history_checksum": None}

    def _add(self, home: Store, entry: EntryRow) -> None:
        self._put(home, entry)
        self._history.append(entry)

    def _put(self, home: Store, entry: EntryRow) -> None:
        self._puts.setdefault(home, []).append(entry._replace(store=home))


def _is_of_two_lives(version: Version) -> bool:
    """Tell whether a store has two entries of a revision, one of them in a pack, which differ."""
    return not version.is_single and len({each.store for each in version.copies}) < len(version.copies)


def _is_stale(each: EntryRow, settled: EntryRow, version: Version) -> bool:
    """Tell whether a copy must be stored anew, so that all copies of a version are the same."""
    # An entry of a pack that can be read is plain.
    if each.pack is not None and version.is_single and each.encoding != PACK:
        return False
    return values_of(each) != values_of(settled)


def _put_all(model: Store, alias: str, entries: Sequence[EntryRow]) -> None:
    for load in loads([instance(entry) for entry in entries]):
        replace_rows(model, alias, load)


def _home(entry: EntryRow) -> Store:
    """Return the store of new entries beside this one: the outbox beside entries of the extended history."""
    return StudentModuleHistory if entry.store is StudentModuleHistory else HistoryOutbox


def _new_home() -> Store:
    """Return the store of new entries."""
    return HistoryOutbox if conf.writes_extended_history() else StudentModuleHistory


def _lost(row: StudentModule, created: datetime) -> EntryRow:
    """Return an entry of the row of which only the time is known."""
    return EntryRow(row.student_id, row.block_id, 0, created, LOST, None, None, None, None, None, HistoryOutbox)


def _entry(model: Store, like: EntryRow, *, revision: int, encoding: int, body: bytes | None) -> EntryRow:
    """Return an entry with the columns of another, but for its revision, encoding and body."""
    return like._replace(store=model, revision=revision, encoding=encoding, body=body)


def _full(text: str | None) -> tuple[int, bytes | None]:
    """Return encoding and body of a text that builds on no other."""
    plain = encode_plain(text)
    # A plain entry has no checksum, so a text that is no JSON would count as damaged.
    is_readable = not isinstance(decode_checked(Stored(1, *plain), (0, None)), DamagedHistory)
    return plain if is_readable and not conf.writes_deltas() else encode_compact(text, None)
