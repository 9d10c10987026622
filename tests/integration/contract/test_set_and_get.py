"""Setting, getting and deleting, in each scope alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from xblock.fields import Scope

from tests.factories import make_block
from xblock_user_state.interface import BlockKey, DoesNotExist, XBlockUserState, XBlockUserStateClient

PLACES: dict[str, tuple[Scope, BlockKey]] = {
    "block": (Scope.user_state, make_block()),
    "block without history": (Scope.user_state, make_block(block_type="video")),
    "aside v1": (Scope.user_state, AsideUsageKeyV1(make_block(), "notes")),
    "aside v2": (Scope.user_state, AsideUsageKeyV2(make_block(), "notes")),
    "type": (Scope.preferences, "problem"),
    "aside type": (Scope.preferences, BlockTypeKeyV1("xblock.asides-v1", "notes")),
    "learner": (Scope.user_info, None),
    "summary": (Scope.user_state_summary, make_block()),
    "aside summary": (Scope.user_state_summary, AsideUsageKeyV2(make_block(), "notes")),
}
pytestmark = pytest.mark.parametrize(("scope", "key"), PLACES.values(), ids=PLACES.keys())


def test_what_was_set_is_found(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    before = datetime.now(UTC)
    client.set("ann", key, {"seen": True}, scope)
    found = client.get("ann", key, scope)
    assert isinstance(found, XBlockUserState)
    assert found._replace(updated=before) == ("ann", key, {"seen": True}, before, scope)
    assert before <= found.updated <= datetime.now(UTC)
    assert found.updated.utcoffset() == timedelta(0)


def test_the_key_asked_with_is_given_back(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"seen": True}, scope)
    [found] = client.get_many("ann", [key], scope)
    assert found.block_key is key


def test_fields_that_a_set_does_not_name_are_kept(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"a": 1, "b": 2}, scope)
    client.set("ann", key, {"b": 3, "c": 4}, scope)
    assert client.get("ann", key, scope).state == {"a": 1, "b": 3, "c": 4}


def test_nested_objects_are_replaced_and_not_merged(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"a": {"x": 1, "y": 2}}, scope)
    client.set("ann", key, {"a": {"x": 3}}, scope)
    assert client.get("ann", key, scope).state == {"a": {"x": 3}}


def test_fields_keep_their_order(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"z": 1, "m": {"y": 1, "x": 2}, "a": 3}, scope)
    client.set("ann", key, {"new": 4, "m": {"x": 2, "y": 1}}, scope)
    state = client.get("ann", key, scope).state or {}
    assert [*state] == ["z", "m", "a", "new"]
    assert [*state["m"]] == ["x", "y"]


def test_what_was_never_set_does_not_exist(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    assert list(client.get_many("ann", [key], scope)) == []
    with pytest.raises(DoesNotExist, match="ann"):
        client.get("ann", key, scope)


def test_deleting_some_fields_keeps_the_others(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"a": 1, "b": 2, "c": 3}, scope)
    client.delete("ann", key, scope, fields=["a", "c", "never there"])
    assert client.get("ann", key, scope).state == {"b": 2}


@pytest.mark.parametrize("fields", [None, ["a", "b"]], ids=["whole", "each field"])
def test_state_of_which_all_was_deleted_does_not_exist(
    client: XBlockUserStateClient, scope: Scope, key: BlockKey, fields: list[str] | None
) -> None:
    client.set("ann", key, {"a": 1, "b": 2}, scope)
    client.delete("ann", key, scope, fields)
    with pytest.raises(DoesNotExist):
        client.get("ann", key, scope)
    with pytest.raises(DoesNotExist):
        client.get("ann", key, scope, fields=["a"])


def test_deleted_state_can_be_set_again(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"a": 1}, scope)
    client.delete("ann", key, scope)
    client.set("ann", key, {"b": 2}, scope)
    assert client.get("ann", key, scope).state == {"b": 2}


def test_only_the_fields_asked_for_are_given(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"a": 1, "b": 2, "c": 3}, scope)
    fields: Any
    for fields in (["c", "a"], ("c", "a", "c"), {"c": 0, "a": 0}, iter(["c", "a", "missing"])):
        assert client.get("ann", key, scope, fields).state == {"a": 1, "c": 3}
    assert client.get("ann", key, scope, fields=[]).state == {}
    assert client.get("ann", key, scope, fields=["missing"]).state == {}


@pytest.mark.parametrize("change", ["set nothing", "set same", "delete nothing", "delete missing", "delete twice"])
def test_a_call_that_changes_nothing_leaves_the_time_alone(
    client: XBlockUserStateClient, scope: Scope, key: BlockKey, change: str
) -> None:
    client.set("ann", key, {"a": [1, {"b": None}]}, scope)
    before = client.get("ann", key, scope)
    match change:
        case "set nothing":
            client.set("ann", key, {}, scope)
        case "set same":
            client.set("ann", key, {"a": (1, {"b": None})}, scope)
        case "delete nothing":
            client.delete("ann", key, scope, fields=[])
        case "delete missing":
            client.delete("ann", key, scope, fields=["b"])
        case "delete twice":
            client.set("ann", key, {"c": 1}, scope)
            client.delete("ann", key, scope, fields=["c"])
            before = client.get("ann", key, scope)
            client.delete("ann", key, scope, fields=["c"])
    assert client.get("ann", key, scope) == before


@pytest.mark.not_for_visitors
def test_setting_nothing_does_not_bring_state_into_being(
    client: XBlockUserStateClient, scope: Scope, key: BlockKey
) -> None:
    client.set("ann", key, {}, scope)
    client.delete("ann", key, scope)
    client.delete("ann", key, scope, fields=["a"])
    assert list(client.get_many("ann", [key], scope)) == []
    assert list(client.iter_all_for_block(key, scope)) == []


@pytest.mark.not_for_visitors
def test_learners_have_their_own_state(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"who": "ann"}, scope)
    if scope == Scope.user_state_summary:
        assert client.get("bob", key, scope).state == {"who": "ann"}
        client.delete("bob", key, scope)
        assert list(client.get_many("ann", [key], scope)) == []
    else:
        assert list(client.get_many("bob", [key], scope)) == []
        client.delete("bob", key, scope)
        client.set("bob", key, {"who": "bob"}, scope)
        assert client.get("ann", key, scope).state == {"who": "ann"}


def test_scopes_do_not_see_each_other(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    for other_scope, other_key in PLACES.values():
        client.set("ann", other_key, {"from": f"{other_scope.name} {other_key}"}, other_scope)
    assert client.get("ann", key, scope).state == {"from": f"{scope.name} {key}"}


def test_times_are_strictly_later_after_each_change(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    times = []
    for number in range(5):
        client.set("ann", key, {"a": number}, scope)
        times.append(client.get("ann", key, scope).updated)
    client.delete("ann", key, scope, fields=["a"])
    client.set("ann", key, {"b": 1}, scope)
    times.append(client.get("ann", key, scope).updated)
    assert times == sorted(set(times))
