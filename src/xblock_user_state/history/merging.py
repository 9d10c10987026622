"""Merges a window of history over the stores, each revision once.

The order of reads::

    1  outbox             new entries and tombstones      the state's database
           |
    2  default history    entries beside the state        the state's database
           |
    3  extended history   shipped and moved entries       the history database

Entries move from 1 to 3 (shipping) and from 2 to 3 (the back-fill), and never back. A read in this order misses no
entry that moves meanwhile: either the read of its old store comes before the move, or the read of store 3 comes after
it. If both reads see an entry, its key is the same, and the merge keeps one. In the opposite order an entry could move
after the read of store 3 and before the read of store 1, and be missed.

Stores 1 and 2 are local: they are there whenever the state is. Store 3 is remote and may be down. Then the local stores
are enough if they hold every revision of the window; if they do not, the read fails.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from django.db import connections
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    EntryRow,
    Owner,
    all_rows,
    owner_of,
    shown_models,
    tombstoned_among,
    tombstoned_in,
)
from xblock_user_state.history.extended_store import HistoryUnreadable, read_extended
from xblock_user_state.history.models import HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox import collisions
from xblock_user_state.history.outbox.breaker import READING, SHIPPING
from xblock_user_state.history.watermarks import NO_WATERMARK, watermarks_in
from xblock_user_state.history.window import Entries, Window
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import current, names
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.models import StudentModule

_LOG = logging.getLogger("xblock_user_state.history")


class _Local(NamedTuple):
    """The rows of the local stores, the owners whose remote entries are gone, and those with two entries of a key."""

    entries: Entries
    tombstoned: set[Owner]
    colliding: set[Owner]


def merged(window: Window) -> list[EntryRow]:
    """Return the entries of a window from the stores that the flags show, newest first. One statement for each store.

    While the history database is down, returns the entries of the local stores if these are all, with one statement
    more for the rows' revisions. Raises `HistoryUnreadable` if they are not.
    """
    # A reader that needs no remote entry must not wait for a database that is known to be down.
    if SHIPPING.is_open() or READING.is_open():
        found = _complete_local(window)
        if found is not None:
            return found
    try:
        return window.newest(_from_all_stores(window))
    except HistoryUnreadable:
        # Only this read has found out that the database is down.
        found = _complete_local(window)
        if found is None:
            current.count(names.UNAVAILABLE, 1, "history")
            raise
        return found


def _from_all_stores(window: Window, *, settles: bool = True) -> Entries:
    local, tombstoned, colliding = _read_local(window)
    remote: Entries = {}
    if _shows_extended() and not tombstoned.issuperset(window.owners()):
        found = read_extended(window)
        remote = {key: entry for key, entry in found.items() if owner_of(entry) not in tombstoned}
        colliding |= _colliding(local, remote)
    if settles and colliding:
        # A restored row continues at revisions that another store has of the life before. The relay would settle it,
        # too; until then half of the entries would be hidden, and others could not be decoded.
        for owner in colliding:
            _settle(window.database, owner)
        return _from_all_stores(window, settles=False)
    return {**remote, **local}


def _settle(database: str, owner: Owner) -> None:
    """Settle collisions if that is possible now: a reader shows the entries that it can show."""
    try:
        collisions.settle(database, owner, conf.history_timeout())
    except (collisions.ExtendedUnread, ServiceUnavailable) as error:
        _LOG.info("two entries have one key, and can't be settled now: %s", error)
    except Error as error:
        # A deadlock has ended the caller's transaction. Other errors, of a transaction or an account that may only
        # read, end at the savepoint.
        if dialect_of(connections[database]).failure(error) is Failure.CONFLICT:
            raise
        _LOG.info("two entries have one key, and a reader can't settle that: %s", error)


def _colliding(some: Entries, others: Entries) -> set[Owner]:
    """Return the owners who have one entry of a key here, and another there."""
    return {owner_of(some[key]) for key in collisions.differing(some, others)}


def _read_local(window: Window) -> _Local:
    outbox: Entries = {}
    default: Entries = {}
    tombstoned: set[Owner] = set()
    models = shown_models()
    if HistoryOutbox in models:
        outbox = window.read(HistoryOutbox, window.database)
        tombstoned = _tombstoned(window, outbox)
    if StudentModuleHistory in models:
        default = window.read(StudentModuleHistory, window.database)
    entries = {**default, **outbox}
    hiding = {owner_of(entry) for entry in entries.values() if entry.hidden}
    return _Local(entries, tombstoned, _colliding(outbox, default) | hiding)


def _tombstoned(window: Window, outbox: Entries) -> set[Owner]:
    """Return the owners with a tombstone. One more statement if the outbox filled the window."""
    # A tombstone has the lowest revision, so that a full window may have cut it off.
    if window.most is None or len(outbox) < window.most:
        return tombstoned_in(outbox.values())
    return tombstoned_among(all_rows(HistoryOutbox, window.database).filter(window.condition()), window.owners())


def _complete_local(window: Window) -> list[EntryRow] | None:
    """Return the entries of the local stores if they hold every revision of the window; else ``None``."""
    # The revisions first: an entry that is committed between the two reads is then found, but not expected. In the
    # opposite order it would be expected and missed.
    rows = all_rows(StudentModule, window.database).filter(window.condition())
    latest = list(rows.values_list("block_id", "revision"))
    found = _read_local(window).entries
    expected = {(block_id, each) for block_id, revision in latest for each in window.revisions(revision)}
    if missing := expected - found.keys():
        # Early entries may be in the archive, or were dropped.
        marks = watermarks_in(window.database, window.student_id, {block_id for block_id, _ in missing})
        missing = {key for key in missing if key[1] >= marks.get(key[0], NO_WATERMARK).beginning}
    return None if missing else window.newest(found)


def _shows_extended() -> bool:
    return any(model not in (HistoryOutbox, StudentModuleHistory) for model in shown_models())
