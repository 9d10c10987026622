"""Ids of blocks, contexts and block types depend on the key alone and never change."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opaque_keys import OpaqueKey
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import CourseKey, UsageKey
from opaque_keys.edx.locator import CourseLocator, LibraryLocator, LibraryLocatorV2, LibraryUsageLocatorV2

from tests.factories import CCX, COURSE, make_block
from xblock_user_state.state import keys
from xblock_user_state.state.keys import hash_key, identify_block, identify_block_type, identify_context, parse_block

OLD_BLOCK = UsageKey.from_string("i4x://Astro/A101/problem/stars").map_into_course(
    CourseKey.from_string("Astro/A101/2026")
)
NAMES = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=12)

# State is stored under these numbers: a changed number would lose it.
GOLDEN = {
    make_block(): -8429387136324633425,
    OLD_BLOCK: 1934797743977965474,
    make_block(course=CCX): 5814057859534743191,
    AsideUsageKeyV1(make_block(), "notes"): 3313060984031344360,
    AsideUsageKeyV2(make_block(), "notes"): 6538704941429460821,
    LibraryLocator("Astro", "Lib").make_usage_key("problem", "stars"): -3915872005831669238,
    LibraryUsageLocatorV2(LibraryLocatorV2("Astro", "Lib"), "problem", "stars"): 8689746757592472691,
}


def documented_id(text: str) -> int:
    """Return the documented id: BLAKE2b of 8 bytes, big-endian, two's complement."""
    number = int(blake2b(text.encode("utf-8"), digest_size=8).hexdigest(), 16)
    return number - 2**64 if number >= 2**63 else number


@given(st.text())
def test_an_id_is_the_documented_hash(text: str) -> None:
    assert hash_key(text) == documented_id(text)
    assert -(2**63) <= hash_key(text) < 2**63


@pytest.mark.parametrize(("key", "golden"), GOLDEN.items(), ids=map(str, GOLDEN))
def test_ids_are_the_same_for_ever(key: UsageKey, golden: int) -> None:
    assert identify_block(key).id == golden


def test_a_blocks_id_is_made_from_context_and_usage_key() -> None:
    block = identify_block(make_block())
    assert block.context_key == "course-v1:Astro+A101+2026"
    assert block.usage_key == "block-v1:Astro+A101+2026+type@problem+block@stars"
    assert block.id == documented_id(f"{block.context_key}\n{block.usage_key}")
    assert block.context_id == documented_id(block.context_key) == identify_context(COURSE)
    assert block.block_type == "problem"


def test_an_old_style_block_has_its_run_from_its_context() -> None:
    block = identify_block(OLD_BLOCK)
    assert (block.context_key, block.usage_key) == ("Astro/A101/2026", "i4x://Astro/A101/problem/stars")
    assert block.id == documented_id("Astro/A101/2026\ni4x://Astro/A101/problem/stars")
    assert parse_block(block.context_key, block.usage_key).course_key.run == "2026"


@given(NAMES, NAMES, NAMES, NAMES, NAMES, NAMES)
def test_branch_and_version_do_not_count(
    org: str, course: str, run: str, block_type: str, name: str, branch: str
) -> None:
    context = CourseLocator(org, course, run)
    key = context.make_usage_key(block_type, name)
    draft = context.for_branch(branch).for_version("519665f6223ebd6980884f2b").make_usage_key(block_type, name)
    for one, other in ((key, draft), (AsideUsageKeyV2(key, "a"), AsideUsageKeyV2(draft, "a"))):
        assert identify_block(other) == identify_block(one)
        assert parse_block(*identify_block(other)[2:4]) == one
    assert identify_context(context.for_branch(branch)) == identify_context(context)


def test_block_types() -> None:
    assert identify_block_type("problem") == "problem"
    for text in ("", " ", "a b", "a\n", "x" * 256):
        with pytest.raises(ValueError, match="key"):
            identify_block_type(text)


LOOKS_LIKE_ANOTHER = (BlockTypeKeyV1("xblock.v1", "block-type-v1:f:t"), "block-type-v1:xblock.v1:block-type-v1:f:t")
LIBRARY_BLOCK = LibraryLocator("Astro", "Lib").make_usage_key("problem", "stars")
NOT_READ_BACK = {
    "block of a library in a course": LIBRARY_BLOCK.map_into_course(COURSE),
    "block of a course in a library": make_block().map_into_course(LibraryLocator("Astro", "Lib")),
    "block type with a plus": COURSE.make_usage_key("prob+lem", "stars"),
    "block of a CCX in its course": make_block(course=CCX).map_into_course(COURSE),
    "block of a course in its CCX": make_block().map_into_course(CCX),
    "block of a CCX in an old-style course": make_block(course=CCX).map_into_course(OLD_BLOCK.course_key),
    "block of a course in a newer library": make_block().map_into_course(LibraryLocatorV2("Astro", "Lib")),
    "number of a CCX": make_block(course=CCX.replace(ccx=7)),
    "aside": AsideUsageKeyV2(LIBRARY_BLOCK.map_into_course(COURSE), "notes"),
}


@pytest.mark.parametrize("key", NOT_READ_BACK.values(), ids=NOT_READ_BACK)
def test_a_key_whose_text_is_not_read_back_as_the_same_key_is_refused(key: UsageKey) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="stars"):
            identify_block(key)


def test_a_key_is_parsed_once() -> None:
    key = COURSE.make_usage_key("problem", "parsed-once")
    identify_block(key)
    before = parse_block.cache_info()
    for same in (key, COURSE.make_usage_key("problem", "parsed-once")):
        identify_block(same)
    assert parse_block.cache_info() == before


class _Unreadable(CourseLocator):
    """A key of a kind that is not registered, as a plugin of another process has."""

    CANONICAL_NAMESPACE = "course-v9"


def test_a_context_whose_text_is_not_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match="course-v9"):
        identify_context(_Unreadable("Astro", "A101", "2026"))


@pytest.mark.parametrize(
    "key", [BlockTypeKeyV1("xblock.v1", "block-type-v1:f:t"), "block-type-v1:xblock.v1:block-type-v1:f:t"]
)
def test_a_block_type_that_looks_like_another_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match="block-type-v1:f:t"):
        identify_block_type(key)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (BlockTypeKeyV1("xblock.v1", "problem"), "problem"),
        (BlockTypeKeyV1("xblock_asides.v1", "notes"), "block-type-v1:xblock_asides.v1:notes"),
        (BlockTypeKeyV1("f", "a:b"), "block-type-v1:f:a:b"),
        ("block-type-v1:f:a:b", "block-type-v1:f:a:b"),
        ("block-type-v1:xblock.v1:problem", "problem"),
    ],
)
def test_block_types_of_other_families(key: Any, text: str) -> None:
    assert identify_block_type(key) == text


@pytest.mark.parametrize(
    ("context", "usage"),
    [
        ("course-v1:Astro+A101+2026", "block-v1:Astro+A101+2026+type@prob+lem+block@stars"),
        ("course-v1:Astro+A101+2026", "lib-block-v1:Astro+Lib+type@problem+block@stars"),
        ("course-v1:Astro+A101+2026", "ccx-block-v1:Astro+A101+2026+type@problem+block@stars"),
        ("course-v1:Astro+A101+2026", "ccx-block-v1:Astro+A101+2026+ccx@7+type@problem+block@stars"),
        ("ccx-v1:Astro+A101+2026+ccx@7", "block-v1:Astro+A101+2026+ccx@7+type@problem+block@stars"),
        ("ccx-v1:Astro+A101+2026+ccx@7", "i4x://Astro/A101/problem/stars"),
        ("no course", "i4x://Astro/A101/problem/stars"),
        ("course-v1:Astro+A101+2026", "garbage"),
        ("course-v1:Astro+A101+2026", "block-v1:Astro+A101+2026+branch@draft+type@problem+block@stars"),
    ],
)
def test_texts_of_no_key_in_their_context_are_a_value_error(context: str, usage: str) -> None:
    with pytest.raises(ValueError, match=re.escape(usage)):
        parse_block(context, usage)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """The cache of blocks by the addresses of their keys, emptied for the test."""
    cache: dict[int, Any] = {}
    monkeypatch.setattr(keys, "_BLOCKS_SEEN", cache)
    return cache


@pytest.mark.usefixtures("empty_cache")
def test_a_key_object_is_hashed_once_because_its_hash_takes_longer_than_a_lookup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed = []

    def counting_hash(key: OpaqueKey) -> int:
        hashed.append(key)
        return plain_hash(key)

    plain_hash = OpaqueKey.__hash__
    monkeypatch.setattr(OpaqueKey, "__hash__", counting_hash)
    block = make_block()
    first = identify_block(block)
    assert block in hashed
    hashed.clear()
    assert identify_block(block) is first
    assert not hashed


def test_keys_that_come_to_lie_at_the_same_address_are_not_confused(empty_cache: dict[int, Any]) -> None:
    """CPython reuses the memory of a freed key for the next object of its size."""
    addresses = set()
    for number in range(1000):
        key = make_block(f"block{number}")
        addresses.add(id(key))
        assert identify_block(key).usage_key == str(key)
        del key
    # Each entry holds its key: otherwise its address could be reused.
    assert len(addresses) == len(empty_cache) == 1000
    assert all(id(held) == address for address, (held, _) in empty_cache.items())


def test_an_address_that_comes_back_after_the_cache_was_emptied_is_the_new_keys(
    empty_cache: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_SEEN_KEYS", 3)
    addresses = set()
    for number in range(1000):
        key = make_block(f"block{number % 7}")
        addresses.add(id(key))
        assert identify_block(key).usage_key == str(key)
        assert len(empty_cache) <= 3
        del key
    assert len(addresses) < 1000


def test_an_entry_of_another_key_under_the_address_is_not_used(empty_cache: dict[int, Any]) -> None:
    key, other = make_block("one"), make_block("other")
    empty_cache[id(key)] = (other, identify_block(other))
    assert identify_block(key).usage_key == str(key)
