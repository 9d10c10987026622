"""Iterating over all learners of a block or a course."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.locator import CourseLocator, LibraryLocatorV2, LibraryUsageLocatorV2
from xblock.fields import Scope

from tests.factories import COURSE, make_block, make_blocks
from xblock_user_state.interface import BlockKey, XBlockUserState, XBlockUserStateClient

pytestmark = pytest.mark.not_for_visitors

LEARNERS = ["ann", "bob", "cid"]
SIZES = pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 7, 1000, None])


def learners_and_keys(found: Iterator[XBlockUserState]) -> list[tuple[str | None, BlockKey]]:
    """Return the learner and key of each item, sorted: the contract promises no order."""
    return sorted(((item.username, item.block_key) for item in found), key=str)


@SIZES
def test_all_learners_of_a_block_come_once(client: XBlockUserStateClient, batch_size: int | None) -> None:
    one, two = make_blocks(2)
    for learner in LEARNERS:
        client.set_many(learner, {one: {"who": learner}, two: {"who": f"{learner} elsewhere"}})
    found = list(client.iter_all_for_block(one, batch_size=batch_size))
    assert learners_and_keys(iter(found)) == [(learner, one) for learner in LEARNERS]
    assert {item.username: item.state for item in found} == {learner: {"who": learner} for learner in LEARNERS}
    assert {item.scope for item in found} == {Scope.user_state}
    assert {item.username: item.updated for item in found} == {
        learner: client.get(learner, one).updated for learner in LEARNERS
    }


@SIZES
def test_all_blocks_and_learners_of_a_course_come_once(client: XBlockUserStateClient, batch_size: int | None) -> None:
    keys = [*make_blocks(4), AsideUsageKeyV1(make_block("block0"), "a"), AsideUsageKeyV2(make_block("block0"), "a")]
    for number, learner in enumerate(LEARNERS):
        client.set_many(learner, {key: {"who": learner, "key": str(key)} for key in keys[number:]})
    expected = sorted(((learner, key) for number, learner in enumerate(LEARNERS) for key in keys[number:]), key=str)
    found = list(client.iter_all_for_course(COURSE, batch_size=batch_size))
    assert learners_and_keys(iter(found)) == expected
    assert all(item.state == {"who": item.username, "key": str(item.block_key)} for item in found)


@SIZES
def test_absent_and_deleted_states_are_left_out(client: XBlockUserStateClient, batch_size: int | None) -> None:
    gone, scored, kept, never = make_blocks(4)
    for learner in LEARNERS:
        client.set_many(learner, {gone: {"a": 1}, kept: {"a": 1}})
        client.delete(learner, gone)
        client.set_score(learner, scored, 1, 2)
    client.set("ann", kept, {"b": 1})
    client.delete("bob", kept, fields=["a"])
    for block in (gone, scored, never):
        assert learners_and_keys(client.iter_all_for_block(block, batch_size=batch_size)) == []
    assert learners_and_keys(client.iter_all_for_block(kept, batch_size=batch_size)) == [("ann", kept), ("cid", kept)]
    assert learners_and_keys(client.iter_all_for_course(COURSE, batch_size=batch_size)) == [
        ("ann", kept),
        ("cid", kept),
    ]


def test_other_courses_are_left_out_however_alike_their_names(client: XBlockUserStateClient) -> None:
    others = [
        CourseLocator("Astro", "A101", "2026x"),
        CourseLocator("Astro", "A10", "2026"),
        CourseLocator("Astro", "A101", "202"),
        CourseLocator("astro", "A101", "2026"),
        CourseLocator("Astr_", "A101", "2026"),
    ]
    for course in (COURSE, *others):
        client.set("ann", make_block(course=course), {"course": str(course)})
    library = LibraryLocatorV2("Astro", "A101")
    client.set("ann", LibraryUsageLocatorV2(library, "problem", "stars"), {"course": str(library)})
    for course in (COURSE, *others, library):
        assert [item.state for item in client.iter_all_for_course(course)] == [{"course": str(course)}]
    assert list(client.iter_all_for_course(CourseLocator("Astro", "A101", "2025"))) == []


def test_a_block_type_narrows_a_course(client: XBlockUserStateClient) -> None:
    problem, video = make_block(), make_block(block_type="video")
    similar = make_block(block_type="problem2")
    client.set_many("ann", {key: {"a": 1} for key in (problem, video, similar)})
    assert learners_and_keys(client.iter_all_for_course(COURSE, "problem")) == [("ann", problem)]
    assert learners_and_keys(client.iter_all_for_course(COURSE, block_type="video")) == [("ann", video)]
    assert learners_and_keys(client.iter_all_for_course(COURSE, "proble")) == []
    assert learners_and_keys(client.iter_all_for_course(COURSE, "Problem")) == []
    assert learners_and_keys(client.iter_all_for_course(COURSE, "")) == []
    assert len(learners_and_keys(client.iter_all_for_course(COURSE))) == 3


@SIZES
def test_a_summary_comes_once_and_without_a_learner(client: XBlockUserStateClient, batch_size: int | None) -> None:
    keys = make_blocks(5)
    for key in keys:
        client.set("ann", key, {"key": str(key)}, Scope.user_state_summary)
    client.delete("ann", keys[2], Scope.user_state_summary)
    [item] = client.iter_all_for_block(keys[0], Scope.user_state_summary, batch_size)
    assert (item.username, item.block_key, item.state) == (None, keys[0], {"key": str(keys[0])})
    found = client.iter_all_for_course(COURSE, scope=Scope.user_state_summary, batch_size=batch_size)
    assert learners_and_keys(found) == [(None, key) for key in keys if key != keys[2]]


@SIZES
def test_preferences_of_all_learners_for_a_type(client: XBlockUserStateClient, batch_size: int | None) -> None:
    for learner in LEARNERS:
        for block_type in ("problem", "Problem", "video"):
            client.set(learner, block_type, {"who": learner}, Scope.preferences)
    found = client.iter_all_for_block("problem", Scope.preferences, batch_size)
    assert learners_and_keys(found) == [(learner, "problem") for learner in LEARNERS]


@SIZES
def test_user_info_of_all_learners(client: XBlockUserStateClient, batch_size: int | None) -> None:
    for learner in LEARNERS:
        client.set(learner, None, {"who": learner}, Scope.user_info)
    client.delete("bob", None, Scope.user_info)
    found = client.iter_all_for_block(None, Scope.user_info, batch_size)
    assert learners_and_keys(found) == [("ann", None), ("cid", None)]


def test_an_iteration_goes_on_when_its_rows_are_written_meanwhile(client: XBlockUserStateClient) -> None:
    keys = make_blocks(4)
    for learner in LEARNERS:
        client.set_many(learner, {key: {"round": 0} for key in keys})
    seen = []
    for item in client.iter_all_for_course(COURSE, batch_size=2):
        seen.append((item.username, item.block_key))
        client.set_many(str(item.username), {key: {"round": len(seen)} for key in keys})
    assert sorted(seen, key=str) == sorted(((learner, key) for learner in LEARNERS for key in keys), key=str)


def test_an_iteration_can_be_left_before_its_end(client: XBlockUserStateClient) -> None:
    for learner in LEARNERS:
        client.set(learner, make_block(), {"a": 1})
    for _ in client.iter_all_for_block(make_block(), batch_size=1):
        break
    client.set("ann", make_block(), {"a": 2})
    assert len(list(client.iter_all_for_block(make_block()))) == 3


def test_an_iteration_has_the_revisions_that_the_caller_knows_of(client: XBlockUserStateClient) -> None:
    for number in range(2):
        client.set("ann", make_block(), {"n": number})
    assert client.get("ann", make_block()).revision == 2
    known = {("ann", make_block()): 2}
    for found in (
        client.iter_all_for_block(make_block(), at_least=known),
        client.iter_all_for_course(COURSE, at_least=known),
    ):
        assert [state.state for state in found] == [{"n": 1}]
