"""Key columns compare byte by byte on every vendor."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.fields import KeyField
from xblock_user_state.models import Block, LearningContext, Preferences

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALIKE = ["straße", "STRASSE", "strasse", "Strasse", "stra\u00dfe\u200b", "strässe", "stra\u0308sse"]
COLUMNS = [
    (model, field)
    for model in (Block, LearningContext, Preferences)
    for field in model._meta.concrete_fields
    if isinstance(field, KeyField)
]


@pytest.fixture
def client() -> DjangoXBlockUserStateClient:
    make_learners("ann")
    return DjangoXBlockUserStateClient()


def test_there_are_four_key_columns() -> None:
    assert [f"{model.__name__}.{field.name}" for model, field in COLUMNS] == [
        "Block.usage_key",
        "Block.block_type",
        "LearningContext.key",
        "Preferences.block_type",
    ]


@pytest.mark.parametrize(("model", "field"), COLUMNS, ids=lambda value: getattr(value, "__name__", None) or value.name)
def test_a_key_column_has_a_binary_collation(model: type[Block], field: KeyField) -> None:
    with connection.cursor() as cursor:
        description = connection.introspection.get_table_description(cursor, model._meta.db_table)
    [column] = [column for column in description if column.name == field.column]
    expected = {"postgresql": "C", "mysql": "utf8mb4_bin", "sqlite": None}[connection.vendor]
    assert column.collation == expected


def test_contexts_that_look_alike_are_different_rows() -> None:
    LearningContext.objects.bulk_create(LearningContext(id=number, key=key) for number, key in enumerate(ALIKE))
    for number, key in enumerate(ALIKE):
        assert LearningContext.objects.get(key=key).pk == number
    with pytest.raises(IntegrityError), transaction.atomic():
        LearningContext.objects.create(id=100, key=ALIKE[0])


def test_blocks_that_look_alike_are_different_rows() -> None:
    context = LearningContext.objects.create(id=1, key="course")
    for number, key in enumerate(ALIKE):
        Block.objects.create(id=number, context=context, usage_key=key, block_type=key)
    for number, key in enumerate(ALIKE):
        assert Block.objects.get(usage_key=key).pk == number
        assert Block.objects.get(block_type=key).pk == number
    with pytest.raises(IntegrityError), transaction.atomic():
        Block.objects.create(id=100, context=context, usage_key=ALIKE[0], block_type="problem")


def test_preferences_that_look_alike_are_different_rows() -> None:
    Preferences._base_manager.bulk_create(
        Preferences(student_id=1, block_type=key, revision=1, state=f'"{key}"', created=NOW, modified=NOW)
        for key in ALIKE
    )
    for key in ALIKE:
        assert Preferences.objects.get(block_type=key).state == f'"{key}"'


def test_blocks_whose_keys_differ_in_case_have_their_own_state(client: DjangoXBlockUserStateClient) -> None:
    keys = [
        make_block("Unit"),
        make_block("unit"),
        make_block("UNIT"),
        make_block("unit", "Problem"),
        make_block("unit", course=CourseLocator("ASTRO", "A101", "2026")),
    ]
    for value in (1, 2):
        client.set_many("ann", {key: {"key": str(key), "value": value} for key in keys})
    assert [found.state for found in client.get_many("ann", keys)] == [{"key": str(key), "value": 2} for key in keys]


def test_preferences_whose_types_differ_in_case_have_their_own_state(client: DjangoXBlockUserStateClient) -> None:
    types = ["problem", "Problem", "PROBLEM", "pröblem", "problém"]
    for value in (1, 2):
        client.set_many("ann", {name: {"name": name, "value": value} for name in types}, Scope.preferences)
    found = client.get_many("ann", types, Scope.preferences)
    assert [item.state for item in found] == [{"name": name, "value": 2} for name in types]
    client.delete_many("ann", types[1:2], Scope.preferences)
    assert len(list(client.get_many("ann", types, Scope.preferences))) == 4


def test_keys_may_be_beyond_the_basic_plane(client: DjangoXBlockUserStateClient) -> None:
    key = make_block("\U0001d54a\U0001d54b")
    client.set("ann", key, {"a": 1})
    assert [found.block_key for found in client.iter_all_for_block(key)] == [key]
    client.set("ann", "𝕊𝕋", {"a": 1}, Scope.preferences)
    assert client.get("ann", "𝕊𝕋", Scope.preferences).state == {"a": 1}
