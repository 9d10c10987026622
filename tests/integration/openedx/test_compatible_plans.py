"""Queries of the compatible model use the keys of our tables: none reads a table of states from end to end."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from tests.factories import COURSE, make_block, make_blocks, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient as Client
from xblock_user_state.models import Block, LearningContext, Preferences, StudentModule, UserInfo, UserStateSummary
from xblock_user_state.openedx.models import BlockNumber, CompatibleStudentModule, ImportedModule
from xblock_user_state.openedx.views import own
from xblock_user_state.state.keys import BlockId, identify_block

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COURSES = [COURSE.replace(run=f"run{number}") for number in range(30)]
BLOCKS = make_blocks(20)
LEARNERS = 500
Rows = CompatibleStudentModule.objects
STATES = StudentModule._meta.db_table


@pytest.fixture
def ids() -> list[int]:
    """Ids of 500 learners, who have a state in each of 20 blocks; half of the rows are imported. 600 more blocks."""
    users = [user.pk for user in make_learners(*(f"learner{number}" for number in range(LEARNERS)))]
    Client().set_many("learner0", {block: {"answer": 1} for block in BLOCKS})
    others = [identify_block(block) for course in COURSES for block in make_blocks(20, course=course)]
    _register(others)
    StudentModule.objects.all().delete()
    blocks = sorted(identify_block(block).id for block in BLOCKS)
    values = {"revision": 1, "state": '{"answer": 1}', "created": NOW, "modified": NOW, "grade": 1, "max_grade": 2}
    StudentModule._base_manager.bulk_create(
        StudentModule(student_id=user, block_id=block, **values) for user in users for block in blocks
    )
    ImportedModule._base_manager.bulk_create(
        ImportedModule(id=number, student_id=user, block_id=block, revision=1)
        for number, (user, block) in enumerate(((user, block) for user in users[::2] for block in blocks), 1000)
    )
    analyze = {"postgresql": "VACUUM ANALYZE {}", "mysql": "ANALYZE TABLE {}", "sqlite": "ANALYZE {}"}
    with connection.cursor() as cursor:
        for model in (StudentModule, Block, LearningContext, BlockNumber, ImportedModule):
            cursor.execute(analyze[connection.vendor].format(model._meta.db_table))
    return users


def _register(blocks: list[BlockId]) -> None:
    contexts = {block.context_id: block.context_key for block in blocks}
    LearningContext.objects.bulk_create(LearningContext(id=id_, key=key) for id_, key in contexts.items())
    Block.objects.bulk_create(
        Block(id=block.id, context_id=block.context_id, usage_key=block.usage_key, block_type=block.block_type)
        for block in blocks
    )
    BlockNumber.objects.bulk_create(BlockNumber(block_id=block.id) for block in blocks)


def scans(rows: Any, table: str = STATES) -> list[str]:
    """Return a description of each read of all rows of a table, or of all old ids, in the plan of a query."""
    options = {"format": "JSON"} if connection.vendor == "postgresql" else {}
    plan = rows.explain(**options)
    if connection.vendor == "sqlite":
        return re.findall(r"SCAN (?:TABLE )?(?:stored|imported|lower_one)\b.*", plan)
    if connection.vendor == "mysql":
        lines = [line.split() for line in plan.splitlines()]
        return [" ".join(line) for line in lines if line[2] in ("stored", "imported") and line[3] in ("ALL", "index")]
    found: list[str] = []

    def visit(node: dict[str, Any]) -> None:
        is_large = node.get("Relation Name") in (table, ImportedModule._meta.db_table)
        if is_large and "Index Cond" not in node and node["Node Type"] != "Bitmap Heap Scan":
            found.append(f"{node['Node Type']} of {node['Relation Name']}")
        for child in node.get("Plans", ()):
            visit(child)

    visit(json.loads(plan)[0]["Plan"])
    return found


def test_no_query_reads_all_states(ids: list[int]) -> None:
    imported, own = ids[4], ids[5]
    key = {"module_state_key": BLOCKS[3], "course_id": COURSE}
    numbers = list(Rows.filter(student_id__in=[imported, own]).values_list("pk", flat=True))
    queries = {
        "learner and block": Rows.filter(student_id=imported, **key),
        "learner and some blocks": Rows.filter(
            student_id=own, course_id=COURSE, module_state_key__in=BLOCKS[:10]
        ).values_list("module_state_key", "grade", "max_grade", "created"),
        "learner in a course": Rows.filter(student_id=own, course_id=COURSE).order_by("-modified"),
        "block": Rows.filter(**key),
        "block without its course": Rows.filter(module_state_key=BLOCKS[3]),
        "block with learners": Rows.filter(**key).select_related("student").order_by("-modified"),
        "block of some learners": Rows.filter(student_id__in=ids[:3], **key),
        "some blocks": Rows.filter(course_id=COURSE, module_state_key__in=BLOCKS[:2]),
        "number": Rows.filter(pk=numbers[-1]),
        "old id": Rows.filter(pk=1010),
        "numbers": Rows.filter(pk__in=numbers[:30]),
        "old ids": Rows.filter(pk__in=[1001, 1007, 1050]),
    }
    assert {name: found for name, rows in queries.items() if (found := scans(rows))} == {}
    assert {name: len(rows) for name, rows in queries.items()} == {
        "learner and block": 1,
        "learner and some blocks": 10,
        "learner in a course": 20,
        "block": LEARNERS,
        "block without its course": LEARNERS,
        "block with learners": LEARNERS,
        "block of some learners": 3,
        "some blocks": 2 * LEARNERS,
        "number": 1,
        "old id": 1,
        "numbers": 30,
        "old ids": 3,
    }


def test_an_imported_row_has_its_old_id(ids: list[int]) -> None:
    row = Rows.get(pk=1010)
    assert (row.pk, row.student_id) == (1010, ids[0])
    assert Rows.get(student_id=ids[1], module_state_key=BLOCKS[0], course_id=COURSE).pk >= 2**52
    # Two old rows became this one.
    ImportedModule._base_manager.create(
        id=50_000, student_id=row.student_id, block_id=identify_block(row.module_state_key).id, revision=1
    )
    assert Rows.get(pk=50_000).pk == 1010
    assert Rows.filter(student_id=row.student_id).count() == 20
    row.delete()
    again = Rows.create(student_id=ids[0], course_id=COURSE, module_state_key=row.module_state_key)
    assert again.pk == 1010
    assert Rows.create(student_id=ids[0], course_id=COURSE, module_state_key=make_block("new")).pk >= 2**52


def test_very_many_numbers_fit_into_a_query(ids: list[int]) -> None:
    numbers = list(Rows.values_list("pk", flat=True)[:1500])
    assert Rows.filter(pk__in=numbers).count() == len(numbers)
    assert len(list(Rows.chunked_filter("pk__in", numbers))) == len(numbers)


class Sql:
    """A query of a view that only models of the platform read."""

    def __init__(self, sql: str, *parameters: Any) -> None:
        self._sql, self._parameters = sql, parameters

    def explain(self, **_: Any) -> str:
        prefix = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (FORMAT JSON)", "mysql": "EXPLAIN"}
        with connection.cursor() as cursor:
            cursor.execute(f"{prefix[connection.vendor]} {self._sql}", self._parameters)
            rows = cursor.fetchall()
        if connection.vendor == "postgresql":
            return rows[0][0] if isinstance(rows[0][0], str) else json.dumps(rows[0][0])
        return "\n".join(" ".join(map(str, row)) for row in rows)


def test_queries_of_fields_read_the_rows_that_they_name_only() -> None:
    users = [user.pk for user in make_learners(*(f"learner{number}" for number in range(LEARNERS)))]
    many = [identify_block(block) for course in COURSES for block in make_blocks(20, course=course)]
    _register(many)
    values = {"revision": 1, "state": '{"answer": 1}', "created": NOW, "modified": NOW}
    Preferences._base_manager.bulk_create(
        Preferences(student_id=user, block_type=block_type, **values)
        for user in users
        for block_type in ("problem", "video", "poll")
    )
    UserInfo._base_manager.bulk_create(UserInfo(student_id=user, **values) for user in users)
    UserStateSummary._base_manager.bulk_create(UserStateSummary(block_id=block.id, **values) for block in many)
    analyze = {"postgresql": "VACUUM ANALYZE {}", "mysql": "ANALYZE TABLE {}", "sqlite": "ANALYZE {}"}
    conditions = {
        Preferences: ("student_id = %s AND module_type IN ('problem', 'video') AND field_name = 'answer'", users[3]),
        UserInfo: ("student_id = %s AND field_name IN ('answer', 'other')", users[3]),
        UserStateSummary: ("usage_id = %s AND field_name = 'answer'", many[3].usage_key),
    }
    for (model, (condition, value)), view in zip(conditions.items(), own.FIELDS.values(), strict=True):
        with connection.cursor() as cursor:
            for table in (model, Block):
                cursor.execute(analyze[connection.vendor].format(table._meta.db_table))
        assert scans(Sql(f"SELECT * FROM {view} WHERE {condition}", value), model._meta.db_table) == []
