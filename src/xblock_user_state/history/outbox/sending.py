"""Sends rows of the outbox to the extended history: one transaction in the history database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from django.db import connections, transaction
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.entries import (
    COLUMNS,
    KEYS_IN_A_STATEMENT,
    TOMBSTONE,
    Key,
    Owner,
    all_rows,
    delete_rows,
    extended_model,
    of_keys,
    owner_of,
    tombstoned_in,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.history.outbox import collisions
from xblock_user_state.history.outbox.answers import FILE_SECONDS, KeysTaken, Patience, exception_for
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.store.statements import pieces

# MariaDB's default max_allowed_packet is 16 MB. The rest leaves room for escaped bodies and the other columns.
_STATEMENT_BYTES = 2_000_000


def send(rows: Sequence[HistoryOutbox], patience: Patience, *, may_exist: bool) -> None:
    """Commit rows to the extended history. Raises `KeysTaken`, with nothing written, if it has others of a key."""
    alias = conf.history_database()
    connection = connections[alias]
    try:
        with answer_expected(alias, patience.seconds, FILE_SECONDS), transaction.atomic(using=alias):
            _write(rows, alias, may_exist=may_exist)
    except Error as error:
        connection.close_if_unusable_or_obsolete()
        raise exception_for(error, rows[-1], patience) from error


def _write(rows: Sequence[HistoryOutbox], alias: str, *, may_exist: bool) -> None:
    model = extended_model()
    # Tombstones first: an entry of the same owner in this batch belongs to the row that began after the deletion.
    _delete_tombstoned(tombstoned_in(rows), model, alias)
    entries = [
        model(**{column: getattr(row, column) for column in COLUMNS}) for row in rows if row.revision != TOMBSTONE
    ]
    # No key of a history that is partitioned by time would tell that it has an entry of the revision.
    for some in loads(_new(entries, alias) if may_exist or conf.is_partitioned_by_time() else entries):
        all_rows(model, alias).bulk_create(some)


def _new(entries: Sequence[BaseStudentModuleHistory], alias: str) -> list[BaseStudentModuleHistory]:
    """Leave out entries that the extended history has. Raises `KeysTaken` if it has others of their keys."""
    present = {
        Key(*entry.pk): entry
        for keys in pieces(alias, [Key(*entry.pk) for entry in entries], KEYS_IN_A_STATEMENT)
        for entry in of_keys(all_rows(extended_model(), alias), keys)
    }
    taken = {
        owner_of(entry)
        for entry in entries
        if entry.pk in present and not collisions.is_same_entry(entry, present[entry.pk])
    }
    if taken:
        raise KeysTaken(taken)
    return [entry for entry in entries if entry.pk not in present]


def _delete_tombstoned(owners: Collection[Owner], model: type[BaseStudentModuleHistory], alias: str) -> None:
    # By block if these are fewer: a deleted block has one tombstone for each of its learners.
    by_learner = len({owner.student_id for owner in owners}) <= len({owner.block_id for owner in owners})
    one, many = ("student_id", "block_id") if by_learner else ("block_id", "student_id")
    for value, of_value in groupby(sorted(owners, key=attrgetter(one, many)), key=attrgetter(one)):
        for some in pieces(alias, [getattr(owner, many) for owner in of_value]):
            delete_rows(all_rows(model, alias).filter(**{one: value, f"{many}__in": some}))


def loads(entries: Sequence[BaseStudentModuleHistory]) -> Iterator[list[BaseStudentModuleHistory]]:
    """Cut entries into loads of at most 2 MB of bodies, or one larger entry: MariaDB limits the size of a statement."""
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
