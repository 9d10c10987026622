"""Moves to other keys are checked by the keys alone, before any SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.keys import CourseKey, LearningContextKey, UsageKey
from opaque_keys.edx.locator import CourseLocator

from tests.factories import BY, COURSE, make_block, make_blocks
from xblock_user_state.actions import move_state
from xblock_user_state.state.keys import identify_block
from xblock_user_state.state.moves import Move, moves_of_blocks, moves_of_context

ONE, TWO, THREE = make_blocks(3)
FILM = make_block("film", "video")
NEW_RUN = CourseLocator("Astro", "A101", "2027")
OLD_STYLE = CourseKey.from_string("Astro/A101/2020")


def with_branch(key: Any) -> UsageKey:
    branch: UsageKey = key.replace(course_key=key.course_key.for_branch("draft"))
    return branch


def test_a_move_names_both_blocks() -> None:
    assert moves_of_blocks({ONE: TWO, FILM: NEW_RUN.make_usage_key("video", "film")}) == [
        Move(identify_block(ONE), identify_block(TWO)),
        Move(identify_block(FILM), identify_block(NEW_RUN.make_usage_key("video", "film"))),
    ]


REFUSED: Mapping[str, tuple[Any, Any, str]] = {
    "itself": (ONE, ONE, "block@block0 can't be moved to itself"),
    "itself in a branch": (ONE, with_branch(ONE), "block@block0 can't be moved to itself"),
    "another type": (ONE, FILM, r"block@block0 can't be moved to .*block@film: problem can't become video"),
    "a block's aside": (ONE, AsideUsageKeyV2(TWO, "notes"), "problem can't become notes of problem"),
    "another aside": (
        AsideUsageKeyV2(ONE, "notes"),
        AsideUsageKeyV2(TWO, "tags"),
        "notes of problem can't become tags",
    ),
    "an aside's block": (AsideUsageKeyV2(ONE, "notes"), ONE, "notes of problem can't become problem"),
    "no run": (ONE, UsageKey.from_string("i4x://A/B/problem/x"), "names no course run"),
    "a chain": (
        {ONE: TWO, TWO: THREE},
        None,
        "block@block1 is an old key and a new key; move its own state",
    ),
    "a circle": ({ONE: TWO, TWO: ONE}, None, "is an old key and a new key"),
    "two to one": ({ONE: THREE, TWO: with_branch(THREE)}, None, "block@block2 is the new key of two blocks"),
    "twice": ({ONE: TWO, with_branch(ONE): THREE}, None, "block@block0 is moved twice"),
    "the same course": (COURSE, COURSE.for_branch("draft"), r"course-v1:.* can't be moved to itself"),
    "a course without its run": (COURSE, UsageKey.from_string("i4x://A/B/problem/x").course_key, "no course run"),
}


@pytest.mark.parametrize(("old", "new", "message"), REFUSED.values(), ids=REFUSED)
def test_moves_that_do_not_fit_are_refused(old: Any, new: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        move_state(old, new, **BY)


MISTYPED: Mapping[str, tuple[Any, Any, str]] = {
    "a text": (str(ONE), TWO, "old_key must be a UsageKey, the key of a course or library, or a mapping"),
    "nothing": (ONE, None, "new_key must be a UsageKey, as old_key is, not None"),
    "a new text": (ONE, str(TWO), "new_key must be a UsageKey, as old_key is, not 'block-v1:"),
    "a block to a course": (ONE, COURSE, "new_key must be a UsageKey, as old_key is"),
    "a course to a block": (COURSE, ONE, "new_key must be the key of a course or library, as old_key is"),
    "a mapping and a key": ({ONE: TWO}, THREE, "new_key must be left out beside a mapping"),
    "a mapping of texts": ({str(ONE): TWO}, None, "an old key must be a UsageKey, not 'block-v1:"),
    "a mapping to texts": ({ONE: str(TWO)}, None, r"the new key of block-v1:.*block0 must be a UsageKey"),
    "a mapping of courses": ({COURSE: NEW_RUN}, None, "an old key must be a UsageKey"),
    "a list": ([(ONE, TWO)], None, "old_key must be a UsageKey"),
}


@pytest.mark.parametrize(("old", "new", "message"), MISTYPED.values(), ids=MISTYPED)
def test_keys_of_other_types_are_refused(old: Any, new: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        move_state(old, new, **BY)


NAMESAKES = [
    (ONE, NEW_RUN, "block-v1:Astro+A101+2027+type@problem+block@block0"),
    (ONE, OLD_STYLE, "i4x://Astro/A101/problem/block0"),
    (ONE, CourseKey.from_string("library-v1:Astro+Lib"), "lib-block-v1:Astro+Lib+type@problem+block@block0"),
    (ONE, LearningContextKey.from_string("lib:Astro:Lib"), "lb:Astro:Lib:problem:block0"),
    (UsageKey.from_string("lb:Astro:Lib:problem:x"), NEW_RUN, "block-v1:Astro+A101+2027+type@problem+block@x"),
    (
        AsideUsageKeyV1(ONE, "notes"),
        NEW_RUN,
        "aside-usage-v1:block-v1:Astro+A101+2027+type@problem+block@block0::notes",
    ),
    (
        AsideUsageKeyV2(ONE, "notes"),
        LearningContextKey.from_string("lib:Astro:Lib"),
        "aside-usage-v2:lb$:Astro$:Lib$:problem$:block0::notes",
    ),
]


@pytest.mark.parametrize(("key", "context", "expected"), NAMESAKES)
def test_a_block_moves_to_its_namesake_in_another_context(
    key: UsageKey, context: LearningContextKey, expected: str
) -> None:
    block = identify_block(key)
    [move] = moves_of_context([(block.context_key, block.usage_key)], context)
    assert move.old == block
    assert (move.new.context_key, move.new.usage_key) == (str(context), expected)


class Pathway(LearningContextKey):
    """Stands for a context of another package, whose usage keys we can't make."""

    CANONICAL_NAMESPACE = "pathway"
    KEY_FIELDS = ("name",)
    __slots__ = KEY_FIELDS
    CHECKED_INIT = False
    name: str

    def _to_string(self) -> str:
        return self.name

    @classmethod
    def _from_string(cls, serialized: str) -> Pathway:
        pathway: Any = cls
        return pathway(name=serialized)


def test_a_block_without_a_key_in_the_new_context_is_refused() -> None:
    block = identify_block(make_block("a:b"))
    with pytest.raises(ValueError, match=r"block@a:b can't be moved to lib:Astro:Lib: .*; nothing was moved"):
        moves_of_context([(block.context_key, block.usage_key)], LearningContextKey.from_string("lib:Astro:Lib"))
    with pytest.raises(ValueError, match="nonsense can't be moved to"):
        moves_of_context([(block.context_key, "nonsense")], NEW_RUN)
    with pytest.raises(ValueError, match="can't be moved to pathway:p: a Pathway makes no usage keys; name the blocks"):
        moves_of_context([(block.context_key, block.usage_key)], Pathway._from_string("p"))
