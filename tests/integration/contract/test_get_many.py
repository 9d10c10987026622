"""Reading many blocks at once: order, duplicate keys, independent results."""

from __future__ import annotations

from typing import Any

import pytest
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks
from xblock_user_state.interface import XBlockUserStateClient


def test_states_come_in_the_order_asked_for(client: XBlockUserStateClient) -> None:
    keys = [*make_blocks(30), *make_blocks(30, course=CourseLocator("Zoo", "Z1", "2026"))]
    client.set_many("ann", {key: {"key": str(key)} for key in keys})
    for order in (keys, keys[::-1], keys[::3] + keys[1::3] + keys[2::3]):
        assert [found.block_key for found in client.get_many("ann", order)] == order


def test_block_types_come_in_the_order_asked_for(client: XBlockUserStateClient) -> None:
    client.set_many("ann", {name: {"name": name} for name in ("b", "a", "C", "B", "c", "A")}, Scope.preferences)
    order = ["c", "A", "missing", "B", "b", "C", "a"]
    found = list(client.get_many("ann", order, Scope.preferences))
    assert [item.state for item in found] == [{"name": name} for name in order if name != "missing"]


def test_each_key_comes_once(client: XBlockUserStateClient) -> None:
    one, two = make_blocks(2)
    client.set_many("ann", {one: {"a": 1}, two: {"a": 2}})
    assert [found.block_key for found in client.get_many("ann", [two, one, two, two, one])] == [two, one]


def test_blocks_without_state_are_left_out(client: XBlockUserStateClient) -> None:
    keys = make_blocks(4)
    client.set_many("ann", {keys[0]: {"a": 0}, keys[1]: {"a": 1}, keys[3]: {"a": 3}})
    client.delete("ann", keys[1])
    client.set_score("ann", keys[2], 1, 2)
    assert [found.block_key for found in client.get_many("ann", keys)] == [keys[0], keys[3]]


def test_the_names_of_keys_and_fields_are_taken_from_an_iterator_once(client: XBlockUserStateClient) -> None:
    keys = make_blocks(3)
    client.set_many("ann", {key: {"a": 1, "b": 2} for key in keys})
    names: Any = iter(["a"])
    found = client.get_many("ann", (key for key in keys), fields=names)
    assert [item.state for item in found] == [{"a": 1}] * 3
    client.delete_many("ann", (key for key in keys), fields=iter(["a"]))
    assert [item.state for item in client.get_many("ann", iter(keys))] == [{"b": 2}] * 3
    client.delete_many("ann", iter(keys))
    assert list(client.get_many("ann", keys)) == []


def test_no_keys_give_nothing(client: XBlockUserStateClient) -> None:
    assert list(client.get_many("ann", [])) == []
    client.set_many("ann", {})
    client.delete_many("ann", [])
    assert client.get_scores("ann", []) == {}


@pytest.mark.not_for_visitors
@pytest.mark.parametrize("scope", [Scope.user_state, Scope.user_state_summary], ids=lambda scope: scope.name)
def test_callers_can_change_returned_states(client: XBlockUserStateClient, scope: Scope) -> None:
    key = make_block()
    given: dict[str, Any] = {"list": [1, {"deep": [2]}], "dict": {"a": 1}}
    client.set("ann", key, given, scope)
    given["list"].append(3)
    first = client.get("ann", key, scope).state or {}
    first["list"][1]["deep"].append("changed")
    first["dict"].clear()
    first["new"] = 1
    iterated = next(client.iter_all_for_block(key, scope)).state or {}
    iterated["list"].clear()
    assert client.get("ann", key, scope).state == {"list": [1, {"deep": [2]}], "dict": {"a": 1}}


@pytest.mark.not_for_visitors
def test_history_is_the_callers_own(client: XBlockUserStateClient) -> None:
    key = make_block()
    client.set("ann", key, {"list": [1]})
    entry = next(client.get_history("ann", key))
    assert entry.state is not None
    entry.state["list"].append(2)
    assert [again.state for again in client.get_history("ann", key)] == [{"list": [1]}]
    assert client.get("ann", key).state == {"list": [1]}


def test_one_block_under_two_keys_comes_twice_as_separate_objects(client: XBlockUserStateClient) -> None:
    key = make_block()
    draft = make_block(course=COURSE.for_branch("draft"))
    client.set("ann", key, {"list": []})
    first, second = client.get_many("ann", [key, draft])
    assert (first.block_key, second.block_key) == (key, draft)
    assert first.state is not None
    first.state["list"].append(1)
    assert second.state == {"list": []}
