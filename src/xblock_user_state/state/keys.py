"""Canonical forms of block, context and block type keys, and the 64-bit ids made from them.

An id is made from the key alone. It needs no sequence and no lookup, and is the same in every database, shard, backup
and archive. The rule must never change, because state is stored under these ids (docs/decisions/0002).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

from opaque_keys import InvalidKeyError
from opaque_keys.edx.block_types import BlockTypeKeyV1
from opaque_keys.edx.keys import AsideUsageKey, BlockTypeKey, CourseKey, LearningContextKey, UsageKey
from opaque_keys.edx.locator import CourseLocator
from xblock.fields import Scope, ScopeBase

AnyKey = TypeVar("AnyKey", UsageKey, LearningContextKey)

LEARNER_SCOPES = (Scope.user_state, Scope.preferences, Scope.user_info, Scope.user_state_summary)

_SCOPES = {scope.name: scope for scope in LEARNER_SCOPES}

MAX_KEY_LENGTH = 255
"""The size of the key columns, in characters."""

# Parsing or printing a key takes as long as parsing a whole state. A large course has some thousand blocks.
_CACHED_KEYS = 20_000
_SEEN_KEYS = 4_000
# A server has as many as are installed.
_CACHED_TYPES = 1_000


class BlockId(NamedTuple):
    """A block in canonical form, with its ids."""

    id: int
    context_id: int
    context_key: str
    usage_key: str
    block_type: str


RowKey = BlockId | str | None
"""The key of a row apart from its learner: a block, the text of a block type, or ``None`` for ``user_info``."""


def learner_scope(scope: object) -> Scope | None:
    """Return the package's own object for a scope of learners, so that later checks can compare by identity.

    ``None`` for any other scope.
    """
    # By name: hashing and comparing scopes takes Python code. A host's scope may be a copy.
    own = _SCOPES.get(scope.name) if isinstance(scope, ScopeBase) else None
    return own if own is scope or own == scope else None


def row_key(key: object, scope: Scope) -> RowKey:
    """Return the row key of a caller's `key`. Raises ``TypeError`` or ``ValueError`` if the scope has no such key."""
    if scope is Scope.preferences:
        return _block_type(key)
    if scope is Scope.user_info:
        if key is not None:
            raise TypeError(f"user_info belongs to the learner alone: block_key must be None, not {key!r}")
        return None
    return checked_block(key)


def canonical_key(row: RowKey) -> UsageKey | BlockTypeKey | str | None:
    """Return the key of a row as iterations give it: without branch and version, in its context."""
    if isinstance(row, BlockId):
        return parse_block(row.context_key, row.usage_key)
    return None if row is None else parse_block_type(row)


def checked_block(key: object) -> BlockId:
    """Return the block of a usage key or of an aside's usage key."""
    if not isinstance(key, UsageKey):
        raise TypeError(f"block_key must be a UsageKey, not {key!r} ({type(key).__name__})")
    return identify_block(key)


def find_text(key: object) -> str:
    """Return the text under which a block is registered in any course. An old-style key may lack its run.

    Raises ``TypeError`` if it is no usage key, and ``ValueError`` if no block can have this key.
    """
    if not isinstance(key, UsageKey):
        raise TypeError(f"usage_key must be a UsageKey, not {key!r} ({type(key).__name__})")
    if has_run(context_of(key)):
        return identify_block(key).usage_key
    return _key_text(_without_branch(key))


# Blocks by the address of the key object. Hashing a key joins all of its parts in Python, which takes longer than the
# rest of the call; an address takes nothing. Each entry holds its key, so the address can't pass to another object
# while the entry is there. Keys are immutable.
#
# Fewer than of equal keys: most requests parse their keys anew, and this holds those of past requests until it is full.
_BLOCKS_SEEN: dict[int, tuple[UsageKey, BlockId]] = {}


def identify_block(key: UsageKey) -> BlockId:
    """Return the canonical form of a usage key: without branch and version, in its context.

    Raises ``ValueError`` for a key that is too long to store, has no context, such as an old-style key without its run,
    or has a text that is not read back as the same key.
    """
    same, block = _BLOCKS_SEEN.get(id(key), (None, None))
    # A key can only be found under another's address if an entry does not hold its key: then this makes it harmless.
    if block is None or same is not key:
        block = _identify_block(key)
        if len(_BLOCKS_SEEN) >= _SEEN_KEYS:
            _BLOCKS_SEEN.clear()
        _BLOCKS_SEEN[id(key)] = key, block
    return block


# Finds equal keys under other addresses: each request parses its keys anew.
@lru_cache(_CACHED_KEYS)
def _identify_block(key: UsageKey) -> BlockId:
    canonical = _canonical_usage_key(key)
    context = _key_text(context_of(canonical))
    usage = _key_text(canonical)
    # A key that was mapped into a course of another kind prints as another key, or as no key. Its state would be lost
    # to iterations.
    if parse_block(context, usage) != canonical:
        raise ValueError(f"{usage} in {context} can't be stored: its text is the text of another key")
    return BlockId(hash_key(f"{context}\n{usage}"), hash_key(context), context, usage, canonical.block_type)


@lru_cache(_CACHED_KEYS)
def parse_block(context_key: str, usage_key: str) -> UsageKey:
    """Return the canonical key stored as these texts. The context adds the run that an old-style key lacks.

    Raises ``ValueError`` if they are the texts of no key in that context.
    """
    try:
        key = UsageKey.from_string(usage_key)
        if not has_run(context_of(key)):
            key = key.map_into_course(CourseKey.from_string(context_key))
    except InvalidKeyError as error:
        raise ValueError(f"{usage_key} in {context_key} is not a key: its text can't be parsed") from error
    if (str(context_of(key)), str(key)) != (context_key, usage_key):
        raise ValueError(f"{usage_key} is not the canonical text of a key in {context_key}")
    return key


@lru_cache(_CACHED_KEYS)
def identify_context(key: LearningContextKey) -> int:
    """Return the id of a learning context.

    Raises ``ValueError`` for a course key without its run, and for a key whose text is not read back as the same key.
    """
    canonical = _without_version(key, key)
    text = _key_text(canonical)
    try:
        is_same = LearningContextKey.from_string(text) == canonical
    except InvalidKeyError:
        is_same = False
    if not is_same:
        raise ValueError(f"{text} is not the text of this key: {key!r}")
    return hash_key(text)


@lru_cache(_CACHED_TYPES)
def identify_block_type(key: BlockTypeKey | str) -> str:
    """Return the text of a block type: a plain name for XBlocks, with its family for any other."""
    try:
        parsed = parse_block_type(_key_text(key))
        text = str(parsed)
        read_back = parse_block_type(text)
    except InvalidKeyError as error:
        raise ValueError(f"{key!r} is not a block type: {error}") from error
    # The name of an XBlock may look like the key of another family.
    if isinstance(read_back, BlockTypeKey) and read_back != (parsed if isinstance(key, str) else key):
        raise ValueError(f"{key!r} is not a block type that can be stored: {text} is the text of another")
    return text


@lru_cache(_CACHED_TYPES)
def parse_block_type(text: str) -> BlockTypeKey | str:
    """Return the block type stored as `text`: a string for XBlocks, a key for another family."""
    return BlockTypeKeyV1.from_string(text) if text.startswith("block-type-v1:") else text


def hash_key(text: str) -> int:
    """Return the signed 64-bit id of a canonical key text. This must never change."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def is_among(block_type: str, recorded: Collection[str]) -> bool:
    """Tell whether `recorded`, as the setting ``RECORDED_BLOCK_TYPES``, has `block_type` or ``"*"``."""
    return "*" in recorded or block_type in recorded


def is_storable(text: str) -> bool:
    """Tell whether every database can store a text: PostgreSQL refuses NUL, and a lone surrogate has no UTF-8."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _block_type(key: object) -> str:
    if not isinstance(key, str | BlockTypeKey):
        raise TypeError(
            f"preferences belong to a block type: block_key must be a string or a BlockTypeKey, "
            f"not {key!r} ({type(key).__name__})"
        )
    return identify_block_type(key)


def _canonical_usage_key(key: UsageKey) -> UsageKey:
    if isinstance(key, AsideUsageKey):
        return cast("UsageKey", key.replace(usage_key=_canonical_usage_key(key.usage_key)))
    return _without_version(key, key.context_key)


def _without_branch(key: UsageKey) -> UsageKey:
    """Return a key that may lack its run, without branch and version."""
    if isinstance(key, AsideUsageKey):
        return cast("UsageKey", key.replace(usage_key=_without_branch(key.usage_key)))
    versioned: Any = key
    try:
        return cast("UsageKey", versioned.for_branch(None).version_agnostic())
    except (AttributeError, InvalidKeyError) as error:
        raise ValueError(f"{key!r} is the key of no block in a course: {error}") from error


def context_of(key: UsageKey) -> LearningContextKey:
    """Return the context of a block, or of an aside's block."""
    return context_of(key.usage_key) if isinstance(key, AsideUsageKey) else key.context_key


def _without_version(key: AnyKey, context: LearningContextKey) -> AnyKey:
    if not has_run(context):
        raise ValueError(f"{key!r} names no course run; map it into its course first (map_into_course)")
    # Keys of the newer libraries have neither branch nor version.
    if not hasattr(key, "version_agnostic"):
        return key
    versioned: Any = key
    try:
        return cast("AnyKey", versioned.for_branch(None).version_agnostic())
    except AttributeError as error:
        raise ValueError(f"{key!r} can't be stored: it is a block of another kind than its context") from error


def has_run(context: LearningContextKey) -> bool:
    """Tell whether a context key is complete: it is not a mere version, nor an old-style key without its run."""
    # A course key of a version alone has no organization.
    if getattr(context, "org", None) is None:
        return False
    return not (isinstance(context, CourseLocator) and context.run is None)


def _key_text(key: object) -> str:
    try:
        text = str(key)
    except NotImplementedError as error:
        # A key of a CCX that was mapped into an old-style course.
        raise ValueError(f"{key!r} can't be stored: it has no text") from error
    # A space counts as printable.
    if not text or " " in text or not text.isprintable():
        raise ValueError(f"{text!r} is not a key: it is empty, or has white space or characters that can't be printed")
    if len(text) > MAX_KEY_LENGTH:
        raise ValueError(f"the key {text[:60]}… has {len(text)} characters; at most {MAX_KEY_LENGTH} can be stored")
    return text
