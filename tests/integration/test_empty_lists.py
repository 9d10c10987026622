"""Every verb of a dialect takes empty lists: nothing asked for is nothing done, and no error."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.integration.rows import everything_and_keys
from xblock_user_state.models import Block, LearningContext, StudentModule, StudentModuleHistory
from xblock_user_state.store.dialects import Outcome, dialect_of
from xblock_user_state.store.dialects.rows import Rows, Target, Write

pytestmark = pytest.mark.django_db(transaction=True)

DIALECT = dialect_of(connection)
BLOCKS = Rows(Target(connection, Block, ("id", "context_id", "usage_key", "block_type"), {}), [])
CONTEXTS = Rows(Target(connection, LearningContext, ("id", "key"), {}), [])
LEARNER = {"student_id": 1}
STATES = Rows(Target(connection, StudentModule, ("block_id", "revision", "state", "created", "modified"), LEARNER), [])
ENTRIES = Rows(Target(connection, StudentModuleHistory, ("block_id", "revision", "body", "created"), LEARNER), [])


@pytest.mark.parametrize("values", [[], ()], ids=repr)
def test_a_list_of_nothing_matches_nothing(values: list[int]) -> None:
    Block.objects.create(id=1, context_id=1, usage_key="x", block_type="problem")
    condition, parameters = DIALECT.in_list("id", values)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {BLOCKS.target.table} WHERE {condition}", parameters)  # noqa: S608
        assert list(cursor.fetchall()) == []
        asked, parameters = DIALECT.id_table(values)
        cursor.execute(f"SELECT asked.id FROM {asked}", parameters)  # noqa: S608
        assert list(cursor.fetchall()) == []


@pytest.mark.parametrize("history", [None, ENTRIES], ids=["rows", "rows and history"])
def test_writing_no_rows_is_done_at_once(history: Rows | None) -> None:
    write = Write(STATES, ("block_id",), history=history)
    assert DIALECT.store(write)
    assert DIALECT.store_at_once(write) in (Outcome.STORED, Outcome.NOT_SENT)
    DIALECT.insert(STATES.target, [])
    assert DIALECT.insert_missing(BLOCKS, CONTEXTS, "context_id") == 0
    assert not any(everything_and_keys().values())
