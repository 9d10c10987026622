"""MariaDB and MySQL: partitions are parts of the table, and one ``ALTER TABLE`` changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from functools import partial

from xblock_user_state.history.partitions.base import HASHES, LOCK_SECONDS, Kind, Partitions, before
from xblock_user_state.store.transactions import repeat

_LATER = "PARTITION later VALUES LESS THAN (MAXVALUE)"
_PARTITIONS = """
SELECT partition_method, partition_expression, partition_name FROM information_schema.partitions
WHERE table_schema = DATABASE() AND table_name = %s
"""


class MySQLPartitions(Partitions):
    """Partitions of MariaDB 10.6 and later, and of MySQL 8.0 and later."""

    def kind(self) -> Kind | None:
        """Return the kind of the table."""
        found = self.fetch(_PARTITIONS, [self.table_name])
        if not found:
            return None
        method, expression, _ = found[0]
        if method is None:
            return Kind.PLAIN
        # MariaDB quotes the names of columns there.
        kinds = {("KEY", "student_id"): Kind.LEARNER, ("RANGE COLUMNS", "created"): Kind.TIME}
        return kinds.get((method, expression.strip("`")), Kind.OTHER)

    def names(self) -> list[str]:
        """Return the names of the partitions."""
        return [name for _, _, name in self.fetch(_PARTITIONS, [self.table_name]) if name is not None]

    def has_later(self) -> bool:
        """Tell whether there are entries after the last bound."""
        return bool(self.fetch(f"SELECT 1 FROM {self.table} PARTITION (later) LIMIT 1"))

    def lost(self) -> list[str]:
        """Return the name of the last partition by time, if it is lost: others take over the range of a lost one."""
        return ["later"] if "later" not in self.names() and self.bounds() else []

    def by_learner(self) -> None:
        """Partition the table by hash of the learner."""
        self.execute(f"ALTER TABLE {self.table} PARTITION BY KEY ({self.learner}) PARTITIONS {HASHES}")

    def by_time(self, bounds: Sequence[date]) -> None:
        """Partition the table by time."""
        self.execute(
            f"ALTER TABLE {self.table} DROP PRIMARY KEY, ADD PRIMARY KEY ({self.key(self.created)}) "
            f"PARTITION BY RANGE COLUMNS ({self.created}) ({_months(bounds)})"
        )

    def add(self, bounds: Sequence[date]) -> None:
        """Divide ``later``. Its entries are copied into the new partitions, and writers wait so long."""
        repeat(self.connection.alias, partial(self._add, bounds))

    def _add(self, bounds: Sequence[date]) -> None:
        self.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        try:
            self.execute(f"ALTER TABLE {self.table} REORGANIZE PARTITION later INTO ({_months(bounds)})")
        finally:
            self.execute("SET SESSION lock_wait_timeout = DEFAULT")


def _months(bounds: Iterable[date]) -> str:
    # Django stores times in UTC.
    return ", ".join([*(f"PARTITION {before(bound)} VALUES LESS THAN ('{bound}')" for bound in bounds), _LATER])
