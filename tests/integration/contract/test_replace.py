"""Replacement of a whole state, and rows without a state."""

from __future__ import annotations

from typing import Any

import pytest
from opaque_keys.edx.block_types import BlockTypeKeyV1
from xblock.fields import Scope

from tests.factories import make_block
from xblock_user_state.interface import Conflict, DoesNotExist, EncodedState, XBlockUserStateClient

BLOCK = make_block()
KEYS = {
    Scope.user_state: BLOCK,
    Scope.user_state_summary: BLOCK,
    Scope.preferences: BlockTypeKeyV1("aside", "notes"),
    Scope.user_info: None,
}


def encoded(client: XBlockUserStateClient, scope: Scope = Scope.user_state) -> EncodedState | None:
    return client.get_encoded("ann", [KEYS[scope]], scope).get(KEYS[scope])


@pytest.mark.parametrize("scope", KEYS, ids=lambda scope: scope.name)
def test_other_fields_are_removed(client: XBlockUserStateClient, scope: Scope) -> None:
    key = KEYS[scope]
    client.set("ann", key, {"a": 1, "b": 2}, scope)
    client.replace("ann", key, {"b": 3, "c": [None]}, scope)
    assert client.get("ann", key, scope).state == {"b": 3, "c": [None]}
    assert client.get("ann", key, scope).revision == 2
    client.replace("ann", key, {}, scope)
    assert encoded(client, scope) == (None, 3)


@pytest.mark.parametrize("state", [None, {}, {"a": 1}], ids=repr)
def test_a_row_is_made(client: XBlockUserStateClient, state: Any) -> None:
    client.replace("ann", BLOCK, state)
    assert encoded(client) == ('{"a":1}' if state else None, 1)
    assert client.get_scores("ann", [BLOCK]) == {}
    # Nothing changes.
    client.replace("ann", BLOCK, state)
    assert encoded(client) == ('{"a":1}' if state else None, 1)


@pytest.mark.not_for_visitors
def test_each_change_has_one_entry(client: XBlockUserStateClient) -> None:
    for state in (None, {}, {}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"b": 2, "a": 1.0}, None, None):
        client.replace("ann", BLOCK, state)
    history = list(client.get_history("ann", BLOCK))
    assert [entry.state for entry in history] == [
        None,
        {"b": 2, "a": 1.0},
        {"b": 2, "a": 1},
        {"a": 1, "b": 2},
        None,
        None,
    ]
    assert [entry.revision for entry in history] == [6, 5, 4, 3, 2, 1]


def test_a_state_that_is_absent_again_is_begun_as_a_new_one(client: XBlockUserStateClient) -> None:
    client.replace("ann", BLOCK, {"a": 1})
    client.replace("ann", BLOCK, None)
    # A state that never existed has nothing to delete.
    client.delete("ann", BLOCK)
    assert encoded(client) == (None, 2)
    client.set("ann", BLOCK, {"b": 1})
    assert client.get("ann", BLOCK).state == {"b": 1}


def test_the_score_stays(client: XBlockUserStateClient) -> None:
    client.set_score("ann", BLOCK, 1, 2)
    client.replace("ann", BLOCK, {"a": 1})
    client.replace("ann", BLOCK, None)
    assert client.get_scores("ann", [BLOCK])[BLOCK][:2] == (1, 2)


def test_a_condition_holds_or_nothing_is_written(client: XBlockUserStateClient) -> None:
    with pytest.raises(Conflict):
        client.replace("ann", BLOCK, None, if_revision=1)
    client.replace("ann", BLOCK, None, if_revision=0)
    with pytest.raises(Conflict):
        client.replace("ann", BLOCK, None, if_revision=0)
    client.replace("ann", BLOCK, {"a": 1}, if_revision=1)
    with pytest.raises(Conflict):
        client.replace("ann", BLOCK, {"a": 2}, if_revision=1)
    assert client.get("ann", BLOCK).state == {"a": 1}


def test_a_batch_replaces_in_the_order_of_its_calls(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": 1})
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"b": 2})
        batch.replace(BLOCK, {"c": 3})
        batch.set(BLOCK, {"d": 4})
        batch.set_score(BLOCK, 1, 2)
        batch.replace(make_block("other"), None)
    found = client.get("ann", BLOCK)
    assert (found.state, found.revision) == ({"c": 3, "d": 4}, 2)
    assert client.get_encoded("ann", [make_block("other")]) == {make_block("other"): (None, 1)}
    with client.batch("ann", only_new=True) as batch:
        batch.replace(BLOCK, None)
    assert client.get("ann", BLOCK).state == {"c": 3, "d": 4}


@pytest.mark.parametrize("state", ["{}", [], 1, {1: 2}], ids=repr)
def test_a_state_is_a_dict_of_fields(client: XBlockUserStateClient, state: Any) -> None:
    with pytest.raises(TypeError, match="the state of"):
        client.replace("ann", BLOCK, state)
    with pytest.raises(DoesNotExist):
        client.get("ann", BLOCK)
