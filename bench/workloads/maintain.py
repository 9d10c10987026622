"""``python -m bench.workloads.maintain export|check|raw`` does one job. `bench.workloads.maintenance` starts it.

It prints entries, rows, seconds, the process's own seconds of a processor, statements, and megabytes of memory at the
start and at the peak, as JSON.
"""

from __future__ import annotations

import json
import sys
from io import StringIO
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

from bench.workloads.iterate import megabytes

_PAGE = 10
"""Learners in a statement of the raw loop."""


def main() -> None:
    django.setup()
    job = {"export": _export, "check": _check, "raw": _raw}[sys.argv[1]]
    connection.ensure_connection()
    statements = 0

    def counting(execute: Any, *call: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*call)

    before, started, used = megabytes("VmRSS"), perf_counter(), process_time()
    with connection.execute_wrapper(counting):
        job()
    seconds, processor = perf_counter() - started, process_time() - used
    figures = {"seconds": seconds, "processor": processor, "statements": statements, "before": before}
    print(json.dumps({**_sizes(), **figures, "peak": megabytes("VmHWM")}))


def _export() -> None:
    with TemporaryDirectory() as folder:
        call_command("export_history", folder, stdout=StringIO())


def _check() -> None:
    call_command("check_history", stdout=StringIO())


def _raw() -> None:
    """Read all entries by key and decode their texts, without Django around the rows; keep and check nothing."""
    from xblock_user_state.history.encoding import Stored, decode  # noqa: PLC0415 - needs Django
    from xblock_user_state.models import StudentModuleHistory  # noqa: PLC0415 - needs Django

    table = StudentModuleHistory._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT MIN(student_id), MAX(student_id) FROM {table}")
        first, last = cursor.fetchone()
        for start in range(first, last + 1, _PAGE):
            cursor.execute(
                f"SELECT revision, encoding, body FROM {table} WHERE student_id >= %s AND student_id < %s"
                " ORDER BY student_id, block_id, revision",
                [start, start + _PAGE],
            )
            text = None
            for revision, encoding, body in cursor.fetchall():
                text = decode(Stored(revision, encoding, body), (revision - 1, text))


def _sizes() -> dict[str, int]:
    from xblock_user_state.models import StudentModule, StudentModuleHistory  # noqa: PLC0415 - needs Django

    return {"entries": StudentModuleHistory._base_manager.count(), "rows": StudentModule._base_manager.count()}


if __name__ == "__main__":
    main()
