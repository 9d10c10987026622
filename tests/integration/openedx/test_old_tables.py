"""The tables that the tests of imports begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connection, transaction

from tests.openedx_tables import ALL, KeptModule, awkward, insert_module, old_tables
from tests.openedx_tables.schema import columns_of

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
