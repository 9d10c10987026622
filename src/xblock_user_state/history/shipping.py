"""Ships entries from the outbox to the extended history.

An entry is in the outbox until the history database has committed it: a crash in between ships it again, which does
nothing, because the primary key is the entry's own. Rows are locked while they are shipped, so that several relays
share the work, and a deletion waits for an entry that is on its way. Only the relay's statements pin no learner.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

from django.apps import apps
from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.history.breaker import HISTORY_DATABASE
from xblock_user_state.models import BaseStudentModuleHistory, HistoryOutbox
from xblock_user_state.store.reader import pieces

_LOG = logging.getLogger("xblock_user_state.history")

TOMBSTONE = 0
"""The revision of an outbox row that says: what the extended history has of this learner and block is gone."""

_COLUMNS = tuple(field.attname for field in HistoryOutbox._meta.concrete_fields if field.attname != "pk")

# SQLite, to which Django writes a list of composite keys as a chain of ORs, takes a chain of at most 1,000.
_KEYS = 250


class HistoryUnavailable(Exception):
    """The history database can't be reached, or refuses."""


def extended_model() -> type[BaseStudentModuleHistory]:
    """Return the model of the extended history, whose app a host need not install."""
    app = apps.get_app_config("xblock_user_state_extended_history")
    return cast("type[BaseStudentModuleHistory]", app.get_model("StudentModuleHistoryExtended"))


def ship_at_once(database: str, student_id: Any, block_ids: Collection[int]) -> None:
    """Ship what the outbox holds of these blocks of one learner, after the commit that put it there.

    Never raises for the history database: what can't be shipped waits for the relay.
    """
    if HISTORY_DATABASE.is_open():
        return
    try:
        ship(database, Q(student_id=student_id, block_id__in=block_ids), size=len(block_ids) + 100)
    except HistoryUnavailable as error:
        HISTORY_DATABASE.failed(error)
    except Error:
        # The state is committed, and the entries with it. The caller's next call meets the state's database itself.
        _LOG.exception("history entries could not be shipped; they wait in the outbox")
    else:
        HISTORY_DATABASE.succeeded()


def ship(database: str, which: Q, size: int) -> int:
    """Ship up to `size` rows of the outbox, oldest revision of a block first, and return how many that were.

    Rows that another process is shipping are left to it. Raises `HistoryUnavailable`; then nothing has left the outbox.
    """
    with transaction.atomic(using=database):
        rows = _locked(HistoryOutbox.objects.using(database).filter(which), database)
        batch = _without_buried(database, list(rows.order_by("student_id", "block_id", "revision")[:size]))
        if batch:
            _send(batch)
            for keys in pieces(database, [row.pk for row in batch], _KEYS):
                HistoryOutbox.objects.using(database).filter(pk__in=keys)._raw_delete(database)
    return len(batch)


def _locked(rows: QuerySet[HistoryOutbox], database: str) -> QuerySet[HistoryOutbox]:
    features = connections[database].features
    return rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)


def _without_buried(database: str, rows: Sequence[HistoryOutbox]) -> list[HistoryOutbox]:
    """Leave out the rows whose tombstone another process is shipping: it would take them along."""
    mine = {(row.student_id, row.block_id) for row in rows if row.revision == TOMBSTONE}
    others = {(row.student_id, row.block_id) for row in rows} - mine
    buried = {
        owner
        for keys in pieces(database, [(*owner, TOMBSTONE) for owner in sorted(others)], _KEYS)
        for owner in HistoryOutbox.objects.using(database).filter(pk__in=keys).values_list("student_id", "block_id")
    }
    return [row for row in rows if (row.student_id, row.block_id) not in buried]


def _send(rows: Iterable[HistoryOutbox]) -> None:
    model = extended_model()
    alias = conf.history_database()
    entries = [
        model(**{column: getattr(row, column) for column in _COLUMNS}) for row in rows if row.revision != TOMBSTONE
    ]
    try:
        with transaction.atomic(using=alias):
            for row in rows:
                if row.revision == TOMBSTONE:
                    model._base_manager.using(alias).filter(student_id=row.student_id, block_id=row.block_id).delete()
            model._base_manager.using(alias).bulk_create(entries, ignore_conflicts=True)
    except Error as error:
        connections[alias].close_if_unusable_or_obsolete()
        raise HistoryUnavailable(str(error)) from error
