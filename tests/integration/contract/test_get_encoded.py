"""Reading states as they are encoded: all rows that exist, and texts that decode to the states that `get` returns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks
from xblock_user_state.interface import BlockKey, EncodedState, XBlockUserStateClient
from xblock_user_state.state.codec import decode

BLOCK = make_block()
ASIDES_OF_PROBLEMS = BlockTypeKeyV1("xblock_asides.v1", "problem")


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        (Scope.user_state, BLOCK),
        (Scope.user_state, AsideUsageKeyV2(BLOCK, "notes_aside")),
        (Scope.user_state_summary, BLOCK),
        (Scope.preferences, "problem"),
        (Scope.preferences, ASIDES_OF_PROBLEMS),
        (Scope.user_info, None),
    ],
)
def test_of_each_scope(client: XBlockUserStateClient, scope: Scope, key: BlockKey) -> None:
    client.set("ann", key, {"a": [1, None], "b": "ü"}, scope)
    assert client.get_encoded("ann", [key], scope) == {key: EncodedState(r'{"a":[1,null],"b":"\u00fc"}', 1)}


@pytest.mark.parametrize("value", [float("nan"), 10**400, Decimal("1.5"), "\0\ud800", {"deep": [{}]}, True])
def test_texts_decode_to_what_get_gives(client: XBlockUserStateClient, value: Any) -> None:
    client.set("ann", BLOCK, {"a": value})
    [found] = client.get_encoded("ann", [BLOCK]).values()
    assert repr(decode(found.text or "")) == repr(client.get("ann", BLOCK).state)


def test_rows_without_a_state_are_there_and_blocks_without_a_row_are_not(client: XBlockUserStateClient) -> None:
    keys = make_blocks(4)
    client.set_many("ann", {keys[0]: {"a": 0}, keys[1]: {"a": 1}})
    client.delete("ann", keys[1])
    client.set_score("ann", keys[2], 1, 2)
    assert client.get_encoded("ann", keys) == {
        keys[0]: EncodedState('{"a":0}', 1),
        keys[1]: EncodedState(None, 2),
        keys[2]: EncodedState(None, 1),
    }


def test_texts_come_in_the_order_asked_for_under_the_keys_asked_with(client: XBlockUserStateClient) -> None:
    keys = [*make_blocks(5)[::-1], make_block("block1", course=COURSE.for_branch("draft"))]
    client.set_many("ann", {key: {"key": str(key)} for key in keys})
    found = client.get_encoded("ann", keys)
    assert [*found] == keys
    assert found[keys[-1]] == found[make_block("block1")]


@pytest.mark.not_for_visitors
@pytest.mark.parametrize("username", ["", None, "bob"])
def test_nothing_of_others_is_found(client: XBlockUserStateClient, username: str | None) -> None:
    client.set("ann", BLOCK, {"a": 1})
    client.set("ann", BLOCK, {"votes": 1}, Scope.user_state_summary)
    assert client.get_encoded(username, [BLOCK]) == {}
    assert client.get_encoded(username, [BLOCK], Scope.user_state_summary) == {BLOCK: EncodedState('{"votes":1}', 1)}


def test_bad_arguments_get_a_clear_error(client: XBlockUserStateClient) -> None:
    with pytest.raises(ValueError, match="settings"):
        client.get_encoded("ann", [BLOCK], Scope.settings)
    with pytest.raises(TypeError, match="username"):
        client.get_encoded(7, [BLOCK])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="block_keys must be a list"):
        client.get_encoded("ann", BLOCK)  # type: ignore[arg-type]


ROWS: list[tuple[Scope, BlockKey]] = [
    (Scope.user_state, BLOCK),
    (Scope.user_state_summary, BLOCK),
    (Scope.preferences, "problem"),
    (Scope.preferences, ASIDES_OF_PROBLEMS),
    (Scope.user_info, None),
    (Scope.user_state, make_block("other")),
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], ROWS[1:3], ROWS[2:5], ROWS[4:], ROWS[3:4], [], [*ROWS, *ROWS]])
def test_rows_of_several_scopes_come_in_the_order_asked_for(
    client: XBlockUserStateClient, rows: list[tuple[Scope, BlockKey]]
) -> None:
    for number, (scope, key) in enumerate(ROWS):
        client.set("ann", key, {"number": number}, scope)
    found = [EncodedState(f'{{"number":{ROWS.index(row)}}}', 1) for row in rows]
    assert client.get_encoded_rows("ann", rows) == found


def test_rows_of_several_scopes_that_do_not_exist_are_none(client: XBlockUserStateClient) -> None:
    assert client.get_encoded_rows("ann", ROWS) == [None] * len(ROWS)
    client.set("ann", "problem", {"a": 1}, Scope.preferences)
    client.delete("ann", "problem", Scope.preferences)
    assert client.get_encoded_rows("ann", ROWS) == [None, None, EncodedState(None, 2), None, None, None]


@pytest.mark.not_for_visitors
@pytest.mark.parametrize("username", ["", None, "bob"])
def test_of_others_only_shared_rows_are_found(client: XBlockUserStateClient, username: str | None) -> None:
    for scope, key in ROWS:
        client.set("ann", key, {"a": 1}, scope)
    shared = EncodedState('{"a":1}', 1)
    found = [shared if scope is Scope.user_state_summary else None for scope, _ in ROWS]
    assert client.get_encoded_rows(username, ROWS) == found


def test_bad_rows_get_a_clear_error(client: XBlockUserStateClient) -> None:
    with pytest.raises(ValueError, match="settings"):
        client.get_encoded_rows("ann", [(Scope.settings, BLOCK)])
    with pytest.raises(TypeError, match="pairs of scope and key"):
        client.get_encoded_rows("ann", [BLOCK])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="rows must be a list"):
        client.get_encoded_rows("ann", "problem")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="user_info"):
        client.get_encoded_rows("ann", [(Scope.user_info, BLOCK)])
