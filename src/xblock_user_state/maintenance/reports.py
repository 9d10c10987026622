"""Figures over many learners for the console's pages, each one statement with a bounded number of rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Count, Max, Min, Model, Sum

from xblock_user_state.history.entries import Owner, all_rows
from xblock_user_state.history.models import HistoryOutbox
from xblock_user_state.maintenance.paging import PAGE, rows_of
from xblock_user_state.state.keys import is_storable
from xblock_user_state.store.databases import is_distributed
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.transactions import errors_translated


class Activity(NamedTuple):
    """The sums over a learner's states."""

    blocks: int
    last: datetime
    grade: float | None
    max_grade: float | None


def activity_of(
    database: str,
    student_ids: Collection[Any],
    *,
    context_id: int | None = None,
    block_type: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
) -> dict[Any, Activity]:
    """Return the activity of learners who have any, in a course, in blocks of a type, or in a range of time.

    It is in the range if its last change is. All changes count, those of staff too.

    The statement reads the rows of these learners, which are neighbours in the primary key.
    """
    if not student_ids or (block_type is not None and not is_storable(block_type)):
        return {}
    rows = all_rows(StudentModule, database).filter(student_id__in=list(student_ids))
    if context_id is not None:
        rows = rows.filter(block__context_id=context_id)
    if block_type is not None:
        rows = rows.filter(block__block_type=block_type)
    if since is not None:
        rows = rows.filter(modified__gte=since)
    if before is not None:
        rows = rows.filter(modified__lt=before)
    sums = {"blocks": Count("*"), "last": Max("modified"), "grades": Sum("grade"), "max_grades": Sum("max_grade")}
    with errors_translated(database):
        found = rows.order_by().values("student_id").annotate(**sums).values_list("student_id", *sums)
        return {id_: Activity(*values) for id_, *values in found}


class Response(NamedTuple):
    """A learner's row in a block."""

    student_id: Any
    text: str | None
    grade: float | None
    max_grade: float | None
    revision: int
    modified: datetime


def responses(database: str, block_id: int, count: int, after: Any = None) -> list[Response]:
    """Return up to `count` rows of a block in the order of the learners' ids, from the one that follows `after`."""
    rows = all_rows(StudentModule, database).filter(block_id=block_id)
    if after is not None:
        rows = rows.filter(student_id__gt=after)
    columns = ("student_id", "state", "grade", "max_grade", "revision", "modified")
    with errors_translated(database):
        return [Response(*values) for values in rows.order_by("student_id").values_list(*columns)[:count]]


def stored_rows(database: str, owners: Sequence[Owner]) -> dict[Owner, Response]:
    """Return the rows of learners in blocks that exist. One statement for 500 owners."""
    columns = ("student_id", "block_id", "state", "grade", "max_grade", "revision", "modified")
    found: dict[Owner, Response] = {}
    with errors_translated(database):
        for some in pieces(database, owners, PAGE):
            rows = all_rows(StudentModule, database).filter(rows_of(some)).values_list(*columns)
            found |= {Owner(row[0], row[1]): Response(row[0], *row[2:]) for row in rows}
    return found


def learners_in(database: str, block_id: int, most: int) -> int:
    """Return the number of rows of a block, or `most` if there are more. The statement stops counting there."""
    rows = all_rows(StudentModule, database).filter(block_id=block_id).order_by()
    with errors_translated(database):
        return rows.values("student_id")[:most].count()


def backlog(database: str) -> tuple[int, datetime | None]:
    """Return the number of entries in the outbox, and the time of the oldest. It scans the outbox, which is small."""
    with errors_translated(database):
        found = all_rows(HistoryOutbox, database).aggregate(waiting=Count("*"), oldest=Min("created"))
    return found["waiting"], found["oldest"]


COUNTED = 100_000
"""Rows that are counted where the database has no estimate."""

_ESTIMATES = {
    # Negative before the first ANALYZE. The rows of a partitioned table are in its partitions.
    "postgresql": """
        SELECT sum(GREATEST(reltuples, 0)) FROM pg_class WHERE relkind = 'r' AND (oid = to_regclass(%(table)s)
        OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(%(table)s)))
    """,
    # The coordinator keeps no figure of a table whose rows are on the workers.
    "citus": """
        SELECT sum(GREATEST(result::real, 0))
        FROM run_command_on_shards(%(table)s, 'SELECT reltuples FROM pg_class WHERE oid = ''%%s''::regclass')
    """,
    "mysql": """
        SELECT table_rows FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %(table)s
    """,
}


def estimated_rows(alias: str, models: Sequence[type[Model]]) -> list[tuple[int, bool]]:
    """Return the number of rows of each table, and whether it is an estimate. Raises errors of Django's.

    Servers keep estimates, which take one statement. On SQLite rows are counted up to `COUNTED`, by one for each table.
    """
    connection = connections[alias]
    if connection.vendor not in _ESTIMATES:
        return [_counted(alias, model) for model in models]
    tables = {f"table{number}": model._meta.db_table for number, model in enumerate(models)}
    with connection.cursor() as cursor:
        statement = _ESTIMATES["citus" if is_distributed(alias) else connection.vendor]
        estimates = [statement.replace("%(table)s", f"%({name})s") for name in tables]
        cursor.execute(f"SELECT {', '.join(f'({each})' for each in estimates)}", tables)
        return [(int(rows or 0), True) for rows in cursor.fetchone()]


def _counted(alias: str, model: type[Model]) -> tuple[int, bool]:
    rows = all_rows(model, alias).order_by().values("student_id")[: COUNTED + 1].count()
    return min(rows, COUNTED), rows > COUNTED


class CourseRow(NamedTuple):
    """A learner's row in a block of a course, without its state."""

    student_id: Any
    block_id: int
    revision: int
    grade: float | None
    modified: datetime


ROWS_LOOKED_AT = 2_000
"""Rows of a course in which its learners are looked for."""

SAMPLE = 100
"""Learners of a larger course whose rows are read."""

ROWS_READ = 10_000
"""Rows that are read of them at most."""


def course_sample(database: str, block_ids: Collection[int]) -> tuple[list[CourseRow], bool]:
    """Return the rows of a course, or of a sample of its learners, and whether they are a sample. Two statements.

    The sample is of learners and not of rows: all that they did in the course is in it, so blocks can be compared.
    """
    of_course = all_rows(StudentModule, database).filter(block_id__in=list(block_ids)).order_by()
    with errors_translated(database):
        # From the index: ids of blocks are hashes, so the first ones are any blocks.
        found = list(of_course.values_list("student_id", flat=True)[:ROWS_LOOKED_AT])
        is_sample = len(found) == ROWS_LOOKED_AT
        learners = list(dict.fromkeys(found))[: SAMPLE if is_sample else None]
        columns = ("student_id", "block_id", "revision", "grade", "modified")
        rows = of_course.filter(student_id__in=learners).values_list(*columns)[:ROWS_READ] if learners else []
        return [CourseRow(*values) for values in rows], is_sample
