"""``import_openedx`` with real processes: killed at any moment, and while learners work on the old site."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial

import pytest
from django.db import connection, connections

from demo.old_tables import generate, old_tables
from demo.old_tables.schema import EXTENDED_HISTORY, HISTORY, MODULE
from tests.acceptance.conftest import Manage, Start
from tests.acceptance.processes import Crew
from tests.acceptance.waiting import finished, wait_until
from tests.openedx_tables import Change, change_modules
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.openedx.models import ImportedModule

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

LEARNERS = 30
BLOCKS = 12
ATTEMPTS = 3
KILLS = 3
COMMAND = ("django", "import_openedx", "--from", "default", "--batch", "20")


@pytest.fixture
def tables(transactional_db: None) -> Iterator[None]:
    with old_tables("default"):
        generate("default", LEARNERS, BLOCKS, ATTEMPTS)
        yield


def test_learners_are_whole_after_each_kill(tables: None, start: Start, manage: Manage) -> None:
    rng = random.Random()
    for _ in range(KILLS):
        process = start(*COMMAND)
        wait_until(partial(has_more_rows_than, StudentModule.objects.count()), process)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        connections.close_all()
        assert_whole_learners()
    # Some are left for the run that is not killed.
    manage(*COMMAND[1:])
    assert StudentModule.objects.count() == ImportedModule.objects.count() == count_of(MODULE) == LEARNERS * BLOCKS
    assert manage("compare_openedx", "--from", "default", "--history") == ""
    manage("check_history")


def test_learners_work_on_while_the_import_runs(tables: None, start: Start, manage: Manage, crew: Crew) -> None:
    [writer] = crew.hire(1)
    writer.start(change_modules, "default", 3)
    processes = [start(*COMMAND, "--range", f"{first}:{last}") for first, last in halves()]
    while any(process.poll() is None for process in processes):
        writer.listen(0.1)
    for process in processes:
        finished(process, moving=StudentModule.objects.count)
    for first, last in halves():
        writer.listen(0.1)
        finished(start(*COMMAND, "--catch-up", "--range", f"{first}:{last}"))
    changes = writer.stop()
    assert changes
    for first, last in halves():
        manage(*COMMAND[1:], "--catch-up", "--range", f"{first}:{last}")
    assert manage("compare_openedx", "--from", "default", "--history") == ""
    manage("check_history")
    for module, change in last_changes(changes):
        row = StudentModule.objects.get(**ImportedModule.objects.values("student_id", "block_id").get(id=module))
        assert row.modified >= change.values["modified"]


def test_two_imports_of_one_range_do_not_harm_each_other(tables: None, start: Start, manage: Manage) -> None:
    for process in [start(*COMMAND) for _ in range(2)]:
        finished(process, moving=StudentModule.objects.count)
    assert StudentModule.objects.count() == ImportedModule.objects.count() == LEARNERS * BLOCKS
    assert manage("compare_openedx", "--from", "default", "--history") == ""
    manage("check_history")


def has_more_rows_than(rows: int) -> bool:
    return StudentModule.objects.count() > rows


def last_changes(changes: list[Change]) -> Iterator[tuple[int, Change]]:
    yield from {change.module: change for change in changes}.items()


def halves() -> list[tuple[int | str, int | str]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT MIN(student_id), MAX(student_id) FROM {MODULE}")
        first, last = cursor.fetchone()
    middle = (first + last) // 2
    return [("", middle), (middle + 1, "")]


def assert_whole_learners() -> None:
    """Check that each learner has all rows and all entries, or none."""
    rows, entries = counts_by_learner(StudentModule), counts_by_learner(StudentModuleHistory)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT student_id, COUNT(*) FROM {MODULE} GROUP BY student_id")
        old_rows = dict(cursor.fetchall())
    assert rows == {learner: old_rows[learner] for learner in rows}
    assert entries.keys() <= rows.keys()
    assert counts_by_learner(ImportedModule) == rows
    assert count_of(HISTORY) + count_of(EXTENDED_HISTORY) >= sum(entries.values())


def counts_by_learner(model: type[StudentModule | StudentModuleHistory | ImportedModule]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for learner in model._base_manager.values_list("student_id", flat=True):
        counts[learner] = counts.get(learner, 0) + 1
    return counts


def count_of(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")
        return int(cursor.fetchone()[0])
