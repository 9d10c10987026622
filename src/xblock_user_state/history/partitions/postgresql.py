"""PostgreSQL: partitions are tables of their own, which are attached to the history's table.

Attaching a partition does not lock the table, as ``CREATE TABLE … PARTITION OF`` would, but it does lock the partition
``later``, which is searched for entries of the new month. Writers do not touch that one. Readers, who do not know the
months of a history, touch all partitions, so attaching waits for the end of their transactions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import partial

from xblock_user_state.history.partitions.base import (
    HASHES,
    LOCK_SECONDS,
    Kind,
    Partitions,
    before,
    months_after,
    this_month,
)
from xblock_user_state.store.transactions import repeat

_KINDS = {("h", "student_id"): Kind.LEARNER, ("r", "created"): Kind.TIME, (None, None): Kind.PLAIN}
_KIND = """
SELECT partitioned.partstrat::text, attribute.attname::text
FROM pg_class AS class
LEFT JOIN pg_partitioned_table AS partitioned ON partitioned.partrelid = class.oid
LEFT JOIN pg_attribute AS attribute
    ON attribute.attrelid = class.oid AND attribute.attnum = partitioned.partattrs[0]
WHERE class.oid = to_regclass(%s)
"""
_NAMES = """
SELECT class.relname::text FROM pg_inherits AS inherits JOIN pg_class AS class ON class.oid = inherits.inhrelid
WHERE inherits.inhparent = to_regclass(%s)
"""
_VALUES = """
SELECT pg_get_expr(class.relpartbound, class.oid)
FROM pg_inherits AS inherits JOIN pg_class AS class ON class.oid = inherits.inhrelid
WHERE inherits.inhparent = to_regclass(%s)
"""
_START = re.compile(r"FROM \('(\d{4})-(\d{2})")
_END = re.compile(r"TO \('(\d{4})-(\d{2})")
_REMAINDER = re.compile(rf"modulus {HASHES}, remainder (\d+)")


class PostgreSQLPartitions(Partitions):
    """Partitions of PostgreSQL 14 and later."""

    def kind(self) -> Kind | None:
        """Return the kind of the table."""
        found = self.fetch(_KIND, [self.table])
        return _KINDS.get(tuple(found[0]), Kind.OTHER) if found else None

    def names(self) -> list[str]:
        """Return the names of the partitions."""
        return [name for (name,) in self.fetch(_NAMES, [self.table])]

    def has_later(self) -> bool:
        """Tell whether there are entries after the last bound."""
        return bool(self.fetch(f"SELECT 1 FROM {self._later} LIMIT 1"))

    def lost(self) -> list[str]:
        """Return the names of lost partitions. Of months, those that the next one begins after, and the last one."""
        values = [value for (value,) in self.fetch(_VALUES, [self.table])]
        text = "\n".join(values)
        learners = {int(number) for number in _REMAINDER.findall(text)}
        # No others: a partition that was divided has another modulus.
        if values and len(learners) == len(values):
            return [self._plain_name(_of_learners(number)) for number in range(HASHES) if number not in learners]
        if not self.bounds():
            return []
        starts, ends = _START.findall(text), _END.findall(text)
        lost = [f"before_{year}_{month}" for year, month in sorted(starts) if (year, month) not in ends]
        if "DEFAULT" not in values:
            lost.append("later")
        return list(map(self._plain_name, lost))

    def lock(self) -> None:
        """Keep readers and writers from the table to the end of the transaction."""
        self.execute(f"LOCK TABLE {self.table} IN ACCESS EXCLUSIVE MODE")

    def by_learner(self) -> None:
        """Replace the empty table by one that is partitioned by hash of the learner."""
        self._replace(f"HASH ({self.learner})", self.key())
        for number in range(HASHES):
            bound = f"WITH (MODULUS {HASHES}, REMAINDER {number})"
            self._create(self._name(_of_learners(number)), f"FOR VALUES {bound}")

    def by_time(self, bounds: Sequence[date]) -> None:
        """Replace the empty table by one that is partitioned by time."""
        self._replace(f"RANGE ({self.created})", self.key(self.created))
        starts = [None, *bounds[:-1]]
        for start, bound in zip(starts, bounds, strict=True):
            self._create(self._name(before(bound)), _range(start, bound))
        self._create(self._later, "DEFAULT")

    def add(self, bounds: Sequence[date]) -> None:
        """Add partitions in one transaction, which has its locks for milliseconds, or for one scan of ``later``."""
        repeat(self.connection.alias, partial(self._add, bounds))

    def _add(self, bounds: Sequence[date]) -> None:
        self.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        start = max(self.bounds())
        if not self.has_later():
            self._attach_months(start, bounds)
            return
        # In the order of writers, who lock the table before a partition.
        self.lock()
        # The partition `later` itself becomes the one of the months that have passed: no entry of them is copied.
        bound = max(bounds[0], months_after(this_month(), 1))
        past = self._name(before(bound))
        self.execute(f"ALTER TABLE {self.table} DETACH PARTITION {self._later}")
        self.execute(f"ALTER TABLE {self._later} RENAME TO {past}")
        self._create(self._later, "DEFAULT")
        self._attach_months(bound, [each for each in bounds if each > bound])
        # Entries from the future, of a clock that is wrong.
        self.execute(
            f"WITH moved AS (DELETE FROM {past} WHERE {self.created} >= {_time(bound)} RETURNING *) "
            f"INSERT INTO {self.table} SELECT * FROM moved"
        )
        self._attach(past, start, bound)

    def _attach_months(self, start: date, bounds: Sequence[date]) -> None:
        for bound in bounds:
            name = self._name(before(bound))
            self.execute(f"CREATE TABLE {name} (LIKE {self.table} INCLUDING ALL)")
            self._attach(name, start, bound)
            start = bound

    def _attach(self, name: str, start: date, bound: date) -> None:
        self.execute(f"ALTER TABLE {self.table} ATTACH PARTITION {name} {_range(start, bound)}")

    def _create(self, name: str, values: str) -> None:
        self.execute(f"CREATE TABLE {name} PARTITION OF {self.table} {values}")

    def _replace(self, by: str, key: str) -> None:
        plain = self._name("plain")
        self.execute(f"ALTER TABLE {self.table} RENAME TO {plain}")
        self.execute(f"CREATE TABLE {self.table} (LIKE {plain} INCLUDING ALL EXCLUDING INDEXES) PARTITION BY {by}")
        self.execute(f"DROP TABLE {plain}")
        self.execute(f"ALTER TABLE {self.table} ADD PRIMARY KEY ({key})")

    @property
    def _later(self) -> str:
        return self._name("later")

    def _name(self, end: str) -> str:
        return self.connection.ops.quote_name(self._plain_name(end))

    def _plain_name(self, end: str) -> str:
        # Not after the table: the name of that of the extended history is as long as PostgreSQL allows.
        return f"xus_{self.model_name}_{end}"


def _of_learners(number: int) -> str:
    return f"learners_{number:02}"


def _range(start: date | None, bound: date) -> str:
    return f"FOR VALUES FROM ({'MINVALUE' if start is None else _time(start)}) TO ({_time(bound)})"


def _time(bound: date) -> str:
    return f"'{bound} 00:00:00+00'"
