"""The decoded copy of the history: complete, brought up to date by each run and by the relay, and deleted with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from tests.factories import BY, COURSE, make_block, make_blocks, make_learners
from xblock_user_state import actions
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.history.encoding import PLAIN
from xblock_user_state.models import StudentModule, StudentModuleHistory
from xblock_user_state.openedx.models import CompatibleStudentModule, DecodedHistory
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db(transaction=True)

BLOCKS = make_blocks(3)
OTHER = make_block(course=COURSE.replace(run="2027"))
PREFIX = "decoded_"


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("openedx_views", "--history", "--prefix", PREFIX, *arguments, stdout=output)
    return output.getvalue()


def copied(output: str) -> int:
    [line] = [line for line in output.splitlines() if line.endswith("entries of the history were copied")]
    return int(line.split()[0])


def view() -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {PREFIX}courseware_studentmodulehistory ORDER BY student_module_id, created")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture
def learners() -> Iterator[list[Any]]:
    users = make_learners("ada", "ben")
    for user in users:
        for attempt in range(40):
            Client().set_many(user.username, {block: {"answer": "x" * 50, "attempt": attempt} for block in BLOCKS})
        Client().set_score(user.username, BLOCKS[0], 1, 2)
        Client().delete(user.username, BLOCKS[1])
        Client().set(user.username, make_block("words", "html"), {"unrecorded": True})
    yield users
    call_command("openedx_views", "--drop", "--prefix", PREFIX, stdout=StringIO())


def test_the_view_has_each_entry_decoded_under_the_old_columns(learners: list[Any]) -> None:
    assert copied(run()) == 2 * (3 * 40 + 2)
    rows = view()
    assert list(rows[0]) == ["id", "version", "created", "state", "grade", "max_grade", "student_module_id"]
    assert len({row["id"] for row in rows}) == len(rows)
    for module in CompatibleStudentModule.objects.filter(module_type="problem"):
        of_module = [row for row in rows if row["student_module_id"] == module.pk]
        user = next(user for user in learners if user.pk == module.student_id)
        history = list(Client().get_history(user.username, module.module_state_key))[::-1]
        states = [json.loads(row["state"]) or None for row in of_module]
        assert states == [entry.state for entry in history]
        assert [row["grade"] for row in of_module] == [entry.score and entry.score.grade for entry in history]
    times = [set(model.objects.values_list("revision", "created")) for model in (DecodedHistory, StudentModuleHistory)]
    assert times[0] == times[1]


@pytest.mark.usefixtures("learners")
def test_a_later_run_copies_what_is_new() -> None:
    run()
    assert copied(run()) == 0
    Client().set("ada", BLOCKS[0], {"answer": "new"})
    Client().set("ben", OTHER, {"answer": "first"})
    assert copied(run()) == 2
    assert DecodedHistory.objects.count() == StudentModuleHistory.objects.count()


@pytest.mark.usefixtures("learners")
def test_the_copy_of_a_packed_history_is_the_same(tmp_path: Path) -> None:
    run()
    before = [{**row, "id": None} for row in view()]
    DecodedHistory.objects.filter(block_id=identify_block(BLOCKS[0]).id).delete()
    DecodedHistory.objects.filter(block_id=identify_block(BLOCKS[1]).id, revision__gt=20).delete()
    call_command("compact_history", older_than="0h", state_file=tmp_path / "position.json", stdout=StringIO())
    assert copied(run()) == 2 * (41 + 21)
    assert [{**row, "id": None} for row in view()] == before


@pytest.mark.usefixtures("learners")
def test_a_course_and_a_range_of_time_limit_the_copy() -> None:
    Client().set("ada", OTHER, {"answer": 1})
    assert copied(run("--course", str(OTHER.course_key))) == 1
    first, *_, last = StudentModuleHistory.objects.order_by("created").values_list("created", flat=True)
    assert copied(run("--until", str(first + timedelta(microseconds=1)), "--course", str(COURSE))) >= 1
    assert copied(run("--since", str(last))) == 0
    assert copied(run()) > 200
    assert DecodedHistory.objects.count() == StudentModuleHistory.objects.count()
    with pytest.raises(CommandError, match="no time"):
        run("--since", "yesterday")


def test_copies_are_deleted_with_the_history(learners: list[Any]) -> None:
    run()
    ada, ben = learners
    CompatibleStudentModule.objects.get(student=ada, module_state_key=BLOCKS[0], course_id=COURSE).delete()
    assert DecodedHistory.objects.filter(student=ada).count() == 81
    actions.delete_learner(ada)
    assert not DecodedHistory.objects.filter(student=ada).exists()
    actions.delete_block(BLOCKS[1], **BY)
    assert DecodedHistory.objects.filter(student=ben).count() == 81
    ben.delete()
    assert not DecodedHistory.objects.exists()


def test_copies_follow_rows_that_were_moved_or_began_again(learners: list[Any]) -> None:
    run()
    actions.move_state({BLOCKS[0]: make_block("moved")}, **BY)
    ada = learners[0]
    # Past the ORM, as SQL does it.
    where = {"student_id": ada.pk, "block_id": identify_block(BLOCKS[1]).id}
    StudentModule._base_manager.filter(**where).update(revision=1)
    StudentModuleHistory._base_manager.filter(**where, revision__gt=1)._raw_delete("default")
    run()
    columns = ("student_id", "block_id", "revision")
    expected = set(StudentModuleHistory.objects.values_list(*columns))
    assert set(DecodedHistory.objects.values_list(*columns)) == expected


@pytest.mark.usefixtures("learners")
def test_entries_that_can_not_be_read_are_named() -> None:
    Client().set("ada", OTHER, {"answer": 1})
    damaged = StudentModuleHistory._base_manager.filter(block_id=identify_block(OTHER).id)
    damaged.update(encoding=PLAIN, body=b"\xff")
    output = run("--course", str(OTHER.course_key))
    assert copied(output) == 0
    assert "revisions that can't be read have no copy: 1" in output


@pytest.mark.extended_history
def test_the_relay_keeps_the_copy_up_to_date(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    make_learners("ada")
    for attempt in range(3):
        Client().set_many("ada", {block: {"attempt": attempt} for block in BLOCKS})
    call_command("relay_history", "--decoded-copy", stdout=StringIO())
    assert DecodedHistory.objects.count() == 9
    Client().set("ada", BLOCKS[0], {"attempt": 3})
    call_command("relay_history", "--decoded-copy", "--batch", "1", stdout=StringIO())
    newest = DecodedHistory.objects.get(block_id=identify_block(BLOCKS[0]).id, revision=4)
    assert json.loads(str(newest.state)) == {"attempt": 3}
