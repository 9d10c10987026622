"""The tables match the design."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models

from tests.factories import make_block, make_blocks, make_learners
from tests.integration.rows import STATE_MODELS, need_rows_here
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.models import (
    BaseStudentModuleHistory,
    Block,
    LearningContext,
    Preferences,
    StudentModule,
    StudentModuleHistory,
    UserInfo,
    UserStateSummary,
)
from xblock_user_state.state.keys import identify_block

pytestmark = pytest.mark.django_db
WRITTEN = {"revision", "state", "grade", "max_grade", "created", "modified", "done"}
ALL = [Block, LearningContext, *STATE_MODELS]
STATE = [model for model in STATE_MODELS if model is not StudentModuleHistory]


def constraints_of(model: type[models.Model]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        return [{**found} for found in connection.introspection.get_constraints(cursor, model._meta.db_table).values()]


def primary_key_of(model: type[models.Model]) -> list[str]:
    """Return the columns of the primary key in order."""
    if connection.vendor != "sqlite":
        [columns] = [found["columns"] for found in constraints_of(model) if found["primary_key"]]
        return list(columns)
    with connection.cursor() as cursor:  # Django's introspection reports them in table order.
        cursor.execute(f"PRAGMA table_info({connection.ops.quote_name(model._meta.db_table)})")
        numbered = [(row[5], row[1]) for row in cursor.fetchall() if row[5]]
    return [name for _, name in sorted(numbered)]


def other_indexes(model: type[models.Model]) -> list[list[str]]:
    """Return the columns of each index of a table except the primary key's; unique ones are included."""
    found = constraints_of(model)
    return sorted(one["columns"] for one in found if (one["index"] or one["unique"]) and not one["primary_key"])


PRIMARY_KEYS = {
    LearningContext: ["id"],
    Block: ["id"],
    StudentModule: ["student_id", "block_id"],
    Preferences: ["student_id", "block_type"],
    UserInfo: ["student_id"],
    UserStateSummary: ["block_id"],
    StudentModuleHistory: ["student_id", "block_id", "revision"],
}
OTHER_INDEXES: dict[type[models.Model], list[list[str]]] = {
    LearningContext: [["key"]],
    Block: [["context_id", "usage_key"], ["usage_key"]],
    StudentModule: [["block_id", "student_id"]],
    Preferences: [["block_type", "student_id"]],
}


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.__name__)
def test_the_primary_key_and_the_other_indexes(model: type[models.Model]) -> None:
    assert primary_key_of(model) == PRIMARY_KEYS[model]
    assert other_indexes(model) == OTHER_INDEXES.get(model, [])


@pytest.mark.parametrize("model", STATE, ids=lambda model: model.__name__)
def test_no_index_holds_a_column_that_a_write_changes(model: type[models.Model]) -> None:
    indexes = [primary_key_of(model), *other_indexes(model)]
    assert not WRITTEN & {column for columns in indexes for column in columns}


@pytest.mark.parametrize("model", [*STATE, StudentModuleHistory], ids=lambda model: model.__name__)
def test_state_and_history_refer_to_no_other_table(model: type[models.Model]) -> None:
    """Users may live in another database, and a reference to the block would lock its row at every insert."""
    assert [found for found in constraints_of(model) if found["foreign_key"]] == []


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.__name__)
def test_nothing_is_numbered_by_a_sequence(model: type[models.Model]) -> None:
    with connection.cursor() as cursor:
        sequences = connection.introspection.get_sequences(cursor, model._meta.db_table, model._meta.local_fields)
    # SQLite's introspection reports a sequence for every table with a single integer key.
    assert sequences == [] or connection.vendor == "sqlite"
    assert not any(isinstance(field, models.AutoField) for field in model._meta.local_fields)


def test_the_columns_that_later_history_needs_are_there() -> None:
    columns = {field.column for field in StudentModuleHistory._meta.concrete_fields if field.column}
    assert columns == {
        "student_id",
        "block_id",
        "revision",
        "created",
        "encoding",
        "body",
        "grade",
        "max_grade",
        "version",
        "actor_id",
    }
    assert BaseStudentModuleHistory._meta.abstract


_TYPES = {
    "sqlite": "SELECT name, type FROM pragma_table_info(%s)",
    "postgresql": "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s",
    "mysql": """
        SELECT column_name, column_type FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = %s
    """,
}


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.__name__)
def test_columns_are_what_the_design_says(model: type[models.Model]) -> None:
    """Ids have 64 bits, state is text and never ``jsonb``, a history body is bytes, times have microseconds."""
    with connection.cursor() as cursor:
        cursor.execute(_TYPES[connection.vendor], [model._meta.db_table])
        types = {name: type_.lower() for name, type_ in cursor.fetchall()}
    for name in ("id", "block_id", "context_id", "revision"):
        assert types.get(name, "bigint").startswith("bigint")
    assert types.get("state", "text") in {"text", "longtext"}
    assert types.get("body", "bytea") in {"bytea", "longblob", "blob"}
    for name in ("created", "modified"):
        assert types.get(name, "datetime(6)") in {"datetime(6)", "timestamp with time zone", "datetime"}
    for name in ("grade", "max_grade"):
        assert types.get(name, "real") in {"real", "double", "double precision"}


@pytest.fixture
def _no_dead_rows(transactional_db: None) -> None:
    """Begin with an empty file: the dead rows of other tests take room on pages."""
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {StudentModule._meta.db_table}")


def _updates_of(model: type[models.Model]) -> tuple[int, int]:
    """Return the number of updated rows of a table, and of those without a new index entry."""
    need_rows_here()
    with connection.cursor() as cursor:
        if cursor.connection.info.server_version < 150_000:
            pytest.skip("PostgreSQL 14 counts late")
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = %s::regclass",
            [model._meta.db_table],
        )
        [found] = cursor.fetchall()
    return found


@pytest.mark.skipif(connection.vendor != "postgresql", reason="other vendors have no heap-only updates")
@pytest.mark.usefixtures("_no_dead_rows")
def test_updates_are_heap_only() -> None:
    """No index holds a column that writes change, so PostgreSQL need not write any index."""
    make_learners("ann")
    client = DjangoXBlockUserStateClient()
    client.set("ann", make_block(), {"a": 0})
    before = _updates_of(StudentModule)
    for number in range(1, 21):
        client.set("ann", make_block(), {"a": number})
        client.set_score("ann", make_block(), number, 20)
    updated, heap_only = (now - then for now, then in zip(_updates_of(StudentModule), before, strict=True))
    assert updated == 40
    assert heap_only >= 38  # The rest found their page full.


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere updates never move a row to another page")
@pytest.mark.usefixtures("_no_dead_rows")
def test_updates_stay_on_their_page() -> None:
    make_learners("ann")
    client, text = DjangoXBlockUserStateClient(), "a state of seven hundred bytes " * 22
    # In the order in which a call writes them: ten of them fill a page.
    keys = sorted(make_blocks(100), key=lambda key: identify_block(key).id)
    client.set_many("ann", {key: {"text": text, "attempts": 0} for key in keys})
    before = _updates_of(StudentModule)
    for key in keys[::10]:
        client.set("ann", key, {"attempts": 1})
    assert [new - old for new, old in zip(_updates_of(StudentModule), before, strict=True)] == [10, 10]
