"""Every field type of XBlock in a learner scope: each value is there again at the next view."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from opaque_keys.edx.keys import UsageKey
from xblock import fields
from xblock.core import XBlock
from xblock.exceptions import XBlockSaveError
from xblock.fields import Scope, ScopeIds
from xblock.runtime import KvsFieldData, MemoryIdManager
from xblock.scorable import Score

from tests.factories import COURSE, make_block
from tests.unit.test_runtime_blocks import QuietRuntime
from xblock_user_state.memory import InMemoryXBlockUserStateClient
from xblock_user_state.runtime import UserStateKeyValueStore
from xblock_user_state.state.keys import LEARNER_SCOPES

ADA = User(id=7, username="ada")
KEY = make_block("quiz", "quiz")
MOON, STARS = make_block("moon"), make_block("stars")
NOON = datetime(2026, 11, 27, 12, 0, 30, tzinfo=UTC)

# Of each type the values that blocks may give a field of it.
VALUES: dict[type[fields.Field], list[Any]] = {
    fields.Field: [1, [1], {"a": None}, None],
    fields.JSONField: [1, [1], {"a": None}, None],
    fields.Any: [1, [1], {"a": None}, None],
    fields.Integer: [0, -1, 10**30, None],
    fields.Float: [0.5, 1e300, float("inf"), None],
    fields.Boolean: [True, False],
    fields.Dict: [{}, {"a": {"b": [1]}}, None],
    fields.List: [[], ["a", [1], {"b": None}], None],
    fields.Set: [set(), {1, 2}, {"a", "b"}, {1, "a", None, 2.5}, {True}, {"\u00e5", "a"}, None],
    fields.String: ["", "moon \u00e5", None],
    fields.XMLString: ["<a>1</a>", None],
    fields.Date: [NOON, None],
    fields.DateTime: [NOON, NOON + timedelta(microseconds=5), None],
    fields.Timedelta: [timedelta(days=2, seconds=5), timedelta(0), None],
    fields.RelativeTime: [timedelta(hours=1, seconds=5), timedelta(0)],
    fields.ScoreField: [Score(raw_earned=1, raw_possible=2), None],
    fields.ListScoreField: [[], [Score(raw_earned=1, raw_possible=2), Score(raw_earned=0, raw_possible=2)]],
    fields.Reference: [MOON, COURSE, None],
    fields.ReferenceList: [[], [MOON, STARS], None],
    fields.ReferenceValueDict: [{}, {"first": MOON, "last": STARS}, None],
}
CASES = [(field, value) for field, values in VALUES.items() for value in values]


def as_texts(value: Any) -> Any:
    """Return a value as fields of references read it: XBlock does not know the class of their keys."""
    if isinstance(value, list):
        return [as_texts(item) for item in value]
    if isinstance(value, dict):
        return {name: as_texts(item) for name, item in value.items()}
    return value if value is None else str(value)


def view(
    client: InMemoryXBlockUserStateClient, field_type: type[fields.Field], scope: Scope = Scope.user_state
) -> XBlock:
    """Return a block with one field as at a new request."""
    block_class = type("OneField", (XBlock,), {"it": field_type(scope=scope)})
    ids = MemoryIdManager()
    services = {"field-data": KvsFieldData(UserStateKeyValueStore(client, ADA))}
    return block_class(runtime=QuietRuntime(ids, ids, services=services), scope_ids=ScopeIds(7, "quiz", KEY, KEY))


def saved(field_type: type[fields.Field], value: Any, scope: Scope = Scope.user_state) -> XBlock:
    """Save a value, and return the block of the next view."""
    client = InMemoryXBlockUserStateClient()
    block = view(client, field_type, scope)
    block.it = value
    block.save()
    return view(client, field_type, scope)


def test_every_field_type_of_xblock_is_here() -> None:
    defined = {
        found
        for _, found in inspect.getmembers(fields, inspect.isclass)
        if issubclass(found, fields.Field) and found.__module__ == fields.__name__
    }
    assert defined == {*VALUES}


@pytest.mark.filterwarnings("ignore:Deprecated. JSONifiable fields:DeprecationWarning")
@pytest.mark.parametrize(("field_type", "value"), CASES, ids=repr)
def test_a_value_is_there_again_at_the_next_view(field_type: type[fields.Field], value: Any) -> None:
    expected = as_texts(value) if field_type.__name__.startswith("Reference") else value
    again = saved(field_type, value).it
    assert again == expected
    assert type(again) is type(expected)


@pytest.mark.parametrize("scope", LEARNER_SCOPES, ids=lambda scope: str(scope.name))
def test_sets_are_kept_in_every_scope(scope: Scope) -> None:
    assert saved(fields.Set, {3, 1}, scope).it == {1, 3}


def test_a_field_without_type_keeps_keys_as_texts_too() -> None:
    assert saved(fields.Any, {"first": MOON}).it == {"first": str(MOON)}
    assert UsageKey.from_string(saved(fields.Reference, MOON).it) == MOON


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ({3, 20, 1}, [1, 3, 20]),
        ({"b", "a", "10"}, ["10", "a", "b"]),
        ({"a", None, 2.5, 1}, [1, 2.5, None, "a"]),
        (frozenset({2, 1}), [1, 2]),
        ({STARS, MOON}, sorted([str(STARS), str(MOON)])),
    ],
)
def test_a_set_is_written_as_a_sorted_list(items: Any, text: list[Any]) -> None:
    client = InMemoryXBlockUserStateClient()
    block = view(client, fields.Set)
    block.it = items
    block.save()
    assert client.get("ada", KEY).state == {"it": text}


def test_nan_in_a_set_has_a_place_too() -> None:
    assert len(saved(fields.Set, {1, float("nan"), 2, None}).it) == 4


def test_an_equal_set_is_no_change() -> None:
    client = InMemoryXBlockUserStateClient(recorded_block_types="*")
    for items in (["a", "b", "c"], ["c", "b", "a"]):
        block = view(client, fields.Set)
        block.it = set(items)
        block.save()
    assert len(list(client.get_history("ada", KEY))) == 1


def test_a_change_inside_of_a_set_is_saved() -> None:
    client = InMemoryXBlockUserStateClient()
    for item in (1, 2):
        block = view(client, fields.Set)
        block.it.add(item)
        block.save()
    assert view(client, fields.Set).it == {1, 2}


@pytest.mark.parametrize(
    ("field_type", "value", "message"),
    [
        # XBlock could not read their items, which would be lists.
        (fields.Set, {(1, 2)}, "field 'it': it is a set"),
        (fields.Set, {frozenset({1})}, "field 'it': it is a set"),
        # Nothing would make it a set again.
        (fields.Dict, {"a": {1}}, r"field 'it': it\['a'\] is a set"),
        (fields.Any, object(), "field 'it': it is a object"),
    ],
)
def test_other_values_without_json_form_are_refused(field_type: type[fields.Field], value: Any, message: str) -> None:
    with pytest.raises((TypeError, XBlockSaveError), match=message):
        saved(field_type, value)
