"""Partitions of one table, whatever the engine: their kinds, and the bounds of months.

By time, the partition ``before_2027_01`` has the entries that were created before January 2027 and not before the bound
of the partition before it. The first one has everything that is older. ``later`` has the entries after the last bound,
which are none as long as months are made ahead: it lets writes go on if that was forgotten.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import Enum
from functools import partial
from itertools import count, takewhile
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.store.dialects import base

HASHES = 16
"""Partitions by learner. The number can't be changed later."""

AHEAD = 12
"""Months after the present one that are made ahead."""

LOCK_SECONDS = 1
"""Longest wait for a lock on the table: readers and writers queue behind it."""

_BEFORE = re.compile(r"before_(\d{4})_(\d{2})$")


class Kind(Enum):
    """The ways in which a table may be partitioned, by the values of ``HISTORY_PARTITIONS``."""

    PLAIN = None
    LEARNER = "learner"
    TIME = "time"
    OTHER = "another column"


class Partitions(ABC):
    """The partitions of one history table."""

    def __init__(self, connection: BaseDatabaseWrapper, model: type[models.Model]) -> None:
        self.connection = connection
        self.model_name = str(model._meta.model_name)
        self.table_name = model._meta.db_table
        self.table = connection.ops.quote_name(self.table_name)
        names = ("student_id", "block_id", "revision", "created")
        self.columns = [connection.ops.quote_name(name) for name in names]
        self.learner, self.created = self.columns[0], self.columns[-1]

    @abstractmethod
    def kind(self) -> Kind | None:
        """Return the kind of the table; ``None`` if there is no such table. One statement."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of the partitions, in any order. One statement."""

    @abstractmethod
    def has_later(self) -> bool:
        """Tell whether there are entries after the last bound. One statement, which reads one row."""

    @abstractmethod
    def lost(self) -> list[str]:
        """Return the names of partitions that somebody has detached or dropped, as far as the others show it.

        At most two statements. Empty for partitions by time that another tool has made.
        """

    @abstractmethod
    def by_learner(self) -> None:
        """Make the empty plain table one that is partitioned by hash of the learner."""

    @abstractmethod
    def by_time(self, bounds: Sequence[date]) -> None:
        """Make the empty plain table one that is partitioned by time: before each of the bounds, and later."""

    @abstractmethod
    def add(self, bounds: Sequence[date]) -> None:
        """Add partitions that follow the last one, also where ``later`` has entries, which get partitions of months.

        Waits at most `LOCK_SECONDS` for its locks, several times. Raises `ServiceUnavailable` if it does not get them.
        """

    def lock(self) -> None:
        """Keep writers from the table to the end of the transaction, where the engine has such a lock."""
        return

    def is_empty(self) -> bool:
        """Tell whether the table has no entries."""
        return not self.fetch(f"SELECT 1 FROM {self.table} LIMIT 1")

    def bounds(self) -> list[date]:
        """Return the bounds of the partitions by time: each is the first day of a month, in UTC."""
        found = filter(None, map(_BEFORE.search, self.names()))
        return sorted(date(int(year), int(month), 1) for year, month in (each.groups() for each in found))

    def missing(self, months: int) -> list[date]:
        """Return the bounds to add, so that this number of months after the present one have partitions."""
        wanted = months_after(this_month(), months + 1)
        after = partial(months_after, max(self.bounds()))
        return list(takewhile(lambda bound: bound <= wanted, map(after, count(1))))

    def execute(self, sql: str) -> None:
        """Execute a statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        """Run a query and return its rows."""
        return base.fetch(self.connection, sql, parameters)

    def key(self, *others: str) -> str:
        """Return the columns of the primary key, as a list in SQL, and `others` after them."""
        return ", ".join([*self.columns[:3], *others])


def before(bound: date) -> str:
    """Return the end of the name of the partition with the entries before a bound."""
    return f"before_{bound:%Y_%m}"


def this_month() -> date:
    """Return the first day of the present month, in UTC."""
    return datetime.now(UTC).date().replace(day=1)


def months_after(month: date, number: int) -> date:
    """Return the first day of the month that comes so many months after another."""
    years, months = divmod(month.month - 1 + number, 12)
    return date(month.year + years, months + 1, 1)


def bounds_from(first: date, number_of_months: int) -> list[date]:
    """Return the first days of so many months, `first` being the first of them."""
    return [months_after(first, number) for number in range(number_of_months)]
