"""Partitions of the history's tables: by hash of the learner, or by month. One module for each engine has its DDL.

`HISTORY_PARTITIONS` chooses the kind for both tables. An empty table is partitioned by `migrate` or by
``manage.py partition_history``, which also makes the months ahead. Decision 44 has the reasons.
"""

from __future__ import annotations

from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state import conf
from xblock_user_state.history.partitions.base import AHEAD, Kind, Partitions, bounds_from, months_after, this_month
from xblock_user_state.history.partitions.mysql import MySQLPartitions
from xblock_user_state.history.partitions.postgresql import PostgreSQLPartitions

_CLASSES: dict[str, type[Partitions]] = {"postgresql": PostgreSQLPartitions, "mysql": MySQLPartitions}


def partitions_of(connection: BaseDatabaseWrapper, model: type[models.Model]) -> Partitions | None:
    """Return the partitions of a model's table; ``None`` on SQLite, which has none."""
    return _CLASSES[connection.vendor](connection, model) if connection.vendor in _CLASSES else None


def partition_if_empty(connection: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
    """Partition the table as the setting says, if it is plain and empty; return whether it was done.

    A table with entries stays as it is: a system check says so. Raises errors of the database.
    """
    kind, partitions = Kind(conf.history_partitions()), partitions_of(connection, model)
    if kind is Kind.PLAIN or partitions is None or partitions.kind() is not Kind.PLAIN:
        return False
    with transaction.atomic(using=connection.alias):
        partitions.lock()
        if not partitions.is_empty():
            return False
        if kind is Kind.LEARNER:
            partitions.by_learner()
        else:
            partitions.by_time(bounds_from(this_month(), AHEAD + 2))
    return True


__all__ = ["AHEAD", "Kind", "Partitions", "months_after", "partition_if_empty", "partitions_of"]
