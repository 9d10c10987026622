"""``python -m bench.workloads.maintain JOB [ARGUMENT]`` does one job. `bench.workloads.maintenance` starts it.

``fill LEARNERS`` fills an empty database; ``export``, which takes a learner's name, ``check`` and ``raw`` read it;
``archive``, ``restore`` and ``compact``, which take a folder, move its entries. A job prints entries, rows, seconds,
the process's own seconds of a processor, statements, and megabytes of memory at the start and at the peak, as JSON;
``entries`` of a job that moves them are those that it has moved, and ``archive`` has the bytes of the files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

from bench.site import data, filling
from bench.site.data import Block, State
from bench.workloads.iterate import megabytes

OF_ONE_BLOCK = "of one block"
"""The name of a learner who has worked on one block."""

_PAGE = 10
"""Learners in a statement of the raw loop."""


def main() -> None:
    django.setup()
    jobs: dict[str, Callable[..., dict[str, int] | None]] = {
        "fill": _fill,
        "export": _export,
        "check": _check,
        "raw": _raw,
        "archive": _archive,
        "restore": _restore,
        "compact": _compact,
    }
    job = jobs[sys.argv[1]]
    connection.ensure_connection()
    statements = 0

    def counting(execute: Any, *call: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*call)

    before, started, used = megabytes("VmRSS"), perf_counter(), process_time()
    with connection.execute_wrapper(counting):
        moved = job(*sys.argv[2:])
    seconds, processor = perf_counter() - started, process_time() - used
    figures = {"seconds": seconds, "processor": processor, "statements": statements, "before": before}
    print(json.dumps({**_sizes(), **figures, "peak": megabytes("VmHWM"), **(moved or {})}))


def _fill(learners: str) -> None:
    """Let learners work on 100 problems each, most of which get one entry, some 10, a few 50; one learner on one."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - needs Django

    from xblock_user_state.client import DjangoXBlockUserStateClient  # noqa: PLC0415 - needs Django
    from xblock_user_state.models import StudentModule, StudentModuleHistory  # noqa: PLC0415 - needs Django

    call_command("migrate", verbosity=0)
    model, random, blocks = get_user_model(), Random(1), data.blocks_of(0)
    names = [*(data.learner(number).username for number in range(int(learners))), OF_ONE_BLOCK]
    model._base_manager.bulk_create([model(username=name) for name in names])
    for user in model._base_manager.order_by("pk"):
        client = DjangoXBlockUserStateClient(user)
        worked_on = blocks[:1] if user.get_username() == OF_ONE_BLOCK else blocks
        for number in range(50):
            states = dict(_changes(random, worked_on, number))
            client.set_many(user.get_username(), {block.key: state for block, state in states.items()})
    if filling.is_server():
        filling.analyze([StudentModule._meta.db_table, StudentModuleHistory._meta.db_table])
        filling.settle()


def _changes(random: Random, blocks: Sequence[Block], number: int) -> Iterator[tuple[Block, State]]:
    for place, block in enumerate(blocks):
        entries = 50 if place % 25 == 0 else 10 if place % 3 == 0 else 1
        if number < entries:
            yield block, data.attempt(random, number) if number else data.state(random)


def _export(learner: str | None = None) -> None:
    with TemporaryDirectory() as folder:
        call_command("export_history", folder, learner=learner, stdout=StringIO())


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


def _archive(folder: str) -> dict[str, int]:
    before = _sizes()["entries"]
    options = {"older_than": "0h", "state_file": Path(folder, "archive.json"), "stdout": StringIO()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    call_command("archive_history", to=str(Path(folder, "archive")), **options)
    files = sum(file.stat().st_size for file in Path(folder, "archive").glob("*.parquet"))
    return {"entries": before - _sizes()["entries"], "archive": files}


def _restore(folder: str) -> dict[str, int]:
    before = _sizes()["entries"]
    call_command("archive_history", restore=str(Path(folder, "archive")), stdout=StringIO())
    return {"entries": _sizes()["entries"] - before}


def _compact(folder: str) -> dict[str, int]:
    entries = _sizes()["entries"]
    call_command("compact_history", older_than="0h", state_file=Path(folder, "compact.json"), stdout=StringIO())
    return {"entries": entries}


def _sizes() -> dict[str, int]:
    from xblock_user_state.models import StudentModule, StudentModuleHistory  # noqa: PLC0415 - needs Django

    return {"entries": StudentModuleHistory._base_manager.count(), "rows": StudentModule._base_manager.count()}


if __name__ == "__main__":
    main()
