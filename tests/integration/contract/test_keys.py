"""Different keys of the same state: canonical forms of blocks, asides, libraries and block types."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import CourseKey, LearningContextKey, UsageKey
from opaque_keys.edx.locator import CourseLocator, LibraryLocator, LibraryLocatorV2, LibraryUsageLocatorV2
from xblock.fields import Scope

from tests.factories import CCX, COURSE, make_block
from xblock_user_state.interface import XBlockUserStateClient

OLD_COURSE = CourseKey.from_string("Astro/A101/2026")
OLD_BLOCK = UsageKey.from_string("i4x://Astro/A101/problem/stars").map_into_course(OLD_COURSE)
OLD_DRAFT = UsageKey.from_string("i4x://Astro/A101/problem/stars@draft").map_into_course(OLD_COURSE)
LIBRARY = LibraryLocator("Astro", "Lib")
LIBRARY_V2 = LibraryLocatorV2("Astro", "Lib")
VERSION = "519665f6223ebd6980884f2b"


class Named(NamedTuple):
    """One block: its canonical key, its context, and other keys of the same block."""

    key: UsageKey
    context: LearningContextKey
    others: list[UsageKey]


def _asides(key: UsageKey, others: list[UsageKey]) -> list[UsageKey]:
    return [AsideUsageKeyV2(other, "notes") for other in (key, *others)]


_BRANCHES = [
    make_block(course=COURSE.for_branch("draft-branch")),
    make_block(course=COURSE.for_branch("published-branch").for_version(VERSION)),
    UsageKey.from_string(f"block-v1:Astro+A101+2026+version@{VERSION}+type@problem+block@stars"),
]
_LIBRARY_BLOCK = LIBRARY.make_usage_key("problem", "stars")
_LIBRARY_BRANCHES = [LIBRARY.for_branch("library").make_usage_key("problem", "stars")]
_CCX_BRANCHES = [
    UsageKey.from_string(f"ccx-block-v1:Astro+A101+2026+branch@draft+version@{VERSION}+ccx@7+type@problem+block@stars"),
    # A key that is mapped from one CCX into another is a key of the other.
    make_block(course=CCX.replace(ccx="8")).map_into_course(CCX),
]
BLOCKS = {
    "course": Named(make_block(), COURSE, _BRANCHES),
    "old-style": Named(OLD_BLOCK, OLD_COURSE, [OLD_DRAFT]),
    "library": Named(_LIBRARY_BLOCK, LIBRARY, _LIBRARY_BRANCHES),
    "library v2": Named(LibraryUsageLocatorV2(LIBRARY_V2, "problem", "stars"), LIBRARY_V2, []),
    "CCX": Named(make_block(course=CCX), CCX, _CCX_BRANCHES),
    "aside of CCX": Named(
        AsideUsageKeyV2(make_block(course=CCX), "notes"), CCX, [AsideUsageKeyV2(key, "notes") for key in _CCX_BRANCHES]
    ),
    "aside v1": Named(
        AsideUsageKeyV1(make_block(), "notes"), COURSE, [AsideUsageKeyV1(key, "notes") for key in _BRANCHES]
    ),
    "aside v2": Named(
        AsideUsageKeyV2(make_block(), "notes"), COURSE, [AsideUsageKeyV2(key, "notes") for key in _BRANCHES]
    ),
    "aside of old-style": Named(AsideUsageKeyV2(OLD_BLOCK, "notes"), OLD_COURSE, [AsideUsageKeyV2(OLD_DRAFT, "notes")]),
    "aside v1 of old-style": Named(AsideUsageKeyV1(OLD_BLOCK, "notes"), OLD_COURSE, []),
    "aside of library": Named(
        AsideUsageKeyV2(_LIBRARY_BLOCK, "notes"), LIBRARY, [AsideUsageKeyV2(key, "notes") for key in _LIBRARY_BRANCHES]
    ),
    "aside of library v2": Named(
        AsideUsageKeyV2(LibraryUsageLocatorV2(LIBRARY_V2, "problem", "stars"), "notes"), LIBRARY_V2, []
    ),
}
ONE_BLOCK = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())


@pytest.mark.not_for_visitors
@ONE_BLOCK
def test_branch_and_version_do_not_count(client: XBlockUserStateClient, block: Named) -> None:
    client.set("ann", block.key, {"a": 0})
    for number, other in enumerate(block.others, 1):
        assert client.get("ann", other)._replace(block_key=None) == client.get("ann", block.key)._replace(
            block_key=None
        )
        client.set("ann", other, {f"b{number}": number})
        client.set_score("ann", other, number, 10)
        assert client.get_scores("ann", [block.key])[block.key].grade == number
    state = client.get("ann", block.key).state or {}
    assert len(state) == 1 + len(block.others)
    assert len(list(client.get_history("ann", block.key))) == 1 + 2 * len(block.others)


@pytest.mark.not_for_visitors
@ONE_BLOCK
def test_reads_give_back_the_key_asked_with(client: XBlockUserStateClient, block: Named) -> None:
    client.set("ann", block.key, {"a": 0})
    client.set_score("ann", block.key, 1, 1)
    for key in (block.key, *block.others):
        assert client.get("ann", key).block_key is key
        assert {entry.block_key for entry in client.get_history("ann", key)} == {key}
        assert list(client.get_scores("ann", [key])) == [key]


@pytest.mark.not_for_visitors
@ONE_BLOCK
@pytest.mark.parametrize("scope", [Scope.user_state, Scope.user_state_summary], ids=lambda scope: scope.name)
def test_iteration_gives_the_canonical_key_in_its_context(
    client: XBlockUserStateClient, block: Named, scope: Scope
) -> None:
    for key in (block.key, *block.others):
        client.set("ann", key, {"a": str(key)}, scope)
    by_block = [
        found.block_key for key in (block.key, *block.others) for found in client.iter_all_for_block(key, scope)
    ]
    by_course = [found.block_key for found in client.iter_all_for_course(block.context, scope=scope)]
    assert by_block == [block.key] * (1 + len(block.others))
    assert by_course == [block.key]
    assert repr(by_course[0]) == repr(block.key)


@pytest.mark.not_for_visitors
@ONE_BLOCK
def test_the_type_of_an_aside_is_its_blocks(client: XBlockUserStateClient, block: Named) -> None:
    client.set("ann", block.key, {"a": 0})
    assert [found.block_key for found in client.iter_all_for_course(block.context, "problem")] == [block.key]
    assert list(client.iter_all_for_course(block.context, "notes")) == []
    assert len(list(client.get_history("ann", block.key))) == 1


@pytest.mark.not_for_visitors
def test_a_course_key_with_a_branch_names_the_course(client: XBlockUserStateClient) -> None:
    client.set("ann", make_block(), {"a": 0})
    for course in (COURSE.for_branch("draft"), COURSE.for_branch("draft").for_version(VERSION)):
        assert len(list(client.iter_all_for_course(course))) == 1


@pytest.mark.not_for_visitors
def test_every_other_difference_between_keys_counts(client: XBlockUserStateClient) -> None:
    different = [
        *(block.key for block in BLOCKS.values()),
        make_block("Stars"),
        make_block("star"),
        make_block("stars2"),
        make_block("stárs"),
        make_block("st_rs"),
        make_block("stars", "Problem"),
        make_block("stars", "video"),
        make_block(course=CourseLocator("astro", "A101", "2026")),
        make_block(course=CourseLocator("Astro", "A101", "2027")),
        make_block(course=CCX.replace(ccx="8")),
        OLD_BLOCK.map_into_course(CourseKey.from_string("Astro/A101/2027")),
        AsideUsageKeyV2(make_block(), "Notes"),
        AsideUsageKeyV2(AsideUsageKeyV2(make_block(), "notes"), "notes"),
    ]
    client.set_many("ann", {key: {"key": str(key), "number": number} for number, key in enumerate(different)})
    for number, key in enumerate(different):
        assert client.get("ann", key).state == {"key": str(key), "number": number}
        [found] = client.iter_all_for_block(key)
        assert found.block_key == key


@pytest.mark.not_for_visitors
def test_two_keys_of_one_block_in_one_call_are_overlaid_in_their_order(client: XBlockUserStateClient) -> None:
    key, draft = make_block(), _BRANCHES[0]
    client.set_many("ann", {key: {"a": 1, "b": 1}, draft: {"b": 2, "c": 2}})
    assert client.get("ann", key).state == {"a": 1, "b": 2, "c": 2}
    assert len(list(client.get_history("ann", key))) == 1
    client.delete_many("ann", [key, draft], fields=["a"])
    assert len(list(client.get_history("ann", key))) == 2


@pytest.mark.not_for_visitors
def test_an_old_style_key_belongs_to_the_run_it_is_mapped_into(client: XBlockUserStateClient) -> None:
    other_run = CourseKey.from_string("Astro/A101/2027")
    client.set("ann", OLD_BLOCK, {"run": 2026})
    client.set("ann", OLD_BLOCK.map_into_course(other_run), {"run": 2027})
    assert str(OLD_BLOCK) == str(OLD_BLOCK.map_into_course(other_run))
    assert client.get("ann", OLD_BLOCK).state == {"run": 2026}
    found = [(item.block_key.run, item.state) for item in client.iter_all_for_course(other_run)]
    assert found == [("2027", {"run": 2027})]


def test_an_old_style_key_in_a_new_course_is_that_courses_block(client: XBlockUserStateClient) -> None:
    mapped = UsageKey.from_string("i4x://Astro/A101/problem/stars").map_into_course(COURSE)
    client.set("ann", mapped, {"a": 1})
    assert client.get("ann", make_block()).state == {"a": 1}


@pytest.mark.not_for_visitors
@pytest.mark.parametrize("name", ["problem", "block-type-v1:xblock.v1:problem"])
def test_a_plain_block_type_is_the_xblock_familys(client: XBlockUserStateClient, name: str) -> None:
    client.set("ann", name, {"by": "string"}, Scope.preferences)
    client.set("ann", BlockTypeKeyV1("xblock.v1", "problem"), {"key": "by key"}, Scope.preferences)
    client.set("ann", "problem", {"plain": 1}, Scope.preferences)
    assert client.get("ann", name, Scope.preferences).state == {"by": "string", "key": "by key", "plain": 1}
    found = [item.block_key for item in client.iter_all_for_block(name, Scope.preferences)]
    assert found == ["problem"]


@pytest.mark.not_for_visitors
def test_the_family_of_a_block_type_counts(client: XBlockUserStateClient) -> None:
    aside = BlockTypeKeyV1("xblock.asides-v1", "notes")
    client.set("ann", aside, {"family": "asides"}, Scope.preferences)
    assert list(client.get_many("ann", ["notes"], Scope.preferences)) == []
    client.set("ann", "notes", {"family": "xblock"}, Scope.preferences)
    assert client.get("ann", aside, Scope.preferences).state == {"family": "asides"}
    assert [item.block_key for item in client.iter_all_for_block(aside, Scope.preferences)] == [aside]
    assert client.get("ann", str(aside), Scope.preferences).state == {"family": "asides"}


@pytest.mark.not_for_visitors
def test_what_iteration_gives_can_be_read_with(client: XBlockUserStateClient) -> None:
    """The contract takes any string as a block type; an iteration's key must lead back to its state."""
    for name in ("problem", "block-type-v1:odd", "block-type-v1:xblock.asides-v1:notes", "a:b", "poll-question"):
        client.set("ann", name, {"name": name}, Scope.preferences)
        [found] = client.iter_all_for_block(name, Scope.preferences)
        assert client.get("ann", found.block_key, Scope.preferences).state == {"name": name}


@pytest.mark.not_for_visitors
def test_a_key_of_the_longest_length_is_kept_whole(client: XBlockUserStateClient) -> None:
    room = 256 - len(str(make_block("x")))
    one, two = make_block("é" * (room - 1) + "a"), make_block("é" * (room - 1) + "b")
    assert len(str(one)) == 255
    client.set_many("ann", {one: {"a": 1}, two: {"b": 2}})
    assert [found.state for found in client.get_many("ann", [one, two])] == [{"a": 1}, {"b": 2}]
    assert [found.block_key for found in client.iter_all_for_block(two)] == [two]
    long_type = "t" * 254
    client.set_many("ann", {long_type + "a": {"a": 1}, long_type + "b": {"b": 2}}, Scope.preferences)
    assert client.get("ann", long_type + "b", Scope.preferences).state == {"b": 2}
