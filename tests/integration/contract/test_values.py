"""Values survive a round trip, also through the database, in every scope and in history (law 4)."""

from __future__ import annotations

import pytest
from xblock.fields import Scope

from tests.factories import make_block
from tests.golden_values import BIG, GOLDEN, Golden, is_same
from xblock_user_state.interface import BlockKey, XBlockUserStateClient

BLOCK = make_block()
EACH = pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN.keys())
PLACES = pytest.mark.parametrize(
    ("scope", "key"),
    [
        (Scope.user_state, BLOCK),
        (Scope.preferences, "problem"),
        (Scope.user_info, None),
        (Scope.user_state_summary, BLOCK),
    ],
    ids=["user_state", "preferences", "user_info", "user_state_summary"],
)


@pytest.mark.not_for_visitors
@EACH
@PLACES
def test_values_survive_a_round_trip(
    client: XBlockUserStateClient, golden: Golden, scope: Scope, key: BlockKey
) -> None:
    client.set("ann", key, {"before": 1, "field": golden.value}, scope)
    expected = {"before": 1, "field": golden.back}
    assert is_same(client.get("ann", key, scope).state, expected)
    assert is_same(client.get("ann", key, scope, ["field"]).state, {"field": golden.back})
    assert [is_same(item.state, expected) for item in client.iter_all_for_block(key, scope)] == [True]
    client.set("ann", key, {"before": 2}, scope)
    assert is_same(client.get("ann", key, scope).state, {"before": 2, "field": golden.back})


@pytest.mark.not_for_visitors
@EACH
def test_history_gives_the_same(client: XBlockUserStateClient, golden: Golden) -> None:
    client.set("ann", BLOCK, {"field": golden.value})
    client.delete("ann", BLOCK)
    absent, entry = client.get_history("ann", BLOCK)
    assert absent.state is None
    assert is_same(entry.state, {"field": golden.back})


@pytest.mark.not_for_visitors
@EACH
def test_writing_what_was_read_is_no_change(client: XBlockUserStateClient, golden: Golden) -> None:
    client.set("ann", BLOCK, {"field": golden.value})
    client.set("ann", BLOCK, {"field": golden.value})
    client.set("ann", BLOCK, {"field": golden.back})
    client.set("ann", BLOCK, client.get("ann", BLOCK).state or {})
    assert len(list(client.get_history("ann", BLOCK))) == 1


@pytest.mark.parametrize(
    "name", ["", "ü🪐", "a\x00b", "\ud800", "a b", 'quo"te', "back\\slash", "%s", "{}", "x" * 3000], ids=ascii
)
def test_any_text_may_be_a_field_name(client: XBlockUserStateClient, name: str) -> None:
    client.set("ann", BLOCK, {name: 1, "other": 2})
    assert client.get("ann", BLOCK).state == {name: 1, "other": 2}
    assert client.get("ann", BLOCK, fields=[name]).state == {name: 1}
    client.delete("ann", BLOCK, fields=[name])
    assert client.get("ann", BLOCK).state == {"other": 2}


def test_a_field_name_that_is_an_enumeration_is_its_value(client: XBlockUserStateClient) -> None:
    """As in JSON and in comparisons, ``Colour.RED == "red"``, whatever ``str`` returns."""
    red = GOLDEN["string enumeration"].value
    client.set("ann", BLOCK, {red: 1})
    assert client.get("ann", BLOCK).state == {"red": 1}
    assert client.get("ann", BLOCK, fields=[red]).state == {"red": 1}
    client.delete("ann", BLOCK, fields=[red])
    assert list(client.get_many("ann", [BLOCK])) == []


def test_a_key_inside_a_value_may_be_an_integer_of_any_size(client: XBlockUserStateClient) -> None:
    client.set("ann", BLOCK, {"a": {BIG: 1}})
    assert client.get("ann", BLOCK).state == {"a": {f"7{'0' * 5999}1": 1}}


def test_a_large_state_is_kept(client: XBlockUserStateClient) -> None:
    answers = {f"answer {number}": "x'\"\\é" * 200 for number in range(800)}
    client.set("ann", BLOCK, answers)
    client.set("ann", BLOCK, {"last": 1})
    assert client.get("ann", BLOCK).state == {**answers, "last": 1}
