"""Erases a learner: everything that the package holds, with a receipt that holds no content."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Model
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.access import Action, Policy
from xblock_user_state.actions.copied import refuse_while_copied
from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.actions.order import Order
from xblock_user_state.actions.selection import learner_id
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.ephemeral import EphemeralXBlockUserStateClient
from xblock_user_state.history.deletion import delete_learner
from xblock_user_state.history.entries import all_rows, stores
from xblock_user_state.history.models import HistoryWatermark
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import AnsweredWrite
from xblock_user_state.store.tables import TABLES
from xblock_user_state.store.transactions import errors_translated


class Receipt(NamedTuple):
    """The numbers of rows that were erased, or in a dry run would be, by table. It names nobody but by id."""

    id: UUID | None
    """The id of the call in the action log; ``None`` for a dry run."""
    student_id: Any
    created: datetime
    rows: Mapping[str, int | None]
    """``None`` for the extended history if its database can't be reached: the relay erases it there."""
    visitors: int
    """The entries of visitors, as the call named them."""


def erase_learner(  # noqa: PLR0913 (all but one by keyword)
    learner: Any,
    *,
    actor: Any,
    reason: str,
    policy: Policy | None = None,
    dry_run: bool = False,
    visitors: Collection[str] = (),
    run: UUID | None = None,
) -> Receipt:
    """Erase all states, scores, history, preferences and info of a learner, and the learner's rows of the action log.

    `learner` is a username, a `UserId` or a user, also one who is deleted already, by id. The user stays. One
    transaction. The extended history is erased through tombstones: readers find nothing from the commit on, and the
    relay deletes the entries. So is the archive, by `archive_history`. The log gets one row, with the learner's id;
    `run` is the id of the call there.

    `visitors` are the ids of visitors (`visitor_id`) that the host knows to be this learner, whose entries in the cache
    go too; that of a visitor who logged in went at login. Not erased: state that all learners share, the learner's id
    as actor in the history of others, and backups.
    """
    refuse_while_copied()
    order = Order("erase_learner", actor, reason, policy, dry_run, run=run)
    student_id = learner_id(order, learner, Action.ERASE)
    database = state_database()
    entry = order.entry(student_id=student_id)
    log = LoggedAction.objects.using(database).filter(student_id=student_id)
    with errors_translated(database):
        # A learner at work may add some until the deletion.
        rows = {**_rows(student_id), LoggedAction.__name__: log.count()}
        if not dry_run:
            with transaction.atomic(using=database):
                delete_learner(student_id)
                log.delete()
                order.log(entry)
    if not dry_run:
        for visitor in visitors:
            EphemeralXBlockUserStateClient(visitor, DjangoXBlockUserStateClient()).forget()
    return Receipt(None if dry_run else order.id, student_id, entry.created, rows, len(visitors))


def _rows(student_id: Any) -> dict[str, int | None]:
    """Return the numbers of the learner's rows by table. One statement a table."""
    database = state_database()
    owned = [(table.model, database) for table in TABLES.values() if table.owned]
    beside = [(model, database) for model in (HistoryWatermark, AnsweredWrite)]
    tables: list[tuple[type[Model], str]] = [*owned, *stores(database), *beside]
    return {
        model.__name__: _count(model, alias, student_id) if alias == database else _extended(model, alias, student_id)
        for model, alias in tables
    }


def _count(model: type[Model], alias: str, student_id: Any) -> int:
    return all_rows(model, alias).filter(student_id=student_id).count()


def _extended(model: type[Model], alias: str, student_id: Any) -> int | None:
    try:
        with answer_expected(alias, conf.history_timeout()):
            return _count(model, alias, student_id)
    except Error:
        return None
