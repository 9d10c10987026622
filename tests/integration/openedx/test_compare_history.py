"""The comparison of old histories with ours: what it names, and what it costs."""

from __future__ import annotations

import gc
import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from opaque_keys.edx.keys import UsageKey

from demo.old_tables import insert_history, insert_module, old_tables
from demo.old_tables.rows import NOON
from demo.old_tables.schema import EXTENDED_HISTORY, HISTORY
from tests.factories import make_learners
from tests.openedx_tables.awkward import COURSE, block
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import Block, StudentModuleHistory
from xblock_user_state.openedx.importing import comparing_history

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann(transactional_db: None) -> Iterator[Any]:
    with old_tables("default"):
        yield make_learners("ann")[0]


def insert_problem(learner: Any, name: str, entries: int, bytes_of_state: int = 10) -> None:
    states = [json.dumps({"n": number, "answer": "x" * bytes_of_state}) for number in range(entries)]
    times = [NOON + timedelta(minutes=number) for number in range(entries)]
    module = insert_module(
        "default",
        student_id=learner.pk,
        module_id=block(name),
        course_id=COURSE,
        state=states[-1],
        modified=times[-1],
    )
    for number, (state, time) in enumerate(zip(states, times, strict=True)):
        insert_history("default", module, EXTENDED_HISTORY if number % 2 else HISTORY, state=state, created=time)


def import_all() -> None:
    call_command("import_openedx", source="default", stdout=io.StringIO())


def compare(**options: Any) -> list[str]:
    output = io.StringIO()
    try:
        call_command("compare_openedx", source="default", history=True, **options, stdout=output)
    except CommandError as error:
        output.write(str(error))
    return output.getvalue().splitlines()


def statements() -> int:
    with CaptureQueriesContext(connection) as captured:
        assert compare() == []
    return len(captured)


def test_the_number_of_statements_does_not_grow_with_the_rows_of_a_page(ann: Any) -> None:
    for number in range(2):
        insert_problem(ann, f"few{number}", 3)
    import_all()
    few = statements()
    for number in range(50):
        insert_problem(ann, f"many{number}", 5)
    import_all()
    assert statements() == few


def test_the_number_of_statements_does_not_grow_with_the_learners_of_a_page(ann: Any) -> None:
    insert_problem(ann, "stars", 3)
    import_all()
    few = statements()
    for learner in make_learners(*(f"learner{number}" for number in range(20))):
        insert_problem(learner, "stars", 3)
    import_all()
    assert statements() == few


def test_a_packed_history_is_the_same(ann: Any, tmp_path: Path) -> None:
    insert_problem(ann, "stars", 6)
    import_all()
    call_command("compact_history", older_than="0h", state_file=tmp_path / "position.json", stdout=io.StringIO())
    assert StudentModuleHistory.objects.count() == 1
    assert compare() == []
    StudentModuleHistory._base_manager.update(body=b"?")
    assert len(compare()) > 1


def test_memory_does_not_grow_with_the_rows_nor_with_the_history_of_one(
    ann: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing_history, "_ENTRIES", 20)
    monkeypatch.setattr("xblock_user_state.openedx.old.reading._CHUNK", 20)
    insert_problem(ann, "moon", 20, 10_000)
    import_all()
    peak()
    of_few = peak()
    for number in range(10):
        insert_problem(ann, f"stars{number}", 20, 10_000)
    insert_problem(ann, "sun", 200, 10_000)
    import_all()
    # The states of the rows of a page are in memory; the new histories have four million bytes, on each side.
    assert peak() < of_few + 1_000_000


def peak() -> int:
    gc.collect()
    tracemalloc.start()
    try:
        assert compare() == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def ours(name: str) -> Any:
    return StudentModuleHistory._base_manager.filter(block_id=Block.objects.get(usage_key=block(name)).pk)


@pytest.mark.parametrize("entries_of_a_page", [1000, 2], ids=["together", "alone"])
def test_the_first_difference_of_each_history_is_named(
    ann: Any, monkeypatch: pytest.MonkeyPatch, entries_of_a_page: int
) -> None:
    monkeypatch.setattr(comparing_history, "_ENTRIES", entries_of_a_page)
    for name in ("stars", "moon", "sun", "sky", "sea"):
        insert_problem(ann, name, 4)
    import_all()
    ours("moon").filter(revision=2).update(grade=7)
    ours("sun").filter(revision=4)._raw_delete("default")
    ours("sky")._raw_delete("default")
    DjangoXBlockUserStateClient().set("ann", UsageKey.from_string(block("sea")), {"n": 5})

    lines = compare()

    named = {line.removeprefix(f"learner {ann.pk}, ") for line in lines[:-1]}
    assert named == {
        f"{block('moon')} in {COURSE}: history: old revision 2, ours another",
        f"{block('sun')} in {COURSE}: history: old 4 entries, ours 3 entries",
        f"{block('sky')} in {COURSE}: history: old 4 entries, ours 0 entries",
        f"{block('sea')} in {COURSE}: history: old 4 entries, ours 5 entries",
        f"{block('sea')} in {COURSE}: n: old 3, ours 5",
    }


def test_a_state_that_can_not_be_read_differs(ann: Any) -> None:
    insert_problem(ann, "stars", 4)
    import_all()
    ours("stars").filter(revision=3).update(body=b"?")
    assert compare()[0].endswith("history: old revision 3, ours another")
