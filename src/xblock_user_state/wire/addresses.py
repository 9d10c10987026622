"""Addresses of rows: a scope and a key, and the course run of a key that lacks it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

from msgspec import Struct
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey, LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.interface import BlockKey
from xblock_user_state.state.keys import (
    LEARNER_SCOPES,
    BlockId,
    RowKey,
    context_of,
    has_run,
    parse_block_type,
    row_key,
)

_SCOPES = {scope.name: scope for scope in LEARNER_SCOPES}


class Address(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A row's scope and key: a usage key, a block type, or null for ``user_info``.

    ``course`` stands where a key does not name its course run: old-style keys (``i4x://…``).
    """

    scope: str = "user_state"
    key: str | None = None
    course: str | None = None

    @classmethod
    def of(cls, scope: Scope, row: RowKey, **others: Any) -> Self:
        """Return the address of a row."""
        if not isinstance(row, BlockId):
            return cls(scope=scope.name, key=row, **others)
        return cls(scope=scope.name, key=row.usage_key, course=_needed_course(row.usage_key, row.context_key), **others)

    @classmethod
    def of_key(cls, scope: Scope, key: BlockKey, **others: Any) -> Self:
        """Return the address of a caller's key. Raises ``TypeError`` or ``ValueError`` for a key of no row."""
        return cls.of(scope, row_key(key, scope), **others)

    def unpack(self) -> tuple[Scope, BlockKey]:
        """Return scope and key for a client. Raises ``ValueError`` for texts of no scope or key."""
        scope = unpack_scope(self.scope)
        return scope, unpack_key(scope, self.key, self.course)

    def row_key(self) -> tuple[Scope, RowKey]:
        """Return scope and key of the row for a client's verbs."""
        scope, key = self.unpack()
        return scope, row_key(key, scope)


def unpack_scope(name: str) -> Scope:
    """Return the scope of a name. Raises ``ValueError`` for any other name."""
    scope = _SCOPES.get(name)
    if scope is None:
        raise ValueError(f"the scope {name!r} is not supported; supported are {', '.join(_SCOPES)}")
    return scope


def unpack_key(scope: Scope, text: str | None, course: str | None = None) -> BlockKey:
    """Return the key of a text. Raises ``ValueError`` if it is none."""
    if scope is Scope.user_info:
        # The client refuses a key in its own words.
        return text
    if text is None:
        raise ValueError(f"{scope.name} needs a key: {_NEEDED[scope]}")
    try:
        return parse_block_type(text) if scope is Scope.preferences else _parsed(text, course)
    except InvalidKeyError as error:
        in_course = f" in {course}" if course else ""
        raise ValueError(f"{text!r}{in_course} is not a key: it can't be parsed") from error


def unpack_course(text: str | None) -> LearningContextKey | None:
    """Return the key of a course or other context. Raises ``ValueError`` if the text is none."""
    try:
        return None if text is None else LearningContextKey.from_string(text)
    except InvalidKeyError as error:
        raise ValueError(f"{text!r} is not the key of a course: it can't be parsed") from error


_NEEDED = {
    Scope.user_state: "a usage key",
    Scope.user_state_summary: "a usage key",
    Scope.preferences: "a block type",
}


@lru_cache(20_000)
def _parsed(text: str, course: str | None) -> UsageKey:
    key = UsageKey.from_string(text)
    return key if course is None else key.map_into_course(CourseKey.from_string(course))


@lru_cache(20_000)
def _needed_course(usage_key: str, context_key: str) -> str | None:
    return None if has_run(context_of(UsageKey.from_string(usage_key))) else context_key
