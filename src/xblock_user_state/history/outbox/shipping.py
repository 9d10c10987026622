"""Ships entries from the outbox to the extended history: for one learner after a commit, for all learners by the relay.

One transaction in the state's database locks rows of the outbox, commits them to the history database (`sending`), then
deletes them. A crash between the two commits leaves them in both databases. Then the insertion meets existing keys; the
next attempt skips the copies. Another entry of the same key is never replaced (`collisions`). The row locks let several
relays share the work, and make a deletion wait for the entries that are being shipped. Statements for the relay and for
deletions of whole blocks name no single learner (law 7 in docs/concepts). Citus locks rows of one learner in a
statement, so a page takes a lock for each of its learners there (`entries.lockable`).

The history database            | `ship`                    | tries again                           | the outbox keeps
------------------------------- | ------------------------- | ------------------------------------- | ----------------
takes the rows                  | returns                   | nobody                                | nothing
has copies of them              | returns                   | nobody                                | nothing
gets the same from another job  | returns, if in time       | `ship`, within the deadline           | nothing
has other entries of their keys | returns, if in time       | `ship`, after `collisions.settle`     | nothing
can't be reached                | raises HistoryUnavailable | the relay, and later calls            | all rows
has no table                    | raises HistoryUnavailable | the relay, and later calls            | all rows
has a locked file (SQLite)      | raises HistoryUnavailable | `ship`, once, then the relay          | all rows
refuses one of the rows         | raises EntriesRefused     | the relay, row by row                 | all rows

A deadlock or a lock timeout there is the same as the rows of another job. If the deadline passes first, `ship` raises
HistoryUnavailable and the outbox keeps all rows. An error of the state's database leaves the outbox as it was: the
relay tries again, and a call has committed its state already, so it logs the error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    KEY,
    KEYS_IN_A_STATEMENT,
    Key,
    Owner,
    all_rows,
    delete_of_keys,
    following,
    lockable,
    of_keys,
    owner_of,
    take_write_lock,
    tombstoned_among,
    tombstoned_in,
)
from xblock_user_state.history.models import HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox import collisions
from xblock_user_state.history.outbox.answers import (
    BATCH_SECONDS,
    EntriesRefused,
    FileLocked,
    HistoryBusy,
    HistoryUnavailable,
    KeysTaken,
    Patience,
    described,
)
from xblock_user_state.history.outbox.breaker import REFUSALS, SHIPPING
from xblock_user_state.history.outbox.reaching import await_file, reach_history
from xblock_user_state.history.outbox.sending import send
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import repeat

_LOG = logging.getLogger("xblock_user_state.history")

_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Seconds before a shipment is repeated that has left out rows."""

_MOST = 2**63 - 1
"""The highest revision of the columns."""


class Shipment(NamedTuple):
    """The result of one transaction: the number of shipped rows and the last key; ``None`` if no more rows follow."""

    rows: int
    last: Key | None
    left_out: bool = False
    """True if rows wait for earlier ones, or for a tombstone, of their owner, which another process has locked."""
    owners: frozenset[Owner] = frozenset()
    """The owners of the shipped rows."""


def ship_after_commit(database: str, student_id: Any, block_ids: Collection[int]) -> None:
    """Ship the outbox rows of these blocks of one learner after the commit. Errors are logged and never raised."""

    # A function and no `partial`: Django's robust on_commit logs the `__qualname__` of the callback, which a partial
    # does not have, and the AttributeError would reach the caller.
    def ship_entries() -> None:
        ship_at_once(database, Q(student_id=student_id, block_id__in=block_ids), len(block_ids))

    transaction.on_commit(ship_entries, using=database, robust=True)


def ship_at_once(database: str, which: Q, owners: int) -> bool:
    """Ship the selected outbox rows, of this number of owners, after the commit that wrote them.

    Ships up to 100 rows more than owners; returns whether more may be left. Never raises a database error: rows that
    can't be shipped wait for the relay, or for the next call with these owners.
    """
    if not SHIPPING.lets_through():
        count(names.SHIPPING_SKIPPED, 1)
        return False
    try:
        # Room for 100 rows that had to wait before, so that an outage's backlog shrinks without a relay.
        shipment = ship(database, which, size=owners + 100, seconds=conf.history_timeout())
    except EntriesRefused as error:
        SHIPPING.succeeded()
        REFUSALS.failed(error)
        count_failure("call", error)
    except HistoryUnavailable as error:
        SHIPPING.failed(error)
        count_failure("call", error)
    except (Error, ServiceUnavailable) as error:
        count_failure("call", error)
        # No breaker for the state's database: state and entries are committed, and the caller's next call will raise
        # by itself if the database is down.
        _LOG.exception("history entries could not be shipped; they wait in the outbox")
    else:
        SHIPPING.succeeded()
        count(names.SHIPPED, shipment.rows, "call")
        # A full page of which nothing was shipped waits for a tombstone that another process ships.
        return shipment.last is not None and shipment.rows > 0
    return False


def count_failure(by: str, error: Exception) -> None:
    """Count a failed shipment; `by` is ``call`` or ``relay``."""
    refused = "refused" if isinstance(error, EntriesRefused) else "unavailable"
    outcome = refused if isinstance(error, HistoryUnavailable) else "state_database"
    count(names.SHIPPING_FAILURES, 1, by, outcome)


def ship(database: str, which: Q, size: int, after: Key | None = None, *, seconds: float = BATCH_SECONDS) -> Shipment:
    """Ship up to `size` rows of the outbox in key order, after the key `after`. One transaction in each database.

    Two waits of up to `seconds` each: for an open connection to prove that it is healthy (the driver's timeout bounds a
    new one), and for the history database to take the rows. A deadlock there repeats the shipment within the second
    wait. Leaves out rows that another process has locked.

    Raises `HistoryUnavailable`; the outbox then keeps these rows. For the state's database raises its own errors, or
    `ServiceUnavailable` if every attempt failed.
    """
    # Connect before any row is locked: if no server answers, this takes the whole connect timeout.
    reach_history(seconds)
    try:
        return _ship(database, which, size, after, seconds)
    except FileLocked:
        # Wait without a lock on the state's file, so that other learners can write meanwhile.
        await_file(seconds)
        return _ship(database, which, size, after, seconds)


def _ship(database: str, which: Q, size: int, after: Key | None, seconds: float) -> Shipment:
    patience = Patience(seconds, time.monotonic() + seconds, set())
    attempt = partial(_attempt, database, which, size, after, patience)

    def ship_once() -> Shipment:
        return repeat(database, partial(attempt, may_exist=True), first=partial(attempt, may_exist=False))

    try:
        shipment = _without_collisions(database, ship_once, patience)
        for pause in _PAUSES:
            if not shipment.left_out:
                break
            # Another process ships the earlier rows. Without a pause these would be left to the next pass.
            time.sleep(pause)
            again = _without_collisions(database, ship_once, patience)
            shipment = again._replace(rows=shipment.rows + again.rows)
    except ServiceUnavailable as error:
        if isinstance(error.__cause__, HistoryBusy):
            raise HistoryUnavailable(str(error.__cause__)) from error
        raise
    return shipment


def _without_collisions(database: str, attempt: Callable[[], Shipment], patience: Patience) -> Shipment:
    """Run `attempt`; where keys are taken, give the waiting entries other revisions and run it again."""
    while True:
        try:
            return attempt()
        except KeysTaken as taken:
            # Another process may ship or settle them meanwhile, and another restore may follow: no more than that.
            if time.monotonic() > patience.until:
                raise HistoryUnavailable("other entries have the keys of those that wait") from taken
            for owner in taken.owners:
                try:
                    if collisions.settle(database, owner, patience.seconds) is None:
                        patience.settled.add(owner)
                except collisions.ExtendedUnread as error:
                    raise HistoryUnavailable(described(error.__cause__)) from error


def _attempt(database: str, which: Q, size: int, after: Key | None, patience: Patience, *, may_exist: bool) -> Shipment:
    take_write_lock(database, which=which)
    outbox = all_rows(HistoryOutbox, database).filter(which)
    page = _locked_page(database, which, size, after)
    in_order = _in_order(page)
    batch = _without_tombstoned(outbox, in_order)
    _need_free_keys(database, [row for row in batch if owner_of(row) not in patience.settled])
    if batch:
        send(batch, patience, may_exist=may_exist)
        for keys in pieces(database, [Key(*row.pk) for row in batch], KEYS_IN_A_STATEMENT):
            delete_of_keys(outbox, keys)
    # A page that is not full is the last. Asking for more would let a pass chase the writers for ever.
    last = Key(*page[-1].pk) if len(page) == size else None
    if last and not (in_order and in_order[-1].pk == last):
        # The rest of this owner waits with the rows that were left out.
        last = last._replace(revision=_MOST)
    owners = frozenset(owner_of(row) for row in batch)
    return Shipment(len(batch), last, left_out=len(batch) < len(page), owners=owners)


def _locked_page(database: str, which: Q, size: int, after: Key | None) -> list[HistoryOutbox]:
    """Lock up to `size` rows after the key `after`, in key order; leave out those that another process has locked."""
    # Without SKIP LOCKED, relays take turns.
    skip_locked = connections[database].features.has_select_for_update_skip_locked
    outbox = all_rows(HistoryOutbox, database)
    page: list[HistoryOutbox] = []
    for some in lockable(following(outbox, after), which):
        rows = following(outbox.filter(some), after)
        # Subqueries, so that a shipment needs no more statements.
        found = rows.annotate(lowest=_lowest(rows), in_default=_in_default(database, some))
        page += found.select_for_update(skip_locked=skip_locked)[: size - len(page)]
        if len(page) == size:
            break
    return page


def _lowest(rows: QuerySet[HistoryOutbox]) -> Subquery:
    """Return the lowest revision among `rows` of the owner of a row."""
    of_owner = rows.filter(student_id=OuterRef("student_id"), block_id=OuterRef("block_id"))
    return Subquery(of_owner.order_by("revision").values("revision")[:1])


def _in_order(page: Sequence[HistoryOutbox]) -> list[HistoryOutbox]:
    """Leave out the rows of owners of whom another process has locked earlier rows."""
    # If the earlier ones get new revisions (`collisions`), these must still be here to move with them.
    first: dict[Owner, int] = {}
    for row in page:
        first.setdefault(owner_of(row), row.revision)
    return [row for row in page if getattr(row, "lowest", None) == first[owner_of(row)]]


def _in_default(database: str, which: Q) -> Subquery:
    """Return the revision of a row of the outbox if the default history has an entry of the same key."""
    # `which` again, so that a shipment of one learner names the learner in both parts. No EXISTS, for which PostgreSQL
    # reads the whole default history into a hash table.
    key = {name: OuterRef(name) for name in KEY}
    return Subquery(all_rows(StudentModuleHistory, database).filter(which, **key).values("revision")[:1])


def _need_free_keys(database: str, rows: Sequence[HistoryOutbox]) -> None:
    """Raise `KeysTaken` if the default history has other entries of the keys."""
    waiting = {Key(*row.pk): row for row in rows if getattr(row, "in_default", None) is not None}
    taken = {
        owner_of(entry)
        for keys in pieces(database, sorted(waiting), KEYS_IN_A_STATEMENT)
        for entry in of_keys(all_rows(StudentModuleHistory, database), keys)
        if not collisions.is_same_entry(entry, waiting[Key(*entry.pk)])
    }
    if taken:
        raise KeysTaken(taken)


def _without_tombstoned(outbox: QuerySet[HistoryOutbox], rows: Sequence[HistoryOutbox]) -> list[HistoryOutbox]:
    """Leave out rows whose tombstone is in the outbox but not among `rows`."""
    # Another process has locked that tombstone, or it was committed after this pass had gone past its key. If these
    # rows were shipped before it, shipping it would delete them from the extended history.
    tombstoned = tombstoned_among(outbox, {owner_of(row) for row in rows} - tombstoned_in(rows))
    return [row for row in rows if owner_of(row) not in tombstoned]
