"""Keys of the old tables become blocks in the course of their row."""

from __future__ import annotations

import pytest

from xblock_user_state.openedx.old.keys import Mapped, Unmapped, block_of, block_type_of, course_of, lacks_run
from xblock_user_state.openedx.old.reasons import Reason

COURSE = "course-v1:Sky+Physics+2016"
RUN = "Sky/Physics/2014"
MODERN = "block-v1:Sky+Physics+2016+type@problem+block@stars"
OLD = "i4x://Sky/Physics/problem/stars"


def mapped(course_id: str, module_id: str) -> Mapped:
    found = block_of(course_id, module_id)
    assert isinstance(found, Mapped), found
    return found


def reasons(course_id: str, module_id: str) -> list[Reason]:
    return [reason for reason, _ in mapped(course_id, module_id).notes]


@pytest.mark.parametrize(
    ("course_id", "module_id", "context", "usage_key"),
    [
        (COURSE, MODERN, COURSE, MODERN),
        (RUN, OLD, RUN, OLD),
        (COURSE, OLD, COURSE, MODERN),
        (
            "ccx-v1:Sky+Physics+2016+ccx@7",
            MODERN,
            "ccx-v1:Sky+Physics+2016+ccx@7",
            "ccx-block-v1:Sky+Physics+2016+ccx@7+type@problem+block@stars",
        ),
        (
            COURSE,
            "block-v1:Sky+Physics+2016+branch@draft-branch+version@519665f6223ebd6980884f2b+type@problem+block@stars",
            COURSE,
            MODERN,
        ),
        (f"{COURSE}+branch@draft-branch", MODERN, COURSE, MODERN),
        ("lib:Sky:Physics", "lb:Sky:Physics:problem:stars", "lib:Sky:Physics", "lb:Sky:Physics:problem:stars"),
    ],
)
def test_a_key_that_needs_no_word(course_id: str, module_id: str, context: str, usage_key: str) -> None:
    found = mapped(course_id, module_id)
    assert (found.block.context_key, found.block.usage_key, found.notes) == (context, usage_key, ())


def test_the_block_inside_an_aside_is_mapped() -> None:
    found = mapped(COURSE, "aside-usage-v1:i4x://Sky/Physics/problem/stars::notes")
    assert found.block.usage_key == f"aside-usage-v1:{MODERN}::notes"
    assert found.block.block_type == "problem"


@pytest.mark.parametrize(
    ("course_id", "module_id", "reason"),
    [
        (RUN, "i4x://Other/Chemistry/problem/stars", Reason.MAPPED_KEY),
        (COURSE, "block-v1:sky+physics+2016+type@problem+block@stars", Reason.MAPPED_KEY),
        (f"{COURSE}\n", MODERN, Reason.WHITE_SPACE),
        ("lib:Sky:Physics\n", "lb:Sky:Physics:problem:stars", Reason.WHITE_SPACE),
        (COURSE, f"{MODERN}\n", Reason.WHITE_SPACE),
        (COURSE, MODERN.ljust(255, "s"), Reason.CUT_KEY),
    ],
)
def test_a_key_that_is_not_taken_as_it_is(course_id: str, module_id: str, reason: Reason) -> None:
    assert reasons(course_id, module_id) == [reason]


@pytest.mark.parametrize(
    ("course_id", "module_id"),
    [
        ("", MODERN),
        ("Sky and Physics", MODERN),
        (COURSE, "problem/stars"),
        (COURSE, ""),
        (COURSE, "block-v1:Sky+Physics+2016+type@problem+block@two words"),
        ("lib:Sky:Physics", MODERN),
    ],
)
def test_texts_that_name_no_block(course_id: str, module_id: str) -> None:
    found = block_of(course_id, module_id)
    assert isinstance(found, Unmapped)
    assert found.reason is Reason.NOT_A_KEY


def test_block_types_of_preferences() -> None:
    assert block_type_of("video") == block_type_of("block-type-v1:xblock.v1:video") == "video"
    family = "block-type-v1:xblock_asides.v1:notes"
    assert block_type_of(family) == family
    assert isinstance(block_type_of(""), Unmapped)


def test_keys_of_summaries() -> None:
    assert course_of(MODERN) == COURSE
    assert course_of(OLD) is None
    assert course_of("poll") is None
    assert lacks_run(OLD)
    assert not lacks_run(MODERN)
    assert not lacks_run("poll")
