"""Reads the old tables by plain SQL, in pages by key, along the indexes that they have. It never writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

from django.db import connections

from xblock_user_state.openedx.old.merging import NO_TIME, Place, in_order
from xblock_user_state.openedx.old.tables import (
    EXTENDED,
    HISTORY,
    INFO,
    MODULES,
    PREFERENCES,
    SUMMARIES,
    Entry,
    FieldRow,
    Module,
    ModuleRow,
)
from xblock_user_state.store.dialects import dialect_of
from xblock_user_state.store.statements import pieces

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MODULE = "id, student_id, course_id, module_id, module_type"
_FIRST_YEAR = 1000
_ENDS = ("", "\n", "\r\n", "\r", " ", "\t")
_ROWS = 1000
_CHUNK = 500
"""Entries with their states in one statement, where one row has a long history."""


class NotAnOldSite(Exception):
    """The database has no table of the platform's learner state."""


class Selection(NamedTuple):
    """The part of the old tables that a pass reads: learners by id, from `first` to `last`, and a course."""

    first: int | None = None
    last: int | None = None
    course_id: str | None = None

    def conditions(self, after: int | None = None, *, has_course: bool = True) -> tuple[list[str], list[Any]]:
        """Return conditions in SQL and their parameters. `after` is a learner who is done."""
        asked: list[tuple[str, int | None]] = [
            ("student_id >= %s", self.first if after is None else None),
            ("student_id > %s", after),
            ("student_id <= %s", self.last),
        ]
        given: list[tuple[str, list[Any]]] = [(sql, [value]) for sql, value in asked if value is not None]
        if self.course_id is not None and has_course:
            # With the white space that `keys` takes away. A list keeps the index, which a function of the column loses.
            texts = [f"{self.course_id}{end}" for end in _ENDS]
            given.append((f"course_id IN ({', '.join(['%s'] * len(texts))})", texts))
        return [sql for sql, _ in given], [value for _, values in given for value in values]


@dataclass(frozen=True)
class OldSite:
    """The old tables, in a `database`; ``history`` has the tables of history, the default table first."""

    database: str
    history: tuple[tuple[str, str], ...]
    """Name and database alias of each table of history that exists."""
    fields: tuple[str, ...]
    """The tables of the other scopes that exist."""

    @classmethod
    def open(cls, database: str, history_database: str | None = None) -> OldSite:
        """Look which tables exist. One statement for each database. Raises `NotAnOldSite`."""
        tables = _tables(database)
        if MODULES not in tables:
            raise NotAnOldSite(f"the database {database!r} has no table {MODULES}")
        history = [(HISTORY, database)] if HISTORY in tables else []
        place = history_database or database
        if EXTENDED in (_tables(place) if history_database else tables):
            history.append((EXTENDED, place))
        elif history_database:
            raise NotAnOldSite(f"the database {place!r} has no table {EXTENDED}")
        return cls(database, tuple(history), tuple(each for each in (PREFERENCES, INFO, SUMMARIES) if each in tables))

    @property
    def has_extended_history(self) -> bool:
        """Tell whether the table of the extended history was found."""
        return any(table == EXTENDED for table, _ in self.history)

    def count(self, selection: Selection, after: int | None = None) -> int:
        """Return the number of state rows. One statement, which reads an index."""
        where, parameters = selection.conditions(after)
        [[number]] = self._rows(f"SELECT COUNT(*) FROM {MODULES}{_where(where)}", parameters)
        return int(number)

    def learners(self, selection: Selection, after: int | None, size: int) -> list[int]:
        """Return up to `size` learners who have any row, by rising id. One statement for each table."""
        found: set[int] = set()
        limit: int | None = None
        tables = [MODULES] if selection.course_id else [MODULES, *(each for each in self.fields if each != SUMMARIES)]
        for table in tables:
            where, parameters = selection.conditions(after, has_course=table == MODULES)
            sql = f"SELECT DISTINCT student_id FROM {table}{_where(where)} ORDER BY student_id LIMIT {size}"
            ids = [int(id_) for (id_,) in self._rows(sql, parameters)]
            found.update(ids)
            if len(ids) == size:
                # This table may have more learners after its last one, so the others' later ones must wait.
                limit = ids[-1] if limit is None else min(limit, ids[-1])
        return sorted(id_ for id_ in found if limit is None or id_ <= limit)[:size]

    def row_counts(self, learners: Sequence[int], selection: Selection) -> dict[int, int]:
        """Return the number of state rows of each learner; none for a learner without any."""
        where, parameters = Selection(course_id=selection.course_id).conditions()
        select = f"SELECT student_id, COUNT(*) FROM {MODULES} WHERE {{}}{_and(where)} GROUP BY student_id"
        return {
            int(id_): number for id_, number in self._among(self.database, select, "student_id", learners, parameters)
        }

    def modules(self, learners: Sequence[int], selection: Selection) -> list[Module]:
        """Return the key columns of all rows of some learners, by learner and id."""
        where, parameters = Selection(course_id=selection.course_id).conditions()
        select = f"SELECT {_MODULE} FROM {MODULES} WHERE {{}}{_and(where)}"
        rows = self._among(self.database, select, "student_id", learners, parameters)
        return sorted(map(Module._make, rows), key=lambda module: (module.student_id, module.id))

    def modules_by_id(self, ids: Sequence[int]) -> list[Module]:
        """Return the key columns of rows by their ids; none for a row that is gone."""
        select = f"SELECT {_MODULE} FROM {MODULES} WHERE {{}}"
        return sorted(map(Module._make, self._among(self.database, select, "id", ids)))

    def rows(self, ids: Sequence[int]) -> dict[int, ModuleRow]:
        """Return the other columns of rows by their ids; none for a row that is gone."""
        created, modified = self._time("created"), self._time("modified")
        select = f"SELECT id, state, grade, max_grade, done, {created}, {modified} FROM {MODULES} WHERE {{}}"
        to_time = self._to_time(self.database)
        return {
            row[0]: ModuleRow._make([*row[:5], to_time(row[5]), to_time(row[6])])
            for row in self._among(self.database, select, "id", ids)
        }

    def modified_since(
        self, since: datetime, selection: Selection, after: tuple[datetime, int] | None, size: int
    ) -> tuple[list[Module], tuple[datetime, int] | None]:
        """Return a page of rows by (modified, id), and its end; ``None`` for the end if no more follow."""
        where, parameters = selection.conditions()
        start, adapt = after[0] if after else since, connections[self.database].ops.adapt_datetimefield_value
        where.append("modified >= %s")
        parameters.append(adapt(start))
        if after:
            where.append("(modified > %s OR id > %s)")
            parameters += [adapt(start), after[1]]
        select = f"SELECT {_MODULE}, {self._time('modified')} FROM {MODULES}{_where(where)}"
        found = self._rows(f"{select} ORDER BY modified, id LIMIT {size}", parameters)
        to_time = self._to_time(self.database)
        last = to_time(found[-1][5]) if len(found) == size else None
        return [Module._make(row[:5]) for row in found], (last, found[-1][0]) if last else None

    def history_counts(self, ids: Sequence[int]) -> dict[int, int]:
        """Return the number of history entries of rows by their ids; none for a row without any."""
        counts: dict[int, int] = defaultdict(int)
        for table, alias in self.history:
            select = f"SELECT student_module_id, COUNT(*) FROM {table} WHERE {{}} GROUP BY student_module_id"
            for id_, number in self._among(alias, select, "student_module_id", ids):
                counts[id_] += number
        return counts

    def entries(self, ids: Sequence[int]) -> list[Entry]:
        """Return all history entries of rows by their ids. One statement for each table."""
        return [
            entry for table, alias in self.history for entry in self._entries(table, alias, "student_module_id", ids)
        ]

    def places(self, ids: Sequence[int]) -> dict[int, list[Place]]:
        """Return the places of the history entries of rows, in order, by the rows' ids. Reads no states."""
        places: dict[int, list[Place]] = defaultdict(list)
        for table, alias in self.history:
            is_extended, to_time = table == EXTENDED, self._to_time(alias)
            select = f"SELECT student_module_id, id, {self._time('created', alias)} FROM {table} WHERE {{}}"
            for module, id_, created in self._among(alias, select, "student_module_id", ids):
                places[module].append((to_time(created) or NO_TIME, is_extended, id_))
        for found in places.values():
            found.sort()
        return places

    def entries_at(self, places: Sequence[Place]) -> Iterator[Entry]:
        """Yield the history entries of these places in their order, with a bounded number of states in memory."""
        for start in range(0, len(places), _CHUNK):
            chunk = places[start : start + _CHUNK]
            found: list[Entry] = []
            for table, alias in self.history:
                ids = [id_ for _, is_extended, id_ in chunk if is_extended == (table == EXTENDED)]
                found += self._entries(table, alias, "id", ids)
            yield from sorted(found, key=in_order)

    def long_history(self, ids: Sequence[int]) -> Iterator[Entry]:
        """Yield the history entries of rows by their ids in order, with a bounded number of states in memory."""
        return self.entries_at(sorted(chain.from_iterable(self.places(ids).values())))

    def field_rows(self, table: str, owners: Sequence[Any]) -> list[FieldRow]:
        """Return the fields of learners, or of usage keys in the table of summaries."""
        owner = "usage_id" if table == SUMMARIES else "student_id"
        block_type = "module_type" if table == PREFERENCES else "''"
        times = f"{self._time('created')}, {self._time('modified')}"
        select = f"SELECT id, {owner}, {block_type}, field_name, value, {times} FROM {table} WHERE {{}}"
        to_time = self._to_time(self.database)
        return [
            FieldRow._make([table, *row[:5], to_time(row[5]), to_time(row[6])])
            for row in self._among(self.database, select, owner, owners)
        ]

    def field_owners(
        self, table: str, after: Any, size: int, selection: Selection, since: datetime | None = None
    ) -> list[Any]:
        """Return a page of owners of fields, in the database's order; with `since` only of fields modified since."""
        owner = "usage_id" if table == SUMMARIES else "student_id"
        where, parameters = selection.conditions(after) if table != SUMMARIES else ([], [])
        if table == SUMMARIES and after is not None:
            where, parameters = ["usage_id > %s"], [after]
        if since is not None:
            where.append("modified >= %s")
            parameters.append(connections[self.database].ops.adapt_datetimefield_value(since))
        sql = f"SELECT DISTINCT {owner} FROM {table}{_where(where)} ORDER BY {owner} LIMIT {size}"
        return [each for [each] in self._rows(sql, parameters)]

    def courses_of(self, usage_ids: Sequence[str]) -> dict[str, set[str]]:
        """Return the texts of the courses in which learners have some blocks, by usage key. One statement for 1,000."""
        select = f"SELECT DISTINCT module_id, course_id FROM {MODULES} WHERE {{}}"
        courses: dict[str, set[str]] = defaultdict(set)
        for usage_id, course_id in self._among(self.database, select, "module_id", usage_ids):
            courses[usage_id].add(course_id)
        return courses

    def lost_history(self, size: int = 1000) -> Iterator[list[tuple[str, int, int]]]:
        """Yield pages of table, id and student_module_id of entries whose row is gone; a page may be empty."""
        for table, alias in self.history:
            after: list[int] = []
            while True:
                where = " WHERE student_module_id > %s" if after else ""
                sql = f"SELECT DISTINCT student_module_id FROM {table}{where} ORDER BY student_module_id LIMIT {size}"
                ids = [int(id_) for [id_] in self._rows(sql, after, alias)]
                known = {
                    row[0] for row in self._among(self.database, f"SELECT id FROM {MODULES} WHERE {{}}", "id", ids)
                }
                select = f"SELECT id, student_module_id FROM {table} WHERE {{}}"
                lost = self._among(alias, select, "student_module_id", sorted(set(ids) - known))
                yield sorted((table, int(id_), int(module)) for id_, module in lost)
                if len(ids) < size:
                    break
                after = ids[-1:]

    def _entries(self, table: str, alias: str, column: str, values: Sequence[int]) -> Iterator[Entry]:
        created, to_time = self._time("created", alias), self._to_time(alias)
        select = f"SELECT id, student_module_id, {created}, state, grade, max_grade, version FROM {table} WHERE {{}}"
        for id_, module, time, *rest in self._among(alias, select, column, values):
            yield Entry(table, id_, module, to_time(time), *rest)

    def _rows(self, sql: str, parameters: Iterable[Any], alias: str | None = None) -> Sequence[Sequence[Any]]:
        with connections[alias or self.database].cursor() as cursor:
            cursor.execute(sql, list(parameters))
            found: Sequence[Sequence[Any]] = cursor.fetchall()
        return found

    def _among(
        self, alias: str, select: str, column: str, values: Sequence[Any], parameters: Sequence[Any] = ()
    ) -> Iterator[Sequence[Any]]:
        """Yield the rows whose column has one of the values; the condition stands for ``{}`` in the statement."""
        for some in pieces(alias, list(values), 1000):
            condition, keys = dialect_of(connections[alias]).in_list(column, some)
            with connections[alias].cursor() as cursor:
                cursor.execute(select.format(condition), [*keys, *parameters])
                # One row may have very many entries.
                while rows := cursor.fetchmany(_ROWS):
                    yield from rows

    def _time(self, column: str, alias: str | None = None) -> str:
        return _TIMES[connections[alias or self.database].vendor].format(column)

    def _to_time(self, alias: str) -> Callable[[Any], datetime | None]:
        """Return the function from a selected time to a time in UTC; ``None`` for a time that does not exist."""
        connection = connections[alias]
        is_text, zone = connection.vendor == "sqlite", connection.timezone
        is_local = connection.vendor != "postgresql" and zone is not UTC

        def convert(value: Any) -> datetime | None:
            if value is None:
                return None
            try:
                if is_text:
                    time = datetime.fromisoformat(value)
                    time = time if time.tzinfo else time.replace(tzinfo=UTC)
                else:
                    time = _EPOCH + timedelta(microseconds=value)
                # Years before 1000 are no dates of learners: MySQL has none, and other databases got them instead.
                if time.year < _FIRST_YEAR:
                    return None
                return time.replace(tzinfo=zone).astimezone(UTC) if is_local else time
            except (ValueError, OverflowError):
                return None

        return convert


# Microseconds since 1970: drivers and Django would parse each time from text, and fail at a zero date.
_TIMES: Mapping[str, str] = {
    "postgresql": "(extract(epoch FROM {0}) * 1000000)::bigint",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {0})",
    # A cast has no declared type, so that Django's converter leaves it alone.
    "sqlite": "CAST({0} AS text)",
}


def _tables(alias: str) -> Sequence[str]:
    connection: Any = connections[alias]
    if connection.vendor == "mysql" and connection.connection is None:
        # Django refuses MySQL 5.7, for its ORM's sake. The import sends plain SELECTs, which 5.7 takes.
        connection.features.minimum_database_version = None
    return list(connection.introspection.table_names())


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _and(conditions: Sequence[str]) -> str:
    return "".join(f" AND {condition}" for condition in conditions)
