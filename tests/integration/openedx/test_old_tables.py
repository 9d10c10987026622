"""The tables that the tests of imports begin with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction

from demo.old_tables import ALL, create, drop, generate, insert_module, old_tables
from demo.old_tables.schema import EXTENDED_HISTORY, MODULE, columns_of
from tests.openedx_tables import KeptModule, awkward, change_modules

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tables(transactional_db: None) -> Iterator[None]:
    with old_tables("default"):
        yield


def test_each_table_has_the_described_columns(tables: None) -> None:
    with connection.cursor() as cursor:
        for table in ALL:
            described = connection.introspection.get_table_description(cursor, table)
            assert [column.name for column in described] == columns_of(table)


def test_nothing_remains_after_a_test(transactional_db: None) -> None:
    with old_tables("default"):
        pass
    assert not set(ALL) & set(connection.introspection.table_names())


def test_a_learner_has_one_row_of_a_block(tables: None) -> None:
    row = {"student_id": 1, "module_id": "i4x://Sky/Physics/problem/stars", "course_id": "Sky/Physics/2014"}
    insert_module("default", **row)
    with pytest.raises(IntegrityError), transaction.atomic():
        insert_module("default", **row)


def test_each_case_has_a_row_and_an_outcome(tables: None) -> None:
    cases = awkward("default")
    assert len({case.name for case in cases}) == len(cases) > 80
    with connection.cursor() as cursor:
        for case in cases:
            cursor.execute(f"SELECT COUNT(*) FROM {case.table} WHERE id = %s", [case.id])
            assert cursor.fetchone() == (1,), case.name
            assert case.kept or case.reported, f"{case.name} would be lost in silence"


def test_what_is_kept_of_one_block_is_kept_once(tables: None) -> None:
    kept = [one for case in awkward("default") for one in case.kept if isinstance(one, KeptModule)]
    assert len({(one.student_id, one.context, one.usage_key) for one in kept}) == len(kept)


def test_a_site_is_the_same_by_its_seed(tables: None) -> None:
    made = []
    for _ in range(2):
        drop("default")
        create("default")
        get_user_model().objects.filter(username__startswith="learner").delete()
        counts = generate("default", learners=3, blocks=120, attempts=2)
        assert {table: counts.get(table) for table in ALL} == {table: _count(table) for table in ALL}
        made.append((counts, _values("module_id, state, modified")))
    assert made[0] == made[1]


def test_rows_can_be_added_to_a_site(tables: None) -> None:
    counts = generate("default", learners=1, blocks=10, attempts=1)
    row = {"student_id": 1, "module_id": "i4x://Sky/Physics/problem/stars", "course_id": "Sky/Physics/2014"}
    assert insert_module("default", **row) == counts[MODULE] + 1


def test_a_writer_changes_rows_and_adds_entries(tables: None) -> None:
    before = generate("default", learners=2, blocks=20, attempts=2)
    changes = list(islice(change_modules("default"), 60))
    of_problems = [change for change in changes if change.values["module_type"] == "problem"]
    opened = {change.module for change in changes if change.module > before[MODULE]}
    assert opened
    assert _count(MODULE) == before[MODULE] + len(opened)
    assert _count(EXTENDED_HISTORY) == before.get(EXTENDED_HISTORY, 0) + len(of_problems)
    last = {change.module: change.values["state"] for change in changes}
    stored = dict(_values("id, state"))
    assert {module: stored[module] for module in last} == last


def _count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")
        return int(cursor.fetchone()[0])


def _values(columns: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {MODULE} ORDER BY id")
        return list(cursor.fetchall())
