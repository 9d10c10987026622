"""Gives waiting entries new revisions where the extended history has other entries of the same keys.

A restored backup takes the rows of the state's database back, and the extended history keeps the entries of the life
that was lost. An entry never replaces another: the waiting entries of such a row, and the row itself, continue after
the newest entry of the extended history. The first of them becomes a full entry, so both lives stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from django.db import Error
from django.db.models import F, Q, QuerySet

from xblock_user_state import conf
from xblock_user_state.history.encoding import DELTA, MAX_CHAIN, Stored, decode_all, encode_compact
from xblock_user_state.history.entries import TOMBSTONE, Owner, all_rows, delete_rows, extended_model, take_write_lock
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import repeat


class ExtendedUnread(Exception):
    """The history database did not tell its entries."""


Entries = Mapping[int, BaseStudentModuleHistory]
"""Entries of one learner and block, by revision."""


def is_same_entry(one: BaseStudentModuleHistory, other: BaseStudentModuleHistory) -> bool:
    """Tell whether two rows of one key are copies of one entry. Times are not compared: a transfer may cut them."""
    return _content(one) == _content(other)


def settle(database: str, owner: Owner, seconds: float) -> None:
    """Give the owner's waiting entries revisions that the extended history does not have; do nothing if they have such.

    One transaction, which locks the owner's row and local entries; the history database must answer within `seconds`.
    Raises `ExtendedUnread` if it does not, and errors of the state's database.
    """
    repeat(database, partial(_attempt, database, owner, seconds))


def _attempt(database: str, owner: Owner, seconds: float) -> None:
    of_owner = Q(student_id=owner.student_id, block_id=owner.block_id)
    take_write_lock(database, which=of_owner)
    # The row first, as writers and deletions lock it.
    row = all_rows(StudentModule, database).filter(of_owner).select_for_update()
    [*row.values_list("revision")]
    outbox = _by_revision(all_rows(HistoryOutbox, database).filter(of_owner).select_for_update())
    if not outbox or TOMBSTONE in outbox:
        # Whatever the extended history has of this owner is about to be deleted.
        return
    since = Q(revision__gte=min(outbox) - MAX_CHAIN)
    default = _by_revision(all_rows(StudentModuleHistory, database).filter(of_owner, since).select_for_update())
    extended = _read_extended(Q(of_owner, since), seconds)
    taken = [each for each in outbox if each in extended and not is_same_entry(outbox[each], extended[each])]
    if not taken:
        return
    first = min(taken)
    _begin_anew(first, {**extended, **default, **outbox})
    shift = max(extended) + 1 - first
    for model, entries in ((StudentModuleHistory, default), (HistoryOutbox, outbox)):
        _move(all_rows(model, database).filter(of_owner), entries, first, shift)
    # Entries have moved, so the next one begins a new chain.
    moved = row.filter(revision__gte=first)
    moved.update(revision=F("revision") + shift, history_chain=0, history_checksum=None)


def _read_extended(which: Q, seconds: float) -> Entries:
    alias = conf.history_database()
    try:
        with answer_expected(alias, seconds):
            return _by_revision(all_rows(extended_model(), alias).filter(which))
    except Error as error:
        raise ExtendedUnread from error


def _begin_anew(revision: int, entries: Entries) -> None:
    """Make a full entry of this one, whose base is another life's from now on. A damaged entry stays as it is."""
    entry = entries[revision]
    if entry.encoding != DELTA:
        return
    stored = [_stored(entries[each]) for each in sorted(entries) if each <= revision]
    _, text = list(decode_all(stored))[-1]
    if not isinstance(text, DamagedHistory):
        entry.encoding, entry.body = encode_compact(text, None)


def _move(rows: QuerySet[BaseStudentModuleHistory], entries: Entries, first: int, shift: int) -> None:
    moved = [entry for revision, entry in entries.items() if revision >= first]
    if not moved:
        return
    delete_rows(rows.filter(revision__gte=first))
    for entry in moved:
        entry.revision += shift
    rows.bulk_create(moved)


def _by_revision(rows: QuerySet[BaseStudentModuleHistory]) -> Entries:
    return {entry.revision: entry for entry in rows.order_by("revision")}


def _stored(entry: BaseStudentModuleHistory) -> Stored:
    return Stored(entry.revision, entry.encoding, None if entry.body is None else bytes(entry.body))


def _content(entry: BaseStudentModuleHistory) -> tuple[object, ...]:
    return *_stored(entry), entry.grade, entry.max_grade
