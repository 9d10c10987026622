"""Blocks without their course, and the newest activity of a learner."""

from __future__ import annotations

from typing import Any

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.keys import CourseKey, UsageKey
from xblock.fields import Scope

from tests.factories import CCX, COURSE, make_block, make_blocks
from xblock_user_state.interface import XBlockUserStateClient

BLOCK = make_block()
DRAFT: Any = BLOCK.map_into_course(COURSE.for_branch("draft"))
# Old-style keys have no run in their text.
OLD = UsageKey.from_string("i4x://Sky/Physics/problem/moon")
RUNS = [CourseKey.from_string(f"Sky/Physics/{run}") for run in ("2012", "2013")]


@pytest.mark.not_for_visitors
def test_a_block_is_found_once_it_is_registered(client: XBlockUserStateClient) -> None:
    assert client.find_blocks(BLOCK) == []
    client.set("ann", BLOCK, {"a": 1})
    client.set("bob", BLOCK, {"a": 1})
    client.set(None, make_block("poll"), {"a": 1}, Scope.user_state_summary)
    assert client.find_blocks(BLOCK) == [BLOCK]
    assert client.find_blocks(DRAFT) == [BLOCK]
    assert client.find_blocks(make_block("poll")) == [make_block("poll")]
    assert client.find_blocks(make_block("Stars")) == []


@pytest.mark.not_for_visitors
def test_a_key_without_its_run_is_found_in_each_run(client: XBlockUserStateClient) -> None:
    blocks = [OLD.map_into_course(run) for run in RUNS]
    client.set_many("ann", {key: {"a": 1} for key in blocks})
    assert {str(key.course_key) for key in client.find_blocks(OLD)} == {str(run) for run in RUNS}
    assert {*client.find_blocks(OLD)} == {*blocks} == {*client.find_blocks(blocks[0])}


@pytest.mark.not_for_visitors
def test_asides_and_blocks_of_other_courses_have_keys_of_their_own(client: XBlockUserStateClient) -> None:
    aside, of_ccx = AsideUsageKeyV2(BLOCK, "notes"), make_block(course=CCX)
    client.set_many("ann", {key: {"a": 1} for key in (aside, of_ccx)})
    assert client.find_blocks(BLOCK) == []
    assert client.find_blocks(aside) == [aside]
    assert client.find_blocks(of_ccx) == [of_ccx]


@pytest.mark.parametrize("key", [None, str(BLOCK), COURSE], ids=str)
def test_only_a_usage_key_finds_blocks(client: XBlockUserStateClient, key: Any) -> None:
    with pytest.raises(TypeError, match="usage_key must be a UsageKey"):
        client.find_blocks(key)


def test_the_newest_activity_comes_first(client: XBlockUserStateClient) -> None:
    one, two, three = make_blocks(3)
    assert client.get_latest("ann") == []
    for key in (one, two, three):
        client.set("ann", key, {"a": 1})
    client.set("bob", one, {"a": 9})
    client.set("ann", one, {"a": 2})
    [newest] = client.get_latest("ann")
    assert newest == client.get("ann", one)
    assert newest.revision == 2
    assert [found.block_key for found in client.get_latest("ann", 2)] == [one, three]
    assert [found.block_key for found in client.get_latest("ann", limit=10)] == [one, three, two]
    assert client.get_latest("nobody") == client.get_latest(None) == []


def test_scores_and_deletions_are_activity(client: XBlockUserStateClient) -> None:
    scored, deleted = make_blocks(2)
    client.set_score("ann", scored, 1, 2)
    client.set("ann", deleted, {"a": 1})
    client.delete("ann", deleted)
    assert [(found.block_key, found.state) for found in client.get_latest("ann", 5)] == [
        (deleted, None),
        (scored, None),
    ]


def test_activity_in_one_course(client: XBlockUserStateClient) -> None:
    here, there = make_block(), make_block(course=CCX)
    client.set("ann", there, {"a": 1})
    client.set("ann", here, {"a": 1})
    client.set("ann", "problem", {"a": 1}, Scope.preferences)
    assert [found.block_key for found in client.get_latest("ann", 5, CCX)] == [there]
    assert [found.block_key for found in client.get_latest("ann", 5, COURSE)] == [here]


@pytest.mark.not_for_visitors
def test_blocks_of_one_call_are_in_one_order(client: XBlockUserStateClient) -> None:
    client.set_many("ann", {key: {"a": 1} for key in make_blocks(5)})
    found = [each.block_key for each in client.get_latest("ann", 5)]
    assert {*found} == {*make_blocks(5)}
    assert [each.block_key for each in client.get_latest("ann", 3)] == found[:3]


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), ("1", TypeError), (True, TypeError)], ids=repr)
def test_a_limit_is_a_number(client: XBlockUserStateClient, limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="limit must be"):
        client.get_latest("ann", limit)


def test_the_course_is_a_course(client: XBlockUserStateClient) -> None:
    with pytest.raises(TypeError, match="course_key must be"):
        client.get_latest("ann", 1, str(COURSE))  # type: ignore[arg-type]
