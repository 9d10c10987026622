"""``python -m bench.workloads.take_over CONTENDER`` takes over old tables. `bench.workloads.openedx_import` starts it.

It prints history rows, seconds, the process's own seconds of a processor, and megabytes of memory at the start and at
the peak, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from io import StringIO
from itertools import groupby
from operator import itemgetter
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import django
import orjson
from django.core.management import call_command
from django.db import connection, transaction

from bench.contenders import OURS, RAW, REFERENCE
from bench.site import scale
from bench.workloads.iterate import megabytes
from demo.old_tables.schema import EXTENDED_HISTORY, HISTORY, MODULE

WHOLE_ROWS = "reference, a row at a time"

MODULES_OF_PAGE = 500

_RAW_COLUMNS = "student_id, block_id, revision, created, grade, max_grade, body"


def main() -> None:
    django.setup()
    take_over = _TAKE_OVER[sys.argv[1]]
    connection.ensure_connection()
    before, started, used = megabytes("VmRSS"), perf_counter(), process_time()
    rows = take_over()
    figures = {"rows": rows, "seconds": perf_counter() - started, "processor": process_time() - used}
    print(json.dumps({**figures, "before": before, "peak": megabytes("VmHWM")}))


def _ours() -> int:
    """Import everything, in one process."""
    with TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.jsonl")
        call_command("import_openedx", "--from", "default", "--report", report, stdout=StringIO())
    return _count(HISTORY) + _count(EXTENDED_HISTORY)


def _raw() -> int:
    """Read the history with the learner of its module, decode each state, and write it with a revision.

    No key is mapped, nothing is compared or encoded, and the state rows stay behind.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_imported (student_id bigint, block_id bigint, revision bigint, created text,"
            " grade double precision, max_grade double precision, body text,"
            " PRIMARY KEY (student_id, block_id, revision))"
        )
    rows = 0
    for page in _pages():
        entries = []
        for _, of_module in groupby(page, itemgetter(0, 1)):
            for revision, (student, module, created, grade, max_grade, state) in enumerate(of_module, 1):
                orjson.loads(state)
                entries.append((student, module, revision, created.isoformat(), grade, max_grade, state))
        with transaction.atomic():
            _write(entries)
        rows += len(entries)
    return rows


def _pages() -> Iterator[Sequence[tuple[Any, ...]]]:
    """Yield the entries of some modules at a time, those of one module in their order."""
    parts = [
        "SELECT m.student_id, m.id, h.created, h.grade, h.max_grade, h.state"
        f" FROM {MODULE} m JOIN {table} h ON h.student_module_id = m.id WHERE m.id > %s AND m.id <= %s"
        for table in (HISTORY, EXTENDED_HISTORY)
    ]
    sql = f"{' UNION ALL '.join(parts)} ORDER BY 1, 2, 3"
    for start in range(0, _count(MODULE), MODULES_OF_PAGE):
        with connection.cursor() as cursor:
            cursor.execute(sql, [start, start + MODULES_OF_PAGE] * 2)
            yield [(*row[:2], _time(row[2]), *row[3:]) for row in cursor.fetchall()]


def _write(entries: Sequence[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY bench_imported ({_RAW_COLUMNS}) FROM STDIN") as copy:
                for entry in entries:
                    copy.write_row(entry)
            return
        places = ", ".join(["%s"] * 7)
        cursor.executemany(f"INSERT INTO bench_imported ({_RAW_COLUMNS}) VALUES ({places})", entries)


def _reference(*, whole_rows: bool = False) -> int:
    """Create each row by the platform's models: `get_or_create`, then a `save` with its history for each entry.

    Each save is a transaction, as a request of the platform is; with `whole_rows` the saves of a row share one.
    """
    from bench.contenders.reference import Reference  # noqa: PLC0415 - needs Django

    Reference().create()
    row_of, save_of = (transaction.atomic, nullcontext) if whole_rows else (nullcontext, transaction.atomic)
    save = _saving(save_of)
    rows, started = 0, perf_counter()
    for page in _pages():
        for (student, module), of_module in groupby(page, itemgetter(0, 1)):
            with row_of():
                rows += save(student, module, list(of_module))
            # Its rate needs no more.
            if perf_counter() - started > scale.chosen().seconds:
                return rows
    return rows


def _saving(request: Callable[[], Any]) -> Callable[[int, int, Sequence[tuple[Any, ...]]], int]:
    """Return a function that saves the entries of one row, each in a `request`, and returns their number."""
    from bench.contenders.reference_models import StudentModule  # noqa: PLC0415 - needs Django
    from bench.site.data import course_key  # noqa: PLC0415 - needs Django

    course = course_key(0)
    rows = StudentModule._base_manager

    def save(student: int, module: int, entries: Sequence[tuple[Any, ...]]) -> int:
        key = course.make_usage_key("problem", f"{module:032x}")
        with request():
            row, is_new = rows.get_or_create(
                student_id=student, course_id=course, module_state_key=key, defaults={"state": entries[0][5]}
            )
        for _, _, _, grade, max_grade, state in entries[is_new:]:
            row.state, row.grade, row.max_grade = state, grade, max_grade
            with request():
                row.save(force_update=True)
        return len(entries)

    return save


def _time(value: Any) -> Any:
    """Return a time; SQLite gives it as a text without Django's fields."""
    return value if not isinstance(value, str) else datetime.fromisoformat(value)


def _count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")
        return int(cursor.fetchone()[0])


_TAKE_OVER: Mapping[str, Callable[[], int]] = {
    OURS: _ours,
    RAW: _raw,
    REFERENCE: _reference,
    WHOLE_ROWS: partial(_reference, whole_rows=True),
}


if __name__ == "__main__":
    main()
