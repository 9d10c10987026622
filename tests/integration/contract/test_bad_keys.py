"""Keys that are refused: of the wrong type, without a run, too long, or a single key in place of a list."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opaque_keys.edx.asides import AsideUsageKeyV1, AsideUsageKeyV2
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import CourseKey, UsageKey
from opaque_keys.edx.locator import BlockUsageLocator, CourseLocator, LibraryLocator, LibraryLocatorV2
from xblock.fields import Scope

from tests.factories import CCX, COURSE, make_block
from tests.integration.contract.refusal import Call, Refusal, Statements, parametrize_refusals
from xblock_user_state.interface import XBlockUserStateClient

BLOCK = make_block()
OLD_BLOCK = UsageKey.from_string("i4x://Astro/A101/problem/stars")
VERSION_ONLY = BlockUsageLocator(CourseLocator(version_guid="519665f6223ebd6980884f2b"), "problem", "stars")
LIBRARY_BLOCK = LibraryLocator("Astro", "Lib").make_usage_key("problem", "stars")
TOO_LONG = make_block("x" * 256)

KEYS = {
    "one key to get_many": Refusal(
        lambda c: list(c.get_many("ann", BLOCK)), TypeError, ("block_keys", "list", "stars")
    ),
    "one key to delete_many": Refusal(
        lambda c: c.delete_many("ann", BLOCK), TypeError, ("block_keys", "list", "stars")
    ),
    "one key to get_scores": Refusal(lambda c: c.get_scores("ann", BLOCK), TypeError, ("block_keys", "list", "stars")),
    "one string to get_many": Refusal(
        lambda c: list(c.get_many("ann", "problem", Scope.preferences)),
        TypeError,
        ("block_keys", "list", "'problem'"),
    ),
    "one type key to get_many": Refusal(
        lambda c: list(c.get_many("ann", BlockTypeKeyV1("xblock.v1", "problem"), Scope.preferences)),
        TypeError,
        ("block_keys", "list"),
    ),
    "None to get_many": Refusal(
        lambda c: list(c.get_many("ann", None, Scope.user_info)),
        TypeError,
        ("block_keys", "list", "None"),
    ),
}


def _key_of_wrong_type(key: object, scope: Scope, *named: str) -> Refusal:
    return Refusal(lambda c: c.set("ann", key, {"a": 1}, scope), TypeError, ("block_key", *named))


KEYS |= {
    "text for a block": _key_of_wrong_type(str(BLOCK), Scope.user_state, "UsageKey", "str"),
    "None for a block": _key_of_wrong_type(None, Scope.user_state, "UsageKey", "None"),
    "course for a block": _key_of_wrong_type(COURSE, Scope.user_state, "UsageKey", "CourseLocator"),
    "type for a block": _key_of_wrong_type(BlockTypeKeyV1("xblock.v1", "a"), Scope.user_state, "UsageKey", "BlockType"),
    "number for a block": _key_of_wrong_type(7, Scope.user_state, "UsageKey", "7"),
    "text for a summary": _key_of_wrong_type(str(BLOCK), Scope.user_state_summary, "UsageKey", "str"),
    "None for a summary": _key_of_wrong_type(None, Scope.user_state_summary, "UsageKey", "None"),
    "block for a type": _key_of_wrong_type(BLOCK, Scope.preferences, "BlockTypeKey", "string", "stars"),
    "None for a type": _key_of_wrong_type(None, Scope.preferences, "BlockTypeKey", "string", "None"),
    "number for a type": _key_of_wrong_type(7, Scope.preferences, "BlockTypeKey", "string", "7"),
    "bytes for a type": _key_of_wrong_type(b"problem", Scope.preferences, "BlockTypeKey", "string", "bytes"),
    "block for a learner": _key_of_wrong_type(BLOCK, Scope.user_info, "None", "stars"),
    "text for a learner": _key_of_wrong_type("problem", Scope.user_info, "None", "'problem'"),
    "text for a score": Refusal(lambda c: c.set_score("ann", str(BLOCK), 1, 2), TypeError, ("block_key", "UsageKey")),
    "text among scores": Refusal(
        lambda c: c.get_scores("ann", [BLOCK, "x"]), TypeError, ("block_key", "UsageKey", "'x'")
    ),
    "text for a history": Refusal(
        lambda c: next(c.get_history("ann", "x")), TypeError, ("block_key", "UsageKey", "'x'")
    ),
    "text to iterate": Refusal(lambda c: next(c.iter_all_for_block("x")), TypeError, ("block_key", "UsageKey", "'x'")),
    "block for a course": Refusal(lambda c: next(c.iter_all_for_course(BLOCK)), TypeError, ("course_key", "CourseKey")),
    "text for a course": Refusal(
        lambda c: next(c.iter_all_for_course(str(COURSE))), TypeError, ("course_key", "CourseKey")
    ),
    "None for a course": Refusal(lambda c: next(c.iter_all_for_course(None)), TypeError, ("course_key", "None")),
    "type of a course is a list": Refusal(
        lambda c: next(c.iter_all_for_course(COURSE, ["problem"])),
        TypeError,
        ("block_type", "string", "problem"),
    ),
    "empty type": Refusal(lambda c: c.set("ann", "", {"a": 1}, Scope.preferences), ValueError, ("empty",)),
    "type that is too long": Refusal(
        lambda c: c.set("ann", "t" * 256, {}, Scope.preferences), ValueError, ("256", "255")
    ),
}


def _blocks_without_place(key: UsageKey, *named: str) -> dict[str, Refusal]:
    calls: dict[str, Call] = {
        "get": lambda c: c.get("ann", key),
        "get_many": lambda c: list(c.get_many("ann", [BLOCK, key])),
        "set": lambda c: c.set("ann", key, {"a": 1}),
        "set_many": lambda c: c.set_many("ann", {BLOCK: {"a": 1}, key: {"a": 1}}),
        "set summary": lambda c: c.set("ann", key, {"a": 1}, Scope.user_state_summary),
        "delete": lambda c: c.delete("ann", key),
        "delete_many": lambda c: c.delete_many("ann", [BLOCK, key]),
        "get_history": lambda c: next(c.get_history("ann", key)),
        "iter": lambda c: next(c.iter_all_for_block(key)),
        "set_score": lambda c: c.set_score("ann", key, 1, 2),
        "get_scores": lambda c: c.get_scores("ann", [key]),
        "get_encoded": lambda c: list(c.get_encoded("ann", [BLOCK, key])),
        "batch set": lambda c: _batched(c, "set", key, {"a": 1}),
        "batch delete": lambda c: _batched(c, "delete", key),
        "batch set_score": lambda c: _batched(c, "set_score", key, 1, 2),
        "batch if_revisions": lambda c: c.batch("ann", if_revisions={(Scope.user_state, key): 1}).__enter__(),
    }
    return {f"{name} {key!r:.60}": Refusal(call, ValueError, named) for name, call in calls.items()}


def _batched(client: XBlockUserStateClient, method: str, *arguments: object) -> None:
    with client.batch("ann") as batch:
        batch.set(BLOCK, {"a": 1})
        getattr(batch, method)(*arguments)


KEYS |= _blocks_without_place(OLD_BLOCK, "stars", "run", "map_into_course")
KEYS |= _blocks_without_place(AsideUsageKeyV1(OLD_BLOCK, "notes"), "stars", "run", "map_into_course")
KEYS |= _blocks_without_place(AsideUsageKeyV2(OLD_BLOCK, "notes"), "stars", "run", "map_into_course")
KEYS |= _blocks_without_place(VERSION_ONLY, "stars", "run")
KEYS |= _blocks_without_place(TOO_LONG, "255", str(len(str(TOO_LONG))))
KEYS |= _blocks_without_place(LIBRARY_BLOCK.map_into_course(COURSE), "stars")
KEYS |= _blocks_without_place(COURSE.make_usage_key("prob+lem", "stars"), "prob+lem")
# CCX: a course made from another. `map_into_course` keeps the kind of the key, and changes its context.
CCX_BLOCK = make_block(course=CCX)
KEYS |= _blocks_without_place(CCX_BLOCK.map_into_course(COURSE), "ccx-block-v1:Astro+A101+2026+type", str(COURSE))
KEYS |= _blocks_without_place(make_block().map_into_course(CCX), "block-v1:Astro+A101+2026+ccx@7", str(CCX))
KEYS |= _blocks_without_place(AsideUsageKeyV2(make_block().map_into_course(CCX), "notes"), "ccx@7", "notes")
KEYS |= _blocks_without_place(OLD_BLOCK.map_into_course(CCX), "ccx@7")
# These have no text at all.
KEYS |= _blocks_without_place(CCX_BLOCK.map_into_course(CourseKey.from_string("Astro/A101/2026")), "CCXBlock", "stars")
KEYS |= _blocks_without_place(make_block().map_into_course(LibraryLocatorV2("Astro", "Lib")), "stars", "Lib")
# The id of a CCX is text in a key that is read back.
KEYS |= _blocks_without_place(CCX.replace(ccx=7).make_usage_key("problem", "stars"), "ccx@7")
KEYS |= _blocks_without_place(AsideUsageKeyV2(make_block("x" * 190), "n" * 60), "255")


KEYS["course with the number of its CCX"] = Refusal(
    lambda c: next(c.iter_all_for_course(CCX.replace(ccx=7))), ValueError, ("ccx@7",)
)


@parametrize_refusals(KEYS)
def test_a_key_that_names_nothing_is_refused(
    client: XBlockUserStateClient, statements: Statements, refusal: Refusal
) -> None:
    refusal.check(client, statements)


def test_a_failing_iterator_of_keys_is_the_callers_error(client: XBlockUserStateClient) -> None:
    def keys() -> Iterator[UsageKey]:
        yield BLOCK
        raise KeyError("from the caller")

    client.set("ann", BLOCK, {"a": 1})
    with pytest.raises(KeyError, match="from the caller"):
        client.delete_many("ann", keys())
    assert client.get("ann", BLOCK).state == {"a": 1}


BAD_TEXT = pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", " ann", "ann ", "ann\n", "a\tb"], ids=ascii)


@BAD_TEXT
def test_a_block_type_that_no_database_keeps_is_refused(
    client: XBlockUserStateClient, statements: Statements, text: str
) -> None:
    with statements() as seen:
        with pytest.raises(ValueError, match="key"):
            client.set("ann", text, {"a": 1}, Scope.preferences)
        with pytest.raises(ValueError, match="key"):
            list(client.get_many("ann", [text], Scope.preferences))
    assert len(seen) == 0


@pytest.mark.not_for_visitors
@BAD_TEXT
def test_a_username_that_no_database_keeps_names_nobody(client: XBlockUserStateClient, text: str) -> None:
    client.set("ann", BLOCK, {"a": 1})
    assert list(client.get_many(text, [BLOCK])) == []
    assert client.get_scores(text, [BLOCK]) == {}


@pytest.mark.not_for_visitors
@BAD_TEXT
def test_a_block_type_of_a_course_that_no_database_keeps_finds_nothing(
    client: XBlockUserStateClient, text: str
) -> None:
    client.set("ann", BLOCK, {"a": 1})
    assert list(client.iter_all_for_course(COURSE, text)) == []
