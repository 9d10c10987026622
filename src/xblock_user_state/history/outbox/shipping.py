"""Ships entries from the outbox to the extended history.

An entry is in the outbox until the history database has committed it: a crash in between ships it again, which replaces
it by itself, because the primary key is the entry's own. Rows are locked while they are shipped, so that several relays
share the work, and a deletion waits for an entry that is on its way. Only the relay's statements pin no learner.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    COLUMNS,
    KEYS_IN_A_STATEMENT,
    TOMBSTONE,
    VALUE_COLUMNS,
    Key,
    buried_among,
    buried_in,
    extended_model,
    following,
    insert_or_replace,
    owner_of,
    take_write_lock,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.history.outbox.breaker import REFUSALS, SHIPPING
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.store.dialects import Failure, dialect_of
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import LostRace, repeat

_LOG = logging.getLogger("xblock_user_state.history")

# Much less than MariaDB's usual max_allowed_packet; the rest of a statement is small beside its bodies.
_STATEMENT_BYTES = 2_000_000

BATCH_SECONDS = 60.0
"""How long a relay waits for the history database to take a batch. Deletions of its rows wait with it."""

FILE_SECONDS = 0.1
"""How long the history's file, on SQLite, is waited for while the state's is locked: others wait for that."""


class HistoryUnavailable(Exception):
    """The history database can't be reached, or has no table for the history."""


class EntriesRefused(HistoryUnavailable):
    """The history database can be reached, and does not take some of the entries up to the key `last`."""

    def __init__(self, message: str, last: Key) -> None:
        super().__init__(message)
        self.last = last


class _FileLocked(HistoryUnavailable):
    """Somebody has locked the history's file, on SQLite, for longer than to write some rows."""


class _HistoryBusy(LostRace):
    """A transaction met another one in the history database."""


class _Patience(NamedTuple):
    """How long to wait for an answer, and until when to repeat what met another transaction."""

    seconds: float
    until: float


class Shipment(NamedTuple):
    """What one transaction has shipped: so many rows, and the last key it came to; ``None`` if no others follow."""

    rows: int
    last: Key | None


def ship_after_commit(database: str, student_id: Any, block_ids: Collection[int]) -> None:
    """Ship what the outbox holds of these blocks of one learner, once it is committed; what that raises is logged."""

    # Django logs the name of what has raised: a partial has none, so that its error would reach the caller.
    def ship_entries() -> None:
        ship_at_once(database, student_id, block_ids)

    transaction.on_commit(ship_entries, using=database, robust=True)


def ship_at_once(database: str, student_id: Any, block_ids: Collection[int]) -> None:
    """Ship what the outbox holds of these blocks of one learner, after the commit that put it there.

    Never raises for the history database: what can't be shipped waits for the relay.
    """
    if not SHIPPING.lets_through():
        count(names.SHIPPING_SKIPPED, 1)
        return
    which = Q(student_id=student_id, block_id__in=block_ids)
    try:
        shipment = ship(database, which, size=len(block_ids) + 100, seconds=conf.history_timeout())
    except EntriesRefused as error:
        SHIPPING.succeeded()
        REFUSALS.failed(error)
        count_failure("call", error)
    except HistoryUnavailable as error:
        SHIPPING.failed(error)
        count_failure("call", error)
    except (Error, ServiceUnavailable) as error:
        count_failure("call", error)
        # The state is committed, and the entries with it. The caller's next call meets the state's database itself.
        _LOG.exception("history entries could not be shipped; they wait in the outbox")
    else:
        SHIPPING.succeeded()
        count(names.SHIPPED, shipment.rows, "call")


def count_failure(by: str, error: Exception) -> None:
    """Report that a shipment failed: one of a client's ``call``, or of the ``relay``."""
    refused = "refused" if isinstance(error, EntriesRefused) else "unavailable"
    outcome = refused if isinstance(error, HistoryUnavailable) else "state_database"
    count(names.SHIPPING_FAILURES, 1, by, outcome)


def ship(database: str, which: Q, size: int, after: Key | None = None, *, seconds: float = BATCH_SECONDS) -> Shipment:
    """Ship up to `size` rows of the outbox by their keys, those that follow `after`.

    The history database may take so many `seconds` to be found ready, and as many again to take the rows; while they
    last, a shipment that meets another transaction there is repeated. Rows that another process is shipping are left to
    it. Raises `HistoryUnavailable`, then nothing has left the outbox; of the state's database its own errors, or
    `ServiceUnavailable` if it kept failing.
    """
    # Before any row is locked: where no server answers, this takes as long as its timeout.
    reach_history(seconds)
    try:
        return _ship(database, which, size, after, seconds)
    except _FileLocked:
        # Nothing of the state's database is locked meanwhile, which may be a file too.
        await_file(seconds)
        return _ship(database, which, size, after, seconds)


def reach_history(seconds: float) -> None:
    """See that the history database is there. Raises `HistoryUnavailable`."""
    alias = conf.history_database()
    try:
        with answer_expected(alias, seconds):
            return
    except Error as error:
        # Whatever the reason, a wrong password among them.
        raise HistoryUnavailable(_described(error)) from error


def await_file(seconds: float) -> None:
    """Wait until the history's file, on SQLite, is locked by nobody. Raises `HistoryUnavailable`."""
    alias = conf.history_database()
    if connections[alias].features.has_select_for_update:
        return
    try:
        with answer_expected(alias, seconds), transaction.atomic(using=alias):
            take_write_lock(alias, extended_model())
    except Error as error:
        raise HistoryUnavailable(_described(error)) from error


def _ship(database: str, which: Q, size: int, after: Key | None, seconds: float) -> Shipment:
    patience = _Patience(seconds, time.monotonic() + seconds)
    try:
        return repeat(database, lambda: _attempt(database, which, size, after, patience))
    except ServiceUnavailable as error:
        if isinstance(error.__cause__, _HistoryBusy):
            raise HistoryUnavailable(str(error.__cause__)) from error
        raise


def _attempt(database: str, which: Q, size: int, after: Key | None, patience: _Patience) -> Shipment:
    take_write_lock(database, which=which)
    outbox = HistoryOutbox._base_manager.using(database).filter(which)
    rows = _locked(following(outbox, after), database)[:size]
    page = list(rows)
    batch = _without_buried(outbox, page)
    if batch:
        _send(batch, patience)
        for keys in pieces(database, [row.pk for row in batch], KEYS_IN_A_STATEMENT):
            outbox.filter(pk__in=keys)._raw_delete(database)
    # A page that is not full is the last one: a relay must not run after writers for ever.
    return Shipment(len(batch), page[-1].pk if len(page) == size else None)


def _locked(rows: QuerySet[HistoryOutbox], database: str) -> QuerySet[HistoryOutbox]:
    features = connections[database].features
    return rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)


def _without_buried(outbox: QuerySet[HistoryOutbox], rows: Sequence[HistoryOutbox]) -> list[HistoryOutbox]:
    """Leave out rows whose tombstone is not among `rows`: it is shipped later, or by another process."""
    buried = buried_among(outbox, {owner_of(row) for row in rows} - buried_in(rows))
    return [row for row in rows if owner_of(row) not in buried]


def _send(rows: Sequence[HistoryOutbox], patience: _Patience) -> None:
    """Commit rows to the extended history. What the outbox holds is the truth: it replaces what has the same key."""
    alias = conf.history_database()
    connection = connections[alias]
    try:
        with answer_expected(alias, patience.seconds, FILE_SECONDS), transaction.atomic(using=alias):
            _write(rows, alias)
    except Error as error:
        failure = dialect_of(connection).failure(error)
        connection.close_if_unusable_or_obsolete()
        if failure is Failure.CONFLICT and not connection.features.has_select_for_update:
            raise _FileLocked(_described(error)) from error
        if failure in (Failure.DUPLICATE, Failure.CONFLICT) and time.monotonic() < patience.until:
            raise _HistoryBusy(_described(error)) from error
        if failure is None and _is_readable(alias, patience.seconds):
            raise EntriesRefused(_described(error), rows[-1].pk) from error
        raise HistoryUnavailable(_described(error)) from error


def _write(rows: Sequence[HistoryOutbox], alias: str) -> None:
    model = extended_model()
    for student_id, owners in groupby(sorted(buried_in(rows)), key=attrgetter("student_id")):
        for some_ids in pieces(alias, [owner.block_id for owner in owners]):
            model._base_manager.using(alias).filter(student_id=student_id, block_id__in=some_ids)._raw_delete(alias)
    entries = [
        model(**{column: getattr(row, column) for column in COLUMNS}) for row in rows if row.revision != TOMBSTONE
    ]
    for some in _loads(entries):
        insert_or_replace(model, alias, some, VALUE_COLUMNS)


def _is_readable(alias: str, seconds: float) -> bool:
    try:
        with answer_expected(alias, seconds):
            extended_model()._base_manager.using(alias).exists()
    except Error:
        return False
    return True


def _described(error: Error) -> str:
    """Say which database failed, and how, without what learners wrote."""
    # The first line: PostgreSQL's next ones show the whole row, which is a learner's state.
    return f"{conf.history_database()!r}: {str(error).partition(chr(10))[0]}"


def _loads(entries: Sequence[BaseStudentModuleHistory]) -> Iterator[list[BaseStudentModuleHistory]]:
    """Cut entries into statements that a server takes: MariaDB refuses packets of more than 16 MB as it comes."""
    load: list[BaseStudentModuleHistory] = []
    size = 0
    for entry in entries:
        size += len(entry.body or b"")
        if load and size > _STATEMENT_BYTES:
            yield load
            load, size = [], len(entry.body or b"")
        load.append(entry)
    if load:
        yield load
