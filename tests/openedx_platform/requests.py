"""A request of the stand-in platform: caches, keys and handlers, as its pages use them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from opaque_keys.edx.keys import CourseKey, UsageKey
from xblock.fields import Integer, Scope, ScopeIds, String
from xblock.runtime import KeyValueStore

from tests.openedx_platform.courseware import block_render, model_data

PACKAGES = {"lms": "tests.openedx_platform", "core": "tests.openedx_platform"}
"""The stand-in's packages of apps."""
COURSE = CourseKey.from_string("course-v1:Sky+Stars+2026")
OTHER_COURSE = CourseKey.from_string("course-v1:Sky+Moons+2026")
SCOPES = (Scope.user_state, Scope.preferences, Scope.user_info, Scope.user_state_summary)


def make_block(name: str = "one", course: CourseKey = COURSE) -> Any:
    """Return what the caches ask of a block: it declares a field in each scope."""
    key = course.make_usage_key("problem", name)
    fields = {scope.name: String(scope=scope) for scope in SCOPES}
    return SimpleNamespace(
        fields={**fields, "attempts": Integer(scope=Scope.user_state)},
        scope_ids=ScopeIds(None, "problem", key, key),
        entry_point="xblock.v1",
    )


def usage_key(block: Any) -> UsageKey:
    key: UsageKey = block.scope_ids.usage_id
    return key


def key_of(block: Any, user: Any, scope: Scope, name: str = "answer") -> KeyValueStore.Key:
    owner = {Scope.preferences: "problem", Scope.user_info: None}.get(scope, usage_key(block))
    user_id = None if scope == Scope.user_state_summary else user.pk
    return KeyValueStore.Key(scope, user_id, owner, name, "xblock.v1")


def cache_of(user: Any, *blocks: Any, **options: Any) -> Any:
    return model_data.FieldDataCache(blocks, usage_key(blocks[0]).context_key, user, **options)


def save(user: Any, block: Any, scope: Scope = Scope.user_state, **fields: Any) -> None:
    """Write fields of a block as a request does."""
    cache_of(user, block).set_many({key_of(block, user, scope, name): value for name, value in fields.items()})


def read(user: Any, block: Any, name: str, scope: Scope = Scope.user_state) -> Any:
    return cache_of(user, block).get(key_of(block, user, scope, name))


def run_handler(handler: Callable[[Any, Any], Any]) -> Any:
    return block_render._invoke_xblock_handler(None, "", "", handler, "")
